/* SPDX-License-Identifier: Apache-2.0 */
/* JSON values out of node trees and texts. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "status/status_pvt.h"

json_t *json_must(json_t *j)
{
	if (!j) {
		perror("weir: memory for a status");
		abort();
	}
	return j;
}

json_t *json_of_text(const char *text)
{
	json_t *j = json_string(text);
	char *copy;

	if (j)
		return j;
	copy = strdup(text);
	for (char *p = copy; p && *p; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	j = json_must(copy ? json_string(copy) : NULL);
	free(copy);
	return j;
}

void json_put(json_t *object, const char *key, json_t *value)
{
	if (json_object_set_new(object, key, json_must(value)) != 0)
		json_must(NULL);
}

const char *json_text(const json_t *object, const char *key, const char *fallback)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : fallback;
}

static json_t *number(const struct node *n)
{
	int64_t v;
	double d;

	if (node_int(n, INT64_MIN, INT64_MAX, &v))
		return json_integer(v);
	d = strtod(n->text, NULL);
	return isfinite(d) ? json_real(d) : json_null();
}

static json_t *map(const struct node *n)
{
	json_t *j = json_must(json_object());

	for (size_t i = 0; i < n->n; i++)
		if (json_object_set_new(j, n->keys[i], json_of_node(n->items[i])) != 0)
			continue; /* a key that is no UTF-8 cannot come from an API server */
	return j;
}

static json_t *list(const struct node *n)
{
	json_t *j = json_must(json_array());

	for (size_t i = 0; i < n->n; i++)
		json_array_append_new(j, json_of_node(n->items[i]));
	return j;
}

/* No deeper than readers of objects let them be. */
json_t *json_of_node(const struct node *n)
{
	bool b;

	switch (n ? n->kind : NODE_NULL) {
	case NODE_NULL:
		break;
	case NODE_BOOL:
		return json_must(json_boolean(node_bool(n, &b) && b));
	case NODE_NUMBER:
		return json_must(number(n));
	case NODE_STRING:
		return json_of_text(n->text);
	case NODE_LIST:
		return list(n);
	case NODE_MAP:
		return map(n);
	}
	return json_must(json_null());
}
