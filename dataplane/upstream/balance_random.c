/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random by weight in O(1), by the alias method (Walker 1977; built as by Vose
 * 1991, with two hands in the place of his two lists), and what is made of it:
 * least request, the better of two so chosen (Mitzenmacher 2001).
 *
 * Slow start thins out: one that was chosen is passed over with the share that it lacks.
 */
#include "upstream/upstream_pvt.h"

#define LOOKS 16
#define SECOND_LOOKS 4
#define NO_ALIAS UINT32_MAX
#define WHOLE (1ull << 32)

struct entry {
	uint64_t own; /* of 2^32: the part of this entry that is its own; while it is built, in units of weight */
	uint32_t place, alias;
};

static struct entry *at(const struct table *t, uint32_t i)
{
	return paged_at(&t->e, i, sizeof(struct entry));
}

static bool begin(struct upstream *u, struct build *w)
{
	w->table.n = w->n;
	return paged_alloc(&u->pages, &w->table.e, w->n, sizeof(struct entry));
}

/* Weights, and their sum: the mean weight times n, as which each entry counts when it is full. */
static bool fill(struct upstream *u, struct build *w)
{
	if (w->next) {
		const struct endpoint *e = build_next(w);
		uint64_t weight = e ? listed(w->b, e)->weight : 0;

		w->sum += weight;
		if (e)
			*at(&w->table, w->i++) = (struct entry){weight * w->n, (uint32_t)(e - u->endpoints), NO_ALIAS};
		return false;
	}
	w->phase++;
	w->i = w->j = 0;
	w->k = NO_ALIAS;
	return false;
}

/* What entry k lacks comes from entry j, which has too much. i looks for such that lack, j for such that have. */
static bool pair(struct build *w)
{
	struct entry *e;

	if (w->k == NO_ALIAS) {
		if (w->i == w->n)
			return true;
		e = at(&w->table, w->i++);
		if (e->alias == NO_ALIAS && e->own < w->sum)
			w->k = w->i - 1;
		return false;
	}
	if (w->j == w->n)
		return true;
	e = at(&w->table, w->j);
	if (e->alias != NO_ALIAS || e->own < w->sum) {
		w->j++;
		return false;
	}
	at(&w->table, w->k)->alias = e->place;
	e->own -= w->sum - at(&w->table, w->k)->own;
	w->k = e->own < w->sum && w->j < w->i ? w->j : NO_ALIAS;
	return false;
}

static bool step(struct upstream *u, struct build *w)
{
	struct entry *e;

	switch (w->phase) {
	case 0:
		return fill(u, w);
	case 1:
		if (pair(w)) {
			w->phase++;
			w->i = 0;
		}
		return false;
	default:
		if (w->i == w->n)
			return true;
		e = at(&w->table, w->i++);
		if (e->alias == NO_ALIAS) {
			e->own = WHOLE;
			e->alias = e->place;
		} else {
			e->own = (uint64_t)(((__uint128_t)e->own << 32) / w->sum);
		}
		return false;
	}
}

/* One that is healthy, was not tried and is not other; NULL: not found within so many looks. */
static struct endpoint *sample(struct upstream *u, struct backend *b, const struct choice *c, const struct endpoint *other,
			       unsigned n_looks)
{
	while (n_looks--) {
		uint64_t r = balance_random64(u);
		const struct entry *x = at(&b->table, (uint32_t)(((r >> 32) * b->table.n) >> 32));
		struct endpoint *e = balance_at(u, b, c, (r & UINT32_MAX) < x->own ? x->place : x->alias);

		if (e && e != other && (!e->start_us || balance_random64(u) % 1000 < balance_share(b, e, c->now_us)))
			return e;
	}
	return NULL;
}

static struct endpoint *pick(struct upstream *u, struct backend *b, const struct choice *c)
{
	return sample(u, b, c, NULL, LOOKS);
}

/*
 * Both are chosen by weight, so with nothing in hand the weights are kept; with
 * much in hand, requests in hand for each unit of weight become alike.
 */
static struct endpoint *pick_least(struct upstream *u, struct backend *b, const struct choice *c)
{
	struct endpoint *x = sample(u, b, c, NULL, LOOKS);
	struct endpoint *y = x ? sample(u, b, c, x, SECOND_LOOKS) : NULL;

	if (!y)
		return x;
	return (uint64_t)(y->n_conns - y->n_idle) * listed(b, x)->weight < (uint64_t)(x->n_conns - x->n_idle) * listed(b, y)->weight ? y : x;
}

const struct balance_algo balance_random = {begin, step, pick, 1};
const struct balance_algo balance_least = {begin, step, pick_least, 1};
