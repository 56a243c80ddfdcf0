/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the main lcore's side of the contract. ctl.c: socket and poll;
 * ctl_region.c: the memory that is shared; ctl_blob.c: what came in, on its
 * way to the workers and back; ctl_diag.c: lists of connections and captures;
 * ctl_cert.c: certificates with their private keys; ctl_ticket.c: the keys of
 * session tickets; ctl_secret.c: the memory for both; ctl_paths.c: ways to pods.
 */
#ifndef DATAPLANE_CTL_PVT_H
#define DATAPLANE_CTL_PVT_H

#include <sys/queue.h>

#include "base/spsc.h"
#include "ctl.h"
#include "net/capture.h"
#include "net/fib.h"
#include "tls/tls.h"
#include "walk.h"
#include "weir/msg.h"
#include "weir/stats.h"

#define CTL_MAX_GENERATIONS 64u /* that workers hold at a time; more is refused as BUSY */
#define CTL_MAX_SETS 1024u	/* endpoint sets on their way to workers; more wait in the ring */
#define CTL_MAX_ACKS 4096u	/* that weir-ctrl has not taken; then its messages wait */
#define CTL_STALL_US 10000000u	/* weir-ctrl takes no acknowledgement for so long: disconnected */
/* What a worker can be owed at a time, besides orders such as drain and stop. Certificates never wait here, see ctl_cert.c. */
#define CTL_MAX_PENDING (CTL_MAX_GENERATIONS + CTL_MAX_SETS + 16u)
#define CTL_CERT_BYTES_PER_TURN (256u << 10) /* of certificates that are read and hashed at a time: below a millisecond */

/* One blob on its way: of a snapshot or of an endpoint set. */
struct ctl_blob {
	TAILQ_ENTRY(ctl_blob) link;
	uint32_t type;	    /* WEIR_MSG_SNAPSHOT or WEIR_MSG_ENDPOINTS */
	uint64_t epoch;	    /* connection that it came by: others are told nothing of it */
	uint64_t id;	    /* as weir-ctrl counts */
	uint64_t version;
	uint64_t number;    /* snapshots: as the dataplane counts, over all connections */
	uint64_t received_us;
	unsigned n_copies; /* that workers hold */
	bool is_live;
};
TAILQ_HEAD(ctl_blobs, ctl_blob);

/* A worker's copy; the blob stands behind this head. */
struct ctl_copy {
	LIST_ENTRY(ctl_copy) link;
	struct ctl_blob *blob;
	bool is_rte;
	char pad[64 - 2 * sizeof(void *) - sizeof(void *) - sizeof(bool)];
};
_Static_assert(sizeof(struct ctl_copy) == 64, "a blob behind it is aligned");

struct ctl_worker {
	struct worker_link link;
	struct tls *tls; /* for which certificates are made ready; NULL: not yet, or not any more */
	uint64_t swapped; /* newest snapshot number that it serves */
	unsigned first, n_pending;
	struct worker_msg pending[CTL_MAX_PENDING]; /* that its ring had no room for, in order */
};

/* The connection of a weir-ctrl; fd is -1 while there is none. */
struct ctl_conn {
	int fd;
	uint64_t epoch;
	struct weir_region *region;
	size_t region_size;
	const char *arena;
	uint64_t arena_size;
	struct spsc rx, tx;
	uint64_t rx_seq, tx_seq;
	uint64_t generation; /* newest that was taken */
	uint64_t stalled_us; /* since when the ring to weir-ctrl is full, 0: is not */
	bool ring_bell;
	unsigned first_ack, n_acks;
	struct weir_msg acks[2 * CTL_MAX_ACKS];
};
_Static_assert(CTL_MAX_ACKS > CTL_MAX_SETS + 2 * CTL_MAX_GENERATIONS + 2, "room for what workers answer");

/*
 * At most one list of connections and one capture at a time, whoever asked.
 * They outlive the connection that asked for them until every worker has
 * answered; then nobody is told.
 */
struct ctl_diag {
	struct weir_diag_region *region; /* NULL: there are none */
	int fd;

	struct weir_msg walk; /* the CONNECTIONS that is being answered */
	uint64_t walk_epoch;
	unsigned n_walking; /* workers that have a job; 0: no list is being made */
	struct walk_job *jobs[WEIR_MAX_WORKERS];

	struct weir_capture_spec spec; /* workers read it while a capture is on */
	struct net_capture *captures;  /* [n_workers] */
	uint64_t capture_id, capture_epoch, capture_end_us;
	bool is_capturing; /* until CAPTURE_OFF */
	bool is_stopping;  /* the workers were told */
	unsigned n_capturing; /* workers that have not given it back */
};

/* A certificate that weir-ctrl sent, with its private key. */
struct ctl_cert {
	LIST_ENTRY(ctl_cert) bucket;
	TAILQ_ENTRY(ctl_cert) link;
	TAILQ_ENTRY(ctl_cert) wanted_link;
	struct weir_cert_id id;
	struct weir_certificate *blob; /* ctl_secret_create() */
	uint32_t size;
	uint64_t named;	    /* number of the newest snapshot that names it; 0: none yet */
	uint64_t gone_with; /* number of the snapshot that was the first not to name it; 0: none. A later one may not name it either */
	uint64_t failed_us; /* when it could not be used last; 0: never */
	bool is_wanted;	    /* stands in ctl_certs.wanted */
	uint64_t wanted_by[WEIR_MAX_WORKERS / 64]; /* bits */
};
LIST_HEAD(ctl_cert_bucket, ctl_cert);
TAILQ_HEAD(ctl_cert_list, ctl_cert);

struct ctl_certs {
	uint64_t max_bytes, bytes; /* whole pages, so this bounds the number, too */
	struct ctl_cert_bucket *buckets; /* by hash64() of the id */
	uint64_t n_buckets;		 /* a power of two */
	struct ctl_cert_list all;
	struct ctl_cert_list wanted; /* by a worker that is owed an answer, in the order in which they were asked for */
	unsigned n_gone;	     /* with gone_with */
	uint64_t swapped;	     /* the snapshot that every worker served when it was last looked for what can be forgotten */
	uint64_t logged_us;
	unsigned n_unlogged; /* lines that were held back since */
};

struct ctl_ticket_keys {
	struct tls_ticket_keys keys; /* workers copy them, and meanwhile they do not change */
	struct tls_ticket_keys due;  /* that weir-ctrl sent, until no worker copies */
	struct tls_ticket_key fresh; /* a new one of our own, until it is whole */
};

struct ctl_tickets {
	struct ctl_ticket_keys *k; /* ctl_secret_create(); NULL: no tickets */
	uint64_t rotate_us, next_us; /* of our own */
	unsigned n_untaken; /* workers that have not copied them yet */
	bool is_due;	    /* there is something in due, be it that there are none any more */
	bool are_shared;    /* the keys are weir-ctrl's: none is made here */
};

/* Ways, and the tables that workers make of them. */
struct ctl_paths {
	const struct weir_pod_path *fixed; /* weir.yaml's */
	unsigned n_fixed;
	struct weir_vtep fixed_vtep[2];
	struct weir_paths *sent;	/* weir-ctrl's, checked; NULL: none */
	struct weir_vtep former_vtep[2]; /* that weir-ctrl gave before the present ones: connections have come from there */
	struct fib_route *kernels;	/* and their hops behind them; NULL: none */
	size_t n_kernels;
	struct fib *due;     /* the newest, while workers still take the one before it; NULL: there is none newer */
	struct fib *current; /* that workers have, or are given */
	struct fib *former;  /* that some of them may still use; NULL: none */
	bool is_due;	     /* due is to be given out */
	unsigned n_untaken;  /* workers that have not taken the current one yet */
};

struct ctl {
	char path[108];
	bool has_uid;
	uint32_t uid;
	uint64_t arena_size;
	int listen_fd, epoll_fd, stats_fd, log_fd;
	int bell_fd; /* an eventfd; workers: w */
	bool is_behind; /* this turn left work over that is its own to do: it does not wait */
	const struct weir_log_region *log; /* NULL: none */
	struct weir_stats_region *stats;
	struct ctl_conn conn;
	unsigned n_workers, n_drained, n_stopped;
	bool is_draining;
	struct ctl_worker *workers;
	uint64_t number; /* of the last snapshot */
	struct ctl_blobs snapshots, sets;
	unsigned n_snapshots, n_sets;
	LIST_HEAD(, ctl_copy) copies;
	struct ctl_diag diag;
	struct ctl_certs certs;
	struct ctl_tickets tickets;
	struct ctl_paths paths;
};

struct snapshot_error;

uint64_t ctl_now_us(void);

/* Makes the region of a connection; *fd is for the peer, closed by the caller. 0 or -errno. */
int ctl_region_create(struct ctl_conn *conn, uint64_t arena_size, unsigned n_workers, int *fd);
void ctl_region_destroy(struct ctl_conn *conn);

/* Queues an acknowledgement of the connection; there is room. */
void ctl_ack(struct ctl *c, const struct weir_msg *m);
/* Takes a SNAPSHOT or ENDPOINTS message, and answers it. */
void ctl_blob_take(struct ctl *c, const struct weir_msg *m);
void ctl_worker_send(struct ctl_worker *w, const struct worker_msg *m);
/* Reads all that this worker answered. */
void ctl_worker_read(struct ctl *c, struct ctl_worker *w);
/* Sends what is pending, reads what the workers answered. True while workers owe an answer. */
bool ctl_workers_poll(struct ctl *c);
void ctl_blobs_destroy(struct ctl *c);
/* Whether the place that a message names is within the arena, and aligned. */
bool ctl_is_in_arena(const struct ctl *c, const struct weir_msg *m);
/* Answers a blob, and logs why it is refused; what: "snapshot 7". */
void ctl_blob_answer(struct ctl *c, const struct weir_msg *m, enum weir_refusal r, const char *what, const char *why);

int ctl_diag_init(struct ctl *c, const struct ctl_config *config);
void ctl_diag_fini(struct ctl *c);
/* Takes a CONNECTIONS or CAPTURE... message. NULL, or how it breaks the contract. */
const char *ctl_diag_take(struct ctl *c, const struct weir_msg *m);
/* A worker gave something back. */
void ctl_diag_answer(struct ctl *c, const struct worker_msg *m);
/* The connection has ended. */
void ctl_diag_gone(struct ctl *c);
/* Ends a capture whose time is over. True while workers owe an answer. */
bool ctl_diag_poll(struct ctl *c);
/* Milliseconds until ctl_diag_poll() has to be called again, at most timeout_ms. */
int ctl_diag_timeout(const struct ctl *c, int timeout_ms);

/*
 * n zero bytes in pages of their own, locked into memory as far as RLIMIT_MEMLOCK lets, and left out of core dumps. NULL:
 * there is no memory. Wiped when they are destroyed.
 */
void *ctl_secret_create(size_t n);
void ctl_secret_destroy(void *p, size_t n);

int ctl_certs_init(struct ctl *c, const struct ctl_config *config);
void ctl_certs_fini(struct ctl *c);
/* Takes a CERTIFICATE message, and answers it. */
void ctl_cert_take(struct ctl *c, const struct weir_msg *m);
/* Whether each certificate that the snapshot names is there; if not, err says which is missing. */
bool ctl_certs_are_held(const struct ctl *c, const struct weir_snapshot *s, struct snapshot_error *err);
/* The snapshot was taken, by this number. */
void ctl_certs_named(struct ctl *c, const struct weir_snapshot *s, uint64_t number);
/* Every worker serves this snapshot or a later one: forgets what is needed no more. */
void ctl_certs_settle(struct ctl *c, uint64_t swapped);
/* A worker wants one, or gives one back. */
void ctl_cert_message(struct ctl *c, struct ctl_worker *w, const struct worker_msg *m);
/* Makes some of those that are wanted ready. True while some are left. */
bool ctl_certs_poll(struct ctl *c);

int ctl_tickets_init(struct ctl *c, const struct ctl_config *config);
void ctl_tickets_fini(struct ctl *c);
/* A worker has copied them. */
void ctl_tickets_taken(struct ctl *c);
/* Takes a TICKET_KEYS message, and answers it. */
void ctl_tickets_take(struct ctl *c, const struct weir_msg *m);
/* Gives out what came, and makes a new key of our own when it is time. True while workers owe an answer. */
bool ctl_tickets_poll(struct ctl *c);

int ctl_paths_init(struct ctl *c, const struct ctl_config *config);
void ctl_paths_fini(struct ctl *c);
/* A worker has another table, and not this one any more. */
void ctl_paths_taken(struct ctl *c, const struct fib *former);
/* Takes a PATHS message, and answers it. */
void ctl_paths_take(struct ctl *c, const struct weir_msg *m);
/* Gives out what came. True while workers owe an answer. */
bool ctl_paths_poll(struct ctl *c);

#endif
