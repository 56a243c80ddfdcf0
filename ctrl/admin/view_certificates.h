/* SPDX-License-Identifier: Apache-2.0 */
/* See view_certificates.c. */
#ifndef ADMIN_VIEW_CERTIFICATES_H
#define ADMIN_VIEW_CERTIFICATES_H

#include "sync.h"

/* Those of the routes, each once, by namespace and name; for the caller to free, valid until the next run of sync. NULL: no memory. */
const struct certificate **view_list_certificates(const struct sync *s, size_t *n);

#endif
