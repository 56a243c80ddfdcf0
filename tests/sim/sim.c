/* SPDX-License-Identifier: Apache-2.0 */
/* The network in virtual time. See sim.h. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>

#include "heap.h"
#include "wire.h"

#define TIMERS_AT_ONCE 1000000 /* more than any test has */

static struct rte_mempool *pool, *clones;
static struct rte_mempool *reserve; /* for a look at what there is no mbuf for */
char sim_label[64];

uint64_t sim_random(struct sim *s)
{
	return sim_mix(&s->prng);
}

void sim_inject_at(struct sim *s, uint64_t at_us, int to, struct rte_mbuf *m, const struct tcp_packet *packet)
{
	struct sim_event e = {.kind = EVENT_SEGMENT, .to = (uint8_t)to, .at_us = at_us, .m = m, .packet = *packet};

	s->n_packets++;
	heap_push(&s->heap, &e, s->order++);
}

void sim_inject(struct sim *s, int to, struct rte_mbuf *m, const struct tcp_packet *packet)
{
	uint32_t jitter = s->link.jitter_us ? (uint32_t)(sim_random(s) % s->link.jitter_us) : 0;

	sim_inject_at(s, s->now_us + s->link.delay_us + jitter, to, m, packet);
}

void sim_at(struct sim *s, uint64_t at_us, sim_call_fn *fn, void *ctx)
{
	struct sim_event e = {.kind = EVENT_CALL, .at_us = at_us, .call = {.fn = fn, .ctx = ctx}};

	heap_push(&s->heap, &e, s->order++);
}

/* One segment, as long as the wire takes it. Takes m, which is the wire's own copy. */
static void put_on_wire(struct sim_host *h, struct rte_mbuf *m, const struct tcp_packet *packet, uint32_t tag)
{
	struct sim *s = h->sim;

	if (s->filter && !s->filter(s, h->id, m)) {
		if (s->fate)
			s->fate(s, h->id, m, tag, SIM_FILTERED, 0);
		rte_pktmbuf_free(m);
		return;
	}
	link_carry(s, s->route ? s->route(s, h->id, m) : &s->link, !h->id, m, packet, tag);
}

/* A segment that the wire has no mbuf for: sent, and lost. */
static void lose_for_want_of_mbuf(struct sim_host *h, const struct rte_mbuf *m, uint32_t tag)
{
	struct sim *s = h->sim;

	s->n_no_mbuf++;
	if (s->fate)
		s->fate(s, h->id, m, tag, SIM_NO_MBUF, 0);
}

static uint32_t tell_sent(struct sim_host *h, const struct rte_mbuf *m, const struct tcp_packet *packet)
{
	return h->sim->sent ? h->sim->sent(h->sim, h->id, m, packet) : 0;
}

/* The piece of a long segment that begins at payload byte off, as a NIC cuts it (see tcp_output_fn). */
static struct rte_mbuf *cut_piece(struct rte_mempool *from, const struct rte_mbuf *m, uint32_t off)
{
	uint32_t payload = m->pkt_len - m->l4_len;
	uint32_t len = payload - off < m->tso_segsz ? payload - off : m->tso_segsz;
	struct wire_seg seg;
	uint8_t bytes[65536];

	if (!wire_parse(m, &seg) || len > sizeof(bytes))
		abort();
	seg.seq += off;
	seg.len = len;
	if (off > 0)
		seg.flags &= (uint8_t)~WIRE_CWR;
	if (off + len < payload)
		seg.flags &= (uint8_t)~(WIRE_FIN | WIRE_PSH);
	return wire_build(from, &seg, rte_pktmbuf_read(m, m->l4_len + off, len, bytes));
}

static void cut_long(struct sim_host *h, const struct rte_mbuf *m, const struct tcp_packet *packet)
{
	struct wire_seg seg;

	if (!wire_parse(m, &seg) || seg.header_len != m->l4_len || seg.len == 0 || seg.len > h->tso_max_bytes ||
	    (seg.flags & (WIRE_SYN | WIRE_RST | WIRE_URG))) {
		fprintf(stderr, "sim%s: a long segment of %u bytes that no NIC could cut (l4_len %u, segsz %u, flags %02x)\n",
			sim_label, m->pkt_len, (unsigned)m->l4_len, (unsigned)m->tso_segsz, seg.flags);
		abort();
	}
	for (uint32_t off = 0; off < seg.len; off += m->tso_segsz) {
		struct rte_mbuf *piece = cut_piece(h->sim->pool, m, off);
		struct rte_mbuf *seen = piece ? piece : cut_piece(reserve, m, off);
		uint32_t tag = tell_sent(h, seen, packet);

		if (piece) {
			put_on_wire(h, piece, packet, tag);
		} else {
			lose_for_want_of_mbuf(h, seen, tag);
			rte_pktmbuf_free(seen);
		}
	}
}

/* A segment leaves a stack: copied, as a wire does. */
static void on_output(void *ctx, struct rte_mbuf *m, const struct ip_flow *flow, uint8_t ecn, uint64_t now_us)
{
	struct sim_host *h = ctx;
	struct tcp_packet packet = {.src = flow->local, .dst = flow->remote, .ecn = ecn};
	struct rte_mbuf *copy;
	uint32_t tag;

	if (m->tso_segsz) {
		cut_long(h, m, &packet);
		rte_pktmbuf_free(m);
		return;
	}
	tag = tell_sent(h, m, &packet);
	copy = rte_pktmbuf_copy(m, h->sim->pool, 0, UINT32_MAX);
	if (copy)
		put_on_wire(h, copy, &packet, tag);
	else
		lose_for_want_of_mbuf(h, m, tag);
	rte_pktmbuf_free(m);
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
	h->tso_max_bytes = config->tso_max_bytes;
	snprintf(text, sizeof(text), "10.0.0.%d", id + 1);
	ip_parse(text, strlen(text), &h->ip);
	wheel_init(&h->wheel, 1000, s->now_us);
	h->tcp = tcp_create(config, &env);
	if (!h->tcp)
		abort();
}

void sim_init(struct sim *s, uint64_t seed, const struct tcp_config *a, const struct tcp_config *b)
{
	memset(s, 0, sizeof(*s));
	if (!pool) {
		pool = rte_pktmbuf_pool_create("sim", SIM_N_MBUFS, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
		clones = rte_pktmbuf_pool_create("sim-clones", SIM_N_MBUFS, 0, 0, 0, SOCKET_ID_ANY);
		reserve = rte_pktmbuf_pool_create("sim-reserve", 63, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
		if (!pool || !clones || !reserve)
			abort();
	}
	s->pool = pool;
	s->clones = clones;
	s->now_us = 1000000 + seed % 1000003 * 7777;
	s->prng = seed;
	s->link.delay_us = 1000;
	host_init(s, 0, a);
	host_init(s, 1, b);
}

static void drop_all(struct sim *s)
{
	while (s->heap.n) {
		struct sim_event e = heap_pop(&s->heap);

		if (e.kind == EVENT_SEGMENT)
			rte_pktmbuf_free(e.m);
	}
	s->n_packets = 0;
	heap_free(&s->heap);
}

void sim_fini(struct sim *s)
{
	for (int i = 0; i < 2; i++) {
		tcp_destroy(s->host[i].tcp, s->now_us);
		if (s->host[i].wheel.n_armed != 0) {
			fprintf(stderr, "sim%s: %zu timers are still armed\n", sim_label, s->host[i].wheel.n_armed);
			abort();
		}
	}
	drop_all(s);
	if (rte_mempool_avail_count(s->pool) != SIM_N_MBUFS || rte_mempool_avail_count(s->clones) != SIM_N_MBUFS) {
		fprintf(stderr, "sim%s: mbufs are missing: %u and %u of %u\n", sim_label,
			SIM_N_MBUFS - rte_mempool_avail_count(s->pool), SIM_N_MBUFS - rte_mempool_avail_count(s->clones),
			SIM_N_MBUFS);
		abort();
	}
}

static void run_event(struct sim *s, struct sim_event *e)
{
	switch ((enum sim_event_kind)e->kind) {
	case EVENT_SEGMENT:
		s->n_packets--;
		if (s->arrives)
			s->arrives(s, e->to, e->m, &e->packet, e->tag);
		tcp_input(s->host[e->to].tcp, e->m, &e->packet, s->now_us);
		break;
	case EVENT_TOO_BIG:
		if (s->icmp)
			s->icmp(s, e->to, &e->flow);
		tcp_icmp_error(s->host[e->to].tcp, &e->flow, e->seq, TCP_ICMP_TOO_BIG, e->mtu, s->now_us);
		break;
	case EVENT_CALL:
		e->call.fn(e->call.ctx, s->now_us);
		break;
	}
}

/* One iteration of a worker's loop. */
static void run_host(struct sim *s, struct sim_host *h)
{
	if (wheel_run(&h->wheel, s->now_us, TIMERS_AT_ONCE) == TIMERS_AT_ONCE) {
		fprintf(stderr, "sim%s: host %d has a timer that is due again as soon as it has run\n", sim_label, h->id);
		abort();
	}
	tcp_run(h->tcp, s->now_us);
}

bool sim_run(struct sim *s, uint64_t for_us, bool (*done)(void *ctx), void *ctx)
{
	uint64_t end = s->now_us + for_us;

	for (;;) {
		uint64_t next;

		while (heap_next_us(&s->heap) <= s->now_us) {
			struct sim_event e = heap_pop(&s->heap);

			run_event(s, &e);
		}
		for (int h = 0; h < 2; h++)
			run_host(s, &s->host[h]);
		if (done && done(ctx))
			return true;
		next = heap_next_us(&s->heap);
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
