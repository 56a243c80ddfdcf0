/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for tables of very different sizes without malloc: pages of one size,
 * taken at the start, and arrays that lie in pages. An element's size is a power of two.
 */
#ifndef UPSTREAM_PAGES_H
#define UPSTREAM_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_BYTES 4096u
#define PAGED_MAX_BYTES (PAGE_BYTES / sizeof(void *) * PAGE_BYTES) /* of one array: its pages are listed in one page */

struct pages {
	char *mem;
	uint32_t *free; /* indices of pages; the first n_free are valid */
	uint32_t n, n_free;
};

struct paged {
	char **dir; /* NULL: no memory */
	uint32_t n_pages;
};

/* 0 or -ENOMEM. */
int pages_init(struct pages *p, uint32_t n);
void pages_fini(struct pages *p);
/* Room for n elements, not initialised. False: not so many pages are free, or it would be too large. */
bool paged_alloc(struct pages *p, struct paged *a, uint32_t n, uint32_t element_bytes);
void paged_free(struct pages *p, struct paged *a);

static inline void *paged_at(const struct paged *a, uint32_t i, uint32_t element_bytes)
{
	uint32_t per_page = PAGE_BYTES / element_bytes;

	return a->dir[i / per_page] + (size_t)(i % per_page) * element_bytes;
}

#endif
