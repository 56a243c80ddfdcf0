/* SPDX-License-Identifier: Apache-2.0 */
#include "staple_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "ocsp/check.h"
#include "state_file.h"

#define MAGIC 0x5053434f52494557ull /* "WEIROCSP" */
#define VERSION 1u
#define POLL_MS 50u	 /* while the thread is at work */
#define UNKNOWN UINT64_MAX /* version of a file that is not of this process */

struct head {
	uint64_t magic;
	uint32_t version, n;
	uint64_t size;
};

#define ENTRY_HEAD_BYTES (OCSP_KEY_BYTES + sizeof(uint32_t))

/* A response in the file that was there. */
struct found {
	const uint8_t *key; /* the response stands ENTRY_HEAD_BYTES behind that */
	uint32_t n;
};

struct staple_file {
	char *path;
	struct staple_file_limits limits;
	void *bytes; /* of what was there; NULL: nothing, or not any more */
	struct found *found; /* sorted by key */
	size_t n_found, n_at_start;
	enum staple_file_refusal refused;

	struct state_job job;
	size_t n_in_job, n_left_in_job, n_saved, n_left_out;
	uint64_t wanted_version, written_version; /* the stapler's */
	uint64_t changed_ms, free_ms, wait_ms;	  /* free_ms: not before that it is written */
	bool is_due;	 /* there is a change, since changed_ms */
	bool was_called; /* certificates are known */
	uint64_t n_writes, n_failures;
	int err; /* of the last write */
};

static const char *refusal_help(enum staple_file_refusal r)
{
	static const char *const helps[] = {
#define X(id, name, help) help,
	    STAPLE_FILE_REFUSALS(X)
#undef X
	};

	return helps[r];
}

const char *staple_file_refusal_name(enum staple_file_refusal r)
{
	static const char *const names[] = {
#define X(id, name, help) name,
	    STAPLE_FILE_REFUSALS(X)
#undef X
	};

	return names[r];
}

/* ---- what was there */

static int by_key(const void *a, const void *b)
{
	return memcmp(((const struct found *)a)->key, ((const struct found *)b)->key, OCSP_KEY_BYTES);
}

static enum staple_file_refusal parse(struct staple_file *f, size_t n)
{
	const uint8_t *at = f->bytes, *end = at + n;
	enum staple_file_refusal r = STAPLE_FILE_OK;
	struct head h;

	if (n < sizeof(h))
		return STAPLE_FILE_TRUNCATED;
	memcpy(&h, at, sizeof(h));
	if (h.magic != MAGIC)
		return STAPLE_FILE_FOREIGN;
	if (h.version != VERSION)
		return STAPLE_FILE_OTHER_VERSION;
	if (h.n > STAPLE_FILE_MAX)
		return STAPLE_FILE_MALFORMED;
	f->found = calloc(h.n + 1, sizeof(*f->found));
	if (!f->found)
		return STAPLE_FILE_UNREADABLE;
	at += sizeof(h);
	while (r == STAPLE_FILE_OK && f->n_found < h.n) {
		uint32_t size;

		if ((size_t)(end - at) < ENTRY_HEAD_BYTES)
			return STAPLE_FILE_TRUNCATED;
		memcpy(&size, at + OCSP_KEY_BYTES, sizeof(size));
		if (size == 0 || size > OCSP_RESPONSE_MAX)
			return STAPLE_FILE_MALFORMED;
		if ((size_t)(end - at) - ENTRY_HEAD_BYTES < size)
			return STAPLE_FILE_TRUNCATED;
		f->found[f->n_found++] = (struct found){.key = at, .n = size};
		at += ENTRY_HEAD_BYTES + size;
	}
	return at == end && h.size == n ? STAPLE_FILE_OK : STAPLE_FILE_TRUNCATED;
}

static void load(struct staple_file *f)
{
	size_t n = 0;
	int64_t time_s;
	int err = state_file_read(f->path, STAPLE_FILE_MAX_BYTES, &f->bytes, &n, &time_s);

	if (err == -ENOENT)
		return;
	f->written_version = UNKNOWN;
	if (err)
		f->refused = err == -EPERM ? STAPLE_FILE_OWNER : err == -EFBIG ? STAPLE_FILE_TOO_LARGE : STAPLE_FILE_UNREADABLE;
	else
		f->refused = parse(f, n);
	if (f->n_found)
		qsort(f->found, f->n_found, sizeof(*f->found), by_key);
	f->n_at_start = f->n_found;
	if (f->refused != STAPLE_FILE_OK)
		log_warn("%s is damaged, or not used: %s: %s; OCSP responses found in it: %zu", f->path,
			 staple_file_refusal_name(f->refused), err ? strerror(-err) : refusal_help(f->refused), f->n_found);
}

struct staple_file *staple_file_create(const char *folder, const struct staple_file_limits *limits, uint64_t now_ms)
{
	struct staple_file *f = calloc(1, sizeof(*f));

	if (f)
		f->path = state_file_path(folder, STAPLE_FILE);
	if (!f || !f->path) {
		free(f);
		return NULL;
	}
	f->limits = *limits;
	f->job = (struct state_job){.folder = folder, .name = STAPLE_FILE};
	state_folder_make(folder, "OCSP responses are");
	load(f);
	if (f->n_found)
		f->free_ms = now_ms + STAPLE_FILE_SETTLE_MS;
	return f;
}

const unsigned char *staple_file_find(void *ctx, const uint8_t key[OCSP_KEY_BYTES], size_t *n)
{
	const struct staple_file *f = ctx;
	const struct found wanted = {.key = key};
	const struct found *x = f->n_found ? bsearch(&wanted, f->found, f->n_found, sizeof(*f->found), by_key) : NULL;

	if (!x)
		return NULL;
	*n = x->n;
	return x->key + ENTRY_HEAD_BYTES;
}

static void forget(struct staple_file *f)
{
	free(f->found);
	free(f->bytes);
	f->found = NULL;
	f->bytes = NULL;
	f->n_found = 0;
}

/* ---- writing */

/* Counts first, then fills. */
struct making {
	const struct staple_file_limits *limits;
	uint8_t *bytes; /* NULL: they are counted */
	size_t size, n, n_left_out;
	bool must_staple; /* the turn of those, or of the others */
};

static void add(void *ctx, const uint8_t key[OCSP_KEY_BYTES], bool must_staple, const unsigned char *der, size_t n)
{
	struct making *m = ctx;
	const uint32_t size = (uint32_t)n;

	if (must_staple != m->must_staple)
		return;
	if (m->n >= m->limits->n || m->size + ENTRY_HEAD_BYTES + n > m->limits->n_bytes) {
		m->n_left_out++;
		return;
	}
	if (m->bytes) {
		memcpy(m->bytes + m->size, key, OCSP_KEY_BYTES);
		memcpy(m->bytes + m->size + OCSP_KEY_BYTES, &size, sizeof(size));
		memcpy(m->bytes + m->size + ENTRY_HEAD_BYTES, der, n);
	}
	m->size += ENTRY_HEAD_BYTES + n;
	m->n++;
}

static struct making go_through(const struct staple_file *f, const struct stapler *s, uint8_t *bytes)
{
	struct making m = {.limits = &f->limits, .bytes = bytes, .size = sizeof(struct head), .must_staple = true};

	stapler_each(s, add, &m);
	m.must_staple = false;
	stapler_each(s, add, &m);
	return m;
}

static void failed(struct staple_file *f, int err, uint64_t now_ms)
{
	if (err != f->err)
		log_warn("%s cannot be written: %s; tried again", f->path, strerror(-err));
	f->err = err;
	f->n_failures++;
	f->wait_ms = f->wait_ms < STAPLE_FILE_RETRY_MIN_MS ? STAPLE_FILE_RETRY_MIN_MS : f->wait_ms * 2;
	if (f->wait_ms > STAPLE_FILE_RETRY_MAX_MS)
		f->wait_ms = STAPLE_FILE_RETRY_MAX_MS;
	f->free_ms = now_ms + f->wait_ms;
	f->written_version = UNKNOWN;
}

static void begin(struct staple_file *f, const struct stapler *s, uint64_t now_ms)
{
	struct making m = go_through(f, s, NULL);
	uint8_t *bytes = malloc(m.size);
	struct head h = {.magic = MAGIC, .version = VERSION, .n = (uint32_t)m.n, .size = m.size};

	f->is_due = false;
	if (!bytes) {
		failed(f, -ENOMEM, now_ms);
		return;
	}
	forget(f);
	memcpy(bytes, &h, sizeof(h));
	m = go_through(f, s, bytes);
	if (m.n_left_out && !f->n_left_out)
		log_warn("%s has room for %zu OCSP responses: the other %zu are not kept on disk", f->path, m.n, m.n_left_out);
	f->n_in_job = m.n;
	f->n_left_in_job = m.n_left_out;
	f->wanted_version = stapler_version(s);
	f->job.bytes = bytes;
	f->job.n = m.size;
	state_job_begin(&f->job);
}

static void end(struct staple_file *f, uint64_t now_ms)
{
	struct state_job *j = &f->job;

	state_job_end(j);
	if (j->err) {
		failed(f, j->err, now_ms);
	} else {
		if (f->err)
			log_info("%s is written again", f->path);
		f->err = 0;
		f->n_writes++;
		f->n_saved = f->n_in_job;
		f->n_left_out = f->n_left_in_job;
		f->written_version = f->wanted_version;
		f->wait_ms = STAPLE_FILE_MIN_MS > j->n / STAPLE_FILE_BYTES_PER_MS ? STAPLE_FILE_MIN_MS : j->n / STAPLE_FILE_BYTES_PER_MS;
		f->free_ms = now_ms + f->wait_ms;
		log_debug("%s: %zu OCSP responses in %llu ms", f->path, f->n_saved, (unsigned long long)j->took_ms);
	}
	free(j->bytes);
	j->bytes = NULL;
}

uint64_t staple_file_update(struct staple_file *f, const struct stapler *s, uint64_t now_ms)
{
	uint64_t at_ms;

	f->was_called = true;
	if (f->job.is_working && state_job_is_done(&f->job))
		end(f, now_ms);
	if (f->job.is_working)
		return now_ms + POLL_MS;
	if (stapler_version(s) == f->written_version) {
		f->is_due = false;
		return UINT64_MAX;
	}
	if (!f->is_due)
		f->changed_ms = now_ms;
	f->is_due = true;
	at_ms = f->changed_ms + STAPLE_FILE_MIN_MS > f->free_ms ? f->changed_ms + STAPLE_FILE_MIN_MS : f->free_ms;
	if (now_ms < at_ms)
		return at_ms;
	begin(f, s, now_ms);
	return now_ms + POLL_MS;
}

void staple_file_finish(struct staple_file *f, const struct stapler *s)
{
	if (f->job.is_working)
		end(f, 0);
	if (!f->was_called || f->found || stapler_version(s) == f->written_version)
		return;
	begin(f, s, 0);
	if (f->job.is_working)
		end(f, 0);
}

void staple_file_destroy(struct staple_file *f)
{
	if (!f)
		return;
	if (f->job.is_working)
		end(f, 0);
	forget(f);
	free(f->path);
	free(f);
}

void staple_file_status(const struct staple_file *f, struct staple_file_status *out)
{
	*out = (struct staple_file_status){.path = f->path,
					   .refused = f->refused,
					   .n_found = f->n_at_start,
					   .n_saved = f->n_saved,
					   .n_left_out = f->n_left_out,
					   .n_writes = f->n_writes,
					   .n_failures = f->n_failures,
					   .problem = f->err ? strerror(-f->err) : NULL};
}
