/* SPDX-License-Identifier: Apache-2.0 */
/* What the proxy adds to and takes from a message on its way (RFC 9110 6.6, 7.6; RFC 7239): end to end in virtual time (rig.h). */
#include "rig.h"

#include "proxy/proxy_pvt.h"

/* One request to the origin and its answer; seen and got tell of them. */
static void exchange(const char *text)
{
	unsigned one = 1;

	seen[0] = got[0] = 0;
	send_raw(&clients[0], text);
	assert_true(sim_run(&sim, 60000000, all_done, &one));
	if (clients[0].c)
		tcp_abort(clients[0].c, WEIR_R_CLOSE_ABORTED, sim.now_us);
	sim_run(&sim, 100000, NULL, NULL);
}

static void set_wall_clock(uint64_t unix_s)
{
	proxy_set_clock(proxy, unix_s * 1000000 - sim.now_us);
}

static void date_is_that_of_the_wall_clock_wherever_it_is_moved(void **state)
{
	start(41);
	mode = ORIGIN_SINK;
	set_wall_clock(784111777);
	exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_non_null(strstr(got, "\nDate: Sun, 06 Nov 1994 08:49:37 GMT\n"));
	set_wall_clock(784111779);
	exchange("GET / HTTP/1.1\r\nHost: \r\n\r\n"); /* Weir's own answers */
	assert_non_null(strstr(got, "400\nDate: Sun, 06 Nov 1994 08:49:39 GMT\n"));
	set_wall_clock(784111770); /* back */
	exchange("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_non_null(strstr(got, "204\nDate: Sun, 06 Nov 1994 08:49:30 GMT\n"));
	sim_run(&sim, 5000000, NULL, NULL);
	exchange("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_non_null(strstr(got, "405\nDate: Sun, 06 Nov 1994 08:49:35 GMT\n"));
	end();
}

static void via_names_the_version_that_the_client_spoke(void **state)
{
	forwarding.via = "gate:8080";
	start(42);
	mode = ORIGIN_SINK;
	exchange("GET / HTTP/1.1\r\nHost: a\r\nVia: 1.0 x\r\n\r\n");
	assert_non_null(strstr(seen, "\nVia: 1.0 x, 1.1 gate:8080\n"));
	exchange("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
	assert_non_null(strstr(seen, "\nVia: 1.0 gate:8080\n"));
	assert_null(strstr(got, "Via"));
	end();
}

/* An id that the client calls a matter of its own connection is not passed on as the request's. */
static void request_id_that_connection_takes_away_is_made_anew(void **state)
{
	start(44);
	mode = ORIGIN_SINK;
	exchange("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: theirs\r\n\r\n");
	assert_non_null(strstr(seen, "\nX-Request-Id: theirs\n"));
	exchange("GET / HTTP/1.1\r\nHost: a\r\nConnection: x-request-id\r\nX-Request-Id: theirs\r\n\r\n");
	assert_non_null(strstr(seen, "\nX-Request-Id: "));
	assert_null(strstr(seen, "theirs"));
	end();
}

static void options_goes_as_far_as_max_forwards_says(void **state)
{
	start(43);
	mode = ORIGIN_SINK;
	exchange("OPTIONS /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n");
	assert_int_equal(n_origin_requests, 0);
	assert_int_equal(clients[0].status, 204);
	exchange("TRACE /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n");
	assert_int_equal(clients[0].status, 405);
	exchange("OPTIONS /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 1\r\n\r\n");
	assert_int_equal(n_origin_requests, 1);
	assert_non_null(strstr(seen, "\nMax-Forwards: 0\n"));
	end();
}

static void https_uri_is_not_served_without_tls(void **state)
{
	start(44);
	exchange("GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_int_equal(clients[0].status, 421);
	assert_int_equal(stats->reason[WEIR_R_REQ_MISDIRECTED], 1);
	assert_int_equal(n_origin_requests, 0);
	end();
}

/* What the origin sees of a field; "": it is not there. Good until the next call. */
static const char *seen_field(const char *name)
{
	static char value[512];
	char want[64];
	const char *at;

	snprintf(want, sizeof(want), "\n%s: ", name);
	at = strstr(seen, want);
	value[0] = 0;
	if (at)
		snprintf(value, sizeof(value), "%.*s", (int)strcspn(at + strlen(want), "\n"), at + strlen(want));
	return value;
}

/* A request with these fields; the peer's address stands for PEER in what is wanted of X-Forwarded-For. */
static void assert_for(const char *fields, const char *want)
{
	char text[2048], peer[IP_TEXT_MAX], all[1024];

	snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", fields);
	snprintf(all, sizeof(all), "%s%s", want, ip_format(&sim.host[0].ip, peer));
	exchange(text);
	assert_string_equal(seen_field("X-Forwarded-For"), all);
}

#define SPOOFED \
	"X-Forwarded-For: 192.0.2.1, 10.1.1.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Port: 443\r\n" \
	"Forwarded: for=192.0.2.1\r\n"

static void nobody_is_believed_unless_told_so(void **state)
{
	struct ip_prefix other = {.len = 32};

	for (unsigned i = 0; i < 2; i++) {
		ip_parse("203.0.113.9", 11, &other.ip);
		forwarding.trusted_prefixes = &other;
		forwarding.n_trusted_prefixes = i; /* the client is in none */
		forwarding.trusted_hops = i;
		start(45);
		mode = ORIGIN_SINK;
		assert_for(SPOOFED, "");
		assert_string_equal(seen_field("X-Forwarded-Proto"), "http");
		assert_string_equal(seen_field("X-Forwarded-Host"), "a");
		assert_string_equal(seen_field("X-Forwarded-Port"), "80");
		assert_string_equal(seen_field("Forwarded"), "");
		assert_int_equal(stats->counter[WEIR_C_FORWARDED_BAD], 0);
		end();
	}
}

static void trusted_hop_is_believed(void **state)
{
	forwarding.trusted_hops = 1;
	start(46);
	mode = ORIGIN_SINK;
	assert_for(SPOOFED, "192.0.2.1, 10.1.1.1, ");
	assert_string_equal(seen_field("X-Forwarded-Proto"), "https");
	assert_string_equal(seen_field("X-Forwarded-Host"), "evil");
	assert_string_equal(seen_field("X-Forwarded-Port"), "443");
	assert_string_equal(seen_field("Forwarded"), "for=192.0.2.1");
	exchange("GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n"); /* RFC 9110 7.4 */
	assert_int_equal(clients[0].status, 204);
	end();
}

#define CERT_FIELDS \
	"Client-Cert: :MQ==:\r\nClient-Cert-Chain: :Mg==:, :Mw==:\r\nX-Forwarded-Client-Cert: Hash=1;Subject=\"a\\\"b\"\r\n"

static void certificates_are_believed_of_trusted_hops_alone(void **state)
{
	for (unsigned hops = 0; hops < 2; hops++) {
		forwarding.trusted_hops = hops;
		start(60);
		mode = ORIGIN_SINK;
		assert_for(CERT_FIELDS, "");
		assert_string_equal(seen_field("Client-Cert"), hops ? ":MQ==:" : "");
		assert_string_equal(seen_field("Client-Cert-Chain"), hops ? ":Mg==:, :Mw==:" : "");
		assert_string_equal(seen_field("X-Forwarded-Client-Cert"), hops ? "Hash=1;Subject=\"a\\\"b\"" : "");
		assert_int_equal(stats->counter[WEIR_C_FORWARDED_BAD], 0);
		assert_for("client_cert: :MQ==:\r\nX_FORWARDED_CLIENT_CERT: Hash=1\r\n", "");
		assert_null(strstr(seen, "client_cert"));
		assert_null(strstr(seen, "X_FORWARDED"));
		exchange("GET / HTTP/1.1\r\nHost: a\r\nConnection: client-cert\r\nClient-Cert: :MQ==:\r\n\r\n");
		assert_int_equal(clients[0].status, 400);
		end();
	}
	forwarding.trusted_hops = 1;
	start(61);
	mode = ORIGIN_SINK;
	assert_for("Client-Cert: :MQ==\r\nClient-Cert-Chain: :Mg==:;\r\nX-Forwarded-Client-Cert: Hash=1;Subject=\"a\\\"\r\n", "");
	assert_null(strcasestr(seen, "client-cert"));
	assert_int_equal(stats->counter[WEIR_C_FORWARDED_BAD], 3);
	assert_for("Client-Cert: :MQ==:\r\nClient-Cert: :Mg==:\r\n", "");
	assert_null(strcasestr(seen, "client-cert"));
	end();
}

static void malformed_fields_of_a_trusted_hop_are_not_believed(void **state)
{
	forwarding.trusted_hops = 1;
	forwarding.add_forwarded = true;
	start(47);
	mode = ORIGIN_SINK;
	assert_for("X-Forwarded-Proto: https, http\r\nX-Forwarded-Host: a b\r\nX-Forwarded-Port: 0\r\nForwarded: for=\"x\r\n", "");
	assert_string_equal(seen_field("X-Forwarded-Proto"), "http");
	assert_string_equal(seen_field("X-Forwarded-Host"), "a");
	assert_string_equal(seen_field("X-Forwarded-Port"), "80");
	assert_true(strncmp(seen_field("Forwarded"), "for=", 4) == 0);
	assert_null(strchr(seen_field("Forwarded"), ','));
	assert_int_equal(stats->counter[WEIR_C_FORWARDED_BAD], 4);
	assert_for("X-Forwarded-Port: 443\r\nX-Forwarded-Port: 443\r\n", "");
	assert_string_equal(seen_field("X-Forwarded-Port"), "80");
	end();
}

/* A request with this X-Forwarded-For: who is its client; "peer": who sent it. While it is answered, its object is there to be asked. */
static void assert_client(const char *list, const char *want)
{
	char text[2048], ip[IP_TEXT_MAX];
	struct client *c = NULL;

	snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: %s\r\n\r\n", list);
	send_raw(&clients[0], text);
	sim_run(&sim, 100000, NULL, NULL);
	for (uint32_t i = 0; i < proxy->n_fresh_clients; i++)
		if (proxy->clients[i].state == CLIENT_BUSY)
			c = &proxy->clients[i];
	assert_non_null(c);
	if (strcmp(want, "peer") == 0)
		want = ip_format(&sim.host[0].ip, text);
	assert_string_equal(ip_format(&c->rq->client_addr, ip), want);
	tcp_abort(clients[0].c, WEIR_R_CLOSE_ABORTED, sim.now_us);
	sim_run(&sim, 100000, NULL, NULL);
}

static void client_is_the_nth_address_from_the_right(void **state)
{
	forwarding.trusted_hops = 2;
	start(48);
	mode = ORIGIN_SILENT;
	assert_client("192.0.2.1, 192.0.2.2, 192.0.2.3", "192.0.2.2");
	assert_client("192.0.2.1,192.0.2.2\r\nX-Forwarded-For: 192.0.2.3", "192.0.2.2");
	assert_client("evil, 192.0.2.2 ,, 192.0.2.3, ", "192.0.2.2");
	assert_client("192.0.2.3", "192.0.2.3");
	assert_client("", "peer");
	assert_client("2001:db8::1, fd00::2", "2001:db8::1");
	assert_client("[2001:db8::1]:443, 192.0.2.3:1", "2001:db8::1");
	assert_int_equal(stats->counter[WEIR_C_FORWARDED_BAD], 0);
	assert_client("192.0.2.1, evil, 192.0.2.3", "192.0.2.3");
	assert_client("192.0.2.1, evil", "peer");
	assert_client("192.0.2.1, [2001:db8::1", "peer");
	assert_client("192.0.2.1, [192.0.2.2]", "peer");
	assert_client("192.0.2.1, 192.0.2.2:x", "peer");
	assert_client("192.0.2.1, 192.0.2.2:0", "peer");
	assert_client("192.0.2.1, [::1]80", "peer");
	assert_client("192.0.2.1, \"192.0.2.2\"", "peer");
	assert_client("192.0.2.1, 0.0.0.0", "peer");
	assert_int_equal(stats->counter[WEIR_C_FORWARDED_BAD], 9);
	end();
}

static void client_is_the_first_from_the_right_that_is_no_proxy(void **state)
{
	struct ip_prefix trusted[2] = {{.ip = {{0}}, .len = 8}, {.ip = {{0}}, .len = 0}};

	ip_parse("192.0.0.0", 9, &trusted[0].ip);
	forwarding.trusted_prefixes = trusted;
	forwarding.n_trusted_prefixes = 2;
	start(49);
	trusted[1].ip = sim.host[0].ip;
	trusted[1].len = ip_is4(&sim.host[0].ip) ? 32 : 128;
	mode = ORIGIN_SILENT;
	assert_client("203.0.113.1, 203.0.113.2, 192.0.2.3, 192.0.2.4", "203.0.113.2");
	assert_client("192.0.2.3, 192.0.2.4", "192.0.2.3");
	assert_client("203.0.113.1, evil, 192.0.2.4", "192.0.2.4");
	assert_int_equal(stats->counter[WEIR_C_FORWARDED_BAD], 1);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(date_is_that_of_the_wall_clock_wherever_it_is_moved),
		cmocka_unit_test(via_names_the_version_that_the_client_spoke),
		cmocka_unit_test(request_id_that_connection_takes_away_is_made_anew),
		cmocka_unit_test(options_goes_as_far_as_max_forwards_says),
		cmocka_unit_test(https_uri_is_not_served_without_tls),
		cmocka_unit_test(nobody_is_believed_unless_told_so),
		cmocka_unit_test(trusted_hop_is_believed),
		cmocka_unit_test(certificates_are_believed_of_trusted_hops_alone),
		cmocka_unit_test(malformed_fields_of_a_trusted_hop_are_not_believed),
		cmocka_unit_test(client_is_the_nth_address_from_the_right),
		cmocka_unit_test(client_is_the_first_from_the_right_that_is_no_proxy),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
