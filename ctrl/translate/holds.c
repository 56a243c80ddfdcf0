/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What units are known by to others: keys that several hold at a time, policies that they meet, slices of a Service, and
 * policies of a target. Whoever asks for one of these depends on it, and hears of each change.
 */
#include <stdlib.h>
#include <string.h>

#include "translate/translator_pvt.h"

/* The unit is one of those that have this; whoever asks for it hears of the first and of the last one. */
static void hold(struct translation *t, unsigned kind, const char *ns, const char *name)
{
	struct key *k = key_get(&t->translator->keys, kind, ns, name);
	struct unit *u = t->unit;

	if (k->met_turn == t->translator->turn)
		return;
	k->met_turn = t->translator->turn;
	u->held = translate_grow(u->held, u->n_held, &u->cap_held, sizeof(struct key *));
	u->held[u->n_held++] = k;
	if (k->n_holders++ == 0)
		touch(t->translator, kind, ns, name);
}

static bool is_held(struct translation *t, unsigned kind, const char *ns, const char *name)
{
	depend_on(t, kind, ns, name);
	return key_find(&t->translator->keys, kind, ns, name)->n_holders > 0;
}

void ingress_add_root(struct translation *t, const char *host)
{
	hold(t, KEY_ROOT, "", host);
}

bool ingress_has_root(struct translation *t, const char *host)
{
	return is_held(t, KEY_ROOT, "", host);
}

void grant_add(struct translation *t, const char *ns, const char *what)
{
	hold(t, KEY_GRANT, ns, what);
}

bool grant_is_there(struct translation *t, const char *ns, const char *what)
{
	return is_held(t, KEY_GRANT, ns, what);
}

void holds_drop(struct translator *tr, struct unit *u)
{
	for (size_t i = 0; i < u->n_held; i++) {
		struct key *k = u->held[i];

		if (--k->n_holders > 0)
			continue;
		touch(tr, k->kind, k->ns, k->name);
		key_release(&tr->keys, k);
	}
	u->n_held = 0;
}

void policy_meet(struct translation *t, const struct kube_object *policy)
{
	struct key *k = key_get(&t->translator->keys, KEY_POLICY, policy->ns, policy->name);

	if (k->met_turn == t->translator->turn)
		return;
	k->met_turn = t->translator->turn;
	key_refer(k, t->unit);
	touch(t->translator, KEY_POLICY, policy->ns, policy->name);
}

void policies_drop(struct translator *tr, struct unit *u)
{
	while (u->n_policies) {
		struct read last = u->policies[--u->n_policies];

		key_unrefer(last.key, last.at);
		touch(tr, KEY_POLICY, last.key->ns, last.key->name);
		key_release(&tr->keys, last.key);
	}
}

static void member_add(struct key *k, struct unit *u)
{
	size_t at = unit_position(k->members, k->n_members, u->key->ns, u->key->name);

	k->members = translate_grow(k->members, k->n_members, &k->cap_members, sizeof(struct unit *));
	memmove(k->members + at + 1, k->members + at, (k->n_members - at) * sizeof(struct unit *));
	k->members[at] = u;
	k->n_members++;
}

static void member_drop(struct key *k, const struct unit *u)
{
	size_t at = unit_position(k->members, k->n_members, u->key->ns, u->key->name);

	memmove(k->members + at, k->members + at + 1, (k->n_members - at - 1) * sizeof(struct unit *));
	k->n_members--;
}

void slices_join(struct translator *tr, struct unit *u, struct key *to)
{
	struct key *from = u->slices;

	if (from == to)
		return;
	u->slices = to;
	if (to) {
		member_add(to, u);
		touch(tr, KEY_SLICES, to->ns, to->name);
	}
	if (from) {
		member_drop(from, u); /* who had it has read it, and hears of the change by that */
		key_release(&tr->keys, from);
	}
}

void target_add(struct translation *t, const struct kube_object *policy, const char *target)
{
	struct key_table *keys = &t->translator->keys;
	struct unit *u = key_find(keys, policy->kind, policy->ns, policy->name)->unit;
	struct key *k = key_get(keys, KEY_TARGET, policy->ns, target);

	for (size_t i = 0; i < u->n_targets; i++)
		if (u->targets[i] == k)
			return;
	u->targets = translate_grow(u->targets, u->n_targets, &u->cap_targets, sizeof(struct key *));
	u->targets[u->n_targets++] = k;
	member_add(k, u);
	touch(t->translator, KEY_TARGET, k->ns, k->name);
}

size_t target_policies(struct translation *t, const char *ns, const char *target, const struct kube_object **list)
{
	const struct key *k;
	size_t n;

	depend_on(t, KEY_TARGET, ns, target);
	k = key_find(&t->translator->keys, KEY_TARGET, ns, target);
	n = k->n_members < POLICIES_MAX ? k->n_members : POLICIES_MAX;
	for (size_t i = 0; i < n; i++)
		list[i] = store_get(t->store, KUBE_BACKEND_TLS_POLICY, ns, k->members[i]->key->name);
	return n;
}

void targets_drop(struct translator *tr, struct unit *u)
{
	while (u->n_targets) {
		struct key *k = u->targets[--u->n_targets];

		member_drop(k, u);
		touch(tr, KEY_TARGET, k->ns, k->name);
		key_release(&tr->keys, k);
	}
}
