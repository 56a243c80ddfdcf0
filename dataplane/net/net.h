/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ethernet to IP: one struct net per worker. Packets come from the worker's
 * receive queue and from the other workers' redirect rings; each is answered
 * here (ARP, neighbour discovery, ICMP echo), handed up to TCP, redirected to
 * the worker that owns it, or dropped under one reason.
 */
#ifndef NET_NET_H
#define NET_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ip.h"
#include "tcp/tcp.h"
#include "weir/stats.h"

struct rte_mbuf;
struct rte_mempool;
struct rte_ring;
struct fib;
struct steer;
struct port_xstats;
struct wake;
struct wheel;
struct net;

#define NET_MAX_ADDRS 64
#define NET_MAX_IFACES 16
#define NET_BURST 32
#define NET_TSO_MAX 65455 /* payload of a long segment: what 16 bits of length leave beside the largest headers */
#define NET_GSO_MAX 16384 /* of one that is cut in software */

struct net_addr {
	struct weir_ip ip;
	uint8_t prefix_len; /* in the address's own family */
	bool is_served;	    /* clients come to it: what a handover is about (handover.c) */
	bool is_shared;	    /* the kernel has it as well: what is not Weir's of it is the kernel's */
};

/* An interface: a port, or a VLAN on it. From weir.yaml; the same for all workers, read-only once started. */
struct net_iface {
	uint16_t port_id; /* DPDK's */
	uint16_t vlan;	  /* 0: untagged */
	uint16_t mtu;	  /* IP bytes */
	uint16_t mss_clamp; /* MSS that TCP announces and uses here at most; 0: what the MTU allows */
	uint8_t mac[6];
	unsigned n_addrs;
	struct net_addr addrs[NET_MAX_ADDRS];
	bool has_gw4, has_gw6;
	struct weir_ip gw4, gw6;
};

/* What a port can do; found out by port_start(). */
struct net_port_caps {
	bool rx_csum_ip, rx_csum_l4; /* receive checksums are verified by the device */
	bool tx_csum_ip, tx_csum_l4;
	bool tx_tso;	    /* cuts long TCP segments, and writes the pieces' checksums */
	bool tx_multi_seg;  /* a packet may be several mbufs */
	bool has_rss;	    /* RSS is switched on */
	bool stable_rss;    /* the device hashes a flow to the same queue always */
	uint16_t max_tx_segs;  /* mbufs of a packet, and of each piece of a long segment */
	uint16_t max_tso_segs; /* mbufs of a long segment */
};

/* How a port brings the answers to connections that a worker opened to that worker: see net/steer.h. */
enum steer_way { STEER_REDIRECT, STEER_FLOW, STEER_RSS };

/* One DPDK port. Made by main before the workers start. */
struct net_port_config {
	const char *device; /* PCI address, or a vdev with its arguments ("net_tap0,iface=weir0") */
	uint16_t n_queues;  /* a pair for each worker */
	uint16_t n_desc;    /* per queue; 0: the device's default */
	uint16_t mtu;
	bool promiscuous;
	bool has_vlans;	  /* some of its frames are tagged */
	bool wants_rss;	  /* even of a virtual device */
	bool no_offloads; /* checksums and cutting in software, whatever the device can do */
	bool wants_rx_intr; /* receive interrupts, if the device can */
	bool merges; /* what it receives is merged (gro.c): for the report */
	bool reopens; /* see port_may_return() */
	const struct net_bond *bond; /* NULL: the device itself; else its name is that of the bond to be made */
	struct rte_mempool **pools; /* one per queue */
};

#define NET_BOND_MEMBERS 8

/* A bond of devices, by DPDK's net_bonding. */
struct net_bond {
	uint8_t mode; /* BONDING_MODE_* of rte_eth_bond.h; see port_bond_mode() */
	unsigned n_members;
	char members[NET_BOND_MEMBERS][128]; /* PCI addresses, or vdevs with their arguments */
};

/* The mode by its name in weir.yaml (802.3ad, active-backup, balance-xor), or -1; the name of a mode. */
int port_bond_mode(const char *name);
const char *port_bond_mode_name(uint8_t mode);

/* Counts of a device (rte_eth_stats) that was closed since. */
struct net_port_counts {
	uint64_t rx_packets, tx_packets, rx_bytes, tx_bytes, rx_missed, rx_errors, rx_no_mbuf, tx_errors;
};

struct net_port {
	uint16_t port_id;
	uint16_t n_queues;
	uint8_t mac[6];
	uint16_t mtu;
	uint16_t n_rx_desc; /* of each queue: so many packet buffers wait in it */
	bool has_vlans;
	struct net_port_caps caps;
	enum steer_way steer; /* set by steer_start() */
	char name[32];
	bool is_memif;
	bool has_kernel; /* a TAP stands beside it: see struct net_punt_config */
	bool has_rx_intr; /* started with receive interrupts; rte_eth_dev_rx_intr_ctl_q_get_fd() tells whether it has them */
	bool is_bond; /* net_bonding speaks LACP within calls to receive and to send, of which it wants one each 100 ms */
	bool is_shut; /* main: w, workers: r. Neither receive nor send: see port_look() */
	uint32_t n_ups; /* main: w, workers: r. Times that its link came up: then the neighbours are told of our addresses */
	/* main alone */
	const char *device;   /* as it was configured */
	const char *bond_mode; /* "": no bond */
	char driver[32];
	int numa_node; /* -1: any */
	uint16_t n_tx_desc;
	uint16_t max_mtu;
	bool wants_promiscuous, no_offloads, merges, reopens;
	bool in_software; /* the driver itself computes checksums so, or cannot be trusted with them */
	bool scatters, is_cut_short; /* frames lie in several buffers; they would have to, and the device cannot */
	char kernel_name[16];	/* of the kernel's interface under a virtual device; "": none */
	unsigned kernel_index;
	bool is_up, is_removed;
	bool is_unplugged; /* any thread: w */
	struct net_port_counts before;
	struct port_xstats *xstats; /* NULL: none yet */
};

/* Probes, configures and starts a port. config->device and config->bond outlive it. 0 or -errno; the log says what failed. */
int port_start(const struct net_port_config *config, struct net_port *out);
/* Stops and closes it, unless that was done. */
void port_stop(struct net_port *p);
bool port_is_link_up(const struct net_port *p);

/* What port_look() saw. */
enum port_event { PORT_AS_BEFORE, PORT_WENT_DOWN, PORT_CAME_UP, PORT_GONE };

/*
 * Sees how the port's link is, whether its device is there, and so whether the
 * workers may use it: main calls it at the start and then regularly. DPDK's
 * memif takes the address of a ring before it looks whether its peer is
 * connected; a worker that polls it just then reads where nothing is. What
 * net_af_packet is given while its interface is down it keeps, and may wait
 * for. So both are left alone until their link is up.
 */
enum port_event port_look(struct net_port *p);
/* After PORT_GONE, when no worker is in a call to it any more: what is left of the device is closed. */
void port_close_removed(struct net_port *p);
/* Is there hope that port_return() brings it back? */
bool port_may_return(const struct net_port *p);
/*
 * Opens the device of a closed port again, if it is there: 0, -ENODEV if not,
 * or another -errno, which is logged. Its link address may be another one.
 * Workers use it from the next port_look() on.
 */
int port_return(const struct net_port_config *config, struct net_port *p);

/* Is a device of this NUMA node far from a core of that one? -1: of any. */
static inline bool port_is_far(int device_node, int core_node)
{
	return device_node >= 0 && core_node >= 0 && device_node != core_node;
}

/* What the port is and who does what (statistics, ports.h). After steer_start(). */
void port_report(const struct net_port *p, struct weir_port_details *d);
/* Link, modes and the device's counts, which go on over port_return() if port_keep_counts() was called before. */
void port_sample(struct net_port *p, struct weir_port_details *d);
void port_keep_counts(struct net_port *p, const struct weir_port_details *d);
/* The driver's own counts, those that are not zero, as far as there is room. Main alone: some drivers ask the device's firmware. */
void port_sample_xstats(struct net_port *p, struct weir_port_xstats *x);
/* The driver's list may be another one from now on; what it counted stays until the next sample. */
void port_forget_xstats(struct net_port *p);

static inline bool port_is_shut(const struct net_port *p)
{
	return __atomic_load_n(&p->is_shut, __ATOMIC_ACQUIRE);
}

/*
 * The exception path: what is not Weir's goes to the kernel by a TAP beside
 * the port, and what the kernel sends goes out by the port. A thread of main's
 * does the system calls; the worker meets it at rings. Each class has a rate, so
 * that a flood of one does not keep out another.
 */
enum punt_class { PUNT_ROUTING, PUNT_NEIGHBOUR, PUNT_MANAGEMENT, PUNT_ICMP, PUNT_OTHER, PUNT_N_CLASSES };

#define PUNT_MAX_PER_S 1000000

struct net_punt_config {
	uint32_t per_s[PUNT_N_CLASSES]; /* packets, 1 to PUNT_MAX_PER_S; a second's worth may come at once */
	struct rte_ring *up;   /* to the kernel: mbufs of whole frames, whose port is an index. NULL: no port has a TAP */
	struct rte_ring *down; /* of the kernel, likewise; of worker 0, others: NULL */
	struct wake *wake;     /* of the thread that empties up */
	/* The only ones whose BGP and BFD are of the class of routing; none: everybody's. Outlive the net. */
	const struct weir_ip *routers;
	unsigned n_routers;
};

struct net_config {
	uint16_t worker;    /* this worker's number = its queue on every port */
	uint16_t n_workers;
	unsigned n_ifaces;
	const struct net_iface *ifaces; /* outlive the net */
	unsigned n_ports;
	const struct net_port *ports;
	struct rte_mempool *pool;
	struct rte_mempool *clones; /* mbufs without data room, for the pieces of long segments */
	struct wheel *wheel; /* net registers its kind wheel_kind */
	unsigned wheel_kind;
	struct weir_worker_stats *stats;
	struct stage_clock *stages; /* NULL: not wanted */
	struct rte_ring **redirect_in;	/* [n_workers]: ring from worker i to this one (own entry NULL) */
	struct rte_ring **redirect_out; /* [n_workers]: ring from this worker to worker i */
	struct wake *wakes;		/* [n_workers]: wake them when there is something in redirect_out; NULL: they never sleep so */
	uint32_t n_neighbours;		/* next-hop table size */
	uint32_t neighbour_queue;	/* packets that may wait for one next hop */
	bool hands_over;		/* another dataplane may have the same addresses that are served: see net_serve() */
	bool gro;			/* merge segments that were received together before TCP sees them */
	struct net_punt_config punt;
	const struct steer *steer;	/* whose connection is whose; outlives the net. NULL: there is one worker */
};

struct net *net_create(const struct net_config *config);
void net_destroy(struct net *n);
/* Where segments go. Set before the first net_poll(). */
void net_set_tcp(struct net *n, struct tcp_stack *tcp);

/* From now on the ways that this table says; NULL: none but links and gateways. Returns the former one, which is not used any more. */
const struct fib *net_set_fib(struct net *n, const struct fib *fib);

/* Receives one burst from each port and each redirect ring and handles it. Returns the number of packets. */
unsigned net_poll(struct net *n, uint64_t now_us);

/* Handles packets as if port had received them; for tests and fuzzing. Takes them over. */
void net_input(struct net *n, uint16_t port_index, struct rte_mbuf **pkts, unsigned n_pkts, uint64_t now_us);

/*
 * A tcp_output_fn (ctx is the struct net): adds IP and Ethernet, checksums,
 * resolves the next hop. A long segment (tso_segsz) is cut by the port, or by
 * gso.c where it cannot: then what the mbufs suffice for is sent, and TCP
 * sends the rest again.
 */
void net_output_tcp(void *ctx, struct rte_mbuf *m, const struct ip_flow *flow, uint8_t ecn, uint64_t now_us);

/* A tcp_steer_port_fn and a tcp_steer_fit_fn, for steering by hash. */
void net_steer_port(void *ctx, struct ip_flow *flow);
unsigned net_steer_fit(void *ctx, const struct ip_flow *flow);

/*
 * A tcp_mtu_fn: what the interface's MTU and MSS clamp allow, and a tunnel leaves; is_path: and
 * what routers said of the path within the last ten minutes.
 */
uint16_t net_mtu_for(void *ctx, const struct weir_ip *remote, bool is_path);

/* Gives everything collected to the ports and to the redirect rings. Once per iteration, at its end. */
void net_flush(struct net *n);

/*
 * Where hands_over: from now on what is served is announced, and new connections come. Before, neighbours are told nothing of these
 * addresses, and another dataplane that has them is looked for. Of each worker; once is enough.
 */
void net_serve(struct net *n);
/* Where hands_over: another dataplane that has the addresses gets the new connections. Of each worker. */
void net_leave(struct net *n);
/* For some seconds after net_leave(), if there is such a one: handshakes begun here end here, and who has not heard yet of the other one does. */
bool net_is_handing_over(const struct net *n);

/* True: packets wait for room in a port's queue, which nothing but the next net_flush() will find. */
bool net_has_unsent(const struct net *n);

/* The local address from which remote is reached; through a tunnel, ours within it. False: nothing leads there. */
bool net_source_for(const struct net *n, const struct weir_ip *remote, struct weir_ip *local);

/* True if a is one of our addresses. */
bool net_has_addr(const struct net *n, const struct weir_ip *a);

#endif
