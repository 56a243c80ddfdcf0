/* SPDX-License-Identifier: Apache-2.0 */
/* CA certificates by which clients and backends are judged: each set of them once, whose it is, and for whom it counts. */
#include "admin/view_certificates.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct trusts {
	const struct certificate **list;
	size_t n, cap;
	bool no_memory;
};

static void add(void *ctx, const struct certificate *c)
{
	struct trusts *all = ctx;

	if (c->blob->kind != WEIR_CERTIFICATE_TRUST || !c->name || all->no_memory || (all->n && all->list[all->n - 1] == c))
		return;
	if (all->n == all->cap) {
		const struct certificate **grown = realloc(all->list, (all->cap ? 2 * all->cap : 16) * sizeof(*grown));

		all->no_memory = !grown;
		if (!grown)
			return;
		all->list = grown;
		all->cap = all->cap ? 2 * all->cap : 16;
	}
	all->list[all->n++] = c;
}

/* By whose they are; of one object, alone or with others, the set that ends first comes first. */
static int by_object(const void *pa, const void *pb)
{
	const struct certificate *a = *(const struct certificate *const *)pa;
	const struct certificate *b = *(const struct certificate *const *)pb;
	int d = strcmp(a->ns, b->ns);

	d = d ? d : strcmp(a->name, b->name);
	d = d ? d : strcmp(a->of, b->of);
	if (d == 0 && a->not_after_s != b->not_after_s)
		d = a->not_after_s < b->not_after_s ? -1 : 1;
	return d ? d : certificate_compare_ids(&a->blob->id, &b->blob->id);
}

const struct certificate **view_list_trusts(const struct sync *s, size_t *n)
{
	struct trusts all = {.list = calloc(1, sizeof(*all.list)), .cap = 1};

	*n = 0;
	if (!all.list)
		return NULL;
	model_each_certificate(s->model, add, &all);
	qsort(all.list, all.n, sizeof(*all.list), by_object);
	for (size_t i = 0; i < all.n; i++)
		if (*n == 0 || by_object(&all.list[*n - 1], &all.list[i]) != 0)
			all.list[(*n)++] = all.list[i];
	return all.list;
}

static bool is_same(const struct certificate *a, const struct certificate *b)
{
	return a && a->name && by_object(&a, &b) == 0; /* without a name: those of the machine */
}

/* The names whose clients are judged by it: "shop.test (required)". */
static json_t *hosts_of(const struct sync *s, const struct certificate *c)
{
	static const char *const modes[] = {"required", "optional", "insecure"};
	json_t *list = json_array();
	char last[320] = "", text[320];

	for (size_t i = 0; i < s->model->n_names; i++) {
		const struct model_server_name *n = &s->model->names[i];

		if (!n->client_auth || !is_same(n->client_auth->trust, c))
			continue;
		snprintf(text, sizeof(text), "%s (%s)", *n->host ? n->host : "*", modes[n->client_auth->mode]);
		if (strcmp(text, last) != 0) /* or it is that of another address */
			json_array_append_new(list, json_string(text));
		memcpy(last, text, sizeof(last));
	}
	return list;
}

static json_t *backends_of(const struct sync *s, const struct certificate *c)
{
	json_t *list = json_array();

	for (size_t i = 0; i < s->model->n_backends; i++) {
		const struct model_backend *b = &s->model->backends[i];

		if (b->name && b->tls && is_same(b->tls->trust, c))
			json_array_append_new(list, json_string(b->name));
	}
	return list;
}

static int id_order(const void *a, const void *b)
{
	return certificate_compare_ids(a, b);
}

static json_t *problems_of(const struct sync *s, const struct certificate *c, int64_t now_s)
{
	json_t *list = json_array();

	if (s->n_refused && bsearch(&c->blob->id, s->refused, s->n_refused, sizeof(*s->refused), id_order))
		json_array_append_new(list, json_string("refused by the dataplane"));
	if (c->not_after_s < now_s)
		json_array_append_new(list, json_string("a CA has expired"));
	else if (c->not_before_s > now_s)
		json_array_append_new(list, json_string("a CA is not yet valid"));
	else if (c->not_after_s - now_s < CERTIFICATE_SOON_S)
		json_array_append_new(list, json_string("a CA expires soon"));
	if (c->crls_until_s && c->crls_until_s < now_s)
		json_array_append_new(list, json_string("a CRL is out of date"));
	return list;
}

static json_t *view_one(const struct sync *s, const struct certificate *c, int64_t now_s)
{
	const time_t end = (time_t)c->not_after_s;
	json_t *objects = json_array();
	char text[32] = "";
	struct tm tm;

	if (gmtime_r(&end, &tm))
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	for (size_t i = 0; i < c->n_names; i++)
		json_array_append_new(objects, json_string(c->names[i]));
	return json_pack("{s:s, s:s, s:s, s:o, s:I, s:I, s:o, s:o, s:s, s:I, s:o}", "kind", "trust", "namespace", c->ns, "name", c->name,
			 "objects", objects, "cas", (json_int_t)c->n_cas, "crls", (json_int_t)c->n_crls, "hosts", hosts_of(s, c),
			 "backends", backends_of(s, c), "not_after", text, "days_left", (json_int_t)((c->not_after_s - now_s) / 86400),
			 "problems", problems_of(s, c, now_s));
}

void view_trusts(const struct sync *s, int64_t now_s, json_t *out)
{
	size_t n;
	const struct certificate **list = view_list_trusts(s, &n);

	for (size_t i = 0; i < n; i++)
		json_array_append_new(out, view_one(s, list[i], now_s));
	free(list);
}
