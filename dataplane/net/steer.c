/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which worker owns a packet, and the way to it: rings between the workers,
 * each with one producer and one consumer.
 */
#include <rte_ring.h>

#include "base/hash.h"
#include "net/net_pvt.h"

void steer_ports(uint16_t port_lo, uint16_t port_hi, uint16_t n_workers, uint16_t worker, uint16_t *lo, uint16_t *hi)
{
	uint32_t share = ((uint32_t)port_hi - port_lo + 1) / n_workers;

	*lo = (uint16_t)(port_lo + worker * share);
	*hi = (uint16_t)(*lo + share - 1);
}

uint16_t steer_owner(const struct net *n, const struct net_port *port, const struct ip_flow *flow)
{
	uint16_t n_workers = n->cfg.n_workers;

	if (n_workers == 1)
		return 0;
	if (flow->local_port >= n->cfg.port_lo && flow->local_port <= n->cfg.port_hi) {
		uint32_t share = ((uint32_t)n->cfg.port_hi - n->cfg.port_lo + 1) / n_workers;
		uint32_t w = (uint32_t)(flow->local_port - n->cfg.port_lo) / share;

		return w < n_workers ? (uint16_t)w : (uint16_t)(n_workers - 1);
	}
	if (port->caps.stable_rss)
		return n->cfg.worker;
	return (uint16_t)((hash64(flow, sizeof(*flow), 0) >> 32) % n_workers);
}

static void flush_one(struct net *n, unsigned worker)
{
	struct net_redirect *q = &n->redirect[worker];
	unsigned sent = rte_ring_sp_enqueue_burst(n->cfg.redirect_out[worker], (void **)q->pkts, q->n, NULL);

	stat_add(n->stats, WEIR_C_STEERED_OUT, sent);
	for (unsigned i = sent; i < q->n; i++)
		net_drop(n, q->pkts[i], WEIR_R_STEER_RING_FULL);
	q->n = 0;
}

static void give(struct net *n, unsigned worker, struct rte_mbuf *m, uint16_t port)
{
	struct net_redirect *q = &n->redirect[worker];

	m->port = port; /* index of the port that received it */
	if (q->n == NET_BURST)
		flush_one(n, worker);
	q->pkts[q->n++] = m;
}

bool steer_redirect(struct net *n, struct rx *r, const struct ip_flow *flow)
{
	uint16_t owner;

	if (r->is_redirected)
		return false;
	owner = steer_owner(n, &n->cfg.ports[r->port], flow);
	if (owner == n->cfg.worker)
		return false;
	give(n, owner, r->m, r->port);
	return true;
}

void steer_broadcast(struct net *n, const struct rx *r)
{
	for (unsigned i = 0; i < n->cfg.n_workers; i++) {
		struct rte_mbuf *copy;

		if (i == n->cfg.worker)
			continue;
		copy = rte_pktmbuf_copy(r->m, n->cfg.pool, 0, UINT32_MAX);
		if (!copy) {
			stat_reason(n->stats, WEIR_R_NO_MBUF);
			return;
		}
		give(n, i, copy, r->port);
	}
}

void steer_flush(struct net *n)
{
	for (unsigned i = 0; i < n->cfg.n_workers; i++)
		if (n->redirect[i].n)
			flush_one(n, i);
}
