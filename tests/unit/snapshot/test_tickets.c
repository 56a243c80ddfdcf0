/* SPDX-License-Identifier: Apache-2.0 */
/* The checker of shared ticket keys against sets that are wrong in each way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "snapshot/snapshot.h"

static struct weir_ticket_keys make(uint32_t n)
{
	struct weir_ticket_keys s = {
	    .magic = WEIR_TICKET_KEYS_MAGIC, .abi_major = WEIR_ABI_MAJOR, .abi_minor = WEIR_ABI_MINOR, .n = n};

	for (uint32_t i = 0; i < n && i < WEIR_MAX_TICKET_KEYS; i++) {
		memset(s.key[i].name, (int)i, sizeof(s.key[i].name));
		s.key[i].cipher[31] = s.key[i].mac[0] = 1;
	}
	return s;
}

/* In memory of its own size, so that one byte too far is seen. */
static enum weir_refusal check_bytes(const void *bytes, size_t n)
{
	void *copy = malloc(n + !n);
	struct snapshot_error err;
	enum weir_refusal why;

	memcpy(copy, bytes, n);
	why = ticket_keys_check(copy, n, &err);
	assert_int_equal(why, err.refusal);
	assert_true((why == WEIR_REFUSED_OK) == (err.text[0] == 0));
	assert_int_equal(ticket_keys_check(copy, n, NULL), why);
	free(copy);
	return why;
}

static enum weir_refusal check(struct weir_ticket_keys s)
{
	return check_bytes(&s, sizeof(s));
}

static void right_ones_are_taken(void **state)
{
	for (uint32_t n = 0; n <= WEIR_MAX_TICKET_KEYS; n++)
		assert_int_equal(check(make(n)), WEIR_REFUSED_OK);
	assert_int_equal(check(make(WEIR_MAX_TICKET_KEYS + 1)), WEIR_REFUSED_BAD_RANGE);
	assert_int_equal(check(make(UINT32_MAX)), WEIR_REFUSED_BAD_RANGE);
}

static void size_is_the_one_that_it_has(void **state)
{
	struct weir_ticket_keys s[2] = {make(2), make(2)};

	for (size_t n = 0; n < sizeof(*s); n++)
		assert_int_equal(check_bytes(s, n), WEIR_REFUSED_TRUNCATED);
	assert_int_equal(check_bytes(s, sizeof(*s) + 1), WEIR_REFUSED_TOO_BIG);
}

static void head_is_checked(void **state)
{
	struct weir_ticket_keys s = make(1);

	s.magic ^= 1;
	assert_int_equal(check(s), WEIR_REFUSED_BAD_MAGIC);
	s = make(1);
	s.abi_major++;
	assert_int_equal(check(s), WEIR_REFUSED_BAD_ABI);
	s = make(1);
	s.abi_minor++; /* a newer one is no other */
	assert_int_equal(check(s), WEIR_REFUSED_OK);
}

static void names_are_distinct(void **state)
{
	for (uint32_t i = 0; i < WEIR_MAX_TICKET_KEYS; i++)
		for (uint32_t k = 0; k < i; k++) {
			struct weir_ticket_keys s = make(WEIR_MAX_TICKET_KEYS);

			memcpy(s.key[i].name, s.key[k].name, sizeof(s.key[i].name));
			assert_int_equal(check(s), WEIR_REFUSED_BAD_ORDER);
			s.key[i].name[15] ^= 1;
			assert_int_equal(check(s), WEIR_REFUSED_OK);
		}
}

static void keys_are_not_zero(void **state)
{
	for (uint32_t i = 0; i < WEIR_MAX_TICKET_KEYS; i++) {
		struct weir_ticket_keys s = make(WEIR_MAX_TICKET_KEYS);

		s.key[i].cipher[31] = 0;
		assert_int_equal(check(s), WEIR_REFUSED_BAD_VALUE);
		s = make(WEIR_MAX_TICKET_KEYS);
		s.key[i].mac[0] = 0;
		assert_int_equal(check(s), WEIR_REFUSED_BAD_VALUE);
	}
}

static void nothing_stands_behind_the_last(void **state)
{
	for (uint32_t n = 0; n < WEIR_MAX_TICKET_KEYS; n++)
		for (size_t at = offsetof(struct weir_ticket_keys, key[n]); at < sizeof(struct weir_ticket_keys); at++) {
			struct weir_ticket_keys s = make(n);

			((uint8_t *)&s)[at] = 1;
			assert_int_equal(check(s), WEIR_REFUSED_BAD_VALUE);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(right_ones_are_taken),
		cmocka_unit_test(size_is_the_one_that_it_has),
		cmocka_unit_test(head_is_checked),
		cmocka_unit_test(names_are_distinct),
		cmocka_unit_test(keys_are_not_zero),
		cmocka_unit_test(nothing_stands_behind_the_last),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
