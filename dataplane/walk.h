/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's part of a list of connections: it walks its table in short
 * steps between bursts, and keeps the rows that are wanted in the diagnostics
 * region. Main makes a job, hands it over in a message, and has it back with
 * the worker's answer; it can be called off at no time, as it always ends.
 */
#ifndef WEIR_DATAPLANE_WALK_H
#define WEIR_DATAPLANE_WALK_H

#include <stdbool.h>

#include "weir/diag.h"
#include "weir/stats.h"

struct tcp_stack;

#define WALK_STEP 64u /* places of the table, each iteration of the worker's loop */

/* A row that is kept, in a heap with the least one first; so the rest are the largest seen. */
struct walk_kept {
	uint64_t key;
	uint32_t row;
};

struct walk_job {
	/* main: w, before it is handed over */
	uint64_t id;
	struct weir_conn_query query; /* checked */
	struct weir_diag_worker *out;
	struct weir_conn_row *rows; /* [query.limit] */
	/* worker: w */
	uint32_t next; /* where the next step begins */
	uint32_t n_kept;
	struct walk_kept kept[]; /* [query.limit] */
};

/* 0, or -ENOMEM: a job for one worker, its results empty. The query was checked. */
int walk_create(uint64_t id, const struct weir_conn_query *query, struct weir_diag_worker *out, struct weir_conn_row *rows,
		struct walk_job **job);
void walk_destroy(struct walk_job *job);

/* The next step. True when it was the last one, and the rows are complete. */
bool walk_step(struct walk_job *job, struct tcp_stack *tcp, struct weir_worker_stats *stats);

#endif
