/* SPDX-License-Identifier: Apache-2.0 */
/* What a Node object says of the ways to its pods. */
#ifndef PATHS_NODE_FACTS_H
#define PATHS_NODE_FACTS_H

#include "base/ip.h"
#include "kube/store.h"
#include "paths/overlay.h"

#define NODE_MAX_PREFIXES 8u /* of one Node; Kubernetes gives one of each family */
#define NODE_MAX_ADDRESSES 64u /* of status.addresses that are looked at */
#define NODE_FAULT_BYTES 192u

enum node_cni {
	NODE_CNI_UNKNOWN, /* podCIDRs are what there is, if any */
	NODE_CNI_FLANNEL,
	NODE_CNI_CILIUM,
	NODE_CNI_CALICO, /* hands out addresses of blocks of its own */
};

/* Of each pair the first is of IPv4, the second of IPv6. Texts are the object's. */
struct node_facts {
	const char *name;
	int64_t created_s;
	enum node_cni cni;
	const char *backend; /* flannel's; "" if it names none */
	struct ip_prefix prefixes[NODE_MAX_PREFIXES];
	size_t n_prefixes;
	struct weir_ip internal[2]; /* the first InternalIP; all zero: none */
	struct weir_ip public[2];   /* flannel's public-ip; all zero: none */
	struct overlay_end end[2];
	bool has_end[2];
	char fault[2][NODE_FAULT_BYTES]; /* what is wrong with the ways of this family; "": nothing */
	char prefix_fault[NODE_FAULT_BYTES]; /* with prefixes, which are left out; "": nothing */
};

void node_facts_read(const struct kube_object *o, struct node_facts *out);
/* Texts of Nodes go into logs and JSON: what is no printable ASCII becomes "?". */
void node_facts_clean(char *text);
/* The first InternalIP of the family (0: IPv4, 1: IPv6) that can be reached; false: it has none. */
bool node_facts_internal(const struct kube_object *o, unsigned family, struct weir_ip *out);

#endif
