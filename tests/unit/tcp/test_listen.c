/* SPDX-License-Identifier: Apache-2.0 */
/* The passive side: SYN-RECEIVED by RFC 9293 3.10.7.4, listeners, and random segments. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "eal.h"
#include "raw.h"

static struct weir_ip peer;

/* -- SYN-RECEIVED */

static void half_open_connection_costs_no_connection(void **state)
{
	struct raw syn = raw_syn(1000, 100);
	const struct raw *a;

	raw_start(1, NULL);
	a = raw_ask(&peer, &syn);
	assert_non_null(a);
	assert_int_equal(a->flags, SYN | ACK);
	assert_int_equal(a->ack, 101);
	assert_int_equal(a->mss, 1460);
	assert_int_equal(a->wscale, 2); /* 65536 bytes need a shift of 1 */
	assert_true(a->has_sack && a->has_ts);
	assert_int_equal(a->ts_ecr, 7000);
	assert_int_equal(n_live(), 0);
	assert_int_equal(tcp_n_syn_received(sim.host[1].tcp), 1);
	sim_fini(&sim);
}

static void answer_offers_only_what_the_syn_offered(void **state)
{
	struct raw syn = {.from_port = 1000, .to_port = 80, .flags = SYN, .seq = 100, .wnd = 1000};
	const struct raw *a;
	struct tcp_info info;

	raw_start(2, NULL);
	a = raw_ask(&peer, &syn);
	assert_int_equal(a->flags, SYN | ACK);
	assert_false(a->has_sack || a->has_ts || a->wscale);
	syn.from_port++;
	raw_open(&peer, &syn);
	tcp_get_info(users[0].c, &info);
	assert_int_equal(info.mss, 536); /* RFC 9293 3.7.1 */
	assert_false(info.has_sack || info.has_timestamps);
	assert_int_equal(info.snd_wnd, 500);
	sim_fini(&sim);
}

static void completing_ack_makes_the_connection_and_its_data_are_read(void **state)
{
	struct raw syn = raw_syn(1000, 100);
	struct tcp_info info;
	struct raw ack;

	raw_start(3, NULL);
	ack = raw_ack_of(&syn, raw_ask(&peer, &syn));
	ack.data = "hello";
	raw_send(&peer, &ack);
	run_ms(100);
	assert_int_equal(n_users, 1);
	assert_string_equal(users[0].data, "hello");
	assert_int_equal(raw_log[raw_n - 1].ack, 106);
	assert_int_equal(tcp_n_syn_received(sim.host[1].tcp), 0);
	assert_int_equal(n_live(), 1);
	tcp_get_info(users[0].c, &info);
	assert_int_equal(info.state, TCP_ESTABLISHED);
	assert_int_equal(info.mss, 1400);
	assert_int_equal(info.snd_wscale, 7);
	assert_int_equal(info.snd_wnd, 500 << 7);
	assert_true(info.has_sack && info.has_timestamps);
	assert_in_range(info.srtt_us, 1, 3000);
	assert_int_equal(counter_of(1, WEIR_C_TCP_ACCEPTED), 1);
	sim_fini(&sim);
}

static void syn_ack_comes_again_with_backoff_and_is_given_up(void **state)
{
	static const unsigned at_s[] = {1, 3, 7, 15, 31};
	struct raw syn = raw_syn(1000, 100);
	uint64_t start;
	unsigned iss;

	raw_start(4, NULL);
	iss = raw_ask(&peer, &syn)->seq;
	start = sim.now_us;
	for (unsigned i = 0; i < 5; i++) {
		raw_n = 0;
		sim_run(&sim, start + at_s[i] * 1000000ull - 50000 - sim.now_us, NULL, NULL);
		assert_int_equal(raw_n, 0);
		run_ms(100);
		assert_int_equal(raw_n, 1);
		assert_int_equal(raw_log[0].flags, SYN | ACK);
		assert_int_equal(raw_log[0].seq, iss);
	}
	raw_n = 0;
	sim_run(&sim, start + 62900000 - sim.now_us, NULL, NULL);
	assert_int_equal(tcp_n_syn_received(sim.host[1].tcp), 1);
	run_ms(200);
	assert_int_equal(raw_n, 0);
	assert_int_equal(tcp_n_syn_received(sim.host[1].tcp), 0);
	assert_int_equal(reason_of(1, WEIR_R_CLOSE_SYN_TIMEOUT), 1);
	assert_int_equal(counter_of(1, WEIR_C_TCP_SYN_ACK_RETRANSMITS), 5);
	sim_fini(&sim);
}

static void crowded_queue_gives_up_sooner(void **state)
{
	raw_start(5, NULL);
	for (uint16_t i = 0; i < 40; i++) { /* of 64 */
		struct raw syn = raw_syn((uint16_t)(1000 + i), 100);
		raw_send(&peer, &syn);
	}
	run_ms(7100);
	/* until half of the pool is free again; the others have all their tries */
	assert_int_equal(tcp_n_syn_received(sim.host[1].tcp), 32);
	assert_int_equal(reason_of(1, WEIR_R_CLOSE_SYN_TIMEOUT), 8);
	run_ms(60000);
	assert_int_equal(tcp_n_syn_received(sim.host[1].tcp), 0);
	sim_fini(&sim);
}

static void repeated_syn_is_answered_alike_at_a_bounded_rate(void **state)
{
	struct raw syn = raw_syn(1000, 100);
	const struct raw *a;
	uint32_t iss;

	raw_start(6, NULL);
	iss = raw_ask(&peer, &syn)->seq;
	for (int i = 0; i < 50; i++)
		assert_null(raw_ask(&peer, &syn));
	run_ms(500);
	syn.ts_val += 500;
	a = raw_ask(&peer, &syn);
	assert_non_null(a);
	assert_int_equal(a->seq, iss);
	assert_int_equal(a->ts_ecr, syn.ts_val);
	assert_int_equal(tcp_n_syn_received(sim.host[1].tcp), 1);
	assert_int_equal(reason_of(1, WEIR_R_TCP_SYN_RECEIVED), 51);
	sim_fini(&sim);
}

/* RFC 6298 5.7, and RFC 6928 2: what is lost once may be chance. */
static void lost_syn_acks_give_no_round_trip_and_a_careful_start(void **state)
{
	static const struct {
		unsigned wait_ms, cwnd;
	} cases[] = {{1200, 10 * 1388}, {3200, 1388}};

	for (unsigned i = 0; i < 2; i++) {
		struct raw syn = raw_syn(1000, 100);
		struct tcp_info info;
		struct raw ack;

		raw_start(7, NULL);
		ack = raw_ack_of(&syn, raw_ask(&peer, &syn));
		run_ms(cases[i].wait_ms);
		raw_ask(&peer, &ack);
		assert_int_equal(n_users, 1);
		tcp_get_info(users[0].c, &info);
		assert_int_equal(info.srtt_us, 0); /* Karn */
		assert_int_equal(info.cwnd, cases[i].cwnd);
		assert_int_equal(info.rto_us, 3000000);
		sim_fini(&sim);
	}
}

static void reset_ends_a_handshake_only_if_exact(void **state)
{
	struct raw syn = raw_syn(1000, 100);
	struct raw rst = {.from_port = 1000, .to_port = 80, .flags = RST, .seq = 101 + 70000};
	const struct raw *a;

	raw_start(8, NULL);
	raw_ask(&peer, &syn);
	assert_null(raw_ask(&peer, &rst)); /* outside of the window */
	rst.seq = 102;
	a = raw_ask(&peer, &rst); /* RFC 5961 3.2 */
	assert_non_null(a);
	assert_int_equal(a->flags, ACK);
	assert_int_equal(a->ack, 101);
	assert_int_equal(tcp_n_syn_received(sim.host[1].tcp), 1);
	rst.seq = 101;
	assert_null(raw_ask(&peer, &rst));
	assert_int_equal(tcp_n_syn_received(sim.host[1].tcp), 0);
	assert_int_equal(reason_of(1, WEIR_R_CLOSE_RESET_BY_PEER), 1);
	sim_fini(&sim);
}

static void wrong_ack_is_reset_and_the_handshake_goes_on(void **state)
{
	struct raw syn = raw_syn(1000, 100);
	struct raw ack, bad;
	const struct raw *a;

	raw_start(9, NULL);
	ack = raw_ack_of(&syn, raw_ask(&peer, &syn));
	for (int off = -1; off <= 1; off += 2) {
		bad = ack;
		bad.ack += (uint32_t)off;
		a = raw_ask(&peer, &bad);
		assert_non_null(a);
		assert_int_equal(a->flags, RST);
		assert_int_equal(a->seq, bad.ack);
	}
	assert_int_equal(reason_of(1, WEIR_R_TCP_BAD_ACK), 2);
	raw_ask(&peer, &ack);
	assert_int_equal(n_users, 1);
	sim_fini(&sim);
}

static void segment_outside_of_the_window_is_told_what_is_expected(void **state)
{
	struct raw syn = raw_syn(1000, 100);
	struct raw other = {.from_port = 1000, .to_port = 80, .flags = ACK, .seq = 50, .ack = 1, .wnd = 100};
	const struct raw *a;

	raw_start(10, NULL);
	raw_ask(&peer, &syn);
	a = raw_ask(&peer, &other);
	assert_non_null(a);
	assert_int_equal(a->flags, ACK);
	assert_int_equal(a->ack, 101);
	for (int i = 0; i < 20; i++)
		assert_null(raw_ask(&peer, &other)); /* rate */
	assert_int_equal(reason_of(1, WEIR_R_TCP_OUT_OF_WINDOW), 21);
	sim_fini(&sim);
}

static void old_time_stamp_completes_nothing(void **state)
{
	struct raw syn = raw_syn(1000, 100);
	struct raw ack;

	raw_start(11, NULL);
	ack = raw_ack_of(&syn, raw_ask(&peer, &syn));
	ack.ts_val = syn.ts_val - 1;
	raw_ask(&peer, &ack);
	assert_int_equal(n_users, 0);
	assert_int_equal(reason_of(1, WEIR_R_TCP_PAWS), 1);
	ack.ts_val = syn.ts_val;
	raw_ask(&peer, &ack);
	assert_int_equal(n_users, 1);
	sim_fini(&sim);
}

static void another_syn_in_the_window_returns_to_listen(void **state)
{
	struct raw syn = raw_syn(1000, 100);
	struct raw again = raw_syn(1000, 5000);

	raw_start(12, NULL);
	raw_ask(&peer, &syn);
	assert_null(raw_ask(&peer, &again));
	assert_int_equal(tcp_n_syn_received(sim.host[1].tcp), 0);
	assert_int_equal(reason_of(1, WEIR_R_CLOSE_SYN_AGAIN), 1);
	raw_open(&peer, &again);
	sim_fini(&sim);
}

/* RFC 9293 3.5.1: the peer has forgotten its first SYN; its RST clears the way. */
static void peer_that_began_anew_gets_through(void **state)
{
	struct raw syn = raw_syn(1000, 1000000);
	struct raw again = raw_syn(1000, 100);
	struct raw rst = {.from_port = 1000, .to_port = 80, .flags = RST};
	const struct raw *a;

	raw_start(13, NULL);
	raw_ask(&peer, &syn);
	again.has_ts = false;
	a = raw_ask(&peer, &again);
	assert_non_null(a);
	assert_int_equal(a->flags, ACK);
	rst.seq = a->ack;
	raw_ask(&peer, &rst);
	raw_open(&peer, &again);
	sim_fini(&sim);
}

static void icmp_unreachable_is_soft_in_syn_received(void **state)
{
	struct raw syn = raw_syn(1000, 100);
	struct ip_flow flow = {.remote = peer, .local_port = 80, .remote_port = 1000};
	struct raw ack;

	raw_start(14, NULL);
	flow.local = sim.host[1].ip;
	ack = raw_ack_of(&syn, raw_ask(&peer, &syn));
	tcp_icmp_error(sim.host[1].tcp, &flow, ack.ack - 1, TCP_ICMP_UNREACHABLE, 0, sim.now_us);
	tcp_icmp_error(sim.host[1].tcp, &flow, ack.ack - 1, TCP_ICMP_TOO_BIG, 600, sim.now_us);
	raw_ask(&peer, &ack);
	assert_int_equal(n_users, 1);
	sim_fini(&sim);
}

static void malformed_beginnings_are_dropped_by_name(void **state)
{
	struct raw r = {.from_port = 1000, .to_port = 80, .flags = SYN | FIN, .seq = 100, .wnd = 1000};
	const struct raw *a;

	raw_start(15, NULL);
	assert_null(raw_ask(&peer, &r));
	assert_int_equal(reason_of(1, WEIR_R_TCP_BAD_FLAGS), 1);
	r.flags = RST;
	assert_null(raw_ask(&peer, &r));
	r.flags = 0;
	assert_null(raw_ask(&peer, &r)); /* RFC 9293 3.10.7.2, fourth */
	assert_int_equal(reason_of(1, WEIR_R_TCP_BAD_FLAGS), 2);
	r.flags = SYN | ACK;
	r.ack = 77;
	a = raw_ask(&peer, &r);
	assert_int_equal(a->flags, RST);
	assert_int_equal(a->seq, 77);
	assert_int_equal(reason_of(1, WEIR_R_TCP_NO_CONNECTION), 2);
	assert_int_equal(tcp_n_connections(sim.host[1].tcp), 0);
	sim_fini(&sim);
}

static void full_table_keeps_the_handshake_until_there_is_room(void **state)
{
	struct tcp_config c = sim_config();
	struct raw syn = raw_syn(1000, 100);
	struct raw syn2 = raw_syn(1001, 100);
	struct raw ack2;

	c.n_connections = 1;
	raw_start(16, &c);
	ack2 = raw_ack_of(&syn2, raw_ask(&peer, &syn2));
	raw_open(&peer, &syn);
	assert_null(raw_ask(&peer, &ack2));
	assert_int_equal(reason_of(1, WEIR_R_TCP_TABLE_FULL), 1);
	syn.from_port = 1002; /* and new ones are not begun */
	assert_null(raw_ask(&peer, &syn));
	assert_int_equal(reason_of(1, WEIR_R_TCP_TABLE_FULL), 2);
	tcp_abort(users[0].c, WEIR_R_CLOSE_ABORTED, sim.now_us);
	run_ms(10);
	raw_ask(&peer, &ack2);
	assert_int_equal(n_users, 2);
	sim_fini(&sim);
}

static void ecn_is_accepted_where_the_configuration_has_it(void **state)
{
	struct tcp_config c = sim_config();
	struct raw syn = raw_syn(1000, 100);
	struct tcp_info info;

	syn.flags = SYN | ECE | CWR;
	raw_start(17, &c);
	assert_int_equal(raw_ask(&peer, &syn)->flags, SYN | ACK);
	sim_fini(&sim);
	c.ecn = true;
	raw_start(17, &c);
	assert_int_equal(raw_ask(&peer, &syn)->flags, SYN | ACK | ECE);
	syn.from_port++;
	raw_open(&peer, &syn);
	tcp_get_info(users[0].c, &info);
	assert_true(info.has_ecn);
	syn.from_port++;
	assert_int_equal(raw_ask(&peer, &syn)->flags, SYN | ACK | ECE);
	run_ms(500);
	syn.flags = SYN; /* it tries without */
	assert_int_equal(raw_ask(&peer, &syn)->flags, SYN | ACK);
	syn.from_port++;
	syn.flags = SYN | ECE; /* not an ECN-setup SYN */
	assert_int_equal(raw_ask(&peer, &syn)->flags, SYN | ACK);
	sim_fini(&sim);
}

/* -- listeners */

static void unlisten_forgets_handshakes_and_resets_the_unaccepted(void **state)
{
	struct tcp_listener *l = raw_start(20, NULL);
	struct raw syn = raw_syn(1000, 100);
	struct raw syn2 = raw_syn(1001, 100);
	struct raw ack, ack2;

	ack = raw_ack_of(&syn, raw_ask(&peer, &syn));
	ack2 = raw_ack_of(&syn2, raw_ask(&peer, &syn2));
	raw_n = 0;
	/* established, and the listener gone before its user hears of it */
	{
		struct rte_mbuf *m = rte_pktmbuf_alloc(sim.pool);
		const struct tcp_packet packet = {.src = peer, .dst = sim.host[1].ip};
		uint8_t h[20] = {1001 >> 8, 1001 & 255, 0, 80};

		put32(h + 4, ack2.seq);
		put32(h + 8, ack2.ack);
		h[12] = 5 << 4;
		h[13] = ACK;
		memcpy(rte_pktmbuf_append(m, 20), h, 20);
		tcp_input(sim.host[1].tcp, m, &packet, sim.now_us);
	}
	assert_int_equal(n_live(), 1);
	tcp_unlisten(l, sim.now_us);
	sim_run(&sim, 0, NULL, NULL);
	assert_int_equal(tcp_n_connections(sim.host[1].tcp), 0);
	run_ms(5);
	assert_int_equal(n_users, 0);
	assert_int_equal(raw_n, 1);
	assert_int_equal(raw_log[0].flags, RST | ACK);
	assert_int_equal(raw_ask(&peer, &ack)->flags, RST);
	sim_fini(&sim);
}

/* A stack whose listener has n handshakes in hand; *first is the peer's SYN of the oldest, from port 1000. */
static struct tcp_listener *listen_with_crowd(uint64_t seed, unsigned n, struct raw *first)
{
	struct tcp_config c = sim_config();
	struct tcp_listener *l;

	c.n_syn = n + 8;
	l = raw_start(seed, &c);
	*first = raw_syn(1000, 100);
	for (unsigned i = 0; i < n; i++) {
		struct raw syn = raw_syn((uint16_t)(1000 + i), 100);

		raw_send(&peer, &syn);
	}
	run_ms(10);
	assert_int_equal(tcp_n_syn_received(sim.host[1].tcp), n);
	assert_int_equal(raw_n, n);
	return l;
}

static const struct tcp_listen again = {.port = 80, .accept = user_accept, .event = user_event};

/* Where all at once would hold up whoever else is served. */
static void crowd_of_a_closed_listener_is_forgotten_in_slices(void **state)
{
	struct tcp_listen args = again;
	struct tcp_listener *l, *other;
	struct raw syn, stays = raw_syn(9000, 100);
	unsigned n_runs = 0;

	l = listen_with_crowd(23, 2000, &syn);
	args.port = 81;
	assert_int_equal(tcp_listen(sim.host[1].tcp, &args, &other), 0);
	stays.to_port = 81;
	assert_int_equal(raw_ask(&peer, &stays)->flags, SYN | ACK);
	tcp_unlisten(l, sim.now_us);
	for (uint32_t left = 2001; left > 1; n_runs++) {
		uint32_t before = left;

		assert_true(tcp_run(sim.host[1].tcp, sim.now_us) > 0); /* it is work: the worker does not rest */
		left = tcp_n_syn_received(sim.host[1].tcp);
		assert_in_range(before - left, 1, 64);
	}
	assert_in_range(n_runs, 2000 / 64, 2000 / 64 + 1);
	assert_int_equal(tcp_run(sim.host[1].tcp, sim.now_us), 0);
	assert_int_equal(reason_of(1, WEIR_R_CLOSE_ABORTED), 2000);
	assert_int_equal(tcp_n_syn_received(sim.host[1].tcp), 1);
	stays = raw_ack_of(&stays, &raw_log[0]);
	raw_ask(&peer, &stays);
	assert_int_equal(n_users, 1);
	sim_fini(&sim);
}

/* Nobody outside sees that it is still there. */
static void handshake_of_a_closed_listener_comes_to_nothing_at_once(void **state)
{
	struct tcp_listener *l;
	struct raw syn, ack;

	l = listen_with_crowd(24, 2000, &syn);
	ack = raw_ack_of(&syn, &raw_log[0]);
	tcp_unlisten(l, sim.now_us);
	assert_int_equal(raw_ask(&peer, &ack)->flags, RST);
	assert_int_equal(reason_of(1, WEIR_R_TCP_NO_CONNECTION), 1);
	syn = raw_syn(1001, 100);
	assert_int_equal(raw_ask(&peer, &syn)->flags, RST | ACK);
	assert_int_equal(reason_of(1, WEIR_R_TCP_NO_LISTENER), 1);
	assert_true(tcp_n_syn_received(sim.host[1].tcp) > 500); /* or it would be about nothing */
	raw_n = 0;
	run_ms(3000);
	assert_int_equal(raw_n, 0); /* no SYN-ACK again */
	assert_int_equal(counter_of(1, WEIR_C_TCP_SYN_ACK_RETRANSMITS), 0);
	assert_int_equal(tcp_n_syn_received(sim.host[1].tcp), 0);
	assert_int_equal(n_users, 0);
	sim_fini(&sim);
}

static void listener_of_the_same_port_begins_with_nothing(void **state)
{
	struct tcp_listener *l;
	struct raw syn, ack;

	l = listen_with_crowd(25, 2000, &syn);
	ack = raw_ack_of(&syn, &raw_log[0]);
	tcp_unlisten(l, sim.now_us);
	assert_int_equal(tcp_listen(sim.host[1].tcp, &again, &l), 0);
	assert_int_equal(raw_ask(&peer, &ack)->flags, RST); /* that handshake was the other one's */
	syn = raw_syn(1001, 777);
	raw_open(&peer, &syn); /* the SYN begins anew */
	assert_true(tcp_n_syn_received(sim.host[1].tcp) > 500);
	assert_int_equal(n_users, 1);
	sim_fini(&sim);
}

static void listener_that_is_needed_waits_for_no_slices(void **state)
{
	static struct tcp_listener *l[1024];
	struct tcp_listen args = again;
	struct raw syn;

	l[0] = listen_with_crowd(26, 2000, &syn);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = round == 0; i < 1024; i++) {
			args.port = (uint16_t)(80 + i);
			assert_int_equal(tcp_listen(sim.host[1].tcp, &args, &l[i]), 0);
		}
		for (unsigned i = 0; i < 1024; i++)
			tcp_unlisten(l[i], sim.now_us);
	}
	sim_fini(&sim);
}

static void each_of_1024_listeners_is_found(void **state)
{
	static struct tcp_listener *l[1024];
	struct tcp_listen args = {.accept = user_accept, .event = user_event};
	struct tcp_listener *more;
	struct raw syn = raw_syn(1000, 100);

	tcp_unlisten(raw_start(21, NULL), sim.now_us);
	for (uint16_t i = 0; i < 1024; i++) {
		args.port = (uint16_t)(100 + i / 2);
		args.addr = i % 2 ? sim.host[1].ip : (struct weir_ip){{0}};
		args.ctx = &l[i];
		assert_int_equal(tcp_listen(sim.host[1].tcp, &args, &l[i]), 0);
		assert_int_equal(tcp_listen(sim.host[1].tcp, &args, &more), -EADDRINUSE);
	}
	args.port = 99;
	assert_int_equal(tcp_listen(sim.host[1].tcp, &args, &more), -ENOMEM);
	for (uint16_t i = 0; i < 512; i++) {
		syn.from_port = (uint16_t)(1000 + i);
		syn.to_port = (uint16_t)(100 + i);
		raw_open(&peer, &syn);
		tcp_abort(users[n_users - 1].c, WEIR_R_CLOSE_ABORTED, sim.now_us);
	}
	/* the one for the address goes, that for any address takes over; then nobody */
	for (uint16_t i = 0; i < 512; i++)
		tcp_unlisten(l[2 * i + 1], sim.now_us);
	syn.to_port = 300;
	raw_open(&peer, &syn);
	for (uint16_t i = 0; i < 512; i++)
		tcp_unlisten(l[2 * i], sim.now_us);
	syn.to_port = 301;
	assert_int_equal(raw_ask(&peer, &syn)->flags, RST | ACK);
	assert_int_equal(reason_of(1, WEIR_R_TCP_NO_LISTENER), 1);
	sim_fini(&sim);
}

/* -- all together */

/* One of the latest answers that were no RST, or NULL. */
static const struct raw *recent_answer(void)
{
	unsigned n = raw_n < RAW_LOG ? raw_n : RAW_LOG;

	for (int i = 0; n && i < 8; i++) {
		const struct raw *r = &raw_log[n - 1 - sim_random(&sim) % (n < 12 ? n : 12)];

		if (!(r->flags & RST))
			return r;
	}
	return NULL;
}

/* A segment that means something in some state, or nearly. */
static void send_something(void)
{
	static const uint8_t any[] = {SYN, SYN, SYN, ACK, RST, RST | ACK, SYN | ACK, FIN | ACK, 0, 0xff};
	static const uint8_t answers[] = {ACK, ACK, ACK, FIN | ACK, FIN | ACK, RST, SYN};
	const struct raw *seen = sim_random(&sim) % 4 ? recent_answer() : NULL;
	struct weir_ip from = peer;
	struct raw r = raw_syn((uint16_t)(1000 + sim_random(&sim) % 8), 100 + (uint32_t)(sim_random(&sim) % 3) * 1000);
	uint32_t off = sim_random(&sim) % 4 ? 0 : (uint32_t)(sim_random(&sim) % 3) - 1;

	r.flags = any[sim_random(&sim) % sizeof(any)];
	r.has_ts = sim_random(&sim) % 3;
	r.ts_val = (uint32_t)(sim.now_us / 1000) - (sim_random(&sim) % 8 ? 0 : 1000);
	if (sim_random(&sim) % 2)
		r.mss = r.wscale = r.has_sack = 0;
	if (seen) {
		r.flags = answers[sim_random(&sim) % sizeof(answers)];
		r.from_port = seen->to_port;
		r.seq = seen->ack + off;
		r.ack = seen->seq + !!(seen->flags & (SYN | FIN)) + off;
		r.has_ts = seen->has_ts;
		r.ts_ecr = seen->ts_val;
	}
	if (sim_random(&sim) % 8 == 0)
		r.data = "some data";
	from.b[15] = (uint8_t)(r.from_port % 2);
	raw_send(&from, &r);
}

static void end_some(uint64_t now)
{
	for (unsigned i = 0; i < n_users; i++) {
		struct tcp_conn *c = users[i].c;

		if (!c || sim_random(&sim) % 2)
			continue;
		users[i].c = NULL;
		if (sim_random(&sim) % 4)
			tcp_close(c, now);
		else
			tcp_abort(c, WEIR_R_CLOSE_ABORTED, now);
	}
}

/* Random segments on few tuples and small pools, with every bound in force: nothing is left at the end. */
static void random_segments_leave_nothing(void **state)
{
	for (uint64_t seed = 1; seed <= 600; seed++) {
		struct tcp_config c = sim_config();
		struct tcp_listen args = {.port = 80, .accept = user_accept, .event = user_event};
		struct tcp_listener *l;

		c.n_connections = 4 + (uint32_t)(seed % 5);
		c.n_syn = 1 + (uint32_t)(seed % 4);
		c.n_time_wait = 1 + (uint32_t)(seed % 3);
		c.time_wait_ms = 500;
		c.fin_timeout_ms = 500;
		c.cookies = (enum tcp_cookies)(seed % 3);
		c.ecn = seed & 1;
		c.prefix_connections = seed % 7 ? 5 : 0;
		c.prefix_accepts_per_s = seed % 5 ? 50 : 0;
		c.listener_connections = seed % 2 ? 6 : 0;
		c.n_prefixes = 256;
		c.rst_per_s = 100;
		l = raw_start(seed, &c);
		for (int i = 0; i < 400; i++) {
			send_something();
			run_ms((unsigned)(sim_random(&sim) % 8));
			if (i % 10 == 9)
				end_some(sim.now_us);
			if (sim_random(&sim) % 200 == 0) {
				tcp_unlisten(l, sim.now_us);
				assert_int_equal(tcp_listen(sim.host[1].tcp, &args, &l), 0);
			}
		}
		run_ms(10); /* what is on its way may still open one */
		for (unsigned i = 0; i < n_users; i++)
			if (users[i].c)
				tcp_abort(users[i].c, WEIR_R_CLOSE_ABORTED, sim.now_us);
		run_ms(100000);
		assert_int_equal(tcp_n_connections(sim.host[1].tcp), 0);
		sim_fini(&sim);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(half_open_connection_costs_no_connection),
		cmocka_unit_test(answer_offers_only_what_the_syn_offered),
		cmocka_unit_test(completing_ack_makes_the_connection_and_its_data_are_read),
		cmocka_unit_test(syn_ack_comes_again_with_backoff_and_is_given_up),
		cmocka_unit_test(crowded_queue_gives_up_sooner),
		cmocka_unit_test(repeated_syn_is_answered_alike_at_a_bounded_rate),
		cmocka_unit_test(lost_syn_acks_give_no_round_trip_and_a_careful_start),
		cmocka_unit_test(reset_ends_a_handshake_only_if_exact),
		cmocka_unit_test(wrong_ack_is_reset_and_the_handshake_goes_on),
		cmocka_unit_test(segment_outside_of_the_window_is_told_what_is_expected),
		cmocka_unit_test(old_time_stamp_completes_nothing),
		cmocka_unit_test(another_syn_in_the_window_returns_to_listen),
		cmocka_unit_test(peer_that_began_anew_gets_through),
		cmocka_unit_test(icmp_unreachable_is_soft_in_syn_received),
		cmocka_unit_test(malformed_beginnings_are_dropped_by_name),
		cmocka_unit_test(full_table_keeps_the_handshake_until_there_is_room),
		cmocka_unit_test(ecn_is_accepted_where_the_configuration_has_it),
		cmocka_unit_test(unlisten_forgets_handshakes_and_resets_the_unaccepted),
		cmocka_unit_test(crowd_of_a_closed_listener_is_forgotten_in_slices),
		cmocka_unit_test(handshake_of_a_closed_listener_comes_to_nothing_at_once),
		cmocka_unit_test(listener_of_the_same_port_begins_with_nothing),
		cmocka_unit_test(listener_that_is_needed_waits_for_no_slices),
		cmocka_unit_test(each_of_1024_listeners_is_found),
		cmocka_unit_test(random_segments_leave_nothing),
	};

	test_eal_init();
	peer = ip_of("192.0.2.7");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
