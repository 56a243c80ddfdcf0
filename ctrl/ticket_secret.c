/* SPDX-License-Identifier: Apache-2.0 */
/* See ticket_secret.h. */
#include "ticket_secret.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "kube/json_tree.h"

#define TIMEOUT_MS 10000u
#define VERSION_BYTES 128u
#define UID_BYTES 64u

/* A request, and what came of it; bytes are kept of a read alone. */
struct request {
	struct kube_call *call;
	bool is_done;
	int status;
	bool has_failed, is_too_large;
	uint32_t retry_after_s;
	char *body;
	size_t n, cap;
};

struct ticket_secret {
	struct ticket_secret_options o;
	struct reflector_http http;
	bool has_http;
	ticket_secret_give_fn *give;
	void *ctx;
	uint64_t random;

	struct request read, write;
	uint64_t next_read_ms, next_write_ms;
	bool is_written; /* since it was read: what is known of it is old */
	bool makes;	 /* the write under way fills it */

	enum ticket_secret_state state;
	char why[TICKET_KEYS_FAULT_BYTES];
	char version[VERSION_BYTES]; /* as last read; "": it cannot be written */
	char uid[UID_BYTES];	     /* likewise, for Events; "": not known */
	struct weir_ticket_keys keys; /* the last good ones; n 0: none yet */
	int64_t rotated_s;
	uint64_t seen_ms; /* when these keys were seen first */
	uint64_t bad_ms;  /* since when there are no good ones; is_bad */
	bool is_bad, is_given_up, may_write;
	struct ticket_secret_counters counters;
};

const char *ticket_secret_state_name(enum ticket_secret_state s)
{
	static const char *const names[] = {"unknown", "good", "absent", "empty", "wrong", "forbidden"};

	return names[s];
}

/* ---- requests */

static void request_end(struct ticket_secret *t, struct request *r)
{
	if (r->call)
		t->http.cancel(t->http.ctx, r->call);
	if (r->body)
		explicit_bzero(r->body, r->cap);
	free(r->body);
	memset(r, 0, sizeof(*r));
}

static void on_data(void *ctx, const void *bytes, size_t n)
{
	struct request *r = ctx;

	if (r->is_too_large || n > TICKET_SECRET_MAX_BYTES - r->n) {
		r->is_too_large = true;
		return;
	}
	if (r->n + n > r->cap) { /* not by realloc(), which would leave the bytes where they were */
		size_t cap = 2 * (r->n + n);
		char *body = malloc(cap);

		if (!body) {
			r->is_too_large = true;
			return;
		}
		if (r->body) {
			memcpy(body, r->body, r->n);
			explicit_bzero(r->body, r->cap);
		}
		free(r->body);
		r->body = body;
		r->cap = cap;
	}
	memcpy(r->body + r->n, bytes, n);
	r->n += n;
}

static void on_done(void *ctx, int status, const char *error, uint32_t retry_after_s)
{
	struct request *r = ctx;

	r->call = NULL;
	r->is_done = true;
	r->status = status;
	r->has_failed = error != NULL;
	r->retry_after_s = retry_after_s;
}

/* json NULL: it is read. What a write answers is the Secret again, which nobody needs. */
static void request_begin(struct ticket_secret *t, struct request *r, const char *method, bool is_named, const char *json)
{
	char path[512];
	const struct kube_request q = {
	    .method = method,
	    .path = path,
	    .content_type = strcmp(method, "PATCH") == 0 ? "application/merge-patch+json" : NULL,
	    .body = json,
	    .body_bytes = json ? strlen(json) : 0,
	    .timeout_ms = TIMEOUT_MS,
	    .on_data = json ? NULL : on_data,
	    .on_done = on_done,
	    .ctx = r,
	};

	snprintf(path, sizeof(path), "/api/v1/namespaces/%s/secrets%s%s%s", t->o.ns, is_named ? "/" : "?fieldManager=" KUBE_MANAGER,
		 is_named ? t->o.name : "", is_named && json ? "?fieldManager=" KUBE_MANAGER : "");
	memset(r, 0, sizeof(*r));
	r->call = t->http.request(t->http.ctx, &q);
	if (!r->call)
		on_done(r, 0, "no memory for a request", 0);
}

static uint64_t jitter(struct ticket_secret *t, uint64_t ms)
{
	t->random = t->random * 6364136223846793005ull + 1442695040888963407ull;
	return ms - (t->random >> 33) % (ms / 5 + 1);
}

/* ---- what is known of it */

static uint64_t rotate_ms(const struct ticket_secret *t)
{
	return (uint64_t)(t->o.rotate_s ? t->o.rotate_s : TICKET_SECRET_ROTATE_S) * 1000;
}

static uint64_t read_ms(const struct ticket_secret *t)
{
	return rotate_ms(t) / 8 < TICKET_SECRET_READ_MS ? rotate_ms(t) / 8 : TICKET_SECRET_READ_MS;
}

static uint64_t hold_ms(const struct ticket_secret *t)
{
	return rotate_ms(t) / 2 < TICKET_SECRET_HOLD_MS ? rotate_ms(t) / 2 : TICKET_SECRET_HOLD_MS;
}

static void set_state(struct ticket_secret *t, enum ticket_secret_state state, const char *why, uint64_t now_ms)
{
	bool is_other = state != t->state || strcmp(why, t->why) != 0;
	bool is_bad = state != TICKET_SECRET_GOOD;

	if (is_bad && !t->is_bad)
		t->bad_ms = now_ms;
	t->is_bad = is_bad;
	t->state = state;
	snprintf(t->why, sizeof(t->why), "%s", why);
	if (!is_other)
		return;
	t->counters.wrong += state == TICKET_SECRET_WRONG;
	if (is_bad)
		log_warn("Secret %s/%s with ticket keys is %s%s%s%s", t->o.ns, t->o.name, ticket_secret_state_name(state),
			 why[0] ? ": " : "", why, t->keys.n ? "; the last keys stay" : "");
	else
		log_info("Secret %s/%s: %u ticket keys", t->o.ns, t->o.name, t->keys.n);
}

static void take_good(struct ticket_secret *t, const struct weir_ticket_keys *keys, uint64_t now_ms)
{
	bool is_other = memcmp(keys, &t->keys, sizeof(*keys)) != 0;

	if (is_other)
		t->seen_ms = now_ms;
	t->keys = *keys;
	if (is_other) /* as they are, too, after those before were given up */
		t->give(t->ctx, &t->keys);
	t->is_given_up = false;
	set_state(t, TICKET_SECRET_GOOD, "", now_ms);
}

/* It goes into JSON as it is. */
static void take_version(struct ticket_secret *t, const struct node *secret)
{
	const char *v = node_str(node_path(secret, "metadata.resourceVersion"));

	const char *uid = node_str(node_path(secret, "metadata.uid"));

	snprintf(t->uid, sizeof(t->uid), "%s", uid && strlen(uid) < sizeof(t->uid) ? uid : "");
	t->version[0] = 0;
	if (v && strlen(v) < sizeof(t->version) && !strpbrk(v, "\"\\\n\r\t"))
		memcpy(t->version, v, strlen(v) + 1);
}

void ticket_secret_take(struct ticket_secret *t, const struct node *secret, uint64_t now_ms)
{
	struct weir_ticket_keys keys;
	char why[TICKET_KEYS_FAULT_BYTES];

	t->is_written = false;
	if (!secret) {
		t->uid[0] = 0;
		set_state(t, TICKET_SECRET_ABSENT, "", now_ms);
		return;
	}
	t->counters.reads++;
	take_version(t, secret);
	t->rotated_s = ticket_keys_rotated_s(secret);
	switch (ticket_keys_read(secret, &keys, why)) {
	case TICKET_KEYS_GOOD:
		take_good(t, &keys, now_ms);
		break;
	case TICKET_KEYS_EMPTY:
		set_state(t, TICKET_SECRET_EMPTY, "", now_ms);
		break;
	case TICKET_KEYS_WRONG:
		set_state(t, TICKET_SECRET_WRONG, why, now_ms);
		break;
	}
	explicit_bzero(&keys, sizeof(keys));
}

/* ---- reading */

static void take_body(struct ticket_secret *t, uint64_t now_ms)
{
	const struct node *root = NULL;
	struct json_tree *tree = t->read.body && !t->read.is_too_large ? json_tree_read(t->read.body, t->read.n, &root) : NULL;
	const char *kind = node_str(node_get(root, "kind"));

	if (kind && strcmp(kind, "Secret") == 0)
		ticket_secret_take(t, root, now_ms);
	else if (t->read.is_too_large)
		set_state(t, TICKET_SECRET_WRONG, "it is larger than 256 KiB", now_ms);
	else
		t->counters.failed++;
	json_tree_wipe(tree);
}

static void end_read(struct ticket_secret *t, uint64_t now_ms)
{
	const struct request *r = &t->read;

	t->next_read_ms = now_ms + jitter(t, read_ms(t));
	if (!r->has_failed && r->status == 200) {
		take_body(t, now_ms);
	} else if (!r->has_failed && r->status == 404) {
		ticket_secret_take(t, NULL, now_ms);
	} else if (!r->has_failed && (r->status == 401 || r->status == 403)) {
		t->counters.refused++;
		set_state(t, TICKET_SECRET_FORBIDDEN, "", now_ms);
	} else { /* nobody knows: what was known stays */
		t->counters.failed++;
		t->next_read_ms = now_ms + kube_http_wait_ms(r->status, r->retry_after_s) + jitter(t, TICKET_SECRET_RETRY_MS);
	}
	request_end(t, &t->read);
}

/* ---- writing */

static void end_write(struct ticket_secret *t, uint64_t now_ms)
{
	const struct request *r = &t->write;

	t->next_write_ms = now_ms + TICKET_SECRET_RETRY_MS;
	t->next_read_ms = now_ms; /* whatever came of it, the Secret says what is */
	if (!r->has_failed && (r->status == 200 || r->status == 201)) {
		*(t->makes ? &t->counters.created : &t->counters.rotated) += 1;
		log_info("Secret %s/%s: ticket keys are %s", t->o.ns, t->o.name, t->makes ? "made" : "rotated");
	} else if (!r->has_failed && r->status == 409) {
		t->counters.conflicts++;
	} else if (!r->has_failed && r->status >= 400 && r->status < 500 && r->status != 429) {
		t->counters.refused++;
		log_warn("Secret %s/%s with ticket keys cannot be written: the API server answers %d", t->o.ns, t->o.name, r->status);
		t->next_write_ms = now_ms + TICKET_SECRET_REFUSED_MS;
	} else {
		t->counters.failed++;
		t->next_write_ms += kube_http_wait_ms(r->status, r->retry_after_s);
	}
	request_end(t, &t->write);
}

/*
 * Keys are due by the time that stands in the Secret, if our clock and that of who wrote it agree, or by the time for which
 * they were seen here; but never so soon that one might seal that a node has not read.
 */
static bool are_due(const struct ticket_secret *t, uint64_t now_ms, int64_t now_s)
{
	const uint64_t seen_ms = now_ms - t->seen_ms;

	return seen_ms >= hold_ms(t) &&
	       (seen_ms >= rotate_ms(t) || now_s - t->rotated_s >= (int64_t)t->o.rotate_s);
}

static bool wants_write(const struct ticket_secret *t, uint64_t now_ms, int64_t now_s)
{
	if (t->is_written) /* first it is read again */
		return false;
	switch (t->state) {
	case TICKET_SECRET_ABSENT:
		return true;
	case TICKET_SECRET_EMPTY:
		return t->version[0] != 0;
	case TICKET_SECRET_GOOD:
		return t->version[0] != 0 && are_due(t, now_ms, now_s);
	default: /* what somebody has put there is not ours to overwrite */
		return false;
	}
}

static void begin_write(struct ticket_secret *t, uint64_t now_ms, int64_t now_s)
{
	const bool is_new = t->state == TICKET_SECRET_ABSENT;
	struct weir_ticket_keys keys = t->state == TICKET_SECRET_GOOD ? t->keys : ticket_keys_none();
	char *json = NULL;

	t->next_write_ms = now_ms + TICKET_SECRET_RETRY_MS;
	if (ticket_keys_rotate(&keys))
		json = ticket_keys_json(&keys, t->o.ns, t->o.name, is_new ? NULL : t->version, now_s);
	explicit_bzero(&keys, sizeof(keys));
	if (!json) {
		log_error("no random numbers or no memory for new ticket keys");
		return;
	}
	t->is_written = true;
	t->makes = t->state != TICKET_SECRET_GOOD;
	request_begin(t, &t->write, is_new ? "POST" : "PATCH", !is_new, json);
	ticket_keys_forget(json);
}

/* ---- */

struct ticket_secret *ticket_secret_create(const struct ticket_secret_options *options, const struct reflector_http *http,
					   ticket_secret_give_fn *give, void *ctx, uint64_t seed)
{
	struct ticket_secret *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->o = *options;
	t->has_http = http != NULL;
	if (http)
		t->http = *http;
	t->give = give;
	t->ctx = ctx;
	t->random = seed * 2 + 1;
	return t;
}

void ticket_secret_destroy(struct ticket_secret *t)
{
	if (!t)
		return;
	request_end(t, &t->read);
	request_end(t, &t->write);
	explicit_bzero(t, sizeof(*t));
	free(t);
}

static void give_up(struct ticket_secret *t)
{
	const struct weir_ticket_keys none = ticket_keys_none();

	t->is_given_up = true;
	log_warn("Secret %s/%s has no good ticket keys for too long: the dataplane makes its own", t->o.ns, t->o.name);
	explicit_bzero(&t->keys, sizeof(t->keys));
	t->give(t->ctx, &none);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* When there is something to do, if nothing happens before. */
static uint64_t next_ms(const struct ticket_secret *t, uint64_t now_ms, int64_t now_s)
{
	uint64_t next = UINT64_MAX;

	if (t->is_bad && !t->is_given_up)
		next = t->bad_ms + 2 * rotate_ms(t);
	if (t->read.is_done || t->write.is_done)
		return now_ms;
	if (t->has_http && !t->read.call && !t->write.call)
		next = earlier(next, t->next_read_ms);
	if (t->may_write && !t->read.call && !t->write.call && wants_write(t, now_ms, now_s))
		next = earlier(next, t->next_write_ms);
	return next;
}

uint64_t ticket_secret_poll(struct ticket_secret *t, bool may_write, uint64_t now_ms, int64_t now_s)
{
	if (t->read.is_done)
		end_read(t, now_ms);
	if (t->write.is_done)
		end_write(t, now_ms);
	if (t->is_bad && !t->is_given_up && now_ms - t->bad_ms >= 2 * rotate_ms(t))
		give_up(t);
	t->may_write = may_write && t->has_http && t->o.rotate_s;
	if (!t->has_http || t->read.call || t->write.call)
		return next_ms(t, now_ms, now_s);
	if (t->may_write && now_ms >= t->next_write_ms && wants_write(t, now_ms, now_s))
		begin_write(t, now_ms, now_s);
	else if (now_ms >= t->next_read_ms)
		request_begin(t, &t->read, "GET", true, NULL);
	return next_ms(t, now_ms, now_s);
}

void ticket_secret_status(const struct ticket_secret *t, struct ticket_secret_status *out)
{
	*out = (struct ticket_secret_status){.ns = t->o.ns, .name = t->o.name, .state = t->state, .why = t->why,
					     .uid = t->uid, .version = t->version,
					     .n_keys = t->keys.n, .rotated_s = t->rotated_s, .rotate_s = t->o.rotate_s,
					     .may_write = t->may_write, .is_given_up = t->is_given_up};
}

const struct ticket_secret_counters *ticket_secret_counters(const struct ticket_secret *t)
{
	return &t->counters;
}
