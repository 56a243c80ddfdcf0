/* SPDX-License-Identifier: Apache-2.0 */
/* Keys by name, and who depends on them. See units.h. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "translate/units.h"

static uint64_t hash_of(unsigned kind, const char *ns, const char *name)
{
	return hash_keyed(name, strlen(name), hash_keyed(ns, strlen(ns), kind));
}

static struct key **slot_of(const struct key_table *t, uint64_t hash, unsigned kind, const char *ns, const char *name)
{
	struct key **at = &t->buckets[hash & (t->n_buckets - 1)];

	while (*at && ((*at)->hash != hash || (*at)->kind != kind || strcmp((*at)->name, name) != 0 || strcmp((*at)->ns, ns) != 0))
		at = &(*at)->chain;
	return at;
}

struct key *key_find(const struct key_table *t, unsigned kind, const char *ns, const char *name)
{
	return t->n_buckets ? *slot_of(t, hash_of(kind, ns, name), kind, ns, name) : NULL;
}

static void grow(struct key_table *t)
{
	size_t n = t->n_buckets ? t->n_buckets * 2 : 256;
	struct key **buckets = translate_must(calloc(n, sizeof(struct key *)));

	for (size_t i = 0; i < t->n_buckets; i++)
		while (t->buckets[i]) {
			struct key *k = t->buckets[i];

			t->buckets[i] = k->chain;
			k->chain = buckets[k->hash & (n - 1)];
			buckets[k->hash & (n - 1)] = k;
		}
	free(t->buckets);
	t->buckets = buckets;
	t->n_buckets = n;
}

static bool is_named(const struct key *k)
{
	return k->kind < KUBE_N_KINDS && kube_kind_is_named((enum kube_kind)k->kind);
}

static void named_add(struct key_table *t, struct key *k)
{
	t->named = translate_grow(t->named, t->n_named, &t->cap_named, sizeof(struct key *));
	k->named_at = t->n_named;
	t->named[t->n_named++] = k;
}

static void named_drop(struct key_table *t, const struct key *k)
{
	t->named[k->named_at] = t->named[--t->n_named];
	t->named[k->named_at]->named_at = k->named_at;
}

struct key *key_get(struct key_table *t, unsigned kind, const char *ns, const char *name)
{
	size_t n_ns = strlen(ns) + 1;
	size_t n_name = strlen(name) + 1;
	uint64_t hash = hash_of(kind, ns, name);
	struct key **at;
	struct key *k;
	char *text;

	if (t->n >= t->n_buckets)
		grow(t);
	at = slot_of(t, hash, kind, ns, name);
	if (*at)
		return *at;
	k = translate_must(calloc(1, sizeof(*k) + n_ns + n_name));
	text = (char *)(k + 1);
	memcpy(text, ns, n_ns);
	memcpy(text + n_ns, name, n_name);
	k->kind = kind;
	k->ns = text;
	k->name = text + n_ns;
	k->hash = hash;
	if (is_named(k))
		named_add(t, k);
	t->n++;
	return *at = k;
}

static void destroy(struct key *k)
{
	free(k->readers);
	free(k->referrers);
	free(k->members);
	free(k);
}

void key_release(struct key_table *t, struct key *k)
{
	struct key **at;

	if (k->unit || k->n_readers || k->n_referrers || k->n_members || k->n_holders || k->n_users)
		return;
	at = slot_of(t, k->hash, k->kind, k->ns, k->name);
	*at = k->chain;
	t->n--;
	if (is_named(k))
		named_drop(t, k);
	destroy(k);
}

void key_table_fini(struct key_table *t)
{
	for (size_t i = 0; i < t->n_buckets; i++)
		while (t->buckets[i]) {
			struct key *k = t->buckets[i];

			t->buckets[i] = k->chain;
			destroy(k);
		}
	free(t->buckets);
	free(t->named);
}

void key_read(struct key_table *t, struct key *k, struct unit *u, uint64_t turn)
{
	if (k->turn == turn || k->unit == u)
		return;
	k->turn = turn;
	t->has_other_named |= k->n_readers == 0 && is_named(k);
	k->readers = translate_grow(k->readers, k->n_readers, &k->cap_readers, sizeof(*k->readers));
	u->reads = translate_grow(u->reads, u->n_reads, &u->cap_reads, sizeof(*u->reads));
	k->readers[k->n_readers] = (struct reader){u, u->n_reads};
	u->reads[u->n_reads++] = (struct read){k, k->n_readers++};
}

void key_forget_reads(struct key_table *t, struct unit *u)
{
	for (size_t i = 0; i < u->n_reads; i++) {
		struct key *k = u->reads[i].key;
		size_t at = u->reads[i].at;

		k->readers[at] = k->readers[--k->n_readers];
		if (at < k->n_readers) /* the last one has taken its place */
			k->readers[at].unit->reads[k->readers[at].at].at = at;
		t->has_other_named |= k->n_readers == 0 && is_named(k);
		key_release(t, k);
	}
	u->n_reads = 0;
}

void key_refer(struct key *k, struct unit *u)
{
	k->referrers = translate_grow(k->referrers, k->n_referrers, &k->cap_referrers, sizeof(*k->referrers));
	u->policies = translate_grow(u->policies, u->n_policies, &u->cap_policies, sizeof(*u->policies));
	k->referrers[k->n_referrers] = (struct reader){u, u->n_policies};
	u->policies[u->n_policies++] = (struct read){k, k->n_referrers++};
}

void key_unrefer(struct key *k, size_t at)
{
	k->referrers[at] = k->referrers[--k->n_referrers];
	if (at < k->n_referrers) /* the last one has taken its place */
		k->referrers[at].unit->policies[k->referrers[at].at].at = at;
}

int key_compare(const struct key *k, const char *ns, const char *name)
{
	int d = strcmp(k->ns, ns);

	return d ? d : strcmp(k->name, name);
}

size_t unit_position(struct unit *const *list, size_t n, const char *ns, const char *name)
{
	size_t lo = 0;
	size_t hi = n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (key_compare(list[mid]->key, ns, name) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}
