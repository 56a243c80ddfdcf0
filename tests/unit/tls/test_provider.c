/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handshakes whose signatures a provider makes on a thread of its own (tests/engine/weir_provider.c). The network's time is
 * virtual, the provider's is not: each poll of the worker gives it a little.
 */
#define N_CLIENTS 32
#define N_ROUNDS 64u /* each with so many clients */
#include "rig.h"

#include <unistd.h>

#include "tls/offload.h"

#define POLL_US 100
#define DEVICE_US 50 /* of real time, for an operation and between two polls */

#define PATIENCE_US 60000000

static struct offload_device *device;
static bool polls;

static void on_poll(void *ctx, uint64_t now)
{
	if (!polls)
		return;
	usleep(DEVICE_US);
	tls_poll(tls, now);
	sim_at(&sim, now + POLL_US, on_poll, NULL);
}

static void start_provider(uint64_t seed, const char *fail_every)
{
	/* Too late is nothing here: that would be a matter of real time. */
	const struct offload_config c = {.kind = OFFLOAD_PROVIDER, .provider = "weir_provider", .properties = "?weir.async=yes",
					 .n_jobs = 8, .timeout_ms = 3600000, .retry_ms = 1000};
	char why[200] = "", us[20];

	snprintf(us, sizeof(us), "%d", DEVICE_US);
	setenv("WEIR_ASYNC_US", us, 1);
	setenv("WEIR_ASYNC_FAIL_EVERY", fail_every, 1);
	device = offload_open(&c, why, sizeof(why));
	assert_string_equal(device ? "" : why, "");
	tls_config.offload = device;
	tls_config.n_sessions = 2 * N_CLIENTS;
	start(seed);
	assert_true(tls_begin(tls, 0));
	polls = true;
	sim_at(&sim, sim.now_us + POLL_US, on_poll, NULL);
}

static uint64_t count(enum weir_counter c)
{
	return stats->counter[c];
}

static bool is_still(void *ctx)
{
	return stats->gauge[WEIR_G_TLS_OFFLOAD_IN_FLIGHT] == 0 && stats->gauge[WEIR_G_TLS_OFFLOAD_ORPHANS] == 0;
}

static void end_provider(void)
{
	assert_true(sim_run(&sim, PATIENCE_US, is_still, NULL));
	polls = false;
	sim_run(&sim, 2 * POLL_US, NULL, NULL);
	assert_true(tls_settle(tls, sim.now_us));
	tls_finish(tls);
	end();
	offload_close(device);
	device = NULL;
}

static bool is_over(const struct client *p)
{
	return !p->c || p->is_done || p->has_failed || p->is_closed;
}

static bool are_over(void *ctx)
{
	for (unsigned i = 0; i < N_CLIENTS; i++)
		if (!is_over(&clients[i]))
			return false;
	return true;
}

static bool are_in_flight(void *ctx)
{
	return are_over(ctx) || stats->gauge[WEIR_G_TLS_OFFLOAD_IN_FLIGHT] >= 4;
}

static void signs_for_both_versions_and_key_types(void **state)
{
	static const char *const ciphers[] = {"ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"};
	static const char *const sigalgs[] = {"RSA-PSS+SHA256", "ECDSA+SHA256"};
	static const unsigned certs[] = {CERT_A_RSA, CERT_A_EC};

	start_provider(1, "0");
	for (unsigned i = 0; i < 4; i++) {
		int version = i < 2 ? TLS1_3_VERSION : TLS1_2_VERSION;
		struct client *p = tls_client(0, "a.example", version, version);

		if (i < 2)
			assert_int_equal(SSL_set1_sigalgs_list(p->ssl, sigalgs[i % 2]), 1);
		else
			assert_int_equal(SSL_set_cipher_list(p->ssl, ciphers[i % 2]), 1);
		connect_client(p);
		assert_true(sim_run(&sim, PATIENCE_US, are_over, NULL));
		assert_true(p->is_done && peer_cert_is(p, certs[i % 2]));
		assert_int_equal(count(WEIR_C_TLS_OFFLOAD_SUBMITTED), i + 1);
	}
	assert_int_equal(count(WEIR_C_TLS_OFFLOAD_COMPLETED), 4);
	end_provider();
}

static void finishes_handshakes_by_the_thousand(void **state)
{
	unsigned n_done = 0, n_failed = 0, n_left = 0;

	start_provider(2, "37");
	for (unsigned round = 0; round < N_ROUNDS; round++) {
		for (unsigned i = 0; i < N_CLIENTS; i++) {
			int v = i % 3 ? TLS1_3_VERSION : TLS1_2_VERSION;

			connect_client(tls_client(i, i % 2 ? "a.example" : NULL, v, v));
		}
		sim_run(&sim, PATIENCE_US, are_in_flight, NULL);
		for (unsigned i = round % 5; i < N_CLIENTS; i += 5) /* these leave, wherever they are */
			if (!is_over(&clients[i])) {
				tcp_abort(clients[i].c, WEIR_R_CLOSE_ABORTED, sim.now_us);
				clients[i].c = NULL;
				n_left++;
			}
		assert_true(sim_run(&sim, PATIENCE_US, are_over, NULL));
		for (unsigned i = 0; i < N_CLIENTS; i++) {
			n_done += clients[i].is_done;
			n_failed += clients[i].has_failed || (clients[i].is_closed && !clients[i].is_done);
			if (clients[i].c)
				tcp_abort(clients[i].c, WEIR_R_CLOSE_ABORTED, sim.now_us);
			clients[i].c = NULL;
		}
		sim_run(&sim, 50000, NULL, NULL);
	}
	assert_true(sim_run(&sim, PATIENCE_US, is_still, NULL));
	print_message("%u done, %u failed, %u left; %lu operations, %lu in vain, %lu queued, %lu orphans\n", n_done, n_failed, n_left,
		      (unsigned long)count(WEIR_C_TLS_OFFLOAD_SUBMITTED), (unsigned long)count(WEIR_C_TLS_OFFLOAD_FAILED),
		      (unsigned long)count(WEIR_C_TLS_OFFLOAD_RETRIED), (unsigned long)count(WEIR_C_TLS_OFFLOAD_ORPHANED));
	assert_int_equal(n_done + n_failed + n_left, N_ROUNDS * N_CLIENTS);
	assert_int_equal(count(WEIR_C_TLS_OFFLOAD_SUBMITTED),
			 count(WEIR_C_TLS_OFFLOAD_COMPLETED) + count(WEIR_C_TLS_OFFLOAD_FAILED));
	assert_int_equal(count(WEIR_C_TLS_OFFLOAD_FAILED), count(WEIR_C_TLS_OFFLOAD_SUBMITTED) / 37);
	assert_int_equal(count(WEIR_C_TLS_OFFLOAD_TIMEOUTS), 0);
	assert_true(n_done > N_ROUNDS * N_CLIENTS / 2 && count(WEIR_C_TLS_OFFLOAD_ORPHANED) > 0);
	end_provider();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signs_for_both_versions_and_key_types),
		cmocka_unit_test(finishes_handshakes_by_the_thousand),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, make_certificates, free_certificates);
}
