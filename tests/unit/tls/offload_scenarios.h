/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must be true whatever the device is: an engine (test_offload.c) or a provider (test_provider.c), which says with device_config(),
 * tell(), ask() and step_device() how it is opened, told, asked and given its time. In virtual time; the worker's loop is an
 * event every so many microseconds.
 */
#ifndef TESTS_TLS_OFFLOAD_SCENARIOS_H
#define TESTS_TLS_OFFLOAD_SCENARIOS_H

#define N_CLIENTS 32
#define N_ROUNDS 64u /* each with so many clients */
#include "rig.h"

#include "tls/offload_pvt.h"

#define POLL_US 100
#define TIMEOUT_MS 200
#define RETRY_MS 1000

enum { SUBMITTED, DONE, FAILED, HELD };

static struct offload_config device_config(uint32_t n_jobs);
static void tell(const char *command, long value);
static void ask(unsigned long counts[4]);
static void step_device(void); /* once for each poll of the worker */

static struct offload_device *device;
static bool polls;

static void on_poll(void *ctx, uint64_t now)
{
	if (!polls)
		return;
	step_device();
	tls_poll(tls, now);
	sim_at(&sim, now + POLL_US, on_poll, NULL);
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

static void start_device(uint64_t seed, uint32_t n_jobs)
{
	const struct offload_config c = device_config(n_jobs);

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
		step_device();
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

/* -- handshakes */

static void serves_both_versions_and_key_types(void **state)
{
	static const char *const ciphers[] = {"ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"};
	static const char *const sigalgs[] = {"RSA-PSS+SHA256", "ECDSA+SHA256"};
	static const unsigned certs[] = {CERT_A_RSA, CERT_A_EC};

	start_device(2, 4);
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

	start_device(3, 4);
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
	start_device(4, 2);
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

	start_device(12, N_CLIENTS);
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
	start_device(5, 4);
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

struct outcomes {
	unsigned done, failed, left;
	uint64_t prng;
};

/* As many clients as there are come at the same time; some leave, wherever they are. */
static void run_round(unsigned round, struct outcomes *o)
{
	for (unsigned i = 0; i < N_CLIENTS; i++) {
		int v = i % 3 ? TLS1_3_VERSION : TLS1_2_VERSION;

		connect_client(tls_client(i, i % 2 ? "a.example" : NULL, v, v));
	}
	o->prng = o->prng * 6364136223846793005ull + 1442695040888963407ull;
	sim_run(&sim, 1000 + o->prng % 30000, NULL, NULL);
	for (unsigned i = round % 5; i < N_CLIENTS; i += 5)
		if (clients[i].c && !clients[i].is_done) {
			tcp_abort(clients[i].c, WEIR_R_CLOSE_ABORTED, sim.now_us);
			clients[i].c = NULL;
			o->left++;
		}
	sim_run(&sim, 300000, NULL, NULL);
	for (unsigned i = 0; i < N_CLIENTS; i++) {
		o->done += clients[i].is_done;
		o->failed += clients[i].has_failed || (clients[i].is_closed && !clients[i].is_done);
		if (clients[i].c)
			tcp_abort(clients[i].c, WEIR_R_CLOSE_ABORTED, sim.now_us);
		clients[i].c = NULL;
	}
	sim_run(&sim, 50000, NULL, NULL);
	assert_adds_up();
}

/* Thousands of handshakes; the device's counts are then the worker's. */
static void run_rounds(void)
{
	struct outcomes o = {.prng = 7};
	unsigned long before[4], after[4];

	ask(before);
	for (unsigned round = 0; round < N_ROUNDS; round++)
		run_round(round, &o);
	tell("RELEASE", 0);
	tell("NEVER_EVERY", 0);
	sim_run(&sim, 5000000, is_still, NULL);
	assert_true(is_still(NULL));
	ask(after);
	print_message("%u done, %u failed, %u left; %lu operations, %lu in vain, %lu bounced or queued, %lu orphans, %lu late\n", o.done,
		      o.failed, o.left, (unsigned long)count(WEIR_C_TLS_OFFLOAD_SUBMITTED),
		      (unsigned long)count(WEIR_C_TLS_OFFLOAD_FAILED), (unsigned long)count(WEIR_C_TLS_OFFLOAD_RETRIED),
		      (unsigned long)count(WEIR_C_TLS_OFFLOAD_ORPHANED), (unsigned long)count(WEIR_C_TLS_OFFLOAD_TIMEOUTS));
	assert_int_equal(o.done + o.failed + o.left, N_ROUNDS * N_CLIENTS);
	assert_int_equal(after[SUBMITTED] - before[SUBMITTED], count(WEIR_C_TLS_OFFLOAD_SUBMITTED));
	assert_int_equal(after[FAILED] - before[FAILED], count(WEIR_C_TLS_OFFLOAD_FAILED));
	assert_int_equal(after[DONE] - before[DONE], count(WEIR_C_TLS_OFFLOAD_COMPLETED) + count(WEIR_C_TLS_OFFLOAD_FAILED));
	assert_int_equal(after[HELD], 0);
	assert_true(count(WEIR_C_TLS_OFFLOAD_ORPHANED) > 0 && count(WEIR_C_TLS_OFFLOAD_RETRIED) > 100 &&
		    o.done > N_ROUNDS * N_CLIENTS / 4 * 3);
}

static void finishes_handshakes_by_the_thousand(void **state)
{
	start_device(6, 8);
	tell("DELAY_POLLS", 3);
	tell("ORDER", 2);
	tell("FAIL_EVERY", 37);
	tell("NEVER_EVERY", 401);
	tell("FULL_EVERY", 11);
	run_rounds();
	assert_int_equal(stats->reason[WEIR_R_TLS_OFFLOAD_FAILED] > 0, 1);
	end_offload();
}

/* -- the device dies */

static void falls_back_to_software_and_comes_back(void **state)
{
	start_device(7, 8);
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
	start_device(8, 8);
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
	start_device(9, 8);
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

/* The last one: what it leaves is left for good. */
static void ends_although_an_operation_does_not(void **state)
{
	start_device(11, 8);
	tell("DIE", 0);
	connect_client(tls_client(0, "a.example", TLS1_3_VERSION, TLS1_3_VERSION));
	sim_run(&sim, 50000, NULL, NULL);
	assert_false(tls_settle(tls, sim.now_us));
	polls = false;
	end_offload();
}

#define SHARED_SCENARIOS \
	cmocka_unit_test(serves_both_versions_and_key_types), \
	cmocka_unit_test(resumes_without_the_device), \
	cmocka_unit_test(waits_for_a_job), \
	cmocka_unit_test(completes_twenty_times_the_handshakes_of_the_synchronous_way), \
	cmocka_unit_test(keeps_a_session_until_its_job_ends), \
	cmocka_unit_test(finishes_handshakes_by_the_thousand), \
	cmocka_unit_test(falls_back_to_software_and_comes_back), \
	cmocka_unit_test(takes_a_device_for_dead_that_fails), \
	cmocka_unit_test(loses_one_operation_and_lives),
#define LAST_SCENARIO cmocka_unit_test(ends_although_an_operation_does_not)

#endif
