/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the listen side share: listeners, connections that are no
 * struct tcp_conn yet (SYN-RECEIVED: synq.c, cookie.c) or any more
 * (TIME-WAIT: timewait.c), and what peers may open (limit.c).
 *
 * A tuple has one entry in the stack's flow table: a connection, a struct syn
 * or a struct tw. Which it is, its number says: connections come first, then
 * struct syn, then struct tw. Indices of pools are kept plus 1; 0 is none.
 */
#ifndef TCP_LISTEN_PVT_H
#define TCP_LISTEN_PVT_H

#include "base/wheel.h"
#include "tcp/flowtab.h"
#include "tcp/tcp.h"

#define TCP_MAX_LISTENERS 1024
#define LISTENER_HEADS 2048
#define LIMIT_ROWS 4

/* Kinds of timers beside those of a connection, from env.wheel_kind on. */
enum { WHEEL_SYN = 4, WHEEL_TIME_WAIT = 5 };

struct rte_mbuf;
struct tcp_segment;

/* A rate: when the next one would be due if they came evenly; up to one second's worth may run ahead of that. */
struct rate {
	uint64_t next_ns;
};

struct tcp_listener {
	struct tcp_stack *stack;
	struct weir_ip addr;
	uint16_t port;
	enum tcp_cc_kind cc;
	tcp_accept_fn *accept;
	tcp_event_fn *event;
	void *ctx;
	uint32_t generation; /* grows when it is closed: older connections are not its any more */
	uint32_t max_connections, accepts_per_s; /* 0: no bound */
	uint32_t n_connections;
	struct rate accepts;
	uint32_t syns; /* its struct syn, linked by next */
	bool is_closed; /* what is left in syns is forgotten bit by bit; then it is free */
	bool has_sent_cookie;
	uint64_t cookie_us;	   /* when it last sent one */
	struct tcp_listener *next; /* in its bucket, closed or free */
};

/* The two SYNs of a handshake: what a connection is made from. */
struct handshake {
	uint32_t iss, irs;
	uint32_t ts_recent; /* the peer's TSval */
	uint32_t ts_offset;
	uint32_t rtt_us; /* from our SYN to its acknowledgement; 0: not known */
	uint16_t mss;	 /* as the peer offered it; 0: it did not */
	uint16_t wnd;
	uint8_t snd_wscale;
	bool has_ts : 1, has_sack : 1, has_wscale : 1, has_ecn : 1; /* offered by the peer, and accepted */
	uint8_t n_lost; /* SYN-ACKs of ours that nothing answered in time */
};

/* A connection in SYN-RECEIVED that a peer began. */
struct syn {
	struct ip_flow flow;
	struct handshake h;
	uint64_t sent_us; /* the latest SYN-ACK */
	struct wheel_timer timer;
	uint32_t next, prev; /* of the same listener; next also links free ones */
	uint32_t tw;	     /* the TIME-WAIT that it takes the place of, and gives it back to if it comes to nothing */
	uint32_t acked_ms;   /* the latest ACK that was no SYN-ACK */
	uint16_t listener;
	uint8_t n_timeouts;
	bool is_resent : 1;
	bool has_acked : 1;
};

static_assert(sizeof(struct syn) <= 128, "a half-open connection costs at most 128 bytes");

struct synq {
	struct syn *pool; /* [cfg.n_syn] */
	uint32_t free, n;
};

/* A connection in TIME-WAIT whose user has let go. */
struct tw {
	struct ip_flow flow;
	uint32_t snd_nxt, rcv_nxt;
	uint32_t wnd; /* bytes; what was advertised last */
	uint32_t ts_recent, ts_offset;
	uint32_t syn; /* what may take its place: then the flow table has that */
	uint64_t due_us;
	uint32_t next, prev; /* in order of due_us; next also links free ones */
	uint32_t acked_ms;   /* when the present stretch of ACKs from here began */
	uint8_t n_acks;
	uint8_t rcv_wscale;
	bool has_ts : 1;
	bool is_ours : 1; /* we opened it */
};

static_assert(sizeof(struct tw) <= 96, "a connection in TIME-WAIT costs at most 96 bytes");

struct timewait {
	struct tw *pool; /* [cfg.n_time_wait] */
	uint32_t free, n;
	uint32_t n_fresh; /* of pool: those from here on were never used, and their memory not touched */
	uint32_t oldest, newest;
	struct wheel_timer timer; /* for the oldest */
};

/* One cell of the sketch that counts source prefixes. */
struct limit_cell {
	struct rate accepts;
	uint32_t n_connections;
};

struct listen_side {
	struct tcp_listener *pool; /* [TCP_MAX_LISTENERS] */
	struct tcp_listener *free;
	struct tcp_listener *closed; /* those that still have handshakes in hand */
	struct tcp_listener **heads; /* [LISTENER_HEADS], by address and port */
	struct synq synq;
	struct timewait timewait;
	struct limit_cell *cells; /* [LIMIT_ROWS][cell_mask + 1]; NULL: prefixes have no bounds */
	uint32_t cell_mask;
	struct rate resets;
	uint8_t cookie_key[16], limit_key[16];
};

/* What the flow table has for a tuple: one of the three, or nothing. */
struct flow_hit {
	uint64_t hash;
	struct tcp_conn *conn;
	struct syn *syn;
	struct tw *tw;
};

/* listen.c */
bool listen_create(struct tcp_stack *s);
/* Forgets everything; frees what listen_create() made, also if it failed half-way. */
void listen_destroy(struct tcp_stack *s);
struct tcp_listener *listener_find(const struct tcp_stack *s, const struct weir_ip *addr, uint16_t port);
/* Forgets a slice of the handshakes whose listeners are closed. Returns how many. */
unsigned listen_forget(struct tcp_stack *s);
/*
 * A segment whose tuple has no connection (hit->conn is NULL). Returns the
 * connection that it establishes, for which it is then worked through as any
 * segment, or NULL: it is done with.
 */
struct tcp_conn *listen_input(struct tcp_stack *s, const struct ip_flow *flow, const struct flow_hit *hit,
			      const struct tcp_segment *seg);
/* Begins a handshake by what a SYN says. old: the TIME-WAIT beyond whose numbers it is to lie, or NULL. */
void handshake_init(const struct tcp_stack *s, const struct ip_flow *flow, const struct tcp_segment *seg,
		    const struct tw *old, struct handshake *h);
/* True if a SYN asks for ECN (RFC 3168 6.1.1). */
bool handshake_asks_ecn(const struct tcp_segment *seg);
/* Sends SYN-ACK with this TSval. */
void handshake_answer(struct tcp_stack *s, const struct ip_flow *flow, const struct handshake *h, uint32_t ts_val);
/* The window that a SYN-ACK offers, in bytes. */
uint32_t handshake_window(const struct tcp_stack *s);
/*
 * The connection of a completed handshake, in the place of what hit has, or
 * NULL with the refusal counted (a bound is reached, or no connection is
 * free): then hit's stays.
 */
struct tcp_conn *conn_open_passive(struct tcp_stack *s, struct tcp_listener *l, const struct ip_flow *flow,
				   const struct flow_hit *hit, const struct handshake *h);

/* What is at a place of the pools of struct syn and, behind it, of struct tw. False: nothing. */
bool waiting_info(const struct tcp_stack *s, uint32_t at, struct tcp_info *out);

/* table.c: their numbers in the flow table. */
uint32_t conn_number(const struct tcp_conn *c);
uint32_t syn_number(const struct tcp_stack *s, const struct syn *y);
uint32_t tw_number(const struct tcp_stack *s, const struct tw *w);

/* synq.c */
bool synq_create(struct tcp_stack *s);
void synq_destroy(struct tcp_stack *s);
bool synq_is_full(const struct tcp_stack *s);
/* A new entry for a SYN (the pool is not full); its SYN-ACK is sent. */
void synq_add(struct tcp_stack *s, struct tcp_listener *l, const struct ip_flow *flow, const struct flow_hit *hit,
	      const struct handshake *h);
/* A segment for an entry; as listen_input(). */
struct tcp_conn *synq_input(struct tcp_stack *s, const struct flow_hit *hit, const struct tcp_segment *seg);
/* Forgets up to max of what a listener has in hand. Returns how many. */
unsigned synq_drop_some(struct tcp_stack *s, struct tcp_listener *l, uint32_t max, enum weir_reason why);
/* The entry's listener is closed: it is only there until its turn comes to be forgotten. */
bool synq_is_orphan(const struct tcp_stack *s, const struct syn *y);
/* Its turn has come. */
void synq_forget(struct tcp_stack *s, struct syn *y);
/* A connection has its place in the flow table now. */
void synq_free(struct tcp_stack *s, struct syn *y);

/* cookie.c (RFC 4987 3.6): answers a SYN, and keeps nothing of it. */
void cookie_send(struct tcp_stack *s, struct tcp_listener *l, const struct ip_flow *flow, const struct tcp_segment *seg,
		 const struct tw *old);
/* True if an ACK brings a cookie of ours back: then h is what the handshake was. Counts a wrong one. */
bool cookie_take(struct tcp_stack *s, const struct tcp_listener *l, const struct ip_flow *flow, const struct tcp_segment *seg,
		 struct handshake *h);

/* timewait.c */
bool timewait_create(struct tcp_stack *s);
void timewait_destroy(struct tcp_stack *s);
/* The entry of this flow, or NULL. */
struct tw *timewait_find(const struct tcp_stack *s, const struct ip_flow *flow);
/* The user of a connection in TIME-WAIT aborts it: nothing is waited for (RFC 9293 3.10.5). */
void timewait_forget(struct tcp_conn *c);
/* True if a connection of ours may be opened over it: its time stamps tell the two apart (RFC 6191). */
bool timewait_may_reuse(const struct tcp_stack *s, const struct tw *w);
/* Ends it for such a connection, whose first sequence number must lie beyond *min_iss. */
void timewait_reuse(struct tcp_stack *s, struct tw *w, uint32_t *min_iss);
/* True if a SYN may begin a new connection over the old one (RFC 6191, RFC 9293 3.6.1). */
bool timewait_is_newer(const struct tw *w, const struct tcp_segment *seg);
/* A segment that begins nothing new. */
void timewait_input(struct tcp_stack *s, struct tw *w, const struct tcp_segment *seg);
/* Ends it: a new connection has taken its place in the flow table. */
void timewait_free(struct tcp_stack *s, struct tw *w);

/* limit.c: true if one more connection from this address is within all bounds; else *why is which is not. */
bool limit_create(struct tcp_stack *s);
void limit_destroy(struct tcp_stack *s);
bool limit_allows(const struct tcp_stack *s, const struct tcp_listener *l, const struct weir_ip *remote,
		  enum weir_reason *why);
/* A peer has established a connection: counted until limit_give(). */
void limit_take(struct tcp_stack *s, struct tcp_listener *l, const struct weir_ip *remote);
void limit_give(struct tcp_stack *s, struct tcp_listener *l, const struct weir_ip *remote);
/* True if one more is within the rate. per_s 0: always. */
bool rate_has(const struct rate *r, uint32_t per_s, uint64_t now_us);
/* Counts one, which may be beyond the rate. */
void rate_take(struct rate *r, uint32_t per_s, uint64_t now_us);

/* reply.c: segments that no struct tcp_conn sends. */
struct reply {
	uint32_t seq, ack;
	uint8_t flags;
	uint16_t wnd; /* as in the header */
	const uint8_t *options;
	unsigned n_options; /* bytes, a multiple of 4 */
};

/* An mbuf with room for the header, which will stand in front of what is appended. NULL: none left, counted. */
struct rte_mbuf *segment_alloc(struct tcp_stack *s, unsigned header_len);
void segment_write_header(uint8_t *h, const struct ip_flow *flow, const struct reply *r);
void reply_send(struct tcp_stack *s, const struct ip_flow *flow, const struct reply *r);
/* RST in answer to a segment, unless that is one (RFC 9293 3.10.7.1). */
void send_reset(struct tcp_stack *s, const struct ip_flow *flow, const struct tcp_segment *seg);
/* The same for a segment that anybody may have sent. False: withheld by the rate limit. */
bool send_reset_to_stranger(struct tcp_stack *s, const struct ip_flow *flow, const struct tcp_segment *seg);

#endif
