/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timers of one duration: a queue, since what is begun first is due first.
 * Nothing is cancelled: who takes an entry out looks whether it still matters.
 */
#ifndef BLAST_DUE_H
#define BLAST_DUE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

struct due_entry {
	uint32_t index; /* of a connection */
	uint32_t tag;	/* the owner's */
	uint32_t at_ms;
};

struct due {
	uint32_t mask, head, tail;
	struct due_entry *entries;
};

/* Room for n entries at least. */
static inline bool due_init(struct due *d, uint32_t n)
{
	uint32_t size = 64;

	while (size < n)
		size *= 2;
	d->mask = size - 1;
	d->head = d->tail = 0;
	d->entries = calloc(size, sizeof(*d->entries));
	return d->entries != NULL;
}

static inline bool due_is_full(const struct due *d)
{
	return d->tail - d->head > d->mask;
}

static inline bool due_push(struct due *d, uint32_t index, uint32_t tag, uint32_t at_ms)
{
	if (due_is_full(d))
		return false;
	d->entries[d->tail++ & d->mask] = (struct due_entry){.index = index, .tag = tag, .at_ms = at_ms};
	return true;
}

/* Takes out the first entry if it is due. */
static inline bool due_pop(struct due *d, uint32_t now_ms, struct due_entry *out)
{
	if (d->head == d->tail || (int32_t)(d->entries[d->head & d->mask].at_ms - now_ms) > 0)
		return false;
	*out = d->entries[d->head++ & d->mask];
	return true;
}

#endif
