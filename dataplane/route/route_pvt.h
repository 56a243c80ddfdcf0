/* SPDX-License-Identifier: Apache-2.0 */
/* Look-ups that the files of this folder share. */
#ifndef ROUTE_ROUTE_PVT_H
#define ROUTE_ROUTE_PVT_H

#include "route/route.h"

/* Entries that a host name leads to: all are found in the same way. */
enum route_hosts {
	ROUTE_HOSTS_LISTENERS,
	ROUTE_HOSTS_VHOSTS,
	ROUTE_HOSTS_NAMES,
};

/* Exact, then wildcards from the longest suffix on, then any. The index is absolute; WEIR_NONE: none fits. */
uint32_t route_find_host(const struct weir_snapshot *s, enum route_hosts what, struct weir_range entries, struct weir_range slots,
			 struct slice host);


#endif
