/* SPDX-License-Identifier: Apache-2.0 */
/* OCSP responses on their way: from the certificates that are served to who asks for them, and what he gets back to the dataplane. */
#ifndef CTRL_STAPLING_H
#define CTRL_STAPLING_H

#include "ocsp/ocsp.h"
#include "sync.h"

/* Routes are not compiled for each response: others are waited for, and so many times as long as the last time took. */
#define STAPLING_WAIT_MS 300u
#define STAPLING_SHARE 20u

struct stapling;

/* s has the table from then on. NULL after logging. */
struct stapling *stapling_create(enum ocsp_mode mode, uint64_t seed, struct sync *s);
/* After sync_fini(). */
void stapling_destroy(struct stapling *x);
int stapling_fd(const struct stapling *x); /* -1: there is none */
/* Does what there is to do, once routes are published. Returns the milliseconds until the next time; -1: there is none. */
int stapling_step(struct stapling *x, struct sync *s, uint64_t now_ms, int64_t now_s);
void stapling_status(const struct stapling *x, struct stapler_status *out);
bool stapling_is_on(const struct stapling *x);

#endif
