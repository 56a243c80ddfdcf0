/* SPDX-License-Identifier: Apache-2.0 */
/* Ticket keys as a Secret holds them: what is taken of it, what is written into it, and how they rotate. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kube/json_tree.h"
#include "ticket_keys.h"

#define A80 "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="
#define B80 "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI="
#define C80 "Q0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0M="
#define Z80 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define A79 "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQQ=="

static char why[TICKET_KEYS_FAULT_BYTES];
static struct weir_ticket_keys keys;
static int64_t rotated_s;

static enum ticket_keys_outcome read_text(const char *text)
{
	const struct node *root;
	struct json_tree *tree = json_tree_read(text, strlen(text), &root);
	enum ticket_keys_outcome o;

	assert_non_null(tree);
	o = ticket_keys_read(root, &keys, why);
	rotated_s = ticket_keys_rotated_s(root);
	json_tree_wipe(tree);
	assert_int_equal(o == TICKET_KEYS_GOOD, why[0] == 0);
	return o;
}

static void keys_are_taken_in_their_order(void **state)
{
	assert_int_equal(read_text("{\"data\":{\"1\":\"" B80 "\",\"0\":\"" A80 "\",\"2\":\"" C80 "\"}}"), TICKET_KEYS_GOOD);
	assert_int_equal(keys.n, 3);
	for (unsigned i = 0; i < 3; i++)
		for (unsigned k = 0; k < TICKET_KEY_BYTES; k++)
			assert_int_equal(((uint8_t *)&keys.key[i])[k], 'A' + i);
	assert_int_equal(read_text("{\"data\":{\"0\":\"" A80 "\"}}"), TICKET_KEYS_GOOD);
	assert_int_equal(keys.n, 1);
}

static void without_data_it_is_empty(void **state)
{
	assert_int_equal(read_text("{}"), TICKET_KEYS_EMPTY);
	assert_int_equal(read_text("{\"data\":null}"), TICKET_KEYS_EMPTY);
	assert_int_equal(read_text("{\"data\":{}}"), TICKET_KEYS_EMPTY);
}

static void wrong_ones_are_named_and_nothing_of_them_stays(void **state)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{"{\"data\":{\"0\":\"" A79 "\"}}", "0 is not 80 bytes"},
		{"{\"data\":{\"0\":\"" A80 "\",\"1\":\"\"}}", "1 is not 80 bytes"},
		{"{\"data\":{\"0\":\"" A80 "\",\"1\":\"*\"}}", "1 is not 80 bytes"},
		{"{\"data\":{\"0\":\"" A80 "\",\"1\":7}}", "1 is not 80 bytes"},
		{"{\"data\":{\"0\":\"" A80 "\",\"3\":\"" B80 "\"}}", "3 is none of"},
		{"{\"data\":{\"1\":\"" A80 "\"}}", "0 is not there"},
		{"{\"data\":{\"0\":\"" A80 "\",\"2\":\"" B80 "\"}}", "1 is not there"},
		{"{\"data\":{\"0\":\"" A80 "\",\"1\":\"" A80 "\"}}", "same name"},
		{"{\"data\":{\"0\":\"" Z80 "\"}}", "all zero"},
		{"{\"data\":[]}", "no map"},
		{"{\"data\":{\"0\":\"" A80 "\"},\"stringData\":{\"1\":\"x\"}}", "stringData"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		memset(&keys, 7, sizeof(keys));
		assert_int_equal(read_text(cases[i].text), TICKET_KEYS_WRONG);
		assert_non_null(strstr(why, cases[i].why));
		assert_null(strstr(why, "QUFB"));
		for (size_t k = 0; k < sizeof(keys.key); k++)
			assert_int_equal(((uint8_t *)keys.key)[k], 0);
	}
}

static void time_is_read_strictly(void **state)
{
#define AT(t) "{\"metadata\":{\"annotations\":{\"" TICKET_KEYS_ROTATED "\":\"" t "\"}}}"
	read_text(AT("2026-11-27T12:00:05Z"));
	assert_int_equal(rotated_s, 1795780805);
	static const char *const none[] = {AT("2026-11-27T12:00:05"), AT("2026-11-27T12:00:05Zx"), AT(""), AT("1795780805"), "{}"};

	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++) {
		read_text(none[i]);
		assert_int_equal(rotated_s, 0);
	}
#undef AT
}

static void no_key_seals_that_was_not_there_a_step_before(void **state)
{
	struct weir_ticket_keys k = ticket_keys_none(), before;

	assert_true(ticket_keys_rotate(&k));
	assert_int_equal(k.n, 2);
	for (unsigned i = 0; i < 5; i++) {
		before = k;
		assert_true(ticket_keys_rotate(&k));
		assert_int_equal(k.n, 3);
		assert_memory_equal(&k.key[0], &before.key[1], sizeof(k.key[0])); /* was next */
		assert_memory_equal(&k.key[2], &before.key[0], sizeof(k.key[0])); /* still opens */
		for (unsigned b = 0; b < 3; b++)
			assert_memory_not_equal(&k.key[1], &before.key[b], sizeof(k.key[1]));
	}
}

static void one_key_alone_goes_on_sealing_until_there_is_a_next(void **state)
{
	struct weir_ticket_keys k = ticket_keys_none(), before;

	k.n = 1;
	memset(&k.key[0], 1, sizeof(k.key[0]));
	before = k;
	assert_true(ticket_keys_rotate(&k));
	assert_int_equal(k.n, 2);
	assert_memory_equal(&k.key[0], &before.key[0], sizeof(k.key[0]));
}

static void what_is_written_is_read_again(void **state)
{
	struct weir_ticket_keys k = ticket_keys_none();

	for (unsigned i = 0; i < 2; i++) {
		char *json;

		ticket_keys_rotate(&k);
		json = ticket_keys_json(&k, "n", "t", NULL, 1795780805);
		assert_non_null(strstr(json, "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"type\":\"Opaque\",\"metadata\":{\"namespace\":\"n\",\"name\":\"t\","));
		assert_int_equal(read_text(json), TICKET_KEYS_GOOD);
		assert_memory_equal(&keys, &k, sizeof(k));
		assert_int_equal(rotated_s, 1795780805);
		ticket_keys_forget(json);
		json = ticket_keys_json(&k, "n", "t", "17", 1795780805);
		assert_non_null(strstr(json, "{\"metadata\":{\"resourceVersion\":\"17\","));
		assert_null(strstr(json, "apiVersion"));
		assert_int_equal(strstr(json, "\"2\":null") != NULL, k.n == 2);
		ticket_keys_forget(json);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_are_taken_in_their_order),
		cmocka_unit_test(without_data_it_is_empty),
		cmocka_unit_test(wrong_ones_are_named_and_nothing_of_them_stays),
		cmocka_unit_test(time_is_read_strictly),
		cmocka_unit_test(no_key_seals_that_was_not_there_a_step_before),
		cmocka_unit_test(one_key_alone_goes_on_sealing_until_there_is_a_next),
		cmocka_unit_test(what_is_written_is_read_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
