/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two workers' networks on a port that the test listens in on, with a TCP
 * that only takes notes (rig.c). Frames are built and taken apart by code of
 * the test's own (rig_frames.c, which can be used without the other).
 */
#ifndef TESTS_NET_RIG_H
#define TESTS_NET_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>

#include "base/wheel.h"
#include "net/net.h"
#include "net/net_pvt.h"
#include "net/steer.h"

#define RIG_N 2
#define RIG_N_MBUFS 2047
#define RIG_MAX 128
#define RIG_BYTES 66000

#define RIG_US4 "10.0.0.2"
#define RIG_HIM4 "10.0.0.9"
#define RIG_US6 "fd00::2"
#define RIG_HIM6 "fd00::9"

/* What the port was given. */
struct rig_frame {
	unsigned len, n_segs;
	uint64_t ol_flags;
	unsigned l2_len, l3_len, l4_len, tso_segsz;
	uint8_t data[RIG_BYTES];
};

/* What TCP was given. */
struct rig_input {
	struct tcp_packet packet;
	unsigned len, n_segs;
	bool is_bad; /* its header is longer than the first mbuf, or too short */
	uint8_t data[RIG_BYTES];
};

/* What an ICMP error told TCP. */
struct rig_icmp {
	struct ip_flow flow;
	uint32_t seq;
	enum tcp_icmp what;
	uint16_t mtu;
};

struct rig {
	struct rte_mempool *pool, *clones;
	struct net_port port; /* caps may be changed before rig_setup() */
	struct net_iface iface;
	struct steer steer;	 /* by port, 20000 to 21999 */
	struct rte_ring *rings[RIG_N * RIG_N], *out[RIG_N * RIG_N];
	struct wheel wheels[RIG_N];
	struct weir_worker_stats stats[RIG_N];
	struct net *net[RIG_N];
	uint64_t now;
	unsigned n_sent, n_inputs, n_icmp;
	struct rig_frame *sent;	  /* [RIG_MAX] */
	struct rig_input *inputs; /* [RIG_MAX] */
	struct rig_icmp icmp;	  /* the last one */
	bool is_in_flight;	  /* what tcp_icmp_error() answers */
	uint32_t next_seq;	  /* what tcp_is_next() knows; moves with what is delivered in order */
	bool has_next;
	bool no_gro;		  /* before rig_setup() */
	struct net_punt_config punt[RIG_N]; /* likewise */
	bool hands_over; /* likewise */
	bool listens, has_flow, is_cookie; /* what tcp_is_listening(), tcp_has_flow() and tcp_is_cookie() answer */
	unsigned n_asked;	  /* calls of tcp_is_next() */
};

extern struct rig rig;

/* cmocka: for the group, for each test. */
int rig_start(void **state);
int rig_setup(void **state);
int rig_teardown(void **state);

/* Polls every worker twice. */
void rig_poll(void);
/* Gives frames, received together, to a worker and polls. */
void rig_give(int worker, const uint8_t *const *frames, const unsigned *lens, unsigned n);
void rig_give_one(int worker, const uint8_t *frame, unsigned len);
/* The next hops 10.0.0.9 and fd00::9 are known from here on. Sent frames are forgotten. */
void rig_know_neighbours(void);

extern const uint8_t rig_us[6], rig_him[6];

struct weir_ip rig_ip(const char *text);

/* A TCP segment of the peer (or, with the ends changed, one of ours). */
struct rig_segment {
	const char *src, *dst;
	uint16_t sport, dport;
	uint32_t seq, ack;
	uint8_t flags;
	uint16_t wnd;
	uint8_t ecn;
	unsigned n_options;
	const uint8_t *options;
	unsigned n_payload; /* byte i is rig_byte(seq + i) */
};

static inline uint8_t rig_byte(uint32_t at)
{
	return (uint8_t)(at * 7 + (at >> 8));
}

/* The frame, checksums right. Returns its length. */
unsigned rig_build(uint8_t *frame, const struct rig_segment *s);
/* An IPv4 or IPv6 packet with a right header around payload; ICMP's checksum is made right. Returns the frame's length. */
unsigned rig_build_ip(uint8_t *frame, const char *src, const char *dst, uint8_t proto, const uint8_t *payload, unsigned n);

/* A TCP frame that was sent, taken apart. */
struct rig_parsed {
	bool is4;
	uint8_t ecn;
	const uint8_t *tcp;
	unsigned n_header, n_payload;
	uint32_t seq;
	uint8_t flags;
};

/* Fails the test where a length or checksum is wrong. */
struct rig_parsed rig_parse(const struct rig_frame *f);
uint16_t rig_sum(const uint8_t *p, unsigned n, uint32_t sum);

uint64_t rig_reason(enum weir_reason r);
uint64_t rig_counter(enum weir_counter c);

#endif
