/* SPDX-License-Identifier: Apache-2.0 */
/* What both families of IP share: delivery upwards, routes, headers on the way out. */
#include <string.h>

#include <rte_byteorder.h>
#include <rte_ip.h>

#include "base/hash.h"
#include "net/net_pvt.h"

#define TTL 64

bool iface_has_addr(const struct net_iface *f, const struct weir_ip *ip)
{
	for (unsigned i = 0; i < f->n_addrs; i++)
		if (ip_eq(&f->addrs[i].ip, ip))
			return true;
	return false;
}

int iface_with_addr(const struct net *n, const struct weir_ip *ip)
{
	for (unsigned i = 0; i < n->cfg.n_ifaces; i++)
		if (iface_has_addr(iface_of(n, i), ip))
			return (int)i;
	return -1;
}

bool net_has_addr(const struct net *n, const struct weir_ip *a)
{
	return iface_with_addr(n, a) >= 0;
}

static bool is_link_local(const struct weir_ip *ip)
{
	return ip->b[0] == 0xfe && (ip->b[1] & 0xc0) == 0x80;
}

static bool is_on_link(const struct net_iface *f, const struct weir_ip *ip)
{
	if (is_link_local(ip))
		return true;
	for (unsigned i = 0; i < f->n_addrs; i++)
		if (ip_in_prefix(ip, &f->addrs[i].ip, f->addrs[i].prefix_len))
			return true;
	return false;
}

bool ip_is_on_link(const struct net *n, const struct weir_ip *dst)
{
	for (unsigned i = 0; i < n->cfg.n_ifaces; i++)
		if (is_on_link(iface_of(n, i), dst))
			return true;
	return false;
}

/* The next hop from one interface: dst itself, or the gateway. */
static bool hop_from(const struct net_iface *f, const struct weir_ip *dst, bool may_use_gateway, struct weir_ip *hop)
{
	if (is_on_link(f, dst)) {
		*hop = *dst;
		return true;
	}
	if (!may_use_gateway || !(ip_is4(dst) ? f->has_gw4 : f->has_gw6))
		return false;
	*hop = ip_is4(dst) ? f->gw4 : f->gw6;
	return true;
}

bool ip_route(const struct net *n, const struct weir_ip *src, const struct weir_ip *dst, unsigned *iface, struct weir_ip *hop)
{
	int own = src ? iface_with_addr(n, src) : -1;

	if (own >= 0 && hop_from(iface_of(n, (unsigned)own), dst, true, hop)) {
		*iface = (unsigned)own;
		return true;
	}
	for (int pass = 0; pass < 2; pass++) /* first what is on the link, then gateways */
		for (unsigned i = 0; i < n->cfg.n_ifaces; i++)
			if (hop_from(iface_of(n, i), dst, pass == 1, hop)) {
				*iface = i;
				return true;
			}
	return false;
}

const struct weir_ip *iface_source(const struct net *n, unsigned iface, const struct weir_ip *ip)
{
	const struct net_iface *f = iface_of(n, iface);
	const struct weir_ip *first = NULL;

	for (unsigned i = 0; i < f->n_addrs; i++) {
		if (ip_is4(&f->addrs[i].ip) != ip_is4(ip) || (n->hand.is_on && f->addrs[i].is_served))
			continue;
		if (ip_in_prefix(ip, &f->addrs[i].ip, f->addrs[i].prefix_len))
			return &f->addrs[i].ip;
		if (!first)
			first = &f->addrs[i].ip;
	}
	return first;
}

/*
 * NONE is the device's word, too: what is in the header need not be right, as between guests and their host where nobody computes it, but the
 * segment is (rte_mbuf_core.h).
 */
static bool has_device_verified(const struct rte_mbuf *m)
{
	uint64_t hw = m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;

	return hw == RTE_MBUF_F_RX_L4_CKSUM_GOOD || hw == RTE_MBUF_F_RX_L4_CKSUM_NONE;
}

static void deliver_tcp(struct net *n, struct rx *r)
{
	struct tcp_packet packet = {.src = r->src, .dst = r->dst, .ecn = r->ecn, .n_segs = 1};
	struct ip_flow flow = {.local = r->dst, .remote = r->src};
	const uint8_t *h = rx_at(r, r->l4);

	if (r->m->data_len < r->l4 + 20) {
		net_drop(n, r->m, WEIR_R_TCP_BAD_HEADER);
		return;
	}
	flow.remote_port = (uint16_t)(h[0] << 8 | h[1]);
	flow.local_port = (uint16_t)(h[2] << 8 | h[3]);
	if (steer_redirect(n, r, &flow))
		return;
	if (handover_takes(n, r, &flow))
		return;
	if (punt_shares(n, r, &r->dst) && !tcp_is_listening(n->tcp, &flow) && !tcp_has_flow(n->tcp, &flow)) {
		punt(n, r, WEIR_R_TCP_NO_LISTENER);
		return;
	}
	if (!has_device_verified(r->m) && !checksum_verify_tcp(r->m, r->l4, &r->src, &r->dst)) {
		net_drop(n, r->m, WEIR_R_TCP_BAD_CHECKSUM);
		return;
	}
	rte_pktmbuf_adj(r->m, r->l4);
	if (n->cfg.gro)
		gro_input(n, r->m, &packet, r->l4 - r->l3 == ip_header_bytes(&r->dst), r->now_us);
	else
		tcp_input(n->tcp, r->m, &packet, r->now_us);
}

void ip_deliver(struct net *n, struct rx *r)
{
	bool is_group = ip_is4(&r->dst) ? r->dst.b[12] >= 224 : r->dst.b[0] == 0xff;

	if (r->proto == PROTO_ICMP6 && !ip_is4(&r->dst)) { /* neighbour discovery comes to groups, and from who has our address, too */
		icmp6_input(n, r);
		return;
	}
	if (net_has_addr(n, &r->src) || rx_is_ours(n, r, &r->src)) {
		net_drop(n, r->m, WEIR_R_IP_BAD_SOURCE);
		return;
	}
	if (is_group || !rx_is_ours(n, r, &r->dst)) {
		punt(n, r, WEIR_R_IP_NOT_OURS);
		return;
	}
	if (ip_is_any(&r->src)) { /* only who looks for an address has none */
		net_drop(n, r->m, WEIR_R_IP_BAD_SOURCE);
		return;
	}
	if (r->proto == PROTO_TCP)
		deliver_tcp(n, r);
	else if (r->proto == PROTO_ICMP && ip_is4(&r->dst))
		icmp4_input(n, r);
	else if (r->proto == PROTO_UDP && n->fib && vxlan_input(n, r))
		return;
	else if (punt_shares(n, r, &r->dst))
		punt(n, r, WEIR_R_IP_UNKNOWN_PROTOCOL);
	else
		icmp_unreachable(n, r, WEIR_R_IP_UNKNOWN_PROTOCOL);
}

void ip_fragment(struct net *n, struct rx *r)
{
	r->proto = PROTO_NONE; /* only the first one says it truly */
	if (!net_has_addr(n, &r->dst) || punt_shares(n, r, &r->dst))
		punt(n, r, WEIR_R_IP_FRAGMENT);
	else
		net_drop(n, r->m, WEIR_R_IP_FRAGMENT);
}

static bool add_header4(struct rte_mbuf *m, const struct weir_ip *src, const struct weir_ip *dst, uint8_t proto, uint8_t ecn)
{
	uint16_t len = (uint16_t)(m->pkt_len + 20);
	uint8_t *p = (uint8_t *)rte_pktmbuf_prepend(m, 20);
	uint16_t sum;

	if (!p)
		return false;
	memset(p, 0, 20);
	p[0] = 0x45;
	p[1] = ecn;
	p[2] = (uint8_t)(len >> 8);
	p[3] = (uint8_t)len;
	p[6] = 0x40; /* don't fragment: so the identification may be 0 (RFC 6864) */
	p[8] = TTL;
	p[9] = proto;
	memcpy(p + 12, src->b + 12, 4);
	memcpy(p + 16, dst->b + 12, 4);
	if (!(m->ol_flags & RTE_MBUF_F_TX_IP_CKSUM)) {
		sum = (uint16_t)~rte_raw_cksum(p, 20);
		memcpy(p + 10, &sum, 2);
	}
	m->l3_len = 20;
	return true;
}

static bool add_header6(struct rte_mbuf *m, const struct weir_ip *src, const struct weir_ip *dst, uint8_t proto, uint8_t ecn)
{
	uint16_t len = (uint16_t)m->pkt_len;
	uint8_t *p = (uint8_t *)rte_pktmbuf_prepend(m, 40);

	if (!p)
		return false;
	p[0] = 0x60;
	p[1] = (uint8_t)(ecn << 4);
	p[2] = p[3] = 0;
	p[4] = (uint8_t)(len >> 8);
	p[5] = (uint8_t)len;
	p[6] = proto;
	p[7] = TTL;
	memcpy(p + 8, src->b, 16);
	memcpy(p + 24, dst->b, 16);
	m->l3_len = 40;
	return true;
}

static bool add_header(struct rte_mbuf *m, const struct weir_ip *src, const struct weir_ip *dst, uint8_t proto, uint8_t ecn)
{
	return ip_is4(dst) ? add_header4(m, src, dst, proto, ecn) : add_header6(m, src, dst, proto, ecn);
}

void ip_output_hop(struct net *n, struct rte_mbuf *m, const struct ip_way *w, const struct weir_ip *src, const struct weir_ip *dst,
		   uint8_t proto, uint8_t ecn, uint64_t now_us)
{
	if (add_header(m, src, dst, proto, ecn))
		neigh_output(n, w->iface, &w->hop, m, ip_is4(dst) ? ETHERTYPE_IP4 : ETHERTYPE_IP6, now_us);
	else
		net_drop(n, m, WEIR_R_TX_TOO_LONG);
}

static void send_routed(struct net *n, struct rte_mbuf *m, const struct ip_way *w, const struct weir_ip *src, const struct weir_ip *dst,
			uint8_t proto, uint8_t ecn, uint64_t now_us)
{
	if (likely(!w->tunnel))
		ip_output_hop(n, m, w, src, dst, proto, ecn, now_us);
	else if (add_header(m, src, dst, proto, ecn))
		vxlan_output(n, m, w, ip_is4(dst), ecn, now_us);
	else
		net_drop(n, m, WEIR_R_TX_TOO_LONG);
}

void ip_output(struct net *n, struct rte_mbuf *m, const struct weir_ip *src, const struct weir_ip *dst, uint8_t proto,
	       uint8_t ecn, uint64_t now_us)
{
	struct ip_way w;

	if (way_find(n, src, dst, n->fib ? hash64(dst->b, sizeof(dst->b), proto) : 0, &w))
		send_routed(n, m, &w, src, dst, proto, ecn, now_us);
	else
		net_drop(n, m, WEIR_R_NO_ROUTE);
}

/* The pseudo-header's sum for a device that adds the rest; of a long segment without the length, which it adds as well. */
static uint16_t phdr_sum(const struct rte_mbuf *m, const struct ip_flow *flow)
{
	uint32_t words[2] = {m->tso_segsz ? 0 : rte_cpu_to_be_32(m->pkt_len), rte_cpu_to_be_32(PROTO_TCP)};
	size_t n_addr = ip_is4(&flow->local) ? 4 : 16;
	uint32_t sum = __rte_raw_cksum(flow->local.b + 16 - n_addr, n_addr, 0);

	sum = __rte_raw_cksum(flow->remote.b + 16 - n_addr, n_addr, sum);
	sum = __rte_raw_cksum(words, sizeof(words), sum);
	return __rte_raw_cksum_reduce(sum);
}

/* What the device shall do (rte_mbuf_core.h, RTE_MBUF_F_TX_TCP_SEG). */
static void ask_device(struct rte_mbuf *m, const struct net_port_caps *caps, bool is4, unsigned n_header)
{
	m->ol_flags |= is4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6;
	m->ol_flags |= m->tso_segsz ? RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_TCP_CKSUM;
	if (is4 && caps->tx_csum_ip)
		m->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
	m->l4_len = n_header;
}

void ip_output_tcp(struct net *n, struct rte_mbuf *m, const struct tcp_way *w)
{
	const struct net_port_caps *caps = &n->cfg.ports[n->iface_port[w->way.iface]].caps;
	uint8_t *h = rte_pktmbuf_mtod(m, uint8_t *);
	uint16_t sum;

	if (caps->tx_csum_l4 && !w->way.tunnel) { /* devices are not asked for what is inside of tunnels */
		sum = phdr_sum(m, w->flow);
		ask_device(m, caps, ip_is4(&w->flow->local), (h[12] >> 4) * 4u);
	} else {
		sum = l4_checksum(m, 0, &w->flow->local, &w->flow->remote, PROTO_TCP);
	}
	memcpy(h + 16, &sum, 2);
	send_routed(n, m, &w->way, &w->flow->local, &w->flow->remote, PROTO_TCP, w->ecn, w->now_us);
}

/* No piece of a long segment lies in more mbufs than the device takes, its header's included. */
static bool is_cut_by_few(const struct rte_mbuf *m, unsigned max)
{
	uint32_t off = m->l4_len; /* in p, where the piece begins */
	const struct rte_mbuf *p = m;

	while (p) {
		uint32_t left = m->tso_segsz;
		unsigned n_parts = 1;

		while (p && left) {
			uint32_t k = p->data_len - off < left ? p->data_len - off : left;

			n_parts += k > 0;
			left -= k;
			off += k;
			if (off == p->data_len) {
				p = p->next;
				off = 0;
			}
		}
		if (n_parts > max)
			return false;
	}
	return true;
}

static bool can_port_cut(const struct net_port_caps *caps, const struct rte_mbuf *m)
{
	return caps->tx_tso && m->nb_segs <= caps->max_tso_segs &&
	       (m->nb_segs <= caps->max_tx_segs || is_cut_by_few(m, caps->max_tx_segs));
}

void net_output_tcp(void *ctx, struct rte_mbuf *m, const struct ip_flow *flow, uint8_t ecn, uint64_t now_us)
{
	struct tcp_way w = {.flow = flow, .ecn = ecn, .now_us = now_us};
	const struct net_port_caps *caps;
	struct net *n = ctx;

	if (!way_find(n, &flow->local, &flow->remote, n->fib ? hash64(flow, sizeof(*flow), 0) : 0, &w.way)) {
		net_drop(n, m, WEIR_R_NO_ROUTE);
		return;
	}
	caps = &n->cfg.ports[n->iface_port[w.way.iface]].caps;
	if (m->tso_segsz && m->pkt_len - m->l4_len <= m->tso_segsz)
		m->tso_segsz = 0;
	if (unlikely(n->fib) && !way_fits(n, m, &w))
		return;
	if (m->tso_segsz && (w.way.tunnel || !can_port_cut(caps, m))) {
		gso_output(n, m, &w, !caps->tx_multi_seg || caps->max_tx_segs == 1);
		return;
	}
	if (m->tso_segsz)
		stat_inc(n->stats, WEIR_C_TX_TSO);
	ip_output_tcp(n, m, &w);
}
