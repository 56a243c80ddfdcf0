/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the routes of each namespace may take of a snapshot, so that nobody's
 * grow until those of all others find no room.
 *
 * Each Ingress and each route has a cost, which is the same whether it is
 * served or not. Who is beyond his share keeps those that fit, the oldest
 * first; if all together are too much, the largest namespaces give way, down
 * to one level that lets all fit, and the smaller ones see nothing of it. So
 * who is served follows from the objects alone, not from what came when.
 */
#include <stdlib.h>
#include <string.h>

#include "translate/translator_pvt.h"

/* ---- what a match costs: its entries, tables and texts, each text counted as if nobody else had it */

/* An entry of a table has two to four slots. */
#define SLOTS_EACH 4u
/* Of a share, one in so many bytes may be taken by listeners. */
#define LISTENERS_SHARE 4u
/* The name of a backend, and of the cookie or field by which it is chosen. */
#define BACKEND_TEXT 64u

static uint64_t text_cost(const char *text)
{
	return text ? strlen(text) : 0;
}

static uint64_t filters_cost(const struct model_filters *list)
{
	uint64_t cost = list->n * sizeof(struct weir_filter);

	for (size_t i = 0; i < list->n; i++) {
		const struct model_filter *f = &list->f[i];

		cost += text_cost(f->host) + text_cost(f->path) + f->n_ops * sizeof(struct weir_header_op);
		for (size_t k = 0; k < f->n_ops; k++)
			cost += text_cost(f->ops[k].name) + text_cost(f->ops[k].value);
	}
	return cost;
}

uint64_t budget_cost(const struct model_match *m)
{
	uint64_t cost = sizeof(struct weir_rule) + sizeof(struct weir_path) + sizeof(struct weir_vhost) +
			sizeof(struct weir_route) + 2 * SLOTS_EACH * sizeof(struct weir_slot) + sizeof(uint32_t);

	cost += text_cost(m->host) + text_cost(m->path) + text_cost(m->method) + text_cost(m->ns) + text_cost(m->name);
	cost += m->n_conds * sizeof(struct weir_cond);
	for (size_t i = 0; i < m->n_conds; i++)
		cost += text_cost(m->conds[i].name) + text_cost(m->conds[i].value);
	cost += filters_cost(&m->filters);
	for (size_t i = 0; i < m->n_splits; i++)
		cost += sizeof(struct weir_split) + sizeof(struct weir_backend) + BACKEND_TEXT + filters_cost(&m->splits[i].filters);
	return cost;
}

void budget_charge(struct translation *t, uint64_t more)
{
	for (size_t i = 0; i < t->m->n_matches; i++)
		more += budget_cost(&t->m->matches[i]);
	t->unit->cost = more + t->unit->tls_cost;
	if (t->unit->verdict != BUDGET_FITS)
		t->m->n_matches = 0;
}

const char *budget_refusal(struct translation *t)
{
	switch (t->unit->verdict) {
	case BUDGET_FITS:
	case N_BUDGET_VERDICTS:
		break;
	case BUDGET_NAMESPACE:
		return model_printf(t->m,
				    "not served: the routes of namespace %s take more than its share of %llu KiB, and this is one of the "
				    "youngest", t->unit->key->ns, (unsigned long long)t->options->namespace_bytes >> 10);
	case BUDGET_TOTAL:
		return model_printf(t->m,
				    "not served: all routes together take more than there is room for; namespace %s is one of the "
				    "largest, and this one of its youngest", t->unit->key->ns);
	}
	return NULL;
}

/* ---- namespaces */

static size_t tenant_position(const struct tenants *l, const char *ns)
{
	size_t lo = 0;
	size_t hi = l->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(l->list[mid]->ns, ns) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct tenant *tenant_get(struct tenants *l, const char *ns)
{
	size_t at = tenant_position(l, ns);
	struct tenant *x;

	if (at < l->n && strcmp(l->list[at]->ns, ns) == 0)
		return l->list[at];
	x = translate_must(calloc(1, sizeof(*x)));
	x->ns = translate_must(strdup(ns));
	l->list = translate_grow(l->list, l->n, &l->cap, sizeof(struct tenant *));
	memmove(l->list + at + 1, l->list + at, (l->n - at) * sizeof(struct tenant *));
	l->list[at] = x;
	l->n++;
	return x;
}

static void tenant_destroy(struct tenants *l, struct tenant *x)
{
	size_t at = tenant_position(l, x->ns);

	memmove(l->list + at, l->list + at + 1, (l->n - at - 1) * sizeof(struct tenant *));
	l->n--;
	l->is_dirty = true;
	l->n_refused[BUDGET_NAMESPACE] -= x->n_refused[BUDGET_NAMESPACE];
	l->n_refused[BUDGET_TOTAL] -= x->n_refused[BUDGET_TOTAL];
	free(x->ns);
	free(x);
}

static void leave(struct tenants *l, struct unit *u)
{
	struct tenant *x = u->tenant;

	u->tenant = NULL;
	if (!x)
		return;
	l->is_dirty = x->is_dirty = true;
	x->used -= u->charged;
	u->charged = 0;
	if (--x->n_units == 0 && !x->listeners)
		tenant_destroy(l, x);
}

void budget_note(struct translator *tr, struct unit *u)
{
	struct tenant *x = u->cost ? tenant_get(&tr->tenants, u->key->ns) : NULL;

	if (!x) {
		leave(&tr->tenants, u);
		if (u->verdict != BUDGET_FITS) { /* there is nothing left to refuse */
			u->verdict = BUDGET_FITS;
			unit_mark(tr, u);
		}
		return;
	}
	if (!u->tenant)
		x->n_units++;
	u->tenant = x;
	x->used += u->cost - u->charged;
	u->charged = u->cost;
	tr->tenants.is_dirty = x->is_dirty = true; /* its age may be another one, too */
}

void budget_forget(struct translator *tr, struct unit *u)
{
	leave(&tr->tenants, u);
}

/* ---- listeners */

static uint64_t listener_cost(const struct gateway *g, const struct section *s)
{
	uint64_t each = sizeof(struct weir_bind) + sizeof(struct weir_listener) + SLOTS_EACH * sizeof(struct weir_slot);

	/* "ListenerSet namespace/name listener" */
	each += strlen(s->host) + strlen(g->o->ns) + strlen(g->o->name) + strlen(s->name) + sizeof("ListenerSet / ");
	return (each + server_names_cost(s)) * g->n_addrs;
}

bool budget_takes_listener(struct translation *t, const struct gateway *g, const struct section *s)
{
	struct tenant *x = tenant_get(&t->translator->tenants, g->o->ns);
	uint64_t cost = listener_cost(g, s);

	if (t->options->namespace_bytes && x->listeners + cost > t->options->namespace_bytes / LISTENERS_SHARE)
		return false;
	x->listeners += cost;
	x->used += cost;
	return true;
}

void budget_begin_listeners(struct translator *tr)
{
	struct tenants *l = &tr->tenants;

	for (size_t i = 0; i < l->n; i++) {
		l->list[i]->used -= l->list[i]->listeners;
		l->list[i]->listeners = 0;
		l->list[i]->is_dirty = true;
	}
	l->is_dirty = true;
}

void budget_end_listeners(struct translator *tr)
{
	struct tenants *l = &tr->tenants;

	for (size_t i = l->n; i > 0; i--)
		if (l->list[i - 1]->n_units == 0 && !l->list[i - 1]->listeners)
			tenant_destroy(l, l->list[i - 1]);
}

void budget_fini(struct translator *tr)
{
	while (tr->tenants.n)
		tenant_destroy(&tr->tenants, tr->tenants.list[0]);
	free(tr->tenants.list);
}

/* ---- who is served */

struct candidate {
	struct unit *unit;
	uint64_t age; /* when it was created; one without a time (a manifest) counts as the youngest */
};

static int oldest_first(const void *pa, const void *pb)
{
	const struct candidate *a = pa, *b = pb;
	int d;

	if (a->age != b->age)
		return a->age < b->age ? -1 : 1;
	d = strcmp(a->unit->key->name, b->unit->key->name);
	return d ? d : (a->unit->key->kind > b->unit->key->kind) - (a->unit->key->kind < b->unit->key->kind);
}

static size_t collect_kind(const struct translator *tr, enum kube_kind kind, const struct tenant *x, struct candidate *list)
{
	const struct unit_list *l = &tr->objects[kind];
	size_t n = 0;

	for (size_t i = unit_position(l->units, l->n, x->ns, ""); i < l->n && strcmp(l->units[i]->key->ns, x->ns) == 0; i++) {
		const struct unit *u = l->units[i];
		int64_t created_s = store_get(tr->t.store, kind, u->key->ns, u->key->name)->created_s;

		if (u->tenant)
			list[n++] = (struct candidate){l->units[i], created_s ? (uint64_t)created_s : UINT64_MAX};
	}
	return n;
}

static size_t collect(const struct translator *tr, const struct tenant *x, struct candidate *list)
{
	size_t n = collect_kind(tr, KUBE_INGRESS, x, list);

	for (size_t i = 0; i < N_ROUTE_KINDS; i++)
		n += collect_kind(tr, route_kinds[i], x, list + n);
	return n;
}

/* Those that fit, the oldest first; whose verdict is another one than before is to be read again. */
static void judge(struct translator *tr, struct tenant *x, uint64_t share, enum budget_verdict otherwise)
{
	struct candidate *list = translate_must(calloc(x->n_units + 1, sizeof(*list)));
	size_t n = collect(tr, x, list);
	uint64_t sum = x->listeners;

	qsort(list, n, sizeof(*list), oldest_first);
	memset(x->n_refused, 0, sizeof(x->n_refused));
	for (size_t i = 0; i < n; i++) {
		struct unit *u = list[i].unit;
		bool fits = sum <= share && u->cost <= share - sum;
		enum budget_verdict v = fits ? BUDGET_FITS : otherwise;

		sum += fits ? u->cost : 0;
		x->n_refused[v]++;
		if (u->verdict == v)
			continue;
		u->verdict = v;
		unit_mark(tr, u);
	}
	x->n_refused[BUDGET_FITS] = 0;
	free(list);
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* The most that each may have so that all together have no more than total, if nobody has more than share. */
static uint64_t level_of(const struct tenants *l, uint64_t share, uint64_t total)
{
	uint64_t *sizes = translate_must(malloc((l->n + 1) * sizeof(*sizes)));
	uint64_t level = UINT64_MAX, left = total;

	for (size_t i = 0; i < l->n; i++)
		sizes[i] = l->list[i]->used < share ? l->list[i]->used : share;
	qsort(sizes, l->n, sizeof(*sizes), by_size);
	for (size_t i = 0; i < l->n && level == UINT64_MAX; i++) { /* the smallest get all that they want */
		if (sizes[i] > left / (l->n - i))
			level = left / (l->n - i);
		left -= level == UINT64_MAX ? sizes[i] : 0;
	}
	free(sizes);
	return level;
}

static uint64_t demand_of(const struct tenants *l, uint64_t share)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < l->n; i++)
		sum += l->list[i]->used < share ? l->list[i]->used : share;
	return sum;
}

bool budget_judge(struct translator *tr)
{
	struct tenants *l = &tr->tenants;
	const uint64_t share = tr->t.options->namespace_bytes ? tr->t.options->namespace_bytes : UINT64_MAX;
	const uint64_t total = tr->t.options->total_bytes ? tr->t.options->total_bytes : UINT64_MAX;
	uint64_t level, most;

	if (!l->is_dirty && total == l->total)
		return false;
	l->total = total;
	l->demand = demand_of(l, share);
	level = l->demand > total ? level_of(l, share, total) : UINT64_MAX;
	most = level < share ? level : share;
	memset(l->n_refused, 0, sizeof(l->n_refused));
	for (size_t i = 0; i < l->n; i++) {
		struct tenant *x = l->list[i];
		bool is_over = x->used > most;

		/* who has what he wants, and had it before, is not looked at */
		if (is_over != x->is_over || (is_over && (x->is_dirty || most != x->share)))
			judge(tr, x, most, level < share ? BUDGET_TOTAL : BUDGET_NAMESPACE);
		x->is_over = is_over;
		x->share = most;
		l->n_refused[BUDGET_NAMESPACE] += x->n_refused[BUDGET_NAMESPACE];
		l->n_refused[BUDGET_TOTAL] += x->n_refused[BUDGET_TOTAL];
	}
	return true;
}

void budget_settle(struct translator *tr)
{
	for (size_t i = 0; tr->tenants.is_dirty && i < tr->tenants.n; i++)
		tr->tenants.list[i]->is_dirty = false;
	tr->tenants.is_dirty = false;
}

void translator_budget(const struct translator *tr, struct translator_budget *out)
{
	*out = (struct translator_budget){.n_namespaces = tr->tenants.n,
					  .wanted_bytes = tr->tenants.demand,
					  .n_over_share = tr->tenants.n_refused[BUDGET_NAMESPACE],
					  .n_over_total = tr->tenants.n_refused[BUDGET_TOTAL]};
}
