/* SPDX-License-Identifier: Apache-2.0 */
/* What a capture copies, and what it drops: frames in and out of a port that takes as many as the test says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "../../eal.h"
#include "net/capture.h"
#include "net/net.h"
#include "net/net_pvt.h"
#include "net/steer.h"

#define RING NET_CAPTURE_RING_MIN
#define FRAME_MAX 9000u

static struct rte_mempool *pool;
static struct net_port port;
static struct net_iface iface;
static struct wheel wheel;
static struct weir_worker_stats stats;
static struct net *net;
static struct steer steer;
static struct weir_diag_worker out;
static uint8_t *ring;
static struct weir_capture_spec spec;
static struct net_capture capture;
static uint64_t now = 5000000, read_at;
static uint16_t port_takes = UINT16_MAX; /* of each burst */
static uint64_t prng;

bool tcp_is_listening(const struct tcp_stack *s, const struct ip_flow *flow)
{
	return false;
}

bool tcp_is_cookie(const struct tcp_stack *s, const struct ip_flow *flow, const uint8_t *header, size_t n)
{
	return false;
}

bool tcp_has_flow(const struct tcp_stack *s, const struct ip_flow *flow)
{
	return false;
}

void tcp_input(struct tcp_stack *s, struct rte_mbuf *m, const struct tcp_packet *packet, uint64_t now_us)
{
	rte_pktmbuf_free(m);
}

bool tcp_is_next(const struct tcp_stack *s, const struct ip_flow *flow, uint32_t seq)
{
	return false;
}

bool tcp_icmp_error(struct tcp_stack *s, const struct ip_flow *flow, uint32_t seq, enum tcp_icmp what, uint16_t mtu,
		    uint64_t now_us)
{
	return false;
}

static uint32_t pick(uint32_t n)
{
	prng = prng * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(prng >> 33) % n;
}

static uint16_t take_some(uint16_t id, uint16_t queue, struct rte_mbuf **pkts, uint16_t n, void *ctx)
{
	return n < port_takes ? n : port_takes;
}

static int start_all(void **state)
{
	struct net_port_config pc = {.device = "net_null0,no-rx=1", .n_queues = 1, .mtu = 1500, .pools = &pool};

	pool = rte_pktmbuf_pool_create("net", 1023, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	ring = malloc(RING); /* one byte too far is seen */
	steer_init(&steer, 1, 20000, 21999);
	if (!pool || !ring || port_start(&pc, &port) != 0)
		return -1;
	rte_eth_add_tx_callback(port.port_id, 0, take_some, NULL);
	iface = (struct net_iface){.port_id = port.port_id, .mtu = 1500, .mac = {2, 0, 0, 0, 0, 1}, .n_addrs = 1};
	iface.addrs[0].prefix_len = 24;
	return ip_parse("10.0.0.2", 8, &iface.addrs[0].ip);
}

static int stop_all(void **state)
{
	free(ring);
	return 0;
}

static int setup(void **state)
{
	struct net_config nc = {.n_workers = 1, .n_ifaces = 1, .ifaces = &iface, .n_ports = 1, .ports = &port, .pool = pool,
				.wheel = &wheel, .stats = &stats, .n_neighbours = 8, .neighbour_queue = 3, .steer = &steer};

	prng = 1;
	memset(&stats, 0, sizeof(stats));
	wheel_init(&wheel, 1000, now);
	net = net_create(&nc);
	assert_non_null(net);
	net->n_announced = 3;
	spec = (struct weir_capture_spec){.snaplen = 65535, .duration_us = 1};
	port_takes = UINT16_MAX;
	return 0;
}

static int teardown(void **state)
{
	net_capture_stop(net);
	net_flush(net);
	net_destroy(net);
	assert_int_equal(rte_mempool_avail_count(pool), 1023);
	return 0;
}

static void start(void)
{
	memset(&out, 0, sizeof(out));
	memset(ring, 0xee, RING);
	capture = (struct net_capture){.spec = &spec, .out = &out, .ring = ring, .ring_size = RING, .unix_offset_us = 1000000000};
	read_at = 0;
	net_capture_start(net, &capture);
}

/* A frame of len bytes, in pieces of at most piece bytes. */
static void give(const uint8_t *frame, uint32_t len, uint32_t piece)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	struct rte_mbuf *last = m;

	assert_non_null(m);
	for (uint32_t at = 0; at < len;) {
		uint32_t n = len - at < piece ? len - at : piece;

		if (at > 0) {
			last->next = rte_pktmbuf_alloc(pool);
			last = last->next;
			assert_non_null(last);
			m->nb_segs++;
		}
		memcpy(rte_pktmbuf_mtod(last, void *), frame + at, n);
		last->data_len = (uint16_t)n;
		at += n;
	}
	m->pkt_len = len;
	net_input(net, 0, &m, 1, now);
}

static void fill(uint8_t *frame, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		frame[i] = (uint8_t)pick(256);
}

/* The next record, or NULL; what is before it is given back. */
static const struct weir_capture_record *next(void)
{
	const struct weir_capture_record *r;

	capture.tail = read_at;
	if (read_at == out.head)
		return NULL;
	assert_true(out.head - read_at <= RING);
	assert_int_equal(read_at % WEIR_CAPTURE_ALIGN, 0);
	r = (const void *)(ring + read_at % RING);
	if (r->caplen == WEIR_CAPTURE_SKIP) {
		read_at += RING - read_at % RING;
		r = (const void *)(ring + read_at % RING);
	}
	assert_true(read_at < out.head);
	assert_true(read_at % RING + sizeof(*r) + r->caplen <= RING);
	read_at += (sizeof(*r) + r->caplen + WEIR_CAPTURE_ALIGN - 1) / WEIR_CAPTURE_ALIGN * WEIR_CAPTURE_ALIGN;
	return r;
}

static void frames_come_whole_whatever_they_lie_in(void **state)
{
	static uint8_t frame[FRAME_MAX];
	const struct weir_capture_record *r;

	start();
	for (int i = 0; i < 20000; i++) {
		uint32_t len = 1 + pick(i % 10 ? 1600 : FRAME_MAX);

		fill(frame, len);
		now += pick(100);
		give(frame, len, 1 + pick(2000) + len / 20);
		r = next();
		assert_non_null(r);
		assert_int_equal(r->len, len);
		assert_int_equal(r->caplen, len);
		assert_int_equal(r->direction, WEIR_CAPTURE_IN);
		assert_int_equal(r->time_us, now + 1000000000);
		assert_memory_equal(r + 1, frame, len);
		assert_null(next());
	}
	assert_true(out.head > 20 * RING);
	assert_int_equal(out.n_captured, 20000);
	assert_int_equal(out.n_dropped, 0);
	assert_int_equal(stats.counter[WEIR_C_CAPTURED], 20000);
	assert_int_equal(stats.counter[WEIR_C_RX_PACKETS], 20000); /* and were handled all the same */
}

static void at_most_snaplen_and_what_the_filter_says(void **state)
{
	const struct weir_bpf_insn even[] = {{0x30, 0, 0, 99}, {0x54, 0, 0, 1}, {0x15, 0, 1, 0}, {0x06, 0, 0, 50}, {0x06, 0, 0, 0}};
	static uint8_t frame[200];
	const struct weir_capture_record *r;
	unsigned n = 0;

	memcpy(spec.insns, even, sizeof(even)); /* byte 99 is even: 50 bytes of it */
	spec.n_insns = 5;
	for (uint32_t snaplen = 40; snaplen <= 60; snaplen += 20) {
		spec.snaplen = snaplen;
		start();
		for (int i = 0; i < 500; i++) {
			fill(frame, sizeof(frame));
			give(frame, sizeof(frame), 1 + pick(200)); /* byte 99 may lie in any piece */
			r = next();
			assert_int_equal(r != NULL, frame[99] % 2 == 0);
			if (!r)
				continue;
			n++;
			assert_int_equal(r->len, sizeof(frame));
			assert_int_equal(r->caplen, snaplen < 50 ? snaplen : 50);
			assert_memory_equal(r + 1, frame, r->caplen);
		}
	}
	give(frame, 60, 60); /* shorter than what the filter looks at */
	assert_null(next());
	assert_in_range(n, 300, 700);
}

static void full_ring_drops_and_counts_and_goes_on(void **state)
{
	static uint8_t frame[1500];
	unsigned n_read = 0, n_given = 0, stamp, last = 0;

	start();
	for (int round = 0; round < 50; round++) {
		for (unsigned i = pick(600); i > 0; i--) {
			n_given++;
			memcpy(frame, &n_given, sizeof(n_given));
			give(frame, 100 + pick(1400), 2000);
			assert_true(out.head - capture.tail <= RING);
		}
		for (unsigned i = pick(400); i > 0; i--) {
			const struct weir_capture_record *r = next();

			if (!r)
				break;
			memcpy(&stamp, r + 1, sizeof(stamp));
			assert_true(stamp > last); /* in order, and never overwritten */
			last = stamp;
			n_read++;
		}
		assert_int_equal(out.n_captured + out.n_dropped, n_given);
	}
	while (next())
		n_read++;
	assert_int_equal(n_read, out.n_captured);
	assert_true(out.n_dropped > 1000);
	assert_true(out.head > 10 * RING);
	assert_int_equal(stats.counter[WEIR_C_CAPTURE_DROPS], out.n_dropped);
	assert_int_equal(stats.counter[WEIR_C_RX_PACKETS], n_given);
}

static void stops_after_its_count(void **state)
{
	static uint8_t frame[100];

	spec.count = 3;
	start();
	for (int i = 0; i < 10; i++)
		give(frame, sizeof(frame), 200);
	assert_int_equal(out.n_captured, 3);
	for (int i = 0; i < 3; i++)
		assert_non_null(next());
	assert_null(next());
	assert_null(net->capture);
}

static void nothing_is_copied_while_none_is_on(void **state)
{
	static uint8_t frame[100];

	give(frame, sizeof(frame), 200);
	start();
	net_capture_stop(net);
	give(frame, sizeof(frame), 200);
	net_flush(net);
	assert_int_equal(out.head, 0);
	assert_int_equal(stats.counter[WEIR_C_CAPTURED], 0);
}

static void give_arp_request(uint8_t from)
{
	uint8_t f[60] = {255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, from, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1,
			 2, 0, 0, 0, 0, from, 10, 0, 0, from, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2};

	give(f, sizeof(f), 200);
}

/* Answers wait for a port that is full: each is seen once, at the flush that offers it first. */
static void what_is_sent_is_seen_once(void **state)
{
	const struct weir_capture_record *r;
	unsigned n_in = 0, n_out = 0;

	net_poll(net, now);
	start();
	port_takes = 2;
	for (uint8_t i = 0; i < 7; i++)
		give_arp_request((uint8_t)(10 + i));
	for (int i = 0; i < 5; i++) {
		net_flush(net);
		if (i == 0)
			give_arp_request(17); /* one more behind those that wait */
	}
	assert_int_equal(stats.counter[WEIR_C_TX_PACKETS], 8);
	while ((r = next())) {
		const uint8_t *p = (const uint8_t *)(r + 1);

		n_in += r->direction == WEIR_CAPTURE_IN;
		if (r->direction == WEIR_CAPTURE_OUT) {
			assert_int_equal(p[21], 2); /* a reply */
			assert_int_equal(p[5], 10 + n_out);
			assert_int_equal(r->time_us, now + 1000000000);
			n_out++;
		}
	}
	assert_int_equal(n_in, 8);
	assert_int_equal(n_out, 8);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(frames_come_whole_whatever_they_lie_in),
		TEST(at_most_snaplen_and_what_the_filter_says),
		TEST(full_ring_drops_and_counts_and_goes_on),
		TEST(stops_after_its_count),
		TEST(nothing_is_copied_while_none_is_on),
		TEST(what_is_sent_is_seen_once),
	};
#undef TEST

	test_eal_init();
	return cmocka_run_group_tests(tests, start_all, stop_all);
}
