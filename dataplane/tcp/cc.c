/* SPDX-License-Identifier: Apache-2.0 */
/* Choice of the algorithm, and what the ones with a window share: slow start, reactions, undo, idle, pacing. */
#include "tcp/cc.h"

#include <assert.h>
#include <string.h>

#include "tcp/cc_pvt.h"

static_assert(sizeof(struct tcp_cc) <= 96, "part of every connection");

#define ABC_L 2 /* RFC 3465 2.2 */

const struct cc_ops *cc_ops_of(enum tcp_cc_kind kind)
{
	switch (kind) {
	case TCP_CC_NEWRENO:
		return &cc_ops_newreno;
	case TCP_CC_BBR:
		return &cc_ops_bbr;
	case TCP_CC_DEFAULT:
	case TCP_CC_CUBIC:
		break;
	}
	return &cc_ops_cubic;
}

uint32_t cc_initial_window(uint32_t mss)
{
	return cc_min(10 * mss, cc_max(2 * mss, 14600));
}

void cc_init(struct tcp_cc *cc, const struct cc_ops *ops, void *state, uint32_t mss, uint64_t now_us)
{
	assert(!ops->state_bytes || state);
	*cc = (struct tcp_cc){.ops = ops, .cwnd = cc_initial_window(mss), .ssthresh = UINT32_MAX};
	if (ops->state_bytes) {
		cc->state = state;
		memset(state, 0, ops->state_bytes);
	}
	ops->init(cc, mss, now_us);
}

bool cc_may_grow(struct tcp_cc *cc, const struct cc_ack *a)
{
	if (!a->is_recovering)
		cc->hystart.is_after_timeout = false;
	return !a->is_recovering || cc->hystart.is_after_timeout;
}

/* L of RFC 3465 is 1 while ACKs may cover what had arrived before the timeout (2.3). */
static uint32_t slow_start_growth(const struct tcp_cc *cc, const struct cc_ack *a, uint32_t n)
{
	if (cc->hystart.is_on)
		return cc_hystart_growth(&cc->hystart, n, a->mss, a->srtt_us != 0);
	return cc_min(n, (cc->hystart.is_after_timeout ? 1 : ABC_L) * a->mss);
}

/*
 * A window of which more than half was in flight counts as used, as in Linux:
 * a paced sender is not held back by cwnd all the time.
 */
uint32_t cc_slow_start(struct tcp_cc *cc, const struct cc_ack *a)
{
	uint32_t left = cc_min(a->acked, cc->cwnd);

	if (a->is_cwnd_limited || a->prior_flying > cc->cwnd / 2) {
		uint32_t n = cc_min(slow_start_growth(cc, a, left), cc->ssthresh - cc->cwnd);

		cc_grow(cc, n);
		left -= n;
	}
	if (cc->hystart.is_on)
		cc_hystart_acked(cc, a);
	return cc_in_slow_start(cc) ? 0 : left;
}

void cc_react(struct tcp_cc *cc, uint32_t reduced, uint32_t mss, bool is_ecn)
{
	cc->prior_cwnd = cc->cwnd;
	cc->prior_ssthresh = cc->ssthresh;
	cc->ssthresh = cc_max(reduced, 2 * mss);
	if (is_ecn && reduced < 2 * mss)
		cc->cwnd = cc_min(cc->cwnd, cc_max(reduced, mss));
	cc->acked = 0;
	cc->hystart.is_on = false;
	cc->hystart.is_after_timeout = false;
}

void cc_react_timeout(struct tcp_cc *cc, uint32_t reduced, uint32_t mss)
{
	cc_react(cc, reduced, mss, false);
	cc->cwnd = mss;
	cc->hystart.is_after_timeout = true;
}

bool cc_undo_reaction(struct tcp_cc *cc)
{
	bool is_undone = cc->prior_ssthresh && cc->cwnd <= cc->prior_cwnd; /* equal: PRR has not begun */

	if (is_undone) {
		cc->cwnd = cc->prior_cwnd;
		cc->ssthresh = cc->prior_ssthresh;
		cc->hystart.is_after_timeout = false;
		if (cc->ssthresh == UINT32_MAX)
			cc_hystart_init(&cc->hystart);
	}
	cc->prior_ssthresh = 0;
	return is_undone;
}

void cc_restart_idle(struct tcp_cc *cc, uint32_t mss, uint32_t rto_us, uint64_t idle_us)
{
	uint32_t restart = cc_min(cc->cwnd, cc_initial_window(mss));
	uint64_t step = rto_us ? rto_us : 1;

	if (idle_us <= step)
		return;
	cc->ssthresh = cc_max(cc->ssthresh, cc->cwnd - cc->cwnd / 4);
	for (; idle_us > step && cc->cwnd > restart; idle_us -= step)
		cc->cwnd /= 2;
	cc->cwnd = cc_max(cc->cwnd, restart);
	cc->acked = 0;
}

uint64_t cc_window_rate(const struct tcp_cc *cc, uint32_t mss, uint32_t srtt_us)
{
	uint64_t percent = cc->cwnd < cc->ssthresh / 2 ? 200 : 120;

	if (srtt_us == 0)
		return 0;
	return cc_max(cc->cwnd, mss) * percent * (1000000 / 100) / srtt_us + 1;
}
