/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fields of a complete head mean together: its body's framing (RFC
 * 9112 6), its connection (9.6), Host (3.2), Expect. Here smuggling ends: two
 * readings of one message are a refusal.
 */
#include "http1/http1_pvt.h"

static bool has(const struct http_head *h, enum http_field_id id)
{
	return h->seen & http_field_bit(id);
}

/* Calls fn for each element of a comma separated list; empty ones are skipped (RFC 9110 5.6.1.2). False ends it. */
static bool each_element(struct slice list, bool (*fn)(void *ctx, struct slice e), void *ctx)
{
	size_t i = 0;

	while (i < list.n) {
		size_t start;
		size_t end;

		while (i < list.n && (list.p[i] == ' ' || list.p[i] == '\t' || list.p[i] == ','))
			i++;
		start = i;
		while (i < list.n && list.p[i] != ',')
			i++;
		end = i;
		while (end > start && (list.p[end - 1] == ' ' || list.p[end - 1] == '\t'))
			end--;
		if (end > start && !fn(ctx, slice_of(list.p + start, end - start)))
			return false;
	}
	return true;
}

/* Fields that no Connection option may take away: without them the message would mean something else. */
static bool is_protected(enum http_field_id id)
{
	switch (id) {
	case HTTP_FIELD_HOST:
	case HTTP_FIELD_CONTENT_LENGTH:
	case HTTP_FIELD_TRANSFER_ENCODING:
	case HTTP_FIELD_COOKIE:
	case HTTP_FIELD_FORWARDED:
	case HTTP_FIELD_X_FORWARDED_FOR:
	case HTTP_FIELD_X_FORWARDED_HOST:
	case HTTP_FIELD_X_FORWARDED_PORT:
	case HTTP_FIELD_X_FORWARDED_PROTO:
	case HTTP_FIELD_X_FORWARDED_CLIENT_CERT:
	case HTTP_FIELD_CLIENT_CERT:
	case HTTP_FIELD_CLIENT_CERT_CHAIN:
		return true;
	default:
		return false;
	}
}

static bool take_connection_option(void *ctx, struct slice e)
{
	struct http_head *h = ctx;

	if (!is_all(e, CLASS_TOKEN) || is_protected(http_field_find(e)))
		return false;
	if (slice_eq_nocase(e, SLICE("close"))) {
		h->keep_alive = false;
		return true;
	}
	if (slice_eq_nocase(e, SLICE("upgrade")))
		h->has_upgrade = http_head_get(h, HTTP_FIELD_UPGRADE) != NULL;
	else
		h->names_fields |= !slice_eq_nocase(e, SLICE("keep-alive")) && !slice_eq_nocase(e, SLICE("te"));
	for (unsigned i = 0; i < h->n_fields; i++)
		if (slice_eq_nocase(h->fields[i].name, e))
			h->fields[i].hop_by_hop = true;
	return true;
}

static bool is_keep_alive_option(void *ctx, struct slice e)
{
	(void)ctx;
	return !slice_eq_nocase(e, SLICE("keep-alive")); /* false ends the search: found */
}

static enum http1_outcome finish_connection(struct http_head *h)
{
	h->keep_alive = h->minor >= 1;
	if (!has(h, HTTP_FIELD_CONNECTION))
		return HTTP1_DONE;
	for (unsigned i = 0; i < h->n_fields; i++) {
		const struct http_field *f = &h->fields[i];

		if (f->id == HTTP_FIELD_CONNECTION && h->minor == 0 && !each_element(f->value, is_keep_alive_option, h))
			h->keep_alive = true;
	}
	for (unsigned i = 0; i < h->n_fields; i++) /* close wins, wherever it stands */
		if (h->fields[i].id == HTTP_FIELD_CONNECTION && !each_element(h->fields[i].value, take_connection_option, h))
			return HTTP1_BAD_CONNECTION;
	return HTTP1_DONE;
}

static bool parse_length(struct slice s, uint64_t *out)
{
	uint64_t v = 0;

	if (s.n == 0 || s.n > 18 || !is_all(s, CLASS_DIGIT)) /* 18 digits cannot overflow */
		return false;
	for (size_t i = 0; i < s.n; i++)
		v = v * 10 + (uint64_t)(s.p[i] - '0');
	*out = v;
	return true;
}

struct codings {
	struct slice last;
	bool has_others; /* than chunked, before the last one */
};

static bool take_coding(void *ctx, struct slice e)
{
	struct codings *c = ctx;

	c->has_others |= c->last.n && !slice_eq_nocase(c->last, SLICE("chunked"));
	c->last = e;
	return true;
}

/*
 * Transfer-Encoding is something else than "chunked" alone. If chunked ends
 * it, the body's length could be known to who knows the other codings: 501
 * (RFC 9112 6.1). Else it is known to nobody: 400 (6.3). So is chunked twice,
 * and beside empty elements, which nobody sends and not all readers skip.
 */
static enum http1_outcome refuse_codings(const struct http_head *h)
{
	struct codings c = {0};

	for (unsigned i = 0; i < h->n_fields; i++)
		if (h->fields[i].id == HTTP_FIELD_TRANSFER_ENCODING)
			each_element(h->fields[i].value, take_coding, &c);
	return c.has_others && slice_eq_nocase(c.last, SLICE("chunked")) ? HTTP1_BAD_TRANSFER_CODING : HTTP1_BAD_TRANSFER_ENCODING;
}

/* Content-Length and Transfer-Encoding, each at most once and never together. */
static enum http1_outcome finish_framing(struct http_head *h, bool *is_chunked)
{
	const struct http_field *te = NULL;

	*is_chunked = false;
	if (!has(h, HTTP_FIELD_CONTENT_LENGTH) && !has(h, HTTP_FIELD_TRANSFER_ENCODING))
		return HTTP1_DONE;
	for (unsigned i = 0; i < h->n_fields; i++) {
		struct http_field *f = &h->fields[i];

		if (f->id == HTTP_FIELD_CONTENT_LENGTH) {
			if (h->has_length || !parse_length(f->value, &h->content_length))
				return HTTP1_BAD_LENGTH;
			h->has_length = true;
		} else if (f->id == HTTP_FIELD_TRANSFER_ENCODING) {
			if (te || !slice_eq_nocase(f->value, SLICE("chunked")))
				return refuse_codings(h);
			te = f;
		}
	}
	if (!te)
		return HTTP1_DONE;
	if (h->minor == 0)
		return HTTP1_BAD_TRANSFER_ENCODING_1_0;
	if (h->has_length)
		return HTTP1_BAD_LENGTH_AND_CHUNKED;
	*is_chunked = true;
	return HTTP1_DONE;
}

static enum http1_outcome finish_host(struct http_head *h)
{
	const struct http_field *host = http_head_get(h, HTTP_FIELD_HOST);
	bool is_absolute = h->authority.p != NULL;
	struct slice name;
	enum http1_outcome o;

	if (h->seen_again & http_field_bit(HTTP_FIELD_HOST))
		return HTTP1_BAD_HOST_MANY;
	if (!host)
		return h->minor >= 1 ? HTTP1_BAD_HOST_MISSING : HTTP1_DONE;
	o = authority_parse(host->value, &name);
	if (o != HTTP1_DONE)
		return o;
	if (is_absolute && !authority_eq(host->value, h->authority, h->is_https ? 443 : 80))
		return HTTP1_BAD_HOST_MISMATCH;
	h->host = name;
	h->authority = host->value;
	return HTTP1_DONE;
}

static bool take_te(void *ctx, struct slice e)
{
	struct http_head *h = ctx;

	h->takes_trailers |= slice_eq_nocase(e, SLICE("trailers"));
	return true;
}

/* Who speaks HTTP/1.0 gets no chunked body, and so no trailers. */
static void finish_te(struct http_head *h)
{
	if (!has(h, HTTP_FIELD_TE) || h->minor == 0)
		return;
	for (unsigned i = 0; i < h->n_fields; i++)
		if (h->fields[i].id == HTTP_FIELD_TE)
			each_element(h->fields[i].value, take_te, h);
}

/* RFC 9110 7.6.2. It is counted for these two methods; in others it is a field as any other. */
static enum http1_outcome finish_max_forwards(struct http_head *h)
{
	uint64_t n;

	if (!has(h, HTTP_FIELD_MAX_FORWARDS) || (h->method != HTTP_METHOD_OPTIONS && h->method != HTTP_METHOD_TRACE))
		return HTTP1_DONE;
	for (unsigned i = 0; i < h->n_fields; i++) {
		if (h->fields[i].id != HTTP_FIELD_MAX_FORWARDS)
			continue;
		if (h->has_max_forwards || !parse_length(h->fields[i].value, &n))
			return HTTP1_BAD_MAX_FORWARDS;
		h->fields[i].hop_by_hop = true;
		h->has_max_forwards = true;
		h->max_forwards = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
	}
	return HTTP1_DONE;
}

static enum http1_outcome finish_expect(struct http_head *h)
{
	if (!has(h, HTTP_FIELD_EXPECT))
		return HTTP1_DONE;
	for (unsigned i = 0; i < h->n_fields; i++) {
		if (h->fields[i].id != HTTP_FIELD_EXPECT)
			continue;
		if (!slice_eq_nocase(h->fields[i].value, SLICE("100-continue")))
			return HTTP1_BAD_EXPECT;
		h->expect_continue = h->minor >= 1; /* RFC 9110 10.1.1: ignored in HTTP/1.0 */
	}
	return HTTP1_DONE;
}

/* RFC 9112 6.3. */
static void finish_response_body(struct http_head *h, bool is_chunked, enum http_method m)
{
	if (m == HTTP_METHOD_HEAD || h->status < 200 || h->status == 204 || h->status == 304)
		h->body = HTTP_BODY_NONE;
	else if (is_chunked)
		h->body = HTTP_BODY_CHUNKED;
	else if (h->has_length)
		h->body = h->content_length ? HTTP_BODY_LENGTH : HTTP_BODY_NONE;
	else
		h->body = HTTP_BODY_UNTIL_CLOSE;
	if (h->body == HTTP_BODY_UNTIL_CLOSE)
		h->keep_alive = false;
}

enum http1_outcome head_finish(struct http_head *h, bool is_response, enum http_method request_method)
{
	bool is_chunked;
	enum http1_outcome o = finish_framing(h, &is_chunked);

	if (o == HTTP1_DONE)
		o = finish_connection(h);
	if (o != HTTP1_DONE)
		return o;
	if (is_response) {
		finish_response_body(h, is_chunked, request_method);
		return HTTP1_DONE;
	}
	h->body = is_chunked ? HTTP_BODY_CHUNKED : h->has_length && h->content_length ? HTTP_BODY_LENGTH : HTTP_BODY_NONE;
	o = finish_host(h);
	if (o == HTTP1_DONE)
		o = finish_expect(h);
	if (o == HTTP1_DONE)
		o = finish_max_forwards(h);
	finish_te(h);
	return o;
}
