/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects by name, of which something may be other than before: noted by who
 * finds that, taken by who has to look. They outlive the objects. Too many are
 * not counted one by one: then it is all of them.
 */
#ifndef TRANSLATE_MARKS_H
#define TRANSLATE_MARKS_H

#include "kube/store.h"

#define MARKS_MAX 8192u /* as one Gateway can have routes, and then some */

struct mark {
	enum kube_kind kind;
	char *ns, *name;
};

/* Zeroed: none. */
struct marks {
	struct mark *list; /* the same object may stand in it several times */
	size_t n, cap;
	bool is_all; /* and the list is empty */
};

void marks_add(struct marks *m, enum kube_kind kind, const char *ns, const char *name);
void marks_add_all(struct marks *m);
/* Adds what the other one has, which has none then. */
void marks_take(struct marks *m, struct marks *from);
/* By kind, namespace and name, each once. */
void marks_sort(struct marks *m);
/* There are none; frees all memory. */
void marks_clear(struct marks *m);

#endif
