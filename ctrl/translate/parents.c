/* SPDX-License-Identifier: Apache-2.0 */
/* parentRefs of routes: which Gateway or ListenerSet they name. */
#include <string.h>

#include "translate/translate_pvt.h"

#define GATEWAY_GROUP "gateway.networking.k8s.io"

/* Which kind a parentRef names; KUBE_N_KINDS: none that routes can be attached to. */
static enum kube_kind kind_of(const struct cursor *ref)
{
	struct cursor group = cursor_get(ref, "group");
	struct cursor kind = cursor_get(ref, "kind");

	if (strcmp(cursor_str(&group, GATEWAY_GROUP), GATEWAY_GROUP) != 0)
		return KUBE_N_KINDS;
	if (strcmp(cursor_str(&kind, "Gateway"), "Gateway") == 0)
		return KUBE_GATEWAY;
	return strcmp(cursor_str(&kind, ""), "ListenerSet") == 0 ? KUBE_LISTENER_SET : KUBE_N_KINDS;
}

const struct gateway *parent_find(struct translation *t, const struct kube_object *o, const struct cursor *ref)
{
	struct cursor ns = cursor_get(ref, "namespace");
	struct cursor name = cursor_get(ref, "name");
	enum kube_kind kind = kind_of(ref);

	if (kind == KUBE_GATEWAY)
		return gateway_find(t, cursor_str(&ns, o->ns), cursor_str(&name, ""));
	return kind == KUBE_LISTENER_SET ? listenerset_find(t, cursor_str(&ns, o->ns), cursor_str(&name, "")) : NULL;
}

void parent_report(struct translation *t, const struct kube_object *o, const struct cursor *ref)
{
	struct cursor ns = cursor_get(ref, "namespace");
	struct cursor name = cursor_get(ref, "name");
	enum kube_kind kind = kind_of(ref);
	const struct kube_object *parent;

	if (kind == KUBE_N_KINDS) {
		report(t, o, ref, false, "UnsupportedParent", "ignored: a Gateway was expected");
		return;
	}
	parent = store_get(t->store, kind, cursor_str(&ns, o->ns), cursor_str(&name, ""));
	if (!parent || !is_usable(t, parent)) /* whoever's it is */
		report(t, o, ref, true, "NoMatchingParent", "a %s was expected: %.63s/%.100s %s", kube_kind_name(kind),
		       cursor_str(&ns, o->ns), cursor_str(&name, ""),
		       parent ? "is refused for problems of its own" : "is not there");
	/* else it belongs to another controller, or its own problem has been named */
}

static const char *optional(struct translation *t, const struct cursor *ref, const char *key)
{
	struct cursor at = cursor_get(ref, key);
	const char *text = cursor_str(&at, NULL);

	return text ? model_str(t->m, text) : NULL;
}

void parent_fill(struct translation *t, const struct cursor *ref, struct model_parent *out)
{
	struct cursor port = cursor_get(ref, "port");
	int64_t number = 0;

	node_int(port.n, 1, 65535, &number);
	out->group = optional(t, ref, "group");
	out->kind = optional(t, ref, "kind");
	out->ns = optional(t, ref, "namespace");
	out->name = optional(t, ref, "name");
	out->section = optional(t, ref, "sectionName");
	out->port = (uint16_t)number;
}

bool parent_names(const struct cursor *ref, const struct section *s)
{
	struct cursor section_name = cursor_get(ref, "sectionName");
	struct cursor port = cursor_get(ref, "port");
	const char *wanted = cursor_str(&section_name, NULL);
	int64_t number = 0;

	node_int(port.n, 1, 65535, &number);
	return (!wanted || strcmp(wanted, s->name) == 0) && (!number || number == s->port);
}
