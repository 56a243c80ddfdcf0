/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steering: the answers to the connections that a worker opens come back to
 * its queue (docs/architecture.md). Whose such a connection is follows from
 * its tuple alone, the same for every worker and port, in one of two ways:
 *
 *   by port: each worker has a part of the local ports;
 *   by hash: the low bits of the answers' Toeplitz hash say it, and the local
 *            port is chosen so that they name the worker that opens.
 *
 * A device may help: flow rules bring a part of the ports to a queue, and RSS
 * with our key and table does what the hash says. A packet that reaches
 * another worker all the same is redirected over a ring. That is always
 * there, whatever the device does, and it is all there is where it does nothing.
 */
#ifndef NET_STEER_H
#define NET_STEER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ip.h"
#include "net/net.h"

struct rte_thash_ctx;
struct rte_thash_subtuple_helper;

#define STEER_KEY_BYTES 64  /* of RSS; devices take the first 40 to 52 */
#define STEER_MAX_BITS 7    /* low bits of the hash that are used: the smallest common table has 128 entries */
#define STEER_TUPLE_BYTES 36 /* addresses and ports, at most */

enum steer_want { STEER_WANT_AUTO, STEER_WANT_FLOW, STEER_WANT_RSS, STEER_WANT_REDIRECT };

/* Made by main before the workers; read-only from then on. */
struct steer {
	uint16_t n_workers;
	bool by_hash;
	uint16_t port_lo, port_hi; /* what may be used */
	uint16_t first, last;	   /* what is used */
	uint32_t share;		   /* by port: ports of a worker, from first on */
	/* by hash: entry e of the table, e the hash's low bits, is worker e % n_workers's */
	unsigned bits;
	struct rte_thash_ctx *ctx;
	struct rte_thash_subtuple_helper *helper4, *helper6;
	uint8_t key[STEER_KEY_BYTES];
	uint8_t hash8[STEER_TUPLE_BYTES][256]; /* low byte of the hash of one byte of a tuple, by its place */
};

/* By port, in equal shares; workers have port_hi - port_lo + 1 ports together, at least one each. */
void steer_init(struct steer *s, uint16_t n_workers, uint16_t port_lo, uint16_t port_hi);
void steer_fini(struct steer *s);

/*
 * By port, in shares that are powers of two and lie at multiples of their
 * size: so one masked rule is a worker's. False (and no change): too few ports for that.
 */
bool steer_align(struct steer *s);
/* One worker's ports as value and mask (host order); steer_align() was true. */
void steer_rule(const struct steer *s, uint16_t worker, uint16_t *value, uint16_t *mask);

/*
 * By hash, over the low `bits` bits (2 .. STEER_MAX_BITS, at least one entry for each
 * worker). random: from which the RSS key is made. 0 or -errno, then no change.
 */
int steer_use_hash(struct steer *s, unsigned bits, const uint8_t random[STEER_KEY_BYTES]);

/*
 * Finds out by trying what the ports can do, sets the device up for it, and
 * settles how connections are assigned: in AUTO by port if every port takes flow
 * rules, else by hash if any takes our RSS key, else by port. Ports that do
 * not fit in are left to redirection; the log says so. Sets steer of each port.
 */
void steer_start(struct steer *s, enum steer_want want, const uint8_t random[STEER_KEY_BYTES], struct net_port *ports,
		 unsigned n_ports);
/* Takes the rules away, before the ports stop. */
void steer_stop(struct steer *s, struct net_port *ports, unsigned n_ports);

/* The worker that opens connections of this tuple, or -1: no worker does. */
int steer_opener(const struct steer *s, const struct ip_flow *flow);
/* The local ports that a worker may use: its own, or, by hash, everybody's, in whole blocks of 2^bits. */
void steer_ports(const struct steer *s, uint16_t worker, uint16_t *lo, uint16_t *hi);
/* By hash: entries of the table that are a worker's. */
unsigned steer_n_fits(const struct steer *s, uint16_t worker);
/* By hash: see tcp_steer_port_fn and tcp_steer_fit_fn. */
void steer_set_port(const struct steer *s, uint16_t worker, struct ip_flow *flow);
unsigned steer_fit(const struct steer *s, const struct ip_flow *flow);

struct net;

/*
 * The worker that owns a segment's connection, or that shall accept it:
 * the opener; else this worker where the device's RSS is stable, and else
 * a hash over the tuple, so that it does not matter on which queue a
 * packet arrives.
 */
uint16_t steer_owner(const struct net *n, const struct net_port *port, const struct ip_flow *flow);

#endif
