/* SPDX-License-Identifier: Apache-2.0 */
#include "translate/known_names.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "translate/translate_pvt.h"

#define N_BUCKETS 1024u /* about one name in each; those beyond KNOWN_NAMES_MAX are as many as their owners like */

struct entry {
	struct known_name known;
	struct entry *chain;
	bool is_noted; /* among the changes */
	char name[];
};

struct known_names {
	struct entry *buckets[N_BUCKETS];
	const char **changes;
	size_t n_changes, cap_changes;
};

struct known_names *known_names_create(void)
{
	return calloc(1, sizeof(struct known_names));
}

void known_names_destroy(struct known_names *k)
{
	if (!k)
		return;
	for (size_t i = 0; i < N_BUCKETS; i++)
		while (k->buckets[i]) {
			struct entry *e = k->buckets[i];

			k->buckets[i] = e->chain;
			free(e);
		}
	free(k->changes);
	free(k);
}

static struct entry **slot_of(const struct known_names *k, const char *name)
{
	struct entry **at = (struct entry **)&k->buckets[hash64(name, strlen(name), 0) % N_BUCKETS];

	while (*at && strcmp((*at)->name, name) != 0)
		at = &(*at)->chain;
	return at;
}

const struct known_name *known_names_get(const struct known_names *k, const char *name)
{
	const struct entry *e = *slot_of(k, name);

	return e ? &e->known : NULL;
}

static bool is_same(const struct known_name *a, const struct known_name *b)
{
	return a->state == b->state && a->why == b->why && a->has_more == b->has_more && a->n == b->n &&
	       memcmp(a->addrs, b->addrs, a->n * sizeof(*a->addrs)) == 0;
}

void known_names_set(struct known_names *k, const char *name, const struct known_name *v)
{
	struct entry **at = slot_of(k, name), *e = *at;

	if (e && is_same(&e->known, v))
		return;
	if (!e) {
		*at = e = translate_must(calloc(1, sizeof(*e) + strlen(name) + 1));
		memcpy(e->name, name, strlen(name) + 1);
	}
	e->known = *v;
	if (e->is_noted)
		return;
	e->is_noted = true;
	k->changes = translate_grow(k->changes, k->n_changes, &k->cap_changes, sizeof(*k->changes));
	k->changes[k->n_changes++] = e->name;
}

void known_names_remove(struct known_names *k, const char *name)
{
	struct entry **at = slot_of(k, name), *e = *at;

	if (!e)
		return;
	for (size_t i = 0; e->is_noted && i < k->n_changes; i++)
		if (k->changes[i] == e->name) {
			k->changes[i] = k->changes[--k->n_changes];
			break;
		}
	*at = e->chain;
	free(e);
}

const char *const *known_names_changes(const struct known_names *k, size_t *n)
{
	*n = k->n_changes;
	return k->changes;
}

void known_names_clear_changes(struct known_names *k)
{
	for (size_t i = 0; i < k->n_changes; i++)
		(*slot_of(k, k->changes[i]))->is_noted = false;
	k->n_changes = 0;
}

const char *known_state_name(enum known_state state)
{
	static const char *const names[] = {"pending", "answered", "kept", "not-found", "no-address", "failed", "not-asked"};

	return names[state];
}
