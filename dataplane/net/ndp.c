/* SPDX-License-Identifier: Apache-2.0 */
/* Neighbour discovery for IPv6 (RFC 4861): solicitations and advertisements. Gateways are configured, not discovered. */
#include <string.h>

#include "net/net_pvt.h"

enum { TYPE_NS = 135, TYPE_NA = 136 };
enum { OPT_SOURCE_LLA = 1, OPT_TARGET_LLA = 2 };
enum { NA_SOLICITED = 0x40, NA_OVERRIDE = 0x20 };

#define MESSAGE_LEN 24 /* type, code, checksum, flags, target */
#define LLA_LEN 8

static const struct weir_ip all_nodes = {{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};

static struct weir_ip solicited_node(const struct weir_ip *ip)
{
	struct weir_ip a = {{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff}};

	memcpy(a.b + 13, ip->b + 13, 3);
	return a;
}

static void multicast_mac(const struct weir_ip *ip, uint8_t mac[6])
{
	mac[0] = mac[1] = 0x33;
	memcpy(mac + 2, ip->b + 12, 4);
}

/* A message with one link-layer address option, but from no address, with hop limit 255. */
static void send_ndp(struct net *n, unsigned iface, uint8_t type, uint8_t flags, const struct weir_ip *target,
		     const struct weir_ip *src, const struct weir_ip *dst, const uint8_t *dst_mac)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(n->cfg.pool);
	unsigned len = ip_is_any(src) ? MESSAGE_LEN : MESSAGE_LEN + LLA_LEN; /* RFC 4861 4.3 */
	uint8_t *ip;
	uint8_t *p;
	uint16_t sum;

	if (!m) {
		stat_reason(n->stats, WEIR_R_NO_MBUF);
		return;
	}
	ip = (uint8_t *)rte_pktmbuf_append(m, (uint16_t)(40 + len));
	if (!ip) {
		rte_pktmbuf_free(m);
		return;
	}
	memset(ip, 0, 40 + len);
	ip[0] = 0x60;
	ip[5] = (uint8_t)len;
	ip[6] = PROTO_ICMP6;
	ip[7] = 255;
	memcpy(ip + 8, src->b, 16);
	memcpy(ip + 24, dst->b, 16);
	p = ip + 40;
	p[0] = type;
	p[4] = flags;
	memcpy(p + 8, target->b, 16);
	if (len > MESSAGE_LEN) {
		p[24] = type == TYPE_NS ? OPT_SOURCE_LLA : OPT_TARGET_LLA;
		p[25] = 1;
		memcpy(p + 26, iface_of(n, iface)->mac, 6);
	}
	sum = l4_checksum(m, 40, src, dst, PROTO_ICMP6);
	memcpy(p + 2, &sum, 2);
	stat_inc(n->stats, WEIR_C_NDP_TX);
	eth_output(n, iface, m, dst_mac, ETHERTYPE_IP6);
}

void ndp_solicit(struct net *n, unsigned iface, const struct weir_ip *target, const uint8_t *dst)
{
	const struct weir_ip *source = iface_source(n, iface, target);
	struct weir_ip group = solicited_node(target);
	uint8_t mac[6];

	if (!source)
		return;
	multicast_mac(&group, mac);
	send_ndp(n, iface, TYPE_NS, 0, target, source, dst ? target : &group, dst ? dst : mac);
}

void ndp_probe(struct net *n, unsigned iface, const struct weir_ip *target, const uint8_t *dst)
{
	static const struct weir_ip none;
	struct weir_ip group = solicited_node(target);
	uint8_t mac[6];

	multicast_mac(&group, mac);
	send_ndp(n, iface, TYPE_NS, 0, target, &none, &group, dst ? dst : mac);
}

void ndp_announce(struct net *n, unsigned iface, const struct weir_ip *ip)
{
	uint8_t mac[6];

	multicast_mac(&all_nodes, mac);
	send_ndp(n, iface, TYPE_NA, NA_OVERRIDE, ip, ip, &all_nodes, mac);
}

/* The link-layer address option of this type, or NULL; false: malformed options. */
static bool find_lla(const uint8_t *p, unsigned n, uint8_t type, const uint8_t **lla)
{
	*lla = NULL;
	while (n >= 8) {
		unsigned len = p[1] * 8u;

		if (len == 0 || len > n)
			return false;
		if (p[0] == type && len == LLA_LEN && !(p[2] & 1))
			*lla = p + 2;
		p += len;
		n -= len;
	}
	return n == 0;
}

/* The target is ours. */
static void input_ns(struct net *n, struct rx *r, const struct weir_ip *target, const uint8_t *lla)
{
	uint8_t mac[6];
	bool is_probe = ip_is_any(&r->src);

	if (!is_probe && lla && !net_has_addr(n, &r->src))
		neigh_learn(n, r->iface, &r->src, lla, !r->is_redirected, false, r->now_us);
	if (r->is_redirected || handover_hides(n, r, target))
		return;
	if (is_probe) { /* somebody checks whether the address is free: everybody is told (RFC 4861 7.2.4), but where it is another dataplane that asks */
		multicast_mac(&all_nodes, mac);
		if (handover_is_peer(n, r, target))
			memcpy(mac, r->src_mac, 6);
		send_ndp(n, r->iface, TYPE_NA, NA_OVERRIDE, target, target, &all_nodes, mac);
		return;
	}
	send_ndp(n, r->iface, TYPE_NA, NA_SOLICITED | NA_OVERRIDE, target, target, &r->src, lla ? lla : r->src_mac);
}

/* RFC 4861 7.2.5. */
static void input_na(struct net *n, struct rx *r, const struct weir_ip *target, const uint8_t *lla, uint8_t flags)
{
	if (!lla) { /* an answer to a unicast question may leave it out */
		if (flags & NA_SOLICITED)
			neigh_confirm(n, r->iface, target, r->now_us);
		return;
	}
	if (!(flags & NA_OVERRIDE) && neigh_doubt(n, r->iface, target, lla))
		return;
	neigh_learn(n, r->iface, target, lla, false, (flags & NA_SOLICITED) != 0, r->now_us);
}

void ndp_input(struct net *n, struct rx *r, uint8_t type)
{
	const uint8_t *p = rx_at(r, r->l4);
	const uint8_t *ip = rx_at(r, r->l3);
	unsigned len = (unsigned)(r->m->pkt_len - r->l4);
	struct weir_ip target;
	const uint8_t *lla;
	bool is_ours;

	stat_inc(n->stats, WEIR_C_NDP_RX);
	/* RFC 4861 7.1: hop limit 255 proves that it comes from this link. */
	if (ip[7] != 255 || p[1] != 0 || len < MESSAGE_LEN || r->m->data_len < r->m->pkt_len || (p[8] == 0xff) ||
	    !find_lla(p + MESSAGE_LEN, len - MESSAGE_LEN, type == TYPE_NS ? OPT_SOURCE_LLA : OPT_TARGET_LLA, &lla) ||
	    (type == TYPE_NS && ip_is_any(&r->src) && lla)) {
		net_drop(n, r->m, WEIR_R_NDP_BAD);
		return;
	}
	memcpy(target.b, p + 8, 16);
	if (!r->is_redirected)
		steer_broadcast(n, r);
	is_ours = iface_has_addr(iface_of(n, r->iface), &target);
	if (type == TYPE_NS && is_ours)
		input_ns(n, r, &target, lla);
	else if (type == TYPE_NA && !is_ours)
		input_na(n, r, &target, lla, p[4]);
	else if (type == TYPE_NA && lla)
		handover_claim(n, r, &target, lla);
	/* Questions for others, and all answers: the kernel may have asked, too. */
	if (!r->is_redirected && !r->is_kernels && (type == TYPE_NS ? !is_ours : n->cfg.ports[r->port].has_kernel))
		punt(n, r, WEIR_R_NDP_NOT_OURS);
	else
		rte_pktmbuf_free(r->m);
}
