/* SPDX-License-Identifier: Apache-2.0 */
/* The network and the TCP that takes notes; see rig.h. */
#include "rig.h"

#include <rte_ethdev.h>
#include <rte_ring.h>

struct rig rig;

/* -- the TCP that takes notes */

bool tcp_is_listening(const struct tcp_stack *s, const struct ip_flow *flow)
{
	return rig.listens;
}

bool tcp_has_flow(const struct tcp_stack *s, const struct ip_flow *flow)
{
	return rig.has_flow;
}

bool tcp_is_cookie(const struct tcp_stack *s, const struct ip_flow *flow, const uint8_t *header, size_t n)
{
	return rig.is_cookie;
}

void tcp_input(struct tcp_stack *s, struct rte_mbuf *m, const struct tcp_packet *packet, uint64_t now_us)
{
	struct rig_input *in = &rig.inputs[rig.n_inputs];
	const uint8_t *h = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t seq = (uint32_t)h[4] << 24 | (uint32_t)h[5] << 16 | (uint32_t)h[6] << 8 | h[7];
	uint32_t n_header = (h[12] >> 4) * 4u;

	assert_true(rig.n_inputs < RIG_MAX);
	assert_int_equal(rte_mbuf_check(m, 1, NULL), 0);
	in->is_bad = n_header < 20 || n_header > m->data_len;
	in->packet = *packet;
	in->len = m->pkt_len;
	in->n_segs = m->nb_segs;
	h = rte_pktmbuf_read(m, 0, m->pkt_len, in->data);
	if (h != in->data)
		memcpy(in->data, h, m->pkt_len);
	rig.n_inputs++;
	if (rig.has_next && seq == rig.next_seq && !in->is_bad)
		rig.next_seq += m->pkt_len - n_header;
	rte_pktmbuf_free(m);
}

bool tcp_is_next(const struct tcp_stack *s, const struct ip_flow *flow, uint32_t seq)
{
	rig.n_asked++;
	return rig.has_next && seq == rig.next_seq;
}

bool tcp_icmp_error(struct tcp_stack *s, const struct ip_flow *flow, uint32_t seq, enum tcp_icmp what, uint16_t mtu,
		    uint64_t now_us)
{
	rig.n_icmp++;
	rig.icmp = (struct rig_icmp){*flow, seq, what, mtu};
	return rig.is_in_flight;
}

/* -- the network */

static uint16_t listen_in(uint16_t id, uint16_t queue, struct rte_mbuf **pkts, uint16_t n, void *ctx)
{
	for (uint16_t i = 0; i < n && rig.n_sent < RIG_MAX; i++) {
		struct rig_frame *f = &rig.sent[rig.n_sent++];
		const void *p;

		f->len = pkts[i]->pkt_len;
		f->n_segs = pkts[i]->nb_segs;
		f->ol_flags = pkts[i]->ol_flags;
		f->l2_len = pkts[i]->l2_len;
		f->l3_len = pkts[i]->l3_len;
		f->l4_len = pkts[i]->l4_len;
		f->tso_segsz = pkts[i]->tso_segsz;
		p = rte_pktmbuf_read(pkts[i], 0, f->len, f->data);
		if (p != f->data)
			memcpy(f->data, p, f->len);
	}
	return n;
}

int rig_start(void **state)
{
	static struct rte_mempool *pools[RIG_N];
	struct net_port_config pc = {.device = "net_null0,no-rx=1", .n_queues = RIG_N, .mtu = 1500, .pools = pools};

	rig.sent = calloc(RIG_MAX, sizeof(*rig.sent));
	rig.inputs = calloc(RIG_MAX, sizeof(*rig.inputs));
	rig.now = 10000000;
	rig.pool = rte_pktmbuf_pool_create("rig", RIG_N_MBUFS, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	rig.clones = rte_pktmbuf_pool_create("rig-clones", RIG_N_MBUFS, 0, 0, 0, SOCKET_ID_ANY);
	pools[0] = pools[1] = rig.pool;
	steer_init(&rig.steer, RIG_N, 20000, 21999);
	if (!rig.sent || !rig.inputs || !rig.pool || !rig.clones || port_start(&pc, &rig.port) != 0)
		return -1;
	for (uint16_t i = 0; i < RIG_N; i++)
		rte_eth_add_tx_callback(rig.port.port_id, i, listen_in, NULL);
	rig.iface = (struct net_iface){.port_id = rig.port.port_id, .mtu = 1500, .n_addrs = 2, .has_gw4 = true, .has_gw6 = true};
	memcpy(rig.iface.mac, rig_us, 6);
	rig.iface.addrs[0] = (struct net_addr){.ip = rig_ip(RIG_US4), .prefix_len = 24};
	rig.iface.addrs[1] = (struct net_addr){.ip = rig_ip(RIG_US6), .prefix_len = 64};
	rig.iface.gw4 = rig_ip("10.0.0.1");
	rig.iface.gw6 = rig_ip("fd00::1");
	for (int i = 0; i < RIG_N * RIG_N; i++) {
		char name[16];

		snprintf(name, sizeof(name), "r%d", i);
		rig.rings[i] = rig.out[i % RIG_N * RIG_N + i / RIG_N] =
			rte_ring_create(name, 64, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
	}
	return 0;
}

int rig_setup(void **state)
{
	rig.n_sent = rig.n_inputs = rig.n_icmp = rig.n_asked = 0;
	rig.has_next = false;
	rig.is_in_flight = true;
	memset(rig.stats, 0, sizeof(rig.stats));
	for (uint16_t i = 0; i < RIG_N; i++) {
		struct net_config nc = {.worker = i, .n_workers = RIG_N, .n_ifaces = 1, .ifaces = &rig.iface, .n_ports = 1,
					.ports = &rig.port, .pool = rig.pool, .clones = rig.clones, .wheel = &rig.wheels[i],
					.stats = &rig.stats[i], .redirect_in = &rig.rings[i * RIG_N],
					.redirect_out = &rig.out[i * RIG_N], .n_neighbours = 8, .neighbour_queue = 3,
					.steer = &rig.steer, .gro = !rig.no_gro, .punt = rig.punt[i], .hands_over = rig.hands_over};

		rig.now += 10000000;
		wheel_init(&rig.wheels[i], 1000, rig.now);
		rig.net[i] = net_create(&nc);
		assert_non_null(rig.net[i]);
		rig.net[i]->n_announced = 3; /* what is announced at the start is another test's */
	}
	return 0;
}

int rig_teardown(void **state)
{
	for (int i = 0; i < RIG_N; i++) {
		net_flush(rig.net[i]);
		net_destroy(rig.net[i]);
		assert_int_equal(rig.wheels[i].n_armed, 0);
	}
	for (int i = 0; i < RIG_N * RIG_N; i++) {
		void *m;

		while (rte_ring_dequeue(rig.rings[i], &m) == 0)
			rte_pktmbuf_free(m);
	}
	assert_int_equal(rte_mempool_avail_count(rig.pool), RIG_N_MBUFS);
	assert_int_equal(rte_mempool_avail_count(rig.clones), RIG_N_MBUFS);
	return 0;
}

void rig_poll(void)
{
	for (int round = 0; round < 2; round++)
		for (int i = 0; i < RIG_N; i++) {
			net_poll(rig.net[i], rig.now);
			wheel_run(&rig.wheels[i], rig.now, 100);
			net_flush(rig.net[i]);
		}
}

void rig_give(int worker, const uint8_t *const *frames, const unsigned *lens, unsigned n)
{
	struct rte_mbuf *pkts[NET_BURST];

	assert_true(n <= NET_BURST);
	for (unsigned i = 0; i < n; i++) {
		pkts[i] = rte_pktmbuf_alloc(rig.pool);
		memcpy(rte_pktmbuf_append(pkts[i], (uint16_t)lens[i]), frames[i], lens[i]);
	}
	net_input(rig.net[worker], 0, pkts, n, rig.now);
	rig_poll();
}

void rig_give_one(int worker, const uint8_t *frame, unsigned len)
{
	rig_give(worker, &frame, &len, 1);
}

void rig_know_neighbours(void)
{
	struct weir_ip a = rig_ip(RIG_HIM4), b = rig_ip(RIG_HIM6);

	for (int i = 0; i < RIG_N; i++) {
		neigh_learn(rig.net[i], 0, &a, rig_him, true, true, rig.now);
		neigh_learn(rig.net[i], 0, &b, rig_him, true, true, rig.now);
		net_flush(rig.net[i]);
	}
	rig.n_sent = 0;
}

uint64_t rig_reason(enum weir_reason r)
{
	return rig.stats[0].reason[r] + rig.stats[1].reason[r];
}

uint64_t rig_counter(enum weir_counter c)
{
	return rig.stats[0].counter[c] + rig.stats[1].counter[c];
}
