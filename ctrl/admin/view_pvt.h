/* SPDX-License-Identifier: Apache-2.0 */
/* What view.c, explain.c and explain_stream.c share. */
#ifndef ADMIN_VIEW_PVT_H
#define ADMIN_VIEW_PVT_H

#include "admin/view.h"
#include "route/route.h"
#include "snapshot/snapshot.h"

/* Where a rule stands. */
struct view_place {
	const struct weir_bind *bind;
	const struct weir_listener *listener;
	const struct weir_vhost *vhost;
	const struct weir_path *path;
};

json_t *view_str(const struct weir_snapshot *s, struct weir_str str);
/* "*.example.com", "*" */
void view_host(char *out, size_t cap, const struct weir_snapshot *s, uint8_t kind, struct weir_str host);
json_t *view_splits(const struct weir_snapshot *s, const struct weir_rule *r);
json_t *view_rule(const struct weir_snapshot *s, const struct view_place *at, const struct weir_rule *r);
json_t *view_endpoints(const struct sync *s, uint64_t id);

/* The filters of a list, each {"type": ...} and its fields. */
json_t *view_filters(const struct weir_snapshot *s, struct weir_range list);
/* TLS to a backend; null: it is spoken to in the clear. */
json_t *view_backend_tls(const struct weir_snapshot *s, const struct weir_backend *b);

/* The hosts of a listener's routes, 20 at most. */
json_t *view_hosts(const struct weir_snapshot *s, const struct weir_listener *l);
/* The server names that an address and port have, 20 at most. */
json_t *view_names(const struct weir_snapshot *s, const struct weir_bind *b);
/* Of a hit: its rule, and of each backend the endpoints and what TLS is spoken to them. */
void view_tell_hit(json_t *o, const struct sync *sync, const struct route_result *r);

/* A URL of explain_stream(): "tls://...", "tcp://...". */
bool explain_is_stream(const char *url);
/* view_explain() for connections of bytes, which have no method and no headers. */
json_t *explain_stream(const struct sync *sync, const struct view_request *rq);

#endif
