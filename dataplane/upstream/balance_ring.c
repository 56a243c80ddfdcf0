/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ring hash, as ketama has it: each endpoint stands at many points of a ring of
 * 32-bit hashes, and a key belongs to the first point at or behind it. Weighted by
 * the number of points. When an endpoint leaves, no key of another one moves.
 *
 * The heaviest has 160 points, or, of more than 819 endpoints, so many that
 * all together have 131,072. Points are sorted in place, in steps (heapsort).
 */
#include "upstream/balance_hash.h"

#define POINTS 160u
#define MAX_POINTS 131072u
#define LOOKS 64

struct point {
	uint32_t at;
	uint32_t place;
};

static struct point *at(const struct table *t, uint32_t i)
{
	return paged_at(&t->e, i, sizeof(struct point));
}

static uint32_t points_of_heaviest(uint32_t n_endpoints)
{
	uint32_t n = MAX_POINTS / n_endpoints;

	return n < 1 ? 1 : n < POINTS ? n : POINTS;
}

static bool begin(struct upstream *u, struct build *w)
{
	w->sum = points_of_heaviest(w->n);
	return paged_alloc(&u->pages, &w->table.e, w->n * (uint32_t)w->sum, sizeof(struct point));
}

/* One more point. j: points that the endpoint w->k has yet to get. True: all have all. */
static bool add(struct upstream *u, struct build *w)
{
	const struct endpoint *e;

	if (w->j == 0) {
		if (!w->next)
			return true;
		e = build_next(w);
		if (!e)
			return false;
		w->k = (uint32_t)(e - u->endpoints);
		w->j = (uint32_t)((uint64_t)listed(w->b, e)->weight * w->sum / w->b->list.max_weight);
		w->j = w->j ? w->j : 1;
	}
	e = &u->endpoints[w->k];
	*at(&w->table, w->table.n++) = (struct point){(uint32_t)(endpoint_hash(e, w->j-- + 2) >> 32), w->k};
	return false;
}

static void sift_down(const struct table *t, uint32_t i, uint32_t n)
{
	struct point moved = *at(t, i);

	for (uint32_t child; (child = 2 * i + 1) < n; i = child) {
		if (child + 1 < n && at(t, child + 1)->at > at(t, child)->at)
			child++;
		if (at(t, child)->at <= moved.at)
			break;
		*at(t, i) = *at(t, child);
	}
	*at(t, i) = moved;
}

static bool step(struct upstream *u, struct build *w)
{
	struct table *t = &w->table;

	switch (w->phase) {
	case 0:
		if (!add(u, w))
			return false;
		w->phase++;
		w->i = t->n / 2;
		return false;
	case 1:
		if (w->i) {
			sift_down(t, --w->i, t->n);
			return false;
		}
		w->phase++;
		w->i = t->n;
		return false;
	default:
		if (w->i > 1) {
			struct point last = *at(t, --w->i);

			*at(t, w->i) = *at(t, 0);
			*at(t, 0) = last;
			sift_down(t, 0, w->i);
		}
		return w->i <= 1;
	}
}

static struct endpoint *pick(struct upstream *u, struct backend *b, const struct choice *c)
{
	const struct table *t = &b->table;
	uint32_t key = (uint32_t)(c->key >> 32);
	uint32_t lo = 0;
	uint32_t hi = t->n;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (at(t, mid)->at < key)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (unsigned i = 0; i < LOOKS; i++, lo++) {
		struct endpoint *e = balance_at(u, b, c, at(t, lo < t->n ? lo : lo % t->n)->place);

		if (e)
			return e;
	}
	return NULL;
}

const struct balance_algo balance_ring = {begin, step, pick, 8};
