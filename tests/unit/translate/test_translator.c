/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A translator that follows changes against translate() of the same store,
 * from nothing: after any sequence of changes both say the same. The world is
 * small, so that names, host names and references meet often.
 *
 *   test_translator [SEQUENCES [FIRST_SEED]]
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "status/status.h"
#include "translate/compile.h"
#include "translate/translator.h"

#define N_STEPS 12u

static unsigned n_sequences = 10000;
static uint64_t first_seed = 1;

/* ---- chance */

static uint64_t prng;
static bool are_files; /* the source: manifests, else an API server */

static uint32_t pick(uint32_t n)
{
	uint64_t z = prng += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return (uint32_t)((z ^ (z >> 31)) >> 32) % n;
}

static bool chance(uint32_t percent)
{
	return pick(100) < percent;
}

#define ONE_OF(...) (((const char *const[]){__VA_ARGS__})[pick(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))])

/* ---- objects, as JSON */

struct text {
	char b[4096];
	size_t n;
};

static void __attribute__((format(printf, 2, 3))) say(struct text *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	t->n += (size_t)vsnprintf(t->b + t->n, sizeof(t->b) - t->n, fmt, ap);
	va_end(ap);
	assert_true(t->n < sizeof(t->b));
}

static const char *a_ns(void)
{
	return ONE_OF("a", "b", "c");
}

static const char *a_host(void)
{
	return ONE_OF("x.test", "y.test", "*.test", "a.x.test", "*.x.test", "", "UPPER");
}

static const char *a_path(void)
{
	return ONE_OF("/", "/", "/p", "/p/q", "bad");
}

/* Sometimes a field has a type that it must not have: the schema refuses the object. */
static const char *maybe_broken(void)
{
	return chance(4) ? ",\"spec\":7" : NULL;
}

static void say_meta(struct text *t, enum kube_kind kind, const char *ns, const char *name, const char *labels, const char *annotations)
{
	const char *group = kube_kind_group(kind);

	say(t, "{\"apiVersion\":\"%s%sv1\",\"kind\":\"%s\"", group, *group ? "/" : "", kube_kind_name(kind));
	say(t, ",\"metadata\":{\"name\":\"%s\",\"resourceVersion\":\"%u\",\"generation\":%u", name, pick(1000), 1 + pick(3));
	if (kube_kind_is_namespaced(kind))
		say(t, ",\"namespace\":\"%s\"", ns);
	if (chance(50))
		say(t, ",\"creationTimestamp\":\"2026-01-0%uT00:00:00Z\"", 1 + pick(3));
	if (labels)
		say(t, ",\"labels\":{%s}", labels);
	if (annotations)
		say(t, ",\"annotations\":{%s}", annotations);
	say(t, "}");
}

static void say_class(struct text *t)
{
	say(t, ",\"spec\":{\"controllerName\":\"%s\"", ONE_OF(TRANSLATE_CONTROLLER, TRANSLATE_CONTROLLER, "other.test/x"));
	if (chance(10))
		say(t, ",\"parametersRef\":{\"group\":\"\",\"kind\":\"ConfigMap\",\"name\":\"p\"}");
	say(t, "}");
}

static void say_gateway_status(struct text *t)
{
	if (chance(50))
		say(t, ",\"status\":{\"addresses\":[{\"type\":\"IPAddress\",\"value\":\"192.0.2.%u\"}]}", 1 + pick(4));
}

static const char *some_namespaces(void)
{
	return ONE_OF("{\"from\":\"All\"}", "{\"from\":\"All\"}", "{\"from\":\"Same\"}",
		      "{\"from\":\"Selector\",\"selector\":{\"matchLabels\":{\"team\":\"red\"}}}",
		      "{\"from\":\"Selector\",\"selector\":{\"matchExpressions\":[{\"key\":\"team\",\"operator\":\"Exists\"}]}}");
}

static void say_listeners(struct text *t)
{
	unsigned n = 1 + pick(3);

	say(t, ",\"listeners\":[");
	if (chance(40)) { /* often the same, so that nothing but what is said elsewhere differs */
		say(t, "{\"name\":\"l0\",\"port\":80,\"protocol\":\"HTTP\",\"allowedRoutes\":{\"namespaces\":{\"from\":\"All\"}}}]}");
		return;
	}
	for (unsigned i = 0; i < n; i++) {
		say(t, "%s{\"name\":\"l%u\",\"port\":%u,\"protocol\":\"%s\"", i ? "," : "", chance(90) ? i : 0, 80 + pick(2),
		    ONE_OF("HTTP", "HTTP", "HTTP", "HTTP", "HTTPS", "TCP"));
		if (chance(60))
			say(t, ",\"hostname\":\"%s\"", a_host());
		if (chance(30))
			say(t, ",\"tls\":{\"certificateRefs\":[{\"name\":\"s\",\"namespace\":\"%s\"}]}", a_ns());
		if (chance(80))
			say(t, ",\"allowedRoutes\":{\"namespaces\":%s%s}", some_namespaces(),
			    ONE_OF("", "", ",\"kinds\":[{\"kind\":\"HTTPRoute\"}]", ",\"kinds\":[{\"kind\":\"GRPCRoute\"}]"));
		say(t, "}");
	}
	say(t, "]}");
}

static void say_gateway(struct text *t)
{
	say(t, ",\"spec\":{\"gatewayClassName\":\"%s\"", ONE_OF("weir", "weir", "weir", "second"));
	if (chance(20))
		say(t, ",\"addresses\":[{\"value\":\"192.0.2.%u\"}]", 1 + pick(5));
	if (chance(70))
		say(t, ",\"allowedListeners\":{\"namespaces\":%s}", some_namespaces());
	say_listeners(t);
}

static void say_listener_set(struct text *t)
{
	say(t, ",\"spec\":{\"parentRef\":{\"name\":\"g%u\",\"namespace\":\"%s\"}", 1 + pick(3), a_ns());
	say_listeners(t);
}

static void say_backend_ref(struct text *t)
{
	say(t, "{\"name\":\"%s\",\"port\":%u,\"weight\":%u", ONE_OF("s1", "s2", "s3", "none"), 80 + pick(2), pick(3));
	if (chance(40))
		say(t, ",\"namespace\":\"%s\"", a_ns());
	say(t, "}");
}

static void say_filters(struct text *t)
{
	say(t, ",\"filters\":[");
	if (chance(60)) {
		say(t, "{\"type\":\"RequestMirror\",\"requestMirror\":{\"backendRef\":");
		say_backend_ref(t);
		say(t, "}}");
	} else {
		say(t, "{\"type\":\"%s\",\"requestHeaderModifier\":{\"set\":[{\"name\":\"h\",\"value\":\"v\"}]}}",
		    ONE_OF("RequestHeaderModifier", "RequestHeaderModifier", "Unknown"));
	}
	say(t, "]");
}

static void say_parents(struct text *t)
{
	unsigned n = 1 + pick(2);

	say(t, ",\"spec\":{\"parentRefs\":[");
	for (unsigned i = 0; i < n; i++) {
		say(t, "%s{\"namespace\":\"%s\"", i ? "," : "", a_ns());
		if (chance(70))
			say(t, ",\"name\":\"g%u\"", 1 + pick(3));
		else
			say(t, ",\"kind\":\"ListenerSet\",\"name\":\"set%u\"", 1 + pick(2));
		if (chance(20))
			say(t, ",\"sectionName\":\"l%u\"", pick(3));
		say(t, "}");
	}
	say(t, "]");
}

/* Of a kind that is not carried. */
static void say_other_route(struct text *t)
{
	say_parents(t);
	say(t, ",\"rules\":[{\"backendRefs\":[");
	say_backend_ref(t);
	say(t, "]}]}");
}

static void say_policy(struct text *t)
{
	say(t, ",\"spec\":{\"targetRefs\":[{\"group\":\"\",\"kind\":\"Service\",\"name\":\"%s\"%s}],\"validation\":{\"hostname\":\"x.test\","
	       "\"wellKnownCACertificates\":\"System\"}}",
	    ONE_OF("s1", "s2", "s3"), ONE_OF("", "", ",\"sectionName\":\"http\"", ",\"sectionName\":\"more\""));
}

static void say_route(struct text *t)
{
	unsigned n_rules = 1 + pick(2);

	say_parents(t);
	if (chance(70))
		say(t, ",\"hostnames\":[\"%s\"]", ONE_OF("x.test", "y.test", "*.test", "a.x.test", "UPPER"));
	say(t, ",\"rules\":[");
	for (unsigned i = 0; i < n_rules; i++) {
		say(t, "%s{\"matches\":[{\"path\":{\"type\":\"%s\",\"value\":\"%s\"}}],\"backendRefs\":[", i ? "," : "",
		    ONE_OF("PathPrefix", "Exact", "Strange"), a_path());
		say_backend_ref(t);
		say(t, "]");
		if (chance(20))
			say_filters(t);
		say(t, "}");
	}
	say(t, "]}");
	if (chance(20))
		say(t, ",\"status\":{\"parents\":[{\"controllerName\":\"" TRANSLATE_CONTROLLER "\",\"parentRef\":{\"name\":\"g1\"},"
		       "\"conditions\":[]}]}");
}

static void say_ingress(struct text *t)
{
	say(t, ",\"spec\":{");
	if (chance(50))
		say(t, "\"ingressClassName\":\"%s\",", ONE_OF("weir", "other", "none"));
	if (chance(40))
		say(t, "\"defaultBackend\":{\"service\":{\"name\":\"%s\",\"port\":{\"number\":80}}},", ONE_OF("s1", "s2", "none"));
	say(t, "\"rules\":[");
	for (unsigned i = 0, n = 1 + pick(2); i < n; i++)
		say(t, "%s{\"host\":\"%s\",\"http\":{\"paths\":[{\"path\":\"%s\",\"pathType\":\"%s\",\"backend\":{\"service\":{\"name\":"
		       "\"%s\",\"port\":{%s}}}}]}}", i ? "," : "", a_host(), a_path(), ONE_OF("Prefix", "Prefix", "Exact"),
		    ONE_OF("s1", "s2", "s3", "none"), ONE_OF("\"number\":80", "\"number\":81", "\"name\":\"http\""));
	say(t, "]}");
}

static void say_grant(struct text *t)
{
	say(t, ",\"spec\":{\"from\":[{\"group\":\"gateway.networking.k8s.io\",\"kind\":\"%s\",\"namespace\":\"%s\"}],\"to\":[{\"group\":\"\","
	       "\"kind\":\"%s\"}]}",
	    ONE_OF("HTTPRoute", "HTTPRoute", "Gateway", "GRPCRoute", "ListenerSet"), a_ns(), ONE_OF("Service", "Service", "Secret"));
}

static void say_service(struct text *t)
{
	say(t, ",\"spec\":{%s\"ports\":[{\"name\":\"http\",\"port\":80%s}%s]}", chance(5) ? "\"type\":\"ExternalName\"," : "",
	    ONE_OF("", "", "", ",\"appProtocol\":\"kubernetes.io/h2c\"", ",\"appProtocol\":\"https\"", ",\"appProtocol\":\"http\""), ONE_OF("", ",{\"name\":\"more\",\"port\":81}"));
}

static void say_slice(struct text *t)
{
	unsigned n = pick(3);

	say(t, ",\"addressType\":\"%s\",\"ports\":[{\"name\":\"%s\",\"port\":%u}],\"endpoints\":[",
	    ONE_OF("IPv4", "IPv4", "IPv4", "IPv4", "FQDN"), ONE_OF("http", "http", "more"), 8080 + pick(2));
	for (unsigned i = 0; i < n; i++)
		say(t, "%s{\"addresses\":[\"%s%u\"],\"conditions\":{\"ready\":%s}%s}", i ? "," : "",
		    chance(95) ? "10.0.0." : "127.0.0.", 1 + pick(4), chance(80) ? "true" : "false",
		    ONE_OF("", ",\"hints\":{\"forZones\":[{\"name\":\"z1\"}]}", ",\"hints\":{\"forZones\":[{\"name\":\"z2\"}]}",
			   ",\"hints\":{\"forNodes\":[{\"name\":\"node1\"}],\"forZones\":[{\"name\":\"z2\"}]}"));
	say(t, "]");
}

static const char *a_name(enum kube_kind kind)
{
	switch (kind) {
	case KUBE_GATEWAY_CLASS:
	case KUBE_INGRESS_CLASS:
		return ONE_OF("weir", "second");
	case KUBE_GATEWAY:
		return ONE_OF("g1", "g2", "g3");
	case KUBE_SERVICE:
		return ONE_OF("s1", "s2", "s3");
	case KUBE_NAMESPACE:
		return a_ns();
	case KUBE_LISTENER_SET:
		return ONE_OF("set1", "set2");
	case KUBE_NODE:
		return ONE_OF("node1", "node1", "node2");
	case KUBE_CRD:
		return "gatewayclasses.gateway.networking.k8s.io";
	default:
		return ONE_OF("n1", "n2", "n3", "n4");
	}
}

static const char *labels_of(enum kube_kind kind)
{
	if (kind == KUBE_ENDPOINT_SLICE)
		return ONE_OF("\"kubernetes.io/service-name\":\"s1\"", "\"kubernetes.io/service-name\":\"s2\"",
			      "\"kubernetes.io/service-name\":\"s3\"", NULL);
	if (kind == KUBE_NODE)
		return ONE_OF("\"topology.kubernetes.io/zone\":\"z1\"", "\"topology.kubernetes.io/zone\":\"z2\"", NULL);
	return kind == KUBE_NAMESPACE ? ONE_OF("\"team\":\"red\"", "\"team\":\"blue\"", NULL) : NULL;
}

static const char *annotations_of(enum kube_kind kind)
{
	if (kind == KUBE_CRD)
		return ONE_OF("\"gateway.networking.k8s.io/bundle-version\":\"v1.5.0\"", "\"gateway.networking.k8s.io/bundle-version\":\"v2.0.0\"", NULL);
	if (chance(70))
		return NULL;
	if (kind == KUBE_SERVICE)
		return ONE_OF("\"weir.dev/load-balancing\":\"maglev\"", "\"weir.dev/affinity\":\"cookie\"", "\"weir.dev/max-connections\":\"x\"");
	if (kind == KUBE_INGRESS_CLASS)
		return "\"ingressclass.kubernetes.io/is-default-class\":\"true\"";
	return ONE_OF("\"weir.dev/request-timeout\":\"1s\"", "\"weir.dev/idle-timeout\":\"2s\"", "\"weir.dev/unknown\":\"\"");
}

static void say_body(struct text *t, enum kube_kind kind)
{
	const char *broken = maybe_broken();

	if (broken)
		say(t, "%s", broken);
	else if (kind == KUBE_GATEWAY_CLASS)
		say_class(t);
	else if (kind == KUBE_INGRESS_CLASS)
		say(t, ",\"spec\":{\"controller\":\"%s\"%s}", ONE_OF(TRANSLATE_CONTROLLER, "other.test/x"),
		    chance(20) ? ",\"parameters\":{\"kind\":\"ConfigMap\",\"name\":\"p\"}" : "");
	else if (kind == KUBE_GATEWAY)
		say_gateway(t);
	else if (kind == KUBE_HTTP_ROUTE)
		say_route(t);
	else if (kind == KUBE_LISTENER_SET)
		say_listener_set(t);
	else if (kind == KUBE_GRPC_ROUTE || kind == KUBE_TCP_ROUTE || kind == KUBE_UDP_ROUTE)
		say_other_route(t);
	else if (kind == KUBE_BACKEND_TLS_POLICY)
		say_policy(t);
	else if (kind == KUBE_INGRESS)
		say_ingress(t);
	else if (kind == KUBE_REFERENCE_GRANT)
		say_grant(t);
	else if (kind == KUBE_SERVICE)
		say_service(t);
	else if (kind == KUBE_ENDPOINT_SLICE)
		say_slice(t);
	if (kind == KUBE_GATEWAY)
		say_gateway_status(t);
	say(t, "}");
}

/* ---- changes */

static enum kube_kind a_kind(void)
{
	static const enum kube_kind kinds[] = {KUBE_INGRESS, KUBE_INGRESS, KUBE_INGRESS_CLASS, KUBE_GATEWAY_CLASS, KUBE_GATEWAY,
					       KUBE_GATEWAY, KUBE_GATEWAY, KUBE_HTTP_ROUTE, KUBE_HTTP_ROUTE, KUBE_HTTP_ROUTE,
					       KUBE_REFERENCE_GRANT, KUBE_SERVICE, KUBE_SERVICE, KUBE_SERVICE, KUBE_ENDPOINT_SLICE,
					       KUBE_ENDPOINT_SLICE, KUBE_NAMESPACE, KUBE_LISTENER_SET, KUBE_LISTENER_SET, KUBE_GRPC_ROUTE,
					       KUBE_GRPC_ROUTE, KUBE_TCP_ROUTE, KUBE_UDP_ROUTE, KUBE_BACKEND_TLS_POLICY,
					       KUBE_BACKEND_TLS_POLICY, KUBE_NODE, KUBE_CRD};

	return kinds[pick(sizeof(kinds) / sizeof(*kinds))];
}

static void say_object(struct text *t, enum kube_kind kind)
{
	say_meta(t, kind, a_ns(), a_name(kind), labels_of(kind), annotations_of(kind));
	say_body(t, kind);
}

/* A file of manifests, which may have objects that others have, too. */
static void load_one(struct store *s)
{
	struct text t = {.n = 0};

	for (unsigned i = pick(3); i > 0; i--) {
		say(&t, "---\n");
		say_object(&t, a_kind());
		say(&t, "\n");
	}
	if (chance(5))
		say(&t, "---\n{"); /* the rest is no YAML: the file counts as it was */
	store_load_yaml(s, ONE_OF("1", "2", "3", "4", "5", "6", "7", "8", "9"), t.b, t.n);
}

static void put_one(struct store *s)
{
	enum kube_kind kind = a_kind();
	struct text t = {.n = 0};

	if (are_files) {
		load_one(s);
		return;
	}
	say_object(&t, kind);
	store_put_json(s, kind, t.b, t.n);
}

/* All of a kind is listed again, and is not what it was. */
static void list_again(struct store *s, enum kube_kind kind)
{
	store_mark(s, kind, NULL);
	for (unsigned i = pick(4); i > 0; i--) {
		struct text t = {.n = 0};

		say_object(&t, kind);
		store_put_json(s, kind, t.b, t.n);
	}
	store_sweep(s, kind, NULL);
}

/* The same object with another status, as when somebody has written it. */
static void put_status(struct store *s)
{
	static const enum kube_kind kinds[] = {KUBE_GATEWAY, KUBE_GATEWAY,    KUBE_GATEWAY_CLASS, KUBE_LISTENER_SET, KUBE_HTTP_ROUTE,
					       KUBE_INGRESS, KUBE_GRPC_ROUTE, KUBE_SERVICE,	  KUBE_BACKEND_TLS_POLICY};
	enum kube_kind kind = kinds[pick(sizeof(kinds) / sizeof(*kinds))];
	size_t n;
	const struct kube_object *const *list = store_list(s, kind, &n);
	const struct kube_object *o = n ? list[pick((uint32_t)n)] : NULL;
	struct node value = {.kind = NODE_STRING, .text = ONE_OF("192.0.2.1", "192.0.2.2", "192.0.2.3")};
	struct node *value_list[] = {&value};
	const char *value_keys[] = {"value"};
	struct node address = {.kind = NODE_MAP, .n = 1, .items = value_list, .keys = value_keys};
	struct node *items[] = {&address};
	struct node addresses = {.kind = NODE_LIST, .n = 1, .items = items};
	struct node *status_items[] = {&addresses};
	const char *status_keys[] = {"addresses"};
	struct node status = {.kind = NODE_MAP, .n = 1, .items = status_items, .keys = status_keys};
	struct node *root_items[16];
	const char *root_keys[16];
	struct node root = {.kind = NODE_MAP, .items = root_items, .keys = root_keys};

	if (!o || o->root->n > 15)
		return;
	for (size_t i = 0; i < o->root->n; i++) {
		if (strcmp(o->root->keys[i], "status") == 0)
			continue;
		root_keys[root.n] = o->root->keys[i];
		root_items[root.n++] = o->root->items[i];
	}
	root_keys[root.n] = "status";
	root_items[root.n++] = &status;
	store_put(s, kind, &root);
}

static void change_one(struct store *s)
{
	enum kube_kind kind = a_kind();

	if (are_files && chance(25)) {
		store_forget_file(s, ONE_OF("1", "2", "3", "4", "5", "6", "7", "8", "9"));
	} else if (are_files) {
		load_one(s);
	} else if (chance(5)) {
		put_status(s);
	} else if (chance(4)) {
		list_again(s, kind);
	} else if (chance(25)) {
		const char *ns = kube_kind_is_namespaced(kind) ? a_ns() : "";

		store_remove(s, kind, ns, a_name(kind));
	} else {
		put_one(s);
	}
}

/* ---- everything that a model says, as text */

static void tell_conditions(FILE *f, const struct model_conditions *c)
{
	for (size_t i = 0; i < c->n; i++)
		fprintf(f, " %s=%s %s (%s)", c->c[i].type, c->c[i].status, c->c[i].reason, c->c[i].message);
}

static void tell_status(FILE *f, const struct model_status *s)
{
	fprintf(f, "status %u %s/%s %u", s->kind, s->ns, s->name, s->n_attached_sets);
	tell_conditions(f, &s->conditions);
	for (size_t i = 0; i < s->n_addrs; i++)
		fprintf(f, " %u", s->addrs[i].b[15]);
	for (size_t i = 0; i < s->n_sections; i++) {
		fprintf(f, "\n  %s %u %d", s->sections[i].name, s->sections[i].n_routes, s->sections[i].takes_http_routes);
		tell_conditions(f, &s->sections[i].conditions);
	}
	for (size_t i = 0; i < s->n_parents; i++) {
		fprintf(f, "\n  %s %s/%s %s", s->parents[i].kind ? s->parents[i].kind : "-", s->parents[i].ns, s->parents[i].name,
			s->parents[i].section ? s->parents[i].section : "-");
		tell_conditions(f, &s->parents[i].conditions);
	}
	fputc('\n', f);
}

static const char *backend_name(const struct model *m, int32_t i)
{
	return i < 0 ? "-" : m->backends[i].name;
}

static void tell_filters(FILE *f, const struct model *m, const struct model_filters *list)
{
	for (size_t i = 0; i < list->n; i++)
		fprintf(f, " filter %u %s", list->f[i].kind, list->f[i].kind == WEIR_FILTER_MIRROR ? backend_name(m, list->f[i].backend) : "");
}

static void tell_match(FILE *f, const struct model *m, const struct model_match *x)
{
	const struct model_listener *l = &m->listeners[x->listener];

	fprintf(f, "%s|%u %u %s|%s %d %u %s %u %u %s/%s %u %u", l->name, l->port, l->addr.b[15], l->host, x->host, x->host_one_label,
		x->path_kind, x->path, x->action, x->status, x->ns, x->name, x->rule_index, x->match_index);
	for (size_t i = 0; i < x->n_splits; i++) {
		fprintf(f, " > %s*%u", backend_name(m, x->splits[i].backend), x->splits[i].weight);
		tell_filters(f, m, &x->splits[i].filters);
	}
	tell_filters(f, m, &x->filters);
	fputc('\n', f);
}

static int by_name(const void *a, const void *b)
{
	return strcmp((*(const struct model_backend *const *)a)->name, (*(const struct model_backend *const *)b)->name);
}

static void tell_backends(FILE *f, const struct model *m)
{
	const struct model_backend **list = calloc(m->n_backends + 1, sizeof(*list));
	size_t n = 0;

	for (size_t i = 0; i < m->n_backends; i++)
		if (m->backends[i].name)
			list[n++] = &m->backends[i];
	qsort(list, n, sizeof(*list), by_name);
	for (size_t i = 0; i < n; i++) {
		fprintf(f, "backend %s %u", list[i]->name, list[i]->balance.fixed.balance);
		for (size_t k = 0; k < list[i]->n_endpoints; k++)
			fprintf(f, " %u:%u/%u", list[i]->endpoints[k].addr.b[15], list[i]->endpoints[k].port, list[i]->endpoints[k].flags);
		fputc('\n', f);
	}
	free(list);
}

static void tell_document(void *ctx, const struct status_document *d)
{
	fprintf(ctx, "document %u %s/%s %d %s\n", d->kind, d->ns, d->name, d->differs, d->json);
}

static void tell_blob(FILE *f, struct model *m)
{
	void *blob;
	size_t n;
	int err = compile_snapshot(m, 1, &blob, &n);

	fprintf(f, "compiled %d\n", err);
	if (!err) {
		fwrite(blob, 1, n, f);
		free(blob);
	}
}

static char *text_of(const struct store *s, struct model *m, size_t *n)
{
	char *text;
	FILE *f = open_memstream(&text, n);

	for (size_t i = 0; i < m->n_matches; i++)
		tell_match(f, m, &m->matches[i]);
	tell_backends(f, m);
	for (size_t i = 0; i < m->n_statuses; i++)
		tell_status(f, &m->statuses[i]);
	status_make(s, m, &(struct status_options){.controller_name = TRANSLATE_CONTROLLER, .wants_all = true}, tell_document, f);
	tell_blob(f, m); /* which may add problems */
	for (size_t i = 0; i < m->n_problems; i++) {
		const struct model_problem *p = &m->problems[i];

		fprintf(f, "problem %s:%u:%u %s %s/%s %s %s %s %d\n", p->file, p->line, p->column, p->kind, p->ns, p->name, p->field,
			p->reason, p->text, p->is_fatal);
	}
	fclose(f);
	return text;
}

/* ---- the property */

/* What whoever is told of changes knows. */
struct mirror {
	void *blob;
	size_t n_blob;
	char *statuses, *problems, *endpoints;
};

static char *statuses_of(const struct store *s, const struct model *m)
{
	char *text;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	for (size_t i = 0; i < m->n_statuses; i++) { /* whoever writes them says for which generation they are */
		const struct model_status *v = &m->statuses[i];

		fprintf(f, "generation %lld ", (long long)store_get(s, v->kind, v->ns, v->name)->generation);
		tell_status(f, v);
	}
	fclose(f);
	return text;
}

static char *problems_of(const struct model *m)
{
	char *text;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	for (size_t i = 0; i < m->n_problems; i++)
		fprintf(f, "%s/%s %s %s\n", m->problems[i].ns, m->problems[i].name, m->problems[i].field, m->problems[i].text);
	fclose(f);
	return text;
}

static char *endpoints_of(const struct model *m)
{
	char *text;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	tell_backends(f, m);
	fclose(f);
	return text;
}

/* False, and both texts on request, if they differ though it was not told. */
static bool told(const char *what, bool is_told, const char *before, const char *now)
{
	if (is_told || (before && strcmp(before, now) == 0))
		return true;
	print_message("%s differ\n", what);
	if (getenv("WEIR_TEST_VERBOSE"))
		printf("---- before\n%s---- now\n%s", before ? before : "", now);
	return false;
}

static void replace(char **at, char *text)
{
	free(*at);
	*at = text;
}

static void mirror_fini(struct mirror *r)
{
	free(r->blob);
	free(r->statuses);
	free(r->problems);
	free(r->endpoints);
}

static bool are_routes_told(const struct mirror *r, bool is_told, const void *blob, size_t n)
{
	char *text[2] = {NULL, NULL};
	bool is_right = is_told || (n == r->n_blob && memcmp(blob, r->blob, n) == 0);

	if (!is_right) {
		if (r->blob)
			compile_dump(r->blob, &text[0]);
		if (blob)
			compile_dump(blob, &text[1]);
		told("routes", false, text[0], text[1] ? text[1] : "none");
	}
	free(text[0]);
	free(text[1]);
	return is_right;
}

/* Nothing may differ that was not told. */
static bool update_mirror(struct mirror *r, const struct store *s, struct model *m, const struct translator_changes *c)
{
	bool is_right = true;
	char *statuses = statuses_of(s, m), *problems, *endpoints = endpoints_of(m);
	void *blob = NULL;
	size_t n = 0;
	size_t n_before = m->n_problems;

	is_right &= told("statuses", c->statuses, r->statuses, statuses);
	is_right &= told("backends", c->routes || c->n_backends, r->endpoints, endpoints);
	if (compile_snapshot(m, 1, &blob, &n) != 0)
		blob = NULL, n = 0;
	is_right &= are_routes_told(r, c->routes, blob, n);
	if (!c->routes) /* it would not have been compiled */
		m->n_problems = n_before;
	problems = problems_of(m);
	is_right &= told("problems", c->problems || c->routes, r->problems, problems);
	replace(&r->statuses, statuses);
	replace(&r->problems, problems);
	replace(&r->endpoints, endpoints);
	free(r->blob);
	r->blob = blob;
	r->n_blob = n;
	return is_right;
}

static bool is_same(const struct store *s, struct translator *tr, const struct translate_options *o)
{
	struct model *followed = translator_model(tr), fresh;
	size_t n_own = followed->n_problems, n[2];
	char *text[2];
	bool same;

	/* of a model that was compiled: the compiler's problems once more are not what is asked for */
	model_init(&fresh);
	translate(s, o, &fresh);
	text[1] = text_of(s, &fresh, &n[1]);
	text[0] = text_of(s, followed, &n[0]);
	same = n[0] == n[1] && memcmp(text[0], text[1], n[0]) == 0;
	if (!same && getenv("WEIR_TEST_VERBOSE"))
		for (unsigned i = 0; i < 2; i++) {
			printf("---- %s\n", i ? "from nothing" : "followed");
			fwrite(text[i], 1, n[i], stdout);
		}
	followed->n_problems = n_own;
	free(text[0]);
	free(text[1]);
	model_fini(&fresh);
	return same;
}

static bool run_step(struct store *s, struct translator *tr, struct mirror *r, const struct translate_options *o)
{
	unsigned n_changes = 1 + (chance(30) ? pick(4) : 0);
	struct translator_changes c;
	size_t n;
	const struct store_change *journal;

	for (unsigned i = 0; i < n_changes; i++)
		change_one(s);
	journal = store_journal(s, &n);
	translator_run(tr, journal, n, &c);
	store_clear_journal(s);
	return update_mirror(r, s, translator_model(tr), &c);
}

static bool run_sequence(uint64_t seed, const struct address_pool *pool)
{
	const struct weir_ip listen = {{[15] = 9}};
	struct translate_options o = {.controller_name = TRANSLATE_CONTROLLER, .listen = &listen, .n_listen = seed % 3 ? 1 : 0,
				      .pool = seed % 4 ? NULL : pool, .node = seed % 5 ? "node1" : NULL};
	struct store *s = store_create();
	struct translator *tr = translator_create(s, &o);
	struct mirror r = {0};
	bool is_right = true;
	unsigned step;

	prng = seed;
	are_files = seed % 5 == 0;
	store_keep_journal(s);
	for (unsigned i = pick(70); i > 0; i--)
		put_one(s);
	for (step = 0; is_right && step < N_STEPS; step++) {
		is_right = run_step(s, tr, &r, &o);
		if (!is_right)
			print_message("seed %llu, step %u: a change was not told\n", (unsigned long long)seed, step);
		else if (step % 4 == 3 && !(is_right = is_same(s, tr, &o)))
			print_message("seed %llu, step %u: not what translate() makes\n", (unsigned long long)seed, step);
	}
	mirror_fini(&r);
	translator_destroy(tr);
	store_destroy(s);
	return is_right;
}

static void what_is_followed_is_what_is_made_from_nothing(void **state)
{
	struct address_pool pool = {0};
	unsigned n_wrong = 0;

	assert_int_equal(address_pool_add(&pool, "192.0.2.1-192.0.2.3"), 0);
	for (unsigned i = 0; i < n_sequences && n_wrong < 5; i++)
		n_wrong += !run_sequence(first_seed + i, &pool);
	address_pool_fini(&pool);
	assert_int_equal(n_wrong, 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_followed_is_what_is_made_from_nothing),
	};

	if (argc > 1)
		n_sequences = (unsigned)strtoul(argv[1], NULL, 10);
	if (argc > 2)
		first_seed = strtoull(argv[2], NULL, 10);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
