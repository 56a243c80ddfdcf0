/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of net/ share. A received packet is handled where it lies:
 * struct rx says what is known of it so far. Whoever is called with an mbuf
 * takes it over.
 */
#ifndef NET_NET_PVT_H
#define NET_NET_PVT_H

#include <assert.h>

#include <rte_ether.h>
#include <rte_mbuf.h>

#include "base/wheel.h"
#include "net/capture.h"
#include "net/fib.h"
#include "net/net.h"
#include "stats/stats.h"

#define NET_TX_BUFFER 256 /* packets that wait for a port */

#define ETHERTYPE_IP4 0x0800
#define ETHERTYPE_ARP 0x0806
#define ETHERTYPE_VLAN 0x8100
#define ETHERTYPE_IP6 0x86dd

#define PROTO_ICMP 1
#define PROTO_TCP 6
#define PROTO_UDP 17
#define PROTO_ICMP6 58
#define PROTO_NONE 59 /* RFC 8200 4.7 */

#define NEIGH_REACHABLE_US 30000000 /* RFC 4861 10: REACHABLE_TIME */
#define NEIGH_RETRANS_US 1000000    /* RETRANS_TIMER */
#define NEIGH_TRIES 3		    /* MAX_MULTICAST_SOLICIT, MAX_UNICAST_SOLICIT */

enum neigh_state {
	NEIGH_FREE,
	NEIGH_INCOMPLETE, /* asked, no answer yet; packets wait */
	NEIGH_REACHABLE,
	NEIGH_STALE,	  /* known, not confirmed lately: the next use asks again */
	NEIGH_PROBE,	  /* known, being asked */
};

/* A next hop. */
struct neigh {
	struct wheel_timer timer;
	struct neigh *next; /* of its bucket, or of the free list */
	struct weir_ip ip;
	uint8_t iface;
	uint8_t state;
	uint8_t tries;
	uint8_t mac[6];
	uint64_t confirmed_us;
	uint32_t n_queued;
	struct rte_mbuf *head, *tail; /* waiting packets from the IP header on, linked by a field of their own */
};

struct neigh_table {
	struct neigh *entries;
	struct neigh **buckets;
	struct neigh *free;
	uint32_t mask;
	uint32_t n;
	uint32_t n_used;
	uint32_t hand; /* where the search for a stale entry goes on */
};

/* Replies that may be sent now: filled at a rate, at most a burst. */
struct token_bucket {
	uint64_t last_us;
	uint64_t tokens_us; /* in microseconds of rate */
};

struct net_tx {
	unsigned n;
	unsigned n_seen; /* the first ones, which a flush before left: the driver and a capture have seen them */
	struct rte_mbuf *pkts[NET_TX_BUFFER];
};

struct net_redirect {
	unsigned n;
	struct rte_mbuf *pkts[NET_BURST];
};

#define GRO_RUNS NET_BURST
#define GRO_SLOTS 64

enum gro_order { GRO_UNKNOWN, GRO_IN_ORDER, GRO_OUT_OF_ORDER };

/* A segment that waits for the end of its burst, and those that were merged into it. */
struct gro_run {
	struct rte_mbuf *head, *tail; /* tail: only while is_open */
	struct tcp_packet packet;
	uint32_t next_seq; /* behind it */
	uint32_t size;	   /* payload of the first */
	uint8_t n_header;
	uint8_t order;	/* enum gro_order */
	uint8_t before; /* the connection's run in front of this one, its index + 1; 0: none that is known */
	bool is_open;  /* another one may follow */
};

struct gro {
	unsigned n;
	uint8_t slots[GRO_SLOTS]; /* by hash of the connection: its latest run's index + 1; 0, or another's: none */
	struct gro_run runs[GRO_RUNS];
};

#define NET_TOO_BIG 32

/* A segment that a change of paths made too long for its way: TCP is told so when it has sent what it has. */
struct net_too_big {
	struct ip_flow flow;
	uint32_t seq;
	uint16_t mtu;
};

/* Another dataplane that says that it has an address of ours. */
struct net_peer {
	uint8_t mac[6];
	bool is_known;
	uint64_t heard_us;
};

struct handover {
	bool is_on, is_held, has_routes, is_leaving;
	unsigned n_probes;
	uint64_t next_us; /* question to peers */
	uint64_t left_us; /* since when is_leaving */
	struct net_peer peers[NET_MAX_IFACES][NET_MAX_ADDRS]; /* by index of the interface, and of the address */
};

struct net {
	struct net_config cfg;
	struct weir_worker_stats *stats;
	struct tcp_stack *tcp;
	/* what each packet or iteration looks at is beside one another */
	const struct fib *fib; /* NULL: none */
	unsigned n_too_big;
	uint32_t n_ups; /* of all ports, when they were announced last */
	bool has_punted;    /* in this iteration */
	bool is_announcing; /* what is sent to groups is no question */
	struct neigh_table neigh;
	struct token_bucket errors, echoes;
	struct token_bucket spreads; /* of ICMP errors to all workers */
	uint64_t announce_us; /* when our addresses are announced next */
	unsigned n_announced;
	uint64_t bond_us; /* when bonds are given the chance to speak next */
	struct net_capture *capture; /* NULL: none is on */
	struct net_tx *tx;		/* [n_ports] */
	struct net_redirect *redirect;	/* [n_workers] */
	uint8_t iface_port[NET_MAX_IFACES]; /* index of the interface's port */
	uint64_t now_us; /* of the iteration */
	struct pmtu *pmtu;
	struct gro gro;
	struct token_bucket punts[PUNT_N_CLASSES];
	struct net_too_big too_big[NET_TOO_BIG];
	struct handover hand; /* large, and its beginning is looked at alone */
};

/* Where a packet goes. */
struct ip_way {
	struct weir_ip hop;
	unsigned iface;
	const struct fib_hop *tunnel; /* in which it goes; NULL: none. hop and iface are those of the outer packet */
	const struct weir_ip *local;  /* source of the outer packet */
	uint64_t hash;		      /* of its flow, where the table says the way */
};

/* Where a TCP segment goes. */
struct tcp_way {
	const struct ip_flow *flow;
	struct ip_way way;
	uint8_t ecn;
	uint64_t now_us;
};

/* A packet on its way up. */
struct rx {
	struct rte_mbuf *m;
	uint64_t now_us;
	uint16_t port;	  /* index in cfg.ports */
	uint8_t iface;	  /* index in cfg.ifaces */
	bool is_redirected; /* another worker received it: handle it here, whoever owns it */
	bool is_group;	  /* sent to a group or to all on the link */
	bool is_kernels;  /* the kernel sent it to an address of ours */
	uint16_t next_header_at; /* IPv6: offset in the packet of the field that says proto */
	uint16_t ethertype;
	uint16_t l3;	  /* offset of the IP or ARP header */
	uint16_t l4;	  /* offset behind the IP header */
	uint8_t proto;
	uint8_t ecn;
	uint8_t src_mac[6];
	struct weir_ip src, dst;
	const struct weir_vtep *vtep; /* it came in a tunnel, of which this is our end; NULL: it did not */
};

static inline void *rx_at(const struct rx *r, uint16_t off)
{
	return rte_pktmbuf_mtod_offset(r->m, void *, off);
}

static inline void net_drop(struct net *n, struct rte_mbuf *m, enum weir_reason why)
{
	stat_reason(n->stats, why);
	rte_pktmbuf_free(m);
}

static inline const struct net_iface *iface_of(const struct net *n, unsigned i)
{
	return &n->cfg.ifaces[i];
}

/* Filled since last_us, one is taken; false: it is empty. A second's worth may be taken at once. */
static inline bool token_take(struct token_bucket *b, unsigned per_second, uint64_t now_us)
{
	uint64_t cost = 1000000 / per_second;

	b->tokens_us += now_us - b->last_us;
	b->last_us = now_us;
	if (b->tokens_us > 1000000)
		b->tokens_us = 1000000;
	if (b->tokens_us < cost)
		return false;
	b->tokens_us -= cost;
	return true;
}

/* handover.c */
void handover_init(struct net *n);
/* Somebody says that it has this address of ours, by ARP or neighbour discovery. */
void handover_claim(struct net *n, const struct rx *r, const struct weir_ip *ip, const uint8_t mac[6]);
/* r is from who has this address of ours, too. */
bool handover_is_peer(struct net *n, const struct rx *r, const struct weir_ip *ip);
/* Whoever sent r is not to be told that we have this address. */
bool handover_hides(struct net *n, const struct rx *r, const struct weir_ip *ip);
bool handover_announces(const struct net *n, const struct net_addr *a);
/* A segment that is for the peer: taken over, and sent there. False: it is ours to handle. r->l4: 20 bytes are there. */
bool handover_takes(struct net *n, struct rx *r, const struct ip_flow *flow);
/* The same for an ICMP error that quotes a segment of flow. */
bool handover_takes_error(struct net *n, struct rx *r, const struct ip_flow *flow);
void handover_tick(struct net *n);

/* punt.c */
/* Not Weir's: to the kernel, if its class's rate lets it; where the port has no kernel beside it, dropped as why. */
void punt(struct net *n, struct rx *r, enum weir_reason why);
/* True if the kernel beside the port has this address of ours as well. */
bool punt_shares(const struct net *n, const struct rx *r, const struct weir_ip *ip);
/* A frame of our own, for the kernel beside the port. */
void punt_own(struct net *n, unsigned port, struct rte_mbuf *m);
/* What the kernel sent: out by its port, or in, if it is for us. Returns how many. */
unsigned punt_poll(struct net *n, uint64_t now_us);
/* Wakes who empties the ring to the kernel, if it sleeps. */
void punt_flush(struct net *n);

/* eth.c */
/* A whole frame, as it is. */
void eth_send(struct net *n, unsigned port, struct rte_mbuf *m);
void eth_input(struct net *n, struct rx *r);
/* m begins at the payload; adds the header (and tag) and gives it to the port's buffer. */
void eth_output(struct net *n, unsigned iface, struct rte_mbuf *m, const uint8_t dst[6], uint16_t ethertype);

/* arp.c, ndp.c */
void arp_input(struct net *n, struct rx *r);
/* Asks for target; dst NULL: everybody. */
void arp_request(struct net *n, unsigned iface, const struct weir_ip *target, const uint8_t *dst);
/* Who has target? Says nothing of us (RFC 5227 2.1.1). dst NULL: everybody is asked. */
void arp_probe(struct net *n, unsigned iface, const struct weir_ip *target, const uint8_t *dst);
void arp_announce(struct net *n, unsigned iface, const struct weir_ip *ip);
/* Neighbour solicitation and advertisement; r->l4 is at the ICMPv6 header, whose checksum was verified. */
void ndp_input(struct net *n, struct rx *r, uint8_t type);
void ndp_solicit(struct net *n, unsigned iface, const struct weir_ip *target, const uint8_t *dst);
/* As arp_probe() (RFC 4862 5.4.2). */
void ndp_probe(struct net *n, unsigned iface, const struct weir_ip *target, const uint8_t *dst);
void ndp_announce(struct net *n, unsigned iface, const struct weir_ip *ip);

/* ip4.c, ip6.c */
void ip4_input(struct net *n, struct rx *r);
void ip6_input(struct net *n, struct rx *r);
/* ip.c: what both families do */
void ip_deliver(struct net *n, struct rx *r);
/* A fragment, of which addresses are known: the kernel's, perhaps, but Weir reassembles none. */
void ip_fragment(struct net *n, struct rx *r);
/* m begins at the transport header. Routes, adds the IP header, resolves the next hop. */
void ip_output(struct net *n, struct rte_mbuf *m, const struct weir_ip *src, const struct weir_ip *dst, uint8_t proto,
	       uint8_t ecn, uint64_t now_us);
/* One segment, or a long one that the port cuts (tso_segsz): checksums, IP header, next hop. */
void ip_output_tcp(struct net *n, struct rte_mbuf *m, const struct tcp_way *w);
/* m begins at the transport header. Adds the IP header and sends it by this next hop, in no tunnel. */
void ip_output_hop(struct net *n, struct rte_mbuf *m, const struct ip_way *w, const struct weir_ip *src, const struct weir_ip *dst,
		   uint8_t proto, uint8_t ecn, uint64_t now_us);
/* The interface and next hop towards dst by links and gateways alone, from src's interface if it has one. False: none. */
bool ip_route(const struct net *n, const struct weir_ip *src, const struct weir_ip *dst, unsigned *iface, struct weir_ip *hop);
bool iface_has_addr(const struct net_iface *f, const struct weir_ip *ip);
/* Index of the interface that has this address, or -1. */
int iface_with_addr(const struct net *n, const struct weir_ip *ip);
/* An address of the interface in ip's prefix, or the first of its family; NULL: none. */
const struct weir_ip *iface_source(const struct net *n, unsigned iface, const struct weir_ip *ip);

/* True if dst is on the link of any interface. */
bool ip_is_on_link(const struct net *n, const struct weir_ip *dst);

/* way.c */
/*
 * The way to dst, from src if that is not NULL: what is on a link, then what the table says, then gateways. hash: of the flow.
 * False: none.
 */
bool way_find(const struct net *n, const struct weir_ip *src, const struct weir_ip *dst, uint64_t hash, struct ip_way *w);
/* The largest packet, its IP header included, that the first link of the way takes. */
uint16_t way_mtu(const struct net *n, const struct ip_way *w);
/* Bytes of headers that a tunnel to via adds to a packet. */
uint16_t way_overhead(const struct weir_ip *via);
/* True if the segment fits its way. Else it was dropped, and TCP will be told. */
bool way_fits(struct net *n, struct rte_mbuf *m, const struct tcp_way *w);
/* Tells TCP of those that did not fit. */
void way_tell(struct net *n, uint64_t now_us);

/* vxlan.c */
/* m is a whole packet of this family. */
void vxlan_output(struct net *n, struct rte_mbuf *m, const struct ip_way *w, bool is4, uint8_t ecn, uint64_t now_us);
/* A packet of UDP to an address of ours: takes it, if it came by a tunnel's port. False: it did not. */
bool vxlan_input(struct net *n, struct rx *r);
/* m begins at the inner frame, which was checked, by another worker perhaps. */
void vxlan_inner_input(struct net *n, struct rx *r);
/* Of len bytes of an outer packet that we sent: where the inner one begins, and whom it went to. NULL: it is none of a tunnel's. */
const uint8_t *vxlan_quoted(const struct net *n, const uint8_t *q, unsigned len, bool is4, struct weir_ip *via);
/* True if ip is ours for a packet that came as this one. */
static inline bool rx_is_ours(const struct net *n, const struct rx *r, const struct weir_ip *ip)
{
	return r->vtep ? ip_eq(&r->vtep->source, ip) : net_has_addr(n, ip);
}

/*
 * checksum.c. What was summed to verify a TCP packet is remembered with each
 * of its mbufs, and goes on with references to it: a payload that is relayed
 * is read once, not twice, on ports without checksum offload.
 */
int checksum_init(void); /* once in a process; 0, or -errno: no room in mbufs */
/* Internet checksum of the packet from off to its end, with the pseudo-header; 0 is correct on receive. */
uint16_t l4_checksum(const struct rte_mbuf *m, uint32_t off, const struct weir_ip *src, const struct weir_ip *dst,
		     uint8_t proto);
/* A received packet whose TCP header begins at off, the fixed part of it in m: is the checksum right? */
bool checksum_verify_tcp(struct rte_mbuf *m, uint32_t off, const struct weir_ip *src, const struct weir_ip *dst);
/* As l4_checksum(), without a pseudo-header, as ICMP for IPv4 has it. */
uint16_t icmp4_checksum(const struct rte_mbuf *m, uint32_t off);

/* gso.c: a long segment in pieces. copies: the port takes a packet in one mbuf only. */
void gso_output(struct net *n, struct rte_mbuf *m, const struct tcp_way *w, bool copies);

/*
 * gro.c: m begins at the TCP header, its checksum was verified; is_plain: no
 * IP options or extension headers. It reaches TCP with the next gro_flush().
 */
void gro_input(struct net *n, struct rte_mbuf *m, const struct tcp_packet *p, bool is_plain, uint64_t now_us);
void gro_flush(struct net *n, uint64_t now_us);

/* pmtu.c: what is known of paths. find: 0 if nothing is. */
bool pmtu_create(struct net *n);
void pmtu_destroy(struct net *n);
uint16_t pmtu_find(const struct net *n, const struct weir_ip *remote);
void pmtu_learn(struct net *n, const struct weir_ip *remote, uint16_t mtu);

/* icmp.c */
void icmp4_input(struct net *n, struct rx *r);
void icmp6_input(struct net *n, struct rx *r);
/* "Protocol or port unreachable", in answer to r; drops r's packet under why. */
void icmp_unreachable(struct net *n, struct rx *r, enum weir_reason why);

/* steer.c */
#define STEER_INNER 0x8000 /* beside a redirected packet's port: it was taken out of a tunnel, and begins at the inner frame */
/* Another worker owns the flow: takes the packet. False: handle it here. */
bool steer_redirect(struct net *n, struct rx *r, const struct ip_flow *flow);
/* A copy for every other worker, which only learns from it. */
void steer_broadcast(struct net *n, const struct rx *r);
void steer_flush(struct net *n);

/* neigh.c */
bool neigh_create(struct net *n);
void neigh_destroy(struct net *n);
/* m begins at the IP header. Sends it now, or when the next hop has answered. */
void neigh_output(struct net *n, unsigned iface, const struct weir_ip *hop, struct rte_mbuf *m, uint16_t ethertype,
		  uint64_t now_us);
/* ip is at mac. may_create: make an entry if there is none; is_answer: it answers a question of ours. */
void neigh_learn(struct net *n, unsigned iface, const struct weir_ip *ip, const uint8_t mac[6], bool may_create,
		 bool is_answer, uint64_t now_us);
/* ip answered a question of ours without saying where it is: what is known of it is right. */
void neigh_confirm(struct net *n, unsigned iface, const struct weir_ip *ip, uint64_t now_us);
/* Another address for ip, which does not override: what is known of it is in doubt. False: nothing is known. */
bool neigh_doubt(struct net *n, unsigned iface, const struct weir_ip *ip, const uint8_t mac[6]);

/* port.c */
void port_flush(struct net *n);

/* capture.c: a capture is on, and may be over after this. */
void capture_burst(struct net *n, struct rte_mbuf *const *pkts, unsigned n_pkts, unsigned port,
		   enum weir_capture_direction direction, uint64_t now_us);

#endif
