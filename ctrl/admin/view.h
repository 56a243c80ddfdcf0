/* SPDX-License-Identifier: Apache-2.0 */
/* What the admin API tells, as JSON values that the caller owns. NULL without memory. */
#ifndef ADMIN_VIEW_H
#define ADMIN_VIEW_H

#include <jansson.h>

#include "sync.h"

json_t *view_status(const struct sync *s);
json_t *view_routes(const struct sync *s);
json_t *view_backends(const struct sync *s);
/* Certificates that TLS clients may be shown (kind identity), and those by which others are judged (trust). */
json_t *view_certificates(const struct sync *s);
json_t *view_stats(const struct sync *s);
json_t *view_stages(const struct sync *s);
/* OpenSSL, groups, and the device of TLS. */
/* Of s->tickets, which is there. */
json_t *view_ticket_secret(const struct sync *s);
json_t *view_tls(const struct sync *s);
json_t *view_drops(const struct sync *s);
/* The ways to pods, of each prefix of each Node. */
json_t *view_paths(const struct sync *s);

/* A request as weirctl explain describes it. */
struct view_request {
	const char *method, *url;
	size_t n_headers;
	const char *const *headers; /* "name: value" */
};

/* Which rule takes the request, and why; {"error": ...} for a URL that is none. */
json_t *view_explain(const struct sync *s, const struct view_request *rq);

#endif
