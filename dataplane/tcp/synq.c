/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SYN-RECEIVED of connections that peers begin: 120 bytes each from a pool of
 * their own, until the handshake is complete and a connection is made of it.
 * However many SYNs come, they cost no connection, and nothing but this pool;
 * when it is full, cookie.c answers.
 *
 * What refuses a completed handshake (a bound, a full table) leaves the entry:
 * the peer tries again, with its data or when our SYN-ACK comes again.
 */
#include <rte_malloc.h>

#include "tcp/tcp_pvt.h"

#define SYN_ACK_RETRIES 5	   /* after 1, 3, 7, 15, 31 s; forgotten after 63 s */
#define SYN_ACK_RETRIES_CROWDED 2 /* while half of the pool is taken: forgotten after 7 s */
#define REPLY_INTERVAL_US 500000   /* in answer to a peer's repeated SYN, or to what does not fit, from one entry */

static struct syn *syn_at(const struct tcp_stack *s, uint32_t at)
{
	return at ? &s->listen.synq.pool[at - 1] : NULL;
}

static uint32_t index_of(const struct tcp_stack *s, const struct syn *y)
{
	return (uint32_t)(y - s->listen.synq.pool) + 1;
}

static struct syn *syn_of_timer(struct wheel_timer *t)
{
	return (struct syn *)(void *)((char *)t - offsetof(struct syn, timer));
}

static void arm(struct tcp_stack *s, struct syn *y)
{
	wheel_arm(s->env.wheel, &y->timer, s->env.wheel_kind + WHEEL_SYN,
		  s->now_us + ((uint64_t)RTO_INITIAL_US << y->n_timeouts));
}

static void answer(struct tcp_stack *s, struct syn *y)
{
	y->sent_us = s->now_us;
	handshake_answer(s, &y->flow, &y->h, ts_clock(s, y->h.ts_offset));
}

static void answer_again(struct tcp_stack *s, struct syn *y)
{
	y->is_resent = true;
	stat_inc(s->stats, WEIR_C_TCP_SYN_ACK_RETRANSMITS);
	answer(s, y);
}

/* What is of the entry, but for its place in the flow table. */
static void release(struct tcp_stack *s, struct syn *y)
{
	struct synq *q = &s->listen.synq;
	struct tcp_listener *l = &s->listen.pool[y->listener];

	wheel_cancel(s->env.wheel, &y->timer);
	*(y->prev ? &syn_at(s, y->prev)->next : &l->syns) = y->next;
	if (y->next)
		syn_at(s, y->next)->prev = y->prev;
	y->next = q->free;
	q->free = index_of(s, y);
	q->n--;
}

void synq_free(struct tcp_stack *s, struct syn *y)
{
	if (y->tw)
		timewait_free(s, &s->listen.timewait.pool[y->tw - 1]);
	release(s, y);
}

/* The handshake came to nothing: the tuple is free again, or back in TIME-WAIT (RFC 9293 3.6.1 (2)). */
static void drop(struct tcp_stack *s, struct syn *y, enum weir_reason why)
{
	uint64_t hash = flowtab_hash(&s->flows, &y->flow);

	stat_reason(s->stats, why);
	if (y->tw) {
		struct tw *w = &s->listen.timewait.pool[y->tw - 1];

		w->syn = 0;
		flowtab_replace(&s->flows, hash, syn_number(s, y), tw_number(s, w));
	} else {
		flowtab_remove(&s->flows, hash, syn_number(s, y));
	}
	release(s, y);
}

bool synq_is_orphan(const struct tcp_stack *s, const struct syn *y)
{
	return s->listen.pool[y->listener].is_closed;
}

void synq_forget(struct tcp_stack *s, struct syn *y)
{
	drop(s, y, WEIR_R_CLOSE_ABORTED);
}

static void on_timer(void *ctx, struct wheel_timer *t, uint64_t now_us)
{
	struct tcp_stack *s = ctx;
	struct syn *y = syn_of_timer(t);
	bool is_crowded = s->listen.synq.n > s->cfg.n_syn / 2;

	s->now_us = now_us;
	if (synq_is_orphan(s, y)) {
		synq_forget(s, y);
		return;
	}
	if (y->n_timeouts >= (is_crowded ? SYN_ACK_RETRIES_CROWDED : SYN_ACK_RETRIES)) {
		drop(s, y, WEIR_R_CLOSE_SYN_TIMEOUT);
		return;
	}
	y->n_timeouts++;
	y->h.n_lost++;
	answer_again(s, y);
	arm(s, y);
}

bool synq_create(struct tcp_stack *s)
{
	struct synq *q = &s->listen.synq;

	wheel_handle(s->env.wheel, s->env.wheel_kind + WHEEL_SYN, on_timer, s);
	q->pool = rte_calloc("tcp-syns", s->cfg.n_syn, sizeof(*q->pool), RTE_CACHE_LINE_SIZE);
	if (!q->pool)
		return false;
	for (uint32_t i = s->cfg.n_syn; i > 0; i--) {
		q->pool[i - 1].next = q->free;
		q->free = i;
	}
	return true;
}

void synq_destroy(struct tcp_stack *s)
{
	rte_free(s->listen.synq.pool);
}

bool synq_is_full(const struct tcp_stack *s)
{
	return !s->listen.synq.free;
}

void synq_add(struct tcp_stack *s, struct tcp_listener *l, const struct ip_flow *flow, const struct flow_hit *hit,
	      const struct handshake *h)
{
	struct synq *q = &s->listen.synq;
	struct syn *y = syn_at(s, q->free);

	q->free = y->next;
	q->n++;
	*y = (struct syn){.flow = *flow, .h = *h, .listener = (uint16_t)(l - s->listen.pool), .next = l->syns};
	if (y->next)
		syn_at(s, y->next)->prev = index_of(s, y);
	l->syns = index_of(s, y);
	if (hit->tw) {
		y->tw = (uint32_t)(hit->tw - s->listen.timewait.pool) + 1;
		hit->tw->syn = index_of(s, y);
		flowtab_replace(&s->flows, hit->hash, tw_number(s, hit->tw), syn_number(s, y));
	} else {
		flowtab_add(&s->flows, hit->hash, syn_number(s, y));
	}
	answer(s, y);
	arm(s, y);
}

unsigned synq_drop_some(struct tcp_stack *s, struct tcp_listener *l, uint32_t max, enum weir_reason why)
{
	unsigned n = 0;

	for (; l->syns && n < max; n++)
		drop(s, syn_at(s, l->syns), why);
	return n;
}

/* RFC 9293 3.10.7.4, RFC 5961: an ACK that sets the real peer right; a bounded number of them. */
static void send_ack(struct tcp_stack *s, struct syn *y)
{
	uint32_t now_ms = (uint32_t)(s->now_us / 1000);
	uint32_t wnd = handshake_window(s) >> (y->h.has_wscale ? s->rcv_wscale : 0);
	uint8_t options[TCP_HEADER_MAX - TCP_HEADER_MIN];
	struct reply r = {.seq = y->h.iss + 1, .ack = y->h.irs + 1, .flags = FLAG_ACK, .wnd = (uint16_t)wnd, .options = options};

	if (y->has_acked && now_ms - y->acked_ms < REPLY_INTERVAL_US / 1000) {
		stat_inc(s->stats, WEIR_C_TCP_ACK_WITHHELD);
		return;
	}
	y->has_acked = true;
	y->acked_ms = now_ms;
	if (y->h.has_ts)
		r.n_options = opt_write_ts(options, ts_clock(s, y->h.ts_offset), y->h.ts_recent);
	reply_send(s, &y->flow, &r);
}

static bool is_in_window(const struct tcp_stack *s, const struct syn *y, const struct tcp_segment *seg)
{
	uint32_t len = seg->len + !!(seg->flags & FLAG_SYN) + !!(seg->flags & FLAG_FIN);
	uint32_t nxt = y->h.irs + 1;

	if (len == 0)
		return seq_ge(seg->seq, nxt) && seq_lt(seg->seq, nxt + handshake_window(s));
	return seq_lt(seg->seq, nxt + handshake_window(s)) && seq_gt(seg->seq + len, nxt);
}

/* The SYN again: our answer was lost, or is on its way. */
static bool is_same_syn(const struct syn *y, const struct tcp_segment *seg)
{
	return (seg->flags & (FLAG_SYN | FLAG_ACK | FLAG_RST | FLAG_FIN)) == FLAG_SYN && seg->seq == y->h.irs;
}

static void input_same_syn(struct tcp_stack *s, struct syn *y, const struct tcp_segment *seg)
{
	stat_reason(s->stats, WEIR_R_TCP_SYN_RECEIVED);
	if (!handshake_asks_ecn(seg)) /* it has given up on it (RFC 3168 6.1.1) */
		y->h.has_ecn = false;
	if (y->h.has_ts && seg->has_ts && (int32_t)(seg->ts_val - y->h.ts_recent) > 0)
		y->h.ts_recent = seg->ts_val;
	if (s->now_us - y->sent_us >= REPLY_INTERVAL_US)
		answer_again(s, y);
}

/* What no handshake is completed by, in RFC 9293's order (3.10.7.4). False: it may be. */
static bool is_refused(struct tcp_stack *s, struct syn *y, const struct tcp_segment *seg)
{
	if (!(seg->flags & FLAG_RST) && y->h.has_ts && seg->has_ts && (int32_t)(seg->ts_val - y->h.ts_recent) < 0) {
		stat_reason(s->stats, WEIR_R_TCP_PAWS);
		send_ack(s, y);
	} else if (!is_in_window(s, y, seg)) {
		stat_reason(s->stats, WEIR_R_TCP_OUT_OF_WINDOW);
		if (!(seg->flags & FLAG_RST))
			send_ack(s, y);
	} else if (seg->flags & FLAG_RST) {
		if (seg->seq == y->h.irs + 1) {
			stat_inc(s->stats, WEIR_C_TCP_RST_RX);
			drop(s, y, WEIR_R_CLOSE_RESET_BY_PEER);
		} else { /* RFC 5961 3.2 */
			stat_reason(s->stats, WEIR_R_TCP_OUT_OF_WINDOW);
			send_ack(s, y);
		}
	} else if (seg->flags & FLAG_SYN) { /* back to LISTEN: its next SYN begins anew */
		drop(s, y, WEIR_R_CLOSE_SYN_AGAIN);
	} else if (!(seg->flags & FLAG_ACK)) {
		stat_reason(s->stats, WEIR_R_TCP_BAD_FLAGS);
	} else if (seg->ack != y->h.iss + 1) {
		stat_reason(s->stats, WEIR_R_TCP_BAD_ACK);
		send_reset_to_stranger(s, &y->flow, seg);
	} else {
		return false;
	}
	return true;
}

struct tcp_conn *synq_input(struct tcp_stack *s, const struct flow_hit *hit, const struct tcp_segment *seg)
{
	struct syn *y = hit->syn;
	const struct ip_flow flow = y->flow;
	struct handshake h;

	if (is_same_syn(y, seg)) {
		input_same_syn(s, y, seg);
		return NULL;
	}
	if (is_refused(s, y, seg))
		return NULL;
	h = y->h;
	if (!y->is_resent) /* Karn */
		h.rtt_us = (uint32_t)(s->now_us - y->sent_us);
	return conn_open_passive(s, &s->listen.pool[y->listener], &flow, hit, &h);
}
