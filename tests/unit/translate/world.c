/* SPDX-License-Identifier: Apache-2.0 */
/* Objects at random. See world.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "pems.h"
#include "translate/translate.h"
#include "world.h"

/* ---- chance */

static uint64_t prng;
static unsigned theme;
static bool are_files; /* the source: manifests, else an API server */

void world_begin(uint64_t seed, unsigned kinds, bool has_files)
{
	prng = seed;
	theme = kinds;
	are_files = has_files;
}

uint32_t world_pick(uint32_t n)
{
	uint64_t z = prng += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return (uint32_t)((z ^ (z >> 31)) >> 32) % n;
}

bool world_chance(uint32_t percent)
{
	return world_pick(100) < percent;
}

#define ONE_OF(...) (((const char *const[]){__VA_ARGS__})[world_pick(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))])

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
	return ONE_OF("a", "a", "a", "b", "c");
}

/* Some names more often than others: what meets nothing says nothing. */
static const char *a_service(void)
{
	return ONE_OF("s1", "s1", "s1", "s2", "s3");
}

static const char *a_service_or_none(void)
{
	return world_chance(15) ? "none" : a_service();
}

static const char *a_gateway(void)
{
	return ONE_OF("g1", "g1", "g2", "g3");
}

static const char *a_set(void)
{
	return ONE_OF("set1", "set1", "set2");
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
	return world_chance(4) ? ",\"spec\":7" : NULL;
}

static void say_meta(struct text *t, enum kube_kind kind, const char *ns, const char *name, const char *labels, const char *annotations)
{
	const char *group = kube_kind_group(kind);

	say(t, "{\"apiVersion\":\"%s%sv1\",\"kind\":\"%s\"", group, *group ? "/" : "", kube_kind_name(kind));
	say(t, ",\"metadata\":{\"name\":\"%s\",\"resourceVersion\":\"%u\",\"generation\":%u", name, world_pick(1000), 1 + world_pick(3));
	if (kube_kind_is_namespaced(kind))
		say(t, ",\"namespace\":\"%s\"", ns);
	if (world_chance(50))
		say(t, ",\"creationTimestamp\":\"2026-01-0%uT00:00:00Z\"", 1 + world_pick(3));
	if (labels)
		say(t, ",\"labels\":{%s}", labels);
	if (annotations)
		say(t, ",\"annotations\":{%s}", annotations);
	say(t, "}");
}

static void say_class(struct text *t)
{
	say(t, ",\"spec\":{\"controllerName\":\"%s\"", ONE_OF(TRANSLATE_CONTROLLER, TRANSLATE_CONTROLLER, TRANSLATE_CONTROLLER, TRANSLATE_CONTROLLER, "other.test/x"));
	if (world_chance(10))
		say(t, ",\"parametersRef\":{\"group\":\"\",\"kind\":\"ConfigMap\",\"name\":\"p\"}");
	say(t, "}");
}

static void say_gateway_status(struct text *t)
{
	if (world_chance(50))
		say(t, ",\"status\":{\"addresses\":[{\"type\":\"IPAddress\",\"value\":\"192.0.2.%u\"}]}", 1 + world_pick(4));
}

static const char *some_namespaces(void)
{
	return ONE_OF("{\"from\":\"All\"}", "{\"from\":\"All\"}", "{\"from\":\"Same\"}",
		      "{\"from\":\"Selector\",\"selector\":{\"matchLabels\":{\"team\":\"red\"}}}",
		      "{\"from\":\"Selector\",\"selector\":{\"matchExpressions\":[{\"key\":\"team\",\"operator\":\"Exists\"}]}}");
}

static const char *some_kinds(void)
{
	return ONE_OF("", "", "", ",\"kinds\":[{\"kind\":\"HTTPRoute\"}]", ",\"kinds\":[{\"kind\":\"UDPRoute\"},{\"kind\":\"GRPCRoute\"}]",
		      ",\"kinds\":[{\"kind\":\"UDPRoute\"},{\"kind\":\"TCPRoute\"}]");
}

static const char *a_secret(void)
{
	return ONE_OF("c1", "c1", "c2");
}

/* Of a reference. */
static const char *some_namespace(void)
{
	return ONE_OF("", "", ",\"namespace\":\"a\"", ",\"namespace\":\"b\"");
}

static void say_data(struct text *t, enum kube_kind kind)
{
	if (world_chance(10))
		say(t, ",\"data\":%s", ONE_OF("7", "{\"tls.crt\":7}"));
	else if (kind == KUBE_CONFIG_MAP)
		say(t, ",\"data\":{\"%s\":\"%s\"%s}", ONE_OF("ca.crt", "ca.crt", "other"), ONE_OF(PEM_TEXT, PEM_TEXT, PEM_TEXT PEM_TEXT, "x"),
		    ONE_OF("", "", "", ",\"ca.crl\":\"x\""));
	else if (world_chance(30))
		say(t, ",\"data\":{\"ca.crt\":\"%s\"}", ONE_OF(PEM_CRT, PEM_CRT, "?"));
	else
		say(t, ",\"data\":{\"tls.crt\":\"%s\",\"%s\":\"%s\"}", ONE_OF(PEM_CRT, PEM_CRT, "SGVsbG8=", "?"),
		    ONE_OF("tls.key", "tls.key", "tls.key", "other"), ONE_OF(PEM_KEY, PEM_KEY, PEM_KEY, PEM_OTHER_KEY));
}

static void say_frontend(struct text *t)
{
	say(t, "\"frontend\":{\"default\":{\"validation\":{\"caCertificateRefs\":[");
	say(t, "{\"group\":\"\",\"kind\":\"%s\",\"name\":\"%s\"%s}", ONE_OF("ConfigMap", "ConfigMap", "Secret"), a_secret(), some_namespace());
	if (world_chance(30))
		say(t, ",{\"group\":\"\",\"kind\":\"ConfigMap\",\"name\":\"%s\"%s}", a_secret(), some_namespace());
	say(t, "]%s}}%s}", ONE_OF("", "", ",\"mode\":\"AllowInsecureFallback\""),
	    ONE_OF("", "", ",\"perPort\":[{\"port\":443,\"tls\":{}}]"));
}

/* Of a Gateway. */
static void say_tls(struct text *t)
{
	bool has_frontend = world_chance(60);

	if (!world_chance(theme >= 3 ? 50 : 5))
		return;
	say(t, ",\"tls\":{");
	if (has_frontend)
		say_frontend(t);
	if (!has_frontend || world_chance(50))
		say(t, "%s\"backend\":{\"clientCertificateRef\":{\"name\":\"%s\"%s}}", has_frontend ? "," : "", a_secret(), some_namespace());
	say(t, "}");
}

static void say_listeners(struct text *t)
{
	unsigned n = 1 + world_pick(3);

	say(t, ",\"listeners\":[");
	if (world_chance(40)) { /* often the same, so that nothing but what is said elsewhere differs */
		say(t, "{\"name\":\"l0\",\"port\":80,\"protocol\":\"%s\",\"allowedRoutes\":{\"namespaces\":{\"from\":\"All\"}%s}}]}",
		    theme == 4 ? "TCP" : "HTTP", some_kinds());
		return;
	}
	for (unsigned i = 0; i < n; i++) {
		say(t, "%s{\"name\":\"l%u\",\"port\":%u,\"protocol\":\"%s\"", i ? "," : "", world_chance(90) ? i : 0, 80 + world_pick(2),
		    theme == 3   ? ONE_OF("HTTP", "HTTPS", "HTTPS", "TLS")
		    : theme == 4 ? ONE_OF("TLS", "TLS", "TLS", "TCP", "TCP", "HTTPS")
				 : ONE_OF("HTTP", "HTTP", "HTTP", "HTTP", "HTTPS", "TCP"));
		if (world_chance(60))
			say(t, ",\"hostname\":\"%s\"", a_host());
		if (world_chance(theme >= 3 ? 80 : 30))
			say(t, ",\"tls\":{%s\"certificateRefs\":[{\"name\":\"%s\"%s}%s]}", ONE_OF("", "", "\"mode\":\"Passthrough\","),
			    a_secret(), some_namespace(), ONE_OF("", "", ",{\"name\":\"c2\"}"));
		if (world_chance(80))
			say(t, ",\"allowedRoutes\":{\"namespaces\":%s%s}", some_namespaces(),
			    some_kinds());
		say(t, "}");
	}
	say(t, "]}");
}

static void say_gateway(struct text *t)
{
	say(t, ",\"spec\":{\"gatewayClassName\":\"%s\"", ONE_OF("weir", "weir", "weir", "second"));
	if (world_chance(20))
		say(t, ",\"addresses\":[{\"value\":\"192.0.2.%u\"}]", 1 + world_pick(5));
	if (world_chance(70))
		say(t, ",\"allowedListeners\":{\"namespaces\":%s}", some_namespaces());
	say_tls(t);
	say_listeners(t);
}

static void say_listener_set(struct text *t)
{
	say(t, ",\"spec\":{\"parentRef\":{\"name\":\"%s\",\"namespace\":\"%s\"}", a_gateway(), a_ns());
	say_listeners(t);
}

static void say_backend_ref(struct text *t)
{
	say(t, "{\"name\":\"%s\",\"port\":%u,\"weight\":%u", a_service_or_none(), world_chance(75) ? 80 : 81, world_pick(3));
	if (world_chance(25))
		say(t, ",\"namespace\":\"%s\"", a_ns());
	say(t, "}");
}

static void say_filters(struct text *t)
{
	say(t, ",\"filters\":[");
	if (world_chance(60)) {
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
	unsigned n = 1 + world_pick(2);

	say(t, ",\"spec\":{\"parentRefs\":[");
	for (unsigned i = 0; i < n; i++) {
		say(t, "%s{\"namespace\":\"%s\"", i ? "," : "", a_ns());
		if (world_chance(70))
			say(t, ",\"name\":\"%s\"", a_gateway());
		else
			say(t, ",\"kind\":\"ListenerSet\",\"name\":\"%s\"", a_set());
		if (world_chance(20))
			say(t, ",\"sectionName\":\"l%u\"", world_pick(3));
		say(t, "}");
	}
	say(t, "]");
}

/* Of streams, or of a kind that is not carried. */
static void say_other_route(struct text *t, enum kube_kind kind)
{
	say_parents(t);
	if (kind == KUBE_TLS_ROUTE && world_chance(80))
		say(t, ",\"hostnames\":[\"%s\"]", ONE_OF("x.test", "y.test", "*.test", "a.x.test", "UPPER"));
	say(t, ",\"rules\":[{\"backendRefs\":[");
	say_backend_ref(t);
	say(t, "]}]}");
}

static void say_policy(struct text *t)
{
	say(t, ",\"spec\":{\"targetRefs\":[{\"group\":\"\",\"kind\":\"Service\",\"name\":\"%s\"%s}],\"validation\":{\"hostname\":\"%s\","
	       "%s%s}%s}",
	    a_service(), ONE_OF("", "", ",\"sectionName\":\"http\"", ",\"sectionName\":\"more\""),
	    ONE_OF("x.test", "x.test", "y.test", "*.test"),
	    ONE_OF("\"wellKnownCACertificates\":\"System\"", "\"caCertificateRefs\":[{\"group\":\"\",\"kind\":\"ConfigMap\",\"name\":\"c1\"}]",
		   "\"caCertificateRefs\":[{\"group\":\"\",\"kind\":\"ConfigMap\",\"name\":\"c1\"}]",
		   "\"caCertificateRefs\":[{\"group\":\"\",\"kind\":\"ConfigMap\",\"name\":\"c2\"},{\"group\":\"\",\"kind\":\"ConfigMap\",\"name\":\"c1\"}]"),
	    ONE_OF("", "", ",\"subjectAltNames\":[{\"type\":\"URI\",\"uri\":\"spiffe://a/b\"}]", ",\"subjectAltNames\":[{\"type\":\"Hostname\"}]"),
	    ONE_OF("", "", ",\"options\":{\"weir.dev/tls-profile\":\"strict\"}"));
}

static void say_route(struct text *t)
{
	unsigned n_rules = 1 + world_pick(2);

	say_parents(t);
	if (world_chance(70))
		say(t, ",\"hostnames\":[\"%s\"]", ONE_OF("x.test", "y.test", "*.test", "a.x.test", "UPPER"));
	say(t, ",\"rules\":[");
	for (unsigned i = 0; i < n_rules; i++) {
		say(t, "%s{\"matches\":[{\"path\":{\"type\":\"%s\",\"value\":\"%s\"}}],\"backendRefs\":[", i ? "," : "",
		    ONE_OF("PathPrefix", "Exact", "Strange"), a_path());
		say_backend_ref(t);
		say(t, "]");
		if (world_chance(20))
			say_filters(t);
		say(t, "}");
	}
	say(t, "]}");
	if (world_chance(20))
		say(t, ",\"status\":{\"parents\":[{\"controllerName\":\"" TRANSLATE_CONTROLLER "\",\"parentRef\":{\"name\":\"g1\"},"
		       "\"conditions\":[]}]}");
}

static void say_ingress(struct text *t)
{
	say(t, ",\"spec\":{");
	if (world_chance(50))
		say(t, "\"ingressClassName\":\"%s\",", ONE_OF("weir", "other", "none"));
	if (world_chance(40))
		say(t, "\"defaultBackend\":{\"service\":{\"name\":\"%s\",\"port\":{\"number\":80}}},", ONE_OF("s1", "s2", "none"));
	say(t, "\"rules\":[");
	for (unsigned i = 0, n = 1 + world_pick(2); i < n; i++)
		say(t, "%s{\"host\":\"%s\",\"http\":{\"paths\":[{\"path\":\"%s\",\"pathType\":\"%s\",\"backend\":{\"service\":{\"name\":"
		       "\"%s\",\"port\":{%s}}}}]}}", i ? "," : "", a_host(), a_path(), ONE_OF("Prefix", "Prefix", "Exact"),
		    a_service_or_none(), ONE_OF("\"number\":80", "\"number\":80", "\"number\":81", "\"name\":\"http\""));
	say(t, "]");
	if (world_chance(theme == 3 ? 60 : 5))
		say(t, ",\"tls\":[{\"secretName\":\"%s\"}]", a_secret());
	say(t, "}");
}

static void say_grant(struct text *t)
{
	say(t, ",\"spec\":{\"from\":[{\"group\":\"gateway.networking.k8s.io\",\"kind\":\"%s\",\"namespace\":\"%s\"}],\"to\":[{\"group\":\"\","
	       "\"kind\":\"%s\"}]}",
	    ONE_OF("HTTPRoute", "HTTPRoute", "Gateway", "Gateway", "GRPCRoute", "ListenerSet"), a_ns(),
	    ONE_OF("Service", "Service", "Secret", "Secret", "ConfigMap"));
}

static void say_service(struct text *t)
{
	if (world_chance(theme == 1 ? 25 : 10)) {
		say(t, ",\"spec\":{\"type\":\"ExternalName\",\"externalName\":\"%s\"%s}",
		    ONE_OF("d1.test", "d1.test", "d2.test", "d3.test", "d4.test.", "127.0.0.1"),
		    ONE_OF("", "", "", ",\"ports\":[{\"name\":\"http\",\"port\":80}]",
			   ",\"ports\":[{\"name\":\"http\",\"port\":80,\"targetPort\":8080}]",
			   ",\"ports\":[{\"name\":\"http\",\"port\":80,\"targetPort\":\"web\"}]"));
		return;
	}
	say(t, ",\"spec\":{%s\"ports\":[{\"name\":\"http\",\"port\":80%s%s}%s]}", ONE_OF("", "", "\"externalTrafficPolicy\":\"Local\","),
	    ONE_OF(",\"nodePort\":30080", ",\"nodePort\":30081", ""),
	    ONE_OF("", "", "", "", "", "", ",\"appProtocol\":\"kubernetes.io/h2c\"", ",\"appProtocol\":\"https\"", ",\"appProtocol\":\"http\""), ONE_OF("", ",{\"name\":\"more\",\"port\":81}"));
}

static void say_slice(struct text *t)
{
	unsigned n = world_chance(20) ? 0 : 1 + world_pick(2);

	say(t, ",\"addressType\":\"%s\",\"ports\":[{\"name\":\"%s\",\"port\":%u}],\"endpoints\":[",
	    ONE_OF("IPv4", "IPv4", "IPv4", "IPv4", "FQDN"), ONE_OF("http", "http", "more"), 8080 + world_pick(2));
	for (unsigned i = 0; i < n; i++)
		say(t, "%s{\"addresses\":[\"%s%u\"],\"conditions\":{\"ready\":%s}%s%s}", i ? "," : "",
		    world_chance(95) ? "10.0.0." : "127.0.0.", 1 + world_pick(4), world_chance(80) ? "true" : "false",
		    ONE_OF("", ",\"nodeName\":\"node1\"", ",\"nodeName\":\"node2\""), ONE_OF("", ",\"hints\":{\"forZones\":[{\"name\":\"z1\"}]}", ",\"hints\":{\"forZones\":[{\"name\":\"z2\"}]}",
			   ",\"hints\":{\"forNodes\":[{\"name\":\"node1\"}],\"forZones\":[{\"name\":\"z2\"}]}"));
	say(t, "]");
}

static const char *a_name(enum kube_kind kind)
{
	switch (kind) {
	case KUBE_GATEWAY_CLASS:
	case KUBE_INGRESS_CLASS:
		return ONE_OF("weir", "weir", "second");
	case KUBE_GATEWAY:
		return a_gateway();
	case KUBE_SERVICE:
		return a_service();
	case KUBE_NAMESPACE:
		return a_ns();
	case KUBE_LISTENER_SET:
		return a_set();
	case KUBE_NODE:
		return ONE_OF("node1", "node1", "node2");
	case KUBE_SECRET:
	case KUBE_CONFIG_MAP:
		return a_secret();
	case KUBE_CRD:
		return "gatewayclasses.gateway.networking.k8s.io";
	default:
		return ONE_OF("n1", "n2", "n3", "n4");
	}
}

static const char *labels_of(enum kube_kind kind)
{
	if (kind == KUBE_ENDPOINT_SLICE)
		return ONE_OF("\"kubernetes.io/service-name\":\"s1\"", "\"kubernetes.io/service-name\":\"s1\"", "\"kubernetes.io/service-name\":\"s2\"",
			      "\"kubernetes.io/service-name\":\"s3\"", NULL);
	if (kind == KUBE_NODE)
		return ONE_OF("\"topology.kubernetes.io/zone\":\"z1\"", "\"topology.kubernetes.io/zone\":\"z2\"", NULL);
	return kind == KUBE_NAMESPACE ? ONE_OF("\"team\":\"red\"", "\"team\":\"blue\"", NULL) : NULL;
}

static const char *annotations_of(enum kube_kind kind)
{
	if (kind == KUBE_CRD)
		return ONE_OF("\"gateway.networking.k8s.io/bundle-version\":\"v1.5.0\"", "\"gateway.networking.k8s.io/bundle-version\":\"v2.0.0\"", NULL);
	if (world_chance(70))
		return NULL;
	if (kind == KUBE_SERVICE)
		return ONE_OF("\"weir.dev/load-balancing\":\"maglev\"", "\"weir.dev/affinity\":\"cookie\"", "\"weir.dev/max-connections\":\"x\"");
	if (kind == KUBE_INGRESS && world_chance(50))
		return ONE_OF("\"weir.dev/client-certificate-ca\":\"c1\"", "\"weir.dev/client-certificate-ca\":\"secret/c1\"",
			      "\"weir.dev/client-certificate-ca\":\"c2\",\"weir.dev/client-certificate\":\"optional\"",
			      "\"weir.dev/client-certificate-depth\":\"0\"");
	if (kind == KUBE_INGRESS_CLASS)
		return "\"ingressclass.kubernetes.io/is-default-class\":\"true\"";
	return ONE_OF("\"weir.dev/request-timeout\":\"1s\"", "\"weir.dev/idle-timeout\":\"2s\"", "\"weir.dev/unknown\":\"\"");
}

static void say_body(struct text *t, enum kube_kind kind)
{
	const char *broken = maybe_broken();

	if (kube_kind_is_named(kind))
		say_data(t, kind);
	else if (broken)
		say(t, "%s", broken);
	else if (kind == KUBE_GATEWAY_CLASS)
		say_class(t);
	else if (kind == KUBE_INGRESS_CLASS)
		say(t, ",\"spec\":{\"controller\":\"%s\"%s}", ONE_OF(TRANSLATE_CONTROLLER, TRANSLATE_CONTROLLER, "other.test/x"),
		    world_chance(20) ? ",\"parameters\":{\"kind\":\"ConfigMap\",\"name\":\"p\"}" : "");
	else if (kind == KUBE_GATEWAY)
		say_gateway(t);
	else if (kind == KUBE_HTTP_ROUTE)
		say_route(t);
	else if (kind == KUBE_LISTENER_SET)
		say_listener_set(t);
	else if (kind == KUBE_GRPC_ROUTE || kind == KUBE_TLS_ROUTE || kind == KUBE_TCP_ROUTE || kind == KUBE_UDP_ROUTE)
		say_other_route(t, kind);
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
	else if (kind == KUBE_NODE && world_chance(80))
		say(t, ",\"status\":{\"addresses\":[{\"type\":\"InternalIP\",\"address\":\"%s\"}]}", ONE_OF("10.9.0.1", "10.9.0.2", "fd09::1", "127.0.0.1"));
	if (kind == KUBE_GATEWAY)
		say_gateway_status(t);
	say(t, "}");
}

/* ---- changes */

/* Sequences are of all kinds, or of those that meet, so that they meet more often. */
static enum kube_kind a_kind(void)
{
	static const enum kube_kind all[] = {KUBE_INGRESS, KUBE_INGRESS, KUBE_INGRESS_CLASS, KUBE_GATEWAY_CLASS, KUBE_GATEWAY, KUBE_GATEWAY,
					     KUBE_HTTP_ROUTE, KUBE_HTTP_ROUTE, KUBE_HTTP_ROUTE, KUBE_REFERENCE_GRANT, KUBE_SERVICE,
					     KUBE_SERVICE, KUBE_SERVICE, KUBE_ENDPOINT_SLICE, KUBE_ENDPOINT_SLICE, KUBE_NAMESPACE,
					     KUBE_LISTENER_SET, KUBE_LISTENER_SET, KUBE_GRPC_ROUTE, KUBE_TLS_ROUTE, KUBE_TCP_ROUTE,
					     KUBE_UDP_ROUTE, KUBE_BACKEND_TLS_POLICY, KUBE_BACKEND_TLS_POLICY, KUBE_NODE, KUBE_CRD,
					     KUBE_SECRET, KUBE_CONFIG_MAP};
	static const enum kube_kind backends[] = {KUBE_INGRESS, KUBE_INGRESS, KUBE_INGRESS, KUBE_INGRESS_CLASS, KUBE_SERVICE, KUBE_SERVICE,
						  KUBE_ENDPOINT_SLICE, KUBE_ENDPOINT_SLICE, KUBE_ENDPOINT_SLICE, KUBE_NODE,
						  KUBE_BACKEND_TLS_POLICY, KUBE_GATEWAY, KUBE_GATEWAY_CLASS};
	static const enum kube_kind routes[] = {KUBE_GATEWAY_CLASS, KUBE_GATEWAY, KUBE_GATEWAY, KUBE_LISTENER_SET, KUBE_LISTENER_SET,
						KUBE_HTTP_ROUTE, KUBE_HTTP_ROUTE, KUBE_GRPC_ROUTE, KUBE_SERVICE, KUBE_NAMESPACE,
						KUBE_BACKEND_TLS_POLICY};

	static const enum kube_kind certificates[] = {KUBE_GATEWAY_CLASS, KUBE_GATEWAY, KUBE_GATEWAY, KUBE_LISTENER_SET, KUBE_SECRET,
						      KUBE_SECRET, KUBE_SECRET, KUBE_CONFIG_MAP, KUBE_CONFIG_MAP, KUBE_REFERENCE_GRANT,
						      KUBE_INGRESS, KUBE_BACKEND_TLS_POLICY, KUBE_HTTP_ROUTE, KUBE_SERVICE};

	static const enum kube_kind streams[] = {KUBE_GATEWAY_CLASS, KUBE_GATEWAY, KUBE_GATEWAY, KUBE_LISTENER_SET, KUBE_TLS_ROUTE,
						 KUBE_TLS_ROUTE, KUBE_TLS_ROUTE, KUBE_TCP_ROUTE, KUBE_TCP_ROUTE, KUBE_SECRET,
						 KUBE_SERVICE, KUBE_BACKEND_TLS_POLICY, KUBE_CONFIG_MAP, KUBE_INGRESS};

	switch (theme) {
	case 4:
		return streams[world_pick(sizeof(streams) / sizeof(*streams))];
	case 3:
		return certificates[world_pick(sizeof(certificates) / sizeof(*certificates))];
	case 1:
		return backends[world_pick(sizeof(backends) / sizeof(*backends))];
	case 2:
		return routes[world_pick(sizeof(routes) / sizeof(*routes))];
	default:
		return all[world_pick(sizeof(all) / sizeof(*all))];
	}
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

	for (unsigned i = world_pick(3); i > 0; i--) {
		say(&t, "---\n");
		say_object(&t, a_kind());
		say(&t, "\n");
	}
	if (world_chance(5))
		say(&t, "---\n{"); /* the rest is no YAML: the file counts as it was */
	store_load_yaml(s, ONE_OF("1", "2", "3", "4", "5", "6", "7", "8", "9"), t.b, t.n);
}

void world_change_name(struct known_names *names)
{
	struct known_name k = {.state = world_pick(NAME_NOT_ASKED + 1), .has_more = world_chance(10)};
	const char *name = ONE_OF("d1.test", "d1.test", "d2.test", "d3.test", "d4.test");

	if (k.state == NAME_KEPT || k.state == NAME_FAILED || (k.state == NAME_PENDING && world_chance(50)))
		k.why = ONE_OF("why", "another why");
	if (k.state == NAME_ANSWERED || k.state == NAME_KEPT)
		k.n = 1 + world_pick(3);
	for (size_t i = 0; i < k.n; i++) /* some of them are addresses of Gateways */
		k.addrs[i] = (struct weir_ip){{[10] = 0xff, 0xff, world_chance(95) ? 192 : 127, 0, 2, (uint8_t)(3 * i + 1 + world_pick(3))}};
	known_names_set(names, name, &k);
}

void world_put(struct store *s)
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
	for (unsigned i = world_pick(4); i > 0; i--) {
		struct text t = {.n = 0};

		say_object(&t, kind);
		store_put_json(s, kind, t.b, t.n);
	}
	store_sweep(s, kind, NULL);
}

/* A map with another value for one key. */
struct edited {
	struct node map;
	struct node *items[16];
	const char *keys[16];
};

static bool edit(struct edited *e, const struct node *map, const char *key, struct node *value)
{
	*e = (struct edited){.map = {.kind = NODE_MAP, .items = e->items, .keys = e->keys}};
	if (!map || map->kind != NODE_MAP || map->n > 15)
		return false;
	for (size_t i = 0; i < map->n; i++) {
		if (strcmp(map->keys[i], key) == 0)
			continue;
		e->keys[e->map.n] = map->keys[i];
		e->items[e->map.n++] = map->items[i];
	}
	e->keys[e->map.n] = key;
	e->items[e->map.n++] = value;
	return true;
}

static const struct kube_object *some_object(const struct store *s, enum kube_kind kind)
{
	size_t n;
	const struct kube_object *const *list = store_list(s, kind, &n);

	return n ? list[world_pick((uint32_t)n)] : NULL;
}

/* The same object with another status, as when somebody has written it. */
static void put_status(struct store *s)
{
	static const enum kube_kind kinds[] = {KUBE_GATEWAY, KUBE_GATEWAY, KUBE_LISTENER_SET, KUBE_GATEWAY_CLASS, KUBE_HTTP_ROUTE};
	enum kube_kind kind = kinds[world_pick(sizeof(kinds) / sizeof(*kinds))];
	const struct kube_object *o = some_object(s, kind);
	struct node value = {.kind = NODE_STRING, .text = ONE_OF("192.0.2.1", "192.0.2.2", "192.0.2.3")};
	struct node *value_list[] = {&value};
	const char *value_keys[] = {"value"};
	struct node address = {.kind = NODE_MAP, .n = 1, .items = value_list, .keys = value_keys};
	struct node *items[] = {&address};
	struct node addresses = {.kind = NODE_LIST, .n = 1, .items = items};
	struct node *status_items[] = {&addresses};
	const char *status_keys[] = {"addresses"};
	struct node status = {.kind = NODE_MAP, .n = 1, .items = status_items, .keys = status_keys};
	struct edited root;

	if (o && edit(&root, o->root, "status", &status))
		store_put(s, kind, &root.map);
}

/* The same ListenerSet for another Gateway. */
static void move_set(struct store *s)
{
	const struct kube_object *o = some_object(s, KUBE_LISTENER_SET);
	struct node name = {.kind = NODE_STRING, .text = a_gateway()};
	struct node ns = {.kind = NODE_STRING, .text = a_ns()};
	struct node *items[] = {&name, &ns};
	const char *keys[] = {"name", "namespace"};
	struct node parent = {.kind = NODE_MAP, .n = 2, .items = items, .keys = keys};
	struct edited spec, root;

	if (o && edit(&spec, node_get(o->root, "spec"), "parentRef", &parent) && edit(&root, o->root, "spec", &spec.map))
		store_put(s, KUBE_LISTENER_SET, &root.map);
}

void world_change(struct store *s)
{
	enum kube_kind kind = a_kind();

	if (are_files && world_chance(25)) {
		store_forget_file(s, ONE_OF("1", "2", "3", "4", "5", "6", "7", "8", "9"));
	} else if (are_files) {
		load_one(s);
	} else if (world_chance(theme == 3 ? 10 : 1)) {
		store_set_absence(s, world_chance(50) ? KUBE_SECRET : KUBE_CONFIG_MAP, a_ns(), a_secret(), (enum store_absence)world_pick(4));
	} else if (world_chance(5)) {
		put_status(s);
	} else if (world_chance(theme == 2 ? 15 : 3)) {
		move_set(s);
	} else if (world_chance(4)) {
		list_again(s, kind);
	} else if (world_chance(25)) {
		const char *ns = kube_kind_is_namespaced(kind) ? a_ns() : "";

		store_remove(s, kind, ns, a_name(kind));
	} else {
		world_put(s);
	}
}
