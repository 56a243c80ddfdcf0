/* SPDX-License-Identifier: Apache-2.0 */
/* Backends by id, and connections handed out. All memory is taken at the start. */
#include "upstream/upstream.h"

#include <rte_malloc.h>

#include "base/hash.h"
#include "upstream/upstream_pvt.h"

static bool allocate(struct upstream *u)
{
	uint32_t n_buckets = rte_align32pow2(u->cfg.n_backends);
	uint32_t n_tokens = rte_align32pow2(u->cfg.n_endpoints);

	u->bucket_mask = n_buckets - 1;
	u->bucket_secret = hash_secret() | 1;
	u->token_mask = n_tokens - 1;
	u->tokens = rte_calloc("upstream", n_tokens, sizeof(*u->tokens), RTE_CACHE_LINE_SIZE);
	u->conns = rte_calloc("upstream", u->cfg.n_conns, sizeof(*u->conns), RTE_CACHE_LINE_SIZE);
	u->endpoints = rte_calloc("upstream", u->cfg.n_endpoints, sizeof(*u->endpoints), RTE_CACHE_LINE_SIZE);
	u->backends = rte_calloc("upstream", u->cfg.n_backends, sizeof(*u->backends), RTE_CACHE_LINE_SIZE);
	u->buckets = rte_calloc("upstream", n_buckets, sizeof(*u->buckets), RTE_CACHE_LINE_SIZE);
	if (!u->conns || !u->endpoints || !u->backends || !u->buckets || !u->tokens ||
	    pages_init(&u->pages, u->cfg.n_table_pages ? u->cfg.n_table_pages : 1) != 0)
		return false;
	for (uint32_t i = u->cfg.n_endpoints; i-- > 0;) {
		u->endpoints[i].in[0].next = u->free_endpoints;
		u->free_endpoints = &u->endpoints[i];
	}
	for (uint32_t i = u->cfg.n_backends; i-- > 0;) {
		u->backends[i].next = u->free_backends;
		u->free_backends = &u->backends[i];
	}
	u->n_free_endpoints = u->cfg.n_endpoints;
	return true;
}

static void release(struct upstream *u)
{
	rte_free(u->conns);
	rte_free(u->endpoints);
	rte_free(u->backends);
	rte_free(u->buckets);
	rte_free(u->tokens);
	pages_fini(&u->pages);
	rte_free(u);
}

/* One kind of timer for all: what it is follows from where it lies. */
static void on_timer(void *ctx, struct wheel_timer *t, uint64_t now_us)
{
	struct upstream *u = ctx;
	uintptr_t at = (uintptr_t)t;

	if (at >= (uintptr_t)u->conns && at < (uintptr_t)(u->conns + u->cfg.n_conns))
		pool_on_timer(u, (struct upstream_conn *)(void *)t, now_us); /* its first field */
	else
		outlier_return(u, (struct endpoint *)(void *)t, now_us); /* likewise */
}

struct upstream *upstream_create(const struct upstream_config *config)
{
	struct upstream *u = rte_zmalloc("upstream", sizeof(*u), RTE_CACHE_LINE_SIZE);

	if (!u)
		return NULL;
	u->cfg = *config;
	u->stats = config->stats;
	u->prng = config->seed ? config->seed : 1;
	u->work_at_us = NEVER;
	TAILQ_INIT(&u->queue);
	if (!allocate(u)) {
		release(u);
		return NULL;
	}
	wheel_handle(config->wheel, config->wheel_kind, on_timer, u);
	return u;
}

void upstream_destroy(struct upstream *u, uint64_t now_us)
{
	u->is_draining = true;
	for (uint32_t i = 0; i < u->n_fresh_conns; i++)
		if (u->conns[i].state == UC_IDLE)
			pool_evict(u, &u->conns[i], now_us);
	for (uint32_t i = 0; i < u->cfg.n_endpoints && u->n_ejected; i++)
		outlier_return(u, &u->endpoints[i], now_us);
	release(u);
}

struct backend *backend_find(const struct upstream *u, uint64_t id)
{
	struct backend *b = *backend_bucket(u, id);

	while (b && b->id != id)
		b = b->next;
	return b;
}

/* -- connections */

static bool has_conn(const struct upstream *u)
{
	return u->free_conns || u->n_fresh_conns < u->cfg.n_conns;
}

static struct upstream_conn *take_conn(struct upstream *u)
{
	struct upstream_conn *uc = u->free_conns;

	if (!uc)
		return &u->conns[u->n_fresh_conns++];
	u->free_conns = uc->next;
	return uc;
}

/* Room for one more among those of all workers. */
static bool take_cap(struct upstream *u, struct endpoint *ep, uint64_t now_us)
{
	struct backend *b = ep->backend;

	if (cap_take(b->cap, b->set.max_connections))
		return true;
	pool_close_of(u, b, now_us);
	if (cap_take(b->cap, b->set.max_connections))
		return true;
	if (b->n_conns == 0)
		cap_want(b->cap);
	stat_inc(u->stats, WEIR_C_UPSTREAM_CAPPED);
	return false;
}

/* Without a counter that all workers share, each has its part of the bound, for each endpoint alike, and one at least. */
static uint32_t max_conns(const struct upstream *u, const struct endpoint *ep)
{
	const struct backend *b = ep->backend;
	uint32_t n = b->list.n * (u->cfg.n_workers ? u->cfg.n_workers : 1);
	uint32_t share = b->set.max_connections / n ? b->set.max_connections / n : 1;

	return b->set.max_connections && !b->cap && share < u->cfg.max_per_endpoint ? share : u->cfg.max_per_endpoint;
}

static enum upstream_outcome open_conn(struct upstream *u, struct endpoint *ep, uint32_t connect_ms, uint64_t now_us,
				       struct upstream_conn **out)
{
	struct upstream_conn *uc;
	struct tcp_conn *tcp;
	struct tcp_connect args = {.remote = ep->addr, .remote_port = ep->port,
				   .timeout_ms = connect_ms ? connect_ms : u->cfg.connect_timeout_ms,
				   .cc = (enum tcp_cc_kind)ep->cc};
	enum weir_reason why;

	if (ep->n_conns >= max_conns(u, ep) && ep->n_idle)
		pool_close(u, ep, 1, now_us);
	if (!has_conn(u))
		pool_close_any(u, now_us);
	if (!has_conn(u) || ep->n_conns >= max_conns(u, ep))
		return UPSTREAM_LIMIT;
	if (!net_source_for(u->cfg.net, &ep->addr, &args.local) || (ep->backend->set.is_tls && !u->cfg.tls))
		return UPSTREAM_UNREACHABLE;
	if (ep->backend->cap && !take_cap(u, ep, now_us))
		return UPSTREAM_LIMIT;
	tcp = tcp_connect(u->cfg.tcp, &args, now_us, &why);
	if (!tcp) {
		if (ep->backend->cap)
			cap_add(ep->backend->cap, -1);
		return UPSTREAM_UNREACHABLE;
	}
	uc = take_conn(u);
	tcp_set_user(tcp, conn_on_event, uc);
	uc->tcp = tcp;
	uc->tls = NULL;
	uc->tls_hash = ep->backend->tls_hash;
	if (uc->tls_hash)
		secure_arm(u, uc, connect_ms, now_us);
	uc->next = uc->prev = NULL;
	uc->u = u;
	uc->ep = ep;
	uc->state = UC_CONNECTING;
	uc->is_reused = false;
	uc->n_requests = 0;
	ep->n_conns++;
	ep->backend->n_conns++;
	stat_inc(u->stats, WEIR_C_UPSTREAM_CONNECTS);
	*out = uc;
	return UPSTREAM_CONNECTING;
}

/* Who gets it: the endpoint that the client's token names, if it serves and is well, else whom the algorithm chooses. */
static struct endpoint *choose(struct upstream *u, struct backend *b, const struct upstream_want *want,
			       const struct upstream_tried *tried, uint64_t now_us)
{
	bool is_first = tried->n == 0;
	struct choice c = {.tried = tried, .key = want->key, .now_us = now_us};

	if (want->has_token && b->set.affinity) {
		struct endpoint *e = affinity_find(u, b, &want->token);
		uint8_t level = e ? listed(b, e)->level : LEVEL_UNUSABLE;

		if ((level == LEVEL_HEALTHY || level == LEVEL_LEAVING) && !endpoint_is_tried(e, tried)) {
			stat_inc(u->stats, WEIR_C_AFFINITY_KEPT);
			return e;
		}
		if (is_first)
			stat_inc(u->stats, WEIR_C_AFFINITY_LOST);
	}
	if (b->set.balance >= WEIR_BALANCE_MAGLEV && !want->has_key) {
		c.key = balance_random64(u);
		if (is_first)
			stat_inc(u->stats, WEIR_C_BALANCE_NO_KEY);
	}
	return balance_pick(u, b, &c);
}

enum upstream_outcome upstream_get(struct upstream *u, const struct upstream_args *args, uint64_t now_us,
				   struct upstream_conn **out)
{
	static const struct upstream_want any;
	const struct upstream_want *want = args->want ? args->want : &any;
	struct backend *b = backend_get(u, args->backend_id, now_us);
	struct upstream_tried *tried = args->tried;
	enum upstream_outcome o = UPSTREAM_NO_ENDPOINT;
	bool is_full = false;

	*out = NULL;
	if (!b)
		return UPSTREAM_NO_BACKEND;
	do { /* one at its limit gives way to the next */
		struct endpoint *ep = choose(u, b, want, tried, now_us);

		if (!ep)
			return is_full ? UPSTREAM_LIMIT : UPSTREAM_NO_ENDPOINT;
		if (tried->n < UPSTREAM_MAX_TRIED)
			tried->endpoint[tried->n++] = ep->id;
		*out = args->fresh ? NULL : pool_take(u, ep, now_us);
		if (*out) {
			stat_inc(u->stats, WEIR_C_UPSTREAM_REUSED);
			o = UPSTREAM_READY;
		} else {
			o = open_conn(u, ep, args->connect_ms, now_us, out);
		}
		is_full = o == UPSTREAM_LIMIT;
	} while (is_full && tried->n < UPSTREAM_MAX_TRIED);
	if (o == UPSTREAM_READY || o == UPSTREAM_CONNECTING) {
		(*out)->event = args->event;
		(*out)->user = args->user;
		(*out)->n_requests++;
	}
	return o;
}

void upstream_hand_over(struct upstream_conn *uc, upstream_event_fn *event, void *user)
{
	uc->event = event;
	uc->user = user;
}

struct tcp_conn *upstream_tcp(const struct upstream_conn *uc)
{
	return uc->tcp;
}

struct stream upstream_stream(const struct upstream_conn *uc)
{
	return uc->tls ? stream_of_tls(uc->tls) : stream_of_tcp(uc->tcp);
}

enum weir_reason upstream_tls_reason(const struct upstream_conn *uc)
{
	return uc->tls ? tls_reason(uc->tls) : WEIR_N_REASONS;
}

bool upstream_is_truncated(const struct upstream_conn *uc)
{
	return uc->tls && tls_is_truncated(uc->tls);
}

enum weir_reason upstream_close_reason(const struct upstream_conn *uc)
{
	return (enum weir_reason)uc->close_reason;
}

bool upstream_session(const struct upstream_conn *uc, struct upstream_token *out)
{
	const struct endpoint *e = uc->ep;

	*out = e->token;
	return e->backend && e->backend->set.affinity == WEIR_AFFINITY_COOKIE && listed(e->backend, e)->level <= LEVEL_EJECTED;
}

void upstream_result(struct upstream *u, const struct upstream_conn *uc, bool is_ok, uint64_t now_us)
{
	const struct backend *b = uc->ep->backend;

	if (b && outlier_is_on(&b->set))
		outlier_result(u, uc->ep, is_ok, now_us);
}

bool upstream_is_reused(const struct upstream_conn *uc)
{
	return uc->is_reused;
}

/* Nothing of the request waits in the session any more. */
static bool is_flushed(const struct upstream_conn *uc)
{
	if (!uc->tls)
		return true;
	tls_flush(uc->tls);
	return tls_is_flushed(uc->tls);
}

void upstream_put(struct upstream *u, struct upstream_conn *uc, uint64_t now_us)
{
	const struct backend *b = uc->ep->backend;
	bool is_usable = uc->tcp && uc->state == UC_BUSY && b && !u->is_draining && uc->tls_hash == b->tls_hash &&
			 uc->ep->n_idle < u->cfg.max_idle_per_endpoint && is_flushed(uc) && !conn_has_stirred(uc);
	bool is_worn = is_usable && b->set.max_requests && uc->n_requests >= b->set.max_requests;

	if (is_worn)
		stat_inc(u->stats, WEIR_C_UPSTREAM_WORN);
	if (is_usable && !is_worn && !(b->cap && cap_is_wanted(b->cap)))
		pool_put(u, uc, now_us);
	else
		upstream_discard(u, uc, false, now_us);
}

void upstream_discard(struct upstream *u, struct upstream_conn *uc, bool abort, uint64_t now_us)
{
	if (uc->state == UC_CONNECTING || uc->state == UC_HANDSHAKE)
		wheel_cancel(u->cfg.wheel, &uc->timer);
	conn_close(uc, abort, now_us);
	conn_free(u, uc);
}
