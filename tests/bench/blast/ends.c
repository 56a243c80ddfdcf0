/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two ends of HTTP: the client checks each response (status, length, whose
 * it is, every byte), the origin answers each request at once.
 */
#include <stdlib.h>
#include <string.h>

#include "blast.h"
#include "chaos.h"

#define N_PARTIALS 4096u /* heads in pieces at one time */
#define PARTIAL_BYTES 4096u

struct partial {
	uint32_t n;
	uint8_t data[PARTIAL_BYTES];
};

bool ends_init(struct blast *b)
{
	b->partials = calloc(N_PARTIALS, sizeof(*b->partials));
	b->partial_free = calloc(N_PARTIALS, sizeof(*b->partial_free));
	if (!b->partials || !b->partial_free)
		return false;
	for (uint16_t i = 0; i < N_PARTIALS; i++)
		b->partial_free[b->n_partial_free++] = i;
	return true;
}

static void free_partial(struct blast *b, struct tconn *c)
{
	if (c->partial == NO_PARTIAL)
		return;
	b->partial_free[b->n_partial_free++] = c->partial;
	c->partial = NO_PARTIAL;
}

/* Adds to the head that came in pieces. NULL: no buffer, or too long. */
static struct partial *keep(struct blast *b, struct tconn *c, const uint8_t *p, uint32_t n)
{
	struct partial *k;

	if (c->partial == NO_PARTIAL) {
		if (!b->n_partial_free)
			return NULL;
		c->partial = b->partial_free[--b->n_partial_free];
		b->partials[c->partial].n = 0;
	}
	k = &b->partials[c->partial];
	if (k->n + n > PARTIAL_BYTES)
		return NULL;
	memcpy(k->data + k->n, p, n);
	k->n += n;
	return k;
}

struct piece ends_keep(struct blast *b, struct tconn *c, const uint8_t *p, uint32_t n)
{
	const struct partial *k = keep(b, c, p, n);

	return k ? (struct piece){k->data, k->n} : (struct piece){NULL, 0};
}

bool ends_has_kept(const struct tconn *c)
{
	return c->partial != NO_PARTIAL;
}

void ends_drop(struct blast *b, struct tconn *c)
{
	free_partial(b, c);
}

/* The request of this connection, if any, failed; nothing more is sent or taken on it. */
static void fail(struct blast *b, uint32_t index, enum blast_error why)
{
	count_error(b, why);
	tiny_abort(b, &b->client, index);
	free_partial(b, &b->client.conns[index]);
	load_on_closed(b, index, why);
}

void ends_fail(struct blast *b, uint32_t index, enum blast_error why)
{
	fail(b, index, why);
}

/* -- client */

void client_request(struct blast *b, uint32_t index, uint32_t id, uint32_t size, bool is_last, uint64_t start)
{
	struct tconn *c = &b->client.conns[index];

	c->id = id;
	c->size = size;
	c->is_last = is_last;
	c->start = start;
	c->awaits = 1;
	c->has_head = 0;
	c->closes = 0;
	c->got = 0;
	if (b->chaos) {
		tiny_message(b, &b->client, index, chaos_ask(b, index));
		return;
	}
	tiny_message(b, &b->client, index, (uint32_t)content_request_length(&b->content, is_last));
}

/* N_ERRORS: the head is as it has to be. */
static enum blast_error check_head(const struct tconn *c, const struct response_head *h)
{
	if (h->status != 200)
		return E_BAD_STATUS;
	if (!h->has_length || h->length != c->size)
		return E_BAD_LENGTH;
	return h->has_id && h->id == c->id ? N_ERRORS : E_WRONG_ID;
}

/*
 * Takes what of p belongs to the head; *used says how much. False: the head is
 * not complete, or the connection failed.
 */
static bool client_head(struct blast *b, uint32_t index, const uint8_t *p, uint32_t n, uint32_t *used)
{
	struct tconn *c = &b->client.conns[index];
	struct response_head h;
	uint32_t before = c->partial == NO_PARTIAL ? 0 : b->partials[c->partial].n;
	const struct partial *k = NULL;
	enum blast_error e;
	long len = before ? 0 : content_read_response(p, n, &h);

	if (len == 0) {
		k = keep(b, c, p, n);
		len = k ? content_read_response(k->data, k->n, &h) : -1;
	}
	if (len == 0)
		return false;
	e = len < 0 ? E_BAD_HEAD : check_head(c, &h);
	if (e != N_ERRORS) {
		fail(b, index, e);
		return false;
	}
	free_partial(b, c);
	c->has_head = 1;
	*used = (uint32_t)len - before;
	return true;
}

static void client_data(struct blast *b, uint32_t index, const uint8_t *p, uint32_t n)
{
	struct tconn *c = &b->client.conns[index];
	uint32_t used = 0;
	uint32_t k;

	if (!c->awaits) {
		fail(b, index, E_UNASKED);
		return;
	}
	if (!c->has_head && !client_head(b, index, p, n, &used))
		return;
	p += used;
	n -= used;
	k = c->size - c->got < n ? c->size - c->got : n;
	if (n > k) {
		fail(b, index, E_UNASKED);
		return;
	}
	if (!content_is_body(&b->content, c->id, c->got, p, k)) {
		fail(b, index, E_WRONG_BYTES);
		return;
	}
	c->got += k;
	if (c->got < c->size)
		return;
	c->awaits = 0;
	b->counts.responses++;
	b->counts.body_bytes += c->size;
	load_on_response(b, index);
}

/* -- origin */

static void origin_data(struct blast *b, uint32_t index, const uint8_t *p, uint32_t n)
{
	struct end *e = &b->origin;
	struct tconn *c = &e->conns[index];
	long len = c->partial == NO_PARTIAL ? content_read_request(p, n, &c->id, &c->size) : 0;
	bool is_last = false;

	if (len == 0) {
		const struct partial *k = keep(b, c, p, n);

		len = k ? content_read_request(k->data, k->n, &c->id, &c->size) : -1;
		p = k ? k->data : p;
		n = k ? k->n : 0;
	}
	if (len == 0)
		return;
	if (b->is_loop) /* a proxy says this for itself, not for its client */
		is_last = content_is_last_request(p, n);
	free_partial(b, c);
	/* No body, no second request behind the first, and all of the last response acknowledged. */
	if (len != (long)n || c->snd_una != c->out_base + c->out_len) {
		count_error(b, E_ORIGIN_BAD_REQUEST);
		tiny_abort(b, e, index);
		return;
	}
	b->counts.requests_seen++;
	tiny_message(b, e, index, (uint32_t)content_response_length(&b->content, c->size));
	if (is_last)
		tiny_close(b, e, index);
}

/* -- both */

void end_on_open(struct blast *b, struct end *e, uint32_t index)
{
	if (b->chaos)
		chaos_on_open(b, e, index);
	if (!e->is_origin)
		load_on_open(b, index);
}

void end_on_data(struct blast *b, struct end *e, uint32_t index, const uint8_t *p, uint32_t n)
{
	if (b->chaos)
		chaos_data(b, e, index, p, n);
	else if (e->is_origin)
		origin_data(b, index, p, n);
	else
		client_data(b, index, p, n);
}

void end_on_fin(struct blast *b, struct end *e, uint32_t index)
{
	if (e->is_origin || !e->conns[index].awaits) {
		tiny_close(b, e, index);
	} else if (b->chaos && chaos_is_right_cut(b, index, E_EARLY_CLOSE)) {
		tiny_abort(b, e, index);
		free_partial(b, &e->conns[index]);
		load_on_closed(b, index, E_EARLY_CLOSE);
	} else {
		fail(b, index, E_EARLY_CLOSE);
	}
}

/* With faults: a cut that is right, or the end of a connection whose last answer said so while the request still went out. */
static bool is_expected(struct blast *b, uint32_t index, enum blast_error why)
{
	const struct tconn *c = &b->client.conns[index];

	if (!b->chaos)
		return false;
	return c->awaits ? chaos_is_right_cut(b, index, why) : c->closes;
}

void end_on_closed(struct blast *b, struct end *e, uint32_t index, enum blast_error why)
{
	struct tconn *c = &e->conns[index];

	free_partial(b, c);
	if (e->is_origin) {
		b->counts.origin_resets += why != N_ERRORS;
		return;
	}
	if (why != N_ERRORS && !is_expected(b, index, why))
		count_error(b, why);
	load_on_closed(b, index, why);
}
