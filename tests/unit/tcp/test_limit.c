/* SPDX-License-Identifier: Apache-2.0 */
/* What peers may open, and how often strangers are answered: each bound by its name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "eal.h"
#include "raw.h"

static struct weir_ip peer;

/* -- listeners */

static void listener_has_so_many_connections_and_no_more(void **state)
{
	struct tcp_config c = sim_config();
	struct raw syn = raw_syn(1000, 100);

	c.listener_connections = 3;
	raw_start(22, &c);
	for (int i = 0; i < 3; i++) {
		syn.from_port++;
		raw_open(&peer, &syn);
	}
	syn.from_port++;
	assert_null(raw_ask(&peer, &syn)); /* no RST: the next try may succeed */
	assert_int_equal(reason_of(1, WEIR_R_TCP_LISTENER_FULL), 1);
	tcp_abort(users[1].c, WEIR_R_CLOSE_ABORTED, sim.now_us);
	raw_open(&peer, &syn);
	syn.from_port++;
	assert_null(raw_ask(&peer, &syn));
	sim_fini(&sim);
}

/* SYNs that were let in together: the bound holds for what completes. */
static void bounds_hold_for_handshakes_that_complete_together(void **state)
{
	struct tcp_config c = sim_config();
	struct raw syn[5], ack[5];

	c.listener_connections = 3;
	raw_start(23, &c);
	for (uint16_t i = 0; i < 5; i++) {
		syn[i] = raw_syn((uint16_t)(1000 + i), 100);
		ack[i] = raw_ack_of(&syn[i], raw_ask(&peer, &syn[i]));
	}
	for (int i = 0; i < 5; i++)
		raw_ask(&peer, &ack[i]);
	assert_int_equal(n_users, 3);
	assert_int_equal(reason_of(1, WEIR_R_TCP_LISTENER_FULL), 2);
	assert_int_equal(tcp_n_syn_received(sim.host[1].tcp), 2);
	tcp_abort(users[0].c, WEIR_R_CLOSE_ABORTED, sim.now_us);
	raw_ask(&peer, &ack[4]); /* it tries again */
	assert_int_equal(n_users, 4);
	sim_fini(&sim);
}

static void connections_of_a_listener_that_is_gone_do_not_count_for_the_next(void **state)
{
	const struct tcp_listen args = {.port = 80, .accept = user_accept, .event = user_event, .max_connections = 2};
	struct tcp_listener *l = raw_start(24, NULL);
	struct raw syn = raw_syn(1000, 100);

	raw_open(&peer, &syn);
	tcp_unlisten(l, sim.now_us);
	assert_int_equal(tcp_listen(sim.host[1].tcp, &args, &l), 0);
	for (int i = 0; i < 2; i++) {
		syn.from_port++;
		raw_open(&peer, &syn);
	}
	tcp_abort(users[0].c, WEIR_R_CLOSE_ABORTED, sim.now_us);
	syn.from_port++;
	assert_null(raw_ask(&peer, &syn));
	sim_fini(&sim);
}

static void listener_accepts_so_many_in_a_second(void **state)
{
	struct tcp_config c = sim_config();
	struct raw syn = raw_syn(1000, 100);

	c.listener_accepts_per_s = 5;
	raw_start(25, &c);
	for (int i = 0; i < 5; i++) {
		syn.from_port++;
		raw_open(&peer, &syn);
	}
	syn.from_port++;
	assert_null(raw_ask(&peer, &syn));
	assert_int_equal(reason_of(1, WEIR_R_TCP_LISTENER_RATE), 1);
	run_ms(200);
	raw_open(&peer, &syn);
	syn.from_port++;
	assert_null(raw_ask(&peer, &syn));
	run_ms(2000);
	for (int i = 0; i < 5; i++) {
		syn.from_port++;
		raw_open(&peer, &syn);
	}
	syn.from_port++;
	assert_null(raw_ask(&peer, &syn));
	sim_fini(&sim);
}

/* -- source prefixes */

static void prefix_has_so_many_connections_and_others_are_not_touched(void **state)
{
	struct tcp_config c = sim_config();
	struct raw syn = raw_syn(1000, 100);
	struct weir_ip ip;

	c.prefix_connections = 2;
	c.prefix_len4 = 24;
	raw_start(30, &c);
	ip = ip_of("198.51.100.1");
	raw_open(&ip, &syn);
	ip = ip_of("198.51.100.2");
	raw_open(&ip, &syn);
	ip = ip_of("198.51.100.255");
	assert_null(raw_ask(&ip, &syn));
	assert_int_equal(reason_of(1, WEIR_R_TCP_PREFIX_FULL), 1);
	ip = ip_of("198.51.101.1");
	raw_open(&ip, &syn);
	tcp_abort(users[0].c, WEIR_R_CLOSE_ABORTED, sim.now_us);
	ip = ip_of("198.51.100.255");
	raw_open(&ip, &syn);
	/* IPv6: 64 bits */
	ip = ip_of("2001:db8:0:1::1");
	raw_open(&ip, &syn);
	ip = ip_of("2001:db8:0:1:ffff::2");
	raw_open(&ip, &syn);
	ip = ip_of("2001:db8:0:1:aaaa::3");
	assert_null(raw_ask(&ip, &syn));
	ip = ip_of("2001:db8:0:2::1");
	raw_open(&ip, &syn);
	sim_fini(&sim);
}

static void prefix_opens_so_many_in_a_second_and_a_forged_source_costs_it_nothing(void **state)
{
	struct tcp_config c = sim_config();
	struct raw syn = raw_syn(1000, 100);
	struct weir_ip ip = ip_of("198.51.100.1");
	struct weir_ip other = ip_of("198.51.100.2");

	c.prefix_accepts_per_s = 4;
	raw_start(31, &c);
	for (int i = 0; i < 30; i++) { /* somebody sends SYNs in its name */
		syn.from_port++;
		raw_send(&ip, &syn);
	}
	run_ms(5);
	for (int i = 0; i < 4; i++) {
		syn.from_port++;
		raw_open(&ip, &syn);
	}
	syn.from_port++;
	assert_null(raw_ask(&ip, &syn));
	assert_int_equal(reason_of(1, WEIR_R_TCP_PREFIX_RATE), 1);
	raw_open(&other, &syn);
	run_ms(250);
	raw_open(&ip, &syn);
	sim_fini(&sim);
}

/* 64 prefixes at their bound, in a sketch of 1024 cells a row: none of 2000 others is kept out. */
static void many_prefixes_at_their_bound_deny_nobody_else(void **state)
{
	struct tcp_config c = sim_config();
	struct raw syn = raw_syn(1000, 100);
	struct weir_ip ip = ip_of("198.51.0.0");
	unsigned n_denied = 0;

	c.prefix_connections = 1;
	c.n_prefixes = 1024;
	raw_start(32, &c);
	for (unsigned i = 0; i < 64; i++) {
		ip.b[15] = (uint8_t)i;
		raw_open(&ip, &syn);
		syn.from_port++;
		assert_null(raw_ask(&ip, &syn));
	}
	ip = ip_of("203.0.0.0");
	for (unsigned i = 0; i < 2000; i++) {
		const struct raw *a;

		ip.b[14] = (uint8_t)(i >> 8);
		ip.b[15] = (uint8_t)i;
		a = raw_ask(&ip, &syn);
		if (a) {
			struct raw rst = {.from_port = syn.from_port, .to_port = 80, .flags = RST, .seq = a->ack};
			raw_ask(&ip, &rst);
		}
		n_denied += !a;
	}
	assert_true(n_denied <= 1); /* 0.03 expected */
	sim_fini(&sim);
}

/* -- RST */

static void resets_are_sent_at_a_bounded_rate_and_counted_when_withheld(void **state)
{
	struct tcp_config c = sim_config();
	struct raw stray = {.from_port = 1000, .to_port = 80, .flags = ACK, .seq = 1, .ack = 2};
	struct raw syn = raw_syn(1000, 100);

	c.rst_per_s = 10;
	raw_start(40, &c);
	syn.to_port = 81;
	for (int i = 0; i < 30; i++) {
		stray.from_port++;
		raw_send(&peer, &stray);
	}
	run_ms(2);
	assert_int_equal(raw_n, 10);
	assert_int_equal(reason_of(1, WEIR_R_TCP_NO_CONNECTION), 10);
	assert_int_equal(reason_of(1, WEIR_R_TCP_NO_CONNECTION_RATE), 20);
	raw_send(&peer, &syn);
	run_ms(2);
	assert_int_equal(raw_n, 10);
	assert_int_equal(reason_of(1, WEIR_R_TCP_NO_LISTENER_RATE), 1);
	assert_int_equal(counter_of(1, WEIR_C_TCP_RST_WITHHELD), 21);
	run_ms(500);
	for (int i = 0; i < 30; i++)
		raw_send(&peer, &syn);
	run_ms(2);
	assert_int_equal(raw_n, 15);
	assert_int_equal(reason_of(1, WEIR_R_TCP_NO_LISTENER), 5);
	sim_fini(&sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(listener_has_so_many_connections_and_no_more),
		cmocka_unit_test(bounds_hold_for_handshakes_that_complete_together),
		cmocka_unit_test(connections_of_a_listener_that_is_gone_do_not_count_for_the_next),
		cmocka_unit_test(listener_accepts_so_many_in_a_second),
		cmocka_unit_test(prefix_has_so_many_connections_and_others_are_not_touched),
		cmocka_unit_test(prefix_opens_so_many_in_a_second_and_a_forged_source_costs_it_nothing),
		cmocka_unit_test(many_prefixes_at_their_bound_deny_nobody_else),
		cmocka_unit_test(resets_are_sent_at_a_bounded_rate_and_counted_when_withheld),
	};

	test_eal_init();
	peer = ip_of("192.0.2.7");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
