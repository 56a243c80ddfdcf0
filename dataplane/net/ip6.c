/* SPDX-License-Identifier: Apache-2.0 */
/* IPv6 in (RFC 8200): extension headers are walked, a bounded number of them; no fragments, no routing headers. */
#include <string.h>

#include "net/net_pvt.h"

#define MAX_EXTENSIONS 8

enum { EXT_HOP = 0, EXT_ROUTING = 43, EXT_FRAGMENT = 44, EXT_AUTH = 51, EXT_DEST = 60 };

/* Finds the transport header. DONE is WEIR_N_REASONS, else why not. */
static enum weir_reason walk(struct rx *r, uint8_t next)
{
	unsigned off = r->l3 + 40u;

	r->next_header_at = (uint16_t)(r->l3 + 6);
	for (unsigned i = 0; i <= MAX_EXTENSIONS; i++) {
		const uint8_t *p;

		if (next == EXT_FRAGMENT)
			return WEIR_R_IP_FRAGMENT;
		if (next != EXT_HOP && next != EXT_ROUTING && next != EXT_DEST) {
			r->l4 = (uint16_t)off;
			r->proto = next;
			return WEIR_N_REASONS;
		}
		if (off + 8 > r->m->data_len)
			return WEIR_R_IP6_BAD_EXTENSION;
		p = rx_at(r, (uint16_t)off);
		if (next == EXT_ROUTING && p[3] != 0) /* segments left: RFC 8200 4.4, RFC 5095 */
			return WEIR_R_IP_SOURCE_ROUTE;
		next = p[0];
		r->next_header_at = (uint16_t)off;
		off += (p[1] + 1u) * 8;
		if (off > r->m->data_len)
			return WEIR_R_IP6_BAD_EXTENSION;
	}
	return WEIR_R_IP6_BAD_EXTENSION;
}

static bool is_bad_source(const struct weir_ip *a)
{
	static const struct weir_ip loopback = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};

	return a->b[0] == 0xff || ip_eq(a, &loopback) || ip_is4(a);
}

void ip6_input(struct net *n, struct rx *r)
{
	const uint8_t *ip = rx_at(r, r->l3);
	unsigned left = (unsigned)(r->m->pkt_len - r->l3);
	unsigned total;
	enum weir_reason why;

	if (r->m->data_len < r->l3 + 40) {
		net_drop(n, r->m, WEIR_R_RX_TRUNCATED);
		return;
	}
	if (ip[0] >> 4 != 6) {
		net_drop(n, r->m, WEIR_R_IP_BAD_VERSION);
		return;
	}
	total = 40u + (unsigned)(ip[4] << 8 | ip[5]);
	if (total > left) {
		net_drop(n, r->m, WEIR_R_RX_TRUNCATED);
		return;
	}
	if (total < left && rte_pktmbuf_trim(r->m, (uint16_t)(left - total)) != 0) {
		net_drop(n, r->m, WEIR_R_IP_BAD_HEADER);
		return;
	}
	memcpy(r->src.b, ip + 8, 16);
	memcpy(r->dst.b, ip + 24, 16);
	r->ecn = (ip[1] >> 4) & 3;
	if (is_bad_source(&r->src)) {
		net_drop(n, r->m, WEIR_R_IP_BAD_SOURCE);
		return;
	}
	why = walk(r, ip[6]);
	if (why == WEIR_R_IP_FRAGMENT) {
		ip_fragment(n, r);
		return;
	}
	if (why != WEIR_N_REASONS) {
		net_drop(n, r->m, why);
		return;
	}
	ip_deliver(n, r);
}
