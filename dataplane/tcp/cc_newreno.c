/* SPDX-License-Identifier: Apache-2.0 */
/* NewReno: RFC 5681, with the partial acknowledgements of RFC 6582. */
#include "tcp/cc.h"

#define CWND_MAX (64u << 20)

static uint32_t at_least(uint32_t v, uint32_t min)
{
	return v < min ? min : v;
}

static void grow(struct tcp_cc *cc, uint32_t n)
{
	cc->cwnd = cc->cwnd + n > CWND_MAX ? CWND_MAX : cc->cwnd + n;
}

void cc_init(struct tcp_cc *cc, uint32_t mss)
{
	uint32_t bound = at_least(14600, 2 * mss);

	cc->cwnd = 10 * mss < bound ? 10 * mss : bound;
	cc->ssthresh = UINT32_MAX;
	cc->acked = 0;
}

void cc_acked(struct tcp_cc *cc, uint32_t n, uint32_t mss)
{
	if (cc->cwnd < cc->ssthresh) {
		grow(cc, n < 2 * mss ? n : 2 * mss);
		return;
	}
	cc->acked += n;
	if (cc->acked >= cc->cwnd) {
		cc->acked -= cc->cwnd;
		grow(cc, mss);
	}
}

void cc_enter_recovery(struct tcp_cc *cc, uint32_t flight, uint32_t mss)
{
	cc->ssthresh = at_least(flight / 2, 2 * mss);
	cc->cwnd = cc->ssthresh + 3 * mss;
	cc->acked = 0;
}

void cc_dupack(struct tcp_cc *cc, uint32_t mss)
{
	grow(cc, mss);
}

void cc_partial_ack(struct tcp_cc *cc, uint32_t n, uint32_t mss)
{
	cc->cwnd = cc->cwnd > n ? cc->cwnd - n : mss;
	if (n >= mss)
		grow(cc, mss);
	cc->cwnd = at_least(cc->cwnd, mss);
}

void cc_exit_recovery(struct tcp_cc *cc, uint32_t flight, uint32_t mss)
{
	uint32_t room = at_least(flight, mss) + mss;

	cc->cwnd = cc->ssthresh < room ? cc->ssthresh : room;
}

void cc_timeout(struct tcp_cc *cc, uint32_t flight, uint32_t mss)
{
	cc->ssthresh = at_least(flight / 2, 2 * mss);
	cc->cwnd = mss;
	cc->acked = 0;
}
