/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A DPDK port: probed, asked what it can do, configured with that and no more.
 * What it lacks is done in software above.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>

#include "base/log.h"
#include "net/net_pvt.h"

#define DEFAULT_DESC 512

/* "net_tap0,iface=x" > "net_tap0" */
static void device_name(const char *device, char *out, size_t cap)
{
	size_t n = strcspn(device, ",");

	snprintf(out, cap, "%.*s", (int)(n < cap ? n : cap - 1), device);
}

static bool is_virtual(const char *device)
{
	return strncmp(device, "net_", 4) == 0;
}

static int probe(const char *device, uint16_t *id)
{
	char name[64];
	int rc;

	device_name(device, name, sizeof(name));
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
static bool has_real_offloads(const struct rte_eth_dev_info *info)
{
	return strcmp(info->driver_name, "net_tap") != 0;
}

/* Checksums, and cutting of long segments, which needs all of them. */
static void choose_transmit(const struct rte_eth_dev_info *info, struct net_port_caps *caps)
{
	uint64_t tx = info->tx_offload_capa;

	caps->tx_csum_l4 = tx & RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
	caps->tx_csum_ip = caps->tx_csum_l4 && (tx & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM);
	caps->tx_tso = caps->tx_csum_ip && caps->tx_multi_seg && (tx & RTE_ETH_TX_OFFLOAD_TCP_TSO);
}

static void choose_offloads(const struct net_port_config *config, const struct rte_eth_dev_info *info,
			    struct rte_eth_conf *conf, struct net_port_caps *caps)
{
	uint32_t room = rte_pktmbuf_data_room_size(config->pools[0]) - RTE_PKTMBUF_HEADROOM;
	uint64_t rx = info->rx_offload_capa;

	caps->tx_multi_seg = info->tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	caps->max_tx_segs = info->tx_desc_lim.nb_mtu_seg_max ? info->tx_desc_lim.nb_mtu_seg_max : 16;
	caps->max_tso_segs = info->tx_desc_lim.nb_seg_max ? info->tx_desc_lim.nb_seg_max : 16;
	if (has_real_offloads(info) && !config->no_offloads) {
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
	if (conf->rxmode.mtu + RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN > room && (rx & RTE_ETH_RX_OFFLOAD_SCATTER))
		conf->rxmode.offloads |= RTE_ETH_RX_OFFLOAD_SCATTER;
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
	out->is_memif = strcmp(info.driver_name, "net_memif") == 0;
	conf.rxmode.mtu = config->mtu;
	if (info.max_mtu && conf.rxmode.mtu > info.max_mtu)
		conf.rxmode.mtu = info.max_mtu;
	out->mtu = (uint16_t)conf.rxmode.mtu;
	/* A memif says that it takes no larger frames, but puts any into a chain of buffers, as its peer does. */
	if (out->is_memif && conf.rxmode.mtu > RTE_ETHER_MTU)
		conf.rxmode.mtu = RTE_ETHER_MTU;
	choose_offloads(config, &info, &conf, &out->caps);
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

int port_start(const struct net_port_config *config, struct net_port *out)
{
	struct rte_ether_addr mac;
	uint16_t id;
	int rc = probe(config->device, &id);

	if (rc)
		return rc;
	*out = (struct net_port){.port_id = id, .n_queues = config->n_queues, .has_vlans = config->has_vlans};
	device_name(config->device, out->name, sizeof(out->name));
	rc = bring_up_either(config, id, out);
	if (rc == 0)
		rc = rte_eth_macaddr_get(id, &mac);
	if (rc) {
		log_error("port %s does not start: %s", config->device, rte_strerror(-rc));
		rte_eth_dev_close(id);
		return rc;
	}
	memcpy(out->mac, mac.addr_bytes, 6);
	set_modes(config, id);
	port_look(out);
	log_info("port %s: MTU %u, %u queues, checksums rx %s tx %s, long segments %s, mbufs of a packet %s", out->name, out->mtu,
		 out->n_queues, out->caps.rx_csum_l4 ? "device" : "software", out->caps.tx_csum_l4 ? "device" : "software",
		 out->caps.tx_tso ? "device" : "software", out->caps.tx_multi_seg ? "several" : "one");
	return 0;
}

void port_stop(struct net_port *p)
{
	int rc = rte_eth_dev_stop(p->port_id);

	if (rc == 0)
		rc = rte_eth_dev_close(p->port_id);
	if (rc)
		log_warn("port %s does not stop: %s", p->name, rte_strerror(-rc));
}

bool port_is_link_up(const struct net_port *p)
{
	struct rte_eth_link link;

	return rte_eth_link_get_nowait(p->port_id, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

void port_look(struct net_port *p)
{
	if (p->is_memif)
		__atomic_store_n(&p->is_shut, !port_is_link_up(p), __ATOMIC_RELEASE);
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

void port_flush(struct net *n)
{
	for (unsigned i = 0; i < n->cfg.n_ports; i++) {
		const struct net_port *port = &n->cfg.ports[i];
		struct net_tx *tx = &n->tx[i];
		uint64_t bytes = 0;
		uint16_t sent;

		if (!tx->n || unlikely(port_is_shut(port))) /* what finds no room any more is dropped as TX_FULL */
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
