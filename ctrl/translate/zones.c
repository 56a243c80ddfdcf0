/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Endpoints near by: the hints that Kubernetes writes into EndpointSlices for
 * Services with trafficDistribution or topology-mode. The rules are those of
 * kube-proxy (pkg/proxy/topology.go of Kubernetes 1.36), for each family of
 * addresses by itself: hints for nodes count if all ready endpoints have some,
 * and one is for our node; else hints for zones do, in the same way; else all
 * endpoints are used. What is not ready stays, as the last resort that it is.
 */
#include <string.h>

#include "base/ip.h"
#include "translate/translate_pvt.h"

#define ZONE_LABEL "topology.kubernetes.io/zone"

static bool has_hints(const struct node *hints, const char *key)
{
	const struct node *list = node_get(hints, key);

	return list && list->kind == NODE_LIST && list->n > 0;
}

static bool is_for(const struct node *hints, const char *key, const char *name)
{
	const struct node *list = node_get(hints, key);

	for (size_t i = 0; name && has_hints(hints, key) && i < list->n; i++) {
		const char *for_name = node_str(node_get(list->items[i], "name"));

		if (for_name && strcmp(for_name, name) == 0)
			return true;
	}
	return false;
}

static bool counts(const struct weir_endpoint *ep, bool is4)
{
	return (ep->flags & WEIR_EP_READY) && ip_is4(&ep->addr) == is4;
}

/* Whether all have hints under this key, and one of them is for name. */
static bool is_hinted(const struct weir_endpoint *ep, const struct node *const *hints, size_t n, bool is4, const char *key,
		      const char *name)
{
	bool any = false;

	for (size_t i = 0; i < n; i++) {
		if (!counts(&ep[i], is4))
			continue;
		if (!has_hints(hints[i], key))
			return false;
		any |= is_for(hints[i], key, name);
	}
	return any;
}

static size_t keep_near(struct weir_endpoint *ep, const struct node **hints, size_t n, bool is4, const char *node,
			const char *zone)
{
	const char *key = is_hinted(ep, hints, n, is4, "forNodes", node)   ? "forNodes"
			  : is_hinted(ep, hints, n, is4, "forZones", zone) ? "forZones"
									   : NULL;
	const char *name = key && strcmp(key, "forNodes") == 0 ? node : zone;
	size_t kept = 0;

	if (!key)
		return n;
	for (size_t i = 0; i < n; i++) {
		if (counts(&ep[i], is4) && !is_for(hints[i], key, name))
			continue;
		hints[kept] = hints[i];
		ep[kept++] = ep[i];
	}
	return kept;
}

size_t zones_filter(const struct translation *t, struct weir_endpoint *ep, const struct node **hints, size_t n)
{
	const char *name = t->options->node;
	const struct kube_object *node = name ? store_get(t->store, KUBE_NODE, "", name) : NULL;
	const char *zone = node ? node_str(node_get(node_path(node->root, "metadata.labels"), ZONE_LABEL)) : NULL;

	if (!name)
		return n;
	n = keep_near(ep, hints, n, true, name, zone);
	return keep_near(ep, hints, n, false, name, zone);
}
