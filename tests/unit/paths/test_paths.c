/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes to ways: which are chosen, why, what is wrong, and the bytes that the dataplane gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "paths/blob.h"
#include "paths/collect.h"
#include "paths/prefix.h"

#define FLANNEL "flannel.alpha.coreos.com/"
/* Of a name, with what else metadata has, and the rest. */
#define NODE(name, metadata, rest) "apiVersion: v1\nkind: Node\nmetadata: {name: " name metadata "}\n" rest "\n---\n"
#define CIDR(cidr) "spec: {podCIDR: '" cidr "', podCIDRs: ['" cidr "']}\n"
#define AT(ip) "status: {addresses: [{type: Hostname, address: x}, {type: InternalIP, address: '" ip "'}]}\n"
#define BORN(day) ", creationTimestamp: '2026-01-" day "T00:00:00Z'"
#define VXLAN(mac, ip) \
	", annotations: {" FLANNEL "backend-type: vxlan, " FLANNEL "public-ip: '" ip "', " FLANNEL \
	"backend-data: '{\"VNI\":1,\"VtepMAC\":\"" mac "\"}'}"
#define MAC(n) "02:00:00:00:00:0" n

static void put(char **at, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(char **at, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	*at += vsprintf(*at, fmt, ap);
	va_end(ap);
}

/* "n1 10.244.1.0/24 native 192.0.2.1: why\n", "!" in front of what is wrong. */
static const char *dump(const struct paths *p)
{
	static char text[65536];
	char *at = text, ip[IP_TEXT_MAX], prefix[PREFIX_TEXT_MAX], mac[18];

	for (unsigned f = 0; f < 2; f++)
		if (near_end_is_known(&p->near, f))
			put(&at, "near %s %s %u %u%s\n", ip_format(&p->near.vtep[f].source, ip), overlay_format_mac(p->near.vtep[f].mac, mac),
			    p->near.vtep[f].vni, p->near.vtep[f].port, p->near.vtep[f].flags ? " any" : "");
	if (p->near.fault[0])
		put(&at, "!near: %s\n", p->near.fault);
	for (size_t i = 0; i < p->n_rows; i++) {
		const struct paths_choice *c = &p->rows[i].choice;
		const struct ip_prefix x = {c->path.prefix, c->path.prefix_len};

		put(&at, "%s%s %s %s", c->is_wrong ? "!" : "", p->rows[i].node, p->rows[i].has_prefix ? prefix_format(&x, prefix) : "-",
		    paths_way_name(c->way));
		if (!ip_is_any(&c->path.via))
			put(&at, " %s", ip_format(&c->path.via, ip));
		if (c->way == PATHS_WAY_VXLAN)
			put(&at, " %s", overlay_format_mac(c->path.mac, mac));
		put(&at, ": %s\n", c->why);
	}
	*at = 0;
	return text;
}

/* What comes of Nodes by these options; also, that what is sent is sound, and is what the rows say. */
static void check(const char *yaml, const struct paths_options *o, const char *expected)
{
	struct store *s = store_create();
	struct paths p;
	size_t n;

	store_load_yaml(s, "nodes.yaml", yaml, strlen(yaml));
	store_problems(s, &n);
	assert_int_equal(n, 0);
	assert_int_equal(paths_collect(s, o, &p), 0);
	assert_string_equal(dump(&p), expected);
	assert_int_equal(paths_blob_check(p.blob, p.blob_bytes), WEIR_REFUSED_OK);
	assert_int_equal(p.blob->n_paths, p.n_of[PATHS_WAY_NATIVE] + p.n_of[PATHS_WAY_VXLAN]);
	paths_fini(&p);
	store_destroy(s);
}

static const struct paths_options automatic;

static void a_node_routes_to_its_pod_cidrs(void **state)
{
	check(NODE("n2", "", "spec: {podCIDRs: ['10.244.2.0/24', 'fd00:2::/64']}\n"
			     "status: {addresses: [{type: InternalIP, address: 'fd01::2'}, {type: InternalIP, address: 192.0.2.2}]}\n")
	      NODE("n1", "", CIDR("10.244.1.0/24") AT("192.0.2.1")),
	      &automatic,
	      "n1 10.244.1.0/24 native 192.0.2.1: podCIDR, routed by the node's InternalIP\n"
	      "n2 10.244.2.0/24 native 192.0.2.2: podCIDR, routed by the node's InternalIP\n"
	      "n2 fd00:2::/64 native fd01::2: podCIDR, routed by the node's InternalIP\n");
	(void)state;
}

static void a_node_that_shows_nothing_has_no_way(void **state)
{
	check(NODE("n1", "", AT("192.0.2.1"))
	      NODE("n2", "", CIDR("10.244.2.0/24"))
	      NODE("n3", "", CIDR("fd00:3::/64") AT("192.0.2.3"))
	      NODE("n4", ", annotations: {projectcalico.org/IPv4Address: 192.0.2.4/24}", CIDR("10.244.4.0/24") AT("192.0.2.4")),
	      &automatic,
	      "n1 - none: it has no podCIDR\n"
	      "n2 10.244.2.0/24 none: the node has no IPv4 address as InternalIP\n"
	      "n3 fd00:3::/64 none: the node has no IPv6 address as InternalIP\n"
	      "n4 10.244.4.0/24 none: Calico's pods have addresses of its own blocks, not of podCIDRs: their ways come by BGP, or lead over "
	      "gateways\n");
	(void)state;
}

static void flannel_says_how(void **state)
{
	check(NODE("n1", ", annotations: {" FLANNEL "backend-type: host-gw, " FLANNEL "backend-data: 'null', " FLANNEL "public-ip: 198.51.100.1}",
		   CIDR("10.244.1.0/24") AT("192.0.2.1"))
	      NODE("n2", VXLAN(MAC("2"), "198.51.100.2"), CIDR("10.244.2.0/24") AT("192.0.2.2"))
	      NODE("n3", ", annotations: {" FLANNEL "backend-type: wireguard}", CIDR("10.244.3.0/24") AT("192.0.2.3")),
	      &automatic,
	      "n1 10.244.1.0/24 native 198.51.100.1: flannel's host-gw\n"
	      "n2 10.244.2.0/24 native 192.0.2.2: flannel's VXLAN, but no near end is known: routed by the node, which forwards to its own pods; "
	      "it has to be on our link, or routers have to lead there\n"
	      "n3 10.244.3.0/24 native 192.0.2.3: flannel's backend is none that Weir speaks: routed by the node, which forwards to its own pods\n");
	(void)state;
}

#define DUAL(n) \
	NODE("n" n, ", annotations: {" FLANNEL "backend-type: vxlan, " FLANNEL "public-ip: 192.0.2." n ", " FLANNEL "public-ipv6: 'fd01::" n "', " \
	     FLANNEL "backend-data: '{\"VNI\":1,\"VtepMAC\":\"" MAC(n) "\"}', " \
	     FLANNEL "backend-v6-data: '{\"VNI\":1,\"VtepMAC\":\"02:00:00:00:06:0" n "\"}'}", \
	     "spec: {podCIDRs: ['10.244." n ".0/24', 'fd00:" n "::/64']}\n" AT("192.0.2." n))

static void a_node_stands_for_the_near_end(void **state)
{
	const struct paths_options o = {.vtep_node = "n9"};
	struct paths_options other_port = o;

	check(DUAL("1") DUAL("9"), &o,
	      "near 10.244.9.0 02:00:00:00:00:09 1 8472\n"
	      "near fd00:9:: 02:00:00:00:06:09 1 8472\n"
	      "n1 10.244.1.0/24 vxlan 192.0.2.1 02:00:00:00:00:01: flannel's VXLAN\n"
	      "n1 fd00:1::/64 vxlan fd01::1 02:00:00:00:06:01: flannel's VXLAN\n"
	      "n9 10.244.9.0/24 ours: stands for our end of the tunnels\n"
	      "n9 fd00:9::/64 ours: stands for our end of the tunnels\n");
	assert_true(overlay_read_given("port=4789", &other_port.given[other_port.n_given++]));
	assert_true(overlay_read_given("source=10.244.9.9,mac=02:00:00:00:00:99", &other_port.given[other_port.n_given++]));
	check(DUAL("9"), &other_port,
	      "near 10.244.9.9 02:00:00:00:00:99 1 4789\n"
	      "near fd00:9:: 02:00:00:00:06:09 1 4789\n"
	      "n9 10.244.9.0/24 ours: stands for our end of the tunnels\n"
	      "n9 fd00:9::/64 ours: stands for our end of the tunnels\n");
	(void)state;
}

static void what_is_wrong_with_the_near_end_is_said(void **state)
{
	struct paths_options o = {.vtep_node = "n9"};

	check(NODE("n1", VXLAN(MAC("1"), "192.0.2.1"), CIDR("10.244.1.0/24") AT("192.0.2.1")), &o,
	      "!near: there is no Node n9\n"
	      "n1 10.244.1.0/24 native 192.0.2.1: flannel's VXLAN, but no near end is known: routed by the node, which forwards to its own pods; "
	      "it has to be on our link, or routers have to lead there\n");
	check(NODE("n9", "", CIDR("10.244.9.0/24")), &o,
	      "!near: there is no MAC address for IPv4: a VtepMAC, or mac= of --vtep, was expected\n"
	      "n9 10.244.9.0/24 ours: stands for our end of the tunnels\n");
	check(NODE("n9", VXLAN(MAC("9"), "192.0.2.9"), ""), &o,
	      "!near: Node n9 has no podCIDR, of which the address within the tunnel would be\n"
	      "n9 - none: it has no podCIDR\n");
	o.mode = PATHS_VXLAN;
	check(NODE("n1", VXLAN(MAC("1"), "192.0.2.1"), CIDR("10.244.1.0/24") AT("192.0.2.1")), &o,
	      "!near: there is no Node n9\n"
	      "n1 10.244.1.0/24 none: no near end is known (--vtep-node, --vtep)\n");
	(void)state;
}

static void cilium_has_prefixes_of_its_own_and_tunnels_where_an_end_is_given(void **state)
{
#define CILIUM \
	NODE("n1", ", annotations: {network.cilium.io/ipv4-pod-cidr: 10.0.1.0/24, " FLANNEL "backend-type: vxlan}", CIDR("10.244.1.0/24") AT("192.0.2.1")) \
	NODE("n2", ", annotations: {io.cilium.network.ipv4-pod-cidr: 10.0.2.0/24}", AT("192.0.2.2"))
	struct paths_options o = automatic;

	check(CILIUM, &o,
	      "n1 10.0.1.0/24 native 192.0.2.1: Cilium's prefix, and no near end of tunnels is given: routed by the node, which forwards to its own "
	      "pods\n"
	      "n2 10.0.2.0/24 native 192.0.2.2: Cilium's prefix, and no near end of tunnels is given: routed by the node, which forwards to its own "
	      "pods\n");
	assert_true(overlay_read_given("source=10.1.1.7,mac=02:00:00:00:00:07,vni=2", &o.given[o.n_given++]));
	check(CILIUM, &o,
	      "near 10.1.1.7 02:00:00:00:00:07 2 8472 any\n"
	      "n1 10.0.1.0/24 vxlan 192.0.2.1 02:00:c0:00:02:01: the near end of tunnels is given by --vtep: as Cilium's VTEP integration\n"
	      "n2 10.0.2.0/24 vxlan 192.0.2.2 02:00:c0:00:02:02: the near end of tunnels is given by --vtep: as Cilium's VTEP integration\n");
	(void)state;
}

static void what_is_wrong_with_a_node_is_said_and_the_rest_is_served(void **state)
{
	const struct paths_options o = {.vtep_node = "n9"};

	check(NODE("a", VXLAN("nonsense", "192.0.2.1"), CIDR("10.244.1.0/24") AT("192.0.2.1"))
	      NODE("b", VXLAN(MAC("2"), "nowhere"), CIDR("10.244.2.0/24") AT("192.0.2.2"))
	      NODE("c", ", annotations: {" FLANNEL "backend-type: vxlan, " FLANNEL "public-ip: 192.0.2.3, " FLANNEL
			"backend-data: '{\"VNI\":7,\"VtepMAC\":\"" MAC("3") "\"}'}", CIDR("10.244.3.0/24"))
	      NODE("d", "", CIDR("10.244.4.0/24") AT("127.0.0.1"))
	      NODE("e", "", CIDR("10.244.5.0/24") AT("10.244.5.1"))
	      NODE("f", "", "spec: {podCIDRs: ['0.0.0.0/0', '10.244.6.0/24', 7]}\n" AT("192.0.2.6"))
	      NODE("g", VXLAN(MAC("7"), "192.0.2.7"), CIDR("10.244.7.0/24"))
	      NODE("n9", VXLAN(MAC("9"), "192.0.2.9"), CIDR("10.244.9.0/24")),
	      &o,
	      "near 10.244.9.0 02:00:00:00:00:09 1 8472\n"
	      "!a 10.244.1.0/24 none: " FLANNEL "backend-data has a VtepMAC that is none of one host\n"
	      "!b 10.244.2.0/24 none: " FLANNEL "public-ip nowhere is no IPv4 address that can be reached\n"
	      "!c 10.244.3.0/24 none: its VNI 7 is not 1, the near end's\n"
	      "!d 10.244.4.0/24 none: InternalIP 127.0.0.1 is no address that can be reached\n"
	      "!e 10.244.5.0/24 none: the node's address is one of those that it would lead to\n"
	      "f 10.244.6.0/24 native 192.0.2.6: podCIDR, routed by the node's InternalIP\n"
	      "!f - none: podCIDR (no text) is no prefix\n"
	      "g 10.244.7.0/24 vxlan 192.0.2.7 02:00:00:00:00:07: flannel's VXLAN\n"
	      "n9 10.244.9.0/24 ours: stands for our end of the tunnels\n");
	(void)state;
}

static void of_prefixes_that_overlap_the_older_nodes_count(void **state)
{
	check(NODE("a", BORN("03"), CIDR("10.244.0.0/16") AT("192.0.2.1"))
	      NODE("b", BORN("02"), CIDR("10.244.1.0/24") AT("192.0.2.2"))
	      NODE("c", BORN("04"), CIDR("10.244.1.0/24") AT("192.0.2.3"))
	      NODE("d", BORN("05"), CIDR("10.244.1.128/25") AT("192.0.2.4"))
	      NODE("e", BORN("06"), CIDR("10.244.2.0/24") AT("192.0.2.5")),
	      &automatic,
	      "!a 10.244.0.0/16 none: it overlaps 10.244.1.0/24 of Node b, which is older\n"
	      "b 10.244.1.0/24 native 192.0.2.2: podCIDR, routed by the node's InternalIP\n"
	      "!c 10.244.1.0/24 none: it overlaps 10.244.1.0/24 of Node b, which is older\n"
	      "!d 10.244.1.128/25 none: it overlaps 10.244.1.0/24 of Node b, which is older\n"
	      "e 10.244.2.0/24 native 192.0.2.5: podCIDR, routed by the node's InternalIP\n");
	(void)state;
}

static void a_mode_overrides_what_the_cluster_shows(void **state)
{
#define ANY NODE("n1", VXLAN("nonsense", "192.0.2.1"), CIDR("10.244.1.0/24") AT("192.0.2.1")) NODE("n2", "", AT("192.0.2.2")) NODE("n3", "", "")
	const struct paths_options native = {.mode = PATHS_NATIVE}, node_port = {.mode = PATHS_NODE_PORT}, off = {.mode = PATHS_OFF};

	check(ANY, &native,
	      "n1 10.244.1.0/24 native 192.0.2.1: --paths native\n"
	      "n2 - none: it has no podCIDR\n"
	      "n3 - none: it has no podCIDR\n");
	check(ANY, &node_port,
	      "n1 10.244.1.0/24 node-port 192.0.2.1: --paths node-port\n"
	      "n2 - node-port 192.0.2.2: --paths node-port\n"
	      "n3 - none: it has no InternalIP\n");
	check(ANY, &off, "");
	(void)state;
}

/* Whatever their order, names and ages: nothing overlaps, and those that are refused overlap something. */
static void the_same_nodes_give_the_same_bytes(void **state)
{
	struct paths first = {0}, p;
	static const unsigned order[][4] = {{0, 1, 2, 3}, {3, 2, 1, 0}, {2, 0, 3, 1}};
	static const char *const files[] = {NODE("n1", BORN("01"), CIDR("10.244.1.0/24") AT("192.0.2.1")),
					    NODE("n2", BORN("02"), CIDR("10.244.0.0/16") AT("192.0.2.2")),
					    NODE("n3", BORN("03"), CIDR("10.244.3.0/24") AT("192.0.2.3")),
					    NODE("n4", BORN("03"), CIDR("10.244.3.0/24") AT("192.0.2.4"))};

	for (unsigned k = 0; k < 3; k++) {
		struct store *s = store_create();

		for (unsigned i = 0; i < 4; i++) {
			char name[2] = {(char)('a' + i), 0};

			store_load_yaml(s, name, files[order[k][i]], strlen(files[order[k][i]]));
		}
		assert_int_equal(paths_collect(s, &automatic, k ? &p : &first), 0);
		if (k) {
			assert_int_equal(p.blob_bytes, first.blob_bytes);
			assert_memory_equal(p.blob, first.blob, p.blob_bytes);
			assert_int_equal(p.n_wrong, 2);
			paths_fini(&p);
		}
		store_destroy(s);
	}
	assert_int_equal(first.blob->n_paths, 2);
	paths_fini(&first);
	(void)state;
}

static void what_is_beyond_the_bound_is_named(void **state)
{
	struct store *s = store_create();
	const size_t n = WEIR_MAX_PATHS + 3;
	char *yaml = malloc(n * 256), *at = yaml;
	struct paths p;

	for (size_t i = 0; i < n; i++)
		put(&at, NODE("n%05zu", "", "spec: {podCIDRs: [10.%zu.%zu.%zu/28]}\nstatus: {addresses: [{type: InternalIP, address: 192.0.2.1}]}"),
		    i, i >> 12, i >> 4 & 255, (i & 15) << 4);
	store_load_yaml(s, "nodes.yaml", yaml, (size_t)(at - yaml));
	assert_int_equal(paths_collect(s, &automatic, &p), 0);
	assert_int_equal(p.n_nodes, n);
	assert_int_equal(p.blob->n_paths, WEIR_MAX_PATHS);
	assert_int_equal(p.n_beyond, 3);
	assert_int_equal(p.n_wrong, 3);
	assert_string_equal(p.rows[n - 1].choice.why, "there are more than 16384 ways");
	assert_int_equal(p.rows[n - 1].choice.way, PATHS_WAY_NONE);
	assert_int_equal(paths_blob_check(p.blob, p.blob_bytes), WEIR_REFUSED_OK);
	paths_fini(&p);
	store_destroy(s);
	free(yaml);
	(void)state;
}

/* ---- bytes */

static void seal(struct weir_paths *p, size_t n)
{
	p->checksum = hash64_zeroed(p, n, offsetof(struct weir_paths, checksum), sizeof(p->checksum), 0);
}

/* One change of sound bytes, and what it is refused for. */
static void refuses(unsigned which, enum weir_refusal why)
{
	struct weir_vtep vtep[2] = {{.source = {{[10] = 0xff, 0xff, 10, 0, 0, 7}}, .mac = {2}, .port = 8472, .vni = 1}};
	struct weir_pod_path list[2] = {{.prefix = {{[10] = 0xff, 0xff, 10, 0, 1, 0}}, .via = {{[10] = 0xff, 0xff, 192, 0, 2, 1}}, .prefix_len = 24, .kind = WEIR_PATH_ROUTE},
				    {.prefix = {{[10] = 0xff, 0xff, 10, 0, 2, 0}}, .via = {{[10] = 0xff, 0xff, 192, 0, 2, 2}}, .prefix_len = 24, .kind = WEIR_PATH_VXLAN}};
	size_t n;
	struct weir_paths *p = paths_blob_make(list, 2, vtep, &n);
	struct weir_pod_path *at = (struct weir_pod_path *)(void *)(p + 1);

	assert_int_equal(paths_blob_check(p, n), WEIR_REFUSED_OK);
	switch (which) {
	case 0: n--; break;
	case 1: n = sizeof(*p) - 1; break;
	case 2: p->magic++; break;
	case 3: p->abi_major++; break;
	case 4: p->n_paths = 3; break;
	case 5: p->n_paths = WEIR_MAX_PATHS + 1; break;
	case 6: at[0].prefix.b[15] = 1; break;
	case 7: at[0].prefix_len = 33; break;
	case 8: at[0].kind = 3; break;
	case 9: memset(&at[0].via, 0, 16); break;
	case 10: at[0].via.b[0] = 0xfd; break; /* of the other family */
	case 11: at[1].prefix = at[0].prefix; break;
	case 12: memset(&p->vtep[0], 0, sizeof(p->vtep[0])); break; /* a tunnel without a near end */
	case 13: p->vtep[0].port = 0; break;
	case 14: p->vtep[0].vni = 1 << 24; break;
	case 15: p->vtep[1] = p->vtep[0]; break;
	case 16: p->vtep[0].flags = 2; break;
	default: p->checksum++;
	}
	if (which >= 4 && which <= 16)
		seal(p, n);
	assert_int_equal(paths_blob_check(p, n), why);
	free(p);
}

static void bytes_that_are_wrong_are_refused(void **state)
{
	static const enum weir_refusal why[] = {
	    WEIR_REFUSED_TRUNCATED, WEIR_REFUSED_TRUNCATED, WEIR_REFUSED_BAD_MAGIC, WEIR_REFUSED_BAD_ABI,   WEIR_REFUSED_TRUNCATED, WEIR_REFUSED_TOO_BIG,
	    WEIR_REFUSED_BAD_VALUE, WEIR_REFUSED_BAD_VALUE, WEIR_REFUSED_BAD_VALUE, WEIR_REFUSED_BAD_VALUE, WEIR_REFUSED_BAD_VALUE, WEIR_REFUSED_BAD_ORDER,
	    WEIR_REFUSED_BAD_VALUE, WEIR_REFUSED_BAD_VALUE, WEIR_REFUSED_BAD_VALUE, WEIR_REFUSED_BAD_VALUE, WEIR_REFUSED_BAD_VALUE,
	    WEIR_REFUSED_BAD_CHECKSUM};

	for (unsigned i = 0; i < sizeof(why) / sizeof(*why); i++)
		refuses(i, why[i]);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_node_routes_to_its_pod_cidrs),
	    cmocka_unit_test(a_node_that_shows_nothing_has_no_way),
	    cmocka_unit_test(flannel_says_how),
	    cmocka_unit_test(a_node_stands_for_the_near_end),
	    cmocka_unit_test(what_is_wrong_with_the_near_end_is_said),
	    cmocka_unit_test(cilium_has_prefixes_of_its_own_and_tunnels_where_an_end_is_given),
	    cmocka_unit_test(what_is_wrong_with_a_node_is_said_and_the_rest_is_served),
	    cmocka_unit_test(of_prefixes_that_overlap_the_older_nodes_count),
	    cmocka_unit_test(a_mode_overrides_what_the_cluster_shows),
	    cmocka_unit_test(the_same_nodes_give_the_same_bytes),
	    cmocka_unit_test(what_is_beyond_the_bound_is_named),
	    cmocka_unit_test(bytes_that_are_wrong_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
