/* SPDX-License-Identifier: Apache-2.0 */
/* What golden files cannot say: order, the short path of endpoints, options, and cost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "snapshot/snapshot.h"
#include "translate/compile.h"
#include "translate/translator.h"

#define INGRESS \
	"apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: %s}\nspec:\n  rules:\n  - host: %s.test\n" \
	"    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}\n---\n"
#define SERVICE "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{name: http, port: 80}]}\n---\n"
#define ENDPOINTS \
	"apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n" \
	"metadata: {name: web-%s, labels: {kubernetes.io/service-name: web}}\naddressType: IPv4\n" \
	"ports: [{name: http, port: 8080}]\nendpoints: [{addresses: [%s]}]\n---\n"

#define CLASS \
	"apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: weir, annotations: %s}\nspec: {controller: %s}\n"

static const struct translate_options ours = {.controller_name = TRANSLATE_CONTROLLER};

static void load(struct store *s, const char *file, const char *fmt, ...)
{
	char *text;
	va_list ap;

	va_start(ap, fmt);
	assert_true(vasprintf(&text, fmt, ap) >= 0);
	va_end(ap);
	store_load_yaml(s, file, text, strlen(text));
	free(text);
}

static void translate_to(struct model *m, const struct store *s)
{
	model_init(m);
	translate(s, &ours, m);
}

/* Everything that compile would see, as text. */
static char *text_of(const struct model *m)
{
	char *text;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	for (size_t i = 0; i < m->n_matches; i++)
		fprintf(f, "%zu %u %s %s %s/%s %d\n", i, m->matches[i].listener, m->matches[i].host, m->matches[i].path,
			m->matches[i].ns, m->matches[i].name,
			m->matches[i].splits ? m->matches[i].splits[0].backend : -2);
	for (size_t i = 0; i < m->n_backends; i++) {
		fprintf(f, "%s", m->backends[i].name);
		for (size_t j = 0; j < m->backends[i].n_endpoints; j++)
			fprintf(f, " %u:%u", m->backends[i].endpoints[j].addr.b[15], m->backends[i].endpoints[j].port);
	}
	for (size_t i = 0; i < m->n_problems; i++)
		fprintf(f, "%s %s %s\n", m->problems[i].name, m->problems[i].field, m->problems[i].reason);
	fclose(f);
	return text;
}

static void same_objects_in_any_order_give_the_same_model(void **state)
{
	char *want = NULL;

	for (unsigned turn = 0; turn < 24; turn++) {
		struct store *s = store_create();
		struct model m;
		char *text;

		for (unsigned i = 0; i < 4; i++) /* files come, and are named, in another order each time */
			switch ((i * (turn % 2 ? 1 : 3) + turn / 2) % 4) {
			case 0:
				load(s, turn % 3 ? "1" : "9", INGRESS INGRESS, "b", "b", "a", "a");
				break;
			case 1:
				load(s, turn % 5 ? "2" : "8", INGRESS, "c", "UPPER");
				break;
			case 2:
				load(s, "3", SERVICE);
				break;
			default:
				load(s, "4", ENDPOINTS ENDPOINTS, "y", "10.0.0.2", "x", "10.0.0.1");
			}
		translate_to(&m, s);
		text = text_of(&m);
		if (want)
			assert_string_equal(text, want);
		else
			want = strdup(text);
		free(text);
		model_fini(&m);
		store_destroy(s);
	}
	assert_non_null(strstr(want, "default/web:80 1:8080 2:8080"));
	assert_non_null(strstr(want, "InvalidHostname"));
	free(want);
}

/* A translator that has followed a store so far. */
struct follower {
	struct store *s;
	struct translator *tr;
	struct model *m;
	struct translator_changes c;
};

static void follow(struct follower *f)
{
	size_t n;
	const struct store_change *journal = store_journal(f->s, &n);

	translator_run(f->tr, journal, n, &f->c);
	store_clear_journal(f->s);
}

static struct follower follower_of(struct store *s)
{
	struct follower f = {.s = s, .tr = translator_create(s, &ours)};

	store_keep_journal(s);
	f.m = translator_model(f.tr);
	follow(&f);
	return f;
}

static void follower_fini(struct follower *f)
{
	translator_destroy(f->tr);
	store_destroy(f->s);
}

static void endpoints_alone_follow_their_slices(void **state)
{
	struct store *s = store_create();
	struct follower f;

	load(s, "r", INGRESS SERVICE, "a", "a");
	f = follower_of(s);
	assert_int_equal(f.m->backends[0].n_endpoints, 0);
	assert_true(f.c.routes);
	assert_int_equal(f.c.n_backends, 1); /* it is new */
	load(s, "e", ENDPOINTS ENDPOINTS, "1", "10.0.0.1", "2", "10.0.0.2");
	follow(&f);
	assert_int_equal(f.c.n_backends, 1);
	assert_int_equal(f.c.backends[0], 0);
	assert_false(f.c.routes || f.c.statuses || f.c.problems);
	assert_int_equal(f.m->backends[0].n_endpoints, 2);
	load(s, "e", ENDPOINTS ENDPOINTS, "1", "10.0.0.1", "2", "10.0.0.2");
	follow(&f);
	assert_int_equal(f.c.n_backends, 0);
	load(s, "e", ENDPOINTS ENDPOINTS, "1", "10.0.0.1", "2", "10.0.0.1"); /* twins are one */
	follow(&f);
	assert_int_equal(f.c.n_backends, 1);
	assert_int_equal(f.m->backends[0].n_endpoints, 1);
	store_forget_file(s, "e");
	follow(&f);
	assert_int_equal(f.c.n_backends, 1);
	assert_int_equal(f.m->backends[0].n_endpoints, 0);
	assert_false(f.c.routes);
	follower_fini(&f);
}

static void bad_slice_is_named_as_long_as_it_is_bad(void **state)
{
	struct store *s = store_create();
	struct follower f;

	load(s, "r", INGRESS SERVICE, "a", "UPPER"); /* a problem that is none of the slice's */
	load(s, "r2", INGRESS, "b", "b");
	f = follower_of(s);
	assert_int_equal(f.m->n_problems, 1);
	for (unsigned i = 0; i < 3; i++) {
		load(s, "e", ENDPOINTS ENDPOINTS, "1", "127.0.0.1", "2", "10.0.0.2");
		follow(&f);
		assert_true(f.c.problems);
		assert_int_equal(f.m->n_problems, 2);
		assert_string_equal(f.m->problems[0].reason, "InvalidHostname");
		assert_string_equal(f.m->problems[1].reason, "InvalidAddress");
		assert_int_equal(f.m->backends[0].n_endpoints, 1);
	}
	load(s, "e", ENDPOINTS, "1", "10.0.0.1");
	follow(&f);
	assert_int_equal(f.m->n_problems, 1);
	follower_fini(&f);
}

static void ingress_without_class_follows_the_options(void **state)
{
	struct store *s = store_create();
	struct translate_options o = ours;
	struct model m;

	load(s, "r", INGRESS SERVICE, "a", "a");
	translate_to(&m, s);
	assert_int_equal(m.n_matches, 1);
	model_fini(&m);
	o.needs_class = true;
	model_init(&m);
	translate(s, &o, &m);
	assert_int_equal(m.n_matches, 0);
	assert_int_equal(m.n_listeners, 0);
	assert_int_equal(m.n_problems, 0); /* it is not our matter */
	model_fini(&m);
	for (unsigned i = 0; i < 3; i++) { /* a class that is not the default, then ours is, then another's */
		load(s, "c", CLASS, i ? "{ingressclass.kubernetes.io/is-default-class: \"true\"}" : "{}",
		     i < 2 ? TRANSLATE_CONTROLLER : "other.test/x");
		model_init(&m);
		translate(s, &o, &m);
		assert_int_equal(m.n_matches, i == 1);
		model_fini(&m);
	}
	store_destroy(s);
}

/* Of this thread alone: what else runs on the machine does not count. */
static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void reload_of_one_file_costs_a_part_of_all(void **state)
{
	struct store *s = store_create();
	double start = cpu_seconds();
	double all, one;

	load(s, "service", SERVICE);
	for (unsigned i = 0; i < 1000; i++) {
		char file[16], name[16];

		snprintf(file, sizeof(file), "f%u", i);
		snprintf(name, sizeof(name), "r%u", i);
		load(s, file, INGRESS, name, name);
	}
	all = cpu_seconds() - start;
	start = cpu_seconds();
	for (unsigned i = 0; i < 20; i++)
		load(s, "f500", INGRESS, "r500", i % 2 ? "x" : "y");
	one = (cpu_seconds() - start) / 20;
	print_message("1,000 files: %.2f ms; one of them again: %.3f ms\n", all * 1e3, one * 1e3);
	assert_true(one < all / 20);
	store_destroy(s);
}

/* CPU time of reading and translating n routes in one file: the best of three. */
static double route_cost(unsigned n_routes)
{
	double best = 1e9;

	for (unsigned k = 0; k < 3; k++) {
		struct store *s = store_create();
		struct model m;
		char *text;
		size_t n;
		FILE *f = open_memstream(&text, &n);
		double start;

		fputs(SERVICE, f);
		for (unsigned i = 0; i < n_routes; i++) {
			char name[16];

			snprintf(name, sizeof(name), "r%u", i);
			fprintf(f, INGRESS, name, name);
		}
		fclose(f);
		start = cpu_seconds();
		store_load_yaml(s, "all", text, n);
		translate_to(&m, s);
		if (cpu_seconds() - start < best)
			best = cpu_seconds() - start;
		assert_int_equal(m.n_matches, n_routes);
		model_fini(&m);
		store_destroy(s);
		free(text);
	}
	return best;
}

static void cost_follows_the_number_of_routes(void **state)
{
	double few = route_cost(250);
	double many = route_cost(2000);

	print_message("250 routes: %.2f ms, 2,000: %.2f ms\n", few * 1e3, many * 1e3);
	assert_true(many < 24 * few); /* 8 times as many; their square would be 64 */
}

/* Nobody can find two such names for SHA-256: they are made alike by hand. */
static void backends_of_one_id_are_served_by_nobody_and_harm_nobody(void **state)
{
	static const char *const names[] = {"api", "shop", "web"};
	struct store *s = store_create();
	struct model m;
	const struct weir_snapshot *snapshot;
	struct snapshot_error why;
	void *blob;
	size_t n, n_refused = 0, n_forwarded = 0;

	for (unsigned i = 0; i < 3; i++)
		load(s, names[i],
		     "apiVersion: v1\nkind: Service\nmetadata: {name: %s, namespace: a}\nspec: {ports: [{port: 80}]}\n---\n"
		     "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: %s, namespace: a}\nspec:\n"
		     "  rules: [{host: %s.test, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: %s, port: {number: 80}}}}]}}]\n",
		     names[i], names[i], names[i], names[i]);
	translate_to(&m, s);
	assert_int_equal(m.n_problems, 0);
	assert_int_equal(m.n_backends, 3);
	for (unsigned i = 0; i < 3; i++)
		if (strcmp(m.backends[i].name, "a/web:80") != 0)
			m.backends[i].id = 7;
	assert_int_equal(compile_snapshot(&m, 1, &blob, &n), 0);
	snapshot = blob;
	assert_int_equal(snapshot_check(blob, n, &why), WEIR_REFUSED_OK);
	assert_int_equal(snapshot_count(snapshot, BACKENDS), 1);
	assert_true(snapshot_backend(snapshot, 0)->id == hash_backend("a/web:80"));
	for (uint32_t i = 0; i < snapshot_count(snapshot, SPLITS); i++) {
		n_refused += snapshot_split(snapshot, i)->backend == WEIR_NONE && snapshot_split(snapshot, i)->status == 500;
		n_forwarded += snapshot_split(snapshot, i)->backend == 0;
	}
	assert_int_equal(n_refused, 2);
	assert_int_equal(n_forwarded, 1);
	assert_int_equal(m.n_problems, 2);
	assert_string_equal(m.problems[0].reason, "BackendIdConflict");
	free(blob);
	model_fini(&m);
	store_destroy(s);
}

/* The API server lets them through, whatever the documentation of the field says. */
static void slice_may_have_more_than_100_ports(void **state)
{
	struct store *s = store_create();
	struct model m;
	char *ports;
	size_t n;
	FILE *f = open_memstream(&ports, &n);

	for (unsigned i = 1; i <= 101; i++)
		fprintf(f, "%s{name: p%u, port: %u}", i > 1 ? ", " : "", i, i);
	fclose(f);
	load(s, "1", INGRESS, "a", "a");
	load(s, "2", "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{name: p101, port: 80}]}\n");
	load(s, "3",
	     "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: web-1, labels: {kubernetes.io/service-name: web}}\n"
	     "addressType: IPv4\nports: [%s]\nendpoints: [{addresses: [10.0.0.1]}]\n",
	     ports);
	translate_to(&m, s);
	assert_int_equal(m.n_problems, 0);
	assert_int_equal(m.n_backends, 1);
	assert_int_equal(m.backends[0].n_endpoints, 1);
	assert_int_equal(m.backends[0].endpoints[0].port, 101);
	model_fini(&m);
	store_destroy(s);
	free(ports);
}

#define GATEWAY_API "{\"apiVersion\": \"gateway.networking.k8s.io/v1\", \"kind\": "

static void put(struct store *s, enum kube_kind kind, const char *json)
{
	store_put_json(s, kind, json, strlen(json));
}

static void run_on(struct store *s, struct translator *tr)
{
	struct translator_changes c;
	size_t n;
	const struct store_change *journal = store_journal(s, &n);

	translator_run(tr, journal, n, &c);
	store_clear_journal(s);
}

/* The object of the set is another one then, with the same listeners: a sanitizer sees who still looks at the old one. */
static void route_finds_its_listener_set_after_a_status_of_that(void **state)
{
	static const char set[] = GATEWAY_API "\"ListenerSet\", \"metadata\": {\"name\": \"set\", \"namespace\": \"a\"}, \"spec\": {\"parentRef\": "
					      "{\"name\": \"g\"}, \"listeners\": [{\"name\": \"l\", \"port\": 81, \"protocol\": \"HTTP\"}]}";
	struct store *s = store_create();
	struct translator *tr = translator_create(s, &ours);
	char with_status[sizeof(set) + 32], without[sizeof(set) + 32];

	snprintf(without, sizeof(without), "%s}", set);
	snprintf(with_status, sizeof(with_status), "%s, \"status\": {}}", set);
	store_keep_journal(s);
	put(s, KUBE_GATEWAY_CLASS, GATEWAY_API "\"GatewayClass\", \"metadata\": {\"name\": \"weir\"}, \"spec\": {\"controllerName\": \"" TRANSLATE_CONTROLLER "\"}}");
	put(s, KUBE_GATEWAY, GATEWAY_API "\"Gateway\", \"metadata\": {\"name\": \"g\", \"namespace\": \"a\"}, \"spec\": {\"gatewayClassName\": \"weir\", "
					 "\"allowedListeners\": {\"namespaces\": {\"from\": \"Same\"}}, "
					 "\"listeners\": [{\"name\": \"own\", \"port\": 80, \"protocol\": \"HTTP\"}]}}");
	put(s, KUBE_LISTENER_SET, without);
	run_on(s, tr);
	put(s, KUBE_LISTENER_SET, with_status);
	run_on(s, tr);
	put(s, KUBE_HTTP_ROUTE, GATEWAY_API "\"HTTPRoute\", \"metadata\": {\"name\": \"r\", \"namespace\": \"a\"}, \"spec\": {\"parentRefs\": "
					    "[{\"kind\": \"ListenerSet\", \"name\": \"set\", \"sectionName\": \"l\"}], \"rules\": [{}]}}");
	run_on(s, tr);
	assert_int_equal(translator_model(tr)->n_matches, 1);
	assert_int_equal(translator_model(tr)->n_problems, 0);
	translator_destroy(tr);
	store_destroy(s);
}

/* It is the youngest, as the compiler has it: who is told that his path is not served must be who is not served. */
static void ingress_without_a_time_is_the_one_that_is_told_of_a_conflict(void **state)
{
	struct store *s = store_create();
	struct model m;

	load(s, "1", "%s", SERVICE);
	load(s, "2", INGRESS, "a", "x");
	load(s, "3", INGRESS, "b, creationTimestamp: \"2026-01-01T00:00:00Z\"", "x");
	translate_to(&m, s);
	assert_int_equal(m.n_problems, 1);
	assert_string_equal(m.problems[0].reason, "PathConflict");
	assert_string_equal(m.problems[0].name, "a");
	model_fini(&m);
	store_destroy(s);
}

/* However many others of the namespace come first by name: for another port, or for the same one. */
static void policy_protects_among_many(void **state)
{
	struct store *s = store_create();
	struct model m;

	load(s, "1", INGRESS, "a", "a");
	load(s, "2", "%s", SERVICE);
	for (unsigned i = 0; i < 200; i++) {
		char file[16];

		snprintf(file, sizeof(file), "p%u", i);
		load(s, file,
		     "apiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\nmetadata: {name: p%u}\nspec:\n"
		     "  targetRefs: [{group: '', kind: Service, name: web, sectionName: %s}]\n"
		     "  validation: {hostname: web.test, wellKnownCACertificates: System}\n",
		     i, i < 100 ? "other" : "http");
	}
	translate_to(&m, s);
	assert_int_equal(m.n_matches, 1);
	assert_int_equal(m.matches[0].action, WEIR_ACTION_FORWARD);
	assert_non_null(m.backends[0].tls);
	assert_string_equal(m.backends[0].tls->host, "web.test");
	model_fini(&m);
	for (unsigned i = 100; i < 200; i++) {
		char file[16];

		snprintf(file, sizeof(file), "p%u", i);
		store_forget_file(s, file);
	}
	translate_to(&m, s);
	assert_int_equal(m.matches[0].action, WEIR_ACTION_FORWARD);
	assert_null(m.backends[0].tls);
	model_fini(&m);
	store_destroy(s);
}

/*
 * Two label values that once had the same hash, so that a Gateway which admits the one instead of the other looked as
 * before, and the routes of who lost that right were served on.
 */
static void gateway_that_differs_is_seen_to_whatever_its_hash(void **state)
{
	static const char *const values[] = {"team-redadaadapa", "1mx5odphlyrwyd0c"};
	struct store *s = store_create();
	struct translator *tr = translator_create(s, &ours);

	store_keep_journal(s);
	put(s, KUBE_GATEWAY_CLASS, GATEWAY_API "\"GatewayClass\", \"metadata\": {\"name\": \"weir\"}, \"spec\": {\"controllerName\": \"" TRANSLATE_CONTROLLER "\"}}");
	put(s, KUBE_HTTP_ROUTE, GATEWAY_API "\"HTTPRoute\", \"metadata\": {\"name\": \"r\", \"namespace\": \"n\"}, \"spec\": {\"parentRefs\": "
					    "[{\"name\": \"g\", \"namespace\": \"a\"}], \"rules\": [{}]}}");
	for (unsigned i = 0; i < 2; i++) {
		char text[600];

		snprintf(text, sizeof(text), "{\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {\"name\": \"n\", \"labels\": "
			 "{\"team\": \"%s\"}}}", values[0]);
		put(s, KUBE_NAMESPACE, text);
		snprintf(text, sizeof(text), GATEWAY_API "\"Gateway\", \"metadata\": {\"name\": \"g\", \"namespace\": \"a\"}, \"spec\": "
			 "{\"gatewayClassName\": \"weir\", \"listeners\": [{\"name\": \"l\", \"port\": 80, \"protocol\": \"HTTP\", \"allowedRoutes\": "
			 "{\"namespaces\": {\"from\": \"Selector\", \"selector\": {\"matchLabels\": {\"team\": \"%s\"}}}}}]}}", values[i]);
		put(s, KUBE_GATEWAY, text);
		run_on(s, tr);
		assert_int_equal(translator_model(tr)->n_matches, i == 0);
	}
	translator_destroy(tr);
	store_destroy(s);
}

#define N_MEETING 300u /* in a table of 1024 slots */

/* Paths that all have the same place in a table without a secret: found in a moment, by trying. */
static void add_meeting_paths(struct model *m)
{
	struct model_listener *l = model_add_listener(m);
	char path[32];

	*l = (struct model_listener){.port = 80, .proto = WEIR_PROTO_HTTP, .host = "", .name = "Ingress"};
	for (unsigned i = 0; m->n_matches < N_MEETING; i++) {
		int n = snprintf(path, sizeof(path), "/%u", i);
		struct model_match *x;

		if (hash64(path, (size_t)n, WEIR_PATH_EXACT) & 1023)
			continue;
		x = model_add_match(m);
		*x = (struct model_match){.host = "shared.test", .path_kind = WEIR_PATH_EXACT, .path = model_str(m, path), .method = "",
					  .action = WEIR_ACTION_STATUS, .status = 503, .kind = "Ingress", .ns = "greedy", .name = "i"};
	}
}

static void keys_that_meet_on_purpose_cost_nobody_his_routes(void **state)
{
	struct snapshot_error why;
	struct model m;
	void *blob;
	size_t n;

	model_init(&m);
	add_meeting_paths(&m);
	assert_int_equal(compile_snapshot(&m, 1, &blob, &n), 0);
	assert_int_equal(snapshot_check(blob, n, &why), WEIR_REFUSED_OK);
	assert_int_not_equal(((struct weir_snapshot *)blob)->hash_seed, 0);
	free(blob);
	m.hash_seed = 0x5eed; /* who knows it not cannot choose such keys, so it need not be changed */
	assert_int_equal(compile_snapshot(&m, 1, &blob, &n), 0);
	assert_int_equal(snapshot_check(blob, n, &why), WEIR_REFUSED_OK);
	assert_int_equal(((struct weir_snapshot *)blob)->hash_seed, 0x5eed);
	free(blob);
	model_fini(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(same_objects_in_any_order_give_the_same_model),
	    cmocka_unit_test(gateway_that_differs_is_seen_to_whatever_its_hash),
	    cmocka_unit_test(keys_that_meet_on_purpose_cost_nobody_his_routes),
	    cmocka_unit_test(endpoints_alone_follow_their_slices),
	    cmocka_unit_test(bad_slice_is_named_as_long_as_it_is_bad),
	    cmocka_unit_test(ingress_without_class_follows_the_options),
	    cmocka_unit_test(backends_of_one_id_are_served_by_nobody_and_harm_nobody),
	    cmocka_unit_test(slice_may_have_more_than_100_ports),
	    cmocka_unit_test(route_finds_its_listener_set_after_a_status_of_that),
	    cmocka_unit_test(ingress_without_a_time_is_the_one_that_is_told_of_a_conflict),
	    cmocka_unit_test(policy_protects_among_many),
	    cmocka_unit_test(reload_of_one_file_costs_a_part_of_all),
	    cmocka_unit_test(cost_follows_the_number_of_routes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
