/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shapes of the objects that are read: which keys a structure has, of
 * which type, and which must be there, after the published API definitions
 * (networking.k8s.io/v1, discovery.k8s.io/v1, core v1, Gateway API v1). One
 * pass over an object, so that what reads it afterwards can rely on the types.
 * A wrong type or a missing field refuses the object; a key that is in no
 * definition is only named, as strict decoding does.
 */
#include <string.h>

#include "translate/translate_pvt.h"

enum field_type { ANY, STRING, BOOL, INT, INT_OR_STRING, OBJECT, STRINGS, OBJECTS, STRING_MAP };

struct field {
	const char *key;
	enum field_type type;
	bool is_required;
	const struct field *sub; /* OBJECT, OBJECTS */
	int64_t lo, hi;          /* INT: range; lists: at most hi elements (0: any number) */
};

#define F(k, t, ...) \
	{ \
		.key = (k), .type = (t), ##__VA_ARGS__ \
	}
#define REQUIRED .is_required = true
#define PORT_RANGE .lo = 1, .hi = 65535
/* clang-format off */

static const struct field metadata[] = {
	F("name", STRING), F("generateName", STRING), F("namespace", STRING), F("labels", STRING_MAP),
	F("annotations", STRING_MAP), F("creationTimestamp", STRING), F("deletionTimestamp", STRING),
	F("deletionGracePeriodSeconds", ANY), F("finalizers", ANY), F("generation", ANY), F("managedFields", ANY),
	F("ownerReferences", ANY), F("resourceVersion", ANY), F("selfLink", ANY), F("uid", ANY), {0}};

#define TOP F("apiVersion", STRING, REQUIRED), F("kind", STRING, REQUIRED), F("metadata", OBJECT, REQUIRED, .sub = metadata)

/* -- networking.k8s.io/v1 -- */
static const struct field service_port_ref[] = {
	F("name", STRING), F("number", INT, PORT_RANGE), {0}};
static const struct field service_ref[] = {
	F("name", STRING, REQUIRED), F("port", OBJECT, .sub = service_port_ref), {0}};
static const struct field ingress_backend[] = {
	F("service", OBJECT, .sub = service_ref), F("resource", ANY), {0}};
static const struct field ingress_path[] = {
	F("path", STRING), F("pathType", STRING, REQUIRED), F("backend", OBJECT, REQUIRED, .sub = ingress_backend), {0}};
static const struct field ingress_http[] = {
	F("paths", OBJECTS, REQUIRED, .sub = ingress_path), {0}};
static const struct field ingress_rule[] = {
	F("host", STRING), F("http", OBJECT, .sub = ingress_http), {0}};
static const struct field ingress_tls[] = {
	F("hosts", STRINGS), F("secretName", STRING), {0}};
static const struct field ingress_spec[] = {
	F("ingressClassName", STRING), F("defaultBackend", OBJECT, .sub = ingress_backend),
	F("rules", OBJECTS, .sub = ingress_rule), F("tls", OBJECTS, .sub = ingress_tls), {0}};
static const struct field ingress[] = {
	TOP, F("spec", OBJECT, .sub = ingress_spec), F("status", ANY), {0}};
static const struct field ingress_class_spec[] = {
	F("controller", STRING, REQUIRED), F("parameters", ANY), {0}};
static const struct field ingress_class[] = {
	TOP, F("spec", OBJECT, REQUIRED, .sub = ingress_class_spec), {0}};

/* -- gateway.networking.k8s.io/v1 -- */
static const struct field gateway_class_spec[] = {
	F("controllerName", STRING, REQUIRED), F("description", STRING), F("parametersRef", ANY), {0}};
static const struct field gateway_class[] = {
	TOP, F("spec", OBJECT, REQUIRED, .sub = gateway_class_spec), F("status", ANY), {0}};
static const struct field label_expression[] = {
	F("key", STRING, REQUIRED), F("operator", STRING, REQUIRED), F("values", STRINGS), {0}};
static const struct field label_selector[] = {
	F("matchLabels", STRING_MAP), F("matchExpressions", OBJECTS, .sub = label_expression), {0}};
static const struct field route_namespaces[] = {
	F("from", STRING), F("selector", OBJECT, .sub = label_selector), {0}};
static const struct field route_kind[] = {
	F("group", STRING), F("kind", STRING, REQUIRED), {0}};
static const struct field allowed_routes[] = {
	F("namespaces", OBJECT, .sub = route_namespaces), F("kinds", OBJECTS, .sub = route_kind, .hi = 8), {0}};
static const struct field secret_ref[] = {
	F("group", STRING), F("kind", STRING), F("namespace", STRING), F("name", STRING, REQUIRED), {0}};
static const struct field object_ref[] = {
	F("group", STRING, REQUIRED), F("kind", STRING, REQUIRED), F("namespace", STRING), F("name", STRING, REQUIRED), {0}};
static const struct field listener_tls[] = {
	F("mode", STRING), F("certificateRefs", OBJECTS, .sub = secret_ref, .hi = 64), F("options", STRING_MAP), {0}};
static const struct field gateway_listener[] = {
	F("name", STRING, REQUIRED), F("hostname", STRING), F("port", INT, REQUIRED, PORT_RANGE),
	F("protocol", STRING, REQUIRED), F("tls", OBJECT, .sub = listener_tls), F("allowedRoutes", OBJECT, .sub = allowed_routes), {0}};
static const struct field listener_namespaces[] = {
	F("namespaces", OBJECT, .sub = route_namespaces), {0}};
static const struct field gateway_address[] = {
	F("type", STRING), F("value", STRING), {0}};
static const struct field frontend_validation[] = {
	F("caCertificateRefs", OBJECTS, .sub = object_ref, .hi = 16), F("mode", STRING), {0}};
static const struct field frontend_config[] = {
	F("validation", OBJECT, .sub = frontend_validation), {0}};
static const struct field frontend_port[] = {
	F("port", INT, REQUIRED, PORT_RANGE), F("tls", OBJECT, REQUIRED, .sub = frontend_config), {0}};
static const struct field frontend_tls[] = {
	F("default", OBJECT, .sub = frontend_config), F("perPort", OBJECTS, .sub = frontend_port, .hi = 64), {0}};
static const struct field gateway_backend_tls[] = {
	F("clientCertificateRef", OBJECT, .sub = secret_ref), {0}};
static const struct field gateway_tls[] = {
	F("backend", OBJECT, .sub = gateway_backend_tls), F("frontend", OBJECT, .sub = frontend_tls), {0}};
static const struct field gateway_spec[] = {
	F("gatewayClassName", STRING, REQUIRED), F("listeners", OBJECTS, REQUIRED, .sub = gateway_listener, .hi = 64),
	F("addresses", OBJECTS, .sub = gateway_address, .hi = 16), F("infrastructure", ANY), F("backendTLS", ANY),
	F("allowedListeners", OBJECT, .sub = listener_namespaces), F("tls", OBJECT, .sub = gateway_tls), F("defaultScope", ANY), {0}};
static const struct field gateway[] = {
	TOP, F("spec", OBJECT, REQUIRED, .sub = gateway_spec), F("status", ANY), {0}};
static const struct field parent_ref[] = {
	F("group", STRING), F("kind", STRING), F("namespace", STRING), F("name", STRING, REQUIRED),
	F("sectionName", STRING), F("port", INT, PORT_RANGE), {0}};
static const struct field path_match[] = {
	F("type", STRING), F("value", STRING), {0}};
static const struct field value_match[] = {
	F("type", STRING), F("name", STRING, REQUIRED), F("value", STRING, REQUIRED), {0}};
static const struct field route_match[] = {
	F("path", OBJECT, .sub = path_match), F("headers", OBJECTS, .sub = value_match, .hi = 16),
	F("queryParams", OBJECTS, .sub = value_match, .hi = 16), F("method", STRING), {0}};
static const struct field http_header[] = {
	F("name", STRING, REQUIRED), F("value", STRING, REQUIRED), {0}};
static const struct field header_filter[] = {
	F("set", OBJECTS, .sub = http_header, .hi = 16), F("add", OBJECTS, .sub = http_header, .hi = 16),
	F("remove", STRINGS, .hi = 16), {0}};
static const struct field path_modifier[] = {
	F("type", STRING, REQUIRED), F("replaceFullPath", STRING), F("replacePrefixMatch", STRING), {0}};
static const struct field redirect_filter[] = {
	F("scheme", STRING), F("hostname", STRING), F("path", OBJECT, .sub = path_modifier), F("port", INT, PORT_RANGE),
	F("statusCode", INT, .lo = 0, .hi = 999), {0}};
static const struct field rewrite_filter[] = {
	F("hostname", STRING), F("path", OBJECT, .sub = path_modifier), {0}};
static const struct field mirror_ref[] = {
	F("group", STRING), F("kind", STRING), F("namespace", STRING), F("name", STRING, REQUIRED), F("port", INT, PORT_RANGE), {0}};
static const struct field fraction[] = {
	F("numerator", INT, REQUIRED, .lo = 0, .hi = INT32_MAX), F("denominator", INT, .lo = 1, .hi = INT32_MAX), {0}};
static const struct field mirror_filter[] = {
	F("backendRef", OBJECT, REQUIRED, .sub = mirror_ref), F("percent", INT, .lo = 0, .hi = 100),
	F("fraction", OBJECT, .sub = fraction), {0}};
static const struct field cors_filter[] = {
	F("allowOrigins", STRINGS, .hi = 64), F("allowCredentials", BOOL), F("allowMethods", STRINGS, .hi = 9),
	F("allowHeaders", STRINGS, .hi = 64), F("exposeHeaders", STRINGS, .hi = 64), F("maxAge", INT, .lo = 1, .hi = INT32_MAX), {0}};
static const struct field route_filter[] = {
	F("type", STRING, REQUIRED), F("requestHeaderModifier", OBJECT, .sub = header_filter),
	F("responseHeaderModifier", OBJECT, .sub = header_filter), F("requestMirror", OBJECT, .sub = mirror_filter),
	F("requestRedirect", OBJECT, .sub = redirect_filter), F("urlRewrite", OBJECT, .sub = rewrite_filter), 
	F("cors", OBJECT, .sub = cors_filter),
	F("externalAuth", ANY), F("extensionRef", ANY), {0}};
static const struct field backend_ref[] = {
	F("group", STRING), F("kind", STRING), F("namespace", STRING), F("name", STRING, REQUIRED),
	F("port", INT, PORT_RANGE), F("weight", INT, .lo = 0, .hi = 1000000),
	F("filters", OBJECTS, .sub = route_filter, .hi = 16), {0}};
static const struct field route_timeouts[] = {
	F("request", STRING), F("backendRequest", STRING), {0}};
static const struct field route_rule[] = {
	F("name", STRING), F("matches", OBJECTS, .sub = route_match, .hi = 64),
	F("filters", OBJECTS, .sub = route_filter, .hi = 16), F("backendRefs", OBJECTS, .sub = backend_ref, .hi = 16),
	F("timeouts", OBJECT, .sub = route_timeouts), F("retry", ANY), F("sessionPersistence", ANY), {0}};
static const struct field http_route_spec[] = {
	F("parentRefs", OBJECTS, .sub = parent_ref, .hi = 32), F("hostnames", STRINGS, .hi = 16),
	F("rules", OBJECTS, .sub = route_rule, .hi = 16), F("useDefaultGateways", ANY), {0}};
static const struct field http_route[] = {
	TOP, F("spec", OBJECT, REQUIRED, .sub = http_route_spec), F("status", ANY), {0}};
static const struct field grpc_method[] = {
	F("type", STRING), F("service", STRING), F("method", STRING), {0}};
static const struct field grpc_match[] = {
	F("method", OBJECT, .sub = grpc_method), F("headers", OBJECTS, .sub = value_match, .hi = 16), {0}};
static const struct field grpc_rule[] = {
	F("name", STRING), F("matches", OBJECTS, .sub = grpc_match, .hi = 64),
	F("filters", OBJECTS, .sub = route_filter, .hi = 16), F("backendRefs", OBJECTS, .sub = backend_ref, .hi = 16),
	F("sessionPersistence", ANY), {0}};
static const struct field grpc_route_spec[] = {
	F("parentRefs", OBJECTS, .sub = parent_ref, .hi = 32), F("hostnames", STRINGS, .hi = 16),
	F("rules", OBJECTS, .sub = grpc_rule, .hi = 16), F("useDefaultGateways", ANY), {0}};
static const struct field grpc_route[] = {
	TOP, F("spec", OBJECT, .sub = grpc_route_spec), F("status", ANY), {0}};
static const struct field stream_ref[] = {
	F("group", STRING), F("kind", STRING), F("namespace", STRING), F("name", STRING, REQUIRED),
	F("port", INT, PORT_RANGE), F("weight", INT, .lo = 0, .hi = 1000000), {0}};
static const struct field stream_rule[] = {
	F("name", STRING), F("backendRefs", OBJECTS, .sub = stream_ref, .hi = 16), {0}};
static const struct field tls_route_spec[] = {
	F("parentRefs", OBJECTS, .sub = parent_ref, .hi = 32), F("hostnames", STRINGS, .hi = 1024),
	F("rules", OBJECTS, REQUIRED, .sub = stream_rule, .hi = 16), F("useDefaultGateways", ANY), {0}};
static const struct field tls_route[] = {
	TOP, F("spec", OBJECT, REQUIRED, .sub = tls_route_spec), F("status", ANY), {0}};
static const struct field stream_route_spec[] = {
	F("parentRefs", OBJECTS, .sub = parent_ref, .hi = 32), F("rules", OBJECTS, REQUIRED, .sub = stream_rule, .hi = 16),
	F("useDefaultGateways", ANY), {0}};
static const struct field stream_route[] = {
	TOP, F("spec", OBJECT, REQUIRED, .sub = stream_route_spec), F("status", ANY), {0}};
static const struct field policy_target[] = {
	F("group", STRING, REQUIRED), F("kind", STRING, REQUIRED), F("name", STRING, REQUIRED), F("sectionName", STRING), {0}};
static const struct field ca_ref[] = {
	F("group", STRING, REQUIRED), F("kind", STRING, REQUIRED), F("name", STRING, REQUIRED), {0}};
static const struct field alt_name[] = {
	F("type", STRING, REQUIRED), F("hostname", STRING), F("uri", STRING), {0}};
static const struct field tls_validation[] = {
	F("caCertificateRefs", OBJECTS, .sub = ca_ref, .hi = 8), F("wellKnownCACertificates", STRING),
	F("hostname", STRING, REQUIRED), F("subjectAltNames", OBJECTS, .sub = alt_name, .hi = 5), {0}};
static const struct field tls_policy_spec[] = {
	F("targetRefs", OBJECTS, REQUIRED, .sub = policy_target, .hi = 16),
	F("validation", OBJECT, REQUIRED, .sub = tls_validation), F("options", STRING_MAP), {0}};
static const struct field tls_policy[] = {
	TOP, F("spec", OBJECT, REQUIRED, .sub = tls_policy_spec), F("status", ANY), {0}};
static const struct field set_parent[] = {
	F("group", STRING), F("kind", STRING), F("namespace", STRING), F("name", STRING, REQUIRED), {0}};
static const struct field listener_set_spec[] = {
	F("parentRef", OBJECT, REQUIRED, .sub = set_parent),
	F("listeners", OBJECTS, REQUIRED, .sub = gateway_listener, .hi = 64), {0}};
static const struct field listener_set[] = {
	TOP, F("spec", OBJECT, REQUIRED, .sub = listener_set_spec), F("status", ANY), {0}};
static const struct field grant_from[] = {
	F("group", STRING, REQUIRED), F("kind", STRING, REQUIRED), F("namespace", STRING, REQUIRED), {0}};
static const struct field grant_to[] = {
	F("group", STRING, REQUIRED), F("kind", STRING, REQUIRED), F("name", STRING), {0}};
static const struct field grant_spec[] = {
	F("from", OBJECTS, REQUIRED, .sub = grant_from, .hi = 16), F("to", OBJECTS, REQUIRED, .sub = grant_to, .hi = 16), {0}};
static const struct field reference_grant[] = {
	TOP, F("spec", OBJECT, REQUIRED, .sub = grant_spec), {0}};

/* -- core v1 and discovery.k8s.io/v1 -- */
static const struct field service_port[] = {
	F("name", STRING), F("protocol", STRING), F("appProtocol", STRING), F("port", INT, REQUIRED, PORT_RANGE),
	F("targetPort", INT_OR_STRING), F("nodePort", INT, .lo = 0, .hi = 65535), {0}};
static const struct field service_spec[] = {
	F("ports", OBJECTS, .sub = service_port), F("type", STRING), F("externalName", STRING), F("selector", STRING_MAP),
	F("clusterIP", ANY), F("clusterIPs", ANY), F("externalIPs", ANY), F("sessionAffinity", ANY),
	F("sessionAffinityConfig", ANY), F("loadBalancerIP", ANY), F("loadBalancerSourceRanges", ANY),
	F("loadBalancerClass", ANY), F("externalTrafficPolicy", ANY), F("internalTrafficPolicy", ANY),
	F("healthCheckNodePort", ANY), F("publishNotReadyAddresses", ANY), F("ipFamilies", ANY), F("ipFamilyPolicy", ANY),
	F("allocateLoadBalancerNodePorts", ANY), F("trafficDistribution", ANY), {0}};
static const struct field service[] = {
	TOP, F("spec", OBJECT, .sub = service_spec), F("status", ANY), {0}};
static const struct field endpoint_conditions[] = {
	F("ready", BOOL), F("serving", BOOL), F("terminating", BOOL), {0}};
static const struct field hint[] = {
	F("name", STRING, REQUIRED), {0}};
static const struct field endpoint_hints[] = {
	F("forZones", OBJECTS, .sub = hint), F("forNodes", OBJECTS, .sub = hint), {0}};
static const struct field endpoint[] = {
	F("addresses", STRINGS, REQUIRED, .hi = 100), F("conditions", OBJECT, .sub = endpoint_conditions), F("hostname", ANY),
	F("targetRef", ANY), F("deprecatedTopology", ANY), F("nodeName", ANY), F("zone", ANY),
	F("hints", OBJECT, .sub = endpoint_hints), {0}};
static const struct field endpoint_port[] = {
	F("name", STRING), F("protocol", STRING), F("port", INT, PORT_RANGE), F("appProtocol", STRING), {0}};
/* The API server lets 20,000 ports through. Each port in use looks through them: so many would be a stall for everybody. */
static const struct field endpoint_slice[] = {
	TOP, F("addressType", STRING, REQUIRED), F("endpoints", OBJECTS, .sub = endpoint),
	F("ports", OBJECTS, .sub = endpoint_port, .hi = 1000), {0}};
static const struct field namespace[] = {
	TOP, F("spec", ANY), F("status", ANY), {0}};
static const struct field secret[] = {
	TOP, F("type", STRING), F("data", STRING_MAP), F("stringData", STRING_MAP), F("immutable", ANY), {0}};
static const struct field config_map[] = {
	TOP, F("data", STRING_MAP), F("binaryData", STRING_MAP), F("immutable", ANY), {0}};
/* Node and CustomResourceDefinition: nothing is read but metadata. */
static const struct field metadata_only[] = {
	TOP, F("spec", ANY), F("status", ANY), {0}};

/* clang-format on */

static const struct field *const schemas[KUBE_N_KINDS] = {
    [KUBE_INGRESS] = ingress, [KUBE_INGRESS_CLASS] = ingress_class,   [KUBE_GATEWAY_CLASS] = gateway_class,
    [KUBE_GATEWAY] = gateway, [KUBE_HTTP_ROUTE] = http_route,         [KUBE_REFERENCE_GRANT] = reference_grant,
    [KUBE_SERVICE] = service, [KUBE_ENDPOINT_SLICE] = endpoint_slice, [KUBE_NAMESPACE] = namespace,
    [KUBE_GRPC_ROUTE] = grpc_route, [KUBE_TLS_ROUTE] = tls_route,     [KUBE_TCP_ROUTE] = stream_route,
    [KUBE_UDP_ROUTE] = stream_route, [KUBE_BACKEND_TLS_POLICY] = tls_policy, [KUBE_LISTENER_SET] = listener_set,
    [KUBE_NODE] = metadata_only, [KUBE_CRD] = metadata_only, [KUBE_SECRET] = secret, [KUBE_CONFIG_MAP] = config_map,
};

/* What one check needs everywhere. */
struct check {
	struct translation *t;
	const struct kube_object *o;
	bool ok;
};

static void check_object(struct check *k, const struct cursor *c, const struct field *fields);

static void wrong(struct check *k, const struct cursor *c, const char *reason, const char *expected)
{
	report(k->t, k->o, c, true, reason, "%s was expected", expected);
	k->ok = false;
}

static void check_list(struct check *k, const struct cursor *c, const struct field *f)
{
	if (c->n->kind != NODE_LIST) {
		wrong(k, c, "InvalidType", f->type == STRINGS ? "a list of strings" : "a list of objects");
		return;
	}
	if (f->hi && c->n->n > (size_t)f->hi) {
		report(k->t, k->o, c, true, "TooMany", "at most %d elements were expected, not %zu", (int)f->hi,
		       c->n->n);
		k->ok = false;
		return;
	}
	for (size_t i = 0; i < c->n->n; i++) {
		struct cursor item = cursor_at(c, i);

		if (f->type == OBJECTS)
			check_object(k, &item, f->sub);
		else if (!node_str(item.n))
			wrong(k, &item, "InvalidType", "a string");
	}
}

static void check_string_map(struct check *k, const struct cursor *c)
{
	if (c->n->kind != NODE_MAP) {
		wrong(k, c, "InvalidType", "an object of strings");
		return;
	}
	for (size_t i = 0; i < c->n->n; i++) {
		struct cursor item = {.n = c->n->items[i], .up = c, .key = c->n->keys[i]};

		if (item.n->kind != NODE_STRING && item.n->kind != NODE_NULL)
			wrong(k, &item, "InvalidType", "a string (in quotes where it looks like something else)");
	}
}

static void check_int(struct check *k, const struct cursor *c, const struct field *f)
{
	int64_t v;

	if (!node_int(c->n, INT64_MIN, INT64_MAX, &v)) {
		wrong(k, c, "InvalidType", "an integer");
	} else if (v < f->lo || v > f->hi) {
		report(k->t, k->o, c, true, "InvalidValue", "an integer from %lld to %lld was expected",
		       (long long)f->lo, (long long)f->hi);
		k->ok = false;
	}
}

static void check_field(struct check *k, const struct cursor *c, const struct field *f)
{
	bool b;

	switch (f->type) {
	case ANY:
		break;
	case STRING:
		if (c->n->kind != NODE_STRING)
			wrong(k, c, "InvalidType", "a string (in quotes where it looks like something else)");
		break;
	case BOOL:
		if (!node_bool(c->n, &b))
			wrong(k, c, "InvalidType", "true or false");
		break;
	case INT:
		check_int(k, c, f);
		break;
	case INT_OR_STRING:
		if (c->n->kind != NODE_STRING && c->n->kind != NODE_NUMBER)
			wrong(k, c, "InvalidType", "an integer or a string");
		break;
	case OBJECT:
		check_object(k, c, f->sub);
		break;
	case STRINGS:
	case OBJECTS:
		check_list(k, c, f);
		break;
	case STRING_MAP:
		check_string_map(k, c);
		break;
	}
}

static void check_object(struct check *k, const struct cursor *c, const struct field *fields)
{
	if (!c->n || c->n->kind != NODE_MAP) {
		wrong(k, c, "InvalidType", "an object");
		return;
	}
	for (const struct field *f = fields; f->key; f++) {
		struct cursor sub = cursor_get(c, f->key);

		if (sub.n)
			check_field(k, &sub, f);
		else if (f->is_required)
			wrong(k, &sub, "MissingField", f->type == OBJECTS ? "a list of objects" : "a value");
	}
	for (size_t i = 0; i < c->n->n; i++) {
		struct cursor sub = {.n = c->n->items[i], .up = c, .key = c->n->keys[i]};
		const struct field *f = fields;

		while (f->key && strcmp(f->key, sub.key) != 0)
			f++;
		if (!f->key)
			report(k->t, k->o, &sub, false, "UnknownField", "ignored: no field of this name is defined");
	}
}

bool schema_check(struct translation *t, const struct kube_object *o)
{
	struct check k = {.t = t, .o = o, .ok = true};
	struct cursor root = cursor_root(o);

	check_object(&k, &root, schemas[o->kind]);
	return k.ok;
}
