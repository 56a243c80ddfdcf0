/* SPDX-License-Identifier: Apache-2.0 */
/* The order of listeners and matches in a snapshot: see place_pvt.h. */
#include "translate/place_pvt.h"

#include <stdlib.h>
#include <string.h>

#include "translate/age.h"

static uint64_t head_of(struct slice s)
{
	uint64_t v = 0;

	for (size_t i = 0; i < sizeof(v); i++)
		v = v << 8 | (i < s.n ? (uint8_t)s.p[i] : 0);
	return v;
}

uint8_t place_host_key(const char *host, bool one_label, struct slice *key)
{
	if (strncmp(host, "*.", 2) == 0) {
		*key = slice_str(host + 2);
		return one_label ? WEIR_HOST_WILDCARD_ONE : WEIR_HOST_WILDCARD;
	}
	*key = slice_str(host);
	return key->n ? WEIR_HOST_EXACT : WEIR_HOST_ANY;
}

static struct slice path_key(const struct model_match *m)
{
	struct slice key = slice_str(m->path);

	if (m->path_kind == WEIR_PATH_PREFIX)
		while (key.n && key.p[key.n - 1] == '/')
			key.n--;
	return key;
}

int place_compare_slices(struct slice a, struct slice b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int order = n ? memcmp(a.p, b.p, n) : 0;

	return order ? order : (a.n > b.n) - (a.n < b.n);
}

static int compare_numbers(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

int place_compare_binds(const struct model_listener *a, const struct model_listener *b)
{
	int order = compare_numbers(a->port, b->port);

	return order ? order : memcmp(a->addr.b, b->addr.b, sizeof(a->addr.b));
}

int place_compare_listeners(const struct model_listener *a, const struct model_listener *b)
{
	int order = place_compare_binds(a, b);

	return order ? order : strcmp(a->host, b->host);
}

int place_compare_hosts(const struct place *a, const struct place *b)
{
	int order = compare_numbers(a->host_kind, b->host_kind);

	if (!order)
		order = compare_numbers(a->host_head, b->host_head);
	return order ? order : place_compare_slices(a->host, b->host);
}

int place_compare_paths(const struct place *a, const struct place *b)
{
	int order = compare_numbers(a->path_kind, b->path_kind);

	return order ? order : place_compare_slices(a->path, b->path);
}

static size_t n_conds_of(const struct model_match *m, enum weir_cond_kind kind)
{
	size_t n = 0;

	for (size_t i = 0; i < m->n_conds; i++)
		n += m->conds[i].kind == kind;
	return n;
}

static int compare_ages(const struct model_match *a, const struct model_match *b)
{
	const struct age x = {a->created_s, a->ns, a->name};
	const struct age y = {b->created_s, b->ns, b->name};

	return age_compare(&x, &y);
}

/* HTTPRouteRule.matches: method, number of headers, of query parameters; then age, name, and place in the object. */
static int compare_precedence(const struct model_match *a, const struct model_match *b)
{
	int order = compare_numbers(b->method[0] != 0, a->method[0] != 0);

	if (!order)
		order = compare_numbers(n_conds_of(b, WEIR_COND_HEADER), n_conds_of(a, WEIR_COND_HEADER));
	if (!order)
		order = compare_numbers(n_conds_of(b, WEIR_COND_QUERY), n_conds_of(a, WEIR_COND_QUERY));
	if (!order)
		order = compare_ages(a, b);
	if (!order)
		order = strcmp(a->kind, b->kind);
	if (!order)
		order = compare_numbers(a->rule_index, b->rule_index);
	if (!order)
		order = compare_numbers(a->match_index, b->match_index);
	return order;
}

static int by_place(const void *pa, const void *pb)
{
	const struct place *a = *(const struct place *const *)pa;
	const struct place *b = *(const struct place *const *)pb;
	int order = compare_numbers(a->listener, b->listener);

	if (!order)
		order = place_compare_hosts(a, b);
	if (!order)
		order = place_compare_paths(a, b);
	if (!order)
		order = compare_precedence(a->m, b->m);
	return order ? order : compare_numbers((uintptr_t)a, (uintptr_t)b);
}

static int by_bind_and_host(const void *pa, const void *pb)
{
	const struct model_listener *a = *(const struct model_listener *const *)pa;
	const struct model_listener *b = *(const struct model_listener *const *)pb;
	int order = place_compare_listeners(a, b);

	if (!order)
		order = compare_numbers(a->proto, b->proto);
	if (!order)
		order = strcmp(a->name, b->name);
	return order;
}

void place_init(struct place *p, const struct model_match *m, uint32_t rank)
{
	p->m = m;
	p->listener = rank;
	p->host_kind = place_host_key(m->host, m->host_one_label, &p->host);
	p->host_head = head_of(p->host);
	p->path_kind = m->path_kind;
	p->path = path_key(m);
}

void place_sort(const struct place **list, size_t n)
{
	qsort(list, n, sizeof(*list), by_place);
}

void place_sort_listeners(const struct model_listener **list, size_t n)
{
	qsort(list, n, sizeof(*list), by_bind_and_host);
}
