/* SPDX-License-Identifier: Apache-2.0 */
/* What a single peer can hold of the buffers, and what a user hears once there are some again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "../../eal.h"
#include "raw.h"
#include "tcp/tcp_pvt.h"

static struct weir_ip peer;

/* Bytes that arrive one by one and backwards would keep a buffer each. */
static void bytes_that_come_backwards_share_buffers(void **state)
{
	const struct raw syn = raw_syn(4000, 1000);
	unsigned before, held;
	struct raw r;

	raw_start(1, NULL);
	r = raw_open(&peer, &syn);
	before = rte_mempool_avail_count(sim.pool);
	r.data = "x";
	for (unsigned i = 0; i < 4000; i++) {
		r.seq = 1001 + 4000 - i;
		raw_send(&peer, &r);
		if (i % 100 == 99)
			run_ms(2);
	}
	held = before - rte_mempool_avail_count(sim.pool);
	assert_in_range(held, 1, 20);
	r.seq = 1001;
	raw_send(&peer, &r);
	run_ms(2);
	assert_int_equal(users[0].got, 4001);
	assert_int_equal(rte_mempool_avail_count(sim.pool), before);
	sim_fini(&sim);
}

static unsigned n_writable;

static void on_event(struct tcp_conn *c, void *user, unsigned events, uint64_t now_us)
{
	n_writable += (events & TCP_EV_WRITABLE) != 0;
}

/* Nothing is in flight, so no ACK will come that could tell. */
static void user_without_buffers_hears_when_there_are_some(void **state)
{
	static struct rte_mbuf *all[16384];
	const struct raw syn = raw_syn(4000, 1000);
	unsigned n = 0;

	raw_start(2, NULL);
	raw_open(&peer, &syn);
	run_ms(100);
	tcp_set_user(users[0].c, on_event, NULL);
	n_writable = 0;
	while ((all[n] = rte_pktmbuf_alloc(sim.pool)) != NULL)
		n++;
	assert_int_equal(tcp_send(users[0].c, "answer", 6), -ENOBUFS);
	rte_pktmbuf_free_bulk(all, n);
	run_ms(100);
	assert_int_equal(n_writable, 1);
	assert_int_equal(tcp_send(users[0].c, "answer", 6), 0);
	run_ms(100);
	assert_int_equal(n_writable, 1);
	sim_fini(&sim);
}

static uint32_t flying(void)
{
	struct tcp_info info;

	tcp_get_info(users[0].c, &info);
	return info.flying_bytes;
}

/*
 * A peer without SACK, with tiny segments and a large window, has more of them in flight than duplicates can be counted.
 * What it says beyond that means nothing: it does not begin to count anew.
 */
static void duplicates_beyond_the_count_mean_nothing(void **state)
{
	static const char block[50000];
	struct tcp_config c = sim_config();
	struct raw syn = raw_syn(4000, 1000);
	uint32_t before, last;
	struct raw r;

	c.tx_buffer_bytes = 5000000;
	c.tso_max_bytes = 60000; /* few records */
	syn.mss = 64;
	syn.wscale = 15;
	syn.has_sack = false;
	raw_start(3, &c);
	r = raw_open(&peer, &syn);
	users[0].c->cc.cwnd = c.tx_buffer_bytes;
	for (unsigned i = 0; i < c.tx_buffer_bytes / sizeof(block); i++)
		assert_int_equal(tcp_send(users[0].c, block, sizeof(block)), 0);
	run_ms(1);
	before = last = flying();
	assert_int_equal(before, c.tx_buffer_bytes);
	for (unsigned i = 0; i < 68; i++) {
		for (unsigned k = 0; k < 1000; k++)
			raw_send(&peer, &r);
		run_ms(2);
		if (flying() > last)
			fail_msg("after %u duplicates %u bytes fly, before it was %u", (i + 1) * 1000, flying(), last);
		last = flying();
	}
	assert_int_equal(counter_of(1, WEIR_C_TCP_DUP_ACKS), 68000);
	assert_int_equal(counter_of(1, WEIR_C_TCP_RTO), 0);
	assert_true(last < before - UINT16_MAX * 52u);
	sim_fini(&sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_that_come_backwards_share_buffers),
		cmocka_unit_test(user_without_buffers_hears_when_there_are_some),
		cmocka_unit_test(duplicates_beyond_the_count_mean_nothing),
	};

	test_eal_init();
	peer = ip_of("10.0.0.9");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
