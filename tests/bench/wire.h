/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir-wire: a wire between two sides, in user space, that loses, delays,
 * reorders, duplicates and is narrow. The parts share this header:
 *
 *   wire.c         options, the loop, statistics as JSON
 *   wire_if.c      interfaces: packet sockets and TAP devices
 *   wire_lane.c    one direction: what happens to a frame and when it comes out
 *   wire_packet.c  what of a frame matters here
 *   wire_flow.c    TCP connections as the wire sees them, and the trace
 *
 * Lanes, packets and flows read no clock: their tests run in virtual time.
 */
#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define WIRE_MAX_IFS 8
#define WIRE_FRAME_ROOM 2048
#define WIRE_BATCH 64
#define WIRE_MAX_SACK 4

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

/* What of a frame matters here. */
struct packet {
	bool is_ip;
	bool is_exempt; /* finds neighbours: never lost, reordered or duplicated */
	bool is_tcp;	/* with its whole header; what follows has meaning */
	uint8_t flags;
	uint8_t n_sack;
	uint16_t src_port, dst_port; /* of UDP too; 0 where there are none */
	uint32_t seq, ack, len;
	uint32_t wnd; /* as in the header */
	uint32_t sack[WIRE_MAX_SACK][2];
};

/* Reads a frame of n bytes. Whatever it holds, nothing beyond n is read. */
void packet_parse(const uint8_t *frame, size_t n, struct packet *out);
/* Sets CE where the sender is ECN-capable (RFC 3168), and mends the checksum. False if it is not. */
bool packet_mark_ce(uint8_t *frame, size_t n);

struct frame {
	struct frame *next;
	uint64_t release_ns, order;
	struct packet packet;
	uint8_t in;	  /* interface that it came from */
	uint8_t out_mask; /* interfaces that it goes to */
	uint16_t len;
	uint8_t data[WIRE_FRAME_ROOM];
};

struct frame_pool {
	struct frame *frames, *free;
	size_t n, n_used; /* frames from n_used on were never touched */
};

/* -ENOMEM. The memory of frames that are never used is never touched. */
int frame_pool_init(struct frame_pool *p, size_t n_frames);
void frame_pool_fini(struct frame_pool *p);
struct frame *frame_get(struct frame_pool *p); /* NULL: none is left */
void frame_put(struct frame_pool *p, struct frame *f);

struct lane_config {
	uint64_t rate_Bps;    /* 0: not limited */
	uint64_t queue_bytes; /* what waits for the rate, at most; 0: not limited */
	uint64_t mark_bytes;  /* waiting bytes from which on ECN-capable packets are marked; 0: never */
	uint64_t delay_ns;
	uint64_t jitter_ns;   /* 0 to so much is added; order stays */
	uint64_t reorder_ns;  /* so much is added to the packets that are held back */
	uint32_t loss_ppm, reorder_ppm, duplicate_ppm;
	uint64_t seed;
};

struct lane_stats {
	uint64_t packets, bytes; /* that came in */
	uint64_t lost, dropped, marked, reordered, duplicated, no_frame;
	uint64_t out_packets, out_bytes;
	uint64_t queue_max_bytes;
	uint64_t late_sum_ns, late_max_ns, late_1ms; /* how far behind its time a frame was released */
};

/* One direction of the wire. */
struct lane {
	struct lane_config cfg;
	struct lane_stats stats;
	struct frame_pool *pool;
	struct frame **heap; /* by (release_ns, order) */
	size_t n;
	uint64_t idle_ns;    /* when the rate is free again */
	uint64_t last_ns;    /* release of the latest frame that was not held back */
	uint64_t order;
	uint32_t *counts;    /* packets so far, by far interface and near port */
};

enum fate { FATE_PASSED, FATE_LOST, FATE_DROPPED };

/* -ENOMEM. The pool outlives the lane. */
int lane_init(struct lane *l, const struct lane_config *cfg, struct frame_pool *pool);
void lane_fini(struct lane *l);
/*
 * Takes f over. far: the interface of the far side, port: the near side's, if
 * known. Chance is drawn from (seed, port, number of the packet among those of
 * the same far and port): so connections through different far interfaces
 * from the same port meet the same losses, and a seed repeats them.
 */
enum fate lane_put(struct lane *l, struct frame *f, unsigned far, uint16_t port, uint64_t now_ns);
/* The next frame that is due, or NULL. The caller gives it back to the pool. */
struct frame *lane_get(struct lane *l, uint64_t now_ns);
/* When the next frame is due; UINT64_MAX if there is none. */
uint64_t lane_next_ns(const struct lane *l);

/* A TCP connection as the wire sees it: data go from the far side to the near one. */
struct flow {
	bool is_used;
	uint8_t far;
	uint16_t near_port, far_port;
	uint64_t data_packets, data_bytes, retransmits, retransmit_bytes;
	uint64_t spurious;     /* retransmissions of what was neither lost nor dropped */
	uint64_t lost, dropped; /* data */
	uint64_t acks, acks_lost;
	uint64_t n_stalls, stall_ns; /* silences with data in flight: most likely a retransmission timeout */
	bool has_seq, has_ack;
	uint32_t max_seq, max_ack;
	uint64_t last_data_ns;
	uint32_t (*gone)[2]; /* ranges that did not get through and have not been sent again */
	uint32_t n_gone;
};

struct flow_table {
	struct flow *flows; /* [WIRE_MAX_FLOWS] */
	uint64_t stall_ns;  /* a silence of so long is a stall */
	uint64_t no_room;
	FILE *trace;	    /* or NULL */
};

#define WIRE_MAX_FLOWS 1024 /* a power of two */
#define WIRE_MAX_GONE 4096

/* -ENOMEM. trace, if any, gets a line for each TCP packet: see flow_trace() in wire_flow.c. */
int flow_table_init(struct flow_table *t, uint64_t stall_ns, FILE *trace);
void flow_table_fini(struct flow_table *t);
/* A packet of the far side went into the wire. */
void flow_from_far(struct flow_table *t, const struct packet *p, unsigned far, enum fate fate, uint64_t now_ns);
/* A packet of the near side comes out of the wire, or (lost or dropped) does not. */
void flow_from_near(struct flow_table *t, const struct packet *p, unsigned far, enum fate fate, uint64_t now_ns);

struct iface {
	char name[16];
	int fd;
	bool is_tap;
	bool is_far;
	struct frame *out[WIRE_BATCH]; /* to be sent; they are not this interface's own */
	unsigned n_out;
	uint64_t send_errors, too_long;
};

/* spec: the name of a link, or tap:NAME for a TAP device that is made. -errno. */
int iface_open(struct iface *i, const char *spec, bool is_far);
void iface_close(struct iface *i);
/* Up to WIRE_BATCH frames into frames; returns their number. */
unsigned iface_receive(struct iface *i, struct frame_pool *pool, struct frame **frames);
/* Sends out[] and empties it. What the kernel refuses is counted. */
void iface_flush(struct iface *i);
/* Frames that the kernel dropped since the last call because the socket was full. */
uint64_t iface_drops(struct iface *i);

#endif
