/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the main lcore's side of the contract. ctl.c: socket and poll;
 * ctl_region.c: the memory that is shared; ctl_blob.c: what came in, on its
 * way to the workers and back; ctl_diag.c: lists of connections and captures.
 */
#ifndef DATAPLANE_CTL_PVT_H
#define DATAPLANE_CTL_PVT_H

#include <sys/queue.h>

#include "base/spsc.h"
#include "ctl.h"
#include "net/capture.h"
#include "walk.h"
#include "weir/msg.h"
#include "weir/stats.h"

#define CTL_MAX_GENERATIONS 64u /* that workers hold at a time; more is refused as BUSY */
#define CTL_MAX_SETS 1024u	/* endpoint sets on their way to workers; more wait in the ring */
#define CTL_MAX_ACKS 4096u	/* that weir-ctrl has not taken; then its messages wait */
#define CTL_STALL_US 10000000u	/* weir-ctrl takes no acknowledgement for so long: disconnected */
/* What a worker can be owed at a time, besides orders such as drain and stop. */
#define CTL_MAX_PENDING (CTL_MAX_GENERATIONS + CTL_MAX_SETS + 16u)

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

struct ctl {
	char path[108];
	bool has_uid;
	uint32_t uid;
	uint64_t arena_size;
	int listen_fd, epoll_fd, stats_fd, log_fd;
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
};

uint64_t ctl_now_us(void);

/* Makes the region of a connection; *fd is for the peer, closed by the caller. 0 or -errno. */
int ctl_region_create(struct ctl_conn *conn, uint64_t arena_size, unsigned n_workers, int *fd);
void ctl_region_destroy(struct ctl_conn *conn);

/* Queues an acknowledgement of the connection; there is room. */
void ctl_ack(struct ctl *c, const struct weir_msg *m);
/* Takes a SNAPSHOT or ENDPOINTS message, and answers it. */
void ctl_blob_take(struct ctl *c, const struct weir_msg *m);
void ctl_worker_send(struct ctl_worker *w, const struct worker_msg *m);
/* Sends what is pending, reads what the workers answered. True while workers owe an answer. */
bool ctl_workers_poll(struct ctl *c);
void ctl_blobs_destroy(struct ctl *c);

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

#endif
