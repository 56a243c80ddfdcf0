/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ways to the pods: which node, or which end of a tunnel, packets for a
 * prefix go to. weir-ctrl finds them out from what the cluster shows; they
 * travel as the message PATHS, all of them at a time, and hold until others
 * come, also while no weir-ctrl is there. They reach what no interface has on
 * its link, before any gateway does.
 */
#ifndef WEIR_PATHS_H
#define WEIR_PATHS_H

#include "weir/types.h"

#define WEIR_PATHS_MAGIC 0x4854415052494557ull /* "WEIRPATH" */
#define WEIR_MAX_PATHS 16384u

enum weir_pod_path_kind {
	/* via routes it on: a node, or a router. Where it is not on an interface's link, the gateway that leads to it is the next hop. */
	WEIR_PATH_ROUTE = 1,
	/* via is the far end (VTEP) of a tunnel as RFC 7348 has it; the near end is vtep[] of the prefix's family. */
	WEIR_PATH_VXLAN = 2,
};

struct weir_pod_path {
	struct weir_ip prefix; /* 0 beyond its length */
	struct weir_ip via;    /* VXLAN: of any family, not necessarily the prefix's */
	uint8_t prefix_len;    /* in the prefix's own family */
	uint8_t kind;	       /* enum weir_pod_path_kind */
	uint8_t mac[6];	       /* VXLAN: destination of the inner frame; ROUTE: 0 */
};

enum weir_vtep_flag {
	WEIR_VTEP_ANY_VNI = 1, /* the VNI of what comes says who sent it, as with Cilium, and is not looked at */
};

/* Our end of the tunnels for pods of one family. All zero: no tunnel of that family. */
struct weir_vtep {
	struct weir_ip source; /* ours within the tunnel: packets to pods come from it, and their answers to it. Of the pods' family */
	uint8_t mac[6];	       /* source of inner frames, and the only one that we take them for */
	uint16_t port;	       /* UDP, at both ends */
	uint32_t vni;	       /* 24 bits */
	uint32_t flags;	       /* enum weir_vtep_flag */
};

/* The head; n_paths of struct weir_pod_path follow it, in ascending order of the bytes of prefix, then of prefix_len, none twice. */
struct weir_paths {
	uint64_t magic;
	uint16_t abi_major;
	uint16_t abi_minor;
	uint32_t n_paths; /* up to WEIR_MAX_PATHS */
	uint64_t checksum; /* as a snapshot's, over all bytes of the blob with this field as 0 */
	struct weir_vtep vtep[2]; /* for pods with addresses of IPv4, of IPv6 */
};

#endif
