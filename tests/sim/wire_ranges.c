/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sets of bytes. When there are too many gaps to keep, the smallest is taken
 * as filled: the set may then be too large, which only makes a judge lenient.
 */
#include <string.h>

#include "wire_check.h"

static void remove_at(struct wire_ranges *r, uint32_t i)
{
	memmove(&r->r[i], &r->r[i + 1], (r->n - i - 1) * sizeof(r->r[0]));
	r->n--;
}

static void fill_smallest_gap(struct wire_ranges *r)
{
	uint32_t best = 1;

	for (uint32_t i = 1; i < r->n; i++)
		if (r->r[i].from - r->r[i - 1].to < r->r[best].from - r->r[best - 1].to)
			best = i;
	r->r[best - 1].to = r->r[best].to;
	remove_at(r, best);
}

void wire_ranges_add(struct wire_ranges *r, uint32_t from, uint32_t to)
{
	uint32_t i = 0;

	if (from >= to)
		return;
	while (i < r->n && r->r[i].to < from)
		i++;
	if (i == r->n || r->r[i].from > to) {
		if (r->n == WIRE_MAX_RANGES) {
			fill_smallest_gap(r);
			wire_ranges_add(r, from, to);
			return;
		}
		memmove(&r->r[i + 1], &r->r[i], (r->n - i) * sizeof(r->r[0]));
		r->n++;
		r->r[i] = (struct wire_range){from, to};
		return;
	}
	if (from < r->r[i].from)
		r->r[i].from = from;
	if (to > r->r[i].to)
		r->r[i].to = to;
	while (i + 1 < r->n && r->r[i + 1].from <= r->r[i].to) {
		if (r->r[i + 1].to > r->r[i].to)
			r->r[i].to = r->r[i + 1].to;
		remove_at(r, i + 1);
	}
}

bool wire_ranges_cover(const struct wire_ranges *r, uint32_t from, uint32_t to)
{
	for (uint32_t i = 0; i < r->n; i++)
		if (r->r[i].from <= from && to <= r->r[i].to)
			return true;
	return false;
}

uint32_t wire_ranges_contiguous(const struct wire_ranges *r)
{
	return r->n && r->r[0].from == 0 ? r->r[0].to : 0;
}
