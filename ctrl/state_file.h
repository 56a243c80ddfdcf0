/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of the state folder: read at start, and replaced as a whole, so that a crash leaves the old one or the new one. What is
 * written is written by a thread of its own, since disks take their time; one file has one job at a time.
 */
#ifndef CTRL_STATE_FILE_H
#define CTRL_STATE_FILE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct state_job {
	const char *folder, *name;
	void *bytes; /* NULL: the file is only to have a new time */
	size_t n;
	void (*seal)(void *bytes, size_t n); /* called in the thread before they are written; NULL: nothing is to be done */
	int err;			     /* 0 or -errno */
	uint64_t took_ms;
	bool is_working; /* from begin to end */
	bool has_thread;
	pthread_t thread;
	atomic_bool is_done;
};

/* folder/name, for the caller to free(); NULL without memory. */
char *state_file_path(const char *folder, const char *name);
/* Makes the folder, for its owner alone, if it is not there. what: is not kept without it, as the log says. */
void state_folder_make(const char *folder, const char *what);
/*
 * The whole file, malloc'd; time_s: when it was written, Unix seconds. 0 or -errno; -EPERM: it is another user's, or everybody may
 * write it; -EFBIG: it has more than max bytes; -EINVAL: it is no file.
 */
int state_file_read(const char *path, uint64_t max, void **bytes, size_t *n, int64_t *time_s);

/*
 * Begins: folder, name, bytes, n and seal of the job are set, and stay as they are until its end; the rest of it is this file's.
 * The bytes stay the caller's, who frees them after the end.
 */
void state_job_begin(struct state_job *j);
/* It has ended by itself: state_job_end() will not wait. */
bool state_job_is_done(const struct state_job *j);
/* Waits for its end. Of a job that is at work. */
void state_job_end(struct state_job *j);

#endif
