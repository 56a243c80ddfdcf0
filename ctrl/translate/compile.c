/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Model to snapshot. The matches are sorted once, by listener, host, path and
 * precedence; equal neighbours make the levels of the tree. Sections grow as
 * plain arrays and are laid out at the end.
 */
#include "translate/compile_pvt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/slice.h"
#include "route/route.h"
#include "snapshot/snapshot.h"

#define SEEDS_MAX 8u

/* -- growing */

void *compile_push(struct compiler *c, enum weir_section id, size_t n)
{
	struct grown *s = &c->sect[id];
	void *e;

	if (s->cap - s->n < n) {
		size_t cap = s->cap * 2 + n + 64;
		char *p = realloc(s->p, cap * s->size);

		if (!p) {
			c->no_memory = true;
			return NULL;
		}
		s->p = p;
		s->cap = cap;
	}
	e = s->p + s->n * s->size;
	s->n += n;
	memset(e, 0, n * s->size);
	return e;
}

static void *push(struct compiler *c, enum weir_section id)
{
	return compile_push(c, id, 1);
}

static uint32_t count(const struct compiler *c, enum weir_section id)
{
	return (uint32_t)c->sect[id].n;
}

static uint32_t string_hash(const char *text, size_t n, uint64_t secret)
{
	uint32_t h = (uint32_t)hash64(text, n, secret);

	return h ? h : 1;
}

static bool grow_strings(struct compiler *c)
{
	size_t cap = c->cap_strings ? c->cap_strings * 2 : 1024;
	struct string_slot *slots;

	while (cap < 4 * c->m->n_matches) /* host, name and the like of each */
		cap *= 2;
	slots = calloc(cap, sizeof(*slots));
	if (!slots) {
		c->no_memory = true;
		return false;
	}
	for (size_t i = 0; i < c->cap_strings; i++) {
		const struct string_slot *old = &c->strings[i];
		size_t h = old->hash & (cap - 1);

		if (!old->hash)
			continue;
		while (slots[h].hash)
			h = (h + 1) & (cap - 1);
		slots[h] = *old;
	}
	free(c->strings);
	c->strings = slots;
	c->cap_strings = cap;
	return true;
}

static bool append_bytes(struct compiler *c, const char *p, size_t n)
{
	struct grown *s = &c->sect[WEIR_SECT_STRINGS];

	if (s->cap - s->n < n) {
		size_t cap = (s->cap + n) * 2 + 4096;
		char *q = realloc(s->p, cap);

		if (!q) {
			c->no_memory = true;
			return false;
		}
		s->p = q;
		s->cap = cap;
	}
	memcpy(s->p + s->n, p, n);
	s->n += n;
	return true;
}

struct weir_str compile_intern(struct compiler *c, const char *text, size_t n)
{
	uint32_t hash = string_hash(text, n, c->secret);
	struct string_slot *s;
	size_t h;

	if (n == 0)
		return (struct weir_str){0, 0};
	if (c->n_strings * 2 >= c->cap_strings && !grow_strings(c))
		return (struct weir_str){0, 0};
	for (h = hash & (c->cap_strings - 1); c->strings[h].hash; h = (h + 1) & (c->cap_strings - 1)) {
		s = &c->strings[h];
		if (s->hash == hash && s->len == n && memcmp(c->sect[WEIR_SECT_STRINGS].p + s->off, text, n) == 0)
			return (struct weir_str){s->off, s->len};
	}
	s = &c->strings[h];
	*s = (struct string_slot){.off = count(c, WEIR_SECT_STRINGS), .len = (uint32_t)n, .hash = hash};
	c->n_strings++;
	if (!append_bytes(c, text, n))
		return (struct weir_str){0, 0};
	return (struct weir_str){s->off, s->len};
}

static struct weir_str intern_str(struct compiler *c, const char *text)
{
	return compile_intern(c, text ? text : "", text ? strlen(text) : 0);
}

/* -- leaves */

struct backend_id {
	uint64_t id;
	uint32_t index; /* in the model */
};

static int by_id(const void *a, const void *b)
{
	uint64_t x = ((const struct backend_id *)a)->id;
	uint64_t y = ((const struct backend_id *)b)->id;

	return (x > y) - (x < y);
}

/*
 * Its id is another one's, too, whose endpoints it would get: neither is
 * served, and nobody else's routes suffer by it.
 */
static void refuse_backend(struct compiler *c, uint32_t index)
{
	struct model_problem *p = model_add_problem(c->m);

	p->file = p->kind = p->ns = p->field = "";
	p->name = c->m->backends[index].name;
	p->reason = "BackendIdConflict";
	p->text = "two backends have the same id, and nothing is sent to either; rename one of them";
	p->is_fatal = true;
	c->backend_order[index] = WEIR_NONE;
}

static int add_backends(struct compiler *c)
{
	struct model *m = c->m;
	struct backend_id *order = calloc(m->n_backends + 1, sizeof(*order));
	uint32_t n = 0;

	c->backend_order = calloc(m->n_backends + 1, sizeof(*c->backend_order));
	if (!order || !c->backend_order) {
		free(order);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < m->n_backends; i++)
		if (m->backends[i].name)
			order[n++] = (struct backend_id){compile_id_of(&m->backends[i]), i};
	qsort(order, n, sizeof(*order), by_id);
	for (uint32_t i = 0; i < n && !c->no_memory; i++) {
		const struct model_backend *b = &m->backends[order[i].index];
		struct weir_backend *out;

		if ((i > 0 && order[i - 1].id == order[i].id) || (i + 1 < n && order[i + 1].id == order[i].id)) {
			refuse_backend(c, order[i].index);
			continue;
		}
		out = push(c, WEIR_SECT_BACKENDS);
		if (!out)
			break;
		*out = b->balance.fixed;
		out->id = order[i].id;
		out->proto = b->tls ? WEIR_PROTO_HTTPS : WEIR_PROTO_HTTP;
		out->tls = WEIR_NONE; /* compile_trust() */
		out->name = intern_str(c, b->name);
		out->hash_name = intern_str(c, b->balance.hash_name);
		out->cookie_name = intern_str(c, b->balance.cookie_name);
		out->cookie_path = intern_str(c, b->balance.cookie_path);
		c->backend_order[order[i].index] = count(c, WEIR_SECT_BACKENDS) - 1;
	}
	free(order);
	return 0;
}

static uint32_t add_route(struct compiler *c, const struct model_match *m)
{
	uint32_t n = count(c, WEIR_SECT_ROUTES);
	struct weir_str kind = intern_str(c, m->kind);
	struct weir_str ns = intern_str(c, m->ns);
	struct weir_str name = intern_str(c, m->name);
	struct weir_route *r;

	if (n) { /* matches of one object often follow each other */
		r = compile_at(c, ROUTES, struct weir_route, n - 1);
		if (r->kind.off == kind.off && r->ns.off == ns.off && r->name.off == name.off && r->name.len == name.len)
			return n - 1;
	}
	r = push(c, WEIR_SECT_ROUTES);
	if (r)
		*r = (struct weir_route){.kind = kind, .ns = ns, .name = name};
	return n;
}

static struct weir_range add_conds(struct compiler *c, const struct model_match *m)
{
	struct weir_range range = {count(c, WEIR_SECT_CONDS), (uint32_t)m->n_conds};

	for (size_t i = 0; i < m->n_conds; i++) {
		struct weir_cond *d = push(c, WEIR_SECT_CONDS);

		if (!d)
			break;
		d->kind = m->conds[i].kind;
		d->op = WEIR_OP_EXACT;
		d->name = intern_str(c, m->conds[i].name);
		d->value = intern_str(c, m->conds[i].value);
	}
	return range;
}

static struct weir_range add_header_ops(struct compiler *c, const struct model_filter *f)
{
	struct weir_range range = {count(c, WEIR_SECT_HEADER_OPS), (uint32_t)f->n_ops};

	for (size_t i = 0; i < f->n_ops; i++) {
		struct weir_header_op *o = push(c, WEIR_SECT_HEADER_OPS);

		if (!o)
			break;
		o->kind = f->ops[i].kind;
		o->name = intern_str(c, f->ops[i].name);
		o->value = intern_str(c, f->ops[i].value);
	}
	return range;
}

static struct weir_range add_filters(struct compiler *c, const struct model_filters *list)
{
	struct weir_range range = {count(c, WEIR_SECT_FILTERS), 0};

	for (size_t i = 0; i < list->n; i++) {
		const struct model_filter *f = &list->f[i];
		struct weir_filter *out;

		if (f->kind == WEIR_FILTER_MIRROR && c->backend_order[f->backend] == WEIR_NONE) /* as if it were not there */
			continue;
		out = push(c, WEIR_SECT_FILTERS);
		if (!out)
			break;
		range.count++;
		out->kind = f->kind;
		out->path_change = f->path_change;
		out->scheme = f->scheme;
		out->status = f->status;
		out->port = f->port;
		out->host = intern_str(c, f->host);
		out->path = intern_str(c, f->path);
		out->ops = add_header_ops(c, f);
		out->backend = f->kind == WEIR_FILTER_MIRROR ? c->backend_order[f->backend] : 0;
		out->numerator = f->numerator;
		out->denominator = f->denominator;
	}
	return range;
}

static void add_split(struct compiler *c, struct weir_rule *r, int32_t backend, uint32_t weight,
		      const struct model_filters *filters)
{
	static const struct model_filters none;
	struct weir_split *s = push(c, WEIR_SECT_SPLITS);

	if (!s)
		return;
	if (weight > UINT32_MAX - r->total_weight) /* the sum must fit */
		weight = UINT32_MAX - r->total_weight;
	s->backend = backend < 0 ? WEIR_NONE : c->backend_order[backend];
	s->status = s->backend == WEIR_NONE ? 500 : 0;
	s->weight = weight;
	s->filters = add_filters(c, s->backend == WEIR_NONE ? &none : filters);
	r->total_weight += weight;
	r->splits.count++;
}

static void add_rule(struct compiler *c, const struct model_match *m)
{
	struct weir_rule rule = {
		.splits = {count(c, WEIR_SECT_SPLITS), 0},
		.rule_index = m->rule_index,
		.action = m->action,
		.status = m->status,
		.timeouts = m->timeouts,
		.retry = m->retry,
	};
	static const struct model_filters none;
	struct weir_rule *out;

	rule.method = intern_str(c, m->method); /* in this order: strings are laid as they are met */
	rule.conds = add_conds(c, m);
	rule.route = add_route(c, m);
	rule.filters = add_filters(c, &m->filters);
	for (size_t i = 0; i < m->n_splits; i++)
		add_split(c, &rule, m->splits[i].backend, m->splits[i].weight, &m->splits[i].filters);
	if (m->action == WEIR_ACTION_FORWARD && m->n_splits == 0)
		add_split(c, &rule, -1, 1, &none);
	out = push(c, WEIR_SECT_RULES);
	if (out)
		*out = rule;
}

/* -- the tree: each level takes the equal neighbours from *i on, up to end */

static void add_path(struct compiler *c, size_t *i, size_t end)
{
	const struct place *first = c->matches[*i];
	struct weir_path *p = push(c, WEIR_SECT_PATHS);
	uint32_t index = count(c, WEIR_SECT_PATHS) - 1;

	if (!p)
		return;
	p->kind = first->path_kind;
	p->path = compile_intern(c, first->path.p, first->path.n);
	p->rules.first = count(c, WEIR_SECT_RULES);
	for (; *i < end && place_compare_paths(first, c->matches[*i]) == 0; ++*i)
		add_rule(c, c->matches[*i]->m);
	compile_at(c, PATHS, struct weir_path, index)->rules.count = count(c, WEIR_SECT_RULES) - compile_at(c, PATHS, struct weir_path, index)->rules.first;
}

static int longest_first(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;

	return (y > x) - (y < x);
}

/* The lengths that the host's prefixes have. */
static void add_lengths(struct compiler *c, uint32_t vhost)
{
	struct weir_range paths = compile_at(c, VHOSTS, struct weir_vhost, vhost)->paths;
	uint32_t first = count(c, WEIR_SECT_LENGTHS);
	uint32_t n = 0;
	uint32_t *l;

	for (uint32_t k = 0; k < paths.count; k++) {
		const struct weir_path *p = compile_at(c, PATHS, struct weir_path, paths.first + k);

		if (p->kind != WEIR_PATH_PREFIX)
			continue;
		l = push(c, WEIR_SECT_LENGTHS);
		if (!l)
			return;
		*l = p->path.len;
	}
	n = count(c, WEIR_SECT_LENGTHS) - first;
	if (n) {
		uint32_t n_distinct = 1;

		l = compile_at(c, LENGTHS, uint32_t, first);
		qsort(l, n, sizeof(*l), longest_first);
		for (uint32_t k = 1; k < n; k++)
			if (l[k] != l[n_distinct - 1])
				l[n_distinct++] = l[k];
		n = n_distinct;
	}
	c->sect[WEIR_SECT_LENGTHS].n = first + n;
	compile_at(c, VHOSTS, struct weir_vhost, vhost)->lengths = (struct weir_range){first, n};
}

static void add_vhost(struct compiler *c, size_t *i, size_t end)
{
	const struct place *first = c->matches[*i];
	struct weir_vhost *v = push(c, WEIR_SECT_VHOSTS);
	uint32_t index = count(c, WEIR_SECT_VHOSTS) - 1;
	uint32_t n_before = count(c, WEIR_SECT_PATHS);
	size_t host_end = *i;

	if (!v)
		return;
	while (host_end < end && place_compare_hosts(first, c->matches[host_end]) == 0)
		host_end++;
	v->host_kind = first->host_kind;
	v->host = compile_intern(c, first->host.p, first->host.n);
	while (*i < host_end && !c->no_memory)
		add_path(c, i, host_end);
	v = compile_at(c, VHOSTS, struct weir_vhost, index);
	v->paths = (struct weir_range){n_before, count(c, WEIR_SECT_PATHS) - n_before};
	add_lengths(c, index);
}

static void add_listener(struct compiler *c, const struct model_listener *ml, size_t *i)
{
	struct weir_listener *l = push(c, WEIR_SECT_LISTENERS);
	uint32_t index = count(c, WEIR_SECT_LISTENERS) - 1;
	uint32_t n_before = count(c, WEIR_SECT_VHOSTS);
	size_t end = *i;
	struct slice key;

	if (!l)
		return;
	l->host_kind = place_host_key(ml->host, false, &key);
	l->host = compile_intern(c, key.p, key.n);
	l->name = intern_str(c, ml->name);
	l->kind = ml->kind;
	l->timeouts = ml->timeouts;
	while (end < c->n_matches && place_compare_listeners(ml, &c->m->listeners[c->matches[end]->m->listener]) == 0)
		end++;
	while (*i < end && !c->no_memory)
		add_vhost(c, i, end);
	l = compile_at(c, LISTENERS, struct weir_listener, index);
	l->vhosts = (struct weir_range){n_before, count(c, WEIR_SECT_VHOSTS) - n_before};
}

static void report_protocol(struct compiler *c, const struct model_listener *l)
{
	struct model_problem *p = model_add_problem(c->m);

	p->file = p->kind = p->ns = p->field = "";
	p->name = l->name;
	p->reason = "ProtocolConflict";
	p->text = "another listener of this address and port has another protocol";
	p->is_fatal = true;
}

/* How many have the host of the i-th; *kind is the one of the first of the model that has the protocol. */
static size_t same_host(const struct compiler *c, size_t i, uint8_t proto, uint8_t *kind)
{
	const size_t n_all = c->m->n_listeners;
	const struct model_listener *first = NULL;
	size_t n = 0;

	for (; i + n < n_all && place_compare_listeners(c->listeners[i], c->listeners[i + n]) == 0; n++) {
		const struct model_listener *l = c->listeners[i + n];

		if (l->proto == proto && (!first || l < first))
			first = l;
	}
	*kind = first ? first->kind : WEIR_LISTENER_HTTP;
	return n;
}

/*
 * Sorts the listeners, and leaves out those whose protocol is not the one of
 * the first of the model on their address and port, which is that of the
 * oldest, or whose kind is not the one of the first with their host: they are
 * reported, and so are served by nobody.
 */
static void choose_listeners(struct compiler *c)
{
	struct model *m = c->m;
	uint8_t proto = 0, kind = 0;
	size_t end = 0, host_end = 0;

	for (size_t i = 0; i < m->n_listeners; i++)
		c->listeners[i] = &m->listeners[i];
	place_sort_listeners(c->listeners, m->n_listeners);
	for (size_t i = 0; i < m->n_listeners; i++) {
		const struct model_listener *l = c->listeners[i];

		if (i == end) {
			const struct model_listener *first = l;

			for (; end < m->n_listeners && place_compare_binds(l, c->listeners[end]) == 0; end++)
				first = c->listeners[end] < first ? c->listeners[end] : first;
			proto = first->proto;
		}
		if (i >= host_end)
			host_end = i + same_host(c, i, proto, &kind);
		if (l->proto == proto && l->kind == kind)
			c->listeners[c->n_listeners++] = l;
		else
			report_protocol(c, l);
	}
}

/* What counts before a request says which listener it means. */
static void add_limits(struct weir_bind *b, const struct weir_timeouts *t)
{
	b->header_ms = snapshot_least_limit(b->header_ms, t->header_ms);
	b->idle_ms = snapshot_least_limit(b->idle_ms, t->idle_ms);
}

static void add_tree(struct compiler *c)
{
	struct weir_bind *b = NULL;
	size_t next = 0;

	for (size_t i = 0; i < c->n_listeners && !c->no_memory; i++) {
		const struct model_listener *l = c->listeners[i];
		bool is_new = i == 0 || place_compare_binds(c->listeners[i - 1], l) != 0;

		if (is_new) {
			b = push(c, WEIR_SECT_BINDS);
			if (!b)
				break;
			b->addr = l->addr;
			b->port = l->port;
			b->proto = l->proto;
			b->listeners.first = count(c, WEIR_SECT_LISTENERS);
		}
		if (!is_new && place_compare_listeners(c->listeners[i - 1], l) == 0)
			continue; /* merged: its matches were taken with the first one */
		add_listener(c, l, &next);
		add_limits(b, &l->timeouts);
		b->listeners.count = count(c, WEIR_SECT_LISTENERS) - b->listeners.first;
	}
}

/* -- look-up tables */

struct entry_key {
	uint8_t kind;
	struct weir_str text;
};

typedef struct entry_key entry_key_fn(struct compiler *c, uint32_t i);

static struct entry_key listener_entry(struct compiler *c, uint32_t i)
{
	const struct weir_listener *l = compile_at(c, LISTENERS, struct weir_listener, i);

	return (struct entry_key){l->host_kind, l->host};
}

static struct entry_key vhost_entry(struct compiler *c, uint32_t i)
{
	const struct weir_vhost *v = compile_at(c, VHOSTS, struct weir_vhost, i);

	return (struct entry_key){v->host_kind, v->host};
}

static struct entry_key path_entry(struct compiler *c, uint32_t i)
{
	const struct weir_path *p = compile_at(c, PATHS, struct weir_path, i);

	return (struct entry_key){p->kind, p->path};
}

static struct entry_key name_entry(struct compiler *c, uint32_t i)
{
	const struct weir_server_name *n = compile_at(c, NAMES, struct weir_server_name, i);

	return (struct entry_key){n->host_kind, n->host};
}

static struct weir_range add_slots(struct compiler *c, struct weir_range entries, entry_key_fn *key_of)
{
	struct weir_range slots = {count(c, WEIR_SECT_SLOTS), 0};
	uint32_t n = entries.count ? 2 : 0;

	while (n && n / 2 < entries.count)
		n *= 2;
	if (!compile_push(c, WEIR_SECT_SLOTS, n))
		return slots;
	slots.count = n;
	for (uint32_t i = 0; i < entries.count; i++) {
		struct entry_key k = key_of(c, entries.first + i);
		const char *text = k.text.len ? c->sect[WEIR_SECT_STRINGS].p + k.text.off : "";
		uint32_t h = (uint32_t)route_key_hash(c->hash_seed, k.kind, slice_of(text, k.text.len));
		uint32_t at_slot = h & (n - 1);
		uint32_t n_probes = 1;
		struct weir_slot *table = compile_at(c, SLOTS, struct weir_slot, slots.first);

		for (; table[at_slot].index_plus1; n_probes++)
			at_slot = (at_slot + 1) & (n - 1);
		c->has_long_chain |= n_probes > WEIR_MAX_PROBES;
		table[at_slot] = (struct weir_slot){.hash = h, .index_plus1 = i + 1};
	}
	return slots;
}

static void try_tables(struct compiler *c)
{
	c->sect[WEIR_SECT_SLOTS].n = 0;
	c->has_long_chain = false;
	for (uint32_t i = 0; i < count(c, WEIR_SECT_BINDS); i++) {
		struct weir_bind *b = compile_at(c, BINDS, struct weir_bind, i);

		b->slots = add_slots(c, b->listeners, listener_entry);
		b->name_slots = add_slots(c, b->names, name_entry);
	}
	for (uint32_t i = 0; i < count(c, WEIR_SECT_LISTENERS); i++) {
		struct weir_listener *l = compile_at(c, LISTENERS, struct weir_listener, i);

		l->slots = add_slots(c, l->vhosts, vhost_entry);
	}
	for (uint32_t i = 0; i < count(c, WEIR_SECT_VHOSTS); i++) {
		struct weir_vhost *v = compile_at(c, VHOSTS, struct weir_vhost, i);

		v->slots = add_slots(c, v->paths, path_entry);
	}
}

/*
 * With a seed that nobody knows no table has a key that is too far from its place. If one has, somebody knows it, or
 * there is none (tests, weirctl check): then the next seed is tried, rather than that nobody's routes are taken.
 */
static void add_tables(struct compiler *c)
{
	c->hash_seed = c->m->hash_seed;
	try_tables(c);
	for (unsigned i = 0; i < SEEDS_MAX && c->has_long_chain && !c->no_memory; i++) {
		c->hash_seed = hash64(&c->hash_seed, sizeof(c->hash_seed), 0);
		try_tables(c);
	}
}

/* -- all together */

static int lay_out(struct compiler *c, uint64_t generation, void **blob, size_t *n)
{
	struct weir_snapshot *s;
	uint64_t end = sizeof(*s);

	for (unsigned i = 0; i < WEIR_N_SECTIONS; i++)
		end = (end + c->sect[i].n * c->sect[i].size + 7) / 8 * 8;
	if (end > WEIR_SNAPSHOT_MAX_BYTES)
		return -E2BIG;
	s = calloc(1, end);
	if (!s)
		return -ENOMEM;
	s->magic = WEIR_SNAPSHOT_MAGIC;
	s->abi_major = WEIR_ABI_MAJOR;
	s->abi_minor = WEIR_ABI_MINOR;
	s->size = (uint32_t)end;
	s->generation = generation;
	s->hash_seed = c->hash_seed;
	end = sizeof(*s);
	for (unsigned i = 0; i < WEIR_N_SECTIONS; i++) {
		s->sect[i] = (struct weir_section_ref){(uint32_t)end, (uint32_t)c->sect[i].n};
		if (c->sect[i].n)
			memcpy((char *)s + end, c->sect[i].p, c->sect[i].n * c->sect[i].size);
		end = (end + c->sect[i].n * c->sect[i].size + 7) / 8 * 8;
	}
	s->checksum = hash64_zeroed(s, s->size, offsetof(struct weir_snapshot, checksum), 8, 0);
	*blob = s;
	*n = s->size;
	return 0;
}

static bool are_filters_sane(const struct model *m, const struct model_filters *list)
{
	for (size_t i = 0; i < list->n; i++)
		if (list->f[i].kind == WEIR_FILTER_MIRROR &&
		    (list->f[i].backend < 0 || list->f[i].backend >= (int32_t)m->n_backends))
			return false;
	return true;
}

static bool is_model_sane(const struct model *m)
{
	for (size_t i = 0; i < m->n_matches; i++) {
		const struct model_match *x = &m->matches[i];

		if (x->listener >= m->n_listeners || x->path[0] != '/' || !are_filters_sane(m, &x->filters))
			return false;
		for (size_t k = 0; k < x->n_splits; k++)
			if (x->splits[k].backend >= (int32_t)m->n_backends || !are_filters_sane(m, &x->splits[k].filters))
				return false;
	}
	for (size_t i = 0; i < m->n_names; i++)
		if (m->names[i].listener >= (int32_t)m->n_listeners ||
		    (m->names[i].mode == WEIR_TLS_PASSTHROUGH && (m->names[i].listener < 0 || m->names[i].n_certs)))
			return false;
	return true;
}

static void rank_listeners(struct compiler *c)
{
	const struct model *m = c->m;
	uint32_t rank = 0;

	for (size_t i = 0; i < c->n_listeners; i++) {
		rank += i > 0 && place_compare_listeners(c->listeners[i - 1], c->listeners[i]) != 0;
		c->ranks[c->listeners[i] - m->listeners] = rank;
	}
}

static void place_matches(struct compiler *c)
{
	for (size_t i = 0; i < c->m->n_matches; i++) {
		const struct model_match *m = &c->m->matches[i];
		struct place *p = &c->places[c->n_matches];

		if (c->ranks[m->listener] == WEIR_NONE)
			continue;
		place_init(p, m, c->ranks[m->listener]);
		c->matches[c->n_matches++] = p;
	}
	place_sort(c->matches, c->n_matches);
}

/* False without memory. */
static bool sort_matches(struct compiler *c)
{
	const struct model *m = c->m;

	c->ranks = malloc((m->n_listeners + 1) * sizeof(*c->ranks));
	c->places = malloc((m->n_matches + 1) * sizeof(*c->places));
	c->matches = malloc((m->n_matches + 1) * sizeof(const struct place *));
	c->listeners = malloc((m->n_listeners + 1) * sizeof(const struct model_listener *));
	if (!c->ranks || !c->places || !c->matches || !c->listeners)
		return false;
	memset(c->ranks, 0xff, m->n_listeners * sizeof(*c->ranks)); /* WEIR_NONE */
	choose_listeners(c);
	rank_listeners(c);
	place_matches(c);
	return true;
}

int compile_snapshot(struct model *m, uint64_t generation, void **blob, size_t *n)
{
	struct compiler c = {.m = m, .secret = hash_secret()};
	int rc;

	if (!is_model_sane(m))
		return -EINVAL;
#define X(id, type) c.sect[WEIR_SECT_##id].size = sizeof(type);
	WEIR_SECTIONS(X)
#undef X
	if (!sort_matches(&c))
		c.no_memory = true;
	rc = c.no_memory ? -ENOMEM : add_backends(&c);
	if (rc == 0)
		add_tree(&c);
	if (rc == 0)
		compile_names(&c);
	if (rc == 0)
		compile_trust(&c);
	if (rc == 0)
		add_tables(&c);
	if (rc == 0)
		rc = c.no_memory ? -ENOMEM : lay_out(&c, generation, blob, n);
	for (unsigned i = 0; i < WEIR_N_SECTIONS; i++)
		free(c.sect[i].p);
	free(c.strings);
	free(c.places);
	free(c.matches);
	free(c.listeners);
	free(c.ranks);
	free(c.auths);
	free(c.backend_order);
	return rc;
}
