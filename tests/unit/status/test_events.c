/* SPDX-License-Identifier: Apache-2.0 */
/* Events in virtual time, against answers that each test gives by hand. */
#include "calls.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/ip.h"
#include "base/log.h"
#include "status/events.h"

#define COUNT(n) "{\"count\":" n "}"

struct rig {
	struct store *store;
	struct model model;
	struct events *e;
	struct calls calls;
	uint64_t now_ms;
	bool may_send;
};

static struct rig *rig_create(void)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	struct reflector_http http;

	assert_non_null(rig);
	http = calls_http(&rig->calls);
	log_init("test", LOG_LEVEL_ERROR);
	rig->store = store_create();
	rig->now_ms = 10000000;
	rig->may_send = true;
	model_init(&rig->model);
	rig->e = events_create(&http, "me", 1);
	return rig;
}

static void rig_destroy(struct rig *rig)
{
	events_destroy(rig->e);
	assert_int_equal(calls_n_open(&rig->calls), 0);
	model_fini(&rig->model);
	store_destroy(rig->store);
	free(rig);
}

static void put(struct rig *rig, const char *name, const char *uid)
{
	char json[512];
	int n = snprintf(json, sizeof(json), "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"a\",\"resourceVersion\":\"7\",\"uid\":\"%s\"}}",
			 name, uid);

	store_put_json(rig->store, KUBE_INGRESS, json, (size_t)n);
}

/* A model without what was wrong before. */
static void begin(struct rig *rig)
{
	model_fini(&rig->model);
	model_init(&rig->model);
	events_update(rig->e, rig->store, &rig->model);
}

static void problem(struct rig *rig, const char *name, const char *text)
{
	struct model_problem *p = model_add_problem(&rig->model);

	*p = (struct model_problem){.file = "",
				    .kind = "Ingress",
				    .ns = "a",
				    .name = model_str(&rig->model, name),
				    .field = "spec.rules[0].host",
				    .reason = "InvalidHostname",
				    .text = model_str(&rig->model, text)};
}

static void pass(struct rig *rig, uint64_t ms)
{
	uint64_t end_ms = rig->now_ms + ms;

	for (unsigned i = 0; i < 100000; i++) {
		uint64_t next_ms = events_poll(rig->e, rig->may_send, rig->now_ms, (int64_t)(rig->now_ms / 1000));

		if (next_ms > end_ms)
			break;
		rig->now_ms = next_ms > rig->now_ms ? next_ms : rig->now_ms;
	}
	rig->now_ms = end_ms;
	events_poll(rig->e, rig->may_send, rig->now_ms, (int64_t)(rig->now_ms / 1000));
}

static unsigned n_open(const struct rig *rig)
{
	return calls_n_open(&rig->calls);
}

static struct call *expect(struct rig *rig, const char *method)
{
	return calls_expect(&rig->calls, method, "/api/v1/namespaces/");
}

static void answer(struct rig *rig, struct call *c, int status, const char *body, uint32_t retry_after_s)
{
	calls_answer(c, status, body, retry_after_s);
	events_poll(rig->e, rig->may_send, rig->now_ms, (int64_t)(rig->now_ms / 1000));
}

static const char *text_at(const json_t *j, const char *a, const char *b)
{
	const json_t *v = json_object_get(j, a);

	return json_string_value(b ? json_object_get(v, b) : v);
}

static void note(struct rig *rig, const char *uid, const char *text)
{
	events_note(rig->e, &(struct events_note){.kind = KUBE_SECRET, .ns = "n", .name = "keys", .uid = uid, .version = "9",
						  .reason = "InvalidTicketKeys", .field = "data", .text = text});
}

/* Of an object that is in no store. */
static void note_is_told_until_it_is_no_more(void **state)
{
	struct rig *rig = rig_create();
	json_t *j;

	(void)state;
	begin(rig);
	note(rig, "u-9", "0 is too short");
	note(rig, "u-9", "0 is too short");
	pass(rig, EVENTS_SETTLE_MS + 300);
	assert_int_equal(n_open(rig), 1);
	assert_string_equal(expect(rig, "POST")->path, "/api/v1/namespaces/n/events");
	j = json_loads(expect(rig, "POST")->body, 0, NULL);
	assert_string_equal(text_at(j, "involvedObject", "uid"), "u-9");
	assert_string_equal(text_at(j, "involvedObject", "resourceVersion"), "9");
	assert_string_equal(text_at(j, "involvedObject", "kind"), "Secret");
	assert_string_equal(text_at(j, "involvedObject", "apiVersion"), "v1");
	assert_non_null(strstr(text_at(j, "message", NULL), "0 is too short. "));
	json_decref(j);
	answer(rig, expect(rig, "POST"), 201, COUNT("1"), 0);
	begin(rig); /* another model */
	pass(rig, EVENTS_REPEAT_MS + 1000);
	answer(rig, expect(rig, "PATCH"), 200, COUNT("2"), 0);
	note(rig, "u-9", "");
	pass(rig, 3 * (uint64_t)EVENTS_REPEAT_MS);
	assert_int_equal(n_open(rig), 0);
	note(rig, "", "it is not known whose");
	pass(rig, EVENTS_REPEAT_MS);
	assert_int_equal(n_open(rig), 0);
	rig_destroy(rig);
}

static void event_says_of_which_field_of_which_object(void **state)
{
	struct rig *rig = rig_create();
	json_t *j;

	(void)state;
	put(rig, "i", "u-1");
	begin(rig);
	problem(rig, "i", "wrong");
	problem(rig, "not-there", "wrong");
	pass(rig, EVENTS_SETTLE_MS + 300);
	assert_int_equal(n_open(rig), 1);
	assert_string_equal(expect(rig, "POST")->path, "/api/v1/namespaces/a/events");
	j = json_loads(expect(rig, "POST")->body, 0, NULL);
	assert_string_equal(text_at(j, "involvedObject", "uid"), "u-1");
	assert_string_equal(text_at(j, "involvedObject", "resourceVersion"), "7");
	assert_string_equal(text_at(j, "involvedObject", "kind"), "Ingress");
	assert_string_equal(text_at(j, "involvedObject", "apiVersion"), "networking.k8s.io/v1");
	assert_string_equal(text_at(j, "involvedObject", "fieldPath"), "spec.rules[0].host");
	assert_string_equal(text_at(j, "type", NULL), "Warning");
	assert_string_equal(text_at(j, "reason", NULL), "InvalidHostname");
	assert_string_equal(text_at(j, "message", NULL), "wrong. Correct the host name: until then nothing is served for it.");
	assert_string_equal(text_at(j, "metadata", "namespace"), "a");
	json_decref(j);
	rig_destroy(rig);
}

static void same_problem_is_told_again_by_a_patch(void **state)
{
	struct rig *rig = rig_create();
	char name[128];
	json_t *j;

	(void)state;
	put(rig, "i", "u-1");
	begin(rig);
	problem(rig, "i", "wrong");
	pass(rig, 2000);
	j = json_loads(expect(rig, "POST")->body, 0, NULL);
	snprintf(name, sizeof(name), "/api/v1/namespaces/a/events/%s", text_at(j, "metadata", "name"));
	json_decref(j);
	answer(rig, expect(rig, "POST"), 201, COUNT("1"), 0);
	events_update(rig->e, rig->store, &rig->model); /* still so: nothing new */
	pass(rig, 60000);
	assert_int_equal(rig->calls.n_sent, 1);
	begin(rig); /* mended */
	pass(rig, 60000);
	begin(rig);
	problem(rig, "i", "wrong");
	pass(rig, 2000);
	assert_string_equal(expect(rig, "PATCH")->path, name);
	assert_non_null(strstr(expect(rig, "PATCH")->body, "\"count\":2"));
	answer(rig, expect(rig, "PATCH"), 200, COUNT("2"), 0);
	pass(rig, EVENTS_REPEAT_MS); /* it stays so */
	assert_non_null(strstr(expect(rig, "PATCH")->body, "\"count\":3"));
	answer(rig, expect(rig, "PATCH"), 404, NULL, 0); /* the API server has forgotten */
	expect(rig, "POST");
	assert_int_equal(events_counters(rig->e)->created, 1);
	assert_int_equal(events_counters(rig->e)->patched, 1);
	rig_destroy(rig);
}

static void problem_that_is_gone_at_once_is_not_told(void **state)
{
	struct rig *rig = rig_create();

	(void)state;
	put(rig, "i", "u-1");
	begin(rig);
	problem(rig, "i", "the Service is not there yet");
	pass(rig, EVENTS_SETTLE_MS - 100);
	begin(rig);
	pass(rig, 60000);
	assert_int_equal(rig->calls.n_sent, 0);
	rig_destroy(rig);
}

static void event_of_a_weir_before_is_found_again(void **state)
{
	struct rig *rig = rig_create();

	(void)state;
	put(rig, "i", "u-1");
	begin(rig);
	problem(rig, "i", "wrong");
	pass(rig, 2000);
	answer(rig, expect(rig, "POST"), 409, "{\"reason\":\"AlreadyExists\"}", 0);
	assert_null(strstr(expect(rig, "PATCH")->body, "count"));
	answer(rig, expect(rig, "PATCH"), 200, COUNT("5"), 0);
	pass(rig, EVENTS_REPEAT_MS);
	assert_non_null(strstr(expect(rig, "PATCH")->body, "\"count\":6"));
	rig_destroy(rig);
}

static void only_who_may_tells(void **state)
{
	struct rig *rig = rig_create();

	(void)state;
	rig->may_send = false;
	put(rig, "i", "u-1");
	begin(rig);
	problem(rig, "i", "wrong");
	pass(rig, 60000);
	assert_int_equal(rig->calls.n_sent, 0);
	rig->may_send = true;
	pass(rig, 2000);
	expect(rig, "POST");
	rig->may_send = false;
	answer(rig, expect(rig, "POST"), 201, COUNT("1"), 0);
	pass(rig, 2 * EVENTS_REPEAT_MS);
	assert_int_equal(rig->calls.n_sent, 1);
	rig_destroy(rig);
}

static void one_object_cannot_take_all(void **state)
{
	struct rig *rig = rig_create();
	char text[32];

	(void)state;
	put(rig, "i", "u-1");
	put(rig, "other", "u-2");
	begin(rig);
	for (unsigned i = 0; i < 100; i++) {
		snprintf(text, sizeof(text), "wrong %u", i);
		problem(rig, "i", text);
	}
	problem(rig, "other", "wrong");
	for (unsigned i = 0; i < 400; i++) {
		pass(rig, 50);
		while (n_open(rig))
			answer(rig, expect(rig, "POST"), 201, COUNT("1"), 0);
	}
	assert_int_equal(rig->calls.n_sent, EVENTS_OBJECT_BURST + 1);
	assert_int_equal(events_counters(rig->e)->dropped, 100 - EVENTS_OBJECT_BURST);
	rig_destroy(rig);
}

static void rate_of_all_is_bounded(void **state)
{
	struct rig *rig = rig_create();
	char name[16];

	(void)state;
	begin(rig);
	for (unsigned i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "i%u", i);
		put(rig, name, name);
		problem(rig, name, "wrong");
	}
	pass(rig, EVENTS_SETTLE_MS);
	for (unsigned i = 0; i < 200; i++) { /* 10 s */
		pass(rig, 50);
		while (n_open(rig)) {
			assert_true(n_open(rig) <= EVENTS_IN_FLIGHT);
			answer(rig, expect(rig, "POST"), 201, COUNT("1"), 0);
		}
	}
	assert_true(rig->calls.n_sent <= EVENTS_BURST + 10 * EVENTS_PER_S + 5);
	assert_true(rig->calls.n_sent >= EVENTS_BURST + 9 * EVENTS_PER_S);
	assert_int_equal(events_counters(rig->e)->dropped, 0); /* they wait */
	rig_destroy(rig);
}

static void more_than_can_be_known_are_dropped_and_counted(void **state)
{
	struct rig *rig = rig_create();
	char name[16];

	(void)state;
	begin(rig);
	for (unsigned i = 0; i < EVENTS_MAX + 10; i++) {
		snprintf(name, sizeof(name), "i%u", i);
		put(rig, name, name);
		problem(rig, name, "wrong");
	}
	pass(rig, 100);
	assert_int_equal(events_counters(rig->e)->dropped, 10);
	rig_destroy(rig);
}

static void failure_is_tried_again_refusal_later(void **state)
{
	struct rig *rig = rig_create();

	(void)state;
	put(rig, "i", "u-1");
	begin(rig);
	problem(rig, "i", "wrong");
	pass(rig, 2000);
	answer(rig, expect(rig, "POST"), 0, NULL, 0);
	pass(rig, 100);
	assert_int_equal(n_open(rig), 0);
	pass(rig, EVENTS_BACKOFF_MIN_MS + 200);
	answer(rig, expect(rig, "POST"), 429, NULL, 20);
	pass(rig, 19000);
	assert_int_equal(n_open(rig), 0);
	pass(rig, 4000);
	answer(rig, expect(rig, "POST"), 403, "{\"message\":\"no\"}", 0);
	pass(rig, EVENTS_REPEAT_MS / 2);
	assert_int_equal(n_open(rig), 0);
	pass(rig, EVENTS_REPEAT_MS / 2 + 1000);
	expect(rig, "POST");
	assert_int_equal(events_counters(rig->e)->failed, 3);
	rig_destroy(rig);
}

static void service_in_use_without_endpoints_is_told(void **state)
{
	static const char json[] = "{\"metadata\":{\"name\":\"s\",\"namespace\":\"a\",\"uid\":\"u\"}}";
	struct rig *rig = rig_create();
	struct model_backend *b;

	(void)state;
	store_put_json(rig->store, KUBE_SERVICE, json, sizeof(json) - 1);
	begin(rig);
	model_add_backend(&rig->model); /* a place that is free */
	b = model_add_backend(&rig->model);
	b->name = "a/s:80";
	b->n_endpoints = 1;
	pass(rig, 30000);
	assert_int_equal(rig->calls.n_sent, 0);
	b->n_endpoints = 0; /* without an update */
	pass(rig, EVENTS_LOOK_MS + EVENTS_SETTLE_MS + 100);
	assert_non_null(strstr(expect(rig, "POST")->body, "NoReadyEndpoints"));
	assert_non_null(strstr(expect(rig, "POST")->body, "port 80 has no ready endpoint"));
	rig_destroy(rig);
}

static void put_gateway(struct rig *rig, const char *programmed)
{
	char json[512];
	int n = snprintf(json, sizeof(json),
			 "{\"metadata\":{\"name\":\"g\",\"namespace\":\"a\",\"uid\":\"u\"},"
			 "\"status\":{\"conditions\":[{\"type\":\"Programmed\",\"status\":\"%s\"}]}}",
			 programmed);
	struct weir_ip *addr = model_alloc(&rig->model, sizeof(*addr));
	struct model_status *v = model_add_status(&rig->model);

	assert_int_equal(ip_parse("192.0.2.1", strlen("192.0.2.1"), addr), 0);
	*v = (struct model_status){.kind = KUBE_GATEWAY, .ns = "a", .name = "g", .n_addrs = 1, .addrs = addr,
				   .conditions = {1, {{"Programmed", "True", "Programmed", "served"}}}};
	store_put_json(rig->store, KUBE_GATEWAY, json, (size_t)n);
	events_update(rig->e, rig->store, &rig->model);
}

static void gateway_that_becomes_served_is_told_once(void **state)
{
	struct rig *rig = rig_create();

	(void)state;
	put_gateway(rig, "Unknown");
	pass(rig, 500);
	begin(rig);
	put_gateway(rig, "True"); /* our own status has come back before the Event was told */
	pass(rig, 2000);
	assert_non_null(strstr(expect(rig, "POST")->body, "\"Normal\""));
	assert_non_null(strstr(expect(rig, "POST")->body, "served at 192.0.2.1"));
	answer(rig, expect(rig, "POST"), 201, COUNT("1"), 0);
	pass(rig, 3 * EVENTS_REPEAT_MS);
	assert_int_equal(rig->calls.n_sent, 1);
	begin(rig);
	put_gateway(rig, "False");
	pass(rig, 2000);
	expect(rig, "POST"); /* after so long a new one: the API server has forgotten it, too */
	rig_destroy(rig);
}

static void gateway_that_was_served_before_us_is_not_told(void **state)
{
	struct rig *rig = rig_create();

	(void)state;
	put_gateway(rig, "True");
	pass(rig, 60000);
	assert_int_equal(rig->calls.n_sent, 0);
	rig_destroy(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(note_is_told_until_it_is_no_more),
	    cmocka_unit_test(event_says_of_which_field_of_which_object),
	    cmocka_unit_test(same_problem_is_told_again_by_a_patch),
	    cmocka_unit_test(problem_that_is_gone_at_once_is_not_told),
	    cmocka_unit_test(event_of_a_weir_before_is_found_again),
	    cmocka_unit_test(only_who_may_tells),
	    cmocka_unit_test(one_object_cannot_take_all),
	    cmocka_unit_test(rate_of_all_is_bounded),
	    cmocka_unit_test(more_than_can_be_known_are_dropped_and_counted),
	    cmocka_unit_test(failure_is_tried_again_refusal_later),
	    cmocka_unit_test(service_in_use_without_endpoints_is_told),
	    cmocka_unit_test(gateway_that_becomes_served_is_told_once),
	    cmocka_unit_test(gateway_that_was_served_before_us_is_not_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
