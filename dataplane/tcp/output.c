/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes out: what is lost first, then new data, as the windows and the
 * pace allow (RFC 9293 3.8.6, RFC 5681); ACKs, probes and resets. Without an
 * mbuf or a record nothing is lost: the connection tries again soon.
 */
#include <rte_mbuf.h>

#include "tcp/tcp_pvt.h"

static uint16_t mss_for(const struct tcp_stack *s, const struct weir_ip *remote, bool is_path)
{
	uint16_t mtu = s->env.path_mtu ? s->env.path_mtu(s->env.ctx, remote, is_path) : s->cfg.mtu;

	return (uint16_t)((mtu < s->cfg.mtu ? mtu : s->cfg.mtu) - ip_mss_overhead(remote));
}

uint16_t conn_mss_for(const struct tcp_stack *s, const struct weir_ip *remote)
{
	return mss_for(s, remote, false);
}

uint16_t conn_path_mss(const struct tcp_stack *s, const struct weir_ip *remote)
{
	return mss_for(s, remote, true);
}

uint32_t conn_ts_now(const struct tcp_conn *c)
{
	return ts_clock(c->stack, c->ts_offset);
}

/* What may still be received; the right edge never moves back (RFC 9293 3.8.6.2). */
uint32_t conn_receive_window(const struct tcp_conn *c)
{
	uint32_t size = conn_rx_size(c);
	uint32_t wnd = c->rcv_bytes < size ? size - c->rcv_bytes : 0;
	uint32_t shift = c->has_wscale ? c->rcv_wscale : 0;

	if (unlikely(c->fin_received)) /* nothing more can come */
		return seq_gt(c->rcv_adv, c->rcv_nxt) ? c->rcv_adv - c->rcv_nxt : 0;
	if (wnd > (uint32_t)UINT16_MAX << shift)
		wnd = (uint32_t)UINT16_MAX << shift;
	/* Receiver's silly window avoidance: less than a segment is not worth opening. */
	if (wnd < c->mss && wnd < size / 2 && !seq_gt(c->rcv_adv, c->rcv_nxt))
		wnd = 0;
	if (seq_gt(c->rcv_adv, c->rcv_nxt + wnd))
		wnd = c->rcv_adv - c->rcv_nxt;
	return wnd;
}

/* An ACK goes out with this segment: what the receiver's side remembers of it. */
static void note_ack_sent(struct tcp_conn *c, uint32_t wnd, bool told_sack)
{
	/* Blocks have no room beside data: an ACK of their own follows (RFC 2018 4: in all ACKs). */
	if (told_sack || !c->has_sack || (!c->ooo && c->dsack[0] == c->dsack[1]))
		c->ack_now = false;
	if (told_sack)
		c->dsack[0] = c->dsack[1];
	c->n_unacked_segments = 0;
	c->last_ack_sent = c->rcv_nxt;
	if (seq_gt(c->rcv_nxt + wnd, c->rcv_adv))
		c->rcv_adv = c->rcv_nxt + wnd;
	conn_cancel(c, TIMER_ACK);
}

/* RFC 3168 6.1: only new data are ECN capable; no ACK, no retransmission, no probe. */
static uint8_t ecn_flags(struct tcp_conn *c, bool is_new_data)
{
	uint8_t flags = c->owes_ece ? FLAG_ECE : 0;

	if (is_new_data && c->owes_cwr) {
		c->owes_cwr = false;
		flags |= FLAG_CWR;
	}
	return flags;
}

/* Where the payload of a segment lies in the send queue. */
struct payload {
	struct rte_mbuf *m;
	uint32_t m_seq;
	uint32_t len;
	bool is_new;
};

/* Appends the payload. False: no mbuf was left, m is freed. */
static bool add_payload(struct tcp_conn *c, struct rte_mbuf *m, uint32_t seq, struct payload *p, uint8_t *flags)
{
	uint32_t done = sndq_reference(c, p->m, p->m_seq, seq, p->len, m);

	if (done == 0) {
		rte_pktmbuf_free(m);
		stat_reason(c->stack->stats, WEIR_R_NO_MBUF);
		return false;
	}
	if (done < p->len)
		*flags &= (uint8_t)~FLAG_FIN;
	else if (seq + done - c->snd_una == c->snd_bytes)
		*flags |= FLAG_PSH;
	p->len = done;
	return true;
}

static uint32_t window_field(const struct tcp_conn *c, uint32_t wnd, bool is_syn)
{
	if (is_syn || !c->has_wscale) /* never scaled in a SYN, RFC 7323 2.2 */
		return wnd > UINT16_MAX ? UINT16_MAX : wnd;
	return wnd >> c->rcv_wscale;
}

static unsigned write_syn_options(const struct tcp_conn *c, bool is_ack, uint8_t *p)
{
	const struct opt_syn o = {
		.mss = conn_mss_for(c->stack, &c->flow.remote),
		.wscale = c->rcv_wscale,
		.has_sack = !is_ack || c->has_sack,
		.has_ts = !is_ack || c->has_ts,
		.has_wscale = !is_ack || c->has_wscale,
		.ts_val = conn_ts_now(c),
		.ts_ecr = c->ts_recent,
	};

	return opt_write_syn(p, &o);
}

/*
 * Sends one segment, with p's payload if p is given; p->len becomes what was
 * sent of it. False: no mbuf was left.
 */
static bool send_segment(struct tcp_conn *c, uint8_t flags, uint32_t seq, struct payload *p)
{
	uint8_t options[TCP_HEADER_MAX - TCP_HEADER_MIN];
	bool is_syn = (flags & FLAG_SYN) != 0;
	bool is_ect = p && p->is_new && c->has_ecn;
	uint32_t wnd = conn_receive_window(c);
	uint32_t field = window_field(c, wnd, is_syn);
	struct tcp_stack *s = c->stack;
	unsigned n_options;
	struct rte_mbuf *m;

	n_options = is_syn ? write_syn_options(c, (flags & FLAG_ACK) != 0, options) : opt_write(options, c, conn_ts_now(c), !p);
	m = segment_alloc(s, TCP_HEADER_MIN + n_options);
	if (!m || (p && !add_payload(c, m, seq, p, &flags)))
		return false;
	if (!is_syn && c->has_ecn)
		flags |= ecn_flags(c, is_ect);
	segment_write_header(rte_pktmbuf_mtod(m, uint8_t *), &c->flow,
			     &(struct reply){
				     .seq = seq,
				     .ack = (flags & FLAG_ACK) ? c->rcv_nxt : 0,
				     .flags = flags,
				     .wnd = (uint16_t)field,
				     .options = options,
				     .n_options = n_options,
			     });
	if (p && p->len > conn_payload_max(c)) {
		m->tso_segsz = (uint16_t)conn_payload_max(c);
		m->l4_len = TCP_HEADER_MIN + n_options;
	}
	if (flags & FLAG_ACK)
		note_ack_sent(c, is_syn ? field : field << (c->has_wscale ? c->rcv_wscale : 0), !p);
	stat_inc(s->stats, WEIR_C_TCP_TX_SEGMENTS);
	s->env.output(s->env.ctx, m, &c->flow, is_ect ? ECN_ECT0 : ECN_NOT_ECT, s->now_us);
	return true;
}

void conn_send_control(struct tcp_conn *c, uint8_t flags, uint32_t seq)
{
	send_segment(c, flags, seq, NULL);
}

void conn_send_syn(struct tcp_conn *c)
{
	uint8_t flags = FLAG_SYN;

	if (c->state == TCP_SYN_RECEIVED)
		flags |= FLAG_ACK | (c->has_ecn ? FLAG_ECE : 0);
	else if (c->stack->cfg.ecn && c->backoff == 0) /* not again: who drops such a SYN gets one without (RFC 3168 6.1.1.1) */
		flags |= FLAG_ECE | FLAG_CWR;
	conn_send_control(c, flags, c->iss);
}

void conn_retry_soon(struct tcp_conn *c)
{
	if (wheel_is_armed(&c->timer[TIMER_RTX])) /* something is in flight, or a window is probed */
		return;
	c->rtx_mode = RTX_RETRY;
	conn_arm(c, TIMER_RTX, c->stack->now_us + RETRY_US);
}

/* -- pace */

/*
 * On a link so near that a window is gone within the wheel's tick, pacing
 * only costs. Otherwise segments leave at the rate that congestion control
 * says, in bursts of what that is in a millisecond.
 */
static bool is_paced_out(struct tcp_conn *c)
{
	struct tcp_flight *f = c->flight;

	if (!f || f->pace_at_us <= c->stack->now_us + PACE_BURST_US)
		return false;
	if (!wheel_is_armed(&f->pace))
		wheel_arm(c->stack->env.wheel, &f->pace, c->stack->env.wheel_kind + TIMER_PACE, f->pace_at_us - PACE_BURST_US / 2);
	return true;
}

uint64_t conn_pacing_rate(const struct tcp_conn *c)
{
	if (!c->cc.ops || (!c->cc.ops->owns_cwnd && (!c->stack->cfg.pacing || c->srtt_us < PACE_MIN_RTT_US)))
		return 0;
	return c->cc.ops->pacing_rate(&c->cc, conn_payload_max(c), c->srtt_us);
}

static void pace(struct tcp_conn *c, uint32_t n)
{
	struct tcp_flight *f = c->flight;
	uint64_t rate = conn_pacing_rate(c);

	if (!rate)
		return;
	if (f->pace_at_us < c->stack->now_us)
		f->pace_at_us = c->stack->now_us;
	f->pace_at_us += (uint64_t)n * 1000000 / rate;
}

/* The most that may go out as one piece: a segment, or several that the device or the layer below cuts. */
static uint32_t piece_max(const struct tcp_conn *c)
{
	uint32_t mss = conn_payload_max(c);
	uint32_t max = c->stack->cfg.tso_max_bytes;
	uint64_t rate;

	if (max < 2 * mss)
		return mss;
	rate = conn_pacing_rate(c);
	if (rate && rate / 1000 < max)
		max = (uint32_t)(rate / 1000);
	return max < mss ? mss : max / mss * mss;
}

/* -- data */

/* Something of the queue, or FIN, was sent: n sequence numbers. */
static void note_sent(struct tcp_conn *c, uint32_t n, bool is_resent)
{
	c->last_tx_us = c->stack->now_us;
	recovery_sent(c, n, is_resent);
	pace(c, n);
}

static bool fin_is_next(const struct tcp_conn *c, uint32_t seq)
{
	return c->fin_queued && seq == c->snd_una + c->snd_bytes;
}

/* g, or its first max bytes. */
static bool send_again(struct tcp_conn *c, struct tcp_seg *g, uint32_t max)
{
	uint32_t data_end = c->snd_una + c->snd_bytes;
	uint32_t len = g->end - g->seq;
	bool has_fin = len <= max && c->fin_queued && g->end == data_end + 1;
	struct payload p = {.m = g->m, .m_seq = g->m_seq, .len = len <= max ? len - has_fin : max};
	uint32_t want = p.len;

	if (!send_segment(c, FLAG_ACK | (has_fin ? FLAG_FIN : 0), g->seq, want ? &p : NULL))
		return false;
	if (p.len == want)
		p.len += has_fin;
	/* In part: without a record for the rest, that counts as sent and lost on the way. */
	if (p.len < len)
		flight_split(c, g, g->seq + p.len);
	flight_set_resent(c, g);
	note_sent(c, g->end - g->seq, true);
	return true;
}

/* What is lost, as far as the window allows. False: no more can be sent now. */
static bool send_lost(struct tcp_conn *c)
{
	struct tcp_flight *f = c->flight;
	uint32_t max = piece_max(c);
	struct tcp_seg *g;

	while (f && (g = f->lost_head) != NULL) {
		uint32_t flying = conn_flying(c);
		uint32_t room = c->cc.cwnd > flying ? c->cc.cwnd - flying : 0;
		uint32_t mss = conn_payload_max(c);
		uint32_t len = g->end - g->seq;

		if (f->awaits_ack || is_paced_out(c))
			return false;
		/* A peer that shrank its window gets its first missing segment only (RFC 9293 3.8.6). */
		if (g != f->head && seq_gt(g->end, c->snd_una + c->snd_wnd))
			return false;
		if (room < len && room < mss && flying) {
			c->is_cwnd_limited = true;
			return false;
		}
		if (len > max || (len > mss && room < len)) {
			len = room < max ? room / mss * mss : max;
			len = len ? len : mss;
		}
		if (!send_again(c, g, len)) {
			conn_retry_soon(c);
			return false;
		}
		if (f->head == g) /* its ACK is what the timer waits for */
			f->rto_at_us = c->stack->now_us + conn_rto(c);
		f->awaits_ack = f->sends_one;
	}
	return !f || !f->awaits_ack;
}

/* Sender's silly window avoidance (RFC 9293 3.8.6.2.1), without Nagle. */
static bool is_worth_sending(const struct tcp_conn *c, uint32_t len, uint32_t queued)
{
	return len == queued || len >= conn_payload_max(c) || len >= c->max_snd_wnd / 2;
}

/* Bytes that may be sent from snd_nxt on; notes whether the congestion window is what holds back the rest. */
static uint32_t sendable(struct tcp_conn *c, uint32_t queued)
{
	uint32_t out = c->snd_nxt - c->snd_una;
	uint32_t wnd = c->snd_wnd > out ? c->snd_wnd - out : 0;
	uint32_t flying = conn_flying(c);
	uint32_t cwnd = c->cc.cwnd > flying ? c->cc.cwnd - flying : 0;
	uint32_t len = queued < wnd ? queued : wnd;

	if (len > cwnd) {
		c->is_cwnd_limited = true;
		len = cwnd;
	}
	return len;
}

static bool send_piece(struct tcp_conn *c, uint32_t len, bool has_fin)
{
	struct payload p = {.len = len, .is_new = true};
	struct tcp_flight *f;
	bool is_first;
	uint32_t end;

	if (!flight_open(c))
		return false;
	f = c->flight;
	is_first = !f->head;
	if (len) {
		if (f->tail) {
			p.m = f->tail->m;
			p.m_seq = f->tail->m_seq;
		}
		sndq_seek(c, &p.m, &p.m_seq, c->snd_nxt);
	}
	if (!send_segment(c, FLAG_ACK | (has_fin ? FLAG_FIN : 0), c->snd_nxt, len ? &p : NULL)) {
		if (is_first)
			flight_close(c);
		return false;
	}
	end = c->snd_nxt + p.len + (has_fin && p.len == len);
	if (is_first) {
		f->rto_at_us = c->stack->now_us + conn_rto(c);
		c->progress_us = c->stack->now_us;
	}
	flight_add(c, c->snd_nxt, end, p.len ? p.m : NULL, p.m_seq);
	note_sent(c, end - c->snd_nxt, false);
	c->snd_nxt = end;
	c->is_probed = false;
	return true;
}

static uint32_t n_queued(const struct tcp_conn *c)
{
	uint32_t out = c->snd_nxt - c->snd_una;

	return c->snd_bytes > out ? c->snd_bytes - out : 0;
}

static void send_new(struct tcp_conn *c)
{
	uint32_t max = piece_max(c);

	for (;;) {
		uint32_t queued = n_queued(c);
		uint32_t len = sendable(c, queued);
		uint32_t mss = conn_payload_max(c);
		bool has_fin;

		if (len > max)
			len = max;
		if (len > mss && len < queued) /* whole segments, the rest comes later */
			len = len / mss * mss;
		if (len && !is_worth_sending(c, len, queued))
			len = 0;
		has_fin = len == queued && fin_is_next(c, c->snd_nxt + len);
		if ((len == 0 && !has_fin) || is_paced_out(c))
			break;
		if (!send_piece(c, len, has_fin)) {
			conn_retry_soon(c);
			break;
		}
	}
}

/* Data wait and the peer's window is shut, with nothing in flight to reopen it: probe (RFC 9293 3.8.6.1). */
static void maybe_persist(struct tcp_conn *c)
{
	if (c->flight || n_queued(c) == 0 || wheel_is_armed(&c->timer[TIMER_RTX]))
		return;
	c->backoff = 0;
	c->progress_us = c->stack->now_us;
	conn_arm_rtx(c, RTX_PERSIST);
}

/* After a pause the window says nothing of the network any more (RFC 5681 4.1). */
static void maybe_restart(struct tcp_conn *c)
{
	uint64_t idle_us = c->stack->now_us - c->last_tx_us;

	if (!c->flight && c->last_tx_us && n_queued(c))
		c->cc.ops->restart(&c->cc, conn_payload_max(c), c->rto_us, idle_us, c->stack->now_us);
}

/* RFC 5682 2.1 step 2b. False: no new data can go out, so the timeout is taken as real. */
static bool sends_new_first(struct tcp_conn *c)
{
	struct tcp_flight *f = c->flight;

	if (!f || !f->frto_sends_new)
		return false;
	send_new(c);
	if (c->snd_nxt != f->recovery_point || is_paced_out(c))
		return true;
	f->is_frto = f->frto_sends_new = false;
	return false;
}

static void send_data(struct tcp_conn *c)
{
	uint32_t nxt = c->snd_nxt;
	uint32_t n_resent = c->n_retransmits;

	maybe_restart(c);
	c->is_cwnd_limited = false;
	if (!sends_new_first(c) && send_lost(c))
		send_new(c);
	if (!c->flight)
		return;
	if (c->cc.cwnd < c->cc.ssthresh && conn_flying(c) > c->cc.cwnd / 2) /* slow start doubles: half is used to the full */
		c->is_cwnd_limited = true;
	if (n_queued(c) == 0 && !c->flight->lost_head && conn_flying(c) < c->cc.cwnd)
		rate_app_limited(c);
	if (c->snd_nxt != nxt || c->n_retransmits != n_resent)
		recovery_arm(c);
}

void conn_output(struct tcp_conn *c)
{
	switch ((enum tcp_state)c->state) {
	case TCP_ESTABLISHED:
	case TCP_CLOSE_WAIT:
	case TCP_FIN_WAIT_1:
	case TCP_CLOSING:
	case TCP_LAST_ACK:
		send_data(c);
		maybe_persist(c);
		flight_check(c);
		flight_check_wakeup(c);
		break;
	case TCP_FIN_WAIT_2:
	case TCP_TIME_WAIT:
		break;
	case TCP_SYN_SENT:
	case TCP_SYN_RECEIVED:
	case TCP_CLOSED:
		return; /* their segments are sent when things happen, and by the timer */
	}
	if (c->ack_now)
		conn_send_control(c, FLAG_ACK, c->snd_nxt);
}

bool conn_send_tail_probe(struct tcp_conn *c)
{
	uint32_t queued = n_queued(c);
	uint32_t mss = conn_payload_max(c);
	uint32_t len = queued < mss ? queued : mss;
	struct tcp_seg *g;

	c->tlp_is_resent = false;
	if (len && c->snd_nxt - c->snd_una + len <= c->snd_wnd)
		return send_piece(c, len, len == queued && fin_is_next(c, c->snd_nxt + len));
	g = c->flight->tail;
	if (g->end - g->seq > mss) { /* of a long piece its last segment */
		uint32_t at = g->seq + (g->end - g->seq - 1) / mss * mss;

		if (!flight_split(c, g, at))
			return false;
		g = c->flight->tail;
	}
	c->tlp_is_resent = true;
	return send_again(c, g, UINT32_MAX);
}

bool conn_send_override(struct tcp_conn *c)
{
	uint32_t queued = n_queued(c);
	uint32_t len = queued < c->snd_wnd ? queued : c->snd_wnd;

	if (len > conn_payload_max(c))
		len = conn_payload_max(c);
	if (c->flight || !len || !send_piece(c, len, len == queued && fin_is_next(c, c->snd_nxt + len)))
		return false;
	recovery_arm(c);
	return true;
}

void conn_send_probe(struct tcp_conn *c)
{
	struct payload p = {.len = 1};

	stat_inc(c->stack->stats, WEIR_C_TCP_ZERO_WINDOW_PROBES);
	sndq_seek(c, &p.m, &p.m_seq, c->snd_nxt);
	/* The peer may take the byte: then its ACK is for something sent. */
	if (p.m && send_segment(c, FLAG_ACK, c->snd_nxt, &p))
		c->is_probed = true;
}

void conn_send_reset(struct tcp_conn *c)
{
	const struct reply r = {.seq = c->snd_nxt, .ack = c->rcv_nxt, .flags = FLAG_RST | FLAG_ACK};

	reply_send(c->stack, &c->flow, &r);
}
