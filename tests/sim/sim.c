/* SPDX-License-Identifier: Apache-2.0 */
/* The network in virtual time. See sim.h. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>

#define N_MBUFS 16383

static struct rte_mempool *pool, *clones;

uint64_t sim_random(struct sim *s)
{
	uint64_t z = s->prng += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static bool chance(struct sim *s, uint32_t ppm)
{
	return ppm && sim_random(s) % 1000000 < ppm;
}

static void enqueue(struct sim *s, int to, struct rte_mbuf *m, const struct tcp_packet *packet)
{
	uint32_t jitter = s->link.jitter_us ? (uint32_t)(sim_random(s) % s->link.jitter_us) : 0;

	if (s->n_packets == SIM_MAX_PACKETS) {
		rte_pktmbuf_free(m);
		return;
	}
	s->packets[s->n_packets++] = (struct sim_packet){
		.at_us = s->now_us + s->link.delay_us + jitter,
		.order = s->order++,
		.to = to,
		.m = m,
		.packet = *packet,
	};
}

void sim_inject(struct sim *s, int to, struct rte_mbuf *m, const struct tcp_packet *packet)
{
	enqueue(s, to, m, packet);
}

/* A segment leaves a stack: copied flat, as a wire does. */
static void on_output(void *ctx, struct rte_mbuf *m, const struct ip_flow *flow, uint8_t ecn, uint64_t now_us)
{
	struct sim_host *h = ctx;
	struct sim *s = h->sim;
	struct tcp_packet packet = {.src = flow->local, .dst = flow->remote, .ecn = ecn};
	struct rte_mbuf *copy = rte_pktmbuf_copy(m, s->pool, 0, UINT32_MAX);

	rte_pktmbuf_free(m);
	if (!copy)
		return;
	if (rte_pktmbuf_linearize(copy) != 0 && !s->filter) /* too long: for a filter that takes segments before they are cut */
		abort();
	if ((s->filter && !s->filter(s, h->id, copy)) || chance(s, s->link.loss_ppm)) {
		rte_pktmbuf_free(copy);
		return;
	}
	if (chance(s, s->link.duplicate_ppm)) {
		struct rte_mbuf *twin = rte_pktmbuf_copy(copy, s->pool, 0, UINT32_MAX);

		if (twin)
			enqueue(s, !h->id, twin, &packet);
	}
	enqueue(s, !h->id, copy, &packet);
}

struct tcp_config sim_config(void)
{
	struct tcp_config c = {
		.n_connections = 256,
		.n_syn = 64,
		.rx_buffer_bytes = 65536,
		.tx_buffer_bytes = 65536,
		.mtu = 1500,
		.port_lo = 20000,
		.port_hi = 29999,
		.time_wait_ms = 2000,
		.fin_timeout_ms = 5000,
		.keepalive_ms = 0,
		.max_retransmit_ms = 60000,
	};

	memcpy(c.secret, "0123456789abcdef", 16);
	return c;
}

static void host_init(struct sim *s, int id, const struct tcp_config *config)
{
	struct sim_host *h = &s->host[id];
	struct tcp_env env = {.ctx = h, .output = on_output, .pool = s->pool, .clones = s->clones, .wheel = &h->wheel,
			      .wheel_kind = 1, .stats = &h->stats};
	char text[16];

	h->sim = s;
	h->id = id;
	snprintf(text, sizeof(text), "10.0.0.%d", id + 1);
	ip_parse(text, strlen(text), &h->ip);
	wheel_init(&h->wheel, 1000, s->now_us);
	h->tcp = tcp_create(config, &env);
	if (!h->tcp)
		abort();
}

void sim_init(struct sim *s, uint64_t seed, const struct tcp_config *a, const struct tcp_config *b)
{
	memset(s, 0, offsetof(struct sim, packets));
	s->filter = NULL;
	if (!pool) {
		pool = rte_pktmbuf_pool_create("sim", N_MBUFS, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
		clones = rte_pktmbuf_pool_create("sim-clones", N_MBUFS, 0, 0, 0, SOCKET_ID_ANY);
	}
	s->pool = pool;
	s->clones = clones;
	s->now_us = 1000000 + seed * 7777;
	s->prng = seed;
	s->link.delay_us = 1000;
	host_init(s, 0, a);
	host_init(s, 1, b);
}

static void drop_all(struct sim *s)
{
	for (unsigned i = 0; i < s->n_packets; i++)
		rte_pktmbuf_free(s->packets[i].m);
	s->n_packets = 0;
}

void sim_fini(struct sim *s)
{
	for (int i = 0; i < 2; i++) {
		tcp_destroy(s->host[i].tcp, s->now_us);
		if (s->host[i].wheel.n_armed != 0) {
			fprintf(stderr, "sim: %zu timers are still armed\n", s->host[i].wheel.n_armed);
			abort();
		}
	}
	drop_all(s);
	if (rte_mempool_avail_count(s->pool) != N_MBUFS || rte_mempool_avail_count(s->clones) != N_MBUFS) {
		fprintf(stderr, "sim: mbufs are missing: %u and %u of %u\n", N_MBUFS - rte_mempool_avail_count(s->pool),
			N_MBUFS - rte_mempool_avail_count(s->clones), N_MBUFS);
		abort();
	}
}

/* Index of the next packet to arrive, or -1. */
static int next_packet(const struct sim *s)
{
	int best = -1;

	for (unsigned i = 0; i < s->n_packets; i++)
		if (best < 0 || s->packets[i].at_us < s->packets[best].at_us ||
		    (s->packets[i].at_us == s->packets[best].at_us && s->packets[i].order < s->packets[best].order))
			best = (int)i;
	return best;
}

static void deliver_due(struct sim *s)
{
	int i;

	while ((i = next_packet(s)) >= 0 && s->packets[i].at_us <= s->now_us) {
		struct sim_packet p = s->packets[i];

		s->packets[i] = s->packets[--s->n_packets];
		tcp_input(s->host[p.to].tcp, p.m, &p.packet, s->now_us);
	}
}

bool sim_run(struct sim *s, uint64_t for_us, bool (*done)(void *ctx), void *ctx)
{
	uint64_t end = s->now_us + for_us;

	for (;;) {
		uint64_t next = UINT64_MAX;
		int i;

		deliver_due(s);
		for (int h = 0; h < 2; h++) {
			wheel_run(&s->host[h].wheel, s->now_us, UINT32_MAX);
			tcp_run(s->host[h].tcp, s->now_us);
		}
		if (done && done(ctx))
			return true;
		i = next_packet(s);
		if (i >= 0)
			next = s->packets[i].at_us;
		for (int h = 0; h < 2; h++) {
			uint64_t t = wheel_next_us(&s->host[h].wheel);

			if (t < next)
				next = t;
		}
		if (next == UINT64_MAX || next > end)
			break;
		s->now_us = next > s->now_us ? next : s->now_us + 1;
	}
	s->now_us = end;
	return done ? done(ctx) : true;
}
