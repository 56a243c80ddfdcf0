/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps OCSP responses in a file of the state folder, so that a restart finds them while responders are away. The file is replaced
 * as a whole by those that certificates in use have now: what nobody needs goes with that.
 *
 *   magic, 8 bytes | version, 4 | number of responses, 4 | size of the whole, 8
 *   for each: SHA-256 of what it is about (facts.h), 32 | its size, 4 | the response in DER
 *
 * in the byte order of the machine. Nothing in it is trusted: who takes a response judges it like one that has just come
 * (ocsp/check.h), so there is no checksum, and damage costs no more than what is damaged. There is no secret in it.
 */
#ifndef CTRL_STAPLE_FILE_H
#define CTRL_STAPLE_FILE_H

#include "ocsp/stapler.h"

#define STAPLE_FILE "ocsp.saved"
#define STAPLE_FILE_MAX 10000u		     /* responses; those of must-staple certificates are kept before others */
#define STAPLE_FILE_MAX_BYTES (32u << 20)    /* of the whole; what is there is read up to this, whatever the limits are */
#define STAPLE_FILE_SETTLE_MS 10000u	     /* from the start on: so long what was there is not replaced, for certificates that come late */
#define STAPLE_FILE_MIN_MS 1000u	     /* from a change to its write, and from the end of one write to the next */
#define STAPLE_FILE_BYTES_PER_MS 4096u	     /* a large file is written less often: so much a second at most */
#define STAPLE_FILE_RETRY_MIN_MS 2000u	     /* after a write that failed: doubles up to */
#define STAPLE_FILE_RETRY_MAX_MS 60000u

/* X(enumerator, name, help) */
#define STAPLE_FILE_REFUSALS(X) \
	X(OK, "ok", "nothing is wrong with it") \
	X(TRUNCATED, "truncated", "it is shorter or longer than it says: what is whole in it is looked at") \
	X(MALFORMED, "malformed", "a size in it cannot be: what stands before that is looked at") \
	X(FOREIGN, "no-saved-responses", "it does not begin as one of Weir's does") \
	X(OTHER_VERSION, "other-version", "it was written by a Weir with another form of this file") \
	X(TOO_LARGE, "too-large", "it is larger than any that is written") \
	X(OWNER, "other-owner", "it is another user's, or everybody may write it") \
	X(UNREADABLE, "unreadable", "it cannot be read")

enum staple_file_refusal {
#define X(name, str, help) STAPLE_FILE_##name,
	STAPLE_FILE_REFUSALS(X)
#undef X
		STAPLE_FILE_N_REFUSALS
};

struct staple_file;

/* At most the two above. */
struct staple_file_limits {
	size_t n, n_bytes;
};

struct staple_file_status {
	const char *path;
	enum staple_file_refusal refused; /* of the file that was there at start */
	size_t n_found;	     /* responses in it */
	size_t n_saved;	     /* by the last write */
	size_t n_left_out;   /* of that, over the bounds */
	uint64_t n_writes, n_failures;
	const char *problem; /* why the last write failed, NULL: it did not; valid until the next call */
};

const char *staple_file_refusal_name(enum staple_file_refusal r);

/* Reads what is there; folder is made if it is not there, and must outlive it. limits: of what is written. NULL: without memory. */
struct staple_file *staple_file_create(const char *folder, const struct staple_file_limits *limits, uint64_t now_ms);
void staple_file_destroy(struct staple_file *f);
/* A stapler_recall_fn: of what was there at start, until the first write. Valid until the next staple_file_update(). */
const unsigned char *staple_file_find(void *f, const uint8_t key[OCSP_KEY_BYTES], size_t *n);
/* Once certificates are known: writes what responses there are, if they changed. As saver_update(). */
uint64_t staple_file_update(struct staple_file *f, const struct stapler *s, uint64_t now_ms);
/*
 * The end: writes what is not written yet, and waits for it. Before any certificate was known, or while there may be some that come
 * late, the file stays as it was at start.
 */
void staple_file_finish(struct staple_file *f, const struct stapler *s);
void staple_file_status(const struct staple_file *f, struct staple_file_status *out);

#endif
