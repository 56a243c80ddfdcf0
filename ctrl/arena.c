/* SPDX-License-Identifier: Apache-2.0 */
#include "arena.h"

#include <errno.h>
#include <string.h>

void arena_init(struct arena *a, uint64_t size)
{
	a->size = size / 64 * 64;
	a->n = 0;
}

uint64_t region_alloc(struct arena *a, uint64_t n)
{
	uint64_t off = 0;
	unsigned i;

	if (n > a->size || a->n == ARENA_MAX_BLOBS)
		return ARENA_FULL;
	n = (n + 63) / 64 * 64;
	for (i = 0; i < a->n && a->used[i].off - off < n; i++)
		off = a->used[i].off + a->used[i].size;
	if (i == a->n && a->size - off < n)
		return ARENA_FULL;
	memmove(&a->used[i + 1], &a->used[i], (a->n - i) * sizeof(a->used[0]));
	a->used[i] = (struct arena_blob){off, n};
	a->n++;
	return off;
}

uint64_t arena_bytes(const struct arena *a, uint64_t off)
{
	for (unsigned i = 0; i < a->n; i++)
		if (a->used[i].off == off)
			return a->used[i].size;
	return 0;
}

int region_free(struct arena *a, uint64_t off)
{
	for (unsigned i = 0; i < a->n; i++) {
		if (a->used[i].off != off)
			continue;
		a->n--;
		memmove(&a->used[i], &a->used[i + 1], (a->n - i) * sizeof(a->used[0]));
		return 0;
	}
	return -ENOENT;
}
