/* SPDX-License-Identifier: Apache-2.0 */
/* Where lines go: files that are renamed, pipes that nobody reads, a disk that is full. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log_sink.h"

static char dir[] = "/tmp/weir-sink-XXXXXX";
static char path[64], other[64];

static int make_dir(void **state)
{
	signal(SIGPIPE, SIG_IGN);
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/log", dir);
	snprintf(other, sizeof(other), "%s/log.1", dir);
	return 0;
}

static int remove_dir(void **state)
{
	unlink(path);
	unlink(other);
	return rmdir(dir);
}

static void assert_content(const char *file, const char *want)
{
	char text[256];
	int fd = open(file, O_RDONLY);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	close(fd);
	assert_true(n >= 0);
	text[n] = 0;
	assert_string_equal(text, want);
}

static void put(struct log_sink *s, const char *line)
{
	assert_true(log_sink_put(s, line, strlen(line)));
}

static void lines_are_appended_and_go_on_in_a_new_file(void **state)
{
	struct log_sink s;

	assert_int_equal(log_sink_open(&s, path, -1), 0);
	put(&s, "one\n");
	log_sink_flush(&s);
	assert_int_equal(rename(path, other), 0);
	put(&s, "two\n"); /* still waits: it belongs to the old file */
	assert_int_equal(log_sink_reopen(&s), 0);
	put(&s, "three\n");
	log_sink_close(&s);
	assert_content(other, "one\ntwo\n");
	assert_content(path, "three\n");
	assert_int_equal(log_sink_open(&s, path, -1), 0);
	put(&s, "four\n");
	log_sink_close(&s);
	assert_content(path, "three\nfour\n");
	assert_int_equal(log_sink_open(&s, "/nowhere/log", -1), -ENOENT);
}

static void a_file_that_cannot_be_opened_again_goes_on(void **state)
{
	struct log_sink s;

	unlink(path);
	assert_int_equal(log_sink_open(&s, path, -1), 0);
	unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	put(&s, "one\n");
	assert_int_equal(log_sink_reopen(&s), 0);
	assert_true(s.fd >= 0);
	assert_int_equal(s.n_written, 4);
	assert_int_equal(rmdir(path), 0);
	put(&s, "two\n");
	assert_int_equal(log_sink_reopen(&s), 0);
	put(&s, "three\n");
	log_sink_close(&s);
	assert_content(path, "three\n");
}

/* It fills up, then is refused line by line; what is read comes whole and in order. */
static void nobody_reads(int reader, int writer)
{
	static char text[1 << 16];
	struct log_sink s;
	char line[64];
	unsigned n = 0;
	unsigned expected = 0;
	size_t kept = 0;

	fcntl(reader, F_SETFL, O_NONBLOCK);
	assert_int_equal(log_sink_open(&s, NULL, writer), 0);
	for (;;) {
		int len = snprintf(line, sizeof(line), "line %u, of some length\n", n);

		if (!log_sink_put(&s, line, (size_t)len))
			break;
		n++;
		if (n % 100 == 0)
			log_sink_flush(&s);
		assert_true(n < 1000000);
	}
	assert_true(n > 100000);
	assert_int_equal(s.error, 0);
	while (expected < n) {
		ssize_t got = read(reader, text + kept, sizeof(text) - 1 - kept);
		char *at = text;
		char *end;

		if (got < 0) {
			assert_int_equal(errno, EAGAIN);
			assert_true(s.n > 0);
			log_sink_flush(&s);
			continue;
		}
		text[kept + (size_t)got] = 0;
		while ((end = strchr(at, '\n')) != NULL) {
			snprintf(line, sizeof(line), "line %u, of some length", expected++);
			*end = 0;
			assert_string_equal(at, line);
			at = end + 1;
		}
		kept = strlen(at);
		memmove(text, at, kept + 1);
	}
	assert_int_equal(s.n, 0);
	close(reader);
	put(&s, "nobody\n");
	log_sink_flush(&s);
	assert_int_equal(s.error, EPIPE);
	assert_int_equal(s.n_errors, 1);
	log_sink_close(&s);
}

static void a_pipe_that_nobody_reads_blocks_nothing(void **state)
{
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	fcntl(fds[1], F_SETFL, O_NONBLOCK);
	nobody_reads(fds[0], fds[1]);
}

/* As systemd gives it; it stays as it is, and blocking, for others. */
static void nor_does_a_socket(void **state)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	nobody_reads(fds[0], fds[1]);
}

static void a_full_disk_is_an_error_that_passes(void **state)
{
	struct log_sink s;

	unlink(path);
	assert_int_equal(symlink("/dev/full", path), 0);
	assert_int_equal(log_sink_open(&s, path, -1), 0);
	put(&s, "one\n");
	log_sink_flush(&s);
	assert_int_equal(s.error, ENOSPC);
	assert_int_equal(s.n, 4);
	unlink(path);
	assert_int_equal(log_sink_reopen(&s), 0);
	log_sink_close(&s);
	assert_content(path, "one\n");
}

/* A pipe that took a part of a line: its rest does not begin the new file. */
static void half_a_line_does_not_begin_a_file(void **state)
{
	static char big[100000];
	struct log_sink s;
	char some[4096];
	int reader;

	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	reader = open(path, O_RDONLY | O_NONBLOCK);
	assert_true(reader >= 0);
	assert_int_equal(log_sink_open(&s, path, -1), 0);
	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 1] = '\n';
	assert_true(log_sink_put(&s, big, sizeof(big)));
	put(&s, "next\n");
	log_sink_flush(&s);
	assert_true(s.is_mid_line);
	assert_int_equal(rename(path, other), 0);
	assert_int_equal(log_sink_reopen(&s), 1);
	log_sink_close(&s);
	assert_content(path, "next\n");
	assert_true(read(reader, some, sizeof(some)) > 0);
	close(reader);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_appended_and_go_on_in_a_new_file),
		cmocka_unit_test(a_file_that_cannot_be_opened_again_goes_on),
		cmocka_unit_test(a_pipe_that_nobody_reads_blocks_nothing),
		cmocka_unit_test(nor_does_a_socket),
		cmocka_unit_test(a_full_disk_is_an_error_that_passes),
		cmocka_unit_test(half_a_line_does_not_begin_a_file),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
