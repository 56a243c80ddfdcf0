/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of upstream/ share. */
#ifndef UPSTREAM_UPSTREAM_PVT_H
#define UPSTREAM_UPSTREAM_PVT_H

#include <assert.h>

#include "base/wheel.h"
#include "net/net.h"
#include "stats/stats.h"
#include "upstream/upstream.h"

enum uc_state { UC_FREE, UC_CONNECTING, UC_BUSY, UC_IDLE };

struct upstream_conn {
	struct wheel_timer timer; /* idle */
	struct upstream *u;
	struct upstream_conn *next, *prev; /* idle list of its endpoint; next: free list */
	struct endpoint *ep;
	struct tcp_conn *tcp; /* NULL after its end */
	upstream_event_fn *event;
	void *user;
	uint8_t state;
	bool is_reused;
	uint16_t close_reason;
};

static_assert(sizeof(struct upstream_conn) <= 128, "as much as the start-up's estimate of memory has for it");

struct endpoint {
	struct endpoint *next; /* of its backend, by address and port; or of the free list */
	struct weir_ip addr;
	uint16_t port;
	uint8_t flags; /* enum weir_endpoint_flag */
	bool is_gone;  /* no set lists it any more; freed with its last connection */
	uint32_t id;   /* never used twice */
	uint8_t cc;    /* enum tcp_cc_kind */
	uint32_t weight;
	int64_t current; /* of smooth weighted round robin */
	uint32_t n_conns, n_idle;
	struct upstream_conn *idle; /* latest first */
};

struct backend {
	struct backend *next; /* of its bucket, or of the free list */
	uint64_t id;
	struct endpoint *endpoints;
	uint32_t n_endpoints;
	bool has_weights; /* they are not all alike */
	uint8_t cc;	  /* enum tcp_cc_kind */
	bool is_named;    /* by the snapshot, during upstream_retain() */
	struct endpoint *turn; /* whose turn it is, of plain round robin */
};

struct upstream {
	struct upstream_config cfg;
	struct weir_worker_stats *stats;
	struct upstream_conn *conns, *free_conns;
	uint32_t n_fresh_conns; /* of conns: those from here on were never used, and their memory not touched */
	struct endpoint *endpoints, *free_endpoints;
	struct backend *backends, *free_backends;
	struct backend **buckets;
	uint32_t bucket_mask;
	uint32_t n_free_endpoints;
	uint32_t next_id;
	uint32_t n_idle;
	uint32_t hand; /* where the search for an idle connection goes on */
	bool is_draining;
};

/* pool.c */
/* The latest idle connection of ep that still can be used, out of the pool; NULL: none. */
struct upstream_conn *pool_take(struct upstream *u, struct endpoint *ep, uint64_t now_us);
void pool_put(struct upstream *u, struct upstream_conn *uc, uint64_t now_us);
/* Closes up to max idle connections of ep, the oldest of them last. */
void pool_close(struct upstream *u, struct endpoint *ep, uint32_t max, uint64_t now_us);
/* Closes some idle connection, whose ever it is: the pool of connections is empty. */
void pool_close_any(struct upstream *u, uint64_t now_us);
void pool_on_timer(void *ctx, struct wheel_timer *t, uint64_t now_us);
/* Frees the object; the endpoint too if this was the last thing that held it. */
void conn_free(struct upstream *u, struct upstream_conn *uc);
void conn_on_event(struct tcp_conn *c, void *user, unsigned events, uint64_t now_us);
void endpoint_free(struct upstream *u, struct endpoint *ep);

/* balance.c: whose turn it is among those not tried; NULL: nobody's. */
struct endpoint *balance_pick(struct backend *b, const struct upstream_tried *tried);

#endif
