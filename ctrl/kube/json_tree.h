/* SPDX-License-Identifier: Apache-2.0 */
/* A JSON document that may be a Secret, in memory of its own. */
#ifndef KUBE_JSON_TREE_H
#define KUBE_JSON_TREE_H

#include "kube/json.h"

struct json_tree;

/* The tree of n bytes, *root; NULL if they are no JSON. */
struct json_tree *json_tree_read(const char *data, size_t n, const struct node **root);
/* Overwrites it, and frees it. NULL: nothing. */
void json_tree_wipe(struct json_tree *t);

#endif
