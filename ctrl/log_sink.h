/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the lines of the access log go: a file, appended to, or standard
 * output. Nothing here waits: a pipe or socket is written to as long as it
 * takes something, and what it does not take waits in a bounded buffer. A
 * disk cannot be asked; each step writes little to it and ends when that took
 * long.
 */
#ifndef CTRL_LOG_SINK_H
#define CTRL_LOG_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct log_sink {
	const char *path; /* NULL: standard output */
	int fd;
	bool is_socket;
	bool is_mid_line; /* the last byte written was not a line's end */
	int error;	  /* errno of the last write, 0: it went well */
	uint64_t told_ms; /* when an error was logged last */
	uint64_t n_errors;
	uint64_t n_written; /* bytes */
	char *mem;
	size_t at, n; /* what waits */
};

/*
 * A descriptor for standard output that never blocks, and whose mode nobody
 * else sees. To be called before another user is become. -1 and errno.
 */
int log_sink_stdout(void);

/* Opens the file; path NULL: takes fd over. 0 or -errno. */
int log_sink_open(struct log_sink *s, const char *path, int fd);
/* Writes what it can, and closes. */
void log_sink_close(struct log_sink *s);
/* A whole line into the buffer. False: no room. */
bool log_sink_put(struct log_sink *s, const char *line, size_t n);
/* Writes what waits, as far as that goes at once. */
void log_sink_flush(struct log_sink *s);
/*
 * The file was renamed: what waits is written to it, and a new one opened. If
 * that fails the old one stays. Returns the number of lines that were lost
 * (one at most: of which a part was written, and the rest could not be).
 */
unsigned log_sink_reopen(struct log_sink *s);

#endif
