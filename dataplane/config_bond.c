/* SPDX-License-Identifier: Apache-2.0 */
/* weir.yaml: ports[].bond. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "config_pvt.h"

static struct config_port *port_of(struct parse *p, void *section)
{
	const struct config_iface *f = section;

	return &p->out->ports[f->port];
}

bool config_is_pci_address(const char *s)
{
	static const char form[] = "xxxx:xx:xx.d";

	if (strlen(s) != sizeof(form) - 1)
		return false;
	for (size_t i = 0; form[i]; i++) {
		if (form[i] == 'x' ? !isxdigit((unsigned char)s[i])
				   : form[i] == 'd' ? s[i] < '0' || s[i] > '7' : s[i] != form[i])
			return false;
	}
	return true;
}

static void set_mode(struct parse *p, const struct key *k, void *section, const yaml_node_t *n)
{
	struct config_port *port = port_of(p, section);
	const char *text = parse_scalar(n);
	int mode = text ? port_bond_mode(text) : -1;

	if (mode < 0) {
		parse_error(p, n, "%s: expected %s", k->name, k->expect);
		return;
	}
	port->bond.mode = (uint8_t)mode;
	port->has_bond_mode = true;
}

static void add_member(struct parse *p, const struct key *k, void *section, const yaml_node_t *n)
{
	struct config_port *port = port_of(p, section);
	struct net_bond *b = &port->bond;
	const char *text = parse_scalar(n);

	if (!text || (!config_is_pci_address(text) && strncmp(text, "net_", 4) != 0)) {
		parse_error(p, n, "%s: expected PCI addresses and virtual devices", k->name);
		return;
	}
	if (strlen(text) >= sizeof(b->members[0])) {
		parse_error(p, n, "%s: longer than %zu bytes", k->name, sizeof(b->members[0]) - 1);
		return;
	}
	if (b->n_members == NET_BOND_MEMBERS) {
		parse_error(p, n, "%s: more than %u", k->name, NET_BOND_MEMBERS);
		return;
	}
	for (unsigned i = 0; i < b->n_members; i++)
		if (strcmp(b->members[i], text) == 0)
			parse_error(p, n, "%s: %s twice", k->name, text);
	strcpy(b->members[b->n_members++], text);
}

static void set_members(struct parse *p, const struct key *k, void *section, const yaml_node_t *n)
{
	const struct config_iface *f = section;
	struct config_port *port = port_of(p, section);

	if (port->device[0]) {
		parse_error(p, n, "%s: the port has a device already; expected one of pci, vdev and bond", k->name);
		return;
	}
	snprintf(port->device, sizeof(port->device), "net_bonding%u", f->port);
	port->has_bond = true;
	parse_each(p, k, n, section, add_member);
	if (!port->bond.n_members)
		parse_error(p, n, "%s: expected at least one", k->name);
}

const struct key config_bond_keys[] = {
	{.name = "mode", .type = KEY_CUSTOM, .set = set_mode, .def = "802.3ad", .expect = "802.3ad, active-backup or balance-xor",
	 .help = "`802.3ad`: LACP, with a switch that speaks it on these ports. A member whose device sees no loss of its link is left 90 s after "
		 "the switch's last word. `active-backup`: one member at a time; needs nothing of the switch. `balance-xor`: all, by a hash of addresses "
		 "and ports; the switch has a static group."},
	{.name = "members", .type = KEY_CUSTOM, .set = set_members, .expect = "a list of devices, each as in pci or vdev",
	 .help = "The devices, eight at most, each a PCI address or a virtual device. Required. All need a queue pair for each worker. "
		 "What all of them can do the bond can do."},
	{0},
};

void config_check_bonds(struct parse *p)
{
	struct config *c = p->out;

	for (unsigned i = 0; i < c->n_ports; i++) {
		struct config_port *port = &c->ports[i];

		if (port->has_bond_mode && !port->has_bond)
			parse_error(p, p->ports_at, "bond: members: missing; expected at least one");
		if (port->has_bond && !port->has_bond_mode)
			port->bond.mode = (uint8_t)port_bond_mode("802.3ad");
	}
	if (config_pci(c, 0) && !c->hugepages)
		parse_error(p, p->ports_at, "memory: PCI port %s needs hugepages: true", config_pci(c, 0));
}

const char *config_pci(const struct config *c, unsigned i)
{
	for (unsigned k = 0; k < c->n_ports; k++) {
		const struct config_port *port = &c->ports[k];

		if (port->is_pci && i-- == 0)
			return port->device;
		for (unsigned m = 0; m < port->bond.n_members; m++)
			if (config_is_pci_address(port->bond.members[m]) && i-- == 0)
				return port->bond.members[m];
	}
	return NULL;
}
