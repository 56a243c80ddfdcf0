/* SPDX-License-Identifier: Apache-2.0 */
/* MADV_DONTDUMP for what core dumps shall not have. See dump.h. */
#include "dump.h"

#include <sys/mman.h>

#include <rte_eal_memconfig.h>
#include <rte_memory.h>

#include "base/log.h"
#include "mem/heap.h"

/* Addresses, of which memory is taken as it is used: what all workers may need of every certificate, and the rest. */
#define HEAP_CERTIFICATE_BYTES 65536ull
#define HEAP_BASE_BYTES (1ull << 30)

void dump_hide_main_heap(const struct config *c)
{
	uint64_t n = HEAP_BASE_BYTES + HEAP_CERTIFICATE_BYTES * config_n_certificates(c) * c->n_workers;
	struct heap *h = heap_create(n, -1);

	if (!h) {
		log_warn("no range of addresses for main's keys: a core dump may show them");
		return;
	}
	heap_let_spill(h);
	heap_bind(h);
}

static void hide(const void *p, size_t n)
{
	(void)madvise((void *)(uintptr_t)p, n, MADV_DONTDUMP);
}

static int hide_list(const struct rte_memseg_list *list, void *arg)
{
	if (!list->external)
		hide(list->base_va, list->len);
	return 0;
}

static void on_memory(enum rte_mem_event event, const void *p, size_t n, void *arg)
{
	if (event == RTE_MEM_EVENT_ALLOC)
		hide(p, n);
}

void dump_hide_pools(void)
{
	/* Pages that come later are mapped anew over what is reserved. Without hugepages none come, and it cannot be asked for. */
	(void)rte_mem_event_callback_register("weir-dump", on_memory, NULL);
	rte_memseg_list_walk(hide_list, NULL);
}
