/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lookups in DNS by c-ares, over sockets of its own behind one descriptor.
 * Nothing here blocks, and no thread is made.
 */
#ifndef RESOLVE_DNS_H
#define RESOLVE_DNS_H

#include "resolve/resolver.h"

/* A server is waited for this long at first, then twice and four times as long. */
#define DNS_TIMEOUT_MS 1000
#define DNS_TRIES 3

struct dns;

typedef void dns_answer_fn(void *ctx, void *lookup, const struct resolve_answer *a);

/*
 * servers: as "192.0.2.53,[2001:db8::53]:5353"; NULL: those of /etc/resolv.conf, which is read again when it has changed.
 * NULL, and why, if that cannot be.
 */
struct dns *dns_create(const char *servers, dns_answer_fn *answered, void *ctx, const char **why);
/* What is under way is not answered any more. */
void dns_destroy(struct dns *d);
/* Readable when dns_poll() has something to do, beside its time. */
int dns_fd(const struct dns *d);
/* A or AAAA records of a name, which is taken as fully qualified: no search domains, no hosts file. A resolver_ask_fn. */
void dns_ask(void *d, const char *name, bool is_ip6, void *lookup);
/* Answers what is known by now. Returns when to call it again; UINT64_MAX: when the descriptor says so. */
uint64_t dns_poll(struct dns *d, uint64_t now_ms);

#endif
