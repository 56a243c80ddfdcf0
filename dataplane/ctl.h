/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The main lcore's side of the contract: the control socket, the region,
 * snapshots and endpoint sets in, acknowledgements out. Runs on the main
 * lcore only; it may sleep, allocate and log.
 */
#ifndef WEIR_DATAPLANE_CTL_H
#define WEIR_DATAPLANE_CTL_H

#include <stdbool.h>

#include "config.h"
#include "weir/accesslog.h"
#include "weir/diag.h"
#include "weir/paths.h"
#include "worker.h"

struct ctl;
struct fib_route;
struct tls;

struct ctl_config {
	const char *socket_path;
	bool has_uid;
	uint32_t uid;	   /* that may connect, besides root and our own */
	uint32_t arena_mb;
	unsigned n_workers;
	const struct worker_link *links; /* [n_workers] */
	struct weir_diag_region *diag;	 /* NULL: no diagnostics */
	int diag_fd;
	struct weir_log_region *log; /* NULL: no access log */
	int log_fd;
	uint32_t certificates_mb; /* what certificates may take; more are refused */
	bool tickets;		  /* session tickets are given */
	uint32_t ticket_rotate_s; /* by a new key */
	const struct weir_pod_path *paths; /* of weir.yaml: they come before weir-ctrl's. Outlive the ctl */
	unsigned n_paths;
	struct weir_vtep vtep[2]; /* as in struct weir_paths */
};

/*
 * Makes the statistics region (a memfd; header filled in, counters zero) for
 * n_workers. *fd_ro gets a descriptor that can only be read. NULL and errno.
 */
struct weir_stats_region *ctl_stats_create(unsigned n_workers, int *fd_ro);
void ctl_stats_destroy(struct weir_stats_region *r, int fd_ro);
/* The block of worker i (i == n_workers: main's). */
struct weir_worker_stats *ctl_stats_worker(struct weir_stats_region *r, unsigned i);
struct weir_tls_info *ctl_stats_tls(struct weir_stats_region *r);
/* Of port i, less than WEIR_MAX_PORTS. */
struct weir_port_details *ctl_stats_port(struct weir_stats_region *r, unsigned i);
struct weir_port_xstats *ctl_stats_xstats(struct weir_stats_region *r, unsigned i);
struct weir_life_info *ctl_stats_life(struct weir_stats_region *r);

/*
 * Makes the diagnostics region (a memfd; nothing found yet) for n_workers with
 * capture rings of ring_kb KiB; 0: no captures, less than the least is raised.
 * Memory is taken when it is first used. *fd_ro as above. NULL and errno.
 */
struct weir_diag_region *ctl_diag_create(unsigned n_workers, uint32_t ring_kb, int *fd_ro);
void ctl_diag_destroy(struct weir_diag_region *r, int fd_ro);

/*
 * Makes the access log's region (a memfd; no record yet) for n_workers with
 * rings of ring_kb KiB, at least 1. *fd_ro as above. NULL and errno.
 */
struct weir_log_region *ctl_log_create(unsigned n_workers, uint32_t ring_kb, int *fd_ro);
void ctl_log_destroy(struct weir_log_region *r, int fd_ro);
struct weir_log_worker *ctl_log_worker(struct weir_log_region *r, unsigned i);

/* Listens on the control socket. NULL after logging what failed. A stale socket file is replaced, a live one is not. */
struct ctl *ctl_create(const struct ctl_config *config, struct weir_stats_region *stats, int stats_fd);
/* Closes the socket and removes its file; frees what the workers gave back. Workers have stopped. */
void ctl_destroy(struct ctl *c);

/*
 * An eventfd that ends the wait of ctl_poll(), for workers: only for what somebody waits for, since a write is a system
 * call. The ctl's.
 */
int ctl_bell_fd(const struct ctl *c);

/*
 * From now on certificates are made ready for this worker, in its own struct tls.
 * Detached when it has stopped, before that is destroyed: certificates that are on their way to it or back are destroyed.
 * Nothing, where none was attached.
 */
void ctl_attach_tls(struct ctl *c, unsigned worker, struct tls *tls);
void ctl_detach_tls(struct ctl *c, unsigned worker);

/* Waits at most timeout_ms for work from weir-ctrl or the workers, and does it. Signals end the wait. */
void ctl_poll(struct ctl *c, int timeout_ms);

/*
 * Ways that the host's kernel knows, in place of those that it knew before; they come after weir.yaml's and weir-ctrl's, where
 * these have the same prefix. Copied; kinds are ROUTE. 0 or -ENOMEM, and then nothing changes.
 */
int ctl_set_kernel_routes(struct ctl *c, const struct fib_route *routes, size_t n);

/* Sends every worker a message of this type (WORKER_DRAIN, WORKER_STOP). */
void ctl_tell_workers(struct ctl *c, enum worker_msg_type type);
/* Workers that answered WORKER_DRAINED, WORKER_STOPPED. */
unsigned ctl_n_drained(const struct ctl *c);
unsigned ctl_n_stopped(const struct ctl *c);

#endif
