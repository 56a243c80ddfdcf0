/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BackendTLSPolicy (gateway.networking.k8s.io/v1). Weir speaks no TLS to
 * backends yet. Who writes such a policy does not want his Service spoken to in
 * plain text, so nobody speaks to it at all: a reference to it is a problem,
 * and its share is answered 500 (503 of an Ingress). A policy that is malformed
 * protects the Services that it names all the same.
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

const struct kube_object *policy_find(struct translation *t, const struct kube_object *o, const char *ns, const char *service,
				      const char *port)
{
	const struct kube_object *found = NULL;

	for (unsigned part = 0; part < (*port ? 2 : 1); part++) {
		const struct kube_object *list[POLICIES_MAX];
		char text[TARGET_TEXT_MAX];
		size_t n = target_policies(t, ns, target_text(text, service, part ? port : ""), list);

		for (size_t i = 0; i < n; i++) {
			if (o->kind != KUBE_INGRESS) /* which has no Gateway to be told of */
				policy_meet(t, list[i]);
			if (!found || is_before(list[i], found))
				found = list[i];
		}
	}
	return found;
}

/* Another policy that counts for a target of this one; NULL: none. */
static const struct kube_object *find_winner(struct translation *t, const struct kube_object *policy)
{
	struct cursor root = cursor_root(policy);
	struct cursor spec = cursor_get(&root, "spec");
	struct cursor list = cursor_get(&spec, "targetRefs");
	const struct kube_object *found = NULL;

	for (size_t i = 0; i < cursor_count(&list); i++) {
		struct cursor ref = cursor_at(&list, i);
		struct cursor name = cursor_get(&ref, "name");
		struct cursor section = cursor_get(&ref, "sectionName");
		const struct kube_object *others[POLICIES_MAX];
		char text[TARGET_TEXT_MAX];
		size_t n = 0;

		if (names_service(&ref))
			n = target_policies(t, policy->ns, target_text(text, cursor_str(&name, ""), cursor_str(&section, "")), others);
		for (size_t k = 0; k < n; k++)
			if (is_before(others[k], found ? found : policy))
				found = others[k];
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

static void add_ancestor(struct translation *t, struct model_status *s, const struct kube_object *policy, const struct gateway *g)
{
	const struct kube_object *winner;
	struct model_parent *p;
	struct ref_fault ca;
	bool are_all_wrong;

	if (s->n_parents == POLICY_ANCESTORS_MAX || has_ancestor(s, g))
		return;
	p = &s->parents[s->n_parents++];
	*p = (struct model_parent){.group = "gateway.networking.k8s.io",
				   .kind = "Gateway",
				   .ns = model_str(t->m, g->o->ns),
				   .name = model_str(t->m, g->o->name)};
	winner = is_usable(t, policy) ? find_winner(t, policy) : NULL;
	if (!is_usable(t, policy)) {
		verdict_condition(&p->conditions, "Accepted", false, "Invalid", refusal_text(t, policy));
		return;
	}
	ca = certificates_of_policy(t, policy, &are_all_wrong);
	if (winner)
		verdict_condition(&p->conditions, "Accepted", false, "Conflicted",
				  model_printf(t->m, "BackendTLSPolicy %s, which is older or first by name, has the same target",
					       winner->name));
	else if (are_all_wrong)
		verdict_condition(&p->conditions, "Accepted", false, "NoValidCACertificate",
				  model_printf(t->m, "none of the CA certificates can be used: %s", ca.text));
	else
		verdict_condition(&p->conditions, "Accepted", false, "Invalid",
				  "BackendTLSPolicy is not supported by this version of Weir: what is for the Service is "
				  "answered 500, since it is not to be spoken to in plain text");
	if (ca.reason)
		verdict_condition(&p->conditions, "ResolvedRefs", false, ca.reason, ca.text);
	else if (ca.is_pending)
		verdict_condition(&p->conditions, "ResolvedRefs", false, "Pending", ca.text);
	else
		verdict_condition(&p->conditions, "ResolvedRefs", true, "ResolvedRefs", "all references are resolved");
	if (!ca.reason && ca.is_pending)
		p->conditions.c[p->conditions.n - 1].status = "Unknown";
}

/* The Gateways that a route names, themselves or by a ListenerSet. */
static void add_ancestors_of(struct translation *t, struct model_status *s, const struct kube_object *policy,
			     const struct kube_object *route)
{
	struct cursor root = cursor_root(route);
	struct cursor spec = cursor_get(&root, "spec");
	struct cursor refs = cursor_get(&spec, "parentRefs");

	for (size_t i = 0; i < cursor_count(&refs); i++) {
		struct cursor ref = cursor_at(&refs, i);
		const struct gateway *g = parent_find(t, route, &ref);

		if (g)
			add_ancestor(t, s, policy, g->parent ? g->parent : g);
	}
}

static void conclude_policy(struct translation *t, const struct kube_object *policy, const struct kube_object *const *referrers,
			    size_t n)
{
	struct model_parent *parents = model_alloc(t->m, POLICY_ANCESTORS_MAX * sizeof(*parents));
	struct model_status s = {.parents = parents};

	for (size_t i = 0; i < n; i++)
		add_ancestors_of(t, &s, policy, referrers[i]);
	if (s.n_parents) {
		struct model_status *out = verdict_add(t, policy);

		out->parents = s.parents;
		out->n_parents = s.n_parents;
	}
}

static void report_certificates(struct translation *t, const struct kube_object *policy)
{
	struct cursor root = cursor_root(policy);
	struct cursor spec = cursor_get(&root, "spec");
	struct cursor validation = cursor_get(&spec, "validation");
	struct cursor list = cursor_get(&validation, "caCertificateRefs");

	for (size_t i = 0; i < cursor_count(&list); i++) {
		struct cursor ref = cursor_at(&list, i);
		struct ref_fault f = ca_fault(t, policy, &ref, "InvalidKind");

		if (f.reason)
			report(t, policy, &ref, true, f.reason, "%s", f.text);
	}
}

static void report_policy(struct translation *t, const struct kube_object *policy)
{
	struct cursor root = cursor_root(policy);
	struct cursor spec = cursor_get(&root, "spec");
	struct cursor list = cursor_get(&spec, "targetRefs");

	report(t, policy, &spec, true, "UnsupportedPolicy",
	       "none was expected: Weir speaks no TLS to backends yet; what is for the Services that this names is answered 500");
	for (size_t i = 0; i < cursor_count(&list); i++) {
		struct cursor ref = cursor_at(&list, i);

		if (!names_service(&ref))
			report(t, policy, &ref, false, "InvalidKind", "ignored: a Service was expected");
	}
	report_certificates(t, policy);
}

void policy_read(struct translation *t, const struct kube_object *policy, const struct kube_object *const *referrers, size_t n)
{
	if (is_usable(t, policy))
		report_policy(t, policy);
	conclude_policy(t, policy, referrers, n);
}
