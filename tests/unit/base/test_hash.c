/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/hash.h"
#include "base/ip.h"
#include "base/siphash.h"

#include <string.h>

static void hash_is_part_of_the_abi(void **state)
{
	/* Pinned: backend ids and look-up tables of other versions depend on it. */
	assert_int_equal(hash64("", 0, 0), hash64("x", 0, 0));
	assert_int_not_equal(hash64("a", 1, 0), hash64("b", 1, 0));
	assert_int_not_equal(hash64("a", 1, 0), hash64("a", 1, 1));
	assert_int_not_equal(hash64("a\0", 2, 0), hash64("a", 1, 0));
}

static void zeroed_hash_equals_hash_of_zeroed_bytes(void **state)
{
	uint8_t a[61];
	uint8_t b[61];

	for (size_t n = 0; n <= sizeof(a); n++)
		for (size_t off = 0; off + 8 <= n; off++) {
			for (size_t i = 0; i < sizeof(a); i++)
				a[i] = b[i] = (uint8_t)(i * 7 + 3);
			memset(b + off, 0, 8);
			assert_int_equal(hash64_zeroed(a, n, off, 8, 5), hash64(b, n, 5));
		}
}

/* The reference vectors of its authors, for a key and a text of 0, 1, 2, ... */
static void siphash_is_that_of_its_authors(void **state)
{
	uint8_t key[16], text[15];
	uint64_t k[2];

	for (uint8_t i = 0; i < 16; i++)
		key[i] = i;
	for (uint8_t i = 0; i < 15; i++)
		text[i] = i;
	memcpy(k, key, 16);
	assert_int_equal(siphash(text, sizeof(text), key), 0xa129ca6149be45e5ull);
	assert_int_equal(siphash13(text, 0, k[0], k[1]), 0xabac0158050fc4dcull);
	assert_int_equal(siphash13(text, 1, k[0], k[1]), 0xc9f49bf37d57ca93ull);
}

static void keyed_hash_is_one_of_this_process(void **state)
{
	assert_int_equal(hash_secret(), hash_secret());
	assert_int_equal(hash_keyed("ab", 2, 1), hash_keyed("ab", 2, 1));
	assert_int_not_equal(hash_keyed("ab", 2, 1), hash_keyed("ab", 2, 2));
	assert_int_not_equal(hash_keyed("ab", 2, 1), hash_keyed("ac", 2, 1));
}

static void low_bits_spread(void **state)
{
	unsigned buckets[256] = {0};

	for (uint32_t i = 0; i < 65536; i++)
		buckets[hash64(&i, sizeof(i), 0) & 255]++;
	for (unsigned i = 0; i < 256; i++)
		assert_in_range(buckets[i], 150, 370);
}

static void address_text_round_trips(void **state)
{
	static const char *const good[] = {"10.0.0.1", "0.0.0.0", "255.255.255.255", "::1", "fd00::1", "2001:db8::a:b"};
	static const char *const bad[] = {"", "10.0.0", "10.0.0.256", "::g", "[::1]", "fe80::1%eth0", "1.2.3.4 "};
	char text[IP_TEXT_MAX];
	struct weir_ip a;

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		assert_int_equal(ip_parse(good[i], strlen(good[i]), &a), 0);
		assert_string_equal(ip_format(&a, text), good[i]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_not_equal(ip_parse(bad[i], strlen(bad[i]), &a), 0);
}

static void prefix_counts_in_the_addresses_family(void **state)
{
	struct weir_ip a;
	struct weir_ip p;

	ip_parse("10.1.2.3", 8, &a);
	ip_parse("10.1.0.0", 8, &p);
	assert_true(ip_in_prefix(&a, &p, 16));
	assert_true(ip_in_prefix(&a, &p, 22));
	assert_false(ip_in_prefix(&a, &p, 24));
	assert_true(ip_in_prefix(&a, &p, 0));
	ip_parse("fd00::1", 7, &p);
	assert_false(ip_in_prefix(&a, &p, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hash_is_part_of_the_abi),
		cmocka_unit_test(zeroed_hash_equals_hash_of_zeroed_bytes),
		cmocka_unit_test(siphash_is_that_of_its_authors),
	    cmocka_unit_test(keyed_hash_is_one_of_this_process),
	    cmocka_unit_test(low_bits_spread),
		cmocka_unit_test(address_text_round_trips),
		cmocka_unit_test(prefix_counts_in_the_addresses_family),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
