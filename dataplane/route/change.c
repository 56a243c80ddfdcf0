/* SPDX-License-Identifier: Apache-2.0 */
/* What filters make of a request's host and path. See route.h. */
#include "route/route.h"

static void change_path(struct route_change *c, const struct weir_snapshot *s, const struct weir_filter *f, struct slice path,
			uint32_t n_prefix)
{
	bool is_prefix = f->path_change == WEIR_PATH_REPLACE_PREFIX;

	c->has_path = true;
	c->path_head = snapshot_str(s, f->path);
	c->path_tail = is_prefix ? slice_of(path.p + n_prefix, path.n - n_prefix) : slice_of("", 0);
}

void route_change_add(struct route_change *c, const struct weir_snapshot *s, struct weir_range filters, struct slice path,
		      uint32_t n_prefix)
{
	for (uint32_t i = filters.first; i < filters.first + filters.count; i++) {
		const struct weir_filter *f = snapshot_filter(s, i);

		if (f->kind == WEIR_FILTER_REDIRECT) { /* Location is of the request as it came */
			*c = (struct route_change){.redirect = f};
			if (f->host.len)
				c->host = snapshot_str(s, f->host);
			if (f->path_change)
				change_path(c, s, f, path, n_prefix);
			return;
		}
		if (f->host.len)
			c->host = snapshot_str(s, f->host);
		if (f->path_change)
			change_path(c, s, f, path, n_prefix);
	}
}

uint16_t route_redirect_port(const struct weir_filter *redirect, enum weir_proto proto, uint16_t port)
{
	enum weir_proto scheme = redirect->scheme ? (enum weir_proto)redirect->scheme : proto;
	uint16_t usual = scheme == WEIR_PROTO_HTTPS ? 443 : 80;

	if (redirect->port)
		port = redirect->port;
	else if (redirect->scheme)
		port = usual;
	return port == usual ? 0 : port;
}
