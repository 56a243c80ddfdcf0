/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that come as early data, before the client's handshake is complete, over the stand-in for TLS. */
#include "tls_rig.h"

#define GET "GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"

/* The hello, and this as early data; the client reads, but does not finish. */
static void come_early(const char *text)
{
	open_to(one_tls, "a", true);
	one_tls->in[0] = 0;
	fake_put(one_tls->s, FAKE_HELLO, "a", 1);
	fake_put(one_tls->s, FAKE_EARLY, text, strlen(text));
	one_tls->is_mute = false;
	one_tls->s->is_ready = true; /* it can read what is sealed for it */
	run_ms(500);
}

static void complete(void)
{
	fake_put(one_tls->s, FAKE_FINISHED, NULL, 0);
	run_ms(500);
}

static unsigned n_seen;
static unsigned n_requests(void)
{
	return (unsigned)stats->counter[WEIR_C_REQUESTS];
}

static void get_is_answered_before_the_handshake_is_complete(void **state)
{
	begin(1);
	come_early(GET);
	assert_int_equal(count(one_tls, "HTTP/1.1 200 OK\r\n"), 1);
	assert_non_null(strstr(seen, "Early-Data: 1\n"));
	assert_non_null(strstr(seen, "X-Forwarded-Proto: https\n"));
	assert_int_equal(stats->gauge[WEIR_G_TLS_HANDSHAKING], 1);
	assert_int_equal(stats->counter[WEIR_C_EARLY_REQUESTS], 1);
	assert_true(access_log.records[0].flags & WEIR_LOG_EARLY_DATA_FLAG);
	complete();
	assert_int_equal(stats->gauge[WEIR_G_TLS_HANDSHAKING], 0);
	ask(one_tls, GET);
	assert_int_equal(count(one_tls, "HTTP/1.1 200 OK\r\n"), 1);
	assert_null(strstr(seen, "Early-Data"));
	assert_int_equal(stats->counter[WEIR_C_EARLY_REQUESTS], 1);
	finish();
}

static void others_are_held_until_it_is(void **state)
{
	static const char *const held[] = {
		POST,
		"DELETE /x HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
		"GET /x HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n",
	};

	begin(2);
	for (unsigned i = 0; i < sizeof(held) / sizeof(*held); i++) {
		n_seen = n_requests();
		come_early(held[i]);
		assert_int_equal(one_tls->n_in, 0);
		assert_int_equal(n_requests(), n_seen);
		assert_int_equal(stats->counter[WEIR_C_EARLY_HELD], i + 1);
		complete();
		assert_int_equal(count(one_tls, "HTTP/1.1 200 OK\r\n"), 1);
		assert_null(strstr(seen, "Early-Data"));
		close_it(one_tls, true);
		run_ms(500);
	}
	assert_int_equal(stats->counter[WEIR_C_EARLY_REQUESTS], 0);
	finish();
}

static void pipelined_ones_keep_their_order(void **state)
{
	begin(3);
	come_early(GET POST GET);
	assert_int_equal(count(one_tls, "HTTP/1.1 200 OK\r\n"), 1);
	complete();
	assert_int_equal(count(one_tls, "HTTP/1.1 200 OK\r\n"), 3);
	/* The last one came early, too: another server may have passed it on before its handshake was complete. */
	assert_non_null(strstr(seen, "Early-Data: 1\n"));
	assert_int_equal(stats->counter[WEIR_C_EARLY_HELD], 1);
	finish();
}

static void the_rest_may_come_behind_the_handshake(void **state)
{
	begin(4);
	come_early("GET /x HTTP/1.1\r\nHo");
	assert_int_equal(one_tls->n_in, 0);
	complete();
	ask(one_tls, "st: a\r\n\r\n");
	assert_int_equal(count(one_tls, "HTTP/1.1 200 OK\r\n"), 1);
	assert_non_null(strstr(seen, "Early-Data: 1\n"));
	finish();
}

static void a_client_that_never_finishes_has_its_answer_and_its_reason(void **state)
{
	static const char *const texts[] = {GET, POST, "GET /x HT", "GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"};

	begin(5);
	for (unsigned i = 0; i < 4; i++) {
		come_early(texts[i]);
		run_ms(13000);
		assert_int_equal(stats->reason[WEIR_R_TLS_HANDSHAKE_TIMEOUT], i + 1);
		assert_int_equal(count(one_tls, "HTTP/1.1 200 OK\r\n"), i == 0 || i == 3);
		close_it(one_tls, true);
		run_ms(3000);
		assert_int_equal(stats->gauge[WEIR_G_TLS_HANDSHAKING], 0);
	}
	finish();
}

static void who_leaves_is_counted(void **state)
{
	begin(6);
	come_early(POST);
	tcp_shutdown(one_tls->c);
	run_ms(500);
	assert_int_equal(stats->reason[WEIR_R_TLS_CLIENT_GONE], 1);
	run_ms(5000);
	assert_int_equal(n_requests(), 0);
	close_it(one_tls, true);
	come_early(GET);
	close_it(one_tls, true);
	run_ms(500);
	assert_int_equal(stats->gauge[WEIR_G_TLS_SESSIONS], 0);
	finish();
}

static void what_a_client_says_of_early_data_is_passed_on(void **state)
{
	begin(7);
	open_to(one_tls, "a", false);
	ask(one_tls, "GET /x HTTP/1.1\r\nHost: a\r\nConnection: early-data\r\nEarly-Data: 0\r\nearly-data: 1\r\n\r\n");
	assert_non_null(strstr(seen, "Early-Data: 1\n"));
	assert_null(strstr(strstr(seen, "Early-Data: 1\n") + 6, "arly-"));
	finish();
}

static void refused_requests_are_sent_again_behind_the_handshake(void **state)
{
	begin(8);
	mode = ORIGIN_TOO_EARLY;
	come_early(GET);
	assert_int_equal(one_tls->n_in, 0);
	assert_int_equal(stats->counter[WEIR_C_EARLY_REFUSED], 1);
	assert_non_null(strstr(seen, "Early-Data: 1\n"));
	complete();
	assert_int_equal(count(one_tls, "HTTP/1.1 200 OK\r\n"), 1);
	assert_null(strstr(seen, "Early-Data"));
	/* Who said so itself has to do that itself. */
	ask(one_tls, "GET /x HTTP/1.1\r\nHost: a\r\nEarly-Data: 1\r\n\r\n");
	assert_int_equal(count(one_tls, "HTTP/1.1 425 Too Early\r\n"), 1);
	assert_int_equal(stats->counter[WEIR_C_EARLY_REFUSED], 1);
	finish();
}

/* A share of requests, so that chance would let this one go: it is held all the same, since that is not known beforehand. */
static void mirrored_ones_are_held_and_mirrored_once(void **state)
{
	static const struct model_filter all[] = {{.kind = WEIR_FILTER_MIRROR, .backend = 1, .numerator = 1, .denominator = 1}};
	static const struct model_filter none[] = {{.kind = WEIR_FILTER_MIRROR, .backend = 1, .denominator = 1}};

	for (unsigned i = 0; i < 3; i++) {
		route.rule = i == 1 ? (struct model_filters){0} : (struct model_filters){1, i ? none : all};
		route.split = i == 1 ? (struct model_filters){1, all} : (struct model_filters){0};
		n_mirror_backends = 1;
		n_mirrored = 0;
		begin(9 + i);
		come_early(GET);
		assert_int_equal(one_tls->n_in, 0);
		assert_int_equal(n_mirrored, 0);
		assert_int_equal(stats->counter[WEIR_C_EARLY_HELD], 1);
		complete();
		assert_int_equal(count(one_tls, "HTTP/1.1 200 OK\r\n"), 1);
		assert_int_equal(n_mirrored, i < 2);
		assert_null(strstr(seen, "Early-Data"));
		assert_null(strstr(mirrored, "Early-Data"));
		assert_int_equal(stats->counter[WEIR_C_EARLY_REQUESTS], 0);
		ask(one_tls, GET); /* not early any more: it waits for nothing */
		assert_int_equal(n_mirrored, i < 2 ? 2 : 0);
		assert_int_equal(stats->counter[WEIR_C_EARLY_HELD], 1);
		finish();
	}
}

/* Anybody could have sent it again: who never finishes makes no copy. */
static void replay_is_not_mirrored(void **state)
{
	static const struct model_filter all[] = {{.kind = WEIR_FILTER_MIRROR, .backend = 1, .numerator = 1, .denominator = 1}};

	route.rule = (struct model_filters){1, all};
	n_mirror_backends = 1;
	n_mirrored = 0;
	begin(12);
	come_early(GET);
	run_ms(13000);
	assert_int_equal(stats->reason[WEIR_R_TLS_HANDSHAKE_TIMEOUT], 1);
	assert_int_equal(n_mirrored, 0);
	assert_int_equal(stats->counter[WEIR_C_MIRRORED], 0);
	close_it(one_tls, true);
	run_ms(3000);
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(get_is_answered_before_the_handshake_is_complete),
		cmocka_unit_test(others_are_held_until_it_is),
		cmocka_unit_test(pipelined_ones_keep_their_order),
		cmocka_unit_test(the_rest_may_come_behind_the_handshake),
		cmocka_unit_test(a_client_that_never_finishes_has_its_answer_and_its_reason),
		cmocka_unit_test(who_leaves_is_counted),
		cmocka_unit_test(what_a_client_says_of_early_data_is_passed_on),
		cmocka_unit_test(mirrored_ones_are_held_and_mirrored_once),
		cmocka_unit_test(replay_is_not_mirrored),
		cmocka_unit_test(refused_requests_are_sent_again_behind_the_handshake),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
