/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker: one core, one queue pair of each port, one of everything. The
 * main lcore talks to it only by two single-producer single-consumer
 * rte_rings whose elements are struct worker_msg (rte_ring_*_elem).
 */
#ifndef WEIR_DATAPLANE_WORKER_H
#define WEIR_DATAPLANE_WORKER_H

#include <stdint.h>

#include "config.h"
#include "weir/accesslog.h"
#include "weir/snapshot.h"

struct rte_ring;
struct tls;
struct offload_device;
struct upstream_caps;
struct wake;
struct worker;

enum worker_msg_type {
	/* main > worker */
	WORKER_SNAPSHOT = 1, /* ptr: a checked struct weir_snapshot, the worker's own copy; id: main's own number of it */
	WORKER_ENDPOINTS,    /* ptr: a checked struct weir_endpoint_set, the worker's own copy; id = backend id */
	WORKER_DRAIN,	     /* no new connections; finish what is in hand */
	WORKER_STOP,	     /* leave the loop */
	WORKER_WALK,	     /* ptr: a struct walk_job; the worker has none other */
	WORKER_CAPTURE,	     /* ptr: a struct net_capture; the worker has none other */
	WORKER_CAPTURE_STOP, /* give it back */
	WORKER_CERTIFICATE,  /* answers WANTS_CERTIFICATE; ptr: a struct tls_certificate, the worker's from now on, NULL: none can be used; id, version: as asked */
	WORKER_TICKET_KEYS,  /* ptr: a struct tls_ticket_keys that stays until TICKET_KEYS_TAKEN */
	WORKER_FIB,	     /* ptr: a struct fib that stays until the worker has another one; NULL: none */
	/* worker > main */
	WORKER_SWAPPED = 100,	/* id: main's number of the snapshot that the worker now serves */
	WORKER_RELEASED,	/* ptr: a snapshot copy that the worker does not use any more; main frees it */
	WORKER_ENDPOINTS_TAKEN, /* ptr: an endpoint set copy of which the worker has what it needs; main frees it */
	WORKER_DRAINED,		/* no connection is left */
	WORKER_STOPPED,		/* the loop has ended */
	WORKER_WALKED,		/* ptr: the struct walk_job, complete */
	WORKER_CAPTURE_STOPPED, /* the struct net_capture is main's again */
	WORKER_WANTS_CERTIFICATE, /* id, version: the two halves of a struct weir_cert_id; WORKER_CERTIFICATE follows */
	WORKER_CERTIFICATE_RELEASED, /* ptr: a struct tls_certificate that the worker does not use any more; main destroys it */
	WORKER_TICKET_KEYS_TAKEN, /* ptr: as it came */
	WORKER_FIB_TAKEN, /* ptr: the former struct fib, which the worker does not use any more; NULL: it had none */
};

struct worker_msg {
	uint32_t type;
	uint32_t worker;
	void *ptr;
	uint64_t id;
	uint64_t version; /* of an endpoint set */
};

#define WORKER_RING_SIZE 4096u

/* Rings between main and a worker, made by main. */
struct worker_link {
	struct rte_ring *to_worker; /* main: producer */
	struct rte_ring *to_main;   /* worker: producer */
	struct wake *wake; /* of the worker, for who has put something into to_worker; NULL: it looks all the time */
};

/* Everything that a worker is made of; worker_create() allocates it on the worker's socket. */
struct worker_config {
	uint16_t id;
	uint16_t n_workers;
	const struct config *config;
	struct net_config net; /* pool, rings, ports and interfaces filled in by main */
	struct rte_mempool *clones;
	struct worker_link link;
	struct weir_worker_stats *stats;
	struct weir_log_region *log; /* NULL: no access log */
	int socket;	    /* NUMA node of its core */
	uint8_t secret[16]; /* of its TCP */
	uint64_t seed;	    /* for choices that need no secret */
	uint8_t affinity_key[32];   /* the same for all workers */
	struct upstream_caps *caps; /* likewise */
	struct offload_device *offload; /* NULL: TLS in software */
	int bell_fd; /* an eventfd that wakes main; -1: none */
};

struct worker *worker_create(const struct worker_config *wc);
/* Of main, after the loop, and after it has taken back the certificates that are in the link. The worker's own are destroyed. */
void worker_destroy(struct worker *w);
/* For which main makes certificates ready. */
struct tls *worker_tls(const struct worker *w);
/* The wall clock at this time stamp counter. Of main. Returns what added to the worker's now_us is the wall clock's. */
uint64_t worker_set_clock(struct worker *w, uint64_t unix_us, uint64_t tsc);
/* Memory for what the worker's libraries will allocate, so that it does not wait for the kernel. Of main, now and then. */
void worker_make_ready(struct worker *w);
/* The loop (an lcore function); arg is the struct worker. Returns 0 after WORKER_STOP. */
int worker_run(void *arg);

#endif
