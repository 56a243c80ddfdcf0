/* SPDX-License-Identifier: Apache-2.0 */
/* See state_file.h. The thread has the job alone from pthread_create() until it sets is_done. */
#include "state_file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

#define NAME_BYTES 64u /* of a file, with what is behind it while it is written */

static uint64_t clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

char *state_file_path(const char *folder, const char *name)
{
	size_t n = strlen(folder) + 1 + strlen(name) + 1;
	char *path = malloc(n);

	if (path)
		snprintf(path, n, "%s/%s", folder, name);
	return path;
}

void state_folder_make(const char *folder, const char *what)
{
	if (mkdir(folder, 0700) != 0 && errno != EEXIST)
		log_warn("%s cannot be made: %s; %s not kept on disk", folder, strerror(errno), what);
}

/* ---- reading */

/* Nobody else wrote it. Its group may: a Pod's volume gets that of the Pod (fsGroup). */
static bool is_ours(const struct stat *st)
{
	return (st->st_uid == geteuid() || st->st_uid == 0) && !(st->st_mode & S_IWOTH);
}

static int read_all(int fd, uint64_t max, void **bytes, size_t *n, int64_t *time_s)
{
	struct stat st;
	char *p;
	size_t at = 0;
	ssize_t k = 1;

	if (fstat(fd, &st) != 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (!is_ours(&st))
		return -EPERM;
	if ((uint64_t)st.st_size > max)
		return -EFBIG;
	p = malloc((size_t)st.st_size + 1);
	if (!p)
		return -ENOMEM;
	while (k > 0 && at < (size_t)st.st_size) {
		k = read(fd, p + at, (size_t)st.st_size - at);
		at += k > 0 ? (size_t)k : 0;
		if (k < 0 && errno == EINTR)
			k = 1;
	}
	if (k < 0) {
		int err = -errno;

		free(p);
		return err;
	}
	*bytes = p;
	*n = at;
	*time_s = st.st_mtim.tv_sec;
	return 0;
}

int state_file_read(const char *path, uint64_t max, void **bytes, size_t *n, int64_t *time_s)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	int err = fd < 0 ? -errno : read_all(fd, max, bytes, n, time_s);

	if (fd >= 0)
		close(fd);
	return err;
}

/* ---- writing */

static int write_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t done = write(fd, p, n < (1u << 20) ? n : (1u << 20));

		if (done < 0 && errno != EINTR)
			return -errno;
		if (done == 0)
			return -EIO;
		if (done > 0) {
			p += done;
			n -= (size_t)done;
		}
	}
	return fsync(fd) != 0 ? -errno : 0;
}

/* Until the rename nothing has happened to the file; the folder is synced, so that the rename outlives a crash. */
static int replace(int dir_fd, const char *name, const void *bytes, size_t n)
{
	char new_file[NAME_BYTES];
	int fd, err;

	snprintf(new_file, sizeof(new_file), "%s.new", name);
	if (unlinkat(dir_fd, new_file, 0) != 0 && errno != ENOENT)
		return -errno;
	fd = openat(dir_fd, new_file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	err = write_all(fd, bytes, n);
	if (close(fd) != 0 && !err)
		err = -errno;
	if (!err && renameat(dir_fd, new_file, dir_fd, name) != 0)
		err = -errno;
	if (err)
		unlinkat(dir_fd, new_file, 0);
	else if (fsync(dir_fd) != 0)
		err = -errno;
	return err;
}

static void *work(void *ctx)
{
	struct state_job *j = ctx;
	uint64_t began_ms = clock_ms();
	int dir_fd = open(j->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	j->err = dir_fd < 0 ? -errno : 0;
	if (dir_fd >= 0) {
		if (j->bytes) {
			if (j->seal)
				j->seal(j->bytes, j->n);
			j->err = replace(dir_fd, j->name, j->bytes, j->n);
		} else if (utimensat(dir_fd, j->name, NULL, AT_SYMLINK_NOFOLLOW) != 0) {
			j->err = -errno;
		}
		close(dir_fd);
	}
	j->took_ms = clock_ms() - began_ms;
	atomic_store(&j->is_done, true);
	return NULL;
}

void state_job_begin(struct state_job *j)
{
	sigset_t all, old;
	int err;

	j->err = 0;
	j->took_ms = 0;
	atomic_store(&j->is_done, false);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are the main thread's */
	err = pthread_create(&j->thread, NULL, work, j);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	j->is_working = true;
	j->has_thread = err == 0;
	if (err) {
		j->err = -err;
		atomic_store(&j->is_done, true);
	}
}

bool state_job_is_done(const struct state_job *j)
{
	return atomic_load(&j->is_done);
}

void state_job_end(struct state_job *j)
{
	if (j->has_thread)
		pthread_join(j->thread, NULL);
	j->is_working = false;
}
