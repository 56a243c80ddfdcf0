/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A world is two stacks and all connections between them; a plan says what
 * each connection does and what its path does to it. All of it follows from
 * the seed, so that the seed alone brings a run back.
 */
#ifndef SIM_PLAN_H
#define SIM_PLAN_H

#include "link.h"
#include "tcp/tcp.h"

#define WORLD_MAX_CONNS 512

/* X(enumerator, what a report says) */
#define PLAN_ENDS(X) \
	X(CLEAN, "closes when all is said") \
	X(AT_ONCE, "closes as soon as it has sent") \
	X(ABORT, "aborts") \
	X(UNREAD, "closes with data unread")

enum plan_end {
#define X(name, str) END_##name,
	PLAN_ENDS(X)
#undef X
};

enum plan_send { SEND_COPY, SEND_MBUFS, SEND_RELAY };

struct side_plan {
	uint32_t salt;
	uint32_t to_send;
	uint32_t chunk;	   /* bytes of one call */
	uint32_t gap_us;   /* between two calls; 0: as fast as there is room */
	enum plan_send how;
	bool reads_mbufs;
	uint32_t read_max;    /* bytes at a time */
	uint32_t read_gap_us; /* between two reads; 0: all at once */
	uint32_t pause_at;    /* after so many bytes it does not read for pause_us */
	uint32_t pause_us;    /* 0: never */
	enum plan_end end;
	uint32_t end_bytes; /* ABORT, UNREAD: once so many bytes were sent or are readable */
	uint32_t end_us;    /* ABORT: at the latest so long after the start */
	bool awaits_eof;    /* does not close its side before the other one */
	bool lets_go_early; /* closes when it has all that it expects, without waiting for the end of data */
};

/* X(enumerator, what a report says) */
#define PLAN_FATES(X) \
	X(NONE, "nothing happens to it") \
	X(VANISH, "the network goes away") \
	X(RESET, "somebody on the path resets it") \
	X(NO_LISTENER, "nobody listens") \
	X(REFUSED, "the listener refuses")

enum plan_fate {
#define X(name, str) FATE_##name,
	PLAN_FATES(X)
#undef X
};

struct conn_plan {
	uint64_t seed;
	uint32_t start_us;
	uint8_t client; /* host that opens */
	struct side_plan side[2]; /* client, server */
	struct sim_link link[2];  /* towards the server, towards the client */
	unsigned strip[2];	  /* options that the path takes out of the client's SYN, of the server's */
	uint32_t connect_timeout_ms;
	uint32_t patience_ms;
	enum tcp_cc_kind cc;
	enum plan_fate fate;
	uint32_t fate_us;    /* after the start */
	bool must_complete; /* all bytes both ways, nothing but an orderly end */
};

struct world_plan {
	uint64_t seed;
	unsigned n_conns;
	struct tcp_config config[2];
	bool is_ip6;
	bool is_shared; /* all paths are one */
	struct sim_link link[2];
	uint32_t spread_us; /* in which the connections begin */
	unsigned n_attacks;
	unsigned n_famines; /* times without mbufs */
	bool has_cookies; /* a SYN may be answered without being kept */
	bool is_scarce;	  /* ports, table or SYN queue may run out: a refusal is a good end */
	struct conn_plan conn[WORLD_MAX_CONNS];
};

void plan_world(struct world_plan *p, uint64_t seed);
/* Describes connection i in a few lines. */
void plan_print(const struct world_plan *p, unsigned i);

extern const char *const plan_end_names[];
extern const char *const plan_fate_names[];

#endif
