/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an ACK, a timer or the peer's ECE mean for what may be sent: the
 * states of struct tcp_flight's recovery, and the way between them.
 *
 *   OPEN      nothing is believed lost
 *   CWR       reduced for ECN or a loss that a probe repaired; until recovery_point
 *   RECOVERY  fast recovery: PRR (RFC 9937) paces the reduction; until recovery_point
 *   LOSS      after a timeout (RFC 5681 3.1), with F-RTO (RFC 5682)
 *
 * A reaction that turns out to have been for nothing is taken back, by time
 * stamps (RFC 3522, RFC 4015), duplicates reported (RFC 3708) or F-RTO.
 * When nothing is in flight any more, the state is OPEN and its record gone.
 */
#include "tcp/tcp_pvt.h"

#define BLACK_HOLE_TIMEOUTS 3 /* RFC 4821 7.7: this many in a row with large segments */

/* -- changes of state */

static void begin_reduction(struct tcp_conn *c, enum recovery_state state, uint32_t prior_flying)
{
	struct tcp_flight *f = c->flight;

	f->recovery = (uint8_t)state;
	f->recovery_point = c->snd_nxt;
	f->has_point = true;
	f->prr_delivered = f->prr_out = 0;
	f->recover_fs = prior_flying ? prior_flying : 1;
	f->is_frto = f->frto_sends_new = false;
	c->has_tlp = false;
	c->owes_cwr = c->has_ecn; /* RFC 3168 6.1.2: the peer may stop telling */
}

static void begin_undo(struct tcp_conn *c)
{
	struct tcp_flight *f = c->flight;

	f->may_undo = true;
	f->undo_has_sent = f->resent != 0;
	f->undo_resent = f->resent; /* from before: its echoes and duplicates will come too */
	if (!f->resent)
		f->undo_ts = 0;
	f->undo_una = c->snd_una;
}

static void enter_recovery(struct tcp_conn *c, uint32_t prior_flying)
{
	struct tcp_stack *s = c->stack;
	bool is_reduced = c->flight->recovery == REC_CWR; /* once a window */

	stat_inc(s->stats, WEIR_C_TCP_FAST_RETRANSMITS);
	begin_reduction(c, REC_RECOVERY, prior_flying);
	if (!is_reduced) {
		begin_undo(c);
		c->cc.ops->congested(&c->cc, prior_flying, conn_payload_max(c), s->now_us, false);
		c->flight->reduce_to = c->cc.ssthresh;
	}
}

void recovery_reduce(struct tcp_conn *c, uint32_t prior_flying, bool is_ecn)
{
	struct tcp_flight *f = c->flight;

	if (!f || f->recovery != REC_OPEN)
		return;
	/* Until CWR has arrived ACKs of the old window still tell of it (RFC 3168 6.1.2). */
	if (is_ecn && f->has_point && seq_le(c->snd_una, f->recovery_point))
		return;
	if (is_ecn)
		stat_inc(c->stack->stats, WEIR_C_TCP_ECN_REDUCED);
	begin_reduction(c, REC_CWR, prior_flying);
	f->may_undo = false;
	c->cc.ops->congested(&c->cc, prior_flying, conn_payload_max(c), c->stack->now_us, is_ecn);
	/* ssthresh is two segments at least, a window that ECE finds at less does not grow for it (RFC 3168 6.1.2). */
	f->reduce_to = c->cc.cwnd < c->cc.ssthresh ? c->cc.cwnd : c->cc.ssthresh;
}

static void leave(struct tcp_conn *c)
{
	struct tcp_flight *f = c->flight;

	if (f->recovery != REC_LOSS && !c->cc.ops->owns_cwnd)
		c->cc.cwnd = f->reduce_to;
	if (f->recovery != REC_CWR)
		rack_recovered(c);
	f->recovery = REC_OPEN;
	f->is_frto = f->frto_sends_new = f->may_undo = false;
	c->n_dupacks = 0;
}

/* -- undo */

static void undo(struct tcp_conn *c, struct tcp_ack *a)
{
	struct tcp_flight *f = c->flight;

	stat_inc(c->stack->stats, WEIR_C_TCP_SPURIOUS);
	c->cc.ops->undo(&c->cc, c->stack->now_us);
	f->recovery = REC_OPEN;
	f->is_frto = f->frto_sends_new = f->may_undo = false;
	c->backoff = 0;
	flight_clear_lost(c);
	a->lost = 0; /* nor was what this ACK made us believe lost */
	f->lost_untold = 0;
	f->loss.bytes = 0;
}

/* What was sent again had arrived the first time. */
static bool was_spurious(const struct tcp_conn *c, const struct tcp_ack *a)
{
	const struct tcp_flight *f = c->flight;

	if (!f->may_undo || !f->undo_has_sent)
		return false;
	if (a->has_dsack && f->undo_resent == 0)
		return true;
	return a->acked && f->undo_ts && a->ts_ecr && (int32_t)(a->ts_ecr - f->undo_ts) < 0;
}

/* -- the states, at an ACK */

/* The next hole of a peer without SACK is its first unacknowledged segment (RFC 6582 3.2). */
static void lose_head(struct tcp_conn *c, struct tcp_ack *a)
{
	struct tcp_seg *g = c->flight->head;
	uint32_t mss = conn_payload_max(c);

	if (!g || g->state != SEG_FLYING)
		return;
	if (g->end - g->seq > mss && !flight_split(c, g, g->seq + mss))
		return;
	a->lost += g->end - g->seq;
	flight_set_lost(c, g);
}

/* RFC 6582: a peer without SACK. Its duplicates stand for segments that arrived. */
static void count_dupacks(struct tcp_conn *c, struct tcp_ack *a)
{
	struct tcp_flight *f = c->flight;
	uint32_t mss = conn_payload_max(c);

	if (a->is_dup && f->head) {
		if (c->n_dupacks < UINT16_MAX && (uint32_t)(c->n_dupacks + 1) * mss < c->snd_nxt - c->snd_una) {
			c->n_dupacks++;
			a->delivered += mss;
		}
		/* Duplicates of what was sent before an earlier recovery begin no new one. */
		if (f->recovery <= REC_CWR && c->n_dupacks >= DUPACK_THRESHOLD &&
		    (!f->has_point || seq_gt(c->snd_una, f->recovery_point)))
			lose_head(c, a);
	} else if (a->acked) {
		uint32_t n = a->acked / mss;

		/* The hole and what the duplicates stood for are acknowledged together: count none of it twice. */
		if (c->n_dupacks && n > 1) {
			uint32_t known = (n - 1 < c->n_dupacks ? n - 1 : c->n_dupacks) * mss;

			a->delivered -= known < a->delivered ? known : a->delivered;
		}
		c->n_dupacks = f->recovery == REC_RECOVERY && n && n - 1 < c->n_dupacks ? (uint16_t)(c->n_dupacks - (n - 1)) : 0;
		if (f->recovery == REC_RECOVERY && seq_lt(c->snd_una, f->recovery_point))
			lose_head(c, a);
	}
}

/* RFC 6582 3.2 step 4: without SACK, an ACK of just the recovery point may be followed by old duplicates. */
static bool is_past_point(const struct tcp_conn *c)
{
	const struct tcp_flight *f = c->flight;

	if (c->has_sack || !f->head)
		return seq_ge(c->snd_una, f->recovery_point);
	return seq_gt(c->snd_una, f->recovery_point);
}

/* RFC 5682 3.1, in its form for SACK. Returns true if the timeout was spurious and all is undone. */
static bool on_ack_after_timeout(struct tcp_conn *c, struct tcp_ack *a)
{
	struct tcp_flight *f = c->flight;

	f->frto_sends_new = false;
	/* 3b: what was sent once has arrived. Without SACK, only if nothing that was sent twice came with it. */
	if (was_spurious(c, a) || (f->is_frto && f->may_undo && a->has_orig && (c->has_sack || !a->has_resent))) {
		undo(c, a);
		return true;
	}
	if (!f->is_frto)
		return false;
	if (seq_gt(c->snd_nxt, f->recovery_point)) {
		if (a->has_sacked || a->is_dup)
			f->is_frto = false; /* 3a: the loss was real */
	} else if (a->acked && seq_lt(c->snd_una, f->recovery_point)) {
		/* 2b: new data tell more than retransmissions, if there are any and the peer takes them. */
		if (c->snd_bytes > c->snd_nxt - c->snd_una && seq_gt(c->snd_una + c->snd_wnd, c->snd_nxt)) {
			f->recovery_point = c->snd_nxt;
			f->frto_sends_new = true;
		} else {
			f->is_frto = false;
		}
	}
	return false;
}

static void advance_state(struct tcp_conn *c, struct tcp_ack *a)
{
	struct tcp_flight *f = c->flight;

	switch ((enum recovery_state)f->recovery) {
	case REC_OPEN:
		break;
	case REC_CWR:
		if (seq_ge(c->snd_una, f->recovery_point))
			leave(c);
		break;
	case REC_RECOVERY:
		if (was_spurious(c, a)) {
			c->reordering_seen = true;
			undo(c, a);
		} else if (is_past_point(c)) {
			leave(c);
		}
		break;
	case REC_LOSS:
		if (!on_ack_after_timeout(c, a) && is_past_point(c))
			leave(c);
		break;
	}
}

/* RFC 9937 6. */
static void reduce_proportionally(struct tcp_conn *c, const struct tcp_ack *a)
{
	struct tcp_flight *f = c->flight;
	uint32_t flying = conn_flying(c);
	uint32_t ssthresh = f->reduce_to;
	uint32_t mss = conn_payload_max(c);
	int64_t n;

	if (!a->delivered && !a->lost && f->prr_out)
		return;
	f->prr_delivered += a->delivered;
	if (flying > ssthresh) {
		n = (int64_t)(((uint64_t)f->prr_delivered * ssthresh + f->recover_fs - 1) / f->recover_fs) - f->prr_out;
	} else {
		n = (int64_t)f->prr_delivered - f->prr_out;
		if (n < a->delivered)
			n = a->delivered;
		if (a->acked && !a->lost) /* safeACK: data arrive and nothing more is lost */
			n += mss;
		if (n > (int64_t)ssthresh - flying)
			n = (int64_t)ssthresh - flying;
	}
	if (n < 0)
		n = 0;
	if (n < mss && f->prr_out == 0 && f->recovery == REC_RECOVERY) /* the fast retransmission itself */
		n = mss;
	c->cc.cwnd = flying + (uint32_t)n;
	if (c->cc.cwnd < mss)
		c->cc.cwnd = mss;
}

static void tell_cc(struct tcp_conn *c, const struct tcp_ack *a)
{
	struct tcp_flight *f = c->flight;
	bool reduces = f->recovery == REC_RECOVERY || f->recovery == REC_CWR;
	const struct cc_ack ca = {
		.now_us = c->stack->now_us,
		.mss = conn_payload_max(c),
		.acked = a->delivered,
		.lost = f->lost_untold,
		.loss = f->loss,
		.prior_flying = a->prior_flying,
		.flying = conn_flying(c),
		.rtt_us = a->rtt_us,
		.srtt_us = c->srtt_us,
		.min_rtt_us = c->min_rtt_us,
		.una = c->snd_una,
		.nxt = c->snd_nxt,
		.delivered = c->delivered,
		.is_cwnd_limited = c->is_cwnd_limited,
		.is_recovering = c->cc.ops->owns_cwnd && f->recovery != REC_OPEN,
		.rate = a->rate,
	};

	f->lost_untold = 0;
	f->loss.bytes = 0;

	if (c->cc.ops->owns_cwnd)
		c->cc.ops->acked(&c->cc, &ca);
	else if (reduces)
		reduce_proportionally(c, a);
	else if (a->acked && !a->has_ece) /* not for duplicates, or the window would grow before anything is known (RFC 3042 2) */
		c->cc.ops->acked(&c->cc, &ca);
}

/* -- one ACK */

static void take_rtt(struct tcp_conn *c, struct tcp_ack *a)
{
	/* What came with a retransmission may have waited for it (RFC 6298 3): its time is that of the gap. */
	if (a->has_resent)
		a->first_rtt_us = a->rtt_us = 0;
	if (!a->first_rtt_us && a->acked && a->ts_ecr) { /* only retransmissions arrived: the time stamp says which (RFC 7323 4) */
		uint32_t ms = conn_ts_now(c) - a->ts_ecr;

		if (ms < 1000000)
			a->rtt_us = a->first_rtt_us = ms ? ms * 1000 : 1000;
	}
	if (a->first_rtt_us)
		conn_measure_rtt(c, a->first_rtt_us, a->rtt_us);
}

static void end_doubt(struct tcp_conn *c)
{
	if (!c->is_doubted)
		return;
	if (c->was_doubted)
		c->mss_full = c->mss;
	else
		c->mss = c->mss_full;
	if (c->cc.cwnd < conn_payload_max(c)) /* it was counted in small segments */
		c->cc.cwnd = conn_payload_max(c);
	c->is_doubted = false;
	c->was_doubted = true;
}

/* The send queue, and what waits for it. */
static void advance_una(struct tcp_conn *c, uint32_t ack)
{
	uint32_t n = ack - c->snd_una;
	uint32_t data = n < c->snd_bytes ? n : c->snd_bytes;

	sndq_ack(c, data);
	if (n > data && c->fin_queued) /* one more than the data: the FIN */
		c->fin_acked = true;
	c->snd_una = ack;
	c->backoff = 0;
	end_doubt(c);
	c->progress_us = c->stack->now_us;
}

/* The byte of a zero-window probe was taken (nothing else is in flight then). */
static void take_probe_byte(struct tcp_conn *c, uint32_t ack)
{
	if (c->is_probed && ack == c->snd_nxt + 1) {
		c->snd_nxt++;
		c->is_probed = false;
	}
}

static void work_through(struct tcp_conn *c, const struct tcp_segment *seg, struct tcp_ack *a)
{
	struct tcp_flight *f = c->flight;
	bool was_loss = f->recovery == REC_LOSS;

	f->sends_one = f->awaits_ack = false;
	if (c->has_sack && seg->n_sack)
		sack_input(c, seg, a);
	if (a->acked) {
		flight_ack(c, seg->ack, a);
		advance_una(c, seg->ack);
	}
	take_rtt(c, a);
	if (!c->has_sack)
		count_dupacks(c, a);
	advance_state(c, a);
	rack_probe_acked(c, seg->ack, a);
	if (f->head && c->has_sack && (a->delivered || f->reorder_at_us))
		rack_detect(c, a);
	if (a->lost && f->recovery <= REC_CWR)
		enter_recovery(c, a->prior_flying);
	if (a->has_ece)
		recovery_reduce(c, a->prior_flying, true);
	rate_sample(c, a);
	if (a->delivered || a->lost || (was_loss && f->recovery != REC_LOSS))
		tell_cc(c, a);
	flight_check(c);
}

void recovery_ack(struct tcp_conn *c, const struct tcp_segment *seg, bool is_dup)
{
	struct tcp_flight *f = c->flight;
	struct tcp_ack a = {
		.prior_una = c->snd_una,
		.prior_flying = conn_flying(c),
		.prior_fack = f ? f->rack_fack : c->snd_una,
		.acked = seg->ack - c->snd_una,
		.ts_ecr = c->has_ts && seg->has_ts ? seg->ts_ecr : 0,
		.is_dup = is_dup,
		.has_ece = c->has_ecn && (seg->flags & FLAG_ECE),
	};

	take_probe_byte(c, seg->ack);
	if (!f) {
		if (c->has_sack && seg->n_sack)
			sack_input(c, seg, &a); /* duplicates that were sent when all was in flight */
		if (a.acked) { /* by a probe: what is behind it, and be it a FIN, begins anew */
			advance_una(c, seg->ack);
			conn_cancel(c, TIMER_RTX);
			conn_mark_output(c);
		}
		rack_probe_acked(c, seg->ack, &a);
		sndq_offer_room(c);
		return;
	}
	work_through(c, seg, &a);
	if (!f->head) {
		if (f->recovery != REC_OPEN)
			leave(c);
		flight_close(c);
		conn_cancel(c, TIMER_RTX);
	} else if (a.acked || a.delivered || a.lost) {
		if (a.acked) /* RFC 6298 5.3 */
			f->rto_at_us = c->stack->now_us + conn_rto(c);
		recovery_arm(c);
	}
	sndq_offer_room(c);
	conn_mark_output(c);
}

/* -- timers */

/*
 * RFC 4821 7.7, in small: large segments that never arrive, and no word why.
 * That may as well be a network that is away for a while: the first time,
 * full size comes back with the next ACK.
 */
static void suspect_black_hole(struct tcp_conn *c)
{
	uint16_t mss = (uint16_t)(ip_mtu_min(&c->flow.remote) - ip_mss_overhead(&c->flow.remote));
	const struct tcp_seg *g = c->flight->head;

	if (c->backoff < BLACK_HOLE_TIMEOUTS || c->mss <= mss || g->end - g->seq <= mss)
		return;
	c->is_doubted = true;
	c->mss = mss;
	stat_inc(c->stack->stats, WEIR_C_TCP_BLACK_HOLES);
}

void recovery_timeout(struct tcp_conn *c)
{
	struct tcp_stack *s = c->stack;
	struct tcp_flight *f = c->flight;
	uint32_t prior_flying = conn_flying(c);
	uint32_t mss = conn_payload_max(c);
	bool was_open = f->recovery <= REC_CWR;
	bool is_first = was_open || (f->recovery == REC_LOSS && c->backoff == 0);

	if (f->head->state == SEG_SACKED) /* acknowledged selectively, and then never for good */
		flight_renege(c);
	rack_timeout(c);
	if (is_first) { /* RFC 5681 3.1: what was sent again by the timer already reduces nothing more */
		begin_reduction(c, REC_LOSS, prior_flying);
		begin_undo(c);
		c->cc.ops->timeout(&c->cc, prior_flying, mss, s->now_us);
		f->is_frto = was_open;
	} else {
		f->recovery = REC_LOSS;
		f->recovery_point = c->snd_nxt;
		f->is_frto = f->frto_sends_new = false;
	}
	c->n_dupacks = 0;
	if (!c->cc.ops->owns_cwnd || c->cc.cwnd < f->flying + mss)
		c->cc.cwnd = f->flying + mss; /* one segment goes out (RFC 8985 6.3) */
	if (c->backoff < UINT8_MAX)
		c->backoff++;
	suspect_black_hole(c);
	f->sends_one = true;
	f->awaits_ack = false;
	f->pace_at_us = s->now_us;
	f->rto_at_us = s->now_us + conn_rto(c);
	recovery_arm(c);
	conn_mark_output(c);
}

void recovery_reorder_timeout(struct tcp_conn *c)
{
	struct tcp_flight *f = c->flight;
	struct tcp_ack a = {.prior_una = c->snd_una, .prior_flying = conn_flying(c)};

	rack_detect(c, &a);
	if (a.lost) {
		if (f->recovery <= REC_CWR)
			enter_recovery(c, a.prior_flying);
		tell_cc(c, &a);
		conn_mark_output(c);
	}
	recovery_arm(c);
}

void recovery_tail_probe(struct tcp_conn *c)
{
	struct tcp_flight *f = c->flight;

	f->rto_at_us = c->stack->now_us + conn_rto(c);
	c->has_tlp = conn_send_tail_probe(c);
	if (!c->has_tlp) { /* a pool is empty: the timeout will do */
		c->rtx_mode = RTX_RTO;
		conn_arm(c, TIMER_RTX, f->rto_at_us);
		return;
	}
	c->tlp_end = c->snd_nxt;
	stat_inc(c->stack->stats, WEIR_C_TCP_TAIL_PROBES);
	recovery_arm(c);
}

void recovery_arm(struct tcp_conn *c)
{
	struct tcp_flight *f = c->flight;
	uint64_t at, probe_at;

	if (!f || !f->head)
		return;
	at = f->rto_at_us;
	c->rtx_mode = RTX_RTO;
	probe_at = rack_probe_at(c);
	if (f->reorder_at_us && f->reorder_at_us < at) {
		at = f->reorder_at_us;
		c->rtx_mode = RTX_REORDER;
	} else if (probe_at) { /* at the latest in the place of the timeout (RFC 8985 7.2, TLP_calc_PTO) */
		at = probe_at < at ? probe_at : at;
		c->rtx_mode = RTX_PROBE;
	}
	conn_arm(c, TIMER_RTX, at);
}

void recovery_sent(struct tcp_conn *c, uint32_t n, bool is_resent)
{
	struct tcp_flight *f = c->flight;

	f->prr_out += n;
	if (!is_resent)
		return;
	c->n_retransmits++;
	stat_inc(c->stack->stats, WEIR_C_TCP_RETRANSMITS);
	if (f->resent == n && c->has_ts) /* the first one that is out */
		f->undo_ts = conn_ts_now(c);
	if (!f->may_undo)
		return;
	f->undo_has_sent = true;
	f->undo_resent += n;
}

/* No reaction to congestion: nothing was lost by it (RFC 1191 6.4). */
void recovery_mtu_reduced(struct tcp_conn *c)
{
	struct tcp_flight *f = c->flight;
	uint32_t mss = conn_payload_max(c);

	if (!f)
		return;
	for (struct tcp_seg *g = f->head; g; g = g->next)
		if (g->state == SEG_FLYING && g->end - g->seq > mss)
			flight_set_lost(c, g);
	f->lost_untold = 0;
	f->loss.bytes = 0;
	recovery_arm(c);
	conn_mark_output(c);
}
