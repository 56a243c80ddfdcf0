/* SPDX-License-Identifier: Apache-2.0 */
/* The status documents, kind by kind. See status.h. */
#include "status/status.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/ip.h"
#include "status/status_pvt.h"

#define GATEWAY_GROUP "gateway.networking.k8s.io"

/* Where the entries of several controllers stand: RouteStatus.parents, PolicyStatus.ancestors. */
struct entries {
	const char *list, *ref;
	size_t max;
	const char *const *types;
};

/* The types of conditions that Weir sets, now or at other times. */
static const char *const class_types[] = {"Accepted", "SupportedVersion", NULL};
static const char *const gateway_types[] = {"Accepted", "InsecureFrontendValidationMode", "Programmed", "ResolvedRefs", NULL};
static const char *const listener_types[] = {"Accepted", "Conflicted", "Programmed", "ResolvedRefs", NULL};
static const char *const route_types[] = {"Accepted", "PartiallyInvalid", "ResolvedRefs", NULL};
static const char *const policy_types[] = {"Accepted", "ResolvedRefs", NULL};

static const struct entries route_entries = {"parents", "parentRef", 32, route_types};
static const struct entries policy_entries = {"ancestors", "ancestorRef", 16, policy_types};

struct maker {
	const struct store *store;
	const char *controller_name;
	bool wants_all;
	char now[32];
	status_fn *fn;
	void *ctx;
};

/* ---- GatewayClass ---- */

static void make_class(const struct model_status *v, const struct stamp *stamp, json_t *doc)
{
	json_t *features = json_must(json_array());

	for (size_t i = 0; i < v->n_features; i++)
		json_array_append_new(features, json_must(json_pack("{s:s}", "name", v->features[i])));
	json_put(doc, "supportedFeatures", features);
	json_put(doc, "conditions", conditions_merge(json_object_get(doc, "conditions"), &v->conditions, class_types, stamp));
}

/* ---- Gateway ---- */

static json_t *address(const struct weir_ip *ip)
{
	char text[IP_TEXT_MAX];

	return json_must(json_pack("{s:s, s:s}", "type", "IPAddress", "value", ip_format(ip, text)));
}

static const json_t *find_by_name(const json_t *list, const char *name)
{
	size_t i;
	json_t *v;

	json_array_foreach(list, i, v)
		if (strcmp(json_text(v, "name", ""), name) == 0)
			return v;
	return NULL;
}

static json_t *listener(const json_t *was, const struct model_section *s, const struct stamp *stamp)
{
	json_t *kinds = json_must(json_array());
	json_t *j = json_must(json_object());

	if (s->routes != KUBE_N_KINDS)
		json_array_append_new(kinds,
				      json_must(json_pack("{s:s, s:s}", "group", GATEWAY_GROUP, "kind", kube_kind_name(s->routes))));
	json_put(j, "name", json_of_text(s->name));
	json_put(j, "supportedKinds", kinds);
	json_put(j, "attachedRoutes", json_integer(s->n_routes));
	json_put(j, "conditions",
		 conditions_merge(json_object_get(was, "conditions"), &s->conditions, listener_types, stamp));
	return j;
}

static void make_gateway(const struct model_status *v, const struct stamp *stamp, json_t *doc)
{
	const json_t *were = json_object_get(doc, "listeners");
	json_t *addresses = json_must(json_array());
	json_t *listeners = json_must(json_array());

	for (size_t i = 0; i < v->n_addrs; i++)
		json_array_append_new(addresses, address(&v->addrs[i]));
	for (size_t i = 0; i < v->n_sections; i++)
		json_array_append_new(listeners, listener(find_by_name(were, v->sections[i].name), &v->sections[i], stamp));
	if (v->n_addrs || json_object_get(doc, "addresses")) /* none, and there was none: no field */
		json_put(doc, "addresses", json_incref(addresses));
	json_decref(addresses);
	json_put(doc, "listeners", listeners);
	if (v->n_attached_sets || json_object_get(doc, "attachedListenerSets")) /* older CRDs do not know it */
		json_put(doc, "attachedListenerSets", json_integer(v->n_attached_sets));
	json_put(doc, "conditions",
		 conditions_merge(json_object_get(doc, "conditions"), &v->conditions, gateway_types, stamp));
}

static void make_listener_set(const struct model_status *v, const struct stamp *stamp, json_t *doc)
{
	const json_t *were = json_object_get(doc, "listeners");
	json_t *listeners = json_must(json_array());

	for (size_t i = 0; i < v->n_sections; i++)
		json_array_append_new(listeners, listener(find_by_name(were, v->sections[i].name), &v->sections[i], stamp));
	json_put(doc, "listeners", listeners);
	json_put(doc, "conditions",
		 conditions_merge(json_object_get(doc, "conditions"), &v->conditions, gateway_types, stamp));
}

/* ---- routes and policies ---- */

/* NULL: objects of the kind have no such list. */
static const struct entries *entries_of(enum kube_kind kind)
{
	switch (kind) {
	case KUBE_HTTP_ROUTE:
	case KUBE_GRPC_ROUTE:
	case KUBE_TLS_ROUTE:
	case KUBE_TCP_ROUTE:
	case KUBE_UDP_ROUTE:
		return &route_entries;
	case KUBE_BACKEND_TLS_POLICY:
		return &policy_entries;
	default:
		return NULL;
	}
}

static bool is_text(const json_t *ref, const char *key, const char *text, const char *fallback)
{
	return strcmp(json_text(ref, key, fallback), text ? text : fallback) == 0;
}

/* Whether the reference of an entry stands for a parentRef. */
static bool is_parent(const json_t *ref, const struct model_parent *p, const char *route_ns)
{
	return is_text(ref, "group", p->group, GATEWAY_GROUP) && is_text(ref, "kind", p->kind, "Gateway") &&
	       is_text(ref, "namespace", p->ns, route_ns) && is_text(ref, "name", p->name, "") &&
	       is_text(ref, "sectionName", p->section, "") &&
	       json_integer_value(json_object_get(ref, "port")) == p->port;
}

static json_t *parent_ref(const struct model_parent *p)
{
	const struct {
		const char *key, *text;
	} fields[] = {
	    {"group", p->group}, {"kind", p->kind}, {"namespace", p->ns}, {"name", p->name}, {"sectionName", p->section}};
	json_t *j = json_must(json_object());

	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++)
		if (fields[i].text)
			json_put(j, fields[i].key, json_of_text(fields[i].text));
	if (p->port)
		json_put(j, "port", json_integer(p->port));
	return j;
}

static json_t *parent(const struct maker *k, const struct entries *e, const json_t *was, const struct model_parent *p,
		      const struct stamp *stamp)
{
	json_t *j = json_must(json_object());

	json_put(j, e->ref, parent_ref(p));
	json_put(j, "controllerName", json_of_text(k->controller_name));
	json_put(j, "conditions", conditions_merge(json_object_get(was, "conditions"), &p->conditions, e->types, stamp));
	return j;
}

static bool is_ours(const struct maker *k, const json_t *entry)
{
	return strcmp(json_text(entry, "controllerName", ""), k->controller_name) == 0;
}

/* The entry of ours for a parent, or NULL. */
static const json_t *find_parent(const struct maker *k, const struct entries *e, const json_t *list,
				 const struct model_parent *p, const char *ns)
{
	size_t i;
	json_t *v;

	json_array_foreach(list, i, v)
		if (is_ours(k, v) && is_parent(json_object_get(v, e->ref), p, ns))
			return v;
	return NULL;
}

static const struct model_parent *find_verdict(const struct entries *e, const struct model_status *v, const json_t *entry)
{
	for (size_t i = 0; i < v->n_parents; i++)
		if (is_parent(json_object_get(entry, e->ref), &v->parents[i], v->ns))
			return &v->parents[i];
	return NULL;
}

/* Entries of others stay in their places, and so do ours that still hold. */
static void make_route(const struct maker *k, const struct model_status *v, const struct stamp *stamp, json_t *doc)
{
	const struct entries *e = entries_of(v->kind);
	const json_t *were = json_object_get(doc, e->list);
	json_t *list = json_must(json_array());
	size_t i;
	json_t *was;

	json_array_foreach(were, i, was) {
		const struct model_parent *p = is_ours(k, was) ? find_verdict(e, v, was) : NULL;

		if (!is_ours(k, was))
			json_array_append(list, was);
		else if (p && !find_parent(k, e, list, p, v->ns))
			json_array_append_new(list, parent(k, e, was, p, stamp));
	}
	for (i = 0; i < v->n_parents && json_array_size(list) < e->max; i++)
		if (!find_parent(k, e, list, &v->parents[i], v->ns))
			json_array_append_new(list, parent(k, e, NULL, &v->parents[i], stamp));
	json_put(doc, e->list, list);
}

/* ---- Ingress ---- */

static void make_ingress(const struct model_status *v, json_t *doc)
{
	json_t *list = json_must(json_array());
	char text[IP_TEXT_MAX];

	for (size_t i = 0; i < v->n_addrs; i++)
		json_array_append_new(list, json_must(json_pack("{s:s}", "ip", ip_format(&v->addrs[i], text))));
	/* the API server keeps no empty list here: it would differ for ever */
	json_put(doc, "loadBalancer", v->n_addrs ? json_pack("{s:O}", "ingress", list) : json_object());
	json_decref(list);
}

/* ---- all of them ---- */

static char *text_of(const json_t *doc)
{
	char *text = json_dumps(doc, JSON_COMPACT | JSON_SORT_KEYS);

	if (!text)
		json_must(NULL);
	return text;
}

static void call(const struct maker *k, const struct model_status *v, struct status_document *d, const json_t *doc)
{
	json_t *owned = status_owned(v, doc);
	char *text = text_of(doc), *owned_text = text_of(owned);

	d->json = text;
	d->owned = owned_text;
	k->fn(k->ctx, d);
	free(text);
	free(owned_text);
	json_decref(owned);
}

static int64_t generation_of(const struct kube_object *o)
{
	int64_t v = 0;

	node_int(node_path(o->root, "metadata.generation"), 0, INT64_MAX, &v);
	return v;
}

static void make(const struct maker *k, const struct model_status *v, const struct kube_object *o)
{
	const struct stamp stamp = {generation_of(o), k->now};
	json_t *was = json_of_node(node_get(o->root, "status"));
	json_t *doc = json_is_object(was) ? json_must(json_deep_copy(was)) : json_must(json_object());
	struct status_document d = {.kind = v->kind, .ns = v->ns, .name = v->name};

	if (v->kind == KUBE_GATEWAY_CLASS)
		make_class(v, &stamp, doc);
	else if (v->kind == KUBE_GATEWAY)
		make_gateway(v, &stamp, doc);
	else if (v->kind == KUBE_LISTENER_SET)
		make_listener_set(v, &stamp, doc);
	else if (entries_of(v->kind))
		make_route(k, v, &stamp, doc);
	else
		make_ingress(v, doc);
	d.differs = !json_equal(was, doc);
	if (d.differs || k->wants_all)
		call(k, v, &d, doc);
	json_decref(doc);
	json_decref(was);
}

static bool has_entry_of_ours(const struct maker *k, const struct kube_object *o)
{
	const struct node *list = node_get(node_get(o->root, "status"), entries_of(o->kind)->list);

	for (size_t i = 0; list && list->kind == NODE_LIST && i < list->n; i++) {
		const char *name = node_str(node_get(list->items[i], "controllerName"));

		if (name && strcmp(name, k->controller_name) == 0)
			return true;
	}
	return false;
}

/* What others wrote is theirs, be it the same as ours: of a list of addresses nobody but the API server knows whose it is. */
static void give_up(const struct maker *k, const struct kube_object *o)
{
	const struct status_document d = {
	    .kind = o->kind, .ns = o->ns, .name = o->name, .json = "{}", .owned = "{}", .is_given_up = true, .differs = true};

	k->fn(k->ctx, &d);
}

/* Objects of the kind may have a status of ours. */
static bool is_told(enum kube_kind kind)
{
	return entries_of(kind) || kind == KUBE_INGRESS || kind == KUBE_GATEWAY_CLASS || kind == KUBE_GATEWAY ||
	       kind == KUBE_LISTENER_SET;
}

static int compare(const struct model_status *v, const struct kube_object *o)
{
	int d = strcmp(v->ns, o->ns);

	return d ? d : strcmp(v->name, o->name);
}

/* An object that is not ours, but may have been. */
static void make_without_verdict(const struct maker *k, const struct kube_object *o)
{
	struct model_status none = {.kind = o->kind, .ns = o->ns, .name = o->name};

	if (entries_of(o->kind) && has_entry_of_ours(k, o))
		make(k, &none, o);
	else if (!entries_of(o->kind) && o->has_our_status)
		give_up(k, o);
}

/* Objects of a kind that were ours once. Verdicts of a kind have the order of the store. */
static void make_stale(const struct maker *k, enum kube_kind kind, const struct model *m)
{
	size_t n;
	const struct kube_object *const *list = store_list(k->store, kind, &n);
	size_t at = 0;

	for (size_t i = 0; i < n; i++) {
		while (at < m->n_statuses && (m->statuses[at].kind != kind || compare(&m->statuses[at], list[i]) < 0))
			at++;
		if (at == m->n_statuses || compare(&m->statuses[at], list[i]) != 0)
			make_without_verdict(k, list[i]);
	}
}

static void make_one(const struct maker *k, const struct model_status *v, const struct kube_object *o)
{
	bool may_skip = entries_of(v->kind) == &route_entries && !k->wants_all;

	if (!may_skip || !is_route_current(o->root, v, k->controller_name, generation_of(o)))
		make(k, v, o);
}

static void make_all(const struct maker *k, const struct model *m)
{
	for (size_t i = 0; i < m->n_statuses; i++) {
		const struct model_status *v = &m->statuses[i];
		const struct kube_object *o = store_get(k->store, v->kind, v->ns, v->name);

		if (o)
			make_one(k, v, o);
	}
	for (unsigned kind = 0; kind < KUBE_N_KINDS; kind++)
		if (is_told((enum kube_kind)kind))
			make_stale(k, (enum kube_kind)kind, m);
}

/* Those of a kind lie together, in the order of the store. */
struct verdicts {
	const struct model_status *first;
	size_t n;
};

static const struct model_status *find_status(const struct verdicts *of, const struct kube_object *o)
{
	size_t lo = 0;
	size_t hi = of->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int d = compare(&of->first[mid], o);

		if (d == 0)
			return &of->first[mid];
		if (d < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

static void make_marked(const struct maker *k, const struct model *m, const struct marks *only)
{
	struct verdicts of[KUBE_N_KINDS] = {{0}};

	for (size_t i = 0; only->n && i < m->n_statuses; i++) {
		struct verdicts *v = &of[m->statuses[i].kind];

		v->first = v->n++ ? v->first : &m->statuses[i];
	}
	for (size_t i = 0; i < only->n; i++) {
		const struct mark *x = &only->list[i];
		const struct kube_object *o = store_get(k->store, x->kind, x->ns, x->name);
		const struct model_status *v = o ? find_status(&of[x->kind], o) : NULL;

		if (v)
			make_one(k, v, o);
		else if (o && is_told(x->kind))
			make_without_verdict(k, o);
	}
}

void status_make(const struct store *s, const struct model *m, const struct status_options *options, status_fn *fn,
		 void *ctx)
{
	struct maker k = {.store = s,
			  .controller_name = options->controller_name,
			  .wants_all = options->wants_all,
			  .fn = fn,
			  .ctx = ctx};
	time_t t = (time_t)options->now_s;
	struct tm tm;

	strftime(k.now, sizeof(k.now), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&t, &tm));
	if (options->only && !options->only->is_all)
		make_marked(&k, m, options->only);
	else
		make_all(&k, m);
}
