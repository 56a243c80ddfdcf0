/* SPDX-License-Identifier: Apache-2.0 */
/* BBR on a link, watched: for the tests of BBR. */
#ifndef TESTS_CC_BBR_RIG_H
#define TESTS_CC_BBR_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "cc_link.h"
#include "tcp/cc_bbr_pvt.h"

#define MSS LINK_MSS
#define SECOND 1000000ull

static struct link wire;

/* What was seen on the way: states in order, without repetition, and extremes. */
static struct {
	uint8_t states[4096];
	size_t n_states;
	uint64_t max_bw_seen;
	uint64_t max_cruise_flying; /* in CRUISE, after it has drained */
	uint64_t min_bw_shortterm;
	uint64_t at_ns[BBR_STATE_NONE]; /* when a state was entered last */
} seen;

/* Where to stop: in a state, or out of one. */
static uint8_t wanted = BBR_STATE_NONE, unwanted = BBR_STATE_NONE;

static inline struct bbr *bbr(void)
{
	return bbr_of(&wire.cc);
}

static inline void watch(struct link *l, const struct cc_ack *a)
{
	const struct bbr *b = bbr();

	if (seen.n_states == 0 || seen.states[seen.n_states - 1] != b->state) {
		assert_true(seen.n_states < sizeof(seen.states));
		seen.states[seen.n_states++] = b->state;
		seen.at_ns[b->state] = l->now_ns;
	}
	l->is_stopped = b->state == wanted || (unwanted != BBR_STATE_NONE && b->state != unwanted);
	if (bbr_max_bw(b) > seen.max_bw_seen)
		seen.max_bw_seen = bbr_max_bw(b);
	if (b->bw_shortterm < seen.min_bw_shortterm)
		seen.min_bw_shortterm = b->bw_shortterm;
	if (b->state == BBR_PROBE_BW_CRUISE && l->flying > seen.max_cruise_flying)
		seen.max_cruise_flying = l->flying;
	assert_in_range(l->cc.cwnd, MSS, CC_CWND_MAX);
}

static inline void forget(void)
{
	memset(&seen, 0, sizeof(seen));
	seen.min_bw_shortterm = BBR_INFINITE_BW;
}

static inline void set_wire_of(enum tcp_cc_kind kind, uint64_t mbit, uint32_t rtt_ms, double buffer_bdp)
{
	link_init(&wire, cc_ops_of(kind));
	forget();
	wire.rate = mbit * 1000000 / 8;
	wire.rtt_us = rtt_ms * 1000;
	wire.queue_bytes = (uint64_t)(buffer_bdp * link_bdp(&wire));
	if (kind == TCP_CC_BBR)
		wire.on_ack = watch;
}

static inline void set_wire(uint64_t mbit, uint32_t rtt_ms, double buffer_bdp)
{
	set_wire_of(TCP_CC_BBR, mbit, rtt_ms, buffer_bdp);
}

/* Until BBR is in the state; fails if that takes more than limit_us. */
static inline void run_to_state(enum bbr_state state, uint64_t limit_us)
{
	wanted = state;
	link_run(&wire, limit_us);
	wanted = BBR_STATE_NONE;
	if (bbr()->state != state)
		fail_msg("not in state %d after %lu us, but in %d", state, (unsigned long)limit_us, bbr()->state);
}

/* Until BBR leaves the state it is in. DOWN may last no longer than the ACK that began it. */
static inline void run_out_of_state(uint64_t limit_us)
{
	unwanted = bbr()->state;
	link_run(&wire, limit_us);
	if (bbr()->state == unwanted)
		fail_msg("still in state %d after %lu us", bbr()->state, (unsigned long)limit_us);
	unwanted = BBR_STATE_NONE;
}

static inline bool has_seen(enum bbr_state state)
{
	return memchr(seen.states, state, seen.n_states);
}

static inline double utilization(uint64_t us)
{
	uint64_t before = wire.delivered;

	link_run(&wire, us);
	return (double)(wire.delivered - before) / ((double)wire.rate * (double)us / 1e6);
}

#endif
