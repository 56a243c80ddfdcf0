/* SPDX-License-Identifier: Apache-2.0 */
/* The pool of addresses, and who gets which. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ip.h"
#include "translate/addresses.h"

static struct weir_ip ip(const char *text)
{
	struct weir_ip a;

	assert_int_equal(ip_parse(text, strlen(text), &a), 0);
	return a;
}

static void assert_got(const struct address_request *r, size_t i, const char *text)
{
	char got[IP_TEXT_MAX];

	assert_true(i < r->n_got);
	assert_string_equal(ip_format(&r->got[i], got), text);
}

static struct address_pool pool_of(const char *text)
{
	struct address_pool p = {0};

	assert_int_equal(address_pool_add(&p, text), 0);
	return p;
}

static void takes_prefixes_ranges_and_single_addresses(void **state)
{
	static const char *const good[] = {"192.0.2.0/24", "192.0.2.7/32", "192.0.2.1-192.0.2.1", "192.0.2.9", "2001:db8::/64",
					   "2001:db8::1-2001:db8::ff", "::1"};
	struct address_pool p = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		assert_int_equal(address_pool_add(&p, good[i]), 0);
	assert_int_equal(p.n, sizeof(good) / sizeof(*good));
	address_pool_fini(&p);
}

static void refuses_what_is_no_range(void **state)
{
	static const char *const bad[] = {"", "x", "192.0.2.0/", "192.0.2.0/0", "192.0.2.0/33", "192.0.2.0/-1", "192.0.2.0/2x",
					  "2001:db8::/129", "192.0.2.2-192.0.2.1", "192.0.2.1-2001:db8::1", "192.0.2.1-",
					  "-192.0.2.1", "::", "192.0.2.1 ", "192.0.2.0/24-192.0.2.9", "/24"};
	struct address_pool p = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_true(address_pool_add(&p, bad[i]) != 0);
	assert_int_equal(p.n, 0);
}

static void prefix_has_all_of_its_addresses_and_no_other(void **state)
{
	struct address_pool p = pool_of("192.0.2.77/29"); /* host bits do not matter */
	struct weir_ip a;

	(void)state;
	a = ip("192.0.2.72");
	assert_true(address_pool_has(&p, &a));
	a = ip("192.0.2.79");
	assert_true(address_pool_has(&p, &a));
	a = ip("192.0.2.71");
	assert_false(address_pool_has(&p, &a));
	a = ip("192.0.2.80");
	assert_false(address_pool_has(&p, &a));
	a = ip("2001:db8::");
	assert_false(address_pool_has(&p, &a));
	address_pool_fini(&p);
}

static void older_gateway_gets_the_lower_address(void **state)
{
	struct address_pool p = pool_of("192.0.2.0/29");
	struct address_request r[] = {{.age = {9, "a", "new"}, .n_free4 = 1},
				      {.age = {1, "b", "old"}, .n_free4 = 1}};

	(void)state;
	addresses_assign(&p, r, 2);
	assert_got(&r[0], 0, "192.0.2.1");
	assert_got(&r[1], 0, "192.0.2.0");
	address_pool_fini(&p);
}

static void of_one_age_the_first_by_namespace_slash_name_gets_the_lower_address(void **state)
{
	struct address_pool p = pool_of("192.0.2.0/29");
	struct address_request r[] = {{.age = {1, "a", "y"}, .n_free4 = 1},
				      {.age = {1, "a-b", "x"}, .n_free4 = 1},
				      {.age = {0, "a", "a"}, .n_free4 = 1}};

	(void)state;
	addresses_assign(&p, r, 3);
	assert_got(&r[1], 0, "192.0.2.0");
	assert_got(&r[0], 0, "192.0.2.1");
	assert_got(&r[2], 0, "192.0.2.2"); /* without a time: the youngest */
	address_pool_fini(&p);
}

static void who_holds_an_address_keeps_it_against_older_ones(void **state)
{
	struct address_pool p = pool_of("192.0.2.1-192.0.2.2");
	struct address_request r[] = {
		{.age = {1, "a", "old"}, .n_free4 = 1},
		{.age = {2, "a", "static"}, .n_wanted = 1, .wanted = {ip("192.0.2.1")}},
		{.age = {9, "a", "holds"}, .n_free4 = 1, .n_given = 1, .given = {ip("192.0.2.1")}}};

	(void)state;
	addresses_assign(&p, r, 3);
	assert_got(&r[0], 0, "192.0.2.2");
	assert_int_equal(r[1].n_got, 0);
	assert_int_equal(r[1].outcome[0], ADDRESS_IN_USE);
	assert_got(&r[2], 0, "192.0.2.1");
	address_pool_fini(&p);
}

static void status_comes_before_what_was_given_but_is_not_told(void **state)
{
	struct address_pool p = pool_of("192.0.2.1-192.0.2.3");
	struct address_request r[] = {
		{.age = {1, "a", "new"}, .n_free4 = 1},
		{.age = {2, "a", "given"}, .n_free4 = 1, .n_given = 1, .given = {ip("192.0.2.1")}, .is_untold = true},
		{.age = {3, "a", "robbed"}, .n_free4 = 1, .n_given = 1, .given = {ip("192.0.2.2")}, .is_untold = true},
		{.age = {9, "a", "told"}, .n_free4 = 1, .n_given = 1, .given = {ip("192.0.2.2")}}};

	(void)state;
	addresses_assign(&p, r, 4);
	assert_got(&r[3], 0, "192.0.2.2");
	assert_got(&r[1], 0, "192.0.2.1");
	assert_got(&r[0], 0, "192.0.2.3");
	assert_int_equal(r[2].n_got, 0);
	address_pool_fini(&p);
}

static void two_that_claim_to_hold_one_address_go_by_age(void **state)
{
	struct address_pool p = pool_of("192.0.2.1-192.0.2.2");
	struct address_request r[] = {
		{.age = {5, "a", "a"}, .n_free4 = 1, .n_given = 1, .given = {ip("192.0.2.2")}},
		{.age = {4, "a", "b"}, .n_free4 = 1, .n_given = 1, .given = {ip("192.0.2.2")}}};

	(void)state;
	addresses_assign(&p, r, 2);
	assert_got(&r[0], 0, "192.0.2.1");
	assert_got(&r[1], 0, "192.0.2.2");
	address_pool_fini(&p);
}

static void address_outside_the_pool_is_not_kept(void **state)
{
	struct address_pool p = pool_of("192.0.2.1");
	struct address_request r = {.age = {0, "a", "a"}, .n_free4 = 1, .n_given = 1, .given = {ip("203.0.113.1")}};

	(void)state;
	addresses_assign(&p, &r, 1);
	assert_int_equal(r.n_got, 1);
	assert_got(&r, 0, "192.0.2.1");
	address_pool_fini(&p);
}

static void search_goes_on_behind_the_last_of_all_addresses(void **state)
{
	struct address_pool p = pool_of("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127");
	struct address_request r[3] = {{.age = {0, "a", "a"}, .n_free6 = 1},
				       {.age = {0, "a", "b"}, .n_free6 = 1},
				       {.age = {0, "a", "c"}, .n_free6 = 1}};

	(void)state;
	addresses_assign(&p, r, 3);
	assert_got(&r[1], 0, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
	assert_int_equal(r[2].n_got, 0);
	assert_int_equal(r[2].n_lacking, 1);
	address_pool_fini(&p);
}

/* ---- in any case ---- */

#define N 40u

static struct address_request random_request(unsigned i, char names[N][8])
{
	struct address_request r = {.age = {rand() % 4, "a", names[i]}, .n_free4 = (unsigned)rand() % 3};

	snprintf(names[i], sizeof(names[i]), "%u", i);
	for (r.n_wanted = 0; r.n_wanted < (size_t)(rand() % 3); r.n_wanted++)
		r.wanted[r.n_wanted] = ip_from4(htobe32(0xc0000200u + (unsigned)(rand() % 48)));
	for (r.n_given = 0; r.n_given < (size_t)(rand() % 3); r.n_given++)
		r.given[r.n_given] = ip_from4(htobe32(0xc0000200u + (unsigned)(rand() % 48)));
	return r;
}

static void check_answers(const struct address_pool *p, const struct address_request *r)
{
	for (unsigned i = 0; i < N; i++)
		for (size_t k = 0; k < r[i].n_got; k++) {
			assert_true(address_pool_has(p, &r[i].got[k]));
			for (unsigned j = 0; j <= i; j++)
				for (size_t l = 0; l < (j == i ? k : r[j].n_got); l++)
					assert_false(ip_eq(&r[i].got[k], &r[j].got[l]));
		}
}

/* Given what they got, all get the same again, whatever order they come in. */
static void check_sticky(const struct address_pool *p, const struct address_request *asked, const struct address_request *got)
{
	struct address_request again[N];

	for (unsigned i = 0; i < N; i++) {
		again[N - 1 - i] = asked[i];
		again[N - 1 - i].n_given = got[i].n_got;
		memcpy(again[N - 1 - i].given, got[i].got, sizeof(got[i].got));
	}
	addresses_assign(p, again, N);
	for (unsigned i = 0; i < N; i++) {
		assert_int_equal(again[N - 1 - i].n_got, got[i].n_got);
		for (size_t k = 0; k < got[i].n_got; k++) {
			bool is_there = false;

			for (size_t l = 0; l < got[i].n_got; l++)
				is_there |= ip_eq(&again[N - 1 - i].got[l], &got[i].got[k]);
			assert_true(is_there);
		}
	}
}

static void no_address_has_two_owners_and_all_keep_theirs(void **state)
{
	struct address_pool p = pool_of("192.0.2.0/27");
	char names[N][8];

	(void)state;
	srand(1);
	for (unsigned round = 0; round < 200; round++) {
		struct address_request asked[N], r[N];

		for (unsigned i = 0; i < N; i++)
			asked[i] = random_request(i, names);
		memcpy(r, asked, sizeof(r));
		addresses_assign(&p, r, N);
		check_answers(&p, r);
		check_sticky(&p, asked, r);
	}
	address_pool_fini(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_prefixes_ranges_and_single_addresses),
		cmocka_unit_test(refuses_what_is_no_range),
		cmocka_unit_test(prefix_has_all_of_its_addresses_and_no_other),
		cmocka_unit_test(older_gateway_gets_the_lower_address),
		cmocka_unit_test(of_one_age_the_first_by_namespace_slash_name_gets_the_lower_address),
		cmocka_unit_test(who_holds_an_address_keeps_it_against_older_ones),
		cmocka_unit_test(status_comes_before_what_was_given_but_is_not_told),
		cmocka_unit_test(two_that_claim_to_hold_one_address_go_by_age),
		cmocka_unit_test(address_outside_the_pool_is_not_kept),
		cmocka_unit_test(search_goes_on_behind_the_last_of_all_addresses),
		cmocka_unit_test(no_address_has_two_owners_and_all_keep_theirs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
