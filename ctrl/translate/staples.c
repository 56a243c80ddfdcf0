/* SPDX-License-Identifier: Apache-2.0 */
#include "translate/staples.h"

#include <stdlib.h>
#include <string.h>

#include "translate/translate_pvt.h"

#define N_BUCKETS 4096u

struct entry {
	struct weir_cert_id id;
	struct staple staple;
	struct entry *chain;
	bool is_news;
};

struct staples {
	struct entry *buckets[N_BUCKETS];
	size_t n_news;
	bool has_changes;
};

struct staples *staples_create(void)
{
	return calloc(1, sizeof(struct staples));
}

static void let_go(const struct certificate *c)
{
	certificate_put((struct certificate *)(uintptr_t)c);
}

void staples_destroy(struct staples *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < N_BUCKETS; i++)
		while (s->buckets[i]) {
			struct entry *e = s->buckets[i];

			s->buckets[i] = e->chain;
			let_go(e->staple.stapled);
			free(e);
		}
	free(s);
}

/* An id is of a digest. */
static struct entry **slot_of(const struct staples *s, const struct weir_cert_id *id)
{
	struct entry **at = (struct entry **)&s->buckets[id->v[0] % N_BUCKETS];

	while (*at && certificate_compare_ids(&(*at)->id, id) != 0)
		at = &(*at)->chain;
	return at;
}

const struct staple *staples_get(const struct staples *s, const struct weir_cert_id *id)
{
	const struct entry *e = s ? *slot_of(s, id) : NULL;

	return e ? &e->staple : NULL;
}

const struct certificate *staples_served(const struct staples *s, const struct certificate *c)
{
	const struct staple *x = staples_get(s, &c->blob->id);

	return x && x->stapled ? x->stapled : c;
}

/* Of what certificate_warn() tells. */
static bool is_same_news(const struct staple *a, const struct staple *b)
{
	if ((a->state == STAPLE_REVOKED) != (b->state == STAPLE_REVOKED))
		return false;
	if (a->state == STAPLE_REVOKED && (a->reason != b->reason || a->revoked_s != b->revoked_s))
		return false;
	return (!a->must_staple && !b->must_staple) ||
	       (a->must_staple == b->must_staple && a->state == b->state && a->why == b->why && !a->stapled == !b->stapled);
}

static bool is_same_served(const struct staple *a, const struct staple *b)
{
	if (!a->stapled || !b->stapled)
		return !a->stapled == !b->stapled;
	return certificate_compare_ids(&a->stapled->blob->id, &b->stapled->blob->id) == 0;
}

void staples_set(struct staples *s, const struct weir_cert_id *id, const struct staple *v)
{
	struct entry **at = slot_of(s, id), *e = *at;

	if (!e) {
		*at = e = translate_must(calloc(1, sizeof(*e)));
		e->id = *id;
	}
	if (!e->is_news && !is_same_news(&e->staple, v)) {
		e->is_news = true;
		s->n_news++;
	}
	s->has_changes |= !is_same_served(&e->staple, v);
	if (e->staple.stapled != v->stapled)
		let_go(e->staple.stapled);
	e->staple = *v;
}

void staples_remove(struct staples *s, const struct weir_cert_id *id)
{
	struct entry **at = slot_of(s, id), *e = *at;

	if (!e)
		return;
	s->n_news -= e->is_news;
	*at = e->chain;
	let_go(e->staple.stapled);
	free(e);
}

bool staples_is_news(const struct staples *s, const struct weir_cert_id *id)
{
	const struct entry *e = *slot_of(s, id);

	return e && e->is_news;
}

bool staples_has_news(const struct staples *s)
{
	return s->n_news > 0;
}

void staples_clear_news(struct staples *s)
{
	for (size_t i = 0; s->n_news && i < N_BUCKETS; i++)
		for (struct entry *e = s->buckets[i]; e; e = e->chain)
			e->is_news = false;
	s->n_news = 0;
}

bool staples_has_changes(const struct staples *s)
{
	return s->has_changes;
}

void staples_clear_changes(struct staples *s)
{
	s->has_changes = false;
}

const char *staple_state_name(enum staple_state state)
{
	static const char *const names[] = {
#define X(id, name) name,
	    STAPLE_STATES(X)
#undef X
	};

	return names[state];
}
