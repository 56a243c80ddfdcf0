/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One sender, one bottleneck, in virtual time: a congestion control algorithm
 * between a queue of limited length and seeded random loss. The sender counts
 * packets instead of bytes of a stream: what is lost is sent again as a new
 * packet, so that delivery, rate samples and losses are exact.
 */
#ifndef TESTS_CC_LINK_H
#define TESTS_CC_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "tcp/cc.h"

#define LINK_MSS 1448
#define LINK_RING 65536 /* packets in flight at most */

struct link_packet {
	uint64_t sent_ns;
	uint64_t ack_ns; /* 0: dropped */
	uint64_t delivered, delivered_ns, first_send_ns, lost;
	uint32_t tx_in_flight;
	bool is_app_limited;
};

struct link {
	/* Set by the test. */
	uint64_t rate;	      /* bytes a second */
	uint32_t rtt_us;      /* without queue */
	uint64_t queue_bytes; /* in front of the bottleneck */
	uint32_t loss_ppm;
	uint32_t ack_slot_us; /* ACKs leave the receiver at multiples of this only; 0: one for each packet */
	uint64_t app_rate;    /* bytes a second that the application writes; 0: always more than fits */
	uint64_t seed;
	void (*on_ack)(struct link *l, const struct cc_ack *a); /* after the algorithm has seen it */
	bool is_stopped; /* by on_ack: ends link_run() at this ACK */

	/* The sender. */
	struct tcp_cc cc;
	uint64_t now_ns;
	uint64_t next_send_ns;
	uint64_t delivered, delivered_ns, first_send_ns, lost, app_limited, app_bytes;
	uint64_t app_since_ns; /* when app_bytes was brought up to date */
	uint64_t app_paused_until_ns;
	uint64_t head, next, next_ack, next_loss; /* numbers of packets: oldest in flight, next to be sent, ... */
	uint64_t recover;			  /* recovery ends when a packet from here on arrives */
	uint64_t last_progress_ns;
	uint32_t flying, srtt_us, min_rtt_us;
	uint32_t lost_in_ack;
	struct cc_loss loss;
	bool is_recovering, is_new_episode, is_cwnd_limited;

	/* The bottleneck. */
	uint64_t free_ns;

	/* What happened. */
	uint64_t n_sent, n_overflows, n_random_losses, n_timeouts, n_recoveries;
	uint64_t max_queue_bytes, max_flying;

	struct link_packet ring[LINK_RING];
	uint64_t state[64]; /* of the algorithm */
};

void link_init(struct link *l, const struct cc_ops *ops);
/* Runs for us of virtual time, or until on_ack stops it. */
void link_run(struct link *l, uint64_t us);
/* The application writes nothing for so long. */
void link_pause_app(struct link *l, uint64_t us);
/* Bytes. */
uint64_t link_bdp(const struct link *l);

#endif
