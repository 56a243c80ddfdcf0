/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bonds of devices, by DPDK's net_bonding. It is made by its functions, not by
 * the arguments of a virtual device: those are read when it is configured, and
 * what its members can do has to be known before.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <rte_errno.h>
#include <rte_eth_bond.h>
#include <rte_eth_bond_8023ad.h>
#include <rte_ethdev.h>
#include <rte_version.h>

#include "base/log.h"
#include "net/port_pvt.h"

#if RTE_VERSION < RTE_VERSION_NUM(23, 11, 0, 0) /* renamed since */
#define rte_eth_bond_member_add rte_eth_bond_slave_add
#define rte_eth_bond_members_get rte_eth_bond_slaves_get
#define rte_eth_bond_active_members_get rte_eth_bond_active_slaves_get
#define rte_eth_bond_8023ad_member_info rte_eth_bond_8023ad_slave_info
#endif

#define LOOK_MS 100 /* at the links of members that have no interrupts */

static const struct {
	const char *name;
	uint8_t mode;
} modes[] = {
	{"802.3ad", BONDING_MODE_8023AD},
	{"active-backup", BONDING_MODE_ACTIVE_BACKUP},
	{"balance-xor", BONDING_MODE_BALANCE},
};

int port_bond_mode(const char *name)
{
	for (unsigned i = 0; i < RTE_DIM(modes); i++)
		if (strcmp(modes[i].name, name) == 0)
			return modes[i].mode;
	return -1;
}

const char *port_bond_mode_name(uint8_t mode)
{
	for (unsigned i = 0; i < RTE_DIM(modes); i++)
		if (modes[i].mode == mode)
			return modes[i].name;
	return "";
}

/* What of its link the driver keeps to itself. */
static void warn_of_link(const struct net_port_config *config, const char *member)
{
	if (strncmp(member, "net_af_packet", 13) == 0 || strncmp(member, "net_af_xdp", 10) == 0)
		log_warn("port %s: %s does not say that its link is down%s", config->device, member,
			 config->bond->mode == BONDING_MODE_8023AD ? ": LACP notices after 90 s" : "");
	else if (strncmp(member, "net_tap", 7) == 0 && config->bond->mode == BONDING_MODE_BALANCE)
		log_warn("port %s: %s does not tell of its link: balance-xor goes on to send there (802.3ad and active-backup do not)", config->device,
			 member);
}

static int add_member(const struct net_port_config *config, uint16_t bond, const char *member)
{
	uint16_t id;
	int rc = port_probe(member, &id);

	if (rc)
		return rc;
	warn_of_link(config, member);
	if (rte_eth_bond_member_add(bond, id) == 0)
		return 0;
	log_error("port %s does not take %s as a member", config->device, member);
	return -EINVAL;
}

int port_bond_probe(const struct net_port_config *config, uint16_t *id)
{
	const struct net_bond *b = config->bond;
	int rc = rte_eth_bond_create(config->device, b->mode, 0);

	if (rc < 0) {
		log_error("port %s: no bond can be made: %s", config->device, rte_strerror(rte_errno));
		return -EIO;
	}
	*id = (uint16_t)rc;
	rte_eth_bond_link_monitoring_set(*id, LOOK_MS);
	if (b->mode != BONDING_MODE_ACTIVE_BACKUP && rte_eth_bond_xmit_policy_set(*id, BALANCE_XMIT_POLICY_LAYER34) != 0)
		log_warn("port %s spreads packets by link addresses alone", config->device);
	for (unsigned i = 0; i < b->n_members; i++) {
		rc = add_member(config, *id, b->members[i]);
		if (rc) {
			rte_eth_bond_free(config->device);
			return rc;
		}
	}
	return 0;
}

bool port_bond_needs_software(uint16_t id)
{
	static const char *const drivers[] = {"net_tap", "net_virtio", "net_vmxnet3"};
	uint16_t members[NET_BOND_MEMBERS];
	int n = rte_eth_bond_members_get(id, members, NET_BOND_MEMBERS);

	for (int i = 0; i < n; i++) {
		struct rte_eth_dev_info info;

		if (rte_eth_dev_info_get(members[i], &info) != 0)
			return true;
		for (unsigned k = 0; k < RTE_DIM(drivers); k++)
			if (strncmp(info.driver_name, drivers[k], strlen(drivers[k])) == 0)
				return true;
	}
	return false;
}

/*
 * net_bonding gives its members the bond's link address, but not by LACP: there each would have its own filter, and of what
 * the other end sends by all of them only the part by the one whose address it is would arrive.
 */
void port_bond_share_mac(uint16_t bond, struct rte_ether_addr *mac)
{
	uint16_t members[NET_BOND_MEMBERS];
	int n = rte_eth_bond_members_get(bond, members, NET_BOND_MEMBERS);

	if (rte_eth_bond_mode_get(bond) != BONDING_MODE_8023AD)
		return;
	for (int i = 0; i < n; i++) {
		char name[RTE_ETH_NAME_MAX_LEN] = "";
		struct rte_ether_addr own;

		if (rte_eth_macaddr_get(members[i], &own) == 0 && rte_is_same_ether_addr(&own, mac))
			continue;
		if (rte_eth_dev_mac_addr_add(members[i], mac, 0) == 0 || rte_eth_promiscuous_enable(members[i]) == 0)
			continue;
		rte_eth_dev_get_name_by_port(members[i], name);
		log_warn("bond member %s takes no second link address, and is not promiscuous: what comes by it for the bond may be lost", name);
	}
}

/* By LACP: both ends have agreed on it. Otherwise net_bonding has chosen it, or one of several. */
static bool is_active(uint16_t bond, uint16_t id)
{
	struct rte_eth_bond_8023ad_member_info lacp;
	uint16_t active[NET_BOND_MEMBERS];
	int n;

	if (rte_eth_bond_mode_get(bond) == BONDING_MODE_8023AD)
		return rte_eth_bond_8023ad_member_info(bond, id, &lacp) == 0 && (lacp.actor_state & STATE_DISTRIBUTING);
	if (rte_eth_bond_mode_get(bond) == BONDING_MODE_ACTIVE_BACKUP)
		return rte_eth_bond_primary_get(bond) == id;
	n = rte_eth_bond_active_members_get(bond, active, NET_BOND_MEMBERS);
	for (int i = 0; i < n; i++)
		if (active[i] == id)
			return true;
	return false;
}

static bool is_linked(uint16_t id)
{
	struct rte_eth_link link;

	return rte_eth_link_get_nowait(id, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

/*
 * net_bonding changes over when a member's driver tells it of its link, or is asked where it has no interrupts. net_tap
 * says that it tells, and does not: so one that is down is not left in charge here.
 */
static void change_over(uint16_t bond, const uint16_t *members, int n)
{
	int now = rte_eth_bond_primary_get(bond);

	if (now < 0 || is_linked((uint16_t)now))
		return;
	for (int i = 0; i < n; i++)
		if (is_linked(members[i])) {
			rte_eth_bond_primary_set(bond, members[i]);
			return;
		}
}

bool port_bond_is_up(uint16_t bond)
{
	uint16_t members[NET_BOND_MEMBERS];
	int n = rte_eth_bond_members_get(bond, members, NET_BOND_MEMBERS);

	if (rte_eth_bond_mode_get(bond) == BONDING_MODE_ACTIVE_BACKUP)
		change_over(bond, members, n);
	for (int i = 0; i < n; i++)
		if (is_active(bond, members[i]) && is_linked(members[i]))
			return true;
	return false;
}

void port_bond_sample(const struct net_port *p, struct weir_port_details *d)
{
	uint16_t all[WEIR_PORT_MEMBERS];
	int n;

	if (!*p->bond_mode)
		return;
	n = rte_eth_bond_members_get(p->port_id, all, WEIR_PORT_MEMBERS);
	for (int i = 0; i < n; i++) {
		struct weir_port_member *m = &d->member[i];
		char name[RTE_ETH_NAME_MAX_LEN] = "";

		rte_eth_dev_get_name_by_port(all[i], name);
		snprintf(m->name, sizeof(m->name), "%.*s", (int)sizeof(m->name) - 1, name);
		m->state = is_linked(all[i]) ? WEIR_PORT_UP : WEIR_PORT_DOWN;
		m->is_active = m->state == WEIR_PORT_UP && is_active(p->port_id, all[i]);
	}
	d->n_members = n > 0 ? (uint32_t)n : 0;
}
