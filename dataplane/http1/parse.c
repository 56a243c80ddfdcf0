/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A head, line by line. Bytes are copied once, into the request's buffer;
 * judgement comes only when a line is complete or a limit is reached, so it
 * cannot depend on how the bytes were split.
 */
#include <assert.h>

#include "http1/http1_pvt.h"

#define MAX_EMPTY_LINES 2

enum { FIRST_LINE, FIELDS, ENDED };

static const struct {
	const char *name;
	const char *help;
	unsigned status;
} outcomes[HTTP1_N_OUTCOMES] = {
	[HTTP1_DONE] = {"done", "complete", 0},
	[HTTP1_MORE] = {"more", "more bytes are needed", 0},
#define X(id, code, str, text) [HTTP1_BAD_##id] = {str, text, code},
	HTTP1_BADS(X)
#undef X
};

const char *http1_outcome_name(enum http1_outcome o)
{
	return outcomes[o].name;
}

const char *http1_outcome_help(enum http1_outcome o)
{
	return outcomes[o].help;
}

unsigned http1_outcome_status(enum http1_outcome o)
{
	return outcomes[o].status;
}

static void init(struct http1_parser *p, struct http_head *head, char *buf, const struct http1_limits *limits)
{
	*p = (struct http1_parser){.head = head, .buf = buf, .limits = *limits};
	if (p->limits.n_fields > HTTP_MAX_FIELDS)
		p->limits.n_fields = HTTP_MAX_FIELDS;
	memset(head, 0, offsetof(struct http_head, fields));
}

void http1_request_init(struct http1_parser *p, struct http_head *head, char *buf, const struct http1_limits *limits)
{
	init(p, head, buf, limits);
}

void http1_response_init(struct http1_parser *p, struct http_head *head, char *buf, const struct http1_limits *limits,
			 enum http_method request_method)
{
	init(p, head, buf, limits);
	p->is_response = true;
	p->request_method = (uint8_t)request_method;
}

/* The same authority, at p. It is also the value of Host. */
static void set_authority(struct http_head *h, const char *p)
{
	size_t host_at = (size_t)(h->host.p - h->authority.p);

	for (unsigned i = 0; i < h->n_fields; i++)
		if (h->fields[i].id == HTTP_FIELD_HOST)
			h->fields[i].value.p = p;
	h->authority.p = p;
	h->host.p = p + host_at;
}

/*
 * Host names are compared in lower case. What was copied lies in our buffer;
 * what is parsed in place is not ours to change, and the buffer is free for it.
 */
static void lower_authority(struct http1_parser *p)
{
	struct http_head *h = p->head;
	size_t n = h->authority.n, i = 0;
	char *to = p->buf;

	while (i < n && ascii_lower(h->authority.p[i]) == h->authority.p[i])
		i++;
	if (i == n)
		return;
	if (p->is_in_place)
		p->authority_at = (uint32_t)(h->authority.p - p->base);
	else
		to += h->authority.p - p->buf;
	for (i = 0; i < n; i++)
		to[i] = ascii_lower(h->authority.p[i]);
	set_authority(h, to);
}

static enum http1_outcome end_head(struct http1_parser *p)
{
	enum http1_outcome o = head_finish(p->head, p->is_response, (enum http_method)p->request_method);

	if (o == HTTP1_DONE && !p->is_response)
		lower_authority(p);
	return o;
}

static enum http1_outcome first_line(struct http1_parser *p, struct slice line)
{
	enum http1_outcome o;

	if (line.n == 0 && !p->is_response && p->n_empty < MAX_EMPTY_LINES) {
		p->n_empty++;
		p->n = p->line_start = 0;
		return HTTP1_MORE;
	}
	o = p->is_response ? line_status(p->head, line) : line_request(p->head, line);
	if (o != HTTP1_DONE)
		return o;
	p->state = FIELDS;
	return HTTP1_MORE;
}

static enum http1_outcome field(struct http1_parser *p, struct slice line)
{
	enum http1_outcome o;

	if (p->head->n_fields >= p->limits.n_fields)
		return HTTP1_BAD_TOO_MANY_FIELDS;
	o = line_field(p->head, line, p->is_response);
	return o == HTTP1_DONE ? HTTP1_MORE : o;
}

/* base[0 .. p->n) ends with the LF of a line. MORE: go on with the next one. */
static enum http1_outcome end_line(struct http1_parser *p, const char *base)
{
	struct slice line = slice_of(base + p->line_start, p->n - p->line_start - 1);

	if (line.n == 0 || line.p[line.n - 1] != '\r')
		return HTTP1_BAD_BARE_LF;
	line.n--;
	if (memchr(line.p, '\r', line.n))
		return HTTP1_BAD_BARE_CR;
	p->line_start = p->n;
	if (p->state == FIRST_LINE)
		return first_line(p, line);
	return line.n ? field(p, line) : end_head(p);
}

/* Bytes that the line in work may still take, and what it is when they are not enough. */
static uint32_t room(const struct http1_parser *p, enum http1_outcome *full)
{
	uint32_t left = p->limits.headers_bytes - p->n;
	uint32_t line_left;

	*full = HTTP1_BAD_HEADERS_TOO_LARGE;
	if (p->state != FIRST_LINE)
		return left;
	line_left = p->limits.line_bytes + 2 - (p->n - p->line_start); /* with its CRLF */
	if (line_left > left)
		return left;
	*full = HTTP1_BAD_LINE_TOO_LONG;
	return line_left;
}

enum http1_outcome http1_parse(struct http1_parser *p, const char *data, size_t n, size_t *used)
{
	enum http1_outcome o = HTTP1_MORE;
	size_t i = 0;

	assert(p->state != ENDED);
	while (o == HTTP1_MORE && i < n) {
		const char *lf = memchr(data + i, '\n', n - i);
		size_t take = lf ? (size_t)(lf - (data + i)) + 1 : n - i;
		enum http1_outcome full;
		uint32_t left = room(p, &full);
		bool is_full = take > left || (take == left && !lf);

		if (take > left)
			take = left;
		memcpy(p->buf + p->n, data + i, take);
		p->n += (uint32_t)take;
		i += take;
		if (is_full)
			o = full;
		else if (lf)
			o = end_line(p, p->buf);
	}
	*used = i;
	if (o != HTTP1_MORE)
		p->state = ENDED;
	return o;
}

/* -- in place */

static void move_slice(struct slice *s, const char *from, size_t n, const char *to)
{
	if (s->p >= from && s->p <= from + n) /* not a constant, nor what was put in lower case */
		s->p = to + (s->p - from);
}

/* The n bytes at from lie at to from now on. */
static void move_head(struct http_head *h, const char *from, size_t n, const char *to)
{
	struct slice *slices[] = {&h->method_name, &h->target, &h->path, &h->query, &h->host, &h->authority, &h->reason};

	for (unsigned i = 0; i < sizeof(slices) / sizeof(*slices); i++)
		move_slice(slices[i], from, n, to);
	for (unsigned i = 0; i < h->n_fields; i++) {
		move_slice(&h->fields[i].name, from, n, to);
		move_slice(&h->fields[i].value, from, n, to);
	}
}

/* A line as http1_parse() would read it. MORE and *is_whole: go on with the next one. */
static enum http1_outcome take_line(struct http1_parser *p, const char *base, size_t n, bool *is_whole)
{
	const char *at = base + p->n;
	const char *lf = memchr(at, '\n', n - p->n);
	size_t take = lf ? (size_t)(lf - at) + 1 : n - p->n;
	enum http1_outcome full;
	uint32_t left = room(p, &full);

	*is_whole = lf != NULL;
	if (take > left || (take == left && !lf)) {
		p->n += left;
		return full;
	}
	p->n += (uint32_t)take;
	return lf ? end_line(p, base) : HTTP1_MORE;
}

/* A field line of the usual form and within the limits. */
static bool take_field(struct http1_parser *p, const char *base, size_t n)
{
	uint32_t left = p->limits.headers_bytes - p->n;
	size_t len;

	if (p->state != FIELDS || p->head->n_fields >= p->limits.n_fields)
		return false;
	len = line_field_quick(p->head, base + p->n, n - p->n < left ? n - p->n : left);
	p->line_start = p->n += (uint32_t)len;
	return len != 0;
}

enum http1_outcome http1_parse_in_place(struct http1_parser *p, const char *data, size_t n, size_t *used)
{
	const char *base = data, *end = data + n;
	enum http1_outcome o = HTTP1_MORE;
	bool goes_on = n > 0;

	assert(p->state == FIRST_LINE && !http1_has_begun(p));
	while (goes_on) {
		uint8_t n_empty = p->n_empty;

		if (take_field(p, base, (size_t)(end - base)))
			continue;
		p->is_in_place = true;
		p->base = base;
		o = take_line(p, base, (size_t)(end - base), &goes_on);
		goes_on &= o == HTTP1_MORE;
		if (p->n_empty != n_empty) /* it counts from behind the empty line */
			base = (const char *)memchr(base, '\n', (size_t)(end - base)) + 1;
	}
	*used = (size_t)(base - data) + p->n;
	p->base = base;
	if (o == HTTP1_MORE)
		http1_keep(p);
	else
		p->state = ENDED;
	return o;
}

bool http1_is_in_place(const struct http1_parser *p)
{
	return p->is_in_place;
}

void http1_keep(struct http1_parser *p)
{
	struct http_head *h = p->head;
	bool is_lowered = h->authority.p == p->buf && h->authority.n;

	if (!p->is_in_place)
		return;
	memcpy(p->buf, p->base, p->n);
	move_head(h, p->base, p->n, p->buf);
	p->is_in_place = false;
	if (!is_lowered)
		return;
	set_authority(h, p->buf + p->authority_at); /* as it came: the copy in lower case is gone */
	lower_authority(p);
}

char *http1_rest(const struct http1_parser *p, size_t *n)
{
	*n = p->limits.headers_bytes - p->n; /* in place, an authority in lower case takes less than p->n */
	return p->buf + p->n;
}

bool http1_has_begun(const struct http1_parser *p)
{
	return p->n > 0 || p->n_empty > 0;
}
