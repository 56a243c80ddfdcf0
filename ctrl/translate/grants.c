/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ReferenceGrant (gateway.networking.k8s.io/v1): who may refer to an object of
 * another namespace. A reference asks for what it needs by its text, so it is
 * no matter how many grants there are; each of the at most 16 x 16 permissions
 * of a grant is a key.
 */
#include <stdio.h>
#include <string.h>

#include "translate/translate_pvt.h"

#define GATEWAY_GROUP "gateway.networking.k8s.io"
#define TEXT_MAX 640u /* kinds and a namespace have at most 63 characters, a name 253 */

/* name "": any. False: longer than anything that there is. */
static bool grant_text(char text[TEXT_MAX], const char *from_kind, const char *from_ns, const char *to_kind,
		       const char *name)
{
	return snprintf(text, TEXT_MAX, "%s/%s>%s/%s", from_kind, from_ns, to_kind, name) < (int)TEXT_MAX;
}

static const char *text_of(const struct node *map, const char *key)
{
	const char *s = node_str(node_get(map, key));

	return s ? s : "";
}

static void read_from(struct translation *t, const struct kube_object *grant, const struct node *from, const struct node *to)
{
	char text[TEXT_MAX];

	for (size_t i = 0; i < to->n; i++)
		if (!*text_of(to->items[i], "group") && grant_text(text, text_of(from, "kind"), text_of(from, "namespace"),
								   text_of(to->items[i], "kind"), text_of(to->items[i], "name")))
			grant_add(t, grant->ns, text);
}

void grants_read(struct translation *t, const struct kube_object *grant)
{
	const struct node *from = node_path(grant->root, "spec.from");
	const struct node *to = node_path(grant->root, "spec.to");

	for (size_t i = 0; i < from->n; i++)
		if (strcmp(text_of(from->items[i], "group"), GATEWAY_GROUP) == 0)
			read_from(t, grant, from->items[i], to);
}

bool is_granted(struct translation *t, const char *from_kind, const char *from_ns, const char *to_kind, const char *ns,
		const char *name)
{
	char text[TEXT_MAX];

	if (grant_text(text, from_kind, from_ns, to_kind, "") && grant_is_there(t, ns, text))
		return true;
	return grant_text(text, from_kind, from_ns, to_kind, name) && grant_is_there(t, ns, text);
}
