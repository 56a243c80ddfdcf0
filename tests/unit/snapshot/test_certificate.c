/* SPDX-License-Identifier: Apache-2.0 */
/* The checker of certificates against frames that are wrong in each way. With WEIR_SEEDS=DIR it also writes seeds for fuzzing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "snapshot/snapshot.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))
#define PART 20u /* bytes of each part */

static void seal(struct weir_certificate *s, size_t n)
{
	s->checksum = hash64_zeroed(s, n, offsetof(struct weir_certificate, checksum), 8, 0);
}

static struct weir_certificate *make(uint32_t n_chain, bool has_ocsp, size_t n_key)
{
	size_t n = sizeof(struct weir_certificate) + n_chain * PART + n_key + (has_ocsp ? PART : 0);
	struct weir_certificate *s = calloc(1, n);
	uint32_t at = sizeof(*s);

	assert_non_null(s);
	*s = (struct weir_certificate){.magic = WEIR_CERTIFICATE_MAGIC, .abi_major = WEIR_ABI_MAJOR, .abi_minor = WEIR_ABI_MINOR,
				       .size = (uint32_t)n, .id = {{1, 2}}, .n_chain = n_chain};
	for (uint32_t i = 0; i < n_chain && i < WEIR_MAX_CHAIN; i++, at += PART)
		s->chain[i] = (struct weir_part){at, PART};
	s->key = (struct weir_part){at, (uint32_t)n_key};
	if (has_ocsp)
		s->ocsp = (struct weir_part){at + (uint32_t)n_key, PART};
	seal(s, n);
	return s;
}

static enum weir_refusal check(const struct weir_certificate *s)
{
	struct snapshot_error err;
	enum weir_refusal why = certificate_check(s, s->size, &err);

	assert_int_equal(why, err.refusal);
	assert_true((why == WEIR_REFUSED_OK) == (err.text[0] == 0));
	assert_int_equal(certificate_check(s, s->size, NULL), why);
	return why;
}

static void right_ones_are_taken(void **state)
{
	for (uint32_t n = 0; n <= WEIR_MAX_CHAIN + 1; n++)
		for (unsigned has_ocsp = 0; has_ocsp < 2; has_ocsp++) {
			struct weir_certificate *s = make(n, has_ocsp, 33);

			assert_int_equal(check(s), n >= 1 && n <= WEIR_MAX_CHAIN ? WEIR_REFUSED_OK : WEIR_REFUSED_BAD_VALUE);
			free(s);
		}
}

static void size_is_bounded(void **state)
{
	size_t most = WEIR_CERTIFICATE_MAX_BYTES - sizeof(struct weir_certificate) - PART;
	struct weir_certificate *s = make(1, false, most);

	assert_int_equal(check(s), WEIR_REFUSED_OK);
	free(s);
	s = make(1, false, most + 1);
	assert_int_equal(check(s), WEIR_REFUSED_TOO_BIG);
	free(s);
}

typedef void change_fn(struct weir_certificate *s);

static void change_magic(struct weir_certificate *s) { s->magic++; }
static void change_abi(struct weir_certificate *s) { s->abi_major++; }
static void change_id_low(struct weir_certificate *s) { s->id.v[0] = 0; }
static void change_id_high(struct weir_certificate *s) { s->id.v[1] = 0; }
static void change_no_chain(struct weir_certificate *s) { s->n_chain = 0; }
static void change_long_chain(struct weir_certificate *s) { s->n_chain = WEIR_MAX_CHAIN + 1; }
static void change_huge_chain(struct weir_certificate *s) { s->n_chain = UINT32_MAX; }
static void change_more_chain(struct weir_certificate *s) { s->n_chain++; }
static void change_less_chain(struct weir_certificate *s) { s->n_chain--; }
static void change_kind(struct weir_certificate *s) { s->kind = WEIR_CERTIFICATE_TRUST + 1; }
static void change_reserved1(struct weir_certificate *s) { s->reserved1 = 1; }
static void change_crls(struct weir_certificate *s) { s->crls.size = 1; }
static void change_rest_off(struct weir_certificate *s) { s->chain[WEIR_MAX_CHAIN - 1].off = 1; }
static void change_rest_size(struct weir_certificate *s) { s->chain[3].size = 1; }
static void change_empty_leaf(struct weir_certificate *s) { s->chain[0].size = 0; }
static void change_empty_last(struct weir_certificate *s) { s->chain[2].size = 0; }
static void change_empty_key(struct weir_certificate *s) { s->key.size = 0; }
static void change_head(struct weir_certificate *s) { s->chain[0].off--; }
static void change_gap(struct weir_certificate *s) { s->chain[0].size--; }
static void change_overlap(struct weir_certificate *s) { s->chain[1].size++; }
static void change_order(struct weir_certificate *s)
{
	struct weir_part p = s->chain[0];

	s->chain[0] = s->chain[1];
	s->chain[1] = p;
}
static void change_same(struct weir_certificate *s) { s->key = s->chain[2]; }
static void change_bounds(struct weir_certificate *s) { s->ocsp.size++; }
static void change_huge(struct weir_certificate *s) { s->ocsp.size = UINT32_MAX; }
static void change_wrap(struct weir_certificate *s) { s->key.size = UINT32_MAX - s->key.off + 1; }
static void change_off(struct weir_certificate *s) { s->key.off = UINT32_MAX; }
static void change_rest(struct weir_certificate *s) { s->ocsp.size--; }
static void change_no_ocsp(struct weir_certificate *s) { s->ocsp = (struct weir_part){0, 0}; }
static void change_nowhere(struct weir_certificate *s) { s->ocsp = (struct weir_part){5, 0}; }

static const struct {
	change_fn *change;
	enum weir_refusal why;
} changes[] = {
	{change_magic, WEIR_REFUSED_BAD_MAGIC},	     {change_abi, WEIR_REFUSED_BAD_ABI},
	{change_id_low, WEIR_REFUSED_BAD_VALUE},     {change_id_high, WEIR_REFUSED_BAD_VALUE},
	{change_no_chain, WEIR_REFUSED_BAD_VALUE},   {change_long_chain, WEIR_REFUSED_BAD_VALUE},
	{change_huge_chain, WEIR_REFUSED_BAD_VALUE}, {change_more_chain, WEIR_REFUSED_BAD_VALUE},
	{change_less_chain, WEIR_REFUSED_BAD_VALUE}, {change_kind, WEIR_REFUSED_BAD_VALUE},
	{change_reserved1, WEIR_REFUSED_BAD_VALUE},  {change_crls, WEIR_REFUSED_BAD_VALUE},
	{change_rest_off, WEIR_REFUSED_BAD_VALUE},   {change_rest_size, WEIR_REFUSED_BAD_VALUE},
	{change_empty_leaf, WEIR_REFUSED_BAD_VALUE}, {change_empty_last, WEIR_REFUSED_BAD_VALUE},
	{change_empty_key, WEIR_REFUSED_BAD_VALUE},  {change_head, WEIR_REFUSED_BAD_RANGE},
	{change_gap, WEIR_REFUSED_BAD_RANGE},	     {change_overlap, WEIR_REFUSED_BAD_RANGE},
	{change_order, WEIR_REFUSED_BAD_RANGE},	     {change_same, WEIR_REFUSED_BAD_RANGE},
	{change_bounds, WEIR_REFUSED_BAD_RANGE},     {change_huge, WEIR_REFUSED_BAD_RANGE},
	{change_wrap, WEIR_REFUSED_BAD_RANGE},	     {change_off, WEIR_REFUSED_BAD_RANGE},
	{change_rest, WEIR_REFUSED_BAD_RANGE},	     {change_no_ocsp, WEIR_REFUSED_BAD_RANGE},
	{change_nowhere, WEIR_REFUSED_BAD_VALUE},
};

static void each_kind_of_fault_is_refused_by_its_name(void **state)
{
	for (size_t i = 0; i < COUNT(changes); i++) {
		struct weir_certificate *s = make(3, true, 33);
		enum weir_refusal why;

		changes[i].change(s);
		seal(s, s->size);
		why = check(s);
		if (why != changes[i].why)
			fail_msg("change %zu: refusal %d, wanted %d", i, (int)why, (int)changes[i].why);
		free(s);
	}
}

/* Whether who wrote it gave it none or the one behind the key. */
static void what_is_empty_needs_no_place(void **state)
{
	struct weir_certificate *s = make(2, false, 33);

	assert_int_equal(s->ocsp.off, 0);
	assert_int_equal(check(s), WEIR_REFUSED_OK);
	s->ocsp.off = s->size;
	seal(s, s->size);
	assert_int_equal(check(s), WEIR_REFUSED_OK);
	free(s);
}

static void truncated_and_changed_ones_are_refused(void **state)
{
	struct weir_certificate *s = make(2, true, 33);
	size_t size = s->size;

	for (size_t n = 0; n < size; n++) {
		void *cut = malloc(n ? n : 1); /* exactly so many bytes: one too far is seen */

		memcpy(cut, s, n);
		assert_int_equal(certificate_check(cut, n, NULL), WEIR_REFUSED_TRUNCATED);
		free(cut);
	}
	for (size_t i = 0; i < size * 8; i++) {
		((uint8_t *)s)[i / 8] ^= (uint8_t)(1 << i % 8);
		assert_int_not_equal(certificate_check(s, size, NULL), WEIR_REFUSED_OK);
		((uint8_t *)s)[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	free(s);
}

static void write_seeds(const char *dir)
{
	for (unsigned k = 0; k < 2; k++) {
		struct weir_certificate *s = make(k ? 3 : 1, k, 33);
		char path[256];
		FILE *f;

		snprintf(path, sizeof(path), "%s/certificate-%u", dir, k + 1);
		f = fopen(path, "wb");
		if (!f)
			abort();
		fputc(1, f);
		fwrite(s, 1, s->size, f);
		fclose(f);
		free(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(right_ones_are_taken),
		cmocka_unit_test(size_is_bounded),
		cmocka_unit_test(each_kind_of_fault_is_refused_by_its_name),
		cmocka_unit_test(what_is_empty_needs_no_place),
		cmocka_unit_test(truncated_and_changed_ones_are_refused),
	};

	if (getenv("WEIR_SEEDS"))
		write_seeds(getenv("WEIR_SEEDS"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
