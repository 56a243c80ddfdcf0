/* SPDX-License-Identifier: Apache-2.0 */
#include "resolve/resolver.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

#define N_BUCKETS 1024u
#define NEVER UINT64_MAX

/* One family of a name. */
struct lookup {
	struct name *name;
	bool is_ip6, is_in_flight;
	bool is_known;	  /* answer is one, be it that there is nothing */
	uint32_t n_fails; /* since the last answer */
	uint32_t n_absent; /* answers on end that there is nothing */
	uint64_t due_ms, answered_ms;
	enum resolve_outcome failure; /* the first one since the last answer: so what is said of it stays the same */
	struct resolve_answer answer;
};

struct name {
	struct name *chain;
	uint64_t hash, since_ms;
	bool is_wanted;
	bool is_asked; /* else there are too many */
	enum known_state state;
	struct lookup lookups[2]; /* IPv4, IPv6 */
	char text[];
};

struct resolver {
	struct resolver_options o;
	struct name *buckets[N_BUCKETS]; /* those that are wanted */
	struct name **names; /* and those that are still to be answered, and nobody wants any more */
	size_t n, cap, cursor;
	size_t n_asked, n_in_flight;
	uint64_t next_ms, random;
	uint64_t asked, outcomes[RESOLVE_N_OUTCOMES];
};

const char *resolve_outcome_name(enum resolve_outcome o)
{
	static const char *const names[] = {
#define X(name, label, text) label,
	    RESOLVE_OUTCOMES(X)
#undef X
	};

	return names[o];
}

static const char *failure_text(enum resolve_outcome o)
{
	static const char *const texts[] = {
#define X(name, label, text) text,
	    RESOLVE_OUTCOMES(X)
#undef X
	};

	return texts[o];
}

void resolve_answer_add(struct resolve_answer *a, const struct weir_ip *ip)
{
	size_t at = a->n;

	while (at > 0 && memcmp(a->addrs[at - 1].b, ip->b, sizeof(ip->b)) > 0)
		at--;
	if (at > 0 && memcmp(a->addrs[at - 1].b, ip->b, sizeof(ip->b)) == 0)
		return;
	if (a->n == KNOWN_NAME_ADDRS_MAX) {
		a->has_more = true;
		if (at == a->n)
			return;
		a->n--;
	}
	memmove(a->addrs + at + 1, a->addrs + at, (a->n - at) * sizeof(*ip));
	a->addrs[at] = *ip;
	a->n++;
}

struct resolver *resolver_create(const struct resolver_options *options)
{
	struct resolver *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->o = *options;
	r->next_ms = NEVER;
	r->random = options->seed * 2 + 1;
	return r;
}

void resolver_destroy(struct resolver *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->n; i++)
		free(r->names[i]);
	free(r->names);
	free(r);
}

/* Three quarters of it to five quarters. */
static uint64_t jitter(struct resolver *r, uint64_t ms)
{
	r->random ^= r->random << 13;
	r->random ^= r->random >> 7;
	r->random ^= r->random << 17;
	return ms - ms / 4 + r->random % (ms / 2 + 1);
}

static uint64_t doubled(uint64_t first, uint32_t times, uint64_t most)
{
	uint64_t v = first << (times < 16 ? times : 16);

	return v < most ? v : most;
}

/* ---- what is known */

static bool is_usable(const struct lookup *l, uint64_t now_ms)
{
	return l->is_known && (l->n_fails == 0 || now_ms - l->answered_ms <= RESOLVE_KEEP_MS);
}

/* Of a name without an address. */
static enum known_state state_without(const struct resolver *r, const struct name *n, uint64_t now_ms)
{
	bool is_waiting = false, is_gone = false, has_failed = false;

	for (unsigned i = 0; i < 2; i++) {
		const struct lookup *l = &n->lookups[i];

		if (!(r->o.families & 1u << i))
			continue;
		is_waiting |= !l->is_known && (l->n_fails == 0 || now_ms - n->since_ms <= RESOLVE_KEEP_MS);
		has_failed |= !is_usable(l, now_ms);
		is_gone |= is_usable(l, now_ms) && l->answer.outcome == RESOLVE_NOT_FOUND;
	}
	return is_waiting ? NAME_PENDING : is_gone ? NAME_NOT_FOUND : has_failed ? NAME_FAILED : NAME_NO_ADDRESS;
}

static void publish(struct resolver *r, struct name *n, uint64_t now_ms)
{
	struct known_name k = {.state = NAME_ANSWERED};
	struct resolve_answer all = {.n = 0};
	bool is_kept = false;

	for (unsigned i = 0; i < 2; i++) {
		const struct lookup *l = &n->lookups[i];

		if (!(r->o.families & 1u << i))
			continue;
		if (l->n_fails > 0 && !k.why)
			k.why = failure_text(l->failure);
		if (!is_usable(l, now_ms))
			continue;
		is_kept |= l->n_fails > 0 && l->answer.n > 0;
		all.has_more |= l->answer.has_more;
		for (size_t j = 0; j < l->answer.n; j++)
			resolve_answer_add(&all, &l->answer.addrs[j]);
	}
	k.has_more = all.has_more;
	k.n = all.n;
	memcpy(k.addrs, all.addrs, all.n * sizeof(*k.addrs));
	k.state = is_kept ? NAME_KEPT : k.n > 0 ? NAME_ANSWERED : state_without(r, n, now_ms);
	/* A family that fails is nothing to tell where the other one has what it takes. */
	if (k.state != NAME_KEPT && k.state != NAME_PENDING && k.state != NAME_FAILED)
		k.why = NULL;
	n->state = k.state;
	known_names_set(r->o.known, n->text, &k);
}

/* ---- which names */

static struct name **slot_of(struct resolver *r, const char *text, uint64_t hash)
{
	struct name **at = &r->buckets[hash % N_BUCKETS];

	while (*at && ((*at)->hash != hash || strcmp((*at)->text, text) != 0))
		at = &(*at)->chain;
	return at;
}

/* From now on it is looked up, or refused. */
static void admit(struct resolver *r, struct name *n, uint64_t now_ms)
{
	n->is_asked = r->n_asked < KNOWN_NAMES_MAX;
	if (n->is_asked) {
		r->n_asked++;
		r->next_ms = now_ms;
		n->since_ms = n->lookups[0].due_ms = n->lookups[1].due_ms = now_ms;
		publish(r, n, now_ms);
		return;
	}
	n->state = NAME_NOT_ASKED;
	known_names_set(r->o.known, n->text, &(struct known_name){.state = NAME_NOT_ASKED});
}

/* NULL without memory: it is tried again with the next change. */
static struct name *add(struct resolver *r, const char *text, uint64_t hash)
{
	struct name *n = calloc(1, sizeof(*n) + strlen(text) + 1);

	if (n && r->n == r->cap) {
		size_t cap = r->cap ? 2 * r->cap : 16;
		struct name **names = realloc(r->names, cap * sizeof(struct name *));

		if (names) {
			r->names = names;
			r->cap = cap;
		}
	}
	if (!n || r->n == r->cap) {
		free(n);
		return NULL;
	}
	memcpy(n->text, text, strlen(text) + 1);
	n->hash = hash;
	n->state = NAME_NOT_ASKED;
	n->lookups[0].name = n->lookups[1].name = n;
	n->lookups[1].is_ip6 = true;
	n->chain = r->buckets[hash % N_BUCKETS];
	r->buckets[hash % N_BUCKETS] = n;
	r->names[r->n++] = n;
	return n;
}

static bool is_in_flight(const struct name *n)
{
	return n->lookups[0].is_in_flight || n->lookups[1].is_in_flight;
}

/* Those that nobody wants are not known any more, and freed once they are answered. */
static void sweep(struct resolver *r)
{
	size_t kept = 0;

	for (size_t i = 0; i < r->n; i++) {
		struct name *n = r->names[i];

		if (!n->is_wanted) {
			struct name **at = slot_of(r, n->text, n->hash);

			if (*at == n) {
				*at = n->chain;
				r->n_asked -= n->is_asked;
				n->is_asked = false;
				known_names_remove(r->o.known, n->text);
			}
			if (!is_in_flight(n)) {
				free(n);
				continue;
			}
		}
		r->names[kept++] = n;
	}
	r->n = kept;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void resolver_want(struct resolver *r, const char *const *names, size_t n, uint64_t now_ms)
{
	const char **fresh = calloc(n + 1, sizeof(*fresh));
	size_t n_fresh = 0;

	if (!fresh)
		return;
	for (size_t i = 0; i < r->n; i++)
		r->names[i]->is_wanted = false;
	for (size_t i = 0; i < n; i++) {
		struct name *old = *slot_of(r, names[i], hash64(names[i], strlen(names[i]), 0));

		if (old)
			old->is_wanted = true;
		else
			fresh[n_fresh++] = names[i];
	}
	sweep(r);
	/* Where there are too many at once, every node refuses the same ones. */
	qsort(fresh, n_fresh, sizeof(*fresh), by_text);
	for (size_t i = 0; i < n_fresh; i++) {
		struct name *added = add(r, fresh[i], hash64(fresh[i], strlen(fresh[i]), 0));

		if (added)
			added->is_wanted = true;
	}
	free(fresh);
	for (size_t i = 0; i < r->n; i++)
		if (r->names[i]->is_wanted && !r->names[i]->is_asked)
			admit(r, r->names[i], now_ms);
}

/* ---- lookups */

/* False: no more may be under way. */
static bool ask_due(struct resolver *r, struct name *n, uint64_t now_ms, uint64_t *next_ms)
{
	for (unsigned i = 0; i < 2; i++) {
		struct lookup *l = &n->lookups[i];

		if (!(r->o.families & 1u << i) || l->is_in_flight)
			continue;
		if (l->due_ms > now_ms) {
			*next_ms = l->due_ms < *next_ms ? l->due_ms : *next_ms;
			continue;
		}
		if (r->n_in_flight == RESOLVE_IN_FLIGHT_MAX)
			return false;
		l->is_in_flight = true;
		r->n_in_flight++;
		r->asked++;
		r->o.ask(r->o.ctx, n->text, l->is_ip6, l);
	}
	return true;
}

uint64_t resolver_next_ms(const struct resolver *r)
{
	return r->next_ms;
}

void resolver_poll(struct resolver *r, uint64_t now_ms)
{
	uint64_t next_ms = NEVER;

	if (now_ms < r->next_ms)
		return;
	/* From where the last round ended: nobody waits for ever behind others that fail and are due again. */
	for (size_t i = 0; i < r->n; i++) {
		size_t at = (r->cursor + i) % r->n;

		if (r->names[at]->is_asked && !ask_due(r, r->names[at], now_ms, &next_ms)) {
			r->cursor = at;
			next_ms = NEVER; /* the next answer makes room */
			break;
		}
	}
	r->next_ms = next_ms;
}

static void take_answer(struct resolver *r, struct lookup *l, const struct resolve_answer *a, uint64_t now_ms)
{
	if (failure_text(a->outcome)) {
		if (l->n_fails++ == 0)
			l->failure = a->outcome;
		l->due_ms = now_ms + jitter(r, doubled(RESOLVE_RETRY_MIN_MS, l->n_fails - 1, RESOLVE_RETRY_MAX_MS));
		return;
	}
	l->is_known = true;
	l->answer = *a;
	l->answered_ms = now_ms;
	l->n_fails = 0;
	if (a->outcome == RESOLVE_ANSWERED) {
		uint32_t ttl_s = a->ttl_s < RESOLVE_TTL_MIN_S ? RESOLVE_TTL_MIN_S : a->ttl_s;

		l->n_absent = 0;
		l->due_ms = now_ms + 1000 * (uint64_t)(ttl_s < RESOLVE_TTL_MAX_S ? ttl_s : RESOLVE_TTL_MAX_S);
	} else {
		l->answer.n = 0;
		l->due_ms = now_ms + doubled(RESOLVE_ABSENT_MIN_S * 1000, l->n_absent++, RESOLVE_ABSENT_MAX_S * 1000);
	}
}

void resolver_answered(struct resolver *r, void *lookup, const struct resolve_answer *a, uint64_t now_ms)
{
	struct lookup *l = lookup;
	struct name *n = l->name;

	l->is_in_flight = false;
	r->n_in_flight--;
	r->outcomes[a->outcome]++;
	r->next_ms = now_ms; /* who had no room has some now */
	if (!n->is_wanted) {
		if (!is_in_flight(n))
			sweep(r);
		return;
	}
	take_answer(r, l, a, now_ms);
	publish(r, n, now_ms);
}

void resolver_status(const struct resolver *r, uint64_t now_ms, struct resolver_status *out)
{
	*out = (struct resolver_status){.n_names = r->n_asked, .n_in_flight = r->n_in_flight, .n_asked = r->asked};
	memcpy(out->outcomes, r->outcomes, sizeof(out->outcomes));
	for (size_t i = 0; i < r->n; i++) {
		const struct name *n = r->names[i];

		if (!n->is_wanted)
			continue;
		out->n_not_asked += n->state == NAME_NOT_ASKED;
		out->n_pending += n->state == NAME_PENDING;
		out->n_kept += n->state == NAME_KEPT;
		out->n_failed += n->state == NAME_FAILED;
		out->n_absent += n->state == NAME_NOT_FOUND || n->state == NAME_NO_ADDRESS;
		for (unsigned k = 0; n->state == NAME_KEPT && k < 2; k++) {
			const struct lookup *l = &n->lookups[k];

			if (l->n_fails > 0 && l->answer.n > 0 && now_ms - l->answered_ms > out->oldest_kept_ms)
				out->oldest_kept_ms = now_ms - l->answered_ms;
		}
	}
}
