/* SPDX-License-Identifier: Apache-2.0 */
/* Who takes a connection of bytes: see route_find_stream() in route.h. */
#include "route/route_pvt.h"

/* The listener, or WEIR_NONE. */
static uint32_t find_listener(const struct weir_snapshot *s, const struct weir_ip *local, uint16_t port, const struct weir_bind *b,
			      enum route_stream how, struct slice server_name)
{
	const struct weir_server_name *name;
	enum weir_tls_mode mode = how == ROUTE_STREAM_PASSED ? WEIR_TLS_PASSTHROUGH : WEIR_TLS_TERMINATE;
	enum route_miss miss;
	uint32_t i;

	if (how == ROUTE_STREAM_TCP)
		return b->proto == WEIR_PROTO_TCP && b->listeners.count ? b->listeners.first : WEIR_NONE;
	name = route_find_name(s, local, port, server_name, &b, &miss);
	if (!name || name->mode != mode || name->listener == WEIR_NONE)
		return WEIR_NONE;
	i = b->listeners.first + name->listener;
	return snapshot_listener(s, i)->kind == WEIR_LISTENER_STREAM ? i : WEIR_NONE;
}

struct route_result route_find_stream(const struct weir_snapshot *s, const struct weir_ip *local, uint16_t port, enum route_stream how,
				      struct slice server_name)
{
	struct route_result out = {ROUTE_NO_BIND, WEIR_NONE, WEIR_NONE, WEIR_NONE, WEIR_NONE, WEIR_NONE};
	const struct weir_listener *l;

	out.bind = route_find_bind(s, local, port);
	if (out.bind == WEIR_NONE)
		return out;
	out.miss = ROUTE_NO_LISTENER;
	out.listener = find_listener(s, local, port, snapshot_bind(s, out.bind), how, server_name);
	if (out.listener == WEIR_NONE)
		return out;
	out.miss = ROUTE_NO_HOST;
	l = snapshot_listener(s, out.listener);
	out.vhost = route_find_host(s, ROUTE_HOSTS_VHOSTS, l->vhosts, l->slots, server_name);
	if (out.vhost == WEIR_NONE)
		return out;
	out.miss = ROUTE_HIT; /* check_streams.c: each host has one path, and that one a rule at least */
	out.path = snapshot_vhost(s, out.vhost)->paths.first;
	out.rule = snapshot_path(s, out.path)->rules.first;
	return out;
}
