/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heads for the other side, rebuilt from what was parsed (RFC 9110 7.6):
 * nothing reaches it that the parser did not understand.
 */
#include "http1/http1_pvt.h"

bool http1_is_request_id(struct slice id)
{
	if (id.n == 0 || id.n > 128)
		return false;
	for (size_t i = 0; i < id.n; i++)
		if (id.p[i] <= 0x20 || id.p[i] >= 0x7f)
			return false;
	return true;
}

/* True if f lies in memory just as it would be written: "name: value" CRLF. */
static bool is_plain(const struct http_field *f)
{
	const char *end = f->value.p + f->value.n;

	return f->value.p == f->name.p + f->name.n + 2 && f->name.p[f->name.n] == ':' && f->name.p[f->name.n + 1] == ' ' && end[0] == '\r' && end[1] == '\n';
}

/* The fields that is_dropped() leaves, in their order, as they are after the changes. */
static void write_changed_fields(struct buf *out, const struct http_head *h, struct slice changes,
				 bool (*is_dropped)(const struct http_field *f))
{
	for (unsigned i = 0; i < h->n_fields; i++)
		if (!is_dropped(&h->fields[i]))
			changes_write_field(out, changes, h->fields[i].name, h->fields[i].value);
}

/* Likewise; where nothing is changed, a run of them that lies in memory as it is written goes in one copy. */
static void write_fields(struct buf *out, const struct http_head *h, struct slice changes,
			 bool (*is_dropped)(const struct http_field *f))
{
	struct slice run = slice_of(NULL, 0);

	if (changes.n) {
		write_changed_fields(out, h, changes, is_dropped);
		return;
	}
	for (unsigned i = 0; i < h->n_fields; i++) {
		const struct http_field *f = &h->fields[i];
		size_t n = f->name.n + f->value.n + 4;

		if (is_dropped(f))
			continue;
		if (is_plain(f) && run.n && f->name.p == run.p + run.n) {
			run.n += n;
			continue;
		}
		buf_slice(out, run);
		run = is_plain(f) ? slice_of(f->name.p, n) : slice_of(NULL, 0);
		if (!run.n)
			http1_write_field(out, f->name, f->value);
	}
	buf_slice(out, run);
}

/* Fields that are written anew, or that end here. */
static bool is_dropped_from_request(const struct http_field *f)
{
	switch ((enum http_field_id)f->id) {
	case HTTP_FIELD_HOST:
	case HTTP_FIELD_CONTENT_LENGTH:
	case HTTP_FIELD_TRANSFER_ENCODING:
	case HTTP_FIELD_EXPECT:
	case HTTP_FIELD_X_FORWARDED_FOR:
	case HTTP_FIELD_X_FORWARDED_PROTO:
	case HTTP_FIELD_X_FORWARDED_HOST:
	case HTTP_FIELD_X_FORWARDED_PORT:
	case HTTP_FIELD_FORWARDED:
	case HTTP_FIELD_X_FORWARDED_CLIENT_CERT:
	case HTTP_FIELD_CLIENT_CERT:
	case HTTP_FIELD_CLIENT_CERT_CHAIN:
	case HTTP_FIELD_X_REQUEST_ID:
	case HTTP_FIELD_VIA:
	case HTTP_FIELD_EARLY_DATA:
		return true;
	default:
		return f->hop_by_hop;
	}
}

static void write_framing(struct buf *out, const struct http_head *h)
{
	if (h->body == HTTP_BODY_CHUNKED) {
		buf_str(out, "Transfer-Encoding: chunked\r\n");
	} else if (h->has_length) {
		buf_str(out, "Content-Length: ");
		buf_uint(out, h->content_length, 10);
		buf_str(out, "\r\n");
	}
}

/* "Name: one, two", what was received of this kind, and a comma if more is to follow; its caller ends the line. */
static void begin_list(struct buf *out, const struct http_head *h, enum http_field_id id, struct slice name, bool has_more)
{
	bool is_first = true;

	buf_slice(out, name);
	buf_str(out, ": ");
	for (unsigned i = 0; i < h->n_fields; i++) {
		if (h->fields[i].id != id || h->fields[i].value.n == 0 || h->fields[i].hop_by_hop)
			continue;
		buf_str(out, is_first ? "" : ", ");
		buf_slice(out, h->fields[i].value);
		is_first = false;
	}
	buf_str(out, has_more && !is_first ? ", " : "");
}

/* The values of all fields of this kind, if they are kept, and value at the end, if it is one. */
static void write_list(struct buf *out, const struct http_head *h, struct slice changes, enum http_field_id id, struct slice name,
		       bool is_kept, struct slice value)
{
	if (!is_kept || !(h->seen & http_field_bit(id))) {
		own_write_field(out, changes, name, value);
		return;
	}
	if (changes_take_place_of(changes, name))
		return;
	begin_list(out, h, id, name, value.n != 0);
	buf_slice(out, value);
	buf_str(out, "\r\n");
}

/* RFC 7239. */
static void write_forwarded_elements(struct buf *out, const struct http_head *h, const struct http1_forward *f)
{
	static const struct slice name = {"Forwarded", 9};

	if ((!f->keep_forwarded && !f->add_forwarded) || changes_take_place_of(f->changes, name))
		return;
	if (f->keep_forwarded)
		begin_list(out, h, HTTP_FIELD_FORWARDED, name, f->add_forwarded);
	else
		buf_str(out, "Forwarded: ");
	if (f->add_forwarded)
		forwarded_write_element(out, f->client_ip, f->scheme, h->authority);
	buf_str(out, "\r\n");
}

static void write_max_forwards(struct buf *out, const struct http_head *h, struct slice changes)
{
	char text[16];
	struct buf b;

	buf_init(&b, text, sizeof(text));
	buf_uint(&b, h->max_forwards ? h->max_forwards - 1 : 0, 10);
	own_write_field(out, changes, SLICE("Max-Forwards"), buf_get(&b));
}

static void write_forwarded(struct buf *out, const struct http_head *h, const struct http1_forward *f)
{
	write_list(out, h, f->changes, HTTP_FIELD_X_FORWARDED_FOR, SLICE("X-Forwarded-For"), f->keep_forwarded_for, f->client_ip);
	own_write_field(out, f->changes, SLICE("X-Forwarded-Proto"), f->forwarded_proto);
	own_write_field(out, f->changes, SLICE("X-Forwarded-Host"), f->forwarded_host);
	own_write_field(out, f->changes, SLICE("X-Forwarded-Port"), f->forwarded_port);
	write_forwarded_elements(out, h, f);
	write_list(out, h, f->changes, HTTP_FIELD_X_FORWARDED_CLIENT_CERT, SLICE("X-Forwarded-Client-Cert"), f->keep_xfcc, f->xfcc);
	own_write_field(out, f->changes, SLICE("Client-Cert"), f->client_cert);
	own_write_field(out, f->changes, SLICE("Client-Cert-Chain"), f->client_cert_chain);
	own_write_field(out, f->changes, SLICE("X-Request-Id"), f->request_id);
	write_list(out, h, f->changes, HTTP_FIELD_VIA, SLICE("Via"), true, f->via);
	/* Connection may not name it, and more than one, or another value, means the same (RFC 8470 5.1). No route takes it away. */
	if (f->early_data || h->seen & http_field_bit(HTTP_FIELD_EARLY_DATA))
		buf_str(out, "Early-Data: 1\r\n");
	if (h->has_max_forwards)
		write_max_forwards(out, h, f->changes);
	changes_write(out, f->changes);
}

/* What is of the connection to the backend: the options of Connection, and the fields that they name. */
static void write_connection(struct buf *out, const struct http_head *h, const struct http1_forward *f)
{
	if (f->upgrade)
		upgrade_write(out, h);
	else if (h->takes_trailers) /* the backend may send some: they are passed on */
		buf_str(out, f->close ? "TE: trailers\r\nConnection: close, TE\r\n" : "TE: trailers\r\nConnection: TE\r\n");
	else if (f->close)
		buf_str(out, "Connection: close\r\n");
}

static void write_target(struct buf *out, const struct http_head *h, const struct http1_forward *f)
{
	if (f->has_path)
		path_write(out, f->path_head, f->path_tail);
	else
		buf_slice(out, h->path);
	if (h->query.p) {
		buf_char(out, '?');
		buf_slice(out, h->query);
	}
}

void http1_write_request_head(struct buf *out, const struct http_head *h, const struct http1_forward *f)
{
	buf_slice(out, h->method_name);
	buf_char(out, ' ');
	write_target(out, h, f);
	buf_str(out, " HTTP/1.1\r\n");
	http1_write_field(out, SLICE("Host"), f->host.n ? f->host : h->authority);
	write_fields(out, h, f->changes, is_dropped_from_request);
	write_framing(out, h);
	write_forwarded(out, h, f);
	write_connection(out, h, f);
	buf_str(out, "\r\n");
}

/* The endpoint's own goes on to the client: there is one, and Connection has not taken it away (RFC 9110 7.6.1). */
static bool is_passed_on(const struct http_head *h, enum http_field_id id)
{
	if (!(h->seen & http_field_bit(id)))
		return false;
	for (unsigned i = 0; h->names_fields && i < h->n_fields; i++)
		if (h->fields[i].id == id && h->fields[i].hop_by_hop)
			return false;
	return true;
}

static bool is_dropped_from_response(const struct http_field *f)
{
	return f->hop_by_hop || f->id == HTTP_FIELD_CONTENT_LENGTH || f->id == HTTP_FIELD_TRANSFER_ENCODING;
}

void http1_write_response_head(struct buf *out, const struct http_head *h, const struct http1_forward *f)
{
	buf_str(out, "HTTP/1.1 ");
	buf_uint(out, h->status, 10);
	buf_char(out, ' ');
	if (h->reason.n)
		buf_slice(out, h->reason);
	else
		buf_str(out, http_status_reason(h->status));
	buf_str(out, "\r\n");
	write_fields(out, h, f->changes, is_dropped_from_response);
	if (f->set_cookie.n)
		http1_write_field(out, SLICE("Set-Cookie"), f->set_cookie);
	if (f->upgrade) {
		changes_write(out, f->changes);
		upgrade_write(out, h);
	}
	if (h->status >= 200) {
		if (f->chunked)
			buf_str(out, "Transfer-Encoding: chunked\r\n");
		else if (h->has_length && h->status != 204)
			write_framing(out, h);
		if (!is_passed_on(h, HTTP_FIELD_DATE)) /* RFC 9110 6.6.1 */
			own_write_field(out, f->changes, SLICE("Date"), f->date);
		if (!is_passed_on(h, HTTP_FIELD_X_REQUEST_ID))
			own_write_field(out, f->changes, SLICE("X-Request-Id"), f->request_id);
		changes_write(out, f->changes);
		if (f->close)
			buf_str(out, "Connection: close\r\n");
		else if (f->keep_alive)
			buf_str(out, "Connection: keep-alive\r\n");
	}
	buf_str(out, "\r\n");
}
