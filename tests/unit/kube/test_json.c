/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kube/json.h"
#include "kube/store.h"
#include "kube/kube_pvt.h"

#define LIST "{\"kind\":\"ServiceList\",\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[{\"a\":1},{\"b\":\"}\\\"]\"}]}"

/* All pieces of a text that comes step bytes at a time, as "kind:piece" joined by '|'; '!' is the end of a bad one. */
static char *pieces(enum json_mode mode, const char *text, size_t n_text, size_t step, bool *is_whole)
{
	struct json_split s;
	char *out = NULL;
	size_t n_out;
	FILE *f = open_memstream(&out, &n_out);

	json_split_init(&s, mode);
	for (size_t at = 0; at < n_text; at += step) {
		const char *data = text + at;
		size_t n = n_text - at < step ? n_text - at : step;
		enum json_outcome o;

		while ((o = json_split_take(&s, &data, &n)) != JSON_MORE) {
			if (o == JSON_BAD || o == JSON_TOO_LARGE) {
				fputc(o == JSON_BAD ? '!' : '^', f);
				if (o == JSON_BAD)
					break;
			} else {
				fprintf(f, "%s:%.*s|", o == JSON_FIELD ? s.key : "", (int)s.n, s.piece);
			}
		}
		if (o == JSON_BAD)
			break;
	}
	*is_whole = json_split_is_whole(&s);
	json_split_fini(&s);
	fclose(f);
	return out;
}

static void expect_pieces(enum json_mode mode, const char *text, const char *wanted, bool wanted_whole)
{
	for (size_t step = 1; step <= strlen(text) + 1; step += step < 8 ? 1 : 7) {
		bool is_whole;
		char *got = pieces(mode, text, strlen(text), step, &is_whole);

		assert_string_equal(got, wanted);
		assert_int_equal(is_whole, wanted_whole);
		free(got);
	}
}

static void list_is_cut_into_items_wherever_its_bytes_are_cut(void **state)
{
	expect_pieces(JSON_LIST, LIST, "kind:\"ServiceList\"|metadata:{\"resourceVersion\":\"7\"}|:{\"a\":1}|:{\"b\":\"}\\\"]\"}|", true);
	expect_pieces(JSON_LIST, " { \"x\" : [ {} , \"items\" ] , \"items\" : [ ] , \"n\" : -1.5e3 } ", "", true);
	expect_pieces(JSON_LIST, "{\"items\":null,\"apiVersion\":\"v1\"}", "", true);
}

static void list_without_end_or_without_items_is_not_whole(void **state)
{
	expect_pieces(JSON_LIST, "{\"items\":[{}", ":{}|", false);
	expect_pieces(JSON_LIST, "{\"items\":[{}]", ":{}|", false);
	expect_pieces(JSON_LIST, "{}", "", false);
	expect_pieces(JSON_LIST, "", "", false);
}

static void list_that_is_none_is_refused(void **state)
{
	static const char *const wrong[] = {"[", "1", "<html>", "{\"a\"]", "{\"a\" 1", "{,", "{\"a\":1,}", "{\"a\":1 \"b\":2}",
					    "{\"items\":{}}", "{\"items\":1}", "{\"items\":[1", "{\"items\":[{},]", "{\"items\":[{}{",
					    "{\"items\":[],\"items\":[", "{\"items\":[]}{", "{\"a\":}", "{\"a\":,"};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		bool is_whole;
		char *got = pieces(JSON_LIST, wrong[i], strlen(wrong[i]), 1, &is_whole);

		if (!strchr(got, '!'))
			fail_msg("%s was taken: %s", wrong[i], got);
		assert_false(is_whole);
		free(got);
	}
}

static void stream_is_cut_into_events(void **state)
{
	expect_pieces(JSON_WATCH, "{\"a\":{}}\n{\"b\":[]}{}\n", ":{\"a\":{}}|:{\"b\":[]}|:{}|", true);
	expect_pieces(JSON_WATCH, "{\"a\":1}\n{\"b\"", ":{\"a\":1}|", false);
	expect_pieces(JSON_WATCH, "", "", true);
	expect_pieces(JSON_WATCH, "{}\n[]", ":{}|!", false);
	expect_pieces(JSON_WATCH, "{},{}", ":{}|!", false);
}

static void too_large_an_item_is_passed_over_and_the_next_one_had(void **state)
{
	static char text[JSON_MAX_PIECE + 200];
	const size_t n = JSON_MAX_PIECE + 100;
	bool is_whole;
	char *got;

	memset(text, ' ', n);
	memcpy(text, "{\"items\":[{\"a\":\"", 16);
	memset(text + 16, 'x', n - 16);
	strcpy(text + n, "\"},{\"b\":2}]}");
	got = pieces(JSON_LIST, text, strlen(text), 4096, &is_whole);
	assert_string_equal(got, "^:{\"b\":2}|");
	assert_true(is_whole);
	free(got);
}

static struct node *parse(struct arena *a, const char *text, struct json_fault *fault)
{
	return json_parse(a, text, strlen(text), fault);
}

static void values_become_nodes(void **state)
{
	struct arena a = {0};
	struct json_fault fault;
	const struct node *n = parse(&a, " {\"s\":\"a\\n\\u00e9\\ud83d\\ude00\\/\",\"i\":-12,\"b\":false,\"z\":null,\"l\":[1.5e+3,{}]} ", &fault);
	int64_t i;
	bool b;

	assert_non_null(n);
	assert_null(fault.text);
	assert_string_equal(node_str(node_get(n, "s")), "a\n\xc3\xa9\xf0\x9f\x98\x80/");
	assert_true(node_int(node_get(n, "i"), -100, 100, &i));
	assert_int_equal(i, -12);
	assert_true(node_bool(node_get(n, "b"), &b));
	assert_false(b);
	assert_int_equal(node_get(n, "z")->kind, NODE_NULL);
	assert_int_equal(node_get(n, "l")->n, 2);
	assert_string_equal(node_get(n, "l")->items[0]->text, "1.5e+3");
	arena_fini(&a);
}

static void nul_in_a_text_is_another_character(void **state)
{
	static const char text[] = "{\"a\\u0000\":\"x\\u0000y\"}";
	struct arena a = {0};
	struct json_fault fault;
	const struct node *n = parse(&a, text, &fault);

	assert_non_null(n);
	assert_string_equal(n->keys[0], "a\xef\xbf\xbd");
	assert_string_equal(node_str(n->items[0]), "x\xef\xbf\xbdy");
	arena_fini(&a);
}

static void what_is_no_json_is_refused(void **state)
{
	static const char *const wrong[] = {
	    "", "{", "[", "\"", "\"\\", "\"\\u12", "\"\\x\"", "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\udc00\"",
	    "\"\x01\"", "\"\xff\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"", "\"\xe2\x82\"", "01", "-", "+1",
	    "1.", ".5", "1e", "tru", "nul", "{\"a\"}", "{\"a\":1,}", "[1,]", "[1 2]", "{a:1}", "{\"a\":1}x", "{\"a\":1,\"a\":2}",
	    "'a'", "[1}", "{]"};
	char deep[200];

	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		struct arena a = {0};
		struct json_fault fault;

		if (parse(&a, wrong[i], &fault))
			fail_msg("%s was taken", wrong[i]);
		assert_non_null(fault.text);
		assert_true(fault.offset <= strlen(wrong[i]));
		arena_fini(&a);
	}
	for (unsigned depth = JSON_MAX_DEPTH; depth <= JSON_MAX_DEPTH + 1; depth++) {
		struct arena a = {0};
		struct json_fault fault;

		memset(deep, '[', depth);
		memset(deep + depth, ']', depth);
		deep[2 * depth] = 0;
		assert_int_equal(parse(&a, deep, &fault) != NULL, depth == JSON_MAX_DEPTH);
		arena_fini(&a);
	}
}

/* ---- objects of an API server in the store ---- */

#define BIT(k) (1ull << KUBE_##k)
#define SERVICE(name, version, rest) \
	"{\"metadata\":{\"name\":\"" name "\",\"namespace\":\"demo\",\"uid\":\"u\",\"generation\":3,\"resourceVersion\":\"" version \
	"\",\"managedFields\":[{\"x\":1}]}" rest "}"

static uint64_t put(struct store *s, const char *text)
{
	return store_put_json(s, KUBE_SERVICE, text, strlen(text));
}

static void object_of_a_list_gets_its_kind_and_version(void **state)
{
	struct store *s = store_create();
	const struct kube_object *o;

	assert_int_equal(put(s, SERVICE("a", "5", ",\"spec\":{}")), BIT(SERVICE));
	o = store_get(s, KUBE_SERVICE, "demo", "a");
	assert_non_null(o);
	assert_string_equal(node_str(node_get(o->root, "kind")), "Service");
	assert_string_equal(node_str(node_get(o->root, "apiVersion")), "v1");
	assert_null(node_path(o->root, "metadata.managedFields"));
	assert_string_equal(o->uid, "u");
	assert_string_equal(o->resource_version, "5");
	assert_int_equal(o->generation, 3);
	assert_string_equal(o->file, "");
	store_destroy(s);
}

static void change_of_status_and_version_alone_is_none(void **state)
{
	struct store *s = store_create();

	put(s, SERVICE("a", "5", ",\"spec\":{\"x\":1}"));
	assert_int_equal(put(s, SERVICE("a", "6", ",\"spec\":{\"x\":1},\"status\":{\"y\":2}")), 0);
	assert_string_equal(store_get(s, KUBE_SERVICE, "demo", "a")->resource_version, "6");
	assert_non_null(node_path(store_get(s, KUBE_SERVICE, "demo", "a")->root, "status.y"));
	assert_int_equal(put(s, "{\"apiVersion\":\"v1\",\"kind\":\"Service\"," /* as an event has it */
				"\"metadata\":{\"name\":\"a\",\"namespace\":\"demo\",\"uid\":\"u\"},\"spec\":{\"x\":1}}"), 0);
	assert_int_equal(put(s, SERVICE("a", "7", ",\"spec\":{\"x\":2}")), BIT(SERVICE));
	assert_int_equal(put(s, SERVICE("a", "8", "")), BIT(SERVICE));
	store_destroy(s);
}

static void what_a_list_does_not_have_is_swept(void **state)
{
	struct store *s = store_create();
	const struct kube_object *const *list;
	size_t n;

	put(s, SERVICE("c", "1", ""));
	put(s, SERVICE("a", "2", ""));
	put(s, SERVICE("b", "3", ""));
	store_mark(s, KUBE_SERVICE, NULL);
	put(s, SERVICE("b", "3", ""));
	assert_int_equal(store_sweep(s, KUBE_SERVICE, "other"), 0);
	assert_int_equal(store_sweep(s, KUBE_SERVICE, NULL), BIT(SERVICE));
	assert_int_equal(store_sweep(s, KUBE_SERVICE, NULL), 0);
	list = store_list(s, KUBE_SERVICE, &n);
	assert_int_equal(n, 1);
	assert_string_equal(list[0]->name, "b");
	assert_int_equal(store_remove(s, KUBE_SERVICE, "demo", "a"), 0);
	assert_int_equal(store_remove(s, KUBE_SERVICE, "demo", "b"), BIT(SERVICE));
	store_list(s, KUBE_SERVICE, &n);
	assert_int_equal(n, 0);
	store_destroy(s);
}

static void wrong_object_is_a_problem_until_it_is_right_and_its_old_state_stays(void **state)
{
	struct store *s = store_create();
	const struct store_problem *p;
	uint64_t turn;
	size_t n;

	put(s, SERVICE("a", "1", ",\"spec\":{\"x\":1}"));
	assert_int_equal(put(s, "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\",\"namespace\":\"demo\"}}"), BIT(SERVICE));
	assert_int_equal(put(s, "{\"metadata\":{\"name\":5}}"), BIT(SERVICE));
	assert_int_equal(put(s, "{"), BIT(SERVICE));
	p = store_problems(s, &n);
	assert_int_equal(n, 2); /* of one without a name, and of a */
	assert_string_equal(p[0].name, "");
	assert_string_equal(p[1].name, "a");
	assert_string_equal(p[1].file, "");
	store_mark(s, KUBE_SERVICE, NULL);
	put(s, "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\",\"namespace\":\"demo\"}}");
	assert_int_equal(store_sweep(s, KUBE_SERVICE, NULL), BIT(SERVICE)); /* the problem without a name */
	assert_non_null(node_path(store_get(s, KUBE_SERVICE, "demo", "a")->root, "spec.x"));
	turn = store_problems_turn(s);
	assert_int_equal(put(s, SERVICE("b", "1", "")), BIT(SERVICE)); /* another object: the problems are the same */
	assert_int_equal(put(s, SERVICE("b", "2", ",\"spec\":{\"x\":1}")), BIT(SERVICE));
	assert_int_equal(store_problems_turn(s), turn);
	assert_int_equal(put(s, SERVICE("a", "2", ",\"spec\":{\"x\":1}")), BIT(SERVICE));
	store_problems(s, &n);
	assert_int_equal(n, 0);
	assert_int_not_equal(store_problems_turn(s), turn);
	store_destroy(s);
}

/* A store that is changed at random has at any time what a list of all says. */
static void random_changes_agree_with_a_plain_model(void **state)
{
	struct store *s = store_create();
	int model[40];
	unsigned r = 1;

	memset(model, -1, sizeof(model));
	for (unsigned step = 0; step < 20000; step++) {
		const struct kube_object *const *list;
		size_t n;
		size_t n_model = 0;
		unsigned i = (r = r * 1103515245 + 12345) >> 16;
		char name[16];
		char text[200];

		snprintf(name, sizeof(name), "s%u", i % 40);
		if (i / 40 % 3 == 0) {
			assert_int_equal(store_remove(s, KUBE_SERVICE, "demo", name), model[i % 40] >= 0 ? BIT(SERVICE) : 0);
			model[i % 40] = -1;
		} else {
			int v = (int)(i / 120 % 3);

			snprintf(text, sizeof(text), "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"demo\"},\"v\":%d}", name, v);
			assert_int_equal(put(s, text), model[i % 40] == v ? 0 : BIT(SERVICE));
			model[i % 40] = v;
		}
		for (unsigned j = 0; j < 40; j++)
			n_model += model[j] >= 0;
		list = store_list(s, KUBE_SERVICE, &n);
		assert_int_equal(n, n_model);
		for (size_t j = 1; j < n; j++)
			assert_true(strcmp(list[j - 1]->name, list[j]->name) < 0);
	}
	store_destroy(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(list_is_cut_into_items_wherever_its_bytes_are_cut),
	    cmocka_unit_test(list_without_end_or_without_items_is_not_whole),
	    cmocka_unit_test(list_that_is_none_is_refused),
	    cmocka_unit_test(stream_is_cut_into_events),
	    cmocka_unit_test(too_large_an_item_is_passed_over_and_the_next_one_had),
	    cmocka_unit_test(values_become_nodes),
	    cmocka_unit_test(nul_in_a_text_is_another_character),
	    cmocka_unit_test(what_is_no_json_is_refused),
	    cmocka_unit_test(object_of_a_list_gets_its_kind_and_version),
	    cmocka_unit_test(change_of_status_and_version_alone_is_none),
	    cmocka_unit_test(what_a_list_does_not_have_is_swept),
	    cmocka_unit_test(wrong_object_is_a_problem_until_it_is_right_and_its_old_state_stays),
	    cmocka_unit_test(random_changes_agree_with_a_plain_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
