/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handshakes whose private-key operations a device does: tests/engine, which is late, out of order, full, fails, and dies as it is
 * told. In virtual time; the worker's loop is an event every so many microseconds.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#define N_CLIENTS 32
#define N_ROUNDS 64u /* each with so many clients */
#include "rig.h"

#include <openssl/engine.h>

#include "tls/offload_pvt.h"

#define POLL_US 100
#define TIMEOUT_MS 200
#define RETRY_MS 1000

static struct offload_device *device;
static bool polls;

static void on_poll(void *ctx, uint64_t now)
{
	if (!polls)
		return;
	tls_poll(tls, now);
	sim_at(&sim, now + POLL_US, on_poll, NULL);
}

static struct offload_config engine_config(uint32_t n_jobs)
{
	struct offload_config c = {.kind = OFFLOAD_ENGINE, .engine_id = "weir_async", .n_jobs = n_jobs, .timeout_ms = TIMEOUT_MS,
				   .retry_ms = RETRY_MS};
	const char *path = getenv("WEIR_ASYNC");

	assert_non_null(path);
	snprintf(c.engine_path, sizeof(c.engine_path), "%s", path);
	return c;
}

static void tell(const char *command, long value)
{
	assert_true(ENGINE_ctrl_cmd(device->engine, command, value, NULL, NULL, 0) > 0);
}

enum { SUBMITTED, DONE, FAILED, HELD };

static void ask(unsigned long counts[4])
{
	assert_true(ENGINE_ctrl_cmd(device->engine, "GET_COUNTS", 0, counts, NULL, 0) > 0);
}

static void open_device(const struct offload_config *c)
{
	char why[200];

	device = offload_open(c, why, sizeof(why));
	if (!device)
		fail_msg("%s", why);
}

static void start_offload(uint64_t seed, const struct offload_config *c)
{
	open_device(c);
	tls_config.offload = device;
	tls_config.n_sessions = 2 * N_CLIENTS;
	start(seed);
	assert_true(tls_begin(tls, 0));
	assert_int_equal(stats->gauge[WEIR_G_TLS_OFFLOAD_UP], 1);
	polls = true;
	sim_at(&sim, sim.now_us + POLL_US, on_poll, NULL);
}

static void start_engine(uint64_t seed, uint32_t n_jobs)
{
	const struct offload_config c = engine_config(n_jobs);

	start_offload(seed, &c);
}

static uint64_t count(enum weir_counter c)
{
	return stats->counter[c];
}

/* Each operation is in exactly one place. */
static void assert_adds_up(void)
{
	assert_int_equal(count(WEIR_C_TLS_OFFLOAD_SUBMITTED),
			 count(WEIR_C_TLS_OFFLOAD_COMPLETED) + count(WEIR_C_TLS_OFFLOAD_FAILED) +
				 stats->gauge[WEIR_G_TLS_OFFLOAD_IN_FLIGHT]);
}

static void end_offload(void)
{
	polls = false;
	sim_run(&sim, 2 * POLL_US, NULL, NULL);
	for (unsigned i = 0; i < 1000 && !tls_settle(tls, sim.now_us); i++)
		;
	assert_adds_up();
	tls_finish(tls);
	end();
	offload_close(device);
	device = NULL;
}

static bool is_still(void *ctx)
{
	return stats->gauge[WEIR_G_TLS_OFFLOAD_IN_FLIGHT] == 0 && stats->gauge[WEIR_G_TLS_OFFLOAD_ORPHANS] == 0;
}

/* -- what is configured */

static void says_why_there_is_no_device(void **state)
{
	struct offload_config c = engine_config(4);
	char why[200];

	c.n_commands = 1;
	c.commands[0] = (struct offload_command){"MAKE_COFFEE", "2"};
	assert_null(offload_open(&c, why, sizeof(why)));
	assert_string_equal(why, "engine weir_async has no command MAKE_COFFEE");
	c.commands[0] = (struct offload_command){"ORDER", "7"};
	assert_null(offload_open(&c, why, sizeof(why)));
	assert_non_null(strstr(why, "refuses command ORDER with value '7'"));
	c.commands[0] = (struct offload_command){"NO_DEVICE", ""};
	assert_null(offload_open(&c, why, sizeof(why)));
	assert_string_equal(why, "engine weir_async does neither RSA nor ECDSA itself (is its device there?)");
	strcpy(c.engine_path, "/nowhere/engine.so");
	assert_null(offload_open(&c, why, sizeof(why)));
	assert_non_null(strstr(why, "engine weir_async cannot be loaded from /nowhere/engine.so"));
	c = (struct offload_config){.kind = OFFLOAD_ENGINE, .engine_id = "none_such"};
	assert_null(offload_open(&c, why, sizeof(why)));
	assert_non_null(strstr(why, "engine none_such cannot be loaded"));
	c = (struct offload_config){.kind = OFFLOAD_PROVIDER, .provider = "none_such"};
	assert_null(offload_open(&c, why, sizeof(why)));
	assert_non_null(strstr(why, "provider none_such cannot be loaded"));
	c = (struct offload_config){.kind = OFFLOAD_PROVIDER, .provider = "base", .properties = "provider=base"};
	assert_null(offload_open(&c, why, sizeof(why)));
	assert_non_null(strstr(why, "has not all that TLS needs"));
}

static void takes_commands(void **state)
{
	struct offload_config c = engine_config(4);

	c.n_commands = 2;
	c.commands[0] = (struct offload_command){"DELAY_POLLS", "3"};
	c.commands[1] = (struct offload_command){"LIVE", ""};
	start_offload(1, &c);
	handshake(tls_client(0, "a.example", TLS1_3_VERSION, TLS1_3_VERSION));
	assert_true(clients[0].is_done);
	assert_true(count(WEIR_C_TLS_OFFLOAD_US) >= 2 * POLL_US);
	end_offload();
}

/* As qatengine does it without a card, where the CPU has AVX-512: there is no instance, and the counters are others. */
static void uses_an_engine_that_is_software(void **state)
{
	struct offload_config c = engine_config(4);

	c.n_commands = 1;
	c.commands[0] = (struct offload_command){"IN_SOFTWARE", ""};
	start_offload(1, &c);
	handshake(tls_client(0, "a.example", TLS1_3_VERSION, TLS1_3_VERSION));
	assert_true(clients[0].is_done);
	assert_int_equal(count(WEIR_C_TLS_OFFLOAD_COMPLETED), 1);
	end_offload();
}

/* -- handshakes */

static void serves_both_versions_and_key_types(void **state)
{
	static const char *const ciphers[] = {"ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"};
	static const char *const sigalgs[] = {"RSA-PSS+SHA256", "ECDSA+SHA256"};
	static const unsigned certs[] = {CERT_A_RSA, CERT_A_EC};

	start_engine(2, 4);
	tell("DELAY_POLLS", 5);
	for (unsigned i = 0; i < 2; i++) {
		struct client *p = tls_client(0, "a.example", TLS1_3_VERSION, TLS1_3_VERSION);

		assert_int_equal(SSL_set1_sigalgs_list(p->ssl, sigalgs[i]), 1);
		handshake(p);
		assert_true(p->is_done && peer_cert_is(p, certs[i]));
		p = tls_client(0, "a.example", TLS1_2_VERSION, TLS1_2_VERSION);
		assert_int_equal(SSL_set_cipher_list(p->ssl, ciphers[i]), 1);
		p->n_send = 100000; /* behind the handshake nothing runs in a job */
		handshake(p);
		sim_run(&sim, 1000000, NULL, NULL);
		assert_true(p->is_done && peer_cert_is(p, certs[i]));
		assert_int_equal(p->n_got, p->n_send);
	}
	assert_int_equal(count(WEIR_C_TLS_OFFLOAD_COMPLETED), 4);
	assert_int_equal(count(WEIR_C_TLS_OFFLOAD_FAILED), 0);
	end_offload();
}

static void resumes_without_the_device(void **state)
{
	struct client *p;
	SSL_SESSION *ticket;

	start_engine(3, 4);
	set_keys(1, 1);
	p = tls_client(0, "a.example", TLS1_2_VERSION, TLS1_2_VERSION);
	p->closes = true;
	handshake(p);
	ticket = SSL_get1_session(p->ssl);
	p = tls_client(0, "a.example", TLS1_2_VERSION, TLS1_2_VERSION);
	SSL_set_session(p->ssl, ticket);
	handshake(p);
	assert_true(p->is_done && SSL_session_reused(p->ssl));
	assert_int_equal(count(WEIR_C_TLS_OFFLOAD_SUBMITTED), 1);
	SSL_SESSION_free(ticket);
	end_offload();
}

static void waits_for_a_job(void **state)
{
	start_engine(4, 2);
	tell("DELAY_POLLS", 50);
	for (unsigned i = 0; i < 12; i++)
		connect_client(tls_client(i, "a.example", TLS1_3_VERSION, TLS1_3_VERSION));
	sim_run(&sim, 20000000, NULL, NULL);
	for (unsigned i = 0; i < 12; i++)
		assert_true(clients[i].is_done);
	assert_true(count(WEIR_C_TLS_OFFLOAD_RETRIED) >= 10);
	assert_int_equal(stats->gauge[WEIR_G_TLS_OFFLOAD_QUEUED], 0);
	assert_int_equal(count(WEIR_C_TLS_OFFLOAD_COMPLETED), 12);
	end_offload();
}

static bool has_begun(void *ctx)
{
	return count(WEIR_C_TLS_OFFLOAD_SUBMITTED) > 0;
}

static bool have_ended(void *ctx)
{
	return count(WEIR_C_TLS_OFFLOAD_COMPLETED) == N_CLIENTS;
}

/*
 * An operation takes a millisecond. The synchronous way the worker waits for each, so however quick it is at the rest, it
 * completes no more than one in that time. In virtual time, which the rest of the work does not take.
 */
static void completes_twenty_times_the_handshakes_of_the_synchronous_way(void **state)
{
	const uint64_t op_us = 10 * POLL_US;
	uint64_t begin;
	double ratio;

	start_engine(12, N_CLIENTS);
	tell("DELAY_POLLS", 10);
	handshake(tls_client(0, "a.example", TLS1_3_VERSION, TLS1_3_VERSION)); /* the certificates are ready */
	stats->counter[WEIR_C_TLS_OFFLOAD_SUBMITTED] = stats->counter[WEIR_C_TLS_OFFLOAD_COMPLETED] = 0;
	for (unsigned i = 0; i < N_CLIENTS; i++)
		connect_client(tls_client(i, "a.example", TLS1_3_VERSION, TLS1_3_VERSION));
	assert_true(sim_run(&sim, 1000000, has_begun, NULL));
	begin = sim.now_us;
	assert_true(sim_run(&sim, 1000000, have_ended, NULL));
	ratio = (double)(N_CLIENTS * op_us) / (double)(sim.now_us - begin);
	print_message("%u operations of %u us in %u us: %.1f times the synchronous way\n", (unsigned)N_CLIENTS, (unsigned)op_us,
		      (unsigned)(sim.now_us - begin), ratio);
	assert_true(ratio >= 20);
	end_offload();
}

/* -- clients that leave */

static void keeps_a_session_until_its_job_ends(void **state)
{
	start_engine(5, 4);
	tell("DELAY_POLLS", 1000);
	for (unsigned i = 0; i < 2; i++)
		connect_client(tls_client(i, "a.example", TLS1_3_VERSION, TLS1_3_VERSION));
	sim_run(&sim, 50000, NULL, NULL);
	assert_int_equal(stats->gauge[WEIR_G_TLS_OFFLOAD_IN_FLIGHT], 2);
	for (unsigned i = 0; i < 2; i++) {
		tcp_abort(clients[i].c, WEIR_R_CLOSE_ABORTED, sim.now_us);
		clients[i].c = NULL;
	}
	sim_run(&sim, 10000, NULL, NULL);
	assert_int_equal(stats->gauge[WEIR_G_TLS_SESSIONS], 0);
	assert_int_equal(stats->gauge[WEIR_G_TLS_OFFLOAD_ORPHANS], 2);
	assert_int_equal(stats->gauge[WEIR_G_TLS_OFFLOAD_IN_FLIGHT], 2);
	sim_run(&sim, 200000, is_still, NULL);
	assert_true(is_still(NULL));
	assert_int_equal(count(WEIR_C_TLS_OFFLOAD_ORPHANED), 2);
	assert_int_equal(count(WEIR_C_TLS_OFFLOAD_COMPLETED), 2);
	end_offload();
}

static void finishes_handshakes_by_the_thousand(void **state)
{
	unsigned n_done = 0, n_failed = 0, n_left = 0;
	unsigned long before[4], after[4];
	uint64_t prng = 7;

	start_engine(6, 8);
	tell("DELAY_POLLS", 3);
	tell("ORDER", 2);
	tell("FAIL_EVERY", 37);
	tell("NEVER_EVERY", 401);
	tell("FULL_EVERY", 11);
	ask(before);
	for (unsigned round = 0; round < N_ROUNDS; round++) {
		for (unsigned i = 0; i < N_CLIENTS; i++) {
			int v = i % 3 ? TLS1_3_VERSION : TLS1_2_VERSION;

			connect_client(tls_client(i, i % 2 ? "a.example" : NULL, v, v));
		}
		sim_run(&sim, 1000 + (prng = prng * 6364136223846793005ull + 1442695040888963407ull) % 30000, NULL, NULL);
		for (unsigned i = round % 5; i < N_CLIENTS; i += 5) /* these leave, wherever they are */
			if (clients[i].c && !clients[i].is_done) {
				tcp_abort(clients[i].c, WEIR_R_CLOSE_ABORTED, sim.now_us);
				clients[i].c = NULL;
				n_left++;
			}
		sim_run(&sim, 300000, NULL, NULL);
		for (unsigned i = 0; i < N_CLIENTS; i++) {
			n_done += clients[i].is_done;
			n_failed += clients[i].has_failed || (clients[i].is_closed && !clients[i].is_done);
			if (clients[i].c)
				tcp_abort(clients[i].c, WEIR_R_CLOSE_ABORTED, sim.now_us);
			clients[i].c = NULL;
		}
		sim_run(&sim, 50000, NULL, NULL);
		assert_adds_up();
	}
	tell("RELEASE", 0);
	tell("NEVER_EVERY", 0);
	sim_run(&sim, 5000000, is_still, NULL);
	assert_true(is_still(NULL));
	ask(after);
	print_message("%u done, %u failed, %u left; %lu operations, %lu in vain, %lu bounced or queued, %lu orphans, %lu late\n", n_done,
		      n_failed, n_left, (unsigned long)count(WEIR_C_TLS_OFFLOAD_SUBMITTED),
		      (unsigned long)count(WEIR_C_TLS_OFFLOAD_FAILED), (unsigned long)count(WEIR_C_TLS_OFFLOAD_RETRIED),
		      (unsigned long)count(WEIR_C_TLS_OFFLOAD_ORPHANED), (unsigned long)count(WEIR_C_TLS_OFFLOAD_TIMEOUTS));
	assert_int_equal(n_done + n_failed + n_left, N_ROUNDS * N_CLIENTS);
	assert_int_equal(after[SUBMITTED] - before[SUBMITTED], count(WEIR_C_TLS_OFFLOAD_SUBMITTED));
	assert_int_equal(after[FAILED] - before[FAILED], count(WEIR_C_TLS_OFFLOAD_FAILED));
	assert_int_equal(after[DONE] - before[DONE], count(WEIR_C_TLS_OFFLOAD_COMPLETED) + count(WEIR_C_TLS_OFFLOAD_FAILED));
	assert_int_equal(after[HELD], 0);
	assert_true(count(WEIR_C_TLS_OFFLOAD_ORPHANED) > 0 && count(WEIR_C_TLS_OFFLOAD_RETRIED) > 100 &&
		    n_done > N_ROUNDS * N_CLIENTS / 4 * 3);
	assert_int_equal(stats->reason[WEIR_R_TLS_OFFLOAD_FAILED] > 0, 1);
	end_offload();
}

/* -- the device dies */

static void falls_back_to_software_and_comes_back(void **state)
{
	start_engine(7, 8);
	tell("DIE", 0);
	for (unsigned i = 0; i < 4; i++)
		connect_client(tls_client(i, "a.example", TLS1_3_VERSION, TLS1_3_VERSION));
	sim_run(&sim, 2 * TIMEOUT_MS * 1000, NULL, NULL);
	assert_int_equal(stats->reason[WEIR_R_TLS_OFFLOAD_TIMEOUT], 4);
	assert_int_equal(stats->gauge[WEIR_G_TLS_OFFLOAD_UP], 0);
	assert_int_equal(count(WEIR_C_TLS_OFFLOAD_DOWN), 1);
	assert_int_equal(stats->gauge[WEIR_G_TLS_OFFLOAD_IN_FLIGHT], 4);
	for (unsigned i = 4; i < 8; i++) { /* software */
		handshake(tls_client(i, "a.example", TLS1_3_VERSION, TLS1_3_VERSION));
		assert_true(clients[i].is_done);
	}
	assert_int_equal(count(WEIR_C_TLS_OFFLOAD_FALLBACKS), 4);
	sim_run(&sim, RETRY_MS * 1000, NULL, NULL);
	handshake(tls_client(8, "a.example", TLS1_3_VERSION, TLS1_3_VERSION)); /* it tries, in vain */
	assert_int_equal(stats->reason[WEIR_R_TLS_OFFLOAD_TIMEOUT], 5);
	handshake(tls_client(9, "a.example", TLS1_3_VERSION, TLS1_3_VERSION));
	assert_true(clients[9].is_done);
	assert_int_equal(count(WEIR_C_TLS_OFFLOAD_DOWN), 1);
	tell("LIVE", 0); /* what it had comes to its end: it lives */
	sim_run(&sim, 10 * POLL_US, NULL, NULL);
	assert_int_equal(stats->gauge[WEIR_G_TLS_OFFLOAD_UP], 1);
	assert_true(is_still(NULL));
	handshake(tls_client(10, "a.example", TLS1_3_VERSION, TLS1_3_VERSION));
	assert_true(clients[10].is_done);
	assert_int_equal(count(WEIR_C_TLS_OFFLOAD_COMPLETED), 6);
	end_offload();
}

static void takes_a_device_for_dead_that_fails(void **state)
{
	start_engine(8, 8);
	tell("FAIL_EVERY", 1);
	for (unsigned i = 0; i < 8; i++) {
		handshake(tls_client(0, "a.example", TLS1_2_VERSION, TLS1_2_VERSION));
		assert_true(clients[0].has_failed || clients[0].is_closed);
	}
	assert_int_equal(stats->reason[WEIR_R_TLS_OFFLOAD_FAILED], 8);
	assert_int_equal(stats->gauge[WEIR_G_TLS_OFFLOAD_UP], 0);
	handshake(tls_client(0, "a.example", TLS1_2_VERSION, TLS1_2_VERSION));
	assert_true(clients[0].is_done);
	tell("FAIL_EVERY", 0);
	sim_run(&sim, RETRY_MS * 1000, NULL, NULL);
	handshake(tls_client(0, "a.example", TLS1_2_VERSION, TLS1_2_VERSION)); /* it tries, and all is well */
	assert_true(clients[0].is_done);
	assert_int_equal(stats->gauge[WEIR_G_TLS_OFFLOAD_UP], 1);
	end_offload();
}

/* An operation that is lost ends its own handshake, not the device, as long as others end. */
static void loses_one_operation_and_lives(void **state)
{
	start_engine(9, 8);
	tell("NEVER_EVERY", 1);
	connect_client(tls_client(0, "a.example", TLS1_3_VERSION, TLS1_3_VERSION));
	sim_run(&sim, 50000, NULL, NULL);
	tell("NEVER_EVERY", 0);
	handshake(tls_client(1, "a.example", TLS1_3_VERSION, TLS1_3_VERSION));
	assert_true(clients[1].is_done);
	sim_run(&sim, 2 * TIMEOUT_MS * 1000, NULL, NULL);
	assert_int_equal(stats->reason[WEIR_R_TLS_OFFLOAD_TIMEOUT], 1);
	assert_int_equal(stats->gauge[WEIR_G_TLS_OFFLOAD_UP], 1);
	assert_int_equal(stats->gauge[WEIR_G_TLS_OFFLOAD_IN_FLIGHT], 1);
	tell("RELEASE", 0);
	end_offload();
}

/* -- providers, which have no queue */

static void uses_a_provider(void **state)
{
	const struct offload_config c = {.kind = OFFLOAD_PROVIDER, .provider = "base", .properties = "?provider=base", .n_jobs = 4,
					 .timeout_ms = TIMEOUT_MS, .retry_ms = RETRY_MS};

	start_offload(10, &c);
	handshake(tls_client(0, "a.example", TLS1_3_VERSION, TLS1_3_VERSION));
	assert_true(clients[0].is_done);
	handshake(tls_client(0, NULL, TLS1_2_VERSION, TLS1_2_VERSION));
	assert_true(clients[0].is_done);
	end_offload();
}

/* The last one: what it leaves is left for good. */
static void ends_although_an_operation_does_not(void **state)
{
	start_engine(11, 8);
	tell("DIE", 0);
	connect_client(tls_client(0, "a.example", TLS1_3_VERSION, TLS1_3_VERSION));
	sim_run(&sim, 50000, NULL, NULL);
	assert_false(tls_settle(tls, sim.now_us));
	polls = false;
	end_offload();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(says_why_there_is_no_device),
		cmocka_unit_test(takes_commands),
		cmocka_unit_test(uses_an_engine_that_is_software),
		cmocka_unit_test(serves_both_versions_and_key_types),
		cmocka_unit_test(resumes_without_the_device),
		cmocka_unit_test(waits_for_a_job),
		cmocka_unit_test(completes_twenty_times_the_handshakes_of_the_synchronous_way),
		cmocka_unit_test(keeps_a_session_until_its_job_ends),
		cmocka_unit_test(finishes_handshakes_by_the_thousand),
		cmocka_unit_test(falls_back_to_software_and_comes_back),
		cmocka_unit_test(takes_a_device_for_dead_that_fails),
		cmocka_unit_test(loses_one_operation_and_lives),
		cmocka_unit_test(uses_a_provider),
		cmocka_unit_test(ends_although_an_operation_does_not),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, make_certificates, free_certificates);
}
