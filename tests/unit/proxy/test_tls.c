/* SPDX-License-Identifier: Apache-2.0 */
/* Clients of HTTPS binds, over a stand-in for TLS (fake_tls.h): in virtual time. */
#include "tls_rig.h"

static void requests_come_by_https_and_say_so(void **state)
{
	const struct weir_log_record *r;

	begin(1);
	open_to(one_tls, "a.example", false);
	ask(one_tls, "POST https://a.example/x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello");
	assert_int_equal(count(one_tls, "HTTP/1.1 200 OK\r\n"), 1);
	assert_int_equal(count(one_tls, "hello"), 1);
	assert_non_null(strstr(seen, "X-Forwarded-Proto: https\n"));
	r = &access_log.records[0];
	assert_int_equal(r->tls_version, 0x0304);
	assert_int_equal(r->tls_group, 0x11ec);
	assert_int_equal(r->tls_is_resumed, 1);
	assert_int_equal(r->len[WEIR_LOG_TLS_CIPHER], 8);
	assert_int_equal(r->len[WEIR_LOG_TLS_SERVER_NAME], 9);
	assert_int_equal(stats->counter[WEIR_C_TLS_HANDSHAKES], 1);
	finish();
}

static void pipelined_requests_in_one_record_are_all_answered(void **state)
{
	begin(2);
	open_to(one_tls, "", false);
	ask(one_tls, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_int_equal(count(one_tls, "HTTP/1.1 200 OK\r\n"), 3);
	fake_put(one_tls->s, FAKE_NOISE, NULL, 0); /* events without content */
	run_ms(500);
	ask(one_tls, "GET /4 HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_int_equal(count(one_tls, "HTTP/1.1 200 OK\r\n"), 1);
	finish();
}

static void large_bodies_go_both_ways(void **state)
{
	static char request[300000];
	int n = snprintf(request, sizeof(request), "POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 290000\r\n\r\n");

	memset(request + n, 'b', 290000);
	begin(3);
	open_to(one_tls, "a", false);
	ask(one_tls, "GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
	run_ms(60000);
	assert_true(one_tls->n_in > LARGE_BODY);
	mode = ORIGIN_SINK;
	close_it(one_tls, false);
	open_to(one_tls, "a", false);
	say(one_tls, request, (size_t)n + 290000);
	run_ms(60000);
	assert_int_equal(count(one_tls, "HTTP/1.1 204 "), 1);
	assert_int_equal(stats->counter[WEIR_C_BODY_BYTES_UP], 290000);
	finish();
}

static void a_handshake_has_a_limit(void **state)
{
	begin(4);
	open_to(one_tls, "a", true);
	run_ms(9000);
	assert_int_equal(stats->gauge[WEIR_G_TLS_HANDSHAKING], 1);
	run_ms(2000);
	assert_int_equal(stats->reason[WEIR_R_TLS_HANDSHAKE_TIMEOUT], 1);
	assert_int_equal(stats->gauge[WEIR_G_TLS_SESSIONS], 0);
	finish();
}

static void who_leaves_within_the_handshake_is_counted(void **state)
{
	begin(5);
	open_to(&clients_tls[0], "a", true);
	open_to(&clients_tls[1], "a", true);
	close_it(&clients_tls[0], true);
	run_ms(500);
	assert_int_equal(stats->reason[WEIR_R_TLS_CLIENT_GONE], 1);
	tcp_shutdown(clients_tls[1].c);
	run_ms(500);
	assert_int_equal(stats->reason[WEIR_R_TLS_CLIENT_GONE], 2);
	assert_int_equal(stats->gauge[WEIR_G_TLS_SESSIONS], 0);
	finish();
}

static void a_refused_handshake_ends_with_the_alert(void **state)
{
	begin(6);
	open_to(one_tls, "unknown", false);
	run_ms(500);
	assert_int_equal(fake_n_alerts, 1);
	assert_int_equal(stats->reason[WEIR_R_TLS_UNRECOGNIZED_NAME], 1);
	assert_int_equal(stats->gauge[WEIR_G_TLS_SESSIONS], 0);
	finish();
}

/* Whatever the client was in: idle, within a head, within a body, waiting, within a tunnel. */
static void a_broken_record_ends_a_request_with_the_alert(void **state)
{
	static const char *const begun[] = {"", "GET / HT", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc",
					    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\nabc"};

	begin(7);
	for (unsigned i = 0; i < 4; i++) {
		open_to(one_tls, "a", false);
		ask(one_tls, begun[i]);
		fake_put(one_tls->s, (enum fake_type)99, NULL, 0);
		run_ms(500);
		assert_int_equal(fake_n_alerts, i + 1);
		assert_int_equal(stats->reason[WEIR_R_TLS_BAD_RECORD], i + 1);
		assert_int_equal(stats->gauge[WEIR_G_TLS_SESSIONS], 0);
		close_it(one_tls, false);
	}
	assert_int_equal(stats->reason[WEIR_R_REQ_CLIENT_GONE], 3);
	finish();
}

static void who_leaves_behind_the_handshake_leaves_no_session(void **state)
{
	static const char *const begun[] = {"", "GET / HT", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc",
					    "GET / HTTP/1.1\r\nHost: a\r\n\r\n"};

	begin(8);
	mode = ORIGIN_SILENT;
	for (unsigned i = 0; i < 8; i++) {
		open_to(one_tls, "a", false);
		ask(one_tls, begun[i / 2]);
		close_it(one_tls, i % 2);
		run_ms(15000);
		assert_int_equal(stats->gauge[WEIR_G_TLS_SESSIONS], 0);
	}
	finish();
}

static void a_tunnel_carries_bytes_and_ends_both_ways(void **state)
{
	struct raw *endpoint = &raw_endpoints[0];

	begin(9);
	raw_listen();
	open_to(one_tls, "a", false);
	ask(one_tls, "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
	raw_say(endpoint, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst");
	run_ms(500);
	assert_int_equal(count(one_tls, "HTTP/1.1 101 "), 1);
	assert_int_equal(count(one_tls, "first"), 1);
	endpoint->n_in = 0;
	ask(one_tls, "ping");
	assert_true(has_got(endpoint, "ping"));
	raw_say(endpoint, "pong");
	run_ms(500);
	assert_string_equal(one_tls->in, "pong");
	tcp_shutdown(endpoint->c);
	run_ms(500);
	assert_true(one_tls->is_eof && one_tls->s->is_eof); /* by close_notify */
	tls_shutdown(one_tls->s);
	run_ms(3000);
	assert_int_equal(stats->gauge[WEIR_G_TUNNELS], 0);
	assert_int_equal(stats->gauge[WEIR_G_TLS_SESSIONS], 0);
	raw_close(endpoint);
	finish();
}

static void a_broken_record_ends_a_tunnel(void **state)
{
	begin(10);
	raw_listen();
	open_to(one_tls, "a", false);
	ask(one_tls, "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
	raw_say(&raw_endpoints[0], "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
	run_ms(500);
	fake_put(one_tls->s, (enum fake_type)99, NULL, 0);
	run_ms(500);
	assert_int_equal(fake_n_alerts, 1);
	assert_int_equal(stats->reason[WEIR_R_TUNNEL_CLIENT_GONE], 1);
	assert_int_equal(stats->gauge[WEIR_G_TUNNELS], 0);
	raw_close(&raw_endpoints[0]);
	finish();
}

static void an_idle_client_is_told_the_end_by_a_limit_and_by_a_drain(void **state)
{
	begin(11);
	open_to(&clients_tls[0], "a", false);
	run_ms(21000);
	assert_int_equal(stats->reason[WEIR_R_REQ_IDLE_TIMEOUT], 1);
	assert_true(clients_tls[0].is_eof || clients_tls[0].s == NULL);
	open_to(&clients_tls[1], "a", false);
	proxy_drain(proxy, sim.now_us);
	run_ms(300);
	assert_true(clients_tls[1].s->is_eof);
	run_ms(5000);
	assert_true(proxy_is_idle(proxy));
	finish();
}

/* Two: one waits for us, one has sent nothing yet; a third would have come too late. */
static void a_drain_waits_for_handshakes_and_their_first_request(void **state)
{
	begin(12);
	tls->waits = true;
	open_to(&clients_tls[0], "a", false);
	open_to(&clients_tls[1], "a", true);
	assert_int_equal(stats->gauge[WEIR_G_TLS_HANDSHAKING], 2);
	proxy_drain(proxy, sim.now_us);
	run_ms(300);
	tls->waits = false;
	clients_tls[0].s->has_hello = false;
	say(&clients_tls[0], "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27);
	fake_put(clients_tls[0].s, FAKE_NOISE, NULL, 0); /* wakes it */
	run_ms(3000);
	assert_int_equal(count(&clients_tls[0], "HTTP/1.1 200 OK\r\n"), 1);
	assert_int_equal(count(&clients_tls[0], "Connection: close\r\n"), 1);
	assert_int_equal(stats->reason[WEIR_R_TLS_HANDSHAKE_TIMEOUT], 1);
	run_ms(5000);
	assert_true(proxy_is_idle(proxy));
	finish();
}

static void a_host_of_another_listener_is_misdirected(void **state)
{
	route.host = "a.example";
	route.second_host = "b.example";
	begin(13);
	open_to(one_tls, "a.example", false);
	ask(one_tls, "GET / HTTP/1.1\r\nHost: b.example\r\n\r\n");
	assert_int_equal(count(one_tls, "HTTP/1.1 421 "), 1);
	assert_int_equal(stats->reason[WEIR_R_REQ_MISDIRECTED], 1);
	ask(one_tls, "GET / HTTP/1.1\r\nHost: c.example\r\n\r\n"); /* nobody's */
	assert_int_equal(count(one_tls, "HTTP/1.1 404 "), 1);
	ask(one_tls, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
	assert_int_equal(count(one_tls, "HTTP/1.1 200 OK\r\n"), 1);
	finish();
}

/* With a listener of its own or none, as Ingresses have it. */
static void a_host_that_asks_for_other_certificates_is_misdirected(void **state)
{
	route.host = "a.example";
	route.second_host = "b.example";
	names_have_no_listener = true;
	ask_of(1, WEIR_CLIENT_AUTH_REQUIRED);
	begin(17);
	open_to(one_tls, "a.example", false);
	ask(one_tls, "GET / HTTP/1.1\r\nHost: b.example:80\r\n\r\n");
	assert_int_equal(count(one_tls, "HTTP/1.1 421 "), 1);
	ask(one_tls, "GET http://B.Example/ HTTP/1.1\r\nHost: b.example\r\n\r\n");
	assert_int_equal(count(one_tls, "HTTP/1.1 421 "), 1);
	ask(one_tls, "GET / HTTP/1.1\r\nHost: c.example\r\n\r\n");
	assert_int_equal(count(one_tls, "HTTP/1.1 404 "), 1);
	ask(one_tls, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
	assert_int_equal(count(one_tls, "HTTP/1.1 200 OK\r\n"), 1);
	finish();
}

static void names_that_ask_differently_are_kept_apart(void **state)
{
	route.host = "a.example";
	route.second_host = "b.example";
	names_have_no_listener = true;
	ask_of(0, WEIR_CLIENT_AUTH_REQUIRED); /* by other authorities than b.example */
	ask_of(1, WEIR_CLIENT_AUTH_REQUIRED);
	was_asked(1, WEIR_CLIENT_AUTH_REQUIRED);
	begin(18);
	open_to(one_tls, "a.example", false);
	ask(one_tls, "GET / HTTP/1.1\r\nHost: b.example\r\n\r\n");
	assert_int_equal(count(one_tls, "HTTP/1.1 421 "), 1);
	assert_int_equal(count(one_tls, "Connection: close\r\n"), 0);
	ask(one_tls, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
	assert_int_equal(count(one_tls, "HTTP/1.1 200 OK\r\n"), 1);
	finish();
}

static void serve_again(uint64_t generation)
{
	struct weir_endpoint_set *set;

	serve_snapshot(make_snapshot(generation, &set));
	free(set);
	n_released--; /* as end() counts */
}

static void what_a_name_asks_now_counts(void **state)
{
	route.host = "a.example";
	ask_of(0, WEIR_CLIENT_AUTH_OPTIONAL);
	begin(19);
	open_to(one_tls, "a.example", false);
	ask(one_tls, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"); /* it asked nothing when he came */
	assert_int_equal(count(one_tls, "HTTP/1.1 421 "), 1);
	assert_int_equal(count(one_tls, "Connection: close\r\n"), 1);
	close_it(one_tls, false);
	was_asked(1, WEIR_CLIENT_AUTH_INSECURE);
	open_to(one_tls, "a.example", false);
	ask(one_tls, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
	assert_int_equal(count(one_tls, "HTTP/1.1 421 "), 1);
	close_it(one_tls, false);
	was_asked(7, WEIR_CLIENT_AUTH_REQUIRED); /* other authorities, or revocations, now */
	open_to(one_tls, "a.example", false);
	ask(one_tls, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
	assert_int_equal(count(one_tls, "HTTP/1.1 421 "), 1);
	assert_int_equal(count(one_tls, "Connection: close\r\n"), 1);
	finish();
}

/* Who is idle goes at once; who has a request in hand has it answered, and goes then, whatever else it has sent. */
static void what_a_name_asks_otherwise_ends_connections(void **state)
{
	static const char get[] = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
	struct secure *idle = &clients_tls[0], *busy = &clients_tls[1];

	route.host = "a.example";
	ask_of(0, WEIR_CLIENT_AUTH_REQUIRED);
	was_asked(1, WEIR_CLIENT_AUTH_REQUIRED);
	begin(21);
	open_to(idle, "a.example", false);
	open_to(busy, "a.example", false);
	serve_again(2);
	ask(idle, get);
	assert_int_equal(count(idle, "HTTP/1.1 200 OK\r\n"), 1);
	ask(busy, "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\n\r\nhello");
	assert_false(idle->is_eof);
	ask_of(0, WEIR_CLIENT_AUTH_REQUIRED); /* by another trust */
	serve_again(3);
	run_ms(500);
	assert_true(idle->is_eof);
	assert_false(busy->is_eof);
	assert_int_equal(stats->reason[WEIR_R_TLS_CLIENT_AUTH_CHANGED], 1);
	ask(busy, "hello""GET /2 HTTP/1.1\r\nHost: a.example\r\n\r\n");
	assert_int_equal(count(busy, "HTTP/1.1 200 OK\r\n"), 1);
	assert_int_equal(count(busy, "HTTP/1.1 "), 1);
	assert_int_equal(count(busy, "Connection: close\r\n"), 1);
	assert_true(busy->is_eof);
	finish();
}

static unsigned times_seen(const char *text)
{
	unsigned n = 0;

	for (const char *p = seen; (p = strcasestr(p, text)); p++)
		n++;
	return n;
}

static void backends_are_told_of_the_certificate(void **state)
{
	static const struct tls_client_cert c = {{"Hash=1", 6}, {":MQ==:", 6}, {":Mg==:", 6}};

	begin(20);
	fake_cert = &c;
	open_to(one_tls, "a", false);
	for (unsigned i = 0; i < 2; i++) {
		ask(one_tls, "GET / HTTP/1.1\r\nHost: a\r\nClient-Cert: :Mw==:\r\nclient_cert: x\r\nX-FORWARDED-CLIENT-CERT: Hash=9\r\n"
			     "X_Forwarded_Client-Cert: Hash=9\r\nClient-Cert-Chain: :Mw==:\r\n\r\n");
		assert_int_equal(count(one_tls, "HTTP/1.1 200 OK\r\n"), 1);
		assert_non_null(strstr(seen, "\nX-Forwarded-Client-Cert: Hash=1\n"));
		assert_non_null(strstr(seen, "\nClient-Cert: :MQ==:\n"));
		assert_non_null(strstr(seen, "\nClient-Cert-Chain: :Mg==:\n"));
		assert_int_equal(times_seen("client-cert") + times_seen("client_cert"), 3);
	}
	finish();
}

static void a_name_that_is_gone_is_misdirected_and_closes(void **state)
{
	begin(14);
	route.host = "a.example";
	open_to(one_tls, "z.example", false);
	ask(one_tls, "GET / HTTP/1.1\r\nHost: z.example\r\n\r\n");
	assert_int_equal(count(one_tls, "HTTP/1.1 200 OK\r\n"), 1);
	serve_again(2);
	ask(one_tls, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
	assert_int_equal(count(one_tls, "HTTP/1.1 421 "), 1);
	assert_int_equal(count(one_tls, "Connection: close\r\n"), 1);
	run_ms(3000);
	assert_int_equal(stats->gauge[WEIR_G_TLS_SESSIONS], 0);
	finish();
}

static void sessions_beyond_the_limit_are_refused(void **state)
{
	begin(15);
	tls->cfg.n_sessions = 1;
	open_to(&clients_tls[0], "a", false);
	open_to(&clients_tls[1], "a", false);
	assert_int_equal(stats->reason[WEIR_R_TLS_SESSIONS_FULL], 1);
	assert_true(clients_tls[1].is_reset);
	assert_int_equal(stats->gauge[WEIR_G_CLIENT_CONNECTIONS], 1);
	ask(&clients_tls[0], "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_int_equal(count(&clients_tls[0], "HTTP/1.1 200 OK\r\n"), 1);
	finish();
}

static void without_tls_no_bind_of_https_is_opened(void **state)
{
	make_tls = NULL;
	end_tls = NULL;
	add_names = add_to;
	route.proto = WEIR_PROTO_HTTPS;
	start(16);
	assert_int_equal(stats->gauge[WEIR_G_LISTENERS], 0);
	assert_int_equal(stats->counter[WEIR_C_LISTENERS_REFUSED], 1);
	end();
}

/* At 250 bytes a second, where 100 are asked for; but no content is seen before the record is complete, after 16 s. */
static void who_fills_a_record_slowly_sends_all_the_same(void **state)
{
	static const char head[] = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4000\r\n\r\n";
	static uint8_t record[FAKE_HEAD + 4000] = {FAKE_DATA, 4000 >> 8, 4000 & 255};

	begin(17);
	open_to(one_tls, "a", false);
	ask(one_tls, head);
	memset(record + FAKE_HEAD, 'x' ^ FAKE_KEY, 4000);
	for (size_t at = 0; at < sizeof(record);) {
		size_t n = RTE_MIN(sizeof(record) - at, 250u);

		assert_int_equal(tcp_send(one_tls->c, record + at, n), 0);
		at += n;
		run_ms(1000);
	}
	assert_int_equal(count(one_tls, "HTTP/1.1 200 OK\r\n"), 1);
	ask(one_tls, head);
	run_ms(12000);
	assert_int_equal(count(one_tls, "HTTP/1.1 408 "), 1);
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_come_by_https_and_say_so),
		cmocka_unit_test(pipelined_requests_in_one_record_are_all_answered),
		cmocka_unit_test(large_bodies_go_both_ways),
		cmocka_unit_test(a_handshake_has_a_limit),
		cmocka_unit_test(who_leaves_within_the_handshake_is_counted),
		cmocka_unit_test(a_refused_handshake_ends_with_the_alert),
		cmocka_unit_test(a_broken_record_ends_a_request_with_the_alert),
		cmocka_unit_test(who_leaves_behind_the_handshake_leaves_no_session),
		cmocka_unit_test(a_tunnel_carries_bytes_and_ends_both_ways),
		cmocka_unit_test(a_broken_record_ends_a_tunnel),
		cmocka_unit_test(an_idle_client_is_told_the_end_by_a_limit_and_by_a_drain),
		cmocka_unit_test(a_drain_waits_for_handshakes_and_their_first_request),
		cmocka_unit_test(a_host_of_another_listener_is_misdirected),
		cmocka_unit_test(a_host_that_asks_for_other_certificates_is_misdirected),
		cmocka_unit_test(names_that_ask_differently_are_kept_apart),
		cmocka_unit_test(what_a_name_asks_now_counts),
		cmocka_unit_test(what_a_name_asks_otherwise_ends_connections),
		cmocka_unit_test(backends_are_told_of_the_certificate),
		cmocka_unit_test(a_name_that_is_gone_is_misdirected_and_closes),
		cmocka_unit_test(sessions_beyond_the_limit_are_refused),
		cmocka_unit_test(without_tls_no_bind_of_https_is_opened),
		cmocka_unit_test(who_fills_a_record_slowly_sends_all_the_same),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
