/* SPDX-License-Identifier: Apache-2.0 */
/* BBR: the state machine (5.3). Startup > Drain > ProbeBW (DOWN > CRUISE > REFILL > UP), and ProbeRTT from anywhere. */
#include "tcp/cc_bbr_pvt.h"

#define STARTUP_FULL_LOSS_COUNT 6
#define DRAIN_ROUNDS 3
#define HEADROOM_PERCENT 15
#define BETA_PERCENT 70
#define PROBE_RTT_CWND_GAIN 50
#define PROBE_RTT_DURATION_US 200000u
#define PROBE_WAIT_BASE_US 2000000u
#define PROBE_WAIT_RANDOM_US 1000000u
#define PROBE_MAX_ROUNDS 63
#define PROBE_UP_ROUNDS_MAX 30

void bbr_enter_startup(struct bbr *b)
{
	b->state = BBR_STARTUP;
}

void bbr_startup_too_high(struct bbr *b)
{
	b->undo_state = BBR_STARTUP;
	b->full_bw_reached = true;
	b->inflight_longterm = cc_max(bbr_bdp(b, bbr_max_bw(b), 100), b->inflight_latest);
}

/* 5.3.1.3. As in Linux, a range lost is an ACK that tells of loss, and a loss round is a full round in recovery. */
static void check_startup_high_loss(struct bbr *b, const struct cc_ack *a)
{
	if (b->state != BBR_STARTUP || b->full_bw_reached)
		return;
	if (a->lost && b->n_loss_events < STARTUP_FULL_LOSS_COUNT)
		b->n_loss_events++;
	if (!b->loss_round_start)
		return;
	if (a->is_recovering && b->n_loss_events >= STARTUP_FULL_LOSS_COUNT &&
	    bbr_is_loss_too_high(b, a->rate.lost, a->rate.tx_in_flight))
		bbr_startup_too_high(b);
	b->n_loss_events = 0;
}

static void check_startup_done(struct bbr *b, const struct cc_ack *a)
{
	check_startup_high_loss(b, a);
	if (b->state == BBR_STARTUP && b->full_bw_reached) {
		b->state = BBR_DRAIN;
		b->drain_start_round = b->round_count;
	}
}

/* 5.3.3.8.3. The draft wants it random so that flows mix: a hash of what differs between them is enough. */
static void pick_probe_wait(struct bbr *b, uint64_t now_us)
{
	uint64_t h = (now_us + 1) * 0x9e3779b97f4a7c15 ^ b->delivered * 0xd6e8feb86659fd93 ^ b->min_rtt_us;

	h = (h ^ h >> 32) * 0xd6e8feb86659fd93;
	h ^= h >> 32;
	b->rounds_since_probe_up = h & 1;
	b->bw_probe_wait_us = PROBE_WAIT_BASE_US + (uint32_t)(h >> 16) % PROBE_WAIT_RANDOM_US;
}

static void start_down(struct bbr *b, uint64_t now_us)
{
	bbr_reset_congestion_signals(b);
	b->probe_up_acked_per_inc = BBR_INFINITE;
	pick_probe_wait(b, now_us);
	b->cycle_stamp_us = now_us;
	b->ack_phase = BBR_ACKS_PROBE_STOPPING;
	bbr_start_round(b);
	b->state = BBR_PROBE_BW_DOWN;
}

void bbr_start_refill(struct bbr *b)
{
	bbr_reset_short_term_model(b);
	b->bw_probe_up_rounds = 0;
	b->bw_probe_up_acked = 0;
	b->prev_probe_precautionary = false;
	b->ack_phase = BBR_ACKS_REFILLING;
	bbr_start_round(b);
	b->state = BBR_PROBE_BW_REFILL;
}

/* Each round in ProbeBW_UP doubles the growth of inflight_longterm. */
static void raise_slope(struct tcp_cc *cc)
{
	struct bbr *b = bbr_of(cc);

	b->probe_up_acked_per_inc = cc_max(cc->cwnd >> b->bw_probe_up_rounds, b->mss);
	if (b->bw_probe_up_rounds < PROBE_UP_ROUNDS_MAX)
		b->bw_probe_up_rounds++;
}

static void start_up(struct tcp_cc *cc, const struct bbr_ack *s)
{
	struct bbr *b = bbr_of(cc);

	b->ack_phase = BBR_ACKS_PROBE_STARTING;
	bbr_start_round(b);
	bbr_reset_full_bw(b);
	b->full_bw = s->bw;
	b->state = BBR_PROBE_BW_UP;
	raise_slope(cc);
}

void bbr_handle_inflight_too_high(struct tcp_cc *cc, uint32_t tx_in_flight, bool is_app_limited, uint64_t now_us)
{
	struct bbr *b = bbr_of(cc);

	b->prev_probe_too_high = true;
	b->is_bw_probe_sample = false; /* once a probe */
	if (!is_app_limited)
		b->inflight_longterm =
			cc_max(tx_in_flight, (uint32_t)((uint64_t)bbr_target_inflight(cc) * BETA_PERCENT / 100));
	if (b->state == BBR_PROBE_BW_UP) {
		b->undo_state = BBR_PROBE_BW_UP;
		start_down(b, now_us);
	}
}

uint32_t bbr_inflight_with_headroom(const struct bbr *b)
{
	uint32_t headroom;

	if (b->inflight_longterm == BBR_INFINITE)
		return BBR_INFINITE;
	headroom = cc_max(b->mss, (uint32_t)((uint64_t)b->inflight_longterm * HEADROOM_PERCENT / 100));
	return cc_max(b->inflight_longterm - cc_min(headroom, b->inflight_longterm), bbr_min_pipe_cwnd(b));
}

static void probe_inflight_upward(struct tcp_cc *cc, const struct cc_ack *a)
{
	struct bbr *b = bbr_of(cc);

	if (!bbr_is_cwnd_limited(b) || cc->cwnd < b->inflight_longterm)
		return;
	b->bw_probe_up_acked += cc_min(a->acked, CC_CWND_MAX);
	if (b->bw_probe_up_acked >= b->probe_up_acked_per_inc) {
		uint64_t n = b->bw_probe_up_acked / b->probe_up_acked_per_inc;
		uint64_t raised = b->inflight_longterm + n * b->mss;

		b->bw_probe_up_acked %= b->probe_up_acked_per_inc;
		b->inflight_longterm = raised < CC_CWND_MAX ? (uint32_t)raised : CC_CWND_MAX;
	}
	if (b->round_start)
		raise_slope(cc);
}

/* One round after a probe ended, its samples have all come. True: it is followed by another at once. */
static bool end_probe_feedback(struct bbr *b, const struct bbr_ack *s)
{
	b->is_bw_probe_sample = false;
	b->ack_phase = BBR_ACKS_INIT;
	if (!bbr_is_probe_bw(b))
		return false;
	if (!s->is_app_limited) { /* AdvanceMaxBwFilter */
		b->max_bw[0] = b->max_bw[1];
		b->max_bw[1] = 0;
	}
	/* 5.3.3.6: a cautious probe went well, so the next one may stay at inflight_longterm. */
	if (!b->prev_probe_precautionary || b->prev_probe_too_high)
		return false;
	bbr_start_refill(b);
	return true;
}

/* AdaptLongTermModel. True if it decided on a state. */
static bool adapt_long_term_model(struct tcp_cc *cc, const struct bbr_ack *s)
{
	struct bbr *b = bbr_of(cc);
	const struct cc_rate *r = &s->ack->rate;

	if (b->ack_phase == BBR_ACKS_PROBE_STARTING && b->round_start)
		b->ack_phase = BBR_ACKS_PROBE_FEEDBACK;
	if (b->ack_phase == BBR_ACKS_PROBE_STOPPING && b->round_start && end_probe_feedback(b, s))
		return true;
	if (!s->has_sample || b->inflight_longterm == BBR_INFINITE || bbr_is_loss_too_high(b, r->lost, r->tx_in_flight))
		return false;
	b->inflight_longterm = cc_max(b->inflight_longterm, cc_min(r->tx_in_flight, CC_CWND_MAX));
	if (b->state == BBR_PROBE_BW_UP)
		probe_inflight_upward(cc, s->ack);
	return false;
}

/* 5.3.3.8: after 2 to 3 s, or after the rounds in which Reno would have probed, too. */
static bool is_time_to_probe(const struct tcp_cc *cc, uint64_t now_us)
{
	const struct bbr *b = bbr_of(cc);

	return now_us > b->cycle_stamp_us + b->bw_probe_wait_us ||
	       b->rounds_since_probe_up >= cc_min(bbr_target_inflight(cc) / b->mss, PROBE_MAX_ROUNDS);
}

/*
 * 5.3.3.7. In flight is what it was just before this ACK, and inflight_longterm
 * is reached when no segment more fits: cwnd is no higher, so that otherwise it
 * would never be seen reached.
 */
static bool is_time_to_go_down(struct tcp_cc *cc, const struct bbr_ack *s)
{
	struct bbr *b = bbr_of(cc);

	if (b->prev_probe_too_high && (uint64_t)s->ack->prior_flying + b->mss > b->inflight_longterm) {
		b->prev_probe_precautionary = true;
		return true;
	}
	if (bbr_is_cwnd_limited(b) && cc->cwnd >= b->inflight_longterm) {
		bbr_reset_full_bw(b);
		b->full_bw = s->bw;
		return false;
	}
	return b->full_bw_now;
}

static void update_probe_bw(struct tcp_cc *cc, const struct bbr_ack *s)
{
	struct bbr *b = bbr_of(cc);
	const struct cc_ack *a = s->ack;

	if (!b->full_bw_reached || adapt_long_term_model(cc, s))
		return;
	switch (b->state) {
	case BBR_PROBE_BW_DOWN:
	case BBR_PROBE_BW_CRUISE:
		if (is_time_to_probe(cc, a->now_us))
			bbr_start_refill(b);
		else if (b->state == BBR_PROBE_BW_DOWN && a->flying <= bbr_inflight_with_headroom(b) &&
			 a->flying <= bbr_inflight(b, bbr_max_bw(b), 100))
			b->state = BBR_PROBE_BW_CRUISE;
		break;
	case BBR_PROBE_BW_REFILL:
		if (b->round_start) {
			b->is_bw_probe_sample = true;
			start_up(cc, s);
		}
		break;
	case BBR_PROBE_BW_UP:
		if (is_time_to_go_down(cc, s)) {
			b->prev_probe_too_high = false; /* not yet */
			start_down(b, a->now_us);
		}
		break;
	}
}

void bbr_update_state(struct tcp_cc *cc, const struct bbr_ack *s)
{
	struct bbr *b = bbr_of(cc);
	const struct cc_ack *a = s->ack;

	check_startup_done(b, a);
	if (b->state == BBR_DRAIN && (a->flying <= bbr_inflight(b, b->bw, 100) ||
				      b->round_count > b->drain_start_round + DRAIN_ROUNDS))
		start_down(b, a->now_us);
	update_probe_bw(cc, s);
}

uint32_t bbr_probe_rtt_cwnd(const struct bbr *b)
{
	return cc_max(bbr_bdp(b, b->bw, PROBE_RTT_CWND_GAIN), bbr_min_pipe_cwnd(b));
}

/* 5.3.4.4. */
static void exit_probe_rtt(struct bbr *b, uint64_t now_us)
{
	bbr_reset_short_term_model(b);
	if (b->full_bw_reached) {
		start_down(b, now_us);
		b->state = BBR_PROBE_BW_CRUISE; /* in flight is below the BDP already */
	} else {
		bbr_enter_startup(b);
	}
}

void bbr_check_probe_rtt_done(struct tcp_cc *cc, uint64_t now_us)
{
	struct bbr *b = bbr_of(cc);

	if (b->probe_rtt_done_stamp_us == 0 || now_us <= b->probe_rtt_done_stamp_us)
		return;
	b->probe_rtt_min_stamp_us = now_us; /* the next one in 5 s */
	bbr_restore_cwnd(cc);
	exit_probe_rtt(b, now_us);
}

static void handle_probe_rtt(struct tcp_cc *cc, const struct cc_ack *a)
{
	struct bbr *b = bbr_of(cc);

	b->app_limited_to = a->delivered + a->flying;
	if (b->probe_rtt_done_stamp_us == 0) {
		if (a->flying > bbr_probe_rtt_cwnd(b))
			return;
		b->probe_rtt_done_stamp_us = a->now_us + PROBE_RTT_DURATION_US;
		b->probe_rtt_round_done = false;
		bbr_start_round(b);
		return;
	}
	b->probe_rtt_round_done |= b->round_start;
	if (b->probe_rtt_round_done)
		bbr_check_probe_rtt_done(cc, a->now_us);
}

void bbr_check_probe_rtt(struct tcp_cc *cc, const struct bbr_ack *s)
{
	struct bbr *b = bbr_of(cc);

	if (b->state != BBR_PROBE_RTT && b->probe_rtt_expired && !b->idle_restart) {
		bbr_save_cwnd(cc);
		b->state = BBR_PROBE_RTT;
		b->probe_rtt_done_stamp_us = 0;
		b->ack_phase = BBR_ACKS_PROBE_STOPPING;
		b->app_limited_from = b->delivered;
		bbr_start_round(b);
	}
	if (b->state == BBR_PROBE_RTT)
		handle_probe_rtt(cc, s->ack);
	if (s->has_sample)
		b->idle_restart = false;
}
