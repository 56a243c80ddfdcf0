/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two dataplanes on one link with the same addresses to serve on: an old one
 * that is to end, and its successor. Who says that it has an address of ours is
 * our peer for it. New connections come to whom the neighbours know, which is
 * the one that announced last; what comes of connections that are the other's goes on to it, as it is, by its
 * link address.
 *
 *   held     from the start until there are routes: nothing is announced or
 *            answered, and by probes (RFC 5227 2.1.1, RFC 4862 5.4) the peer is found
 *   serving  segments of no connection of ours go to the peer, and ICMP errors about them, but neither SYNs nor what
 *            brings a SYN cookie of ours back: each knows its own cookies alone
 *   leaving  SYNs too; only the peer is told that we have the address
 *
 * A frame from the peer never goes back to it: what neither knows ends at the second. A peer that does not answer is forgotten, and such
 * segments are answered by RST again.
 */
#include <string.h>

#include "net/net_pvt.h"

#define PROBE_US 100000	   /* while held */
#define N_PROBES 3	   /* before anything is announced */
#define ALIVE_US 1000000   /* between questions to a peer */
#define FORGET_US 5000000  /* without a word of it */
#define LINGER_US 3000000  /* after leaving: what has begun here ends, and late neighbours learn */

enum { TCP_SYN = 0x02, TCP_ACK = 0x10 };

/* Index of an address that is served, or -1. */
static int served(const struct net_iface *f, const struct weir_ip *ip)
{
	for (unsigned i = 0; i < f->n_addrs; i++)
		if (f->addrs[i].is_served && ip_eq(&f->addrs[i].ip, ip))
			return (int)i;
	return -1;
}

static struct net_peer *peer_of(struct net *n, unsigned iface, const struct weir_ip *ip)
{
	int i = n->hand.is_on ? served(iface_of(n, iface), ip) : -1;

	return i < 0 ? NULL : &n->hand.peers[iface][i];
}

void handover_init(struct net *n)
{
	n->hand.is_on = n->cfg.hands_over;
	n->hand.is_held = n->cfg.hands_over;
}

void net_serve(struct net *n)
{
	n->hand.has_routes = true;
}

void net_leave(struct net *n)
{
	n->hand.is_leaving = n->hand.is_on;
	n->hand.left_us = n->now_us;
}

void handover_claim(struct net *n, const struct rx *r, const struct weir_ip *ip, const uint8_t mac[6])
{
	struct net_peer *p = peer_of(n, r->iface, ip);

	if (memcmp(mac, iface_of(n, r->iface)->mac, 6) == 0 || (mac[0] & 1) || r->is_kernels)
		return;
	if (!r->is_redirected)
		stat_inc(n->stats, WEIR_C_ADDRESS_CLAIMS);
	if (!p)
		return;
	memcpy(p->mac, mac, 6);
	p->is_known = true;
	p->heard_us = r->now_us;
}

static bool is_alive(const struct net *n, const struct net_peer *p)
{
	return p->is_known && n->now_us - p->heard_us <= FORGET_US;
}

static bool is_from(const struct net_peer *p, const uint8_t mac[6])
{
	return p->is_known && memcmp(p->mac, mac, 6) == 0;
}

bool handover_is_peer(struct net *n, const struct rx *r, const struct weir_ip *ip)
{
	const struct net_peer *p = peer_of(n, r->iface, ip);

	return p && is_from(p, r->src_mac);
}

bool handover_hides(struct net *n, const struct rx *r, const struct weir_ip *ip)
{
	const struct net_peer *p = peer_of(n, r->iface, ip);

	return p && (n->hand.is_held || (n->hand.is_leaving && is_alive(n, p) && !is_from(p, r->src_mac)));
}

bool handover_announces(const struct net *n, const struct net_addr *a)
{
	return !a->is_served || !n->hand.is_on || (!n->hand.is_held && !n->hand.is_leaving);
}

/* Who else has this address of ours, is there, and did not send r; NULL: nobody. */
static const struct net_peer *other_for(struct net *n, const struct rx *r, const struct weir_ip *ip)
{
	const struct net_peer *p = r->vtep ? NULL : peer_of(n, r->iface, ip);

	return p && is_alive(n, p) && !is_from(p, r->src_mac) ? p : NULL;
}

static void hand_on(struct net *n, struct rx *r, const struct net_peer *p)
{
	uint8_t *eth = rte_pktmbuf_mtod(r->m, uint8_t *);

	memcpy(eth, p->mac, 6);
	memcpy(eth + 6, iface_of(n, r->iface)->mac, 6);
	r->m->ol_flags &= RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL; /* what receiving said is used up */
	r->m->tx_offload = 0;
	stat_inc(n->stats, WEIR_C_HANDED_ON);
	eth_send(n, r->port, r->m);
}

/* header: of TCP, n_header bytes from there on. */
static bool is_ours(const struct net *n, const struct ip_flow *flow, const uint8_t *header, unsigned n_header)
{
	bool begins = (header[13] & (TCP_SYN | TCP_ACK)) == TCP_SYN;

	return (begins && !n->hand.is_leaving) || tcp_has_flow(n->tcp, flow) || tcp_is_cookie(n->tcp, flow, header, n_header);
}

bool handover_takes(struct net *n, struct rx *r, const struct ip_flow *flow)
{
	const struct net_peer *p;

	if (likely(!n->hand.is_on))
		return false;
	p = other_for(n, r, &r->dst);
	if (!p || is_ours(n, flow, rx_at(r, r->l4), r->m->data_len - r->l4))
		return false;
	hand_on(n, r, p);
	return true;
}

bool handover_takes_error(struct net *n, struct rx *r, const struct ip_flow *flow)
{
	const struct net_peer *p;

	if (likely(!n->hand.is_on))
		return false;
	p = other_for(n, r, &flow->local);
	if (!p || tcp_has_flow(n->tcp, flow))
		return false;
	hand_on(n, r, p);
	return true;
}

bool net_is_handing_over(const struct net *n)
{
	if (!n->hand.is_leaving || n->now_us - n->hand.left_us >= LINGER_US)
		return false;
	for (unsigned i = 0; i < n->cfg.n_ifaces; i++)
		for (unsigned k = 0; k < iface_of(n, i)->n_addrs; k++)
			if (is_alive(n, &n->hand.peers[i][k]))
				return true;
	return false;
}

/* dst NULL: everybody. */
static void probe(struct net *n, unsigned iface, const struct weir_ip *ip, const uint8_t *dst)
{
	if (ip_is4(ip))
		arp_probe(n, iface, ip, dst);
	else
		ndp_probe(n, iface, ip, dst);
}

static void ask_all(struct net *n)
{
	for (unsigned i = 0; i < n->cfg.n_ifaces; i++)
		for (unsigned k = 0; k < iface_of(n, i)->n_addrs; k++) {
			const struct net_addr *a = &iface_of(n, i)->addrs[k];
			struct net_peer *p = &n->hand.peers[i][k];

			if (!a->is_served || port_is_shut(&n->cfg.ports[n->iface_port[i]]))
				continue;
			if (n->hand.is_held || is_alive(n, p))
				probe(n, i, &a->ip, n->hand.is_held ? NULL : p->mac);
		}
}

/* Of each worker; the first one asks for all, since all hear the answers. */
void handover_tick(struct net *n)
{
	if (n->now_us < n->hand.next_us)
		return;
	if (n->hand.is_held && n->hand.has_routes && n->hand.n_probes >= N_PROBES) {
		n->hand.is_held = false;
		n->n_announced = 0;
		n->announce_us = n->now_us;
	}
	if (n->hand.is_held)
		n->hand.n_probes++;
	if (n->cfg.worker == 0) {
		n->is_announcing = true; /* the kernel beside us is not asked */
		ask_all(n);
		n->is_announcing = false;
	}
	n->hand.next_us = n->now_us + (n->hand.is_held ? PROBE_US : ALIVE_US);
}
