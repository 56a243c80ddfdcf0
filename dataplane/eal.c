/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From weir.yaml to DPDK's own arguments. Ports are not among them: virtual
 * ones are probed later, one by one, so that an error can name its port.
 */
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>

#include "base/log.h"
#include "start.h"
#include "weir/snapshot.h"

#define MAX_ARGS (32 + WEIR_MAX_PORTS * NET_BOND_MEMBERS * 2)
#define MBUF_COST 448	/* a packet buffer's headers in the pool, without its data */
#define CLONE_COST 256
#define FLIGHT_COST 576	/* records of what is in flight, for each packet buffer */
#define CONN_COST 640	/* TCP's object and its place in the table (576), the proxy's client (64) */
#define UPSTREAM_COST 128
#define BBR_COST 320 /* cc_bbr.c holds its state to that */
#define WAITING_COST 160 /* a connection in SYN-RECEIVED or TIME-WAIT, with its place in the table */
#define PREFIX_COST 64
#define NEIGHBOUR_COST 160
#define TLS_COST 512 /* Weir's own of a TLS session; OpenSSL's, some ten times of it, is of the process's heap */
#define MSG_COST 32  /* of a question for a certificate, until main has read it */

struct args {
	int n;
	char *v[MAX_ARGS + 1];
};

static void add(struct args *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void add(struct args *a, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (a->n >= (int)MAX_ARGS || vasprintf(&a->v[a->n], fmt, ap) < 0)
		abort(); /* start-up, and out of memory */
	a->n++;
	va_end(ap);
}

uint32_t eal_memory_mb(const struct config *c)
{
	uint64_t per_worker = (uint64_t)c->n_mbufs * (MBUF_COST + config_mbuf_bytes(c)) + (uint64_t)c->n_mbufs * CLONE_COST +
			      (uint64_t)c->n_mbufs * FLIGHT_COST +
			      (uint64_t)c->n_connections * CONN_COST + (uint64_t)c->n_upstreams * UPSTREAM_COST +
			      (uint64_t)config_n_bbr(c) * BBR_COST + (uint64_t)c->n_prefixes * PREFIX_COST +
			      (uint64_t)c->n_neighbours * NEIGHBOUR_COST +
			      ((uint64_t)c->n_syn + (c->n_time_wait ? c->n_time_wait : c->n_connections)) * WAITING_COST +
			      (uint64_t)config_n_tls_sessions(c) * TLS_COST + (uint64_t)config_n_certificates(c) * MSG_COST +
			      (uint64_t)c->n_requests * (16384 + 2 * (uint64_t)c->headers_bytes + 2 * WEIR_MAX_FILTER_BYTES) +
			      (uint64_t)c->n_tunnels * (64 + (c->access_log_kb ? WEIR_LOG_RECORD : 0)) +
			      (uint64_t)c->n_mirrors * (8192 + (uint64_t)c->headers_bytes) +
			      (uint64_t)c->n_endpoints * 512 + (uint64_t)c->n_backends * 512 + (uint64_t)c->balance_kb * 1024 +
			      (uint64_t)c->n_workers * c->redirect_ring * 8 + (4u << 20);

	/* A fifth for alignment and fragments, and room for snapshots: two copies of the largest that fits the arena. */
	return (uint32_t)((per_worker * c->n_workers * 6 / 5) >> 20) + 2 * c->n_workers * c->arena_mb + 128;
}

void eal_write_needs(const struct config *c, FILE *f)
{
	fprintf(f, "{\"pci\": [");
	for (unsigned i = 0; config_pci(c, i); i++)
		fprintf(f, "%s\"%s\"", i ? ", " : "", config_pci(c, i));
	fprintf(f, "], \"cores\": [");
	for (unsigned i = 0; i < c->n_workers; i++)
		fprintf(f, "%s%u", i ? ", " : "", c->worker_cores[i]);
	fprintf(f, "], \"main_core\": ");
	if (c->main_core >= 0)
		fprintf(f, "%d", c->main_core);
	else
		fprintf(f, "null");
	fprintf(f, ", \"idle\": \"%s\", \"hugepages\": %s, \"memory_mb\": %u, \"offload\": %s}\n", config_idle_names[c->idle],
		c->hugepages ? "true" : "false", c->memory_mb ? c->memory_mb : eal_memory_mb(c),
		c->offload.kind != OFFLOAD_SOFTWARE ? "true" : "false");
}

/* lcore 0 is main; lcore i + 1 is worker i on its core. */
static void add_lcores(struct args *a, const struct config *c)
{
	char list[WEIR_MAX_WORKERS * 16 + 4096];
	cpu_set_t set;
	int n;

	if (c->main_core >= 0) {
		n = snprintf(list, sizeof(list), "0@%d", c->main_core);
	} else {
		const char *sep = "";

		n = snprintf(list, sizeof(list), "0@(");
		CPU_ZERO(&set);
		sched_getaffinity(0, sizeof(set), &set);
		for (int i = 0; i < CPU_SETSIZE && n < 4000; i++)
			if (CPU_ISSET(i, &set)) {
				n += snprintf(list + n, sizeof(list) - (size_t)n, "%s%d", sep, i);
				sep = ",";
			}
		n += snprintf(list + n, sizeof(list) - (size_t)n, ")");
	}
	for (unsigned i = 0; i < c->n_workers; i++)
		n += snprintf(list + n, sizeof(list) - (size_t)n, ",%u@%u", i + 1, c->worker_cores[i]);
	add(a, "--lcores");
	add(a, "%s", list);
	add(a, "--main-lcore");
	add(a, "0");
}

/* A memif without copies hands its peer the packet buffers themselves: they must lie in one file. */
static bool wants_one_file(const struct config *c)
{
	for (unsigned i = 0; i < c->n_ports; i++) {
		if (!c->ports[i].is_pci && strstr(c->ports[i].device, "zero-copy=yes"))
			return true;
		for (unsigned m = 0; m < c->ports[i].bond.n_members; m++)
			if (strstr(c->ports[i].bond.members[m], "zero-copy=yes"))
				return true;
	}
	return false;
}

static void add_memory(struct args *a, const struct config *c)
{
	uint32_t mb = c->memory_mb ? c->memory_mb : eal_memory_mb(c);

	if (wants_one_file(c))
		add(a, "--single-file-segments");
	if (c->hugepages) {
		add(a, "--in-memory"); /* no file is left behind, however the process ends */
		if (c->memory_mb || wants_one_file(c)) { /* what comes later would not be among what the peer was given */
			add(a, "-m");
			add(a, "%u", mb);
		}
		return;
	}
	add(a, "--no-huge");
	add(a, "--no-shconf");
	add(a, "-m");
	add(a, "%u", mb);
}

static void add_devices(struct args *a, const struct config *c)
{
	for (unsigned i = 0; config_pci(c, i); i++) {
		add(a, "--allow");
		add(a, "%s", config_pci(c, i));
	}
	if (!config_pci(c, 0))
		add(a, "--no-pci");
}

/* A number of sysfs, such as a PCI device's "vendor". 0: there is none. */
static unsigned long pci_id(const char *device, const char *which)
{
	unsigned long id = 0;
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.*s/%s", (int)strcspn(device, ","), device, which);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (fscanf(f, "%lx", &id) != 1)
		id = 0;
	fclose(f);
	return id;
}

static bool is_82574(const char *device)
{
	unsigned long id = pci_id(device, "device");

	return pci_id(device, "vendor") == 0x8086 && (id == 0x10d3 || id == 0x10f6);
}

/*
 * VFIO takes MSI-X where a device has it. net_e1000_em serves one that does, the 82574, and never maps its receive queue to a vector (IVAR): its
 * receive interrupts come by MSI only. The choice is one for all devices, and by MSI others have one vector for all of their queues.
 */
static void add_interrupts(struct args *a, const struct config *c)
{
	unsigned i = 0;

	while (config_pci(c, i) && is_82574(config_pci(c, i)))
		i++;
	if (c->idle == IDLE_MODE_INTERRUPT && i > 0 && !config_pci(c, i))
		add(a, "--vfio-intr=msi");
}

int eal_start(const struct config *c)
{
	static struct args a; /* DPDK keeps pointers to the strings */
	static char *argv[MAX_ARGS + 1]; /* and moves them about */
	int rc;

	add(&a, "weir-dataplane");
	add(&a, "--no-telemetry");
	add(&a, "--log-level=lib.*:error");
	add(&a, "--log-level=pmd.*:error");
	add(&a, "--log-level=pmd.net.tap:critical"); /* it complains of flow rules, which nobody asked for */
	add(&a, "--file-prefix");
	if (c->file_prefix[0])
		add(&a, "%s", c->file_prefix);
	else
		add(&a, "weir-%d", (int)getpid());
	add_lcores(&a, c);
	add_memory(&a, c);
	add_devices(&a, c);
	add_interrupts(&a, c);
	memcpy(argv, a.v, sizeof(argv));
	rc = rte_eal_init(a.n, argv);
	if (rc < 0) {
		log_error("DPDK does not start: %s%s", rte_strerror(rte_errno),
			  c->hugepages ? " (are hugepages reserved? memory: {hugepages: false} goes without)" : "");
		return -(rte_errno ? rte_errno : EIO);
	}
	return 0;
}
