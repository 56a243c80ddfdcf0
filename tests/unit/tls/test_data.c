/* SPDX-License-Identifier: Apache-2.0 */
/* What sessions carry: both ways, in every manner of taking and giving, through small windows and small pools, to their ends. */
#include "rig.h"

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

static struct client *begin(unsigned i, int version, size_t n_send)
{
	struct client *p = tls_client(i, "a.example", version, version);

	p->n_send = n_send;
	connect_client(p);
	return p;
}

static bool has_got_all(void *ctx)
{
	struct client *p = ctx;

	return p->is_closed || p->has_failed || (p->is_done && p->n_got == p->n_send);
}

static void echo(enum mode m, size_t n)
{
	for (unsigned i = 0; i < 2; i++) {
		struct client *p;

		mode = m;
		p = begin(0, versions[i], n);
		assert_true(sim_run(&sim, 600000000, has_got_all, p));
		assert_int_equal(p->n_got, n);
		assert_false(p->has_failed);
		p->closes = true;
		client_pump(p);
		sim_run(&sim, 20000000, is_client_closed, p);
		assert_true(p->is_eof && p->is_closed);
	}
	assert_int_equal(stats->counter[WEIR_C_TLS_TRUNCATED], 0);
}

static void carries_data_both_ways(void **state)
{
	static const enum mode modes[] = {MODE_ECHO, MODE_HOLD, MODE_RECV};

	start(21);
	for (unsigned i = 0; i < 3; i++) {
		echo(modes[i], 1);
		echo(modes[i], 300000);
	}
	recv_bytes = 100;
	echo(MODE_RECV, 100000);
	recv_bytes = 5000;
	end();
}

static void carries_data_through_small_windows(void **state)
{
	struct tcp_config c = sim_config();

	c.rx_buffer_bytes = 4096;
	c.tx_buffer_bytes = 3000;
	start_with(22, &c, &c);
	sim.link.loss_ppm = 20000;
	echo(MODE_ECHO, 100000);
	echo(MODE_RECV, 50000);
	end();
}

/* The first ones are no larger than a segment, so that what has come can be used; then they hold as much as there may be in one. */
static void expect_records_that_grow(const struct client *p)
{
	assert_true(p->largest_first <= 1460);
	assert_true(p->largest > 16384);
	assert_true(p->n_records < 2 * (40 + N_DATA / 16384));
}

static void gives_all_of_it_and_ends(void **state)
{
	start(23);
	for (unsigned i = 0; i < 2; i++) {
		struct client *p;

		mode = MODE_SOURCE;
		p = begin(0, versions[i], 0);
		assert_true(sim_run(&sim, 600000000, is_client_closed, p));
		assert_int_equal(p->n_got, N_DATA);
		assert_true(p->is_eof);
		expect_records_that_grow(p);
	}
	end();
}

static void takes_all_of_it(void **state)
{
	start(24);
	mode = MODE_SINK;
	for (unsigned i = 0; i < 2; i++) {
		struct client *p = begin(i, versions[i], N_DATA);

		p->closes = true;
	}
	sim_run(&sim, 600000000, is_client_closed, &clients[0]);
	sim_run(&sim, 600000000, is_client_closed, &clients[1]);
	assert_int_equal(servers[0].n_in, N_DATA);
	assert_int_equal(servers[1].n_in, N_DATA);
	assert_int_equal(stats->counter[WEIR_C_TLS_TRUNCATED], 0);
	end();
}

/* What nobody takes stays in TCP's queue, but for one record. */
static void holds_one_record_at_most(void **state)
{
	struct client *p;

	start(25);
	mode = MODE_DEAF;
	p = begin(0, TLS1_3_VERSION, N_DATA);
	sim_run(&sim, 3000000, NULL, NULL);
	assert_true(tls_readable(servers[0].s) <= 16384);
	assert_true(tls_readable(servers[0].s) > 0);
	assert_true(p->n_sent < 200000);
	end();
}

static void ends_its_side_alone(void **state)
{
	struct client *p;

	start(26);
	mode = MODE_GREET;
	p = tls_client(0, "a.example", TLS1_3_VERSION, TLS1_3_VERSION);
	p->keeps = true;
	handshake(p);
	sim_run(&sim, 1000000, is_client_closed, p);
	assert_int_equal(p->n_got, 5);
	assert_memory_equal(p->got, "hello", 5);
	assert_true(p->is_eof);
	end();
}

static void counts_an_end_without_close_notify(void **state)
{
	start(27);
	for (unsigned i = 0; i < 2; i++) {
		struct client *p = tls_client(0, "a.example", versions[i], versions[i]);

		p->closes = p->cuts = true;
		p->n_send = 1000;
		handshake(p);
		sim_run(&sim, 5000000, is_client_closed, p);
		assert_int_equal(p->n_got, 1000); /* which was answered all the same */
		assert_true(p->is_eof);
		assert_int_equal(stats->counter[WEIR_C_TLS_TRUNCATED], i + 1);
		assert_int_equal(servers[i].reason, WEIR_N_REASONS);
	}
	end();
}

/* Two sessions write by turns into the worker's one buffer. */
static void gathers_for_one_session_at_a_time(void **state)
{
	struct client *p, *q;
	char text[64];

	start(28);
	mode = MODE_DEAF;
	p = tls_client(0, "a.example", TLS1_3_VERSION, TLS1_3_VERSION);
	q = tls_client(1, "c.example", TLS1_2_VERSION, TLS1_2_VERSION);
	p->keeps = q->keeps = true;
	handshake(p);
	handshake(q);
	for (unsigned i = 0; i < 10; i++) {
		snprintf(text, sizeof(text), "p%u", i);
		assert_int_equal(tls_send(servers[0].s, text, 2), 0);
		text[0] = 'q';
		assert_int_equal(tls_send(servers[1].s, text, 2), 0);
	}
	assert_true(tls_unacked(servers[1].s) >= 2);
	tls_flush(servers[0].s);
	tls_flush(servers[1].s);
	sim_run(&sim, 1000000, NULL, NULL);
	assert_int_equal(p->n_got, 20);
	assert_int_equal(q->n_got, 20);
	assert_memory_equal(p->got, "p0p1p2p3p4p5p6p7p8p9", 20);
	assert_memory_equal(q->got, "q0q1q2q3q4q5q6q7q8q9", 20);
	assert_int_equal(tls_unacked(servers[0].s), 0);
	end();
}

/* What is gathered goes with its session. */
static void forgets_what_a_freed_session_gathered(void **state)
{
	struct client *p, *q;

	start(29);
	mode = MODE_DEAF;
	p = tls_client(0, "a.example", TLS1_3_VERSION, TLS1_3_VERSION);
	q = tls_client(1, "a.example", TLS1_3_VERSION, TLS1_3_VERSION);
	p->keeps = q->keeps = true;
	handshake(p);
	handshake(q);
	assert_int_equal(tls_send(servers[0].s, "lost", 4), 0);
	tls_free(servers[0].s);
	tcp_abort(servers[0].c, WEIR_R_CLOSE_ABORTED, sim.now_us);
	servers[0].s = NULL;
	assert_int_equal(tls_send(servers[1].s, "sent", 4), 0);
	tls_flush(servers[1].s);
	sim_run(&sim, 1000000, NULL, NULL);
	assert_int_equal(q->n_got, 4);
	assert_memory_equal(q->got, "sent", 4);
	end();
}

static void takes_all_or_nothing(void **state)
{
	struct client *p;
	size_t room;

	start(30);
	mode = MODE_DEAF;
	p = tls_client(0, "a.example", TLS1_3_VERSION, TLS1_3_VERSION);
	handshake(p);
	assert_int_equal(tls_send(servers[0].s, pattern, N_DATA), -EAGAIN);
	assert_int_equal(tls_send(servers[0].s, pattern, 1), 0);
	for (size_t n = 1; (room = tls_send_room(servers[0].s)) > 0; n += room) {
		room = room > 3000 ? 3000 : room;
		assert_int_equal(tls_send(servers[0].s, pattern + n, room), 0);
		p->n_send = n + room;
	}
	tls_flush(servers[0].s);
	room = p->n_send;
	p->n_send = 0;
	sim_run(&sim, 10000000, NULL, NULL);
	assert_int_equal(p->n_got, room);
	end();
}

static bool is_empty(void *ctx)
{
	return tls_unacked(servers[0].s) == 0;
}

/* Without packet buffers what was taken waits, and goes on by itself as the user looks. */
static void loses_nothing_without_packet_buffers(void **state)
{
	static struct rte_mbuf *taken[SIM_N_MBUFS];
	struct client *p;
	unsigned n = 0;

	start(31);
	mode = MODE_ECHO;
	p = tls_client(0, "a.example", TLS1_3_VERSION, TLS1_3_VERSION);
	handshake(p);
	while (n < SIM_N_MBUFS && (taken[n] = rte_pktmbuf_alloc(sim.pool)) != NULL)
		n++;
	assert_int_equal(tls_send(servers[0].s, pattern, 30000), 0);
	tls_flush(servers[0].s);
	assert_true(tls_unacked(servers[0].s) >= 30000 - 2048);
	assert_int_equal(tls_send_room(servers[0].s), 0);
	assert_int_equal(tls_readable(servers[0].s), 0);
	while (n)
		rte_pktmbuf_free(taken[--n]);
	assert_true(sim_run(&sim, 20000000, is_empty, NULL));
	sim_run(&sim, 1000000, NULL, NULL);
	assert_int_equal(p->n_got, 30000);
	assert_int_equal(tls_reason(servers[0].s), WEIR_N_REASONS);
	end();
}

static void receives_with_a_small_pool(void **state)
{
	static struct rte_mempool *small;

	if (!small)
		small = rte_pktmbuf_pool_create("small", 3, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	tls_pool = small;
	start(32);
	echo(MODE_ECHO, 200000);
	assert_true(stats->reason[WEIR_R_NO_MBUF] > 0);
	sim_run(&sim, 20000000, NULL, NULL); /* the last record is acknowledged */
	assert_int_equal(rte_mempool_avail_count(small), 3);
	end();
}

/* Nothing of what is held comes back within a run of the stack: that has to end all the same. */
static void waits_for_packet_buffers_without_holding_up_others(void **state)
{
	static struct rte_mempool *small;
	struct rte_mbuf *taken[3];
	struct client *p;

	if (!small)
		small = rte_pktmbuf_pool_create("few", 3, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	tls_pool = small;
	start(33);
	mode = MODE_ECHO;
	p = tls_client(0, "a.example", TLS1_3_VERSION, TLS1_3_VERSION);
	handshake(p);
	for (unsigned i = 0; i < 3; i++)
		taken[i] = rte_pktmbuf_alloc(small);
	p->n_send = 5000;
	client_pump(p);
	sim_run(&sim, 1000000, NULL, NULL);
	assert_true(stats->reason[WEIR_R_NO_MBUF] > 0);
	assert_int_equal(p->n_got, 0);
	for (unsigned i = 0; i < 3; i++)
		rte_pktmbuf_free(taken[i]);
	assert_true(sim_run(&sim, 20000000, has_got_all, p));
	assert_int_equal(p->n_got, 5000);
	end();
}

/* RFC 6066 4 */
static void keeps_to_the_length_that_a_client_asks_for(void **state)
{
	start(34);
	mode = MODE_ECHO;
	for (unsigned i = 0; i < 2; i++) {
		struct client *p = tls_client(0, "a.example", versions[i], versions[i]);

		SSL_set_tlsext_max_fragment_length(p->ssl, TLSEXT_max_fragment_length_512);
		p->n_send = 300000;
		connect_client(p);
		assert_true(sim_run(&sim, 600000000, has_got_all, p));
		assert_int_equal(p->n_got, 300000);
		assert_false(p->has_failed);
		assert_in_range(p->largest, 512, 512 + 32);
		p->closes = true;
		client_pump(p);
		sim_run(&sim, 20000000, is_client_closed, p);
	}
	end();
}

/* However small the records are, what waits for a client takes memory as its bytes do. */
static void small_records_share_packet_buffers(void **state)
{
	unsigned before, n = 0;

	start(35);
	handshake(tls_client(0, "a.example", TLS1_3_VERSION, TLS1_3_VERSION));
	before = rte_mempool_in_use_count(sim.pool);
	while (tls_send_room(servers[0].s) > 0 && tls_send(servers[0].s, "x", 1) == 0) {
		tls_flush(servers[0].s);
		n++;
	}
	assert_true(n > 2000);
	assert_in_range(rte_mempool_in_use_count(sim.pool) - before, 1, tls_unacked(servers[0].s) / 1000);
	end();
}

/* A record whose last byte is missing waits where TCP's windows count it. */
static void half_a_record_stays_in_the_window(void **state)
{
	struct client *p;
	size_t n = 0;
	char *b;

	start(36);
	mode = MODE_SINK;
	p = tls_client(0, "a.example", TLS1_3_VERSION, TLS1_3_VERSION);
	handshake(p);
	assert_int_equal(SSL_write_ex(p->ssl, pattern, 16000, &n), 1);
	n = (size_t)BIO_get_mem_data(p->out, &b) - 1;
	for (size_t at = 0; at < n; at += 1100) {
		assert_int_equal(tcp_send(p->c, b + at, n - at < 1100 ? n - at : 1100), 0);
		sim_run(&sim, 200000, NULL, NULL);
	}
	assert_int_equal(tcp_readable(servers[0].c), getenv("WEIR_TEST_LIBSSL") ? 0 : n - 5);
	tcp_send(p->c, b + n, 1);
	sim_run(&sim, 200000, NULL, NULL);
	assert_int_equal(servers[0].n_in, 16000);
	BIO_reset(p->out);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(carries_data_both_ways),
		cmocka_unit_test(carries_data_through_small_windows),
		cmocka_unit_test(gives_all_of_it_and_ends),
		cmocka_unit_test(takes_all_of_it),
		cmocka_unit_test(holds_one_record_at_most),
		cmocka_unit_test(ends_its_side_alone),
		cmocka_unit_test(counts_an_end_without_close_notify),
		cmocka_unit_test(gathers_for_one_session_at_a_time),
		cmocka_unit_test(forgets_what_a_freed_session_gathered),
		cmocka_unit_test(takes_all_or_nothing),
		cmocka_unit_test(loses_nothing_without_packet_buffers),
		cmocka_unit_test(receives_with_a_small_pool),
		cmocka_unit_test(waits_for_packet_buffers_without_holding_up_others),
		cmocka_unit_test(keeps_to_the_length_that_a_client_asks_for),
		cmocka_unit_test(small_records_share_packet_buffers),
		cmocka_unit_test(half_a_record_stays_in_the_window),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, make_certificates, free_certificates);
}
