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
#include "tcp/listen_pvt.h"
#include "tcp/seq.h"
#include "tcp/tcp.h"

#define FLAG_FIN 0x01
#define FLAG_SYN 0x02
#define FLAG_RST 0x04
#define FLAG_PSH 0x08
#define FLAG_ACK 0x10
#define FLAG_URG 0x20
#define FLAG_ECE 0x40
#define FLAG_CWR 0x80

#define TCP_HEADER_MIN 20
#define TCP_HEADER_MAX 60
#define TCP_MAX_SACK 3	      /* blocks that fit beside time stamps */
#define TCP_MAX_OOO 64	      /* segments of a connection kept out of order */
#define TCP_COPY_BYTES 512    /* payloads up to this are copied into the header's mbuf */
#define TCP_MAX_PIECES 16     /* references in one segment */
#define TCP_OUT_HEADROOM 128  /* for the layers below */

#define RTO_INITIAL_US 1000000 /* RFC 6298 2.1 */
#define RTO_SYN_LOST_US 3000000 /* RFC 6298 5.7 */
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
	uint32_t listener_generation; /* while it differs from the listener's, it is not of this listener any more */

	struct tcp_stack *stack;
	struct tcp_listener *listener; /* of a passive one */
	tcp_event_fn *event;
	void *user;

	uint8_t state;	/* enum tcp_state */
	uint8_t events; /* enum tcp_event, pending */
	bool in_ready : 1, in_output : 1, is_dead : 1, is_detached : 1, is_passive : 1;
	bool wants_accept : 1;
	bool has_ts : 1, has_sack : 1, has_wscale : 1, has_ecn : 1;
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
};

static_assert(sizeof(struct tcp_conn) <= 512, "an idle connection costs at most 512 bytes");

#define N_PORT_COUNTERS 256

struct tcp_stack {
	struct tcp_config cfg;
	struct tcp_env env;
	struct weir_worker_stats *stats;
	struct tcp_conn *conns; /* [cfg.n_connections] */
	struct tcp_conn *free;
	struct flowtab flows; /* of connections, struct syn, struct tw: see listen_pvt.h */
	uint32_t n_conns; /* in the table */
	uint8_t rcv_wscale;
	bool is_draining;
	struct listen_side listen;
	struct tcp_conn *ready, **ready_tail;
	struct tcp_conn *output, **output_tail;
	struct tcp_conn *dead;
	uint32_t port_counter[N_PORT_COUNTERS]; /* RFC 6056 3.3.4 */
	uint64_t now_us;			/* of the call in work */
};

/* A segment as parsed. */
struct tcp_segment {
	uint32_t seq, ack;
	uint32_t wnd; /* as in the header, not scaled */
	uint32_t len; /* payload bytes */
	uint8_t flags;
	uint8_t header_len;
	bool has_mss, has_wscale, has_ts, has_sack_permitted;
	uint16_t mss;
	uint8_t wscale;
	uint32_t ts_val, ts_ecr;
};

/* opt.c: parses the header and options; false if malformed. Writes options, returns their padded length. */
bool opt_parse(const uint8_t *header, size_t n, struct tcp_segment *seg);
unsigned opt_write_ts(uint8_t *p, uint32_t ts_val, uint32_t ts_ecr);
/* Of a SYN; an answer offers only what the SYN offered. */
struct opt_syn {
	uint16_t mss;
	uint8_t wscale;
	bool has_sack, has_ts, has_wscale;
	uint32_t ts_val, ts_ecr;
};
unsigned opt_write_syn(uint8_t *p, const struct opt_syn *o);
unsigned opt_write(uint8_t *p, const struct tcp_conn *c, uint32_t ts_val, bool with_sack);

/* table.c */
bool table_create(struct tcp_stack *s);
/* Also what a table_create() that failed has made. */
void table_destroy(struct tcp_stack *s);
/* What the table has for a tuple. */
void table_lookup(const struct tcp_stack *s, const struct ip_flow *flow, struct flow_hit *hit);
/* The connection of a tuple, or NULL. */
struct tcp_conn *table_find(const struct tcp_stack *s, const struct ip_flow *flow);
bool table_is_full(const struct tcp_stack *s);
/* A zeroed connection in the table (the tuple is new to it), or NULL when none is free. */
struct tcp_conn *table_add(struct tcp_stack *s, const struct ip_flow *flow);
/* The same, in the place of hit's struct syn or struct tw, if it has one: that is freed. */
struct tcp_conn *table_add_over(struct tcp_stack *s, const struct ip_flow *flow, const struct flow_hit *hit);
/* Out of the table, timers off, queues freed. An attached user will hear CLOSED. */
void conn_drop(struct tcp_conn *c, enum weir_reason why);
/* The same when all is said and done; its tuple is from now on the entry of this number. */
void conn_yield(struct tcp_conn *c, uint32_t number);
/* Dead ones to the free list. */
void table_sweep(struct tcp_stack *s);
void conn_mark_ready(struct tcp_conn *c, unsigned events);
void conn_mark_output(struct tcp_conn *c);

/* timewait.c: TIME-WAIT. If the user has let go c leaves for a struct tw, and is dead then. */
void conn_set_time_wait(struct tcp_conn *c);
/* The user of one in TIME-WAIT has let go. */
void conn_leave_time_wait(struct tcp_conn *c);

/* output.c */
void conn_output(struct tcp_conn *c);
/* A segment without data, outside of the send queue. */
void conn_send_control(struct tcp_conn *c, uint8_t flags, uint32_t seq);
/* The first segment of the send queue again. */
void conn_retransmit(struct tcp_conn *c);
/* One byte beyond the window. */
void conn_send_probe(struct tcp_conn *c);
void conn_send_reset(struct tcp_conn *c);
uint32_t conn_receive_window(const struct tcp_conn *c);
uint16_t conn_mss_for(const struct tcp_stack *s, const struct weir_ip *remote);
uint32_t conn_ts_now(const struct tcp_conn *c);

/* timer.c */
void timers_init(struct tcp_stack *s);
void conn_arm(struct tcp_conn *c, unsigned timer, uint64_t at_us);
void conn_arm_rtx(struct tcp_conn *c);
void conn_cancel(struct tcp_conn *c, unsigned timer);
void conn_measure_rtt(struct tcp_conn *c, uint32_t rtt_us);

/* listen.c */
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

/* ports.c: a free local port for flow (its local_port is filled in). */
bool port_choose(struct tcp_stack *s, struct ip_flow *flow, uint32_t *min_iss);

/* The clock of time stamps, of a connection with this offset. */
static inline uint32_t ts_clock(const struct tcp_stack *s, uint32_t ts_offset)
{
	return (uint32_t)(s->now_us / 1000) + ts_offset;
}

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
