/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP (RFC 9293): one stack per worker, nothing shared, no clock read: every
 * entry takes now_us (monotonic). Packets go in by tcp_input() and come out by
 * the environment's output function; the layer above is told by events.
 *
 * tcp_input() and timers only change state. tcp_run(), once per iteration of
 * the worker's loop, first delivers the events (so the layer above is never
 * called from within its own calls), then sends everything that may be sent.
 *
 * Data are mbuf chains. What was received is taken out as mbufs and may be
 * given to another connection without a copy; it is kept, with a reference,
 * until acknowledged.
 */
#ifndef TCP_TCP_H
#define TCP_TCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"
#include "base/slice.h"
#include "weir/stats.h"

struct rte_mbuf;
struct rte_mempool;
struct wheel;
struct tcp_stack;
struct tcp_conn;
struct tcp_listener;

/* The IP layer's facts about a segment that came in. */
struct tcp_packet {
	struct weir_ip src;
	struct weir_ip dst;
	uint8_t ecn; /* the two ECN bits */
	uint16_t n_segs; /* segments of the wire that were merged into this one; 0 is 1 */
};

/*
 * Sends one segment. m->tso_segsz is 0, or (only with config.tso_max_bytes)
 * the payload of each segment into which the callee cuts it (RFC 9293; FIN and
 * PSH belong to the last, CWR to the first); then m->l4_len is the length of
 * the TCP header, which all of them share. m begins at the TCP header (at least 128 bytes of
 * headroom, checksum field zero; the callee fills it in), takes m over in any
 * case. ecn: the two ECN bits for the IP header.
 */
typedef void tcp_output_fn(void *ctx, struct rte_mbuf *m, const struct ip_flow *flow, uint8_t ecn, uint64_t now_us);

/*
 * Steering of connections that we open, where the answers' hash says whose
 * they are. Of the values of a local port's low steer_bits bits, steer_fits
 * bring the answers to this worker. The first function has the number of one
 * of them in those bits (0 .. steer_fits - 1) and replaces it by the value;
 * the second one finds the number for a value. The other bits are kept.
 */
typedef void tcp_steer_port_fn(void *ctx, struct ip_flow *flow);
typedef unsigned tcp_steer_fit_fn(void *ctx, const struct ip_flow *flow);

/*
 * The largest packet towards remote, IP header included; config.mtu bounds it.
 * is_path: with what is known of the path (for what we send); else of our
 * own interface (for the MSS that we announce: RFC 6691, RFC 2923 2.3).
 */
typedef uint16_t tcp_mtu_fn(void *ctx, const struct weir_ip *remote, bool is_path);

#define TCP_WHEEL_KINDS 7

/* What the stack needs from its worker. All of it outlives the stack. */
struct tcp_env {
	void *ctx; /* for output */
	tcp_output_fn *output;
	tcp_mtu_fn *path_mtu;	       /* NULL: config.mtu */
	tcp_steer_port_fn *steer_port; /* NULL: all of port_lo .. port_hi is this worker's own */
	tcp_steer_fit_fn *steer_fit;
	unsigned steer_bits, steer_fits;
	struct rte_mempool *pool;  /* mbufs with data room, for headers and copied data */
	struct rte_mempool *clones; /* mbufs without data room, for references to data in flight */
	struct wheel *wheel;	   /* the stack registers its kinds wheel_kind .. wheel_kind + TCP_WHEEL_KINDS - 1 */
	unsigned wheel_kind;
	struct weir_worker_stats *stats;
	struct stage_clock *stages; /* NULL: not wanted */
};

/* Congestion control, X(enumerator, name). DEFAULT in a listener or a connect: what the stack's configuration says. */
#define TCP_CC_KINDS(X) X(CUBIC, "cubic") X(NEWRENO, "newreno") X(BBR, "bbr")

enum tcp_cc_kind {
	TCP_CC_DEFAULT,
#define X(name, str) TCP_CC_##name,
	TCP_CC_KINDS(X)
#undef X
};

/* When a SYN is answered by a cookie (RFC 4987 3.6) and nothing is kept of it. */
enum tcp_cookies {
	TCP_COOKIES_AUTO, /* while n_syn handshakes are in hand already */
	TCP_COOKIES_OFF,  /* never: such a SYN is dropped */
	TCP_COOKIES_ALWAYS,
};

struct tcp_config {
	uint32_t n_connections;	   /* connections; those in SYN-RECEIVED and TIME-WAIT have pools of their own */
	uint32_t n_syn;		   /* handshakes of peers in hand (SYN-RECEIVED) at most */
	uint32_t n_time_wait;	   /* in TIME-WAIT at most, the oldest gives way; 0: n_connections */
	enum tcp_cookies cookies;
	/*
	 * Bounds of what peers may open; 0: none. Those of a listener are the
	 * defaults of struct tcp_listen. Those of a source prefix hold for all
	 * listeners together. Rates let one second's worth pass at once.
	 */
	uint32_t listener_connections, listener_accepts_per_s;
	uint32_t prefix_connections, prefix_accepts_per_s;
	uint8_t prefix_len4, prefix_len6; /* what counts as one source; 0: 32 and 64 */
	uint32_t n_prefixes;	   /* cells by which prefixes are told apart (limit.c), at most 65536; 0: 16384 */
	uint32_t rst_per_s;	   /* RSTs in answer to segments of no connection; 0: no bound */
	uint32_t rx_buffer_bytes;  /* receive window at most */
	uint32_t tx_buffer_bytes;  /* unacknowledged and unsent data of one connection at most */
	uint16_t mtu;		   /* of the interface */
	uint16_t port_lo, port_hi; /* local ports of connections that this worker opens: both included;
				      with steer_port whole blocks of 2^steer_bits */
	uint32_t time_wait_ms;	   /* 2 MSL */
	uint32_t fin_timeout_ms;   /* FIN-WAIT-2 after tcp_close(), and LAST-ACK */
	uint32_t keepalive_ms;	   /* idle time before the first probe; 0: none */
	uint32_t max_retransmit_ms; /* R2 of RFC 9293 3.8.3: give up after so long without an acknowledgement */
	uint32_t n_flights;	   /* connections that have something in flight at once; 0: all */
	uint32_t n_segments;	   /* segments in flight, of all connections; 0: eight for each flight */
	uint32_t n_bbr;		   /* connections that BBR can carry; others get the default */
	uint32_t n_held_max;	   /* mbufs in send and receive queues: from half of it on windows shrink, at it each
				      connection gets a few more at most; 0: no bound */
	uint32_t tso_max_bytes;	   /* payload of a segment that output cuts by itself; 0: each is of one MSS at most */
	enum tcp_cc_kind cc;	   /* DEFAULT: CUBIC */
	bool ecn;		   /* offered and accepted (RFC 3168) */
	bool pacing;		   /* of CUBIC and NewReno, where the peer is a millisecond away or more; BBR always paces */
	uint8_t secret[16];	   /* for initial sequence numbers (RFC 6528), time stamps and ports (RFC 6056) */
};

/*
 * Event bits of tcp_event_fn. CLOSED is the last event of a connection; its
 * handle is dead after the call. If the peer of a connection that we opened reset it, what
 * it had sent before can be taken within that call: a server that answers
 * early and closes sends RST right behind its answer (RFC 9112 9.6).
 */
enum tcp_event {
	TCP_EV_CONNECTED = 1, /* tcp_connect() succeeded */
	TCP_EV_READABLE = 2,  /* more data than at the last event, or the end of data */
	TCP_EV_WRITABLE = 4,  /* tcp_send_room() grew after it had been asked for and found short */
	TCP_EV_CLOSED = 8,    /* gone; tcp_close_reason() says why */
};

typedef void tcp_event_fn(struct tcp_conn *c, void *user, unsigned events, uint64_t now_us);

/*
 * A connection was established by a peer. Sets *user for its events. Returns
 * 0, or -errno to refuse it (it is reset and no event follows).
 */
typedef int tcp_accept_fn(void *listener_ctx, struct tcp_conn *c, void **user, uint64_t now_us);

/* Creates the stack and its table. NULL when memory is short or a value is out of bounds (errno). */
struct tcp_stack *tcp_create(const struct tcp_config *config, const struct tcp_env *env);

/* Ends every connection with RST, without events, and frees all. */
void tcp_destroy(struct tcp_stack *s, uint64_t now_us);

/* One segment from the network: m begins at the TCP header; its checksum was verified. Takes m over. */
void tcp_input(struct tcp_stack *s, struct rte_mbuf *m, const struct tcp_packet *packet, uint64_t now_us);

/*
 * True if the connection waits for the byte at seq next, with nothing out of
 * order: then segments that follow one another may come merged without a
 * change of what is acknowledged.
 */
bool tcp_is_next(const struct tcp_stack *s, const struct ip_flow *flow, uint32_t seq);

enum tcp_icmp { TCP_ICMP_UNREACHABLE, TCP_ICMP_TOO_BIG };

/*
 * An ICMP error that quotes a segment of ours, first checked by the IP layer.
 * seq: the quoted sequence number (host order), checked against what is in
 * flight (RFC 5927). mtu: for TOO_BIG. Returns true if it was in flight: then
 * the error may be believed.
 */
bool tcp_icmp_error(struct tcp_stack *s, const struct ip_flow *flow, uint32_t seq, enum tcp_icmp what, uint16_t mtu,
		    uint64_t now_us);

/*
 * Connections whose events tcp_run() delivers next, told before the first of
 * them is called: their memory can be fetched side by side. Nothing may be done to them.
 */
#define TCP_AHEAD 16
typedef void tcp_ahead_fn(void *ctx, struct tcp_conn *const *conns, unsigned n);
/* fn NULL: nobody is told. */
void tcp_on_ahead(struct tcp_stack *s, tcp_ahead_fn *fn, void *ctx);

/* Delivers events, then sends. Once per iteration. Returns the number of connections that it had work with. */
unsigned tcp_run(struct tcp_stack *s, uint64_t now_us);

/* True if the stack has this connection, whatever its state, SYN-RECEIVED and TIME-WAIT included. */
bool tcp_has_flow(const struct tcp_stack *s, const struct ip_flow *flow);

/*
 * True if a segment of this flow, of which n bytes are there from its TCP header on, ends a handshake that this stack
 * answered by a SYN cookie: it has nothing of such a connection yet but the peer's word. No false word is believed.
 */
bool tcp_is_cookie(const struct tcp_stack *s, const struct ip_flow *flow, const uint8_t *header, size_t n);

/* True if a SYN of this flow finds a listener. */
bool tcp_is_listening(const struct tcp_stack *s, const struct ip_flow *flow);

struct tcp_listen {
	struct weir_ip addr; /* zero: any */
	uint16_t port;
	enum tcp_cc_kind cc;
	uint32_t max_connections; /* established at one time; 0: what the stack's configuration says */
	uint32_t accepts_per_s;	  /* likewise */
	tcp_accept_fn *accept;
	tcp_event_fn *event;
	void *ctx; /* for accept */
};

/* Begins to listen. -EADDRINUSE, -ENOMEM. */
int tcp_listen(struct tcp_stack *s, const struct tcp_listen *args, struct tcp_listener **out);

/*
 * Stops listening: handshakes in hand come to nothing (the peer's next segment
 * is answered by RST), what was established and never accepted is reset,
 * accepted ones live on. Many handshakes are forgotten a slice at a time, by
 * tcp_run(); until then they count in tcp_n_connections().
 */
void tcp_unlisten(struct tcp_listener *l, uint64_t now_us);

/* From now on every SYN is answered by RST (WEIR_R_RX_DROPPED_BY_DRAIN). */
void tcp_set_draining(struct tcp_stack *s, bool draining);

struct tcp_connect {
	struct weir_ip local;
	struct weir_ip remote;
	uint16_t remote_port;
	uint32_t timeout_ms; /* for the handshake */
	enum tcp_cc_kind cc;
	tcp_event_fn *event;
	void *user;
};

/*
 * Opens a connection; CONNECTED or CLOSED follows, never from within this
 * call. NULL at once with *why set (CLOSE_NO_PORTS, CLOSE_TABLE_FULL).
 */
struct tcp_conn *tcp_connect(struct tcp_stack *s, const struct tcp_connect *args, uint64_t now_us,
			     enum weir_reason *why);

const struct ip_flow *tcp_flow(const struct tcp_conn *c);
void *tcp_user(const struct tcp_conn *c);
/* Changes who gets the events from now on (a connection that moves from a pool to a request). */
void tcp_set_user(struct tcp_conn *c, tcp_event_fn *event, void *user);
/* From now on it carries bytes of which nobody here knows the meaning: told by tcp_get_info(), and nothing else. */
void tcp_set_tunnel(struct tcp_conn *c);
enum weir_reason tcp_close_reason(const struct tcp_conn *c);

/* Bytes received in order and not yet taken. */
size_t tcp_readable(const struct tcp_conn *c);
/* Bytes that came in order since the connection began, taken or not, modulo 2^32; the end of data counts as one. */
uint32_t tcp_received(const struct tcp_conn *c);
/* True once the peer has closed its side and all its data were taken. */
bool tcp_is_eof(const struct tcp_conn *c);
/* True once the peer has closed its side, whether its data were taken or not: nothing more will come. */
bool tcp_peer_has_closed(const struct tcp_conn *c);
/* The first contiguous bytes of what is readable; valid until the next call that takes data. Empty if none. */
struct slice tcp_peek(const struct tcp_conn *c);
/* Copies n bytes from off on (readable, all of them) to out; they stay where they are. */
void tcp_copy(const struct tcp_conn *c, size_t off, void *out, size_t n);
/* Bytes that may wait to be taken now: what the receive window is opened to. It becomes less under memory pressure. */
size_t tcp_receive_size(const struct tcp_conn *c);
/* Takes and frees the first n readable bytes. The window opens as data are taken. */
void tcp_consume(struct tcp_conn *c, size_t n);
/*
 * The same for n bytes at the head of the queue that tcp_peek() shows in one
 * piece, but they stay where they are until tcp_release(): the mbuf that holds
 * them. It still counts among those that the stack's queues hold.
 */
struct rte_mbuf *tcp_hold(struct tcp_conn *c, size_t n);
/* Gives back what tcp_hold() returned; the connection may be gone. */
void tcp_release(struct tcp_stack *s, struct rte_mbuf *m);
/* n mbufs more (or fewer) are held by a layer above in the place of the receive queue; they count in the stack's memory pressure. */
void tcp_note_held(struct tcp_stack *s, int n);
/*
 * The next tcp_run() delivers READABLE, whatever there is to read: for a layer above that waited for something else. Nothing
 * happens to a connection that is closed.
 */
void tcp_wake(struct tcp_conn *c);
/*
 * Takes the first max_bytes (or all, if fewer) readable bytes as one mbuf
 * chain (pkt_len is its length), without a copy where possible. NULL if none
 * are readable or no mbuf is left to split one.
 */
struct rte_mbuf *tcp_recv(struct tcp_conn *c, size_t max_bytes);

/* Bytes that may be given to tcp_send*() now; 0 before CONNECTED and after tcp_shutdown(). */
size_t tcp_send_room(struct tcp_conn *c);
/* WRITABLE follows when there is more room, as if something had been refused: for a layer above whose own reckoning found it short. */
void tcp_want_room(struct tcp_conn *c);
/* Likewise where that found no mbuf (counted). */
void tcp_want_mbufs(struct tcp_conn *c);
/* False: tcp_send*() would say -EPIPE. */
bool tcp_may_send(const struct tcp_conn *c);
/*
 * Copies n bytes into the send queue: all (returns 0) or nothing (-EAGAIN: no room, -ENOBUFS: no mbuf, -EPIPE: closed).
 * A queue that is empty takes 64 KiB, whatever its room is under memory pressure.
 */
int tcp_send(struct tcp_conn *c, const void *data, size_t n);
/* Appends a chain, whose bytes are not changed any more by anybody. Takes it over in any case. Same errors. */
int tcp_send_mbufs(struct tcp_conn *c, struct rte_mbuf *chain);
/*
 * The same, but a single mbuf of which half or more is empty is copied behind what the last one holds, if that has the room: many of
 * them would take memory that no bound of bytes counts.
 */
int tcp_send_record(struct tcp_conn *c, struct rte_mbuf *chain);
/* Bytes given and not yet acknowledged. */
size_t tcp_unacked(const struct tcp_conn *c);

/* Sends FIN after what is queued; receiving goes on; events go on. */
void tcp_shutdown(struct tcp_conn *c);
/*
 * Lets the connection go: no event follows and the handle is dead for the
 * caller. What is queued is still delivered, then FIN; data that arrive after
 * this, or were not taken, end it with RST (RFC 2525 2.17).
 */
void tcp_close(struct tcp_conn *c, uint64_t now_us);
/* Resets the connection; no event follows and the handle is dead. why: counted. */
void tcp_abort(struct tcp_conn *c, enum weir_reason why, uint64_t now_us);

/* X-macro: RFC 9293 3.3.2. */
#define TCP_STATES(X) \
	X(CLOSED, "closed") X(SYN_SENT, "syn-sent") X(SYN_RECEIVED, "syn-received") X(ESTABLISHED, "established") \
	X(FIN_WAIT_1, "fin-wait-1") X(FIN_WAIT_2, "fin-wait-2") X(CLOSE_WAIT, "close-wait") X(CLOSING, "closing") \
	X(LAST_ACK, "last-ack") X(TIME_WAIT, "time-wait")

enum tcp_state {
#define X(name, str) TCP_##name,
	TCP_STATES(X)
#undef X
};

/* A look at a connection, for diagnostics and tests. */
struct tcp_info {
	struct ip_flow flow;
	enum tcp_state state;
	uint32_t srtt_us, rttvar_us, rto_us;
	uint32_t min_rtt_us;
	uint32_t cwnd, ssthresh; /* bytes */
	const char *cc;		 /* name of the congestion control */
	const char *recovery;	 /* "open", "cwr", "recovery", "loss" */
	uint32_t flying_bytes, lost_bytes, sacked_bytes; /* of what is sent and not acknowledged */
	uint32_t ooo_bytes;	 /* received behind a gap */
	uint64_t pacing_Bps;	 /* bytes a second; 0: not paced */
	uint64_t idle_us;	 /* since the last segment of the peer */
	uint8_t backoff;	 /* timeouts in a row */
	uint32_t snd_wnd, rcv_wnd;
	uint32_t unacked_bytes, unsent_bytes, readable_bytes;
	uint32_t retransmits;
	uint16_t mss;
	bool has_sack, has_timestamps, has_ecn;
	bool is_tunnel;
	uint8_t snd_wscale, rcv_wscale;
};

void tcp_get_info(const struct tcp_conn *c, struct tcp_info *out);
/* Calls fn for each connection; fn changes none. */
void tcp_each(struct tcp_stack *s, void (*fn)(void *ctx, struct tcp_conn *c), void *ctx);

#define TCP_EACH_END UINT32_MAX

/*
 * A walk in steps, each as short as the caller needs it: looks at no more than
 * n places of the stack from place `from` on (0 at first), calls fn for each
 * connection there, SYN-RECEIVED and TIME-WAIT included, and returns where the next step begins, TCP_EACH_END at the
 * end. Connections may come and go between two steps: one that is there from
 * the first step to the last is told once, any other at most once for each of
 * its lives, and one that enters TIME-WAIT meanwhile perhaps twice. fn changes none.
 */
uint32_t tcp_each_from(struct tcp_stack *s, uint32_t from, uint32_t n, void (*fn)(void *ctx, const struct tcp_info *info),
		       void *ctx);
/* The same for what is no struct tcp_conn: SYN-RECEIVED of a listener, and TIME-WAIT whose user has let go. */
void tcp_each_waiting(struct tcp_stack *s, void (*fn)(void *ctx, const struct tcp_info *info), void *ctx);
/* All of them, SYN-RECEIVED and TIME-WAIT included. */
uint32_t tcp_n_connections(const struct tcp_stack *s);
/*
 * How many users relay now: hold data of one connection while another one has
 * no room for them. Where packet buffers are short each may have an equal share
 * of them unread. Cheap; to be told whenever it changes. It counts only with config.n_held_max.
 */
void tcp_set_relays(struct tcp_stack *s, uint32_t n);
/* False: the queues hold so much that new work is better refused than begun. */
bool tcp_has_memory(const struct tcp_stack *s);
/* Those that still have something to do: neither handshakes of peers in hand, nor what only waits in TIME-WAIT. */
uint32_t tcp_n_open(const struct tcp_stack *s);
uint32_t tcp_n_syn_received(const struct tcp_stack *s);
uint32_t tcp_n_time_wait(const struct tcp_stack *s);

#endif
