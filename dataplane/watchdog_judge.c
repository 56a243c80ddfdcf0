/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a worker goes on, by what main has seen: pure, so that tests have the time in hand. */
#include "watchdog.h"

#define PATIENCE 10 /* times the limit, for who has no CPU and for who has not begun */

/* Main looks several times within the limit. More than a quarter of it between two looks: it did not run either. */
static uint64_t step_us(const struct watch *w, const struct watch_seen *seen, uint32_t limit_ms)
{
	uint64_t most = limit_ms * 1000ull / 4;
	uint64_t step = seen->now_us - w->looked_us;

	return step < most ? step : most;
}

static bool is_new(const struct watch *w, const struct watch_seen *seen)
{
	return !w->looked_us || seen->n_loops != w->n_loops;
}

bool watchdog_wants_state(const struct watch *w, const struct watch_seen *seen, uint32_t limit_ms)
{
	return !is_new(w, seen) && w->still_us + step_us(w, seen, limit_ms) >= limit_ms * 1000ull;
}

enum watch_verdict watchdog_judge(struct watch *w, const struct watch_seen *seen, uint32_t limit_ms)
{
	uint64_t limit_us = limit_ms * 1000ull;
	bool has_cpu, waits;

	if (is_new(w, seen)) {
		w->has_begun = seen->n_loops != 0;
		w->looked_us = seen->now_us;
		w->n_loops = seen->n_loops;
		w->cpu_us = seen->cpu_us;
		w->still_us = 0;
		w->is_starving = false;
		return WATCH_GOES_ON;
	}
	w->still_us += step_us(w, seen, limit_ms);
	w->looked_us = seen->now_us;
	if (w->still_us < limit_us)
		return WATCH_GOES_ON;
	has_cpu = seen->cpu_us - w->cpu_us >= limit_us / 2;
	waits = seen->state == 'R' && !has_cpu;
	if ((!waits && w->has_begun) || w->still_us >= PATIENCE * limit_us)
		return WATCH_STUCK;
	if (!waits || w->is_starving)
		return WATCH_GOES_ON;
	w->is_starving = true;
	return WATCH_STARVES;
}
