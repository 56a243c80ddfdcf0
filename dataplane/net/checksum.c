/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Internet checksum (RFC 1071) of packets in chains of mbufs.
 *
 * A sum that was computed to verify a received packet is kept in its mbufs,
 * with the part of the buffer that it covers. References copy it, trimming
 * leaves it as it is. A packet that is sent takes it for each piece of such a
 * part: less the sum of the bytes that do not belong to the piece, where
 * these are the fewer ones. Bytes of a part do not change: who writes to a
 * buffer appends behind its data, or clears its flags (tls/record.c).
 */
#include <errno.h>
#include <immintrin.h>
#include <stdalign.h>

#include <rte_byteorder.h>
#include <rte_errno.h>
#include <rte_ip.h>
#include <rte_mbuf_dyn.h>

#include "net/net_pvt.h"

/* What a buffer's bytes [off, off + len) add up to. */
struct known_sum {
	uint16_t off;
	uint16_t len;
	uint16_t sum;
};

static int known_at = -1;    /* the field's offset in an mbuf */
static uint64_t known_flag; /* in ol_flags: the field holds something */

int checksum_init(void)
{
	static const struct rte_mbuf_dynfield field = {
		.name = "weir_known_sum", .size = sizeof(struct known_sum), .align = alignof(struct known_sum)};
	static const struct rte_mbuf_dynflag flag = {.name = "weir_has_known_sum"};
	int bit;

	if (known_at >= 0)
		return 0;
	bit = rte_mbuf_dynflag_register(&flag);
	if (bit < 0)
		return -rte_errno;
	known_flag = UINT64_C(1) << bit;
	known_at = rte_mbuf_dynfield_register(&field);
	return known_at < 0 ? -rte_errno : 0;
}

static struct known_sum *known_of(const struct rte_mbuf *m)
{
	return RTE_MBUF_DYNFIELD(m, known_at, struct known_sum *);
}

/* A sum of 32-bit words is one of 16-bit words when its carries are folded (RFC 1071 2C). */
static uint16_t fold(uint64_t sum)
{
	sum = (sum & UINT32_MAX) + (sum >> 32);
	sum = (sum & UINT32_MAX) + (sum >> 32);
	sum = (sum & UINT16_MAX) + (sum >> 16);
	sum = (sum & UINT16_MAX) + (sum >> 16);
	return (uint16_t)((sum & UINT16_MAX) + (sum >> 16));
}

/* As rte_raw_cksum(), 64 bytes at a time: next to the driver's copies it is what a body costs most. */
static uint16_t sum_run(const uint8_t *p, size_t n)
{
	const __m256i low = _mm256_set1_epi64x(UINT32_MAX);
	__m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
	uint64_t lanes[4];

	if (n < 64)
		return rte_raw_cksum(p, n);
	for (; n >= 64; p += 64, n -= 64) {
		__m256i v = _mm256_loadu_si256((const __m256i *)(const void *)p);
		__m256i w = _mm256_loadu_si256((const __m256i *)(const void *)(p + 32));

		a = _mm256_add_epi64(a, _mm256_and_si256(v, low));
		b = _mm256_add_epi64(b, _mm256_srli_epi64(v, 32));
		c = _mm256_add_epi64(c, _mm256_and_si256(w, low));
		d = _mm256_add_epi64(d, _mm256_srli_epi64(w, 32));
	}
	a = _mm256_add_epi64(_mm256_add_epi64(a, b), _mm256_add_epi64(c, d));
	_mm256_storeu_si256((__m256i *)(void *)lanes, a);
	return fold(lanes[0] + lanes[1] + lanes[2] + lanes[3] + rte_raw_cksum(p, n));
}

/* A part's sum as seen from an odd place is its bytes swapped (RFC 1071 2B). */
static uint16_t shifted(uint16_t sum, uint32_t by)
{
	return by & 1 ? rte_bswap16(sum) : sum;
}

/* m's n bytes from off on, by what is known of them. False: reading them is less work. */
static bool sum_known(const struct rte_mbuf *m, uint32_t off, uint32_t n, uint16_t *sum)
{
	const struct known_sum *k = known_of(m);
	uint32_t from = m->data_off + off;
	uint32_t before, behind, s;
	const uint8_t *p = m->buf_addr;

	if (!(m->ol_flags & known_flag) || from < k->off || from + n > (uint32_t)k->off + k->len || 2 * (k->len - n) >= n)
		return false;
	before = from - k->off;
	behind = k->len - n - before;
	s = k->sum;
	if (before)
		s += (uint16_t)~sum_run(p + k->off, before);
	if (behind)
		s += (uint16_t)~shifted(sum_run(p + from + n, behind), before + n);
	*sum = shifted(fold(s), before);
	return true;
}

static uint16_t sum_piece(const struct rte_mbuf *m, uint32_t off, uint32_t n)
{
	uint16_t sum;

	return sum_known(m, off, n, &sum) ? sum : sum_run(rte_pktmbuf_mtod_offset(m, const uint8_t *, off), n);
}

/*
 * Sum over a chain from off to its end. Not rte_raw_cksum_mbuf(): DPDK 22.11
 * loses carries behind a segment of odd length.
 */
static uint16_t sum_chain(const struct rte_mbuf *m, uint32_t off)
{
	uint32_t done = 0;
	uint32_t sum = 0;

	for (; m; m = m->next) {
		if (off >= m->data_len) {
			off -= m->data_len;
			continue;
		}
		sum += shifted(sum_piece(m, off, m->data_len - off), done);
		done += m->data_len - off;
		off = 0;
	}
	return fold(sum);
}

static uint16_t sum_pseudo(uint32_t len, const struct weir_ip *src, const struct weir_ip *dst, uint8_t proto)
{
	uint32_t words[2] = {rte_cpu_to_be_32(len), rte_cpu_to_be_32(proto)};
	size_t n_addr = ip_is4(src) ? 4 : 16;
	uint32_t sum = 0;

	sum = __rte_raw_cksum(src->b + 16 - n_addr, n_addr, sum);
	sum = __rte_raw_cksum(dst->b + 16 - n_addr, n_addr, sum);
	return __rte_raw_cksum_reduce(__rte_raw_cksum(words, sizeof(words), sum));
}

uint16_t l4_checksum(const struct rte_mbuf *m, uint32_t off, const struct weir_ip *src, const struct weir_ip *dst, uint8_t proto)
{
	return (uint16_t)~fold((uint32_t)sum_pseudo(m->pkt_len - off, src, dst, proto) + sum_chain(m, off));
}

uint16_t icmp4_checksum(const struct rte_mbuf *m, uint32_t off)
{
	return (uint16_t)~sum_chain(m, off);
}

/* Sums the mbuf from off on, and remembers it. */
static uint16_t sum_and_note(struct rte_mbuf *m, uint32_t off)
{
	uint16_t n = (uint16_t)(m->data_len - off);
	uint16_t sum = sum_run(rte_pktmbuf_mtod_offset(m, const uint8_t *, off), n);

	*known_of(m) = (struct known_sum){.off = (uint16_t)(m->data_off + off), .len = n, .sum = sum};
	m->ol_flags |= known_flag;
	return sum;
}

bool checksum_verify_tcp(struct rte_mbuf *m, uint32_t off, const struct weir_ip *src, const struct weir_ip *dst)
{
	const uint8_t *h = rte_pktmbuf_mtod_offset(m, const uint8_t *, off);
	uint32_t left = m->data_len - off;
	uint32_t n_header = (h[12] >> 4) * 4u;
	uint32_t done;
	uint32_t sum;

	if (n_header >= left) /* no payload in this mbuf, or no header at all, which TCP will see */
		return l4_checksum(m, off, src, dst, PROTO_TCP) == 0;
	sum = (uint32_t)sum_pseudo(m->pkt_len - off, src, dst, PROTO_TCP) + rte_raw_cksum(h, n_header);
	sum += sum_and_note(m, off + n_header);
	done = left;
	while ((m = m->next) != NULL) {
		sum += shifted(sum_and_note(m, 0), done);
		done += m->data_len;
	}
	return fold(sum) == UINT16_MAX;
}
