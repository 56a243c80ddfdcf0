/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GatewayClass and Gateway (gateway.networking.k8s.io/v1): which are ours,
 * their addresses, and which routes they admit; and what they are told. What
 * is not accepted as a whole is not served.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/ip.h"
#include "translate/held.h"
#include "translate/translator_pvt.h"

#define VERSION_ANNOTATION "gateway.networking.k8s.io/bundle-version" /* of the Gateway API's CRDs */

/* ---- which Gateways are ours ---- */

/* A GatewayClass of ours, or NULL. */
static const struct kube_object *our_class(struct translation *t, const struct kube_object *gateway,
					   const struct cursor *spec)
{
	struct cursor at = cursor_get(spec, "gatewayClassName");
	const struct kube_object *c = store_get(t->store, KUBE_GATEWAY_CLASS, "", cursor_str(&at, ""));
	const char *controller = c ? node_str(node_path(c->root, "spec.controllerName")) : NULL;

	if ((!c || !is_usable(t, c)) && is_usable(t, gateway)) {
		report(t, gateway, &at, true, "GatewayClassNotFound", "a GatewayClass was expected: %.100s %s",
		       cursor_str(&at, ""), c ? "is refused for problems of its own" : "is not there");
		return NULL;
	}
	return controller && strcmp(controller, t->options->controller_name) == 0 && is_usable(t, c) ? c : NULL;
}

static bool has_parameters(const struct kube_object *class)
{
	const struct node *n = node_path(class->root, "spec.parametersRef");

	return n && n->kind != NODE_NULL;
}

/* "v1.6.1": of the versions whose objects are read as their authors mean them. */
static bool is_supported_version(const char *v)
{
	return strncmp(v, "v1.", 3) == 0 && v[3] >= '0' && v[3] <= '6' && (v[4] == '.' || v[4] == 0);
}

/* NULL: not known; "": its CRDs do not say. */
static const char *api_version(const struct translation *t)
{
	const struct kube_object *crd = store_get(t->store, KUBE_CRD, "", "gatewayclasses.gateway.networking.k8s.io");
	const char *version = crd ? node_str(node_get(node_path(crd->root, "metadata.annotations"), VERSION_ANNOTATION)) : NULL;

	if (t->options->api_version || !crd)
		return t->options->api_version;
	return version ? version : "";
}

static void conclude_class(struct translation *t, const struct kube_object *o)
{
	const char *version = api_version(t);
	struct model_status *s = verdict_add(t, o);

	if (has_parameters(o))
		verdict_condition(&s->conditions, "Accepted", false, "InvalidParameters",
				  "spec.parametersRef: none was expected: Weir takes no parameters from a GatewayClass");
	else
		verdict_condition(&s->conditions, "Accepted", true, "Accepted", "Gateways of this class are served");
	if (version && is_supported_version(version)) {
		verdict_condition(&s->conditions, "SupportedVersion", true, "SupportedVersion",
				  "the cluster's version of the Gateway API is supported");
	} else if (version && !*version) {
		verdict_condition(&s->conditions, "SupportedVersion", false, "UnsupportedVersion",
				  "the annotation " VERSION_ANNOTATION " of the CRDs was expected");
	} else if (version) {
		verdict_condition(&s->conditions, "SupportedVersion", false, "UnsupportedVersion",
				  model_printf(t->m, "v1.0 to v1.6 of the Gateway API are supported, the cluster has %.60s", version));
	} else {
		verdict_condition(&s->conditions, "SupportedVersion", false, "Pending",
				  "the cluster's version of the Gateway API is not known");
		s->conditions.c[s->conditions.n - 1].status = "Unknown";
	}
	s->features = verdict_features(t, &s->n_features);
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

		if (!is_usable(t, list[i]) || strcmp(cursor_str(&name, ""), t->options->controller_name) != 0)
			continue;
		if (params.n)
			report(t, list[i], &params, true, "InvalidParameters",
			       "none was expected: Weir takes no parameters from a GatewayClass; its Gateways are not served");
		conclude_class(t, list[i]);
	}
}

/* ---- addresses ---- */

static bool has_family(const struct address_pool *pool, bool is4)
{
	for (size_t i = 0; pool && i < pool->n; i++)
		if (ip_is4(&pool->ranges[i].first) == is4)
			return true;
	return false;
}

/* An address without a value: one of the family that the pool has first. */
static void want_any(const struct translation *t, struct address_request *r)
{
	const struct address_pool *pool = t->options->pool;

	if (!pool || pool->n == 0 || ip_is4(&pool->ranges[0].first))
		r->n_free4++;
	else
		r->n_free6++;
}

static void refuse(struct gateway *g, const char *reason, const char *text)
{
	if (!g->refusal) {
		g->refusal = reason;
		g->refusal_text = text;
	}
}

static void lack(struct gateway *g, const char *reason, const char *text)
{
	if (!g->lack) {
		g->lack = reason;
		g->lack_text = text;
	}
}

/* The addresses that spec names: those that are right are wanted. */
static void read_wanted(struct translation *t, struct gateway *g, const struct cursor *list, struct address_request *r)
{
	for (size_t i = 0; i < cursor_count(list); i++) {
		struct cursor a = cursor_at(list, i);
		struct cursor type = cursor_get(&a, "type");
		struct cursor value = cursor_get(&a, "value");
		const char *text = cursor_str(&value, "");
		struct weir_ip *ip = &r->wanted[r->n_wanted];

		if (strcmp(cursor_str(&type, "IPAddress"), "IPAddress") != 0) {
			report(t, g->o, &type, true, "UnsupportedAddress",
			       "an address of type IPAddress was expected; the Gateway is not served");
			refuse(g, "UnsupportedAddress",
			       model_printf(t->m, "spec.addresses[%zu].type: IPAddress was expected, not %.100s", i,
					    cursor_str(&type, "")));
		} else if (!*text) {
			want_any(t, r);
		} else if (ip_parse(text, strlen(text), ip) != 0 || ip_is_any(ip)) {
			report(t, g->o, &value, true, "AddressNotUsable", "an IPv4 or IPv6 address was expected");
			lack(g, "AddressNotUsable",
			     model_printf(t->m, "spec.addresses[%zu].value: %.100s is no IPv4 or IPv6 address", i, text));
		} else {
			r->n_wanted++;
		}
	}
}

static void read_given(const struct kube_object *o, struct address_request *r)
{
	const struct node *list = node_path(o->root, "status.addresses");

	for (size_t i = 0; list && list->kind == NODE_LIST && i < list->n && r->n_given < ADDRESSES_MAX; i++) {
		const char *value = node_str(node_get(list->items[i], "value"));

		if (value && ip_parse(value, strlen(value), &r->given[r->n_given]) == 0)
			r->n_given++;
	}
}

uint64_t gateway_given(const struct kube_object *o)
{
	struct address_request r = {.n_given = 0};

	read_given(o, &r);
	return hash64(r.given, r.n_given * sizeof(*r.given), 0);
}

static void read_request(struct translation *t, struct gateway *g, struct address_request *r)
{
	struct cursor root = cursor_root(g->o);
	struct cursor spec = cursor_get(&root, "spec");
	struct cursor list = cursor_get(&spec, "addresses");

	*r = (struct address_request){.age = object_age(g->o)};
	if (g->refusal) /* it holds none */
		return;
	read_wanted(t, g, &list, r);
	if (cursor_count(&list) == 0) {
		r->n_free4 = has_family(t->options->pool, true);
		r->n_free6 = has_family(t->options->pool, false);
	}
	read_given(g->o, r);
	if (r->n_given == 0 && t->options->held) {
		r->n_given = held_get(t->options->held, g->o, r->given);
		r->is_untold = r->n_given > 0;
	}
	if (g->refusal)
		r->n_wanted = r->n_free4 = r->n_free6 = 0;
}

static void tell_unusable(struct translation *t, struct gateway *g, const struct address_request *r)
{
	for (size_t i = 0; i < r->n_wanted; i++) {
		const char *why = r->outcome[i] == ADDRESS_IN_USE ? "is in use by another Gateway" : "is not in the address pool";
		struct cursor root = cursor_root(g->o);
		struct cursor spec = cursor_get(&root, "spec");
		struct cursor list = cursor_get(&spec, "addresses");
		char text[IP_TEXT_MAX];

		if (r->outcome[i] == ADDRESS_USABLE)
			continue;
		ip_format(&r->wanted[i], text);
		report(t, g->o, &list, true, "AddressNotUsable", "another address was expected: %s %s", text, why);
		lack(g, "AddressNotUsable", model_printf(t->m, "spec.addresses: %s %s", text, why));
	}
}

/* Who asks for no address in particular gets one of each family of the pool, and lives with one. */
static void tell_lacking(struct translation *t, struct gateway *g, const struct address_request *r)
{
	struct cursor root = cursor_root(g->o);
	struct cursor spec = cursor_get(&root, "spec");
	struct cursor list = cursor_get(&spec, "addresses");
	bool is_served = !list.n && r->n_got > 0;

	report(t, g->o, list.n ? &list : &spec, !is_served, "AddressNotAssigned", "%s",
	       !t->options->pool ? "the value of an address was expected: there is no address pool"
	       : is_served       ? "served on one address: the address pool has none left of the other family"
				 : "a free address was expected: the address pool has none left");
	if (!is_served)
		lack(g, "AddressNotAssigned",
		     t->options->pool ? "the address pool has no address left"
				      : "spec.addresses: there is no address pool to choose an address from");
}

static int compare_ips(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct weir_ip));
}

static void take_addresses(struct translation *t, struct gateway *g, const struct address_request *r)
{
	struct cursor root = cursor_root(g->o);
	struct cursor spec = cursor_get(&root, "spec");
	struct cursor list = cursor_get(&spec, "addresses");

	if (g->refusal)
		return;
	tell_unusable(t, g, r);
	if (r->n_lacking)
		tell_lacking(t, g, r);
	memcpy(g->addrs, r->got, r->n_got * sizeof(*r->got));
	g->n_addrs = r->n_got;
	if (g->n_addrs)
		qsort(g->addrs, g->n_addrs, sizeof(*g->addrs), compare_ips);
	if (!t->options->pool && cursor_count(&list) == 0)
		g->n_addrs = 1; /* the zero address: all */
}

static void hold_addresses(const struct translation *t, const struct address_request *r)
{
	struct held_addresses *held = t->options->held;

	held_begin(held);
	for (size_t i = 0; i < t->n_gateways; i++)
		held_note(held, t->gateways[i].o, r[i].got, r[i].n_got);
	held_end(held);
}

static void assign_addresses(struct translation *t)
{
	struct address_request *r = calloc(t->n_gateways + 1, sizeof(*r));

	if (!r) {
		perror("weir: memory for the model");
		abort();
	}
	for (size_t i = 0; i < t->n_gateways; i++)
		read_request(t, &t->gateways[i], &r[i]);
	addresses_assign(t->options->pool, r, t->n_gateways);
	for (size_t i = 0; i < t->n_gateways; i++)
		take_addresses(t, &t->gateways[i], &r[i]);
	if (t->options->held)
		hold_addresses(t, r);
	free(r);
}

/* ---- listeners ---- */

/* False, after a problem, if an older Gateway has the port for another protocol, or one of another namespace the place. */
static bool check_claims(struct translation *t, const struct gateway *g, struct section *s)
{
	const struct claim *first = claim_of_protocol(t, g, s);
	const struct gateway *other = first ? first->owner : claim_of_other(t, g, s);
	const bool is_port = first && first->is_port;
	struct cursor root = cursor_root(g->o);
	struct cursor spec = cursor_get(&root, "spec");
	struct cursor list = cursor_get(&spec, "listeners");
	struct cursor at;

	if (!other)
		return true;
	at = cursor_at(&list, s->index);
	s->is_conflicted = true;
	s->refusal = first ? "ProtocolConflict" : "HostnameConflict";
	s->refusal_text = model_printf(t->m, "Gateway %s/%s has this port %s on the same address, and is older, or first by name",
				       other->o->ns, other->o->name,
				       is_port ? "for another protocol"
				       : first ? "and host name for another protocol, or mode of TLS,"
					       : "and host name");
	report(t, g->o, &at, true, "ListenerTaken", "another port %swas expected: %s", is_port ? "" : "or host name ", s->refusal_text);
	return false;
}

/* False, after a problem, if the namespace has too many listeners. */
static bool check_budget(struct translation *t, const struct gateway *g, struct section *s)
{
	struct cursor root = cursor_root(g->o);
	struct cursor spec = cursor_get(&root, "spec");
	struct cursor list = cursor_get(&spec, "listeners");
	struct cursor at;

	if (budget_takes_listener(t, g, s))
		return true;
	at = cursor_at(&list, s->index);
	s->refusal = BUDGET_REASON;
	s->refusal_text = model_printf(t->m,
				       "not served: the listeners of namespace %s take more than a quarter of its share of %llu KiB",
				       g->o->ns, (unsigned long long)t->options->namespace_bytes >> 10);
	report(t, g->o, &at, true, BUDGET_REASON, "%s", s->refusal_text);
	return false;
}

void section_serve(struct translation *t, const struct gateway *g, struct section *s, const struct weir_timeouts *timeouts)
{
	const struct carriage *c = section_carriage(s);

	s->first = (uint32_t)t->m->n_listeners;
	if (section_ends_tls(s) && (s->n_certs == 0 || s->is_unchecked)) /* nobody could be shown or judged by one: who has this place stays */
		return;
	if (g->refusal || s->refusal || !check_claims(t, g, s) || !check_budget(t, g, s))
		return;
	s->count = (uint32_t)g->n_addrs;
	for (size_t i = 0; i < g->n_addrs; i++) {
		struct model_listener *l = model_add_listener(t->m);

		l->addr = g->addrs[i];
		l->port = s->port;
		l->proto = c->proto;
		l->kind = c->kind;
		l->host = model_str(t->m, s->host);
		l->name = model_printf(t->m, "%s %s/%s %s", kube_kind_name(g->o->kind), g->o->ns, g->o->name, s->name);
		l->timeouts = *timeouts;
		claim_add(t, g, s, t->m->n_listeners - 1);
		if (c->proto == WEIR_PROTO_HTTPS)
			server_names_of_listener(t, s, s->first + (uint32_t)i);
	}
}

static void read_listeners(struct translation *t, struct gateway *g)
{
	struct cursor root = cursor_root(g->o);
	struct cursor spec = cursor_get(&root, "spec");
	struct cursor list = cursor_get(&spec, "listeners");
	struct cursor allowed = cursor_get(&spec, "allowedListeners");
	struct cursor namespaces = cursor_get(&allowed, "namespaces");

	g->first = t->n_sections;
	if (is_usable(t, g->o)) {
		timeouts_read(t, g->o, &g->timeouts);
		certificates_check_gateway(t, g);
		listeners_read(t, g, &list);
		g->admits_no_sets = !namespaces_are_right(t, g->o, &namespaces);
	}
	g->count = t->n_sections - g->first;
	for (size_t i = 0; i < g->count; i++)
		section_serve(t, g, &t->sections[g->first + i], &g->timeouts);
}

static int oldest_first(const void *pa, const void *pb)
{
	const struct age a = object_age((*(struct gateway *const *)pa)->o);
	const struct age b = object_age((*(struct gateway *const *)pb)->o);

	return age_compare(&a, &b);
}

/* The oldest first: who comes later gives way. */
static void read_all_listeners(struct translation *t)
{
	struct gateway **list = translate_must(calloc(t->n_gateways + 1, sizeof(*list)));

	for (size_t i = 0; i < t->n_gateways; i++)
		list[i] = &t->gateways[i];
	qsort(list, t->n_gateways, sizeof(*list), oldest_first);
	for (size_t i = 0; i < t->n_gateways; i++) {
		read_listeners(t, list[i]);
		listenersets_read(t, list[i]);
	}
	claims_fini(t);
	free(list);
}

/* ---- Gateways ---- */

/* What the Gateway asks for, and what is served without. */
static void check_ignored(struct translation *t, const struct gateway *g, const struct cursor *spec)
{
	static const char *const carried[] = {"labels", "annotations"};
	struct cursor infrastructure = cursor_get(spec, "infrastructure");
	struct cursor scope = cursor_get(spec, "defaultScope");

	for (size_t i = 0; i < sizeof(carried) / sizeof(*carried); i++) {
		struct cursor c = cursor_get(&infrastructure, carried[i]);

		if (c.n && c.n->n > 0)
			report(t, g->o, &c, false, "UnsupportedField",
			       "ignored: Weir makes no objects for a Gateway, which could carry them");
	}
	if (scope.n && strcmp(cursor_str(&scope, "None"), "None") != 0)
		report(t, g->o, &scope, false, "UnsupportedField", "ignored: routes are attached only if their parentRefs name the Gateway");
}

static void check_gateway(struct translation *t, struct gateway *g)
{
	struct cursor root = cursor_root(g->o);
	struct cursor spec = cursor_get(&root, "spec");
	struct cursor infrastructure = cursor_get(&spec, "infrastructure");
	struct cursor params = cursor_get(&infrastructure, "parametersRef");

	if (!is_usable(t, g->o)) {
		refuse(g, "Invalid", refusal_text(t, g->o));
		return;
	}
	check_ignored(t, g, &spec);
	if (has_parameters(g->class))
		refuse(g, "InvalidParameters",
		       model_printf(t->m, "GatewayClass %s is not accepted: Weir takes no parameters from it", g->class->name));
	if (!params.n)
		return;
	report(t, g->o, &params, true, "InvalidParameters",
	       "none was expected: Weir takes no parameters from a Gateway; it is not served");
	refuse(g, "InvalidParameters",
	       "spec.infrastructure.parametersRef: none was expected: Weir takes no parameters from a Gateway");
}

void gateway_translate(struct translation *t)
{
	size_t n;
	const struct kube_object *const *list = store_list(t->store, KUBE_GATEWAY, &n);

	check_classes(t);
	for (size_t i = 0; i < n; i++) {
		struct cursor root = cursor_root(list[i]);
		struct cursor spec = cursor_get(&root, "spec");
		const struct kube_object *class = our_class(t, list[i], &spec);

		if (!class)
			continue;
		t->gateways = translate_grow(t->gateways, t->n_gateways, &t->cap_gateways, sizeof(*t->gateways));
		t->gateways[t->n_gateways] = (struct gateway){.o = list[i], .class = class, .given = gateway_given(list[i])};
		check_gateway(t, &t->gateways[t->n_gateways++]);
	}
	assign_addresses(t);
	listenersets_collect(t);
	read_all_listeners(t);
}

/* ---- what Gateways are told ---- */

/* Names of the listeners that are not accepted: "listeners https, tls are not valid". */
static const char *invalid_listeners(struct translation *t, const struct gateway *g, size_t *n)
{
	char names[600];
	size_t len = 0;

	*n = 0;
	for (size_t i = 0; i < g->count; i++) {
		const struct section *s = &t->sections[g->first + i];

		if (section_is_invalid(s) && len < sizeof(names))
			len += (size_t)snprintf(names + len, sizeof(names) - len, "%s%s", (*n) ? ", " : "", s->name);
		*n += section_is_invalid(s);
	}
	return *n ? model_printf(t->m, "not valid: %s", names) : NULL;
}

/* Of the Gateway itself: its listeners have conditions of their own. */
static void conclude_references(const struct gateway *g, struct model_conditions *c)
{
	const struct ref_fault *f = &g->client_certificate;

	if (!g->has_client_certificate)
		return;
	if (f->reason) {
		verdict_condition(c, "ResolvedRefs", false, f->reason, f->text);
	} else if (f->is_pending) {
		verdict_condition(c, "ResolvedRefs", false, "Pending", f->text);
		c->c[c->n - 1].status = "Unknown";
	} else {
		verdict_condition(c, "ResolvedRefs", true, "ResolvedRefs", "all references are resolved");
	}
}

static void conclude_conditions(struct translation *t, const struct gateway *g, struct model_conditions *c)
{
	size_t n_invalid;
	const char *invalid = invalid_listeners(t, g, &n_invalid);
	const char *refusal = g->refusal;
	const char *text = g->refusal_text;

	if (!refusal && n_invalid == g->count) {
		refusal = "ListenersNotValid";
		text = invalid ? model_printf(t->m, "no listener can be served: %s", invalid) : "there is no listener";
	}
	if (refusal)
		verdict_condition(c, "Accepted", false, refusal, text);
	else if (invalid)
		verdict_condition(c, "Accepted", true, "ListenersNotValid",
				  model_printf(t->m, "some listeners are %s; the others are served", invalid));
	else
		verdict_condition(c, "Accepted", true, "Accepted", "all listeners are valid");
	if (refusal)
		verdict_condition(c, "Programmed", false, "Invalid", "the Gateway is not accepted");
	else if (g->lack)
		verdict_condition(c, "Programmed", false, g->lack, g->lack_text);
	else
		verdict_condition(c, "Programmed", true, "Programmed", "the Gateway is served");
}

void gateway_conclude(struct translation *t, const struct gateway *g)
{
	struct model_status *s = verdict_add(t, g->o);
	bool has_own = g->n_addrs && !ip_is_any(&g->addrs[0]);
	size_t n = has_own ? g->n_addrs : g->n_addrs ? t->options->n_listen : 0;
	struct weir_ip *addrs = n ? model_alloc(t->m, n * sizeof(*addrs)) : NULL;

	for (size_t i = 0; i < n; i++)
		addrs[i] = has_own ? g->addrs[i] : t->options->listen[i];
	s->addrs = addrs;
	s->n_addrs = n;
	conclude_conditions(t, g, &s->conditions);
	conclude_references(g, &s->conditions);
	if (g->is_insecure)
		verdict_condition(&s->conditions, "InsecureFrontendValidationMode", true, "ConfigurationChanged",
				  "spec.tls.frontend has mode AllowInsecureFallback: clients without a valid certificate are let through");
	s->sections = g->count ? model_alloc(t->m, g->count * sizeof(*s->sections)) : NULL;
	for (size_t i = 0; i < g->count; i++)
		listener_conclude(t, g, &t->sections[g->first + i], &s->sections[s->n_sections++]);
	for (size_t i = 0; i < t->n_sets; i++)
		s->n_attached_sets += t->sets[i].parent == g && listenerset_is_accepted(t, &t->sets[i]);
}

const struct gateway *gateway_search(const struct gateway *list, size_t n, const char *ns, const char *name)
{
	size_t lo = 0;
	size_t hi = n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int d = strcmp(list[mid].o->ns, ns);

		if (d == 0)
			d = strcmp(list[mid].o->name, name);
		if (d == 0)
			return &list[mid];
		if (d < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

const struct gateway *gateway_find(struct translation *t, const char *ns, const char *name)
{
	depend_on(t, KEY_GATEWAY, ns, name);
	return gateway_search(t->gateways, t->n_gateways, ns, name);
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

bool namespaces_admit(const struct translation *t, const struct node *namespaces, const char *fallback, const char *own_ns,
		      const char *ns)
{
	const char *from = namespaces ? node_str(node_get(namespaces, "from")) : NULL;

	from = from ? from : fallback;
	if (strcmp(from, "Same") == 0)
		return strcmp(ns, own_ns) == 0;
	if (strcmp(from, "All") == 0)
		return true;
	return strcmp(from, "Selector") == 0 && selects(t, node_get(namespaces, "selector"), ns);
}

bool section_admits(const struct translation *t, const struct gateway *g, const struct section *s, const struct kube_object *o)
{
	return s->routes == o->kind && !s->admits_none && namespaces_admit(t, s->namespaces, "Same", g->o->ns, o->ns);
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
