/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a planned world: hundreds of connections at once between two stacks,
 * each with a path of its own, judged on the wire, above the stacks and at
 * the end, when nothing may be left of them.
 */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "app.h"
#include "driver.h"
#include "plan.h"
#include "wire_check.h"

struct conn_run {
	const struct conn_plan *plan;
	struct app app[2]; /* client, server */
	struct sim_link link[2];
	struct wire_conn wire;
	uint16_t port, server_port;
	bool is_bound;	/* its SYN was seen, so that its port is known */
	bool vanished;
	bool was_reset; /* by somebody on its path */
	bool has_heir;	/* the server has answered a SYN that is not of its life: another one of its ports may be half open there */
	unsigned n_lost[2], n_twins[2], n_forged[2]; /* segments sent by, or forged towards, each end */
};

struct world {
	struct sim sim;
	struct world_plan plan;
	struct conn_run run[WORLD_MAX_CONNS];
	struct conn_run *connecting; /* within tcp_connect() */
	struct conn_run *current;    /* of the segment that is being sent */
	bool old_arrives;	     /* what arrives is of an older connection, whose ports another one has by now */
	struct sim_link hole;
	unsigned n_started, n_strays, n_samples;
	uint64_t prng; /* of attackers and famines */
	int traced;    /* connection whose segments are printed; -1: none; -2: all */
	unsigned n_held[2];
	uint64_t start_us;
	struct rte_mbuf *held[2][SIM_N_MBUFS]; /* during a famine */
};

/* Runs the world of a seed. traced: see struct world. */
void world_run(struct world *w, uint64_t seed, int traced, struct run_result *out);

/* The connection to which a segment sent by host `from` belongs, or NULL. *side: which end of it sent it. */
struct conn_run *world_find(struct world *w, int from, uint16_t sport, uint16_t dport, int *side);
/* Host of an end of the connection. */
static inline int run_host(const struct conn_run *r, int side)
{
	return side == 0 ? r->plan->client : !r->plan->client;
}

/* world_harm.c: attackers, resets on the path, networks that go away, times without mbufs. */
void world_plan_harm(struct world *w);
void world_plan_fate(struct world *w, struct conn_run *r);
void world_end_famine(struct world *w);

/* world_judge.c: what must hold of a connection while it runs, and at the end. */
void world_sample(struct world *w, struct conn_run *r);
void world_judge(struct world *w, struct run_result *out);

#endif
