/* SPDX-License-Identifier: Apache-2.0 */
/* See json_tree.h. */
#include "kube/json_tree.h"

#include <stdlib.h>

#include "kube/kube_pvt.h"
#include "kube/store_pvt.h"

struct json_tree {
	struct arena memory;
};

struct json_tree *json_tree_read(const char *data, size_t n, const struct node **root)
{
	struct json_tree *t = store_must(calloc(1, sizeof(*t)));
	struct json_fault fault;

	*root = json_parse(&t->memory, data, n, &fault);
	if (*root)
		return t;
	json_tree_wipe(t);
	return NULL;
}

void json_tree_wipe(struct json_tree *t)
{
	if (!t)
		return;
	arena_wipe(&t->memory);
	free(t);
}
