/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Next hops and their link addresses, for ARP and neighbour discovery alike:
 * the states of RFC 4861 7.3.2, without DELAY. Sized at start. Packets wait in
 * a bounded queue while a next hop is being asked for.
 */
#include <string.h>

#include <rte_malloc.h>

#include "base/hash.h"
#include "net/net_pvt.h"

#define HAND_STEPS 64 /* entries looked at for one that may go */

/* The link of waiting packets: in a field that means nothing until a device gets them. It is not aligned for a pointer. */
static struct rte_mbuf *queue_next(const struct rte_mbuf *m)
{
	struct rte_mbuf *next;

	memcpy(&next, m->dynfield1, sizeof(next));
	return next;
}

static void set_queue_next(struct rte_mbuf *m, struct rte_mbuf *next)
{
	memcpy(m->dynfield1, &next, sizeof(next));
}

static_assert(sizeof(((struct rte_mbuf *)0)->dynfield1) >= sizeof(void *), "a pointer fits");

static uint32_t bucket_of(const struct net *n, unsigned iface, const struct weir_ip *ip)
{
	return (uint32_t)hash64(ip->b, sizeof(ip->b), iface) & n->neigh.mask;
}

static struct neigh *find(const struct net *n, unsigned iface, const struct weir_ip *ip)
{
	struct neigh *e = n->neigh.buckets[bucket_of(n, iface, ip)];

	while (e && (e->iface != iface || !ip_eq(&e->ip, ip)))
		e = e->next;
	return e;
}

static void drop_queue(struct net *n, struct neigh *e)
{
	while (e->head) {
		struct rte_mbuf *m = e->head;

		e->head = queue_next(m);
		net_drop(n, m, WEIR_R_NEIGHBOUR_FAILED);
	}
	e->tail = NULL;
	e->n_queued = 0;
}

static void forget(struct net *n, struct neigh *e)
{
	struct neigh **p = &n->neigh.buckets[bucket_of(n, e->iface, &e->ip)];

	while (*p != e)
		p = &(*p)->next;
	*p = e->next;
	drop_queue(n, e);
	wheel_cancel(n->cfg.wheel, &e->timer);
	e->state = NEIGH_FREE;
	e->next = n->neigh.free;
	n->neigh.free = e;
	n->neigh.n_used--;
	stat_set(n->stats, WEIR_G_NEIGHBOURS, n->neigh.n_used);
}

/* Something that nobody has confirmed lately makes room. */
static void make_room(struct net *n, uint64_t now_us)
{
	for (unsigned i = 0; i < HAND_STEPS && !n->neigh.free; i++) {
		struct neigh *e = &n->neigh.entries[n->neigh.hand++ % n->neigh.n];

		if (e->state == NEIGH_STALE || (e->state == NEIGH_REACHABLE && now_us - e->confirmed_us > NEIGH_REACHABLE_US))
			forget(n, e);
	}
}

static struct neigh *create(struct net *n, unsigned iface, const struct weir_ip *ip, uint64_t now_us)
{
	uint32_t b = bucket_of(n, iface, ip);
	struct neigh *e;

	if (!n->neigh.free)
		make_room(n, now_us);
	e = n->neigh.free;
	if (!e)
		return NULL;
	n->neigh.free = e->next;
	memset(e, 0, sizeof(*e));
	e->ip = *ip;
	e->iface = (uint8_t)iface;
	e->state = NEIGH_INCOMPLETE;
	e->next = n->neigh.buckets[b];
	n->neigh.buckets[b] = e;
	n->neigh.n_used++;
	stat_set(n->stats, WEIR_G_NEIGHBOURS, n->neigh.n_used);
	return e;
}

static void ask(struct net *n, struct neigh *e, uint64_t now_us)
{
	const uint8_t *dst = e->state == NEIGH_PROBE ? e->mac : NULL;

	e->tries++;
	if (ip_is4(&e->ip))
		arp_request(n, e->iface, &e->ip, dst);
	else
		ndp_solicit(n, e->iface, &e->ip, dst);
	wheel_arm(n->cfg.wheel, &e->timer, n->cfg.wheel_kind, now_us + NEIGH_RETRANS_US);
}

/* No answer in time. */
static void on_timer(void *ctx, struct wheel_timer *t, uint64_t now_us)
{
	struct neigh *e = (struct neigh *)(void *)t; /* its first field */
	struct net *n = ctx;

	if (e->state != NEIGH_INCOMPLETE && e->state != NEIGH_PROBE)
		return;
	if (e->tries >= NEIGH_TRIES)
		forget(n, e);
	else
		ask(n, e, now_us);
}

bool neigh_create(struct net *n)
{
	uint32_t n_entries = n->cfg.n_neighbours;
	uint32_t n_buckets = rte_align32pow2(n_entries);

	n->neigh.n = n_entries;
	n->neigh.mask = n_buckets - 1;
	n->neigh.entries = rte_calloc("neighbours", n_entries, sizeof(*n->neigh.entries), RTE_CACHE_LINE_SIZE);
	n->neigh.buckets = rte_calloc("neighbours", n_buckets, sizeof(*n->neigh.buckets), RTE_CACHE_LINE_SIZE);
	if (!n->neigh.entries || !n->neigh.buckets)
		return false;
	for (uint32_t i = n_entries; i-- > 0;) {
		n->neigh.entries[i].next = n->neigh.free;
		n->neigh.free = &n->neigh.entries[i];
	}
	wheel_handle(n->cfg.wheel, n->cfg.wheel_kind, on_timer, n);
	return true;
}

void neigh_destroy(struct net *n)
{
	for (uint32_t i = 0; n->neigh.entries && n->neigh.buckets && i < n->neigh.n; i++)
		if (n->neigh.entries[i].state != NEIGH_FREE)
			forget(n, &n->neigh.entries[i]);
	rte_free(n->neigh.entries);
	rte_free(n->neigh.buckets);
}

static void enqueue(struct net *n, struct neigh *e, struct rte_mbuf *m)
{
	if (e->n_queued >= n->cfg.neighbour_queue) {
		net_drop(n, m, WEIR_R_NEIGHBOUR_QUEUE_FULL);
		return;
	}
	set_queue_next(m, NULL);
	if (e->tail)
		set_queue_next(e->tail, m);
	else
		e->head = m;
	e->tail = m;
	e->n_queued++;
}

void neigh_output(struct net *n, unsigned iface, const struct weir_ip *hop, struct rte_mbuf *m, uint16_t ethertype,
		  uint64_t now_us)
{
	struct neigh *e = find(n, iface, hop);

	if (!e) {
		e = create(n, iface, hop, now_us);
		if (!e) {
			net_drop(n, m, WEIR_R_NEIGHBOUR_TABLE_FULL);
			return;
		}
		ask(n, e, now_us);
	}
	if (e->state == NEIGH_INCOMPLETE) {
		enqueue(n, e, m);
		return;
	}
	if (e->state == NEIGH_REACHABLE && now_us - e->confirmed_us > NEIGH_REACHABLE_US)
		e->state = NEIGH_STALE;
	if (e->state == NEIGH_STALE) {
		e->state = NEIGH_PROBE;
		e->tries = 0;
		ask(n, e, now_us);
	}
	eth_output(n, iface, m, e->mac, ethertype);
}

/* The packet's own version says which: what waits for a next hop need not be of its family (RFC 8950). */
static uint16_t ethertype_of(const struct rte_mbuf *m)
{
	return *rte_pktmbuf_mtod(m, const uint8_t *) >> 4 == 4 ? ETHERTYPE_IP4 : ETHERTYPE_IP6;
}

static void send_queue(struct net *n, struct neigh *e)
{
	struct rte_mbuf *m = e->head;

	e->head = e->tail = NULL;
	e->n_queued = 0;
	while (m) {
		struct rte_mbuf *next = queue_next(m);

		set_queue_next(m, NULL);
		eth_output(n, e->iface, m, e->mac, ethertype_of(m));
		m = next;
	}
}

void neigh_learn(struct net *n, unsigned iface, const struct weir_ip *ip, const uint8_t mac[6], bool may_create,
		 bool is_answer, uint64_t now_us)
{
	struct neigh *e = find(n, iface, ip);
	bool is_changed;

	if (!e && !may_create)
		return;
	if (!e)
		e = create(n, iface, ip, now_us);
	if (!e)
		return; /* it is only a hint */
	is_changed = e->state == NEIGH_INCOMPLETE || memcmp(e->mac, mac, 6) != 0;
	if (e->state == NEIGH_INCOMPLETE)
		stat_inc(n->stats, WEIR_C_NEIGHBOURS_RESOLVED);
	if (!is_changed && !is_answer)
		return; /* nothing new, and no confirmation */
	memcpy(e->mac, mac, 6);
	e->state = is_answer ? NEIGH_REACHABLE : NEIGH_STALE;
	e->confirmed_us = now_us;
	e->tries = 0;
	wheel_cancel(n->cfg.wheel, &e->timer);
	send_queue(n, e);
}

void neigh_confirm(struct net *n, unsigned iface, const struct weir_ip *ip, uint64_t now_us)
{
	struct neigh *e = find(n, iface, ip);

	if (!e || e->state == NEIGH_INCOMPLETE)
		return;
	e->state = NEIGH_REACHABLE;
	e->confirmed_us = now_us;
	e->tries = 0;
	wheel_cancel(n->cfg.wheel, &e->timer);
}

bool neigh_doubt(struct net *n, unsigned iface, const struct weir_ip *ip, const uint8_t mac[6])
{
	struct neigh *e = find(n, iface, ip);

	if (!e || e->state == NEIGH_INCOMPLETE || memcmp(e->mac, mac, 6) == 0)
		return false;
	if (e->state == NEIGH_REACHABLE)
		e->state = NEIGH_STALE;
	return true;
}
