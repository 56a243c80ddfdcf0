/* SPDX-License-Identifier: Apache-2.0 */
/* TIME-WAIT: RFC 9293 3.10.7.4 and 3.6.1, RFC 1337, RFC 6191, and its bound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "eal.h"
#include "raw.h"

static struct weir_ip peer;

/* Opens and closes from our side: what is left is in TIME-WAIT. Returns the FIN by which the peer closed. */
static struct raw open_and_close(const struct raw *syn)
{
	struct raw fin = raw_open(&peer, syn);

	tcp_close(users[n_users - 1].c, sim.now_us);
	run_ms(1);
	fin.flags = FIN | ACK;
	fin.ack++;
	fin.ts_val++;
	raw_ask(&peer, &fin);
	assert_int_equal(raw_log[0].flags, ACK);
	assert_int_equal(raw_log[0].ack, fin.seq + 1);
	return fin;
}

static uint32_t n_waiting(void)
{
	return tcp_n_time_wait(sim.host[1].tcp);
}

static void closed_connection_leaves_its_object_and_waits(void **state)
{
	struct raw syn = raw_syn(1000, 100);

	raw_start(1, NULL);
	open_and_close(&syn);
	assert_int_equal(n_live(), 0);
	assert_int_equal(tcp_n_open(sim.host[1].tcp), 0); /* it holds up no drain */
	assert_int_equal(n_waiting(), 1);
	run_ms(1900); /* of 2000 */
	assert_int_equal(n_waiting(), 1);
	run_ms(200);
	assert_int_equal(n_waiting(), 0);
	assert_int_equal(reason_of(1, WEIR_R_CLOSE_NORMAL), 1);
	sim_fini(&sim);
}

static void fin_again_is_acknowledged_and_waits_anew(void **state)
{
	struct raw syn = raw_syn(1000, 100);
	const struct raw *a;
	struct raw fin;

	raw_start(2, NULL);
	fin = open_and_close(&syn);
	run_ms(1500);
	fin.ts_val += 1500;
	a = raw_ask(&peer, &fin);
	assert_non_null(a);
	assert_int_equal(a->flags, ACK);
	assert_int_equal(a->seq, fin.ack);
	assert_int_equal(a->ack, fin.seq + 1);
	assert_true(a->has_ts);
	assert_int_equal(a->ts_ecr, fin.ts_val);
	run_ms(1900);
	assert_int_equal(n_waiting(), 1);
	run_ms(200);
	assert_int_equal(n_waiting(), 0);
	sim_fini(&sim);
}

static void those_that_wait_end_in_their_order(void **state)
{
	struct raw syn = raw_syn(1000, 100);
	struct raw first;

	raw_start(3, NULL);
	first = open_and_close(&syn);
	for (int i = 0; i < 9; i++) {
		run_ms(100);
		syn.from_port++;
		open_and_close(&syn);
	}
	raw_ask(&peer, &first); /* to the end of the line */
	assert_int_equal(n_waiting(), 10);
	run_ms(1400); /* those of 100 to 300 ms are through */
	assert_in_range(n_waiting(), 6, 8);
	run_ms(1500);
	assert_int_equal(n_waiting(), 0);
	sim_fini(&sim);
}

static void reset_does_not_end_it(void **state)
{
	struct raw syn = raw_syn(1000, 100);
	struct raw rst;

	raw_start(4, NULL);
	rst = open_and_close(&syn);
	rst.seq++;
	rst.flags = RST;
	assert_null(raw_ask(&peer, &rst)); /* RFC 1337 */
	rst.flags = RST | ACK;
	assert_null(raw_ask(&peer, &rst));
	assert_int_equal(n_waiting(), 1);
	assert_int_equal(reason_of(1, WEIR_R_TCP_TIME_WAIT), 2);
	sim_fini(&sim);
}

static void old_segments_are_answered_at_a_bounded_rate_and_the_last_ack_is_not(void **state)
{
	struct raw syn = raw_syn(1000, 100);
	struct raw fin, r;

	raw_start(5, NULL);
	fin = open_and_close(&syn);
	r = fin;
	r.flags = ACK;
	r.seq = fin.seq + 1;
	assert_null(raw_ask(&peer, &r)); /* or two that wait would talk for ever */
	r.seq = fin.seq - 10;
	r.data = "old data";
	for (int i = 0; i < 4; i++)
		assert_non_null(raw_ask(&peer, &r));
	for (int i = 0; i < 16; i++)
		assert_null(raw_ask(&peer, &r));
	run_ms(100);
	r.ts_val -= 5; /* PAWS */
	assert_non_null(raw_ask(&peer, &r));
	assert_int_equal(reason_of(1, WEIR_R_TCP_PAWS), 1);
	r = fin;
	r.flags = 0;
	assert_null(raw_ask(&peer, &r));
	assert_int_equal(reason_of(1, WEIR_R_TCP_BAD_FLAGS), 1);
	sim_fini(&sim);
}

static void later_time_stamp_opens_anew_beyond_the_old_numbers(void **state)
{
	struct raw syn = raw_syn(1000, 100);
	const struct raw *a;
	struct raw fin, ack;

	raw_start(6, NULL);
	fin = open_and_close(&syn);
	syn.seq = 10; /* RFC 6191: the time stamp says enough */
	syn.ts_val = fin.ts_val + 1;
	a = raw_ask(&peer, &syn);
	assert_non_null(a);
	assert_int_equal(a->flags, SYN | ACK);
	assert_true((int32_t)(a->seq - fin.ack) >= 65536); /* RFC 9293 3.6.1 (1) */
	ack = raw_ack_of(&syn, a);
	raw_ask(&peer, &ack);
	assert_int_equal(n_users, 2);
	assert_int_equal(n_waiting(), 0);
	assert_int_equal(counter_of(1, WEIR_C_TCP_TIME_WAIT_REUSED), 1);
	sim_fini(&sim);
}

static void draining_refuses_what_would_open_anew(void **state)
{
	struct raw syn = raw_syn(1000, 100);
	const struct raw *a;
	struct raw fin;

	raw_start(16, NULL);
	fin = open_and_close(&syn);
	tcp_set_draining(sim.host[1].tcp, true);
	syn.seq += 100000;
	syn.ts_val = fin.ts_val + 1;
	a = raw_ask(&peer, &syn);
	assert_non_null(a);
	assert_int_equal(a->flags, RST | ACK); /* an ACK would have the peer try in vain until TIME-WAIT ends */
	assert_int_equal(a->ack, syn.seq + 1);
	assert_int_equal(reason_of(1, WEIR_R_RX_DROPPED_BY_DRAIN), 1);
	assert_int_equal(n_waiting(), 1);
	sim_fini(&sim);
}

static void without_time_stamps_a_later_number_opens_anew(void **state)
{
	struct raw syn = raw_syn(1000, 100);
	const struct raw *a;
	struct raw fin;

	raw_start(7, NULL);
	syn.has_ts = false;
	fin = open_and_close(&syn);
	syn.seq = fin.seq + 1;
	a = raw_ask(&peer, &syn);
	assert_int_equal(a->flags, ACK); /* RFC 5961 4 */
	assert_int_equal(a->ack, fin.seq + 1);
	syn.seq++;
	raw_open(&peer, &syn);
	/* one that had none gives way to one that has (RFC 6191 2) */
	tcp_abort(users[1].c, WEIR_R_CLOSE_ABORTED, sim.now_us);
	syn.from_port++;
	open_and_close(&syn);
	syn.has_ts = true;
	syn.seq = 5;
	raw_open(&peer, &syn);
	assert_int_equal(n_waiting(), 0);
	sim_fini(&sim);
}

static void old_syn_is_challenged(void **state)
{
	struct raw syn = raw_syn(1000, 100);
	struct raw fin;

	raw_start(8, NULL);
	fin = open_and_close(&syn);
	syn.seq = fin.seq + 100000;
	syn.ts_val = fin.ts_val - 1; /* PAWS says old, whatever the number */
	assert_int_equal(raw_ask(&peer, &syn)->flags, ACK);
	run_ms(100);
	syn.seq = fin.seq;
	syn.ts_val = fin.ts_val; /* the same time: the number decides */
	assert_int_equal(raw_ask(&peer, &syn)->flags, ACK);
	assert_int_equal(n_waiting(), 1);
	syn.seq = fin.seq + 2;
	raw_open(&peer, &syn);
	sim_fini(&sim);
}

/* RFC 9293 3.6.1 (2): the SYN was an old one after all. */
static void handshake_that_comes_to_nothing_returns_to_time_wait(void **state)
{
	struct raw syn = raw_syn(1000, 100);
	struct raw rst = {.from_port = 1000, .to_port = 80, .flags = RST};
	struct raw fin;

	raw_start(9, NULL);
	fin = open_and_close(&syn);
	syn.seq += 1000000;
	syn.ts_val += 100;
	rst.seq = raw_ask(&peer, &syn)->ack;
	assert_int_equal(tcp_n_syn_received(sim.host[1].tcp), 1);
	raw_ask(&peer, &rst);
	assert_int_equal(tcp_n_syn_received(sim.host[1].tcp), 0);
	assert_int_equal(n_waiting(), 1);
	assert_int_equal(raw_ask(&peer, &fin)->ack, fin.seq + 1);
	/* and one that outlives the old TIME-WAIT */
	raw_ask(&peer, &syn);
	run_ms(2500);
	assert_int_equal(n_waiting(), 0);
	assert_int_equal(tcp_n_syn_received(sim.host[1].tcp), 1);
	rst.seq = syn.seq + 1;
	raw_ask(&peer, &rst);
	assert_int_equal(tcp_n_connections(sim.host[1].tcp), 0);
	sim_fini(&sim);
}

static void full_pool_gives_up_the_oldest(void **state)
{
	struct tcp_config c = sim_config();
	struct raw syn = raw_syn(1000, 100);
	struct raw first, last;

	c.n_time_wait = 3;
	raw_start(10, &c);
	first = open_and_close(&syn);
	for (int i = 0; i < 4; i++) {
		syn.from_port++;
		last = open_and_close(&syn);
	}
	assert_int_equal(n_waiting(), 3);
	assert_int_equal(counter_of(1, WEIR_C_TCP_TIME_WAIT_EVICTED), 2);
	assert_int_equal(raw_ask(&peer, &first)->flags, RST);
	assert_int_equal(raw_ask(&peer, &last)->flags, ACK);
	sim_fini(&sim);
}

static void many_that_end_at_once_end_in_batches(void **state)
{
	struct tcp_config c = sim_config();

	c.n_connections = 4;
	c.n_time_wait = 1000;
	c.time_wait_ms = 20000;
	raw_start(11, &c);
	for (uint16_t i = 0; i < 1000; i++) {
		struct raw syn = raw_syn((uint16_t)(1000 + i), 100);
		open_and_close(&syn);
	}
	assert_int_equal(n_waiting(), 1000);
	/* nobody looks for a while; then no run of the timer ends more than a batch */
	sim.now_us += 30000000;
	for (unsigned left = 1000; left;) {
		unsigned next;

		wheel_run(&sim.host[1].wheel, sim.now_us, UINT32_MAX);
		next = n_waiting();
		assert_true(next < left && left - next <= 256);
		left = next;
		sim.now_us += 2000;
	}
	sim_fini(&sim);
}

static void user_that_has_not_let_go_keeps_its_data(void **state)
{
	struct raw syn = raw_syn(1000, 100);
	struct raw fin;

	raw_start(12, NULL);
	fin = raw_open(&peer, &syn);
	is_paused = true;
	tcp_shutdown(users[0].c);
	run_ms(1);
	fin.flags = FIN | ACK;
	fin.ack++;
	fin.data = "last words";
	raw_ask(&peer, &fin);
	run_ms(10000); /* 2 MSL are over by far */
	assert_false(users[0].is_closed);
	assert_int_equal(tcp_readable(users[0].c), 10);
	assert_int_equal(n_waiting(), 0);
	syn.seq += 1000; /* nor does a new connection take them from it */
	syn.ts_val += 20000;
	assert_int_equal(raw_ask(&peer, &syn)->flags, SYN | ACK);
	assert_false(users[0].is_closed);
	is_paused = false;
	user_event(users[0].c, &users[0], TCP_EV_READABLE, sim.now_us);
	assert_string_equal(users[0].data, "last words");
	assert_true(users[0].is_eof);
	tcp_close(users[0].c, sim.now_us);
	run_ms(1);
	assert_int_equal(n_live(), 0);
	sim_fini(&sim);
}

static void simultaneous_close_waits_on_both_sides_and_ends(void **state)
{
	struct raw syn = raw_syn(1000, 100);
	struct raw fin, ack;

	raw_start(13, NULL);
	fin = raw_open(&peer, &syn);
	tcp_close(users[0].c, sim.now_us);
	fin.flags = FIN | ACK; /* does not know of ours */
	raw_send(&peer, &fin);
	run_ms(2);
	assert_int_equal(n_waiting(), 0);
	ack = fin;
	ack.flags = ACK;
	ack.seq++;
	ack.ack++;
	assert_null(raw_ask(&peer, &ack));
	assert_int_equal(n_live(), 0);
	assert_int_equal(n_waiting(), 1);
	sim_fini(&sim);
}

static void syn_for_a_port_that_nobody_listens_on_reopens_nothing(void **state)
{
	const struct tcp_listen args = {.port = 81, .accept = user_accept, .event = user_event};
	struct tcp_listener *l;
	struct raw syn = raw_syn(1000, 100);

	raw_start(14, NULL);
	assert_int_equal(tcp_listen(sim.host[1].tcp, &args, &l), 0);
	syn.to_port = 81;
	open_and_close(&syn);
	tcp_unlisten(l, sim.now_us);
	syn.ts_val += 1000;
	syn.seq += 1000;
	assert_int_equal(raw_ask(&peer, &syn)->flags, ACK);
	assert_int_equal(n_waiting(), 1);
	sim_fini(&sim);
}

struct seen {
	unsigned n_syn, n_wait;
};

static void look(void *ctx, const struct tcp_info *info)
{
	struct seen *seen = ctx;

	assert_int_equal(info->flow.local_port, 80);
	seen->n_syn += info->state == TCP_SYN_RECEIVED;
	seen->n_wait += info->state == TCP_TIME_WAIT;
}

static void what_waits_can_be_looked_at(void **state)
{
	struct raw syn = raw_syn(1000, 100);
	struct seen seen = {0};

	raw_start(15, NULL);
	for (int i = 0; i < 3; i++) {
		syn.from_port++;
		open_and_close(&syn);
	}
	for (int i = 0; i < 5; i++) {
		syn.from_port++;
		raw_ask(&peer, &syn);
	}
	tcp_each_waiting(sim.host[1].tcp, look, &seen);
	assert_int_equal(seen.n_syn, 5);
	assert_int_equal(seen.n_wait, 3);
	assert_int_equal(tcp_n_connections(sim.host[1].tcp), 8);
	sim_fini(&sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(closed_connection_leaves_its_object_and_waits),
		cmocka_unit_test(fin_again_is_acknowledged_and_waits_anew),
		cmocka_unit_test(those_that_wait_end_in_their_order),
		cmocka_unit_test(reset_does_not_end_it),
		cmocka_unit_test(old_segments_are_answered_at_a_bounded_rate_and_the_last_ack_is_not),
		cmocka_unit_test(later_time_stamp_opens_anew_beyond_the_old_numbers),
		cmocka_unit_test(draining_refuses_what_would_open_anew),
		cmocka_unit_test(without_time_stamps_a_later_number_opens_anew),
		cmocka_unit_test(old_syn_is_challenged),
		cmocka_unit_test(handshake_that_comes_to_nothing_returns_to_time_wait),
		cmocka_unit_test(full_pool_gives_up_the_oldest),
		cmocka_unit_test(many_that_end_at_once_end_in_batches),
		cmocka_unit_test(user_that_has_not_let_go_keeps_its_data),
		cmocka_unit_test(simultaneous_close_waits_on_both_sides_and_ends),
		cmocka_unit_test(syn_for_a_port_that_nobody_listens_on_reopens_nothing),
		cmocka_unit_test(what_waits_can_be_looked_at),
	};

	test_eal_init();
	peer = ip_of("192.0.2.7");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
