/* SPDX-License-Identifier: Apache-2.0 */
/* ARP (RFC 826, RFC 5227): answers for our addresses, asks for next hops, announces at start. */
#include <string.h>

#include "net/net_pvt.h"

#define ARP_LEN 28

enum { OP_REQUEST = 1, OP_REPLY = 2 };

static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const uint8_t fixed[6] = {0, 1, 8, 0, 6, 4}; /* Ethernet, IPv4, and their lengths */

static void send_arp(struct net *n, unsigned iface, uint8_t op, const struct weir_ip *sender, const uint8_t *target_mac,
		     const struct weir_ip *target, const uint8_t *dst)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(n->cfg.pool);
	uint8_t *p;

	if (!m) {
		stat_reason(n->stats, WEIR_R_NO_MBUF);
		return;
	}
	p = (uint8_t *)rte_pktmbuf_append(m, ARP_LEN);
	if (!p) {
		rte_pktmbuf_free(m);
		return;
	}
	memcpy(p, fixed, 6);
	p[6] = 0;
	p[7] = op;
	memcpy(p + 8, iface_of(n, iface)->mac, 6);
	memcpy(p + 14, sender->b + 12, 4);
	memcpy(p + 18, target_mac, 6);
	memcpy(p + 24, target->b + 12, 4);
	stat_inc(n->stats, WEIR_C_ARP_TX);
	eth_output(n, iface, m, dst, ETHERTYPE_ARP);
}

void arp_request(struct net *n, unsigned iface, const struct weir_ip *target, const uint8_t *dst)
{
	static const uint8_t unknown[6];
	const struct weir_ip *source = iface_source(n, iface, target);

	if (source)
		send_arp(n, iface, OP_REQUEST, source, unknown, target, dst ? dst : broadcast);
}

void arp_probe(struct net *n, unsigned iface, const struct weir_ip *target, const uint8_t *dst)
{
	static const uint8_t unknown[6];
	const struct weir_ip none = ip_from4(0);

	send_arp(n, iface, OP_REQUEST, &none, unknown, target, dst ? dst : broadcast);
}

void arp_announce(struct net *n, unsigned iface, const struct weir_ip *ip)
{
	static const uint8_t unknown[6];

	send_arp(n, iface, OP_REQUEST, ip, unknown, ip, broadcast);
}

void arp_input(struct net *n, struct rx *r)
{
	const struct net_iface *f = iface_of(n, r->iface);
	uint8_t mac[6];
	struct weir_ip sender;
	struct weir_ip target;
	const uint8_t *p;
	bool is_ours;
	uint32_t be;

	stat_inc(n->stats, WEIR_C_ARP_RX);
	p = rx_at(r, r->l3);
	if (r->m->data_len < r->l3 + ARP_LEN || memcmp(p, fixed, 6) != 0 || p[6] != 0 || (p[7] != OP_REQUEST && p[7] != OP_REPLY) ||
	    (p[8] & 1)) {
		net_drop(n, r->m, WEIR_R_ARP_BAD);
		return;
	}
	memcpy(mac, p + 8, 6);
	memcpy(&be, p + 14, 4);
	sender = ip_from4(be);
	memcpy(&be, p + 24, 4);
	target = ip_from4(be);
	is_ours = iface_has_addr(f, &target);
	if (!r->is_redirected)
		steer_broadcast(n, r);
	if (ip_to4(&sender) && !iface_has_addr(f, &sender))
		neigh_learn(n, r->iface, &sender, mac, is_ours && !r->is_redirected, p[7] == OP_REPLY, r->now_us);
	else if (ip_to4(&sender))
		handover_claim(n, r, &sender, mac);
	if (is_ours && p[7] == OP_REQUEST && !r->is_redirected && !handover_hides(n, r, &target))
		send_arp(n, r->iface, OP_REPLY, &target, mac, &sender, mac);
	/* Questions for others, and all answers: the kernel may have asked, too. */
	if (!r->is_redirected && !r->is_kernels && (!is_ours || (p[7] == OP_REPLY && n->cfg.ports[r->port].has_kernel)))
		punt(n, r, WEIR_R_ARP_NOT_OURS);
	else
		rte_pktmbuf_free(r->m);
}
