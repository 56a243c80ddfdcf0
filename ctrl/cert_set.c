/* SPDX-License-Identifier: Apache-2.0 */
/* See cert_set.h. */
#include "cert_set.h"

#include <errno.h>
#include <stdlib.h>

void cert_set_fini(struct cert_set *s)
{
	for (size_t i = 0; i < s->n; i++)
		certificate_put(s->list[i].c);
	free(s->list);
	*s = (struct cert_set){0};
}

static int by_id(const void *pa, const void *pb)
{
	const struct cert *a = pa;
	const struct cert *b = pb;

	return certificate_compare_ids(&a->c->blob->id, &b->c->blob->id);
}

struct cert *cert_set_find(const struct cert_set *s, const struct weir_cert_id *id)
{
	size_t lo = 0, hi = s->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int d = certificate_compare_ids(&s->list[mid].c->blob->id, id);

		if (d == 0)
			return &s->list[mid];
		if (d < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

int cert_set_replace(struct cert_set *s, const struct certificate *const *list, size_t n)
{
	struct cert_set now = {.list = calloc(n + 1, sizeof(*now.list))};

	if (!now.list)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		now.list[i].c = (struct certificate *)(uintptr_t)list[i];
	qsort(now.list, n, sizeof(*now.list), by_id);
	for (size_t i = 0; i < n; i++) {
		const struct cert *old;

		if (now.n && by_id(&now.list[now.n - 1], &now.list[i]) == 0)
			continue;
		old = cert_set_find(s, &now.list[i].c->blob->id);
		now.list[now.n] = (struct cert){.c = certificate_get(now.list[i].c)};
		if (old) {
			now.list[now.n].state = old->state;
			now.list[now.n].n_tries = old->n_tries;
			now.list[now.n].may_pass = old->may_pass;
		}
		now.n_of[now.list[now.n].state]++;
		now.n++;
	}
	cert_set_fini(s);
	*s = now;
	return 0;
}

void cert_set_state(struct cert_set *s, struct cert *c, enum cert_state state)
{
	s->n_of[c->state]--;
	c->state = state;
	s->n_of[state]++;
}

void cert_set_reset(struct cert_set *s, bool is_anew)
{
	for (size_t i = 0; i < s->n; i++) {
		struct cert *c = &s->list[i];

		if (c->state == CERT_REFUSED && !is_anew)
			continue;
		c->n_tries = 0;
		cert_set_state(s, c, CERT_DUE);
	}
}

struct cert *cert_set_next(const struct cert_set *s, size_t *at, enum cert_state state)
{
	while (*at < s->n)
		if (s->list[(*at)++].state == state)
			return &s->list[*at - 1];
	return NULL;
}
