/* SPDX-License-Identifier: Apache-2.0 */
#include "status/writer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/hash.h"
#include "base/log.h"
#include "status/status.h"
#include "status/status_pvt.h"

#define N_BUCKETS 4096u
#define LOOK_MS 100u /* between two looks at what waits */

enum entry_state {
	ENTRY_READY,  /* to be sent in its turn */
	ENTRY_LATER,  /* to be sent from next_ms */
	ENTRY_FLIGHT, /* being sent */
	ENTRY_AWAIT,  /* sent: until the store has a newer object, or next_ms */
};

struct entry {
	enum kube_kind kind;
	char *ns, *name;
	char *patch;
	char *whole; /* what the status is to be then; NULL: whatever is left */
	char version[128]; /* of the object for which it was made */
	enum entry_state state;
	uint64_t next_ms;
	uint32_t backoff_ms;
	unsigned round;	    /* of the last update that had it */
	bool has_conflicted; /* AWAIT: make it again afterwards */
	bool is_outdated;    /* FLIGHT: another document is wanted by now, or none */
	bool is_merge;	    /* the patch: see patch_make() */
	struct entry *chain;
	TAILQ_ENTRY(entry) link;
};

TAILQ_HEAD(entries, entry);

struct flight {
	struct exchange exchange;
	struct entry *entry; /* NULL: free */
};

struct status_writer {
	struct status_writer_options options;
	struct reflector_http http;
	struct lease lease;
	struct events *events;	   /* NULL: none */
	const struct store *store; /* NULL: before the first update */
	const struct model *model;
	struct entry *buckets[N_BUCKETS];
	struct entries ready, waiting; /* what is in flight is in neither */
	size_t n;
	unsigned round;
	struct flight flights[STATUS_WRITER_IN_FLIGHT];
	uint64_t tokens; /* thousandths */
	uint64_t filled_ms, pause_ms, look_ms, made_ms, whole_ms, random;
	struct marks marks; /* of what documents are to be made again */
	bool is_stale;	    /* now */
	bool is_stopping, was_writing;
	struct status_writer_counters counters;
};

struct status_writer *status_writer_create(const struct status_writer_options *options, const struct reflector_http *http)
{
	struct status_writer *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->options = *options;
	w->http = *http;
	w->random = options->seed * 2 + 1;
	w->tokens = STATUS_WRITER_BURST * 1000u;
	TAILQ_INIT(&w->ready);
	TAILQ_INIT(&w->waiting);
	w->events = options->has_events ? events_create(http, options->identity, options->seed) : NULL;
	if (options->has_events && !w->events) {
		free(w);
		return NULL;
	}
	lease_init(&w->lease, options->lease_ns, options->lease_name, options->identity, http, options->seed);
	return w;
}

/* ---- the queue ---- */

static uint64_t bucket_of(enum kube_kind kind, const char *ns, const char *name)
{
	return hash64(name, strlen(name), hash64(ns, strlen(ns), (uint64_t)kind)) % N_BUCKETS;
}

static struct entry *entry_find(const struct status_writer *w, enum kube_kind kind, const char *ns, const char *name)
{
	struct entry *e = w->buckets[bucket_of(kind, ns, name)];

	while (e && (e->kind != kind || strcmp(e->name, name) != 0 || strcmp(e->ns, ns) != 0))
		e = e->chain;
	return e;
}

static void entry_unlink(struct status_writer *w, struct entry *e)
{
	if (e->state == ENTRY_READY)
		TAILQ_REMOVE(&w->ready, e, link);
	else if (e->state != ENTRY_FLIGHT)
		TAILQ_REMOVE(&w->waiting, e, link);
}

static void entry_move(struct status_writer *w, struct entry *e, enum entry_state state, uint64_t next_ms)
{
	entry_unlink(w, e);
	e->state = state;
	e->next_ms = next_ms;
	if (state == ENTRY_READY)
		TAILQ_INSERT_TAIL(&w->ready, e, link);
	else if (state != ENTRY_FLIGHT)
		TAILQ_INSERT_TAIL(&w->waiting, e, link);
	if (next_ms < w->look_ms)
		w->look_ms = next_ms;
}

static void entry_drop(struct status_writer *w, struct entry *e)
{
	struct entry **at = &w->buckets[bucket_of(e->kind, e->ns, e->name)];

	while (*at != e)
		at = &(*at)->chain;
	*at = e->chain;
	entry_unlink(w, e);
	w->n--;
	free(e->ns);
	free(e->name);
	free(e->patch);
	free(e->whole);
	free(e);
}

static struct entry *entry_add(struct status_writer *w, enum kube_kind kind, const char *ns, const char *name)
{
	struct entry **bucket = &w->buckets[bucket_of(kind, ns, name)];
	struct entry *e = calloc(1, sizeof(*e));

	if (e) {
		e->ns = strdup(ns);
		e->name = strdup(name);
	}
	if (!e || !e->ns || !e->name) {
		if (e) {
			free(e->ns);
			free(e->name);
		}
		free(e);
		return NULL;
	}
	e->kind = kind;
	e->chain = *bucket;
	*bucket = e;
	TAILQ_INSERT_TAIL(&w->ready, e, link);
	w->n++;
	return e;
}

void status_writer_destroy(struct status_writer *w)
{
	if (!w)
		return;
	for (unsigned i = 0; i < STATUS_WRITER_IN_FLIGHT; i++)
		exchange_end(&w->flights[i].exchange, &w->http);
	for (unsigned i = 0; i < N_BUCKETS; i++)
		while (w->buckets[i])
			entry_drop(w, w->buckets[i]);
	lease_fini(&w->lease);
	events_destroy(w->events);
	marks_clear(&w->marks);
	free(w);
}

/* ---- documents ---- */

/* RFC 7396: what the object has and the document has not must be named, as null, at every depth but in lists. */
static void patch_remove_missing(json_t *patch, const struct node *now)
{
	for (size_t i = 0; now && now->kind == NODE_MAP && i < now->n; i++) {
		json_t *value = json_object_get(patch, now->keys[i]);

		if (!value)
			json_put(patch, now->keys[i], json_null());
		else if (json_is_object(value))
			patch_remove_missing(value, now->items[i]);
	}
}

/*
 * Server-side apply of what is ours. What others wrote and we would take away
 * (a Weir of before, or a controller whose class the object had) it leaves: that
 * takes a merge patch, but not where the object is given up: what is left then
 * is others'. With the resourceVersion both are refused (409) once
 * somebody else has written, since a route's list of parents is one value for
 * all controllers. To be freed; NULL without memory.
 */
static char *patch_make(const struct kube_object *o, const struct status_document *d, bool is_merge)
{
	json_t *root = json_must(json_object()), *meta = json_must(json_object());
	json_t *status = json_must(json_loads(is_merge ? d->json : d->owned, 0, NULL));
	char *text;

	json_put(meta, "resourceVersion", json_string(o->resource_version));
	if (is_merge) {
		patch_remove_missing(status, node_get(o->root, "status"));
	} else {
		json_put(root, "apiVersion", json_string(kube_object_api_version(o)));
		json_put(root, "kind", json_string(kube_kind_name(o->kind)));
		json_put(meta, "name", json_of_text(o->name));
		if (kube_kind_is_namespaced(o->kind))
			json_put(meta, "namespace", json_of_text(o->ns));
	}
	json_put(root, "metadata", meta);
	if (d->is_given_up) /* an empty map would be a field of ours */
		json_decref(status);
	else
		json_put(root, "status", status);
	text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	return text;
}

static void take_document(void *ctx, const struct status_document *d)
{
	struct status_writer *w = ctx;
	const struct kube_object *o = store_get(w->store, d->kind, d->ns, d->name);
	struct entry *e = entry_find(w, d->kind, d->ns, d->name);
	bool is_newer;

	if (!d->differs || !o || !o->resource_version[0] ||
	    strlen(o->resource_version) >= sizeof(e->version))
		return;
	if (e && e->state == ENTRY_FLIGHT) {
		e->has_conflicted = true; /* for an object that is about to change */
		return;
	}
	is_newer = !e || strcmp(e->version, o->resource_version) != 0;
	if (e && e->state == ENTRY_AWAIT && !is_newer) {
		e->has_conflicted = true;
		return;
	}
	e = e ? e : entry_add(w, d->kind, d->ns, d->name);
	if (!e)
		return;
	free(e->patch);
	free(e->whole);
	e->is_merge &= !d->is_given_up;
	e->patch = patch_make(o, d, e->is_merge);
	e->whole = d->is_given_up ? NULL : strdup(d->json);
	e->round = w->round;
	e->has_conflicted = e->is_outdated = false;
	if (is_newer) { /* what was wrong with the one before need not be wrong with this one */
		w->counters.queued++;
		snprintf(e->version, sizeof(e->version), "%s", o->resource_version);
		if (e->backoff_ms == 0)
			entry_move(w, e, ENTRY_READY, UINT64_MAX);
	}
}

/* If no document of it was made in this round, though that was asked for, what it has is not to be sent. */
static void settle(struct status_writer *w, struct entry *e)
{
	if (e->round == w->round || e->state == ENTRY_AWAIT)
		return;
	if (e->state == ENTRY_FLIGHT) {
		e->is_outdated = true;
		return;
	}
	w->counters.superseded++;
	entry_drop(w, e);
}

static void drop_unneeded(struct status_writer *w, struct entries *list)
{
	struct entry *e, *next;

	for (e = TAILQ_FIRST(list); e; e = next) {
		next = TAILQ_NEXT(e, link);
		settle(w, e);
	}
}

static void settle_all(struct status_writer *w)
{
	drop_unneeded(w, &w->ready);
	drop_unneeded(w, &w->waiting);
	for (unsigned i = 0; i < STATUS_WRITER_IN_FLIGHT; i++)
		if (w->flights[i].entry)
			settle(w, w->flights[i].entry);
}

static void settle_marked(struct status_writer *w)
{
	for (size_t i = 0; i < w->marks.n; i++) {
		struct entry *e = entry_find(w, w->marks.list[i].kind, w->marks.list[i].ns, w->marks.list[i].name);

		if (e)
			settle(w, e);
	}
}

/* All, or what is marked: of the rest the documents are as they were. */
static void make(struct status_writer *w, bool is_whole, uint64_t now_ms, int64_t now_s)
{
	const struct status_options options = {
	    .controller_name = w->options.controller_name, .now_s = now_s, .only = is_whole ? NULL : &w->marks};

	w->is_stale = false;
	w->made_ms = now_ms;
	w->round++;
	marks_sort(&w->marks);
	status_make(w->store, w->model, &options, take_document, w);
	if (is_whole) {
		w->whole_ms = now_ms;
		settle_all(w);
	} else {
		settle_marked(w);
	}
	marks_clear(&w->marks);
}

/* Its document is to be made again. */
static void mark(struct status_writer *w, const struct entry *e)
{
	marks_add(&w->marks, e->kind, e->ns, e->name);
	w->is_stale = true;
}

void status_writer_update(struct status_writer *w, const struct store *s, const struct model *m, struct marks *marks)
{
	if (marks)
		marks_take(&w->marks, marks);
	else
		marks_add_all(&w->marks);
	w->store = s;
	w->model = m;
	w->is_stale = true;
	if (w->events)
		events_update(w->events, s, m);
}

/* ---- sending ---- */

static uint64_t jitter(struct status_writer *w, uint64_t ms)
{
	w->random = w->random * 6364136223846793005ull + 1442695040888963407ull;
	return ms - (w->random >> 33) % (ms / 2 + 1);
}

static void back_off(struct status_writer *w, struct entry *e, uint64_t now_ms)
{
	e->backoff_ms = e->backoff_ms ? e->backoff_ms * 2 : STATUS_WRITER_BACKOFF_MIN_MS;
	if (e->backoff_ms > STATUS_WRITER_BACKOFF_MAX_MS)
		e->backoff_ms = STATUS_WRITER_BACKOFF_MAX_MS;
	entry_move(w, e, ENTRY_LATER, now_ms + jitter(w, e->backoff_ms));
}

/* The object is there. */
static void send(struct status_writer *w, struct flight *f, struct entry *e)
{
	const struct kube_object *o = store_get(w->store, e->kind, e->ns, e->name);
	char path[1024];
	int n = snprintf(path, sizeof(path), "/apis/%s", kube_object_api_version(o)); /* as it is served */

	if (kube_kind_is_namespaced(e->kind))
		n += snprintf(path + n, sizeof(path) - (size_t)n, "/namespaces/%s", e->ns);
	snprintf(path + n, sizeof(path) - (size_t)n, "/%s/%s/status?fieldManager=" STATUS_WRITER_MANAGER "%s",
		 kube_kind_plural(e->kind), e->name, e->is_merge ? "" : "&force=true");
	entry_move(w, e, ENTRY_FLIGHT, UINT64_MAX);
	f->entry = e;
	e->has_conflicted = e->is_outdated = false;
	exchange_begin(&f->exchange, &w->http, "PATCH", path,
		       e->is_merge ? "application/merge-patch+json" : "application/apply-patch+yaml", e->patch);
}

/* The object as it was when the document was made? */
static bool is_current(const struct status_writer *w, const struct entry *e)
{
	const struct kube_object *o = store_get(w->store, e->kind, e->ns, e->name);

	return o && strcmp(o->resource_version, e->version) == 0;
}

static void send_all(struct status_writer *w)
{
	for (unsigned i = 0; i < STATUS_WRITER_IN_FLIGHT; i++) {
		struct entry *e;

		/* what is sent is of the newest model */
		while (!w->is_stale && !w->flights[i].entry && w->tokens >= 1000 && (e = TAILQ_FIRST(&w->ready))) {
			if (!e->patch || !is_current(w, e)) {
				w->counters.superseded++;
				mark(w, e);
				entry_drop(w, e);
				continue;
			}
			w->tokens -= 1000;
			send(w, &w->flights[i], e);
		}
	}
}

static void refused(struct status_writer *w, struct entry *e, const struct exchange *x, uint64_t now_ms)
{
	char why[256];

	w->counters.refused++;
	log_warn("status of %s %s/%s is not written: %s", kube_kind_name(e->kind), e->ns, e->name, exchange_problem(x, why));
	e->backoff_ms = 0; /* a newer object need not be refused */
	entry_move(w, e, ENTRY_LATER, now_ms + jitter(w, STATUS_WRITER_REFUSED_MS));
}

static void failed(struct status_writer *w, struct entry *e, const struct exchange *x, uint64_t now_ms)
{
	uint64_t wait_ms = exchange_wait_ms(x);
	char why[256];

	if (x->status == 429)
		w->counters.throttled++;
	else
		w->counters.failed++;
	log_debug("status of %s %s/%s: %s", kube_kind_name(e->kind), e->ns, e->name, exchange_problem(x, why));
	back_off(w, e, now_ms);
	if (now_ms + wait_ms > w->pause_ms) /* the server means all of us */
		w->pause_ms = now_ms + wait_ms;
}

static void make_anew(struct status_writer *w, struct entry *e, uint64_t now_ms)
{
	e->version[0] = 0;
	entry_move(w, e, ENTRY_LATER, now_ms);
	mark(w, e);
}

static void await(struct status_writer *w, struct entry *e, uint64_t now_ms)
{
	e->backoff_ms = 0;
	entry_move(w, e, ENTRY_AWAIT, now_ms + STATUS_WRITER_AWAIT_MS);
	if (now_ms + LOOK_MS < w->look_ms)
		w->look_ms = now_ms + LOOK_MS;
}

static void written(struct status_writer *w, struct entry *e, const struct exchange *x, uint64_t now_ms)
{
	json_t *root = exchange_json(x); /* NULL: too large to look at */
	json_t *want = e->whole ? json_loads(e->whole, 0, NULL) : NULL;
	const char *version = json_text(json_object_get(root, "metadata"), "resourceVersion", "");
	bool is_left = root && want && !json_equal(json_object_get(root, "status"), want);

	w->counters.written++;
	w->counters.given_up += !want;
	if (is_left && !e->is_merge) { /* of another manager, and to be taken away: see patch_make() */
		w->counters.taken++;
		e->is_merge = e->has_conflicted = true;
	}
	if (e->has_conflicted && strcmp(version, e->version) == 0) /* nothing will come by the watch */
		make_anew(w, e, now_ms);
	else
		await(w, e, now_ms);
	json_decref(root);
	json_decref(want);
}

static void end(struct status_writer *w, struct flight *f, uint64_t now_ms)
{
	const struct exchange *x = &f->exchange;
	struct entry *e = f->entry;

	f->entry = NULL;
	if (e->is_outdated) {
		mark(w, e);
		e->has_conflicted = true;
	}
	if (x->status == 429 || x->status >= 500 || x->error[0] || x->status == 0) {
		failed(w, e, x, now_ms);
	} else if (x->status / 100 == 2) {
		written(w, e, x, now_ms);
	} else if (x->status == 409) {
		w->counters.conflicts++;
		e->has_conflicted = true;
		await(w, e, now_ms);
	} else if (x->status == 404) { /* not asked for again at each change, should it be there for us */
		w->counters.gone++;
		e->backoff_ms = 0;
		entry_move(w, e, ENTRY_LATER, now_ms + jitter(w, STATUS_WRITER_REFUSED_MS));
	} else {
		refused(w, e, x, now_ms);
	}
	exchange_end(&f->exchange, &w->http);
}

/* What has waited long enough, and what has come back by the watch. */
static void look(struct status_writer *w, uint64_t now_ms)
{
	struct entry *e, *next;

	w->look_ms = UINT64_MAX;
	for (e = TAILQ_FIRST(&w->waiting); e; e = next) {
		bool is_due = now_ms >= e->next_ms;

		next = TAILQ_NEXT(e, link);
		if (e->state == ENTRY_LATER && is_due) {
			entry_move(w, e, ENTRY_READY, UINT64_MAX);
		} else if (e->state == ENTRY_AWAIT && (is_due || !is_current(w, e))) {
			if (e->has_conflicted)
				make_anew(w, e, now_ms);
			else
				entry_drop(w, e);
		} else {
			uint64_t t = e->state == ENTRY_AWAIT ? now_ms + LOOK_MS : e->next_ms;

			w->look_ms = t < w->look_ms ? t : w->look_ms;
		}
	}
}

static void fill(struct status_writer *w, uint64_t now_ms)
{
	uint64_t ms = now_ms - w->filled_ms;

	w->filled_ms = now_ms;
	w->tokens += (ms < 60000 ? ms : 60000) * STATUS_WRITER_PER_S;
	if (w->tokens > STATUS_WRITER_BURST * 1000u)
		w->tokens = STATUS_WRITER_BURST * 1000u;
}

bool status_writer_is_writing(const struct status_writer *w, uint64_t now_ms)
{
	if (w->is_stopping || w->options.mode == STATUS_WRITE_NEVER)
		return false;
	return w->options.mode == STATUS_WRITE_ALWAYS || lease_is_held(&w->lease, now_ms);
}

static unsigned n_in_flight(const struct status_writer *w)
{
	unsigned n = 0;

	for (unsigned i = 0; i < STATUS_WRITER_IN_FLIGHT; i++)
		n += w->flights[i].entry != NULL;
	return n;
}

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Makes and sends; returns when to be called again. */
static uint64_t work(struct status_writer *w, uint64_t now_ms, int64_t now_s)
{
	uint64_t next_ms;
	bool is_whole;

	if (now_ms >= w->look_ms)
		look(w, now_ms);
	/* what others wrote before, or have written over ours since, may be old or wrong */
	is_whole = !w->was_writing || now_ms - w->whole_ms >= STATUS_WRITER_RESYNC_MS;
	if (is_whole || (w->is_stale && now_ms - w->made_ms >= STATUS_WRITER_REMAKE_MS))
		make(w, is_whole || w->marks.is_all, now_ms, now_s);
	fill(w, now_ms);
	if (now_ms >= w->pause_ms)
		send_all(w);
	next_ms = min64(w->look_ms, w->whole_ms + STATUS_WRITER_RESYNC_MS);
	if (w->is_stale)
		next_ms = min64(next_ms, w->made_ms + STATUS_WRITER_REMAKE_MS);
	if (!TAILQ_EMPTY(&w->ready) && now_ms < w->pause_ms)
		next_ms = min64(next_ms, w->pause_ms);
	else if (!TAILQ_EMPTY(&w->ready) && n_in_flight(w) < STATUS_WRITER_IN_FLIGHT)
		next_ms = min64(next_ms, now_ms + 1000 / STATUS_WRITER_PER_S);
	for (unsigned i = 0; i < STATUS_WRITER_IN_FLIGHT; i++)
		if (w->flights[i].exchange.is_done) /* had no memory */
			next_ms = now_ms;
	return next_ms;
}

uint64_t status_writer_poll(struct status_writer *w, uint64_t now_ms, int64_t now_s)
{
	uint64_t next_ms = UINT64_MAX;
	bool is_writing;

	for (unsigned i = 0; i < STATUS_WRITER_IN_FLIGHT; i++)
		if (w->flights[i].entry && w->flights[i].exchange.is_done)
			end(w, &w->flights[i], now_ms);
	if (w->is_stopping && n_in_flight(w) == 0)
		lease_end(&w->lease);
	if (w->options.mode == STATUS_WRITE_BY_LEASE)
		next_ms = lease_poll(&w->lease, now_ms, now_s);
	is_writing = status_writer_is_writing(w, now_ms);
	if (is_writing && w->store)
		next_ms = min64(next_ms, work(w, now_ms, now_s));
	w->was_writing = is_writing && w->store;
	if (w->events)
		next_ms = min64(next_ms, events_poll(w->events, is_writing, now_ms, now_s));
	return next_ms;
}

bool status_writer_stop(struct status_writer *w)
{
	w->is_stopping = true;
	return n_in_flight(w) == 0 && (w->options.mode != STATUS_WRITE_BY_LEASE || w->lease.is_ended);
}

size_t status_writer_n_queued(const struct status_writer *w)
{
	return w->n;
}

const struct status_writer_counters *status_writer_counters(const struct status_writer *w)
{
	return &w->counters;
}

const struct lease_counters *status_writer_lease(const struct status_writer *w)
{
	return &w->lease.counters;
}

void status_writer_note(struct status_writer *w, const struct events_note *note)
{
	if (w->events)
		events_note(w->events, note);
}

const struct events *status_writer_events(const struct status_writer *w)
{
	return w->events;
}
