/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Weir's end of the tunnels. With flannel a Node object stands for it: the
 * nodes then send what is for its podCIDR into the tunnel to its public-ip,
 * in frames to its VtepMAC, as to any other node. The address within the
 * tunnel is the first one of that podCIDR, as on flannel's own interfaces.
 */
#include <stdio.h>
#include <string.h>

#include "paths/choose.h"

static void take_node(struct near_end *n, const struct kube_object *node)
{
	struct node_facts f;

	node_facts_read(node, &f);
	for (size_t i = 0; i < f.n_prefixes; i++) {
		unsigned family = !ip_is4(&f.prefixes[i].ip);

		if (ip_is_any(&n->vtep[family].source))
			n->vtep[family].source = f.prefixes[i].ip;
	}
	for (unsigned family = 0; family < 2; family++) {
		n->public[family] = f.public[family];
		if (f.fault[family][0])
			snprintf(n->fault, sizeof(n->fault), "%s", f.fault[family]);
		if (!f.has_end[family])
			continue;
		memcpy(n->vtep[family].mac, f.end[family].mac, 6);
		n->vtep[family].vni = f.end[family].vni;
	}
	if (f.prefix_fault[0])
		snprintf(n->fault, sizeof(n->fault), "%s", f.prefix_fault);
}

static void take_given(struct weir_vtep *v, const struct overlay_given *g)
{
	if (g->has_source)
		v->source = g->vtep.source;
	if (g->has_mac)
		memcpy(v->mac, g->vtep.mac, 6);
	if (g->has_vni)
		v->vni = g->vtep.vni;
	if (g->has_port)
		v->port = g->vtep.port;
}

static bool has_mac(const struct weir_vtep *v)
{
	static const uint8_t none[6];

	return memcmp(v->mac, none, 6) != 0;
}

/* Of a family that it cannot be for nothing is told to the dataplane. */
static void settle(struct near_end *n, unsigned family)
{
	struct weir_vtep *v = &n->vtep[family];
	bool has_source = !ip_is_any(&v->source);

	if (has_source && has_mac(v))
		return;
	if (has_source && !n->fault[0])
		snprintf(n->fault, sizeof(n->fault), "there is no MAC address for IPv%c: a VtepMAC, or mac= of --vtep, was expected",
			 family ? '6' : '4');
	memset(v, 0, sizeof(*v));
}

void near_end_read(const struct paths_options *o, const struct kube_object *node, struct near_end *out)
{
	memset(out, 0, sizeof(*out));
	out->vtep[0].vni = out->vtep[1].vni = OVERLAY_VNI;
	out->vtep[0].port = out->vtep[1].port = OVERLAY_PORT;
	if (node)
		take_node(out, node);
	else if (o->vtep_node)
		snprintf(out->fault, sizeof(out->fault), "there is no Node %.100s", o->vtep_node);
	for (unsigned i = 0; i < o->n_given; i++)
		for (unsigned family = 0; family < 2; family++)
			if (!o->given[i].has_source || ip_is4(&o->given[i].vtep.source) == (family == 0))
				take_given(&out->vtep[family], &o->given[i]);
	if (node && ip_is_any(&out->vtep[0].source) && ip_is_any(&out->vtep[1].source) && !out->fault[0])
		snprintf(out->fault, sizeof(out->fault), "Node %.100s has no podCIDR, of which the address within the tunnel would be", o->vtep_node);
	settle(out, 0);
	settle(out, 1);
}

bool near_end_is_known(const struct near_end *n, unsigned family)
{
	return !ip_is_any(&n->vtep[family].source);
}
