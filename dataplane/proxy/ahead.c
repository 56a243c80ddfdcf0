/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that the worker is about to serve, as far as their first bytes say
 * without parsing: so that what their routes need is fetched for all of them
 * at once. A hint, and only where there are many routes.
 */
#include "proxy/proxy_pvt.h"

void proxy_look_ahead(void *ctx, struct tcp_conn *const *conns, unsigned n)
{
	const struct proxy *p = ctx;
	struct route_soon soon[TCP_AHEAD];
	unsigned n_soon = 0;

	if (!p->current || !route_is_large(p->current))
		return;
	for (unsigned i = 0; i < n; i++) {
		const struct ip_flow *flow = tcp_flow(conns[i]);

		if (!http1_glance(tcp_peek(conns[i]), &soon[n_soon].path, &soon[n_soon].host))
			continue;
		soon[n_soon].local = flow->local;
		soon[n_soon++].port = flow->local_port;
	}
	if (n_soon > 1)
		route_look_ahead(p->current, soon, n_soon);
}
