/* SPDX-License-Identifier: Apache-2.0 */
/* One kind of an API server: see reflector.h. The steps follow client-go's reflector, whose users know its manners. */
#include "kube/reflector.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "kube/kube_pvt.h"
#include "kube/reflector_pvt.h"

#define MAX_BODY_BYTES (1u << 20) /* of a discovery */
#define QUICK_WATCH_MS 1000u	  /* a watch that ends sooner, without a byte, is no success */
#define LONG_WATCH_MS 5000u	  /* one that lasted so long was a success */
#define MAX_WATCH_FAILURES 3u	  /* in a row; then it is listed again */
#define MAX_STREAM_FAILURES 2u	  /* in a row; then it is listed page by page */
#define INITIAL_EVENTS_END "k8s.io/initial-events-end"

void reflector_init(struct reflector *r, enum kube_kind kind, const char *ns, const char *selector, struct store *store,
		    const struct reflector_http *http, uint64_t seed)
{
	memset(r, 0, sizeof(*r));
	r->kind = kind;
	r->ns = kube_kind_is_namespaced(kind) ? ns : NULL;
	r->selector = selector;
	r->store = store;
	r->http = *http;
	snprintf(r->name, sizeof(r->name), "%s%s%s", kube_kind_plural(kind), r->ns ? " of namespace " : "", r->ns ? r->ns : "");
	r->is_required = kube_kind_is_policy(kind);
	r->random = seed * 0x9e3779b97f4a7c15ull + kind + 1;
	if (r->random == 0)
		r->random = 1;
}

static void list_again(struct reflector *r);

void reflector_init_named(struct reflector *r, enum kube_kind kind, const char *ns, const char *name, const char *fields,
			  struct store *store, const struct reflector_http *http, uint64_t seed)
{
	reflector_init(r, kind, ns, NULL, store, http, seed);
	r->only = name;
	r->fields = fields;
	list_again(r);
}

static void end_call(struct reflector *r)
{
	if (r->call)
		r->http.cancel(r->http.ctx, r->call);
	r->call = NULL;
	json_split_fini(&r->split);
	free(r->body);
	r->body = NULL;
	r->body_bytes = 0;
}

void reflector_fini(struct reflector *r)
{
	end_call(r);
	free(r->continue_token);
	free(r->asked_token);
	r->continue_token = r->asked_token = NULL;
}

/* lo..hi, by xorshift. */
static uint64_t random_between(struct reflector *r, uint64_t lo, uint64_t hi)
{
	r->random ^= r->random << 13;
	r->random ^= r->random >> 7;
	r->random ^= r->random << 17;
	return lo + r->random % (hi - lo + 1);
}

/* ---- what comes of a request ---- */

static void copy_text(char *to, size_t cap, const char *text)
{
	snprintf(to, cap, "%s", text ? text : "");
	for (char *p = to; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
}

static void malformed(struct reflector *r, const char *why)
{
	r->notes.is_malformed = true;
	copy_text(r->notes.error, sizeof(r->notes.error), why);
}

/* A text of the tree that fits; "" where there is none. */
static bool take_text(const struct node *root, const char *path, char *to, size_t cap)
{
	const char *s = node_str(node_path(root, path));

	to[0] = 0;
	if (!s || strlen(s) >= cap)
		return false;
	memcpy(to, s, strlen(s) + 1);
	return true;
}

/* All that is read may be a Secret. */
static void forget_tree(const struct reflector *r, struct arena *a)
{
	if (kube_kind_is_secret(r->kind))
		arena_wipe(a);
	else
		arena_fini(a);
}

static void mark(struct reflector *r)
{
	if (r->only)
		store_mark_one(r->store, r->kind, r->ns, r->only);
	else
		store_mark(r->store, r->kind, r->ns);
}

static void sweep(struct reflector *r)
{
	r->changed |= r->only ? store_sweep_one(r->store, r->kind, r->ns, r->only) : store_sweep(r->store, r->kind, r->ns);
}

/* "kind" or "metadata" of a list. */
static void take_list_field(struct reflector *r)
{
	struct arena a = {0};
	struct json_fault fault;
	const struct node *n = json_parse(&a, r->split.piece, r->split.n, &fault);
	char wanted[64];
	const char *text;

	if (!n) {
		malformed(r, fault.text);
	} else if (strcmp(r->split.key, "kind") == 0) {
		snprintf(wanted, sizeof(wanted), "%sList", kube_kind_name(r->kind));
		r->is_list_of_kind = node_str(n) && strcmp(node_str(n), wanted) == 0;
	} else if (strcmp(r->split.key, "metadata") == 0) {
		take_text(n, "resourceVersion", r->page_version, sizeof(r->page_version));
		text = node_str(node_get(n, "continue"));
		free(r->continue_token);
		r->continue_token = text && text[0] ? strdup(text) : NULL;
	}
	arena_fini(&a);
}

static void take_error_event(struct reflector *r, const struct node *status)
{
	int64_t code = 0;

	node_int(node_get(status, "code"), 0, 999, &code);
	r->notes.is_expired = code == 410;
	r->notes.has_failed = code != 410;
	copy_text(r->notes.error, sizeof(r->notes.error), node_str(node_get(status, "message")));
}

/* By its name; a server that does not know fieldSelector would give all. */
static bool is_asked_for(const struct reflector *r, const struct node *object)
{
	const char *ns = node_str(node_path(object, "metadata.namespace"));
	const char *name = node_str(node_path(object, "metadata.name"));

	return !r->only || (ns && name && strcmp(ns, r->ns) == 0 && strcmp(name, r->only) == 0);
}

/* ADDED, MODIFIED, or an item of a list. */
static void put_object(struct reflector *r, const struct node *object)
{
	if (is_asked_for(r, object))
		r->changed |= store_put(r->store, r->kind, object);
	else
		malformed(r, "an object that was not asked for");
}

/* An item of a list. */
static void take_item(struct reflector *r)
{
	struct arena a = {0};
	struct json_fault fault;
	const struct node *n;

	if (!r->only) {
		r->changed |= store_put_json(r->store, r->kind, r->split.piece, r->split.n);
		return;
	}
	n = json_parse(&a, r->split.piece, r->split.n, &fault);
	if (n)
		put_object(r, n);
	else
		malformed(r, fault.text);
	forget_tree(r, &a);
}

static void remove_object(struct reflector *r, const struct node *object)
{
	const char *ns = node_str(node_path(object, "metadata.namespace"));
	const char *name = node_str(node_path(object, "metadata.name"));

	if (!name || !is_asked_for(r, object))
		malformed(r, "a deleted object without a name, or one that was not asked for");
	else
		r->changed |= store_remove(r->store, r->kind,
					   !kube_kind_is_namespaced(r->kind) ? "" : ns ? ns : "default", name);
}

/* The bookmark behind the last object of a list that comes as a watch; there is none before it. */
static bool is_end_of_list(const struct node *object)
{
	const char *mark = node_str(node_get(node_path(object, "metadata.annotations"), INITIAL_EVENTS_END));

	return mark && strcmp(mark, "true") == 0;
}

/* All there is was put: what was not is gone. But of one without a name nobody can say whether it is one that we know. */
static void list_is_whole(struct reflector *r)
{
	if (r->is_unswept) {
		r->counters.unswept++;
		log_warn("Kubernetes: %s: an object whose name cannot be read is in the list: nothing is taken away by it",
			 r->name);
	} else {
		sweep(r);
	}
	r->counters.lists_complete++;
}

/* It goes on as a watch. */
static void stream_is_whole(struct reflector *r)
{
	list_is_whole(r);
	r->counters.streamed++;
	r->counters.watches++;
	r->n_absent = r->n_watch_failures = r->n_stream_failures = 0;
	r->is_synced = true;
	r->is_gone = false;
	r->step = REFLECTOR_WATCH;
	r->open_stall_ms = r->watch_stall_ms;
}

static bool is_of_kind(const struct reflector *r, const struct node *object)
{
	const char *kind = node_str(node_get(object, "kind"));

	return kind && strcmp(kind, kube_kind_name(r->kind)) == 0;
}

static void take_event(struct reflector *r)
{
	struct arena a = {0};
	struct json_fault fault;
	const struct node *n = json_parse(&a, r->split.piece, r->split.n, &fault);
	const char *type = node_str(node_get(n, "type"));
	const struct node *object = node_get(n, "object");
	char version[sizeof(r->resource_version)];

	if (!n || !type || !object || object->kind != NODE_MAP) {
		malformed(r, n ? "an event without type and object" : fault.text);
	} else if (strcmp(type, "ERROR") == 0) {
		take_error_event(r, object);
	} else if (!take_text(object, "metadata.resourceVersion", version, sizeof(version)) || !version[0]) {
		malformed(r, "an event without resourceVersion");
	} else if (r->step == REFLECTOR_STREAM && !is_of_kind(r, object)) {
		malformed(r, "an event of another kind"); /* as strict as for a page of a list: a sweep follows */
	} else {
		bool is_bookmark = strcmp(type, "BOOKMARK") == 0;

		if (strcmp(type, "ADDED") == 0 || strcmp(type, "MODIFIED") == 0)
			put_object(r, object);
		else if (strcmp(type, "DELETED") == 0)
			remove_object(r, object);
		else if (!is_bookmark)
			malformed(r, "an event of unknown type");
		/* silence where there were bookmarks is a connection that takes and gives nothing */
		if (is_bookmark && r->step == REFLECTOR_WATCH && r->open_stall_ms > REFLECTOR_BOOKMARK_STALL_MS)
			r->open_stall_ms = REFLECTOR_BOOKMARK_STALL_MS;
		if (is_bookmark && r->step == REFLECTOR_STREAM && is_end_of_list(object))
			stream_is_whole(r);
		r->notes.is_ignored = is_bookmark && r->step == REFLECTOR_STREAM;
		if (!r->notes.is_malformed) {
			memcpy(r->resource_version, version, sizeof(version));
			r->notes.has_events = true;
			*(is_bookmark ? &r->counters.bookmarks : &r->counters.events) += 1;
		}
	}
	forget_tree(r, &a);
}

static void take_too_large(struct reflector *r)
{
	struct json_names names;

	r->counters.too_large++;
	if (!r->split.is_item) {
		malformed(r, "too large a field of the list");
		return;
	}
	json_names(&names, r->split.piece, r->split.n, r->split.mode);
	if (strcmp(names.type, "DELETED") == 0 && names.name[0])
		r->changed |= store_remove(r->store, r->kind, names.ns, names.name);
	else
		r->changed |= store_put_unreadable(r->store, r->kind, names.name[0] || !r->ns ? names.ns : r->ns, names.name,
						   "TooLarge", "an object of at most 3 MiB was expected");
}

static void take_piece(struct reflector *r, enum json_outcome outcome)
{
	const struct store_refused before = *store_refused(r->store);

	if (outcome == JSON_BAD) {
		malformed(r, "not the JSON that was expected");
	} else if (outcome == JSON_TOO_LARGE) {
		take_too_large(r);
	} else if (outcome == JSON_FIELD) {
		take_list_field(r);
	} else if (r->step == REFLECTOR_LIST) {
		take_item(r);
	} else {
		take_event(r);
	}
	r->counters.refused += store_refused(r->store)->n - before.n;
	r->is_unswept |= store_refused(r->store)->n_unnamed != before.n_unnamed;
}

static bool is_over(const struct reflector_notes *n)
{
	return n->is_malformed || n->is_expired || n->has_failed || n->is_ignored;
}

static void on_headers(void *ctx, int status)
{
	struct reflector *r = ctx;

	r->notes.status = status;
	r->notes.has_bytes = true;
	r->counters.lists += r->step == REFLECTOR_STREAM && status == 200;
	r->is_reached = true;
}

static void on_data(void *ctx, const void *bytes, size_t n)
{
	struct reflector *r = ctx;
	const char *data = bytes;
	enum json_outcome outcome;

	r->notes.has_bytes = true;
	if (r->notes.status != 200 || is_over(&r->notes))
		return;
	if (r->step == REFLECTOR_DISCOVERY) {
		char *body = r->body_bytes + n > MAX_BODY_BYTES ? NULL : realloc(r->body, r->body_bytes + n + 1);

		if (!body) {
			malformed(r, "too large an answer");
			return;
		}
		memcpy(body + r->body_bytes, data, n);
		r->body = body;
		r->body_bytes += n;
		return;
	}
	while (!is_over(&r->notes) && (outcome = json_split_take(&r->split, &data, &n)) != JSON_MORE)
		take_piece(r, outcome);
}

static void on_done(void *ctx, int status, const char *error, uint32_t retry_after_s)
{
	struct reflector *r = ctx;

	r->call = NULL;
	r->notes.is_done = true;
	r->notes.status = status;
	r->notes.retry_after_s = retry_after_s;
	if (error && !is_over(&r->notes))
		copy_text(r->notes.error, sizeof(r->notes.error), error[0] ? error : "failed");
}

/* ---- making a request ---- */

static void request(struct reflector *r, const char *path, uint64_t stall_ms, uint64_t now_ms)
{
	const struct kube_request q = {.method = "GET",
				       .path = path,
				       .on_headers = on_headers,
				       .on_data = on_data,
				       .on_done = on_done,
				       .ctx = r};

	memset(&r->notes, 0, sizeof(r->notes));
	r->heard_ms = r->began_ms = now_ms;
	r->stall_ms = REFLECTOR_STALL_MS;
	r->open_stall_ms = stall_ms;
	r->call = r->http.request(r->http.ctx, &q);
	if (!r->call)
		on_done(r, 0, "no memory for a request", 0);
}

static void begin_discovery(struct reflector *r, uint64_t now_ms)
{
	char path[512];

	reflector_base_path(r, path, sizeof(path), false);
	request(r, path, REFLECTOR_STALL_MS, now_ms);
}

/* The path is freed. NULL: without memory. */
static void request_and_free(struct reflector *r, char *path, uint64_t stall_ms, uint64_t now_ms)
{
	if (path)
		request(r, path, stall_ms, now_ms);
	else
		on_done(r, 0, "no memory for a request", 0);
	free(path);
}

static void begin_list(struct reflector *r, uint64_t now_ms)
{
	char *path = reflector_list_path(r);

	if (!r->continue_token) {
		mark(r);
		r->counters.lists++;
		r->is_unswept = false;
		r->n_pages = 0;
	}
	r->n_pages++;
	free(r->asked_token);
	r->asked_token = r->continue_token;
	r->continue_token = NULL;
	r->is_list_of_kind = false;
	r->page_version[0] = 0;
	json_split_init(&r->split, JSON_LIST);
	r->split.is_secret = kube_kind_is_secret(r->kind);
	request_and_free(r, path, REFLECTOR_STALL_MS, now_ms);
}

/* From this version, or, NULL, with all there is first. */
static void watch_from(struct reflector *r, const char *version, uint64_t now_ms)
{
	uint64_t timeout_s = random_between(r, REFLECTOR_WATCH_MIN_S, REFLECTOR_WATCH_MAX_S);

	json_split_init(&r->split, JSON_WATCH);
	r->split.is_secret = kube_kind_is_secret(r->kind);
	r->watch_stall_ms = timeout_s * 1000 + REFLECTOR_WATCH_GRACE_MS;
	request_and_free(r, reflector_watch_path(r, version, timeout_s), version ? r->watch_stall_ms : REFLECTOR_STREAM_STALL_MS,
			 now_ms);
}

static void begin_watch(struct reflector *r, uint64_t now_ms)
{
	r->counters.watches++;
	watch_from(r, r->resource_version, now_ms);
}

static void begin_stream(struct reflector *r, uint64_t now_ms)
{
	mark(r);
	r->is_unswept = false;
	watch_from(r, NULL, now_ms);
}

/* ---- what follows from it ---- */

static void __attribute__((format(printf, 2, 3))) tell(struct reflector *r, const char *fmt, ...)
{
	char text[sizeof(r->problem)];
	int n = snprintf(text, sizeof(text), "%s: ", r->name);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text + n, sizeof(text) - (size_t)n, fmt, ap);
	va_end(ap);
	r->is_healthy = false;
	if (strcmp(text, r->problem) == 0)
		return;
	memcpy(r->problem, text, sizeof(text));
	if (r->only) /* there may be hundreds */
		log_debug("Kubernetes: %s/%s: %s", r->name, r->only, text);
	else
		log_warn("Kubernetes: %s; what is known stays", text);
}

static void well(struct reflector *r, uint64_t now_ms)
{
	if (r->problem[0]) {
		if (!r->only)
			log_info("Kubernetes: %s: well again", r->name);
		r->has_recovered = true;
	}
	r->problem[0] = 0;
	r->is_healthy = true;
	r->has_no_answer = r->is_ill = false;
	if (r->step != REFLECTOR_WATCH || r->notes.has_events) /* a watch that is only taken may fail right away */
		r->backoff_ms = 0;
	if (r->notes.has_events)
		r->n_watch_failures = 0;
	r->synced_ms = now_ms;
	r->n_forbidden = 0;
	if (r->is_forbidden)
		r->changed |= store_remove(r->store, r->kind, r->ns ? r->ns : "", ""); /* the problem */
	r->is_forbidden = false;
}

/*
 * The rest is served without an optional kind that we may not read. Not at
 * once: a server that has just started forbids what it will allow. Not without
 * policies, unless that is wanted: what they protect would be open.
 */
static void forbidden(struct reflector *r)
{
	const char *without = kube_kind_without(r->kind);
	bool is_believed = ++r->n_forbidden >= REFLECTOR_FORBIDDEN_LOOKS && without && !r->is_synced;
	char text[400];

	if (r->only)
		r->is_forbidden = r->n_forbidden >= REFLECTOR_FORBIDDEN_LOOKS;
	if (is_believed && r->is_required) {
		tell(r, "permission to list and watch them was expected (403); nothing is published before, since otherwise %s; "
			"--allow-unread-policies: it is", without);
		return;
	}
	tell(r, "the API server answers 403%s%s", r->notes.error[0] ? ": " : "", r->notes.error);
	if (!is_believed)
		return;
	r->is_synced = r->is_forbidden = true;
	snprintf(text, sizeof(text), "permission to list and watch %s was expected; without it %s", r->name, without);
	log_warn("Kubernetes: %s", text);
	r->changed |= store_put_unreadable(r->store, r->kind, r->ns ? r->ns : "", "", "Forbidden", text);
}

static void wait_for(struct reflector *r, uint64_t ms, uint64_t now_ms)
{
	r->next_ms = now_ms + ms;
}

/*
 * Twice as long each time, with jitter: many reflectors of many nodes come back
 * to one server. Not for long where the server itself is ill: we want to be up
 * to date soon after it is well, and one that is overloaded says so with 429.
 */
static void back_off(struct reflector *r, uint64_t now_ms)
{
	int status = r->notes.status;
	uint32_t max_ms = status == 0			    ? REFLECTOR_RETRY_MAX_MS
			  : r->is_ill && !r->is_forbidden ? REFLECTOR_FAILURE_MAX_MS
							  : REFLECTOR_BACKOFF_MAX_MS;

	r->backoff_ms = r->backoff_ms ? r->backoff_ms * 2 : REFLECTOR_BACKOFF_MIN_MS;
	if (r->backoff_ms > max_ms)
		r->backoff_ms = max_ms;
	wait_for(r, random_between(r, r->backoff_ms / 2, r->backoff_ms), now_ms);
}

static void list_again(struct reflector *r)
{
	r->step = r->lists_plainly ? REFLECTOR_LIST : REFLECTOR_STREAM;
	free(r->continue_token);
	r->continue_token = NULL;
}

static void discover_again(struct reflector *r)
{
	list_again(r);
	r->step = REFLECTOR_DISCOVERY;
	r->version = 0;
	r->lists_plainly = false; /* it may be another server that has it then */
	r->n_stream_failures = 0;
}

/* An answer that is not what was asked for, or none. */
static void fail(struct reflector *r, uint64_t now_ms)
{
	const struct reflector_notes *n = &r->notes;
	uint64_t wait_ms = kube_http_wait_ms(n->status, n->retry_after_s);

	if (n->is_malformed) {
		r->counters.malformed++;
		tell(r, "an answer that cannot be read: %s", n->error);
	} else if (n->status == 429) {
		r->counters.throttled++;
		tell(r, "the API server asks us to wait");
	} else if (n->status == 0 || n->status == 200) {
		r->counters.failed++;
		tell(r, "%s", n->error[0] ? n->error : "the answer is not complete");
	} else {
		r->counters.failed++;
		if (n->status == 403)
			forbidden(r);
		else
			tell(r, "the API server answers %d%s%s", n->status, n->error[0] ? ": " : "", n->error);
	}
	r->has_no_answer = n->status == 0;
	r->is_ill = n->status >= 500 || n->status == 401 || n->status == 403; /* which it answers, too, while it starts */
	r->n_watch_failures += r->step == REFLECTOR_WATCH && n->status != 0;
	/* a watch goes on where it was, unless an event of it may be lost, or the place is what the server dislikes */
	if (r->step != REFLECTOR_WATCH || n->is_malformed || n->has_failed || r->n_watch_failures >= MAX_WATCH_FAILURES)
		if (r->step != REFLECTOR_DISCOVERY)
			list_again(r);
	if (r->step == REFLECTOR_WATCH && now_ms - r->began_ms >= LONG_WATCH_MS)
		r->backoff_ms = 0;
	back_off(r, now_ms);
	if (wait_ms > 0)
		wait_for(r, random_between(r, wait_ms, wait_ms + REFLECTOR_BACKOFF_MIN_MS), now_ms);
}

/* Not served. A server that has just started, or is being replaced, may say so too: not believed at once. */
static void absent(struct reflector *r, uint64_t now_ms)
{
	uint64_t max_ms = REFLECTOR_DISCOVERY_MS;

	r->counters.absent++;
	discover_again(r);
	if (r->n_absent++ == 0)
		r->absent_ms = now_ms;
	if (!r->is_synced || r->is_gone ||
	    (r->n_absent >= REFLECTOR_ABSENT_LOOKS && now_ms - r->absent_ms >= REFLECTOR_ABSENT_MS)) {
		if (!r->is_gone)
			log_info("Kubernetes: %s are not served%s", r->name, r->is_synced ? " any more" : " (yet)");
		mark(r);
		sweep(r);
		r->is_synced = r->is_gone = true;
		well(r, now_ms);
	} else {
		tell(r, "not served any more");
		if (now_ms - r->absent_ms < REFLECTOR_DISCOVERY_MS)
			max_ms = REFLECTOR_ABSENT_SOON_MS;
	}
	wait_for(r, random_between(r, max_ms - max_ms / 10, max_ms), now_ms);
}

/* True if the APIResourceList has our plural. -1: it is none. */
static int is_served(const struct reflector *r)
{
	struct arena a = {0};
	struct json_fault fault;
	const struct node *n = json_parse(&a, r->body ? r->body : "", r->body_bytes, &fault);
	const struct node *list = node_get(n, "resources");
	int found = list && list->kind == NODE_LIST ? 0 : -1;

	for (size_t i = 0; found == 0 && i < list->n; i++) {
		const char *name = node_str(node_get(list->items[i], "name"));

		found = name && strcmp(name, kube_kind_plural(r->kind)) == 0;
	}
	arena_fini(&a);
	return found;
}

static void end_discovery(struct reflector *r, uint64_t now_ms)
{
	int found = r->notes.status == 404 ? 0 : -1;

	if (r->notes.status == 200 && !r->notes.error[0])
		found = is_served(r);
	if (found < 0) {
		r->notes.is_malformed |= r->notes.status == 200 && !r->notes.error[0];
		if (r->notes.is_malformed && !r->notes.error[0])
			malformed(r, "no list of resources");
		fail(r, now_ms);
	} else if (found) {
		store_set_version(r->store, r->kind, kube_kind_version(r->kind, r->version));
		list_again(r);
		wait_for(r, 0, now_ms);
	} else if (kube_kind_version(r->kind, r->version + 1)) {
		r->version++;
		wait_for(r, 0, now_ms);
	} else {
		absent(r, now_ms);
	}
}

/* Each page says what to ask for next, and a server, or a cache before it, may do so for ever. */
static bool is_endless(const struct reflector *r)
{
	return r->n_pages >= REFLECTOR_MAX_PAGES || (r->asked_token && strcmp(r->continue_token, r->asked_token) == 0);
}

static void end_list(struct reflector *r, uint64_t now_ms)
{
	if (r->notes.status == 410) { /* the pages to come are of a state that the server has forgotten */
		r->counters.expired++;
		list_again(r);
		back_off(r, now_ms);
	} else if (r->notes.status == 404) {
		discover_again(r);
		wait_for(r, 0, now_ms);
	} else if (r->notes.status != 200 || r->notes.error[0]) {
		fail(r, now_ms);
	} else if (!json_split_is_whole(&r->split) || !r->is_list_of_kind || !r->page_version[0]) {
		malformed(r, "no complete list of the kind");
		fail(r, now_ms);
	} else if (r->continue_token && is_endless(r)) {
		r->counters.endless++;
		malformed(r, r->n_pages >= REFLECTOR_MAX_PAGES ? "a list without an end: too many pages"
							       : "a list without an end: the same page again");
		fail(r, now_ms);
	} else if (r->continue_token) {
		wait_for(r, 0, now_ms);
	} else {
		list_is_whole(r);
		memcpy(r->resource_version, r->page_version, sizeof(r->resource_version));
		r->n_absent = r->n_watch_failures = 0;
		r->is_synced = true;
		r->is_gone = false;
		well(r, now_ms);
		r->step = REFLECTOR_WATCH;
		wait_for(r, 0, now_ms);
	}
}

/* Servers without it say 422 or 400, or give what they give without it. */
static bool is_refused(const struct reflector_notes *n)
{
	return n->status == 400 || n->status == 422 || n->is_ignored;
}

/* It has ended, or was ended, before it had told all. */
static void end_stream(struct reflector *r, uint64_t now_ms)
{
	const struct reflector_notes *n = &r->notes;

	if (is_refused(n)) {
		r->counters.stream_refused++;
		r->lists_plainly = true;
		list_again(r);
		wait_for(r, 0, now_ms);
		return;
	}
	if (n->status == 200)
		r->n_stream_failures++;
	if (r->n_stream_failures >= MAX_STREAM_FAILURES) {
		r->counters.stream_refused++;
		r->lists_plainly = true;
	}
	if (n->status == 410 || n->is_expired) {
		r->counters.expired++;
		list_again(r);
		back_off(r, now_ms);
	} else if (n->status == 404) {
		discover_again(r);
		wait_for(r, 0, now_ms);
	} else {
		fail(r, now_ms);
	}
}

static void end_watch(struct reflector *r, uint64_t now_ms)
{
	if (r->notes.status == 410 || r->notes.is_expired) {
		r->counters.expired++;
		list_again(r);
		if (r->notes.has_events) {
			wait_for(r, 0, now_ms);
		} else { /* the server is well; but not at once, or a place that is never good would be asked for without end */
			r->backoff_ms = 0;
			back_off(r, now_ms);
		}
	} else if (r->notes.status == 404) {
		discover_again(r);
		wait_for(r, 0, now_ms);
	} else if (r->notes.status != 200 || r->notes.error[0] || is_over(&r->notes)) {
		fail(r, now_ms);
	} else if (!json_split_is_whole(&r->split)) {
		malformed(r, "an event is not complete");
		fail(r, now_ms);
	} else if (!r->notes.has_events && now_ms - r->began_ms < QUICK_WATCH_MS) {
		fail(r, now_ms);
	} else { /* its time was over */
		if (r->is_unswept)
			list_again(r);
		r->backoff_ms = 0;
		wait_for(r, 0, now_ms);
	}
}

static void end(struct reflector *r, uint64_t now_ms)
{
	if (r->call)
		r->http.cancel(r->http.ctx, r->call);
	r->call = NULL;
	if (r->step == REFLECTOR_DISCOVERY)
		end_discovery(r, now_ms);
	else if (r->step == REFLECTOR_STREAM)
		end_stream(r, now_ms);
	else if (r->step == REFLECTOR_LIST)
		end_list(r, now_ms);
	else
		end_watch(r, now_ms);
	end_call(r);
	memset(&r->notes, 0, sizeof(r->notes));
}

static void begin(struct reflector *r, uint64_t now_ms)
{
	if (r->step == REFLECTOR_DISCOVERY)
		begin_discovery(r, now_ms);
	else if (r->step == REFLECTOR_STREAM)
		begin_stream(r, now_ms);
	else if (r->step == REFLECTOR_LIST)
		begin_list(r, now_ms);
	else
		begin_watch(r, now_ms);
}

uint64_t reflector_poll(struct reflector *r, uint64_t now_ms)
{
	struct reflector_notes *n = &r->notes;

	if (n->has_bytes) {
		n->has_bytes = false;
		r->heard_ms = now_ms;
		r->stall_ms = r->open_stall_ms;
		if (r->step == REFLECTOR_WATCH && n->status == 200 && !is_over(n))
			well(r, now_ms);
	}
	if (r->call && now_ms - r->heard_ms >= r->stall_ms) {
		r->counters.stalled++;
		copy_text(n->error, sizeof(n->error), "no byte for too long");
		n->is_ignored = r->step == REFLECTOR_STREAM && n->status == 200;
		n->is_done = true;
	}
	if (n->is_done || is_over(n))
		end(r, now_ms);
	if (!r->call && !n->is_done && now_ms >= r->next_ms)
		begin(r, now_ms);
	if (!r->call)
		return n->is_done ? now_ms : r->next_ms;
	return r->heard_ms + r->stall_ms;
}

void reflector_hurry(struct reflector *r, bool is_well, uint64_t now_ms)
{
	uint64_t soon_ms;

	if (r->call || r->is_forbidden || !(r->has_no_answer || (is_well && r->is_ill)) || r->next_ms <= now_ms + REFLECTOR_BACKOFF_MIN_MS)
		return;
	soon_ms = now_ms + random_between(r, 0, REFLECTOR_BACKOFF_MIN_MS);
	if (soon_ms < r->next_ms)
		r->next_ms = soon_ms;
}

uint64_t reflector_take(struct reflector *r)
{
	uint64_t changed = r->changed;

	r->changed = 0;
	return changed;
}
