/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a port can do, and who does it, for people: asked of the device after
 * port_start(), and written into the statistics. Of main alone.
 */
#include <stdio.h>
#include <string.h>

#include <rte_ethdev.h>

#include "net/port_pvt.h"

static const char not_needed[] = "not needed: ";
static const char cannot[] = "the device cannot";

static void set(struct weir_port_details *d, enum weir_port_feature_id id, bool can, enum weir_port_doer doer, const char *why)
{
	struct weir_port_feature *f = &d->feature[id];

	f->is_known = 1;
	f->is_capable = can;
	f->doer = (uint8_t)doer;
	snprintf(f->why, sizeof(f->why), "%s", doer == WEIR_BY_DEVICE ? "" : why);
}

static bool is_kept_from(const struct net_port *p)
{
	return p->no_offloads || p->in_software;
}

/* Why software does what this device can. */
static const char *why_software(const struct net_port *p)
{
	if (p->no_offloads)
		return "weir.yaml: offloads: {device: false}";
	if (!p->in_software)
		return "not used";
	return *p->bond_mode ? "a member computes in software itself, or must be given each packet to prepare" :
			       "net_tap computes in software itself, from a copy";
}

static void set_offload(struct weir_port_details *d, const struct net_port *p, enum weir_port_feature_id id, bool can, bool is_used)
{
	set(d, id, can, is_used ? WEIR_BY_DEVICE : WEIR_BY_SOFTWARE, can ? why_software(p) : cannot);
}

static const char *why_no_tso(const struct net_port *p, bool can)
{
	if (!can)
		return cannot;
	if (!p->caps.tx_multi_seg)
		return "the device takes a packet in one buffer only";
	return p->caps.tx_csum_l4 || is_kept_from(p) ? why_software(p) : "the device writes no TCP checksums";
}

static void report_offloads(const struct net_port *p, const struct rte_eth_dev_info *info, struct weir_port_details *d)
{
	uint64_t rx = info->rx_offload_capa, tx = info->tx_offload_capa;
	bool can_tso = tx & RTE_ETH_TX_OFFLOAD_TCP_TSO;

	set_offload(d, p, WEIR_PORT_RX_IP_CHECKSUM, rx & RTE_ETH_RX_OFFLOAD_IPV4_CKSUM, p->caps.rx_csum_ip);
	set_offload(d, p, WEIR_PORT_RX_TCP_CHECKSUM, rx & RTE_ETH_RX_OFFLOAD_TCP_CKSUM, p->caps.rx_csum_l4);
	set_offload(d, p, WEIR_PORT_TX_IP_CHECKSUM, tx & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM, p->caps.tx_csum_ip);
	set_offload(d, p, WEIR_PORT_TX_TCP_CHECKSUM, tx & RTE_ETH_TX_OFFLOAD_TCP_CKSUM, p->caps.tx_csum_l4);
	set(d, WEIR_PORT_TSO, can_tso, p->caps.tx_tso ? WEIR_BY_DEVICE : WEIR_BY_SOFTWARE, why_no_tso(p, can_tso));
	set(d, WEIR_PORT_LRO, rx & RTE_ETH_RX_OFFLOAD_TCP_LRO, p->merges ? WEIR_BY_SOFTWARE : WEIR_BY_NOBODY,
	    !p->merges ? "weir.yaml: offloads: {gro: false}" : "Weir merges what it receives in one burst, and sees each segment before: acknowledgements stay right");
	set(d, WEIR_PORT_MULTI_SEGMENT, tx & RTE_ETH_TX_OFFLOAD_MULTI_SEGS, p->caps.tx_multi_seg ? WEIR_BY_DEVICE : WEIR_BY_SOFTWARE,
	    "the device cannot: packets are copied into one buffer");
	set(d, WEIR_PORT_SCATTER, rx & RTE_ETH_RX_OFFLOAD_SCATTER, p->scatters ? WEIR_BY_DEVICE : WEIR_BY_NOBODY,
	    p->is_cut_short ? "the device cannot: larger frames than pools.mbuf_bytes are lost" : "not needed: a buffer holds the largest frame");
	set(d, WEIR_PORT_VLAN_STRIP, rx & RTE_ETH_RX_OFFLOAD_VLAN_STRIP, WEIR_BY_SOFTWARE, "tags are read in the frame");
	set(d, WEIR_PORT_VLAN_INSERT, tx & RTE_ETH_TX_OFFLOAD_VLAN_INSERT, WEIR_BY_SOFTWARE, "tags are written with the frame's header");
	set(d, WEIR_PORT_VLAN_FILTER, rx & RTE_ETH_RX_OFFLOAD_VLAN_FILTER, WEIR_BY_SOFTWARE, "dropped and counted as rx_other_vlan");
}

static void report_spreading(const struct net_port *p, const struct rte_eth_dev_info *info, struct weir_port_details *d)
{
	static const char *const ways[] = {[STEER_REDIRECT] = "redirect", [STEER_FLOW] = "flow", [STEER_RSS] = "rss"};
	bool is_alone = p->n_queues == 1;
	bool can_rss = info->flow_type_rss_offloads != 0;
	char why[sizeof(d->feature[0].why)];

	snprintf(d->steering, sizeof(d->steering), "%s", is_alone ? "one" : ways[p->steer]);
	d->rss_key_bytes = info->hash_key_size;
	d->rss_table = info->reta_size;
	d->rss_types = info->flow_type_rss_offloads;
	snprintf(why, sizeof(why), "%s%s", is_alone ? not_needed : "", is_alone ? "there is one worker" :
		 can_rss ? "the kernel spreads flows, not always alike: workers redirect" : "the device cannot: workers redirect");
	set(d, WEIR_PORT_RSS, can_rss, p->caps.has_rss ? WEIR_BY_DEVICE : is_alone ? WEIR_BY_NOBODY : WEIR_BY_SOFTWARE, why);
	/* Whether a device takes such rules is known by trying, which nobody does for one worker. */
	snprintf(why, sizeof(why), "%s%s", is_alone ? not_needed : "", is_alone ? "there is one worker" :
		 p->steer == STEER_RSS ? "RSS does it" : "the device takes no such rules, or they are not wanted: workers redirect");
	set(d, WEIR_PORT_FLOW, p->steer == STEER_FLOW,
	    p->steer == STEER_FLOW ? WEIR_BY_DEVICE : is_alone || p->steer == STEER_RSS ? WEIR_BY_NOBODY : WEIR_BY_SOFTWARE, why);
	set(d, WEIR_PORT_LINK_INTERRUPT, *info->dev_flags & RTE_ETH_DEV_INTR_LSC, WEIR_BY_SOFTWARE, "the link is looked at five times a second");
}

void port_report(const struct net_port *p, struct weir_port_details *d)
{
	struct rte_eth_dev_info info;

	snprintf(d->device, sizeof(d->device), "%s", p->device);
	snprintf(d->driver, sizeof(d->driver), "%s", p->driver);
	snprintf(d->bond_mode, sizeof(d->bond_mode), "%s", p->bond_mode);
	d->numa_node = p->numa_node;
	d->wants_promiscuous = p->wants_promiscuous;
	d->mtu = p->mtu;
	d->n_rx_queues = d->n_tx_queues = p->n_queues;
	d->n_rx_desc = p->n_rx_desc;
	d->n_tx_desc = p->n_tx_desc;
	if (rte_eth_dev_info_get(p->port_id, &info) != 0)
		return;
	d->max_mtu = p->max_mtu == UINT16_MAX ? 0 : p->max_mtu;
	d->max_rx_queues = info.max_rx_queues;
	d->max_tx_queues = info.max_tx_queues;
	d->max_rx_desc = info.rx_desc_lim.nb_max;
	d->max_tx_desc = info.tx_desc_lim.nb_max;
	report_offloads(p, &info, d);
	report_spreading(p, &info, d);
}

static uint8_t yes_no(int v)
{
	return v < 0 ? WEIR_PORT_UNKNOWN : v > 0 ? WEIR_PORT_YES : WEIR_PORT_NO;
}

static void store(uint64_t *to, uint64_t v)
{
	__atomic_store_n(to, v, __ATOMIC_RELAXED);
}

static void sample_counts(const struct net_port *p, struct weir_port_details *d)
{
	struct rte_eth_stats s;

	if (rte_eth_stats_get(p->port_id, &s) != 0)
		return;
	store(&d->rx_packets, p->before.rx_packets + s.ipackets);
	store(&d->tx_packets, p->before.tx_packets + s.opackets);
	store(&d->rx_bytes, p->before.rx_bytes + s.ibytes);
	store(&d->tx_bytes, p->before.tx_bytes + s.obytes);
	store(&d->rx_missed, p->before.rx_missed + s.imissed);
	store(&d->rx_errors, p->before.rx_errors + s.ierrors);
	store(&d->rx_no_mbuf, p->before.rx_no_mbuf + s.rx_nombuf);
	store(&d->tx_errors, p->before.tx_errors + s.oerrors);
	store(&d->has_stats, 1);
}

void port_sample(struct net_port *p, struct weir_port_details *d)
{
	struct rte_eth_link link;

	if (p->is_removed)
		return;
	if (rte_eth_link_get_nowait(p->port_id, &link) == 0) {
		d->speed_mbps = link.link_speed == RTE_ETH_SPEED_NUM_UNKNOWN ? 0 : link.link_speed;
		d->is_full_duplex = link.link_duplex ? WEIR_PORT_YES : WEIR_PORT_NO;
		d->is_autoneg = link.link_autoneg ? WEIR_PORT_YES : WEIR_PORT_NO;
	}
	d->is_promiscuous = yes_no(rte_eth_promiscuous_get(p->port_id));
	d->is_allmulticast = yes_no(rte_eth_allmulticast_get(p->port_id));
	sample_counts(p, d);
	port_bond_sample(p, d);
}

void port_keep_counts(struct net_port *p, const struct weir_port_details *d)
{
	p->before = (struct net_port_counts){
		.rx_packets = d->rx_packets, .tx_packets = d->tx_packets, .rx_bytes = d->rx_bytes, .tx_bytes = d->tx_bytes,
		.rx_missed = d->rx_missed, .rx_errors = d->rx_errors, .rx_no_mbuf = d->rx_no_mbuf, .tx_errors = d->tx_errors,
	};
}
