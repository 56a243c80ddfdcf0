/* SPDX-License-Identifier: Apache-2.0 */
/* Which Secrets and ConfigMaps are referred to: the keys of these kinds that some unit depends on. */
#include <stdlib.h>
#include <string.h>

#include "translate/translator_pvt.h"

static int compare(const void *pa, const void *pb)
{
	const struct named_ref *a = pa;
	const struct named_ref *b = pb;
	int d = a->kind != b->kind ? (a->kind < b->kind ? -1 : 1) : strcmp(a->ns, b->ns);

	return d ? d : strcmp(a->name, b->name);
}

static void forget(struct named_ref *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free((char *)list[i].ns);
	free(list);
}

static struct named_ref copy(const struct key *k)
{
	size_t n_ns = strlen(k->ns) + 1;
	size_t n_name = strlen(k->name) + 1;
	char *text = translate_must(malloc(n_ns + n_name));

	memcpy(text, k->ns, n_ns);
	memcpy(text + n_ns, k->name, n_name);
	return (struct named_ref){.kind = (enum kube_kind)k->kind, .ns = text, .name = text + n_ns};
}

bool references_update(struct translator *tr)
{
	const struct key_table *keys = &tr->keys;
	struct named_ref *list;
	size_t n = 0;
	bool differs;

	if (!keys->has_other_named)
		return false;
	tr->keys.has_other_named = false;
	list = translate_must(calloc(keys->n_named + 1, sizeof(*list)));
	for (size_t i = 0; i < keys->n_named; i++)
		if (keys->named[i]->n_readers)
			list[n++] = copy(keys->named[i]);
	qsort(list, n, sizeof(*list), compare);
	differs = n != tr->n_references;
	for (size_t i = 0; i < n && !differs; i++)
		differs = compare(&list[i], &tr->references[i]) != 0;
	forget(tr->references, tr->n_references);
	tr->references = list;
	tr->n_references = n;
	return differs;
}

void references_fini(struct translator *tr)
{
	forget(tr->references, tr->n_references);
}

const struct named_ref *translator_references(const struct translator *tr, size_t *n)
{
	*n = tr->n_references;
	return tr->references;
}
