/* SPDX-License-Identifier: Apache-2.0 */
/* Filters of routes, and mirrors, from end to end in virtual time. */
#include "rig.h"

#define MANY_BYTES 1000000 /* of a body: less than one mirror may lag behind, more than eight of them may together */

static const struct model_header_op request_ops[] = {{WEIR_HEADER_SET, "x-a", "rule"}, {WEIR_HEADER_ADD, "x-b", "rule"},
						     {WEIR_HEADER_REMOVE, "x-c", NULL}};
static const struct model_header_op split_ops[] = {{WEIR_HEADER_SET, "x-b", "split"}};
static const struct model_header_op response_ops[] = {{WEIR_HEADER_SET, "x-r", "rule"}, {WEIR_HEADER_ADD, "x-s", "rule"}};
static const struct model_header_op split_response_ops[] = {{WEIR_HEADER_ADD, "x-s", "split"}};
static const struct model_filter rule_filters[] = {
	{.kind = WEIR_FILTER_REQUEST_HEADERS, .n_ops = 3, .ops = request_ops},
	{.kind = WEIR_FILTER_RESPONSE_HEADERS, .n_ops = 2, .ops = response_ops},
	{.kind = WEIR_FILTER_REWRITE, .host = "in.example", .path_change = WEIR_PATH_REPLACE_PREFIX, .path = "/new"},
};
static const struct model_filter split_filters[] = {
	{.kind = WEIR_FILTER_REQUEST_HEADERS, .n_ops = 1, .ops = split_ops},
	{.kind = WEIR_FILTER_RESPONSE_HEADERS, .n_ops = 1, .ops = split_response_ops},
};
static const char filtered_request[] = "GET /x/y?q=1 HTTP/1.1\r\nHost: a.example\r\nX-A: client\r\nX-C: client\r\nX-D: client\r\n\r\n";

static void assert_has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("%s is not in\n%s", part, text);
}

static void assert_filtered(void)
{
	assert_has(seen, "/new/x/y?q=1\n");
	assert_has(seen, "Host: in.example\n");
	assert_has(seen, "x-a: rule\n");
	assert_has(seen, "x-b: split\n");
	assert_has(seen, "X-D: client\n");
	assert_has(seen, "X-Forwarded-Host: a.example\n");
	assert_null(strstr(seen, "client\nX-C"));
	assert_null(strstr(seen, "X-A"));
	assert_null(strstr(seen, "X-C"));
	assert_null(strstr(seen, "x-b: rule"));
	assert_has(got, "200\n");
	assert_has(got, "x-r: rule\n");
	assert_has(got, "x-s: rule\nx-s: split\n");
}

static void filters_of_rule_and_backend_change_both_heads(void **state)
{
	unsigned one = 1;

	route.rule = (struct model_filters){3, rule_filters};
	route.split = (struct model_filters){2, split_filters};
	start(21);
	send_raw(&clients[0], filtered_request);
	assert_true(sim_run(&sim, 60000000, all_done, &one));
	assert_filtered();
	end();
}

/* The snapshot that the request was routed by is gone when its response comes. */
static void filters_of_a_request_outlive_their_snapshot(void **state)
{
	struct weir_endpoint_set *set;
	unsigned one = 1;

	route.rule = (struct model_filters){3, rule_filters};
	route.split = (struct model_filters){2, split_filters};
	start(22);
	mode = ORIGIN_SILENT;
	send_raw(&clients[0], filtered_request);
	sim_run(&sim, 1000000, NULL, NULL);
	assert_int_equal(n_origin_requests, 1);
	memset(&route, 0, sizeof(route));
	serve_snapshot(make_snapshot(2, &set));
	free(set);
	assert_int_equal(n_released, 1);
	put_str(&origins[0], "HTTP/1.1 103 Early Hints\r\nX-S: early\r\n\r\nHTTP/1.1 200 OK\r\nX-R: origin\r\nContent-Length: 0\r\n\r\n");
	write_out(&origins[0]);
	assert_true(sim_run(&sim, 3000000, all_done, &one)); /* the interim response counts */
	sim_run(&sim, 1000000, NULL, NULL);
	assert_filtered();
	assert_null(strstr(got, "X-R: origin"));
	send_raw(&clients[1], filtered_request);
	mode = ORIGIN_ECHO;
	assert_true(sim_run(&sim, 60000000, all_done, &one));
	assert_has(seen, "/x/y?q=1\n");
	n_released = 0;
	end();
}

static void redirects_are_answered_without_a_backend(void **state)
{
	static const struct model_filter redirect[] = {
		{.kind = WEIR_FILTER_RESPONSE_HEADERS, .n_ops = 2, .ops = response_ops},
		{.kind = WEIR_FILTER_REDIRECT, .status = 301, .scheme = WEIR_PROTO_HTTPS, .port = 8443,
		 .path_change = WEIR_PATH_REPLACE_PREFIX, .path = "/new"},
	};
	unsigned two = 2;
	unsigned one = 1;

	route.action = WEIR_ACTION_REDIRECT;
	route.rule = (struct model_filters){2, redirect};
	start(23);
	start_client(&clients[0], 0);
	put_str(&clients[0], filtered_request);
	put_str(&clients[0], filtered_request);
	assert_true(sim_run(&sim, 60000000, all_done, &two));
	assert_has(got, "301\nLocation: https://a.example:8443/new/x/y?q=1\n");
	assert_has(got, "x-r: rule\n");
	assert_null(strstr(got, "Connection"));
	send_raw(&clients[1], "POST /x HTTP/1.1\r\nHost: a.example:81\r\nContent-Length: 10\r\n\r\nabc");
	assert_true(sim_run(&sim, 60000000, all_done, &one));
	assert_has(got, "301\nLocation: https://a.example:8443/new/x\n");
	assert_has(got, "Connection: close\n"); /* the rest of the body is no request */
	assert_int_equal(stats->counter[WEIR_C_REDIRECTS], 3);
	assert_int_equal(stats->counter[WEIR_C_RESPONSES_3XX], 3);
	assert_int_equal(n_origin_requests, 0);
	sim_run(&sim, 60000000, NULL, NULL);
	end();
	memset(&route, 0, sizeof(route));
	route.split = (struct model_filters){2, redirect}; /* of the backend: likewise */
	start(24);
	send_raw(&clients[0], filtered_request);
	assert_true(sim_run(&sim, 60000000, all_done, &one));
	assert_has(got, "301\nLocation: https://a.example:8443/new/x/y?q=1\n");
	assert_int_equal(n_origin_requests, 0);
	end();
}

/* -- CORS */

static const struct model_header_op cors_ops[] = {
	{WEIR_CORS_ORIGIN, "", "https://*.a.test"}, {WEIR_CORS_METHODS, "", "GET, PUT"}, {WEIR_CORS_HEADERS, "", "*"},
	{WEIR_CORS_EXPOSED, "", "x-e"},		    {WEIR_CORS_MAX_AGE, "", "60"},	  {WEIR_CORS_CREDENTIALS, "", "true"}};
static const struct model_header_op cors_any_ops[] = {
	{WEIR_CORS_ORIGIN, "", "*"}, {WEIR_CORS_METHODS, "", "*"}, {WEIR_CORS_HEADERS, "", "*"}, {WEIR_CORS_MAX_AGE, "", "5"}};
static const struct model_filter cors[] = {{.kind = WEIR_FILTER_CORS, .n_ops = 6, .ops = cors_ops},
					   {.kind = WEIR_FILTER_RESPONSE_HEADERS, .n_ops = 2, .ops = response_ops}};
static const struct model_filter cors_any[] = {{.kind = WEIR_FILTER_CORS, .n_ops = 4, .ops = cors_any_ops}};

/* The answer to one request more of this method, with these fields, on the first client's connection. */
static void ask(const char *method, const char *fields)
{
	unsigned n = clients[0].n_done + 1;
	char text[2048];

	snprintf(text, sizeof(text), "%s /x HTTP/1.1\r\nHost: a.example\r\n%s\r\n", method, fields);
	put_str(&clients[0], text);
	write_out(&clients[0]);
	assert_true(sim_run(&sim, 60000000, all_done, &n));
}

#define PREFLIGHT "Access-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: x-1, x-2\r\n"

static void start_cors(uint64_t seed, const struct model_filter *f, size_t n)
{
	route.rule = (struct model_filters){n, f};
	start(seed);
	start_client(&clients[0], 0);
}

static void preflights_are_answered_without_a_backend(void **state)
{
	start_cors(25, cors, 2);
	ask("OPTIONS", "Origin: https://b.a.test\r\n" PREFLIGHT);
	assert_has(got, "204\n");
	assert_has(got, "Access-Control-Allow-Origin: https://b.a.test\n");
	assert_has(got, "Access-Control-Allow-Methods: GET, PUT\n");
	assert_has(got, "Access-Control-Allow-Headers: x-1, x-2\n"); /* for credentials "*" is no wildcard */
	assert_has(got, "Access-Control-Expose-Headers: x-e\n");
	assert_has(got, "Access-Control-Max-Age: 60\n");
	assert_has(got, "Access-Control-Allow-Credentials: true\n");
	assert_has(got, "Vary: Origin, ");
	ask("OPTIONS", "Origin: https://b.a.test\r\nAccess-Control-Request-Method: PUT\r\n");
	assert_null(strstr(got, "Access-Control-Allow-Headers"));
	ask("OPTIONS", "Origin: https://a.test\r\n" PREFLIGHT);
	assert_has(got, "204\n");
	assert_null(strstr(got, "Access-Control-Allow"));
	assert_has(got, "Vary: Origin, ");
	assert_int_equal(n_origin_requests, 0);
	assert_int_equal(stats->counter[WEIR_C_RESPONSES_2XX], 3);
	ask("OPTIONS", "Origin: https://b.a.test\r\n"); /* what asks for no method is no preflight */
	assert_int_equal(n_origin_requests, 1);
	assert_int_equal(stats->counter[WEIR_C_PREFLIGHTS], 3);
	assert_has(got, "Access-Control-Allow-Origin: https://b.a.test\n");
	end();
	start_cors(26, cors_any, 1);
	ask("OPTIONS", "Origin: null\r\n" PREFLIGHT);
	assert_has(got, "Access-Control-Allow-Origin: *\n");
	assert_has(got, "Access-Control-Allow-Methods: *\n");
	assert_has(got, "Access-Control-Allow-Headers: *\n");
	assert_null(strstr(got, "Vary"));
	assert_null(strstr(got, "Credentials"));
	end();
}

static void answers_tell_browsers_whom_they_are_for(void **state)
{
	char origin[1024];

	start_cors(27, cors, 2);
	ask("GET", "Origin: https://b.a.test\r\n" PREFLIGHT);
	assert_has(got, "200\n");
	assert_has(got, "Access-Control-Allow-Origin: https://b.a.test\n");
	assert_has(got, "Access-Control-Allow-Credentials: true\n");
	assert_has(got, "Access-Control-Expose-Headers: x-e\n");
	assert_has(got, "Vary: Origin\n");
	assert_has(got, "x-r: rule\n");
	assert_null(strstr(got, "Allow-Methods"));
	assert_has(seen, "Origin: https://b.a.test\n");
	ask("GET", "Origin: https://evil.test\r\n");
	assert_has(got, "Vary: Origin\n");
	assert_null(strstr(got, "Access-Control"));
	ask("GET", "");
	assert_has(got, "Vary: Origin\n"); /* a cache must not give this one to an origin that is allowed */
	assert_null(strstr(got, "Access-Control"));
	snprintf(origin, sizeof(origin), "Origin: https://%0600d.a.test\r\n", 0);
	ask("GET", origin);
	assert_null(strstr(got, "Access-Control")); /* longer than any name of a host */
	assert_int_equal(n_origin_requests, 4);
	end();
	start_cors(28, cors_any, 1);
	ask("GET", "Origin: https://b.a.test\r\n");
	assert_has(got, "Access-Control-Allow-Origin: *\n");
	assert_null(strstr(got, "Vary"));
	end();
}

/* -- mirrors */

static const struct model_filter mirror_all[] = {{.kind = WEIR_FILTER_MIRROR, .backend = 1, .numerator = 1, .denominator = 1},
						 {.kind = WEIR_FILTER_MIRROR, .backend = 1, .numerator = 1, .denominator = 1}};
static const struct model_filter mirror_some[] = {{.kind = WEIR_FILTER_MIRROR, .backend = 1, .numerator = 1, .denominator = 4}};
static const struct model_filter mirror_none[] = {{.kind = WEIR_FILTER_MIRROR, .backend = 1, .denominator = 1}};

static void start_mirrored(uint64_t seed, const struct model_filter *f, size_t n)
{
	route.rule = (struct model_filters){n, f};
	n_mirror_backends = 1;
	start(seed);
}

static bool no_mirror_is_left(void *ctx)
{
	return stats->gauge[WEIR_G_MIRRORS] == 0;
}

static uint64_t mirrors_dropped(void)
{
	uint64_t n = 0;

	for (unsigned r = WEIR_R_MIRROR_POOL_EMPTY; r <= WEIR_R_MIRROR_CUT; r++)
		n += stats->reason[r];
	return n;
}

/* Over a bad link, with every size of body, chunked and not: the mirror gets each request whole, and gives it an answer that nobody sees. */
static void mirrored_requests_arrive_whole_and_connections_are_reused(void **state)
{
	unsigned each = 50;

	for (uint64_t seed = 31; seed <= 33; seed++) {
		start_mirrored(seed, mirror_all, 1);
		sim.link.loss_ppm = 5000;
		sim.link.jitter_us = 300;
		for (int i = 0; i < 4; i++)
			start_client(&clients[i], each);
		assert_true(sim_run(&sim, 3600000000, all_done, &each));
		assert_true(sim_run(&sim, 60000000, no_mirror_is_left, NULL));
		for (int i = 0; i < 4; i++)
			assert_int_equal(clients[i].n_done, each);
		assert_int_equal(n_origin_requests, 4 * each);
		assert_int_equal(stats->counter[WEIR_C_MIRRORED] + stats->reason[WEIR_R_MIRROR_POOL_EMPTY], 4 * each);
		assert_int_equal(n_mirrored + mirrors_dropped(), 4 * each);
		assert_true(n_mirrored > 3 * each); /* the pool is small, and loss makes some wait */
		assert_true(n_mirrors < n_mirrored / 2);
		end();
	}
}

static void mirror_gets_what_the_backend_gets(void **state)
{
	static const struct model_filter f[] = {
		{.kind = WEIR_FILTER_REQUEST_HEADERS, .n_ops = 3, .ops = request_ops},
		{.kind = WEIR_FILTER_REWRITE, .host = "in.example", .path_change = WEIR_PATH_REPLACE_PREFIX, .path = "/new"},
		{.kind = WEIR_FILTER_MIRROR, .backend = 1, .numerator = 1, .denominator = 1},
	};
	unsigned one = 1;

	start_mirrored(34, f, 3);
	send_raw(&clients[0], filtered_request);
	assert_true(sim_run(&sim, 60000000, all_done, &one));
	assert_true(sim_run(&sim, 60000000, no_mirror_is_left, NULL));
	assert_string_equal(mirrored, seen);
	assert_has(mirrored, "/new/x/y?q=1\n");
	start_client(&clients[1], 1);
	assert_true(sim_run(&sim, 60000000, all_done, &one));
	assert_true(sim_run(&sim, 60000000, no_mirror_is_left, NULL));
	assert_int_equal(n_mirrored_body, clients[1].n_want);
	assert_memory_equal(mirrored_body, clients[1].want, n_mirrored_body);
	assert_int_equal(n_mirrored, 2);
	assert_int_equal(mirrors_dropped(), 0);
	end();
}

static void share_of_requests_is_mirrored(void **state)
{
	static const struct {
		const struct model_filter *f;
		size_t n;
		unsigned least, most;
	} cases[] = {{mirror_none, 1, 0, 0}, {mirror_some, 1, 60, 140}, {mirror_all, 1, 400, 400}, {mirror_all, 2, 800, 800}};
	unsigned each = 400;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		start_mirrored(35 + i, cases[i].f, cases[i].n);
		start_client(&clients[0], 0);
		for (unsigned k = 0; k < each; k++)
			put_str(&clients[0], "GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
		assert_true(sim_run(&sim, 600000000, all_done, &each));
		assert_true(sim_run(&sim, 60000000, no_mirror_is_left, NULL));
		assert_int_equal(mirrors_dropped(), 0);
		assert_in_range(n_mirrored, cases[i].least, cases[i].most);
		assert_int_equal(stats->counter[WEIR_C_MIRRORED], n_mirrored);
		end();
	}
}

/* Endpoints of mirrors that fail in each way: the client sees nothing of it, and each has its reason. */
static void failing_mirrors_disturb_nobody(void **state)
{
	static const struct {
		enum mirror_mode mode;
		uint16_t port; /* 0: no endpoint */
		enum weir_reason why;
	} cases[] = {
		{MIRROR_ECHO, 0, WEIR_R_MIRROR_NO_ENDPOINT},   {MIRROR_ECHO, 9, WEIR_R_MIRROR_FAILED},
		{MIRROR_SILENT, 8081, WEIR_R_MIRROR_TIMEOUT},  {MIRROR_CLOSE, 8081, WEIR_R_MIRROR_FAILED},
		{MIRROR_GARBAGE, 8081, WEIR_R_MIRROR_FAILED},
	};
	unsigned each = 5;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		start_mirrored(40 + i, mirror_all, 1);
		mirror_mode = cases[i].mode;
		set_mirror_endpoint(cases[i].port);
		start_client(&clients[0], each);
		assert_true(sim_run(&sim, 60000000, all_done, &each));
		assert_int_equal(clients[0].n_done, each);
		assert_int_equal(clients[0].status, 200);
		assert_true(sim_run(&sim, 60000000, no_mirror_is_left, NULL));
		if (stats->reason[cases[i].why] != each)
			fail_msg("case %zu: %u of %u", i, (unsigned)stats->reason[cases[i].why], each);
		end();
	}
}

static bool mirror_is_slow(void *ctx)
{
	return stats->reason[WEIR_R_MIRROR_SLOW] > 0;
}

/* An endpoint that takes nothing: its mirror is cut at its bound, and the client goes on to its end as without it. */
static void mirror_that_takes_nothing_is_cut_and_holds_nothing_up(void **state)
{
	uint64_t times[2];

	for (int i = 0; i < 2; i++) {
		char line[128];
		unsigned one = 1;
		uint64_t began;

		start_mirrored(50, i ? mirror_all : mirror_none, 1);
		mirror_mode = MIRROR_DEAF;
		mode = ORIGIN_SINK;
		start_client(&clients[0], 0);
		snprintf(line, sizeof(line), "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: %u\r\n\r\n", 8 * LARGE_BODY);
		put_str(&clients[0], line);
		clients[0].n_stream = 8 * LARGE_BODY;
		began = sim.now_us;
		assert_true(sim_run(&sim, 60000000, all_done, &one));
		times[i] = sim.now_us - began;
		assert_int_equal(clients[0].status, 204);
		assert_int_equal(mirror_is_slow(NULL), i);
		assert_int_equal(stats->gauge[WEIR_G_MIRRORS], 0);
		sim_run(&sim, 60000000, NULL, NULL);
		end();
	}
	assert_in_range(times[1], times[0] / 2, times[0] * 3 / 2);
}

static bool watch_mirror_bytes(void *ctx)
{
	uint64_t *most = ctx;
	unsigned one = 1;

	if (stats->gauge[WEIR_G_MIRROR_BYTES] > *most)
		*most = stats->gauge[WEIR_G_MIRROR_BYTES];
	return all_done(&one);
}

/* Each of them alone would stay below its bound; together they would hold too much of the pool. */
static void mirrors_together_hold_a_part_of_the_pool_at_most(void **state)
{
	const uint64_t allowed = SIM_N_MBUFS * 256;
	uint64_t most = 0;
	char line[128];

	start_mirrored(53, mirror_all, 1);
	mirror_mode = MIRROR_DEAF;
	mode = ORIGIN_SINK;
	for (int i = 0; i < N_MIRRORS; i++) {
		start_client(&clients[i], 0);
		snprintf(line, sizeof(line), "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: %u\r\n\r\n", MANY_BYTES);
		put_str(&clients[i], line);
		clients[i].n_stream = MANY_BYTES;
	}
	assert_true(sim_run(&sim, 60000000, watch_mirror_bytes, &most));
	for (int i = 0; i < N_MIRRORS; i++)
		assert_int_equal(clients[i].status, 204);
	assert_in_range(most, allowed * 3 / 4, allowed + 65536);
	assert_in_range(stats->reason[WEIR_R_MIRROR_SLOW], 1, N_MIRRORS - 2);
	assert_int_equal(mirrors_dropped(), stats->reason[WEIR_R_MIRROR_SLOW]);
	assert_true(sim_run(&sim, 60000000, no_mirror_is_left, NULL));
	end();
}

static void mirror_of_a_request_that_is_cut_is_cut_too(void **state)
{
	unsigned one = 1;

	start_mirrored(51, mirror_all, 1);
	send_raw(&clients[0], "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
	assert_true(sim_run(&sim, 60000000, all_done, &one));
	assert_int_equal(clients[0].status, 408);
	assert_int_equal(stats->reason[WEIR_R_MIRROR_CUT], 1);
	assert_int_equal(stats->gauge[WEIR_G_MIRRORS], 0);
	assert_int_equal(n_mirrored, 0);
	sim_run(&sim, 60000000, NULL, NULL);
	end();
}

static void mirrors_beyond_the_pool_are_dropped_and_drain_ends_those_in_hand(void **state)
{
	unsigned each = 2 * N_MIRRORS;

	start_mirrored(52, mirror_all, 1);
	mirror_mode = MIRROR_SILENT;
	start_client(&clients[0], 0);
	for (unsigned k = 0; k < each; k++)
		put_str(&clients[0], "GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_true(sim_run(&sim, 2000000, all_done, &each)); /* sooner than mirrors time out */
	assert_int_equal(stats->reason[WEIR_R_MIRROR_POOL_EMPTY], N_MIRRORS);
	assert_int_equal(stats->gauge[WEIR_G_MIRRORS], N_MIRRORS);
	proxy_drain(proxy, sim.now_us);
	sim_run(&sim, 1000000, NULL, NULL);
	assert_true(proxy_is_idle(proxy));
	assert_int_equal(stats->gauge[WEIR_G_MIRRORS], 0);
	assert_int_equal(stats->reason[WEIR_R_MIRROR_CUT], N_MIRRORS);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(filters_of_rule_and_backend_change_both_heads),
		cmocka_unit_test(filters_of_a_request_outlive_their_snapshot),
		cmocka_unit_test(redirects_are_answered_without_a_backend),
		cmocka_unit_test(preflights_are_answered_without_a_backend),
		cmocka_unit_test(answers_tell_browsers_whom_they_are_for),
		cmocka_unit_test(mirrored_requests_arrive_whole_and_connections_are_reused),
		cmocka_unit_test(mirror_gets_what_the_backend_gets),
		cmocka_unit_test(share_of_requests_is_mirrored),
		cmocka_unit_test(failing_mirrors_disturb_nobody),
		cmocka_unit_test(mirror_that_takes_nothing_is_cut_and_holds_nothing_up),
		cmocka_unit_test(mirrors_together_hold_a_part_of_the_pool_at_most),
		cmocka_unit_test(mirror_of_a_request_that_is_cut_is_cut_too),
		cmocka_unit_test(mirrors_beyond_the_pool_are_dropped_and_drain_ends_those_in_hand),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
