/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GatewayClass and Gateway: the listeners, and which routes they admit
 * (gateway.networking.k8s.io/v1). Listeners for protocols that Weir does not
 * carry are named and left out; the others of the same Gateway are served.
 */
#include <stdlib.h>
#include <string.h>

#include "base/ip.h"
#include "kube/names.h"
#include "translate/translate_pvt.h"

#define GATEWAY_GROUP "gateway.networking.k8s.io"

/* ---- which Gateways are ours ---- */

static bool is_our_class(struct translation *t, const struct kube_object *gateway, const struct cursor *spec)
{
	struct cursor at = cursor_get(spec, "gatewayClassName");
	const struct kube_object *c = store_get(t->store, KUBE_GATEWAY_CLASS, "", cursor_str(&at, ""));
	const char *controller = c ? node_str(node_path(c->root, "spec.controllerName")) : NULL;

	if (!c || !is_usable(t, c)) {
		report(t, gateway, &at, true, "GatewayClassNotFound", "a GatewayClass was expected: %.100s %s",
		       cursor_str(&at, ""), c ? "is refused for problems of its own" : "is not there");
		return false;
	}
	return strcmp(controller, t->options->controller_name) == 0;
}

static void check_classes(struct translation *t)
{
	size_t n;
	const struct kube_object *const *list = store_list(t->store, KUBE_GATEWAY_CLASS, &n);

	for (size_t i = 0; i < n; i++) {
		struct cursor root = cursor_root(list[i]);
		struct cursor spec = cursor_get(&root, "spec");
		struct cursor params = cursor_get(&spec, "parametersRef");
		struct cursor name = cursor_get(&spec, "controllerName");

		if (is_usable(t, list[i]) && params.n &&
		    strcmp(cursor_str(&name, ""), t->options->controller_name) == 0)
			report(t, list[i], &params, false, "UnsupportedField",
			       "ignored: Weir takes no parameters from a GatewayClass");
	}
}

/* ---- listeners ---- */

/* The addresses of a Gateway: of spec.addresses those that are right, or one "any" where it names none. */
static size_t read_addresses(struct translation *t, const struct kube_object *o, const struct cursor *spec,
			     struct weir_ip *out)
{
	struct cursor list = cursor_get(spec, "addresses");
	size_t n = 0;

	if (cursor_count(&list) == 0) {
		out[0] = (struct weir_ip){{0}};
		return 1;
	}
	for (size_t i = 0; i < cursor_count(&list); i++) {
		struct cursor a = cursor_at(&list, i);
		struct cursor type = cursor_get(&a, "type");
		struct cursor value = cursor_get(&a, "value");
		const char *text = cursor_str(&value, "");

		if (strcmp(cursor_str(&type, "IPAddress"), "IPAddress") != 0)
			report(t, o, &type, true, "UnsupportedAddress", "an address of type IPAddress was expected");
		else if (ip_parse(text, strlen(text), &out[n]) != 0 || ip_is_any(&out[n]))
			report(t, o, &value, true, "UnsupportedAddress", "an IPv4 or IPv6 address was expected");
		else
			n++;
	}
	return n;
}

static bool takes_http_routes(struct translation *t, const struct kube_object *o, const struct cursor *allowed)
{
	struct cursor kinds = cursor_get(allowed, "kinds");
	bool takes = cursor_count(&kinds) == 0;

	for (size_t i = 0; i < cursor_count(&kinds); i++) {
		struct cursor k = cursor_at(&kinds, i);
		struct cursor group = cursor_get(&k, "group");
		struct cursor kind = cursor_get(&k, "kind");

		if (strcmp(cursor_str(&group, GATEWAY_GROUP), GATEWAY_GROUP) == 0 &&
		    strcmp(cursor_str(&kind, ""), "HTTPRoute") == 0)
			takes = true;
		else
			report(t, o, &k, false, "InvalidRouteKinds",
			       "HTTPRoute was expected: no other kind can be attached");
	}
	return takes;
}

/* Whether a value is one of a list that ends with NULL; a problem if not. */
static bool check_enum(struct translation *t, const struct kube_object *o, const struct cursor *at,
		       const char *const *values, const char *expected)
{
	for (; *values; values++)
		if (strcmp(cursor_str(at, ""), *values) == 0)
			return true;
	report(t, o, at, true, "InvalidValue", "%s was expected", expected);
	return false;
}

static bool check_selector(struct translation *t, const struct kube_object *o, const struct cursor *namespaces)
{
	static const char *const operators[] = {"In", "NotIn", "Exists", "DoesNotExist", NULL};
	struct cursor selector = cursor_get(namespaces, "selector");
	struct cursor list = cursor_get(&selector, "matchExpressions");

	if (!selector.n) {
		report(t, o, &selector, true, "MissingField", "a label selector was expected");
		return false;
	}
	for (size_t i = 0; i < cursor_count(&list); i++) {
		struct cursor e = cursor_at(&list, i);
		struct cursor op = cursor_get(&e, "operator");
		struct cursor values = cursor_get(&e, "values");

		if (!check_enum(t, o, &op, operators, "In, NotIn, Exists or DoesNotExist"))
			return false;
		if (strstr(cursor_str(&op, ""), "In") && cursor_count(&values) == 0) {
			report(t, o, &values, true, "MissingField", "at least one value was expected");
			return false;
		}
	}
	return true;
}

static bool check_namespaces(struct translation *t, const struct kube_object *o, const struct cursor *namespaces)
{
	static const char *const values[] = {"Same", "All", "Selector", "None", NULL};
	struct cursor from = cursor_get(namespaces, "from");

	if (!from.n)
		return true;
	if (!check_enum(t, o, &from, values, "Same, All, Selector or None"))
		return false;
	return strcmp(cursor_str(&from, ""), "Selector") != 0 || check_selector(t, o, namespaces);
}

/* Listeners of one Gateway differ in name, and in port or host name. Of two alike the first is served. */
static bool check_distinct(struct translation *t, const struct gateway *g, const struct cursor *l,
			   const struct section *s)
{
	struct cursor name = cursor_get(l, "name");

	for (size_t i = g->first; i < t->n_sections; i++) {
		const struct section *other = &t->sections[i];

		if (strcmp(other->name, s->name) == 0) {
			report(t, g->o, &name, true, "DuplicateListener",
			       "a name of its own was expected: %.100s stands before", s->name);
			return false;
		}
		if (other->port == s->port && strcmp(other->host, s->host) == 0) {
			report(t, g->o, l, true, "ListenerConflict",
			       "a port or host name of its own was expected: listener %.100s has the same",
			       other->name);
			return false;
		}
	}
	return true;
}

/* Reads listener l. False, after a problem, if it cannot be served. */
static bool read_section(struct translation *t, const struct gateway *g, const struct cursor *l, struct section *s)
{
	static const char *const known[] = {"HTTP", "HTTPS", "TLS", "TCP", "UDP", NULL};
	struct cursor name = cursor_get(l, "name");
	struct cursor protocol = cursor_get(l, "protocol");
	struct cursor host = cursor_get(l, "hostname");
	struct cursor port = cursor_get(l, "port");
	struct cursor allowed = cursor_get(l, "allowedRoutes");
	struct cursor namespaces = cursor_get(&allowed, "namespaces");
	struct cursor tls = cursor_get(l, "tls");
	int64_t number = 0;

	node_int(port.n, 1, 65535, &number);
	*s = (struct section){.name = cursor_str(&name, ""),
			      .host = cursor_str(&host, ""),
			      .port = (uint16_t)number,
			      .namespaces = namespaces.n};
	if (!names_is_subdomain(s->name)) {
		report(t, g->o, &name, true, "InvalidName",
		       "a DNS name of lower case letters, digits, '-' and '.' was expected");
		return false;
	}
	if (strcmp(cursor_str(&protocol, ""), "HTTP") != 0) {
		bool is_known = false;

		for (size_t i = 0; known[i]; i++)
			is_known |= strcmp(cursor_str(&protocol, ""), known[i]) == 0;
		report(t, g->o, &protocol, true, "UnsupportedProtocol", "HTTP was expected%s",
		       is_known ? ": Weir does not carry this protocol yet" : "");
		return false;
	}
	if (*s->host && !names_is_host(s->host)) {
		report(t, g->o, &host, true, "InvalidHostname",
		       "a host name in lower case, or \"*.\" and one, was expected");
		return false;
	}
	if (tls.n)
		report(t, g->o, &tls, false, "UnsupportedField", "ignored: a listener for HTTP has no TLS");
	if (!check_namespaces(t, g->o, &namespaces) || !check_distinct(t, g, l, s))
		return false;
	s->takes_http_routes = takes_http_routes(t, g->o, &allowed);
	return true;
}

static void add_section(struct translation *t, const struct gateway *g, struct section *s, const struct weir_ip *addrs,
			size_t n, const struct weir_timeouts *timeouts)
{
	s->first = (uint32_t)t->m->n_listeners;
	s->count = (uint32_t)n;
	for (size_t i = 0; i < n; i++) {
		struct model_listener *l = model_add_listener(t->m);

		l->addr = addrs[i];
		l->port = s->port;
		l->proto = WEIR_PROTO_HTTP;
		l->host = model_str(t->m, s->host);
		l->name = model_printf(t->m, "Gateway %s/%s %s", g->o->ns, g->o->name, s->name);
		l->timeouts = *timeouts;
	}
	t->sections = translate_grow(t->sections, t->n_sections, &t->cap_sections, sizeof(*t->sections));
	t->sections[t->n_sections++] = *s;
}

static int compare_ips(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct weir_ip));
}

static void add_gateway(struct translation *t, const struct kube_object *o, const struct cursor *spec)
{
	struct gateway g = {.o = o, .first = t->n_sections};
	struct cursor listeners = cursor_get(spec, "listeners");
	struct weir_ip addrs[16]; /* as many as the schema lets through */
	size_t n_addrs = read_addresses(t, o, spec, addrs);
	size_t kept = 0;
	struct weir_timeouts timeouts = {0};

	timeouts_read(t, o, &timeouts);
	qsort(addrs, n_addrs, sizeof(*addrs), compare_ips);
	for (size_t i = 0; i < n_addrs; i++)
		if (kept == 0 || !ip_eq(&addrs[kept - 1], &addrs[i]))
			addrs[kept++] = addrs[i];
	for (size_t i = 0; i < cursor_count(&listeners); i++) {
		struct cursor l = cursor_at(&listeners, i);
		struct section s;

		if (read_section(t, &g, &l, &s))
			add_section(t, &g, &s, addrs, kept, &timeouts);
	}
	g.count = t->n_sections - g.first;
	t->gateways = translate_grow(t->gateways, t->n_gateways, &t->cap_gateways, sizeof(*t->gateways));
	t->gateways[t->n_gateways++] = g;
}

void gateway_translate(struct translation *t)
{
	size_t n;
	const struct kube_object *const *list = store_list(t->store, KUBE_GATEWAY, &n);

	check_classes(t);
	for (size_t i = 0; i < n; i++) {
		struct cursor root = cursor_root(list[i]);
		struct cursor spec = cursor_get(&root, "spec");

		if (is_usable(t, list[i]) && is_our_class(t, list[i], &spec))
			add_gateway(t, list[i], &spec);
	}
}

const struct gateway *gateway_find(const struct translation *t, const char *ns, const char *name)
{
	size_t lo = 0;
	size_t hi = t->n_gateways;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int d = strcmp(t->gateways[mid].o->ns, ns);

		if (d == 0)
			d = strcmp(t->gateways[mid].o->name, name);
		if (d == 0)
			return &t->gateways[mid];
		if (d < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

/* ---- attachment ---- */

/* A label of a namespace. Every namespace has its own name as one, whether its object is known or not. */
static const char *namespace_label(const struct translation *t, const char *ns, const char *key)
{
	const struct kube_object *o = store_get(t->store, KUBE_NAMESPACE, "", ns);

	if (strcmp(key, "kubernetes.io/metadata.name") == 0)
		return ns;
	if (!o || !is_usable(t, o))
		return NULL;
	return node_str(node_get(node_path(o->root, "metadata.labels"), key));
}

static bool has_value(const struct node *values, const char *v)
{
	for (size_t i = 0; v && values && i < values->n; i++)
		if (strcmp(node_str(values->items[i]), v) == 0)
			return true;
	return false;
}

static bool selects(const struct translation *t, const struct node *selector, const char *ns)
{
	const struct node *labels = node_get(selector, "matchLabels");
	const struct node *list = node_get(selector, "matchExpressions");

	for (size_t i = 0; labels && i < labels->n; i++) {
		const char *have = namespace_label(t, ns, labels->keys[i]);
		const char *want = node_str(labels->items[i]);

		if (!have || strcmp(have, want ? want : "") != 0)
			return false;
	}
	for (size_t i = 0; list && i < list->n; i++) {
		const char *have = namespace_label(t, ns, node_str(node_get(list->items[i], "key")));
		const char *op = node_str(node_get(list->items[i], "operator"));
		const struct node *values = node_get(list->items[i], "values");
		bool holds = op[0] == 'I'               ? has_value(values, have)
			     : strcmp(op, "NotIn") == 0 ? !has_value(values, have)
			     : op[0] == 'E'             ? have != NULL
							: have == NULL;

		if (!holds)
			return false;
	}
	return true;
}

bool section_admits(const struct translation *t, const struct gateway *g, const struct section *s, const char *ns)
{
	const char *from = s->namespaces ? node_str(node_get(s->namespaces, "from")) : NULL;

	if (!s->takes_http_routes)
		return false;
	if (!from || strcmp(from, "Same") == 0)
		return strcmp(ns, g->o->ns) == 0;
	if (strcmp(from, "All") == 0)
		return true;
	return strcmp(from, "Selector") == 0 && selects(t, node_get(s->namespaces, "selector"), ns);
}

/* Whether a host name lies below "*.x": at least one label before x. */
static bool is_below(const char *host, const char *wildcard)
{
	size_t n = strlen(host);
	size_t n_suffix = strlen(wildcard) - 1; /* ".x" */

	return n > n_suffix && strcmp(host + n - n_suffix, wildcard + 1) == 0;
}

const char *host_intersection(const char *listener, const char *route)
{
	if (!*listener || strcmp(listener, route) == 0)
		return route;
	if (!*route)
		return listener;
	if (listener[0] == '*' && is_below(route, listener))
		return route;
	if (route[0] == '*' && is_below(listener, route))
		return listener;
	return NULL;
}
