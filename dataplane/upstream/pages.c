/* SPDX-License-Identifier: Apache-2.0 */
/* Pages and arrays in them. See pages.h. */
#include "upstream/pages.h"

#include <assert.h>
#include <errno.h>

#include <rte_malloc.h>

int pages_init(struct pages *p, uint32_t n)
{
	p->mem = rte_malloc("pages", (size_t)n * PAGE_BYTES, PAGE_BYTES);
	p->free = rte_calloc("pages", n, sizeof(*p->free), RTE_CACHE_LINE_SIZE);
	if (!p->mem || !p->free)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		p->free[i] = n - 1 - i;
	p->n = p->n_free = n;
	return 0;
}

void pages_fini(struct pages *p)
{
	rte_free(p->mem);
	rte_free(p->free);
}

static char *take(struct pages *p)
{
	return p->mem + (size_t)p->free[--p->n_free] * PAGE_BYTES;
}

static void give(struct pages *p, const void *page)
{
	p->free[p->n_free++] = (uint32_t)((size_t)((const char *)page - p->mem) / PAGE_BYTES);
	assert(p->n_free <= p->n);
}

bool paged_alloc(struct pages *p, struct paged *a, uint32_t n, uint32_t element_bytes)
{
	uint32_t per_page = PAGE_BYTES / element_bytes;
	uint32_t n_pages = n / per_page + (n % per_page != 0);

	a->dir = NULL;
	if (n_pages > PAGE_BYTES / sizeof(void *) || n_pages + 1 > p->n_free)
		return false;
	a->dir = (char **)(void *)take(p);
	a->n_pages = n_pages;
	for (uint32_t i = 0; i < n_pages; i++)
		a->dir[i] = take(p);
	return true;
}

void paged_free(struct pages *p, struct paged *a)
{
	if (!a->dir)
		return;
	for (uint32_t i = 0; i < a->n_pages; i++)
		give(p, a->dir[i]);
	give(p, a->dir);
	a->dir = NULL;
}
