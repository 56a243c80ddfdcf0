/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hierarchical timing wheel (Varghese and Lauck, SOSP 1987, scheme 7): arm,
 * cancel and expire are O(1). One per worker; time is a parameter.
 *
 * A timer never runs early; it runs at most one tick late if wheel_run() is
 * called often enough, and few timers are due in the same stretch of time: a
 * slot of a higher level that holds a million is not emptied at once, but by
 * WHEEL_MOVES timers with each run, and those that are due meanwhile wait for
 * their turn. A timer that is due but whose handler has not yet run
 * can still be cancelled or armed again. Handlers may arm and cancel any timer.
 */
#ifndef BASE_WHEEL_H
#define BASE_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WHEEL_LEVELS 4
#define WHEEL_SLOTS 256
#define WHEEL_MAX_KINDS 16
#define WHEEL_NEVER UINT64_MAX
#define WHEEL_MOVES 256 /* timers that one run moves down from a slot, of each level */

/* Embedded in what it times. Zeroed memory is a timer that is not armed. */
struct wheel_timer {
	struct wheel_timer *next;
	struct wheel_timer **pprev; /* NULL: not armed */
	uint64_t at : 56;	    /* tick at which it is due */
	uint64_t kind : 8;	    /* index of its handler */
};

/* Called once the timer is due; it is not armed any more. ctx is what wheel_handle() was given. */
typedef void wheel_fn(void *ctx, struct wheel_timer *t, uint64_t now_us);

struct wheel {
	uint64_t tick_us;
	uint64_t tick; /* every timer due before or at this tick has been moved to due */
	size_t n_armed;
	struct wheel_timer *due; /* expired, not yet run */
	struct wheel_timer *moving[WHEEL_LEVELS]; /* out of a slot that was entered, not yet in a lower one */
	struct wheel_timer *slots[WHEEL_LEVELS][WHEEL_SLOTS];
	uint64_t bits[WHEEL_LEVELS][WHEEL_SLOTS / 64]; /* which slots are not empty */
	wheel_fn *fn[WHEEL_MAX_KINDS];
	void *ctx[WHEEL_MAX_KINDS];
};

void wheel_init(struct wheel *w, uint64_t tick_us, uint64_t now_us);

/* Sets the handler of all timers of this kind (0 .. WHEEL_MAX_KINDS - 1). */
void wheel_handle(struct wheel *w, unsigned kind, wheel_fn *fn, void *ctx);

/* Arms t for at_us (rounded up to a tick; in the past: due at the next run); moves it if it was armed. */
void wheel_arm(struct wheel *w, struct wheel_timer *t, unsigned kind, uint64_t at_us);

void wheel_cancel(struct wheel *w, struct wheel_timer *t);

static inline bool wheel_is_armed(const struct wheel_timer *t)
{
	return t->pprev != NULL;
}

/* Moves timers down, runs what is due, at most budget handlers; the rest comes with the next call. Returns the number run. */
unsigned wheel_run(struct wheel *w, uint64_t now_us, unsigned budget);

/* A time not after the next timer's, at or before which wheel_run() must be called; WHEEL_NEVER when none is armed. */
uint64_t wheel_next_us(const struct wheel *w);

#endif
