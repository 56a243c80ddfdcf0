/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Judges a connection by what both ends put on the wire and what reached them,
 * and by nothing else: windows obeyed and never shrunk, nothing acknowledged
 * that did not arrive, options as negotiated, timers that back off, no storms.
 *
 * Side 0 opened the connection, side 1 accepted it. The first rule broken is
 * kept in broken[].
 */
#ifndef SIM_WIRE_CHECK_H
#define SIM_WIRE_CHECK_H

#include "wire.h"

#define WIRE_MAX_RANGES 64
#define WIRE_MAX_ISS 4
#define WIRE_TIMES 64

/* Bytes that arrived, as offsets from the first byte; sorted, disjoint, not adjacent. */
struct wire_ranges {
	uint32_t n;
	struct wire_range {
		uint32_t from, to;
	} r[WIRE_MAX_RANGES];
};

/* What one end offered in its SYN, and what the other one's SYN said when it arrived. */
struct wire_options {
	bool has_mss, has_wscale, has_sack_ok, has_ts;
	uint16_t mss;
	uint8_t wscale;
};

struct wire_side {
	/* sent by this end */
	bool syn_sent, talks, fin_sent, rst_sent; /* talks: something other than a SYN was sent */
	bool is_first_flight; /* data were sent and nothing has come since */
	uint32_t iss;
	uint8_t n_others;
	struct wire_syn { /* SYN cookies may answer one SYN twice, with other numbers and options */
		uint32_t iss;
		struct wire_options offer;
		bool is_ecn;
	} other[WIRE_MAX_ISS];
	uint32_t snd_max, fin_seq;
	bool has_probed;
	uint32_t probed; /* where a single byte was sent, last */
	struct wire_options offer;
	bool offers_ecn, sent_plain_syn; /* a SYN without ECN forbids ECT (RFC 3168 6.1.1) */
	bool has_ts_val, has_edge, has_acked;
	uint32_t ts_val;   /* last sent */
	uint32_t ack;	   /* highest acknowledgement sent */
	uint32_t edge;	   /* right edge of the window, furthest announced */
	uint32_t n_sent, n_data, n_pure_acks, n_retransmits;
	uint64_t data_bytes; /* retransmissions included */

	/* arrived at this end */
	bool syn_arrived, fin_arrived, rst_arrived;
	uint32_t irs;
	uint32_t syn_wnd;
	struct wire_options heard;
	bool heard_ecn;
	uint32_t acked;	      /* highest acknowledgement that arrived */
	uint32_t acked_sure;  /* the same, of segments that no rule lets a stack ignore */
	uint32_t edge_heard;  /* furthest right edge that arrived */
	bool has_edge_heard;
	bool has_ts_heard;
	uint32_t ts_heard; /* latest time stamp */
	uint32_t times_heard[WIRE_TIMES]; /* the last ones that differ, a ring */
	uint32_t n_times;
	struct wire_ranges got;
	uint32_t n_arrived, n_ackable; /* ackable: what asks for an answer; forged ones count */
	uint64_t arrived_us;
	uint64_t ack_due_us; /* 0: none */

	/* ECN */
	bool ce_seen, ece_due;

	/* a series of retransmissions into silence, and one of probes of a closed window */
	struct wire_series {
		uint64_t last_us, gap_us;
		uint32_t seq, edge;
		unsigned n;
	} rtx, probes;
};

struct wire_limits {
	uint16_t mtu[2];	/* of each end's interface */
	uint32_t rx_buffer[2];	/* largest window that may be announced */
	uint32_t salt[2];	/* of the text that each end sends */
	bool is_judged[2];	/* false: a scripted peer, which may break every rule */
	bool is_ip6;
	bool is_untimely;	/* mbufs run out now and then: intervals mean nothing */
	bool is_text;		/* payloads are the text of the salt */
	bool is_attacked;	/* forged segments come, too: what they tell is not held against a stack */
};

struct wire_conn {
	struct wire_limits limits;
	struct wire_side side[2];
	unsigned n_turns; /* pure ACKs in turn, without pause */
	int last_pure;	  /* side of the last one; -1: something else came between */
	uint64_t pure_us;
	char broken[256];
};

void wire_check_init(struct wire_conn *w, const struct wire_limits *limits);
/* This end sent it. text: its payload, or NULL if it is not to be looked at; ecn: IP's bits. */
void wire_check_sent(struct wire_conn *w, int side, const struct wire_seg *s, const uint8_t *payload, uint8_t ecn,
		     uint64_t now_us);
/* It reached this end, sent by the other end. */
void wire_check_arrived(struct wire_conn *w, int side, const struct wire_seg *s, uint8_t ecn, uint64_t now_us);
/* Something else reached this end: forged, of an older connection, or ICMP. */
void wire_check_noise(struct wire_conn *w, int side, uint64_t now_us);
/* This end lives: is an answer overdue? */
void wire_check_alive(struct wire_conn *w, int side, uint64_t now_us);

/* wire_rtx.c: the rules of time and number, for what wire_check_sent() found to be in order. */
void wire_check_timing(struct wire_conn *w, int side, const struct wire_seg *s, bool is_old, uint64_t now_us);
void wire_fail(struct wire_conn *w, int side, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The sequence number behind the last byte that reached this end without a gap, FIN included. */
uint32_t wire_arrived_end(const struct wire_side *e);

void wire_ranges_add(struct wire_ranges *r, uint32_t from, uint32_t to);
bool wire_ranges_cover(const struct wire_ranges *r, uint32_t from, uint32_t to);
/* Bytes from the first on without a gap. */
uint32_t wire_ranges_contiguous(const struct wire_ranges *r);

#endif
