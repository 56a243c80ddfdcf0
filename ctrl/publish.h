/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir-ctrl's end of the contract (weir/msg.h): keeps the dataplane at the
 * newest snapshot and endpoint sets. It connects, and connects again for
 * ever; after each connection it sends everything. At most one snapshot is
 * under way, and the newest wins.
 */
#ifndef CTRL_PUBLISH_H
#define CTRL_PUBLISH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/accesslog.h"
#include "weir/diag.h"
#include "weir/msg.h"
#include "weir/paths.h"
#include "weir/snapshot.h"
#include "weir/stats.h"

#define PUBLISH_BUCKETS 10
extern const double publish_bucket_s[PUBLISH_BUCKETS];

/* Of the ways to pods, with the dataplane. X(enumerator, name) */
#define PUBLISH_PATHS_STATES(X) \
	X(NOT_SENT, "not-sent") /* none were handed in, or there is no dataplane */ \
	X(SENT, "sent") \
	X(TAKEN, "taken") \
	X(REFUSED, "refused") \
	X(TOO_OLD, "dataplane-too-old")

enum publish_paths_state {
#define X(name, str) PUBLISH_PATHS_##name,
	PUBLISH_PATHS_STATES(X)
#undef X
};

struct publish_status {
	bool is_connected;
	uint32_t hello_refused; /* weir_hello.refused of the last attempt */
	uint64_t connects;
	uint32_t n_workers;
	uint64_t generation;	  /* newest that was handed in, 0: none */
	uint64_t sent_generation; /* on this connection */
	uint64_t copied_generation;
	uint64_t live_generation; /* of this connection; 0: none yet */
	uint64_t retired_generation; /* last one that no worker holds any more */
	uint64_t live_t_us;	  /* of the last: the dataplane's own time to go live */
	uint64_t n_sets;	  /* endpoint sets known */
	uint64_t n_sets_waiting;  /* not yet live in all workers */
	uint64_t n_certificates; /* that the newest snapshot names */
	uint64_t n_certificates_waiting; /* of these, the dataplane does not have */
	uint64_t snapshots_sent, sets_sent, certificates_sent;
	uint64_t tickets_sent, n_tickets_refused; /* sets of ticket keys */
	enum weir_refusal tickets_refused;	  /* the last set, OK: taken, or none was answered */
	uint64_t paths_sent, n_paths_refused; /* sets of ways to pods */
	enum publish_paths_state paths_state;
	enum weir_refusal paths_refused; /* the last set, OK: taken, or none was answered */
	uint64_t n_certificates_refused; /* each once, for which there was no room only after some tries */
	uint64_t n_refused;
	uint64_t refused_id;
	enum weir_refusal refused; /* the last refusal */
	/* from hand-in to live, of generations that were newest when they went live */
	uint64_t latency[PUBLISH_BUCKETS + 1];
	uint64_t latency_count, latency_sum_us;
};

struct publish;

/* Begins to connect. NULL and errno. */
struct publish *publish_create(const char *socket_path);
void publish_destroy(struct publish *p);
/* For epoll: readable when publish_poll() has work. */
int publish_fd(const struct publish *p);
void publish_poll(struct publish *p);

/*
 * Bytes that a snapshot may have, so that endpoint sets find room beside it in the arena of the dataplane; 0: not
 * connected, and so not known.
 */
size_t publish_room(const struct publish *p);
/* A new snapshot; takes over blob (malloc'd). Sent after every endpoint set that was handed in before it. */
void publish_snapshot(struct publish *p, void *blob, size_t n, uint64_t generation);
/*
 * What the next snapshot names, which is to be handed in right behind: it is sent when they all are there. They are held,
 * until others are handed in. 0 or -ENOMEM.
 */
struct certificate;
int publish_certificates(struct publish *p, const struct certificate *const *list, size_t n);
/*
 * Of these, one that the dataplane does not take, from *at on; NULL: there is none. Until it is left out, the snapshot waits.
 * *may_pass: it was for want of room, so that it may be taken later.
 */
const struct certificate *publish_refused_certificate(const struct publish *p, size_t *at, bool *may_pass);
/*
 * The keys of session tickets that the dataplane is to use, on each connection anew; none (n 0): it is told so if it has some
 * of an earlier weir-ctrl. Before the first call it is told nothing. Copied.
 */
void publish_ticket_keys(struct publish *p, const struct weir_ticket_keys *keys);
/*
 * The ways to pods that the dataplane is to use; takes over blob (malloc'd, checked, n bytes). They are sent on each connection
 * before the first snapshot, and when they are others than before. That there are none is told if some were handed in before, or
 * if is_told_empty: a dataplane may have those of an earlier weir-ctrl. False: the dataplane is told nothing new.
 */
bool publish_paths(struct publish *p, struct weir_paths *blob, size_t n, bool is_told_empty);
const char *publish_paths_state_name(enum publish_paths_state s);
/* The endpoint set of a backend; takes over blob (malloc'd, checked). 0 or -ENOMEM, and then blob is freed. */
int publish_endpoints(struct publish *p, void *blob);
/* The set of a backend as last handed in, or NULL. */
const struct weir_endpoint_set *publish_find(const struct publish *p, uint64_t backend_id);
/* Forgets the sets of backends for which keep() says no. */
void publish_prune(struct publish *p, bool (*keep)(const void *ctx, uint64_t backend_id), const void *ctx);

/*
 * The way for diag.c. Sends a message of this type and id, with n bytes in the
 * arena unless n is 0. -ENOTCONN, -EOPNOTSUPP (the dataplane is of a version
 * without it), -EAGAIN (no room now).
 */
int publish_ask(struct publish *p, const struct weir_msg *m, const void *bytes, size_t n);
/* Who hears the answers; m is NULL when the connection has ended. */
typedef void publish_answer_fn(void *ctx, const struct weir_msg *m);
void publish_listen(struct publish *p, publish_answer_fn *fn, void *ctx);
/* The dataplane's diagnostics, checked; NULL while there is no connection, or none in this dataplane. */
const struct weir_diag_region *publish_diag(const struct publish *p);

/* The dataplane's access log, checked; NULL while there is no connection, or none in this dataplane. */
const struct weir_log_region *publish_log(const struct publish *p);
/* Who hears that the connection has ended, while publish_log() can still be read. */
typedef void publish_leave_fn(void *ctx);
void publish_on_leave(struct publish *p, publish_leave_fn *fn, void *ctx);

/* Names of enum weir_refusal. */
const char *publish_refusal_name(uint32_t r);
void publish_status(const struct publish *p, struct publish_status *out);
/* The dataplane's counters, or NULL while there is no connection. */
const struct weir_stats_region *publish_stats(const struct publish *p);
/* NULL: the dataplane does not tell. */
const struct weir_tls_info *publish_tls_info(const struct weir_stats_region *r);
/* Of port, less than WEIR_MAX_PORTS. NULL: the dataplane does not tell. */
const struct weir_port_details *publish_port_details(const struct weir_stats_region *r, unsigned port);
/* The driver's own counts. Likewise; dataplanes of before minor 4 do not. */
const struct weir_port_xstats *publish_port_xstats(const struct weir_stats_region *r, unsigned port);
/* Likewise. */
const struct weir_life_info *publish_life_info(const struct weir_stats_region *r);
const struct weir_worker_stats *publish_worker_stats(const struct weir_stats_region *r, unsigned worker);

#endif
