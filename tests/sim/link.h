/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One direction of a path: a queue with a rate, then a delay, and what can
 * befall a segment on its way. Zeroed, but for delay_us, it is a perfect one.
 */
#ifndef SIM_LINK_H
#define SIM_LINK_H

#include <stdbool.h>
#include <stdint.h>

struct sim;
struct rte_mbuf;
struct tcp_packet;

/* X(enumerator, what a trace says) */
#define SIM_FATES(X) \
	X(PASSES, "passes") X(DUPLICATED, "is duplicated") X(LOST, "is lost") X(LOST_IN_BURST, "is lost in a burst") \
	X(CORRUPTED, "is corrupted: the checksum finds it") X(QUEUE_FULL, "finds the queue full") \
	X(TOO_BIG, "is too big: ICMP goes back") X(TOO_BIG_SILENTLY, "is too big: nobody says so") \
	X(FILTERED, "is filtered") X(NO_MBUF, "finds no mbuf")

enum sim_fate {
#define X(name, str) SIM_##name,
	SIM_FATES(X)
#undef X
};

extern const char *const sim_fate_names[];

struct sim_link {
	uint32_t delay_us;
	uint32_t jitter_us;  /* added at random: reorders, unless keeps_order */
	bool keeps_order;    /* jitter delays, but nothing overtakes */
	uint32_t loss_ppm;
	uint32_t duplicate_ppm;
	uint32_t corrupt_ppm;
	uint32_t reorder_ppm, reorder_us; /* so many are held back so long, and others overtake */
	/* Gilbert and Elliott: a segment in so many begins a burst, in so many ends it; in between so many are lost */
	uint32_t burst_begins_ppm, burst_ends_ppm, burst_loss_ppm;
	uint64_t rate_Bps;	/* 0: no queue */
	uint32_t queue_bytes;	/* what does not fit is dropped */
	uint32_t mark_bytes;	/* ECN-capable segments that find more than so much are marked CE; 0: none */
	uint32_t mark_ppm;	/* and so many at random */
	uint16_t mtu;		/* 0: any; IP header included */
	bool hides_mtu;		/* no ICMP says that a segment was too big */

	/* state */
	bool in_burst;
	uint64_t free_at_ns; /* when the queue will be empty */
	uint64_t last_at_us; /* latest arrival */
	uint64_t n_bytes, n_marked;
};

/* A segment goes over l to host `to`. Takes m. */
void link_carry(struct sim *s, struct sim_link *l, int to, struct rte_mbuf *m, const struct tcp_packet *packet, uint32_t tag);

#endif
