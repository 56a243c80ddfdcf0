/* SPDX-License-Identifier: Apache-2.0 */
/* A reflector of which parts cannot be read: objects, namespaces, policies, and lists without an end. */
#include "reflector_rig.h"

#define TOO_LARGE (JSON_MAX_PIECE + 1u)

/* The first problem of the store, NULL without. */
static const struct store_problem *problem(const struct rig *rig)
{
	size_t n;
	const struct store_problem *p = store_problems(rig->store, &n);

	return n ? p : NULL;
}

static const struct kube_object *known(const struct rig *rig, const char *name)
{
	return store_get(rig->store, KUBE_SERVICE, "demo", name);
}

static void give_spaces(struct rig *rig, size_t n)
{
	char *bytes = malloc(n + 1);

	assert_non_null(bytes);
	memset(bytes, ' ', n);
	bytes[n] = 0;
	give(rig, bytes);
	free(bytes);
}

/* An object of more than can be read, whose beginning and end are these. */
static void give_large(struct rig *rig, const char *head, const char *tail)
{
	give(rig, head);
	give_spaces(rig, TOO_LARGE);
	give(rig, tail);
}

#define HEAD(version) "{\"kind\":\"ServiceList\",\"metadata\":{\"resourceVersion\":\"" version "\"},\"items\":["

/* A list again, after the place was lost. */
static void expect_list(struct rig *rig)
{
	done(rig, 410, NULL, 0);
	expect_request(rig, "/api/v1/services?limit=500");
	rig->call.on_headers(rig->call.ctx, 200);
}

static void object_of_a_list_that_is_too_large_stays_as_it_was_known(void **state)
{
	struct rig *rig = rig_watching();

	give(rig, EVENT("ADDED", OBJECT("b", "11")));
	expect_list(rig);
	give_large(rig, HEAD("20") "{\"metadata\":{\"name\":\"a\",\"namespace\":\"demo\",\"resourceVersion\":\"19\"},\"spec\":{",
		   "}}]}");
	done(rig, 200, NULL, 0);
	expect_request(rig, "/api/v1/services?watch=1");
	assert_non_null(known(rig, "a"));
	assert_string_equal(known(rig, "a")->resource_version, "5");
	assert_null(known(rig, "b")); /* of this one the list knows that it is gone */
	assert_string_equal(problem(rig)->reason, "TooLarge");
	assert_string_equal(problem(rig)->ns, "demo");
	assert_string_equal(problem(rig)->name, "a");
	assert_int_equal(rig->r.counters.too_large, 1);
	assert_int_equal(rig->r.counters.refused, 1);
	rig->call.on_headers(rig->call.ctx, 200);
	give(rig, EVENT("MODIFIED", OBJECT("a", "21"))); /* it has become smaller */
	assert_string_equal(known(rig, "a")->resource_version, "21");
	assert_null(problem(rig));
	rig_destroy(rig);
}

static void object_of_a_list_that_is_no_json_stays_as_it_was_known(void **state)
{
	static const char *const wrong[] = {
	    "{\"metadata\":{\"name\":\"a\",\"namespace\":\"demo\",\"resourceVersion\":\"19\"},\"spec\":{\"x\":1,\"x\":2}}",
	    "{\"spec\":{\"y\":[1,\"]\\\"}\",{}],\"z\":null},"
	    "\"metadata\":{\"labels\":{\"name\":\"b\"},\"namespace\":\"demo\",\"name\":\"a\",\"x\":\"\\ud800\"}}",
	    "{\"metadata\":{\"name\":\"a\",\"namespace\":\"demo\"},\"spec\":{\"x\":\"\xff\"}}"};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		struct rig *rig = rig_watching();

		give(rig, EVENT("ADDED", OBJECT("b", "11")));
		expect_list(rig);
		give(rig, HEAD("20"));
		give(rig, wrong[i]);
		give(rig, "]}");
		done(rig, 200, NULL, 0);
		expect_request(rig, "/api/v1/services?watch=1");
		assert_non_null(known(rig, "a"));
		assert_null(known(rig, "b"));
		assert_string_equal(problem(rig)->reason, "InvalidJSON");
		assert_string_equal(problem(rig)->name, "a");
		rig_destroy(rig);
	}
}

/* It may be any of those that are known. */
static void object_without_a_readable_name_lets_nothing_be_taken_away(void **state)
{
	static const char *const wrong[] = {"{\"metadata\":{\"name\":5,\"namespace\":\"demo\"},\"spec\":{}}",
					    "{\"spec\":{\"x\":1,\"x\":2}}", "{\"\\ud800\":1}", NULL};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		struct rig *rig = rig_watching();

		expect_list(rig);
		if (wrong[i]) {
			give(rig, HEAD("20"));
			give(rig, wrong[i]);
			give(rig, "]}");
		} else {
			give_large(rig, HEAD("20") "{\"spec\":{", "},\"metadata\":{\"name\":\"a\"}}]}");
		}
		done(rig, 200, NULL, 0);
		expect_request(rig, "/api/v1/services?watch=1");
		assert_true(rig->r.is_synced);
		assert_non_null(known(rig, "a"));
		assert_int_equal(rig->r.counters.unswept, 1);
		assert_non_null(problem(rig));
		/* what went meanwhile is not kept for ever: with the end of the watch it is listed again */
		rig->call.on_headers(rig->call.ctx, 200);
		rig->now_ms += 400000;
		done(rig, 200, NULL, 0);
		expect_request(rig, "/api/v1/services?limit=500");
		answer(rig, 200, LIST("30", "", OBJECT("c", "29")));
		expect_request(rig, "/api/v1/services?watch=1");
		assert_null(known(rig, "a"));
		assert_null(problem(rig));
		rig_destroy(rig);
	}
}

static void large_event_is_named_and_a_large_deleted_object_is_gone(void **state)
{
	struct rig *rig = rig_watching();

	give_large(rig, "{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"name\":\"a\",\"namespace\":\"demo\"}", "}}");
	reflector_poll(&rig->r, rig->now_ms);
	assert_true(rig->is_open);
	assert_string_equal(known(rig, "a")->resource_version, "5");
	assert_string_equal(problem(rig)->name, "a");
	give_large(rig, "{\"type\":\"DELETED\",\"object\":{\"metadata\":{\"name\":\"a\",\"namespace\":\"demo\"}", "}}");
	assert_null(known(rig, "a"));
	assert_null(problem(rig));
	rig_destroy(rig);
}

static void list_without_an_end_is_given_up(void **state)
{
	struct rig *rig = rig_watching();
	char page[256];
	unsigned n_pages;

	/* the same page again and again */
	done(rig, 410, NULL, 0);
	expect_request(rig, "/api/v1/services?limit=500");
	answer(rig, 200, LIST("20", "same", OBJECT("b", "6")));
	assert_int_equal(expect_request(rig, "/api/v1/services?limit=500&continue=same"), 0);
	answer(rig, 200, LIST("20", "same", OBJECT("b", "6")));
	assert_true(expect_request(rig, "/api/v1/services?limit=500") > 0);
	assert_null(strstr(rig->path, "continue"));
	assert_int_equal(rig->r.counters.endless, 1);
	assert_non_null(strstr(rig->r.problem, "without an end"));
	assert_non_null(known(rig, "a"));
	/* always another one */
	for (n_pages = 0; n_pages < 3 * REFLECTOR_MAX_PAGES && rig->r.counters.endless < 2; n_pages++) {
		snprintf(page, sizeof(page), LIST("20", "t%u", "%s"), n_pages, OBJECT("b", "6"));
		answer(rig, 200, page);
		until_request(rig);
	}
	assert_int_equal(n_pages, REFLECTOR_MAX_PAGES);
	assert_non_null(known(rig, "a"));
	/* it is well as soon as the server is */
	answer(rig, 200, LIST("21", "", OBJECT("b", "6")));
	expect_request(rig, "/api/v1/services?watch=1");
	assert_true(rig->r.is_healthy);
	assert_null(known(rig, "a"));
	rig_destroy(rig);
}

static void refuse(struct rig *rig, unsigned times)
{
	for (unsigned i = 0; i < times; i++) {
		until_request(rig);
		answer(rig, 403, "");
		reflector_poll(&rig->r, rig->now_ms);
	}
}

/* One of several, over the store of another. */
static struct rig *rig_of_namespace(struct store *s, const char *ns)
{
	struct rig *rig = rig_create(KUBE_LISTENER_SET);

	reflector_fini(&rig->r);
	reflector_init(&rig->r, KUBE_LISTENER_SET, ns, NULL, s ? s : rig->store,
		       &(struct reflector_http){.ctx = rig, .request = take_request, .cancel = take_cancel}, 1);
	until_request(rig);
	answer(rig, 200, "{\"resources\":[{\"name\":\"listenersets\"}]}");
	return rig;
}

static void namespace_that_may_not_be_read_is_a_problem_of_its_own(void **state)
{
	struct rig *one = rig_of_namespace(NULL, "one"), *two = rig_of_namespace(one->store, "two");
	size_t n;

	refuse(one, REFLECTOR_FORBIDDEN_LOOKS);
	refuse(two, REFLECTOR_FORBIDDEN_LOOKS);
	store_problems(one->store, &n);
	assert_int_equal(n, 2);
	until_request(one);
	answer(one, 200, "{\"kind\":\"ListenerSetList\",\"metadata\":{\"resourceVersion\":\"10\"},\"items\":[]}");
	until_request(one);
	assert_true(one->r.is_healthy);
	assert_false(two->r.is_healthy);
	store_problems(one->store, &n);
	assert_int_equal(n, 1);
	assert_string_equal(problem(one)->reason, "Forbidden");
	assert_string_equal(problem(one)->ns, "two");
	assert_non_null(strstr(problem(one)->text, "listenersets of namespace two"));
	assert_non_null(strstr(two->r.problem, "listenersets of namespace two: "));
	rig_destroy(two);
	rig_destroy(one);
}

/* What they close would be open. */
static void policies_that_may_not_be_read_are_waited_for_unless_that_is_not_wanted(void **state)
{
	for (unsigned allowed = 0; allowed < 2; allowed++) {
		struct rig *rig = rig_create(KUBE_BACKEND_TLS_POLICY);

		if (allowed)
			rig->r.is_required = false;
		until_request(rig);
		answer(rig, 200, "{\"resources\":[{\"name\":\"backendtlspolicies\"}]}");
		refuse(rig, 3 * REFLECTOR_FORBIDDEN_LOOKS);
		assert_int_equal(rig->r.is_synced, allowed);
		assert_false(rig->r.is_healthy);
		if (allowed)
			assert_string_equal(problem(rig)->reason, "Forbidden");
		else
			assert_non_null(strstr(rig->r.problem, "backendtlspolicies: permission to list and watch them was expected"));
		until_request(rig);
		answer(rig, 200, "{\"kind\":\"BackendTLSPolicyList\",\"metadata\":{\"resourceVersion\":\"10\"},\"items\":[]}");
		until_request(rig);
		assert_true(rig->r.is_synced);
		assert_true(rig->r.is_healthy);
		rig_destroy(rig);
	}
}

static void policies_that_are_not_served_are_not_waited_for(void **state)
{
	struct rig *rig = rig_create(KUBE_BACKEND_TLS_POLICY);

	for (unsigned i = 0; i < 2; i++) { /* their versions */
		until_request(rig);
		answer(rig, 404, "");
	}
	reflector_poll(&rig->r, rig->now_ms);
	assert_true(rig->r.is_synced);
	assert_true(rig->r.is_healthy);
	rig_destroy(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(object_of_a_list_that_is_too_large_stays_as_it_was_known),
	    cmocka_unit_test(object_of_a_list_that_is_no_json_stays_as_it_was_known),
	    cmocka_unit_test(object_without_a_readable_name_lets_nothing_be_taken_away),
	    cmocka_unit_test(large_event_is_named_and_a_large_deleted_object_is_gone),
	    cmocka_unit_test(list_without_an_end_is_given_up),
	    cmocka_unit_test(namespace_that_may_not_be_read_is_a_problem_of_its_own),
	    cmocka_unit_test(policies_that_may_not_be_read_are_waited_for_unless_that_is_not_wanted),
	    cmocka_unit_test(policies_that_are_not_served_are_not_waited_for),
	};

	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
