/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sender, and a peer that acknowledges at random: blocks that are true,
 * half true or taken back, windows that open and shut, MTUs that shrink, pools
 * that run dry. flight_check() looks at the sender after each step. Then the
 * peer turns honest, and all that was written must arrive, or the connection
 * end with a reason, with nothing but the sender's own timers to get it going.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "../../eal.h"
#include "tcp/tcp_pvt.h"
#include "raw.h"

#define PORT 4000
#define N_SEEDS 1000
#define N_STEPS 120
#define STUCK_AFTER_S 600 /* without progress: several timeouts of a minute, some of them lost */
#define MAX_HELD 16384

static struct weir_ip peer;
static struct raw ack;		/* what every segment of the peer begins with */
static uint32_t una, nxt;	/* as the peer sees them: acknowledged, seen at most */
static bool is_honest, must_answer;
static struct rte_mbuf *held[MAX_HELD]; /* what makes the pools dry */
static unsigned n_held;

static uint32_t random_below(uint32_t n)
{
	return n ? (uint32_t)(sim_random(&sim) % n) : 0;
}

/* Every segment of host 1 ends here. */
static bool take(struct sim *s, int from, struct rte_mbuf *m)
{
	const uint8_t *h = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t len = m->pkt_len - (h[12] >> 4) * 4u;
	uint32_t end = get32(h + 4) + len + (h[13] & FIN);
	struct raw r;

	if (from != 1)
		return true;
	if (is_honest && random_below(5) == 0)
		return false;
	raw_parse(h, &r);
	if (raw_n < RAW_LOG)
		raw_log[raw_n++] = r;
	if (r.has_ts)
		ack.ts_ecr = r.ts_val;
	if (len || (r.flags & FIN)) {
		if (seq_gt(end, nxt))
			nxt = end;
		if (is_honest && seq_le(r.seq, una) && seq_gt(end, una))
			una = end;
		must_answer = true;
	} else if (is_honest && r.seq == una - 1) {
		must_answer = true;
	}
	return false;
}

/* An ACK, with blocks. */
static void send_ack(uint32_t seq, uint16_t wnd, uint8_t flags, unsigned n_blocks, uint32_t (*blocks)[2])
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(sim.pool);
	const struct tcp_packet packet = {.src = peer, .dst = sim.host[1].ip};
	struct raw r = ack;
	uint8_t h[96] = {PORT >> 8, PORT & 255, 0, 80}; /* 60 would do, but GCC 14 cannot see that */
	unsigned n;

	if (!m)
		return;
	r.mss = r.wscale = 0;
	r.has_sack = false;
	n = 20 + raw_options(&r, h + 20);
	put32(h + 4, ack.seq);
	put32(h + 8, seq);
	if (n_blocks) {
		h[n++] = 1;
		h[n++] = 1;
		h[n++] = 5;
		h[n++] = (uint8_t)(2 + 8 * n_blocks);
		for (unsigned i = 0; i < n_blocks; i++, n += 8) {
			put32(h + n, blocks[i][0]);
			put32(h + n + 4, blocks[i][1]);
		}
	}
	h[12] = (uint8_t)(n / 4 << 4);
	h[13] = flags;
	h[14] = (uint8_t)(wnd >> 8);
	h[15] = (uint8_t)wnd;
	memcpy(rte_pktmbuf_append(m, (uint16_t)n), h, n);
	sim_inject(&sim, 1, m, &packet);
}

/* A number between a and b, often of a segment's edge. */
static uint32_t random_seq(const struct tcp_conn *c, uint32_t a, uint32_t b)
{
	const struct tcp_seg *g = c->flight ? c->flight->head : NULL;

	if (random_below(4)) {
		for (uint32_t k = random_below(20); g && k; k--)
			g = g->next;
		if (g && seq_ge(g->seq, a) && seq_le(g->end, b))
			return random_below(2) ? g->seq : g->end;
	}
	return a + random_below(b - a + 1);
}

static void random_ack(struct tcp_conn *c)
{
	uint32_t blocks[4][2];
	unsigned n = ack.has_sack ? random_below(ack.has_ts ? 4 : 5) : 0;
	uint32_t to = random_below(3) ? una : random_seq(c, una, nxt);
	uint16_t wnd = random_below(5) ? (uint16_t)random_below(65536) : (uint16_t)random_below(3);

	for (unsigned i = 0; i < n; i++) {
		uint32_t a = random_seq(c, to - (random_below(8) ? 0 : 3000), nxt);
		uint32_t b = random_seq(c, to, nxt);

		blocks[i][0] = seq_lt(a, b) ? a : b;
		blocks[i][1] = seq_lt(a, b) ? b : a;
	}
	if (seq_gt(to, una))
		una = to;
	if (random_below(3) == 0)
		ack.ts_val++;
	if (random_below(8) == 0)
		ack.ts_ecr -= random_below(100);
	send_ack(to, wnd, (uint8_t)(ACK | (random_below(10) ? 0 : ECE)), n, blocks);
}

static void let_go(void)
{
	while (n_held)
		rte_pktmbuf_free(held[--n_held]);
}

static void make_dry(struct rte_mempool *p)
{
	struct rte_mbuf *m;

	while (n_held < MAX_HELD && (m = rte_pktmbuf_alloc(p)) != NULL)
		held[n_held++] = m;
}

static void write_some(struct tcp_conn *c)
{
	static const char zeros[65536];
	size_t n = tcp_send_room(c);

	if (n)
		tcp_send(c, zeros, 1 + random_below((uint32_t)(n < sizeof(zeros) ? n : sizeof(zeros))));
}

/* NULL once it has ended. */
static struct tcp_conn *conn(void)
{
	return n_users ? users[0].c : NULL;
}

static void step(struct tcp_conn *c)
{
	switch (random_below(16)) {
	case 0:
	case 1:
	case 2:
		write_some(c);
		break;
	case 3:
		run_ms(random_below(random_below(10) ? 60 : 3000));
		break;
	case 4:
		if (random_below(8) == 0)
			tcp_icmp_error(sim.host[1].tcp, tcp_flow(c), c->snd_una + random_below(c->snd_nxt - c->snd_una + 1),
				       TCP_ICMP_TOO_BIG, (uint16_t)(500 + random_below(1000)), sim.now_us);
		break;
	case 5:
		if (random_below(20) == 0)
			tcp_shutdown(c);
		break;
	case 6:
		if (random_below(4) == 0)
			make_dry(random_below(2) ? sim.pool : sim.clones);
		break;
	case 7:
		let_go();
		break;
	default:
		random_ack(c);
		break;
	}
	run_ms(random_below(3) ? 2 : 0);
}

static struct tcp_config random_config(void)
{
	struct tcp_config t = sim_config();

	t.tx_buffer_bytes = random_below(2) ? 65536 : 1 << 20;
	t.tso_max_bytes = random_below(2) ? 65536 : 0;
	t.cc = random_below(3) + 1;
	t.n_bbr = 4;
	t.ecn = random_below(2);
	t.pacing = random_below(2);
	t.n_flights = random_below(4) ? 256 : 1;
	t.n_segments = random_below(3) ? 2048 : 8 + random_below(32);
	return t;
}

static void open_conn(void)
{
	struct raw syn = raw_syn(PORT, 1000);

	syn.mss = random_below(4) ? 1400 : (uint16_t)(64 + random_below(1400));
	syn.has_sack = random_below(4) != 0;
	syn.has_ts = random_below(2);
	syn.wscale = random_below(2) ? 1 + (uint8_t)random_below(8) : 0;
	if (random_below(2))
		syn.flags |= ECE | CWR;
	ack = raw_open(&peer, &syn);
	ack.has_sack = syn.has_sack;
	una = nxt = ack.ack;
}

static bool is_done(void *ctx)
{
	return !conn() || conn()->state == TCP_FIN_WAIT_2;
}

/* The peer takes what comes in order, and says so. */
static void be_honest(uint64_t seed)
{
	uint32_t before = una;

	let_go();
	is_honest = true;
	must_answer = false;
	tcp_shutdown(conn());
	for (unsigned i = 0; i < STUCK_AFTER_S * 100 && !is_done(NULL); i++) {
		sim_run(&sim, 10000, NULL, NULL);
		if (una != before)
			i = 0;
		before = una;
		if (must_answer && conn()) {
			must_answer = false;
			ack.ts_val++;
			send_ack(una, 60000, ACK, 0, NULL);
		}
	}
	if (!is_done(NULL)) {
		struct tcp_info info;

		tcp_get_info(conn(), &info);
		fail_msg("seed %u: stuck: %u unacked, %u unsent, recovery %s, cwnd %u, flying %u, lost %u, wnd %u", (unsigned)seed,
			 info.unacked_bytes, info.unsent_bytes, info.recovery, info.cwnd, info.flying_bytes, info.lost_bytes,
			 info.snd_wnd);
	}
}

static void run_seed(uint64_t seed)
{
	struct tcp_config config;

	sim.prng = seed * 0x9e3779b97f4a7c15ull;
	config = random_config();
	raw_start(seed, &config);
	sim.filter = take;
	is_honest = false;
	open_conn();
	for (unsigned i = 0; i < N_STEPS && conn(); i++)
		step(conn());
	let_go();
	if (conn())
		be_honest(seed);
	assert_int_equal(sim.host[1].tcp->n_segs_free, sim.host[1].tcp->cfg.n_segments);
	if (!conn())
		assert_int_equal(sim.host[1].tcp->n_held, 0);
	sim_fini(&sim);
}

static void random_peer_never_breaks_the_sender(void **state)
{
	const char *one = getenv("SEED");

	if (one) {
		run_seed(strtoul(one, NULL, 10));
		return;
	}
	for (uint64_t seed = 1; seed <= N_SEEDS; seed++)
		run_seed(seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_peer_never_breaks_the_sender),
	};

	test_eal_init();
	peer = ip_of("10.0.0.9");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
