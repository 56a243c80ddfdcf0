/* SPDX-License-Identifier: Apache-2.0 */
/* IPv4 headers and checksums for what goes through a TUN device. */
#ifndef SCRIPT_IP4_H
#define SCRIPT_IP4_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IP4_HEADER 20

struct ip4_got {
	uint32_t src, dst;
	uint8_t proto, ecn;
	const uint8_t *payload;
	size_t n;
};

static inline void ip4_put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void ip4_put32(uint8_t *p, uint32_t v)
{
	ip4_put16(p, v >> 16);
	ip4_put16(p + 2, v);
}

/*
 * Writes the header in front of n bytes of payload (which begin at p +
 * IP4_HEADER) and the payload's checksum, TCP or ICMP, if it is long enough
 * to have one. Returns the packet's length.
 */
size_t ip4_finish(uint8_t *p, size_t n, uint8_t proto, uint32_t src, uint32_t dst, uint8_t ecn);

/* False: not a whole IPv4 packet. */
bool ip4_read(const uint8_t *p, size_t n, struct ip4_got *out);

#endif
