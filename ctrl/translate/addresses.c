/* SPDX-License-Identifier: Apache-2.0 */
/* The pool, and who gets what of it. See addresses.h. */
#include "translate/addresses.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/ip.h"

static void *must(void *p)
{
	if (!p) {
		perror("weir: memory for addresses");
		abort();
	}
	return p;
}

/* ---- the pool ---- */

static int compare_ips(const struct weir_ip *a, const struct weir_ip *b)
{
	return memcmp(a->b, b->b, sizeof(a->b));
}

/* The first and last address of a prefix. */
static int read_prefix(const char *text, const char *slash, struct address_range *out)
{
	char *end;
	unsigned long len;
	unsigned bits;

	if (ip_parse(text, (size_t)(slash - text), &out->first) != 0 || slash[1] < '0' || slash[1] > '9')
		return -EINVAL;
	errno = 0;
	len = strtoul(slash + 1, &end, 10);
	if (*end || errno || len == 0 || len > (ip_is4(&out->first) ? 32 : 128))
		return -EINVAL;
	bits = (unsigned)len + (ip_is4(&out->first) ? 96 : 0);
	out->last = out->first;
	for (unsigned i = bits; i < 128; i++) {
		out->first.b[i / 8] &= (uint8_t)~(0x80u >> i % 8);
		out->last.b[i / 8] |= (uint8_t)(0x80u >> i % 8);
	}
	return 0;
}

int address_pool_add(struct address_pool *p, const char *text)
{
	const char *slash = strchr(text, '/');
	const char *dash = strchr(text, '-');
	struct address_range r;

	if (slash) {
		if (read_prefix(text, slash, &r) != 0)
			return -EINVAL;
	} else {
		size_t n = dash ? (size_t)(dash - text) : strlen(text);
		const char *last = dash ? dash + 1 : text;

		if (ip_parse(text, n, &r.first) != 0 || ip_parse(last, strlen(last), &r.last) != 0)
			return -EINVAL;
	}
	if (ip_is4(&r.first) != ip_is4(&r.last) || compare_ips(&r.first, &r.last) > 0 || ip_is_any(&r.first))
		return -EINVAL;
	if (p->n == p->cap) {
		p->cap = p->cap ? p->cap * 2 : 4;
		p->ranges = must(realloc(p->ranges, p->cap * sizeof(*p->ranges)));
	}
	p->ranges[p->n++] = r;
	return 0;
}

void address_pool_fini(struct address_pool *p)
{
	free(p->ranges);
	*p = (struct address_pool){0};
}

static bool is_in(const struct address_range *r, const struct weir_ip *ip)
{
	return compare_ips(&r->first, ip) <= 0 && compare_ips(ip, &r->last) <= 0;
}

bool address_pool_has(const struct address_pool *p, const struct weir_ip *ip)
{
	for (size_t i = 0; i < p->n; i++)
		if (is_in(&p->ranges[i], ip))
			return true;
	return false;
}

/* ---- assignment ---- */

/* Where the search for a free address goes on. What was taken is never given back. */
struct search {
	size_t range;
	struct weir_ip next;
	bool is_begun;
};

struct assignment {
	const struct address_pool *pool;
	struct weir_ip *used; /* open addressing, at most half full; zero: empty */
	size_t n_slots;
	struct search v4, v6;
};

static struct weir_ip *slot_of(const struct assignment *a, const struct weir_ip *ip)
{
	size_t i = hash_keyed(ip->b, sizeof(ip->b), 0) & (a->n_slots - 1);

	while (!ip_is_any(&a->used[i]) && !ip_eq(&a->used[i], ip))
		i = (i + 1) & (a->n_slots - 1);
	return &a->used[i];
}

/* True if it was free. */
static bool take(struct assignment *a, const struct weir_ip *ip)
{
	struct weir_ip *slot = slot_of(a, ip);

	if (!ip_is_any(slot))
		return false;
	*slot = *ip;
	return true;
}

static bool has(const struct weir_ip *list, size_t n, const struct weir_ip *ip)
{
	for (size_t i = 0; i < n; i++)
		if (ip_eq(&list[i], ip))
			return true;
	return false;
}

static void get(struct address_request *r, const struct weir_ip *ip)
{
	if (r->n_got < ADDRESSES_MAX)
		r->got[r->n_got++] = *ip;
}

static void take_wanted(struct assignment *a, struct address_request *r, bool is_held)
{
	for (size_t i = 0; i < r->n_wanted; i++) {
		const struct weir_ip *ip = &r->wanted[i];

		if (has(r->given, r->n_given, ip) != is_held || has(r->got, r->n_got, ip))
			continue;
		if (a->pool && !address_pool_has(a->pool, ip))
			r->outcome[i] = ADDRESS_NOT_IN_POOL;
		else if (a->pool && !take(a, ip))
			r->outcome[i] = ADDRESS_IN_USE;
		else
			get(r, ip);
	}
}

/* Addresses of any value that it has already. */
static void keep(struct assignment *a, struct address_request *r)
{
	for (size_t i = 0; i < r->n_given; i++) {
		const struct weir_ip *ip = &r->given[i];
		unsigned *n = ip_is4(ip) ? &r->n_free4 : &r->n_free6;

		if (*n == 0 || has(r->wanted, r->n_wanted, ip) || !address_pool_has(a->pool, ip) || !take(a, ip))
			continue;
		get(r, ip);
		--*n;
	}
}

static void step(struct weir_ip *ip)
{
	for (size_t i = sizeof(ip->b); i-- > 0 && ++ip->b[i] == 0;)
		;
}

/* The lowest free address of a family, range after range. */
static bool take_free(struct assignment *a, bool is4, struct address_request *r)
{
	struct search *s = is4 ? &a->v4 : &a->v6;

	for (; s->range < a->pool->n; s->range++, s->is_begun = false) {
		const struct address_range *range = &a->pool->ranges[s->range];

		if (ip_is4(&range->first) != is4)
			continue;
		if (!s->is_begun)
			s->next = range->first;
		s->is_begun = true;
		while (is_in(range, &s->next)) {
			struct weir_ip ip = s->next;

			step(&s->next);
			if (take(a, &ip)) {
				get(r, &ip);
				return true;
			}
		}
	}
	return false;
}

static void fill(struct assignment *a, struct address_request *r)
{
	unsigned n4 = r->n_free4;
	unsigned n6 = r->n_free6;

	while (n4 && a->pool && take_free(a, true, r))
		n4--;
	while (n6 && a->pool && take_free(a, false, r))
		n6--;
	r->n_lacking = n4 + n6;
}

static int compare_requests(const void *pa, const void *pb)
{
	const struct address_request *a = *(struct address_request *const *)pa;
	const struct address_request *b = *(struct address_request *const *)pb;

	return age_compare(&a->age, &b->age);
}

/* What they have stays theirs. */
static void take_held(struct assignment *a, struct address_request **order, size_t n, bool is_untold)
{
	for (size_t i = 0; i < n; i++) {
		if (order[i]->is_untold != is_untold)
			continue;
		take_wanted(a, order[i], true);
		if (a->pool)
			keep(a, order[i]);
	}
}

void addresses_assign(const struct address_pool *pool, struct address_request *r, size_t n)
{
	struct assignment a = {.pool = pool, .n_slots = 64};
	struct address_request **order = must(malloc((n + 1) * sizeof(*order)));

	while (a.n_slots < 2 * n * ADDRESSES_MAX)
		a.n_slots *= 2;
	a.used = must(calloc(a.n_slots, sizeof(*a.used)));
	for (size_t i = 0; i < n; i++)
		order[i] = &r[i];
	qsort(order, n, sizeof(*order), compare_requests);
	take_held(&a, order, n, false);
	take_held(&a, order, n, true);
	for (size_t i = 0; i < n; i++)
		take_wanted(&a, order[i], false);
	for (size_t i = 0; i < n; i++)
		fill(&a, order[i]);
	free(order);
	free(a.used);
}
