/* SPDX-License-Identifier: Apache-2.0 */
/* The MSS: what is announced follows our interface, what is sent the path as well. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include <rte_mbuf.h>

#include "../../eal.h"
#include "base/wheel.h"
#include "tcp/tcp.h"

#define N_MBUFS 255

static struct rte_mempool *pool, *clones;
#define SYN 0x02
#define ACK 0x10

static struct wheel wheel;
static struct weir_worker_stats stats;
static uint16_t iface_mtu, path_mtu;
static uint16_t announced; /* the MSS option of the last SYN sent */
static uint32_t seq;	   /* of it */
static uint64_t now = 5000000;

static uint16_t mtu_for(void *ctx, const struct weir_ip *remote, bool is_path)
{
	return is_path ? path_mtu : iface_mtu;
}

static void on_output(void *ctx, struct rte_mbuf *m, const struct ip_flow *flow, uint8_t ecn, uint64_t now_us)
{
	const uint8_t *h = rte_pktmbuf_mtod(m, const uint8_t *);

	if (h[13] & 2) {
		assert_int_equal(h[20], 2); /* the MSS comes first */
		announced = (uint16_t)(h[22] << 8 | h[23]);
		seq = (uint32_t)h[4] << 24 | (uint32_t)h[5] << 16 | (uint32_t)h[6] << 8 | h[7];
	}
	rte_pktmbuf_free(m);
}

static void on_event(struct tcp_conn *c, void *user, unsigned events, uint64_t now_us)
{
}

static void get_conn(void *ctx, struct tcp_conn *c)
{
	*(struct tcp_conn **)ctx = c;
}

static int on_accept(void *ctx, struct tcp_conn *c, void **user, uint64_t now_us)
{
	return 0;
}

/* A SYN, SYN-ACK or the ACK behind them of the peer, with an MSS of 1460. */
static void give(struct tcp_stack *s, const struct weir_ip *local, const struct weir_ip *remote, uint16_t sport,
		 uint16_t dport, uint8_t flags)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	uint8_t *h = rte_pktmbuf_mtod(m, uint8_t *);
	struct tcp_packet p = {.src = *remote, .dst = *local};
	uint32_t ack = seq + 1;

	assert_non_null(rte_pktmbuf_append(m, 24));
	memset(h, 0, 24);
	h[0] = (uint8_t)(sport >> 8);
	h[1] = (uint8_t)sport;
	h[2] = (uint8_t)(dport >> 8);
	h[3] = (uint8_t)dport;
	if (flags & ACK)
		for (int i = 0; i < 4; i++)
			h[8 + i] = (uint8_t)(ack >> (24 - 8 * i));
	h[12] = 6 << 4;
	h[7] = !(flags & SYN);
	h[13] = flags;
	h[14] = 0xff;
	memcpy(h + 20, (const uint8_t[]){2, 4, 1460 >> 8, 1460 & 255}, 4);
	tcp_input(s, m, &p, now);
}

static struct tcp_stack *start(uint16_t mtu)
{
	struct tcp_config tc = {.n_connections = 64, .n_syn = 16, .rx_buffer_bytes = 65536, .tx_buffer_bytes = 65536, .mtu = mtu,
				.port_lo = 20000, .port_hi = 21000, .time_wait_ms = 1000, .fin_timeout_ms = 1000,
				.max_retransmit_ms = 100000};
	struct tcp_env env = {.output = on_output, .path_mtu = mtu_for, .pool = pool, .clones = clones, .wheel = &wheel,
			      .stats = &stats};

	wheel_init(&wheel, 100, now);
	return tcp_create(&tc, &env);
}

static void mss_follows_interface_and_path(void **state)
{
	static const struct {
		uint16_t config, iface, path;
		bool is4;
		uint16_t announced, used;
	} cases[] = {
		{1500, UINT16_MAX, UINT16_MAX, true, 1460, 1460}, /* no route is known: the configuration bounds */
		{1500, 1500, 1500, true, 1460, 1460},
		{1500, 1500, 1400, true, 1460, 1360}, /* RFC 2923 2.3: the path bounds what we send, not what we take */
		{1500, 1340, 1340, true, 1300, 1300},
		{1500, 1500, 1400, false, 1440, 1340},
		{9000, 9000, 9000, true, 8960, 1460}, /* the peer takes no more */
		{1500, 1500, 576, true, 1460, 536},
	};

	for (unsigned i = 0; i < RTE_DIM(cases); i++)
		for (unsigned is_passive = 0; is_passive < 2; is_passive++) {
			struct tcp_stack *s = start(cases[i].config);
			struct tcp_listen listen = {.port = 80, .accept = on_accept, .event = on_event};
			struct tcp_connect args = {.remote_port = 80, .timeout_ms = 60000, .event = on_event};
			struct tcp_listener *l;
			struct tcp_conn *c = NULL;
			enum weir_reason why;
			struct tcp_info info;

			iface_mtu = cases[i].iface;
			path_mtu = cases[i].path;
			ip_parse(cases[i].is4 ? "10.0.0.2" : "fd00::2", cases[i].is4 ? 8 : 7, &args.local);
			ip_parse(cases[i].is4 ? "10.0.0.9" : "fd00::9", cases[i].is4 ? 8 : 7, &args.remote);
			if (is_passive) {
				assert_int_equal(tcp_listen(s, &listen, &l), 0);
				give(s, &args.local, &args.remote, 4000, 80, SYN);
				give(s, &args.local, &args.remote, 4000, 80, ACK);
				tcp_each(s, get_conn, &c);
			} else {
				c = tcp_connect(s, &args, now, &why);
				give(s, &args.local, &args.remote, 80, tcp_flow(c)->local_port, SYN | ACK);
			}
			assert_non_null(c);
			tcp_get_info(c, &info);
			if (announced != cases[i].announced || info.mss != cases[i].used)
				fail_msg("case %u: %u announced, %u used", i, announced, info.mss);
			tcp_run(s, now);
			tcp_destroy(s, now);
			assert_int_equal(rte_mempool_avail_count(pool), N_MBUFS);
		}
}

static int start_all(void **state)
{
	pool = rte_pktmbuf_pool_create("mtu", N_MBUFS, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	clones = rte_pktmbuf_pool_create("mtu-clones", N_MBUFS, 0, 0, 0, SOCKET_ID_ANY);
	return pool && clones ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mss_follows_interface_and_path),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, start_all, NULL);
}
