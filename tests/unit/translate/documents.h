/* SPDX-License-Identifier: Apache-2.0 */
/* Status documents as they are kept by a test: which there are, and written back into the store. */
#ifndef TESTS_TRANSLATE_DOCUMENTS_H
#define TESTS_TRANSLATE_DOCUMENTS_H

#include "status/status.h"

struct document {
	enum kube_kind kind;
	char *ns, *name, *json;
};

/* Zeroed: none. */
struct documents {
	struct document *list;
	size_t n;
};

/* Appends those that status_make() gives. only: NULL: of all objects. */
void documents_make(struct documents *d, const struct store *s, const struct model *m, const struct marks *only, bool wants_all);
void documents_clear(struct documents *d);
/* False, after a message, if one of an object that is not marked is in one of the two alone, or another one there. */
bool documents_differ_where_marked(const struct documents *before, const struct documents *now, const struct marks *marks);
/* The objects have these statuses from now on. */
void documents_write(const struct documents *d, struct store *s);

#endif
