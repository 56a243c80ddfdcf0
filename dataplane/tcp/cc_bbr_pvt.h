/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BBRv3, draft-ietf-ccwg-bbr-06. Names are the draft's; so are the section
 * numbers in the three files: cc_bbr_model.c learns the path from the ACKs,
 * cc_bbr_cycle.c is the state machine, cc_bbr.c sets rate and window from
 * both. Rates are bytes a second, volumes bytes, times microseconds.
 */
#ifndef TCP_CC_BBR_PVT_H
#define TCP_CC_BBR_PVT_H

#include "tcp/cc_pvt.h"

#define BBR_INFINITE UINT32_MAX	     /* of a volume */
#define BBR_INFINITE_BW UINT64_MAX
#define BBR_BW_MAX (1ull << 38)	     /* 2 Tbit/s: bw * rtt stays within 64 bits */
#define BBR_RTT_MAX_US (1u << 25)
#define BBR_MIN_PIPE_SEGMENTS 4	     /* MinPipeCwnd */

enum bbr_state {
	BBR_STARTUP,
	BBR_DRAIN,
	BBR_PROBE_BW_DOWN,
	BBR_PROBE_BW_CRUISE,
	BBR_PROBE_BW_REFILL,
	BBR_PROBE_BW_UP,
	BBR_PROBE_RTT,
	BBR_STATE_NONE, /* of undo_state */
};

enum bbr_ack_phase {
	BBR_ACKS_INIT,
	BBR_ACKS_REFILLING,
	BBR_ACKS_PROBE_STARTING,
	BBR_ACKS_PROBE_FEEDBACK,
	BBR_ACKS_PROBE_STOPPING,
};

struct bbr {
	/* Rates. The max filter holds the cycle before and this one (2.11). */
	uint64_t max_bw[2];
	uint64_t bw, bw_latest, bw_shortterm, undo_bw_shortterm;
	uint64_t full_bw;
	uint64_t pacing_rate; /* 0: no RTT yet */

	uint64_t delivered; /* C.delivered */
	uint64_t next_round_delivered, loss_round_delivered;
	uint64_t app_limited_from, app_limited_to; /* segments sent at this C.delivered are from ProbeRTT */

	uint64_t cycle_stamp_us;
	uint64_t min_rtt_stamp_us, probe_rtt_min_stamp_us;
	uint64_t probe_rtt_done_stamp_us; /* 0: not yet down to the window of ProbeRTT */
	uint64_t extra_acked_start_us;

	uint32_t mss, init_cwnd;
	uint32_t min_rtt_us, probe_rtt_min_us; /* UINT32_MAX: none yet */
	uint32_t inflight_latest, inflight_shortterm, inflight_longterm;
	uint32_t undo_inflight_shortterm, undo_inflight_longterm;
	uint32_t extra_acked[2], extra_acked_delivered;
	uint32_t round_count, drain_start_round, rounds_since_probe_up;
	uint32_t bw_probe_wait_us;
	uint32_t bw_probe_up_acked, probe_up_acked_per_inc;

	uint8_t state, undo_state; /* enum bbr_state */
	uint8_t ack_phase;
	uint8_t full_bw_count;
	uint8_t bw_probe_up_rounds;
	uint8_t n_loss_events;	   /* ACKs of this round that told of losses */
	uint8_t extra_acked_rounds; /* since the last slot of extra_acked began */
	bool round_start, loss_round_start, is_loss_in_round;
	bool full_bw_now, full_bw_reached;
	bool is_bw_probe_sample, prev_probe_too_high, prev_probe_precautionary;
	bool probe_rtt_expired, probe_rtt_round_done;
	bool idle_restart;
	bool is_recovering;	   /* as of the last ACK or reaction */
	bool is_app_limited;	   /* the last sample */
	bool was_cwnd_limited, is_cwnd_limited; /* in the round before, in this one */
};

/* The ACK at work, with its rate sample. */
struct bbr_ack {
	const struct cc_ack *ack;
	bool has_sample;
	bool is_app_limited;
	uint64_t bw; /* RS.delivery_rate; 0: none */
};

static inline struct bbr *bbr_of(const struct tcp_cc *cc)
{
	return cc->state;
}

static inline bool bbr_is_probe_bw(const struct bbr *b)
{
	return b->state >= BBR_PROBE_BW_DOWN && b->state <= BBR_PROBE_BW_UP;
}

static inline uint64_t bbr_max_bw(const struct bbr *b)
{
	return b->max_bw[0] > b->max_bw[1] ? b->max_bw[0] : b->max_bw[1];
}

static inline uint32_t bbr_min_pipe_cwnd(const struct bbr *b)
{
	return BBR_MIN_PIPE_SEGMENTS * b->mss;
}

/* gain_percent of bw * min_rtt (BDPMultiple, 5.6.4.2). */
uint32_t bbr_bdp(const struct bbr *b, uint64_t bw, uint32_t gain_percent);
/* The same, and enough to keep both ends' offloads busy (Inflight, QuantizationBudget). */
uint32_t bbr_inflight(const struct bbr *b, uint64_t bw, uint32_t gain_percent);
uint32_t bbr_quantize(const struct bbr *b, uint32_t inflight);
/* The BDP, unless congestion cut cwnd (TargetInflight, 5.3.3.8.3). */
uint32_t bbr_target_inflight(const struct tcp_cc *cc);
/* cwnd has been fully used at some time in the last round (C.is_cwnd_limited). */
bool bbr_is_cwnd_limited(const struct bbr *b);
/* 5.6.4.4. */
void bbr_save_cwnd(struct tcp_cc *cc);
void bbr_restore_cwnd(struct tcp_cc *cc);

/* cc_bbr_model.c */
struct bbr_ack bbr_sample(const struct bbr *b, const struct cc_ack *a);
void bbr_reset_congestion_signals(struct bbr *b);
void bbr_reset_short_term_model(struct bbr *b);
void bbr_reset_full_bw(struct bbr *b);
void bbr_start_round(struct bbr *b);
void bbr_save_state_upon_loss(struct tcp_cc *cc);
void bbr_note_loss(struct tcp_cc *cc);
/* Loss rate above LossThresh (IsInflightTooHigh): bytes lost since a segment was sent, and in flight then. */
bool bbr_is_loss_too_high(const struct bbr *b, uint32_t lost, uint32_t tx_in_flight);
/* First part of an ACK: what was lost, and was delivered, until the state machine looks at it. */
void bbr_update_model(struct tcp_cc *cc, const struct bbr_ack *s);
/* Last part: AdvanceLatestDeliverySignals, BoundBWForModel. */
void bbr_finish_model(struct bbr *b, const struct bbr_ack *s);
/* UpdateMinRTT, 5.3.4.3. */
void bbr_update_min_rtt(struct bbr *b, const struct cc_ack *a);

/* cc_bbr_cycle.c */
void bbr_enter_startup(struct bbr *b);
/* A probe for bandwidth went too far (HandleInflightTooHigh, 5.5.10.2). */
void bbr_handle_inflight_too_high(struct tcp_cc *cc, uint32_t tx_in_flight, bool is_app_limited, uint64_t now_us);
/* Startup ends by loss or ECN (5.3.1.3). */
void bbr_startup_too_high(struct bbr *b);
void bbr_start_refill(struct bbr *b);
uint32_t bbr_inflight_with_headroom(const struct bbr *b);
uint32_t bbr_probe_rtt_cwnd(const struct bbr *b);
void bbr_check_probe_rtt_done(struct tcp_cc *cc, uint64_t now_us);
/* Startup, Drain, ProbeBW; then, after the minimum RTT has been updated, ProbeRTT. */
void bbr_update_state(struct tcp_cc *cc, const struct bbr_ack *s);
void bbr_check_probe_rtt(struct tcp_cc *cc, const struct bbr_ack *s);

#endif
