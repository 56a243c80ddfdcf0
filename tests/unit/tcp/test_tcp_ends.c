/* SPDX-License-Identifier: Apache-2.0 */
/* How connections end and are refused, in virtual time: each under its name, and nothing is left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "eal.h"
#include "peers.h"

static void half_close_lets_the_other_side_go_on(void **state)
{
	start(5);
	peers_init(100, 200000);
	b.shuts_down = true;
	assert_true(connect_to(&a, 0, 80));
	assert_true(sim_run(&sim, 60000000, both_done, NULL));
	expect_complete();
	expect_empty_tables();
	sim_fini(&sim);
}

static bool lose_everything(struct sim *s, int from, struct rte_mbuf *m)
{
	return false;
}

static void silent_peer_ends_with_a_timeout(void **state)
{
	start(6);
	peers_init(10000000, 0);
	assert_true(connect_to(&a, 0, 80));
	sim_run(&sim, 10000, NULL, NULL);
	sim.filter = lose_everything;
	sim_run(&sim, 300000000, NULL, NULL);
	assert_true(a.closed);
	assert_int_equal(a.why, WEIR_R_CLOSE_RETRANSMIT_TIMEOUT);
	sim_fini(&sim);
}

static void connect_to_nobody_times_out(void **state)
{
	start(7);
	peers_init(0, 0);
	sim.filter = lose_everything;
	assert_true(connect_to(&a, 0, 80));
	sim_run(&sim, 60000000, NULL, NULL);
	assert_true(a.closed);
	assert_int_equal(a.why, WEIR_R_CLOSE_CONNECT_TIMEOUT);
	assert_int_equal(tcp_n_connections(sim.host[0].tcp), 0);
	sim_fini(&sim);
}

static void port_without_listener_refuses(void **state)
{
	start(8);
	peers_init(0, 0);
	assert_true(connect_to(&a, 0, 81));
	sim_run(&sim, 1000000, NULL, NULL);
	assert_true(a.closed);
	assert_int_equal(a.why, WEIR_R_CLOSE_REFUSED);
	assert_int_equal(sim.host[1].stats.reason[WEIR_R_TCP_NO_LISTENER], 1);
	sim_fini(&sim);
}

static void listener_may_refuse(void **state)
{
	start(9);
	peers_init(0, 0);
	accept_result = -EBUSY;
	assert_true(connect_to(&a, 0, 80));
	sim_run(&sim, 1000000, NULL, NULL);
	assert_true(a.closed);
	assert_int_equal(a.why, WEIR_R_CLOSE_RESET_BY_PEER);
	assert_int_equal(sim.host[1].stats.reason[WEIR_R_TCP_REFUSED], 1);
	sim_fini(&sim);
}

static void draining_refuses_new_connections_only(void **state)
{
	static struct peer a2;

	start(10);
	peers_init(100000, 100000);
	assert_true(connect_to(&a, 0, 80));
	sim_run(&sim, 5000, NULL, NULL);
	tcp_set_draining(sim.host[1].tcp, true);
	a2 = a;
	a2.connected = false;
	assert_true(connect_to(&a2, 0, 80));
	assert_true(sim_run(&sim, 60000000, both_done, NULL));
	expect_complete();
	assert_true(a2.closed);
	assert_int_equal(sim.host[1].stats.reason[WEIR_R_RX_DROPPED_BY_DRAIN], 1);
	sim_fini(&sim);
}

static void close_with_unread_data_resets(void **state)
{
	start(11);
	peers_init(5000, 0);
	b.paused = true;
	b.shuts_down = false;
	a.shuts_down = false;
	assert_true(connect_to(&a, 0, 80));
	sim_run(&sim, 1000000, NULL, NULL);
	assert_int_equal(tcp_readable(b.c), 5000);
	tcp_close(b.c, sim.now_us);
	sim_run(&sim, 1000000, NULL, NULL);
	assert_true(a.closed);
	assert_int_equal(a.why, WEIR_R_CLOSE_RESET_BY_PEER);
	sim_fini(&sim);
}

/* What could be read in the last event, and half of it is. */
struct last_event {
	bool came;
	size_t readable;
};

static void on_last_event(struct tcp_conn *c, void *user, unsigned events, uint64_t now)
{
	struct last_event *e = user;

	if (!(events & TCP_EV_CLOSED))
		return;
	e->came = true;
	e->readable = tcp_readable(c);
	assert_int_equal(tcp_close_reason(c), WEIR_R_CLOSE_RESET_BY_PEER);
	assert_false(tcp_is_eof(c));
	assert_int_equal(tcp_send(c, "x", 1), -EPIPE);
	tcp_consume(c, e->readable / 2);
}

static void what_came_before_a_reset_can_be_taken_by_who_connected(void **state)
{
	struct last_event ends[2] = {0};

	start(15);
	peers_init(3000, 5000);
	a.paused = b.paused = true;
	a.shuts_down = b.shuts_down = false;
	assert_true(connect_to(&a, 0, 80));
	sim_run(&sim, 1000000, NULL, NULL);
	tcp_set_user(a.c, on_last_event, &ends[0]);
	tcp_abort(b.c, WEIR_R_CLOSE_ABORTED, sim.now_us);
	sim_run(&sim, 1000000, NULL, NULL);
	assert_true(ends[0].came);
	assert_int_equal(ends[0].readable, 5000);
	expect_empty_tables();

	peers_init(3000, 5000);
	a.paused = b.paused = true;
	a.shuts_down = b.shuts_down = false;
	assert_true(connect_to(&a, 0, 80));
	sim_run(&sim, 1000000, NULL, NULL);
	tcp_set_user(b.c, on_last_event, &ends[1]);
	tcp_abort(a.c, WEIR_R_CLOSE_ABORTED, sim.now_us);
	sim_run(&sim, 1000000, NULL, NULL);
	assert_true(ends[1].came);
	assert_int_equal(ends[1].readable, 0); /* a client that is gone wants no answer */
	expect_empty_tables();
	sim_fini(&sim);
}

static void data_after_close_reset(void **state)
{
	start(12);
	peers_init(0, 0);
	a.shuts_down = b.shuts_down = false;
	assert_true(connect_to(&a, 0, 80));
	sim_run(&sim, 100000, NULL, NULL);
	tcp_close(b.c, sim.now_us);
	b.c = NULL;
	assert_int_equal(tcp_send(a.c, "late", 4), 0);
	a.eof = false;
	a.to_send = SIZE_MAX;
	a.sent = SIZE_MAX - 1; /* so that it does not close by itself */
	a.paused = true;
	a.to_send = a.sent;
	a.let_go = false;
	sim_run(&sim, 2000, NULL, NULL);
	sim_run(&sim, 3000000, NULL, NULL);
	assert_int_equal(sim.host[1].stats.reason[WEIR_R_CLOSE_DATA_AFTER_CLOSE] +
				 sim.host[1].stats.reason[WEIR_R_CLOSE_RESET_BY_PEER] +
				 sim.host[1].stats.reason[WEIR_R_CLOSE_NORMAL],
			 1);
	if (a.c)
		tcp_abort(a.c, WEIR_R_CLOSE_ABORTED, sim.now_us);
	sim_fini(&sim);
}

static void user_may_end_its_connection_in_its_event(void **state)
{
	start(13);
	peers_init(5000, 5000);
	b.abort_on_read = true;
	assert_true(connect_to(&a, 0, 80));
	sim_run(&sim, 1000000, NULL, NULL);
	assert_true(b.let_go);
	assert_true(a.closed);
	peers_init(0, 0);
	a.close_on_connect = true;
	assert_true(connect_to(&a, 0, 80));
	assert_true(sim_run(&sim, 5000000, both_done, NULL));
	expect_empty_tables();
	sim_fini(&sim);
}

static struct peer many[400];

static void full_table_refuses_and_recovers(void **state)
{
	struct tcp_config c = sim_config();

	c.n_connections = 64;
	sim_init(&sim, 14, &c, &c);
	listen_on(1, 80);
	peers_init(0, 0);
	for (int i = 0; i < 70; i++) {
		many[i] = a;
		many[i].shuts_down = false;
		if (connect_to(&many[i], 0, 80)) {
			assert_true(i < 64);
		} else {
			assert_true(i >= 64);
			assert_int_equal(many[i].why, WEIR_R_CLOSE_TABLE_FULL);
		}
	}
	for (int i = 0; i < 64; i++)
		tcp_abort(many[i].c, WEIR_R_CLOSE_ABORTED, sim.now_us);
	sim_run(&sim, 1000000, NULL, NULL);
	assert_true(connect_to(&a, 0, 80));
	assert_true(sim_run(&sim, 5000000, both_done, NULL));
	sim_fini(&sim);
}

static void used_up_ports_are_a_refusal(void **state)
{
	struct tcp_config c = sim_config();

	c.port_hi = (uint16_t)(c.port_lo + 31);
	sim_init(&sim, 15, &c, &c);
	peers_init(0, 0);
	sim.filter = lose_everything;
	for (int i = 0; i < 33; i++) {
		many[i] = a;
		assert_int_equal(connect_to(&many[i], 0, 80), i < 32);
	}
	assert_int_equal(many[32].why, WEIR_R_CLOSE_NO_PORTS);
	sim_fini(&sim);
}

static void time_wait_gives_its_port_to_a_later_connection(void **state)
{
	struct tcp_config c = sim_config();

	c.port_hi = (uint16_t)(c.port_lo + 1);
	c.time_wait_ms = 60000;
	sim_init(&sim, 16, &c, &c);
	listen_on(1, 80);
	for (int i = 0; i < 20; i++) {
		peers_init(1000, 1000);
		assert_true(connect_to(&a, 0, 80));
		if (!sim_run(&sim, 20000000, both_done, NULL))
			fail_msg("connection %d", i);
		expect_complete();
		sim_run(&sim, 2000000, NULL, NULL);
	}
	sim_fini(&sim);
}

static void syn_queue_is_bounded(void **state)
{
	struct tcp_config c = sim_config();
	struct tcp_config small = sim_config();

	small.n_syn = 5;
	small.cookies = TCP_COOKIES_OFF;
	sim_init(&sim, 17, &c, &small);
	listen_on(1, 80);
	peers_init(0, 0);
	sim.link.delay_us = 100000;
	for (int i = 0; i < 50; i++) {
		many[i] = a;
		many[i].close_on_connect = true;
		assert_true(connect_to(&many[i], 0, 80));
	}
	sim_run(&sim, 150000, NULL, NULL);
	assert_int_equal(sim.host[1].stats.reason[WEIR_R_TCP_SYN_QUEUE_FULL], 45);
	assert_int_equal(tcp_n_connections(sim.host[1].tcp), 5);
	sim_fini(&sim);
}

static bool corrupt_old;
static bool blind_reset(struct sim *s, int from, struct rte_mbuf *m)
{
	uint8_t *h = rte_pktmbuf_mtod(m, uint8_t *);

	if (from == 0 && corrupt_old && m->pkt_len > 100) { /* an attacker's RST: in the window, not at its edge */
		h[13] = 0x04;
		h[7] = (uint8_t)(h[7] + 1);
		corrupt_old = false;
	}
	return true;
}

static void reset_that_is_not_exact_is_challenged(void **state)
{
	start(19);
	peers_init(100000, 0);
	corrupt_old = true;
	sim.filter = blind_reset;
	assert_true(connect_to(&a, 0, 80));
	assert_true(sim_run(&sim, 60000000, both_done, NULL));
	assert_false(corrupt_old);
	expect_complete();
	sim_fini(&sim);
}

static void unlisten_ends_half_open_connections(void **state)
{
	struct tcp_config c = sim_config();
	struct tcp_listener *l;

	sim_init(&sim, 22, &c, &c);
	l = listen_on(1, 80);
	peers_init(0, 0);
	a.shuts_down = false;
	sim.link.delay_us = 100000;
	assert_true(connect_to(&a, 0, 80));
	sim_run(&sim, 150000, NULL, NULL);
	assert_int_equal(tcp_n_connections(sim.host[1].tcp), 1);
	tcp_unlisten(l, sim.now_us);
	sim_run(&sim, 0, NULL, NULL);
	assert_int_equal(tcp_n_connections(sim.host[1].tcp), 0);
	sim_run(&sim, 1000000, NULL, NULL);
	assert_true(a.closed);
	sim_fini(&sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(half_close_lets_the_other_side_go_on),
		cmocka_unit_test(silent_peer_ends_with_a_timeout),
		cmocka_unit_test(connect_to_nobody_times_out),
		cmocka_unit_test(port_without_listener_refuses),
		cmocka_unit_test(listener_may_refuse),
		cmocka_unit_test(draining_refuses_new_connections_only),
		cmocka_unit_test(close_with_unread_data_resets),
		cmocka_unit_test(what_came_before_a_reset_can_be_taken_by_who_connected),
		cmocka_unit_test(data_after_close_reset),
		cmocka_unit_test(user_may_end_its_connection_in_its_event),
		cmocka_unit_test(full_table_refuses_and_recovers),
		cmocka_unit_test(used_up_ports_are_a_refusal),
		cmocka_unit_test(time_wait_gives_its_port_to_a_later_connection),
		cmocka_unit_test(syn_queue_is_bounded),
		cmocka_unit_test(reset_that_is_not_exact_is_challenged),
		cmocka_unit_test(unlisten_ends_half_open_connections),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
