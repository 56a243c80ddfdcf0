/* SPDX-License-Identifier: Apache-2.0 */
/* The real TCP over steering: whatever queue an answer comes to, it reaches the connection that asked. */
#include "rig.h"

#include <rte_ring.h>

#include "../../eal.h"

#define N 3
#define N_CONNS 400 /* of each worker */
#define N_MBUFS 8191

struct worker {
	struct wheel wheel;
	struct weir_worker_stats stats;
	struct net *net;
	struct tcp_stack *tcp;
};

static struct rte_mempool *pool, *clones;
static struct net_port port;
static struct net_iface iface;
static struct rte_ring *rings[N * N], *out[N * N];
static struct worker workers[N];
static struct steer steer;
static struct tcp_conn *conns[N][N_CONNS];
static uint8_t key[STEER_KEY_BYTES];
static uint64_t now = 5000000;

/* The sequence number of the SYN for a tuple, by the local port: one backend. */
static uint32_t isn[65536];

static void on_event(struct tcp_conn *c, void *user, unsigned events, uint64_t now_us)
{
}

/* Sees SYNs on their way out, which go on to wait for a next hop that never answers. */
static void output(void *ctx, struct rte_mbuf *m, const struct ip_flow *flow, uint8_t ecn, uint64_t now_us)
{
	const uint8_t *h = rte_pktmbuf_mtod(m, const uint8_t *);

	if (h[13] & 2)
		isn[flow->local_port] = (uint32_t)h[4] << 24 | (uint32_t)h[5] << 16 | (uint32_t)h[6] << 8 | h[7];
	net_output_tcp(ctx, m, flow, ecn, now_us);
}

static void start(uint16_t i)
{
	struct worker *w = &workers[i];
	struct net_config nc = {.worker = i, .n_workers = N, .n_ifaces = 1, .ifaces = &iface, .n_ports = 1, .ports = &port,
				.pool = pool, .clones = clones, .wheel = &w->wheel, .stats = &w->stats,
				.redirect_in = &rings[i * N], .redirect_out = &out[i * N], .n_neighbours = 8,
				.neighbour_queue = 3, .steer = &steer, .gro = true};
	struct tcp_config tc = {.n_connections = 1000, .n_syn = 16, .rx_buffer_bytes = 65536, .tx_buffer_bytes = 65536,
				.mtu = 1500, .time_wait_ms = 1000, .fin_timeout_ms = 1000, .max_retransmit_ms = 100000};
	struct tcp_env env = {.output = output, .pool = pool, .clones = clones, .wheel = &w->wheel, .wheel_kind = 1,
			      .stats = &w->stats};

	memset(w, 0, sizeof(*w));
	wheel_init(&w->wheel, 100, now);
	w->net = net_create(&nc);
	assert_non_null(w->net);
	w->net->n_announced = 3;
	steer_ports(&steer, i, &tc.port_lo, &tc.port_hi);
	env.ctx = w->net;
	if (steer.by_hash) {
		env.steer_port = net_steer_port;
		env.steer_fit = net_steer_fit;
		env.steer_bits = steer.bits;
		env.steer_fits = steer_n_fits(&steer, i);
	}
	w->tcp = tcp_create(&tc, &env);
	assert_non_null(w->tcp);
	net_set_tcp(w->net, w->tcp);
}

static void poll_all(void)
{
	for (int round = 0; round < 2; round++)
		for (int i = 0; i < N; i++) {
			net_poll(workers[i].net, now);
			tcp_run(workers[i].tcp, now);
			net_flush(workers[i].net);
		}
}

static void answer(int queue, const struct ip_flow *flow, bool is4)
{
	struct rig_segment s = {.src = is4 ? RIG_HIM4 : RIG_HIM6, .dst = is4 ? RIG_US4 : RIG_US6, .sport = 80,
				.dport = flow->local_port, .seq = 1000, .ack = isn[flow->local_port] + 1, .flags = 0x12,
				.wnd = 60000};
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	uint8_t frame[200];
	unsigned n = rig_build(frame, &s);

	memcpy(rte_pktmbuf_append(m, (uint16_t)n), frame, n);
	net_input(workers[queue].net, 0, &m, 1, now);
}

static void open_all(bool is4)
{
	const struct tcp_connect args = {.local = rig_ip(is4 ? RIG_US4 : RIG_US6), .remote = rig_ip(is4 ? RIG_HIM4 : RIG_HIM6),
					 .remote_port = 80, .timeout_ms = 60000, .event = on_event};
	static uint8_t seen[65536];
	enum weir_reason why;

	memset(seen, 0, sizeof(seen));
	for (int i = 0; i < N; i++)
		for (int k = 0; k < N_CONNS; k++) {
			conns[i][k] = tcp_connect(workers[i].tcp, &args, now, &why);
			assert_non_null(conns[i][k]);
			assert_int_equal(steer_opener(&steer, tcp_flow(conns[i][k])), i);
			if (seen[tcp_flow(conns[i][k])->local_port]++)
				fail_msg("two workers chose port %u", tcp_flow(conns[i][k])->local_port);
		}
	poll_all();
}

static void answers_reach_their_connection(void **state)
{
	for (unsigned mode = 0; mode < 3; mode++)
		for (unsigned is4 = 0; is4 < 2; is4++) {
			unsigned n_redirected = 0;

			steer_init(&steer, N, 16384, 65535);
			if (mode == 1)
				assert_true(steer_align(&steer));
			if (mode == 2)
				assert_int_equal(steer_use_hash(&steer, 7, key), 0);
			for (uint16_t i = 0; i < N; i++)
				start(i);
			open_all(is4);
			for (int i = 0; i < N; i++)
				for (int k = 0; k < N_CONNS; k++) {
					struct tcp_info info;

					answer((i + k) % N, tcp_flow(conns[i][k]), is4);
					poll_all();
					n_redirected += k % N != 0;
					tcp_get_info(conns[i][k], &info);
					assert_int_equal(info.state, TCP_ESTABLISHED);
				}
			for (int i = 0; i < N; i++)
				n_redirected -= (unsigned)workers[i].stats.counter[WEIR_C_STEERED_IN];
			assert_int_equal(n_redirected, 0);
			for (int i = 0; i < N; i++) {
				tcp_destroy(workers[i].tcp, now);
				net_flush(workers[i].net);
				net_destroy(workers[i].net);
				assert_int_equal(workers[i].wheel.n_armed, 0);
			}
			steer_fini(&steer);
			assert_int_equal(rte_mempool_avail_count(pool), N_MBUFS);
		}
}

static int start_all(void **state)
{
	static struct rte_mempool *pools[N];
	struct net_port_config pc = {.device = "net_null0,no-rx=1", .n_queues = N, .mtu = 1500, .pools = pools};

	pool = rte_pktmbuf_pool_create("pool", N_MBUFS, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	clones = rte_pktmbuf_pool_create("clones", N_MBUFS, 0, 0, 0, SOCKET_ID_ANY);
	for (int i = 0; i < N; i++)
		pools[i] = pool;
	if (!pool || !clones || port_start(&pc, &port) != 0)
		return -1;
	iface = (struct net_iface){.port_id = port.port_id, .mtu = 1500, .n_addrs = 2};
	memcpy(iface.mac, rig_us, 6);
	iface.addrs[0] = (struct net_addr){.ip = rig_ip(RIG_US4), .prefix_len = 24};
	iface.addrs[1] = (struct net_addr){.ip = rig_ip(RIG_US6), .prefix_len = 64};
	for (int i = 0; i < N * N; i++) {
		char name[16];

		snprintf(name, sizeof(name), "r%d", i);
		rings[i] = out[i % N * N + i / N] = rte_ring_create(name, 64, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
	}
	for (unsigned i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)(i * 37 + 11);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_reach_their_connection),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, start_all, NULL);
}
