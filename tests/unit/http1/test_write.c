/* SPDX-License-Identifier: Apache-2.0 */
/* What is written of a head for the other side, and of Weir's own. */
#include "parsed.h"

static void request_is_rebuilt_for_the_backend(void **state)
{
	static struct parsed r;
	static const struct http1_forward f = {.client_ip = {"192.0.2.7", 9}, .forwarded_proto = {"http", 4}, .request_id = {"id1", 3},
					       .forwarded_host = {"a.example:81", 12}, .forwarded_port = {"80", 2}};
	const char *t = "GET http://A.example:81/x?y=1 HTTP/1.0\r\nHost: a.example:81\r\nConnection: X-Hop\r\n"
			"X-Hop: 1\r\nX-Forwarded-For: 10.0.0.1\r\n"
			"X-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\nForwarded: for=evil\r\nX-Request-Id: theirs\r\nAccept:  */* \r\n"
			"Content-Length: 3\r\n\r\n";
	char mem[1024];
	struct buf b;

	feed(&r, t, strlen(t), 0, 0, false);
	assert_int_equal(r.o, HTTP1_DONE);
	buf_init(&b, mem, sizeof(mem));
	http1_write_request_head(&b, &r.h, &f);
	assert_text(buf_get(&b), "GET /x?y=1 HTTP/1.1\r\nHost: a.example:81\r\nAccept: */*\r\nContent-Length: 3\r\n"
				 "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\n"
				 "X-Forwarded-Host: a.example:81\r\nX-Forwarded-Port: 80\r\nX-Request-Id: id1\r\n\r\n");
}

static void response_is_rebuilt_for_the_client(void **state)
{
	static struct parsed r;
	struct http1_forward f = {.request_id = {"id1", 3}, .chunked = true};
	const char *t = "HTTP/1.1 200\r\nKeep-Alive: 5\r\nConnection: close\r\nServer: s\r\nTransfer-Encoding: chunked\r\n\r\n";
	char mem[1024];
	struct buf b;

	feed(&r, t, strlen(t), 0, 0, true);
	assert_int_equal(r.o, HTTP1_DONE);
	buf_init(&b, mem, sizeof(mem));
	http1_write_response_head(&b, &r.h, &f);
	assert_text(buf_get(&b), "HTTP/1.1 200 OK\r\nServer: s\r\nTransfer-Encoding: chunked\r\nX-Request-Id: id1\r\n\r\n");
	t = "HTTP/1.0 404 Gone away\r\nContent-Length: 7\r\nX-Request-Id: theirs\r\n\r\n";
	feed(&r, t, strlen(t), 0, 0, true);
	f.chunked = false;
	f.close = true;
	buf_init(&b, mem, sizeof(mem));
	http1_write_response_head(&b, &r.h, &f);
	assert_text(buf_get(&b), "HTTP/1.1 404 Gone away\r\nX-Request-Id: theirs\r\nContent-Length: 7\r\nConnection: close\r\n\r\n");
}

static void response_gets_a_date_where_it_has_none(void **state)
{
	static struct parsed r;
	struct http1_forward f = {.date = SLICE("then")};
	static const char *const texts[][2] = {
		{"HTTP/1.1 204 No\r\nA: b\r\n\r\n", "HTTP/1.1 204 No\r\nA: b\r\nDate: then\r\n\r\n"},
		{"HTTP/1.1 204 No\r\nDate: now\r\n\r\n", "HTTP/1.1 204 No\r\nDate: now\r\n\r\n"},
		{"HTTP/1.1 103 Early\r\nA: b\r\n\r\n", "HTTP/1.1 103 Early\r\nA: b\r\n\r\n"},
	};
	char mem[256];
	char list_mem[64];
	struct buf list;
	struct buf b;

	for (size_t i = 0; i < 3; i++) {
		feed(&r, texts[i][0], strlen(texts[i][0]), 0, 0, true);
		buf_init(&b, mem, sizeof(mem));
		http1_write_response_head(&b, &r.h, &f);
		assert_text(buf_get(&b), texts[i][1]);
	}
	buf_init(&list, list_mem, sizeof(list_mem));
	http1_change_add(&list, HTTP1_CHANGE_REMOVE, SLICE("date"), SLICE(""));
	f.changes = buf_get(&list);
	feed(&r, texts[0][0], strlen(texts[0][0]), 0, 0, true);
	buf_init(&b, mem, sizeof(mem));
	http1_write_response_head(&b, &r.h, &f);
	assert_text(buf_get(&b), "HTTP/1.1 204 No\r\nA: b\r\n\r\n");
}

/* What the endpoint calls a matter of its own connection does not reach the client; what Weir makes of its own does. */
static void what_connection_takes_away_of_a_response_is_made_anew(void **state)
{
	static struct parsed r;
	static const struct http1_forward f = {.date = SLICE("then"), .request_id = SLICE("id1")};
	static const char *const texts[][2] = {
		{"HTTP/1.1 204 No\r\nDate: now\r\nConnection: date\r\n\r\n", "HTTP/1.1 204 No\r\nDate: then\r\nX-Request-Id: id1\r\n\r\n"},
		{"HTTP/1.1 204 No\r\nConnection: x-request-id, DATE\r\nX-Request-Id: t\r\nDate: now\r\n\r\n",
		 "HTTP/1.1 204 No\r\nDate: then\r\nX-Request-Id: id1\r\n\r\n"},
		{"HTTP/1.1 204 No\r\nConnection: x-other\r\nX-Other: t\r\nDate: now\r\n\r\n",
		 "HTTP/1.1 204 No\r\nDate: now\r\nX-Request-Id: id1\r\n\r\n"},
	};
	char mem[256];
	struct buf b;

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		feed(&r, texts[i][0], strlen(texts[i][0]), 0, 0, true);
		assert_int_equal(r.o, HTTP1_DONE);
		buf_init(&b, mem, sizeof(mem));
		http1_write_response_head(&b, &r.h, &f);
		assert_text(buf_get(&b), texts[i][1]);
	}
	/* What frames the message it cannot take away: that is refused, the same for a response as for a request. */
	for (unsigned is_response = 0; is_response < 2; is_response++) {
		char text[128];

		for (unsigned chunked = 0; chunked < 2; chunked++) {
			snprintf(text, sizeof(text), "%s\r\nHost: a\r\nConnection: %s\r\n%s\r\n\r\n", is_response ? "HTTP/1.1 200 OK" : "POST / HTTP/1.1",
				 chunked ? "transfer-encoding" : "content-length", chunked ? "Transfer-Encoding: chunked" : "Content-Length: 3");
			feed(&r, text, strlen(text), 0, 0, is_response);
			assert_int_equal(r.o, HTTP1_BAD_CONNECTION);
		}
	}
}

static void change(struct buf *list, enum http1_change_kind kind, const char *name, const char *value)
{
	http1_change_add(list, kind, slice_str(name), slice_str(value));
}

/* What is written of a request, from its fields on. */
static void assert_rebuilt(const char *text, const struct http1_forward *f, const char *want)
{
	static struct parsed r;
	char mem[1024];
	struct buf b;
	const char *fields;

	feed(&r, text, strlen(text), 0, 0, false);
	assert_int_equal(r.o, HTTP1_DONE);
	buf_init(&b, mem, sizeof(mem) - 1);
	http1_write_request_head(&b, &r.h, f);
	assert_false(b.overflow);
	mem[b.n] = 0;
	fields = strstr(mem, "\r\n") + 2;
	assert_text(slice_str(fields), want);
}

static void via_is_appended_to_what_there_is(void **state)
{
	static const struct http1_forward f = {.via = {"1.1 weir", 8}};
	static const struct http1_forward none = {0};

	assert_rebuilt("GET / HTTP/1.1\r\nHost: a\r\n\r\n", &f, "Host: a\r\nVia: 1.1 weir\r\n\r\n");
	assert_rebuilt("GET / HTTP/1.1\r\nHost: a\r\nVia: 1.0 x, 1.1 y\r\nvia: 2 z\r\nVia:\r\n\r\n", &f,
		       "Host: a\r\nVia: 1.0 x, 1.1 y, 2 z, 1.1 weir\r\n\r\n");
	assert_rebuilt("GET / HTTP/1.1\r\nHost: a\r\nVia: 1.0 x\r\nConnection: via\r\n\r\n", &f,
		       "Host: a\r\nVia: 1.1 weir\r\n\r\n");
	assert_rebuilt("GET / HTTP/1.1\r\nHost: a\r\nVia: 1.0 x\r\n\r\n", &none, "Host: a\r\nVia: 1.0 x\r\n\r\n");
}

static void what_a_trusted_hop_said_is_kept_and_extended(void **state)
{
	struct http1_forward f = {.client_ip = {"192.0.2.7", 9}, .scheme = {"http", 4}, .keep_forwarded_for = true, .keep_forwarded = true};
	const char *t = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.0.0.1\r\nForwarded: for=x\r\nX-Forwarded-For: 10.0.0.2\r\n"
			"Forwarded: for=y;by=z\r\n\r\n";

	assert_rebuilt(t, &f, "Host: a\r\nX-Forwarded-For: 10.0.0.1, 10.0.0.2, 192.0.2.7\r\nForwarded: for=x, for=y;by=z\r\n\r\n");
	f.add_forwarded = true;
	assert_rebuilt(t, &f, "Host: a\r\nX-Forwarded-For: 10.0.0.1, 10.0.0.2, 192.0.2.7\r\n"
			      "Forwarded: for=x, for=y;by=z, for=192.0.2.7;proto=http;host=a\r\n\r\n");
	f.keep_forwarded_for = f.keep_forwarded = false;
	assert_rebuilt(t, &f, "Host: a\r\nX-Forwarded-For: 192.0.2.7\r\nForwarded: for=192.0.2.7;proto=http;host=a\r\n\r\n");
	f.client_ip = slice_str("fd00::1");
	assert_rebuilt("GET / HTTP/1.1\r\nHost: a:81\r\n\r\n", &f,
		       "Host: a:81\r\nX-Forwarded-For: fd00::1\r\nForwarded: for=\"[fd00::1]\";proto=http;host=\"a:81\"\r\n\r\n");
}

static void forwarded_is_told_from_what_is_none(void **state)
{
	static const char *const good[] = {"for=1.2.3.4", "for=\"[::1]:80\"; proto=http;by=_x , for=unknown", "a=\"\\\",\\;\"", ",for=a,,", ";;a=b;"};
	static const char *const bad[] = {"", ",", "for", "for=", "=a", "for=a b", "for=\"a", "for=\"a\\", "for=[::1]", "for=\"a\"b", "for = a", "a=b;c"};

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		if (!http1_is_forwarded(slice_str(good[i])))
			fail_msg("%s was refused", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (http1_is_forwarded(slice_str(bad[i])))
			fail_msg("%s was taken", bad[i]);
}

static void max_forwards_is_one_less_where_it_is_counted(void **state)
{
	static const struct http1_forward f = {0};

	assert_rebuilt("OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 10\r\n\r\n", &f, "Host: a\r\nMax-Forwards: 9\r\n\r\n");
	assert_rebuilt("OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 99999999999\r\n\r\n", &f,
		       "Host: a\r\nMax-Forwards: 4294967294\r\n\r\n");
	assert_rebuilt("GET / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 10\r\n\r\n", &f, "Host: a\r\nMax-Forwards: 10\r\n\r\n");
}

static void backend_learns_that_the_client_takes_trailers(void **state)
{
	static const struct http1_forward f = {0}, closes = {.close = true};
	static const struct {
		const char *te, *want;
	} cases[] = {
		{"TE: trailers\r\n", "TE: trailers\r\nConnection: TE\r\n"},
		{"TE: gzip;q=0.5, Trailers\r\nConnection: TE\r\n", "TE: trailers\r\nConnection: TE\r\n"},
		{"TE: deflate\r\nTE: trailers\r\n", "TE: trailers\r\nConnection: TE\r\n"},
		{"TE: trailers;q=1\r\n", ""},
		{"TE: gzip\r\nConnection: TE\r\n", ""},
		{"TE:\r\n", ""},
	};
	char text[256], want[256];

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", cases[i].te);
		snprintf(want, sizeof(want), "Host: a\r\n%s\r\n", cases[i].want);
		assert_rebuilt(text, &f, want);
	}
	assert_rebuilt("GET / HTTP/1.0\r\nHost: a\r\nTE: trailers\r\n\r\n", &f, "Host: a\r\n\r\n");
	assert_rebuilt("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n", &closes,
		       "Host: a\r\nTE: trailers\r\nConnection: close, TE\r\n\r\n");
}

static void changed_request_has_each_field_as_the_last_change_says(void **state)
{
	static struct parsed r;
	struct http1_forward f = {.client_ip = {"192.0.2.7", 9}, .forwarded_proto = {"http", 4}, .request_id = {"id1", 3}, .host = {"b.example", 9},
				  .forwarded_host = {"a", 1}};
	const char *t = "POST /x?y=1 HTTP/1.1\r\nHost: a\r\nX-Set: 1\r\nx-set: 2\r\nX-Add: 1\r\nX-GONE: 1\r\nX-Keep: 1\r\n"
			"Content-Length: 3\r\n\r\n";
	char mem[1024];
	char list_mem[512];
	struct buf list;
	struct buf b;

	feed(&r, t, strlen(t), 0, 0, false);
	assert_int_equal(r.o, HTTP1_DONE);
	buf_init(&list, list_mem, sizeof(list_mem));
	change(&list, HTTP1_CHANGE_SET, "x-SET", "new");
	change(&list, HTTP1_CHANGE_ADD, "x-add", "2");
	change(&list, HTTP1_CHANGE_REMOVE, "x-gone", "");
	change(&list, HTTP1_CHANGE_SET, "x-forwarded-proto", "https");
	change(&list, HTTP1_CHANGE_ADD, "x-lost", "1");
	change(&list, HTTP1_CHANGE_SET, "x-two", "1");
	/* a second list, behind the first */
	change(&list, HTTP1_CHANGE_ADD, "X-Add", "3");
	change(&list, HTTP1_CHANGE_REMOVE, "X-Lost", "");
	change(&list, HTTP1_CHANGE_REMOVE, "X-Forwarded-For", "");
	change(&list, HTTP1_CHANGE_ADD, "X-Two", "2");
	change(&list, HTTP1_CHANGE_ADD, "X-Gone", "back");
	f.changes = buf_get(&list);
	buf_init(&b, mem, sizeof(mem));
	http1_write_request_head(&b, &r.h, &f);
	assert_text(buf_get(&b), "POST /x?y=1 HTTP/1.1\r\nHost: b.example\r\nX-Add: 1\r\nX-Keep: 1\r\nContent-Length: 3\r\n"
				 "X-Forwarded-Host: a\r\nX-Request-Id: id1\r\nx-SET: new\r\nx-add: 2\r\n"
				 "x-forwarded-proto: https\r\nx-two: 1\r\nX-Add: 3\r\nX-Two: 2\r\nX-Gone: back\r\n\r\n");
}

static void fields_of_our_own_give_way_to_changes(void **state)
{
	struct http1_forward f = {.client_ip = {"192.0.2.7", 9}, .scheme = {"http", 4}, .add_forwarded = true, .via = {"1.1 weir", 8},
				  .keep_forwarded_for = true};
	char list_mem[256];
	struct buf list;

	buf_init(&list, list_mem, sizeof(list_mem));
	change(&list, HTTP1_CHANGE_REMOVE, "via", "");
	change(&list, HTTP1_CHANGE_REMOVE, "x-forwarded-for", "");
	change(&list, HTTP1_CHANGE_SET, "Forwarded", "for=_gate");
	change(&list, HTTP1_CHANGE_SET, "max-forwards", "5");
	f.changes = buf_get(&list);
	assert_rebuilt("OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 10\r\nVia: 1.0 x\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n", &f,
		       "Host: a\r\nForwarded: for=_gate\r\nmax-forwards: 5\r\n\r\n");
}

static void changed_path_keeps_the_query_and_is_never_empty(void **state)
{
	static struct parsed r;
	struct http1_forward f = {.client_ip = {"192.0.2.7", 9}, .forwarded_proto = {"http", 4}, .has_path = true};
	const char *t = "GET /a/b?y=1 HTTP/1.1\r\nHost: a\r\n\r\n";
	char mem[1024];
	struct buf b;

	feed(&r, t, strlen(t), 0, 0, false);
	buf_init(&b, mem, sizeof(mem));
	http1_write_request_head(&b, &r.h, &f);
	assert_true(slice_has_prefix(buf_get(&b), SLICE("GET /?y=1 HTTP/1.1\r\nHost: a\r\n")));
	f.path_head = slice_str("/new");
	f.path_tail = slice_of(r.h.path.p + 2, 2);
	buf_init(&b, mem, sizeof(mem));
	http1_write_request_head(&b, &r.h, &f);
	assert_true(slice_has_prefix(buf_get(&b), SLICE("GET /new/b?y=1 HTTP/1.1\r\n")));
}

static void changed_response_keeps_its_framing_and_interim_ones_stay(void **state)
{
	static struct parsed r;
	struct http1_forward f = {.request_id = {"id1", 3}};
	const char *t = "HTTP/1.1 200 OK\r\nServer: s\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 7\r\n\r\n";
	char mem[1024];
	char list_mem[512];
	struct buf list;
	struct buf b;

	feed(&r, t, strlen(t), 0, 0, true);
	assert_int_equal(r.o, HTTP1_DONE);
	buf_init(&list, list_mem, sizeof(list_mem));
	change(&list, HTTP1_CHANGE_REMOVE, "server", "");
	change(&list, HTTP1_CHANGE_SET, "x-request-id", "mine");
	change(&list, HTTP1_CHANGE_ADD, "set-cookie", "c");
	f.changes = buf_get(&list);
	buf_init(&b, mem, sizeof(mem));
	http1_write_response_head(&b, &r.h, &f);
	assert_text(buf_get(&b), "HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 7\r\nx-request-id: mine\r\n"
				 "set-cookie: c\r\n\r\n");
}

static void redirect_is_complete(void **state)
{
	struct http1_redirect r = {.status = 308, .scheme = SLICE("https"), .host = SLICE("b.example"), .port = 8443,
				   .path_head = SLICE("/new"), .path_tail = SLICE("/x"), .query = SLICE("a=1"),
				   .request_id = SLICE("id1"), .keep_alive = true};
	char mem[1024];
	char list_mem[256];
	struct buf list;
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	http1_write_redirect(&b, &r);
	assert_text(buf_get(&b), "HTTP/1.1 308 Permanent Redirect\r\nLocation: https://b.example:8443/new/x?a=1\r\n"
				 "Content-Length: 0\r\nX-Request-Id: id1\r\n\r\n");
	buf_init(&list, list_mem, sizeof(list_mem));
	change(&list, HTTP1_CHANGE_SET, "Cache-Control", "no-store");
	r = (struct http1_redirect){.status = 302, .scheme = SLICE("http"), .host = SLICE("[::1]"), .changes = buf_get(&list)};
	buf_init(&b, mem, sizeof(mem));
	http1_write_redirect(&b, &r);
	assert_text(buf_get(&b), "HTTP/1.1 302 Found\r\nLocation: http://[::1]/\r\nContent-Length: 0\r\n"
				 "Cache-Control: no-store\r\nConnection: close\r\n\r\n");
}

static void own_error_is_complete(void **state)
{
	char mem[512];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	http1_write_error(&b, &(struct http1_error){.status = 404, .detail = SLICE("no route"), .request_id = SLICE("id1")});
	assert_text(buf_get(&b), "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 24\r\n"
				 "X-Request-Id: id1\r\nConnection: close\r\n\r\n404 Not Found: no route\n");
	buf_init(&b, mem, sizeof(mem));
	http1_write_error(&b, &(struct http1_error){.status = 405, .detail = SLICE("no"), .date = SLICE("then"), .keep_alive = true,
						    .is_old = true, .is_head = true});
	assert_text(buf_get(&b), "HTTP/1.1 405 Method Not Allowed\r\nDate: then\r\nContent-Type: text/plain\r\nContent-Length: 27\r\n"
				 "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\nConnection: keep-alive\r\n\r\n");
}
int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(request_is_rebuilt_for_the_backend),
		cmocka_unit_test(response_is_rebuilt_for_the_client),
		cmocka_unit_test(response_gets_a_date_where_it_has_none),
		cmocka_unit_test(what_connection_takes_away_of_a_response_is_made_anew),
		cmocka_unit_test(via_is_appended_to_what_there_is),
		cmocka_unit_test(what_a_trusted_hop_said_is_kept_and_extended),
		cmocka_unit_test(forwarded_is_told_from_what_is_none),
		cmocka_unit_test(max_forwards_is_one_less_where_it_is_counted),
		cmocka_unit_test(backend_learns_that_the_client_takes_trailers),
		cmocka_unit_test(changed_request_has_each_field_as_the_last_change_says),
		cmocka_unit_test(fields_of_our_own_give_way_to_changes),
		cmocka_unit_test(changed_path_keeps_the_query_and_is_never_empty),
		cmocka_unit_test(changed_response_keeps_its_framing_and_interim_ones_stay),
		cmocka_unit_test(redirect_is_complete),
		cmocka_unit_test(own_error_is_complete),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
