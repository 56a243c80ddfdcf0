/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads weir.yaml by the table in config_keys.c. Every error is reported, not
 * only the first; the checks that span keys come last.
 */
#include <rte_ether.h>
#include <rte_mbuf.h>

#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "config_pvt.h"
#include "weir/snapshot.h"

#define MAX_FILE_BYTES (1u << 20)

void parse_error(struct parse *p, const yaml_node_t *at, const char *fmt, ...)
{
	va_list ap;

	p->n_errors++;
	fprintf(p->err, "%s:%zu:%zu: ", p->name, at ? at->start_mark.line + 1 : 1, at ? at->start_mark.column + 1 : 1);
	va_start(ap, fmt);
	vfprintf(p->err, fmt, ap);
	va_end(ap);
	fputc('\n', p->err);
}

const char *parse_scalar(const yaml_node_t *n)
{
	if (n->type != YAML_SCALAR_NODE || strlen((const char *)n->data.scalar.value) != n->data.scalar.length)
		return NULL;
	return (const char *)n->data.scalar.value;
}

bool parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;

	if (!*text || strlen(text) > 18)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		v = v * 10 + (uint64_t)(*text - '0');
	}
	*out = v;
	return v >= min && v <= max;
}

void parse_each(struct parse *p, const struct key *k, const yaml_node_t *n, void *arg,
		void (*fn)(struct parse *p, const struct key *k, void *arg, const yaml_node_t *item))
{
	if (n->type != YAML_SEQUENCE_NODE) {
		parse_error(p, n, "%s: expected %s", k->name, k->expect ? k->expect : "a list");
		return;
	}
	for (const yaml_node_item_t *i = n->data.sequence.items.start; i < n->data.sequence.items.top; i++)
		fn(p, k, arg, yaml_document_get_node(p->doc, *i));
}

static void expect_number(struct parse *p, const struct key *k, const yaml_node_t *n)
{
	parse_error(p, n, "%s: expected a number from %llu to %llu", k->name, (unsigned long long)k->min,
		    (unsigned long long)k->max);
}

static void parse_section(struct parse *p, const struct key *keys, const char *where, void *section, const yaml_node_t *n);

static void parse_list_item(struct parse *p, const struct key *k, void *section, const yaml_node_t *item)
{
	void *element;

	if (item->type != YAML_MAPPING_NODE) {
		parse_error(p, item, "%s: expected a list of mappings", k->name);
		return;
	}
	element = k->begin(p, section, item);
	if (element)
		parse_section(p, k->keys, k->name, element, item);
}

static void parse_text(struct parse *p, const struct key *k, char *field, const yaml_node_t *n)
{
	const char *text = parse_scalar(n);

	if (!text || !*text || strlen(text) >= k->max)
		parse_error(p, n, "%s: expected a text of 1 to %llu bytes", k->name, (unsigned long long)k->max - 1);
	else
		strcpy(field, text);
}

static void parse_value(struct parse *p, const struct key *k, void *section, const yaml_node_t *n)
{
	char *field = (char *)section + k->offset;
	const char *text = parse_scalar(n);
	uint64_t v;

	switch (k->type) {
	case KEY_U16:
	case KEY_U32:
	case KEY_INT:
		if (!text || !parse_number(text, k->min, k->max, &v))
			expect_number(p, k, n);
		else if (k->type == KEY_U16)
			*(uint16_t *)(void *)field = (uint16_t)v;
		else
			*(uint32_t *)(void *)field = (uint32_t)v;
		break;
	case KEY_BOOL:
		if (!text || (strcmp(text, "true") != 0 && strcmp(text, "false") != 0))
			parse_error(p, n, "%s: expected true or false", k->name);
		else
			*(bool *)field = text[0] == 't';
		break;
	case KEY_TEXT:
		parse_text(p, k, field, n);
		break;
	case KEY_SECTION:
		parse_section(p, k->keys, k->name, section, n);
		break;
	case KEY_LIST:
		parse_each(p, k, n, section, parse_list_item);
		break;
	case KEY_CUSTOM:
		k->set(p, k, section, n);
		break;
	}
}

/* "cores, main_core, idle" */
static void list_names(const struct key *keys, char *out, size_t cap)
{
	size_t n = 0;

	out[0] = 0;
	for (const struct key *k = keys; k->name && n < cap; k++)
		n += (size_t)snprintf(out + n, cap - n, "%s%s", k == keys ? "" : ", ", k->name);
}

static const struct key *find_key(struct parse *p, const struct key *keys, const char *where, const yaml_node_t *name)
{
	const char *text = parse_scalar(name);
	char names[512];

	for (const struct key *k = keys; text && k->name; k++)
		if (strcmp(k->name, text) == 0)
			return k;
	list_names(keys, names, sizeof(names));
	parse_error(p, name, "unknown key '%.64s'%s%s; expected one of: %s", text ? text : "?", where[0] ? " in " : "", where,
		    names);
	return NULL;
}

static void note_place(struct parse *p, const struct key *keys, const struct key *k, const yaml_node_t *name)
{
	if (keys != config_keys)
		return;
	if (strcmp(k->name, "ports") == 0)
		p->ports_at = name;
	else if (strcmp(k->name, "pools") == 0)
		p->pools_at = name;
	else if (strcmp(k->name, "limits") == 0)
		p->limits_at = name;
	else if (strcmp(k->name, "bgp") == 0)
		p->bgp_at = name;
}

static void parse_section(struct parse *p, const struct key *keys, const char *where, void *section, const yaml_node_t *n)
{
	uint64_t seen = 0;

	if (n->type != YAML_MAPPING_NODE) {
		char names[512];

		list_names(keys, names, sizeof(names));
		parse_error(p, n, "%s%sexpected a mapping with keys out of: %s", where, where[0] ? ": " : "", names);
		return;
	}
	for (const yaml_node_pair_t *i = n->data.mapping.pairs.start; i < n->data.mapping.pairs.top; i++) {
		const yaml_node_t *name = yaml_document_get_node(p->doc, i->key);
		const struct key *k = find_key(p, keys, where, name);
		uint64_t bit;

		if (!k)
			continue;
		bit = 1ull << (k - keys);
		if (seen & bit) {
			parse_error(p, name, "%s: given twice; expected once", k->name);
			continue;
		}
		seen |= bit;
		note_place(p, keys, k, name);
		parse_value(p, k, section, yaml_document_get_node(p->doc, i->value));
	}
}

/* Numbers and texts get their defaults by the same table. */
static void set_defaults(const struct key *keys, struct config *c)
{
	for (const struct key *k = keys; k->name; k++) {
		char *field = (char *)c + k->offset;
		uint64_t v;

		if (k->type == KEY_SECTION)
			set_defaults(k->keys, c);
		if (!k->def)
			continue;
		if (k->type == KEY_BOOL)
			*(bool *)field = k->def[0] == 't';
		else if (k->type == KEY_TEXT && k->def[0] == '/')
			strcpy(field, k->def);
		else if (k->type == KEY_U32 && parse_number(k->def, 0, UINT32_MAX, &v))
			*(uint32_t *)(void *)field = (uint32_t)v;
		else if (k->type == KEY_U16 && parse_number(k->def, 0, UINT16_MAX, &v))
			*(uint16_t *)(void *)field = (uint16_t)v;
	}
}

static bool has_address(const struct config *c, const struct weir_ip *ip)
{
	for (unsigned i = 0; i < c->n_ifaces; i++)
		for (unsigned j = 0; j < c->ifaces[i].net.n_addrs; j++)
			if (ip_eq(&c->ifaces[i].net.addrs[j].ip, ip))
				return true;
	return false;
}

static bool is_on_link(const struct net_iface *f, const struct weir_ip *ip)
{
	for (unsigned i = 0; i < f->n_addrs; i++)
		if (ip_in_prefix(ip, &f->addrs[i].ip, f->addrs[i].prefix_len))
			return true;
	return false;
}

static void check_iface(struct parse *p, unsigned i)
{
	const struct config *c = p->out;
	const struct net_iface *f = &c->ifaces[i].net;
	const struct weir_ip *gws[] = {f->has_gw4 ? &f->gw4 : NULL, f->has_gw6 ? &f->gw6 : NULL};
	char text[IP_TEXT_MAX];

	for (unsigned g = 0; g < 2; g++)
		if (gws[g] && !is_on_link(f, gws[g]))
			parse_error(p, p->iface_at[i], "gateways: %s is in no prefix of its interface's addresses",
				    ip_format(gws[g], text));
	for (unsigned j = 0; j < i; j++)
		if (c->ifaces[j].port == c->ifaces[i].port && c->ifaces[j].net.vlan == f->vlan)
			parse_error(p, p->iface_at[i], "ports: two interfaces with VLAN %u on one port; expected an id of its own for each",
				    f->vlan);
	for (unsigned a = 0; a < f->n_addrs; a++)
		for (unsigned j = 0; j <= i; j++)
			for (unsigned b = 0; b < c->ifaces[j].net.n_addrs && (j < i || b < a); b++)
				if (ip_eq(&f->addrs[a].ip, &c->ifaces[j].net.addrs[b].ip))
					parse_error(p, p->iface_at[i], "addresses: %s twice; expected each address once",
						    ip_format(&f->addrs[a].ip, text));
}

static bool is_listened(const struct config *c, const struct weir_ip *ip)
{
	for (unsigned i = 0; i < c->n_listen; i++)
		if (ip_eq(&c->listen[i], ip))
			return true;
	return false;
}

/* Marks what is handed over. Something must be left to speak to endpoints from. */
static void check_handover(struct parse *p)
{
	struct config *c = p->out;
	unsigned n_own = 0;

	for (unsigned i = 0; c->hands_over && i < c->n_ifaces; i++)
		for (unsigned k = 0; k < c->ifaces[i].net.n_addrs; k++) {
			struct net_addr *a = &c->ifaces[i].net.addrs[k];

			a->is_served = is_listened(c, &a->ip);
			n_own += !a->is_served;
		}
	if (c->hands_over && (!c->n_listen || !n_own))
		parse_error(p, p->ports_at, "handover: expected `listen`, which says what is handed over, and an address besides those in it");
}

static void check_listen(struct parse *p)
{
	const struct config *c = p->out;
	unsigned n_addrs = 0;
	char text[IP_TEXT_MAX];

	for (unsigned i = 0; i < c->n_ifaces; i++)
		n_addrs += c->ifaces[i].net.n_addrs;
	if (!n_addrs)
		parse_error(p, p->ports_at, "ports: no port has an address; expected at least one");
	check_handover(p);
	for (unsigned i = 0; i < c->n_listen; i++)
		if (!has_address(c, &c->listen[i]))
			parse_error(p, p->listen_at[i], "listen: %s is not among the ports' addresses", ip_format(&c->listen[i], text));
}

/* What no single key can tell. */
static void check_whole(struct parse *p)
{
	struct config *c = p->out;
	uint32_t head_bytes = 2 * c->headers_bytes + 4096 + 2 * WEIR_MAX_FILTER_BYTES + WEIR_MAX_CLIENT_CERT_BYTES; /* and what is added to it */

	if (!c->n_ports)
		parse_error(p, p->ports_at, "ports: missing; expected at least one port");
	for (unsigned i = 0; i < c->n_ports; i++)
		if (!c->ports[i].device[0])
			parse_error(p, p->ports_at, "ports: port %u has no device; expected pci, vdev or bond", i);
	config_check_bonds(p);
	for (unsigned i = 0; i < c->n_ifaces; i++)
		check_iface(p, i);
	if (c->n_ports)
		check_listen(p);
	config_check_paths(p);
	config_check_tcp(p);
	config_check_kernel(p);
	config_check_offload(p);
	if (!c->n_workers)
		c->worker_cores[c->n_workers++] = 0;
	if (c->redirect_ring & (c->redirect_ring - 1))
		parse_error(p, p->pools_at, "redirect_ring: %u is not a power of two", c->redirect_ring);
	if (c->port_hi < c->port_lo || (c->port_hi - c->port_lo + 1u) / c->n_workers < 64)
		parse_error(p, p->limits_at, "local_port_first, local_port_last: expected at least 64 ports for each of %u workers",
			    c->n_workers);
	if (head_bytes > c->tx_buffer_bytes)
		parse_error(p, p->limits_at, "send_buffer_bytes: %u does not hold a rewritten head; expected at least %u",
			    c->tx_buffer_bytes, head_bytes);
	if (c->line_bytes > c->headers_bytes)
		parse_error(p, p->limits_at, "request_line_bytes: larger than header_bytes (%u)", c->headers_bytes);
}

static void parse_document(struct parse *p, yaml_parser_t *y)
{
	yaml_document_t doc;
	const yaml_node_t *root;

	if (!yaml_parser_load(y, &doc)) {
		p->n_errors++;
		fprintf(p->err, "%s:%zu:%zu: not YAML: %s; expected a mapping of keys\n", p->name, y->problem_mark.line + 1,
			y->problem_mark.column + 1, y->problem ? y->problem : "unreadable");
		return;
	}
	p->doc = &doc;
	root = yaml_document_get_root_node(&doc);
	if (!root)
		parse_error(p, NULL, "the file is empty; expected at least ports");
	else
		parse_section(p, config_keys, "", p->out, root);
	if (root && !p->n_errors)
		check_whole(p);
	yaml_document_delete(&doc);
	if (!root || p->n_errors)
		return;
	if (!yaml_parser_load(y, &doc)) {
		p->n_errors++;
		fprintf(p->err, "%s:%zu:%zu: not YAML: %s\n", p->name, y->problem_mark.line + 1, y->problem_mark.column + 1,
			y->problem ? y->problem : "unreadable");
		return;
	}
	root = yaml_document_get_root_node(&doc);
	if (root)
		parse_error(p, root, "a second document; expected one");
	yaml_document_delete(&doc);
}

int config_parse(const char *name, const char *data, size_t n, struct config *out, FILE *err)
{
	struct parse p = {.name = name, .out = out, .err = err};
	yaml_parser_t y;

	memset(out, 0, sizeof(*out));
	out->main_core = -1;
	set_defaults(config_keys, out);
	config_forwarding_init(out);
	if (!yaml_parser_initialize(&y))
		return -ENOMEM;
	yaml_parser_set_input_string(&y, (const unsigned char *)data, n);
	parse_document(&p, &y);
	yaml_parser_delete(&y);
	return p.n_errors ? -EINVAL : 0;
}

uint32_t config_n_tls_sessions(const struct config *c)
{
	return c->n_tls_sessions ? c->n_tls_sessions : c->n_connections + c->n_upstreams;
}

uint32_t config_n_certificates(const struct config *c)
{
	return (uint32_t)(((uint64_t)c->certificates_mb << 20) / 4096);
}

uint32_t config_mbuf_bytes(const struct config *c)
{
	uint32_t n = RTE_MBUF_DEFAULT_DATAROOM;

	if (c->mbuf_bytes)
		return c->mbuf_bytes < RTE_MBUF_DEFAULT_DATAROOM ? RTE_MBUF_DEFAULT_DATAROOM : c->mbuf_bytes;
	for (unsigned i = 0; i < c->n_ports; i++) {
		uint32_t frame = RTE_ALIGN_CEIL(c->ports[i].mtu + RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN, RTE_CACHE_LINE_SIZE);

		if (!c->ports[i].is_pci && strncmp(c->ports[i].device, "net_af_xdp", 10) == 0) /* a buffer lies in a page */
			return RTE_MBUF_DEFAULT_DATAROOM;
		if (frame > n)
			n = frame;
	}
	return n;
}

int config_load(const char *path, struct config *out, FILE *err)
{
	FILE *f = fopen(path, "rb");
	char *data;
	size_t n;
	int rc;

	if (!f) {
		fprintf(err, "%s:1:1: cannot be read: %s\n", path, strerror(errno));
		return -EINVAL;
	}
	data = malloc(MAX_FILE_BYTES + 1);
	if (!data) {
		fclose(f);
		return -ENOMEM;
	}
	n = fread(data, 1, MAX_FILE_BYTES + 1, f);
	if (ferror(f) || n > MAX_FILE_BYTES) {
		fprintf(err, "%s:1:1: %s\n", path, n > MAX_FILE_BYTES ? "larger than 1 MiB" : "cannot be read");
		rc = -EINVAL;
	} else {
		rc = config_parse(path, data, n, out, err);
	}
	fclose(f);
	free(data);
	return rc;
}
