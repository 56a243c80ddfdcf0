/* SPDX-License-Identifier: Apache-2.0 */
/* Frames as bytes: see frame.h. */
#include "frame.h"

#include <immintrin.h>
#include <string.h>

#define ETH_LEN 14
#define IP_LEN 20
#define TCP_LEN 20
#define TTL 64

static uint16_t load16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t load32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return __builtin_bswap32(v);
}

static void store16(uint8_t *p, uint16_t v)
{
	v = __builtin_bswap16(v);
	memcpy(p, &v, 2);
}

static void store32(uint8_t *p, uint32_t v)
{
	v = __builtin_bswap32(v);
	memcpy(p, &v, 4);
}

uint64_t frame_sum(const void *data, size_t n, uint64_t sum)
{
	const __m256i low = _mm256_set1_epi64x(UINT32_MAX);
	__m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
	const uint8_t *p = data;
	uint64_t lanes[4];

	for (; n >= 64; n -= 64, p += 64) {
		__m256i v = _mm256_loadu_si256((const __m256i *)(const void *)p);
		__m256i w = _mm256_loadu_si256((const __m256i *)(const void *)(p + 32));

		a = _mm256_add_epi64(a, _mm256_and_si256(v, low));
		b = _mm256_add_epi64(b, _mm256_srli_epi64(v, 32));
		c = _mm256_add_epi64(c, _mm256_and_si256(w, low));
		d = _mm256_add_epi64(d, _mm256_srli_epi64(w, 32));
	}
	_mm256_storeu_si256((__m256i *)(void *)lanes, _mm256_add_epi64(_mm256_add_epi64(a, b), _mm256_add_epi64(c, d)));
	for (int i = 0; i < 4; i++) /* so many carries that a sum of them all stays below 64 bits */
		sum += (lanes[i] & UINT32_MAX) + (lanes[i] >> 32);
	for (; n >= 4; n -= 4, p += 4) {
		uint32_t v;

		memcpy(&v, p, 4);
		sum += v;
	}
	if (n >= 2) {
		uint16_t v;

		memcpy(&v, p, 2);
		sum += v;
		p += 2;
	}
	return n & 1 ? sum + *p : sum; /* an odd last byte is the first one of its word */
}

static uint16_t fold(uint64_t sum)
{
	sum = (sum & UINT32_MAX) + (sum >> 32);
	sum = (sum & UINT32_MAX) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* ip: the IP header; len: of TCP with its payload, which follows the header. */
static uint16_t tcp_sum(const uint8_t *ip, size_t len)
{
	uint64_t sum = (uint64_t)__builtin_bswap16((uint16_t)len) + __builtin_bswap16(6);

	sum = frame_sum(ip + 12, 8, sum);
	return fold(frame_sum(ip + IP_LEN, len, sum));
}

static bool read_options(const uint8_t *p, size_t n, struct segment *s)
{
	if (n == 12 && load32(p) == 0x0101080a) { /* what nearly every segment has */
		s->has_ts = true;
		s->ts_val = load32(p + 4);
		s->ts_ecr = load32(p + 8);
		return true;
	}
	while (n > 0 && p[0] != 0) {
		size_t k = 1;

		if (p[0] != 1) {
			if (n < 2 || p[1] < 2 || p[1] > n)
				return false;
			k = p[1];
		}
		if (p[0] == 2 && k == 4)
			s->mss = load16(p + 2);
		else if (p[0] == 3 && k == 3) {
			s->has_wscale = true;
			s->wscale = p[2] > 14 ? 14 : p[2];
		} else if (p[0] == 8 && k == 10) {
			s->has_ts = true;
			s->ts_val = load32(p + 2);
			s->ts_ecr = load32(p + 6);
		}
		p += k;
		n -= k;
	}
	return true;
}

static enum frame_kind read_tcp(const uint8_t *ip, size_t n, bool verify, struct segment *s)
{
	const uint8_t *t = ip + IP_LEN;
	size_t total = load16(ip + 2);
	size_t head;

	if (total < IP_LEN + TCP_LEN || total > n)
		return FRAME_BAD;
	head = (size_t)(t[12] >> 4) * 4;
	if (head < TCP_LEN || IP_LEN + head > total)
		return FRAME_BAD;
	if (verify && (fold(frame_sum(ip, IP_LEN, 0)) != 0xffff || tcp_sum(ip, total - IP_LEN) != 0xffff))
		return FRAME_BAD;
	*s = (struct segment){
		.src = load32(ip + 12),
		.dst = load32(ip + 16),
		.src_port = load16(t),
		.dst_port = load16(t + 2),
		.seq = load32(t + 4),
		.ack = load32(t + 8),
		.flags = t[13] & 0x3f,
		.wnd = load16(t + 14),
		.len = (uint32_t)(total - IP_LEN - head),
		.data = t + head,
	};
	return head == TCP_LEN || read_options(t + TCP_LEN, head - TCP_LEN, s) ? FRAME_TCP : FRAME_BAD;
}

static enum frame_kind read_arp(const uint8_t *p, size_t n, struct arp *a)
{
	static const uint8_t fixed[7] = {0, 1, 8, 0, 6, 4, 0};

	if (n < FRAME_ARP_LEN - ETH_LEN || memcmp(p, fixed, sizeof(fixed)) != 0 || (p[7] != 1 && p[7] != 2))
		return FRAME_BAD;
	a->is_request = p[7] == 1;
	memcpy(a->mac, p + 8, 6);
	a->sender = load32(p + 14);
	a->target = load32(p + 24);
	return FRAME_ARP;
}

enum frame_kind frame_read(const uint8_t *p, size_t n, bool verify, struct segment *seg, struct arp *arp)
{
	uint16_t type;

	if (n < ETH_LEN)
		return FRAME_BAD;
	type = load16(p + 12);
	p += ETH_LEN;
	n -= ETH_LEN;
	if (type == 0x0806)
		return read_arp(p, n, arp);
	if (type != 0x0800 || n < IP_LEN || p[9] != 6)
		return FRAME_OTHER;
	if (p[0] != 0x45 || (load16(p + 6) & 0x3fff))
		return FRAME_BAD;
	return read_tcp(p, n, verify, seg);
}

static unsigned options_length(const struct segment *s)
{
	if (s->flags & SYN)
		return 4 + (s->has_ts ? 12 : 0) + (s->has_wscale ? 4 : 0);
	return s->has_ts ? 12 : 0;
}

unsigned frame_head_length(const struct segment *s)
{
	return ETH_LEN + IP_LEN + TCP_LEN + options_length(s);
}

static void write_options(uint8_t *p, const struct segment *s)
{
	if (s->flags & SYN) {
		store16(p, 0x0204);
		store16(p + 2, s->mss);
		p += 4;
		if (s->has_wscale) {
			store32(p, 0x01030300u | s->wscale);
			p += 4;
		}
	}
	if (s->has_ts) {
		store32(p, 0x0101080a);
		store32(p + 4, s->ts_val);
		store32(p + 8, s->ts_ecr);
	}
}

void frame_write_tcp(uint8_t *p, const struct segment *s, const uint8_t src_mac[6], const uint8_t dst_mac[6], uint16_t id)
{
	unsigned n_options = options_length(s);
	size_t len = TCP_LEN + n_options + s->len;
	uint8_t *ip = p + ETH_LEN;
	uint8_t *t = ip + IP_LEN;

	memcpy(p, dst_mac, 6);
	memcpy(p + 6, src_mac, 6);
	store16(p + 12, 0x0800);
	store16(ip, 0x4500);
	store16(ip + 2, (uint16_t)(IP_LEN + len));
	store16(ip + 4, id);
	store16(ip + 6, 0x4000); /* do not fragment */
	store32(ip + 8, TTL << 24 | 6 << 16);
	store32(ip + 12, s->src);
	store32(ip + 16, s->dst);
	store16(t, s->src_port);
	store16(t + 2, s->dst_port);
	store32(t + 4, s->seq);
	store32(t + 8, s->ack);
	t[12] = (uint8_t)((TCP_LEN + n_options) << 2);
	t[13] = s->flags;
	store16(t + 14, s->wnd);
	store32(t + 16, 0);
	write_options(t + TCP_LEN, s);
	{
		uint16_t sum = (uint16_t)~fold(frame_sum(ip, IP_LEN, 0));

		memcpy(ip + 10, &sum, 2);
		sum = (uint16_t)~tcp_sum(ip, len);
		memcpy(t + 16, &sum, 2);
	}
}

void frame_write_arp(uint8_t *p, bool is_request, const uint8_t src_mac[6], const uint8_t *dst_mac, uint32_t sender,
		     uint32_t target)
{
	static const uint8_t fixed[6] = {0, 1, 8, 0, 6, 4};

	memset(p, 0, FRAME_ARP_LEN);
	if (dst_mac)
		memcpy(p, dst_mac, 6);
	else
		memset(p, 0xff, 6);
	memcpy(p + 6, src_mac, 6);
	store16(p + 12, 0x0806);
	p += ETH_LEN;
	memcpy(p, fixed, 6);
	store16(p + 6, is_request ? 1 : 2);
	memcpy(p + 8, src_mac, 6);
	store32(p + 14, sender);
	if (dst_mac)
		memcpy(p + 18, dst_mac, 6);
	store32(p + 24, target);
}
