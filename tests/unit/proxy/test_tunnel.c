/* SPDX-License-Identifier: Apache-2.0 */
/* Upgrade, and the tunnels that it makes: in virtual time. */
#include "raw.h"

#define ASK "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n"
#define YES "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Accept: s\r\nContent-Length: 9\r\n\r\n"

static struct raw client;
static struct raw *const endpoint = &raw_endpoints[0];

static void ask(uint64_t seed, const char *request)
{
	start(seed);
	raw_listen();
	raw_connect(&client);
	raw_say(&client, request);
	run_ms(200);
}

static unsigned n_marked, n_unmarked;

static void count_marked(void *ctx, struct tcp_conn *c)
{
	struct tcp_info info;

	tcp_get_info(c, &info);
	n_marked += info.is_tunnel;
	n_unmarked += !info.is_tunnel;
}

static void open_tunnel(uint64_t seed)
{
	ask(seed, ASK);
	raw_say(endpoint, YES);
	run_ms(200);
	assert_true(has_got(&client, "HTTP/1.1 101 Switching Protocols\r\n"));
	assert_int_equal(stats->gauge[WEIR_G_TUNNELS], 1);
	assert_int_equal(stats->gauge[WEIR_G_REQUESTS_ACTIVE], 0); /* it does without */
	assert_int_equal(access_log.worker.head, 0); /* until it ends */
	client.n_in = endpoint->n_in = 0;
}

static void finish(void)
{
	raw_finish(&client);
	end();
}

static void heads_of_an_upgrade_are_carried_and_bytes_both_ways(void **state)
{
	ask(1, ASK);
	assert_true(has_got(endpoint, "\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"));
	assert_true(has_got(endpoint, "\r\nSec-WebSocket-Key: k\r\n"));
	assert_false(has_got(endpoint, "keep-alive"));
	raw_say(endpoint, YES "first");
	run_ms(200);
	assert_true(has_got(&client, "\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n"));
	assert_true(has_got(&client, "\r\nSec-WebSocket-Accept: s\r\n"));
	assert_true(has_got(&client, "\r\n\r\nfirst"));
	assert_false(has_got(&client, "Content-Length"));
	client.n_in = endpoint->n_in = 0;
	for (unsigned i = 0; i < 10; i++) {
		raw_say(&client, "ping");
		raw_say(endpoint, "pong");
		run_ms(100);
	}
	assert_int_equal(endpoint->n_in, 40);
	assert_int_equal(client.n_in, 40);
	assert_int_equal(stats->counter[WEIR_C_TUNNELS], 1);
	assert_int_equal(stats->counter[WEIR_C_TUNNEL_BYTES_UP], 40);
	assert_int_equal(stats->counter[WEIR_C_TUNNEL_BYTES_DOWN], 45);
	finish();
}

/* The one record of this test, of a tunnel that ended for this reason (WEIR_N_REASONS: none). */
static const struct weir_log_record *the_record(enum weir_reason why, uint32_t flags)
{
	return one_record(101, why, WEIR_LOG_HEAD_FLAG | WEIR_LOG_UPGRADED_FLAG | flags);
}

static void a_tunnel_has_its_record_when_it_ends(void **state)
{
	const struct weir_log_record *r;

	open_tunnel(60);
	raw_say(&client, "some");
	raw_say(endpoint, "others");
	run_ms(7000);
	assert_int_equal(access_log.worker.head, 0);
	tcp_shutdown(client.c);
	tcp_shutdown(endpoint->c);
	run_ms(300);
	r = the_record(WEIR_N_REASONS, 0);
	assert_int_equal(r->request_bytes, 4);
	assert_int_equal(r->response_bytes, 6);
	assert_true(r->response_head_bytes > 0);
	assert_int_equal(r->n_tries, 1);
	assert_memory_equal(r->text, "GETaKnrn/s:80", 13); /* what the request was, it is told by */
	assert_true(r->head_us <= r->first_us && r->first_us < 500000);
	assert_in_range(r->end_us, 7000000, 8000000); /* from the request's first byte to the tunnel's end */
	assert_int_equal(r->endpoint_port, RAW_PORT);
	finish();
}

/* In microseconds it does not fit into 32 bits. */
static void a_tunnel_of_days_tells_how_long_it_was_open(void **state)
{
	const struct weir_log_record *r;
	const uint64_t day_us = 86400000000ull;

	route.limits.tunnel_idle_ms = WEIR_NO_LIMIT;
	open_tunnel(61);
	sim_run(&sim, 3 * day_us, NULL, NULL);
	tcp_shutdown(client.c);
	tcp_shutdown(endpoint->c);
	run_ms(300);
	r = the_record(WEIR_N_REASONS, WEIR_LOG_LONG_FLAG);
	assert_in_range(r->long_end_us, 3 * day_us, 3 * day_us + 2000000);
	assert_int_equal(r->end_us, WEIR_LOG_NEVER - 1);
	finish();
}

static void a_tunnel_that_the_end_of_the_dataplane_cuts_has_a_record(void **state)
{
	open_tunnel(62);
	raw_say(&client, "some");
	run_ms(300);
	proxy_destroy(proxy, sim.now_us);
	assert_int_equal(the_record(WEIR_R_CLOSE_SHUTDOWN, WEIR_LOG_CUT_FLAG)->request_bytes, 4);
	upstream_destroy(upstream, sim.now_us);
	sim_fini(&sim);
}

static void both_connections_of_a_tunnel_are_known_as_such(void **state)
{
	static struct raw other;

	open_tunnel(63);
	raw_connect(&other); /* no tunnel */
	n_marked = n_unmarked = 0;
	tcp_each(sim.host[1].tcp, count_marked, NULL);
	assert_int_equal(n_marked, 2);
	assert_int_equal(n_unmarked, 1);
	raw_close(&other);
	finish();
}

/* More than all windows hold, while the receiver pauses. */
static void much_goes_both_ways_over_a_bad_link(void **state)
{
	static char block[5000];
	const size_t n = 2000000;
	uint64_t sum[2] = {0, 0};
	size_t sent[2] = {0, 0};

	open_tunnel(2);
	sim.link.loss_ppm = 5000;
	client.n_all = client.sum = endpoint->n_all = endpoint->sum = 0;
	endpoint->is_deaf = true;
	for (unsigned round = 0; round < 100000 && (client.n_all < n || endpoint->n_all < n); round++) {
		struct raw *from[2] = {&client, endpoint};

		for (unsigned side = 0; side < 2; side++) {
			size_t k = 1 + sim_random(&sim) % sizeof(block);

			if (k > n - sent[side])
				k = n - sent[side];
			if (k == 0 || tcp_send_room(from[side]->c) < k)
				continue;
			for (size_t i = 0; i < k; i++) {
				block[i] = (char)sim_random(&sim);
				sum[side] += (uint64_t)(uint8_t)block[i] * ++sent[side];
			}
			assert_int_equal(tcp_send(from[side]->c, block, k), 0);
		}
		run_ms(1);
		if (round == 3000) {
			assert_true(sent[0] < n); /* its window is shut, up to the client */
			endpoint->is_deaf = false;
			raw_read(endpoint);
		}
	}
	assert_int_equal(endpoint->n_all, n);
	assert_int_equal(client.n_all, n);
	assert_int_equal(endpoint->sum, sum[0]);
	assert_int_equal(client.sum, sum[1]);
	finish();
}

static void the_end_of_one_side_is_passed_on_and_the_other_goes_on(void **state)
{
	open_tunnel(3);
	raw_say(&client, "last");
	tcp_shutdown(client.c);
	run_ms(300);
	assert_true(endpoint->is_eof && has_got(endpoint, "last"));
	assert_false(client.is_eof);
	raw_say(endpoint, "still here");
	run_ms(300);
	assert_true(has_got(&client, "still here"));
	tcp_shutdown(endpoint->c);
	run_ms(300);
	assert_true(client.is_eof);
	assert_int_equal(stats->gauge[WEIR_G_TUNNELS], 0);
	assert_int_equal(stats->gauge[WEIR_G_CLIENT_CONNECTIONS], 0);
	assert_int_equal(sim.host[0].stats.counter[WEIR_C_TCP_RST_RX], 0);
	finish();
	open_tunnel(4);
	tcp_shutdown(endpoint->c);
	run_ms(300);
	assert_true(client.is_eof);
	raw_say(&client, "and I");
	run_ms(300);
	assert_true(has_got(endpoint, "and I"));
	finish();
}

static void a_reset_is_passed_on(void **state)
{
	open_tunnel(5);
	tcp_abort(client.c, WEIR_R_CLOSE_ABORTED, sim.now_us);
	client.c = NULL;
	run_ms(300);
	assert_true(endpoint->is_reset);
	assert_int_equal(stats->reason[WEIR_R_TUNNEL_CLIENT_GONE], 1);
	the_record(WEIR_R_TUNNEL_CLIENT_GONE, WEIR_LOG_CUT_FLAG);
	finish();
	open_tunnel(6);
	tcp_abort(endpoint->c, WEIR_R_CLOSE_ABORTED, sim.now_us);
	endpoint->c = NULL;
	run_ms(300);
	assert_true(client.is_reset);
	assert_int_equal(stats->reason[WEIR_R_TUNNEL_ENDPOINT_GONE], 1);
	the_record(WEIR_R_TUNNEL_ENDPOINT_GONE, WEIR_LOG_CUT_FLAG);
	finish();
}

static void an_idle_tunnel_is_closed_in_order(void **state)
{
	route.limits.tunnel_idle_ms = 5000;
	open_tunnel(7);
	for (unsigned i = 0; i < 5; i++) { /* one byte keeps it, whichever way */
		raw_say(i % 2 ? &client : endpoint, "x");
		run_ms(4000);
	}
	assert_int_equal(stats->gauge[WEIR_G_TUNNELS], 1);
	run_ms(1500);
	assert_true(client.is_eof && endpoint->is_eof);
	assert_int_equal(stats->reason[WEIR_R_TUNNEL_IDLE], 1);
	the_record(WEIR_R_TUNNEL_IDLE, 0);
	assert_int_equal(sim.host[0].stats.counter[WEIR_C_TCP_RST_RX], 0);
	finish();
}

static void a_tunnel_has_a_life_time(void **state)
{
	route.limits.tunnel_life_ms = 5000;
	open_tunnel(8);
	for (unsigned i = 0; i < 8; i++) {
		raw_say(&client, "x");
		run_ms(500);
	}
	assert_int_equal(stats->gauge[WEIR_G_TUNNELS], 1);
	run_ms(1500);
	assert_true(client.is_eof && endpoint->is_eof);
	assert_int_equal(stats->reason[WEIR_R_TUNNEL_LIFE], 1);
	the_record(WEIR_R_TUNNEL_LIFE, 0);
	finish();
}

static void bytes_behind_the_request_wait_for_the_tunnel(void **state)
{
	ask(9, ASK "GET /not-a-request HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_false(has_got(endpoint, "not-a-request"));
	raw_say(endpoint, YES);
	run_ms(300);
	assert_true(has_got(endpoint, "\r\n\r\nGET /not-a-request HTTP/1.1\r\nHost: a\r\n\r\n"));
	assert_int_equal(stats->counter[WEIR_C_REQUESTS], 1);
	finish();
}

static void bytes_behind_a_refused_upgrade_are_no_request(void **state)
{
	ask(10, ASK "GET /not-a-request HTTP/1.1\r\nHost: a\r\n\r\n");
	raw_say(endpoint, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
	run_ms(300);
	assert_true(has_got(&client, "HTTP/1.1 403 ") && has_got(&client, "Connection: close"));
	assert_true(client.is_eof);
	assert_false(has_got(endpoint, "not-a-request"));
	assert_int_equal(stats->counter[WEIR_C_REQUESTS], 1);
	finish();
}

static void a_refused_upgrade_is_an_ordinary_response(void **state)
{
	ask(11, ASK);
	raw_say(endpoint, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno");
	run_ms(300);
	assert_true(has_got(&client, "HTTP/1.1 200 OK\r\n") && has_got(&client, "\r\n\r\nno"));
	assert_false(client.is_eof);
	assert_int_equal(stats->gauge[WEIR_G_UPSTREAM_IDLE], 1);
	raw_say(&client, "GET /second HTTP/1.1\r\nHost: a\r\n\r\n");
	run_ms(300);
	assert_true(has_got(endpoint, "GET /second "));
	finish();
}

/* What is asked for and answered, and whether the endpoint sees an Upgrade and the client a 101. */
static void what_makes_no_tunnel(void **state)
{
	static const struct {
		const char *request, *answer;
		bool is_forwarded, is_open;
	} cases[] = {
		{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", YES, false, false},
		{"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", YES, false, false},
		{"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\r\n", YES, false, false},
		{"GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", YES, false, false},
		{"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", YES, false, false},
		{"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: HTTP/2.0\r\n\r\n", YES, false, false},
		{"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: web socket\r\n\r\n", YES, false, false},
		{"POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n", YES, false, false},
		{"POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x/1\r\nContent-Length: 2\r\n\r\nab", YES, false, false},
		{"OPTIONS / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x/1, h2c\r\nUpgrade: y\r\n\r\n",
		 "HTTP/1.1 101 \r\nConnection: upgrade\r\nUpgrade: Y\r\n\r\n", true, true},
		{ASK, "HTTP/1.1 101 \r\nUpgrade: websocket\r\n\r\n", true, false},
		{ASK, "HTTP/1.1 101 \r\nConnection: upgrade\r\n\r\n", true, false},
		{ASK, "HTTP/1.1 101 \r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", true, false},
		{ASK, "HTTP/1.1 101 \r\nConnection: upgrade\r\nUpgrade: h2c, websocket\r\n\r\n", true, false},
		{ASK, "HTTP/1.0 101 \r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", true, false},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		ask(20 + i, cases[i].request);
		if (has_got(endpoint, "pgrade:") != cases[i].is_forwarded)
			fail_msg("case %u: %s", i, endpoint->in);
		assert_false(has_got(endpoint, "h2c"));
		raw_say(endpoint, cases[i].answer);
		run_ms(300);
		if (has_got(&client, "HTTP/1.1 101 ") != cases[i].is_open || has_got(&client, "HTTP/1.1 502 ") == cases[i].is_open)
			fail_msg("case %u: %s", i, client.in);
		assert_int_equal(stats->counter[WEIR_C_TUNNELS], cases[i].is_open);
		assert_int_equal(stats->reason[WEIR_R_REQ_UPSTREAM_BAD], !cases[i].is_open);
		finish();
	}
}

static void filters_change_a_101_and_a_mirror_sees_no_upgrade(void **state)
{
	static const struct model_header_op ops[] = {{WEIR_HEADER_SET, "X-New", "1"}, {WEIR_HEADER_REMOVE, "Sec-WebSocket-Accept", NULL}};
	static const struct model_filter filters[] = {
		{.kind = WEIR_FILTER_RESPONSE_HEADERS, .n_ops = 2, .ops = ops},
		{.kind = WEIR_FILTER_MIRROR, .backend = 1, .numerator = 1, .denominator = 1},
	};

	route.rule = (struct model_filters){2, filters};
	n_mirror_backends = 1;
	ask(49, ASK);
	raw_say(endpoint, YES);
	run_ms(300);
	assert_true(has_got(&client, "HTTP/1.1 101 ") && has_got(&client, "\r\nX-New: 1\r\n"));
	assert_false(has_got(&client, "Sec-WebSocket-Accept"));
	assert_int_equal(n_mirrored, 1);
	assert_non_null(strstr(mirrored, "Sec-WebSocket-Key"));
	assert_null(strstr(mirrored, "pgrade"));
	finish();
}

static void an_empty_pool_is_answered_503_before_anything_is_forwarded(void **state)
{
	static struct raw many[N_TUNNELS];

	ask(50, ASK);
	for (unsigned i = 1; i < N_TUNNELS; i++) {
		raw_connect(&many[i]);
		raw_say(&many[i], ASK);
	}
	run_ms(300);
	assert_int_equal(n_raw_endpoints, N_TUNNELS);
	raw_connect(&many[0]);
	raw_say(&many[0], ASK);
	run_ms(300);
	assert_true(has_got(&many[0], "HTTP/1.1 503 "));
	assert_int_equal(stats->reason[WEIR_R_TUNNEL_POOL_EMPTY], 1);
	assert_int_equal(n_raw_endpoints, N_TUNNELS);
	raw_say(endpoint, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"); /* one of them gives up */
	run_ms(300);
	raw_say(&many[0], ASK);
	run_ms(300);
	raw_say(endpoint, YES);
	run_ms(300);
	assert_true(has_got(&many[0], "HTTP/1.1 101 "));
	for (unsigned i = 0; i < N_TUNNELS; i++)
		raw_close(&many[i]);
	finish();
}

static void routes_and_endpoints_change_and_tunnels_stay(void **state)
{
	struct weir_endpoint_set *set;

	open_tunnel(51);
	serve_snapshot(make_snapshot(2, &set));
	upstream_take_set(upstream, set, sim.now_us); /* without RAW_PORT */
	free(set);
	run_ms(1000);
	raw_say(&client, "ping");
	raw_say(endpoint, "pong");
	run_ms(300);
	assert_true(has_got(endpoint, "ping") && has_got(&client, "pong"));
	n_released = 0;
	finish();
}

static void a_drain_closes_tunnels_shortly_before_its_end(void **state)
{
	open_tunnel(52);
	proxy_drain(proxy, sim.now_us);
	run_ms(25000);
	raw_say(&client, "ping");
	run_ms(300);
	assert_true(has_got(endpoint, "ping"));
	assert_false(client.is_eof || endpoint->is_eof);
	run_ms(3500);
	assert_true(client.is_eof && endpoint->is_eof);
	raw_close(&client);
	raw_close(endpoint);
	run_ms(500);
	assert_true(proxy_is_idle(proxy));
	assert_int_equal(stats->reason[WEIR_R_TUNNEL_DRAINED], 1);
	the_record(WEIR_R_TUNNEL_DRAINED, 0);
	assert_int_equal(sim.host[0].stats.counter[WEIR_C_TCP_RST_RX], 0);
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(heads_of_an_upgrade_are_carried_and_bytes_both_ways),
		cmocka_unit_test(a_tunnel_has_its_record_when_it_ends),
		cmocka_unit_test(a_tunnel_of_days_tells_how_long_it_was_open),
		cmocka_unit_test(a_tunnel_that_the_end_of_the_dataplane_cuts_has_a_record),
		cmocka_unit_test(both_connections_of_a_tunnel_are_known_as_such),
		cmocka_unit_test(much_goes_both_ways_over_a_bad_link),
		cmocka_unit_test(the_end_of_one_side_is_passed_on_and_the_other_goes_on),
		cmocka_unit_test(a_reset_is_passed_on),
		cmocka_unit_test(an_idle_tunnel_is_closed_in_order),
		cmocka_unit_test(a_tunnel_has_a_life_time),
		cmocka_unit_test(bytes_behind_the_request_wait_for_the_tunnel),
		cmocka_unit_test(bytes_behind_a_refused_upgrade_are_no_request),
		cmocka_unit_test(a_refused_upgrade_is_an_ordinary_response),
		cmocka_unit_test(what_makes_no_tunnel),
		cmocka_unit_test(filters_change_a_101_and_a_mirror_sees_no_upgrade),
		cmocka_unit_test(an_empty_pool_is_answered_503_before_anything_is_forwarded),
		cmocka_unit_test(routes_and_endpoints_change_and_tunnels_stay),
		cmocka_unit_test(a_drain_closes_tunnels_shortly_before_its_end),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
