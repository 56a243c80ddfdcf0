/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hosts on one link in virtual time, each with Weir's network and TCP: what a host sends is read off its port (which is net_null's), waits
 * on the link, and is given to whom its link address says at the next step. Nothing but the test's own steps and its judge
 * decides what happens when.
 */
#ifndef TESTS_NET_LAN_H
#define TESTS_NET_LAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/wheel.h"
#include "net/net.h"
#include "net/net_pvt.h"
#include "net/steer.h"
#include "tcp/tcp.h"

#define LAN_HOSTS 3
#define LAN_WORKERS 2
#define LAN_FRAMES 1024
#define LAN_BYTES 1600
#define LAN_MBUFS 8191

struct lan_frame {
	unsigned from; /* host, LAN_HOSTS: the test */
	unsigned len;
	uint8_t data[LAN_BYTES];
};

/* How a host is; the next lan_up() takes it. */
struct lan_config {
	uint16_t n_workers;
	bool stable_rss; /* a flow comes to the worker that the port's hash says, not to its owner by ours */
	bool hands_over;
	enum tcp_cookies cookies;
	struct net_addr addrs[4];
	unsigned n_addrs;
};

struct lan_host {
	struct lan_config cfg;
	bool is_up;
	struct net_port port;
	struct net_iface iface;
	struct steer steer;
	struct rte_ring *in[LAN_WORKERS * LAN_WORKERS], *out[LAN_WORKERS * LAN_WORKERS];
	struct wheel wheels[LAN_WORKERS];
	struct weir_worker_stats stats[LAN_WORKERS];
	struct net *net[LAN_WORKERS];
	struct tcp_stack *tcp[LAN_WORKERS];
};

struct lan {
	struct rte_mempool *pool, *clones;
	struct lan_host hosts[LAN_HOSTS];
	uint64_t now;
	unsigned head, n; /* of the frames on the link */
	struct lan_frame *frames; /* [LAN_FRAMES]; more are lost */
	bool (*judge)(const struct lan_frame *f); /* sees each before it is given; false: it is lost. NULL: none */
};

extern struct lan lan;

/* Once in a process, after EAL: pools, ports, rings. Ends the process where it cannot. */
void lan_start(void);
/* A host's link address. */
const uint8_t *lan_mac(unsigned host);
/* A host begins, or ends: its connections are reset. */
void lan_up(unsigned host, const struct lan_config *cfg);
void lan_down(unsigned host);
/* Hosts go down, the link is emptied; false: mbufs or timers are missing. */
bool lan_end(void);

/* Puts a frame on the link. */
void lan_put(unsigned from, const uint8_t *data, unsigned len);
/* Gives what is on the link now, has every host work once and goes on by this time. */
void lan_step(uint64_t us);
/* Steps for so long: short ones while something is on the link. */
void lan_run(uint64_t us);

uint64_t lan_counter(unsigned host, enum weir_counter c);
uint32_t lan_n_open(unsigned host);

#endif
