/* SPDX-License-Identifier: Apache-2.0 */
#include "status/events.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/hash.h"
#include "base/ip.h"
#include "base/log.h"
#include "status/events_pvt.h"
#include "status/exchange.h"
#include "status/status_pvt.h"

#define N_BUCKETS 4096u
#define NOTE_BYTES 1024u

enum record_state {
	RECORD_DUE,    /* to be told in its turn */
	RECORD_LATER,  /* from next_ms on */
	RECORD_FLIGHT, /* being told */
};

struct record {
	uint64_t key;	 /* of all that is said, and of whom */
	uint64_t object; /* of whom */
	json_t *event;
	const char *ns, *name; /* of the Event, within it */
	enum record_state state;
	bool is_once;	   /* no state, but a change: not told again while it lasts */
	bool is_there;	   /* the API server has it */
	uint32_t count;	   /* there; 0: not known */
	uint32_t backoff_ms;
	unsigned round;	   /* of the last making that had it */
	uint64_t seen_ms;  /* when that was */
	uint64_t next_ms;
	struct record *chain;
	TAILQ_ENTRY(record) link;
};

TAILQ_HEAD(records, record);

struct flight {
	struct exchange exchange;
	struct record *record; /* NULL: free */
};

/* Two objects of one place share it, one after the other, each beginning with a full one. */
struct bucket {
	uint64_t object, tokens, filled_ms; /* tokens: in milliseconds of refill */
};

struct events {
	struct reflector_http http;
	const char *instance;
	const struct store *store; /* NULL: before the first update */
	const struct model *model;
	struct record *records[N_BUCKETS];
	struct records due, later; /* what is in flight is in neither */
	size_t n, n_due;
	unsigned round;
	struct flight flights[EVENTS_IN_FLIGHT];
	struct bucket buckets[N_BUCKETS];
	struct bucket all;
	uint64_t made_ms, look_ms, pause_ms, random;
	bool is_stale, was_sending, is_told; /* is_told: that they are refused */
	struct events_counters counters;
	char note[NOTE_BYTES]; /* its texts, one behind the other */
	struct events_note noted;
};

struct events *events_create(const struct reflector_http *http, const char *instance, uint64_t seed)
{
	struct events *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->http = *http;
	e->instance = instance;
	e->random = seed * 2 + 1;
	e->look_ms = UINT64_MAX;
	TAILQ_INIT(&e->due);
	TAILQ_INIT(&e->later);
	return e;
}

/* ---- what is known ---- */

static void record_unlink(struct events *e, struct record *r)
{
	if (r->state == RECORD_DUE) {
		TAILQ_REMOVE(&e->due, r, link);
		e->n_due--;
	} else if (r->state == RECORD_LATER) {
		TAILQ_REMOVE(&e->later, r, link);
	}
}

static void record_link(struct events *e, struct record *r, enum record_state state, uint64_t next_ms)
{
	r->state = state;
	r->next_ms = next_ms;
	if (state == RECORD_DUE) {
		TAILQ_INSERT_TAIL(&e->due, r, link);
		e->n_due++;
	} else if (state == RECORD_LATER) {
		TAILQ_INSERT_TAIL(&e->later, r, link);
		e->look_ms = next_ms < e->look_ms ? next_ms : e->look_ms;
	}
}

static void record_move(struct events *e, struct record *r, enum record_state state, uint64_t next_ms)
{
	record_unlink(e, r);
	record_link(e, r, state, next_ms);
}

static void record_drop(struct events *e, struct record *r)
{
	struct record **at = &e->records[r->key % N_BUCKETS];

	while (*at != r)
		at = &(*at)->chain;
	*at = r->chain;
	record_unlink(e, r);
	e->n--;
	json_decref(r->event);
	free(r);
}

void events_destroy(struct events *e)
{
	if (!e)
		return;
	for (unsigned i = 0; i < EVENTS_IN_FLIGHT; i++)
		exchange_end(&e->flights[i].exchange, &e->http);
	for (unsigned i = 0; i < N_BUCKETS; i++)
		while (e->records[i])
			record_drop(e, e->records[i]);
	free(e);
}

static uint64_t hash_text(const char *text, uint64_t h)
{
	return hash64(text, strlen(text) + 1, h);
}

/* Room for one more: of what is no longer so, the oldest goes. */
static bool make_room(struct events *e)
{
	struct record *oldest = NULL, *r;

	if (e->n < EVENTS_MAX)
		return true;
	TAILQ_FOREACH(r, &e->later, link)
		if (r->round + 1 < e->round && (!oldest || r->seen_ms < oldest->seen_ms))
			oldest = r;
	if (oldest)
		record_drop(e, oldest);
	return oldest != NULL;
}

/* It is so now. */
static void see(struct events *e, const struct event_facts *f, bool is_once, uint64_t now_ms)
{
	const struct kube_object *o = f->object;
	uint64_t object = hash_text(o->uid, hash_text(o->name, hash_text(o->ns, o->kind)));
	uint64_t key = hash_text(f->text, hash_text(f->field, hash_text(f->reason, object)));
	struct record *r = e->records[key % N_BUCKETS];

	while (r && r->key != key)
		r = r->chain;
	if (!r) {
		r = make_room(e) ? calloc(1, sizeof(*r)) : NULL;
		if (!r) {
			e->counters.dropped++;
			return;
		}
		r->key = key;
		r->object = object;
		r->is_once = is_once;
		r->event = event_json(f, key, e->instance);
		r->ns = json_text(json_object_get(r->event, "metadata"), "namespace", "");
		r->name = json_text(json_object_get(r->event, "metadata"), "name", "");
		r->chain = e->records[key % N_BUCKETS];
		e->records[key % N_BUCKETS] = r;
		e->n++;
		record_link(e, r, RECORD_LATER, now_ms + EVENTS_SETTLE_MS);
	} else if (r->round + 1 < e->round && r->state == RECORD_LATER) { /* again */
		record_move(e, r, RECORD_LATER, now_ms + EVENTS_SETTLE_MS);
	}
	r->round = e->round;
	r->seen_ms = now_ms;
}

/* What is so no more is not told; but it is known for a while, since it may come back. */
static void let_go(struct events *e, uint64_t now_ms)
{
	for (unsigned i = 0; i < N_BUCKETS; i++) {
		struct record *r, *next;

		for (r = e->records[i]; r; r = next) {
			next = r->chain;
			if (r->round == e->round || r->state == RECORD_FLIGHT ||
			    (r->is_once && r->next_ms != UINT64_MAX))
				continue;
			if (!r->is_there || now_ms - r->seen_ms >= EVENTS_FORGET_MS)
				record_drop(e, r);
			else
				record_move(e, r, RECORD_LATER, UINT64_MAX);
		}
	}
}

/* ---- what is to be told ---- */

static const struct kube_object *find_object(const struct store *s, const struct model_problem *p)
{
	for (unsigned k = 0; k < KUBE_N_KINDS; k++)
		if (strcmp(kube_kind_name(k), p->kind) == 0)
			return store_get(s, k, p->ns, p->name);
	return NULL;
}

static bool is_programmed(const struct kube_object *gateway)
{
	const struct node *list = node_path(gateway->root, "status.conditions");

	for (size_t i = 0; list && list->kind == NODE_LIST && i < list->n; i++) {
		const char *type = node_str(node_get(list->items[i], "type"));
		const char *status = node_str(node_get(list->items[i], "status"));

		if (type && status && strcmp(type, "Programmed") == 0)
			return strcmp(status, "True") == 0;
	}
	return false;
}

/* A Gateway that is served from now on. */
static void see_gateway(struct events *e, const struct model_status *v, uint64_t now_ms)
{
	const struct kube_object *o = store_get(e->store, KUBE_GATEWAY, v->ns, v->name);
	bool is_now = false;
	char text[256] = "served on the addresses of the dataplane";
	size_t n = 0;

	for (size_t i = 0; i < v->conditions.n; i++) {
		const struct model_condition *c = &v->conditions.c[i];

		is_now |= strcmp(c->type, "Programmed") == 0 && strcmp(c->status, "True") == 0;
	}
	if (!o || !o->uid[0] || !is_now || is_programmed(o))
		return;
	for (size_t i = 0; i < v->n_addrs && n < sizeof(text) - IP_TEXT_MAX - 8; i++) {
		char ip[IP_TEXT_MAX];

		ip_format(&v->addrs[i], ip);
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s %s", i ? "," : "served at", ip);
	}
	see(e, &(struct event_facts){.object = o, .reason = "Programmed", .field = "", .text = text}, true, now_ms);
}

/* A Service to which requests go, and there is nobody to answer them. */
static void see_backend(struct events *e, const struct model_backend *b, uint64_t now_ms)
{
	const char *slash = b->name ? strchr(b->name, '/') : NULL; /* without a name: a place that is free */
	const char *colon = b->name ? strrchr(b->name, ':') : NULL;
	const struct kube_object *o;
	char ns[64], name[256], text[160];
	struct event_facts f;

	if (b->n_endpoints > 0 || b->external || !slash || !colon || (size_t)(slash - b->name) >= sizeof(ns) ||
	    (size_t)(colon - slash) >= sizeof(name))
		return;
	snprintf(ns, sizeof(ns), "%.*s", (int)(slash - b->name), b->name);
	snprintf(name, sizeof(name), "%.*s", (int)(colon - slash - 1), slash + 1);
	o = store_get(e->store, KUBE_SERVICE, ns, name);
	snprintf(text, sizeof(text),
		 "port %.64s has no ready endpoint: requests for it are answered 503 until one of its Pods is ready.", colon + 1);
	f = (struct event_facts){.object = o, .is_warning = true, .reason = "NoReadyEndpoints", .field = "", .text = text};
	if (o && o->uid[0])
		see(e, &f, false, now_ms);
}

static void see_note(struct events *e, uint64_t now_ms)
{
	const struct events_note *v = &e->noted;
	const struct kube_object o = {.kind = v->kind, .ns = v->ns, .name = v->name, .uid = v->uid, .resource_version = v->version};

	if (v->text && v->text[0] && v->uid[0])
		see(e, &(struct event_facts){.object = &o, .is_warning = true, .reason = v->reason, .field = v->field, .text = v->text}, false,
		    now_ms);
}

static void make(struct events *e, uint64_t now_ms)
{
	e->is_stale = false;
	e->made_ms = now_ms;
	e->round++;
	for (size_t i = 0; i < e->model->n_problems; i++) {
		const struct model_problem *p = &e->model->problems[i];
		const struct event_facts f = {.object = find_object(e->store, p),
					      .is_warning = true,
					      .reason = p->reason,
					      .field = p->field,
					      .text = p->text};

		if (f.object && f.object->uid[0])
			see(e, &f, false, now_ms);
	}
	for (size_t i = 0; i < e->model->n_statuses; i++)
		if (e->model->statuses[i].kind == KUBE_GATEWAY)
			see_gateway(e, &e->model->statuses[i], now_ms);
	for (size_t i = 0; i < e->model->n_backends; i++)
		see_backend(e, &e->model->backends[i], now_ms);
	see_note(e, now_ms);
	let_go(e, now_ms);
}

void events_update(struct events *e, const struct store *s, const struct model *m)
{
	e->store = s;
	e->model = m;
	e->is_stale = true;
}

static const char *copy(struct events *e, size_t *at, const char *text)
{
	char *out = e->note + *at;

	*at += (size_t)snprintf(out, NOTE_BYTES - *at, "%s", text) + 1;
	return out;
}

void events_note(struct events *e, const struct events_note *note)
{
	const struct events_note *old = &e->noted;
	size_t n = strlen(note->ns) + strlen(note->name) + strlen(note->uid) + strlen(note->version) + strlen(note->text) + 5, at = 0;

	if (old->text && strcmp(old->text, note->text) == 0 && strcmp(old->uid, note->uid) == 0)
		return;
	e->is_stale = true;
	e->noted = (struct events_note){0};
	if (n > NOTE_BYTES) /* of names and texts of ours: none is so long */
		return;
	e->noted = *note;
	e->noted.ns = copy(e, &at, note->ns);
	e->noted.name = copy(e, &at, note->name);
	e->noted.uid = copy(e, &at, note->uid);
	e->noted.version = copy(e, &at, note->version);
	e->noted.text = copy(e, &at, note->text);
}

/* ---- telling ---- */

static uint64_t jitter(struct events *e, uint64_t ms)
{
	e->random = e->random * 6364136223846793005ull + 1442695040888963407ull;
	return ms - (e->random >> 33) % (ms / 3 + 1);
}

/* each_ms: for a token. */
static bool take_token(struct bucket *b, uint64_t each_ms, uint64_t burst, uint64_t now_ms)
{
	b->tokens += now_ms - b->filled_ms;
	b->filled_ms = now_ms;
	if (b->tokens > burst * each_ms)
		b->tokens = burst * each_ms;
	if (b->tokens < each_ms)
		return false;
	b->tokens -= each_ms;
	return true;
}

static bool object_may(struct events *e, const struct record *r, uint64_t now_ms)
{
	struct bucket *b = &e->buckets[r->object % N_BUCKETS];

	if (b->object != r->object)
		*b = (struct bucket){r->object, (uint64_t)EVENTS_OBJECT_BURST * EVENTS_OBJECT_MS, now_ms};
	return take_token(b, EVENTS_OBJECT_MS, EVENTS_OBJECT_BURST, now_ms);
}

static void send(struct events *e, struct flight *f, struct record *r, int64_t now_s)
{
	uint32_t count = r->count ? r->count + 1 : 0;
	char *body = r->is_there ? event_patch_text(count, now_s) : event_create_text(r->event, now_s);
	char path[600];
	int n = snprintf(path, sizeof(path), "/api/v1/namespaces/%s/events", r->ns);

	if (r->is_there)
		snprintf(path + n, sizeof(path) - (size_t)n, "/%s", r->name);
	record_move(e, r, RECORD_FLIGHT, 0);
	f->record = r;
	exchange_begin(&f->exchange, &e->http, r->is_there ? "PATCH" : "POST", path,
		       r->is_there ? "application/merge-patch+json" : NULL, body);
	free(body);
}

static void send_all(struct events *e, uint64_t now_ms, int64_t now_s)
{
	for (unsigned i = 0; i < EVENTS_IN_FLIGHT; i++) {
		struct record *r;

		while (!e->flights[i].record && (r = TAILQ_FIRST(&e->due))) {
			if (!object_may(e, r, now_ms)) {
				e->counters.dropped++;
				record_move(e, r, RECORD_LATER, now_ms + jitter(e, EVENTS_REPEAT_MS));
			} else if (take_token(&e->all, 1000 / EVENTS_PER_S, EVENTS_BURST, now_ms)) {
				send(e, &e->flights[i], r, now_s);
			} else {
				e->buckets[r->object % N_BUCKETS].tokens += EVENTS_OBJECT_MS; /* its turn comes */
				return;
			}
		}
	}
}

static void told(struct events *e, struct record *r, const struct exchange *x, uint64_t now_ms)
{
	json_t *root = exchange_json(x);
	json_int_t count = json_integer_value(json_object_get(root, "count"));

	if (r->is_there)
		e->counters.patched++;
	else
		e->counters.created++;
	e->is_told = false;
	r->is_there = true;
	r->count = count > 0 && count < INT32_MAX ? (uint32_t)count : 1;
	r->backoff_ms = 0;
	record_link(e, r, RECORD_LATER, r->is_once ? UINT64_MAX : now_ms + jitter(e, EVENTS_REPEAT_MS));
	json_decref(root);
}

static void fail(struct events *e, struct record *r, const struct exchange *x, uint64_t now_ms)
{
	bool passes = x->status == 429 || x->status >= 500 || x->status == 0 || x->error[0];
	char why[256];

	e->counters.failed++;
	exchange_problem(x, why);
	if (passes) {
		uint64_t wait_ms = exchange_wait_ms(x);

		r->backoff_ms = r->backoff_ms ? r->backoff_ms * 2 : EVENTS_BACKOFF_MIN_MS;
		if (r->backoff_ms > EVENTS_BACKOFF_MAX_MS)
			r->backoff_ms = EVENTS_BACKOFF_MAX_MS;
		if (now_ms + wait_ms > e->pause_ms)
			e->pause_ms = now_ms + wait_ms;
		record_link(e, r, RECORD_LATER, now_ms + jitter(e, r->backoff_ms));
		log_debug("Event %s/%s: %s", r->ns, r->name, why);
		return;
	}
	if (!e->is_told)
		log_warn("Event %s/%s is refused: %s", r->ns, r->name, why);
	e->is_told = true;
	record_link(e, r, RECORD_LATER, now_ms + jitter(e, EVENTS_REPEAT_MS));
}

static void end(struct events *e, struct flight *f, uint64_t now_ms)
{
	const struct exchange *x = &f->exchange;
	struct record *r = f->record;

	f->record = NULL;
	if (!x->error[0] && x->status / 100 == 2) {
		told(e, r, x, now_ms);
	} else if (!x->error[0] && x->status == 409 && !r->is_there) { /* of a Weir before us: its count is learned */
		r->is_there = true;
		record_link(e, r, RECORD_DUE, 0);
	} else if (!x->error[0] && x->status == 404 && r->is_there) { /* it was forgotten there */
		r->is_there = false;
		record_link(e, r, RECORD_DUE, 0);
	} else {
		fail(e, r, x, now_ms);
	}
	exchange_end(&f->exchange, &e->http);
}

static void look(struct events *e, uint64_t now_ms)
{
	struct record *r, *next;

	e->look_ms = UINT64_MAX;
	for (r = TAILQ_FIRST(&e->later); r; r = next) {
		next = TAILQ_NEXT(r, link);
		if (now_ms >= r->next_ms)
			record_move(e, r, RECORD_DUE, 0);
		else if (r->next_ms < e->look_ms)
			e->look_ms = r->next_ms;
	}
}

uint64_t events_poll(struct events *e, bool may_send, uint64_t now_ms, int64_t now_s)
{
	uint64_t next_ms;

	for (unsigned i = 0; i < EVENTS_IN_FLIGHT; i++)
		if (e->flights[i].record && e->flights[i].exchange.is_done)
			end(e, &e->flights[i], now_ms);
	if (!may_send || !e->store) {
		e->was_sending = false;
		return UINT64_MAX;
	}
	e->is_stale |= !e->was_sending; /* what is under way is of an older model */
	e->was_sending = true;
	if (now_ms - e->made_ms >= (e->is_stale ? EVENTS_REMAKE_MS : EVENTS_LOOK_MS))
		make(e, now_ms);
	if (now_ms >= e->look_ms)
		look(e, now_ms);
	if (now_ms >= e->pause_ms && !e->is_stale)
		send_all(e, now_ms, now_s);
	next_ms = e->made_ms + (e->is_stale ? EVENTS_REMAKE_MS : EVENTS_LOOK_MS);
	if (!e->is_stale && e->look_ms < next_ms)
		next_ms = e->look_ms;
	if (!TAILQ_EMPTY(&e->due))
		for (unsigned i = 0; i < EVENTS_IN_FLIGHT; i++)
			if (!e->flights[i].record && now_ms + 1000 / EVENTS_PER_S < next_ms)
				next_ms = now_ms + 1000 / EVENTS_PER_S;
	for (unsigned i = 0; i < EVENTS_IN_FLIGHT; i++)
		if (e->flights[i].exchange.is_done) /* had no memory */
			next_ms = now_ms;
	return next_ms;
}

size_t events_n_waiting(const struct events *e)
{
	size_t n = e->n_due;

	for (unsigned i = 0; i < EVENTS_IN_FLIGHT; i++)
		n += e->flights[i].record != NULL;
	return n;
}

const struct events_counters *events_counters(const struct events *e)
{
	return &e->counters;
}
