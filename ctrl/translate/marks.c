/* SPDX-License-Identifier: Apache-2.0 */
#include "translate/marks.h"

#include <stdlib.h>
#include <string.h>

#include "translate/translate_pvt.h"

static int compare(const void *pa, const void *pb)
{
	const struct mark *a = pa;
	const struct mark *b = pb;
	int d = a->kind != b->kind ? (a->kind < b->kind ? -1 : 1) : strcmp(a->ns, b->ns);

	return d ? d : strcmp(a->name, b->name);
}

static void mark_fini(struct mark *m)
{
	free(m->ns);
	free(m->name);
}

void marks_add(struct marks *m, enum kube_kind kind, const char *ns, const char *name)
{
	const struct mark *last = m->n ? &m->list[m->n - 1] : NULL;

	if (m->is_all || (last && last->kind == kind && strcmp(last->name, name) == 0 && strcmp(last->ns, ns) == 0))
		return;
	if (m->n == MARKS_MAX) {
		marks_add_all(m);
		return;
	}
	m->list = translate_grow(m->list, m->n, &m->cap, sizeof(*m->list));
	m->list[m->n++] = (struct mark){kind, translate_must(strdup(ns)), translate_must(strdup(name))};
}

void marks_add_all(struct marks *m)
{
	marks_clear(m);
	m->is_all = true;
}

void marks_take(struct marks *m, struct marks *from)
{
	if (from->is_all)
		marks_add_all(m);
	for (size_t i = 0; i < from->n; i++)
		marks_add(m, from->list[i].kind, from->list[i].ns, from->list[i].name);
	marks_clear(from);
}

void marks_sort(struct marks *m)
{
	size_t kept = 0;

	if (m->n)
		qsort(m->list, m->n, sizeof(*m->list), compare);
	for (size_t i = 0; i < m->n; i++)
		if (kept && compare(&m->list[kept - 1], &m->list[i]) == 0)
			mark_fini(&m->list[i]);
		else
			m->list[kept++] = m->list[i];
	m->n = kept;
}

void marks_clear(struct marks *m)
{
	for (size_t i = 0; i < m->n; i++)
		mark_fini(&m->list[i]);
	free(m->list);
	*m = (struct marks){0};
}
