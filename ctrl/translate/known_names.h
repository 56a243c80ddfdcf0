/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What DNS says of the names of Services of type ExternalName: beside the
 * store, the other input of the translation. Who looks names up writes it
 * (resolve/), translate() reads it.
 */
#ifndef TRANSLATE_KNOWN_NAMES_H
#define TRANSLATE_KNOWN_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/types.h"

#define KNOWN_NAME_ADDRS_MAX 16u /* of a name, both families together */
#define KNOWN_NAMES_MAX 1024u	 /* that are looked up */

enum known_state {
	NAME_PENDING,	 /* no answer yet: what is served stays */
	NAME_ANSWERED,
	NAME_KEPT,	 /* the name servers fail: these are the addresses of the last answer */
	NAME_NOT_FOUND,	 /* there is no such name */
	NAME_NO_ADDRESS, /* there is, and it has none */
	NAME_FAILED,	 /* no answer for so long that what was known counts no more */
	NAME_NOT_ASKED,	 /* KNOWN_NAMES_MAX others are looked up */
};

struct known_name {
	enum known_state state;
	const char *why; /* how the name servers fail, a text that lives on; NULL: they do not */
	bool has_more;	 /* addresses than are kept here */
	size_t n;
	struct weir_ip addrs[KNOWN_NAME_ADDRS_MAX]; /* sorted, no two alike */
};

struct known_names;

struct known_names *known_names_create(void);
void known_names_destroy(struct known_names *k);
/* NULL: nobody has said anything of it. Valid until the table changes. */
const struct known_name *known_names_get(const struct known_names *k, const char *name);
/* What is known of a name now; noted as a change, if it is one. Ends the process without memory. */
void known_names_set(struct known_names *k, const char *name, const struct known_name *v);
/* Nobody asks for it any more: no change for anybody. */
void known_names_remove(struct known_names *k, const char *name);
/* Of which something else is known than at the last known_names_clear_changes(). */
const char *const *known_names_changes(const struct known_names *k, size_t *n);
void known_names_clear_changes(struct known_names *k);
/* In a word, as "answered", "not-found". */
const char *known_state_name(enum known_state state);

#endif
