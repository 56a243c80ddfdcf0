/* SPDX-License-Identifier: Apache-2.0 */
/* Budgets of namespaces: who gives way, who does not, and that nothing but the objects decides it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "translate/compile.h"
#include "translate/translator.h"

#define META \
	"{\"metadata\":{\"namespace\":\"%s\",\"name\":\"%s\",\"creationTimestamp\":\"2026-01-01T00:00:%02uZ\"},"

/* Three rules of /N-0 to /N-2 for each name: some 900 bytes. */
#define ROUTE_BYTES 900u

static struct translate_options options = {.controller_name = TRANSLATE_CONTROLLER};

static void put(struct store *s, enum kube_kind kind, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void put(struct store *s, enum kube_kind kind, const char *fmt, ...)
{
	char text[4096];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	assert_true(store_put_json(s, kind, text, (size_t)n) != 0);
}

static void put_base(struct store *s)
{
	put(s, KUBE_GATEWAY_CLASS, "{\"metadata\":{\"name\":\"weir\"},\"spec\":{\"controllerName\":\"" TRANSLATE_CONTROLLER "\"}}");
	put(s, KUBE_GATEWAY,
	    "{\"metadata\":{\"namespace\":\"infra\",\"name\":\"g\"},\"spec\":{\"gatewayClassName\":\"weir\","
	    "\"listeners\":[{\"name\":\"l\",\"port\":80,\"protocol\":\"HTTP\",\"allowedRoutes\":{\"namespaces\":{\"from\":\"All\"}}}]}}");
}

static void put_stream_listener(struct store *s)
{
	put(s, KUBE_GATEWAY,
	    "{\"metadata\":{\"namespace\":\"infra\",\"name\":\"streams\"},\"spec\":{\"gatewayClassName\":\"weir\",\"listeners\":["
	    "{\"name\":\"l\",\"port\":443,\"protocol\":\"TLS\",\"tls\":{\"mode\":\"Passthrough\"},"
	    "\"allowedRoutes\":{\"namespaces\":{\"from\":\"All\"}}}]}}");
}

/* Three names: about as much as a route of put_route(). */
static void put_stream(struct store *s, const char *ns, const char *name, unsigned age)
{
	put(s, KUBE_TLS_ROUTE,
	    META "\"spec\":{\"parentRefs\":[{\"namespace\":\"infra\",\"name\":\"streams\"}],"
	    "\"hostnames\":[\"a.%s.test\",\"b.%s.test\",\"c.%s.test\"],\"rules\":[{\"backendRefs\":[]}]}}",
	    ns, name, 59 - age, name, name, name);
}

/* The larger the age, the older. */
static void put_route(struct store *s, const char *ns, const char *name, unsigned age)
{
	put(s, KUBE_HTTP_ROUTE,
	    META "\"spec\":{\"parentRefs\":["
	    "{\"namespace\":\"infra\",\"name\":\"g\"}],\"hostnames\":[\"%s.%s.test\"],\"rules\":[{\"matches\":[{\"path\":{\"value\":\"/0\"}},"
	    "{\"path\":{\"value\":\"/1\"}},{\"path\":{\"value\":\"/2\"}}]}]}}",
	    ns, name, 59 - age, name, ns);
}

static void put_ingress(struct store *s, const char *ns, const char *name, const char *host, unsigned age)
{
	put(s, KUBE_INGRESS,
	    META "\"spec\":{\"rules\":[{"
	    "\"host\":\"%s\",\"http\":{\"paths\":[{\"path\":\"/\",\"pathType\":\"Prefix\",\"backend\":{\"service\":{\"name\":\"web\","
	    "\"port\":{\"number\":80}}}}]}}]}}",
	    ns, name, 59 - age, host);
}

static size_t matches_of(const struct model *m, const char *ns, const char *name)
{
	size_t n = 0;

	for (size_t i = 0; i < m->n_matches; i++)
		n += strcmp(m->matches[i].ns, ns) == 0 && (!name || strcmp(m->matches[i].name, name) == 0);
	return n;
}

static const struct model_condition *accepted(const struct model *m, const char *ns, const char *name)
{
	for (size_t i = 0; i < m->n_statuses; i++)
		if (m->statuses[i].n_parents > 0 && strcmp(m->statuses[i].ns, ns) == 0 && strcmp(m->statuses[i].name, name) == 0)
			return &m->statuses[i].parents[0].conditions.c[0];
	fail_msg("%s/%s has no status", ns, name);
	return NULL;
}

static unsigned problems_of(const struct model *m, const char *ns, const char *name, const char *reason)
{
	unsigned n = 0;

	for (size_t i = 0; i < m->n_problems; i++)
		n += strcmp(m->problems[i].ns, ns) == 0 && strcmp(m->problems[i].name, name) == 0 &&
		     strcmp(m->problems[i].reason, reason) == 0 && m->problems[i].is_fatal;
	return n;
}

static void is_served(const struct model *m, const char *ns, const char *name)
{
	assert_int_equal(matches_of(m, ns, name), 3);
	assert_string_equal(accepted(m, ns, name)->status, "True");
	assert_int_equal(problems_of(m, ns, name, "BudgetExceeded"), 0);
}

static void is_refused(const struct model *m, const char *ns, const char *name)
{
	assert_int_equal(matches_of(m, ns, name), 0);
	assert_string_equal(accepted(m, ns, name)->status, "False");
	assert_string_equal(accepted(m, ns, name)->reason, "BudgetExceeded");
	assert_int_equal(problems_of(m, ns, name, "BudgetExceeded"), 1);
}

static uint32_t n_attached(const struct model *m)
{
	for (size_t i = 0; i < m->n_statuses; i++)
		if (m->statuses[i].kind == KUBE_GATEWAY)
			return m->statuses[i].sections[0].n_routes;
	return UINT32_MAX;
}

static void youngest_routes_of_a_namespace_give_way(void **state)
{
	struct store *s = store_create();
	struct model m;

	options.namespace_bytes = 2 * ROUTE_BYTES + ROUTE_BYTES / 2;
	options.total_bytes = 0;
	put_base(s);
	put_route(s, "greedy", "a", 1);
	put_route(s, "greedy", "b", 3);
	put_route(s, "greedy", "c", 2);
	put_route(s, "greedy", "d", 1);
	put_route(s, "modest", "young", 0);
	model_init(&m);
	translate(s, &options, &m);
	is_served(&m, "greedy", "b");
	is_served(&m, "greedy", "c");
	is_refused(&m, "greedy", "a");
	is_refused(&m, "greedy", "d");
	is_served(&m, "modest", "young");
	assert_int_equal(n_attached(&m), 3);
	model_fini(&m);
	store_destroy(s);
}

static void streams_have_a_part_of_the_same_share(void **state)
{
	struct store *s = store_create();
	struct model m;

	options.namespace_bytes = 3 * ROUTE_BYTES + ROUTE_BYTES / 4; /* theirs are somewhat larger: each has a share for nobody */
	options.total_bytes = 0;
	put_base(s);
	put_stream_listener(s);
	put_stream(s, "greedy", "a", 3);
	put_route(s, "greedy", "b", 2);
	put_stream(s, "greedy", "c", 1);
	put_stream(s, "modest", "young", 0);
	model_init(&m);
	translate(s, &options, &m);
	is_served(&m, "greedy", "a");
	is_served(&m, "greedy", "b");
	is_refused(&m, "greedy", "c");
	is_served(&m, "modest", "young");
	model_fini(&m);
	store_destroy(s);
}

static void those_of_one_age_go_by_name(void **state)
{
	static const char *const orders[][3] = {{"a", "b", "c"}, {"c", "b", "a"}, {"b", "c", "a"}};

	options.namespace_bytes = ROUTE_BYTES + ROUTE_BYTES / 2;
	options.total_bytes = 0;
	for (unsigned i = 0; i < 3; i++) {
		struct store *s = store_create();
		struct translator *tr = translator_create(s, &options);
		struct translator_changes c;
		size_t n;

		store_keep_journal(s);
		put_base(s);
		for (unsigned k = 0; k < 3; k++) {
			const struct store_change *journal;

			put_route(s, "greedy", orders[i][k], 5);
			journal = store_journal(s, &n);
			translator_run(tr, journal, n, &c);
			store_clear_journal(s);
		}
		is_served(translator_model(tr), "greedy", "a");
		is_refused(translator_model(tr), "greedy", "b");
		is_refused(translator_model(tr), "greedy", "c");
		translator_destroy(tr);
		store_destroy(s);
	}
}

static void room_that_is_left_serves_the_refused_again(void **state)
{
	struct store *s = store_create();
	struct translator *tr = translator_create(s, &options);
	const struct model *m = translator_model(tr);
	const struct store_change *journal;
	struct translator_changes c;
	struct translator_budget b;
	size_t n;

	options.namespace_bytes = ROUTE_BYTES + ROUTE_BYTES / 2;
	options.total_bytes = 0;
	store_keep_journal(s);
	put_base(s);
	put_route(s, "greedy", "a", 2);
	put_route(s, "greedy", "b", 1);
	translator_run(tr, NULL, 0, &c);
	store_clear_journal(s);
	is_refused(m, "greedy", "b");
	translator_budget(tr, &b);
	assert_int_equal(b.n_over_share, 1);
	store_remove(s, KUBE_HTTP_ROUTE, "greedy", "a");
	journal = store_journal(s, &n);
	translator_run(tr, journal, n, &c);
	store_clear_journal(s);
	assert_true(c.routes && c.statuses && c.problems);
	is_served(m, "greedy", "b");
	translator_budget(tr, &b);
	assert_int_equal(b.n_over_share, 0);
	translator_destroy(tr);
	store_destroy(s);
}

/* Whoever has less than the level at which all fit sees nothing of it. */
static void largest_namespaces_give_way_when_all_are_too_much(void **state)
{
	static const struct store_change none;
	struct store *s = store_create();
	struct translator *tr = translator_create(s, &options);
	const struct model *m = translator_model(tr);
	struct translator_changes c;
	struct translator_budget b;
	char name[8];

	options.namespace_bytes = 0;
	options.total_bytes = 12 * ROUTE_BYTES;
	put_base(s);
	put_route(s, "modest", "young", 0);
	for (unsigned i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "r%02u", i);
		put_route(s, "large", name, 30 - i);
		if (i < 8)
			put_route(s, "larger", name, 30 - i);
	}
	translator_run(tr, NULL, 0, &c);
	is_served(m, "modest", "young");
	assert_true(matches_of(m, "large", NULL) >= 4 * 3 && matches_of(m, "large", NULL) <= 6 * 3);
	assert_in_range(matches_of(m, "larger", NULL), matches_of(m, "large", NULL) - 3, matches_of(m, "large", NULL) + 3);
	is_served(m, "large", "r00");
	is_served(m, "larger", "r00");
	is_refused(m, "large", "r19");
	is_refused(m, "larger", "r07");
	options.total_bytes = 0; /* more room */
	translator_run(tr, &none, 0, &c);
	assert_int_equal(matches_of(m, "large", NULL), 20 * 3);
	assert_int_equal(matches_of(m, "larger", NULL), 8 * 3);
	translator_budget(tr, &b);
	assert_int_equal(b.n_over_total, 0);
	translator_destroy(tr);
	store_destroy(s);
}

/* What a refused Ingress claims is free for others. */
static void refused_ingress_holds_no_path(void **state)
{
	struct store *s = store_create();
	struct model m;

	options.namespace_bytes = 900; /* of one, with its place on port 443 */
	options.total_bytes = 0;
	put_ingress(s, "greedy", "a", "a.test", 9);
	put_ingress(s, "greedy", "b", "b.test", 8);
	put_ingress(s, "modest", "c", "b.test", 1);
	model_init(&m);
	translate(s, &options, &m);
	assert_int_equal(matches_of(&m, "greedy", "a"), 1);
	assert_int_equal(matches_of(&m, "greedy", "b"), 0);
	assert_int_equal(problems_of(&m, "greedy", "b", "BudgetExceeded"), 1);
	assert_int_equal(matches_of(&m, "modest", "c"), 1);
	assert_int_equal(problems_of(&m, "modest", "c", "PathConflict"), 0);
	model_fini(&m);
	store_destroy(s);
}

/* Nobody takes a path by claiming it later, and who tries is told by whom it is held. */
static void path_of_two_namespaces_is_that_of_the_older_one(void **state)
{
	struct store *s = store_create();
	struct model m;

	options.namespace_bytes = options.total_bytes = 0;
	put_ingress(s, "a", "young", "shop.test", 1);
	put_ingress(s, "b", "old", "shop.test", 2);
	model_init(&m);
	translate(s, &options, &m);
	assert_int_equal(problems_of(&m, "a", "young", "PathConflict"), 1);
	assert_int_equal(problems_of(&m, "b", "old", "PathConflict"), 0);
	for (size_t i = 0; i < m.n_problems; i++)
		if (strcmp(m.problems[i].reason, "PathConflict") == 0)
			assert_non_null(strstr(m.problems[i].text, "Ingress b/old has this host and path and is older"));
	model_fini(&m);
	store_destroy(s);
}

static void put_wide_gateway(struct store *s, const char *ns, const char *name, unsigned age, unsigned n)
{
	char list[3500] = "";
	size_t len = 0;

	for (unsigned i = 0; i < n; i++)
		len += (size_t)snprintf(list + len, sizeof(list) - len, "%s{\"name\":\"l%u\",\"port\":%u,\"protocol\":\"HTTP\"}",
					i ? "," : "", i, 1000 + 100 * age + i);
	put(s, KUBE_GATEWAY,
	    META "\"spec\":{"
	    "\"gatewayClassName\":\"weir\",\"listeners\":[%s]}}",
	    ns, name, 59 - age, list);
}

static size_t listeners_of(const struct model *m, const char *gateway)
{
	size_t n = 0;

	for (size_t i = 0; i < m->n_listeners; i++)
		n += strstr(m->listeners[i].name, gateway) != NULL;
	return n;
}

static void listeners_of_older_gateways_come_first(void **state)
{
	struct store *s = store_create();
	struct model m;

	options.namespace_bytes = 4 * 50 * 256;
	options.total_bytes = 0;
	put_base(s);
	put_wide_gateway(s, "greedy", "a-young", 1, 40);
	put_wide_gateway(s, "greedy", "b-old", 9, 40);
	put_route(s, "greedy", "r", 1);
	model_init(&m);
	translate(s, &options, &m);
	assert_int_equal(listeners_of(&m, "greedy/b-old "), 40);
	assert_in_range(listeners_of(&m, "greedy/a-young "), 5, 30);
	assert_int_equal(problems_of(&m, "greedy", "a-young", "BudgetExceeded"), 40 - listeners_of(&m, "greedy/a-young "));
	assert_int_equal(listeners_of(&m, "infra/g "), 1);
	is_served(&m, "greedy", "r"); /* three quarters are for routes */
	model_fini(&m);
	store_destroy(s);
}

/* What is reckoned of routes is never less than what the snapshot has of them. */
static void nothing_takes_more_than_is_reckoned(void **state)
{
	struct store *s = store_create();
	struct translator *tr = translator_create(s, &options);
	struct translator_changes c;
	struct translator_budget b;
	size_t n[2];
	char name[8];
	void *blob;

	options.namespace_bytes = options.total_bytes = 0;
	put_base(s);
	for (unsigned k = 0; k < 2; k++) {
		for (unsigned i = 0; k == 1 && i < 1000; i++) {
			snprintf(name, sizeof(name), "r%03u", i);
			put_route(s, "large", name, 30);
			put_ingress(s, "large", name, name, 30);
		}
		translator_run(tr, NULL, 0, &c);
		assert_int_equal(compile_snapshot(translator_model(tr), 1, &blob, &n[k]), 0);
		free(blob);
	}
	translator_budget(tr, &b);
	assert_true(n[1] - n[0] <= b.wanted_bytes);
	assert_true(b.wanted_bytes <= 3 * (n[1] - n[0]));
	translator_destroy(tr);
	store_destroy(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(youngest_routes_of_a_namespace_give_way),
	    cmocka_unit_test(streams_have_a_part_of_the_same_share),
	    cmocka_unit_test(those_of_one_age_go_by_name),
	    cmocka_unit_test(room_that_is_left_serves_the_refused_again),
	    cmocka_unit_test(largest_namespaces_give_way_when_all_are_too_much),
	    cmocka_unit_test(refused_ingress_holds_no_path),
	    cmocka_unit_test(path_of_two_namespaces_is_that_of_the_older_one),
	    cmocka_unit_test(listeners_of_older_gateways_come_first),
	    cmocka_unit_test(nothing_takes_more_than_is_reckoned),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
