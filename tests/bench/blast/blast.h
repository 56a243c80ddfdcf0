/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir-blast: a load generator and an origin in one process on one core, with
 * a small TCP of its own, for any DPDK port (memif, ring). What is measured is
 * the proxy between the two.
 *
 * Two ends: the client, of which each connection is one slot whose index gives
 * its address and port, and the origin, whose slots are found by the proxy's
 * port. A slot is one cache line; nothing is hashed, searched or allocated.
 *
 *   main.c    options, the loop         port.c     DPDK, frames in and out
 *   tiny.c    TCP                       ends.c     HTTP of the client and the origin
 *   load.c    connections and requests  phase.c    what is done, one after the other; reports
 *   flood.c   SYNs from anywhere        owner.c    whose a connection is
 *   chaos.c   a load with faults            plan.c     what becomes of a request there
 *   frame.c content.c hist.c due.h      bytes, numbers
 */
#ifndef BLAST_BLAST_H
#define BLAST_BLAST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "content.h"
#include "due.h"
#include "frame.h"
#include "hist.h"

#define MAX_QUEUES 8
#define TX_QUEUE 512	/* frames that wait for a queue of a port */
#define BURST 64
#define MTU_MAX 9000
#define WSCALE 7
#define CLIENT_PORT 32768u /* first local port of clients */
#define NO_PARTIAL UINT16_MAX

enum tiny_state { T_CLOSED, T_SYN_SENT, T_SYN_RCVD, T_OPEN };

/* What a client's connection is for. */
enum group {
	GROUP_NONE,
	GROUP_POOL,   /* opened to stay */
	GROUP_ACTIVE, /* of the pool, and carries requests */
	GROUP_SHOT,   /* opened for one request */
};

struct tconn {
	uint32_t snd_una, snd_nxt, snd_max, snd_wnd;
	uint32_t rcv_nxt;
	uint32_t ts_recent;
	uint32_t out_base, out_len; /* the message being sent: its first sequence number, its length */
	uint32_t id, size;	    /* of the request in hand */
	uint32_t got;		    /* client: bytes of the response's body so far */
	uint32_t progress_ms;	    /* last time that something was sent first, or acknowledged */
	uint64_t start;		    /* time stamp counter: when the request was due */
	uint16_t partial;	    /* buffer of a head that came in pieces, or NO_PARTIAL */
	uint16_t mss;
	uint32_t state : 2, group : 2, wscale : 4, tries : 4, queue : 3, n_dup : 2;
	uint32_t ack_segs : 2;	    /* received and not acknowledged; 3: acknowledge at once */
	uint32_t is_last : 1;	    /* the request says "Connection: close" */
	uint32_t fin_wanted : 1, fin_sent : 1, fin_received : 1;
	uint32_t awaits : 1;	    /* client: a response */
	uint32_t has_head : 1;	    /* client: of the response */
	uint32_t closes : 1;	    /* client: the response says so */
	uint32_t has_ts : 1, has_wscale : 1, in_touched : 1, in_ack : 1, in_rto : 1, in_output : 1;
};

_Static_assert(sizeof(struct tconn) == 64, "a connection is one cache line");

/* Why something went wrong. X(enumerator, name) */
#define BLAST_ERRORS(X) \
	X(CONNECT_TIMEOUT, "connect_timeout") X(CONNECT_REFUSED, "connect_refused") X(RESET, "reset") \
	X(TIMEOUT, "timeout") /* nothing acknowledged for long */ \
	X(EARLY_CLOSE, "early_close") X(BAD_STATUS, "bad_status") X(BAD_HEAD, "bad_head") X(BAD_LENGTH, "bad_length") \
	X(WRONG_ID, "wrong_id") X(WRONG_BYTES, "wrong_bytes") X(UNASKED, "unasked_bytes") \
	X(NOT_WHOLE, "not_whole") /* with faults: a whole answer that the origin never sent whole */ \
	X(SENT_TWICE, "sent_twice") /* with faults: a POST */ \
	X(AFTER_CLOSE, "after_close") /* with faults: a request behind an answer that said it was the last */ \
	X(NOT_GIVEN_UP, "not_given_up") /* with faults: an answer that never came was waited for too long */ \
	X(ORIGIN_WRONG_BYTES, "origin_wrong_bytes") \
	X(NO_ANSWER, "no_answer") /* in the time that a shot has, or until the end */ \
	X(ORIGIN_BAD_REQUEST, "origin_bad_request") X(BAD_FRAME, "bad_frame")

enum blast_error {
#define X(name, str) E_##name,
	BLAST_ERRORS(X)
#undef X
	N_ERRORS
};

struct counts {
	uint64_t rx, tx, tx_full;
	uint64_t responses, body_bytes; /* good ones of the client's end */
	uint64_t requests_seen;		/* by the origin */
	uint64_t opened, closed, origin_opened, origin_resets;
	uint64_t retransmits, out_of_order, other;
	uint64_t flood_sent, flood_answers; /* SYNs; what came back to nobody's address */
	uint64_t dropped_on_purpose;
	uint64_t busy_cycles, cycles;
	uint64_t cpu_ns; /* of this thread, up to the beginning or end of a phase */
	uint64_t error[N_ERRORS];
};

struct tx_queue {
	unsigned n;
	struct rte_mbuf *frames[TX_QUEUE];
};

struct port {
	uint16_t id;
	uint16_t n_queues;
	uint8_t mac[6], peer_mac[6];
	bool has_peer;
	struct tx_queue tx[MAX_QUEUES];
};

struct blast;

struct end {
	bool is_origin;
	uint32_t n; /* slots */
	uint32_t n_open; /* slots whose state is OPEN */
	struct tconn *conns;
	struct port *port;
	struct due rto, ack;
	struct due output; /* connections that wait for room in a tx queue; no times */
	unsigned n_touched;
	uint32_t touched[BURST * 4];
};

struct options {
	const char *ports[2];
	unsigned n_queues, core, memory_mb, n_desc;
	bool hugepages; /* memory_mb is not used then: DPDK takes what it needs */
	uint32_t client_base, target, gateway, origin_base;
	uint32_t source; /* the proxy's address at the origin's end */
	uint16_t target_port, origin_port;
	unsigned n_origins;
	unsigned port_bits; /* log2 of the ports of a client address */
	uint32_t n_slots;
	const char *host;
	uint32_t mtu;
	uint32_t window; /* bytes */
	uint32_t flight; /* bytes of a connection at most that are sent and not acknowledged */
	uint32_t ack_ms; /* acknowledgements are delayed by so much */
	uint32_t drop_ppm;
	uint32_t idle_us; /* slept at a time without work; 0: not */
	bool timestamps, verify, steered, is_json;
	const char *file_prefix;
};

struct chaos; /* chaos.c */
struct load; /* load.c */
struct phase; /* phase.c */

struct blast {
	struct options o;
	struct port ports[2];
	unsigned n_ports;
	struct end client, origin;
	struct content content;
	struct counts counts;
	struct load *load;
	struct chaos *chaos; /* NULL: no faults */
	uint64_t tsc, tsc_hz; /* time of this iteration */
	uint32_t now_ms;
	uint32_t asked_ms; /* ARP */
	uint32_t next_id;
	uint64_t prng;
	uint16_t ip_id;
	bool is_loop; /* the target is our own origin */
	bool scatter; /* in this phase: each frame to any queue */
	struct rte_mempool *pool;
	/* heads that came in pieces */
	uint16_t n_partial_free;
	uint16_t *partial_free;
	struct partial *partials;
};

static inline uint64_t blast_random(struct blast *b)
{
	uint64_t z = b->prng += 0x9e3779b97f4a7c15ull; /* SplitMix64 */

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

/* What we announce, and use at most: payload and options of a segment (RFC 6691). */
static inline uint16_t blast_mss(const struct blast *b)
{
	return (uint16_t)(b->o.mtu - 40);
}

static inline void count_error(struct blast *b, enum blast_error e)
{
	b->counts.error[e]++;
}

extern const char *const error_names[N_ERRORS];

/* port.c */
int port_open_all(struct blast *b);
void port_close_all(struct blast *b);
/* Asks for the link addresses that we need; true once all are known. */
bool port_resolve(struct blast *b);
/* One burst of each queue. Returns the number of frames. */
unsigned port_poll(struct blast *b);
void port_flush(struct blast *b);
/* Frames that a queue can still take. */
static inline unsigned port_room(const struct port *p, unsigned queue)
{
	return TX_QUEUE - p->tx[queue].n;
}
/*
 * Sends a segment; its payload is written by fill (ctx, where to) if s->len. False: no room
 * (counted), nothing was sent.
 */
typedef void fill_fn(void *ctx, uint8_t *out);
bool port_send(struct blast *b, struct port *p, unsigned queue, const struct segment *s, fill_fn *fill, void *ctx);

/* tiny.c */
bool end_init(struct end *e, bool is_origin, uint32_t n, struct port *port);
/* The slot to which a segment belongs; -1: none. */
int64_t end_find(const struct blast *b, const struct end *e, const struct segment *s);
/* The worker to which a client's connection belongs. */
unsigned end_owner(const struct blast *b, const struct end *e, uint32_t index);
void tiny_input(struct blast *b, struct end *e, uint32_t index, const struct segment *s, unsigned queue);
/* Sends what the segments of the last burst, or calls from above, gave reason to. */
void tiny_flush(struct blast *b, struct end *e);
void tiny_timers(struct blast *b, struct end *e);
void tiny_connect(struct blast *b, struct end *e, uint32_t index);
/* Sends the message of c->id, c->size, c->is_last; the one before it was acknowledged. */
void tiny_message(struct blast *b, struct end *e, uint32_t index, uint32_t len);
/* FIN behind what is being sent. */
void tiny_close(struct blast *b, struct end *e, uint32_t index);
/* Asks whether the peer still has the connection: it acknowledges, or resets. */
void tiny_probe(struct blast *b, struct end *e, uint32_t index);
/* Looks at the connection again when there is room to send. */
void tiny_again(struct end *e, uint32_t index);
/* RST, at once and silently. */
void tiny_abort(struct blast *b, struct end *e, uint32_t index);

/* ends.c: called by tiny.c */
bool ends_init(struct blast *b);
void end_on_open(struct blast *b, struct end *e, uint32_t index);
void end_on_data(struct blast *b, struct end *e, uint32_t index, const uint8_t *p, uint32_t n);
void end_on_fin(struct blast *b, struct end *e, uint32_t index);
/* why: N_ERRORS after an orderly end. The slot is closed. */
void end_on_closed(struct blast *b, struct end *e, uint32_t index, enum blast_error why);
/* Sends request id on an open connection, which waits for the response from now on. start: of its latency. */
void client_request(struct blast *b, uint32_t index, uint32_t id, uint32_t size, bool is_last, uint64_t start);

/* load.c */
struct load *load_create(struct blast *b);
/* Opens, asks, gives up: what is due now. Once per iteration. */
void load_step(struct blast *b);
/* called by ends.c */
void load_on_open(struct blast *b, uint32_t index);
/* A good response is complete. */
void load_on_response(struct blast *b, uint32_t index);
/* The request of this connection failed, or the connection ended; it is closed. */
void load_on_closed(struct blast *b, uint32_t index, enum blast_error why);

/* flood.c: sends up to n SYNs; returns how many. */
unsigned flood_send(struct blast *b, unsigned n);

#endif
