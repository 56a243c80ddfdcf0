/* SPDX-License-Identifier: Apache-2.0 */
/* A peer that sends the same again and again: how often it is answered is bounded, and what it sends is taken once it can be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "eal.h"
#include "raw.h"

#define PORT 4000
#define SEGMENT 1000
#define SECONDS 3

static struct weir_ip peer;
static struct raw next; /* what the peer would send next, without its data */
static char payload[SEGMENT + 1];

/* n_held_max 0: no bound. */
static void start(uint64_t seed, uint32_t n_held_max)
{
	const struct raw syn = raw_syn(PORT, 1000);
	struct tcp_config config = sim_config();

	config.n_held_max = n_held_max;
	raw_start(seed, &config);
	peer = sim.host[0].ip;
	memset(payload, 'x', SEGMENT);
	next = raw_open(&peer, &syn);
	next.data = payload;
}

/* The same each millisecond. Returns how often it was answered. */
static unsigned repeat(const struct raw *r)
{
	unsigned n = 0;

	for (unsigned ms = 0; ms < SECONDS * 1000; ms++) {
		raw_n = 0;
		raw_send(&peer, r);
		run_ms(1);
		n += raw_n;
	}
	return n;
}

static void send_new(void)
{
	raw_send(&peer, &next);
	run_ms(50); /* the delayed ACK has gone, too */
	next.seq += SEGMENT;
}

/* The user reads nothing, and no memory is left: the peer hears so a few times, and its data are taken once there is some. */
static void what_has_no_memory_is_answered_a_few_times_and_taken_later(void **state)
{
	uint64_t dropped;
	size_t got;

	start(1, 8);
	is_paused = true;
	while (reason_of(1, WEIR_R_TCP_MEMORY) == 0)
		send_new();
	next.seq -= SEGMENT; /* that one was not taken */
	dropped = reason_of(1, WEIR_R_TCP_MEMORY);
	assert_in_range(repeat(&next), 1, 35 * (SECONDS + 1));
	assert_int_equal(reason_of(1, WEIR_R_TCP_MEMORY) - dropped, SECONDS * 1000);
	assert_true(counter_of(1, WEIR_C_TCP_ACK_WITHHELD) > 0);
	is_paused = false;
	user_event(users[0].c, &users[0], TCP_EV_READABLE, sim.now_us);
	got = users[0].got;
	run_ms(10);
	raw_n = 0;
	send_new();
	assert_int_equal(users[0].got, got + SEGMENT);
	assert_true(raw_n > 0);
	assert_int_equal(raw_log[raw_n - 1].ack, next.seq);
	sim_fini(&sim);
}

/* Old data, data behind a gap, and FIN behind it: the first time at once, then only so often, until something new comes. */
static void what_is_known_is_answered_only_so_often(void **state)
{
	struct raw old, ahead, fin;

	start(2, 0);
	old = next;
	send_new();
	assert_in_range(repeat(&old), 100, 125 * (SECONDS + 1));
	ahead = next;
	ahead.seq += SEGMENT;
	assert_in_range(repeat(&ahead), 100, 125 * (SECONDS + 1));
	fin = ahead;
	fin.seq += SEGMENT;
	fin.flags |= FIN;
	fin.data = NULL;
	assert_in_range(repeat(&fin), 1, 125 * (SECONDS + 1));
	assert_true(counter_of(1, WEIR_C_TCP_ACK_WITHHELD) > 0);
	raw_n = 0;
	send_new(); /* the gap: all is there */
	assert_true(raw_n > 0);
	assert_int_equal(raw_log[raw_n - 1].ack, fin.seq + 1);
	assert_true(users[0].is_eof);
	sim_fini(&sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_has_no_memory_is_answered_a_few_times_and_taken_later),
		cmocka_unit_test(what_is_known_is_answered_only_so_often),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
