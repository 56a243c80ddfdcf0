/* SPDX-License-Identifier: Apache-2.0 */
/* Long segments: cut by the port, or in software; every piece whole, whatever the mbufs under it look like. */
#include "rig.h"

#include <rte_byteorder.h>
#include <rte_ethdev.h>

#include "../../eal.h"

#define SEQ 0xfffff000u /* the numbers wrap within a long segment */
#define FIN 0x01
#define PSH 0x08
#define ACK 0x10
#define CWR 0x80

static struct net_port_caps plain;

/* Builds a long segment: n_inline payload bytes beside the header, the rest in mbufs of part bytes, as references or not. */
static struct rte_mbuf *make(uint32_t n_payload, unsigned n_inline, unsigned part, bool by_reference, unsigned n_options,
			     uint8_t flags, uint16_t segsz)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(rig.pool);
	uint8_t *h = rte_pktmbuf_mtod(m, uint8_t *);
	uint32_t at = 0;

	assert_non_null(rte_pktmbuf_append(m, (uint16_t)(20 + n_options + n_inline)));
	memset(h, 0, 20);
	memset(h + 20, 1, n_options);
	h[4] = (uint8_t)(SEQ >> 24);
	h[5] = (uint8_t)(SEQ >> 16);
	h[6] = (uint8_t)(SEQ >> 8);
	h[7] = (uint8_t)SEQ;
	h[12] = (uint8_t)((20 + n_options) / 4 << 4);
	h[13] = flags;
	for (; at < n_inline; at++)
		h[20 + n_options + at] = rig_byte(SEQ + at);
	while (at < n_payload) {
		struct rte_mbuf *p = rte_pktmbuf_alloc(rig.pool);
		unsigned k = n_payload - at < part ? n_payload - at : part;
		uint8_t *d = (uint8_t *)rte_pktmbuf_append(p, (uint16_t)k);

		for (unsigned i = 0; i < k; i++)
			d[i] = rig_byte(SEQ + at + i);
		if (by_reference) {
			struct rte_mbuf *ref = rte_pktmbuf_clone(p, rig.clones);

			rte_pktmbuf_free(p);
			p = ref;
		}
		assert_int_equal(rte_pktmbuf_chain(m, p), 0);
		at += k;
	}
	m->l4_len = 20 + n_options;
	m->tso_segsz = segsz;
	return m;
}

static void output(struct rte_mbuf *m, bool is4, uint8_t ecn)
{
	struct ip_flow flow = {.local = rig_ip(is4 ? RIG_US4 : RIG_US6), .remote = rig_ip(is4 ? RIG_HIM4 : RIG_HIM6),
			       .local_port = 20001, .remote_port = 80};

	net_output_tcp(rig.net[0], m, &flow, ecn, rig.now);
	net_flush(rig.net[0]);
}

/* The pieces that were sent: in order, without a gap, right to the byte and in their flags. Returns the bytes. */
static uint32_t check_pieces(uint32_t n_payload, uint16_t segsz, unsigned n_options, uint8_t flags, uint8_t ecn)
{
	uint32_t at = 0;

	for (unsigned i = 0; i < rig.n_sent; i++) {
		struct rig_parsed p = rig_parse(&rig.sent[i]);
		bool is_last = at + p.n_payload == n_payload;
		uint8_t want = flags;

		assert_int_equal(p.seq, SEQ + at);
		assert_int_equal(p.n_header, 20 + n_options);
		assert_int_equal(p.n_payload, is_last ? n_payload - at : segsz);
		assert_int_equal(p.ecn, ecn);
		if (!is_last)
			want &= (uint8_t)~(FIN | PSH);
		if (at)
			want &= (uint8_t)~CWR;
		assert_int_equal(p.flags, want);
		for (unsigned k = 0; k < p.n_payload; k++)
			if (p.tcp[p.n_header + k] != rig_byte(SEQ + at + k))
				fail_msg("byte %u is wrong", at + k);
		at += p.n_payload;
	}
	return at;
}

static void software_cuts_any_chain_right(void **state)
{
	static const uint32_t lens[] = {1449, 2896, 2897, 10000, 16384};
	static const unsigned parts[] = {1, 333, 1448, 1500, 2048};

	for (unsigned is4 = 0; is4 < 2; is4++)
		for (unsigned l = 0; l < RTE_DIM(lens); l++)
			for (unsigned p = 0; p < RTE_DIM(parts); p++)
				for (unsigned inline_bytes = 0; inline_bytes < 2000; inline_bytes += 640) {
					unsigned n = inline_bytes < lens[l] ? inline_bytes : lens[l];
					uint16_t size = is4 ? 1448 : 1428;

					if (lens[l] / parts[p] > 1000) /* more mbufs than there are */
						continue;
					rig_know_neighbours();
					output(make(lens[l], n, parts[p], (p + l) % 2, 12, FIN | PSH | ACK | CWR, size), is4, 2);
					assert_int_equal(rig.n_sent, (lens[l] + size - 1) / size);
					assert_int_equal(check_pieces(lens[l], size, 12, FIN | PSH | ACK | CWR, 2), lens[l]);
				}
	assert_int_equal(rig_reason(WEIR_R_NO_MBUF), 0);
}

static void header_mbuf_with_several_pieces_of_payload_is_cut(void **state)
{
	rig_know_neighbours();
	output(make(1700, 1700, 1, false, 0, PSH | ACK, 536), true, 0);
	assert_int_equal(rig.n_sent, 4);
	assert_int_equal(check_pieces(1700, 536, 0, PSH | ACK, 0), 1700);
}

static void references_are_taken_only_at_cuts(void **state)
{
	unsigned before;

	rig_know_neighbours();
	rig.net[0]->tx[0].n = 0;
	before = rte_mempool_avail_count(rig.clones);
	{
		struct ip_flow flow = {.local = rig_ip(RIG_US4), .remote = rig_ip(RIG_HIM4), .local_port = 20001};

		net_output_tcp(rig.net[0], make(10 * 1448, 0, 1448, true, 12, ACK, 1448), &flow, 0, rig.now);
	}
	assert_int_equal(before - rte_mempool_avail_count(rig.clones), 10); /* those that it came with */
	net_flush(rig.net[0]);
	assert_int_equal(rig.n_sent, 10);
}

static void port_of_single_mbufs_gets_copies(void **state)
{
	rig.port.caps.tx_multi_seg = false;
	rig_know_neighbours();
	output(make(10000, 0, 700, true, 12, PSH | ACK, 1428), false, 0);
	assert_int_equal(check_pieces(10000, 1428, 12, PSH | ACK, 0), 10000);
	for (unsigned i = 0; i < rig.n_sent; i++)
		assert_int_equal(rig.sent[i].n_segs, 1);
}

static void pieces_respect_the_ports_limit_of_mbufs(void **state)
{
	rig.port.caps.max_tx_segs = 3;
	rig_know_neighbours();
	output(make(5000, 0, 100, true, 12, PSH | ACK, 1448), true, 0);
	assert_int_equal(check_pieces(5000, 1448, 12, PSH | ACK, 0), 5000);
	for (unsigned i = 0; i < rig.n_sent; i++)
		assert_true(rig.sent[i].n_segs <= 3);
}

static void packet_too_large_for_its_first_mbuf_is_copied_into_few(void **state)
{
	rig.port.caps.max_tx_segs = 6;
	rig.iface.mtu = 9000;
	rig_know_neighbours();
	output(make(8948, 0, 500, true, 12, PSH | ACK, 0), true, 0); /* 18 mbufs in, and not even long */
	assert_int_equal(rig.n_sent, 1);
	assert_int_equal(check_pieces(8948, 8948, 12, PSH | ACK, 0), 8948);
	assert_true(rig.sent[0].n_segs <= 6);
	rig.port.caps.max_tx_segs = 3; /* less than the bytes need */
	output(make(8948, 0, 500, true, 12, PSH | ACK, 0), true, 0);
	assert_int_equal(rig.n_sent, 1);
	assert_int_equal(rig_reason(WEIR_R_TX_TOO_LONG), 1);
}

static void without_mbufs_what_there_is_goes_out(void **state)
{
	struct rte_mbuf *hold[RIG_N_MBUFS];
	unsigned n_free = 4;

	for (unsigned which = 0; which < 2; which++) {
		struct rte_mempool *pool = which ? rig.clones : rig.pool;
		struct rte_mbuf *m;
		uint32_t sent;
		unsigned n = 0;

		rig_know_neighbours();
		m = make(20000, 0, 2000, true, 12, FIN | PSH | ACK, 1448);
		while (rte_mempool_avail_count(pool) > n_free)
			hold[n++] = rte_pktmbuf_alloc(pool);
		output(m, true, 0);
		rte_pktmbuf_free_bulk(hold, n);
		assert_int_equal(rig_reason(WEIR_R_NO_MBUF), which + 1);
		assert_true(rig.n_sent > 0);
		sent = check_pieces(20000, 1448, 12, FIN | PSH | ACK, 0);
		assert_true(sent >= n_free * 1448 && sent < 20000);
	}
}

static void without_any_mbuf_nothing_leaks(void **state)
{
	struct rte_mbuf *hold[RIG_N_MBUFS];
	struct rte_mbuf *m;
	unsigned n = 0;

	rig_know_neighbours();
	m = make(20000, 1800, 2000, true, 12, ACK, 1448); /* the first piece already needs a reference */
	while (rte_mempool_avail_count(rig.clones) > 0)
		hold[n++] = rte_pktmbuf_alloc(rig.clones);
	output(m, true, 0);
	rte_pktmbuf_free_bulk(hold, n);
	assert_int_equal(rig.n_sent, 0);
	assert_int_equal(rig_reason(WEIR_R_NO_MBUF), 1);
}

static void let_port_cut(void)
{
	rig.port.caps = (struct net_port_caps){.tx_csum_ip = true, .tx_csum_l4 = true, .tx_tso = true, .tx_multi_seg = true,
					       .max_tx_segs = 40, .max_tso_segs = 40};
}

static void port_that_cuts_gets_the_long_segment(void **state)
{
	let_port_cut();
	for (unsigned is4 = 0; is4 < 2; is4++) {
		uint64_t want = RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_TCP_CKSUM |
				(is4 ? RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM : RTE_MBUF_F_TX_IPV6);
		const struct rig_frame *f = rig.sent;
		struct rig_parsed p;

		rig_know_neighbours();
		output(make(60000, 0, 2000, true, 12, PSH | ACK, 1428), is4, 1);
		assert_int_equal(rig.n_sent, 1);
		assert_int_equal(f->ol_flags & want, want);
		assert_int_equal(f->l2_len, 14);
		assert_int_equal(f->l3_len, is4 ? 20 : 40);
		assert_int_equal(f->l4_len, 32);
		assert_int_equal(f->tso_segsz, 1428);
		p = rig_parse(f);
		assert_int_equal(p.n_payload, 60000);
		assert_int_equal(p.flags, PSH | ACK);
	}
	assert_int_equal(rig_counter(WEIR_C_TX_TSO), 2);
	assert_int_equal(rig_counter(WEIR_C_TX_GSO), 0);
}

static void largest_long_segment_fits_both_families(void **state)
{
	let_port_cut();
	for (unsigned is4 = 0; is4 < 2; is4++) {
		rig_know_neighbours();
		output(make(NET_TSO_MAX, 0, 2000, true, 40, ACK, 1400), is4, 0);
		assert_int_equal(rig.n_sent, 1);
		assert_int_equal(rig_parse(rig.sent).n_payload, NET_TSO_MAX);
	}
}

static void more_mbufs_than_the_port_cuts_are_cut_here(void **state)
{
	let_port_cut();
	rig_know_neighbours();
	output(make(20000, 0, 400, true, 12, PSH | ACK, 1448), true, 0); /* 51 mbufs */
	assert_int_equal(rig_counter(WEIR_C_TX_GSO), 1);
	assert_int_equal(check_pieces(20000, 1448, 12, PSH | ACK, 0), 20000);
	rig.port.caps.max_tx_segs = 4; /* header and three */
	rig_know_neighbours();
	output(make(7000, 0, 1448, true, 12, PSH | ACK, 1448), true, 0); /* 6 mbufs, but each piece is one */
	assert_int_equal(rig_counter(WEIR_C_TX_TSO), 1);
	rig_know_neighbours();
	output(make(7000, 0, 500, true, 12, PSH | ACK, 1448), true, 0); /* a piece of 4 */
	assert_int_equal(rig_counter(WEIR_C_TX_TSO), 1);
	assert_int_equal(rig_counter(WEIR_C_TX_GSO), 2);
}

static void segment_that_is_not_long_is_sent_as_it_is(void **state)
{
	let_port_cut();
	rig_know_neighbours();
	output(make(1448, 0, 2000, true, 12, FIN | PSH | ACK | CWR, 1448), true, 0);
	assert_int_equal(rig.n_sent, 1);
	assert_int_equal(rig.sent[0].ol_flags & RTE_MBUF_F_TX_TCP_SEG, 0);
	assert_int_equal(rig.sent[0].tso_segsz, 0);
	assert_int_equal(check_pieces(1448, 1448, 12, FIN | PSH | ACK | CWR, 0), 1448);
}

static void long_segment_of_pieces_beyond_the_mtu_is_refused(void **state)
{
	let_port_cut();
	rig_know_neighbours();
	output(make(20000, 0, 2000, true, 12, ACK, 1449), true, 0);
	assert_int_equal(rig.n_sent, 0);
	assert_int_equal(rig_reason(WEIR_R_TX_TOO_LONG), 1);
}

static void long_segment_waits_for_its_next_hop_like_others(void **state)
{
	let_port_cut();
	output(make(20000, 0, 2000, true, 12, ACK, 1448), true, 0);
	assert_int_equal(rig.n_sent, 1); /* the question */
	rig_know_neighbours(); /* sends what waited, and forgets it */
	assert_int_equal(rig_counter(WEIR_C_TX_PACKETS), 2);
	assert_int_equal(rig_counter(WEIR_C_TX_TSO), 1);
}

/* A driver that takes no packet of 100 bytes. */
static uint16_t refuse(void *queue, struct rte_mbuf **pkts, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++)
		if (pkts[i]->pkt_len == 100)
			return i;
	return n;
}

static void what_the_driver_refuses_is_dropped_and_the_rest_sent(void **state)
{
	struct ip_flow flow = {.local = rig_ip(RIG_US4), .remote = rig_ip(RIG_HIM4), .local_port = 20001};
	struct rte_eth_fp_ops *ops = &rte_eth_fp_ops[rig.port.port_id];
	const struct rte_eth_fp_ops saved = *ops;
	static const unsigned lens[] = {100, 101, 100, 100, 102, 100}; /* of frames */

	let_port_cut();
	rig_know_neighbours();
	ops->tx_pkt_prepare = refuse;
	for (unsigned i = 0; i < RTE_DIM(lens); i++)
		net_output_tcp(rig.net[0], make(lens[i] - 54, 0, 100, false, 0, ACK, 0), &flow, 0, rig.now);
	net_flush(rig.net[0]);
	*ops = saved;
	assert_int_equal(rig.n_sent, 2);
	assert_int_equal(rig.sent[0].len, 101);
	assert_int_equal(rig.sent[1].len, 102);
	assert_int_equal(rig_reason(WEIR_R_TX_REFUSED), 4);
}

static int setup(void **state)
{
	rig.port.caps = plain;
	rig.port.caps.tx_multi_seg = true;
	rig.port.caps.max_tx_segs = rig.port.caps.max_tso_segs = UINT16_MAX;
	rig.iface.mtu = 1500;
	return rig_setup(state);
}

static int start(void **state)
{
	int rc = rig_start(state);

	plain = rig.port.caps;
	plain.tx_csum_ip = plain.tx_csum_l4 = plain.tx_tso = false;
	return rc;
}

/* Pieces of any length, odd ones too, of any bytes: also such as make the most carries. */
static void checksum_of_any_chain_is_right(void **state)
{
	static uint8_t flat[4096];
	const struct weir_ip ips[2][2] = {{rig_ip("10.9.8.7"), rig_ip("192.0.2.255")}, {rig_ip("fd00::1:ffff"), rig_ip("2001:db8::9")}};

	for (unsigned round = 0; round < 2000; round++) {
		const struct weir_ip *a = ips[round % 2];
		unsigned k = round % 2 ? 16 : 4;
		struct rte_mbuf *head = NULL, **tail = &head;
		unsigned n = 0, off;

		for (unsigned i = 0, n_pieces = 1 + (unsigned)rand() % 4; i < n_pieces; i++) {
			unsigned len = (unsigned)rand() % (round % 3 ? 200 : 1000);
			struct rte_mbuf *m = rte_pktmbuf_alloc(rig.pool);
			uint8_t *p = (uint8_t *)rte_pktmbuf_append(m, (uint16_t)len);

			for (unsigned j = 0; j < len; j++)
				p[j] = round % 5 == 0 ? 0xff : round % 5 == 1 ? 0 : (uint8_t)rand();
			memcpy(flat + n, p, len);
			n += len;
			*tail = m;
			tail = &m->next;
			head->pkt_len = n;
			head->nb_segs = (uint16_t)(i + 1);
		}
		off = n ? (unsigned)rand() % n % 60 : 0;
		assert_int_equal(rte_bswap16(l4_checksum(head, off, &a[0], &a[1], 6)),
				 (uint16_t)~rig_sum(flat + off, n - off, rig_sum(a[0].b + 16 - k, k, rig_sum(a[1].b + 16 - k, k, 6 + n - off))));
		rte_pktmbuf_free(head);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, rig_teardown)
	const struct CMUnitTest tests[] = {
		T(checksum_of_any_chain_is_right),
		T(software_cuts_any_chain_right),
		T(header_mbuf_with_several_pieces_of_payload_is_cut),
		T(references_are_taken_only_at_cuts),
		T(port_of_single_mbufs_gets_copies),
		T(pieces_respect_the_ports_limit_of_mbufs),
		T(packet_too_large_for_its_first_mbuf_is_copied_into_few),
		T(without_mbufs_what_there_is_goes_out),
		T(without_any_mbuf_nothing_leaks),
		T(port_that_cuts_gets_the_long_segment),
		T(largest_long_segment_fits_both_families),
		T(more_mbufs_than_the_port_cuts_are_cut_here),
		T(segment_that_is_not_long_is_sent_as_it_is),
		T(long_segment_of_pieces_beyond_the_mtu_is_refused),
		T(long_segment_waits_for_its_next_hop_like_others),
		T(what_the_driver_refuses_is_dropped_and_the_rest_sent),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, start, NULL);
}
