/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BackendTLSPolicy (gateway.networking.k8s.io/v1): which one counts for a port
 * of a Service, and what policies are told. Who writes one does not want his
 * Service spoken to in plain text: if it cannot be done as the policy has it,
 * nobody speaks to it at all, and what is for it is answered 500 (503 of an
 * Ingress), or refused (streams). So a policy that is malformed protects the Services that it names
 * all the same.
 */
#include <stdio.h>
#include <string.h>

#include "translate/translate_pvt.h"

/* ---- which Services are meant ---- */

static bool names_service(const struct cursor *ref)
{
	struct cursor group = cursor_get(ref, "group");
	struct cursor kind = cursor_get(ref, "kind");

	return !*cursor_str(&group, "") && strcmp(cursor_str(&kind, "Service"), "Service") == 0;
}

#define TARGET_TEXT_MAX 512u

/* section "": the Service as a whole. */
static const char *target_text(char text[TARGET_TEXT_MAX], const char *service, const char *section)
{
	snprintf(text, TARGET_TEXT_MAX, "%.250s%s%.250s", service, *section ? "/" : "", section);
	return text;
}

static bool is_before(const struct kube_object *a, const struct kube_object *b)
{
	const struct age x = object_age(a);
	const struct age y = object_age(b);

	return age_compare(&x, &y) < 0;
}

void policy_targets(struct translation *t, const struct kube_object *policy)
{
	struct cursor root = cursor_root(policy);
	struct cursor spec = cursor_get(&root, "spec");
	struct cursor list = cursor_get(&spec, "targetRefs");

	for (size_t i = 0; i < cursor_count(&list); i++) {
		struct cursor ref = cursor_at(&list, i);
		struct cursor name = cursor_get(&ref, "name");
		struct cursor section = cursor_get(&ref, "sectionName");
		char text[TARGET_TEXT_MAX];

		if (names_service(&ref))
			target_add(t, policy, target_text(text, cursor_str(&name, ""), cursor_str(&section, "")));
	}
}

/* ---- who refers to them ---- */

/* The one that counts of those that name the same; NULL: there are none. */
static const struct kube_object *first_of(const struct kube_object *const *list, size_t n)
{
	const struct kube_object *first = n ? list[0] : NULL;

	for (size_t i = 1; i < n; i++)
		if (is_before(list[i], first))
			first = list[i];
	return first;
}

const struct kube_object *policy_find(struct translation *t, const struct kube_object *o, const char *ns, const char *service,
				      const char *port)
{
	const struct kube_object *found = NULL;

	for (unsigned part = 0; part < (*port ? 2 : 1); part++) {
		const struct kube_object *list[POLICIES_MAX];
		char text[TARGET_TEXT_MAX];
		size_t n = target_policies(t, ns, target_text(text, service, part ? port : ""), list);

		if (o && o->kind != KUBE_INGRESS) /* which has no Gateway to be told of */
			for (size_t i = 0; i < n; i++)
				policy_meet(t, list[i]);
		if (n) /* who names the port comes before who names them all */
			found = first_of(list, n);
	}
	return found;
}

/* Another policy that counts for a target of this one, a text of t->m; NULL: none. */
static const struct kube_object *find_winner(struct translation *t, const struct kube_object *policy, const char **target)
{
	struct cursor root = cursor_root(policy);
	struct cursor spec = cursor_get(&root, "spec");
	struct cursor list = cursor_get(&spec, "targetRefs");

	for (size_t i = 0; i < cursor_count(&list); i++) {
		struct cursor ref = cursor_at(&list, i);
		struct cursor name = cursor_get(&ref, "name");
		struct cursor section = cursor_get(&ref, "sectionName");
		const struct kube_object *others[POLICIES_MAX];
		const struct kube_object *first = NULL;
		char text[TARGET_TEXT_MAX];

		target_text(text, cursor_str(&name, ""), cursor_str(&section, ""));
		if (names_service(&ref))
			first = first_of(others, target_policies(t, policy->ns, text, others));
		if (!first || first == policy)
			continue;
		*target = model_str(t->m, text);
		return first;
	}
	return NULL;
}

/* ---- what policies are told ---- */

static bool has_ancestor(const struct model_status *s, const struct gateway *g)
{
	for (size_t i = 0; i < s->n_parents; i++)
		if (strcmp(s->parents[i].ns, g->o->ns) == 0 && strcmp(s->parents[i].name, g->o->name) == 0)
			return true;
	return false;
}

/* The same for all ancestors, in the memory of t->m. */
static struct model_conditions conclude_conditions(struct translation *t, const struct kube_object *policy,
						   const struct ref_fault *f)
{
	struct model_conditions out = {0};
	struct ref_fault ca;
	const char *target;
	const struct kube_object *winner = is_usable(t, policy) ? find_winner(t, policy, &target) : NULL;

	if (winner)
		verdict_condition(&out, "Accepted", false, "Conflicted",
				  model_printf(t->m, "BackendTLSPolicy %s, which is older or first by name, counts for Service %s",
					       winner->name, target));
	else if (f->text)
		verdict_condition(&out, "Accepted", false, f->is_pending ? "Pending" : f->reason,
				  model_printf(t->m, "nothing is sent to the Service: %s", f->text));
	else
		verdict_condition(&out, "Accepted", true, "Accepted", "TLS is spoken to the Service");
	if (!winner && f->is_pending)
		out.c[0].status = "Unknown";
	if (!is_usable(t, policy))
		return out;
	ca = backend_tls_references(t, policy);
	if (ca.reason)
		verdict_condition(&out, "ResolvedRefs", false, ca.reason, ca.text);
	else if (ca.is_pending)
		verdict_condition(&out, "ResolvedRefs", false, "Pending", ca.text);
	else
		verdict_condition(&out, "ResolvedRefs", true, "ResolvedRefs", "all references are resolved");
	if (!ca.reason && ca.is_pending)
		out.c[1].status = "Unknown";
	return out;
}

static void add_ancestor(struct translation *t, struct model_status *s, const struct gateway *g, const struct model_conditions *c)
{
	if (s->n_parents == POLICY_ANCESTORS_MAX || has_ancestor(s, g))
		return;
	s->parents[s->n_parents++] = (struct model_parent){.group = "gateway.networking.k8s.io",
							   .kind = "Gateway",
							   .ns = model_str(t->m, g->o->ns),
							   .name = model_str(t->m, g->o->name),
							   .conditions = *c};
}

/* The Gateways that a route names, themselves or by a ListenerSet. */
static void add_ancestors_of(struct translation *t, struct model_status *s, const struct kube_object *route,
			     const struct model_conditions *c)
{
	struct cursor root = cursor_root(route);
	struct cursor spec = cursor_get(&root, "spec");
	struct cursor refs = cursor_get(&spec, "parentRefs");

	for (size_t i = 0; i < cursor_count(&refs); i++) {
		struct cursor ref = cursor_at(&refs, i);
		const struct gateway *g = parent_find(t, route, &ref);

		if (g)
			add_ancestor(t, s, g->parent ? g->parent : g, c);
	}
}

static void conclude_policy(struct translation *t, const struct kube_object *policy, const struct ref_fault *f,
			    const struct kube_object *const *referrers, size_t n)
{
	struct model_parent *parents = model_alloc(t->m, POLICY_ANCESTORS_MAX * sizeof(*parents));
	struct model_status s = {.parents = parents};
	struct model_conditions c = conclude_conditions(t, policy, f);

	for (size_t i = 0; i < n; i++)
		add_ancestors_of(t, &s, referrers[i], &c);
	if (s.n_parents) {
		struct model_status *out = verdict_add(t, policy);

		out->parents = s.parents;
		out->n_parents = s.n_parents;
	}
}

static bool has_port(struct translation *t, const struct kube_object *service, const char *name)
{
	return !*name || backend_port(t, service, "TCP", 0, name);
}

static void report_target(struct translation *t, const struct kube_object *policy, const struct cursor *ref)
{
	struct cursor name = cursor_get(ref, "name");
	struct cursor section = cursor_get(ref, "sectionName");
	const struct kube_object *service;

	if (!names_service(ref)) {
		report(t, policy, ref, false, "InvalidKind", "ignored: a Service was expected");
		return;
	}
	service = store_get(t->store, KUBE_SERVICE, policy->ns, cursor_str(&name, ""));
	if (!service)
		report(t, policy, &name, false, "TargetNotFound", "of no effect: Service %s/%.100s is not there", policy->ns,
		       cursor_str(&name, ""));
	else if (is_usable(t, service) && !has_port(t, service, cursor_str(&section, "")))
		report(t, policy, &section, false, "TargetNotFound", "of no effect: Service %s/%.100s has no TCP port of this name",
		       policy->ns, cursor_str(&name, ""));
}

/* What its targets and options say that is of no effect. */
static void report_rest(struct translation *t, const struct kube_object *policy)
{
	struct cursor root = cursor_root(policy);
	struct cursor spec = cursor_get(&root, "spec");
	struct cursor list = cursor_get(&spec, "targetRefs");
	struct cursor options = cursor_get(&spec, "options");

	for (size_t i = 0; i < cursor_count(&list); i++) {
		struct cursor ref = cursor_at(&list, i);

		report_target(t, policy, &ref);
	}
	tls_options_read(t, policy, &options, false);
}

void policy_read(struct translation *t, const struct kube_object *policy, const struct kube_object *const *referrers, size_t n)
{
	struct ref_fault f = backend_tls_fault(t, policy, true);

	if (is_usable(t, policy))
		report_rest(t, policy);
	conclude_policy(t, policy, &f, referrers, n);
}
