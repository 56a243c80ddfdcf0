/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BBR: pacing rate and window from the model and the state (5.6), and the
 * calls of struct cc_ops. BBR owns cwnd, in recovery, too.
 *
 * ECN: the draft leaves the answer open, but wants any CE mark taken as
 * congestion (3.7). Here it is what loss is, once a window: it ends a probe
 * (Startup or ProbeBW_UP), and else lowers the short-term model.
 */
#include "tcp/cc_bbr_pvt.h"

#include <assert.h>

static_assert(sizeof(struct bbr) <= 320, "state of a connection");

#define PACING_MARGIN_PERCENT 1
#define STARTUP_PACING_GAIN 277
#define NOMINAL_RTT_US 1000 /* 5.6.2, before there is a sample */
#define QUANTUM_MAX 65536u
#define QUANTUM_US 1000u /* 5.6.3: a quantum is what is sent in 1 ms */

/* 5.6.1. */
static const struct {
	uint16_t pacing_percent, cwnd_percent;
} gains[] = {
	[BBR_STARTUP] = {STARTUP_PACING_GAIN, 200},
	[BBR_DRAIN] = {50, 200},
	[BBR_PROBE_BW_DOWN] = {90, 200},
	[BBR_PROBE_BW_CRUISE] = {100, 200},
	[BBR_PROBE_BW_REFILL] = {100, 200},
	[BBR_PROBE_BW_UP] = {125, 225},
	[BBR_PROBE_RTT] = {100, 50},
};

uint32_t bbr_bdp(const struct bbr *b, uint64_t bw, uint32_t gain_percent)
{
	uint64_t bdp;

	if (b->min_rtt_us == UINT32_MAX)
		return b->init_cwnd;
	bdp = (bw < BBR_BW_MAX ? bw : BBR_BW_MAX) * cc_min(b->min_rtt_us, BBR_RTT_MAX_US) / 1000000;
	if (bdp > CC_CWND_MAX)
		bdp = CC_CWND_MAX;
	return (uint32_t)(bdp * gain_percent / 100);
}

/* 5.6.3 and 5.5.8.1: three quanta on the way through both hosts. */
static uint32_t offload_budget(const struct bbr *b)
{
	uint64_t quantum = b->pacing_rate * QUANTUM_US / 1000000;

	return 3 * cc_max(quantum < QUANTUM_MAX ? (uint32_t)quantum : QUANTUM_MAX, 2 * b->mss);
}

uint32_t bbr_quantize(const struct bbr *b, uint32_t inflight)
{
	inflight = cc_max(inflight, cc_max(offload_budget(b), bbr_min_pipe_cwnd(b)));
	return b->state == BBR_PROBE_BW_UP ? inflight + 2 * b->mss : inflight;
}

uint32_t bbr_inflight(const struct bbr *b, uint64_t bw, uint32_t gain_percent)
{
	return bbr_quantize(b, bbr_bdp(b, bw, gain_percent));
}

uint32_t bbr_target_inflight(const struct tcp_cc *cc)
{
	const struct bbr *b = bbr_of(cc);

	return cc_min(bbr_bdp(b, b->bw, 100), cc->cwnd);
}

void bbr_save_cwnd(struct tcp_cc *cc)
{
	const struct bbr *b = bbr_of(cc);

	if (!b->is_recovering && b->state != BBR_PROBE_RTT)
		cc->prior_cwnd = cc->cwnd;
	else
		cc->prior_cwnd = cc_max(cc->prior_cwnd, cc->cwnd);
}

void bbr_restore_cwnd(struct tcp_cc *cc)
{
	cc->cwnd = cc_max(cc->cwnd, cc->prior_cwnd);
}

/* 5.6.2. Never 0, which would mean not paced: a segment a second at least. */
static void set_pacing_rate(struct bbr *b, uint32_t gain_percent)
{
	uint64_t rate = b->bw * gain_percent / 100 * (100 - PACING_MARGIN_PERCENT) / 100;

	if (rate < b->mss)
		rate = b->mss;
	if (b->full_bw_reached || rate > b->pacing_rate)
		b->pacing_rate = rate;
}

static uint64_t initial_rate(const struct bbr *b, uint32_t srtt_us)
{
	return (uint64_t)b->init_cwnd * STARTUP_PACING_GAIN * (1000000 / 100) / (srtt_us ? srtt_us : NOMINAL_RTT_US) +
	       1;
}

/* 5.6.4.7. */
static uint32_t cap_of_model(const struct bbr *b)
{
	uint32_t cap = BBR_INFINITE;

	if (b->state == BBR_PROBE_RTT || b->state == BBR_PROBE_BW_CRUISE)
		cap = bbr_inflight_with_headroom(b);
	else if (bbr_is_probe_bw(b))
		cap = b->inflight_longterm;
	return cc_max(cc_min(cap, b->inflight_shortterm), bbr_min_pipe_cwnd(b));
}

/* 5.6.4.6. */
static void set_cwnd(struct tcp_cc *cc, const struct cc_ack *a)
{
	struct bbr *b = bbr_of(cc);
	uint32_t extra = cc_max(b->extra_acked[0], b->extra_acked[1]);
	uint32_t max_inflight = bbr_quantize(b, bbr_bdp(b, b->bw, gains[b->state].cwnd_percent) + extra);

	if (b->full_bw_reached || cc->cwnd < max_inflight || a->delivered < b->init_cwnd)
		cc_grow(cc, a->acked);
	if (b->full_bw_reached)
		cc->cwnd = cc_min(cc->cwnd, max_inflight);
	cc->cwnd = cc_max(cc->cwnd, bbr_min_pipe_cwnd(b));
	if (b->state == BBR_PROBE_RTT)
		cc->cwnd = cc_min(cc->cwnd, bbr_probe_rtt_cwnd(b));
	cc->cwnd = cc_min(cc->cwnd, cap_of_model(b));
}

/* 5.2.3. */
static void acked(struct tcp_cc *cc, const struct cc_ack *a)
{
	struct bbr *b = bbr_of(cc);
	struct bbr_ack s = bbr_sample(b, a);

	b->mss = a->mss;
	b->delivered = a->delivered;
	if (b->pacing_rate == 0 && a->srtt_us)
		b->pacing_rate = initial_rate(b, a->srtt_us);
	if (b->is_recovering && !a->is_recovering)
		bbr_restore_cwnd(cc);
	b->is_recovering = a->is_recovering;

	bbr_update_model(cc, &s);
	bbr_update_state(cc, &s);
	bbr_update_min_rtt(b, a);
	bbr_check_probe_rtt(cc, &s);
	bbr_finish_model(b, &s);

	if (b->bw)
		set_pacing_rate(b, gains[b->state].pacing_percent);
	set_cwnd(cc, a);
}

static void init(struct tcp_cc *cc, uint32_t mss, uint64_t now_us)
{
	struct bbr *b = bbr_of(cc);

	b->mss = mss;
	b->init_cwnd = cc->cwnd;
	b->min_rtt_us = UINT32_MAX;
	b->probe_rtt_min_us = UINT32_MAX;
	b->min_rtt_stamp_us = now_us;
	b->probe_rtt_min_stamp_us = now_us;
	b->extra_acked_start_us = now_us;
	b->undo_state = BBR_STATE_NONE;
	b->inflight_longterm = BBR_INFINITE;
	b->probe_up_acked_per_inc = BBR_INFINITE;
	b->ack_phase = BBR_ACKS_INIT;
	bbr_reset_short_term_model(b);
	bbr_enter_startup(b);
}

static void congested(struct tcp_cc *cc, uint32_t flying, uint32_t mss, uint64_t now_us, bool is_ecn)
{
	struct bbr *b = bbr_of(cc);

	b->mss = mss;
	bbr_save_state_upon_loss(cc);
	if (!is_ecn) {
		b->is_recovering = true;
		return;
	}
	bbr_note_loss(cc);
	if (b->state == BBR_STARTUP)
		bbr_startup_too_high(b);
	else if (b->is_bw_probe_sample)
		bbr_handle_inflight_too_high(cc, flying, b->is_app_limited, now_us);
}

/* 5.6.4.4. Everything in flight is given up, so what may be sent is one segment. */
static void timeout(struct tcp_cc *cc, uint32_t flying, uint32_t mss, uint64_t now_us)
{
	struct bbr *b = bbr_of(cc);

	b->mss = mss;
	bbr_save_state_upon_loss(cc);
	b->is_recovering = true;
	bbr_note_loss(cc);
	cc->cwnd = mss;
}

/* 5.5.11.2. */
static void undo(struct tcp_cc *cc, uint64_t now_us)
{
	struct bbr *b = bbr_of(cc);

	bbr_restore_cwnd(cc);
	b->is_recovering = false;
	b->is_loss_in_round = false;
	bbr_reset_full_bw(b);
	if (b->undo_bw_shortterm > b->bw_shortterm)
		b->bw_shortterm = b->undo_bw_shortterm;
	b->inflight_shortterm = cc_max(b->inflight_shortterm, b->undo_inflight_shortterm);
	b->inflight_longterm = cc_max(b->inflight_longterm, b->undo_inflight_longterm);
	if (b->undo_state == BBR_STARTUP && b->state != BBR_STARTUP) {
		b->full_bw_reached = false;
		if (b->state != BBR_PROBE_RTT)
			bbr_enter_startup(b);
	} else if (b->undo_state == BBR_PROBE_BW_UP && b->state != BBR_PROBE_BW_UP && b->state != BBR_PROBE_RTT) {
		bbr_start_refill(b);
	}
	b->undo_state = BBR_STATE_NONE;
}

/* 5.4.1. */
static void restart(struct tcp_cc *cc, uint32_t mss, uint32_t rto_us, uint64_t idle_us, uint64_t now_us)
{
	struct bbr *b = bbr_of(cc);

	b->mss = mss;
	b->idle_restart = true;
	b->extra_acked_start_us = now_us;
	if (bbr_is_probe_bw(b))
		set_pacing_rate(b, 100);
	else if (b->state == BBR_PROBE_RTT)
		bbr_check_probe_rtt_done(cc, now_us);
}

static uint64_t pacing_rate(const struct tcp_cc *cc, uint32_t mss, uint32_t srtt_us)
{
	const struct bbr *b = bbr_of(cc);

	return b->pacing_rate ? b->pacing_rate : initial_rate(b, srtt_us);
}

const struct cc_ops cc_ops_bbr = {
	.name = "bbr",
	.owns_cwnd = true,
	.state_bytes = sizeof(struct bbr),
	.init = init,
	.acked = acked,
	.congested = congested,
	.timeout = timeout,
	.undo = undo,
	.restart = restart,
	.pacing_rate = pacing_rate,
};
