/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A translator that follows changes against translate() of the same store,
 * from nothing: after any sequence of changes both say the same.
 *
 *   test_translator [SEQUENCES [FIRST_SEED]]
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "documents.h"
#include "status/status.h"
#include "translate/compile.h"
#include "translate/held.h"
#include "translate/translator.h"
#include "world.h"

#define N_STEPS 12u
#define N_WRITES 8u /* at most, until nothing is to be written any more */

static unsigned n_sequences = 10000;
static uint64_t first_seed = 1;
static size_t n_names_seen; /* so that the test says something of them */

/* ---- everything that a model says, as text */

static void tell_conditions(FILE *f, const struct model_conditions *c)
{
	for (size_t i = 0; i < c->n; i++)
		fprintf(f, " %s=%s %s (%s)", c->c[i].type, c->c[i].status, c->c[i].reason, c->c[i].message);
}

static void tell_status(FILE *f, const struct model_status *s)
{
	fprintf(f, "status %u %s/%s %u", s->kind, s->ns, s->name, s->n_attached_sets);
	tell_conditions(f, &s->conditions);
	for (size_t i = 0; i < s->n_addrs; i++)
		fprintf(f, " %u", s->addrs[i].b[15]);
	for (size_t i = 0; i < s->n_sections; i++) {
		fprintf(f, "\n  %s %u %d", s->sections[i].name, s->sections[i].n_routes, (int)s->sections[i].routes);
		tell_conditions(f, &s->sections[i].conditions);
	}
	for (size_t i = 0; i < s->n_parents; i++) {
		fprintf(f, "\n  %s %s/%s %s", s->parents[i].kind ? s->parents[i].kind : "-", s->parents[i].ns, s->parents[i].name,
			s->parents[i].section ? s->parents[i].section : "-");
		tell_conditions(f, &s->parents[i].conditions);
	}
	fputc('\n', f);
}

static const char *backend_name(const struct model *m, int32_t i)
{
	return i < 0 ? "-" : m->backends[i].name;
}

static void tell_filters(FILE *f, const struct model *m, const struct model_filters *list)
{
	for (size_t i = 0; i < list->n; i++)
		fprintf(f, " filter %u %s", list->f[i].kind, list->f[i].kind == WEIR_FILTER_MIRROR ? backend_name(m, list->f[i].backend) : "");
}

static void tell_match(FILE *f, const struct model *m, const struct model_match *x)
{
	const struct model_listener *l = &m->listeners[x->listener];

	fprintf(f, "%s|%u %u %s|%s %d %u %s %u %u %s/%s %u %u", l->name, l->port, l->addr.b[15], l->host, x->host, x->host_one_label,
		x->path_kind, x->path, x->action, x->status, x->ns, x->name, x->rule_index, x->match_index);
	for (size_t i = 0; i < x->n_splits; i++) {
		fprintf(f, " > %s*%u", backend_name(m, x->splits[i].backend), x->splits[i].weight);
		tell_filters(f, m, &x->splits[i].filters);
	}
	tell_filters(f, m, &x->filters);
	fputc('\n', f);
}

static int by_name(const void *a, const void *b)
{
	return strcmp((*(const struct model_backend *const *)a)->name, (*(const struct model_backend *const *)b)->name);
}

static void tell_backends(FILE *f, const struct model *m)
{
	const struct model_backend **list = calloc(m->n_backends + 1, sizeof(*list));
	size_t n = 0;

	for (size_t i = 0; i < m->n_backends; i++)
		if (m->backends[i].name)
			list[n++] = &m->backends[i];
	qsort(list, n, sizeof(*list), by_name);
	for (size_t i = 0; i < n; i++) {
		fprintf(f, "backend %s %u %s", list[i]->name, list[i]->balance.fixed.balance, list[i]->is_pending ? "pending" : "");
		for (size_t k = 0; k < list[i]->n_endpoints; k++)
			fprintf(f, " %u:%u/%u", list[i]->endpoints[k].addr.b[15], list[i]->endpoints[k].port, list[i]->endpoints[k].flags);
		fputc('\n', f);
	}
	free(list);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The names that backends have, each once. */
static char *names_of(const struct model *m)
{
	const char **list = calloc(m->n_backends + 1, sizeof(*list));
	size_t n = 0, n_text;
	char *text;
	FILE *f = open_memstream(&text, &n_text);

	for (size_t i = 0; i < m->n_backends; i++)
		if (m->backends[i].name && m->backends[i].external)
			list[n++] = m->backends[i].external;
	qsort(list, n, sizeof(*list), by_text);
	for (size_t i = 0; i < n; i++)
		if (i == 0 || strcmp(list[i], list[i - 1]) != 0)
			fprintf(f, "%s\n", list[i]);
	fclose(f);
	free(list);
	return text;
}

static void tell_document(void *ctx, const struct status_document *d)
{
	fprintf(ctx, "document %u %s/%s %d %s\n", d->kind, d->ns, d->name, d->differs, d->json);
}

static void tell_blob(FILE *f, struct model *m)
{
	void *blob;
	size_t n;
	int err = compile_snapshot(m, 1, &blob, &n);

	fprintf(f, "compiled %d\n", err);
	if (!err) {
		fwrite(blob, 1, n, f);
		free(blob);
	}
}

static char *text_of(const struct store *s, struct model *m, size_t *n)
{
	unsigned n_externals = 0;
	char *text;
	FILE *f = open_memstream(&text, n);

	for (size_t i = 0; i < m->n_matches; i++)
		tell_match(f, m, &m->matches[i]);
	tell_backends(f, m);
	for (size_t i = 0; i < m->n_backends; i++) /* in any order: they are counted */
		n_externals += m->backends[i].external != NULL;
	fprintf(f, "%u external\n", n_externals);
	for (size_t i = 0; i < m->n_statuses; i++)
		tell_status(f, &m->statuses[i]);
	status_make(s, m, &(struct status_options){.controller_name = TRANSLATE_CONTROLLER, .wants_all = true}, tell_document, f);
	tell_blob(f, m); /* which may add problems */
	for (size_t i = 0; i < m->n_problems; i++) {
		const struct model_problem *p = &m->problems[i];

		fprintf(f, "problem %s:%u:%u %s %s/%s %s %s %s %d\n", p->file, p->line, p->column, p->kind, p->ns, p->name, p->field,
			p->reason, p->text, p->is_fatal);
	}
	fclose(f);
	return text;
}

/* ---- the property */

/* What whoever is told of changes knows. */
struct mirror {
	void *blob;
	size_t n_blob;
	char *statuses, *problems, *endpoints, *references, *names;
	size_t n_compiled; /* problems of the compiler, which are the last ones */
	struct documents documents;
	bool has_documents, is_written; /* documents are looked at, since they take the most time of all; and written back */
};

static char *statuses_of(const struct store *s, const struct model *m)
{
	char *text;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	for (size_t i = 0; i < m->n_statuses; i++) { /* whoever writes them says for which generation they are */
		const struct model_status *v = &m->statuses[i];

		fprintf(f, "generation %lld ", (long long)store_get(s, v->kind, v->ns, v->name)->generation);
		tell_status(f, v);
	}
	fclose(f);
	return text;
}

static char *problems_of(const struct model *m)
{
	char *text;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	for (size_t i = 0; i < m->n_problems; i++)
		fprintf(f, "%s/%s %s %s\n", m->problems[i].ns, m->problems[i].name, m->problems[i].field, m->problems[i].text);
	fclose(f);
	return text;
}

static char *endpoints_of(const struct model *m)
{
	char *text;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	tell_backends(f, m);
	fclose(f);
	return text;
}

static char *references_of(const struct translator *tr)
{
	char *text;
	size_t n, n_refs;
	const struct named_ref *refs = translator_references(tr, &n_refs);
	FILE *f = open_memstream(&text, &n);

	for (size_t i = 0; i < n_refs; i++)
		fprintf(f, "%s %s/%s\n", kube_kind_name(refs[i].kind), refs[i].ns, refs[i].name);
	fclose(f);
	return text;
}

/* False, and both texts on request, if they differ though it was not told. */
static bool told(const char *what, bool is_told, const char *before, const char *now)
{
	if (is_told || (before && strcmp(before, now) == 0))
		return true;
	print_message("%s differ\n", what);
	if (getenv("WEIR_TEST_VERBOSE"))
		printf("---- before\n%s---- now\n%s", before ? before : "", now);
	return false;
}

static void replace(char **at, char *text)
{
	free(*at);
	*at = text;
}

static void mirror_fini(struct mirror *r)
{
	free(r->blob);
	free(r->statuses);
	free(r->problems);
	free(r->endpoints);
	free(r->references);
	free(r->names);
	documents_clear(&r->documents);
}

static bool are_routes_told(const struct mirror *r, bool is_told, const void *blob, size_t n)
{
	char *text[2] = {NULL, NULL};
	bool is_right = is_told || (n == r->n_blob && memcmp(blob, r->blob, n) == 0);

	if (!is_right) {
		if (r->blob)
			compile_dump(r->blob, &text[0]);
		if (blob)
			compile_dump(blob, &text[1]);
		told("routes", false, text[0], text[1] ? text[1] : "none");
	}
	free(text[0]);
	free(text[1]);
	return is_right;
}

/* Nothing may differ that was not told. */
static bool update_mirror(struct mirror *r, const struct store *s, struct translator *tr, const struct translator_changes *c)
{
	struct model *m = translator_model(tr);
	char *references = references_of(tr);
	bool is_right = true;
	char *statuses = statuses_of(s, m), *problems, *endpoints = endpoints_of(m);
	void *blob = NULL;
	size_t n = 0;
	size_t n_before = m->n_problems;

	is_right &= told("references", c->references, r->references ? r->references : "", references);
	is_right &= told("statuses", c->statuses, r->statuses, statuses);
	is_right &= told("backends", c->routes || c->n_backends, r->endpoints, endpoints);
	if (compile_snapshot(m, 1, &blob, &n) != 0)
		blob = NULL, n = 0;
	is_right &= are_routes_told(r, c->routes, blob, n);
	if (c->routes)
		r->n_compiled = m->n_problems - n_before;
	else /* it would not have been compiled */
		m->n_problems = n_before;
	problems = problems_of(m);
	is_right &= told("problems", c->problems || c->routes, r->problems, problems);
	replace(&r->statuses, statuses);
	replace(&r->problems, problems);
	replace(&r->endpoints, endpoints);
	replace(&r->references, references);
	free(r->blob);
	r->blob = blob;
	r->n_blob = n;
	return is_right;
}

static bool are_references_same(const struct store *s, const struct translator *tr, const struct translate_options *o)
{
	struct translator *fresh = translator_create(s, o);
	struct translator_changes c;
	char *text[2];
	bool same;

	translator_run(fresh, NULL, 0, &c);
	text[0] = references_of(tr);
	text[1] = references_of(fresh);
	same = told("references, and from nothing, ", false, text[0], text[1]);
	free(text[0]);
	free(text[1]);
	translator_destroy(fresh);
	return same;
}

/* The names that are to be looked up are those of the backends, and it is told when they are others. */
static bool are_names_right(struct mirror *r, struct translator *tr, const struct translate_options *o, bool is_told)
{
	char *want = names_of(translator_model(tr)), *text;
	size_t n, n_text;
	const char *const *names = translator_names(tr, &n);
	const char **list = calloc(n + 1, sizeof(*list));
	FILE *f = open_memstream(&text, &n_text);
	bool is_right;

	if (n)
		memcpy(list, names, n * sizeof(*list));
	qsort(list, n, sizeof(*list), by_text);
	for (size_t i = 0; i < n; i++)
		fprintf(f, "%s\n", list[i]);
	fclose(f);
	is_right = told("names", is_told, r->names, text) && (!o->names || strcmp(text, want) == 0);
	n_names_seen += n;
	replace(&r->names, text);
	free(list);
	free(want);
	return is_right;
}

/* No document may be another one whose object is not marked. */
static bool update_documents(struct mirror *r, const struct store *s, struct translator *tr)
{
	struct documents now = {0};
	bool is_right;

	if (!r->has_documents)
		return true;
	documents_make(&now, s, translator_model(tr), NULL, true);
	is_right = documents_differ_where_marked(&r->documents, &now, translator_marks(tr));
	documents_clear(&r->documents);
	r->documents = now;
	return is_right;
}

static bool is_same(const struct store *s, struct translator *tr, const struct mirror *r, const struct translate_options *o)
{
	struct model *followed = translator_model(tr), fresh;
	size_t n_all = followed->n_problems, n[2];
	char *text[2];
	bool same;

	followed->n_problems -= r->n_compiled; /* they come once more */
	model_init(&fresh);
	translate(s, o, &fresh);
	text[1] = text_of(s, &fresh, &n[1]);
	text[0] = text_of(s, followed, &n[0]);
	same = n[0] == n[1] && memcmp(text[0], text[1], n[0]) == 0;
	if (!same && getenv("WEIR_TEST_VERBOSE"))
		for (unsigned i = 0; i < 2; i++) {
			printf("---- %s\n", i ? "from nothing" : "followed");
			fwrite(text[i], 1, n[i], stdout);
		}
	followed->n_problems = n_all;
	free(text[0]);
	free(text[1]);
	model_fini(&fresh);
	return same;
}

/* Of a few routes. */
static uint64_t a_total(void)
{
	return 1000 + world_pick(9000);
}

/* Some names change. */
static void change_names(struct translator *tr, struct known_names *names)
{
	const char *const *changes;
	size_t n;

	for (unsigned i = world_chance(40) ? 1 + world_pick(3) : 0; i > 0; i--)
		world_change_name(names);
	changes = known_names_changes(names, &n);
	for (size_t i = 0; i < n; i++)
		translator_name_changed(tr, changes[i]);
	known_names_clear_changes(names);
}

static bool follow(struct store *s, struct translator *tr, struct mirror *r, const struct translate_options *o)
{
	struct translator_changes c;
	size_t n;
	const struct store_change *journal = store_journal(s, &n);

	translator_run(tr, journal, n, &c);
	store_clear_journal(s);
	return update_mirror(r, s, tr, &c) && are_names_right(r, tr, o, c.names) && update_documents(r, s, tr);
}

/* As the writer does: what is marked is made and written, and that comes back. Afterwards nothing is left of all. */
static bool write_back(struct store *s, struct translator *tr, struct mirror *r, const struct translate_options *o)
{
	struct documents d = {0};
	bool is_right = true;

	for (unsigned i = 0; is_right && i < N_WRITES; i++) {
		struct marks *marks = translator_marks(tr);

		marks_sort(marks);
		documents_make(&d, s, translator_model(tr), marks, false);
		marks_clear(marks);
		if (d.n == 0)
			break;
		documents_write(&d, s);
		documents_clear(&d);
		is_right = follow(s, tr, r, o);
	}
	documents_clear(&d);
	documents_make(&d, s, translator_model(tr), NULL, false);
	if (d.n)
		print_message("%s %s/%s is not written: %s\n", kube_kind_name(d.list[0].kind), d.list[0].ns, d.list[0].name, d.list[0].json);
	is_right &= d.n == 0;
	documents_clear(&d);
	return is_right;
}

static bool run_step(struct store *s, struct translator *tr, struct mirror *r, struct translate_options *o,
		     struct known_names *names)
{
	unsigned n_changes = 1 + (world_chance(30) ? world_pick(4) : 0);
	bool is_right;

	for (unsigned i = 0; i < n_changes; i++)
		world_change(s);
	change_names(tr, names);
	if (o->total_bytes && world_chance(20)) /* a dataplane with another arena */
		o->total_bytes = a_total();
	is_right = follow(s, tr, r, o);
	if (is_right && r->is_written)
		is_right = write_back(s, tr, r, o);
	marks_clear(translator_marks(tr));
	return is_right;
}

static bool run_sequence(uint64_t seed, const struct address_pool *pool)
{
	const struct weir_ip listen = {{[15] = 9}};
	struct known_names *names = known_names_create();
	struct translate_options o = {.controller_name = TRANSLATE_CONTROLLER, .listen = &listen, .n_listen = seed % 3 ? 1 : 0,
				      .pool = seed % 4 ? NULL : pool, .node = seed % 5 ? "node1" : NULL,
				      .node_ports = seed % 13 == 0, .takes_external_names = seed % 7 != 0, .names = seed % 11 ? names : NULL,
				      .held = seed % 3 != 2 ? held_create() : NULL};
	struct store *s = store_create();
	struct translator *tr = translator_create(s, &o);
	struct mirror r = {.names = strdup(""), .has_documents = seed % 3 == 1, .is_written = seed % 3 == 1 && seed % 5};
	bool is_right = true;
	unsigned step;

	world_begin(seed, (unsigned)(seed / 2 % 5), seed % 5 == 0);
	if (seed % 7 < 3) /* budgets that some are beyond */
		o.namespace_bytes = 1000 + world_pick(8000);
	if (seed % 7 == 0 || seed % 7 == 3)
		o.total_bytes = a_total();
	store_keep_journal(s);
	if (seed % 8 < 4)
		store_expect_named(s);
	for (unsigned i = 10 + world_pick(90); i > 0; i--)
		world_put(s);
	for (step = 0; is_right && step < N_STEPS; step++) {
		is_right = run_step(s, tr, &r, &o, names);
		if (!is_right)
			print_message("seed %llu, step %u: a change was not told\n", (unsigned long long)seed, step);
		else if (step % 4 == 3 && !(is_right = is_same(s, tr, &r, &o) && are_references_same(s, tr, &o)))
			print_message("seed %llu, step %u: not what translate() makes\n", (unsigned long long)seed, step);
	}
	mirror_fini(&r);
	translator_destroy(tr);
	store_destroy(s);
	known_names_destroy(names);
	held_destroy(o.held);
	return is_right;
}

static void what_is_followed_is_what_is_made_from_nothing(void **state)
{
	struct address_pool pool = {0};
	unsigned n_wrong = 0;

	assert_int_equal(address_pool_add(&pool, "192.0.2.1-192.0.2.3"), 0);
	for (unsigned i = 0; i < n_sequences && n_wrong < 5; i++)
		n_wrong += !run_sequence(first_seed + i, &pool);
	address_pool_fini(&pool);
	assert_int_equal(n_wrong, 0);
	assert_true(n_names_seen > 0);
}

/* A Gateway of the class `weir`, made in the one second that all of them are. */
static void put_gateway(struct store *s, const char *name, const char *uid)
{
	char text[600];

	snprintf(text, sizeof(text),
		 "{\"apiVersion\":\"gateway.networking.k8s.io/v1\",\"kind\":\"Gateway\",\"metadata\":{\"name\":\"%s\","
		 "\"namespace\":\"a\",\"uid\":\"%s\",\"creationTimestamp\":\"2026-01-01T00:00:00Z\"},\"spec\":{\"gatewayClassName\":"
		 "\"weir\",\"listeners\":[{\"name\":\"http\",\"port\":80,\"protocol\":\"HTTP\"}]}}",
		 name, uid);
	store_put_json(s, KUBE_GATEWAY, text, strlen(text));
}

/* The last byte of the address on which it listens; 0: it does not. */
static unsigned address_of(struct store *s, struct translator *tr, const char *name)
{
	const struct model *m;
	struct translator_changes c;
	char wanted[40];
	size_t n;
	const struct store_change *journal = store_journal(s, &n);

	translator_run(tr, journal, n, &c);
	store_clear_journal(s);
	m = translator_model(tr);
	snprintf(wanted, sizeof(wanted), "Gateway a/%s ", name);
	for (size_t i = 0; i < m->n_listeners; i++)
		if (strncmp(m->listeners[i].name, wanted, strlen(wanted)) == 0)
			return m->listeners[i].addr.b[15];
	return 0;
}

static void gateways_keep_their_addresses_before_their_statuses_tell_of_them(void **state)
{
	static const char class[] = "{\"apiVersion\":\"gateway.networking.k8s.io/v1\",\"kind\":\"GatewayClass\",\"metadata\":"
				    "{\"name\":\"weir\"},\"spec\":{\"controllerName\":\"" TRANSLATE_CONTROLLER "\"}}";
	struct address_pool pool = {0};
	struct translate_options o = {.controller_name = TRANSLATE_CONTROLLER, .pool = &pool, .held = held_create()};
	struct store *s = store_create();
	struct translator *tr = translator_create(s, &o);

	(void)state;
	assert_int_equal(address_pool_add(&pool, "192.0.2.1-192.0.2.9"), 0);
	store_keep_journal(s);
	store_put_json(s, KUBE_GATEWAY_CLASS, class, strlen(class));
	put_gateway(s, "m", "1");
	assert_int_equal(address_of(s, tr, "m"), 1);
	put_gateway(s, "b", "2"); /* before it by name, and as old */
	assert_int_equal(address_of(s, tr, "b"), 2);
	assert_int_equal(address_of(s, tr, "m"), 1);
	put_gateway(s, "a", "3");
	assert_int_equal(address_of(s, tr, "a"), 3);
	assert_int_equal(address_of(s, tr, "b"), 2);
	put_gateway(s, "m", "4"); /* another one in its place has nothing of it */
	put_gateway(s, "c", "5");
	assert_int_equal(address_of(s, tr, "c"), 1);
	assert_int_equal(address_of(s, tr, "m"), 4);
	translator_destroy(tr);
	store_destroy(s);
	held_destroy(o.held);
	address_pool_fini(&pool);
}

static void what_is_said_of_a_name_goes_with_who_refers_to_it(void **state)
{
	static const char service[] = "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"s\",\"namespace\":\"a\"},"
				      "\"spec\":{\"type\":\"ExternalName\",\"externalName\":\"x.test\"}}";
	static const char ingress[] = "{\"apiVersion\":\"networking.k8s.io/v1\",\"kind\":\"Ingress\",\"metadata\":{\"name\":\"i\","
				      "\"namespace\":\"a\"},\"spec\":{\"defaultBackend\":{\"service\":{\"name\":\"s\",\"port\":{\"number\":80}}}}}";
	struct known_names *names = known_names_create();
	const struct translate_options o = {
	    .controller_name = TRANSLATE_CONTROLLER, .takes_external_names = true, .names = names};
	struct store *s = store_create();
	struct translator *tr = translator_create(s, &o);
	struct translator_changes c;
	size_t n;

	store_keep_journal(s);
	store_put_json(s, KUBE_SERVICE, service, strlen(service));
	store_put_json(s, KUBE_INGRESS, ingress, strlen(ingress));
	translator_run(tr, NULL, 0, &c);
	store_clear_journal(s);
	assert_true(c.names && translator_model(tr)->n_problems == 0);
	assert_string_equal(translator_names(tr, &n)[0], "x.test");
	known_names_set(names, "x.test", &(struct known_name){.state = NAME_NOT_FOUND});
	translator_name_changed(tr, "x.test");
	translator_run(tr, store_journal(s, &n), 0, &c);
	assert_true(c.problems && !c.names && !c.routes && c.n_backends == 1);
	assert_string_equal(translator_model(tr)->problems[0].reason, "NameNotFound");
	store_remove(s, KUBE_INGRESS, "a", "i");
	translator_run(tr, store_journal(s, &n), 1, &c);
	store_clear_journal(s);
	assert_true(c.problems && c.names);
	assert_int_equal(translator_model(tr)->n_problems, 0);
	translator_names(tr, &n);
	assert_int_equal(n, 0);
	translator_destroy(tr);
	store_destroy(s);
	known_names_destroy(names);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(gateways_keep_their_addresses_before_their_statuses_tell_of_them),
	    cmocka_unit_test(what_is_said_of_a_name_goes_with_who_refers_to_it),
	    cmocka_unit_test(what_is_followed_is_what_is_made_from_nothing),
	};

	if (argc > 1)
		n_sequences = (unsigned)strtoul(argv[1], NULL, 10);
	if (argc > 2)
		first_seed = strtoull(argv[2], NULL, 10);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
