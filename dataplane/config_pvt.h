/* SPDX-License-Identifier: Apache-2.0 */
/* The table behind weir.yaml: what each key is, for the parser (config.c) and the reference page. */
#ifndef WEIR_DATAPLANE_CONFIG_PVT_H
#define WEIR_DATAPLANE_CONFIG_PVT_H

#include <yaml.h>

#include "config.h"

enum key_type {
	KEY_U16,
	KEY_U32,
	KEY_INT, /* int */
	KEY_BOOL,
	KEY_TEXT,    /* char[max] */
	KEY_SECTION, /* a mapping with keys of its own */
	KEY_LIST,    /* a sequence of mappings with keys of their own; begin is called for each */
	KEY_CUSTOM,  /* set reads the node */
};

struct parse;

struct key {
	const char *name;
	enum key_type type;
	size_t offset;	 /* in the struct of its section */
	uint64_t min, max; /* numbers; TEXT: max is the size of the field */
	const char *def; /* default, as it would be written; NULL: none */
	const char *expect; /* what is expected, for errors and the reference; NULL: made from type and bounds */
	const char *help;
	const struct key *keys; /* SECTION, LIST: ends with name NULL */
	/* LIST: makes room for an element and returns the struct that its keys are offsets into, or NULL if there is none. */
	void *(*begin)(struct parse *p, void *section, const yaml_node_t *n);
	/* CUSTOM: reads n into section + offset; reports with parse_error(). */
	void (*set)(struct parse *p, const struct key *k, void *section, const yaml_node_t *n);
};

extern const struct key config_keys[];
extern const struct key config_tcp_keys[]; /* config_tcp.c */
extern const struct key config_offload_keys[]; /* config_offload.c */
extern const struct key config_port_kernel_keys[], config_kernel_path_keys[], config_bgp_keys[]; /* config_kernel.c */
extern const struct key config_forwarding_keys[]; /* config_forwarding.c */
extern const struct key config_route_keys[], config_vxlan_keys[]; /* config_paths.c */
extern const struct key config_bond_keys[]; /* config_bond.c; its section is the port's */

struct parse {
	const char *name;
	yaml_document_t *doc;
	struct config *out;
	FILE *err;
	unsigned n_errors;
	/* where things stand, for the checks that span keys */
	const yaml_node_t *iface_at[NET_MAX_IFACES];
	const yaml_node_t *listen_at[CONFIG_MAX_LISTEN];
	const yaml_node_t *listener_cc_at[CONFIG_MAX_CC], *backend_cc_at[CONFIG_MAX_CC];
	const yaml_node_t *path_at[CONFIG_MAX_PATHS], *vtep_at[2];
	struct weir_vtep vteps[2]; /* as they stand there */
	unsigned n_vteps;
	const yaml_node_t *ports_at, *pools_at, *limits_at, *offload_at, *bgp_at;
	const yaml_node_t *announce_at[CONFIG_MAX_LISTEN], *neighbor_at[CONFIG_MAX_NEIGHBORS];
};

/* Defaults of the section forwarding that the table does not set. */
void config_forwarding_init(struct config *c);
/* What spans the keys of the section tcp. */
void config_check_tcp(struct parse *p);
/* config_paths.c: room for an element of routes, of vxlan, and what spans their keys. */
void *config_begin_route(struct parse *p, void *section, const yaml_node_t *n);
void *config_begin_vxlan(struct parse *p, void *section, const yaml_node_t *n);
void config_check_paths(struct parse *p);
/* Of bonds, and of PCI devices. */
void config_check_bonds(struct parse *p);
bool config_is_pci_address(const char *s);
/* Of the section tls.offload. */
void config_check_offload(struct parse *p);

/* Of the kernel's interfaces and the section bgp; fills in what follows from the rest. */
void config_check_kernel(struct parse *p);
/* "10.0.0.1/24": an address of this host and the length of its prefix. False: reported. */
bool parse_host_address(struct parse *p, const struct key *k, const yaml_node_t *n, struct net_addr *out);

/* "name:line:column: text", at the node's beginning. */
void parse_error(struct parse *p, const yaml_node_t *at, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The text of a scalar node, or NULL. */
const char *parse_scalar(const yaml_node_t *n);
/* Calls fn for each item of a sequence (an error if it is none). */
void parse_each(struct parse *p, const struct key *k, const yaml_node_t *n, void *arg,
		void (*fn)(struct parse *p, const struct key *k, void *arg, const yaml_node_t *item));
/* A decimal number within bounds. */
bool parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *out);

#endif
