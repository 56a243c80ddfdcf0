/* SPDX-License-Identifier: Apache-2.0 */
/* Requests through the proxy, their ends, and who has to wait: end to end in virtual time (rig.h). */
#include "rig.h"

static bool is_closed(void *ctx)
{
	return clients[0].is_closed;
}

static void bodies_come_back_unchanged_over_a_bad_link(void **state)
{
	for (uint64_t seed = 1; seed <= 5; seed++) {
		unsigned each = N_REQUESTS / 5 / 8;

		start(seed);
		sim.link.loss_ppm = 10000;
		sim.link.jitter_us = 500;
		for (int i = 0; i < 8; i++)
			start_client(&clients[i], each);
		assert_true(sim_run(&sim, 3600000000, all_done, &each));
		for (int i = 0; i < 8; i++) {
			assert_int_equal(clients[i].n_done, each);
			assert_int_equal(clients[i].status, 200);
		}
		assert_int_equal(n_origin_requests, each * 8);
		assert_true(stats->counter[WEIR_C_UPSTREAM_REUSED] > each);
		end();
	}
}

static void origin_that_closes_each_time_is_not_reused(void **state)
{
	unsigned each = 20;

	start(11);
	mode = ORIGIN_CLOSE_EACH;
	start_client(&clients[0], each);
	assert_true(sim_run(&sim, 600000000, all_done, &each));
	assert_int_equal(clients[0].n_done, each);
	assert_int_equal(n_origins, each);
	end();
}

static void cut_response_resets_the_client(void **state)
{
	start(12);
	mode = ORIGIN_CUT;
	start_client(&clients[0], 1);
	assert_true(sim_run(&sim, 60000000, is_closed, NULL));
	assert_int_equal(clients[0].n_done, 0);
	assert_int_equal(stats->reason[WEIR_R_REQ_UPSTREAM_TRUNCATED], 1);
	end();
}

static void garbage_is_answered_502_and_silence_504(void **state)
{
	unsigned one = 1;

	start(13);
	mode = ORIGIN_GARBAGE;
	start_client(&clients[0], 1);
	assert_true(sim_run(&sim, 60000000, all_done, &one));
	assert_int_equal(clients[0].status, 502);
	assert_int_equal(stats->reason[WEIR_R_REQ_UPSTREAM_BAD], 1);
	mode = ORIGIN_SILENT;
	start_client(&clients[1], 1);
	assert_true(sim_run(&sim, 60000000, all_done, &one));
	assert_int_equal(clients[1].status, 504);
	assert_int_equal(stats->reason[WEIR_R_REQ_RESPONSE_TIMEOUT], 1);
	sim_run(&sim, 30000000, NULL, NULL);
	end();
}

static void slow_heads_bodies_and_idle_clients_are_ended_in_time(void **state)
{
	unsigned one = 1;

	start(14);
	send_raw(&clients[0], "GET / HT");
	assert_true(sim_run(&sim, 60000000, all_done, &one));
	assert_int_equal(clients[0].status, 408);
	assert_int_equal(stats->reason[WEIR_R_REQ_HEADER_TIMEOUT], 1);
	send_raw(&clients[1], "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
	assert_true(sim_run(&sim, 60000000, all_done, &one));
	assert_int_equal(clients[1].status, 408);
	assert_int_equal(stats->reason[WEIR_R_REQ_BODY_TIMEOUT], 1);
	send_raw(&clients[2], "");
	sim_run(&sim, 60000000, NULL, NULL);
	assert_true(clients[2].is_closed);
	assert_int_equal(stats->reason[WEIR_R_REQ_IDLE_TIMEOUT], 1);
	end();
}

/* An answer that comes while more of the body waits than a lingering connection takes: reset at once, the client would never see it. */
static void an_answer_amid_a_large_body_arrives_before_the_reset(void **state)
{
	struct tcp_config tcp = sim_config();
	unsigned one = 1;

	tcp.rx_buffer_bytes = tcp.tx_buffer_bytes = 1 << 20;
	start_with(17, 8, 16, &tcp);
	mode = ORIGIN_DEAF;
	send_raw(&clients[0], "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 33554432\r\n\r\n");
	clients[0].n_stream = 33554432;
	sim_run(&sim, 2000000, NULL, NULL);
	assert_int_equal(n_origins, 1);
	tcp_abort(origins[0].c, WEIR_R_CLOSE_ABORTED, sim.now_us);
	assert_true(sim_run(&sim, 20000000, all_done, &one));
	assert_int_equal(clients[0].status, 502);
	sim_run(&sim, 60000000, NULL, NULL);
	assert_true(clients[0].is_closed);
	end();
}

static void a_request_pool_that_is_empty_is_answered_503(void **state)
{
	static struct peer many[20];
	unsigned n_503 = 0;

	start(15);
	mode = ORIGIN_SILENT;
	for (int i = 0; i < 20; i++)
		start_client(&many[i], 1);
	sim_run(&sim, 2000000, NULL, NULL);
	for (int i = 0; i < 20; i++)
		n_503 += many[i].status == 503;
	assert_int_equal(n_503, 4); /* 16 objects */
	assert_int_equal(stats->reason[WEIR_R_REQ_POOL_EMPTY], 4);
	sim_run(&sim, 60000000, NULL, NULL);
	end();
}

static void pipelined_answers_that_nobody_reads_hold_nothing_up(void **state)
{
	static struct peer p;
	unsigned n = 1000;

	start(16);
	start_client(&p, 0);
	for (unsigned i = 0; i < n; i++)
		put_str(&p, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
	sim_run(&sim, 30000000, NULL, NULL);
	assert_int_equal(p.n_done, n); /* each answered, in its turn */
	assert_int_equal(p.status, 204);
	sim_run(&sim, 60000000, NULL, NULL);
	end();
}

static void changed_snapshot_keeps_pools_and_drain_ends_all(void **state)
{
	unsigned one = 1;
	struct weir_endpoint_set *set;

	start(17);
	start_client(&clients[0], 1);
	assert_true(sim_run(&sim, 60000000, all_done, &one));
	sim_run(&sim, 100000, NULL, NULL);
	assert_int_equal(stats->gauge[WEIR_G_UPSTREAM_IDLE], 1);
	serve_snapshot(make_snapshot(2, &set));
	free(set);
	assert_int_equal(n_released, 1);
	assert_int_equal(stats->gauge[WEIR_G_UPSTREAM_IDLE], 1);
	start_client(&clients[1], 1);
	assert_true(sim_run(&sim, 60000000, all_done, &one));
	assert_int_equal(n_origins, 1);
	proxy_drain(proxy, sim.now_us);
	sim_run(&sim, 5000000, NULL, NULL);
	assert_true(proxy_is_idle(proxy));
	assert_int_equal(stats->gauge[WEIR_G_UPSTREAM_IDLE], 0);
	n_released = 0;
	end();
}

static bool is_syn_received(void *ctx)
{
	return tcp_n_syn_received(sim.host[1].tcp) == 1;
}

/* Data have come to the proxy's connection of a client, and lie there. */
static void look_for_data(void *ctx, struct tcp_conn *c)
{
	*(bool *)ctx |= tcp_flow(c)->local_port == 80 && tcp_readable(c) > 0;
}

/* Between the segment's arrival and its event. */
static void drain_beside_a_request(void *ctx, uint64_t now)
{
	bool found = false;

	tcp_each(sim.host[1].tcp, look_for_data, &found);
	assert_true(found);
	proxy_drain(proxy, now);
}

static unsigned n_ended;

static void on_idle_event(struct tcp_conn *c, void *user, unsigned events, uint64_t now)
{
	if (events & TCP_EV_CLOSED) {
		n_ended++;
	} else if (tcp_is_eof(c)) {
		n_ended++;
		tcp_close(c, now);
	}
}

static unsigned n_closing;

static void count_closing(void *ctx, struct tcp_conn *c)
{
	struct tcp_info info;

	tcp_get_info(c, &info);
	n_closing += info.state == TCP_FIN_WAIT_1;
}

static void drain_of_many_clients_is_done_in_slices(void **state)
{
	const unsigned n = 3 * DRAIN_SLICE / 2;
	struct tcp_connect a = {.timeout_ms = 30000, .remote_port = 80, .event = on_idle_event};
	enum weir_reason why;

	start_for(18, n);
	a.local = sim.host[0].ip;
	a.remote = sim.host[1].ip;
	for (unsigned i = 0; i < n; i++)
		assert_non_null(tcp_connect(sim.host[0].tcp, &a, sim.now_us, &why));
	sim_run(&sim, 1000000, NULL, NULL);
	assert_int_equal(stats->gauge[WEIR_G_CLIENT_CONNECTIONS], n);
	n_ended = 0;
	proxy_drain(proxy, sim.now_us);
	n_closing = 0;
	tcp_each(sim.host[1].tcp, count_closing, NULL);
	assert_int_equal(n_closing, DRAIN_SLICE);
	sim_run(&sim, 100000, NULL, NULL);
	assert_true(proxy_is_idle(proxy));
	assert_int_equal(n_ended, n);
	end();
}

/* From its own side its connection stood when the drain began; its ACK, and its request, were still under way. */
static void drain_serves_who_was_connecting_and_closes_in_order(void **state)
{
	unsigned one = 1;

	start(19);
	start_client(&clients[0], 1);
	assert_true(sim_run(&sim, 60000000, is_syn_received, NULL));
	tcp_set_draining(sim.host[1].tcp, true);
	proxy_drain(proxy, sim.now_us);
	assert_true(sim_run(&sim, 60000000, all_done, &one));
	sim_run(&sim, 5000000, NULL, NULL);
	assert_true(proxy_is_idle(proxy));
	assert_int_equal(stats->reason[WEIR_R_TCP_REFUSED], 0);
	assert_int_equal(stats->reason[WEIR_R_RX_DROPPED_BY_DRAIN], 0);
	end();
}

/* One that sends nothing is waited for a moment only, and not reset. */
static void drain_closes_who_was_connecting_and_says_nothing(void **state)
{
	struct tcp_connect a = {.timeout_ms = 30000, .remote_port = 80, .event = on_idle_event};
	enum weir_reason why;

	start_for(20, 2);
	a.local = sim.host[0].ip;
	a.remote = sim.host[1].ip;
	assert_non_null(tcp_connect(sim.host[0].tcp, &a, sim.now_us, &why));
	assert_true(sim_run(&sim, 60000000, is_syn_received, NULL));
	n_ended = 0;
	tcp_set_draining(sim.host[1].tcp, true);
	proxy_drain(proxy, sim.now_us);
	sim_run(&sim, 3000000, NULL, NULL);
	assert_true(proxy_is_idle(proxy));
	assert_int_equal(n_ended, 1);
	assert_int_equal(sim.host[0].stats.counter[WEIR_C_TCP_RST_RX], 0);
	end();
}

/*
 * A client sends its next request while our FIN is on the way to it. It must see
 * an end in order, so that it may send the request again: a RST would tell it
 * nothing, and could take the answer before away from it (RFC 9112 9.6).
 */
static void request_that_crosses_the_fin_of_a_drain_meets_no_reset(void **state)
{
	unsigned one = 1;

	for (unsigned n_crossing = 1; n_crossing <= 3; n_crossing++) {
		start(21);
		start_client(&clients[0], 1);
		assert_true(sim_run(&sim, 60000000, all_done, &one));
		sim_run(&sim, 100000, NULL, NULL);
		proxy_drain(proxy, sim.now_us);
		for (unsigned i = 0; i < n_crossing; i++)
			assert_int_equal(tcp_send(clients[0].c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27), 0);
		sim_run(&sim, 5000000, NULL, NULL);
		assert_true(clients[0].is_closed);
		assert_int_equal(sim.host[0].stats.reason[WEIR_R_CLOSE_RESET_BY_PEER], 0);
		assert_int_equal(sim.host[0].stats.counter[WEIR_C_TCP_RST_RX], 0);
		assert_int_equal(n_origin_requests, 1); /* not served: who closes first decides */
		assert_true(proxy_is_idle(proxy));
		end();
	}
}

/* A request that lies in the receive queue when the drain begins is answered, and told that it was the last one. */
static void request_that_came_just_before_the_drain_is_answered(void **state)
{
	unsigned one = 1;

	start(22);
	start_client(&clients[0], 1);
	assert_true(sim_run(&sim, 60000000, all_done, &one));
	sim_run(&sim, 100000, NULL, NULL);
	clients[0].n_done = 0;
	clients[0].n_want = 0;
	put_str(&clients[0], "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	write_out(&clients[0]);
	tcp_run(sim.host[0].tcp, sim.now_us);
	sim_at(&sim, sim.now_us + sim.link.delay_us, drain_beside_a_request, NULL);
	sim_run(&sim, 5000000, NULL, NULL);
	assert_int_equal(clients[0].n_done, 1);
	assert_int_equal(clients[0].status, 200);
	assert_non_null(strcasestr(got, "\nConnection: close\n"));
	assert_int_equal(sim.host[0].stats.counter[WEIR_C_TCP_RST_RX], 0);
	assert_true(proxy_is_idle(proxy));
	end();
}

static void keep_open(struct tcp_conn *c, void *user, unsigned events, uint64_t now)
{
	if (events & TCP_EV_CLOSED)
		n_ended++;
}

/* Clients that neither send nor close are waited for as long as the drain has time, and not reset then. */
static void drain_waits_for_idle_clients_no_longer_than_its_limit(void **state)
{
	struct tcp_connect a = {.timeout_ms = 30000, .remote_port = 80, .event = keep_open};
	enum weir_reason why;
	struct tcp_conn *c;

	drain_ms = 1000;
	start_for(23, 2);
	drain_ms = 30000;
	a.local = sim.host[0].ip;
	a.remote = sim.host[1].ip;
	c = tcp_connect(sim.host[0].tcp, &a, sim.now_us, &why);
	sim_run(&sim, 100000, NULL, NULL);
	n_ended = 0;
	proxy_drain(proxy, sim.now_us);
	sim_run(&sim, 500000, NULL, NULL);
	assert_false(proxy_is_idle(proxy));
	sim_run(&sim, 500000, NULL, NULL);
	assert_true(proxy_is_idle(proxy));
	assert_int_equal(n_ended, 0);
	assert_int_equal(sim.host[0].stats.counter[WEIR_C_TCP_RST_RX], 0);
	tcp_close(c, sim.now_us);
	sim_run(&sim, 10000000, NULL, NULL);
	end();
}

/* -- memory pressure */

#define N_SLOW 40
#define N_MANY 60
#define POOL 4000 /* mbufs; three quarters may be held in queues, as in worker.c */

static struct slow {
	struct tcp_conn *c;
	bool reads, is_closed;
	size_t got;
} slows[N_MANY];

static uint32_t most_held;

static void slow_event(struct tcp_conn *c, void *user, unsigned events, uint64_t now)
{
	static const char request[] = "GET /large HTTP/1.1\r\nHost: a\r\n\r\n";
	struct slow *s = user;

	if (events & TCP_EV_CLOSED) {
		s->c = NULL;
		s->is_closed = true;
		return;
	}
	if (events & TCP_EV_CONNECTED)
		assert_int_equal(tcp_send(c, request, sizeof(request) - 1), 0);
	while (s->reads && tcp_readable(c)) {
		size_t n = tcp_peek(c).n;

		s->got += n;
		tcp_consume(c, n);
	}
}

static bool watch_held(void *ctx)
{
	uint32_t held = (uint32_t)stats->gauge[WEIR_G_TCP_HELD];

	if (held > most_held)
		most_held = held;
	return ctx && all_done(ctx);
}

static bool slow_ones_have_all(void *ctx)
{
	unsigned n = 0;

	watch_held(NULL);
	for (unsigned i = 0; i < N_SLOW; i++)
		n += slows[i].got >= LARGE_BODY;
	return n == N_SLOW;
}

static void start_slow_ones(unsigned n)
{
	struct tcp_connect a = {.local = sim.host[0].ip, .remote = sim.host[1].ip, .remote_port = 80, .timeout_ms = 30000,
				.event = slow_event};
	enum weir_reason why;

	memset(slows, 0, sizeof(slows));
	for (unsigned i = 0; i < n; i++) {
		a.user = &slows[i];
		slows[i].c = tcp_connect(sim.host[0].tcp, &a, sim.now_us, &why);
		assert_non_null(slows[i].c);
	}
}

/*
 * What backends were offered to send and clients do not read is several times
 * the pool. It must neither run dry, nor anything fail, nor others wait.
 */
static void many_slow_readers_fill_no_pool_and_hold_up_nobody(void **state)
{
	struct tcp_config tc = sim_config();
	unsigned each = 20;

	tc.rx_buffer_bytes = 1 << 20;
	tc.tx_buffer_bytes = 4 << 20;
	tc.n_held_max = POOL / 4 * 3;
	start_with(19, 64, 64, &tc);
	most_held = 0;
	start_slow_ones(N_SLOW);
	sim_run(&sim, 2000000, watch_held, NULL);
	assert_true(most_held > POOL / 4); /* there is pressure, or this says nothing */
	start_client(&clients[0], each);
	assert_true(sim_run(&sim, 4000000, watch_held, &each));
	assert_int_equal(clients[0].n_done, each);
	assert_int_equal(clients[0].status, 200);
	for (unsigned i = 0; i < N_SLOW; i++) {
		assert_false(slows[i].is_closed);
		slows[i].reads = true;
		slow_event(slows[i].c, &slows[i], TCP_EV_READABLE, sim.now_us);
	}
	assert_true(sim_run(&sim, 60000000, slow_ones_have_all, NULL));
	assert_true(most_held < POOL * 7 / 8);
	assert_true(stats->reason[WEIR_R_TCP_MEMORY] > 0);
	assert_int_equal(stats->reason[WEIR_R_NO_MBUF], 0);
	assert_int_equal(stats->counter[WEIR_C_RESPONSES_5XX], 0);
	for (unsigned i = 0; i < N_SLOW; i++)
		tcp_close(slows[i].c, sim.now_us);
	sim_run(&sim, 60000000, NULL, NULL);
	assert_int_equal(stats->gauge[WEIR_G_TCP_HELD], 0);
	end();
}

/*
 * Each asks for far more than it could have, and reads nothing: what they hold
 * is bounded by a share of the pool each, so that requests of others go through
 * however long that lasts. warm: their backend connections come from a pool, and
 * have offered large windows before.
 */
static void crowd_of_slow_readers(bool warm)
{
	struct tcp_config tc = sim_config();
	unsigned each = 20;

	tc.rx_buffer_bytes = 1 << 20;
	tc.tx_buffer_bytes = 4 << 20;
	tc.n_held_max = N_MANY * 45; /* what one of them would hold in its send queue alone */
	start_with(24, 64, 80, &tc);
	most_held = 0;
	if (warm) {
		start_slow_ones(8);
		for (unsigned i = 0; i < 8; i++)
			slows[i].reads = true;
		sim_run(&sim, 3000000, NULL, NULL);
		for (unsigned i = 0; i < 8; i++)
			tcp_close(slows[i].c, sim.now_us);
		sim_run(&sim, 1000000, NULL, NULL);
		assert_int_equal(stats->gauge[WEIR_G_TCP_HELD], 0);
	}
	start_slow_ones(N_MANY);
	sim_run(&sim, 5000000, watch_held, NULL);
	for (unsigned i = 0; i < 3; i++) {
		start_client(&clients[i], each);
		assert_true(sim_run(&sim, 4000000, watch_held, &each));
		assert_int_equal(clients[i].n_done, each);
		assert_int_equal(clients[i].status, 200);
		assert_true(tcp_has_memory(sim.host[1].tcp));
	}
	assert_true(most_held < tc.n_held_max * 7 / 6); /* where new requests are refused */
	assert_int_equal(stats->reason[WEIR_R_REQ_NO_MEMORY], 0);
	assert_int_equal(stats->counter[WEIR_C_RESPONSES_5XX], 0);
	assert_true(stats->counter[WEIR_C_TCP_SHARES] > 0);
	assert_true(stats->gauge[WEIR_G_TCP_SHARE] > 0);
	for (unsigned i = 0; i < N_MANY; i++)
		tcp_close(slows[i].c, sim.now_us);
	sim_run(&sim, 60000000, NULL, NULL);
	assert_int_equal(stats->gauge[WEIR_G_TCP_HELD], 0);
	assert_int_equal(stats->gauge[WEIR_G_TCP_SHARE], 0); /* there is plenty again */
	end();
}

static void a_crowd_of_slow_readers_leaves_others_their_memory(void **state)
{
	crowd_of_slow_readers(false);
}

static void so_it_does_on_connections_that_were_read_well_before(void **state)
{
	crowd_of_slow_readers(true);
}

/* What is held by others leaves too little for one more. */
static void request_for_which_no_memory_is_left_is_answered_503(void **state)
{
	struct tcp_config tc = sim_config();
	unsigned one = 1;

	tc.n_held_max = 100; /* and one slow reader holds far more in the queue of its endpoint */
	start_with(20, 64, 64, &tc);
	start_slow_ones(N_SLOW);
	sim_run(&sim, 1000000, NULL, NULL);
	assert_false(tcp_has_memory(sim.host[1].tcp));
	start_client(&clients[0], 1);
	assert_true(sim_run(&sim, 1000000, all_done, &one));
	assert_int_equal(clients[0].status, 503);
	assert_true(stats->reason[WEIR_R_REQ_NO_MEMORY] > 0);
	assert_int_equal(stats->reason[WEIR_R_REQ_POOL_EMPTY], 0);
	for (unsigned i = 0; i < N_SLOW; i++)
		if (slows[i].c)
			tcp_close(slows[i].c, sim.now_us);
	sim_run(&sim, 60000000, NULL, NULL);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(origin_that_closes_each_time_is_not_reused),
		cmocka_unit_test(cut_response_resets_the_client),
		cmocka_unit_test(garbage_is_answered_502_and_silence_504),
		cmocka_unit_test(slow_heads_bodies_and_idle_clients_are_ended_in_time),
		cmocka_unit_test(an_answer_amid_a_large_body_arrives_before_the_reset),
		cmocka_unit_test(a_request_pool_that_is_empty_is_answered_503),
		cmocka_unit_test(pipelined_answers_that_nobody_reads_hold_nothing_up),
		cmocka_unit_test(changed_snapshot_keeps_pools_and_drain_ends_all),
		cmocka_unit_test(drain_of_many_clients_is_done_in_slices),
		cmocka_unit_test(drain_serves_who_was_connecting_and_closes_in_order),
		cmocka_unit_test(drain_closes_who_was_connecting_and_says_nothing),
		cmocka_unit_test(request_that_crosses_the_fin_of_a_drain_meets_no_reset),
		cmocka_unit_test(request_that_came_just_before_the_drain_is_answered),
		cmocka_unit_test(drain_waits_for_idle_clients_no_longer_than_its_limit),
		cmocka_unit_test(many_slow_readers_fill_no_pool_and_hold_up_nobody),
		cmocka_unit_test(a_crowd_of_slow_readers_leaves_others_their_memory),
		cmocka_unit_test(so_it_does_on_connections_that_were_read_well_before),
		cmocka_unit_test(request_for_which_no_memory_is_left_is_answered_503),
		cmocka_unit_test(bodies_come_back_unchanged_over_a_bad_link),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
