/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which responder is asked about which certificate when, and what is stapled
 * then. It opens no socket and reads no clock: who does (fetch.h) is asked, and
 * answers later.
 *
 * What is asked about is a leaf and its issuer: certificates that differ in the
 * rest, or that are read anew, share its answers and its times.
 */
#ifndef OCSP_STAPLER_H
#define OCSP_STAPLER_H

#include "ocsp/outcome.h"
#include "ocsp/turns.h"
#include "translate/staples.h"

/* All are looked at, who is to be asked: not after each answer, or with thousands of certificates that would be all one does. */
#define STAPLER_REST_MS 10u

/*
 * A response is asked for anew at the half of its time, or when HTTP says that there is another one (max-age), but
 * within these; shortly before its end, where that comes sooner. A part of it, by chance, is taken off.
 */
#define STAPLER_REFRESH_MIN_S 300u
#define STAPLER_REFRESH_MAX_S (7u * 86400u)
#define STAPLER_REFRESH_LAST_S 10u /* not more often, whatever the response says */
/* After a failure, ever later, with jitter; not before a responder wants to be asked again (Retry-After). */
#define STAPLER_RETRY_MIN_MS 5000u
#define STAPLER_RETRY_MAX_MS 3600000u

struct stapler;

/* Asks a responder, with a request in DER; is told by stapler_answered(), never before it has returned. */
typedef void stapler_ask_fn(void *ctx, const char *url, const unsigned char *der, size_t n, void *question);

/* A response that was kept over a restart, by the key of facts.h; NULL: there is none. Valid until the stapler returns. */
typedef const unsigned char *stapler_recall_fn(void *ctx, const uint8_t key[OCSP_KEY_BYTES], size_t *n);

struct stapler_options {
	struct staples *staples; /* where what is known goes */
	stapler_ask_fn *ask;	 /* NULL: nobody is asked */
	void *ctx;
	stapler_recall_fn *recall; /* NULL: nothing was kept */
	void *recall_ctx;
	uint64_t seed; /* of jitter */
};

struct stapler_answer {
	enum ocsp_outcome outcome; /* GOOD: there are bytes, to be judged */
	const unsigned char *der;
	size_t n;
	uint32_t max_age_s;	/* of Cache-Control; UINT32_MAX: it does not say */
	uint32_t retry_after_s; /* 0: it does not say */
};

struct stapler *stapler_create(const struct stapler_options *options);
/* Nothing of what it has asked for may be answered any more. */
void stapler_destroy(struct stapler *s);
/*
 * The certificates that are shown to clients, until this is called again: begin, each as often as one likes, end. Others are
 * forgotten. Those that come first are asked about at the next poll.
 */
void stapler_want_begin(struct stapler *s);
void stapler_want(struct stapler *s, const struct certificate *c, uint64_t now_ms);
void stapler_want_end(struct stapler *s);
/*
 * Takes what was kept of responses for the certificates that are new: each is judged as one that has just come, and stapled if it is
 * good. Responders are asked all the same. stapler_poll() does this, too; alone it asks nobody.
 */
void stapler_recall(struct stapler *s, uint64_t now_ms, int64_t now_s);
/* Asks for what is due, and lets go of what has ended. now_s: Unix seconds. */
void stapler_poll(struct stapler *s, uint64_t now_ms, int64_t now_s);
/* When to poll it again; UINT64_MAX: not before something is answered or wanted. */
uint64_t stapler_next_ms(const struct stapler *s);
void stapler_answered(struct stapler *s, void *question, const struct stapler_answer *a, uint64_t now_ms, int64_t now_s);

/* Changes with the responses that are to be kept; 0: there were none yet. */
uint64_t stapler_version(const struct stapler *s);
/* Those: good, and revoked, since that, too, is to be known after a restart. */
typedef void stapler_each_fn(void *ctx, const uint8_t key[OCSP_KEY_BYTES], bool must_staple, const unsigned char *der, size_t n);
void stapler_each(const struct stapler *s, stapler_each_fn *fn, void *ctx);

struct stapler_status {
	size_t n_of[N_STAPLE_STATES]; /* certificates */
	size_t n_must_staple_without;
	size_t n_stapled; /* be they refreshed in time or not */
	size_t n_in_flight;
	size_t n_waiting[N_STAPLER_WAITS]; /* requests that are due and have not gone out, by why */
	uint64_t n_asked, n_expired; /* responses that were dropped, since their time was over and no other had come */
	uint64_t outcomes[OCSP_N_OUTCOMES];
	uint64_t recalled[OCSP_N_OUTCOMES]; /* of responses that were kept over a restart */
};

void stapler_status(const struct stapler *s, struct stapler_status *out);

#endif
