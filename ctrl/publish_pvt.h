/* SPDX-License-Identifier: Apache-2.0 */
/* What publish.c (the connection, and what the dataplane answers) and publish_send.c share. */
#ifndef CTRL_PUBLISH_PVT_H
#define CTRL_PUBLISH_PVT_H

#include <sys/queue.h>
#include <sys/un.h>

#include "arena.h"
#include "base/spsc.h"
#include "cert_set.h"
#include "publish.h"

#define PUBLISH_RETRY_MS 50u /* after BUSY or NO_MEMORY, or a full ring */

struct set {
	struct weir_endpoint_set *blob;
	uint64_t id;
	uint64_t live_version;
	bool is_due, is_away; /* is_away: a version of it lies in the arena */
	TAILQ_ENTRY(set) due;
};

struct publish {
	struct sockaddr_un addr;
	int epoll_fd, timer_fd, fd;
	bool has_hello;
	unsigned backoff_ms;
	struct weir_region *region;
	const struct weir_stats_region *stats;
	const struct weir_diag_region *diag;
	const struct weir_log_region *log;
	size_t region_size, stats_size, diag_size, log_size;
	publish_answer_fn *on_answer;
	void *answer_ctx;
	publish_leave_fn *on_leave;
	void *leave_ctx;
	char *arena_base;
	struct spsc tx, rx;
	uint64_t tx_seq, rx_seq;
	struct arena arena;

	void *snapshot;
	size_t snapshot_size;
	uint64_t handed_in_us;
	bool is_timed; /* handed in while connected, and not yet live: its latency counts */
	bool is_due;  /* the snapshot has to be sent */
	bool is_away; /* one is on its way, not yet live nor refused */
	bool ring_bell;

	struct cert_set certs; /* that the snapshot names */
	bool are_certs_held; /* one could not be taken: none is sent before the timer */
	uint64_t resent_generation; /* whose certificates were all sent once more */

	struct weir_ticket_keys tickets;
	uint64_t tickets_id; /* of this set; 0: none was handed in */
	bool are_tickets_due, are_tickets_away;
	bool were_tickets_sent; /* some, on this connection: the statistics may not tell of them yet */

	struct weir_paths *paths; /* NULL: none were handed in */
	size_t paths_size;
	uint64_t paths_id; /* of this set */
	bool are_paths_due, are_paths_away;

	size_t n_sets, cap_sets;
	struct set **sets; /* by id */
	TAILQ_HEAD(, set) due;
	struct publish_status st;
};

/* publish.c: ends the connection, if there is one, and tries again a little later. */
void publish_disconnect(struct publish *p, const char *why);
void publish_set_timer(struct publish *p, unsigned ms);

/* publish_send.c: lays a blob in the arena and its message in the ring. False: no room, or no connection any more. */
bool publish_send_blob(struct publish *p, struct weir_msg m, const void *bytes);
bool publish_send_message(struct publish *p, struct weir_msg *m);
/* A blob that no arena of this dataplane will ever hold: refused here, once, and not in the way of what is behind it. */
bool publish_is_too_big(struct publish *p, uint64_t size, uint64_t id, const char *what);
/* Sends all that is due and can go now. */
void publish_pump(struct publish *p);

/* publish_tickets.c */
void publish_tickets_send(struct publish *p);
void publish_tickets_done(struct publish *p, const struct weir_msg *m);
/* The connection has ended. */
void publish_tickets_reset(struct publish *p);

/* publish_paths.c. False: they are due, and cannot be sent now. */
bool publish_paths_send(struct publish *p);
void publish_paths_done(struct publish *p, const struct weir_msg *m);
/* The connection has ended. */
void publish_paths_reset(struct publish *p);

#endif
