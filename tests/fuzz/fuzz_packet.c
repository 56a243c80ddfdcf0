/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any frames to two workers' network layers with TCP above, joined by their
 * redirect rings: the input is a list of frames, each with a length, a worker
 * and a step of time. Checksums are made right where a flag says so, so that
 * the layers behind them are reached (in a tunnel of VXLAN, too, if it ends at ours); another flag says that the frame is
 * received together with the next one; a third one that the kernel sent it. The kernel stands beside the port, and shares
 * one address. Nothing may crash, and every mbuf must come back.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include "../eal.h"
#include "mend.h"
#include "served.h"
#include "base/wheel.h"
#include "net/net.h"
#include "net/net_pvt.h"
#include "net/steer.h"
#include "tcp/tcp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define N_WORKERS 2
#define N_MBUFS 2047

struct worker {
	struct wheel wheel;
	struct weir_worker_stats stats;
	struct net *net;
	struct tcp_stack *tcp;
};

static struct rte_mempool *pool, *clones;
static struct rte_ring *rings[N_WORKERS * N_WORKERS], *out[N_WORKERS * N_WORKERS];
static struct net_iface iface = {.mtu = 1500, .mac = {2, 0, 0, 0, 0, 1}, .has_gw4 = true, .has_gw6 = true};
static struct net_port port = {.n_queues = N_WORKERS, .mtu = 1500};
static struct rte_ring *up[N_WORKERS], *down;
static struct steer steer;
static struct worker workers[N_WORKERS];
static struct fib *fib;

/* Tunnels to 10.244.1.0/24 by 10.0.0.9 and to fd44:1::/64 by fd00::9, a route to 10.245.0.0/16. Ours: 10.244.9.0, fd44:9::, VNI 1, port 8472. */
static void make_fib(void)
{
	struct weir_vtep vteps[2] = {{.mac = {2, 0, 0, 0, 9, 9}, .port = 8472, .vni = 1}, {.mac = {2, 0, 0, 0, 9, 9}, .port = 8472, .vni = 1}};
	struct fib_hop hops[3] = {{.kind = WEIR_PATH_VXLAN, .mac = {2, 7}}, {.kind = WEIR_PATH_VXLAN, .mac = {2, 7}, .vtep = 1},
				  {.kind = WEIR_PATH_ROUTE, .iface = FIB_ANY_IFACE}};
	struct fib_route routes[3] = {{.len = 24, .n_hops = 1, .hops = &hops[0]}, {.len = 64, .n_hops = 1, .hops = &hops[1]},
				      {.len = 16, .n_hops = 1, .hops = &hops[2]}};

	ip_parse("10.244.9.0", 10, &vteps[0].source);
	ip_parse("fd44:9::", 8, &vteps[1].source);
	ip_parse("10.0.0.9", 8, &hops[0].via);
	ip_parse("fd00::9", 7, &hops[1].via);
	ip_parse("10.0.0.9", 8, &hops[2].via);
	ip_parse("10.244.1.0", 10, &routes[0].prefix);
	ip_parse("fd44:1::", 8, &routes[1].prefix);
	ip_parse("10.245.0.0", 10, &routes[2].prefix);
	fib = fib_create(routes, 3, vteps, 2);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static struct rte_mempool *pools[N_WORKERS];
	struct net_port_config pc = {.device = "net_null0,no-rx=1", .n_queues = N_WORKERS, .mtu = 1500, .pools = pools};

	test_eal_init();
	pool = rte_pktmbuf_pool_create("fuzz", N_MBUFS, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	clones = rte_pktmbuf_pool_create("fuzz-clones", N_MBUFS, 0, 0, 0, SOCKET_ID_ANY);
	pools[0] = pools[1] = pool;
	steer_init(&steer, N_WORKERS, 20000, 21999);
	if (!pool || !clones || port_start(&pc, &port) != 0)
		abort();
	iface.port_id = port.port_id;
	ip_parse("10.0.0.2", 8, &iface.addrs[0].ip);
	iface.addrs[0].prefix_len = 24;
	ip_parse("fd00::2", 7, &iface.addrs[1].ip);
	iface.addrs[1].prefix_len = 64;
	iface.addrs[1].is_shared = true;
	iface.n_addrs = 2;
	port.has_kernel = true;
	for (int i = 0; i < N_WORKERS; i++)
		up[i] = rte_ring_create(i ? "up1" : "up0", 256, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
	down = rte_ring_create("down", 256, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
	ip_parse("10.0.0.1", 8, &iface.gw4);
	ip_parse("fd00::1", 7, &iface.gw6);
	make_fib();
	for (int i = 0; i < N_WORKERS; i++)
		for (int k = 0; k < N_WORKERS; k++) {
			char name[32];

			snprintf(name, sizeof(name), "r%d%d", i, k);
			rings[i * N_WORKERS + k] = out[k * N_WORKERS + i] =
				rte_ring_create(name, 256, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
		}
	return 0;
}

static int on_accept(void *ctx, struct tcp_conn *c, void **user, uint64_t now_us)
{
	*user = NULL;
	return 0;
}

static void start(struct worker *w, uint16_t id, uint64_t now)
{
	const struct tcp_listen listen_args = {.port = 80, .accept = on_accept, .event = on_event};
	struct net_config nc = {.worker = id, .n_workers = N_WORKERS, .n_ifaces = 1, .ifaces = &iface, .n_ports = 1, .ports = &port,
				.pool = pool, .wheel = &w->wheel, .wheel_kind = 0, .stats = &w->stats,
				.redirect_in = &rings[id * N_WORKERS], .redirect_out = &out[id * N_WORKERS], .n_neighbours = 16,
				.neighbour_queue = 4, .steer = &steer, .gro = true,
				.punt = {.per_s = {10, 10, 10, 10, 10}, .up = up[id], .down = id == 0 ? down : NULL}};
	struct tcp_config tc = {.n_connections = 32, .n_syn = 2, .n_time_wait = 2, .listener_connections = 30,
				.prefix_connections = 20, .prefix_accepts_per_s = 50, .n_prefixes = 256, .rst_per_s = 20,
				.ecn = true, .rx_buffer_bytes = 8192, .tx_buffer_bytes = 8192, .mtu = 1500,
				.time_wait_ms = 1000, .fin_timeout_ms = 1000, .max_retransmit_ms = 5000};
	struct tcp_env env = {.output = net_output_tcp, .pool = pool, .clones = clones, .wheel = &w->wheel, .wheel_kind = 1,
			      .stats = &w->stats};
	struct tcp_listener *l;

	wheel_init(&w->wheel, 1000, now);
	w->net = net_create(&nc);
	steer_ports(&steer, id, &tc.port_lo, &tc.port_hi);
	env.ctx = w->net;
	w->tcp = tcp_create(&tc, &env);
	if (!w->net || !w->tcp || tcp_listen(w->tcp, &listen_args, &l) != 0)
		abort();
	net_set_tcp(w->net, w->tcp);
	net_set_fib(w->net, fib);
}

/* Rings hold what was redirected and never polled. */
static void drain_rings(void)
{
	for (int i = 0; i < N_WORKERS * N_WORKERS; i++) {
		void *m;

		while (rte_ring_sc_dequeue(rings[i], &m) == 0)
			rte_pktmbuf_free(m);
	}
	for (int i = 0; i <= N_WORKERS; i++) {
		void *m;

		while (rte_ring_sc_dequeue(i < N_WORKERS ? up[i] : down, &m) == 0)
			rte_pktmbuf_free(m);
	}
}

static void poll(struct worker *w, uint64_t now)
{
	net_poll(w->net, now);
	wheel_run(&w->wheel, now, 1000);
	tcp_run(w->tcp, now);
	net_flush(w->net);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct rte_mbuf *burst[NET_BURST];
	uint64_t now = 5000000;
	unsigned n_frames = 0;
	unsigned n_burst = 0;

	for (uint16_t i = 0; i < N_WORKERS; i++) {
		memset(&workers[i], 0, sizeof(workers[i]));
		start(&workers[i], i, now);
	}
	while (n >= 4 && n_frames++ < 64) {
		unsigned len = (data[0] | data[1] << 8) % 1515u;
		uint8_t flags = data[2];
		uint8_t frame[1600] = {0};
		struct worker *w = &workers[flags & 1];
		struct rte_mbuf *m;

		now += (uint64_t)data[3] * data[3] * 50;
		data += 4;
		n -= 4;
		if (len > n)
			len = (unsigned)n;
		memcpy(frame, data, len);
		data += len;
		n -= len;
		if (flags & 2)
			mend(pool, frame, len);
		m = rte_pktmbuf_alloc(pool);
		if (!m || len == 0) {
			rte_pktmbuf_free(m);
			continue;
		}
		memcpy(rte_pktmbuf_append(m, (uint16_t)len), frame, len);
		if (flags & 8) {
			m->port = 0;
			if (rte_ring_sp_enqueue(down, m) != 0)
				rte_pktmbuf_free(m);
			continue;
		}
		burst[n_burst++] = m;
		if ((flags & 4) && n_burst < NET_BURST)
			continue;
		net_input(w->net, 0, burst, n_burst, now);
		n_burst = 0;
		for (int i = 0; i < N_WORKERS; i++)
			poll(&workers[i], now);
	}
	rte_pktmbuf_free_bulk(burst, n_burst);
	for (int i = 0; i < N_WORKERS; i++) {
		tcp_destroy(workers[i].tcp, now);
		net_destroy(workers[i].net);
		if (workers[i].wheel.n_armed)
			abort();
	}
	drain_rings();
	if (rte_mempool_avail_count(pool) != N_MBUFS || rte_mempool_avail_count(clones) != N_MBUFS)
		abort();
	return 0;
}
