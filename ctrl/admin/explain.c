/* SPDX-License-Identifier: Apache-2.0 */
/* Which rule would take a request: the workers' own matcher, asked step by step. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/view_pvt.h"
#include "base/ip.h"
#include "route/route.h"

struct url {
	char host[256]; /* lower case, no port */
	uint16_t port;
	uint8_t proto; /* enum weir_proto */
	struct slice path, query;
};

/* "http://host[:port][/path][?query]", or https */
static bool parse_url(const char *text, struct url *u)
{
	static const char plain[] = "http://";
	static const char secure[] = "https://";
	const char *p;
	size_t n;
	char *end;
	unsigned long port;

	if (strncmp(text, secure, sizeof(secure) - 1) == 0)
		*u = (struct url){.port = 443, .proto = WEIR_PROTO_HTTPS, .path = SLICE("/")};
	else if (strncmp(text, plain, sizeof(plain) - 1) == 0)
		*u = (struct url){.port = 80, .proto = WEIR_PROTO_HTTP, .path = SLICE("/")};
	else
		return false;
	p = text + (u->proto == WEIR_PROTO_HTTPS ? sizeof(secure) : sizeof(plain)) - 1;
	n = *p == '[' ? strcspn(p, "]") + 1 : strcspn(p, ":/?");
	if (n == 0 || n >= sizeof(u->host) || n > strlen(p))
		return false;
	for (size_t i = 0; i < n; i++)
		u->host[i] = ascii_lower(p[i]);
	p += n;
	if (*p == ':') {
		port = strtoul(p + 1, &end, 10);
		if (end == p + 1 || port == 0 || port > 65535)
			return false;
		u->port = (uint16_t)port;
		p = end;
	}
	if (*p && *p != '/' && *p != '?')
		return false;
	n = strcspn(p, "?");
	if (n)
		u->path = slice_of(p, n);
	if (p[n] == '?')
		u->query = slice_str(p + n + 1);
	return true;
}

static struct slice find_header(const void *ctx, struct slice name)
{
	const struct view_request *rq = ctx;

	for (size_t i = 0; i < rq->n_headers; i++) {
		const char *colon = strchr(rq->headers[i], ':');
		struct slice value;

		if (!colon || !slice_eq_nocase(slice_of(rq->headers[i], (size_t)(colon - rq->headers[i])), name))
			continue;
		value = slice_str(colon + 1);
		while (value.n && isspace((unsigned char)value.p[0])) {
			value.p++;
			value.n--;
		}
		return value;
	}
	return slice_of(NULL, 0);
}

static void append_host(json_t *list, const struct weir_snapshot *s, uint8_t kind, struct weir_str host)
{
	char text[300];

	view_host(text, sizeof(text), s, kind, host);
	json_array_append_new(list, json_string(text));
}

json_t *view_hosts(const struct weir_snapshot *s, const struct weir_listener *l)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < l->vhosts.count && i < 20; i++) {
		const struct weir_vhost *v = snapshot_vhost(s, l->vhosts.first + i);

		append_host(list, s, v->host_kind, v->host);
	}
	return list;
}

json_t *view_names(const struct weir_snapshot *s, const struct weir_bind *b)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < b->names.count && i < 20; i++) {
		const struct weir_server_name *n = snapshot_name(s, b->names.first + i);

		append_host(list, s, n->host_kind, n->host);
	}
	return list;
}

static json_t *paths_of(const struct weir_snapshot *s, const struct weir_vhost *v)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < v->paths.count && i < 20; i++) {
		struct slice t = snapshot_str(s, snapshot_path(s, v->paths.first + i)->path);

		json_array_append_new(list, t.n ? json_stringn(t.p, t.n) : json_string("/"));
	}
	return list;
}

/* The listener for bytes that has what would have been a request; NULL: none has. */
static const struct weir_listener *stream_of(const struct weir_snapshot *s, const struct route_result *r)
{
	const struct weir_listener *l = r->listener == WEIR_NONE ? NULL : snapshot_listener(s, r->listener);

	return l && l->kind == WEIR_LISTENER_STREAM ? l : NULL;
}

/* How far it came, and what there would have been (at most 20). */
static void tell_miss(json_t *o, const struct weir_snapshot *s, const struct route_result *r)
{
	const struct weir_listener *stream = stream_of(s, r);

	if (stream) { /* there is no status of HTTP */
		json_object_set_new(o, "stream", view_str(s, stream->name));
		return;
	}
	if (r->listener != WEIR_NONE && r->miss == ROUTE_NO_HOST)
		json_object_set_new(o, "hosts", view_hosts(s, snapshot_listener(s, r->listener)));
	if (r->vhost != WEIR_NONE)
		json_object_set_new(o, "paths", paths_of(s, snapshot_vhost(s, r->vhost)));
	json_object_set_new(o, "status", json_integer(404));
}

void view_tell_hit(json_t *o, const struct sync *sync, const struct route_result *r)
{
	const struct weir_snapshot *s = sync->snapshot;
	const struct weir_rule *rule = snapshot_rule(s, r->rule);
	const struct view_place at = {snapshot_bind(s, r->bind), snapshot_listener(s, r->listener), snapshot_vhost(s, r->vhost),
				      snapshot_path(s, r->path)};
	json_t *endpoints = json_object(), *tls = json_object();

	for (uint32_t i = 0; i < rule->splits.count; i++) {
		const struct weir_split *p = snapshot_split(s, rule->splits.first + i);
		const struct weir_backend *b;
		struct slice name;
		char key[1100];

		if (p->backend == WEIR_NONE)
			continue;
		b = snapshot_backend(s, p->backend);
		name = snapshot_str(s, b->name);
		snprintf(key, sizeof(key), "%.*s", (int)name.n, name.p);
		json_object_set_new(endpoints, key, view_endpoints(sync, b->id));
		json_object_set_new(tls, key, view_backend_tls(s, b));
	}
	json_object_set_new(o, "rule", view_rule(s, &at, rule));
	json_object_set_new(o, "endpoints", endpoints);
	json_object_set_new(o, "tls", tls);
}

/* As route_match(), but that only TLS leads to a bind of HTTPS, and nothing that is a request to a listener for bytes. */
static struct route_result match_at(const struct weir_snapshot *s, const struct route_request *q, uint8_t proto)
{
	struct route_result r = route_match(s, q);

	if (r.miss == ROUTE_NO_BIND)
		return r;
	if (snapshot_bind(s, r.bind)->proto != proto)
		r.miss = ROUTE_NO_BIND;
	else if (stream_of(s, &r))
		r.miss = ROUTE_NO_LISTENER;
	return r;
}

/*
 * Where the request would arrive is not said, if not by an address in the URL:
 * of all addresses with this port the first where it goes furthest.
 */
static struct route_result match_anywhere(const struct weir_snapshot *s, struct route_request *q, uint8_t proto)
{
	struct slice host = q->host;
	struct route_result best;

	if (host.n > 2 && host.p[0] == '[')
		host = slice_of(host.p + 1, host.n - 2);
	if (ip_parse(host.p, host.n, &q->local) == 0)
		return match_at(s, q, proto);
	best = match_at(s, q, proto);
	for (uint32_t i = 0; i < snapshot_count(s, BINDS) && best.miss != ROUTE_HIT; i++) {
		struct route_result r;

		if (snapshot_bind(s, i)->port != q->port)
			continue;
		q->local = snapshot_bind(s, i)->addr;
		r = match_at(s, q, proto);
		if (r.miss == ROUTE_HIT || r.miss > best.miss)
			best = r;
	}
	return best;
}

json_t *view_explain(const struct sync *sync, const struct view_request *rq)
{
	struct route_request q = {.header = find_header, .header_ctx = rq};
	struct route_result r = {.miss = ROUTE_NO_BIND};
	struct url u;
	json_t *o;

	if (rq->url && explain_is_stream(rq->url))
		return explain_stream(sync, rq);
	if (!rq->method || !rq->url || !parse_url(rq->url, &u))
		return json_pack("{s:s}", "error", "expected a method and a URL such as http://shop.example.com/path");
	if (!sync->snapshot)
		return json_pack("{s:b, s:s}", "matched", 0, "why", "no routes yet");
	q.port = u.port;
	q.method = slice_str(rq->method);
	q.host = slice_str(u.host);
	q.path = u.path;
	q.query = u.query;
	r = match_anywhere(sync->snapshot, &q, u.proto);
	o = json_pack("{s:b, s:s, s:s, s:i, s:o}", "matched", (int)(r.miss == ROUTE_HIT), "why", route_miss_name(r.miss), "host",
		      u.host, "port", (int)u.port, "path", json_stringn(u.path.p, u.path.n));
	if (o && r.miss == ROUTE_HIT)
		view_tell_hit(o, sync, &r);
	else if (o)
		tell_miss(o, sync->snapshot, &r);
	return o;
}
