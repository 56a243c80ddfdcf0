/* SPDX-License-Identifier: Apache-2.0 */
/* The forwarding table against a naive one: of all prefixes that fit, the longest; of equal ones, the first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "net/fib.h"

#define N 2000

static uint64_t seed = 1;

static uint32_t pick(uint32_t n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(seed >> 33) % n;
}

static struct weir_ip ip(const char *text)
{
	struct weir_ip a;

	assert_int_equal(ip_parse(text, strlen(text), &a), 0);
	return a;
}

/* Of few values in each byte, so that prefixes lie within one another. */
static struct weir_ip any_address(bool is4)
{
	struct weir_ip a = {.b = {0x20, 0x01}};

	if (is4)
		a = ip("10.0.0.0");
	for (unsigned i = is4 ? 13 : 2; i < 16; i++)
		a.b[i] = (uint8_t)(pick(3) * 85);
	return a;
}

static struct weir_ip cut(struct weir_ip a, unsigned len)
{
	for (unsigned bit = ip_is4(&a) ? len + 96 : len; bit < 128; bit++)
		a.b[bit / 8] &= (uint8_t)~(0x80 >> bit % 8);
	return a;
}

static const struct fib_route *naive(const struct fib_route *r, size_t n, const struct weir_ip *a)
{
	const struct fib_route *best = NULL;

	for (size_t i = 0; i < n; i++)
		if (ip_in_prefix(a, &r[i].prefix, r[i].len) && (!best || r[i].len > best->len))
			best = &r[i];
	return best;
}

static void longest_prefix_is_found_as_by_a_naive_table(void **state)
{
	static struct fib_hop hops[N];
	static struct fib_route routes[N];

	for (unsigned round = 0; round < 40; round++) {
		size_t n = round == 0 ? 0 : 1 + pick(N);
		struct fib *f;

		for (size_t i = 0; i < n; i++) {
			bool is4 = pick(2);
			uint8_t len = (uint8_t)pick(is4 ? 33 : 129);

			hops[i] = (struct fib_hop){.kind = WEIR_PATH_ROUTE, .iface = FIB_ANY_IFACE, .via.b = {[14] = (uint8_t)(i >> 8), [15] = (uint8_t)i}};
			routes[i] = (struct fib_route){.prefix = cut(any_address(is4), len), .len = len, .n_hops = 1, .hops = &hops[i]};
		}
		f = fib_create(routes, n, NULL, 0);
		assert_non_null(f);
		for (unsigned i = 0; i < 2000; i++) {
			struct weir_ip a = any_address(pick(2));
			const struct fib_route *r = naive(routes, n, &a);
			const struct fib_entry *e = fib_find(f, &a);

			assert_true((r != NULL) == (e != NULL));
			if (e)
				assert_memory_equal(fib_hop_for(f, e, pick(1 << 30)), r->hops, sizeof(*r->hops));
		}
		fib_destroy(f);
	}
}

static void families_do_not_meet(void **state)
{
	const struct fib_hop hops[2] = {{.kind = WEIR_PATH_ROUTE, .mac[0] = 4}, {.kind = WEIR_PATH_ROUTE, .mac[0] = 6}};
	const struct fib_route routes[2] = {{.prefix = ip("0.0.0.0"), .len = 0, .n_hops = 1, .hops = &hops[0]},
					    {.prefix = ip("::"), .len = 0, .n_hops = 1, .hops = &hops[1]}};
	const struct weir_ip a4 = ip("192.0.2.1"), a6 = ip("2001:db8::1");
	struct fib *f = fib_create(routes, 2, NULL, 0);

	assert_int_equal(fib_hop_for(f, fib_find(f, &a4), 0)->mac[0], 4);
	assert_int_equal(fib_hop_for(f, fib_find(f, &a6), 0)->mac[0], 6);
	fib_destroy(f);
	f = fib_create(&routes[1], 1, NULL, 0);
	assert_null(fib_find(f, &a4));
	fib_destroy(f);
}

static void flows_are_shared_among_hops_and_each_keeps_its_own(void **state)
{
	const struct fib_hop hops[3] = {{.mac[0] = 0}, {.mac[0] = 1}, {.mac[0] = 2}};
	const struct fib_route route = {.prefix = ip("10.0.0.0"), .len = 8, .n_hops = 3, .hops = hops};
	const struct weir_ip a = ip("10.1.2.3");
	struct fib *f = fib_create(&route, 1, NULL, 0);
	const struct fib_entry *e = fib_find(f, &a);
	unsigned n[3] = {0};

	for (unsigned i = 0; i < 3000; i++) {
		uint64_t hash = (uint64_t)pick(1u << 31) << 33;
		uint8_t which = fib_hop_for(f, e, hash)->mac[0];

		n[which]++;
		assert_int_equal(fib_hop_for(f, e, hash)->mac[0], which);
	}
	for (unsigned i = 0; i < 3; i++)
		assert_in_range(n[i], 850, 1150);
	fib_destroy(f);
}

static void ends_of_tunnels_are_known(void **state)
{
	const struct weir_vtep vteps[2] = {{.source = ip("10.244.9.0"), .port = 8472}, {.source = ip("fd44::"), .port = 4789}};
	const struct fib_hop hop = {.kind = WEIR_PATH_VXLAN, .via = ip("192.0.2.7"), .vtep = 0};
	const struct fib_route route = {.prefix = ip("10.244.1.0"), .len = 24, .n_hops = 1, .hops = &hop};
	const struct weir_ip other = ip("192.0.2.8");
	struct fib *f = fib_create(&route, 1, vteps, 2);

	assert_int_equal(fib_n_entries(f), 1);
	assert_true(fib_is_hop(f, &hop.via));
	assert_false(fib_is_hop(f, &other));
	assert_true(fib_is_source(f, &vteps[1].source));
	assert_false(fib_is_source(f, &other));
	assert_true(fib_has_port(f, 8472) && fib_has_port(f, 4789));
	assert_false(fib_has_port(f, 0));
	fib_destroy(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(longest_prefix_is_found_as_by_a_naive_table),
		cmocka_unit_test(families_do_not_meet),
		cmocka_unit_test(flows_are_shared_among_hops_and_each_keeps_its_own),
		cmocka_unit_test(ends_of_tunnels_are_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
