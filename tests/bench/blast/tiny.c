/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TCP that is just enough of one: segments are taken in order only, one
 * message is sent at a time and can be made again from its id, windows are
 * obeyed, what is not acknowledged is sent again after a while. No congestion
 * control: the queue to the proxy is the only one, and it is bounded.
 *
 * Input changes state and notes the connection as touched; tiny_flush(), after
 * each burst, sends data, or an acknowledgement where no data carried it.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "blast.h"
#include "chaos.h"
#include "owner.h"

#define CHECK_MS 100	/* how often what is unacknowledged is looked at */
#define RTO_MS 300
#define SYN_RTO_MS 1000 /* RFC 6298 2.1 */
#define SYN_TRIES 5
#define DATA_TRIES 7
#define ACK_NOW 3
#define QUANTUM 16 /* segments of one connection at a time, so that others get room too */

static bool is_before(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

bool end_init(struct end *e, bool is_origin, uint32_t n, struct port *port)
{
	size_t bytes = (size_t)n * sizeof(*e->conns);

	memset(e, 0, sizeof(*e));
	e->is_origin = is_origin;
	e->n = n;
	e->port = port;
	e->conns = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (e->conns == MAP_FAILED)
		return false;
	madvise(e->conns, bytes, MADV_HUGEPAGE);
	return due_init(&e->rto, n) && due_init(&e->ack, n) && due_init(&e->output, n);
}

int64_t end_find(const struct blast *b, const struct end *e, const struct segment *s)
{
	const struct options *o = &b->o;
	uint32_t addr = e->is_origin ? s->src : s->dst;
	uint32_t port = e->is_origin ? s->src_port : s->dst_port;
	uint64_t index;

	if (e->is_origin && !b->is_loop)
		return addr == o->source && s->dst_port == o->origin_port ? (int64_t)((s->dst - o->origin_base) << 16 | port) : -1;
	if (addr < o->client_base || (port - CLIENT_PORT) >> o->port_bits)
		return -1;
	index = (uint64_t)(addr - o->client_base) << o->port_bits | (port - CLIENT_PORT);
	return index < e->n ? (int64_t)index : -1;
}

static struct tuple tuple_of(const struct blast *b, const struct end *e, uint32_t index)
{
	const struct options *o = &b->o;
	uint32_t client = o->client_base + (index >> o->port_bits);
	uint16_t client_port = (uint16_t)(CLIENT_PORT + (index & ((1u << o->port_bits) - 1)));

	if (!e->is_origin)
		return (struct tuple){client, o->target, client_port, o->target_port};
	if (b->is_loop)
		return (struct tuple){o->target, client, o->origin_port, client_port};
	return (struct tuple){o->origin_base + (index >> 16), o->source, o->origin_port, (uint16_t)index};
}

unsigned end_owner(const struct blast *b, const struct end *e, uint32_t index)
{
	struct tuple t = tuple_of(b, e, index);

	return owner_of(&t, b->o.n_queues);
}

/* -- sending */

struct fill {
	struct blast *b;
	const struct end *e;
	const struct tconn *c;
	uint32_t off, len;
};

static void fill_payload(void *ctx, uint8_t *out)
{
	const struct fill *f = ctx;
	const struct tconn *c = f->c;

	if (f->b->chaos)
		chaos_fill(f->b, f->e, c, f->off, f->len, out);
	else if (f->e->is_origin)
		content_response(&f->b->content, c->id, c->size, f->off, f->len, out);
	else
		content_request(&f->b->content, c->is_last, c->id, c->size, f->off, f->len, out);
}

static uint16_t window_field(const struct blast *b, const struct tconn *c, uint8_t flags)
{
	uint32_t wnd = b->o.window;

	if (c->has_wscale && !(flags & SYN))
		wnd >>= WSCALE;
	return (uint16_t)(wnd < UINT16_MAX ? wnd : UINT16_MAX);
}

static bool send_segment(struct blast *b, struct end *e, uint32_t index, uint8_t flags, uint32_t seq, uint32_t len)
{
	struct tconn *c = &e->conns[index];
	struct tuple t = tuple_of(b, e, index);
	struct fill f = {.b = b, .e = e, .c = c, .off = seq - c->out_base, .len = len};
	struct segment s = {
		.src = t.local,
		.dst = t.remote,
		.src_port = t.local_port,
		.dst_port = t.remote_port,
		.seq = seq,
		.ack = flags & ACK ? c->rcv_nxt : 0,
		.flags = flags,
		.wnd = window_field(b, c, flags),
		.len = len,
		.has_ts = c->has_ts,
		.ts_val = b->now_ms,
		.ts_ecr = c->ts_recent,
		.mss = blast_mss(b),
		.has_wscale = c->has_wscale,
		.wscale = WSCALE,
	};

	if (b->scatter)
		c->queue = blast_random(b) % e->port->n_queues & 7;
	if (!port_send(b, e->port, c->queue, &s, fill_payload, &f))
		return false;
	if (flags & ACK)
		c->ack_segs = 0;
	return true;
}

static void arm_rto(struct blast *b, struct end *e, uint32_t index)
{
	struct tconn *c = &e->conns[index];

	if (!c->in_rto)
		c->in_rto = due_push(&e->rto, index, 0, b->now_ms + CHECK_MS);
}

void tiny_again(struct end *e, uint32_t index)
{
	if (!e->conns[index].in_output)
		e->conns[index].in_output = due_push(&e->output, index, 0, 0);
}

static void touch(struct end *e, uint32_t index)
{
	struct tconn *c = &e->conns[index];

	if (c->in_touched)
		return;
	if (e->n_touched == sizeof(e->touched) / sizeof(*e->touched)) { /* called from above, outside of a burst */
		if (!c->in_output)
			c->in_output = due_push(&e->output, index, 0, 0);
		return;
	}
	c->in_touched = 1;
	e->touched[e->n_touched++] = index;
}

/* Bytes of the message that may go now. */
static uint32_t sendable(const struct blast *b, const struct tconn *c)
{
	int32_t left = (int32_t)(c->out_base + c->out_len - c->snd_nxt); /* -1 behind a FIN */
	uint32_t wnd = c->snd_wnd < b->o.flight ? c->snd_wnd : b->o.flight;
	int32_t room = (int32_t)(c->snd_una + wnd - c->snd_nxt);
	uint32_t n = left < c->mss ? (uint32_t)left : c->mss;

	if (room <= 0 || left <= 0)
		return 0;
	if ((uint32_t)room < n) /* a small piece only if nothing else is out (RFC 9293 3.8.6.2.1) */
		n = c->snd_nxt == c->snd_una ? (uint32_t)room : 0;
	return n;
}

static bool is_fin_due(const struct tconn *c)
{
	return c->fin_wanted && c->snd_nxt == c->out_base + c->out_len && c->state == T_OPEN;
}

static void advance(struct blast *b, struct end *e, uint32_t index, uint32_t n)
{
	struct tconn *c = &e->conns[index];

	if (c->snd_nxt == c->snd_una)
		c->progress_ms = b->now_ms;
	c->snd_nxt += n;
	if (is_before(c->snd_max, c->snd_nxt))
		c->snd_max = c->snd_nxt;
	else
		b->counts.retransmits++;
	arm_rto(b, e, index);
}

/* Sends what may be sent. False: the queue has no room, or others are to have their turn. */
static bool pump(struct blast *b, struct end *e, uint32_t index)
{
	struct tconn *c = &e->conns[index];

	for (unsigned i = 0; i < QUANTUM; i++) {
		uint32_t n = c->state == T_OPEN ? sendable(b, c) : 0;
		uint8_t flags = ACK;
		bool is_slow = n && b->chaos && chaos_is_slow(b, e, index);

		n = is_slow ? 1 : n;
		if (c->out_base + c->out_len - c->snd_nxt == n) { /* all that is left of it */
			flags |= n ? PSH : 0;
			flags |= c->fin_wanted && c->state == T_OPEN ? FIN : 0;
		}
		if (!n && !(flags & FIN && is_fin_due(c)))
			return true;
		if (!send_segment(b, e, index, flags, c->snd_nxt, n))
			return false;
		if (flags & FIN)
			c->fin_sent = 1;
		advance(b, e, index, n + !!(flags & FIN));
		if (is_slow)
			return !sendable(b, c);
	}
	return !sendable(b, c);
}

static void serve(struct blast *b, struct end *e, uint32_t index)
{
	struct tconn *c = &e->conns[index];

	if (!pump(b, e, index) && !c->in_output)
		c->in_output = due_push(&e->output, index, 0, 0);
	if (b->chaos)
		chaos_on_sent(b, e, index);
	if (!c->ack_segs)
		return;
	if (c->ack_segs >= 2 || !b->o.ack_ms) {
		if (!send_segment(b, e, index, ACK, c->snd_nxt, 0))
			tiny_again(e, index); /* the peer's memory waits for it, however full our queue */
	} else if (!c->in_ack)
		c->in_ack = due_push(&e->ack, index, 0, b->now_ms + b->o.ack_ms);
}

void tiny_flush(struct blast *b, struct end *e)
{
	unsigned n = e->output.tail - e->output.head;
	struct due_entry d;

	for (unsigned i = 0; i < e->n_touched; i++) {
		e->conns[e->touched[i]].in_touched = 0;
		serve(b, e, e->touched[i]);
	}
	e->n_touched = 0;
	while (n-- && port_room(e->port, e->conns[e->output.entries[e->output.head & e->output.mask].index].queue) &&
	       due_pop(&e->output, 0, &d)) {
		e->conns[d.index].in_output = 0;
		serve(b, e, d.index);
	}
}

/*
 * An answer to a segment that no connection of ours has. A slot whose last
 * connection ended in order is in something like TIME-WAIT, as long as nothing
 * new begins on it: what of that one comes late is not answered by RST.
 */
static void answer_stray(struct blast *b, struct end *e, uint32_t index, const struct segment *s)
{
	struct tconn *c = &e->conns[index];
	struct segment r = {.src = s->dst, .dst = s->src, .src_port = s->dst_port, .dst_port = s->src_port};

	if (s->flags & RST)
		return;
	if (c->state == T_CLOSED && c->fin_sent && c->fin_received && !(s->flags & SYN) && s->ack == c->snd_nxt) {
		if (s->flags & FIN) /* our acknowledgement of it was lost */
			send_segment(b, e, index, ACK, c->snd_nxt, 0);
		return;
	}
	r.flags = s->flags & ACK ? RST : RST | ACK;
	r.seq = s->flags & ACK ? s->ack : 0;
	r.ack = s->flags & ACK ? 0 : s->seq + s->len + !!(s->flags & SYN) + !!(s->flags & FIN);
	port_send(b, e->port, c->queue, &r, NULL, NULL);
}

/* -- the life of a connection */

static void begin(struct blast *b, struct end *e, uint32_t index, enum tiny_state state)
{
	struct tconn *c = &e->conns[index];
	struct tconn old = *c;

	*c = (struct tconn){
		.snd_una = old.snd_max + 0x20000 + (uint32_t)(blast_random(b) & 0xffff), /* beyond the slot's last one */
		.mss = 536,
		.partial = NO_PARTIAL,
		.state = state & 3,
		.queue = old.queue,
		.in_touched = old.in_touched,
		.in_ack = old.in_ack,
		.in_rto = old.in_rto,
		.in_output = old.in_output,
		.has_ts = b->o.timestamps,
		.has_wscale = 1,
	};
	c->snd_nxt = c->snd_max = c->snd_una + 1;
	c->out_base = c->snd_nxt;
	c->progress_ms = b->now_ms;
}

void tiny_connect(struct blast *b, struct end *e, uint32_t index)
{
	begin(b, e, index, T_SYN_SENT);
	e->conns[index].queue = (b->o.steered ? end_owner(b, e, index) : blast_random(b) % e->port->n_queues) & 7;
	send_segment(b, e, index, SYN, e->conns[index].snd_una, 0);
	arm_rto(b, e, index);
}

static void forget(struct blast *b, struct end *e, struct tconn *c)
{
	if (c->state == T_OPEN)
		e->n_open--;
	c->state = T_CLOSED;
	c->ack_segs = 0;
	c->out_base = c->snd_nxt;
	c->out_len = 0;
	c->fin_wanted = 0;
	b->counts.closed++;
}

static void end_conn(struct blast *b, struct end *e, uint32_t index, enum blast_error why)
{
	forget(b, e, &e->conns[index]);
	end_on_closed(b, e, index, why);
}

void tiny_message(struct blast *b, struct end *e, uint32_t index, uint32_t len)
{
	struct tconn *c = &e->conns[index];

	c->out_base = c->snd_nxt;
	c->out_len = len;
	touch(e, index);
}

void tiny_close(struct blast *b, struct end *e, uint32_t index)
{
	e->conns[index].fin_wanted = 1;
	touch(e, index);
}

void tiny_probe(struct blast *b, struct end *e, uint32_t index)
{
	send_segment(b, e, index, ACK, e->conns[index].snd_una - 1, 0); /* RFC 9293 3.8.4 */
}

void tiny_abort(struct blast *b, struct end *e, uint32_t index)
{
	struct tconn *c = &e->conns[index];

	if (c->state == T_CLOSED)
		return;
	send_segment(b, e, index, RST | ACK, c->snd_nxt, 0);
	forget(b, e, c);
}

/* -- receiving */

static void take_options(const struct blast *b, struct tconn *c, const struct segment *s)
{
	c->mss = s->mss && s->mss < blast_mss(b) ? s->mss : blast_mss(b);
	c->has_ts = b->o.timestamps && s->has_ts;
	if (c->has_ts)
		c->mss -= 12;
	c->has_wscale = s->has_wscale;
	c->wscale = s->has_wscale ? s->wscale & 15 : 0;
	c->ts_recent = s->ts_val;
	c->rcv_nxt = s->seq + 1;
	c->snd_wnd = s->wnd;
}

static void open_conn(struct blast *b, struct end *e, uint32_t index)
{
	struct tconn *c = &e->conns[index];

	c->state = T_OPEN;
	c->tries = 0;
	c->progress_ms = b->now_ms;
	e->n_open++;
	if (e->is_origin)
		b->counts.origin_opened++;
	else
		b->counts.opened++;
	end_on_open(b, e, index);
}

static void input_syn_sent(struct blast *b, struct end *e, uint32_t index, const struct segment *s)
{
	struct tconn *c = &e->conns[index];

	if (!(s->flags & ACK) || s->ack != c->snd_nxt) {
		answer_stray(b, e, index, s);
		return;
	}
	if (s->flags & RST) {
		end_conn(b, e, index, E_CONNECT_REFUSED);
		return;
	}
	if (!(s->flags & SYN))
		return;
	take_options(b, c, s);
	c->snd_una = s->ack;
	c->ack_segs = ACK_NOW; /* what the handshake is complete by; data of ours carry it as well */
	touch(e, index);
	open_conn(b, e, index);
}

/* A SYN to the origin. */
static void input_syn(struct blast *b, struct end *e, uint32_t index, const struct segment *s)
{
	struct tconn *c = &e->conns[index];

	if (c->state == T_OPEN || (c->state == T_SYN_RCVD && s->seq + 1 != c->rcv_nxt))
		end_conn(b, e, index, N_ERRORS); /* the proxy forgot the old one */
	if (c->state == T_CLOSED && b->chaos && chaos_refuses(b)) {
		answer_stray(b, e, index, s);
		return;
	}
	if (c->state == T_CLOSED)
		begin(b, e, index, T_SYN_RCVD);
	take_options(b, c, s);
	send_segment(b, e, index, SYN | ACK, c->snd_una, 0);
	arm_rto(b, e, index);
}

static void take_ack(struct blast *b, struct end *e, uint32_t index, const struct segment *s)
{
	struct tconn *c = &e->conns[index];
	uint32_t wnd = (uint32_t)s->wnd << c->wscale;

	if (is_before(c->snd_una, s->ack) && !is_before(c->snd_max, s->ack)) {
		c->snd_una = s->ack;
		if (is_before(c->snd_nxt, c->snd_una))
			c->snd_nxt = c->snd_una;
		c->progress_ms = b->now_ms;
		c->tries = 0;
		c->n_dup = 0;
	} else if (s->ack == c->snd_una && c->snd_nxt != c->snd_una && !s->len && wnd == c->snd_wnd && !(s->flags & FIN) &&
		   c->n_dup < 3 && ++c->n_dup == 3) { /* RFC 5681 3.2; not once more before something new is acknowledged */
		c->snd_nxt = c->snd_una;
	}
	c->snd_wnd = wnd;
	if (c->out_base + c->out_len != c->snd_nxt || c->fin_wanted || b->chaos)
		touch(e, index);
}

/* In order, or cut so that it is: true. A gap or nothing new: false, and an acknowledgement says so. */
static bool is_next(struct blast *b, struct end *e, uint32_t index, struct segment *s)
{
	struct tconn *c = &e->conns[index];
	uint32_t old = c->rcv_nxt - s->seq;

	if (s->seq == c->rcv_nxt)
		return true;
	if (is_before(s->seq, c->rcv_nxt) && old < s->len + !!(s->flags & FIN)) {
		uint32_t cut = old < s->len ? old : s->len;

		s->seq += old;
		s->data += cut;
		s->len -= cut;
		return true;
	}
	b->counts.out_of_order++;
	c->ack_segs = ACK_NOW;
	touch(e, index);
	return false;
}

static void take_data(struct blast *b, struct end *e, uint32_t index, struct segment *s)
{
	struct tconn *c = &e->conns[index];

	if ((!s->len && !(s->flags & FIN)) || !is_next(b, e, index, s))
		return;
	c->rcv_nxt += s->len;
	if (c->ack_segs < 2)
		c->ack_segs++;
	touch(e, index);
	if (s->len)
		end_on_data(b, e, index, s->data, s->len);
	if (!(s->flags & FIN) || c->state != T_OPEN)
		return;
	c->rcv_nxt++;
	c->fin_received = 1;
	c->ack_segs = ACK_NOW;
	end_on_fin(b, e, index);
}

static bool is_finished(const struct tconn *c)
{
	return c->fin_received && c->fin_sent && c->snd_una == c->snd_max;
}

void tiny_input(struct blast *b, struct end *e, uint32_t index, const struct segment *seg, unsigned queue)
{
	struct tconn *c = &e->conns[index];
	struct segment s = *seg;

	c->queue = queue & 7; /* as a NIC that steers by what was sent last */
	if (e->is_origin && (s.flags & (SYN | ACK | RST)) == SYN) {
		input_syn(b, e, index, &s);
		return;
	}
	if (c->state == T_CLOSED) {
		answer_stray(b, e, index, &s);
		return;
	}
	if (c->state == T_SYN_SENT) {
		input_syn_sent(b, e, index, &s);
		return;
	}
	if (s.flags & RST) {
		if (s.seq - c->rcv_nxt <= b->o.window)
			end_conn(b, e, index, E_RESET);
		return;
	}
	if ((s.flags & SYN) || !(s.flags & ACK)) { /* our acknowledgement of the SYN was lost */
		c->ack_segs = ACK_NOW;
		touch(e, index);
		return;
	}
	if (s.has_ts && !is_before(c->rcv_nxt, s.seq))
		c->ts_recent = s.ts_val;
	take_ack(b, e, index, &s);
	if (c->state == T_SYN_RCVD) {
		if (s.ack != c->snd_nxt)
			return;
		open_conn(b, e, index);
	}
	take_data(b, e, index, &s);
	if (c->state == T_OPEN && is_finished(c)) {
		if (c->ack_segs)
			send_segment(b, e, index, ACK, c->snd_nxt, 0);
		end_conn(b, e, index, N_ERRORS);
	}
}

/* -- timers */

static void on_rto(struct blast *b, struct end *e, uint32_t index)
{
	struct tconn *c = &e->conns[index];
	bool is_opening = c->state == T_SYN_SENT || c->state == T_SYN_RCVD;
	bool is_blocked = c->state == T_OPEN && c->snd_nxt != c->out_base + c->out_len + c->fin_sent;

	c->in_rto = 0;
	if (c->state == T_CLOSED || (c->snd_nxt == c->snd_una && !is_blocked))
		return;
	arm_rto(b, e, index);
	if (b->now_ms - c->progress_ms < (uint32_t)(is_opening ? SYN_RTO_MS : RTO_MS) << c->tries)
		return;
	if (c->tries >= (is_opening ? SYN_TRIES : DATA_TRIES)) {
		end_conn(b, e, index, is_opening ? E_CONNECT_TIMEOUT : E_TIMEOUT);
		return;
	}
	c->tries++;
	b->counts.retransmits++;
	if (is_opening) {
		send_segment(b, e, index, c->state == T_SYN_SENT ? SYN : SYN | ACK, c->snd_una, 0);
		return;
	}
	c->n_dup = 0;
	if (c->snd_nxt == c->snd_una && is_blocked && c->snd_wnd == 0) { /* a probe of the closed window */
		send_segment(b, e, index, ACK, c->snd_nxt, 1);
		return;
	}
	c->snd_nxt = c->snd_una; /* and all again */
	touch(e, index);
}

void tiny_timers(struct blast *b, struct end *e)
{
	struct due_entry d;

	while (due_pop(&e->ack, b->now_ms, &d)) {
		struct tconn *c = &e->conns[d.index];

		c->in_ack = 0;
		if (c->ack_segs && c->state == T_OPEN)
			send_segment(b, e, d.index, ACK, c->snd_nxt, 0);
	}
	while (due_pop(&e->rto, b->now_ms, &d))
		on_rto(b, e, d.index);
	tiny_flush(b, e);
}
