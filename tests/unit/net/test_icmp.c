/* SPDX-License-Identifier: Apache-2.0 */
/* ICMP errors: believed only where they make sense, remembered only where TCP confirms them; replies have their rate. */
#include "rig.h"

#include "../../eal.h"

#define US(s) ((s) * 1000000ull)

/* An ICMP message of 8 bytes with the first `quoted` bytes of a segment of ours, whose IP header says len. */
struct error {
	bool is4;
	uint8_t type, code;
	uint32_t mtu;
	uint32_t len;
	unsigned quoted;
	uint16_t local_port; /* 20001: worker 0 opened the connection; 80: a client did */
	const char *local, *remote;
};

static struct error too_big(bool is4, uint32_t mtu, uint32_t len)
{
	return (struct error){.is4 = is4, .type = is4 ? 3 : 2, .code = is4 ? 4 : 0, .mtu = mtu, .len = len, .quoted = is4 ? 28 : 48,
			      .local_port = 20001, .local = is4 ? RIG_US4 : RIG_US6, .remote = is4 ? RIG_HIM4 : RIG_HIM6};
}

/* Its ICMP message; spoil (offset in the quote, or -1) is set to with. Returns its length. */
static unsigned make(uint8_t *p, const struct error *e, int spoil, uint8_t with)
{
	uint8_t frame[200];
	struct rig_segment s = {.src = e->local, .dst = e->remote, .sport = e->local_port, .dport = 80, .seq = 0x01020304, .flags = 0x10};
	uint8_t *ip = frame + 14;

	rig_build(frame, &s);
	if (e->is4) {
		ip[2] = (uint8_t)(e->len >> 8);
		ip[3] = (uint8_t)e->len;
	} else {
		ip[4] = (uint8_t)((e->len - 40) >> 8);
		ip[5] = (uint8_t)(e->len - 40);
	}
	if (spoil >= 0)
		ip[spoil] = with;
	memset(p, 0, 8);
	p[0] = e->type;
	p[1] = e->code;
	if (!e->is4) {
		p[4] = (uint8_t)(e->mtu >> 24);
		p[5] = (uint8_t)(e->mtu >> 16);
	}
	p[6] = (uint8_t)(e->mtu >> 8);
	p[7] = (uint8_t)e->mtu;
	memcpy(p + 8, ip, e->quoted);
	return 8 + e->quoted;
}

static void give_spoiled(const struct error *e, int spoil, uint8_t with)
{
	uint8_t p[200], frame[300];
	unsigned n = make(p, e, spoil, with);

	n = rig_build_ip(frame, e->is4 ? "10.0.0.1" : "fd00::1", e->is4 ? RIG_US4 : RIG_US6, e->is4 ? PROTO_ICMP : PROTO_ICMP6, p, n);
	rig.n_icmp = 0;
	rig_give_one(0, frame, n);
}

static void give(struct error e)
{
	give_spoiled(&e, -1, 0);
}

static uint16_t mtu_for(const char *remote, bool is_path)
{
	struct weir_ip ip = rig_ip(remote);

	return net_mtu_for(rig.net[0], &ip, is_path);
}

static void too_big_reaches_tcp_with_what_it_quotes(void **state)
{
	for (unsigned is4 = 0; is4 < 2; is4++) {
		give(too_big(is4, 1400, 1500));
		assert_int_equal(rig.n_icmp, 1);
		assert_int_equal(rig.icmp.what, TCP_ICMP_TOO_BIG);
		assert_int_equal(rig.icmp.mtu, 1400);
		assert_int_equal(rig.icmp.seq, 0x01020304);
		assert_int_equal(rig.icmp.flow.local_port, 20001);
		assert_int_equal(rig.icmp.flow.remote_port, 80);
		{
			struct weir_ip local = rig_ip(is4 ? RIG_US4 : RIG_US6), remote = rig_ip(is4 ? RIG_HIM4 : RIG_HIM6);

			assert_true(ip_eq(&rig.icmp.flow.local, &local) && ip_eq(&rig.icmp.flow.remote, &remote));
		}
	}
}

static void router_without_an_mtu_means_the_next_plateau(void **state)
{
	static const uint32_t cases[][2] = {{65535, 32000}, {9000, 8166}, {1500, 1492}, {1492, 1006}, {1007, 1006},
					    {1006, 576}, {600, 576}, {576, 576}};

	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		give(too_big(true, 0, cases[i][0]));
		assert_int_equal(rig.n_icmp, 1);
		assert_int_equal(rig.icmp.mtu, cases[i][1]);
	}
	give(too_big(true, 0, 68)); /* nothing is smaller */
	assert_int_equal(rig.n_icmp, 0);
}

static void mtu_that_makes_no_sense_is_not_believed(void **state)
{
	give(too_big(true, 1500, 1500)); /* it would have fitted */
	give(too_big(true, 9000, 1500));
	give(too_big(false, 1500, 1500));
	give(too_big(false, 1279, 1500)); /* RFC 8201 4 */
	give(too_big(false, 0, 1500));
	give(too_big(false, 0x10000514, 1500)); /* 1300 in its low bytes */
	assert_int_equal(rig.n_icmp, 0);
	assert_int_equal(rig_reason(WEIR_R_ICMP_BAD), 6);
	give(too_big(false, 1280, 1500));
	assert_int_equal(rig.icmp.mtu, 1280);
	give(too_big(true, 100, 1500)); /* no smaller than every host takes */
	assert_int_equal(rig.icmp.mtu, 576);
}

static void quote_that_is_not_of_ours_is_not_believed(void **state)
{
	static const struct {
		bool is4;
		int at;
		uint8_t with;
	} cases[] = {
		{true, 0, 0x65}, /* version */
		{true, 0, 0x44}, /* header length */
		{true, 0, 0x4f},
		{true, 9, 17},	 /* protocol */
		{true, 6, 0x20}, /* a first fragment */
		{true, 7, 1},	 /* a later one */
		{true, 15, 77},	 /* from another address */
		{true, 3, 30},	 /* shorter than a segment; byte 2 stays */
		{false, 0, 0x45},
		{false, 6, 44}, /* a fragment */
		{false, 23, 77},
	};

	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct error e = too_big(cases[i].is4, cases[i].is4 ? 20 : 1300, cases[i].is4 ? 39 : 1500);

		if (cases[i].at != 3)
			e = too_big(cases[i].is4, 1300, 1500);
		give_spoiled(&e, cases[i].at, cases[i].with);
		if (rig.n_icmp)
			fail_msg("case %u was believed", i);
	}
	assert_int_equal(rig_reason(WEIR_R_ICMP_BAD), RTE_DIM(cases));
	for (unsigned is4 = 0; is4 < 2; is4++) { /* fewer than the 8 bytes of TCP */
		struct error e = too_big(is4, 1300, 1500);

		e.quoted--;
		give(e);
		assert_int_equal(rig.n_icmp, 0);
	}
}

static void unreachable_is_told_without_an_mtu(void **state)
{
	for (uint8_t code = 0; code < 4; code++) {
		struct error e = too_big(true, 0, 60);

		e.code = code;
		give(e);
		assert_int_equal(rig.n_icmp, 1);
		assert_int_equal(rig.icmp.what, TCP_ICMP_UNREACHABLE);
	}
	{
		struct error e = too_big(false, 0, 60);

		e.type = 1;
		give(e);
		assert_int_equal(rig.icmp.what, TCP_ICMP_UNREACHABLE);
	}
	assert_int_equal(rig_counter(WEIR_C_PMTU_LEARNED), 0);
}

static void path_mtu_is_known_to_later_connections_for_ten_minutes(void **state)
{
	static const char *const him[] = {RIG_HIM6, RIG_HIM4};

	for (unsigned is4 = 0; is4 < 2; is4++) {
		assert_int_equal(mtu_for(him[is4], true), 1500);
		give(too_big(is4, 1400, 1500));
		assert_int_equal(mtu_for(him[is4], true), 1400);
		assert_int_equal(mtu_for(him[is4], false), 1500); /* what we take has not changed */
		assert_int_equal(mtu_for(is4 ? "10.0.0.8" : "fd00::8", true), 1500);
	}
	rig.now += US(300);
	give(too_big(true, 1450, 1500)); /* it does not grow, */
	assert_int_equal(mtu_for(RIG_HIM4, true), 1400);
	give(too_big(false, 1300, 1400)); /* but shrinks, and lives ten minutes from then on */
	assert_int_equal(mtu_for(RIG_HIM6, true), 1300);
	rig.now += US(299);
	rig_poll();
	assert_int_equal(mtu_for(RIG_HIM4, true), 1400);
	rig.now += US(2);
	rig_poll();
	assert_int_equal(mtu_for(RIG_HIM4, true), 1500);
	assert_int_equal(mtu_for(RIG_HIM6, true), 1300);
	rig.now += US(300);
	rig_poll();
	assert_int_equal(mtu_for(RIG_HIM6, true), 1500);
	give(too_big(true, 1450, 1500));
	assert_int_equal(mtu_for(RIG_HIM4, true), 1450);
}

static void error_that_tcp_does_not_confirm_is_not_remembered(void **state)
{
	rig.is_in_flight = false;
	give(too_big(true, 600, 1500));
	assert_int_equal(rig.n_icmp, 1);
	assert_int_equal(mtu_for(RIG_HIM4, true), 1500);
}

/* An error about what a client's connection sent. */
static struct error too_big_for_client(bool is4)
{
	struct error e = too_big(is4, 1400, 1500);

	e.local_port = 80;
	return e;
}

static void error_about_nothing_in_flight_is_counted_as_that(void **state)
{
	for (unsigned is4 = 0; is4 < 2; is4++) {
		struct error unreachable = too_big(is4, 0, 60);
		uint64_t before = rig_reason(WEIR_R_ICMP_NOT_IN_FLIGHT);

		unreachable.type = is4 ? 3 : 1;
		unreachable.code = 1;
		rig.is_in_flight = true;
		give(too_big(is4, 1400, 1500));
		give(too_big_for_client(is4));
		give(unreachable);
		assert_int_equal(rig_reason(WEIR_R_ICMP_NOT_IN_FLIGHT), before);
		rig.is_in_flight = false;
		give(too_big(is4, 1400, 1500));
		assert_int_equal(rig_reason(WEIR_R_ICMP_NOT_IN_FLIGHT), before + 1);
		give(too_big_for_client(is4)); /* whichever worker owns it, it is counted once */
		assert_int_equal(rig.n_icmp, 1);
		assert_int_equal(rig_reason(WEIR_R_ICMP_NOT_IN_FLIGHT), before + 2);
		give(unreachable);
		assert_int_equal(rig_reason(WEIR_R_ICMP_NOT_IN_FLIGHT), before + 3);
	}
	assert_int_equal(rig_counter(WEIR_C_ICMP_ERRORS_RX), 12);
}

/* The device's hash of the error says nothing of the connection: each worker is asked, and most of them do not have it. */
static void error_that_is_any_workers_is_not_counted_by_those_who_do_not_own_it(void **state)
{
	rig.port.caps.stable_rss = true;
	rig.is_in_flight = false;
	give(too_big_for_client(true));
	assert_int_equal(rig.n_icmp, RIG_N);
	assert_int_equal(rig_reason(WEIR_R_ICMP_NOT_IN_FLIGHT), 0);
	give(too_big(true, 1400, 1500)); /* the port says who opened it */
	assert_int_equal(rig.n_icmp, 1);
	assert_int_equal(rig_reason(WEIR_R_ICMP_NOT_IN_FLIGHT), 1);
	rig.net[0]->cfg.n_workers = 1; /* nobody else can have it */
	give(too_big_for_client(true));
	rig.net[0]->cfg.n_workers = RIG_N;
	assert_int_equal(rig.n_icmp, 1);
	assert_int_equal(rig_reason(WEIR_R_ICMP_NOT_IN_FLIGHT), 2);
}

/* Gives n errors at one moment that are any worker's; how many of them reached all workers. */
static unsigned give_to_all(unsigned n)
{
	unsigned n_spread = 0;

	for (unsigned i = 0; i < n; i++) {
		give(too_big_for_client(i % 2));
		assert_in_range(rig.n_icmp, 1, RIG_N); /* who received it looks at it in any case */
		n_spread += rig.n_icmp == RIG_N;
	}
	return n_spread;
}

static void errors_are_shown_to_other_workers_at_a_rate(void **state)
{
	rig.port.caps.stable_rss = true;
	assert_int_equal(give_to_all(1500), 1000);
	assert_int_equal(rig_reason(WEIR_R_ICMP_SPREAD_RATE), 500);
	assert_int_equal(rig_counter(WEIR_C_STEERED_OUT), 1000);
	assert_int_equal(rig_counter(WEIR_C_ICMP_ERRORS_RX), 2500);
	rig.now += US(1) / 10;
	assert_int_equal(give_to_all(150), 100); /* a tenth of a second gives so many more */
	assert_int_equal(rig_reason(WEIR_R_ICMP_SPREAD_RATE), 550);
	rig.now += US(100);
	assert_int_equal(give_to_all(1001), 1000); /* and a long time no more than a second's */
	assert_int_equal(rig_reason(WEIR_R_ICMP_SPREAD_RATE), 551);
	give(too_big(true, 1400, 1500)); /* what has an owner needs none of it */
	assert_int_equal(rig_reason(WEIR_R_ICMP_SPREAD_RATE), 551);
}

static void path_table_is_bounded_and_forgets_the_oldest(void **state)
{
	unsigned n_known = 0;

	for (unsigned i = 0; i < 5000; i++) {
		struct error e = too_big(true, 1400, 1500);
		char remote[32];

		snprintf(remote, sizeof(remote), "10.9.%u.%u", i / 250, i % 250 + 1);
		e.remote = remote;
		rig.now += 1000;
		give(e);
		assert_int_equal(mtu_for(remote, true), 1400); /* the latest is always known */
	}
	for (unsigned i = 0; i < 5000; i++) {
		char remote[32];

		snprintf(remote, sizeof(remote), "10.9.%u.%u", i / 250, i % 250 + 1);
		n_known += mtu_for(remote, true) == 1400;
	}
	assert_true(n_known > 900 && n_known <= 1024);
}

static void mss_clamp_bounds_what_is_announced_and_used(void **state)
{
	rig.iface.mss_clamp = 1300;
	assert_int_equal(mtu_for(RIG_HIM4, false), 1340);
	assert_int_equal(mtu_for(RIG_HIM6, false), 1360);
	assert_int_equal(mtu_for(RIG_HIM4, true), 1340);
	give(too_big(true, 1400, 1500));
	assert_int_equal(mtu_for(RIG_HIM4, true), 1340);
	give(too_big(true, 600, 1500));
	assert_int_equal(mtu_for(RIG_HIM4, true), 600);
	rig.iface.mss_clamp = 8960; /* more than the MTU has room for */
	assert_int_equal(mtu_for(RIG_HIM4, false), 1500);
	rig.iface.mss_clamp = 0;
}

static unsigned count_sent(uint8_t type)
{
	unsigned n = 0;

	for (unsigned i = 0; i < rig.n_sent; i++)
		n += rig.sent[i].len > 34 && rig.sent[i].data[23] == PROTO_ICMP && rig.sent[i].data[34] == type;
	return n;
}

static void unreachable_replies_have_a_rate(void **state)
{
	uint8_t payload[16] = {0}, frame[100];
	unsigned n = rig_build_ip(frame, RIG_HIM4, RIG_US4, 17, payload, sizeof(payload));
	unsigned n_replies = 0;

	rig_know_neighbours();
	for (unsigned i = 0; i < 300; i++) { /* at one moment: a second's worth, and no more */
		rig.n_sent = 0;
		rig_give_one(0, frame, n);
		n_replies += count_sent(3);
	}
	assert_int_equal(n_replies, 100);
	assert_int_equal(rig_reason(WEIR_R_ICMP_RATE), 200);
	assert_int_equal(rig_reason(WEIR_R_IP_UNKNOWN_PROTOCOL), 300);
	rig.now += US(1) / 10;
	for (unsigned i = 0; i < 300; i++) {
		rig.n_sent = 0;
		rig_give_one(0, frame, n);
		n_replies += count_sent(3);
	}
	assert_int_equal(n_replies, 110); /* a tenth of a second gives ten more */
	assert_int_equal(rig_counter(WEIR_C_ICMP_ERRORS_TX), 110);
}

static void echo_replies_have_a_rate(void **state)
{
	uint8_t echo[16] = {8}, frame[100];
	unsigned n = rig_build_ip(frame, RIG_HIM4, RIG_US4, PROTO_ICMP, echo, sizeof(echo));

	rig_know_neighbours();
	for (unsigned i = 0; i < 2100; i++)
		rig_give_one(0, frame, n);
	assert_int_equal(rig_counter(WEIR_C_ICMP_ECHO), 2000);
	assert_int_equal(rig_reason(WEIR_R_ICMP_RATE), 100);
	rig.now += US(1);
	rig_give_one(0, frame, n);
	assert_int_equal(rig_counter(WEIR_C_ICMP_ECHO), 2001);
}

static int setup(void **state)
{
	int rc = rig_setup(state);

	rig.now += US(10); /* the rates have their full burst */
	rig.port.caps.stable_rss = false;
	return rc;
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, rig_teardown)
	const struct CMUnitTest tests[] = {
		T(too_big_reaches_tcp_with_what_it_quotes),
		T(router_without_an_mtu_means_the_next_plateau),
		T(mtu_that_makes_no_sense_is_not_believed),
		T(quote_that_is_not_of_ours_is_not_believed),
		T(unreachable_is_told_without_an_mtu),
		T(path_mtu_is_known_to_later_connections_for_ten_minutes),
		T(error_that_tcp_does_not_confirm_is_not_remembered),
		T(error_about_nothing_in_flight_is_counted_as_that),
		T(error_that_is_any_workers_is_not_counted_by_those_who_do_not_own_it),
		T(errors_are_shown_to_other_workers_at_a_rate),
		T(path_table_is_bounded_and_forgets_the_oldest),
		T(mss_clamp_bounds_what_is_announced_and_used),
		T(unreachable_replies_have_a_rate),
		T(echo_replies_have_a_rate),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, rig_start, NULL);
}
