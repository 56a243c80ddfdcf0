/* SPDX-License-Identifier: Apache-2.0 */
/* What the files steer*.c share: the device's part of steering. */
#ifndef NET_STEER_PVT_H
#define NET_STEER_PVT_H

#include "net/steer.h"

/* steer_flow.c: s was aligned. False: the port refuses, and has no rule; the log says why. */
bool steer_flow_start(const struct steer *s, const struct net_port *p);
void steer_flow_stop(const struct net_port *p);

/* steer_rss.c: steer_opener() by hash. */
int steer_hash_opener(const struct steer *s, const struct ip_flow *flow);
/* The largest number of bits of the hash that the port's table follows; 0: it cannot be set. */
unsigned steer_rss_bits(const struct net_port *p);
/* Gives the port our key and table and reads them back. False: it did not take them; the log says what. */
bool steer_rss_start(const struct steer *s, const struct net_port *p);

#endif
