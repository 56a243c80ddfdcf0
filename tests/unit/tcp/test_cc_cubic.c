/* SPDX-License-Identifier: Apache-2.0 */
/* CUBIC (RFC 9438; section numbers are its) against a model of the RFC's text in long double. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "cc_rig.h"

static void check_root(uint64_t x)
{
	uint64_t rem;
	uint64_t r = cc_cube_root(x, &rem);
	unsigned __int128 next = (unsigned __int128)(r + 1) * (r + 1) * (r + 1);

	assert_true(r * r * r <= x && next > x);
	assert_int_equal(rem, x - r * r * r);
}

static void cube_root_is_exact(void **state)
{
	uint64_t x = 88172645463325252;

	for (uint64_t r = 1; r <= 2642245; r += r < 5000 ? 1 : 997) {
		check_root(r * r * r - 1);
		check_root(r * r * r);
		check_root(r * r * r + 1);
	}
	check_root(0);
	check_root(UINT64_MAX);
	check_root(2642245ull * 2642245 * 2642245);
	check_root(2642245ull * 2642245 * 2642245 - 1);
	for (int i = 0; i < 100000; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		check_root(x >> (i % 64));
		assert_int_equal(cc_cube_root(x >> 11, &(uint64_t){0}), (uint64_t)cbrtl((long double)(x >> 11)));
	}
}

static void k_matches_the_long_double_model(void **state)
{
	static const uint32_t sizes[] = {48, 536, 1220, 1448, 8948, 65535};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		for (uint64_t gap = 0; gap <= CC_CWND_MAX; gap += 1 + gap / 7) {
			long double k = cbrtl((long double)gap / sizes[i] / 0.4L) * 1e6L;

			assert_true(fabsl(k - cc_cubic_k_us((uint32_t)gap, sizes[i])) <= 3 + k * 1e-6L);
		}
	}
}

static void window_function_matches_the_long_double_model(void **state)
{
	static const uint32_t sizes[] = {48, 536, 1448, 8948, 65535};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		for (uint32_t w_max = 10 * sizes[i]; w_max <= CC_CWND_MAX / 2; w_max *= 3) {
			uint32_t k = cc_cubic_k_us(w_max - w_max / 10 * 7, sizes[i]);

			for (uint64_t t = 0; t < 3ull * k; t += 1 + k / 50) {
				long double d = ((long double)t - k) / 1e6L;
				long double w = 0.4L * d * d * d * sizes[i] + w_max;

				if (w > CC_CWND_MAX)
					w = CC_CWND_MAX;
				assert_true(fabsl(w - cc_cubic_window(w_max, k, t, sizes[i])) < 2 + w * 1e-6L);
			}
		}
	}
	assert_int_equal(cc_cubic_window(1000000, 0, UINT64_MAX, 1448), CC_CWND_MAX);
	assert_int_equal(cc_cubic_window(1000, UINT32_MAX, 0, 1448), 0);
}

/* RFC 9438 4 as it is written, in segments and seconds. */
struct model {
	long double cwnd, cwnd_prior, w_max, k, w_est, t;
};

static void model_begin(struct model *m, long double cwnd, long double w_max, long double cwnd_prior)
{
	m->cwnd = m->w_est = cwnd;
	m->w_max = w_max;
	m->cwnd_prior = cwnd_prior;
	m->k = cbrtl((w_max - cwnd) / 0.4L);
	m->t = 0;
}

static long double model_window(const struct model *m, long double t)
{
	return 0.4L * powl(t - m->k, 3) + m->w_max;
}

static void model_ack(struct model *m, long double segments, long double elapsed, long double rtt)
{
	long double alpha = m->w_est >= m->cwnd_prior ? 1 : 3 * 0.3L / 1.7L;
	long double target;

	m->t += elapsed;
	target = model_window(m, m->t + rtt);
	m->w_est += alpha * segments / m->cwnd;
	if (model_window(m, m->t) < m->w_est) {
		m->cwnd = fmaxl(m->cwnd, m->w_est);
		return;
	}
	target = fmaxl(fminl(target, 1.5L * m->cwnd), m->cwnd);
	m->cwnd += segments * (target - m->cwnd) / m->cwnd;
}

/* Runs CUBIC and the model side by side for seconds after a loss at cwnd segments; returns the largest distance. */
static long double run_beside_model(uint32_t cwnd, uint32_t rtt_us, uint64_t us)
{
	struct rig r;
	struct model m;
	long double worst = 0;
	const uint32_t per_rtt = 20;

	rig_init(&r, TCP_CC_CUBIC);
	r.a.srtt_us = rtt_us;
	r.cc.cwnd = cwnd * MSS;
	congest(&r);
	model_begin(&m, (long double)r.cc.cwnd / MSS, cwnd, cwnd);
	ack(&r, 0);
	for (uint64_t t = 0; t < us && r.cc.cwnd < CC_CWND_MAX / 2; t += rtt_us / per_rtt) {
		uint32_t n = r.cc.cwnd / per_rtt;

		r.a.now_us += rtt_us / per_rtt;
		ack(&r, n);
		model_ack(&m, (long double)n / MSS, (rtt_us / per_rtt) / 1e6L, rtt_us / 1e6L);
		worst = fmaxl(worst, fabsl(m.cwnd - (long double)r.cc.cwnd / MSS));
	}
	return worst;
}

static void cubic_follows_the_long_double_model_within_a_segment(void **state)
{
	static const uint32_t rtts_us[] = {200, 1000, 10000, 50000, 100000, 300000, 10000000};
	static const uint32_t windows[] = {4, 10, 40, 100, 400, 1000, 4000, 10000, 20000};

	for (size_t i = 0; i < sizeof(rtts_us) / sizeof(*rtts_us); i++) {
		for (size_t j = 0; j < sizeof(windows) / sizeof(*windows); j++) {
			uint64_t k_us = cc_cubic_k_us(windows[j] * MSS * 3ull / 10, MSS);
			uint64_t us = 2 * k_us + 10ull * rtts_us[i];
			uint64_t most_us = 3000ull * rtts_us[i];
			long double worst = run_beside_model(windows[j], rtts_us[i], us < most_us ? us : most_us);

			if (worst > 1)
				fail_msg("rtt %u us, window %u: %.3Lf segments off", rtts_us[i], windows[j], worst);
		}
	}
}

/* RFC 9438 table 1 has the same plateau: cwnd is back at W_max after K, and goes beyond slowly at first. */
static void cubic_is_concave_then_convex(void **state)
{
	struct rig r;
	uint32_t k_ms, last = 0, slope_at_start, slope_at_k, slope_at_end;

	rig_init(&r, TCP_CC_CUBIC);
	r.a.srtt_us = 100000;
	r.cc.cwnd = 2000 * MSS;
	congest(&r);
	round_trip(&r, 100000);
	k_ms = r.cc.cubic.k_us / 1000;
	assert_in_range(k_ms, 11400, 11500); /* cbrt(600 / 0.4) = 11.447 */
	last = r.cc.cwnd;
	round_trip(&r, 100000);
	slope_at_start = r.cc.cwnd - last;
	while (r.cc.cubic.t_us / 1000 < k_ms)
		round_trip(&r, 100000);
	assert_in_range(r.cc.cwnd, 1999 * MSS, 2001 * MSS);
	last = r.cc.cwnd;
	round_trip(&r, 100000);
	slope_at_k = r.cc.cwnd - last;
	while (r.cc.cubic.t_us / 1000 < 2 * k_ms)
		round_trip(&r, 100000);
	last = r.cc.cwnd;
	round_trip(&r, 100000);
	slope_at_end = r.cc.cwnd - last;
	assert_true(slope_at_k < slope_at_start / 4 && slope_at_k < slope_at_end / 4);
}

/* 4.7. */
static void fast_convergence_gives_way_when_the_window_shrank(void **state)
{
	struct rig r;

	rig_init(&r, TCP_CC_CUBIC);
	r.cc.cwnd = 1000 * MSS;
	congest(&r);
	assert_int_equal(r.cc.ssthresh, 700 * MSS);
	assert_int_equal(r.cc.cubic.w_max, 1000 * MSS);
	congest(&r);
	assert_int_equal(r.cc.ssthresh, 490 * MSS);
	assert_int_equal(r.cc.cubic.w_max, 700 * MSS * 17 / 20);
	r.cc.cwnd = 800 * MSS;
	congest(&r);
	assert_int_equal(r.cc.cubic.w_max, 800 * MSS);
}

/* 4.6 with RFC 7661: an old, unused window is not what the network has carried. */
static void an_unused_window_does_not_count_at_a_loss(void **state)
{
	struct rig r;

	rig_init(&r, TCP_CC_CUBIC);
	r.cc.cwnd = 1000 * MSS;
	r.cc.ops->congested(&r.cc, 500 * MSS, MSS, r.a.now_us, false);
	assert_int_equal(r.cc.ssthresh, 700 * MSS);
	rig_init(&r, TCP_CC_CUBIC);
	r.cc.cwnd = 1000 * MSS;
	r.cc.ops->congested(&r.cc, 100 * MSS, MSS, r.a.now_us, false);
	assert_int_equal(r.cc.ssthresh, 70 * MSS);
	assert_int_equal(r.cc.cubic.w_max, 100 * MSS);
}

/* 4.3: 9/17 segments in each RTT up to cwnd_prior, one in each after it. */
static void friendly_region_is_aimd(void **state)
{
	struct rig r;
	double expect = 28;

	rig_init(&r, TCP_CC_CUBIC);
	r.a.srtt_us = 1000;
	r.cc.cwnd = 40 * MSS;
	congest(&r);
	assert_int_equal(r.cc.cwnd, 28 * MSS);
	for (int i = 0; i < 200; i++) {
		uint32_t acked = 0;

		/* exactly a window */
		for (uint32_t cwnd = r.cc.cwnd; acked < cwnd; acked += MSS) {
			r.a.now_us += 30;
			ack(&r, cwnd - acked < MSS ? cwnd - acked : MSS);
		}
		expect += expect < 40 ? 9.0 / 17 : 1;
		if (fabs(expect - (double)r.cc.cwnd / MSS) > 1.5)
			fail_msg("after %d round trips: %.2f, not %.2f", i, (double)r.cc.cwnd / MSS, expect);
	}
	assert_true(expect > 200);
}

/* 4.2 and 5.8. */
static void time_that_the_application_did_not_use_does_not_count(void **state)
{
	struct rig r;
	struct rig busy;

	rig_init(&r, TCP_CC_CUBIC);
	r.cc.cwnd = 1000 * MSS;
	congest(&r);
	round_trip(&r, 50000);
	busy = r;
	r.a.is_cwnd_limited = false;
	r.a.acked = 10 * MSS;
	r.a.prior_flying = r.cc.cwnd / 2;
	for (int i = 0; i < 200; i++) {
		r.a.now_us += 50000;
		r.cc.ops->acked(&r.cc, &r.a);
	}
	assert_int_equal(r.cc.cwnd, busy.cc.cwnd);
	r.a.is_cwnd_limited = true;
	r.cc.ops->restart(&r.cc, MSS, 10000000, 5000000, r.a.now_us += 5000000); /* idle, less than an RTO */
	for (int i = 0; i < 20; i++) {
		round_trip(&r, 50000);
		round_trip(&busy, 50000);
		assert_int_equal(r.cc.cwnd, busy.cc.cwnd);
	}
}

/* 4.8: K is 0 and W_max where congestion avoidance begins. */
static void after_a_timeout_the_curve_begins_at_its_plateau(void **state)
{
	struct rig r;

	rig_init(&r, TCP_CC_CUBIC);
	r.cc.cwnd = 120 * MSS;
	congest(&r);
	r.cc.cwnd = 100 * MSS;
	r.cc.ops->timeout(&r.cc, 100 * MSS, MSS, r.a.now_us);
	assert_int_equal(r.cc.cwnd, MSS);
	assert_int_equal(r.cc.ssthresh, 70 * MSS);
	while (r.cc.cwnd < r.cc.ssthresh)
		round_trip(&r, 50000);
	ack(&r, MSS);
	assert_int_equal(r.cc.cubic.k_us, 0);
	assert_in_range(r.cc.cubic.w_max, 70 * MSS, 71 * MSS);
	assert_int_equal(r.cc.prior_cwnd, 100 * MSS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cube_root_is_exact),
		cmocka_unit_test(k_matches_the_long_double_model),
		cmocka_unit_test(window_function_matches_the_long_double_model),
		cmocka_unit_test(cubic_follows_the_long_double_model_within_a_segment),
		cmocka_unit_test(cubic_is_concave_then_convex),
		cmocka_unit_test(fast_convergence_gives_way_when_the_window_shrank),
		cmocka_unit_test(an_unused_window_does_not_count_at_a_loss),
		cmocka_unit_test(friendly_region_is_aimd),
		cmocka_unit_test(time_that_the_application_did_not_use_does_not_count),
		cmocka_unit_test(after_a_timeout_the_curve_begins_at_its_plateau),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
