/* SPDX-License-Identifier: Apache-2.0 */
/* A small DPDK environment for tests: no hugepages, no devices, nothing left on the file system. */
#ifndef TESTS_EAL_H
#define TESTS_EAL_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <rte_eal.h>

static inline void test_eal_init(void)
{
	char prefix[64];
	char *argv[] = {(char *)"test", (char *)"--no-huge", (char *)"-m", (char *)"512", (char *)"--no-pci",
			(char *)"--no-shconf", (char *)"--no-telemetry", (char *)"--log-level=error",
			(char *)"--file-prefix", prefix, (char *)"-l", (char *)"0", NULL};

	snprintf(prefix, sizeof(prefix), "weir-test-%d", (int)getpid());
	if (rte_eal_init(12, argv) < 0) {
		fprintf(stderr, "the DPDK environment did not start\n");
		exit(1);
	}
}

#endif
