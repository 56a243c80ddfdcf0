/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of upstream/ share. */
#ifndef UPSTREAM_UPSTREAM_PVT_H
#define UPSTREAM_UPSTREAM_PVT_H

#include <assert.h>
#include <stddef.h>
#include <sys/queue.h>

#include <rte_common.h>

#include "base/wheel.h"
#include "net/net.h"
#include "stats/stats.h"
#include "upstream/balance.h"
#include "upstream/upstream.h"

#define WORK_EVERY_US 100 /* between two slices of upstream_work() */
#define NEVER UINT64_MAX

/* What work in slices costs, in the units of a budget (upstream.h). */
#define COST_LOOK 1	/* at a bucket or an endpoint that stay as they are */
#define COST_NAME 2	/* of a backend that stays as it is */
#define COST_KEEP 1	/* of an endpoint that another set lists, too */
#define COST_MAKE 5	/* of a new one: two hashes, and its place among the tokens */
#define COST_LET_GO 5	/* of one that no set lists any more */
#define COST_CLOSE 40	/* of an idle connection: a segment goes out */
#define COST_SETTINGS 6 /* of a backend whose settings are others */
#define COST_TLS 20	/* of a backend with TLS: a hash of what it wants */
#define COST_CAP 40	/* of a look for its counter */
#define COST_TABLE 64	/* of a table's pages, taken or given back: at most 513 */

enum uc_state { UC_FREE, UC_CONNECTING, UC_HANDSHAKE /* of TLS */, UC_BUSY, UC_IDLE };

struct upstream_conn {
	struct wheel_timer timer; /* idle; of TLS: to be connected */
	struct upstream *u;
	struct upstream_conn *next, *prev; /* idle list of its endpoint; next: free list */
	struct endpoint *ep;
	struct tcp_conn *tcp; /* NULL after its end */
	struct tls_session *tls; /* NULL: none, or not yet */
	uint64_t tls_hash;	 /* of the settings that it was made under; 0: plain */
	upstream_event_fn *event;
	void *user;
	uint8_t state;
	bool is_reused;
	uint16_t close_reason;
	uint32_t n_requests; /* handed out so often */
};

static_assert(sizeof(struct upstream_conn) <= 128, "as much as the start-up's estimate of memory has for it");

/* How good an endpoint is for a choice; less is better. */
enum endpoint_level {
	LEVEL_HEALTHY,
	LEVEL_EJECTED,	 /* ready, but it failed too often */
	LEVEL_LEAVING,	 /* terminating, and serving still */
	LEVEL_UNUSABLE,
};

/*
 * An endpoint as one list of its backend has it. A backend has two: one that serves,
 * and one that is made from the next set meanwhile (change.c), so that a
 * choice sees either the old set or the new one, however many slices it took.
 */
struct listed {
	struct endpoint *next; /* by address and port; of in[0]: or of the free list */
	uint32_t weight;
	uint8_t flags; /* enum weir_endpoint_flag */
	uint8_t level; /* enum endpoint_level */
	bool is_in;    /* else: flags 0, LEVEL_UNUSABLE */
};

struct endpoint {
	struct wheel_timer timer; /* an ejected one comes back */
	struct listed in[2];
	struct backend *backend; /* NULL: no set lists it any more; freed with its last connection */
	struct weir_ip addr;
	uint16_t port;
	uint8_t cc; /* enum tcp_cc_kind */
	bool is_ejected;
	uint32_t id; /* never used twice */
	uint32_t n_conns, n_idle;
	struct upstream_conn *idle; /* latest first */
	struct upstream_cap *cap;   /* without a backend: counts the connections that are left; see endpoint_cap() */
	uint64_t start_us;	    /* it joined, or became ready; 0: long ago */
	struct endpoint *same_bucket; /* of upstream.tokens */
	struct upstream_token token;
	/* outlier.c */
	uint32_t failures; /* on end */
	uint32_t n_ok, n_failed; /* in this window */
	uint32_t rate;		 /* of successes in the last one, millionths; UINT32_MAX: not judged */
	uint32_t n_ejections;
	uint64_t returned_us; /* from its last ejection */
};

/* What the snapshot says of a backend, as far as upstream/ needs it. */
struct settings {
	uint8_t balance;  /* enum weir_balance */
	uint8_t affinity; /* enum weir_affinity */
	uint8_t max_ejected_percent;
	uint8_t is_tls; /* backend.tls_hash tells how */
	uint32_t slow_start_ms;
	uint32_t max_connections, max_requests;
	uint32_t eject_failures, eject_base_ms, eject_max_ms;
	uint32_t success_window_ms, success_deviations, success_requests;
};

/* All endpoints of a set. */
struct endpoint_list {
	struct endpoint *first;
	uint32_t n;
	uint32_t n_ready;    /* ready and not terminating */
	uint32_t n_leaving;  /* LEVEL_LEAVING */
	uint32_t max_weight; /* of the candidates */
	bool has_weights;    /* they are not all alike */
};

struct backend {
	/* one cache line: all that a snapshot's swap reads of a backend that stays as it is */
	struct backend *next; /* of its bucket, or of the free list */
	uint64_t id;
	uint8_t mark;	/* as upstream.mark: the snapshot names it */
	uint8_t side;	/* which of endpoint.in[] serves */
	bool is_known;	/* has had a set */
	bool is_queued; /* for upstream_work() */
	bool needs_table, needs_scan;
	uint8_t cc; /* enum tcp_cc_kind */
	struct settings set;
	/* what a choice reads */
	struct endpoint_list list;
	struct endpoint *turn; /* whose turn it is, of plain round robin */
	struct table table;
	uint32_t n_ejected;
	/* the rest */
	uint32_t n_conns; /* of this worker, to endpoints that it has still */
	uint64_t window_end_us;
	uint64_t tls_hash; /* tls_backend_hash(); 0: it is spoken to in the clear */
	struct upstream_cap *cap; /* counts its connections; NULL: nobody does */
	TAILQ_ENTRY(backend) queued;
} __attribute__((aligned(RTE_CACHE_LINE_SIZE)));

static_assert(offsetof(struct backend, list) == RTE_CACHE_LINE_SIZE, "what a swap reads is one cache line");
TAILQ_HEAD(backend_queue, backend);

/* Of a scan over a backend's endpoints that judges them by their rates of success. */
struct scan {
	struct backend *b; /* NULL: none */
	struct endpoint *next;
	uint8_t phase;
	uint32_t n;
	uint64_t sum, squares;
	uint64_t mean, limit;
};

enum job_kind { JOB_NONE, JOB_SET, JOB_RETAIN, JOB_DRAIN };

/* What main asked for and is not done yet; one at a time. change.c */
struct job {
	uint8_t kind; /* enum job_kind */
	uint8_t phase;
	const struct weir_endpoint_set *set; /* SET */
	struct backend *b; /* SET: whose; RETAIN: one that goes, or NULL */
	uint32_t i;	   /* of the set's endpoints, the snapshot's backends, the buckets, or the connections */
	uint32_t n;	   /* SET: new endpoints, then such that go; RETAIN: backends that are named */
	bool has_other_tls; /* RETAIN: backends whose TLS is to be another one */
	struct endpoint *old;	   /* SET: the next one of the list that serves, later: that has served */
	struct endpoint *last;	   /* SET: of the list that is being made; NULL: it is empty */
	struct endpoint_list list; /* SET: which is being made */
};

struct upstream {
	struct upstream_config cfg;
	struct weir_worker_stats *stats;
	struct upstream_conn *conns, *free_conns;
	uint32_t n_fresh_conns; /* of conns: those from here on were never used, and their memory not touched */
	struct endpoint *endpoints, *free_endpoints;
	struct backend *backends, *free_backends;
	struct backend **buckets; /* backend_bucket() */
	uint32_t bucket_mask;
	uint64_t bucket_secret; /* odd */
	struct endpoint **tokens; /* by token */
	uint32_t token_mask;
	uint32_t n_free_endpoints;
	uint32_t n_backends; /* in the buckets */
	uint8_t mark;	     /* flips with each snapshot */
	const struct weir_snapshot *snapshot; /* that names them; NULL: none has come */
	struct job job;
	uint32_t next_id;
	uint32_t n_idle, n_ejected;
	uint32_t hand; /* where the search for an idle connection goes on */
	bool is_draining;
	uint64_t prng;
	struct pages pages;
	uint64_t work_at_us; /* upstream_work() goes on; NEVER: there is nothing to do */
	struct backend_queue queue;
	struct build build;
	struct scan scan;
};

/* As the list that serves has it. */
static inline const struct listed *listed(const struct backend *b, const struct endpoint *e)
{
	return &e->in[b->side];
}

/* Who counts its connections; NULL: nobody. */
static inline struct upstream_cap *endpoint_cap(const struct endpoint *e)
{
	return e->backend ? e->backend->cap : e->cap;
}

/*
 * Where a backend of this id would be. Whoever may name Services can try names until their ids have low bits alike, and
 * would fill the bucket of another's backend: the secret keeps him from knowing where they meet.
 */
static inline struct backend **backend_bucket(const struct upstream *u, uint64_t id)
{
	return &u->buckets[(uint32_t)(id * u->bucket_secret >> 32) & u->bucket_mask];
}

/* upstream.c */
struct backend *backend_find(const struct upstream *u, uint64_t id);
/* change.c: the same; while a snapshot is being taken over, with what it says of this one. NULL: it is not there, or not named any more. */
struct backend *backend_get(struct upstream *u, uint64_t id, uint64_t now_us);

/* change.c: what the snapshot says of TLS to it; NULL: nothing, or it is not named. */
const struct weir_backend_tls *backend_tls(const struct upstream *u, uint64_t id);

/* Whether what it carries has stirred, or ended: none of ours goes on with that. */
static inline bool conn_has_stirred(const struct upstream_conn *uc)
{
	struct stream io = uc->tls ? stream_of_tls(uc->tls) : stream_of_tcp(uc->tcp);

	return stream_readable(io) || stream_is_eof(io);
}

/* secure.c */
/* Ends the TCP connection, if it is there still, and TLS. */
void conn_close(struct upstream_conn *uc, bool abort, uint64_t now_us);
/* It has so long to be connected, TLS included. */
void secure_arm(struct upstream *u, struct upstream_conn *uc, uint32_t connect_ms, uint64_t now_us);
void secure_on_timer(struct upstream_conn *uc, uint64_t now_us);
/* TCP is connected. */
void secure_begin(struct upstream_conn *uc, uint64_t now_us);
/* Within the handshake. */
void secure_on_event(struct upstream_conn *uc, unsigned events, uint64_t now_us);

/* balance.c: sets its levels from its flags, and whether it is ejected. */
void endpoint_set_level(struct endpoint *e);
enum endpoint_level endpoint_level(uint8_t flags, bool is_ejected);
bool endpoint_is_tried(const struct endpoint *e, const struct upstream_tried *tried);

/* pool.c */
/* The latest idle connection of ep that still can be used, out of the pool; NULL: none. */
struct upstream_conn *pool_take(struct upstream *u, struct endpoint *ep, uint64_t now_us);
void pool_put(struct upstream *u, struct upstream_conn *uc, uint64_t now_us);
/* Closes up to max idle connections of ep, the oldest of them last. */
void pool_close(struct upstream *u, struct endpoint *ep, uint32_t max, uint64_t now_us);
/* Closes an idle connection. */
void pool_evict(struct upstream *u, struct upstream_conn *uc, uint64_t now_us);
/* Closes some idle connection, whose ever it is: the pool of connections is empty. */
void pool_close_any(struct upstream *u, uint64_t now_us);
/* Closes some idle connection to the backend: it has as many as it may. */
void pool_close_of(struct upstream *u, struct backend *b, uint64_t now_us);
void pool_on_timer(struct upstream *u, struct upstream_conn *uc, uint64_t now_us);
/* Frees the object; the endpoint too if this was the last thing that held it. */
void conn_free(struct upstream *u, struct upstream_conn *uc);
void conn_on_event(struct tcp_conn *c, void *user, unsigned events, uint64_t now_us);
void endpoint_free(struct upstream *u, struct endpoint *ep);

/* affinity.c: an endpoint's token, and the way back from a token to it (NULL: the backend has none such). */
void affinity_add(struct upstream *u, struct endpoint *e, uint64_t backend_id);
void affinity_remove(struct upstream *u, struct endpoint *e);
struct endpoint *affinity_find(const struct upstream *u, const struct backend *b, const struct upstream_token *t);

/* cap.c: the counter of a backend's connections, made if it is not there; NULL: no room for one more. */
struct upstream_cap *cap_find(struct upstream_caps *caps, uint64_t backend_id);
/* One more, if that is not more than max. */
bool cap_take(struct upstream_cap *c, uint32_t max);
void cap_add(struct upstream_cap *c, int32_t change);
/* A worker that has no connection at all finds it full: whoever has one to spare, and looks next, closes it. */
void cap_want(struct upstream_cap *c);
bool cap_is_wanted(struct upstream_cap *c);

/* outlier.c */
bool outlier_is_on(const struct settings *s);
void outlier_result(struct upstream *u, struct endpoint *e, bool is_ok, uint64_t now_us);
/* One step of the scan. True: it was the last one. */
bool outlier_scan(struct upstream *u, struct backend *b, uint64_t now_us);
void outlier_return(struct upstream *u, struct endpoint *e, uint64_t now_us);

#endif
