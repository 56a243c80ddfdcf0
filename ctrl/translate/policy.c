/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BackendTLSPolicy (gateway.networking.k8s.io/v1). Weir speaks no TLS to
 * backends yet. Who writes such a policy does not want his Service spoken to in
 * plain text, so nobody speaks to it at all: a reference to it is a problem,
 * and its share is answered 500 (503 of an Ingress). A policy that is malformed
 * protects the Services that it names all the same.
 */
#include <stdlib.h>
#include <string.h>

#include "translate/translate_pvt.h"

/* ---- which Services are meant ---- */

static int compare_key(const struct policy_target *a, const struct policy_target *b)
{
	int d = strcmp(a->policy->ns, b->policy->ns);

	return d ? d : strcmp(a->service, b->service);
}

/* By Service; of several policies for one port the oldest comes first, then by name. */
static int compare_targets(const void *pa, const void *pb)
{
	const struct policy_target *a = pa;
	const struct policy_target *b = pb;
	int d = compare_key(a, b);

	if (d == 0)
		d = strcmp(a->port, b->port);
	if (d == 0 && a->policy->created_s != b->policy->created_s)
		d = a->policy->created_s < b->policy->created_s ? -1 : 1;
	if (d == 0)
		d = strcmp(a->policy->name, b->policy->name);
	return d;
}

static void read_policy(struct translation *t, const struct kube_object *o)
{
	struct cursor root = cursor_root(o);
	struct cursor spec = cursor_get(&root, "spec");
	struct cursor list = cursor_get(&spec, "targetRefs");

	for (size_t i = 0; i < cursor_count(&list); i++) {
		struct cursor ref = cursor_at(&list, i);
		struct cursor group = cursor_get(&ref, "group");
		struct cursor kind = cursor_get(&ref, "kind");
		struct cursor name = cursor_get(&ref, "name");
		struct cursor section = cursor_get(&ref, "sectionName");

		if (*cursor_str(&group, "") || strcmp(cursor_str(&kind, "Service"), "Service") != 0) {
			if (is_usable(t, o))
				report(t, o, &ref, false, "InvalidKind", "ignored: a Service was expected");
			continue;
		}
		t->targets = translate_grow(t->targets, t->n_targets, &t->cap_targets, sizeof(*t->targets));
		t->targets[t->n_targets++] = (struct policy_target){
		    .policy = o, .service = cursor_str(&name, ""), .port = cursor_str(&section, "")};
	}
}

void policies_read(struct translation *t)
{
	size_t n;
	const struct kube_object *const *list = store_list(t->store, KUBE_BACKEND_TLS_POLICY, &n);

	for (size_t i = 0; i < n; i++)
		read_policy(t, list[i]);
	if (t->n_targets)
		qsort(t->targets, t->n_targets, sizeof(*t->targets), compare_targets);
	for (size_t i = 1; i < t->n_targets; i++) {
		struct policy_target *x = &t->targets[i];
		const struct policy_target *before = &t->targets[i - 1];

		if (compare_key(before, x) == 0 && strcmp(before->port, x->port) == 0)
			x->winner = before->winner ? before->winner : before->policy;
	}
}

/* ---- who refers to them ---- */

/* The first target for a Service, or n_targets. */
static size_t first_target(const struct translation *t, const char *ns, const char *service)
{
	size_t lo = 0;
	size_t hi = t->n_targets;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int d = strcmp(t->targets[mid].policy->ns, ns);

		if (d == 0)
			d = strcmp(t->targets[mid].service, service);
		if (d < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static void note_referrer(struct translation *t, size_t target, const struct kube_object *o)
{
	for (size_t i = t->n_referrers; i-- > 0 && t->referrers[i].o == o;)
		if (t->referrers[i].target == target)
			return;
	t->referrers = translate_grow(t->referrers, t->n_referrers, &t->cap_referrers, sizeof(*t->referrers));
	t->referrers[t->n_referrers++] = (struct policy_referrer){target, o};
}

const struct kube_object *policy_find(struct translation *t, const struct kube_object *o, const char *ns, const char *service,
				      const char *port)
{
	const struct kube_object *found = NULL;

	for (size_t i = first_target(t, ns, service); i < t->n_targets; i++) {
		const struct policy_target *x = &t->targets[i];

		if (strcmp(x->policy->ns, ns) != 0 || strcmp(x->service, service) != 0)
			break;
		if (*x->port && strcmp(x->port, port) != 0)
			continue;
		note_referrer(t, i, o);
		if (!found)
			found = x->winner ? x->winner : x->policy;
	}
	return found;
}

/* ---- what policies are told ---- */

static bool has_ancestor(const struct model_status *s, const struct gateway *g)
{
	for (size_t i = 0; i < s->n_parents; i++)
		if (strcmp(s->parents[i].ns, g->o->ns) == 0 && strcmp(s->parents[i].name, g->o->name) == 0)
			return true;
	return false;
}

static void add_ancestor(struct translation *t, struct model_status *s, const struct policy_target *x, const struct gateway *g)
{
	struct model_parent *p;

	if (s->n_parents == POLICY_ANCESTORS_MAX || has_ancestor(s, g))
		return;
	p = &s->parents[s->n_parents++];
	*p = (struct model_parent){.group = "gateway.networking.k8s.io",
				   .kind = "Gateway",
				   .ns = model_str(t->m, g->o->ns),
				   .name = model_str(t->m, g->o->name)};
	if (!is_usable(t, x->policy))
		verdict_condition(&p->conditions, "Accepted", false, "Invalid", refusal_text(t, x->policy));
	else if (x->winner)
		verdict_condition(&p->conditions, "Accepted", false, "Conflicted",
				  model_printf(t->m, "BackendTLSPolicy %s, which is older or first by name, has the same target",
					       x->winner->name));
	else
		verdict_condition(&p->conditions, "Accepted", false, "Invalid",
				  "BackendTLSPolicy is not supported by this version of Weir: what is for the Service is "
				  "answered 500, since it is not to be spoken to in plain text");
}

/* The Gateways that a route names, themselves or by a ListenerSet. */
static void add_ancestors_of(struct translation *t, struct model_status *s, const struct policy_target *x,
			     const struct kube_object *route)
{
	struct cursor root = cursor_root(route);
	struct cursor spec = cursor_get(&root, "spec");
	struct cursor refs = cursor_get(&spec, "parentRefs");

	for (size_t i = 0; i < cursor_count(&refs); i++) {
		struct cursor ref = cursor_at(&refs, i);
		const struct gateway *g = parent_find(t, route, &ref);

		if (g)
			add_ancestor(t, s, x, g->parent ? g->parent : g);
	}
}

static int compare_referrers(const void *pa, const void *pb)
{
	const struct policy_referrer *a = pa;
	const struct policy_referrer *b = pb;
	int d = (a->target > b->target) - (a->target < b->target);

	if (d == 0)
		d = strcmp(a->o->ns, b->o->ns);
	if (d == 0)
		d = strcmp(a->o->name, b->o->name);
	return d ? d : (a->o->kind > b->o->kind) - (a->o->kind < b->o->kind);
}

static void conclude_policy(struct translation *t, const struct kube_object *policy)
{
	struct model_parent *parents = model_alloc(t->m, POLICY_ANCESTORS_MAX * sizeof(*parents));
	struct model_status s = {.parents = parents};

	for (size_t i = 0; i < t->n_referrers; i++) {
		const struct policy_target *x = &t->targets[t->referrers[i].target];

		if (x->policy == policy)
			add_ancestors_of(t, &s, x, t->referrers[i].o);
	}
	if (s.n_parents) {
		struct model_status *out = verdict_add(t, policy);

		out->parents = s.parents;
		out->n_parents = s.n_parents;
	}
}

static void report_policy(struct translation *t, const struct kube_object *policy)
{
	struct cursor root = cursor_root(policy);
	struct cursor spec = cursor_get(&root, "spec");

	if (is_usable(t, policy))
		report(t, policy, &spec, true, "UnsupportedPolicy",
		       "none was expected: Weir speaks no TLS to backends yet; what is for the Services that this names is answered 500");
}

void policies_conclude(struct translation *t)
{
	size_t n;
	const struct kube_object *const *list = store_list(t->store, KUBE_BACKEND_TLS_POLICY, &n);

	if (t->n_referrers)
		qsort(t->referrers, t->n_referrers, sizeof(*t->referrers), compare_referrers);
	for (size_t i = 0; i < n; i++) {
		report_policy(t, list[i]);
		conclude_policy(t, list[i]);
	}
}
