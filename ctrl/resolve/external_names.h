/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names of ExternalName Services in use, and their addresses as they are
 * now: the resolver, the lookups, and the table that the translation reads.
 */
#ifndef RESOLVE_EXTERNAL_NAMES_H
#define RESOLVE_EXTERNAL_NAMES_H

#include "resolve/resolver.h"

struct external_names;

/* families: RESOLVE_IP4 and the like; servers as dns_create() has them. NULL after logging. */
struct external_names *external_names_create(unsigned families, const char *servers, uint64_t seed);
void external_names_destroy(struct external_names *e);
int external_names_fd(const struct external_names *e);
struct known_names *external_names_known(const struct external_names *e);
/* As resolver_want(). */
void external_names_want(struct external_names *e, const char *const *names, size_t n, uint64_t now_ms);
/* Asks, and takes answers; the table has the changes. Returns when to call it again, UINT64_MAX: never by itself. */
uint64_t external_names_poll(struct external_names *e, uint64_t now_ms);
void external_names_status(const struct external_names *e, uint64_t now_ms, struct resolver_status *out);

#endif
