/* SPDX-License-Identifier: Apache-2.0 */
/* Small pieces on the wire, and Weir's own answers. */
#include "http1/http1_pvt.h"

void http1_write_chunk_size(struct buf *out, size_t n)
{
	buf_uint(out, n, 16);
	buf_str(out, "\r\n");
}

void http1_write_field(struct buf *out, struct slice name, struct slice value)
{
	size_t n = name.n + value.n + 4;
	char *p = out->p + out->n;

	if (n > out->cap - out->n) {
		out->overflow = true;
		return;
	}
	memcpy(p, name.p, name.n);
	memcpy(p + name.n, ": ", 2);
	if (value.n)
		memcpy(p + name.n + 2, value.p, value.n);
	memcpy(p + n - 2, "\r\n", 2);
	out->n += n;
}

void own_write_field(struct buf *out, struct slice changes, struct slice name, struct slice value)
{
	if (value.n && !changes.n)
		http1_write_field(out, name, value);
	else if (value.n)
		changes_write_field(out, changes, name, value);
}

void path_write(struct buf *out, struct slice head, struct slice tail)
{
	if (head.n + tail.n == 0)
		buf_char(out, '/');
	buf_slice(out, head);
	buf_slice(out, tail);
}

static void write_location(struct buf *out, const struct http1_redirect *r)
{
	buf_str(out, "Location: ");
	buf_slice(out, r->scheme);
	buf_str(out, "://");
	buf_slice(out, r->host);
	if (r->port) {
		buf_char(out, ':');
		buf_uint(out, r->port, 10);
	}
	path_write(out, r->path_head, r->path_tail);
	if (r->query.p) {
		buf_char(out, '?');
		buf_slice(out, r->query);
	}
	buf_str(out, "\r\n");
}

void http1_write_redirect(struct buf *out, const struct http1_redirect *r)
{
	buf_str(out, "HTTP/1.1 ");
	buf_uint(out, r->status, 10);
	buf_char(out, ' ');
	buf_str(out, http_status_reason(r->status));
	buf_str(out, "\r\n");
	if (!changes_take_place_of(r->changes, SLICE("Location")))
		write_location(out, r);
	buf_str(out, "Content-Length: 0\r\n");
	own_write_field(out, r->changes, SLICE("Date"), r->date);
	own_write_field(out, r->changes, SLICE("X-Request-Id"), r->request_id);
	changes_write(out, r->changes);
	if (!r->keep_alive)
		buf_str(out, "Connection: close\r\n");
	else if (r->is_old)
		buf_str(out, "Connection: keep-alive\r\n");
	buf_str(out, "\r\n");
}

void http1_write_error(struct buf *out, const struct http1_error *e)
{
	static const struct slice unchanged = {NULL, 0};
	const char *reason = http_status_reason(e->status);
	/* "status reason: detail\n" */
	size_t n = 3 + 1 + strlen(reason) + 2 + e->detail.n + 1;

	buf_str(out, "HTTP/1.1 ");
	buf_uint(out, e->status, 10);
	buf_char(out, ' ');
	buf_str(out, reason);
	buf_str(out, "\r\n");
	own_write_field(out, unchanged, SLICE("Date"), e->date);
	buf_str(out, "Content-Type: text/plain\r\nContent-Length: ");
	buf_uint(out, n, 10);
	buf_str(out, "\r\n");
	own_write_field(out, unchanged, SLICE("X-Request-Id"), e->request_id);
	if (e->status == 405)
		buf_str(out, "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n");
	if (!e->keep_alive)
		buf_str(out, "Connection: close\r\n");
	else if (e->is_old)
		buf_str(out, "Connection: keep-alive\r\n");
	buf_str(out, "\r\n");
	if (e->is_head)
		return;
	buf_uint(out, e->status, 10);
	buf_char(out, ' ');
	buf_str(out, reason);
	buf_str(out, ": ");
	buf_slice(out, e->detail);
	buf_char(out, '\n');
}
