/* SPDX-License-Identifier: Apache-2.0 */
/* The lists routes and vxlan of weir.yaml. */
#include <ctype.h>
#include <stddef.h>
#include <string.h>

#include "config_pvt.h"
#include "snapshot/snapshot.h"

#define VXLAN_PORT "8472" /* as Linux, flannel and Cilium have it; RFC 7348 8 has 4789 */

void *config_begin_route(struct parse *p, void *section, const yaml_node_t *n)
{
	struct config *c = p->out;

	if (c->n_paths == CONFIG_MAX_PATHS) {
		parse_error(p, n, "routes: more than %u", CONFIG_MAX_PATHS);
		return NULL;
	}
	p->path_at[c->n_paths] = n;
	c->paths[c->n_paths].kind = WEIR_PATH_ROUTE;
	return &c->paths[c->n_paths++];
}

void *config_begin_vxlan(struct parse *p, void *section, const yaml_node_t *n)
{
	if (p->n_vteps == 2) {
		parse_error(p, n, "vxlan: more than one end for each family");
		return NULL;
	}
	p->vtep_at[p->n_vteps] = n;
	p->vteps[p->n_vteps].port = 8472;
	return &p->vteps[p->n_vteps++];
}

static void set_prefix(struct parse *p, const struct key *k, void *section, const yaml_node_t *n)
{
	struct weir_pod_path *path = section;
	const char *text = parse_scalar(n);
	const char *slash = text ? strchr(text, '/') : NULL;
	uint64_t len;

	if (!slash || ip_parse(text, (size_t)(slash - text), &path->prefix) != 0 ||
	    !parse_number(slash + 1, 0, ip_is4(&path->prefix) ? 32 : 128, &len))
		parse_error(p, n, "%s: expected %s", k->name, k->expect);
	else
		path->prefix_len = (uint8_t)len;
}

static void set_ip(struct parse *p, const struct key *k, void *section, const yaml_node_t *n)
{
	const char *text = parse_scalar(n);

	if (!text || ip_parse(text, strlen(text), (struct weir_ip *)(void *)((char *)section + k->offset)) != 0)
		parse_error(p, n, "%s: expected an IPv4 or IPv6 address", k->name);
}

static unsigned digit(char c)
{
	return c <= '9' ? (unsigned)(c - '0') : (unsigned)(tolower((unsigned char)c) - 'a' + 10);
}

/* "02:00:00:00:00:01" */
static bool parse_mac(const char *text, uint8_t mac[6])
{
	if (strlen(text) != 17)
		return false;
	for (unsigned i = 0; i < 6; i++, text += 3) {
		if (!isxdigit((unsigned char)text[0]) || !isxdigit((unsigned char)text[1]) || (i < 5 && text[2] != ':'))
			return false;
		mac[i] = (uint8_t)(digit(text[0]) << 4 | digit(text[1]));
	}
	return true;
}

static void set_mac(struct parse *p, const struct key *k, void *section, const yaml_node_t *n)
{
	const char *text = parse_scalar(n);

	if (!text || !parse_mac(text, (uint8_t *)section + k->offset))
		parse_error(p, n, "%s: expected a link address, such as 02:00:00:00:00:01", k->name);
}

static void set_tunnel_mac(struct parse *p, const struct key *k, void *section, const yaml_node_t *n)
{
	struct weir_pod_path *path = section;

	path->kind = WEIR_PATH_VXLAN;
	set_mac(p, k, section, n);
}

static void set_any_vni(struct parse *p, const struct key *k, void *section, const yaml_node_t *n)
{
	struct weir_vtep *v = section;
	const char *text = parse_scalar(n);

	if (!text || (strcmp(text, "true") != 0 && strcmp(text, "false") != 0))
		parse_error(p, n, "%s: expected true or false", k->name);
	else
		v->flags = text[0] == 't' ? WEIR_VTEP_ANY_VNI : 0;
}

static void check_vteps(struct parse *p)
{
	for (unsigned i = 0; i < p->n_vteps; i++) {
		const struct weir_vtep *v = &p->vteps[i];
		unsigned family = ip_is4(&v->source) ? 0 : 1;
		const char *fault = paths_vtep_fault(v, family == 0);

		if (fault)
			parse_error(p, p->vtep_at[i], "vxlan: %s", fault);
		else if (paths_has_vtep(&p->out->vtep[family]))
			parse_error(p, p->vtep_at[i], "vxlan: a second end for IPv%c; expected one for each family", family ? '6' : '4');
		else
			p->out->vtep[family] = *v;
		for (unsigned k = 0; k < p->out->n_ifaces; k++)
			for (unsigned a = 0; a < p->out->ifaces[k].net.n_addrs; a++)
				if (ip_eq(&p->out->ifaces[k].net.addrs[a].ip, &v->source))
					parse_error(p, p->vtep_at[i], "vxlan: its source is an address of a port; expected one that only tunnels have");
	}
}

void config_check_paths(struct parse *p)
{
	const struct config *c = p->out;

	check_vteps(p);
	for (unsigned i = 0; i < c->n_paths; i++) {
		const struct weir_pod_path *path = &c->paths[i];
		const struct weir_vtep *v = &c->vtep[ip_is4(&path->prefix) ? 0 : 1];
		const char *fault = paths_fault(path, paths_has_vtep(v) ? v : NULL);

		if (fault)
			parse_error(p, p->path_at[i], "routes: %s", fault);
		for (unsigned k = 0; k < i; k++)
			if (ip_eq(&path->prefix, &c->paths[k].prefix) && path->prefix_len == c->paths[k].prefix_len)
				parse_error(p, p->path_at[i], "routes: a second way to one prefix; expected one");
	}
}

const struct key config_route_keys[] = {
	{.name = "prefix", .type = KEY_CUSTOM, .set = set_prefix, .expect = "a prefix, such as 10.244.1.0/24 or 2001:db8:1::/64",
	 .help = "Whom it leads to. Required."},
	{.name = "via", .type = KEY_CUSTOM, .offset = offsetof(struct weir_pod_path, via), .set = set_ip, .expect = "an address",
	 .help = "The next hop, of the prefix's family; where it is not on a port's link, the gateway that leads to it is. Or, with `mac`, the "
		 "far end of a tunnel, of any family. Required."},
	{.name = "mac", .type = KEY_CUSTOM, .offset = offsetof(struct weir_pod_path, mac), .set = set_tunnel_mac, .expect = "a link address",
	 .def = "none", .help = "The link address that the far end has within the tunnel: then the way is a VXLAN tunnel, whose near end is `vxlan`."},
	{0},
};

const struct key config_vxlan_keys[] = {
	{.name = "source", .type = KEY_CUSTOM, .offset = offsetof(struct weir_vtep, source), .set = set_ip, .expect = "an address",
	 .help = "Our address within the tunnels, of the pods' family: packets to pods come from it. No port has it. Required."},
	{.name = "mac", .type = KEY_CUSTOM, .offset = offsetof(struct weir_vtep, mac), .set = set_mac, .expect = "a link address",
	 .help = "Our link address within the tunnels. Required."},
	{.name = "vni", .type = KEY_U32, .offset = offsetof(struct weir_vtep, vni), .min = 0, .max = 0xffffff, .help = "The VXLAN's number. 0 if it is not said."},
	{.name = "any_vni", .type = KEY_CUSTOM, .set = set_any_vni, .expect = "true or false",
	 .help = "Take packets of any number: there it says who sent them. If it is not said, false."},
	{.name = "port", .type = KEY_U16, .offset = offsetof(struct weir_vtep, port), .min = 1, .max = 65535,
	 .help = "UDP port of both ends. If it is not said, " VXLAN_PORT ", as Linux has it; RFC 7348 has 4789."},
	{0},
};
