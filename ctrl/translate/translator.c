/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The units, and in which order they are read: see translator.h and units.h.
 * All objects that have changed are checked first, since others ask whether
 * they can be used; then stage after stage is read, each of which can only
 * make units of later ones dirty.
 */
#include "translate/translator.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "translate/translator_pvt.h"

const enum kube_kind route_kinds[N_ROUTE_KINDS] = {KUBE_HTTP_ROUTE, KUBE_GRPC_ROUTE, KUBE_TLS_ROUTE, KUBE_TCP_ROUTE, KUBE_UDP_ROUTE};

/* ---- dependencies ---- */

static void on_read(void *ctx, enum kube_kind kind, const char *ns, const char *name)
{
	depend_on(ctx, kind, ns ? ns : KEY_ALL, name ? name : KEY_ALL);
}

void depend_on(struct translation *t, unsigned kind, const char *ns, const char *name)
{
	if (t->unit)
		key_read(&t->translator->keys, key_get(&t->translator->keys, kind, ns, name), t->unit, t->translator->turn);
}

static enum stage stage_of(const struct unit *u)
{
	switch (u->what) {
	case UNIT_GATEWAYS:
		return STAGE_GATEWAYS;
	case UNIT_DEFAULT:
		return STAGE_DEFAULT;
	case UNIT_CHECK:
		return STAGE_CHECK;
	case UNIT_BACKEND:
		return STAGE_BACKEND;
	case UNIT_OBJECT:
		break;
	}
	switch (u->key->kind) {
	case KUBE_INGRESS:
		return STAGE_INGRESS;
	case KUBE_HTTP_ROUTE:
	case KUBE_GRPC_ROUTE:
	case KUBE_TLS_ROUTE:
	case KUBE_TCP_ROUTE:
	case KUBE_UDP_ROUTE:
		return STAGE_ROUTE;
	case KUBE_BACKEND_TLS_POLICY:
		return STAGE_POLICY;
	default:
		return STAGE_OTHER;
	}
}

static void list_add(struct unit_list *l, size_t at, struct unit *u)
{
	l->units = translate_grow(l->units, l->n, &l->cap, sizeof(struct unit *));
	memmove(l->units + at + 1, l->units + at, (l->n - at) * sizeof(struct unit *));
	l->units[at] = u;
	l->n++;
}

void unit_mark(struct translator *tr, struct unit *u)
{
	struct unit_list *l = &tr->dirty[stage_of(u)];

	if (u->is_dirty)
		return;
	u->is_dirty = true;
	u->dirty_at = l->n;
	list_add(l, l->n, u);
}

static void unmark(struct translator *tr, struct unit *u)
{
	if (u->is_dirty)
		tr->dirty[stage_of(u)].units[u->dirty_at] = NULL;
	u->is_dirty = false;
}

void touch(struct translator *tr, unsigned kind, const char *ns, const char *name)
{
	const struct key *k = key_find(&tr->keys, kind, ns, name);

	for (size_t i = 0; k && i < k->n_readers; i++)
		unit_mark(tr, k->readers[i].unit);
}

/* ---- what units have ---- */

void ingress_add_default(struct translation *t, const struct model_match *action)
{
	struct unit *u = translate_must(calloc(1, sizeof(*u)));

	u->what = UNIT_DEFAULT;
	u->owner = t->unit;
	u->action = translate_must(malloc(sizeof(*u->action)));
	*u->action = *action;
	t->unit->fallback = u;
	unit_mark(t->translator, u);
}

void section_attach(struct translation *t, size_t section)
{
	struct unit *u = t->unit;

	for (size_t i = 0; i < u->n_sections; i++)
		if (u->sections[i] == section)
			return;
	u->sections = translate_grow(u->sections, u->n_sections, &u->cap_sections, sizeof(*u->sections));
	u->sections[u->n_sections++] = (uint32_t)section;
}

void unit_clear(struct translator *tr, struct unit *u)
{
	key_forget_reads(&tr->keys, u);
	backends_drop(&tr->t, u);
	holds_drop(tr, u);
	policies_drop(tr, u);
	if (u->fallback)
		unit_destroy(tr, u->fallback);
	u->fallback = NULL;
	u->n_sections = 0;
	u->n_checked = 0;
	for (unsigned i = 0; i < N_SECRET_USES; i++)
		certificate_put(u->judgements[i].certificate);
	memset(u->judgements, 0, sizeof(u->judgements));
	u->ports = (struct port_table){0};
	model_fini(&u->part);
	model_init(&u->part);
}

void unit_destroy(struct translator *tr, struct unit *u)
{
	unmark(tr, u);
	unit_clear(tr, u);
	backend_use_name(tr, u, NULL);
	budget_forget(tr, u);
	slices_join(tr, u, NULL);
	targets_drop(tr, u);
	model_fini(&u->part);
	if (u->key) {
		u->key->unit = NULL;
		key_release(&tr->keys, u->key);
	}
	free(u->reads);
	free(u->backends);
	free(u->sections);
	free(u->held);
	free(u->policies);
	free(u->targets);
	free(u->action);
	free(u->text);
	free(u->service);
	free(u->via_ns);
	free(u->via_name);
	free(u);
}

/* ---- reading ---- */

struct unit *unit_of(const struct translation *t, const struct kube_object *o)
{
	const struct key *k = key_find(&t->translator->keys, o->kind, o->ns, o->name);

	assert(k && k->unit);
	return k->unit;
}

struct judgement *unit_judgement(const struct translation *t, const struct kube_object *o, enum secret_use use)
{
	return &unit_of(t, o)->judgements[use];
}

bool is_usable(const struct translation *t, const struct kube_object *o)
{
	return unit_of(t, o)->is_usable;
}

const char *refusal_text(const struct translation *t, const struct kube_object *o)
{
	const struct unit *u = unit_of(t, o);

	for (size_t i = 0; i < u->n_checked; i++)
		if (u->part.problems[i].is_fatal)
			return model_printf(t->m, "%s: %s", u->part.problems[i].field, u->part.problems[i].text);
	return "the object is malformed";
}

void unit_begin(struct translator *tr, struct unit *u)
{
	tr->t.unit = u;
	tr->t.m = &u->part;
	tr->t.reported = NULL;
	tr->turn++;
}

void unit_end(struct translator *tr)
{
	tr->t.unit = NULL;
	tr->t.m = NULL;
}

static const struct kube_object *object_of(const struct translator *tr, const struct unit *u)
{
	return store_get(tr->t.store, (enum kube_kind)u->key->kind, u->key->ns, u->key->name);
}

/* Afterwards it is known whether others can use the object, and what a ReferenceGrant permits. */
static void check(struct translator *tr, struct unit *u)
{
	unit_clear(tr, u);
	unit_begin(tr, u);
	u->is_usable = schema_check(&tr->t, object_of(tr, u));
	u->n_checked = u->part.n_problems;
	if (u->key->kind == KUBE_REFERENCE_GRANT && u->is_usable)
		grants_read(&tr->t, object_of(tr, u));
	unit_end(tr);
}

static void read_slice(struct translator *tr, struct unit *u, const struct kube_object *o)
{
	const char *service = u->is_usable ? endpoints_service(o) : NULL;

	if (u->is_usable)
		endpoints_check_slice(&tr->t, o);
	slices_join(tr, u, service ? key_get(&tr->keys, KEY_SLICES, o->ns, service) : NULL);
}

static int by_kind_and_name(const void *pa, const void *pb)
{
	const struct kube_object *a = *(const struct kube_object *const *)pa;
	const struct kube_object *b = *(const struct kube_object *const *)pb;
	int d = a->kind != b->kind ? (a->kind < b->kind ? -1 : 1) : strcmp(a->ns, b->ns);

	return d ? d : strcmp(a->name, b->name);
}

static void read_policy(struct translator *tr, const struct kube_object *o)
{
	const struct key *k = key_find(&tr->keys, KEY_POLICY, o->ns, o->name);
	size_t n = k ? k->n_referrers : 0;
	const struct kube_object **referrers = translate_must(calloc(n + 1, sizeof(*referrers)));

	depend_on(&tr->t, KEY_POLICY, o->ns, o->name);
	for (size_t i = 0; i < n; i++)
		referrers[i] = object_of(tr, k->referrers[i].unit);
	qsort(referrers, n, sizeof(*referrers), by_kind_and_name);
	policy_read(&tr->t, o, referrers, n);
	free(referrers);
}

static void read_object(struct translator *tr, struct unit *u)
{
	const struct kube_object *o = object_of(tr, u);
	struct translation *t = &tr->t;

	u->cost = u->tls_cost = 0;
	switch (o->kind) {
	case KUBE_INGRESS:
		ingress_read(t, o);
		break;
	case KUBE_HTTP_ROUTE:
		httproute_read(t, o);
		break;
	case KUBE_TLS_ROUTE:
	case KUBE_TCP_ROUTE:
		streamroute_read(t, o);
		break;
	case KUBE_GRPC_ROUTE:
	case KUBE_UDP_ROUTE:
		other_route_read(t, o);
		break;
	case KUBE_BACKEND_TLS_POLICY:
		read_policy(tr, o);
		break;
	case KUBE_SERVICE:
		if (u->is_usable)
			balance_check(t, o);
		break;
	case KUBE_ENDPOINT_SLICE:
		read_slice(tr, u, o);
		break;
	default: /* others ask for it */
		break;
	}
}

/* What a run has found. */
struct outcome {
	bool routes, statuses, problems;
	bool has_read_gateways; /* the same or not: what is composed points to how they were */
};

/* What the unit gives is not there any more, or new. */
static void note(struct translator *tr, struct outcome *out, const struct unit *u)
{
	bool is_ingress = u->what == UNIT_DEFAULT || (u->what == UNIT_OBJECT && u->key->kind == KUBE_INGRESS);

	out->routes |= u->part.n_matches > 0 || u->part.n_names > 0;
	out->statuses |= u->part.n_statuses > 0;
	out->problems |= u->part.n_problems > 0;
	if (is_ingress && u->part.n_matches > 0)
		unit_mark(tr, tr->check);
	if (u->what == UNIT_OBJECT && u->part.n_statuses > 0)
		marks_add(&tr->marks, (enum kube_kind)u->key->kind, u->key->ns, u->key->name);
	if (u->fallback)
		note(tr, out, u->fallback);
}

static void read_backend(struct translator *tr, struct unit *u, struct outcome *out)
{
	struct model was = u->part; /* what is compared lives there */
	bool has_other_settings, has_other_endpoints;

	model_init(&u->part);
	key_forget_reads(&tr->keys, u);
	unit_begin(tr, u);
	backend_read(&tr->t, u, &has_other_settings, &has_other_endpoints);
	unit_end(tr);
	out->problems |= was.n_problems > 0 || u->part.n_problems > 0;
	model_fini(&was);
	out->routes |= has_other_settings || !u->is_read;
	if (!has_other_endpoints && u->is_read)
		return;
	u->is_read = true;
	tr->changed = translate_grow(tr->changed, tr->n_changed, &tr->cap_changed, sizeof(*tr->changed));
	tr->changed[tr->n_changed++] = u->slot;
}

static void read_default(struct translator *tr, struct unit *u)
{
	unit_clear(tr, u);
	unit_begin(tr, u);
	ingress_read_default(&tr->t, object_of(tr, u->owner), u->action);
	unit_end(tr);
}

/* The matches of all Ingresses, in the order of the whole. */
static const struct model_match **list_ingresses(const struct translator *tr, size_t *n)
{
	const struct unit_list *l = &tr->objects[KUBE_INGRESS];
	const struct model_match **list = NULL;
	size_t cap = 0;

	*n = 0;
	for (size_t i = 0; i < 2 * l->n; i++) {
		const struct unit *u = i < l->n ? l->units[i] : l->units[i - l->n]->fallback;

		for (size_t k = 0; u && k < u->part.n_matches; k++) {
			list = translate_grow(list, *n, &cap, sizeof(*list));
			list[(*n)++] = &u->part.matches[k];
		}
	}
	return list;
}

static void read_check(struct translator *tr, struct unit *u)
{
	size_t n;
	const struct model_match **list = list_ingresses(tr, &n);

	unit_clear(tr, u);
	unit_begin(tr, u);
	ingress_check(&tr->t, list, n);
	server_names_default(&tr->t);
	unit_end(tr);
	free(list);
}

/* Their statuses are concluded from all of them; that they differ in their generation is seen only here. */
static bool is_concluded(enum kube_kind kind)
{
	return kind == KUBE_GATEWAY_CLASS || kind == KUBE_GATEWAY || kind == KUBE_LISTENER_SET;
}

static void read_unit(struct translator *tr, struct unit *u, struct outcome *out)
{
	u->is_dirty = false;
	switch (u->what) {
	case UNIT_GATEWAYS:
		out->problems |= u->part.n_problems > 0;
		if (gateways_read(tr))
			out->routes = out->statuses = true;
		out->has_read_gateways = true;
		out->problems |= u->part.n_problems > 0;
		break;
	case UNIT_BACKEND:
		if (u->n_users)
			read_backend(tr, u, out);
		break;
	case UNIT_DEFAULT:
		note(tr, out, u);
		read_default(tr, u);
		note(tr, out, u);
		break;
	case UNIT_CHECK:
		out->problems |= u->part.n_problems > 0;
		out->routes |= u->part.n_names > 0;
		read_check(tr, u);
		out->problems |= u->part.n_problems > 0;
		out->routes |= u->part.n_names > 0;
		break;
	case UNIT_OBJECT:
		out->statuses |= is_concluded((enum kube_kind)u->key->kind);
		if (!u->is_checked) {
			note(tr, out, u);
			check(tr, u);
		}
		u->is_checked = false;
		unit_begin(tr, u);
		read_object(tr, u);
		unit_end(tr);
		budget_note(tr, u);
		note(tr, out, u);
	}
}

static void read_stages(struct translator *tr, unsigned from, unsigned end, struct outcome *out)
{
	for (unsigned s = from; s < end; s++) {
		for (size_t i = 0; i < tr->dirty[s].n; i++)
			if (tr->dirty[s].units[i])
				read_unit(tr, tr->dirty[s].units[i], out);
		tr->dirty[s].n = 0;
	}
}

static void read_dirty(struct translator *tr, struct outcome *out)
{
	store_observe(tr->t.store, on_read, &tr->t);
	for (unsigned s = 0; s < N_STAGES; s++)
		for (size_t i = 0; i < tr->dirty[s].n; i++) {
			struct unit *u = tr->dirty[s].units[i];

			if (!u || u->what != UNIT_OBJECT)
				continue;
			note(tr, out, u);
			check(tr, u);
			u->is_checked = true;
		}
	read_stages(tr, 0, STAGE_POLICY, out);
	if (budget_judge(tr)) /* what a unit costs does not depend on whether it is served, so once is enough */
		read_stages(tr, 0, STAGE_POLICY, out);
	budget_settle(tr);
	read_stages(tr, STAGE_POLICY, N_STAGES, out);
	store_observe(tr->t.store, NULL, NULL);
}

/* ---- changes ---- */

static void add_object(struct translator *tr, struct key *k)
{
	struct unit_list *l = &tr->objects[k->kind];
	struct unit *u = translate_must(calloc(1, sizeof(*u)));
	bool is_last = l->n == 0 || key_compare(l->units[l->n - 1]->key, k->ns, k->name) < 0;

	u->what = UNIT_OBJECT;
	u->key = k;
	k->unit = u;
	list_add(l, is_last ? l->n : unit_position(l->units, l->n, k->ns, k->name), u);
	unit_mark(tr, u);
}

static void remove_object(struct translator *tr, struct key *k, struct outcome *out)
{
	struct unit_list *l = &tr->objects[k->kind];
	size_t at = unit_position(l->units, l->n, k->ns, k->name);

	note(tr, out, k->unit);
	memmove(l->units + at, l->units + at + 1, (l->n - at - 1) * sizeof(struct unit *));
	l->n--;
	unit_destroy(tr, k->unit);
}

/* Of a kind whose objects are told something. */
static bool has_status(enum kube_kind kind)
{
	switch (kind) {
	case KUBE_INGRESS:
	case KUBE_GATEWAY_CLASS:
	case KUBE_GATEWAY:
	case KUBE_LISTENER_SET:
	case KUBE_HTTP_ROUTE:
	case KUBE_GRPC_ROUTE:
	case KUBE_TLS_ROUTE:
	case KUBE_TCP_ROUTE:
	case KUBE_UDP_ROUTE:
	case KUBE_BACKEND_TLS_POLICY:
		return true;
	default:
		return false;
	}
}

static void take_change(struct translator *tr, const struct store_change *c, struct outcome *out)
{
	const struct kube_object *o;
	struct key *k;

	if (has_status(c->kind))
		marks_add(&tr->marks, c->kind, c->ns, c->name);
	if (!c->matters) {
		if (is_concluded(c->kind) && !gateways_rebind(tr, c->kind, c->ns, c->name))
			unit_mark(tr, tr->gateways);
		return;
	}
	o = store_get(tr->t.store, c->kind, c->ns, c->name);
	k = o ? key_get(&tr->keys, c->kind, c->ns, c->name) : key_find(&tr->keys, c->kind, c->ns, c->name);
	touch(tr, c->kind, c->ns, c->name);
	touch(tr, c->kind, c->ns, KEY_ALL);
	touch(tr, c->kind, KEY_ALL, KEY_ALL);
	if (o && !k->unit)
		add_object(tr, k);
	else if (o)
		unit_mark(tr, k->unit);
	else if (k && k->unit)
		remove_object(tr, k, out);
	if (o && c->kind == KUBE_BACKEND_TLS_POLICY) {
		targets_drop(tr, k->unit);
		policy_targets(&tr->t, o);
	}
}

static void forget_all(struct translator *tr)
{
	for (unsigned k = 0; k < KUBE_N_KINDS; k++) {
		while (tr->objects[k].n)
			unit_destroy(tr, tr->objects[k].units[--tr->objects[k].n]);
	}
	backends_free_idle(tr);
	gateways_fini(tr);
	unit_destroy(tr, tr->gateways);
	unit_destroy(tr, tr->check);
	for (unsigned s = 0; s < N_STAGES; s++)
		tr->dirty[s].n = 0;
	tr->gateways = tr->check = NULL;
}

static void add_all(struct translator *tr)
{
	tr->gateways = translate_must(calloc(1, sizeof(*tr->gateways)));
	tr->gateways->what = UNIT_GATEWAYS;
	unit_mark(tr, tr->gateways);
	tr->check = translate_must(calloc(1, sizeof(*tr->check)));
	tr->check->what = UNIT_CHECK;
	unit_mark(tr, tr->check);
	for (unsigned k = 0; k < KUBE_N_KINDS; k++) {
		size_t n;
		const struct kube_object *const *list = store_list(tr->t.store, (enum kube_kind)k, &n);

		for (size_t i = 0; i < n; i++)
			add_object(tr, key_get(&tr->keys, k, list[i]->ns, list[i]->name));
		for (size_t i = 0; k == KUBE_BACKEND_TLS_POLICY && i < n; i++)
			policy_targets(&tr->t, list[i]);
	}
}

/* A backend that goes may have had some. */
static bool has_idle_problems(const struct translator *tr)
{
	for (size_t i = 0; i < tr->n_idle; i++) {
		const struct unit *u = tr->backends.slots[tr->idle[i]];

		if (u && u->part.n_problems > 0)
			return true;
	}
	return false;
}

void translator_run(struct translator *tr, const struct store_change *changes, size_t n, struct translator_changes *out)
{
	struct outcome found = {0};
	bool is_whole = !changes || !tr->gateways;

	tr->n_changed = 0;
	tr->has_other_names = false;
	if (is_whole) {
		if (tr->gateways)
			forget_all(tr);
		add_all(tr);
		marks_add_all(&tr->marks);
	}
	for (size_t i = 0; !is_whole && i < n; i++)
		take_change(tr, &changes[i], &found);
	read_dirty(tr, &found);
	found.problems |= has_idle_problems(tr);
	found.routes |= backends_free_idle(tr);
	found.routes |= found.has_read_gateways && tr->all.n_problems > tr->n_own_problems; /* the compiler's name them */
	if (is_whole)
		found.routes = found.statuses = found.problems = true;
	if (found.routes || found.statuses || found.has_read_gateways)
		compose(tr);
	if (found.routes)
		tr->all.n_problems = tr->n_own_problems;
	if (found.problems)
		compose_problems(tr);
	*out = (struct translator_changes){.routes = found.routes,
					   .statuses = found.statuses,
					   .problems = found.problems,
					   .references = references_update(tr),
					   .names = tr->has_other_names,
					   .n_backends = tr->n_changed,
					   .backends = tr->changed};
}

void translator_name_changed(struct translator *tr, const char *name)
{
	touch(tr, KEY_NAME, "", name);
}

/* Of CA certificates of several objects it is the first: who has put them together has read it, too. */
void translator_certificate_aged(struct translator *tr, const struct certificate *c)
{
	bool is_map = c->of && strcmp(c->of, kube_kind_name(KUBE_CONFIG_MAP)) == 0;

	touch(tr, is_map ? KUBE_CONFIG_MAP : KUBE_SECRET, c->ns, c->name);
}

void translator_system_changed(struct translator *tr)
{
	touch(tr, KEY_SYSTEM, "", "");
}

const char *const *translator_names(struct translator *tr, size_t *n)
{
	*n = tr->n_names;
	while (tr->cap_name_list < tr->n_names)
		tr->name_list = translate_grow(tr->name_list, tr->cap_name_list, &tr->cap_name_list, sizeof(*tr->name_list));
	for (size_t i = 0; i < *n; i++)
		tr->name_list[i] = tr->names[i]->name;
	return tr->name_list;
}

struct translator *translator_create(const struct store *s, const struct translate_options *options)
{
	struct translator *tr = translate_must(calloc(1, sizeof(*tr)));

	tr->t.store = s;
	tr->t.options = options;
	tr->t.translator = tr;
	model_init(&tr->all);
	return tr;
}

void translator_destroy(struct translator *tr)
{
	if (!tr)
		return;
	if (tr->gateways)
		forget_all(tr);
	for (unsigned k = 0; k < KUBE_N_KINDS; k++)
		free(tr->objects[k].units);
	for (unsigned s = 0; s < N_STAGES; s++)
		free(tr->dirty[s].units);
	key_table_fini(&tr->keys);
	references_fini(tr);
	budget_fini(tr);
	model_fini(&tr->all);
	free(tr->backends.slots);
	free(tr->backends.free);
	free(tr->idle);
	free(tr->names);
	free(tr->name_list);
	free(tr->changed);
	marks_clear(&tr->marks);
	free(tr);
}

struct model *translator_model(struct translator *tr)
{
	return &tr->all;
}

struct marks *translator_marks(struct translator *tr)
{
	return &tr->marks;
}
