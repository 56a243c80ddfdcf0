/* SPDX-License-Identifier: Apache-2.0 */
#include "saver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "pathing.h"
#include "state_file.h"

#define POLL_MS 50u /* while the thread is at work */

struct saver {
	char *path;
	uint64_t source;

	/* what was on disk: there until it is served, or not needed any more */
	void *bytes;
	struct saved saved;
	int64_t saved_s; /* wall clock */
	enum saved_refusal refused;
	bool is_serving, is_waiting;

	struct state_job job;
	uint64_t wanted_generation, wanted_version, wanted_paths; /* of what the job writes */
	uint64_t written_generation, written_version, written_paths; /* of what the file has; 0: nothing of this process */
	uint64_t changed_ms, ended_ms, wait_ms, touched_ms;
	bool is_due; /* there is a change, since changed_ms */
	uint64_t n_writes, n_failures, file_bytes, write_ms;
	int err; /* of the last write */
};

/* ---- the file ---- */

static void load(struct saver *v, bool takes_any)
{
	size_t n = 0;
	int err = state_file_read(v->path, SAVED_MAX_BYTES, &v->bytes, &n, &v->saved_s);

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

	if (v)
		v->path = state_file_path(folder, SAVER_FILE);
	if (!v || !v->path) {
		free(v);
		return NULL;
	}
	v->job = (struct state_job){.folder = folder, .name = SAVER_FILE, .seal = saved_seal};
	v->source = source;
	state_folder_make(folder, "routes are");
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
	v->job.bytes = bytes;
	v->job.n = n;
	state_job_begin(&v->job);
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
	struct state_job *j = &v->job;

	state_job_end(j);
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
		v->written_paths = v->wanted_paths;
		log_debug("%s: %zu bytes in %llu ms", v->path, j->n, (unsigned long long)j->took_ms);
	}
	free(j->bytes);
	j->bytes = NULL;
}

static const struct weir_endpoint_set *find_set(const void *ctx, uint64_t backend_id)
{
	return publish_find(ctx, backend_id);
}

static uint64_t paths_version(const struct sync *s)
{
	return s->paths ? pathing_version(s->paths) : 0;
}

static void begin_write(struct saver *v, const struct sync *s, uint64_t now_ms)
{
	const struct paths *paths = s->paths ? pathing_now(s->paths) : NULL;
	const bool has_paths = paths && paths->blob && paths->blob->n_paths > 0;
	const struct saved_parts parts = {.snapshot = s->snapshot,
					  .find = find_set,
					  .ctx = s->publish,
					  .paths = has_paths ? paths->blob : NULL,
					  .paths_bytes = has_paths ? paths->blob_bytes : 0};
	void *bytes;
	size_t n;
	int err = saved_make(&parts, v->source, &bytes, &n);

	v->is_due = false;
	v->wanted_generation = s->generation;
	v->wanted_version = s->version;
	v->wanted_paths = paths_version(s);
	if (err) {
		v->ended_ms = now_ms;
		failed(v, err);
		return;
	}
	begin(v, bytes, n);
}

static bool is_changed(const struct saver *v, const struct sync *s)
{
	return s->snapshot && (s->generation != v->written_generation || s->version != v->written_version ||
			       paths_version(s) != v->written_paths);
}

uint64_t saver_update(struct saver *v, const struct sync *s, bool is_current, uint64_t now_ms)
{
	uint64_t at_ms;

	forget(v);
	v->is_serving = false;
	if (v->job.is_working && state_job_is_done(&v->job))
		end(v, now_ms);
	if (v->job.is_working)
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
	if (v->job.is_working && state_job_is_done(&v->job))
		end(v, v->ended_ms);
	if (!v->job.is_working && !v->bytes && !v->is_serving && is_changed(v, s))
		begin_write(v, s, v->ended_ms);
}

void saver_finish(struct saver *v, const struct sync *s)
{
	if (v->job.is_working)
		end(v, v->ended_ms);
	saver_hasten(v, s);
	if (v->job.is_working)
		end(v, v->ended_ms);
}

void saver_destroy(struct saver *v)
{
	if (!v)
		return;
	if (v->job.is_working)
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
