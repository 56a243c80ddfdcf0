/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The forwarding table: for what no interface has on its link, which next hop
 * or tunnel leads there. Made by main, never changed, and read by all workers
 * at once. The longest prefix counts: a hash for each length that occurs, the
 * longest first, since clusters have few of them.
 */
#ifndef NET_FIB_H
#define NET_FIB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ip.h"
#include "weir/paths.h"

#define FIB_MAX_VTEPS 6	  /* near ends of tunnels: of both families, from both who may say them, and former ones */
#define FIB_ANY_IFACE 255 /* the interface follows from the next hop's address */

struct fib;

struct fib_hop {
	struct weir_ip via; /* next hop, or the far end of a tunnel */
	uint8_t kind;	    /* enum weir_pod_path_kind */
	uint8_t iface;	    /* ROUTE: index of the interface, or FIB_ANY_IFACE */
	uint8_t vtep;	    /* VXLAN: index of the near end */
	uint8_t mac[6];	    /* VXLAN: destination of the inner frame */
};

/* What a table is made of. Several hops share the flows by their hashes. */
struct fib_route {
	struct weir_ip prefix; /* 0 beyond its length */
	uint8_t len;	       /* in its own family */
	uint16_t n_hops;       /* at least 1 */
	const struct fib_hop *hops;
};

/* An entry of a table. */
struct fib_entry {
	struct weir_ip prefix;
	uint8_t len; /* of 128 bits */
	uint16_t n_hops;
	uint32_t first_hop;
};

/*
 * Copies all that it is given. Of routes to one prefix the first one counts. NULL: there is no memory.
 * n_vteps: up to FIB_MAX_VTEPS; the family of a near end is that of its source.
 */
struct fib *fib_create(const struct fib_route *routes, size_t n, const struct weir_vtep *vteps, unsigned n_vteps);
void fib_destroy(struct fib *f);

/* The longest prefix that ip is in, or NULL. */
const struct fib_entry *fib_find(const struct fib *f, const struct weir_ip *ip);
/* One of its hops, always the same for a hash. */
const struct fib_hop *fib_hop_for(const struct fib *f, const struct fib_entry *e, uint64_t hash);
size_t fib_n_entries(const struct fib *f);

/* The near ends. */
unsigned fib_n_vteps(const struct fib *f);
const struct weir_vtep *fib_vtep(const struct fib *f, unsigned i);
/* True if ip is the far end of a tunnel, or a next hop: that may have been one a moment ago, and its answers still come by it. */
bool fib_is_hop(const struct fib *f, const struct weir_ip *ip);
/* True if ip is our own address within a tunnel. */
bool fib_is_source(const struct fib *f, const struct weir_ip *ip);
/* True if tunnels come by this port of UDP. */
bool fib_has_port(const struct fib *f, uint16_t port);

#endif
