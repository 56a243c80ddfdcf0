/* SPDX-License-Identifier: Apache-2.0 */
/* See view_certificates.c. */
#ifndef ADMIN_VIEW_CERTIFICATES_H
#define ADMIN_VIEW_CERTIFICATES_H

#include <jansson.h>

#include "sync.h"

/* Those of the routes, each once, by namespace and name; for the caller to free, valid until the next run of sync. NULL: no memory. */
const struct certificate **view_list_certificates(const struct sync *s, size_t *n);
/* view_trust.c: the same of sets of CA certificates, by the first object that each is of; of these that which ends first. */
const struct certificate **view_list_trusts(const struct sync *s, size_t *n);
/* Appends them to a list. */
void view_trusts(const struct sync *s, int64_t now_s, json_t *out);

#endif
