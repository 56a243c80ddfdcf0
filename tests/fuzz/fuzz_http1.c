/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a request, a response or a chunked body. The first byte says
 * which, the second how they are split: the split must not matter, and a
 * request that was taken must read the same after it was rebuilt.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http1/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const struct http1_limits limits = {.line_bytes = 300, .headers_bytes = 2000, .n_fields = 20};

#define CHECK(x) \
	do { \
		if (!(x)) \
			abort(); \
	} while (0)

struct parsed {
	enum http1_outcome o;
	size_t used;
	struct http_head h;
	char buf[2000];
};

static void feed(struct parsed *r, const char *s, size_t n, size_t piece, bool is_response)
{
	struct http1_parser p;
	size_t i = 0;

	if (is_response)
		http1_response_init(&p, &r->h, r->buf, &limits, HTTP_METHOD_GET);
	else
		http1_request_init(&p, &r->h, r->buf, &limits);
	r->o = HTTP1_MORE;
	while (i < n && r->o == HTTP1_MORE) {
		size_t k = piece && piece < n - i ? piece : n - i;
		size_t used;

		r->o = http1_parse(&p, s + i, k, &used);
		CHECK(used <= k);
		i += used;
	}
	r->used = i;
}

static void check_inside(const struct parsed *r, struct slice s)
{
	CHECK(s.n == 0 || s.n <= sizeof(r->buf));
	if (s.n && !(s.n == 1 && (*s.p == '/' || *s.p == '*')))
		CHECK(s.p >= r->buf && s.p + s.n <= r->buf + sizeof(r->buf));
}

/* What is copied is put in lower case where it lies: also a host in the target. */
static void check_same_head(const struct http_head *a, const struct http_head *b)
{
	CHECK(slice_eq(a->method_name, b->method_name) && slice_eq_nocase(a->target, b->target) && slice_eq(a->path, b->path));
	CHECK(slice_eq(a->query, b->query) && slice_eq(a->host, b->host) && slice_eq(a->authority, b->authority));
	CHECK(slice_eq(a->reason, b->reason) && a->method == b->method && a->status == b->status && a->minor == b->minor);
	CHECK(a->body == b->body && a->content_length == b->content_length && a->has_length == b->has_length);
	CHECK(a->is_https == b->is_https && a->takes_trailers == b->takes_trailers);
	CHECK(a->has_max_forwards == b->has_max_forwards && a->max_forwards == b->max_forwards);
	CHECK(a->keep_alive == b->keep_alive && a->has_upgrade == b->has_upgrade && a->expect_continue == b->expect_continue);
	CHECK(a->n_fields == b->n_fields && a->seen == b->seen && a->seen_again == b->seen_again);
	for (unsigned i = 0; i < a->n_fields; i++) {
		const struct http_field *f = &a->fields[i], *g = &b->fields[i];

		CHECK(slice_eq(f->name, g->name) && slice_eq(f->value, g->value));
		CHECK(f->id == g->id && f->hop_by_hop == g->hop_by_hop);
	}
}

/* The vectorised way, in place where the whole head is in the first piece, must read as the other does. */
static void check_in_place(const struct parsed *a, const char *s, size_t n, size_t first, bool is_response)
{
	static struct parsed r;
	struct http1_parser p;
	size_t used = 0, more = 0;
	char *copy;

	first = first && first < n ? first : n;
	copy = malloc(first);
	memcpy(copy, s, first); /* of its exact size, and gone when it should not be needed any more */
	if (is_response)
		http1_response_init(&p, &r.h, r.buf, &limits, HTTP_METHOD_GET);
	else
		http1_request_init(&p, &r.h, r.buf, &limits);
	r.o = http1_parse_in_place(&p, copy, first, &used);
	if (r.o == HTTP1_DONE) {
		CHECK(http1_is_in_place(&p));
		check_same_head(&a->h, &r.h);
		http1_keep(&p);
	}
	memset(copy, 'x', first);
	free(copy);
	if (r.o == HTTP1_MORE && first < n)
		r.o = http1_parse(&p, s + first, n - first, &more);
	CHECK(a->o == r.o && a->used == used + more);
	if (a->o == HTTP1_DONE)
		check_same_head(&a->h, &r.h);
}

/* Changes touch neither what the message is nor what follows it, and do what they say. */
static void check_changed(const struct parsed *r, const struct http1_forward *plain)
{
	static struct parsed again;
	static char mem[8192];
	static const struct http1_limits wide = {.line_bytes = 4000, .headers_bytes = 8000, .n_fields = 110};
	static char buf[8000];
	struct http1_forward f = *plain;
	struct http1_parser p;
	char list_mem[256];
	struct buf list;
	struct buf b;
	unsigned n_set = 0;
	size_t used;

	buf_init(&list, list_mem, sizeof(list_mem));
	http1_change_add(&list, HTTP1_CHANGE_SET, SLICE("accept"), SLICE("one"));
	http1_change_add(&list, HTTP1_CHANGE_REMOVE, SLICE("cookie"), SLICE(""));
	f.changes = buf_get(&list);
	f.has_path = true;
	f.path_head = SLICE("/new");
	f.host = SLICE("b.example");
	buf_init(&b, mem, sizeof(mem));
	http1_write_request_head(&b, &r->h, &f);
	CHECK(!b.overflow);
	http1_request_init(&p, &again.h, buf, &wide);
	CHECK(http1_parse(&p, b.p, b.n, &used) == HTTP1_DONE && used == b.n);
	CHECK(slice_eq(again.h.path, f.path_head) && slice_eq(again.h.host, f.host));
	CHECK(slice_eq(again.h.query, r->h.query) && !again.h.query.p == !r->h.query.p);
	CHECK(again.h.body == r->h.body && again.h.content_length == r->h.content_length);
	for (unsigned i = 0; i < again.h.n_fields; i++) {
		CHECK(again.h.fields[i].id != HTTP_FIELD_COOKIE);
		n_set += slice_eq_nocase(again.h.fields[i].name, SLICE("accept"));
	}
	CHECK(n_set == 1);
}

/* Our own element stands for itself behind whatever a good Forwarded says, and Via is one field. */
static void check_forwarded(const struct http_head *h)
{
	const struct http_field *f = http_head_get(h, HTTP_FIELD_FORWARDED);

	CHECK(f && http1_is_forwarded(f->value) && !(h->seen_again & http_field_bit(HTTP_FIELD_FORWARDED)));
	CHECK((h->seen & http_field_bit(HTTP_FIELD_VIA)) && !(h->seen_again & http_field_bit(HTTP_FIELD_VIA)));
}

/* What asks for another protocol asks for it still when it is rebuilt, by one field, and a 101 of that field answers both. */
static void check_upgrade(const struct parsed *r, const struct http1_forward *plain)
{
	static const struct http1_limits wide = {.line_bytes = 4000, .headers_bytes = 8000, .n_fields = 110};
	static struct parsed again, answer;
	static char mem[8192], buf[8000], answer_mem[8192], answer_buf[8000];
	const struct http_field *field;
	struct http1_forward f = *plain;
	struct http1_parser p;
	struct buf b;
	size_t used;

	f.upgrade = true;
	buf_init(&b, mem, sizeof(mem));
	http1_write_request_head(&b, &r->h, &f);
	http1_request_init(&p, &again.h, buf, &wide);
	CHECK(!b.overflow && http1_parse(&p, b.p, b.n, &used) == HTTP1_DONE && used == b.n);
	field = http_head_get(&again.h, HTTP_FIELD_UPGRADE);
	CHECK(http1_asks_upgrade(&again.h) && !(again.h.seen_again & http_field_bit(HTTP_FIELD_UPGRADE)));
	buf_init(&b, answer_mem, sizeof(answer_mem));
	buf_str(&b, "HTTP/1.1 101 \r\nConnection: upgrade\r\n");
	http1_write_field(&b, field->name, field->value);
	buf_str(&b, "\r\n");
	http1_response_init(&p, &answer.h, answer_buf, &wide, HTTP_METHOD_GET);
	CHECK(http1_parse(&p, b.p, b.n, &used) == HTTP1_DONE);
	CHECK(http1_is_upgrade_of(&answer.h, &r->h) && http1_is_upgrade_of(&answer.h, &again.h));
}

static void check_rebuilt(const struct parsed *r)
{
	static const struct http1_forward f = {.client_ip = {"fd00::1", 7}, .forwarded_proto = {"http", 4}, .forwarded_host = {"a", 1},
					       .forwarded_port = {"80", 2}, .scheme = {"http", 4}, .request_id = {"i", 1},
					       .via = {"1.1 weir", 8}, .keep_forwarded_for = true, .add_forwarded = true};
	static struct parsed again;
	static char mem[8192];
	static const struct http1_limits wide = {.line_bytes = 4000, .headers_bytes = 8000, .n_fields = 100};
	static char buf[8000];
	struct http1_parser p;
	struct buf b;
	size_t used;

	if (r->h.method == HTTP_METHOD_CONNECT || r->h.host.n == 0)
		return;
	buf_init(&b, mem, sizeof(mem));
	http1_write_request_head(&b, &r->h, &f);
	CHECK(!b.overflow);
	http1_request_init(&p, &again.h, buf, &wide);
	CHECK(http1_parse(&p, b.p, b.n, &used) == HTTP1_DONE && used == b.n);
	CHECK(slice_eq(again.h.method_name, r->h.method_name));
	CHECK(slice_eq(again.h.path, r->h.path));
	CHECK(slice_eq(again.h.query, r->h.query) && !again.h.query.p == !r->h.query.p);
	CHECK(slice_eq(again.h.authority, r->h.authority));
	CHECK(slice_eq(again.h.host, r->h.host));
	CHECK(again.h.body == r->h.body && again.h.content_length == r->h.content_length);
	check_forwarded(&again.h);
	CHECK(again.h.takes_trailers == r->h.takes_trailers && again.h.has_max_forwards == r->h.has_max_forwards);
	CHECK(!again.h.has_upgrade);
	check_changed(r, &f);
	if (http1_asks_upgrade(&r->h))
		check_upgrade(r, &f);
}

static void fuzz_head(const char *s, size_t n, size_t piece, bool is_response)
{
	static struct parsed a, b;

	feed(&a, s, n, 0, is_response);
	feed(&b, s, n, piece, is_response);
	CHECK(a.o == b.o && a.used == b.used);
	if (n) {
		check_in_place(&a, s, n, 0, is_response);
		check_in_place(&a, s, n, piece * 7, is_response);
	}
	if (a.o != HTTP1_DONE)
		return;
	CHECK(a.h.n_fields == b.h.n_fields && a.h.body == b.h.body && a.h.content_length == b.h.content_length);
	check_inside(&a, a.h.path);
	check_inside(&a, a.h.query);
	check_inside(&a, a.h.host);
	for (unsigned i = 0; i < a.h.n_fields; i++) {
		check_inside(&a, a.h.fields[i].name);
		check_inside(&a, a.h.fields[i].value);
		CHECK(slice_eq(a.h.fields[i].value, b.h.fields[i].value));
	}
	if (!is_response)
		check_rebuilt(&a);
}

/* A chunked body, and what is kept of its trailers. */
struct scanned {
	enum http1_outcome o;
	uint64_t sum;
	size_t used;
	char mem[600];
	struct slice trailers;
	unsigned n_dropped;
};

static void scan(struct scanned *r, const char *s, size_t n, size_t piece)
{
	const struct http_head h = {.body = HTTP_BODY_CHUNKED};
	struct http1_body b;
	size_t i = 0;

	r->sum = 0;
	r->o = HTTP1_MORE;
	http1_body_init(&b, &h, false);
	http1_body_keep_trailers(&b, r->mem, sizeof(r->mem));
	while (i < n && r->o == HTTP1_MORE) {
		size_t k = piece && piece < n - i ? piece : n - i;
		struct http1_run run;

		r->o = http1_body_scan(&b, s + i, k, &run);
		CHECK(run.skip + run.data <= k && (r->o != HTTP1_MORE || run.skip + run.data > 0));
		for (size_t j = 0; j < run.data; j++)
			r->sum = r->sum * 31 + (uint8_t)s[i + run.skip + j];
		i += run.skip + run.data;
	}
	r->used = i;
	r->trailers = http1_body_trailers(&b);
	r->n_dropped = b.n_trailers_dropped;
}

/* Trailers that are passed on read the same at the other end, and none of them is dropped there. */
static void check_trailers(const struct scanned *r)
{
	static struct scanned again;
	char mem[700];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	buf_str(&b, "0\r\n");
	buf_slice(&b, r->trailers);
	buf_str(&b, "\r\n");
	scan(&again, b.p, b.n, 0);
	CHECK(again.o == HTTP1_DONE && again.used == b.n && again.n_dropped == 0 && slice_eq(again.trailers, r->trailers));
}

static void fuzz_body(const char *s, size_t n, size_t piece)
{
	static struct scanned a, b;

	scan(&a, s, n, 0);
	scan(&b, s, n, piece);
	CHECK(a.o == b.o && a.sum == b.sum && a.used == b.used);
	CHECK(slice_eq(a.trailers, b.trailers) && a.n_dropped == b.n_dropped);
	if (a.o == HTTP1_DONE)
		check_trailers(&a);
}

/* Whatever it finds lies in what it was given. */
static void glance(const char *s, size_t n)
{
	struct slice path, host;

	if (!http1_glance(slice_of(s, n), &path, &host))
		return;
	CHECK(path.n && path.p >= s && path.p + path.n <= host.p && host.n && host.p + host.n <= s + n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const char *s = (const char *)data + 2;
	size_t piece;

	if (n < 2)
		return 0;
	piece = 1 + data[1] % 16;
	n -= 2;
	glance(s, n);
	switch (data[0] % 3) {
	case 0:
		fuzz_head(s, n, piece, false);
		break;
	case 1:
		fuzz_head(s, n, piece, true);
		break;
	default:
		fuzz_body(s, n, piece);
	}
	return 0;
}
