/* SPDX-License-Identifier: Apache-2.0 */
/* Two dataplanes with one address: what one says of it, whom it believes to be the other, and which segments go there. */
#include "rig.h"

#include "../../eal.h"

#define VIP4 "10.0.0.100"
#define SYN 0x02
#define ACK 0x10

static const uint8_t other[6] = {2, 0, 0, 0, 0, 7}; /* the other dataplane's link address */

static int setup(void **state)
{
	rig.hands_over = true;
	rig.iface.addrs[2] = (struct net_addr){.ip = rig_ip(VIP4), .prefix_len = 32, .is_served = true};
	rig.iface.n_addrs = 3;
	rig.has_flow = rig.is_cookie = false;
	rig_setup(state);
	rig_know_neighbours();
	return 0;
}

static unsigned build_arp(uint8_t *f, uint8_t op, const uint8_t *mac, const char *sender, const char *target)
{
	struct weir_ip s = rig_ip(sender), t = rig_ip(target);

	memset(f, 0, 60);
	memset(f, 0xff, 6);
	memcpy(f + 6, mac, 6);
	f[12] = 8;
	f[13] = 6;
	memcpy(f + 14, (const uint8_t[]){0, 1, 8, 0, 6, 4, 0, op}, 8);
	memcpy(f + 22, mac, 6);
	memcpy(f + 28, s.b + 12, 4);
	memcpy(f + 38, t.b + 12, 4);
	return 60;
}

static void give_arp(uint8_t op, const uint8_t *mac, const char *sender, const char *target)
{
	uint8_t f[60];

	rig.n_sent = 0;
	rig_give_one(0, f, build_arp(f, op, mac, sender, target));
}

static unsigned n_arp(uint8_t op, const char *sender)
{
	struct weir_ip s = rig_ip(sender);
	unsigned n = 0;

	for (unsigned i = 0; i < rig.n_sent; i++)
		n += rig.sent[i].data[12] == 8 && rig.sent[i].data[13] == 6 && rig.sent[i].data[21] == op && memcmp(rig.sent[i].data + 28, s.b + 12, 4) == 0;
	return n;
}

static void serve(void)
{
	for (int i = 0; i < RIG_N; i++)
		net_serve(rig.net[i]);
	for (int i = 0; i < 5; i++) {
		rig.now += 100000;
		rig_poll();
	}
	for (int i = 0; i < 4; i++) { /* announcements */
		rig.now += 1000000;
		rig_poll();
	}
	rig.n_sent = 0;
}

/* A segment of the peer's, from this link address, to either worker; where it went: 't' to TCP, 'o' to the other dataplane. */
static char goes(uint8_t flags, const uint8_t *from)
{
	const struct rig_segment s = {.src = RIG_HIM4, .dst = VIP4, .sport = 40000, .dport = 80, .flags = flags, .wnd = 1000, .n_payload = 10};
	unsigned n_inputs = rig.n_inputs;
	uint8_t f[256];
	unsigned len = rig_build(f, &s);

	memcpy(f + 6, from, 6);
	rig.n_sent = 0;
	rig_give_one(0, f, len);
	if (rig.n_inputs > n_inputs)
		return 't';
	assert_int_equal(rig.n_sent, 1);
	assert_int_equal(rig.sent[0].len, len);
	assert_memory_equal(rig.sent[0].data, other, 6);
	assert_memory_equal(rig.sent[0].data + 6, rig_us, 6);
	assert_memory_equal(rig.sent[0].data + 12, f + 12, len - 12); /* as it came */
	return 'o';
}

static void nothing_is_said_of_the_address_before_there_are_routes(void **state)
{
	for (int i = 0; i < 30; i++) {
		rig.now += 100000;
		rig_poll();
	}
	assert_int_equal(n_arp(1, VIP4), 0);
	assert_true(n_arp(1, "0.0.0.0") >= 3); /* probes, which say nothing of us */
	give_arp(1, rig_him, RIG_HIM4, VIP4);
	assert_int_equal(n_arp(2, VIP4), 0);
	give_arp(1, rig_him, RIG_HIM4, RIG_US4); /* our own is another matter */
	assert_int_equal(n_arp(2, RIG_US4), 1);
	for (int i = 0; i < RIG_N; i++)
		net_serve(rig.net[i]);
	rig.n_sent = 0;
	for (int i = 0; i < 5; i++) {
		rig.now += 1000000;
		rig_poll();
	}
	assert_int_equal(n_arp(1, VIP4), 3);
	give_arp(1, rig_him, RIG_HIM4, VIP4);
	assert_int_equal(n_arp(2, VIP4), 1);
}

static void nobody_else_there_means_that_all_is_ours(void **state)
{
	serve();
	assert_int_equal(goes(ACK, rig_him), 't');
	assert_int_equal(goes(SYN, rig_him), 't');
	assert_int_equal(rig_counter(WEIR_C_HANDED_ON), 0);
}

static void segments_of_no_connection_go_to_who_has_the_address_too(void **state)
{
	serve();
	give_arp(2, other, VIP4, RIG_US4);
	assert_int_equal(rig_counter(WEIR_C_ADDRESS_CLAIMS), 1);
	assert_int_equal(goes(ACK, rig_him), 'o');
	assert_int_equal(goes(SYN | ACK, rig_him), 'o');
	assert_int_equal(goes(SYN, rig_him), 't'); /* a new one, which came to us */
	assert_int_equal(goes(ACK, other), 't');   /* not back again */
	rig.has_flow = true;
	assert_int_equal(goes(ACK, rig_him), 't');
	assert_int_equal(rig_counter(WEIR_C_HANDED_ON), 2);
}

static void what_brings_a_cookie_of_ours_back_stays(void **state)
{
	serve();
	give_arp(2, other, VIP4, RIG_US4);
	rig.is_cookie = true;
	assert_int_equal(goes(ACK, rig_him), 't');
	for (int i = 0; i < RIG_N; i++)
		net_leave(rig.net[i]);
	assert_int_equal(goes(ACK, rig_him), 't');
	assert_int_equal(rig_counter(WEIR_C_HANDED_ON), 0);
}

/* A router's "fragmentation needed" that quotes a segment from this address, by this frame's sender; as goes(). */
static char error_goes(const char *quoted, const uint8_t *from)
{
	const struct rig_segment s = {.src = quoted, .dst = RIG_HIM4, .sport = 80, .dport = 40000, .flags = ACK, .n_payload = 60};
	uint8_t f[256], p[256] = {3, 4, 0, 0, 0, 0, 4, 0};
	unsigned len;

	rig_build(f, &s);
	f[16] = 1500 >> 8;
	f[17] = 1500 & 0xff;
	memcpy(p + 8, f + 14, 28);
	len = rig_build_ip(f, "10.0.0.1", quoted, PROTO_ICMP, p, 36);
	memcpy(f + 6, from, 6);
	rig.n_sent = rig.n_icmp = 0;
	rig_give_one(0, f, len);
	if (rig.n_sent == 0)
		return rig.n_icmp ? 't' : '-';
	assert_int_equal(rig.n_sent, 1);
	assert_memory_equal(rig.sent[0].data, other, 6);
	assert_memory_equal(rig.sent[0].data + 12, f + 12, len - 12);
	return 'o';
}

static void errors_about_the_others_connections_go_to_it(void **state)
{
	for (unsigned stable = 0; stable < 2; stable++) { /* one worker is asked, or all of them */
		rig.port.caps.stable_rss = stable;
		rig_teardown(state);
		setup(state);
		serve();
		assert_int_equal(error_goes(VIP4, rig_him), 't'); /* nobody else is there */
		give_arp(2, other, VIP4, RIG_US4);
		assert_int_equal(error_goes(VIP4, rig_him), 'o');
		assert_int_equal(rig_counter(WEIR_C_HANDED_ON), 1);
		assert_int_equal(rig.n_icmp, stable); /* the other worker, which may have the connection */
		assert_int_equal(error_goes(VIP4, other), 't'); /* not back again */
		assert_int_equal(error_goes(RIG_US4, rig_him), 't'); /* of an address that is ours alone */
		rig.has_flow = true;
		assert_int_equal(error_goes(VIP4, rig_him), 't');
		rig.has_flow = false;
	}
	rig.port.caps.stable_rss = false;
}

static void who_has_left_waits_for_what_had_begun(void **state)
{
	serve();
	assert_false(net_is_handing_over(rig.net[0]));
	net_leave(rig.net[0]);
	assert_false(net_is_handing_over(rig.net[0])); /* to nobody */
	give_arp(2, other, VIP4, RIG_US4);
	assert_true(net_is_handing_over(rig.net[0]));
	rig.now += 3000000;
	rig_poll();
	assert_false(net_is_handing_over(rig.net[0]));
}

static void who_leaves_sends_new_connections_on_and_answers_the_other_alone(void **state)
{
	serve();
	give_arp(1, other, VIP4, VIP4); /* its announcement */
	for (int i = 0; i < RIG_N; i++)
		net_leave(rig.net[i]);
	assert_int_equal(goes(SYN, rig_him), 'o');
	assert_int_equal(goes(SYN, other), 't'); /* TCP refuses it, then */
	give_arp(1, rig_him, RIG_HIM4, VIP4);
	assert_int_equal(n_arp(2, VIP4), 0);
	give_arp(1, other, "0.0.0.0", VIP4);
	assert_int_equal(n_arp(2, VIP4), 1);
}

static void who_leaves_alone_stays_where_it_is(void **state)
{
	serve();
	for (int i = 0; i < RIG_N; i++)
		net_leave(rig.net[i]);
	assert_int_equal(goes(SYN, rig_him), 't');
	give_arp(1, rig_him, RIG_HIM4, VIP4);
	assert_int_equal(n_arp(2, VIP4), 1);
}

static void who_is_not_heard_of_any_more_is_forgotten(void **state)
{
	serve();
	give_arp(2, other, VIP4, RIG_US4);
	for (int i = 0; i < 8; i++) { /* it answers what it is asked each second */
		rig.now += 1000000;
		rig.n_sent = 0;
		rig_poll();
		assert_true(n_arp(1, "0.0.0.0") >= 1);
		give_arp(2, other, VIP4, "0.0.0.0");
	}
	assert_int_equal(goes(ACK, rig_him), 'o');
	for (int i = 0; i < 6; i++) {
		rig.now += 1000000;
		rig_poll();
	}
	assert_int_equal(goes(ACK, rig_him), 't');
}

static void endpoints_are_spoken_to_from_an_address_of_ones_own(void **state)
{
	struct weir_ip remote = rig_ip("10.0.0.55"), local;

	assert_true(net_source_for(rig.net[0], &remote, &local));
	assert_memory_equal(local.b, rig.iface.addrs[0].ip.b, 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nothing_is_said_of_the_address_before_there_are_routes, setup, rig_teardown),
		cmocka_unit_test_setup_teardown(nobody_else_there_means_that_all_is_ours, setup, rig_teardown),
		cmocka_unit_test_setup_teardown(segments_of_no_connection_go_to_who_has_the_address_too, setup, rig_teardown),
		cmocka_unit_test_setup_teardown(what_brings_a_cookie_of_ours_back_stays, setup, rig_teardown),
		cmocka_unit_test_setup_teardown(errors_about_the_others_connections_go_to_it, setup, rig_teardown),
		cmocka_unit_test_setup_teardown(who_has_left_waits_for_what_had_begun, setup, rig_teardown),
		cmocka_unit_test_setup_teardown(who_leaves_sends_new_connections_on_and_answers_the_other_alone, setup, rig_teardown),
		cmocka_unit_test_setup_teardown(who_leaves_alone_stays_where_it_is, setup, rig_teardown),
		cmocka_unit_test_setup_teardown(who_is_not_heard_of_any_more_is_forgotten, setup, rig_teardown),
		cmocka_unit_test_setup_teardown(endpoints_are_spoken_to_from_an_address_of_ones_own, setup, rig_teardown),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, rig_start, NULL);
}
