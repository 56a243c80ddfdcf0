/* SPDX-License-Identifier: Apache-2.0 */
/* A reflector whose lists come as the beginning of a watch. */
#include "reflector_rig.h"

#define KIND_OF(name, version, more) \
	"{\"kind\":\"Service\",\"metadata\":{\"name\":\"" name "\",\"namespace\":\"demo\",\"resourceVersion\":\"" version "\"" more "}}"
#define END_OF_LIST(version) \
	EVENT("BOOKMARK", "{\"kind\":\"Service\",\"metadata\":{\"resourceVersion\":\"" version \
			  "\",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}}}")
#define STREAM "/api/v1/services?watch=1&allowWatchBookmarks=true&timeoutSeconds="

/* Up to the request for a list that comes as a watch, with the object a in the store if is_known. */
static struct rig *rig_streaming(bool is_known)
{
	struct rig *rig = rig_create(KUBE_SERVICE);

	rig->streams = true;
	expect_request(rig, "/api/v1");
	answer(rig, 200, RESOURCES);
	expect_request(rig, STREAM);
	assert_true(asks_for_stream(rig));
	assert_non_null(strstr(rig->path, "&resourceVersionMatch=NotOlderThan"));
	assert_null(strstr(rig->path, "&resourceVersion="));
	rig->call.on_headers(rig->call.ctx, 200);
	if (is_known) {
		give(rig, EVENT("ADDED", KIND_OF("a", "5", "")) END_OF_LIST("10"));
		reflector_poll(&rig->r, rig->now_ms);
		reflector_take(&rig->r);
		done(rig, 410, NULL, 0);
		expect_request(rig, STREAM);
		assert_true(asks_for_stream(rig));
		rig->call.on_headers(rig->call.ctx, 200);
	}
	return rig;
}

static void list_as_a_watch_goes_on_as_one(void **state)
{
	struct rig *rig = rig_streaming(false);

	give(rig, EVENT("ADDED", KIND_OF("b", "7", "")) EVENT("ADDED", KIND_OF("a", "5", "")));
	reflector_poll(&rig->r, rig->now_ms);
	assert_false(rig->r.is_synced);
	assert_false(rig->r.is_healthy);
	give(rig, END_OF_LIST("10") EVENT("DELETED", KIND_OF("a", "11", ""))); /* at once */
	assert_int_equal(reflector_poll(&rig->r, rig->now_ms), rig->now_ms + rig->r.watch_stall_ms);
	assert_true(rig->r.is_synced);
	assert_true(rig->r.is_healthy);
	assert_int_equal(count(rig), 1);
	assert_int_equal(rig->r.counters.streamed, 1);
	assert_int_equal(rig->r.counters.lists_complete, 1);
	rig->now_ms += 300000;
	done(rig, 200, NULL, 0); /* its time was over: an ordinary watch, from there */
	expect_request(rig, STREAM);
	assert_non_null(strstr(rig->path, "&resourceVersion=11"));
	assert_false(asks_for_stream(rig));
	rig_destroy(rig);
}

static void what_a_list_as_a_watch_does_not_have_is_gone_at_its_end(void **state)
{
	struct rig *rig = rig_streaming(true);

	give(rig, EVENT("ADDED", KIND_OF("c", "19", "")));
	reflector_poll(&rig->r, rig->now_ms);
	assert_int_equal(count(rig), 2);
	give(rig, END_OF_LIST("20"));
	reflector_poll(&rig->r, rig->now_ms);
	assert_int_equal(count(rig), 1);
	assert_non_null(store_get(rig->store, KUBE_SERVICE, "demo", "c"));
	rig_destroy(rig);
}

static void half_a_list_as_a_watch_takes_nothing_away(void **state)
{
	static const struct {
		const char *bytes;
		int status;
		const char *error;
		bool then_pages;
	} ends[] = {
	    {"", 200, "cut", false},
	    {EVENT("ADDED", KIND_OF("c", "19", "")), 200, NULL, false}, /* it ends in order, but not at its end */
	    {EVENT("ADDED", KIND_OF("c", "19", "")) "{\"type\":\"BOO", 200, "cut", false},
	    {"garbage", 200, NULL, false},
	    {EVENT("ADDED", OBJECT("c", "19")), 200, NULL, false}, /* of no kind */
	    {EVENT("BOOKMARK", "{\"kind\":\"Ingress\",\"metadata\":{\"resourceVersion\":\"20\",\"annotations\":{"
			       "\"k8s.io/initial-events-end\":\"true\"}}}"), 200, NULL, false}, /* of another kind */
	    {EVENT("ERROR", "{\"kind\":\"Status\",\"code\":500}"), 200, NULL, false},
	    {EVENT("ERROR", "{\"kind\":\"Status\",\"code\":410}"), 200, NULL, false},
	    {EVENT("BOOKMARK", "{\"kind\":\"Service\",\"metadata\":{\"resourceVersion\":\"20\"}}"), 200, NULL, true}, /* without it */
	    {"", 400, NULL, true},
	    {"", 422, NULL, true},
	    {"", 503, NULL, false},
	};

	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
		struct rig *rig = rig_streaming(true);

		rig->call.on_headers(rig->call.ctx, ends[i].status);
		give(rig, ends[i].bytes);
		reflector_poll(&rig->r, rig->now_ms);
		if (rig->n_cancelled == 0) /* it was not ended for what it gave */
			done(rig, ends[i].status, ends[i].error, 0);
		expect_request(rig, ends[i].then_pages ? "/api/v1/services?limit=500" : STREAM);
		assert_int_equal(asks_for_stream(rig), !ends[i].then_pages);
		assert_non_null(store_get(rig->store, KUBE_SERVICE, "demo", "a"));
		assert_int_equal(rig->r.counters.stream_refused, ends[i].then_pages);
		rig_destroy(rig);
	}
}

static void list_as_a_watch_that_fails_twice_is_asked_for_page_by_page(void **state)
{
	struct rig *rig = rig_streaming(true);

	done(rig, 200, "cut", 0);
	expect_request(rig, STREAM);
	rig->call.on_headers(rig->call.ctx, 200);
	done(rig, 200, "cut", 0);
	expect_request(rig, "/api/v1/services?limit=500");
	answer(rig, 200, LIST("20", "", OBJECT("c", "19")));
	expect_request(rig, STREAM);
	assert_non_null(strstr(rig->path, "&resourceVersion=20"));
	assert_int_equal(count(rig), 1);
	rig_destroy(rig);
}

static void list_as_a_watch_that_falls_silent_is_asked_for_page_by_page(void **state)
{
	struct rig *rig = rig_streaming(true);

	give(rig, EVENT("ADDED", KIND_OF("c", "19", "")));
	assert_int_equal(reflector_poll(&rig->r, rig->now_ms), rig->now_ms + REFLECTOR_STREAM_STALL_MS);
	rig->now_ms += REFLECTOR_STREAM_STALL_MS;
	expect_request(rig, "/api/v1/services?limit=500");
	assert_int_equal(rig->n_cancelled, 1);
	assert_int_equal(count(rig), 2);
	rig_destroy(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(list_as_a_watch_goes_on_as_one),
	    cmocka_unit_test(what_a_list_as_a_watch_does_not_have_is_gone_at_its_end),
	    cmocka_unit_test(half_a_list_as_a_watch_takes_nothing_away),
	    cmocka_unit_test(list_as_a_watch_that_fails_twice_is_asked_for_page_by_page),
	    cmocka_unit_test(list_as_a_watch_that_falls_silent_is_asked_for_page_by_page),
	};

	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
