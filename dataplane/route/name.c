/* SPDX-License-Identifier: Apache-2.0 */
/* Which certificates a client is shown: see route_find_name() in route.h. */
#include "route/route_pvt.h"

const struct weir_server_name *route_find_name(const struct weir_snapshot *s, const struct weir_ip *local, uint16_t port,
					       struct slice server_name, const struct weir_bind **bind, enum route_miss *miss)
{
	uint32_t i = route_find_bind(s, local, port);
	const struct weir_bind *b = i == WEIR_NONE ? NULL : snapshot_bind(s, i);

	*bind = NULL;
	*miss = ROUTE_NO_BIND;
	if (!b || b->proto != WEIR_PROTO_HTTPS)
		return NULL;
	*bind = b;
	i = route_find_host(s, ROUTE_HOSTS_NAMES, b->names, b->name_slots, server_name);
	*miss = i == WEIR_NONE ? ROUTE_NO_HOST : ROUTE_HIT;
	return i == WEIR_NONE ? NULL : snapshot_name(s, i);
}
