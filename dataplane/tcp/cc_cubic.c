/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CUBIC (RFC 9438). The window follows C*(t-K)^3 + W_max in the time since
 * congestion avoidance began, or what Reno would have, if that is more.
 * All in integers: C is 0.4 segments/s^3, beta 0.7, alpha 9/17.
 *
 * ECN is answered as loss is, with beta 0.7 (4.6). The milder 0.85 of RFC 8511
 * is an experiment for AQMs with a shallow threshold.
 */
#include "tcp/cc_pvt.h"

/* 4.6 and 4.7: beta, and (1 + beta) / 2 of fast convergence. */
#define BETA(w) ((uint32_t)((uint64_t)(w) * 7 / 10))
#define FAST_CONVERGENCE(w) ((uint32_t)((uint64_t)(w) * 17 / 20))
/* 4.3: alpha = 3 * (1 - beta) / (1 + beta) = 9/17. */
#define ALPHA_NUM 9
#define ALPHA_DEN 17

/* Times are cut here: (2^28 us)^3 / 2^20 just fits 64 bits, and no window takes 268 s to grow. */
#define T_MAX_US ((1u << 28) - 1)
/* 1e18 us^3 in a s^3, / 0.4 / 2^40. */
#define CUBE_PER_BYTE 2273737u

uint32_t cc_cube_root(uint64_t x, uint64_t *rem)
{
	uint64_t root = 0;

	/* Digit by digit, base 2: (2r + 1)^3 - (2r)^3 = 3 * 2r * (2r + 1) + 1. */
	for (int shift = 63; shift >= 0; shift -= 3) {
		uint64_t step;

		root *= 2;
		step = 3 * root * (root + 1) + 1;
		if (x >> shift >= step) {
			x -= step << shift;
			root++;
		}
	}
	*rem = x;
	return (uint32_t)root;
}

/*
 * K^3 = gap / (C * mss) s^3. The root is taken of 2^33 times that, so it is in
 * units of 2^-11 s, with 10 bits more by interpolation to the next integer.
 */
uint32_t cc_cubic_k_us(uint32_t gap, uint32_t mss)
{
	uint64_t rem, root = cc_cube_root(((uint64_t)cc_min(gap, CC_CWND_MAX) * 5 << 33) / (2 * (uint64_t)mss), &rem);
	uint64_t fraction = (rem << 10) / (3 * root * (root + 1) + 1);

	return (uint32_t)(((root << 10) + fraction) * 1000000 >> 21);
}

uint32_t cc_cubic_window(uint32_t w_max, uint32_t k_us, uint64_t t_us, uint32_t mss)
{
	uint64_t d = t_us < k_us ? k_us - t_us : t_us - k_us;
	uint64_t delta;

	if (d > T_MAX_US)
		d = T_MAX_US;
	delta = ((d * d >> 20) * d >> 20) * cc_min(mss, UINT16_MAX) / CUBE_PER_BYTE;
	if (t_us < k_us)
		return delta < w_max ? w_max - (uint32_t)delta : 0;
	return w_max + delta < CC_CWND_MAX ? w_max + (uint32_t)delta : CC_CWND_MAX;
}

/*
 * 4.6 wants the flight size, or cwnd if that grows only when it is used, as it
 * does here. cwnd is the better measure then, since what is lost or SACKed is
 * missing in flying; but half of it at least must have been used (RFC 7661 4.3).
 */
static uint32_t window_in_use(const struct tcp_cc *cc, uint32_t flying)
{
	return flying >= cc->cwnd / 2 ? cc->cwnd : flying;
}

static void init(struct tcp_cc *cc, uint32_t mss, uint64_t now_us)
{
	cc->cubic.last_us = now_us;
	cc_hystart_init(&cc->hystart);
}

/* After a timeout, and after HyStart++, W_max is where the stage begins, and K is 0 (4.8, 4.10). */
static void begin_stage(struct tcp_cc *cc, uint32_t mss)
{
	struct cc_cubic *q = &cc->cubic;

	q->w_max = cc_max(q->w_max, cc->cwnd);
	q->k_us = cc_cubic_k_us(q->w_max - cc->cwnd, mss);
	q->t_us = 0;
	q->w_est = cc->cwnd;
	q->est_rest = 0;
	cc->acked = 0;
}

/* 4.3: the window that Reno would have. est_rest keeps the part of a byte, in units of 1/(17 cwnd). */
static void update_reno_window(struct tcp_cc *cc, uint32_t n, uint32_t mss)
{
	struct cc_cubic *q = &cc->cubic;
	uint32_t alpha = q->w_est < cc->prior_cwnd ? ALPHA_NUM : ALPHA_DEN;
	uint64_t bytes = (uint64_t)n * mss * alpha + q->est_rest;
	uint64_t unit = (uint64_t)cc->cwnd * ALPHA_DEN;

	q->est_rest = (uint32_t)(bytes % unit);
	q->w_est = cc_min(q->w_est + cc_min((uint32_t)(bytes / unit), mss), CC_CWND_MAX);
}

/* 4.4, 4.5: (target - cwnd) / cwnd for each segment. acked keeps the part of a byte, in units of 1/cwnd. */
static void approach(struct tcp_cc *cc, uint32_t target, uint32_t n)
{
	uint64_t bytes = (uint64_t)n * (target - cc->cwnd) + cc->acked;

	cc->acked = (uint32_t)(bytes % cc->cwnd);
	cc_grow(cc, (uint32_t)(bytes / cc->cwnd));
}

static void avoid_congestion(struct tcp_cc *cc, const struct cc_ack *a, uint32_t n)
{
	struct cc_cubic *q = &cc->cubic;
	uint32_t target = cc_cubic_window(q->w_max, q->k_us, (uint64_t)q->t_us + a->srtt_us, a->mss);

	update_reno_window(cc, n, a->mss);
	if (cc_cubic_window(q->w_max, q->k_us, q->t_us, a->mss) < q->w_est) {
		cc->cwnd = cc_max(cc->cwnd, q->w_est);
		return;
	}
	target = cc_min(target, cc->cwnd + cc->cwnd / 2); /* 4.2 */
	if (target > cc->cwnd)
		approach(cc, target, n);
}

static void acked(struct tcp_cc *cc, const struct cc_ack *a)
{
	struct cc_cubic *q = &cc->cubic;
	uint64_t elapsed_us = a->now_us - q->last_us;
	uint32_t n = cc_min(a->acked, cc->cwnd);
	bool is_used = cc_is_window_used(cc, a);

	q->last_us = a->now_us;
	if (!cc_may_grow(cc, a))
		return;
	if (cc_in_slow_start(cc))
		n = cc_slow_start(cc, a);
	if (cc_in_slow_start(cc))
		return;
	if (q->w_est == 0)
		begin_stage(cc, a->mss);
	else if (is_used) /* 4.2, 5.8: t leaves out what the application did not use */
		q->t_us = (uint32_t)(elapsed_us < T_MAX_US - q->t_us ? q->t_us + elapsed_us : T_MAX_US);
	if (is_used)
		avoid_congestion(cc, a, n);
}

static void keep(struct tcp_cc *cc)
{
	struct cc_cubic *q = &cc->cubic;

	q->prior_t_us = q->t_us;
	q->prior_k_us = q->k_us;
	q->prior_w_max = q->w_max;
	q->prior_w_est = q->w_est;
	q->prior_cwnd_prior = cc->prior_cwnd;
	q->w_est = 0;
}

static void congested(struct tcp_cc *cc, uint32_t flying, uint32_t mss, uint64_t now_us, bool is_ecn)
{
	uint32_t w = window_in_use(cc, flying);

	keep(cc);
	cc->cubic.w_max = w < cc->cubic.w_max ? FAST_CONVERGENCE(w) : w;
	cc_react(cc, BETA(w), mss, is_ecn);
}

static void timeout(struct tcp_cc *cc, uint32_t flying, uint32_t mss, uint64_t now_us)
{
	keep(cc);
	cc->cubic.w_max = 0; /* 4.8 */
	cc_react_timeout(cc, BETA(window_in_use(cc, flying)), mss);
}

/*
 * 4.9. Where the RFC restores t_epoch, here t_us goes on from where it was: the
 * curve does not jump by the time that the useless recovery took.
 */
static void undo(struct tcp_cc *cc, uint64_t now_us)
{
	struct cc_cubic *q = &cc->cubic;

	if (!cc_undo_reaction(cc))
		return;
	q->t_us = q->prior_t_us;
	q->k_us = q->prior_k_us;
	q->w_max = q->prior_w_max;
	q->w_est = q->prior_w_est;
	cc->prior_cwnd = q->prior_cwnd_prior;
	q->last_us = now_us;
}

static void restart(struct tcp_cc *cc, uint32_t mss, uint32_t rto_us, uint64_t idle_us, uint64_t now_us)
{
	cc->cubic.last_us = now_us; /* 4.2: t leaves out idle time */
	cc_restart_idle(cc, mss, rto_us, idle_us);
}

const struct cc_ops cc_ops_cubic = {
	.name = "cubic",
	.init = init,
	.acked = acked,
	.congested = congested,
	.timeout = timeout,
	.undo = undo,
	.restart = restart,
	.pacing_rate = cc_window_rate,
};
