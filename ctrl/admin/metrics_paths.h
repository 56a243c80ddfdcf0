/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ADMIN_METRICS_PATHS_H
#define ADMIN_METRICS_PATHS_H

#include <stdio.h>

#include "pathing.h"

void metrics_paths(FILE *f, const struct pathing *x, const struct publish_status *st);

#endif
