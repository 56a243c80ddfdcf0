/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs seed after seed until enough connections are done, and says how to
 * bring back the ones that failed: what sim_properties and sim_hostile share.
 */
#ifndef SIM_DRIVER_H
#define SIM_DRIVER_H

#include "weir/stats.h"

struct run_result {
	unsigned n_conns, n_complete;
	uint64_t n_segments, n_retransmits, n_bytes;
	int failed;    /* connection that broke a rule; -1: none or all; see why */
	char why[512]; /* empty: all is well */
	struct weir_worker_stats stats; /* of the stacks */
};

/* Runs the world of a seed. traced: connection whose segments are printed; -1: none; -2: all. */
typedef void driver_run_fn(uint64_t seed, int traced, struct run_result *out);
/* Says what the connection of the last run was meant to do. */
typedef void driver_print_fn(unsigned conn);

/* Takes main()'s arguments; returns its exit status. */
int driver_main(int argc, char **argv, driver_run_fn *run, driver_print_fn *print);

void result_fail(struct run_result *out, int conn, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
