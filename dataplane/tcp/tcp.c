/* SPDX-License-Identifier: Apache-2.0 */
/* The stack as its users see it: create, run, connect, close. */
#include "tcp/tcp.h"

#include <errno.h>
#include <string.h>

#include <rte_malloc.h>

#include "stats/stage.h"
#include "tcp/tcp_pvt.h"

static bool is_config_sane(const struct tcp_config *c)
{
	return c->n_connections >= 1 && c->n_connections <= 1u << 26 && c->n_syn >= 1 && c->n_syn <= 1u << 24 &&
	       c->n_time_wait <= 1u << 26 && c->n_prefixes <= 1u << 16 && c->prefix_len4 <= 32 && c->prefix_len6 <= 128 &&
	       c->rx_buffer_bytes >= 2048 && c->rx_buffer_bytes <= 1u << 30 && c->tx_buffer_bytes >= 2048 &&
	       c->tx_buffer_bytes <= 1u << 30 && c->mtu >= IP4_MTU_MIN && c->port_lo <= c->port_hi;
}

static void set_defaults(struct tcp_config *c)
{
	if (!c->n_time_wait)
		c->n_time_wait = c->n_connections;
	if (!c->n_flights)
		c->n_flights = c->n_connections;
	if (!c->n_segments)
		c->n_segments = 8 * c->n_flights;
	if (!c->n_prefixes)
		c->n_prefixes = 16384;
	if (!c->prefix_len4)
		c->prefix_len4 = 32;
	if (!c->prefix_len6)
		c->prefix_len6 = 64;
}

static bool cc_states_create(struct tcp_stack *s)
{
	size_t size = cc_ops_of(TCP_CC_BBR)->state_bytes;

	if (!s->cfg.n_bbr)
		return true;
	s->cc_states = rte_calloc("tcp-bbr", s->cfg.n_bbr, size, RTE_CACHE_LINE_SIZE);
	for (uint32_t i = 0; s->cc_states && i < s->cfg.n_bbr; i++) {
		char *state = s->cc_states + i * size;

		memcpy(state, &s->cc_state_free, sizeof(void *));
		s->cc_state_free = state;
	}
	return s->cc_states != NULL;
}

struct tcp_stack *tcp_create(const struct tcp_config *config, const struct tcp_env *env)
{
	struct tcp_stack *s;

	if (!is_config_sane(config)) {
		errno = EINVAL;
		return NULL;
	}
	s = rte_zmalloc("tcp", sizeof(*s), RTE_CACHE_LINE_SIZE);
	if (!s) {
		errno = ENOMEM;
		return NULL;
	}
	s->cfg = *config;
	set_defaults(&s->cfg);
	s->env = *env;
	s->stats = env->stats;
	s->ready_tail = &s->ready;
	s->output_tail = &s->output;
	s->rx_share = UINT32_MAX;
	share_update(s);
	while (s->rcv_wscale < 14 && config->rx_buffer_bytes >> s->rcv_wscale > UINT16_MAX)
		s->rcv_wscale++;
	if (!table_create(s) || !ports_create(s) || !listen_create(s) || !flight_create(s) || !cc_states_create(s)) {
		tcp_destroy(s, 0);
		errno = ENOMEM;
		return NULL;
	}
	timers_init(s);
	return s;
}

void tcp_destroy(struct tcp_stack *s, uint64_t now_us)
{
	s->now_us = now_us;
	for (uint32_t i = 0; s->conns && i < s->cfg.n_connections; i++) {
		struct tcp_conn *c = &s->conns[i];

		if (!c->stack)
			continue;
		if (c->is_dead) {
			rcvq_free(c);
			continue;
		}
		if (!c->has_left && c->state != TCP_SYN_SENT)
			conn_send_reset(c);
		c->is_detached = true;
		conn_drop(c, WEIR_R_CLOSE_SHUTDOWN);
	}
	listen_destroy(s);
	table_destroy(s);
	flight_destroy(s);
	rte_free(s->cc_states);
	ports_destroy(s);
	rte_free(s);
}

/* -- congestion control */

void conn_init_cc(struct tcp_conn *c, enum tcp_cc_kind kind)
{
	struct tcp_stack *s = c->stack;
	const struct cc_ops *ops = cc_ops_of(kind == TCP_CC_DEFAULT ? s->cfg.cc : kind);
	void *state = NULL;

	if (ops->state_bytes) {
		state = s->cc_state_free;
		if (state) {
			memcpy(&s->cc_state_free, state, sizeof(void *));
			c->has_cc_state = true;
		} else { /* still a connection, if not the wished for */
			stat_inc(s->stats, WEIR_C_TCP_CC_FALLBACKS);
			ops = cc_ops_of(TCP_CC_CUBIC);
		}
	}
	cc_init(&c->cc, ops, state, conn_payload_max(c), s->now_us);
}

void conn_fini_cc(struct tcp_conn *c)
{
	if (!c->has_cc_state)
		return;
	memcpy(c->cc.state, &c->stack->cc_state_free, sizeof(void *));
	c->stack->cc_state_free = c->cc.state;
	c->has_cc_state = false;
}

/* The peer's connection meets its user. False: refused, and gone. */
static bool offer(struct tcp_conn *c)
{
	struct tcp_listener *l = c->listener;

	c->wants_accept = false;
	if (l->accept(l->ctx, c, &c->user, c->stack->now_us) == 0)
		return true;
	stat_reason(c->stack->stats, WEIR_R_TCP_REFUSED);
	conn_send_reset(c);
	c->is_detached = true;
	conn_drop(c, WEIR_R_CLOSE_ABORTED);
	return false;
}

/* c may be gone after the user was called: nothing touches it then. */
static void deliver(struct tcp_conn *c)
{
	unsigned events;

	if (c->is_detached)
		return;
	if (c->wants_accept && (c->is_dead || !offer(c)))
		return;
	events = c->events;
	c->events = 0;
	if (!c->has_earned)
		share_note_taken(c);
	if (events && c->event)
		c->event(c, c->user, events, c->stack->now_us);
}

/*
 * Memory pressure: from half of what the queues may hold on, windows and
 * buffers are halved, then halved again at each further eighth.
 */
static uint8_t pressure_of(uint32_t n_held, uint32_t max)
{
	uint8_t pressure = 0;

	for (uint32_t at = max / 2; max >= 8 && pressure < 4 && n_held > at; at += max / 8)
		pressure++;
	return pressure;
}

/*
 * Receive windows answer for all that is held, send buffers only for what they
 * hold themselves: what was received mostly waits for a sender, and one that
 * may not fill its window would keep it waiting.
 */
static void take_pressure(struct tcp_stack *s)
{
	uint8_t pressure = pressure_of(s->n_held, s->cfg.n_held_max);

	if (pressure != s->pressure)
		stat_set(s->stats, WEIR_G_TCP_PRESSURE, pressure);
	s->pressure = pressure;
	s->tx_pressure = pressure_of(s->n_held_tx, s->cfg.n_held_max);
	share_update(s);
	stat_set(s->stats, WEIR_G_TCP_HELD, s->n_held);
}

void tcp_on_ahead(struct tcp_stack *s, tcp_ahead_fn *fn, void *ctx)
{
	s->ahead = fn;
	s->ahead_ctx = ctx;
}

/* Tells of those that are ready now and have data. Returns how many places of the list that covers. */
static unsigned look_ahead(struct tcp_stack *s)
{
	struct tcp_conn *conns[TCP_AHEAD];
	unsigned n_seen = 0;
	unsigned n = 0;

	for (struct tcp_conn *c = s->ready; c && n_seen < TCP_AHEAD; c = c->ready_next, n_seen++)
		if ((c->events & TCP_EV_READABLE) && !c->is_detached && !c->is_dead)
			conns[n++] = c;
	if (n > 1)
		s->ahead(s->ahead_ctx, conns, n);
	return n_seen;
}

/* Not among those that are ready: who wakes a connection within its own event would keep tcp_run() from ever ending. */
void tcp_wake(struct tcp_conn *c)
{
	if (c->is_dead || c->is_detached)
		return;
	c->events |= TCP_EV_READABLE;
	if (c->in_ready)
		return;
	c->in_ready = true;
	c->ready_next = c->stack->woken;
	c->stack->woken = c;
}

static void take_woken(struct tcp_stack *s)
{
	while (s->woken) {
		struct tcp_conn *c = s->woken;

		s->woken = c->ready_next;
		c->in_ready = false;
		conn_mark_ready(c, 0);
	}
}

unsigned tcp_run(struct tcp_stack *s, uint64_t now_us)
{
	enum weir_stage former;
	unsigned n_ahead = 0;
	unsigned n = 0;

	s->now_us = now_us;
	if (s->listen.closed)
		n += listen_forget(s);
	take_pressure(s);
	take_woken(s);
	while (s->ready) {
		struct tcp_conn *c = s->ready;

		if (n_ahead == 0)
			n_ahead = s->ahead ? look_ahead(s) : UINT_MAX;
		n_ahead--;
		s->ready = c->ready_next;
		if (!s->ready)
			s->ready_tail = &s->ready;
		c->in_ready = false;
		deliver(c);
		if (c->is_dead)
			rcvq_free(c);
		n++;
	}
	former = stage_enter(s->env.stages, WEIR_STAGE_TCP_OUT);
	while (s->output) {
		struct tcp_conn *c = s->output;

		s->output = c->output_next;
		if (!s->output)
			s->output_tail = &s->output;
		c->in_output = false;
		if (!c->is_dead)
			conn_output(c);
		n++;
	}
	if (s->dead)
		table_sweep(s);
	stage_leave(s->env.stages, former);
	return n;
}

bool tcp_has_flow(const struct tcp_stack *s, const struct ip_flow *flow)
{
	struct flow_hit hit;

	table_lookup(s, flow, &hit);
	return hit.conn || hit.syn || hit.tw;
}

bool tcp_is_next(const struct tcp_stack *s, const struct ip_flow *flow, uint32_t seq)
{
	const struct tcp_conn *c = table_find(s, flow);

	return c && conn_is_synchronized(c) && c->rcv_nxt == seq && !c->ooo;
}

struct tcp_conn *tcp_connect(struct tcp_stack *s, const struct tcp_connect *args, uint64_t now_us, enum weir_reason *why)
{
	struct ip_flow flow = {.local = args->local, .remote = args->remote, .remote_port = args->remote_port};
	struct tcp_conn *c;
	uint32_t min_iss;

	s->now_us = now_us;
	if (!port_choose(s, &flow, &min_iss)) {
		*why = WEIR_R_CLOSE_NO_PORTS;
		stat_reason(s->stats, *why);
		return NULL;
	}
	c = table_add(s, &flow);
	if (!c) {
		port_release(s, &flow);
		*why = WEIR_R_CLOSE_TABLE_FULL;
		stat_reason(s->stats, *why);
		return NULL;
	}
	c->event = args->event;
	c->user = args->user;
	c->state = TCP_SYN_SENT;
	conn_init_sending(c);
	if (min_iss && seq_lt(c->iss, min_iss)) /* over an old TIME-WAIT: beyond its numbers */
		c->iss = c->snd_una = min_iss + 0x10000;
	conn_init_cc(c, args->cc);
	c->snd_nxt = c->iss + 1;
	c->is_timing = true;
	c->last_tx_us = now_us;
	conn_send_syn(c);
	conn_arm_rtx(c, RTX_RTO);
	conn_arm(c, TIMER_IDLE, now_us + (uint64_t)args->timeout_ms * 1000);
	return c;
}

const struct ip_flow *tcp_flow(const struct tcp_conn *c)
{
	return &c->flow;
}

void *tcp_user(const struct tcp_conn *c)
{
	return c->user;
}

void tcp_set_user(struct tcp_conn *c, tcp_event_fn *event, void *user)
{
	c->event = event;
	c->user = user;
}

void tcp_set_tunnel(struct tcp_conn *c)
{
	c->is_tunnel = true;
}

enum weir_reason tcp_close_reason(const struct tcp_conn *c)
{
	return (enum weir_reason)c->close_reason;
}

void tcp_shutdown(struct tcp_conn *c)
{
	if (c->fin_queued || c->is_dead)
		return;
	if (c->state == TCP_ESTABLISHED)
		c->state = TCP_FIN_WAIT_1;
	else if (c->state == TCP_CLOSE_WAIT)
		c->state = TCP_LAST_ACK;
	else
		return;
	c->fin_queued = true;
	conn_mark_output(c);
}

void tcp_close(struct tcp_conn *c, uint64_t now_us)
{
	struct tcp_stack *s = c->stack;

	s->now_us = now_us;
	assert(!c->is_detached);
	c->is_detached = true;
	c->events = 0;
	c->user = NULL;
	if (c->is_dead)
		return;
	if (c->state == TCP_SYN_SENT || c->state == TCP_SYN_RECEIVED) {
		conn_send_reset(c);
		conn_drop(c, WEIR_R_CLOSE_ABORTED);
		return;
	}
	if (c->has_left) { /* all was sent, and all acknowledged */
		conn_drop(c, WEIR_R_CLOSE_NORMAL);
		return;
	}
	if (c->rcv_bytes || c->ooo) { /* RFC 2525 2.17: the peer must not believe that its data arrived */
		conn_send_reset(c);
		conn_drop(c, WEIR_R_CLOSE_DATA_AFTER_CLOSE);
		return;
	}
	tcp_shutdown(c);
	conn_arm_fin_timeout(c);
}

void tcp_abort(struct tcp_conn *c, enum weir_reason why, uint64_t now_us)
{
	c->stack->now_us = now_us;
	assert(!c->is_detached);
	c->is_detached = true;
	c->events = 0;
	c->user = NULL;
	if (c->is_dead)
		return;
	if (c->state == TCP_TIME_WAIT)
		timewait_forget(c);
	else if (!c->has_left)
		conn_send_reset(c);
	conn_drop(c, why);
}

void tcp_get_info(const struct tcp_conn *c, struct tcp_info *out)
{
	static const char *const recovery_names[] = {
		[REC_OPEN] = "open", [REC_CWR] = "cwr", [REC_RECOVERY] = "recovery", [REC_LOSS] = "loss"};
	uint32_t out_bytes = c->snd_nxt - c->snd_una;
	const struct tcp_flight *f = c->flight;

	*out = (struct tcp_info){
		.flow = c->flow,
		.state = (enum tcp_state)c->state,
		.srtt_us = c->srtt_us,
		.rttvar_us = c->rttvar_us,
		.rto_us = c->rto_us,
		.min_rtt_us = c->min_rtt_us,
		.cc = c->cc.ops ? c->cc.ops->name : "",
		.recovery = recovery_names[conn_recovery(c)],
		.flying_bytes = conn_flying(c),
		.lost_bytes = f ? f->lost_now : 0,
		.sacked_bytes = f ? f->sacked : 0,
		.ooo_bytes = c->ooo_bytes,
		.pacing_Bps = conn_pacing_rate(c),
		.idle_us = c->stack->now_us - c->last_rx_us,
		.backoff = c->backoff,
		.has_ecn = c->has_ecn,
		.is_tunnel = c->is_tunnel,
		.cwnd = c->cc.cwnd,
		.ssthresh = c->cc.ssthresh,
		.snd_wnd = c->snd_wnd,
		.rcv_wnd = conn_receive_window(c),
		.unacked_bytes = out_bytes < c->snd_bytes ? out_bytes : c->snd_bytes,
		.unsent_bytes = out_bytes < c->snd_bytes ? c->snd_bytes - out_bytes : 0,
		.readable_bytes = c->rcv_bytes,
		.retransmits = c->n_retransmits,
		.mss = c->mss,
		.has_sack = c->has_sack,
		.has_timestamps = c->has_ts,
		.snd_wscale = c->snd_wscale,
		.rcv_wscale = c->rcv_wscale,
	};
}

void tcp_each(struct tcp_stack *s, void (*fn)(void *ctx, struct tcp_conn *c), void *ctx)
{
	for (uint32_t i = 0; i < s->cfg.n_connections; i++)
		if (s->conns[i].stack && !s->conns[i].is_dead)
			fn(ctx, &s->conns[i]);
}

uint32_t tcp_each_from(struct tcp_stack *s, uint32_t from, uint32_t n, void (*fn)(void *ctx, const struct tcp_info *info),
		       void *ctx)
{
	uint32_t n_conns = s->cfg.n_connections;
	uint32_t n_places = n_conns + s->cfg.n_syn + s->cfg.n_time_wait;
	uint32_t end = n < n_places - from ? from + n : n_places;
	struct tcp_info info;

	for (uint32_t i = from; i < end; i++) {
		if (i >= n_conns) {
			if (waiting_info(s, i - n_conns, &info))
				fn(ctx, &info);
		} else if (s->conns[i].stack && !s->conns[i].is_dead && !s->conns[i].has_left) {
			tcp_get_info(&s->conns[i], &info);
			fn(ctx, &info);
		}
	}
	return end < n_places ? end : TCP_EACH_END;
}

uint32_t tcp_n_connections(const struct tcp_stack *s)
{
	return s->n_conns + s->listen.synq.n + s->listen.timewait.n;
}

/* A sixth more than the bound: half of what it leaves, if it is three quarters of the pool. */
bool tcp_has_memory(const struct tcp_stack *s)
{
	return !s->cfg.n_held_max || s->n_held < s->cfg.n_held_max + s->cfg.n_held_max / 6;
}

uint32_t tcp_n_open(const struct tcp_stack *s)
{
	return s->n_conns;
}
