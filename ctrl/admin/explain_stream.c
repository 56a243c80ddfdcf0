/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who would take a connection of bytes, or of TLS by its server name, and who would end its TLS: what the workers ask
 * of a snapshot (tls/choose.c, proxy/l4.c), and, where nobody takes it, the reason that they would count.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/view_pvt.h"
#include "base/ip.h"
#include "stats/stats.h"

#define NO_REASON (-1)

struct aim {
	bool is_tls;
	char name[256]; /* lower case; "": the client gives none */
	uint16_t port;
	bool has_addr;
	struct weir_ip addr;
};

struct answer {
	struct route_result r;
	const char *mode; /* NULL: nothing listens there, or for something else */
	const char *why;  /* NULL: route_miss_name() of r */
	const struct weir_server_name *name; /* NULL: none, or not asked for */
	int reason; /* enum weir_reason, of a connection that nobody takes, or NO_REASON */
};

static const char *skip_prefix(const char *text, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(text, prefix, n) == 0 ? text + n : NULL;
}

bool explain_is_stream(const char *url)
{
	return skip_prefix(url, "tls://") || skip_prefix(url, "tcp://");
}

/* All of the text; an IPv6 address may stand in brackets. */
static bool parse_address(const char *p, size_t n, struct aim *a)
{
	if (n > 2 && p[0] == '[' && p[n - 1] == ']') {
		p++;
		n -= 2;
	}
	a->has_addr = ip_parse(p, n, &a->addr) == 0;
	return a->has_addr;
}

static bool parse_port(const char *p, size_t n, struct aim *a)
{
	unsigned long v = 0;

	for (size_t i = 0; i < n; i++) {
		if (p[i] < '0' || p[i] > '9' || v > 65535)
			return false;
		v = v * 10 + (unsigned)(p[i] - '0');
	}
	a->port = (uint16_t)v;
	return v > 0 && v <= 65535;
}

/* What is in front of the port, which is behind the last colon that is in no brackets; *port NULL: there is none. */
static size_t split_port(const char *p, size_t n, const char **port)
{
	const char *from = n && p[0] == '[' ? memchr(p, ']', n) : p;
	const char *colon = from ? memchr(from, ':', n - (size_t)(from - p)) : NULL;

	*port = colon ? colon + 1 : NULL;
	return colon ? (size_t)(colon - p) : n;
}

/* "tls://[NAME][:PORT][@ADDRESS]", "tcp://[ADDRESS]:PORT" */
static bool parse(const char *url, struct aim *a)
{
	const char *p = skip_prefix(url, "tls://");
	const char *port, *at;
	size_t n, n_head;

	*a = (struct aim){.is_tls = p != NULL, .port = p ? 443 : 0};
	p = url + strlen("tls://");
	at = a->is_tls ? strchr(p, '@') : NULL;
	n = at ? (size_t)(at - p) : strlen(p);
	if (at && !parse_address(at + 1, strlen(at + 1), a))
		return false;
	n_head = split_port(p, n, &port);
	if (port && !parse_port(port, n - (size_t)(port - p), a))
		return false;
	if (!a->is_tls)
		return a->port && (n_head == 0 || parse_address(p, n_head, a));
	if (n_head >= sizeof(a->name) || memchr(p, '/', n_head))
		return false;
	for (size_t i = 0; i < n_head; i++)
		a->name[i] = ascii_lower(p[i]);
	return true;
}

/* ---- asking ---- */

static struct answer answer_of(enum route_miss miss, uint32_t bind, const char *why, int reason)
{
	return (struct answer){{miss, bind, WEIR_NONE, WEIR_NONE, WEIR_NONE, WEIR_NONE}, NULL, why, NULL, reason};
}

static struct answer ask_stream(const struct weir_snapshot *s, const struct aim *a, const struct weir_ip *at, enum route_stream how,
				const char *mode)
{
	const struct slice name = slice_str(how == ROUTE_STREAM_TCP ? "" : a->name);
	struct answer out = {.r = route_find_stream(s, at, a->port, how, name), .mode = mode};

	out.reason = out.r.miss == ROUTE_HIT ? NO_REASON : WEIR_R_STREAM_NO_ROUTE;
	return out;
}

/* Of a bind that speaks TLS: what its server names say, in the order of tls_choose(). */
static struct answer ask_tls(const struct weir_snapshot *s, const struct aim *a, const struct weir_ip *at, uint32_t bind)
{
	struct answer out = answer_of(ROUTE_NO_LISTENER, bind, "no such server name", WEIR_R_TLS_UNRECOGNIZED_NAME);
	const struct weir_server_name *name;
	const struct weir_bind *b;
	enum route_miss miss;
	bool is_stream;

	name = route_find_name(s, at, a->port, slice_str(a->name), &b, &miss);
	if (!name)
		return out;
	is_stream = name->listener != WEIR_NONE && snapshot_listener(s, b->listeners.first + name->listener)->kind == WEIR_LISTENER_STREAM;
	if (name->mode == WEIR_TLS_PASSTHROUGH) {
		out = ask_stream(s, a, at, ROUTE_STREAM_PASSED, "passthrough");
	} else if (name->certs.count == 0) {
		out.mode = is_stream ? "terminate" : "http";
		out.why = "no certificate";
		out.reason = WEIR_R_TLS_NO_CERTIFICATE;
	} else if (is_stream) {
		out = ask_stream(s, a, at, ROUTE_STREAM_TERMINATED, "terminate");
	} else { /* each request within has a rule of its own */
		out = answer_of(ROUTE_HIT, bind, "requests", NO_REASON);
		out.mode = "http";
	}
	if (out.r.listener == WEIR_NONE && name->listener != WEIR_NONE)
		out.r.listener = b->listeners.first + name->listener;
	out.name = name;
	return out;
}

static struct answer ask_at(const struct weir_snapshot *s, const struct aim *a, const struct weir_ip *at)
{
	uint32_t i = route_find_bind(s, at, a->port);
	uint8_t proto;

	if (i == WEIR_NONE)
		return answer_of(ROUTE_NO_BIND, i, NULL, WEIR_R_TCP_NO_LISTENER);
	proto = snapshot_bind(s, i)->proto;
	if (proto == WEIR_PROTO_TCP) /* TLS is bytes, too */
		return ask_stream(s, a, at, ROUTE_STREAM_TCP, "tcp");
	if (a->is_tls && proto == WEIR_PROTO_HTTPS)
		return ask_tls(s, a, at, i);
	return answer_of(ROUTE_NO_LISTENER, i, proto == WEIR_PROTO_HTTPS ? "TLS is expected there" : "requests of HTTP are expected there",
			 NO_REASON);
}

/* As match_anywhere() of explain.c. */
static struct answer ask_anywhere(const struct weir_snapshot *s, const struct aim *a)
{
	struct answer best = ask_at(s, a, &a->addr);

	for (uint32_t i = 0; !a->has_addr && i < snapshot_count(s, BINDS) && best.r.miss != ROUTE_HIT; i++) {
		struct answer other;

		if (snapshot_bind(s, i)->port != a->port)
			continue;
		other = ask_at(s, a, &snapshot_bind(s, i)->addr);
		if (other.r.miss == ROUTE_HIT || other.r.miss > best.r.miss)
			best = other;
	}
	return best;
}

/* ---- telling ---- */

/* Why a connection that this split is drawn for goes nowhere; NO_REASON: an endpoint can be connected to. */
static int split_reason(const struct sync *sync, const struct weir_split *p)
{
	const struct weir_endpoint_set *set;

	if (p->backend == WEIR_NONE)
		return p->status == 503 ? WEIR_R_STREAM_NO_ENDPOINT : WEIR_R_STREAM_BAD_BACKEND_REF;
	set = publish_find(sync->publish, snapshot_backend(sync->snapshot, p->backend)->id);
	for (uint32_t i = 0; set && i < set->n_endpoints; i++) /* as upstream/balance.c has it */
		if ((set->ep[i].flags & WEIR_EP_SERVING) ||
		    ((set->ep[i].flags & WEIR_EP_READY) && !(set->ep[i].flags & WEIR_EP_TERMINATING)))
			return NO_REASON;
	return WEIR_R_STREAM_NO_ENDPOINT;
}

/* Each share's reason goes beside it. Returns that of the first share, if all have one. */
static int tell_shares(json_t *o, const struct sync *sync, const struct weir_rule *rule)
{
	json_t *list = json_object_get(json_object_get(o, "rule"), "backends");
	int first = WEIR_R_STREAM_BAD_BACKEND_REF; /* there are none, or none has a weight */
	bool has_one = false, has_way = false;

	for (uint32_t i = 0; i < rule->splits.count; i++) {
		const struct weir_split *p = snapshot_split(sync->snapshot, rule->splits.first + i);
		int reason = split_reason(sync, p);

		if (reason != NO_REASON)
			json_object_set_new(json_array_get(list, i), "reason", json_string(stat_reason_names[reason]));
		if (p->weight == 0)
			continue;
		has_way |= reason == NO_REASON;
		first = has_one ? first : reason;
		has_one = true;
	}
	return has_way ? NO_REASON : first;
}

static void tell_place(json_t *o, const struct weir_snapshot *s, const struct answer *a)
{
	char text[300];

	if (a->mode)
		json_object_set_new(o, "mode", json_string(a->mode));
	if (a->r.bind != WEIR_NONE) {
		const struct weir_bind *b = snapshot_bind(s, a->r.bind);

		json_object_set_new(o, "address", json_string(ip_is_any(&b->addr) ? "*" : ip_format(&b->addr, text)));
		if (a->reason == WEIR_R_TLS_UNRECOGNIZED_NAME)
			json_object_set_new(o, "names", view_names(s, b));
	}
	if (a->r.listener != WEIR_NONE) {
		json_object_set_new(o, "listener", view_str(s, snapshot_listener(s, a->r.listener)->name));
		if (a->r.miss == ROUTE_NO_HOST)
			json_object_set_new(o, "hosts", view_hosts(s, snapshot_listener(s, a->r.listener)));
	}
	if (a->name) {
		view_host(text, sizeof(text), s, a->name->host_kind, a->name->host);
		json_object_set_new(o, "by_name", json_string(text));
		json_object_set_new(o, "certificates", json_integer(a->name->certs.count));
	}
}

json_t *explain_stream(const struct sync *sync, const struct view_request *rq)
{
	struct answer a;
	struct aim aim;
	json_t *o;

	if (rq->method || rq->n_headers)
		return json_pack("{s:s}", "error", "expected neither a method nor headers: those are of requests");
	if (!parse(rq->url, &aim))
		return json_pack("{s:s}", "error", "expected tls://NAME[:PORT][@ADDRESS] or tcp://[ADDRESS]:PORT");
	if (!sync->snapshot)
		return json_pack("{s:b, s:s}", "matched", 0, "why", "no routes yet");
	a = ask_anywhere(sync->snapshot, &aim);
	o = json_pack("{s:b, s:s, s:s, s:i}", "matched", (int)(a.r.miss == ROUTE_HIT), "why", a.why ? a.why : route_miss_name(a.r.miss),
		      "protocol", aim.is_tls ? "tls" : "tcp", "port", (int)aim.port);
	if (!o)
		return NULL;
	if (aim.is_tls)
		json_object_set_new(o, "server_name", json_string(aim.name));
	tell_place(o, sync->snapshot, &a);
	if (a.r.rule != WEIR_NONE) {
		view_tell_hit(o, sync, &a.r);
		a.reason = tell_shares(o, sync, snapshot_rule(sync->snapshot, a.r.rule));
	}
	if (a.reason != NO_REASON)
		json_object_set_new(o, "reason", json_pack("{s:s, s:s}", "name", stat_reason_names[a.reason], "help",
							   stat_reason_help[a.reason]));
	return o;
}
