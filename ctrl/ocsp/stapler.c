/* SPDX-License-Identifier: Apache-2.0 */
#include "ocsp/stapler.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "ocsp/check.h"

#define N_BUCKETS 4096u
#define NEVER UINT64_MAX
#define POLL_S 3600 /* of the clock on the wall not more is waited for at a time: it may be set */

/* What is asked about. */
struct subject {
	struct waiter waiter; /* the first member; its tenant is the namespace of the certificate in of */
	uint8_t key[OCSP_KEY_BYTES];
	struct subject *chain; /* of its bucket */
	struct user *users;    /* none: it is still to be answered, and nobody wants that any more */
	struct certificate *of; /* the first one's, held: the leaf and the issuer */
	unsigned issuer;
	bool is_recalled;	       /* what was kept of it is taken, or there was nothing */
	bool is_in_flight, has_failed; /* has_failed: the last time */
	bool is_revoked;
	struct ocsp_verdict verdict; /* of the response that counts; until_s 0: there is none */
	unsigned char *der;	     /* likewise */
	size_t n;
	uint64_t due_ms;
	uint32_t n_fails;
	enum ocsp_outcome failure;
	enum stapler_wait waits;
	char url[];
};

/* A certificate that is shown. */
struct user {
	struct user *chain; /* of its bucket */
	struct user *next;  /* of its subject */
	struct subject *subject; /* NULL: nobody can be asked, or is to be */
	struct certificate *c;	 /* held */
	unsigned issuer;	 /* where in its chain */
	bool must_staple;
	uint64_t turn; /* when it was wanted last */
};

struct stapler {
	struct stapler_options o;
	struct user *users[N_BUCKETS];
	struct subject *buckets[N_BUCKETS];
	struct subject **subjects;
	size_t n_subjects, cap_subjects, cursor;
	struct turns *turns;
	size_t n_waiting[N_STAPLER_WAITS];
	uint64_t turn, next_ms, looked_ms, random; /* looked_ms: when all were looked at last */
	uint64_t version; /* of what stapler_each() gives */
	size_t n_fresh;	  /* subjects that are not recalled */
	uint64_t n_asked, n_expired, outcomes[OCSP_N_OUTCOMES], recalled[OCSP_N_OUTCOMES];
};

static void *must(void *p)
{
	if (!p)
		abort(); /* as the translation does */
	return p;
}

struct stapler *stapler_create(const struct stapler_options *options)
{
	struct stapler *s = calloc(1, sizeof(*s));

	if (!s || !(s->turns = turns_create())) {
		free(s);
		return NULL;
	}
	s->o = *options;
	s->next_ms = NEVER;
	s->random = options->seed * 2 + 1;
	return s;
}

static uint64_t chance(struct stapler *s, uint64_t below)
{
	s->random ^= s->random << 13;
	s->random ^= s->random >> 7;
	s->random ^= s->random << 17;
	return below ? s->random % below : 0;
}

static void subject_free(struct stapler *s, struct subject *x)
{
	tenant_put(s->turns, x->waiter.tenant);
	certificate_put(x->of);
	free(x->der);
	free(x);
}

void stapler_destroy(struct stapler *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < N_BUCKETS; i++)
		while (s->users[i]) {
			struct user *u = s->users[i];

			s->users[i] = u->chain;
			certificate_put(u->c);
			free(u);
		}
	for (size_t i = 0; i < s->n_subjects; i++)
		subject_free(s, s->subjects[i]);
	turns_destroy(s->turns);
	free(s->subjects);
	free(s);
}

/* ---- what is known */

static bool has_good(const struct subject *x)
{
	return x->der && !x->is_revoked;
}

static void describe_subject(const struct subject *x, struct staple *out)
{
	out->waits = stapler_wait_text(x->waits);
	out->why = x->has_failed ? ocsp_outcome_text(x->failure) : NULL;
	out->this_s = x->verdict.this_s;
	out->until_s = x->verdict.until_s;
	if (x->is_revoked) {
		out->state = STAPLE_REVOKED;
		out->reason = x->verdict.reason;
		out->revoked_s = x->verdict.revoked_s;
	} else if (x->der) {
		out->state = STAPLE_GOOD;
	} else {
		out->state = x->has_failed ? STAPLE_FAILED : STAPLE_PENDING;
	}
}

/* Its certificate, with the response; the one that is there already, if it is that. */
static const struct certificate *staple(const struct stapler *s, const struct user *u)
{
	const struct subject *x = u->subject;
	const struct staple *known = staples_get(s->o.staples, &u->c->blob->id);
	const struct certificate *c = known ? known->stapled : NULL;
	const struct certificate *made;

	if (!x || !has_good(x))
		return NULL;
	if (c && c->blob->ocsp.size == x->n && memcmp((const char *)c->blob + c->blob->ocsp.off, x->der, x->n) == 0)
		return c;
	made = certificate_with_ocsp(u->c, (struct certificate_part){x->der, x->n});
	if (!made)
		log_warn("certificate of Secret %s/%s: it goes out without its OCSP response, which makes it too large", u->c->ns, u->c->name);
	return made;
}

/* Of a user without a subject, the state stays what it was. */
static void publish_user(struct stapler *s, const struct user *u, enum staple_state state)
{
	struct staple now = {.state = state, .must_staple = u->must_staple, .reason = ""};

	if (u->subject)
		describe_subject(u->subject, &now);
	now.stapled = staple(s, u);
	staples_set(s->o.staples, &u->c->blob->id, &now);
}

static void publish(struct stapler *s, const struct subject *x)
{
	for (const struct user *u = x->users; u; u = u->next)
		publish_user(s, u, STAPLE_PENDING);
}

/* ---- which certificates */

static struct user **user_slot(struct stapler *s, const struct weir_cert_id *id)
{
	struct user **at = &s->users[id->v[0] % N_BUCKETS];

	while (*at && certificate_compare_ids(&(*at)->c->blob->id, id) != 0)
		at = &(*at)->chain;
	return at;
}

static struct subject **subject_slot(struct stapler *s, const uint8_t key[OCSP_KEY_BYTES])
{
	struct subject **at = &s->buckets[(key[0] | key[1] << 8) % N_BUCKETS];

	while (*at && memcmp((*at)->key, key, OCSP_KEY_BYTES) != 0)
		at = &(*at)->chain;
	return at;
}

/* Of what names the responder in the URL. */
static uint64_t hash_host(const char *url)
{
	const char *at = strstr(url, "://");
	char text[OCSP_URL_BYTES];
	size_t n = 0;

	for (at = at ? at + 3 : url; at[n] && !strchr("/?#", at[n]) && n < sizeof(text); n++)
		text[n] = (char)(at[n] >= 'A' && at[n] <= 'Z' ? at[n] | 0x20 : at[n]);
	return hash64(text, n, 0);
}

static struct subject *subject_get(struct stapler *s, const struct ocsp_facts *f, uint64_t now_ms)
{
	struct subject **at = subject_slot(s, f->key), *x = *at;

	if (x)
		return x;
	*at = x = must(calloc(1, sizeof(*x) + strlen(f->url) + 1));
	memcpy(x->key, f->key, OCSP_KEY_BYTES);
	strcpy(x->url, f->url);
	x->waiter.host = hash_host(f->url);
	x->due_ms = now_ms;
	s->next_ms = now_ms;
	s->n_fresh++;
	if (s->n_subjects == s->cap_subjects) {
		s->cap_subjects = s->cap_subjects ? 2 * s->cap_subjects : 64;
		s->subjects = must(realloc(s->subjects, s->cap_subjects * sizeof(*s->subjects)));
	}
	s->subjects[s->n_subjects++] = x;
	return x;
}

static void subject_drop(struct stapler *s, size_t i)
{
	struct subject *x = s->subjects[i];

	s->version += x->der != NULL;
	s->n_fresh -= !x->is_recalled;
	*subject_slot(s, x->key) = x->chain;
	s->subjects[i] = s->subjects[--s->n_subjects];
	subject_free(s, x);
}

/* The last one that came is asked about, in the turn of its namespace: nobody's key is kept for the sake of others. */
static void subject_lead(struct stapler *s, struct subject *x)
{
	const char *ns = x->users ? x->users->c->ns : NULL;

	tenant_put(s->turns, x->waiter.tenant);
	x->waiter.tenant = x->users ? tenant_get(s->turns, ns ? ns : "") : NULL;
	certificate_put(x->of);
	x->of = x->users ? certificate_get(x->users->c) : NULL;
	x->issuer = x->users ? x->users->issuer : 0;
}

/* A certificate that was not there before. */
static struct user *user_add(struct stapler *s, const struct certificate *c, uint64_t now_ms)
{
	struct user *u = must(calloc(1, sizeof(*u)));
	enum staple_state state = STAPLE_PENDING;
	struct ocsp_facts f;

	u->c = certificate_get(c);
	if (!certificate_facts(c, &f) || !f.url[0])
		state = STAPLE_NO_RESPONDER;
	else if (!f.issuer)
		state = STAPLE_NO_ISSUER;
	else if (ocsp_url_is_https(f.url))
		state = STAPLE_HTTPS;
	else if (!s->o.ask)
		state = STAPLE_OFF;
	u->must_staple = f.must_staple;
	u->issuer = f.issuer;
	if (state == STAPLE_NO_ISSUER)
		log_warn("certificate of Secret %s/%s: no OCSP response can be stapled, since its issuer does not stand behind it in tls.crt",
			 c->ns, c->name);
	if (state == STAPLE_HTTPS)
		log_warn("certificate of Secret %s/%s: no OCSP response can be stapled, since its responder has a URL of https, which is not asked (RFC 5280 8)",
			 c->ns, c->name);
	if (state == STAPLE_PENDING) {
		u->subject = subject_get(s, &f, now_ms);
		u->next = u->subject->users;
		u->subject->users = u;
		subject_lead(s, u->subject);
	}
	publish_user(s, u, state);
	return u;
}

static void user_drop(struct stapler *s, struct user **at)
{
	struct user *u = *at;

	*at = u->chain;
	if (u->subject) {
		struct user **of = &u->subject->users;

		while (*of != u)
			of = &(*of)->next;
		*of = u->next;
		subject_lead(s, u->subject);
	}
	staples_remove(s->o.staples, &u->c->blob->id);
	certificate_put(u->c);
	free(u);
}

void stapler_want_begin(struct stapler *s)
{
	s->turn++;
}

void stapler_want(struct stapler *s, const struct certificate *c, uint64_t now_ms)
{
	struct user **at = user_slot(s, &c->blob->id);

	if (!*at)
		*at = user_add(s, c, now_ms);
	(*at)->turn = s->turn;
}

void stapler_want_end(struct stapler *s)
{
	for (size_t i = 0; i < N_BUCKETS; i++)
		for (struct user **at = &s->users[i]; *at;) {
			if ((*at)->turn != s->turn)
				user_drop(s, at);
			else
				at = &(*at)->chain;
		}
	for (size_t i = s->n_subjects; i-- > 0;)
		if (!s->subjects[i]->users && !s->subjects[i]->is_in_flight)
			subject_drop(s, i);
}

/* ---- when */

static void set_waits(struct stapler *s, struct subject *x, enum stapler_wait why)
{
	if (x->waits == why)
		return;
	x->waits = why;
	publish(s, x);
}

static void ask(void *ctx, struct waiter *w)
{
	struct subject *x = (struct subject *)w;
	struct stapler *s = ctx;
	size_t n;
	unsigned char *der = ocsp_request_make(x->of->blob, x->issuer, &n);

	x->is_in_flight = true;
	set_waits(s, x, STAPLER_WAIT_NONE);
	s->n_asked++;
	s->o.ask(s->o.ctx, x->url, must(der), n, x);
	free(der);
}

/* It is looked at again when one is answered. */
static void wait_longer(void *ctx, struct waiter *w, enum stapler_wait why)
{
	struct stapler *s = ctx;

	s->n_waiting[why]++;
	set_waits(s, (struct subject *)w, why);
}

/* Its time is over: the certificate goes out again without it. */
static void expire(struct stapler *s, struct subject *x, int64_t now_s)
{
	if (!x->verdict.until_s || now_s < x->verdict.until_s || x->is_revoked)
		return; /* who is revoked does not become good by that nobody repeats it */
	log_warn("certificate of Secret %s/%s: the OCSP response has expired, and no other has come: %s", x->of->ns, x->of->name,
		 x->has_failed ? ocsp_outcome_text(x->failure) : "none was asked for in time");
	free(x->der);
	x->der = NULL;
	x->verdict = (struct ocsp_verdict){.reason = ""};
	s->version++;
	s->n_expired++;
	publish(s, x);
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* When there is something to do for it, beside what is due. */
static uint64_t next_of(const struct subject *x, uint64_t now_ms, int64_t now_s)
{
	uint64_t next_ms = x->is_in_flight || x->due_ms <= now_ms ? NEVER : x->due_ms;
	int64_t left_s = has_good(x) ? x->verdict.until_s - now_s : POLL_S;

	left_s = left_s < 0 ? 0 : left_s > POLL_S ? POLL_S : left_s;
	return least(next_ms, has_good(x) ? now_ms + (uint64_t)left_s * 1000 : NEVER);
}

void stapler_poll(struct stapler *s, uint64_t now_ms, int64_t now_s)
{
	stapler_recall(s, now_ms, now_s);
	if (now_ms < s->next_ms)
		return;
	s->next_ms = NEVER;
	s->looked_ms = now_ms;
	for (size_t i = 0; i < s->n_subjects; i++) {
		struct subject *x = s->subjects[(s->cursor + i) % s->n_subjects];

		expire(s, x, now_s);
		if (!x->is_in_flight && x->users && x->due_ms <= now_ms)
			turns_wait(s->turns, &x->waiter);
		s->next_ms = least(s->next_ms, next_of(x, now_ms, now_s));
	}
	memset(s->n_waiting, 0, sizeof(s->n_waiting));
	turns_run(s->turns, ask, wait_longer, s);
	s->cursor = s->n_subjects ? (s->cursor + STAPLER_IN_FLIGHT_MAX) % s->n_subjects : 0;
}

uint64_t stapler_next_ms(const struct stapler *s)
{
	return s->next_ms;
}

/* ---- answers */

static void refresh_later(struct stapler *s, struct subject *x, uint32_t max_age_s, uint64_t now_ms, int64_t now_s)
{
	const struct ocsp_verdict *v = &x->verdict;
	int64_t left_s = v->until_s - now_s;
	int64_t in_s = v->this_s + (v->until_s - v->this_s) / 2 - now_s;

	if (in_s <= 0) /* responders make them in advance: it may be past its half already */
		in_s = left_s / 2;
	if ((int64_t)max_age_s < in_s)
		in_s = max_age_s;
	if (in_s < STAPLER_REFRESH_MIN_S)
		in_s = left_s / 2 < STAPLER_REFRESH_MIN_S ? left_s / 2 : STAPLER_REFRESH_MIN_S;
	if (in_s > STAPLER_REFRESH_MAX_S)
		in_s = STAPLER_REFRESH_MAX_S;
	if (in_s < STAPLER_REFRESH_LAST_S)
		in_s = STAPLER_REFRESH_LAST_S;
	x->due_ms = now_ms + (uint64_t)in_s * 1000 - chance(s, (uint64_t)in_s * 1000 / 8);
}

static void take_verdict(struct stapler *s, struct subject *x, enum ocsp_outcome o, const struct ocsp_verdict *v,
			 const struct stapler_answer *a, uint64_t now_ms, int64_t now_s)
{
	bool was_revoked = x->is_revoked;

	x->has_failed = false;
	x->n_fails = 0;
	x->verdict = *v;
	x->is_revoked = o == OCSP_REVOKED;
	free(x->der);
	x->der = must(malloc(a->n));
	x->n = a->n;
	memcpy(x->der, a->der, a->n);
	s->version++;
	if (x->is_revoked && !was_revoked)
		log_error("certificate of Secret %s/%s was REVOKED by its issuer%s%s: it is served, without its OCSP response", x->of->ns,
			  x->of->name, *v->reason ? ": " : "", v->reason);
	refresh_later(s, x, a->max_age_s, now_ms, now_s);
}

/* What is known stays, as long as it lasts. */
static void take_failure(struct stapler *s, struct subject *x, enum ocsp_outcome o, uint32_t retry_after_s, uint64_t now_ms)
{
	uint64_t in_ms = least((uint64_t)STAPLER_RETRY_MIN_MS << (x->n_fails < 12 ? x->n_fails : 12), STAPLER_RETRY_MAX_MS);

	in_ms = in_ms - in_ms / 4 + chance(s, in_ms / 2 + 1);
	if ((uint64_t)retry_after_s * 1000 > in_ms)
		in_ms = least((uint64_t)retry_after_s * 1000, STAPLER_RETRY_MAX_MS);
	x->due_ms = now_ms + in_ms;
	if (x->n_fails == 0 || x->failure != o)
		log_warn("certificate of Secret %s/%s: no %s: %s", x->of->ns, x->of->name,
			 x->der || x->is_revoked ? "new OCSP response, the last one stays" : "OCSP response", ocsp_outcome_text(o));
	x->failure = o;
	x->has_failed = true;
	x->n_fails++;
}

void stapler_answered(struct stapler *s, void *question, const struct stapler_answer *a, uint64_t now_ms, int64_t now_s)
{
	struct subject *x = question;
	enum ocsp_outcome o = a->outcome;
	struct ocsp_verdict v = {.reason = ""};

	turns_land(s->turns, &x->waiter);
	x->is_in_flight = false;
	s->next_ms = least(s->next_ms, s->looked_ms + STAPLER_REST_MS); /* others may have waited for room */
	if (!x->users) {
		for (size_t i = 0; i < s->n_subjects; i++)
			if (s->subjects[i] == x) {
				subject_drop(s, i);
				break;
			}
		return;
	}
	if (o == OCSP_GOOD)
		o = ocsp_response_judge(x->of->blob, x->issuer, a->der, a->n, now_s, &v);
	if ((o == OCSP_GOOD || o == OCSP_REVOKED) && v.this_s < x->verdict.this_s)
		o = OCSP_OLDER; /* who is between us and the responder could have kept it */
	s->outcomes[o]++;
	if (o == OCSP_GOOD || o == OCSP_REVOKED)
		take_verdict(s, x, o, &v, a, now_ms, now_s);
	else
		take_failure(s, x, o, a->retry_after_s, now_ms);
	publish(s, x);
}

/* ---- over a restart */

static void recall(struct stapler *s, struct subject *x, uint64_t now_ms, int64_t now_s)
{
	struct stapler_answer a = {.outcome = OCSP_GOOD, .max_age_s = UINT32_MAX};
	struct ocsp_verdict v = {.reason = ""};
	enum ocsp_outcome o;

	a.der = s->o.recall ? s->o.recall(s->o.recall_ctx, x->key, &a.n) : NULL;
	if (!a.der)
		return;
	o = ocsp_response_judge(x->of->blob, x->issuer, a.der, a.n, now_s, &v);
	s->recalled[o]++;
	if (o != OCSP_GOOD && o != OCSP_REVOKED) {
		log_warn("certificate of Secret %s/%s: the OCSP response that was kept on disk is not used: %s: %s", x->of->ns, x->of->name,
			 ocsp_outcome_name(o), ocsp_outcome_text(o));
		return;
	}
	take_verdict(s, x, o, &v, &a, now_ms, now_s);
	x->due_ms = now_ms; /* meanwhile another may have been made, and it may have been revoked */
	publish(s, x);
}

void stapler_recall(struct stapler *s, uint64_t now_ms, int64_t now_s)
{
	for (size_t i = 0; s->n_fresh && i < s->n_subjects; i++) {
		struct subject *x = s->subjects[i];

		if (x->is_recalled || !x->users)
			continue;
		x->is_recalled = true;
		s->n_fresh--;
		recall(s, x, now_ms, now_s);
	}
}

uint64_t stapler_version(const struct stapler *s)
{
	return s->version;
}

void stapler_each(const struct stapler *s, stapler_each_fn *fn, void *ctx)
{
	for (size_t i = 0; i < s->n_subjects; i++) {
		const struct subject *x = s->subjects[i];

		if (x->der && x->users)
			fn(ctx, x->key, x->users->must_staple, x->der, x->n);
	}
}

void stapler_status(const struct stapler *s, struct stapler_status *out)
{
	*out = (struct stapler_status){.n_in_flight = turns_in_flight(s->turns), .n_asked = s->n_asked, .n_expired = s->n_expired};
	memcpy(out->outcomes, s->outcomes, sizeof(out->outcomes));
	memcpy(out->recalled, s->recalled, sizeof(out->recalled));
	memcpy(out->n_waiting, s->n_waiting, sizeof(out->n_waiting));
	for (size_t i = 0; i < N_BUCKETS; i++)
		for (const struct user *u = s->users[i]; u; u = u->chain) {
			const struct staple *x = staples_get(s->o.staples, &u->c->blob->id);

			out->n_of[x->state]++;
			out->n_stapled += x->stapled != NULL;
			out->n_must_staple_without += x->must_staple && !x->stapled;
		}
}
