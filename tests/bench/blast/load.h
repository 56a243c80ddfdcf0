/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the client's connections do. phase.c sets it up and reads the results;
 * load.c does it. Three things, side by side: a pool of connections is opened
 * to stay; some of them carry requests, in a closed loop or at a rate; and
 * shots, each a connection of its own for one request.
 */
#ifndef BLAST_LOAD_H
#define BLAST_LOAD_H

#include "blast.h"

#define MAX_SIZES 16

/* Things that are due at a rate: number k at start + k * interval. */
struct schedule {
	uint64_t start;	 /* time stamp counter */
	double interval; /* cycles; 0: none */
	uint64_t k;
};

struct load {
	/* slots that are closed and may be used (--owner), the one closed longest ago first */
	uint32_t *free_slots;
	uint32_t free_mask, free_head, free_tail;

	/* the pool */
	uint32_t n_pool, n_opening, pool_target, opening_max;
	struct schedule opening;

	/* requests on connections of the pool */
	bool is_on, is_open_loop;
	uint32_t n_active, n_outstanding;
	uint32_t *active;
	uint32_t *idle; /* open loop: active connections that wait for work, a ring */
	uint32_t idle_mask, idle_head, idle_tail;
	struct schedule requests;
	unsigned n_sizes;
	uint32_t sizes[MAX_SIZES]; /* of bodies: one of them each time */

	/* shots */
	struct schedule shots;
	uint32_t shots_max; /* at one time */
	uint32_t n_shots;   /* without an answer yet */
	uint32_t shot_timeout_ms;
	struct due shot_deadline;

	/* results, of what began at measure_from or later */
	uint64_t measure_from, measure_to;
	uint64_t n_measured, measured_bytes;
	struct hist latency;
	uint64_t shots_begun, shots_good, shots_failed, shots_measured;
	uint64_t shot_error[N_ERRORS];
	struct hist shot_latency;
};

/* Number of things that should have begun by now, less those that did. */
static inline bool schedule_is_due(const struct schedule *s, uint64_t now)
{
	return s->interval > 0 && (double)(now - s->start) >= (double)s->k * s->interval;
}

static inline uint64_t schedule_time(const struct schedule *s)
{
	return s->start + (uint64_t)((double)s->k * s->interval);
}

/* Makes n connections of the pool active (all if there are fewer), at random. */
void load_choose(struct blast *b, uint32_t n);
/* Begins requests on the active ones. rate: requests a second, 0: a closed loop. */
void load_start(struct blast *b, double rate);
/* No more requests and no more shots; those under way go on. */
void load_stop(struct blast *b);
/* What is still under way is given up and counted as NO_ANSWER. Active connections go back to the pool. */
void load_finish(struct blast *b);
/* Closes up to max connections of the pool, beginning at slot *at; false once there are not more than n left. */
bool load_close_some(struct blast *b, uint32_t n, uint32_t max, uint32_t *at);
void load_clear_results(struct blast *b);

#endif
