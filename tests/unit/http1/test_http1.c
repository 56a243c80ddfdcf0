/* SPDX-License-Identifier: Apache-2.0 */
/* What is taken, what is refused and under which name, and that splits do not matter. */
#include "parsed.h"

static void assert_same_slice(const struct parsed *a, struct slice x, const struct parsed *b, struct slice y)
{
	assert_int_equal(x.n, y.n);
	if (x.p && x.p >= a->buf && x.p < a->buf + sizeof(a->buf))
		assert_int_equal(x.p - a->buf, y.p - b->buf);
	else
		assert_true(slice_eq(x, y));
}

static void assert_same(const struct parsed *a, const struct parsed *b)
{
	assert_int_equal(a->o, b->o);
	assert_int_equal(a->used, b->used);
	if (a->o != HTTP1_DONE)
		return;
	assert_int_equal(a->h.body, b->h.body);
	assert_int_equal(a->h.content_length, b->h.content_length);
	assert_int_equal(a->h.keep_alive, b->h.keep_alive);
	assert_int_equal(a->h.n_fields, b->h.n_fields);
	assert_same_slice(a, a->h.path, b, b->h.path);
	assert_same_slice(a, a->h.query, b, b->h.query);
	assert_same_slice(a, a->h.host, b, b->h.host);
	for (unsigned i = 0; i < a->h.n_fields; i++) {
		assert_same_slice(a, a->h.fields[i].name, b, b->h.fields[i].name);
		assert_same_slice(a, a->h.fields[i].value, b, b->h.fields[i].value);
	}
}

#define H "Host: a.example\r\n"
#define LONG50 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define F "X: y\r\n"

static const struct {
	const char *text;
	const char *outcome;
} requests[] = {
	{"GET / HTTP/1.1\r\n" H "\r\n", "done"},
	{"GET / HTTP/1.1\r\n" H "\r\nmore", "done"},
	{"\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n", "done"},
	{"\r\n\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n", "bad_method"},
	{"GET / HTTP/1.0\r\n\r\n", "done"},
	{"GET / HTTP/1.1\r\n\r\n", "bad_host_missing"},
	{"GET / HTTP/1.1\r\n" H H "\r\n", "bad_host_many"},
	{"GET / HTTP/1.1\r\nHost:\r\n\r\n", "bad_host"},
	{"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "bad_host"},
	{"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "bad_host"},
	{"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", "bad_host"},
	{"GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", "bad_host"},
	{"GET / HTTP/1.1\r\nHost: a:8a\r\n\r\n", "bad_host"},
	{"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", "bad_host"},
	{"GET / HTTP/1.1\r\nHost: a!$&'()*+;=~_b%4A\r\n\r\n", "done"},
	{"GET / HTTP/1.1\r\nHost: a%4\r\n\r\n", "bad_host"},
	{"GET / HTTP/1.1\r\nHost: a%00\r\n\r\n", "bad_host"},
	{"GET / HTTP/1.1\r\nHost: [1::2::3]\r\n\r\n", "bad_host"},
	{"GET / HTTP/1.1\r\nHost: [10.0.0.1]\r\n\r\n", "bad_host"},
	{"GET / HTTP/1.1\r\nHost: [::ffff:10.0.0.1]\r\n\r\n", "done"},
	{"GET / HTTP/1.1\r\nHost: [v1.a:b]\r\n\r\n", "bad_host"},
	{"GET / HTTP/1.1\r\nHost: []\r\n\r\n", "bad_host"},
	{"GET / HTTP/1.1\r\nHost: .\r\n\r\n", "bad_host"},
	{"GET / HTTP/1.1\r\nHost: a..b\r\n\r\n", "bad_host"},
	{"GET / HTTP/1.1\r\nHost: a..\r\n\r\n", "bad_host"},
	{"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", "bad_host"},
	{"GET / HTTP/1.1\r\nHost: A.Example.:8080\r\n\r\n", "done"},
	{"GET / HTTP/1.1\r\nHost: [2001:DB8::1]:80\r\n\r\n", "done"},
	{"GET / HTTP/1.1\n" H "\r\n", "bad_bare_lf"},
	{"GET / HTTP/1.1\r\nHost: a\n\r\n", "bad_bare_lf"},
	{"GET / HTTP/1.1\r\n" H "\n", "bad_bare_lf"},
	{"GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n", "bad_bare_cr"},
	{"GET / HTTP/1.1\r\r\n" H "\r\n", "bad_bare_cr"},
	{"GET /\rx HTTP/1.1\r\n" H "\r\n", "bad_bare_cr"},
	{"G ET / HTTP/1.1\r\n" H "\r\n", "bad_version"},
	{"GE(T / HTTP/1.1\r\n" H "\r\n", "bad_method"},
	{" GET / HTTP/1.1\r\n" H "\r\n", "bad_method"},
	{"GET\t/ HTTP/1.1\r\n" H "\r\n", "bad_method"},
	{"GET  / HTTP/1.1\r\n" H "\r\n", "bad_version"},
	{"GET / HTTP/1.1 \r\n" H "\r\n", "bad_version"},
	{"GET /\r\n" H "\r\n", "bad_version"},
	{"GET / http/1.1\r\n" H "\r\n", "bad_version"},
	{"GET / HTTP/1.2\r\n" H "\r\n", "done"},
	{"GET / HTTP/1.9\r\n\r\n", "bad_host_missing"},
	{"GET / HTTP/2.0\r\n" H "\r\n", "bad_version_unsupported"},
	{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "bad_version_unsupported"},
	{"GET / HTTP/11\r\n" H "\r\n", "bad_version"},
	{"GET x HTTP/1.1\r\n" H "\r\n", "bad_target"},
	{"GET * HTTP/1.1\r\n" H "\r\n", "bad_target"},
	{"OPTIONS * HTTP/1.1\r\n" H "\r\n", "done"},
	{"GET /a#b HTTP/1.1\r\n" H "\r\n", "bad_target"},
	{"GET /a\\b HTTP/1.1\r\n" H "\r\n", "bad_target"},
	{"GET /a\"b HTTP/1.1\r\n" H "\r\n", "bad_target"},
	{"GET /a<b HTTP/1.1\r\n" H "\r\n", "bad_target"},
	{"GET /a^`b?{c|d} HTTP/1.1\r\n" H "\r\n", "done"},
	{"GET /a%2 HTTP/1.1\r\n" H "\r\n", "bad_target"},
	{"GET /a%zz HTTP/1.1\r\n" H "\r\n", "bad_target"},
	{"GET /a%00 HTTP/1.1\r\n" H "\r\n", "bad_target"},
	{"GET /\x80 HTTP/1.1\r\n" H "\r\n", "bad_target"},
	{"GET /\x01 HTTP/1.1\r\n" H "\r\n", "bad_target"},
	{"GET /a%20b?c=%2F&d HTTP/1.1\r\n" H "\r\n", "done"},
	{"GET http://a.example/x?y HTTP/1.1\r\n" H "\r\n", "done"},
	{"GET http://a.example HTTP/1.1\r\n" H "\r\n", "done"},
	{"GET http://a.example?q HTTP/1.1\r\n" H "\r\n", "done"},
	{"GET http://b.example/ HTTP/1.1\r\n" H "\r\n", "bad_host_mismatch"},
	{"GET http://a.example:80/ HTTP/1.1\r\n" H "\r\n", "done"},
	{"GET http://a.example:/ HTTP/1.1\r\n" H "\r\n", "done"},
	{"GET http://a.example:443/ HTTP/1.1\r\n" H "\r\n", "bad_host_mismatch"},
	{"GET https://a.example/ HTTP/1.1\r\nHost: A.Example:443\r\n\r\n", "done"},
	{"GET https://a.example:80/ HTTP/1.1\r\n" H "\r\n", "bad_host_mismatch"},
	{"GET http://[::1]:80/ HTTP/1.1\r\nHost: [::1]\r\n\r\n", "done"},
	{"OPTIONS http://a.example HTTP/1.1\r\n" H "\r\n", "done"},
	{"GET http://u@a.example/ HTTP/1.1\r\n" H "\r\n", "bad_target"},
	{"GET ftp://a.example/ HTTP/1.1\r\n" H "\r\n", "bad_target"},
	{"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n", "done"},
	{"CONNECT / HTTP/1.1\r\n" H "\r\n", "bad_target"},
	{"GET / HTTP/1.1\r\n" H "X : y\r\n\r\n", "bad_field_name"},
	{"GET / HTTP/1.1\r\n" H ": y\r\n\r\n", "bad_field_name"},
	{"GET / HTTP/1.1\r\n" H "X\r\n\r\n", "bad_field_name"},
	{"GET / HTTP/1.1\r\n" H "X\x80: y\r\n\r\n", "bad_field_name"},
	{"GET / HTTP/1.1\r\n" H " X: y\r\n\r\n", "bad_obs_fold"},
	{"GET / HTTP/1.1\r\n" H "X: y\r\n\tz\r\n\r\n", "bad_obs_fold"},
	{"GET / HTTP/1.1\r\n" H "X: y\x01\r\n\r\n", "bad_field_value"},
	{"GET / HTTP/1.1\r\n" H "X: y\x7f\r\n\r\n", "bad_field_value"},
	{"GET / HTTP/1.1\r\n" H "X:\t y \xc3\xa4\tz  \r\n\r\n", "done"},
	{"POST / HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello", "done"},
	{"POST / HTTP/1.1\r\n" H "Content-Length: +5\r\n\r\n", "bad_length"},
	{"POST / HTTP/1.1\r\n" H "Content-Length: 5, 5\r\n\r\n", "bad_length"},
	{"POST / HTTP/1.1\r\n" H "Content-Length: 0x5\r\n\r\n", "bad_length"},
	{"POST / HTTP/1.1\r\n" H "Content-Length:\r\n\r\n", "bad_length"},
	{"POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", "bad_length"},
	{"POST / HTTP/1.1\r\n" H "Content-Length: 99999999999999999999\r\n\r\n", "bad_length"},
	{"POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "bad_length_and_chunked"},
	{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: Chunked\r\n\r\n", "done"},
	{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n", "bad_transfer_coding"},
	{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n", "bad_transfer_coding"},
	{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, gzip\r\n\r\n", "bad_transfer_encoding"},
	{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, chunked\r\n\r\n", "bad_transfer_encoding"},
	{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: , chunked\r\n\r\n", "bad_transfer_encoding"},
	{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, identity\r\n\r\n", "bad_transfer_encoding"},
	{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n", "bad_transfer_encoding"},
	{"POST / HTTP/1.1\r\n" H "Transfer-Encoding:\r\n\r\n", "bad_transfer_encoding"},
	{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "bad_transfer_encoding"},
	{"POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n", "bad_transfer_encoding_1_0"},
	{"GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\n", "done"},
	{"GET / HTTP/1.1\r\n" H "Connection: a b\r\n\r\n", "bad_connection"},
	{"GET / HTTP/1.1\r\n" H "Connection: Host\r\n\r\n", "bad_connection"},
	{"GET / HTTP/1.1\r\n" H "Connection: content-length\r\n\r\n", "bad_connection"},
	{"GET / HTTP/1.1\r\n" H "Expect: 100-Continue\r\n\r\n", "done"},
	{"GET / HTTP/1.1\r\n" H "Expect: 200\r\n\r\n", "bad_expect"},
	{"OPTIONS / HTTP/1.1\r\n" H "Max-Forwards: 1\r\n\r\n", "done"},
	{"OPTIONS / HTTP/1.1\r\n" H "Max-Forwards: -1\r\n\r\n", "bad_max_forwards"},
	{"TRACE / HTTP/1.1\r\n" H "Max-Forwards:\r\n\r\n", "bad_max_forwards"},
	{"OPTIONS / HTTP/1.1\r\n" H "Max-Forwards: 1\r\nmax-forwards: 1\r\n\r\n", "bad_max_forwards"},
	{"GET / HTTP/1.1\r\n" H "Max-Forwards: x\r\n\r\n", "done"},
	{"GET /" LONG50 LONG50 LONG50 LONG50 " HTTP/1.1\r\n" H "\r\n", "bad_line_too_long"},
	{"GET / HTTP/1.1\r\n" H F F F F F F F F F "\r\n", "done"},
	{"GET / HTTP/1.1\r\n" H F F F F F F F F F F "\r\n", "bad_too_many_fields"},
	{"GET / HTTP/1.1\r\n" H "A: " LONG50 LONG50 LONG50 LONG50 LONG50 LONG50 LONG50 LONG50 LONG50 LONG50 LONG50 LONG50 LONG50
	 LONG50 LONG50 LONG50 LONG50 LONG50 LONG50 LONG50 "\r\n\r\n", "bad_headers_too_large"},
	{"GET / HTTP/1.1\r\nHost: a", "more"},
	{"", "more"},
};

static const struct {
	const char *text;
	const char *outcome;
} responses[] = {
	{"HTTP/1.1 200 OK\r\n\r\n", "done"},
	{"HTTP/1.1 200 \r\n\r\n", "done"},
	{"HTTP/1.1 200\r\n\r\n", "done"},
	{"HTTP/1.0 200 OK fine\r\nA: b\r\n\r\n", "done"},
	{"HTTP/1.2 200 OK\r\n\r\n", "done"},
	{"HTTP/1.1 200 OK\r\nA : b\r\nC\t \t:d\r\n\r\n", "done"},
	{"HTTP/1.1 200 OK\r\nA b: c\r\n\r\n", "bad_field_name"},
	{"HTTP/1.1 200 OK\r\n : c\r\n\r\n", "bad_obs_fold"},
	{"HTTP/1.1 200 OK\r\nA \r\n\r\n", "bad_field_name"},
	{"HTTP/1.1 99 OK\r\n\r\n", "bad_status_line"},
	{"HTTP/1.1 600 OK\r\n\r\n", "bad_status_line"},
	{"HTTP/1.1 2000 OK\r\n\r\n", "bad_status_line"},
	{"HTTP/1.1  200 OK\r\n\r\n", "bad_status_line"},
	{"HTTP/2.0 200 OK\r\n\r\n", "bad_status_line"},
	{"HTTP/1.1 200 O\x01K\r\n\r\n", "bad_status_line"},
	{"\r\nHTTP/1.1 200 OK\r\n\r\n", "bad_status_line"},
	{"HTTP/1.1 200 OK\n\n", "bad_bare_lf"},
	{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "bad_length_and_chunked"},
	{"HTTP/1.1 200 OK\r\nContent-Length: a\r\n\r\n", "bad_length"},
};

static void check_one(const char *text, size_t n, const char *outcome, bool is_response)
{
	static struct parsed whole, split;

	feed(&whole, text, n, 0, 0, is_response);
	if (strcmp(http1_outcome_name(whole.o), outcome) != 0)
		fail_msg("%s\ngave %s, wanted %s", text, http1_outcome_name(whole.o), outcome);
	for (size_t piece = 1; piece < 5; piece++) {
		feed(&split, text, n, piece, 0, is_response);
		assert_same(&whole, &split);
	}
	for (size_t cut = 1; cut < n; cut++) {
		feed(&split, text, n, 0, cut, is_response);
		assert_same(&whole, &split);
	}
}

static void requests_are_taken_or_refused_by_name_whatever_the_split(void **state)
{
	for (size_t i = 0; i < sizeof(requests) / sizeof(*requests); i++)
		check_one(requests[i].text, strlen(requests[i].text), requests[i].outcome, false);
	check_one("GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n", 30, "bad_field_value", false);
	check_one("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 35, "bad_field_value", false);
}

static void responses_are_taken_or_refused_by_name_whatever_the_split(void **state)
{
	for (size_t i = 0; i < sizeof(responses) / sizeof(*responses); i++)
		check_one(responses[i].text, strlen(responses[i].text), responses[i].outcome, true);
}

static void every_refusal_has_a_status_for_the_client(void **state)
{
	for (unsigned o = HTTP1_MORE + 1; o < HTTP1_N_OUTCOMES; o++) {
		assert_in_range(http1_outcome_status((enum http1_outcome)o), 400, 599);
		assert_string_not_equal(http_status_reason(http1_outcome_status((enum http1_outcome)o)), "");
		assert_true(strlen(http1_outcome_help((enum http1_outcome)o)) > 5);
	}
}
static void head_says_what_the_message_is(void **state)
{
	static struct parsed r;
	const char *t = "POST /a%20b?c=d HTTP/1.1\r\nhost: Shop.Example.:8080\r\nConnection: x-one , close\r\nX-One: 1\r\n"
			"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n";

	feed(&r, t, strlen(t), 0, 0, false);
	assert_int_equal(r.o, HTTP1_DONE);
	assert_int_equal(r.h.method, HTTP_METHOD_POST);
	assert_text(r.h.path, "/a%20b");
	assert_text(r.h.query, "c=d");
	assert_text(r.h.host, "shop.example");
	assert_text(r.h.authority, "shop.example.:8080");
	assert_int_equal(r.h.body, HTTP_BODY_CHUNKED);
	assert_false(r.h.keep_alive);
	assert_true(r.h.expect_continue);
	assert_true(r.h.fields[2].hop_by_hop); /* named in Connection */
	assert_false(r.h.fields[0].hop_by_hop);
}

static void white_space_before_the_colon_of_a_response_is_left_out(void **state)
{
	static struct parsed r;
	const char *t = "HTTP/1.1 200 OK\r\nContent-Length \t: 5\r\nX : y\r\n\r\n";
	const struct http1_forward f = {0};
	char mem[256];
	struct buf b;

	feed(&r, t, strlen(t), 0, 0, true);
	assert_int_equal(r.o, HTTP1_DONE);
	assert_int_equal(r.h.body, HTTP_BODY_LENGTH);
	assert_int_equal(r.h.content_length, 5);
	buf_init(&b, mem, sizeof(mem));
	http1_write_response_head(&b, &r.h, &f);
	assert_text(buf_get(&b), "HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 5\r\n\r\n");
}

static void path_of_other_forms_is_that_of_the_server(void **state)
{
	static const struct {
		const char *text, *path;
		bool is_https;
	} cases[] = {
		{"GET https://a.example HTTP/1.1\r\n" H "\r\n", "/", true},
		{"OPTIONS http://a.example HTTP/1.1\r\n" H "\r\n", "*", false},
		{"OPTIONS http://a.example/ HTTP/1.1\r\n" H "\r\n", "/", false},
		{"OPTIONS http://a.example?q HTTP/1.1\r\n" H "\r\n", "/", false},
		{"CONNECT A:05 HTTP/1.0\r\n\r\n", "/", false},
	};
	static struct parsed r;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		feed(&r, cases[i].text, strlen(cases[i].text), 0, 0, false);
		assert_int_equal(r.o, HTTP1_DONE);
		assert_text(r.h.path, cases[i].path);
		assert_int_equal(r.h.is_https, cases[i].is_https);
	}
}

static void keep_alive_follows_version_and_connection(void **state)
{
	static const struct {
		const char *text;
		bool keep_alive;
	} cases[] = {
		{"GET / HTTP/1.1\r\n" H "\r\n", true},
		{"GET / HTTP/1.0\r\n\r\n", false},
		{"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true},
		{"GET / HTTP/1.0\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n", false},
		{"GET / HTTP/1.1\r\n" H "Connection: keep-alive, Close\r\n\r\n", false},
	};
	static struct parsed r;

	for (size_t i = 0; i < 5; i++) {
		feed(&r, cases[i].text, strlen(cases[i].text), 0, 0, false);
		assert_int_equal(r.o, HTTP1_DONE);
		assert_int_equal(r.h.keep_alive, cases[i].keep_alive);
	}
}

static void response_body_follows_method_status_and_framing(void **state)
{
	static const struct {
		const char *text;
		enum http_method m;
		enum http_body_kind body;
	} cases[] = {
		{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", HTTP_METHOD_GET, HTTP_BODY_LENGTH},
		{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", HTTP_METHOD_HEAD, HTTP_BODY_NONE},
		{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", HTTP_METHOD_GET, HTTP_BODY_NONE},
		{"HTTP/1.1 204 No\r\n\r\n", HTTP_METHOD_GET, HTTP_BODY_NONE},
		{"HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n", HTTP_METHOD_GET, HTTP_BODY_NONE},
		{"HTTP/1.1 100 Go\r\n\r\n", HTTP_METHOD_GET, HTTP_BODY_NONE},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_METHOD_GET, HTTP_BODY_CHUNKED},
		{"HTTP/1.1 200 OK\r\n\r\n", HTTP_METHOD_GET, HTTP_BODY_UNTIL_CLOSE},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		static struct http_head h;
		static char buf[1024];
		struct http1_parser p;
		size_t used;

		http1_response_init(&p, &h, buf, &limits, cases[i].m);
		assert_int_equal(http1_parse(&p, cases[i].text, strlen(cases[i].text), &used), HTTP1_DONE);
		assert_int_equal(h.body, cases[i].body);
	}
}

/* Runs a chunked body in pieces; collects the payload. */
static enum http1_outcome scan(const char *s, size_t n, size_t piece, char *out, size_t *n_out, size_t *used)
{
	struct http_head h = {.body = HTTP_BODY_CHUNKED};
	struct http1_body b;
	enum http1_outcome o = HTTP1_MORE;
	size_t i = 0;

	*n_out = 0;
	http1_body_init(&b, &h, false);
	while (i < n && o == HTTP1_MORE) {
		size_t k = piece && piece < n - i ? piece : n - i;
		struct http1_run run;

		o = http1_body_scan(&b, s + i, k, &run);
		assert_true(run.skip + run.data <= k);
		assert_true(o != HTTP1_MORE || run.skip + run.data > 0);
		memcpy(out + *n_out, s + i + run.skip, run.data);
		*n_out += run.data;
		i += run.skip + run.data;
	}
	*used = i;
	return o;
}

static void chunked_bodies_are_read_or_refused_whatever_the_split(void **state)
{
	static const struct {
		const char *text;
		const char *outcome;
		const char *payload;
	} cases[] = {
		{"5\r\nhello\r\n0\r\n\r\nGET", "done", "hello"},
		{"5\r\nhello\r\n00a\r\n0123456789\r\n000\r\n\r\n", "done", "hello0123456789"},
		{"5;a=b;c=\"d\\\"e\"\r\nhello\r\n0;x\r\nT: v\r\nU:\r\n\r\n", "done", "hello"},
		{"5 ;a\r\nhello\r\n0\r\n\r\n", "done", "hello"},
		{"5 \r\nhello\r\n0\r\n\r\n", "bad_chunk_size", ""},
		{"5\t \r\nhello\r\n0\r\n\r\n", "bad_chunk_size", ""},
		{"5;a \r\nhello\r\n0\r\n\r\n", "bad_chunk_extension", ""},
		{"5;a=b \r\nhello\r\n0\r\n\r\n", "bad_chunk_extension", ""},
		{"5;a=\"b\" \r\nhello\r\n0\r\n\r\n", "bad_chunk_extension", ""},
		{"5;a=\"b\" ;c\r\nhello\r\n0\r\n\r\n", "done", "hello"},
		{"A\r\n0123456789\r\n0\r\n\r\n", "done", "0123456789"},
		{"\r\n", "bad_chunk_size", ""},
		{"x\r\n", "bad_chunk_size", ""},
		{"-1\r\n", "bad_chunk_size", ""},
		{"0x5\r\n", "bad_chunk_size", ""},
		{"5\nhello\r\n0\r\n\r\n", "bad_bare_lf", ""},
		{"5\rhello", "bad_bare_cr", ""},
		{"1000000000000000\r\n", "bad_chunk_size", ""},
		{"5\r\nhelloX", "bad_chunk_end", "hello"},
		{"5\r\nhello\r0", "bad_chunk_end", "hello"},
		{"5;a\x01\r\n", "bad_chunk_extension", ""},
		{"5;a\n", "bad_bare_lf", ""},
		{"5 ; a = b ; c\r\nhello\r\n0\r\n\r\n", "done", "hello"},
		{"5 5\r\n", "bad_chunk_extension", ""},
		{"5 a\r\n", "bad_chunk_extension", ""},
		{"5;\r\n", "bad_chunk_extension", ""},
		{"5;;a\r\n", "bad_chunk_extension", ""},
		{"5;=a\r\n", "bad_chunk_extension", ""},
		{"5;a=\r\n", "bad_chunk_extension", ""},
		{"5;a b\r\n", "bad_chunk_extension", ""},
		{"5;a==b\r\n", "bad_chunk_extension", ""},
		{"5;a=b=c\r\n", "bad_chunk_extension", ""},
		{"5;\"a\"\r\n", "bad_chunk_extension", ""},
		{"5;a=\"b\"c\r\n", "bad_chunk_extension", ""},
		{"5;a=\"b\r\n\"\r\n", "bad_chunk_extension", ""},
		{"0\r\nT v\r\n\r\n", "bad_trailer", ""},
		{"0\r\n T: v\r\n\r\n", "bad_trailer", ""},
		{"0\r\nT: v\n\r\n", "bad_trailer", ""},
		{"0\r\n\rX", "bad_bare_cr", ""},
		{"5\r\nhel", "more", "hel"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		size_t n = strlen(cases[i].text);
		char out[64];
		size_t n_out;
		size_t used;
		size_t used1;
		enum http1_outcome o = scan(cases[i].text, n, 0, out, &n_out, &used);

		if (strcmp(http1_outcome_name(o), cases[i].outcome) != 0)
			fail_msg("%s\ngave %s, wanted %s", cases[i].text, http1_outcome_name(o), cases[i].outcome);
		assert_text(slice_of(out, n_out), cases[i].payload);
		for (size_t piece = 1; piece < 6; piece++) {
			assert_int_equal(scan(cases[i].text, n, piece, out, &n_out, &used1), o);
			assert_int_equal(used1, used);
			assert_text(slice_of(out, n_out), cases[i].payload);
		}
	}
}

/* The trailers that are left of a body, in pieces; NULL: it is refused. */
static const char *trailers_of(const char *text, size_t piece, size_t cap, unsigned *n_dropped)
{
	static char mem[4000];
	struct http_head h = {.body = HTTP_BODY_CHUNKED};
	struct http1_body b;
	enum http1_outcome o = HTTP1_MORE;
	size_t n = strlen(text), i = 0;

	http1_body_init(&b, &h, false);
	http1_body_keep_trailers(&b, mem, cap);
	while (i < n && o == HTTP1_MORE) {
		struct http1_run run;

		o = http1_body_scan(&b, text + i, piece < n - i ? piece : n - i, &run);
		i += run.skip + run.data;
	}
	*n_dropped = b.n_trailers_dropped;
	if (o != HTTP1_DONE) {
		assert_int_equal(o, HTTP1_BAD_TRAILER);
		return NULL;
	}
	mem[http1_body_trailers(&b).n] = 0;
	return mem;
}

static void trailers_are_kept_but_for_those_that_none_may_have(void **state)
{
	static const struct {
		const char *text, *kept;
		unsigned n_dropped;
	} cases[] = {
		{"0\r\n\r\n", "", 0},
		{"0\r\nA: b\r\n\r\n", "A: b\r\n", 0},
		{"3\r\nabc\r\n0\r\nA:b\r\nX-Sum: 1 \r\nB:\r\n\r\n", "A:b\r\nX-Sum: 1 \r\nB:\r\n", 0},
		{"0\r\nContent-Length: 5\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n", "A: b\r\n", 2},
		{"0\r\nhost: b\r\nAUTHORIZATION: b\r\nset-cookie: a\r\nX-Forwarded-Ssl: on\r\nTrailer: x\r\nconnection: x\r\n\r\n", "", 6},
		{"0\r\nContent-Type: a\r\nContent-Digest: b\r\nContent-Md5: c\r\n\r\n", "Content-Digest: b\r\n", 2},
		{"0\r\nContents: a\r\nAge: 1\r\n\r\n", "Contents: a\r\n", 1},
	};
	unsigned n_dropped;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		for (size_t piece = 1; piece < 100; piece++) {
			assert_string_equal(trailers_of(cases[i].text, piece, 1000, &n_dropped), cases[i].kept);
			assert_int_equal(n_dropped, cases[i].n_dropped);
		}
	assert_string_equal(trailers_of("0\r\nA: b\r\n\r\n", 1000, 6, &n_dropped), "A: b\r\n");
	assert_null(trailers_of("0\r\nA: b\r\n\r\n", 1000, 5, &n_dropped));
	assert_null(trailers_of("0\r\nA: b\r\n\r\n", 1, 0, &n_dropped));
}

static void long_extensions_and_trailers_are_bounded(void **state)
{
	static char text[40000];
	static char out[64];
	size_t n_out;
	size_t used;

	memset(text, 'a', sizeof(text));
	memcpy(text, "5;", 2);
	assert_int_equal(scan(text, sizeof(text), 0, out, &n_out, &used), HTTP1_BAD_CHUNK_EXTENSION);
	memset(text, 'a', sizeof(text));
	memcpy(text, "0\r\nT:", 5);
	assert_int_equal(scan(text, sizeof(text), 0, out, &n_out, &used), HTTP1_BAD_TRAILER);
}

static void a_glance_finds_path_and_host_of_usual_requests_only(void **state)
{
	static const struct {
		const char *in, *path, *host; /* NULL: not understood */
	} cases[] = {
		{"GET /a/b HTTP/1.1\r\nHost: h.example.com\r\n\r\n", "/a/b", "h.example.com"},
		{"OPTIONS /a?b=/c HTTP/1.1\r\nhost: h:8080\r\n", "/a", "h"},
		{"GET / HTTP/1.1\r\nHost: cut", "/", "cut"},
		{"GET / HTTP/1.1\r\nHost: ", NULL, NULL},
		{"GET / HTTP/1.1\r\nHost", NULL, NULL},
		{"GET / HTTP/1.1", NULL, NULL},
		{"GET /", NULL, NULL},
		{"GET ", NULL, NULL},
		{"", NULL, NULL},
		{"GET / HTTP/1.1\r\nAccept: */*\r\nHost: h\r\n", NULL, NULL},
		{"GET http://h/ HTTP/1.1\r\nHost: h\r\n", NULL, NULL},
		{"HTTP/1.1 200 OK\r\nHost: h\r\n", NULL, NULL},
		{"PROPPATCH / HTTP/1.1\r\nHost: h\r\n", NULL, NULL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		size_t n = strlen(cases[i].in);
		char *in = malloc(n ? n : 1); /* exactly as long: for the sanitizer */
		struct slice path, host;
		bool is_seen;

		memcpy(in, cases[i].in, n);
		is_seen = http1_glance(slice_of(in, n), &path, &host);
		assert_int_equal(is_seen, cases[i].path != NULL);
		if (is_seen)
			assert_true(slice_eq(path, slice_str(cases[i].path)) && slice_eq(host, slice_str(cases[i].host)));
		free(in);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_taken_or_refused_by_name_whatever_the_split),
		cmocka_unit_test(responses_are_taken_or_refused_by_name_whatever_the_split),
		cmocka_unit_test(every_refusal_has_a_status_for_the_client),
		cmocka_unit_test(head_says_what_the_message_is),
		cmocka_unit_test(white_space_before_the_colon_of_a_response_is_left_out),
		cmocka_unit_test(path_of_other_forms_is_that_of_the_server),
		cmocka_unit_test(keep_alive_follows_version_and_connection),
		cmocka_unit_test(response_body_follows_method_status_and_framing),
		cmocka_unit_test(chunked_bodies_are_read_or_refused_whatever_the_split),
		cmocka_unit_test(trailers_are_kept_but_for_those_that_none_may_have),
		cmocka_unit_test(long_extensions_and_trailers_are_bounded),
		cmocka_unit_test(a_glance_finds_path_and_host_of_usual_requests_only),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
