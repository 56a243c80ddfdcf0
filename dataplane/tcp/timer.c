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

void conn_arm_rtx(struct tcp_conn *c)
{
	uint64_t rto = (uint64_t)c->rto_us << (c->backoff < 16 ? c->backoff : 16);

	if (rto > RTO_MAX_US)
		rto = RTO_MAX_US;
	conn_arm(c, TIMER_RTX, c->stack->now_us + rto);
}

void conn_measure_rtt(struct tcp_conn *c, uint32_t rtt_us)
{
	uint32_t var4;

	if (c->srtt_us == 0) {
		c->srtt_us = rtt_us ? rtt_us : 1;
		c->rttvar_us = rtt_us / 2;
	} else {
		uint32_t delta = rtt_us > c->srtt_us ? rtt_us - c->srtt_us : c->srtt_us - rtt_us;

		c->rttvar_us = (3 * c->rttvar_us + delta) / 4;
		c->srtt_us = (uint32_t)((7 * (uint64_t)c->srtt_us + rtt_us) / 8);
	}
	var4 = 4 * c->rttvar_us;
	c->rto_us = c->srtt_us + (var4 > RTO_MIN_US ? var4 : RTO_MIN_US); /* as Linux: the minimum bounds the variance */
	if (c->rto_us > RTO_MAX_US)
		c->rto_us = RTO_MAX_US;
}

static bool is_given_up(const struct tcp_conn *c)
{
	return c->stack->now_us - c->progress_us >= (uint64_t)c->stack->cfg.max_retransmit_ms * 1000;
}

static void on_persist(struct tcp_conn *c)
{
	if (is_given_up(c)) {
		conn_send_reset(c);
		conn_drop(c, WEIR_R_CLOSE_ZERO_WINDOW_TIMEOUT);
		return;
	}
	conn_send_probe(c);
	if (c->backoff < 16)
		c->backoff++;
	conn_arm_rtx(c);
}

static void on_handshake_timeout(struct tcp_conn *c)
{
	if (c->backoff >= SYN_RETRIES) {
		conn_drop(c, WEIR_R_CLOSE_CONNECT_TIMEOUT);
		return;
	}
	c->backoff++;
	c->is_timing = false;
	c->n_retransmits++;
	stat_inc(c->stack->stats, WEIR_C_TCP_RETRANSMITS);
	conn_send_control(c, c->state == TCP_SYN_SENT ? FLAG_SYN : FLAG_SYN | FLAG_ACK, c->iss);
	conn_arm_rtx(c);
}

static void on_rtx(void *ctx, struct wheel_timer *t, uint64_t now_us)
{
	struct tcp_conn *c = conn_of(t, TIMER_RTX);

	c->stack->now_us = now_us;
	if (c->is_persist) {
		on_persist(c);
		return;
	}
	stat_inc(c->stack->stats, WEIR_C_TCP_RTO);
	if (!conn_is_synchronized(c)) {
		on_handshake_timeout(c);
		return;
	}
	if (is_given_up(c)) {
		conn_send_reset(c);
		conn_drop(c, WEIR_R_CLOSE_RETRANSMIT_TIMEOUT);
		return;
	}
	if (c->snd_max == c->snd_una) { /* nothing is out: no mbuf was left for it, try again */
		conn_mark_output(c);
		return;
	}
	if (c->backoff == 0)
		cc_timeout(&c->cc, c->snd_max - c->snd_una, c->mss);
	else
		c->cc.cwnd = c->mss;
	if (c->backoff < 16)
		c->backoff++;
	c->is_timing = false;
	c->n_dupacks = 0;
	c->in_recovery = false;
	c->recover = c->snd_max; /* RFC 6582 4: no fast retransmit for what was out before */
	c->snd_nxt = c->snd_una;
	conn_mark_output(c);
	conn_arm_rtx(c);
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
	if (c->snd_max == c->snd_una) /* else retransmission does the same */
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
		if (c->is_detached) {
			conn_send_reset(c);
			conn_drop(c, WEIR_R_CLOSE_FIN_TIMEOUT);
		}
		break;
	case TCP_TIME_WAIT: /* waits for its user, then in timewait.c */
	case TCP_CLOSED:
		break;
	}
}

void timers_init(struct tcp_stack *s)
{
	wheel_handle(s->env.wheel, s->env.wheel_kind + TIMER_RTX, on_rtx, s);
	wheel_handle(s->env.wheel, s->env.wheel_kind + TIMER_ACK, on_delayed_ack, s);
	wheel_handle(s->env.wheel, s->env.wheel_kind + TIMER_IDLE, on_idle, s);
}
