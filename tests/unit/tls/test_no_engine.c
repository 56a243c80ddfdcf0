/* SPDX-License-Identifier: Apache-2.0 */
/* What takes the place of engines where OpenSSL has none: tried in every build, so that it is there when it is needed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tls/offload_pvt.h"

static void says_that_there_are_no_engines(void **state)
{
	struct offload_device d = {.cfg = {.kind = OFFLOAD_ENGINE, .engine_id = "qatengine"}};
	char why[200] = "";

	assert_false(engine_open(&d, why, sizeof(why)));
	assert_string_equal(why, "the OpenSSL that Weir was built with has no engines; a provider takes their place");
	assert_null(d.engine);
	engine_close(&d);
}

/* What a worker and its certificates call if a device of another kind is open. */
static void has_no_keys_and_nothing_to_do(void **state)
{
	const struct offload_device d = {.cfg = {.kind = OFFLOAD_PROVIDER}};

	assert_true(engine_use_instance(&d, 3));
	engine_poll(&d);
	assert_null(engine_key(&d, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(says_that_there_are_no_engines),
		cmocka_unit_test(has_no_keys_and_nothing_to_do),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
