/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What nobody would notice of Ingresses that are right each by itself: a host
 * and path that an older one has, and IngressClasses that mean more than is carried.
 */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "translate/translate_pvt.h"

/* ---- one host and path in several Ingresses ---- */

/* By host and path; open addressing. */
struct places {
	const struct model_match **slots; /* the match that is served */
	size_t n_slots;
	uint64_t secret; /* of the hash: SipHash would double what the whole check takes */
	bool are_shared; /* some */
};

static bool is_same_place(const struct model_match *a, const struct model_match *b)
{
	return a->path_kind == b->path_kind && strcmp(a->host, b->host) == 0 && strcmp(a->path, b->path) == 0;
}

/* Whether a is served where b has the same place: the order of place.c. */
static bool is_before(const struct model_match *a, const struct model_match *b)
{
	const struct age x = {a->created_s, a->ns, a->name};
	const struct age y = {b->created_s, b->ns, b->name};
	int d = age_compare(&x, &y);

	if (d == 0 && a->rule_index != b->rule_index)
		d = a->rule_index < b->rule_index ? -1 : 1;
	return d ? d < 0 : a->match_index < b->match_index;
}

static void report_loser(struct translation *t, const struct model_match *loser, const struct model_match *winner)
{
	const struct kube_object *o = store_get(t->store, KUBE_INGRESS, loser->ns, loser->name);
	struct cursor root = cursor_root(o);
	struct cursor spec = cursor_get(&root, "spec");
	struct cursor rules = cursor_get(&spec, "rules");
	const char *where = strcmp(loser->ns, winner->ns) == 0 && strcmp(loser->name, winner->name) == 0 ? "before" : "and is older, or first by name";
	struct cursor rule, http, paths, path;

	if (loser->rule_index >= cursor_count(&rules)) { /* one of the places of its default backend */
		struct cursor backend = cursor_get(&spec, "defaultBackend");

		report(t, o, &backend, false, "PathConflict", "not served for host \"%.253s\": Ingress %s/%.100s has it %s", loser->host,
		       winner->ns, winner->name, where);
		return;
	}
	rule = cursor_at(&rules, loser->rule_index);
	http = cursor_get(&rule, "http");
	paths = cursor_get(&http, "paths");
	path = cursor_at(&paths, loser->match_index);
	report(t, o, &path, true, "PathConflict", "not served: Ingress %s/%.100s has this host and path %s", winner->ns, winner->name,
	       where);
}

static const struct model_match **find_place(const struct places *p, const struct model_match *m)
{
	uint64_t h = hash64(m->path, strlen(m->path), hash64(m->host, strlen(m->host), p->secret + m->path_kind));
	size_t i = h & (p->n_slots - 1);

	while (p->slots[i] && !is_same_place(p->slots[i], m))
		i = (i + 1) & (p->n_slots - 1);
	return &p->slots[i];
}

static void check_places(struct translation *t, const struct model_match *const *matches, size_t n)
{
	struct places p = {.n_slots = 64, .secret = hash_secret()};

	while (p.n_slots < 2 * n)
		p.n_slots *= 2;
	p.slots = translate_must(calloc(p.n_slots, sizeof(*p.slots)));
	for (size_t i = 0; i < n; i++) {
		const struct model_match **at = find_place(&p, matches[i]);

		p.are_shared |= *at != NULL;
		if (!*at || is_before(matches[i], *at))
			*at = matches[i];
	}
	for (size_t i = 0; p.are_shared && i < n; i++) {
		const struct model_match *winner = *find_place(&p, matches[i]);

		if (winner != matches[i])
			report_loser(t, matches[i], winner);
	}
	free(p.slots);
}

/* ---- classes ---- */

static void check_parameters(struct translation *t, const struct kube_object *class)
{
	struct cursor root = cursor_root(class);
	struct cursor spec = cursor_get(&root, "spec");
	struct cursor params = cursor_get(&spec, "parameters");

	if (params.n && is_usable(t, class) && ingress_is_our_class(t, class))
		report(t, class, &params, false, "UnsupportedField", "ignored: Weir takes no parameters from an IngressClass");
}

/* Several defaults are named only where one of them is ours: else it is not our matter. */
static void check_classes(struct translation *t)
{
	size_t n;
	const struct kube_object *const *list = store_list(t->store, KUBE_INGRESS_CLASS, &n);
	const struct kube_object *chosen = ingress_default_class(t);

	for (size_t i = 0; i < n; i++) {
		struct cursor root = cursor_root(list[i]);
		struct cursor metadata = cursor_get(&root, "metadata");
		struct cursor annotations = cursor_get(&metadata, "annotations");
		struct cursor at = cursor_get(&annotations, INGRESS_DEFAULT_CLASS);

		check_parameters(t, list[i]);
		if (list[i] != chosen && ingress_is_default_class(t, list[i]) &&
		    (ingress_is_our_class(t, list[i]) || ingress_is_our_class(t, chosen)))
			report(t, list[i], &at, false, "SeveralDefaultClasses",
			       "one default IngressClass was expected: Ingresses without a class get %.100s, which is younger, or first by name",
			       chosen->name);
	}
}

void ingress_check(struct translation *t, const struct model_match *const *matches, size_t n)
{
	check_classes(t);
	check_places(t, matches, n);
}
