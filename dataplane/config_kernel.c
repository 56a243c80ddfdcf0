/* SPDX-License-Identifier: Apache-2.0 */
/* What weir.yaml says of the kernel beside Weir: the TAP of a port, the rates of the exception path, and the section `bgp`. */
#include <ctype.h>
#include <net/if.h>
#include <stddef.h>
#include <string.h>

#include "config_pvt.h"

#define OFF(field) offsetof(struct config, field)
#define U32(key, field, lo, hi, text, words) \
	{.name = key, .type = KEY_U32, .offset = OFF(field), .min = lo, .max = hi, .def = text, .help = words}

static struct config_kernel *kernel_of(struct parse *p, void *section)
{
	return &p->out->ports[((struct config_iface *)section)->port].kernel;
}

/* What the kernel takes as an interface's name (dev_valid_name()). */
static bool is_interface_name(const char *s)
{
	size_t n = strlen(s);

	for (size_t i = 0; i < n; i++)
		if (s[i] == '/' || s[i] == ':' || s[i] == '%' || !isgraph((unsigned char)s[i]))
			return false;
	return n > 0 && n < IF_NAMESIZE && strcmp(s, ".") != 0 && strcmp(s, "..") != 0;
}

static void set_interface(struct parse *p, const struct key *k, void *section, const yaml_node_t *n)
{
	const char *text = parse_scalar(n);

	if (!text || !is_interface_name(text)) {
		parse_error(p, n, "%s: expected %s", k->name, k->expect);
		return;
	}
	strcpy(kernel_of(p, section)->interface, text);
}

static void add_kernel_address(struct parse *p, const struct key *k, void *arg, const yaml_node_t *n)
{
	struct config_kernel *c = arg;
	struct net_addr a;

	if (!parse_host_address(p, k, n, &a))
		return;
	if (c->n_addrs == CONFIG_MAX_KERNEL_ADDRS) {
		parse_error(p, n, "%s: more than %u addresses", k->name, CONFIG_MAX_KERNEL_ADDRS);
		return;
	}
	c->addrs[c->n_addrs++] = a;
}

static void set_kernel_addresses(struct parse *p, const struct key *k, void *section, const yaml_node_t *n)
{
	parse_each(p, k, n, kernel_of(p, section), add_kernel_address);
}

static void set_learns(struct parse *p, const struct key *k, void *section, const yaml_node_t *n)
{
	const char *text = parse_scalar(n);

	if (text && (strcmp(text, "true") == 0 || strcmp(text, "false") == 0))
		kernel_of(p, section)->learns = text[0] == 't';
	else
		parse_error(p, n, "%s: expected true or false", k->name);
}

const struct key config_port_kernel_keys[] = {
	{.name = "interface", .type = KEY_CUSTOM, .set = set_interface, .expect = "the name of a network interface, up to 15 characters",
	 .help = "Name of the TAP that the dataplane makes beside the port, with the port's link address and MTU. Required."},
	{.name = "addresses", .type = KEY_CUSTOM, .set = set_kernel_addresses, .def = "none",
	 .expect = "a list of addresses with prefix length",
	 .help = "Addresses that the interface is given at start. One that the port has as well is shared: Weir takes what its "
		 "listeners and connections want of it, the kernel all else."},
	{.name = "learn_routes", .type = KEY_CUSTOM, .set = set_learns, .def = "false", .expect = "true or false",
	 .help = "Routes of the kernel's main table that lead over this interface by a gateway are Weir's, too, such as those that BGP taught it. A default "
		 "route comes before `gateways`."},
	{0},
};

const struct key config_kernel_path_keys[] = {
	U32("routing_per_s", kernel_per_s[PUNT_ROUTING], 1, PUNT_MAX_PER_S, "20000", "BGP, BFD, OSPF, IS-IS, VRRP, PIM, IGMP."),
	U32("neighbour_per_s", kernel_per_s[PUNT_NEIGHBOUR], 1, PUNT_MAX_PER_S, "2000", "ARP and neighbour discovery."),
	U32("management_per_s", kernel_per_s[PUNT_MANAGEMENT], 1, PUNT_MAX_PER_S, "20000", "ssh and DHCP."),
	U32("icmp_per_s", kernel_per_s[PUNT_ICMP], 1, PUNT_MAX_PER_S, "2000", "ICMP and ICMPv6, but neighbour discovery."),
	U32("other_per_s", kernel_per_s[PUNT_OTHER], 1, PUNT_MAX_PER_S, "20000", "All else, such as connections to other services of the host."),
	{0},
};

static bool read_address(struct parse *p, const struct key *k, const yaml_node_t *n, struct weir_ip *out)
{
	const char *text = parse_scalar(n);

	if (text && ip_parse(text, strlen(text), out) == 0)
		return true;
	parse_error(p, n, "%s: expected %s", k->name, k->expect);
	return false;
}

static void set_asn(struct parse *p, const struct key *k, void *section, const yaml_node_t *n)
{
	const char *text = parse_scalar(n);
	uint64_t v;

	if (text && parse_number(text, 1, UINT32_MAX - 1, &v))
		*(uint32_t *)(void *)((char *)section + k->offset) = (uint32_t)v;
	else
		parse_error(p, n, "%s: expected %s", k->name, k->expect);
}

static void set_router_id(struct parse *p, const struct key *k, void *section, const yaml_node_t *n)
{
	struct weir_ip *ip = &((struct config *)section)->bgp.router_id;

	if (read_address(p, k, n, ip) && !ip_is4(ip))
		parse_error(p, n, "%s: expected %s", k->name, k->expect);
}

static void set_neighbor_address(struct parse *p, const struct key *k, void *section, const yaml_node_t *n)
{
	read_address(p, k, n, &((struct config_neighbor *)section)->address);
}

static void set_flag(struct parse *p, const struct key *k, void *section, const yaml_node_t *n)
{
	const char *text = parse_scalar(n);

	if (text && (strcmp(text, "true") == 0 || strcmp(text, "false") == 0))
		*(bool *)((char *)section + k->offset) = text[0] == 't';
	else
		parse_error(p, n, "%s: expected true or false", k->name);
}

static void *begin_neighbor(struct parse *p, void *section, const yaml_node_t *n)
{
	struct config_bgp *b = &((struct config *)section)->bgp;

	if (b->n_neighbors == CONFIG_MAX_NEIGHBORS) {
		parse_error(p, n, "more than %u neighbors", CONFIG_MAX_NEIGHBORS);
		return NULL;
	}
	p->neighbor_at[b->n_neighbors] = n;
	return &b->neighbors[b->n_neighbors++];
}

static void add_announce(struct parse *p, const struct key *k, void *arg, const yaml_node_t *n)
{
	struct config_bgp *b = arg;
	struct weir_ip ip;

	if (!read_address(p, k, n, &ip))
		return;
	if (b->n_announce == CONFIG_MAX_LISTEN) {
		parse_error(p, n, "%s: more than %u addresses", k->name, CONFIG_MAX_LISTEN);
		return;
	}
	p->announce_at[b->n_announce] = n;
	b->announce[b->n_announce++] = ip;
}

static void set_announce(struct parse *p, const struct key *k, void *section, const yaml_node_t *n)
{
	parse_each(p, k, n, &((struct config *)section)->bgp, add_announce);
}

#define NEIGHBOR(field) offsetof(struct config_neighbor, field)

static const struct key neighbor_keys[] = {
	{.name = "address", .type = KEY_CUSTOM, .set = set_neighbor_address, .expect = "an IPv4 or IPv6 address",
	 .help = "Address of the router. Required."},
	{.name = "asn", .type = KEY_CUSTOM, .set = set_asn, .offset = NEIGHBOR(asn), .expect = "a number from 1 to 4294967294",
	 .help = "Its autonomous system. Required."},
	{.name = "password_file", .type = KEY_TEXT, .offset = NEIGHBOR(password_file), .max = sizeof(((struct config_neighbor *)0)->password_file),
	 .def = "none", .help = "File whose first line is the key of TCP-MD5 (RFC 2385)."},
	{.name = "bfd", .type = KEY_CUSTOM, .set = set_flag, .offset = NEIGHBOR(bfd), .def = "false", .expect = "true or false",
	 .help = "Notice by BFD (RFC 5880) when the way to it is gone. FRR's bfdd must run."},
	{.name = "multihop", .type = KEY_CUSTOM, .set = set_flag, .offset = NEIGHBOR(multihop), .def = "false", .expect = "true or false",
	 .help = "The router is not on the link."},
	{0},
};

const struct key config_bgp_keys[] = {
	{.name = "asn", .type = KEY_CUSTOM, .set = set_asn, .offset = OFF(bgp.asn), .expect = "a number from 1 to 4294967294",
	 .help = "Our autonomous system. Required in this section."},
	{.name = "router_id", .type = KEY_CUSTOM, .set = set_router_id, .def = "the first IPv4 address of the kernel's on a port",
	 .expect = "an IPv4 address", .help = "Ours, the same for all neighbors and no other router's."},
	{.name = "announce", .type = KEY_CUSTOM, .set = set_announce, .def = "all addresses on which Weir serves",
	 .expect = "a list of addresses",
	 .help = "Each is announced as a route of its own (/32, /128) while Weir serves, and withdrawn when it does not. Each is one of a port's that has `kernel`."},
	{.name = "neighbors", .type = KEY_LIST, .keys = neighbor_keys, .begin = begin_neighbor,
	 .help = "Routers to which `weir-dataplane --print-frr` configures sessions. Whoever writes FRR's configuration otherwise needs none here."},
	U32("keepalive_s", bgp.keepalive_s, 1, 3600, "3", "Keep-alive messages of the sessions."),
	U32("hold_s", bgp.hold_s, 3, 10800, "9", "A session without any message for so long is over."),
	U32("withdraw_ms", bgp.withdraw_ms, 0, 600000, "2000",
	    "From the withdrawal at a drain to the end of taking new connections: as long as routers may still send some."),
	{0},
};

static bool port_has(const struct config *c, unsigned port, const struct weir_ip *ip)
{
	for (unsigned i = 0; i < c->n_ifaces; i++)
		for (unsigned k = 0; c->ifaces[i].port == port && k < c->ifaces[i].net.n_addrs; k++)
			if (ip_eq(&c->ifaces[i].net.addrs[k].ip, ip))
				return true;
	return false;
}

int config_kernel_port(const struct config *c, const struct weir_ip *ip)
{
	for (unsigned i = 0; i < c->n_ports; i++)
		if (c->ports[i].kernel.interface[0] && port_has(c, i, ip))
			return (int)i;
	return -1;
}

static void mark_shared(struct config *c, unsigned port, const struct weir_ip *ip)
{
	for (unsigned i = 0; i < c->n_ifaces; i++)
		for (unsigned k = 0; c->ifaces[i].port == port && k < c->ifaces[i].net.n_addrs; k++)
			if (ip_eq(&c->ifaces[i].net.addrs[k].ip, ip))
				c->ifaces[i].net.addrs[k].is_shared = true;
}

static void check_port(struct parse *p, unsigned port)
{
	const struct config_kernel *k = &p->out->ports[port].kernel;

	if (!k->interface[0] && (k->n_addrs || k->learns))
		parse_error(p, p->ports_at, "ports: kernel of port %u has no interface; expected its name", port);
	for (unsigned i = 0; i < port; i++)
		if (k->interface[0] && strcmp(k->interface, p->out->ports[i].kernel.interface) == 0)
			parse_error(p, p->ports_at, "ports: two ports with the kernel's interface %s; expected a name of its own for each",
				    k->interface);
	for (unsigned i = 0; i < k->n_addrs; i++)
		mark_shared(p->out, port, &k->addrs[i].ip);
}

static void announce(struct config_bgp *b, const struct weir_ip *ip)
{
	if (b->n_announce < CONFIG_MAX_LISTEN)
		b->announce[b->n_announce++] = *ip;
}

/* What is served is announced, where nothing else is said. */
static void default_announce(struct config *c)
{
	for (unsigned i = 0; i < c->n_listen; i++)
		if (config_kernel_port(c, &c->listen[i]) >= 0)
			announce(&c->bgp, &c->listen[i]);
	for (unsigned i = 0; !c->n_listen && i < c->n_ifaces; i++)
		for (unsigned k = 0; k < c->ifaces[i].net.n_addrs; k++)
			if (c->ports[c->ifaces[i].port].kernel.interface[0])
				announce(&c->bgp, &c->ifaces[i].net.addrs[k].ip);
}

static void default_router_id(struct config *c)
{
	for (unsigned i = 0; i < c->n_ports && ip_is_any(&c->bgp.router_id); i++)
		for (unsigned k = 0; k < c->ports[i].kernel.n_addrs; k++)
			if (ip_is4(&c->ports[i].kernel.addrs[k].ip)) {
				c->bgp.router_id = c->ports[i].kernel.addrs[k].ip;
				break;
			}
}

static void check_bgp(struct parse *p)
{
	struct config_bgp *b = &p->out->bgp;
	char text[IP_TEXT_MAX];

	if (!b->asn) {
		parse_error(p, p->bgp_at, "bgp: asn is missing; expected the number of our autonomous system");
		return;
	}
	if (b->hold_s < 3 * b->keepalive_s)
		parse_error(p, p->bgp_at, "bgp: hold_s is less than three times keepalive_s (RFC 4271 10)");
	for (unsigned i = 0; i < b->n_announce; i++)
		if (config_kernel_port(p->out, &b->announce[i]) < 0)
			parse_error(p, p->announce_at[i], "announce: %s is no address of a port that has `kernel`", ip_format(&b->announce[i], text));
	for (unsigned i = 0; i < b->n_neighbors; i++)
		if (ip_is_any(&b->neighbors[i].address) || !b->neighbors[i].asn)
			parse_error(p, p->neighbor_at[i], "neighbors: expected address and asn of each");
	if (!b->n_announce)
		default_announce(p->out);
	if (!b->n_announce)
		parse_error(p, p->bgp_at, "bgp: nothing to announce; expected `kernel` at the port whose addresses Weir serves on");
	default_router_id(p->out);
	if (b->n_neighbors && ip_is_any(&b->router_id))
		parse_error(p, p->bgp_at, "bgp: router_id is missing, and no port's kernel has an IPv4 address to take for it");
}

void config_check_kernel(struct parse *p)
{
	for (unsigned i = 0; i < p->out->n_ports; i++)
		check_port(p, i);
	if (p->bgp_at)
		check_bgp(p);
}
