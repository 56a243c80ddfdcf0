/* SPDX-License-Identifier: Apache-2.0 */
/* What has changed in the store, by name: see store.h. Bounded: of too much at once it is only known that it was much. */
#include <stdlib.h>
#include <string.h>

#include "kube/store_pvt.h"

void journal_add(struct store *s, const struct kube_object *o, bool matters)
{
	struct journal *j = &s->journal;
	size_t n_ns = strlen(o->ns) + 1;
	size_t n_name = strlen(o->name) + 1;
	char *names;

	if (!j->is_kept || j->is_full)
		return;
	if (j->n == STORE_MAX_JOURNAL) {
		store_clear_journal(s);
		j->is_full = true;
		return;
	}
	names = store_must(malloc(n_ns + n_name));
	memcpy(names, o->ns, n_ns);
	memcpy(names + n_ns, o->name, n_name);
	j->list = store_grow(j->list, j->n, &j->cap, sizeof(*j->list));
	j->list[j->n++] = (struct store_change){.kind = o->kind, .matters = matters, .ns = names, .name = names + n_ns};
}

void store_keep_journal(struct store *s)
{
	s->journal.is_kept = true;
}

const struct store_change *store_journal(const struct store *s, size_t *n)
{
	static const struct store_change none;

	*n = s->journal.n;
	if (s->journal.is_full)
		return NULL;
	return s->journal.n ? s->journal.list : &none;
}

void store_clear_journal(struct store *s)
{
	for (size_t i = 0; i < s->journal.n; i++)
		free((char *)s->journal.list[i].ns);
	s->journal.n = 0;
	s->journal.is_full = false;
}
