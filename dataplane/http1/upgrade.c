/* SPDX-License-Identifier: Apache-2.0 */
/* Upgrade (RFC 9110 7.8): what a request asks for, and whether a 101 answers it. */
#include "http1/http1_pvt.h"

/* The next element of a comma separated list, from *i on; empty ones are skipped. False: there is none. */
static bool next_element(struct slice list, size_t *i, struct slice *e)
{
	size_t end;

	while (*i < list.n && (list.p[*i] == ' ' || list.p[*i] == '\t' || list.p[*i] == ','))
		++*i;
	end = *i;
	while (end < list.n && list.p[end] != ',')
		end++;
	*e = slice_of(list.p + *i, end - *i);
	*i = end;
	while (e->n && (e->p[e->n - 1] == ' ' || e->p[e->n - 1] == '\t'))
		e->n--;
	return e->n > 0;
}

/* protocol-name ["/" protocol-version], both tokens. */
static bool is_protocol(struct slice e)
{
	size_t slash = 0;

	while (slash < e.n && e.p[slash] != '/')
		slash++;
	if (slash == 0 || !is_all(slice_of(e.p, slash), CLASS_TOKEN))
		return false;
	return slash == e.n || (slash + 1 < e.n && is_all(slice_of(e.p + slash + 1, e.n - slash - 1), CLASS_TOKEN));
}

/* h2c, HTTP/2.0 and whatever else is a version of HTTP. */
static bool is_http(struct slice e)
{
	if (slice_eq_nocase(e, SLICE("h2c")) || slice_eq_nocase(e, SLICE("h2")) || slice_eq_nocase(e, SLICE("h3")))
		return true;
	return e.n >= 4 && slice_eq_nocase(slice_of(e.p, 4), SLICE("HTTP")) && (e.n == 4 || e.p[4] == '/');
}

/* A walk over the protocols of all Upgrade fields that may be asked for. */
struct walk {
	const struct http_head *h;
	unsigned field;
	size_t at;
	bool is_bad; /* one is none */
};

static bool next_protocol(struct walk *w, struct slice *e)
{
	for (; w->field < w->h->n_fields; w->field++, w->at = 0) {
		const struct http_field *f = &w->h->fields[w->field];

		while (f->id == HTTP_FIELD_UPGRADE && next_element(f->value, &w->at, e)) {
			w->is_bad |= !is_protocol(*e);
			if (!is_http(*e))
				return true;
		}
	}
	return false;
}

static bool asks_for(const struct http_head *request, struct slice protocol)
{
	struct walk w = {.h = request};
	struct slice e;

	while (next_protocol(&w, &e))
		if (slice_eq_nocase(e, protocol))
			return true;
	return false;
}

bool http1_asks_upgrade(const struct http_head *request)
{
	struct walk w = {.h = request};
	bool is_get = request->method == HTTP_METHOD_GET;
	unsigned n = 0;
	struct slice e;

	if (!request->has_upgrade || request->minor == 0 || request->body != HTTP_BODY_NONE)
		return false;
	while (next_protocol(&w, &e)) {
		n++;
		if (!is_get && slice_eq_nocase(e, SLICE("websocket")))
			return false;
	}
	return n && !w.is_bad;
}

bool http1_is_upgrade_of(const struct http_head *response, const struct http_head *request)
{
	struct walk w = {.h = response};
	unsigned n = 0;
	struct slice e;

	if (response->status != 101 || response->minor == 0 || !response->has_upgrade)
		return false;
	for (unsigned i = 0; i < response->n_fields; i++) {
		size_t at = 0;

		while (response->fields[i].id == HTTP_FIELD_UPGRADE && next_element(response->fields[i].value, &at, &e))
			if (is_http(e))
				return false;
	}
	while (next_protocol(&w, &e)) {
		n++;
		if (w.is_bad || !asks_for(request, e))
			return false;
	}
	return n > 0;
}

void upgrade_write(struct buf *out, const struct http_head *h)
{
	struct walk w = {.h = h};
	struct slice e;
	unsigned n = 0;

	buf_str(out, "Connection: upgrade\r\nUpgrade: ");
	while (next_protocol(&w, &e)) {
		buf_str(out, n++ ? ", " : "");
		buf_slice(out, e);
	}
	buf_str(out, "\r\n");
}
