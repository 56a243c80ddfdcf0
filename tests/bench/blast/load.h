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

/* Things that are due at a rate: number k at start + k * interval; in bursts, each with the first of its burst. */
struct schedule {
	uint64_t start;	 /* time stamp counter */
	double interval; /* cycles; 0: none */
	uint32_t burst;	 /* 0: one by one */
	uint64_t k;
};

/* A ring: the one closed longest ago first. */
struct free_slots {
	uint32_t *at;
	uint32_t head, tail;
};

#define OWNER_ANY UINT32_MAX

struct load {
	/* slots that are closed, by the worker that owns them */
	struct free_slots free[MAX_QUEUES];
	uint32_t free_mask;
	uint32_t owner; /* of the connections to be opened, or OWNER_ANY */
	uint32_t turn;	/* OWNER_ANY: whose is the next */

	/* the pool */
	uint32_t n_pool, n_opening, pool_target, opening_max;
	struct schedule opening;

	/* requests on connections of the pool */
	bool is_on, is_open_loop;
	uint32_t n_active, n_outstanding;
	uint32_t n_reopen;   /* with faults: active connections that ended, to be opened anew */
	uint64_t n_left;     /* requests of the closed loop still to be sent; UINT64_MAX: no bound */
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

/* When the next one is due. */
static inline uint64_t schedule_time(const struct schedule *s)
{
	uint64_t k = s->burst ? s->k - s->k % s->burst : s->k;

	return s->start + (uint64_t)((double)k * s->interval);
}

static inline bool schedule_is_due(const struct schedule *s, uint64_t now)
{
	return s->interval > 0 && now >= schedule_time(s);
}

/* Makes n connections of the pool active (all if there are fewer), at random. */
void load_choose(struct blast *b, uint32_t n);
/* Begins requests on the active ones. rate: requests a second, so many at a time (0: one by one); 0: a closed loop. */
void load_start(struct blast *b, double rate, uint32_t burst);
/* No more requests and no more shots; those under way go on. */
void load_stop(struct blast *b);
/* What is still under way is given up and counted as NO_ANSWER. Active connections go back to the pool. */
void load_finish(struct blast *b);
/* Closes up to max connections of the pool, beginning at slot *at; false once there are not more than n left. */
bool load_close_some(struct blast *b, uint32_t n, uint32_t max, uint32_t *at);
void load_clear_results(struct blast *b);

#endif
