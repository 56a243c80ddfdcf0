/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VXLAN (RFC 7348): packets to pods in frames within UDP, and out of them.
 * Who is at the other end, and by which link address, the forwarding table
 * says: nothing is learned, and nobody is asked within a tunnel.
 *
 * What was taken out of a tunnel begins at the inner frame, also when it is
 * redirected to another worker, and knows nothing of what a device said of checksums: that
 * was about the outer packet.
 */
#include <string.h>

#include <rte_ip.h>

#include "net/net_pvt.h"
#include "net/steer.h"

#define UDP_HEADER 8
#define VXLAN_HEADER 8
#define ETH_HEADER 14
#define FLAG_VNI 0x08 /* I (RFC 7348 5) */
#define PORT_FIRST 49152 /* RFC 7348 5: from the dynamic ports, by a hash of the inner headers */
#define PORT_COUNT 16384

_Static_assert(RTE_PKTMBUF_HEADROOM >= 18 + 2 * IP6_HEADER + UDP_HEADER + VXLAN_HEADER + ETH_HEADER,
	       "all headers stand in front of a segment: a tagged frame, IPv6 in IPv6");

enum { ECN_NOT_ECT, ECN_ECT1, ECN_ECT0, ECN_CE };

static uint16_t load16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t load24(const uint8_t *p)
{
	return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* -- out */

static void write_headers(uint8_t *p, uint32_t len, const struct weir_vtep *v, const struct ip_way *w, bool is4)
{
	uint8_t *eth = p + UDP_HEADER + VXLAN_HEADER;

	put16(p, PORT_FIRST + (uint32_t)(w->hash % PORT_COUNT));
	put16(p + 2, v->port);
	put16(p + 4, len);
	memset(p + 6, 0, 2 + VXLAN_HEADER);
	p[8] = FLAG_VNI;
	p[12] = (uint8_t)(v->vni >> 16);
	put16(p + 13, v->vni);
	memcpy(eth, w->tunnel->mac, 6);
	memcpy(eth + 6, v->mac, 6);
	put16(eth + 12, is4 ? ETHERTYPE_IP4 : ETHERTYPE_IP6);
}

/* The outside bears the same mark of congestion as the inside (RFC 6040 4.1, normal mode). */
void vxlan_output(struct net *n, struct rte_mbuf *m, const struct ip_way *w, bool is4, uint8_t ecn, uint64_t now_us)
{
	const struct weir_ip *via = &w->tunnel->via;
	uint8_t *p = (uint8_t *)rte_pktmbuf_prepend(m, UDP_HEADER + VXLAN_HEADER + ETH_HEADER);

	if (!p || m->pkt_len > UINT16_MAX) {
		net_drop(n, m, WEIR_R_TX_TOO_LONG);
		return;
	}
	write_headers(p, m->pkt_len, fib_vtep(n->fib, w->tunnel->vtep), w, is4);
	/* IPv4: none (RFC 7348 5), as kernels do. IPv6: by default kernels take none without (RFC 8200 8.1, RFC 6935 5). */
	if (!ip_is4(via)) {
		uint16_t sum = l4_checksum(m, 0, w->local, via, PROTO_UDP);

		if (!sum)
			sum = UINT16_MAX;
		memcpy(p + 6, &sum, 2);
	}
	m->tx_offload = 0;
	stat_inc(n->stats, WEIR_C_VXLAN_TX);
	ip_output_hop(n, m, w, w->local, via, PROTO_UDP, ecn, now_us);
}

/* -- in */

/*
 * The outer mark goes on with the inner packet, as RFC 6040 4.2 tells (figure 4). p: the inner IP header. False: it
 * cannot, and the packet is to be dropped.
 */
static bool combine_ecn(uint8_t *p, bool is4, uint8_t outer)
{
	uint8_t inner = is4 ? p[1] & 3 : (p[1] >> 4) & 3;
	bool is_marked = outer == ECN_CE || (outer == ECN_ECT1 && inner == ECN_ECT0);

	if (inner == ECN_NOT_ECT)
		return outer != ECN_CE;
	if (!is_marked || inner == ECN_CE)
		return true;
	if (is4) { /* RFC 1624: what the word grows by, the sum loses */
		uint32_t sum = (uint16_t)~load16(p + 10) + (uint32_t)(outer - inner) + UINT16_MAX;

		p[1] = (uint8_t)((p[1] & ~3) | outer);
		sum = (sum & UINT16_MAX) + (sum >> 16);
		put16(p + 10, (uint16_t)~((sum & UINT16_MAX) + (sum >> 16)));
	} else {
		p[1] = (uint8_t)((p[1] & ~0x30) | outer << 4);
	}
	return true;
}

static bool is_of_family(const struct weir_vtep *v, bool is4)
{
	return ip_is4(&v->source) == is4;
}

/* One of our ends takes this frame. DONE is WEIR_N_REASONS, else the reason that came nearest. */
static enum weir_reason find_end(const struct net *n, uint16_t port, uint32_t vni, const uint8_t *mac, bool is4)
{
	enum weir_reason why = WEIR_R_VXLAN_OTHER_VNI;

	for (unsigned i = 0; i < fib_n_vteps(n->fib); i++) {
		const struct weir_vtep *v = fib_vtep(n->fib, i);

		if (v->port != port || !is_of_family(v, is4) || (v->vni != vni && !(v->flags & WEIR_VTEP_ANY_VNI)))
			continue;
		if (memcmp(v->mac, mac, 6) == 0)
			return WEIR_N_REASONS;
		why = WEIR_R_VXLAN_OTHER_MAC;
	}
	return why;
}

static bool is_sum_good(const struct rx *r, const uint8_t *udp)
{
	if (udp[6] == 0 && udp[7] == 0)
		return ip_is4(&r->dst);
	return l4_checksum(r->m, r->l4, &r->src, &r->dst, PROTO_UDP) == 0;
}

/* Why the packet is refused, or WEIR_N_REASONS. */
static enum weir_reason check(const struct net *n, const struct rx *r)
{
	const uint8_t *udp = rx_at(r, r->l4);
	const uint8_t *eth = udp + UDP_HEADER + VXLAN_HEADER;
	uint16_t type;

	/* Behind the inner frame stands nothing: what is redirected is the frame alone. */
	if (r->m->data_len < r->l4 + UDP_HEADER + VXLAN_HEADER + ETH_HEADER + IP4_HEADER || load16(udp + 4) != r->m->pkt_len - r->l4)
		return WEIR_R_VXLAN_BAD_LENGTH;
	if (!is_sum_good(r, udp))
		return WEIR_R_VXLAN_BAD_CHECKSUM;
	if (!fib_is_hop(n->fib, &r->src))
		return WEIR_R_VXLAN_UNKNOWN_PEER;
	if (!(udp[8] & FLAG_VNI)) /* all else that is reserved is not looked at */
		return WEIR_R_VXLAN_NO_VNI;
	type = load16(eth + 12);
	if (type != ETHERTYPE_IP4 && type != ETHERTYPE_IP6)
		return WEIR_R_VXLAN_UNKNOWN_ETHERTYPE;
	return find_end(n, load16(udp + 2), load24(udp + 12), eth, type == ETHERTYPE_IP4);
}

/* Of an address that the kernel beside the port has, too, what is whole and not ours may be for tunnels of its own. */
static void refuse(struct net *n, struct rx *r, enum weir_reason why)
{
	if (why != WEIR_R_VXLAN_BAD_LENGTH && why != WEIR_R_VXLAN_BAD_CHECKSUM && punt_shares(n, r, &r->dst))
		punt(n, r, why);
	else
		net_drop(n, r->m, why);
}

bool vxlan_input(struct net *n, struct rx *r)
{
	const uint8_t *udp = rx_at(r, r->l4);
	enum weir_reason why;
	uint8_t *eth;

	if (r->vtep || r->m->data_len < r->l4 + UDP_HEADER || !fib_has_port(n->fib, load16(udp + 2)))
		return false;
	why = check(n, r);
	if (why != WEIR_N_REASONS) {
		refuse(n, r, why);
		return true;
	}
	eth = (uint8_t *)rte_pktmbuf_adj(r->m, (uint16_t)(r->l4 + UDP_HEADER + VXLAN_HEADER));
	r->m->ol_flags &= ~(RTE_MBUF_F_RX_L4_CKSUM_MASK | RTE_MBUF_F_RX_IP_CKSUM_MASK);
	if (!combine_ecn(eth + ETH_HEADER, load16(eth + 12) == ETHERTYPE_IP4, r->ecn)) {
		net_drop(n, r->m, WEIR_R_VXLAN_BAD_ECN);
		return true;
	}
	stat_inc(n->stats, WEIR_C_VXLAN_RX);
	vxlan_inner_input(n, r);
	return true;
}

/* Our end that has this link address, and the packet's destination as its own. */
static const struct weir_vtep *find_vtep(const struct net *n, const struct rx *r, const uint8_t *eth, bool is4)
{
	const uint8_t *ip = eth + ETH_HEADER;

	for (unsigned i = 0; n->fib && i < fib_n_vteps(n->fib); i++) {
		const struct weir_vtep *v = fib_vtep(n->fib, i);

		if (is_of_family(v, is4) && memcmp(v->mac, eth, 6) == 0 &&
		    (is4 ? memcmp(v->source.b + 12, ip + 16, 4) : memcmp(v->source.b, ip + 24, 16)) == 0)
			return v;
	}
	return NULL;
}

void vxlan_inner_input(struct net *n, struct rx *r)
{
	const uint8_t *eth = rte_pktmbuf_mtod(r->m, const uint8_t *);
	bool is4 = load16(eth + 12) == ETHERTYPE_IP4;

	if (r->m->data_len < ETH_HEADER + (is4 ? IP4_HEADER : IP6_HEADER)) {
		net_drop(n, r->m, WEIR_R_VXLAN_BAD_LENGTH);
		return;
	}
	r->vtep = find_vtep(n, r, eth, is4);
	if (!r->vtep) {
		net_drop(n, r->m, WEIR_R_VXLAN_NOT_OURS);
		return;
	}
	memcpy(r->src_mac, eth + 6, 6);
	r->is_group = false;
	r->l3 = ETH_HEADER;
	if (is4)
		ip4_input(n, r);
	else
		ip6_input(n, r);
}

/* -- errors about what was sent */

const uint8_t *vxlan_quoted(const struct net *n, const uint8_t *q, unsigned len, bool is4, struct weir_ip *via)
{
	unsigned n_header = is4 ? (q[0] & 15) * 4u : IP6_HEADER;
	unsigned n_inner = n_header + UDP_HEADER + VXLAN_HEADER + ETH_HEADER;
	const uint8_t *udp = q + n_header;
	struct weir_ip local;
	uint32_t be;

	if (len < n_inner + IP4_HEADER || n_header < IP4_HEADER || q[0] >> 4 != (is4 ? 4 : 6) || q[is4 ? 9 : 6] != PROTO_UDP)
		return NULL;
	if (is4) {
		memcpy(&be, q + 12, 4);
		local = ip_from4(be);
		memcpy(&be, q + 16, 4);
		*via = ip_from4(be);
	} else {
		memcpy(local.b, q + 8, 16);
		memcpy(via->b, q + 24, 16);
	}
	if (!fib_has_port(n->fib, load16(udp + 2)) || !fib_is_hop(n->fib, via) || !net_has_addr(n, &local))
		return NULL;
	return q + n_inner;
}
