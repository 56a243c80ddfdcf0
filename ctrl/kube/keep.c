/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is kept of a Node: of many there are some kB each, most of it images
 * and conditions that a heartbeat writes anew, and Weir reads a few fields.
 */
#include <string.h>

#include "kube/store_pvt.h"

/* sub NULL: the value is kept whole */
struct keep {
	const char *key;
	const struct keep *sub;
};

static const struct keep labels[] = {{"topology.kubernetes.io/zone", NULL},
				     {"node.kubernetes.io/exclude-from-external-load-balancers", NULL},
				     {NULL, NULL}};

static const struct keep annotations[] = {{"flannel.alpha.coreos.com/backend-type", NULL},
					  {"flannel.alpha.coreos.com/backend-data", NULL},
					  {"flannel.alpha.coreos.com/backend-v6-data", NULL},
					  {"flannel.alpha.coreos.com/public-ip", NULL},
					  {"flannel.alpha.coreos.com/public-ipv6", NULL},
					  {"network.cilium.io/ipv4-pod-cidr", NULL},
					  {"network.cilium.io/ipv6-pod-cidr", NULL},
					  {"io.cilium.network.ipv4-pod-cidr", NULL},
					  {"io.cilium.network.ipv6-pod-cidr", NULL},
					  {"projectcalico.org/IPv4Address", NULL},
					  {"projectcalico.org/IPv6Address", NULL},
					  {NULL, NULL}};

static const struct keep metadata[] = {{"name", NULL},
				       {"uid", NULL},
				       {"resourceVersion", NULL},
				       {"creationTimestamp", NULL},
				       {"labels", labels},
				       {"annotations", annotations},
				       {NULL, NULL}};

static const struct keep spec[] = {{"podCIDR", NULL}, {"podCIDRs", NULL}, {NULL, NULL}};
static const struct keep status[] = {{"addresses", NULL}, {NULL, NULL}};

static const struct keep node[] = {{"apiVersion", NULL}, {"kind", NULL},     {"metadata", metadata},
				   {"spec", spec},	 {"status", status}, {NULL, NULL}};

static const struct keep *find(const struct keep *list, const char *key)
{
	while (list->key && strcmp(list->key, key) != 0)
		list++;
	return list->key ? list : NULL;
}

/* The entries of a map that the list has; what is left has the order that it had. */
static struct node *keep_map(struct arena *a, const struct node *map, const struct keep *list)
{
	struct node *out = arena_alloc(a, sizeof(*out));

	*out = *map;
	out->n = 0;
	out->items = arena_alloc(a, (map->n + 1) * sizeof(*out->items));
	out->keys = arena_alloc(a, (map->n + 1) * sizeof(*out->keys));
	for (size_t i = 0; i < map->n; i++) {
		const struct keep *k = find(list, map->keys[i]);
		bool is_part = k && k->sub && map->items[i]->kind == NODE_MAP;

		if (!k)
			continue;
		out->keys[out->n] = map->keys[i];
		out->items[out->n++] = is_part ? keep_map(a, map->items[i], k->sub) : map->items[i];
	}
	return out;
}

const struct node *keep_needed(struct arena *a, enum kube_kind kind, const struct node *object)
{
	return kind == KUBE_NODE && object->kind == NODE_MAP ? keep_map(a, object, node) : object;
}
