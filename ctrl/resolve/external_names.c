/* SPDX-License-Identifier: Apache-2.0 */
#include "resolve/external_names.h"

#include <stdlib.h>

#include "base/log.h"
#include "resolve/dns.h"

struct external_names {
	struct known_names *known;
	struct resolver *resolver;
	struct dns *dns;
	uint64_t now_ms; /* of the poll */
};

static void on_answer(void *ctx, void *lookup, const struct resolve_answer *a)
{
	const struct external_names *e = ctx;

	resolver_answered(e->resolver, lookup, a, e->now_ms);
}

struct external_names *external_names_create(unsigned families, const char *servers, uint64_t seed)
{
	struct external_names *e = calloc(1, sizeof(*e));
	const char *why = "out of memory";

	if (e)
		e->known = known_names_create();
	if (e && e->known)
		e->dns = dns_create(servers, on_answer, e, &why);
	if (e && e->dns)
		e->resolver = resolver_create(&(struct resolver_options){
		    .known = e->known, .families = families, .ask = dns_ask, .ctx = e->dns, .seed = seed});
	if (e && e->resolver)
		return e;
	log_error("names cannot be looked up%s%s: %s", servers ? " at " : "", servers ? servers : "", why);
	external_names_destroy(e);
	return NULL;
}

void external_names_destroy(struct external_names *e)
{
	if (!e)
		return;
	dns_destroy(e->dns);
	resolver_destroy(e->resolver);
	known_names_destroy(e->known);
	free(e);
}

int external_names_fd(const struct external_names *e)
{
	return dns_fd(e->dns);
}

struct known_names *external_names_known(const struct external_names *e)
{
	return e->known;
}

void external_names_want(struct external_names *e, const char *const *names, size_t n, uint64_t now_ms)
{
	resolver_want(e->resolver, names, n, now_ms);
}

uint64_t external_names_poll(struct external_names *e, uint64_t now_ms)
{
	uint64_t next_ms, dns_ms;

	e->now_ms = now_ms;
	dns_poll(e->dns, now_ms);
	resolver_poll(e->resolver, now_ms);
	dns_ms = dns_poll(e->dns, now_ms); /* what was asked just now has its time, and may be answered already */
	next_ms = resolver_next_ms(e->resolver);
	return dns_ms < next_ms ? dns_ms : next_ms;
}

void external_names_status(const struct external_names *e, uint64_t now_ms, struct resolver_status *out)
{
	resolver_status(e->resolver, now_ms, out);
}
