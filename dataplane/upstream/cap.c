/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bounds of connections over all workers: one counter for each backend that
 * has a bound, in a table that workers share. Nothing else of upstream/ is shared; it
 * is touched only where a connection opens or ends, so the sum is exact and whoever
 * needs a connection gets it. Entries are only ever added, by compare-and-swap in the
 * order of probing: two workers that look for one backend always meet in one entry.
 */
#include <rte_branch_prediction.h>
#include <rte_common.h>
#include <rte_malloc.h>

#include "base/hash.h"
#include "upstream/upstream_pvt.h"

#define PROBES 64u

struct upstream_cap {
	uint64_t id; /* 0: nobody's yet */
	uint32_t n_open;
	/* of its own line: read more often than n_open is written */
	uint32_t is_wanted __attribute__((aligned(RTE_CACHE_LINE_SIZE)));
} __attribute__((aligned(RTE_CACHE_LINE_SIZE)));

struct upstream_caps {
	uint32_t mask;
	uint64_t secret; /* odd; as of backend_bucket() */
	struct upstream_cap cap[];
};

struct upstream_caps *upstream_caps_create(uint32_t n)
{
	uint32_t n_slots = rte_align32pow2(2 * n);
	struct upstream_caps *c = rte_zmalloc("caps", sizeof(*c) + n_slots * sizeof(c->cap[0]), RTE_CACHE_LINE_SIZE);

	if (c) {
		c->mask = n_slots - 1;
		c->secret = hash_secret() | 1;
	}
	return c;
}

void upstream_caps_destroy(struct upstream_caps *caps)
{
	rte_free(caps);
}

struct upstream_cap *cap_find(struct upstream_caps *caps, uint64_t backend_id)
{
	for (uint32_t i = 0; i < PROBES && i <= caps->mask; i++) {
		struct upstream_cap *c = &caps->cap[((backend_id * caps->secret >> 32) + i) & caps->mask];
		uint64_t id = 0;

		if (__atomic_compare_exchange_n(&c->id, &id, backend_id, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED) || id == backend_id)
			return c;
	}
	return NULL;
}

bool cap_take(struct upstream_cap *c, uint32_t max)
{
	uint32_t n = __atomic_load_n(&c->n_open, __ATOMIC_RELAXED);

	while (n < max)
		if (__atomic_compare_exchange_n(&c->n_open, &n, n + 1, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
			return true;
	return false;
}

void cap_want(struct upstream_cap *c)
{
	__atomic_store_n(&c->is_wanted, 1, __ATOMIC_RELAXED);
}

void cap_add(struct upstream_cap *c, int32_t change)
{
	__atomic_fetch_add(&c->n_open, (uint32_t)change, __ATOMIC_RELAXED);
}

bool cap_is_wanted(struct upstream_cap *c)
{
	return __atomic_load_n(&c->is_wanted, __ATOMIC_RELAXED) && __atomic_exchange_n(&c->is_wanted, 0, __ATOMIC_RELAXED);
}
