/* SPDX-License-Identifier: Apache-2.0 */
/* The bound on the time to wake of cores, whose files are of this test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cpu_latency.h"

static char root[] = "/tmp/weir-cpu-latency-XXXXXX";

static const char *path_of(unsigned core)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/cpu%u", root, core);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/cpu%u/power", root, core);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/cpu%u/power/pm_qos_resume_latency_us", root, core);
	return path;
}

static void put(unsigned core, const char *text)
{
	FILE *f = fopen(path_of(core), "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* What the kernel would read: up to the end of the line. */
static void expect(unsigned core, const char *text)
{
	char line[32] = "";
	FILE *f = fopen(path_of(core), "r");

	assert_non_null(f);
	assert_non_null(fgets(line, sizeof(line), f));
	fclose(f);
	assert_string_equal(line, text);
}

static int set_up(void **state)
{
	return mkdtemp(root) ? 0 : -1;
}

static int clean(void **state)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	return system(command);
}

static void cores_are_bounded_and_have_back_what_they_had(void **state)
{
	const uint16_t cores[] = {1, 3};
	struct cpu_latency l = {0};

	put(1, "0\n");
	put(2, "0\n");
	put(3, "400\n");
	cpu_latency_bound(&l, root, cores, 2, 50);
	assert_int_equal(l.n, 2);
	expect(1, "50\n");
	expect(2, "0\n"); /* no worker's */
	expect(3, "50\n");
	cpu_latency_restore(&l);
	expect(1, "0\n");
	expect(3, "400\n");
	assert_int_equal(l.n, 0);
}

static void a_tighter_bound_stays(void **state)
{
	const uint16_t cores[] = {1, 2, 3};
	struct cpu_latency l = {0};

	put(1, "20\n");
	put(2, "n/a\n");
	put(3, "50\n");
	cpu_latency_bound(&l, root, cores, 3, 50);
	assert_int_equal(l.n, 0);
	expect(1, "20\n");
	expect(2, "n/a\n");
	cpu_latency_restore(&l);
	expect(3, "50\n");
}

static void what_cannot_be_bounded_is_left(void **state)
{
	const uint16_t cores[] = {9, 1};
	struct cpu_latency l = {0};

	put(1, "0\n");
	cpu_latency_bound(&l, root, cores, 2, 50);
	assert_int_equal(l.n, 1); /* the one that is there, behind the one that is not */
	expect(1, "50\n");
	cpu_latency_restore(&l);
	expect(1, "0\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cores_are_bounded_and_have_back_what_they_had),
		cmocka_unit_test(a_tighter_bound_stays),
		cmocka_unit_test(what_cannot_be_bounded_is_left),
	};

	return cmocka_run_group_tests(tests, set_up, clean);
}
