/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's side of the exception path. A frame that is not Weir's goes up
 * whole, as it came; of one class no more than its rate, so that a flood of
 * what nobody wants leaves room for BGP. What the kernel sends comes down to worker 0.
 */
#include <string.h>

#include <rte_ring.h>

#include "base/wake.h"
#include "net/net_pvt.h"

#define ETHERTYPE_LEN_MAX 0x5ff /* up to here it is a length: LLC, which IS-IS uses (IEEE 802.3 3.2.6) */

enum { PROTO_IGMP = 2, PROTO_OSPF = 89, PROTO_PIM = 103, PROTO_VRRP = 112 };
enum {
	PORT_SSH = 22,
	PORT_DHCP_SERVER = 67,
	PORT_DHCP_CLIENT = 68,
	PORT_BGP = 179,
	PORT_DHCP6_CLIENT = 546,
	PORT_DHCP6_SERVER = 547,
	PORT_BFD = 3784, /* RFC 5881 4; 3785: echo */
	PORT_BFD_ECHO = 3785,
	PORT_BFD_MULTIHOP = 4784, /* RFC 5883 5 */
};
enum { T6_RS = 133, T6_REDIRECT = 137 };

static enum punt_class class_of_port(uint8_t proto, uint16_t port)
{
	if (proto == PROTO_TCP)
		return port == PORT_BGP ? PUNT_ROUTING : port == PORT_SSH ? PUNT_MANAGEMENT : PUNT_OTHER;
	switch (port) {
	case PORT_BFD:
	case PORT_BFD_ECHO:
	case PORT_BFD_MULTIHOP:
		return PUNT_ROUTING;
	case PORT_DHCP_SERVER:
	case PORT_DHCP_CLIENT:
	case PORT_DHCP6_CLIENT:
	case PORT_DHCP6_SERVER:
		return PUNT_MANAGEMENT;
	default:
		return PUNT_OTHER;
	}
}

/* Else a flood to BGP's port by anybody would have the rate of its class. */
static bool is_router(const struct net_punt_config *c, const struct weir_ip *ip)
{
	for (unsigned i = 0; i < c->n_routers; i++)
		if (ip_eq(&c->routers[i], ip))
			return true;
	return c->n_routers == 0;
}

/* By either port: the kernel may be the client. */
static enum punt_class class_of_ports(const struct net *n, const struct rx *r)
{
	const uint8_t *p = rx_at(r, r->l4);
	enum punt_class src, dst;

	if (r->m->data_len < r->l4 + 4)
		return PUNT_OTHER;
	src = class_of_port(r->proto, (uint16_t)(p[0] << 8 | p[1]));
	dst = class_of_port(r->proto, (uint16_t)(p[2] << 8 | p[3]));
	src = src < dst ? src : dst;
	return src == PUNT_ROUTING && !is_router(&n->cfg.punt, &r->src) ? PUNT_OTHER : src;
}

static enum punt_class class_of_icmp6(const struct rx *r)
{
	const uint8_t *p = rx_at(r, r->l4);

	return r->m->data_len > r->l4 && p[0] >= T6_RS && p[0] <= T6_REDIRECT ? PUNT_NEIGHBOUR : PUNT_ICMP;
}

static enum punt_class class_of_ip(const struct net *n, const struct rx *r)
{
	switch (r->proto) {
	case PROTO_TCP:
	case PROTO_UDP:
		return class_of_ports(n, r);
	case PROTO_OSPF:
	case PROTO_PIM:
	case PROTO_VRRP:
	case PROTO_IGMP:
		return PUNT_ROUTING;
	case PROTO_ICMP:
		return PUNT_ICMP;
	case PROTO_ICMP6:
		return class_of_icmp6(r);
	default:
		return PUNT_OTHER;
	}
}

static enum punt_class class_of(const struct net *n, const struct rx *r)
{
	if (r->ethertype == ETHERTYPE_ARP)
		return PUNT_NEIGHBOUR;
	if (r->ethertype <= ETHERTYPE_LEN_MAX)
		return PUNT_ROUTING;
	/* l4: IP's header was read, which that of a VLAN of the kernel's alone is not */
	return r->l4 ? class_of_ip(n, r) : PUNT_OTHER;
}

/* Half of the ring is for those without which there is no way here at all. */
static bool enqueue(struct net *n, struct rte_mbuf *m, unsigned port, enum punt_class class)
{
	struct rte_ring *up = n->cfg.punt.up;

	m->port = (uint16_t)port;
	if ((class > PUNT_NEIGHBOUR && rte_ring_count(up) > rte_ring_get_capacity(up) / 2) || rte_ring_sp_enqueue(up, m) != 0) {
		net_drop(n, m, WEIR_R_PUNT_RING_FULL);
		return false;
	}
	n->has_punted = true;
	return true;
}

void punt(struct net *n, struct rx *r, enum weir_reason why)
{
	enum punt_class class;

	/* What came in a tunnel is no frame of the link any more. */
	if (!n->cfg.ports[r->port].has_kernel || r->is_kernels || r->vtep) {
		net_drop(n, r->m, r->is_kernels ? WEIR_R_PUNT_LOOP : why);
		return;
	}
	class = class_of(n, r);
	if (!token_take(&n->punts[class], n->cfg.punt.per_s[class], r->now_us)) {
		net_drop(n, r->m, (enum weir_reason)(WEIR_R_PUNT_RATE_ROUTING + class));
		return;
	}
	if (enqueue(n, r->m, r->port, class))
		stat_inc(n->stats, (enum weir_counter)(WEIR_C_PUNTED_ROUTING + class));
}

bool punt_shares(const struct net *n, const struct rx *r, const struct weir_ip *ip)
{
	const struct net_iface *f = iface_of(n, r->iface);

	if (likely(!n->cfg.ports[r->port].has_kernel) || r->is_kernels || r->vtep)
		return false;
	for (unsigned i = 0; i < f->n_addrs; i++)
		if (f->addrs[i].is_shared && ip_eq(&f->addrs[i].ip, ip))
			return true;
	return false;
}

void punt_own(struct net *n, unsigned port, struct rte_mbuf *m)
{
	if (enqueue(n, m, port, PUNT_NEIGHBOUR))
		stat_inc(n->stats, WEIR_C_PUNTED_LOCAL);
}

/* Who asks for the link address of one of ours is told here; nobody else need hear it. */
static bool asks_for_ours(const struct net_iface *f, const struct rte_mbuf *m, unsigned l3)
{
	const uint8_t *p = rte_pktmbuf_mtod_offset(m, const uint8_t *, l3);
	uint16_t type = (uint16_t)(p[-2] << 8 | p[-1]);
	struct weir_ip target;
	uint32_t be;

	if (type == ETHERTYPE_ARP && m->data_len >= l3 + 28) {
		memcpy(&be, p + 24, 4);
		target = ip_from4(be);
		/* a gratuitous one of the kernel's, for an address that it shares with us, tells others what we tell them */
		return p[7] == 1 && iface_has_addr(f, &target);
	}
	if (type == ETHERTYPE_IP6 && m->data_len >= l3 + 64 && p[6] == PROTO_ICMP6 && p[40] == 135) {
		memcpy(target.b, p + 48, 16);
		return iface_has_addr(f, &target);
	}
	return false;
}

/* The interface that a frame of the kernel's belongs to; NULL: none of ours. */
static const struct net_iface *iface_of_frame(const struct net *n, unsigned port, const struct rte_mbuf *m, unsigned *l3)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	bool is_tagged = p[12] == ETHERTYPE_VLAN >> 8 && p[13] == (ETHERTYPE_VLAN & 0xff) && m->data_len >= 18;
	uint16_t vlan = is_tagged ? (uint16_t)((p[14] << 8 | p[15]) & 0xfff) : 0;

	*l3 = is_tagged ? 18 : 14;
	for (unsigned i = 0; i < n->cfg.n_ifaces; i++)
		if (n->iface_port[i] == port && n->cfg.ifaces[i].vlan == vlan)
			return &n->cfg.ifaces[i];
	return NULL;
}

static void from_kernel(struct net *n, struct rte_mbuf *m, uint64_t now_us)
{
	struct rx r = {.m = m, .now_us = now_us, .port = m->port, .is_kernels = true};
	const struct net_iface *f;
	const uint8_t *p;
	unsigned l3;

	if (m->data_len < 14 || r.port >= n->cfg.n_ports) {
		net_drop(n, m, WEIR_R_RX_TRUNCATED);
		return;
	}
	p = rte_pktmbuf_mtod(m, const uint8_t *);
	f = iface_of_frame(n, r.port, m, &l3);
	if (f && (memcmp(p, f->mac, 6) == 0 || ((p[0] & 1) && asks_for_ours(f, m, l3)))) {
		stat_inc(n->stats, WEIR_C_KERNEL_RX_LOCAL);
		eth_input(n, &r);
		return;
	}
	stat_inc(n->stats, WEIR_C_KERNEL_TX);
	eth_send(n, r.port, m);
}

unsigned punt_poll(struct net *n, uint64_t now_us)
{
	struct rte_mbuf *pkts[NET_BURST];
	unsigned k = rte_ring_sc_dequeue_burst(n->cfg.punt.down, (void **)pkts, NET_BURST, NULL);

	for (unsigned i = 0; i < k; i++)
		from_kernel(n, pkts[i], now_us);
	if (k)
		gro_flush(n, now_us);
	return k;
}

void punt_flush(struct net *n)
{
	n->has_punted = false;
	wake_up(n->cfg.punt.wake);
}
