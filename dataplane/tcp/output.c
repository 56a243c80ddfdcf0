/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes out: data as the windows allow (RFC 9293 3.8.6, RFC 5681), ACKs,
 * retransmissions, probes and resets. Without an mbuf nothing is lost: the
 * connection tries again when its timer runs.
 */
#include <rte_mbuf.h>

#include "tcp/tcp_pvt.h"

#define IP4_HEADER 20
#define IP6_HEADER 40

uint16_t conn_mss_for(const struct tcp_stack *s, const struct weir_ip *remote)
{
	return (uint16_t)(s->cfg.mtu - TCP_HEADER_MIN - (ip_is4(remote) ? IP4_HEADER : IP6_HEADER));
}

uint32_t conn_ts_now(const struct tcp_conn *c)
{
	return ts_clock(c->stack, c->ts_offset);
}

/* What may still be received; the right edge never moves back (RFC 9293 3.8.6.2). */
uint32_t conn_receive_window(const struct tcp_conn *c)
{
	uint32_t size = c->stack->cfg.rx_buffer_bytes;
	uint32_t wnd = c->rcv_bytes < size ? size - c->rcv_bytes : 0;
	uint32_t shift = c->has_wscale ? c->rcv_wscale : 0;

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
static void note_ack_sent(struct tcp_conn *c, uint32_t wnd)
{
	c->ack_now = false;
	c->n_unacked_segments = 0;
	c->last_ack_sent = c->rcv_nxt;
	if (seq_gt(c->rcv_nxt + wnd, c->rcv_adv))
		c->rcv_adv = c->rcv_nxt + wnd;
	conn_cancel(c, TIMER_ACK);
}

static void give(struct tcp_conn *c, struct rte_mbuf *m)
{
	struct tcp_stack *s = c->stack;

	stat_inc(s->stats, WEIR_C_TCP_TX_SEGMENTS);
	s->env.output(s->env.ctx, m, &c->flow, 0, s->now_us);
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
 * Sends one segment: payload from seq on out of the queue. Returns the
 * payload bytes sent, or -1 if no mbuf was left.
 */
static int send_segment(struct tcp_conn *c, uint8_t flags, uint32_t seq, uint32_t len)
{
	uint8_t options[TCP_HEADER_MAX - TCP_HEADER_MIN];
	uint32_t wnd = conn_receive_window(c);
	unsigned n_options;
	struct rte_mbuf *m;
	uint32_t done = 0;

	if (flags & FLAG_SYN) {
		n_options = write_syn_options(c, (flags & FLAG_ACK) != 0, options);
		if (wnd > UINT16_MAX) /* never scaled in a SYN, RFC 7323 2.2 */
			wnd = UINT16_MAX;
	} else {
		n_options = opt_write(options, c, conn_ts_now(c), c->has_sack && c->ooo && len == 0);
	}
	m = segment_alloc(c->stack, TCP_HEADER_MIN + n_options);
	if (!m)
		return -1;
	if (len) {
		done = sndq_reference(c, seq - c->snd_una, len, m);
		if (done == 0) {
			rte_pktmbuf_free(m);
			stat_reason(c->stack->stats, WEIR_R_NO_MBUF);
			return -1;
		}
		if (done < len)
			flags &= (uint8_t)~FLAG_FIN;
		else if (seq + len - c->snd_una == c->snd_bytes)
			flags |= FLAG_PSH;
	}
	segment_write_header(rte_pktmbuf_mtod(m, uint8_t *), &c->flow,
			     &(struct reply){
				     .seq = seq,
				     .ack = (flags & FLAG_ACK) ? c->rcv_nxt : 0,
				     .flags = flags,
				     .wnd = (uint16_t)((flags & FLAG_SYN) || !c->has_wscale ? wnd : wnd >> c->rcv_wscale),
				     .options = options,
				     .n_options = n_options,
			     });
	if (flags & FLAG_ACK)
		note_ack_sent(c, c->has_wscale && !(flags & FLAG_SYN) ? wnd >> c->rcv_wscale << c->rcv_wscale : wnd);
	give(c, m);
	return (int)done;
}

void conn_send_control(struct tcp_conn *c, uint8_t flags, uint32_t seq)
{
	send_segment(c, flags, seq, 0);
}

/* Bytes of payload in a segment: the MSS less the options that it will carry. */
static uint32_t payload_max(const struct tcp_conn *c)
{
	return c->has_ts ? c->mss - 12u : c->mss;
}

static void start_timing(struct tcp_conn *c, uint32_t seq)
{
	if (c->is_timing)
		return;
	c->is_timing = true;
	c->rtt_seq = seq;
	c->rtt_start_us = c->stack->now_us;
}

/* Everything in the queue, and the FIN behind it, has been sent at least once up to here. */
static void advance(struct tcp_conn *c, uint32_t end)
{
	bool is_new = seq_gt(end, c->snd_max);

	if (is_new) {
		start_timing(c, c->snd_nxt);
		if (c->snd_max == c->snd_una)
			c->progress_us = c->stack->now_us;
		c->snd_max = end;
	} else {
		stat_inc(c->stack->stats, WEIR_C_TCP_RETRANSMITS);
		c->n_retransmits++;
	}
	c->snd_nxt = end;
	if (!wheel_is_armed(&c->timer[TIMER_RTX]) || c->is_persist) {
		c->is_persist = false;
		conn_arm_rtx(c);
	}
}

/* Bytes that the windows allow from snd_nxt on. */
static uint32_t sendable(const struct tcp_conn *c)
{
	uint32_t wnd = c->snd_wnd < c->cc.cwnd ? c->snd_wnd : c->cc.cwnd;
	uint32_t out = c->snd_nxt - c->snd_una;
	uint32_t queued = c->snd_bytes > out ? c->snd_bytes - out : 0;

	/* Limited transmit (RFC 3042): the first two duplicates let one new segment out each. */
	if (!c->in_recovery && c->n_dupacks > 0 && c->n_dupacks < DUPACK_THRESHOLD) {
		uint32_t more = wnd + c->n_dupacks * c->mss;

		wnd = more < c->snd_wnd ? more : c->snd_wnd;
	}
	if (wnd <= out)
		return 0;
	return queued < wnd - out ? queued : wnd - out;
}

/* Sender's silly window avoidance (RFC 9293 3.8.6.2.1), without Nagle. */
static bool is_worth_sending(const struct tcp_conn *c, uint32_t len, uint32_t queued)
{
	return len == queued || len >= payload_max(c) || len >= c->max_snd_wnd / 2;
}

static bool fin_is_next(const struct tcp_conn *c, uint32_t seq)
{
	return c->fin_queued && seq == c->snd_una + c->snd_bytes;
}

static void send_data(struct tcp_conn *c)
{
	for (;;) {
		uint32_t out = c->snd_nxt - c->snd_una;
		uint32_t queued = c->snd_bytes > out ? c->snd_bytes - out : 0;
		uint32_t len = sendable(c);
		uint8_t flags = FLAG_ACK;
		int sent;

		if (len > payload_max(c))
			len = payload_max(c);
		if (len && !is_worth_sending(c, len, queued))
			len = 0;
		if (len == queued && fin_is_next(c, c->snd_nxt + len))
			flags |= FLAG_FIN;
		if (len == 0 && !(flags & FLAG_FIN))
			break;
		sent = send_segment(c, flags, c->snd_nxt, len);
		if (sent < 0) { /* no mbuf: when the timer runs */
			if (!wheel_is_armed(&c->timer[TIMER_RTX]))
				conn_arm_rtx(c);
			break;
		}
		advance(c, c->snd_nxt + (uint32_t)sent + ((flags & FLAG_FIN) && (uint32_t)sent == len ? 1 : 0));
	}
}

/* Data wait and the peer's window is shut, with nothing in flight to reopen it: probe (RFC 9293 3.8.6.1). */
static void maybe_persist(struct tcp_conn *c)
{
	bool waits = c->snd_bytes > c->snd_nxt - c->snd_una;

	if (!waits || c->snd_nxt != c->snd_una || wheel_is_armed(&c->timer[TIMER_RTX]))
		return;
	c->is_persist = true;
	c->backoff = 0;
	c->progress_us = c->stack->now_us;
	conn_arm_rtx(c);
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
		break;
	case TCP_FIN_WAIT_2:
	case TCP_TIME_WAIT:
		break;
	case TCP_SYN_SENT:
	case TCP_SYN_RECEIVED:
	case TCP_CLOSED:
		return; /* their segments are sent when things happen, and by the timer */
	}
	/* In the midst of retransmission snd_nxt is behind: the peer would find an ACK with it old, and drop it. */
	if (c->ack_now)
		send_segment(c, FLAG_ACK, c->snd_max, 0);
}

void conn_retransmit(struct tcp_conn *c)
{
	uint32_t end = c->snd_una + c->snd_bytes; /* of the data */
	uint32_t len = c->snd_bytes;
	uint8_t flags = FLAG_ACK;

	if (len > payload_max(c))
		len = payload_max(c);
	if (len > c->snd_max - c->snd_una)
		len = c->snd_max - c->snd_una;
	if (c->snd_una + len == end && c->fin_queued && seq_gt(c->snd_max, end))
		flags |= FLAG_FIN;
	if (len == 0 && !(flags & FLAG_FIN))
		return;
	c->is_timing = false; /* Karn */
	stat_inc(c->stack->stats, WEIR_C_TCP_RETRANSMITS);
	c->n_retransmits++;
	send_segment(c, flags, c->snd_una, len);
}

void conn_send_probe(struct tcp_conn *c)
{
	stat_inc(c->stack->stats, WEIR_C_TCP_ZERO_WINDOW_PROBES);
	if (send_segment(c, FLAG_ACK, c->snd_una, 1) < 0)
		return;
	/* The peer may take the byte: then its ACK is for something sent. */
	c->snd_max = seq_max(c->snd_max, c->snd_una + 1);
}

void conn_send_reset(struct tcp_conn *c)
{
	const struct reply r = {.seq = c->snd_max, .ack = c->rcv_nxt, .flags = FLAG_RST | FLAG_ACK};

	reply_send(c->stack, &c->flow, &r);
}
