/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Weighted round robin: earliest deadline first. An endpoint's next turn comes
 * one stride after its last one, and a stride is the reciprocal of its weight, so
 * turns are spread as evenly as they can be. A heap makes a pick O(log n); the
 * smooth schedule that looks at each endpoint would be O(n). The weight is
 * asked for at each turn: so slow start needs no other table.
 *
 * First deadlines are random within the first stride: workers do not begin alike.
 */
#include "upstream/upstream_pvt.h"

#define STRIDE_ONE (1ull << 52) /* of weight 1 in thousandths; deadlines wrap around, differences do not */
#define LOOKS 32

struct entry {
	uint64_t deadline;
	uint32_t place;
	uint32_t unused;
};

static struct entry *at(const struct table *t, uint32_t i)
{
	return paged_at(&t->e, i, sizeof(struct entry));
}

static bool is_before(uint64_t a, uint64_t b)
{
	return (int64_t)(a - b) < 0;
}

static uint64_t stride(const struct backend *b, struct endpoint *e, uint64_t now_us)
{
	uint64_t n = STRIDE_ONE / ((uint64_t)listed(b, e)->weight * balance_share(b, e, now_us));

	return n ? n : 1;
}

static void sift_down(const struct table *t, struct entry moved)
{
	uint32_t i = 0;

	for (uint32_t child; (child = 2 * i + 1) < t->n; i = child) {
		struct entry *c = at(t, child);

		if (child + 1 < t->n && is_before(at(t, child + 1)->deadline, c->deadline))
			c = at(t, ++child);
		if (!is_before(c->deadline, moved.deadline))
			break;
		*at(t, i) = *c;
	}
	*at(t, i) = moved;
}

static void push(struct table *t, struct entry e)
{
	uint32_t i = t->n++;

	for (; i; i = (i - 1) / 2) {
		const struct entry *up = at(t, (i - 1) / 2);

		if (!is_before(e.deadline, up->deadline))
			break;
		*at(t, i) = *up;
	}
	*at(t, i) = e;
}

static bool begin(struct upstream *u, struct build *w)
{
	return paged_alloc(&u->pages, &w->table.e, w->n, sizeof(struct entry));
}

static bool step(struct upstream *u, struct build *w)
{
	const struct endpoint *e;

	if (!w->next)
		return true;
	e = build_next(w);
	if (!e)
		return false;
	push(&w->table, (struct entry){.place = (uint32_t)(e - u->endpoints),
				       .deadline = balance_random64(u) % (STRIDE_ONE / ((uint64_t)listed(w->b, e)->weight * 1000) + 1)});
	return false;
}

static struct endpoint *pick(struct upstream *u, struct backend *b, const struct choice *c)
{
	for (unsigned i = 0; i < LOOKS; i++) {
		struct entry top = *at(&b->table, 0);
		struct endpoint *e = balance_at(u, b, c, top.place);
		struct endpoint *who = &u->endpoints[top.place];

		/* who cannot serve now pays for its turn, too: it will not claim all of them at once */
		top.deadline += who->backend == b && listed(b, who)->is_in ? stride(b, who, c->now_us) : STRIDE_ONE / 1000;
		sift_down(&b->table, top);
		if (e)
			return e;
	}
	return NULL;
}

const struct balance_algo balance_weighted = {begin, step, pick, 4};
