/* SPDX-License-Identifier: Apache-2.0 */
#include "sync.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "base/log.h"
#include "pathing.h"
#include "saved.h"
#include "snapshot/snapshot.h"
#include "stapling.h"
#include "system_ca.h"
#include "translate/compile.h"
#include "translate/held.h"
#include "translate/translator.h"

void sync_init(struct sync *s, struct store *store, struct publish *publish)
{
	memset(s, 0, sizeof(*s));
	s->store = store;
	s->publish = publish;
	s->options.controller_name = TRANSLATE_CONTROLLER;
	s->options.namespace_bytes = TRANSLATE_NAMESPACE_BYTES;
	s->options.total_bytes = s->room_bytes = WEIR_SNAPSHOT_MAX_BYTES;
	s->options.held = held_create();
	s->translator = translator_create(store, &s->options);
	s->model = translator_model(s->translator);
	s->model->hash_seed = hash_secret();
	s->marks = translator_marks(s->translator);
	store_keep_journal(store);
}

void sync_fini(struct sync *s)
{
	translator_destroy(s->translator);
	held_destroy(s->options.held);
	free(s->snapshot);
	free(s->told);
	free(s->refused);
}

static bool endpoints_differ(const struct weir_endpoint_set *old, const struct model_backend *b)
{
	return !old || old->n_endpoints != b->n_endpoints ||
	       (b->n_endpoints > 0 && memcmp(old->ep, b->endpoints, b->n_endpoints * sizeof(old->ep[0])) != 0);
}

static void send_endpoints_of(struct sync *s, const struct model_backend *b)
{
	size_t n;
	void *blob;
	int err;

	if (!b->name || b->is_pending || !endpoints_differ(publish_find(s->publish, compile_id_of(b)), b))
		return;
	err = compile_endpoints(b, ++s->version, &blob, &n);
	if (!err)
		err = publish_endpoints(s->publish, blob);
	if (err) {
		log_error("endpoints of %s: %s", b->name, strerror(-err));
		s->has_failed = true;
	}
}

/* Of all backends, or of those that have changed. */
static void send_endpoints(struct sync *s, const struct translator_changes *c, bool is_whole)
{
	for (size_t i = 0; i < (is_whole ? s->model->n_backends : c->n_backends); i++)
		send_endpoints_of(s, &s->model->backends[is_whole ? i : c->backends[i]]);
}

/* Backends are sorted by id. */
static bool is_in_snapshot(const void *ctx, uint64_t id)
{
	const struct weir_snapshot *s = ctx;
	uint32_t lo = 0;
	uint32_t hi = snapshot_count(s, BACKENDS);

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		uint64_t at = snapshot_backend(s, mid)->id;

		if (at == id)
			return true;
		if (at < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return false;
}

/* Apart from the generation, and the checksum over it. Of another seed, all tables differ. */
static bool snapshots_differ(const struct weir_snapshot *a, size_t n_a, const struct weir_snapshot *b, size_t n_b)
{
	const size_t from = offsetof(struct weir_snapshot, hash_seed);

	return !a || n_a != n_b || memcmp((const char *)a + from, (const char *)b + from, n_a - from) != 0;
}

/* ---- room for all routes ---- */

#define GUARD_TRIES 8u

static uint64_t room_of(const struct sync *s)
{
	uint64_t room = publish_room(s->publish);

	if (!room)
		room = s->room_bytes;
	if (room > WEIR_SNAPSHOT_MAX_BYTES)
		room = WEIR_SNAPSHOT_MAX_BYTES;
	return s->guard_bytes && s->guard_bytes < room ? s->guard_bytes : room;
}

bool sync_has_other_room(const struct sync *s)
{
	return room_of(s) != s->options.total_bytes;
}

static void run_translator(struct sync *s, const struct store_change *changes, size_t n, struct translator_changes *c)
{
	struct translator_budget b;

	if (publish_room(s->publish))
		s->room_bytes = publish_room(s->publish);
	s->options.total_bytes = room_of(s);
	s->options.now_s = time(NULL);
	translator_run(s->translator, changes, n, c);
	s->has_news |= c->statuses || c->problems;
	s->has_other_problems |= c->problems;
	s->n_own_problems = s->model->n_problems - (c->routes ? 0 : s->n_compiled);
	s->has_references |= c->references;
	s->has_other_names |= c->names;
	translator_budget(s->translator, &b);
	if (s->guard_bytes && b.wanted_bytes <= s->guard_bytes)
		s->guard_bytes = 0; /* they would fit again */
}

/*
 * What is reckoned of routes is more than what they take, so this does not happen. Should it, the largest namespaces
 * give way until the rest fits: nobody's routes are to stay as they were for the sake of another's.
 */
static void give_way(struct sync *s, size_t n)
{
	static const struct store_change none;
	struct translator_changes c;
	struct translator_budget b;

	translator_budget(s->translator, &b);
	s->guard_bytes = room_of(s);
	if (b.wanted_bytes < s->guard_bytes)
		s->guard_bytes = b.wanted_bytes;
	s->guard_bytes = s->guard_bytes / 4 * 3;
	s->n_guarded++;
	log_error("all routes take %zu bytes, more than there is room for: the largest namespaces give way, down to %" PRIu64
		  " KiB in all", n, s->guard_bytes >> 10);
	run_translator(s, &none, 0, &c); /* which only takes routes away: no backend is new */
}

static int compile_fitting(struct sync *s, void **blob, size_t *n)
{
	const size_t room = publish_room(s->publish);
	int err;

	for (unsigned i = 0;; i++) {
		err = compile_snapshot(s->model, s->generation + 1, blob, n);
		if ((err && err != -E2BIG) || (!err && (!room || *n <= room)) || i == GUARD_TRIES)
			return err;
		if (!err)
			free(*blob);
		give_way(s, err ? (size_t)WEIR_SNAPSHOT_MAX_BYTES : *n);
	}
}

static bool have_same_backends(const struct weir_snapshot *a, const struct weir_snapshot *b)
{
	if (!a || snapshot_count(a, BACKENDS) != snapshot_count(b, BACKENDS))
		return false;
	for (uint32_t i = 0; i < snapshot_count(a, BACKENDS); i++)
		if (snapshot_backend(a, i)->id != snapshot_backend(b, i)->id)
			return false;
	return true;
}

/* Endpoints of backends that are in no snapshot any more go; of one that was not sent, too, with the next. */
static void prune(struct sync *s)
{
	if (s->wants_prune)
		publish_prune(s->publish, is_in_snapshot, s->snapshot);
	s->wants_prune = false;
}

/* ---- certificates ---- */

/*
 * So long a certificate that the dataplane did not take is left out; then it is tried again, with the next routes, or at once
 * if there was no room.
 */
#define REFUSED_S 60

static int id_order(const void *a, const void *b)
{
	return certificate_compare_ids(a, b);
}

/* The certificates of a model that a snapshot names. */
struct named_certs {
	const struct weir_cert_id *ids; /* sorted */
	size_t n_ids;
	const struct staples *staples;
	const struct certificate **list; /* NULL: they are counted */
	size_t n;
};

static void add_if_named(struct named_certs *x, const struct certificate *c)
{
	if (!bsearch(&c->blob->id, x->ids, x->n_ids, sizeof(*x->ids), id_order))
		return;
	if (x->list)
		x->list[x->n] = c;
	x->n++;
}

/* Itself, or with its OCSP response; in a moment it may be both. */
static void add_named(void *ctx, const struct certificate *c)
{
	struct named_certs *x = ctx;
	const struct certificate *stapled = staples_served(x->staples, c);

	add_if_named(x, c);
	if (stapled != c)
		add_if_named(x, stapled);
}

/* 0 or -ENOMEM. */
static int hand_in_certificates(struct sync *s, const struct weir_snapshot *snapshot)
{
	const size_t n_ids = snapshot_count(snapshot, CERTS);
	struct weir_cert_id *ids = malloc((n_ids + 1) * sizeof(*ids));
	struct named_certs named = {.ids = ids, .n_ids = n_ids, .staples = s->staples};
	int err;

	if (!ids)
		return -ENOMEM;
	if (n_ids)
		memcpy(ids, snapshot_cert(snapshot, 0), n_ids * sizeof(*ids));
	qsort(ids, n_ids, sizeof(*ids), id_order);
	model_each_certificate(s->model, add_named, &named);
	named.list = calloc(named.n + 1, sizeof(*named.list));
	named.n = 0;
	if (named.list)
		model_each_certificate(s->model, add_named, &named);
	err = named.list ? publish_certificates(s->publish, named.list, named.n) : -ENOMEM;
	free(named.list);
	free(ids);
	return err;
}

/* Sorted. False: it was there. */
static bool add_refused(struct sync *s, const struct weir_cert_id *id)
{
	struct weir_cert_id *list;

	if (s->n_refused && bsearch(id, s->refused, s->n_refused, sizeof(*s->refused), id_order))
		return false;
	list = realloc(s->refused, (s->n_refused + 1) * sizeof(*list));
	if (!list)
		return false;
	list[s->n_refused++] = *id;
	qsort(list, s->n_refused, sizeof(*list), id_order);
	s->refused = list;
	s->refused_s = time(NULL);
	return true;
}

static void send_snapshot(struct sync *s)
{
	struct snapshot_error why;
	void *blob, *copy;
	size_t n;
	int err;

	if (s->n_refused && time(NULL) - s->refused_s > REFUSED_S)
		s->n_refused = s->refused_may_pass = 0;
	s->model->n_refused = s->n_refused;
	s->model->refused = s->refused;
	s->model->staples = s->staples;
	if (s->staples)
		staples_clear_changes(s->staples);
	err = compile_fitting(s, &blob, &n);
	if (err) {
		s->wants_prune = true;
		log_error("routes cannot be compiled: %s; the last ones stay", strerror(-err));
		s->has_failed |= err == -ENOMEM;
		return;
	}
	if (!snapshots_differ(s->snapshot, s->snapshot_size, blob, n)) {
		free(blob);
		return;
	}
	if (snapshot_check(blob, n, &why) != WEIR_REFUSED_OK) {
		s->wants_prune = true;
		log_error("compiled routes are wrong: %s; the last ones stay", why.text);
		free(blob);
		return;
	}
	copy = malloc(n);
	if (!copy || hand_in_certificates(s, blob) != 0) {
		free(blob);
		free(copy);
		s->wants_prune = true;
		log_error("no memory for the routes; the last ones stay");
		s->has_failed = true;
		return;
	}
	memcpy(copy, blob, n);
	s->wants_prune |= !have_same_backends(s->snapshot, blob);
	free(s->snapshot);
	s->snapshot = blob;
	s->snapshot_size = n;
	publish_snapshot(s->publish, copy, n, ++s->generation);
	prune(s);
}

static void *copy_of(const void *bytes, size_t n)
{
	void *copy = malloc(n);

	if (copy)
		memcpy(copy, bytes, n);
	return copy;
}

int sync_restore(struct sync *s, const struct saved *saved)
{
	const size_t n = saved->snapshot->size;
	const struct weir_endpoint_set *e = NULL;
	void *own = copy_of(saved->snapshot, n), *copy = copy_of(saved->snapshot, n);
	int err = own && copy ? 0 : -ENOMEM;

	if (!err && saved->paths && s->paths)
		err = pathing_restore(s->paths, saved->paths, saved->paths_bytes);

	for (uint32_t i = 0; !err && i < saved->n_sets; i++) {
		void *blob;

		e = saved_next(saved, e);
		blob = copy_of(e, e->size);
		err = blob ? publish_endpoints(s->publish, blob) : -ENOMEM;
		s->version = e->version > s->version ? e->version : s->version;
	}
	if (err) {
		free(own);
		free(copy);
		return err;
	}
	s->snapshot = own;
	s->snapshot_size = n;
	s->generation = saved->snapshot->generation;
	s->model->hash_seed = saved->snapshot->hash_seed; /* or the same routes would be another snapshot */
	publish_snapshot(s->publish, copy, n, s->generation);
	return 0;
}

/* What makes a problem the same one as before: all that is said of it. */
static uint64_t problem_hash(const char *file, unsigned line, const char *kind, const char *ns, const char *name,
			     const char *field, const char *reason, const char *text)
{
	uint64_t h = hash_keyed(file, strlen(file), line);

	h = hash_keyed(kind, strlen(kind), h);
	h = hash_keyed(ns, strlen(ns), h);
	h = hash_keyed(name, strlen(name), h);
	h = hash_keyed(field, strlen(field), h);
	h = hash_keyed(reason, strlen(reason), h);
	return hash_keyed(text, strlen(text), h);
}

static void tell(const char *file, unsigned line, unsigned column, const char *kind, const char *ns, const char *name,
		 const char *field, const char *reason, const char *text)
{
	if (file[0])
		log_warn("%s:%u:%u: %s %s/%s %s: %s: %s", file, line, column, kind, ns, name, field, reason, text);
	else
		log_warn("%s %s/%s %s: %s: %s", kind, ns, name, field, reason, text);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static bool is_told(const struct sync *s, uint64_t h)
{
	return s->n_told && bsearch(&h, s->told, s->n_told, sizeof(h), by_value);
}

/* n_compiled: of the model's, those of the compiler. */
static bool are_problems_told(struct sync *s, size_t n_compiled)
{
	size_t n;
	uint64_t turn;
	bool is_same;

	store_problems(s->store, &n);
	turn = store_problems_turn(s->store);
	is_same = s->told && !s->has_other_problems && n_compiled == 0 && s->n_compiled == 0 && turn == s->told_turn;
	s->n_compiled = n_compiled;
	s->told_turn = turn;
	s->has_other_problems = false;
	return is_same;
}

/* Each problem is logged when it appears, and not again while it stays. */
static void log_problems(struct sync *s)
{
	size_t n_source;
	const struct store_problem *sp = store_problems(s->store, &n_source);
	uint64_t *now = calloc(n_source + s->model->n_problems + 1, sizeof(*now));
	size_t n = 0;

	if (!now)
		return;
	for (size_t i = 0; i < n_source; i++) {
		now[n] = problem_hash(sp[i].file, sp[i].line, sp[i].kind, sp[i].ns, sp[i].name, sp[i].field, sp[i].reason,
				      sp[i].text);
		if (!is_told(s, now[n++]))
			tell(sp[i].file, sp[i].line, sp[i].column, sp[i].kind, sp[i].ns, sp[i].name, sp[i].field,
			     sp[i].reason, sp[i].text);
	}
	for (size_t i = 0; i < s->model->n_problems; i++) {
		const struct model_problem *p = &s->model->problems[i];

		now[n] = problem_hash(p->file, p->line, p->kind, p->ns, p->name, p->field, p->reason, p->text);
		if (!is_told(s, now[n++]))
			tell(p->file, p->line, p->column, p->kind, p->ns, p->name, p->field, p->reason, p->text);
	}
	qsort(now, n, sizeof(*now), by_value);
	free(s->told);
	s->told = now;
	s->n_told = n;
}

size_t sync_n_problems(const struct sync *s, bool fatal)
{
	size_t n_source;
	const struct store_problem *sp = store_problems(s->store, &n_source);
	size_t n = 0;

	for (size_t i = 0; i < n_source; i++)
		n += sp[i].is_fatal == fatal;
	for (size_t i = 0; i < s->model->n_problems; i++)
		n += s->model->problems[i].is_fatal == fatal;
	return n;
}

bool sync_wants_retry(const struct sync *s)
{
	return s->has_failed;
}

/* True: the CA certificates of the machine are others. */
static bool take_system_ca(struct sync *s)
{
	if (!s->system_ca || !system_ca_look(s->system_ca))
		return false;
	s->options.system_trust = system_ca_trust(s->system_ca);
	s->options.system_fault = system_ca_fault(s->system_ca);
	translator_system_changed(s->translator);
	return true;
}

void sync_prepare(struct sync *s)
{
	struct translator_changes c;

	take_system_ca(s);
	s->options.total_bytes = room_of(s);
	s->options.now_s = time(NULL);
	translator_run(s->translator, NULL, 0, &c);
	s->has_references = true;
	s->has_other_names |= c.names;
}

/* True: there were some. */
static bool take_names(struct sync *s)
{
	size_t n = 0;
	const char *const *names = s->known_names ? known_names_changes(s->known_names, &n) : NULL;

	for (size_t i = 0; i < n; i++)
		translator_name_changed(s->translator, names[i]);
	if (n > 0)
		known_names_clear_changes(s->known_names);
	return n > 0;
}

/* What is said of a certificate is another thing at the second of these times than at the first. */
static bool has_aged(const struct certificate *c, int64_t then_s, int64_t now_s)
{
	const int64_t edges[] = {c->not_before_s, c->not_after_s - CERTIFICATE_SOON_S, c->not_after_s, c->crls_until_s};

	for (size_t i = 0; i < sizeof(edges) / sizeof(*edges); i++)
		if (then_s <= edges[i] && edges[i] < now_s)
			return true;
	return false;
}

struct aged {
	struct sync *s;
	int64_t now_s;
	bool any;
};

static void look_at_age(void *ctx, const struct certificate *c)
{
	struct aged *a = ctx;

	if (!c->name || !has_aged(c, a->s->aged_s, a->now_s))
		return;
	translator_certificate_aged(a->s->translator, c);
	a->any = true;
}

/* Those that have become others by time alone; true: there were some. */
static bool take_aged(struct sync *s)
{
	struct aged a = {.s = s, .now_s = time(NULL)};

	if (s->aged_s)
		model_each_certificate(s->model, look_at_age, &a);
	s->aged_s = a.now_s;
	return a.any;
}

static void look_at_staple(void *ctx, const struct certificate *c)
{
	const struct sync *s = ctx;

	if (c->name && staples_is_news(s->staples, &c->blob->id))
		translator_certificate_aged(s->translator, c);
}

/* Of which owners are to be told another thing, since responders have; true: there were some. */
static bool take_staples(struct sync *s)
{
	if (!s->staples || !staples_has_news(s->staples))
		return false;
	model_each_certificate(s->model, look_at_staple, s);
	staples_clear_news(s->staples);
	return true;
}

void sync_run(struct sync *s, uint64_t changed)
{
	struct translator_changes c;
	size_t n;
	const struct store_change *journal = store_journal(s->store, &n);
	bool is_whole = changed == UINT64_MAX || !journal;
	bool has_others = take_names(s);

	has_others |= take_aged(s);
	has_others |= take_staples(s);
	has_others |= take_system_ca(s);
	if (!has_others && changed == 0 && n == 0 && !is_whole && !sync_has_other_room(s))
		return;
	run_translator(s, is_whole ? NULL : journal, n, &c);
	store_clear_journal(s->store);
	if (is_whole)
		s->has_failed = false;
	send_endpoints(s, &c, is_whole);
	if (c.routes && s->stapling)
		stapling_look(s->stapling, s);
	if (c.routes)
		send_snapshot(s);
	if ((changed || s->has_other_problems || c.routes) && !are_problems_told(s, s->model->n_problems - s->n_own_problems))
		log_problems(s);
}

/* The same routes, with other certificates left out. */
static void send_again(struct sync *s)
{
	s->model->n_problems = s->n_own_problems; /* the compiler's come again */
	send_snapshot(s);
	s->has_news = true;
	if (!are_problems_told(s, s->model->n_problems - s->n_own_problems))
		log_problems(s);
}

void sync_staple(struct sync *s)
{
	if (staples_has_news(s->staples))
		sync_run(s, 0);
	if (staples_has_changes(s->staples))
		send_again(s);
}

void sync_take_refusals(struct sync *s)
{
	const struct certificate *c;
	bool any = false, may_pass;
	size_t at = 0;

	while ((c = publish_refused_certificate(s->publish, &at, &may_pass)) != NULL)
		if (add_refused(s, &c->blob->id)) {
			s->refused_may_pass |= may_pass;
			any = true;
		}
	if (any)
		send_again(s);
}

int sync_age(struct sync *s)
{
	if (s->refused_may_pass && time(NULL) - s->refused_s > REFUSED_S)
		send_again(s);
	if (s->aged_s && time(NULL) - s->aged_s >= SYNC_AGE_S)
		sync_run(s, 0);
	return (s->refused_may_pass ? REFUSED_S + 1 : SYNC_AGE_S) * 1000;
}
