/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The choice of an endpoint: round robin, smooth and weighted where weights
 * differ. Ready ones; if there are none, those that still serve while they
 * terminate (as the Kubernetes proxies do, KEP-1669).
 */
#include "upstream/upstream_pvt.h"

static bool is_tried(const struct endpoint *e, const struct upstream_tried *tried)
{
	for (unsigned i = 0; i < tried->n && i < UPSTREAM_MAX_TRIED; i++)
		if (tried->endpoint[i] == e->id)
			return true;
	return false;
}

static bool is_usable(const struct endpoint *e, bool last_resort)
{
	if (last_resort)
		return (e->flags & WEIR_EP_SERVING) != 0;
	return (e->flags & WEIR_EP_READY) && !(e->flags & WEIR_EP_TERMINATING);
}

static struct endpoint *pick_plain(struct backend *b, const struct upstream_tried *tried, bool last_resort)
{
	struct endpoint *e = b->turn ? b->turn : b->endpoints;

	for (uint32_t i = 0; i < b->n_endpoints; i++) {
		struct endpoint *next = e->next ? e->next : b->endpoints;

		if (is_usable(e, last_resort) && !is_tried(e, tried)) {
			b->turn = next;
			return e;
		}
		e = next;
	}
	return NULL;
}

/* Each gains its weight; the richest is taken and pays what all gained. */
static struct endpoint *pick_weighted(struct backend *b, const struct upstream_tried *tried, bool last_resort)
{
	struct endpoint *best = NULL;
	int64_t total = 0;

	for (struct endpoint *e = b->endpoints; e; e = e->next) {
		if (!is_usable(e, last_resort) || is_tried(e, tried))
			continue;
		e->current += e->weight;
		total += e->weight;
		if (!best || e->current > best->current)
			best = e;
	}
	if (best)
		best->current -= total;
	return best;
}

struct endpoint *balance_pick(struct backend *b, const struct upstream_tried *tried)
{
	struct endpoint *e = NULL;

	for (int last_resort = 0; last_resort < 2 && !e; last_resort++)
		e = b->has_weights ? pick_weighted(b, tried, last_resort) : pick_plain(b, tried, last_resort);
	return e;
}
