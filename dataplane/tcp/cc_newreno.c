/* SPDX-License-Identifier: Apache-2.0 */
/* NewReno's window: RFC 5681, by bytes (RFC 3465). Recovery itself is PRR's (recovery.c). */
#include "tcp/cc_pvt.h"

static void init(struct tcp_cc *cc, uint32_t mss, uint64_t now_us)
{
	cc_hystart_init(&cc->hystart);
}

static void acked(struct tcp_cc *cc, const struct cc_ack *a)
{
	uint32_t n = cc_min(a->acked, cc->cwnd);
	bool is_used = cc_is_window_used(cc, a);

	if (!cc_may_grow(cc, a))
		return;
	if (cc_in_slow_start(cc))
		n = cc_slow_start(cc, a);
	if (cc_in_slow_start(cc) || !is_used)
		return;
	/* RFC 3465 2.1: one segment for each window that was acknowledged. */
	cc->acked += n;
	if (cc->acked >= cc->cwnd) {
		cc->acked -= cc->cwnd;
		cc_grow(cc, a->mss);
	}
}

static void congested(struct tcp_cc *cc, uint32_t flying, uint32_t mss, uint64_t now_us, bool is_ecn)
{
	cc_react(cc, flying / 2, mss, is_ecn);
}

static void timeout(struct tcp_cc *cc, uint32_t flying, uint32_t mss, uint64_t now_us)
{
	cc_react_timeout(cc, flying / 2, mss);
}

static void undo(struct tcp_cc *cc, uint64_t now_us)
{
	cc_undo_reaction(cc);
}

static void restart(struct tcp_cc *cc, uint32_t mss, uint32_t rto_us, uint64_t idle_us, uint64_t now_us)
{
	cc_restart_idle(cc, mss, rto_us, idle_us);
}

const struct cc_ops cc_ops_newreno = {
	.name = "newreno",
	.init = init,
	.acked = acked,
	.congested = congested,
	.timeout = timeout,
	.undo = undo,
	.restart = restart,
	.pacing_rate = cc_window_rate,
};
