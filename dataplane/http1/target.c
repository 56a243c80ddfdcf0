/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The request target (RFC 9112 3.2) and the authority: origin-form,
 * absolute-form, asterisk-form with OPTIONS, authority-form with CONNECT.
 */
#include "base/ip.h"
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

static const struct slice root = {"/", 1};

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

/*
 * "http://authority/path?query". Where there is neither path nor query, the
 * path is "/"; with OPTIONS it is "*", for who answers in the end (RFC 9112 3.2.4).
 */
static enum http1_outcome parse_absolute(struct http_head *h)
{
	static const struct slice asterisk = {"*", 1};
	struct slice t = h->target;
	size_t skip = slice_eq_nocase(slice_of(t.p, t.n < 7 ? t.n : 7), SLICE("http://"))    ? 7
		      : slice_eq_nocase(slice_of(t.p, t.n < 8 ? t.n : 8), SLICE("https://")) ? 8
										       : 0;
	size_t end = skip;
	enum http1_outcome o;

	if (!skip)
		return HTTP1_BAD_TARGET;
	h->is_https = skip == 8;
	while (end < t.n && t.p[end] != '/' && t.p[end] != '?')
		end++;
	h->authority = slice_of(t.p + skip, end - skip);
	o = authority_parse(h->authority, &h->host);
	if (o != HTTP1_DONE)
		return HTTP1_BAD_TARGET;
	if (end == t.n) {
		h->path = h->method == HTTP_METHOD_OPTIONS ? asterisk : root;
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
		h->path = root; /* it has none */
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

/* "[...]": an IPv6 address. 0: it is none (IPvFuture, zones and IPv4 among them). */
static size_t bracketed_length(struct slice a)
{
	const char *end = memchr(a.p, ']', a.n);
	struct weir_ip ip;

	if (!end || !memchr(a.p, ':', (size_t)(end - a.p)) || ip_parse(a.p + 1, (size_t)(end - a.p) - 1, &ip) != 0)
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
	if (n == 0 || n > 255 || !is_encoding_good(slice_of(a.p, n)) ||
	    (n < a.n && (a.p[n] != ':' || !is_port(slice_of(a.p + n + 1, a.n - n - 1)))))
		return HTTP1_BAD_HOST;
	*host = slice_of(a.p, n);
	if (n > 1 && a.p[n - 1] == '.') /* the root label of an absolute name */
		host->n--;
	if (host->p[0] == '.' || has_empty_label(*host))
		return HTTP1_BAD_HOST;
	return HTTP1_DONE;
}

bool http1_is_authority(struct slice value)
{
	struct slice host;

	return authority_parse(value, &host) == HTTP1_DONE;
}

/* What stands before the port. */
static struct slice authority_host(struct slice a, uint16_t default_port, uint16_t *port)
{
	const char *from = a.n && a.p[0] == '[' ? memchr(a.p, ']', a.n) : a.p;
	const char *colon = memchr(from, ':', (size_t)(a.p + a.n - from));
	unsigned v = 0;

	*port = default_port;
	if (!colon)
		return a;
	for (const char *p = colon + 1; p < a.p + a.n; p++)
		v = v * 10 + (unsigned)(*p - '0');
	if (colon + 1 < a.p + a.n)
		*port = (uint16_t)v;
	return slice_of(a.p, (size_t)(colon - a.p));
}

bool authority_eq(struct slice a, struct slice b, uint16_t default_port)
{
	uint16_t ports[2];

	if (slice_eq_nocase(a, b))
		return true;
	return slice_eq_nocase(authority_host(a, default_port, &ports[0]), authority_host(b, default_port, &ports[1])) &&
	       ports[0] == ports[1];
}
