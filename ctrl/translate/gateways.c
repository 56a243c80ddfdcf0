/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Gateways and their ListenerSets as one unit, since they share addresses
 * and ports. What others see of each is compared with what they saw before: only routes of those that differ
 * are read again; the others' listeners get their new numbers.
 */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "translate/translator_pvt.h"

/*
 * ---- what others see of a Gateway, as bytes
 *
 * Not as a hash: whoever finds two Gateways with the same one would have a change of his that is not seen.
 */

struct written {
	char *p;
	size_t n, cap;
};

static void write_bytes(struct written *b, const void *p, size_t n)
{
	while (b->cap - b->n < n) {
		b->cap = b->cap ? b->cap * 2 : 1024;
		b->p = translate_must(realloc(b->p, b->cap));
	}
	if (n)
		memcpy(b->p + b->n, p, n);
	b->n += n;
}

static void write_number(struct written *b, uint64_t v)
{
	write_bytes(b, &v, sizeof(v));
}

/* With its length before it: so no two things are written alike. */
static void write_text(struct written *b, const char *text)
{
	size_t n = text ? strlen(text) : 0;

	write_number(b, text ? n + 1 : 0);
	write_bytes(b, text, n);
}

static void write_node(struct written *b, const struct node *n)
{
	write_number(b, n ? (uint64_t)n->kind + 1 : 0);
	if (!n)
		return;
	write_text(b, n->text);
	write_number(b, n->n);
	for (size_t i = 0; i < n->n; i++) {
		write_text(b, n->kind == NODE_MAP ? n->keys[i] : NULL);
		write_node(b, n->items[i]);
	}
}

/* allowedRoutes, which is not read before somebody asks for it. */
static const struct node *routes_allowed(const struct gateway *g, const struct section *s)
{
	const struct node *list = node_path(g->o->root, "spec.listeners");

	return node_get(list->items[s->index], "allowedRoutes");
}

static void write_section(struct written *b, const struct gateway *g, const struct section *s)
{
	write_text(b, s->name);
	write_text(b, s->protocol);
	write_text(b, s->host);
	write_number(b, s->port);
	write_number(b, (uint64_t)s->is_passthrough << 2 | (uint64_t)s->admits_none << 1 | s->is_conflicted);
	write_number(b, s->routes);
	write_node(b, routes_allowed(g, s));
	write_number(b, s->count);
	write_number(b, (uint64_t)(s->n_certs > 0) << 1 | s->is_unchecked); /* what it is told, be it served nowhere */
	write_text(b, s->refusal);
	write_text(b, s->refusal_text);
	write_text(b, s->unresolved);
	write_text(b, s->unresolved_text);
	write_text(b, s->pending_text);
}

static void write_gateway(struct written *b, const struct translation *t, const struct gateway *g)
{
	write_number(b, (uint64_t)g->count << 1 | is_usable(t, g->o));
	write_text(b, g->parent ? g->parent->o->ns : NULL);
	write_text(b, g->parent ? g->parent->o->name : NULL);
	write_text(b, g->refusal);
	write_text(b, g->refusal_text);
	write_text(b, g->lack);
	write_text(b, g->lack_text);
	write_text(b, g->client_certificate.reason);
	write_text(b, g->client_certificate.text);
	write_number(b, (g->parent ? g->parent : g)->client != NULL);
	write_number(b, g->n_addrs);
	write_bytes(b, g->addrs, g->n_addrs * sizeof(*g->addrs));
	for (size_t i = 0; i < g->count; i++) {
		const struct section *s = &t->sections[g->first + i];

		write_section(b, g, s);
		if (s->count)
			write_bytes(b, &t->m->listeners[s->first].timeouts, sizeof(struct weir_timeouts));
	}
}

/* ---- reading */

/* Gateways, then ListenerSets. */
static const struct gateway *one_of(const struct translation *t, size_t i)
{
	return i < t->n_gateways ? &t->gateways[i] : &t->sets[i - t->n_gateways];
}

static void see_all(struct translator *tr)
{
	struct translation *t = &tr->t;
	struct written all = {0};

	tr->n_seen = t->n_gateways + t->n_sets;
	tr->seen = translate_must(calloc(tr->n_seen + 1, sizeof(*tr->seen)));
	for (size_t i = 0; i < tr->n_seen; i++) {
		const struct gateway *g = one_of(t, i);

		all.n = 0;
		write_gateway(&all, t, g);
		tr->seen[i] = (struct seen_gateway){.key_kind = g->parent ? KEY_LISTENER_SET : KEY_GATEWAY,
						    .ns = model_str(t->m, g->o->ns),
						    .name = model_str(t->m, g->o->name),
						    .bytes = model_strn(t->m, all.p, all.n),
						    .n_bytes = all.n,
						    .client = g->client ? g->client->blob->id : (struct weir_cert_id){{0}},
						    .first = g->first,
						    .count = g->count};
	}
	free(all.p);
}

static int compare_seen(const struct seen_gateway *a, const struct seen_gateway *b)
{
	int d = a->key_kind != b->key_kind ? (a->key_kind < b->key_kind ? -1 : 1) : strcmp(a->ns, b->ns);

	return d ? d : strcmp(a->name, b->name);
}

static bool are_alike(const struct seen_gateway *a, const struct seen_gateway *b)
{
	return a->n_bytes == b->n_bytes && memcmp(a->bytes, b->bytes, a->n_bytes) == 0;
}

/* From numbers of before to those of now. */
struct renumbering {
	uint32_t *listeners, *sections;
};

static void keep_numbers(struct renumbering *r, const struct section *before, const struct seen_gateway *old,
			 const struct section *now, const struct seen_gateway *new)
{
	for (size_t i = 0; i < old->count; i++) {
		const struct section *from = &before[old->first + i];
		const struct section *to = &now[new->first + i];

		r->sections[old->first + i] = (uint32_t)(new->first + i);
		for (uint32_t k = 0; k < from->count; k++)
			r->listeners[from->first + k] = to->first + k;
	}
}

/* True if one of them differs, came or went: whoever looked for it is to look again. */
static bool compare_all(struct translator *tr, const struct seen_gateway *old, size_t n_old, const struct section *before,
			struct renumbering *r)
{
	bool any = false;
	size_t i = 0, k = 0;

	while (i < n_old || k < tr->n_seen) {
		int d = i == n_old ? 1 : k == tr->n_seen ? -1 : compare_seen(&old[i], &tr->seen[k]);
		const struct seen_gateway *g = d <= 0 ? &old[i] : &tr->seen[k];

		if (d != 0 || certificate_compare_ids(&old[i].client, &tr->seen[k].client) != 0)
			touch(tr, KEY_CLIENT, g->ns, g->name);
		if (d == 0 && are_alike(&old[i], &tr->seen[k])) {
			keep_numbers(r, before, &old[i], tr->t.sections, &tr->seen[k]);
		} else {
			touch(tr, g->key_kind, g->ns, g->name);
			any = true;
		}
		i += d <= 0;
		k += d >= 0;
	}
	return any;
}

/* Of the routes that are not read again. */
static void renumber(const struct unit_list *l, const struct renumbering *r)
{
	for (size_t i = 0; i < l->n; i++) {
		struct unit *u = l->units[i];

		for (size_t k = 0; !u->is_dirty && k < u->part.n_matches; k++)
			u->part.matches[k].listener = r->listeners[u->part.matches[k].listener];
		for (size_t k = 0; !u->is_dirty && k < u->n_sections; k++)
			u->sections[k] = r->sections[u->sections[k]];
	}
}

static void forget_conclusions(struct translator *tr)
{
	for (size_t i = 0; tr->conclusions && i < tr->t.n_gateways + tr->t.n_sets; i++)
		model_fini(&tr->conclusions[i]);
	free(tr->conclusions);
	tr->conclusions = NULL;
}

/* Class and object of a Gateway are not among what others see: they are told apart by whoever has read them. */
static bool are_statuses_same(const struct model *a, const struct model *b)
{
	if (a->n_statuses != b->n_statuses)
		return false;
	for (size_t i = 0; i < a->n_statuses; i++) {
		const struct model_conditions *x = &a->statuses[i].conditions;
		const struct model_conditions *y = &b->statuses[i].conditions;

		if (strcmp(a->statuses[i].name, b->statuses[i].name) != 0 || x->n != y->n)
			return false;
		for (size_t k = 0; k < x->n; k++)
			if (strcmp(x->c[k].status, y->c[k].status) != 0 || strcmp(x->c[k].reason, y->c[k].reason) != 0 ||
			    strcmp(x->c[k].message, y->c[k].message) != 0)
				return false;
	}
	return true;
}

/* Certificates may be others while all that routes see is the same. */
static bool are_names_same(const struct model *a, const struct model *b)
{
	if (a->n_names != b->n_names)
		return false;
	for (size_t i = 0; i < a->n_names; i++) {
		const struct model_server_name *x = &a->names[i];
		const struct model_server_name *y = &b->names[i];

		if (x->port != y->port || x->profile != y->profile || x->mode != y->mode || x->listener != y->listener || x->n_certs != y->n_certs ||
		    memcmp(&x->addr, &y->addr, sizeof(x->addr)) != 0 || strcmp(x->host, y->host) != 0)
			return false;
		for (size_t k = 0; k < x->n_certs; k++)
			if (certificate_compare_ids(&x->certs[k]->blob->id, &y->certs[k]->blob->id) != 0)
				return false;
	}
	return true;
}

/* All that are told something, be it as before or not. */
static void mark_told(struct translator *tr)
{
	const struct model *part = &tr->gateways->part; /* of the classes */

	for (size_t i = 0; i < part->n_statuses; i++)
		marks_add(&tr->marks, part->statuses[i].kind, part->statuses[i].ns, part->statuses[i].name);
	for (size_t i = 0; i < tr->n_seen; i++)
		marks_add(&tr->marks, tr->seen[i].key_kind == KEY_GATEWAY ? KUBE_GATEWAY : KUBE_LISTENER_SET, tr->seen[i].ns,
			  tr->seen[i].name);
}

static void forget_gateways(struct translation *t)
{
	free(t->gateways);
	free(t->sets);
	free(t->sections);
	t->gateways = t->sets = NULL;
	t->sections = NULL;
	t->n_gateways = t->cap_gateways = t->n_sets = t->cap_sets = t->n_sections = t->cap_sections = 0;
}

/* Backends are not to be reached at an address of our own. */
static void tell_addresses(struct translator *tr)
{
	const struct translation *t = &tr->t;
	uint64_t h = hash_secret();

	for (size_t i = 0; i < t->n_gateways; i++)
		h = hash64(t->gateways[i].addrs, t->gateways[i].n_addrs * sizeof(struct weir_ip), h);
	if (h != tr->own_addresses)
		touch(tr, KEY_OWN, "", "");
	tr->own_addresses = h;
}

bool gateways_read(struct translator *tr)
{
	struct unit *u = tr->gateways;
	struct translation *t = &tr->t;
	struct model part = u->part;
	struct seen_gateway *seen = tr->seen;
	struct section *sections = t->sections;
	size_t n_seen = tr->n_seen;
	struct renumbering r = {
	    .listeners = translate_must(calloc(part.n_listeners + 1, sizeof(uint32_t))),
	    .sections = translate_must(calloc(t->n_sections + 1, sizeof(uint32_t))),
	};
	bool differs;

	mark_told(tr);
	forget_conclusions(tr);
	key_forget_reads(&tr->keys, u);
	model_init(&u->part);
	t->sections = NULL; /* the others are compared with them */
	forget_gateways(t);
	unit_begin(tr, u);
	budget_begin_listeners(tr);
	gateway_translate(t);
	budget_end_listeners(tr);
	see_all(tr);
	differs = compare_all(tr, seen, n_seen, sections, &r) || !are_statuses_same(&part, &u->part);
	differs |= !are_names_same(&part, &u->part);
	unit_end(tr);
	tell_addresses(tr);
	mark_told(tr);
	for (size_t i = 0; i < N_ROUTE_KINDS; i++)
		renumber(&tr->objects[route_kinds[i]], &r);
	tr->conclusions = translate_must(calloc(t->n_gateways + t->n_sets + 1, sizeof(*tr->conclusions)));
	free(r.listeners);
	free(r.sections);
	free(seen);
	free(sections);
	model_fini(&part);
	return differs;
}

/* ---- another status */

/* Its place among all of them. By the names that were seen: objects may be gone by now. n_seen: it is none of ours. */
static size_t place_of(const struct translator *tr, const struct seen_gateway *wanted)
{
	size_t lo = 0;
	size_t hi = tr->n_seen;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int d = compare_seen(&tr->seen[mid], wanted);

		if (d == 0)
			return mid;
		if (d < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return tr->n_seen;
}

bool gateways_rebind(struct translator *tr, enum kube_kind kind, const char *ns, const char *name)
{
	struct translation *t = &tr->t;
	const struct kube_object *o = store_get(t->store, kind, ns, name);
	unsigned key_kind = kind == KUBE_GATEWAY ? KEY_GATEWAY : KEY_LISTENER_SET;
	size_t i = kind == KUBE_GATEWAY_CLASS /* nothing points there once all are read */
		       ? tr->n_seen
		       : place_of(tr, &(struct seen_gateway){.key_kind = key_kind, .ns = ns, .name = name});
	struct gateway *g;

	if (!o || i == tr->n_seen) /* what has gone since is a change of its own */
		return true;
	g = i < t->n_gateways ? &t->gateways[i] : &t->sets[i - t->n_gateways];
	g->o = o;
	for (size_t k = g->first; k < g->first + g->count; k++)
		section_bind(&t->sections[k], o);
	return g->parent || g->given == gateway_given(o);
}

/* ---- what they are told */

/* Routes attached to each section. */
static uint32_t *count_routes(const struct translator *tr)
{
	uint32_t *n = translate_must(calloc(tr->t.n_sections + 1, sizeof(*n)));

	for (size_t r = 0; r < N_ROUTE_KINDS; r++) {
		const struct unit_list *l = &tr->objects[route_kinds[r]];

		for (size_t i = 0; i < l->n; i++)
			for (size_t k = 0; k < l->units[i]->n_sections; k++)
				n[l->units[i]->sections[k]]++;
	}
	return n;
}

void gateways_conclude(struct translator *tr)
{
	struct translation *t = &tr->t;
	uint32_t *n = count_routes(tr);

	for (size_t i = 0; i < t->n_gateways + t->n_sets; i++) {
		const struct gateway *g = one_of(t, i);
		struct model *m = &tr->conclusions[i];
		bool is_new = m->n_statuses == 0;

		for (size_t k = g->first; k < g->first + g->count; k++) {
			is_new |= t->sections[k].n_routes != n[k];
			t->sections[k].n_routes = n[k];
		}
		if (is_new) {
			model_fini(m);
			model_init(m);
			t->m = m;
			if (g->parent)
				listenerset_conclude(t, g);
			else
				gateway_conclude(t, g);
			t->m = NULL;
			marks_add(&tr->marks, g->o->kind, g->o->ns, g->o->name);
		}
		*model_add_status(&tr->all) = m->statuses[0];
	}
	free(n);
}

void gateways_fini(struct translator *tr)
{
	forget_conclusions(tr);
	forget_gateways(&tr->t);
	free(tr->seen);
	tr->seen = NULL;
	tr->n_seen = 0;
}
