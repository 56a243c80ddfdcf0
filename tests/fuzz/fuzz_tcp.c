/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One TCP stack with a virtual clock, its applications and its peers: the
 * input is a list of acts, most of them segments whose numbers are relative
 * to those of a live connection, so that they get past the first checks.
 *
 * Nothing may crash; what the applications read is what was sent; what goes
 * out is well formed; memory stays within its bounds, timers never spin, and
 * in the end every mbuf has come back.
 *
 * An act is a byte for its kind, then what its function takes; at the end of
 * the input zeroes follow.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>

#include "../eal.h"
#include "base/wheel.h"
#include "stats/stats.h"
#include "tcp/seq.h"
#include "tcp/tcp.h"
#include "text.h"
#include "wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define N_SLOTS 3
#define N_MBUFS 2047
#define MAX_ACTS 200
#define MAX_STEPS 20000 /* timers in one act: more are a storm */
#define LISTEN_PORT 80
#define FIRST_PORT 40000 /* of the peers, and 100 more each time that a slot is used again */
#define RX_BYTES 16384
#define TX_BYTES 16384
#define SALT_IN 7
#define SALT_OUT 1001
/* of a connection: its buffers in the smallest pieces that are worth a segment, ranges behind gaps, and some */
#define MBUFS_AT_MOST ((RX_BYTES + TX_BYTES) / 128 + 200)

#define CHECK(what) \
	do { \
		if (!(what)) { \
			fprintf(stderr, "fuzz_tcp: %s:%d: %s\n", __FILE__, __LINE__, #what); \
			abort(); \
		} \
	} while (0)

/* A connection as its peer knows it. */
struct slot {
	struct tcp_conn *c; /* NULL: not with the application */
	uint16_t port, stack_port;
	bool opened_by_stack;
	uint32_t iss;	  /* of the peer */
	uint32_t irs;	  /* of the stack */
	uint32_t nxt;	  /* the stack's next byte, as far as seen */
	uint32_t una;	  /* acknowledged by the peer */
	uint32_t expected; /* what the stack acknowledged: the peer's next byte */
	uint32_t wnd;	  /* the stack's window, not scaled */
	uint32_t ts, ts_echo;
	bool has_ts;
	unsigned n_uses;
	bool is_dirty; /* raw bytes were sent: what arrives is not the text */
	bool is_fresh; /* the stack has sent no data yet */
	uint32_t got, sent;
};

static struct rte_mempool *pool, *clones;
static struct rte_mbuf *held[2][N_MBUFS];
static unsigned n_held[2];
static bool was_starved; /* a SYN-ACK may not have gone out: then the first data show where the numbers begin */
static struct wheel wheel;
static struct weir_worker_stats stats;
static struct tcp_stack *stack;
static struct tcp_listener *listener;
static struct weir_ip stack_ip, peer_ip;
static struct slot slots[N_SLOTS];
static uint64_t now;
static uint16_t mtu;
static const uint8_t *in;
static size_t n_in;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	test_eal_init();
	pool = rte_pktmbuf_pool_create("fuzz", N_MBUFS, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	clones = rte_pktmbuf_pool_create("fuzz-clones", N_MBUFS, 0, 0, 0, SOCKET_ID_ANY);
	if (!pool || !clones)
		abort();
	ip_parse("10.0.0.1", 8, &stack_ip);
	ip_parse("10.0.0.2", 8, &peer_ip);
	return 0;
}

/* -- the input */

static uint8_t take8(void)
{
	if (!n_in)
		return 0;
	n_in--;
	return *in++;
}

static uint16_t take16(void)
{
	uint16_t low = take8();

	return (uint16_t)(low | take8() << 8);
}

static uint32_t take32(void)
{
	uint32_t low = take16();

	return low | (uint32_t)take16() << 16;
}

static struct slot *take_slot(void)
{
	return &slots[take8() % N_SLOTS];
}

static struct slot *slot_of(uint16_t port)
{
	unsigned i = (unsigned)(port - FIRST_PORT) % 100;

	return port >= FIRST_PORT && i < N_SLOTS && slots[i].port == port ? &slots[i] : NULL;
}

/* -- what the stack sends */

static void on_output(void *ctx, struct rte_mbuf *m, const struct ip_flow *flow, uint8_t ecn, uint64_t now_us)
{
	struct slot *s = slot_of(flow->remote_port);
	struct wire_seg seg;
	uint8_t bytes[65536];

	CHECK(rte_mbuf_check(m, 1, &(const char *){NULL}) == 0);
	CHECK(rte_pktmbuf_headroom(m) >= 128);
	CHECK(wire_parse(m, &seg));
	CHECK(seg.sport == flow->local_port && seg.dport == flow->remote_port);
	CHECK(m->tso_segsz || m->pkt_len + 20 <= mtu);
	CHECK(!m->tso_segsz || (m->l4_len == seg.header_len && seg.header_len + m->tso_segsz + 20 <= mtu));
	CHECK(!(seg.flags & (WIRE_SYN | WIRE_RST)) || seg.len == 0);
	CHECK(!(seg.flags & WIRE_URG) && !seg.reserved);
	CHECK(ecn == 0 || (ecn == 2 && seg.len));
	if (!s) {
		rte_pktmbuf_free(m);
		return;
	}
	s->stack_port = seg.sport;
	if (seg.flags & WIRE_SYN) {
		s->irs = seg.seq;
		s->una = s->nxt = seg.seq + 1;
	} else if (!(seg.flags & WIRE_RST)) {
		if (seg.len && s->is_fresh) {
			CHECK(was_starved || seg.seq == s->irs + 1);
			s->irs = seg.seq - 1;
			s->is_fresh = false;
		}
		if (seg.len)
			CHECK(memcmp(rte_pktmbuf_read(m, seg.header_len, seg.len, bytes),
				     text_at(SALT_OUT, (int32_t)(seg.seq - s->irs - 1)), seg.len) == 0);
		if (seq_gt(seg.seq + wire_space(&seg), s->nxt))
			s->nxt = seg.seq + wire_space(&seg);
	}
	if (seg.flags & WIRE_ACK) {
		s->expected = seg.ack;
		s->wnd = seg.wnd;
	}
	if (seg.has_ts)
		s->ts_echo = seg.ts_val;
	rte_pktmbuf_free(m);
}

/* -- the applications */

static void forget(struct slot *s)
{
	s->c = NULL;
}

static void on_event(struct tcp_conn *c, void *user, unsigned events, uint64_t now_us)
{
	struct slot *s = user;

	CHECK(s->c == c);
	if (events & TCP_EV_CLOSED) {
		CHECK(stat_reason_kind(tcp_close_reason(c)) == WEIR_KIND_CONNECTION);
		forget(s);
	}
}

static int on_accept(void *ctx, struct tcp_conn *c, void **user, uint64_t now_us)
{
	struct slot *s = slot_of(tcp_flow(c)->remote_port);

	if (!s || s->c)
		return -1;
	s->c = c;
	s->got = s->sent = 0;
	s->is_fresh = true;
	*user = s;
	return 0;
}

static void take_bytes(struct slot *s, const void *data, uint32_t n)
{
	CHECK(n == 0 || s->is_dirty || memcmp(data, text_at(SALT_IN, s->got), n) == 0);
	s->got += n;
}

static void act_read(void)
{
	struct slot *s = take_slot();
	bool as_mbufs = take8() & 1;
	uint32_t n = take16();

	if (!s->c)
		return;
	if (as_mbufs) {
		struct rte_mbuf *m = tcp_recv(s->c, n);

		if (m)
			CHECK(rte_mbuf_check(m, 1, &(const char *){NULL}) == 0 && m->pkt_len <= n);
		for (struct rte_mbuf *p = m; p; p = p->next)
			take_bytes(s, rte_pktmbuf_mtod(p, const void *), p->data_len);
		rte_pktmbuf_free(m);
	} else {
		struct slice sl = tcp_peek(s->c);

		CHECK(sl.n <= tcp_readable(s->c) && (sl.n > 0) == (tcp_readable(s->c) > 0));
		if (sl.n > n)
			sl.n = n;
		take_bytes(s, sl.p, (uint32_t)sl.n);
		tcp_consume(s->c, sl.n);
	}
}

static void act_send(void)
{
	struct slot *s = take_slot();
	uint32_t n = take16();
	struct rte_mbuf *m;
	bool was_empty;
	size_t room;

	if (!s->c)
		return;
	room = tcp_send_room(s->c);
	was_empty = tcp_unacked(s->c) == 0;
	CHECK(room <= TX_BYTES);
	if (n % 3 == 0 && n < 2000 && n > 0) { /* as an mbuf */
		m = rte_pktmbuf_alloc(pool);
		if (!m)
			return;
		memcpy(rte_pktmbuf_append(m, (uint16_t)n), text_at(SALT_OUT, s->sent), n);
		if (tcp_send_mbufs(s->c, m) == 0)
			s->sent += n;
		return;
	}
	if (n > room && n % 2)
		n = (uint32_t)room;
	if (tcp_send(s->c, text_at(SALT_OUT, s->sent), n) == 0) {
		CHECK(n <= room || was_empty); /* one large piece is taken by a queue that is empty */
		s->sent += n;
	}
}

static void act_end(void)
{
	struct slot *s = take_slot();
	struct tcp_conn *c = s->c;

	switch (take8() % 3) {
	case 0:
		if (c)
			tcp_shutdown(c);
		break;
	case 1:
		forget(s);
		if (c)
			tcp_close(c, now);
		break;
	default:
		forget(s);
		if (c)
			tcp_abort(c, WEIR_R_CLOSE_ABORTED, now);
		break;
	}
}

/* -- the peers */

static void inject(struct slot *s, struct rte_mbuf *m, uint8_t ecn)
{
	struct tcp_packet packet = {.src = peer_ip, .dst = stack_ip, .ecn = ecn};

	if (m)
		tcp_input(stack, m, &packet, now);
}

/* The same bytes in two mbufs, the second of which begins at byte at. */
static struct rte_mbuf *split(struct rte_mbuf *m, uint32_t at)
{
	struct rte_mbuf *tail;

	if (!m || m->nb_segs != 1 || at >= m->data_len)
		return m;
	tail = rte_pktmbuf_alloc(pool);
	if (!tail)
		return m;
	memcpy(rte_pktmbuf_append(tail, (uint16_t)(m->data_len - at)), rte_pktmbuf_mtod_offset(m, char *, at), m->data_len - at);
	rte_pktmbuf_trim(m, (uint16_t)(m->data_len - at));
	rte_pktmbuf_chain(m, tail);
	return m;
}

static void take_options(struct slot *s, struct wire_seg *seg, uint8_t bits)
{
	if (seg->flags & WIRE_SYN) {
		seg->has_mss = bits & 1;
		seg->has_wscale = (bits & 2) != 0;
		seg->has_sack_ok = (bits & 4) != 0;
		seg->mss = take16();
		seg->wscale = take8();
	} else {
		seg->n_sack = (bits & 7) > WIRE_MAX_SACK ? 0 : bits & 7;
		for (unsigned i = 0; i < seg->n_sack; i++) {
			seg->sack[i][0] = s->una + (uint32_t)(int16_t)take16();
			seg->sack[i][1] = seg->sack[i][0] + (uint32_t)(int16_t)take16();
		}
	}
	if (bits & 8)
		s->ts += take32();
	if (bits & 16)
		s->ts_echo += (uint32_t)(int16_t)take16();
	seg->has_ts = (bits & 32) ? !s->has_ts : s->has_ts;
	if (seg->flags & WIRE_SYN)
		s->has_ts = seg->has_ts;
	seg->ts_val = s->ts;
	seg->ts_ecr = s->ts_echo;
}

static uint32_t take_seq(const struct slot *s, unsigned from)
{
	uint32_t delta = (uint32_t)(int16_t)take16();

	switch (from % 4) {
	case 0: return s->expected + delta;
	case 1: return s->expected + s->wnd + delta;
	case 2: return s->iss + delta;
	default: return delta * 65539u;
	}
}

static uint32_t take_ack(const struct slot *s, unsigned from)
{
	uint32_t delta = (uint32_t)(int16_t)take16();

	switch (from % 4) {
	case 0: return s->nxt + delta;
	case 1: return s->una + delta;
	case 2: return s->irs + delta;
	default: return delta * 65539u;
	}
}

static void act_segment(void)
{
	struct slot *s = take_slot();
	uint8_t bases = take8();
	uint8_t more = take8(); /* 1: reserved bits, 2: urgent, 4: in two mbufs, 8: marked, 16: ECN-capable */
	struct wire_seg seg = {.sport = s->port, .dport = s->opened_by_stack ? s->stack_port : LISTEN_PORT, .flags = take8()};
	struct rte_mbuf *m;

	seg.seq = take_seq(s, bases);
	seg.ack = take_ack(s, bases >> 2);
	seg.wnd = take16();
	seg.len = take16() % 1900;
	take_options(s, &seg, take8());
	if (more & 1)
		seg.reserved = take8() & 15;
	if (more & 2)
		seg.urgent = take16();
	m = wire_build(pool, &seg, text_at(SALT_IN, (int32_t)(seg.seq - s->iss - 1)));
	if (more & 4)
		m = split(m, (m ? m->data_len : 0u) * take8() / 256);
	if (m && m->data_len < WIRE_HEADER_MIN) { /* the layer below gives headers in one piece */
		rte_pktmbuf_free(m);
		return;
	}
	if ((seg.flags & WIRE_SYN) && seg.seq != s->iss)
		s->is_dirty = true; /* if it is taken, the text begins elsewhere */
	if (seq_gt(seg.ack, s->una) && seq_le(seg.ack, s->nxt))
		s->una = seg.ack;
	s->ts++;
	inject(s, m, (more & 8) ? 3 : (more & 16) ? 2 : 0);
}

/* As a good peer does it: acknowledges all, and sends len bytes. */
static void act_polite(void)
{
	struct slot *s = take_slot();
	struct wire_seg seg = {.sport = s->port, .dport = s->opened_by_stack ? s->stack_port : LISTEN_PORT, .flags = WIRE_ACK,
			       .seq = s->expected, .ack = s->nxt, .wnd = 65535, .has_ts = s->has_ts, .ts_val = s->ts++,
			       .ts_ecr = s->ts_echo};

	seg.len = take16() % 1460;
	s->una = s->nxt;
	inject(s, wire_build(pool, &seg, text_at(SALT_IN, (int32_t)(seg.seq - s->iss - 1))), 0);
}

/* A whole handshake in one act; options by the bits of one byte. */
static void act_establish(void)
{
	struct slot *s = take_slot();
	uint8_t bits = take8();
	struct wire_seg seg = {.dport = LISTEN_PORT, .flags = WIRE_SYN, .wnd = 65535, .has_mss = true, .mss = 1460};

	if (s->c)
		return;
	s->opened_by_stack = bits & 1;
	s->port = (uint16_t)(FIRST_PORT + (s - slots) + ++s->n_uses * 100); /* nothing old is taken for it */
	seg.sport = s->port;
	s->has_ts = (bits & 2) != 0;
	s->iss = take16() * 70001u;
	s->is_dirty = false;
	seg.has_sack_ok = (bits & 4) != 0;
	seg.has_wscale = (bits & 8) != 0;
	seg.wscale = bits >> 4;
	if (s->opened_by_stack) {
		struct tcp_connect args = {.local = stack_ip, .remote = peer_ip, .remote_port = s->port, .timeout_ms = 10000,
					   .cc = (enum tcp_cc_kind)(take8() % (TCP_CC_BBR + 1)), .event = on_event, .user = s};
		enum weir_reason why;

		s->got = s->sent = 0;
		s->is_fresh = true;
		s->c = tcp_connect(stack, &args, now, &why);
		if (!s->c)
			return;
		s->stack_port = tcp_flow(s->c)->local_port;
		seg.dport = s->stack_port;
		seg.flags |= WIRE_ACK;
		seg.ack = s->nxt;
	}
	seg.seq = s->iss;
	seg.has_ts = s->has_ts;
	seg.ts_val = s->ts++;
	seg.ts_ecr = s->ts_echo;
	s->expected = s->iss + 1;
	inject(s, wire_build(pool, &seg, NULL), 0);
	tcp_run(stack, now);
	seg.flags = WIRE_ACK;
	seg.has_mss = seg.has_sack_ok = seg.has_wscale = false;
	seg.seq = s->iss + 1;
	seg.ack = s->nxt;
	seg.ts_val = s->ts++;
	seg.ts_ecr = s->ts_echo;
	inject(s, wire_build(pool, &seg, NULL), 0);
}

/* A header as it comes out of the input. */
static void act_raw(void)
{
	struct slot *s = take_slot();
	unsigned n = WIRE_HEADER_MIN + take8() % 60;
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	uint8_t *h;

	s->is_dirty = true;
	if (!m)
		return;
	h = (uint8_t *)rte_pktmbuf_append(m, (uint16_t)n);
	for (unsigned i = 0; i < n; i++)
		h[i] = take8();
	h[0] = (uint8_t)(s->port >> 8);
	h[1] = (uint8_t)s->port;
	h[2] = (uint8_t)((s->opened_by_stack ? s->stack_port : LISTEN_PORT) >> 8);
	h[3] = (uint8_t)(s->opened_by_stack ? s->stack_port : LISTEN_PORT);
	inject(s, m, 0);
}

static void act_icmp(void)
{
	struct slot *s = take_slot();
	struct ip_flow flow = {.local = stack_ip, .remote = peer_ip, .remote_port = s->port,
			       .local_port = s->opened_by_stack ? s->stack_port : LISTEN_PORT};
	enum tcp_icmp what = take8() & 1 ? TCP_ICMP_TOO_BIG : TCP_ICMP_UNREACHABLE;
	uint32_t seq = s->una + (uint32_t)(int16_t)take16();

	tcp_icmp_error(stack, &flow, seq, what, take16(), now);
}

/* -- the world around */

static void hold(unsigned which, unsigned left)
{
	struct rte_mempool *p = which ? clones : pool;

	while (rte_mempool_avail_count(p) > left && (held[which][n_held[which]] = rte_pktmbuf_alloc(p)) != NULL)
		n_held[which]++;
}

static void release(void)
{
	for (unsigned i = 0; i < 2; i++)
		while (n_held[i])
			rte_pktmbuf_free(held[i][--n_held[i]]);
}

static void act_famine(void)
{
	uint8_t what = take8();

	was_starved = true;
	release();
	if (what & 1)
		hold(0, what >> 3);
	if (what & 2)
		hold(1, what >> 3);
}

static void act_listen(void)
{
	const struct tcp_listen args = {.port = LISTEN_PORT, .accept = on_accept, .event = on_event,
					.cc = (enum tcp_cc_kind)(take8() % (TCP_CC_BBR + 1))};

	if (listener)
		tcp_unlisten(listener, now);
	listener = NULL;
	CHECK(tcp_listen(stack, &args, &listener) == 0);
	tcp_set_draining(stack, take8() == 1);
}

static void check_one(void *ctx, struct tcp_conn *c)
{
	struct tcp_info i;

	tcp_get_info(c, &i);
	CHECK(i.readable_bytes <= RX_BYTES && i.ooo_bytes <= RX_BYTES);
	CHECK(i.unacked_bytes + i.unsent_bytes <= UINT16_MAX);
	CHECK(i.mss <= mtu - 40);
}

static void check_all(void)
{
	unsigned used = N_MBUFS - rte_mempool_avail_count(pool) - n_held[0];
	unsigned n = N_SLOTS; /* what is over may still have data to read */

	tcp_each(stack, check_one, NULL);
	n += tcp_n_connections(stack);
	CHECK(used <= n * MBUFS_AT_MOST);
}

/* Time goes on, from timer to timer. */
static void act_advance(void)
{
	static const uint32_t steps_us[] = {0, 1, 100, 1000, 5000, 40000, 200000, 1000000, 3000000, 20000000, 70000000};
	uint64_t end = now + steps_us[take8() % (sizeof(steps_us) / sizeof(steps_us[0]))];
	unsigned n = 0;

	for (;;) {
		uint64_t next = wheel_next_us(&wheel);

		if (next > end)
			break;
		if (next > now)
			now = next;
		else if (n > 0)
			now++;
		CHECK(wheel_run(&wheel, now, MAX_STEPS) < MAX_STEPS);
		tcp_run(stack, now);
		CHECK(++n < MAX_STEPS);
	}
	if (now < end)
		now = end;
}

static void start(uint8_t kind)
{
	struct tcp_config config = {.n_connections = 8, .n_syn = 4, .rx_buffer_bytes = RX_BYTES, .tx_buffer_bytes = TX_BYTES,
				    .mtu = kind & 1 ? 1500 : 600, .port_lo = 20000, .port_hi = 20009, .time_wait_ms = 5000,
				    .fin_timeout_ms = 5000, .keepalive_ms = kind & 2 ? 3000 : 0, .max_retransmit_ms = 20000,
				    .tso_max_bytes = kind & 4 ? 12000 : 0, .ecn = (kind & 8) != 0,
				    .cc = (enum tcp_cc_kind)((kind >> 4) % (TCP_CC_BBR + 1))};
	struct tcp_env env = {.output = on_output, .pool = pool, .clones = clones, .wheel = &wheel, .wheel_kind = 1, .stats = &stats};
	const struct tcp_listen args = {.port = LISTEN_PORT, .accept = on_accept, .event = on_event};

	now = 1000000;
	mtu = config.mtu;
	memset(&stats, 0, sizeof(stats));
	memset(slots, 0, sizeof(slots));
	was_starved = false;
	for (unsigned i = 0; i < N_SLOTS; i++)
		slots[i].port = (uint16_t)(FIRST_PORT + i);
	wheel_init(&wheel, 1000, now);
	stack = tcp_create(&config, &env);
	CHECK(stack && tcp_listen(stack, &args, &listener) == 0);
}

static void stop(void)
{
	release();
	tcp_destroy(stack, now);
	CHECK(wheel.n_armed == 0);
	CHECK(rte_mempool_avail_count(pool) == N_MBUFS);
	CHECK(rte_mempool_avail_count(clones) == N_MBUFS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static void (*const acts[])(void) = {act_advance, act_segment, act_polite, act_establish, act_send, act_read, act_end,
					     act_icmp,	  act_famine,  act_listen, act_raw};

	in = data;
	n_in = n;
	start(take8());
	for (unsigned i = 0; n_in && i < MAX_ACTS; i++) {
		acts[take8() % (sizeof(acts) / sizeof(acts[0]))]();
		tcp_run(stack, now);
		check_all();
	}
	stop();
	return 0;
}
