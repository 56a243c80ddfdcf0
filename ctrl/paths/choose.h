/* SPDX-License-Identifier: Apache-2.0 */
/* Which way leads to the pods of a Node, and why. */
#ifndef PATHS_CHOOSE_H
#define PATHS_CHOOSE_H

#include "paths/node_facts.h"

/* --paths, in this order */
enum paths_mode { PATHS_AUTO, PATHS_NATIVE, PATHS_VXLAN, PATHS_NODE_PORT, PATHS_OFF };

/* X(enumerator, name, help) */
#define PATHS_WAYS(X) \
	X(NONE, "none", "no way of its own: by the link or a gateway") \
	X(NATIVE, "native", "routed by the node") \
	X(VXLAN, "vxlan", "through a VXLAN tunnel to the node") \
	X(NODE_PORT, "node-port", "Services by their nodePort at the node") \
	X(OURS, "ours", "the near end of the tunnels: there are no pods")

enum paths_way {
#define X(name, str, help) PATHS_WAY_##name,
	PATHS_WAYS(X)
#undef X
		PATHS_N_WAYS
};

const char *paths_way_name(enum paths_way w);
const char *paths_way_help(enum paths_way w);
/* The mode of a name of --paths; false: there is none. */
bool paths_mode_read(const char *name, enum paths_mode *out);
const char *paths_mode_name(enum paths_mode m);

struct paths_options {
	enum paths_mode mode;
	const char *vtep_node;		/* name of the Node that stands for our end; NULL: none */
	struct overlay_given given[2];	/* --vtep */
	unsigned n_given;
};

/* Our end of the tunnels, for pods of IPv4 and of IPv6. */
struct near_end {
	struct weir_vtep vtep[2]; /* all zero: it is not known */
	struct weir_ip public[2]; /* where flannel's nodes send to: has to be ours; zero: not known */
	char fault[NODE_FAULT_BYTES]; /* what is wrong with what is said of it; "": nothing */
};

/* near_end.c: node is the Node of vtep_node, NULL: there is none of this name. */
void near_end_read(const struct paths_options *o, const struct kube_object *node, struct near_end *out);
bool near_end_is_known(const struct near_end *n, unsigned family);

struct paths_choice {
	enum paths_way way;
	struct weir_pod_path path; /* of NATIVE and VXLAN; NODE_PORT: via alone */
	bool is_wrong;	       /* what the Node says is at fault */
	char why[NODE_FAULT_BYTES];
};

/* For one of its prefixes. */
void paths_choose(const struct paths_options *o, const struct near_end *near, const struct node_facts *f,
		  const struct ip_prefix *prefix, struct paths_choice *out);

#endif
