/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request from end to end: the only place where TCP, HTTP, routes and
 * upstreams meet. One per worker.
 *
 * A client connection parses one request at a time (pipelined bytes wait in
 * its receive queue); a request object exists only from the first byte of a
 * request to the last byte of its response. It is routed once, by the snapshot
 * of that moment, and keeps nothing of it.
 */
#ifndef PROXY_PROXY_H
#define PROXY_PROXY_H

#include "base/ip.h"
#include "http1/http1.h"
#include "tcp/tcp.h"
#include "tls/tls.h"
#include "upstream/upstream.h"
#include "weir/accesslog.h"
#include "weir/snapshot.h"

#define PROXY_WHEEL_KINDS 3
#define PROXY_MAX_VIA 64

struct proxy;
struct rte_mempool;

/* What the proxy says of itself and of where a request came from, and whom it believes (RFC 7239 8.1). */
struct proxy_forwarding {
	const char *via; /* pseudonym in Via (RFC 9110 7.6.3), shorter than PROXY_MAX_VIA; NULL or "": none */
	bool add_forwarded; /* an element of Forwarded */
	/*
	 * A connection comes from a trusted hop if it comes from a trusted prefix;
	 * if there are none of these, if trusted_hops is not 0. Then the request's
	 * client is the trusted_hops-th address of X-Forwarded-For from the right
	 * (the leftmost, if there are fewer); if that is 0, the first from the right
	 * that is in no trusted prefix. A malformed entry ends the search: the
	 * client is what was found before it, at last the connection's peer.
	 */
	uint32_t trusted_hops;
	unsigned n_trusted_prefixes;
	const struct ip_prefix *trusted_prefixes;
};

struct proxy_config {
	struct tcp_stack *tcp;
	struct upstream *upstream;
	struct tls *tls; /* of this worker; NULL: HTTPS binds are not opened */
	struct wheel *wheel;
	unsigned wheel_kind; /* registers wheel_kind .. wheel_kind + PROXY_WHEEL_KINDS - 1 */
	struct rte_mempool *pool;   /* as of the stack's environment: for mirrors */
	struct rte_mempool *clones; /* likewise */
	struct weir_worker_stats *stats;
	struct stage_clock *stages; /* NULL: not wanted */
	struct weir_log_region *log; /* NULL: no access log */
	uint32_t n_clients;  /* client connection objects; their memory is first touched when they are first used */
	uint32_t n_requests; /* request objects */
	uint32_t n_mirrors;  /* mirrored requests in hand; more are dropped and counted */
	uint32_t n_tunnels;  /* tunnels open or asked for; more are answered 503 */
	struct http1_limits limits;
	struct weir_timeouts timeouts; /* all set: where neither route nor listener sets one */
	uint32_t handshake_ms;	       /* of TLS, from the connection's beginning on; 0: 10000 */
	uint32_t body_grace_ms;	       /* the stretches over which body_bytes_per_s is taken */
	uint32_t drain_ms;	    /* what a drain takes at most; tunnels end before */
	uint32_t n_tries;	    /* tries of one request in all */
	unsigned n_listen;	    /* addresses to listen on for binds of the zero address */
	const struct weir_ip *listen;
	/* Congestion control of a listener's connections; NULL: the stack's. */
	enum tcp_cc_kind (*listener_cc)(const void *ctx, const struct weir_ip *addr, uint16_t port);
	const void *listener_cc_ctx;
	uint16_t worker;
	uint64_t seed; /* for request ids and splits */
	struct proxy_forwarding forwarding;
	/* A snapshot copy that is not used any more goes back through this. */
	void (*release)(void *ctx, const struct weir_snapshot *s);
	void *release_ctx;
};

struct proxy *proxy_create(const struct proxy_config *config);
void proxy_destroy(struct proxy *p, uint64_t now_us);

/*
 * Serves this snapshot from now on, and releases the old one. What follows from it, listeners
 * that open and close, and upstream's backends, is proxy_step()'s; so it is with a drain.
 */
void proxy_set_snapshot(struct proxy *p, const struct weir_snapshot *s);

/*
 * Goes on with what proxy_set_snapshot(), proxy_drain() or upstream_set_endpoints() began, within a budget as upstream.h
 * has it. True: it is done, or nothing was; none of them may be called before.
 */
bool proxy_step(struct proxy *p, int *budget, uint64_t now_us);

/* What added to now_us is the wall clock's time, in microseconds since 1970: for Date. Cheap; to be called now and then. */
void proxy_set_clock(struct proxy *p, uint64_t unix_offset_us);

/*
 * No new connections; idle ones are closed, a slice of them at a time, busy
 * ones after their response ("Connection: close").
 */
void proxy_drain(struct proxy *p, uint64_t now_us);
/* True if no client connection is left. */
bool proxy_is_idle(const struct proxy *p);

#endif
