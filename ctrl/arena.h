/* SPDX-License-Identifier: Apache-2.0 */
/* Which parts of the shared arena are in use. Kept in weir-ctrl's own memory; first fit. */
#ifndef CTRL_ARENA_H
#define CTRL_ARENA_H

#include <stdint.h>

#define ARENA_MAX_BLOBS 1024u
#define ARENA_FULL UINT64_MAX

struct arena_blob {
	uint64_t off, size;
};

struct arena {
	uint64_t size;
	unsigned n;
	struct arena_blob used[ARENA_MAX_BLOBS]; /* by offset */
};

void arena_init(struct arena *a, uint64_t size);
/* Offset, a multiple of 64, of a place of n bytes; or ARENA_FULL. */
uint64_t region_alloc(struct arena *a, uint64_t n);
/* Of the place that begins there; 0: none does. */
uint64_t arena_bytes(const struct arena *a, uint64_t off);
/* 0, or -ENOENT if no place begins there. */
int region_free(struct arena *a, uint64_t off);

#endif
