/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See collect.h. Nodes are taken by age, so that one that comes, whatever it
 * says, takes nothing from those that are there.
 */
#include "paths/collect.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "paths/blob.h"
#include "paths/prefix.h"

struct collector {
	const struct paths_options *o;
	struct paths *out;
	size_t cap;
	struct weir_pod_path *list; /* that are served, sorted; none overlaps another one */
	size_t n, cap_list;
	char **owners; /* of each, names of rows */
	bool has_failed; /* no memory */
};

/* One that does not say when it was made counts as the youngest. */
static int64_t made_s(const struct kube_object *o)
{
	return o->created_s ? o->created_s : INT64_MAX;
}

static int by_age(const void *pa, const void *pb)
{
	const struct kube_object *a = *(const struct kube_object *const *)pa;
	const struct kube_object *b = *(const struct kube_object *const *)pb;

	if (made_s(a) != made_s(b))
		return made_s(a) < made_s(b) ? -1 : 1;
	return strcmp(a->name, b->name);
}

static struct paths_row *add_row(struct collector *c, const char *node, bool has_prefix)
{
	struct paths *p = c->out;
	struct paths_row *r;

	if (p->n_rows == c->cap) {
		size_t cap = c->cap ? 2 * c->cap : 64;
		struct paths_row *rows = realloc(p->rows, cap * sizeof(*rows));

		if (!rows)
			return NULL;
		p->rows = rows;
		c->cap = cap;
	}
	r = &p->rows[p->n_rows];
	*r = (struct paths_row){.node = strdup(node), .has_prefix = has_prefix};
	if (!r->node)
		return NULL;
	p->n_rows++;
	return r;
}

static struct ip_prefix prefix_of(const struct weir_pod_path *p)
{
	return (struct ip_prefix){p->prefix, p->prefix_len};
}

/* Where it is to stand. */
static size_t position(const struct collector *c, const struct ip_prefix *prefix)
{
	size_t lo = 0, hi = c->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		const struct ip_prefix at = prefix_of(&c->list[mid]);

		if (prefix_compare(&at, prefix) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Since those in the list do not overlap, one that overlaps this one is beside its place. -1: there is none. */
static long overlapping(const struct collector *c, const struct ip_prefix *prefix, size_t at)
{
	for (size_t i = at > 0 ? at - 1 : 0; i < c->n && i <= at; i++) {
		const struct ip_prefix other = prefix_of(&c->list[i]);

		if (prefix_overlaps(&other, prefix))
			return (long)i;
	}
	return -1;
}

static bool grow(struct collector *c)
{
	size_t cap = c->cap_list ? 2 * c->cap_list : 64;
	struct weir_pod_path *list = realloc(c->list, cap * sizeof(*list));
	char **owners;

	if (list)
		c->list = list;
	owners = list ? realloc(c->owners, cap * sizeof(*owners)) : NULL;
	if (!owners)
		return false;
	c->owners = owners;
	c->cap_list = cap;
	return true;
}

static void refuse(struct paths_choice *x)
{
	x->way = PATHS_WAY_NONE;
	x->is_wrong = true;
	x->path.kind = 0;
	memset(&x->path.via, 0, sizeof(x->path.via));
	memset(x->path.mac, 0, sizeof(x->path.mac));
}

/* The way of a row is served, unless it is in the way of another one. */
static void serve(struct collector *c, struct paths_row *r)
{
	const struct ip_prefix prefix = prefix_of(&r->choice.path);
	char text[PREFIX_TEXT_MAX];
	size_t at = position(c, &prefix);
	long other = overlapping(c, &prefix, at);

	if (other >= 0) {
		const struct ip_prefix its = prefix_of(&c->list[other]);

		refuse(&r->choice);
		snprintf(r->choice.why, sizeof(r->choice.why), "it overlaps %s of Node %.100s, which is older", prefix_format(&its, text),
			 c->owners[other]);
		return;
	}
	if (c->n == WEIR_MAX_PATHS) {
		refuse(&r->choice);
		snprintf(r->choice.why, sizeof(r->choice.why), "there are more than %u ways", WEIR_MAX_PATHS);
		c->out->n_beyond++;
		return;
	}
	if (c->n == c->cap_list && !grow(c)) {
		c->has_failed = true;
		return;
	}
	memmove(c->list + at + 1, c->list + at, (c->n - at) * sizeof(*c->list));
	memmove(c->owners + at + 1, c->owners + at, (c->n - at) * sizeof(*c->owners));
	c->list[at] = r->choice.path;
	c->owners[at] = r->node;
	c->n++;
}

static void add_prefix(struct collector *c, const struct node_facts *f, const struct ip_prefix *prefix)
{
	struct paths_row *r = add_row(c, f->name, true);

	if (!r) {
		c->has_failed = true;
		return;
	}
	paths_choose(c->o, &c->out->near, f, prefix, &r->choice);
	if (r->choice.way == PATHS_WAY_VXLAN && f->cni == NODE_CNI_CILIUM) /* what comes says by its VNI which pod has sent it */
		c->out->near.vtep[!ip_is4(&prefix->ip)].flags |= WEIR_VTEP_ANY_VNI;
	if (r->choice.path.kind)
		serve(c, r);
}

/* Of a Node without a prefix, or of what is wrong with one. */
static void add_without(struct collector *c, const struct node_facts *f)
{
	struct paths_row *r = add_row(c, f->name, false);
	const char *why = f->prefix_fault[0] ? f->prefix_fault : "it has no podCIDR";

	if (!r) {
		c->has_failed = true;
		return;
	}
	r->choice.is_wrong = f->prefix_fault[0] != 0;
	if (!r->choice.is_wrong && c->o->mode == PATHS_NODE_PORT) {
		r->choice.path.via = f->internal[ip_is_any(&f->internal[0])];
		r->choice.way = ip_is_any(&r->choice.path.via) ? PATHS_WAY_NONE : PATHS_WAY_NODE_PORT;
		why = r->choice.way == PATHS_WAY_NONE ? "it has no InternalIP" : "--paths node-port";
	}
	snprintf(r->choice.why, sizeof(r->choice.why), "%s", why);
}

static void add_node(struct collector *c, const struct kube_object *o)
{
	struct node_facts f;

	node_facts_read(o, &f);
	for (size_t i = 0; i < f.n_prefixes; i++)
		add_prefix(c, &f, &f.prefixes[i]);
	if (f.prefix_fault[0] || f.n_prefixes == 0)
		add_without(c, &f);
	c->out->n_nodes++;
}

/* ---- the whole */

static int by_name(const void *pa, const void *pb)
{
	const struct paths_row *a = pa, *b = pb;
	const struct ip_prefix x = prefix_of(&a->choice.path), y = prefix_of(&b->choice.path);
	int d = strcmp(a->node, b->node);

	if (d == 0)
		d = (int)b->has_prefix - (int)a->has_prefix;
	return d ? d : prefix_compare(&x, &y);
}

static void count(struct paths *p)
{
	for (size_t i = 0; i < p->n_rows; i++) {
		p->n_of[p->rows[i].choice.way]++;
		p->n_wrong += p->rows[i].choice.is_wrong;
	}
	p->n_wrong += p->near.fault[0] != 0;
}

static void add_all(struct collector *c, const struct kube_object *const *nodes, size_t n)
{
	const struct kube_object **list = calloc(n + 1, sizeof(*list));

	if (!list) {
		c->has_failed = true;
		return;
	}
	if (n) {
		memcpy(list, nodes, n * sizeof(*list));
		qsort(list, n, sizeof(*list), by_age);
	}
	for (size_t i = 0; i < n && !c->has_failed; i++)
		add_node(c, list[i]);
	free(list);
}

int paths_collect(const struct store *s, const struct paths_options *o, struct paths *out)
{
	struct collector c = {.o = o, .out = out};
	size_t n;
	const struct kube_object *const *nodes = store_list(s, KUBE_NODE, &n);

	memset(out, 0, sizeof(*out));
	if (o->mode == PATHS_AUTO || o->mode == PATHS_VXLAN)
		near_end_read(o, o->vtep_node ? store_get(s, KUBE_NODE, "", o->vtep_node) : NULL, &out->near);
	if (o->mode != PATHS_OFF)
		add_all(&c, nodes, n);
	if (out->n_rows)
		qsort(out->rows, out->n_rows, sizeof(*out->rows), by_name);
	count(out);
	if (!c.has_failed)
		out->blob = paths_blob_make(c.list, c.n, out->near.vtep, &out->blob_bytes);
	free(c.list);
	free(c.owners);
	if (out->blob)
		return 0;
	paths_fini(out);
	return -ENOMEM;
}

void paths_fini(struct paths *p)
{
	for (size_t i = 0; i < p->n_rows; i++)
		free(p->rows[i].node);
	free(p->rows);
	free(p->blob);
	memset(p, 0, sizeof(*p));
}
