/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Within kube/: memory of one file's content (freed whole), and the reader
 * that turns YAML into node trees. store.c is the one caller.
 */
#ifndef KUBE_KUBE_PVT_H
#define KUBE_KUBE_PVT_H

#include <yaml.h>

#include "kube/node.h"

#define KUBE_MAX_DEPTH 64u            /* of lists and maps in one document */
#define KUBE_MAX_DOC_BYTES (3u << 20) /* as much as the API server takes in one request */
#define KUBE_MAX_FILE_BYTES (256u << 20)
#define KUBE_MAX_FILE_PROBLEMS 1000u /* the rest is summed up */

struct arena_chunk;

/* Zeroed is empty. The process ends when there is no memory: nothing here is worth half a state. */
struct arena {
	struct arena_chunk *chunks;
};

void arena_fini(struct arena *a);
void arena_wipe(struct arena *a); /* the same for what had secrets in it */
void *arena_alloc(struct arena *a, size_t n); /* zeroed, aligned for anything */
const char *arena_strn(struct arena *a, const char *s, size_t n);

/* The first thing that makes a document unusable though its syntax is right. */
struct yaml_fault {
	const char *reason; /* NULL: none */
	const char *field;
	const char *text;
	unsigned line, column;
};

enum yaml_outcome {
	YAML_DOC,    /* *root: the tree (NULL for an empty document), fault: why it must not be used */
	YAML_END,    /* no further document */
	YAML_SYNTAX, /* fault; nothing after this place can be read */
};

struct yaml_reader {
	yaml_parser_t parser;
	struct arena *arena;
	const char *data;
	struct yaml_fault fault;
	size_t doc_start;
	bool is_skipping; /* too large: the rest of the document is passed over */
};

/* data must live until yaml_reader_fini(); the trees live as long as the arena. */
void yaml_reader_init(struct yaml_reader *r, struct arena *arena, const char *data, size_t n);
void yaml_reader_fini(struct yaml_reader *r);
enum yaml_outcome yaml_reader_next(struct yaml_reader *r, struct node **root);

/* Same kinds, texts, keys, order and lines. */
bool node_equal(const struct node *a, const struct node *b);
/* The first entry of a MAP whose key stood before, or map->n. */
size_t node_find_duplicate_key(const struct node *map);
/* Overwrites the texts of a tree, which is of no use afterwards. */
void node_wipe(struct node *n);
/* The tree once more, in one piece of memory: free() of its root frees it all. */
struct node *node_copy(const struct node *n);

#endif
