/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in flight: a record for each piece sent and not acknowledged, in a
 * list by sequence number. Those that fly are in a second list by the time of
 * their last transmission (which RACK reads), those that are lost in one by
 * sequence number (which retransmission reads). Records come from pools of
 * the stack: a full pool holds new data back, never what is in flight.
 */
#include <string.h>

#include <rte_malloc.h>

#include "tcp/tcp_pvt.h"

bool flight_create(struct tcp_stack *s)
{
	s->segs = rte_calloc("tcp-segments", s->cfg.n_segments, sizeof(*s->segs), RTE_CACHE_LINE_SIZE);
	s->flights = rte_calloc("tcp-flights", s->cfg.n_flights, sizeof(*s->flights), RTE_CACHE_LINE_SIZE);
	if (!s->segs || !s->flights)
		return false;
	for (uint32_t i = s->cfg.n_segments; i-- > 0;) {
		s->segs[i].next = s->seg_free;
		s->seg_free = &s->segs[i];
	}
	s->n_segs_free = s->cfg.n_segments;
	for (uint32_t i = s->cfg.n_flights; i-- > 0;) {
		s->flights[i].next_free = s->flight_free;
		s->flight_free = &s->flights[i];
	}
	return true;
}

void flight_destroy(struct tcp_stack *s)
{
	rte_free(s->segs);
	rte_free(s->flights);
}

bool flight_open(struct tcp_conn *c)
{
	struct tcp_stack *s = c->stack;
	struct tcp_flight *f = c->flight;

	if (!s->seg_free || (f ? f->n_segs >= TCP_MAX_SEGS : !s->flight_free)) {
		stat_inc(s->stats, WEIR_C_TCP_FLIGHT_FULL);
		return false;
	}
	if (f)
		return true;
	f = s->flight_free;
	s->flight_free = f->next_free;
	memset(f, 0, sizeof(*f));
	f->conn = c;
	f->rack_end = f->rack_fack = c->snd_una;
	f->pace_at_us = s->now_us;
	c->flight = f;
	return true;
}

/* -- the list by time */

static void time_append(struct tcp_flight *f, struct tcp_seg *g)
{
	g->later = NULL;
	g->earlier = f->newest;
	if (f->newest)
		f->newest->later = g;
	else
		f->oldest = g;
	f->newest = g;
}

/* By time of transmission, in order of sequence where that is the same: the two lists, linked by later, as one. */
static struct tcp_seg *time_merge(struct tcp_seg *a, struct tcp_seg *b)
{
	struct tcp_seg *head = NULL, **end = &head;

	while (a && b) {
		bool is_b = b->sent_us < a->sent_us || (b->sent_us == a->sent_us && seq_lt(b->seq, a->seq));
		struct tcp_seg **from = is_b ? &b : &a;

		*end = *from;
		end = &(*from)->later;
		*from = (*from)->later;
	}
	*end = a ? a : b;
	return head;
}

/* Sorts the first n of a list in order of sequence; *rest becomes what is behind them. */
static struct tcp_seg *time_sort(struct tcp_seg *list, uint32_t n, struct tcp_seg **rest)
{
	struct tcp_seg *first, *second;

	if (n == 1) {
		*rest = list->later;
		list->later = NULL;
		return list;
	}
	first = time_sort(list, n / 2, &second);
	second = time_sort(second, n - n / 2, rest);
	return time_merge(first, second);
}

static void time_insert_after(struct tcp_flight *f, struct tcp_seg *g, struct tcp_seg *before)
{
	g->earlier = before;
	g->later = before ? before->later : f->oldest;
	if (g->later)
		g->later->earlier = g;
	else
		f->newest = g;
	if (before)
		before->later = g;
	else
		f->oldest = g;
}

static void time_remove(struct tcp_flight *f, struct tcp_seg *g)
{
	if (g->earlier)
		g->earlier->later = g->later;
	else
		f->oldest = g->later;
	if (g->later)
		g->later->earlier = g->earlier;
	else
		f->newest = g->earlier;
}

/* -- the list of the lost, by the same links */

/*
 * The lost one before g, or NULL. It is looked for from g and from the end of
 * the lost ones at once, since a peer decides what is marked, and in what
 * order: a walk over all for each would be its to choose.
 */
static struct tcp_seg *lost_before(const struct tcp_flight *f, const struct tcp_seg *g)
{
	struct tcp_seg *near = g->prev;
	struct tcp_seg *last = f->lost_tail;

	while (near && near->state != SEG_LOST && last && seq_gt(last->seq, g->seq)) {
		near = near->prev;
		last = last->earlier;
	}
	return !near || near->state == SEG_LOST ? near : last;
}

static void lost_insert(struct tcp_flight *f, struct tcp_seg *g)
{
	struct tcp_seg *before = lost_before(f, g);

	g->earlier = before;
	g->later = before ? before->later : f->lost_head;
	if (g->later)
		g->later->earlier = g;
	else
		f->lost_tail = g;
	if (before)
		before->later = g;
	else
		f->lost_head = g;
}

static void lost_remove(struct tcp_flight *f, struct tcp_seg *g)
{
	if (g->earlier)
		g->earlier->later = g->later;
	else
		f->lost_head = g->later;
	if (g->later)
		g->later->earlier = g->earlier;
	else
		f->lost_tail = g->earlier;
}

/* -- records */

/* Out of the list of its state, and of that state's sums. */
static void leave_state(struct tcp_flight *f, struct tcp_seg *g)
{
	uint32_t len = g->end - g->seq;

	switch ((enum seg_state)g->state) {
	case SEG_FLYING:
		time_remove(f, g);
		f->flying -= len;
		f->resent -= g->is_resent ? len : 0;
		break;
	case SEG_LOST:
		lost_remove(f, g);
		f->lost_now -= len;
		break;
	case SEG_SACKED:
		f->sacked -= len;
		f->n_sacked--;
		break;
	}
}

static void seg_put(struct tcp_stack *s, struct tcp_seg *g)
{
	g->next = s->seg_free;
	s->seg_free = g;
	s->n_segs_free++;
}

static struct tcp_seg *seg_get(struct tcp_stack *s)
{
	struct tcp_seg *g = s->seg_free;

	s->seg_free = g->next;
	s->n_segs_free--;
	return g;
}

struct tcp_seg *flight_add(struct tcp_conn *c, uint32_t seq, uint32_t end, struct rte_mbuf *m, uint32_t m_seq)
{
	struct tcp_flight *f = c->flight;
	struct tcp_seg *g = seg_get(c->stack);

	memset(g, 0, sizeof(*g));
	g->seq = seq;
	g->end = end;
	g->m = m;
	g->m_seq = m_seq;
	g->sent_us = c->stack->now_us;
	g->prev = f->tail;
	if (f->tail)
		f->tail->next = g;
	else
		f->head = g;
	f->tail = g;
	f->n_segs++;
	rate_sent(c, g);
	f->flying += end - seq;
	g->in_flight = f->flying;
	time_append(f, g);
	return g;
}

static void note_loss(struct tcp_flight *f, const struct tcp_seg *g)
{
	f->lost_untold += g->end - g->seq;
	if (f->loss.bytes && g->sent_us < f->loss_sent_us)
		return;
	f->loss_sent_us = g->sent_us;
	f->loss = (struct cc_loss){
		.bytes = g->end - g->seq,
		.tx_in_flight = g->in_flight,
		.lost = f->lost - g->lost,
		.is_app_limited = g->is_app_limited,
	};
}

void flight_set_lost(struct tcp_conn *c, struct tcp_seg *g)
{
	struct tcp_flight *f = c->flight;

	leave_state(f, g);
	g->state = SEG_LOST;
	f->lost += g->end - g->seq;
	f->lost_now += g->end - g->seq;
	note_loss(f, g);
	lost_insert(f, g);
	stat_inc(c->stack->stats, WEIR_C_TCP_SEGMENTS_LOST);
}

void flight_set_sacked(struct tcp_conn *c, struct tcp_seg *g)
{
	struct tcp_flight *f = c->flight;

	leave_state(f, g);
	g->state = SEG_SACKED;
	f->sacked += g->end - g->seq;
	f->n_sacked++;
}

void flight_set_resent(struct tcp_conn *c, struct tcp_seg *g)
{
	struct tcp_flight *f = c->flight;

	leave_state(f, g);
	g->state = SEG_FLYING;
	g->is_resent = true;
	g->sent_us = c->stack->now_us;
	rate_sent(c, g);
	f->flying += g->end - g->seq;
	f->resent += g->end - g->seq;
	g->in_flight = f->flying;
	time_append(f, g);
}

bool flight_split(struct tcp_conn *c, struct tcp_seg *g, uint32_t at)
{
	struct tcp_flight *f = c->flight;
	struct tcp_seg *h;

	assert(seq_gt(at, g->seq) && seq_lt(at, g->end));
	if (!c->stack->seg_free || f->n_segs >= TCP_MAX_SEGS) {
		stat_inc(c->stack->stats, WEIR_C_TCP_FLIGHT_FULL);
		return false;
	}
	h = seg_get(c->stack);
	*h = *g;
	h->seq = at;
	g->end = at;
	if (at == c->snd_una + c->snd_bytes) /* what follows the data is FIN */
		h->m = NULL;
	else
		sndq_seek(c, &h->m, &h->m_seq, at);
	h->prev = g;
	if (g->next)
		g->next->prev = h;
	else
		f->tail = h;
	g->next = h;
	f->n_segs++;
	if (g->state == SEG_FLYING)
		time_insert_after(f, h, g);
	else if (g->state == SEG_LOST)
		lost_insert(f, h);
	else
		f->n_sacked++;
	return true;
}

void flight_arrived(struct tcp_conn *c, const struct tcp_seg *g, struct tcp_ack *a)
{
	struct tcp_flight *f = c->flight;

	if (!g->is_resent) { /* Karn: what was sent twice measures nothing */
		uint32_t rtt = (uint32_t)(c->stack->now_us - g->sent_us);

		if (!rtt)
			rtt = 1;
		if (!a->rtt_us || rtt < a->rtt_us)
			a->rtt_us = rtt;
		if (rtt > a->first_rtt_us)
			a->first_rtt_us = rtt;
		if (!f->has_point || seq_le(g->end, f->recovery_point))
			a->has_orig = true;
		if (seq_lt(g->end, a->prior_fack)) /* RFC 8985 6.2 step 3 */
			c->reordering_seen = true;
	}
	a->has_resent |= g->is_resent;
	if (seq_gt(g->end, f->rack_fack))
		f->rack_fack = g->end;
	rack_arrived(c, g, a);
	rate_arrived(c, g, a);
}

static void forget_cached(struct tcp_flight *f, const struct tcp_seg *g)
{
	for (unsigned i = 0; i < TCP_MAX_SACK_RX; i++)
		if (f->sack_cache[i].last == g)
			f->sack_cache[i].last = NULL;
}

/* The first record: acknowledged as a whole. */
static void remove_head(struct tcp_conn *c)
{
	struct tcp_flight *f = c->flight;
	struct tcp_seg *g = f->head;

	leave_state(f, g);
	forget_cached(f, g);
	f->head = g->next;
	if (f->head)
		f->head->prev = NULL;
	else
		f->tail = NULL;
	f->n_segs--;
	seg_put(c->stack, g);
}

/* The first record: acknowledged up to ack, within it. */
static void trim_head(struct tcp_conn *c, uint32_t ack, struct tcp_ack *a)
{
	struct tcp_flight *f = c->flight;
	struct tcp_seg *g = f->head;
	uint32_t n = ack - g->seq;

	switch ((enum seg_state)g->state) {
	case SEG_FLYING:
		f->flying -= n;
		f->resent -= g->is_resent ? n : 0;
		break;
	case SEG_LOST:
		f->lost_now -= n;
		break;
	case SEG_SACKED:
		f->sacked -= n;
		break;
	}
	if (g->state != SEG_SACKED) {
		a->delivered += n;
		c->delivered += n;
		if (!g->is_resent && !a->first_rtt_us) {
			uint32_t rtt = (uint32_t)(c->stack->now_us - g->sent_us);

			a->rtt_us = a->first_rtt_us = rtt ? rtt : 1;
		}
	}
	if (g->m)
		sndq_seek(c, &g->m, &g->m_seq, ack);
	g->seq = ack;
}

void flight_ack(struct tcp_conn *c, uint32_t ack, struct tcp_ack *a)
{
	struct tcp_flight *f = c->flight;

	a->is_cumulative = true;
	while (f->head && seq_le(f->head->end, ack)) {
		struct tcp_seg *g = f->head;

		if (g->state != SEG_SACKED) {
			a->delivered += g->end - g->seq;
			c->delivered += g->end - g->seq;
			flight_arrived(c, g, a);
		}
		remove_head(c);
	}
	if (f->head && seq_lt(f->head->seq, ack))
		trim_head(c, ack, a);
}

void flight_clear_lost(struct tcp_conn *c)
{
	struct tcp_flight *f = c->flight;
	struct tcp_seg *rest;
	uint32_t n = 0;

	for (struct tcp_seg *g = f->lost_head; g; g = g->later, n++) {
		g->state = SEG_FLYING;
		f->resent += g->is_resent ? g->end - g->seq : 0;
	}
	if (!n)
		return;
	f->flying += f->lost_now;
	f->lost_now = 0;
	f->oldest = time_merge(f->oldest, time_sort(f->lost_head, n, &rest));
	f->lost_head = f->lost_tail = f->newest = NULL;
	for (struct tcp_seg *g = f->oldest; g; g = g->later) {
		g->earlier = f->newest;
		f->newest = g;
	}
}

void flight_renege(struct tcp_conn *c)
{
	struct tcp_flight *f = c->flight;

	for (struct tcp_seg *g = f->head; g; g = g->next)
		if (g->state == SEG_SACKED)
			flight_set_lost(c, g);
	memset(f->sack_cache, 0, sizeof(f->sack_cache));
	stat_inc(c->stack->stats, WEIR_C_TCP_SACK_RENEGED);
}

void flight_close(struct tcp_conn *c)
{
	struct tcp_flight *f = c->flight;

	if (!f)
		return;
	while (f->head)
		remove_head(c);
	wheel_cancel(c->stack->env.wheel, &f->pace);
	f->conn = NULL;
	f->next_free = c->stack->flight_free;
	c->stack->flight_free = f;
	c->flight = NULL;
	c->n_dupacks = 0;
}
