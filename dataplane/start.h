/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dataplane as a whole: what is made at start, in order, and unmade at
 * the end, in the opposite order. main.c drives it.
 */
#ifndef WEIR_DATAPLANE_START_H
#define WEIR_DATAPLANE_START_H

#include <stdio.h>

#include "base/sandbox.h"
#include "base/wake.h"
#include "config.h"
#include "ctl.h"
#include "cpu_latency.h"
#include "energy.h"
#include "net/net.h"
#include "net/steer.h"
#include "watchdog.h"
#include "worker.h"

struct announce;
struct exception;
struct kernel_routes;
struct rte_mempool;
struct rte_ring;

/* What main does about a port whose device is gone: ports.c. */
struct port_watch {
	enum { PORT_SERVES, PORT_IS_LEFT, PORT_IS_CLOSED } phase;
	uint64_t n_loops[WEIR_MAX_WORKERS]; /* of each worker when it was told to leave the port */
	uint64_t retry_ms, wait_ms; /* PORT_IS_CLOSED: when it is looked for next; 0: never */
	uint64_t n_missed, told_ms; /* of what the device lost, as was logged last, and when */
};

/* Everything that main owns. Zeroed at first; each start_ step fills in its part. */
struct dataplane {
	struct config config;
	struct weir_stats_region *stats;
	int stats_fd;
	struct weir_diag_region *diag;
	int diag_fd;
	struct weir_log_region *log; /* NULL: no access log */
	int log_fd;
	struct rte_mempool *kernel_pool; /* of frames from the kernel; NULL: no port has it beside it */
	struct rte_mempool *pools[WEIR_MAX_WORKERS];
	struct rte_mempool *clones[WEIR_MAX_WORKERS];
	struct rte_ring *redirect[WEIR_MAX_WORKERS * WEIR_MAX_WORKERS]; /* [to * n_workers + from] */
	struct rte_ring *redirect_out[WEIR_MAX_WORKERS * WEIR_MAX_WORKERS]; /* the same rings as [from * n_workers + to] */
	struct worker_link links[WEIR_MAX_WORKERS];
	struct wake wakes[WEIR_MAX_WORKERS]; /* wake_up(): whoever has something for a worker that may sleep */
	unsigned n_ports;
	struct net_port ports[WEIR_MAX_PORTS];
	struct port_watch watches[WEIR_MAX_PORTS];
	struct net_iface ifaces[NET_MAX_IFACES];
	struct exception *exception; /* NULL: no port has the kernel beside it */
	struct kernel_routes *kernel_routes; /* NULL: none are learned */
	struct announce *announce;   /* NULL: nothing is announced */
	struct steer steer;
	uint8_t affinity_key[32];
	struct upstream_caps *caps;
	struct offload_device *offload; /* NULL: TLS in software */
	bool is_offload_down[WEIR_MAX_WORKERS]; /* as was logged */
	struct worker *workers[WEIR_MAX_WORKERS];
	struct watch watch[WEIR_MAX_WORKERS];
	unsigned n_launched;
	struct energy energy;
	struct cpu_latency cpu_latency;
	struct ctl *ctl;
};

/* Starts everything, or undoes what it did and returns -errno after logging why. The configuration is filled in. */
int dataplane_start(struct dataplane *d);
/* Stops the workers and undoes all. */
void dataplane_stop(struct dataplane *d);

/*
 * sandbox.c: gives up, for good and in all threads, the capabilities and system calls that nothing needs from here on. Once
 * all is started. 0, or -errno after logging.
 */
int dataplane_sandbox(const struct dataplane *d, enum sandbox_mode mode);

/* ports.c: what port i is to be. */
struct net_port_config dataplane_port_config(struct dataplane *d, unsigned i);
/* What the ports are and who does what, into the statistics, when all is known of them. */
void dataplane_report_ports(struct dataplane *d);
/* Looks at links and devices: the statistics, the log, and what has to be done when a device goes or comes back. */
void dataplane_update_ports(struct dataplane *d);

/* Tells the workers and the access log what time it is: the workers' clocks drift against the wall clock, and that may be set. */
void dataplane_update_clocks(struct dataplane *d);

/* Estimates what energy was used, for the statistics. */
void dataplane_update_energy(struct dataplane *d);

/* start_offload.c: a step of the start. */
int start_offload(struct dataplane *d);
void stop_offload(struct dataplane *d);
/* Logs when the device of TLS dies or lives again, as workers see it. */
void dataplane_update_offload(struct dataplane *d);

/* Takes memory that the workers will soon need. */
void dataplane_make_ready(struct dataplane *d);

/* Starts DPDK for this configuration. 0 or -errno. */
int eal_start(const struct config *c);
/* Memory in MiB that the pools of this configuration need. */
uint32_t eal_memory_mb(const struct config *c);
/* What this configuration needs of the host, as one JSON object: "pci" (addresses), "cores", "main_core" (null: any), "idle",
 * "hugepages", "memory_mb", "offload" (true: handshakes are given to a device). scripts/weir-host reads it. */
void eal_write_needs(const struct config *c, FILE *f);

#endif
