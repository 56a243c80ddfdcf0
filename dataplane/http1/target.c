/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The request target (RFC 9112 3.2) and the authority: origin-form,
 * absolute-form, asterisk-form with OPTIONS, authority-form with CONNECT.
 */
#include "http1/scan.h"

/* Well-formed percent-encodings only, and none of NUL. */
static bool is_encoding_good(struct slice s)
{
	const char *percent = memchr(s.p, '%', s.n);

	if (!percent)
		return true;
	for (size_t i = (size_t)(percent - s.p); i < s.n; i++) {
		if (s.p[i] != '%')
			continue;
		if (i + 2 >= s.n || !is_class(s.p[i + 1], CLASS_HEX) || !is_class(s.p[i + 2], CLASS_HEX) ||
		    (s.p[i + 1] == '0' && s.p[i + 2] == '0'))
			return false;
		i += 2;
	}
	return true;
}

/* "/path?query" */
static enum http1_outcome parse_path(struct http_head *h, struct slice s)
{
	const char *q = memchr(s.p, '?', s.n);

	if (!is_encoding_good(s))
		return HTTP1_BAD_TARGET;
	h->path = slice_of(s.p, q ? (size_t)(q - s.p) : s.n);
	if (q)
		h->query = slice_of(q + 1, s.n - h->path.n - 1);
	return HTTP1_DONE;
}

/* "http://authority/path?query" */
static enum http1_outcome parse_absolute(struct http_head *h)
{
	static const struct slice root = {"/", 1};
	struct slice t = h->target;
	size_t skip = slice_eq_nocase(slice_of(t.p, t.n < 7 ? t.n : 7), SLICE("http://"))    ? 7
		      : slice_eq_nocase(slice_of(t.p, t.n < 8 ? t.n : 8), SLICE("https://")) ? 8
										       : 0;
	size_t end = skip;
	enum http1_outcome o;

	if (!skip)
		return HTTP1_BAD_TARGET;
	while (end < t.n && t.p[end] != '/' && t.p[end] != '?')
		end++;
	h->authority = slice_of(t.p + skip, end - skip);
	o = authority_parse(h->authority, &h->host);
	if (o != HTTP1_DONE)
		return HTTP1_BAD_TARGET;
	if (end == t.n) {
		h->path = root;
		return HTTP1_DONE;
	}
	if (t.p[end] == '?') {
		o = parse_path(h, slice_of(t.p + end, t.n - end));
		h->path = root;
		return o;
	}
	return parse_path(h, slice_of(t.p + end, t.n - end));
}

enum http1_outcome target_parse(struct http_head *h)
{
	struct slice t = h->target;

	if (t.n == 0 || scan_target(t.p, t.n) != t.n)
		return HTTP1_BAD_TARGET;
	if (h->method == HTTP_METHOD_CONNECT) {
		h->authority = t;
		h->path = t;
		return authority_parse(t, &h->host) == HTTP1_DONE && memchr(t.p, ':', t.n) ? HTTP1_DONE : HTTP1_BAD_TARGET;
	}
	if (t.p[0] == '/')
		return parse_path(h, t);
	if (t.n == 1 && t.p[0] == '*') {
		h->path = t;
		return h->method == HTTP_METHOD_OPTIONS ? HTTP1_DONE : HTTP1_BAD_TARGET;
	}
	return parse_absolute(h);
}

static bool is_port(struct slice s)
{
	unsigned v = 0;

	if (s.n > 5 || !is_all(s, CLASS_DIGIT))
		return false;
	for (size_t i = 0; i < s.n; i++)
		v = v * 10 + (unsigned)(s.p[i] - '0');
	return v <= 65535;
}

/* "[...]": hexadecimal digits, colons and dots, as an address has. */
static size_t bracketed_length(struct slice a)
{
	const char *end = memchr(a.p, ']', a.n);

	if (!end || end - a.p < 3)
		return 0;
	for (const char *p = a.p + 1; p < end; p++)
		if (!is_class(*p, CLASS_HEX) && *p != ':' && *p != '.')
			return 0;
	return (size_t)(end - a.p) + 1;
}

static bool has_empty_label(struct slice host)
{
	for (size_t i = 1; i < host.n; i++)
		if (host.p[i] == '.' && host.p[i - 1] == '.')
			return true;
	return host.p[host.n - 1] == '.';
}

enum http1_outcome authority_parse(struct slice a, struct slice *host)
{
	size_t n = 0;

	if (a.n == 0)
		return HTTP1_BAD_HOST;
	if (a.p[0] == '[') {
		n = bracketed_length(a);
	} else {
		while (n < a.n && is_class(a.p[n], CLASS_HOST))
			n++;
	}
	if (n == 0 || n > 255 || (n < a.n && (a.p[n] != ':' || !is_port(slice_of(a.p + n + 1, a.n - n - 1)))))
		return HTTP1_BAD_HOST;
	*host = slice_of(a.p, n);
	if (n > 1 && a.p[n - 1] == '.') /* the root label of an absolute name */
		host->n--;
	if (host->p[0] == '.' || has_empty_label(*host))
		return HTTP1_BAD_HOST;
	return HTTP1_DONE;
}
