/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The certificates that are ready in this worker, by their id, and the sessions that wait for one. An entry is made when
 * a certificate is first wanted; it goes when no snapshot names it, in slices, or with the worker.
 */
#include <errno.h>
#include <stdlib.h>

#include "tls/tls_pvt.h"

#define WAKES 4u /* sessions that go on in one iteration: each may be a whole flight of a handshake */
#define RETRY_US 1000000ull /* until one that could not be used is asked for again; twice as long each time */
#define RETRIES_LONGER 6u

int ready_init(struct tls *t)
{
	t->ready.retain = 1;
	t->ready.bucket = calloc(TLS_READY_BUCKETS, sizeof(*t->ready.bucket));
	return t->ready.bucket ? 0 : -ENOMEM;
}

/* An id is a part of a SHA-256: any bits of it will do. */
static struct ready **bucket_of(struct tls *t, const struct weir_cert_id *id)
{
	return &t->ready.bucket[id->v[0] % TLS_READY_BUCKETS];
}

static struct ready *find(struct tls *t, const struct weir_cert_id *id)
{
	struct ready *r = *bucket_of(t, id);

	while (r && (r->id.v[0] != id->v[0] || r->id.v[1] != id->v[1]))
		r = r->next;
	return r;
}

static struct ready *add(struct tls *t, const struct weir_cert_id *id)
{
	struct ready **at = bucket_of(t, id);
	struct ready *r = OPENSSL_zalloc(sizeof(*r)); /* of the worker's heap, as all that its loop allocates */

	if (!r)
		return NULL;
	r->id = *id;
	r->named = t->ready.retain;
	r->next = *at;
	*at = r;
	return r;
}

static void drop(struct tls *t, struct ready **at)
{
	struct ready *r = *at;

	*at = r->next;
	if (r->cert) {
		stat_set(t->cfg.stats, WEIR_G_TLS_CERTIFICATES, --t->ready.n_certs);
		t->cfg.release(t->cfg.ctx, r->cert);
	}
	OPENSSL_free(r);
}

void ready_fini(struct tls *t)
{
	for (uint32_t i = 0; t->ready.bucket && i < TLS_READY_BUCKETS; i++)
		while (t->ready.bucket[i])
			drop(t, &t->ready.bucket[i]);
	free(t->ready.bucket);
}

struct tls_certificate *ready_find(struct tls *t, const struct weir_cert_id *id, struct ready **entry)
{
	struct ready *r = find(t, id);

	*entry = NULL;
	if (!r)
		r = add(t, id);
	if (!r || (r->unusable == t->ready.retain && t->offload.now_us < r->retry_us))
		return NULL;
	if (r->cert)
		return r->cert;
	*entry = r;
	if (!r->is_asked) {
		r->is_asked = true;
		t->cfg.want(t->cfg.ctx, id);
	}
	return NULL;
}

void ready_wait(struct tls_session *s, struct ready *r)
{
	assert(s->waits == WAITS_NOT);
	s->waits = WAITS_CERTIFICATE;
	s->next = r->waiting;
	s->prev_next = &r->waiting;
	if (s->next)
		s->next->prev_next = &s->next;
	r->waiting = s;
	if (!s->has_waited)
		stat_inc(s->t->cfg.stats, WEIR_C_TLS_CERTIFICATE_WAITS);
	s->has_waited = true;
}

/* What has come is told at once to few, and to the others by ready_wake(), or their handshakes would all be begun in one iteration. */
static void wake_some(struct ready *r, unsigned *n)
{
	for (; r->waiting && *n < WAKES; ++*n)
		tls_wake(r->waiting);
}

unsigned ready_wake(struct tls *t)
{
	struct ready_table *y = &t->ready;
	unsigned n = 0;

	while (y->waking && n < WAKES) {
		struct ready *r = y->waking;

		wake_some(r, &n);
		if (r->waiting)
			break;
		r->is_waking = false;
		y->waking = r->next_waking;
	}
	return n;
}

static void begin_waking(struct tls *t, struct ready *r)
{
	unsigned n = 0;

	if (r->is_waking)
		return;
	wake_some(r, &n);
	if (!r->waiting)
		return;
	r->is_waking = true;
	r->next_waking = t->ready.waking;
	t->ready.waking = r;
}

/* It may have been for want of memory, which passes. */
static void note_unusable(struct tls *t, struct ready *r, uint64_t now_us)
{
	r->unusable = t->ready.retain;
	r->retry_us = now_us + (RETRY_US << r->n_failures);
	if (r->n_failures < RETRIES_LONGER)
		r->n_failures++;
}

void tls_take_certificate(struct tls *t, const struct weir_cert_id *id, struct tls_certificate *cert, uint64_t now_us)
{
	struct ready *r = find(t, id);

	if (!r)
		r = add(t, id);
	if (!r || r->cert) {
		if (cert)
			t->cfg.release(t->cfg.ctx, cert);
		return;
	}
	r->is_asked = false;
	r->cert = cert;
	if (cert) {
		r->unusable = 0;
		stat_set(t->cfg.stats, WEIR_G_TLS_CERTIFICATES, ++t->ready.n_certs);
	} else {
		note_unusable(t, r, now_us);
	}
	begin_waking(t, r);
}

void tls_retain(struct tls *t, const struct weir_snapshot *s)
{
	t->ready.retain++;
	t->ready.snapshot = s;
	t->ready.at_cert = t->ready.at_bucket = 0;
}

/* What is asked for, or waited for, stays until it has been answered. */
static void sweep(struct tls *t, struct ready **at)
{
	while (*at) {
		struct ready *r = *at;

		if (r->named == t->ready.retain || r->is_asked || r->waiting || r->is_waking)
			at = &r->next;
		else
			drop(t, at);
	}
}

bool tls_step(struct tls *t, int *budget)
{
	struct ready_table *y = &t->ready;

	if (!y->snapshot)
		return true;
	for (; y->at_cert < snapshot_count(y->snapshot, CERTS); y->at_cert++) {
		struct ready *r;

		if ((*budget)-- <= 0)
			return false;
		r = find(t, snapshot_cert(y->snapshot, y->at_cert));
		if (r)
			r->named = y->retain;
	}
	for (; y->at_bucket < TLS_READY_BUCKETS; y->at_bucket++) {
		if (y->bucket[y->at_bucket] && (*budget)-- <= 0)
			return false;
		sweep(t, &y->bucket[y->at_bucket]);
	}
	y->snapshot = NULL;
	return true;
}
