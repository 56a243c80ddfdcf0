/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A peer made of single segments: what a test says goes to host 1, and what
 * host 1 sends to it is kept for the test to look at. Raw peers have ports
 * below 10000; connections of the other stack begin at 20000.
 */
#ifndef TESTS_TCP_RAW_H
#define TESTS_TCP_RAW_H

#include <string.h>

#include <rte_mbuf.h>

#include "sim.h"

#define FIN 0x01
#define SYN 0x02
#define RST 0x04
#define ACK 0x10
#define ECE 0x40
#define CWR 0x80

#define RAW_LOG 4096

/* A segment and its options; what is zero is not there. */
struct raw {
	uint16_t from_port, to_port;
	uint8_t flags;
	uint32_t seq, ack;
	uint16_t wnd;
	uint16_t mss;
	uint8_t wscale; /* plus 1 */
	bool has_sack, has_ts;
	uint32_t ts_val, ts_ecr;
	const char *data;
};

static struct sim sim;
static struct raw raw_log[RAW_LOG]; /* what came to raw peers */
static unsigned raw_n;

static inline void put32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static inline uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline unsigned raw_options(const struct raw *r, uint8_t *p)
{
	unsigned n = 0;

	if (r->mss) {
		const uint8_t o[4] = {2, 4, (uint8_t)(r->mss >> 8), (uint8_t)r->mss};
		memcpy(p, o, 4);
		n += 4;
	}
	if (r->wscale) {
		const uint8_t o[4] = {1, 3, 3, (uint8_t)(r->wscale - 1)};
		memcpy(p + n, o, 4);
		n += 4;
	}
	if (r->has_sack) {
		const uint8_t o[4] = {1, 1, 4, 2};
		memcpy(p + n, o, 4);
		n += 4;
	}
	if (r->has_ts) {
		const uint8_t o[4] = {1, 1, 8, 10};
		memcpy(p + n, o, 4);
		put32(p + n + 4, r->ts_val);
		put32(p + n + 8, r->ts_ecr);
		n += 12;
	}
	return n;
}

/* Sends a segment from this address to port to_port of host 1. */
static inline void raw_send(const struct weir_ip *from, const struct raw *r)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(sim.pool);
	size_t n_data = r->data ? strlen(r->data) : 0;
	const struct tcp_packet packet = {.src = *from, .dst = sim.host[1].ip};
	uint8_t h[60] = {(uint8_t)(r->from_port >> 8), (uint8_t)r->from_port, (uint8_t)(r->to_port >> 8), (uint8_t)r->to_port};
	unsigned n = 20 + raw_options(r, h + 20);

	put32(h + 4, r->seq);
	put32(h + 8, r->ack);
	h[12] = (uint8_t)(n / 4 << 4);
	h[13] = r->flags;
	h[14] = (uint8_t)(r->wnd >> 8);
	h[15] = (uint8_t)r->wnd;
	memcpy(rte_pktmbuf_append(m, (uint16_t)n), h, n);
	if (n_data)
		memcpy(rte_pktmbuf_append(m, (uint16_t)n_data), r->data, n_data);
	sim_inject(&sim, 1, m, &packet);
}

static inline void raw_parse(const uint8_t *h, struct raw *r)
{
	unsigned end = (h[12] >> 4) * 4u;

	*r = (struct raw){.from_port = (uint16_t)(h[0] << 8 | h[1]), .to_port = (uint16_t)(h[2] << 8 | h[3]), .flags = h[13],
			  .seq = get32(h + 4), .ack = get32(h + 8), .wnd = (uint16_t)(h[14] << 8 | h[15])};
	for (unsigned i = 20; i < end && h[i];) {
		const uint8_t *o = h + i;

		i += o[0] == 1 ? 1 : o[1];
		if (o[0] == 2)
			r->mss = (uint16_t)(o[2] << 8 | o[3]);
		else if (o[0] == 3)
			r->wscale = (uint8_t)(o[2] + 1);
		else if (o[0] == 4)
			r->has_sack = true;
		else if (o[0] == 8) {
			r->has_ts = true;
			r->ts_val = get32(o + 2);
			r->ts_ecr = get32(o + 6);
		}
	}
}

/* The simulator's filter: takes out what is for raw peers. */
static inline bool raw_filter(struct sim *s, int from, struct rte_mbuf *m)
{
	struct raw r;

	raw_parse(rte_pktmbuf_mtod(m, const uint8_t *), &r);
	if (from != 1 || r.to_port >= 10000)
		return true;
	if (raw_n < RAW_LOG)
		raw_log[raw_n] = r;
	raw_n++;
	return false;
}

static inline void run_ms(unsigned ms)
{
	sim_run(&sim, (uint64_t)ms * 1000, NULL, NULL);
}

/* Sends, and runs until it has arrived and been answered. The answer, or NULL; more than one is a failure. */
static inline const struct raw *raw_ask(const struct weir_ip *from, const struct raw *r)
{
	raw_n = 0;
	raw_send(from, r);
	sim_run(&sim, sim.link.delay_us + 1, NULL, NULL);
	if (raw_n > 1)
		fail_msg("%u answers", raw_n);
	return raw_n ? &raw_log[0] : NULL;
}

static inline struct weir_ip ip_of(const char *text)
{
	struct weir_ip a;

	assert_int_equal(ip_parse(text, strlen(text), &a), 0);
	return a;
}

static inline uint64_t counter_of(int host, enum weir_counter c)
{
	return sim.host[host].stats.counter[c];
}

static inline uint64_t reason_of(int host, enum weir_reason r)
{
	return sim.host[host].stats.reason[r];
}

/* -- users */

/* What an accepted connection's user has seen. It reads everything at once unless is_paused. */
struct user {
	struct tcp_conn *c;
	size_t got;
	char data[64];
	bool is_eof, is_closed, closes_at_eof;
	enum weir_reason why;
};

#define MAX_USERS 8192
static struct user users[MAX_USERS];
static unsigned n_users;
static bool is_paused;
static int accept_result;

static inline void user_event(struct tcp_conn *c, void *arg, unsigned events, uint64_t now)
{
	struct user *u = arg;

	if (events & TCP_EV_CLOSED) {
		u->is_closed = true;
		u->why = tcp_close_reason(c);
		u->c = NULL;
		return;
	}
	while (!is_paused && tcp_readable(c)) {
		struct slice s = tcp_peek(c);

		if (u->got + s.n < sizeof(u->data))
			memcpy(u->data + u->got, s.p, s.n);
		u->got += s.n;
		tcp_consume(c, s.n);
	}
	u->is_eof = tcp_is_eof(c);
	if (u->is_eof && u->closes_at_eof) {
		u->c = NULL;
		tcp_close(c, now);
	}
}

static bool next_closes_at_eof;

static inline int user_accept(void *ctx, struct tcp_conn *c, void **arg, uint64_t now)
{
	struct user *u = &users[n_users];

	if (accept_result)
		return accept_result;
	assert_true(n_users < MAX_USERS);
	n_users++;
	*u = (struct user){.c = c, .closes_at_eof = next_closes_at_eof};
	*arg = u;
	return 0;
}

/* Both stacks, and a listener on port 80 of host 1. */
static inline struct tcp_listener *raw_start(uint64_t seed, const struct tcp_config *config)
{
	const struct tcp_config c = sim_config();
	const struct tcp_listen args = {.port = 80, .accept = user_accept, .event = user_event};
	struct tcp_listener *l;

	sim_init(&sim, seed, &c, config ? config : &c);
	sim.filter = raw_filter;
	raw_n = n_users = 0;
	is_paused = next_closes_at_eof = false;
	accept_result = 0;
	assert_int_equal(tcp_listen(sim.host[1].tcp, &args, &l), 0);
	return l;
}

/* What a peer with all options sends first. */
static inline struct raw raw_syn(uint16_t port, uint32_t seq)
{
	return (struct raw){.from_port = port, .to_port = 80, .flags = SYN, .seq = seq, .wnd = 1000, .mss = 1400, .wscale = 8,
			    .has_sack = true, .has_ts = true, .ts_val = 7000};
}

/* The ACK that answers a SYN-ACK. */
static inline struct raw raw_ack_of(const struct raw *syn, const struct raw *syn_ack)
{
	return (struct raw){.from_port = syn->from_port, .to_port = syn->to_port, .flags = ACK, .seq = syn_ack->ack,
			    .ack = syn_ack->seq + 1, .wnd = 500, .has_ts = syn_ack->has_ts, .ts_val = syn->ts_val + 1,
			    .ts_ecr = syn_ack->ts_val};
}

/* Opens a connection; its user is users[n_users - 1]. Returns the ACK by which it was done. */
static inline struct raw raw_open(const struct weir_ip *from, const struct raw *syn)
{
	const struct raw *answer = raw_ask(from, syn);
	unsigned before = n_users;
	struct raw ack;

	assert_non_null(answer);
	assert_int_equal(answer->flags & ~ECE, SYN | ACK);
	assert_int_equal(answer->ack, syn->seq + 1);
	ack = raw_ack_of(syn, answer);
	raw_ask(from, &ack);
	assert_int_equal(n_users, before + 1);
	return ack;
}

static inline uint32_t n_live(void)
{
	return tcp_n_connections(sim.host[1].tcp) - tcp_n_syn_received(sim.host[1].tcp) - tcp_n_time_wait(sim.host[1].tcp);
}

#endif
