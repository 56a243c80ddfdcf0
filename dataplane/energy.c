/* SPDX-License-Identifier: Apache-2.0 */
/* Energy of the CPU packages, and the workers' part of it. */
#include "energy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

/* A file of a zone as text. False: it is not there, or may not be read. */
static bool read_text(const char *root, unsigned zone, const char *name, char *out, size_t cap)
{
	char path[256];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/intel-rapl:%u/%s", root, zone, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, out, cap - 1);
	close(fd);
	out[n > 0 ? n : 0] = 0;
	return n > 0;
}

static bool read_counter(int fd, uint64_t *uj)
{
	char text[32];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	char *end;

	if (n <= 0)
		return false;
	text[n] = 0;
	*uj = strtoull(text, &end, 10);
	return end != text;
}

/* Zones within a package (core, uncore) are in the package's own counter; "psys" is the whole machine's. */
static bool open_zone(struct energy_zone *z, const char *root, unsigned zone)
{
	char text[64], path[256];

	if (!read_text(root, zone, "name", text, sizeof(text)) || strncmp(text, "package-", 8) != 0 ||
	    !read_text(root, zone, "max_energy_range_uj", text, sizeof(text)))
		return false;
	z->range_uj = strtoull(text, NULL, 10);
	snprintf(path, sizeof(path), "%s/intel-rapl:%u/energy_uj", root, zone);
	z->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (z->fd < 0) {
		log_warn("energy: %s: %s", path, strerror(errno));
		return false;
	}
	if (read_counter(z->fd, &z->last_uj))
		return true;
	close(z->fd);
	return false;
}

void energy_open(struct energy *e, const char *root, unsigned n_cpus)
{
	*e = (struct energy){.n_cpus = n_cpus};
	for (unsigned zone = 0; zone < ENERGY_MAX_ZONES; zone++)
		if (open_zone(&e->zones[e->n_zones], root, zone))
			e->n_zones++;
	if (e->n_zones)
		log_info("energy: estimated by the counters of %u CPU packages", e->n_zones);
	else
		log_info("energy: the CPU's counters (RAPL) cannot be read in %s: nothing is estimated", root);
}

void energy_close(struct energy *e)
{
	while (e->n_zones > 0)
		close(e->zones[--e->n_zones].fd);
}

static uint64_t take(struct energy_zone *z)
{
	uint64_t now, used;

	if (!read_counter(z->fd, &now))
		return 0;
	used = now >= z->last_uj ? now - z->last_uj : now + z->range_uj - z->last_uj;
	z->last_uj = now;
	return used;
}

void energy_update(struct energy *e, uint64_t busy_cycles, uint64_t tsc)
{
	uint64_t busy = busy_cycles - e->last_busy;
	double all = (double)(tsc - e->last_tsc) * e->n_cpus;
	uint64_t used = 0;

	if (!e->n_zones)
		return;
	for (unsigned i = 0; i < e->n_zones; i++)
		used += take(&e->zones[i]);
	if (e->last_tsc && tsc > e->last_tsc) { /* what was used before the first time is nobody's */
		e->packages_uj += used;
		e->workers_uj += (uint64_t)((double)used * ((double)busy < all ? (double)busy / all : 1));
	}
	e->last_busy = busy_cycles;
	e->last_tsc = tsc;
}
