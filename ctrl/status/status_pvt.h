/* SPDX-License-Identifier: Apache-2.0 */
/* Within status/: building JSON out of what an object has now and of what it is to have. */
#ifndef STATUS_STATUS_PVT_H
#define STATUS_STATUS_PVT_H

#include <jansson.h>

#include "kube/node.h"
#include "translate/model.h"

/* The same of every condition of an object. */
struct stamp {
	int64_t generation; /* 0: the object has none */
	const char *now;    /* RFC 3339 */
};

/* Ends the process where there is no memory. */
json_t *json_must(json_t *j);
/* A tree as JSON; NULL gives null. */
json_t *json_of_node(const struct node *n);
/* What is no UTF-8 (a text that was cut within a character) becomes '?'. */
json_t *json_of_text(const char *text);
void json_put(json_t *object, const char *key, json_t *value);
/* The text under a key, or fallback. */
const char *json_text(const json_t *object, const char *key, const char *fallback);

/* What conditions become: those of types that are not ours stay as and where they are. ours ends with NULL. */
json_t *conditions_merge(const json_t *now, const struct model_conditions *c, const char *const *ours,
			 const struct stamp *stamp);

/* owned.c: the part of a whole status that server-side apply is given. */
json_t *status_owned(const struct model_status *v, const json_t *doc);

/* current.c: true only if the document of this route would say what its status says now. */
bool is_route_current(const struct node *root, const struct model_status *v, const char *controller_name,
		      int64_t generation);

#endif
