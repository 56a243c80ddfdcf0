/* SPDX-License-Identifier: Apache-2.0 */
/* The writer of statuses and its Lease in virtual time, against answers that each test gives by hand. */
#include "calls.h"

#include <stdlib.h>

#include "base/ip.h"
#include "base/log.h"
#include "status/writer.h"

#define OURS "weir.dev/ingress-controller"
#define LEASE(version, holder) \
	"{\"metadata\":{\"resourceVersion\":\"" version "\"},\"spec\":{\"holderIdentity\":\"" holder "\",\"leaseDurationSeconds\":15}}"

struct rig {
	struct store *store;
	struct model model;
	struct status_writer *w;
	struct calls calls;
	uint64_t now_ms;
};

static struct rig *rig_create(enum status_write mode)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	struct reflector_http http;

	assert_non_null(rig);
	http = calls_http(&rig->calls);
	log_init("test", LOG_LEVEL_ERROR);
	rig->store = store_create();
	rig->now_ms = 1000000;
	model_init(&rig->model);
	rig->w = status_writer_create(
	    &(struct status_writer_options){OURS, mode, "weir-system", "weir-ctrl", "me", false, 1},
	    &http);
	status_writer_update(rig->w, rig->store, &rig->model, NULL);
	return rig;
}

static void rig_destroy(struct rig *rig)
{
	status_writer_destroy(rig->w);
	assert_int_equal(calls_n_open(&rig->calls), 0);
	model_fini(&rig->model);
	store_destroy(rig->store);
	free(rig);
}

/* An Ingress that is to be told an address. */
static void put(struct rig *rig, const char *name, const char *version, const char *status)
{
	char json[512];
	int n = snprintf(json, sizeof(json),
			 "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"a\",\"resourceVersion\":\"%s\"},\"spec\":{},\"status\":%s}",
			 name, version, status);

	store_put_json(rig->store, KUBE_INGRESS, json, (size_t)n);
}

static void tell(struct rig *rig, const char *name)
{
	struct weir_ip *addr = model_alloc(&rig->model, sizeof(*addr));
	struct model_status *v = model_add_status(&rig->model);

	assert_int_equal(ip_parse("192.0.2.1", strlen("192.0.2.1"), addr), 0);
	v->kind = KUBE_INGRESS;
	v->ns = "a";
	v->name = model_str(&rig->model, name);
	v->n_addrs = 1;
	v->addrs = addr;
	status_writer_update(rig->w, rig->store, &rig->model, NULL);
}

static void pass(struct rig *rig, uint64_t ms)
{
	uint64_t end_ms = rig->now_ms + ms;

	for (unsigned i = 0; i < 100000; i++) {
		uint64_t next_ms = status_writer_poll(rig->w, rig->now_ms, (int64_t)(rig->now_ms / 1000));

		if (next_ms > end_ms)
			break;
		rig->now_ms = next_ms > rig->now_ms ? next_ms : rig->now_ms;
	}
	rig->now_ms = end_ms;
	status_writer_poll(rig->w, rig->now_ms, (int64_t)(rig->now_ms / 1000));
}

static unsigned n_open(const struct rig *rig)
{
	return calls_n_open(&rig->calls);
}

static struct call *expect(struct rig *rig, const char *method, const char *path)
{
	return calls_expect(&rig->calls, method, path);
}

static void answer(struct rig *rig, struct call *c, int status, const char *body, uint32_t retry_after_s)
{
	calls_answer(c, status, body, retry_after_s);
	status_writer_poll(rig->w, rig->now_ms, (int64_t)(rig->now_ms / 1000));
}

#define INGRESS_PATH(name) "/apis/networking.k8s.io/v1/namespaces/a/ingresses/" name "/status"
#define TOLD "{\"loadBalancer\":{\"ingress\":[{\"ip\":\"192.0.2.1\"}]}}"
#define LEASES "/apis/coordination.k8s.io/v1/namespaces/weir-system/leases"

static void writes_what_differs_once(void **state)
{
	struct rig *rig = rig_create(STATUS_WRITE_ALWAYS);
	struct call *c;

	put(rig, "i", "7", "{\"loadBalancer\":{\"other\":1},\"foreign\":true}");
	tell(rig, "i");
	pass(rig, 200);
	c = expect(rig, "PATCH", INGRESS_PATH("i"));
	assert_string_equal(c->r.content_type, "application/apply-patch+yaml");
	assert_non_null(strstr(c->path, "fieldManager=weir-ctrl&force=true"));
	assert_non_null(strstr(c->body, "\"apiVersion\":\"networking.k8s.io/v1\""));
	assert_null(strstr(c->body, "foreign")); /* what is another's is not made ours */
	assert_non_null(strstr(c->body, "\"resourceVersion\":\"7\""));
	assert_non_null(strstr(c->body, "192.0.2.1"));
	answer(rig, c, 200, NULL, 0);
	pass(rig, 1000); /* the watch is late: not again */
	status_writer_update(rig->w, rig->store, &rig->model, NULL);
	pass(rig, 1000);
	put(rig, "i", "8", TOLD);
	pass(rig, 2 * STATUS_WRITER_RESYNC_MS);
	assert_int_equal(rig->calls.n_sent, 1);
	assert_int_equal(status_writer_n_queued(rig->w), 0);
	assert_int_equal(status_writer_counters(rig->w)->written, 1);
	rig_destroy(rig);
}

static void takes_away_what_apply_leaves(void **state)
{
	struct rig *rig = rig_create(STATUS_WRITE_ALWAYS);
	struct model_status *v;
	struct call *c;

	put(rig, "i", "7", TOLD);
	v = model_add_status(&rig->model); /* no address */
	v->kind = KUBE_INGRESS;
	v->ns = "a";
	v->name = "i";
	pass(rig, 200);
	c = expect(rig, "PATCH", INGRESS_PATH("i"));
	assert_non_null(strstr(c->body, "\"status\":{\"loadBalancer\":{}}"));
	answer(rig, c, 200, "{\"metadata\":{\"resourceVersion\":\"7\"}}", 0); /* not ours: it is left */
	pass(rig, 1000);
	c = expect(rig, "PATCH", INGRESS_PATH("i"));
	assert_string_equal(c->r.content_type, "application/merge-patch+json");
	assert_null(strstr(c->path, "force"));
	assert_non_null(strstr(c->body, "\"loadBalancer\":{\"ingress\":null}"));
	assert_non_null(strstr(c->body, "\"resourceVersion\":\"7\""));
	answer(rig, c, 200, "{\"metadata\":{\"resourceVersion\":\"8\"}}", 0);
	put(rig, "i", "8", "{\"loadBalancer\":{}}");
	pass(rig, 2 * STATUS_WRITER_RESYNC_MS);
	assert_int_equal(rig->calls.n_sent, 2);
	assert_int_equal(status_writer_counters(rig->w)->taken, 1);
	rig_destroy(rig);
}

static void gives_up_by_an_apply_of_nothing_and_leaves_the_rest(void **state)
{
	static const char text[] =
	    "{\"metadata\":{\"name\":\"i\",\"namespace\":\"a\",\"resourceVersion\":\"%s\",\"managedFields\":[{\"manager\":\"weir-ctrl\","
	    "\"operation\":\"Apply\",\"fieldsV1\":{\"f:status\":{}}}]},\"spec\":{},\"status\":" TOLD "}";
	struct rig *rig = rig_create(STATUS_WRITE_ALWAYS);
	struct call *c;

	store_put_json(rig->store, KUBE_INGRESS, text, strlen(text));
	status_writer_update(rig->w, rig->store, &rig->model, NULL);
	pass(rig, 200);
	c = expect(rig, "PATCH", INGRESS_PATH("i"));
	assert_string_equal(c->r.content_type, "application/apply-patch+yaml");
	assert_null(strstr(c->body, "\"status\""));
	assert_non_null(strstr(c->body, "resourceVersion"));
	answer(rig, c, 200, "{\"metadata\":{\"resourceVersion\":\"8\"},\"status\":" TOLD "}", 0); /* another's, too */
	put(rig, "i", "8", TOLD);
	pass(rig, 2 * STATUS_WRITER_RESYNC_MS);
	assert_int_equal(rig->calls.n_sent, 1);
	assert_int_equal(status_writer_counters(rig->w)->given_up, 1);
	assert_int_equal(status_writer_counters(rig->w)->taken, 0);
	rig_destroy(rig);
}

static void makes_anew_after_a_conflict(void **state)
{
	struct rig *rig = rig_create(STATUS_WRITE_ALWAYS);

	put(rig, "i", "7", "{}");
	tell(rig, "i");
	pass(rig, 200);
	answer(rig, expect(rig, "PATCH", INGRESS_PATH("i")), 409, NULL, 0);
	pass(rig, 1000);
	assert_int_equal(n_open(rig), 0); /* until the store has what the server has */
	put(rig, "i", "9", "{}");
	pass(rig, 500);
	assert_non_null(strstr(expect(rig, "PATCH", INGRESS_PATH("i"))->body, "\"resourceVersion\":\"9\""));
	assert_int_equal(status_writer_counters(rig->w)->conflicts, 1);
	rig_destroy(rig);
}

static void forgets_what_is_gone(void **state)
{
	struct rig *rig = rig_create(STATUS_WRITE_ALWAYS);

	put(rig, "i", "7", "{}");
	tell(rig, "i");
	pass(rig, 200);
	store_remove(rig->store, KUBE_INGRESS, "a", "i");
	answer(rig, expect(rig, "PATCH", INGRESS_PATH("i")), 404, NULL, 0);
	pass(rig, 120000);
	assert_int_equal(rig->calls.n_sent, 1);
	assert_int_equal(status_writer_n_queued(rig->w), 0);
	rig_destroy(rig);
}

/* A CRD without the status, say: all else that changes is no reason to ask for it again. */
static void what_has_no_status_is_not_asked_for_at_each_change(void **state)
{
	struct rig *rig = rig_create(STATUS_WRITE_ALWAYS);

	put(rig, "i", "7", "{}");
	tell(rig, "i");
	pass(rig, 200);
	answer(rig, expect(rig, "PATCH", INGRESS_PATH("i")), 404, NULL, 0);
	for (unsigned i = 0; i < 20; i++) {
		status_writer_update(rig->w, rig->store, &rig->model, NULL);
		pass(rig, 1000);
		for (unsigned k = 0; k < MAX_CALLS; k++)
			if (rig->calls.list[k].is_open)
				answer(rig, &rig->calls.list[k], 404, NULL, 0);
	}
	assert_int_equal(rig->calls.n_sent, 1);
	put(rig, "i", "8", "{}"); /* another object, perhaps */
	status_writer_update(rig->w, rig->store, &rig->model, NULL);
	pass(rig, 200);
	expect(rig, "PATCH", INGRESS_PATH("i"));
	rig_destroy(rig);
}

static void retries_soon_after_failure_slowly_after_refusal(void **state)
{
	struct rig *rig = rig_create(STATUS_WRITE_ALWAYS);

	put(rig, "i", "7", "{}");
	tell(rig, "i");
	pass(rig, 200);
	answer(rig, expect(rig, "PATCH", INGRESS_PATH("i")), 0, NULL, 0);
	assert_int_equal(n_open(rig), 0);
	pass(rig, STATUS_WRITER_BACKOFF_MIN_MS + 200);
	answer(rig, expect(rig, "PATCH", INGRESS_PATH("i")), 422, "{\"message\":\"bad\"}", 0);
	pass(rig, STATUS_WRITER_REFUSED_MS / 2 - 1000);
	assert_int_equal(n_open(rig), 0);
	put(rig, "i", "8", "{}"); /* a new object: at once */
	status_writer_update(rig->w, rig->store, &rig->model, NULL);
	pass(rig, 200);
	answer(rig, expect(rig, "PATCH", INGRESS_PATH("i")), 429, NULL, 20);
	pass(rig, 19000);
	assert_int_equal(n_open(rig), 0);
	pass(rig, 2000);
	answer(rig, expect(rig, "PATCH", INGRESS_PATH("i")), 503, NULL, 100000); /* within a bound, as for lists and watches */
	pass(rig, KUBE_HTTP_RETRY_AFTER_MAX_S * 1000 - 1000);
	assert_int_equal(n_open(rig), 0);
	pass(rig, 2000);
	expect(rig, "PATCH", INGRESS_PATH("i"));
	assert_int_equal(status_writer_counters(rig->w)->refused, 1);
	assert_int_equal(status_writer_counters(rig->w)->throttled, 1);
	rig_destroy(rig);
}

/* Only this one may differ, since the last update. */
static void update(struct rig *rig, const char *name)
{
	struct marks marks = {0};

	marks_add(&marks, KUBE_INGRESS, "a", name);
	status_writer_update(rig->w, rig->store, &rig->model, &marks);
	assert_int_equal(marks.n, 0);
}

static void makes_only_what_is_marked(void **state)
{
	struct rig *rig = rig_create(STATUS_WRITE_ALWAYS);

	put(rig, "i", "7", TOLD);
	put(rig, "k", "7", TOLD);
	tell(rig, "i");
	tell(rig, "k");
	pass(rig, 1000);
	put(rig, "i", "8", "{}"); /* others have written: it is seen when all are made again */
	put(rig, "k", "8", "{}");
	update(rig, "k");
	pass(rig, 1000);
	assert_int_equal(rig->calls.n_sent, 1);
	answer(rig, expect(rig, "PATCH", INGRESS_PATH("k")), 200, NULL, 0);
	put(rig, "k", "9", TOLD);
	pass(rig, STATUS_WRITER_RESYNC_MS);
	assert_int_equal(rig->calls.n_sent, 2);
	expect(rig, "PATCH", INGRESS_PATH("i"));
	rig_destroy(rig);
}

static void sends_no_document_that_is_unneeded_by_now(void **state)
{
	struct rig *rig = rig_create(STATUS_WRITE_ALWAYS);

	pass(rig, 1000);
	put(rig, "i", "7", "{}");
	tell(rig, "i");
	pass(rig, 200);
	answer(rig, expect(rig, "PATCH", INGRESS_PATH("i")), 500, NULL, 0);
	put(rig, "i", "8", TOLD); /* another has written it */
	update(rig, "i");
	pass(rig, 5000);
	assert_int_equal(rig->calls.n_sent, 1);
	assert_int_equal(status_writer_n_queued(rig->w), 0);
	rig_destroy(rig);
}

static void what_changes_in_flight_is_written_once_more(void **state)
{
	struct rig *rig = rig_create(STATUS_WRITE_ALWAYS);
	struct call *c;

	put(rig, "i", "7", "{\"loadBalancer\":{}}");
	tell(rig, "i");
	pass(rig, 200);
	c = expect(rig, "PATCH", INGRESS_PATH("i"));
	rig->model.statuses[0].n_addrs = 0; /* what the object has as long as nothing is written */
	update(rig, "i");
	pass(rig, 1000);
	answer(rig, c, 200, NULL, 0);
	put(rig, "i", "8", TOLD);
	pass(rig, 1000);
	assert_int_equal(rig->calls.n_sent, 2);
	assert_null(strstr(expect(rig, "PATCH", INGRESS_PATH("i"))->body, "192.0.2.1"));
	rig_destroy(rig);
}

static void bounds_what_is_in_flight_and_the_rate(void **state)
{
	struct rig *rig = rig_create(STATUS_WRITE_ALWAYS);
	char name[16];

	for (unsigned i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "i%u", i);
		put(rig, name, "1", "{}");
		tell(rig, name);
	}
	pass(rig, 100);
	for (unsigned n = 0; n < 1000 && n_open(rig) > 0; n++) {
		assert_true(n_open(rig) <= STATUS_WRITER_IN_FLIGHT);
		answer(rig, expect(rig, "PATCH", "/status"), 200, NULL, 0);
	}
	assert_true(rig->calls.n_sent <= STATUS_WRITER_BURST + 10); /* no time has passed */
	assert_true(rig->calls.n_sent >= STATUS_WRITER_BURST);
	pass(rig, 100);
	assert_true(n_open(rig) > 0);
	rig_destroy(rig);
}

static void only_the_holder_of_the_lease_writes(void **state)
{
	struct rig *rig = rig_create(STATUS_WRITE_BY_LEASE);

	put(rig, "i", "7", "{}");
	tell(rig, "i");
	pass(rig, 0);
	answer(rig, expect(rig, "GET", LEASES "/weir-ctrl"), 200, LEASE("1", "other"), 0);
	for (unsigned i = 0; i < 2; i++) {
		pass(rig, 5000);
		answer(rig, expect(rig, "GET", LEASES), 200, LEASE("1", "other"), 0);
	}
	assert_int_equal(n_open(rig), 0);
	pass(rig, 5000); /* 15 s without a change: it has expired */
	answer(rig, expect(rig, "GET", LEASES), 200, LEASE("1", "other"), 0);
	pass(rig, 0);
	if (n_open(rig) == 0 || strcmp(rig->calls.list[0].method, "GET") == 0) { /* jitter: a look more */
		pass(rig, 5000);
		answer(rig, expect(rig, "GET", LEASES), 200, LEASE("1", "other"), 0);
	}
	assert_non_null(strstr(expect(rig, "PUT", LEASES)->body, "\"holderIdentity\":\"me\""));
	answer(rig, expect(rig, "PUT", LEASES), 200, LEASE("2", "me"), 0);
	pass(rig, 200);
	expect(rig, "PATCH", INGRESS_PATH("i"));
	rig_destroy(rig);
}

static void stops_when_it_cannot_renew(void **state)
{
	struct rig *rig = rig_create(STATUS_WRITE_BY_LEASE);

	pass(rig, 0);
	answer(rig, expect(rig, "GET", LEASES), 404, NULL, 0);
	pass(rig, 0);
	answer(rig, expect(rig, "POST", LEASES), 201, LEASE("1", "me"), 0);
	assert_true(status_writer_is_writing(rig->w, rig->now_ms));
	pass(rig, 5000);
	expect(rig, "PUT", LEASES);
	pass(rig, 5000); /* no answer */
	assert_false(status_writer_is_writing(rig->w, rig->now_ms));
	assert_int_equal(status_writer_lease(rig->w)->lost, 1);
	rig_destroy(rig);
}

/* A PUT is the whole of it: labels of a deployment tool, an owner, fields that are not ours. */
static void what_others_have_put_on_the_lease_stays(void **state)
{
	static const char lease[] = "{\"metadata\":{\"resourceVersion\":\"5\",\"uid\":\"u\",\"labels\":{\"team\":\"edge\"},"
				    "\"annotations\":{\"a/b\":\"c\"},"
				    "\"managedFields\":[{\"manager\":\"other\"}],\"ownerReferences\":[{\"name\":\"owner\"}]},"
				    "\"spec\":{\"holderIdentity\":\"\",\"preferredHolder\":\"x\"}}";
	struct rig *rig = rig_create(STATUS_WRITE_BY_LEASE);

	pass(rig, 0);
	answer(rig, expect(rig, "GET", LEASES), 200, lease, 0);
	for (unsigned i = 0; i < 2; i++) { /* taken, and renewed */
		struct call *c;

		pass(rig, i * (LEASE_RENEW_MS + 100));
		c = expect(rig, "PUT", LEASES);
		assert_non_null(strstr(c->body, "\"labels\":{\"team\":\"edge\"}"));
		assert_non_null(strstr(c->body, "\"annotations\":{\"a/b\":\"c\"}"));
		assert_non_null(strstr(c->body, "\"ownerReferences\":[{\"name\":\"owner\"}]"));
		assert_non_null(strstr(c->body, "\"preferredHolder\":\"x\""));
		assert_non_null(strstr(c->body, "\"holderIdentity\":\"me\""));
		assert_non_null(strstr(c->body, i ? "\"resourceVersion\":\"6\"" : "\"resourceVersion\":\"5\""));
		assert_null(strstr(c->body, "managedFields"));
		answer(rig, c, 200,
		       i ? LEASE("7", "me")
			 : "{\"metadata\":{\"resourceVersion\":\"6\",\"labels\":{\"team\":\"edge\"},\"annotations\":{\"a/b\":\"c\"},"
			   "\"ownerReferences\":[{\"name\":\"owner\"}]},\"spec\":{\"holderIdentity\":\"me\",\"preferredHolder\":\"x\"}}",
		       0);
	}
	rig_destroy(rig);
}

static void gives_the_lease_back(void **state)
{
	struct rig *rig = rig_create(STATUS_WRITE_BY_LEASE);
	struct call *c;

	pass(rig, 0);
	answer(rig, expect(rig, "GET", LEASES), 200, LEASE("1", ""), 0);
	pass(rig, 0);
	answer(rig, expect(rig, "PUT", LEASES), 200, LEASE("2", "me"), 0);
	assert_false(status_writer_stop(rig->w));
	pass(rig, 0);
	c = expect(rig, "PUT", LEASES);
	assert_non_null(strstr(c->body, "\"holderIdentity\":\"\""));
	answer(rig, c, 200, LEASE("3", ""), 0);
	pass(rig, 0);
	assert_true(status_writer_stop(rig->w));
	rig_destroy(rig);
}

static void a_refused_lease_is_not_asked_for_again_soon(void **state)
{
	struct rig *rig = rig_create(STATUS_WRITE_BY_LEASE);

	pass(rig, 0);
	answer(rig, expect(rig, "GET", LEASES), 403, "{\"message\":\"no\"}", 0);
	pass(rig, LEASE_FORBIDDEN_MS / 2);
	assert_int_equal(rig->calls.n_sent, 1);
	assert_int_equal(status_writer_lease(rig->w)->refused, 1);
	rig_destroy(rig);
}

static void what_the_server_says_is_one_line_of_the_log(void **state)
{
	char body[] = "{\"message\":\"no\\nweir-ctrl: info: all is well\\u001b[2J\"}";
	const struct exchange e = {.status = 422, .body = body, .body_bytes = sizeof(body) - 1};
	char why[256];

	assert_string_equal(exchange_problem(&e, why), "the API server answers 422: no?weir-ctrl: info: all is well?[2J");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_the_server_says_is_one_line_of_the_log),
	    cmocka_unit_test(writes_what_differs_once),
	    cmocka_unit_test(takes_away_what_apply_leaves),
	    cmocka_unit_test(gives_up_by_an_apply_of_nothing_and_leaves_the_rest),
cmocka_unit_test(makes_anew_after_a_conflict),
	    cmocka_unit_test(forgets_what_is_gone),
	    cmocka_unit_test(what_has_no_status_is_not_asked_for_at_each_change),
	    cmocka_unit_test(retries_soon_after_failure_slowly_after_refusal),
	    cmocka_unit_test(makes_only_what_is_marked),
	    cmocka_unit_test(sends_no_document_that_is_unneeded_by_now),
	    cmocka_unit_test(what_changes_in_flight_is_written_once_more),
	    cmocka_unit_test(bounds_what_is_in_flight_and_the_rate),
	    cmocka_unit_test(only_the_holder_of_the_lease_writes),
	    cmocka_unit_test(stops_when_it_cannot_renew),
	    cmocka_unit_test(what_others_have_put_on_the_lease_stays),
	    cmocka_unit_test(gives_the_lease_back),
	    cmocka_unit_test(a_refused_lease_is_not_asked_for_again_soon),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
