/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stage timers: where the cycles of a worker go. A clock is in one stage at a
 * time; who enters another one puts the former back when he is done, so that a
 * stage within a stage is not counted twice. All of an iteration is collected
 * and goes to the counters at its end: under the stages if there was work,
 * else under idle.
 *
 * Where the timers are off there is no clock, and each call is one branch.
 */
#ifndef STATS_STAGE_H
#define STATS_STAGE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <x86intrin.h>

#include "stats/stats.h"

struct stage_clock {
	uint64_t since; /* time stamp counter, of the last change */
	enum weir_stage at;
	uint64_t cycles[WEIR_N_STAGES], entries[WEIR_N_STAGES]; /* of this iteration */
};

/* An iteration begins, in this stage; tsc is a time stamp counter that was read anyway. */
void stage_begin(struct stage_clock *c, enum weir_stage stage, uint64_t tsc);
/* The stage until now ends, this one begins. Returns the one that ended. */
enum weir_stage stage_change(struct stage_clock *c, enum weir_stage stage, uint64_t tsc);
/* The iteration ends: counts it. */
void stage_end(struct stage_clock *c, struct weir_worker_stats *s, bool was_busy, uint64_t tsc);

/* Enters a stage; what it returns is for stage_leave(). c may be NULL. */
static inline enum weir_stage stage_enter(struct stage_clock *c, enum weir_stage stage)
{
	if (__builtin_expect(c == NULL, 1))
		return stage;
	c->entries[stage]++;
	return stage_change(c, stage, __rdtsc());
}

/* Back to the stage that stage_enter() returned. */
static inline void stage_leave(struct stage_clock *c, enum weir_stage former)
{
	if (__builtin_expect(c != NULL, 0))
		stage_change(c, former, __rdtsc());
}

#endif
