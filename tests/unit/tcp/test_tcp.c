/* SPDX-License-Identifier: Apache-2.0 */
/* TCP against itself in virtual time: every byte once and in order; nothing left behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "eal.h"
#include "peers.h"

static void handshake_negotiates_options(void **state)
{
	struct tcp_info i;

	start(1);
	peers_init(0, 0);
	a.shuts_down = b.shuts_down = false;
	assert_true(connect_to(&a, 0, 80));
	sim_run(&sim, 100000, NULL, NULL);
	assert_true(a.connected);
	assert_non_null(b.c);
	tcp_get_info(a.c, &i);
	assert_int_equal(i.state, TCP_ESTABLISHED);
	assert_int_equal(i.mss, 1460);
	assert_true(i.has_sack);
	assert_true(i.has_timestamps);
	assert_in_range(i.srtt_us, 2000, 2999);
	assert_int_equal(i.rcv_wnd, 65536 > 65535 ? i.rcv_wnd : 65536);
	tcp_abort(a.c, WEIR_R_CLOSE_ABORTED, sim.now_us);
	a.c = NULL;
	sim_run(&sim, 100000, NULL, NULL);
	assert_true(b.closed);
	assert_int_equal(b.why, WEIR_R_CLOSE_RESET_BY_PEER);
	assert_int_equal(b.n_closed, 1);
	sim_fini(&sim);
}

static void data_flow_both_ways_and_both_close(void **state)
{
	start(2);
	peers_init(1000000, 700000);
	a.by_mbufs = true;
	assert_true(connect_to(&a, 0, 80));
	assert_true(sim_run(&sim, 60000000, both_done, NULL));
	expect_complete();
	expect_empty_tables();
	assert_int_equal(sim.host[0].stats.counter[WEIR_C_TCP_RETRANSMITS], 0);
	sim_fini(&sim);
}

static void bad_links_lose_nothing(void **state)
{
	for (uint64_t seed = 1; seed <= 3000; seed++) {
		start(seed);
		sim.link.delay_us = (uint32_t)(sim_random(&sim) % 20000);
		sim.link.jitter_us = (uint32_t)(sim_random(&sim) % 5000);
		sim.link.loss_ppm = (uint32_t)(sim_random(&sim) % 50000);
		sim.link.duplicate_ppm = (uint32_t)(sim_random(&sim) % 20000);
		peers_init(sim_random(&sim) % 100000, sim_random(&sim) % 100000);
		a.chunk = 1 + sim_random(&sim) % 3000;
		b.chunk = seed % 3 ? 0 : 100;
		a.by_mbufs = seed & 1;
		b.by_mbufs = seed & 2;
		assert_true(connect_to(&a, 0, 80));
		if (!sim_run(&sim, 600000000, both_done, NULL))
			fail_msg("seed %u: a got %zu of %zu, b got %zu of %zu", (unsigned)seed, a.got, b.to_send, b.got, a.to_send);
		if (a.closed || b.closed)
			fail_msg("seed %u: a closed %d why %d, b closed %d why %d; first reason is %d", (unsigned)seed, a.closed,
				 (int)a.why, b.closed, (int)b.why, (int)WEIR_R_CLOSE_NORMAL);
		expect_complete();
		sim.link.loss_ppm = 0;
		expect_empty_tables();
		sim_fini(&sim);
	}
}

static void thousands_of_short_connections_leave_nothing(void **state)
{
	struct tcp_config c = sim_config();

	c.time_wait_ms = 100;
	sim_init(&sim, 9, &c, &c);
	listen_on(1, 80);
	sim.link.loss_ppm = 10000;
	sim.link.jitter_us = 300;
	for (int i = 0; i < 3000; i++) {
		peers_init(sim_random(&sim) % 3000, sim_random(&sim) % 3000);
		assert_true(connect_to(&a, 0, 80));
		if (!sim_run(&sim, 600000000, both_done, NULL))
			fail_msg("connection %d", i);
		expect_complete();
	}
	sim.link.loss_ppm = 0;
	expect_empty_tables();
	sim_fini(&sim);
}

static void reader_that_pauses_closes_the_window_and_reopens_it(void **state)
{
	start(3);
	peers_init(300000, 0);
	b.paused = true;
	b.shuts_down = false;
	assert_true(connect_to(&a, 0, 80));
	sim_run(&sim, 30000000, NULL, NULL);
	assert_non_null(b.c);
	assert_in_range(tcp_readable(b.c), 60000, 65536);
	assert_true(sim.host[0].stats.counter[WEIR_C_TCP_ZERO_WINDOW_PROBES] > 2);
	b.paused = false;
	b.shuts_down = true;
	step(&b, sim.now_us);
	assert_true(sim_run(&sim, 60000000, both_done, NULL));
	expect_complete();
	sim_fini(&sim);
}

static unsigned n_dropped;
static bool drop_window_updates(struct sim *s, int from, struct rte_mbuf *m)
{
	if (from == 1 && n_dropped < 3 && m->pkt_len < 60) {
		n_dropped++;
		return false;
	}
	return true;
}

static void lost_window_update_is_found_by_a_probe(void **state)
{
	start(4);
	peers_init(200000, 0);
	b.paused = true;
	b.shuts_down = false;
	assert_true(connect_to(&a, 0, 80));
	sim_run(&sim, 5000000, NULL, NULL);
	n_dropped = 0;
	sim.filter = drop_window_updates;
	b.paused = false;
	b.shuts_down = true;
	step(&b, sim.now_us);
	assert_true(sim_run(&sim, 120000000, both_done, NULL));
	assert_int_equal(n_dropped, 3);
	expect_complete();
	sim_fini(&sim);
}

static unsigned n_recovering, n_dry;

static bool look_at_recovery(void *ctx)
{
	struct tcp_info info;

	if (a.c && a.sent < a.to_send) {
		tcp_get_info(a.c, &info);
		if (strcmp(info.recovery, "recovery") == 0) {
			n_recovering++;
			n_dry += info.unsent_bytes == 0;
		}
	}
	return both_done(ctx);
}

/* The user refills whenever there is room, so what is behind a hole must not take it. */
static void recovery_runs_out_of_no_data(void **state)
{
	struct tcp_config c = sim_config();

	c.rx_buffer_bytes = c.tx_buffer_bytes = 1000000; /* never the limit */
	c.pacing = true; /* an event for each segment */
	sim_init(&sim, 21, &c, &c);
	listen_on(1, 80);
	peers_init(8000000, 0);
	sim.link = (struct sim_link){.delay_us = 50000, .loss_ppm = 10000};
	n_recovering = n_dry = 0;
	assert_true(connect_to(&a, 0, 80));
	assert_true(sim_run(&sim, 600000000, look_at_recovery, NULL));
	expect_complete();
	assert_true(n_recovering > 1000);
	assert_int_equal(n_dry, 0);
	sim_fini(&sim);
}

/* Virtual time that 4 MB take from host 0, which may hold data that its user does not read. */
static uint64_t transfer_beside_held_data(size_t held_bytes)
{
	enum { N_READERS = 15 };
	static struct peer readers[N_READERS], writers[N_READERS];
	struct tcp_config narrow = sim_config(), wide = sim_config();
	uint64_t began;

	narrow.rx_buffer_bytes = narrow.tx_buffer_bytes = wide.tx_buffer_bytes = 1000000;
	narrow.n_held_max = 800; /* what is unread makes a pressure of 3 */
	wide.rx_buffer_bytes = 131072;
	sim_init(&sim, 22, &narrow, &wide);
	listen_on(1, 80);
	peers_init(4000000, 0);
	for (unsigned i = 0; i < N_READERS; i++) {
		readers[i] = (struct peer){.sim = &sim, .salt = 5, .peer_salt = 6, .paused = true};
		writers[i] = (struct peer){.sim = &sim, .salt = 6, .peer_salt = 5};
		next_accept = &writers[i];
		assert_true(connect_to(&readers[i], 0, 80));
		sim_run(&sim, 20000000, NULL, NULL);
	}
	for (unsigned i = 0; i < N_READERS; i++) {
		writers[i].to_send = held_bytes / N_READERS;
		send_more(&writers[i]);
	}
	sim_run(&sim, 20000000, NULL, NULL);
	for (unsigned i = 0; i < N_READERS; i++)
		assert_int_equal(tcp_readable(readers[i].c), held_bytes / N_READERS);
	next_accept = &b;
	sim.link.delay_us = 50000;
	began = sim.now_us;
	assert_true(connect_to(&a, 0, 80));
	assert_true(sim_run(&sim, 600000000, both_done, NULL));
	expect_complete();
	if (held_bytes)
		assert_int_equal(sim.host[0].stats.gauge[WEIR_G_TCP_PRESSURE], 3);
	began = sim.now_us - began;
	sim_fini(&sim);
	return began;
}

static void memory_pressure_of_unread_data_slows_no_sender(void **state)
{
	uint64_t alone_us = transfer_beside_held_data(0);

	assert_true(transfer_beside_held_data(950000) < alone_us + alone_us / 10);
}

/* RFC 3168 6.1.1: who has sent a SYN that did not offer it sends no ECN capable data, whatever the SYN-ACK says. */
static void syn_again_without_ecn_gives_it_up_for_good(void **state)
{
	struct tcp_config cfg = sim_config();
	struct tcp_info info;

	cfg.ecn = true;
	sim_init(&sim, 12, &cfg, &cfg);
	listen_on(1, 80);
	peers_init(0, 0);
	a.shuts_down = b.shuts_down = false;
	sim.link.delay_us = 1200000; /* the answer to the first SYN comes after the second has gone */
	assert_true(connect_to(&a, 0, 80));
	sim_run(&sim, 2900000, NULL, NULL);
	assert_true(a.connected);
	assert_int_equal(sim.host[0].stats.counter[WEIR_C_TCP_RETRANSMITS], 1);
	tcp_get_info(a.c, &info);
	assert_false(info.has_ecn);
	sim_fini(&sim);
}

static void empty_mbuf_pool_delays_but_loses_nothing(void **state)
{
	static struct rte_mbuf *held[16383];
	unsigned n = 0;

	start(18);
	peers_init(2000000, 2000000);
	assert_true(connect_to(&a, 0, 80));
	sim_run(&sim, 8000, NULL, NULL);
	for (int i = 0; i < 3000; i++) {
		while (n < 16383 && (held[n] = rte_pktmbuf_alloc(sim.pool)) != NULL)
			n++;
		sim_run(&sim, 1000, NULL, NULL);
	}
	assert_true(sim.host[0].stats.reason[WEIR_R_NO_MBUF] + sim.host[1].stats.reason[WEIR_R_NO_MBUF] > 0);
	while (n)
		rte_pktmbuf_free(held[--n]);
	assert_true(sim_run(&sim, 120000000, both_done, NULL));
	expect_complete();
	sim_fini(&sim);
}

static void simultaneous_open_makes_one_connection(void **state)
{
	struct tcp_config c = sim_config();
	struct tcp_connect to = {.timeout_ms = 5000, .event = on_event};
	enum weir_reason why;

	c.port_lo = c.port_hi = 5000;
	sim_init(&sim, 20, &c, &c);
	peers_init(50000, 50000);
	to.local = sim.host[0].ip;
	to.remote = sim.host[1].ip;
	to.remote_port = 5000;
	to.user = &a;
	a.c = tcp_connect(sim.host[0].tcp, &to, sim.now_us, &why);
	to.local = sim.host[1].ip;
	to.remote = sim.host[0].ip;
	to.user = &b;
	b.c = tcp_connect(sim.host[1].tcp, &to, sim.now_us, &why);
	assert_true(sim_run(&sim, 60000000, both_done, NULL));
	expect_complete();
	sim_fini(&sim);
}

static void small_segments_share_buffers(void **state)
{
	unsigned used;

	start(21);
	peers_init(30000, 0);
	a.chunk = 10;
	b.paused = true;
	b.shuts_down = false;
	assert_true(connect_to(&a, 0, 80));
	/* ten bytes at a time: each event of the peer sends one chunk only */
	sim_run(&sim, 20000000, NULL, NULL);
	used = 16383 - rte_mempool_avail_count(sim.pool);
	assert_int_equal(tcp_readable(b.c), 30000);
	assert_true(used < 30000 / 500);
	tcp_abort(b.c, WEIR_R_CLOSE_ABORTED, sim.now_us);
	sim_fini(&sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(handshake_negotiates_options),
		cmocka_unit_test(data_flow_both_ways_and_both_close),
		cmocka_unit_test(reader_that_pauses_closes_the_window_and_reopens_it),
		cmocka_unit_test(lost_window_update_is_found_by_a_probe),
		cmocka_unit_test(recovery_runs_out_of_no_data),
		cmocka_unit_test(memory_pressure_of_unread_data_slows_no_sender),
		cmocka_unit_test(syn_again_without_ecn_gives_it_up_for_good),
		cmocka_unit_test(empty_mbuf_pool_delays_but_loses_nothing),
		cmocka_unit_test(simultaneous_open_makes_one_connection),
		cmocka_unit_test(small_segments_share_buffers),
		cmocka_unit_test(bad_links_lose_nothing),
		cmocka_unit_test(thousands_of_short_connections_leave_nothing),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
