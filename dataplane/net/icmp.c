/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ICMP (RFC 792) and ICMPv6 (RFC 4443): echo is answered, errors about our
 * TCP segments go to TCP after checks on what they quote (RFC 5927), and
 * other protocols get "unreachable". Replies have rate limits.
 */
#include <string.h>

#include "net/net_pvt.h"
#include "net/steer.h"

#define ERRORS_PER_SECOND 100
#define ECHOES_PER_SECOND 2000
#define ERRORS_SPREAD_PER_SECOND 1000 /* each costs every worker a packet */

enum { T4_ECHO_REPLY = 0, T4_UNREACHABLE = 3, T4_ECHO = 8 };
enum { T6_UNREACHABLE = 1, T6_TOO_BIG = 2, T6_PARAMETER = 4, T6_ECHO = 128, T6_ECHO_REPLY = 129, T6_NS = 135, T6_NA = 136 };

static void reply_echo(struct net *n, struct rx *r, uint8_t type, uint8_t proto)
{
	uint8_t *p;
	uint16_t sum;

	if (!token_take(&n->echoes, ECHOES_PER_SECOND, r->now_us)) {
		net_drop(n, r->m, WEIR_R_ICMP_RATE);
		return;
	}
	rte_pktmbuf_adj(r->m, r->l4);
	p = rte_pktmbuf_mtod(r->m, uint8_t *);
	p[0] = type;
	memset(p + 2, 0, 2);
	if (proto == PROTO_ICMP6) {
		sum = l4_checksum(r->m, 0, &r->dst, &r->src, proto);
	} else {
		sum = icmp4_checksum(r->m, 0);
	}
	memcpy(p + 2, &sum, 2);
	r->m->ol_flags &= RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL; /* what receiving said is used up */
	r->m->tx_offload = 0;
	stat_inc(n->stats, WEIR_C_ICMP_ECHO);
	ip_output(n, r->m, &r->dst, &r->src, proto, 0, r->now_us);
}

/* What an error quotes of a segment of ours. */
struct quote {
	struct ip_flow flow;
	uint32_t seq;
	uint32_t len; /* of the packet, by its IP header; of the outer one, if it was in a tunnel */
	bool is_tunnel;
	struct weir_ip via; /* its far end */
};

/* The quoted packet must be one that we sent: a whole TCP segment from an address of ours. False: not so. */
static bool parse_segment(const struct net *n, const uint8_t *q, unsigned len, bool is4, struct quote *out)
{
	unsigned n_header = is4 ? (q[0] & 15) * 4u : IP6_HEADER;
	const uint8_t *t = q + n_header;
	uint32_t be;

	if (len < n_header + 8 || n_header < IP4_HEADER || (is4 ? q[0] >> 4 != 4 || q[9] != PROTO_TCP : q[0] >> 4 != 6 || q[6] != PROTO_TCP))
		return false;
	memset(out, 0, sizeof(*out));
	if (is4) {
		if ((q[6] & 0x3f) || q[7]) /* we send no fragments */
			return false;
		memcpy(&be, q + 12, 4);
		out->flow.local = ip_from4(be);
		memcpy(&be, q + 16, 4);
		out->flow.remote = ip_from4(be);
		out->len = (uint32_t)(q[2] << 8 | q[3]);
	} else {
		memcpy(out->flow.local.b, q + 8, 16);
		memcpy(out->flow.remote.b, q + 24, 16);
		out->len = IP6_HEADER + (uint32_t)(q[4] << 8 | q[5]);
	}
	out->flow.local_port = (uint16_t)(t[0] << 8 | t[1]);
	out->flow.remote_port = (uint16_t)(t[2] << 8 | t[3]);
	out->seq = (uint32_t)t[4] << 24 | (uint32_t)t[5] << 16 | (uint32_t)t[6] << 8 | t[7];
	return out->len >= n_header + TCP_HEADER_MIN &&
	       (net_has_addr(n, &out->flow.local) || (n->fib && fib_is_source(n->fib, &out->flow.local)));
}

/*
 * The same, or a packet of a tunnel with such a segment in it: routers quote as much of a packet as 576 or 1280 bytes hold
 * (RFC 1812 4.3.2.3, RFC 4443 2.4). What quotes less than the segment's numbers can be told from a lie by nobody.
 */
static bool parse_quote(const struct net *n, const uint8_t *q, unsigned len, bool is4, struct quote *out)
{
	const uint8_t *inner;
	struct weir_ip via;

	if (!n->fib || !(inner = vxlan_quoted(n, q, len, is4, &via)))
		return parse_segment(n, q, len, is4, out);
	if (!parse_segment(n, inner, len - (unsigned)(inner - q), inner[0] >> 4 == 4, out))
		return false;
	out->is_tunnel = true;
	out->via = via;
	out->len += way_overhead(&via);
	return true;
}

/* An old router does not say its MTU: the next common one below what it refused (RFC 1191 7). 0: there is none. */
static uint32_t plateau_below(uint32_t len)
{
	static const uint16_t plateaus[] = {32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68};

	for (unsigned i = 0; i < RTE_DIM(plateaus); i++)
		if (plateaus[i] < len)
			return plateaus[i];
	return 0;
}

/*
 * The MTU that "too big" may mean, or 0: it makes no sense. It must be less
 * than what was refused (RFC 5927 7), and an IPv6 link takes 1280 bytes (RFC 8201 4).
 * An IPv4 host takes 576: whoever says less attacks, and is believed no more than that.
 */
static uint16_t sane_mtu(const struct quote *q, bool is4, uint32_t mtu)
{
	if (is4 && mtu == 0)
		mtu = plateau_below(q->len);
	if (mtu == 0 || mtu >= q->len || (!is4 && mtu < IP6_MTU_MIN))
		return 0;
	return (uint16_t)(is4 && mtu < IP4_MTU_MIN ? IP4_MTU_MIN : mtu);
}

/* Nothing that Weir understands: of an address that the kernel has, too, it may be the kernel's. */
static void not_ours(struct net *n, struct rx *r, enum weir_reason why)
{
	if (punt_shares(n, r, &r->dst))
		punt(n, r, why);
	else
		net_drop(n, r->m, why);
}

static void spread(struct net *n, const struct rx *r)
{
	if (token_take(&n->spreads, ERRORS_SPREAD_PER_SECOND, r->now_us))
		steer_broadcast(n, r);
	else
		stat_reason(n->stats, WEIR_R_ICMP_SPREAD_RATE);
}

static void input_error(struct net *n, struct rx *r, bool is4, enum tcp_icmp what, uint32_t mtu)
{
	const uint8_t *bytes = rx_at(r, (uint16_t)(r->l4 + 8));
	bool is_anyones;
	struct quote q;
	uint16_t outer;

	if (r->m->data_len < r->l4 + 8 + IP4_HEADER || !parse_quote(n, bytes, r->m->data_len - r->l4 - 8u, is4, &q)) {
		not_ours(n, r, WEIR_R_ICMP_BAD);
		return;
	}
	if (what == TCP_ICMP_TOO_BIG)
		mtu = sane_mtu(&q, is4, mtu);
	if (what == TCP_ICMP_TOO_BIG && !mtu) {
		net_drop(n, r->m, WEIR_R_ICMP_BAD);
		return;
	}
	/* A device hashes the error, not what it quotes: with RSS any worker may own a client's connection. */
	is_anyones = n->cfg.ports[r->port].caps.stable_rss && n->cfg.n_workers > 1 && steer_opener(n->cfg.steer, &q.flow) < 0;
	if (is_anyones && !r->is_redirected)
		spread(n, r);
	else if (!is_anyones && steer_redirect(n, r, &q.flow))
		return;
	/* Of anyone's, who received it sends it on, unless it is its own: it may be another worker's, which has a copy then. */
	if (!q.is_tunnel && !(is_anyones && r->is_redirected) && handover_takes_error(n, r, &q.flow))
		return;
	if (!is_anyones && punt_shares(n, r, &q.flow.local) && !tcp_has_flow(n->tcp, &q.flow)) {
		punt(n, r, WEIR_R_ICMP_NOT_IN_FLIGHT);
		return;
	}
	stat_inc(n->stats, WEIR_C_ICMP_ERRORS_RX);
	outer = (uint16_t)mtu;
	if (q.is_tunnel && mtu)
		mtu -= way_overhead(&q.via);
	if (!tcp_icmp_error(n->tcp, &q.flow, q.seq, what, (uint16_t)mtu, r->now_us)) {
		if (!is_anyones)
			stat_reason(n->stats, WEIR_R_ICMP_NOT_IN_FLIGHT);
	} else if (what == TCP_ICMP_TOO_BIG) {
		pmtu_learn(n, &q.flow.remote, (uint16_t)mtu);
		if (q.is_tunnel) /* and so for all that is behind it */
			pmtu_learn(n, &q.via, outer);
	}
	rte_pktmbuf_free(r->m);
}

void icmp4_input(struct net *n, struct rx *r)
{
	const uint8_t *p = rx_at(r, r->l4);

	if (r->m->data_len < r->l4 + 8 || icmp4_checksum(r->m, r->l4) != 0) {
		net_drop(n, r->m, WEIR_R_ICMP_BAD);
		return;
	}
	if (p[0] == T4_ECHO && p[1] == 0)
		reply_echo(n, r, T4_ECHO_REPLY, PROTO_ICMP);
	else if (p[0] == T4_UNREACHABLE && p[1] == 4)
		input_error(n, r, true, TCP_ICMP_TOO_BIG, (uint32_t)(p[6] << 8 | p[7]));
	else if (p[0] == T4_UNREACHABLE && p[1] <= 15)
		input_error(n, r, true, TCP_ICMP_UNREACHABLE, 0);
	else
		not_ours(n, r, WEIR_R_ICMP_UNKNOWN);
}

void icmp6_input(struct net *n, struct rx *r)
{
	const uint8_t *p = rx_at(r, r->l4);
	bool is_ours = rx_is_ours(n, r, &r->dst);

	if (r->m->data_len < r->l4 + 8 || l4_checksum(r->m, r->l4, &r->src, &r->dst, PROTO_ICMP6) != 0)
		net_drop(n, r->m, WEIR_R_ICMP_BAD);
	else if ((p[0] == T6_NS || p[0] == T6_NA) && !r->vtep) /* in tunnels the link addresses come with the paths */
		ndp_input(n, r, p[0]);
	else if (net_has_addr(n, &r->src) || rx_is_ours(n, r, &r->src))
		net_drop(n, r->m, WEIR_R_IP_BAD_SOURCE);
	else if (!is_ours)
		punt(n, r, WEIR_R_IP_NOT_OURS);
	else if (p[0] == T6_ECHO && p[1] == 0 && !ip_is_any(&r->src))
		reply_echo(n, r, T6_ECHO_REPLY, PROTO_ICMP6);
	else if (p[0] == T6_UNREACHABLE)
		input_error(n, r, false, TCP_ICMP_UNREACHABLE, 0);
	else if (p[0] == T6_TOO_BIG)
		input_error(n, r, false, TCP_ICMP_TOO_BIG,
			    (uint32_t)p[4] << 24 | (uint32_t)p[5] << 16 | (uint32_t)p[6] << 8 | p[7]);
	else
		not_ours(n, r, WEIR_R_ICMP_UNKNOWN);
}

/* The message: its 8 bytes, then as much of the packet as fits (RFC 1812 4.3.2.3, RFC 4443 2.4 (c)). */
static struct rte_mbuf *make_unreachable(struct net *n, const struct rx *r, bool is4)
{
	unsigned quote = r->m->data_len - r->l3;
	unsigned max = ip_mtu_min(&r->dst) - ip_header_bytes(&r->dst) - 8;
	struct rte_mbuf *m = rte_pktmbuf_alloc(n->cfg.pool);
	uint8_t *p;
	uint16_t sum;

	if (!m) {
		stat_reason(n->stats, WEIR_R_NO_MBUF);
		return NULL;
	}
	if (quote > max)
		quote = max;
	p = (uint8_t *)rte_pktmbuf_append(m, (uint16_t)(8 + quote));
	if (!p) {
		rte_pktmbuf_free(m);
		return NULL;
	}
	memset(p, 0, 8);
	memcpy(p + 8, rx_at(r, r->l3), quote);
	if (is4) {
		p[0] = T4_UNREACHABLE;
		p[1] = r->proto == PROTO_UDP ? 3 : 2; /* port, protocol */
	} else if (r->proto == PROTO_UDP) {
		p[0] = T6_UNREACHABLE;
		p[1] = 4; /* port */
	} else { /* RFC 8200 4: unrecognised next header, and where it stands */
		uint16_t at = (uint16_t)(r->next_header_at - r->l3);

		p[0] = T6_PARAMETER;
		p[1] = 1;
		p[6] = (uint8_t)(at >> 8);
		p[7] = (uint8_t)at;
	}
	if (is4) {
		sum = icmp4_checksum(m, 0);
	} else {
		sum = l4_checksum(m, 0, &r->dst, &r->src, PROTO_ICMP6);
	}
	memcpy(p + 2, &sum, 2);
	return m;
}

void icmp_unreachable(struct net *n, struct rx *r, enum weir_reason why)
{
	bool is4 = ip_is4(&r->dst);
	struct rte_mbuf *m;

	if (ip_is_any(&r->src) || r->is_group) { /* RFC 1122 3.2.2 */
		net_drop(n, r->m, why);
		return;
	}
	if (!token_take(&n->errors, ERRORS_PER_SECOND, r->now_us)) {
		stat_reason(n->stats, WEIR_R_ICMP_RATE);
		net_drop(n, r->m, why);
		return;
	}
	m = make_unreachable(n, r, is4);
	if (m) {
		stat_inc(n->stats, WEIR_C_ICMP_ERRORS_TX);
		ip_output(n, m, &r->dst, &r->src, is4 ? PROTO_ICMP : PROTO_ICMP6, 0, r->now_us);
	}
	net_drop(n, r->m, why);
}
