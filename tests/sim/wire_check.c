/* SPDX-License-Identifier: Apache-2.0 */
/* Rules for what an end sends: numbers, windows, options. See wire_check.h. */
#include "wire_check.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tcp/seq.h"
#include "text.h"

#define MSS_LEAST 64 /* below this an announced MSS is not believed */
#define ACK_LIMIT_US 500000 /* RFC 9293 3.8.6.3 */
#define ECN_ECT1 1
#define ECN_CE 3

void wire_fail(struct wire_conn *w, int side, const char *fmt, ...)
{
	va_list args;
	int n;

	if (w->broken[0] || !w->limits.is_judged[side])
		return;
	n = snprintf(w->broken, sizeof(w->broken), "the %s ", side ? "server" : "client");
	va_start(args, fmt);
	vsnprintf(w->broken + n, sizeof(w->broken) - (size_t)n, fmt, args);
	va_end(args);
}

void wire_check_init(struct wire_conn *w, const struct wire_limits *limits)
{
	memset(w, 0, sizeof(*w));
	w->limits = *limits;
	w->last_pure = -1;
}

static bool has_ts(const struct wire_side *e)
{
	return e->offer.has_ts && e->heard.has_ts;
}

static bool has_ecn(const struct wire_side *e)
{
	return e->offers_ecn && e->heard_ecn;
}

/* Shift of the windows that this end announces, and of those that it hears. */
static unsigned out_shift(const struct wire_side *e)
{
	return e->offer.has_wscale && e->heard.has_wscale ? e->offer.wscale : 0;
}

static unsigned in_shift(const struct wire_side *e)
{
	if (!e->offer.has_wscale || !e->heard.has_wscale)
		return 0;
	return e->heard.wscale > 14 ? 14 : e->heard.wscale;
}

uint32_t wire_arrived_end(const struct wire_side *e)
{
	return e->irs + 1 + wire_ranges_contiguous(&e->got);
}

static struct wire_options options_of(const struct wire_seg *s)
{
	return (struct wire_options){.has_mss = s->has_mss, .has_wscale = s->has_wscale, .has_sack_ok = s->has_sack_ok,
				     .has_ts = s->has_ts, .mss = s->mss, .wscale = s->wscale};
}

/* -- rules that hold for every segment */

static void check_shape(struct wire_conn *w, int side, const struct wire_seg *s, uint8_t ecn)
{
	const struct wire_side *e = &w->side[side];
	unsigned ip = w->limits.is_ip6 ? 40 : 20;
	uint32_t size = ip + s->header_len + s->len;

	if (s->reserved || s->urgent || (s->flags & WIRE_URG))
		wire_fail(w, side, "sets reserved bits or the urgent pointer");
	if ((s->flags & WIRE_SYN) && ((s->flags & (WIRE_FIN | WIRE_RST | WIRE_PSH)) || s->len))
		wire_fail(w, side, "sends a SYN with flags %02x and %u bytes", s->flags, s->len);
	if ((s->flags & WIRE_RST) && ((s->flags & (WIRE_FIN | WIRE_PSH)) || s->len))
		wire_fail(w, side, "sends a RST with flags %02x and %u bytes", s->flags, s->len);
	if (!(s->flags & (WIRE_SYN | WIRE_RST | WIRE_ACK)))
		wire_fail(w, side, "sends a segment without ACK");
	if (size > w->limits.mtu[side])
		wire_fail(w, side, "sends a packet of %u bytes over an MTU of %u", size, w->limits.mtu[side]);
	if (!(s->flags & WIRE_SYN) && (s->has_mss || s->has_wscale || s->has_sack_ok))
		wire_fail(w, side, "sends an option of the SYN outside of it");
	if (!(s->flags & WIRE_SYN) && (s->flags & (WIRE_ECE | WIRE_CWR)) && !has_ecn(e))
		wire_fail(w, side, "sends ECN flags that were not negotiated");
	if (ecn && (!has_ecn(e) || !s->len))
		wire_fail(w, side, "marks a segment of %u bytes ECN-capable%s", s->len, has_ecn(e) ? "" : " without agreement");
	if (ecn && e->sent_plain_syn)
		wire_fail(w, side, "marks a segment ECN-capable and has sent a SYN that was not for ECN");
	if (ecn == ECN_CE || ecn == ECN_ECT1)
		wire_fail(w, side, "sends ECN codepoint %u", ecn);
}

/* -- SYN */

static void check_syn_options(struct wire_conn *w, int side, const struct wire_seg *s)
{
	struct wire_side *e = &w->side[side];
	unsigned headers = w->limits.is_ip6 ? 60 : 40;

	if (!s->has_mss || s->mss + headers > w->limits.mtu[side])
		wire_fail(w, side, "announces an MSS of %u over an MTU of %u", s->mss, w->limits.mtu[side]);
	if (s->has_wscale && s->wscale > 14)
		wire_fail(w, side, "announces a window scale of %u", s->wscale);
	if (!(s->flags & WIRE_ACK))
		return;
	if (!e->syn_arrived || s->ack != e->irs + 1)
		wire_fail(w, side, "sends SYN-ACK of another number than the SYN had");
	if ((s->has_ts && !e->heard.has_ts) || (s->has_sack_ok && !e->heard.has_sack_ok) ||
	    (s->has_wscale && !e->heard.has_wscale))
		wire_fail(w, side, "answers with an option that the SYN did not offer");
}

static void check_syn(struct wire_conn *w, int side, const struct wire_seg *s)
{
	struct wire_side *e = &w->side[side];
	struct wire_options offer = options_of(s);
	unsigned ecn = s->flags & (WIRE_ECE | WIRE_CWR);

	check_syn_options(w, side, s);
	if (e->syn_sent && s->seq != e->iss) {
		if (!(s->flags & WIRE_ACK) || e->talks)
			wire_fail(w, side, "sends its SYN again with another number");
		else if (e->n_others < WIRE_MAX_ISS)
			e->other[e->n_others++] = (struct wire_syn){.iss = s->seq, .offer = offer, .is_ecn = ecn == WIRE_ECE};
		return;
	}
	/* A SYN sent again may offer less, so as to pass a bad path (RFC 3168 6.1.1.1 for ECN). */
	if (e->syn_sent && memcmp(&offer, &e->offer, sizeof(offer)) != 0)
		wire_fail(w, side, "sends its SYN again with other options");
	if (!e->syn_sent) {
		e->snd_max = s->seq + 1;
		e->acked = e->acked_sure = s->seq;
	}
	e->syn_sent = true;
	e->iss = s->seq;
	e->offer = offer;
	if ((s->flags & WIRE_ACK) ? ecn == WIRE_ECE : ecn == (WIRE_ECE | WIRE_CWR))
		e->offers_ecn = true;
	else
		e->sent_plain_syn = true;
	if (!e->has_edge_heard && e->syn_arrived) {
		e->edge_heard = e->iss + 1 + e->syn_wnd;
		e->has_edge_heard = true;
	}
}

/* With SYN cookies: which of the answers is it that the other end took? */
static void settle_iss(struct wire_side *e, uint32_t seq)
{
	for (unsigned i = 0; i < e->n_others; i++)
		if (e->other[i].iss + 1 == seq) {
			e->edge_heard += e->other[i].iss - e->iss;
			e->iss = e->acked = e->acked_sure = e->other[i].iss;
			e->snd_max = e->iss + 1;
			e->offer = e->other[i].offer;
			e->offers_ecn = e->other[i].is_ecn;
			e->sent_plain_syn = !e->offers_ecn;
		}
}

/* -- what an acknowledgement says */

static void check_ack(struct wire_conn *w, int side, const struct wire_seg *s)
{
	struct wire_side *e = &w->side[side];
	uint32_t wnd = (uint32_t)s->wnd << ((s->flags & WIRE_SYN) ? 0 : out_shift(e));
	uint32_t slack = (1u << out_shift(e)) - 1;
	uint32_t edge = s->ack + wnd;

	if (seq_gt(s->ack, wire_arrived_end(e)))
		wire_fail(w, side, "acknowledges %u bytes that did not arrive", s->ack - wire_arrived_end(e));
	if (e->has_acked && seq_lt(s->ack, e->ack))
		wire_fail(w, side, "takes an acknowledgement back by %u bytes", e->ack - s->ack);
	if (e->has_edge && seq_lt(edge + slack, e->edge))
		wire_fail(w, side, "shrinks its window by %u bytes", e->edge - edge);
	if (wnd > w->limits.rx_buffer[side] + slack)
		wire_fail(w, side, "announces a window of %u with a buffer of %u", wnd, w->limits.rx_buffer[side]);
	e->ack = s->ack;
	e->has_acked = true;
	if (!e->has_edge || seq_gt(edge, e->edge))
		e->edge = edge;
	e->has_edge = true;
}

/* RFC 2018 3 and 4; the first block may tell of a duplicate (RFC 2883 4). */
static void check_sack(struct wire_conn *w, int side, const struct wire_seg *s)
{
	struct wire_side *e = &w->side[side];

	if (s->n_sack && !(e->offer.has_sack_ok && e->heard.has_sack_ok)) {
		wire_fail(w, side, "sends SACK, which was not negotiated");
		return;
	}
	for (unsigned i = 0; i < s->n_sack; i++) {
		uint32_t from = s->sack[i][0];
		uint32_t to = s->sack[i][1];
		bool is_dup = i == 0 && (seq_le(to, s->ack) || (s->n_sack > 1 && seq_ge(from, s->sack[1][0]) &&
								seq_le(to, s->sack[1][1])));

		if (is_dup && w->limits.is_attacked)
			continue;
		if (!seq_lt(from, to) || !wire_ranges_cover(&e->got, from - e->irs - 1, to - e->irs - 1)) {
			wire_fail(w, side, "reports a block %d:%d that did not arrive", (int)(from - e->irs - 1),
				  (int)(to - e->irs - 1));
			return;
		}
		if (!is_dup && seq_le(from, s->ack))
			wire_fail(w, side, "reports block %u at or below its acknowledgement", i);
		for (unsigned k = i + 1; k < s->n_sack && !is_dup; k++)
			if (seq_lt(s->sack[k][0], to) && seq_lt(from, s->sack[k][1]))
				wire_fail(w, side, "reports blocks %u and %u that overlap", i, k);
	}
}

/* A time stamp arrived. */
static void hear_time(struct wire_side *e, uint32_t ts)
{
	if (!e->has_ts_heard || (int32_t)(ts - e->ts_heard) > 0)
		e->ts_heard = ts;
	e->has_ts_heard = true;
	if (!e->n_times || e->times_heard[(e->n_times - 1) % WIRE_TIMES] != ts)
		e->times_heard[e->n_times++ % WIRE_TIMES] = ts;
}

/* When there were more than are kept, no more than that it is not later than all. */
static bool was_heard(const struct wire_side *e, uint32_t ts, bool may_jump)
{
	for (uint32_t i = 0; i < e->n_times && i < WIRE_TIMES; i++)
		if (e->times_heard[i] == ts)
			return true;
	return e->n_times > WIRE_TIMES && (may_jump || (int32_t)(ts - e->ts_heard) <= 0);
}

/* RFC 7323 3.2 */
static void check_ts(struct wire_conn *w, int side, const struct wire_seg *s)
{
	struct wire_side *e = &w->side[side];

	if (!(s->flags & WIRE_SYN) && s->has_ts != has_ts(e))
		wire_fail(w, side, s->has_ts ? "sends a time stamp that was not negotiated" : "leaves out the time stamp");
	if (!s->has_ts)
		return;
	if (e->has_ts_val && (int32_t)(s->ts_val - e->ts_val) < 0)
		wire_fail(w, side, "lets its time stamps run backwards");
	if ((s->flags & WIRE_ACK) && !was_heard(e, s->ts_ecr, w->limits.is_attacked))
		wire_fail(w, side, "echoes a time stamp that never arrived");
	e->ts_val = s->ts_val;
	e->has_ts_val = true;
}

/* RFC 3168 6.1.3: ECE from a mark until CWR. */
static void check_ece(struct wire_conn *w, int side, const struct wire_seg *s)
{
	struct wire_side *e = &w->side[side];

	if (!has_ecn(e) || (s->flags & WIRE_SYN))
		return;
	if ((s->flags & WIRE_ECE) && !e->ce_seen)
		wire_fail(w, side, "sends ECE and was never marked");
	if (!(s->flags & WIRE_ECE) && e->ece_due && !(e->fin_sent && e->fin_arrived))
		wire_fail(w, side, "was marked and does not say so");
}

/* -- data */

static uint32_t payload_limit(const struct wire_conn *w, const struct wire_side *e)
{
	uint32_t mss = e->heard.has_mss ? e->heard.mss : w->limits.is_ip6 ? 1220 : 536;

	return mss < MSS_LEAST ? MSS_LEAST : mss;
}

/* RFC 6928 2 */
static uint32_t initial_window(uint32_t mss)
{
	uint32_t most = 2 * mss > 14600 ? 2 * mss : 14600;

	return 10 * mss < most ? 10 * mss : most;
}

static void check_data(struct wire_conn *w, int side, const struct wire_seg *s, const uint8_t *payload)
{
	struct wire_side *e = &w->side[side];
	uint32_t end = s->seq + s->len;
	uint32_t off = s->seq - e->iss - 1;
	bool is_probe = s->len == 1 && seq_le(s->seq, e->edge_heard);
	uint32_t limit = payload_limit(w, e);

	if (seq_gt(s->seq, e->snd_max) || seq_le(s->seq, e->iss))
		wire_fail(w, side, "sends from %d on, having sent up to %u", (int)off, e->snd_max - e->iss - 1);
	if (e->fin_sent && seq_gt(end, e->fin_seq))
		wire_fail(w, side, "sends data behind its FIN");
	if (s->len && seq_gt(end, e->edge_heard) && !is_probe)
		wire_fail(w, side, "sends %u bytes beyond the window", end - e->edge_heard);
	if (s->len + s->header_len - WIRE_HEADER_MIN > limit)
		wire_fail(w, side, "sends %u bytes of payload and %u of options; the MSS is %u", s->len,
			  s->header_len - WIRE_HEADER_MIN, limit);
	if (s->len && seq_le(end, e->acked_sure))
		wire_fail(w, side, "sends %d:%d again, which was acknowledged", (int)off, (int)(off + s->len));
	if (e->snd_max == e->iss + 1)
		e->is_first_flight = true;
	if (e->is_first_flight && off + s->len > initial_window(limit) + limit) /* and a probe of the tail (RFC 8985 7.3) */
		wire_fail(w, side, "sends %u bytes before the first acknowledgement", off + s->len);
	if (s->len == 1 && !(s->flags & WIRE_FIN)) {
		e->has_probed = true;
		e->probed = s->seq;
	}
	if (payload && w->limits.is_text && memcmp(payload, text_at(w->limits.salt[side], off), s->len) != 0)
		wire_fail(w, side, "sends wrong bytes in %d:%d", (int)off, (int)(off + s->len));
	if (s->flags & WIRE_FIN) {
		if (e->fin_sent && end != e->fin_seq)
			wire_fail(w, side, "moves its FIN by %d", (int)(end - e->fin_seq));
		e->fin_sent = true;
		e->fin_seq = end;
	}
}

/* Without data: where the next new byte would be, or one before the first unacknowledged, to ask for an answer. */
static void check_bare(struct wire_conn *w, int side, const struct wire_seg *s)
{
	const struct wire_side *e = &w->side[side];

	bool is_keepalive = seq_ge(s->seq, e->acked_sure - 1) && seq_lt(s->seq, e->acked);
	/* The byte of a probe may not have been taken: then a number behind it would not be acceptable. */
	bool is_probing = e->has_probed && e->probed == s->seq && s->seq + 1 == e->snd_max;

	if (s->seq != e->snd_max && !is_keepalive && !is_probing)
		wire_fail(w, side, "sends a bare ACK at %d, having sent up to %u", (int)(s->seq - e->iss - 1),
			  e->snd_max - e->iss - 1);
}

void wire_check_sent(struct wire_conn *w, int side, const struct wire_seg *s, const uint8_t *payload, uint8_t ecn,
		     uint64_t now_us)
{
	struct wire_side *e = &w->side[side];
	bool is_old;

	e->n_sent++;
	check_shape(w, side, s, ecn);
	if (s->flags & WIRE_RST) {
		if ((s->flags & WIRE_ACK) || !w->limits.is_attacked) /* else it may be the answer to a forged one */
			e->rst_sent |= e->talks;
		e->ack_due_us = 0;
		return;
	}
	if (e->rst_sent)
		wire_fail(w, side, "goes on after its RST");
	if (s->flags & WIRE_SYN) {
		check_syn(w, side, s);
		check_ts(w, side, s);
		if (s->flags & WIRE_ACK)
			check_ack(w, side, s);
		wire_check_timing(w, side, s, false, now_us);
		return;
	}
	if (!e->syn_sent || !e->syn_arrived) {
		wire_fail(w, side, "sends data or an ACK without a handshake");
		return;
	}
	if (!e->talks)
		settle_iss(e, s->seq);
	e->talks = true;
	check_ts(w, side, s);
	check_ack(w, side, s);
	check_sack(w, side, s);
	check_ece(w, side, s);
	is_old = seq_lt(s->seq, e->snd_max) && seq_le(s->seq + wire_space(s), e->snd_max);
	if (wire_space(s)) {
		check_data(w, side, s, payload);
		if (ecn && is_old)
			wire_fail(w, side, "marks a retransmission ECN-capable");
	} else {
		check_bare(w, side, s);
	}
	wire_check_timing(w, side, s, is_old, now_us);
	if (wire_space(s))
		e->snd_max = seq_max(e->snd_max, s->seq + wire_space(s));
}

/* -- what arrives */

static void hear_syn(struct wire_side *e, const struct wire_seg *s)
{
	unsigned ecn = s->flags & (WIRE_ECE | WIRE_CWR);

	if (e->syn_arrived && s->seq == e->irs && s->has_ts)
		hear_time(e, s->ts_val);
	if (e->syn_arrived || ((s->flags & WIRE_ACK) && s->ack != e->iss + 1))
		return;
	e->syn_arrived = true;
	e->irs = s->seq;
	e->syn_wnd = s->wnd;
	e->heard = options_of(s);
	e->heard_ecn = (s->flags & WIRE_ACK) ? ecn == WIRE_ECE : ecn == (WIRE_ECE | WIRE_CWR);
	if (s->has_ts)
		hear_time(e, s->ts_val);
	if (s->flags & WIRE_ACK) {
		e->acked = e->acked_sure = s->ack;
		e->edge_heard = s->ack + s->wnd;
		e->has_edge_heard = true;
	}
}

static void hear_ack(struct wire_side *e, const struct wire_seg *s)
{
	uint32_t edge = s->ack + ((uint32_t)s->wnd << in_shift(e));
	bool is_fresh = !s->has_ts || !e->has_ts_heard || (int32_t)(s->ts_val - e->ts_heard) >= 0;

	if (!(s->flags & WIRE_ACK) || !e->syn_sent || seq_gt(s->ack, e->snd_max) || seq_le(s->ack, e->iss))
		return;
	if (seq_gt(s->ack, e->acked))
		e->acked = s->ack;
	if (!e->has_edge_heard || seq_gt(edge, e->edge_heard))
		e->edge_heard = edge;
	e->has_edge_heard = true;
	/* No rule lets a stack ignore it, if its next byte can be no other than this one. */
	if (!wire_space(s) && s->seq == wire_arrived_end(e) && s->seq == e->ack && is_fresh && (s->has_ts || !has_ts(e)) &&
	    seq_gt(s->ack, e->acked_sure))
		e->acked_sure = s->ack;
}

/* No rule lets a stack be silent about it: not RFC 7323 3.2, not the limit of RFC 5961 7. */
static bool is_answerable(const struct wire_side *e, const struct wire_seg *s)
{
	bool is_limited = !s->len && seq_lt(s->seq, wire_arrived_end(e));
	bool is_known_ack = (s->flags & WIRE_ACK) && seq_le(s->ack, e->snd_max) && seq_ge(s->ack, e->acked);

	/* What lies behind a FIN is nothing (RFC 9293 3.10.7.4). */
	return !is_limited && is_known_ack && (s->has_ts || !has_ts(e)) && !e->fin_arrived;
}

/* A mark that no rule lets a stack ignore. */
static void hear_ecn(const struct wire_conn *w, struct wire_side *e, const struct wire_seg *s, uint8_t ecn)
{
	if (!has_ecn(e) || !s->len)
		return;
	if (s->flags & WIRE_CWR)
		e->ece_due = false;
	if (ecn == ECN_CE) {
		e->ce_seen = true;
		if (s->seq == wire_arrived_end(e) && seq_le(s->seq + s->len, e->edge) && is_answerable(e, s) &&
		    !w->limits.is_attacked)
			e->ece_due = true;
	}
}

void wire_check_arrived(struct wire_conn *w, int side, const struct wire_seg *s, uint8_t ecn, uint64_t now_us)
{
	struct wire_side *e = &w->side[side];
	int64_t off = (int32_t)(s->seq - e->irs - 1);
	bool is_stale = s->has_ts && e->has_ts_heard && (int32_t)(s->ts_val - e->ts_heard) < 0;

	e->n_arrived++;
	e->is_first_flight = false;
	e->arrived_us = now_us;
	if (s->flags & WIRE_RST) {
		e->rst_arrived = true;
		e->ack_due_us = 0;
		return;
	}
	if (s->flags & WIRE_SYN) {
		hear_syn(e, s);
		e->n_ackable++;
		return;
	}
	hear_ack(e, s);
	hear_ecn(w, e, s, ecn);
	if (s->has_ts)
		hear_time(e, s->ts_val);
	/* An ACK in order asks for none; one overtaken by another does (RFC 7323 5.3 R1). */
	if (!e->syn_arrived || (!wire_space(s) && s->seq == wire_arrived_end(e) && !is_stale))
		return;
	e->n_ackable++;
	if (!wire_space(s))
		return;
	w->n_turns = 0; /* there is something to acknowledge */
	if (off + wire_space(s) > 0) /* FIN counts as a byte */
		wire_ranges_add(&e->got, off < 0 ? 0 : (uint32_t)off, (uint32_t)(off + wire_space(s)));
	if (!e->ack_due_us && e->talks && !e->rst_arrived && !e->rst_sent && is_answerable(e, s))
		e->ack_due_us = now_us + ACK_LIMIT_US;
	if (s->flags & WIRE_FIN)
		e->fin_arrived = true;
}

void wire_check_noise(struct wire_conn *w, int side, uint64_t now_us)
{
	w->side[side].n_ackable++;
	w->side[side].arrived_us = now_us;
}

void wire_check_alive(struct wire_conn *w, int side, uint64_t now_us)
{
	const struct wire_side *e = &w->side[side];

	if (e->ack_due_us && now_us > e->ack_due_us && !w->limits.is_untimely)
		wire_fail(w, side, "owes an acknowledgement for %u ms", (unsigned)((now_us + ACK_LIMIT_US - e->ack_due_us) / 1000));
}
