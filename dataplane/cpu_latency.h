/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a worker's core may take to wake out of its own sleep: the kernel
 * chooses how deep a core without work sleeps (cpuidle), and the deepest
 * states take 100 to 300 us to leave. A bound for each core keeps it out of those
 * whose exit latency is above it (Documentation/ABI/testing/sysfs-devices-power, pm_qos_resume_latency_us).
 *
 * Of main: opened with root's rights before these are given up. The files stay open, so that what was there can
 * be written back at the end; a dataplane that is killed leaves its bound.
 */
#ifndef WEIR_DATAPLANE_CPU_LATENCY_H
#define WEIR_DATAPLANE_CPU_LATENCY_H

#include <stdint.h>

#include "weir/stats.h"

#define CPU_LATENCY_ROOT "/sys/devices/system/cpu"

struct cpu_latency {
	unsigned n; /* cores whose bound was set */
	struct cpu_latency_core {
		int fd;
		char before[16]; /* as the file had it */
	} cores[WEIR_MAX_WORKERS];
};

/*
 * Bounds each of these cores by us microseconds, unless a tighter one is there, which stays. What cannot be
 * bounded is warned of, once, and nothing fails. root: CPU_LATENCY_ROOT.
 */
void cpu_latency_bound(struct cpu_latency *l, const char *root, const uint16_t *cores, unsigned n_cores, uint32_t us);
/* What was there before, again. Zeroed: nothing to do. */
void cpu_latency_restore(struct cpu_latency *l);

#endif
