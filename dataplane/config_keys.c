/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every key of weir.yaml: its type, bounds, default and meaning. The parser
 * and docs/weir.yaml.md both come from here.
 */
#include <pwd.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "config_pvt.h"
#include "http/http.h"

#define OFF(field) offsetof(struct config, field)

bool parse_host_address(struct parse *p, const struct key *k, const yaml_node_t *n, struct net_addr *out)
{
	const char *text = parse_scalar(n);
	const char *slash = text ? strchr(text, '/') : NULL;
	struct net_addr a = {0};
	uint64_t len;

	if (!slash || ip_parse(text, (size_t)(slash - text), &a.ip) != 0 ||
	    !parse_number(slash + 1, 1, ip_is4(&a.ip) ? 32 : 128, &len)) {
		parse_error(p, n, "%s: expected an address with its prefix length, such as 192.0.2.10/24 or 2001:db8::10/64",
			    k->name);
		return false;
	}
	if (ip_is_any(&a.ip) || a.ip.b[0] == 0xff || (ip_is4(&a.ip) && (a.ip.b[12] >= 224 || a.ip.b[12] == 0))) {
		parse_error(p, n, "%s: %s is not the address of a host", k->name, text);
		return false;
	}
	a.prefix_len = (uint8_t)len;
	*out = a;
	return true;
}

static void add_address(struct parse *p, const struct key *k, void *arg, const yaml_node_t *n)
{
	struct net_iface *f = arg;
	struct net_addr a;

	if (!parse_host_address(p, k, n, &a))
		return;
	if (f->n_addrs == NET_MAX_ADDRS) {
		parse_error(p, n, "%s: more than %u addresses", k->name, NET_MAX_ADDRS);
		return;
	}
	f->addrs[f->n_addrs++] = a;
}

static void set_addresses(struct parse *p, const struct key *k, void *section, const yaml_node_t *n)
{
	parse_each(p, k, n, (char *)section + k->offset, add_address);
}

static bool read_ip(struct parse *p, const struct key *k, const yaml_node_t *n, struct weir_ip *out)
{
	const char *text = parse_scalar(n);

	if (text && ip_parse(text, strlen(text), out) == 0)
		return true;
	parse_error(p, n, "%s: expected an IPv4 or IPv6 address", k->name);
	return false;
}

static void add_gateway(struct parse *p, const struct key *k, void *arg, const yaml_node_t *n)
{
	struct net_iface *f = arg;
	struct weir_ip ip;
	bool is4;

	if (!read_ip(p, k, n, &ip))
		return;
	is4 = ip_is4(&ip);
	if (is4 ? f->has_gw4 : f->has_gw6) {
		parse_error(p, n, "%s: a second %s gateway; expected at most one of each family", k->name,
			    is4 ? "IPv4" : "IPv6");
		return;
	}
	*(is4 ? &f->has_gw4 : &f->has_gw6) = true;
	*(is4 ? &f->gw4 : &f->gw6) = ip;
}

static void set_gateways(struct parse *p, const struct key *k, void *section, const yaml_node_t *n)
{
	parse_each(p, k, n, (char *)section + k->offset, add_gateway);
}

static void add_listen(struct parse *p, const struct key *k, void *arg, const yaml_node_t *n)
{
	struct config *c = arg;
	struct weir_ip ip;

	if (!read_ip(p, k, n, &ip))
		return;
	if (c->n_listen == CONFIG_MAX_LISTEN) {
		parse_error(p, n, "%s: more than %u addresses", k->name, CONFIG_MAX_LISTEN);
		return;
	}
	p->listen_at[c->n_listen] = n;
	c->listen[c->n_listen++] = ip;
}

static void set_listen(struct parse *p, const struct key *k, void *section, const yaml_node_t *n)
{
	parse_each(p, k, n, section, add_listen);
}

static void add_core(struct parse *p, const struct key *k, void *arg, const yaml_node_t *n)
{
	struct config *c = arg;
	uint64_t core;

	if (!parse_scalar(n) || !parse_number(parse_scalar(n), 0, 1023, &core)) {
		parse_error(p, n, "%s: expected a core number from 0 to 1023", k->name);
		return;
	}
	if (c->n_workers == WEIR_MAX_WORKERS) {
		parse_error(p, n, "%s: more than %u workers", k->name, WEIR_MAX_WORKERS);
		return;
	}
	for (unsigned i = 0; i < c->n_workers; i++)
		if (c->worker_cores[i] == core) {
			parse_error(p, n, "%s: core %u twice; expected one worker a core", k->name, (unsigned)core);
			return;
		}
	c->worker_cores[c->n_workers++] = (uint16_t)core;
}

static void set_cores(struct parse *p, const struct key *k, void *section, const yaml_node_t *n)
{
	parse_each(p, k, n, section, add_core);
}

static void set_device(struct parse *p, const struct key *k, void *section, const yaml_node_t *n)
{
	struct config_iface *f = section;
	struct config_port *port = &p->out->ports[f->port];
	const char *text = parse_scalar(n);
	bool is_pci = strcmp(k->name, "pci") == 0;

	if (!text || (is_pci ? !config_is_pci_address(text) : strncmp(text, "net_", 4) != 0)) {
		parse_error(p, n, "%s: expected %s", k->name, k->expect);
		return;
	}
	if (port->device[0]) {
		parse_error(p, n, "%s: the port has a device already; expected one of pci, vdev and bond", k->name);
		return;
	}
	if (strlen(text) >= sizeof(port->device)) {
		parse_error(p, n, "%s: longer than %zu bytes", k->name, sizeof(port->device) - 1);
		return;
	}
	strcpy(port->device, text);
	port->is_pci = is_pci;
}

/* Keys of a port that are not its interface's. */
static void set_port_value(struct parse *p, const struct key *k, void *section, const yaml_node_t *n)
{
	struct config_iface *f = section;
	char *base = (char *)&p->out->ports[f->port];
	const char *text = parse_scalar(n);
	uint64_t v;

	if (k->type == KEY_CUSTOM && !k->max) { /* true or false */
		if (text && (strcmp(text, "true") == 0 || strcmp(text, "false") == 0))
			*(bool *)(base + k->offset) = text[0] == 't';
		else
			parse_error(p, n, "%s: expected true or false", k->name);
		return;
	}
	if (!text || !parse_number(text, k->min, k->max, &v)) {
		parse_error(p, n, "%s: expected %s", k->name, k->expect);
		return;
	}
	*(uint16_t *)(void *)(base + k->offset) = (uint16_t)v;
	if (strcmp(k->name, "mtu") == 0)
		f->net.mtu = (uint16_t)v;
}

static struct config_iface *add_iface(struct parse *p, const yaml_node_t *n, unsigned port)
{
	struct config *c = p->out;
	struct config_iface *f;

	if (c->n_ifaces == NET_MAX_IFACES) {
		parse_error(p, n, "more than %u interfaces (ports and VLANs together)", NET_MAX_IFACES);
		return NULL;
	}
	p->iface_at[c->n_ifaces] = n;
	f = &c->ifaces[c->n_ifaces++];
	f->port = port;
	return f;
}

static void *begin_port(struct parse *p, void *section, const yaml_node_t *n)
{
	struct config *c = p->out;

	if (c->n_ports == WEIR_MAX_PORTS) {
		parse_error(p, n, "more than %u ports", WEIR_MAX_PORTS);
		return NULL;
	}
	c->ports[c->n_ports].mtu = 1500;
	return add_iface(p, n, c->n_ports++);
}

static void *begin_vlan(struct parse *p, void *section, const yaml_node_t *n)
{
	const struct config_iface *parent = section;

	return add_iface(p, n, parent->port);
}

static void set_steering(struct parse *p, const struct key *k, void *section, const yaml_node_t *n)
{
	static const char *const names[] = {
		[STEER_WANT_AUTO] = "auto",
		[STEER_WANT_FLOW] = "flow",
		[STEER_WANT_RSS] = "rss",
		[STEER_WANT_REDIRECT] = "redirect",
	};
	struct config *c = section;
	const char *text = parse_scalar(n);

	for (unsigned i = 0; text && i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(text, names[i]) == 0) {
			c->steering = (enum steer_want)i;
			return;
		}
	parse_error(p, n, "%s: expected %s", k->name, k->expect);
}

const char *const config_idle_names[] = {
	[IDLE_MODE_SPIN] = "spin",
	[IDLE_MODE_PAUSE] = "pause",
	[IDLE_MODE_SLEEP] = "sleep",
	[IDLE_MODE_INTERRUPT] = "interrupt",
};

static void set_idle(struct parse *p, const struct key *k, void *section, const yaml_node_t *n)
{
	struct config *c = section;
	const char *text = parse_scalar(n);

	for (unsigned i = 0; text && i <= IDLE_MODE_INTERRUPT; i++)
		if (strcmp(text, config_idle_names[i]) == 0) {
			c->idle = (enum idle_mode)i;
			return;
		}
	parse_error(p, n, "%s: expected %s", k->name, k->expect);
}

static void set_user(struct parse *p, const struct key *k, void *section, const yaml_node_t *n)
{
	struct config *c = section;
	const char *text = parse_scalar(n);
	const struct passwd *pw;
	uint64_t uid;

	if (text && parse_number(text, 0, UINT32_MAX - 1, &uid)) {
		c->control_uid = (uint32_t)uid;
		c->has_control_uid = true;
		return;
	}
	pw = text && *text ? getpwnam(text) : NULL;
	if (!pw) {
		parse_error(p, n, "%s: expected %s", k->name, k->expect);
		return;
	}
	c->control_uid = pw->pw_uid;
	c->has_control_uid = true;
}

static void set_cookies(struct parse *p, const struct key *k, void *section, const yaml_node_t *n)
{
	static const char *const words[] = {
		[TCP_COOKIES_AUTO] = "auto", [TCP_COOKIES_OFF] = "off", [TCP_COOKIES_ALWAYS] = "always"};
	struct config *c = section;
	const char *text = parse_scalar(n);

	for (unsigned i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (text && strcmp(text, words[i]) == 0) {
			c->cookies = (enum tcp_cookies)i;
			return;
		}
	parse_error(p, n, "%s: expected %s", k->name, k->expect);
}

#define IFACE(field) offsetof(struct config_iface, net.field)

#define ADDRESS_KEYS \
	{.name = "mss_clamp", .type = KEY_U16, .offset = IFACE(mss_clamp), .min = 536, .max = 8960, .def = "none", \
	 .help = "Maximum segment size that TCP announces and uses here, where the path is known to take less than the MTU."}, \
	{.name = "addresses", .type = KEY_CUSTOM, .offset = offsetof(struct config_iface, net), .set = set_addresses, \
	 .expect = "a list of addresses with prefix length", \
	 .help = "Addresses of this host on the interface, such as `192.0.2.10/24` and `2001:db8::10/64`."}, \
	{.name = "gateways", .type = KEY_CUSTOM, .offset = offsetof(struct config_iface, net), .set = set_gateways, \
	 .expect = "a list of addresses, at most one of each family", \
	 .help = "Next hops for what is not on the interface's own prefixes. Each lies in one of them."}

static const struct key vlan_keys[] = {
	{.name = "id", .type = KEY_U16, .offset = IFACE(vlan), .min = 1, .max = 4094, .help = "VLAN identifier (802.1Q). Required."},
	{.name = "mtu", .type = KEY_U16, .offset = IFACE(mtu), .min = 1280, .max = 9000, .def = "the port's",
	 .help = "IP bytes of a packet."},
	ADDRESS_KEYS,
	{0},
};

static const struct key port_keys[] = {
	{.name = "pci", .type = KEY_CUSTOM, .set = set_device, .expect = "a PCI address such as 0000:01:00.0",
	 .help = "PCI address of a NIC that is bound for DPDK. A port has one of `pci`, `vdev` and `bond`."},
	{.name = "vdev", .type = KEY_CUSTOM, .set = set_device,
	 .expect = "a DPDK virtual device such as net_tap0,iface=weir0",
	 .help = "Virtual device with its arguments: `net_tap0,iface=weir0`, `net_af_packet0,iface=eth1,qpairs=2`, "
		 "`net_af_xdp0,iface=eth1`, `net_memif0,role=client,socket=/run/memif.sock`; the latter with `zero-copy=yes` shows the "
		 "dataplane's packet buffers to the peer, who makes all copies then: only to whom you trust with them."},
	{.name = "bond", .type = KEY_SECTION, .keys = config_bond_keys, .help = "Several devices as one port, by DPDK's net_bonding."},
	{.name = "mtu", .type = KEY_CUSTOM, .set = set_port_value, .offset = offsetof(struct config_port, mtu), .min = 1280,
	 .max = 9000, .def = "1500", .expect = "a number from 1280 to 9000", .help = "IP bytes of a packet."},
	{.name = "descriptors", .type = KEY_CUSTOM, .set = set_port_value, .offset = offsetof(struct config_port, n_desc),
	 .min = 64, .max = 16384, .def = "the device's", .expect = "a number from 64 to 16384",
	 .help = "Descriptors of each receive and transmit queue."},
	{.name = "promiscuous", .type = KEY_CUSTOM, .set = set_port_value, .offset = offsetof(struct config_port, promiscuous),
	 .def = "false", .expect = "true or false", .help = "Receive frames for other link addresses too."},
	{.name = "reopen", .type = KEY_CUSTOM, .set = set_port_value, .offset = offsetof(struct config_port, reopens),
	 .def = "false", .expect = "true or false",
	 .help = "Open the device again when it was gone and is back, where that can be done ([ports](ports.md)). For that the dataplane keeps the rights "
		 "to open it, which it gives up otherwise once it serves."},
	ADDRESS_KEYS,
	{.name = "kernel", .type = KEY_SECTION, .keys = config_port_kernel_keys,
	 .help = "The exception path: a TAP beside the port, by which the kernel gets what is not Weir's, and sends. See docs/kernel.md."},
	{.name = "vlans", .type = KEY_LIST, .keys = vlan_keys, .begin = begin_vlan, .help = "Tagged interfaces on this port."},
	{0},
};

#define U32(key, field, lo, hi, text, words) \
	{.name = key, .type = KEY_U32, .offset = OFF(field), .min = lo, .max = hi, .def = text, .help = words}

static const struct key workers_keys[] = {
	{.name = "cores", .type = KEY_CUSTOM, .set = set_cores, .def = "[0]", .expect = "a list of core numbers",
	 .help = "One worker runs on each of these cores, with a queue pair of its own on every port."},
	{.name = "main_core", .type = KEY_INT, .offset = OFF(main_core), .min = 0, .max = 1023, .def = "any",
	 .help = "Core of the main thread, which sleeps most of the time."},
	{.name = "idle", .type = KEY_CUSTOM, .set = set_idle, .def = "spin", .expect = "spin, pause, sleep or interrupt",
	 .help = "How far a worker without work rests, each way after the one before it. `spin`: it polls without rest, which is right for "
		 "a core of its own. `pause`: light sleeps of the core itself, where the CPU has them (WAITPKG). `sleep`: short sleeps "
		 "in the kernel. `interrupt`: after a millisecond without work it sleeps until a packet comes, if all ports have receive interrupts."},
	U32("idle_latency_us", idle_latency_us, 5, 10000, "50",
	    "What `pause` and `sleep` may add to the time until the first packet is seen: so long is a sleep at most, with what the kernel needs to end it. "
	    "With `sleep` and `interrupt` the workers' cores get it as their bound of the time to wake (`pm_qos_resume_latency_us`), unless they have a tighter one."),
	U32("watchdog_ms", watchdog_ms, 0, 600000, "2000",
	    "A worker whose loop does not go on for so long is stuck: where it is is logged, and the dataplane ends with status 4, so that "
	    "it is started anew ([life](life.md)). One that waits for its core has ten times as long. 0: nobody looks."),
	{.name = "stage_timers", .type = KEY_BOOL, .offset = OFF(stage_timers), .def = "false",
	 .help = "Count the time stamp counter cycles that each stage of the work takes (`weirctl stages`). On, it costs some "
		 "dozens of cycles at each change of stage."},
	{.name = "steering", .type = KEY_CUSTOM, .set = set_steering, .def = "auto", .expect = "auto, flow, rss or redirect",
	 .help = "How what backends answer comes to the worker that asked: by flow rules in the device, by its RSS, or redirected "
		 "from worker to worker. `auto`: the first of these that the ports can do. What they cannot is always redirected."},
	{0},
};

static const struct key offloads_keys[] = {
	{.name = "device", .type = KEY_BOOL, .offset = OFF(device_offloads), .def = "true",
	 .help = "Let devices that can compute checksums and cut long segments. `false`: all of it in software."},
	{.name = "gro", .type = KEY_BOOL, .offset = OFF(gro), .def = "true",
	 .help = "Merge TCP segments that were received together and follow one another."},
	U32("tso_bytes", tso_bytes, 0, NET_TSO_MAX, "65455",
	    "Payload of a long TCP segment at most, which the port cuts; where software cuts it, 16384 at most. 0: no long segments."),
	{0},
};

static const struct key memory_keys[] = {
	{.name = "hugepages", .type = KEY_BOOL, .offset = OFF(hugepages), .def = "true",
	 .help = "Use hugepages. `false` works everywhere and is slower; PCI ports need `true`."},
	U32("mb", memory_mb, 0, 1048576, "0", "Memory for DPDK in MiB. 0: as much as the pools need."),
	U32("arena_mb", arena_mb, 1, 1024, "64",
	    "Size in MiB of the area through which weir-ctrl hands over routes. All routes together have seven eighths of it: "
	    "where that is too little, the namespaces with the most give way, their youngest first. What one namespace may "
	    "have in any case is `--namespace-budget` of weir-ctrl."),
	U32("certificates_mb", certificates_mb, 1, 4096, "64",
	    "Memory in MiB for certificates with their private keys, each in pages of 4 KiB of its own, mostly one or two; no routes "
	    "are taken that name more. It is locked, as far as RLIMIT_MEMLOCK lets, and left out of core dumps. What a worker needs to "
	    "use one comes on top of it, when a client first asks for it: some ten KiB."),
	U32("capture_kb", capture_kb, 0, 1048576, "1024",
	    "Size in KiB of each worker's ring for `weirctl capture`, at least 256; taken when it is first used. 0: no captures."),
	U32("access_log_kb", access_log_kb, 0, 1048576, "0",
	    "Size in KiB of each worker's ring of the access log: so many requests until the oldest is overwritten, which weir-ctrl must "
	    "have read by then (`--access-log`). 8192 is plenty. 0: no access log, and no cost."),
	{.name = "file_prefix", .type = KEY_TEXT, .offset = OFF(file_prefix), .max = sizeof(((struct config *)0)->file_prefix),
	 .def = "weir-PID", .help = "DPDK's file prefix, where several of its programs run on a host."},
	{0},
};

static const struct key pools_keys[] = {
	U32("mbufs", n_mbufs, 1024, 16777216, "32768", "Packet buffers of a worker."),
	U32("mbuf_bytes", mbuf_bytes, 0, 16384, "0",
	    "Data that a packet buffer holds. 0: a frame of the largest port's `mtu`, and 2048 at least (a port of net_af_xdp "
	    "allows no more). Larger frames than that lie in several buffers, if the port can do so."),
	U32("connections", n_connections, 64, 8388608, "16384", "TCP connections of a worker, those to backends included."),
	U32("upstream_connections", n_upstreams, 16, 1048576, "16384",
	    "Connections of a worker to endpoints, idle ones included. Not more than `connections` can be used."),
	U32("syn_queue", n_syn, 16, 1048576, "1024",
	    "Clients' handshakes in hand, of a worker. What comes beyond is answered by SYN cookies, see `limits.syn_cookies`."),
	U32("time_wait", n_time_wait, 0, 8388608, "0",
	    "Connections of a worker in TIME-WAIT; the oldest gives way. 0: as many as `connections`."),
	U32("source_prefixes", n_prefixes, 256, 65536, "16384",
	    "Cells in which source prefixes are counted, where `limits` bounds them; rounded up to a power of two. Several times as "
	    "many as there are prefixes at their bounds at one time keep these from being a burden to others."),
	U32("tls_sessions", n_tls_sessions, 0, 8388608, "0",
	    "TLS sessions of a worker, of clients and to endpoints, handshakes included; what comes beyond is closed. 0: as many as "
	    "`connections` and `upstream_connections`."),
	U32("requests", n_requests, 16, 1048576, "2048", "Requests in hand at one time, of a worker."),
	U32("mirrors", n_mirrors, 1, 65536, "256", "Mirrored requests in hand at one time, of a worker; more are not mirrored."),
	U32("tunnels", n_tunnels, 1, 8388608, "16384",
	    "Tunnels (WebSocket and the like) of a worker, open or asked for; more are answered 503. With an access log each takes 1 KiB more."),
	U32("backends", n_backends, 16, 1048576, "8192", "Backends (a Service and port each)."),
	U32("endpoints", n_endpoints, 16, 8388608, "32768", "Endpoints of all backends."),
	U32("balance_kb", balance_kb, 4, 4194304, "8192",
	    "Memory in KiB of a worker's tables by which endpoints are chosen: about 70 for each backend with `maglev`, 1.3 for each "
	    "endpoint with `ring-hash`, 16 bytes for each endpoint otherwise; none for round robin without slow start. A backend for "
	    "which there is none gets plain round robin."),
	U32("neighbours", n_neighbours, 16, 1048576, "1024", "Next hops whose link address is known or looked for."),
	U32("neighbour_queue", neighbour_queue, 1, 1024, "32", "Packets that wait for the link address of one next hop."),
	U32("redirect_ring", redirect_ring, 64, 65536, "2048",
	    "Slots of the ring from one worker to another; a power of two."),
	{0},
};

static const struct key limits_keys[] = {
	U32("request_line_bytes", line_bytes, 64, 65536, "8192", "Longest request line; more is answered 414."),
	U32("header_bytes", headers_bytes, 256, 49152, "16384", "Largest head of a request or response; more is answered 431."),
	{.name = "header_fields", .type = KEY_U16, .offset = OFF(n_fields), .min = 8, .max = HTTP_MAX_FIELDS, .def = "100",
	 .help = "Most header fields of a message; more is answered 431."},
	U32("receive_buffer_bytes", rx_buffer_bytes, 4096, 16777216, "1048576", "Largest receive window of a connection. Less under memory pressure."),
	U32("send_buffer_bytes", tx_buffer_bytes, 4096, 16777216, "4194304",
	    "Unacknowledged and unsent data of a connection at most; the bound follows its congestion window."),
	U32("endpoint_connections", n_upstream_max, 1, 1048576, "4096", "Connections of a worker to one endpoint."),
	U32("endpoint_idle", n_upstream_idle, 0, 1048576, "4096",
	    "Idle connections that a worker keeps to one endpoint. Fewer than are used at one time means that many are opened and "
	    "closed again and again, and that their local ports run out."),
	U32("tries", n_tries, 1, 8, "3", "Tries of one request, where HTTP allows more than one."),
	{.name = "syn_cookies", .type = KEY_CUSTOM, .set = set_cookies, .def = "auto", .expect = "auto, always or off",
	 .help = "`auto`: a SYN for which `pools.syn_queue` has no room is answered by a cookie, so that a flood of SYNs keeps nobody "
		 "out. `always`: every SYN, for tests. `off`: such a SYN is dropped."},
	U32("listener_connections", listener_connections, 0, 8388608, "0",
	    "Client connections of a worker to one address and port. 0: no bound. More are dropped without an answer, here and below."),
	U32("listener_accepts_per_s", listener_accepts_per_s, 0, 10000000, "0",
	    "New client connections of a worker in a second, to one address and port. 0: no bound."),
	U32("prefix_connections", prefix_connections, 0, 8388608, "0",
	    "Client connections of a worker from one source prefix. 0: no bound."),
	U32("prefix_accepts_per_s", prefix_accepts_per_s, 0, 10000000, "0",
	    "New client connections of a worker in a second, from one source prefix. 0: no bound."),
	{.name = "prefix_length_ipv4", .type = KEY_U16, .offset = OFF(prefix_len4), .min = 8, .max = 32, .def = "32",
	 .help = "Bits of an IPv4 address that make a source prefix."},
	{.name = "prefix_length_ipv6", .type = KEY_U16, .offset = OFF(prefix_len6), .min = 16, .max = 128, .def = "64",
	 .help = "Bits of an IPv6 address that make a source prefix."},
	U32("resets_per_s", rst_per_s, 0, 10000000, "1000",
	    "RSTs of a worker in a second, in answer to segments of no connection. 0: no bound."),
	{.name = "local_port_first", .type = KEY_U16, .offset = OFF(port_lo), .min = 1024, .max = 65535, .def = "16384",
	 .help = "First local port of connections to backends. Every worker has an equal share."},
	{.name = "local_port_last", .type = KEY_U16, .offset = OFF(port_hi), .min = 1024, .max = 65535, .def = "65535",
	 .help = "Last local port of connections to backends."},
	{0},
};

static const struct key timeouts_keys[] = {
	U32("header_ms", header_timeout_ms, 10, 3600000, "10000", "From the first byte of a request to its whole head; then 408."),
	U32("body_ms", body_timeout_ms, 10, 3600000, "30000", "Without any progress of a body, either way."),
	U32("body_bytes_per_s", body_bytes_per_s, 0, 1000000000, "100",
	    "What a client must send of a body at the least, or take of one; then 408, or a reset. Where the endpoint holds things up, "
	    "no client is blamed. 0: no bound."),
	U32("body_grace_ms", body_grace_ms, 100, 3600000, "20000",
	    "The stretches of time over which that rate is taken: who begins slowly has as long to catch up."),
	U32("idle_ms", idle_timeout_ms, 10, 86400000, "75000", "Keep-alive connection without a request."),
	U32("connect_ms", connect_timeout_ms, 10, 3600000, "2000", "Opening a connection to an endpoint."),
	U32("response_ms", response_timeout_ms, 10, 86400000, "60000",
	    "From the end of a request to the head of its response; then 504."),
	U32("request_ms", request_timeout_ms, 0, 86400000, "0",
	    "A whole request, from its first byte to the end of its response; then 504, or a reset. 0: no bound."),
	U32("tunnel_idle_ms", tunnel_idle_ms, 0, 604800000, "3600000", "A tunnel without a byte either way. 0: no bound."),
	U32("tunnel_life_ms", tunnel_life_ms, 0, 604800000, "0", "A tunnel, from its opening. 0: no bound."),
	U32("handshake_ms", handshake_timeout_ms, 10, 3600000, "10000",
	    "From the opening of a client's TCP connection to the end of its TLS handshake; then it is closed."),
	U32("upstream_idle_ms", upstream_idle_ms, 10, 86400000, "50000", "Idle connection to an endpoint."),
	U32("time_wait_ms", time_wait_ms, 10, 240000, "60000", "TIME-WAIT of a TCP connection (2 MSL)."),
	U32("fin_ms", fin_timeout_ms, 10, 3600000, "60000", "A closed connection whose peer does not close."),
	U32("keepalive_ms", keepalive_ms, 0, 86400000, "7200000", "TCP keep-alive of idle connections. 0: none."),
	U32("retransmit_ms", max_retransmit_ms, 1000, 3600000, "100000", "Retransmitting without an answer; then the connection ends."),
	U32("drain_ms", drain_ms, 0, 3600000, "30000", "SIGTERM: time for requests in hand until they are cut. Tunnels are closed a tenth of it before its end, or two seconds if that is less."),
	{0},
};

/* Of two words. */
static void set_word(struct parse *p, const struct key *k, const yaml_node_t *n, const char *no, const char *yes, bool *out)
{
	const char *text = parse_scalar(n);

	if (text && (strcmp(text, yes) == 0 || strcmp(text, no) == 0))
		*out = strcmp(text, yes) == 0;
	else
		parse_error(p, n, "%s: expected %s", k->name, k->expect);
}

static void set_early_data(struct parse *p, const struct key *k, void *section, const yaml_node_t *n)
{
	set_word(p, k, n, "off", "safe", &((struct config *)section)->early_data);
}

static void set_records(struct parse *p, const struct key *k, void *section, const yaml_node_t *n)
{
	set_word(p, k, n, "weir", "libssl", &((struct config *)section)->keeps_libssl);
}

static const struct key tls_keys[] = {
	{.name = "tickets", .type = KEY_BOOL, .offset = OFF(tickets), .def = "true",
	 .help = "Give session tickets (RFC 8446 4.6.1, RFC 5077), so that clients that come again need no full handshake. All workers "
		 "know each other's; a dataplane that starts anew knows none, unless weir-ctrl gives it keys that nodes share (`--ticket-keys`)."},
	U32("ticket_rotate_s", ticket_rotate_s, 60, 604800, "21600",
	    "Tickets are sealed by a new random key every so many seconds. The two keys before it still open theirs. "
	    "Keys that weir-ctrl gives rotate by its `--ticket-rotate` instead."),
	U32("hello_bytes", hello_bytes, 512, 65536, "16384",
	    "Longest ClientHello, with the records around it; a larger one is refused. Not more than "
	    "`limits.receive_buffer_bytes` can be used."),
	{.name = "early_data", .type = KEY_CUSTOM, .set = set_early_data, .def = "off", .expect = "off or safe",
	 .help = "Early data of TLS 1.3 (0-RTT, RFC 8446 2.3), at most 16 KiB of a connection: requests that a client that comes again sends "
		 "along with its first message. Anybody who sees them can send them again. `safe`: they are accepted; requests by GET, HEAD and "
		 "OPTIONS without a body are served at once, and backends are told by `Early-Data: 1` (RFC 8470); all others, and those of routes that mirror requests, wait until the "
		 "handshake is complete. Each worker accepts a message once; another worker, or node, may accept it once more. Server names that "
		 "ask for client certificates, and streams, take none. `off`: nobody's. Needs `tickets`."},
	{.name = "records", .type = KEY_CUSTOM, .set = set_records, .def = "weir", .expect = "weir or libssl",
	 .help = "Who carries the records of a client's connection once its handshake is done, by OpenSSL's ciphers in any case. `weir`: Weir, and "
		 "an idle connection takes about 1 KiB. `libssl`: OpenSSL's object of the connection, 13 KiB to 22 KiB, stays as long as that."},
	{.name = "offload", .type = KEY_SECTION, .keys = config_offload_keys,
	 .help = "A device for the private-key operations of handshakes (RSA and ECDSA). Records are never given to it."},
	{0},
};

static const struct key control_keys[] = {
	{.name = "socket", .type = KEY_TEXT, .offset = OFF(control_socket), .max = sizeof(((struct config *)0)->control_socket),
	 .def = "/run/weir/dataplane.sock", .help = "Unix socket for weir-ctrl. Its folder must exist."},
	{.name = "user", .type = KEY_CUSTOM, .set = set_user, .expect = "the name or number of a user on this host", .def = "none",
	 .help = "User that weir-ctrl runs as; root and the dataplane's own user may connect in any case."},
	{0},
};

static const struct key affinity_keys[] = {
	{.name = "key_file", .type = KEY_TEXT, .offset = OFF(affinity_key_file),
	 .max = sizeof(((struct config *)0)->affinity_key_file), .def = "none",
	 .help = "File with 64 hex digits, the key of the cookies by which sessions keep to an endpoint. Nodes with the same key "
		 "know each other's. Without it, a random key at each start."},
	{0},
};

const struct key config_keys[] = {
	{.name = "ports", .type = KEY_LIST, .keys = port_keys, .begin = begin_port, .help = "The ports that Weir owns. Required."},
	{.name = "listen", .type = KEY_CUSTOM, .set = set_listen, .def = "all addresses of the ports",
	 .expect = "a list of addresses", .help = "Addresses on which Weir serves; each is one of a port's."},
	{.name = "routes", .type = KEY_LIST, .keys = config_route_keys, .begin = config_begin_route,
	 .help = "Ways to what no port has on its link, such as pods on other nodes; they come before the gateways, the longest prefix first, and before weir-ctrl's "
		 "for the same prefix. At most 256."},
	{.name = "vxlan", .type = KEY_LIST, .keys = config_vxlan_keys, .begin = config_begin_vxlan,
	 .help = "Our end of the VXLAN tunnels (RFC 7348) in `routes`: one for pods with IPv4 addresses, one for IPv6."},
	{.name = "handover", .type = KEY_BOOL, .offset = OFF(hands_over), .def = "false",
	 .help = "Another dataplane on the same link may have the addresses of `listen`, too, and take over from this one, or this one from it. See docs/upgrade.md. "
		 "Connections to endpoints come from other addresses, so each dataplane needs one of its own."},
	{.name = "workers", .type = KEY_SECTION, .keys = workers_keys, .help = "Worker cores."},
	{.name = "offloads", .type = KEY_SECTION, .keys = offloads_keys, .help = "Work on packets that can be saved."},
	{.name = "kernel_path", .type = KEY_SECTION, .keys = config_kernel_path_keys,
	 .help = "Packets in a second that a worker gives to the kernels beside its ports, for each class of them. A second's worth may come at once."},
	{.name = "bgp", .type = KEY_SECTION, .keys = config_bgp_keys,
	 .help = "Announcing Weir's addresses by routes in the kernel, which FRR takes up. See docs/bgp.md."},
	{.name = "memory", .type = KEY_SECTION, .keys = memory_keys, .help = "Where memory comes from."},
	{.name = "pools", .type = KEY_SECTION, .keys = pools_keys,
	 .help = "Sizes fixed at start. What does not fit is refused and counted, never a reason to stop."},
	{.name = "limits", .type = KEY_SECTION, .keys = limits_keys, .help = "Bounds of messages, buffers and connections."},
	{.name = "tcp", .type = KEY_SECTION, .keys = config_tcp_keys, .help = "How TCP behaves."},
	{.name = "forwarding", .type = KEY_SECTION, .keys = config_forwarding_keys,
	 .help = "What requests say of their way, and whom Weir believes of it."},
	{.name = "timeouts", .type = KEY_SECTION, .keys = timeouts_keys,
	 .help = "In milliseconds, but for rates. The first ten are the defaults of what Gateways, HTTPRoutes and Ingresses set by "
		 "annotations: `weir.dev/header-timeout`, `idle-timeout`, `body-timeout`, `body-min-rate`, `connect-timeout`, "
		 "`first-byte-timeout`, `request-timeout`, `tunnel-idle-timeout` and `tunnel-lifetime`, as durations such as `1m30s`, `0s` "
		 "for none. A header timeout is the Gateway's alone."},
	{.name = "tls", .type = KEY_SECTION, .keys = tls_keys, .help = "TLS towards clients."},
	{.name = "affinity", .type = KEY_SECTION, .keys = affinity_keys, .help = "Sessions that keep to an endpoint by a cookie."},
	{.name = "control", .type = KEY_SECTION, .keys = control_keys, .help = "The way to weir-ctrl."},
	{0},
};
