/* SPDX-License-Identifier: Apache-2.0 */
/* Ports, for the admin API and the metrics. */
#ifndef ADMIN_VIEW_PORTS_H
#define ADMIN_VIEW_PORTS_H

#include <stdio.h>

#include <jansson.h>

#include "sync.h"

struct weir_port_details;
struct weir_stats_region;

/* {"connected", "told", "ports": [...]} */
json_t *view_ports(const struct sync *s);
/* up, down or removed */
const char *view_port_state(const struct weir_port_details *d);
/* metrics_ports.c: weir_port_*. */
void metrics_ports(FILE *f, const struct weir_stats_region *r);

#endif
