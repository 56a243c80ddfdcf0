/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TIME-WAIT: what is left of a connection that both sides have closed, so that
 * a lost ACK of the last FIN can be sent again, and so that nothing old gets
 * into a new connection of the same tuple. All wait equally long: a list in
 * order of their ends, and one timer for the first. A full pool gives up its
 * oldest, early.
 *
 * While its user has not let go, a connection stays beside its entry, out of
 * the table, with the data that wait to be read; its tuple may end, or be used
 * again, before that.
 */
#include <rte_malloc.h>

#include "tcp/tcp_pvt.h"

#define EXPIRE_BATCH 256	  /* in one run of the timer */
#define EXPIRE_AGAIN_US 1000
#define ACK_INTERVAL_MS 100	  /* from one entry, at most so many ACKs in this time */
#define ACKS_IN_INTERVAL 4
#define REUSE_AFTER_US 1000000 /* as Linux: new time stamps are beyond the old ones by far (RFC 6191 2) */

static struct tw *tw_at(const struct tcp_stack *s, uint32_t at)
{
	return at ? &s->listen.timewait.pool[at - 1] : NULL;
}

static uint32_t index_of(const struct tcp_stack *s, const struct tw *w)
{
	return (uint32_t)(w - s->listen.timewait.pool) + 1;
}

static void unlink_fifo(struct tcp_stack *s, struct tw *w)
{
	struct timewait *t = &s->listen.timewait;

	*(w->prev ? &tw_at(s, w->prev)->next : &t->oldest) = w->next;
	*(w->next ? &tw_at(s, w->next)->prev : &t->newest) = w->prev;
}

/* Begins the wait: last of all. */
static void push_fifo(struct tcp_stack *s, struct tw *w)
{
	struct timewait *t = &s->listen.timewait;

	w->due_us = s->now_us + (uint64_t)s->cfg.time_wait_ms * 1000;
	w->next = 0;
	w->prev = t->newest;
	*(w->prev ? &tw_at(s, w->prev)->next : &t->oldest) = index_of(s, w);
	t->newest = index_of(s, w);
	if (!wheel_is_armed(&t->timer))
		wheel_arm(s->env.wheel, &t->timer, s->env.wheel_kind + WHEEL_TIME_WAIT, w->due_us);
}

static void release(struct tcp_stack *s, struct tw *w)
{
	struct timewait *t = &s->listen.timewait;

	if (w->is_ours)
		port_release(s, &w->flow);
	unlink_fifo(s, w);
	w->due_us = 0; /* in use no more: see tcp_each_from() */
	w->next = t->free;
	t->free = index_of(s, w);
	t->n--;
}

void timewait_free(struct tcp_stack *s, struct tw *w)
{
	stat_inc(s->stats, WEIR_C_TCP_TIME_WAIT_REUSED);
	release(s, w);
}

static void take_out(struct tcp_stack *s, struct tw *w)
{
	if (w->syn)
		s->listen.synq.pool[w->syn - 1].tw = 0;
	else
		flowtab_remove(&s->flows, flowtab_hash(&s->flows, &w->flow), tw_number(s, w));
	release(s, w);
}

/* The timer is for the oldest one, or for one that has gone since; then it runs for nothing. */
static void on_timer(void *ctx, struct wheel_timer *timer, uint64_t now_us)
{
	struct tcp_stack *s = ctx;
	struct timewait *t = &s->listen.timewait;

	s->now_us = now_us;
	for (unsigned i = 0; i < EXPIRE_BATCH && t->oldest && tw_at(s, t->oldest)->due_us <= now_us; i++)
		take_out(s, tw_at(s, t->oldest));
	if (t->oldest) {
		uint64_t due = tw_at(s, t->oldest)->due_us;

		wheel_arm(s->env.wheel, timer, s->env.wheel_kind + WHEEL_TIME_WAIT,
			  due <= now_us ? now_us + EXPIRE_AGAIN_US : due);
	}
}

bool timewait_create(struct tcp_stack *s)
{
	struct timewait *t = &s->listen.timewait;

	wheel_handle(s->env.wheel, s->env.wheel_kind + WHEEL_TIME_WAIT, on_timer, s);
	t->pool = rte_calloc("tcp-time-wait", s->cfg.n_time_wait, sizeof(*t->pool), RTE_CACHE_LINE_SIZE);
	return t->pool != NULL;
}

void timewait_destroy(struct tcp_stack *s)
{
	wheel_cancel(s->env.wheel, &s->listen.timewait.timer);
	rte_free(s->listen.timewait.pool);
}

/* The tuple is the entry's from now on. */
static void enter(struct tcp_conn *c)
{
	struct tcp_stack *s = c->stack;
	struct timewait *t = &s->listen.timewait;
	struct tw *w;

	if (!t->free && t->n_fresh < s->cfg.n_time_wait) {
		t->free = ++t->n_fresh; /* its next is 0 */
	} else if (!t->free) {
		stat_inc(s->stats, WEIR_C_TCP_TIME_WAIT_EVICTED);
		take_out(s, tw_at(s, t->oldest));
	}
	w = tw_at(s, t->free);
	t->free = w->next;
	t->n++;
	*w = (struct tw){
		.flow = c->flow,
		.snd_nxt = c->snd_nxt,
		.rcv_nxt = c->rcv_nxt,
		.wnd = conn_receive_window(c),
		.rcv_wscale = c->has_wscale ? c->rcv_wscale : 0,
		.ts_recent = c->ts_recent,
		.ts_offset = c->ts_offset,
		.has_ts = c->has_ts,
		.is_ours = !c->is_passive,
	};
	push_fifo(s, w);
	flowtab_replace(&s->flows, flowtab_hash(&s->flows, &c->flow), conn_number(c), tw_number(s, w));
	c->has_left = true;
}

void conn_set_time_wait(struct tcp_conn *c)
{
	c->state = TCP_TIME_WAIT;
	conn_cancel(c, TIMER_RTX);
	conn_cancel(c, TIMER_ACK);
	conn_cancel(c, TIMER_IDLE);
	flight_close(c);
	sndq_free(c);
	if (c->ack_now)
		conn_send_control(c, FLAG_ACK, c->snd_nxt);
	enter(c);
	if (c->is_detached)
		conn_drop(c, WEIR_R_CLOSE_NORMAL);
}

void timewait_forget(struct tcp_conn *c)
{
	struct tw *w = timewait_find(c->stack, &c->flow);

	if (w && w->snd_nxt == c->snd_nxt && w->rcv_nxt == c->rcv_nxt)
		take_out(c->stack, w);
}

struct tw *timewait_find(const struct tcp_stack *s, const struct ip_flow *flow)
{
	struct flow_hit hit;

	table_lookup(s, flow, &hit);
	return hit.tw;
}

bool timewait_may_reuse(const struct tcp_stack *s, const struct tw *w)
{
	uint64_t since_us = w->due_us - (uint64_t)s->cfg.time_wait_ms * 1000;

	return w->is_ours && w->has_ts && s->now_us - since_us > REUSE_AFTER_US;
}

void timewait_reuse(struct tcp_stack *s, struct tw *w, uint32_t *min_iss)
{
	*min_iss = w->snd_nxt + 1;
	stat_inc(s->stats, WEIR_C_TCP_TIME_WAIT_REUSED);
	take_out(s, w);
}

bool timewait_is_newer(const struct tw *w, const struct tcp_segment *seg)
{
	bool is_beyond = seq_gt(seg->seq, w->rcv_nxt);
	int32_t later;

	if (!seg->has_ts)
		return is_beyond;
	if (!w->has_ts) /* what is old has no time stamp, and so is told apart */
		return true;
	later = (int32_t)(seg->ts_val - w->ts_recent);
	return later > 0 || (later == 0 && is_beyond);
}

/* A bounded number of ACKs: two that disagree about a tuple must not answer each other for ever. */
static void send_ack(struct tcp_stack *s, struct tw *w)
{
	uint32_t now_ms = (uint32_t)(s->now_us / 1000);
	uint8_t options[TCP_HEADER_MAX - TCP_HEADER_MIN];
	struct reply r = {.seq = w->snd_nxt, .ack = w->rcv_nxt, .flags = FLAG_ACK, .wnd = (uint16_t)(w->wnd >> w->rcv_wscale),
			  .options = options};

	if (now_ms - w->acked_ms >= ACK_INTERVAL_MS) {
		w->acked_ms = now_ms;
		w->n_acks = 0;
	}
	if (w->n_acks >= ACKS_IN_INTERVAL) {
		stat_inc(s->stats, WEIR_C_TCP_ACK_WITHHELD);
		return;
	}
	w->n_acks++;
	if (w->has_ts)
		r.n_options = opt_write_ts(options, ts_clock(s, w->ts_offset), w->ts_recent);
	reply_send(s, &w->flow, &r);
}

/*
 * RFC 9293 3.10.7.4. RST changes nothing (RFC 1337 3, fix F1). The one thing
 * that counts is the peer's FIN again: our ACK was lost. What is neither old
 * nor anything new gets no answer, or two in TIME-WAIT would talk for ever.
 */
void timewait_input(struct tcp_stack *s, struct tw *w, const struct tcp_segment *seg)
{
	enum weir_reason why = WEIR_R_TCP_TIME_WAIT;
	bool is_old = w->has_ts && seg->has_ts && (int32_t)(seg->ts_val - w->ts_recent) < 0;

	if (seg->flags & FLAG_RST) {
		if (seq_gt(seg->seq, w->rcv_nxt) && seq_lt(seg->seq, w->rcv_nxt + w->wnd)) /* RFC 5961 3.2 */
			send_ack(s, w);
		stat_reason(s->stats, why);
		return;
	}
	if (is_old) {
		why = WEIR_R_TCP_PAWS;
		send_ack(s, w);
	} else if (seg->flags & FLAG_SYN) { /* RFC 5961 4 */
		send_ack(s, w);
	} else if (!(seg->flags & FLAG_ACK)) {
		why = WEIR_R_TCP_BAD_FLAGS;
	} else if ((seg->flags & FLAG_FIN) && seg->seq + seg->len + 1 == w->rcv_nxt) {
		if (seg->has_ts)
			w->ts_recent = seg->ts_val;
		send_ack(s, w);
		unlink_fifo(s, w);
		push_fifo(s, w);
	} else if (seg->len || (seg->flags & FLAG_FIN) || seg->seq != w->rcv_nxt || seq_gt(seg->ack, w->snd_nxt)) {
		send_ack(s, w);
	}
	stat_reason(s->stats, why);
}
