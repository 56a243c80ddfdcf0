/* SPDX-License-Identifier: Apache-2.0 */
/* Ethernet and 802.1Q. The tag is read and written in the frame: no device is asked to strip or insert it. */
#include <string.h>

#include <rte_byteorder.h>

#include "net/net_pvt.h"
#include "stats/stage.h"

#define HEADERS_MAX 256 /* these bytes lie in one piece, or the packet is made so */

static int find_iface(const struct net *n, uint16_t port, uint16_t vlan)
{
	for (unsigned i = 0; i < n->cfg.n_ifaces; i++)
		if (n->iface_port[i] == port && n->cfg.ifaces[i].vlan == vlan)
			return (int)i;
	return -1;
}

static bool is_for_us(const uint8_t *dst, const struct net_iface *f)
{
	return memcmp(dst, f->mac, 6) == 0 || (dst[0] & 1);
}

static uint16_t load_type(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

void eth_input(struct net *n, struct rx *r)
{
	struct rte_mbuf *m = r->m;
	const uint8_t *p;
	uint16_t type;
	uint16_t vlan = 0;
	int iface;

	if (m->nb_segs > 1 && m->data_len < HEADERS_MAX && rte_pktmbuf_linearize(m) != 0) {
		net_drop(n, m, WEIR_R_RX_TRUNCATED);
		return;
	}
	if (m->data_len < 14) {
		net_drop(n, m, WEIR_R_RX_TRUNCATED);
		return;
	}
	p = rte_pktmbuf_mtod(m, const uint8_t *);
	memcpy(r->src_mac, p + 6, 6);
	r->is_group = p[0] & 1;
	type = load_type(p + 12);
	r->l3 = 14;
	if (m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) {
		vlan = m->vlan_tci & 0xfff;
	} else if (type == ETHERTYPE_VLAN) {
		if (m->data_len < 18) {
			net_drop(n, m, WEIR_R_RX_TRUNCATED);
			return;
		}
		vlan = load_type(p + 14) & 0xfff;
		type = load_type(p + 16);
		r->l3 = 18;
	}
	r->ethertype = type;
	iface = find_iface(n, r->port, vlan);
	if (iface < 0) {
		punt(n, r, WEIR_R_RX_OTHER_VLAN);
		return;
	}
	r->iface = (uint8_t)iface;
	if (!is_for_us(p, iface_of(n, r->iface))) {
		net_drop(n, m, WEIR_R_RX_OTHER_MAC);
		return;
	}
	switch (type) {
	case ETHERTYPE_ARP:
		arp_input(n, r);
		break;
	case ETHERTYPE_IP4:
		ip4_input(n, r);
		break;
	case ETHERTYPE_IP6:
		ip6_input(n, r);
		break;
	default:
		punt(n, r, WEIR_R_RX_UNKNOWN_ETHERTYPE);
	}
}

/*
 * The port takes single mbufs only, or fewer than there are: all into the
 * first one, or, where that is too small, a copy in as few as possible. NULL: neither works.
 */
static struct rte_mbuf *make_flat(struct net *n, const struct net_port *port, struct rte_mbuf *m)
{
	uint16_t max = port->caps.tx_multi_seg ? port->caps.max_tx_segs : 1;
	struct rte_mbuf *copy;

	if (m->nb_segs <= max || m->tso_segsz || rte_pktmbuf_linearize(m) == 0)
		return m;
	copy = rte_pktmbuf_copy(m, n->cfg.pool, 0, UINT32_MAX);
	if (!copy) {
		net_drop(n, m, WEIR_R_NO_MBUF);
		return NULL;
	}
	rte_pktmbuf_free(m);
	if (copy->nb_segs <= max)
		return copy;
	net_drop(n, copy, WEIR_R_TX_TOO_LONG);
	return NULL;
}

/* m begins at the IP header. Of a long segment its pieces must fit. */
static bool is_too_long(const struct rte_mbuf *m, uint16_t mtu)
{
	return (m->tso_segsz ? m->l3_len + m->l4_len + (uint32_t)m->tso_segsz : m->pkt_len) > mtu;
}

/*
 * The kernel beside the port has the port's link address: what is for that is for it alone. Questions to a group may be
 * answered by it, too. True: the frame has gone there.
 */
static bool is_kernels_too(struct net *n, const struct net_iface *f, struct rte_mbuf *m, const uint8_t dst[6])
{
	unsigned port = n->iface_port[f - n->cfg.ifaces];
	struct rte_mbuf *copy;

	if (memcmp(dst, f->mac, 6) == 0) {
		punt_own(n, port, m);
		return true;
	}
	if (!(dst[0] & 1) || n->is_announcing)
		return false;
	copy = rte_pktmbuf_copy(m, n->cfg.pool, 0, UINT32_MAX);
	if (copy)
		punt_own(n, port, copy);
	else
		stat_reason(n->stats, WEIR_R_NO_MBUF);
	return false;
}

void eth_output(struct net *n, unsigned iface, struct rte_mbuf *m, const uint8_t dst[6], uint16_t ethertype)
{
	const struct net_iface *f = iface_of(n, iface);
	const struct net_port *port = &n->cfg.ports[n->iface_port[iface]];
	uint16_t n_header = f->vlan ? 18 : 14;
	uint8_t *p;

	if (is_too_long(m, f->mtu)) {
		net_drop(n, m, WEIR_R_TX_TOO_LONG);
		return;
	}
	if (!rte_pktmbuf_prepend(m, n_header)) {
		net_drop(n, m, WEIR_R_TX_TOO_LONG);
		return;
	}
	m = make_flat(n, port, m);
	if (!m)
		return;
	p = rte_pktmbuf_mtod(m, uint8_t *);
	memcpy(p, dst, 6);
	memcpy(p + 6, f->mac, 6);
	p += 12;
	if (f->vlan) {
		*p++ = ETHERTYPE_VLAN >> 8;
		*p++ = ETHERTYPE_VLAN & 0xff;
		*p++ = (uint8_t)(f->vlan >> 8);
		*p++ = (uint8_t)f->vlan;
	}
	*p++ = (uint8_t)(ethertype >> 8);
	*p = (uint8_t)ethertype;
	m->l2_len = n_header;
	if (port->has_kernel && is_kernels_too(n, f, m, dst))
		return;
	eth_send(n, n->iface_port[iface], m);
}

void eth_send(struct net *n, unsigned port, struct rte_mbuf *m)
{
	struct net_tx *tx = &n->tx[port];

	if (unlikely(port_is_shut(&n->cfg.ports[port]))) {
		net_drop(n, m, WEIR_R_TX_PORT_DOWN);
		return;
	}
	if (tx->n == NET_TX_BUFFER) {
		enum weir_stage former = stage_enter(n->cfg.stages, WEIR_STAGE_TX);

		port_flush(n);
		stage_leave(n->cfg.stages, former);
	}
	if (tx->n == NET_TX_BUFFER) {
		net_drop(n, m, WEIR_R_TX_FULL);
		return;
	}
	tx->pkts[tx->n++] = m;
}
