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

/* Host names are compared in lower case; the bytes are in our buffer (or a constant, which has no letters). */
static void lower_authority(struct http1_parser *p)
{
	const char *a = p->head->authority.p;

	if (!a || a < p->buf || a >= p->buf + p->n)
		return;
	for (size_t i = 0; i < p->head->authority.n; i++)
		p->buf[a - p->buf + (ptrdiff_t)i] = ascii_lower(a[i]);
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
	struct http_head *h = p->head;
	enum http1_outcome o;

	if (h->n_fields >= p->limits.n_fields)
		return HTTP1_BAD_TOO_MANY_FIELDS;
	o = line_field(line, &h->fields[h->n_fields]);
	if (o != HTTP1_DONE)
		return o;
	h->n_fields++;
	return HTTP1_MORE;
}

/* The buffer ends with the LF of a line. MORE: go on with the next one. */
static enum http1_outcome end_line(struct http1_parser *p)
{
	struct slice line = slice_of(p->buf + p->line_start, p->n - p->line_start - 1);

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
			o = end_line(p);
	}
	*used = i;
	if (o != HTTP1_MORE)
		p->state = ENDED;
	return o;
}

bool http1_has_begun(const struct http1_parser *p)
{
	return p->n > 0 || p->n_empty > 0;
}
