/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of http1/ share: byte classes, and the steps of a head. */
#ifndef HTTP1_HTTP1_PVT_H
#define HTTP1_HTTP1_PVT_H

#include "http1/http1.h"

/* Byte classes. */
enum {
	CLASS_TOKEN = 1,  /* tchar, RFC 9110 5.6.2 */
	CLASS_VALUE = 2,  /* field-vchar, obs-text, SP, HTAB */
	CLASS_TARGET = 4, /* visible ASCII that may stand in a request target; no '#' */
	CLASS_HOST = 8,	  /* reg-name with the percent sign of its encodings, without ',' */
	CLASS_HEX = 16,
	CLASS_DIGIT = 32,
};

extern const uint8_t http1_class[256];

static inline bool is_class(char c, unsigned class)
{
	return (http1_class[(uint8_t)c] & class) != 0;
}

static inline bool is_all(struct slice s, unsigned class)
{
	for (size_t i = 0; i < s.n; i++)
		if (!is_class(s.p[i], class))
			return false;
	return true;
}

/* Value of a hexadecimal digit; only for CLASS_HEX. */
static inline unsigned hex_value(char c)
{
	return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
}

/* target.c: the request target, from h->target on: path, query, authority. DONE or BAD_*. */
enum http1_outcome target_parse(struct http_head *h);
/* A Host value, or an authority: sets host (lower-cased in place in mutable memory) and checks the port. */
enum http1_outcome authority_parse(struct slice authority, struct slice *host);
/* True if two authorities, both parsed, name the same host and port (RFC 9110 4.2.3). */
bool authority_eq(struct slice a, struct slice b, uint16_t default_port);

/* line.c: one line without its CRLF. DONE or BAD_*. */
enum http1_outcome line_request(struct http_head *h, struct slice line);
enum http1_outcome line_status(struct http_head *h, struct slice line);
/* A field line becomes h's next field: there is room for it. */
enum http1_outcome line_field(struct http_head *h, struct slice line, bool is_response);
/*
 * The same for a line of the usual form ("name: value" CRLF, no control byte),
 * of which n bytes are there or not. Its length with the CRLF, or 0: it is not
 * whole or not of that form, and the others have to look at it.
 */
size_t line_field_quick(struct http_head *h, const char *p, size_t n);

/* head.c: what the fields mean, once all are there. DONE or BAD_*. */
enum http1_outcome head_finish(struct http_head *h, bool is_response, enum http_method request_method);

/* changes.c: true if one of the changes sets or removes fields of this name. */
bool changes_take_place_of(struct slice changes, struct slice name);
/* A field as it is after the changes: written, or left out because one of them takes its place. */
void changes_write_field(struct buf *out, struct slice changes, struct slice name, struct slice value);
/* What the changes set and add. */
void changes_write(struct buf *out, struct slice changes);

/* trailer.c: true if no trailer field may have this name. */
bool trailer_is_forbidden(struct slice name);

/* forwarded.c: an element of Forwarded; ip as text without brackets, host as of an authority that was parsed, or empty. */
void forwarded_write_element(struct buf *out, struct slice ip, struct slice proto, struct slice host);
/* write.c: a field of our own, if it has a value, as it is after the changes. */
void own_write_field(struct buf *out, struct slice changes, struct slice name, struct slice value);
/* upgrade.c: "Connection: upgrade", and Upgrade with the protocols of h that are carried. */
void upgrade_write(struct buf *out, const struct http_head *h);

/* write.c: a path in two parts; "/" if both are empty. */
void path_write(struct buf *out, struct slice head, struct slice tail);

#endif
