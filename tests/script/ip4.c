/* SPDX-License-Identifier: Apache-2.0 */
/* See ip4.h. */
#include "ip4.h"

#include <netinet/in.h>
#include <string.h>

static uint32_t add(uint32_t sum, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

size_t ip4_finish(uint8_t *p, size_t n, uint8_t proto, uint32_t src, uint32_t dst, uint8_t ecn)
{
	size_t at = proto == IPPROTO_TCP ? 16 : 2; /* of the checksum */
	uint32_t sum = 0;

	memset(p, 0, IP4_HEADER);
	p[0] = 0x45;
	p[1] = ecn;
	ip4_put16(p + 2, (uint32_t)(IP4_HEADER + n));
	p[6] = 0x40; /* don't fragment */
	p[8] = 64;
	p[9] = proto;
	ip4_put32(p + 12, src);
	ip4_put32(p + 16, dst);
	ip4_put16(p + 10, fold(add(0, p, IP4_HEADER)));
	if (n >= at + 2) {
		ip4_put16(p + IP4_HEADER + at, 0);
		if (proto == IPPROTO_TCP)
			sum = add((uint32_t)(proto + n), p + 12, 8);
		ip4_put16(p + IP4_HEADER + at, fold(add(sum, p + IP4_HEADER, n)));
	}
	return IP4_HEADER + n;
}

bool ip4_read(const uint8_t *p, size_t n, struct ip4_got *out)
{
	size_t header, len;

	if (n < IP4_HEADER || p[0] >> 4 != 4)
		return false;
	header = (p[0] & 15u) * 4;
	len = (size_t)(p[2] << 8 | p[3]);
	if (header < IP4_HEADER || len < header || len > n)
		return false;
	*out = (struct ip4_got){
		.src = (uint32_t)p[12] << 24 | (uint32_t)p[13] << 16 | (uint32_t)p[14] << 8 | p[15],
		.dst = (uint32_t)p[16] << 24 | (uint32_t)p[17] << 16 | (uint32_t)p[18] << 8 | p[19],
		.proto = p[9],
		.ecn = p[1] & 3,
		.payload = p + header,
		.n = len - header,
	};
	return true;
}
