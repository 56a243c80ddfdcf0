/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See access_log.h. The first connection of a weir-ctrl begins where the rings
 * are: what was before is another one's. From then on the rings are read
 * on, by number, over every connection to the same dataplane, and from their
 * beginning at another one. When a connection ends its rings are still there
 * for a moment, and are read to their end.
 */
#include "access_log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "log_line.h"
#include "log_ring.h"
#include "log_sink.h"

#define EVERY_US 10000
#define STEP_US 10000	/* that reading takes at most at a time */
#define LOOK_EVERY 64	/* records between two looks at the clock */
#define AT_END_US 500000 /* for the rings of a dataplane that is gone, and at our own end */

struct access_log {
	struct publish *publish;
	struct log_sink sink;
	int timer_fd;
	uint32_t sample;
	const struct weir_log_region *region; /* of this connection, NULL: none */
	uint64_t instance;		      /* of the region last read; 0: none yet */
	uint64_t warned;		      /* the connection whose dataplane has no access log: told once */
	unsigned n_rings;
	struct log_ring rings[WEIR_MAX_WORKERS];
	struct log_losses losses;
	struct access_log_status st;
};

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

const char *access_log_drop_name(enum access_log_drop d)
{
	static const char *const names[] = {
#define X(name, str) str,
		ACCESS_LOG_DROPS(X)
#undef X
	};
	return names[d];
}

/* A connection may have come. */
static void attach(struct access_log *a)
{
	const struct weir_log_region *r = publish_log(a->publish);

	if (r == a->region)
		return;
	a->region = r;
	if (!r)
		return;
	a->n_rings = r->n_workers < WEIR_MAX_WORKERS ? r->n_workers : WEIR_MAX_WORKERS;
	for (unsigned i = 0; i < a->n_rings; i++) {
		uint64_t next = 0;

		if (a->instance == r->instance)
			next = a->rings[i].next;
		else if (a->instance == 0)
			next = log_ring_head(r, i);
		log_ring_init(&a->rings[i], r, i, next);
	}
	a->instance = r->instance;
	log_info("access log: %u rings of %u records", a->n_rings, r->n_slots);
}

static void warn_without(struct access_log *a)
{
	struct publish_status st;

	if (a->region)
		return;
	publish_status(a->publish, &st);
	if (!st.is_connected || st.connects == a->warned)
		return;
	a->warned = st.connects;
	log_warn("this dataplane keeps no access log (weir.yaml: memory: access_log_kb)");
}

static void take(struct access_log *a, unsigned worker, const struct weir_log_record *r)
{
	char mem[LOG_LINE_MAX];
	struct buf b;

	if (a->sample > 1 && (r->seq - 1) % a->sample) {
		a->st.n_sampled_out++;
		return;
	}
	buf_init(&b, mem, sizeof(mem));
	log_line_write(&b, r, worker);
	if (!b.overflow && log_sink_put(&a->sink, b.p, b.n)) {
		a->st.n_lines++;
		return;
	}
	a->st.dropped[b.overflow ? ACCESS_LOG_MALFORMED : a->sink.error ? ACCESS_LOG_WRITE_ERROR : ACCESS_LOG_SINK_SLOW]++;
}

/* Reads for so long at most. True: there is more. */
static bool read_rings(struct access_log *a, uint64_t for_us)
{
	uint64_t end = now_us() + for_us;
	struct weir_log_record r;
	bool has_read = true;

	while (has_read) { /* all rings in turn, so that none waits for another */
		has_read = false;
		for (unsigned i = 0; i < a->n_rings; i++) {
			unsigned n = 0;

			while (n < LOOK_EVERY && log_ring_read(&a->rings[i], &r, &a->losses)) {
				take(a, i, &r);
				n++;
			}
			has_read = has_read || n;
		}
		log_sink_flush(&a->sink);
		if (now_us() >= end)
			break;
	}
	return has_read;
}

static void on_leave(void *ctx)
{
	struct access_log *a = ctx;

	attach(a);
	if (a->region)
		read_rings(a, AT_END_US);
	a->region = NULL;
}

struct access_log *access_log_create(struct publish *publish, const char *path, int fd, uint32_t sample)
{
	const struct itimerspec t = {.it_interval = {.tv_nsec = EVERY_US * 1000}, .it_value = {.tv_nsec = EVERY_US * 1000}};
	struct access_log *a = calloc(1, sizeof(*a));
	int err = -ENOMEM;

	if (a)
		err = log_sink_open(&a->sink, path, fd);
	if (err) {
		log_error("access log %s: %s", path ? path : "to standard output", strerror(-err));
		free(a);
		return NULL;
	}
	a->publish = publish;
	a->sample = sample;
	a->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (a->timer_fd < 0 || timerfd_settime(a->timer_fd, 0, &t, NULL) != 0) {
		log_error("access log: %s", strerror(errno));
		access_log_destroy(a);
		return NULL;
	}
	publish_on_leave(publish, on_leave, a);
	return a;
}

void access_log_destroy(struct access_log *a)
{
	if (!a)
		return;
	publish_on_leave(a->publish, NULL, NULL);
	attach(a);
	if (a->region)
		read_rings(a, AT_END_US);
	log_sink_close(&a->sink);
	if (a->timer_fd >= 0)
		close(a->timer_fd);
	free(a);
}

int access_log_fd(const struct access_log *a)
{
	return a->timer_fd;
}

void access_log_poll(struct access_log *a)
{
	uint64_t expired;

	(void)!read(a->timer_fd, &expired, sizeof(expired));
	attach(a);
	warn_without(a);
	if (a->region)
		read_rings(a, STEP_US);
	else
		log_sink_flush(&a->sink);
}

void access_log_reopen(struct access_log *a)
{
	a->st.n_reopened++;
	a->st.dropped[ACCESS_LOG_WRITE_ERROR] += log_sink_reopen(&a->sink);
}

void access_log_status(const struct access_log *a, struct access_log_status *out)
{
	*out = a->st;
	out->n_bytes = a->sink.n_written;
	out->n_errors = a->sink.n_errors;
	out->dropped[ACCESS_LOG_OVERWRITTEN] += a->losses.n_overwritten;
	out->dropped[ACCESS_LOG_MALFORMED] += a->losses.n_malformed;
}
