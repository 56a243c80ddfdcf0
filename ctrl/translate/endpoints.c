/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Backends and their endpoints. A backend is a port of a Service; its
 * endpoints come from the EndpointSlices that carry the Service's name as a
 * label, by the name of that port.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/ip.h"
#include "translate/translator_pvt.h"

#define SERVICE_LABEL "kubernetes.io/service-name"

/* ---- backends ---- */

static const char *text_of(const struct node *map, const char *key, const char *fallback)
{
	const char *s = node_str(node_get(map, key));

	return s ? s : fallback;
}

/* The port of a Service for a protocol by number, or by name where number is 0; NULL if it has none such. */
const struct node *backend_port(const struct translation *t, const struct kube_object *service, const char *protocol,
				int64_t number, const char *name)
{
	struct port_range r = ports_find(unit_of(t, service), node_path(service->root, "spec.ports"), protocol, number, name);

	return ports_next(&r);
}

static bool is_one_of(const char *s, const char *const *list)
{
	while (*list && strcasecmp(s, *list) != 0)
		list++;
	return *list != NULL;
}

/*
 * Whether a port is spoken to, by its appProtocol, which is free text beside
 * the names of KEP-3726. To a route (Gateway API) all is wrong that is not
 * HTTP/1.1, be it over TLS where a policy says how. An Ingress has no such
 * rule, and the field is often wrong: only what says that it is over TLS is
 * not spoken to in plain text. Streams are whatever both sides make of them.
 */
static bool check_app_protocol(struct translation *t, const struct kube_object *o, const struct cursor *at, const char *ns,
			       const char *service, const char *app_protocol, bool is_tls)
{
	static const char *const https[] = {"https", "tls", "wss", "kubernetes.io/wss", NULL};
	static const char *const http1[] = {"", "http", "http-alt", "kubernetes.io/ws", NULL};
	static const char *const tls[] = {"https", "tls", "wss", "grpcs", "kubernetes.io/wss", NULL};

	if (is_tls && is_one_of(app_protocol, https))
		return true;
	if (is_one_of(app_protocol, http1) || (o->kind != KUBE_HTTP_ROUTE && o->kind != KUBE_INGRESS))
		return true;
	if (o->kind == KUBE_HTTP_ROUTE || (!is_tls && is_one_of(app_protocol, tls))) {
		report(t, o, at, true, "UnsupportedAppProtocol",
		       "a Service for HTTP/1.1 was expected%s: the appProtocol of %s/%s is %.100s, and nothing is sent to it",
		       is_one_of(app_protocol, https) ? ", or a BackendTLSPolicy for it" : "", ns, service, app_protocol);
		return false;
	}
	report(t, o, at, false, "UnsupportedAppProtocol", "HTTP/1.1 is spoken to Service %s/%s, though its appProtocol is %.100s", ns,
	       service, app_protocol);
	return true;
}

/* False, after a problem, if nothing is to be sent to what a policy protects. */
static bool check_policy(struct translation *t, const struct kube_object *o, const struct cursor *at, const char *ns,
			 const char *service, const struct kube_object *policy)
{
	struct ref_fault f;

	if (o->kind == KUBE_GRPC_ROUTE || o->kind == KUBE_UDP_ROUTE) {
		report(t, o, at, true, "BackendTLSNotSupported",
		       "a Service without BackendTLSPolicy was expected: %s asks for TLS to %s/%s, which Weir does not speak for "
		       "%ss; nothing is sent to it", policy->name, ns, service, kube_kind_name(o->kind));
		return false;
	}
	f = backend_tls_fault(t, policy, false);
	if (f.text)
		report(t, o, at, true, f.is_pending ? "BackendTLSPolicyPending" : "BackendTLSPolicyInvalid",
		       "a BackendTLSPolicy that can be obeyed was expected; nothing is sent to %s/%s (%s: %s)", ns, service,
		       policy->name, f.text);
	else
		t->unit->tls_cost += (t->n_vias ? t->n_vias : 1) * backend_tls_cost(policy);
	return !f.text;
}

int32_t translate_backend(struct translation *t, const struct kube_object *o, const struct cursor *at, const char *ns,
		     const char *service, uint16_t port, const char *port_name)
{
	const struct kube_object *s = store_get(t->store, KUBE_SERVICE, ns, service);
	const struct kube_object *policy;
	const char *protocol = o->kind == KUBE_UDP_ROUTE ? "UDP" : "TCP";
	const struct node *found;
	int64_t number = port;
	bool is_external = s && external_is(s);

	if (!s || !is_usable(t, s)) {
		report(t, o, at, true, "BackendNotFound", "a Service was expected: %s/%.100s %s", ns, service,
		       s ? "is refused for problems of its own" : "is not there");
		return -1;
	}
	if (is_external && !external_check(t, o, at, s))
		return -1;
	found = backend_port(t, s, protocol, port, port_name);
	if (!found && !(is_external && port && !external_has_ports(s))) {
		if (port)
			report(t, o, at, true, "PortNotFound",
			       "a %s port of Service %s/%s was expected: it has no port %u", protocol, ns, service, port);
		else
			report(t, o, at, true, "PortNotFound",
			       "a %s port of Service %s/%s was expected: it has none named %.100s", protocol, ns,
			       service, port_name);
		return -1;
	}
	if (is_external && !external_check_port(t, o, at, s, found))
		return -1;
	if (!is_external && !node_ports_check(t, o, at, s, found))
		return -1;
	policy = policy_find(t, t->is_passthrough ? NULL : o, ns, service, text_of(found, "name", ""));
	if (policy && !t->is_passthrough && !check_policy(t, o, at, ns, service, policy))
		return -1;
	if (!check_app_protocol(t, o, at, ns, service, text_of(found, "appProtocol", ""), policy != NULL))
		return -1;
	if (t->is_trial)
		return 0;
	node_int(node_get(found, "port"), 1, 65535, &number);
	return (int32_t)backend_use(t, ns, service, (uint16_t)number, policy != NULL);
}

/* ---- slices ---- */

static const char *service_of(const struct kube_object *slice)
{
	return node_str(node_get(node_path(slice->root, "metadata.labels"), SERVICE_LABEL));
}

/* Addresses that an endpoint may not have, as the API server has it, and all of multicast. */
static bool is_special(const struct weir_ip *a)
{
	if (ip_is4(a)) {
		const uint8_t *b = a->b + 12;

		return b[0] == 0 || b[0] == 127 || (b[0] == 169 && b[1] == 254) || b[0] >= 224;
	}
	return ip_in_prefix(a, &(struct weir_ip){{0}}, 127) /* :: and ::1 */ ||
	       ip_in_prefix(a, &(struct weir_ip){{0xfe, 0x80}}, 10) || ip_in_prefix(a, &(struct weir_ip){{0xff}}, 8);
}

enum family { FAMILY_NONE, FAMILY_4, FAMILY_6 };

static enum family family_of(const struct kube_object *slice)
{
	const char *type = text_of(slice->root, "addressType", "");

	return strcmp(type, "IPv4") == 0 ? FAMILY_4 : strcmp(type, "IPv6") == 0 ? FAMILY_6 : FAMILY_NONE;
}

static bool read_address(const char *text, enum family family, struct weir_ip *out)
{
	/* ::ffff:10.0.0.1 is text of IPv6 but no address of it */
	return text && ip_parse(text, strlen(text), out) == 0 && ip_is4(out) == (family == FAMILY_4) &&
	       (strchr(text, ':') != NULL) == (family == FAMILY_6) && !is_special(out);
}

/* All addresses of an endpoint are the same endpoint: the first is used (discovery.k8s.io/v1). */
static bool endpoint_address(const struct node *endpoint, enum family family, struct weir_ip *out)
{
	const struct node *addresses = node_get(endpoint, "addresses");

	return addresses && addresses->kind == NODE_LIST && addresses->n > 0 &&
	       read_address(node_str(addresses->items[0]), family, out);
}

static void check_endpoints(struct translation *t, const struct kube_object *o, const struct cursor *root)
{
	enum family family = family_of(o);
	struct cursor endpoints = cursor_get(root, "endpoints");

	for (size_t i = 0; i < cursor_count(&endpoints); i++) {
		struct cursor e = cursor_at(&endpoints, i);
		struct cursor addresses = cursor_get(&e, "addresses");
		struct weir_ip ip;

		if (endpoint_address(e.n, family, &ip))
			continue;
		if (cursor_count(&addresses) > 0) {
			struct cursor first = cursor_at(&addresses, 0);

			report(t, o, &first, true, "InvalidAddress",
			       "an %s address was expected, neither loopback, link-local, multicast nor unspecified",
			       family == FAMILY_4 ? "IPv4" : "IPv6");
		} else {
			report(t, o, &addresses, true, "InvalidAddress", "at least one address was expected");
		}
	}
}

static void check_ports(struct translation *t, const struct kube_object *o, const struct cursor *root)
{
	struct cursor ports = cursor_get(root, "ports");

	for (size_t i = 0; i < cursor_count(&ports); i++) {
		struct cursor p = cursor_at(&ports, i);
		struct cursor protocol = cursor_get(&p, "protocol");
		const char *s = cursor_str(&protocol, "TCP");

		if (strcmp(s, "TCP") != 0 && strcmp(s, "UDP") != 0 && strcmp(s, "SCTP") != 0)
			report(t, o, &protocol, true, "InvalidValue", "TCP, UDP or SCTP was expected");
	}
}

void endpoints_check_slice(struct translation *t, const struct kube_object *slice)
{
	struct cursor root = cursor_root(slice);
	struct cursor type = cursor_get(&root, "addressType");

	if (!service_of(slice)) {
		struct cursor metadata = cursor_get(&root, "metadata");
		struct cursor labels = cursor_get(&metadata, "labels");

		report(t, slice, &labels, false, "MissingLabel", "ignored: the label " SERVICE_LABEL " was expected");
	} else if (family_of(slice) == FAMILY_NONE) {
		report(t, slice, &type, true,
		       strcmp(cursor_str(&type, ""), "FQDN") == 0 ? "UnsupportedAddressType" : "InvalidValue",
		       "IPv4 or IPv6 was expected");
	} else {
		check_endpoints(t, slice, &root);
		check_ports(t, slice, &root);
	}
}

const char *endpoints_service(const struct kube_object *slice)
{
	return family_of(slice) == FAMILY_NONE ? NULL : service_of(slice);
}

/* ---- endpoints of one backend ---- */

struct endpoint_list {
	struct weir_endpoint *ep;
	const struct node **hints; /* as many */
	size_t n, cap, cap_hints;
};

/* A condition that is absent takes the fallback. */
static bool condition(const struct node *endpoint, const char *key, bool fallback)
{
	bool v;

	return node_bool(node_path(endpoint, key), &v) ? v : fallback;
}

static uint8_t flags_of(const struct node *endpoint)
{
	bool is_ready = condition(endpoint, "conditions.ready", true);
	bool is_serving = condition(endpoint, "conditions.serving", is_ready);
	bool is_terminating = condition(endpoint, "conditions.terminating", false);

	if (is_ready && is_terminating) /* of a Service with publishNotReadyAddresses: a last resort, whatever its readiness says */
		is_serving = true;
	return (uint8_t)((is_ready ? WEIR_EP_READY : 0) | (is_serving ? WEIR_EP_SERVING : 0) |
			 (is_terminating ? WEIR_EP_TERMINATING : 0));
}

static void add_slice(struct endpoint_list *list, const struct kube_object *slice, uint16_t port)
{
	const struct node *endpoints = node_get(slice->root, "endpoints");

	for (size_t i = 0; endpoints && endpoints->kind == NODE_LIST && i < endpoints->n; i++) {
		struct weir_endpoint ep = {.port = port, .weight = 1, .flags = flags_of(endpoints->items[i])};

		if (!(ep.flags & (WEIR_EP_READY | WEIR_EP_SERVING)) ||
		    !endpoint_address(endpoints->items[i], family_of(slice), &ep.addr))
			continue;
		list->ep = translate_grow(list->ep, list->n, &list->cap, sizeof(*list->ep));
		list->hints = translate_grow(list->hints, list->n, &list->cap_hints, sizeof(*list->hints));
		list->hints[list->n] = node_get(endpoints->items[i], "hints");
		list->ep[list->n++] = ep;
	}
}

/* By address and port; of twins in two slices the ready one is first. */
static int compare_endpoints(const void *pa, const void *pb)
{
	const struct weir_endpoint *a = pa;
	const struct weir_endpoint *b = pb;
	int d = memcmp(a->addr.b, b->addr.b, sizeof(a->addr.b));

	if (d == 0)
		d = (int)a->port - (int)b->port;
	if (d == 0)
		d = (int)(b->flags & WEIR_EP_READY) - (int)(a->flags & WEIR_EP_READY);
	return d ? d : (int)a->flags - (int)b->flags;
}

static void sort_unique(struct endpoint_list *list)
{
	size_t kept = 0;

	if (list->n)
		qsort(list->ep, list->n, sizeof(*list->ep), compare_endpoints);
	for (size_t i = 0; i < list->n; i++)
		if (kept == 0 || !ip_eq(&list->ep[kept - 1].addr, &list->ep[i].addr) ||
		    list->ep[kept - 1].port != list->ep[i].port)
			list->ep[kept++] = list->ep[i];
	list->n = kept;
}

static void collect_slice(const struct translation *t, struct endpoint_list *list, const struct kube_object *slice,
			  const char *port_name)
{
	struct port_range r = ports_find(unit_of(t, slice), node_get(slice->root, "ports"), "TCP", 0, port_name);
	const struct node *p;
	int64_t port;

	while ((p = ports_next(&r)))
		if (node_int(node_get(p, "port"), 1, 65535, &port))
			add_slice(list, slice, (uint16_t)port);
}

struct weir_endpoint *endpoints_collect(struct translation *t, const struct kube_object *service, uint16_t port,
					const struct kube_object *const *slices, size_t n_slices, size_t *n)
{
	const struct node *found = backend_port(t, service, "TCP", port, "");
	struct endpoint_list list = {0};
	struct weir_endpoint *out;

	if (t->options->node_ports) {
		list.ep = node_ports_collect(t, service, found, slices, n_slices, &list.n);
	} else {
		for (size_t i = 0; found && i < n_slices; i++)
			collect_slice(t, &list, slices[i], text_of(found, "name", ""));
		list.n = zones_filter(t, list.ep, list.hints, list.n);
	}
	sort_unique(&list);
	*n = list.n < WEIR_ENDPOINTS_MAX ? list.n : WEIR_ENDPOINTS_MAX;
	out = *n ? model_alloc(t->m, *n * sizeof(*out)) : NULL;
	if (*n)
		memcpy(out, list.ep, *n * sizeof(*out));
	free(list.ep);
	free(list.hints);
	return out;
}
