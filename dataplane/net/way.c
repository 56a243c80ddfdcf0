/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which way a packet goes: to who is on a link, else as the forwarding table
 * says, else by a gateway; and how long it may be on that way.
 */
#include <string.h>

#include <rte_byteorder.h>

#include "net/net_pvt.h"

#define TUNNEL_HEADERS 30 /* of UDP, VXLAN, and the inner frame */

uint16_t way_overhead(const struct weir_ip *via)
{
	return (uint16_t)(ip_header_bytes(via) + TUNNEL_HEADERS);
}

uint16_t way_mtu(const struct net *n, const struct ip_way *w)
{
	uint16_t mtu = iface_of(n, w->iface)->mtu;

	return w->tunnel ? (uint16_t)(mtu - way_overhead(&w->tunnel->via)) : mtu;
}

/* By the next hop of an entry that is no tunnel. */
static bool follow_route(const struct net *n, const struct fib_hop *h, struct ip_way *w)
{
	if (h->iface == FIB_ANY_IFACE)
		return ip_route(n, NULL, &h->via, &w->iface, &w->hop);
	w->iface = h->iface;
	w->hop = h->via;
	return true;
}

/* What leads to the far end: a route perhaps, but no other tunnel. */
static bool follow_tunnel(const struct net *n, const struct fib_hop *h, struct ip_way *w)
{
	const struct fib_entry *e = ip_is_on_link(n, &h->via) ? NULL : fib_find(n->fib, &h->via);
	const struct fib_hop *outer = e ? fib_hop_for(n->fib, e, w->hash) : NULL;

	if (!(outer && outer->kind == WEIR_PATH_ROUTE ? follow_route(n, outer, w) : ip_route(n, NULL, &h->via, &w->iface, &w->hop)))
		return false;
	w->tunnel = h;
	w->local = iface_source(n, w->iface, &h->via);
	return w->local != NULL;
}

bool way_find(const struct net *n, const struct weir_ip *src, const struct weir_ip *dst, uint64_t hash, struct ip_way *w)
{
	const struct fib_entry *e = NULL;
	const struct fib_hop *h;

	w->tunnel = NULL;
	if (unlikely(n->fib != NULL) && !ip_is_on_link(n, dst))
		e = fib_find(n->fib, dst);
	if (!e)
		return ip_route(n, src, dst, &w->iface, &w->hop);
	w->hash = hash;
	h = fib_hop_for(n->fib, e, hash);
	return h->kind == WEIR_PATH_VXLAN ? follow_tunnel(n, h, w) : follow_route(n, h, w);
}

bool net_source_for(const struct net *n, const struct weir_ip *remote, struct weir_ip *local)
{
	const struct weir_ip *source;
	struct ip_way w;

	if (!way_find(n, NULL, remote, 0, &w))
		return false;
	source = w.tunnel ? &fib_vtep(n->fib, w.tunnel->vtep)->source : iface_source(n, w.iface, remote);
	if (!source)
		return false;
	*local = *source;
	return true;
}

bool way_fits(struct net *n, struct rte_mbuf *m, const struct tcp_way *w)
{
	uint32_t len = m->tso_segsz ? m->l4_len + (uint32_t)m->tso_segsz : m->pkt_len;
	uint16_t mtu = way_mtu(n, &w->way);
	uint32_t be;

	if (likely(len + ip_header_bytes(&w->flow->remote) <= mtu))
		return true;
	if (n->n_too_big < NET_TOO_BIG) {
		struct net_too_big *t = &n->too_big[n->n_too_big++];

		memcpy(&be, rte_pktmbuf_mtod_offset(m, const uint8_t *, 4), 4);
		*t = (struct net_too_big){.flow = *w->flow, .seq = rte_be_to_cpu_32(be), .mtu = mtu};
	}
	net_drop(n, m, WEIR_R_TX_TOO_LONG);
	return false;
}

void way_tell(struct net *n, uint64_t now_us)
{
	for (unsigned i = 0; i < n->n_too_big; i++)
		tcp_icmp_error(n->tcp, &n->too_big[i].flow, n->too_big[i].seq, TCP_ICMP_TOO_BIG, n->too_big[i].mtu, now_us);
	n->n_too_big = 0;
}
