/* SPDX-License-Identifier: Apache-2.0 */
/* The lives of dataplanes, as the one that runs tells them. */
#ifndef ADMIN_LIFE_H
#define ADMIN_LIFE_H

#include <stdio.h>

#include <jansson.h>

#include "weir/stats.h"

/* Prometheus text. Nothing where the dataplane does not tell. */
void life_write_metrics(FILE *f, const struct weir_stats_region *r);
/* {"restarts", "ends": {reason: number}, and of the last end "last", "last_s", "signal", "worker" as far as there are}; null: it does not tell. */
json_t *life_view(const struct weir_stats_region *r);

#endif
