/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker without work does next: the longer it has had none, the deeper
 * it rests. Decisions alone, with time as a parameter; idle.c carries them out.
 *
 *   SPINS    the next iteration at once
 *   PAUSES   a light sleep of the core itself (TPAUSE, UMWAIT), where the CPU has it
 *   SLEEPS   a short sleep in the kernel; ends at the bound of added latency at the latest
 *   DEEP     a sleep that ends by an interrupt of a port, a call of another thread, or the next timer
 */
#ifndef WEIR_DATAPLANE_IDLE_LADDER_H
#define WEIR_DATAPLANE_IDLE_LADDER_H

#include <stdbool.h>
#include <stdint.h>

/* How far down a worker may go: `workers.idle` of weir.yaml. */
enum idle_mode { IDLE_MODE_SPIN, IDLE_MODE_PAUSE, IDLE_MODE_SLEEP, IDLE_MODE_INTERRUPT };

enum idle_rung { IDLE_SPINS, IDLE_PAUSES, IDLE_SLEEPS, IDLE_DEEP };

/* Time without work after which a rung is reached. Nothing under load is idle for so long, so load never sleeps. */
#define IDLE_PAUSE_AFTER_US 20
#define IDLE_SLEEP_AFTER_US 50
#define IDLE_DEEP_AFTER_US 1000 /* what follows a request mostly does so sooner, and finds a worker that sleeps but shortly */
#define IDLE_DEEP_MIN_US 200	/* a timer that is nearer is waited for by short sleeps */
#define IDLE_DEEP_MAX_US 100000
#define IDLE_MISSES 3 /* one can be a packet that came just as the timer did */

struct idle_ladder {
	enum idle_mode mode;
	uint32_t latency_us; /* added at most by a sleep */
	bool has_pause;	     /* the CPU has it */
	bool is_idle;
	uint64_t since_us; /* while is_idle */
	uint32_t n_missed; /* packets in a row that no interrupt told of */
	uint32_t late_us;  /* by so much short sleeps end late, smoothed, in 1/16 us */
};

/* There was work. */
static inline void idle_ladder_reset(struct idle_ladder *l)
{
	l->is_idle = false;
}

/* An iteration that began at now_us found nothing. may_deep: whatever may come will wake the worker. */
enum idle_rung idle_ladder_climb(struct idle_ladder *l, uint64_t now_us, bool may_deep);

/* How long to rest there, in ns; next_us: the next timer. Where that is too near for the rung, *rung becomes a higher one. */
uint64_t idle_ladder_span(const struct idle_ladder *l, enum idle_rung *rung, uint64_t now_us, uint64_t next_us);

/* A deep sleep ended, by an interrupt or with a packet there of which none told. From IDLE_MISSES of the latter in a row on there is no deep sleep. */
void idle_ladder_woken(struct idle_ladder *l, bool by_interrupt);

/* A short sleep of asked_ns took took_ns: later ones are shorter by what the kernel needs. */
void idle_ladder_slept(struct idle_ladder *l, uint64_t asked_ns, uint64_t took_ns);

#endif
