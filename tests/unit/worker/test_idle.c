/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a worker without work rests: the ladder in virtual time, and the call
 * that wakes a sleeper, of which none may be lost.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <sched.h>

#include "base/wake.h"
#include "idle_ladder.h"

#define LATENCY_US 50
#define FAR 1000000000ull

static enum idle_rung climb(struct idle_ladder *l, uint64_t now_us)
{
	return idle_ladder_climb(l, now_us, true);
}

static void spins_for_ever_where_the_core_is_its_own(void **state)
{
	struct idle_ladder l = {.mode = IDLE_MODE_SPIN, .latency_us = LATENCY_US, .has_pause = true};

	for (uint64_t now = 1000; now < FAR; now += now / 3)
		assert_int_equal(climb(&l, now), IDLE_SPINS);
}

static void rests_the_deeper_the_longer_there_is_no_work(void **state)
{
	struct idle_ladder l = {.mode = IDLE_MODE_INTERRUPT, .latency_us = LATENCY_US, .has_pause = true};
	enum idle_rung last = IDLE_SPINS;
	bool seen[4] = {false};

	for (uint64_t now = 7000; now < 7000 + 3 * IDLE_DEEP_AFTER_US; now++) {
		enum idle_rung rung = climb(&l, now);

		assert_true(rung >= last);
		seen[rung] = true;
		last = rung;
	}
	assert_true(seen[IDLE_SPINS] && seen[IDLE_PAUSES] && seen[IDLE_SLEEPS] && seen[IDLE_DEEP]);
	idle_ladder_reset(&l);
	assert_int_equal(climb(&l, 20000), IDLE_SPINS); /* work, and the ladder begins again */
	assert_int_equal(climb(&l, 20000 + IDLE_PAUSE_AFTER_US - 1), IDLE_SPINS);
	assert_int_equal(climb(&l, 20000 + IDLE_PAUSE_AFTER_US), IDLE_PAUSES);
	assert_int_equal(climb(&l, 20000 + IDLE_SLEEP_AFTER_US), IDLE_SLEEPS);
	assert_int_equal(climb(&l, 20000 + IDLE_DEEP_AFTER_US), IDLE_DEEP);
}

static void goes_no_further_than_the_mode_says(void **state)
{
	static const enum idle_rung deepest[] = {[IDLE_MODE_PAUSE] = IDLE_PAUSES, [IDLE_MODE_SLEEP] = IDLE_SLEEPS, [IDLE_MODE_INTERRUPT] = IDLE_DEEP};

	for (enum idle_mode mode = IDLE_MODE_PAUSE; mode <= IDLE_MODE_INTERRUPT; mode++) {
		struct idle_ladder l = {.mode = mode, .latency_us = LATENCY_US, .has_pause = true};

		climb(&l, 5);
		assert_int_equal(climb(&l, FAR), deepest[mode]);
	}
}

static void a_cpu_without_a_pause_spins_instead(void **state)
{
	struct idle_ladder l = {.mode = IDLE_MODE_PAUSE, .latency_us = LATENCY_US};

	climb(&l, 5);
	assert_int_equal(climb(&l, FAR), IDLE_SPINS);
}

static void does_not_sleep_deeply_while_something_is_under_way(void **state)
{
	struct idle_ladder l = {.mode = IDLE_MODE_INTERRUPT, .latency_us = LATENCY_US};

	idle_ladder_climb(&l, 5, false);
	assert_int_equal(idle_ladder_climb(&l, FAR, false), IDLE_SLEEPS);
	assert_int_equal(idle_ladder_climb(&l, FAR, true), IDLE_DEEP);
}

static void trusts_no_interrupts_that_do_not_come(void **state)
{
	struct idle_ladder l = {.mode = IDLE_MODE_INTERRUPT, .latency_us = LATENCY_US};

	climb(&l, 5);
	for (int i = 0; i < 10; i++) { /* one by chance, now and then */
		idle_ladder_woken(&l, false);
		assert_int_equal(climb(&l, FAR), IDLE_DEEP);
		idle_ladder_woken(&l, true);
	}
	for (int i = 0; i < IDLE_MISSES; i++) {
		assert_int_equal(climb(&l, FAR), IDLE_DEEP);
		idle_ladder_woken(&l, false);
	}
	assert_int_equal(climb(&l, FAR), IDLE_SLEEPS);
}

static uint64_t span(const struct idle_ladder *l, enum idle_rung rung, uint64_t now_us, uint64_t next_us, enum idle_rung becomes)
{
	uint64_t ns = idle_ladder_span(l, &rung, now_us, next_us);

	assert_int_equal(rung, becomes);
	return ns;
}

static void a_short_sleep_ends_within_the_bound(void **state)
{
	struct idle_ladder l = {.mode = IDLE_MODE_SLEEP, .latency_us = LATENCY_US};
	uint64_t ns = 0;

	climb(&l, 1000);
	for (uint64_t idle = 10; idle < 100000; idle += idle / 2) { /* longer and longer, up to the bound */
		uint64_t longer = span(&l, IDLE_SLEEPS, 1000 + idle, FAR, IDLE_SLEEPS);

		assert_true(longer >= ns && longer <= LATENCY_US * 1000 && longer <= idle * 500);
		ns = longer;
	}
	assert_int_equal(ns, LATENCY_US * 1000);
}

static void the_kernel_being_late_is_part_of_the_bound(void **state)
{
	struct idle_ladder l = {.mode = IDLE_MODE_SLEEP, .latency_us = LATENCY_US};
	uint64_t ns = 0;

	climb(&l, 1000);
	for (int i = 0; i < 200; i++) {
		ns = span(&l, IDLE_SLEEPS, 50000, FAR, IDLE_SLEEPS);
		idle_ladder_slept(&l, ns, ns + 12000);
	}
	assert_in_range(ns + 12000, LATENCY_US * 1000 - 3000, LATENCY_US * 1000 + 1000);
	for (int i = 0; i < 1000; i++) /* a machine that is hopeless still rests, and one that stood still is not hopeless for ever */
		idle_ladder_slept(&l, ns, 1000000000);
	assert_int_equal(span(&l, IDLE_SLEEPS, 50000, FAR, IDLE_SLEEPS), LATENCY_US * 1000 / 5);
	for (int i = 0; i < 200; i++)
		idle_ladder_slept(&l, ns, ns);
	assert_true(span(&l, IDLE_SLEEPS, 50000, FAR, IDLE_SLEEPS) > LATENCY_US * 900);
}

static void no_sleep_goes_beyond_the_next_timer(void **state)
{
	struct idle_ladder l = {.mode = IDLE_MODE_INTERRUPT, .latency_us = LATENCY_US};

	climb(&l, 1000);
	assert_int_equal(span(&l, IDLE_SLEEPS, 50000, 50007, IDLE_SLEEPS), 7000);
	assert_int_equal(span(&l, IDLE_DEEP, 50000, 50000 + IDLE_DEEP_MIN_US, IDLE_DEEP), IDLE_DEEP_MIN_US * 1000);
	assert_int_equal(span(&l, IDLE_DEEP, 50000, 50000 + IDLE_DEEP_MIN_US - 1, IDLE_SLEEPS), LATENCY_US * 1000);
	assert_int_equal(span(&l, IDLE_DEEP, 50000, UINT64_MAX, IDLE_DEEP), IDLE_DEEP_MAX_US * 1000ull);
	assert_int_equal(span(&l, IDLE_DEEP, 50000, 50000, IDLE_SPINS), 0); /* due: look at once */
	assert_int_equal(span(&l, IDLE_PAUSES, 50000, 49000, IDLE_SPINS), 0);
}

/* -- wake.h, with real threads: a counter stands for a ring */

#define N_PUTS 20000
#define LOST_MS 10000 /* nobody waits for so long unless a call was lost */

static struct wake wake;
static unsigned n_put, n_taken, n_sleeps;
static bool was_lost;

static void sleep_until_called(unsigned have)
{
	struct pollfd fd = {.fd = wake.fd, .events = POLLIN};

	wake_arm(&wake);
	if (__atomic_load_n(&n_put, __ATOMIC_ACQUIRE) == have) {
		n_sleeps++;
		if (poll(&fd, 1, LOST_MS) == 0)
			was_lost = true;
		wake_take(&wake);
	}
	wake_disarm(&wake);
}

static void *owner(void *arg)
{
	unsigned have = 0;

	while (have < N_PUTS && !was_lost) {
		unsigned n = __atomic_load_n(&n_put, __ATOMIC_ACQUIRE);

		if (n == have)
			sleep_until_called(have);
		have = n;
		__atomic_store_n(&n_taken, have, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void spin(unsigned n)
{
	while (n--)
		__asm__ volatile("");
}

/* The producer waits until what it put was taken, so that each put may meet an owner that is about to sleep. */
static void no_call_is_lost(void **state)
{
	pthread_t thread;

	assert_int_equal(wake_init(&wake), 0);
	assert_int_equal(pthread_create(&thread, NULL, owner, NULL), 0);
	for (unsigned i = 1; i <= N_PUTS && !was_lost; i++) {
		__atomic_store_n(&n_put, i, __ATOMIC_RELEASE);
		wake_up(&wake);
		while (__atomic_load_n(&n_taken, __ATOMIC_ACQUIRE) < i && !__atomic_load_n(&was_lost, __ATOMIC_RELAXED))
			sched_yield();
		spin(i % 5000); /* so that the next one comes at any moment of its way to sleep */
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_false(was_lost);
	assert_true(n_sleeps > 0);
	wake_fini(&wake);
}

/*
 * The same without sleep, so that both meet within some nanoseconds more often: in each round one puts and calls, the other raises its
 * flag and looks. Whoever saw nothing must have been called. Without the fences this fails on x86 within few rounds.
 */
#define N_ROUNDS 30000
static struct {
	unsigned begun, put __attribute__((aligned(128)));
	unsigned called __attribute__((aligned(128)));
	unsigned looked __attribute__((aligned(128)));
} meet;

static void await_round(const unsigned *what, unsigned round)
{
	for (unsigned i = 1; __atomic_load_n(what, __ATOMIC_ACQUIRE) < round; i++)
		if (i % 2048 == 0)
			sched_yield();
}

/* The n-th CPU of these, or the last one: two threads on one never meet. */
static void stay_on(const cpu_set_t *all, int n)
{
	cpu_set_t one;

	for (int cpu = 0; cpu < CPU_SETSIZE && n >= 0; cpu++)
		if (CPU_ISSET(cpu, all)) {
			CPU_ZERO(&one);
			CPU_SET(cpu, &one);
			n--;
		}
	assert_int_equal(pthread_setaffinity_np(pthread_self(), sizeof(one), &one), 0);
}

static void *caller(void *arg)
{
	stay_on(arg, 1);
	for (unsigned round = 1; round <= N_ROUNDS; round++) {
		await_round(&meet.begun, round);
		spin(round % 50);
		__atomic_store_n(&meet.put, round, __ATOMIC_RELEASE);
		wake_up(&wake);
		__atomic_store_n(&meet.called, round, __ATOMIC_RELEASE);
		await_round(&meet.looked, round);
	}
	return NULL;
}

static void who_sees_nothing_has_been_called(void **state)
{
	unsigned n_lost = 0, n_blind = 0;
	pthread_t thread;
	cpu_set_t all;

	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	assert_int_equal(wake_init(&wake), 0);
	assert_int_equal(pthread_create(&thread, NULL, caller, &all), 0);
	stay_on(&all, 0);
	for (unsigned round = 1; round <= N_ROUNDS; round++) {
		struct pollfd fd = {.fd = wake.fd, .events = POLLIN};
		bool is_blind;

		__atomic_store_n(&meet.begun, round, __ATOMIC_RELEASE);
		spin(round % 8191); /* the other one has to see first that it may */
		wake_arm(&wake);
		is_blind = __atomic_load_n(&meet.put, __ATOMIC_ACQUIRE) < round;
		await_round(&meet.called, round);
		if (is_blind) {
			n_blind++;
			n_lost += poll(&fd, 1, 0) == 0;
		}
		wake_disarm(&wake);
		wake_take(&wake);
		__atomic_store_n(&meet.looked, round, __ATOMIC_RELEASE);
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
	print_message("%u of %u saw nothing and were called\n", n_blind, N_ROUNDS);
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
	assert_int_equal(n_lost, 0);
	assert_true(n_blind > 0);
	wake_fini(&wake);
}

static void nobody_pays_for_an_owner_that_is_awake(void **state)
{
	struct pollfd fd = {.events = POLLIN};
	struct wake never = {0};

	assert_int_equal(wake_init(&wake), 0);
	fd.fd = wake.fd;
	wake_up(NULL);
	wake_up(&never);
	wake_up(&wake);
	assert_int_equal(poll(&fd, 1, 0), 0);
	wake_arm(&wake);
	wake_up(&wake);
	wake_up(&wake); /* has been called already */
	assert_int_equal(poll(&fd, 1, 0), 1);
	wake_take(&wake);
	assert_int_equal(poll(&fd, 1, 0), 0);
	wake_arm(&wake);
	wake_disarm(&wake);
	wake_up(&wake);
	assert_int_equal(poll(&fd, 1, 0), 0);
	wake_fini(&wake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spins_for_ever_where_the_core_is_its_own),
		cmocka_unit_test(rests_the_deeper_the_longer_there_is_no_work),
		cmocka_unit_test(goes_no_further_than_the_mode_says),
		cmocka_unit_test(a_cpu_without_a_pause_spins_instead),
		cmocka_unit_test(does_not_sleep_deeply_while_something_is_under_way),
		cmocka_unit_test(trusts_no_interrupts_that_do_not_come),
		cmocka_unit_test(a_short_sleep_ends_within_the_bound),
		cmocka_unit_test(the_kernel_being_late_is_part_of_the_bound),
		cmocka_unit_test(no_sleep_goes_beyond_the_next_timer),
		cmocka_unit_test(no_call_is_lost),
		cmocka_unit_test(who_sees_nothing_has_been_called),
		cmocka_unit_test(nobody_pays_for_an_owner_that_is_awake),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
