/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which worker owns a packet, what is asked of the devices for that, and the
 * way to it: rings between the workers, each with one producer and one consumer.
 */
#include <string.h>

#include <rte_ring.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/wake.h"
#include "net/net_pvt.h"
#include "net/steer_pvt.h"

/* -- whose connection it is */

static void set_share(struct steer *s, uint32_t first, uint32_t share)
{
	s->first = (uint16_t)first;
	s->share = share;
	s->last = (uint16_t)(first + share * s->n_workers - 1);
}

void steer_init(struct steer *s, uint16_t n_workers, uint16_t port_lo, uint16_t port_hi)
{
	memset(s, 0, sizeof(*s));
	s->n_workers = n_workers;
	s->port_lo = port_lo;
	s->port_hi = port_hi;
	set_share(s, port_lo, ((uint32_t)port_hi - port_lo + 1) / n_workers);
	assert(s->share > 0);
}

bool steer_align(struct steer *s)
{
	for (uint32_t share = 1u << 15; share > 0; share /= 2) {
		uint32_t first = (s->port_lo + share - 1) / share * share;

		if (first + share * s->n_workers - 1 <= s->port_hi) {
			set_share(s, first, share);
			return true;
		}
	}
	return false;
}

void steer_rule(const struct steer *s, uint16_t worker, uint16_t *value, uint16_t *mask)
{
	*value = (uint16_t)(s->first + worker * s->share);
	*mask = (uint16_t)~(s->share - 1);
}

int steer_opener(const struct steer *s, const struct ip_flow *flow)
{
	if (flow->local_port < s->first || flow->local_port > s->last)
		return -1;
	return s->by_hash ? steer_hash_opener(s, flow) : (int)((uint32_t)(flow->local_port - s->first) / s->share);
}

void steer_ports(const struct steer *s, uint16_t worker, uint16_t *lo, uint16_t *hi)
{
	*lo = s->by_hash ? s->first : (uint16_t)(s->first + worker * s->share);
	*hi = s->by_hash ? s->last : (uint16_t)(*lo + s->share - 1);
}

uint16_t steer_owner(const struct net *n, const struct net_port *port, const struct ip_flow *flow)
{
	int opener;

	if (n->cfg.n_workers == 1)
		return 0;
	opener = steer_opener(n->cfg.steer, flow);
	if (opener >= 0)
		return (uint16_t)opener;
	if (port->caps.stable_rss)
		return n->cfg.worker;
	return (uint16_t)((hash64(flow, sizeof(*flow), 0) >> 32) % n->cfg.n_workers);
}

void net_steer_port(void *ctx, struct ip_flow *flow)
{
	const struct net *n = ctx;

	steer_set_port(n->cfg.steer, n->cfg.worker, flow);
}

unsigned net_steer_fit(void *ctx, const struct ip_flow *flow)
{
	const struct net *n = ctx;

	return steer_fit(n->cfg.steer, flow);
}

/* -- what the devices do */

static unsigned start_flows(const struct steer *s, struct net_port *ports, unsigned n_ports)
{
	unsigned n = 0;

	for (unsigned i = 0; i < n_ports; i++)
		if (steer_flow_start(s, &ports[i])) {
			ports[i].steer = STEER_FLOW;
			n++;
		}
	return n;
}

static void stop_flows(struct net_port *ports, unsigned n_ports)
{
	for (unsigned i = 0; i < n_ports; i++)
		if (ports[i].steer == STEER_FLOW) {
			steer_flow_stop(&ports[i]);
			ports[i].steer = STEER_REDIRECT;
		}
}

/* Bits that the tables of all ports with RSS of ours follow; 0: there is none, or too small a table for the workers. */
static unsigned common_bits(const struct steer *s, const struct net_port *ports, unsigned n_ports)
{
	unsigned bits = 0;

	for (unsigned i = 0; i < n_ports; i++) {
		unsigned b = steer_rss_bits(&ports[i]);

		if (1u << b >= s->n_workers && b >= 2 && (bits == 0 || b < bits))
			bits = b;
	}
	return bits;
}

static unsigned start_rss(struct steer *s, const uint8_t *random, struct net_port *ports, unsigned n_ports)
{
	unsigned bits = common_bits(s, ports, n_ports);
	unsigned n = 0;

	if (!bits || steer_use_hash(s, bits, random) != 0)
		return 0;
	for (unsigned i = 0; i < n_ports; i++)
		if (steer_rss_bits(&ports[i]) >= bits && steer_rss_start(s, &ports[i])) {
			ports[i].steer = STEER_RSS;
			n++;
		}
	return n;
}

static void say(const struct steer *s, const struct net_port *ports, unsigned n_ports)
{
	static const char *const ways[] = {
		[STEER_REDIRECT] = "is redirected between the workers",
		[STEER_FLOW] = "comes to its worker by flow rules",
		[STEER_RSS] = "comes to its worker by RSS",
	};

	for (unsigned i = 0; i < n_ports; i++)
		log_info("port %s: what backends answer %s (local ports %u to %u by %s)", ports[i].name, ways[ports[i].steer],
			 s->first, s->last, s->by_hash ? "hash" : "number");
}

/* What the last try left behind: back to equal shares, and no help of a device. */
static void start_over(struct steer *s, struct net_port *ports, unsigned n_ports)
{
	stop_flows(ports, n_ports);
	steer_fini(s);
	steer_init(s, s->n_workers, s->port_lo, s->port_hi);
}

void steer_start(struct steer *s, enum steer_want want, const uint8_t random[STEER_KEY_BYTES], struct net_port *ports,
		 unsigned n_ports)
{
	bool may_flow = want == STEER_WANT_AUTO || want == STEER_WANT_FLOW;
	bool may_rss = want == STEER_WANT_AUTO || want == STEER_WANT_RSS;
	unsigned n_flow = 0;

	for (unsigned i = 0; i < n_ports; i++)
		ports[i].steer = STEER_REDIRECT;
	if (s->n_workers == 1)
		return;
	if (may_flow && steer_align(s)) {
		n_flow = start_flows(s, ports, n_ports);
		if (n_flow < n_ports)
			start_over(s, ports, n_ports);
	}
	if (n_flow < n_ports && may_rss && start_rss(s, random, ports, n_ports) == 0) {
		start_over(s, ports, n_ports);
		may_rss = false;
	}
	/* Some ports have rules, and none has RSS: rules for some are better than none. */
	if (n_flow && n_flow < n_ports && !may_rss && steer_align(s) && start_flows(s, ports, n_ports) == 0)
		start_over(s, ports, n_ports);
	say(s, ports, n_ports);
}

void steer_stop(struct steer *s, struct net_port *ports, unsigned n_ports)
{
	stop_flows(ports, n_ports);
	steer_fini(s);
}

/* -- rings */

static void flush_one(struct net *n, unsigned worker)
{
	struct net_redirect *q = &n->redirect[worker];
	unsigned sent = rte_ring_sp_enqueue_burst(n->cfg.redirect_out[worker], (void **)q->pkts, q->n, NULL);

	if (n->cfg.wakes)
		wake_up(&n->cfg.wakes[worker]);
	stat_add(n->stats, WEIR_C_STEERED_OUT, sent);
	for (unsigned i = sent; i < q->n; i++)
		net_drop(n, q->pkts[i], WEIR_R_STEER_RING_FULL);
	q->n = 0;
}

static void give(struct net *n, unsigned worker, struct rte_mbuf *m, uint16_t port)
{
	struct net_redirect *q = &n->redirect[worker];

	m->port = port; /* index of the port that received it, and STEER_INNER */
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
	give(n, owner, r->m, r->vtep ? r->port | STEER_INNER : r->port);
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
		give(n, i, copy, r->vtep ? r->port | STEER_INNER : r->port);
	}
}

void steer_flush(struct net *n)
{
	for (unsigned i = 0; i < n->cfg.n_workers; i++)
		if (n->redirect[i].n)
			flush_one(n, i);
}
