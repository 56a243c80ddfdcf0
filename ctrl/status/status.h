/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is written back to Kubernetes: the status of each object of ours, out of
 * what translate() found. A pure function; who writes it does so elsewhere.
 *
 * What others wrote into the same status stays: their conditions, their entries
 * of a route's parents, fields that Weir does not know. Entries of ours that
 * have lost their ground are removed.
 */
#ifndef STATUS_STATUS_H
#define STATUS_STATUS_H

#include "kube/store.h"
#include "translate/marks.h"
#include "translate/model.h"

struct status_document {
	enum kube_kind kind;
	const char *ns, *name;
	const char *json;  /* the whole .status; keys sorted, no blanks */
	const char *owned; /* what of it server-side apply is to be given: ours, and whole lists that we share */
	bool is_given_up;  /* it is no object of ours any more: an apply of nothing takes away what is ours alone; json has nothing of it */
	bool differs;	   /* from what the object has now: else there is nothing to write */
};

/* The document lives for the call only. */
typedef void status_fn(void *ctx, const struct status_document *d);

struct status_options {
	const char *controller_name; /* as in translate_options */
	int64_t now_s;		     /* Unix seconds */
	const struct marks *only;    /* of these objects, and m is a translator's; NULL, or is_all: of all */
	bool wants_all;		     /* documents that do not differ, too; without, such routes cost a fifth */
};

/*
 * Calls fn for each object of m->statuses that is still in s, for each route or policy
 * that only has entries of ours to be removed, and for each other object that has fields of ours though it is not
 * ours. m is of translate() over s; since then only status and other metadata may have changed.
 * A condition whose status and reason stay keeps its lastTransitionTime; others get now_s.
 * A condition of a newer generation than the object has here is left alone.
 */
void status_make(const struct store *s, const struct model *m, const struct status_options *options, status_fn *fn,
		 void *ctx);

#endif
