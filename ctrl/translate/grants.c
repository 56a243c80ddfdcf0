/* SPDX-License-Identifier: Apache-2.0 */
/* ReferenceGrant (gateway.networking.k8s.io/v1): who may refer to an object of another namespace. */
#include <string.h>

#include "translate/translate_pvt.h"

#define GATEWAY_GROUP "gateway.networking.k8s.io"

static bool has_text(const struct node *map, const char *key, const char *text)
{
	return strcmp(node_str(node_get(map, key)), text) == 0;
}

static bool grants(const struct kube_object *grant, const char *from_kind, const char *from_ns, const char *to_kind,
		   const char *to_name)
{
	const struct node *from = node_path(grant->root, "spec.from");
	const struct node *to = node_path(grant->root, "spec.to");
	bool is_from = false;
	bool is_to = false;

	for (size_t i = 0; i < from->n; i++)
		is_from |= has_text(from->items[i], "group", GATEWAY_GROUP) &&
			   has_text(from->items[i], "kind", from_kind) &&
			   has_text(from->items[i], "namespace", from_ns);
	for (size_t i = 0; i < to->n; i++) {
		const char *name = node_str(node_get(to->items[i], "name"));

		is_to |= has_text(to->items[i], "group", "") && has_text(to->items[i], "kind", to_kind) &&
			 (!name || !*name || strcmp(name, to_name) == 0);
	}
	return is_from && is_to;
}

bool is_granted(const struct translation *t, const char *from_kind, const char *from_ns, const char *to_kind,
		const char *ns, const char *name)
{
	size_t n;
	const struct kube_object *const *list = store_list_of(t->store, KUBE_REFERENCE_GRANT, ns, &n);

	for (size_t i = 0; i < n; i++)
		if (is_usable(t, list[i]) && grants(list[i], from_kind, from_ns, to_kind, name))
			return true;
	return false;
}
