/* SPDX-License-Identifier: Apache-2.0 */
/* The bound on the time in which a worker's core wakes. */
#include "cpu_latency.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

/* "0" is no bound, and "n/a" is a bound of 0: the core never sleeps. */
static bool is_tighter(const char *have, uint32_t us)
{
	unsigned long value;
	char *end;

	if (strncmp(have, "n/a", 3) == 0)
		return true;
	value = strtoul(have, &end, 10);
	return end != have && value != 0 && value <= us;
}

/* 0, or -errno. A core that is bounded already is left alone. */
static int bound_one(struct cpu_latency *l, const char *root, unsigned core, uint32_t us)
{
	struct cpu_latency_core *c = &l->cores[l->n];
	char path[128], text[16];
	ssize_t n;
	int rc = 0;

	snprintf(path, sizeof(path), "%s/cpu%u/power/pm_qos_resume_latency_us", root, core);
	c->fd = open(path, O_RDWR | O_CLOEXEC);
	if (c->fd < 0)
		return -errno;
	n = pread(c->fd, c->before, sizeof(c->before) - 1, 0);
	c->before[n > 0 ? n : 0] = 0;
	if (n > 0 && !is_tighter(c->before, us)) {
		int len = snprintf(text, sizeof(text), "%u\n", us);

		if (pwrite(c->fd, text, (size_t)len, 0) == len) {
			l->n++;
			return 0;
		}
		rc = -errno;
	} else if (n <= 0) {
		rc = n < 0 ? -errno : -EIO;
	}
	close(c->fd);
	return rc;
}

void cpu_latency_bound(struct cpu_latency *l, const char *root, const uint16_t *cores, unsigned n_cores, uint32_t us)
{
	int rc = 0;

	l->n = 0;
	for (unsigned i = 0; i < n_cores && i < WEIR_MAX_WORKERS; i++) {
		int one = bound_one(l, root, cores[i], us);

		if (one && !rc) {
			rc = one;
			log_warn("workers: core %u: its time to wake is not bound by idle_latency_us: %s/cpu%u/power/pm_qos_resume_latency_us: %s", cores[i], root,
				 cores[i], strerror(-one));
		}
	}
	if (l->n)
		log_info("workers: %u cores wake within %u us (pm_qos_resume_latency_us)", l->n, us);
}

void cpu_latency_restore(struct cpu_latency *l)
{
	for (unsigned i = 0; i < l->n; i++) {
		struct cpu_latency_core *c = &l->cores[i];
		size_t len = strlen(c->before);

		if (pwrite(c->fd, c->before, len, 0) != (ssize_t)len)
			log_warn("workers: a core keeps its bound of the time to wake: %s", strerror(errno));
		close(c->fd);
	}
	l->n = 0;
}
