/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Services by their nodePort: where nothing leads to pods, kube-proxy (or who
 * stands for it) does, on each node. Endpoints of a backend are nodes then, at
 * their InternalIP: all, or, of a Service with externalTrafficPolicy Local,
 * those that have a ready endpoint. Nodes with the label that keeps them from
 * load balancers are left out.
 */
#include <stdlib.h>
#include <string.h>

#include "base/ip.h"
#include "paths/node_facts.h"
#include "translate/translate_pvt.h"

#define EXCLUDED "node.kubernetes.io/exclude-from-external-load-balancers"

static int64_t port_of(const struct node *port)
{
	int64_t v;

	return node_int(node_get(port, "nodePort"), 1, 65535, &v) ? v : 0;
}

bool node_ports_check(struct translation *t, const struct kube_object *o, const struct cursor *at, const struct kube_object *s,
		      const struct node *port)
{
	if (!t->options->node_ports || port_of(port))
		return true;
	report(t, o, at, true, "NodePortNotFound",
	       "a Service with a nodePort was expected: pods are reached by nothing else (--paths node-port), and %s/%s has none", s->ns, s->name);
	return false;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool is_ready(const struct node *endpoint)
{
	bool v;

	return node_bool(node_path(endpoint, "conditions.ready"), &v) ? v : true;
}

/* Names of nodes that have a ready endpoint, sorted; free() the list. */
static const char **local_nodes(const struct kube_object *const *slices, size_t n_slices, size_t *n)
{
	const char **list = NULL;
	size_t cap = 0;

	*n = 0;
	for (size_t i = 0; i < n_slices; i++) {
		const struct node *endpoints = node_get(slices[i]->root, "endpoints");

		for (size_t k = 0; endpoints && endpoints->kind == NODE_LIST && k < endpoints->n; k++) {
			const char *name = node_str(node_get(endpoints->items[k], "nodeName"));

			if (!name || !is_ready(endpoints->items[k]))
				continue;
			list = translate_grow(list, *n, &cap, sizeof(*list));
			list[(*n)++] = name;
		}
	}
	if (*n)
		qsort(list, *n, sizeof(*list), compare_names);
	return list;
}

/* A Service without ipFamilies, as in manifests, is of any. */
static bool has_family(const struct kube_object *s, unsigned family)
{
	const struct node *list = node_path(s->root, "spec.ipFamilies");

	if (!list || list->kind != NODE_LIST || list->n == 0)
		return true;
	for (size_t i = 0; i < list->n; i++) {
		const char *text = node_str(list->items[i]);

		if (text && strcmp(text, family ? "IPv6" : "IPv4") == 0)
			return true;
	}
	return false;
}

/* The node's address, of the first of the Service's families that it has. */
static bool address_of(const struct kube_object *node, const struct kube_object *s, struct weir_ip *out)
{
	for (unsigned family = 0; family < 2; family++)
		if (has_family(s, family) && node_facts_internal(node, family, out))
			return true;
	return false;
}

struct weir_endpoint *node_ports_collect(const struct translation *t, const struct kube_object *service, const struct node *port,
					 const struct kube_object *const *slices, size_t n_slices, size_t *n)
{
	const char *policy = node_str(node_path(service->root, "spec.externalTrafficPolicy"));
	const bool is_local = policy && strcmp(policy, "Local") == 0;
	size_t n_nodes, n_local = 0, cap = 0;
	const struct kube_object *const *nodes = store_list(t->store, KUBE_NODE, &n_nodes);
	const char **local = is_local ? local_nodes(slices, n_slices, &n_local) : NULL;
	struct weir_endpoint *list = NULL;

	*n = 0;
	for (size_t i = 0; port_of(port) && i < n_nodes; i++) {
		struct weir_endpoint ep = {.port = (uint16_t)port_of(port), .weight = 1, .flags = WEIR_EP_READY | WEIR_EP_SERVING};

		if (node_get(node_path(nodes[i]->root, "metadata.labels"), EXCLUDED) || !address_of(nodes[i], service, &ep.addr))
			continue;
		if (is_local && !(n_local && bsearch(&nodes[i]->name, local, n_local, sizeof(*local), compare_names)))
			continue;
		list = translate_grow(list, *n, &cap, sizeof(*list));
		list[(*n)++] = ep;
	}
	free(local);
	return list;
}
