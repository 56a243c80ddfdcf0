/* SPDX-License-Identifier: Apache-2.0 */
/* A binary heap of small keys; the events themselves stay in their slots. See heap.h. */
#include "heap.h"

#include <stdlib.h>

#define NO_SLOT UINT32_MAX

static bool is_before(const struct sim_key *a, const struct sim_key *b)
{
	return a->at_us < b->at_us || (a->at_us == b->at_us && a->order < b->order);
}

static void grow(struct sim_heap *h)
{
	uint32_t n = h->n_slots ? h->n_slots * 2 : 1024;

	h->keys = realloc(h->keys, n * sizeof(*h->keys));
	h->slots = realloc(h->slots, n * sizeof(*h->slots));
	if (!h->keys || !h->slots)
		abort();
	for (uint32_t i = h->n_slots; i < n; i++)
		h->slots[i].next_free = i + 1 < n ? i + 1 : NO_SLOT;
	h->free = h->n_slots;
	h->n_slots = n;
}

void heap_push(struct sim_heap *h, const struct sim_event *e, uint64_t order)
{
	struct sim_key key = {.at_us = e->at_us, .order = order};
	uint32_t i;

	if (h->n == h->n_slots)
		grow(h);
	key.slot = h->free;
	h->free = h->slots[key.slot].next_free;
	h->slots[key.slot] = *e;
	for (i = h->n++; i > 0 && is_before(&key, &h->keys[(i - 1) / 2]); i = (i - 1) / 2)
		h->keys[i] = h->keys[(i - 1) / 2];
	h->keys[i] = key;
}

uint64_t heap_next_us(const struct sim_heap *h)
{
	return h->n ? h->keys[0].at_us : UINT64_MAX;
}

struct sim_event heap_pop(struct sim_heap *h)
{
	uint32_t slot = h->keys[0].slot;
	struct sim_event e = h->slots[slot];
	struct sim_key last = h->keys[--h->n];
	uint32_t i = 0;

	h->slots[slot].next_free = h->free;
	h->free = slot;
	for (uint32_t child; (child = 2 * i + 1) < h->n; i = child) {
		if (child + 1 < h->n && is_before(&h->keys[child + 1], &h->keys[child]))
			child++;
		if (!is_before(&h->keys[child], &last))
			break;
		h->keys[i] = h->keys[child];
	}
	h->keys[i] = last;
	return e;
}

void heap_free(struct sim_heap *h)
{
	free(h->keys);
	free(h->slots);
	*h = (struct sim_heap){0};
}
