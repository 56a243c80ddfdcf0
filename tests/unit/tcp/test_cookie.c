/* SPDX-License-Identifier: Apache-2.0 */
/* SYN floods and SYN cookies: who is there stays, who comes gets in, and who forges does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "eal.h"
#include "raw.h"

static struct weir_ip peer;

static void start_with_cookies(uint64_t seed)
{
	struct tcp_config c = sim_config();

	c.cookies = TCP_COOKIES_ALWAYS;
	raw_start(seed, &c);
}

/* -- the flood */

#define FLOOD_PER_MS 40

/* One millisecond of SYNs from anywhere, which nobody will ever complete. */
static void flood_ms(void)
{
	for (int i = 0; i < FLOOD_PER_MS; i++) {
		struct weir_ip from = ip_of("10.9.0.0");
		struct raw syn = raw_syn((uint16_t)(2000 + sim_random(&sim) % 8000), (uint32_t)sim_random(&sim));
		uint32_t low = (uint32_t)sim_random(&sim);

		from.b[13] = (uint8_t)(low >> 16);
		from.b[14] = (uint8_t)(low >> 8);
		from.b[15] = (uint8_t)low;
		raw_send(&from, &syn);
	}
	run_ms(1);
}

/* The other side of it: a stack that sends as much as it can. */
struct sender {
	struct tcp_conn *c;
	bool is_connected, is_closed;
};

static void send_all(struct tcp_conn *c)
{
	static const char block[8192];

	while (tcp_send_room(c) >= sizeof(block) && tcp_send(c, block, sizeof(block)) == 0)
		;
}

static void sender_event(struct tcp_conn *c, void *arg, unsigned events, uint64_t now)
{
	struct sender *p = arg;

	p->is_connected |= (events & TCP_EV_CONNECTED) != 0;
	p->is_closed |= (events & TCP_EV_CLOSED) != 0;
	if (!p->is_closed)
		send_all(c);
}

static void sender_start(struct sender *p)
{
	const struct tcp_connect a = {.local = sim.host[0].ip, .remote = sim.host[1].ip, .remote_port = 80, .timeout_ms = 20000,
				      .event = sender_event, .user = p};
	enum weir_reason why;

	*p = (struct sender){0};
	p->c = tcp_connect(sim.host[0].tcp, &a, sim.now_us, &why);
	assert_non_null(p->c);
}

/* Bytes that an established connection carries in a second of flood, or of peace. */
static size_t bytes_in_a_second(bool floods)
{
	struct tcp_config c = sim_config();
	struct sender p;
	size_t before;

	c.n_syn = 16;
	raw_start(1, &c);
	sender_start(&p);
	run_ms(2000);
	assert_int_equal(n_users, 1);
	before = users[0].got;
	for (int i = 0; i < 1000; i++)
		if (floods)
			flood_ms();
		else
			run_ms(1);
	assert_int_equal(counter_of(0, WEIR_C_TCP_RETRANSMITS), 0);
	assert_false(p.is_closed);
	if (floods)
		assert_int_equal(counter_of(1, WEIR_C_TCP_COOKIES_SENT), 1000 * FLOOD_PER_MS - 16);
	before = users[0].got - before;
	sim_fini(&sim);
	return before;
}

static void established_connection_keeps_its_throughput_in_a_flood(void **state)
{
	size_t peace = bytes_in_a_second(false);
	size_t flood = bytes_in_a_second(true);

	assert_true(peace > 10000000);
	assert_true(flood >= peace - 131072); /* two windows: where the second happens to end */
}

static void new_connection_gets_in_through_a_flood_with_all_its_options(void **state)
{
	struct tcp_config c = sim_config();
	struct tcp_info info;
	struct sender p;

	c.n_syn = 16;
	c.rx_buffer_bytes = 1u << 20;
	raw_start(2, &c);
	for (int i = 0; i < 50; i++)
		flood_ms();
	sender_start(&p);
	for (int i = 0; i < 100; i++)
		flood_ms();
	assert_true(p.is_connected);
	assert_int_equal(n_users, 1);
	assert_int_equal(counter_of(1, WEIR_C_TCP_COOKIES_ACCEPTED), 1);
	tcp_get_info(users[0].c, &info);
	assert_int_equal(info.mss, 1460);
	assert_true(info.has_sack && info.has_timestamps);
	assert_int_equal(info.snd_wscale, 1);
	assert_int_equal(info.rcv_wscale, 5);
	assert_true(users[0].got > 1000000);
	/* the queue is for the flood; after it, for everybody again */
	run_ms(70000);
	sender_start(&p);
	run_ms(100);
	assert_int_equal(n_users, 2);
	assert_int_equal(counter_of(1, WEIR_C_TCP_COOKIES_ACCEPTED), 1);
	sim_fini(&sim);
}

static void without_cookies_a_full_queue_drops_by_name(void **state)
{
	struct tcp_config c = sim_config();

	c.n_syn = 16;
	c.cookies = TCP_COOKIES_OFF;
	raw_start(3, &c);
	flood_ms();
	run_ms(5);
	assert_int_equal(reason_of(1, WEIR_R_TCP_SYN_QUEUE_FULL), FLOOD_PER_MS - 16);
	assert_int_equal(tcp_n_connections(sim.host[1].tcp), 16);
	sim_fini(&sim);
}

static void bounds_hold_for_connections_by_cookie(void **state)
{
	struct tcp_config c = sim_config();
	struct raw syn = raw_syn(1000, 100);
	struct raw ack;

	c.cookies = TCP_COOKIES_ALWAYS;
	c.listener_connections = 1;
	raw_start(4, &c);
	ack = raw_ack_of(&syn, raw_ask(&peer, &syn));
	syn.from_port++;
	raw_open(&peer, &syn);
	assert_null(raw_ask(&peer, &ack)); /* no RST: it tries again with its data */
	assert_int_equal(reason_of(1, WEIR_R_TCP_LISTENER_FULL), 1);
	tcp_abort(users[0].c, WEIR_R_CLOSE_ABORTED, sim.now_us);
	ack.data = "hello";
	raw_ask(&peer, &ack);
	assert_int_equal(n_users, 2);
	assert_string_equal(users[1].data, "hello");
	sim_fini(&sim);
}

/* -- what a cookie keeps */

static void cookie_keeps_nothing_and_makes_the_connection(void **state)
{
	struct raw syn = raw_syn(1000, 100);
	struct tcp_info info;
	struct raw ack;
	const struct raw *a;

	start_with_cookies(10);
	a = raw_ask(&peer, &syn);
	assert_int_equal(a->flags, SYN | ACK);
	assert_true(a->has_sack && a->has_ts && a->wscale);
	assert_int_equal(tcp_n_connections(sim.host[1].tcp), 0);
	ack = raw_ack_of(&syn, a);
	ack.data = "hello";
	raw_send(&peer, &ack);
	run_ms(100);
	assert_int_equal(n_users, 1);
	assert_string_equal(users[0].data, "hello");
	tcp_get_info(users[0].c, &info);
	assert_int_equal(info.mss, 1400);
	assert_int_equal(info.snd_wscale, 7);
	assert_int_equal(info.snd_wnd, 500 << 7);
	assert_true(info.has_sack && info.has_timestamps);
	assert_int_equal(raw_log[raw_n - 1].ack, 106);
	sim_fini(&sim);
}

static void without_time_stamps_there_is_no_scale_and_no_sack(void **state)
{
	struct raw syn = raw_syn(1000, 100);
	struct tcp_info info;
	const struct raw *a;

	start_with_cookies(11);
	syn.has_ts = false;
	a = raw_ask(&peer, &syn);
	assert_false(a->has_sack || a->has_ts || a->wscale);
	assert_int_equal(a->mss, 1460);
	raw_open(&peer, &syn);
	tcp_get_info(users[0].c, &info);
	assert_int_equal(info.mss, 1400);
	assert_int_equal(info.snd_wscale, 0);
	assert_int_equal(info.rcv_wscale, 0);
	assert_int_equal(info.snd_wnd, 500);
	assert_false(info.has_sack || info.has_timestamps);
	sim_fini(&sim);
}

static void every_combination_of_options_comes_back(void **state)
{
	struct tcp_config c = sim_config();

	c.cookies = TCP_COOKIES_ALWAYS;
	c.ecn = true;
	raw_start(12, &c);
	for (unsigned i = 0; i < 16 * 4; i++) {
		struct raw syn = raw_syn((uint16_t)(1000 + i), 100 * i);
		struct tcp_info info;

		syn.wscale = (uint8_t)(i % 16); /* none, then 0 to 14 */
		syn.has_sack = i & 16;
		syn.flags = i & 32 ? SYN | ECE | CWR : SYN;
		run_ms(7); /* other low bits of the clock */
		raw_open(&peer, &syn);
		tcp_get_info(users[i].c, &info);
		assert_int_equal(info.snd_wscale, syn.wscale ? syn.wscale - 1 : 0);
		assert_int_equal(info.rcv_wscale, syn.wscale ? 1 : 0);
		assert_int_equal(info.has_sack, syn.has_sack);
		assert_int_equal(info.has_ecn, (i & 32) != 0);
		tcp_abort(users[i].c, WEIR_R_CLOSE_ABORTED, sim.now_us);
	}
	sim_fini(&sim);
}

static void mss_is_the_largest_of_the_table_that_fits(void **state)
{
	static const uint16_t offered[] = {0, 1, 64, 500, 536, 1219, 1220, 1380, 1400, 1452, 1459, 1460, 8939, 8940, 65535};
	static const uint16_t kept[] = {536, 64, 64, 64, 536, 536, 1220, 1360, 1400, 1440, 1440, 1460, 1460, 8940, 8940};
	struct tcp_config c = sim_config();

	c.cookies = TCP_COOKIES_ALWAYS;
	c.mtu = 9000;
	raw_start(13, &c);
	for (unsigned i = 0; i < sizeof(offered) / sizeof(*offered); i++) {
		struct raw syn = raw_syn((uint16_t)(1000 + i), 100);
		struct tcp_info info;

		syn.mss = offered[i];
		syn.has_ts = i & 1;
		raw_open(&peer, &syn);
		tcp_get_info(users[i].c, &info);
		assert_int_equal(info.mss, kept[i]);
	}
	sim_fini(&sim);
}

/* A peer that is strict about PAWS must find the connection's time stamps after the cookie's. */
static void time_stamps_never_go_back_after_a_cookie(void **state)
{
	start_with_cookies(14);
	for (unsigned i = 0; i < 200; i++) {
		struct raw syn = raw_syn((uint16_t)(1000 + i), 100);
		const struct raw *a;
		struct raw ack;
		uint32_t first;

		syn.wscale = (uint8_t)(i % 16);
		syn.has_sack = i & 1;
		run_ms(3);
		a = raw_ask(&peer, &syn);
		first = a->ts_val;
		ack = raw_ack_of(&syn, a);
		ack.flags = FIN | ACK; /* so that it is acknowledged at once */
		a = raw_ask(&peer, &ack);
		assert_non_null(a);
		assert_in_range(a->ts_val - first, 0, 70);
		tcp_abort(users[i].c, WEIR_R_CLOSE_ABORTED, sim.now_us);
	}
	sim_fini(&sim);
}

static void ipv6_connections_come_by_cookie_too(void **state)
{
	struct weir_ip ip = ip_of("2001:db8::7");
	struct raw syn = raw_syn(1000, 100);
	struct tcp_info info;

	start_with_cookies(15);
	syn.mss = 0;
	raw_open(&ip, &syn);
	tcp_get_info(users[0].c, &info);
	assert_int_equal(info.mss, 1220);
	sim_fini(&sim);
}

/* -- what is refused */

static void expect_refused(const struct weir_ip *from, const struct raw *ack, unsigned n)
{
	const struct raw *a = raw_ask(from, ack);

	assert_non_null(a);
	assert_int_equal(a->flags, RST);
	assert_int_equal(a->seq, ack->ack);
	assert_int_equal(n_users, 0);
	assert_int_equal(counter_of(1, WEIR_C_TCP_COOKIES_REFUSED), n);
}

static void forged_cookie_is_refused(void **state)
{
	struct weir_ip other = ip_of("192.0.2.8");
	struct raw syn = raw_syn(1000, 100);
	struct raw good, bad;
	unsigned n = 0;

	start_with_cookies(20);
	good = raw_ack_of(&syn, raw_ask(&peer, &syn));
	for (unsigned bit = 0; bit < 32; bit++) {
		bad = good;
		bad.ack ^= 1u << bit;
		expect_refused(&peer, &bad, ++n);
	}
	bad = good;
	bad.seq++;
	expect_refused(&peer, &bad, ++n);
	bad = good;
	bad.from_port++;
	expect_refused(&peer, &bad, ++n);
	expect_refused(&other, &good, ++n);
	bad = good; /* time stamps were agreed on */
	bad.has_ts = false;
	expect_refused(&peer, &bad, ++n);
	bad = good; /* an echo of nothing that was sent */
	bad.ts_ecr += 200000;
	expect_refused(&peer, &bad, ++n);
	raw_ask(&peer, &good);
	assert_int_equal(n_users, 1);
	sim_fini(&sim);
}

static void expired_cookie_is_refused(void **state)
{
	struct raw syn = raw_syn(1000, 100);
	struct raw old = {.from_port = 999, .to_port = 80, .flags = SYN, .seq = 100, .wnd = 1000}; /* no time stamp tells its age */
	struct raw ack, old_ack;

	start_with_cookies(21);
	ack = raw_ack_of(&syn, raw_ask(&peer, &syn));
	old_ack = raw_ack_of(&old, raw_ask(&peer, &old));
	for (int i = 0; i < 13; i++) { /* the flood goes on */
		syn.from_port++;
		run_ms(10000);
		raw_ask(&peer, &syn);
	}
	expect_refused(&peer, &ack, 1);
	expect_refused(&peer, &old_ack, 2);
	sim_fini(&sim);
}

static void cookie_of_the_epoch_before_is_good(void **state)
{
	struct raw syn = raw_syn(1000, 100);
	struct raw ack;

	start_with_cookies(22);
	ack = raw_ack_of(&syn, raw_ask(&peer, &syn));
	run_ms(63000);
	raw_ask(&peer, &ack);
	assert_int_equal(n_users, 1);
	sim_fini(&sim);
}

/* While none was sent, no ACK is taken for a cookie: even what would be one. */
static void nothing_is_forged_while_no_flood_is_on(void **state)
{
	struct tcp_config c = sim_config();
	const struct tcp_listen args = {.port = 81, .accept = user_accept, .event = user_event};
	struct tcp_listener *l;
	struct raw syn = raw_syn(1000, 100);
	struct raw ack;

	c.cookies = TCP_COOKIES_ALWAYS;
	raw_start(23, &c);
	assert_int_equal(tcp_listen(sim.host[1].tcp, &args, &l), 0);
	syn.to_port = 81;
	ack = raw_ack_of(&syn, raw_ask(&peer, &syn));
	tcp_unlisten(l, sim.now_us);
	assert_int_equal(tcp_listen(sim.host[1].tcp, &args, &l), 0); /* this one has sent none */
	expect_refused(&peer, &ack, 0);
	assert_int_equal(reason_of(1, WEIR_R_TCP_NO_CONNECTION), 1);
	syn.from_port++;
	raw_ask(&peer, &syn); /* now it has */
	raw_ask(&peer, &ack);
	assert_int_equal(n_users, 1);
	sim_fini(&sim);
}

/* -- a cookie over TIME-WAIT */

/* Opens and closes: we are in TIME-WAIT. Returns the last ACK of the peer. */
static struct raw leave_time_wait(struct raw *syn)
{
	struct raw ack = raw_open(&peer, syn);
	unsigned user = n_users - 1;

	tcp_close(users[user].c, sim.now_us);
	run_ms(1);
	ack.flags = FIN | ACK;
	ack.ack++;
	raw_ask(&peer, &ack);
	assert_int_equal(tcp_n_time_wait(sim.host[1].tcp), 1);
	return ack;
}

static void cookie_reopens_a_tuple_in_time_wait(void **state)
{
	struct raw syn = raw_syn(1000, 100);
	struct raw ack;

	start_with_cookies(30);
	ack = leave_time_wait(&syn);
	syn.seq = 50; /* not beyond, but its time stamp is */
	syn.ts_val += 1000;
	assert_int_equal(tcp_n_time_wait(sim.host[1].tcp), 1);
	raw_open(&peer, &syn);
	assert_int_equal(tcp_n_time_wait(sim.host[1].tcp), 0);
	assert_int_equal(counter_of(1, WEIR_C_TCP_TIME_WAIT_REUSED), 1);
	/* an old one does not, and the old connection's ACK is no cookie */
	tcp_abort(users[1].c, WEIR_R_CLOSE_ABORTED, sim.now_us);
	syn.from_port++;
	ack = leave_time_wait(&syn);
	syn.ts_val -= 10;
	assert_int_equal(raw_ask(&peer, &syn)->flags, ACK);
	ack.flags = ACK;
	ack.seq++;
	assert_null(raw_ask(&peer, &ack));
	assert_int_equal(counter_of(1, WEIR_C_TCP_COOKIES_REFUSED), 0);
	sim_fini(&sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(established_connection_keeps_its_throughput_in_a_flood),
		cmocka_unit_test(new_connection_gets_in_through_a_flood_with_all_its_options),
		cmocka_unit_test(without_cookies_a_full_queue_drops_by_name),
		cmocka_unit_test(bounds_hold_for_connections_by_cookie),
		cmocka_unit_test(cookie_keeps_nothing_and_makes_the_connection),
		cmocka_unit_test(without_time_stamps_there_is_no_scale_and_no_sack),
		cmocka_unit_test(every_combination_of_options_comes_back),
		cmocka_unit_test(mss_is_the_largest_of_the_table_that_fits),
		cmocka_unit_test(time_stamps_never_go_back_after_a_cookie),
		cmocka_unit_test(ipv6_connections_come_by_cookie_too),
		cmocka_unit_test(forged_cookie_is_refused),
		cmocka_unit_test(expired_cookie_is_refused),
		cmocka_unit_test(cookie_of_the_epoch_before_is_good),
		cmocka_unit_test(nothing_is_forged_while_no_flood_is_on),
		cmocka_unit_test(cookie_reopens_a_tuple_in_time_wait),
	};

	test_eal_init();
	peer = ip_of("192.0.2.7");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
