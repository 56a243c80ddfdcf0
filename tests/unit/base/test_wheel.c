/* SPDX-License-Identifier: Apache-2.0 */
/* The wheel against a naive model: same timers, same moments, over random operations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/wheel.h"

#define N 200

struct item {
	struct wheel_timer t;
	uint64_t at_us;
	bool armed;
};

static struct item items[N];
static struct wheel wheel;
static uint64_t n_run;
static uint64_t prng = 1;

static uint64_t rnd(void)
{
	prng ^= prng << 13;
	prng ^= prng >> 7;
	prng ^= prng << 17;
	return prng;
}

static void on_timer(void *ctx, struct wheel_timer *t, uint64_t now_us)
{
	struct item *it = (struct item *)(void *)t;

	assert_true(it->armed);
	assert_true(now_us >= it->at_us); /* never early */
	it->armed = false;
	n_run++;
}

static void runs_each_timer_once_never_early_never_lost(void **state)
{
	uint64_t now = 12345678;

	wheel_init(&wheel, 1000, now);
	wheel_handle(&wheel, 0, on_timer, NULL);
	memset(items, 0, sizeof(items));
	for (int round = 0; round < 200000; round++) {
		struct item *it = &items[rnd() % N];
		static const uint64_t spans[] = {2000, 300000, 70000000, 20000000000, 5000000000000};

		switch (rnd() % 4) {
		case 0:
		case 1:
			it->at_us = now + rnd() % spans[rnd() % 5];
			it->armed = true;
			wheel_arm(&wheel, &it->t, 0, it->at_us);
			break;
		case 2:
			wheel_cancel(&wheel, &it->t);
			it->armed = false;
			break;
		default: {
			uint64_t next = wheel_next_us(&wheel);
			now += rnd() % spans[rnd() % 4];
			wheel_run(&wheel, now, UINT32_MAX);
			for (int i = 0; i < N; i++) { /* at most one tick late */
				assert_int_equal(items[i].armed, wheel_is_armed(&items[i].t));
				assert_false(items[i].armed && items[i].at_us + 1000 <= now);
				if (!items[i].armed)
					continue;
			}
			assert_true(next == WHEEL_NEVER || next > 0);
		}
		}
	}
	assert_true(n_run > 10000);
}

static void next_time_is_never_after_the_first_timer(void **state)
{
	uint64_t now = 0;

	wheel_init(&wheel, 1000, now);
	wheel_handle(&wheel, 0, on_timer, NULL);
	memset(items, 0, sizeof(items));
	assert_int_equal(wheel_next_us(&wheel), WHEEL_NEVER);
	for (int round = 0; round < 2000; round++) {
		items[0].at_us = now + 1 + rnd() % 100000000;
		items[0].armed = true;
		wheel_arm(&wheel, &items[0].t, 0, items[0].at_us);
		while (items[0].armed) { /* jumping only to the times it names gets there */
			uint64_t next = wheel_next_us(&wheel);
			assert_true(next <= items[0].at_us + 1000);
			assert_true(next > now || next == now);
			now = next > now ? next : now + 1000;
			wheel_run(&wheel, now, UINT32_MAX);
		}
		assert_true(now <= items[0].at_us + 2000);
	}
}

static struct wheel_timer due[3];
static int order;

static void cancel_the_others(void *ctx, struct wheel_timer *t, uint64_t now_us)
{
	order++;
	for (int i = 0; i < 3; i++)
		wheel_cancel(&wheel, &due[i]);
}

static void due_timer_can_be_cancelled_by_a_handler(void **state)
{
	wheel_init(&wheel, 1000, 0);
	wheel_handle(&wheel, 1, cancel_the_others, NULL);
	memset(due, 0, sizeof(due));
	for (int i = 0; i < 3; i++)
		wheel_arm(&wheel, &due[i], 1, 5000);
	assert_int_equal(wheel_run(&wheel, 10000, 100), 1);
	assert_int_equal(order, 1);
	assert_int_equal(wheel.n_armed, 0);
}

static void budget_leaves_the_rest_for_the_next_run(void **state)
{
	wheel_init(&wheel, 1000, 0);
	wheel_handle(&wheel, 0, on_timer, NULL);
	memset(items, 0, sizeof(items));
	for (int i = 0; i < 10; i++) {
		items[i].at_us = 1000;
		items[i].armed = true;
		wheel_arm(&wheel, &items[i].t, 0, 1000);
	}
	assert_int_equal(wheel_run(&wheel, 2000, 4), 4);
	assert_int_equal(wheel_run(&wheel, 2000, 100), 6);
}

#define CROWD 20000

static struct item crowd[CROWD];

static bool is_moving(void)
{
	for (int i = 0; i < WHEEL_LEVELS; i++)
		if (wheel.moving[i])
			return true;
	return false;
}

/* A crowd that is due within one slot of the third level, and one timer of the first level among them. */
static void a_crowded_slot_is_emptied_a_part_at_a_time(void **state)
{
	const uint64_t slot_us = 65536000;
	unsigned n_runs = 0;
	uint64_t now = 0;

	wheel_init(&wheel, 1000, now);
	wheel_handle(&wheel, 0, on_timer, NULL);
	n_run = 0;
	for (int i = 0; i < CROWD; i++) {
		crowd[i] = (struct item){.at_us = 2 * slot_us + 60000000 + rnd() % 1000000, .armed = true};
		wheel_arm(&wheel, &crowd[i].t, 0, crowd[i].at_us);
	}
	items[0] = (struct item){.at_us = 2 * slot_us + 5000, .armed = true};
	now = 2 * slot_us - 1000;
	wheel_run(&wheel, now, UINT32_MAX);
	wheel_arm(&wheel, &items[0].t, 0, items[0].at_us);
	assert_false(is_moving());
	now += 1000;
	wheel_run(&wheel, now, UINT32_MAX);
	assert_true(is_moving());
	assert_true(wheel_next_us(&wheel) <= now); /* there is work to do now */
	for (int i = 0; i < CROWD; i += 100) { /* whoever waits to be moved is cancelled, or armed again, as anybody */
		wheel_cancel(&wheel, &crowd[i].t);
		crowd[i].armed = false;
		crowd[i + 1].at_us = now + 2000 + rnd() % 100000;
		wheel_arm(&wheel, &crowd[i + 1].t, 0, crowd[i + 1].at_us);
	}
	while (is_moving()) {
		n_runs++;
		now += 100;
		wheel_run(&wheel, now, UINT32_MAX);
		assert_true(n_runs < CROWD);
		if (now >= items[0].at_us + 1000)
			assert_false(items[0].armed); /* it does not wait for the crowd */
	}
	assert_in_range(n_runs, CROWD / WHEEL_MOVES * 9 / 10, CROWD / WHEEL_MOVES + 10);
	while (now < 2 * slot_us + 62000000) {
		now += 1000;
		wheel_run(&wheel, now, UINT32_MAX);
		for (int i = 0; i < CROWD; i++)
			assert_false(crowd[i].armed && crowd[i].at_us + 1000 <= now && !is_moving());
		if (now > 2 * slot_us + 200000 && now < 2 * slot_us + 59000000)
			now += 1000000;
	}
	assert_int_equal(n_run, CROWD - CROWD / 100 + 1);
	assert_int_equal(wheel.n_armed, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_each_timer_once_never_early_never_lost),
		cmocka_unit_test(next_time_is_never_after_the_first_timer),
		cmocka_unit_test(due_timer_can_be_cancelled_by_a_handler),
		cmocka_unit_test(budget_leaves_the_rest_for_the_next_run),
		cmocka_unit_test(a_crowded_slot_is_emptied_a_part_at_a_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
