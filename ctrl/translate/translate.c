/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of a translation: check every object's shape, then listeners,
 * then routes (which name the backends), then endpoints. Lists of the store
 * are sorted, so the model does not depend on the order in which objects came.
 */
#include "translate/translate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "translate/translate_pvt.h"

#define MAX_PATH 4096u

void *translate_grow(void *p, size_t n, size_t *cap, size_t size)
{
	if (n < *cap)
		return p;
	*cap = *cap ? *cap * 2 : 16;
	p = realloc(p, *cap * size);
	if (!p) {
		perror("weir: memory for the model");
		abort();
	}
	return p;
}

static int compare_bad(const void *pa, const void *pb)
{
	const struct bad_object *a = pa;
	const struct bad_object *b = pb;

	return (a->o > b->o) - (a->o < b->o);
}

static void check_kind(struct translation *t, enum kube_kind k)
{
	size_t n;
	const struct kube_object *const *list = store_list(t->store, k, &n);

	for (size_t i = 0; i < n; i++) {
		size_t n_problems = t->m->n_problems;

		if (schema_check(t, list[i]))
			continue;
		t->bad = translate_grow(t->bad, t->n_bad, &t->cap_bad, sizeof(*t->bad));
		t->bad[t->n_bad++] = (struct bad_object){list[i], n_problems};
	}
	if (t->n_bad)
		qsort(t->bad, t->n_bad, sizeof(*t->bad), compare_bad);
}

static const struct bad_object *find_bad(const struct translation *t, const struct kube_object *o)
{
	const struct bad_object key = {.o = o};

	return t->n_bad ? bsearch(&key, t->bad, t->n_bad, sizeof(*t->bad), compare_bad) : NULL;
}

bool is_usable(const struct translation *t, const struct kube_object *o)
{
	return !find_bad(t, o);
}

const char *refusal_text(const struct translation *t, const struct kube_object *o)
{
	const struct bad_object *bad = find_bad(t, o);

	for (size_t i = bad ? bad->problem : t->m->n_problems; i < t->m->n_problems; i++) {
		const struct model_problem *p = &t->m->problems[i];

		if (p->is_fatal)
			return model_printf(t->m, "%s: %s", p->field, p->text);
	}
	return "the object is malformed";
}

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* RFC 3986 3.3: pchar, and '/'. */
static bool is_path_text(const char *p)
{
	for (; *p; p++) {
		if (*p == '%') {
			if (!is_hex(p[1]) || !is_hex(p[2]))
				return false;
		} else if (!(*p >= 'a' && *p <= 'z') && !(*p >= 'A' && *p <= 'Z') && !(*p >= '0' && *p <= '9') &&
			   !strchr("-._~!$&'()*+,;=:@/", *p)) {
			return false;
		}
	}
	return true;
}

static bool has_suffix(const char *s, size_t n, const char *suffix)
{
	return n >= strlen(suffix) && strcmp(s + n - strlen(suffix), suffix) == 0;
}

bool is_path(const char *path)
{
	static const char *const refused[] = {"//", "/./", "/../", "%2f", "%2F", "%00"};
	size_t n = strnlen(path, MAX_PATH + 1);

	if (path[0] != '/' || n > MAX_PATH || !is_path_text(path))
		return false;
	for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++)
		if (strstr(path, refused[i]))
			return false;
	return !has_suffix(path, n, "/.") && !has_suffix(path, n, "/..");
}

bool is_target_path(const char *path)
{
	return path[0] == '/' && is_path_text(path);
}

const char *model_path(struct translation *t, uint8_t kind, const char *path)
{
	size_t n = strlen(path);

	while (kind == WEIR_PATH_PREFIX && n > 1 && path[n - 1] == '/')
		n--;
	return model_strn(t->m, path, n);
}

static void translation_fini(struct translation *t)
{
	free(t->bad);
	free(t->gateways);
	free(t->sets);
	free(t->referrers);
	free(t->sections);
	free(t->backend_slots);
}

void translate(const struct store *s, const struct translate_options *options, struct model *m)
{
	struct translation t = {.store = s, .options = options, .m = m};

	for (unsigned k = 0; k < KUBE_N_KINDS; k++)
		if (k != KUBE_ENDPOINT_SLICE)
			check_kind(&t, (enum kube_kind)k);
	/* problems of EndpointSlices stay together at the end: see replace_slice_problems() */
	ingress_translate(&t);
	ingress_check(&t);
	gateway_translate(&t);
	httproute_translate(&t);
	other_routes_translate(&t);
	gateway_conclude(&t);
	policies_conclude(&t);
	balance_check_services(&t);
	check_kind(&t, KUBE_ENDPOINT_SLICE);
	endpoints_check_slices(&t);
	endpoints_fill(&t, m);
	translation_fini(&t);
}

static bool is_same_problem(const struct model_problem *a, const struct model_problem *b)
{
	return a->line == b->line && a->column == b->column && strcmp(a->file, b->file) == 0 &&
	       strcmp(a->ns, b->ns) == 0 && strcmp(a->name, b->name) == 0 && strcmp(a->field, b->field) == 0 &&
	       strcmp(a->reason, b->reason) == 0 && strcmp(a->text, b->text) == 0;
}

static bool is_slice_problem(const struct model_problem *p)
{
	return strcmp(p->kind, kube_kind_name(KUBE_ENDPOINT_SLICE)) == 0;
}

/*
 * Puts the problems of EndpointSlices that are so now in the place of those
 * that were. The same ones again cost no memory: the model may live long.
 */
static void replace_slice_problems(struct model *m, const struct model *now)
{
	size_t n_other = 0;
	size_t i;

	for (i = 0; i < m->n_problems && !is_slice_problem(&m->problems[i]); i++)
		;
	n_other = i; /* they were added last */
	for (i = 0; i < now->n_problems && n_other + i < m->n_problems; i++)
		if (!is_same_problem(&m->problems[n_other + i], &now->problems[i]))
			break;
	m->n_problems = n_other + i;
	for (; i < now->n_problems; i++) {
		struct model_problem *p = model_add_problem(m);

		*p = now->problems[i];
		p->file = model_str(m, p->file);
		p->ns = model_str(m, p->ns);
		p->name = model_str(m, p->name);
		p->field = model_str(m, p->field);
		p->text = model_str(m, p->text);
	}
}

size_t translate_endpoints(const struct store *s, const struct translate_options *options, struct model *m)
{
	struct model now;
	struct translation t = {.store = s, .options = options, .m = &now};
	size_t changed;

	model_init(&now);
	check_kind(&t, KUBE_SERVICE);
	now.n_problems = 0; /* those of Services stand in m since translate() */
	check_kind(&t, KUBE_ENDPOINT_SLICE);
	endpoints_check_slices(&t);
	changed = endpoints_fill(&t, m);
	replace_slice_problems(m, &now);
	translation_fini(&t);
	model_fini(&now);
	return changed;
}
