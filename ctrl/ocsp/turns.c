/* SPDX-License-Identifier: Apache-2.0 */
#include "ocsp/turns.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

#define N_BUCKETS 1024u

struct tenant {
	TAILQ_ENTRY(tenant) link;
	struct tenant *chain; /* of its bucket */
	unsigned n_refs, n_in_flight;
	STAILQ_HEAD(, waiter) waiting;
	char ns[];
};

struct flight {
	const struct waiter *w;
	uint64_t host;
	struct tenant *tenant; /* got: the waiter may change to another meanwhile */
};

struct turns {
	TAILQ_HEAD(tenants, tenant) tenants; /* who was served the longest time ago comes first */
	struct tenant *buckets[N_BUCKETS];
	struct flight flights[STAPLER_IN_FLIGHT_MAX];
	size_t n_flights;
};

const char *stapler_wait_name(enum stapler_wait w)
{
	static const char *const names[] = {
#define X(id, label, text) label,
	    STAPLER_WAITS(X)
#undef X
	};

	return names[w];
}

const char *stapler_wait_text(enum stapler_wait w)
{
	static const char *const texts[] = {
#define X(id, label, text) text,
	    STAPLER_WAITS(X)
#undef X
	};

	return w == STAPLER_WAIT_NONE ? NULL : texts[w];
}

struct turns *turns_create(void)
{
	struct turns *t = calloc(1, sizeof(*t));

	if (t)
		TAILQ_INIT(&t->tenants);
	return t;
}

void turns_destroy(struct turns *t)
{
	if (!t)
		return;
	while (t->n_flights)
		tenant_put(t, t->flights[--t->n_flights].tenant);
	free(t);
}

static struct tenant **slot_of(struct turns *t, const char *ns)
{
	struct tenant **at = &t->buckets[hash_keyed(ns, strlen(ns), 0) % N_BUCKETS];

	while (*at && strcmp((*at)->ns, ns) != 0)
		at = &(*at)->chain;
	return at;
}

struct tenant *tenant_get(struct turns *t, const char *ns)
{
	struct tenant **at = slot_of(t, ns), *x = *at;

	if (!x) {
		*at = x = calloc(1, sizeof(*x) + strlen(ns) + 1);
		if (!x)
			abort(); /* as the translation does */
		strcpy(x->ns, ns);
		STAILQ_INIT(&x->waiting);
		TAILQ_INSERT_TAIL(&t->tenants, x, link);
	}
	x->n_refs++;
	return x;
}

void tenant_put(struct turns *t, struct tenant *x)
{
	if (!x || --x->n_refs)
		return;
	*slot_of(t, x->ns) = x->chain;
	TAILQ_REMOVE(&t->tenants, x, link);
	free(x);
}

/* ---- rounds */

void turns_wait(struct turns *t, struct waiter *w)
{
	STAILQ_INSERT_TAIL(&w->tenant->waiting, w, next);
}

static bool has_host_room(const struct turns *t, uint64_t host)
{
	unsigned n = 0;

	for (size_t i = 0; i < t->n_flights; i++)
		n += t->flights[i].host == host;
	return n < STAPLER_IN_FLIGHT_OF_HOST;
}

/* The first of this namespace whose responder may be asked is taken out; NULL: there is none. */
static struct waiter *take_first(const struct turns *t, struct tenant *x)
{
	struct waiter *w;

	STAILQ_FOREACH(w, &x->waiting, next)
		if (has_host_room(t, w->host)) {
			STAILQ_REMOVE(&x->waiting, w, waiter, next);
			return w;
		}
	return NULL;
}

static void take_off(struct turns *t, struct tenant *x, struct waiter *w)
{
	t->flights[t->n_flights++] = (struct flight){w, w->host, x};
	x->n_refs++;
	x->n_in_flight++;
	TAILQ_REMOVE(&t->tenants, x, link);
	TAILQ_INSERT_TAIL(&t->tenants, x, link);
}

/* One more for each namespace that has n under way: who has gone is at the end of the list then, with n + 1. */
static void run_level(struct turns *t, unsigned n, turns_go_fn *go, void *ctx)
{
	struct tenant *x, *next;

	for (x = TAILQ_FIRST(&t->tenants); x && t->n_flights < STAPLER_IN_FLIGHT_MAX; x = next) {
		struct waiter *w;

		next = TAILQ_NEXT(x, link);
		if (x->n_in_flight != n)
			continue;
		w = take_first(t, x);
		if (w) {
			take_off(t, x, w);
			go(ctx, w);
		}
	}
}

static enum stapler_wait reason_of(const struct turns *t, const struct tenant *x)
{
	if (x->n_in_flight >= STAPLER_IN_FLIGHT_OF_NAMESPACE)
		return STAPLER_WAIT_NAMESPACE;
	return t->n_flights >= STAPLER_IN_FLIGHT_MAX ? STAPLER_WAIT_TOTAL : STAPLER_WAIT_RESPONDER;
}

void turns_run(struct turns *t, turns_go_fn *go, turns_stay_fn *stay, void *ctx)
{
	struct tenant *x;

	for (unsigned n = 0; n < STAPLER_IN_FLIGHT_OF_NAMESPACE; n++)
		run_level(t, n, go, ctx);
	TAILQ_FOREACH(x, &t->tenants, link) {
		const enum stapler_wait why = reason_of(t, x);
		struct waiter *w;

		while ((w = STAILQ_FIRST(&x->waiting))) {
			STAILQ_REMOVE_HEAD(&x->waiting, next);
			stay(ctx, w, why);
		}
	}
}

void turns_land(struct turns *t, const struct waiter *w)
{
	size_t i = 0;

	while (t->flights[i].w != w)
		i++;
	t->flights[i].tenant->n_in_flight--;
	tenant_put(t, t->flights[i].tenant);
	t->flights[i] = t->flights[--t->n_flights];
}

size_t turns_in_flight(const struct turns *t)
{
	return t->n_flights;
}
