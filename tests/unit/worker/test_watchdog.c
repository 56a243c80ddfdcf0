/* SPDX-License-Identifier: Apache-2.0 */
/* How main judges a worker, with the time in hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "watchdog.h"

#define LIMIT_MS 2000u
#define LOOK_US 200000u

static struct watch watch;
static struct watch_seen seen;

static int begin(void **state)
{
	watch = (struct watch){0};
	seen = (struct watch_seen){.now_us = 1000000, .n_loops = 1, .state = 'R'};
	assert_int_equal(watchdog_judge(&watch, &seen, LIMIT_MS), WATCH_GOES_ON);
	return 0;
}

/* So many looks; the worker uses cpu_us of each and stands still. The first verdict that is not that it goes on, and *n: after how many looks. */
static enum watch_verdict stand_still(unsigned looks, uint64_t cpu_us, unsigned *n)
{
	enum watch_verdict v = WATCH_GOES_ON;

	for (*n = 0; *n < looks && v == WATCH_GOES_ON; ++*n) {
		seen.now_us += LOOK_US;
		seen.cpu_us += cpu_us;
		v = watchdog_judge(&watch, &seen, LIMIT_MS);
	}
	return v;
}

static void a_worker_that_spins_is_stuck_after_the_limit(void **state)
{
	unsigned n;

	assert_int_equal(stand_still(100, LOOK_US, &n), WATCH_STUCK);
	assert_int_equal(n, LIMIT_MS * 1000 / LOOK_US);
}

static void a_worker_that_sleeps_is_stuck_after_the_limit(void **state)
{
	unsigned n;

	seen.state = 'S';
	assert_int_equal(stand_still(100, 0, &n), WATCH_STUCK);
	assert_int_equal(n, LIMIT_MS * 1000 / LOOK_US);
}

static void each_iteration_begins_anew(void **state)
{
	unsigned n;

	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(stand_still(9, LOOK_US, &n), WATCH_GOES_ON);
		seen.n_loops++;
		assert_int_equal(stand_still(1, 0, &n), WATCH_GOES_ON);
	}
}

/* Whoever was paused together with main has not stood still. */
static void time_in_which_main_did_not_run_does_not_count(void **state)
{
	unsigned n;

	for (unsigned i = 0; i < 3; i++) {
		seen.now_us += 3600000000ull;
		assert_int_equal(watchdog_judge(&watch, &seen, LIMIT_MS), WATCH_GOES_ON);
	}
	seen.n_loops++;
	assert_int_equal(stand_still(1, 0, &n), WATCH_GOES_ON);
}

static void a_worker_without_a_cpu_is_told_once_and_has_ten_times_as_long(void **state)
{
	unsigned n, more;

	assert_int_equal(stand_still(1000, 1000, &n), WATCH_STARVES);
	assert_int_equal(n, LIMIT_MS * 1000 / LOOK_US);
	assert_int_equal(stand_still(1000, 1000, &more), WATCH_STUCK);
	assert_int_equal(n + more, 10 * LIMIT_MS * 1000 / LOOK_US);
}

static void a_worker_that_gets_its_cpu_back_goes_on(void **state)
{
	unsigned n;

	assert_int_equal(stand_still(1000, 0, &n), WATCH_STARVES);
	seen.n_loops++;
	assert_int_equal(stand_still(9, LOOK_US, &n), WATCH_GOES_ON);
	assert_int_equal(stand_still(1000, 0, &n), WATCH_STUCK);
}

static void a_worker_that_begins_has_ten_times_as_long(void **state)
{
	unsigned n;

	watch = (struct watch){0};
	seen.n_loops = 0;
	seen.state = 'S';
	assert_int_equal(watchdog_judge(&watch, &seen, LIMIT_MS), WATCH_GOES_ON);
	assert_int_equal(stand_still(1000, 0, &n), WATCH_STUCK);
	assert_int_equal(n, 10 * LIMIT_MS * 1000 / LOOK_US);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_worker_that_spins_is_stuck_after_the_limit, begin),
		cmocka_unit_test_setup(a_worker_that_sleeps_is_stuck_after_the_limit, begin),
		cmocka_unit_test_setup(each_iteration_begins_anew, begin),
		cmocka_unit_test_setup(time_in_which_main_did_not_run_does_not_count, begin),
		cmocka_unit_test_setup(a_worker_without_a_cpu_is_told_once_and_has_ten_times_as_long, begin),
		cmocka_unit_test_setup(a_worker_that_gets_its_cpu_back_goes_on, begin),
		cmocka_unit_test_setup(a_worker_that_begins_has_ten_times_as_long, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
