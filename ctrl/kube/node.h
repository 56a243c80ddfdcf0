/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A parsed document as a tree: what YAML (manifests) and JSON (the API
 * server) have in common. Each node knows its line, so that an error can name
 * it. The tree is one allocation arena, freed whole.
 */
#ifndef KUBE_NODE_H
#define KUBE_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum node_kind { NODE_NULL, NODE_BOOL, NODE_NUMBER, NODE_STRING, NODE_LIST, NODE_MAP };

struct node {
	enum node_kind kind;
	unsigned line, column; /* from 1; 0: of the API server */
	const char *text;      /* scalars: as written; NUL terminated */
	size_t n;	       /* children */
	struct node **items;   /* LIST, and MAP values */
	const char **keys;     /* MAP */
};

/* The value of a key of a MAP, or NULL (also where map is NULL or no MAP). */
const struct node *node_get(const struct node *map, const char *key);
/* A dotted path of keys: "spec.rules". */
const struct node *node_path(const struct node *root, const char *path);
/* Text of a STRING, or NULL. */
const char *node_str(const struct node *n);
/* An integer scalar within lo..hi: true and *out. */
bool node_int(const struct node *n, int64_t lo, int64_t hi, int64_t *out);
bool node_bool(const struct node *n, bool *out);

#endif
