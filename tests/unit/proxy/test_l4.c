/* SPDX-License-Identifier: Apache-2.0 */
/* Connections of bytes at a bind of TCP: in virtual time. With TLS around them: test_l4_tls.c. */
#include <rte_mbuf.h>

#include "raw.h"

static struct raw client;
static struct raw *const endpoint = &raw_endpoints[0];

static void begin(uint64_t seed)
{
	route.proto = WEIR_PROTO_TCP;
	route.kind = WEIR_LISTENER_STREAM;
	start(seed);
	assert_int_equal(stats->gauge[WEIR_G_LISTENERS], 1);
}

static void open_stream(uint64_t seed)
{
	begin(seed);
	raw_listen();
	raw_connect(&client);
	run_ms(200);
	assert_int_equal(stats->gauge[WEIR_G_TUNNELS], 1);
	assert_int_equal(stats->gauge[WEIR_G_REQUESTS_ACTIVE], 0);
}

static void finish(void)
{
	raw_finish(&client);
	assert_int_equal(stats->gauge[WEIR_G_CLIENT_CONNECTIONS], 0);
	end();
}

/* The one record of this test. */
static const struct weir_log_record *the_record(enum weir_reason why, uint32_t flags)
{
	return one_record(0, why, WEIR_LOG_STREAM_FLAG | flags);
}

/* The client's connection was reset for this reason, and nothing is left of it. */
static void assert_failed(enum weir_reason why, uint32_t flags)
{
	assert_true(client.is_reset);
	assert_int_equal(stats->reason[why], 1);
	assert_int_equal(stats->counter[WEIR_C_STREAMS], 0);
	assert_int_equal(stats->gauge[WEIR_G_TUNNELS], 0);
	the_record(why, WEIR_LOG_CUT_FLAG | flags);
}

static void bytes_go_both_ways_whoever_begins(void **state)
{
	const struct weir_log_record *r;

	open_stream(1); /* and not a byte was said */
	raw_say(endpoint, "220 ready");
	run_ms(200);
	assert_true(has_got(&client, "220 ready"));
	raw_say(&client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); /* means nothing here */
	run_ms(200);
	assert_true(has_got(endpoint, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
	assert_int_equal(endpoint->n_in, 27);
	tcp_shutdown(client.c);
	run_ms(200);
	assert_true(endpoint->is_eof);
	assert_int_equal(access_log.worker.head, 0);
	raw_say(endpoint, "bye");
	tcp_shutdown(endpoint->c);
	run_ms(200);
	assert_true(has_got(&client, "bye"));
	r = the_record(WEIR_N_REASONS, 0);
	assert_int_equal(r->request_bytes, 27);
	assert_int_equal(r->response_bytes, 12);
	assert_int_equal(r->n_tries, 1);
	assert_int_equal(r->endpoint_port, RAW_PORT);
	assert_memory_equal(r->text, "Knrn/s:80", 9);
	assert_int_equal(stats->counter[WEIR_C_STREAMS], 1);
	assert_int_equal(stats->counter[WEIR_C_STREAM_BYTES_UP], 27);
	assert_int_equal(stats->counter[WEIR_C_STREAM_BYTES_DOWN], 12);
	assert_int_equal(stats->counter[WEIR_C_TUNNELS], 0);
	assert_int_equal(stats->counter[WEIR_C_REQUESTS], 0);
	finish();
}

static void what_is_said_before_there_is_an_endpoint_waits(void **state)
{
	begin(2);
	raw_listen();
	memset(&client, 0, sizeof(client));
	raw_connect(&client);
	raw_say(&client, "early");
	tcp_shutdown(client.c);
	run_ms(500);
	assert_true(has_got(endpoint, "early"));
	assert_true(endpoint->is_eof);
	raw_say(endpoint, "answer");
	run_ms(200);
	assert_true(has_got(&client, "answer"));
	finish();
}

/* Nobody listens at the first one. */
static void another_endpoint_is_tried(void **state)
{
	struct weir_endpoint ep[2] = {{.addr = sim.host[0].ip, .port = 9, .flags = WEIR_EP_READY, .weight = 1},
				      {.addr = sim.host[0].ip, .port = RAW_PORT, .flags = WEIR_EP_READY, .weight = 1}};
	const struct model_backend b = {.name = "n/s:80", .n_endpoints = 2, .endpoints = ep};
	unsigned n_retried = 0;
	void *eps;
	size_t n;

	begin(3);
	raw_listen();
	ep[0].addr = ep[1].addr = sim.host[0].ip;
	assert_int_equal(compile_endpoints(&b, 1, &eps, &n), 0);
	upstream_take_set(upstream, eps, sim.now_us);
	free(eps);
	for (unsigned i = 0; i < 6; i++) {
		raw_connect(&client);
		raw_say(&client, "x");
		run_ms(3000);
		assert_int_equal(stats->gauge[WEIR_G_TUNNELS], 1);
		tcp_abort(client.c, WEIR_R_CLOSE_ABORTED, sim.now_us);
		client.c = NULL;
		run_ms(500);
		n_retried += !!(access_log.records[i].flags & WEIR_LOG_RETRIED_FLAG);
	}
	assert_int_equal(stats->counter[WEIR_C_STREAMS], 6);
	assert_int_equal(stats->reason[WEIR_R_TUNNEL_CLIENT_GONE], 6);
	assert_true(n_retried > 0);
	finish();
}

static void an_endpoint_that_refuses_ends_it(void **state)
{
	const struct weir_endpoint nobody = {.addr = sim.host[0].ip, .port = 9, .flags = WEIR_EP_READY, .weight = 1};
	struct weir_endpoint ep = nobody;
	const struct model_backend b = {.name = "n/s:80", .n_endpoints = 1, .endpoints = &ep};
	void *eps;
	size_t n;

	begin(4);
	ep.addr = sim.host[0].ip;
	assert_int_equal(compile_endpoints(&b, 1, &eps, &n), 0);
	upstream_take_set(upstream, eps, sim.now_us);
	free(eps);
	raw_connect(&client);
	run_ms(3000);
	assert_failed(WEIR_R_STREAM_UPSTREAM_REFUSED, 0);
	finish();
}

static void without_a_ready_endpoint_it_ends(void **state)
{
	const struct model_backend b = {.name = "n/s:80"};
	void *eps;
	size_t n;

	begin(5);
	assert_int_equal(compile_endpoints(&b, 1, &eps, &n), 0);
	upstream_take_set(upstream, eps, sim.now_us);
	free(eps);
	raw_connect(&client);
	run_ms(500);
	assert_failed(WEIR_R_STREAM_NO_ENDPOINT, 0);
	finish();
}

static void without_a_route_or_a_backend_it_ends(void **state)
{
	route.is_empty = true;
	begin(6);
	raw_connect(&client);
	run_ms(500);
	assert_failed(WEIR_R_STREAM_NO_ROUTE, 0);
	finish();
	route.has_no_backend = true;
	begin(7);
	raw_connect(&client);
	run_ms(500);
	assert_failed(WEIR_R_STREAM_BAD_BACKEND_REF, 0);
	finish();
}

/* No SYN reaches an endpoint. */
static bool drop_syns(struct sim *x, int from, struct rte_mbuf *m)
{
	const uint8_t *tcp = rte_pktmbuf_mtod(m, const uint8_t *);

	return from != 1 || (tcp[13] & 0x12) != 0x02;
}

static void begin_with_silence(uint64_t seed)
{
	begin(seed);
	raw_listen();
	sim.filter = drop_syns;
	raw_connect(&client);
	raw_say(&client, "x");
	run_ms(1000);
	assert_int_equal(stats->gauge[WEIR_G_REQUESTS_ACTIVE], 1);
}

static void connecting_has_a_limit(void **state)
{
	begin_with_silence(13);
	run_ms(20000);
	assert_failed(WEIR_R_STREAM_CONNECT_TIMEOUT, 0);
	finish();
}

static void a_client_may_leave_before_there_is_an_endpoint(void **state)
{
	begin_with_silence(8);
	tcp_abort(client.c, WEIR_R_CLOSE_ABORTED, sim.now_us);
	client.c = NULL;
	run_ms(500);
	assert_int_equal(stats->gauge[WEIR_G_CLIENT_CONNECTIONS], 0);
	the_record(WEIR_R_STREAM_CLIENT_GONE, WEIR_LOG_CUT_FLAG);
	finish();
}

static void the_pool_of_tunnels_bounds_them(void **state)
{
	static struct raw more[N_TUNNELS];

	begin(9);
	raw_listen();
	for (unsigned i = 0; i < N_TUNNELS; i++)
		raw_connect(&more[i]);
	run_ms(500);
	assert_int_equal(stats->gauge[WEIR_G_TUNNELS], N_TUNNELS);
	raw_connect(&client);
	run_ms(500);
	assert_true(client.is_reset);
	assert_int_equal(stats->reason[WEIR_R_STREAM_POOL_EMPTY], 1);
	for (unsigned i = 0; i < N_TUNNELS; i++)
		raw_close(&more[i]);
	finish();
}

/* While an endpoint is connected to, it is a request that counts as such. */
static void the_pool_of_requests_bounds_those_that_wait(void **state)
{
	const struct tcp_config tc = sim_config();
	static struct raw other;

	route.proto = WEIR_PROTO_TCP;
	route.kind = WEIR_LISTENER_STREAM;
	start_with(15, 32, 1, &tc);
	raw_listen();
	sim.filter = drop_syns;
	raw_connect(&other);
	raw_connect(&client);
	run_ms(500);
	assert_failed(WEIR_R_STREAM_POOL_EMPTY, 0);
	raw_close(&other);
	finish();
}

static void it_may_be_idle_for_so_long_only(void **state)
{
	route.limits.tunnel_idle_ms = 5000;
	open_stream(10);
	run_ms(4000);
	raw_say(endpoint, "x");
	run_ms(4000);
	assert_int_equal(stats->gauge[WEIR_G_TUNNELS], 1);
	run_ms(3000);
	assert_int_equal(stats->gauge[WEIR_G_TUNNELS], 0);
	assert_int_equal(stats->reason[WEIR_R_TUNNEL_IDLE], 1);
	the_record(WEIR_R_TUNNEL_IDLE, 0);
	finish();
}

static void a_reset_is_passed_on(void **state)
{
	open_stream(11);
	tcp_abort(endpoint->c, WEIR_R_CLOSE_ABORTED, sim.now_us);
	endpoint->c = NULL;
	run_ms(500);
	assert_true(client.is_reset);
	assert_int_equal(stats->reason[WEIR_R_TUNNEL_ENDPOINT_GONE], 1);
	the_record(WEIR_R_TUNNEL_ENDPOINT_GONE, WEIR_LOG_CUT_FLAG);
	finish();
}

/* A snapshot of HTTP in the place of this one: what is open goes on, what comes then is HTTP. */
static void other_routes_do_not_touch_it(void **state)
{
	struct weir_endpoint_set *set;

	open_stream(12);
	route.proto = WEIR_PROTO_HTTP;
	route.kind = WEIR_LISTENER_HTTP;
	serve_snapshot(make_snapshot(2, &set));
	free(set);
	raw_say(&client, "still");
	run_ms(300);
	assert_true(has_got(endpoint, "still"));
	raw_close(&client);
	run_ms(300);
	raw_connect(&client);
	raw_say(&client, "nonsense\r\n\r\n");
	run_ms(300);
	assert_true(has_got(&client, "HTTP/1.1 400 "));
	n_released = 0;
	finish();
}

/* The zero address comes first among the binds of a port, but means this one never, not even while a snapshot is taken over. */
static void an_address_that_has_its_own_bind_is_never_spoken_to_as_others(void **state)
{
	struct weir_endpoint_set *set;
	const struct weir_snapshot *s;
	unsigned n_steps = 0;
	int budget;

	route.has_own_bind = true;
	start(14);
	raw_listen();
	s = make_snapshot(2, &set);
	free(set);
	proxy_set_snapshot(proxy, s);
	do {
		raw_connect(&client);
		raw_say(&client, "no request\r\n\r\n");
		run_ms(300);
		assert_int_equal(client.n_in, 0);
		assert_int_equal(stats->counter[WEIR_C_STREAMS], ++n_steps);
		raw_close(&client);
		run_ms(300);
		budget = 1;
	} while (!proxy_step(proxy, &budget, sim.now_us));
	assert_true(n_steps > 2);
	n_released = 0;
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_go_both_ways_whoever_begins),
		cmocka_unit_test(what_is_said_before_there_is_an_endpoint_waits),
		cmocka_unit_test(another_endpoint_is_tried),
		cmocka_unit_test(an_endpoint_that_refuses_ends_it),
		cmocka_unit_test(without_a_ready_endpoint_it_ends),
		cmocka_unit_test(without_a_route_or_a_backend_it_ends),
		cmocka_unit_test(connecting_has_a_limit),
		cmocka_unit_test(a_client_may_leave_before_there_is_an_endpoint),
		cmocka_unit_test(the_pool_of_tunnels_bounds_them),
		cmocka_unit_test(the_pool_of_requests_bounds_those_that_wait),
		cmocka_unit_test(it_may_be_idle_for_so_long_only),
		cmocka_unit_test(a_reset_is_passed_on),
		cmocka_unit_test(other_routes_do_not_touch_it),
		cmocka_unit_test(an_address_that_has_its_own_bind_is_never_spoken_to_as_others),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
