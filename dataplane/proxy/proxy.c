/* SPDX-License-Identifier: Apache-2.0 */
/* The proxy as its worker sees it: create, snapshots, listeners, drain. */
#include "proxy/proxy.h"

#include <errno.h>
#include <string.h>

#include <rte_malloc.h>

#include "proxy/proxy_pvt.h"
#include "snapshot/snapshot.h"

uint64_t proxy_random(struct proxy *p)
{
	uint64_t z = p->prng += 0x9e3779b97f4a7c15ull; /* SplitMix64 */

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

/* Made anew when a second has passed, and when the wall clock was moved. */
struct slice proxy_date(struct proxy *p, uint64_t now_us)
{
	if (now_us - p->date_from_us >= 1000000) {
		uint64_t unix_s = (now_us + p->unix_offset_us) / 1000000;

		http_date_format(p->date, unix_s);
		p->date_from_us = unix_s * 1000000 - p->unix_offset_us;
	}
	return slice_of(p->date, sizeof(p->date));
}

void proxy_set_clock(struct proxy *p, uint64_t unix_offset_us)
{
	p->date_from_us -= unix_offset_us - p->unix_offset_us;
	p->unix_offset_us = unix_offset_us;
}

static bool allocate(struct proxy *p)
{
	uint32_t n = p->cfg.limits.headers_bytes;
	size_t each = 2 * (size_t)n + FILTER_ROOM + COOKIE_ROOM;

	p->scratch_size = 2 * (size_t)n + 4096 + FILTER_ROOM + COOKIE_ROOM + WEIR_MAX_CLIENT_CERT_BYTES;
	p->clients = rte_calloc("proxy", p->cfg.n_clients, sizeof(*p->clients), RTE_CACHE_LINE_SIZE);
	p->requests = rte_calloc("proxy", p->cfg.n_requests, sizeof(*p->requests), RTE_CACHE_LINE_SIZE);
	p->buffers = rte_malloc("proxy", p->cfg.n_requests * each, RTE_CACHE_LINE_SIZE);
	p->scratch = rte_malloc("proxy", p->scratch_size, RTE_CACHE_LINE_SIZE);
	p->mirrors = rte_calloc("proxy", p->cfg.n_mirrors, sizeof(*p->mirrors), RTE_CACHE_LINE_SIZE);
	p->mirror_buffers = rte_malloc("proxy", (size_t)p->cfg.n_mirrors * n, RTE_CACHE_LINE_SIZE);
	p->tunnels = rte_calloc("proxy", p->cfg.n_tunnels, sizeof(*p->tunnels), RTE_CACHE_LINE_SIZE);
	if (p->log.n_slots) {
		p->tunnel_records = rte_malloc("proxy", p->cfg.n_tunnels * sizeof(*p->tunnel_records), RTE_CACHE_LINE_SIZE);
		if (!p->tunnel_records)
			return false;
	}
	if (!p->tunnels || !p->clients || !p->requests || !p->buffers || !p->scratch || !p->mirrors || !p->mirror_buffers)
		return false;
	for (uint32_t i = p->cfg.n_requests; i-- > 0;) {
		struct request *rq = &p->requests[i];

		rq->buf = p->buffers + i * each;
		rq->response_buf = rq->buf + n;
		rq->filter_mem = rq->response_buf + n;
		rq->next = p->free_requests;
		p->free_requests = rq;
	}
	return true;
}

static void make_via(struct proxy *p)
{
	const char *name = p->cfg.forwarding.via;

	for (unsigned minor = 0; name && *name && minor < 2; minor++) {
		struct buf b;

		buf_init(&b, p->via_text[minor], sizeof(p->via_text[minor]));
		buf_str(&b, minor ? "1.1 " : "1.0 ");
		buf_str(&b, name);
		assert(!b.overflow);
		p->via[minor] = buf_get(&b);
	}
}

static void release(struct proxy *p)
{
	rte_free(p->clients);
	rte_free(p->requests);
	rte_free(p->buffers);
	rte_free(p->scratch);
	rte_free(p->mirrors);
	rte_free(p->tunnels);
	rte_free(p->tunnel_records);
	rte_free(p->mirror_buffers);
	rte_free(p);
}

/* A slice of the clients: the rest comes with the next tick, since a million at once would hold up all others. */
static void drain_slice(struct proxy *p, uint64_t now_us)
{
	for (unsigned i = 0; i < DRAIN_SLICE && p->drain_at < p->n_fresh_clients; i++) {
		struct client *c = &p->clients[p->drain_at++];

		if (c->state == CLIENT_HANDSHAKE)
			client_drain_handshake(c, now_us);
		else if (c->state == CLIENT_IDLE && (!c->is_late || p->closes_tunnels))
			client_drain(c, now_us);
		else if (c->state == CLIENT_TUNNEL && p->closes_tunnels)
			tunnel_on_timer(c, now_us);
		else if (c->state == CLIENT_HEAD || c->state == CLIENT_BUSY)
			c->rq->keep = false;
	}
	if (p->drain_at < p->n_fresh_clients)
		wheel_arm(p->cfg.wheel, &p->drain, p->cfg.wheel_kind + 1, now_us + DRAIN_EVERY_US);
	else if (!p->closes_tunnels)
		wheel_arm(p->cfg.wheel, &p->drain, p->cfg.wheel_kind + 1, p->tunnels_end_us);
}

/* Once the first round is done, the second one comes shortly before the end, for tunnels. */
static void on_drain_timer(void *ctx, struct wheel_timer *t, uint64_t now_us)
{
	struct proxy *p = ctx;

	if (!p->closes_tunnels && p->drain_at == p->n_fresh_clients) {
		p->closes_tunnels = true;
		p->drain_at = 0;
	}
	drain_slice(p, now_us);
}

struct proxy *proxy_create(const struct proxy_config *config)
{
	struct proxy *p = rte_zmalloc("proxy", sizeof(*p), RTE_CACHE_LINE_SIZE);

	if (!p)
		return NULL;
	p->cfg = *config;
	if (!p->cfg.handshake_ms)
		p->cfg.handshake_ms = HANDSHAKE_MS;
	p->stats = config->stats;
	p->prng = config->seed;
	p->date_from_us = UINT64_MAX / 2; /* none yet */
	make_via(p);
	record_init(&p->log, config->log, config->worker);
	if (!allocate(p)) {
		release(p);
		return NULL;
	}
	tcp_on_ahead(config->tcp, proxy_look_ahead, p);
	wheel_handle(config->wheel, config->wheel_kind, client_on_timer, p);
	wheel_handle(config->wheel, config->wheel_kind + 1, on_drain_timer, p);
	wheel_handle(config->wheel, config->wheel_kind + 2, mirror_on_timer, p);
	return p;
}

void proxy_destroy(struct proxy *p, uint64_t now_us)
{
	tcp_on_ahead(p->cfg.tcp, NULL, NULL);
	wheel_cancel(p->cfg.wheel, &p->drain);
	for (uint32_t i = 0; i < p->n_fresh_clients; i++)
		if (p->clients[i].state != CLIENT_FREE) {
			if (p->clients[i].state != CLIENT_TUNNEL && p->clients[i].rq) /* told, but not counted: its connection is */
				p->clients[i].rq->log.reason_plus1 = WEIR_R_CLOSE_SHUTDOWN + 1;
			client_end(&p->clients[i], true, now_us);
		}
	mirrors_end(p, now_us);
	for (unsigned i = 0; i < p->n_listening; i++)
		if (p->listening[i].l)
			tcp_unlisten(p->listening[i].l, now_us);
	if (p->current)
		p->cfg.release(p->cfg.release_ctx, p->current);
	release(p);
}

/* -- snapshots */

void proxy_set_snapshot(struct proxy *p, const struct weir_snapshot *s)
{
	const struct weir_snapshot *old = p->current;

	p->current = s;
	listeners_begin(p);
	upstream_retain(p->cfg.upstream, s);
	if (old)
		p->cfg.release(p->cfg.release_ctx, old);
}

bool proxy_step(struct proxy *p, int *budget, uint64_t now_us)
{
	return listeners_step(p, budget, now_us) && upstream_step(p->cfg.upstream, budget, now_us);
}

/* -- listeners */

/* The place of this address and port, else a free one; NULL: there is none. */
static struct listening *find_listening(struct proxy *p, const struct weir_ip *addr, uint16_t port)
{
	struct listening *unused = NULL;

	for (unsigned i = 0; i < p->n_listening; i++) {
		struct listening *l = &p->listening[i];

		if (l->port == port && ip_eq(&l->addr, addr))
			return l;
		if (!l->l && l->n_clients == 0)
			unused = l;
	}
	if (!unused && p->n_listening < PROXY_MAX_LISTENERS)
		unused = &p->listening[p->n_listening++];
	if (unused)
		*unused = (struct listening){.p = p, .addr = *addr, .port = port};
	return unused;
}

static void want(struct proxy *p, const struct weir_ip *addr, const struct weir_bind *b)
{
	struct listening *l = find_listening(p, addr, b->port);
	const struct tcp_listen args = {
		.addr = *addr,
		.port = b->port,
		.cc = p->cfg.listener_cc ? p->cfg.listener_cc(p->cfg.listener_cc_ctx, addr, b->port) : TCP_CC_DEFAULT,
		.accept = client_accept,
		.event = client_on_event,
		.ctx = l,
	};

	if (!l || (!l->l && tcp_listen(p->cfg.tcp, &args, &l->l) != 0)) {
		stat_inc(p->stats, WEIR_C_LISTENERS_REFUSED);
		return;
	}
	l->header_ms = b->header_ms;
	l->idle_ms = b->idle_ms;
	l->proto = b->proto;
	l->mark = p->listen_mark;
}

/* Of this port another bind has the address for itself. Binds are by port, and the zero address comes first. */
static bool has_own_bind(const struct proxy *p, uint32_t i, const struct weir_ip *addr)
{
	const uint16_t port = snapshot_bind(p->current, i)->port;

	while (++i < snapshot_count(p->current, BINDS) && snapshot_bind(p->current, i)->port == port)
		if (ip_eq(&snapshot_bind(p->current, i)->addr, addr))
			return true;
	return false;
}

/* The k-th address of the bind; of the zero address there are as many as weir.yaml lists. */
static void want_bind(struct proxy *p, uint32_t i, unsigned k)
{
	const struct weir_bind *b = snapshot_bind(p->current, i);


	if (b->proto == WEIR_PROTO_HTTPS && !p->cfg.tls) {
		if (k == 0)
			stat_inc(p->stats, WEIR_C_LISTENERS_REFUSED);
		return;
	}
	if (ip_is_any(&b->addr) && p->cfg.n_listen) {
		if (!has_own_bind(p, i, &p->cfg.listen[k]))
			want(p, &p->cfg.listen[k], b);
	} else if (k == 0) {
		want(p, &b->addr, b);
	}
}

void listeners_begin(struct proxy *p)
{
	p->listen_phase = LISTEN_OPEN;
	p->listen_at = 0;
	p->listen_mark++;
}

/* True: all that the snapshot asks for are open. */
static bool open_wanted(struct proxy *p, int *budget)
{
	unsigned n_each = p->cfg.n_listen ? p->cfg.n_listen : 1;

	for (uint32_t n = snapshot_count(p->current, BINDS) * n_each; p->listen_at < n; p->listen_at++) {
		if (*budget <= 0)
			return false;
		want_bind(p, p->listen_at / n_each, p->listen_at % n_each);
		*budget -= (int)(COST_LISTEN + p->n_listening / 8); /* all places are looked through */
	}
	return true;
}

/* True: those that it does not ask for are closed. */
static bool close_unwanted(struct proxy *p, int *budget, uint64_t now_us)
{
	for (; p->listen_at < p->n_listening; p->listen_at++) {
		struct listening *l = &p->listening[p->listen_at];

		if (*budget <= 0)
			return false;
		*budget -= 1;
		if (!l->l || l->mark == p->listen_mark)
			continue;
		tcp_unlisten(l->l, now_us);
		l->l = NULL;
		l->header_ms = l->idle_ms = 0;
		*budget -= COST_LISTEN;
	}
	return true;
}

bool listeners_step(struct proxy *p, int *budget, uint64_t now_us)
{
	unsigned n = 0;

	if (p->listen_phase == LISTEN_DONE)
		return true;
	if (p->listen_phase == LISTEN_OPEN) {
		if (!open_wanted(p, budget))
			return false;
		p->listen_phase = LISTEN_CLOSE;
		p->listen_at = 0;
	}
	if (!close_unwanted(p, budget, now_us))
		return false;
	p->listen_phase = LISTEN_DONE;
	for (unsigned i = 0; i < p->n_listening; i++)
		n += p->listening[i].l != NULL;
	stat_set(p->stats, WEIR_G_LISTENERS, n);
	return true;
}

/* -- drain */

void proxy_drain(struct proxy *p, uint64_t now_us)
{
	if (p->is_draining)
		return;
	p->is_draining = true;
	p->tunnels_end_us = now_us + (uint64_t)(p->cfg.drain_ms - RTE_MIN(p->cfg.drain_ms / 10, TUNNELS_END_MS)) * 1000;
	drain_slice(p, now_us);
	if (p->n_clients == 0)
		mirrors_end(p, now_us);
	upstream_drain(p->cfg.upstream);
}

bool proxy_is_idle(const struct proxy *p)
{
	return p->n_clients == 0;
}
