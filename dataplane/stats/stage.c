/* SPDX-License-Identifier: Apache-2.0 */
/* See stage.h. */
#include "stats/stage.h"

#include <string.h>

static_assert(WEIR_C_STAGE_RX_ENTRIES == WEIR_C_STAGE_RX_CYCLES + 1 &&
		      WEIR_C_STAGE_IDLE_CYCLES == WEIR_C_STAGE_RX_CYCLES + 2 * WEIR_STAGE_IDLE,
	      "the counters of the stages are pairs, in their order");

void stage_begin(struct stage_clock *c, enum weir_stage stage, uint64_t tsc)
{
	c->since = tsc;
	c->at = stage;
}

enum weir_stage stage_change(struct stage_clock *c, enum weir_stage stage, uint64_t tsc)
{
	enum weir_stage former = c->at;

	c->cycles[former] += tsc - c->since;
	c->since = tsc;
	c->at = stage;
	return former;
}

static void add(struct weir_worker_stats *s, enum weir_stage stage, uint64_t cycles, uint64_t entries)
{
	stat_add(s, WEIR_C_STAGE_RX_CYCLES + 2 * stage, cycles);
	stat_add(s, WEIR_C_STAGE_RX_ENTRIES + 2 * stage, entries);
}

void stage_end(struct stage_clock *c, struct weir_worker_stats *s, bool was_busy, uint64_t tsc)
{
	uint64_t sum = 0;

	stage_change(c, WEIR_STAGE_OTHER, tsc);
	for (unsigned i = 0; i < WEIR_N_STAGES; i++) {
		if (was_busy)
			add(s, (enum weir_stage)i, c->cycles[i], c->entries[i]);
		sum += c->cycles[i];
	}
	if (!was_busy)
		add(s, WEIR_STAGE_IDLE, sum, 1);
	memset(c->cycles, 0, sizeof(c->cycles));
	memset(c->entries, 0, sizeof(c->entries));
}
