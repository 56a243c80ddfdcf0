/* SPDX-License-Identifier: Apache-2.0 */
/* Conditions: ours are set, those of others kept in their places (Gateway API, notes for implementors). */
#include <string.h>

#include "status/status_pvt.h"

static bool is_among(const char *const *list, const char *type)
{
	for (; *list; list++)
		if (strcmp(*list, type) == 0)
			return true;
	return false;
}

static const struct model_condition *find(const struct model_conditions *c, const char *type)
{
	for (size_t i = 0; i < c->n; i++)
		if (strcmp(c->c[i].type, type) == 0)
			return &c->c[i];
	return NULL;
}

static json_t *find_json(const json_t *list, const char *type)
{
	size_t i;
	json_t *v;

	json_array_foreach(list, i, v)
		if (strcmp(json_text(v, "type", ""), type) == 0)
			return v;
	return NULL;
}

/* was: the condition as it stands there now, or NULL. */
static json_t *condition(const json_t *was, const struct model_condition *c, const struct stamp *stamp)
{
	bool is_same = strcmp(json_text(was, "status", ""), c->status) == 0 &&
		       strcmp(json_text(was, "reason", ""), c->reason) == 0;
	json_t *j;

	if (json_integer_value(json_object_get(was, "observedGeneration")) > stamp->generation)
		return json_must(json_deep_copy(was));
	j = json_must(json_object());
	json_put(j, "type", json_string(c->type));
	json_put(j, "status", json_string(c->status));
	json_put(j, "reason", json_string(c->reason));
	json_put(j, "message", json_of_text(c->message));
	json_put(j, "lastTransitionTime",
		 json_of_text(is_same ? json_text(was, "lastTransitionTime", stamp->now) : stamp->now));
	if (stamp->generation)
		json_put(j, "observedGeneration", json_integer(stamp->generation));
	return j;
}

json_t *conditions_merge(const json_t *now, const struct model_conditions *c, const char *const *ours,
			 const struct stamp *stamp)
{
	json_t *out = json_must(json_array());
	size_t i;
	json_t *v;

	json_array_foreach(now, i, v) {
		const char *type = json_text(v, "type", "");
		const struct model_condition *set = find(c, type);

		if (!is_among(ours, type))
			json_array_append(out, v);
		else if (set && !find_json(out, type))
			json_array_append_new(out, condition(v, set, stamp));
	}
	for (i = 0; i < c->n; i++)
		if (!find_json(out, c->c[i].type))
			json_array_append_new(out, condition(NULL, &c->c[i], stamp));
	return out;
}
