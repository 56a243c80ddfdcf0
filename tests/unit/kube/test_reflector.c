/* SPDX-License-Identifier: Apache-2.0 */
/* A reflector that lists page by page, and watches. */
#include "reflector_rig.h"

static void lists_page_by_page_then_watches(void **state)
{
	struct rig *rig = rig_create(KUBE_SERVICE);

	assert_int_equal(expect_request(rig, "/api/v1"), 0);
	answer(rig, 200, RESOURCES);
	expect_request(rig, "/api/v1/services?limit=500");
	answer(rig, 200, LIST("10", "a/b=", OBJECT("a", "5")));
	assert_int_equal(expect_request(rig, "/api/v1/services?limit=500&continue=a%2Fb%3D"), 0);
	assert_false(rig->r.is_synced);
	answer(rig, 200, LIST("10", "", OBJECT("b", "6")));
	expect_request(rig, "/api/v1/services?watch=1");
	assert_true(rig->r.is_synced);
	assert_true(rig->r.is_healthy);
	assert_int_equal(count(rig), 2);
	assert_int_equal(rig->r.counters.lists, 1);
	assert_int_equal(rig->r.counters.lists_complete, 1);
	rig_destroy(rig);
}

static void events_change_the_store_and_the_place(void **state)
{
	struct rig *rig = rig_watching();

	give(rig, EVENT("ADDED", OBJECT("b", "11")) EVENT("DELETED", OBJECT("a", "12")));
	reflector_poll(&rig->r, rig->now_ms);
	assert_int_equal(reflector_take(&rig->r), BIT(SERVICE));
	assert_int_equal(count(rig), 1);
	assert_non_null(store_get(rig->store, KUBE_SERVICE, "demo", "b"));
	give(rig, EVENT("MODIFIED", OBJECT("b", "13")));
	give(rig, EVENT("BOOKMARK", "{\"metadata\":{\"resourceVersion\":\"99\"}}"));
	reflector_poll(&rig->r, rig->now_ms);
	assert_int_equal(reflector_take(&rig->r), 0);
	rig->now_ms += 300000;
	done(rig, 200, NULL, 0); /* its time was over */
	assert_int_equal(expect_request(rig, "/api/v1/services?watch=1"), 0);
	assert_non_null(strstr(rig->path, "&resourceVersion=99"));
	assert_int_equal(rig->r.counters.bookmarks, 1);
	assert_int_equal(rig->r.counters.events, 3);
	assert_int_equal(rig->r.counters.failed, 0);
	rig_destroy(rig);
}

static void lost_connection_goes_on_where_it_was(void **state)
{
	struct rig *rig = rig_watching();
	uint64_t took_ms;

	give(rig, EVENT("ADDED", OBJECT("b", "11")) "{\"type\":\"ADD");
	done(rig, 200, "connection reset", 0);
	took_ms = expect_request(rig, "/api/v1/services?watch=1");
	assert_in_range(took_ms, REFLECTOR_BACKOFF_MIN_MS / 2, REFLECTOR_BACKOFF_MIN_MS);
	assert_non_null(strstr(rig->path, "&resourceVersion=11"));
	assert_int_equal(count(rig), 2);
	rig_destroy(rig);
}

static void expired_place_is_listed_again(void **state)
{
	for (unsigned in_stream = 0; in_stream < 2; in_stream++) {
		struct rig *rig = rig_watching();

		if (in_stream)
			give(rig, EVENT("ADDED", OBJECT("b", "11")) EVENT("ERROR", "{\"kind\":\"Status\",\"code\":410}"));
		else
			done(rig, 410, NULL, 0);
		expect_request(rig, "/api/v1/services?limit=500");
		assert_int_equal(rig->n_cancelled, in_stream);
		assert_int_equal(count(rig), 1 + in_stream); /* stays until the list is complete */
		answer(rig, 200, LIST("20", "", OBJECT("c", "19")));
		expect_request(rig, "/api/v1/services?watch=1");
		assert_int_equal(count(rig), 1);
		assert_non_null(store_get(rig->store, KUBE_SERVICE, "demo", "c"));
		assert_int_equal(rig->r.counters.expired, 1);
		rig_destroy(rig);
	}
}

static void expired_page_begins_the_list_again(void **state)
{
	struct rig *rig = rig_watching();

	done(rig, 410, NULL, 0);
	expect_request(rig, "/api/v1/services?limit=500");
	answer(rig, 200, LIST("20", "next", OBJECT("b", "6")));
	expect_request(rig, "/api/v1/services?limit=500&continue=next");
	answer(rig, 410, "{\"kind\":\"Status\",\"code\":410}");
	expect_request(rig, "/api/v1/services?limit=500");
	assert_null(strstr(rig->path, "continue"));
	assert_int_equal(count(rig), 2);
	answer(rig, 200, LIST("21", "", OBJECT("b", "6")));
	expect_request(rig, "/api/v1/services?watch=1");
	assert_int_equal(count(rig), 1);
	rig_destroy(rig);
}

static void answers_that_are_no_complete_list_take_nothing_away(void **state)
{
	static const char *const bodies[] = {
	    "", "{}", "<html>", "{\"kind\":\"Status\",\"code\":200}", "{\"kind\":\"ServiceList\",\"metadata\":{},\"items\":[]}",
	    "{\"kind\":\"PodList\",\"metadata\":{\"resourceVersion\":\"5\"},\"items\":[]}",
	    "{\"kind\":\"ServiceList\",\"metadata\":{\"resourceVersion\":\"5\"}}",
	    "{\"kind\":\"ServiceList\",\"metadata\":{\"resourceVersion\":\"5\"},\"items\":[",
	    "{\"kind\":\"ServiceList\",\"metadata\":{\"resourceVersion\":\"5\"},\"items\":{}}",
	    "{\"kind\":\"ServiceList\",\"metadata\":{\"resourceVersion\":5},\"items\":[]}",
	    "{\"kind\":\"ServiceList\",\"metadata\":[\"resourceVersion\"],\"items\":[]}"};

	for (size_t i = 0; i < sizeof(bodies) / sizeof(*bodies); i++) {
		struct rig *rig = rig_watching();

		done(rig, 410, NULL, 0);
		expect_request(rig, "/api/v1/services?limit=500");
		answer(rig, 200, bodies[i]);
		assert_true(expect_request(rig, "/api/v1/services?limit=500") > 0);
		assert_int_equal(count(rig), 1);
		assert_int_equal(rig->r.counters.malformed, 1);
		assert_false(rig->r.is_healthy);
		answer(rig, 200, LIST("5", "", ""));
		expect_request(rig, "/api/v1/services?watch=1");
		assert_int_equal(count(rig), 0);
		assert_true(rig->r.is_healthy);
		rig_destroy(rig);
	}
}

static void garbage_in_a_watch_leads_to_a_list(void **state)
{
	static const char *const events[] = {
	    "garbage", "[]", "{}", "{\"type\":\"ADDED\"}", "{\"type\":5,\"object\":{}}", "{\"type\":\"ADDED\",\"object\":[]}",
	    EVENT("ADDED", "{\"metadata\":{\"name\":\"x\"}}"), EVENT("WHAT", OBJECT("x", "11")),
	    EVENT("DELETED", "{\"metadata\":{\"resourceVersion\":\"11\"}}"), "{\"type\":\"ADDED\",\"type\":\"ADDED\"}"};

	for (size_t i = 0; i < sizeof(events) / sizeof(*events); i++) {
		struct rig *rig = rig_watching();

		give(rig, events[i]);
		give(rig, EVENT("DELETED", OBJECT("a", "12"))); /* is not read any more */
		assert_true(expect_request(rig, "/api/v1/services?limit=500") > 0);
		assert_int_equal(count(rig), 1);
		assert_int_equal(rig->r.counters.malformed, 1);
		assert_int_equal(rig->n_cancelled, 1);
		rig_destroy(rig);
	}
}

static void wrong_object_does_not_stop_the_watch(void **state)
{
	struct rig *rig = rig_watching();

	give(rig, EVENT("MODIFIED", "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\",\"namespace\":\"demo\",\"resourceVersion\":\"11\"}}"));
	give(rig, EVENT("ADDED", OBJECT("b", "12")));
	reflector_poll(&rig->r, rig->now_ms);
	assert_true(rig->is_open);
	assert_int_equal(count(rig), 2);
	assert_string_equal(store_get(rig->store, KUBE_SERVICE, "demo", "a")->resource_version, "5");
	rig_destroy(rig);
}

/* Whoever may write an annotation could make us list all objects of the kind again, each time. */
static void nul_in_an_annotation_does_not_stop_the_watch(void **state)
{
	struct rig *rig = rig_watching();

	give(rig, EVENT("ADDED", "{\"metadata\":{\"name\":\"b\",\"namespace\":\"demo\",\"resourceVersion\":\"11\","
				 "\"annotations\":{\"x\":\"\\u0000\"}},\"spec\":{}}"));
	reflector_poll(&rig->r, rig->now_ms);
	assert_true(rig->is_open);
	assert_int_equal(count(rig), 2);
	rig_destroy(rig);
}

static void server_that_asks_to_wait_is_given_the_time(void **state)
{
	struct rig *rig = rig_watching();

	done(rig, 429, NULL, 7);
	assert_in_range(expect_request(rig, "/api/v1/services?watch=1"), 7000, 7000 + REFLECTOR_BACKOFF_MIN_MS);
	assert_int_equal(rig->r.counters.throttled, 1);
	done(rig, 429, NULL, 1000000);
	assert_in_range(expect_request(rig, "/api/v1/services?watch=1"), 100000, 130000);
	rig_destroy(rig);
}

static void waits_longer_each_time_up_to_a_bound(void **state)
{
	static const struct {
		int status;
		uint64_t max_ms;
	} cases[] = {{400, REFLECTOR_BACKOFF_MAX_MS}, {403, REFLECTOR_FAILURE_MAX_MS}, {500, REFLECTOR_FAILURE_MAX_MS}, {0, REFLECTOR_RETRY_MAX_MS}};

	for (unsigned c = 0; c < sizeof(cases) / sizeof(*cases); c++) {
		struct rig *rig = rig_create(KUBE_SERVICE);
		uint64_t bound_ms = REFLECTOR_BACKOFF_MIN_MS;

		until_request(rig);
		for (unsigned i = 0; i < 12; i++) {
			done(rig, cases[c].status, cases[c].status ? NULL : "connection refused", 0);
			assert_in_range(until_request(rig), bound_ms / 2, bound_ms);
			bound_ms = bound_ms * 2 < cases[c].max_ms ? bound_ms * 2 : cases[c].max_ms;
		}
		assert_false(rig->r.is_synced);
		rig_destroy(rig);
	}
}

static void one_that_was_reached_or_is_well_hurries_who_waits_for_that(void **state)
{
	static const struct {
		int status;
		bool is_well, is_hurried;
	} cases[] = {{0, false, true}, {0, true, true}, {403, false, false}, {403, true, true}, {500, true, true}, {400, true, false}};

	for (unsigned c = 0; c < sizeof(cases) / sizeof(*cases); c++) {
		struct rig *rig = rig_create(KUBE_SERVICE);
		uint64_t took_ms;

		until_request(rig);
		for (unsigned i = 0; i < 6; i++) {
			done(rig, cases[c].status, cases[c].status ? NULL : "connection refused", 0);
			until_request(rig);
		}
		done(rig, cases[c].status, cases[c].status ? NULL : "connection refused", 0);
		reflector_poll(&rig->r, rig->now_ms);
		reflector_hurry(&rig->r, cases[c].is_well, rig->now_ms);
		took_ms = until_request(rig);
		if (cases[c].is_hurried)
			assert_true(took_ms <= REFLECTOR_BACKOFF_MIN_MS);
		else
			assert_true(took_ms >= REFLECTOR_FAILURE_MAX_MS / 2);
		rig_destroy(rig);
	}
}

static void stream_without_a_byte_is_given_up(void **state)
{
	struct rig *rig = rig_watching();
	uint64_t began_ms = rig->now_ms;
	uint64_t next_ms = reflector_poll(&rig->r, rig->now_ms);

	assert_in_range(next_ms - began_ms, REFLECTOR_WATCH_MIN_S * 1000, REFLECTOR_WATCH_MAX_S * 1000 + REFLECTOR_WATCH_GRACE_MS);
	rig->now_ms += 200000;
	give(rig, EVENT("ADDED", OBJECT("b", "20")));
	reflector_poll(&rig->r, rig->now_ms);
	rig->now_ms = next_ms;
	reflector_poll(&rig->r, rig->now_ms);
	assert_int_equal(rig->n_cancelled, 0); /* heard of since */
	rig->now_ms += 200000;
	reflector_poll(&rig->r, rig->now_ms);
	assert_int_equal(rig->n_cancelled, 1);
	expect_request(rig, "/api/v1/services?watch=1");
	assert_int_equal(rig->r.counters.stalled, 1);
	assert_non_null(strstr(rig->path, "&resourceVersion=20"));
	rig_destroy(rig);
}

static void watch_that_had_bookmarks_is_given_up_without_them(void **state)
{
	struct rig *rig = rig_watching();

	rig->now_ms += 60000;
	give(rig, EVENT("BOOKMARK", "{\"metadata\":{\"resourceVersion\":\"20\"}}"));
	assert_int_equal(reflector_poll(&rig->r, rig->now_ms), rig->now_ms + REFLECTOR_BOOKMARK_STALL_MS);
	rig->now_ms += REFLECTOR_BOOKMARK_STALL_MS;
	reflector_poll(&rig->r, rig->now_ms);
	assert_int_equal(rig->n_cancelled, 1);
	expect_request(rig, "/api/v1/services?watch=1");
	assert_non_null(strstr(rig->path, "&resourceVersion=20"));
	rig_destroy(rig);
}

static void watch_that_is_not_answered_is_given_up_soon(void **state)
{
	struct rig *rig = rig_watching();

	done(rig, 200, "cut", 0);
	expect_request(rig, "/api/v1/services?watch=1");
	assert_int_equal(reflector_poll(&rig->r, rig->now_ms), rig->now_ms + REFLECTOR_STALL_MS);
	rig->now_ms += REFLECTOR_STALL_MS;
	reflector_poll(&rig->r, rig->now_ms);
	assert_int_equal(rig->n_cancelled, 1);
	expect_request(rig, "/api/v1/services?watch=1");
	rig_destroy(rig);
}

static void list_without_a_byte_is_given_up(void **state)
{
	struct rig *rig = rig_create(KUBE_SERVICE);

	expect_request(rig, "/api/v1");
	answer(rig, 200, RESOURCES);
	expect_request(rig, "/api/v1/services?limit=500");
	rig->now_ms += REFLECTOR_STALL_MS;
	reflector_poll(&rig->r, rig->now_ms);
	assert_int_equal(rig->n_cancelled, 1);
	expect_request(rig, "/api/v1/services?limit=500");
	rig_destroy(rig);
}

static void watch_that_fails_again_and_again_is_listed_again(void **state)
{
	struct rig *rig = rig_watching();

	for (unsigned i = 0; i < 2; i++) {
		done(rig, 504, NULL, 0);
		expect_request(rig, "/api/v1/services?watch=1");
	}
	done(rig, 504, NULL, 0);
	expect_request(rig, "/api/v1/services?limit=500");
	rig_destroy(rig);
}

static void kind_that_is_not_served_is_looked_for_in_other_versions_and_later_again(void **state)
{
	struct rig *rig = rig_create(KUBE_REFERENCE_GRANT);

	expect_request(rig, "/apis/gateway.networking.k8s.io/v1");
	answer(rig, 200, RESOURCES); /* the version is there, the kind is not */
	expect_request(rig, "/apis/gateway.networking.k8s.io/v1beta1");
	answer(rig, 404, "404 page not found");
	assert_in_range(expect_request(rig, "/apis/gateway.networking.k8s.io/v1"), REFLECTOR_DISCOVERY_MS - 1000, REFLECTOR_DISCOVERY_MS);
	assert_true(rig->r.is_synced); /* there are none, and that is known */
	assert_true(rig->r.is_healthy);
	answer(rig, 404, "");
	expect_request(rig, "/apis/gateway.networking.k8s.io/v1beta1");
	answer(rig, 200, "{\"resources\":[{\"name\":\"referencegrants\"}]}");
	expect_request(rig, "/apis/gateway.networking.k8s.io/v1beta1/referencegrants?limit=500");
	rig_destroy(rig);
}

/* TLSRoute has three versions; objects are of the one that is served. */
static void kind_is_found_in_an_alpha_version_and_its_objects_say_so(void **state)
{
	static const char list[] = "{\"kind\":\"TLSRouteList\",\"metadata\":{\"resourceVersion\":\"10\"},\"items\":["
				   "{\"metadata\":{\"name\":\"a\",\"namespace\":\"demo\",\"resourceVersion\":\"5\"}}]}";
	struct rig *rig = rig_create(KUBE_TLS_ROUTE);
	const struct kube_object *const *found;
	size_t n;

	expect_request(rig, "/apis/gateway.networking.k8s.io/v1");
	answer(rig, 200, RESOURCES);
	expect_request(rig, "/apis/gateway.networking.k8s.io/v1alpha3");
	answer(rig, 404, "");
	expect_request(rig, "/apis/gateway.networking.k8s.io/v1alpha2");
	answer(rig, 200, "{\"resources\":[{\"name\":\"tlsroutes\"}]}");
	expect_request(rig, "/apis/gateway.networking.k8s.io/v1alpha2/tlsroutes?limit=500");
	answer(rig, 200, list);
	expect_request(rig, "/apis/gateway.networking.k8s.io/v1alpha2/tlsroutes?watch=1");
	found = store_list(rig->store, KUBE_TLS_ROUTE, &n);
	assert_int_equal(n, 1);
	assert_string_equal(kube_object_api_version(found[0]), "gateway.networking.k8s.io/v1alpha2");
	rig_destroy(rig);
}

static void optional_kind_that_is_forbidden_does_not_hold_up_the_rest(void **state)
{
	struct rig *rig = rig_create(KUBE_TCP_ROUTE);
	size_t n;

	expect_request(rig, "/apis/gateway.networking.k8s.io/v1");
	answer(rig, 200, "{\"resources\":[{\"name\":\"tcproutes\"}]}");
	for (unsigned i = 0; i < REFLECTOR_FORBIDDEN_LOOKS; i++) {
		assert_false(rig->r.is_synced);
		expect_request(rig, "/apis/gateway.networking.k8s.io/v1/tcproutes?limit=500");
		answer(rig, 403, "");
		reflector_poll(&rig->r, rig->now_ms);
	}
	assert_true(rig->r.is_synced);
	assert_false(rig->r.is_healthy);
	assert_int_equal(reflector_take(&rig->r), BIT(TCP_ROUTE));
	assert_string_equal(store_problems(rig->store, &n)[0].reason, "Forbidden");
	assert_non_null(strstr(store_problems(rig->store, &n)[0].text, "list and watch tcproutes"));
	assert_int_equal(n, 1);
	/* it is tried again, and is well once it is allowed */
	expect_request(rig, "/apis/gateway.networking.k8s.io/v1/tcproutes?limit=500");
	answer(rig, 200, "{\"kind\":\"TCPRouteList\",\"metadata\":{\"resourceVersion\":\"10\"},\"items\":[]}");
	expect_request(rig, "/apis/gateway.networking.k8s.io/v1/tcproutes?watch=1");
	assert_true(rig->r.is_healthy);
	assert_int_equal(reflector_take(&rig->r), BIT(TCP_ROUTE));
	store_problems(rig->store, &n);
	assert_int_equal(n, 0);
	rig_destroy(rig);
}

static void kind_that_is_not_optional_waits_for_permission(void **state)
{
	struct rig *rig = rig_create(KUBE_SERVICE);

	expect_request(rig, "/api/v1");
	answer(rig, 200, RESOURCES);
	for (unsigned i = 0; i < 3 * REFLECTOR_FORBIDDEN_LOOKS; i++) {
		expect_request(rig, "/api/v1/services?limit=500");
		answer(rig, 403, "");
		reflector_poll(&rig->r, rig->now_ms);
		assert_false(rig->r.is_synced);
	}
	rig_destroy(rig);
}

static void kind_that_vanishes_is_given_up_only_after_several_looks(void **state)
{
	struct rig *rig = rig_watching();
	uint64_t began_ms = rig->now_ms;
	unsigned n_looks = 0;

	done(rig, 404, NULL, 0);
	while (count(rig)) {
		uint64_t took_ms = expect_request(rig, "/api/v1");

		assert_true(took_ms <= (rig->now_ms - began_ms > REFLECTOR_DISCOVERY_MS ? REFLECTOR_DISCOVERY_MS : 1000));
		answer(rig, 404, "");
		reflector_poll(&rig->r, rig->now_ms);
		assert_int_equal(rig->r.is_healthy, !count(rig));
		n_looks++;
	}
	assert_true(n_looks >= REFLECTOR_ABSENT_LOOKS);
	assert_in_range(rig->now_ms - began_ms, REFLECTOR_ABSENT_MS, REFLECTOR_ABSENT_MS + REFLECTOR_DISCOVERY_MS);
	assert_int_equal(reflector_take(&rig->r), BIT(SERVICE));
	expect_request(rig, "/api/v1");
	answer(rig, 404, ""); /* still: all is well */
	reflector_poll(&rig->r, rig->now_ms);
	assert_true(rig->r.is_healthy);
	expect_request(rig, "/api/v1");
	answer(rig, 200, RESOURCES);
	expect_request(rig, "/api/v1/services?limit=500");
	rig_destroy(rig);
}

static void namespace_is_part_of_the_path_and_of_the_sweep(void **state)
{
	static const char other[] = "{\"metadata\":{\"name\":\"x\",\"namespace\":\"other\"}}";
	struct rig *rig = rig_create(KUBE_SERVICE);

	store_put_json(rig->store, KUBE_SERVICE, other, strlen(other));
	rig->r.ns = "demo";
	expect_request(rig, "/api/v1");
	answer(rig, 200, RESOURCES);
	expect_request(rig, "/api/v1/namespaces/demo/services?limit=500");
	answer(rig, 200, LIST("10", "", OBJECT("a", "5")));
	expect_request(rig, "/api/v1/namespaces/demo/services?watch=1");
	assert_int_equal(count(rig), 2);
	rig_destroy(rig);
}

static void selector_is_part_of_every_request(void **state)
{
	struct rig *rig = rig_create(KUBE_SERVICE);

	rig->r.selector = "a=b,c!=d";
	expect_request(rig, "/api/v1");
	answer(rig, 200, RESOURCES);
	expect_request(rig, "/api/v1/services?limit=500&labelSelector=a%3Db%2Cc%21%3Dd");
	answer(rig, 200, LIST("10", "next", ""));
	expect_request(rig, "/api/v1/services?limit=500&labelSelector=a%3Db%2Cc%21%3Dd&continue=next");
	answer(rig, 200, LIST("10", "", ""));
	expect_request(rig, "/api/v1/services?watch=1");
	assert_non_null(strstr(rig->path, "&resourceVersion=10&labelSelector=a%3Db%2Cc%21%3Dd"));
	rig_destroy(rig);
}

static void only_the_node_that_is_asked_for_and_only_what_is_needed_of_it_is_kept(void **state)
{
	static const char list[] =
	    "{\"kind\":\"NodeList\",\"metadata\":{\"resourceVersion\":\"10\"},\"items\":[{\"metadata\":{\"name\":\"n1\","
	    "\"resourceVersion\":\"5\",\"labels\":{\"topology.kubernetes.io/zone\":\"z1\",\"b\":\"c\"},\"annotations\":{\"a\":\"b\"}},"
	    "\"spec\":{\"podCIDR\":\"10.0.0.0/24\",\"unschedulable\":true},\"status\":{\"addresses\":[],\"conditions\":[1]}}]}";
	static const char beat[] = "{\"kind\":\"Node\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"n1\",\"resourceVersion\":\"11\","
				   "\"labels\":{\"topology.kubernetes.io/zone\":\"z1\",\"b\":\"d\"},\"annotations\":{\"a\":\"c\"}},"
				   "\"spec\":{\"podCIDR\":\"10.0.0.0/24\"},\"status\":{\"addresses\":[],\"conditions\":[2]}}";
	struct rig *rig = rig_create(KUBE_NODE);
	const struct kube_object *o;

	rig->r.fields = "metadata.name=n1";
	expect_request(rig, "/api/v1");
	answer(rig, 200, "{\"resources\":[{\"name\":\"nodes\"}]}");
	expect_request(rig, "/api/v1/nodes?limit=500&fieldSelector=metadata.name%3Dn1");
	answer(rig, 200, list);
	expect_request(rig, "/api/v1/nodes?watch=1");
	assert_non_null(strstr(rig->path, "&resourceVersion=10&fieldSelector=metadata.name%3Dn1"));
	assert_int_equal(reflector_take(&rig->r), BIT(NODE));
	o = store_get(rig->store, KUBE_NODE, "", "n1");
	assert_string_equal(node_str(node_get(node_path(o->root, "metadata.labels"), "topology.kubernetes.io/zone")), "z1");
	assert_int_equal(node_path(o->root, "metadata.labels")->n, 1);
	assert_int_equal(node_path(o->root, "metadata.annotations")->n, 0);
	assert_string_equal(node_str(node_path(o->root, "spec.podCIDR")), "10.0.0.0/24");
	assert_null(node_path(o->root, "spec.unschedulable"));
	assert_null(node_path(o->root, "status.conditions"));
	rig->call.on_headers(rig->call.ctx, 200);
	give(rig, "{\"type\":\"MODIFIED\",\"object\":");
	give(rig, beat);
	give(rig, "}\n");
	reflector_poll(&rig->r, rig->now_ms);
	assert_int_equal(reflector_take(&rig->r), 0); /* nothing that matters */
	rig_destroy(rig);
}

/* What answers there are, in any order, at any time: it ends, and asks for one thing at a time. */
static void random_answers_never_stop_it(void **state)
{
	static const char *const bodies[] = {
	    "", "{", RESOURCES, LIST("10", "", OBJECT("a", "5")), LIST("11", "x", OBJECT("b", "5")), LIST("12", "", ""),
	    EVENT("ADDED", OBJECT("c", "13")), EVENT("DELETED", OBJECT("a", "14")), EVENT("ERROR", "{\"code\":410}"),
	    EVENT("ERROR", "{\"code\":500}"), "\xff\xff", "{\"kind\":\"Status\"}"};
	static const int statuses[] = {200, 200, 200, 200, 0, 404, 410, 429, 500, 503};
	struct rig *rig = rig_create(KUBE_SERVICE);
	unsigned r = 7;

	for (unsigned i = 0; i < 20000; i++) {
		unsigned x = (r = r * 1103515245 + 12345) >> 8;

		until_request(rig);
		if (statuses[x % 10])
			rig->call.on_headers(rig->call.ctx, statuses[x % 10]);
		if (statuses[x % 10])
			give(rig, bodies[x / 10 % (sizeof(bodies) / sizeof(*bodies))]);
		if (x / 1000 % 4 == 0)
			reflector_poll(&rig->r, rig->now_ms);
		if (rig->is_open && x / 4000 % 8 == 0)
			rig->now_ms += 700000;
		else if (rig->is_open)
			done(rig, statuses[x % 10], x / 32000 % 4 || statuses[x % 10] ? NULL : "cut", x % 3);
	}
	assert_true(rig->r.counters.lists_complete > 10);
	assert_true(rig->r.counters.events > 10);
	rig_destroy(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(lists_page_by_page_then_watches),
	    cmocka_unit_test(events_change_the_store_and_the_place),
	    cmocka_unit_test(lost_connection_goes_on_where_it_was),
	    cmocka_unit_test(expired_place_is_listed_again),
	    cmocka_unit_test(expired_page_begins_the_list_again),
	    cmocka_unit_test(answers_that_are_no_complete_list_take_nothing_away),
	    cmocka_unit_test(garbage_in_a_watch_leads_to_a_list),
	    cmocka_unit_test(wrong_object_does_not_stop_the_watch),
	    cmocka_unit_test(nul_in_an_annotation_does_not_stop_the_watch),
	    cmocka_unit_test(server_that_asks_to_wait_is_given_the_time),
	    cmocka_unit_test(waits_longer_each_time_up_to_a_bound),
	    cmocka_unit_test(one_that_was_reached_or_is_well_hurries_who_waits_for_that),
	    cmocka_unit_test(stream_without_a_byte_is_given_up),
	    cmocka_unit_test(watch_that_had_bookmarks_is_given_up_without_them),
	    cmocka_unit_test(watch_that_is_not_answered_is_given_up_soon),
	    cmocka_unit_test(list_without_a_byte_is_given_up),
	    cmocka_unit_test(watch_that_fails_again_and_again_is_listed_again),
	    cmocka_unit_test(kind_that_is_not_served_is_looked_for_in_other_versions_and_later_again),
	    cmocka_unit_test(kind_is_found_in_an_alpha_version_and_its_objects_say_so),
	    cmocka_unit_test(optional_kind_that_is_forbidden_does_not_hold_up_the_rest),
	    cmocka_unit_test(kind_that_is_not_optional_waits_for_permission),
	    cmocka_unit_test(kind_that_vanishes_is_given_up_only_after_several_looks),
	    cmocka_unit_test(namespace_is_part_of_the_path_and_of_the_sweep),
	    cmocka_unit_test(selector_is_part_of_every_request),
	    cmocka_unit_test(only_the_node_that_is_asked_for_and_only_what_is_needed_of_it_is_kept),
	    cmocka_unit_test(random_answers_never_stop_it),
	};

	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
