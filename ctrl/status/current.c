/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a route's status is as it is to be, without making a document: most
 * routes are, each time. In doubt it is not, and the document decides.
 */
#include <string.h>

#include "status/status_pvt.h"

static bool is_text(const struct node *map, const char *key, const char *text)
{
	const char *s = node_str(node_get(map, key));

	return s ? text && strcmp(s, text) == 0 : !text && !node_get(map, key);
}

static bool is_number(const struct node *map, const char *key, int64_t want)
{
	int64_t v = 0;

	return want ? node_int(node_get(map, key), 1, INT64_MAX, &v) && v == want : !node_get(map, key);
}

static const struct node *find_by_text(const struct node *list, const char *key, const char *text)
{
	for (size_t i = 0; i < list->n; i++)
		if (is_text(list->items[i], key, text))
			return list->items[i];
	return NULL;
}

static bool is_condition(const struct node *n, const struct model_condition *c, int64_t generation)
{
	return n && n->n == (generation ? 6 : 5) && is_text(n, "status", c->status) && is_text(n, "reason", c->reason) &&
	       is_text(n, "message", c->message) && is_number(n, "observedGeneration", generation) &&
	       node_str(node_get(n, "lastTransitionTime"));
}

static bool are_conditions(const struct node *list, const struct model_conditions *c, int64_t generation)
{
	if (!list || list->kind != NODE_LIST || list->n != c->n) /* others' conditions, too: the document decides */
		return false;
	for (size_t i = 0; i < c->n; i++)
		if (!is_condition(find_by_text(list, "type", c->c[i].type), &c->c[i], generation))
			return false;
	return true;
}

static bool is_ref(const struct node *ref, const struct model_parent *p)
{
	return is_text(ref, "group", p->group) && is_text(ref, "kind", p->kind) && is_text(ref, "namespace", p->ns) &&
	       is_text(ref, "name", p->name) && is_text(ref, "sectionName", p->section) && is_number(ref, "port", p->port) &&
	       ref->n == (size_t)((p->group != NULL) + (p->kind != NULL) + (p->ns != NULL) + (p->name != NULL) +
				  (p->section != NULL) + (p->port != 0));
}

static bool has_parent(const struct node *list, const struct model_parent *p, const char *controller_name,
		       int64_t generation)
{
	for (size_t i = 0; i < list->n; i++) {
		const struct node *e = list->items[i];

		if (is_text(e, "controllerName", controller_name) && node_get(e, "parentRef") &&
		    is_ref(node_get(e, "parentRef"), p))
			return e->n == 3 && are_conditions(node_get(e, "conditions"), &p->conditions, generation);
	}
	return false;
}

bool is_route_current(const struct node *root, const struct model_status *v, const char *controller_name,
		      int64_t generation)
{
	const struct node *list = node_path(root, "status.parents");
	size_t n_ours = 0;

	if (!list || list->kind != NODE_LIST)
		return false;
	for (size_t i = 0; i < list->n; i++)
		n_ours += is_text(list->items[i], "controllerName", controller_name);
	if (n_ours != v->n_parents)
		return false;
	for (size_t i = 0; i < v->n_parents; i++)
		if (!has_parent(list, &v->parents[i], controller_name, generation))
			return false;
	return true;
}
