/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of tcp/ share: the connection, the stack, and who does what.
 *
 * Life of a connection object: taken from the free list; in the table until it
 * is closed (conn_drop) or let go; then dead. A dead one goes back to the free
 * list at the end of tcp_run(), when no list can hold it any more.
 */
#ifndef TCP_TCP_PVT_H
#define TCP_TCP_PVT_H

#include <assert.h>

#include <rte_mbuf.h>

#include "base/wheel.h"
#include "stats/stats.h"
#include "tcp/cc.h"
#include "tcp/seq.h"
#include "tcp/tcp.h"

#define FLAG_FIN 0x01
#define FLAG_SYN 0x02
#define FLAG_RST 0x04
#define FLAG_PSH 0x08
#define FLAG_ACK 0x10
#define FLAG_URG 0x20

#define TCP_MAX_LISTENERS 1024

#define TCP_HEADER_MIN 20
#define TCP_HEADER_MAX 60
#define TCP_MAX_SACK 3	      /* blocks that fit beside time stamps */
#define TCP_MAX_OOO 64	      /* segments of a connection kept out of order */
#define TCP_COPY_BYTES 512    /* payloads up to this are copied into the header's mbuf */
#define TCP_MAX_PIECES 16     /* references in one segment */
#define TCP_OUT_HEADROOM 128  /* for the layers below */

#define RTO_INITIAL_US 1000000 /* RFC 6298 2.1 */
#define RTO_MIN_US 200000      /* as Linux; RFC 6298 says 1 s, and that it may change */
#define RTO_MAX_US 60000000
#define DELACK_US 40000
#define KEEPALIVE_INTERVAL_US 75000000
#define KEEPALIVE_PROBES 9
#define SYN_RETRIES 6
#define CHALLENGES_PER_SECOND 10 /* RFC 5961 5, for each connection */
#define DUPACK_THRESHOLD 3

/* Kinds of timers, from env.wheel_kind on. */
enum { TIMER_RTX, TIMER_ACK, TIMER_IDLE, N_TIMERS };

/* A list of single mbufs, linked by m->next; their pkt_len and nb_segs mean nothing here. */
struct mbuf_list {
	struct rte_mbuf *head, *tail;
};

struct tcp_conn {
	/* table */
	struct ip_flow flow;
	uint32_t bucket;
	struct tcp_conn *bucket_next;

	struct tcp_stack *stack;
	struct tcp_listener *listener; /* SYN-RECEIVED and not yet accepted */
	tcp_event_fn *event;
	void *user;

	uint8_t state;	/* enum tcp_state */
	uint8_t events; /* enum tcp_event, pending */
	bool in_ready : 1, in_output : 1, is_dead : 1, is_detached : 1, is_passive : 1;
	bool wants_accept : 1;
	bool has_ts : 1, has_sack : 1, has_wscale : 1;
	bool ack_now : 1;	/* send an ACK at the next output */
	bool fin_queued : 1;	/* FIN follows the queued data */
	bool fin_received : 1;
	bool fin_acked : 1;
	bool wants_room : 1;	/* the user waits for WRITABLE */
	bool is_timing : 1;	/* rtt_seq is being timed */
	bool is_persist : 1;	/* the retransmit timer probes a zero window */
	bool in_recovery : 1;
	bool rst_on_close : 1;	/* data were left unread at tcp_close() */
	uint16_t close_reason;
	uint16_t mss;		/* payload that we send at most, options not counted */
	uint8_t snd_wscale, rcv_wscale;
	uint8_t backoff;	/* retransmissions in a row */
	uint8_t n_dupacks;
	uint8_t n_challenges;
	uint8_t n_ooo;
	uint8_t n_keepalive;
	uint8_t n_unacked_segments; /* full-sized segments received since our last ACK */

	/* sending, RFC 9293 3.3.1 */
	uint32_t iss, snd_una, snd_nxt, snd_max;
	uint32_t snd_wnd, snd_wl1, snd_wl2, max_snd_wnd;
	uint32_t snd_bytes; /* in the send queue; its first byte has sequence number snd_una */
	uint32_t recover;   /* RFC 6582 */
	struct mbuf_list snd;

	/* receiving */
	uint32_t irs, rcv_nxt, rcv_adv; /* rcv_adv: right edge of the window last advertised */
	uint32_t rcv_bytes;		/* readable */
	uint32_t ooo_bytes;
	uint32_t last_ack_sent;
	uint32_t ts_recent;
	uint32_t ts_offset;
	struct mbuf_list rcv;
	struct rte_mbuf *ooo;	/* packets by sequence number; see rcvq.c */
	uint32_t ooo_recent;	/* first sequence number of the latest one: first SACK block (RFC 2018 4) */

	/* times */
	uint32_t srtt_us, rttvar_us, rto_us;
	uint32_t rtt_seq;
	uint64_t rtt_start_us;
	uint64_t last_rx_us;
	uint64_t progress_us; /* last time that the peer acknowledged something new, or nothing was open */
	uint32_t challenge_s;
	uint32_t connect_timeout_ms;
	uint32_t n_retransmits;
	struct tcp_cc cc;

	struct wheel_timer timer[N_TIMERS];
	struct tcp_conn *ready_next, *output_next, *dead_next;
	struct tcp_conn *tw_next, **tw_pprev; /* TIME-WAIT, oldest first */
};

static_assert(sizeof(struct tcp_conn) <= 512, "an idle connection costs at most 512 bytes");

struct tcp_listener {
	struct tcp_stack *stack;
	struct weir_ip addr;
	uint16_t port;
	tcp_accept_fn *accept;
	tcp_event_fn *event;
	void *ctx;
	uint32_t n_pending; /* connections that it has not yet been offered */
	struct tcp_listener *next;
};

struct tcp_ports; /* ports.c */

struct tcp_stack {
	struct tcp_config cfg;
	struct tcp_env env;
	struct weir_worker_stats *stats;
	struct tcp_conn *conns; /* [cfg.n_connections] */
	struct tcp_conn *free;
	struct tcp_conn **buckets;
	uint32_t bucket_mask;
	uint32_t n_conns; /* in the table */
	uint32_t n_syn;
	uint8_t rcv_wscale;
	bool is_draining;
	struct tcp_listener *listeners;
	struct tcp_listener *listener_pool; /* [TCP_MAX_LISTENERS] */
	struct tcp_listener *listener_free;
	struct tcp_conn *ready, **ready_tail;
	struct tcp_conn *output, **output_tail;
	struct tcp_conn *dead;
	struct tcp_conn *tw, **tw_tail;
	struct tcp_ports *ports;
	uint64_t now_us; /* of the call in work */
};

/* A segment as parsed. */
struct tcp_segment {
	uint32_t seq, ack;
	uint32_t wnd; /* as in the header, not scaled */
	uint32_t len; /* payload bytes */
	uint8_t n_segs; /* of the wire, merged into this one */
	uint8_t flags;
	uint8_t header_len;
	bool has_mss, has_wscale, has_ts, has_sack_permitted;
	uint16_t mss;
	uint8_t wscale;
	uint32_t ts_val, ts_ecr;
};

/* opt.c: parses the header and options; false if malformed. Writes options, returns their padded length. */
bool opt_parse(const uint8_t *header, size_t n, struct tcp_segment *seg);
unsigned opt_write_syn(uint8_t *p, const struct tcp_conn *c, uint16_t mss, uint32_t ts_val, bool is_ack);
unsigned opt_write(uint8_t *p, const struct tcp_conn *c, uint32_t ts_val, bool with_sack);

/* table.c */
bool table_create(struct tcp_stack *s);
void table_destroy(struct tcp_stack *s);
struct tcp_conn *table_find(const struct tcp_stack *s, const struct ip_flow *flow);
/* A zeroed connection in the table, or NULL when it is full (the oldest TIME-WAIT gives way). */
struct tcp_conn *table_add(struct tcp_stack *s, const struct ip_flow *flow);
/* Out of the table, timers off, queues freed. An attached user will hear CLOSED. */
void conn_drop(struct tcp_conn *c, enum weir_reason why);
/* Dead ones to the free list. */
void table_sweep(struct tcp_stack *s);
void conn_mark_ready(struct tcp_conn *c, unsigned events);
void conn_mark_output(struct tcp_conn *c);
void conn_set_time_wait(struct tcp_conn *c);

/* output.c */
void conn_output(struct tcp_conn *c);
/* A segment without data, outside of the send queue. */
void conn_send_control(struct tcp_conn *c, uint8_t flags, uint32_t seq);
/* The first segment of the send queue again. */
void conn_retransmit(struct tcp_conn *c);
/* One byte beyond the window. */
void conn_send_probe(struct tcp_conn *c);
void send_reset(struct tcp_stack *s, const struct ip_flow *flow, const struct tcp_segment *seg);
void conn_send_reset(struct tcp_conn *c);
uint32_t conn_receive_window(const struct tcp_conn *c);
/* The MSS that we announce; the one that we send with at most. */
uint16_t conn_mss_for(const struct tcp_stack *s, const struct weir_ip *remote);
uint16_t conn_path_mss(const struct tcp_stack *s, const struct weir_ip *remote);
uint32_t conn_ts_now(const struct tcp_conn *c);

/* timer.c */
void timers_init(struct tcp_stack *s);
void conn_arm(struct tcp_conn *c, unsigned timer, uint64_t at_us);
void conn_arm_rtx(struct tcp_conn *c);
void conn_cancel(struct tcp_conn *c, unsigned timer);
void conn_measure_rtt(struct tcp_conn *c, uint32_t rtt_us);

/* listen.c */
struct tcp_listener *listener_find(const struct tcp_stack *s, const struct weir_ip *addr, uint16_t port);
void listen_input(struct tcp_stack *s, const struct ip_flow *flow, const struct tcp_segment *seg);
/* What a new connection starts with: iss, time stamps, congestion window. */
void conn_init_sending(struct tcp_conn *c);
/* What the peer's SYN says. */
void conn_take_syn(struct tcp_conn *c, const struct tcp_segment *seg);
void conn_established(struct tcp_conn *c);

/* rcvq.c: received data. seg is trimmed to the window; m begins at its payload. Returns true if rcv_nxt advanced. */
bool rcvq_input(struct tcp_conn *c, struct rte_mbuf *m, uint32_t seq, uint32_t len);
void rcvq_free(struct tcp_conn *c);
/* SACK blocks of what waits out of order, the latest first; at most TCP_MAX_SACK pairs. */
unsigned rcvq_sack_blocks(const struct tcp_conn *c, uint32_t (*blocks)[2]);

/* sndq.c */
void sndq_ack(struct tcp_conn *c, uint32_t n);
void sndq_free(struct tcp_conn *c);
/* Appends up to n bytes from offset off of the queue to head. Returns the number appended. */
uint32_t sndq_reference(const struct tcp_conn *c, uint32_t off, uint32_t n, struct rte_mbuf *head);

/* ports.c: local ports of connections that we open. */
bool ports_create(struct tcp_stack *s);
void ports_destroy(struct tcp_stack *s);
/* A free local port for flow (its local_port is filled in). min_iss: what its numbers must lie beyond, or 0. */
bool port_choose(struct tcp_stack *s, struct ip_flow *flow, uint32_t *min_iss);
/* A connection that we opened is out of the table, or was not made after all. */
void port_release(struct tcp_stack *s, const struct ip_flow *flow);

static inline bool conn_is_synchronized(const struct tcp_conn *c)
{
	return c->state >= TCP_ESTABLISHED;
}

/* True while our side may still send data. */
static inline bool conn_may_send(const struct tcp_conn *c)
{
	return (c->state == TCP_ESTABLISHED || c->state == TCP_CLOSE_WAIT) && !c->fin_queued;
}

static inline bool conn_may_receive(const struct tcp_conn *c)
{
	return c->state == TCP_ESTABLISHED || c->state == TCP_FIN_WAIT_1 || c->state == TCP_FIN_WAIT_2;
}

#endif
