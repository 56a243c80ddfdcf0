/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cache of objects. Each file owns what it gave; an index over all files,
 * sorted by (namespace, name), is made anew when somebody asks for a kind that
 * has changed, so loading a thousand files sorts once.
 */
#include "kube/store.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kube/kube_pvt.h"
#include "kube/names.h"
#include "kube/store_pvt.h"

const struct kind_info store_kinds[] = {
#define X(name, group, kind, namespaced) {group, kind, namespaced},
    KUBE_KINDS(X)
#undef X
};

const char *kube_kind_name(enum kube_kind k)
{
	return store_kinds[k].kind;
}

const char *kube_kind_group(enum kube_kind k)
{
	return store_kinds[k].group;
}

bool kube_kind_is_namespaced(enum kube_kind k)
{
	return store_kinds[k].is_namespaced;
}

const char *kube_object_api_version(const struct kube_object *o)
{
	return node_str(node_get(o->root, "apiVersion"));
}

void *store_must(void *p)
{
	if (!p) {
		perror("weir: memory for Kubernetes objects");
		abort();
	}
	return p;
}

void *store_grow(void *p, size_t n, size_t *cap, size_t size)
{
	if (n < *cap)
		return p;
	*cap = *cap ? *cap * 2 : 8;
	return store_must(realloc(p, *cap * size));
}

struct store *store_create(void)
{
	struct store *s = store_must(calloc(1, sizeof(*s)));

	s->index = store_must(calloc(1, sizeof(*s->index)));
	return s;
}

void store_content_fini(struct content *c)
{
	if (c->has_secret)
		arena_wipe(&c->object_memory);
	else
		arena_fini(&c->object_memory);
	arena_fini(&c->problem_memory);
	free(c->objects);
	free(c->problems);
}

static void file_destroy(struct file *f)
{
	store_content_fini(&f->now);
	free(f->name);
	free(f);
}

void store_destroy(struct store *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n_files; i++)
		file_destroy(s->files[i]);
	for (unsigned k = 0; k < KUBE_N_KINDS; k++) {
		free(s->index->objects[k]);
		free(s->index->hidden[k]);
	}
	free(s->index->problems);
	arena_fini(&s->index->problem_memory);
	store_api_fini(s);
	absences_fini(&s->absences);
	store_clear_journal(s);
	free(s->journal.list);
	free(s->index);
	free(s->files);
	free(s);
}

/* ---- problems ---- */

/* A copy without control characters: problems end up in logs and terminals. */
static const char *clean(struct arena *a, const char *s)
{
	size_t n = strlen(s);
	char *p = (char *)arena_strn(a, s, n < 512 ? n : 512);

	for (char *q = p; *q; q++)
		if ((unsigned char)*q < 0x20 || *q == 0x7f)
			*q = '?';
	return p;
}

void store_problem_add(const struct subject *s, unsigned line, unsigned column, bool is_fatal, const char *field, const char *reason,
	const char *fmt, ...)
{
	struct content *c = s->c;
	struct arena *a = &c->problem_memory;
	char path[320];
	char text[512];
	va_list ap;

	if (c->n_problems > KUBE_MAX_FILE_PROBLEMS)
		return;
	c->problems = store_grow(c->problems, c->n_problems, &c->cap_problems, sizeof(*c->problems));
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	snprintf(path, sizeof(path), "%s%s", s->prefix, field);
	c->problems[c->n_problems] = (struct store_problem){.file = s->file,
							    .line = line,
							    .column = column,
							    .kind = clean(a, s->kind),
							    .ns = clean(a, s->ns),
							    .name = clean(a, s->name),
							    .field = clean(a, path),
							    .reason = reason,
							    .text = clean(a, text),
							    .is_fatal = is_fatal};
	if (++c->n_problems == KUBE_MAX_FILE_PROBLEMS)
		store_problem_add(&(struct subject){.c = c, .file = s->file, .prefix = "", .kind = "", .ns = "", .name = ""},
			line, column, false, "", "TooManyProblems", "further problems of this file are not listed");
}

static void problem_at(const struct subject *s, const struct node *at, const char *field, const char *reason,
		       const char *expected)
{
	if (!at)
		at = s->root;
	store_problem_add(s, at->line, at->column, true, field, reason, "%s was expected", expected);
}

/* ---- one object ---- */

static const struct node *present(const struct node *n)
{
	return n && n->kind != NODE_NULL ? n : NULL;
}

/* A string field; a problem and NULL if it is missing (and must not be) or no string. */
static const char *string_field(const struct subject *s, const char *path, bool is_required, const char *expected)
{
	const struct node *n = present(node_path(s->root, path));

	if (!n) {
		if (is_required)
			problem_at(s, NULL, path, "MissingField", expected);
		return NULL;
	}
	if (n->kind != NODE_STRING)
		problem_at(s, n, path, "InvalidType", expected);
	return node_str(n);
}

void store_identify(struct subject *s)
{
	const char *kind = node_str(node_get(s->root, "kind"));
	const char *ns = node_str(node_path(s->root, "metadata.namespace"));
	const char *name = node_str(node_path(s->root, "metadata.name"));

	s->kind = kind ? kind : "";
	s->ns = ns ? ns : "";
	s->name = name ? name : "";
	if (strcmp(s->kind, kube_kind_name(KUBE_SECRET)) == 0) /* right or wrong */
		s->c->has_secret = true;
}

/* Which kind it is; KUBE_N_KINDS after a problem. */
static enum kube_kind find_kind(const struct subject *s, const char *api_version)
{
	const char *slash = strchr(api_version, '/');
	const char *version = slash ? slash + 1 : api_version;
	size_t n_group = slash ? (size_t)(slash - api_version) : 0;
	const struct node *at = node_get(s->root, "kind");
	unsigned k = 0;

	while (k < KUBE_N_KINDS && (strcmp(store_kinds[k].kind, s->kind) != 0 || strlen(store_kinds[k].group) != n_group ||
				    strncmp(store_kinds[k].group, api_version, n_group) != 0))
		k++;
	if (k == KUBE_N_KINDS) {
		store_problem_add(s, at->line, at->column, false, "kind", "UnknownKind",
			"ignored: Weir does not read %.100s of %.100s", s->kind, api_version);
		return KUBE_N_KINDS;
	}
	if (kube_kind_has_version((enum kube_kind)k, version))
		return (enum kube_kind)k;
	at = node_get(s->root, "apiVersion");
	store_problem_add(s, at->line, at->column, true, "apiVersion", "UnsupportedVersion", "%s%sv1 was expected",
		store_kinds[k].group, n_group ? "/" : "");
	return KUBE_N_KINDS;
}

/* Names of a few kinds are labels, all others subdomains. */
static bool is_name(enum kube_kind k, const char *name)
{
	return k == KUBE_SERVICE || k == KUBE_NAMESPACE ? names_is_label(name) : names_is_subdomain(name);
}

static bool read_metadata(struct subject *s, struct kube_object *o)
{
	const struct node *meta = present(node_get(s->root, "metadata"));
	const struct node *created = present(node_path(s->root, "metadata.creationTimestamp"));
	const char *text;

	if (!meta || meta->kind != NODE_MAP) {
		problem_at(s, meta, "metadata", meta ? "InvalidType" : "MissingField", "an object with a name");
		return false;
	}
	text = string_field(s, "metadata.name", true, "the object's name, a string,");
	if (!text)
		return false;
	if (!is_name(o->kind, text)) {
		problem_at(s, node_get(meta, "name"), "metadata.name", "InvalidName",
			   "a DNS name of lower case letters, digits, '-' (and '.')");
		return false;
	}
	o->name = text;
	text = node_str(node_get(meta, "uid"));
	o->uid = text ? text : "";
	text = node_str(node_get(meta, "resourceVersion"));
	o->resource_version = text ? text : "";
	if (!node_int(node_get(meta, "generation"), 0, INT64_MAX, &o->generation))
		o->generation = 0;
	o->ns = "";
	if (store_kinds[o->kind].is_namespaced) {
		text = string_field(s, "metadata.namespace", false, "a string");
		if (!text && present(node_get(meta, "namespace")))
			return false;
		o->ns = text ? text : "default";
		s->ns = o->ns;
		if (!names_is_label(o->ns)) {
			problem_at(s, node_get(meta, "namespace"), "metadata.namespace", "InvalidName",
				   "a DNS label of lower case letters, digits and '-'");
			return false;
		}
	} else {
		s->ns = "";
	}
	if (created && (created->kind != NODE_STRING || !names_parse_time(created->text, &o->created_s))) {
		problem_at(s, created, "metadata.creationTimestamp",
			   created->kind == NODE_STRING ? "InvalidValue" : "InvalidType", "an RFC 3339 time");
		return false;
	}
	return true;
}

bool store_has_our_status(const struct node *root)
{
	const struct node *list = node_path(root, "metadata.managedFields");

	for (size_t i = 0; list && list->kind == NODE_LIST && i < list->n; i++) {
		const char *manager = node_str(node_get(list->items[i], "manager"));
		const char *operation = node_str(node_get(list->items[i], "operation"));

		if (manager && operation && strcmp(manager, KUBE_MANAGER) == 0 && strcmp(operation, "Apply") == 0 &&
		    node_get(node_get(list->items[i], "fieldsV1"), "f:status"))
			return true;
	}
	return false;
}

void store_add_object(struct subject *s)
{
	struct content *c = s->c;
	struct kube_object o = {.file = s->file, .line = s->root->line, .root = s->root};
	const char *api_version;

	if (s->root->kind != NODE_MAP) {
		problem_at(s, NULL, "", "InvalidType", "an object with apiVersion, kind and metadata");
		return;
	}
	api_version = string_field(s, "apiVersion", true, "a string such as networking.k8s.io/v1");
	if (!api_version || !string_field(s, "kind", true, "a string such as Ingress"))
		return;
	o.kind = find_kind(s, api_version);
	if (o.kind == KUBE_N_KINDS || !read_metadata(s, &o))
		return;
	o.has_our_status = store_has_our_status(s->root);
	c->objects = store_grow(c->objects, c->n_objects, &c->cap_objects, sizeof(*c->objects));
	c->objects[c->n_objects++] = o;
}

static void add_list(struct subject *s)
{
	const struct node *items = present(node_get(s->root, "items"));

	if (!items)
		return;
	if (items->kind != NODE_LIST) {
		problem_at(s, items, "items", "InvalidType", "a list of objects");
		return;
	}
	for (size_t i = 0; i < items->n; i++) {
		char prefix[32];
		struct subject item = {.c = s->c, .file = s->file, .prefix = prefix, .root = items->items[i]};

		snprintf(prefix, sizeof(prefix), "items[%zu].", i);
		store_identify(&item);
		store_add_object(&item);
	}
}

static void add_document(struct content *c, const char *file, const struct node *root, const struct yaml_fault *fault)
{
	struct subject s = {.c = c, .file = file, .prefix = "", .root = root};
	const char *kind;
	const char *api_version;

	store_identify(&s);
	if (fault->reason) {
		store_problem_add(&s, fault->line, fault->column, true, fault->field, fault->reason, "%s", fault->text);
		return;
	}
	if (!root)
		return;
	kind = node_str(node_get(root, "kind"));
	api_version = node_str(node_get(root, "apiVersion"));
	if (kind && api_version && strcmp(kind, "List") == 0 && strcmp(api_version, "v1") == 0)
		add_list(&s);
	else
		store_add_object(&s);
}

/* ---- one file ---- */

/* False if the reading stopped at a syntax error. */
static bool read_content(struct content *c, const char *file, const char *data, size_t n)
{
	struct yaml_reader r;
	struct node *root;
	enum yaml_outcome outcome;

	if (n > KUBE_MAX_FILE_BYTES) {
		add_document(c, file, NULL,
			     &(struct yaml_fault){
				 .reason = "TooLarge", .field = "", .text = "a file of at most 256 MiB was expected"});
		return false;
	}
	yaml_reader_init(&r, &c->object_memory, data, n);
	while ((outcome = yaml_reader_next(&r, &root)) == YAML_DOC)
		add_document(c, file, root, &r.fault);
	if (outcome == YAML_SYNTAX)
		add_document(c, file, NULL, &r.fault);
	yaml_reader_fini(&r);
	return outcome == YAML_END;
}

static const struct kube_object *next_of_kind(const struct content *c, enum kube_kind k, size_t *i)
{
	while (*i < c->n_objects)
		if (c->objects[(*i)++].kind == k)
			return &c->objects[*i - 1];
	return NULL;
}

static uint64_t kinds_in(const struct content *c)
{
	uint64_t mask = 0;

	for (size_t i = 0; i < c->n_objects; i++)
		mask |= 1ull << c->objects[i].kind;
	return mask;
}

/* The kinds in which two readings differ; a changed line counts, since problems name it. */
static uint64_t difference(const struct content *a, const struct content *b)
{
	uint64_t in_any = kinds_in(a) | kinds_in(b);
	uint64_t mask = 0;

	for (unsigned k = 0; k < KUBE_N_KINDS; k++) {
		const struct kube_object *x;
		const struct kube_object *y;
		size_t i = 0;
		size_t j = 0;

		if (!(in_any & 1ull << k))
			continue;
		do {
			x = next_of_kind(a, k, &i);
			y = next_of_kind(b, k, &j);
		} while (x && y && node_equal(x->root, y->root));
		if (x || y)
			mask |= 1ull << k;
	}
	return mask;
}

/* Where the file is, or would be. */
static size_t file_position(const struct store *s, const char *name)
{
	size_t lo = 0;
	size_t hi = s->n_files;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(s->files[mid]->name, name) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct file *file_get(struct store *s, const char *name)
{
	size_t at = file_position(s, name);
	struct file *f;

	if (at < s->n_files && strcmp(s->files[at]->name, name) == 0)
		return s->files[at];
	f = store_must(calloc(1, sizeof(*f)));
	f->name = store_must(strdup(name));
	s->files = store_grow(s->files, s->n_files, &s->cap_files, sizeof(*s->files));
	memmove(s->files + at + 1, s->files + at, (s->n_files - at) * sizeof(*s->files));
	s->files[at] = f;
	s->n_files++;
	return f;
}

static void journal_content(struct store *s, const struct content *c)
{
	for (size_t i = 0; i < c->n_objects; i++)
		journal_add(s, &c->objects[i], true);
}

uint64_t store_load_yaml(struct store *s, const char *file, const char *data, size_t n)
{
	struct file *f = file_get(s, file);
	struct content next = {0};
	uint64_t mask;
	bool is_whole = read_content(&next, f->name, data, n);

	s->index->are_problems_stale = true;
	if (!is_whole && f->now.n_objects > 0) {
		/* the objects stay, with the problems of now */
		struct content broken = next;

		next.object_memory = f->now.object_memory;
		next.objects = f->now.objects;
		next.n_objects = f->now.n_objects;
		next.cap_objects = f->now.cap_objects;
		f->now.object_memory = broken.object_memory;
		f->now.objects = broken.objects;
		next.has_secret |= f->now.has_secret;
		f->now.has_secret = next.has_secret;
		mask = 0;
	} else {
		mask = difference(&f->now, &next);
		s->index->stale |= kinds_in(&f->now) | kinds_in(&next);
		journal_content(s, &f->now);
		journal_content(s, &next);
	}
	store_content_fini(&f->now);
	f->now = next;
	return mask;
}

uint64_t store_forget_file(struct store *s, const char *file)
{
	size_t at = file_position(s, file);
	uint64_t mask;

	if (at == s->n_files || strcmp(s->files[at]->name, file) != 0)
		return 0;
	mask = kinds_in(&s->files[at]->now);
	s->index->stale |= mask;
	s->index->are_problems_stale = true;
	journal_content(s, &s->files[at]->now);
	file_destroy(s->files[at]);
	memmove(s->files + at, s->files + at + 1, (s->n_files - at - 1) * sizeof(*s->files));
	s->n_files--;
	return mask;
}

/* ---- the index ---- */

int store_compare_names(const struct kube_object *a, const struct kube_object *b)
{
	int d = strcmp(a->ns, b->ns);

	return d ? d : strcmp(a->name, b->name);
}

static int compare_objects(const void *pa, const void *pb)
{
	const struct kube_object *a = *(const struct kube_object *const *)pa;
	const struct kube_object *b = *(const struct kube_object *const *)pb;
	int d = store_compare_names(a, b);

	if (d == 0)
		d = strcmp(a->file, b->file);
	return d ? d : (a > b) - (a < b); /* of one file: one array */
}

static void rebuild_kind(const struct store *s, unsigned k)
{
	struct index *x = s->index;
	const struct kube_object **all;
	size_t n = 0;
	size_t kept = 0;

	for (size_t i = 0; i < s->n_files; i++)
		for (size_t j = 0; j < s->files[i]->now.n_objects; j++)
			n += s->files[i]->now.objects[j].kind == k;
	n += s->api[k].n;
	free(x->objects[k]);
	free(x->hidden[k]);
	x->hidden[k] = store_must(malloc((2 * n + 1) * sizeof(*all)));
	x->objects[k] = all = store_must(malloc((n + 1) * sizeof(*all)));
	x->n_hidden[k] = 0;
	n = 0;
	for (size_t i = 0; i < s->n_files; i++)
		for (size_t j = 0; j < s->files[i]->now.n_objects; j++)
			if (s->files[i]->now.objects[j].kind == k)
				all[n++] = &s->files[i]->now.objects[j];
	for (size_t i = 0; i < s->api[k].n; i++)
		all[n++] = &s->api[k].objects[i]->o;
	if (s->n_files > 0)
		qsort(all, n, sizeof(*all), compare_objects);
	else
		kept = n; /* those of the API server are sorted, and no two alike */
	for (size_t i = kept; i < n; i++) {
		if (kept > 0 && store_compare_names(all[kept - 1], all[i]) == 0) {
			x->hidden[k][x->n_hidden[k]++] = all[kept - 1];
			x->hidden[k][x->n_hidden[k]++] = all[i];
		} else {
			all[kept++] = all[i];
		}
	}
	x->n_objects[k] = kept;
	x->are_problems_stale |= s->n_files > 0;
}

static struct index *index_of(const struct store *s)
{
	for (unsigned k = 0; k < KUBE_N_KINDS; k++)
		if (s->index->stale & 1ull << k)
			rebuild_kind(s, k);
	s->index->stale = 0;
	return s->index;
}

static void tell_read(const struct index *x, enum kube_kind kind, const char *ns, const char *name)
{
	if (x->on_read)
		x->on_read(x->read_ctx, kind, ns, name);
}

void store_observe(const struct store *s, store_read_fn *fn, void *ctx)
{
	s->index->on_read = fn;
	s->index->read_ctx = ctx;
}

const struct kube_object *const *store_list(const struct store *s, enum kube_kind kind, size_t *n)
{
	struct index *x = index_of(s);

	tell_read(x, kind, NULL, NULL);
	*n = x->n_objects[kind];
	return x->objects[kind];
}

const struct kube_object *const *store_list_of(const struct store *s, enum kube_kind kind, const char *ns, size_t *n)
{
	struct index *x = index_of(s);
	size_t lo = 0;
	size_t hi = x->n_objects[kind];

	tell_read(x, kind, ns, NULL);
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(x->objects[kind][mid]->ns, ns) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (*n = 0; lo + *n < x->n_objects[kind] && strcmp(x->objects[kind][lo + *n]->ns, ns) == 0; ++*n)
		;
	return x->objects[kind] + lo;
}

const struct kube_object *store_get(const struct store *s, enum kube_kind kind, const char *ns, const char *name)
{
	const struct kube_object key = {.ns = ns, .name = name};
	struct index *x = index_of(s);
	size_t lo = 0;
	size_t hi = x->n_objects[kind];

	tell_read(x, kind, ns, name);
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int d = store_compare_names(x->objects[kind][mid], &key);

		if (d == 0)
			return x->objects[kind][mid];
		if (d < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

static struct store_problem duplicate_problem(struct arena *a, const struct kube_object *shown,
					      const struct kube_object *o)
{
	char text[256];

	snprintf(text, sizeof(text), "an object of its own name was expected: line %u of %.160s has it already",
		 shown->line, shown->file);
	return (struct store_problem){.file = o->file,
				      .line = o->line,
				      .column = o->root->column,
				      .kind = store_kinds[o->kind].kind,
				      .ns = o->ns,
				      .name = o->name,
				      .field = "metadata.name",
				      .reason = "DuplicateObject",
				      .text = clean(a, text),
				      .is_fatal = true};
}

const struct store_problem *store_problems(const struct store *s, size_t *n)
{
	struct index *x = index_of(s);
	size_t total = 0;

	*n = x->n_problems;
	if (!x->are_problems_stale)
		return x->problems;
	for (size_t i = 0; i < s->n_files; i++)
		total += s->files[i]->now.n_problems;
	for (unsigned k = 0; k < KUBE_N_KINDS; k++)
		total += x->n_hidden[k] / 2;
	total += s->n_refusals;
	free(x->problems);
	arena_fini(&x->problem_memory);
	x->problems = store_must(malloc((total + 1) * sizeof(*x->problems)));
	x->n_problems = 0;
	for (size_t i = 0; i < s->n_files; i++)
		for (size_t j = 0; j < s->files[i]->now.n_problems; j++)
			x->problems[x->n_problems++] = s->files[i]->now.problems[j];
	for (size_t i = 0; i < s->n_refusals; i++)
		x->problems[x->n_problems++] = s->refusals[i]->c.problems[0];
	for (unsigned k = 0; k < KUBE_N_KINDS; k++)
		for (size_t i = 0; i + 1 < x->n_hidden[k]; i += 2)
			x->problems[x->n_problems++] =
			    duplicate_problem(&x->problem_memory, x->hidden[k][i], x->hidden[k][i + 1]);
	x->are_problems_stale = false;
	x->problems_turn++;
	*n = x->n_problems;
	return x->problems;
}

uint64_t store_problems_turn(const struct store *s)
{
	size_t n;

	store_problems(s, &n);
	return s->index->problems_turn;
}
