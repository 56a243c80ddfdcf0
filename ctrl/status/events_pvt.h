/* SPDX-License-Identifier: Apache-2.0 */
/* Within status/: what an Event says, and its JSON. */
#ifndef STATUS_EVENTS_PVT_H
#define STATUS_EVENTS_PVT_H

#include <jansson.h>

#include "kube/store.h"

#define EVENTS_COMPONENT "weir-ctrl" /* "From" of kubectl describe */

struct event_facts {
	const struct kube_object *object;
	bool is_warning;
	const char *reason, *field, *text; /* field "": of the object as a whole */
};

/* A sentence that says what would mend a problem of this reason; NULL: none. */
const char *event_hint(const char *reason);
/* Without count and times. key: makes its name, so the same facts have the same one. */
json_t *event_json(const struct event_facts *f, uint64_t key, const char *instance);
/* To be freed; NULL without memory. */
char *event_create_text(json_t *event, int64_t now_s);
/* A merge patch; count 0: as it is there. To be freed; NULL without memory. */
char *event_patch_text(uint32_t count, int64_t now_s);

#endif
