/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments in: RFC 9293 3.10.7 in its order (sequence number, RST, SYN, ACK,
 * data, FIN), with RFC 7323's PAWS and RFC 5961's answers to blind attacks.
 * Only state changes here; events and output are noted for tcp_run().
 */
#include <string.h>

#include <rte_mbuf.h>

#include "tcp/tcp_pvt.h"

static void drop_segment(struct tcp_stack *s, struct rte_mbuf *m, enum weir_reason why)
{
	stat_reason(s->stats, why);
	rte_pktmbuf_free(m);
}

static void ack_at_once(struct tcp_conn *c)
{
	c->ack_now = true;
	conn_mark_output(c);
}

/* An ACK at once, if fewer than max were sent in this second: n counts them. False: withheld. */
static bool ack_if_below(struct tcp_conn *c, uint8_t *n, uint8_t max)
{
	uint32_t now_s = (uint32_t)(c->stack->now_us / 1000000);

	if (c->challenge_s != now_s) {
		c->challenge_s = now_s;
		c->n_challenges = c->n_repeats = 0;
	}
	if (*n >= max) {
		stat_inc(c->stack->stats, WEIR_C_TCP_ACK_WITHHELD);
		return false;
	}
	++*n;
	ack_at_once(c);
	return true;
}

/* Data are answered in any case: those whose ACK is withheld together, by a delayed one. */
static void ack_later(struct tcp_conn *c)
{
	if (!wheel_is_armed(&c->timer[TIMER_ACK]))
		conn_arm(c, TIMER_ACK, c->stack->now_us + DELACK_US);
}

/* RFC 5961 5: an ACK that only the real peer can use, a bounded number of them. */
static void challenge(struct tcp_conn *c)
{
	ack_if_below(c, &c->n_challenges, CHALLENGES_PER_SECOND);
}

/*
 * Data, or FIN, that may be nothing new: the answer may have been lost, or tells
 * of a duplicate (RFC 2883), but a peer that answers it with the same again must
 * not be answered for ever. Data that are taken in order begin the count anew.
 */
static void answer_repeat(struct tcp_conn *c)
{
	if (!ack_if_below(c, &c->n_repeats, REPEATS_PER_SECOND))
		ack_later(c);
}

/* Data for which there is no memory: who sends them again at each answer would do so for as long as that lasts. */
static void answer_dropped(struct tcp_conn *c)
{
	if (!ack_if_below(c, &c->n_challenges, CHALLENGES_PER_SECOND))
		ack_later(c);
}

/*
 * A segment that is not acceptable is answered by an ACK, but two sides that
 * disagree must not answer each other for ever: only so often, seldom without data.
 */
static void answer_unacceptable(struct tcp_conn *c, const struct tcp_segment *seg)
{
	if (seg->len)
		answer_repeat(c);
	else
		challenge(c);
}

/* -- SYN-SENT */

/* The handshake's round trip. Where it was repeated only time stamps measure it; without, RFC 6298 5.7 says 3 s. */
static void measure_handshake(struct tcp_conn *c, const struct tcp_segment *seg)
{
	uint32_t rtt = (uint32_t)(c->stack->now_us - c->last_tx_us);

	if (!c->is_timing && c->has_ts && seg->has_ts && seg->ts_ecr)
		rtt = (conn_ts_now(c) - seg->ts_ecr) * 1000;
	else if (!c->is_timing)
		rtt = UINT32_MAX;
	c->is_timing = false;
	if (rtt < RTO_MAX_US)
		conn_measure_rtt(c, rtt, rtt);
	else
		c->rto_us = RTO_AFTER_SYN_US;
}

static void syn_sent_established(struct tcp_conn *c, const struct tcp_segment *seg)
{
	c->snd_una = seg->ack;
	measure_handshake(c, seg);
	conn_established(c);
	ack_at_once(c);
}

static void input_syn_sent(struct tcp_conn *c, const struct tcp_segment *seg)
{
	bool has_ack = (seg->flags & FLAG_ACK) != 0;

	if (has_ack && (seq_le(seg->ack, c->iss) || seq_gt(seg->ack, c->snd_nxt))) {
		stat_reason(c->stack->stats, WEIR_R_TCP_BAD_ACK);
		send_reset(c->stack, &c->flow, seg);
		return;
	}
	if (seg->flags & FLAG_RST) {
		if (!has_ack) {
			stat_reason(c->stack->stats, WEIR_R_TCP_BAD_FLAGS);
			return;
		}
		stat_inc(c->stack->stats, WEIR_C_TCP_RST_RX);
		conn_drop(c, WEIR_R_CLOSE_REFUSED);
		return;
	}
	if (!(seg->flags & FLAG_SYN)) {
		stat_reason(c->stack->stats, WEIR_R_TCP_BAD_FLAGS);
		return;
	}
	conn_take_syn(c, seg);
	if (c->backoff) /* we have sent a SYN without it: then no data may be ECN capable (RFC 3168 6.1.1) */
		c->has_ecn = false;
	if (has_ack) {
		syn_sent_established(c, seg);
		return;
	}
	/* Simultaneous open. */
	c->state = TCP_SYN_RECEIVED;
	conn_send_syn(c);
}

/* -- sequence checks */

/* RFC 9293 3.10.7.4, first: does any of it lie in the window? */
static bool is_in_window(const struct tcp_conn *c, const struct tcp_segment *seg, uint32_t seg_len)
{
	uint32_t wnd = conn_receive_window(c);
	uint32_t end = c->rcv_nxt + wnd;

	if (wnd == 0)
		return seg_len == 0 && seg->seq == c->rcv_nxt;
	if (seg_len == 0)
		return seq_ge(seg->seq, c->rcv_nxt) && seq_lt(seg->seq, end);
	return seq_lt(seg->seq, end) && seq_gt(seg->seq + seg_len, c->rcv_nxt);
}

/* RFC 7323 5.5: after so long the peer's clock may have wrapped. */
static bool is_ts_outdated(const struct tcp_conn *c)
{
	return c->stack->now_us - c->last_rx_us >= 24ull * 86400 * 1000000;
}

/* PAWS (RFC 7323 5.3). True: the segment is old. */
static bool is_old_by_ts(const struct tcp_conn *c, const struct tcp_segment *seg)
{
	if (!c->has_ts || !seg->has_ts || (seg->flags & FLAG_RST))
		return false;
	return (int32_t)(seg->ts_val - c->ts_recent) < 0 && !is_ts_outdated(c);
}

static void take_ts(struct tcp_conn *c, const struct tcp_segment *seg)
{
	if (c->has_ts && seg->has_ts && seq_le(seg->seq, c->last_ack_sent) &&
	    ((int32_t)(seg->ts_val - c->ts_recent) >= 0 || is_ts_outdated(c)))
		c->ts_recent = seg->ts_val;
}

/* RFC 3168 6.1.3: CWR ends what an earlier mark began; a mark on the same segment begins anew. */
static void take_ecn(struct tcp_conn *c, const struct tcp_segment *seg)
{
	if (!c->has_ecn)
		return;
	if (seg->flags & FLAG_CWR)
		c->owes_ece = false;
	if (seg->ecn == ECN_CE && seg->len) {
		if (!c->owes_ece)
			answer_repeat(c);
		c->owes_ece = true;
		stat_inc(c->stack->stats, WEIR_C_TCP_ECN_CE_RX);
	}
}

/* -- RST and SYN */

static void input_rst(struct tcp_conn *c, const struct tcp_segment *seg)
{
	if (seg->seq != c->rcv_nxt) { /* RFC 5961 3.2 */
		if (conn_is_synchronized(c))
			challenge(c);
		stat_reason(c->stack->stats, WEIR_R_TCP_OUT_OF_WINDOW);
		return;
	}
	stat_inc(c->stack->stats, WEIR_C_TCP_RST_RX);
	if (c->state == TCP_SYN_RECEIVED)
		conn_drop(c, c->is_passive ? WEIR_R_CLOSE_RESET_BY_PEER : WEIR_R_CLOSE_REFUSED);
	else
		conn_drop(c, WEIR_R_CLOSE_RESET_BY_PEER);
}

/* -- ACK */

/*
 * RFC 9293 3.10.7.4, but that a later ACK is later whatever the number of its
 * segment: a retransmission that brings it has a lower one, and without its
 * window the old one would count from the new SND.UNA, beyond what was offered.
 */
static void update_window(struct tcp_conn *c, const struct tcp_segment *seg)
{
	uint32_t wnd = seg->wnd << c->snd_wscale;
	bool was_shut = c->snd_wnd == 0;

	if (seq_lt(seg->ack, c->snd_wl2) || (seg->ack == c->snd_wl2 && seq_lt(seg->seq, c->snd_wl1)))
		return;
	if (wnd > c->snd_wnd)
		conn_mark_output(c);
	c->snd_wnd = wnd;
	if (wnd > c->max_snd_wnd)
		c->max_snd_wnd = wnd;
	c->snd_wl1 = seg->seq;
	c->snd_wl2 = seg->ack;
	if (c->rtx_mode == RTX_PERSIST && wheel_is_armed(&c->timer[TIMER_RTX])) {
		c->progress_us = c->stack->now_us; /* it answers: as long as it does, we wait (RFC 9293 3.8.6.1) */
		if (wnd > 0 && was_shut) { /* one that stays small is waited for no longer each time that it is told */
			c->backoff = 0;
			conn_cancel(c, TIMER_RTX);
			conn_mark_output(c);
		}
	}
}

/* RFC 5681 2: what counts as a duplicate acknowledgement. */
static bool is_dupack(const struct tcp_conn *c, const struct tcp_segment *seg)
{
	return seg->len == 0 && !(seg->flags & (FLAG_SYN | FLAG_FIN)) && seg->ack == c->snd_una && c->flight &&
	       seg->wnd << c->snd_wscale == c->snd_wnd;
}

/* Our FIN was acknowledged. False: the connection is gone. */
static bool on_fin_acked(struct tcp_conn *c)
{
	switch ((enum tcp_state)c->state) {
	case TCP_FIN_WAIT_1:
		c->state = TCP_FIN_WAIT_2;
		if (c->is_detached)
			conn_arm_fin_timeout(c);
		return true;
	case TCP_CLOSING:
		conn_set_time_wait(c);
		return !c->is_dead;
	case TCP_LAST_ACK:
		conn_finish(c);
		return false;
	default:
		return true;
	}
}

/* False: the segment's work ends here (the connection may be gone). */
static bool input_ack(struct tcp_conn *c, const struct tcp_segment *seg)
{
	if (c->state == TCP_SYN_RECEIVED) {
		if (seq_le(seg->ack, c->snd_una) || seq_gt(seg->ack, c->snd_nxt)) {
			stat_reason(c->stack->stats, WEIR_R_TCP_BAD_ACK);
			send_reset(c->stack, &c->flow, seg);
			return false;
		}
		measure_handshake(c, seg);
		c->snd_una = c->iss + 1;
		c->snd_wl1 = seg->seq - 1; /* so that the window is taken */
		conn_established(c);
	}
	if (seq_gt(seg->ack, c->snd_nxt + c->is_probed)) {
		stat_reason(c->stack->stats, WEIR_R_TCP_BAD_ACK);
		challenge(c);
		return false;
	}
	/* RFC 5961 5.2: far too old. */
	if (seq_lt(seg->ack, c->snd_una - c->max_snd_wnd) && c->max_snd_wnd) {
		stat_reason(c->stack->stats, WEIR_R_TCP_BAD_ACK);
		challenge(c);
		return false;
	}
	if (seq_ge(seg->ack, c->snd_una)) {
		bool is_dup = is_dupack(c, seg);

		if (is_dup)
			stat_inc(c->stack->stats, WEIR_C_TCP_DUP_ACKS);
		recovery_ack(c, seg, is_dup);
		update_window(c, seg); /* a window counts from an acknowledgement that does (RFC 9293 3.10.7.4) */
	}
	return !c->fin_acked || on_fin_acked(c);
}

/* -- data and FIN */

/* In order: at least every second full-sized segment is acknowledged, others within 40 ms (RFC 9293 3.8.6.3). */
static void schedule_ack(struct tcp_conn *c, const struct tcp_segment *seg)
{
	if (seg->len >= c->mss / 2u)
		c->n_unacked_segments = (uint8_t)(c->n_unacked_segments + seg->n_segs);
	if (c->ooo || c->n_unacked_segments >= 2) {
		ack_at_once(c);
		return;
	}
	if (!wheel_is_armed(&c->timer[TIMER_ACK]))
		conn_arm(c, TIMER_ACK, c->stack->now_us + DELACK_US);
}

static void input_data(struct tcp_conn *c, struct rte_mbuf *m, struct tcp_segment *seg)
{
	bool had_ooo = c->n_ooo != 0;
	uint32_t ooo_bytes = c->ooo_bytes;

	if (rcvq_must_drop(c, seg->seq)) {
		drop_segment(c->stack, m, WEIR_R_TCP_MEMORY);
		answer_dropped(c);
		return;
	}
	if (!rcvq_input(c, m, seg->seq, seg->len)) {
		if (c->ooo_bytes != ooo_bytes)
			ack_at_once(c); /* a gap: a duplicate ACK tells of it */
		else
			answer_repeat(c); /* known, or refused */
		return;
	}
	c->n_repeats = 0;
	if (had_ooo)
		ack_at_once(c);
	else
		schedule_ack(c, seg);
	conn_mark_ready(c, TCP_EV_READABLE);
}

static void input_fin(struct tcp_conn *c)
{
	c->rcv_nxt++;
	c->has_early_fin = false;
	rcvq_end(c);
	c->fin_received = true;
	ack_at_once(c);
	conn_mark_ready(c, TCP_EV_READABLE);
	switch ((enum tcp_state)c->state) {
	case TCP_ESTABLISHED:
		c->state = TCP_CLOSE_WAIT;
		break;
	case TCP_FIN_WAIT_1:
		c->state = TCP_CLOSING;
		break;
	case TCP_FIN_WAIT_2:
		conn_set_time_wait(c);
		break;
	default:
		break;
	}
}

/* Cuts what lies outside of the window. m begins at the payload. */
static void trim_to_window(struct tcp_conn *c, struct rte_mbuf *m, struct tcp_segment *seg)
{
	uint32_t end = c->rcv_nxt + conn_receive_window(c);

	if (seq_lt(seg->seq, c->rcv_nxt)) {
		uint32_t cut = c->rcv_nxt - seg->seq;

		if (cut > seg->len)
			cut = seg->len;
		if (cut) {
			rcvq_duplicate(c, seg->seq, seg->seq + cut);
			answer_repeat(c);
		}
		seg->seq += cut;
		seg->len -= cut;
		rcvq_trim_front(m, cut);
	}
	if (seq_gt(seg->seq + seg->len, end)) {
		uint32_t keep = seq_gt(end, seg->seq) ? end - seg->seq : 0;

		stat_reason(c->stack->stats, WEIR_R_TCP_RX_BUFFER_FULL);
		seg->flags &= (uint8_t)~FLAG_FIN;
		seg->len = keep;
		m->pkt_len = keep;
		for (struct rte_mbuf *p = m; p; p = p->next) {
			uint16_t k = keep < p->data_len ? (uint16_t)keep : p->data_len;

			p->data_len = k;
			keep -= k;
		}
		answer_repeat(c);
	}
}

/* FIN, be there data missing before it or not. */
static void note_fin(struct tcp_conn *c, uint32_t seq)
{
	bool is_known = c->has_early_fin && c->early_fin == seq;

	c->has_early_fin = true;
	c->early_fin = seq;
	if (is_known)
		answer_repeat(c);
	else
		ack_at_once(c);
}

/* Data or FIN of a segment whose other parts were taken. Takes m. */
static void input_payload(struct tcp_conn *c, struct rte_mbuf *m, struct tcp_segment *seg)
{
	if (!conn_may_receive(c)) { /* after the peer's FIN nothing follows */
		if (seg->len && seq_gt(seg->seq + seg->len, c->rcv_nxt))
			stat_reason(c->stack->stats, WEIR_R_TCP_DATA_AFTER_FIN);
		rte_pktmbuf_free(m);
		return;
	}
	trim_to_window(c, m, seg);
	if (seg->len && c->is_detached) { /* new data: what was there already may come again */
		rte_pktmbuf_free(m);
		conn_send_reset(c);
		conn_drop(c, WEIR_R_CLOSE_DATA_AFTER_CLOSE);
		return;
	}
	if (seg->flags & FLAG_FIN)
		note_fin(c, seg->seq + seg->len);
	if (seg->len)
		input_data(c, m, seg);
	else
		rte_pktmbuf_free(m);
	if (c->has_early_fin && c->rcv_nxt == c->early_fin)
		input_fin(c);
}

/* -- all together */

static void input_segment(struct tcp_conn *c, struct rte_mbuf *m, struct tcp_segment *seg)
{
	struct tcp_stack *s = c->stack;
	uint32_t seg_len = seg->len + !!(seg->flags & FLAG_SYN) + !!(seg->flags & FLAG_FIN);

	if (is_old_by_ts(c, seg)) {
		answer_unacceptable(c, seg);
		drop_segment(s, m, WEIR_R_TCP_PAWS);
		return;
	}
	/* RFC 7323 3.2: once agreed, every segment has them. */
	if (c->has_ts && !seg->has_ts && !(seg->flags & (FLAG_RST | FLAG_SYN))) {
		drop_segment(s, m, WEIR_R_TCP_NO_TIME_STAMP);
		return;
	}
	if (!is_in_window(c, seg, seg_len)) {
		bool is_zero_probe = conn_receive_window(c) == 0 && seg->seq == c->rcv_nxt;

		if (c->state == TCP_SYN_RECEIVED && (seg->flags & FLAG_SYN)) /* our SYN-ACK was lost */
			conn_send_syn(c);
		else if (!(seg->flags & FLAG_RST))
			answer_unacceptable(c, seg);
		if (seg->len && seq_le(seg->seq + seg->len, c->rcv_nxt))
			rcvq_duplicate(c, seg->seq, seg->seq + seg->len);
		/* With the window shut, acknowledgements still count (RFC 9293 3.10.7.4). */
		if (is_zero_probe && (seg->flags & FLAG_ACK) && !(seg->flags & (FLAG_RST | FLAG_SYN)) &&
		    c->state != TCP_SYN_RECEIVED)
			input_ack(c, seg);
		drop_segment(s, m, WEIR_R_TCP_OUT_OF_WINDOW);
		return;
	}
	if (seg->flags & FLAG_RST) {
		input_rst(c, seg);
		rte_pktmbuf_free(m);
		return;
	}
	if (seg->flags & FLAG_SYN) { /* RFC 5961 4.2 */
		if (c->state == TCP_SYN_RECEIVED && !c->is_passive && (seg->flags & FLAG_ACK) && seg->seq == c->irs) {
			/* the other half of a simultaneous open */
		} else {
			challenge(c);
			drop_segment(s, m, WEIR_R_TCP_BAD_FLAGS);
			return;
		}
	}
	if (!(seg->flags & FLAG_ACK)) {
		drop_segment(s, m, WEIR_R_TCP_BAD_FLAGS);
		return;
	}
	take_ts(c, seg);
	take_ecn(c, seg);
	c->last_rx_us = s->now_us;
	c->n_keepalive = 0;
	if (!input_ack(c, seg)) {
		rte_pktmbuf_free(m);
		return;
	}
	if (seg->len || (seg->flags & FLAG_FIN)) {
		rte_pktmbuf_adj(m, seg->header_len);
		input_payload(c, m, seg);
	} else {
		rte_pktmbuf_free(m);
	}
}

/* The other side of a simultaneous open answers our SYN with SYN-ACK: its SYN counts as received. */
static void strip_known_syn(const struct tcp_conn *c, struct tcp_segment *seg)
{
	if (c->state == TCP_SYN_RECEIVED && !c->is_passive && (seg->flags & FLAG_SYN) && (seg->flags & FLAG_ACK) &&
	    seg->seq == c->irs) {
		seg->flags &= (uint8_t)~FLAG_SYN;
		seg->seq++;
	}
}

void tcp_input(struct tcp_stack *s, struct rte_mbuf *m, const struct tcp_packet *packet, uint64_t now_us)
{
	struct tcp_segment seg;
	struct ip_flow flow = {.local = packet->dst, .remote = packet->src};
	const uint8_t *h = rte_pktmbuf_mtod(m, const uint8_t *);
	struct flow_hit hit;
	struct tcp_conn *c;

	s->now_us = now_us;
	stat_add(s->stats, WEIR_C_TCP_RX_SEGMENTS, packet->n_segs ? packet->n_segs : 1);
	if (!opt_parse(h, m->data_len, &seg)) {
		drop_segment(s, m, WEIR_R_TCP_BAD_HEADER);
		return;
	}
	seg.len = m->pkt_len - seg.header_len;
	seg.ecn = packet->ecn;
	seg.n_segs = packet->n_segs < 2 ? 1 : 2; /* all that schedule_ack() asks */
	flow.remote_port = (uint16_t)(h[0] << 8 | h[1]);
	flow.local_port = (uint16_t)(h[2] << 8 | h[3]);
	table_lookup(s, &flow, &hit);
	c = hit.conn;
	if (!c)
		c = listen_input(s, &flow, &hit, &seg); /* one that this segment establishes */
	if (!c) {
		rte_pktmbuf_free(m);
		return;
	}
	if (c->state == TCP_SYN_SENT) {
		input_syn_sent(c, &seg);
		rte_pktmbuf_free(m);
		return;
	}
	strip_known_syn(c, &seg);
	input_segment(c, m, &seg);
}

bool tcp_icmp_error(struct tcp_stack *s, const struct ip_flow *flow, uint32_t seq, enum tcp_icmp what, uint16_t mtu,
		    uint64_t now_us)
{
	struct tcp_conn *c = table_find(s, flow);
	uint16_t least = ip_mtu_min(&flow->remote);
	uint16_t mss;

	s->now_us = now_us;
	/* Only for what is in flight (RFC 5927 4.1). */
	if (!c || seq_lt(seq, c->snd_una) || seq_ge(seq, c->snd_nxt))
		return false;
	if (what == TCP_ICMP_UNREACHABLE) {
		if (c->state == TCP_SYN_SENT) /* a connection that stands does not end for this (RFC 5927 5.2) */
			conn_drop(c, WEIR_R_CLOSE_UNREACHABLE);
		return true;
	}
	if (mtu < least) {
		if (!ip_is4(&flow->remote)) /* RFC 8201 4: no such path is IPv6 */
			return false;
		mtu = least;
	}
	mss = (uint16_t)(mtu - ip_mss_overhead(&flow->remote));
	if (!conn_is_synchronized(c) || mss >= c->mss)
		return true;
	c->mss = c->mss_full = mss;
	c->is_doubted = false;
	stat_inc(s->stats, WEIR_C_TCP_MTU_REDUCED);
	recovery_mtu_reduced(c);
	return true;
}
