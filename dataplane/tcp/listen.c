/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The passive side: listeners, and what a segment means that belongs to no
 * connection. A SYN becomes an entry of synq.c, or a cookie; what completes a
 * handshake becomes a connection, of which the user hears in tcp_run().
 */
#include <errno.h>
#include <string.h>

#include <rte_malloc.h>

#include "base/hash.h"
#include "base/siphash.h"
#include "tcp/tcp_pvt.h"

#define MSS_MIN 64
#define MSS_DEFAULT4 536  /* RFC 9293 3.7.1 */
#define MSS_DEFAULT6 1220
#define FORGET_SLICE 64	  /* handshakes of closed listeners in an iteration: some 20 us, where all of them would hold up the others */
#define OLD_SEQUENCE_GAP 0x10000 /* beyond the numbers of a connection in TIME-WAIT, and what it might have sent */

/* -- listeners */

/* Addresses and ports are the configuration's, none of a peer's choice: no key. */
static struct tcp_listener **head_of(const struct tcp_stack *s, const struct weir_ip *addr, uint16_t port)
{
	return &s->listen.heads[hash64(addr, sizeof(*addr), port) % LISTENER_HEADS];
}

static struct tcp_listener *find_exact(const struct tcp_stack *s, const struct weir_ip *addr, uint16_t port)
{
	struct tcp_listener *l = *head_of(s, addr, port);

	while (l && (l->port != port || !ip_eq(&l->addr, addr)))
		l = l->next;
	return l;
}

struct tcp_listener *listener_find(const struct tcp_stack *s, const struct weir_ip *addr, uint16_t port)
{
	static const struct weir_ip any;
	struct tcp_listener *l = find_exact(s, addr, port);

	return l ? l : find_exact(s, &any, port);
}

bool tcp_is_listening(const struct tcp_stack *s, const struct ip_flow *flow)
{
	return listener_find(s, &flow->local, flow->local_port) != NULL;
}

bool listen_create(struct tcp_stack *s)
{
	struct listen_side *ls = &s->listen;

	ls->pool = rte_calloc("tcp-listeners", TCP_MAX_LISTENERS, sizeof(*ls->pool), 0);
	ls->heads = rte_calloc("tcp-listeners", LISTENER_HEADS, sizeof(*ls->heads), 0);
	if (!ls->pool || !ls->heads || !synq_create(s) || !timewait_create(s) || !limit_create(s))
		return false;
	for (unsigned i = TCP_MAX_LISTENERS; i-- > 0;) {
		ls->pool[i].next = ls->free;
		ls->free = &ls->pool[i];
	}
	siphash_derive(s->cfg.secret, "syn cookies", ls->cookie_key);
	return true;
}

void listen_destroy(struct tcp_stack *s)
{
	for (unsigned i = 0; s->listen.pool && i < TCP_MAX_LISTENERS; i++)
		synq_drop_some(s, &s->listen.pool[i], UINT32_MAX, WEIR_R_CLOSE_SHUTDOWN);
	synq_destroy(s);
	timewait_destroy(s);
	limit_destroy(s);
	rte_free(s->listen.heads);
	rte_free(s->listen.pool);
}

int tcp_listen(struct tcp_stack *s, const struct tcp_listen *args, struct tcp_listener **out)
{
	struct tcp_listener **head = head_of(s, &args->addr, args->port);
	struct tcp_listener *l;

	if (find_exact(s, &args->addr, args->port))
		return -EADDRINUSE;
	while (!s->listen.free && s->listen.closed) /* rare enough to be worth the wait */
		listen_forget(s);
	l = s->listen.free;
	if (!l)
		return -ENOMEM;
	s->listen.free = l->next;
	*l = (struct tcp_listener){
		.stack = s,
		.addr = args->addr,
		.port = args->port,
		.cc = args->cc,
		.accept = args->accept,
		.event = args->event,
		.ctx = args->ctx,
		.generation = l->generation,
		.max_connections = args->max_connections ? args->max_connections : s->cfg.listener_connections,
		.accepts_per_s = args->accepts_per_s ? args->accepts_per_s : s->cfg.listener_accepts_per_s,
		.next = *head,
	};
	*head = l;
	*out = l;
	return 0;
}

/* Those whose user has not heard of them yet: they all wait in the ready list. */
static void reset_unaccepted(struct tcp_stack *s, const struct tcp_listener *l)
{
	for (struct tcp_conn *c = s->ready; c; c = c->ready_next) {
		if (c->listener != l || !c->wants_accept || c->is_dead)
			continue;
		conn_send_reset(c);
		c->is_detached = true;
		conn_drop(c, WEIR_R_CLOSE_ABORTED);
	}
}

void tcp_unlisten(struct tcp_listener *l, uint64_t now_us)
{
	struct tcp_stack *s = l->stack;
	struct tcp_listener **p = head_of(s, &l->addr, l->port);

	s->now_us = now_us;
	reset_unaccepted(s, l);
	while (*p != l)
		p = &(*p)->next;
	*p = l->next;
	l->generation++;
	l->is_closed = true;
	l->next = s->listen.closed;
	s->listen.closed = l;
}

unsigned listen_forget(struct tcp_stack *s)
{
	struct tcp_listener *l;
	unsigned n = 0;

	while ((l = s->listen.closed) != NULL) {
		n += synq_drop_some(s, l, FORGET_SLICE - n, WEIR_R_CLOSE_ABORTED);
		if (l->syns)
			break;
		s->listen.closed = l->next;
		l->next = s->listen.free;
		s->listen.free = l;
	}
	return n;
}

void tcp_set_draining(struct tcp_stack *s, bool draining)
{
	s->is_draining = draining;
}

uint32_t tcp_n_syn_received(const struct tcp_stack *s)
{
	return s->listen.synq.n;
}

uint32_t tcp_n_time_wait(const struct tcp_stack *s)
{
	return s->listen.timewait.n;
}

static struct tcp_info syn_info(const struct tcp_stack *s, const struct syn *y)
{
	return (struct tcp_info){
		.flow = y->flow,
		.state = TCP_SYN_RECEIVED,
		.cc = "",
		.recovery = "open",
		.backoff = y->n_timeouts,
		.retransmits = y->n_timeouts,
		.mss = y->h.mss,
		.has_sack = y->h.has_sack,
		.has_timestamps = y->h.has_ts,
		.has_ecn = y->h.has_ecn,
		.idle_us = s->now_us - y->sent_us,
	};
}

static struct tcp_info tw_info(const struct tcp_stack *s, const struct tw *w)
{
	return (struct tcp_info){
		.flow = w->flow,
		.state = TCP_TIME_WAIT,
		.cc = "",
		.recovery = "open",
		.has_timestamps = w->has_ts,
		.idle_us = s->now_us + (uint64_t)s->cfg.time_wait_ms * 1000 - w->due_us,
	};
}

bool waiting_info(const struct tcp_stack *s, uint32_t at, struct tcp_info *out)
{
	if (at < s->cfg.n_syn) {
		const struct syn *y = &s->listen.synq.pool[at];

		if (!wheel_is_armed(&y->timer)) /* in use, it always is */
			return false;
		*out = syn_info(s, y);
	} else {
		const struct tw *w = &s->listen.timewait.pool[at - s->cfg.n_syn];

		if (!w->due_us)
			return false;
		*out = tw_info(s, w);
	}
	return true;
}

void tcp_each_waiting(struct tcp_stack *s, void (*fn)(void *ctx, const struct tcp_info *info), void *ctx)
{
	struct tcp_info info;

	for (uint32_t i = 0; i < s->cfg.n_syn + s->cfg.n_time_wait; i++)
		if (waiting_info(s, i, &info))
			fn(ctx, &info);
}

/* -- handshakes */

static uint64_t hash_of(const struct tcp_stack *s, const struct ip_flow *flow)
{
	return siphash(flow, sizeof(*flow), s->cfg.secret);
}

/* RFC 6528: a clock of 4 us, and a keyed hash of the tuple. */
static uint32_t initial_sequence(const struct tcp_stack *s, uint64_t h)
{
	return (uint32_t)h + (uint32_t)(s->now_us / 4);
}

/* RFC 7323 7.1: the clock says nothing of others. */
static uint32_t initial_ts_offset(uint64_t h)
{
	return (uint32_t)(h >> 32);
}

static uint16_t offered_mss(const struct ip_flow *flow, const struct tcp_segment *seg)
{
	uint16_t mss = seg->has_mss ? seg->mss : ip_is4(&flow->remote) ? MSS_DEFAULT4 : MSS_DEFAULT6;

	return mss < MSS_MIN ? MSS_MIN : mss;
}

bool handshake_asks_ecn(const struct tcp_segment *seg)
{
	return (seg->flags & (FLAG_ECE | FLAG_CWR)) == (FLAG_ECE | FLAG_CWR);
}

void handshake_init(const struct tcp_stack *s, const struct ip_flow *flow, const struct tcp_segment *seg,
		    const struct tw *old, struct handshake *h)
{
	uint64_t hash = hash_of(s, flow);

	*h = (struct handshake){
		.iss = initial_sequence(s, hash),
		.irs = seg->seq,
		.ts_recent = seg->ts_val,
		.ts_offset = initial_ts_offset(hash),
		.mss = offered_mss(flow, seg),
		.wnd = (uint16_t)seg->wnd,
		.snd_wscale = seg->wscale,
		.has_ts = seg->has_ts,
		.has_sack = seg->has_sack_permitted,
		.has_wscale = seg->has_wscale,
		.has_ecn = s->cfg.ecn && handshake_asks_ecn(seg),
	};
	if (old && seq_lt(h->iss, old->snd_nxt + OLD_SEQUENCE_GAP)) /* RFC 9293 3.6.1 (1) */
		h->iss = old->snd_nxt + OLD_SEQUENCE_GAP;
}

uint32_t handshake_window(const struct tcp_stack *s)
{
	return s->cfg.rx_buffer_bytes < UINT16_MAX ? s->cfg.rx_buffer_bytes : UINT16_MAX; /* never scaled in a SYN */
}

void handshake_answer(struct tcp_stack *s, const struct ip_flow *flow, const struct handshake *h, uint32_t ts_val)
{
	const struct opt_syn o = {
		.mss = conn_mss_for(s, &flow->remote),
		.wscale = s->rcv_wscale,
		.has_sack = h->has_sack,
		.has_ts = h->has_ts,
		.has_wscale = h->has_wscale,
		.ts_val = ts_val,
		.ts_ecr = h->ts_recent,
	};
	uint8_t options[TCP_HEADER_MAX - TCP_HEADER_MIN];
	const struct reply r = {
		.seq = h->iss,
		.ack = h->irs + 1,
		.flags = FLAG_SYN | FLAG_ACK | (h->has_ecn ? FLAG_ECE : 0),
		.wnd = (uint16_t)handshake_window(s),
		.options = options,
		.n_options = opt_write_syn(options, &o),
	};

	reply_send(s, flow, &r);
}

void conn_init_sending(struct tcp_conn *c)
{
	struct tcp_stack *s = c->stack;
	uint64_t h = hash_of(s, &c->flow);

	c->iss = initial_sequence(s, h);
	c->ts_offset = initial_ts_offset(h);
	c->snd_una = c->snd_nxt = c->iss;
	c->rcv_wscale = s->rcv_wscale;
	c->rto_us = RTO_INITIAL_US;
	c->mss = c->mss_full = conn_path_mss(s, &c->flow.remote);
	c->reo_wnd_mult = 1;
}

void conn_take_syn(struct tcp_conn *c, const struct tcp_segment *seg)
{
	uint16_t limit = conn_path_mss(c->stack, &c->flow.remote);
	uint16_t mss = offered_mss(&c->flow, seg);

	c->mss = c->mss_full = mss < limit ? mss : limit;
	c->irs = seg->seq;
	c->rcv_nxt = seg->seq + 1;
	c->rcv_adv = c->rcv_nxt;
	c->last_ack_sent = c->rcv_nxt;
	c->has_ts = seg->has_ts;
	c->ts_recent = seg->ts_val;
	c->has_sack = seg->has_sack_permitted;
	c->has_wscale = seg->has_wscale;
	c->snd_wscale = seg->wscale;
	c->snd_wnd = seg->wnd; /* never scaled in a SYN */
	c->max_snd_wnd = c->snd_wnd;
	c->snd_wl1 = seg->seq;
	c->snd_wl2 = (seg->flags & FLAG_ACK) ? seg->ack : c->iss;
	if (!c->has_wscale)
		c->rcv_wscale = c->snd_wscale = 0;
	/* RFC 3168 6.1.1: a SYN offers with ECE and CWR, a SYN-ACK agrees with ECE alone. */
	c->has_ecn = c->stack->cfg.ecn && (seg->flags & (FLAG_ECE | FLAG_CWR)) ==
						  ((seg->flags & FLAG_ACK) ? FLAG_ECE : FLAG_ECE | FLAG_CWR);
}

struct tcp_conn *conn_open_passive(struct tcp_stack *s, struct tcp_listener *l, const struct ip_flow *flow,
				   const struct flow_hit *hit, const struct handshake *h)
{
	const struct tcp_segment syn = {
		.seq = h->irs, .wnd = h->wnd, .flags = FLAG_SYN, .has_mss = true, .mss = h->mss, .has_wscale = h->has_wscale,
		.wscale = h->snd_wscale, .has_ts = h->has_ts, .ts_val = h->ts_recent, .has_sack_permitted = h->has_sack,
	};
	enum weir_reason why = WEIR_R_TCP_TABLE_FULL;
	struct tcp_conn *c = limit_allows(s, l, &flow->remote, &why) ? table_add_over(s, flow, hit) : NULL;

	if (!c) {
		stat_reason(s->stats, why);
		return NULL;
	}
	limit_take(s, l, &flow->remote);
	c->listener = l;
	c->listener_generation = l->generation;
	c->event = l->event;
	c->wants_accept = true;
	c->is_passive = true;
	conn_init_sending(c);
	conn_take_syn(c, &syn);
	c->has_ecn = h->has_ecn;
	conn_init_cc(c, l->cc);
	c->iss = c->snd_wl2 = h->iss;
	c->snd_una = c->snd_nxt = h->iss + 1;
	c->rcv_adv = c->rcv_nxt + handshake_window(s);
	if (h->rtt_us)
		conn_measure_rtt(c, h->rtt_us, h->rtt_us);
	else if (h->n_lost) /* RFC 6298 5.7 */
		c->rto_us = RTO_AFTER_SYN_US;
	c->backoff = h->n_lost;
	conn_established(c);
	return c;
}

void conn_established(struct tcp_conn *c)
{
	struct tcp_stack *s = c->stack;

	c->state = TCP_ESTABLISHED;
	c->last_tx_us = 0;
	/* Now that the MSS is known. A SYN that was lost twice speaks of congestion (RFC 6928 2). */
	c->cc.cwnd = c->backoff > 1 ? conn_payload_max(c) : cc_initial_window(conn_payload_max(c));
	c->backoff = 0;
	conn_cancel(c, TIMER_RTX);
	conn_cancel(c, TIMER_IDLE);
	if (s->cfg.keepalive_ms)
		conn_arm(c, TIMER_IDLE, s->now_us + (uint64_t)s->cfg.keepalive_ms * 1000);
	if (c->is_passive) {
		stat_inc(s->stats, WEIR_C_TCP_ACCEPTED);
		conn_mark_ready(c, 0);
	} else {
		stat_inc(s->stats, WEIR_C_TCP_CONNECTED);
		conn_mark_ready(c, TCP_EV_CONNECTED);
	}
	conn_mark_output(c);
}

/* -- segments */

/* RST in answer, if its rate allows; why: so, else withheld. */
static void refuse(struct tcp_stack *s, const struct ip_flow *flow, const struct tcp_segment *seg, enum weir_reason why,
		   enum weir_reason withheld)
{
	stat_reason(s->stats, send_reset_to_stranger(s, flow, seg) ? why : withheld);
}

/* A SYN that a listener may take. */
static void take_syn(struct tcp_stack *s, struct tcp_listener *l, const struct ip_flow *flow, const struct flow_hit *hit,
		     const struct tcp_segment *seg)
{
	enum weir_reason why = WEIR_R_TCP_TABLE_FULL;
	struct handshake h;

	if (table_is_full(s) || !limit_allows(s, l, &flow->remote, &why)) {
		stat_reason(s->stats, why); /* the peer tries again */
		return;
	}
	if (s->cfg.cookies == TCP_COOKIES_ALWAYS || (s->cfg.cookies == TCP_COOKIES_AUTO && synq_is_full(s))) {
		cookie_send(s, l, flow, seg, hit->tw);
		return;
	}
	if (synq_is_full(s)) {
		stat_reason(s->stats, WEIR_R_TCP_SYN_QUEUE_FULL);
		return;
	}
	handshake_init(s, flow, seg, hit->tw, &h);
	synq_add(s, l, flow, hit, &h);
}

static struct tcp_conn *open_by_cookie(struct tcp_stack *s, struct tcp_listener *l, const struct ip_flow *flow,
				       const struct flow_hit *hit, const struct handshake *h)
{
	struct tcp_conn *c = conn_open_passive(s, l, flow, hit, h);

	if (c)
		stat_inc(s->stats, WEIR_C_TCP_COOKIES_ACCEPTED);
	return c;
}

static bool has_flags(const struct tcp_segment *seg, uint8_t flags)
{
	return (seg->flags & (FLAG_SYN | FLAG_ACK | FLAG_RST)) == flags;
}

/* The old connection is in TIME-WAIT: only what begins, or began, a new one is not for it. */
static struct tcp_conn *input_time_wait(struct tcp_stack *s, struct tcp_listener *l, const struct ip_flow *flow,
					const struct flow_hit *hit, const struct tcp_segment *seg)
{
	struct handshake h;

	if (l && has_flags(seg, FLAG_SYN) && !(seg->flags & FLAG_FIN) && timewait_is_newer(hit->tw, seg)) {
		if (s->is_draining)
			refuse(s, flow, seg, WEIR_R_RX_DROPPED_BY_DRAIN, WEIR_R_TCP_NO_LISTENER_RATE);
		else
			take_syn(s, l, flow, hit, seg);
		return NULL;
	}
	if (l && has_flags(seg, FLAG_ACK) && seg->ack != hit->tw->snd_nxt && cookie_take(s, l, flow, seg, &h))
		return open_by_cookie(s, l, flow, hit, &h);
	timewait_input(s, hit->tw, seg);
	return NULL;
}

struct tcp_conn *listen_input(struct tcp_stack *s, const struct ip_flow *flow, const struct flow_hit *hit,
			      const struct tcp_segment *seg)
{
	struct tcp_listener *l;
	struct flow_hit after;
	struct handshake h;

	if (hit->syn && synq_is_orphan(s, hit->syn)) {
		synq_forget(s, hit->syn);
		table_lookup(s, flow, &after);
		hit = &after;
	}
	if (hit->syn)
		return synq_input(s, hit, seg);
	l = listener_find(s, &flow->local, flow->local_port);
	if (hit->tw)
		return input_time_wait(s, l, flow, hit, seg);
	if (seg->flags & FLAG_RST)
		stat_reason(s->stats, WEIR_R_TCP_NO_CONNECTION);
	else if (l && has_flags(seg, FLAG_ACK) && cookie_take(s, l, flow, seg, &h))
		return open_by_cookie(s, l, flow, hit, &h);
	else if (l && has_flags(seg, 0)) /* RFC 9293 3.10.7.2, fourth */
		stat_reason(s->stats, WEIR_R_TCP_BAD_FLAGS);
	else if (!has_flags(seg, FLAG_SYN))
		refuse(s, flow, seg, WEIR_R_TCP_NO_CONNECTION, WEIR_R_TCP_NO_CONNECTION_RATE);
	else if (!l)
		refuse(s, flow, seg, WEIR_R_TCP_NO_LISTENER, WEIR_R_TCP_NO_LISTENER_RATE);
	else if (seg->flags & FLAG_FIN)
		stat_reason(s->stats, WEIR_R_TCP_BAD_FLAGS);
	else if (s->is_draining)
		refuse(s, flow, seg, WEIR_R_RX_DROPPED_BY_DRAIN, WEIR_R_TCP_NO_LISTENER_RATE);
	else
		take_syn(s, l, flow, hit, seg);
	return NULL;
}
