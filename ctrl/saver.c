/* SPDX-License-Identifier: Apache-2.0 */
/* See saver.h. The thread has the job alone from pthread_create() until it sets is_done. */
#include "saver.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

#define NEW_FILE SAVER_FILE ".new"
#define POLL_MS 50u /* while the thread is at work */

struct job {
	const char *folder;
	void *bytes; /* NULL: the file is only to have a new time */
	size_t n;
	int err; /* 0 or -errno */
	uint64_t took_ms;
	atomic_bool is_done;
};

struct saver {
	const char *folder;
	char *path;
	uint64_t source;

	/* what was on disk: there until it is served, or not needed any more */
	void *bytes;
	struct saved saved;
	int64_t saved_s; /* wall clock */
	enum saved_refusal refused;
	bool is_serving, is_waiting;

	pthread_t thread;
	bool is_working;
	struct job job;
	uint64_t wanted_generation, wanted_version;   /* of what the job writes */
	uint64_t written_generation, written_version; /* of what the file has; 0: nothing of this process */
	uint64_t changed_ms, ended_ms, wait_ms, touched_ms;
	bool is_due; /* there is a change, since changed_ms */
	uint64_t n_writes, n_failures, file_bytes, write_ms;
	int err; /* of the last write */
};

static uint64_t clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- the file ---- */

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
static int replace(int dir_fd, const void *bytes, size_t n)
{
	int fd, err;

	if (unlinkat(dir_fd, NEW_FILE, 0) != 0 && errno != ENOENT)
		return -errno;
	fd = openat(dir_fd, NEW_FILE, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	err = write_all(fd, bytes, n);
	if (close(fd) != 0 && !err)
		err = -errno;
	if (!err && renameat(dir_fd, NEW_FILE, dir_fd, SAVER_FILE) != 0)
		err = -errno;
	if (err)
		unlinkat(dir_fd, NEW_FILE, 0);
	else if (fsync(dir_fd) != 0)
		err = -errno;
	return err;
}

static void *work(void *ctx)
{
	struct job *j = ctx;
	uint64_t began_ms = clock_ms();
	int dir_fd = open(j->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	j->err = dir_fd < 0 ? -errno : 0;
	if (dir_fd >= 0) {
		if (j->bytes) {
			saved_seal(j->bytes, j->n);
			j->err = replace(dir_fd, j->bytes, j->n);
		} else if (utimensat(dir_fd, SAVER_FILE, NULL, AT_SYMLINK_NOFOLLOW) != 0) {
			j->err = -errno;
		}
		close(dir_fd);
	}
	j->took_ms = clock_ms() - began_ms;
	atomic_store(&j->is_done, true);
	return NULL;
}

/* Nobody else wrote it. Its group may: a Pod's volume gets that of the Pod (fsGroup). */
static bool is_ours(const struct stat *st)
{
	return (st->st_uid == geteuid() || st->st_uid == 0) && !(st->st_mode & S_IWOTH);
}

/* The whole file, malloc'd. 0 or -errno; -EPERM: it is not ours. */
static int read_file(int fd, void **bytes, size_t *n, int64_t *time_s)
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
	if ((uint64_t)st.st_size > SAVED_MAX_BYTES)
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

static void load(struct saver *v, bool takes_any)
{
	int fd = open(v->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	int err = fd < 0 ? -errno : 0;
	size_t n = 0;

	if (!err)
		err = read_file(fd, &v->bytes, &n, &v->saved_s);
	if (fd >= 0)
		close(fd);
	if (err && err != -EPERM) {
		if (err != -ENOENT)
			log_warn("%s cannot be read: %s", v->path, strerror(-err));
		return;
	}
	v->refused = err ? SAVED_OWNER : saved_check(v->bytes, n, v->source, takes_any, &v->saved);
	if (v->refused == SAVED_OK)
		return;
	log_warn("%s is not used: %s: %s", v->path, saved_refusal_name(v->refused), saved_refusal_help(v->refused));
	free(v->bytes);
	v->bytes = NULL;
}

struct saver *saver_create(const char *folder, uint64_t source, bool takes_any)
{
	struct saver *v = calloc(1, sizeof(*v));
	size_t n = strlen(folder) + sizeof("/" SAVER_FILE);

	if (v)
		v->path = malloc(n);
	if (!v || !v->path) {
		free(v);
		return NULL;
	}
	memcpy(v->path, folder, strlen(folder));
	memcpy(v->path + strlen(folder), "/" SAVER_FILE, sizeof("/" SAVER_FILE));
	v->folder = folder;
	v->source = source;
	if (mkdir(folder, 0700) != 0 && errno != EEXIST)
		log_warn("%s cannot be made: %s; routes are not kept on disk", folder, strerror(errno));
	load(v, takes_any);
	return v;
}

/* ---- serving ---- */

static uint64_t age_s(const struct saver *v)
{
	int64_t now_s = (int64_t)time(NULL);

	return now_s > v->saved_s ? (uint64_t)(now_s - v->saved_s) : 0;
}

static void forget(struct saver *v)
{
	free(v->bytes);
	v->bytes = NULL;
	v->is_waiting = false;
}

void saver_serve(struct saver *v, struct sync *s)
{
	const struct weir_stats_region *r = publish_stats(s->publish);
	int err;

	if (!v->bytes || !r)
		return;
	if (__atomic_load_n(&r->live_generation, __ATOMIC_RELAXED) != 0) {
		if (!v->is_waiting)
			log_info("the dataplane has routes: those saved %llu s ago wait", (unsigned long long)age_s(v));
		v->is_waiting = true;
		return;
	}
	err = sync_restore(s, &v->saved);
	if (err) {
		log_error("routes saved on disk cannot be served: %s", strerror(-err));
	} else {
		v->is_serving = true;
		log_warn("serving from disk, of age %llu s, until all of Kubernetes is listed", (unsigned long long)age_s(v));
	}
	forget(v);
}

/* ---- writing ---- */

static void begin(struct saver *v, void *bytes, size_t n)
{
	sigset_t all, old;
	int err;

	v->job = (struct job){.folder = v->folder, .bytes = bytes, .n = n};
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are the main thread's */
	err = pthread_create(&v->thread, NULL, work, &v->job);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	v->is_working = true;
	if (err) {
		v->job.err = -err;
		v->job.folder = NULL; /* there is no thread to wait for */
		atomic_store(&v->job.is_done, true);
	}
}

static void failed(struct saver *v, int err)
{
	if (err != v->err)
		log_warn("%s cannot be written: %s; tried again, and the one that is there stays", v->path, strerror(-err));
	v->err = err;
	v->n_failures++;
	v->wait_ms = v->wait_ms < SAVER_RETRY_MIN_MS ? SAVER_RETRY_MIN_MS : v->wait_ms * 2;
	if (v->wait_ms > SAVER_RETRY_MAX_MS)
		v->wait_ms = SAVER_RETRY_MAX_MS;
	v->written_generation = 0; /* what is there may be of before */
}

static void end(struct saver *v, uint64_t now_ms)
{
	struct job *j = &v->job;

	if (j->folder)
		pthread_join(v->thread, NULL);
	v->is_working = false;
	v->ended_ms = v->touched_ms = now_ms;
	if (j->err) {
		failed(v, j->err);
	} else if (j->bytes) {
		if (v->err)
			log_info("%s is written again", v->path);
		v->err = 0;
		v->n_writes++;
		v->file_bytes = j->n;
		v->write_ms = j->took_ms;
		v->wait_ms = SAVER_MIN_MS > j->n / SAVER_BYTES_PER_MS ? SAVER_MIN_MS : j->n / SAVER_BYTES_PER_MS;
		v->written_generation = v->wanted_generation;
		v->written_version = v->wanted_version;
		log_debug("%s: %zu bytes in %llu ms", v->path, j->n, (unsigned long long)j->took_ms);
	}
	free(j->bytes);
	j->bytes = NULL;
}

static const struct weir_endpoint_set *find_set(const void *ctx, uint64_t backend_id)
{
	return publish_find(ctx, backend_id);
}

static void begin_write(struct saver *v, const struct sync *s, uint64_t now_ms)
{
	void *bytes;
	size_t n;
	int err = saved_make(s->snapshot, find_set, s->publish, v->source, &bytes, &n);

	v->is_due = false;
	v->wanted_generation = s->generation;
	v->wanted_version = s->version;
	if (err) {
		v->ended_ms = now_ms;
		failed(v, err);
		return;
	}
	begin(v, bytes, n);
}

static bool is_changed(const struct saver *v, const struct sync *s)
{
	return s->snapshot && (s->generation != v->written_generation || s->version != v->written_version);
}

uint64_t saver_update(struct saver *v, const struct sync *s, bool is_current, uint64_t now_ms)
{
	uint64_t at_ms;

	forget(v);
	v->is_serving = false;
	if (v->is_working && atomic_load(&v->job.is_done))
		end(v, now_ms);
	if (v->is_working)
		return now_ms + POLL_MS;
	if (!is_changed(v, s)) {
		v->is_due = false;
		if (!v->written_generation)
			return UINT64_MAX;
		if (is_current && now_ms - v->touched_ms >= SAVER_TOUCH_MS) {
			begin(v, NULL, 0);
			return now_ms + POLL_MS;
		}
		return is_current ? v->touched_ms + SAVER_TOUCH_MS : now_ms + SAVER_TOUCH_MS;
	}
	if (!v->is_due)
		v->changed_ms = now_ms;
	v->is_due = true;
	at_ms = v->changed_ms + SAVER_MIN_MS;
	if (v->ended_ms && at_ms < v->ended_ms + v->wait_ms)
		at_ms = v->ended_ms + v->wait_ms;
	if (now_ms < at_ms)
		return at_ms;
	begin_write(v, s, now_ms);
	return now_ms + POLL_MS;
}

void saver_hasten(struct saver *v, const struct sync *s)
{
	if (v->is_working && atomic_load(&v->job.is_done))
		end(v, v->ended_ms);
	if (!v->is_working && !v->bytes && !v->is_serving && is_changed(v, s))
		begin_write(v, s, v->ended_ms);
}

void saver_finish(struct saver *v, const struct sync *s)
{
	if (v->is_working)
		end(v, v->ended_ms);
	saver_hasten(v, s);
	if (v->is_working)
		end(v, v->ended_ms);
}

void saver_destroy(struct saver *v)
{
	if (!v)
		return;
	if (v->is_working)
		end(v, v->ended_ms);
	free(v->bytes);
	free(v->path);
	free(v);
}

void saver_status(const struct saver *v, struct saver_status *out)
{
	*out = (struct saver_status){.path = v->path,
				     .is_serving = v->is_serving,
				     .is_waiting = v->is_waiting,
				     .age_s = v->is_serving || v->is_waiting ? age_s(v) : 0,
				     .refused = v->refused,
				     .n_writes = v->n_writes,
				     .n_failures = v->n_failures,
				     .file_bytes = v->file_bytes,
				     .write_ms = v->write_ms,
				     .problem = v->err ? strerror(-v->err) : NULL};
}
