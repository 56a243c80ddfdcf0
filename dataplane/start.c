/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ordered start and the mirrored stop. Each step has its undo beside it;
 * a step that fails undoes itself, and dataplane_start() the ones before it.
 */
#include "start.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_ring.h>
#include <rte_ring_elem.h>

#include "announce.h"
#include "base/log.h"
#include "dump.h"
#include "exception.h"
#include "host_check.h"
#include "kernel_routes.h"
#include "upstream/upstream.h"

#define POOL_CACHE 256
#define STOP_WAIT_MS 2000
#define MAX_CAPS 8192 /* backends with a bound of connections, in the life of a dataplane: 2 MiB */

static int lcore_socket(unsigned worker)
{
	int socket = (int)rte_lcore_to_socket_id(worker + 1);

	return rte_eal_has_hugepages() ? socket : SOCKET_ID_ANY;
}

static int start_eal(struct dataplane *d)
{
	int rc = eal_start(&d->config);

	if (rc == 0)
		dump_hide_pools();
	return rc;
}

static void stop_eal(struct dataplane *d)
{
	rte_eal_cleanup();
}

static int start_stats(struct dataplane *d)
{
	d->stats = ctl_stats_create(d->config.n_workers, &d->stats_fd);
	if (!d->stats) {
		log_error("no memory for the statistics: %s", strerror(errno));
		return -ENOMEM;
	}
	d->stats->tsc_hz = rte_get_tsc_hz();
	return 0;
}

static void stop_stats(struct dataplane *d)
{
	ctl_stats_destroy(d->stats, d->stats_fd);
	d->stats = NULL;
}

static int start_diag(struct dataplane *d)
{
	d->diag = ctl_diag_create(d->config.n_workers, d->config.capture_kb, &d->diag_fd);
	if (d->diag)
		return 0;
	log_error("no memory for the diagnostics: %s", strerror(errno));
	return -ENOMEM;
}

static void stop_diag(struct dataplane *d)
{
	ctl_diag_destroy(d->diag, d->diag_fd);
	d->diag = NULL;
}

static int start_log(struct dataplane *d)
{
	if (d->config.access_log_kb == 0)
		return 0;
	d->log = ctl_log_create(d->config.n_workers, d->config.access_log_kb, &d->log_fd);
	if (!d->log) {
		log_error("no memory for the access log: %s", strerror(errno));
		return -ENOMEM;
	}
	return 0;
}

static void stop_log(struct dataplane *d)
{
	ctl_log_destroy(d->log, d->log_fd);
	d->log = NULL;
}

/* Both at the same moment, as near as a thread that may be interrupted can tell: the closest of a few. */
static void read_clocks(uint64_t *unix_us, uint64_t *tsc)
{
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < 5; i++) {
		struct timespec t;
		uint64_t before = rte_rdtsc();
		uint64_t took;

		clock_gettime(CLOCK_REALTIME, &t);
		took = rte_rdtsc() - before;
		if (took >= best)
			continue;
		best = took;
		*tsc = before + took / 2;
		*unix_us = (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
	}
}

void dataplane_update_clocks(struct dataplane *d)
{
	uint64_t unix_us = 0, tsc = 0;

	read_clocks(&unix_us, &tsc);
	for (unsigned i = 0; i < d->config.n_workers; i++) {
		uint64_t offset = worker_set_clock(d->workers[i], unix_us, tsc);

		if (d->log)
			__atomic_store_n(&ctl_log_worker(d->log, i)->unix_offset_us, offset, __ATOMIC_RELAXED);
	}
}

void dataplane_make_ready(struct dataplane *d)
{
	for (unsigned i = 0; i < d->config.n_workers; i++)
		worker_make_ready(d->workers[i]);
}

static void stop_pools(struct dataplane *d)
{
	for (unsigned i = 0; i < d->config.n_workers; i++) {
		rte_mempool_free(d->pools[i]);
		rte_mempool_free(d->clones[i]);
	}
	rte_mempool_free(d->kernel_pool);
}

/* A pool that need not be contiguous to a device has no addresses for it (rte_mempool_populate_virt()); here they are those that the process has. */
static void init_mbuf(struct rte_mempool *pool, void *arg, void *obj, unsigned i)
{
	if (rte_eal_iova_mode() == RTE_IOVA_VA)
		rte_mempool_get_header(obj)->iova = (uintptr_t)obj;
	rte_pktmbuf_init(pool, arg, obj, i);
}

/*
 * As rte_pktmbuf_pool_create(), but where any memory is contiguous to a device, no gap keeps mbufs from crossing
 * pages: without hugepages it would be near half of a page for each, and net_af_xdp of DPDK 22.11 does not count it when
 * it tells the kernel where frames lie: those behind the end are lost. For a NIC in hugepages there is one: QEMU's models
 * drop what they are to send from two pages.
 */
static struct rte_mempool *create_pool(const char *name, unsigned n, uint16_t data_bytes, int socket, bool is_for_nic)
{
	struct rte_pktmbuf_pool_private priv = {.mbuf_data_room_size = data_bytes};
	bool may_cross = rte_eal_iova_mode() == RTE_IOVA_VA && !(is_for_nic && rte_eal_has_hugepages());
	unsigned flags = may_cross ? RTE_MEMPOOL_F_NO_IOVA_CONTIG : 0;
	struct rte_mempool *pool = rte_mempool_create_empty(name, n, sizeof(struct rte_mbuf) + data_bytes, POOL_CACHE, sizeof(priv),
							    socket, flags);

	if (!pool)
		return NULL;
	rte_pktmbuf_pool_init(pool, &priv);
	if (rte_mempool_populate_default(pool) < 0) {
		rte_mempool_free(pool);
		return NULL;
	}
	rte_mempool_obj_iter(pool, init_mbuf, NULL);
	return pool;
}

static int start_kernel_pool(struct dataplane *d, bool is_for_nic)
{
	if (!exception_is_wanted(&d->config))
		return 0;
	d->kernel_pool = create_pool("mbufs-kernel", EXCEPTION_N_MBUFS, (uint16_t)(RTE_PKTMBUF_HEADROOM + config_mbuf_bytes(&d->config)), SOCKET_ID_ANY, is_for_nic);
	if (d->kernel_pool)
		return 0;
	log_error("no memory for %u packet buffers of the kernel beside a port: %s", EXCEPTION_N_MBUFS, rte_strerror(rte_errno));
	stop_pools(d);
	return -ENOMEM;
}

static int start_pools(struct dataplane *d)
{
	bool is_for_nic = config_pci(&d->config, 0) != NULL;

	for (unsigned i = 0; i < d->config.n_workers; i++) {
		char name[RTE_MEMPOOL_NAMESIZE];
		unsigned n = d->config.n_mbufs;

		snprintf(name, sizeof(name), "mbufs-%u", i);
		d->pools[i] = create_pool(name, n, (uint16_t)(RTE_PKTMBUF_HEADROOM + config_mbuf_bytes(&d->config)), lcore_socket(i), is_for_nic);
		snprintf(name, sizeof(name), "clones-%u", i);
		d->clones[i] = create_pool(name, n, 0, lcore_socket(i), is_for_nic);
		if (!d->pools[i] || !d->clones[i]) {
			log_error("no memory for %u packet buffers of worker %u (memory: needs about %u MiB): %s", n, i,
				  eal_memory_mb(&d->config), rte_strerror(rte_errno));
			stop_pools(d);
			return -ENOMEM;
		}
	}
	return start_kernel_pool(d, is_for_nic);
}

static struct rte_mbuf *ring_pop(struct rte_ring *r)
{
	void *m;

	return rte_ring_sc_dequeue(r, &m) == 0 ? m : NULL;
}

static void stop_rings(struct dataplane *d)
{
	unsigned n = d->config.n_workers;

	for (unsigned i = 0; i < n * n; i++) {
		struct rte_mbuf *m;

		while (d->redirect[i] && (m = ring_pop(d->redirect[i])) != NULL)
			rte_pktmbuf_free(m);
		rte_ring_free(d->redirect[i]);
	}
	for (unsigned i = 0; i < n; i++) {
		rte_ring_free(d->links[i].to_worker);
		rte_ring_free(d->links[i].to_main);
		wake_fini(&d->wakes[i]);
	}
}

static bool make_redirect(struct dataplane *d, unsigned from, unsigned to)
{
	unsigned n = d->config.n_workers;
	char name[RTE_RING_NAMESIZE];
	struct rte_ring *r;

	snprintf(name, sizeof(name), "steer-%u-%u", from, to);
	r = rte_ring_create(name, d->config.redirect_ring, lcore_socket(to), RING_F_SP_ENQ | RING_F_SC_DEQ);
	d->redirect[to * n + from] = r;
	d->redirect_out[from * n + to] = r;
	return r != NULL;
}

static bool make_link(struct dataplane *d, unsigned i)
{
	struct worker_link *l = &d->links[i];
	unsigned flags = RING_F_SP_ENQ | RING_F_SC_DEQ;
	char name[RTE_RING_NAMESIZE];

	snprintf(name, sizeof(name), "worker-%u", i);
	l->to_worker = rte_ring_create_elem(name, sizeof(struct worker_msg), WORKER_RING_SIZE, lcore_socket(i), flags);
	snprintf(name, sizeof(name), "main-%u", i);
	l->to_main = rte_ring_create_elem(name, sizeof(struct worker_msg), WORKER_RING_SIZE, lcore_socket(i), flags);
	return l->to_worker && l->to_main;
}

/* Of a worker that may sleep until it is called. */
static bool make_wake(struct dataplane *d, unsigned i)
{
	int rc;

	if (d->config.idle != IDLE_MODE_INTERRUPT)
		return true;
	rc = wake_init(&d->wakes[i]);
	rte_errno = -rc;
	d->links[i].wake = &d->wakes[i];
	return rc == 0;
}

static int start_rings(struct dataplane *d)
{
	unsigned n = d->config.n_workers;
	bool ok = true;

	for (unsigned i = 0; i < n && ok; i++) {
		ok = make_link(d, i) && make_wake(d, i);
		for (unsigned j = 0; j < n && ok; j++)
			ok = i == j || make_redirect(d, i, j);
	}
	if (ok)
		return 0;
	log_error("no memory for the rings between workers: %s", rte_strerror(rte_errno));
	stop_rings(d);
	return -ENOMEM;
}

static void stop_ports(struct dataplane *d)
{
	while (d->n_ports > 0)
		port_stop(&d->ports[--d->n_ports]);
}

static int start_ports(struct dataplane *d)
{
	for (unsigned i = 0; i < d->config.n_ports; i++) {
		const struct net_port_config pc = dataplane_port_config(d, i);
		int rc = port_start(&pc, &d->ports[i]);

		if (rc) {
			stop_ports(d);
			return rc;
		}
		d->n_ports++;
	}
	for (unsigned i = 0; i < d->config.n_ifaces; i++) {
		const struct config_iface *ci = &d->config.ifaces[i];

		d->ifaces[i] = ci->net;
		d->ifaces[i].port_id = d->ports[ci->port].port_id;
		memcpy(d->ifaces[i].mac, d->ports[ci->port].mac, 6);
		if (!d->ifaces[i].mtu || d->ifaces[i].mtu > d->ports[ci->port].mtu)
			d->ifaces[i].mtu = d->ports[ci->port].mtu;
	}
	return 0;
}

static int start_exception(struct dataplane *d)
{
	return exception_create(&d->config, d->ports, d->kernel_pool, d->links[0].wake, d->stats, &d->exception);
}

static void stop_exception(struct dataplane *d)
{
	exception_destroy(d->exception);
}

static int start_kernel_routes(struct dataplane *d)
{
	return kernel_routes_create(&d->config, d->exception, d->ctl, &d->kernel_routes);
}

static void stop_kernel_routes(struct dataplane *d)
{
	kernel_routes_destroy(d->kernel_routes);
}

static int start_announce(struct dataplane *d)
{
	return announce_create(&d->config, d->exception, d->stats, &d->announce);
}

static void stop_announce(struct dataplane *d)
{
	announce_destroy(d->announce);
}

static void stop_steering(struct dataplane *d)
{
	steer_stop(&d->steer, d->ports, d->n_ports);
}

static int start_steering(struct dataplane *d)
{
	const struct config *c = &d->config;
	uint8_t random[STEER_KEY_BYTES];

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return -EIO;
	steer_init(&d->steer, (uint16_t)c->n_workers, c->port_lo, c->port_hi);
	steer_start(&d->steer, c->steering, random, d->ports, d->n_ports);
	dataplane_report_ports(d);
	return 0;
}

static int start_energy(struct dataplane *d)
{
	energy_open(&d->energy, ENERGY_ROOT, (unsigned)sysconf(_SC_NPROCESSORS_ONLN));
	return 0;
}

static void stop_energy(struct dataplane *d)
{
	energy_close(&d->energy);
}

void dataplane_update_energy(struct dataplane *d)
{
	uint64_t busy = 0;

	for (unsigned i = 0; i < d->config.n_workers; i++)
		busy += __atomic_load_n(&ctl_stats_worker(d->stats, i)->counter[WEIR_C_BUSY_CYCLES], __ATOMIC_RELAXED);
	energy_update(&d->energy, busy, rte_rdtsc());
	__atomic_store_n(&d->stats->energy_packages_uj, d->energy.packages_uj, __ATOMIC_RELAXED);
	__atomic_store_n(&d->stats->energy_workers_uj, d->energy.workers_uj, __ATOMIC_RELAXED);
}

/* Whoever sleeps in the kernel leaves its core to sleep, too. */
static int start_cpu_latency(struct dataplane *d)
{
	const struct config *c = &d->config;

	if (c->idle >= IDLE_MODE_SLEEP)
		cpu_latency_bound(&d->cpu_latency, CPU_LATENCY_ROOT, c->worker_cores, c->n_workers, c->idle_latency_us);
	return 0;
}

static void stop_cpu_latency(struct dataplane *d)
{
	cpu_latency_restore(&d->cpu_latency);
}

/* 32 bytes as hex digits, and perhaps the end of a line. */
static bool read_key(const char *path, uint8_t key[32])
{
	char text[66] = "";
	FILE *f = fopen(path, "r");
	size_t n;

	if (!f)
		return false;
	errno = EINVAL; /* of a file that can be read, and is wrong */
	n = fread(text, 1, sizeof(text), f);
	fclose(f);
	if (n == 65 && text[64] == '\n')
		n--;
	if (n != 64 || strspn(text, "0123456789abcdefABCDEF") != 64)
		return false;
	for (unsigned i = 0; i < 32; i++) {
		const char pair[3] = {text[2 * i], text[2 * i + 1], 0};

		key[i] = (uint8_t)strtoul(pair, NULL, 16);
	}
	return true;
}

static int start_affinity(struct dataplane *d)
{
	const char *path = d->config.affinity_key_file;

	if (*path && !read_key(path, d->affinity_key)) {
		log_error("affinity: key_file: %s: %s; expected 64 hex digits (32 bytes)", path, strerror(errno));
		return -EINVAL;
	}
	if (!*path) {
		if (getrandom(d->affinity_key, sizeof(d->affinity_key), 0) != (ssize_t)sizeof(d->affinity_key))
			return -EIO;
		log_info("affinity: no key_file: cookies of sessions do not outlive this dataplane, and no other one knows them");
	}
	d->caps = upstream_caps_create(d->config.n_backends < MAX_CAPS ? d->config.n_backends : MAX_CAPS);
	return d->caps ? 0 : -ENOMEM;
}

static void stop_affinity(struct dataplane *d)
{
	upstream_caps_destroy(d->caps);
}

static void stop_workers(struct dataplane *d)
{
	for (unsigned i = d->config.n_workers; i-- > 0;) {
		ctl_detach_tls(d->ctl, i);
		worker_destroy(d->workers[i]);
	}
}

struct creation {
	const struct worker_config *wc;
	struct worker *worker;
	int error; /* rte_errno, which is each thread's own */
};

static int create_here(void *arg)
{
	struct creation *c = arg;

	c->worker = worker_create(c->wc);
	c->error = rte_errno;
	return 0;
}

/*
 * Its libraries and layers take memory of the node on which they are called: so with several nodes the worker is made on its own core,
 * where main waits for it.
 */
static struct worker *create_near(const struct worker_config *wc)
{
	struct creation c = {.wc = wc};
	unsigned lcore = wc->id + 1u;

	if (rte_socket_count() > 1 && rte_eal_remote_launch(create_here, &c, lcore) == 0)
		rte_eal_wait_lcore(lcore);
	else
		create_here(&c);
	rte_errno = c.error;
	return c.worker;
}

static int start_workers(struct dataplane *d)
{
	unsigned n = d->config.n_workers;
	struct {
		uint8_t secret[16];
		uint64_t seed[WEIR_MAX_WORKERS];
	} random;

	if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return -EIO;
	for (unsigned i = 0; i < n; i++) {
		struct worker_config wc = {
			.id = (uint16_t)i,
			.n_workers = (uint16_t)n,
			.config = &d->config,
			.net = {
				.worker = (uint16_t)i,
				.n_workers = (uint16_t)n,
				.n_ifaces = d->config.n_ifaces,
				.ifaces = d->ifaces,
				.n_ports = d->n_ports,
				.ports = d->ports,
				.pool = d->pools[i],
				.clones = d->clones[i],
				.redirect_in = &d->redirect[i * n],
				.redirect_out = &d->redirect_out[i * n],
				.wakes = d->config.idle == IDLE_MODE_INTERRUPT ? d->wakes : NULL,
				.n_neighbours = d->config.n_neighbours,
				.neighbour_queue = d->config.neighbour_queue,
				.punt = exception_punt(d->exception, i),
				.steer = &d->steer,
				.hands_over = d->config.hands_over,
				.gro = d->config.gro,
			},
			.clones = d->clones[i],
			.link = d->links[i],
			.stats = ctl_stats_worker(d->stats, i),
			.log = d->log,
			.socket = lcore_socket(i),
			.caps = d->caps,
			.offload = d->offload,
			.bell_fd = ctl_bell_fd(d->ctl),
		};

		memcpy(wc.secret, random.secret, sizeof(wc.secret));
		memcpy(wc.affinity_key, d->affinity_key, sizeof(wc.affinity_key));
		wc.seed = random.seed[i];
		d->workers[i] = create_near(&wc);
		if (!d->workers[i]) {
			log_error("no memory for worker %u (memory: needs about %u MiB)", i, eal_memory_mb(&d->config));
			stop_workers(d);
			return -ENOMEM;
		}
		ctl_attach_tls(d->ctl, i, worker_tls(d->workers[i]));
	}
	dataplane_update_clocks(d);
	dataplane_make_ready(d);
	return 0;
}

static int start_ctl(struct dataplane *d)
{
	const struct ctl_config cc = {
		.socket_path = d->config.control_socket,
		.has_uid = d->config.has_control_uid,
		.uid = d->config.control_uid,
		.arena_mb = d->config.arena_mb,
		.n_workers = d->config.n_workers,
		.links = d->links,
		.diag = d->diag,
		.diag_fd = d->diag_fd,
		.log = d->log,
		.log_fd = d->log_fd,
		.certificates_mb = d->config.certificates_mb,
		.tickets = d->config.tickets,
		.ticket_rotate_s = d->config.ticket_rotate_s,
		.paths = d->config.paths,
		.n_paths = d->config.n_paths,
		.vtep = {d->config.vtep[0], d->config.vtep[1]},
	};

	d->ctl = ctl_create(&cc, d->stats, d->stats_fd);
	return d->ctl ? 0 : -EIO;
}

static void stop_ctl(struct dataplane *d)
{
	ctl_destroy(d->ctl);
}

/* Workers that run are told to stop, and their answers awaited, while main's side of the rings is still served. */
static void stop_lcores(struct dataplane *d)
{
	int wait_ms = STOP_WAIT_MS + (d->offload ? (int)d->config.offload.timeout_ms : 0); /* it may have an operation to end */

	ctl_tell_workers(d->ctl, WORKER_STOP);
	for (int i = 0; i < wait_ms && ctl_n_stopped(d->ctl) < d->n_launched; i++)
		ctl_poll(d->ctl, 1);
	for (unsigned i = 0; i < d->n_launched && ctl_n_stopped(d->ctl) < d->n_launched; i++)
		if (rte_eal_get_lcore_state(i + 1) == RUNNING)
			watchdog_end(d, i, "it does not leave its loop");
	rte_eal_mp_wait_lcore();
	d->n_launched = 0;
}

static int start_lcores(struct dataplane *d)
{
	for (unsigned i = 0; i < d->config.n_workers; i++) {
		if (rte_eal_remote_launch(worker_run, d->workers[i], i + 1) != 0) {
			log_error("worker %u does not start on core %u", i, d->config.worker_cores[i]);
			stop_lcores(d);
			return -EBUSY;
		}
		d->n_launched++;
	}
	return 0;
}

static const struct step {
	const char *name;
	int (*start)(struct dataplane *d);
	void (*stop)(struct dataplane *d);
} steps[] = {
	{"host", start_host, stop_host},
	{"DPDK", start_eal, stop_eal},
	{"statistics", start_stats, stop_stats},
	{"diagnostics", start_diag, stop_diag},
	{"access log", start_log, stop_log},
	{"packet buffers", start_pools, stop_pools},
	{"rings", start_rings, stop_rings},
	{"ports", start_ports, stop_ports},
	{"exception path", start_exception, stop_exception},
	{"steering", start_steering, stop_steering},
	{"control socket", start_ctl, stop_ctl}, /* before the workers: at the end it frees what they give back */
	{"energy", start_energy, stop_energy},
	{"time to wake", start_cpu_latency, stop_cpu_latency},
	{"affinity", start_affinity, stop_affinity},
	{"TLS offload", start_offload, stop_offload},
	{"workers", start_workers, stop_workers},
	{"watchdog", start_watchdog, stop_watchdog},
	{"worker cores", start_lcores, stop_lcores},
	{"routes of the kernel", start_kernel_routes, stop_kernel_routes},
	{"announcements", start_announce, stop_announce},
};

#define N_STEPS (sizeof(steps) / sizeof(*steps))

static void stop_from(struct dataplane *d, size_t n)
{
	while (n-- > 0) {
		log_debug("stopping: %s", steps[n].name);
		steps[n].stop(d);
	}
}

int dataplane_start(struct dataplane *d)
{
	for (size_t i = 0; i < N_STEPS; i++) {
		int rc;

		log_debug("starting: %s", steps[i].name);
		rc = steps[i].start(d);
		if (rc) {
			log_error("start failed at: %s", steps[i].name);
			stop_from(d, i);
			return rc;
		}
	}
	return 0;
}

void dataplane_stop(struct dataplane *d)
{
	stop_from(d, N_STEPS);
}
