/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections to endpoints: in use by a request, or idle in their endpoint's
 * pool, the latest first. An idle one that stirs in any way is of no use any
 * more: its peer closed it, or sent what nobody asked for.
 */
#include "upstream/upstream_pvt.h"

#define HAND_STEPS 256 /* connections, or endpoints, looked at for an idle one */
#define CAPPED_IDLE_MS 1000 /* of a backend with a bound: other workers may want to open theirs */

static void set_idle_gauge(struct upstream *u, int change)
{
	u->n_idle = (uint32_t)((int)u->n_idle + change);
	stat_set(u->stats, WEIR_G_UPSTREAM_IDLE, u->n_idle);
}

static void unlink_idle(struct upstream *u, struct upstream_conn *uc)
{
	struct endpoint *ep = uc->ep;

	if (uc->prev)
		uc->prev->next = uc->next;
	else
		ep->idle = uc->next;
	if (uc->next)
		uc->next->prev = uc->prev;
	uc->next = uc->prev = NULL;
	ep->n_idle--;
	wheel_cancel(u->cfg.wheel, &uc->timer);
	set_idle_gauge(u, -1);
}

void endpoint_free(struct upstream *u, struct endpoint *ep)
{
	assert(ep->n_conns == 0 && !ep->idle && !ep->is_ejected);
	ep->in[0].next = u->free_endpoints;
	u->free_endpoints = ep;
	u->n_free_endpoints++;
}

void conn_free(struct upstream *u, struct upstream_conn *uc)
{
	struct endpoint *ep = uc->ep;

	uc->state = UC_FREE;
	uc->tcp = NULL;
	uc->tls = NULL;
	uc->ep = NULL;
	uc->next = u->free_conns;
	u->free_conns = uc;
	ep->n_conns--;
	if (ep->backend)
		ep->backend->n_conns--;
	if (endpoint_cap(ep))
		cap_add(endpoint_cap(ep), -1);
	if (!ep->backend && ep->n_conns == 0)
		endpoint_free(u, ep);
}

void pool_evict(struct upstream *u, struct upstream_conn *uc, uint64_t now_us)
{
	unlink_idle(u, uc);
	stat_inc(u->stats, WEIR_C_UPSTREAM_EVICTED);
	conn_close(uc, false, now_us);
	conn_free(u, uc);
}

/* The endpoint's RST came with, or right behind, an answer: its user takes what there is first. */
static void hand_over_rest(struct upstream_conn *uc, uint64_t now_us)
{
	if (uc->state == UC_BUSY && (uc->tls ? tls_readable(uc->tls) : tcp_readable(uc->tcp)) > 0)
		uc->event(uc, uc->user, TCP_EV_READABLE, now_us);
}

void conn_on_event(struct tcp_conn *c, void *user, unsigned events, uint64_t now_us)
{
	struct upstream_conn *uc = user;

	if (events & TCP_EV_CLOSED) {
		hand_over_rest(uc, now_us);
		if (uc->tcp != c) /* that was all of it */
			return;
		uc->close_reason = (uint16_t)tcp_close_reason(c);
		uc->tcp = NULL;
		if (uc->state == UC_CONNECTING)
			wheel_cancel(uc->u->cfg.wheel, &uc->timer); /* armed only where TLS was to follow */
	}
	if (uc->state == UC_IDLE) {
		/* What is told may have been read before it went idle: only what is there now makes it unfit. */
		if (!uc->tcp || conn_has_stirred(uc))
			pool_evict(uc->u, uc, now_us);
		return;
	}
	if (uc->state == UC_HANDSHAKE) {
		secure_on_event(uc, events, now_us);
		return;
	}
	if ((events & TCP_EV_CONNECTED) && uc->tls_hash) {
		secure_begin(uc, now_us);
		return;
	}
	if (events & TCP_EV_CONNECTED)
		uc->state = UC_BUSY;
	uc->event(uc, uc->user, events, now_us);
}

void pool_on_timer(struct upstream *u, struct upstream_conn *uc, uint64_t now_us)
{
	if (uc->state != UC_IDLE) {
		secure_on_timer(uc, now_us);
		return;
	}
	pool_evict(u, uc, now_us);
}

struct upstream_conn *pool_take(struct upstream *u, struct endpoint *ep, uint64_t now_us)
{
	while (ep->idle) {
		struct upstream_conn *uc = ep->idle;

		/* Its event is on the way, or it was made under other settings. */
		if (uc->tls_hash != ep->backend->tls_hash || conn_has_stirred(uc)) {
			pool_evict(u, uc, now_us);
			continue;
		}
		unlink_idle(u, uc);
		uc->state = UC_BUSY;
		uc->is_reused = true;
		return uc;
	}
	return NULL;
}

void pool_put(struct upstream *u, struct upstream_conn *uc, uint64_t now_us)
{
	struct endpoint *ep = uc->ep;
	uint32_t idle_ms = endpoint_cap(ep) && u->cfg.idle_ms > CAPPED_IDLE_MS ? CAPPED_IDLE_MS : u->cfg.idle_ms;

	uc->state = UC_IDLE;
	uc->event = NULL;
	uc->user = NULL;
	uc->prev = NULL;
	uc->next = ep->idle;
	if (uc->next)
		uc->next->prev = uc;
	ep->idle = uc;
	ep->n_idle++;
	wheel_arm(u->cfg.wheel, &uc->timer, u->cfg.wheel_kind, now_us + (uint64_t)idle_ms * 1000);
	set_idle_gauge(u, 1);
}

void pool_close(struct upstream *u, struct endpoint *ep, uint32_t max, uint64_t now_us)
{
	while (ep->idle && max--) {
		bool is_last = ep->n_conns == 1; /* pool_evict() may free ep with it */

		pool_evict(u, ep->idle, now_us);
		if (is_last)
			return;
	}
}

void pool_close_any(struct upstream *u, uint64_t now_us)
{
	for (unsigned i = 0; i < HAND_STEPS && u->n_idle; i++) {
		struct upstream_conn *uc = &u->conns[u->hand++ % u->n_fresh_conns];

		if (uc->state == UC_IDLE) {
			pool_evict(u, uc, now_us);
			return;
		}
	}
}

void pool_close_of(struct upstream *u, struct backend *b, uint64_t now_us)
{
	struct endpoint *e = b->list.first;

	for (unsigned i = 0; i < HAND_STEPS && e; i++, e = listed(b, e)->next)
		if (e->idle) {
			pool_evict(u, e->idle, now_us);
			return;
		}
}
