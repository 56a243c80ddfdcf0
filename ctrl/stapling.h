/* SPDX-License-Identifier: Apache-2.0 */
/* OCSP responses on their way: from the certificates that are served to who asks for them, and what he gets back to the dataplane. */
#ifndef CTRL_STAPLING_H
#define CTRL_STAPLING_H

#include "ocsp/ocsp.h"
#include "staple_file.h"
#include "sync.h"

/* Routes are not compiled for each response: others are waited for, and so many times as long as the last time took. */
#define STAPLING_WAIT_MS 300u
#define STAPLING_SHARE 20u

struct stapling;

/* folder: where responses are kept over a restart, which must outlive it; NULL: they are not. s has the table from then on. NULL after logging. */
struct stapling *stapling_create(enum ocsp_mode mode, uint64_t seed, const char *folder, struct sync *s);
/* After sync_fini(). */
void stapling_destroy(struct stapling *x);
int stapling_fd(const struct stapling *x); /* -1: there is none */
/* Does what there is to do, once routes are published. Returns the milliseconds until the next time; -1: there is none. */
int stapling_step(struct stapling *x, struct sync *s, uint64_t now_ms, int64_t now_s);
/*
 * The routes have other certificates, and are not compiled yet: what is known of their responses, or was kept over a restart, is in the
 * table then, so that no client sees a certificate without in between.
 */
void stapling_look(struct stapling *x, const struct sync *s);
/* The end: what is not kept yet is written, and waited for. */
void stapling_finish(struct stapling *x);
/* False: none are kept over a restart. */
bool stapling_file_status(const struct stapling *x, struct staple_file_status *out);
void stapling_status(const struct stapling *x, struct stapler_status *out);
bool stapling_is_on(const struct stapling *x);

#endif
