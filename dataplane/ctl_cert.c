/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates with their private keys: main holds what weir-ctrl sent, and
 * makes for each worker that asks what it can use. So a handshake that is the
 * first to need a certificate waits for main, and no worker ever parses one.
 *
 * One is forgotten with the first snapshot that does not name it, by
 * weir-ctrl's reckoning (msg.h). It stays here until every worker serves that
 * snapshot or a later one: until then a worker may ask for it, by the older one. A worker asks before it says
 * that it has swapped, and its ring keeps that order, so none asks for what is gone.
 *
 * Whoever asked is owed an answer. It is given only when the worker's ring has room, so
 * that answers, of which there can be as many as certificates, never displace other messages.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/hash.h"
#include "base/log.h"
#include "ctl_pvt.h"
#include "snapshot/snapshot.h"

#include <rte_ring.h>
#include <rte_ring_elem.h>

#define PAGE 4096u
#define WORK_PER_TURN 4u	   /* certificates made ready at a time: some milliseconds */
#define FAILED_US 10000000u	   /* one that could not be used is not tried again for so long */
#define LOG_US 1000000u		   /* between two lines about certificates that cannot be used */
#define ID_TEXT (2 * sizeof(struct weir_cert_id) + 1)

static uint64_t pages(uint64_t n)
{
	return (n + PAGE - 1) / PAGE * PAGE;
}

/* As `sha256sum` would begin. */
static const char *id_text(const struct weir_cert_id *id, char out[ID_TEXT])
{
	for (size_t i = 0; i < sizeof(*id); i++)
		snprintf(out + 2 * i, 3, "%02x", ((const uint8_t *)id)[i]);
	return out;
}

/* -- the store */

int ctl_certs_init(struct ctl *c, const struct ctl_config *config)
{
	struct ctl_certs *s = &c->certs;

	TAILQ_INIT(&s->all);
	TAILQ_INIT(&s->wanted);
	s->max_bytes = (uint64_t)config->certificates_mb << 20;
	for (s->n_buckets = 64; s->n_buckets < s->max_bytes / PAGE;)
		s->n_buckets *= 2;
	s->buckets = calloc(s->n_buckets, sizeof(*s->buckets));
	return s->buckets ? 0 : -ENOMEM;
}

static struct ctl_cert_bucket *bucket_of(const struct ctl_certs *s, const struct weir_cert_id *id)
{
	return &s->buckets[hash_keyed(id, sizeof(*id), 0) & (s->n_buckets - 1)];
}

static struct ctl_cert *find(const struct ctl_certs *s, const struct weir_cert_id *id)
{
	struct ctl_cert *cert;

	LIST_FOREACH(cert, bucket_of(s, id), bucket)
		if (memcmp(&cert->id, id, sizeof(*id)) == 0)
			return cert;
	return NULL;
}

static bool insert(struct ctl *c, const struct weir_cert_id *id, struct weir_certificate *blob, uint32_t size)
{
	struct ctl_certs *s = &c->certs;
	struct ctl_cert *cert = calloc(1, sizeof(*cert));

	if (!cert)
		return false;
	cert->id = *id;
	cert->blob = blob;
	cert->size = size;
	LIST_INSERT_HEAD(bucket_of(s, id), cert, bucket);
	TAILQ_INSERT_TAIL(&s->all, cert, link);
	s->bytes += pages(size);
	c->stats->certificates++;
	return true;
}

static void forget(struct ctl *c, struct ctl_cert *cert)
{
	struct ctl_certs *s = &c->certs;

	if (cert->is_wanted)
		TAILQ_REMOVE(&s->wanted, cert, wanted_link);
	if (cert->gone_with)
		s->n_gone--;
	LIST_REMOVE(cert, bucket);
	TAILQ_REMOVE(&s->all, cert, link);
	s->bytes -= pages(cert->size);
	c->stats->certificates--;
	ctl_secret_destroy(cert->blob, cert->size);
	free(cert);
}

void ctl_certs_fini(struct ctl *c)
{
	struct ctl_certs *s = &c->certs;
	struct ctl_cert *cert;

	if (!s->buckets)
		return;
	while ((cert = TAILQ_FIRST(&s->all)))
		forget(c, cert);
	free(s->buckets);
}

/* -- from weir-ctrl */

static enum weir_refusal place_check(const struct ctl *c, const struct weir_msg *m)
{
	const struct weir_cert_id id = {{m->id, m->version}};

	if (m->size > WEIR_CERTIFICATE_MAX_BYTES)
		return WEIR_REFUSED_TOO_BIG;
	if (!ctl_is_in_arena(c, m))
		return WEIR_REFUSED_BAD_PLACE;
	if (m->size < sizeof(struct weir_certificate))
		return WEIR_REFUSED_TRUNCATED;
	if (!id.v[0] || !id.v[1])
		return WEIR_REFUSED_BAD_VALUE;
	if (c->certs.bytes + pages(m->size) > c->certs.max_bytes && !find(&c->certs, &id))
		return WEIR_REFUSED_NO_MEMORY;
	return WEIR_REFUSED_OK;
}

/* The id is that of the message, and of the content. */
static enum weir_refusal id_check(const struct weir_msg *m, const struct weir_certificate *blob, struct snapshot_error *err)
{
	const size_t from = offsetof(struct weir_certificate, n_chain);
	uint8_t digest[EVP_MAX_MD_SIZE];

	if (blob->id.v[0] != m->id || blob->id.v[1] != m->version) {
		strcpy(err->text, "the message and the blob disagree");
		return WEIR_REFUSED_BAD_VALUE;
	}
	if (EVP_Digest((const char *)blob + from, m->size - from, digest, NULL, EVP_sha256(), NULL) != 1)
		return WEIR_REFUSED_NO_MEMORY;
	if (memcmp(&blob->id, digest, sizeof(blob->id)) == 0)
		return WEIR_REFUSED_OK;
	strcpy(err->text, "the id is not the one of the content");
	return WEIR_REFUSED_BAD_VALUE;
}

/* The same once more changes nothing, but that it is there again for snapshots to come. */
static enum weir_refusal keep(struct ctl *c, struct weir_certificate *blob, uint32_t size)
{
	struct ctl_cert *cert = find(&c->certs, &blob->id);

	if (!cert)
		return insert(c, &blob->id, blob, size) ? WEIR_REFUSED_OK : WEIR_REFUSED_NO_MEMORY;
	if (cert->gone_with)
		c->certs.n_gone--;
	cert->gone_with = 0;
	ctl_secret_destroy(blob, size);
	return WEIR_REFUSED_OK;
}

static enum weir_refusal read_blob(struct ctl *c, const struct weir_msg *m, struct snapshot_error *err)
{
	enum weir_refusal r = place_check(c, m);
	struct weir_certificate *blob;

	if (r != WEIR_REFUSED_OK)
		return r;
	blob = ctl_secret_create(m->size);
	if (!blob)
		return WEIR_REFUSED_NO_MEMORY;
	memcpy(blob, c->conn.arena + m->off, m->size);
	r = certificate_check(blob, m->size, err);
	if (r == WEIR_REFUSED_OK)
		r = id_check(m, blob, err);
	if (r == WEIR_REFUSED_OK)
		r = keep(c, blob, (uint32_t)m->size);
	if (r != WEIR_REFUSED_OK)
		ctl_secret_destroy(blob, m->size);
	return r;
}

void ctl_cert_take(struct ctl *c, const struct weir_msg *m)
{
	const struct weir_cert_id id = {{m->id, m->version}};
	struct snapshot_error err = {.text = ""};
	enum weir_refusal r = read_blob(c, m, &err);
	char what[64], text[ID_TEXT];

	snprintf(what, sizeof(what), "certificate %s", id_text(&id, text));
	*(r ? &c->stats->certificates_refused : &c->stats->certificates_taken) += 1;
	ctl_blob_answer(c, m, r, what, err.text);
}

/* -- what snapshots name */

bool ctl_certs_are_held(const struct ctl *c, const struct weir_snapshot *s, struct snapshot_error *err)
{
	for (uint32_t i = 0; i < snapshot_count(s, CERTS); i++) {
		const struct weir_cert_id *id = snapshot_cert(s, i);
		const struct ctl_cert *cert = find(&c->certs, id);
		char text[ID_TEXT];

		if (cert && !cert->gone_with)
			continue;
		snprintf(err->text, sizeof(err->text), "certificate %s, the %u. that it names, was not sent", id_text(id, text), i + 1);
		return false;
	}
	return true;
}

void ctl_certs_named(struct ctl *c, const struct weir_snapshot *s, uint64_t number)
{
	struct ctl_cert *cert;

	for (uint32_t i = 0; i < snapshot_count(s, CERTS); i++) {
		cert = find(&c->certs, snapshot_cert(s, i));
		if (cert)
			cert->named = number;
	}
	TAILQ_FOREACH(cert, &c->certs.all, link) {
		if (cert->named == number || cert->gone_with)
			continue;
		cert->gone_with = number;
		c->certs.n_gone++;
	}
}

void ctl_certs_settle(struct ctl *c, uint64_t swapped)
{
	struct ctl_cert *cert, *next;

	if (c->certs.n_gone == 0 || swapped == c->certs.swapped)
		return;
	c->certs.swapped = swapped;
	for (cert = TAILQ_FIRST(&c->certs.all); cert; cert = next) {
		next = TAILQ_NEXT(cert, link);
		if (cert->gone_with && cert->gone_with <= swapped && !cert->is_wanted)
			forget(c, cert);
	}
}

/* -- for workers */

static void answer(struct ctl_worker *w, unsigned worker, const struct weir_cert_id *id, struct tls_certificate *ready)
{
	const struct worker_msg m = {
		.type = WORKER_CERTIFICATE, .worker = worker, .ptr = ready, .id = id->v[0], .version = id->v[1]};

	ctl_worker_send(w, &m);
}

/* Who cannot be served may ask without end: so a line a second at most. */
static void complain(struct ctl *c, const struct weir_cert_id *id, const char *why)
{
	struct ctl_certs *s = &c->certs;
	uint64_t now = ctl_now_us();
	char text[ID_TEXT], more[64] = "";

	if (s->logged_us && now - s->logged_us < LOG_US) {
		s->n_unlogged++;
		return;
	}
	if (s->n_unlogged)
		snprintf(more, sizeof(more), " (%u more such since)", s->n_unlogged);
	log_warn("tls: certificate %s cannot be used: %s%s", id_text(id, text), why, more);
	s->logged_us = now;
	s->n_unlogged = 0;
}

static struct tls_certificate *make_ready(struct ctl *c, const struct ctl_worker *w, struct ctl_cert *cert)
{
	struct tls_certificate *ready;
	char why[256] = "";

	if (!w->tls || (cert->failed_us && ctl_now_us() - cert->failed_us < FAILED_US))
		return NULL;
	ready = tls_certificate_create(w->tls, cert->blob, why, sizeof(why));
	cert->failed_us = ready ? 0 : ctl_now_us();
	if (!ready)
		complain(c, &cert->id, why);
	return ready;
}

/* Answers those of its workers whose rings have room. True: all of them. */
static bool serve(struct ctl *c, struct ctl_cert *cert)
{
	bool all = true;

	for (unsigned i = 0; i < c->n_workers; i++) {
		struct ctl_worker *w = &c->workers[i];
		uint64_t *bits = &cert->wanted_by[i / 64], bit = 1ull << (i % 64);

		if (!(*bits & bit))
			continue;
		if (w->n_pending > 0 || rte_ring_full(w->link.to_worker)) {
			all = false;
			continue;
		}
		answer(w, i, &cert->id, make_ready(c, w, cert));
		*bits &= ~bit;
	}
	return all;
}

bool ctl_certs_poll(struct ctl *c)
{
	struct ctl_cert_list *wanted = &c->certs.wanted;
	struct ctl_cert *cert;
	unsigned n_done = 0;

	for (unsigned n = 0; n < WORK_PER_TURN && (cert = TAILQ_FIRST(wanted)); n++) {
		TAILQ_REMOVE(wanted, cert, wanted_link);
		cert->is_wanted = !serve(c, cert);
		if (cert->is_wanted) {
			TAILQ_INSERT_TAIL(wanted, cert, wanted_link);
			continue;
		}
		n_done++;
		c->certs.swapped = 0; /* it may be one that was kept for its answer alone */
	}
	if (n_done > 0 && !TAILQ_EMPTY(wanted))
		c->is_behind = true;
	return !TAILQ_EMPTY(wanted);
}

static void want(struct ctl *c, struct ctl_worker *w, const struct weir_cert_id *id)
{
	unsigned i = (unsigned)(w - c->workers);
	struct ctl_cert *cert = find(&c->certs, id);

	if (!cert) {
		complain(c, id, "no snapshot names it");
		answer(w, i, id, NULL);
		return;
	}
	cert->wanted_by[i / 64] |= 1ull << (i % 64);
	if (!cert->is_wanted)
		TAILQ_INSERT_TAIL(&c->certs.wanted, cert, wanted_link);
	cert->is_wanted = true;
}

void ctl_cert_message(struct ctl *c, struct ctl_worker *w, const struct worker_msg *m)
{
	const struct weir_cert_id id = {{m->id, m->version}};

	if (m->type == WORKER_WANTS_CERTIFICATE)
		want(c, w, &id);
	else
		tls_certificate_destroy(m->ptr);
}

void ctl_attach_tls(struct ctl *c, unsigned worker, struct tls *tls)
{
	c->workers[worker].tls = tls;
}

/* What the worker has not taken. Nobody else reads its ring any more; whatever else is in it is main's by other lists. */
static void take_back(const struct worker_msg *m)
{
	if (m->type == WORKER_CERTIFICATE && m->ptr)
		tls_certificate_destroy(m->ptr);
}

void ctl_detach_tls(struct ctl *c, unsigned worker)
{
	struct ctl_worker *w = &c->workers[worker];
	struct worker_msg m;

	if (!w->tls)
		return;
	w->tls = NULL;
	ctl_worker_read(c, w);
	while (rte_ring_dequeue_elem(w->link.to_worker, &m, sizeof(m)) == 0)
		take_back(&m);
	for (; w->n_pending > 0; w->n_pending--) {
		take_back(&w->pending[w->first]);
		w->first = (w->first + 1) % CTL_MAX_PENDING;
	}
}
