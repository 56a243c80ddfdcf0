/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that their rule wants to be sent again for what was answered: in virtual time. */
#include "raw.h"

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define ANSWER(status) "HTTP/1.1 " status " Said\r\nContent-Length: 2\r\n\r\nno"
#define GOOD "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes"

static struct raw client;

static void begin(uint64_t seed, const char *request)
{
	route.retry = (struct weir_retry){.backoff_ms = 300, .attempts = 2, .n_codes = 2, .codes = {500, 503}};
	start(seed);
	raw_listen();
	raw_connect(&client);
	raw_say(&client, request);
	run_ms(100);
}

static void finish(void)
{
	raw_close(&client);
	for (unsigned i = 0; i < 64; i++)
		raw_close(&raw_endpoints[i]);
	run_ms(200000);
	end();
	memset(&route, 0, sizeof(route));
}

/* The n-th time that the endpoint has the request. */
static void answer(unsigned n, const char *text)
{
	assert_int_equal(n_raw_endpoints, n);
	assert_true(has_got(&raw_endpoints[n - 1], "GET / HTTP/1.1\r\n"));
	raw_say(&raw_endpoints[n - 1], text);
	run_ms(100);
}

static void an_answer_that_is_to_be_retried_is_not_seen(void **state)
{
	begin(1, GET);
	answer(1, ANSWER("503"));
	assert_int_equal(client.n_in, 0);
	assert_int_equal(n_raw_endpoints, 1); /* not before the backoff */
	run_ms(300);
	answer(2, ANSWER("500"));
	run_ms(300);
	answer(3, GOOD);
	assert_true(has_got(&client, "HTTP/1.1 200 "));
	assert_false(has_got(&client, "no"));
	assert_int_equal(stats->counter[WEIR_C_UPSTREAM_RETRIES], 2);
	raw_say(&client, GET); /* the connection goes on, and the next request has its own attempts */
	run_ms(100);
	raw_say(&raw_endpoints[2], ANSWER("503"));
	run_ms(500);
	assert_int_equal(n_raw_endpoints, 4);
	finish();
}

static void the_last_attempts_answer_is_the_answer(void **state)
{
	begin(2, GET);
	for (unsigned i = 1; i <= 3; i++) {
		answer(i, ANSWER("503"));
		run_ms(400);
	}
	assert_int_equal(n_raw_endpoints, 3);
	assert_true(has_got(&client, "HTTP/1.1 503 Said\r\n"));
	assert_true(has_got(&client, "no"));
	finish();
}

static void other_statuses_are_answers(void **state)
{
	begin(3, GET);
	answer(1, ANSWER("502"));
	assert_true(has_got(&client, "HTTP/1.1 502 "));
	run_ms(1000);
	assert_int_equal(n_raw_endpoints, 1);
	finish();
}

static void a_request_with_a_body_is_not_sent_again(void **state)
{
	begin(4, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
	raw_say(&raw_endpoints[0], ANSWER("503"));
	run_ms(1000);
	assert_int_equal(n_raw_endpoints, 1);
	assert_true(has_got(&client, "HTTP/1.1 503 Said\r\n"));
	finish();
}

static void the_limit_of_the_request_holds_for_all_attempts(void **state)
{
	uint64_t from;

	route.limits.request_ms = 600;
	begin(5, GET);
	from = sim.now_us;
	answer(1, ANSWER("503"));
	run_ms(250); /* sent again after 300 ms */
	answer(2, ANSWER("503"));
	while (client.c && !client.n_in && sim.now_us - from < 5000000)
		run_ms(10);
	assert_in_range((sim.now_us - from) / 1000, 400, 600);
	assert_true(has_got(&client, "HTTP/1.1 504 "));
	assert_int_equal(stats->reason[WEIR_R_REQ_TIMEOUT], 1);
	run_ms(1000);
	assert_int_equal(n_raw_endpoints, 2);
	finish();
}

static void a_client_that_goes_meanwhile_ends_it(void **state)
{
	begin(6, GET);
	answer(1, ANSWER("503"));
	tcp_abort(client.c, WEIR_R_CLOSE_ABORTED, sim.now_us);
	client.c = NULL;
	run_ms(1000);
	assert_int_equal(n_raw_endpoints, 1);
	assert_int_equal(stats->gauge[WEIR_G_REQUESTS_ACTIVE], 0);
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_answer_that_is_to_be_retried_is_not_seen),
		cmocka_unit_test(the_last_attempts_answer_is_the_answer),
		cmocka_unit_test(other_statuses_are_answers),
		cmocka_unit_test(a_request_with_a_body_is_not_sent_again),
		cmocka_unit_test(the_limit_of_the_request_holds_for_all_attempts),
		cmocka_unit_test(a_client_that_goes_meanwhile_ends_it),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
