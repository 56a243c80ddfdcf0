/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The access log: reads the workers' rings a hundred times a second, and
 * writes a line for each record (docs/access-log.md). Runs in the one loop,
 * in steps of a few milliseconds.
 */
#ifndef CTRL_ACCESS_LOG_H
#define CTRL_ACCESS_LOG_H

#include "publish.h"

/* Why a line is not there. X(enumerator, name) */
#define ACCESS_LOG_DROPS(X) \
	X(OVERWRITTEN, "overwritten") /* the worker was faster than weir-ctrl */ \
	X(MALFORMED, "malformed")     /* the record cannot be true */ \
	X(SINK_SLOW, "sink_slow")     /* the buffer was full, since nobody read */ \
	X(WRITE_ERROR, "write_error") /* likewise, since writing failed */

enum access_log_drop {
#define X(name, str) ACCESS_LOG_##name,
	ACCESS_LOG_DROPS(X)
#undef X
		N_ACCESS_LOG_DROPS
};

struct access_log_status {
	uint64_t n_lines; /* written, or waiting to be */
	uint64_t n_bytes; /* written */
	uint64_t n_sampled_out;
	uint64_t n_errors; /* writes that failed */
	uint64_t n_reopened;
	uint64_t dropped[N_ACCESS_LOG_DROPS];
};

struct access_log;

/*
 * path: a file, or NULL for the descriptor fd (log_sink_stdout()), which it
 * takes over. One of sample records becomes a line. NULL after logging. publish outlives it.
 */
struct access_log *access_log_create(struct publish *publish, const char *path, int fd, uint32_t sample);
/* Writes what is there, as far as that goes at once. */
void access_log_destroy(struct access_log *a);
/* For epoll. */
int access_log_fd(const struct access_log *a);
void access_log_poll(struct access_log *a);
/* The file was renamed: goes on in a new one. */
void access_log_reopen(struct access_log *a);
void access_log_status(const struct access_log *a, struct access_log_status *out);
const char *access_log_drop_name(enum access_log_drop d);

#endif
