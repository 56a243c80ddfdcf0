/* SPDX-License-Identifier: Apache-2.0 */
/* The table of tuples against a naive model: millions of steps, at loads where buckets overflow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "eal.h"
#include "tcp/flowtab.h"

#define N_FLOWS 40000

static const uint8_t key[16] = "0123456789abcde";
static struct ip_flow flows[N_FLOWS];
/* The model: under which number a flow is in the table, and which flow a number has; -1: none. */
static int number_of[N_FLOWS], flow_of_number[N_FLOWS];
/* Numbers that no flow has: the first n_free. */
static uint32_t free_numbers[N_FLOWS], n_free;
static uint64_t prng = 1;

static uint32_t random_below(uint32_t n)
{
	uint64_t z = prng += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return (uint32_t)((z ^ (z >> 31)) % n);
}

static const struct ip_flow *flow_of(const void *ctx, uint32_t number)
{
	assert_true(number < N_FLOWS && flow_of_number[number] >= 0);
	return &flows[flow_of_number[number]];
}

static void model_init(uint32_t n_max)
{
	n_free = n_max;
	for (uint32_t i = 0; i < n_max; i++)
		free_numbers[i] = i;
	for (unsigned i = 0; i < N_FLOWS; i++) {
		flows[i].remote.b[15] = (uint8_t)i;
		flows[i].remote_port = (uint16_t)(i >> 8);
		flows[i].local_port = 80;
		number_of[i] = flow_of_number[i] = -1;
	}
}

/* Any of the free ones. */
static uint32_t take_number(void)
{
	uint32_t at = random_below(n_free);
	uint32_t number = free_numbers[at];

	free_numbers[at] = free_numbers[--n_free];
	return number;
}

static void give_number(uint32_t number)
{
	flow_of_number[number] = -1;
	free_numbers[n_free++] = number;
}

static void add(struct flowtab *t, uint32_t flow, uint64_t hash)
{
	uint32_t number = take_number();

	number_of[flow] = (int)number;
	flow_of_number[number] = (int)flow;
	flowtab_add(t, hash, number);
}

static void drop(struct flowtab *t, uint32_t flow, uint64_t hash)
{
	flowtab_remove(t, hash, (uint32_t)number_of[flow]);
	give_number((uint32_t)number_of[flow]);
	number_of[flow] = -1;
}

static void rename_entry(struct flowtab *t, uint32_t flow, uint64_t hash)
{
	uint32_t old = (uint32_t)number_of[flow];
	uint32_t number = take_number();

	flowtab_replace(t, hash, old, number);
	give_number(old);
	flow_of_number[number] = (int)flow;
	number_of[flow] = (int)number;
}

/* One step: a random flow is looked up, then added, taken out or given another number. */
static void step(struct flowtab *t, uint32_t n_flows)
{
	uint32_t flow = random_below(n_flows);
	uint64_t hash = flowtab_hash(t, &flows[flow]);
	uint32_t found = flowtab_find(t, hash, &flows[flow]);

	if (number_of[flow] < 0) {
		assert_int_equal(found, FLOWTAB_NONE);
		if (t->n < t->max)
			add(t, flow, hash);
	} else {
		assert_int_equal(found, number_of[flow]);
		if (random_below(4) == 0 && t->n < t->max)
			rename_entry(t, flow, hash);
		else
			drop(t, flow, hash);
	}
}

static void check_all(struct flowtab *t, uint32_t n_flows)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < n_flows; i++) {
		uint32_t found = flowtab_find(t, flowtab_hash(t, &flows[i]), &flows[i]);

		assert_int_equal(found, number_of[i] < 0 ? FLOWTAB_NONE : (uint32_t)number_of[i]);
		n += number_of[i] >= 0;
	}
	assert_int_equal(t->n, n);
}

static void run_model(uint32_t n_flows, uint32_t n_max, uint32_t n_buckets, unsigned steps)
{
	struct flowtab t;

	model_init(n_max);
	assert_true(flowtab_create(&t, n_max, n_buckets, key, flow_of, NULL));
	for (unsigned i = 0; i < steps; i++)
		step(&t, n_flows);
	check_all(&t, n_flows);
	for (uint32_t i = 0; i < n_flows; i++)
		if (number_of[i] >= 0)
			drop(&t, i, flowtab_hash(&t, &flows[i]));
	check_all(&t, n_flows);
	flowtab_destroy(&t);
}

static void agrees_with_a_naive_map_at_load_0_8_and_beyond(void **state)
{
	run_model(40000, 20000, 3000, 3000000);	 /* load 0.83 of the buckets when full, which it mostly is */
	run_model(30000, 20000, 1500, 2000000); /* 1.67: most buckets overflow */
	run_model(40000, 20000, 5000, 2000000); /* as a stack makes it */
}

static void agrees_with_a_naive_map_in_one_long_chain(void **state)
{
	run_model(200, 100, 1, 200000);
	run_model(3, 1, 1, 10000);
}

/* However the entries fall, n_max of them have room. */
static void holds_its_maximum_even_if_all_fall_into_one_bucket(void **state)
{
	struct flowtab t;

	model_init(1000);
	for (int round = 0; round < 3; round++) {
		assert_true(flowtab_create(&t, 1000, 7, key, flow_of, NULL));
		for (uint32_t i = 0; i < 1000; i++)
			add(&t, i, round ? 42 : (uint64_t)(i % 7) << 61);
		for (uint32_t i = 0; i < 1000; i++)
			assert_int_equal(flowtab_find(&t, round ? 42 : (uint64_t)(i % 7) << 61, &flows[i]), number_of[i]);
		for (uint32_t i = 0; i < 1000; i++)
			drop(&t, i, round ? 42 : (uint64_t)(i % 7) << 61);
		assert_int_equal(t.n, 0);
		flowtab_destroy(&t);
	}
}

static void lookups_mostly_read_one_bucket_as_a_stack_sizes_it(void **state)
{
	struct flowtab t;
	uint32_t n_overflowing = 0;

	model_init(N_FLOWS);
	assert_true(flowtab_create(&t, N_FLOWS, N_FLOWS / 4, key, flow_of, NULL));
	for (uint32_t i = 0; i < N_FLOWS; i++)
		add(&t, i, flowtab_hash(&t, &flows[i]));
	for (uint32_t i = 0; i < t.n_buckets; i++)
		n_overflowing += t.buckets[i].next != 0;
	assert_in_range(n_overflowing, 1, t.n_buckets * 3 / 100); /* Poisson of 4 in 8: 2.1 % */
	flowtab_destroy(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees_with_a_naive_map_at_load_0_8_and_beyond),
		cmocka_unit_test(agrees_with_a_naive_map_in_one_long_chain),
		cmocka_unit_test(holds_its_maximum_even_if_all_fall_into_one_bucket),
		cmocka_unit_test(lookups_mostly_read_one_bucket_as_a_stack_sizes_it),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
