/* SPDX-License-Identifier: Apache-2.0 */
#include "documents.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "status/status_pvt.h"
#include "translate/translate.h"

static void take(void *ctx, const struct status_document *x)
{
	struct documents *d = ctx;

	d->list = realloc(d->list, (d->n + 1) * sizeof(*d->list));
	d->list[d->n++] = (struct document){x->kind, strdup(x->ns), strdup(x->name), strdup(x->json)};
}

void documents_make(struct documents *d, const struct store *s, const struct model *m, const struct marks *only, bool wants_all)
{
	status_make(s, m, &(struct status_options){.controller_name = TRANSLATE_CONTROLLER, .only = only, .wants_all = wants_all}, take, d);
}

void documents_clear(struct documents *d)
{
	for (size_t i = 0; i < d->n; i++) {
		free(d->list[i].ns);
		free(d->list[i].name);
		free(d->list[i].json);
	}
	free(d->list);
	*d = (struct documents){0};
}

static bool is_of(const struct document *x, enum kube_kind kind, const char *ns, const char *name)
{
	return x->kind == kind && strcmp(x->ns, ns) == 0 && strcmp(x->name, name) == 0;
}

static bool is_marked(const struct marks *m, const struct document *x)
{
	for (size_t i = 0; i < m->n; i++)
		if (is_of(x, m->list[i].kind, m->list[i].ns, m->list[i].name))
			return true;
	return m->is_all;
}

static bool has(const struct documents *d, const struct document *x)
{
	for (size_t i = 0; i < d->n; i++)
		if (is_of(x, d->list[i].kind, d->list[i].ns, d->list[i].name))
			return strcmp(x->json, d->list[i].json) == 0;
	return false;
}

static bool are_there(const struct documents *of, const struct documents *in, const struct marks *marks)
{
	for (size_t i = 0; i < of->n; i++) {
		const struct document *x = &of->list[i];

		if (has(in, x) || is_marked(marks, x))
			continue;
		fprintf(stderr, "%s %s/%s is not marked, but its document differs: %.200s\n", kube_kind_name(x->kind), x->ns, x->name, x->json);
		return false;
	}
	return true;
}

bool documents_differ_where_marked(const struct documents *before, const struct documents *now, const struct marks *marks)
{
	return are_there(before, now, marks) && are_there(now, before, marks);
}

void documents_write(const struct documents *d, struct store *s)
{
	for (size_t i = 0; i < d->n; i++) {
		const struct document *x = &d->list[i];
		json_t *object = json_of_node(store_get(s, x->kind, x->ns, x->name)->root);
		char *text;

		json_put(object, "status", json_must(json_loads(x->json, 0, NULL)));
		text = json_dumps(object, JSON_COMPACT);
		store_put_json(s, x->kind, text, strlen(text));
		free(text);
		json_decref(object);
	}
}
