/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the workers' work costs in energy, estimated: the CPU packages count
 * theirs (RAPL, by /sys/class/powercap, readable by root), and the workers have
 * as large a part of it as of all CPUs' time they had work in. Of main, which reads a
 * few small files five times a second at most; workers know nothing of it.
 *
 * It is an estimate: a package's energy does not follow its load alone, and
 * memory and devices are not in it.
 */
#ifndef WEIR_DATAPLANE_ENERGY_H
#define WEIR_DATAPLANE_ENERGY_H

#include <stdint.h>

#define ENERGY_MAX_ZONES 16
#define ENERGY_ROOT "/sys/class/powercap"

struct energy_zone {
	int fd;
	uint64_t range_uj; /* the counter's largest value: it begins again behind that */
	uint64_t last_uj;
};

struct energy {
	unsigned n_zones; /* 0: this machine tells nothing, and nothing is estimated */
	struct energy_zone zones[ENERGY_MAX_ZONES];
	unsigned n_cpus;
	uint64_t last_busy, last_tsc;
	uint64_t packages_uj; /* since energy_open() */
	uint64_t workers_uj;
};

/* Looks for packages' zones in this folder. Zeroed: none. The log says whether there are any. */
void energy_open(struct energy *e, const char *root, unsigned n_cpus);
void energy_close(struct energy *e);
/* busy_cycles: of all workers together, of all time, in cycles of tsc. */
void energy_update(struct energy *e, uint64_t busy_cycles, uint64_t tsc);

#endif
