/* SPDX-License-Identifier: Apache-2.0 */
/* Within translate/: a snapshot while it is compiled, for compile.c and compile_names.c. */
#ifndef TRANSLATE_COMPILE_PVT_H
#define TRANSLATE_COMPILE_PVT_H

#include "translate/compile.h"
#include "translate/place_pvt.h"

/* A section while it grows. */
struct grown {
	char *p;
	size_t n, cap, size; /* in elements; bytes of one */
};

struct string_slot {
	uint32_t off, len;
	uint32_t hash; /* 0: empty */
};

struct compiler {
	struct model *m;
	bool no_memory;
	struct grown sect[WEIR_N_SECTIONS];
	struct string_slot *strings; /* what has been stored, by hash */
	size_t n_strings, cap_strings;
	uint64_t secret; /* of their hashes */
	struct place *places;
	const struct place **matches; /* sorted */
	size_t n_matches;
	uint32_t *backend_order; /* model index > index in BACKENDS */
	const struct model_listener **listeners; /* sorted, without those in conflict */
	size_t n_listeners;
	uint32_t *ranks; /* listener of the model > index in LISTENERS; WEIR_NONE: it is left out */
	const struct model_client_auth **auths; /* as CLIENT_AUTHS has them */
	uint64_t hash_seed; /* of the look-up tables */
	bool has_long_chain; /* a key in them would not be found */
};

/* ---- compile.c: no memory is noted, and nothing is pushed then */

/* n zeroed entries, one after the other. NULL without memory. */
void *compile_push(struct compiler *c, enum weir_section id, size_t n);
/* The string's place; equal strings share one. */
struct weir_str compile_intern(struct compiler *c, const char *text, size_t n);

/* The entries of a section so far, and one of them. */
#define compile_count(c, section) ((uint32_t)(c)->sect[WEIR_SECT_##section].n)
#define compile_at(c, section, type, i) ((type *)(void *)((c)->sect[WEIR_SECT_##section].p) + (i))

/* ---- compile_tls.c: what is asked of clients, and TLS to backends; the latter's certificates follow those of the names */
uint32_t compile_client_auth(struct compiler *c, const struct model_client_auth *auth); /* in CLIENT_AUTHS; without CERTS yet */
/* NULL: clients are not asked. */
bool compile_is_same_auth(const struct model_client_auth *a, const struct model_client_auth *b);
void compile_trust(struct compiler *c);

/* The dataplane does not take it, which is reported: nobody else's routes are to wait for that. compile_names.c */
bool compile_is_refused(struct compiler *c, const struct certificate *x);

/* ---- compile_names.c: server names and their certificates, once binds and listeners are there */
void compile_names(struct compiler *c);

#endif
