/* SPDX-License-Identifier: Apache-2.0 */
/* TCP against itself in virtual time: every byte once and in order, or a named end; nothing left behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>

#include "eal.h"
#include "sim.h"

/* One side of a connection: sends `to_send` bytes of a pattern, checks what it gets. */
struct peer {
	struct sim *sim;
	struct tcp_conn *c;
	uint8_t salt;	   /* of the pattern that this side sends */
	uint8_t peer_salt;
	size_t to_send, sent;
	size_t got;
	size_t chunk;	   /* bytes per call of tcp_send; 0: as many as fit */
	bool by_mbufs;	   /* relay style: tcp_recv, and the data sent back by tcp_send_mbufs */
	bool paused;	   /* does not read */
	bool shuts_down;   /* half-close after sending, else close after both are done */
	bool connected, eof, closed, let_go;
	bool abort_on_read, close_on_connect;
	enum weir_reason why;
	unsigned n_closed;
};

static struct sim sim;

static uint8_t pattern(uint8_t salt, size_t i)
{
	return (uint8_t)(salt + i * 31 + (i >> 8) * 7 + (i >> 16));
}

static void send_more(struct peer *p)
{
	static uint8_t block[65536];

	while (p->sent < p->to_send) {
		size_t room = tcp_send_room(p->c);
		size_t n = p->to_send - p->sent;

		if (p->chunk && n > p->chunk)
			n = p->chunk;
		if (n > sizeof(block))
			n = sizeof(block);
		if (n > room)
			n = room;
		if (n == 0)
			return;
		for (size_t i = 0; i < n; i++)
			block[i] = pattern(p->salt, p->sent + i);
		if (tcp_send(p->c, block, n) != 0)
			return;
		p->sent += n;
	}
}

static void check_bytes(struct peer *p, const char *data, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if ((uint8_t)data[i] != pattern(p->peer_salt, p->got + i))
			fail_msg("byte %zu is wrong", p->got + i);
	p->got += n;
}

static void read_all(struct peer *p)
{
	while (tcp_readable(p->c)) {
		if (p->by_mbufs) {
			struct rte_mbuf *m = tcp_recv(p->c, 1 + sim_random(p->sim) % 5000);

			if (!m)
				return;
			assert_int_equal(rte_mbuf_check(m, 1, NULL), 0);
			for (struct rte_mbuf *s = m; s; s = s->next)
				check_bytes(p, rte_pktmbuf_mtod(s, char *), s->data_len);
			rte_pktmbuf_free(m);
		} else {
			struct slice s = tcp_peek(p->c);
			size_t n = 1 + sim_random(p->sim) % s.n;

			check_bytes(p, s.p, n);
			tcp_consume(p->c, n);
		}
	}
}

static void step(struct peer *p, uint64_t now)
{
	if (!p->c || !p->connected)
		return;
	if (!p->paused)
		read_all(p);
	p->eof = tcp_is_eof(p->c);
	send_more(p);
	if (p->sent == p->to_send && p->shuts_down)
		tcp_shutdown(p->c);
	if (p->sent == p->to_send && p->eof) {
		tcp_close(p->c, now);
		p->let_go = true;
		p->c = NULL;
	}
}

static void on_event(struct tcp_conn *c, void *user, unsigned events, uint64_t now)
{
	struct peer *p = user;

	assert_ptr_equal(p->c, c);
	if (events & TCP_EV_CLOSED) {
		p->closed = true;
		p->n_closed++;
		p->why = tcp_close_reason(c);
		p->c = NULL;
		return;
	}
	if (events & TCP_EV_CONNECTED) {
		p->connected = true;
		if (p->close_on_connect) {
			p->c = NULL;
			p->let_go = true;
			tcp_close(c, now);
			return;
		}
	}
	if ((events & TCP_EV_READABLE) && p->abort_on_read) {
		p->c = NULL;
		p->let_go = true;
		tcp_abort(c, WEIR_R_CLOSE_ABORTED, now);
		return;
	}
	step(p, now);
}

static struct peer *next_accept;
static int accept_result;

static int on_accept(void *ctx, struct tcp_conn *c, void **user, uint64_t now)
{
	struct peer *p = next_accept;

	if (accept_result)
		return accept_result;
	p->c = c;
	p->connected = true;
	*user = p;
	if (!p->abort_on_read)
		step(p, now);
	return 0;
}

static struct tcp_listener *listen_on(int host, uint16_t port)
{
	const struct tcp_listen args = {.port = port, .accept = on_accept, .event = on_event};
	struct tcp_listener *l;

	assert_int_equal(tcp_listen(sim.host[host].tcp, &args, &l), 0);
	return l;
}

static bool connect_to(struct peer *p, int from, uint16_t port)
{
	struct tcp_connect a = {.local = sim.host[from].ip, .remote = sim.host[!from].ip, .remote_port = port,
				.timeout_ms = 20000, .event = on_event, .user = p};
	enum weir_reason why = 0;

	p->c = tcp_connect(sim.host[from].tcp, &a, sim.now_us, &why);
	if (!p->c) {
		p->why = why;
		return false;
	}
	return true;
}

static struct peer a, b;

static void peers_init(size_t a_bytes, size_t b_bytes)
{
	memset(&a, 0, sizeof(a));
	memset(&b, 0, sizeof(b));
	a.sim = b.sim = &sim;
	a.salt = b.peer_salt = 1;
	b.salt = a.peer_salt = 99;
	a.to_send = a_bytes;
	b.to_send = b_bytes;
	a.shuts_down = b.shuts_down = true;
	next_accept = &b;
	accept_result = 0;
}

static bool both_done(void *ctx)
{
	return (a.let_go || a.closed) && (b.let_go || b.closed);
}

static void start(uint64_t seed)
{
	struct tcp_config c = sim_config();

	sim_init(&sim, seed, &c, &c);
	listen_on(1, 80);
}

static void expect_complete(void)
{
	assert_true(a.let_go);
	assert_true(b.let_go);
	assert_int_equal(a.got, b.to_send);
	assert_int_equal(b.got, a.to_send);
}

/* Everything comes to rest: only TIME-WAIT was left, and it ended. */
static void expect_empty_tables(void)
{
	sim_run(&sim, 20000000, NULL, NULL);
	assert_int_equal(tcp_n_connections(sim.host[0].tcp), 0);
	assert_int_equal(tcp_n_connections(sim.host[1].tcp), 0);
}

static void handshake_negotiates_options(void **state)
{
	struct tcp_info i;

	start(1);
	peers_init(0, 0);
	a.shuts_down = b.shuts_down = false;
	assert_true(connect_to(&a, 0, 80));
	sim_run(&sim, 100000, NULL, NULL);
	assert_true(a.connected);
	assert_non_null(b.c);
	tcp_get_info(a.c, &i);
	assert_int_equal(i.state, TCP_ESTABLISHED);
	assert_int_equal(i.mss, 1460);
	assert_true(i.has_sack);
	assert_true(i.has_timestamps);
	assert_in_range(i.srtt_us, 2000, 2999);
	assert_int_equal(i.rcv_wnd, 65536 > 65535 ? i.rcv_wnd : 65536);
	tcp_abort(a.c, WEIR_R_CLOSE_ABORTED, sim.now_us);
	a.c = NULL;
	sim_run(&sim, 100000, NULL, NULL);
	assert_true(b.closed);
	assert_int_equal(b.why, WEIR_R_CLOSE_RESET_BY_PEER);
	assert_int_equal(b.n_closed, 1);
	sim_fini(&sim);
}

static void data_flow_both_ways_and_both_close(void **state)
{
	start(2);
	peers_init(1000000, 700000);
	a.by_mbufs = true;
	assert_true(connect_to(&a, 0, 80));
	assert_true(sim_run(&sim, 60000000, both_done, NULL));
	expect_complete();
	expect_empty_tables();
	assert_int_equal(sim.host[0].stats.counter[WEIR_C_TCP_RETRANSMITS], 0);
	sim_fini(&sim);
}

static void bad_links_lose_nothing(void **state)
{
	for (uint64_t seed = 1; seed <= 3000; seed++) {
		start(seed);
		sim.link.delay_us = (uint32_t)(sim_random(&sim) % 20000);
		sim.link.jitter_us = (uint32_t)(sim_random(&sim) % 5000);
		sim.link.loss_ppm = (uint32_t)(sim_random(&sim) % 50000);
		sim.link.duplicate_ppm = (uint32_t)(sim_random(&sim) % 20000);
		peers_init(sim_random(&sim) % 100000, sim_random(&sim) % 100000);
		a.chunk = 1 + sim_random(&sim) % 3000;
		b.chunk = seed % 3 ? 0 : 100;
		a.by_mbufs = seed & 1;
		b.by_mbufs = seed & 2;
		assert_true(connect_to(&a, 0, 80));
		if (!sim_run(&sim, 600000000, both_done, NULL))
			fail_msg("seed %u: a got %zu of %zu, b got %zu of %zu", (unsigned)seed, a.got, b.to_send, b.got, a.to_send);
		if (a.closed || b.closed)
			fail_msg("seed %u: a closed %d why %d, b closed %d why %d; first reason is %d", (unsigned)seed, a.closed,
				 (int)a.why, b.closed, (int)b.why, (int)WEIR_R_CLOSE_NORMAL);
		expect_complete();
		sim.link.loss_ppm = 0;
		expect_empty_tables();
		sim_fini(&sim);
	}
}

static void thousands_of_short_connections_leave_nothing(void **state)
{
	struct tcp_config c = sim_config();

	c.time_wait_ms = 100;
	sim_init(&sim, 9, &c, &c);
	listen_on(1, 80);
	sim.link.loss_ppm = 10000;
	sim.link.jitter_us = 300;
	for (int i = 0; i < 3000; i++) {
		peers_init(sim_random(&sim) % 3000, sim_random(&sim) % 3000);
		assert_true(connect_to(&a, 0, 80));
		if (!sim_run(&sim, 600000000, both_done, NULL))
			fail_msg("connection %d", i);
		expect_complete();
	}
	sim.link.loss_ppm = 0;
	expect_empty_tables();
	sim_fini(&sim);
}

static void reader_that_pauses_closes_the_window_and_reopens_it(void **state)
{
	start(3);
	peers_init(300000, 0);
	b.paused = true;
	b.shuts_down = false;
	assert_true(connect_to(&a, 0, 80));
	sim_run(&sim, 30000000, NULL, NULL);
	assert_non_null(b.c);
	assert_in_range(tcp_readable(b.c), 60000, 65536);
	assert_true(sim.host[0].stats.counter[WEIR_C_TCP_ZERO_WINDOW_PROBES] > 2);
	b.paused = false;
	b.shuts_down = true;
	step(&b, sim.now_us);
	assert_true(sim_run(&sim, 60000000, both_done, NULL));
	expect_complete();
	sim_fini(&sim);
}

static unsigned n_dropped;
static bool drop_window_updates(struct sim *s, int from, struct rte_mbuf *m)
{
	if (from == 1 && n_dropped < 3 && m->pkt_len < 60) {
		n_dropped++;
		return false;
	}
	return true;
}

static void lost_window_update_is_found_by_a_probe(void **state)
{
	start(4);
	peers_init(200000, 0);
	b.paused = true;
	b.shuts_down = false;
	assert_true(connect_to(&a, 0, 80));
	sim_run(&sim, 5000000, NULL, NULL);
	n_dropped = 0;
	sim.filter = drop_window_updates;
	b.paused = false;
	b.shuts_down = true;
	step(&b, sim.now_us);
	assert_true(sim_run(&sim, 120000000, both_done, NULL));
	assert_int_equal(n_dropped, 3);
	expect_complete();
	sim_fini(&sim);
}

static unsigned n_recovering, n_dry;

static bool look_at_recovery(void *ctx)
{
	struct tcp_info info;

	if (a.c && a.sent < a.to_send) {
		tcp_get_info(a.c, &info);
		if (strcmp(info.recovery, "recovery") == 0) {
			n_recovering++;
			n_dry += info.unsent_bytes == 0;
		}
	}
	return both_done(ctx);
}

/* The user refills whenever there is room, so what is behind a hole must not take it. */
static void recovery_runs_out_of_no_data(void **state)
{
	struct tcp_config c = sim_config();

	c.rx_buffer_bytes = c.tx_buffer_bytes = 1000000; /* never the limit */
	c.pacing = true; /* an event for each segment */
	sim_init(&sim, 21, &c, &c);
	listen_on(1, 80);
	peers_init(8000000, 0);
	sim.link = (struct sim_link){.delay_us = 50000, .loss_ppm = 10000};
	n_recovering = n_dry = 0;
	assert_true(connect_to(&a, 0, 80));
	assert_true(sim_run(&sim, 600000000, look_at_recovery, NULL));
	expect_complete();
	assert_true(n_recovering > 1000);
	assert_int_equal(n_dry, 0);
	sim_fini(&sim);
}

/* Virtual time that 4 MB take from host 0, which may hold data that its user does not read. */
static uint64_t transfer_beside_held_data(size_t held_bytes)
{
	static struct peer reader, writer;
	struct tcp_config narrow = sim_config(), wide = sim_config();
	uint64_t began;

	narrow.rx_buffer_bytes = narrow.tx_buffer_bytes = wide.tx_buffer_bytes = 1000000;
	narrow.n_held_max = 800; /* what is unread makes a pressure of 3 */
	wide.rx_buffer_bytes = 131072;
	sim_init(&sim, 22, &narrow, &wide);
	listen_on(1, 80);
	reader = (struct peer){.sim = &sim, .salt = 5, .peer_salt = 6, .paused = true};
	writer = (struct peer){.sim = &sim, .salt = 6, .peer_salt = 5, .to_send = held_bytes};
	peers_init(4000000, 0);
	next_accept = &writer;
	assert_true(connect_to(&reader, 0, 80));
	sim_run(&sim, 20000000, NULL, NULL);
	assert_int_equal(tcp_readable(reader.c), held_bytes);
	next_accept = &b;
	sim.link.delay_us = 50000;
	began = sim.now_us;
	assert_true(connect_to(&a, 0, 80));
	assert_true(sim_run(&sim, 600000000, both_done, NULL));
	expect_complete();
	if (held_bytes)
		assert_true(sim.host[0].stats.gauge[WEIR_G_TCP_PRESSURE] > 0);
	began = sim.now_us - began;
	sim_fini(&sim);
	return began;
}

static void memory_pressure_of_unread_data_slows_no_sender(void **state)
{
	uint64_t alone_us = transfer_beside_held_data(0);

	assert_true(transfer_beside_held_data(950000) < alone_us + alone_us / 10);
}

static void half_close_lets_the_other_side_go_on(void **state)
{
	start(5);
	peers_init(100, 200000);
	b.shuts_down = true;
	assert_true(connect_to(&a, 0, 80));
	assert_true(sim_run(&sim, 60000000, both_done, NULL));
	expect_complete();
	expect_empty_tables();
	sim_fini(&sim);
}

static bool lose_everything(struct sim *s, int from, struct rte_mbuf *m)
{
	return false;
}

static void silent_peer_ends_with_a_timeout(void **state)
{
	start(6);
	peers_init(10000000, 0);
	assert_true(connect_to(&a, 0, 80));
	sim_run(&sim, 10000, NULL, NULL);
	sim.filter = lose_everything;
	sim_run(&sim, 300000000, NULL, NULL);
	assert_true(a.closed);
	assert_int_equal(a.why, WEIR_R_CLOSE_RETRANSMIT_TIMEOUT);
	sim_fini(&sim);
}

static void connect_to_nobody_times_out(void **state)
{
	start(7);
	peers_init(0, 0);
	sim.filter = lose_everything;
	assert_true(connect_to(&a, 0, 80));
	sim_run(&sim, 60000000, NULL, NULL);
	assert_true(a.closed);
	assert_int_equal(a.why, WEIR_R_CLOSE_CONNECT_TIMEOUT);
	assert_int_equal(tcp_n_connections(sim.host[0].tcp), 0);
	sim_fini(&sim);
}

static void port_without_listener_refuses(void **state)
{
	start(8);
	peers_init(0, 0);
	assert_true(connect_to(&a, 0, 81));
	sim_run(&sim, 1000000, NULL, NULL);
	assert_true(a.closed);
	assert_int_equal(a.why, WEIR_R_CLOSE_REFUSED);
	assert_int_equal(sim.host[1].stats.reason[WEIR_R_TCP_NO_LISTENER], 1);
	sim_fini(&sim);
}

static void listener_may_refuse(void **state)
{
	start(9);
	peers_init(0, 0);
	accept_result = -EBUSY;
	assert_true(connect_to(&a, 0, 80));
	sim_run(&sim, 1000000, NULL, NULL);
	assert_true(a.closed);
	assert_int_equal(a.why, WEIR_R_CLOSE_RESET_BY_PEER);
	assert_int_equal(sim.host[1].stats.reason[WEIR_R_TCP_REFUSED], 1);
	sim_fini(&sim);
}

static void draining_refuses_new_connections_only(void **state)
{
	static struct peer a2;

	start(10);
	peers_init(100000, 100000);
	assert_true(connect_to(&a, 0, 80));
	sim_run(&sim, 5000, NULL, NULL);
	tcp_set_draining(sim.host[1].tcp, true);
	a2 = a;
	a2.connected = false;
	assert_true(connect_to(&a2, 0, 80));
	assert_true(sim_run(&sim, 60000000, both_done, NULL));
	expect_complete();
	assert_true(a2.closed);
	assert_int_equal(sim.host[1].stats.reason[WEIR_R_RX_DROPPED_BY_DRAIN], 1);
	sim_fini(&sim);
}

/* RFC 3168 6.1.1: who has sent a SYN that did not offer it sends no ECN capable data, whatever the SYN-ACK says. */
static void syn_again_without_ecn_gives_it_up_for_good(void **state)
{
	struct tcp_config cfg = sim_config();
	struct tcp_info info;

	cfg.ecn = true;
	sim_init(&sim, 12, &cfg, &cfg);
	listen_on(1, 80);
	peers_init(0, 0);
	a.shuts_down = b.shuts_down = false;
	sim.link.delay_us = 1200000; /* the answer to the first SYN comes after the second has gone */
	assert_true(connect_to(&a, 0, 80));
	sim_run(&sim, 2900000, NULL, NULL);
	assert_true(a.connected);
	assert_int_equal(sim.host[0].stats.counter[WEIR_C_TCP_RETRANSMITS], 1);
	tcp_get_info(a.c, &info);
	assert_false(info.has_ecn);
	sim_fini(&sim);
}

static void close_with_unread_data_resets(void **state)
{
	start(11);
	peers_init(5000, 0);
	b.paused = true;
	b.shuts_down = false;
	a.shuts_down = false;
	assert_true(connect_to(&a, 0, 80));
	sim_run(&sim, 1000000, NULL, NULL);
	assert_int_equal(tcp_readable(b.c), 5000);
	tcp_close(b.c, sim.now_us);
	sim_run(&sim, 1000000, NULL, NULL);
	assert_true(a.closed);
	assert_int_equal(a.why, WEIR_R_CLOSE_RESET_BY_PEER);
	sim_fini(&sim);
}

static void data_after_close_reset(void **state)
{
	start(12);
	peers_init(0, 0);
	a.shuts_down = b.shuts_down = false;
	assert_true(connect_to(&a, 0, 80));
	sim_run(&sim, 100000, NULL, NULL);
	tcp_close(b.c, sim.now_us);
	b.c = NULL;
	assert_int_equal(tcp_send(a.c, "late", 4), 0);
	a.eof = false;
	a.to_send = SIZE_MAX;
	a.sent = SIZE_MAX - 1; /* so that it does not close by itself */
	a.paused = true;
	a.to_send = a.sent;
	a.let_go = false;
	sim_run(&sim, 2000, NULL, NULL);
	sim_run(&sim, 3000000, NULL, NULL);
	assert_int_equal(sim.host[1].stats.reason[WEIR_R_CLOSE_DATA_AFTER_CLOSE] +
				 sim.host[1].stats.reason[WEIR_R_CLOSE_RESET_BY_PEER] +
				 sim.host[1].stats.reason[WEIR_R_CLOSE_NORMAL],
			 1);
	if (a.c)
		tcp_abort(a.c, WEIR_R_CLOSE_ABORTED, sim.now_us);
	sim_fini(&sim);
}

static void user_may_end_its_connection_in_its_event(void **state)
{
	start(13);
	peers_init(5000, 5000);
	b.abort_on_read = true;
	assert_true(connect_to(&a, 0, 80));
	sim_run(&sim, 1000000, NULL, NULL);
	assert_true(b.let_go);
	assert_true(a.closed);
	peers_init(0, 0);
	a.close_on_connect = true;
	assert_true(connect_to(&a, 0, 80));
	assert_true(sim_run(&sim, 5000000, both_done, NULL));
	expect_empty_tables();
	sim_fini(&sim);
}

static struct peer many[400];

static void full_table_refuses_and_recovers(void **state)
{
	struct tcp_config c = sim_config();

	c.n_connections = 64;
	sim_init(&sim, 14, &c, &c);
	listen_on(1, 80);
	peers_init(0, 0);
	for (int i = 0; i < 70; i++) {
		many[i] = a;
		many[i].shuts_down = false;
		if (connect_to(&many[i], 0, 80)) {
			assert_true(i < 64);
		} else {
			assert_true(i >= 64);
			assert_int_equal(many[i].why, WEIR_R_CLOSE_TABLE_FULL);
		}
	}
	for (int i = 0; i < 64; i++)
		tcp_abort(many[i].c, WEIR_R_CLOSE_ABORTED, sim.now_us);
	sim_run(&sim, 1000000, NULL, NULL);
	assert_true(connect_to(&a, 0, 80));
	assert_true(sim_run(&sim, 5000000, both_done, NULL));
	sim_fini(&sim);
}

static void used_up_ports_are_a_refusal(void **state)
{
	struct tcp_config c = sim_config();

	c.port_hi = (uint16_t)(c.port_lo + 31);
	sim_init(&sim, 15, &c, &c);
	peers_init(0, 0);
	sim.filter = lose_everything;
	for (int i = 0; i < 33; i++) {
		many[i] = a;
		assert_int_equal(connect_to(&many[i], 0, 80), i < 32);
	}
	assert_int_equal(many[32].why, WEIR_R_CLOSE_NO_PORTS);
	sim_fini(&sim);
}

static void time_wait_gives_its_port_to_a_later_connection(void **state)
{
	struct tcp_config c = sim_config();

	c.port_hi = (uint16_t)(c.port_lo + 1);
	c.time_wait_ms = 60000;
	sim_init(&sim, 16, &c, &c);
	listen_on(1, 80);
	for (int i = 0; i < 20; i++) {
		peers_init(1000, 1000);
		assert_true(connect_to(&a, 0, 80));
		if (!sim_run(&sim, 20000000, both_done, NULL))
			fail_msg("connection %d", i);
		expect_complete();
		sim_run(&sim, 2000000, NULL, NULL);
	}
	sim_fini(&sim);
}

static void syn_queue_is_bounded(void **state)
{
	struct tcp_config c = sim_config();
	struct tcp_config small = sim_config();

	small.n_syn = 5;
	small.cookies = TCP_COOKIES_OFF;
	sim_init(&sim, 17, &c, &small);
	listen_on(1, 80);
	peers_init(0, 0);
	sim.link.delay_us = 100000;
	for (int i = 0; i < 50; i++) {
		many[i] = a;
		many[i].close_on_connect = true;
		assert_true(connect_to(&many[i], 0, 80));
	}
	sim_run(&sim, 150000, NULL, NULL);
	assert_int_equal(sim.host[1].stats.reason[WEIR_R_TCP_SYN_QUEUE_FULL], 45);
	assert_int_equal(tcp_n_connections(sim.host[1].tcp), 5);
	sim_fini(&sim);
}

static void empty_mbuf_pool_delays_but_loses_nothing(void **state)
{
	static struct rte_mbuf *held[16383];
	unsigned n = 0;

	start(18);
	peers_init(2000000, 2000000);
	assert_true(connect_to(&a, 0, 80));
	sim_run(&sim, 8000, NULL, NULL);
	for (int i = 0; i < 3000; i++) {
		while (n < 16383 && (held[n] = rte_pktmbuf_alloc(sim.pool)) != NULL)
			n++;
		sim_run(&sim, 1000, NULL, NULL);
	}
	assert_true(sim.host[0].stats.reason[WEIR_R_NO_MBUF] + sim.host[1].stats.reason[WEIR_R_NO_MBUF] > 0);
	while (n)
		rte_pktmbuf_free(held[--n]);
	assert_true(sim_run(&sim, 120000000, both_done, NULL));
	expect_complete();
	sim_fini(&sim);
}

static bool corrupt_old;
static bool blind_reset(struct sim *s, int from, struct rte_mbuf *m)
{
	uint8_t *h = rte_pktmbuf_mtod(m, uint8_t *);

	if (from == 0 && corrupt_old && m->pkt_len > 100) { /* an attacker's RST: in the window, not at its edge */
		h[13] = 0x04;
		h[7] = (uint8_t)(h[7] + 1);
		corrupt_old = false;
	}
	return true;
}

static void reset_that_is_not_exact_is_challenged(void **state)
{
	start(19);
	peers_init(100000, 0);
	corrupt_old = true;
	sim.filter = blind_reset;
	assert_true(connect_to(&a, 0, 80));
	assert_true(sim_run(&sim, 60000000, both_done, NULL));
	assert_false(corrupt_old);
	expect_complete();
	sim_fini(&sim);
}

static void simultaneous_open_makes_one_connection(void **state)
{
	struct tcp_config c = sim_config();
	struct tcp_connect to = {.timeout_ms = 5000, .event = on_event};
	enum weir_reason why;

	c.port_lo = c.port_hi = 5000;
	sim_init(&sim, 20, &c, &c);
	peers_init(50000, 50000);
	to.local = sim.host[0].ip;
	to.remote = sim.host[1].ip;
	to.remote_port = 5000;
	to.user = &a;
	a.c = tcp_connect(sim.host[0].tcp, &to, sim.now_us, &why);
	to.local = sim.host[1].ip;
	to.remote = sim.host[0].ip;
	to.user = &b;
	b.c = tcp_connect(sim.host[1].tcp, &to, sim.now_us, &why);
	assert_true(sim_run(&sim, 60000000, both_done, NULL));
	expect_complete();
	sim_fini(&sim);
}

static void small_segments_share_buffers(void **state)
{
	unsigned used;

	start(21);
	peers_init(30000, 0);
	a.chunk = 10;
	b.paused = true;
	b.shuts_down = false;
	assert_true(connect_to(&a, 0, 80));
	/* ten bytes at a time: each event of the peer sends one chunk only */
	sim_run(&sim, 20000000, NULL, NULL);
	used = 16383 - rte_mempool_avail_count(sim.pool);
	assert_int_equal(tcp_readable(b.c), 30000);
	assert_true(used < 30000 / 500);
	tcp_abort(b.c, WEIR_R_CLOSE_ABORTED, sim.now_us);
	sim_fini(&sim);
}

static void unlisten_ends_half_open_connections(void **state)
{
	struct tcp_config c = sim_config();
	struct tcp_listener *l;

	sim_init(&sim, 22, &c, &c);
	l = listen_on(1, 80);
	peers_init(0, 0);
	a.shuts_down = false;
	sim.link.delay_us = 100000;
	assert_true(connect_to(&a, 0, 80));
	sim_run(&sim, 150000, NULL, NULL);
	assert_int_equal(tcp_n_connections(sim.host[1].tcp), 1);
	tcp_unlisten(l, sim.now_us);
	assert_int_equal(tcp_n_connections(sim.host[1].tcp), 0);
	sim_run(&sim, 1000000, NULL, NULL);
	assert_true(a.closed);
	sim_fini(&sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(handshake_negotiates_options),
		cmocka_unit_test(data_flow_both_ways_and_both_close),
		cmocka_unit_test(reader_that_pauses_closes_the_window_and_reopens_it),
		cmocka_unit_test(lost_window_update_is_found_by_a_probe),
		cmocka_unit_test(half_close_lets_the_other_side_go_on),
		cmocka_unit_test(recovery_runs_out_of_no_data),
		cmocka_unit_test(memory_pressure_of_unread_data_slows_no_sender),
		cmocka_unit_test(silent_peer_ends_with_a_timeout),
		cmocka_unit_test(connect_to_nobody_times_out),
		cmocka_unit_test(port_without_listener_refuses),
		cmocka_unit_test(listener_may_refuse),
		cmocka_unit_test(draining_refuses_new_connections_only),
		cmocka_unit_test(syn_again_without_ecn_gives_it_up_for_good),
		cmocka_unit_test(close_with_unread_data_resets),
		cmocka_unit_test(data_after_close_reset),
		cmocka_unit_test(user_may_end_its_connection_in_its_event),
		cmocka_unit_test(full_table_refuses_and_recovers),
		cmocka_unit_test(used_up_ports_are_a_refusal),
		cmocka_unit_test(time_wait_gives_its_port_to_a_later_connection),
		cmocka_unit_test(syn_queue_is_bounded),
		cmocka_unit_test(empty_mbuf_pool_delays_but_loses_nothing),
		cmocka_unit_test(reset_that_is_not_exact_is_challenged),
		cmocka_unit_test(simultaneous_open_makes_one_connection),
		cmocka_unit_test(small_segments_share_buffers),
		cmocka_unit_test(unlisten_ends_half_open_connections),
		cmocka_unit_test(bad_links_lose_nothing),
		cmocka_unit_test(thousands_of_short_connections_leave_nothing),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
