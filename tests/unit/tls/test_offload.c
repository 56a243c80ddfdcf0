/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handshakes whose private-key operations an engine does: tests/engine/weir_async.c, which is late, out of order, full, fails, and
 * dies as it is told. What is so of any device is in offload_scenarios.h.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "offload_scenarios.h"

#include <openssl/engine.h>

static struct offload_config device_config(uint32_t n_jobs)
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

static void ask(unsigned long counts[4])
{
	assert_true(ENGINE_ctrl_cmd(device->engine, "GET_COUNTS", 0, counts, NULL, 0) > 0);
}

/* The worker polls it. */
static void step_device(void)
{
}

/* -- what is configured */

static void says_why_there_is_no_device(void **state)
{
	struct offload_config c = device_config(4);
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
	struct offload_config c = device_config(4);

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
	struct offload_config c = device_config(4);

	c.n_commands = 1;
	c.commands[0] = (struct offload_command){"IN_SOFTWARE", ""};
	start_offload(1, &c);
	handshake(tls_client(0, "a.example", TLS1_3_VERSION, TLS1_3_VERSION));
	assert_true(clients[0].is_done);
	assert_int_equal(count(WEIR_C_TLS_OFFLOAD_COMPLETED), 1);
	end_offload();
}

/* -- a provider that does none of it */

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(says_why_there_is_no_device),
		cmocka_unit_test(takes_commands),
		cmocka_unit_test(uses_an_engine_that_is_software),
		cmocka_unit_test(uses_a_provider),
		SHARED_SCENARIOS
		LAST_SCENARIO,
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, make_certificates, free_certificates);
}
