/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A DPDK port: probed, asked what it can do, configured with that and no more.
 * What it lacks is done in software above.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>

#include "base/log.h"
#include "net/net_pvt.h"
#include "net/port_pvt.h"

#define DEFAULT_DESC 512
#define BOND_US 20000
#define VMXNET3_TSO_SEGS 24

void port_device_name(const char *device, char *out, size_t cap)
{
	size_t n = strcspn(device, ",");

	snprintf(out, cap, "%.*s", (int)(n < cap ? n : cap - 1), device);
}

static bool is_virtual(const char *device)
{
	return strncmp(device, "net_", 4) == 0;
}

int port_probe(const char *device, uint16_t *id)
{
	char name[64];
	int rc;

	port_device_name(device, name, sizeof(name));
	if (rte_eth_dev_get_port_by_name(name, id) == 0)
		return 0; /* PCI devices were probed at DPDK's start */
	rc = rte_dev_probe(device);
	if (rc < 0) {
		log_error("port %s cannot be opened: %s", device, rte_strerror(-rc));
		return rc;
	}
	if (rte_eth_dev_get_port_by_name(name, id) != 0) {
		log_error("port %s is no Ethernet device", device);
		return -ENODEV;
	}
	return 0;
}

/* net_tap computes checksums in software, from a copy: we do that better. */
static bool has_real_offloads(const struct net_port_config *config, uint16_t id, const struct rte_eth_dev_info *info)
{
	if (config->bond)
		return !port_bond_needs_software(id);
	return strcmp(info->driver_name, "net_tap") != 0;
}

/*
 * Checksums, and cutting of long segments, which needs those of TCP. A device that knows nothing of IPv4's (virtio, vmxnet3)
 * writes the pieces' all the same; ours is that of the long packet, which a host may well see uncut.
 */
static void choose_transmit(const struct rte_eth_dev_info *info, struct net_port_caps *caps)
{
	uint64_t tx = info->tx_offload_capa;

	caps->tx_csum_l4 = tx & RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
	caps->tx_csum_ip = caps->tx_csum_l4 && (tx & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM);
	caps->tx_tso = caps->tx_csum_l4 && caps->tx_multi_seg && (tx & RTE_ETH_TX_OFFLOAD_TCP_TSO);
	/* It says 255, and refuses packets of more than so many (VMXNET3_MAX_TSO_TXD_PER_PKT). */
	if (strcmp(info->driver_name, "net_vmxnet3") == 0 && caps->max_tso_segs > VMXNET3_TSO_SEGS)
		caps->max_tso_segs = VMXNET3_TSO_SEGS;
}

/* True: frames are larger than a buffer. */
static bool choose_offloads(const struct net_port_config *config, bool is_real, uint16_t mtu, const struct rte_eth_dev_info *info,
			    struct rte_eth_conf *conf, struct net_port_caps *caps)
{
	uint32_t room = rte_pktmbuf_data_room_size(config->pools[0]) - RTE_PKTMBUF_HEADROOM;
	uint64_t rx = info->rx_offload_capa;

	caps->tx_multi_seg = info->tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	caps->max_tx_segs = info->tx_desc_lim.nb_mtu_seg_max ? info->tx_desc_lim.nb_mtu_seg_max : 16;
	caps->max_tso_segs = info->tx_desc_lim.nb_seg_max ? info->tx_desc_lim.nb_seg_max : 16;
	if (is_real && !config->no_offloads) {
		caps->rx_csum_ip = rx & RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
		caps->rx_csum_l4 = rx & RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
		choose_transmit(info, caps);
	}
	conf->rxmode.offloads = (caps->rx_csum_ip ? RTE_ETH_RX_OFFLOAD_IPV4_CKSUM : 0) |
				(caps->rx_csum_l4 ? RTE_ETH_RX_OFFLOAD_TCP_CKSUM : 0);
	conf->txmode.offloads = (caps->tx_csum_l4 ? RTE_ETH_TX_OFFLOAD_TCP_CKSUM : 0) |
				(caps->tx_csum_ip ? RTE_ETH_TX_OFFLOAD_IPV4_CKSUM : 0) |
				(caps->tx_tso ? RTE_ETH_TX_OFFLOAD_TCP_TSO : 0) |
				(caps->tx_multi_seg ? RTE_ETH_TX_OFFLOAD_MULTI_SEGS : 0);
	/* Larger frames than an mbuf need scattered receive. */
	return (uint32_t)mtu + RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN > room;
}

#define PACKET_FRAME 2048     /* net_af_packet's framesz, if it is not given */
#define PACKET_OVERHEAD 128   /* of it, the kernel's and the Ethernet header, generously */

static uint32_t packet_frame_bytes(const char *device)
{
	const char *arg = strstr(device, "framesz=");

	return arg ? (uint32_t)strtoul(arg + 8, NULL, 10) : PACKET_FRAME;
}

/*
 * A memif says that it takes no larger frames than usual, but puts any into a chain of buffers, as its peer does; net_af_packet says it,
 * too, and takes what its frames hold.
 */
static uint32_t max_mtu(const char *device, const struct rte_eth_dev_info *info)
{
	uint32_t overhead = RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN;
	uint32_t max = info->max_mtu ? info->max_mtu : UINT16_MAX;

	if (strncmp(device, "net_memif", 9) == 0)
		return UINT16_MAX;
	if (strncmp(device, "net_tap", 7) == 0) /* it says 1504, and makes its interface with an MTU of 1500 */
		return RTE_ETHER_MTU;
	if (strncmp(device, "net_af_packet", 13) == 0)
		return packet_frame_bytes(device) > PACKET_OVERHEAD ? packet_frame_bytes(device) - PACKET_OVERHEAD : 0;
	if (max != UINT16_MAX && info->max_rx_pktlen > max)
		overhead = info->max_rx_pktlen - max;
	return info->max_rx_pktlen > overhead && info->max_rx_pktlen - overhead < max ? info->max_rx_pktlen - overhead : max;
}

static bool is_larger_than_said(const struct net_port_config *config, uint16_t mtu)
{
	return mtu > RTE_ETHER_MTU && (strncmp(config->device, "net_memif", 9) == 0 || strncmp(config->device, "net_af_packet", 13) == 0);
}

static uint16_t choose_mtu(const struct net_port_config *config, const struct rte_eth_dev_info *info)
{
	uint32_t max = max_mtu(config->device, info);

	if (config->mtu <= max)
		return config->mtu;
	log_warn("port %s takes no larger MTU than %u%s: that is used, not %u", config->device, max,
		 strncmp(config->device, "net_af_packet", 13) == 0 ? " (framesz)" : "", config->mtu);
	return (uint16_t)max;
}

static int configure(const struct net_port_config *config, uint16_t id, bool rx_intr, struct net_port *out)
{
	struct rte_eth_dev_info info;
	struct rte_eth_conf conf = {0};
	uint64_t rss = RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP; /* UDP: tunnels, by the inner flow */
	int rc = rte_eth_dev_info_get(id, &info);

	if (rc)
		return rc;
	if (info.max_rx_queues < config->n_queues || info.max_tx_queues < config->n_queues) {
		log_error("port %s has %u receive and %u transmit queues; %u workers need as many", config->device,
			  info.max_rx_queues, info.max_tx_queues, config->n_queues);
		return -EINVAL;
	}
	snprintf(out->driver, sizeof(out->driver), "%s", info.driver_name);
	out->is_memif = strcmp(info.driver_name, "net_memif") == 0;
	conf.intr_conf.rmv = (*info.dev_flags & RTE_ETH_DEV_INTR_RMV) != 0;
	out->mtu = choose_mtu(config, &info);
	out->max_mtu = (uint16_t)max_mtu(config->device, &info);
	conf.rxmode.mtu = is_larger_than_said(config, out->mtu) ? RTE_ETHER_MTU : out->mtu;
	out->in_software = !has_real_offloads(config, id, &info);
	if (choose_offloads(config, !out->in_software, out->mtu, &info, &conf, &out->caps)) {
		out->scatters = info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCATTER;
		out->is_cut_short = !out->scatters;
		conf.rxmode.offloads |= out->scatters ? RTE_ETH_RX_OFFLOAD_SCATTER : 0;
	}
	rss &= info.flow_type_rss_offloads;
	if (config->n_queues > 1 && rss && (config->wants_rss || !is_virtual(config->device))) {
		conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		conf.rx_adv_conf.rss_conf.rss_hf = rss;
		out->caps.has_rss = true;
		out->caps.stable_rss = !is_virtual(config->device);
	}
	conf.intr_conf.rxq = rx_intr && !out->is_memif; /* its descriptors come and go with its peer */
	return rte_eth_dev_configure(id, config->n_queues, config->n_queues, &conf);
}

static int setup_queues(const struct net_port_config *config, uint16_t id, struct net_port *out)
{
	uint16_t n_rx = config->n_desc ? config->n_desc : DEFAULT_DESC;
	uint16_t n_tx = n_rx;
	int socket = rte_eth_dev_socket_id(id);
	int rc = rte_eth_dev_adjust_nb_rx_tx_desc(id, &n_rx, &n_tx);

	for (uint16_t q = 0; rc == 0 && q < config->n_queues; q++) {
		rc = rte_eth_rx_queue_setup(id, q, n_rx, (unsigned)socket, NULL, config->pools[q]);
		if (rc == 0)
			rc = rte_eth_tx_queue_setup(id, q, n_tx, (unsigned)socket, NULL);
	}
	out->n_rx_desc = n_rx;
	out->n_tx_desc = n_tx;
	return rc;
}

/* What not every device can do, and not every one needs. */
static void set_modes(const struct net_port_config *config, uint16_t id)
{
	if (config->promiscuous && rte_eth_promiscuous_enable(id) != 0)
		log_warn("port %s cannot be promiscuous", config->device);
	if (rte_eth_allmulticast_enable(id) != 0) /* neighbour discovery comes to groups */
		log_debug("port %s filters groups by itself", config->device);
	rte_eth_dev_set_link_up(id);
}

static int bring_up(const struct net_port_config *config, uint16_t id, bool rx_intr, struct net_port *out)
{
	int rc = configure(config, id, rx_intr, out);

	if (rc == 0)
		rc = setup_queues(config, id, out);
	if (rc == 0)
		rc = rte_eth_dev_start(id);
	return rc;
}

/* No capability says whether a device has receive interrupts: one that does not start with them is started without. */
static int bring_up_either(const struct net_port_config *config, uint16_t id, struct net_port *out)
{
	if (config->wants_rx_intr && bring_up(config, id, true, out) == 0) {
		out->has_rx_intr = !out->is_memif;
		return 0;
	}
	return bring_up(config, id, false, out);
}

/* As far as the device itself: what is not known of it yet is filled in. */
static int open_device(const struct net_port_config *config, uint16_t id, struct net_port *out)
{
	struct rte_ether_addr mac;
	int rc = bring_up_either(config, id, out);

	if (rc == 0)
		rc = rte_eth_macaddr_get(id, &mac);
	if (rc) {
		log_error("port %s does not start: %s", config->device, rte_strerror(-rc));
		rte_eth_dev_close(id);
		return rc;
	}
	memcpy(out->mac, mac.addr_bytes, 6);
	out->numa_node = rte_eth_dev_socket_id(id);
	set_modes(config, id);
	if (config->bond)
		port_bond_share_mac(id, &mac);
	port_watch_begin(out);
	return 0;
}

int port_start(const struct net_port_config *config, struct net_port *out)
{
	uint16_t id;
	int rc = config->bond ? port_bond_probe(config, &id) : port_probe(config->device, &id);

	if (rc)
		return rc;
	*out = (struct net_port){
		.port_id = id,
		.n_queues = config->n_queues,
		.has_vlans = config->has_vlans,
		.device = config->device,
		.is_bond = config->bond != NULL,
		.bond_mode = config->bond ? port_bond_mode_name(config->bond->mode) : "",
		.wants_promiscuous = config->promiscuous,
		.no_offloads = config->no_offloads,
		.merges = config->merges,
		.reopens = config->reopens,
	};
	port_device_name(config->device, out->name, sizeof(out->name));
	rc = open_device(config, id, out);
	if (rc)
		return rc;
	port_look(out);
	log_info("port %s: MTU %u, %u queues, checksums rx %s tx %s, long segments %s, mbufs of a packet %s", out->name, out->mtu,
		 out->n_queues, out->caps.rx_csum_l4 ? "device" : "software", out->caps.tx_csum_l4 ? "device" : "software",
		 out->caps.tx_tso ? "device" : "software", out->caps.tx_multi_seg ? "several" : "one");
	if (out->is_cut_short)
		log_warn("port %s: frames of MTU %u fit no packet buffer (pools: mbuf_bytes), and the device cannot use several", out->name,
			 out->mtu);
	return 0;
}

int port_return(const struct net_port_config *config, struct net_port *p)
{
	struct net_port again = *p;
	uint16_t id;
	int rc;

	if (!port_is_there(p))
		return -ENODEV;
	rc = port_probe(config->device, &id);
	if (rc)
		return rc;
	again.port_id = id;
	again.is_removed = again.is_unplugged = false;
	again.caps = (struct net_port_caps){0};
	rc = open_device(config, id, &again);
	if (rc)
		return rc;
	if (memcmp(&again.caps, &p->caps, sizeof(again.caps)) != 0 || again.mtu != p->mtu) { /* the workers have made themselves fit for what it was */
		log_error("port %s is not as it was, and is left alone until the dataplane starts anew", p->name);
		port_stop(&again);
		return -EINVAL;
	}
	*p = again;
	return 0;
}

void port_stop(struct net_port *p)
{
	int rc;

	if (p->is_removed)
		return;
	port_watch_end(p);
	rc = rte_eth_dev_stop(p->port_id);
	if (rc == 0)
		rc = rte_eth_dev_close(p->port_id);
	if (rc)
		log_warn("port %s does not stop: %s", p->name, rte_strerror(-rc));
}

/* Lets the driver finish the headers for its device (RTE_MBUF_F_TX_TCP_SEG, checksums). What it refuses is dropped. */
static void prepare(struct net *n, const struct net_port *port, struct net_tx *tx)
{
	unsigned done = tx->n_seen;

	while (done < tx->n) {
		done += rte_eth_tx_prepare(port->port_id, n->cfg.worker, tx->pkts + done, (uint16_t)(tx->n - done));
		if (done == tx->n)
			return;
		net_drop(n, tx->pkts[done], WEIR_R_TX_REFUSED);
		tx->n--;
		memmove(tx->pkts + done, tx->pkts + done + 1, (tx->n - done) * sizeof(tx->pkts[0]));
	}
}

/*
 * net_memif without copies looks whether its ring has room once for four
 * packets, if it gets more than that at a time: a full ring would be
 * overwritten, and the frames there lost with their buffers.
 */
#define MEMIF_BURST 4

static uint16_t transmit(const struct net_port *p, uint16_t queue, struct rte_mbuf **pkts, uint16_t n)
{
	uint16_t done = 0, sent;

	if (!p->is_memif)
		return rte_eth_tx_burst(p->port_id, queue, pkts, n);
	do {
		uint16_t some = n - done < MEMIF_BURST ? (uint16_t)(n - done) : MEMIF_BURST;

		sent = rte_eth_tx_burst(p->port_id, queue, pkts + done, some);
		done = (uint16_t)(done + sent);
		if (sent < some)
			break;
	} while (done < n);
	return done;
}

/* Of the first worker: what LACP has to say goes out although we have nothing to send. */
static void serve_bonds(struct net *n)
{
	struct rte_mbuf *none[1] = {NULL};

	if (likely(n->now_us < n->bond_us))
		return;
	n->bond_us = n->now_us + BOND_US;
	for (unsigned i = 0; i < n->cfg.n_ports; i++)
		if (n->cfg.ports[i].is_bond && !port_is_shut(&n->cfg.ports[i]))
			rte_eth_tx_burst(n->cfg.ports[i].port_id, n->cfg.worker, none, 0);
}

void port_flush(struct net *n)
{
	if (n->cfg.worker == 0)
		serve_bonds(n);
	for (unsigned i = 0; i < n->cfg.n_ports; i++) {
		const struct net_port *port = &n->cfg.ports[i];
		struct net_tx *tx = &n->tx[i];
		uint64_t bytes = 0;
		uint16_t sent;

		if (!tx->n || unlikely(port_is_shut(port))) /* eth_output() drops what comes now */
			continue;
		if (port->caps.tx_csum_l4)
			prepare(n, port, tx);
		if (!tx->n)
			continue;
		if (unlikely(n->capture))
			capture_burst(n, tx->pkts + tx->n_seen, tx->n - tx->n_seen, i, WEIR_CAPTURE_OUT, n->now_us);
		for (unsigned k = 0; k < tx->n; k++)
			bytes += tx->pkts[k]->pkt_len;
		sent = transmit(port, n->cfg.worker, tx->pkts, (uint16_t)tx->n);
		for (unsigned k = sent; k < tx->n; k++)
			bytes -= tx->pkts[k]->pkt_len;
		stat_add(n->stats, WEIR_C_TX_PACKETS, sent);
		stat_add(n->stats, WEIR_C_TX_BYTES, bytes);
		tx->n -= sent; /* the rest waits for the next flush */
		memmove(tx->pkts, tx->pkts + sent, tx->n * sizeof(tx->pkts[0]));
		tx->n_seen = tx->n;
	}
}
