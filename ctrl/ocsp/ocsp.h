/* SPDX-License-Identifier: Apache-2.0 */
/* OCSP responses for certificates: the stapler, its requests, and the table that the translation and the compiler read. */
#ifndef OCSP_OCSP_H
#define OCSP_OCSP_H

#include "ocsp/stapler.h"

enum ocsp_mode {
	OCSP_PUBLIC, /* responders of public addresses, on port 80, are asked */
	OCSP_ANY,    /* also others; see address.h */
	OCSP_OFF,    /* nobody is asked */
};

struct ocsp;

/* recall, with its ctx: of stapler_options; NULL: nothing was kept. NULL after logging. */
struct ocsp *ocsp_create(enum ocsp_mode mode, uint64_t seed, stapler_recall_fn *recall, void *recall_ctx);
void ocsp_destroy(struct ocsp *o);
int ocsp_fd(const struct ocsp *o); /* -1: nobody is asked */
struct staples *ocsp_staples(const struct ocsp *o);
struct stapler *ocsp_stapler(const struct ocsp *o);
/* Asks, and takes answers; the table has the changes. Returns when to call it again, UINT64_MAX: never by itself. */
uint64_t ocsp_poll(struct ocsp *o, uint64_t now_ms, int64_t now_s);

#endif
