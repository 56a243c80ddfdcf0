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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(date_is_that_of_the_wall_clock_wherever_it_is_moved),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
