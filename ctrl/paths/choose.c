/* SPDX-License-Identifier: Apache-2.0 */
/* See choose.h: a pure function of one Node, the near end and the options. */
#include "paths/choose.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *paths_way_name(enum paths_way w)
{
	static const char *const names[] = {
#define X(name, str, help) str,
		PATHS_WAYS(X)
#undef X
	};
	return names[w];
}

const char *paths_way_help(enum paths_way w)
{
	static const char *const texts[] = {
#define X(name, str, help) help,
		PATHS_WAYS(X)
#undef X
	};
	return texts[w];
}

static const char *const modes[] = {"auto", "native", "vxlan", "node-port", "none"}; /* as in the enum */

bool paths_mode_read(const char *name, enum paths_mode *out)
{
	for (unsigned i = 0; i < sizeof(modes) / sizeof(*modes); i++)
		if (strcmp(modes[i], name) == 0) {
			*out = (enum paths_mode)i;
			return true;
		}
	return false;
}

const char *paths_mode_name(enum paths_mode m)
{
	return modes[m];
}

static void __attribute__((format(printf, 3, 4))) none(struct paths_choice *out, bool is_wrong, const char *fmt, ...)
{
	va_list ap;

	out->way = PATHS_WAY_NONE;
	out->is_wrong = is_wrong;
	va_start(ap, fmt);
	vsnprintf(out->why, sizeof(out->why), fmt, ap);
	va_end(ap);
}

static void no_address(const struct node_facts *f, unsigned family, struct paths_choice *out)
{
	if (f->fault[family][0])
		none(out, true, "%s", f->fault[family]);
	else
		none(out, false, "the node has no IPv%c address as InternalIP", family ? '6' : '4');
}

/* ---- routed by the node */

/* flannel's host-gw routes by its public-ip, whatever the InternalIP is. */
static const struct weir_ip *router_of(const struct node_facts *f, unsigned family)
{
	bool is_host_gw = f->cni == NODE_CNI_FLANNEL && strcmp(f->backend, "host-gw") == 0;

	return is_host_gw && !ip_is_any(&f->public[family]) ? &f->public[family] : &f->internal[family];
}

static const char *native_reason(const struct paths_options *o, const struct node_facts *f)
{
	if (o->mode == PATHS_NATIVE)
		return "--paths native";
	if (f->cni == NODE_CNI_CILIUM)
		return "Cilium's prefix, and no near end of tunnels is given: routed by the node, which forwards to its own pods";
	if (f->cni != NODE_CNI_FLANNEL)
		return "podCIDR, routed by the node's InternalIP";
	if (strcmp(f->backend, "host-gw") == 0)
		return "flannel's host-gw";
	if (strcmp(f->backend, "vxlan") == 0)
		return "flannel's VXLAN, but no near end is known: routed by the node, which forwards to its own pods; it has to be on "
		       "our link, or routers have to lead there";
	return "flannel's backend is none that Weir speaks: routed by the node, which forwards to its own pods";
}

static void choose_native(const struct paths_options *o, const struct node_facts *f, unsigned family, struct paths_choice *out)
{
	const struct weir_ip *via = router_of(f, family);
	const struct ip_prefix prefix = {out->path.prefix, out->path.prefix_len};

	if (ip_is_any(via)) {
		no_address(f, family, out);
		return;
	}
	if (ip_in_prefix(via, &prefix.ip, prefix.len)) {
		none(out, true, "the node's address is one of those that it would lead to");
		return;
	}
	out->way = PATHS_WAY_NATIVE;
	out->path.kind = WEIR_PATH_ROUTE;
	out->path.via = *via;
	snprintf(out->why, sizeof(out->why), "%s", native_reason(o, f));
}

/* ---- through a tunnel */

/* Cilium looks at the VNI, not at the MAC address of the inner frame: one that is nobody's will do. */
static void make_mac(const struct weir_ip *ip, uint8_t mac[6])
{
	mac[0] = 0x02;
	mac[1] = 0;
	memcpy(mac + 2, ip->b + 12, 4);
}

static void choose_vxlan(const struct near_end *near, const struct node_facts *f, unsigned family, struct paths_choice *out)
{
	const struct weir_ip *internal = &f->internal[ip_is_any(&f->internal[0])];
	const struct weir_ip *via = f->cni == NODE_CNI_FLANNEL ? &f->public[family] : internal;
	const struct ip_prefix prefix = {out->path.prefix, out->path.prefix_len};

	if (ip_is_any(via)) {
		none(out, f->cni == NODE_CNI_FLANNEL, "a tunnel needs the %s that the node does not have",
		     f->cni == NODE_CNI_FLANNEL ? "public-ip of flannel" : "InternalIP");
		return;
	}
	if (ip_is4(via) == ip_is4(&prefix.ip) && ip_in_prefix(via, &prefix.ip, prefix.len)) {
		none(out, true, "the far end of the tunnel is one of the addresses that it would lead to");
		return;
	}
	if (f->cni == NODE_CNI_FLANNEL && f->end[family].vni != near->vtep[family].vni) {
		none(out, true, "its VNI %u is not %u, the near end's", f->end[family].vni, near->vtep[family].vni);
		return;
	}
	out->way = PATHS_WAY_VXLAN;
	out->path.kind = WEIR_PATH_VXLAN;
	out->path.via = *via;
	if (f->cni == NODE_CNI_FLANNEL)
		memcpy(out->path.mac, f->end[family].mac, 6);
	else
		make_mac(via, out->path.mac);
	snprintf(out->why, sizeof(out->why), "%s",
		 f->cni == NODE_CNI_FLANNEL ? "flannel's VXLAN" : "the near end of tunnels is given by --vtep: as Cilium's VTEP integration");
}

/* Whether the Node has a far end of tunnels like ours; else why not. */
static const char *no_tunnel(const struct paths_options *o, const struct near_end *near, const struct node_facts *f, unsigned family)
{
	if (f->cni == NODE_CNI_FLANNEL && strcmp(f->backend, "vxlan") != 0)
		return "flannel's backend is not VXLAN";
	if (f->cni != NODE_CNI_FLANNEL && (f->cni != NODE_CNI_CILIUM || !o->n_given))
		return f->cni == NODE_CNI_CILIUM ? "Cilium's VNI is to be given by --vtep" : "the Node names no VXLAN";
	if (!near_end_is_known(near, family))
		return "no near end is known (--vtep-node, --vtep)";
	if (f->cni == NODE_CNI_FLANNEL && !f->has_end[family])
		return "flannel names no VtepMAC of this family";
	return NULL;
}

/* ---- all */

static void choose_node_port(const struct node_facts *f, unsigned family, struct paths_choice *out)
{
	if (ip_is_any(&f->internal[family])) {
		no_address(f, family, out);
		return;
	}
	out->way = PATHS_WAY_NODE_PORT;
	out->path.via = f->internal[family];
	snprintf(out->why, sizeof(out->why), "--paths node-port");
}

static bool is_ours(const struct paths_options *o, const struct near_end *near, const struct node_facts *f, const struct ip_prefix *p)
{
	unsigned family = !ip_is4(&p->ip);

	if (o->vtep_node && strcmp(o->vtep_node, f->name) == 0)
		return true;
	return near_end_is_known(near, family) && ip_in_prefix(&near->vtep[family].source, &p->ip, p->len);
}

void paths_choose(const struct paths_options *o, const struct near_end *near, const struct node_facts *f,
		  const struct ip_prefix *prefix, struct paths_choice *out)
{
	unsigned family = !ip_is4(&prefix->ip);
	const char *why;

	*out = (struct paths_choice){.path = {.prefix = prefix->ip, .prefix_len = prefix->len}};
	if (is_ours(o, near, f, prefix)) {
		out->way = PATHS_WAY_OURS;
		snprintf(out->why, sizeof(out->why), "stands for our end of the tunnels");
	} else if (o->mode == PATHS_NODE_PORT) {
		choose_node_port(f, family, out);
	} else if (o->mode == PATHS_NATIVE) { /* whatever an overlay says */
		choose_native(o, f, family, out);
	} else if (f->fault[family][0]) {
		none(out, true, "%s", f->fault[family]);
	} else if (!(why = no_tunnel(o, near, f, family))) {
		choose_vxlan(near, f, family, out);
	} else if (o->mode == PATHS_VXLAN) {
		none(out, false, "%s", why);
	} else if (f->cni == NODE_CNI_CALICO) {
		none(out, false, "Calico's pods have addresses of its own blocks, not of podCIDRs: their ways come by BGP, or lead over gateways");
	} else {
		choose_native(o, f, family, out);
	}
}
