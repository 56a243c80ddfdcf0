/* SPDX-License-Identifier: Apache-2.0 */
/* For tests: all that upstream_set_endpoints() and the like began, at once. */
#ifndef TESTS_UPSTREAM_ALL_H
#define TESTS_UPSTREAM_ALL_H

#include "upstream/upstream.h"

static inline void upstream_finish(struct upstream *u, uint64_t now_us)
{
	int budget;

	do
		budget = UPSTREAM_SLICE;
	while (!upstream_step(u, &budget, now_us));
}

static inline void upstream_take_set(struct upstream *u, const struct weir_endpoint_set *set, uint64_t now_us)
{
	upstream_set_endpoints(u, set, now_us);
	upstream_finish(u, now_us);
}

#endif
