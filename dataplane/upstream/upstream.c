/* SPDX-License-Identifier: Apache-2.0 */
/* Backends by id, their endpoints, and connections handed out. All memory is taken at the start. */
#include "upstream/upstream.h"

#include <errno.h>
#include <string.h>

#include <rte_malloc.h>

#include "snapshot/snapshot.h"
#include "upstream/upstream_pvt.h"

static bool allocate(struct upstream *u)
{
	uint32_t n_buckets = rte_align32pow2(u->cfg.n_backends);

	u->bucket_mask = n_buckets - 1;
	u->conns = rte_calloc("upstream", u->cfg.n_conns, sizeof(*u->conns), RTE_CACHE_LINE_SIZE);
	u->endpoints = rte_calloc("upstream", u->cfg.n_endpoints, sizeof(*u->endpoints), RTE_CACHE_LINE_SIZE);
	u->backends = rte_calloc("upstream", u->cfg.n_backends, sizeof(*u->backends), RTE_CACHE_LINE_SIZE);
	u->buckets = rte_calloc("upstream", n_buckets, sizeof(*u->buckets), RTE_CACHE_LINE_SIZE);
	if (!u->conns || !u->endpoints || !u->backends || !u->buckets)
		return false;
	for (uint32_t i = u->cfg.n_endpoints; i-- > 0;) {
		u->endpoints[i].next = u->free_endpoints;
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
	rte_free(u);
}

struct upstream *upstream_create(const struct upstream_config *config)
{
	struct upstream *u = rte_zmalloc("upstream", sizeof(*u), RTE_CACHE_LINE_SIZE);

	if (!u)
		return NULL;
	u->cfg = *config;
	u->stats = config->stats;
	if (!allocate(u)) {
		release(u);
		return NULL;
	}
	wheel_handle(config->wheel, config->wheel_kind, pool_on_timer, u);
	return u;
}

void upstream_destroy(struct upstream *u, uint64_t now_us)
{
	upstream_drain(u, now_us);
	release(u);
}

/* -- backends and endpoints */

static struct backend *find_backend(const struct upstream *u, uint64_t id)
{
	struct backend *b = u->buckets[id & u->bucket_mask];

	while (b && b->id != id)
		b = b->next;
	return b;
}

static struct backend *add_backend(struct upstream *u, uint64_t id)
{
	struct backend *b = u->free_backends;

	if (!b)
		return NULL;
	u->free_backends = b->next;
	memset(b, 0, sizeof(*b));
	b->id = id;
	b->cc = u->cfg.backend_cc ? (uint8_t)u->cfg.backend_cc(u->cfg.backend_cc_ctx, id) : TCP_CC_DEFAULT;
	b->next = u->buckets[id & u->bucket_mask];
	u->buckets[id & u->bucket_mask] = b;
	return b;
}

static int compare(const struct endpoint *e, const struct weir_endpoint *w)
{
	int order = memcmp(e->addr.b, w->addr.b, sizeof(e->addr.b));

	return order ? order : (e->port > w->port) - (e->port < w->port);
}

/* No set lists it any more: idle connections go, busy ones finish. */
static void let_go(struct upstream *u, struct endpoint *e, uint64_t now_us)
{
	e->is_gone = true;
	if (e->n_conns == 0)
		endpoint_free(u, e);
	else
		pool_close(u, e, UINT32_MAX, now_us);
}

static void set_values(struct backend *b, struct endpoint *e, const struct weir_endpoint *w)
{
	e->flags = w->flags;
	e->weight = w->weight;
	e->cc = b->cc;
	if (b->endpoints && b->endpoints->weight != w->weight)
		b->has_weights = true;
}

static struct endpoint *make_endpoint(struct upstream *u, const struct weir_endpoint *w)
{
	struct endpoint *e = u->free_endpoints;

	u->free_endpoints = e->next;
	u->n_free_endpoints--;
	memset(e, 0, sizeof(*e));
	e->addr = w->addr;
	e->port = w->port;
	e->id = ++u->next_id;
	return e;
}

/* Endpoints of the set that the backend has not: both are sorted. */
static uint32_t count_new(const struct backend *b, const struct weir_endpoint_set *set)
{
	const struct endpoint *e = b->endpoints;
	uint32_t n = 0;

	for (uint32_t i = 0; i < set->n_endpoints; i++) {
		while (e && compare(e, &set->ep[i]) < 0)
			e = e->next;
		if (!e || compare(e, &set->ep[i]) != 0)
			n++;
	}
	return n;
}

/* Merges the sorted set into the sorted list. */
static void merge(struct upstream *u, struct backend *b, const struct weir_endpoint_set *set, uint64_t now_us)
{
	struct endpoint **p = &b->endpoints;

	b->has_weights = false;
	b->turn = NULL;
	for (uint32_t i = 0; i < set->n_endpoints; i++) {
		const struct weir_endpoint *w = &set->ep[i];

		while (*p && compare(*p, w) < 0) {
			struct endpoint *gone = *p;

			*p = gone->next;
			let_go(u, gone, now_us);
		}
		if (!*p || compare(*p, w) != 0) {
			struct endpoint *e = make_endpoint(u, w);

			e->next = *p;
			*p = e;
		}
		set_values(b, *p, w);
		p = &(*p)->next;
	}
	while (*p) {
		struct endpoint *gone = *p;

		*p = gone->next;
		let_go(u, gone, now_us);
	}
	b->n_endpoints = set->n_endpoints;
}

int upstream_set_endpoints(struct upstream *u, const struct weir_endpoint_set *set, uint64_t now_us)
{
	struct backend *b = find_backend(u, set->backend_id);

	if (!b)
		b = add_backend(u, set->backend_id);
	if (!b || count_new(b, set) > u->n_free_endpoints) {
		stat_inc(u->stats, WEIR_C_UPSTREAM_SETS_NO_ROOM);
		return -ENOMEM;
	}
	merge(u, b, set, now_us);
	return 0;
}

static void drop_backend(struct upstream *u, struct backend *b, uint64_t now_us)
{
	while (b->endpoints) {
		struct endpoint *e = b->endpoints;

		b->endpoints = e->next;
		let_go(u, e, now_us);
	}
	b->next = u->free_backends;
	u->free_backends = b;
}

void upstream_retain(struct upstream *u, const struct weir_snapshot *s, uint64_t now_us)
{
	for (uint32_t i = 0; i < snapshot_count(s, BACKENDS); i++) {
		struct backend *b = find_backend(u, snapshot_backend(s, i)->id);

		if (b)
			b->is_named = true;
	}
	for (uint32_t i = 0; i <= u->bucket_mask; i++) {
		struct backend **p = &u->buckets[i];

		while (*p) {
			struct backend *b = *p;

			if (b->is_named) {
				b->is_named = false;
				p = &b->next;
				continue;
			}
			*p = b->next;
			drop_backend(u, b, now_us);
		}
	}
}

void upstream_drain(struct upstream *u, uint64_t now_us)
{
	u->is_draining = true;
	for (uint32_t i = 0; i <= u->bucket_mask; i++)
		for (struct backend *b = u->buckets[i]; b; b = b->next)
			for (struct endpoint *e = b->endpoints; e; e = e->next)
				pool_close(u, e, UINT32_MAX, now_us);
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

static enum upstream_outcome open_conn(struct upstream *u, struct endpoint *ep, uint32_t connect_ms, uint64_t now_us,
				       struct upstream_conn **out)
{
	struct upstream_conn *uc;
	struct tcp_conn *tcp;
	struct tcp_connect args = {.remote = ep->addr, .remote_port = ep->port,
				   .timeout_ms = connect_ms ? connect_ms : u->cfg.connect_timeout_ms,
				   .cc = (enum tcp_cc_kind)ep->cc};
	enum weir_reason why;

	if (ep->n_conns >= u->cfg.max_per_endpoint && ep->n_idle)
		pool_close(u, ep, 1, now_us);
	if (!has_conn(u))
		pool_close_any(u, now_us);
	if (!has_conn(u) || ep->n_conns >= u->cfg.max_per_endpoint)
		return UPSTREAM_LIMIT;
	if (!net_source_for(u->cfg.net, &ep->addr, &args.local))
		return UPSTREAM_UNREACHABLE;
	tcp = tcp_connect(u->cfg.tcp, &args, now_us, &why);
	if (!tcp)
		return UPSTREAM_UNREACHABLE;
	uc = take_conn(u);
	tcp_set_user(tcp, conn_on_event, uc);
	uc->tcp = tcp;
	uc->next = uc->prev = NULL;
	uc->u = u;
	uc->ep = ep;
	uc->state = UC_CONNECTING;
	uc->is_reused = false;
	ep->n_conns++;
	stat_inc(u->stats, WEIR_C_UPSTREAM_CONNECTS);
	*out = uc;
	return UPSTREAM_CONNECTING;
}

enum upstream_outcome upstream_get(struct upstream *u, const struct upstream_args *args, uint64_t now_us,
				   struct upstream_conn **out)
{
	struct backend *b = find_backend(u, args->backend_id);
	struct upstream_tried *tried = args->tried;
	enum upstream_outcome o = UPSTREAM_NO_ENDPOINT;
	bool is_full = false;

	*out = NULL;
	if (!b)
		return UPSTREAM_NO_BACKEND;
	do { /* one at its limit gives way to the next */
		struct endpoint *ep = balance_pick(b, tried);

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

enum weir_reason upstream_close_reason(const struct upstream_conn *uc)
{
	return (enum weir_reason)uc->close_reason;
}

bool upstream_is_reused(const struct upstream_conn *uc)
{
	return uc->is_reused;
}

void upstream_put(struct upstream *u, struct upstream_conn *uc, uint64_t now_us)
{
	bool is_usable = uc->tcp && uc->state == UC_BUSY && !uc->ep->is_gone && !u->is_draining &&
			 uc->ep->n_idle < u->cfg.max_idle_per_endpoint && !tcp_readable(uc->tcp) && !tcp_is_eof(uc->tcp);

	if (is_usable)
		pool_put(u, uc, now_us);
	else
		upstream_discard(u, uc, false, now_us);
}

void upstream_discard(struct upstream *u, struct upstream_conn *uc, bool abort, uint64_t now_us)
{
	if (uc->tcp && abort)
		tcp_abort(uc->tcp, WEIR_R_CLOSE_ABORTED, now_us);
	else if (uc->tcp)
		tcp_close(uc->tcp, now_us);
	conn_free(u, uc);
}
