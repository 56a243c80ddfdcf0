/* SPDX-License-Identifier: Apache-2.0 */
/* What the proxy adds to and takes from a message on its way (RFC 9110 6.6, 7.6; RFC 7239): end to end in virtual time (rig.h). */
#include "rig.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(date_is_that_of_the_wall_clock_wherever_it_is_moved),
		cmocka_unit_test(via_names_the_version_that_the_client_spoke),
		cmocka_unit_test(options_goes_as_far_as_max_forwards_says),
		cmocka_unit_test(https_uri_is_not_served_without_tls),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
