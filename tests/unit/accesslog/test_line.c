/* SPDX-License-Identifier: Apache-2.0 */
/* The line of a record, read back by jansson. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/ip.h"
#include "log_line.h"
#include "weir/stats.h"

static char line[LOG_LINE_MAX + 1];
static size_t n_line;

static void add(struct weir_log_record *r, enum weir_log_text id, const char *s, size_t n)
{
	size_t at = 0;

	for (unsigned i = 0; i < id; i++)
		at += r->len[i];
	memcpy(r->text + at, s, n);
	r->len[id] = (uint16_t)n;
}

static json_t *write_and_load(const struct weir_log_record *r)
{
	struct buf b;
	json_error_t e;
	json_t *o;

	buf_init(&b, line, LOG_LINE_MAX);
	log_line_write(&b, r, 3);
	assert_false(b.overflow);
	n_line = b.n;
	line[n_line] = 0;
	assert_int_equal(line[n_line - 1], '\n');
	assert_null(memchr(line, '\n', n_line - 1));
	o = json_loads(line, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);
	if (!o)
		print_error("%s: %s", e.text, line);
	assert_non_null(o);
	return o;
}

static void a_line_has_what_the_record_has_and_no_more(void **state)
{
	static const char want[] =
		"{\"time\":\"2023-11-14T22:13:20.000042Z\",\"worker\":3,\"client\":\"192.0.2.1\",\"client_port\":1000,"
		"\"local\":\"2001:db8::1\",\"local_port\":80,\"protocol\":\"HTTP/1.1\",\"status\":404,\"method\":\"GET\","
		"\"host\":\"a.example\",\"target\":\"/x?\\\"y\\\\\",\"tries\":0,\"request_head_bytes\":30,\"request_bytes\":0,"
		"\"response_head_bytes\":50,\"response_bytes\":7,\"head_us\":0,\"end_us\":5,\"reason\":\"req_no_route\","
		"\"flags\":[\"keep_alive\",\"own\"]}\n";
	struct weir_log_record r = {.start_us = 1700000000000042ull,
				    .client_port = 1000,
				    .local_port = 80,
				    .minor = 1,
				    .status = 404,
				    .request_head_bytes = 30,
				    .response_head_bytes = 50,
				    .response_bytes = 7,
				    .connected_us = WEIR_LOG_NEVER,
				    .sent_us = WEIR_LOG_NEVER,
				    .first_us = WEIR_LOG_NEVER,
				    .end_us = 5,
				    .reason_plus1 = WEIR_R_REQ_NO_ROUTE + 1,
				    .flags = WEIR_LOG_HEAD_FLAG | WEIR_LOG_OWN_FLAG | WEIR_LOG_KEEP_ALIVE_FLAG};
	json_t *o;

	assert_int_equal(ip_parse("192.0.2.1", 9, &r.client), 0);
	assert_int_equal(ip_parse("2001:db8::1", 11, &r.local), 0);
	add(&r, WEIR_LOG_METHOD, "GET", 3);
	add(&r, WEIR_LOG_HOST, "a.example", 9);
	add(&r, WEIR_LOG_TARGET, "/x?\"y\\", 6);
	json_decref(write_and_load(&r));
	assert_string_equal(line, want);
	r.forwarded_client = r.client; /* nobody spoke for another */
	json_decref(write_and_load(&r));
	assert_string_equal(line, want);
	r.forwarded_client = r.local;
	o = write_and_load(&r);
	assert_string_equal(json_string_value(json_object_get(o, "forwarded_client")), "2001:db8::1");
	assert_string_equal(json_string_value(json_object_get(o, "client")), "192.0.2.1");
	json_decref(o);
}

/* The texts that are TLS's stand among the others in the record, and apart from them in the line. */
static void what_tls_agreed_on_is_an_object_of_its_own(void **state)
{
	struct weir_log_record r = {.tls_version = 0x0304, .tls_is_resumed = 1, .tls_group = 0x11ec, .minor = 1, .flags = WEIR_LOG_HEAD_FLAG};
	json_t *o;

	add(&r, WEIR_LOG_METHOD, "GET", 3);
	add(&r, WEIR_LOG_TLS_CIPHER, "TLS_AES_128_GCM_SHA256", 22);
	add(&r, WEIR_LOG_TLS_SERVER_NAME, "a.example", 9);
	add(&r, WEIR_LOG_TARGET, "/", 1);
	o = write_and_load(&r);
	assert_non_null(strstr(line, "\"tls\":{\"version\":\"1.3\",\"resumed\":true,\"group\":\"X25519MLKEM768\",\"cipher\":\"TLS_AES_128_GCM_SHA256\","
				     "\"server_name\":\"a.example\"},\"method\":\"GET\",\"target\":\"/\""));
	json_decref(o);
	r.tls_group = 0x0018;
	o = write_and_load(&r);
	assert_string_equal(json_string_value(json_object_get(json_object_get(o, "tls"), "group")), "secp384r1");
	json_decref(o);
	r.tls_group = 7;
	o = write_and_load(&r);
	assert_null(json_object_get(json_object_get(o, "tls"), "group"));
	json_decref(o);
	r.tls_version = WEIR_LOG_TLS_FAILED;
	o = write_and_load(&r);
	assert_null(json_object_get(json_object_get(o, "tls"), "version"));
	assert_string_equal(json_string_value(json_object_get(json_object_get(o, "tls"), "server_name")), "a.example");
	json_decref(o);
	r.tls_version = 0;
	o = write_and_load(&r);
	assert_null(json_object_get(o, "tls"));
	json_decref(o);
}

/* Its times are not those of a request: bytes and duration are of what the request became. */
static void the_line_of_a_long_tunnel_has_its_whole_duration(void **state)
{
	struct weir_log_record r = {.start_us = 1700000000000042ull, .status = 101, .request_bytes = 5, .response_bytes = 1ull << 40,
				    .end_us = WEIR_LOG_NEVER - 1, .long_end_us = 259200000000ull, .minor = 1,
				    .reason_plus1 = WEIR_R_TUNNEL_IDLE + 1,
				    .flags = WEIR_LOG_HEAD_FLAG | WEIR_LOG_UPGRADED_FLAG | WEIR_LOG_LONG_FLAG};
	json_t *o = write_and_load(&r);

	assert_int_equal(json_integer_value(json_object_get(o, "end_us")), 259200000000ll);
	assert_int_equal(json_integer_value(json_object_get(o, "response_bytes")), 1ll << 40);
	assert_string_equal(json_string_value(json_object_get(o, "reason")), "tunnel_idle");
	assert_int_equal(json_array_size(json_object_get(o, "flags")), 1);
	assert_string_equal(json_string_value(json_array_get(json_object_get(o, "flags"), 0)), "upgraded");
	json_decref(o);
}

static const char *agent(const char *s, size_t n, json_t **o)
{
	struct weir_log_record r = {0};

	add(&r, WEIR_LOG_USER_AGENT, s, n);
	*o = write_and_load(&r);
	return json_string_value(json_object_get(*o, "user_agent"));
}

static void utf8_stays_and_other_bytes_stand_for_themselves(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"},
		{"\xe9", "\xc3\xa9"},			       /* Latin-1 */
		{"a\xff", "a\xc3\xbf"},
		{"\xc0\xaf", "\xc3\x80\xc2\xaf"},		       /* too long a form */
		{"\xed\xa0\x80", "\xc3\xad\xc2\xa0\xc2\x80"},	       /* a surrogate */
		{"\xf4\x90\x80\x80", "\xc3\xb4\xc2\x90\xc2\x80\xc2\x80"}, /* beyond Unicode */
		{"\xe2\x82", "\xc3\xa2\xc2\x82"},		       /* cut */
		{"\t\x01\x7f", "\t\x01\x7f"},
		{"\"\\/", "\"\\/"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		json_t *o;

		assert_string_equal(agent(cases[i].in, strlen(cases[i].in), &o), cases[i].out);
		json_decref(o);
	}
}

/* Of random bytes, every value of every field, the longest texts: valid JSON within the bound. */
static void any_record_is_a_line_of_json(void **state)
{
	srandom(2);
	for (int turn = 0; turn < 20000; turn++) {
		struct weir_log_record r;
		size_t room = sizeof(r.text);

		for (size_t i = 0; i < sizeof(r); i++)
			((unsigned char *)&r)[i] = (unsigned char)(turn % 4 ? random() : 0xff);
		for (unsigned i = 0; i < WEIR_N_LOG_TEXTS; i++) {
			r.len[i] = (uint16_t)(random() % (room / 2 + 1));
			if (i == WEIR_N_LOG_TEXTS - 1)
				r.len[i] = (uint16_t)room;
			room -= r.len[i];
		}
		json_decref(write_and_load(&r));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_has_what_the_record_has_and_no_more),
		cmocka_unit_test(what_tls_agreed_on_is_an_object_of_its_own),
		cmocka_unit_test(the_line_of_a_long_tunnel_has_its_whole_duration),
		cmocka_unit_test(utf8_stays_and_other_bytes_stand_for_themselves),
		cmocka_unit_test(any_record_is_a_line_of_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
