/* SPDX-License-Identifier: Apache-2.0 */
/* BBR: what the ACKs tell of the path, its bandwidth, RTT, aggregation, and what it can take (5.5). */
#include "tcp/cc_bbr_pvt.h"

#define LOSS_THRESH_PERCENT 2
#define BETA(v) ((v) / 10 * 7 + (v) % 10 * 7 / 10) /* 0.7, without overflow */
#define FULL_BW_ROUNDS 3
/* Two slots of half the draft's 10 rounds each are the window of extra_acked; in Startup it is one round. */
#define EXTRA_ACKED_SLOT_ROUNDS 5
#define EXTRA_ACKED_MAX_US (1u << 24) /* an interval this long has more than made up for any burst */
#define PROBE_RTT_INTERVAL_US 5000000u
#define MIN_RTT_FILTER_US 10000000u

static bool is_probing_bw(const struct bbr *b)
{
	return b->state == BBR_STARTUP || b->state == BBR_PROBE_BW_REFILL || b->state == BBR_PROBE_BW_UP;
}

/*
 * A sample of a segment sent in ProbeRTT is application-limited: the draft has
 * the connection marked so (5.3.4.3, MarkConnectionAppLimited), which here is
 * BBR's own business.
 */
struct bbr_ack bbr_sample(const struct bbr *b, const struct cc_ack *a)
{
	const struct cc_rate *r = &a->rate;
	struct bbr_ack s = {.ack = a, .has_sample = r->delivered != 0};

	if (r->delivered && r->interval_us) {
		uint64_t bytes = r->delivered < UINT32_MAX ? r->delivered : UINT32_MAX;

		s.bw = bytes * 1000000 / r->interval_us;
		if (s.bw > BBR_BW_MAX)
			s.bw = BBR_BW_MAX;
	}
	s.is_app_limited = r->is_app_limited ||
			   (b->app_limited_to && r->prior_delivered >= b->app_limited_from &&
			    r->prior_delivered <= b->app_limited_to);
	return s;
}

void bbr_reset_congestion_signals(struct bbr *b)
{
	b->is_loss_in_round = false;
	b->bw_latest = 0;
	b->inflight_latest = 0;
}

void bbr_reset_short_term_model(struct bbr *b)
{
	b->bw_shortterm = BBR_INFINITE_BW;
	b->inflight_shortterm = BBR_INFINITE;
}

void bbr_reset_full_bw(struct bbr *b)
{
	b->full_bw = 0;
	b->full_bw_count = 0;
	b->full_bw_now = false;
}

void bbr_start_round(struct bbr *b)
{
	b->next_round_delivered = b->delivered;
}

/* 5.5.1. */
static void update_round(struct bbr *b, const struct bbr_ack *s)
{
	b->is_cwnd_limited |= s->ack->is_cwnd_limited;
	b->round_start = s->has_sample && s->ack->rate.prior_delivered >= b->next_round_delivered;
	if (!b->round_start)
		return;
	bbr_start_round(b);
	b->round_count++;
	b->rounds_since_probe_up++;
	b->was_cwnd_limited = b->is_cwnd_limited;
	b->is_cwnd_limited = s->ack->is_cwnd_limited;
}

bool bbr_is_cwnd_limited(const struct bbr *b)
{
	return b->was_cwnd_limited || b->is_cwnd_limited;
}

/* 5.5.11.1. */
void bbr_save_state_upon_loss(struct tcp_cc *cc)
{
	struct bbr *b = bbr_of(cc);

	bbr_save_cwnd(cc);
	b->undo_state = BBR_STATE_NONE;
	b->undo_bw_shortterm = b->bw_shortterm;
	b->undo_inflight_shortterm = b->inflight_shortterm;
	b->undo_inflight_longterm = b->inflight_longterm;
}

/*
 * The state is saved where an episode begins (5.5.11.1), so in recovery, where
 * congested() has done that, not again in each of its rounds.
 */
void bbr_note_loss(struct tcp_cc *cc)
{
	struct bbr *b = bbr_of(cc);

	if (!b->is_loss_in_round) {
		b->loss_round_delivered = b->delivered;
		if (!b->is_recovering)
			bbr_save_state_upon_loss(cc);
	}
	b->is_loss_in_round = true;
}

/*
 * One lost segment is no rate: in a window below 50 it would always be above
 * 2 %, and random loss of 1 % would bring inflight_longterm down with every
 * probe. So it takes two, as in the QUIC implementation of BBR's authors; the
 * draft leaves this out.
 */
bool bbr_is_loss_too_high(const struct bbr *b, uint32_t lost, uint32_t tx_in_flight)
{
	return lost > b->mss && (uint64_t)lost * 100 > (uint64_t)tx_in_flight * LOSS_THRESH_PERCENT;
}

/* 5.5.10.2: what was in flight when, somewhere within the lost segment, the loss rate became too high. */
static uint32_t inflight_at_loss(const struct cc_loss *l)
{
	uint32_t inflight_prev = l->tx_in_flight > l->bytes ? l->tx_in_flight - l->bytes : 0;
	uint32_t lost_prev = l->lost > l->bytes ? l->lost - l->bytes : 0;
	uint64_t allowed = (uint64_t)inflight_prev * LOSS_THRESH_PERCENT;
	uint64_t inflight = inflight_prev;

	if (allowed > (uint64_t)lost_prev * 100)
		inflight += (allowed - (uint64_t)lost_prev * 100) / (100 - LOSS_THRESH_PERCENT);
	return inflight < CC_CWND_MAX ? (uint32_t)inflight : CC_CWND_MAX;
}

/* HandleLostPacket. */
static void handle_losses(struct tcp_cc *cc, const struct cc_ack *a)
{
	struct bbr *b = bbr_of(cc);
	const struct cc_loss *l = &a->loss;

	if (a->lost == 0)
		return;
	bbr_note_loss(cc);
	if (b->is_bw_probe_sample && l->bytes && bbr_is_loss_too_high(b, l->lost, l->tx_in_flight))
		bbr_handle_inflight_too_high(cc, inflight_at_loss(l), l->is_app_limited, a->now_us);
}

/* 5.5.10.3. */
static void update_latest_delivery(struct bbr *b, const struct bbr_ack *s)
{
	const struct cc_rate *r = &s->ack->rate;

	b->loss_round_start = false;
	if (!s->has_sample)
		return;
	if (s->bw > b->bw_latest)
		b->bw_latest = s->bw;
	if (r->delivered > b->inflight_latest)
		b->inflight_latest = r->delivered < CC_CWND_MAX ? (uint32_t)r->delivered : CC_CWND_MAX;
	if (r->prior_delivered >= b->loss_round_delivered) {
		b->loss_round_delivered = b->delivered;
		b->loss_round_start = true;
	}
}

/* 5.5.5: an application-limited sample counts only if it shows more bandwidth. */
static void update_max_bw(struct bbr *b, const struct bbr_ack *s)
{
	update_round(b, s);
	if (s->bw > b->max_bw[1] && (s->bw >= bbr_max_bw(b) || !s->is_app_limited))
		b->max_bw[1] = s->bw;
}

/* AdaptLowerBoundsFromCongestion: once a round, towards what the path has just delivered. */
static void adapt_lower_bounds(struct tcp_cc *cc)
{
	struct bbr *b = bbr_of(cc);

	if (is_probing_bw(b) || !b->is_loss_in_round)
		return;
	if (b->bw_shortterm == BBR_INFINITE_BW)
		b->bw_shortterm = bbr_max_bw(b);
	if (b->inflight_shortterm == BBR_INFINITE)
		b->inflight_shortterm = cc->cwnd;
	b->bw_shortterm = BETA(b->bw_shortterm) > b->bw_latest ? BETA(b->bw_shortterm) : b->bw_latest;
	b->inflight_shortterm = cc_max(b->inflight_latest, BETA(b->inflight_shortterm));
}

/* 5.5.9. */
static void update_ack_aggregation(struct tcp_cc *cc, const struct cc_ack *a)
{
	struct bbr *b = bbr_of(cc);
	uint64_t interval = a->now_us - b->extra_acked_start_us;
	uint64_t expected;

	if (b->round_start && ++b->extra_acked_rounds >= (b->full_bw_reached ? EXTRA_ACKED_SLOT_ROUNDS : 1)) {
		b->extra_acked_rounds = 0;
		b->extra_acked[0] = b->full_bw_reached ? b->extra_acked[1] : 0;
		b->extra_acked[1] = 0;
	}
	expected = b->bw * (interval < EXTRA_ACKED_MAX_US ? interval : EXTRA_ACKED_MAX_US) / 1000000;
	if (b->extra_acked_delivered <= expected) {
		b->extra_acked_delivered = 0;
		b->extra_acked_start_us = a->now_us;
		expected = 0;
	}
	b->extra_acked_delivered += cc_min(a->acked, UINT32_MAX - b->extra_acked_delivered);
	b->extra_acked[1] = cc_max(b->extra_acked[1], cc_min(b->extra_acked_delivered - (uint32_t)expected, cc->cwnd));
}

/* 5.3.1.2. */
static void check_full_bw_reached(struct bbr *b, const struct bbr_ack *s)
{
	if (b->full_bw_now || !b->round_start || s->is_app_limited)
		return;
	if (s->bw * 4 >= b->full_bw * 5) {
		bbr_reset_full_bw(b);
		b->full_bw = s->bw;
		return;
	}
	b->full_bw_now = ++b->full_bw_count >= FULL_BW_ROUNDS;
	b->full_bw_reached |= b->full_bw_now;
}

void bbr_update_model(struct tcp_cc *cc, const struct bbr_ack *s)
{
	struct bbr *b = bbr_of(cc);

	handle_losses(cc, s->ack);
	update_latest_delivery(b, s);
	update_max_bw(b, s);
	if (b->loss_round_start) {
		adapt_lower_bounds(cc);
		b->is_loss_in_round = false;
	}
	update_ack_aggregation(cc, s->ack);
	check_full_bw_reached(b, s);
	if (s->has_sample)
		b->is_app_limited = s->is_app_limited;
}

void bbr_finish_model(struct bbr *b, const struct bbr_ack *s)
{
	if (b->loss_round_start) {
		uint64_t delivered = s->ack->rate.delivered;

		b->bw_latest = s->bw;
		b->inflight_latest = delivered < CC_CWND_MAX ? (uint32_t)delivered : CC_CWND_MAX;
	}
	b->bw = bbr_max_bw(b) < b->bw_shortterm ? bbr_max_bw(b) : b->bw_shortterm;
}

void bbr_update_min_rtt(struct bbr *b, const struct cc_ack *a)
{
	b->probe_rtt_expired = a->now_us > b->probe_rtt_min_stamp_us + PROBE_RTT_INTERVAL_US;
	if (a->rtt_us && (a->rtt_us < b->probe_rtt_min_us || b->probe_rtt_expired)) {
		b->probe_rtt_min_us = a->rtt_us;
		b->probe_rtt_min_stamp_us = a->now_us;
	}
	if (b->probe_rtt_min_us < b->min_rtt_us || a->now_us > b->min_rtt_stamp_us + MIN_RTT_FILTER_US) {
		b->min_rtt_us = b->probe_rtt_min_us;
		b->min_rtt_stamp_us = b->probe_rtt_min_stamp_us;
	}
}
