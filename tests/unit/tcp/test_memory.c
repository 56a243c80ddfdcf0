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

/* -- shares */

#define RX_BYTES (1u << 20)

static struct tcp_conn *reader; /* of host 0: what host 1 sends to it */
static struct tcp_conn *sender;
static size_t to_send;
static bool reads;

static void send_on(struct tcp_conn *c, void *user, unsigned events, uint64_t now)
{
	static const char zeros[8192];

	while (to_send && !(events & TCP_EV_CLOSED) && tcp_send_room(c) >= sizeof(zeros)) {
		assert_int_equal(tcp_send(c, zeros, sizeof(zeros)), 0);
		to_send -= to_send < sizeof(zeros) ? to_send : sizeof(zeros);
	}
}

static int accept_sender(void *ctx, struct tcp_conn *c, void **user, uint64_t now)
{
	sender = c;
	return 0;
}

static void read_on(struct tcp_conn *c, void *user, unsigned events, uint64_t now)
{
	if (reads && !(events & TCP_EV_CLOSED))
		tcp_consume(c, tcp_readable(c));
}

/* A connection whose receiver, host 0, may hold n_held_max mbufs, and says that so many relay. */
static void start_reader(uint64_t seed, uint32_t n_held_max, uint32_t n_relays)
{
	const struct tcp_listen listen = {.port = 80, .accept = accept_sender, .event = send_on};
	struct tcp_connect a = {.remote_port = 80, .timeout_ms = 9000, .event = read_on};
	struct tcp_config here = sim_config();
	struct tcp_config there = sim_config();
	struct tcp_listener *l;
	enum weir_reason why;

	here.rx_buffer_bytes = RX_BYTES;
	here.n_held_max = n_held_max;
	there.tx_buffer_bytes = RX_BYTES;
	sim_init(&sim, seed, &here, &there);
	sim.link.rate_Bps = 125000000; /* or a whole window would come at once */
	sim.link.queue_bytes = RX_BYTES;
	assert_int_equal(tcp_listen(sim.host[1].tcp, &listen, &l), 0);
	tcp_set_relays(sim.host[0].tcp, n_relays);
	sim_run(&sim, 1000, NULL, NULL);
	a.local = sim.host[0].ip;
	a.remote = sim.host[1].ip;
	reader = tcp_connect(sim.host[0].tcp, &a, sim.now_us, &why);
	assert_non_null(reader);
	sim_run(&sim, 100000, NULL, NULL);
	assert_non_null(sender);
	reads = true;
}

static void bring(size_t n)
{
	to_send = n;
	send_on(sender, NULL, 0, sim.now_us);
	sim_run(&sim, 5000000, NULL, NULL);
	assert_int_equal(to_send, 0);
}

static uint32_t window(void)
{
	struct tcp_info info;

	tcp_get_info(reader, &info);
	return info.rcv_wnd;
}

/* Who reads nothing never held more than it was offered at first. */
static void window_begins_small_and_grows_by_what_is_read(void **state)
{
	start_reader(3, 8000, 1);
	assert_in_range(window(), 1, 65536 + 1); /* the SYN is taken, too */
	bring(100000);
	assert_in_range(window(), 150000, 65536 + 1 + 100000 + 8192);
	bring(4 * RX_BYTES);
	assert_in_range(window(), RX_BYTES - 8192, RX_BYTES);
	sim_fini(&sim);
	start_reader(4, 8000, 200); /* 2 MB for 200: an initial window at least */
	assert_in_range(window(), 14600, 65535);
	bring(400000);
	assert_true(window() > 400000); /* one that reads earns as much as any */
	reads = false;
	to_send = 2 * RX_BYTES;
	send_on(sender, NULL, 0, sim.now_us);
	sim_run(&sim, 5000000, NULL, NULL);
	assert_in_range(tcp_readable(reader), 400000, RX_BYTES);
	sim_fini(&sim);
	start_reader(5, 8000, 200);
	reads = false;
	to_send = 2 * RX_BYTES;
	send_on(sender, NULL, 0, sim.now_us);
	sim_run(&sim, 5000000, NULL, NULL);
	assert_in_range(tcp_readable(reader), 1, 65535); /* what the SYN offered */
	assert_int_equal(sim.host[0].stats.counter[WEIR_C_TCP_SHARES], 0);
	sim_fini(&sim);
}

static void windows_are_a_fair_share_while_buffers_are_short(void **state)
{
	const uint32_t part = 800 / 4;
	uint64_t n_before;

	start_reader(6, 800, 10);
	bring(3 * RX_BYTES); /* it has earned all there is */
	assert_int_equal(sim.host[0].stats.gauge[WEIR_G_TCP_SHARE], 0);
	assert_in_range(window(), RX_BYTES - 8192, RX_BYTES);
	n_before = sim.host[0].stats.counter[WEIR_C_TCP_SHARES];
	reads = false;
	bring(300000); /* more than a quarter of 800 mbufs, less than half */
	assert_int_equal(sim.host[0].stats.counter[WEIR_C_TCP_SHARES], n_before + 1);
	assert_int_equal(sim.host[0].stats.gauge[WEIR_G_TCP_SHARE], part * 1024 / 10);
	assert_int_equal(sim.host[0].stats.reason[WEIR_R_TCP_MEMORY], 0); /* what was offered is kept, so far */
	to_send = RX_BYTES;
	send_on(sender, NULL, 0, sim.now_us);
	sim_run(&sim, 5000000, NULL, NULL);
	assert_true(sim.host[0].stats.gauge[WEIR_G_TCP_HELD] < 800 * 9 / 16); /* half, and a burst */
	assert_true(sim.host[0].stats.reason[WEIR_R_TCP_MEMORY] > 0);
	tcp_set_relays(sim.host[0].tcp, 1000000);
	sim_run(&sim, 1000, NULL, NULL);
	assert_int_equal(sim.host[0].stats.gauge[WEIR_G_TCP_SHARE], 8192); /* never less */
	reads = true;
	read_on(reader, NULL, TCP_EV_READABLE, sim.now_us);
	sim_run(&sim, 60000000, NULL, NULL);
	assert_int_equal(to_send, 0);
	assert_int_equal(tcp_readable(reader), 0);
	assert_int_equal(sim.host[0].stats.gauge[WEIR_G_TCP_SHARE], 0);
	assert_in_range(window(), RX_BYTES - 8192, RX_BYTES); /* as before */
	sim_fini(&sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_queue_takes_a_message_that_has_no_room),
		cmocka_unit_test(who_asks_for_a_fixed_room_is_told_of_more),
		cmocka_unit_test(window_begins_small_and_grows_by_what_is_read),
		cmocka_unit_test(windows_are_a_fair_share_while_buffers_are_short),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
