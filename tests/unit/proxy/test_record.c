/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The records of the access log. That each request has one, and that their sums
 * are the counters, is looked at by end() of rig.h after every test of this folder.
 */
#include "rig.h"

static unsigned one = 1;

static struct slice text_of(const struct weir_log_record *r, enum weir_log_text id)
{
	size_t at = 0;

	for (unsigned i = 0; i < id; i++)
		at += r->len[i];
	return slice_of(r->text + at, r->len[id]);
}

static void assert_text(const struct weir_log_record *r, enum weir_log_text id, const char *want)
{
	struct slice s = text_of(r, id);

	assert_int_equal(s.n, strlen(want));
	assert_memory_equal(s.p, want, s.n);
}

static const struct weir_log_record *last(void)
{
	assert_true(access_log.worker.head > 0);
	return &access_log.records[access_log.worker.head - 1];
}

static void a_record_tells_what_the_request_was(void **state)
{
	const struct weir_log_record *r;

	start(31);
	send_raw(&clients[0], "POST /p/q?x=y HTTP/1.1\r\nHost: A.Example:80\r\nUser-Agent: ua\r\nReferer: ref\r\nX-Request-Id: id-1\r\n"
			      "Content-Length: 3\r\n\r\nabc");
	clients[0].n_want = 3;
	memcpy(clients[0].want, "abc", 3);
	assert_true(sim_run(&sim, 60000000, all_done, &one));
	sim_run(&sim, 100000, NULL, NULL);
	assert_int_equal(access_log.worker.head, 1);
	r = last();
	assert_text(r, WEIR_LOG_METHOD, "POST");
	assert_text(r, WEIR_LOG_HOST, "a.example");
	assert_text(r, WEIR_LOG_TARGET, "/p/q?x=y");
	assert_text(r, WEIR_LOG_ROUTE_KIND, "K");
	assert_text(r, WEIR_LOG_ROUTE_NS, "n");
	assert_text(r, WEIR_LOG_ROUTE_NAME, "r");
	assert_text(r, WEIR_LOG_BACKEND, "n/s:80");
	assert_text(r, WEIR_LOG_REQUEST_ID, "id-1");
	assert_text(r, WEIR_LOG_USER_AGENT, "ua");
	assert_text(r, WEIR_LOG_REFERER, "ref");
	assert_text(r, WEIR_LOG_DETAIL, "");
	assert_int_equal(r->status, 200);
	assert_int_equal(r->generation, 1);
	assert_int_equal(r->n_tries, 1);
	assert_int_equal(r->request_bytes, 3);
	assert_int_equal(r->response_bytes, 3);
	assert_int_equal(r->request_head_bytes, strlen("POST /p/q?x=y HTTP/1.1\r\nHost: A.Example:80\r\nUser-Agent: ua\r\nReferer: ref\r\n"
						       "X-Request-Id: id-1\r\nContent-Length: 3\r\n\r\n"));
	assert_int_equal(r->flags, WEIR_LOG_HEAD_FLAG | WEIR_LOG_KEEP_ALIVE_FLAG);
	assert_memory_equal(&r->client, &sim.host[0].ip, sizeof(r->client));
	assert_memory_equal(&r->local, &sim.host[1].ip, sizeof(r->local));
	assert_memory_equal(&r->endpoint, &sim.host[0].ip, sizeof(r->endpoint));
	assert_int_equal(r->local_port, 80);
	assert_int_equal(r->endpoint_port, 8080);
	assert_true(r->head_us <= r->connected_us && r->connected_us <= r->sent_us && r->sent_us < r->first_us &&
		    r->first_us <= r->end_us);
	end();
}

static void the_client_is_who_trusted_hops_tell_beside_the_peer(void **state)
{
	forwarding.trusted_hops = 1;
	start(36);
	send_raw(&clients[0], "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.77\r\n\r\n");
	assert_true(sim_run(&sim, 60000000, all_done, &one));
	sim_run(&sim, 100000, NULL, NULL);
	assert_memory_equal(&last()->client, &sim.host[0].ip, sizeof(last()->client));
	assert_memory_equal(last()->forwarded_client.b + 12, "\xc0\x00\x02\x4d", 4);
	end();
}

static void what_is_too_long_is_cut_and_flagged(void **state)
{
	char text[2048];
	char target[601];

	start(32);
	memset(target, 'a', sizeof(target) - 1);
	target[0] = '/';
	target[sizeof(target) - 1] = 0;
	snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: a\r\nUser-Agent: %s\r\nReferer: %s\r\n\r\n", target, target, target);
	send_raw(&clients[0], text);
	assert_true(sim_run(&sim, 60000000, all_done, &one));
	sim_run(&sim, 100000, NULL, NULL);
	assert_true(last()->flags & WEIR_LOG_TRUNCATED_FLAG);
	assert_int_equal(text_of(last(), WEIR_LOG_TARGET).n, WEIR_LOG_TARGET_MAX);
	assert_memory_equal(text_of(last(), WEIR_LOG_TARGET).p, target, WEIR_LOG_TARGET_MAX);
	assert_int_equal(text_of(last(), WEIR_LOG_USER_AGENT).n, WEIR_LOG_USER_AGENT_MAX);
	assert_true(text_of(last(), WEIR_LOG_REFERER).n < WEIR_LOG_REFERER_MAX); /* what room was left */
	end();
}

static void a_bad_head_is_told_by_its_reason_alone(void **state)
{
	start(33);
	send_raw(&clients[0], "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
	assert_true(sim_run(&sim, 60000000, all_done, &one));
	sim_run(&sim, 5000000, NULL, NULL);
	assert_int_equal(access_log.worker.head, 1);
	assert_int_equal(last()->status, 400);
	assert_int_equal(last()->reason_plus1, WEIR_R_REQ_BAD + 1);
	assert_text(last(), WEIR_LOG_DETAIL, "bad_host_many");
	assert_text(last(), WEIR_LOG_METHOD, "");
	assert_int_equal(text_of(last(), WEIR_LOG_REQUEST_ID).n, 32);
	assert_int_equal(last()->flags, WEIR_LOG_OWN_FLAG);
	assert_int_equal(last()->first_us, WEIR_LOG_NEVER);
	end();
}

/* Clients that go at any moment of a request, its mirror and its retries, and a drain in their midst. */
static void whoever_goes_and_whenever_there_is_one_record_each(void **state)
{
	static const enum origin_mode modes[] = {ORIGIN_ECHO, ORIGIN_CLOSE_EACH, ORIGIN_CUT, ORIGIN_SILENT, ORIGIN_GARBAGE, ORIGIN_SINK};

	for (uint64_t seed = 100; seed < 160; seed++) {
		start(seed);
		mode = modes[seed % 6];
		sim.link.loss_ppm = seed % 3 ? 0 : 20000;
		for (int i = 0; i < 8; i++)
			start_client(&clients[i], 1 + seed % 5);
		for (int i = 0; i < 8; i++) {
			sim_run(&sim, sim_random(&sim) % 400000, NULL, NULL);
			if (clients[i].c && sim_random(&sim) % 2) {
				tcp_abort(clients[i].c, WEIR_R_CLOSE_ABORTED, sim.now_us);
				clients[i].c = NULL;
				clients[i].is_closed = true;
			}
			if (i == 5 && seed % 4 == 0)
				proxy_drain(proxy, sim.now_us);
		}
		sim_run(&sim, 120000000, NULL, NULL);
		assert_true(access_log.worker.head > 0);
		end();
	}
}

static void the_ring_goes_round(void **state)
{
	unsigned n = 20;

	n_log_slots = 7;
	start(35);
	start_client(&clients[0], n);
	assert_true(sim_run(&sim, 600000000, all_done, &n));
	sim_run(&sim, 100000, NULL, NULL);
	assert_int_equal(access_log.worker.head, 20);
	for (unsigned i = 0; i < 7; i++) /* 13 .. 19 are there */
		assert_int_equal(access_log.records[i].seq, i == 6 ? 14 : 15 + i);
	assert_int_equal(access_log.records[7].seq, 0);
	proxy_destroy(proxy, sim.now_us);
	upstream_destroy(upstream, sim.now_us);
	sim_fini(&sim);
	n_log_slots = N_LOG;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_record_tells_what_the_request_was),
		cmocka_unit_test(the_client_is_who_trusted_hops_tell_beside_the_peer),
		cmocka_unit_test(what_is_too_long_is_cut_and_flagged),
		cmocka_unit_test(a_bad_head_is_told_by_its_reason_alone),
		cmocka_unit_test(whoever_goes_and_whenever_there_is_one_record_each),
		cmocka_unit_test(the_ring_goes_round),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
