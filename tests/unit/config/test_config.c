/* SPDX-License-Identifier: Apache-2.0 */
/* weir.yaml: what is good fills the structure, what is wrong is named with its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "config.h"

#define PORT "ports:\n  - vdev: net_tap0,iface=weir0\n    addresses: [10.0.0.2/24, fd00::2/64]\n"

static char *errors;
static size_t n_errors;

static int parse(const char *text, struct config *c)
{
	FILE *f;
	int rc;

	free(errors);
	f = open_memstream(&errors, &n_errors);
	rc = config_parse("weir.yaml", text, strlen(text), c, f);
	fclose(f);
	return rc;
}

#define KERNEL_PORT "ports:\n  - vdev: net_tap0,iface=weir0\n    addresses: [10.0.0.2/24, 192.0.2.1/32]\n    kernel: {interface: k0, addresses: [10.0.0.3/24, 192.0.2.1/32]}\n"

static void the_kernel_beside_a_port_and_bgp(void **state)
{
	static struct config c;

	assert_int_equal(parse(KERNEL_PORT "kernel_path: {other_per_s: 7}\n"
			       "bgp: {asn: 64512, neighbors: [{address: 10.0.0.1, asn: 64500, bfd: true}]}\n", &c), 0);
	assert_string_equal(c.ports[0].kernel.interface, "k0");
	assert_int_equal(c.ports[0].kernel.n_addrs, 2);
	assert_false(c.ifaces[0].net.addrs[0].is_shared);
	assert_true(c.ifaces[0].net.addrs[1].is_shared);
	assert_int_equal(c.kernel_per_s[PUNT_OTHER], 7);
	assert_int_equal(c.kernel_per_s[PUNT_ROUTING], 20000);
	assert_int_equal(c.bgp.n_announce, 2); /* all that is served */
	assert_int_equal(ip_to4(&c.bgp.router_id), ip_to4(&c.ports[0].kernel.addrs[0].ip));
	assert_int_equal(c.bgp.neighbors[0].asn, 64500);
	assert_true(c.bgp.neighbors[0].bfd);
	assert_int_equal(c.bgp.hold_s, 9);
}

static void mistakes_about_the_kernel_are_named(void **state)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
		{PORT "    kernel: {interface: a-name-of-16-chars}\n", "weir.yaml:4:25: interface: expected the name of a network interface"},
		{PORT "    kernel: {interface: 'a b'}\n", "interface: expected"},
		{PORT "    kernel: {addresses: [10.0.0.3/24]}\n", "has no interface"},
		{PORT "    kernel: {interface: k0, addresses: [10.0.0.3]}\n", "expected an address with its prefix length"},
		{PORT "kernel_path: {icmp_per_s: 0}\n", "icmp_per_s: expected"},
		{PORT "bgp: {asn: 64512}\n", "nothing to announce"},
		{PORT "handover: true\n", "handover: expected `listen`"},
		{PORT "handover: true\nlisten: [10.0.0.2, 'fd00::2']\n", "an address besides those"},
		{KERNEL_PORT "bgp: {}\n", "asn is missing"},
		{KERNEL_PORT "bgp: {asn: 0}\n", "asn: expected a number from 1"},
		{KERNEL_PORT "bgp: {asn: 1, announce: [10.0.0.9]}\n", "announce: 10.0.0.9 is no address of a port that has `kernel`"},
		{KERNEL_PORT "bgp: {asn: 1, neighbors: [{asn: 2}]}\n", "expected address and asn"},
		{KERNEL_PORT "bgp: {asn: 1, hold_s: 5}\n", "less than three times keepalive_s"},
		{KERNEL_PORT "bgp: {asn: 1, router_id: 'fd00::1'}\n", "router_id: expected an IPv4 address"},
		{KERNEL_PORT "  - vdev: net_tap1,iface=weir1\n    kernel: {interface: k0}\n", "two ports with the kernel's interface k0"},
	};
	static struct config c;

	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_int_not_equal(parse(cases[i].text, &c), 0);
		if (!strstr(errors, cases[i].error))
			fail_msg("case %u: %s", i, errors);
	}
}

/* Of the full file: ports, addresses, and the ways to pods. */
static void check_ways(const struct config *c)
{
	struct weir_ip ip;

	assert_int_equal(c->n_ports, 1);
	assert_true(c->ports[0].is_pci);
	assert_true(c->ports[0].promiscuous);
	assert_int_equal(c->ports[0].mtu, 9000);
	assert_int_equal(c->ports[0].n_desc, 2048);
	assert_int_equal(c->n_ifaces, 2);
	assert_int_equal(c->ifaces[0].net.n_addrs, 2);
	assert_int_equal(c->ifaces[0].net.addrs[1].prefix_len, 64);
	assert_true(c->ifaces[0].net.has_gw4 && c->ifaces[0].net.has_gw6);
	assert_int_equal(c->ifaces[1].net.vlan, 7);
	assert_int_equal(c->ifaces[1].port, 0);
	ip_parse("192.0.2.10", 10, &ip);
	assert_int_equal(c->n_listen, 1);
	assert_true(ip_eq(&c->listen[0], &ip));
	assert_int_equal(c->n_paths, 2);
	assert_int_equal(c->paths[0].kind, WEIR_PATH_ROUTE);
	assert_int_equal(c->paths[0].prefix_len, 24);
	assert_int_equal(c->paths[1].kind, WEIR_PATH_VXLAN);
	assert_memory_equal(c->paths[1].mac, "\x0a\0\0\0\0\xff", 6);
	assert_int_equal(c->vtep[0].port, 0);
	assert_int_equal(c->vtep[1].port, 8472);
	assert_int_equal(c->vtep[1].vni, 77);
}

static void full_file_fills_the_structure(void **state)
{
	static struct config c;

	assert_int_equal(parse("ports:\n"
			       "  - pci: 0000:01:00.0\n"
			       "    mtu: 9000\n"
			       "    descriptors: 2048\n"
			       "    promiscuous: true\n"
			       "    addresses: [192.0.2.10/24, '2001:db8::10/64']\n"
			       "    gateways: [192.0.2.1, '2001:db8::1']\n"
			       "    vlans:\n"
			       "      - id: 7\n"
			       "        addresses: [10.7.0.1/16]\n"
			       "listen: [192.0.2.10]\n"
			       "routes: [{prefix: 10.244.1.0/24, via: 192.0.2.21}, {prefix: 'fd44:1::/64', via: 192.0.2.22, mac: 0a:00:00:00:00:Ff}]\n"
			       "vxlan: [{source: 'fd44:9::', mac: 02:00:00:00:00:01, vni: 77}]\n"
			       "workers: {cores: [2, 3], main_core: 1, idle: interrupt, idle_latency_us: 50, stage_timers: true}\n"
			       "memory: {hugepages: true, mb: 512, arena_mb: 8, access_log_kb: 64, certificates_mb: 16}\n"
			       "pools: {connections: 1000, time_wait: 500, source_prefixes: 512, balance_kb: 64, tls_sessions: 300}\n"
			       "affinity: {key_file: /etc/weir/affinity.key}\n"
			       "tls: {tickets: false, ticket_rotate_s: 600, hello_bytes: 4096, offload: {kind: engine, required: false, jobs: 9,\n"
			       "  engine: {id: e, commands: [[A, 1], [B]]}, provider: {name: p, properties: '?provider=p'}}}\n"
			       "timeouts: {handshake_ms: 500}\n"
			       "limits: {syn_cookies: always, prefix_connections: 20, prefix_length_ipv4: 24, resets_per_s: 5}\n"
			       "tcp:\n"
			       "  congestion_control: newreno\n"
			       "  upstream_congestion_control: bbr\n"
			       "  ecn: false\n"
			       "  listeners: [{port: 443, address: 192.0.2.10, congestion_control: bbr}]\n"
			       "  backends: [{name: 'default/api:80', congestion_control: cubic}]\n"
			       "forwarding: {via: 'gate:80', forwarded: true, trusted_hops: 2, trusted_prefixes: [10.0.0.0/8, '::/0']}\n"
			       "control: {socket: /tmp/x.sock, user: 65534}\n",
			       &c),
			 0);
	assert_string_equal(errors, "");
	check_ways(&c);
	assert_int_equal(c.n_workers, 2);
	assert_int_equal(c.worker_cores[1], 3);
	assert_int_equal(c.main_core, 1);
	assert_int_equal(c.idle, IDLE_MODE_INTERRUPT);
	assert_int_equal(c.idle_latency_us, 50);
	assert_int_equal(c.memory_mb, 512);
	assert_int_equal(c.access_log_kb, 64);
	assert_int_equal(c.certificates_mb, 16);
	assert_int_equal(config_n_certificates(&c), 4096);
	assert_int_equal(config_n_tls_sessions(&c), 300);
	assert_int_equal(c.offload.kind, OFFLOAD_ENGINE);
	assert_false(c.offload.required);
	assert_int_equal(c.offload.n_jobs, 9);
	assert_int_equal(c.offload.timeout_ms, 1000);
	assert_int_equal(c.offload.n_commands, 2);
	assert_string_equal(c.offload.commands[0].value, "1");
	assert_string_equal(c.offload.commands[1].name, "B");
	assert_string_equal(c.offload.properties, "?provider=p");
	assert_false(c.tickets);
	assert_int_equal(c.ticket_rotate_s, 600);
	assert_int_equal(c.hello_bytes, 4096);
	assert_int_equal(c.handshake_timeout_ms, 500);
	assert_true(c.stage_timers);
	assert_int_equal(c.n_connections, 1000);
	assert_string_equal(c.via, "gate:80");
	assert_true(c.add_forwarded);
	assert_int_equal(c.trusted_hops, 2);
	assert_int_equal(c.n_trusted_prefixes, 2);
	assert_int_equal(c.trusted_prefixes[0].len, 8);
	assert_int_equal(c.cc, TCP_CC_NEWRENO);
	assert_int_equal(c.upstream_cc, TCP_CC_BBR);
	assert_int_equal(config_n_bbr(&c), 1000); /* chosen somewhere: room for all connections */
	assert_false(c.ecn);
	assert_int_equal(c.n_listener_cc, 1);
	assert_int_equal(c.listener_cc[0].port, 443);
	assert_int_equal(c.listener_cc[0].cc, TCP_CC_BBR);
	assert_int_equal(c.n_backend_cc, 1);
	assert_true(c.backend_cc[0].backend == hash_backend("default/api:80"));
	assert_int_equal(c.backend_cc[0].cc, TCP_CC_CUBIC);
	assert_int_equal(c.n_time_wait, 500);
	assert_int_equal(c.n_prefixes, 512);
	assert_int_equal(c.cookies, TCP_COOKIES_ALWAYS);
	assert_int_equal(c.prefix_connections, 20);
	assert_int_equal(c.prefix_len4, 24);
	assert_int_equal(c.prefix_len6, 64);
	assert_int_equal(c.rst_per_s, 5);
	assert_string_equal(c.control_socket, "/tmp/x.sock");
	assert_int_equal(c.balance_kb, 64);
	assert_string_equal(c.affinity_key_file, "/etc/weir/affinity.key");
	assert_true(c.has_control_uid);
	assert_int_equal(c.control_uid, 65534);
}

static void what_is_left_out_has_its_default(void **state)
{
	static struct config c;

	assert_int_equal(parse(PORT, &c), 0);
	assert_int_equal(c.n_workers, 1);
	assert_int_equal(c.main_core, -1);
	assert_int_equal(c.idle, IDLE_MODE_SPIN);
	assert_true(c.hugepages);
	assert_int_equal(c.ports[0].mtu, 1500);
	assert_int_equal(c.headers_bytes, 16384);
	assert_int_equal(c.certificates_mb, 64);
	assert_int_equal(config_n_tls_sessions(&c), c.n_connections + c.n_upstreams);
	assert_true(c.tickets);
	assert_int_equal(c.ticket_rotate_s, 21600);
	assert_int_equal(c.hello_bytes, 16384);
	assert_int_equal(c.handshake_timeout_ms, 10000);
	assert_int_equal(c.n_fields, 100);
	assert_int_equal(c.port_lo, 16384);
	assert_int_equal(c.cookies, TCP_COOKIES_AUTO);
	assert_int_equal(c.prefix_connections, 0);
	assert_int_equal(c.rst_per_s, 1000);
	assert_int_equal(c.port_hi, 65535);
	assert_string_equal(c.control_socket, "/run/weir/dataplane.sock");
	assert_int_equal(c.balance_kb, 8192);
	assert_string_equal(c.affinity_key_file, "");
	assert_false(c.has_control_uid);
	assert_int_equal(c.steering, STEER_WANT_AUTO);
	assert_true(c.device_offloads && c.gro);
	assert_int_equal(c.access_log_kb, 0);
	assert_false(c.stage_timers);
	assert_int_equal(c.tso_bytes, NET_TSO_MAX);
	assert_int_equal(config_n_bbr(&c), 0);
	assert_string_equal(c.via, "weir");
	assert_int_equal(parse(PORT "forwarding: {via: ''}\n", &c), 0);
	assert_string_equal(c.via, "");
}

static void every_way_of_steering_has_a_name(void **state)
{
	static const char *const names[] = {"auto", "flow", "rss", "redirect"};
	static struct config c;
	char yaml[300];

	for (unsigned i = 0; i < 4; i++) {
		snprintf(yaml, sizeof(yaml), PORT "workers: {steering: %s}\noffloads: {device: false, gro: false, tso_bytes: 0}\n",
			 names[i]);
		assert_int_equal(parse(yaml, &c), 0);
		assert_int_equal(c.steering, i);
		assert_false(c.device_offloads || c.gro);
		assert_int_equal(c.tso_bytes, 0);
	}
}

static const struct {
	const char *yaml;
	const char *error; /* must stand in the output */
} bad[] = {
	{"", "weir.yaml:1:1: the file is empty"},
	{"ports: [", "not YAML"},
	{"- a\n", "weir.yaml:1:1: expected a mapping with keys out of: ports, listen"},
	{PORT "tls: {offload: {kind: card}}\n", "weir.yaml:4:23: kind: expected software, engine or provider"},
	{PORT "tls: {offload: {kind: engine}}\n", "weir.yaml:4:23: kind: engine needs engine: {id: ...}"},
	{PORT "tls: {offload: {kind: provider}}\n", "weir.yaml:4:23: kind: provider needs provider: {name: ...}"},
	{PORT "tls: {offload: {engine: {commands: [[]]}}}\n", "weir.yaml:4:37: commands: expected a list with a command's name"},
	{PORT "tls: {offload: {engine: {commands: [POLL]}}}\n", "weir.yaml:4:37: commands: expected a list with a command's name"},
	{PORT "tls: {offload: {jobs: 0}}\n", "weir.yaml:4:23: jobs: expected a number from 1 to 65536"},
	{PORT "colour: red\n", "weir.yaml:4:1: unknown key 'colour'; expected one of: ports, listen"},
	{PORT "workers: {cors: [1]}\n", "weir.yaml:4:11: unknown key 'cors' in workers; expected one of: cores"},
	{PORT "workers: {cores: [1, 1]}\n", "weir.yaml:4:22: cores: core 1 twice"},
	{PORT "workers: {cores: [-1]}\n", "weir.yaml:4:19: cores: expected a core number"},
	{"ports: [{vdev: net_tap0, addresses: [10.0.0.1/24], mss_clamp: 535}]\n", "mss_clamp: expected a number from 536 to 8960"},
	{PORT "workers: {steering: [rss]}\n", "weir.yaml:4:21: steering: expected auto, flow, rss or redirect"},
	{PORT "workers: {idle: doze}\n", "weir.yaml:4:17: idle: expected spin, pause, sleep or interrupt"},
	{PORT "workers: {idle: [spin]}\n", "weir.yaml:4:17: idle: expected spin, pause, sleep or interrupt"},
	{PORT "workers: {idle_latency_us: 4}\n", "weir.yaml:4:28: idle_latency_us: expected a number from 5 to 10000"},
	{PORT "workers: {steering: magic}\n", "weir.yaml:4:21: steering: expected auto, flow, rss or redirect"},
	{PORT "offloads: {tso_bytes: 65456}\n", "weir.yaml:4:23: tso_bytes: expected a number from 0 to 65455"},
	{PORT "offloads: {gro: maybe}\n", "weir.yaml:4:17: gro: expected true or false"},
	{PORT "workers: {cores: 1}\n", "weir.yaml:4:18: cores: expected a list of core numbers"},
	{PORT "pools: {mbufs: 12}\n", "weir.yaml:4:16: mbufs: expected a number from 1024"},
	{PORT "pools: {mbufs: many}\n", "weir.yaml:4:16: mbufs: expected a number"},
	{PORT "pools: {mbufs: 99999999999999999999}\n", "mbufs: expected a number"},
	{PORT "pools: {mbufs: 2048, mbufs: 2048}\n", "weir.yaml:4:22: mbufs: given twice"},
	{PORT "pools: {redirect_ring: 100}\n", "weir.yaml:4:1: redirect_ring: 100 is not a power of two"},
	{PORT "memory: {hugepages: yes}\n", "weir.yaml:4:21: hugepages: expected true or false"},
	{PORT "memory: huge\n", "weir.yaml:4:9: memory: expected a mapping"},
	{PORT "listen: [10.0.0.3]\n", "weir.yaml:4:10: listen: 10.0.0.3 is not among the ports' addresses"},
	{PORT "listen: [ten]\n", "weir.yaml:4:10: listen: expected an IPv4 or IPv6 address"},
	{PORT "limits: {local_port_first: 65530}\n", "expected at least 64 ports for each of 1 workers"},
	{PORT "limits: {header_bytes: 1024}\n", "request_line_bytes: larger than header_bytes"},
	{PORT "limits: {send_buffer_bytes: 8192}\n", "weir.yaml:4:1: send_buffer_bytes: 8192 does not hold"},
	{PORT "limits: {syn_cookies: perhaps}\n", "weir.yaml:4:23: syn_cookies: expected auto, always or off"},
	{PORT "limits: {prefix_length_ipv4: 33}\n", "prefix_length_ipv4: expected a number from 8 to 32"},
	{PORT "control: {user: nobody-of-that-name}\n", "weir.yaml:4:17: user: expected the name or number of a user"},
	{PORT "affinity: {key_file: []}\n", "weir.yaml:4:22: key_file: expected a text"},
	{PORT "pools: {balance_kb: 1}\n", "weir.yaml:4:21: balance_kb: expected a number from 4 to 4194304"},
	{PORT "control: {socket: ''}\n", "weir.yaml:4:19: socket: expected a text"},
	{PORT "tcp: {congestion_control: reno}\n", "weir.yaml:4:27: congestion_control: expected cubic, newreno or bbr"},
	{PORT "tcp: {listeners: [{port: 80}]}\n", "weir.yaml:4:19: tcp.listeners: expected port and congestion_control"},
	{PORT "tcp: {backends: [{name: api, congestion_control: bbr}]}\n", "weir.yaml:4:25: name: expected namespace/service:port"},
	{PORT "tcp: {backends: [{congestion_control: bbr}]}\n", "weir.yaml:4:18: tcp.backends: expected name"},
	{PORT "forwarding: {trusted_hops: 33}\n", "trusted_hops: expected a number from 0 to 32"},
	{PORT "forwarding: {trusted_prefixes: [10.0.0.0]}\n", "weir.yaml:4:33: trusted_prefixes: expected a prefix"},
	{PORT "forwarding: {trusted_prefixes: [10.0.0.0/33]}\n", "weir.yaml:4:33: trusted_prefixes: expected a prefix"},
	{PORT "forwarding: {trusted_prefixes: 10.0.0.0/8}\n", "trusted_prefixes: expected a list of prefixes"},
	{PORT "forwarding: {via: a b}\n", "weir.yaml:4:19: via: expected a word"},
	{PORT "forwarding: {via: 'a:0'}\n", "weir.yaml:4:19: via: expected a word"},
	{PORT "routes: [{prefix: 10.244.1.0, via: 10.0.0.9}]\n", "weir.yaml:4:19: prefix: expected a prefix"},
	{PORT "routes: [{prefix: 10.244.1.0/33, via: 10.0.0.9}]\n", "weir.yaml:4:19: prefix: expected a prefix"},
	{PORT "routes: [{prefix: 10.244.1.1/24, via: 10.0.0.9}]\n", "weir.yaml:4:10: routes: its prefix has bits beyond its length"},
	{PORT "routes: [{prefix: 10.244.1.0/24}]\n", "weir.yaml:4:10: routes: what it goes by is not the address of a host"},
	{PORT "routes: [{prefix: 10.244.1.0/24, via: here}]\n", "weir.yaml:4:39: via: expected an IPv4 or IPv6 address"},
	{PORT "routes: [{prefix: 10.244.1.0/24, via: 'fd00::9'}]\n", "routes: its next hop is of the other family"},
	{PORT "routes: [{prefix: 10.244.1.0/24, via: 10.0.0.9, mac: 02:00:00:00:00:1}]\n", "mac: expected a link address"},
	{PORT "routes: [{prefix: 10.244.1.0/24, via: 10.0.0.9, mac: 02:00:00:00:00:01}]\n", "routes: its family has no near end of a tunnel"},
	{PORT "routes: [{prefix: 10.244.1.0/24, via: 10.0.0.9}, {prefix: 10.244.1.0/24, via: 10.0.0.8}]\n", "routes: a second way to one prefix"},
	{PORT "vxlan: [{source: 10.244.9.0}]\n", "weir.yaml:4:9: vxlan: its link address is not that of a host"},
	{PORT "vxlan: [{source: 10.0.0.2, mac: 02:00:00:00:00:01}]\n", "weir.yaml:4:9: vxlan: its source is an address of a port"},
	{PORT "vxlan: [{source: 10.244.9.0, mac: 02:00:00:00:00:01, vni: 16777216}]\n", "vni: expected a number from 0 to 16777215"},
	{PORT "vxlan: [{source: 10.244.9.0, mac: 02:00:00:00:00:01, any_vni: yes}]\n", "any_vni: expected true or false"},
	{PORT "vxlan: [{source: 10.244.9.0, mac: 02:00:00:00:00:01}, {source: 10.244.9.1, mac: 02:00:00:00:00:01}]\n", "a second end for IPv4"},
	{PORT "---\na: b\n", "weir.yaml:5:1: a second document"},
	{"ports: []\n", "ports: missing"},
	{"ports: [{mtu: 1500}]\n", "port 0 has no device"},
	{"ports: [{vdev: net_tap0}]\n", "no port has an address"},
	{"ports: [{vdev: eth0}]\n", "weir.yaml:1:16: vdev: expected a DPDK virtual device"},
	{"ports: [{pci: 01:00.0}]\n", "weir.yaml:1:15: pci: expected a PCI address"},
	{"ports: [{pci: '0000:01:00.0', vdev: net_tap0}]\n", "expected one of pci, vdev and bond"},
	{"ports: [{pci: '0000:01:00.0', addresses: [10.0.0.1/8]}]\nmemory: {hugepages: false}\n", "needs hugepages: true"},
	{"ports: [{bond: {mode: lacp, members: [net_tap0]}}]\n", "mode: expected 802.3ad, active-backup or balance-xor"},
	{"ports: [{bond: {mode: 802.3ad}}]\n", "no device"},
	{"ports: [{bond: {members: []}}]\n", "members: expected at least one"},
	{"ports: [{bond: {members: [eth0]}}]\n", "members: expected PCI addresses and virtual devices"},
	{"ports: [{bond: {members: [net_tap0, net_tap0]}}]\n", "members: net_tap0 twice"},
	{"ports: [{vdev: net_tap0, bond: {members: [net_tap1]}}]\n", "expected one of pci, vdev and bond"},
	{"ports: [{bond: {members: [net_tap1]}, vdev: net_tap0}]\n", "expected one of pci, vdev and bond"},
	{"ports: [{bond: {members: ['0000:01:00.0']}, addresses: [10.0.0.1/8]}]\nmemory: {hugepages: false}\n", "needs hugepages: true"},
	{"ports: [{vdev: net_tap0, mtu: 100}]\n", "weir.yaml:1:31: mtu: expected a number from 1280"},
	{"ports: [{vdev: net_tap0, addresses: [10.0.0.1]}]\n", "addresses: expected an address with its prefix length"},
	{"ports: [{vdev: net_tap0, addresses: [10.0.0.1/33]}]\n", "addresses: expected an address with its prefix length"},
	{"ports: [{vdev: net_tap0, addresses: [224.0.0.1/24]}]\n", "is not the address of a host"},
	{"ports: [{vdev: net_tap0, addresses: ['ff02::1/64']}]\n", "is not the address of a host"},
	{"ports: [{vdev: net_tap0, addresses: [10.0.0.1/24, 10.0.0.1/16]}]\n", "10.0.0.1 twice"},
	{"ports: [{vdev: net_tap0, addresses: [10.0.0.1/24], gateways: [10.1.0.1]}]\n", "is in no prefix"},
	{"ports: [{vdev: net_tap0, addresses: [10.0.0.1/24], gateways: [10.0.0.2, 10.0.0.3]}]\n", "a second IPv4 gateway"},
	{"ports: [{vdev: net_tap0, addresses: [10.0.0.1/24], vlans: [{id: 0}]}]\n", "id: expected a number from 1 to 4094"},
	{"ports: [{vdev: net_tap0, addresses: [10.0.0.1/24], vlans: [{id: 5}, {id: 5}]}]\n", "two interfaces with VLAN 5"},
	{"ports: [7]\n", "weir.yaml:1:9: ports: expected a list of mappings"},
	{"ports: {a: b}\n", "weir.yaml:1:8: ports: expected a list"},
};

static void members_of_a_bond_are_devices_like_others(void **state)
{
	static struct config c;

	assert_int_equal(parse("ports:\n- bond: {members: ['0000:01:00.0', 'net_tap3,iface=a']}\n  addresses: [10.0.0.1/24]\n"
			       "- pci: '0000:02:00.1'\nmemory: {hugepages: true}\n", &c), 0);
	assert_int_equal(c.ports[0].bond.n_members, 2);
	assert_string_equal(c.ports[0].bond.members[1], "net_tap3,iface=a");
	assert_string_equal(port_bond_mode_name(c.ports[0].bond.mode), "802.3ad");
	assert_string_equal(c.ports[0].device, "net_bonding0");
	assert_string_equal(config_pci(&c, 0), "0000:01:00.0");
	assert_string_equal(config_pci(&c, 1), "0000:02:00.1");
	assert_null(config_pci(&c, 2));
	assert_int_equal(c.ports[1].bond.n_members, 0);
}

static void wrong_file_is_refused_with_place_and_expectation(void **state)
{
	static struct config c;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {		if (parse(bad[i].yaml, &c) == 0)
			fail_msg("taken, but should not: %s", bad[i].yaml);
		if (!strstr(errors, bad[i].error))
			fail_msg("%s\n gave: %s wanted: %s", bad[i].yaml, errors, bad[i].error);
		assert_int_equal(strncmp(errors, "weir.yaml:", 10), 0);
	}
}

static void every_error_is_reported_not_only_the_first(void **state)
{
	static struct config c;

	assert_int_not_equal(parse(PORT "x: 1\ny: 2\npools: {mbufs: 1}\n", &c), 0);
	assert_non_null(strstr(errors, "'x'"));
	assert_non_null(strstr(errors, "'y'"));
	assert_non_null(strstr(errors, "mbufs"));
}

static void missing_file_is_named(void **state)
{
	static struct config c;
	FILE *f;

	free(errors);
	f = open_memstream(&errors, &n_errors);
	assert_int_not_equal(config_load("/nonexistent/weir.yaml", &c, f), 0);
	fclose(f);
	assert_non_null(strstr(errors, "/nonexistent/weir.yaml:1:1: cannot be read: No such file"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(full_file_fills_the_structure),
		cmocka_unit_test(the_kernel_beside_a_port_and_bgp),
		cmocka_unit_test(mistakes_about_the_kernel_are_named),
		cmocka_unit_test(what_is_left_out_has_its_default),
		cmocka_unit_test(every_way_of_steering_has_a_name),
		cmocka_unit_test(members_of_a_bond_are_devices_like_others),
		cmocka_unit_test(wrong_file_is_refused_with_place_and_expectation),
		cmocka_unit_test(every_error_is_reported_not_only_the_first),
		cmocka_unit_test(missing_file_is_named),
	};
	int rc = cmocka_run_group_tests(tests, NULL, NULL);

	free(errors);
	return rc;
}
