/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What main asks for, done in slices: another set of a backend's endpoints,
 * another snapshot, a drain. One job at a time, so each finds what the one before it
 * left; the worker takes no message meanwhile.
 *
 * A set: the backend's other list is made beside the one that serves, then takes its
 * place at once, then whom it does not have are let go. A snapshot: each backend takes its
 * settings when it is looked at, or sooner, when a request asks for it; then those that are not named go.
 */
#include <string.h>

#include <rte_branch_prediction.h>

#include "snapshot/snapshot.h"
#include "upstream/upstream_pvt.h"

/* -- backends */

static const struct weir_backend *find_settings(const struct weir_snapshot *s, uint64_t id)
{
	uint32_t lo = 0;
	uint32_t hi = s ? snapshot_count(s, BACKENDS) : 0;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		const struct weir_backend *w = snapshot_backend(s, mid);

		if (w->id == id)
			return w;
		if (w->id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

/* Its connections are counted from now on, or not any more. */
static void set_cap(struct upstream *u, struct backend *b, bool is_wanted)
{
	struct upstream_cap *cap = is_wanted && u->cfg.caps ? cap_find(u->cfg.caps, b->id) : NULL;

	if (is_wanted && u->cfg.caps && !cap)
		stat_inc(u->stats, WEIR_C_UPSTREAM_CAPS_FULL);
	if (cap == b->cap)
		return;
	if (b->cap)
		cap_add(b->cap, -(int32_t)b->n_conns);
	if (cap)
		cap_add(cap, (int32_t)b->n_conns);
	b->cap = cap;
}

const struct weir_backend_tls *backend_tls(const struct upstream *u, uint64_t id)
{
	const struct weir_backend *w = find_settings(u->snapshot, id);

	return w && w->tls != WEIR_NONE ? snapshot_backend_tls(u->snapshot, w->tls) : NULL;
}

/* How TLS to it is to be. What that cost. */
static int take_tls(struct upstream *u, struct backend *b, const struct weir_backend *w)
{
	const struct weir_backend_tls *tls = w->tls == WEIR_NONE ? NULL : snapshot_backend_tls(u->snapshot, w->tls);
	uint64_t hash;

	if (!tls && !b->set.is_tls)
		return 0;
	hash = tls ? tls_backend_hash(u->snapshot, tls) : 0;
	if (hash != b->tls_hash)
		u->job.has_other_tls = true;
	b->tls_hash = hash;
	return tls ? COST_TLS + COST_LOOK * (int)tls->sans.count : COST_LOOK;
}

/* What it cost. */
static int take_settings(struct upstream *u, struct backend *b, const struct weir_backend *w, uint64_t now_us)
{
	const struct settings set = {
		.balance = w->balance,
		.is_tls = w->tls != WEIR_NONE,
		.affinity = w->affinity,
		.max_ejected_percent = w->max_ejected_percent,
		.slow_start_ms = w->slow_start_ms,
		.max_connections = w->max_connections,
		.max_requests = w->max_requests,
		.eject_failures = w->eject_failures,
		.eject_base_ms = w->eject_base_ms,
		.eject_max_ms = w->eject_max_ms,
		.success_window_ms = w->success_window_ms,
		.success_deviations = w->success_deviations,
		.success_requests = w->success_requests,
	};
	bool is_other = set.balance != b->set.balance || !set.slow_start_ms != !b->set.slow_start_ms;

	int cost = COST_SETTINGS + (set.max_connections ? COST_CAP : 0) + (is_other && b->table.algo ? COST_TABLE : 0);
	int tls_cost = take_tls(u, b, w);

	if (memcmp(&set, &b->set, sizeof(set)) == 0)
		return tls_cost;
	b->set = set;
	set_cap(u, b, set.max_connections != 0);
	if (!outlier_is_on(&set) && b->n_ejected) {
		b->needs_scan = true;
		balance_queue(u, b, now_us);
	}
	if (is_other)
		balance_changed(u, b, now_us);
	return cost + tls_cost;
}

static struct backend *add_backend(struct upstream *u, uint64_t id, uint64_t now_us)
{
	const struct weir_backend *w = find_settings(u->snapshot, id);
	struct backend *b = u->free_backends;

	if (!b)
		return NULL;
	u->free_backends = b->next;
	memset(b, 0, sizeof(*b));
	b->id = id;
	b->mark = u->mark;
	b->cc = u->cfg.backend_cc ? (uint8_t)u->cfg.backend_cc(u->cfg.backend_cc_ctx, id) : TCP_CC_DEFAULT;
	b->next = *backend_bucket(u, id);
	*backend_bucket(u, id) = b;
	u->n_backends++;
	if (w) /* the set comes after its snapshot */
		take_settings(u, b, w, now_us);
	return b;
}

/* The snapshot that is being taken over names it. What that cost. */
static int name(struct upstream *u, struct backend *b, const struct weir_backend *w, uint64_t now_us)
{
	b->mark = u->mark;
	u->job.n++;
	return take_settings(u, b, w, now_us);
}

struct backend *backend_get(struct upstream *u, uint64_t id, uint64_t now_us)
{
	struct backend *b = backend_find(u, id);

	if (unlikely(u->job.kind == JOB_RETAIN) && b && b->mark != u->mark) {
		const struct weir_backend *w = find_settings(u->snapshot, id);

		if (!w)
			return NULL;
		name(u, b, w, now_us);
	}
	return b;
}

/* -- a set of endpoints */

enum { SET_COUNT, SET_MAKE, SET_LET_GO };

static int compare(const struct endpoint *e, const struct weir_endpoint *w)
{
	int order = memcmp(e->addr.b, w->addr.b, sizeof(e->addr.b));

	return order ? order : (e->port > w->port) - (e->port < w->port);
}

void upstream_set_endpoints(struct upstream *u, const struct weir_endpoint_set *set, uint64_t now_us)
{
	struct job *j = &u->job;

	assert(j->kind == JOB_NONE);
	*j = (struct job){.kind = JOB_SET, .set = set, .b = backend_find(u, set->backend_id)};
	if (!j->b)
		j->b = add_backend(u, set->backend_id, now_us);
	if (!j->b)
		return;
	j->old = j->b->list.first;
	if (set->n_endpoints <= u->n_free_endpoints) /* there is room, however many are new */
		j->phase = SET_MAKE;
}

/*
 * One step through the set and the list that serves, both sorted. Who is next: *w of the set (NULL: *old
 * is in the list alone), *old of the list (NULL: *w is in the set alone). False: both have ended.
 */
static bool merge_next(struct job *j, const struct weir_endpoint **w, struct endpoint **old)
{
	int order;

	*w = j->i < j->set->n_endpoints ? &j->set->ep[j->i] : NULL;
	*old = j->old;
	if (!*w && !*old)
		return false;
	order = !*old ? 1 : !*w ? -1 : compare(*old, *w);
	if (order < 0)
		*w = NULL;
	else
		j->i++;
	if (order > 0) {
		*old = NULL;
	} else {
		j->old = listed(j->b, j->old)->next;
		__builtin_prefetch(j->old);
	}
	return true;
}

/* New ones, before any is made: a set has room, or nothing of it is taken. True: all are counted. */
static bool count_new(struct job *j, int *budget)
{
	const struct weir_endpoint *w;
	struct endpoint *old;

	while (*budget > 0) {
		if (!merge_next(j, &w, &old))
			return true;
		j->n += w && !old;
		*budget -= COST_LOOK;
	}
	return false;
}

static struct endpoint *make_endpoint(struct upstream *u, struct backend *b, const struct weir_endpoint *w)
{
	struct endpoint *e = u->free_endpoints;

	u->free_endpoints = e->in[0].next;
	u->n_free_endpoints--;
	__builtin_prefetch(u->free_endpoints, 1);
	memset(e, 0, sizeof(*e));
	e->addr = w->addr;
	e->port = w->port;
	e->id = ++u->next_id;
	e->backend = b;
	e->in[b->side].level = LEVEL_UNUSABLE;
	e->rate = UINT32_MAX;
	e->cc = b->cc;
	affinity_add(u, e, b->id);
	return e;
}

/* The next one of the list that is made. */
static void put_in(struct job *j, struct endpoint *e, const struct weir_endpoint *w, uint64_t now_us)
{
	unsigned side = !j->b->side;
	struct endpoint_list *list = &j->list;
	enum endpoint_level level = endpoint_level(w->flags, e->is_ejected);

	e->in[side] = (struct listed){.weight = w->weight, .flags = w->flags, .level = (uint8_t)level, .is_in = true};
	if (j->last)
		j->last->in[side].next = e;
	else
		list->first = e;
	j->last = e;
	list->n++;
	list->has_weights |= w->weight != list->first->in[side].weight;
	list->n_leaving += level == LEVEL_LEAVING;
	if (level > LEVEL_EJECTED)
		return;
	list->n_ready++;
	if (w->weight > list->max_weight)
		list->max_weight = w->weight;
	if (listed(j->b, e)->level > LEVEL_EJECTED && j->b->is_known)
		e->start_us = now_us;
}

/* True: the list is complete. */
static bool make_list(struct upstream *u, int *budget, uint64_t now_us)
{
	struct job *j = &u->job;
	const struct weir_endpoint *w;
	struct endpoint *old;

	while (*budget > 0) {
		if (!merge_next(j, &w, &old))
			return true;
		if (!w) {
			old->in[!j->b->side] = (struct listed){.level = LEVEL_UNUSABLE};
			j->n++;
			*budget -= COST_LOOK;
			continue;
		}
		*budget -= old ? COST_KEEP : COST_MAKE;
		put_in(j, old ? old : make_endpoint(u, j->b, w), w, now_us);
	}
	return false;
}

/* Requests see the new list from now on. */
static void turn_over(struct upstream *u, uint64_t now_us)
{
	struct job *j = &u->job;
	struct backend *b = j->b;

	j->old = b->list.first;
	b->list = j->list;
	b->side = !b->side;
	b->turn = NULL;
	b->is_known = true;
	if (u->scan.b == b)
		u->scan.b = NULL;
	balance_changed(u, b, now_us);
}

/* No list has it any more: idle connections go, busy ones finish. False: not all of them could, the budget is spent. */
static bool let_go(struct upstream *u, struct endpoint *e, int *budget, uint64_t now_us)
{
	for (; e->idle; *budget -= COST_CLOSE) {
		if (*budget <= 0)
			return false;
		pool_close(u, e, 1, now_us);
	}
	*budget -= COST_LET_GO;
	affinity_remove(u, e);
	outlier_return(u, e, now_us);
	e->backend->n_conns -= e->n_conns;
	e->cap = e->backend->cap;
	e->backend = NULL;
	if (e->n_conns == 0)
		endpoint_free(u, e);
	return true;
}

/* Those of the list that served whom the new one does not have. True: all have gone. */
static bool let_go_rest(struct upstream *u, int *budget, uint64_t now_us)
{
	struct job *j = &u->job;

	while (j->n) {
		struct endpoint *e = j->old;
		struct endpoint *next = e->in[!j->b->side].next;

		if (*budget <= 0)
			return false;
		__builtin_prefetch(next);
		if (listed(j->b, e)->is_in) {
			*budget -= COST_LOOK;
		} else {
			if (!let_go(u, e, budget, now_us))
				return false;
			j->n--;
		}
		j->old = next;
	}
	return true;
}

static bool refuse(struct upstream *u)
{
	stat_inc(u->stats, WEIR_C_UPSTREAM_SETS_NO_ROOM);
	return true;
}

static bool step_set(struct upstream *u, int *budget, uint64_t now_us)
{
	struct job *j = &u->job;

	if (!j->b)
		return refuse(u);
	if (j->phase == SET_COUNT) {
		if (!count_new(j, budget))
			return false;
		if (j->n > u->n_free_endpoints)
			return refuse(u);
		j->i = j->n = 0;
		j->old = j->b->list.first;
		j->phase = SET_MAKE;
	}
	if (j->phase == SET_MAKE) {
		if (!make_list(u, budget, now_us))
			return false;
		turn_over(u, now_us);
		j->phase = SET_LET_GO;
	}
	return let_go_rest(u, budget, now_us);
}

/* -- a snapshot */

#define AHEAD 4

enum { RETAIN_NAME, RETAIN_DROP, RETAIN_CLOSE };

void upstream_retain(struct upstream *u, const struct weir_snapshot *s)
{
	assert(u->job.kind == JOB_NONE);
	u->job = (struct job){.kind = JOB_RETAIN};
	u->snapshot = s;
	u->mark = !u->mark;
}

/* Backends lie anywhere: the memory of the next ones is on its way while others are looked at. */
static void fetch_ahead(const struct upstream *u, uint32_t i, uint32_t n)
{
	if (i + 2 * AHEAD < n)
		__builtin_prefetch(backend_bucket(u, snapshot_backend(u->snapshot, i + 2 * AHEAD)->id));
	if (i + AHEAD < n)
		__builtin_prefetch(*backend_bucket(u, snapshot_backend(u->snapshot, i + AHEAD)->id));
}

static bool name_all(struct upstream *u, int *budget, uint64_t now_us)
{
	struct job *j = &u->job;
	uint32_t n = snapshot_count(u->snapshot, BACKENDS);

	for (; j->i < n; j->i++) {
		const struct weir_backend *w = snapshot_backend(u->snapshot, j->i);
		struct backend *b;

		if (*budget <= 0)
			return false;
		fetch_ahead(u, j->i, n);
		b = backend_find(u, w->id);
		*budget -= COST_NAME;
		if (b && b->mark != u->mark)
			*budget -= name(u, b, w, now_us);
	}
	return true;
}

/* Out of the buckets first, so that no request finds it any more. */
static void drop_begin(struct upstream *u, struct backend **p, int *budget)
{
	struct backend *b = *p;

	*p = b->next;
	u->n_backends--;
	u->job.b = b;
	*budget -= b->table.algo || u->build.b == b ? COST_TABLE : COST_LET_GO;
	balance_forget(u, b);
	b->set = (struct settings){0}; /* nobody judges its endpoints meanwhile */
}

/* True: its endpoints have gone, and it, too. */
static bool drop_step(struct upstream *u, int *budget, uint64_t now_us)
{
	struct backend *b = u->job.b;

	while (b->list.first) {
		struct endpoint *e = b->list.first;
		struct endpoint *next = listed(b, e)->next;

		if (*budget <= 0 || !let_go(u, e, budget, now_us))
			return false;
		b->list.first = next;
		__builtin_prefetch(next);
	}
	b->next = u->free_backends;
	u->free_backends = b;
	u->job.b = NULL;
	return true;
}

static bool drop_all(struct upstream *u, int *budget, uint64_t now_us)
{
	struct job *j = &u->job;

	while (j->b || j->i <= u->bucket_mask) {
		struct backend **p;

		if (*budget <= 0 || (j->b && !drop_step(u, budget, now_us)))
			return false;
		*budget -= COST_LOOK;
		p = &u->buckets[j->i];
		while (*p && (*p)->mark == u->mark)
			p = &(*p)->next;
		if (*p)
			drop_begin(u, p, budget);
		else
			j->i++;
	}
	return true;
}

/* Idle connections that were made under other settings of TLS. */
static bool close_others(struct upstream *u, int *budget, uint64_t now_us)
{
	for (struct job *j = &u->job; j->i < u->n_fresh_conns; j->i++) {
		struct upstream_conn *uc = &u->conns[j->i];

		if (*budget <= 0)
			return false;
		*budget -= COST_LOOK;
		if (uc->state != UC_IDLE || !uc->ep->backend || uc->tls_hash == uc->ep->backend->tls_hash)
			continue;
		pool_evict(u, uc, now_us);
		*budget -= COST_CLOSE;
	}
	return true;
}

static bool step_retain(struct upstream *u, int *budget, uint64_t now_us)
{
	struct job *j = &u->job;

	if (j->phase == RETAIN_NAME) {
		if (!name_all(u, budget, now_us))
			return false;
		j->i = 0;
		j->phase = j->n == u->n_backends ? RETAIN_CLOSE : RETAIN_DROP;
	}
	if (j->phase == RETAIN_DROP) {
		if (!drop_all(u, budget, now_us))
			return false;
		j->i = 0;
		j->phase = RETAIN_CLOSE;
	}
	return !j->has_other_tls || close_others(u, budget, now_us);
}

/* -- a drain */

void upstream_drain(struct upstream *u)
{
	assert(u->job.kind == JOB_NONE);
	u->job = (struct job){.kind = JOB_DRAIN};
	u->is_draining = true;
}

static bool step_drain(struct upstream *u, int *budget, uint64_t now_us)
{
	for (struct job *j = &u->job; j->i < u->n_fresh_conns; j->i++) {
		struct upstream_conn *uc = &u->conns[j->i];

		if (*budget <= 0)
			return false;
		*budget -= COST_LOOK;
		if (uc->state != UC_IDLE)
			continue;
		pool_evict(u, uc, now_us);
		*budget -= COST_CLOSE;
	}
	return true;
}

bool upstream_step(struct upstream *u, int *budget, uint64_t now_us)
{
	bool is_done = true;

	switch ((enum job_kind)u->job.kind) {
	case JOB_NONE:
		break;
	case JOB_SET:
		is_done = step_set(u, budget, now_us);
		break;
	case JOB_RETAIN:
		is_done = step_retain(u, budget, now_us);
		break;
	case JOB_DRAIN:
		is_done = step_drain(u, budget, now_us);
		break;
	}
	if (is_done)
		u->job.kind = JOB_NONE;
	return is_done;
}
