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

/* The two bits of the IP header (RFC 3168 5). */
enum { ECN_NOT_ECT = 0, ECN_ECT1 = 1, ECN_ECT0 = 2, ECN_CE = 3 };

#define TCP_HEADER_MAX 60
#define TCP_MAX_SACK 4	      /* blocks that we tell: 3 fit beside time stamps */
#define TCP_MAX_SACK_RX 4     /* blocks that a header can hold */
#define TCP_COPY_BYTES 512    /* payloads up to this are copied into the header's mbuf */
#define TCP_MAX_PIECES 16     /* references in one segment */
#define TCP_MAX_PIECES_LONG 48 /* in one that is cut below */
#define TCP_OUT_HEADROOM 128  /* for the layers below */

#define RTO_INITIAL_US 1000000 /* RFC 6298 2.1 */
#define RTO_AFTER_SYN_US 3000000 /* RFC 6298 5.7 */
#define RTO_MIN_US 200000      /* as Linux; RFC 6298 says 1 s, and that it may change */
#define RTO_MAX_US 60000000
#define DELACK_US 40000
#define KEEPALIVE_INTERVAL_US 75000000
#define KEEPALIVE_PROBES 9
#define SYN_RETRIES 7	     /* three minutes (RFC 9293 3.8.3) */
#define CHALLENGES_PER_SECOND 10 /* RFC 5961 5, for each connection */
#define REPEATS_PER_SECOND 100	 /* answers to data that bring nothing new, for each connection, while nothing new comes */
#define DUPACK_THRESHOLD 3
#define MIN_RTT_WINDOW_S 300
#define PACE_MIN_RTT_US 1000 /* nearer peers are not paced, but by BBR */
#define PACE_BURST_US 1000   /* that much may go out at once */
#define RETRY_US 10000	 /* after a pool was empty */
#define TCP_MAX_OOO 256	 /* ranges of a connection that wait behind gaps */
#define TCP_MAX_SEGS 8192 /* pieces in flight of a connection */

/* Kinds of timers, from env.wheel_kind on. The last one belongs to what is in flight. */
enum { TIMER_RTX, TIMER_ACK, TIMER_IDLE, N_TIMERS, TIMER_PACE = N_TIMERS };

/* What TIMER_RTX stands for. */
enum rtx_mode {
	RTX_RTO,     /* RFC 6298 */
	RTX_PERSIST, /* zero-window probes */
	RTX_REORDER, /* RACK waits for segments that may only be late (RFC 8985 6.2) */
	RTX_PROBE,   /* a tail loss probe is due (RFC 8985 7) */
	RTX_RETRY,   /* a pool was empty: output is tried again */
};

/* What the sender believes of the network. */
enum recovery_state {
	REC_OPEN,
	REC_CWR,      /* the window was reduced for ECN; nothing is known to be lost */
	REC_RECOVERY, /* fast recovery */
	REC_LOSS,     /* after a retransmission timeout */
};

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
	bool is_timing : 1;	/* the SYN's round trip is being timed */
	bool owes_ece : 1;	/* congestion was experienced; ECE until CWR arrives (RFC 3168 6.1.3) */
	bool owes_cwr : 1;	/* the next new data carry CWR */
	bool is_cwnd_limited : 1; /* the congestion window, not the user, held data back */
	bool reordering_seen : 1; /* RFC 8985 */
	bool is_probed : 1;	/* a zero-window probe with the byte at SND.NXT is out */
	bool has_tlp : 1;	/* a tail loss probe is out; tlp_end is waited for */
	bool tlp_is_resent : 1; /* it was a retransmission */
	bool has_cc_state : 1;	/* cc.state came from the stack's pool */
	bool has_left : 1;	/* its tuple is that of a struct tw, or no more: the table has it not */
	bool has_early_fin : 1; /* FIN came, with data before it missing */
	bool is_doubted : 1;	/* a black hole for large segments is suspected: mss is small until something arrives */
	bool was_doubted : 1;	/* once before: the next time it stays small */
	bool is_tunnel : 1;	/* the user says so */
	bool has_earned : 1;	/* its user has taken as much as a receive buffer holds: share.c */
	uint8_t rtx_mode;	/* enum rtx_mode */
	uint16_t close_reason;
	uint16_t mss;		/* payload that we send at most, options not counted */
	uint16_t mss_full;	/* as agreed, and as the path allows */
	uint8_t snd_wscale, rcv_wscale;
	uint8_t backoff;	/* retransmissions in a row */
	uint8_t n_challenges, n_repeats; /* ACKs in the second challenge_s */
	uint8_t n_keepalive;
	uint8_t n_unacked_segments; /* full-sized segments received since our last ACK */
	uint8_t reo_wnd_mult;	/* RFC 8985 */
	uint8_t reo_wnd_persist;
	uint16_t n_ooo;		/* ranges */
	uint16_t n_dupacks;	/* of a peer without SACK; no more are counted than it holds */

	/* sending, RFC 9293 3.3.1; snd_nxt is what was sent at most, it never goes back */
	uint32_t iss, snd_una, snd_nxt;
	uint32_t snd_wnd, snd_wl1, snd_wl2, max_snd_wnd;
	uint32_t snd_bytes; /* in the send queue; its first byte has sequence number snd_una */
	struct mbuf_list snd;
	struct tcp_flight *flight; /* NULL while nothing is in flight */

	/* receiving */
	uint32_t irs, rcv_nxt, rcv_adv; /* rcv_adv: right edge of the window last advertised */
	uint32_t rcv_bytes;		/* readable */
	uint32_t ooo_bytes;
	uint32_t early_fin;		/* its sequence number */
	uint32_t last_ack_sent;
	uint32_t ts_recent;
	uint32_t ts_offset;
	struct mbuf_list rcv;
	struct rte_mbuf *ooo;	/* ranges by sequence number; see rcvq.c */
	uint32_t ooo_recent[TCP_MAX_SACK]; /* where the latest ones began, for the order of SACK blocks (RFC 2018 4) */
	uint32_t dsack[2];	/* what arrived twice, to be told with the next ACK (RFC 2883); empty if equal */

	/* times */
	uint32_t srtt_us, rttvar_us, rto_us;
	uint32_t min_rtt_us, min_rtt_s; /* of the last minutes, and when it was seen */
	uint32_t tlp_end;
	uint64_t last_rx_us;
	uint64_t last_tx_us;  /* data; until the connection stands, its SYN; 0: no data yet */
	uint64_t progress_us; /* last time that the peer acknowledged something new, or nothing was open */
	uint64_t delivered;   /* bytes that have arrived at the peer, in order or not */
	uint32_t challenge_s;
	uint32_t n_retransmits, n_dsacks;
	uint32_t close_una; /* after tcp_close(): SND.UNA must have come this far when TIMER_IDLE expires */
	struct tcp_cc cc;

	struct wheel_timer timer[N_TIMERS];
	struct tcp_conn *ready_next, *output_next, *dead_next;
};

static_assert(sizeof(struct tcp_conn) <= 512, "an idle connection costs at most 512 bytes");

enum seg_state {
	SEG_FLYING, /* counts as in flight; in the list by time */
	SEG_LOST,   /* believed lost, to be sent again; in the list of the lost */
	SEG_SACKED, /* arrived out of order; in neither list */
};

/* What was sent in one piece and is not yet acknowledged: several segments where the device cuts them. */
struct tcp_seg {
	struct tcp_seg *next, *prev;   /* by sequence number */
	struct tcp_seg *later, *earlier; /* by time of the last transmission; of lost ones, by sequence number */
	uint32_t seq, end;
	uint8_t state; /* enum seg_state */
	bool is_resent : 1; /* sent more than once */
	bool is_app_limited : 1;
	uint32_t m_seq;	    /* sequence number of m's first byte, or less: then that is SND.UNA */
	struct rte_mbuf *m; /* of the send queue, where its data begin; NULL: it is FIN alone */
	uint64_t sent_us;
	/* delivery rate: the connection's state when this was sent */
	uint64_t delivered, delivered_us, first_sent_us;
	uint32_t in_flight; /* bytes, this one included */
	uint32_t lost;
};

/* Where a SACK block of the last ACK ended, so that the next one is not read from the front again. */
struct sack_cache {
	uint32_t left, right;
	struct tcp_seg *last; /* NULL: unused */
};

/* What a connection needs while something is in flight. */
struct tcp_flight {
	struct tcp_conn *conn;
	struct tcp_flight *next_free;
	struct tcp_seg *head, *tail;	/* all, by sequence number */
	struct tcp_seg *oldest, *newest; /* flying, by time */
	struct tcp_seg *lost_head, *lost_tail;
	uint32_t n_segs;
	uint32_t flying;   /* bytes */
	uint32_t resent;   /* bytes of them that were sent more than once */
	uint32_t sacked;   /* bytes */
	uint32_t n_sacked; /* segments */
	uint32_t lost;	   /* bytes ever believed lost */
	uint32_t lost_now; /* bytes in the list of the lost */
	uint32_t lost_untold; /* bytes marked since congestion control heard of it */
	uint64_t loss_sent_us; /* of what loss speaks of */
	struct cc_loss loss;   /* the newest of them */
	uint8_t recovery;  /* enum recovery_state */
	bool is_frto : 1;	   /* after a timeout: it may have been spurious (RFC 5682) */
	bool frto_sends_new : 1;   /* step 2b: new data go before retransmissions */
	bool sends_one : 1;	   /* after a timeout: one segment, then nothing until an ACK (RFC 6298 5.4) */
	bool awaits_ack : 1;	   /* it has gone out */
	bool has_dsack_round : 1;
	bool has_point : 1;	   /* recovery_point means something */
	bool may_undo : 1;
	bool undo_has_sent : 1;	   /* something was sent again since */
	uint32_t recovery_point;
	struct sack_cache sack_cache[TCP_MAX_SACK_RX];

	/* RACK (RFC 8985 5.3): the latest sent segment that has arrived */
	uint64_t rack_sent_us;
	uint32_t rack_end, rack_rtt_us, rack_fack, dsack_round;
	uint64_t reorder_at_us; /* when what may only be late counts as lost; 0: nothing waits */
	uint64_t rto_at_us;	/* when the retransmission timer would expire */

	/* PRR (RFC 9937) */
	uint32_t prr_delivered, prr_out, recover_fs;
	uint32_t reduce_to; /* the window at its end: not above what it was when it began */

	/* to take a reaction back that was for nothing (RFC 3522, RFC 4015, RFC 3708) */
	uint32_t undo_ts;     /* time stamp of the first retransmission */
	uint32_t undo_resent; /* bytes sent again and not yet reported as duplicates */
	uint32_t undo_una;    /* snd_una when it began */

	/* delivery rate */
	uint64_t delivered_us, first_sent_us;
	uint64_t app_limited; /* until this much has been delivered; 0: not */

	uint64_t pace_at_us; /* no data before */
	struct wheel_timer pace;
};

/* What one ACK has told: filled in as it is worked through. */
struct tcp_ack {
	uint32_t prior_una, prior_flying, prior_fack;
	uint32_t acked;	    /* bytes that snd_una moves */
	uint32_t delivered; /* bytes newly known to have arrived */
	uint32_t lost;	    /* bytes newly believed lost */
	uint32_t rtt_us;    /* of the latest sent that arrived, 0: no sample */
	uint32_t first_rtt_us; /* of the earliest sent: what RFC 6298 measures */
	uint32_t ts_ecr;    /* 0: none */
	bool is_dup;	    /* a duplicate ACK by RFC 5681 2 */
	bool is_cumulative; /* what arrives now is below the ACK */
	bool has_dsack;
	bool has_orig;	    /* something from before recovery that was sent once only has arrived */
	bool has_resent;    /* something that was sent again was acknowledged */
	bool has_sacked;    /* something was newly selectively acknowledged */
	bool has_ece;
	/* of the segment sent last among those that arrived: for the delivery rate */
	bool has_rate;
	uint64_t rate_sent_us, rate_first_sent_us, rate_delivered_us;
	struct cc_rate rate;
};

struct tcp_ports; /* ports.c */

struct tcp_stack {
	struct tcp_config cfg;
	struct tcp_env env;
	struct weir_worker_stats *stats;
	struct tcp_conn *conns; /* [cfg.n_connections] */
	struct tcp_conn *free;
	uint32_t n_fresh; /* of conns: those from here on were never used, and their memory not touched */
	struct flowtab flows; /* of connections, struct syn, struct tw: see listen_pvt.h */
	uint32_t n_conns; /* in the table */
	uint8_t rcv_wscale;
	bool is_draining;
	struct listen_side listen;
	struct tcp_conn *ready, **ready_tail;
	struct tcp_conn *woken; /* by tcp_wake(): ready with the next tcp_run(); in_ready, too */
	tcp_ahead_fn *ahead;
	void *ahead_ctx;
	struct tcp_conn *output, **output_tail;
	struct tcp_conn *dead;
	struct tcp_seg *segs, *seg_free;	/* [cfg.n_segments] */
	struct tcp_flight *flights, *flight_free; /* [cfg.n_flights] */
	uint32_t n_segs_free;
	char *cc_states; /* [cfg.n_bbr], each of cc_state_bytes */
	void *cc_state_free;
	uint32_t n_held, n_held_tx; /* mbufs in send and receive queues, in send queues alone */
	uint8_t pressure, tx_pressure; /* receive windows are divided by 2^pressure, send buffers by 2^tx_pressure */
	uint32_t n_relays;	    /* as the user says */
	uint32_t rx_first, rx_share; /* of each connection, in bytes; UINT32_MAX: no bound. See share.c */
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
	uint8_t ecn; /* of the IP header */
	bool has_mss, has_wscale, has_ts, has_sack_permitted;
	uint16_t mss;
	uint8_t wscale;
	uint32_t ts_val, ts_ecr;
	unsigned n_sack;
	uint32_t sack[TCP_MAX_SACK_RX][2];
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
/* with_sack: the blocks and the duplicate that c has to tell. */
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
/* Both sides have closed, and nothing is to be waited for: what the user has not read yet stays until it lets go. */
void conn_finish(struct tcp_conn *c);
/* Out of the table, timers off, queues freed. An attached user will hear CLOSED. */
void conn_drop(struct tcp_conn *c, enum weir_reason why);
/* Dead ones to the free list. */
void table_sweep(struct tcp_stack *s);
void conn_mark_ready(struct tcp_conn *c, unsigned events);
void conn_mark_output(struct tcp_conn *c);

/* timewait.c: TIME-WAIT begins. c is out of the table from now on, and dead if its user has let go. */
void conn_set_time_wait(struct tcp_conn *c);

/* output.c */
void conn_output(struct tcp_conn *c);
/* A segment without data, outside of the send queue. */
void conn_send_control(struct tcp_conn *c, uint8_t flags, uint32_t seq);
/* SYN, or SYN-ACK, as the state is. */
void conn_send_syn(struct tcp_conn *c);
/* A pool was empty: output is tried again, and the user hears of room, when what is in flight moves, or else soon. */
void conn_retry_soon(struct tcp_conn *c);
/* One byte beyond the window. */
void conn_send_probe(struct tcp_conn *c);
/* A tail loss probe: new data, or the last segment again. False: nothing could be sent. */
bool conn_send_tail_probe(struct tcp_conn *c);
/* What fits into a window that stays small. False: nothing does, or nothing waits. */
bool conn_send_override(struct tcp_conn *c);
void conn_send_reset(struct tcp_conn *c);
/* Bytes a second; 0: as the windows allow. */
uint64_t conn_pacing_rate(const struct tcp_conn *c);
uint32_t conn_receive_window(const struct tcp_conn *c);
/* The MSS that we announce; the one that we send with at most. */
uint16_t conn_mss_for(const struct tcp_stack *s, const struct weir_ip *remote);
uint16_t conn_path_mss(const struct tcp_stack *s, const struct weir_ip *remote);
uint32_t conn_ts_now(const struct tcp_conn *c);

/* flight.c: what is in flight. All of it is bounded by the stack's pools. */
bool flight_create(struct tcp_stack *s);
void flight_destroy(struct tcp_stack *s);
/* c->flight exists after this, and one more segment has room in it. False: a pool is empty. */
bool flight_open(struct tcp_conn *c);
/* Forgets everything that is in flight. */
void flight_close(struct tcp_conn *c);
/* A new segment behind all others, flying; flight_open() was true. m and m_seq: see struct tcp_seg. */
struct tcp_seg *flight_add(struct tcp_conn *c, uint32_t seq, uint32_t end, struct rte_mbuf *m, uint32_t m_seq);
void flight_set_lost(struct tcp_conn *c, struct tcp_seg *g);
void flight_set_sacked(struct tcp_conn *c, struct tcp_seg *g);
/* A lost segment, or the tail, went out again. */
void flight_set_resent(struct tcp_conn *c, struct tcp_seg *g);
/* Cuts a segment in two at a sequence number inside of it. False: the pool is empty. */
bool flight_split(struct tcp_conn *c, struct tcp_seg *g, uint32_t at);
/* Everything below ack leaves; snd_una is still what it was. What arrived is noted in a. */
void flight_ack(struct tcp_conn *c, uint32_t ack, struct tcp_ack *a);
/* Lost ones fly again: they were not lost. */
void flight_clear_lost(struct tcp_conn *c);
/* Takes the selective acknowledgements for lost that the peer has taken back (RFC 2018 8). */
void flight_renege(struct tcp_conn *c);
/* g has arrived: notes round trip, rate and RACK's state. */
void flight_arrived(struct tcp_conn *c, const struct tcp_seg *g, struct tcp_ack *a);

/* flight_check.c: asserts what must be true, of what is in flight and of the timer that carries on from here. */
#ifdef NDEBUG
static inline void flight_check(const struct tcp_conn *c)
{
}

static inline void flight_check_wakeup(const struct tcp_conn *c)
{
}
#else
void flight_check(const struct tcp_conn *c);
void flight_check_wakeup(const struct tcp_conn *c);
#endif

/* sack.c: the blocks of an ACK. */
void sack_input(struct tcp_conn *c, const struct tcp_segment *seg, struct tcp_ack *a);

/* rack.c: RFC 8985. */
void rack_arrived(struct tcp_conn *c, const struct tcp_seg *g, const struct tcp_ack *a);
/* The reordering window follows what the peer reports of duplicates. */
void rack_dsack(struct tcp_conn *c);
void rack_recovered(struct tcp_conn *c);
/* Marks what must be lost; sets reorder_at_us for what may be. */
void rack_detect(struct tcp_conn *c, struct tcp_ack *a);
/* After a timeout: the first segment is lost, and what was sent long enough ago. */
void rack_timeout(struct tcp_conn *c);
/* When a tail loss probe is due, or 0: none is to be sent. */
uint64_t rack_probe_at(const struct tcp_conn *c);
void rack_probe_acked(struct tcp_conn *c, uint32_t ack, const struct tcp_ack *a);

/* recovery.c: what an ACK, a timer or the peer's ECE mean for what may be sent. */
/* An acceptable ACK: advances snd_una. */
void recovery_ack(struct tcp_conn *c, const struct tcp_segment *seg, bool is_dup);
void recovery_timeout(struct tcp_conn *c);
void recovery_reorder_timeout(struct tcp_conn *c);
void recovery_tail_probe(struct tcp_conn *c);
/* A loss that a tail loss probe has repaired, or ECN: one reduction, over a window. */
void recovery_reduce(struct tcp_conn *c, uint32_t prior_flying, bool is_ecn);
/* Arms the timer of what is in flight, whichever comes first. */
void recovery_arm(struct tcp_conn *c);
/* New data or a retransmission of n bytes went out. */
void recovery_sent(struct tcp_conn *c, uint32_t n, bool is_resent);
/* The path takes less than we thought: what is too long goes out again in pieces. */
void recovery_mtu_reduced(struct tcp_conn *c);

/* rate.c: delivery rate samples for congestion control. */
void rate_sent(struct tcp_conn *c, struct tcp_seg *g);
void rate_arrived(struct tcp_conn *c, const struct tcp_seg *g, struct tcp_ack *a);
void rate_sample(struct tcp_conn *c, struct tcp_ack *a);
/* The user had no more to send than what is in flight. */
void rate_app_limited(struct tcp_conn *c);

/* tcp.c: the congestion control of a new connection. */
void conn_init_cc(struct tcp_conn *c, enum tcp_cc_kind kind);
void conn_fini_cc(struct tcp_conn *c);

/* timer.c */
void timers_init(struct tcp_stack *s);
void conn_arm(struct tcp_conn *c, unsigned timer, uint64_t at_us);
/* The timer of the handshake or of zero-window probes: conn_rto() from now. */
void conn_arm_rtx(struct tcp_conn *c, enum rtx_mode mode);
void conn_cancel(struct tcp_conn *c, unsigned timer);
/* The user has let go: the peer has fin_timeout_ms to close, or to take an eighth of what is queued. */
void conn_arm_fin_timeout(struct tcp_conn *c);
/* A sample for RFC 6298, and the shortest round trip that came with it. */
void conn_measure_rtt(struct tcp_conn *c, uint32_t rtt_us, uint32_t least_us);
/* The retransmission timeout with its backoff. */
uint64_t conn_rto(const struct tcp_conn *c);

/* listen.c */
/* What a new connection starts with: iss, time stamps, congestion window. */
void conn_init_sending(struct tcp_conn *c);
/* What the peer's SYN says. */
void conn_take_syn(struct tcp_conn *c, const struct tcp_segment *seg);
void conn_established(struct tcp_conn *c);

/* rcvq.c: received data. seg is trimmed to the window; m begins at its payload. Returns true if rcv_nxt advanced. */
bool rcvq_input(struct tcp_conn *c, struct rte_mbuf *m, uint32_t seq, uint32_t len);
/* Cuts a packet's first n bytes off; n is at most its length. Segments of it that become empty stay: rcvq_input() drops them. */
void rcvq_trim_front(struct rte_mbuf *m, uint32_t n);
void rcvq_free(struct tcp_conn *c);
/* FIN was taken: what a peer sent behind it is nothing. */
void rcvq_end(struct tcp_conn *c);
/* [seq, end) came again, before rcv_nxt: the next ACK tells (RFC 2883). */
void rcvq_duplicate(struct tcp_conn *c, uint32_t seq, uint32_t end);
/* SACK blocks of what waits out of order, the latest first; at most max pairs. */
unsigned rcvq_sack_blocks(const struct tcp_conn *c, uint32_t (*blocks)[2], unsigned max);
/* What a receive buffer may hold: less under memory pressure. */
uint32_t conn_rx_size(const struct tcp_conn *c);
/*
 * True if what has just arrived is to be dropped: windows that were open before
 * the pressure began cannot be taken back, so what goes beyond a share is not
 * kept, and once the queues hold all they may hardly anything is. Who keeps up,
 * with little unread and nothing missing, is not touched.
 */
bool rcvq_must_drop(const struct tcp_conn *c, uint32_t seq);

/* sndq.c */
void sndq_ack(struct tcp_conn *c, uint32_t n);
void sndq_free(struct tcp_conn *c);
/* Bytes that the queue may hold: grows with the congestion window, less under memory pressure. */
uint32_t conn_tx_size(const struct tcp_conn *c);
/* After an ACK: tells a user who found the queue short of room, once a quarter of it is free. */
void sndq_offer_room(struct tcp_conn *c);
/* Moves (*m, *m_seq) forward to the mbuf that holds the byte at seq. *m NULL: from the queue's head. */
void sndq_seek(const struct tcp_conn *c, struct rte_mbuf **m, uint32_t *m_seq, uint32_t seq);
/* Appends up to n bytes from seq on, which lies in m, to head. Returns the number appended. */
uint32_t sndq_reference(const struct tcp_conn *c, struct rte_mbuf *m, uint32_t m_seq, uint32_t seq, uint32_t n,
			struct rte_mbuf *head);

/* ports.c: local ports of connections that we open. */
bool ports_create(struct tcp_stack *s);
void ports_destroy(struct tcp_stack *s);
/* A free local port for flow (its local_port is filled in). min_iss: what its numbers must lie beyond, or 0. */
bool port_choose(struct tcp_stack *s, struct ip_flow *flow, uint32_t *min_iss);
/* A connection that we opened is out of the table, or was not made after all. */
void port_release(struct tcp_stack *s, const struct ip_flow *flow);

/* share.c: what the shares are now, once an iteration; and whether c's user has taken so much that c needs no bound of its own. */
void share_update(struct tcp_stack *s);
void share_note_taken(struct tcp_conn *c);

/* size, or less: what c may be offered, unread data included. Never less than what it was offered before, while the shares stay. */
static inline uint32_t conn_share(const struct tcp_conn *c, uint32_t size)
{
	const struct tcp_stack *s = c->stack;

	if (!c->has_earned && s->rx_first < size) {
		uint32_t taken = c->rcv_nxt - c->irs - c->rcv_bytes;

		if (taken < size - s->rx_first)
			size = s->rx_first + taken;
	}
	return size < s->rx_share ? size : s->rx_share;
}

/* The queues hold as many mbufs as they may: no more for who holds some already. */
static inline bool stack_is_full(const struct tcp_stack *s)
{
	return s->cfg.n_held_max && s->n_held >= s->cfg.n_held_max;
}

/* Bytes in the network (RFC 6675's pipe). Each duplicate ACK of a peer without SACK tells of a segment that left it. */
static inline uint32_t conn_flying(const struct tcp_conn *c)
{
	uint32_t flying = c->flight ? c->flight->flying : 0;
	uint32_t gone = c->n_dupacks ? (uint32_t)c->n_dupacks * c->mss : 0;

	return gone < flying ? flying - gone : 0;
}

/* Bytes of payload in a segment: the MSS less the options that it will carry. What congestion control calls MSS. */
static inline uint32_t conn_payload_max(const struct tcp_conn *c)
{
	return c->has_ts ? c->mss - 12u : c->mss;
}

static inline enum recovery_state conn_recovery(const struct tcp_conn *c)
{
	return c->flight ? (enum recovery_state)c->flight->recovery : REC_OPEN;
}

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
