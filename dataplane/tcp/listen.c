/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The passive side: listeners, and what a SYN begins. A connection in
 * SYN-RECEIVED counts against n_syn; the user hears of it when it is
 * established.
 */
#include <errno.h>
#include <string.h>

#include "base/siphash.h"
#include "tcp/tcp_pvt.h"

#define MSS_MIN 64
#define MSS_DEFAULT4 536  /* RFC 9293 3.7.1 */
#define MSS_DEFAULT6 1220

struct tcp_listener *listener_find(const struct tcp_stack *s, const struct weir_ip *addr, uint16_t port)
{
	struct tcp_listener *any = NULL;

	for (struct tcp_listener *l = s->listeners; l; l = l->next) {
		if (l->port != port)
			continue;
		if (ip_eq(&l->addr, addr))
			return l;
		if (ip_is_any(&l->addr))
			any = l;
	}
	return any;
}

int tcp_listen(struct tcp_stack *s, const struct tcp_listen *args, struct tcp_listener **out)
{
	struct tcp_listener *l;

	for (l = s->listeners; l; l = l->next)
		if (l->port == args->port && ip_eq(&l->addr, &args->addr))
			return -EADDRINUSE;
	l = s->listener_free;
	if (!l)
		return -ENOMEM;
	s->listener_free = l->next;
	memset(l, 0, sizeof(*l));
	l->stack = s;
	l->addr = args->addr;
	l->port = args->port;
	l->cc = args->cc;
	l->accept = args->accept;
	l->event = args->event;
	l->ctx = args->ctx;
	l->next = s->listeners;
	s->listeners = l;
	*out = l;
	return 0;
}

void tcp_unlisten(struct tcp_listener *l, uint64_t now_us)
{
	struct tcp_stack *s = l->stack;
	struct tcp_listener **p = &s->listeners;

	s->now_us = now_us;
	for (uint32_t i = 0; l->n_pending && i < s->cfg.n_connections; i++) {
		struct tcp_conn *c = &s->conns[i];

		if (c->listener != l || c->is_dead || !c->stack)
			continue;
		conn_send_reset(c);
		c->is_detached = true;
		conn_drop(c, WEIR_R_CLOSE_ABORTED);
	}
	while (*p != l)
		p = &(*p)->next;
	*p = l->next;
	l->next = s->listener_free;
	s->listener_free = l;
}

void tcp_set_draining(struct tcp_stack *s, bool draining)
{
	s->is_draining = draining;
}

/* RFC 6528: a clock of 4 us, and a keyed hash of the tuple. */
static uint32_t initial_sequence(const struct tcp_conn *c, uint64_t h)
{
	return (uint32_t)h + (uint32_t)(c->stack->now_us / 4);
}

void conn_init_sending(struct tcp_conn *c)
{
	struct tcp_stack *s = c->stack;
	uint64_t h = siphash(&c->flow, sizeof(c->flow), s->cfg.secret);

	c->iss = initial_sequence(c, h);
	c->ts_offset = (uint32_t)(h >> 32); /* RFC 7323 7.1: the clock says nothing of others */
	c->snd_una = c->snd_nxt = c->iss;
	c->rcv_wscale = s->rcv_wscale;
	c->rto_us = RTO_INITIAL_US;
	c->mss = c->mss_full = conn_path_mss(s, &c->flow.remote);
	c->reo_wnd_mult = 1;
}

void conn_take_syn(struct tcp_conn *c, const struct tcp_segment *seg)
{
	uint16_t limit = conn_path_mss(c->stack, &c->flow.remote);
	uint16_t mss = seg->has_mss ? seg->mss : ip_is4(&c->flow.remote) ? MSS_DEFAULT4 : MSS_DEFAULT6;

	if (mss < MSS_MIN)
		mss = MSS_MIN;
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
	c->snd_wl2 = seg->ack;
	if (!c->has_wscale)
		c->rcv_wscale = c->snd_wscale = 0;
	/* RFC 3168 6.1.1: a SYN offers with ECE and CWR, a SYN-ACK agrees with ECE alone. */
	c->has_ecn = c->stack->cfg.ecn && (seg->flags & (FLAG_ECE | FLAG_CWR)) ==
						  ((seg->flags & FLAG_ACK) ? FLAG_ECE : FLAG_ECE | FLAG_CWR);
}

static void refuse_syn(struct tcp_stack *s, const struct ip_flow *flow, const struct tcp_segment *seg, enum weir_reason why)
{
	stat_reason(s->stats, why);
	send_reset(s, flow, seg);
}

/* A SYN for no connection of ours. */
static void take_syn(struct tcp_stack *s, struct tcp_listener *l, const struct ip_flow *flow, const struct tcp_segment *seg)
{
	struct tcp_conn *c;

	if (s->n_syn >= s->cfg.n_syn) {
		stat_reason(s->stats, WEIR_R_TCP_SYN_QUEUE_FULL); /* the peer tries again */
		return;
	}
	c = table_add(s, flow);
	if (!c) {
		stat_reason(s->stats, WEIR_R_TCP_TABLE_FULL);
		return;
	}
	c->listener = l;
	l->n_pending++;
	c->event = l->event;
	c->wants_accept = true;
	c->is_passive = true;
	c->state = TCP_SYN_RECEIVED;
	s->n_syn++;
	conn_init_sending(c);
	conn_take_syn(c, seg);
	conn_init_cc(c, l->cc);
	c->snd_nxt = c->iss + 1;
	c->is_timing = true;
	c->last_tx_us = s->now_us;
	conn_send_syn(c);
	conn_arm_rtx(c, RTX_RTO);
}

void listen_input(struct tcp_stack *s, const struct ip_flow *flow, const struct tcp_segment *seg)
{
	struct tcp_listener *l = listener_find(s, &flow->local, flow->local_port);

	if (seg->flags & FLAG_RST) {
		stat_reason(s->stats, WEIR_R_TCP_NO_CONNECTION);
		return;
	}
	if (!(seg->flags & FLAG_SYN) || (seg->flags & FLAG_ACK)) {
		refuse_syn(s, flow, seg, WEIR_R_TCP_NO_CONNECTION);
		return;
	}
	if (seg->flags & FLAG_FIN) {
		stat_reason(s->stats, WEIR_R_TCP_BAD_FLAGS);
		return;
	}
	if (!l)
		refuse_syn(s, flow, seg, WEIR_R_TCP_NO_LISTENER);
	else if (s->is_draining)
		refuse_syn(s, flow, seg, WEIR_R_RX_DROPPED_BY_DRAIN);
	else
		take_syn(s, l, flow, seg);
}

void conn_established(struct tcp_conn *c)
{
	struct tcp_stack *s = c->stack;

	if (c->state == TCP_SYN_RECEIVED)
		s->n_syn--;
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
