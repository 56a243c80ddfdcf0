/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's way to backends: endpoint sets by backend id, the choice of an
 * endpoint, and a pool of idle connections for each endpoint. One per worker.
 *
 * An endpoint keeps its idle connections when a new set still lists its
 * address and port. A set that the current snapshot does not name is dropped
 * at the swap (sets for a snapshot always precede it).
 */
#ifndef UPSTREAM_UPSTREAM_H
#define UPSTREAM_UPSTREAM_H

#include "tcp/tcp.h"
#include "tls/stream.h"
#include "weir/snapshot.h"

struct net;
struct upstream_caps;
struct wheel;
struct upstream;
struct upstream_conn;

struct upstream_config {
	struct tcp_stack *tcp;
	struct tls *tls; /* of this worker; NULL: backends with TLS cannot be reached */
	const struct net *net; /* for source addresses */
	struct wheel *wheel;
	unsigned wheel_kind;
	struct weir_worker_stats *stats;
	uint32_t n_conns;	/* connection objects, all endpoints together */
	uint32_t n_endpoints;	/* endpoint objects */
	uint32_t n_backends;	/* backends */
	uint32_t max_per_endpoint;
	uint32_t max_idle_per_endpoint;
	uint32_t idle_ms;
	uint32_t connect_timeout_ms;
	uint64_t seed; /* for random choices */
	uint32_t n_table_pages; /* of 4 KiB, for the tables of all backends; 0: plain round robin for all */
	uint8_t affinity_key[32]; /* of the tokens in cookies; the same for all workers, and for nodes that share clients */
	struct upstream_caps *caps; /* of all workers; NULL: this one is alone */
	uint16_t n_workers; /* share the bound of a backend for which caps has no room; 0: this one is alone */
	/* Congestion control of a backend's connections; NULL: the stack's. */
	enum tcp_cc_kind (*backend_cc)(const void *ctx, uint64_t backend);
	const void *backend_cc_ctx;
};

struct upstream *upstream_create(const struct upstream_config *config);
void upstream_destroy(struct upstream *u, uint64_t now_us);

/*
 * Connections to backends over all workers, for those that have a bound: a
 * counter for each, made when it is first asked for and kept as long as the dataplane
 * runs (so that no worker ever counts on one that is another's meanwhile). n: how
 * many there can be. NULL: no memory.
 */
struct upstream_caps *upstream_caps_create(uint32_t n);
void upstream_caps_destroy(struct upstream_caps *caps);

/*
 * What main asks for is begun by one of these, which cost next to nothing, and done in
 * slices by upstream_step(). The next may begin when that has said that it is done.
 *
 * A budget is what a slice may cost, in units of some 20 ns: who does something
 * takes what it costs from it, and stops at 0 (or somewhat below).
 */
#define UPSTREAM_SLICE 512 /* what a worker gives in an iteration: some 10 us, hardly above 30 with cold caches (tests/bench/slices.c) */


/*
 * Takes over a checked set, which has to stay until that is done. Requests see the old set until
 * the new one is complete, then the new one. No room for it: the old one stays, which is counted.
 */
void upstream_set_endpoints(struct upstream *u, const struct weir_endpoint_set *set, uint64_t now_us);
/*
 * Drops the sets of backends that the snapshot does not name, and takes over the settings of the
 * others; a request sees them at once. The snapshot has to stay until the next one.
 */
void upstream_retain(struct upstream *u, const struct weir_snapshot *s);
/* Closes all idle connections, now and in future. */
void upstream_drain(struct upstream *u);
/* Goes on with what was begun. True: it is done, or nothing was. */
bool upstream_step(struct upstream *u, int *budget, uint64_t now_us);

/* True if upstream_work(), the work on balancers' tables, has something to do at this time. */
bool upstream_is_work_due(const struct upstream *u, uint64_t now_us);
/* When it will have; UINT64_MAX: unless something changes, never. */
uint64_t upstream_work_at_us(const struct upstream *u);
void upstream_work(struct upstream *u, int *budget, uint64_t now_us);

/* Endpoints already tried for a request, so that a retry takes another one. */
#define UPSTREAM_MAX_TRIED 4
struct upstream_tried {
	unsigned n;
	uint32_t endpoint[UPSTREAM_MAX_TRIED];
};

/* Events of the connection once it is handed out: as tcp_event_fn, but for the user of the upstream connection. */
typedef void upstream_event_fn(struct upstream_conn *uc, void *user, unsigned events, uint64_t now_us);

/* Names an endpoint of a backend without telling anything of it: a keyed hash. */
struct upstream_token {
	uint64_t v[2];
};

/* What of a request chooses its endpoint. */
struct upstream_want {
	bool has_key;	/* for algorithms that hash */
	bool has_token; /* as a client brought it */
	uint64_t key;
	struct upstream_token token;
};

enum upstream_outcome {
	UPSTREAM_READY,	     /* *out is an idle connection, established */
	UPSTREAM_CONNECTING, /* *out is being opened: TCP_EV_CONNECTED or TCP_EV_CLOSED follows */
	UPSTREAM_NO_BACKEND, /* no set with this id has come */
	UPSTREAM_NO_ENDPOINT, /* none ready, or all of them tried */
	UPSTREAM_LIMIT,	     /* max_per_endpoint, the backend's own bound, or a pool is empty */
	UPSTREAM_UNREACHABLE, /* no address of ours leads there, or no local port */
};

struct upstream_args {
	uint64_t backend_id;
	bool fresh;		      /* no idle connection */
	uint32_t connect_ms;	      /* for a new one; 0: what the configuration says */
	struct upstream_tried *tried; /* the endpoint is added */
	const struct upstream_want *want; /* NULL: any endpoint */
	upstream_event_fn *event;
	void *user;
};

/*
 * A connection to an endpoint of the backend: an idle one, unless fresh is set, else a new one; and TLS over it, if the backend
 * has that: it is told as connected when both are. The endpoint is the one that the token names if that still serves,
 * else one that the backend's algorithm chooses.
 */
enum upstream_outcome upstream_get(struct upstream *u, const struct upstream_args *args, uint64_t now_us,
				   struct upstream_conn **out);

/* From now on its events go to another (a connection that becomes a tunnel). */
void upstream_hand_over(struct upstream_conn *uc, upstream_event_fn *event, void *user);
/* True, and the token of its endpoint, if the backend has affinity and the endpoint takes new sessions. */
bool upstream_session(const struct upstream_conn *uc, struct upstream_token *out);
/*
 * How its endpoint did: a failure is a connection that was refused, reset or
 * timed out, an answer that broke off, made no sense or did not come in time, and
 * 502, 503 and 504. Too many of them eject the endpoint for a while.
 */
void upstream_result(struct upstream *u, const struct upstream_conn *uc, bool is_ok, uint64_t now_us);

/*
 * What it carries: TCP, or TLS over it. What is sent by TLS is gathered until stream_flush(); upstream_put() and
 * upstream_discard() see to it themselves. Not once upstream_tcp() is NULL.
 */
struct stream upstream_stream(const struct upstream_conn *uc);
/* Why its TLS has failed behind the handshake; WEIR_N_REASONS: it has not, or is none. */
enum weir_reason upstream_tls_reason(const struct upstream_conn *uc);
/* The endpoint ended it in a way that does not tell whether all has come (TLS without close_notify). */
bool upstream_is_truncated(const struct upstream_conn *uc);
/* Its TCP connection; NULL once that has ended. */
struct tcp_conn *upstream_tcp(const struct upstream_conn *uc);
/* Why it ended, where upstream_tcp() is NULL: of the kinds CONNECTION, or TLS. */
enum weir_reason upstream_close_reason(const struct upstream_conn *uc);
/* True if this connection has carried a request before (so an early close may be a stale connection). */
bool upstream_is_reused(const struct upstream_conn *uc);

/* Gives an established connection back to the idle pool (nothing of a response is left in it). */
void upstream_put(struct upstream *u, struct upstream_conn *uc, uint64_t now_us);
/* Ends it: abort (RST) or orderly close; after TCP_EV_CLOSED only frees the object. The handle is dead. */
void upstream_discard(struct upstream *u, struct upstream_conn *uc, bool abort, uint64_t now_us);
#endif
