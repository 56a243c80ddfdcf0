/* SPDX-License-Identifier: Apache-2.0 */
/* IPv4 in (RFC 791, RFC 1122 3.2.1): a host, not a router; no fragments. */
#include <string.h>

#include <rte_ip.h>

#include "net/net_pvt.h"

/* Loose and strict source route (RFC 7126 4.3, 4.4). */
static bool has_source_route(const uint8_t *p, const uint8_t *end)
{
	while (p < end && *p != 0) {
		if (*p == 131 || *p == 137)
			return true;
		if (*p == 1) {
			p++;
			continue;
		}
		if (end - p < 2 || p[1] < 2)
			return false;
		p += p[1];
	}
	return false;
}

static bool is_checksum_good(const struct rx *r, const uint8_t *ip, unsigned n_header)
{
	uint64_t hw = r->m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK;

	if (hw == RTE_MBUF_F_RX_IP_CKSUM_GOOD || hw == RTE_MBUF_F_RX_IP_CKSUM_NONE)
		return true;
	return rte_raw_cksum(ip, n_header) == 0xffff;
}

/* No host sends from these. */
static bool is_bad_source(const uint8_t *a)
{
	return a[0] == 0 || a[0] == 127 || a[0] >= 224;
}

void ip4_input(struct net *n, struct rx *r)
{
	const uint8_t *ip = rx_at(r, r->l3);
	unsigned left = (unsigned)(r->m->pkt_len - r->l3);
	unsigned n_header;
	unsigned total;
	uint32_t be;

	if (r->m->data_len < r->l3 + 20) {
		net_drop(n, r->m, WEIR_R_RX_TRUNCATED);
		return;
	}
	n_header = (ip[0] & 15) * 4u;
	total = (unsigned)(ip[2] << 8 | ip[3]);
	if (ip[0] >> 4 != 4) {
		net_drop(n, r->m, WEIR_R_IP_BAD_VERSION);
		return;
	}
	if (n_header < 20 || total < n_header || r->m->data_len < r->l3 + n_header) {
		net_drop(n, r->m, WEIR_R_IP_BAD_HEADER);
		return;
	}
	if (total > left) {
		net_drop(n, r->m, WEIR_R_RX_TRUNCATED);
		return;
	}
	if (!is_checksum_good(r, ip, n_header)) {
		net_drop(n, r->m, WEIR_R_IP_BAD_CHECKSUM);
		return;
	}
	if (has_source_route(ip + 20, ip + n_header)) {
		net_drop(n, r->m, WEIR_R_IP_SOURCE_ROUTE);
		return;
	}
	if (total < left && rte_pktmbuf_trim(r->m, (uint16_t)(left - total)) != 0) { /* Ethernet's padding */
		net_drop(n, r->m, WEIR_R_IP_BAD_HEADER);
		return;
	}
	memcpy(&be, ip + 12, 4);
	r->src = ip_from4(be);
	memcpy(&be, ip + 16, 4);
	r->dst = ip_from4(be);
	r->proto = ip[9];
	r->ecn = ip[1] & 3;
	r->l4 = (uint16_t)(r->l3 + n_header);
	if ((ip[6] & 0x3f) || ip[7]) { /* more fragments, or an offset */
		ip_fragment(n, r);
		return;
	}
	if (is_bad_source(ip + 12)) {
		net_drop(n, r->m, WEIR_R_IP_BAD_SOURCE);
		return;
	}
	ip_deliver(n, r);
}
