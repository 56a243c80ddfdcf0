/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ListenerSet (gateway.networking.k8s.io/v1): listeners that are added to a
 * Gateway which allows it. Its own come first, then those of its sets, the
 * oldest first, then by name; who comes later and is in the way is left out.
 *
 * A set is a struct gateway of its own, whose object it is, with the addresses
 * of its Gateway: what reads listeners, and attaches routes to them, need not
 * know the difference.
 */
#include <stdlib.h>
#include <string.h>

#include "translate/translator_pvt.h"

#define GATEWAY_GROUP "gateway.networking.k8s.io"

/* ---- which sets are ours ---- */

static const struct gateway *find_parent(struct translation *t, const struct kube_object *o)
{
	struct cursor root = cursor_root(o);
	struct cursor spec = cursor_get(&root, "spec");
	struct cursor ref = cursor_get(&spec, "parentRef");
	struct cursor group = cursor_get(&ref, "group");
	struct cursor kind = cursor_get(&ref, "kind");
	struct cursor ns = cursor_get(&ref, "namespace");
	struct cursor name = cursor_get(&ref, "name");
	const struct gateway *g;

	if (strcmp(cursor_str(&group, GATEWAY_GROUP), GATEWAY_GROUP) != 0 || strcmp(cursor_str(&kind, "Gateway"), "Gateway") != 0) {
		if (is_usable(t, o))
			report(t, o, &ref, false, "UnsupportedParent", "ignored: a Gateway was expected");
		return NULL;
	}
	g = gateway_search(t->gateways, t->n_gateways, cursor_str(&ns, o->ns), cursor_str(&name, ""));
	if (!g && is_usable(t, o) && !store_get(t->store, KUBE_GATEWAY, cursor_str(&ns, o->ns), cursor_str(&name, "")))
		report(t, o, &ref, true, "NoMatchingParent", "a Gateway was expected: %.63s/%.100s is not there",
		       cursor_str(&ns, o->ns), cursor_str(&name, ""));
	return g;
}

void listenersets_collect(struct translation *t)
{
	size_t n;
	const struct kube_object *const *list = store_list(t->store, KUBE_LISTENER_SET, &n);

	for (size_t i = 0; i < n; i++) {
		const struct gateway *g = find_parent(t, list[i]);

		if (!g)
			continue;
		t->sets = translate_grow(t->sets, t->n_sets, &t->cap_sets, sizeof(*t->sets));
		t->sets[t->n_sets++] = (struct gateway){.o = list[i], .class = g->class, .parent = g};
	}
}

const struct gateway *listenerset_find(struct translation *t, const char *ns, const char *name)
{
	depend_on(t, KEY_LISTENER_SET, ns, name);
	return gateway_search(t->sets, t->n_sets, ns, name);
}

/* ---- their listeners ---- */

static bool is_admitted(const struct translation *t, const struct gateway *g, const char *ns)
{
	return !g->admits_no_sets &&
	       namespaces_admit(t, node_path(g->o->root, "spec.allowedListeners.namespaces"), "None", g->o->ns, ns);
}

/* A Gateway is accepted if one of its own listeners is. */
static bool has_valid_listener(const struct translation *t, const struct gateway *g)
{
	for (size_t i = 0; i < g->count; i++)
		if (!t->sections[g->first + i].refusal)
			return true;
	return false;
}

/* False, with the reason in the API's terms, if the set adds nothing to its Gateway. */
static bool check_set(struct translation *t, struct gateway *set)
{
	const struct gateway *g = set->parent;
	struct cursor root = cursor_root(set->o);
	struct cursor spec = cursor_get(&root, "spec");
	struct cursor ref = cursor_get(&spec, "parentRef");

	if (!is_usable(t, set->o)) {
		set->refusal = "Invalid";
		set->refusal_text = refusal_text(t, set->o);
	} else if (g->refusal || !has_valid_listener(t, g)) {
		set->refusal = "ParentNotAccepted";
		set->refusal_text = model_printf(t->m, "Gateway %s/%s is not accepted", g->o->ns, g->o->name);
		report(t, set->o, &ref, true, set->refusal, "%s", set->refusal_text);
	} else if (!is_admitted(t, g, set->o->ns)) {
		set->refusal = "NotAllowed";
		set->refusal_text = model_printf(t->m, "spec.allowedListeners of Gateway %s/%s does not admit ListenerSets of namespace %s",
						 g->o->ns, g->o->name, set->o->ns);
		report(t, set->o, &ref, true, set->refusal, "%s", set->refusal_text);
	}
	return !set->refusal;
}

static void read_set(struct translation *t, struct gateway *set, struct taken *taken)
{
	struct cursor root = cursor_root(set->o);
	struct cursor spec = cursor_get(&root, "spec");
	struct cursor list = cursor_get(&spec, "listeners");

	memcpy(set->addrs, set->parent->addrs, sizeof(set->addrs));
	set->n_addrs = set->parent->n_addrs;
	set->first = t->n_sections;
	if (check_set(t, set))
		listeners_add(t, set, &list, taken);
	set->count = t->n_sections - set->first;
	for (size_t i = 0; i < set->count; i++)
		section_serve(t, set, &t->sections[set->first + i], &set->parent->timeouts);
}

static int compare_age(const void *pa, const void *pb)
{
	const struct gateway *a = *(struct gateway *const *)pa;
	const struct gateway *b = *(struct gateway *const *)pb;
	const struct age x = object_age(a->o);
	const struct age y = object_age(b->o);

	return age_compare(&x, &y);
}

void listenersets_read(struct translation *t, const struct gateway *g)
{
	struct gateway **of = NULL;
	struct taken taken = {0};
	size_t n = 0;
	size_t cap = 0;

	for (size_t i = 0; i < t->n_sets; i++) {
		if (t->sets[i].parent != g)
			continue;
		of = translate_grow(of, n, &cap, sizeof(*of));
		of[n++] = &t->sets[i];
	}
	if (n)
		qsort(of, n, sizeof(*of), compare_age);
	for (size_t i = 0; n && i < g->count; i++)
		taken_add(t, &taken, g->first + i);
	for (size_t i = 0; i < n; i++)
		read_set(t, of[i], &taken);
	free(taken.slots);
	free(of);
}

/* ---- what they are told ---- */

bool listenerset_is_accepted(const struct translation *t, const struct gateway *set)
{
	if (set->refusal)
		return false;
	for (size_t i = 0; i < set->count; i++)
		if (!section_is_invalid(&t->sections[set->first + i]))
			return true;
	return false;
}

static void conclude_conditions(struct translation *t, const struct gateway *set, struct model_conditions *c)
{
	size_t n_invalid = 0;

	for (size_t i = 0; i < set->count; i++)
		n_invalid += section_is_invalid(&t->sections[set->first + i]);
	if (set->refusal || n_invalid == set->count) {
		const char *reason = set->refusal ? set->refusal : "ListenersNotValid";
		const char *text = set->refusal ? set->refusal_text : "no listener can be served";

		verdict_condition(c, "Accepted", false, reason, text);
		verdict_condition(c, "Programmed", false, reason, text);
		return;
	}
	if (n_invalid)
		verdict_condition(c, "Accepted", true, "ListenersNotValid", "some listeners are not valid; the others are served");
	else
		verdict_condition(c, "Accepted", true, "Accepted", "all listeners are valid");
	if (set->n_addrs)
		verdict_condition(c, "Programmed", true, "Programmed", "the listeners are served");
	else
		verdict_condition(c, "Programmed", false, "Pending", "the Gateway has no address");
}

void listenerset_conclude(struct translation *t, const struct gateway *set)
{
	struct model_status *s = verdict_add(t, set->o);

	conclude_conditions(t, set, &s->conditions);
	s->sections = set->count ? model_alloc(t->m, set->count * sizeof(*s->sections)) : NULL;
	for (size_t i = 0; i < set->count; i++)
		listener_conclude(t, set, &t->sections[set->first + i], &s->sections[s->n_sections++]);
}
