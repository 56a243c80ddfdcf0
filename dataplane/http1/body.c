/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Message bodies as they arrive (RFC 9112 6 and 7). Chunked framing is read
 * byte by byte, its lines are short and bounded; payload is only counted.
 */
#include <assert.h>

#include "http1/http1_pvt.h"

#define MAX_CHUNK_LINE 4096 /* size and extensions */
#define MAX_TRAILERS 16384  /* all trailer lines */
#define MAX_SIZE_DIGITS 15  /* cannot overflow 64 bits */

enum {
	SIZE_FIRST, /* the first digit */
	SIZE,
	SIZE_BLANK,	/* white space behind the size: more of it, or ';' */
	EXT_END,	/* behind a quoted value: ';', white space or CR */
	EXT_BLANK,	/* white space behind a whole extension: more of it, or ';' */
	EXT_NAME_FIRST, /* behind ';' */
	EXT_NAME,
	EXT_NAME_END,    /* white space behind the name: '=', ';' or CR */
	EXT_VALUE_FIRST, /* behind '=' */
	EXT_VALUE,
	EXT_QUOTED, /* within a quoted string */
	EXT_ESCAPED,
	SIZE_LF,
	DATA,
	DATA_CR,
	DATA_LF,
	TRAILER_START, /* at the beginning of a line */
	TRAILER_NAME,
	TRAILER_VALUE,
	TRAILER_LF,
	END_LF,
	ENDED,
};

void http1_body_init(struct http1_body *b, const struct http_head *head, bool is_response)
{
	*b = (struct http1_body){.kind = head->body, .is_response = is_response};
	if (b->kind == HTTP_BODY_LENGTH)
		b->remaining = head->content_length;
	if (b->kind == HTTP_BODY_NONE || (b->kind == HTTP_BODY_LENGTH && b->remaining == 0))
		b->state = ENDED;
}

void http1_body_keep_trailers(struct http1_body *b, char *mem, size_t n)
{
	buf_init(&b->trailers, mem, n);
}

bool http1_body_is_done(const struct http1_body *b)
{
	return b->state == ENDED;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* The byte behind the size or a whole extension, or behind white space there: that stands before ';' only (RFC 9112 7.1.1). */
static enum http1_outcome ext_end(struct http1_body *b, char c)
{
	bool is_behind_blank = b->state == SIZE_BLANK || b->state == EXT_BLANK || b->state == EXT_NAME_END;

	if (c == ';')
		b->state = EXT_NAME_FIRST;
	else if (is_blank(c))
		b->state = b->state == SIZE || b->state == SIZE_BLANK ? SIZE_BLANK : EXT_BLANK;
	else if (c == '\r' && !is_behind_blank)
		b->state = SIZE_LF;
	else if (c == '\r' && b->state == SIZE_BLANK)
		return HTTP1_BAD_CHUNK_SIZE;
	else
		return HTTP1_BAD_CHUNK_EXTENSION;
	return HTTP1_MORE;
}

static enum http1_outcome size_byte(struct http1_body *b, char c)
{
	if (is_class(c, CLASS_HEX)) {
		if (b->line_bytes > MAX_SIZE_DIGITS)
			return HTTP1_BAD_CHUNK_SIZE;
		b->remaining = b->remaining << 4 | hex_value(c);
		b->state = SIZE;
		return HTTP1_MORE;
	}
	if (b->state == SIZE_FIRST)
		return HTTP1_BAD_CHUNK_SIZE;
	if (c == ';' || is_blank(c) || c == '\r')
		return ext_end(b, c);
	return c == '\n' ? HTTP1_BAD_BARE_LF : HTTP1_BAD_CHUNK_SIZE;
}

static enum http1_outcome quoted_byte(struct http1_body *b, char c)
{
	if (!is_class(c, CLASS_VALUE))
		return HTTP1_BAD_CHUNK_EXTENSION;
	if (b->state == EXT_ESCAPED)
		b->state = EXT_QUOTED;
	else if (c == '\\')
		b->state = EXT_ESCAPED;
	else if (c == '"')
		b->state = EXT_END;
	return HTTP1_MORE;
}

/*
 * Extensions are read and dropped (RFC 9112 7.1.1), but to the letter: what
 * another reader could take for the end of the line, or for more of the size,
 * is refused.
 */
static enum http1_outcome ext_byte(struct http1_body *b, char c)
{
	bool is_token = is_class(c, CLASS_TOKEN);

	if (b->line_bytes > MAX_CHUNK_LINE)
		return HTTP1_BAD_CHUNK_EXTENSION;
	if (c == '\n' && b->state != EXT_QUOTED && b->state != EXT_ESCAPED)
		return HTTP1_BAD_BARE_LF;
	switch (b->state) {
	case EXT_NAME_FIRST:
	case EXT_VALUE_FIRST:
		if (is_token)
			b->state = b->state == EXT_NAME_FIRST ? EXT_NAME : EXT_VALUE;
		else if (c == '"' && b->state == EXT_VALUE_FIRST)
			b->state = EXT_QUOTED;
		else if (!is_blank(c))
			return HTTP1_BAD_CHUNK_EXTENSION;
		return HTTP1_MORE;
	case EXT_NAME:
	case EXT_NAME_END:
		if (c == '=')
			b->state = EXT_VALUE_FIRST;
		else if (is_blank(c))
			b->state = EXT_NAME_END;
		else if (!is_token || b->state == EXT_NAME_END)
			return ext_end(b, c);
		return HTTP1_MORE;
	case EXT_VALUE:
		return is_token ? HTTP1_MORE : ext_end(b, c);
	case SIZE_BLANK:
	case EXT_END:
	case EXT_BLANK:
		return ext_end(b, c);
	default: /* EXT_QUOTED, EXT_ESCAPED */
		return quoted_byte(b, c);
	}
}

/* A byte of a trailer line, of which nothing is judged but whether it fits. False: it does not. */
static bool keep_byte(struct http1_body *b, char c)
{
	if (b->trailers.p)
		buf_char(&b->trailers, c);
	return !b->trailers.overflow;
}

/* The line is whole: it stays, or goes. */
static enum http1_outcome end_trailer(struct http1_body *b)
{
	struct buf *t = &b->trailers;

	if (++b->n_trailers > HTTP_MAX_FIELDS)
		return HTTP1_BAD_TRAILER;
	if (t->p) {
		const char *line = t->p + b->trailer_at;
		const char *colon = memchr(line, ':', t->n - b->trailer_at);

		if (!trailer_is_forbidden(slice_of(line, (size_t)(colon - line)))) {
			b->trailer_at = (uint32_t)t->n;
			return HTTP1_MORE;
		}
		t->n = b->trailer_at;
	}
	b->n_trailers_dropped++;
	return HTTP1_MORE;
}

static enum http1_outcome trailer_byte(struct http1_body *b, char c)
{
	bool is_end = b->state == TRAILER_START && c == '\r';

	if (b->line_bytes > MAX_TRAILERS || (!is_end && !keep_byte(b, c)))
		return HTTP1_BAD_TRAILER;
	switch (b->state) {
	case TRAILER_START:
		if (c == '\r')
			b->state = END_LF;
		else if (is_class(c, CLASS_TOKEN))
			b->state = TRAILER_NAME;
		else
			return HTTP1_BAD_TRAILER;
		return HTTP1_MORE;
	case TRAILER_NAME:
		if (c == ':')
			b->state = TRAILER_VALUE;
		else if (!is_class(c, CLASS_TOKEN))
			return HTTP1_BAD_TRAILER;
		return HTTP1_MORE;
	default: /* TRAILER_VALUE */
		if (c == '\r')
			b->state = TRAILER_LF;
		else if (!is_class(c, CLASS_VALUE))
			return HTTP1_BAD_TRAILER;
		return HTTP1_MORE;
	}
}

/* A byte of framing. */
static enum http1_outcome framing_byte(struct http1_body *b, char c)
{
	b->line_bytes++;
	switch (b->state) {
	case SIZE_FIRST:
	case SIZE:
		return size_byte(b, c);
	case SIZE_BLANK:
	case EXT_END:
	case EXT_BLANK:
	case EXT_NAME_FIRST:
	case EXT_NAME:
	case EXT_NAME_END:
	case EXT_VALUE_FIRST:
	case EXT_VALUE:
	case EXT_QUOTED:
	case EXT_ESCAPED:
		return ext_byte(b, c);
	case SIZE_LF:
		if (c != '\n')
			return HTTP1_BAD_BARE_CR;
		b->state = b->remaining ? DATA : TRAILER_START;
		b->line_bytes = 0;
		return HTTP1_MORE;
	case DATA_CR:
		b->state = DATA_LF;
		return c == '\r' ? HTTP1_MORE : HTTP1_BAD_CHUNK_END;
	case DATA_LF:
		b->state = SIZE_FIRST;
		b->line_bytes = 0;
		return c == '\n' ? HTTP1_MORE : HTTP1_BAD_CHUNK_END;
	case TRAILER_LF:
		b->state = TRAILER_START;
		if (c != '\n')
			return HTTP1_BAD_BARE_CR;
		return keep_byte(b, c) ? end_trailer(b) : HTTP1_BAD_TRAILER;
	case END_LF:
		b->state = ENDED;
		return c == '\n' ? HTTP1_DONE : HTTP1_BAD_BARE_CR;
	default:
		return trailer_byte(b, c);
	}
}

static enum http1_outcome scan_chunked(struct http1_body *b, const char *data, size_t n, struct http1_run *run)
{
	size_t i = 0;

	while (i < n && b->state != DATA) {
		enum http1_outcome o = framing_byte(b, data[i]);

		i++;
		if (o != HTTP1_MORE) {
			run->skip = i;
			if (o != HTTP1_DONE)
				b->state = ENDED;
			return o;
		}
	}
	run->skip = i;
	if (i == n)
		return HTTP1_MORE;
	run->data = n - i < b->remaining ? n - i : (size_t)b->remaining;
	b->remaining -= run->data;
	if (b->remaining == 0)
		b->state = DATA_CR;
	return HTTP1_MORE;
}

enum http1_outcome http1_body_scan(struct http1_body *b, const char *data, size_t n, struct http1_run *run)
{
	*run = (struct http1_run){0};
	if (b->state == ENDED)
		return HTTP1_DONE;
	switch ((enum http_body_kind)b->kind) {
	case HTTP_BODY_NONE:
		return HTTP1_DONE;
	case HTTP_BODY_LENGTH:
		run->data = n < b->remaining ? n : (size_t)b->remaining;
		b->remaining -= run->data;
		if (b->remaining)
			return HTTP1_MORE;
		b->state = ENDED;
		return HTTP1_DONE;
	case HTTP_BODY_UNTIL_CLOSE:
		run->data = n;
		return HTTP1_MORE;
	case HTTP_BODY_CHUNKED:
		return scan_chunked(b, data, n, run);
	}
	assert(!"body kind");
	return HTTP1_DONE;
}
