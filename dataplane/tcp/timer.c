/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The three timers of a connection: retransmission (RFC 6298), which also
 * probes zero windows; delayed ACK; and one for all that waits long: the
 * handshake's limit, keep-alive, FIN-WAIT-2.
 */
#include "tcp/tcp_pvt.h"

static struct tcp_conn *conn_of(struct wheel_timer *t, unsigned timer)
{
	return (struct tcp_conn *)(void *)((char *)(t - timer) - offsetof(struct tcp_conn, timer));
}

void conn_arm(struct tcp_conn *c, unsigned timer, uint64_t at_us)
{
	wheel_arm(c->stack->env.wheel, &c->timer[timer], c->stack->env.wheel_kind + timer, at_us);
}

void conn_cancel(struct tcp_conn *c, unsigned timer)
{
	wheel_cancel(c->stack->env.wheel, &c->timer[timer]);
}

uint64_t conn_rto(const struct tcp_conn *c)
{
	uint64_t rto = (uint64_t)c->rto_us << (c->backoff < 16 ? c->backoff : 16);

	return rto > RTO_MAX_US ? RTO_MAX_US : rto;
}

void conn_arm_fin_timeout(struct tcp_conn *c)
{
	c->close_una = c->snd_una + (c->snd_bytes < 8 ? 1 : c->snd_bytes / 8);
	conn_arm(c, TIMER_IDLE, c->stack->now_us + (uint64_t)c->stack->cfg.fin_timeout_ms * 1000);
}

void conn_arm_rtx(struct tcp_conn *c, enum rtx_mode mode)
{
	c->rtx_mode = (uint8_t)mode;
	conn_arm(c, TIMER_RTX, c->stack->now_us + conn_rto(c));
}

void conn_measure_rtt(struct tcp_conn *c, uint32_t rtt_us, uint32_t least_us)
{
	uint32_t now_s = (uint32_t)(c->stack->now_us / 1000000);
	uint32_t var4;

	if (c->srtt_us == 0) {
		c->srtt_us = rtt_us ? rtt_us : 1;
		c->rttvar_us = rtt_us / 2;
	} else {
		uint32_t delta = rtt_us > c->srtt_us ? rtt_us - c->srtt_us : c->srtt_us - rtt_us;

		c->rttvar_us = (uint32_t)((3 * (uint64_t)c->rttvar_us + delta) / 4);
		c->srtt_us = (uint32_t)((7 * (uint64_t)c->srtt_us + rtt_us) / 8);
		if (!c->srtt_us)
			c->srtt_us = 1;
	}
	var4 = 4 * c->rttvar_us;
	c->rto_us = c->srtt_us + (var4 > RTO_MIN_US ? var4 : RTO_MIN_US); /* as Linux: the minimum bounds the variance */
	if (c->rto_us > RTO_MAX_US)
		c->rto_us = RTO_MAX_US;
	if (!least_us)
		least_us = 1;
	if (!c->min_rtt_us || least_us <= c->min_rtt_us || now_s - c->min_rtt_s > MIN_RTT_WINDOW_S) {
		c->min_rtt_us = least_us;
		c->min_rtt_s = now_s;
	}
}

static bool is_given_up(const struct tcp_conn *c)
{
	return c->stack->now_us - c->progress_us >= (uint64_t)c->stack->cfg.max_retransmit_ms * 1000;
}

static void on_persist(struct tcp_conn *c)
{
	if (c->n_keepalive && is_given_up(c)) { /* the last probe, at least, was not answered */
		conn_send_reset(c);
		conn_drop(c, WEIR_R_CLOSE_ZERO_WINDOW_TIMEOUT);
		return;
	}
	if (conn_send_override(c)) /* RFC 9293 3.8.6.2.1: the window is small, and stays so */
		return;
	if (c->n_keepalive < UINT8_MAX)
		c->n_keepalive++;
	conn_send_probe(c);
	if (c->backoff < 16)
		c->backoff++;
	conn_arm_rtx(c, RTX_PERSIST);
}

static void on_handshake_timeout(struct tcp_conn *c)
{
	if (c->backoff >= SYN_RETRIES) {
		conn_drop(c, WEIR_R_CLOSE_CONNECT_TIMEOUT);
		return;
	}
	c->backoff++;
	c->is_timing = false; /* Karn */
	c->n_retransmits++;
	stat_inc(c->stack->stats, WEIR_C_TCP_RETRANSMITS);
	conn_send_syn(c);
	conn_arm_rtx(c, RTX_RTO);
}

static void on_rto(struct tcp_conn *c)
{
	stat_inc(c->stack->stats, WEIR_C_TCP_RTO);
	if (!conn_is_synchronized(c)) {
		on_handshake_timeout(c);
		return;
	}
	assert(c->flight && c->flight->head);
	/* A shut window is no sign of a dead peer as long as it answers. */
	if (c->snd_wnd == 0 && c->last_rx_us > c->progress_us)
		c->progress_us = c->last_rx_us;
	if (is_given_up(c)) {
		conn_send_reset(c);
		conn_drop(c, WEIR_R_CLOSE_RETRANSMIT_TIMEOUT);
		return;
	}
	recovery_timeout(c);
}

static void on_rtx(void *ctx, struct wheel_timer *t, uint64_t now_us)
{
	struct tcp_conn *c = conn_of(t, TIMER_RTX);

	c->stack->now_us = now_us;
	switch ((enum rtx_mode)c->rtx_mode) {
	case RTX_PERSIST:
		on_persist(c);
		break;
	case RTX_REORDER:
		recovery_reorder_timeout(c);
		break;
	case RTX_PROBE:
		recovery_tail_probe(c);
		break;
	case RTX_RETRY:
		sndq_offer_room(c);
		conn_mark_output(c);
		break;
	case RTX_RTO:
		on_rto(c);
		break;
	}
}

static void on_pace(void *ctx, struct wheel_timer *t, uint64_t now_us)
{
	struct tcp_flight *f = (struct tcp_flight *)(void *)((char *)t - offsetof(struct tcp_flight, pace));

	f->conn->stack->now_us = now_us;
	conn_mark_output(f->conn);
}

static void on_delayed_ack(void *ctx, struct wheel_timer *t, uint64_t now_us)
{
	struct tcp_conn *c = conn_of(t, TIMER_ACK);

	c->stack->now_us = now_us;
	c->ack_now = true;
	conn_mark_output(c);
}

static void on_keepalive(struct tcp_conn *c)
{
	struct tcp_stack *s = c->stack;
	uint64_t idle_us = (uint64_t)s->cfg.keepalive_ms * 1000;
	uint64_t due = c->last_rx_us + idle_us;

	if (s->now_us < due) {
		c->n_keepalive = 0;
		conn_arm(c, TIMER_IDLE, due);
		return;
	}
	if (c->n_keepalive >= KEEPALIVE_PROBES) {
		conn_send_reset(c);
		conn_drop(c, WEIR_R_CLOSE_RETRANSMIT_TIMEOUT);
		return;
	}
	c->n_keepalive++;
	if (!c->flight) /* else retransmission does the same */
		conn_send_control(c, FLAG_ACK, c->snd_una - 1);
	conn_arm(c, TIMER_IDLE, s->now_us + KEEPALIVE_INTERVAL_US);
}

static void on_idle(void *ctx, struct wheel_timer *t, uint64_t now_us)
{
	struct tcp_conn *c = conn_of(t, TIMER_IDLE);

	c->stack->now_us = now_us;
	switch ((enum tcp_state)c->state) {
	case TCP_SYN_SENT:
	case TCP_SYN_RECEIVED:
		conn_send_reset(c);
		conn_drop(c, WEIR_R_CLOSE_CONNECT_TIMEOUT);
		break;
	case TCP_ESTABLISHED:
	case TCP_CLOSE_WAIT:
		on_keepalive(c);
		break;
	case TCP_FIN_WAIT_1:
	case TCP_FIN_WAIT_2:
	case TCP_CLOSING:
	case TCP_LAST_ACK:
		if (c->is_detached && seq_ge(c->snd_una, c->close_una)) {
			conn_arm_fin_timeout(c); /* a slow reader, but it reads */
		} else if (c->is_detached) {
			/* In FIN-WAIT-2 all of ours has arrived: RST would take it from a peer that has not read it yet. */
			if (c->state != TCP_FIN_WAIT_2)
				conn_send_reset(c);
			conn_drop(c, WEIR_R_CLOSE_FIN_TIMEOUT);
		}
		break;
	case TCP_TIME_WAIT: /* in timewait.c */
	case TCP_CLOSED:
		break;
	}
}

void timers_init(struct tcp_stack *s)
{
	wheel_handle(s->env.wheel, s->env.wheel_kind + TIMER_RTX, on_rtx, s);
	wheel_handle(s->env.wheel, s->env.wheel_kind + TIMER_ACK, on_delayed_ack, s);
	wheel_handle(s->env.wheel, s->env.wheel_kind + TIMER_IDLE, on_idle, s);
	wheel_handle(s->env.wheel, s->env.wheel_kind + TIMER_PACE, on_pace, s);
}
