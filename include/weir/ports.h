/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each port is, can and does: a section of the statistics region
 * (stats.h: ports_off). main: w, all others: r. Words and capabilities are
 * written before a reader has the region, or while the port is removed;
 * what changes afterwards is a field of its own, loaded whole.
 */
#ifndef WEIR_PORTS_H
#define WEIR_PORTS_H

#include "weir/types.h"

#define WEIR_MAX_PORTS 16u
#define WEIR_PORT_FEATURE_SLOTS 24u
#define WEIR_PORT_MEMBERS 8u

/* X(enumerator, name, what it is) */
#define WEIR_PORT_FEATURES(X) \
	X(RX_IP_CHECKSUM, "rx-ip-checksum", "IPv4 header checksums of received packets are verified") \
	X(RX_TCP_CHECKSUM, "rx-tcp-checksum", "TCP checksums of received packets are verified") \
	X(TX_IP_CHECKSUM, "tx-ip-checksum", "IPv4 header checksums of sent packets are written") \
	X(TX_TCP_CHECKSUM, "tx-tcp-checksum", "TCP checksums of sent packets are written") \
	X(TSO, "tso", "long TCP segments are cut") \
	X(LRO, "lro", "received TCP segments are merged") \
	X(MULTI_SEGMENT, "multi-segment", "a sent packet is gathered from several buffers") \
	X(SCATTER, "scatter", "a received packet may lie in several buffers") \
	X(VLAN_STRIP, "vlan-strip", "VLAN tags of received frames are taken off") \
	X(VLAN_INSERT, "vlan-insert", "VLAN tags of sent frames are put on") \
	X(VLAN_FILTER, "vlan-filter", "frames of other VLANs are dropped") \
	X(RSS, "rss", "flows are spread over the receive queues") \
	X(FLOW, "flow", "answers of backends come to the worker that asked by flow rules (rte_flow)") \
	X(LINK_INTERRUPT, "link-interrupt", "changes of the link are told")

enum weir_port_feature_id {
#define X(name, str, help) WEIR_PORT_##name,
	WEIR_PORT_FEATURES(X)
#undef X
	WEIR_N_PORT_FEATURES
};

/* Who does it. NOBODY: it is not needed, or cannot be had: why says which. */
enum weir_port_doer { WEIR_BY_NOBODY, WEIR_BY_DEVICE, WEIR_BY_SOFTWARE };

struct weir_port_feature {
	uint8_t is_known; /* 0: an older writer */
	uint8_t is_capable; /* the device can */
	uint8_t doer; /* enum weir_port_doer */
	uint8_t reserved[5];
	char why[104]; /* NUL terminated: why not the device; "" */
};

enum weir_port_state {
	WEIR_PORT_DOWN,
	WEIR_PORT_UP,
	WEIR_PORT_REMOVED, /* the device is gone; the workers leave the port alone */
};

enum weir_port_yes { WEIR_PORT_NO, WEIR_PORT_YES, WEIR_PORT_UNKNOWN };

/* Of a bond. */
struct weir_port_member {
	char name[32];
	uint32_t state;	    /* enum weir_port_state */
	uint32_t is_active; /* carries traffic */
};

struct weir_port_details {
	char device[128]; /* as DPDK is told, cut */
	char driver[32];
	char steering[16]; /* how answers come to the worker that asked: one, redirect, flow or rss */
	char bond_mode[24]; /* "": no bond */
	int32_t numa_node; /* -1: any */
	uint32_t state;	   /* enum weir_port_state */
	uint64_t far_workers[2]; /* bit per worker: its core is on another node than the device */
	uint32_t speed_mbps; /* 0: unknown */
	uint8_t is_full_duplex, is_autoneg; /* enum weir_port_yes */
	uint8_t wants_promiscuous, is_promiscuous;
	uint8_t is_allmulticast, reserved8[3]; /* wanted always */
	uint32_t mtu, max_mtu;
	uint32_t n_rx_queues, max_rx_queues, n_tx_queues, max_tx_queues;
	uint32_t n_rx_desc, max_rx_desc, n_tx_desc, max_tx_desc;
	uint32_t rss_key_bytes, rss_table;
	uint64_t rss_types; /* RTE_ETH_RSS_* that the device can hash */
	struct weir_port_feature feature[WEIR_PORT_FEATURE_SLOTS];
	uint32_t n_members, reserved32;
	struct weir_port_member member[WEIR_PORT_MEMBERS];
	/* link: times of its going down and up, and of the device's going and coming back */
	uint64_t link_downs, link_ups, removals, returns;
	uint64_t changed_s; /* Unix time of the last of them; 0: none */
	/* the device's own counts (rte_eth_stats), sampled */
	uint64_t has_stats;
	uint64_t rx_packets, tx_packets, rx_bytes, tx_bytes;
	uint64_t rx_missed;  /* lost in the device: its queues were full */
	uint64_t rx_errors;
	uint64_t rx_no_mbuf; /* lost: no packet buffer to receive into */
	uint64_t tx_errors;
	uint64_t reserved[16];
};

#define WEIR_PORT_XSTATS 256u

/*
 * The driver's own counts (rte_eth_xstats) that were ever not zero, by its names, as many as there is room for: a section of its own
 * (stats.h: xstats_off). An entry is whole once it counts in n, and then its name stays.
 */
struct weir_port_xstats {
	uint32_t n;	     /* entries; stored last */
	uint32_t n_left_off; /* that found no room, of those that are not zero now */
	struct {
		char name[64]; /* NUL terminated */
		uint64_t value;
	} entry[WEIR_PORT_XSTATS];
};

#endif
