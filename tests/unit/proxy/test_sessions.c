/* SPDX-License-Identifier: Apache-2.0 */
/* What of a request chooses its endpoint, the cookie in its answer, and what counts as a failure of an endpoint. */
#include "rig.h"

static const struct model_balance sticky = {
	.fixed = {.affinity = WEIR_AFFINITY_COOKIE, .same_site = WEIR_SAME_SITE_LAX, .cookie_max_age_s = 60},
	.cookie_name = "node", .cookie_path = "/p"};
static char token[33];

/* One request on a connection of its own. */
static void ask(const char *fields)
{
	char text[2000];
	unsigned one = 1;

	snprintf(text, sizeof(text), "GET /x HTTP/1.1\r\nHost: a.example\r\n%s\r\n", fields);
	memset(clients, 0, sizeof(clients));
	send_raw(&clients[0], text);
	assert_true(sim_run(&sim, sim.now_us + 20000000, all_done, &one));
	tcp_close(clients[0].c, sim.now_us);
	clients[0].c = NULL;
	sim_run(&sim, sim.now_us + 100000, NULL, NULL);
}

static bool has_cookie(void)
{
	const char *at = strstr(got, "Set-Cookie: node=");

	if (!at)
		return false;
	memcpy(token, at + strlen("Set-Cookie: node="), 32);
	return true;
}

static void cookie_names_the_endpoint_with_its_attributes(void **state)
{
	char wanted[200];

	balance = sticky;
	start(31);
	ask("");
	assert_true(has_cookie());
	assert_int_equal(strspn(token, "0123456789abcdef"), 32);
	snprintf(wanted, sizeof(wanted), "Set-Cookie: node=%s; Path=/p; Max-Age=60; HttpOnly; SameSite=Lax\n", token);
	assert_non_null(strstr(got, wanted));
	assert_int_equal(stats->counter[WEIR_C_AFFINITY_SET], 1);
	end();
}

static void cookie_that_is_good_is_found_and_not_set_again(void **state)
{
	static const char *const good[] = {
		"Cookie: node=%s\r\n", "Cookie: a=b; node=%s\r\n", "cookie: a=b;node=%s;c=d\r\n", "Cookie: a=b\r\nCookie: x; node=%s\r\n",
		"Cookie: xnode=1; nod=2; node2=3;  node=%s ; z\r\n", "Cookie: ;;=; node=%s\r\n"};
	char fields[300];

	balance = sticky;
	start(32);
	ask("");
	assert_true(has_cookie());
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		snprintf(fields, sizeof(fields), good[i], token);
		ask(fields);
		assert_null(strstr(got, "Set-Cookie"));
		assert_int_equal(stats->counter[WEIR_C_AFFINITY_KEPT], i + 1);
	}
	end();
}

static void cookie_that_is_none_is_replaced(void **state)
{
	static const char *const bad[] = {
		"Cookie: node=\r\n", "Cookie: node\r\n", "Cookie: node=%.31s\r\n", "Cookie: node=%s0\r\n", "Cookie: node=\"%s\"\r\n",
		"Cookie: node=%.31sg\r\n", "Cookie: Node=%s\r\n", "Cookie: node =%s\r\n", "X-Cookie: node=%s\r\n",
		"Cookie: node=ffffffffffffffffffffffffffffffff; node=%s\r\n"};
	char fields[300];
	char first[33];

	balance = sticky;
	start(33);
	ask("");
	assert_true(has_cookie());
	memcpy(first, token, sizeof(first));
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		snprintf(fields, sizeof(fields), bad[i], first);
		ask(fields);
		assert_true(has_cookie());
		assert_string_equal(token, first);
	}
	end();
}

static void filters_leave_the_cookie_alone(void **state)
{
	static const struct model_header_op ops[] = {{WEIR_HEADER_REMOVE, "set-cookie", NULL}};
	static const struct model_filter filter = {.kind = WEIR_FILTER_RESPONSE_HEADERS, .n_ops = 1, .ops = ops};

	balance = sticky;
	route.rule = (struct model_filters){1, &filter};
	start(34);
	ask("");
	assert_true(has_cookie());
	end();
}

static void cookie_outlives_the_snapshot_of_its_request(void **state)
{
	struct weir_endpoint_set *set;
	unsigned one = 1;

	balance = sticky;
	start(35);
	mode = ORIGIN_SILENT;
	send_raw(&clients[0], "GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n");
	sim_run(&sim, 1000000, NULL, NULL);
	assert_int_equal(n_origin_requests, 1);
	serve_snapshot(make_snapshot(2, &set));
	free(set);
	assert_int_equal(n_released, 1);
	put_str(&origins[0], "HTTP/1.1 204 No Content\r\n\r\n");
	write_out(&origins[0]);
	assert_true(sim_run(&sim, 3000000, all_done, &one));
	assert_true(has_cookie());
	n_released = 0;
	end();
}

static void interim_responses_and_our_own_answers_have_no_cookie(void **state)
{
	balance = sticky;
	start(36);
	mode = ORIGIN_GARBAGE;
	ask("");
	assert_int_equal(clients[0].status, 502);
	assert_false(has_cookie());
	end();
}

static void missing_keys_are_counted(void **state)
{
	static const struct {
		uint8_t on;
		const char *name, *fields;
		unsigned n_missing;
	} cases[] = {
		{WEIR_HASH_SOURCE, NULL, "", 0},
		{WEIR_HASH_HEADER, "x-user", "X-USER: me\r\n", 0},
		{WEIR_HASH_HEADER, "x-user", "X-Other: me\r\n", 1},
		{WEIR_HASH_HEADER, "x-user", "X-User: \r\n", 1},
		{WEIR_HASH_COOKIE, "sid", "Cookie: a=1; sid=2\r\n", 0},
		{WEIR_HASH_COOKIE, "sid", "Cookie: SID=2\r\n", 1},
		{WEIR_HASH_COOKIE, "sid", "", 1},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		for (uint8_t algorithm = WEIR_BALANCE_MAGLEV; algorithm <= WEIR_BALANCE_RING_HASH; algorithm++) {
			balance = (struct model_balance){.fixed = {.balance = algorithm, .hash_on = cases[i].on}, .hash_name = cases[i].name};
			start(37);
			ask(cases[i].fields);
			assert_int_equal(clients[0].status, 200);
			assert_int_equal(stats->counter[WEIR_C_BALANCE_NO_KEY], cases[i].n_missing);
			end();
		}
}

/* With one endpoint only, what would have ejected it is counted as withheld. */
static uint64_t failures_with(enum origin_mode m)
{
	uint64_t n;

	balance = (struct model_balance){.fixed = {.eject_failures = 1, .eject_base_ms = 1000, .eject_max_ms = 1000, .max_ejected_percent = 100}};
	start(38);
	mode = m;
	memset(clients, 0, sizeof(clients));
	send_raw(&clients[0], "GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n");
	sim_run(&sim, sim.now_us + 20000000, NULL, NULL);
	n = stats->counter[WEIR_C_EJECTIONS_WITHHELD];
	end();
	return n;
}

static void failures_of_an_endpoint_count_and_answers_do_not(void **state)
{
	assert_int_equal(failures_with(ORIGIN_ECHO), 0);
	assert_int_equal(failures_with(ORIGIN_CLOSE_EACH), 0);
	assert_int_equal(failures_with(ORIGIN_CUT), 1);
	assert_int_equal(failures_with(ORIGIN_SILENT), 1);
	assert_true(failures_with(ORIGIN_GARBAGE) >= 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cookie_names_the_endpoint_with_its_attributes),
		cmocka_unit_test(cookie_that_is_good_is_found_and_not_set_again),
		cmocka_unit_test(cookie_that_is_none_is_replaced),
		cmocka_unit_test(filters_leave_the_cookie_alone),
		cmocka_unit_test(cookie_outlives_the_snapshot_of_its_request),
		cmocka_unit_test(interim_responses_and_our_own_answers_have_no_cookie),
		cmocka_unit_test(missing_keys_are_counted),
		cmocka_unit_test(failures_of_an_endpoint_count_and_answers_do_not),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
