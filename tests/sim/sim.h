/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network in virtual time: two TCP stacks with a link between them that
 * loses, delays, reorders and duplicates segments by a seeded generator. Time
 * jumps from event to event; the same seed gives the same run.
 */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include "base/wheel.h"
#include "tcp/tcp.h"

#define SIM_MAX_PACKETS 16384

struct sim_link {
	uint32_t delay_us;
	uint32_t jitter_us;  /* added at random: reorders */
	uint32_t loss_ppm;
	uint32_t duplicate_ppm;
};

struct sim_packet {
	uint64_t at_us;
	uint64_t order;
	int to;
	struct rte_mbuf *m;
	struct tcp_packet packet;
};

struct sim_host {
	struct sim *sim;
	int id;
	struct weir_ip ip;
	struct wheel wheel;
	struct tcp_stack *tcp;
	struct weir_worker_stats stats;
};

struct sim {
	uint64_t now_us;
	uint64_t prng;
	uint64_t order;
	struct sim_link link;
	struct rte_mempool *pool, *clones;
	struct sim_host host[2];
	unsigned n_packets;
	struct sim_packet packets[SIM_MAX_PACKETS];
	/* may look at, change (return true) or drop (return false) a segment on its way; NULL: passes */
	bool (*filter)(struct sim *s, int from, struct rte_mbuf *m);
};

/* Good values for a stack in tests. */
struct tcp_config sim_config(void);
void sim_init(struct sim *s, uint64_t seed, const struct tcp_config *a, const struct tcp_config *b);
/* Ends both stacks, and fails the process if an mbuf is missing or a timer still armed. */
void sim_fini(struct sim *s);
uint64_t sim_random(struct sim *s);
/* Runs until done(ctx), at most for_us of virtual time. Returns what done() says at the end. */
bool sim_run(struct sim *s, uint64_t for_us, bool (*done)(void *ctx), void *ctx);
/* Puts a segment on its way to host `to`, as if the other one had sent it. */
void sim_inject(struct sim *s, int to, struct rte_mbuf *m, const struct tcp_packet *packet);

#endif
