/* SPDX-License-Identifier: Apache-2.0 */
/* Frames in, frames out: two workers' networks on a port that the test listens in on. TCP is the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include "../../eal.h"
#include "base/wheel.h"
#include "net/net.h"
#include "net/net_pvt.h"
#include "net/steer.h"

#define N 2
#define MAX_SENT 64
#define N_MBUFS 1023

static struct rte_mempool *pool;
static struct net_port port;
static struct net_iface ifaces[2];
static struct rte_ring *rings[N * N], *out[N * N];
static struct wheel wheels[N];
static struct weir_worker_stats stats[N];
static struct net *net[N];
static struct steer steer;
static uint64_t now = 10000000;

/* What was sent, and what TCP got. */
static unsigned n_sent;
static uint8_t sent[MAX_SENT][1600];
static unsigned sent_len[MAX_SENT];
static unsigned n_tcp;
static uint8_t tcp_data[1600];
static unsigned tcp_len;
static struct tcp_packet tcp_packet_seen;
static unsigned n_icmp;
static struct ip_flow icmp_flow;
static uint32_t icmp_seq;
static enum tcp_icmp icmp_what;
static uint16_t icmp_mtu;

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
	n_tcp++;
	tcp_len = m->pkt_len;
	memcpy(tcp_data, rte_pktmbuf_mtod(m, void *), m->data_len);
	tcp_packet_seen = *packet;
	rte_pktmbuf_free(m);
}

bool tcp_is_next(const struct tcp_stack *s, const struct ip_flow *flow, uint32_t seq)
{
	return false;
}

bool tcp_icmp_error(struct tcp_stack *s, const struct ip_flow *flow, uint32_t seq, enum tcp_icmp what, uint16_t mtu,
		    uint64_t now_us)
{
	n_icmp++;
	icmp_flow = *flow;
	icmp_seq = seq;
	icmp_what = what;
	icmp_mtu = mtu;
	return true;
}

static uint16_t listen_in(uint16_t id, uint16_t queue, struct rte_mbuf **pkts, uint16_t n, void *ctx)
{
	for (uint16_t i = 0; i < n && n_sent < MAX_SENT; i++) {
		const void *p;

		sent_len[n_sent] = pkts[i]->pkt_len;
		p = rte_pktmbuf_read(pkts[i], 0, pkts[i]->pkt_len, sent[n_sent]);
		if (p != sent[n_sent])
			memcpy(sent[n_sent], p, pkts[i]->pkt_len);
		n_sent++;
	}
	return n;
}

static const uint8_t us[6] = {2, 0, 0, 0, 0, 1}, him[6] = {2, 0, 0, 0, 0, 9};

static struct weir_ip ip(const char *text)
{
	struct weir_ip a;

	assert_int_equal(ip_parse(text, strlen(text), &a), 0);
	return a;
}

static void set_iface(struct net_iface *f, uint16_t vlan, const char *a4, const char *a6, const char *gw4)
{
	*f = (struct net_iface){.port_id = port.port_id, .vlan = vlan, .mtu = 1500, .n_addrs = 2};
	memcpy(f->mac, us, 6);
	f->addrs[0] = (struct net_addr){.ip = ip(a4), .prefix_len = 24};
	f->addrs[1] = (struct net_addr){.ip = ip(a6), .prefix_len = 64};
	if (gw4) {
		f->has_gw4 = true;
		f->gw4 = ip(gw4);
	}
}

static int start_all(void **state)
{
	static struct rte_mempool *pools[N];
	struct net_port_config pc = {.device = "net_null0,no-rx=1", .n_queues = N, .mtu = 1500, .pools = pools};

	pool = rte_pktmbuf_pool_create("net", N_MBUFS, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	pools[0] = pools[1] = pool;
	steer_init(&steer, N, 20000, 21999);
	if (!pool || port_start(&pc, &port) != 0)
		return -1;
	for (uint16_t i = 0; i < N; i++)
		rte_eth_add_tx_callback(port.port_id, i, listen_in, NULL);
	set_iface(&ifaces[0], 0, "10.0.0.2", "fd00::2", "10.0.0.1");
	set_iface(&ifaces[1], 7, "10.7.0.2", "fd07::2", NULL);
	for (int i = 0; i < N * N; i++) {
		char name[16];

		snprintf(name, sizeof(name), "r%d", i);
		rings[i] = out[i % N * N + i / N] = rte_ring_create(name, 64, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
	}
	return 0;
}

static int setup(void **state)
{
	n_sent = n_tcp = n_icmp = 0;
	memset(stats, 0, sizeof(stats));
	for (uint16_t i = 0; i < N; i++) {
		struct net_config nc = {.worker = i, .n_workers = N, .n_ifaces = 2, .ifaces = ifaces, .n_ports = 1, .ports = &port,
					.pool = pool, .wheel = &wheels[i], .stats = &stats[i], .redirect_in = &rings[i * N],
					.redirect_out = &out[i * N], .n_neighbours = 8, .neighbour_queue = 3, .steer = &steer};

		now += 10000000;
		wheel_init(&wheels[i], 1000, now);
		net[i] = net_create(&nc);
		assert_non_null(net[i]);
		net[i]->n_announced = 3; /* what is announced at the start is another test's */
	}
	return 0;
}

static int teardown(void **state)
{
	for (int i = 0; i < N; i++) {
		net_flush(net[i]);
		net_destroy(net[i]);
		assert_int_equal(wheels[i].n_armed, 0);
	}
	for (int i = 0; i < N * N; i++) {
		void *m;

		while (rte_ring_dequeue(rings[i], &m) == 0)
			rte_pktmbuf_free(m);
	}
	assert_int_equal(rte_mempool_avail_count(pool), N_MBUFS);
	return 0;
}

static void poll_all(void)
{
	for (int round = 0; round < 2; round++)
		for (int i = 0; i < N; i++) {
			net_poll(net[i], now);
			wheel_run(&wheels[i], now, 100);
			net_flush(net[i]);
		}
}

/* flags: what the device says of the checksums. */
static void give_flagged(int worker, const uint8_t *frame, unsigned len, uint64_t flags)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

	memcpy(rte_pktmbuf_append(m, (uint16_t)len), frame, len);
	m->ol_flags |= flags;
	net_input(net[worker], 0, &m, 1, now);
	poll_all();
}

static void give(int worker, const uint8_t *frame, unsigned len)
{
	give_flagged(worker, frame, len, 0);
}

static unsigned put_eth(uint8_t *p, const uint8_t *dst, uint16_t type)
{
	memcpy(p, dst, 6);
	memcpy(p + 6, him, 6);
	p[12] = (uint8_t)(type >> 8);
	p[13] = (uint8_t)type;
	return 14;
}

static void give_arp(int worker, uint8_t op, const char *sender, const char *target)
{
	uint8_t f[60] = {0};
	struct weir_ip s = ip(sender), t = ip(target);
	static const uint8_t all[6] = {255, 255, 255, 255, 255, 255};

	put_eth(f, op == 1 ? all : us, ETHERTYPE_ARP);
	memcpy(f + 14, (const uint8_t[]){0, 1, 8, 0, 6, 4, 0, op}, 8);
	memcpy(f + 22, him, 6);
	memcpy(f + 28, s.b + 12, 4);
	memcpy(f + 38, t.b + 12, 4);
	give(worker, f, sizeof(f));
}

static uint16_t sum16(const uint8_t *p, unsigned n, uint32_t sum)
{
	for (unsigned i = 0; i < n; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* An IPv4 packet with a right header; the payload's checksum is the caller's. Returns the frame's length. */
static unsigned put_ip4(uint8_t *f, const char *src, const char *dst, uint8_t proto, const uint8_t *payload, unsigned n)
{
	struct weir_ip s = ip(src), d = ip(dst);
	uint8_t *p = f + put_eth(f, us, ETHERTYPE_IP4);
	uint16_t sum;

	memset(p, 0, 20);
	p[0] = 0x45;
	p[2] = (uint8_t)((20 + n) >> 8);
	p[3] = (uint8_t)(20 + n);
	p[8] = 64;
	p[9] = proto;
	memcpy(p + 12, s.b + 12, 4);
	memcpy(p + 16, d.b + 12, 4);
	sum = (uint16_t)~sum16(p, 20, 0);
	p[10] = (uint8_t)(sum >> 8);
	p[11] = (uint8_t)sum;
	memcpy(p + 20, payload, n);
	return 34 + n;
}

/* A TCP segment, checksum right. */
static unsigned put_tcp4(uint8_t *f, const char *src, const char *dst, uint16_t sport, uint16_t dport, unsigned n)
{
	uint8_t t[1480] = {0};
	struct weir_ip s = ip(src), d = ip(dst);
	uint32_t pseudo;
	uint16_t sum;

	t[0] = (uint8_t)(sport >> 8);
	t[1] = (uint8_t)sport;
	t[2] = (uint8_t)(dport >> 8);
	t[3] = (uint8_t)dport;
	t[12] = 5 << 4;
	t[13] = 0x10;
	for (unsigned i = 0; i < n; i++)
		t[20 + i] = (uint8_t)(i * 7);
	pseudo = sum16(s.b + 12, 4, 0) + sum16(d.b + 12, 4, 0) + 6 + 20 + n;
	sum = (uint16_t)~sum16(t, 20 + n, pseudo);
	t[16] = (uint8_t)(sum >> 8);
	t[17] = (uint8_t)sum;
	return put_ip4(f, src, dst, PROTO_TCP, t, 20 + n);
}

static uint64_t reason(enum weir_reason r)
{
	return stats[0].reason[r] + stats[1].reason[r];
}

static void arp_request_for_us_is_answered(void **state)
{
	give_arp(0, 1, "10.0.0.9", "10.0.0.2");
	assert_int_equal(n_sent, 1);
	assert_memory_equal(sent[0], him, 6);
	assert_int_equal(sent[0][21], 2);
	assert_memory_equal(sent[0] + 22, us, 6);
	give_arp(0, 1, "10.0.0.9", "10.0.0.3");
	assert_int_equal(n_sent, 1);
	assert_int_equal(reason(WEIR_R_ARP_NOT_OURS), 1);
}

static void output(int worker, const char *remote, uint16_t lport, unsigned n_payload)
{
	struct ip_flow flow = {.local = ip("10.0.0.2"), .remote = ip(remote), .local_port = lport, .remote_port = 9};
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	uint8_t *h = (uint8_t *)rte_pktmbuf_append(m, 20);

	memset(h, 0, 20);
	h[12] = 5 << 4;
	for (unsigned i = 0; i < n_payload;) { /* in pieces of odd length */
		struct rte_mbuf *piece = rte_pktmbuf_alloc(pool);
		unsigned k = n_payload - i < 333 ? n_payload - i : 333;
		uint8_t *p = (uint8_t *)rte_pktmbuf_append(piece, (uint16_t)k);

		for (unsigned j = 0; j < k; j++)
			p[j] = (uint8_t)(255 - i - j);
		rte_pktmbuf_chain(m, piece);
		i += k;
	}
	net_output_tcp(net[worker], m, &flow, 0, now);
	net_flush(net[worker]);
}

static void unknown_next_hop_is_asked_for_and_then_gets_its_packets(void **state)
{
	output(0, "10.0.0.9", 80, 0);
	assert_int_equal(n_sent, 1);
	assert_int_equal(sent[0][13], 6); /* ARP */
	give_arp(0, 2, "10.0.0.9", "10.0.0.2");
	assert_int_equal(n_sent, 2);
	assert_memory_equal(sent[1], him, 6);
	assert_int_equal(sent[1][12] << 8 | sent[1][13], ETHERTYPE_IP4);
	assert_int_equal(sum16(sent[1] + 14, 20, 0), 0xffff);
}

static void silent_next_hop_fails_and_its_queue_is_bounded(void **state)
{
	for (int i = 0; i < 5; i++)
		output(0, "10.0.0.9", 80, 0);
	assert_int_equal(reason(WEIR_R_NEIGHBOUR_QUEUE_FULL), 2);
	for (int i = 0; i < 6; i++) {
		now += 1100000;
		poll_all();
	}
	assert_int_equal(n_sent, 3); /* three questions */
	assert_int_equal(reason(WEIR_R_NEIGHBOUR_FAILED), 3);
}

static void what_one_worker_learns_all_know(void **state)
{
	output(1, "10.0.0.9", 80, 0);
	assert_int_equal(n_sent, 1);
	give_arp(0, 2, "10.0.0.9", "10.0.0.2"); /* the answer comes to the other one */
	assert_int_equal(n_sent, 2);
	assert_int_equal(sent[1][12] << 8 | sent[1][13], ETHERTYPE_IP4);
	assert_int_equal(stats[1].counter[WEIR_C_STEERED_IN], 1);
}

static void far_destination_goes_by_the_gateway(void **state)
{
	output(0, "192.0.2.77", 80, 0);
	assert_int_equal(n_sent, 1);
	assert_memory_equal(sent[0] + 38, ip("10.0.0.1").b + 12, 4); /* asks for the gateway */
}

static void chains_of_odd_pieces_have_right_checksums(void **state)
{
	for (unsigned n = 1; n < 1400; n += 97) {
		uint32_t pseudo;

		n_sent = 0;
		give_arp(0, 1, "10.0.0.9", "10.0.0.2");
		output(0, "10.0.0.9", 80, n);
		assert_true(n_sent >= 2);
		pseudo = sum16(sent[n_sent - 1] + 26, 8, 0) + 6 + 20 + n;
		if (sum16(sent[n_sent - 1] + 34, 20 + n, pseudo) != 0xffff)
			fail_msg("%u payload bytes", n);
		now += 100;
	}
}

static void echo_is_answered_with_its_data(void **state)
{
	uint8_t icmp[21] = {8, 0, 0, 0, 1, 2, 3, 4, 'd', 'a', 't', 'a'};
	uint16_t sum = (uint16_t)~sum16(icmp, sizeof(icmp), 0);
	uint8_t f[200];

	icmp[2] = (uint8_t)(sum >> 8);
	icmp[3] = (uint8_t)sum;
	give_arp(0, 1, "10.0.0.9", "10.0.0.2");
	give(0, f, put_ip4(f, "10.0.0.9", "10.0.0.2", PROTO_ICMP, icmp, sizeof(icmp)));
	assert_int_equal(sent[n_sent - 1][34], 0);
	assert_memory_equal(sent[n_sent - 1] + 38, icmp + 4, sizeof(icmp) - 4);
	assert_int_equal(sum16(sent[n_sent - 1] + 34, sizeof(icmp), 0), 0xffff);
	f[40]++;
	give(0, f, 34 + sizeof(icmp));
	assert_int_equal(reason(WEIR_R_ICMP_BAD), 1);
}

static void neighbour_solicitation_is_answered(void **state)
{
	uint8_t f[86] = {0x33, 0x33, 0xff, 0, 0, 2};
	struct weir_ip src = ip("fd00::9"), dst = ip("ff02::1:ff00:2"), target = ip("fd00::2");
	uint16_t sum;

	memcpy(f + 6, him, 6);
	f[12] = 0x86;
	f[13] = 0xdd;
	f[14] = 0x60;
	f[19] = 32;
	f[20] = 58;
	f[21] = 255;
	memcpy(f + 22, src.b, 16);
	memcpy(f + 38, dst.b, 16);
	f[54] = 135;
	memcpy(f + 62, target.b, 16);
	f[78] = 1;
	f[79] = 1;
	memcpy(f + 80, him, 6);
	sum = (uint16_t)~sum16(f + 54, 32, sum16(f + 22, 32, 0) + 58 + 32);
	f[56] = (uint8_t)(sum >> 8);
	f[57] = (uint8_t)sum;
	give(0, f, sizeof(f));
	assert_int_equal(n_sent, 1);
	assert_int_equal(sent[0][54], 136);
	assert_memory_equal(sent[0], him, 6);
	assert_memory_equal(sent[0] + 62, target.b, 16);
	assert_int_equal(sum16(sent[0] + 54, 32, sum16(sent[0] + 22, 32, 0) + 58 + 32), 0xffff);
	f[21] = 64; /* not from this link */
	give(0, f, sizeof(f));
	assert_int_equal(reason(WEIR_R_NDP_BAD), 1);
}

static void give_na(int worker, uint8_t flags, const uint8_t *mac)
{
	unsigned len = mac ? 32 : 24;
	uint8_t f[86] = {0};
	struct weir_ip src = ip("fd00::9"), dst = ip("fd00::2");
	uint16_t sum;

	memcpy(f, us, 6);
	memcpy(f + 6, him, 6);
	f[12] = 0x86;
	f[13] = 0xdd;
	f[14] = 0x60;
	f[19] = (uint8_t)len;
	f[20] = 58;
	f[21] = 255;
	memcpy(f + 22, src.b, 16);
	memcpy(f + 38, dst.b, 16);
	f[54] = 136;
	f[58] = flags;
	memcpy(f + 62, src.b, 16);
	if (mac) {
		f[78] = 2;
		f[79] = 1;
		memcpy(f + 80, mac, 6);
	}
	sum = (uint16_t)~sum16(f + 54, len, sum16(f + 22, 32, 0) + 58 + len);
	f[56] = (uint8_t)(sum >> 8);
	f[57] = (uint8_t)sum;
	give(worker, f, 54 + len);
}

static void output6(void)
{
	struct ip_flow flow = {.local = ip("fd00::2"), .remote = ip("fd00::9"), .local_port = 80, .remote_port = 9};
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	uint8_t *h = (uint8_t *)rte_pktmbuf_append(m, 20);

	memset(h, 0, 20);
	h[12] = 5 << 4;
	net_output_tcp(net[0], m, &flow, 0, now);
	net_flush(net[0]);
}

static void neighbour_is_kept_by_answers_that_name_no_address(void **state)
{
	output6();
	give_na(0, 0x60, him);
	n_sent = 0;
	for (int i = 0; i < 10; i++) { /* each time it has become stale: asked by unicast, answered without the option */
		now += 31000000;
		output6();
		assert_int_equal(n_sent, 2); /* the question, and the packet all the same */
		give_na(0, 0x40, NULL);
		n_sent = 0;
		now += 5000000;
		poll_all();
		assert_int_equal(n_sent, 0);
	}
	assert_int_equal(stats[0].counter[WEIR_C_NEIGHBOURS_RESOLVED], 1);
}

static void another_address_counts_only_with_override(void **state)
{
	static const uint8_t other[6] = {2, 0, 0, 0, 0, 7};

	output6();
	give_na(0, 0x60, him);
	give_na(0, 0x40, other);
	n_sent = 0;
	output6();
	assert_memory_equal(sent[n_sent - 1], him, 6);
	give_na(0, 0x60, other);
	output6();
	assert_memory_equal(sent[n_sent - 1], other, 6);
}

static void segment_reaches_its_owner_without_padding(void **state)
{
	uint8_t f[1600] = {0};
	unsigned len = put_tcp4(f, "10.0.0.9", "10.0.0.2", 4000, 20001, 3); /* the first worker's port */

	give(0, f, 60); /* Ethernet's least length */
	assert_true(len < 60);
	assert_int_equal(n_tcp, 1);
	assert_int_equal(tcp_len, 23);
	assert_true(ip_eq(&tcp_packet_seen.src, &(struct weir_ip){{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 9}}));
	give(1, f, 60); /* received by the other one */
	assert_int_equal(n_tcp, 2);
	assert_int_equal(stats[1].counter[WEIR_C_STEERED_OUT], 1);
	assert_int_equal(stats[0].counter[WEIR_C_STEERED_IN], 1);
	put_tcp4(f, "10.0.0.9", "10.0.0.2", 4000, 21001, 3); /* the second worker's */
	give(0, f, 60);
	assert_int_equal(stats[0].counter[WEIR_C_STEERED_OUT], 1);
}

static void owner_of_a_client_does_not_depend_on_the_queue(void **state)
{
	unsigned of[N] = {0};

	for (uint16_t p = 1000; p < 1200; p++) {
		struct ip_flow flow = {.local = ip("10.0.0.2"), .remote = ip("10.0.0.9"), .local_port = 80, .remote_port = p};
		uint16_t owner = steer_owner(net[0], &port, &flow);

		assert_int_equal(owner, steer_owner(net[1], &port, &flow));
		of[owner]++;
	}
	assert_in_range(of[0], 60, 140);
}

static void wrong_packets_are_dropped_under_their_reason(void **state)
{
	static const struct {
		unsigned at;
		uint8_t with;
		enum weir_reason why;
	} cases[] = {
		{0, 4, WEIR_R_RX_OTHER_MAC},	   {12, 9, WEIR_R_RX_UNKNOWN_ETHERTYPE}, {14, 0x65, WEIR_R_IP_BAD_VERSION},
		{14, 0x44, WEIR_R_IP_BAD_HEADER},  {16, 200, WEIR_R_RX_TRUNCATED},	 {22, 1, WEIR_R_IP_BAD_CHECKSUM},
		{60, 99, WEIR_R_TCP_BAD_CHECKSUM},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		uint8_t f[1600] = {0};
		unsigned len = put_tcp4(f, "10.0.0.9", "10.0.0.2", 4000, 20001, 30);

		f[cases[i].at] = cases[i].with;
		give(0, f, len);
		if (reason(cases[i].why) != 1)
			fail_msg("case %zu", i);
		assert_int_equal(n_tcp, 0);
	}
}

static void what_the_device_verified_is_taken_whatever_the_headers_say(void **state)
{
	static const struct {
		uint64_t ip, l4;
		bool is_taken;
	} cases[] = {
		{RTE_MBUF_F_RX_IP_CKSUM_GOOD, RTE_MBUF_F_RX_L4_CKSUM_GOOD, true},
		{RTE_MBUF_F_RX_IP_CKSUM_NONE, RTE_MBUF_F_RX_L4_CKSUM_NONE, true},
		{RTE_MBUF_F_RX_IP_CKSUM_GOOD, RTE_MBUF_F_RX_L4_CKSUM_BAD, false},
		{RTE_MBUF_F_RX_IP_CKSUM_GOOD, RTE_MBUF_F_RX_L4_CKSUM_UNKNOWN, false},
		{RTE_MBUF_F_RX_IP_CKSUM_BAD, RTE_MBUF_F_RX_L4_CKSUM_GOOD, false},
		{RTE_MBUF_F_RX_IP_CKSUM_UNKNOWN, RTE_MBUF_F_RX_L4_CKSUM_GOOD, false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		uint8_t f[1600] = {0};
		unsigned len = put_tcp4(f, "10.0.0.9", "10.0.0.2", 4000, 20001, 30);
		unsigned before = n_tcp;

		f[24] ^= 0xff; /* of the IP header, then of the TCP header */
		f[50] ^= 0xff;
		give_flagged(0, f, len, cases[i].ip | cases[i].l4);
		if ((n_tcp > before) != cases[i].is_taken)
			fail_msg("case %zu", i);
	}
}

static void foreign_fragmented_and_spoofed_packets_are_dropped(void **state)
{
	uint8_t f[1600] = {0};
	uint8_t payload[8] = {0};

	give(0, f, put_tcp4(f, "10.0.0.9", "10.0.0.3", 1, 80, 0));
	assert_int_equal(reason(WEIR_R_IP_NOT_OURS), 1);
	give(0, f, put_tcp4(f, "127.0.0.1", "10.0.0.2", 1, 80, 0));
	give(0, f, put_tcp4(f, "10.0.0.2", "10.0.0.2", 1, 80, 0));
	assert_int_equal(reason(WEIR_R_IP_BAD_SOURCE), 2);
	give_arp(0, 1, "10.0.0.9", "10.0.0.2");
	n_sent = 0;
	give(0, f, put_ip4(f, "10.0.0.9", "10.0.0.2", 17, payload, 8));
	assert_int_equal(reason(WEIR_R_IP_UNKNOWN_PROTOCOL), 1);
	assert_int_equal(n_sent, 2); /* is he still there? and: port unreachable, with what it speaks of */
	assert_int_equal(sent[1][34], 3);
	assert_int_equal(sent[1][35], 3);
	assert_memory_equal(sent[1] + 42, f + 14, 28);
}

static void icmp_error_reaches_tcp_only_for_packets_of_ours(void **state)
{
	uint8_t f[1600];
	uint8_t e[36] = {3, 4, 0, 0, 0, 0, 0x05, 0x14};
	uint8_t quoted[1600];
	uint16_t sum;

	put_tcp4(quoted, "10.0.0.2", "10.0.0.9", 20001, 80, 1460);
	quoted[14 + 20 + 7] = 42; /* sequence number */
	memcpy(e + 8, quoted + 14, 28);
	sum = (uint16_t)~sum16(e, sizeof(e), 0);
	e[2] = (uint8_t)(sum >> 8);
	e[3] = (uint8_t)sum;
	give(1, f, put_ip4(f, "10.0.0.1", "10.0.0.2", PROTO_ICMP, e, sizeof(e)));
	assert_int_equal(n_icmp, 1);
	assert_int_equal(icmp_what, TCP_ICMP_TOO_BIG);
	assert_int_equal(icmp_mtu, 0x514);
	assert_int_equal(icmp_seq, 42);
	assert_int_equal(icmp_flow.local_port, 20001);
	assert_int_equal(stats[0].counter[WEIR_C_ICMP_ERRORS_RX], 1); /* the owner's */
	e[8 + 15] = 77; /* quotes a packet from another host */
	memset(e + 2, 0, 2);
	sum = (uint16_t)~sum16(e, sizeof(e), 0);
	e[2] = (uint8_t)(sum >> 8);
	e[3] = (uint8_t)sum;
	give(1, f, put_ip4(f, "10.0.0.1", "10.0.0.2", PROTO_ICMP, e, sizeof(e)));
	assert_int_equal(n_icmp, 1);
	assert_int_equal(reason(WEIR_R_ICMP_BAD), 1);
}

static void vlan_tag_is_read_and_written(void **state)
{
	uint8_t f[60] = {0};

	memset(f, 0xff, 6);
	memcpy(f + 6, him, 6);
	memcpy(f + 12, (const uint8_t[]){0x81, 0, 0x20, 7, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1}, 14);
	memcpy(f + 26, him, 6);
	memcpy(f + 32, (const uint8_t[]){10, 7, 0, 9}, 4);
	memcpy(f + 42, (const uint8_t[]){10, 7, 0, 2}, 4);
	give(0, f, sizeof(f));
	assert_int_equal(n_sent, 1);
	assert_memory_equal(sent[0] + 12, ((const uint8_t[]){0x81, 0, 0, 7, 8, 6}), 6);
	f[15] = 8; /* a VLAN that is not ours */
	give(0, f, sizeof(f));
	assert_int_equal(reason(WEIR_R_RX_OTHER_VLAN), 1);
}

static void addresses_are_announced_at_the_start(void **state)
{
	net[0]->n_announced = 0;
	net[0]->announce_us = 0;
	poll_all();
	assert_int_equal(n_sent, 4); /* two of each family */
	assert_memory_equal(sent[0] + 28, ip("10.0.0.2").b + 12, 4);
	assert_int_equal(sent[1][54], 136);
}

static void addresses_are_announced_again_when_a_link_comes_up(void **state)
{
	poll_all();
	assert_int_equal(n_sent, 0);
	port.n_ups++;
	poll_all();
	assert_int_equal(n_sent, 4);
	assert_memory_equal(sent[0] + 28, ip("10.0.0.2").b + 12, 4);
	now += 1000000;
	poll_all();
	now += 1000000;
	poll_all();
	now += 1000000;
	poll_all();
	assert_int_equal(n_sent, 12); /* three times, and then no more */
}

static void what_goes_to_a_port_that_is_down_is_dropped_by_name(void **state)
{
	port.is_shut = true;
	give_arp(0, 1, "10.0.0.9", "10.0.0.2"); /* an answer is owed */
	net[0]->n_announced = 0;
	net[0]->announce_us = 0;
	poll_all(); /* and addresses would be announced */
	port.is_shut = false;
	assert_int_equal(n_sent, 0);
	assert_int_equal(reason(WEIR_R_TX_PORT_DOWN), 1);
	assert_int_equal(reason(WEIR_R_TX_FULL), 0);
}

static void a_port_on_another_node_is_far(void **state)
{
	assert_true(port_is_far(1, 0));
	assert_true(port_is_far(0, 3));
	assert_false(port_is_far(1, 1));
	assert_false(port_is_far(-1, 0)); /* a virtual one, of no node */
	assert_false(port_is_far(1, -1));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(arp_request_for_us_is_answered),
		T(unknown_next_hop_is_asked_for_and_then_gets_its_packets),
		T(silent_next_hop_fails_and_its_queue_is_bounded),
		T(what_one_worker_learns_all_know),
		T(far_destination_goes_by_the_gateway),
		T(chains_of_odd_pieces_have_right_checksums),
		T(echo_is_answered_with_its_data),
		T(neighbour_solicitation_is_answered),
		T(neighbour_is_kept_by_answers_that_name_no_address),
		T(another_address_counts_only_with_override),
		T(segment_reaches_its_owner_without_padding),
		T(owner_of_a_client_does_not_depend_on_the_queue),
		T(what_the_device_verified_is_taken_whatever_the_headers_say),
		T(wrong_packets_are_dropped_under_their_reason),
		T(foreign_fragmented_and_spoofed_packets_are_dropped),
		T(icmp_error_reaches_tcp_only_for_packets_of_ours),
		T(vlan_tag_is_read_and_written),
		T(addresses_are_announced_at_the_start),
		T(addresses_are_announced_again_when_a_link_comes_up),
		T(what_goes_to_a_port_that_is_down_is_dropped_by_name),
		T(a_port_on_another_node_is_far),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, start_all, NULL);
}
