/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Single objects of an API server: see named.h. There may be hundreds, and
 * each event of any kind polls all of them: so when one wants to be polled
 * stands in an array by itself, and the callbacks of its request, which pass
 * through here, say that it is now.
 */
#include "kube/named.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kube/store_pvt.h"

struct one {
	struct named *owner;
	size_t slot;
	struct reflector r;
	struct kube_request asked; /* the reflector's callbacks, of the request under way */
	bool is_beyond, is_begun;
	bool is_asking; /* for its first answer */
	bool is_ill;	/* it might be hurried */
	const char *ns, *name, *fields;
	char texts[];
};

struct slot {
	uint64_t due_ms;
	struct one *one;
};

struct named {
	struct store *store;
	struct reflector_http http;
	uint64_t seed;
	struct slot *slots; /* by kind, namespace and name */
	size_t n;
	size_t *followed; /* those within the bound, of slots */
	size_t n_followed;
	unsigned n_begun, n_asking, n_ill;
	struct reflector_counters past; /* of those that are not followed any more */
};

/* ---- requests, on whose answers the reflector is to be polled ---- */

static struct one *is_due(void *ctx)
{
	struct one *o = ctx;

	o->owner->slots[o->slot].due_ms = 0;
	return o;
}

static void on_headers(void *ctx, int status)
{
	struct one *o = is_due(ctx);

	o->asked.on_headers(o->asked.ctx, status);
}

static void on_data(void *ctx, const void *bytes, size_t n)
{
	struct one *o = is_due(ctx);

	o->asked.on_data(o->asked.ctx, bytes, n);
}

static void on_done(void *ctx, int status, const char *error, uint32_t retry_after_s)
{
	struct one *o = is_due(ctx);

	o->asked.on_done(o->asked.ctx, status, error, retry_after_s);
}

static struct kube_call *request(void *ctx, const struct kube_request *q)
{
	struct one *o = ctx;
	struct kube_request mine = *q;

	o->asked = *q;
	mine.on_headers = on_headers;
	mine.on_data = on_data;
	mine.on_done = on_done;
	mine.ctx = o;
	return o->owner->http.request(o->owner->http.ctx, &mine);
}

static void cancel(void *ctx, struct kube_call *call)
{
	const struct one *o = ctx;

	o->owner->http.cancel(o->owner->http.ctx, call);
}

/* ---- one object ---- */

static struct one *one_create(struct named *n, const struct named_ref *ref)
{
	size_t n_ns = strlen(ref->ns) + 1;
	size_t n_name = strlen(ref->name) + 1;
	size_t n_fields = n_name + sizeof("metadata.name=");
	struct one *o = store_must(calloc(1, sizeof(*o) + n_ns + n_name + n_fields));
	const struct reflector_http http = {.ctx = o, .request = request, .cancel = cancel};

	o->owner = n;
	o->ns = memcpy(o->texts, ref->ns, n_ns);
	o->name = memcpy(o->texts + n_ns, ref->name, n_name);
	o->fields = o->texts + n_ns + n_name;
	snprintf(o->texts + n_ns + n_name, n_fields, "metadata.name=%s", ref->name);
	reflector_init_named(&o->r, ref->kind, o->ns, o->name, o->fields, n->store, &http, ++n->seed);
	return o;
}

static enum store_absence absence_of(const struct one *o)
{
	if (o->is_beyond)
		return STORE_BEYOND;
	if (o->r.is_forbidden)
		return STORE_FORBIDDEN;
	return o->r.is_synced ? STORE_ABSENT : STORE_PENDING;
}

static void count(unsigned *counter, bool *was, bool is)
{
	*counter += is;
	*counter -= *was;
	*was = is;
}

/* After whatever the reflector has done. */
static uint64_t take_changes(struct named *n, struct one *o)
{
	uint64_t mask = reflector_take(&o->r);

	count(&n->n_asking, &o->is_asking, o->r.call && !o->r.is_synced);
	count(&n->n_ill, &o->is_ill, o->r.has_no_answer || o->r.is_ill);
	return mask | store_set_absence(n->store, o->r.kind, o->ns, o->name, absence_of(o));
}

static uint64_t poll_one(struct named *n, size_t i, uint64_t now_ms)
{
	struct one *o = n->slots[i].one;

	n->slots[i].due_ms = reflector_poll(&o->r, now_ms);
	return take_changes(n, o);
}

static void add_counters(struct reflector_counters *to, const struct reflector_counters *from)
{
#define X(name, help) to->name += from->name;
	REFLECTOR_COUNTERS(X)
#undef X
}

/* It is not asked for any more; what is known of it is forgotten. */
static uint64_t stop(struct named *n, struct one *o)
{
	reflector_fini(&o->r);
	count(&n->n_begun, &o->is_begun, false);
	count(&n->n_asking, &o->is_asking, false);
	count(&n->n_ill, &o->is_ill, false);
	return store_remove(n->store, o->r.kind, o->ns, o->name);
}

static void one_destroy(struct named *n, struct one *o)
{
	reflector_fini(&o->r);
	add_counters(&n->past, &o->r.counters);
	free(o);
}

static int compare(const struct one *o, const struct named_ref *ref)
{
	int d = o->r.kind != ref->kind ? (o->r.kind < ref->kind ? -1 : 1) : strcmp(o->ns, ref->ns);

	return d ? d : strcmp(o->name, ref->name);
}

/* ---- all of them ---- */

struct named *named_create(struct store *store, const struct reflector_http *http, uint64_t seed)
{
	struct named *n = store_must(calloc(1, sizeof(*n)));

	n->store = store;
	n->http = *http;
	n->seed = seed;
	return n;
}

void named_destroy(struct named *n)
{
	if (!n)
		return;
	for (size_t i = 0; i < n->n; i++)
		one_destroy(n, n->slots[i].one);
	free(n->slots);
	free(n->followed);
	free(n);
}

/* ---- who is followed, where not all can be */

struct place {
	const struct one *one;
	size_t slot, rank; /* the latter: among those of its namespace */
};

static int by_namespace(const void *pa, const void *pb)
{
	const struct place *a = pa;
	const struct place *b = pb;
	int d = strcmp(a->one->ns, b->one->ns);

	return d ? d : (a->slot > b->slot) - (a->slot < b->slot);
}

static int by_size(const void *pa, const void *pb)
{
	size_t a = *(const size_t *)pa;
	size_t b = *(const size_t *)pb;

	return (a > b) - (a < b);
}

/* Ranks all, which are sorted by namespace. The most that each namespace may have, so that all have NAMED_MAX at most. */
static size_t rank(struct place *list, size_t n)
{
	size_t *sizes = store_must(calloc(n + 1, sizeof(*sizes)));
	size_t level = SIZE_MAX, left = NAMED_MAX, n_namespaces = 0;

	for (size_t i = 0; i < n; i++) {
		bool is_first = i == 0 || strcmp(list[i].one->ns, list[i - 1].one->ns) != 0;

		list[i].rank = is_first ? 0 : list[i - 1].rank + 1;
		n_namespaces += is_first;
		sizes[n_namespaces - 1] = list[i].rank + 1;
	}
	qsort(sizes, n_namespaces, sizeof(*sizes), by_size);
	for (size_t i = 0; i < n_namespaces && level == SIZE_MAX; i++) { /* the smallest get all that they want */
		if (sizes[i] > left / (n_namespaces - i))
			level = left / (n_namespaces - i);
		else
			left -= sizes[i];
	}
	free(sizes);
	return level;
}

/* Which are beyond the bound, by slot: free(). */
static bool *choose(const struct named *n)
{
	struct place *list = store_must(calloc(n->n + 1, sizeof(*list)));
	bool *is_beyond = store_must(calloc(n->n + 1, sizeof(*is_beyond)));
	size_t level;

	for (size_t i = 0; i < n->n; i++)
		list[i] = (struct place){.one = n->slots[i].one, .slot = i};
	qsort(list, n->n, sizeof(*list), by_namespace);
	level = rank(list, n->n);
	for (size_t i = 0; i < n->n; i++)
		is_beyond[list[i].slot] = list[i].rank >= level;
	free(list);
	return is_beyond;
}

/*
 * As many as there may be are followed, and of each namespace as many as of
 * any other that wants them: none can take the others' away. Within one the first in their order: so every Weir follows the same.
 */
static uint64_t set_bound(struct named *n)
{
	bool *beyond = choose(n);
	uint64_t mask = 0;

	free(n->followed);
	n->followed = store_must(calloc(n->n + 1, sizeof(*n->followed)));
	n->n_followed = 0;
	for (size_t i = 0; i < n->n; i++) {
		struct one *o = n->slots[i].one;
		bool is_beyond = beyond[i];

		o->slot = i;
		if (!is_beyond)
			n->followed[n->n_followed++] = i;
		if (is_beyond == o->is_beyond)
			continue;
		if (is_beyond) {
			struct named_ref ref = {o->r.kind, o->ns, o->name};

			mask |= stop(n, o);
			n->slots[i].one = one_create(n, &ref);
			one_destroy(n, o);
			o = n->slots[i].one;
			o->slot = i;
			n->slots[i].due_ms = 0;
		}
		o->is_beyond = is_beyond;
		mask |= take_changes(n, o);
	}
	free(beyond);
	return mask;
}

static uint64_t forget(struct named *n, struct one *o)
{
	uint64_t mask = stop(n, o) | store_set_absence(n->store, o->r.kind, o->ns, o->name, STORE_PENDING);

	one_destroy(n, o);
	return mask;
}

uint64_t named_want(struct named *n, const struct named_ref *refs, size_t n_refs)
{
	struct slot *old = n->slots;
	size_t n_old = n->n;
	uint64_t mask = 0;
	size_t i = 0;

	n->slots = store_must(calloc(n_refs + 1, sizeof(*n->slots)));
	n->n = 0;
	for (size_t k = 0; k < n_refs; k++) {
		while (i < n_old && compare(old[i].one, &refs[k]) < 0)
			mask |= forget(n, old[i++].one);
		if (i < n_old && compare(old[i].one, &refs[k]) == 0)
			n->slots[n->n++] = old[i++];
		else
			n->slots[n->n++].one = one_create(n, &refs[k]);
	}
	while (i < n_old)
		mask |= forget(n, old[i++].one);
	free(old);
	return mask | set_bound(n);
}

uint64_t named_poll(struct named *n, uint64_t now_ms, uint64_t *next_ms)
{
	uint64_t mask = 0;

	for (size_t i = 0; i < n->n_followed; i++) {
		const struct slot *s = &n->slots[n->followed[i]];

		if (s->due_ms <= now_ms && s->one->is_begun)
			mask |= poll_one(n, n->followed[i], now_ms);
	}
	for (size_t i = 0; i < n->n_followed && n->n_begun < n->n_followed && n->n_asking < NAMED_ASKING; i++) {
		struct one *o = n->slots[n->followed[i]].one;

		if (o->is_begun)
			continue;
		count(&n->n_begun, &o->is_begun, true);
		mask |= poll_one(n, n->followed[i], now_ms);
	}
	for (size_t i = 0; i < n->n_followed; i++) {
		uint64_t due_ms = n->slots[n->followed[i]].due_ms;

		if (due_ms < *next_ms && due_ms)
			*next_ms = due_ms;
	}
	return mask;
}

void named_hurry(struct named *n, bool is_well, uint64_t now_ms)
{
	for (size_t i = 0; n->n_ill && i < n->n; i++) {
		struct one *o = n->slots[i].one;

		if (!o->is_ill)
			continue;
		reflector_hurry(&o->r, is_well, now_ms);
		if (!o->r.call && o->r.next_ms < n->slots[i].due_ms)
			n->slots[i].due_ms = o->r.next_ms;
	}
}

size_t named_n_pending(const struct named *n)
{
	size_t n_pending = 0;

	for (size_t i = 0; i < n->n; i++)
		n_pending += absence_of(n->slots[i].one) == STORE_PENDING;
	return n_pending;
}

void named_status(const struct named *n, struct named_status *out)
{
	*out = (struct named_status){.counters = n->past};
	for (size_t i = 0; i < n->n; i++) {
		const struct one *o = n->slots[i].one;
		enum store_absence why = absence_of(o);

		add_counters(&out->counters, &o->r.counters);
		out->n_followed += why != STORE_BEYOND;
		out->n_beyond += why == STORE_BEYOND;
		out->n_pending += why == STORE_PENDING;
		out->n_forbidden += why == STORE_FORBIDDEN;
		out->n_absent += why == STORE_ABSENT && !store_has(n->store, o->r.kind, o->ns, o->name);
	}
}
