/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots of binds with server names, made by hand: so that a test may say all that one may hold, and what none may. */
#ifndef TESTS_NAMES_MODEL_H
#define TESTS_NAMES_MODEL_H

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "route/route.h"

#define NAMES_MAX 24 /* of one bind */

struct names_entry {
	const char *host; /* "", "a.example", "*.example" */
	bool is_one_label;
	uint8_t profile;
	uint32_t n_certs;
	uint32_t listener;
};

struct names_bind {
	uint8_t addr; /* last byte of the address; 0: any */
	uint16_t port;
	uint8_t proto;
	uint32_t n_listeners; /* the first one of any host, the others of hosts of one letter */
	uint32_t n_names;
	struct names_entry names[NAMES_MAX];
};

struct names_parts {
	uint32_t n_strings, n_binds, n_listeners, n_names, n_certs, n_slots;
	char strings[4096];
	struct weir_bind binds[4];
	struct weir_listener listeners[16];
	struct weir_server_name names[4 * NAMES_MAX];
	struct weir_cert_id certs[4 * NAMES_MAX * WEIR_MAX_CERTS_OF_NAME];
	struct weir_slot slots[1024];
};

static inline struct weir_str names_string(struct names_parts *p, const char *s)
{
	struct weir_str at = {p->n_strings, (uint32_t)strlen(s)};

	assert(at.off + at.len < sizeof(p->strings));
	memcpy(p->strings + at.off, s, at.len);
	p->n_strings += at.len;
	return at;
}

/* A table of listeners, or of names. */
static inline struct weir_range names_table(struct names_parts *p, uint64_t seed, struct weir_range entries, bool is_names)
{
	struct weir_range t = {p->n_slots, entries.count ? 2 : 0};

	while (t.count / 2 < entries.count)
		t.count *= 2;
	p->n_slots += t.count;
	assert(p->n_slots <= sizeof(p->slots) / sizeof(*p->slots));
	memset(p->slots + t.first, 0, t.count * sizeof(*p->slots));
	for (uint32_t i = 0; i < entries.count; i++) {
		struct weir_str host = is_names ? p->names[entries.first + i].host : p->listeners[entries.first + i].host;
		uint8_t kind = is_names ? p->names[entries.first + i].host_kind : p->listeners[entries.first + i].host_kind;
		uint32_t h = (uint32_t)route_key_hash(seed, kind, slice_of(p->strings + host.off, host.len));
		uint32_t at = h & (t.count - 1);

		while (p->slots[t.first + at].index_plus1)
			at = (at + 1) & (t.count - 1);
		p->slots[t.first + at] = (struct weir_slot){h, i + 1};
	}
	return t;
}

static inline void names_add(struct names_parts *p, const struct names_entry *e)
{
	struct weir_server_name *to = &p->names[p->n_names++];
	bool is_wildcard = strncmp(e->host, "*.", 2) == 0;

	to->host = names_string(p, e->host + (is_wildcard ? 2 : 0));
	to->host_kind = e->host[0] ? WEIR_HOST_EXACT : WEIR_HOST_ANY;
	if (is_wildcard)
		to->host_kind = e->is_one_label ? WEIR_HOST_WILDCARD_ONE : WEIR_HOST_WILDCARD;
	to->profile = e->profile;
	to->listener = e->listener;
	to->client_auth = WEIR_NONE;
	to->certs = (struct weir_range){p->n_certs, e->n_certs};
	for (uint32_t i = 0; i < e->n_certs; i++, p->n_certs++)
		p->certs[p->n_certs] = (struct weir_cert_id){{p->n_certs + 1, 7}};
}

static inline void names_add_bind(struct names_parts *p, const struct names_bind *b)
{
	struct weir_bind *to = &p->binds[p->n_binds++];

	to->addr.b[15] = b->addr;
	to->port = b->port;
	to->proto = b->proto;
	to->listeners = (struct weir_range){p->n_listeners, b->n_listeners};
	to->names = (struct weir_range){p->n_names, b->n_names};
	for (uint32_t i = 0; i < b->n_listeners; i++) {
		struct weir_listener *l = &p->listeners[p->n_listeners++];

		l->host = names_string(p, i ? (char[]){(char)('a' + i), 0} : "");
		l->host_kind = i ? WEIR_HOST_EXACT : WEIR_HOST_ANY;
	}
	for (uint32_t i = 0; i < b->n_names; i++)
		names_add(p, &b->names[i]);
}

static inline void names_seal(struct weir_snapshot *s)
{
	s->checksum = hash64_zeroed(s, s->size, offsetof(struct weir_snapshot, checksum), 8, 0);
}

static inline void names_put(struct weir_snapshot *s, enum weir_section what, const void *p, uint32_t count, size_t size)
{
	s->sect[what] = (struct weir_section_ref){s->size, count};
	memcpy((char *)s + s->size, p, count * size);
	s->size += (uint32_t)((count * size + 7) / 8 * 8);
}

/* Binds in their order. To be freed; its size stands in it. */
static inline struct weir_snapshot *names_compile(const struct names_bind *binds, size_t n_binds, uint64_t hash_seed)
{
	struct names_parts *p = calloc(1, sizeof(*p));
	struct weir_snapshot *s = calloc(1, sizeof(*s) + sizeof(*p));
	struct weir_snapshot *out;

	assert(p && s && n_binds <= 4);
	for (size_t i = 0; i < n_binds; i++)
		names_add_bind(p, &binds[i]);
	for (size_t i = 0; i < n_binds; i++) {
		p->binds[i].slots = names_table(p, hash_seed, p->binds[i].listeners, false);
		p->binds[i].name_slots = names_table(p, hash_seed, p->binds[i].names, true);
	}
	for (uint32_t i = 0; i < p->n_listeners; i++)
		p->listeners[i].slots.first = p->n_slots;
	*s = (struct weir_snapshot){.magic = WEIR_SNAPSHOT_MAGIC, .abi_major = WEIR_ABI_MAJOR, .abi_minor = WEIR_ABI_MINOR,
				    .size = sizeof(*s), .generation = 1, .hash_seed = hash_seed};
	names_put(s, WEIR_SECT_STRINGS, p->strings, p->n_strings, 1);
	names_put(s, WEIR_SECT_BINDS, p->binds, p->n_binds, sizeof(*p->binds));
	names_put(s, WEIR_SECT_LISTENERS, p->listeners, p->n_listeners, sizeof(*p->listeners));
	for (unsigned i = WEIR_SECT_VHOSTS; i < WEIR_SECT_SLOTS; i++)
		names_put(s, i, p, 0, 0);
	names_put(s, WEIR_SECT_SLOTS, p->slots, p->n_slots, sizeof(*p->slots));
	names_put(s, WEIR_SECT_LENGTHS, p, 0, 0);
	names_put(s, WEIR_SECT_NAMES, p->names, p->n_names, sizeof(*p->names));
	names_put(s, WEIR_SECT_CERTS, p->certs, p->n_certs, sizeof(*p->certs));
	for (unsigned i = WEIR_SECT_CLIENT_AUTHS; i < WEIR_N_SECTIONS; i++)
		names_put(s, i, p, 0, 0);
	names_seal(s);
	free(p);
	out = realloc(s, s->size); /* of just its size: a sanitizer sees one byte too far */
	assert(out);
	return out;
}

#endif
