/* SPDX-License-Identifier: Apache-2.0 */
/* The decisions of idle_ladder.h. */
#include "idle_ladder.h"

static uint64_t idle_for(const struct idle_ladder *l, uint64_t now_us)
{
	return now_us > l->since_us ? now_us - l->since_us : 0;
}

enum idle_rung idle_ladder_climb(struct idle_ladder *l, uint64_t now_us, bool may_deep)
{
	uint64_t idle_us;

	if (l->mode == IDLE_MODE_SPIN)
		return IDLE_SPINS;
	if (!l->is_idle) {
		l->is_idle = true;
		l->since_us = now_us;
	}
	idle_us = idle_for(l, now_us);
	if (l->mode == IDLE_MODE_INTERRUPT && may_deep && l->n_missed < IDLE_MISSES && idle_us >= IDLE_DEEP_AFTER_US)
		return IDLE_DEEP;
	if (l->mode >= IDLE_MODE_SLEEP && idle_us >= IDLE_SLEEP_AFTER_US)
		return IDLE_SLEEPS;
	return l->has_pause && idle_us >= IDLE_PAUSE_AFTER_US ? IDLE_PAUSES : IDLE_SPINS;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/*
 * Half of the time without work so far: who has just come to rest is mostly
 * about to be wanted. At most the bound, less what the kernel is late by; but where that is all of
 * it, a fifth of the bound, or there would be no rest on such a machine.
 */
static uint64_t short_ns(const struct idle_ladder *l, uint64_t now_us)
{
	uint64_t bound = l->latency_us * 1000ull;
	uint64_t late = l->late_us * 1000ull / 16;

	bound = late < bound - bound / 5 ? bound - late : bound / 5;
	return least(bound, idle_for(l, now_us) * 500);
}

uint64_t idle_ladder_span(const struct idle_ladder *l, enum idle_rung *rung, uint64_t now_us, uint64_t next_us)
{
	uint64_t left_us = next_us > now_us ? next_us - now_us : 0;

	if (left_us == 0) {
		*rung = IDLE_SPINS;
		return 0;
	}
	if (*rung == IDLE_DEEP && left_us >= IDLE_DEEP_MIN_US)
		return least(left_us, IDLE_DEEP_MAX_US) * 1000;
	if (*rung == IDLE_DEEP)
		*rung = IDLE_SLEEPS;
	return least(short_ns(l, now_us), least(left_us, IDLE_DEEP_MAX_US) * 1000);
}

void idle_ladder_slept(struct idle_ladder *l, uint64_t asked_ns, uint64_t took_ns)
{
	uint64_t over = took_ns > asked_ns ? took_ns - asked_ns : 0;

	/* A thread that was kept off its core for milliseconds says nothing of timers. */
	over = least(over, 2000ull * l->latency_us);
	l->late_us = (uint32_t)(l->late_us - l->late_us / 16 + over / 1000);
}

void idle_ladder_woken(struct idle_ladder *l, bool by_interrupt)
{
	l->n_missed = by_interrupt ? 0 : l->n_missed + 1;
}
