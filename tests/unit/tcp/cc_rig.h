/* SPDX-License-Identifier: Apache-2.0 */
/* A sender with a window and no network: for the tests of NewReno, CUBIC and HyStart++. */
#ifndef TESTS_CC_RIG_H
#define TESTS_CC_RIG_H

#include <string.h>

#include "cc_link.h"
#include "tcp/cc_pvt.h"

#define MSS LINK_MSS

/* ACKs as the test wants them. */
struct rig {
	struct tcp_cc cc;
	struct cc_ack a;
};

static inline void rig_init(struct rig *r, enum tcp_cc_kind kind)
{
	memset(r, 0, sizeof(*r));
	r->a = (struct cc_ack){
		.now_us = 1000000,
		.mss = MSS,
		.srtt_us = 50000,
		.rtt_us = 50000,
		.min_rtt_us = 50000,
		.is_cwnd_limited = true,
	};
	cc_init(&r->cc, cc_ops_of(kind), NULL, MSS, r->a.now_us);
	r->a.nxt = r->cc.cwnd;
}

/* n bytes are acknowledged, the window is full before and after. */
static inline void ack(struct rig *r, uint32_t n)
{
	r->a.acked = n;
	r->a.prior_flying = r->cc.cwnd;
	r->a.delivered += n;
	r->a.una += n;
	r->cc.ops->acked(&r->cc, &r->a);
	r->a.flying = r->cc.cwnd;
	r->a.nxt = r->a.una + r->cc.cwnd;
}

/* One round trip: a window of ACKs, one for each segment. */
static inline void round_trip(struct rig *r, uint32_t rtt_us)
{
	uint32_t n = r->cc.cwnd / MSS;

	r->a.rtt_us = rtt_us;
	for (uint32_t i = 0; i < n; i++) {
		r->a.now_us += rtt_us / n;
		ack(r, MSS);
	}
}

static inline void congest(struct rig *r)
{
	r->cc.ops->congested(&r->cc, r->cc.cwnd, MSS, r->a.now_us, false);
	r->cc.cwnd = r->cc.ssthresh; /* as PRR leaves it */
}

#endif
