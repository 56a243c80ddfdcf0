/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the algorithms share: who may be chosen at all, plain round robin,
 * which needs no table, and the work on tables in slices.
 *
 * Healthy endpoints come first; then, only where all of these were tried,
 * ejected ones; then those that still serve while they terminate (as the Kubernetes
 * proxies do where nothing else is left, KEP-1669).
 */
#include <string.h>

#include "upstream/upstream_pvt.h"

#define FULL_SHARE 1000u
#define FIRST_SHARE 100u /* of a new endpoint, when its slow start begins */

uint64_t balance_random64(struct upstream *u)
{
	uint64_t x = u->prng; /* xorshift64*: Vigna, ACM TOMS 42, 2016 */

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	u->prng = x;
	return x * 0x2545f4914f6cdd1dull;
}

/* -- who may be chosen */

bool endpoint_is_tried(const struct endpoint *e, const struct upstream_tried *tried)
{
	for (unsigned i = 0; i < tried->n && i < UPSTREAM_MAX_TRIED; i++)
		if (tried->endpoint[i] == e->id)
			return true;
	return false;
}

enum endpoint_level endpoint_level(uint8_t flags, bool is_ejected)
{
	if ((flags & WEIR_EP_READY) && !(flags & WEIR_EP_TERMINATING))
		return is_ejected ? LEVEL_EJECTED : LEVEL_HEALTHY;
	return flags & WEIR_EP_SERVING ? LEVEL_LEAVING : LEVEL_UNUSABLE;
}

void endpoint_set_level(struct endpoint *e)
{
	for (unsigned i = 0; i < 2; i++)
		e->in[i].level = endpoint_level(e->in[i].flags, e->is_ejected);
}

struct endpoint *balance_at(struct upstream *u, const struct backend *b, const struct choice *c, uint32_t place)
{
	struct endpoint *e = &u->endpoints[place];

	return e->backend == b && listed(b, e)->level == LEVEL_HEALTHY && !endpoint_is_tried(e, c->tried) ? e : NULL;
}

uint32_t balance_share(const struct backend *b, struct endpoint *e, uint64_t now_us)
{
	uint64_t all_us = (uint64_t)b->set.slow_start_ms * 1000;
	uint64_t us = now_us - e->start_us;

	if (!e->start_us || !all_us)
		return FULL_SHARE;
	if (us >= all_us) {
		e->start_us = 0;
		return FULL_SHARE;
	}
	return FIRST_SHARE + (uint32_t)((FULL_SHARE - FIRST_SHARE) * us / all_us);
}

static struct endpoint *pick_plain(struct backend *b, const struct upstream_tried *tried, enum endpoint_level level)
{
	struct endpoint *e = b->turn ? b->turn : b->list.first;

	for (uint32_t i = 0; i < b->list.n; i++) {
		const struct listed *l = listed(b, e);
		struct endpoint *next = l->next ? l->next : b->list.first;

		if (l->level <= level && !endpoint_is_tried(e, tried)) {
			b->turn = next;
			return e;
		}
		e = next;
	}
	return NULL;
}

struct endpoint *balance_pick(struct upstream *u, struct backend *b, const struct choice *c)
{
	struct endpoint *e = NULL;

	if (b->table.algo)
		e = b->table.algo->pick(u, b, c);
	if (!e && b->list.n_ready)
		e = pick_plain(b, c->tried, LEVEL_HEALTHY);
	if (!e && b->n_ejected)
		e = pick_plain(b, c->tried, LEVEL_EJECTED);
	if (!e && b->list.n_leaving)
		e = pick_plain(b, c->tried, LEVEL_LEAVING);
	return e;
}

/* -- tables */

static const struct balance_algo *algo_of(const struct backend *b)
{
	switch ((enum weir_balance)b->set.balance) {
	case WEIR_BALANCE_ROUND_ROBIN:
		return b->list.has_weights || b->set.slow_start_ms ? &balance_weighted : NULL;
	case WEIR_BALANCE_LEAST_REQUEST:
		return &balance_least;
	case WEIR_BALANCE_RANDOM:
		return &balance_random;
	case WEIR_BALANCE_MAGLEV:
		return &balance_maglev;
	case WEIR_BALANCE_RING_HASH:
		return &balance_ring;
	}
	return NULL;
}

static void table_free(struct upstream *u, struct table *t)
{
	paged_free(&u->pages, &t->e);
	t->algo = NULL;
}

/* The build of this backend, if there is one, is of no use any more. */
static void build_drop(struct upstream *u, struct backend *b)
{
	struct build *w = &u->build;

	if (w->b != b)
		return;
	table_free(u, &w->table);
	paged_free(&u->pages, &w->scratch);
	w->b = NULL;
}

/* Candidates are the ready ones, be they ejected or not: ejections pass, and need no new table. */
const struct endpoint *build_next(struct build *w)
{
	const struct endpoint *e = w->next;
	const struct listed *l = listed(w->b, e);

	w->next = l->next;
	__builtin_prefetch(l->next);
	return l->level <= LEVEL_EJECTED ? e : NULL;
}

static bool build_begin(struct upstream *u, struct backend *b)
{
	struct build *w = &u->build;

	*w = (struct build){.b = b, .algo = algo_of(b), .next = b->list.first, .n = b->list.n_ready};
	if (w->algo->begin(u, w))
		return true;
	build_drop(u, b);
	return false;
}

static void build_done(struct upstream *u)
{
	struct build *w = &u->build;

	table_free(u, &w->b->table);
	paged_free(&u->pages, &w->scratch);
	w->b->table = w->table;
	w->b->table.algo = w->algo;
	w->b = NULL;
}

/* Goes on with the backend's table. True: nothing is left to do for it. */
static bool build_step(struct upstream *u, struct backend *b, int *budget)
{
	if (u->build.b != b) {
		*budget -= COST_TABLE;
		if (!algo_of(b) || b->list.n_ready == 0) {
			table_free(u, &b->table);
			return true;
		}
		if (!build_begin(u, b)) {
			table_free(u, &b->table); /* its pages may be what is missing */
			if (!build_begin(u, b)) {
				stat_inc(u->stats, WEIR_C_BALANCE_NO_ROOM);
				return true;
			}
		}
	}
	*budget -= u->build.algo->cost;
	if (!u->build.algo->step(u, &u->build))
		return false;
	*budget -= COST_TABLE;
	build_done(u);
	return true;
}

/* -- work in slices */

/* It is due at once: a small table is ready in the iteration that found it missing. */
void balance_queue(struct upstream *u, struct backend *b, uint64_t now_us)
{
	if (u->work_at_us == NEVER)
		u->work_at_us = now_us;
	if (b->is_queued)
		return;
	b->is_queued = true;
	TAILQ_INSERT_TAIL(&u->queue, b, queued);
}

static void unqueue(struct upstream *u, struct backend *b)
{
	if (b->is_queued)
		TAILQ_REMOVE(&u->queue, b, queued);
	b->is_queued = false;
}

bool upstream_is_work_due(const struct upstream *u, uint64_t now_us)
{
	return u->work_at_us <= now_us;
}

uint64_t upstream_work_at_us(const struct upstream *u)
{
	return u->work_at_us;
}

void upstream_work(struct upstream *u, int *budget, uint64_t now_us)
{
	struct backend *b;

	while (*budget > 0 && (b = TAILQ_FIRST(&u->queue)) != NULL) {
		*budget -= COST_LOOK;
		if (b->needs_table) {
			b->needs_table = !build_step(u, b, budget);
		} else if (b->needs_scan) {
			b->needs_scan = !outlier_scan(u, b, now_us);
			*budget -= COST_LOOK;
		}
		if (!b->needs_table && !b->needs_scan)
			unqueue(u, b);
	}
	u->work_at_us = TAILQ_EMPTY(&u->queue) ? NEVER : now_us + WORK_EVERY_US;
}

/* Who changes again and again goes behind those who wait: else its table, never complete, would keep theirs back. */
void balance_changed(struct upstream *u, struct backend *b, uint64_t now_us)
{
	build_drop(u, b);
	if (b->table.algo && b->table.algo != algo_of(b))
		table_free(u, &b->table);
	b->needs_table = algo_of(b) != NULL;
	if (!b->needs_table)
		return;
	if (TAILQ_FIRST(&u->queue) == b)
		unqueue(u, b);
	balance_queue(u, b, now_us);
}

void balance_forget(struct upstream *u, struct backend *b)
{
	build_drop(u, b);
	table_free(u, &b->table);
	if (u->scan.b == b)
		u->scan.b = NULL;
	unqueue(u, b);
}
