/* SPDX-License-Identifier: Apache-2.0 */
/* What is remembered of a received payload's sum gives the same checksum as reading it, however it is cut and put together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <rte_byteorder.h>
#include <rte_ip.h>
#include <rte_mbuf.h>

#include "../../eal.h"
#include "net/net_pvt.h"

#define N_PARTS 4

static struct rte_mempool *pool, *clones;
static const struct weir_ip src = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1}};
static const struct weir_ip dst = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 2}};

static int setup(void **state)
{
	(void)state;
	pool = rte_pktmbuf_pool_create("sum-pool", 1023, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	clones = rte_pktmbuf_pool_create("sum-clones", 1023, 0, 0, 0, SOCKET_ID_ANY);
	return pool && clones && checksum_init() == 0 ? 0 : -1;
}

static struct rte_mbuf *filled(uint16_t n)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	uint8_t *p;

	assert_non_null(m);
	m->data_off = (uint16_t)(m->data_off + rand() % 3); /* at even and odd addresses */
	p = (uint8_t *)rte_pktmbuf_append(m, n);
	for (uint16_t i = 0; i < n; i++)
		p[i] = rand() % 8 ? (uint8_t)rand() : 0xff;
	return m;
}

/* A segment of several mbufs with a right checksum. */
static struct rte_mbuf *segment(unsigned n_mbufs)
{
	struct rte_mbuf *m = filled((uint16_t)(20 + rand() % 1400));
	uint8_t *h = rte_pktmbuf_mtod(m, uint8_t *);
	uint16_t sum = 0;

	h[12] = 0x50;
	memcpy(h + 16, &sum, 2);
	for (unsigned i = 1; i < n_mbufs; i++)
		assert_int_equal(rte_pktmbuf_chain(m, filled((uint16_t)(1 + rand() % 1400))), 0);
	sum = l4_checksum(m, 0, &src, &dst, PROTO_TCP);
	memcpy(h + 16, &sum, 2);
	return m;
}

/* The sum as anybody computes it: of all bytes in a row. */
static uint16_t naive(const struct rte_mbuf *m)
{
	static uint8_t flat[65536];
	uint32_t words[2] = {rte_cpu_to_be_32(m->pkt_len), rte_cpu_to_be_32(PROTO_TCP)};
	uint32_t sum = 0, n = 0;

	for (; m; m = m->next) {
		memcpy(flat + n, rte_pktmbuf_mtod(m, uint8_t *), m->data_len);
		n += m->data_len;
	}
	sum = __rte_raw_cksum(src.b + 12, 4, sum);
	sum = __rte_raw_cksum(dst.b + 12, 4, sum);
	sum = __rte_raw_cksum(words, sizeof(words), sum);
	sum = __rte_raw_cksum_reduce(sum) + (uint32_t)rte_raw_cksum(flat, n);
	return (uint16_t)~__rte_raw_cksum_reduce(sum);
}

/* 0 and 0xffff are the same number in ones' complement. */
static void expect_sum(uint16_t got, uint16_t want)
{
	assert_int_equal(got == 0xffff ? 0 : got, want == 0xffff ? 0 : want);
}

static struct rte_mbuf *reference(struct rte_mbuf *m, uint16_t off, uint16_t n)
{
	struct rte_mbuf *ref = rte_pktmbuf_alloc(clones);

	assert_non_null(ref);
	rte_pktmbuf_attach(ref, m);
	ref->data_off = (uint16_t)(m->data_off + off);
	ref->data_len = n;
	ref->pkt_len = n;
	return ref;
}

static void what_is_relayed_in_any_pieces_has_the_sum_of_its_bytes(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 20000; round++) {
		struct rte_mbuf *from = segment(1 + (unsigned)rand() % N_PARTS);
		struct rte_mbuf *to = filled((uint16_t)(20 + rand() % 60));

		assert_true(checksum_verify_tcp(from, 0, &src, &dst));
		rte_pktmbuf_adj(from, 20);
		for (struct rte_mbuf *p = from; p; p = p->next) {
			uint16_t cut = p->data_len && rand() % 2 ? (uint16_t)(rand() % (p->data_len < 40 || rand() % 8 == 0 ? p->data_len : 40)) : 0;
			uint16_t end = p->data_len - cut && rand() % 2 ? (uint16_t)(rand() % (p->data_len - cut < 40 ? p->data_len - cut : 40)) : 0;

			if (p->data_len - cut - end > 0)
				assert_int_equal(rte_pktmbuf_chain(to, reference(p, cut, (uint16_t)(p->data_len - cut - end))), 0);
		}
		expect_sum(l4_checksum(to, 0, &src, &dst, PROTO_TCP), naive(to));
		rte_pktmbuf_free(to);
		rte_pktmbuf_free(from);
	}
}

static void bytes_appended_to_a_received_buffer_are_counted(void **state)
{
	struct rte_mbuf *m = segment(1);

	(void)state;
	assert_true(checksum_verify_tcp(m, 0, &src, &dst));
	rte_pktmbuf_adj(m, 20);
	memcpy(rte_pktmbuf_append(m, 7), "weirweir", 7);
	expect_sum(l4_checksum(m, 0, &src, &dst, PROTO_TCP), naive(m));
	rte_pktmbuf_free(m);
}

static void a_buffer_used_again_has_forgotten_its_sum(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3000; i++) { /* more than the pool has */
		struct rte_mbuf *m = i % 2 ? filled(1000) : segment(1);

		if (i % 2 == 0)
			assert_true(checksum_verify_tcp(m, 0, &src, &dst));
		else
			expect_sum(l4_checksum(m, 0, &src, &dst, PROTO_TCP), naive(m));
		rte_pktmbuf_free(m);
	}
}

static void finds_one_wrong_byte_anywhere(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 2000; round++) {
		struct rte_mbuf *m = segment(1 + (unsigned)rand() % N_PARTS);
		struct rte_mbuf *p = m;
		unsigned skip = (unsigned)rand() % m->nb_segs;

		while (skip--)
			p = p->next;
		rte_pktmbuf_mtod(p, uint8_t *)[rand() % p->data_len] ^= (uint8_t)(1u << rand() % 8);
		assert_false(checksum_verify_tcp(m, 0, &src, &dst));
		rte_pktmbuf_free(m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_relayed_in_any_pieces_has_the_sum_of_its_bytes),
		cmocka_unit_test(bytes_appended_to_a_received_buffer_are_counted),
		cmocka_unit_test(a_buffer_used_again_has_forgotten_its_sum),
		cmocka_unit_test(finds_one_wrong_byte_anywhere),
	};

	test_eal_init();
	srand(1);
	return cmocka_run_group_tests(tests, setup, NULL);
}
