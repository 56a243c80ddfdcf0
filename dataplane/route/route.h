/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which rule of a snapshot takes a request: pure functions over a checked
 * snapshot. No DPDK; weir-ctrl links it for explain.
 *
 * Precedence (Gateway API HTTPRoute, and networking.k8s.io/v1 Ingress): most
 * specific listener host, most specific host, exact path, then the longest
 * prefix by element; within one path the order that the compiler gave (method,
 * number of headers, of query parameters, age, name). A path whose rules all
 * fail to match falls back to the next shorter one; a host whose paths do not
 * match does not fall back to a less specific host. A listener of kind STREAM takes
 * no request, and those that would be its are nobody's.
 */
#ifndef ROUTE_ROUTE_H
#define ROUTE_ROUTE_H

#include "snapshot/snapshot.h"

/* What is matched. Slices need to live only for the call. */
struct route_request {
	struct weir_ip local; /* address that the client connected to */
	uint16_t port;
	struct slice method;
	struct slice host;  /* lower case, no port */
	struct slice path;  /* begins with '/' */
	struct slice query; /* without '?', may be empty */
	/* the first value of the named header (name in lower case), or p NULL */
	struct slice (*header)(const void *ctx, struct slice name);
	const void *header_ctx;
};

enum route_miss {
	ROUTE_HIT,
	ROUTE_NO_BIND,	   /* nothing listens on this address and port */
	ROUTE_NO_LISTENER, /* no listener for this host name */
	ROUTE_NO_HOST,	   /* no route for this host name */
	ROUTE_NO_PATH,	   /* no path of the host fits */
	ROUTE_NO_RULE,	   /* a path fits, but method, headers or query of its rules do not */
};

/* Indexes into the snapshot; WEIR_NONE behind the point where a miss happened. */
struct route_result {
	enum route_miss miss;
	uint32_t bind, listener, vhost, path, rule;
};

struct route_result route_match(const struct weir_snapshot *s, const struct route_request *rq);
const char *route_miss_name(enum route_miss m);

/* The bind of this address and port, else the one of any address and this port; WEIR_NONE: neither is there. */
uint32_t route_find_bind(const struct weir_snapshot *s, const struct weir_ip *addr, uint16_t port);

/* The listener that takes a request's host; NULL: none does. */
const struct weir_listener *route_find_listener(const struct weir_snapshot *s, const struct weir_ip *local, uint16_t port,
						struct slice host);

/*
 * What a TLS client is shown that connected to this address and port and gives this server name (lower case; empty: none).
 * NULL: nothing (enum route_miss in *miss: ROUTE_NO_BIND, ROUTE_NO_HOST). What its field listener counts from is *bind.
 */
const struct weir_server_name *route_find_name(const struct weir_snapshot *s, const struct weir_ip *local, uint16_t port,
					       struct slice server_name, const struct weir_bind **bind, enum route_miss *miss);

/* How bytes come that are no requests. */
enum route_stream {
	ROUTE_STREAM_TCP,	 /* as they are, at a bind of TCP */
	ROUTE_STREAM_PASSED,	 /* TLS that its server name says to pass through */
	ROUTE_STREAM_TERMINATED, /* what was within TLS */
};

/*
 * Which rule takes a connection of bytes that came to this address and port: of the listener of kind STREAM that the server name
 * (lower case; empty: none) leads to, or that is the only one of a bind of TCP, the host that fits the server name best. There are no
 * paths and conditions. ROUTE_NO_LISTENER: the name is of no such listener, or of another mode. Its rule may have no split.
 */
struct route_result route_find_stream(const struct weir_snapshot *s, const struct weir_ip *local, uint16_t port, enum route_stream how,
				      struct slice server_name);

/* A request that will be matched soon, as far as it is known. Upper case in host only costs what looking ahead would save. */
struct route_soon {
	struct weir_ip local;
	uint16_t port;
	struct slice host, path;
	/* route_look_ahead()'s own */
	const struct weir_listener *listener;
	uint32_t hash, index;
};

/* True if the routes are so many that it is worth while to look ahead. */
bool route_is_large(const struct weir_snapshot *s);
/* Has the memory fetched that matching these requests will need; changes q. */
void route_look_ahead(const struct weir_snapshot *s, struct route_soon *q, unsigned n);

/* The split that takes a request, for a random number r; index in SPLITS, or WEIR_NONE if total_weight is 0. */
uint32_t route_pick_split(const struct weir_snapshot *s, const struct weir_rule *rule, uint32_t r);

/*
 * What filters make of a request's host and path. Where several change the
 * same, the last one counts; a prefix is always that of the request as it came.
 */
struct route_change {
	const struct weir_filter *redirect; /* answer this in the place of the backend; NULL: none */
	struct slice host;		    /* p NULL: as it is */
	bool has_path;
	struct slice path_head; /* from the snapshot */
	struct slice path_tail; /* from the request's path; both empty: "/" */
};

/* Adds what the filters of a list do, in their order. path: of the request, in which the rule's prefix covers n_prefix bytes. */
void route_change_add(struct route_change *c, const struct weir_snapshot *s, struct weir_range filters, struct slice path,
		      uint32_t n_prefix);

/* The port for Location, 0: none. Gateway API HTTPRequestRedirectFilter.port; proto, port: of the bind. */
uint16_t route_redirect_port(const struct weir_filter *redirect, enum weir_proto proto, uint16_t port);

/* The CORS filter of a list, or NULL. */
const struct weir_filter *route_find_cors(const struct weir_snapshot *s, struct weir_range filters);

/* What a CORS filter says to requests of an origin, by the values of response fields; empty: no such field. */
struct route_cors {
	bool is_allowed; /* else none of these is for this origin */
	bool varies;	 /* another origin might be told something else */
	struct slice origin, methods, headers, exposed, max_age, credentials;
};

/* origin: the value of the request's Origin field; empty: it has none, and is not allowed anything. */
struct route_cors route_cors(const struct weir_snapshot *s, const struct weir_filter *f, struct slice origin);

/* Hash of a look-up key in tables of this hash_seed (snapshot.h). */
uint64_t route_key_hash(uint64_t hash_seed, unsigned kind, struct slice key);

#endif
