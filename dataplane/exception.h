/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Main's side of the exception path (net/punt.c is the worker's): a TAP beside
 * each port that wants one, and a thread that does the system calls. A TAP
 * lives as long as the dataplane: when that ends, however it does, the
 * kernel takes it away with its addresses and routes.
 */
#ifndef WEIR_DATAPLANE_EXCEPTION_H
#define WEIR_DATAPLANE_EXCEPTION_H

#include <stdbool.h>

#include "config.h"
#include "weir/stats.h"

struct exception;
struct rte_mempool;
struct wake;

#define EXCEPTION_N_MBUFS 2047u /* of frames from the kernel */

/* True if any port has the kernel beside it. */
bool exception_is_wanted(const struct config *c);

/* Makes the TAPs, gives them their addresses, and starts the thread; sets has_kernel of the ports. 0 or -errno; the log says what failed.
 * *out is NULL where the configuration wants none. pool: EXCEPTION_N_MBUFS buffers as workers have them, which outlive the ports, too, since a device
 * keeps what it has sent until it is closed. first_worker: wakes it, or NULL. All that is given outlives it. */
int exception_create(const struct config *config, struct net_port *ports, struct rte_mempool *pool, struct wake *first_worker,
		     struct weir_stats_region *stats, struct exception **out);
/* After the workers. NULL is fine. */
void exception_destroy(struct exception *x);

/* A worker's side: its rings and rates. e NULL: all zero. */
struct net_punt_config exception_punt(struct exception *x, unsigned worker);
/* Of the TAP beside a port; 0: there is none. */
unsigned exception_ifindex(const struct exception *x, unsigned port);
/* Tells the kernel whether the port has a link. Of main, as often as it likes. */
void exception_set_link(struct exception *x, unsigned port, bool is_up);

#endif
