/* SPDX-License-Identifier: Apache-2.0 */
/* Two dataplanes with one address and a client, all with the real TCP: connections of both, at once and one after the other. */
#include "rig.h"

#include "../../eal.h"
#include "lan.h"

enum { OLD, NEW, CLIENT };

#define VIP4 "10.0.0.100"
#define VIP6 "fd00::100"
#define ANSWER 3000 /* bytes: of which host, then as the place says */
#define LONG_ANSWER 60000
#define CONNS 120

/* A client's connection, which asks by a byte and is answered. */
struct ask {
	struct tcp_conn *c;
	bool is_up, is_closed;
	int server; /* who answered first; -1: nobody yet */
	unsigned got, want, n_answers;
};

static struct ask asks[CONNS];
static unsigned n_asks;
static struct lan_config configs[LAN_HOSTS];

/* -- servers */

static void on_server(struct tcp_conn *c, void *user, unsigned events, uint64_t now_us)
{
	static uint8_t answer[LONG_ANSWER];
	const struct lan_host *h = user;

	if (events & TCP_EV_CLOSED)
		return;
	while (tcp_readable(c)) {
		unsigned n = tcp_peek(c).p[0] == 'l' ? LONG_ANSWER : ANSWER;

		tcp_consume(c, 1);
		for (unsigned i = 1; i < n; i++)
			answer[i] = rig_byte(i);
		answer[0] = (uint8_t)(h - lan.hosts);
		assert_int_equal(tcp_send(c, answer, n), 0);
	}
	if (tcp_is_eof(c))
		tcp_close(c, now_us);
}

static int on_accept(void *ctx, struct tcp_conn *c, void **user, uint64_t now_us)
{
	*user = ctx;
	return 0;
}

static void server_up(unsigned host)
{
	struct lan_host *h = &lan.hosts[host];
	const struct tcp_listen args = {.port = 80, .accept = on_accept, .event = on_server, .ctx = h};
	struct tcp_listener *l;

	lan_up(host, &configs[host]);
	for (unsigned i = 0; i < h->cfg.n_workers; i++) {
		assert_int_equal(tcp_listen(h->tcp[i], &args, &l), 0);
		net_serve(h->net[i]);
	}
	lan_run(6000000); /* probes and announcements */
}

static void server_leaves(unsigned host)
{
	for (unsigned i = 0; i < lan.hosts[host].cfg.n_workers; i++) {
		net_leave(lan.hosts[host].net[i]);
		tcp_set_draining(lan.hosts[host].tcp[i], true);
	}
}

/* -- the client */

static void on_client(struct tcp_conn *c, void *user, unsigned events, uint64_t now_us)
{
	struct ask *a = user;

	a->is_up |= (events & TCP_EV_CONNECTED) != 0;
	a->is_closed |= (events & TCP_EV_CLOSED) != 0;
	while (tcp_readable(c)) {
		uint8_t byte = tcp_peek(c).p[0];

		if (a->got == 0 && a->server < 0)
			a->server = byte;
		assert_int_equal(byte, a->got ? rig_byte(a->got) : (uint8_t)a->server);
		tcp_consume(c, 1);
		if (++a->got == a->want) {
			a->n_answers++;
			a->got = a->want = 0;
		}
	}
}

static void open_one(const char *vip)
{
	struct ask *a = &asks[n_asks++];
	const bool is4 = !strchr(vip, ':');
	const struct tcp_connect args = {.local = rig_ip(is4 ? "10.0.0.9" : "fd00::9"), .remote = rig_ip(vip), .remote_port = 80, .timeout_ms = 20000,
					 .event = on_client, .user = a};
	enum weir_reason why;

	assert_true(n_asks < CONNS);
	*a = (struct ask){.server = -1};
	a->c = tcp_connect(lan.hosts[CLIENT].tcp[0], &args, lan.now, &why);
	assert_non_null(a->c);
}

/* Every connection asks once more, and the one that has it answers. */
static void ask_all(char what)
{
	for (unsigned i = 0; i < n_asks; i++) {
		assert_true(asks[i].is_up && !asks[i].is_closed);
		asks[i].want = what == 'l' ? LONG_ANSWER : ANSWER;
		asks[i].n_answers = 0;
		assert_int_equal(tcp_send(asks[i].c, &what, 1), 0);
	}
	for (unsigned i = 0, k = 0; i < n_asks; i++)
		for (; asks[i].n_answers == 0 && k < 100; k++)
			lan_run(100000);
	for (unsigned i = 0; i < n_asks; i++) {
		assert_int_equal(asks[i].n_answers, 1);
		assert_false(asks[i].is_closed);
	}
}

/* n connections to each address; all are answered by this host (-1: any). */
static void open_some(unsigned n, int server)
{
	unsigned first = n_asks;

	for (unsigned i = 0; i < n; i++) {
		open_one(VIP4);
		open_one(VIP6);
		lan_run(20000);
	}
	lan_run(2000000);
	ask_all('s');
	for (unsigned i = first; server >= 0 && i < n_asks; i++)
		assert_int_equal(asks[i].server, server);
}

static void close_all(int server)
{
	for (unsigned i = 0; i < n_asks; i++)
		if (asks[i].c && (server < 0 || asks[i].server == server)) {
			tcp_close(asks[i].c, lan.now);
			asks[i] = asks[--n_asks];
			tcp_set_user(asks[i].c, on_client, &asks[i]);
			i--;
		}
	lan_run(2000000);
}

/* The client takes the address to be at this host. */
static void client_believes(const char *vip, unsigned host)
{
	struct weir_ip ip = rig_ip(vip);

	neigh_learn(lan.hosts[CLIENT].net[0], 0, &ip, lan_mac(host), true, true, lan.now);
}

/* -- tests */

static void setup(unsigned n_workers, bool stable_rss, enum tcp_cookies cookies)
{
	for (unsigned i = 0; i < 2; i++)
		configs[i] = (struct lan_config){
			.n_workers = (uint16_t)n_workers, .stable_rss = stable_rss, .hands_over = true, .cookies = cookies, .n_addrs = 4,
			.addrs = {{.ip = rig_ip(VIP4), .prefix_len = 32, .is_served = true}, {.ip = rig_ip(VIP6), .prefix_len = 128, .is_served = true},
				  {.ip = rig_ip(i ? "10.0.0.3" : "10.0.0.2"), .prefix_len = 24}, {.ip = rig_ip(i ? "fd00::3" : "fd00::2"), .prefix_len = 64}}};
	configs[CLIENT] = (struct lan_config){.n_workers = 1, .n_addrs = 2,
					      .addrs = {{.ip = rig_ip("10.0.0.9"), .prefix_len = 24}, {.ip = rig_ip("fd00::9"), .prefix_len = 64}}};
	n_asks = 0;
	lan_up(CLIENT, &configs[CLIENT]);
	server_up(OLD);
}

static void end(void)
{
	close_all(-1);
	assert_int_equal(n_asks, 0);
	assert_true(lan_end());
}

static void each_keeps_its_own_and_the_last_to_come_gets_the_new_ones(unsigned n_workers, bool stable_rss)
{
	setup(n_workers, stable_rss, TCP_COOKIES_AUTO);
	open_some(10, OLD);
	server_up(NEW);
	open_some(10, NEW);
	ask_all('l');
	assert_true(lan_counter(NEW, WEIR_C_HANDED_ON) > 0);
	server_leaves(OLD);
	client_believes(VIP4, OLD); /* its neighbour cache missed what was announced */
	client_believes(VIP6, OLD);
	open_some(10, NEW);
	assert_true(lan_counter(OLD, WEIR_C_HANDED_ON) > 0);
	client_believes(VIP4, NEW);
	client_believes(VIP6, NEW);
	ask_all('l');
	assert_true(lan_n_open(OLD) == 20);
	close_all(OLD);
	assert_true(lan_n_open(OLD) == 0);
	lan_down(OLD);
	ask_all('s');
	end();
}

static void each_keeps_its_own(void **state)
{
	each_keeps_its_own_and_the_last_to_come_gets_the_new_ones(1, false);
}

static void each_keeps_its_own_of_any_worker(void **state)
{
	each_keeps_its_own_and_the_last_to_come_gets_the_new_ones(2, false);
	each_keeps_its_own_and_the_last_to_come_gets_the_new_ones(2, true);
}

/* Whoever answers a SYN, the client's next segment goes to the other one. */
static bool swaps_after_syn_ack(const struct lan_frame *f)
{
	bool is4 = f->data[12] == 8 && f->data[13] == 0;
	const uint8_t *tcp = f->data + (is4 ? 34 : 54);

	if (f->len >= 74 && f->from < CLIENT && f->data[is4 ? 23 : 20] == PROTO_TCP && (tcp[13] & 0x12) == 0x12 &&
	    memcmp(f->data, lan_mac(CLIENT), 6) == 0)
		client_believes(is4 ? VIP4 : VIP6, !f->from);
	return true;
}

static void a_cookie_comes_back_to_who_made_it(void **state)
{
	for (unsigned n_workers = 1; n_workers <= 2; n_workers++) {
		setup(n_workers, false, TCP_COOKIES_ALWAYS);
		server_up(NEW);
		client_believes(VIP4, NEW);
		client_believes(VIP6, NEW);
		open_some(5, NEW); /* which keeps what it made */
		lan.judge = swaps_after_syn_ack;
		open_some(20, -1);
		assert_true(lan_counter(OLD, WEIR_C_TCP_COOKIES_ACCEPTED) >= 10);
		assert_true(lan_counter(NEW, WEIR_C_TCP_COOKIES_ACCEPTED) >= 10);
		assert_int_equal(lan_counter(OLD, WEIR_C_TCP_COOKIES_ACCEPTED) + lan_counter(NEW, WEIR_C_TCP_COOKIES_ACCEPTED), 50);
		for (unsigned i = 0; i < 10; i++) { /* of the old one, which leaves meanwhile */
			client_believes(VIP4, OLD);
			open_one(VIP4);
		}
		for (int i = 0; i < 3; i++)
			lan_step(100);
		server_leaves(OLD);
		lan_run(2000000);
		open_some(10, -1);
		assert_int_equal(lan_counter(OLD, WEIR_C_TCP_COOKIES_ACCEPTED) + lan_counter(NEW, WEIR_C_TCP_COOKIES_ACCEPTED), 80);
		end();
	}
}

#define NARROW 1300 /* bytes of IP that reach the client */

/* A router before the client, which tells who the client's segments go to. */
static bool narrows(const struct lan_frame *f)
{
	bool is4 = f->data[12] == 8 && f->data[13] == 0;
	uint8_t p[80] = {is4 ? 3 : 2, is4 ? 4 : 0, 0, 0, 0, 0, NARROW >> 8, NARROW & 0xff}, frame[200];
	unsigned quoted = is4 ? 28 : 48, len;

	if (f->len <= 14 + NARROW || f->from != OLD)
		return true;
	memcpy(p + 8, f->data + 14, quoted);
	len = rig_build_ip(frame, is4 ? "10.0.0.1" : "fd00::1", is4 ? VIP4 : VIP6, is4 ? PROTO_ICMP : PROTO_ICMP6, p, 8 + quoted);
	memcpy(frame, lan_mac(NEW), 6);
	memcpy(frame + 6, lan_mac(CLIENT), 6);
	lan_put(LAN_HOSTS, frame, len);
	return false;
}

static void what_a_router_says_of_a_path_comes_to_whose_connection_it_is(void **state)
{
	for (unsigned i = 0; i < 3; i++) {
		setup(i ? 2 : 1, i == 2, TCP_COOKIES_AUTO);
		open_some(5, OLD);
		server_up(NEW);
		lan.judge = narrows;
		ask_all('l');
		assert_true(lan_counter(OLD, WEIR_C_ICMP_ERRORS_RX) >= 2);
		end();
	}
}

static int start(void **state)
{
	lan_start();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_keeps_its_own),
		cmocka_unit_test(each_keeps_its_own_of_any_worker),
		cmocka_unit_test(a_cookie_comes_back_to_who_made_it),
		cmocka_unit_test(what_a_router_says_of_a_path_comes_to_whose_connection_it_is),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, start, NULL);
}
