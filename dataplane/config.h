/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir.yaml: the dataplane's configuration. One table (config_keys.c) drives
 * the parser, the defaults, the checks and docs/weir.yaml.md.
 */
#ifndef WEIR_DATAPLANE_CONFIG_H
#define WEIR_DATAPLANE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "idle_ladder.h"
#include "net/net.h"
#include "net/steer.h"
#include "tcp/tcp.h"
#include "tls/offload.h"
#include "weir/paths.h"

#define CONFIG_MAX_LISTEN 64
#define CONFIG_MAX_TRUSTED 64
#define CONFIG_MAX_PATHS 256

#define CONFIG_MAX_KERNEL_ADDRS 16
#define CONFIG_MAX_NEIGHBORS 16

/* The kernel beside a port: a TAP. */
struct config_kernel {
	char interface[16]; /* "": there is none */
	bool learns;	    /* its routes are ours, too */
	unsigned n_addrs;
	struct net_addr addrs[CONFIG_MAX_KERNEL_ADDRS];
};

/* A router to which FRR is configured. */
struct config_neighbor {
	struct weir_ip address;
	uint32_t asn;
	char password_file[256]; /* "": none */
	bool bfd, multihop;
};

struct config_bgp {
	uint32_t asn; /* 0: there is no section bgp */
	struct weir_ip router_id;
	unsigned n_announce;
	struct weir_ip announce[CONFIG_MAX_LISTEN];
	unsigned n_neighbors;
	struct config_neighbor neighbors[CONFIG_MAX_NEIGHBORS];
	uint32_t keepalive_s, hold_s;
	uint32_t withdraw_ms;
};

struct config_port {
	char device[256]; /* PCI address, or vdev with arguments, or the name of the bond */
	bool is_pci;
	struct net_bond bond; /* no members: none */
	bool has_bond, has_bond_mode;
	uint16_t n_desc;
	uint16_t mtu;
	bool promiscuous;
	bool reopens; /* when its device comes back */
	struct config_kernel kernel;
};

/* One entry of interfaces: a port by index, and what net_iface needs but for the MAC. */
struct config_iface {
	unsigned port; /* index in ports */
	struct net_iface net;
};

#define CONFIG_MAX_CC 64

/* Another congestion control than the default, for a listener or a backend. */
struct config_cc {
	struct weir_ip addr; /* listener; zero: any */
	uint16_t port;	     /* listener */
	uint64_t backend;    /* id */
	enum tcp_cc_kind cc;
};

struct config {
	unsigned n_ports;
	struct config_port ports[WEIR_MAX_PORTS];
	unsigned n_ifaces;
	struct config_iface ifaces[NET_MAX_IFACES];
	bool hands_over; /* what is in listen */
	unsigned n_listen; /* 0: every address of the interfaces */
	struct weir_ip listen[CONFIG_MAX_LISTEN];

	unsigned n_paths; /* routes */
	struct weir_pod_path paths[CONFIG_MAX_PATHS];
	struct weir_vtep vtep[2]; /* as in struct weir_paths */

	int main_core;	    /* -1: any */
	unsigned n_workers; /* number of worker_cores */
	uint16_t worker_cores[WEIR_MAX_WORKERS];

	bool hugepages;
	uint32_t memory_mb; /* DPDK's memory; 0: as much as the pools need */
	bool stage_timers;
	enum idle_mode idle;
	uint32_t idle_latency_us;
	uint32_t watchdog_ms; /* a worker that does not go on for so long is stuck; 0: nobody looks */
	char file_prefix[64];

	/* pools and limits, per worker */
	uint32_t n_mbufs;
	uint32_t mbuf_bytes; /* 0: by the ports; see config_mbuf_bytes() */
	uint32_t n_connections;
	uint32_t n_syn;
	uint32_t n_time_wait; /* 0: n_connections */
	uint32_t n_prefixes;
	uint32_t n_requests, n_mirrors, n_tunnels;
	uint32_t n_upstreams; /* connections to endpoints */
	uint32_t n_backends, n_endpoints;
	uint32_t balance_kb; /* for tables by which endpoints are chosen */
	char affinity_key_file[256]; /* "": a random key */
	uint32_t n_tries;	  /* of one request */
	uint32_t n_upstream_idle; /* idle connections kept, per endpoint */
	uint32_t n_upstream_max;  /* connections per endpoint */
	uint32_t n_neighbours;
	uint32_t neighbour_queue;
	uint32_t redirect_ring;
	uint32_t rx_buffer_bytes, tx_buffer_bytes;
	uint32_t n_tls_sessions; /* 0: see config_n_tls_sessions() */
	uint32_t certificates_mb; /* of main, for certificates as they came */
	uint32_t arena_mb; /* of the region shared with weir-ctrl */
	uint32_t capture_kb; /* of each worker's capture ring; 0: no captures */
	uint32_t access_log_kb; /* of each worker's ring of the access log; 0: none */
	uint16_t port_lo, port_hi;
	enum steer_want steering;

	bool device_offloads; /* checksums and cutting by the devices that can */
	bool gro;
	uint32_t tso_bytes; /* payload of a long segment at most; 0: none */

	/* TCP */
	enum tcp_cc_kind cc, upstream_cc;
	bool ecn, pacing;
	uint32_t n_bbr; /* connections of a worker that BBR can carry; 0: see config_n_bbr() */
	unsigned n_listener_cc, n_backend_cc;
	struct config_cc listener_cc[CONFIG_MAX_CC], backend_cc[CONFIG_MAX_CC];

	/* what clients may open, per worker; 0: no bound */
	enum tcp_cookies cookies;
	uint32_t listener_connections, listener_accepts_per_s;
	uint32_t prefix_connections, prefix_accepts_per_s;
	uint16_t prefix_len4, prefix_len6;
	uint32_t rst_per_s;

	/* TLS */
	bool tickets;		  /* session tickets are given */
	uint32_t ticket_rotate_s; /* by a new key */
	bool early_data;	  /* is accepted from clients */
	bool keeps_libssl;	  /* it carries records behind the handshake, too */
	uint32_t hello_bytes;	  /* of a ClientHello at most */
	struct offload_config offload;

	/* limits of HTTP */
	uint32_t line_bytes, headers_bytes;
	uint16_t n_fields;

	/* forwarding */
	char via[64]; /* pseudonym in Via; empty: none */
	bool add_forwarded;
	uint32_t trusted_hops;
	unsigned n_trusted_prefixes;
	struct ip_prefix trusted_prefixes[CONFIG_MAX_TRUSTED];

	/* times */
	uint32_t header_timeout_ms, body_timeout_ms, idle_timeout_ms;
	uint32_t body_bytes_per_s; /* 0: no bound */
	uint32_t body_grace_ms;
	uint32_t connect_timeout_ms, response_timeout_ms, upstream_idle_ms;
	uint32_t request_timeout_ms, tunnel_idle_ms, tunnel_life_ms; /* 0: none */
	uint32_t handshake_timeout_ms; /* of TLS, from the connection's opening */
	uint32_t time_wait_ms, fin_timeout_ms, keepalive_ms, max_retransmit_ms;
	uint32_t drain_ms; /* SIGTERM: at most this long until connections are cut */

	uint32_t kernel_per_s[PUNT_N_CLASSES]; /* packets to the kernel, of a worker */
	struct config_bgp bgp;

	char control_socket[108];
	bool has_control_uid; /* else: root and the user weir-dataplane runs as */
	uint32_t control_uid; /* uid that may connect; user names are resolved by the parser */
};

/* Reads a file. 0, or -EINVAL after writing every error as "file:line:column: what, what was expected" to err. */
int config_load(const char *path, struct config *out, FILE *err);
/* The same for bytes in memory; name stands in for the file's (tests, fuzzing). */
int config_parse(const char *name, const char *data, size_t n, struct config *out, FILE *err);
/* Connections of a worker that BBR can carry: what the configuration says, or all, or none if it is chosen nowhere. */
uint32_t config_n_bbr(const struct config *c);
/* TLS sessions of a worker: as configured, or as many as there are connections. */
uint32_t config_n_tls_sessions(const struct config *c);
/* Certificates that main can hold at most: each takes a page at least. */
uint32_t config_n_certificates(const struct config *c);
/* The PCI devices of all ports, members of bonds included: number i of them, or NULL. */
const char *config_pci(const struct config *c, unsigned i);
/* Data that a packet buffer holds: as configured, or what suits the ports. */
uint32_t config_mbuf_bytes(const struct config *c);
/* Index of the port that has this address, and the kernel beside it; -1: none. */
int config_kernel_port(const struct config *c, const struct weir_ip *ip);
/* Writes the reference page (Markdown) from the table. */
void config_write_reference(FILE *out);
/* Of enum idle_mode, as weir.yaml has them. */
extern const char *const config_idle_names[];

#endif
