/* SPDX-License-Identifier: Apache-2.0 */
/* The histogram: see hist.h. */
#include "hist.h"

#include <string.h>

static unsigned slot_of(uint64_t v)
{
	unsigned shift;

	if (v < HIST_SUB)
		return (unsigned)v;
	if (v >> HIST_MAX_BITS)
		return HIST_SLOTS - 1;
	shift = 63u - (unsigned)__builtin_clzll(v) - HIST_SUB_BITS;
	return shift * HIST_SUB + (unsigned)(v >> shift); /* v >> shift is HIST_SUB .. 2 HIST_SUB - 1 */
}

/* The largest value of a slot. */
static uint64_t end_of(unsigned slot)
{
	unsigned shift;

	if (slot < 2 * HIST_SUB)
		return slot;
	shift = slot / HIST_SUB - 1;
	return ((uint64_t)(slot - shift * HIST_SUB + 1) << shift) - 1;
}

void hist_clear(struct hist *h)
{
	memset(h, 0, sizeof(*h));
}

void hist_add(struct hist *h, uint64_t ns)
{
	h->n++;
	h->sum += (double)ns;
	if (ns > h->max)
		h->max = ns;
	h->count[slot_of(ns)]++;
}

uint64_t hist_at(const struct hist *h, double share)
{
	double wanted = share * (double)h->n;
	uint64_t seen = 0;

	if (!h->n)
		return 0;
	for (unsigned i = 0; i < HIST_SLOTS; i++) {
		seen += h->count[i];
		if (seen && (double)seen >= wanted)
			return end_of(i) < h->max ? end_of(i) : h->max;
	}
	return h->max;
}

double hist_mean(const struct hist *h)
{
	return h->n ? h->sum / (double)h->n : 0;
}
