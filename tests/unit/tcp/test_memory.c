/* SPDX-License-Identifier: Apache-2.0 */
/* Memory pressure as a user of tcp/ meets it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "eal.h"
#include "sim.h"

#define MESSAGE 20000

static struct sim sim;
static size_t got;
static unsigned n_writable, n_accepted;

static void on_event(struct tcp_conn *c, void *user, unsigned events, uint64_t now)
{
	n_writable += (events & TCP_EV_WRITABLE) != 0;
	while (user && !(events & TCP_EV_CLOSED) && tcp_readable(c)) {
		struct slice s = tcp_peek(c);

		for (size_t i = 0; i < s.n; i++, got++)
			assert_int_equal((uint8_t)s.p[i], (uint8_t)(got % MESSAGE * 31));
		tcp_consume(c, s.n);
	}
}

/* The first one's user does not read. */
static int on_accept(void *ctx, struct tcp_conn *c, void **user, uint64_t now)
{
	*user = n_accepted++ ? &got : NULL;
	return 0;
}

static struct tcp_conn *open_one(void)
{
	const struct tcp_connect a = {.local = sim.host[0].ip, .remote = sim.host[1].ip, .remote_port = 80, .timeout_ms = 9000,
				      .event = on_event};
	enum weir_reason why;
	struct tcp_conn *c = tcp_connect(sim.host[0].tcp, &a, sim.now_us, &why);

	assert_non_null(c);
	sim_run(&sim, 100000, NULL, NULL);
	return c;
}

static void start(uint64_t seed, const struct tcp_config *sender)
{
	const struct tcp_listen listen = {.port = 80, .accept = on_accept, .event = on_event};
	struct tcp_config small = sim_config();
	struct tcp_listener *l;

	got = n_writable = n_accepted = 0;
	small.rx_buffer_bytes = 4096;
	sim_init(&sim, seed, sender, &small);
	assert_int_equal(tcp_listen(sim.host[1].tcp, &listen, &l), 0);
}

/* Room that shrinks below a message must not hold that up for ever: no ACK comes for an empty queue. */
static void empty_queue_takes_a_message_that_has_no_room(void **state)
{
	static const char zeros[60000];
	static uint8_t message[MESSAGE];
	struct tcp_config cfg = sim_config();
	struct tcp_conn *full;
	struct tcp_conn *c;

	cfg.n_held_max = 16;
	start(1, &cfg);
	full = open_one(); /* its peer does not read */
	assert_int_equal(tcp_send(full, zeros, sizeof(zeros)), 0);
	sim_run(&sim, 100000, NULL, NULL);
	assert_false(tcp_has_memory(sim.host[0].tcp));
	assert_int_equal(tcp_send_room(full), 0);
	c = open_one();
	for (size_t i = 0; i < sizeof(message); i++)
		message[i] = (uint8_t)(i * 31);
	assert_true(tcp_send_room(c) < sizeof(message));
	assert_int_equal(tcp_send(c, message, sizeof(message)), 0);
	assert_int_equal(tcp_send(c, message, sizeof(message)), -EAGAIN); /* it is not empty now */
	sim_run(&sim, 5000000, NULL, NULL);
	assert_int_equal(got, sizeof(message));
	assert_true(n_writable > 0);
	assert_int_equal(tcp_send(c, message, sizeof(message)), 0);
	sim_run(&sim, 5000000, NULL, NULL);
	assert_int_equal(got, 2 * sizeof(message));
	tcp_abort(full, WEIR_R_CLOSE_ABORTED, sim.now_us);
	assert_true(tcp_has_memory(sim.host[0].tcp));
	sim_fini(&sim);
}

/* As the proxy does with a fixed amount: asks until there is so much, and else waits to be told. */
static void who_asks_for_a_fixed_room_is_told_of_more(void **state)
{
	struct tcp_config cfg = sim_config();
	static const char some[1500];
	struct tcp_conn *c;

	cfg.tx_buffer_bytes = 4096;
	start(2, &cfg);
	c = open_one();
	assert_int_equal(tcp_send(c, some, sizeof(some)), 0);
	assert_int_equal(tcp_send_room(c), 4096 - sizeof(some)); /* more than half: still short of what it wants */
	sim_run(&sim, 1000000, NULL, NULL);
	assert_int_equal(n_writable, 1);
	assert_int_equal(tcp_send_room(c), 4096);
	sim_fini(&sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_queue_takes_a_message_that_has_no_room),
		cmocka_unit_test(who_asks_for_a_fixed_room_is_told_of_more),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
