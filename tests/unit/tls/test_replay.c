/* SPDX-License-Identifier: Apache-2.0 */
/* ClientHellos that came before are known as long as they are fresh, however stretches of time turn and buckets fill. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "tls/replay.h"

#define S 1000000ull

/* The nth hello of a bucket. */
static uint64_t hello(uint32_t bucket, uint32_t n)
{
	return (uint64_t)(n * 2 + 1) << 32 | bucket;
}

/* Known for longer than what was before it could be fresh. */
static struct replays *begin(uint64_t *now_us)
{
	struct replays *r = aligned_alloc(64, sizeof(*r));

	memset(r, 0, sizeof(*r));
	*now_us = 100 * S;
	replays_begin(r, *now_us);
	*now_us += REPLAY_FRESH_US;
	return r;
}

static void takes_none_just_after_the_start(void **state)
{
	struct replays *r = memset(aligned_alloc(64, sizeof(*r)), 0, sizeof(*r));

	replays_begin(r, 5 * S);
	assert_int_equal(replays_note(r, hello(1, 1), 6 * S), REPLAY_TOO_SOON);
	assert_int_equal(replays_note(r, hello(1, 1), 7 * S), REPLAY_SEEN);
	assert_int_equal(replays_note(r, hello(1, 2), 5 * S + REPLAY_FRESH_US - 1), REPLAY_TOO_SOON);
	assert_int_equal(replays_note(r, hello(1, 3), 5 * S + REPLAY_FRESH_US), REPLAY_NEW);
	assert_int_equal(replays_note(r, hello(1, 2), 5 * S + REPLAY_FRESH_US), REPLAY_SEEN);
	free(r);
}

static void knows_a_hello_over_the_turn_of_a_stretch(void **state)
{
	for (uint64_t at_us = 0; at_us < REPLAY_FRESH_US; at_us += S / 4) {
		uint64_t begin_us, now_us;
		struct replays *r = begin(&begin_us);

		replays_note(r, hello(9, 1), begin_us); /* a stretch begins */
		now_us = begin_us + at_us;
		assert_int_equal(replays_note(r, hello(7, 1), now_us), REPLAY_NEW);
		for (uint64_t age_us = 0; age_us < REPLAY_FRESH_US; age_us += S / 2)
			assert_int_equal(replays_note(r, hello(7, 1), now_us + age_us), REPLAY_SEEN);
		free(r);
	}
}

static void full_bucket_refuses_and_its_neighbours_do_not(void **state)
{
	uint64_t now_us;
	struct replays *r = begin(&now_us);

	for (uint32_t i = 0; i < REPLAY_WAYS; i++)
		assert_int_equal(replays_note(r, hello(3, i), now_us), REPLAY_NEW);
	for (uint32_t i = 0; i < 100; i++)
		assert_int_equal(replays_note(r, hello(3, REPLAY_WAYS + i), now_us), REPLAY_FULL);
	assert_int_equal(replays_note(r, hello(3, 0), now_us), REPLAY_SEEN);
	assert_int_equal(replays_note(r, hello(2, 0), now_us), REPLAY_NEW);
	assert_int_equal(replays_note(r, hello(4, 0), now_us), REPLAY_NEW);
	now_us += REPLAY_FRESH_US; /* what it had no place for may be fresh still */
	assert_int_equal(replays_note(r, hello(3, REPLAY_WAYS), now_us), REPLAY_FULL);
	assert_int_equal(replays_note(r, hello(3, 1000), now_us), REPLAY_FULL);
	now_us += REPLAY_FRESH_US; /* of the stretch that began just before, all is known */
	assert_int_equal(replays_note(r, hello(3, 1000), now_us), REPLAY_SEEN);
	assert_int_equal(replays_note(r, hello(3, 1001), now_us), REPLAY_NEW);
	free(r);
}

static void long_silence_empties_it(void **state)
{
	uint64_t now_us;
	struct replays *r = begin(&now_us);

	for (uint32_t i = 0; i < 2 * REPLAY_WAYS; i++)
		replays_note(r, hello(3, i), now_us);
	now_us += 2 * REPLAY_FRESH_US;
	assert_int_equal(replays_note(r, hello(3, 1), now_us), REPLAY_NEW);
	now_us += 1000 * REPLAY_FRESH_US;
	assert_int_equal(replays_note(r, hello(3, 1), now_us), REPLAY_NEW);
	assert_int_equal(replays_note(r, hello(3, 1), now_us), REPLAY_SEEN);
	free(r);
}

/* Whatever time it is: of 512 KiB, one bucket is written. */
static void costs_one_bucket_also_when_a_stretch_turns(void **state)
{
	uint64_t now_us;
	struct replays *r = begin(&now_us), *before = aligned_alloc(64, sizeof(*r));

	for (uint32_t i = 0; i < 40000; i++)
		replays_note(r, hello(i % REPLAY_BUCKETS, i / REPLAY_BUCKETS), now_us);
	for (uint32_t i = 0; i < 200; i++) {
		unsigned n_changed = 0;

		memcpy(before, r, sizeof(*r));
		now_us += i % 7 * S;
		replays_note(r, hello(i * 31 % REPLAY_BUCKETS, 100 + i), now_us);
		for (unsigned k = 0; k < 2 * REPLAY_BUCKETS; k++)
			n_changed += memcmp(&r->buckets[0][0] + k, &before->buckets[0][0] + k, sizeof(struct replay_bucket)) != 0;
		assert_true(n_changed <= 1);
	}
	free(before);
	free(r);
}

static uint32_t random32(uint64_t *x)
{
	*x = *x * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(*x >> 33);
}

/*
 * Against a list of all that ever came: none that is younger than that is new, from its first coming on, whether there was a place for
 * it or not; and one that never came is refused for a reason.
 */
static void no_replay_is_new_at_any_time(void **state)
{
	enum { N = 20000, N_HELLOS = 600 };
	static uint64_t first_us[3][N_HELLOS];
	unsigned n_new = 0, n_seen = 0, n_full = 0;

	for (uint64_t seed = 1; seed <= 40; seed++) {
		uint64_t x = seed, now_us;
		struct replays *r = begin(&now_us);

		memset(first_us, 0, sizeof(first_us));
		for (unsigned i = 0; i < N; i++) {
			uint32_t bucket = random32(&x) % 3, n = random32(&x) % (bucket ? N_HELLOS : 12);
			uint64_t *first = &first_us[bucket][n];
			bool is_fresh = *first && now_us - *first < REPLAY_FRESH_US;
			enum replay_verdict v = replays_note(r, hello(bucket, n), now_us);

			assert_int_not_equal(v, REPLAY_TOO_SOON);
			assert_false(is_fresh && v == REPLAY_NEW);
			assert_true(*first || v != REPLAY_SEEN);
			assert_true(bucket || v != REPLAY_FULL); /* there are not so many */
			n_new += v == REPLAY_NEW;
			n_seen += v == REPLAY_SEEN;
			n_full += v == REPLAY_FULL;
			if (!is_fresh)
				*first = now_us; /* that of before is stale, and this would be another one with its hash */
			now_us += random32(&x) % 50 ? random32(&x) % (S * seed / 20) : random32(&x) % (30 * S);
		}
		free(r);
	}
	assert_true(n_new > 1000 && n_seen > 1000 && n_full > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_none_just_after_the_start),
		cmocka_unit_test(knows_a_hello_over_the_turn_of_a_stretch),
		cmocka_unit_test(full_bucket_refuses_and_its_neighbours_do_not),
		cmocka_unit_test(long_silence_empties_it),
		cmocka_unit_test(costs_one_bucket_also_when_a_stretch_turns),
		cmocka_unit_test(no_replay_is_new_at_any_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
