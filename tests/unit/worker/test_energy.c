/* SPDX-License-Identifier: Apache-2.0 */
/* The estimate of energy, of counters that are files of this test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "energy.h"

#define RANGE 1000000
#define N_CPUS 4

static char root[] = "/tmp/weir-energy-XXXXXX";

static void put(unsigned zone, const char *file, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/intel-rapl:%u", root, zone);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/intel-rapl:%u/%s", root, zone, file);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void counter(unsigned zone, uint64_t uj)
{
	char text[32];

	snprintf(text, sizeof(text), "%" PRIu64 "\n", uj);
	put(zone, "energy_uj", text);
}

static void zone(unsigned n, const char *name, uint64_t uj)
{
	put(n, "name", name);
	put(n, "max_energy_range_uj", "1000000\n");
	counter(n, uj);
}

static int clean(void **state)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	return system(command);
}

static int set_up(void **state)
{
	return mkdtemp(root) ? 0 : -1;
}

static void a_machine_that_tells_nothing_has_no_estimate(void **state)
{
	struct energy e;

	energy_open(&e, root, N_CPUS);
	energy_update(&e, 1, 1);
	energy_update(&e, 2, 2);
	assert_int_equal(e.n_zones, 0);
	assert_int_equal(e.packages_uj, 0);
	assert_int_equal(e.workers_uj, 0);
	energy_close(&e);
}

static void workers_have_the_part_of_the_energy_that_they_have_of_time(void **state)
{
	struct energy e;

	zone(0, "package-0\n", 500);
	zone(1, "psys\n", 7); /* the packages once more, with all else */
	zone(2, "package-1\n", 900000);
	energy_open(&e, root, N_CPUS);
	assert_int_equal(e.n_zones, 2);
	energy_update(&e, 5000, 100000);
	assert_int_equal(e.packages_uj, 0);
	counter(0, 1500);
	counter(1, 400000);
	counter(2, 901000);
	energy_update(&e, 5000 + 1000, 101000); /* a whole core of four */
	assert_int_equal(e.packages_uj, 2000);
	assert_int_equal(e.workers_uj, 500);
	energy_update(&e, 6000 + 1000, 102000); /* the counters stand still */
	assert_int_equal(e.packages_uj, 2000);
	counter(2, 100); /* has begun again */
	energy_update(&e, 7000, 103000); /* no work */
	assert_int_equal(e.packages_uj, 2000 + RANGE - 901000 + 100);
	assert_int_equal(e.workers_uj, 500);
	counter(0, 2500);
	energy_update(&e, 7000 + 400000, 104000); /* more than there is: not more than all */
	assert_int_equal(e.workers_uj, 1500);
	put(0, "energy_uj", "nonsense\n");
	energy_update(&e, 500000, 105000);
	assert_int_equal(e.workers_uj, 1500);
	energy_close(&e);
	assert_int_equal(e.n_zones, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_machine_that_tells_nothing_has_no_estimate),
		cmocka_unit_test(workers_have_the_part_of_the_energy_that_they_have_of_time),
	};

	return cmocka_run_group_tests(tests, set_up, clean);
}
