/* SPDX-License-Identifier: Apache-2.0 */
/* What the files about ports share. */
#ifndef NET_PORT_PVT_H
#define NET_PORT_PVT_H

#include "net/net.h"

/* "net_tap0,iface=x" > "net_tap0" */
void port_device_name(const char *device, char *out, size_t cap);
/* Finds the device, which is made first if it is a virtual one. 0 or -errno, logged. */
int port_probe(const char *device, uint16_t *id);

/* port_link.c: what is known of the device's place from its opening on, and who tells of its removal. */
void port_watch_begin(struct net_port *p);
void port_watch_end(struct net_port *p);
/* A removed port's device, as far as anybody can tell. */
bool port_is_there(const struct net_port *p);

/* port_bond.c: makes the bond and gives it its members. 0 or -errno, logged. */
int port_bond_probe(const struct net_port_config *config, uint16_t *id);
/* A member's driver computes checksums in software, or has to see each packet before it is sent, which net_bonding does not show it. */
bool port_bond_needs_software(uint16_t id);
/* Once it has started: each of its members receives what is for the bond's link address. */
void port_bond_share_mac(uint16_t id, struct rte_ether_addr *mac);
/* Some member carries traffic. */
bool port_bond_is_up(uint16_t id);
void port_bond_sample(const struct net_port *p, struct weir_port_details *d);

#endif
