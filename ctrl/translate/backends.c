/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The backends that are referred to, each a unit: its settings and endpoints
 * follow its Service and the slices of that. A slot stays the same as long as
 * somebody has it; free ones are holes in model.backends.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "translate/translator_pvt.h"

#define VIA "@" /* in a name: of whom the client certificate is */
#define THROUGH VIA "passthrough"

/* Its name within the namespace, and its own copies of the texts. */
static struct unit *backend_create(struct translator *tr, struct key *k, const char *service, uint16_t port,
				   const struct kube_object *via)
{
	struct backend_table *b = &tr->backends;
	struct unit *u = translate_must(calloc(1, sizeof(*u)));
	struct model_backend *m;

	if (b->n_free) {
		u->slot = b->free[--b->n_free];
	} else {
		b->slots = translate_grow(b->slots, b->n, &b->cap, sizeof(struct unit *));
		u->slot = (uint32_t)b->n++;
		model_add_backend(&tr->all);
	}
	u->what = UNIT_BACKEND;
	u->key = k;
	u->port = port;
	if (asprintf(&u->text, "%s/%s", k->ns, k->name) < 0)
		u->text = translate_must(NULL);
	u->service = translate_must(strdup(service));
	u->via_ns = via ? translate_must(strdup(via->ns)) : NULL;
	u->via_name = via ? translate_must(strdup(via->name)) : NULL;
	b->slots[u->slot] = k->unit = u;
	m = &tr->all.backends[u->slot];
	*m = (struct model_backend){.name = u->text, .id = hash_backend(u->text)};
	unit_mark(tr, u);
	return u;
}

uint32_t backend_use(struct translation *t, const char *ns, const char *service, uint16_t port, bool is_tls)
{
	struct translator *tr = t->translator;
	struct unit *user = t->unit;
	const bool is_through = is_tls && t->is_passthrough; /* without a policy it is the same backend for all */
	const struct kube_object *via = is_tls && t->via && !is_through ? t->via->o : NULL;
	struct key *k;
	char name[640];

	if (is_through)
		snprintf(name, sizeof(name), "%.253s:%u" THROUGH, service, port);
	else if (via)
		snprintf(name, sizeof(name), "%.253s:%u" VIA "%.63s/%.253s", service, port, via->ns, via->name);
	else
		snprintf(name, sizeof(name), "%.253s:%u", service, port);
	k = key_get(&tr->keys, KEY_BACKEND, ns, name);
	if (!k->unit)
		backend_create(tr, k, service, port, via);
	k->unit->is_tls = is_tls && !is_through;
	k->unit->is_through = is_through;
	if (k->unit->used_turn == tr->turn)
		return k->unit->slot;
	k->unit->used_turn = tr->turn;
	user->backends = translate_grow(user->backends, user->n_backends, &user->cap_backends, sizeof(*user->backends));
	user->backends[user->n_backends++] = k->unit->slot;
	k->unit->n_users++;
	return k->unit->slot;
}

uint32_t backend_use_via(struct translation *t, uint32_t slot)
{
	const struct unit *u = t->translator->backends.slots[slot];

	return u->is_tls ? backend_use(t, u->key->ns, u->service, (uint16_t)u->port, true) : slot;
}

void backends_drop(struct translation *t, struct unit *u)
{
	struct translator *tr = t->translator;

	for (size_t i = 0; i < u->n_backends; i++) {
		if (--tr->backends.slots[u->backends[i]]->n_users > 0)
			continue;
		tr->idle = translate_grow(tr->idle, tr->n_idle, &tr->cap_idle, sizeof(*tr->idle));
		tr->idle[tr->n_idle++] = u->backends[i];
	}
	u->n_backends = 0;
}

bool backends_free_idle(struct translator *tr)
{
	bool any = false;

	for (size_t i = 0; i < tr->n_idle; i++) {
		struct backend_table *b = &tr->backends;
		struct unit *u = b->slots[tr->idle[i]];

		if (!u || u->n_users > 0) /* it is freed already, or in use again */
			continue;
		b->slots[u->slot] = NULL;
		b->free = translate_grow(b->free, b->n_free, &b->cap_free, sizeof(*b->free));
		b->free[b->n_free++] = u->slot;
		if (u->slot < tr->all.n_backends) /* else the whole was given away */
			tr->all.backends[u->slot] = (struct model_backend){.name = NULL};
		unit_destroy(tr, u);
		any = true;
	}
	tr->n_idle = 0;
	return any;
}

void backend_use_name(struct translator *tr, struct unit *u, const char *name)
{
	struct key *was = u->external;
	struct key *k = name ? key_get(&tr->keys, KEY_NAME, "", name) : NULL;

	if (k == was)
		return;
	u->external = k;
	tr->has_other_names = true;
	if (k && k->n_users++ == 0) {
		tr->names = translate_grow(tr->names, tr->n_names, &tr->cap_names, sizeof(struct key *));
		k->place = tr->n_names;
		tr->names[tr->n_names++] = k;
	}
	if (was && --was->n_users == 0) {
		tr->names[was->place] = tr->names[--tr->n_names];
		tr->names[was->place]->place = was->place;
		key_release(&tr->keys, was);
	}
}

void external_depend(struct translation *t, const char *name)
{
	depend_on(t, KEY_NAME, "", name);
	depend_on(t, KEY_OWN, "", "");
}

static bool texts_differ(const char *a, const char *b)
{
	return !a || !b ? a != b : strcmp(a, b) != 0;
}

static bool settings_differ(const struct model_balance *a, const struct model_balance *b)
{
	return memcmp(&a->fixed, &b->fixed, sizeof(a->fixed)) != 0 || texts_differ(a->hash_name, b->hash_name) ||
	       texts_differ(a->cookie_name, b->cookie_name) || texts_differ(a->cookie_path, b->cookie_path);
}

static void read_endpoints(struct translation *t, const struct unit *u, const struct kube_object *service,
			   struct model_backend *b)
{
	const struct key *group = key_find(&t->translator->keys, KEY_SLICES, service->ns, service->name);
	size_t n = group ? group->n_members : 0;
	const struct kube_object **slices = translate_must(calloc(n + 1, sizeof(*slices)));

	for (size_t i = 0; i < n; i++)
		slices[i] = store_get(t->store, KUBE_ENDPOINT_SLICE, service->ns, group->members[i]->key->name);
	b->endpoints = endpoints_collect(t, service, (uint16_t)u->port, slices, n, &b->n_endpoints);
	free(slices);
}

/*
 * Who referred to it has looked whether TLS can be spoken as its policy has it. Should that not be so any more, nobody is
 * trusted: it is never spoken to in the clear.
 */
static const struct model_backend_tls *read_tls(struct translation *t, const struct unit *u, const struct node *port)
{
	static const struct model_backend_tls nobody = {.host = "invalid"};
	const char *port_name = node_str(node_get(port, "name"));
	const struct kube_object *policy = policy_find(t, NULL, u->key->ns, u->service, port_name ? port_name : "");
	const struct gateway *g = NULL;
	size_t n_problems = t->m->n_problems;
	struct model_backend_tls *tls;

	if (!policy)
		return u->is_tls ? &nobody : NULL;
	if (backend_tls_fault(t, policy, false).text)
		return &nobody;
	tls = backend_tls_read(t, policy);
	t->m->n_problems = n_problems; /* the policy's own unit has them */
	if (u->via_name) {
		depend_on(t, KEY_CLIENT, u->via_ns, u->via_name);
		g = gateway_search(t->gateways, t->n_gateways, u->via_ns, u->via_name);
	}
	tls->client = g ? g->client : NULL;
	if (tls->client)
		model_hold(t->m, tls->client);
	return tls;
}

void backend_read(struct translation *t, struct unit *u, bool *has_other_settings, bool *has_other_endpoints)
{
	struct model_backend *b = &t->translator->all.backends[u->slot];
	const struct model_backend was = *b;
	const struct kube_object *service = store_get(t->store, KUBE_SERVICE, u->key->ns, u->service);

	depend_on(t, KEY_SLICES, u->key->ns, u->service);
	*b = (struct model_backend){.name = u->text, .id = was.id};
	if (service && is_usable(t, service)) {
		const struct node *port = backend_port(t, service, "TCP", u->port, "");

		balance_read(t, service, &b->balance);
		b->tls = u->is_through ? NULL : read_tls(t, u, port);
		if (external_is(service))
			external_read(t, service, port, (uint16_t)u->port, b);
		else
			read_endpoints(t, u, service, b);
	}
	backend_use_name(t->translator, u, t->options->names ? b->external : NULL);
	*has_other_settings = settings_differ(&was.balance, &b->balance) || backend_tls_differs(was.tls, b->tls);
	*has_other_endpoints = was.is_pending != b->is_pending || was.n_endpoints != b->n_endpoints ||
			       (b->n_endpoints && memcmp(was.endpoints, b->endpoints, b->n_endpoints * sizeof(*b->endpoints)) != 0);
}
