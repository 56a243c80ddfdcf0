/* SPDX-License-Identifier: Apache-2.0 */
/* The exception path at the worker: what goes to the kernel, in which class, at which rate, and what the kernel sends. */
#include <unistd.h>

#include <rte_ring.h>

#include "base/wake.h"
#include "rig.h"

#include "../../eal.h"

#define KERNEL4 "10.0.0.3"
#define RATE 5 /* packets a second, of each class */
#define RING 64

enum { UDP = 17 };

static struct rte_ring *up[RIG_N], *down;
static struct wake wake;

static int start(void **state)
{
	if (rig_start(state) != 0 || wake_init(&wake) != 0)
		return -1;
	for (uint16_t i = 0; i < RIG_N; i++) {
		char name[16];

		snprintf(name, sizeof(name), "up%d", i);
		up[i] = rte_ring_create(name, RING, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
	}
	down = rte_ring_create("down", RING, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
	return 0;
}

static int setup(void **state)
{
	for (uint16_t i = 0; i < RIG_N; i++) {
		rig.punt[i] = (struct net_punt_config){.up = up[i], .down = i == 0 ? down : NULL, .wake = &wake};
		for (unsigned c = 0; c < PUNT_N_CLASSES; c++)
			rig.punt[i].per_s[c] = RATE;
	}
	rig.port.has_kernel = true;
	rig.iface.addrs[0].is_shared = false;
	rig.listens = rig.has_flow = false;
	wake_disarm(&wake);
	rig_setup(state);
	rig_know_neighbours();
	return 0;
}

static unsigned n_up(uint8_t *frame, unsigned *len)
{
	unsigned n = 0;
	void *v;

	for (int i = 0; i < RIG_N; i++)
		while (rte_ring_sc_dequeue(up[i], &v) == 0) {
			struct rte_mbuf *m = v;

			if (frame)
				memcpy(frame, rte_pktmbuf_mtod(m, void *), *len = m->data_len);
			assert_int_equal(m->port, 0);
			rte_pktmbuf_free(m);
			n++;
		}
	return n;
}

static int teardown(void **state)
{
	n_up(NULL, NULL);
	return rig_teardown(state);
}

/* One packet of the peer, and whether it went up just as it came. */
static bool goes_up(const uint8_t *frame, unsigned len)
{
	uint8_t got[2048];
	unsigned got_len = 0;

	rig_give_one(0, frame, len);
	if (n_up(got, &got_len) == 0)
		return false;
	assert_int_equal(got_len, len);
	assert_memory_equal(got, frame, len);
	return true;
}

static unsigned build_udp(uint8_t *f, const char *dst, uint16_t sport, uint16_t dport)
{
	const uint8_t p[12] = {(uint8_t)(sport >> 8), (uint8_t)sport, (uint8_t)(dport >> 8), (uint8_t)dport, 0, 12};

	return rig_build_ip(f, RIG_HIM4, dst, UDP, p, sizeof(p));
}

static unsigned build_tcp(uint8_t *f, const char *dst, uint16_t sport, uint16_t dport)
{
	const struct rig_segment s = {.src = RIG_HIM4, .dst = dst, .sport = sport, .dport = dport, .flags = 2, .wnd = 1000};

	return rig_build(f, &s);
}

static unsigned build_other(uint8_t *f, uint16_t ethertype)
{
	memset(f, 0, 60);
	memcpy(f, rig_us, 6);
	memcpy(f + 6, rig_him, 6);
	f[12] = (uint8_t)(ethertype >> 8);
	f[13] = (uint8_t)ethertype;
	return 60;
}

static unsigned build_arp(uint8_t *f, uint8_t op, const char *sender, const char *target)
{
	struct weir_ip s = rig_ip(sender), t = rig_ip(target);

	build_other(f, ETHERTYPE_ARP);
	memset(f, op == 1 ? 0xff : 0, 6);
	if (op != 1)
		memcpy(f, rig_us, 6);
	memcpy(f + 14, (const uint8_t[]){0, 1, 8, 0, 6, 4, 0, op}, 8);
	memcpy(f + 22, rig_him, 6);
	memcpy(f + 28, s.b + 12, 4);
	memcpy(f + 38, t.b + 12, 4);
	return 60;
}

static void each_packet_is_of_its_class(void **state)
{
	const uint8_t igmp[8] = {0x11}, echo[8] = {8};
	uint8_t f[256];
	static const struct {
		enum weir_counter counter;
		unsigned (*build)(uint8_t *, const char *, uint16_t, uint16_t);
		uint16_t sport, dport;
	} ports[] = {
		{WEIR_C_PUNTED_ROUTING, build_tcp, 179, 40000},	   {WEIR_C_PUNTED_ROUTING, build_udp, 49152, 3784},
		{WEIR_C_PUNTED_ROUTING, build_udp, 49152, 4784},   {WEIR_C_PUNTED_MANAGEMENT, build_tcp, 40000, 22},
		{WEIR_C_PUNTED_MANAGEMENT, build_udp, 67, 68},	   {WEIR_C_PUNTED_OTHER, build_tcp, 40000, 8080},
		{WEIR_C_PUNTED_OTHER, build_udp, 5353, 5353},
	};

	for (unsigned i = 0; i < RTE_DIM(ports); i++) {
		uint64_t before = rig_counter(ports[i].counter);

		assert_true(goes_up(f, ports[i].build(f, KERNEL4, ports[i].sport, ports[i].dport)));
		assert_int_equal(rig_counter(ports[i].counter), before + 1);
	}
	assert_true(goes_up(f, rig_build_ip(f, RIG_HIM4, "224.0.0.1", 2, igmp, sizeof(igmp))));
	assert_true(goes_up(f, build_other(f, 60))); /* LLC */
	assert_int_equal(rig_counter(WEIR_C_PUNTED_ROUTING), 5);
	assert_true(goes_up(f, rig_build_ip(f, RIG_HIM4, KERNEL4, PROTO_ICMP, echo, sizeof(echo))));
	assert_int_equal(rig_counter(WEIR_C_PUNTED_ICMP), 1);
	assert_true(goes_up(f, build_arp(f, 1, RIG_HIM4, KERNEL4)));
	assert_int_equal(rig_counter(WEIR_C_PUNTED_NEIGHBOUR), 1);
	assert_true(goes_up(f, build_other(f, 0x88cc))); /* LLDP */
	assert_int_equal(rig_counter(WEIR_C_PUNTED_OTHER), 3);
}

static void only_routers_have_the_rate_of_routing(void **state)
{
	struct weir_ip routers[2] = {rig_ip("10.0.0.77"), rig_ip(RIG_HIM4)};
	uint8_t f[256];

	rig.net[0]->cfg.punt.routers = routers;
	rig.net[0]->cfg.punt.n_routers = 1;
	assert_true(goes_up(f, build_tcp(f, KERNEL4, 40000, 179)));
	assert_true(goes_up(f, build_udp(f, KERNEL4, 49152, 3784)));
	assert_int_equal(rig_counter(WEIR_C_PUNTED_OTHER), 2);
	rig.net[0]->cfg.punt.n_routers = 2;
	assert_true(goes_up(f, build_tcp(f, KERNEL4, 40000, 179)));
	assert_true(goes_up(f, build_udp(f, KERNEL4, 49152, 3784)));
	assert_int_equal(rig_counter(WEIR_C_PUNTED_ROUTING), 2);
}

static void a_flood_of_one_class_leaves_the_others_their_rate(void **state)
{
	unsigned n = 0;
	uint8_t f[256];

	for (unsigned i = 0; i < 3 * RATE; i++)
		n += goes_up(f, build_udp(f, KERNEL4, 1, 9));
	assert_int_equal(n, RATE);
	assert_int_equal(rig_reason(WEIR_R_PUNT_RATE_OTHER), 2 * RATE);
	assert_true(goes_up(f, build_tcp(f, KERNEL4, 40000, 179)));
	rig.now += 1000000 / RATE;
	assert_true(goes_up(f, build_udp(f, KERNEL4, 1, 9)));
	assert_false(goes_up(f, build_udp(f, KERNEL4, 1, 9)));
}

static void half_of_the_ring_is_for_routing(void **state)
{
	unsigned half = rte_ring_get_capacity(up[0]) / 2;
	uint8_t f[256];
	unsigned len = build_udp(f, KERNEL4, 1, 9);

	for (unsigned i = 0; i < half + 5; i++) {
		rig.now += 1000000;
		rig_give_one(0, f, len);
	}
	assert_int_equal(rte_ring_count(up[0]), half + 1);
	assert_int_equal(rig_reason(WEIR_R_PUNT_RING_FULL), 4);
	rig_give_one(0, f, build_tcp(f, KERNEL4, 40000, 179));
	assert_int_equal(rte_ring_count(up[0]), half + 2);
}

static void what_is_weirs_stays(void **state)
{
	uint8_t f[256];
	const uint8_t echo[8] = {8};

	assert_false(goes_up(f, build_tcp(f, RIG_US4, 40000, 4444))); /* TCP answers it, by RST if need be */
	assert_int_equal(rig.n_inputs, 1);
	assert_false(goes_up(f, rig_build_ip(f, RIG_HIM4, RIG_US4, PROTO_ICMP, echo, sizeof(echo))));
	assert_false(goes_up(f, build_udp(f, RIG_US4, 1, 9))); /* answered by ICMP */
	assert_false(goes_up(f, build_arp(f, 1, RIG_HIM4, RIG_US4)));
}

static void without_a_kernel_it_is_dropped_by_its_name(void **state)
{
	uint8_t f[256];

	rig.port.has_kernel = false;
	assert_false(goes_up(f, build_udp(f, KERNEL4, 1, 9)));
	assert_int_equal(rig_reason(WEIR_R_IP_NOT_OURS), 1);
	assert_false(goes_up(f, build_other(f, 0x88cc)));
	assert_int_equal(rig_reason(WEIR_R_RX_UNKNOWN_ETHERTYPE), 1);
	assert_false(goes_up(f, build_arp(f, 1, RIG_HIM4, KERNEL4)));
	assert_int_equal(rig_reason(WEIR_R_ARP_NOT_OURS), 1);
}

static void of_a_shared_address_weir_keeps_what_it_knows(void **state)
{
	const uint8_t reply[8] = {0}, unreachable[36] = {3, 3, 0, 0, 0, 0, 0, 0, 0x45};
	uint8_t f[256];

	rig.iface.addrs[0].is_shared = true;
	assert_true(goes_up(f, build_tcp(f, RIG_US4, 40000, 22)));
	assert_true(goes_up(f, build_udp(f, RIG_US4, 53, 40000)));
	assert_true(goes_up(f, rig_build_ip(f, RIG_HIM4, RIG_US4, PROTO_ICMP, reply, sizeof(reply)))); /* the kernel asked */
	assert_true(goes_up(f, rig_build_ip(f, RIG_HIM4, RIG_US4, PROTO_ICMP, unreachable, sizeof(unreachable))));
	rig.listens = true;
	assert_false(goes_up(f, build_tcp(f, RIG_US4, 40000, 80)));
	rig.listens = false;
	rig.has_flow = true;
	assert_false(goes_up(f, build_tcp(f, RIG_US4, 40000, 20001)));
	assert_int_equal(rig.n_inputs, 2);
}

static void answers_of_neighbours_are_learned_by_both(void **state)
{
	uint8_t f[256];

	assert_true(goes_up(f, build_arp(f, 2, RIG_HIM4, RIG_US4)));
	assert_false(goes_up(f, build_arp(f, 1, RIG_HIM4, RIG_US4)));
}

static void from_kernel(const uint8_t *frame, unsigned len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(rig.pool);

	memcpy(rte_pktmbuf_append(m, (uint16_t)len), frame, len);
	m->port = 0;
	assert_int_equal(rte_ring_sp_enqueue(down, m), 0);
	rig_poll();
}

static void what_the_kernel_sends_goes_out_as_it_is(void **state)
{
	uint8_t f[256];
	unsigned len = build_tcp(f, RIG_HIM4, 179, 40000);

	memcpy(f, rig_him, 6);
	memcpy(f + 6, rig_us, 6);
	from_kernel(f, len);
	assert_int_equal(rig.n_sent, 1);
	assert_int_equal(rig.sent[0].len, len);
	assert_memory_equal(rig.sent[0].data, f, len);
	assert_int_equal(rig_counter(WEIR_C_KERNEL_TX), 1);
}

static void what_the_kernel_sends_to_weir_comes_in_and_its_answer_goes_up(void **state)
{
	uint8_t f[256], got[256];
	unsigned len;

	build_arp(f, 1, KERNEL4, RIG_US4);
	memcpy(f + 6, rig_us, 6);
	memcpy(f + 22, rig_us, 6);
	from_kernel(f, 60);
	assert_int_equal(rig.n_sent, 0);
	assert_int_equal(n_up(got, &len), 1);
	assert_int_equal(got[21], 2);
	assert_memory_equal(got, rig_us, 6);
	len = build_tcp(f, RIG_US4, 40000, 80);
	from_kernel(f, len); /* to the port's link address */
	assert_int_equal(rig.n_inputs, 1);
	assert_int_equal(rig_counter(WEIR_C_KERNEL_RX_LOCAL), 2);
	from_kernel(f, build_udp(f, "10.0.0.77", 1, 9)); /* nobody's: not back to where it came from */
	assert_int_equal(n_up(got, &len), 0);
	assert_int_equal(rig_reason(WEIR_R_PUNT_LOOP), 1);
}

static void a_kernel_that_sleeps_is_woken_once_an_iteration(void **state)
{
	uint8_t f[256];
	uint64_t count;

	assert_int_equal(read(wake.fd, &count, sizeof(count)), -1);
	rig_give_one(0, f, build_tcp(f, KERNEL4, 40000, 179));
	wake_arm(&wake);
	rig_give_one(0, f, build_tcp(f, KERNEL4, 40000, 179));
	assert_int_equal(read(wake.fd, &count, sizeof(count)), sizeof(count));
	assert_int_equal(count, 1);
	rig_give_one(0, f, build_tcp(f, KERNEL4, 40000, 179));
	assert_int_equal(read(wake.fd, &count, sizeof(count)), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_packet_is_of_its_class, setup, teardown),
		cmocka_unit_test_setup_teardown(only_routers_have_the_rate_of_routing, setup, teardown),
		cmocka_unit_test_setup_teardown(a_flood_of_one_class_leaves_the_others_their_rate, setup, teardown),
		cmocka_unit_test_setup_teardown(half_of_the_ring_is_for_routing, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_weirs_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(without_a_kernel_it_is_dropped_by_its_name, setup, teardown),
		cmocka_unit_test_setup_teardown(of_a_shared_address_weir_keeps_what_it_knows, setup, teardown),
		cmocka_unit_test_setup_teardown(answers_of_neighbours_are_learned_by_both, setup, teardown),
		cmocka_unit_test_setup_teardown(what_the_kernel_sends_goes_out_as_it_is, setup, teardown),
		cmocka_unit_test_setup_teardown(what_the_kernel_sends_to_weir_comes_in_and_its_answer_goes_up, setup, teardown),
		cmocka_unit_test_setup_teardown(a_kernel_that_sleeps_is_woken_once_an_iteration, setup, teardown),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, start, NULL);
}
