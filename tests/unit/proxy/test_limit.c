/* SPDX-License-Identifier: Apache-2.0 */
/* Each limit of time, and whose of them counts: in virtual time. */
#include "raw.h"

#include <rte_mbuf.h>

static struct raw client;

/* One byte at a time, as slow clients do. Returns the time until it was answered or cut; 0: it was not. */
static unsigned drip_ms(struct raw *r, unsigned every_ms, unsigned n)
{
	uint64_t begin = sim.now_us;

	for (unsigned i = 0; i < n && r->c && !r->n_in; i++) {
		assert_int_equal(tcp_send(r->c, "x", 1), 0);
		run_ms(every_ms);
	}
	return r->c && !r->n_in ? 0 : (unsigned)((sim.now_us - begin) / 1000);
}

static void finish(void)
{
	raw_close(&client);
	for (unsigned i = 0; i < 64; i++)
		raw_close(&raw_endpoints[i]);
	run_ms(200000);
	end();
}

/* The time until something came, or the end; 0: neither. */
static unsigned wait_ms(struct raw *r, unsigned at_most)
{
	uint64_t begin = sim.now_us;

	while (r->c && !r->n_in && !r->is_eof && sim.now_us - begin < (uint64_t)at_most * 1000)
		run_ms(10);
	return r->c && !r->n_in && !r->is_eof ? 0 : (unsigned)((sim.now_us - begin) / 1000);
}

static void a_head_of_single_bytes_ends_by_408(void **state)
{
	unsigned ms;

	start(1);
	raw_connect(&client);
	raw_say(&client, "GET / HTTP/1.1\r\nX: ");
	ms = drip_ms(&client, 500, 100);
	assert_in_range(ms, 5000, 6000);
	assert_true(has_got(&client, "HTTP/1.1 408 "));
	assert_int_equal(stats->reason[WEIR_R_REQ_HEADER_TIMEOUT], 1);
	finish();
}

static void heads_and_idle_clients_have_the_limits_of_their_bind(void **state)
{
	unsigned ms;

	route.listener_limits = (struct weir_timeouts){.header_ms = 1000, .idle_ms = 3000};
	start(2);
	raw_connect(&client);
	raw_say(&client, "GET / HTTP/1.1\r\nX: ");
	ms = drip_ms(&client, 100, 100);
	assert_in_range(ms, 1000, 1300);
	raw_close(&client);
	raw_connect(&client);
	assert_in_range(wait_ms(&client, 30000), 2800, 3200);
	assert_true(client.is_eof);
	assert_int_equal(stats->reason[WEIR_R_REQ_IDLE_TIMEOUT], 1);
	finish();
}

/* A new snapshot's limits hold for who comes in from then on, at their next arming for who is there. */
static void limits_of_a_bind_follow_the_snapshot(void **state)
{
	struct weir_endpoint_set *set;

	start(3);
	route.listener_limits.idle_ms = 2000;
	serve_snapshot(make_snapshot(2, &set));
	free(set);
	raw_connect(&client);
	assert_in_range(wait_ms(&client, 30000), 1800, 2200);
	n_released = 0;
	finish();
}

static void serve_port(uint64_t generation, uint16_t port)
{
	struct weir_endpoint_set *set;

	route.port = port;
	serve_snapshot(make_snapshot(generation, &set));
	free(set);
	assert_int_equal(stats->gauge[WEIR_G_LISTENERS], 1);
}

/* Who came in where nobody listens any more has the worker's limits, and its place is nobody else's. */
static void clients_of_a_closed_bind_have_no_limits_of_another(void **state)
{
	static struct raw other;

	route.listener_limits.header_ms = 1000;
	start(30);
	raw_connect(&client);
	serve_port(2, 81);
	raw_say(&client, "GET / HTTP/1.1\r\nX: ");
	assert_in_range(drip_ms(&client, 100, 100), 5000, 5300);
	raw_connect(&other); /* refused */
	run_ms(300);
	assert_null(other.c);
	serve_port(3, 80);
	raw_close(&client);
	raw_connect(&client);
	raw_say(&client, "GET / HTTP/1.1\r\nX: ");
	assert_in_range(drip_ms(&client, 100, 100), 1000, 1300);
	for (unsigned i = 0; i < 2000; i++) /* places are used again */
		serve_port(4 + i, (uint16_t)(81 + i % 1500));
	assert_int_equal(stats->counter[WEIR_C_LISTENERS_REFUSED], 0);
	n_released = 0;
	finish();
}

static void idle_behind_a_request_is_what_its_route_says(void **state)
{
	route.limits.idle_ms = 500;
	route.listener_limits.idle_ms = 9000;
	start(4);
	raw_connect(&client);
	raw_say(&client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_true(wait_ms(&client, 1000));
	run_ms(300);
	assert_false(client.is_eof);
	run_ms(400);
	assert_true(client.is_eof);
	finish();
}

static bool is_idle_over(void *ctx)
{
	return stats->reason[WEIR_R_REQ_IDLE_TIMEOUT] == 1;
}

/* The request is lost to us, but not to the client: it sees an end in order, and nothing that was answered. */
static void a_request_that_crosses_the_end_of_an_idle_client_sees_no_reset(void **state)
{
	route.listener_limits.idle_ms = 1000;
	start(5);
	raw_connect(&client);
	assert_true(sim_run(&sim, 5000000, is_idle_over, NULL));
	assert_false(client.is_eof); /* the FIN is on its way */
	raw_say(&client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	run_ms(500);
	assert_true(client.is_eof);
	assert_int_equal(client.n_all, 0);
	assert_non_null(client.c);
	assert_int_equal(sim.host[0].stats.counter[WEIR_C_TCP_RST_RX], 0);
	finish();
}

static void post(struct raw *r, const char *head)
{
	raw_connect(r);
	raw_say(r, "POST /x HTTP/1.1\r\nHost: a\r\n");
	raw_say(r, head);
	raw_say(r, "\r\n");
}

static void a_body_below_the_rate_ends_by_408(void **state)
{
	unsigned ms;

	start(6);
	post(&client, "Content-Length: 100000\r\n");
	ms = drip_ms(&client, 100, 400); /* 10 of 100 bytes a second */
	assert_in_range(ms, 10000, 11000);
	assert_true(has_got(&client, "HTTP/1.1 408 "));
	assert_int_equal(stats->reason[WEIR_R_REQ_BODY_SLOW], 1);
	finish();
}

static void chunks_of_nothing_but_framing_are_a_slow_body(void **state)
{
	start(7);
	post(&client, "Transfer-Encoding: chunked\r\n");
	for (unsigned i = 0; i < 300 && client.c && !client.n_in; i++) {
		raw_say(&client, "1;abcdefghijklmnopqrstuvwxyz=abcdefghijklmnopqrstuvwxyz\r\nx\r\n");
		run_ms(100);
	}
	assert_true(has_got(&client, "HTTP/1.1 408 "));
	assert_int_equal(stats->reason[WEIR_R_REQ_BODY_SLOW], 1);
	finish();
}

static void a_body_that_begins_late_may_catch_up(void **state)
{
	static const char line[] = "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789";

	route.limits.body_ms = 20000;
	start(8);
	raw_listen();
	post(&client, "Content-Length: 100000\r\n");
	for (unsigned stretch = 0; stretch < 5; stretch++) {
		run_ms(5000);
		for (unsigned i = 0; i < 12; i++)
			raw_say(&client, line);
		run_ms(5000);
	}
	assert_int_equal(client.n_all, 0);
	assert_int_equal(stats->reason[WEIR_R_REQ_BODY_SLOW], 0);
	finish();
}

static void a_rate_of_none_is_no_rate(void **state)
{
	route.limits.body_bytes_per_s = WEIR_NO_LIMIT;
	route.listener_limits.body_bytes_per_s = 1000;
	start(9);
	post(&client, "Content-Length: 100000\r\n");
	assert_int_equal(drip_ms(&client, 1000, 60), 0);
	finish();
}

static void a_client_is_not_blamed_for_a_slow_endpoint(void **state)
{
	static char much[30000];

	route.limits.body_ms = 60000;
	start(10);
	raw_listen();
	post(&client, "Content-Length: 100000000\r\n");
	run_ms(100);
	raw_endpoints[0].is_deaf = true;
	memset(much, 'x', sizeof(much) - 1);
	for (unsigned i = 0; i < 400 && client.c; i++) { /* as much as all windows take */
		if (tcp_send_room(client.c) >= sizeof(much))
			raw_say(&client, much);
		run_ms(100);
	}
	assert_non_null(client.c);
	assert_int_equal(client.n_all, 0);
	assert_int_equal(stats->reason[WEIR_R_REQ_BODY_SLOW], 0);
	finish();
}

/* Takes n bytes each time. */
static void read_slowly(struct raw *r, size_t n, unsigned every_ms, unsigned for_ms)
{
	for (unsigned t = 0; t < for_ms && r->c; t += every_ms) {
		run_ms(every_ms);
		for (size_t k = n; r->c && k && tcp_readable(r->c);) {
			size_t piece = tcp_peek(r->c).n < k ? tcp_peek(r->c).n : k;

			tcp_consume(r->c, piece);
			r->n_all += piece;
			k -= piece;
		}
	}
}

static void get_large(void)
{
	raw_connect(&client);
	client.is_deaf = true;
	raw_say(&client, "GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
}

static void a_reader_below_the_rate_is_reset(void **state)
{
	struct tcp_config tc = sim_config();

	tc.rx_buffer_bytes = 8192;
	route.limits.body_bytes_per_s = 1000;
	route.limits.body_ms = 60000;
	start_with(11, 8, 8, &tc);
	get_large();
	read_slowly(&client, 100, 500, 50000);
	assert_null(client.c);
	assert_true(client.is_reset);
	assert_int_equal(stats->reason[WEIR_R_REQ_READ_SLOW], 1);
	assert_int_equal(stats->reason[WEIR_R_REQ_BODY_TIMEOUT], 0);
	finish();
}

static void a_reader_above_the_rate_gets_all(void **state)
{
	struct tcp_config tc = sim_config();

	tc.rx_buffer_bytes = 8192;
	route.limits.body_bytes_per_s = 1000;
	start_with(12, 8, 8, &tc);
	get_large();
	read_slowly(&client, 4000, 1000, 120000);
	assert_non_null(client.c);
	assert_true(client.n_all > LARGE_BODY);
	assert_int_equal(stats->reason[WEIR_R_REQ_READ_SLOW], 0);
	finish();
}

/* What comes slowly from the endpoint is no fault of who reads it. */
static void a_response_that_trickles_is_not_the_readers_fault(void **state)
{
	start(13);
	raw_listen();
	raw_connect(&client);
	raw_say(&client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	run_ms(100);
	raw_say(&raw_endpoints[0], "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
	for (unsigned i = 0; i < 60; i++) {
		raw_say(&raw_endpoints[0], "x");
		run_ms(1000);
	}
	assert_non_null(client.c);
	assert_int_equal(stats->reason[WEIR_R_REQ_READ_SLOW], 0);
	finish();
}

static void who_stops_reading_has_a_reason_too(void **state)
{
	struct tcp_config tc = sim_config();

	tc.rx_buffer_bytes = 8192;
	start_with(14, 8, 8, &tc);
	get_large();
	run_ms(30000);
	assert_null(client.c);
	assert_int_equal(stats->reason[WEIR_R_REQ_READ_SLOW], 1);
	finish();
}

/* Sends a request that nobody answers; the time until the client has a 504. */
static unsigned ask_silence(uint64_t seed)
{
	unsigned ms;

	start(seed);
	mode = ORIGIN_SILENT;
	raw_connect(&client);
	raw_say(&client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	ms = wait_ms(&client, 300000);
	assert_true(has_got(&client, "HTTP/1.1 504 "));
	return ms;
}

static void whose_limit_counts(void **state)
{
	assert_in_range(ask_silence(20), 4000, 4300); /* the worker's, of the first byte */
	assert_int_equal(stats->reason[WEIR_R_REQ_RESPONSE_TIMEOUT], 1);
	finish();
	route.listener_limits.first_byte_ms = 2000;
	assert_in_range(ask_silence(21), 2000, 2300);
	finish();
	route.listener_limits.first_byte_ms = 2000;
	route.limits.first_byte_ms = 6000;
	assert_in_range(ask_silence(22), 6000, 6300);
	finish();
	route.listener_limits.request_ms = 1000;
	assert_in_range(ask_silence(23), 1000, 1300);
	assert_int_equal(stats->reason[WEIR_R_REQ_TIMEOUT], 1);
	finish();
	route.listener_limits.request_ms = 1000;
	route.limits.request_ms = WEIR_NO_LIMIT;
	assert_in_range(ask_silence(24), 4000, 4300);
	finish();
	route.limits.backend_ms = 9000; /* stands for the first byte too, if that is not set beside it */
	assert_in_range(ask_silence(25), 9000, 9300);
	finish();
	route.limits.backend_ms = 9000;
	route.limits.first_byte_ms = 3000;
	assert_in_range(ask_silence(26), 3000, 3300);
	finish();
}

static void a_request_that_takes_too_long_is_cut_in_its_response(void **state)
{
	route.limits.backend_ms = 3000;
	start(27);
	raw_listen();
	raw_connect(&client);
	raw_say(&client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	run_ms(100);
	raw_say(&raw_endpoints[0], "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
	for (unsigned i = 0; i < 28; i++) {
		assert_non_null(client.c);
		raw_say(&raw_endpoints[0], "x");
		run_ms(100);
	}
	run_ms(300);
	assert_null(client.c);
	assert_true(client.is_reset);
	assert_int_equal(stats->reason[WEIR_R_REQ_TIMEOUT], 1);
	finish();
}

/* No SYN reaches an endpoint. */
static bool drop_syns(struct sim *s, int from, struct rte_mbuf *m)
{
	const uint8_t *tcp = rte_pktmbuf_mtod(m, const uint8_t *);

	return from != 1 || (tcp[13] & 0x12) != 0x02;
}

static void connecting_has_the_limit_of_its_route(void **state)
{
	unsigned ms;

	route.limits.connect_ms = 700;
	start(28);
	raw_connect(&client);
	sim.filter = drop_syns;
	raw_say(&client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	ms = wait_ms(&client, 60000);
	assert_in_range(ms, 700, 1000); /* one endpoint, so one try */
	assert_true(has_got(&client, "HTTP/1.1 504 "));
	assert_int_equal(stats->reason[WEIR_R_REQ_CONNECT_TIMEOUT], 1);
	sim.filter = NULL;
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_head_of_single_bytes_ends_by_408),
		cmocka_unit_test(heads_and_idle_clients_have_the_limits_of_their_bind),
		cmocka_unit_test(limits_of_a_bind_follow_the_snapshot),
		cmocka_unit_test(clients_of_a_closed_bind_have_no_limits_of_another),
		cmocka_unit_test(idle_behind_a_request_is_what_its_route_says),
		cmocka_unit_test(a_request_that_crosses_the_end_of_an_idle_client_sees_no_reset),
		cmocka_unit_test(a_body_below_the_rate_ends_by_408),
		cmocka_unit_test(chunks_of_nothing_but_framing_are_a_slow_body),
		cmocka_unit_test(a_body_that_begins_late_may_catch_up),
		cmocka_unit_test(a_rate_of_none_is_no_rate),
		cmocka_unit_test(a_client_is_not_blamed_for_a_slow_endpoint),
		cmocka_unit_test(a_reader_below_the_rate_is_reset),
		cmocka_unit_test(a_reader_above_the_rate_gets_all),
		cmocka_unit_test(a_response_that_trickles_is_not_the_readers_fault),
		cmocka_unit_test(who_stops_reading_has_a_reason_too),
		cmocka_unit_test(whose_limit_counts),
		cmocka_unit_test(a_request_that_takes_too_long_is_cut_in_its_response),
		cmocka_unit_test(connecting_has_the_limit_of_its_route),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
