/* SPDX-License-Identifier: Apache-2.0 */
/* Frames whose checksums are made right, so that what is behind the checks is reached. */
#ifndef TESTS_FUZZ_MEND_H
#define TESTS_FUZZ_MEND_H

#include <stdint.h>
#include <string.h>

#include <rte_ip.h>
#include <rte_mbuf.h>

#include "net/net_pvt.h"

/* Makes the checksums of an IPv4 or IPv6 packet right, as far as its lengths allow; pool has mbufs for that. */
static inline void mend(struct rte_mempool *pool, uint8_t *p, unsigned n)
{
	unsigned type = n >= 14 ? (unsigned)(p[12] << 8 | p[13]) : 0;
	unsigned l4;
	uint8_t proto;
	unsigned end;
	uint16_t sum;
	struct rte_mbuf *m;
	struct weir_ip src;
	struct weir_ip dst;
	uint32_t be;
	unsigned at;

	if (type == 0x0800 && n >= 34) {
		l4 = 14 + (p[14] & 15) * 4u;
		end = 14 + (unsigned)(p[16] << 8 | p[17]);
		proto = p[23];
		if (l4 < 34 || l4 > n || end > n || end < l4)
			return;
		p[24] = p[25] = 0;
		sum = (uint16_t)~rte_raw_cksum(p + 14, l4 - 14);
		memcpy(p + 24, &sum, 2);
		memcpy(&be, p + 26, 4);
		src = ip_from4(be);
		memcpy(&be, p + 30, 4);
		dst = ip_from4(be);
	} else if (type == 0x86dd && n >= 54) {
		l4 = 54;
		end = 54 + (unsigned)(p[18] << 8 | p[19]);
		proto = p[20];
		if (end > n)
			return;
		memcpy(src.b, p + 22, 16);
		memcpy(dst.b, p + 38, 16);
	} else {
		return;
	}
	at = l4 + (proto == PROTO_TCP ? 16 : 2);
	if (proto == PROTO_UDP) {
		at = l4 + 6;
		if (at + 10 + 14 < end && p[l4 + 2] == 8472 >> 8 && p[l4 + 3] == (8472 & 0xff))
			mend(pool, p + l4 + 16, end - l4 - 16);
	}
	if (at + 2 > end)
		return;
	memset(p + at, 0, 2);
	m = rte_pktmbuf_alloc(pool);
	memcpy(rte_pktmbuf_append(m, (uint16_t)(end - l4)), p + l4, end - l4);
	if (proto == PROTO_ICMP)
		sum = (uint16_t)~rte_raw_cksum(p + l4, end - l4);
	else
		sum = l4_checksum(m, 0, &src, &dst, proto);
	memcpy(p + at, &sum, 2);
	rte_pktmbuf_free(m);
}

#endif
