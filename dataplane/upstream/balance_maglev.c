/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maglev hashing (Eisenbud et al., NSDI 2016, 3.4): each endpoint has an order
 * of its own of all slots, and in turns each takes its next free one. Weighted:
 * an endpoint's turn comes as often as its part of the largest weight. Look-up is
 * one read. When an endpoint leaves, its slots go to others and few others change.
 *
 * The table has at least 100 slots for each endpoint, as in the paper (more than 5,242
 * endpoints have fewer). Its size follows from their number alone, so that
 * workers, and nodes, agree; there are few sizes, since another one moves nearly every key.
 */
#include "upstream/balance_hash.h"

#define LOOKS 16
#define NONE UINT32_MAX
#define FULL_WEIGHT 65535u
#define FILL_AT_ONCE 16
#define TAKE_AT_ONCE 8
#define AHEAD 8 /* turns: their slots lie anywhere */

struct turn {
	uint32_t place, slot, skip;
	uint16_t weight, credit; /* of FULL_WEIGHT */
};

static const uint32_t primes[] = {16381, 65537, 524287};

static uint32_t *at(const struct table *t, uint32_t i)
{
	return paged_at(&t->e, i, sizeof(uint32_t));
}

static bool begin(struct upstream *u, struct build *w)
{
	unsigned k = 0;

	while (k + 1 < sizeof(primes) / sizeof(*primes) && w->n > primes[k] / 100)
		k++;
	w->table.n = primes[k];
	return paged_alloc(&u->pages, &w->table.e, w->table.n, sizeof(uint32_t)) &&
	       paged_alloc(&u->pages, &w->scratch, w->n, sizeof(struct turn));
}

static bool clear(struct build *w)
{
	for (unsigned k = 0; k < FILL_AT_ONCE && w->i < w->table.n; k++)
		*at(&w->table, w->i++) = NONE;
	return w->i == w->table.n;
}

/* One more endpoint. True: that was all. */
static bool line_up(struct upstream *u, struct build *w)
{
	const struct endpoint *e;
	struct turn *t;
	uint64_t weight;

	if (!w->next)
		return true;
	e = build_next(w);
	if (!e)
		return false;
	weight = (uint64_t)listed(w->b, e)->weight * FULL_WEIGHT / w->b->list.max_weight;
	t = paged_at(&w->scratch, w->i++, sizeof(*t));
	*t = (struct turn){.place = (uint32_t)(e - u->endpoints), .weight = (uint16_t)(weight ? weight : 1)};
	t->slot = (uint32_t)(endpoint_hash(e, 1) % w->table.n);
	t->skip = (uint32_t)(endpoint_hash(e, 2) % (w->table.n - 1)) + 1;
	return false;
}

static void fetch_ahead(const struct build *w)
{
	uint32_t i = w->i + AHEAD < w->n ? w->i + AHEAD : 0;
	const struct turn *t = paged_at(&w->scratch, i, sizeof(*t));

	__builtin_prefetch(at(&w->table, t->slot), 1);
}

/* One look at a slot, or one turn that is passed over. k: slots that are taken. True: all are. */
static bool take(struct build *w)
{
	struct turn *t = paged_at(&w->scratch, w->i, sizeof(*t));
	uint32_t *slot;

	if (w->j == 0 && (uint32_t)t->credit + t->weight < FULL_WEIGHT) {
		t->credit = (uint16_t)(t->credit + t->weight);
	} else {
		if (w->j == 0) {
			fetch_ahead(w);
			t->credit = (uint16_t)(t->credit + t->weight - FULL_WEIGHT);
		}
		slot = at(&w->table, t->slot);
		t->slot = (uint32_t)(((uint64_t)t->slot + t->skip) % w->table.n);
		w->j = *slot != NONE; /* goes on with the same one */
		if (w->j)
			return false;
		*slot = t->place;
		if (++w->k == w->table.n)
			return true;
	}
	w->i = w->i + 1 < w->n ? w->i + 1 : 0;
	return false;
}

static bool take_some(struct build *w)
{
	for (unsigned k = 0; k < TAKE_AT_ONCE; k++)
		if (take(w))
			return true;
	return false;
}

static bool step(struct upstream *u, struct build *w)
{
	bool is_done = w->phase == 0 ? clear(w) : w->phase == 1 ? line_up(u, w) : take_some(w);

	if (!is_done)
		return false;
	w->i = 0;
	return ++w->phase == 3;
}

static struct endpoint *pick(struct upstream *u, struct backend *b, const struct choice *c)
{
	uint64_t h = c->key;

	for (unsigned i = 0; i < LOOKS; i++) {
		struct endpoint *e = balance_at(u, b, c, *at(&b->table, (uint32_t)(((h >> 32) * b->table.n) >> 32)));

		if (e)
			return e;
		h = hash64(&h, sizeof(h), i); /* the same for all requests with this key */
	}
	return NULL;
}

const struct balance_algo balance_maglev = {begin, step, pick, 8};
