/* SPDX-License-Identifier: Apache-2.0 */
/* Both ends of a load with faults: see chaos.h. */
#include "chaos.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REFUSED_SHARE 0.25 /* of the rate of faults: connections that the origin refuses */
#define SLOW_BYTES 300	   /* the first ones of an answer that comes byte by byte */
#define TOLD_MAX 20
#define ORIGIN_HEAD_MAX 4096 /* of a head with what came in one segment with its end */

#define WATCH_MS 5000	   /* between two looks at a client that waits */
#define PROBES_MAX 24	   /* then it has waited for too long */

static const uint32_t delay_ms[N_DELAYS - 1] = {1, 5, 40};
#define DELAY_LONG (N_DELAYS - 1)

bool chaos_begin(struct blast *b, const struct plan_rates *rates, double stall_s, bool has_mirror)
{
	struct chaos *x = b->chaos;

	if (!x) {
		x = calloc(1, sizeof(*x));
		if (!x)
			return false;
		x->client = calloc(b->client.n, sizeof(*x->client));
		x->origin = calloc(b->origin.n, sizeof(*x->origin));
		x->records = calloc(CHAOS_RECORDS, sizeof(*x->records));
		if (!x->client || !x->origin || !x->records)
			return false; /* and the program ends */
		for (unsigned i = 0; i < N_DELAYS; i++)
			if (!due_init(&x->delay[i], b->origin.n))
				return false;
		if (!due_init(&x->watch, b->client.n))
			return false;
		b->chaos = x;
	}
	x->rates = *rates;
	x->long_ms = (uint32_t)(stall_s * 1000);
	x->has_mirror = has_mirror;
	return true;
}

static struct chaos_record *record_of(struct chaos *x, uint32_t id)
{
	return &x->records[id % CHAOS_RECORDS];
}

bool chaos_refuses(struct blast *b)
{
	if ((double)(blast_random(b) >> 11) >= b->chaos->rates.faults * REFUSED_SHARE * 0x1p53)
		return false;
	b->chaos->n.refused_syns++;
	return true;
}

void chaos_on_open(struct blast *b, const struct end *e, uint32_t index)
{
	struct chaos_conn *k = e->is_origin ? &b->chaos->origin[index] : &b->chaos->client[index];

	bool is_watched = k->is_watched;

	memset(k, 0, sizeof(*k));
	k->is_watched = is_watched;
}

void chaos_fill(const struct blast *b, const struct end *e, const struct tconn *c, uint32_t off, uint32_t n, uint8_t *out)
{
	struct plan p = plan_of(&b->chaos->rates, c->id);

	if (e->is_origin)
		plan_answer(&b->content, &p, b->chaos->origin[c - e->conns].fault, off, n, out);
	else
		plan_request(&b->content, &p, c->is_last, off, n, out);
}

bool chaos_is_slow(const struct blast *b, const struct end *e, uint32_t index)
{
	const struct tconn *c = &e->conns[index];

	return e->is_origin && b->chaos->origin[index].fault == F_BYTE_BY_BYTE && c->snd_nxt - c->out_base < SLOW_BYTES;
}

/* Says on standard error what the records know of an error. */
static void tell(struct blast *b, const struct tconn *c, uint32_t id, const char *what, unsigned status)
{
	struct chaos *x = b->chaos;
	const struct chaos_record *r = record_of(x, id);
	struct plan p = plan_of(&x->rates, id);

	if (x->n_told++ >= TOLD_MAX)
		return;
	fprintf(stderr,
		"weir-blast: id %08x, %s of %u and %u bytes%s, fault %s: %s, status %u, %u bytes came, %u of %u sent; at the origin: seen %u, hit %u, failed %u, "
		"head cut %u, body cut %u, stalled %u, whole %u\n",
		id, p.is_post ? "POST" : "GET", p.post, p.size, p.is_chunked ? " chunked" : "", fault_names[p.fault], what, status, c->got,
		c->snd_una - c->out_base, c->out_len, r->seen, r->hit, r->failed, r->cut_head, r->cut_body, r->stalled, r->whole);
}

/* -- origin */

static void kill_conn(struct blast *b, uint32_t index)
{
	ends_drop(b, &b->origin.conns[index]);
	tiny_abort(b, &b->origin, index);
}

static void close_deaf(struct blast *b, uint32_t index)
{
	b->chaos->origin[index].is_deaf = true;
	tiny_close(b, &b->origin, index);
}

static void delay(struct blast *b, uint32_t index, unsigned which)
{
	uint32_t ms = which == DELAY_LONG ? b->chaos->long_ms : delay_ms[which];

	due_push(&b->chaos->delay[which], index, b->origin.conns[index].id, b->now_ms + ms);
}

/* What the record says of this answer, before the client can see any of it. */
static void note_answer(struct chaos_record *r, uint8_t fault, bool is_late)
{
	switch (fault) {
	case F_RST_IN_HEAD: /* one that comes at once may overtake what was sent: then nothing was answered */
		r->failed += !is_late;
		r->cut_head++;
		break;
	case F_FIN_IN_HEAD:
		r->cut_head++;
		break;
	case F_RST_IN_BODY:
		r->failed += !is_late;
		r->cut_head += !is_late;
		r->cut_body++;
		break;
	case F_FIN_IN_BODY:
	case F_STALL_IN_BODY:
		r->cut_body++;
		break;
	default:
		r->whole++;
	}
}

static void send_answer(struct blast *b, uint32_t index)
{
	struct chaos *x = b->chaos;
	struct chaos_conn *k = &x->origin[index];
	struct tconn *c = &b->origin.conns[index];
	struct plan p = plan_of(&x->rates, c->id);

	k->is_waiting = false;
	k->rst_late = p.hash >> 40 & 1;
	note_answer(record_of(x, c->id), k->fault, k->rst_late);
	tiny_message(b, &b->origin, index, plan_cut(&b->content, &p, k->fault));
	switch (k->fault) {
	case F_CLOSE:
	case F_UNTIL_CLOSE:
		k->has_told = true;
		tiny_close(b, &b->origin, index);
		break;
	case F_CLOSE_UNTOLD:
		tiny_close(b, &b->origin, index);
		break;
	case F_FIN_IN_HEAD:
	case F_FIN_IN_BODY:
		close_deaf(b, index);
		break;
	case F_RST_IN_HEAD:
	case F_RST_IN_BODY:
		k->wants_rst = true;
		break;
	case F_STALE_RST:
	case F_STALE_FIN:
		k->doom = k->fault;
		break;
	case F_CLOSE_LATER:
		delay(b, index, (unsigned)(p.hash >> 48) % DELAY_LONG);
		break;
	default:
		break;
	}
}

/* The whole request has come, or the answer begins earlier. */
static void answer(struct blast *b, uint32_t index)
{
	struct chaos *x = b->chaos;
	struct chaos_conn *k = &x->origin[index];
	const struct tconn *c = &b->origin.conns[index];

	if (k->fault != F_STALL && k->fault != F_STALL_LONG) {
		send_answer(b, index);
		return;
	}
	k->is_waiting = true;
	if (k->fault == F_STALL_LONG)
		record_of(x, c->id)->stalled++;
	delay(b, index, k->fault == F_STALL_LONG ? DELAY_LONG : c->id % DELAY_LONG);
}

/*
 * A client that waits for long asks whether its connection is still there: the
 * reset that ended it may have been lost, and then nothing would ever come.
 */
static void look_at(struct blast *b, uint32_t index)
{
	const struct tconn *c = &b->client.conns[index];
	struct chaos_conn *k = &b->chaos->client[index];

	k->is_watched = false;
	if (c->state != T_OPEN || !c->awaits)
		return;
	k->n_probes = k->watched == c->id ? k->n_probes + 1 : 0;
	k->watched = c->id;
	if (k->n_probes > PROBES_MAX) {
		tell(b, c, c->id, "no answer", 0);
		ends_fail(b, index, E_NO_ANSWER);
		return;
	}
	if (k->n_probes)
		tiny_probe(b, &b->client, index);
	k->is_watched = due_push(&b->chaos->watch, index, 0, b->now_ms + WATCH_MS);
}

void chaos_step(struct blast *b)
{
	struct chaos *x = b->chaos;
	struct due_entry d;

	while (due_pop(&x->watch, b->now_ms, &d))
		look_at(b, d.index);

	for (unsigned i = 0; i < N_DELAYS; i++)
		while (due_pop(&x->delay[i], b->now_ms, &d)) {
			const struct tconn *c = &b->origin.conns[d.index];
			struct chaos_conn *k = &x->origin[d.index];

			if (c->state != T_OPEN || c->id != d.tag)
				continue;
			if (k->is_waiting && i == DELAY_LONG)
				count_error(b, E_NOT_GIVEN_UP);
			if (k->is_waiting)
				send_answer(b, d.index);
			else if (k->fault == F_CLOSE_LATER && !k->is_reading)
				tiny_close(b, &b->origin, d.index);
		}
}

void chaos_on_sent(struct blast *b, struct end *e, uint32_t index)
{
	const struct tconn *c = &e->conns[index];
	uint32_t end = c->out_base + c->out_len;

	if (!e->is_origin || c->state != T_OPEN || !b->chaos->origin[index].wants_rst || c->snd_nxt != end)
		return;
	if (b->chaos->origin[index].rst_late && c->snd_una != end)
		return;
	if (port_room(e->port, c->queue)) /* else it would be lost, and the peer none the wiser */
		kill_conn(b, index);
	else
		tiny_again(e, index);
}

/* Why this head is not what the client sent, or comes where none may; N_ERRORS: it is right. */
static enum blast_error check_request(const struct chaos_conn *k, const struct tconn *c, const struct plan *p, const struct chaos_record *r,
				      const struct request_head *h)
{
	if (r->id != h->id || h->size != p->size || h->is_post != p->is_post || h->is_chunked != p->is_chunked ||
	    (p->is_post && !p->is_chunked && h->length != p->post))
		return E_ORIGIN_BAD_REQUEST;
	if (k->has_told)
		return E_AFTER_CLOSE;
	if (p->is_post && r->seen)
		return E_SENT_TWICE;
	if (!c->fin_wanted && c->snd_una != c->out_base + c->out_len)
		return E_ORIGIN_BAD_REQUEST;
	return N_ERRORS;
}

static void see_request(struct blast *b, uint32_t index, const struct request_head *h)
{
	struct chaos *x = b->chaos;
	struct chaos_conn *k = &x->origin[index];
	struct tconn *c = &b->origin.conns[index];
	struct chaos_record *r = record_of(x, h->id);
	struct plan p = plan_of(&x->rates, h->id);
	enum blast_error e = check_request(k, c, &p, r, h);

	if (e != N_ERRORS) {
		tell(b, c, h->id, "a request that may not be so", 0);
		count_error(b, e);
		kill_conn(b, index);
		return;
	}
	b->counts.requests_seen++;
	x->n.seen_again += r->seen > 0;
	r->seen++;
	if (c->fin_wanted || k->doom) { /* it crossed our FIN; or it is treated as if */
		x->n.stale++;
		r->failed++;
		if (k->doom == F_STALE_FIN && !c->fin_wanted)
			close_deaf(b, index);
		else
			kill_conn(b, index);
		return;
	}
	c->id = h->id;
	c->size = h->size;
	k->fault = r->hit < p.depth ? p.fault : F_NONE;
	r->hit++;
	x->n.fired[k->fault]++;
	body_begin(&k->in, p.is_chunked ? BODY_CHUNKED : p.is_post ? BODY_SIZED : BODY_NONE, p.post, true);
	k->is_reading = true;
	if (k->fault == F_RST_AT_ONCE || k->fault == F_FIN_AT_ONCE) {
		r->failed++;
		if (k->fault == F_RST_AT_ONCE)
			kill_conn(b, index);
		else
			close_deaf(b, index);
	} else if (k->fault == F_EARLY) {
		answer(b, index);
	}
}

static void see_body(struct blast *b, uint32_t index, struct piece *in)
{
	struct chaos_conn *k = &b->chaos->origin[index];
	uint32_t used;
	enum body_state s = body_take(&k->in, &b->content, b->origin.conns[index].id, in->p, in->n, &used);

	in->p += used;
	in->n -= used;
	if (s == BODY_MORE)
		return;
	k->is_reading = false;
	if (s != BODY_DONE || (in->n && k->fault != F_EARLY)) { /* behind one answered already, the next request may come */
		tell(b, &b->origin.conns[index], b->origin.conns[index].id, "a request's body that may not be so", s);
		count_error(b, s == BODY_WRONG_BYTES ? E_ORIGIN_WRONG_BYTES : E_ORIGIN_BAD_REQUEST);
		kill_conn(b, index);
	} else if (k->fault != F_EARLY) {
		answer(b, index);
	}
}

/* One head off *in. False: not all there, or the connection ended. */
static bool origin_head(struct blast *b, uint32_t index, struct piece *in)
{
	struct tconn *c = &b->origin.conns[index];
	struct request_head h;
	long len = content_read_any(in->p, in->n, &h);

	if (len < 0) {
		fprintf(stderr, "weir-blast: malformed at the origin: %.*s\n", (int)in->n, (const char *)in->p);
		count_error(b, E_ORIGIN_BAD_REQUEST);
		kill_conn(b, index);
	}
	if (len <= 0)
		return false;
	in->p += len;
	in->n -= (uint32_t)len;
	see_request(b, index, &h);
	return c->state == T_OPEN && !b->chaos->origin[index].is_deaf;
}

/* A mirror resets, closes, or listens without a word. */
static void mirror_data(struct blast *b, uint32_t index)
{
	b->chaos->n.mirrored++;
	switch (blast_random(b) % 4) {
	case 0:
		b->chaos->origin[index].is_deaf = true;
		break;
	case 1:
		close_deaf(b, index);
		break;
	default:
		kill_conn(b, index);
	}
}

static void origin_data(struct blast *b, uint32_t index, struct piece in)
{
	struct chaos_conn *k = &b->chaos->origin[index];
	struct tconn *c = &b->origin.conns[index];
	uint8_t copy[ORIGIN_HEAD_MAX];

	if (k->is_deaf)
		return;
	if (b->chaos->has_mirror && index >> 16 == b->o.n_origins - 1) {
		mirror_data(b, index);
		return;
	}
	if (ends_has_kept(c)) { /* a head in pieces; what it is with what has come now */
		struct piece whole = ends_keep(b, c, in.p, in.n);

		if (!whole.p || whole.n > sizeof(copy)) {
			count_error(b, E_ORIGIN_BAD_REQUEST);
			kill_conn(b, index);
			return;
		}
		memcpy(copy, whole.p, whole.n);
		in = (struct piece){copy, whole.n};
		ends_drop(b, c);
	}
	do {
		if (!k->is_reading && !origin_head(b, index, &in)) {
			if (in.n && c->state == T_OPEN && !k->is_deaf)
				ends_keep(b, c, in.p, in.n);
			return;
		}
		see_body(b, index, &in);
	} while (in.n && c->state == T_OPEN && !k->is_deaf);
}

/* -- client */

uint32_t chaos_ask(struct blast *b, uint32_t index)
{
	struct chaos *x = b->chaos;
	struct tconn *c = &b->client.conns[index];
	struct plan p = plan_of(&x->rates, c->id);

	*record_of(x, c->id) = (struct chaos_record){.id = c->id};
	c->size = p.size;
	x->n.posts += p.is_post;
	if (!x->client[index].is_watched)
		x->client[index].is_watched = due_push(&x->watch, index, 0, b->now_ms + WATCH_MS);
	return (uint32_t)plan_request(&b->content, &p, c->is_last, 0, 0, NULL);
}

/* Whether Weir's own answer is what this request had to get. */
static bool is_right_status(struct chaos *x, const struct chaos_record *r, const struct plan *p, unsigned status)
{
	if (status == 504)
		return r->stalled > 0;
	if (status != 502)
		return false;
	if (r->cut_head || r->failed >= (p->is_post ? 1 : CHAOS_TRIES))
		return true;
	if (x->n.refusals_used + CHAOS_TRIES - r->failed > x->n.refused_syns) /* each explains one try that failed */
		return false;
	x->n.refusals_used += CHAOS_TRIES - r->failed;
	x->n.by_refusal++;
	return true;
}

/* N_ERRORS: the head may be. */
static enum blast_error take_head(struct blast *b, uint32_t index, const struct response_head *h)
{
	struct chaos *x = b->chaos;
	struct tconn *c = &b->client.conns[index];
	struct chaos_conn *k = &x->client[index];
	struct plan p = plan_of(&x->rates, c->id);
	const struct chaos_record *r = record_of(x, c->id);

	if (h->status < 200)
		return h->status == 103 && p.fault == F_INTERIM ? N_ERRORS : E_BAD_STATUS;
	c->has_head = 1;
	c->closes = h->is_close != 0;
	k->status = (uint16_t)h->status;
	if (h->status != 200 && !is_right_status(x, r, &p, h->status))
		return E_BAD_STATUS;
	if (h->status != 200 && (!h->has_length || h->length > 4096))
		return E_BAD_LENGTH;
	body_begin(&k->in, h->is_chunked ? BODY_CHUNKED : BODY_SIZED, h->status == 200 ? p.size : (uint32_t)h->length, h->status == 200);
	if (h->status != 200)
		return N_ERRORS;
	if (!h->has_id || h->id != c->id)
		return E_WRONG_ID;
	return h->is_chunked == h->has_length || (h->has_length && h->length != p.size) ? E_BAD_LENGTH : N_ERRORS;
}

static void complete(struct blast *b, uint32_t index)
{
	struct chaos *x = b->chaos;
	struct tconn *c = &b->client.conns[index];
	unsigned status = x->client[index].status;

	if (status == 200 && !record_of(x, c->id)->whole) {
		tell(b, c, c->id, "complete, though the origin never sent it whole", status);
		ends_fail(b, index, E_NOT_WHOLE);
		return;
	}
	c->awaits = 0;
	if (status == 200) {
		b->counts.responses++;
		b->counts.body_bytes += c->size;
	}
	x->n.unseen += !record_of(x, c->id)->seen;
	x->n.bad_gateway += status == 502;
	x->n.timeouts += status == 504;
	load_on_response(b, index);
}

/* One head off *in. False: not all there, or the connection failed. */
static bool client_head(struct blast *b, uint32_t index, struct piece *in, bool *is_kept)
{
	struct tconn *c = &b->client.conns[index];
	struct response_head h;
	enum blast_error e;
	long len = 0;

	if (*is_kept || !ends_has_kept(c))
		len = content_read_response(in->p, in->n, &h);
	if (len == 0 && *is_kept) { /* an interim response came before it */
		struct piece rest = *in;
		uint8_t copy[CONTENT_HEAD_MAX];

		if (rest.n > sizeof(copy))
			rest.n = 0;
		memcpy(copy, rest.p, rest.n);
		ends_drop(b, c);
		if (rest.n)
			ends_keep(b, c, copy, rest.n);
		*is_kept = false;
		in->n = 0;
		return false;
	}
	if (len == 0) {
		*in = ends_keep(b, c, in->p, in->n);
		*is_kept = in->p != NULL;
		len = in->p ? content_read_response(in->p, in->n, &h) : -1;
		if (len == 0) {
			*is_kept = false; /* it stays for what comes */
			in->n = 0;
			return false;
		}
	}
	e = len < 0 ? E_BAD_HEAD : take_head(b, index, &h);
	if (e != N_ERRORS) {
		tell(b, c, c->id, error_names[e], len < 0 ? 0 : h.status);
		ends_fail(b, index, e);
		return false;
	}
	in->p += len;
	in->n -= (uint32_t)len;
	return true;
}

static void client_data(struct blast *b, uint32_t index, struct piece in)
{
	static const enum blast_error errors[] = {[BODY_WRONG_FRAMING] = E_BAD_LENGTH, [BODY_WRONG_BYTES] = E_WRONG_BYTES,
						  [BODY_WRONG_LENGTH] = E_BAD_LENGTH};
	struct tconn *c = &b->client.conns[index];
	struct chaos_conn *k = &b->chaos->client[index];
	bool is_kept = false;
	enum body_state s;
	uint32_t used;

	if (!c->awaits) {
		ends_fail(b, index, E_UNASKED);
		return;
	}
	while (!c->has_head)
		if (!client_head(b, index, &in, &is_kept))
			return;
	s = body_take(&k->in, &b->content, c->id, in.p, in.n, &used);
	c->got = k->in.got;
	in.n -= used;
	if (is_kept)
		ends_drop(b, c);
	if (s == BODY_MORE)
		return;
	if (s != BODY_DONE || in.n) {
		enum blast_error e = s == BODY_DONE ? E_UNASKED : errors[s];

		tell(b, c, c->id, error_names[e], k->status);
		ends_fail(b, index, e);
		return;
	}
	complete(b, index);
}

void chaos_data(struct blast *b, struct end *e, uint32_t index, const uint8_t *p, uint32_t n)
{
	struct piece in = {p, n};

	if (e->is_origin)
		origin_data(b, index, in);
	else
		client_data(b, index, in);
}

bool chaos_is_right_cut(struct blast *b, uint32_t index, enum blast_error why)
{
	struct chaos *x = b->chaos;
	const struct tconn *c = &b->client.conns[index];

	if ((why == E_RESET || why == E_EARLY_CLOSE) && record_of(x, c->id)->cut_body) {
		x->n.cuts++;
		return true;
	}
	tell(b, c, c->id, why < N_ERRORS ? error_names[why] : "closed", c->has_head ? x->client[index].status : 0);
	return false;
}
