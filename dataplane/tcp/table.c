/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection table: objects allocated once, found by a keyed hash of the
 * 4-tuple over chained buckets (as many as objects), never rehashed.
 */
#include <string.h>

#include <rte_malloc.h>

#include "base/siphash.h"
#include "tcp/tcp_pvt.h"

static uint32_t bucket_of(const struct tcp_stack *s, const struct ip_flow *flow)
{
	return (uint32_t)siphash(flow, sizeof(*flow), s->cfg.secret) & s->bucket_mask;
}

bool table_create(struct tcp_stack *s)
{
	uint32_t n_buckets = rte_align32pow2(s->cfg.n_connections);

	s->bucket_mask = n_buckets - 1;
	s->conns = rte_calloc("tcp-conns", s->cfg.n_connections, sizeof(*s->conns), RTE_CACHE_LINE_SIZE);
	s->buckets = rte_calloc("tcp-table", n_buckets, sizeof(*s->buckets), RTE_CACHE_LINE_SIZE);
	if (!s->conns || !s->buckets) {
		table_destroy(s);
		return false;
	}
	for (uint32_t i = s->cfg.n_connections; i-- > 0;) {
		s->conns[i].dead_next = s->free;
		s->free = &s->conns[i];
	}
	return true;
}

void table_destroy(struct tcp_stack *s)
{
	rte_free(s->conns);
	rte_free(s->buckets);
	s->conns = NULL;
	s->buckets = NULL;
}

struct tcp_conn *table_find(const struct tcp_stack *s, const struct ip_flow *flow)
{
	struct tcp_conn *c = s->buckets[bucket_of(s, flow)];

	while (c && memcmp(&c->flow, flow, sizeof(*flow)) != 0)
		c = c->bucket_next;
	return c;
}

struct tcp_conn *table_add(struct tcp_stack *s, const struct ip_flow *flow)
{
	struct tcp_conn *c;

	if (!s->free && s->tw)
		conn_drop(s->tw, WEIR_R_CLOSE_NORMAL);
	if (!s->free)
		table_sweep(s);
	c = s->free;
	if (!c)
		return NULL;
	s->free = c->dead_next;
	memset(c, 0, sizeof(*c));
	c->stack = s;
	c->flow = *flow;
	c->bucket = bucket_of(s, flow);
	c->bucket_next = s->buckets[c->bucket];
	s->buckets[c->bucket] = c;
	c->last_rx_us = s->now_us;
	c->progress_us = s->now_us;
	s->n_conns++;
	return c;
}

static void unlink_time_wait(struct tcp_conn *c)
{
	struct tcp_stack *s = c->stack;

	if (!c->tw_pprev)
		return;
	*c->tw_pprev = c->tw_next;
	if (c->tw_next)
		c->tw_next->tw_pprev = c->tw_pprev;
	else
		s->tw_tail = c->tw_pprev;
	c->tw_pprev = NULL;
}

static void unlink_bucket(struct tcp_conn *c)
{
	struct tcp_conn **p = &c->stack->buckets[c->bucket];

	while (*p != c)
		p = &(*p)->bucket_next;
	*p = c->bucket_next;
}

void conn_drop(struct tcp_conn *c, enum weir_reason why)
{
	struct tcp_stack *s = c->stack;

	assert(!c->is_dead);
	if (c->state == TCP_SYN_RECEIVED)
		s->n_syn--;
	if (c->listener)
		c->listener->n_pending--;
	c->listener = NULL;
	unlink_bucket(c);
	unlink_time_wait(c);
	if (!c->is_passive)
		port_release(s, &c->flow);
	s->n_conns--;
	for (unsigned i = 0; i < N_TIMERS; i++)
		wheel_cancel(s->env.wheel, &c->timer[i]);
	flight_close(c);
	sndq_free(c);
	rcvq_free(c);
	conn_fini_cc(c);
	c->state = TCP_CLOSED;
	c->is_dead = true;
	c->close_reason = (uint16_t)why;
	c->dead_next = s->dead;
	s->dead = c;
	stat_reason(s->stats, why);
	stat_inc(s->stats, WEIR_C_TCP_CLOSED);
	if (!c->is_detached && c->event && !c->wants_accept)
		conn_mark_ready(c, TCP_EV_CLOSED);
}

void table_sweep(struct tcp_stack *s)
{
	struct tcp_conn **p = &s->dead;

	while (*p) {
		struct tcp_conn *c = *p;

		if (c->in_ready || c->in_output) { /* lists still hold it: the next sweep */
			p = &c->dead_next;
			continue;
		}
		*p = c->dead_next;
		c->dead_next = s->free;
		s->free = c;
	}
}

void conn_mark_ready(struct tcp_conn *c, unsigned events)
{
	struct tcp_stack *s = c->stack;

	c->events |= (uint8_t)events;
	if (c->in_ready)
		return;
	c->in_ready = true;
	c->ready_next = NULL;
	*s->ready_tail = c;
	s->ready_tail = &c->ready_next;
}

void conn_mark_output(struct tcp_conn *c)
{
	struct tcp_stack *s = c->stack;

	if (c->in_output)
		return;
	c->in_output = true;
	c->output_next = NULL;
	*s->output_tail = c;
	s->output_tail = &c->output_next;
}

void conn_set_time_wait(struct tcp_conn *c)
{
	struct tcp_stack *s = c->stack;

	c->state = TCP_TIME_WAIT;
	conn_cancel(c, TIMER_RTX);
	flight_close(c);
	sndq_free(c);
	conn_arm(c, TIMER_IDLE, s->now_us + (uint64_t)s->cfg.time_wait_ms * 1000);
	if (!c->tw_pprev) {
		c->tw_next = NULL;
		c->tw_pprev = s->tw_tail;
		*s->tw_tail = c;
		s->tw_tail = &c->tw_next;
	}
}
