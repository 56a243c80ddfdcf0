/* SPDX-License-Identifier: Apache-2.0 */
/* Connections of bytes with TLS around them, passed through, or within it: in virtual time. Those without: test_l4.c. */
#include "tls_rig.h"

static const struct weir_log_record *the_stream(const char *texts)
{
	const struct weir_log_record *r = &access_log.records[0];

	assert_int_equal(access_log.worker.head, 1);
	assert_int_equal(r->flags & ~WEIR_LOG_CUT_FLAG, WEIR_LOG_STREAM_FLAG);
	assert_memory_equal(r->text, texts, strlen(texts));
	return r;
}

/* What an endpoint sends: it speaks the same language as the client, since nobody is between them. */
static void what_is_passed_through_is_not_touched(void **state)
{
	struct raw *endpoint = &raw_endpoints[0];
	uint8_t hello[FAKE_HEAD + 12];

	route.kind = WEIR_LISTENER_STREAM;
	route.host = "pass.example";
	names_pass = true;
	begin(30);
	raw_listen();
	open_to(one_tls, "pass.example", false);
	assert_int_equal(stats->gauge[WEIR_G_TLS_SESSIONS], 0);
	assert_int_equal(stats->gauge[WEIR_G_TLS_HANDSHAKING], 0);
	assert_int_equal(stats->counter[WEIR_C_TLS_HANDSHAKES], 0);
	assert_int_equal(stats->gauge[WEIR_G_TUNNELS], 1);
	hello[0] = FAKE_HELLO;
	hello[1] = 0;
	hello[2] = 12;
	for (unsigned i = 0; i < 12; i++)
		hello[FAKE_HEAD + i] = "pass.example"[i] ^ FAKE_KEY;
	assert_int_equal(endpoint->n_in, sizeof(hello)); /* its very first byte, too */
	assert_memory_equal(endpoint->in, hello, sizeof(hello));
	assert_int_equal(tcp_send(endpoint->c, "\x02\0\0", 3), 0); /* FAKE_SERVER_HELLO */
	run_ms(300);
	assert_true(tls_is_ready(one_tls->s));
	close_it(one_tls, true);
	run_ms(300);
	assert_true(endpoint->is_reset);
	assert_int_equal(the_stream("pass.exampleKnrn/s:80")->tls_version, 0);
	assert_int_equal(stats->counter[WEIR_C_STREAMS], 1);
	finish();
}

static void what_is_within_tls_may_be_bytes(void **state)
{
	struct raw *endpoint = &raw_endpoints[0];
	const struct weir_log_record *r;

	route.kind = WEIR_LISTENER_STREAM;
	route.host = "bytes.example";
	names_have_listener = true;
	begin(31);
	raw_listen();
	open_to(one_tls, "bytes.example", false);
	assert_int_equal(stats->counter[WEIR_C_TLS_HANDSHAKES], 1);
	assert_int_equal(stats->gauge[WEIR_G_TUNNELS], 1);
	raw_say(endpoint, "hello");
	ask(one_tls, "some");
	assert_true(has_got(endpoint, "some"));
	assert_string_equal(one_tls->in, "hello");
	tls_shutdown(one_tls->s);
	run_ms(300);
	assert_true(endpoint->is_eof);
	raw_say(endpoint, "more");
	run_ms(300);
	tcp_shutdown(endpoint->c);
	run_ms(300);
	assert_string_equal(one_tls->in, "hellomore");
	assert_true(one_tls->is_eof);
	r = the_stream("bytes.exampleKnrn/s:80");
	assert_int_equal(r->tls_version, 0x0304);
	assert_int_equal(r->request_bytes, 4);
	assert_int_equal(r->response_bytes, 9);
	assert_int_equal(r->reason_plus1, 0);
	finish();
}

/* The listener is of HTTP when the handshake ends, or is not there: nobody guesses. */
static void bytes_within_tls_that_no_listener_takes_end(void **state)
{
	begin(32);
	open_to(one_tls, "bytes.example", false);
	assert_true(one_tls->is_reset);
	assert_int_equal(stats->reason[WEIR_R_STREAM_NO_ROUTE], 1);
	finish();
	begin(33);
	open_to(one_tls, "pass.example", false);
	assert_true(one_tls->is_reset);
	assert_int_equal(stats->reason[WEIR_R_STREAM_NO_ROUTE], 1);
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_passed_through_is_not_touched),
		cmocka_unit_test(what_is_within_tls_may_be_bytes),
		cmocka_unit_test(bytes_within_tls_that_no_listener_takes_end),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
