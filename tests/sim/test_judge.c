/* SPDX-License-Identifier: Apache-2.0 */
/* The judge itself: each rule of wire_check, broken by hand, is reported; a good connection is not. And the link's queue. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include <rte_mbuf.h>

#include "eal.h"
#include "sim.h"
#include "text.h"
#include "wire_check.h"

#define CLIENT_ISS 1000u
#define SERVER_ISS 0xfffff000u /* wraps soon */
#define SALT 5

static struct wire_conn w;
static uint64_t now;

static struct wire_seg seg(int side, uint8_t flags, uint32_t seq, uint32_t ack)
{
	struct wire_seg s = {.sport = side ? 80 : 20000, .dport = side ? 20000 : 80, .flags = flags, .wnd = 65535};

	s.seq = (side ? SERVER_ISS : CLIENT_ISS) + seq;
	s.ack = (flags & WIRE_ACK) ? (side ? CLIENT_ISS : SERVER_ISS) + ack : 0;
	s.header_len = 32;
	s.has_ts = true;
	s.ts_val = (uint32_t)(now / 1000) + (side ? 7000u : 500u);
	s.ts_ecr = (flags & WIRE_ACK) ? w.side[side].ts_heard : 0;
	return s;
}

static void sends(int side, const struct wire_seg *s)
{
	wire_check_sent(&w, side, s, s->len ? text_at(SALT, (int32_t)(s->seq - w.side[side].iss - 1)) : NULL, 0, now);
}

static void carries(int side, struct wire_seg s)
{
	now += 1000;
	sends(side, &s);
	now += 1000;
	wire_check_arrived(&w, !side, &s, 0, now);
}

/* Data of n bytes from off on, and what acknowledges them. */
static struct wire_seg data(int side, uint32_t off, uint32_t n, uint32_t ack)
{
	struct wire_seg s = seg(side, WIRE_ACK, 1 + off, ack);

	s.len = n;
	return s;
}

static void handshake(void)
{
	struct wire_limits limits = {.mtu = {1500, 1500}, .rx_buffer = {65535, 65535}, .salt = {SALT, SALT},
				     .is_judged = {true, true}, .is_text = true};
	struct wire_seg syn;

	now = 1000000;
	wire_check_init(&w, &limits);
	for (int side = 0; side < 2; side++) {
		syn = seg(side, side ? WIRE_SYN | WIRE_ACK : WIRE_SYN, 0, 1);
		syn.has_mss = syn.has_sack_ok = true;
		syn.mss = 1400;
		syn.header_len = 40;
		carries(side, syn);
	}
	carries(0, seg(0, WIRE_ACK, 1, 1));
	carries(0, data(0, 0, 1000, 1));
	carries(1, seg(1, WIRE_ACK, 1, 1001));
	assert_string_equal(w.broken, "");
}

static void expect(const char *what)
{
	if (!strstr(w.broken, what))
		fail_msg("expected \"%s\", and the judge says \"%s\"", what, w.broken);
}

static void good_connection_is_good(void **state)
{
	struct wire_seg s;

	handshake();
	carries(1, data(1, 0, 1388, 1001));
	carries(0, seg(0, WIRE_ACK, 1001, 1389));
	s = data(0, 1000, 500, 1389);
	now += 1000;
	sends(0, &s); /* lost */
	carries(0, data(0, 1500, 500, 1389));
	s = seg(1, WIRE_ACK, 1389, 1001);
	s.n_sack = 1;
	s.sack[0][0] = CLIENT_ISS + 1501;
	s.sack[0][1] = CLIENT_ISS + 2001;
	s.wnd = 65535;
	carries(1, s);
	carries(0, data(0, 1000, 500, 1389));
	carries(1, seg(1, WIRE_ACK | WIRE_FIN, 1389, 2001));
	carries(0, seg(0, WIRE_ACK | WIRE_FIN, 2001, 1390));
	carries(1, seg(1, WIRE_ACK, 1390, 2002));
	assert_string_equal(w.broken, "");
}

static void data_beyond_the_window(void **state)
{
	handshake();
	for (uint32_t off = 1000; off + 1000 <= 66535; off += 1000)
		carries(0, data(0, off, 1000, 1));
	carries(0, data(0, 66000, 535, 1));
	assert_string_equal(w.broken, "");
	carries(0, data(0, 66535, 2, 1));
	expect("sends 2 bytes beyond the window");
}

static void window_that_shrinks(void **state)
{
	struct wire_seg s;

	handshake();
	s = seg(1, WIRE_ACK, 1, 1001);
	s.wnd = 65534;
	carries(1, s);
	expect("shrinks its window");
}

static void acknowledgement_of_what_did_not_arrive(void **state)
{
	handshake();
	carries(1, seg(1, WIRE_ACK, 1, 1002));
	expect("acknowledges 1 bytes that did not arrive");
}

static void acknowledgement_taken_back(void **state)
{
	struct wire_seg s;

	handshake();
	s = seg(1, WIRE_ACK, 1, 1000);
	s.wnd = 65535;
	carries(1, s);
	expect("takes an acknowledgement back");
}

static void sack_of_what_did_not_arrive(void **state)
{
	struct wire_seg s;

	handshake();
	s = seg(1, WIRE_ACK, 1, 1001);
	s.n_sack = 1;
	s.sack[0][0] = CLIENT_ISS + 1 + 2000;
	s.sack[0][1] = CLIENT_ISS + 1 + 2500;
	carries(1, s);
	expect("did not arrive");
}

static void segment_larger_than_the_mss(void **state)
{
	handshake();
	carries(1, data(1, 0, 1389, 1001));
	expect("MSS is 1400");
}

static void wrong_bytes(void **state)
{
	struct wire_seg s;

	handshake();
	s = data(1, 0, 100, 1001);
	wire_check_sent(&w, 1, &s, text_at(SALT, 1), 0, now);
	expect("wrong bytes");
}

static void gap_in_what_is_sent(void **state)
{
	handshake();
	carries(1, data(1, 1, 100, 1001));
	expect("sends from 1 on");
}

static void what_was_acknowledged_is_sent_again(void **state)
{
	handshake();
	carries(0, data(0, 0, 1000, 1));
	expect("which was acknowledged");
}

static void bare_ack_with_a_stale_number(void **state)
{
	handshake();
	carries(1, data(1, 0, 500, 1001));
	carries(1, data(1, 500, 500, 1001));
	carries(1, seg(1, WIRE_ACK, 501, 1001));
	expect("bare ACK");
}

static void fin_that_moves(void **state)
{
	struct wire_seg s;

	handshake();
	s = data(1, 0, 100, 1001);
	s.flags |= WIRE_FIN;
	carries(1, s);
	s.len = 50;
	carries(1, s);
	expect("moves its FIN");
}

static void time_stamp_left_out(void **state)
{
	struct wire_seg s;

	handshake();
	s = seg(1, WIRE_ACK, 1, 1001);
	s.has_ts = false;
	carries(1, s);
	expect("leaves out the time stamp");
}

static void echo_of_a_time_that_never_came(void **state)
{
	struct wire_seg s;

	handshake();
	s = seg(1, WIRE_ACK, 1, 1001);
	s.ts_ecr++;
	carries(1, s);
	expect("never arrived");
}

static void ecn_without_agreement(void **state)
{
	struct wire_seg s;

	handshake();
	s = data(1, 0, 100, 1001);
	wire_check_sent(&w, 1, &s, NULL, 2, now);
	expect("without agreement");
}

static void timeouts_that_do_not_back_off(void **state)
{
	struct wire_seg s;

	handshake();
	s = data(1, 0, 100, 1001);
	for (int i = 0; i < 6; i++) { /* nobody answers */
		s.ts_val = (uint32_t)(now / 1000) + 7000u;
		sends(1, &s);
		now += 300000;
	}
	expect("retransmits into silence");
}

static void acknowledgement_that_never_comes(void **state)
{
	handshake();
	carries(1, data(1, 0, 100, 1001));
	wire_check_alive(&w, 0, now + 400000);
	assert_string_equal(w.broken, "");
	wire_check_alive(&w, 0, now + 501000);
	expect("owes an acknowledgement");
}

static void war_of_acknowledgements(void **state)
{
	handshake();
	for (int i = 0; i < 80; i++)
		carries(i & 1, seg(i & 1, WIRE_ACK, i & 1 ? 1 : 1001, i & 1 ? 1001 : 1));
	expect("answer each other");
}

static void going_on_after_a_reset(void **state)
{
	handshake();
	carries(1, seg(1, WIRE_RST | WIRE_ACK, 1, 1001));
	carries(1, data(1, 0, 100, 1001));
	expect("after its RST");
}

static void ranges_are_sets(void **state)
{
	static bool naive[4096];
	struct wire_ranges r = {0};
	uint64_t prng = 3;

	for (int i = 0; i < 60; i++) { /* few enough that no gap need be given up */
		uint32_t from = (uint32_t)(sim_mix(&prng) % 4000);
		uint32_t to = from + 1 + (uint32_t)(sim_mix(&prng) % 90);

		wire_ranges_add(&r, from, to);
		for (uint32_t k = from; k < to; k++)
			naive[k] = true;
		for (uint32_t k = 0; k < 4095; k++)
			assert_int_equal(wire_ranges_cover(&r, k, k + 1), naive[k]);
	}
}

/* -- the link */

static struct sim sim;
static uint64_t arrivals[64];
static uint8_t marks[64];
static unsigned n_arrivals;

static void on_arrives(struct sim *s, int to, const struct rte_mbuf *m, const struct tcp_packet *packet, uint32_t tag)
{
	marks[n_arrivals] = packet->ecn;
	arrivals[n_arrivals++] = s->now_us;
}

static void queue_has_a_rate_a_limit_and_a_mark(void **state)
{
	struct tcp_config c = sim_config();
	struct wire_seg s = {.sport = 9, .dport = 9, .flags = WIRE_RST, .len = 960};
	struct tcp_packet packet = {.ecn = 2};
	struct sim_link l = {.rate_Bps = 1000000, .queue_bytes = 10000, .mark_bytes = 5000, .delay_us = 500};
	uint64_t begin;

	sim_init(&sim, 1, &c, &c);
	sim.arrives = on_arrives;
	n_arrivals = 0;
	begin = sim.now_us;
	packet.src = sim.host[0].ip;
	packet.dst = sim.host[1].ip;
	for (int i = 0; i < 20; i++) /* 1,000 bytes each with their headers: a millisecond */
		link_carry(&sim, &l, 1, wire_build(sim.pool, &s, NULL), &packet, 1);
	sim_run(&sim, 1000000, NULL, NULL);
	assert_int_equal(n_arrivals, 10);
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(arrivals[i] - begin, (i + 1) * 1000 + 500);
		assert_int_equal(marks[i], i > 5 ? 3 : 2);
	}
	sim_fini(&sim);
}

static void events_come_in_order_of_time(void **state)
{
	struct tcp_config c = sim_config();
	struct wire_seg s = {.sport = 9, .dport = 9, .flags = WIRE_RST};
	struct tcp_packet packet = {0};
	uint64_t begin;

	sim_init(&sim, 1, &c, &c);
	sim.arrives = on_arrives;
	n_arrivals = 0;
	begin = sim.now_us;
	for (unsigned i = 0; i < 60; i++)
		sim_inject_at(&sim, begin + i * 37 % 60, 1, wire_build(sim.pool, &s, NULL), &packet);
	sim_run(&sim, 1000, NULL, NULL);
	assert_int_equal(n_arrivals, 60);
	for (unsigned i = 0; i < 60; i++)
		assert_int_equal(arrivals[i] - begin, i);
	sim_fini(&sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_connection_is_good),
		cmocka_unit_test(data_beyond_the_window),
		cmocka_unit_test(window_that_shrinks),
		cmocka_unit_test(acknowledgement_of_what_did_not_arrive),
		cmocka_unit_test(acknowledgement_taken_back),
		cmocka_unit_test(sack_of_what_did_not_arrive),
		cmocka_unit_test(segment_larger_than_the_mss),
		cmocka_unit_test(wrong_bytes),
		cmocka_unit_test(gap_in_what_is_sent),
		cmocka_unit_test(what_was_acknowledged_is_sent_again),
		cmocka_unit_test(bare_ack_with_a_stale_number),
		cmocka_unit_test(fin_that_moves),
		cmocka_unit_test(time_stamp_left_out),
		cmocka_unit_test(echo_of_a_time_that_never_came),
		cmocka_unit_test(ecn_without_agreement),
		cmocka_unit_test(timeouts_that_do_not_back_off),
		cmocka_unit_test(acknowledgement_that_never_comes),
		cmocka_unit_test(war_of_acknowledgements),
		cmocka_unit_test(going_on_after_a_reset),
		cmocka_unit_test(ranges_are_sets),
		cmocka_unit_test(queue_has_a_rate_a_limit_and_a_mark),
		cmocka_unit_test(events_come_in_order_of_time),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
