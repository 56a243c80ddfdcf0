/* SPDX-License-Identifier: Apache-2.0 */
/* A walk in steps over a stack whose connections come and go in between. */
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

#define N_CONNS 300
#define N_SYN 16
#define N_PLACES (N_CONNS + N_SYN + N_CONNS) /* those of SYN-RECEIVED and TIME-WAIT are walked, too */
#define PORT_LO 20000u
#define N_PORTS 2000u

static struct rte_mempool *pool, *clones;
static struct wheel wheel;
static struct weir_worker_stats stats;
static struct tcp_stack *tcp;
static uint64_t now = 1000000, prng;

static struct tcp_conn *conns[N_CONNS];
static unsigned n_conns;
static unsigned n_told; /* of the step in work */
static unsigned told[N_PORTS]; /* by local port: times in this walk */
static unsigned lives[N_PORTS]; /* connections of this port that were there during this walk */
static bool stays[N_PORTS]; /* there from its begin to its end */

static uint32_t pick(uint32_t n)
{
	prng = prng * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(prng >> 33) % n;
}

static void drop_output(void *ctx, struct rte_mbuf *m, const struct ip_flow *flow, uint8_t ecn, uint64_t now_us)
{
	rte_pktmbuf_free(m);
}

static void on_event(struct tcp_conn *c, void *user, unsigned events, uint64_t now_us)
{
	fail_msg("no peer, no event");
}

static unsigned port_of(const struct ip_flow *flow)
{
	return flow->local_port - PORT_LO;
}

static void connect_one(void)
{
	struct tcp_connect a = {.remote_port = 80, .timeout_ms = 1000000, .event = on_event};
	enum weir_reason why;
	struct tcp_conn *c;

	assert_int_equal(ip_parse("10.0.0.1", 8, &a.local), 0);
	assert_int_equal(ip_parse("10.0.0.2", 8, &a.remote), 0);
	c = tcp_connect(tcp, &a, now, &why);
	assert_non_null(c);
	conns[n_conns++] = c;
	lives[port_of(tcp_flow(c))]++;
}

static void abort_one(void)
{
	unsigned i = pick(n_conns);

	stays[port_of(tcp_flow(conns[i]))] = false;
	tcp_abort(conns[i], WEIR_R_CLOSE_ABORTED, now);
	conns[i] = conns[--n_conns];
}

static void tell(void *ctx, const struct tcp_info *info)
{
	assert_ptr_equal(ctx, told);
	assert_int_equal(info->state, TCP_SYN_SENT);
	assert_int_equal(info->flow.remote_port, 80);
	told[port_of(&info->flow)]++;
	n_told++;
}

static int setup(void **state)
{
	struct tcp_config c = {.n_connections = N_CONNS, .n_syn = N_SYN, .rx_buffer_bytes = 65536, .tx_buffer_bytes = 65536,
			       .mtu = 1500, .port_lo = PORT_LO, .port_hi = PORT_LO + N_PORTS - 1, .time_wait_ms = 1000,
			       .fin_timeout_ms = 1000, .max_retransmit_ms = 100000};
	struct tcp_env env = {.output = drop_output, .pool = pool, .clones = clones, .wheel = &wheel, .wheel_kind = 1,
			      .stats = &stats};

	wheel_init(&wheel, 1000, now);
	tcp = tcp_create(&c, &env);
	n_conns = 0;
	return tcp ? 0 : -1;
}

static int teardown(void **state)
{
	tcp_destroy(tcp, now);
	return 0;
}

static void begin_walk(void)
{
	memset(told, 0, sizeof(told));
	memset(lives, 0, sizeof(lives));
	memset(stays, 0, sizeof(stays));
	for (unsigned i = 0; i < n_conns; i++) {
		stays[port_of(tcp_flow(conns[i]))] = true;
		lives[port_of(tcp_flow(conns[i]))]++;
	}
}

static void churn(void)
{
	for (uint32_t k = pick(12); k > 0; k--) {
		if (n_conns > 0 && (n_conns == N_CONNS || pick(2)))
			abort_one();
		else
			connect_one();
		if (pick(3) == 0)
			tcp_run(tcp, ++now); /* the places of dead ones are used again */
	}
}

static void tells_each_once_whatever_comes_and_goes(void **state)
{
	unsigned n_missed = 0, n_new = 0;

	prng = 3;
	for (int walk = 0; walk < 400; walk++) {
		uint32_t n = 1 + pick(walk % 2 ? 9 : 2 * N_CONNS), at = 0, steps = 0;

		while (n_conns < N_CONNS / 2)
			connect_one();
		begin_walk();
		do {
			n_told = 0;
			at = tcp_each_from(tcp, at, n, tell, told);
			assert_true(n_told <= n);
			steps++;
			if (at != TCP_EACH_END)
				churn();
		} while (at != TCP_EACH_END);
		assert_int_equal(steps, (N_PLACES + n - 1) / n);
		for (unsigned p = 0; p < N_PORTS; p++) {
			assert_true(told[p] <= lives[p]);
			if (stays[p])
				assert_int_equal(told[p], 1);
			n_missed += lives[p] - told[p];
			n_new += !stays[p] && told[p];
		}
	}
	assert_true(n_missed > 100); /* both kinds of passers-by were there */
	assert_true(n_new > 100);
}

static void an_empty_stack_has_an_end_too(void **state)
{
	uint32_t at = 0;

	n_told = 0;
	for (int i = 0; i < N_PLACES; i++)
		at = tcp_each_from(tcp, at, 1, tell, told);
	assert_int_equal(at, TCP_EACH_END);
	assert_int_equal(tcp_each_from(tcp, 0, UINT32_MAX, tell, told), TCP_EACH_END);
	assert_int_equal(n_told, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(tells_each_once_whatever_comes_and_goes, setup, teardown),
		cmocka_unit_test_setup_teardown(an_empty_stack_has_an_end_too, setup, teardown),
	};

	test_eal_init();
	pool = rte_pktmbuf_pool_create("each", 1023, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	clones = rte_pktmbuf_pool_create("each-clones", 1023, 0, 0, 0, SOCKET_ID_ANY);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
