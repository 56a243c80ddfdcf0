/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a way to a pod costs for each segment sent, in cycles of the time stamp counter, on a port that takes all
 * and does nothing: a pod on the port's own network, one behind a next hop, one in a VXLAN tunnel; with checksums by the
 * device (which computes none here) and in software. Not a test: prints. Run by hand.
 *
 *   bench_ways
 */
#include <stdio.h>

#include <x86intrin.h>

#include "../unit/net/rig.h"
#include "net/fib.h"

#include "../eal.h"

#define N_BATCH 32u
#define N_BATCHES 400u
#define N_TRIES 31u
#define N_PODS 64u /* flows of a batch go to pods of one prefix each */

static const uint8_t far_mac[6] = {2, 0, 0, 0, 7, 7};

/* N_PODS routes of /24 that are used, and more of the same length. NULL: no memory. */
static struct fib *make_fib(enum weir_pod_path_kind kind, unsigned n_routes)
{
	struct fib_hop hop = {.via = rig_ip(RIG_HIM4), .kind = (uint8_t)kind, .iface = FIB_ANY_IFACE};
	struct weir_vtep vtep = {.source = rig_ip("10.244.255.0"), .port = 8472, .vni = 1, .mac = {2, 0, 0, 0, 9, 9}};
	struct fib_route *routes = calloc(n_routes, sizeof(*routes));
	struct fib *f;

	memcpy(hop.mac, far_mac, 6);
	for (unsigned i = 0; routes && i < n_routes; i++) {
		char text[32];

		snprintf(text, sizeof(text), "%u.%u.%u.0", 11 + i / 65536, i / 256 % 256, i % 256);
		routes[i] = (struct fib_route){.prefix = rig_ip(text), .len = 24, .n_hops = 1, .hops = &hop};
	}
	f = routes ? fib_create(routes, n_routes, &vtep, 1) : NULL;
	free(routes);
	return f;
}

static void send_one(const struct weir_ip *remote, uint16_t port, unsigned n)
{
	struct ip_flow flow = {.local = rig_ip(RIG_US4), .remote = *remote, .local_port = port, .remote_port = 80};
	struct rte_mbuf *m = rte_pktmbuf_alloc(rig.pool);
	uint8_t *h = m ? (uint8_t *)rte_pktmbuf_append(m, (uint16_t)(20 + n)) : NULL;

	if (!h)
		abort();
	memset(h, 0, 20);
	h[0] = (uint8_t)(port >> 8);
	h[1] = (uint8_t)port;
	h[3] = 80;
	h[12] = 0x50;
	h[13] = 0x10;
	net_output_tcp(rig.net[0], m, &flow, 0, rig.now);
}

/* Cycles for each segment: the least of all tries, since all else is noise. */
static double measure(const struct weir_ip *pods, unsigned n)
{
	double best = 1e9;

	for (unsigned t = 0; t < N_TRIES; t++) {
		uint64_t start = __rdtsc();

		for (unsigned b = 0; b < N_BATCHES; b++) {
			for (unsigned i = 0; i < N_BATCH; i++)
				send_one(&pods[(b + i) % N_PODS], (uint16_t)(20000 + i), n);
			net_flush(rig.net[0]);
		}
		start = __rdtsc() - start;
		if ((double)start / (N_BATCH * N_BATCHES) < best)
			best = (double)start / (N_BATCH * N_BATCHES);
	}
	return best;
}

static void row(const char *name, enum weir_pod_path_kind kind, unsigned n_routes, bool by_device)
{
	struct weir_ip pods[N_PODS];
	struct fib *f = NULL;

	rig.port.caps.tx_csum_ip = rig.port.caps.tx_csum_l4 = by_device;
	rig_setup(NULL);
	rig_know_neighbours();
	rig.n_sent = RIG_MAX; /* nobody looks at what is sent */
	for (unsigned i = 0; i < N_PODS; i++) {
		char text[32];

		snprintf(text, sizeof(text), "11.0.%u.5", i);
		pods[i] = rig_ip(n_routes ? text : RIG_HIM4);
	}
	if (n_routes) {
		f = make_fib(kind, n_routes);
		if (!f)
			abort();
		net_set_fib(rig.net[0], f);
	}
	printf("| %s | %s | %.0f | %.0f |\n", name, by_device ? "device" : "software", measure(pods, 0), measure(pods, 1398));
	if (rig_counter(WEIR_C_TX_PACKETS) < (uint64_t)N_TRIES * N_BATCHES * N_BATCH)
		abort(); /* not all was sent */
	rig_teardown(NULL);
	fib_destroy(f);
}

int main(void)
{
	test_eal_init();
	if (rig_start(NULL) != 0)
		return 1;
	printf("| way to the pod | checksums | cycles, no payload | cycles, 1398 bytes |\n| --- | --- | --- | --- |\n");
	for (int by_device = 1; by_device >= 0; by_device--) {
		row("the port's own network", WEIR_PATH_ROUTE, 0, by_device);
		row("next hop, 64 routes", WEIR_PATH_ROUTE, 64, by_device);
		row("next hop, 10,000 routes", WEIR_PATH_ROUTE, 10000, by_device);
		row("VXLAN, 64 routes", WEIR_PATH_VXLAN, 64, by_device);
		row("VXLAN, 10,000 routes", WEIR_PATH_VXLAN, 10000, by_device);
	}
	return 0;
}
