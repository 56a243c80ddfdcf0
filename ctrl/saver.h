/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the last routes and endpoints in a file of the state folder, and hands
 * them to the dataplane when weir-ctrl starts before it knows what the API
 * server has.
 *
 * The file is replaced as a whole: written beside it with mode 0600, synced,
 * renamed. That happens in a thread of its own on a copy, some time after a
 * change, and no more often than a disk likes; so what a crash loses is the
 * last seconds. Whatever is wrong with file or folder is said and counted, and
 * costs no more than the file.
 */
#ifndef CTRL_SAVER_H
#define CTRL_SAVER_H

#include "saved.h"
#include "sync.h"

#define SAVER_FILE "routes.saved"
#define SAVER_MIN_MS 1000u	    /* from a change to its write, and from the end of one write to the next */
#define SAVER_BYTES_PER_MS 4096u    /* a large file is written less often: so much a second at most */
#define SAVER_TOUCH_MS 60000u	    /* so often a file that is still right gets a new time */
#define SAVER_RETRY_MIN_MS 2000u    /* after a write that failed: doubles up to */
#define SAVER_RETRY_MAX_MS 60000u

struct saver;

struct saver_status {
	const char *path;
	bool is_serving;	    /* the dataplane has what was on disk */
	bool is_waiting;	    /* what was on disk could be served, and is not needed: the dataplane has routes */
	uint64_t age_s;		    /* of what was on disk, while it is served or waits */
	enum saved_refusal refused; /* of the file that was there at start */
	uint64_t n_writes, n_failures;
	uint64_t file_bytes; /* of the last write */
	uint64_t write_ms;   /* how long the last one took */
	const char *problem; /* why the last write failed, NULL: it did not; valid until the next call */
};

/*
 * Reads what is there. folder is made if it is not there, and must outlive it.
 * source: what the objects come from, as saved.h has it. NULL: without memory.
 */
struct saver *saver_create(const char *folder, uint64_t source, bool takes_any);
void saver_destroy(struct saver *v);

/*
 * While the API server has not told everything: hands what was on disk to the
 * dataplane, once it is connected and has no routes. One that has some was
 * told by an earlier weir-ctrl, which knew as much as the file, or more.
 */
void saver_serve(struct saver *v, struct sync *s);
/*
 * Once all is known: s has the routes that count. Writes them if they changed;
 * is_current: they are known to be up to date. Returns the time at which it
 * wants to be called again, UINT64_MAX: with the next change.
 */
uint64_t saver_update(struct saver *v, const struct sync *s, bool is_current, uint64_t now_ms);
/* The end is near: begins to write what is not written yet, unless a write is under way, and waits for nothing. */
void saver_hasten(struct saver *v, const struct sync *s);
/* The end: writes what is not written yet, and waits for it. */
void saver_finish(struct saver *v, const struct sync *s);
void saver_status(const struct saver *v, struct saver_status *out);

#endif
