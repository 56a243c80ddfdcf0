/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SYN cookies (RFC 4987 3.6): while the SYN queue is full, what has to be
 * known of a handshake stands in the numbers of the SYN-ACK, and the peer's
 * ACK brings it back.
 *
 * The sequence number is the peer's plus 32 bits: the lowest three choose one
 * of eight MSS, the others are a keyed hash of the tuple, that choice, an
 * epoch of 64 s, and whether time stamps are used. So it grows with the
 * peer's for one tuple, and a guess is right once in 2^28. The lowest six bits
 * of the time stamp carry the window scale (15: none), SACK and ECN, as in
 * Linux; without time stamps there are none of these.
 *
 * An ACK is looked at only if the listener has sent a cookie in the last two
 * epochs: at all other times there is nothing to forge.
 */
#include <string.h>

#include "base/siphash.h"
#include "tcp/tcp_pvt.h"

#define EPOCH_US 64000000ull
#define MAX_AGE_US (2 * EPOCH_US)
#define MSS_MASK 7u

#define TS_BITS 6
#define TS_MASK ((1u << TS_BITS) - 1)
#define TS_WSCALE 0x0fu /* 15: none */
#define TS_SACK 0x10u
#define TS_ECN 0x20u

/* The least that anyone offers, the defaults of IPv4 and IPv6, tunnels, PPPoE, IPv6 and IPv4 over Ethernet, jumbo frames. */
static const uint16_t mss_table[] = {64, 536, 1220, 1360, 1400, 1440, 1460, 8940};

static_assert(sizeof(mss_table) / sizeof(*mss_table) == MSS_MASK + 1, "three bits choose one");

static uint32_t index_of_mss(uint16_t mss)
{
	uint32_t i = MSS_MASK;

	while (i > 0 && mss_table[i] > mss)
		i--;
	return i;
}

/* What a cookie adds to the peer's sequence number. */
static uint32_t cookie_of(const struct tcp_stack *s, const struct ip_flow *flow, uint64_t epoch, uint32_t mss_index, bool has_ts)
{
	struct {
		struct ip_flow flow;
		uint16_t mss_index;
		uint16_t has_ts;
		uint64_t epoch;
	} in;

	static_assert(sizeof(in) == sizeof(in.flow) + 12, "no padding");
	in.flow = *flow;
	in.mss_index = (uint16_t)mss_index;
	in.has_ts = has_ts;
	in.epoch = epoch;
	return ((uint32_t)siphash(&in, sizeof(in), s->listen.cookie_key) & ~MSS_MASK) | mss_index;
}

/* The latest time stamp, not after now, that carries the options: those of the connection will follow it. */
static uint32_t ts_with_options(const struct tcp_stack *s, const struct handshake *h)
{
	uint32_t now = ts_clock(s, h->ts_offset);
	uint32_t bits = (h->has_wscale ? h->snd_wscale : TS_WSCALE) | (h->has_sack ? TS_SACK : 0) | (h->has_ecn ? TS_ECN : 0);
	uint32_t ts = (now & ~TS_MASK) | bits;

	return (now & TS_MASK) < bits ? ts - (1u << TS_BITS) : ts;
}

void cookie_send(struct tcp_stack *s, struct tcp_listener *l, const struct ip_flow *flow, const struct tcp_segment *seg,
		 const struct tw *old)
{
	struct handshake h;

	handshake_init(s, flow, seg, NULL, &h);
	if (!h.has_ts)
		h.has_sack = h.has_wscale = h.has_ecn = false;
	h.iss = h.irs + cookie_of(s, flow, s->now_us / EPOCH_US, index_of_mss(h.mss), h.has_ts);
	/* Over a TIME-WAIT, time stamps or sequence numbers must tell the new from the old. */
	if (old && !(old->has_ts && h.has_ts) && seq_le(h.iss, old->snd_nxt)) {
		stat_reason(s->stats, WEIR_R_TCP_SYN_QUEUE_FULL);
		return;
	}
	l->has_sent_cookie = true;
	l->cookie_us = s->now_us;
	stat_inc(s->stats, WEIR_C_TCP_COOKIES_SENT);
	handshake_answer(s, flow, &h, ts_with_options(s, &h));
}

/* One of the latest two epochs made it. */
static bool is_genuine(const struct tcp_stack *s, const struct ip_flow *flow, uint32_t cookie, bool has_ts)
{
	uint64_t epoch = s->now_us / EPOCH_US;

	return cookie == cookie_of(s, flow, epoch, cookie & MSS_MASK, has_ts) ||
	       (epoch > 0 && cookie == cookie_of(s, flow, epoch - 1, cookie & MSS_MASK, has_ts));
}

static void take_ts_options(const struct tcp_stack *s, const struct tcp_segment *seg, struct handshake *h)
{
	h->has_ts = true;
	h->ts_recent = seg->ts_val;
	h->has_wscale = (seg->ts_ecr & TS_WSCALE) != TS_WSCALE;
	h->snd_wscale = h->has_wscale ? seg->ts_ecr & TS_WSCALE : 0;
	h->has_sack = seg->ts_ecr & TS_SACK;
	h->has_ecn = s->cfg.ecn && (seg->ts_ecr & TS_ECN);
}

/* What the segment brings back is a cookie of ours; h: begun. */
static bool is_ours(const struct tcp_stack *s, const struct ip_flow *flow, const struct tcp_segment *seg, struct handshake *h)
{
	const struct tcp_segment as_syn = {.seq = seg->seq - 1, .wnd = seg->wnd};

	handshake_init(s, flow, &as_syn, NULL, h);
	/* An echo that no SYN-ACK of these epochs held is not from its receiver. Both numbers are one beyond what the SYNs had. */
	return is_genuine(s, flow, seg->ack - seg->seq, seg->has_ts) &&
	       !(seg->has_ts && ts_clock(s, h->ts_offset) - seg->ts_ecr > MAX_AGE_US / 1000 + TS_MASK);
}

static bool sends_cookies(const struct tcp_stack *s, const struct tcp_listener *l)
{
	return l->has_sent_cookie && s->now_us - l->cookie_us <= MAX_AGE_US;
}

bool cookie_take(struct tcp_stack *s, const struct tcp_listener *l, const struct ip_flow *flow, const struct tcp_segment *seg,
		 struct handshake *h)
{
	if (!sends_cookies(s, l))
		return false;
	if (!is_ours(s, flow, seg, h)) {
		stat_inc(s->stats, WEIR_C_TCP_COOKIES_REFUSED);
		return false;
	}
	h->iss = seg->ack - 1;
	h->mss = mss_table[(seg->ack - seg->seq) & MSS_MASK];
	if (seg->has_ts)
		take_ts_options(s, seg, h);
	return true;
}

bool tcp_is_cookie(const struct tcp_stack *s, const struct ip_flow *flow, const uint8_t *header, size_t n)
{
	const struct tcp_listener *l = listener_find(s, &flow->local, flow->local_port);
	struct tcp_segment seg;
	struct handshake h;

	return l && sends_cookies(s, l) && opt_parse(header, n, &seg) && (seg.flags & (FLAG_SYN | FLAG_ACK | FLAG_RST)) == FLAG_ACK &&
	       is_ours(s, flow, &seg, &h);
}
