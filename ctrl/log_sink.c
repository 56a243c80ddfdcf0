/* SPDX-License-Identifier: Apache-2.0 */
/* See log_sink.h. */
#include "log_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

#define BUFFER_BYTES (4u << 20)
#define WRITE_BYTES (256u << 10) /* at a time: so a full pipe or a slow disk is noticed early */
#define STEP_MS 20		 /* a step that took so long ends */
#define TELL_MS 10000		 /* errors are logged no more often */

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/*
 * O_NONBLOCK belongs to the open file, which others may share, a terminal's
 * shell say: it is opened once more instead. A file is none of that, and what
 * its writer shares is the offset.
 */
int log_sink_stdout(void)
{
	struct stat st;
	int fd = -1;

	if (fstat(STDOUT_FILENO, &st) != 0)
		return -1;
	if (!S_ISREG(st.st_mode) && !S_ISSOCK(st.st_mode))
		fd = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (fd >= 0)
		return fd;
	fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	if (fd >= 0 && S_ISFIFO(st.st_mode))
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	return fd;
}

static int open_file(const char *path)
{
	/* Not to be held up by a FIFO without a reader, either. */
	return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0640);
}

int log_sink_open(struct log_sink *s, const char *path, int fd)
{
	struct stat st;

	*s = (struct log_sink){.path = path, .fd = path ? open_file(path) : fd};
	if (s->fd < 0)
		return -errno;
	s->is_socket = fstat(s->fd, &st) == 0 && S_ISSOCK(st.st_mode);
	s->mem = malloc(BUFFER_BYTES);
	if (s->mem)
		return 0;
	close(s->fd);
	s->fd = -1;
	return -ENOMEM;
}

void log_sink_close(struct log_sink *s)
{
	if (s->fd < 0)
		return;
	log_sink_flush(s);
	close(s->fd);
	free(s->mem);
	s->fd = -1;
}

bool log_sink_put(struct log_sink *s, const char *line, size_t n)
{
	if (n > BUFFER_BYTES - s->n)
		return false;
	if (s->at + s->n + n > BUFFER_BYTES) {
		memmove(s->mem, s->mem + s->at, s->n);
		s->at = 0;
	}
	memcpy(s->mem + s->at + s->n, line, n);
	s->n += n;
	return true;
}

static void failed(struct log_sink *s, int error)
{
	uint64_t now = now_ms();

	s->error = error;
	s->n_errors++;
	if (s->told_ms && now - s->told_ms < TELL_MS)
		return;
	s->told_ms = now;
	log_warn("access log %s cannot be written: %s; tried again, what does not fit the buffer is dropped and counted",
		 s->path ? s->path : "to standard output", strerror(error));
}

/* False: it takes nothing now. */
static bool write_some(struct log_sink *s)
{
	size_t n = s->n < WRITE_BYTES ? s->n : WRITE_BYTES;
	ssize_t done = s->is_socket ? send(s->fd, s->mem + s->at, n, MSG_DONTWAIT | MSG_NOSIGNAL) : write(s->fd, s->mem + s->at, n);

	if (done < 0) {
		if (errno == EINTR)
			return true;
		if (errno != EAGAIN)
			failed(s, errno);
		return false;
	}
	s->error = 0;
	if (done == 0)
		return false;
	s->is_mid_line = s->mem[s->at + (size_t)done - 1] != '\n';
	s->at += (size_t)done;
	s->n -= (size_t)done;
	s->n_written += (uint64_t)done;
	if (s->n == 0)
		s->at = 0;
	return true;
}

void log_sink_flush(struct log_sink *s)
{
	uint64_t end = now_ms() + STEP_MS;

	while (s->n && write_some(s) && now_ms() < end)
		;
}

unsigned log_sink_reopen(struct log_sink *s)
{
	unsigned n_lost = 0;
	int fd;

	if (!s->path)
		return 0;
	log_sink_flush(s);
	fd = open_file(s->path);
	if (fd < 0) {
		log_error("access log %s cannot be opened again, the old file stays: %s", s->path, strerror(errno));
		return 0;
	}
	if (s->is_mid_line) { /* half a line stands in the old file: no other half at the new one's beginning */
		const char *end = memchr(s->mem + s->at, '\n', s->n);
		size_t n = end ? (size_t)(end - (s->mem + s->at)) + 1 : s->n;

		s->at += n;
		s->n -= n;
		s->is_mid_line = false;
		n_lost = 1;
	}
	close(s->fd);
	s->fd = fd;
	s->error = 0;
	log_info("access log %s opened again", s->path);
	return n_lost;
}
