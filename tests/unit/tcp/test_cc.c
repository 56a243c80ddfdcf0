/* SPDX-License-Identifier: Apache-2.0 */
/* Congestion control with a window: slow start, HyStart++, NewReno, reactions, undo. Any algorithm with any ACK. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cc_link.h"
#include "cc_rig.h"

static struct link wire;

static void initial_window_is_that_of_rfc6928(void **state)
{
	assert_int_equal(cc_initial_window(536), 5360);
	assert_int_equal(cc_initial_window(1220), 12200);
	assert_int_equal(cc_initial_window(1460), 14600);
	assert_int_equal(cc_initial_window(1500), 14600);
	assert_int_equal(cc_initial_window(7300), 14600);
	assert_int_equal(cc_initial_window(8960), 17920);
}

static void kinds_have_their_names_and_the_default_is_cubic(void **state)
{
	assert_string_equal(cc_ops_of(TCP_CC_DEFAULT)->name, "cubic");
#define X(kind, str) assert_string_equal(cc_ops_of(TCP_CC_##kind)->name, str);
	TCP_CC_KINDS(X)
#undef X
	assert_true(cc_ops_of(TCP_CC_BBR)->owns_cwnd);
	assert_false(cc_ops_of(TCP_CC_CUBIC)->owns_cwnd);
	assert_int_equal(cc_ops_of(TCP_CC_CUBIC)->state_bytes, 0);
	assert_in_range(cc_ops_of(TCP_CC_BBR)->state_bytes, 1, 320);
}

static void slow_start_doubles_in_each_round_trip(void **state)
{
	static const enum tcp_cc_kind kinds[] = {TCP_CC_NEWRENO, TCP_CC_CUBIC};

	for (size_t k = 0; k < 2; k++) {
		struct rig r;
		uint32_t cwnd;

		rig_init(&r, kinds[k]);
		cwnd = r.cc.cwnd;
		for (int i = 0; i < 8; i++) {
			round_trip(&r, 50000);
			cwnd *= 2;
			assert_int_equal(r.cc.cwnd, cwnd);
		}
	}
}

static void slow_start_stops_at_ssthresh(void **state)
{
	struct rig r;

	rig_init(&r, TCP_CC_NEWRENO);
	r.cc.hystart.is_on = false;
	r.cc.ssthresh = 15 * MSS;
	round_trip(&r, 50000);
	assert_int_equal(r.cc.cwnd, 15 * MSS);
	assert_int_equal(r.cc.acked, 5 * MSS); /* the rest counts for congestion avoidance */
	r.cc.cwnd = 14 * MSS;
	r.cc.acked = 0;
	ack(&r, 2 * MSS);
	assert_int_equal(r.cc.cwnd, 15 * MSS);
	assert_int_equal(r.cc.acked, MSS); /* of one ACK, too */
}

/* Initial: 8 segments while there is no RTT to pace by, then all (RFC 9406). Later: 2, after a timeout 1 (RFC 3465). */
static void a_stretched_ack_grows_slow_start_by_its_limit(void **state)
{
	struct rig r;
	uint32_t cwnd;

	rig_init(&r, TCP_CC_CUBIC);
	cwnd = r.cc.cwnd;
	r.a.srtt_us = 0;
	ack(&r, 10 * MSS);
	assert_int_equal(r.cc.cwnd, cwnd + 8 * MSS);
	r.a.srtt_us = 50000;
	ack(&r, 10 * MSS);
	assert_int_equal(r.cc.cwnd, cwnd + 18 * MSS);

	r.cc.cwnd = 40 * MSS;
	r.cc.ops->timeout(&r.cc, 40 * MSS, MSS, r.a.now_us);
	r.cc.cwnd = 4 * MSS;
	r.a.is_recovering = true;
	ack(&r, 4 * MSS);
	assert_int_equal(r.cc.cwnd, 5 * MSS);
	r.a.is_recovering = false;
	ack(&r, 4 * MSS);
	assert_int_equal(r.cc.cwnd, 7 * MSS);
}

static void a_window_that_is_not_used_does_not_grow(void **state)
{
	static const enum tcp_cc_kind kinds[] = {TCP_CC_NEWRENO, TCP_CC_CUBIC};

	for (size_t k = 0; k < 2; k++) {
		struct rig r;
		uint32_t cwnd;

		rig_init(&r, kinds[k]);
		r.a.is_cwnd_limited = false;
		r.a.acked = MSS;
		r.a.prior_flying = r.cc.cwnd / 3;
		cwnd = r.cc.cwnd;
		r.cc.ops->acked(&r.cc, &r.a);
		assert_int_equal(r.cc.cwnd, cwnd);
		r.a.prior_flying = r.cc.cwnd; /* paced, but used */
		r.cc.ops->acked(&r.cc, &r.a);
		assert_int_equal(r.cc.cwnd, cwnd + MSS);

		congest(&r);
		cwnd = r.cc.cwnd;
		r.a.prior_flying = cwnd * 6 / 7;
		for (int i = 0; i < 100; i++) {
			r.a.now_us += 100000;
			r.cc.ops->acked(&r.cc, &r.a);
		}
		assert_int_equal(r.cc.cwnd, cwnd);
		r.a.prior_flying = cwnd * 8 / 9; /* no more than a pacing quantum is missing */
		for (int i = 0; i < 100; i++) {
			r.a.now_us += 100000;
			r.cc.ops->acked(&r.cc, &r.a);
			r.a.prior_flying = r.cc.cwnd * 8 / 9;
		}
		assert_true(r.cc.cwnd > cwnd + 2 * MSS);
	}
}

static void newreno_grows_by_a_segment_for_each_window(void **state)
{
	struct rig r;

	rig_init(&r, TCP_CC_NEWRENO);
	r.cc.cwnd = 40 * MSS;
	congest(&r);
	assert_int_equal(r.cc.ssthresh, 20 * MSS);
	for (uint32_t i = 20; i < 60; i++) {
		assert_int_equal(r.cc.cwnd, i * MSS);
		for (uint32_t j = 0; j < i; j++)
			ack(&r, MSS);
	}
	for (int i = 0; i < 60 / 7 + 1; i++)
		ack(&r, 7 * MSS);
	assert_int_equal(r.cc.cwnd, 61 * MSS);
	assert_int_equal(r.cc.acked, 3 * MSS); /* what was too much is kept */
}

static void ssthresh_is_two_segments_at_least(void **state)
{
	static const enum tcp_cc_kind kinds[] = {TCP_CC_NEWRENO, TCP_CC_CUBIC};

	for (size_t k = 0; k < 2; k++) {
		struct rig r;

		rig_init(&r, kinds[k]);
		r.cc.cwnd = 2 * MSS;
		r.cc.ops->congested(&r.cc, MSS, MSS, r.a.now_us, false);
		assert_int_equal(r.cc.ssthresh, 2 * MSS);
		r.cc.ops->timeout(&r.cc, MSS, MSS, r.a.now_us);
		assert_int_equal(r.cc.ssthresh, 2 * MSS);
		assert_int_equal(r.cc.cwnd, MSS);
	}
}

/* PRR has cwnd then; after a timeout slow start has it. */
static void nothing_grows_in_fast_recovery_but_slow_start_does_after_a_timeout(void **state)
{
	static const enum tcp_cc_kind kinds[] = {TCP_CC_NEWRENO, TCP_CC_CUBIC};

	for (size_t k = 0; k < 2; k++) {
		struct rig r;

		rig_init(&r, kinds[k]);
		r.cc.cwnd = 100 * MSS;
		r.cc.ops->congested(&r.cc, 100 * MSS, MSS, r.a.now_us, false);
		r.cc.cwnd = 40 * MSS; /* below ssthresh, as PRR may have it */
		r.a.is_recovering = true;
		ack(&r, MSS);
		assert_int_equal(r.cc.cwnd, 40 * MSS);

		r.cc.ops->timeout(&r.cc, 40 * MSS, MSS, r.a.now_us);
		ack(&r, MSS);
		assert_int_equal(r.cc.cwnd, 2 * MSS);
		r.a.is_recovering = false;
		ack(&r, MSS);
		assert_int_equal(r.cc.cwnd, 3 * MSS);
	}
}

/* RFC 3168 6.1.2, RFC 9438 4.6. */
static void ecn_reduces_cwnd_down_to_one_segment(void **state)
{
	static const enum tcp_cc_kind kinds[] = {TCP_CC_NEWRENO, TCP_CC_CUBIC};

	for (size_t k = 0; k < 2; k++) {
		struct rig r;

		rig_init(&r, kinds[k]);
		for (int i = 0; i < 20; i++) {
			r.cc.ops->congested(&r.cc, r.cc.cwnd, MSS, r.a.now_us, true);
			if (r.cc.cwnd > r.cc.ssthresh)
				r.cc.cwnd = r.cc.ssthresh;
			assert_true(r.cc.cwnd >= MSS && r.cc.ssthresh >= 2 * MSS);
		}
		assert_int_equal(r.cc.cwnd, MSS);
	}
}

static void undo_is_exact(void **state)
{
	static const enum tcp_cc_kind kinds[] = {TCP_CC_NEWRENO, TCP_CC_CUBIC};

	for (int timeout = 0; timeout < 2; timeout++) {
		for (size_t k = 0; k < 2; k++) {
			struct rig r;
			struct tcp_cc before;

			rig_init(&r, kinds[k]);
			r.cc.cwnd = 200 * MSS;
			congest(&r);
			for (int i = 0; i < 30; i++)
				round_trip(&r, 50000);
			before = r.cc;
			if (timeout)
				r.cc.ops->timeout(&r.cc, r.cc.cwnd, MSS, r.a.now_us);
			else
				congest(&r);
			assert_true(r.cc.ssthresh < before.ssthresh || r.cc.cwnd < before.cwnd);
			for (int i = 0; i < 3; i++) /* goes on for a while before it is known */
				round_trip(&r, 50000);
			r.cc.ops->undo(&r.cc, r.a.now_us);
			assert_int_equal(r.cc.cwnd, before.cwnd);
			assert_int_equal(r.cc.ssthresh, before.ssthresh);
			assert_false(r.cc.hystart.is_on || r.cc.hystart.is_after_timeout);
			if (kinds[k] == TCP_CC_NEWRENO)
				continue;
			assert_int_equal(r.cc.prior_cwnd, before.prior_cwnd);
			assert_int_equal(r.cc.cubic.w_max, before.cubic.w_max);
			assert_int_equal(r.cc.cubic.k_us, before.cubic.k_us);
			assert_int_equal(r.cc.cubic.w_est, before.cubic.w_est);
			assert_int_equal(r.cc.cubic.t_us, before.cubic.t_us);
		}
	}
}

static void undo_in_slow_start_goes_on_with_hystart(void **state)
{
	struct rig r;

	rig_init(&r, TCP_CC_CUBIC);
	round_trip(&r, 50000);
	congest(&r);
	r.cc.ops->undo(&r.cc, r.a.now_us);
	assert_int_equal(r.cc.cwnd, 20 * MSS);
	assert_int_equal(r.cc.ssthresh, UINT32_MAX);
	assert_true(r.cc.hystart.is_on);
	round_trip(&r, 50000);
	assert_int_equal(r.cc.cwnd, 40 * MSS);
}

/* PRR reduces cwnd bit by bit. */
static void undo_at_once_restores_ssthresh(void **state)
{
	static const enum tcp_cc_kind kinds[] = {TCP_CC_NEWRENO, TCP_CC_CUBIC};

	for (size_t k = 0; k < 2; k++) {
		struct rig r;
		struct tcp_cc before;

		rig_init(&r, kinds[k]);
		r.cc.cwnd = 200 * MSS;
		congest(&r);
		round_trip(&r, 50000);
		before = r.cc;
		r.cc.ops->congested(&r.cc, r.cc.cwnd, MSS, r.a.now_us, false);
		assert_true(r.cc.ssthresh < before.ssthresh);
		r.cc.ops->undo(&r.cc, r.a.now_us);
		assert_int_equal(r.cc.cwnd, before.cwnd);
		assert_int_equal(r.cc.ssthresh, before.ssthresh);
	}
}

/* RFC 9438 4.9.2: too late, or nothing to undo. */
static void undo_changes_nothing_when_cwnd_has_passed_what_it_was(void **state)
{
	struct rig r;
	struct tcp_cc before;

	rig_init(&r, TCP_CC_CUBIC);
	r.cc.ops->undo(&r.cc, r.a.now_us);
	assert_int_equal(r.cc.cwnd, 10 * MSS);
	assert_int_equal(r.cc.ssthresh, UINT32_MAX);

	congest(&r);
	while (r.cc.cwnd <= 20 * MSS)
		round_trip(&r, 50000);
	before = r.cc;
	r.cc.ops->undo(&r.cc, r.a.now_us);
	before.prior_ssthresh = r.cc.prior_ssthresh;
	assert_memory_equal(&r.cc, &before, sizeof(before));
}

/* RFC 5681 4.1, RFC 2861 3.2. */
static void idle_time_halves_cwnd_for_each_rto(void **state)
{
	static const enum tcp_cc_kind kinds[] = {TCP_CC_NEWRENO, TCP_CC_CUBIC};

	for (size_t k = 0; k < 2; k++) {
		struct rig r;

		rig_init(&r, kinds[k]);
		r.cc.cwnd = 400 * MSS;
		r.cc.ssthresh = 100 * MSS;
		r.cc.ops->restart(&r.cc, MSS, 200000, 200000, r.a.now_us);
		assert_int_equal(r.cc.cwnd, 400 * MSS);
		assert_int_equal(r.cc.ssthresh, 100 * MSS);
		r.cc.ops->restart(&r.cc, MSS, 200000, 200001, r.a.now_us);
		assert_int_equal(r.cc.cwnd, 200 * MSS);
		assert_int_equal(r.cc.ssthresh, 300 * MSS);
		r.cc.ops->restart(&r.cc, MSS, 200000, 500000, r.a.now_us);
		assert_int_equal(r.cc.cwnd, 50 * MSS);
		r.cc.ops->restart(&r.cc, MSS, 200000, 3600000000ull, r.a.now_us);
		assert_int_equal(r.cc.cwnd, 10 * MSS);
		r.cc.cwnd = 3 * MSS;
		r.cc.ops->restart(&r.cc, MSS, 0, UINT64_MAX, r.a.now_us);
		assert_int_equal(r.cc.cwnd, 3 * MSS);
	}
}

static void pacing_is_twice_cwnd_in_slow_start_and_1_2_times_after(void **state)
{
	struct rig r;

	rig_init(&r, TCP_CC_CUBIC);
	assert_int_equal(r.cc.ops->pacing_rate(&r.cc, MSS, 0), 0);
	assert_int_equal(r.cc.ops->pacing_rate(&r.cc, MSS, 100000), 20 * 10 * MSS + 1);
	r.cc.ssthresh = 5 * MSS;
	assert_int_equal(r.cc.ops->pacing_rate(&r.cc, MSS, 100000), 12 * 10 * MSS + 1);
	assert_true(r.cc.ops->pacing_rate(&r.cc, MSS, UINT32_MAX) > 0);
}

/* A hand-made slow start: the RTT is rtt_us[i] in round i. Returns the round before which CSS was first seen, or n. */
static int feed_rtts(struct rig *r, const uint32_t *rtt_us, int n)
{
	int first = n;

	for (int i = 0; i < n; i++) {
		round_trip(r, rtt_us[i]);
		if (r->cc.hystart.css_baseline_us && first == n)
			first = i;
	}
	return first;
}

static void hystart_needs_the_threshold_of_rfc9406(void **state)
{
	/* an eighth of the RTT, 4 ms at least, 16 ms at most */
	static const struct {
		uint32_t rtt_us, thresh_us;
	} cases[] = {{1000, 4000}, {20000, 4000}, {32000, 4000}, {64000, 8000}, {128000, 16000}, {400000, 16000}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct rig r;
		uint32_t below[] = {cases[i].rtt_us, cases[i].rtt_us + cases[i].thresh_us - 1};
		uint32_t at[] = {cases[i].rtt_us, cases[i].rtt_us + cases[i].thresh_us};

		rig_init(&r, TCP_CC_CUBIC);
		assert_int_equal(feed_rtts(&r, below, 2), 2);
		rig_init(&r, TCP_CC_CUBIC);
		assert_int_equal(feed_rtts(&r, at, 2), 1);
	}
}

static void conservative_slow_start_ends_after_five_rounds(void **state)
{
	static const uint32_t rtts[] = {50000, 50000, 60000, 60000};
	struct rig r;
	uint32_t cwnd, n = 0;
	uint8_t rounds = 0;

	rig_init(&r, TCP_CC_CUBIC);
	assert_int_equal(feed_rtts(&r, rtts, 4), 3);
	cwnd = r.cc.cwnd;
	rounds = r.cc.hystart.css_rounds; /* the round in which it began counts, and may have ended */
	assert_in_range(rounds, 0, 1);
	for (r.a.rtt_us = 70000; r.cc.ssthresh == UINT32_MAX; n++) {
		uint32_t window_end = r.cc.hystart.window_end;

		ack(&r, MSS);
		rounds += r.cc.hystart.window_end != window_end;
	}
	assert_int_equal(rounds, 5);
	assert_in_range(r.cc.cwnd, cwnd + n * (MSS / 4), cwnd + n * (MSS / 4 + 1));
	assert_false(r.cc.hystart.is_on);
	assert_int_equal(r.cc.ssthresh, r.cc.prior_cwnd);
	cwnd = r.cc.cwnd;
	round_trip(&r, 70000); /* congestion avoidance: K 0, W_max here (RFC 9438 4.10) */
	assert_int_equal(r.cc.cubic.k_us, 0);
	assert_in_range(r.cc.cwnd, cwnd, cwnd + 2 * MSS);
}

static void slow_start_is_resumed_when_the_delay_was_jitter(void **state)
{
	static const uint32_t rtts[] = {50000, 50000, 60000, 60000};
	struct rig r;
	uint32_t cwnd;

	rig_init(&r, TCP_CC_CUBIC);
	assert_int_equal(feed_rtts(&r, rtts, 4), 3);
	round_trip(&r, 52000);
	assert_int_equal(r.cc.hystart.css_baseline_us, 0);
	cwnd = r.cc.cwnd;
	round_trip(&r, 52000);
	assert_in_range(r.cc.cwnd, 2 * cwnd - MSS, 2 * cwnd);
	assert_int_equal(r.cc.ssthresh, UINT32_MAX);
}

static void few_samples_do_not_end_slow_start(void **state)
{
	struct rig r;

	rig_init(&r, TCP_CC_CUBIC);
	round_trip(&r, 50000);
	r.a.rtt_us = 90000;
	for (int i = 0; i < 7; i++)
		ack(&r, MSS);
	r.a.rtt_us = 0; /* no sample, as for what was retransmitted */
	for (int i = 0; i < 13; i++)
		ack(&r, MSS);
	assert_int_equal(r.cc.hystart.css_baseline_us, 0);
}

static void set_wire(const struct cc_ops *ops, uint64_t mbit, uint32_t rtt_ms, double buffer_bdp)
{
	link_init(&wire, ops);
	wire.rate = mbit * 1000000 / 8;
	wire.rtt_us = rtt_ms * 1000;
	wire.queue_bytes = (uint64_t)(buffer_bdp * link_bdp(&wire));
}

static uint64_t lost_in_slow_start(enum tcp_cc_kind kind, double buffer_bdp, bool is_hystart)
{
	set_wire(cc_ops_of(kind), 100, 50, buffer_bdp);
	wire.cc.hystart.is_on = is_hystart;
	while (wire.cc.ssthresh == UINT32_MAX)
		link_run(&wire, 1000);
	link_run(&wire, 1000000);
	return wire.n_overflows;
}

/*
 * The delay is seen a round after it arose, with twice the window, and five
 * rounds of growth by a quarter follow: 2.25 to 4.5 BDP, times 3.
 */
static void hystart_leaves_slow_start_before_a_deep_buffer_overflows(void **state)
{
	static const enum tcp_cc_kind kinds[] = {TCP_CC_NEWRENO, TCP_CC_CUBIC};

	for (size_t k = 0; k < 2; k++) {
		assert_true(lost_in_slow_start(kinds[k], 12, false) > 1000);
		assert_int_equal(lost_in_slow_start(kinds[k], 12, true), 0);
		assert_in_range(wire.cc.ssthresh, 2 * link_bdp(&wire), 13 * link_bdp(&wire));
		/* In a buffer too short for that, it loses far less than slow start. */
		assert_true(lost_in_slow_start(kinds[k], 3, true) * 2 < lost_in_slow_start(kinds[k], 3, false));
	}
}

/* Without loss but the queue's own: one BDP of buffer is enough for CUBIC to use the link. */
static void a_window_algorithm_fills_a_link_without_random_loss(void **state)
{
	static const struct {
		enum tcp_cc_kind kind;
		int percent;
	} cases[] = {{TCP_CC_CUBIC, 95}, {TCP_CC_NEWRENO, 90}};

	for (size_t k = 0; k < 2; k++) {
		uint64_t before;

		set_wire(cc_ops_of(cases[k].kind), 50, 40, 1);
		link_run(&wire, 5000000);
		before = wire.delivered;
		link_run(&wire, 60000000);
		assert_true(wire.n_recoveries > 1);
		assert_int_equal(wire.n_timeouts, 0);
		assert_true((wire.delivered - before) * 100 >= wire.rate * 60 * cases[k].percent);
	}
}

/* Random ACKs, impossible ones among them: no overflow (the sanitizers watch), cwnd within bounds, always a rate. */
static uint64_t fuzz_seed = 1;

static uint64_t fuzz_random(void)
{
	fuzz_seed ^= fuzz_seed << 13;
	fuzz_seed ^= fuzz_seed >> 7;
	fuzz_seed ^= fuzz_seed << 17;
	return fuzz_seed;
}

/* Small, likely, or extreme. */
static uint64_t fuzz_value(uint64_t max)
{
	switch (fuzz_random() % 5) {
	case 0:
		return 0;
	case 1:
		return max;
	case 2:
		return fuzz_random() % 16 % (max + !!(max + 1));
	default:
		return (fuzz_random() >> fuzz_random() % 64) & max;
	}
}

static struct cc_ack fuzz_ack(uint64_t now_us, uint32_t mss)
{
	return (struct cc_ack){
		.now_us = now_us,
		.mss = mss,
		.acked = (uint32_t)fuzz_value(UINT32_MAX),
		.lost = (uint32_t)fuzz_value(UINT32_MAX),
		.prior_flying = (uint32_t)fuzz_value(UINT32_MAX),
		.flying = (uint32_t)fuzz_value(UINT32_MAX),
		.rtt_us = (uint32_t)fuzz_value(UINT32_MAX),
		.srtt_us = (uint32_t)fuzz_value(UINT32_MAX),
		.min_rtt_us = (uint32_t)fuzz_value(UINT32_MAX),
		.una = (uint32_t)fuzz_random(),
		.nxt = (uint32_t)fuzz_random(),
		.delivered = fuzz_value(UINT64_MAX),
		.is_cwnd_limited = fuzz_random() & 1,
		.is_recovering = fuzz_random() % 4 == 0,
		.rate = {.delivered = fuzz_value(UINT64_MAX),
			 .interval_us = (uint32_t)fuzz_value(UINT32_MAX),
			 .prior_delivered = fuzz_value(UINT64_MAX),
			 .tx_in_flight = (uint32_t)fuzz_value(UINT32_MAX),
			 .lost = (uint32_t)fuzz_value(UINT32_MAX),
			 .is_app_limited = fuzz_random() & 1},
		.loss = {.bytes = (uint32_t)fuzz_value(UINT32_MAX),
			 .tx_in_flight = (uint32_t)fuzz_value(UINT32_MAX),
			 .lost = (uint32_t)fuzz_value(UINT32_MAX),
			 .is_app_limited = fuzz_random() & 1},
	};
}

static void fuzz_one(const struct cc_ops *ops)
{
	static uint64_t block[64];
	struct tcp_cc cc;
	uint64_t now_us = fuzz_value(1ull << 50);
	uint32_t mss = (uint32_t)(64 + fuzz_random() % (fuzz_random() % 2 ? 1400 : 65400));

	cc_init(&cc, ops, ops->state_bytes ? block : NULL, mss, now_us);
	for (int i = 0; i < 200; i++) {
		uint32_t flying = (uint32_t)fuzz_value(UINT32_MAX);
		struct cc_ack a = fuzz_ack(now_us, mss);

		switch (fuzz_random() % 16) {
		case 0:
			ops->congested(&cc, flying, mss, now_us, fuzz_random() & 1);
			break;
		case 1:
			ops->timeout(&cc, flying, mss, now_us);
			break;
		case 2:
			ops->undo(&cc, now_us);
			break;
		case 3:
			ops->restart(&cc, mss, (uint32_t)fuzz_value(UINT32_MAX), fuzz_value(UINT64_MAX), now_us);
			break;
		default:
			ops->acked(&cc, &a);
		}
		assert_in_range(cc.cwnd, mss, CC_CWND_MAX);
		assert_true(cc.ssthresh >= 2 * mss);
		assert_true(ops->pacing_rate(&cc, mss, a.srtt_us) > 0 || (a.srtt_us == 0 && !ops->owns_cwnd));
		now_us += fuzz_value(1ull << 40);
	}
}

static void any_ack_leaves_cwnd_within_bounds(void **state)
{
	static const enum tcp_cc_kind kinds[] = {TCP_CC_NEWRENO, TCP_CC_CUBIC, TCP_CC_BBR};

	for (int i = 0; i < 5000; i++)
		for (size_t k = 0; k < 3; k++)
			fuzz_one(cc_ops_of(kinds[k]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(initial_window_is_that_of_rfc6928),
		cmocka_unit_test(kinds_have_their_names_and_the_default_is_cubic),
		cmocka_unit_test(slow_start_doubles_in_each_round_trip),
		cmocka_unit_test(slow_start_stops_at_ssthresh),
		cmocka_unit_test(a_stretched_ack_grows_slow_start_by_its_limit),
		cmocka_unit_test(a_window_that_is_not_used_does_not_grow),
		cmocka_unit_test(newreno_grows_by_a_segment_for_each_window),
		cmocka_unit_test(ssthresh_is_two_segments_at_least),
		cmocka_unit_test(nothing_grows_in_fast_recovery_but_slow_start_does_after_a_timeout),
		cmocka_unit_test(ecn_reduces_cwnd_down_to_one_segment),
		cmocka_unit_test(undo_is_exact),
		cmocka_unit_test(undo_at_once_restores_ssthresh),
		cmocka_unit_test(undo_in_slow_start_goes_on_with_hystart),
		cmocka_unit_test(undo_changes_nothing_when_cwnd_has_passed_what_it_was),
		cmocka_unit_test(idle_time_halves_cwnd_for_each_rto),
		cmocka_unit_test(pacing_is_twice_cwnd_in_slow_start_and_1_2_times_after),
		cmocka_unit_test(hystart_needs_the_threshold_of_rfc9406),
		cmocka_unit_test(conservative_slow_start_ends_after_five_rounds),
		cmocka_unit_test(slow_start_is_resumed_when_the_delay_was_jitter),
		cmocka_unit_test(few_samples_do_not_end_slow_start),
		cmocka_unit_test(hystart_leaves_slow_start_before_a_deep_buffer_overflows),
		cmocka_unit_test(a_window_algorithm_fills_a_link_without_random_loss),
		cmocka_unit_test(any_ack_leaves_cwnd_within_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
