/* SPDX-License-Identifier: Apache-2.0 */
/* Why objects that are followed by name are not in the store: see store.h. What is not said of a name is the default, and takes no room. */
#include <stdlib.h>
#include <string.h>

#include "kube/store_pvt.h"

static int compare(const struct absence *a, enum kube_kind kind, const char *ns, const char *name)
{
	int d = a->kind != kind ? (a->kind < kind ? -1 : 1) : strcmp(a->ns, ns);

	return d ? d : strcmp(a->name, name);
}

/* Where it is, or would be. */
static size_t find(const struct absences *list, enum kube_kind kind, const char *ns, const char *name, bool *is_there)
{
	size_t lo = 0;
	size_t hi = list->n;

	*is_there = false;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int d = compare(&list->a[mid], kind, ns, name);

		if (d == 0)
			*is_there = true;
		if (d < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static enum store_absence fallback(const struct absences *list)
{
	return list->are_expected ? STORE_PENDING : STORE_ABSENT;
}

static void insert(struct absences *list, size_t at, enum kube_kind kind, const char *ns, const char *name)
{
	list->a = store_grow(list->a, list->n, &list->cap, sizeof(*list->a));
	memmove(list->a + at + 1, list->a + at, (list->n - at) * sizeof(*list->a));
	list->a[at] = (struct absence){.kind = kind, .ns = store_must(strdup(ns)), .name = store_must(strdup(name))};
	list->n++;
}

static void drop(struct absences *list, size_t at)
{
	free(list->a[at].ns);
	free(list->a[at].name);
	memmove(list->a + at, list->a + at + 1, (list->n - at - 1) * sizeof(*list->a));
	list->n--;
}

void absences_fini(struct absences *list)
{
	while (list->n)
		drop(list, list->n - 1);
	free(list->a);
}

void store_expect_named(struct store *s)
{
	s->absences.are_expected = true;
}

uint64_t store_set_absence(struct store *s, enum kube_kind kind, const char *ns, const char *name, enum store_absence why)
{
	struct absences *list = &s->absences;
	bool is_there;
	size_t at = find(list, kind, ns, name, &is_there);
	const struct kube_object key = {.kind = kind, .ns = ns, .name = name};

	if (why == (is_there ? list->a[at].why : fallback(list)))
		return 0;
	journal_add(s, &key, true);
	if (why == fallback(list)) {
		drop(list, at);
		return 1ull << kind;
	}
	if (!is_there)
		insert(list, at, kind, ns, name);
	list->a[at].why = why;
	return 1ull << kind;
}

enum store_absence store_absence(const struct store *s, enum kube_kind kind, const char *ns, const char *name)
{
	bool is_there;
	size_t at = find(&s->absences, kind, ns, name, &is_there);

	return is_there ? s->absences.a[at].why : fallback(&s->absences);
}
