/* SPDX-License-Identifier: Apache-2.0 */
/* How endpoints are chosen: each algorithm against a naive one, its weights, its speed in steps, and slow start. */
#include "rig.h"

#include <math.h>

#include "base/hash.h"

static uint32_t counts[MAX_SET];

static void count_picks(uint32_t n)
{
	memset(counts, 0, sizeof(counts));
	for (uint32_t i = 0; i < n; i++)
		counts[pick(rnd())]++;
}

static void choose(uint8_t balance)
{
	set_backend.balance = balance;
	apply_settings();
}

/* Within five standard deviations of what is expected: once in some millions it is not. */
static void assert_share(uint32_t i, uint32_t n, double share)
{
	double d = (double)counts[i] - n * share;

	if (fabs(d) > 5 * sqrt(n * share * (1 - share)))
		fail_msg("endpoint %u: %u of %u, expected %.1f", i, counts[i], n, n * share);
}

static void equal_endpoints_take_turns_without_a_table(void **state)
{
	start();
	make_list(7, 3);
	send_list();
	settings(true);
	for (uint32_t i = 0; i < 70; i++)
		assert_int_equal(pick(0), i % 7);
	assert_null(backend_of(u)->table.algo);
	assert_int_equal(u->pages.n_free, N_PAGES);
	end();
}

/* The smooth schedule is what nginx has: it looks at each endpoint at each turn. In any stretch both serve each alike. */
static void weighted_turns_are_as_even_as_the_smooth_schedule(void **state)
{
	for (int round = 0; round < 50; round++) {
		int64_t current[40] = {0};
		int32_t ahead[40] = {0};
		uint32_t n = 2 + (uint32_t)(rnd() % 39);
		int64_t total = 0;

		start();
		make_list(n, 1);
		for (uint32_t i = 0; i < n; i++)
			total += list[i].weight = 1 + (uint32_t)(rnd() % 20);
		list[0].weight += 30, total += 30; /* not all alike */
		send_list();
		apply_settings();
		for (int k = 0; k < 2000; k++) {
			uint32_t best = 0;

			for (uint32_t i = 0; i < n; i++) {
				current[i] += list[i].weight;
				best = current[i] > current[best] ? i : best;
			}
			current[best] -= total;
			ahead[best]--;
			ahead[pick(0)]++;
			for (uint32_t i = 0; i < n; i++)
				assert_in_range(ahead[i] + 3, 0, 6);
		}
		end();
	}
}

static void random_tables_hold_the_weights_exactly(void **state)
{
	for (int round = 0; round < 30; round++) {
		double share[300] = {0};
		double total = 0;
		uint32_t n = 1 + (uint32_t)(rnd() % 300);
		const struct table *t;

		start();
		make_list(n, 1);
		for (uint32_t i = 0; i < n; i++)
			total += list[i].weight = round == 0 ? 5 : 1 + (uint32_t)(rnd() % (round % 3 ? 10 : 1000000000));
		send_list();
		choose(WEIR_BALANCE_RANDOM);
		t = &backend_of(u)->table;
		assert_int_equal(t->n, n);
		for (uint32_t i = 0; i < n; i++) {
			const struct {
				uint64_t own;
				uint32_t place, alias;
			} *x = paged_at(&t->e, i, 16);

			share[number(&u->endpoints[x->place])] += (double)x->own / n / 4294967296.0;
			share[number(&u->endpoints[x->alias])] += (4294967296.0 - (double)x->own) / n / 4294967296.0;
		}
		for (uint32_t i = 0; i < n; i++)
			assert_true(fabs(share[i] - list[i].weight / total) < 1e-6);
		end();
	}
}

static void random_picks_follow_the_weights(void **state)
{
	start();
	make_list(10, 1);
	for (uint32_t i = 0; i < 10; i++)
		list[i].weight = i + 1;
	send_list();
	choose(WEIR_BALANCE_RANDOM);
	count_picks(200000);
	for (uint32_t i = 0; i < 10; i++)
		assert_share(i, 200000, (i + 1) / 55.0);
	end();
}

static void least_request_with_nothing_in_hand_keeps_the_weights(void **state)
{
	start();
	make_list(10, 1);
	for (uint32_t i = 0; i < 10; i++)
		list[i].weight = i + 1;
	send_list();
	choose(WEIR_BALANCE_LEAST_REQUEST);
	count_picks(200000);
	for (uint32_t i = 0; i < 10; i++)
		assert_share(i, 200000, (i + 1) / 55.0);
	end();
}

/* Requests that stay: with the power of two choices the fullest has little more than the mean (Mitzenmacher 2001). */
static uint32_t fullest_after(uint8_t balance, uint32_t n)
{
	uint32_t most = 0;

	start();
	make_list(100, 1);
	send_list();
	choose(balance);
	for (uint32_t i = 0; i < n; i++)
		pick_of(u, 0)->n_conns++;
	for (struct endpoint *e = backend_of(u)->list.first; e; e = listed(backend_of(u), e)->next) {
		most = e->n_conns > most ? e->n_conns : most;
		e->n_conns = 0;
	}
	end();
	return most;
}

static void least_request_evens_out_what_is_in_hand(void **state)
{
	assert_in_range(fullest_after(WEIR_BALANCE_LEAST_REQUEST, 2000), 20, 24);
	assert_in_range(fullest_after(WEIR_BALANCE_RANDOM, 2000), 28, 60);
}

static void least_request_avoids_a_slow_endpoint(void **state)
{
	start();
	make_list(10, 2);
	send_list();
	choose(WEIR_BALANCE_LEAST_REQUEST);
	endpoint_of(u, 4)->n_conns = 1000;
	count_picks(10000);
	assert_int_equal(counts[4], 0);
	endpoint_of(u, 4)->n_conns = 0;
	end();
}

static void weighted_least_request_fills_by_weight(void **state)
{
	start();
	make_list(20, 1);
	for (uint32_t i = 10; i < 20; i++)
		list[i].weight = 3;
	send_list();
	choose(WEIR_BALANCE_LEAST_REQUEST);
	for (int i = 0; i < 40000; i++)
		pick_of(u, 0)->n_conns++;
	for (struct endpoint *e = backend_of(u)->list.first; e; e = listed(backend_of(u), e)->next) {
		uint32_t weight = listed(backend_of(u), e)->weight;

		assert_in_range(e->n_conns, weight * 900, weight * 1100);
		e->n_conns = 0;
	}
	end();
}

/* -- hashes */

/* Pseudocode 1 of the paper. */
static void naive_maglev(uint32_t *table, uint32_t m, uint32_t n)
{
	uint32_t *next = calloc(n, sizeof(*next));
	uint32_t filled = 0;

	memset(table, 0xff, m * sizeof(*table));
	for (;;)
		for (uint32_t i = 0; i < n; i++) {
			struct {
				struct weir_ip addr;
				uint32_t port, salt;
			} k = {list[i].addr, list[i].port, 1};
			uint64_t offset = hash64(&k, sizeof(k), 0) % m;
			uint64_t skip;
			uint32_t c;

			k.salt = 2;
			skip = hash64(&k, sizeof(k), 0) % (m - 1) + 1;
			do
				c = (uint32_t)((offset + next[i]++ * skip) % m);
			while (table[c] != UINT32_MAX);
			table[c] = number(endpoint_of(u, i));
			if (++filled == m) {
				free(next);
				return;
			}
		}
}

static void read_table(uint32_t *out)
{
	const struct table *t = &backend_of(u)->table;

	for (uint32_t i = 0; i < t->n; i++)
		out[i] = number(&u->endpoints[*(uint32_t *)paged_at(&t->e, i, 4)]);
}

static uint32_t before[524287], after[524287];

static void maglev_tables_are_those_of_the_paper(void **state)
{
	static const uint32_t sizes[] = {1, 2, 3, 10, 163, 164, 300};

	for (size_t k = 0; k < sizeof(sizes) / sizeof(*sizes); k++) {
		start();
		make_list(sizes[k], 7);
		send_list();
		choose(WEIR_BALANCE_MAGLEV);
		assert_int_equal(backend_of(u)->table.n, sizes[k] < 164 ? 16381 : 65537);
		naive_maglev(before, backend_of(u)->table.n, sizes[k]);
		read_table(after);
		assert_memory_equal(before, after, backend_of(u)->table.n * sizeof(*before));
		end();
	}
}

/* 5.3 of the paper: with 100 slots for each, the fullest has 1 % more than the mean, or the least 1 % fewer. */
static void maglev_spreads_evenly(void **state)
{
	start();
	make_list(160, 1);
	send_list();
	choose(WEIR_BALANCE_MAGLEV);
	read_table(after);
	memset(counts, 0, sizeof(counts));
	for (uint32_t i = 0; i < 16381; i++)
		counts[after[i]]++;
	for (uint32_t i = 0; i < 160; i++)
		assert_in_range(counts[i], 16381 / 160 - 1, 16381 / 160 + 2);
	end();
}

static void maglev_keeps_weights(void **state)
{
	start();
	make_list(20, 1);
	for (uint32_t i = 0; i < 20; i++)
		list[i].weight = 10 + 10 * (i % 4);
	send_list();
	choose(WEIR_BALANCE_MAGLEV);
	read_table(after);
	memset(counts, 0, sizeof(counts));
	for (uint32_t i = 0; i < 16381; i++)
		counts[after[i]]++;
	for (uint32_t i = 0; i < 20; i++)
		assert_in_range(counts[i], 16381 * list[i].weight / 500 * 97 / 100, 16381 * list[i].weight / 500 * 103 / 100 + 1);
	end();
}

/* 5.3 of the paper, figure 12: of the keys of those that stay, at most a few in a hundred move. */
static void maglev_moves_few_keys_when_an_endpoint_leaves(void **state)
{
	for (uint32_t gone = 0; gone < 5; gone++) {
		uint32_t moved = 0;

		start();
		make_list(100, 1);
		send_list();
		choose(WEIR_BALANCE_MAGLEV);
		read_table(before);
		remove_from_list(gone * 17);
		send_list();
		read_table(after);
		for (uint32_t i = 0; i < 16381; i++) {
			assert_int_not_equal(after[i], gone * 17);
			moved += before[i] != gone * 17 && before[i] != after[i];
		}
		assert_in_range(moved, 0, 16381 * 4 / 100);
		end();
	}
}

static uint32_t naive_ring(uint32_t key)
{
	uint32_t best = UINT32_MAX;
	uint32_t who = 0;
	uint32_t lowest = UINT32_MAX;
	uint32_t first = 0;

	for (uint32_t i = 0; i < n_list; i++)
		for (uint32_t k = 1; k <= 160 * list[i].weight / 4; k++) {
			struct {
				struct weir_ip addr;
				uint32_t port, salt;
			} x = {list[i].addr, list[i].port, k + 2};
			uint32_t at = (uint32_t)(hash64(&x, sizeof(x), 0) >> 32);

			if (at >= key && at < best) {
				best = at;
				who = i;
			}
			if (at < lowest) {
				lowest = at;
				first = i;
			}
		}
	return best == UINT32_MAX ? first : who;
}

static void ring_is_the_naive_ring(void **state)
{
	start();
	make_list(30, 1);
	for (uint32_t i = 0; i < 30; i++)
		list[i].weight = 1 + i % 4;
	send_list();
	choose(WEIR_BALANCE_RING_HASH);
	for (int i = 0; i < 3000; i++) {
		uint64_t key = i == 0 ? UINT64_MAX : i == 1 ? 0 : rnd();

		assert_int_equal(pick(key), naive_ring((uint32_t)(key >> 32)));
	}
	end();
}

static void ring_moves_no_key_of_those_that_stay(void **state)
{
	static uint32_t was[20000];
	uint64_t keys = prng;

	start();
	make_list(50, 1);
	send_list();
	choose(WEIR_BALANCE_RING_HASH);
	for (int i = 0; i < 20000; i++)
		was[i] = pick(rnd());
	remove_from_list(20);
	send_list();
	prng = keys;
	for (int i = 0; i < 20000; i++) {
		uint32_t is = pick(rnd());

		assert_int_not_equal(is, 20);
		assert_true(is == was[i] || was[i] == 20);
	}
	end();
}

/* Seeds and histories of workers differ, keys may not. */
static void workers_agree_on_every_key(void **state)
{
	for (uint8_t balance = WEIR_BALANCE_MAGLEV; balance <= WEIR_BALANCE_RING_HASH; balance++) {
		start();
		make_list(40, 1);
		send_list();
		rigs[1].u->next_id += 1000;
		for (int i = 0; i < 20; i++)
			pick_of(rigs[1].u, rnd());
		choose(balance);
		for (int i = 0; i < 5000; i++) {
			uint64_t key = rnd();

			assert_int_equal(number(pick_of(u, key)), number(pick_of(rigs[1].u, key)));
		}
		end();
	}
}

static void key_of_a_tried_endpoint_goes_to_the_same_other_one(void **state)
{
	for (uint8_t balance = WEIR_BALANCE_MAGLEV; balance <= WEIR_BALANCE_RING_HASH; balance++) {
		start();
		make_list(10, 1);
		send_list();
		choose(balance);
		for (int i = 0; i < 1000; i++) {
			struct upstream_tried tried = {.n = 1};
			const struct choice c = {.tried = &tried, .key = rnd(), .now_us = now};
			struct endpoint *other;

			tried.endpoint[0] = pick_of(u, c.key)->id;
			other = balance_pick(u, backend_of(u), &c);
			assert_int_not_equal(other->id, tried.endpoint[0]);
			assert_ptr_equal(other, balance_pick(u, backend_of(u), &c));
		}
		end();
	}
}

/* -- many, and in slices */

static void thousands_are_built_in_slices_and_serve_meanwhile(void **state)
{
	for (uint8_t balance = 0; balance <= WEIR_BALANCE_RING_HASH; balance++) {
		unsigned n_slices = 0;

		start();
		make_list(3000, 1);
		list[5].weight = 2;
		set_backend.balance = balance;
		settings(true);
		send_list_to("n/s:80", true);
		settings(true);
		while (is_building(u)) {
			assert_non_null(pick_of(u, rnd()));
			now += 100;
			run_timers();
			n_slices++;
		}
		assert_in_range(n_slices, 3, 50000);
		assert_non_null(backend_of(u)->table.algo);
		for (int i = 0; i < 2000; i++)
			assert_non_null(pick_of(u, rnd()));
		/* another set, while the table of the last one is being built */
		remove_from_list(7);
		send_list_to("n/s:80", true);
		now += 100;
		run_timers();
		remove_from_list(8);
		send_list();
		for (int i = 0; i < 2000; i++) {
			uint32_t who = pick(rnd());

			assert_true(who != 7 && who != 9);
		}
		end();
	}
}

/* A large set that changes all the time keeps no other table back. */
static void restless_backend_does_not_keep_others_waiting(void **state)
{
	start();
	set_backend.balance = WEIR_BALANCE_MAGLEV;
	make_list(600, 1);
	send_list_to("n/s:80", true);
	settings(true);
	send_list_to("n/s:80", true);
	for (uint32_t i = 0; i < 600; i++)
		list[i].weight = 1 + i % 3; /* a table for the other one */
	send_list_to("n/other:80", true);
	for (int i = 0; i < 30; i++) {
		make_list(600 - (uint32_t)i, 1);
		send_list_to("n/s:80", true);
		now += 100;
		run_timers();
	}
	assert_false(u->backends[1].needs_table);
	assert_ptr_equal(u->backends[1].table.algo, &balance_weighted);
	assert_true(backend_of(u)->needs_table);
	end();
}

static void without_pages_plain_turns_go_on(void **state)
{
	start_with(10);
	make_list(5, 1);
	send_list();
	choose(WEIR_BALANCE_MAGLEV);
	assert_int_equal(stats->counter[WEIR_C_BALANCE_NO_ROOM], 1);
	assert_null(backend_of(u)->table.algo);
	assert_int_equal(u->pages.n_free, 10);
	for (uint32_t i = 0; i < 10; i++)
		assert_int_equal(pick(42), i % 5);
	choose(WEIR_BALANCE_RANDOM); /* needs two */
	assert_non_null(backend_of(u)->table.algo);
	end();
}

static void settings_that_stay_build_nothing(void **state)
{
	char **dir;

	start();
	make_list(50, 1);
	send_list();
	choose(WEIR_BALANCE_MAGLEV);
	dir = backend_of(u)->table.e.dir;
	settings(true);
	assert_false(is_building(u));
	assert_ptr_equal(backend_of(u)->table.e.dir, dir);
	set_backend.max_requests = 5;
	settings(true);
	assert_false(is_building(u));
	assert_ptr_equal(backend_of(u)->table.e.dir, dir);
	end();
}

static void endpoints_that_leave_are_the_last_resort(void **state)
{
	for (uint8_t balance = 0; balance <= WEIR_BALANCE_RING_HASH; balance++) {
		start();
		make_list(6, 1);
		list[5].weight = 3;
		for (int i = 0; i < 3; i++)
			list[i].flags = WEIR_EP_SERVING | WEIR_EP_TERMINATING;
		list[3].flags = 0;
		send_list();
		choose(balance);
		for (int i = 0; i < 500; i++)
			assert_in_range(pick(rnd()), 4, 5);
		list[4].flags = list[5].flags = WEIR_EP_SERVING | WEIR_EP_TERMINATING;
		send_list();
		count_picks(500);
		assert_int_equal(counts[3], 0);
		for (int i = 0; i < 6; i++)
			assert_int_equal(counts[i] > 0, i != 3);
		end();
	}
}

/* -- slow start */

static double share_of(uint32_t i, uint32_t n)
{
	count_picks(n);
	return (double)counts[i] / n;
}

static void new_endpoint_begins_with_a_tenth_and_grows(void **state)
{
	for (uint8_t balance = 0; balance <= WEIR_BALANCE_RANDOM; balance++) {
		start();
		make_list(5, 1);
		set_backend.slow_start_ms = 10000;
		send_list_to("n/s:80", false);
		settings(true);
		choose(balance);
		assert_true(fabs(share_of(2, 20000) - 0.2) < 0.02); /* all came at once: none is new */
		make_list(6, 1);
		send_list();
		assert_true(fabs(share_of(5, 20000) - 0.1 / 5.1) < 0.01);
		now += 5000000;
		run_timers();
		assert_true(fabs(share_of(5, 20000) - 0.55 / 5.55) < 0.015);
		now += 5000000;
		run_timers();
		assert_true(fabs(share_of(5, 20000) - 1 / 6.0) < 0.02);
		end();
	}
}

static void endpoint_that_becomes_ready_again_starts_slowly(void **state)
{
	start();
	make_list(4, 1);
	set_backend.slow_start_ms = 10000;
	send_list();
	apply_settings();
	list[3].flags = WEIR_EP_SERVING;
	send_list();
	assert_true(share_of(3, 1000) < 0.001);
	list[3].flags = WEIR_EP_READY | WEIR_EP_SERVING;
	send_list();
	assert_true(fabs(share_of(3, 20000) - 0.1 / 3.1) < 0.01);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equal_endpoints_take_turns_without_a_table),
		cmocka_unit_test(weighted_turns_are_as_even_as_the_smooth_schedule),
		cmocka_unit_test(random_tables_hold_the_weights_exactly),
		cmocka_unit_test(random_picks_follow_the_weights),
		cmocka_unit_test(least_request_with_nothing_in_hand_keeps_the_weights),
		cmocka_unit_test(least_request_evens_out_what_is_in_hand),
		cmocka_unit_test(least_request_avoids_a_slow_endpoint),
		cmocka_unit_test(weighted_least_request_fills_by_weight),
		cmocka_unit_test(maglev_tables_are_those_of_the_paper),
		cmocka_unit_test(maglev_spreads_evenly),
		cmocka_unit_test(maglev_keeps_weights),
		cmocka_unit_test(maglev_moves_few_keys_when_an_endpoint_leaves),
		cmocka_unit_test(ring_is_the_naive_ring),
		cmocka_unit_test(ring_moves_no_key_of_those_that_stay),
		cmocka_unit_test(workers_agree_on_every_key),
		cmocka_unit_test(key_of_a_tried_endpoint_goes_to_the_same_other_one),
		cmocka_unit_test(thousands_are_built_in_slices_and_serve_meanwhile),
		cmocka_unit_test(restless_backend_does_not_keep_others_waiting),
		cmocka_unit_test(without_pages_plain_turns_go_on),
		cmocka_unit_test(settings_that_stay_build_nothing),
		cmocka_unit_test(endpoints_that_leave_are_the_last_resort),
		cmocka_unit_test(new_endpoint_begins_with_a_tenth_and_grows),
		cmocka_unit_test(endpoint_that_becomes_ready_again_starts_slowly),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
