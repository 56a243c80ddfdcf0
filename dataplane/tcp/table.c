/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections of a stack: objects allocated once, and the one table of
 * tuples (flowtab.h) that finds them, and what is in SYN-RECEIVED and
 * TIME-WAIT (listen_pvt.h), by one look-up.
 */
#include <string.h>

#include <rte_malloc.h>

#include "base/siphash.h"
#include "tcp/tcp_pvt.h"

#define ENTRIES_PER_BUCKET 4 /* half of what a bucket holds: few chains */

uint32_t conn_number(const struct tcp_conn *c)
{
	return (uint32_t)(c - c->stack->conns);
}

uint32_t syn_number(const struct tcp_stack *s, const struct syn *y)
{
	return s->cfg.n_connections + (uint32_t)(y - s->listen.synq.pool);
}

uint32_t tw_number(const struct tcp_stack *s, const struct tw *w)
{
	return s->cfg.n_connections + s->cfg.n_syn + (uint32_t)(w - s->listen.timewait.pool);
}

/* Whose number it is. */
static void set_hit(const struct tcp_stack *s, uint32_t number, struct flow_hit *hit)
{
	if (number < s->cfg.n_connections)
		hit->conn = &s->conns[number];
	else if (number - s->cfg.n_connections < s->cfg.n_syn)
		hit->syn = &s->listen.synq.pool[number - s->cfg.n_connections];
	else
		hit->tw = &s->listen.timewait.pool[number - s->cfg.n_connections - s->cfg.n_syn];
}

static const struct ip_flow *flow_of(const void *ctx, uint32_t number)
{
	struct flow_hit hit = {0};

	set_hit(ctx, number, &hit);
	return hit.conn ? &hit.conn->flow : hit.syn ? &hit.syn->flow : &hit.tw->flow;
}

bool table_create(struct tcp_stack *s)
{
	uint32_t n = s->cfg.n_connections + s->cfg.n_syn + s->cfg.n_time_wait;
	uint8_t key[16];

	siphash_derive(s->cfg.secret, "flow table", key); /* of its own: sequence numbers must not show who shares a bucket */
	s->conns = rte_calloc("tcp-conns", s->cfg.n_connections, sizeof(*s->conns), RTE_CACHE_LINE_SIZE);
	if (!s->conns || !flowtab_create(&s->flows, n, (n + ENTRIES_PER_BUCKET - 1) / ENTRIES_PER_BUCKET, key, flow_of, s))
		return false;
	return true;
}

void table_destroy(struct tcp_stack *s)
{
	rte_free(s->conns);
	s->conns = NULL;
	flowtab_destroy(&s->flows);
}

void table_lookup(const struct tcp_stack *s, const struct ip_flow *flow, struct flow_hit *hit)
{
	uint32_t number;

	memset(hit, 0, sizeof(*hit));
	hit->hash = flowtab_hash(&s->flows, flow);
	number = flowtab_find(&s->flows, hit->hash, flow);
	if (number != FLOWTAB_NONE)
		set_hit(s, number, hit);
}

struct tcp_conn *table_find(const struct tcp_stack *s, const struct ip_flow *flow)
{
	struct flow_hit hit;

	table_lookup(s, flow, &hit);
	return hit.conn;
}

bool table_is_full(const struct tcp_stack *s)
{
	return !s->free && s->n_fresh == s->cfg.n_connections && !s->dead;
}

struct tcp_conn *table_add_over(struct tcp_stack *s, const struct ip_flow *flow, const struct flow_hit *hit)
{
	struct tcp_conn *c;

	if (!s->free)
		table_sweep(s);
	c = s->free;
	if (c)
		s->free = c->dead_next;
	else if (s->n_fresh < s->cfg.n_connections)
		c = &s->conns[s->n_fresh++];
	else
		return NULL;
	memset(c, 0, sizeof(*c));
	c->stack = s;
	c->flow = *flow;
	c->last_rx_us = s->now_us;
	c->progress_us = s->now_us;
	s->n_conns++;
	if (hit->syn) {
		flowtab_replace(&s->flows, hit->hash, syn_number(s, hit->syn), conn_number(c));
		synq_free(s, hit->syn);
	} else if (hit->tw) {
		flowtab_replace(&s->flows, hit->hash, tw_number(s, hit->tw), conn_number(c));
		timewait_free(s, hit->tw);
	} else {
		flowtab_add(&s->flows, hit->hash, conn_number(c));
	}
	return c;
}

struct tcp_conn *table_add(struct tcp_stack *s, const struct ip_flow *flow)
{
	const struct flow_hit nothing = {.hash = flowtab_hash(&s->flows, flow)};

	return table_add_over(s, flow, &nothing);
}

static void leave_table(struct tcp_conn *c)
{
	struct tcp_stack *s = c->stack;

	flowtab_remove(&s->flows, flowtab_hash(&s->flows, &c->flow), conn_number(c));
	if (!c->is_passive)
		port_release(s, &c->flow);
	c->has_left = true;
}

void conn_finish(struct tcp_conn *c)
{
	if (c->is_detached || c->wants_accept || !c->rcv_bytes) {
		conn_drop(c, WEIR_R_CLOSE_NORMAL);
		return;
	}
	for (unsigned i = 0; i < N_TIMERS; i++)
		conn_cancel(c, i);
	flight_close(c);
	leave_table(c);
	c->state = TCP_CLOSED;
}

void conn_drop(struct tcp_conn *c, enum weir_reason why)
{
	struct tcp_stack *s = c->stack;

	assert(!c->is_dead);
	if (!c->has_left)
		leave_table(c);
	if (c->is_passive)
		limit_give(s, c->listener_generation == c->listener->generation ? c->listener : NULL, &c->flow.remote);
	s->n_conns--;
	for (unsigned i = 0; i < N_TIMERS; i++)
		wheel_cancel(s->env.wheel, &c->timer[i]);
	flight_close(c);
	sndq_free(c);
	if (c->is_passive || c->is_detached || why != WEIR_R_CLOSE_RESET_BY_PEER)
		rcvq_free(c); /* else tcp_run() does: the last event may take what came before the RST */
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
