/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "stats/stage.h"

static struct weir_worker_stats stats;

static void each_cycle_belongs_to_one_stage(void **state)
{
	struct stage_clock c = {0};
	enum weir_stage outer, inner;

	stats = (struct weir_worker_stats){0};
	stage_begin(&c, WEIR_STAGE_OTHER, 1000);
	outer = stage_change(&c, WEIR_STAGE_PROXY, 1010);
	inner = stage_change(&c, WEIR_STAGE_PARSE, 1030);
	assert_int_equal(outer, WEIR_STAGE_OTHER);
	assert_int_equal(inner, WEIR_STAGE_PROXY);
	stage_change(&c, inner, 1100);
	stage_change(&c, outer, 1105);
	stage_end(&c, &stats, true, 1125);
	assert_int_equal(stats.counter[WEIR_C_STAGE_OTHER_CYCLES], 10 + 20);
	assert_int_equal(stats.counter[WEIR_C_STAGE_PROXY_CYCLES], 20 + 5);
	assert_int_equal(stats.counter[WEIR_C_STAGE_PARSE_CYCLES], 70);
	assert_int_equal(stats.counter[WEIR_C_STAGE_IDLE_CYCLES], 0);
}

static void an_iteration_without_work_is_idle_whole(void **state)
{
	struct stage_clock c = {0};

	stats = (struct weir_worker_stats){0};
	stage_begin(&c, WEIR_STAGE_OTHER, 50);
	stage_change(&c, WEIR_STAGE_RX, 60);
	stage_end(&c, &stats, false, 90);
	stage_begin(&c, WEIR_STAGE_OTHER, 90);
	stage_end(&c, &stats, true, 91);
	assert_int_equal(stats.counter[WEIR_C_STAGE_IDLE_CYCLES], 40);
	assert_int_equal(stats.counter[WEIR_C_STAGE_IDLE_ENTRIES], 1);
	assert_int_equal(stats.counter[WEIR_C_STAGE_RX_CYCLES], 0);
	assert_int_equal(stats.counter[WEIR_C_STAGE_OTHER_CYCLES], 1);
}

static void entries_are_counted_and_leaving_is_not_one(void **state)
{
	struct stage_clock c = {0};

	stats = (struct weir_worker_stats){0};
	stage_begin(&c, WEIR_STAGE_OTHER, __rdtsc());
	for (int i = 0; i < 3; i++)
		stage_leave(&c, stage_enter(&c, WEIR_STAGE_UPSTREAM));
	stage_end(&c, &stats, true, __rdtsc());
	assert_int_equal(stats.counter[WEIR_C_STAGE_UPSTREAM_ENTRIES], 3);
	assert_int_equal(stats.counter[WEIR_C_STAGE_OTHER_ENTRIES], 0);
}

static void no_clock_counts_nothing(void **state)
{
	stage_leave(NULL, stage_enter(NULL, WEIR_STAGE_PARSE));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_cycle_belongs_to_one_stage),
		cmocka_unit_test(an_iteration_without_work_is_idle_whole),
		cmocka_unit_test(entries_are_counted_and_leaving_is_not_one),
		cmocka_unit_test(no_clock_counts_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
