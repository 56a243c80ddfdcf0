/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Phases: one line says what is done, one JSON object says what came of it.
 *
 *   connect n=N [rate=PER_SECOND] [opening=N] [owner=WORKER] [seconds=AT_MOST]
 *   hold seconds=S [n=LEFT] [tell=0|1]       ends early when no more than LEFT connections are left; tell=1: an object
 *                                            of its own says that it has begun
 *   load seconds=S [warmup=S] [active=N] [rate=PER_SECOND] [size=B[,B...]]
 *        [flood=PER_SECOND|max] [new=PER_SECOND | shots=AT_ONE_TIME] [owner=WORKER]
 *        [timeout=S] [burst=N] [scatter=0|1] [requests=N]
 *        [hosts=N paths=N]                         requests are spread over these, see content.h
 *        [faults=SHARE] [posts=SHARE] [seed=N] [stall=S] [mirror=0|1]   from then on, see chaos.h; size=: of all bodies, else mixed
 *   close [n=LEFT] [seconds=AT_MOST]
 */
#ifndef BLAST_PHASE_H
#define BLAST_PHASE_H

#include <jansson.h>

#include "load.h"

struct phase {
	enum phase_kind { PHASE_CONNECT, PHASE_HOLD, PHASE_LOAD, PHASE_CLOSE } kind;
	enum { STAGE_RUN, STAGE_FINISH, STAGE_DONE } stage;
	/* arguments */
	double seconds, warmup, rate, new_rate, timeout, faults, posts, stall;
	uint32_t requests, mirror, seed, hosts, paths;
	bool has_faults, has_size;
	uint32_t n, active, opening, shots, n_opened_before, owner, scatter, burst;
	bool has_n;	   /* n was given */
	uint32_t tell;	   /* not 0: a line says that it has begun */
	bool is_idle_load; /* load without requests of the pool: active=0 */
	bool has_flood, has_flood_rate;
	struct schedule flood;
	double flood_rate;
	unsigned n_sizes;
	uint32_t sizes[MAX_SIZES];
	/* state */
	uint64_t begin, until;
	uint32_t at; /* close: the next slot to look at */
	uint32_t pool_before;
	struct counts before;
};

/* Reads a line and begins. 0, or -EINVAL with what is wrong in why. */
int phase_begin(struct blast *b, struct phase *p, const char *line, char *why, size_t n_why);
/* Once per iteration; true when the phase has ended. */
bool phase_step(struct blast *b, struct phase *p);
/* A new reference. */
json_t *phase_report(const struct blast *b, const struct phase *p);

#endif
