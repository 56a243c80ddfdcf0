/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Routes that the host's kernel has over the TAPs beside our ports, such as BGP
 * taught it, for the workers' forwarding table. Main only.
 */
#ifndef WEIR_DATAPLANE_KERNEL_ROUTES_H
#define WEIR_DATAPLANE_KERNEL_ROUTES_H

#include "config.h"
#include "exception.h"

struct ctl;
struct kernel_routes;

/* *out is NULL where no port is to learn routes. 0 or -errno; the log says why. All that is given outlives it. */
int kernel_routes_create(const struct config *config, const struct exception *x, struct ctl *ctl, struct kernel_routes **out);
/* NULL is fine. */
void kernel_routes_destroy(struct kernel_routes *k);

/* Gives the workers what has changed since the last call. Several times a second. NULL is fine. */
void kernel_routes_update(struct kernel_routes *k);

#endif
