/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kube/names.h"
#include "kube/store.h"

#define BIT(k) (1ull << KUBE_##k)
#define SERVICE(name) "apiVersion: v1\nkind: Service\nmetadata: {name: " name "}\n---\n"
#define SLICE_OF(name) \
	"apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: " name "}\naddressType: IPv4\n---\n"

static uint64_t load(struct store *s, const char *file, const char *text)
{
	return store_load_yaml(s, file, text, strlen(text));
}

static size_t count(const struct store *s, enum kube_kind k)
{
	size_t n;

	store_list(s, k, &n);
	return n;
}

/* The one problem there is. */
static const struct store_problem *only_problem(const struct store *s)
{
	size_t n;
	const struct store_problem *p = store_problems(s, &n);

	assert_int_equal(n, 1);
	return p;
}

static void lists_are_sorted_whatever_the_order_of_files(void **state)
{
	struct store *s = store_create();
	const struct kube_object *const *list;
	size_t n;

	load(s, "2.yaml", SERVICE("c") SERVICE("a"));
	load(s, "1.yaml", SERVICE("b"));
	list = store_list(s, KUBE_SERVICE, &n);
	assert_int_equal(n, 3);
	assert_string_equal(list[0]->name, "a");
	assert_string_equal(list[1]->name, "b");
	assert_string_equal(list[2]->name, "c");
	assert_string_equal(list[0]->ns, "default");
	assert_int_equal(list[0]->line, 5);
	assert_ptr_equal(store_get(s, KUBE_SERVICE, "default", "b"), list[1]);
	assert_null(store_get(s, KUBE_SERVICE, "default", "d"));
	assert_null(store_get(s, KUBE_INGRESS, "default", "b"));
	store_destroy(s);
}

static void mask_names_the_kinds_that_changed(void **state)
{
	struct store *s = store_create();

	assert_int_equal(load(s, "a.yaml", SERVICE("a") SLICE_OF("a")), BIT(SERVICE) | BIT(ENDPOINT_SLICE));
	assert_int_equal(load(s, "a.yaml", SERVICE("a") SLICE_OF("a")), 0);
	assert_int_equal(load(s, "a.yaml", SERVICE("a") SLICE_OF("b")), BIT(ENDPOINT_SLICE));
	assert_int_equal(load(s, "a.yaml", SERVICE("a")), BIT(ENDPOINT_SLICE));
	assert_int_equal(load(s, "a.yaml", "\n" SERVICE("a")), BIT(SERVICE)); /* problems name its line */
	assert_int_equal(store_forget_file(s, "a.yaml"), BIT(SERVICE));
	assert_int_equal(store_forget_file(s, "a.yaml"), 0);
	assert_int_equal(count(s, KUBE_SERVICE), 0);
	store_destroy(s);
}

static void first_file_by_name_wins_and_gives_way_when_it_goes(void **state)
{
	struct store *s = store_create();

	load(s, "b.yaml", SERVICE("x"));
	load(s, "a.yaml", SERVICE("x"));
	assert_string_equal(store_get(s, KUBE_SERVICE, "default", "x")->file, "a.yaml");
	assert_string_equal(only_problem(s)->reason, "DuplicateObject");
	assert_string_equal(only_problem(s)->file, "b.yaml");
	store_forget_file(s, "a.yaml");
	assert_string_equal(store_get(s, KUBE_SERVICE, "default", "x")->file, "b.yaml");
	store_destroy(s);
}

static void syntax_error_keeps_what_the_file_said_before(void **state)
{
	struct store *s = store_create();

	load(s, "a.yaml", SERVICE("x") SERVICE("y1"));
	assert_int_equal(load(s, "a.yaml", SERVICE("z") "{"), 0);
	assert_non_null(store_get(s, KUBE_SERVICE, "default", "x"));
	assert_null(store_get(s, KUBE_SERVICE, "default", "z"));
	assert_string_equal(only_problem(s)->reason, "InvalidYAML");
	assert_int_equal(load(s, "a.yaml", SERVICE("z")), BIT(SERVICE));
	assert_null(store_get(s, KUBE_SERVICE, "default", "x"));
	assert_int_equal(load(s, "b.yaml", SERVICE("w") "{"), BIT(SERVICE)); /* at first: those before the error */
	assert_non_null(store_get(s, KUBE_SERVICE, "default", "w"));
	store_destroy(s);
}

static void refused_document_does_not_hide_the_next(void **state)
{
	struct store *s = store_create();

	load(s, "a.yaml", "a: &x 1\nb: *x\n---\n" SERVICE("x") "---\n# empty\n---\n");
	assert_int_equal(count(s, KUBE_SERVICE), 1);
	assert_string_equal(only_problem(s)->reason, "AliasNotAllowed");
	assert_int_equal(only_problem(s)->line, 2);
	assert_int_equal(only_problem(s)->column, 4);
	store_destroy(s);
}

static void document_over_the_limit_is_refused_and_the_next_is_read(void **state)
{
	struct store *s = store_create();
	size_t n = 4u << 20;
	char *text = malloc(n + 200);

	size_t at;

	at = (size_t)sprintf(text, "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec:\n");
	for (size_t i = 0; at < n; i++) /* one key on each line */
		at += (size_t)sprintf(text + at, "  k%zu: v\n", i);
	strcpy(text + at, "---\n" SERVICE("y1"));
	load(s, "a.yaml", text);
	assert_int_equal(count(s, KUBE_SERVICE), 1);
	assert_string_equal(only_problem(s)->reason, "TooLarge");
	free(text);
	store_destroy(s);
}

static void scalars_mean_what_kubernetes_reads(void **state)
{
	static const struct {
		const char *text;
		enum node_kind kind;
	} cases[] = {{"no", NODE_BOOL},     {"\"no\"", NODE_STRING},  {"1", NODE_NUMBER},  {"'1'", NODE_STRING},
		     {"1.5", NODE_NUMBER},  {"1.2.3", NODE_STRING},   {"~", NODE_NULL},    {"null", NODE_NULL},
		     {"0x1f", NODE_NUMBER}, {"!!str 1", NODE_STRING}, {".5", NODE_NUMBER}, {".", NODE_STRING},
		     {"1e3", NODE_NUMBER},  {"1e", NODE_STRING},      {"on", NODE_BOOL},   {"2024-01-01", NODE_STRING},
		     {"", NODE_NULL}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct store *s = store_create();
		char text[200];

		snprintf(text, sizeof(text), "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: %s\n",
			 cases[i].text);
		load(s, "a", text);
		assert_int_equal(node_get(store_get(s, KUBE_SERVICE, "default", "x")->root, "spec")->kind,
				 cases[i].kind);
		store_destroy(s);
	}
}

static void integers_are_read_whole_and_within_range(void **state)
{
	struct node n = {.kind = NODE_NUMBER};
	int64_t v;

	n.text = "80";
	assert_true(node_int(&n, 1, 65535, &v));
	assert_int_equal(v, 80);
	n.text = "-5";
	assert_true(node_int(&n, -10, 10, &v));
	assert_int_equal(v, -5);
	n.text = "0x10";
	assert_true(node_int(&n, 0, 100, &v));
	assert_int_equal(v, 16);
	n.text = "65536";
	assert_false(node_int(&n, 1, 65535, &v));
	n.text = "80.0";
	assert_false(node_int(&n, 1, 65535, &v));
	n.text = "99999999999999999999";
	assert_false(node_int(&n, 1, INT64_MAX, &v));
	n.kind = NODE_STRING;
	n.text = "80";
	assert_false(node_int(&n, 1, 65535, &v));
}

static void names_follow_rfc_1123(void **state)
{
	static const char *const hosts[] = {"a", "a.b", "*.a.b", "1a.test", "xn--p1ai.test"};
	static const char *const not_hosts[] = {"",    "*",  "*.", "a..b",     ".a",    "a.", "A.b",
						"a_b", "-a", "a-", "10.0.0.1", "*.*.a", "a b"};
	char label[65];

	for (size_t i = 0; i < sizeof(hosts) / sizeof(*hosts); i++)
		assert_true(names_is_host(hosts[i]));
	for (size_t i = 0; i < sizeof(not_hosts) / sizeof(*not_hosts); i++)
		assert_false(names_is_host(not_hosts[i]));
	memset(label, 'a', 64);
	label[64] = 0;
	assert_false(names_is_label(label));
	label[63] = 0;
	assert_true(names_is_label(label));
	assert_true(names_is_token("X-Beta_1"));
	assert_false(names_is_token("a\x10"));
	assert_false(names_is_token("a:b"));
}

static void times_and_durations_are_read_strictly(void **state)
{
	static const char *const bad_times[] = {"",
						"2024-01-01",
						"2024-02-30T00:00:00Z",
						"2024-01-01T24:00:00Z",
						"2024-01-01T00:00:00",
						"2024-01-01T00:00:00.Z",
						"2024-01-01T00:00:00+1:00"};
	static const char *const bad_durations[] = {"", "1", "1.5s", "-1s", "100000s", "1d", "1s1s1s1s1s", "s"};
	int64_t t;
	uint64_t ms;

	assert_true(names_parse_time("2024-02-29T12:00:00Z", &t));
	assert_int_equal(t, 1709208000);
	assert_true(names_parse_time("2024-02-29T14:00:00.123+02:00", &t));
	assert_int_equal(t, 1709208000);
	for (size_t i = 0; i < sizeof(bad_times) / sizeof(*bad_times); i++)
		assert_false(names_parse_time(bad_times[i], &t));
	assert_true(names_parse_duration("1h2m3s4ms", &ms));
	assert_int_equal(ms, 3723004);
	assert_true(names_parse_duration("0s", &ms));
	assert_int_equal(ms, 0);
	for (size_t i = 0; i < sizeof(bad_durations) / sizeof(*bad_durations); i++)
		assert_false(names_parse_duration(bad_durations[i], &ms));
}

static void put(struct store *s, const char *ns, const char *name, const char *rest)
{
	char text[512];
	int n = snprintf(text, sizeof(text), "{\"metadata\":{\"namespace\":\"%s\",\"name\":\"%s\"}%s}", ns, name, rest);

	store_put_json(s, KUBE_SERVICE, text, (size_t)n);
}

/* "+ns/name" for each change that matters, "-ns/name" for the others. */
static const char *journal_text(struct store *s)
{
	static char text[512];
	size_t n;
	const struct store_change *c = store_journal(s, &n);

	text[0] = 0;
	for (size_t i = 0; i < n; i++)
		sprintf(text + strlen(text), "%s%s/%s ", c[i].matters ? "+" : "-", c[i].ns, c[i].name);
	store_clear_journal(s);
	return text;
}

static void journal_names_what_came_changed_and_went(void **state)
{
	struct store *s = store_create();
	size_t n;

	put(s, "a", "before", "");
	store_keep_journal(s);
	assert_string_equal(journal_text(s), "");
	put(s, "a", "x", "");
	put(s, "a", "x", ",\"status\":{}");
	put(s, "a", "x", ",\"spec\":{}");
	assert_string_equal(journal_text(s), "+a/x -a/x +a/x ");
	assert_string_equal(journal_text(s), "");
	store_remove(s, KUBE_SERVICE, "a", "x");
	store_remove(s, KUBE_SERVICE, "a", "none");
	assert_string_equal(journal_text(s), "+a/x ");
	store_mark(s, KUBE_SERVICE, NULL);
	put(s, "b", "y", "");
	store_sweep(s, KUBE_SERVICE, NULL);
	assert_string_equal(journal_text(s), "+b/y +a/before ");
	load(s, "f", SERVICE("a") SERVICE("b"));
	load(s, "f", SERVICE("b"));
	store_forget_file(s, "f");
	assert_string_equal(journal_text(s),
			    "+default/a +default/b +default/a +default/b +default/b +default/b ");
	for (unsigned i = 0; i < 20001; i++)
		put(s, "b", "y", i % 2 ? "" : ",\"spec\":{}");
	assert_null(store_journal(s, &n)); /* that much is "everything" */
	assert_int_equal(n, 0);
	store_clear_journal(s);
	assert_non_null(store_journal(s, &n));
	store_destroy(s);
}

static void note_read(void *ctx, enum kube_kind kind, const char *ns, const char *name)
{
	char *text = ctx;

	sprintf(text + strlen(text), "%s %s/%s ", kube_kind_name(kind), ns ? ns : "*", name ? name : "*");
}

static void reads_are_told_be_there_an_object_or_not(void **state)
{
	struct store *s = store_create();
	char text[512] = "";
	size_t n;

	put(s, "a", "x", "");
	put(s, "b", "x", "");
	put(s, "b", "y", "");
	put(s, "c", "x", "");
	store_get(s, KUBE_SERVICE, "a", "x");
	store_observe(s, note_read, text);
	store_get(s, KUBE_SERVICE, "b", "x");
	assert_null(store_get(s, KUBE_INGRESS, "b", "x"));
	assert_string_equal(store_list_of(s, KUBE_SERVICE, "b", &n)[1]->name, "y");
	assert_int_equal(n, 2);
	store_list_of(s, KUBE_SERVICE, "d", &n);
	assert_int_equal(n, 0);
	store_list(s, KUBE_SERVICE, &n);
	assert_int_equal(n, 4);
	store_observe(s, NULL, NULL);
	store_get(s, KUBE_SERVICE, "a", "x");
	assert_string_equal(text, "Service b/x Ingress b/x Service b/* Service d/* Service */* ");
	store_destroy(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(lists_are_sorted_whatever_the_order_of_files),
	    cmocka_unit_test(mask_names_the_kinds_that_changed),
	    cmocka_unit_test(first_file_by_name_wins_and_gives_way_when_it_goes),
	    cmocka_unit_test(syntax_error_keeps_what_the_file_said_before),
	    cmocka_unit_test(refused_document_does_not_hide_the_next),
	    cmocka_unit_test(document_over_the_limit_is_refused_and_the_next_is_read),
	    cmocka_unit_test(scalars_mean_what_kubernetes_reads),
	    cmocka_unit_test(integers_are_read_whole_and_within_range),
	    cmocka_unit_test(names_follow_rfc_1123),
	    cmocka_unit_test(times_and_durations_are_read_strictly),
	    cmocka_unit_test(journal_names_what_came_changed_and_went),
	    cmocka_unit_test(reads_are_told_be_there_an_object_or_not),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
