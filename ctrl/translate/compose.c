/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole model out of its units: their entries one after the other, in an
 * order that does not depend on what was read when. What the entries point to
 * stays with the units.
 */
#include <stdlib.h>
#include <string.h>

#include "translate/translator_pvt.h"

static void add_matches(struct model *all, const struct model *part, uint32_t first_listener)
{
	for (size_t i = 0; i < part->n_matches; i++) {
		struct model_match *m = model_add_match(all);

		*m = part->matches[i];
		m->listener += first_listener;
	}
}

static void add_statuses(struct model *all, const struct model *part)
{
	for (size_t i = 0; i < part->n_statuses; i++)
		*model_add_status(all) = part->statuses[i];
}

static void add_ingresses(struct model *all, const struct unit_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		add_matches(all, &l->units[i]->part, 0);
		add_statuses(all, &l->units[i]->part);
	}
	for (size_t i = 0; i < l->n; i++)
		if (l->units[i]->fallback)
			add_matches(all, &l->units[i]->fallback->part, 0);
	if (all->n_matches) /* the one of all Ingresses: where their matches expect it */
		*model_add_listener(all) =
		    (struct model_listener){.port = 80, .proto = WEIR_PROTO_HTTP, .host = "", .name = "Ingress"};
}

/* What Ingresses have over HTTP they have over HTTPS, too, once one of them says with which certificate. */
static void add_https_of_ingresses(struct model *all)
{
	size_t n = all->n_matches;

	*model_add_listener(all) = (struct model_listener){.port = 443, .proto = WEIR_PROTO_HTTPS, .host = "", .name = "Ingress"};
	for (size_t i = 0; i < n; i++) {
		struct model_match *m = model_add_match(all);

		*m = all->matches[i];
		m->listener = (uint32_t)all->n_listeners - 1;
	}
}

static void add_names(struct model *all, const struct model *part, uint32_t first_listener)
{
	for (size_t i = 0; i < part->n_names; i++) {
		struct model_server_name *n = model_add_name(all);

		*n = part->names[i];
		if (n->listener >= 0)
			n->listener += (int32_t)first_listener;
	}
}

struct aged {
	const struct unit *unit;
	struct age age;
};

static int by_age(const void *pa, const void *pb)
{
	return age_compare(&((const struct aged *)pa)->age, &((const struct aged *)pb)->age);
}

/* The oldest first: who comes later gives way. */
static void add_names_of_ingresses(struct translator *tr, struct model *all)
{
	const struct unit_list *l = &tr->objects[KUBE_INGRESS];
	struct aged *list = NULL;
	size_t n = 0, cap = 0;

	for (size_t i = 0; i < l->n; i++) {
		const struct key *k = l->units[i]->key;

		if (l->units[i]->part.n_names == 0)
			continue;
		list = translate_grow(list, n, &cap, sizeof(*list));
		list[n++] = (struct aged){l->units[i], object_age(store_get(tr->t.store, KUBE_INGRESS, k->ns, k->name))};
	}
	if (n)
		qsort(list, n, sizeof(*list), by_age);
	for (size_t i = 0; i < n; i++)
		add_names(all, &list[i].unit->part, 0);
	free(list);
	add_names(all, &tr->check->part, 0);
}

static bool have_names(const struct translator *tr)
{
	const struct unit_list *l = &tr->objects[KUBE_INGRESS];
	bool any = tr->check->part.n_names > 0;

	for (size_t i = 0; i < l->n && !any; i++)
		any = l->units[i]->part.n_names > 0;
	return any;
}

static void add_routes(struct model *all, const struct unit_list *l, uint32_t first_listener)
{
	for (size_t i = 0; i < l->n; i++) {
		add_matches(all, &l->units[i]->part, first_listener);
		add_statuses(all, &l->units[i]->part);
	}
}

static void add_statuses_of(struct model *all, const struct unit_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		add_statuses(all, &l->units[i]->part);
}

void compose(struct translator *tr)
{
	struct model *all = &tr->all;
	const struct model *gateways = &tr->gateways->part;
	uint32_t first_listener;

	all->n_matches = all->n_statuses = all->n_listeners = all->n_names = 0;
	add_ingresses(all, &tr->objects[KUBE_INGRESS]);
	if (all->n_matches && have_names(tr))
		add_https_of_ingresses(all);
	first_listener = (uint32_t)all->n_listeners;
	for (size_t i = 0; i < gateways->n_listeners; i++)
		*model_add_listener(all) = gateways->listeners[i];
	add_names(all, gateways, first_listener);
	add_names_of_ingresses(tr, all); /* behind those of Gateways, which come first as their listeners do */
	ingress_auth_guard(all, all->n_matches && first_listener > 1 ? 1 : WEIR_NONE);
	add_statuses(all, gateways);
	for (size_t i = 0; i < N_ROUTE_KINDS; i++)
		add_routes(all, &tr->objects[route_kinds[i]], first_listener);
	gateways_conclude(tr);
	add_statuses_of(all, &tr->objects[KUBE_BACKEND_TLS_POLICY]);
}

static void add_problems(struct model *all, const struct model *part, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		*model_add_problem(all) = part->problems[i];
}

/* Those that the schema check found, or the others. */
static void add_problems_of(struct model *all, const struct unit_list *l, bool are_checked)
{
	for (size_t i = 0; i < l->n; i++) {
		const struct unit *u = l->units[i];

		add_problems(all, &u->part, are_checked ? 0 : u->n_checked, are_checked ? u->n_checked : u->part.n_problems);
	}
}

static int by_key(const void *pa, const void *pb)
{
	const struct unit *a = *(const struct unit *const *)pa;
	const struct unit *b = *(const struct unit *const *)pb;

	return key_compare(a->key, b->key->ns, b->key->name);
}

/* Those of backends, whose places follow from what was read when. */
static void add_backend_problems(struct model *all, const struct backend_table *b)
{
	const struct unit **list = NULL;
	size_t n = 0, cap = 0;

	for (size_t i = 0; i < b->n; i++) {
		if (!b->slots[i] || b->slots[i]->part.n_problems == 0)
			continue;
		list = translate_grow(list, n, &cap, sizeof(*list));
		list[n++] = b->slots[i];
	}
	if (n)
		qsort(list, n, sizeof(*list), by_key);
	for (size_t i = 0; i < n; i++)
		add_problems(all, &list[i]->part, 0, list[i]->part.n_problems);
	free(list);
}

void compose_problems(struct translator *tr)
{
	struct model *all = &tr->all;
	size_t n_compiled = all->n_problems - tr->n_own_problems;
	struct model_problem *compiled = translate_must(malloc((n_compiled + 1) * sizeof(*compiled)));

	if (n_compiled)
		memcpy(compiled, all->problems + tr->n_own_problems, n_compiled * sizeof(*compiled));
	all->n_problems = 0;
	for (unsigned k = 0; k < KUBE_N_KINDS; k++)
		if (k != KUBE_ENDPOINT_SLICE)
			add_problems_of(all, &tr->objects[k], true);
	add_problems_of(all, &tr->objects[KUBE_INGRESS], false);
	add_problems(all, &tr->check->part, 0, tr->check->part.n_problems);
	add_problems(all, &tr->gateways->part, 0, tr->gateways->part.n_problems);
	for (size_t i = 0; i < N_ROUTE_KINDS; i++)
		add_problems_of(all, &tr->objects[route_kinds[i]], false);
	add_problems_of(all, &tr->objects[KUBE_BACKEND_TLS_POLICY], false);
	add_problems_of(all, &tr->objects[KUBE_SERVICE], false);
	add_backend_problems(all, &tr->backends);
	add_problems_of(all, &tr->objects[KUBE_ENDPOINT_SLICE], true);
	add_problems_of(all, &tr->objects[KUBE_ENDPOINT_SLICE], false);
	tr->n_own_problems = all->n_problems;
	for (size_t i = 0; i < n_compiled; i++)
		*model_add_problem(all) = compiled[i];
	free(compiled);
}

void compose_give(struct translator *tr, struct model *m)
{
	for (unsigned k = 0; k < KUBE_N_KINDS; k++)
		for (size_t i = 0; i < tr->objects[k].n; i++) {
			struct unit *u = tr->objects[k].units[i];

			model_adopt(&tr->all, &u->part);
			if (u->fallback)
				model_adopt(&tr->all, &u->fallback->part);
		}
	model_adopt(&tr->all, &tr->check->part);
	model_adopt(&tr->all, &tr->gateways->part);
	for (size_t i = 0; i < tr->t.n_gateways + tr->t.n_sets; i++)
		model_adopt(&tr->all, &tr->conclusions[i]);
	for (size_t i = 0; i < tr->backends.n; i++) {
		if (!tr->backends.slots[i]) /* of a route that was refused when it was read */
			continue;
		model_adopt(&tr->all, &tr->backends.slots[i]->part);
		tr->all.backends[i].name = model_str(&tr->all, tr->all.backends[i].name);
	}
	*m = tr->all;
	model_init(&tr->all);
}
