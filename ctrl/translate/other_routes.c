/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GRPCRoute and UDPRoute. Weir carries none of them yet: they are read only to
 * tell their owners so, and what else would be in the way. A GRPCRoute would
 * need HTTP/2, on both sides.
 */
#include <string.h>

#include "translate/translate_pvt.h"

#define GATEWAY_GROUP "gateway.networking.k8s.io"
#define MAX_PARENTS 32u /* as many as the schema lets through */

static const struct {
	enum kube_kind kind;
	const char *protocols[3]; /* of listeners that could take it */
} route_kinds[] = {
    {KUBE_GRPC_ROUTE, {"HTTP", "HTTPS"}},
    {KUBE_UDP_ROUTE, {"UDP"}},
};

#define N_KINDS (sizeof(route_kinds) / sizeof(*route_kinds))

/* ---- which listeners could take it ---- */

static bool fits_protocol(enum kube_kind kind, const char *protocol)
{
	for (size_t i = 0; i < N_KINDS; i++)
		for (const char *const *p = route_kinds[i].protocols; route_kinds[i].kind == kind && *p; p++)
			if (strcmp(*p, protocol) == 0)
				return true;
	return false;
}

static bool names_kind(const struct cursor *kinds, enum kube_kind kind)
{
	for (size_t i = 0; i < cursor_count(kinds); i++) {
		struct cursor k = cursor_at(kinds, i);
		struct cursor group = cursor_get(&k, "group");
		struct cursor name = cursor_get(&k, "kind");

		if (strcmp(cursor_str(&group, GATEWAY_GROUP), GATEWAY_GROUP) == 0 &&
		    strcmp(cursor_str(&name, ""), kube_kind_name(kind)) == 0)
			return true;
	}
	return cursor_count(kinds) == 0;
}

static bool would_admit(const struct translation *t, const struct gateway *g, const struct section *s,
			const struct kube_object *o)
{
	struct cursor root = cursor_root(g->o);
	struct cursor spec = cursor_get(&root, "spec");
	struct cursor listeners = cursor_get(&spec, "listeners");
	struct cursor l = cursor_at(&listeners, s->index);
	struct cursor allowed = cursor_get(&l, "allowedRoutes");
	struct cursor kinds = cursor_get(&allowed, "kinds");

	return fits_protocol(o->kind, s->protocol) && names_kind(&kinds, o->kind) && !s->admits_none &&
	       namespaces_admit(t, s->namespaces, "Same", g->o->ns, o->ns);
}

/* Why the route is not accepted there: in any case it is not. */
static const char *refusal_of(struct translation *t, const struct gateway *g, const struct kube_object *o,
			      const struct cursor *ref, const char **text)
{
	const char *kind = kube_kind_name(g->o->kind);
	size_t named = 0;
	size_t admitted = 0;

	if (!is_usable(t, g->o)) {
		*text = model_printf(t->m, "a %s was expected: %s/%s is refused for problems of its own", kind, g->o->ns, g->o->name);
		return "NoMatchingParent";
	}
	for (size_t i = 0; i < g->count; i++) {
		const struct section *s = &t->sections[g->first + i];

		if (!parent_names(ref, s))
			continue;
		named++;
		admitted += would_admit(t, g, s, o);
	}
	if (!named) {
		*text = model_printf(t->m, "a listener was expected: %s %s/%s has none by this name and port", kind, g->o->ns,
				     g->o->name);
		return "NoMatchingParent";
	}
	if (!admitted) {
		*text = model_printf(t->m, "a listener that admits %ss of namespace %s was expected: %s %s/%s has none; %s is "
				     "not supported by this version of Weir", kube_kind_name(o->kind), o->ns, kind, g->o->ns, g->o->name,
				     kube_kind_name(o->kind));
		return "NotAllowedByListeners";
	}
	*text = model_printf(t->m, "%s is not supported by this version of Weir%s", kube_kind_name(o->kind),
			     o->kind == KUBE_GRPC_ROUTE ? ": its listeners speak HTTP/1.1 only" : "");
	return "UnsupportedProtocol";
}

/* ---- its references ---- */

static void read_refs(struct translation *t, const struct kube_object *o, struct findings *found)
{
	struct cursor root = cursor_root(o);
	struct cursor spec = cursor_get(&root, "spec");
	struct cursor rules = cursor_get(&spec, "rules");

	t->findings = found;
	t->is_trial = true;
	for (size_t i = 0; i < cursor_count(&rules); i++) {
		struct cursor rule = cursor_at(&rules, i);
		struct cursor refs = cursor_get(&rule, "backendRefs");

		for (size_t k = 0; k < cursor_count(&refs); k++) {
			struct cursor ref = cursor_at(&refs, k);

			route_backend(t, o, &ref);
		}
	}
	t->findings = NULL;
	t->is_trial = false;
}

/* ---- what it is told ---- */

void other_route_read(struct translation *t, const struct kube_object *o)
{
	struct cursor root = cursor_root(o);
	struct cursor spec = cursor_get(&root, "spec");
	struct cursor refs = cursor_get(&spec, "parentRefs");
	struct model_parent parents[MAX_PARENTS];
	struct findings found = {0};
	bool is_right = is_usable(t, o);
	struct model_status *status;
	size_t n = 0;

	for (size_t i = 0; i < cursor_count(&refs) && n < MAX_PARENTS; i++) {
		struct cursor ref = cursor_at(&refs, i);
		const struct gateway *g = parent_find(t, o, &ref);
		const char *reason = "UnsupportedValue";
		const char *text = is_right ? NULL : refusal_text(t, o);

		if (!g) {
			if (is_right)
				parent_report(t, o, &ref);
			continue;
		}
		if (is_right) {
			reason = refusal_of(t, g, o, &ref, &text);
			report(t, o, &ref, true, reason, "%s", text);
		}
		parents[n] = (struct model_parent){0};
		parent_fill(t, &ref, &parents[n]);
		verdict_condition(&parents[n++].conditions, "Accepted", false, reason, text);
	}
	if (n == 0)
		return;
	if (is_right)
		read_refs(t, o, &found);
	status = verdict_add(t, o);
	status->parents = model_alloc(t->m, n * sizeof(*parents));
	status->n_parents = n;
	for (size_t i = 0; i < n; i++) {
		status->parents[i] = parents[i];
		if (is_right)
			verdict_references(&status->parents[i].conditions, &found);
	}
}
