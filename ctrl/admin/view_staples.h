/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ADMIN_VIEW_STAPLES_H
#define ADMIN_VIEW_STAPLES_H

#include <jansson.h>

#include "sync.h"

/* null: nothing is known, as of a certificate that only backends are shown. */
json_t *view_staple(const struct sync *s, const struct certificate *c);

#endif
