/* SPDX-License-Identifier: Apache-2.0 */
/* One pass of a script, as run.c and the peer that answers by itself (run_auto.c) share it. */
#ifndef SCRIPT_RUN_PVT_H
#define SCRIPT_RUN_PVT_H

#include <stdio.h>

#include "backend.h"
#include "script.h"

#define RUN_TICK_US 1000 /* a timer runs at most so much late */

struct run_conn {
	struct seg_map map;
	bool offers_ts, peer_offers_ts;
	uint32_t acked;		   /* by the peer, relative */
	struct run_ack *acks, **acks_tail; /* that `auto` has yet to send */
};

/* An ACK of the peer that answers by itself, on its way. */
struct run_ack {
	struct run_ack *next;
	uint64_t at_us;
	struct seg_spec spec;
};

struct run_output {
	struct run_output *next;
	uint64_t at_us;
	unsigned conn; /* UINT32_MAX: of none */
	bool is_ok;
	struct seg_got seg;
	uint8_t bytes[];
};

struct run {
	const struct script *script;
	const struct backend_pass *pass;
	struct backend *backend;
	struct run_conn conns[SCRIPT_MAX_CONNS];
	struct run_output *head, **tail; /* came out, and not yet expected */
	uint64_t last_us;		 /* when the last step took place */
	uint64_t ignored_us;		 /* what comes between the steps until then does not matter */
	FILE *trace;
	char why[2 * SEG_TEXT_MAX];
};

void run_collect(struct run *r);
void run_drop_output(struct run *r);
void run_inject(struct run *r, unsigned conn, const struct seg_spec *spec, bool is_burst);
/* run_auto.c: the step `auto`. False with why (SEG_TEXT_MAX bytes). */
void run_free_acks(struct run_conn *c);
bool run_auto(struct run *r, const struct script_step *st, char *why);
void run_trace(struct run *r, uint64_t at_us, char direction, unsigned conn, const char *text);

#endif
