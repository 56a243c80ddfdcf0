/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which Gateway has an address, port and host name first. The Gateway API lets
 * Gateways share addresses as long as their listeners are distinct; within one
 * Gateway it forbids to pick a winner among those that are not. Across
 * namespaces that would let anybody end what somebody else serves, so there the
 * older Gateway keeps it, as among ListenerSets. Gateways of one namespace share.
 * A port has one protocol, that of the oldest, in whatever namespace; and so has a host name on it one way to be carried,
 * since HTTPS, and TLS with its modes, are told apart by nothing else.
 */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "translate/translate_pvt.h"

/* host NULL: of the port. */
static struct claim *slot_of(const struct translation *t, const struct weir_ip *addr, uint16_t port, const char *host)
{
	const struct claims *c = &t->claims;
	uint64_t h = hash_keyed(addr->b, sizeof(addr->b), port);
	size_t i = (host ? hash_keyed(host, strlen(host), h) : h) & (c->n_slots - 1);

	for (; c->slots[i].listener_plus1; i = (i + 1) & (c->n_slots - 1)) {
		const struct model_listener *l = &t->m->listeners[c->slots[i].listener_plus1 - 1];

		if (c->slots[i].is_port == !host && l->port == port && memcmp(&l->addr, addr, sizeof(*addr)) == 0 &&
		    (!host || strcmp(l->host, host) == 0))
			break;
	}
	return &c->slots[i];
}

const struct gateway *claim_of_other(const struct translation *t, const struct gateway *g, const struct section *s)
{
	const struct gateway *own = g->parent ? g->parent : g;

	for (size_t i = 0; t->claims.n && i < g->n_addrs; i++) {
		const struct claim *c = slot_of(t, &g->addrs[i], s->port, s->host);

		if (c->listener_plus1 && strcmp(c->owner->o->ns, own->o->ns) != 0)
			return c->owner;
	}
	return NULL;
}

const struct claim *claim_of_protocol(const struct translation *t, const struct gateway *g, const struct section *s)
{
	const struct carriage *own = section_carriage(s);

	for (size_t i = 0; t->claims.n && i < g->n_addrs; i++) {
		const struct claim *port = slot_of(t, &g->addrs[i], s->port, NULL);
		const struct claim *place = slot_of(t, &g->addrs[i], s->port, s->host);

		if (port->listener_plus1 && t->m->listeners[port->listener_plus1 - 1].proto != own->proto)
			return port;
		if (place->listener_plus1 && (t->m->listeners[place->listener_plus1 - 1].kind != own->kind ||
					      place->is_passthrough != s->is_passthrough))
			return place;
	}
	return NULL;
}

static void grow(struct translation *t)
{
	struct claims old = t->claims;

	t->claims.n_slots = old.n_slots ? old.n_slots * 2 : 64;
	t->claims.slots = translate_must(calloc(t->claims.n_slots, sizeof(*t->claims.slots)));
	for (size_t i = 0; i < old.n_slots; i++) {
		const struct model_listener *l;

		if (!old.slots[i].listener_plus1)
			continue;
		l = &t->m->listeners[old.slots[i].listener_plus1 - 1];
		*slot_of(t, &l->addr, l->port, old.slots[i].is_port ? NULL : l->host) = old.slots[i];
	}
	free(old.slots);
}

static void add(struct translation *t, const struct gateway *g, const struct section *s, size_t listener, bool is_port)
{
	const struct model_listener *l = &t->m->listeners[listener];
	struct claim *c = slot_of(t, &l->addr, l->port, is_port ? NULL : l->host);

	if (c->listener_plus1)
		return;
	*c = (struct claim){(uint32_t)listener + 1, is_port, s->is_passthrough, g->parent ? g->parent : g};
	t->claims.n++;
}

void claim_add(struct translation *t, const struct gateway *g, const struct section *s, size_t listener)
{
	if (2 * (t->claims.n + 2) > t->claims.n_slots)
		grow(t);
	add(t, g, s, listener, false);
	add(t, g, s, listener, true);
}

void claims_fini(struct translation *t)
{
	free(t->claims.slots);
	t->claims = (struct claims){0};
}
