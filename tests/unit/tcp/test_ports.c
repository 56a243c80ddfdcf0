/* SPDX-License-Identifier: Apache-2.0 */
/* Local ports: all of the range can be used, each once, the last as fast as the first; then a refusal by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>

#include "../../eal.h"
#include "base/hash.h"
#include "base/wheel.h"
#include "tcp/tcp.h"

#define N_MBUFS 1023
#define MAX_OPEN 70000
#define PROBES_MAX 300 /* of one choice; see ports.c */

struct host {
	struct tcp_stack *tcp;
	struct wheel wheel;
	struct weir_worker_stats stats;
	unsigned id, n_hosts; /* for the steering of its own */
};

static struct rte_mempool *pool, *clones;
static struct host hosts[4];
static struct tcp_conn *conns[MAX_OPEN];
static uint64_t now;

static void on_output(void *ctx, struct rte_mbuf *m, const struct ip_flow *flow, uint8_t ecn, uint64_t now_us)
{
	rte_pktmbuf_free(m);
}

static void on_event(struct tcp_conn *c, void *user, unsigned events, uint64_t now_us)
{
}

/*
 * A steering by hash as a device might do it: the low 4 bits, in an order that
 * depends on the rest of the tuple; entry e belongs to host e % n_hosts.
 */
static unsigned scramble(const struct ip_flow *flow)
{
	struct ip_flow f = *flow;

	f.local_port &= 0xfff0;
	return hash64(&f, sizeof(f), 1) & 15;
}

static void steer_port(void *ctx, struct ip_flow *flow)
{
	const struct host *h = ctx;
	unsigned entry = h->id + (flow->local_port & 15u) * h->n_hosts;

	assert_true(entry < 16);
	flow->local_port = (uint16_t)((flow->local_port & 0xfff0) | (entry ^ scramble(flow)));
}

static unsigned steer_fit(void *ctx, const struct ip_flow *flow)
{
	const struct host *h = ctx;
	unsigned entry = (flow->local_port & 15u) ^ scramble(flow);

	assert_int_equal(entry % h->n_hosts, h->id);
	return entry / h->n_hosts;
}

static void start(struct host *h, uint32_t n_connections, uint16_t lo, uint16_t hi, bool is_steered, uint8_t secret)
{
	struct tcp_config tc = {.n_connections = n_connections, .n_syn = 16, .rx_buffer_bytes = 65536, .tx_buffer_bytes = 65536,
				.mtu = 1500, .port_lo = lo, .port_hi = hi, .time_wait_ms = 1000, .fin_timeout_ms = 1000,
				.max_retransmit_ms = 100000};
	struct tcp_env env = {.ctx = h, .output = on_output, .pool = pool, .clones = clones, .wheel = &h->wheel,
			      .stats = &h->stats};

	if (is_steered) {
		env.steer_port = steer_port;
		env.steer_fit = steer_fit;
		env.steer_bits = 4;
		env.steer_fits = (16 - h->id + h->n_hosts - 1) / h->n_hosts;
	}
	tc.secret[0] = secret;
	wheel_init(&h->wheel, 100, now);
	memset(&h->stats, 0, sizeof(h->stats));
	h->tcp = tcp_create(&tc, &env);
	assert_non_null(h->tcp);
}

static void stop(struct host *h)
{
	tcp_destroy(h->tcp, now);
	assert_int_equal(h->wheel.n_armed, 0);
}

static struct weir_ip address(unsigned i)
{
	uint8_t b[4] = {10, 1, (uint8_t)(i >> 8), (uint8_t)i};
	uint32_t be;

	memcpy(&be, b, 4);
	return ip_from4(be);
}

/* Opens a connection to destination i. Fails the test where the choice looked at too many ports. */
static struct tcp_conn *try_open(struct host *h, unsigned i, enum weir_reason *why)
{
	const struct tcp_connect args = {.local = address(0xfffe), .remote = address(i), .remote_port = 80, .timeout_ms = 60000,
					 .event = on_event};
	uint64_t before = h->stats.counter[WEIR_C_TCP_PORT_PROBES];
	struct tcp_conn *c = tcp_connect(h->tcp, &args, now, why);

	if (h->stats.counter[WEIR_C_TCP_PORT_PROBES] - before > PROBES_MAX)
		fail_msg("%u ports looked at", (unsigned)(h->stats.counter[WEIR_C_TCP_PORT_PROBES] - before));
	return c;
}

static struct tcp_conn *open_one(struct host *h, unsigned i)
{
	enum weir_reason why = WEIR_N_REASONS;
	struct tcp_conn *c = try_open(h, i, &why);

	if (!c)
		fail_msg("refused: reason %d", (int)why);
	return c;
}

static uint16_t close_one(struct host *h, struct tcp_conn *c)
{
	uint16_t port = tcp_flow(c)->local_port;

	tcp_abort(c, WEIR_R_CLOSE_ABORTED, now);
	tcp_run(h->tcp, now);
	return port;
}

static void expect_none(struct host *h, unsigned i)
{
	enum weir_reason why = WEIR_N_REASONS;

	assert_null(try_open(h, i, &why));
	assert_int_equal(why, WEIR_R_CLOSE_NO_PORTS);
}

/* Fills all n choices of destination i; each port is one of its own in the range. */
static void fill(struct host *h, unsigned i, unsigned n, uint16_t lo, uint16_t hi)
{
	static uint8_t seen[65536];

	memset(seen, 0, sizeof(seen));
	for (unsigned k = 0; k < n; k++) {
		uint16_t port;

		conns[k] = open_one(h, i);
		port = tcp_flow(conns[k])->local_port;
		assert_true(port >= lo && port <= hi);
		if (seen[port]++)
			fail_msg("port %u twice", port);
	}
}

static void one_destination_gets_the_whole_range_and_then_a_refusal(void **state)
{
	static const unsigned sizes[] = {1, 5, 64, 100, 4096, 28000, 49152};
	uint64_t prng = 1;

	for (unsigned i = 0; i < RTE_DIM(sizes); i++) {
		struct host *h = &hosts[0];
		unsigned n = sizes[i];
		uint16_t lo = 16384, hi = (uint16_t)(16384 + n - 1);

		start(h, MAX_OPEN, lo, hi, false, 1);
		fill(h, 7, n, lo, hi);
		expect_none(h, 7);
		assert_int_equal(h->stats.reason[WEIR_R_CLOSE_NO_PORTS], 1);
		/* Ten looks for each, the learning of a map and the first tries included. */
		assert_true(h->stats.counter[WEIR_C_TCP_PORT_PROBES] < 10ull * n + 1000);
		open_one(h, 8); /* another destination has ports of its own */
		/* Whatever is given back is what the next one gets: there is no other. */
		for (unsigned k = 0; k < 2000; k++) {
			unsigned victim = (unsigned)((prng = prng * 6364136223846793005ull + 1442695040888963407ull) >> 33) % n;
			uint16_t port = close_one(h, conns[victim]);

			conns[victim] = open_one(h, 7);
			assert_int_equal(tcp_flow(conns[victim])->local_port, port);
			if (k % 100 == 0)
				expect_none(h, 7);
		}
		for (unsigned k = 0; k < n; k++)
			close_one(h, conns[k]);
		fill(h, 7, n, lo, hi);
		expect_none(h, 7);
		stop(h);
	}
}

static void nearly_full_destination_takes_few_looks(void **state)
{
	struct host *h = &hosts[0];
	unsigned n = 28000;
	uint64_t prng = 3;
	uint64_t before;

	start(h, MAX_OPEN, 20000, (uint16_t)(20000 + n - 1), false, 1);
	fill(h, 7, n - 20, 20000, (uint16_t)(20000 + n - 1));
	before = h->stats.counter[WEIR_C_TCP_PORT_PROBES];
	for (unsigned k = 0; k < 50000; k++) {
		unsigned victim = (unsigned)((prng = prng * 6364136223846793005ull + 1442695040888963407ull) >> 33) % (n - 20);

		close_one(h, conns[victim]);
		conns[victim] = open_one(h, 7);
	}
	assert_int_equal(h->stats.counter[WEIR_C_TCP_PORT_PROBES] - before, 50000); /* one each: the map knows all */
	stop(h);
}

static void crowded_destination_forgotten_by_its_map_is_learned_again(void **state)
{
	struct host *h = &hosts[0];
	unsigned n_all = 0;

	/* More crowded destinations at one time than the table's size foresees maps for. */
	start(h, 4000, 30000, 30999, false, 1);
	for (unsigned to = 0; to < 28; to++)
		for (unsigned k = 0; k < 140; k++)
			conns[n_all++] = open_one(h, to);
	for (unsigned k = 0; k < n_all; k++) {
		close_one(h, conns[k]);
		conns[k] = open_one(h, k / 140);
	}
	/* No two alike: the table itself would have said so, were it asked. */
	for (unsigned a = 0; a < n_all; a++)
		for (unsigned b = a / 140 * 140; b < a; b++)
			assert_true(tcp_flow(conns[a])->local_port != tcp_flow(conns[b])->local_port);
	stop(h);
}

static void where_it_begins_depends_on_destination_and_secret(void **state)
{
	unsigned n_same = 0;

	start(&hosts[0], 1000, 16384, 65535, false, 1);
	start(&hosts[1], 1000, 16384, 65535, false, 2);
	for (unsigned i = 0; i < 100; i++) {
		uint16_t a = tcp_flow(open_one(&hosts[0], i))->local_port;
		uint16_t b = tcp_flow(open_one(&hosts[1], i))->local_port;
		uint16_t next = tcp_flow(open_one(&hosts[0], i))->local_port;

		n_same += a == b;
		/* RFC 6056 3.3.4: increasing, so that a port is not soon taken again. Others share the counter. */
		assert_true((uint16_t)(next - a) < 300 || next < a);
	}
	assert_true(n_same < 5);
	stop(&hosts[0]);
	stop(&hosts[1]);
}

static void steered_workers_share_every_port_and_no_tuple(void **state)
{
	for (unsigned n_hosts = 2; n_hosts <= 3; n_hosts++) {
		static uint8_t owner[65536];
		const uint16_t lo = 16384, hi = 32767;
		unsigned total = 0;

		memset(owner, 0, sizeof(owner));
		for (unsigned i = 0; i < n_hosts; i++) {
			unsigned n;

			hosts[i].id = i;
			hosts[i].n_hosts = n_hosts;
			start(&hosts[i], MAX_OPEN, lo, hi, true, 1);
			n = 1024 * ((16 - i + n_hosts - 1) / n_hosts);
			fill(&hosts[i], 7, n, lo, hi);
			expect_none(&hosts[i], 7);
			for (unsigned k = 0; k < n; k++)
				if (owner[tcp_flow(conns[k])->local_port]++)
					fail_msg("two workers have the same tuple");
			for (unsigned k = 0; k < n; k += 97) {
				uint16_t port = close_one(&hosts[i], conns[k]);

				conns[k] = open_one(&hosts[i], 7);
				assert_int_equal(tcp_flow(conns[k])->local_port, port);
			}
			total += n;
			stop(&hosts[i]);
		}
		assert_int_equal(total, 16384);
	}
}

static void full_table_costs_no_port(void **state)
{
	struct host *h = &hosts[0];
	enum weir_reason why = WEIR_N_REASONS;

	start(h, 4, 20000, 20004, false, 1);
	for (unsigned k = 0; k < 4; k++)
		conns[k] = open_one(h, 7);
	for (unsigned k = 0; k < 20; k++) {
		assert_null(try_open(h, 7, &why));
		assert_int_equal(why, WEIR_R_CLOSE_TABLE_FULL);
	}
	close_one(h, conns[0]);
	open_one(h, 7);
	stop(h);
}

static int start_all(void **state)
{
	now = 5000000;
	pool = rte_pktmbuf_pool_create("ports", N_MBUFS, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	clones = rte_pktmbuf_pool_create("ports-clones", N_MBUFS, 0, 0, 0, SOCKET_ID_ANY);
	return pool && clones ? 0 : -1;
}

static int teardown(void **state)
{
	assert_int_equal(rte_mempool_avail_count(pool), N_MBUFS);
	assert_int_equal(rte_mempool_avail_count(clones), N_MBUFS);
	return 0;
}

int main(void)
{
#define T(name) cmocka_unit_test_teardown(name, teardown)
	const struct CMUnitTest tests[] = {
		T(one_destination_gets_the_whole_range_and_then_a_refusal),
		T(nearly_full_destination_takes_few_looks),
		T(crowded_destination_forgotten_by_its_map_is_learned_again),
		T(where_it_begins_depends_on_destination_and_secret),
		T(steered_workers_share_every_port_and_no_tuple),
		T(full_table_costs_no_port),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, start_all, NULL);
}
