/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a status, when it differs, and when a condition's time changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/ip.h"
#include "status/status.h"
#include "status/status_pvt.h"

#define OURS "weir.dev/ingress-controller"
#define INGRESS "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: i, namespace: a}\n"
#define ROUTE(generation) \
	"apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r, namespace: a, generation: " generation "}\n" \
	"spec: {parentRefs: [{name: gw}]}\n"
#define PRESENT(generation) \
	ROUTE(generation) \
	"status:\n  parents:\n  - controllerName: " OURS "\n    parentRef: {name: gw}\n    conditions:\n" \
	"    - {type: Accepted, status: \"False\", reason: Old, message: old, observedGeneration: 1," \
	" lastTransitionTime: \"2025-05-05T05:05:05Z\"}\n"

/* The last document, and how many there were. */
struct seen {
	char *json;
	bool differs, is_given_up;
	unsigned n;
};

static void see(void *ctx, const struct status_document *d)
{
	struct seen *s = ctx;

	free(s->json);
	s->json = strdup(d->json);
	s->differs = d->differs;
	s->is_given_up = d->is_given_up;
	s->n++;
}

static struct seen make(const char *objects, struct model *m, int64_t now_s)
{
	struct store *s = store_create();
	struct seen seen = {0};

	store_load_yaml(s, "x.yaml", objects, strlen(objects));
	status_make(s, m, &(struct status_options){.controller_name = OURS, .now_s = now_s, .wants_all = true}, see, &seen);
	store_destroy(s);
	return seen;
}

static void model_with_ingress(struct model *m)
{
	struct weir_ip *addr;
	struct model_status *v;

	model_init(m);
	addr = model_alloc(m, sizeof(*addr));
	assert_int_equal(ip_parse("192.0.2.1", 9, addr), 0);
	v = model_add_status(m);
	*v = (struct model_status){.kind = KUBE_INGRESS, .ns = "a", .name = "i", .n_addrs = 1, .addrs = addr};
}

static void model_with_route(struct model *m, const char *reason, const char *message)
{
	struct model_parent *p;
	struct model_status *v;

	model_init(m);
	p = model_alloc(m, sizeof(*p));
	p->name = "gw";
	p->conditions = (struct model_conditions){1, {{"Accepted", "False", reason, message}}};
	v = model_add_status(m);
	*v = (struct model_status){
	    .kind = KUBE_HTTP_ROUTE, .ns = "a", .name = "r", .n_parents = 1, .parents = p};
}

static void document_has_sorted_keys_and_no_blanks(void **state)
{
	struct model m;
	struct seen s;

	(void)state;
	model_with_route(&m, "NoMatchingParent", "why \"not\"");
	s = make(ROUTE("3"), &m, 1767225600);
	assert_string_equal(
	    s.json, "{\"parents\":[{\"conditions\":[{\"lastTransitionTime\":\"2026-01-01T00:00:00Z\",\"message\":\"why \\\"not\\\"\","
		    "\"observedGeneration\":3,\"reason\":\"NoMatchingParent\",\"status\":\"False\",\"type\":\"Accepted\"}],"
		    "\"controllerName\":\"" OURS "\",\"parentRef\":{\"name\":\"gw\"}}]}");
	assert_true(s.differs);
	free(s.json);
	model_fini(&m);
}

static void order_of_keys_is_no_difference(void **state)
{
	struct model m;
	struct seen s;

	(void)state;
	model_with_ingress(&m);
	s = make(INGRESS "status: {loadBalancer: {ingress: [{ip: 192.0.2.1}]}}\n", &m, 0);
	assert_false(s.differs);
	free(s.json);
	s = make(INGRESS "status: {loadBalancer: {ingress: [{ip: 192.0.2.2}]}}\n", &m, 0);
	assert_true(s.differs);
	assert_string_equal(s.json, "{\"loadBalancer\":{\"ingress\":[{\"ip\":\"192.0.2.1\"}]}}");
	free(s.json);
	model_fini(&m);
}

static const char *time_after(const char *reason, const char *message, bool is_newer, char *out)
{
	struct model m;
	struct seen s;

	model_with_route(&m, reason, message);
	s = make(is_newer ? PRESENT("2") : PRESENT("1"), &m, 1767225600);
	assert_int_equal(s.n, 1);
	snprintf(out, 21, "%s", strstr(s.json, "lastTransitionTime") + strlen("lastTransitionTime\":\""));
	free(s.json);
	model_fini(&m);
	return out;
}

static void time_changes_with_the_reason_alone(void **state)
{
	char at[21];

	(void)state;
	assert_string_equal(time_after("Old", "another message", false, at), "2025-05-05T05:05:05Z");
	assert_string_equal(time_after("Old", "old", true, at), "2025-05-05T05:05:05Z");
	assert_string_equal(time_after("New", "old", false, at), "2026-01-01T00:00:00Z");
}

static void object_that_is_gone_has_no_document(void **state)
{
	struct model m;

	(void)state;
	model_with_ingress(&m);
	assert_int_equal(make("", &m, 0).n, 0);
	model_fini(&m);
}

static void text_that_was_cut_within_a_character_is_still_utf8(void **state)
{
	json_t *j = json_of_text("caf\xc3");

	(void)state;
	assert_string_equal(json_string_value(j), "caf?");
	json_decref(j);
	j = json_of_text("caf\xc3\xa9");
	assert_string_equal(json_string_value(j), "caf\xc3\xa9");
	json_decref(j);
}

/* Of the API's 32 entries none of others' is lost. */
static void full_list_of_parents_takes_no_more(void **state)
{
	char text[8192] = ROUTE("1") "status:\n  parents:\n";
	struct model m;
	struct seen s;

	(void)state;
	for (unsigned i = 0; i < 32; i++)
		snprintf(text + strlen(text), 128, "  - {controllerName: example.net/other, parentRef: {name: x%u}}\n", i);
	model_with_route(&m, "NoMatchingParent", "why");
	s = make(text, &m, 0);
	assert_false(s.differs);
	free(s.json);
	model_fini(&m);
}

#define WRITTEN_BY(manager, operation, fields) \
	"apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: %s\n  namespace: a\n  managedFields:\n" \
	"  - {manager: " manager ", operation: " operation ", fieldsV1: {" fields "}}\n" \
	"status: {loadBalancer: {ingress: [{ip: 192.0.2.1}]}}\n---\n"
#define STATUS "\"f:status\": {\"f:loadBalancer\": {\"f:ingress\": {}}}"

/* Whose an address is, only managedFields tells: the same one may be another controller's. */
static void what_is_ours_no_more_is_given_up_if_we_wrote_it(void **state)
{
	static const struct {
		const char *text, *name;
		bool is_given_up;
	} cases[] = {{WRITTEN_BY("weir-ctrl", "Apply", STATUS), "h", true},
		     {WRITTEN_BY("weir-ctrl", "Apply", STATUS), "j", true},
		     {WRITTEN_BY("weir-ctrl", "Apply", STATUS), "i", false}, /* there is a verdict */
		     {WRITTEN_BY("weir-ctrl", "Update", STATUS), "h", false},
		     {WRITTEN_BY("another", "Apply", STATUS), "h", false},
		     {WRITTEN_BY("weir-ctrl", "Apply", "\"f:spec\": {}"), "h", false},
		     {WRITTEN_BY("[]", "{}", ""), "h", false}};
	struct model m;

	(void)state;
	model_with_ingress(&m);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char text[1024];
		struct seen s;

		snprintf(text, sizeof(text), cases[i].text, cases[i].name);
		s = make(text, &m, 0);
		assert_int_equal(s.n, cases[i].is_given_up || cases[i].name[0] == 'i');
		assert_int_equal(s.is_given_up, cases[i].is_given_up);
		assert_int_equal(s.differs, cases[i].is_given_up);
		free(s.json);
	}
	model_fini(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(document_has_sorted_keys_and_no_blanks),
		cmocka_unit_test(order_of_keys_is_no_difference),
		cmocka_unit_test(time_changes_with_the_reason_alone),
		cmocka_unit_test(object_that_is_gone_has_no_document),
		cmocka_unit_test(text_that_was_cut_within_a_character_is_still_utf8),
		cmocka_unit_test(full_list_of_parents_takes_no_more),
		cmocka_unit_test(what_is_ours_no_more_is_given_up_if_we_wrote_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
