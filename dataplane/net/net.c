/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's network: packets in from its queues and from other workers, packets out at the iteration's end. */
#include "net/net.h"

#include <string.h>

#include <rte_ethdev.h>
#include <rte_malloc.h>
#include <rte_ring.h>

#include "net/net_pvt.h"
#include "stats/stage.h"

#define N_ANNOUNCEMENTS 3
#define ANNOUNCE_US 1000000

/* Times that links of ours came up. */
static uint32_t count_ups(const struct net *n)
{
	uint32_t n_ups = 0;

	for (unsigned i = 0; i < n->cfg.n_ports; i++)
		n_ups += __atomic_load_n(&n->cfg.ports[i].n_ups, __ATOMIC_RELAXED);
	return n_ups;
}

struct net *net_create(const struct net_config *config)
{
	struct net *n = rte_zmalloc("net", sizeof(*n), RTE_CACHE_LINE_SIZE);

	if (!n)
		return NULL;
	n->cfg = *config;
	n->stats = config->stats;
	n->n_ups = count_ups(n);
	n->tx = rte_calloc("net-tx", config->n_ports, sizeof(*n->tx), RTE_CACHE_LINE_SIZE);
	n->redirect = rte_calloc("net-redirect", config->n_workers, sizeof(*n->redirect), RTE_CACHE_LINE_SIZE);
	if (!n->tx || !n->redirect || checksum_init() != 0 || !neigh_create(n) || !pmtu_create(n)) {
		net_destroy(n);
		return NULL;
	}
	for (unsigned i = 0; i < config->n_ifaces; i++)
		for (unsigned p = 0; p < config->n_ports; p++)
			if (config->ports[p].port_id == config->ifaces[i].port_id)
				n->iface_port[i] = (uint8_t)p;
	handover_init(n);
	return n;
}

void net_destroy(struct net *n)
{
	for (unsigned i = 0; n->tx && i < n->cfg.n_ports; i++)
		rte_pktmbuf_free_bulk(n->tx[i].pkts, n->tx[i].n);
	for (unsigned i = 0; n->redirect && i < n->cfg.n_workers; i++)
		rte_pktmbuf_free_bulk(n->redirect[i].pkts, n->redirect[i].n);
	neigh_destroy(n);
	pmtu_destroy(n);
	rte_free(n->tx);
	rte_free(n->redirect);
	rte_free(n);
}

void net_set_tcp(struct net *n, struct tcp_stack *tcp)
{
	n->tcp = tcp;
}

const struct fib *net_set_fib(struct net *n, const struct fib *fib)
{
	const struct fib *former = n->fib;

	n->fib = fib;
	return former;
}

static void handle(struct net *n, uint16_t port, struct rte_mbuf *m, bool is_redirected, uint64_t now_us)
{
	struct rx r = {.m = m, .now_us = now_us, .port = port & (uint16_t)~STEER_INNER, .is_redirected = is_redirected};

	if (port & STEER_INNER)
		vxlan_inner_input(n, &r);
	else
		eth_input(n, &r);
}

void net_input(struct net *n, uint16_t port_index, struct rte_mbuf **pkts, unsigned n_pkts, uint64_t now_us)
{
	enum weir_stage former = stage_enter(n->cfg.stages, WEIR_STAGE_TCP_IN);

	n->now_us = now_us;
	if (unlikely(n->capture))
		capture_burst(n, pkts, n_pkts, port_index, WEIR_CAPTURE_IN, now_us);
	for (unsigned i = 0; i < n_pkts; i++) {
		if (i + 2 < n_pkts)
			rte_prefetch0(rte_pktmbuf_mtod(pkts[i + 2], void *));
		stat_add(n->stats, WEIR_C_RX_BYTES, pkts[i]->pkt_len);
		handle(n, port_index, pkts[i], false, now_us);
	}
	gro_flush(n, now_us);
	stat_add(n->stats, WEIR_C_RX_PACKETS, n_pkts);
	stage_leave(n->cfg.stages, former);
}

static unsigned poll_redirects(struct net *n, uint64_t now_us)
{
	struct rte_mbuf *pkts[NET_BURST];
	unsigned total = 0;

	for (unsigned w = 0; w < n->cfg.n_workers; w++) {
		enum weir_stage former;
		unsigned k;

		if (w == n->cfg.worker)
			continue;
		k = rte_ring_sc_dequeue_burst(n->cfg.redirect_in[w], (void **)pkts, NET_BURST, NULL);
		if (k == 0)
			continue;
		former = stage_enter(n->cfg.stages, WEIR_STAGE_TCP_IN);
		for (unsigned i = 0; i < k; i++)
			handle(n, pkts[i]->port, pkts[i], true, now_us);
		gro_flush(n, now_us);
		stage_leave(n->cfg.stages, former);
		stat_add(n->stats, WEIR_C_STEERED_IN, k);
		total += k;
	}
	return total;
}

static void announce_iface(struct net *n, unsigned i)
{
	for (unsigned k = 0; k < n->cfg.ifaces[i].n_addrs; k++) {
		const struct weir_ip *ip = &n->cfg.ifaces[i].addrs[k].ip;

		if (!handover_announces(n, &n->cfg.ifaces[i].addrs[k]))
			continue;
		if (ip_is4(ip))
			arp_announce(n, i, ip);
		else
			ndp_announce(n, i, ip);
	}
}

/* The first worker tells the neighbours where our addresses are, a few times at start and when a link has come up. */
static void announce(struct net *n, uint64_t now_us)
{
	n->announce_us = now_us + ANNOUNCE_US;
	n->n_announced++;
	n->is_announcing = true;
	for (unsigned i = 0; i < n->cfg.n_ifaces; i++)
		if (!port_is_shut(&n->cfg.ports[n->iface_port[i]]))
			announce_iface(n, i);
	n->is_announcing = false;
}

/* Switches may have forgotten where we are, and another port of theirs may be ours now. */
static void look_for_links(struct net *n)
{
	uint32_t n_ups = count_ups(n);

	if (likely(n_ups == n->n_ups))
		return;
	n->n_ups = n_ups;
	n->n_announced = 0;
	n->announce_us = 0;
}

unsigned net_poll(struct net *n, uint64_t now_us)
{
	struct rte_mbuf *pkts[NET_BURST];
	unsigned total = 0;

	n->now_us = now_us;
	if (unlikely(n->n_too_big))
		way_tell(n, now_us);
	if (n->cfg.worker == 0) {
		look_for_links(n);
		if (unlikely(n->n_announced < N_ANNOUNCEMENTS && now_us >= n->announce_us))
			announce(n, now_us);
	}
	if (unlikely(n->hand.is_on))
		handover_tick(n);
	for (uint16_t i = 0; i < n->cfg.n_ports; i++) {
		const struct net_port *port = &n->cfg.ports[i];
		uint16_t k;

		if (unlikely(port_is_shut(port)))
			continue;
		k = rte_eth_rx_burst(port->port_id, n->cfg.worker, pkts, NET_BURST);
		if (k)
			net_input(n, i, pkts, k, now_us);
		total += k;
	}
	if (n->cfg.n_workers > 1)
		total += poll_redirects(n, now_us);
	if (n->cfg.punt.down)
		total += punt_poll(n, now_us);
	return total;
}

void net_flush(struct net *n)
{
	enum weir_stage former = stage_enter(n->cfg.stages, WEIR_STAGE_TX);

	port_flush(n);
	if (n->cfg.n_workers > 1)
		steer_flush(n);
	if (n->has_punted)
		punt_flush(n);
	stage_leave(n->cfg.stages, former);
}

bool net_has_unsent(const struct net *n)
{
	for (unsigned i = 0; i < n->cfg.n_ports; i++)
		if (n->tx[i].n)
			return true;
	return false;
}
