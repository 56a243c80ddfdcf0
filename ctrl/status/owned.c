/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Of a status that is whole, the part that is ours alone: what server-side
 * apply is given, so that fields that we no longer give vanish, and those of
 * others stay whatever happens to them meanwhile.
 */
#include <string.h>

#include "status/status_pvt.h"

/* Fields that Weir writes as they are, each whole: the lists among them are atomic, or have no conditions. */
static const char *const whole_fields[] = {"addresses", "ancestors", "attachedListenerSets",
					   "loadBalancer", "parents", "supportedFeatures"};

static bool has_type(const struct model_conditions *c, const char *type)
{
	for (size_t i = 0; i < c->n; i++)
		if (strcmp(c->c[i].type, type) == 0)
			return true;
	return false;
}

static json_t *pick(const json_t *conditions, const struct model_conditions *c)
{
	json_t *out = json_must(json_array());
	size_t i;
	json_t *v;

	json_array_foreach(conditions, i, v)
		if (has_type(c, json_text(v, "type", "")))
			json_array_append(out, v);
	return out;
}

static json_t *pick_listeners(const json_t *listeners, const struct model_status *v)
{
	json_t *out = json_must(json_array());
	size_t i;
	json_t *was;

	json_array_foreach(listeners, i, was) {
		json_t *l = json_must(json_copy(was));

		for (size_t j = 0; j < v->n_sections; j++)
			if (strcmp(v->sections[j].name, json_text(was, "name", "")) == 0)
				json_put(l, "conditions", pick(json_object_get(was, "conditions"), &v->sections[j].conditions));
		json_array_append_new(out, l);
	}
	return out;
}

json_t *status_owned(const struct model_status *v, const json_t *doc)
{
	json_t *out = json_must(json_object());

	for (size_t i = 0; i < sizeof(whole_fields) / sizeof(*whole_fields); i++)
		if (json_object_get(doc, whole_fields[i]))
			json_put(out, whole_fields[i], json_incref(json_object_get(doc, whole_fields[i])));
	if (v->conditions.n)
		json_put(out, "conditions", pick(json_object_get(doc, "conditions"), &v->conditions));
	if (json_object_get(doc, "listeners"))
		json_put(out, "listeners", pick_listeners(json_object_get(doc, "listeners"), v));
	return out;
}
