/* SPDX-License-Identifier: Apache-2.0 */
/* Congestion control of one connection. Bytes throughout. */
#ifndef TCP_CC_H
#define TCP_CC_H

#include <stdint.h>

struct tcp_cc {
	uint32_t cwnd;
	uint32_t ssthresh;
	uint32_t acked; /* in congestion avoidance, towards the next full segment of cwnd (RFC 3465) */
};

/* Initial window of RFC 6928. */
void cc_init(struct tcp_cc *cc, uint32_t mss);
/* n new bytes were acknowledged outside of recovery. */
void cc_acked(struct tcp_cc *cc, uint32_t n, uint32_t mss);
/* Loss was found by duplicate acknowledgements; flight: bytes outstanding (RFC 5681 3.2). */
void cc_enter_recovery(struct tcp_cc *cc, uint32_t flight, uint32_t mss);
/* One more duplicate acknowledgement in recovery. */
void cc_dupack(struct tcp_cc *cc, uint32_t mss);
/* n bytes acknowledged, but not all of what was out when recovery began (RFC 6582 3.2). */
void cc_partial_ack(struct tcp_cc *cc, uint32_t n, uint32_t mss);
void cc_exit_recovery(struct tcp_cc *cc, uint32_t flight, uint32_t mss);
/* The retransmission timer expired (RFC 5681 3.1). */
void cc_timeout(struct tcp_cc *cc, uint32_t flight, uint32_t mss);

#endif
