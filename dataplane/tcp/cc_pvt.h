/* SPDX-License-Identifier: Apache-2.0 */
/* What the congestion control algorithms share. */
#ifndef TCP_CC_PVT_H
#define TCP_CC_PVT_H

#include "tcp/cc.h"

#define CC_CWND_MAX (64u << 20) /* above any send buffer; keeps products within 64 bits */

extern const struct cc_ops cc_ops_cubic, cc_ops_newreno, cc_ops_bbr;

static inline uint32_t cc_min(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static inline uint32_t cc_max(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

static inline bool cc_in_slow_start(const struct tcp_cc *cc)
{
	return cc->cwnd < cc->ssthresh;
}

/* Raises cwnd by n bytes, CC_CWND_MAX at most. */
static inline void cc_grow(struct tcp_cc *cc, uint32_t n)
{
	cc->cwnd = n > CC_CWND_MAX - cc_min(cc->cwnd, CC_CWND_MAX) ? CC_CWND_MAX : cc->cwnd + n;
}

/* False while PRR rules cwnd; true after a timeout, although the connection is recovering. */
bool cc_may_grow(struct tcp_cc *cc, const struct cc_ack *a);
/*
 * The sender used the window, so it may grow (RFC 9438 5.8). A paced sender is
 * a quantum or so short of cwnd; an eighth is let pass for that.
 */
static inline bool cc_is_window_used(const struct tcp_cc *cc, const struct cc_ack *a)
{
	return a->is_cwnd_limited || a->prior_flying >= cc->cwnd - cc->cwnd / 8;
}

/* One ACK in slow start. Returns how many of its bytes are left for congestion avoidance, if that has begun. */
uint32_t cc_slow_start(struct tcp_cc *cc, const struct cc_ack *a);
/*
 * A reaction: keeps what undo needs, ends HyStart++ and sets ssthresh to
 * reduced, 2 segments at least (RFC 5681 equation 4). For ECN cwnd goes on
 * falling to one segment, where ssthresh stops (RFC 3168 6.1.2, RFC 9438 4.6).
 */
void cc_react(struct tcp_cc *cc, uint32_t reduced, uint32_t mss, bool is_ecn);
/* The same for a timeout: cwnd is one segment (RFC 5681 3.1). */
void cc_react_timeout(struct tcp_cc *cc, uint32_t reduced, uint32_t mss);
/* Takes the last reaction back. False if there is none, or cwnd has long passed what it was (RFC 9438 4.9.2). */
bool cc_undo_reaction(struct tcp_cc *cc);
/* RFC 5681 4.1 and RFC 2861 3.2: cwnd halves for each RTO of idle time, to the restart window. */
void cc_restart_idle(struct tcp_cc *cc, uint32_t mss, uint32_t rto_us, uint64_t idle_us);
/* cwnd in an RTT, times 2 while slow start may double it, else 1.2: never what limits the sender. */
uint64_t cc_window_rate(const struct tcp_cc *cc, uint32_t mss, uint32_t srtt_us);

/* Slow start begins anew. */
void cc_hystart_init(struct cc_hystart *h);
/* Bytes by which an ACK of n bytes raises cwnd in the initial slow start (RFC 9406 4.2). */
uint32_t cc_hystart_growth(const struct cc_hystart *h, uint32_t n, uint32_t mss, bool is_paced);
/* Takes the RTT sample, counts rounds; ends slow start by ssthresh = cwnd. */
void cc_hystart_acked(struct tcp_cc *cc, const struct cc_ack *a);

/* Integer cube root, rounded down; *rem is what is left: root^3 + *rem == x. */
uint32_t cc_cube_root(uint64_t x, uint64_t *rem);
/* K of RFC 9438 4.2 for W_max - cwnd_epoch bytes. */
uint32_t cc_cubic_k_us(uint32_t gap, uint32_t mss);
/* W_cubic(t) of RFC 9438 4.2, bytes. */
uint32_t cc_cubic_window(uint32_t w_max, uint32_t k_us, uint64_t t_us, uint32_t mss);

#endif
