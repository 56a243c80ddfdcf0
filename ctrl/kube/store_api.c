/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The objects that an API server gave, one by one: see store_pvt.h. Each has
 * memory of its own; those of a kind are sorted, so that the index is a copy.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kube/json.h"
#include "kube/store_pvt.h"

static void tree_free(enum kube_kind kind, struct node *tree)
{
	if (kube_kind_is_secret(kind))
		node_wipe(tree);
	free(tree);
}

static void object_destroy(struct api_object *o)
{
	tree_free(o->o.kind, o->tree);
	free(o);
}

static void refusal_destroy(struct refusal *r)
{
	store_content_fini(&r->c);
	free(r->ns);
	free(r->name);
	free(r);
}

void store_api_fini(struct store *s)
{
	for (unsigned k = 0; k < KUBE_N_KINDS; k++) {
		for (size_t i = 0; i < s->api[k].n; i++)
			object_destroy(s->api[k].objects[i]);
		free(s->api[k].objects);
	}
	for (size_t i = 0; i < s->n_refusals; i++)
		refusal_destroy(s->refusals[i]);
	free(s->refusals);
}

/* ---- refusals ---- */

static int refusal_compare(const struct refusal *r, enum kube_kind kind, const char *ns, const char *name)
{
	int d = r->kind != kind ? (r->kind < kind ? -1 : 1) : strcmp(r->ns, ns);

	return d ? d : strcmp(r->name, name);
}

/* Where one is, or would be. */
static size_t refusal_position(const struct store *s, enum kube_kind kind, const char *ns, const char *name)
{
	size_t lo = 0;
	size_t hi = s->n_refusals;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (refusal_compare(s->refusals[mid], kind, ns, name) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool refusal_drop(struct store *s, enum kube_kind kind, const char *ns, const char *name)
{
	size_t at = refusal_position(s, kind, ns, name);

	if (at == s->n_refusals || refusal_compare(s->refusals[at], kind, ns, name) != 0)
		return false;
	refusal_destroy(s->refusals[at]);
	memmove(s->refusals + at, s->refusals + at + 1, (s->n_refusals - at - 1) * sizeof(*s->refusals));
	s->n_refusals--;
	s->index->are_problems_stale = true;
	return true;
}

/* Takes over the content, which has a problem at least. */
static uint64_t refusal_add(struct store *s, enum kube_kind kind, const char *ns, const char *name, struct content *c)
{
	struct refusal *r = store_must(calloc(1, sizeof(*r)));
	size_t at;

	*r = (struct refusal){
	    .c = *c, .kind = kind, .ns = store_must(strdup(ns)), .name = store_must(strdup(name)), .is_seen = true};
	refusal_drop(s, kind, ns, name);
	s->refusals = store_grow(s->refusals, s->n_refusals, &s->cap_refusals, sizeof(*s->refusals));
	at = refusal_position(s, kind, ns, name);
	memmove(s->refusals + at + 1, s->refusals + at, (s->n_refusals - at) * sizeof(*s->refusals));
	s->refusals[at] = r;
	s->n_refusals++;
	s->index->are_problems_stale = true;
	return 1ull << kind;
}

/* ---- what matters of an object ---- */

static bool is_one_of(const char *key, const char *const *list)
{
	for (; *list; list++)
		if (strcmp(key, *list) == 0)
			return true;
	return false;
}

static bool maps_are_equal(const struct node *a, const struct node *b, const char *const *ignored,
			   bool (*is_equal)(const char *key, const struct node *a, const struct node *b))
{
	size_t n[2] = {0};

	for (size_t i = 0; i < a->n; i++) {
		const struct node *other = node_get(b, a->keys[i]);

		if (is_one_of(a->keys[i], ignored))
			continue;
		n[0]++;
		if (!other || !is_equal(a->keys[i], a->items[i], other))
			return false;
	}
	for (size_t i = 0; i < b->n; i++)
		n[1] += !is_one_of(b->keys[i], ignored);
	return n[0] == n[1];
}

static bool is_same_value(const char *key, const struct node *a, const struct node *b)
{
	return node_equal(a, b);
}

static bool is_same_field(const char *key, const struct node *a, const struct node *b)
{
	static const char *const ignored[] = {"resourceVersion", "generation", "managedFields", NULL};

	if (strcmp(key, "metadata") == 0 && a->kind == NODE_MAP && b->kind == NODE_MAP)
		return maps_are_equal(a, b, ignored, is_same_value);
	return node_equal(a, b);
}

/* Of a Node's status the addresses alone were kept, and they matter. */
static bool is_same_object(enum kube_kind kind, const struct node *a, const struct node *b)
{
	static const char *const ignored[] = {"status", NULL};

	return maps_are_equal(a, b, kind == KUBE_NODE ? ignored + 1 : ignored, is_same_field);
}

/* ---- objects ---- */

static size_t find(const struct api_kind *k, const char *ns, const char *name, bool *is_there)
{
	const struct kube_object key = {.ns = ns, .name = name};
	size_t lo = 0;
	size_t hi = k->n;

	*is_there = false;
	while (lo < hi && !*is_there) {
		size_t mid = lo + (hi - lo) / 2;
		int d = store_compare_names(&k->objects[mid]->o, &key);

		*is_there = d == 0;
		if (d < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return *is_there ? hi : lo;
}

/* The newest state of an object is refused: what was known stays, over a list as well. Takes over the content. */
static uint64_t refuse(struct store *s, enum kube_kind kind, const char *ns, const char *name, struct content *c)
{
	bool is_there;
	size_t at = find(&s->api[kind], ns, name, &is_there);

	s->refused.n++;
	s->refused.n_unnamed += !name[0] || (store_kinds[kind].is_namespaced && !ns[0]);
	if (is_there)
		s->api[kind].objects[at]->is_seen = true;
	return refusal_add(s, kind, ns, name, c);
}

const struct store_refused *store_refused(const struct store *s)
{
	return &s->refused;
}

uint64_t store_put_unreadable(struct store *s, enum kube_kind kind, const char *ns, const char *name, const char *reason,
			      const char *text)
{
	struct content c = {0};
	struct subject subject = {.c = &c, .file = "", .prefix = "", .kind = kube_kind_name(kind), .ns = ns, .name = name};

	store_problem_add(&subject, 0, 0, true, "", reason, "%s", text);
	return refuse(s, kind, ns, name, &c);
}

static void map_add(struct node *map, const char *key, struct node *value)
{
	map->keys[map->n] = key;
	map->items[map->n++] = value;
}

/* An empty map with room for two more than this one's entries; free() its items. */
static struct node map_begin(const struct node *map)
{
	struct node m = *map;

	m.items = store_must(malloc((map->n + 2) * (sizeof(*m.items) + sizeof(*m.keys))));
	m.keys = (const char **)(m.items + map->n + 2);
	m.n = 0;
	return m;
}

/* Whether a field is kept: of the object, or of its `of`. */
static bool is_kept(enum kube_kind kind, const char *key, const char *of)
{
	static const char *const top[] = {"apiVersion", "kind", "metadata", NULL};
	static const char *const meta[] = {"name", "namespace", "uid", "resourceVersion", "creationTimestamp", NULL};
	static const char *const named_top[] = {"apiVersion", "kind", "metadata", "type", "data", NULL};
	static const char *const named_data[] = {"tls.crt", "tls.key", "ca.crt", "ca.crl", NULL};
	const char *part = kube_kind_part(kind);

	if (kube_kind_is_named(kind))
		return is_one_of(key, !*of ? named_top : strcmp(of, "data") == 0 ? named_data : meta);
	if (strcmp(of, "metadata") == 0 && strcmp(key, "managedFields") == 0)
		return false;
	return !part || is_one_of(key, *of ? meta : top) || (*of && strcmp(key, part) == 0);
}

/* Whether parts of a field are kept. */
static bool is_partly_kept(enum kube_kind kind, const char *key, const struct node *value)
{
	return value->kind == NODE_MAP &&
	       (strcmp(key, "metadata") == 0 || (kube_kind_is_named(kind) && strcmp(key, "data") == 0));
}

static struct node map_of_kept(enum kube_kind kind, const char *of, const struct node *map)
{
	struct node m = map_begin(map);

	for (size_t i = 0; i < map->n; i++)
		if (is_kept(kind, map->keys[i], of))
			map_add(&m, map->keys[i], map->items[i]);
	return m;
}

/* The object's own copy: with the kind that the items of a LIST leave out, without what nobody reads. */
static struct node *copy_object(const struct store *s, enum kube_kind kind, const struct node *object)
{
	const struct kind_info *info = &store_kinds[kind];
	struct node version = {.kind = NODE_STRING};
	struct node kind_name = {.kind = NODE_STRING, .text = info->kind};
	struct node small[2]; /* metadata, data */
	size_t n_small = 0;
	struct node root;
	struct node *copy;
	char text[128];

	if (object->kind != NODE_MAP)
		return node_copy(object);
	snprintf(text, sizeof(text), "%s%s%s", info->group, info->group[0] ? "/" : "",
		 s->versions[kind] ? s->versions[kind] : kube_kind_version(kind, 0));
	version.text = text;
	root = map_begin(object);
	if (!node_get(object, "apiVersion"))
		map_add(&root, "apiVersion", &version);
	if (!node_get(object, "kind"))
		map_add(&root, "kind", &kind_name);
	for (size_t i = 0; i < object->n; i++) {
		const char *key = object->keys[i];
		struct node *value = object->items[i];

		if (!is_kept(kind, key, ""))
			continue;
		if (n_small < 2 && is_partly_kept(kind, key, value)) {
			small[n_small] = map_of_kept(kind, key, value);
			value = &small[n_small++];
		}
		map_add(&root, key, value);
	}
	copy = node_copy(&root);
	free(root.items);
	while (n_small)
		free(small[--n_small].items);
	return copy;
}

/* Takes over tree, whose object o is. */
static uint64_t put_object(struct store *s, const struct kube_object *o, struct node *tree)
{
	struct api_kind *k = &s->api[o->kind];
	struct api_object *to;
	bool is_there;
	size_t at = find(k, o->ns, o->name, &is_there);
	bool is_same = false;
	bool is_current = false; /* a status, too, which names the generation */

	if (is_there) {
		to = k->objects[at];
		is_same = is_same_object(o->kind, to->o.root, o->root);
		is_current = is_same && to->o.generation == o->generation;
		s->index->are_problems_stale |= s->n_files > 0; /* one may show the names of the old tree */
		tree_free(o->kind, to->tree);
	} else {
		to = store_must(calloc(1, sizeof(*to)));
		k->objects = store_grow(k->objects, k->n, &k->cap, sizeof(*k->objects));
		memmove(k->objects + at + 1, k->objects + at, (k->n - at) * sizeof(*k->objects));
		k->objects[at] = to;
		k->n++;
		s->index->stale |= 1ull << o->kind;
	}
	*to = (struct api_object){.o = *o, .tree = tree, .is_seen = true};
	journal_add(s, o, !is_current);
	return is_same ? 0 : 1ull << o->kind;
}

void store_set_version(struct store *s, enum kube_kind kind, const char *version)
{
	s->versions[kind] = version;
}

uint64_t store_put(struct store *s, enum kube_kind kind, const struct node *object)
{
	struct arena kept = {0};
	struct node *tree = copy_object(s, kind, keep_needed(&kept, kind, object));
	struct content c = {0};
	struct subject subject = {.c = &c, .file = "", .prefix = "", .root = tree};
	uint64_t mask = 0;

	arena_fini(&kept);
	store_identify(&subject);
	store_add_object(&subject);
	if (c.n_objects == 1 && c.objects[0].kind != kind) {
		store_problem_add(&subject, 0, 0, true, "kind", "InvalidValue", "%s was expected", kube_kind_name(kind));
		c.n_objects = 0;
	}
	if (c.n_objects == 1) {
		c.objects[0].has_our_status = store_has_our_status(object); /* the copy has no managedFields */
		mask = refusal_drop(s, kind, c.objects[0].ns, c.objects[0].name) ? 1ull << kind : 0;
		mask |= put_object(s, &c.objects[0], tree);
		store_content_fini(&c);
		return mask;
	}
	mask = refuse(s, kind, subject.ns, subject.name, &c);
	tree_free(kind, tree);
	return mask;
}

uint64_t store_put_json(struct store *s, enum kube_kind kind, const char *data, size_t n)
{
	struct arena a = {0};
	struct json_fault fault;
	struct json_names names;
	struct node *root = json_parse(&a, data, n, &fault);
	uint64_t mask;

	if (root) {
		mask = store_put(s, kind, root);
	} else {
		json_names(&names, data, n, JSON_LIST);
		mask = store_put_unreadable(s, kind, names.ns, names.name, "InvalidJSON", fault.text);
	}
	if (kube_kind_is_secret(kind))
		arena_wipe(&a);
	else
		arena_fini(&a);
	return mask;
}

static void remove_at(struct store *s, enum kube_kind kind, size_t at)
{
	struct api_kind *k = &s->api[kind];

	journal_add(s, &k->objects[at]->o, true);
	object_destroy(k->objects[at]);
	memmove(k->objects + at, k->objects + at + 1, (k->n - at - 1) * sizeof(*k->objects));
	k->n--;
	s->index->stale |= 1ull << kind;
	s->index->are_problems_stale |= s->n_files > 0;
}

uint64_t store_remove(struct store *s, enum kube_kind kind, const char *ns, const char *name)
{
	bool is_there;
	size_t at = find(&s->api[kind], ns, name, &is_there);
	bool was_refused = refusal_drop(s, kind, ns, name);

	if (is_there)
		remove_at(s, kind, at);
	return is_there || was_refused ? 1ull << kind : 0;
}

bool store_has(const struct store *s, enum kube_kind kind, const char *ns, const char *name)
{
	bool is_there;

	find(&s->api[kind], ns, name, &is_there);
	return is_there;
}

void store_mark(struct store *s, enum kube_kind kind, const char *ns)
{
	for (size_t i = 0; i < s->api[kind].n; i++)
		if (!ns || strcmp(s->api[kind].objects[i]->o.ns, ns) == 0)
			s->api[kind].objects[i]->is_seen = false;
	for (size_t i = 0; i < s->n_refusals; i++)
		if (s->refusals[i]->kind == kind && (!ns || strcmp(s->refusals[i]->ns, ns) == 0))
			s->refusals[i]->is_seen = false;
}

uint64_t store_sweep(struct store *s, enum kube_kind kind, const char *ns)
{
	struct api_kind *k = &s->api[kind];
	uint64_t mask = 0;
	size_t kept = 0;

	for (size_t i = 0; i < k->n; i++) {
		struct api_object *o = k->objects[i];

		if (o->is_seen || (ns && strcmp(o->o.ns, ns) != 0)) {
			k->objects[kept++] = o;
			continue;
		}
		journal_add(s, &o->o, true);
		object_destroy(o);
		mask = 1ull << kind;
	}
	k->n = kept;
	s->index->stale |= mask;
	kept = 0;
	for (size_t i = 0; i < s->n_refusals; i++) {
		struct refusal *r = s->refusals[i];

		if (r->kind != kind || r->is_seen || (ns && strcmp(r->ns, ns) != 0)) {
			s->refusals[kept++] = r;
			continue;
		}
		refusal_destroy(r);
		s->index->are_problems_stale = true;
		mask = 1ull << kind;
	}
	s->n_refusals = kept;
	return mask;
}

static struct refusal *refusal_find(const struct store *s, enum kube_kind kind, const char *ns, const char *name)
{
	size_t at = refusal_position(s, kind, ns, name);

	return at < s->n_refusals && refusal_compare(s->refusals[at], kind, ns, name) == 0 ? s->refusals[at] : NULL;
}

void store_mark_one(struct store *s, enum kube_kind kind, const char *ns, const char *name)
{
	struct refusal *r = refusal_find(s, kind, ns, name);
	bool is_there;
	size_t at = find(&s->api[kind], ns, name, &is_there);

	if (is_there)
		s->api[kind].objects[at]->is_seen = false;
	if (r)
		r->is_seen = false;
}

uint64_t store_sweep_one(struct store *s, enum kube_kind kind, const char *ns, const char *name)
{
	const struct refusal *r = refusal_find(s, kind, ns, name);
	bool is_there;
	size_t at = find(&s->api[kind], ns, name, &is_there);
	uint64_t mask = 0;

	if (is_there && !s->api[kind].objects[at]->is_seen) {
		remove_at(s, kind, at);
		mask = 1ull << kind;
	}
	if (r && !r->is_seen && refusal_drop(s, kind, ns, name))
		mask = 1ull << kind;
	return mask;
}
