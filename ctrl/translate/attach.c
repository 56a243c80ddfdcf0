/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which listeners a route attaches to, by its parentRefs and under which host
 * names, and what it is told of each parent: the same for all kinds of routes
 * that are carried.
 */
#include <stdlib.h>
#include <string.h>

#include "kube/names.h"
#include "translate/translate_pvt.h"

static void add_host(struct attachments *a, const char *host)
{
	a->hosts = translate_grow(a->hosts, a->n_hosts, &a->cap_hosts, sizeof(*a->hosts));
	a->hosts[a->n_hosts++] = host;
}

static void read_hosts(struct attachments *a)
{
	struct cursor list = cursor_get(a->spec, "hostnames");

	if (a->o->kind == KUBE_TCP_ROUTE) /* it has no such field: what stands there is named by the schema */
		return;
	a->has_hosts = cursor_count(&list) > 0;
	for (size_t i = 0; i < cursor_count(&list); i++) {
		struct cursor h = cursor_at(&list, i);

		if (names_is_host(cursor_str(&h, "")))
			add_host(a, cursor_str(&h, ""));
		else
			report(a->t, a->o, &h, true, "InvalidHostname",
			       "a host name in lower case, or \"*.\" and one, was expected");
	}
}

static void attach_host(struct attachments *a, const struct gateway *g, const struct section *s, const char *host)
{
	const struct gateway *above = g->parent ? g->parent : g;
	const bool has_via = above->client && !s->is_passthrough;

	for (uint32_t i = 0; i < s->count; i++) {
		a->at = translate_grow(a->at, a->n_at, &a->cap_at, sizeof(*a->at));
		a->at[a->n_at++] = (struct attachment){s->first + i, host, has_via ? above : NULL, s->is_passthrough};
	}
}

/* False if no host name of the route is one of the listener's. */
static bool attach_section(struct attachments *a, const struct gateway *g, const struct section *s)
{
	bool any = false;

	if (!a->has_hosts) {
		attach_host(a, g, s, s->host);
		return true;
	}
	for (size_t i = 0; i < a->n_hosts; i++) {
		const char *host = host_intersection(s->host, a->hosts[i]);

		if (host) {
			attach_host(a, g, s, host);
			any = true;
		}
	}
	return any;
}

static void refuse(struct attachments *a, struct route_parent *p, const struct cursor *ref, const char *reason, const char *text)
{
	report(a->t, a->o, ref, true, reason, "%s", text);
	p->refusal = reason;
	p->refusal_text = text;
}

static void attach_gateway(struct attachments *a, const struct gateway *g, const struct cursor *ref)
{
	struct route_parent *p = &a->parents[a->n_parents++];
	struct model *m = a->t->m;
	const char *kind = kube_kind_name(g->o->kind);
	size_t named = 0;
	size_t admitted = 0;
	size_t attached = a->n_attached;

	*p = (struct route_parent){.g = g, .index = ref->index};
	for (size_t i = 0; i < g->count; i++) {
		const struct section *s = &a->t->sections[g->first + i];

		if (!parent_names(ref, s))
			continue;
		named++;
		if (!section_admits(a->t, g, s, a->o))
			continue;
		admitted++;
		if (!attach_section(a, g, s))
			continue;
		a->attached = translate_grow(a->attached, a->n_attached, &a->cap_attached, sizeof(*a->attached));
		a->attached[a->n_attached++] = (struct attached){g->first + i, a->n_parents - 1};
	}
	if (!is_usable(a->t, g->o))
		refuse(a, p, ref, "NoMatchingParent",
		       model_printf(m, "a %s was expected: %s/%s is refused for problems of its own", kind, g->o->ns, g->o->name));
	else if (!named)
		refuse(a, p, ref, "NoMatchingParent",
		       model_printf(m, "a listener was expected: %s %s/%s has none by this name and port", kind, g->o->ns,
				    g->o->name));
	else if (!admitted)
		refuse(a, p, ref, "NotAllowedByListeners",
		       model_printf(m, "a listener that admits %ss of namespace %s was expected: %s %s/%s has none",
				    kube_kind_name(a->o->kind), a->o->ns, kind, g->o->ns, g->o->name));
	else if (a->n_attached == attached)
		refuse(a, p, ref, "NoMatchingListenerHostname",
		       model_printf(m, "a host name of a listener was expected: %s %s/%s has none of these", kind, g->o->ns,
				    g->o->name));
}

static void attach_parent(struct attachments *a, const struct cursor *ref)
{
	const struct gateway *g = parent_find(a->t, a->o, ref);

	if (g)
		attach_gateway(a, g, ref);
	else
		parent_report(a->t, a->o, ref);
}

static int compare_attachments(const void *pa, const void *pb)
{
	const struct attachment *a = pa;
	const struct attachment *b = pb;

	if (a->listener != b->listener)
		return a->listener < b->listener ? -1 : 1;
	return strcmp(a->host, b->host);
}

static size_t find_via(const struct attachments *a, const struct gateway *via)
{
	size_t i = 0;

	while (i < a->n_vias && a->vias[i] != via)
		i++;
	return i;
}

void attachments_read(struct attachments *a)
{
	struct cursor refs = cursor_get(a->spec, "parentRefs");
	struct cursor defaults = cursor_get(a->spec, "useDefaultGateways");
	size_t kept = 0;

	/* who uses the default Gateways may have others in mind: of ours none is one */
	if (cursor_count(&refs) == 0 && strcmp(cursor_str(&defaults, "None"), "None") == 0)
		report(a->t, a->o, &refs, true, "NoMatchingParent", "at least one parent, a Gateway, was expected");
	read_hosts(a);
	for (size_t i = 0; i < cursor_count(&refs); i++) {
		struct cursor ref = cursor_at(&refs, i);

		attach_parent(a, &ref);
	}
	if (a->n_at)
		qsort(a->at, a->n_at, sizeof(*a->at), compare_attachments);
	for (size_t i = 0; i < a->n_at; i++)
		if (kept == 0 || compare_attachments(&a->at[kept - 1], &a->at[i]) != 0)
			a->at[kept++] = a->at[i];
	a->n_at = kept;
	for (size_t i = 0; i < a->n_at; i++) {
		a->at[i].host = model_str(a->t->m, a->at[i].host);
		if (!a->at[i].is_passthrough && find_via(a, a->at[i].via) == a->n_vias)
			a->vias[a->n_vias++] = a->at[i].via;
	}
}

void attachments_read_malformed(struct attachments *a)
{
	struct cursor refs = cursor_get(a->spec, "parentRefs");

	for (size_t i = 0; i < cursor_count(&refs) && a->n_parents < ROUTE_PARENTS_MAX; i++) {
		struct cursor ref = cursor_at(&refs, i);
		const struct gateway *g = parent_find(a->t, a->o, &ref);

		if (g)
			a->parents[a->n_parents++] = (struct route_parent){g, i, "UnsupportedValue", refusal_text(a->t, a->o)};
	}
}

void attachments_fini(struct attachments *a)
{
	free(a->at);
	free(a->hosts);
	free(a->attached);
}

/* ---- by Gateway ---- */

const struct model_match *attachments_vias(const struct attachments *a, const struct model_match *first)
{
	struct model_match *all = model_alloc(a->t->m, (a->n_vias + 1) * sizeof(*all));

	all[0] = *first;
	for (size_t i = 1; i < a->n_vias; i++)
		all[i] = via_read(a->t, first, a->vias[i]);
	return all;
}

const struct model_match *attachments_via(const struct attachments *a, const struct model_match *all, const struct attachment *at)
{
	return &all[find_via(a, at->via)];
}

/* ---- what the route is told ---- */

void attachments_refuse(struct attachments *a, const char *reason, const char *text)
{
	for (size_t i = 0; i < a->n_parents; i++) {
		if (a->parents[i].refusal)
			continue;
		a->parents[i].refusal = reason;
		a->parents[i].refusal_text = text;
	}
}

static void conclude_parent(const struct attachments *a, const struct route_parent *p, const struct findings *found,
			    struct model_parent *out)
{
	struct cursor list = cursor_get(a->spec, "parentRefs");
	struct cursor ref = cursor_at(&list, p->index);

	parent_fill(a->t, &ref, out);
	if (p->refusal)
		verdict_condition(&out->conditions, "Accepted", false, p->refusal, p->refusal_text);
	else
		verdict_condition(&out->conditions, "Accepted", true, "Accepted", "the route is attached");
	if (found)
		verdict_references(&out->conditions, found);
}

struct model_status *attachments_conclude(struct attachments *a, const struct findings *found)
{
	struct model_status *s;

	for (size_t i = 0; i < a->n_attached; i++)
		if (!a->parents[a->attached[i].parent].refusal)
			section_attach(a->t, a->attached[i].section);
	s = verdict_add(a->t, a->o);
	s->parents = model_alloc(a->t->m, a->n_parents * sizeof(*s->parents));
	for (size_t i = 0; i < a->n_parents; i++)
		conclude_parent(a, &a->parents[i], found, &s->parents[s->n_parents++]);
	return s;
}
