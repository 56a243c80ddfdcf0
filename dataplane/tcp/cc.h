/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Congestion control behind one interface. Bytes and microseconds throughout.
 *
 * Recovery (recovery.c) decides what was lost; an algorithm decides how much
 * may be in flight and how fast. During fast recovery PRR sets cwnd towards
 * the ssthresh that the algorithm chose, unless the algorithm owns cwnd (BBR).
 * No clock, no allocation, no I/O: state is in struct tcp_cc, and where that
 * is too small in a block of ops->state_bytes that the stack provides.
 */
#ifndef TCP_CC_H
#define TCP_CC_H

#include <stdbool.h>
#include <stdint.h>

#include "tcp/tcp.h"

struct tcp_cc;

/* A delivery rate sample (draft-ietf-ccwg-bbr, delivery rate estimation). */
struct cc_rate {
	uint64_t delivered;	  /* bytes within interval_us; 0: no sample */
	uint32_t interval_us;
	uint64_t prior_delivered; /* the connection's delivered when the newest segment was sent */
	uint32_t tx_in_flight;	  /* bytes in flight when it was sent, itself included */
	uint32_t lost;		  /* bytes lost since then */
	bool is_app_limited;	  /* when it was sent */
};

/* The newest of the segments that were marked lost since the last ACK, as when it was sent. */
struct cc_loss {
	uint32_t bytes;		/* of the segment; 0: none was marked */
	uint32_t tx_in_flight;	/* bytes in flight when it was sent, itself included */
	uint32_t lost;		/* bytes lost since then, itself included */
	bool is_app_limited;
};

/* What one ACK has told. */
struct cc_ack {
	uint64_t now_us;
	uint32_t mss;
	uint32_t acked;	    /* bytes newly known to have arrived, cumulatively or selectively */
	uint32_t lost;	    /* bytes newly believed lost, by this ACK or by a timer since the last one */
	uint32_t prior_flying, flying; /* bytes in flight before and after */
	uint32_t rtt_us;    /* 0: no sample */
	uint32_t srtt_us, min_rtt_us;
	uint32_t una, nxt;  /* sequence numbers: SND.UNA after this ACK, SND.NXT */
	uint64_t delivered; /* all bytes that ever arrived, this ACK's included */
	bool is_cwnd_limited; /* cwnd, not the user or the peer's window, held data back since the last ACK */
	bool is_recovering; /* in fast recovery, in the answer to ECN, or after a timeout */
	struct cc_rate rate;
	struct cc_loss loss; /* BBR needs it (draft-ietf-ccwg-bbr 5.5.10.2); present whenever lost is not 0 */
};

struct cc_ops {
	const char *name;
	bool owns_cwnd;	      /* sets cwnd in recovery, too */
	uint16_t state_bytes; /* of cc->state; 0: needs none */
	/* cwnd is the initial window already, ssthresh unlimited, state zeroed. */
	void (*init)(struct tcp_cc *cc, uint32_t mss, uint64_t now_us);
	/* Every ACK that tells something, after recovery has looked at it. */
	void (*acked)(struct tcp_cc *cc, const struct cc_ack *a);
	/* Loss was found, or ECN: once a window. Chooses ssthresh; flying: bytes in flight before it. */
	void (*congested)(struct tcp_cc *cc, uint32_t flying, uint32_t mss, uint64_t now_us, bool is_ecn);
	/* The retransmission timer expired, first time for this data: ssthresh, and cwnd 1 segment (RFC 5681 3.1). */
	void (*timeout)(struct tcp_cc *cc, uint32_t flying, uint32_t mss, uint64_t now_us);
	/* The last congested() or timeout() was for nothing: back to before it. */
	void (*undo)(struct tcp_cc *cc, uint64_t now_us);
	/* Sends again after idle_us without anything in flight; all that was sent before had arrived. */
	void (*restart)(struct tcp_cc *cc, uint32_t mss, uint32_t rto_us, uint64_t idle_us, uint64_t now_us);
	/* Bytes a second; 0: not paced. */
	uint64_t (*pacing_rate)(const struct tcp_cc *cc, uint32_t mss, uint32_t srtt_us);
};

/* RFC 9438. cwnd_prior is tcp_cc.prior_cwnd. */
struct cc_cubic {
	uint64_t last_us;   /* when t_us was brought up to date */
	uint32_t t_us;	    /* time in this congestion avoidance stage in which cwnd could grow (4.2) */
	uint32_t k_us;	    /* K */
	uint32_t w_max;	    /* bytes; 0: none yet */
	uint32_t w_est;	    /* bytes; 0: congestion avoidance has not begun since the last reaction */
	uint32_t est_rest;  /* of w_est, less than a byte */
	/* Before the last reaction (4.9.2). */
	uint32_t prior_t_us, prior_k_us, prior_w_max, prior_w_est, prior_cwnd_prior;
};

/* Slow start: HyStart++ (RFC 9406), and whether it follows a timeout. */
struct cc_hystart {
	uint32_t window_end;	  /* sequence number that ends the round */
	uint32_t last_min_rtt_us; /* of the round before; UINT32_MAX: none */
	uint32_t min_rtt_us;	  /* of this round; UINT32_MAX: no sample yet, 0: no round has begun */
	uint32_t css_baseline_us; /* 0: not in Conservative Slow Start */
	uint8_t n_samples, css_rounds;
	bool is_on;		  /* the initial slow start; RFC 9406 is for no other */
	bool is_after_timeout;	  /* cwnd grows although the connection is recovering (RFC 5681 3.1) */
};

struct tcp_cc {
	const struct cc_ops *ops;
	uint32_t cwnd;
	uint32_t ssthresh;
	uint32_t acked; /* in congestion avoidance, towards what cwnd grows by next (RFC 3465) */
	uint32_t prior_cwnd, prior_ssthresh; /* before the last reaction; ssthresh 0: nothing to undo */
	struct cc_hystart hystart;
	union {
		struct cc_cubic cubic;
		void *state; /* ops->state_bytes, owned by the stack */
	};
};

/* The algorithm of a kind; DEFAULT is CUBIC. */
const struct cc_ops *cc_ops_of(enum tcp_cc_kind kind);
/* Chooses the algorithm and begins anew: initial window of RFC 6928. state: ops->state_bytes, or NULL if that is 0. */
void cc_init(struct tcp_cc *cc, const struct cc_ops *ops, void *state, uint32_t mss, uint64_t now_us);
/* Initial window of RFC 6928. */
uint32_t cc_initial_window(uint32_t mss);

#endif
