/* SPDX-License-Identifier: Apache-2.0 */
/* The ways to the pods of all Nodes. */
#ifndef PATHS_COLLECT_H
#define PATHS_COLLECT_H

#include "paths/choose.h"

/* A prefix of a Node, or a Node that has none, or has one that is none. */
struct paths_row {
	char *node;
	bool has_prefix;
	struct paths_choice choice;
};

struct paths {
	struct near_end near;
	struct paths_row *rows; /* by the name of the Node, then by prefix */
	size_t n_rows, n_nodes;
	size_t n_of[PATHS_N_WAYS]; /* rows */
	size_t n_wrong;		   /* rows that say what is wrong with a Node, and the near end */
	size_t n_beyond;	   /* rows with a way beyond WEIR_MAX_PATHS, which are not served */
	struct weir_paths *blob;
	size_t blob_bytes;
};

/*
 * A pure function of the Nodes of the store, which are not asked for their state: a Node that is not ready may have pods that
 * answer. Of prefixes that overlap those of the older Node count, of one age those of the first name. 0, or -ENOMEM and out
 * is empty. paths_fini() frees what it has.
 */
int paths_collect(const struct store *s, const struct paths_options *o, struct paths *out);
void paths_fini(struct paths *p);

#endif
