/* SPDX-License-Identifier: Apache-2.0 */
/* Ways through tunnels and by routes: each byte of what is sent, what is taken and what is refused, and how long packets may be. */
#include <rte_ring.h>

#include "rig.h"

#include "../../eal.h"

#define POD4 "10.244.1.2"
#define POD6 "fd44:1::2"
#define OURS4 "10.244.9.0"
#define OURS6 "fd44:9::"
#define ACK 0x10
#define HEADERS(is4) (14u + ((is4) ? 20u : 40u) + 8u + 8u) /* in front of the inner frame */

static const uint8_t our_mac[6] = {2, 0, 0, 0, 9, 9}, far_mac[6] = {2, 0, 0, 0, 7, 7};
static struct fib *fib;
static struct weir_vtep vteps[2];
static bool any_vni;

/* Tunnels to both prefixes by this far end, and a route to a third by the far end's address of IPv4. */
static void use(const char *via)
{
	struct fib_hop hops[3];
	struct fib_route routes[3];
	const char *const prefixes[3] = {"10.244.1.0", "fd44:1::", "10.245.0.0"};

	vteps[0] = (struct weir_vtep){.source = rig_ip(OURS4), .port = 8472, .vni = 0x010203};
	vteps[1] = (struct weir_vtep){.source = rig_ip(OURS6), .port = 8472, .vni = 0x010203};
	for (unsigned i = 0; i < 3; i++) {
		hops[i] = (struct fib_hop){.via = rig_ip(via), .kind = WEIR_PATH_VXLAN, .iface = FIB_ANY_IFACE, .vtep = (uint8_t)(i & 1)};
		memcpy(hops[i].mac, far_mac, 6);
		routes[i] = (struct fib_route){.prefix = rig_ip(prefixes[i]), .len = i == 1 ? 64 : i ? 16 : 24, .n_hops = 1, .hops = &hops[i]};
		if (i < 2) {
			memcpy(vteps[i].mac, our_mac, 6);
			vteps[i].flags = any_vni ? WEIR_VTEP_ANY_VNI : 0;
		}
	}
	hops[2].kind = WEIR_PATH_ROUTE;
	hops[2].via = rig_ip(RIG_HIM4);
	fib_destroy(fib);
	fib = fib_create(routes, 3, vteps, 2);
	for (int i = 0; i < RIG_N; i++)
		net_set_fib(rig.net[i], fib);
}

static int setup(void **state)
{
	rig_setup(NULL);
	use(RIG_HIM4);
	rig_know_neighbours();
	return 0;
}

static int teardown(void **state)
{
	rig_teardown(NULL);
	fib_destroy(fib);
	fib = NULL;
	return 0;
}

/* A segment of ours with n bytes. */
static void send_from(const char *local, const char *remote, uint16_t local_port, unsigned n, uint16_t segsz, uint8_t ecn)
{
	struct ip_flow flow = {.local = rig_ip(local), .remote = rig_ip(remote), .local_port = local_port, .remote_port = 80};
	struct rte_mbuf *m = rte_pktmbuf_alloc(rig.pool);
	struct rte_mbuf *tail = m;
	const uint8_t seq = 1, h[20] = {(uint8_t)(local_port >> 8), (uint8_t)local_port, 0, 80, 0, 0, 0, seq, [12] = 0x50, [13] = ACK};

	memcpy(rte_pktmbuf_append(m, sizeof(h)), h, sizeof(h));
	for (unsigned done = 0; done < n;) {
		struct rte_mbuf *p = rte_pktmbuf_alloc(rig.pool);
		unsigned k = n - done < 1000 ? n - done : 1000;
		uint8_t b[1000];

		for (unsigned i = 0; i < k; i++)
			b[i] = rig_byte(seq + done + i);
		memcpy(rte_pktmbuf_append(p, (uint16_t)k), b, k);
		done += k;
		tail->next = p;
		tail = p;
		m->nb_segs++;
		m->pkt_len += k;
	}
	m->tso_segsz = segsz;
	m->l4_len = segsz ? 20 : 0;
	rig.n_sent = 0;
	net_output_tcp(rig.net[0], m, &flow, ecn, rig.now);
	net_flush(rig.net[0]);
}

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* Takes the outer headers apart, byte by byte, and leaves the inner frame. */
static void unwrap(const struct rig_frame *f, struct rig_frame *inner, bool is4, uint8_t ecn)
{
	const uint8_t *ip = f->data + 14, *udp = ip + (is4 ? 20 : 40);
	const struct weir_ip src = rig_ip(is4 ? RIG_US4 : RIG_US6), dst = rig_ip(is4 ? RIG_HIM4 : RIG_HIM6);
	unsigned n_addr = is4 ? 4 : 16, n = f->len - (unsigned)(udp - f->data);

	assert_memory_equal(f->data, rig_him, 6);
	assert_memory_equal(f->data + 6, rig_us, 6);
	assert_int_equal(f->ol_flags & (RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_TCP_SEG), 0);
	if (is4) {
		assert_int_equal(get16(f->data + 12), ETHERTYPE_IP4);
		assert_int_equal(ip[0], 0x45);
		assert_int_equal(ip[1], ecn);
		assert_int_equal(get16(ip + 2), f->len - 14);
		assert_int_equal(get16(ip + 6), 0x4000); /* DF */
		assert_int_equal(ip[8], 64);
		assert_int_equal(ip[9], PROTO_UDP);
		assert_int_equal(rig_sum(ip, 20, 0), 0xffff);
		assert_int_equal(get16(udp + 6), 0);
	} else {
		assert_int_equal(get16(f->data + 12), ETHERTYPE_IP6);
		assert_int_equal(ip[0], 0x60);
		assert_int_equal(ip[1], ecn << 4);
		assert_int_equal(get16(ip + 4), n);
		assert_int_equal(ip[6], PROTO_UDP);
		assert_int_equal(ip[7], 64);
		assert_int_not_equal(get16(udp + 6), 0);
		assert_int_equal(rig_sum(udp, n, rig_sum(dst.b, 16, rig_sum(src.b, 16, PROTO_UDP + n))), 0xffff);
	}
	assert_memory_equal(ip + (is4 ? 12 : 8), src.b + 16 - n_addr, n_addr);
	assert_memory_equal(ip + (is4 ? 16 : 24), dst.b + 16 - n_addr, n_addr);
	assert_in_range(get16(udp), 49152, 65535);
	assert_int_equal(get16(udp + 2), 8472);
	assert_int_equal(get16(udp + 4), n);
	assert_memory_equal(udp + 8, "\x08\0\0\0\x01\x02\x03\0", 8);
	*inner = *f;
	inner->len = f->len - HEADERS(is4);
	memmove(inner->data, f->data + HEADERS(is4), inner->len);
	assert_memory_equal(inner->data, far_mac, 6);
	assert_memory_equal(inner->data + 6, our_mac, 6);
}

static void segment_goes_out_in_a_frame_in_udp(void **state)
{
	static struct rig_frame inner;

	for (unsigned k = 0; k < 4; k++) {
		bool outer4 = k & 1, inner4 = k & 2;
		struct rig_parsed p;

		use(outer4 ? RIG_HIM4 : RIG_HIM6);
		send_from(inner4 ? OURS4 : OURS6, inner4 ? POD4 : POD6, 20001, 100 + k, 0, 2);
		assert_int_equal(rig.n_sent, 1);
		unwrap(&rig.sent[0], &inner, outer4, 2);
		p = rig_parse(&inner); /* and all that is inside */
		assert_int_equal(p.is4, inner4);
		assert_int_equal(p.ecn, 2);
		assert_int_equal(p.n_payload, 100 + k);
	}
	assert_int_equal(rig_counter(WEIR_C_VXLAN_TX), 4);
}

static void flows_spread_by_the_source_port_and_each_keeps_its_own(void **state)
{
	uint16_t seen[32];
	unsigned n_same = 0;

	for (unsigned i = 0; i < 32; i++) {
		send_from(OURS4, POD4, (uint16_t)(20001 + i), 10, 0, 0);
		seen[i] = get16(rig.sent[0].data + 34);
		send_from(OURS4, POD4, (uint16_t)(20001 + i), 500, 0, 0);
		assert_int_equal(get16(rig.sent[0].data + 34), seen[i]);
		for (unsigned k = 0; k < i; k++)
			n_same += seen[k] == seen[i];
	}
	assert_true(n_same < 4);
}

/* A port that could cut, or compute checksums, is not asked to do so inside of a tunnel. */
static void long_segment_is_cut_before_it_is_wrapped(void **state)
{
	static struct rig_frame inner;
	const struct net_port_caps caps = rig.port.caps;

	rig.port.caps.tx_csum_l4 = rig.port.caps.tx_csum_ip = rig.port.caps.tx_tso = rig.port.caps.tx_multi_seg = true;
	rig.port.caps.max_tx_segs = rig.port.caps.max_tso_segs = 32;
	send_from(OURS4, POD4, 20001, 5000, 1410, 0);
	rig.port.caps = caps;
	assert_int_equal(rig.n_sent, 4);
	for (unsigned i = 0; i < 4; i++) {
		struct rig_parsed p;

		unwrap(&rig.sent[i], &inner, true, 0);
		p = rig_parse(&inner);
		assert_int_equal(p.seq, 1 + i * 1410);
		assert_int_equal(p.n_payload, i < 3 ? 1410 : 770);
		assert_true(rig.sent[i].len <= 1514);
		for (unsigned k = 0; k < p.n_payload; k++)
			assert_int_equal(p.tcp[20 + k], rig_byte(p.seq + k));
	}
}

/* -- in */

struct from {
	bool outer4, inner4;
	uint16_t local_port; /* 20001: worker 0's, 21001: worker 1's */
	uint8_t outer_ecn, inner_ecn;
	const char *to; /* inner destination; NULL: ours */
	const char *by; /* outer source; NULL: the far end */
};

/* A segment of the pod in a tunnel, all checksums right (over IPv4 the UDP one is there, too). Returns its length. */
static unsigned wrap(uint8_t *frame, const struct from *w)
{
	uint8_t inner[2000], udp[2000] = {0xc0, 0x01, 8472 >> 8, 8472 & 0xff};
	const struct rig_segment s = {.src = w->inner4 ? POD4 : POD6, .dst = w->to ? w->to : w->inner4 ? OURS4 : OURS6, .sport = 80,
				      .dport = w->local_port, .seq = 7, .flags = ACK, .ecn = w->inner_ecn, .n_payload = 300};
	unsigned n = rig_build(inner, &s) + 16;
	const char *by = w->by ? w->by : w->outer4 ? RIG_HIM4 : RIG_HIM6;
	const char *us = w->outer4 ? RIG_US4 : RIG_US6;
	const struct weir_ip a = rig_ip(by), b = rig_ip(us);
	unsigned k = w->outer4 ? 4 : 16, len;
	uint8_t *ip = frame + 14;
	uint16_t sum;

	memcpy(inner, our_mac, 6);
	memcpy(inner + 6, far_mac, 6);
	memcpy(udp + 8, "\x08\0\0\0\x01\x02\x03\0", 8);
	memcpy(udp + 16, inner, n - 16);
	udp[4] = (uint8_t)(n >> 8);
	udp[5] = (uint8_t)n;
	sum = (uint16_t)~rig_sum(udp, n, rig_sum(b.b + 16 - k, k, rig_sum(a.b + 16 - k, k, PROTO_UDP + n)));
	udp[6] = (uint8_t)(sum >> 8);
	udp[7] = (uint8_t)sum;
	len = rig_build_ip(frame, by, us, PROTO_UDP, udp, n);
	if (w->outer4) {
		ip[1] = w->outer_ecn;
		ip[10] = ip[11] = 0;
		sum = (uint16_t)~rig_sum(ip, 20, 0);
		ip[10] = (uint8_t)(sum >> 8);
		ip[11] = (uint8_t)sum;
	} else {
		ip[1] = (uint8_t)(w->outer_ecn << 4);
	}
	return len;
}

static void give(const struct from *w)
{
	uint8_t frame[2100];
	unsigned n = wrap(frame, w);

	rig.n_inputs = 0;
	rig_give_one(0, frame, n);
}

static void segment_in_a_tunnel_reaches_its_worker(void **state)
{
	for (unsigned k = 0; k < 8; k++) {
		struct from w = {.outer4 = k & 1, .inner4 = k & 2, .local_port = k & 4 ? 20001 : 21001};
		const struct weir_ip pod = rig_ip(w.inner4 ? POD4 : POD6);

		use(w.outer4 ? RIG_HIM4 : RIG_HIM6);
		give(&w);
		assert_int_equal(rig.n_inputs, 1);
		assert_int_equal(rig.inputs[0].len, 320);
		assert_true(ip_eq(&rig.inputs[0].packet.src, &pod));
		for (unsigned i = 0; i < 300; i++)
			assert_int_equal(rig.inputs[0].data[20 + i], rig_byte(7 + i));
	}
	assert_int_equal(rig.stats[0].counter[WEIR_C_STEERED_OUT], 4);
	assert_int_equal(rig.stats[1].counter[WEIR_C_STEERED_IN], 4);
	assert_int_equal(rig_counter(WEIR_C_VXLAN_RX), 8);
}

/* Sets a byte of the frame, without making any checksum right, and says why it was refused. */
static void give_spoiled(struct from w, unsigned at, uint8_t with, enum weir_reason why)
{
	uint8_t frame[2100];
	unsigned n = wrap(frame, &w);
	unsigned udp = 14 + (w.outer4 ? 20 : 40);
	uint64_t before = why < WEIR_N_REASONS ? rig_reason(why) : 0;

	frame[udp + at] = with;
	if (w.outer4)
		frame[udp + 6] = frame[udp + 7] = 0;
	rig.n_inputs = 0;
	rig_give_one(0, frame, n);
	if (why == WEIR_N_REASONS) {
		assert_int_equal(rig.n_inputs, 1);
		return;
	}
	assert_int_equal(rig.n_inputs, 0);
	assert_int_equal(rig_reason(why), before + 1);
}

static void wrong_packets_are_refused_by_name(void **state)
{
	const struct from w = {.outer4 = true, .inner4 = true, .local_port = 20001}, six = {.inner4 = true, .local_port = 20001};

	give_spoiled(w, 8, 0x08, WEIR_N_REASONS);
	give_spoiled(w, 8, 0xff, WEIR_N_REASONS); /* reserved: not looked at (RFC 7348 5) */
	give_spoiled(w, 9, 0xff, WEIR_N_REASONS);
	give_spoiled(w, 15, 0xff, WEIR_N_REASONS);
	give_spoiled(w, 5, 0, WEIR_R_VXLAN_BAD_LENGTH);
	give_spoiled(w, 4, 9, WEIR_R_VXLAN_BAD_LENGTH);
	give_spoiled(w, 8, 0xf7, WEIR_R_VXLAN_NO_VNI);
	give_spoiled(w, 14, 4, WEIR_R_VXLAN_OTHER_VNI);
	give_spoiled(w, 12, 0, WEIR_R_VXLAN_OTHER_VNI);
	give_spoiled(w, 16 + 5, 1, WEIR_R_VXLAN_OTHER_MAC);
	give_spoiled(w, 16, 0xff, WEIR_R_VXLAN_OTHER_MAC); /* groups are not asked within tunnels */
	give_spoiled(w, 16 + 13, 6, WEIR_R_VXLAN_UNKNOWN_ETHERTYPE); /* ARP */
	give_spoiled(w, 16 + 12, 0x81, WEIR_R_VXLAN_UNKNOWN_ETHERTYPE);
	give_spoiled(w, 16 + 14, 0x55, WEIR_R_IP_BAD_VERSION);
	give_spoiled(w, 16 + 14 + 11, 1, WEIR_R_IP_BAD_CHECKSUM);
	give_spoiled(w, 16 + 34 + 20, 1, WEIR_R_TCP_BAD_CHECKSUM);
	give_spoiled(w, 2, 0x50, WEIR_R_IP_UNKNOWN_PROTOCOL); /* another port: nobody's */
	use(RIG_HIM6);
	give_spoiled(six, 16 + 60, 1, WEIR_R_VXLAN_BAD_CHECKSUM);
}

static void any_vni_is_taken_where_it_tells_who_sends(void **state)
{
	const struct from w = {.outer4 = true, .inner4 = true, .local_port = 20001};

	any_vni = true;
	use(RIG_HIM4);
	give_spoiled(w, 12, 0x77, WEIR_N_REASONS);
	give_spoiled(w, 16 + 5, 1, WEIR_R_VXLAN_OTHER_MAC);
	any_vni = false;
	use(RIG_HIM4);
	give_spoiled(w, 12, 0x77, WEIR_R_VXLAN_OTHER_VNI);
}

static struct rte_ring *to_kernel;

static int setup_kernel(void **state)
{
	to_kernel = rte_ring_create("to-kernel", 16, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
	for (unsigned i = 0; i < RIG_N; i++) {
		rig.punt[i] = (struct net_punt_config){.up = to_kernel}; /* nobody sleeps there */
		for (unsigned c = 0; c < PUNT_N_CLASSES; c++)
			rig.punt[i].per_s[c] = 100;
	}
	rig.port.has_kernel = true;
	rig.iface.addrs[0].is_shared = true;
	return setup(state);
}

static int teardown_kernel(void **state)
{
	teardown(state);
	rte_ring_free(to_kernel);
	memset(rig.punt, 0, sizeof(rig.punt));
	rig.port.has_kernel = false;
	rig.iface.addrs[0].is_shared = false;
	return 0;
}

/* Gives a frame in a tunnel of which a byte was set; what went to the kernel is the frame, as it came. */
static bool goes_to_kernel(unsigned at, uint8_t with)
{
	const struct from w = {.outer4 = true, .inner4 = true, .local_port = 20001};
	uint8_t frame[2100];
	unsigned n = wrap(frame, &w);
	struct rte_mbuf *m;
	void *v;

	frame[34 + 6] = frame[34 + 7] = 0;
	frame[34 + at] = with;
	rig.n_inputs = 0;
	rig_give_one(0, frame, n);
	if (rte_ring_dequeue(to_kernel, &v) != 0)
		return false;
	m = v;
	assert_int_equal(m->pkt_len, n);
	assert_memory_equal(rte_pktmbuf_mtod(m, void *), frame, n);
	rte_pktmbuf_free(m);
	assert_int_equal(rig.n_inputs, 0);
	return true;
}

static void kernel_that_shares_the_address_gets_what_is_for_its_own_tunnels(void **state)
{
	assert_true(goes_to_kernel(14, 4)); /* another VNI */
	assert_true(goes_to_kernel(16 + 5, 1)); /* another link address */
	assert_true(goes_to_kernel(16 + 13, 6)); /* ARP */
	assert_false(goes_to_kernel(8, 8)); /* ours */
	assert_int_equal(rig.n_inputs, 1);
	assert_false(goes_to_kernel(5, 0)); /* wrong for everybody */
	assert_int_equal(rig_reason(WEIR_R_VXLAN_BAD_LENGTH), 1);
	assert_false(goes_to_kernel(16 + 14 + 19, 9)); /* our link address, but no address of ours: not even here the kernel's */
	assert_int_equal(rig_reason(WEIR_R_VXLAN_NOT_OURS), 1);
}

static void checksum_may_be_missing_over_ipv4_alone(void **state)
{
	uint8_t frame[2100];
	struct from w = {.inner4 = true, .local_port = 20001};
	unsigned n;

	use(RIG_HIM6);
	n = wrap(frame, &w);
	frame[14 + 40 + 6] = frame[14 + 40 + 7] = 0;
	rig_give_one(0, frame, n);
	assert_int_equal(rig.n_inputs, 0);
	assert_int_equal(rig_reason(WEIR_R_VXLAN_BAD_CHECKSUM), 1);
	use(RIG_HIM4);
	w.outer4 = true;
	n = wrap(frame, &w);
	frame[14 + 20 + 7] ^= 1;
	rig_give_one(0, frame, n);
	assert_int_equal(rig_reason(WEIR_R_VXLAN_BAD_CHECKSUM), 2);
}

/* A device that has looked at the outer checksum says nothing of the inner one. */
static void word_of_a_device_is_not_taken_for_the_inner_segment(void **state)
{
	const struct from w = {.outer4 = true, .inner4 = true, .local_port = 20001};
	uint8_t frame[2100];
	unsigned n = wrap(frame, &w);
	struct rte_mbuf *m = rte_pktmbuf_alloc(rig.pool);

	frame[14 + 20 + 6] = frame[14 + 20 + 7] = 0;
	frame[n - 1] ^= 1;
	memcpy(rte_pktmbuf_append(m, (uint16_t)n), frame, n);
	m->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD | RTE_MBUF_F_RX_IP_CKSUM_GOOD;
	net_input(rig.net[0], 0, &m, 1, rig.now);
	assert_int_equal(rig.n_inputs, 0);
	assert_int_equal(rig_reason(WEIR_R_TCP_BAD_CHECKSUM), 1);
}

static void only_far_ends_and_our_own_address_count(void **state)
{
	struct from w = {.outer4 = true, .inner4 = true, .local_port = 20001, .by = "10.0.0.77"};
	uint8_t frame[200];
	const struct rig_segment s = {.src = POD4, .dst = OURS4, .sport = 80, .dport = 20001, .flags = ACK};

	give(&w);
	assert_int_equal(rig_reason(WEIR_R_VXLAN_UNKNOWN_PEER), 1);
	w.by = NULL;
	w.to = RIG_US4; /* ours, but not within the tunnel */
	give(&w);
	w.to = "10.244.9.1";
	give(&w);
	assert_int_equal(rig_reason(WEIR_R_VXLAN_NOT_OURS), 2);
	rig_give_one(0, frame, rig_build(frame, &s)); /* and outside of it that is not ours */
	assert_int_equal(rig_reason(WEIR_R_IP_NOT_OURS), 1);
	assert_int_equal(rig.n_inputs, 0);
}

static void marks_of_congestion_come_in_as_rfc_6040_tells(void **state)
{
	static const uint8_t want[4][4] = {
		/* outer: Not-ECT, ECT(1), ECT(0), CE */
		{0, 0, 0, 0xff}, {1, 1, 1, 3}, {2, 1, 2, 3}, {3, 3, 3, 3},
	};

	for (unsigned k = 0; k < 32; k++) {
		struct from w = {.outer4 = true, .inner4 = k & 16, .local_port = k & 1 ? 20001 : 21001, .inner_ecn = (uint8_t)(k >> 2 & 3),
				 .outer_ecn = (uint8_t)(k & 3)};
		uint8_t ecn = want[w.inner_ecn][w.outer_ecn];

		give(&w);
		assert_int_equal(rig.n_inputs, ecn != 0xff);
		if (ecn != 0xff)
			assert_int_equal(rig.inputs[0].packet.ecn, ecn);
	}
	assert_int_equal(rig_reason(WEIR_R_VXLAN_BAD_ECN), 2);
	assert_int_equal(rig_reason(WEIR_R_IP_BAD_CHECKSUM), 0);
}

static void echo_is_answered_through_the_tunnel(void **state)
{
	static struct rig_frame inner;
	uint8_t ping[16] = {8}, frame[300], udp[300] = {0xc0, 1, 8472 >> 8, 8472 & 0xff};
	unsigned n;

	n = rig_build_ip(udp + 16, POD4, OURS4, PROTO_ICMP, ping, sizeof(ping)) + 16;
	memcpy(udp + 16, our_mac, 6);
	memcpy(udp + 8, "\x08\0\0\0\x01\x02\x03\0", 8);
	udp[5] = (uint8_t)n;
	n = rig_build_ip(frame, RIG_HIM4, RIG_US4, PROTO_UDP, udp, n);
	rig_give_one(0, frame, n);
	assert_int_equal(rig.n_sent, 1);
	unwrap(&rig.sent[0], &inner, true, 0);
	assert_int_equal(inner.data[34], 0);
	assert_int_equal(rig_sum(inner.data + 34, 16, 0), 0xffff);
}

/* A pod may not say within a tunnel where others are. */
static void neighbour_discovery_is_not_heard_in_tunnels(void **state)
{
	uint8_t na[32] = {136, 0, 0, 0, 0x60, 0, 0, 0}, frame[300], udp[300] = {0xc0, 1, 8472 >> 8, 8472 & 0xff};
	const struct weir_ip him = rig_ip(RIG_HIM6);
	unsigned n;

	memcpy(na + 8, him.b, 16);
	na[24] = 2;
	na[25] = 1;
	na[26] = 0x66;
	n = rig_build_ip(udp + 16, POD6, OURS6, PROTO_ICMP6, na, sizeof(na)) + 16;
	memcpy(udp + 16, our_mac, 6);
	udp[16 + 14 + 7] = 255;
	memcpy(udp + 8, "\x08\0\0\0\x01\x02\x03\0", 8);
	udp[5] = (uint8_t)n;
	n = rig_build_ip(frame, RIG_HIM4, RIG_US4, PROTO_UDP, udp, n);
	rig_give_one(0, frame, n);
	assert_int_equal(rig_reason(WEIR_R_ICMP_UNKNOWN), 1);
	assert_int_equal(rig_counter(WEIR_C_NDP_RX), 0);
	use(RIG_HIM6);
	send_from(OURS4, POD4, 20001, 10, 0, 0);
	assert_memory_equal(rig.sent[0].data, rig_him, 6);
}

/* -- how long, and from where */

static uint16_t mtu_for(const char *remote, bool is_path)
{
	const struct weir_ip ip = rig_ip(remote);

	return net_mtu_for(rig.net[0], &ip, is_path);
}

static void assert_source(const char *remote, const char *local)
{
	const struct weir_ip r = rig_ip(remote), want = rig_ip(local);
	struct weir_ip got;

	assert_true(net_source_for(rig.net[0], &r, &got));
	assert_true(ip_eq(&got, &want));
}

static void tunnel_takes_its_headers_from_the_mtu_and_has_its_own_source(void **state)
{
	assert_int_equal(mtu_for(POD4, false), 1450);
	assert_int_equal(mtu_for(POD6, true), 1450);
	use(RIG_HIM6);
	assert_int_equal(mtu_for(POD4, false), 1430);
	assert_int_equal(mtu_for(POD6, true), 1430);
	assert_int_equal(mtu_for("10.245.0.1", true), 1500); /* a route */
	assert_int_equal(mtu_for("192.0.2.1", true), 1500);
	assert_source(POD4, OURS4);
	assert_source(POD6, OURS6);
	assert_source("10.245.0.1", RIG_US4);
	assert_source("192.0.2.1", RIG_US4);
}

static void what_is_on_the_link_needs_no_table_and_gateways_come_last(void **state)
{
	const struct fib_hop hop = {.via = rig_ip(RIG_HIM4), .kind = WEIR_PATH_ROUTE, .iface = FIB_ANY_IFACE};
	const struct fib_route routes[2] = {{.prefix = rig_ip("0.0.0.0"), .len = 0, .n_hops = 1, .hops = &hop}};
	const struct weir_ip link = rig_ip("10.0.0.44"), far = rig_ip("192.0.2.1"), us = rig_ip(RIG_US4), gw = rig_ip("10.0.0.1");
	struct ip_way w;

	assert_true(way_find(rig.net[0], &us, &far, 0, &w));
	assert_true(ip_eq(&w.hop, &gw)); /* nothing of the table leads there */
	fib_destroy(fib);
	fib = fib_create(routes, 1, NULL, 0);
	net_set_fib(rig.net[0], fib);
	assert_true(way_find(rig.net[0], &us, &far, 0, &w));
	assert_true(ip_eq(&w.hop, &hop.via));
	assert_true(way_find(rig.net[0], &us, &link, 0, &w));
	assert_true(ip_eq(&w.hop, &link));
}

/* An ICMP error about what was sent through the tunnel, which quotes so much of it. */
static void too_big(uint16_t outer_mtu, unsigned quoted, bool spoils_via)
{
	uint8_t p[700] = {3, 4}, frame[800];

	send_from(OURS4, POD4, 20001, 1400, 0, 0);
	assert_int_equal(rig.n_sent, 1);
	p[6] = (uint8_t)(outer_mtu >> 8);
	p[7] = (uint8_t)outer_mtu;
	memcpy(p + 8, rig.sent[0].data + 14, quoted);
	if (spoils_via)
		p[8 + 19] ^= 1;
	rig.n_icmp = 0;
	rig_give_one(1, frame, rig_build_ip(frame, "10.0.0.1", RIG_US4, PROTO_ICMP, p, 8 + quoted));
}

static void error_about_the_outer_packet_is_one_about_the_segment_within(void **state)
{
	const struct weir_ip pod = rig_ip(POD4);

	too_big(1400, 500, false);
	assert_int_equal(rig.n_icmp, 1);
	assert_int_equal(rig.icmp.what, TCP_ICMP_TOO_BIG);
	assert_int_equal(rig.icmp.mtu, 1350);
	assert_int_equal(rig.icmp.seq, 1);
	assert_int_equal(rig.icmp.flow.local_port, 20001);
	assert_true(ip_eq(&rig.icmp.flow.remote, &pod));
	assert_int_equal(mtu_for(POD4, true), 1350);
	assert_int_equal(mtu_for("10.244.1.77", true), 1350); /* and so for all behind that far end */
	assert_int_equal(mtu_for(POD4, false), 1450);
	too_big(1300, 28 + 8 + 14 + 20 + 8, false); /* just the segment's numbers */
	assert_int_equal(rig.icmp.mtu, 1250);
}

static void error_that_could_be_anyones_is_not_believed(void **state)
{
	too_big(1400, 28 + 8 + 14 + 20 + 7, false);
	too_big(1400, 28, false);
	too_big(1400, 500, true);
	too_big(1490, 500, false); /* it would have fitted */
	assert_int_equal(rig.n_icmp, 0);
	assert_int_equal(rig_reason(WEIR_R_ICMP_BAD), 4);
	rig.is_in_flight = false;
	too_big(1400, 500, false);
	assert_int_equal(rig.n_icmp, 1);
	assert_int_equal(mtu_for(POD4, true), 1450);
}

/* The path changed under a connection: TCP is told what fits now. */
static void segment_too_long_for_a_new_way_is_told_to_tcp(void **state)
{
	send_from(RIG_US4, POD4, 20001, 1460, 0, 0);
	assert_int_equal(rig.n_sent, 0);
	assert_int_equal(rig.n_icmp, 0); /* not while it sends */
	assert_int_equal(rig_reason(WEIR_R_TX_TOO_LONG), 1);
	rig_poll();
	assert_int_equal(rig.n_icmp, 1);
	assert_int_equal(rig.icmp.mtu, 1450);
	assert_int_equal(rig.icmp.seq, 1);
	send_from(RIG_US4, POD4, 20001, 2920, 1460, 0); /* a long one as well */
	rig_poll();
	assert_int_equal(rig.n_icmp, 2);
	send_from(RIG_US4, POD4, 20001, 1410, 0, 0);
	assert_int_equal(rig.n_sent, 1);
}

/* RFC 8950: the packet keeps its family, and the link address is found by the next hop's. */
static void a_next_hop_of_the_other_family(void **state)
{
	const struct weir_ip via = rig_ip("fd00::77");
	struct fib_hop hop = {.via = via, .kind = WEIR_PATH_ROUTE, .iface = 0};
	const struct fib_route route = {.prefix = rig_ip("10.246.0.0"), .len = 16, .n_hops = 1, .hops = &hop};
	struct fib *f = fib_create(&route, 1, NULL, 0);
	const uint8_t mac[6] = {2, 0, 0, 0, 7, 1};

	assert_non_null(f);
	net_set_fib(rig.net[0], f);
	send_from(RIG_US4, "10.246.1.2", 30000, 10, 0, 0);
	assert_int_equal(rig.n_sent, 1);
	assert_int_equal(get16(rig.sent[0].data + 12), ETHERTYPE_IP6); /* the question who that is */
	assert_int_equal(rig.sent[0].data[14 + 6], 58);
	for (int known = 0; known < 2; known++) {
		rig.n_sent = 0;
		if (!known)
			neigh_learn(rig.net[0], 0, &via, mac, true, true, rig.now);
		else
			send_from(RIG_US4, "10.246.1.2", 30000, 10, 0, 0);
		net_flush(rig.net[0]);
		assert_int_equal(rig.n_sent, 1);
		assert_memory_equal(rig.sent[0].data, mac, 6);
		assert_int_equal(get16(rig.sent[0].data + 12), ETHERTYPE_IP4);
		assert_int_equal(rig_parse(&rig.sent[0]).n_payload, 10);
	}
	net_set_fib(rig.net[0], fib);
	fib_destroy(f);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(segment_goes_out_in_a_frame_in_udp),
		TEST(flows_spread_by_the_source_port_and_each_keeps_its_own),
		TEST(long_segment_is_cut_before_it_is_wrapped),
		TEST(segment_in_a_tunnel_reaches_its_worker),
		TEST(wrong_packets_are_refused_by_name),
		TEST(any_vni_is_taken_where_it_tells_who_sends),
		cmocka_unit_test_setup_teardown(kernel_that_shares_the_address_gets_what_is_for_its_own_tunnels, setup_kernel, teardown_kernel),
		TEST(checksum_may_be_missing_over_ipv4_alone),
		TEST(word_of_a_device_is_not_taken_for_the_inner_segment),
		TEST(only_far_ends_and_our_own_address_count),
		TEST(marks_of_congestion_come_in_as_rfc_6040_tells),
		TEST(echo_is_answered_through_the_tunnel),
		TEST(neighbour_discovery_is_not_heard_in_tunnels),
		TEST(tunnel_takes_its_headers_from_the_mtu_and_has_its_own_source),
		TEST(what_is_on_the_link_needs_no_table_and_gateways_come_last),
		TEST(a_next_hop_of_the_other_family),
		TEST(error_about_the_outer_packet_is_one_about_the_segment_within),
		TEST(error_that_could_be_anyones_is_not_believed),
		TEST(segment_too_long_for_a_new_way_is_told_to_tcp),
	};
#undef TEST

	test_eal_init();
	return cmocka_run_group_tests(tests, rig_start, NULL);
}
