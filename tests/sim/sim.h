/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network in virtual time: two TCP stacks with links between them that lose,
 * delay, reorder, duplicate, mark and queue segments by a seeded generator.
 * Time jumps from event to event; the same seed gives the same run.
 */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include "base/wheel.h"
#include "link.h"
#include "tcp/tcp.h"

#define SIM_MAX_PACKETS 16384
#define SIM_N_MBUFS 16383

struct sim_host {
	struct sim *sim;
	int id;
	struct weir_ip ip; /* a test may change it before it connects */
	struct wheel wheel;
	struct tcp_stack *tcp;
	uint32_t tso_max_bytes;
	struct weir_worker_stats stats;
};

/* Something that happens at a time; heap.c keeps them. */
struct sim_event;
typedef void sim_call_fn(void *ctx, uint64_t now_us);

struct sim_heap {
	struct sim_key {
		uint64_t at_us, order;
		uint32_t slot;
	} *keys; /* a binary heap */
	struct sim_event *slots;
	uint32_t n, n_slots, free; /* free: first of the slots that are not used, linked */
};

struct sim {
	uint64_t now_us;
	uint64_t prng;
	uint64_t order;
	struct sim_link link; /* of both directions, unless route says otherwise */
	struct rte_mempool *pool, *clones;
	struct sim_host host[2];
	unsigned n_packets; /* on their way */
	uint64_t n_no_mbuf; /* segments lost because the wire had no mbuf for them */
	struct sim_heap heap;

	/* Any of these may be NULL. ctx is theirs. */
	void *ctx;
	/* may look at, change (return true) or drop (return false) a segment on its way */
	bool (*filter)(struct sim *s, int from, struct rte_mbuf *m);
	/* which link a segment takes */
	struct sim_link *(*route)(struct sim *s, int from, const struct rte_mbuf *m);
	/* a stack sent this; what it returns comes with the segment when it arrives */
	uint32_t (*sent)(struct sim *s, int from, const struct rte_mbuf *m, const struct tcp_packet *packet);
	/* a segment is about to be given to a stack; tag 0: injected by a test */
	void (*arrives)(struct sim *s, int to, const struct rte_mbuf *m, const struct tcp_packet *packet, uint32_t tag);
	/* an ICMP error is about to be given to a stack */
	void (*icmp)(struct sim *s, int to, const struct ip_flow *flow);
	/* what became of a segment that was sent */
	void (*fate)(struct sim *s, int from, const struct rte_mbuf *m, uint32_t tag, enum sim_fate what, uint64_t at_us);
};

/* Good values for a stack in tests. */
struct tcp_config sim_config(void);
void sim_init(struct sim *s, uint64_t seed, const struct tcp_config *a, const struct tcp_config *b);
/*
 * Ends both stacks, and fails the process if an mbuf is missing or a timer
 * still armed; sim_label, where set, says of which run.
 */
extern char sim_label[64];
void sim_fini(struct sim *s);
uint64_t sim_random(struct sim *s);
/* Runs until done(ctx), at most for_us of virtual time. Returns what done() says at the end. */
bool sim_run(struct sim *s, uint64_t for_us, bool (*done)(void *ctx), void *ctx);
/* Puts a segment on its way to host `to` over s->link's delay, as if the other one had sent it. */
void sim_inject(struct sim *s, int to, struct rte_mbuf *m, const struct tcp_packet *packet);
/* The same, to arrive at at_us. */
void sim_inject_at(struct sim *s, uint64_t at_us, int to, struct rte_mbuf *m, const struct tcp_packet *packet);
/* Calls fn(ctx) at at_us. */
void sim_at(struct sim *s, uint64_t at_us, sim_call_fn *fn, void *ctx);

/* A generator for all tests: splitmix64. */
static inline uint64_t sim_mix(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

#endif
