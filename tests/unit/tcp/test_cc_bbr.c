/* SPDX-License-Identifier: Apache-2.0 */
/* BBR over a bottleneck in virtual time. The cases A.n are those of draft-ietf-ccwg-bbr-06, appendix A. */
#include "cc_bbr_rig.h"

#include <stdlib.h>

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* The bandwidths and delays of the brief: estimate within 5 %, with 1 % of random loss. */
static void finds_the_bandwidth_under_random_loss_and_cubic_does_not(void **state)
{
	static const uint64_t mbits[] = {10, 100, 1000};
	static const uint32_t rtts_ms[] = {10, 50, 100};

	for (size_t i = 0; i < 3; i++) {
		for (size_t j = 0; j < 3; j++) {
			uint64_t bw[100];
			double bbr_util, cubic_util;

			set_wire(mbits[i], rtts_ms[j], 2);
			wire.loss_ppm = 10000;
			link_run(&wire, 5 * SECOND);
			bbr_util = 0;
			for (size_t k = 0; k < 100; k++) {
				bbr_util += utilization(SECOND / 10) / 100;
				bw[k] = bbr_max_bw(bbr());
			}
			qsort(bw, 100, sizeof(*bw), compare_u64);
			assert_in_range(bw[50], wire.rate * 95 / 100, wire.rate * 105 / 100);
			assert_true(seen.max_bw_seen <= wire.rate * 105 / 100);
			assert_true(bbr_util > 0.65);
			assert_true(wire.n_random_losses > 50);

			set_wire_of(TCP_CC_CUBIC, mbits[i], rtts_ms[j], 2);
			wire.loss_ppm = 10000;
			link_run(&wire, 5 * SECOND);
			cubic_util = utilization(10 * SECOND);
			/* At 1 % of loss CUBIC's window is 12 segments (RFC 9438 5.1), enough for the least path. */
			if (link_bdp(&wire) > 36 * MSS)
				assert_true(cubic_util < 0.5 && cubic_util < bbr_util / 1.8);
		}
	}
}

/* 3.2: at most 1.5 BDP are queued while it probes, and none while it cruises. */
static void keeps_the_queue_small(void **state)
{
	static const uint64_t mbits[] = {10, 100, 1000};
	static const uint32_t rtts_ms[] = {10, 50, 100};

	for (size_t i = 0; i < 3; i++) {
		for (size_t j = 0; j < 3; j++) {
			set_wire(mbits[i], rtts_ms[j], 20);
			link_run(&wire, 3 * SECOND);
			wire.max_flying = 0;
			forget();
			assert_true(utilization(12 * SECOND) > 0.93);
			assert_true(has_seen(BBR_PROBE_BW_UP));
			assert_true(wire.max_flying <= link_bdp(&wire) * 9 / 4 + 6 * MSS);
			assert_true(seen.max_cruise_flying <= link_bdp(&wire) * 21 / 20 + 6 * MSS);
			assert_int_equal(wire.n_overflows, 0);
		}
	}
}

/* A.1. */
static void startup_ends_when_the_bandwidth_no_longer_grows(void **state)
{
	set_wire(50, 40, 4);
	run_to_state(BBR_DRAIN, 2 * SECOND);
	assert_true(bbr()->full_bw_reached);
	assert_int_equal(bbr()->full_bw_count, 3);
	assert_in_range(bbr_max_bw(bbr()), wire.rate * 98 / 100, wire.rate * 102 / 100);
	assert_int_equal(wire.n_overflows, 0);
	assert_true(wire.max_flying <= link_bdp(&wire) * 22 / 10);
}

/* A.2: also if the samples are application-limited, when nothing would show a plateau. */
static void startup_ends_by_loss_of_an_application_limited_sender(void **state)
{
	set_wire(100, 40, 2);
	wire.app_rate = wire.rate / 4;
	link_run(&wire, SECOND);
	assert_int_equal(bbr()->state, BBR_STARTUP); /* A.7: without loss it stays there */
	wire.loss_ppm = 150000;
	run_to_state(BBR_PROBE_BW_DOWN, 5 * SECOND);
	assert_true(has_seen(BBR_DRAIN) || bbr()->full_bw_reached);
	assert_int_not_equal(bbr()->inflight_longterm, BBR_INFINITE);
}

static void startup_does_not_end_by_a_loss_below_the_threshold(void **state)
{
	set_wire(100, 40, 2);
	wire.app_rate = wire.rate / 4;
	wire.loss_ppm = 5000;
	link_run(&wire, 3 * SECOND);
	assert_true(wire.n_random_losses > 10);
	assert_int_equal(bbr()->state, BBR_STARTUP);
}

/* A.3. */
static void drain_ends_when_the_queue_is_empty(void **state)
{
	set_wire(50, 40, 4);
	run_to_state(BBR_DRAIN, 2 * SECOND);
	assert_in_range(bbr()->pacing_rate, wire.rate * 48 / 100, wire.rate * 50 / 100);
	run_out_of_state(SECOND);
	assert_true(wire.flying <= bbr_inflight(bbr(), bbr_max_bw(bbr()), 100));
	assert_true(seen.at_ns[BBR_DRAIN] + 4 * wire.rtt_us * 1000ull >= wire.now_ns);
}

/* A.4. */
static void drain_ends_after_three_rounds_if_the_bandwidth_fell(void **state)
{
	set_wire(50, 40, 20);
	while (bbr()->full_bw_count < 2)
		link_run(&wire, 1000);
	wire.rate /= 4;
	run_to_state(BBR_DRAIN, SECOND);
	run_to_state(BBR_PROBE_BW_DOWN, 10 * SECOND);
	assert_true(wire.flying > bbr_inflight(bbr(), bbr_max_bw(bbr()), 100));
	assert_int_equal(bbr()->round_count, bbr()->drain_start_round + 4);
}

/* A.5, A.8. */
static void probe_bw_goes_through_its_states_in_order(void **state)
{
	static const uint8_t next[] = {
		[BBR_PROBE_BW_DOWN] = BBR_PROBE_BW_CRUISE,
		[BBR_PROBE_BW_CRUISE] = BBR_PROBE_BW_REFILL,
		[BBR_PROBE_BW_REFILL] = BBR_PROBE_BW_UP,
		[BBR_PROBE_BW_UP] = BBR_PROBE_BW_DOWN,
	};
	size_t n_cycles = 0;

	set_wire(100, 20, 4);
	run_to_state(BBR_PROBE_BW_CRUISE, 3 * SECOND);
	forget();
	link_run(&wire, 60 * SECOND);
	for (size_t i = 0; i + 1 < seen.n_states; i++) {
		uint8_t s = seen.states[i];

		n_cycles += s == BBR_PROBE_BW_UP;
		if (s == BBR_PROBE_RTT)
			assert_int_equal(seen.states[i + 1], BBR_PROBE_BW_CRUISE);
		else if (seen.states[i + 1] != BBR_PROBE_RTT)
			assert_int_equal(seen.states[i + 1], next[s]);
	}
	/* 63 rounds of 20 ms, or 2 to 3 s, and ProbeRTT begins a cycle anew. */
	assert_in_range(n_cycles, 60 * SECOND / (3 * SECOND), 60 * SECOND / (62 * 20000));
}

/* 5.3.3.8: 2 to 3 s, not always the same. */
static void the_wait_before_a_probe_varies(void **state)
{
	uint32_t min = UINT32_MAX, max = 0;

	set_wire(100, 100, 4);
	for (int i = 0; i < 20; i++) {
		run_to_state(BBR_PROBE_BW_UP, 20 * SECOND);
		run_to_state(BBR_PROBE_BW_DOWN, 20 * SECOND);
		min = cc_min(min, bbr()->bw_probe_wait_us);
		max = cc_max(max, bbr()->bw_probe_wait_us);
	}
	assert_true(min >= 2 * SECOND && max < 3 * SECOND && max - min > SECOND / 2);
}

/* A.10. */
static void probe_rtt_comes_every_five_seconds_and_halves_the_window(void **state)
{
	uint64_t last_ns;

	set_wire(100, 40, 4);
	run_to_state(BBR_PROBE_RTT, 8 * SECOND);
	for (int i = 0; i < 5; i++) {
		last_ns = wire.now_ns;
		link_run(&wire, 150000);
		assert_int_equal(bbr()->state, BBR_PROBE_RTT);
		assert_in_range(wire.cc.cwnd, link_bdp(&wire) * 45 / 100, link_bdp(&wire) * 55 / 100);
		assert_true(wire.flying <= wire.cc.cwnd);
		run_to_state(BBR_PROBE_BW_CRUISE, 300000);
		link_run(&wire, 100000);
		assert_true(wire.cc.cwnd > link_bdp(&wire) * 19 / 10);
		assert_true(bbr_max_bw(bbr()) >= wire.rate * 98 / 100); /* the samples of ProbeRTT do not count */
		run_to_state(BBR_PROBE_RTT, 8 * SECOND);
		assert_in_range(wire.now_ns - last_ns, 5 * SECOND * 1000, 5500000000ull);
	}
}

static void min_rtt_follows_a_longer_path(void **state)
{
	set_wire(20, 20, 8);
	link_run(&wire, 8 * SECOND);
	assert_in_range(bbr()->min_rtt_us, 20000, 21000);
	wire.rtt_us = 60000;
	link_run(&wire, 17 * SECOND); /* 10 s until the old one is forgotten, and a ProbeRTT */
	assert_in_range(bbr()->min_rtt_us, 60000, 61500);
	assert_true(utilization(5 * SECOND) > 0.9);
}

/* A.11. */
static void idle_time_takes_the_place_of_probe_rtt(void **state)
{
	set_wire(50, 40, 4);
	link_run(&wire, 4 * SECOND);
	forget();
	link_pause_app(&wire, 6 * SECOND);
	link_run(&wire, 7 * SECOND);
	assert_false(has_seen(BBR_PROBE_RTT));
	assert_false(bbr()->idle_restart);
	link_run(&wire, 6 * SECOND);
	assert_true(has_seen(BBR_PROBE_RTT));
}

static void a_restart_from_idle_is_paced_at_the_bandwidth(void **state)
{
	set_wire(50, 40, 4);
	run_to_state(BBR_PROBE_BW_UP, 10 * SECOND);
	wire.cc.ops->restart(&wire.cc, MSS, 200000, SECOND, wire.now_ns / 1000);
	assert_in_range(wire.cc.ops->pacing_rate(&wire.cc, MSS, 40000), wire.rate * 97 / 100, wire.rate);
	assert_true(wire.cc.cwnd > link_bdp(&wire));
}

/* A.20. */
static void probe_rtt_in_startup_returns_to_startup(void **state)
{
	set_wire(100, 40, 4);
	wire.app_rate = wire.rate / 20;
	run_to_state(BBR_PROBE_RTT, 7 * SECOND);
	assert_false(bbr()->full_bw_reached);
	run_to_state(BBR_STARTUP, SECOND);
	wire.app_rate = 0;
	link_run(&wire, 2 * SECOND);
	assert_true(bbr()->full_bw_reached);
	assert_in_range(bbr_max_bw(bbr()), wire.rate * 98 / 100, wire.rate * 102 / 100);
}

/* A.22, 5.5.4. */
static void application_limited_samples_do_not_lower_the_bandwidth(void **state)
{
	uint64_t bw;

	set_wire(100, 20, 4);
	link_run(&wire, 4 * SECOND);
	bw = bbr_max_bw(bbr());
	assert_in_range(bw, wire.rate * 98 / 100, wire.rate * 102 / 100);
	wire.app_rate = wire.rate / 10;
	link_run(&wire, 20 * SECOND);
	assert_int_equal(bbr_max_bw(bbr()), bw);
	wire.app_rate = 0;
	assert_true(utilization(SECOND) > 0.9); /* so it is at full speed at once */
}

static void an_application_limited_sample_may_raise_the_bandwidth(void **state)
{
	set_wire(100, 20, 4);
	wire.app_rate = wire.rate / 2;
	link_run(&wire, 4 * SECOND);
	assert_in_range(bbr_max_bw(bbr()), wire.rate * 45 / 100, wire.rate * 102 / 100);
}

/* A.14. */
static void a_path_shorter_than_a_packet_gets_four_segments(void **state)
{
	set_wire(1, 1, 0);
	wire.queue_bytes = 40 * MSS;
	link_run(&wire, 4 * SECOND);
	assert_in_range(wire.cc.cwnd, 4 * MSS, 10 * MSS);
	assert_in_range(bbr_max_bw(bbr()), wire.rate * 95 / 100, wire.rate * 105 / 100);
	assert_true(utilization(4 * SECOND) > 0.9);
}

/* A.15. */
static void ten_times_the_bandwidth_is_found(void **state)
{
	set_wire(10, 40, 4);
	link_run(&wire, 6 * SECOND);
	wire.rate *= 10;
	wire.queue_bytes = 4 * link_bdp(&wire);
	link_run(&wire, 12 * SECOND); /* a probe each 2 to 3 s, with 2.25 times the window */
	assert_in_range(bbr_max_bw(bbr()), wire.rate * 95 / 100, wire.rate * 102 / 100);
	assert_true(utilization(5 * SECOND) > 0.9);
}

/* A.16. */
static void a_tenth_of_the_bandwidth_is_adapted_to(void **state)
{
	set_wire(100, 40, 1);
	link_run(&wire, 6 * SECOND);
	wire.rate /= 10;
	forget();
	link_run(&wire, 5 * SECOND); /* rounds are long now: the queue holds 0.4 s */
	assert_true(seen.min_bw_shortterm < wire.rate * 4);
	link_run(&wire, 10 * SECOND);
	assert_in_range(bbr_max_bw(bbr()), wire.rate * 95 / 100, wire.rate * 115 / 100);
	wire.n_overflows = wire.n_sent = 0;
	assert_true(utilization(10 * SECOND) > 0.85);
	assert_true(wire.n_overflows * 50 < wire.n_sent);
}

/* A.17: a queue of a few packets, as that of a policer. */
static void a_short_queue_loses_little(void **state)
{
	set_wire(50, 40, 0.05);
	link_run(&wire, 5 * SECOND);
	wire.n_overflows = wire.n_sent = 0;
	assert_true(utilization(20 * SECOND) > 0.75);
	assert_true(wire.n_overflows * 50 < wire.n_sent);
}

/* A.6, A.21. */
static void loss_in_a_probe_lowers_the_long_term_limit(void **state)
{
	uint32_t bdp;

	set_wire(50, 20, 4); /* short enough for two probes between two ProbeRTT */
	run_to_state(BBR_PROBE_RTT, 10 * SECOND);
	run_to_state(BBR_PROBE_BW_REFILL, 3 * SECOND);
	bdp = (uint32_t)link_bdp(&wire);
	assert_int_equal(bbr()->inflight_longterm, BBR_INFINITE);
	wire.loss_ppm = 100000;
	run_to_state(BBR_PROBE_BW_UP, 100000);
	run_to_state(BBR_PROBE_BW_DOWN, SECOND);
	assert_true(bbr()->prev_probe_too_high);
	assert_in_range(bbr()->inflight_longterm, bdp * 69 / 100, bdp * 2);
	assert_true(wire.cc.cwnd <= bbr()->inflight_longterm);
	wire.loss_ppm = 0;
	link_run(&wire, SECOND); /* leaves headroom to others, as far as a gain of 0.9 can drain */
	assert_true(wire.flying <= bdp * 92 / 100);
	run_to_state(BBR_PROBE_BW_UP, 5 * SECOND);
	run_out_of_state(SECOND); /* 5.3.3.6: reaches the limit, turns back, and at once comes again */
	assert_true(bbr()->prev_probe_precautionary && !bbr()->prev_probe_too_high);
	run_to_state(BBR_PROBE_BW_REFILL, 100000);
	link_run(&wire, 10 * SECOND);
	assert_true(bbr()->inflight_longterm > bdp);
	assert_true(utilization(5 * SECOND) > 0.9);
}

/* 5.5.10.3: towards what is delivered, by 0.7 in a round at most. */
static void loss_while_cruising_lowers_the_short_term_model(void **state)
{
	uint64_t bw;

	set_wire(50, 40, 4);
	run_to_state(BBR_PROBE_BW_CRUISE, 4 * SECOND);
	bw = bbr_max_bw(bbr());
	assert_true(bbr()->bw_shortterm == BBR_INFINITE_BW);
	wire.loss_ppm = 300000;
	link_run(&wire, 400000);
	assert_int_equal(bbr()->state, BBR_PROBE_BW_CRUISE);
	assert_true(bbr()->bw_shortterm < bw * 9 / 10 && bbr()->bw == bbr()->bw_shortterm);
	assert_int_not_equal(bbr()->inflight_shortterm, BBR_INFINITE);
	assert_int_equal(bbr_max_bw(bbr()), bw);
	wire.loss_ppm = 0;
	run_to_state(BBR_PROBE_BW_REFILL, 4 * SECOND);
	assert_true(bbr()->bw_shortterm == BBR_INFINITE_BW);
	assert_int_equal(bbr()->inflight_shortterm, BBR_INFINITE);
}

/* A.18. */
static void a_spurious_recovery_is_undone(void **state)
{
	uint32_t cwnd, longterm;

	set_wire(50, 40, 4);
	run_to_state(BBR_PROBE_BW_UP, 10 * SECOND);
	cwnd = wire.cc.cwnd;
	longterm = bbr()->inflight_longterm;
	wire.loss_ppm = 100000;
	run_to_state(BBR_PROBE_BW_DOWN, SECOND);
	wire.loss_ppm = 0;
	assert_true(wire.cc.cwnd < cwnd);
	wire.cc.ops->undo(&wire.cc, wire.now_ns / 1000);
	assert_true(wire.cc.cwnd >= cwnd);
	assert_int_equal(bbr()->inflight_longterm, longterm);
	assert_true(bbr()->bw_shortterm == BBR_INFINITE_BW);
	assert_int_equal(bbr()->state, BBR_PROBE_BW_REFILL); /* the probe begins anew */

	set_wire(100, 40, 2);
	wire.app_rate = wire.rate / 4;
	link_run(&wire, SECOND);
	wire.loss_ppm = 150000;
	while (!bbr()->full_bw_reached)
		link_run(&wire, 1000);
	assert_int_equal(bbr()->undo_state, BBR_STARTUP);
	wire.cc.ops->undo(&wire.cc, wire.now_ns / 1000);
	assert_int_equal(bbr()->state, BBR_STARTUP);
	assert_false(bbr()->full_bw_reached);
	assert_int_equal(bbr()->inflight_longterm, BBR_INFINITE);
}

/* A.19. */
static void a_spurious_timeout_is_undone(void **state)
{
	struct tcp_cc *cc = &wire.cc;
	uint32_t cwnd;

	set_wire(50, 40, 4);
	run_to_state(BBR_PROBE_BW_CRUISE, 10 * SECOND);
	cwnd = cc->cwnd;
	cc->ops->timeout(cc, wire.flying, MSS, wire.now_ns / 1000);
	assert_int_equal(cc->cwnd, MSS);
	cc->ops->undo(cc, wire.now_ns / 1000);
	assert_int_equal(cc->cwnd, cwnd);
	assert_true(bbr()->bw_shortterm == BBR_INFINITE_BW);
}

static void after_a_timeout_the_window_is_restored_when_recovery_ends(void **state)
{
	set_wire(50, 40, 4);
	link_run(&wire, 3 * SECOND);
	wire.loss_ppm = 1000000; /* an outage */
	link_run(&wire, SECOND);
	assert_in_range(wire.n_timeouts, 1, 5);
	assert_int_equal(wire.cc.cwnd, MSS);
	wire.loss_ppm = 0;
	link_run(&wire, SECOND);
	assert_true(wire.cc.cwnd > link_bdp(&wire) / 2);
	link_run(&wire, 5 * SECOND);
	assert_true(utilization(5 * SECOND) > 0.9);
}

/* 3.7: CE is congestion. */
static void ecn_ends_a_probe_and_lowers_the_short_term_model(void **state)
{
	struct tcp_cc *cc = &wire.cc;

	set_wire(50, 40, 4);
	link_run(&wire, 200000);
	assert_int_equal(bbr()->state, BBR_STARTUP);
	cc->ops->congested(cc, wire.flying, MSS, wire.now_ns / 1000, true);
	run_to_state(BBR_PROBE_BW_DOWN, 200000);
	assert_int_not_equal(bbr()->inflight_longterm, BBR_INFINITE);

	set_wire(50, 40, 4);
	run_to_state(BBR_PROBE_BW_UP, 10 * SECOND);
	cc->ops->congested(cc, wire.flying, MSS, wire.now_ns / 1000, true);
	assert_int_equal(bbr()->state, BBR_PROBE_BW_DOWN);
	assert_in_range(bbr()->inflight_longterm, link_bdp(&wire) / 2, link_bdp(&wire) * 5 / 4);

	set_wire(50, 40, 4);
	run_to_state(BBR_PROBE_BW_CRUISE, 10 * SECOND);
	link_run(&wire, 300000);
	cc->ops->congested(cc, wire.flying, MSS, wire.now_ns / 1000, true);
	link_run(&wire, 100000);
	assert_int_equal(bbr()->state, BBR_PROBE_BW_CRUISE);
	assert_true(bbr()->bw_shortterm < bbr_max_bw(bbr()));
}

/* A.12, A.13: ACKs come in bursts, 15 ms apart on a path of 20 ms. */
static void aggregated_acks_widen_the_window(void **state)
{
	set_wire(100, 20, 4);
	wire.ack_slot_us = 15000;
	link_run(&wire, 5 * SECOND);
	assert_in_range(bbr_max_bw(bbr()), wire.rate * 90 / 100, wire.rate * 125 / 100);
	assert_true(cc_max(bbr()->extra_acked[0], bbr()->extra_acked[1]) > link_bdp(&wire) / 4);
	run_to_state(BBR_PROBE_BW_CRUISE, 5 * SECOND);
	assert_true(wire.cc.cwnd > 2 * (uint64_t)bbr_bdp(bbr(), bbr_max_bw(bbr()), 100));
	assert_true(utilization(5 * SECOND) > 0.9);
}

static void the_first_rate_is_that_of_the_initial_window(void **state)
{
	set_wire(100, 20, 4);
	assert_int_equal(wire.cc.ops->pacing_rate(&wire.cc, MSS, 0), 14480ull * 2770 + 1); /* in 1 ms */
	assert_int_equal(wire.cc.ops->pacing_rate(&wire.cc, MSS, 10000), 14480ull * 277 + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_the_bandwidth_under_random_loss_and_cubic_does_not),
		cmocka_unit_test(keeps_the_queue_small),
		cmocka_unit_test(startup_ends_when_the_bandwidth_no_longer_grows),
		cmocka_unit_test(startup_ends_by_loss_of_an_application_limited_sender),
		cmocka_unit_test(startup_does_not_end_by_a_loss_below_the_threshold),
		cmocka_unit_test(drain_ends_when_the_queue_is_empty),
		cmocka_unit_test(drain_ends_after_three_rounds_if_the_bandwidth_fell),
		cmocka_unit_test(probe_bw_goes_through_its_states_in_order),
		cmocka_unit_test(the_wait_before_a_probe_varies),
		cmocka_unit_test(probe_rtt_comes_every_five_seconds_and_halves_the_window),
		cmocka_unit_test(min_rtt_follows_a_longer_path),
		cmocka_unit_test(idle_time_takes_the_place_of_probe_rtt),
		cmocka_unit_test(a_restart_from_idle_is_paced_at_the_bandwidth),
		cmocka_unit_test(probe_rtt_in_startup_returns_to_startup),
		cmocka_unit_test(application_limited_samples_do_not_lower_the_bandwidth),
		cmocka_unit_test(an_application_limited_sample_may_raise_the_bandwidth),
		cmocka_unit_test(a_path_shorter_than_a_packet_gets_four_segments),
		cmocka_unit_test(ten_times_the_bandwidth_is_found),
		cmocka_unit_test(a_tenth_of_the_bandwidth_is_adapted_to),
		cmocka_unit_test(a_short_queue_loses_little),
		cmocka_unit_test(loss_in_a_probe_lowers_the_long_term_limit),
		cmocka_unit_test(loss_while_cruising_lowers_the_short_term_model),
		cmocka_unit_test(a_spurious_recovery_is_undone),
		cmocka_unit_test(a_spurious_timeout_is_undone),
		cmocka_unit_test(after_a_timeout_the_window_is_restored_when_recovery_ends),
		cmocka_unit_test(ecn_ends_a_probe_and_lowers_the_short_term_model),
		cmocka_unit_test(aggregated_acks_widen_the_window),
		cmocka_unit_test(the_first_rate_is_that_of_the_initial_window),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
