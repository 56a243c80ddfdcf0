/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots and endpoint sets: copied out of the arena, checked, copied for
 * each worker, counted until the last worker gave its copy back. Only the
 * private copy is ever looked at; the arena belongs to the peer.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/log.h"
#include "base/wake.h"
#include "ctl_pvt.h"
#include "snapshot/snapshot.h"

#include <rte_malloc.h>
#include <rte_memzone.h>
#include <rte_ring.h>
#include <rte_ring_elem.h>

#define HUGE_PAGE (2u << 20)
#define SET_MAX_BYTES (sizeof(struct weir_endpoint_set) + (uint64_t)WEIR_ENDPOINTS_MAX * sizeof(struct weir_endpoint))

/* Large tables are read at random: with small pages each look-up would miss the TLB several times, too. In vain on hugepages. */
static void advise_huge(void *p, size_t n)
{
	uintptr_t from = RTE_ALIGN_CEIL((uintptr_t)p, HUGE_PAGE);
	uintptr_t to = RTE_ALIGN_FLOOR((uintptr_t)p + n, HUGE_PAGE);

	if (from < to)
		madvise((void *)from, to - from, MADV_HUGEPAGE);
}

/* Memory on the worker's node, or, where DPDK's is short (--no-huge), of the process. */
static struct ctl_copy *copy_create(struct ctl *c, struct ctl_worker *w, struct ctl_blob *b, const void *bytes,
				    size_t n)
{
	int socket = w->link.to_worker->memzone ? w->link.to_worker->memzone->socket_id : SOCKET_ID_ANY;
	struct ctl_copy *copy = rte_malloc_socket("weir_blob", sizeof(*copy) + n, 64, socket);
	bool is_rte = copy != NULL;

	if (!copy && posix_memalign((void **)&copy, 64, sizeof(*copy) + n) != 0)
		return NULL;
	advise_huge(copy, sizeof(*copy) + n);
	copy->is_rte = is_rte;
	copy->blob = b;
	memcpy(copy + 1, bytes, n);
	LIST_INSERT_HEAD(&c->copies, copy, link);
	b->n_copies++;
	return copy;
}

static void copy_destroy(struct ctl_copy *copy)
{
	LIST_REMOVE(copy, link);
	copy->blob->n_copies--;
	if (copy->is_rte)
		rte_free(copy);
	else
		free(copy);
}

void ctl_worker_send(struct ctl_worker *w, const struct worker_msg *m)
{
	if (w->n_pending == 0 && rte_ring_enqueue_elem(w->link.to_worker, (void *)(uintptr_t)m, sizeof(*m)) == 0) {
		wake_up(w->link.wake);
		return;
	}
	if (w->n_pending == CTL_MAX_PENDING) {
		log_error("control: a worker takes no messages; one of type %u is lost", m->type);
		return;
	}
	w->pending[(w->first + w->n_pending++) % CTL_MAX_PENDING] = *m;
}

static void worker_flush(struct ctl_worker *w)
{
	while (w->n_pending > 0) {
		if (rte_ring_enqueue_elem(w->link.to_worker, &w->pending[w->first], sizeof(struct worker_msg)) != 0)
			return;
		wake_up(w->link.wake);
		w->first = (w->first + 1) % CTL_MAX_PENDING;
		w->n_pending--;
	}
}

/* A copy for each worker first, so that all workers get it or none. */
static enum weir_refusal blob_send(struct ctl *c, struct ctl_blob *b, const void *bytes, size_t n)
{
	struct ctl_copy *copies[WEIR_MAX_WORKERS];
	bool is_snapshot = b->type == WEIR_MSG_SNAPSHOT;

	for (unsigned i = 0; i < c->n_workers; i++) {
		copies[i] = copy_create(c, &c->workers[i], b, bytes, n);
		if (!copies[i]) {
			while (i-- > 0)
				copy_destroy(copies[i]);
			return WEIR_REFUSED_NO_MEMORY;
		}
	}
	if (is_snapshot)
		b->number = ++c->number;
	for (unsigned i = 0; i < c->n_workers; i++) {
		const struct worker_msg m = {
		    .type = is_snapshot ? WORKER_SNAPSHOT : WORKER_ENDPOINTS,
		    .worker = i,
		    .ptr = copies[i] + 1,
		    .id = is_snapshot ? b->number : b->id,
		    .version = b->version,
		};
		ctl_worker_send(&c->workers[i], &m);
	}
	return WEIR_REFUSED_OK;
}

static enum weir_refusal blob_check(const struct weir_msg *m, const void *bytes, struct snapshot_error *err)
{
	const struct weir_snapshot *s = bytes;
	const struct weir_endpoint_set *e = bytes;
	bool is_snapshot = m->type == WEIR_MSG_SNAPSHOT;
	enum weir_refusal r =
	    is_snapshot ? snapshot_check(bytes, m->size, err) : endpoint_set_check(bytes, m->size, err);

	if (r != WEIR_REFUSED_OK)
		return r;
	if (is_snapshot ? s->generation == m->id : e->backend_id == m->id && e->version == m->version)
		return WEIR_REFUSED_OK;
	strcpy(err->text, "the message and the blob disagree");
	return WEIR_REFUSED_BAD_VALUE;
}

bool ctl_is_in_arena(const struct ctl *c, const struct weir_msg *m)
{
	return m->off % 8 == 0 && m->off <= c->conn.arena_size && m->size <= c->conn.arena_size - m->off;
}

/* What can be said before a byte of the blob is read. */
static enum weir_refusal place_check(const struct ctl *c, const struct weir_msg *m)
{
	bool is_snapshot = m->type == WEIR_MSG_SNAPSHOT;

	if (m->size > (is_snapshot ? WEIR_SNAPSHOT_MAX_BYTES : SET_MAX_BYTES))
		return WEIR_REFUSED_TOO_BIG;
	if (!ctl_is_in_arena(c, m))
		return WEIR_REFUSED_BAD_PLACE;
	if (m->size < (is_snapshot ? sizeof(struct weir_snapshot) : sizeof(struct weir_endpoint_set)))
		return WEIR_REFUSED_TRUNCATED;
	if (is_snapshot && m->id <= c->conn.generation)
		return WEIR_REFUSED_STALE;
	if (is_snapshot && c->n_snapshots >= CTL_MAX_GENERATIONS)
		return WEIR_REFUSED_BUSY;
	return WEIR_REFUSED_OK;
}

static enum weir_refusal blob_read(struct ctl *c, const struct weir_msg *m, struct snapshot_error *err)
{
	enum weir_refusal r = place_check(c, m);
	struct ctl_blob *b;
	void *bytes;

	if (r != WEIR_REFUSED_OK)
		return r;
	b = calloc(1, sizeof(*b));
	bytes = malloc(m->size);
	if (!b || !bytes) {
		free(b);
		free(bytes);
		return WEIR_REFUSED_NO_MEMORY;
	}
	memcpy(bytes, c->conn.arena + m->off, m->size);
	*b = (struct ctl_blob){
	    .type = m->type, .epoch = c->conn.epoch, .id = m->id, .version = m->version, .received_us = ctl_now_us()};
	r = blob_check(m, bytes, err);
	if (r == WEIR_REFUSED_OK && m->type == WEIR_MSG_SNAPSHOT && !ctl_certs_are_held(c, bytes, err))
		r = WEIR_REFUSED_NO_CERTIFICATE;
	if (r == WEIR_REFUSED_OK)
		r = blob_send(c, b, bytes, m->size);
	if (r == WEIR_REFUSED_OK && m->type == WEIR_MSG_SNAPSHOT)
		ctl_certs_named(c, bytes, b->number);
	free(bytes);
	if (r != WEIR_REFUSED_OK) {
		free(b);
	} else if (m->type == WEIR_MSG_SNAPSHOT) {
		TAILQ_INSERT_TAIL(&c->snapshots, b, link);
		c->n_snapshots++;
		c->conn.generation = m->id;
	} else {
		TAILQ_INSERT_TAIL(&c->sets, b, link);
		c->n_sets++;
	}
	return r;
}

void ctl_blob_answer(struct ctl *c, const struct weir_msg *m, enum weir_refusal r, const char *what, const char *why)
{
	static const char *const names[] = {
#define X(name, str, help) str,
		WEIR_REFUSALS(X)
#undef X
	};
	struct weir_msg answer = *m;

	if (r != WEIR_REFUSED_OK)
		log_warn("control: %s refused: %s%s%s", what, names[r], why[0] ? ": " : "", why);
	answer.type = WEIR_MSG_BLOB_DONE;
	answer.status = r;
	answer.t_us = 0;
	answer.about = m->type;
	ctl_ack(c, &answer);
}

void ctl_blob_take(struct ctl *c, const struct weir_msg *m)
{
	struct snapshot_error err = {.text = ""};
	enum weir_refusal r = blob_read(c, m, &err);
	bool is_snapshot = m->type == WEIR_MSG_SNAPSHOT;
	char what[64];

	if (is_snapshot)
		*(r ? &c->stats->snapshots_refused : &c->stats->snapshots_taken) += 1;
	else
		*(r ? &c->stats->endpoint_sets_refused : &c->stats->endpoint_sets_taken) += 1;
	snprintf(what, sizeof(what), "%s %" PRIu64, is_snapshot ? "snapshot" : "endpoint set", m->id);
	ctl_blob_answer(c, m, r, what, err.text);
}

static void tell(struct ctl *c, const struct ctl_blob *b, enum weir_msg_type type)
{
	const struct weir_msg m = {
	    .type = type, .id = b->id, .version = b->version, .t_us = ctl_now_us() - b->received_us};

	if (c->conn.fd >= 0 && b->epoch == c->conn.epoch)
		ctl_ack(c, &m);
}

/* Snapshots that every worker serves or has passed are live; those that no worker holds any more are gone. */
static void snapshots_settle(struct ctl *c)
{
	uint64_t all = UINT64_MAX;
	struct ctl_blob *b, *next;

	for (unsigned i = 0; i < c->n_workers; i++)
		all = c->workers[i].swapped < all ? c->workers[i].swapped : all;
	for (b = TAILQ_FIRST(&c->snapshots); b; b = next) {
		next = TAILQ_NEXT(b, link);
		if (!b->is_live && b->number <= all) {
			b->is_live = true;
			c->stats->live_generation = b->id;
			tell(c, b, WEIR_MSG_LIVE);
		}
		if (!b->is_live || b->n_copies > 0)
			continue;
		tell(c, b, WEIR_MSG_RETIRED);
		TAILQ_REMOVE(&c->snapshots, b, link);
		c->n_snapshots--;
		free(b);
	}
	ctl_certs_settle(c, all);
}

static void set_taken(struct ctl *c, struct ctl_copy *copy)
{
	struct ctl_blob *b = copy->blob;

	copy_destroy(copy);
	if (b->n_copies > 0)
		return;
	tell(c, b, WEIR_MSG_ENDPOINTS_LIVE);
	TAILQ_REMOVE(&c->sets, b, link);
	c->n_sets--;
	free(b);
}

static void worker_answer(struct ctl *c, struct ctl_worker *w, const struct worker_msg *m)
{
	switch (m->type) {
	case WORKER_SWAPPED:
		if (m->id > w->swapped)
			w->swapped = m->id;
		break;
	case WORKER_RELEASED:
		copy_destroy((struct ctl_copy *)m->ptr - 1);
		break;
	case WORKER_ENDPOINTS_TAKEN:
		set_taken(c, (struct ctl_copy *)m->ptr - 1);
		break;
	case WORKER_DRAINED:
		c->n_drained++;
		break;
	case WORKER_STOPPED:
		c->n_stopped++;
		break;
	case WORKER_WALKED:
	case WORKER_CAPTURE_STOPPED:
		ctl_diag_answer(c, m);
		break;
	case WORKER_WANTS_CERTIFICATE:
	case WORKER_CERTIFICATE_RELEASED:
		ctl_cert_message(c, w, m);
		break;
	case WORKER_TICKET_KEYS_TAKEN:
		ctl_tickets_taken(c);
		break;
	case WORKER_FIB_TAKEN:
		ctl_paths_taken(c, m->ptr);
		break;
	default:
		log_error("control: unknown message %u from a worker", m->type);
	}
}

void ctl_worker_read(struct ctl *c, struct ctl_worker *w)
{
	struct worker_msg m;

	while (rte_ring_dequeue_elem(w->link.to_main, &m, sizeof(m)) == 0)
		worker_answer(c, w, &m);
}

bool ctl_workers_poll(struct ctl *c)
{
	bool owed = c->n_sets > 0 || (c->is_draining && c->n_drained < c->n_workers);
	struct ctl_blob *b;

	for (unsigned i = 0; i < c->n_workers; i++) {
		struct ctl_worker *w = &c->workers[i];

		worker_flush(w);
		ctl_worker_read(c, w);
		owed = owed || w->n_pending > 0;
	}
	owed = ctl_certs_poll(c) || owed;
	owed = ctl_tickets_poll(c) || owed;
	owed = ctl_paths_poll(c) || owed;
	snapshots_settle(c);
	owed = ctl_diag_poll(c) || owed;
	/* The one that is served stays with the workers; an older one comes back when its last request has ended. */
	b = TAILQ_LAST(&c->snapshots, ctl_blobs);
	return owed || (b && !b->is_live) || c->n_snapshots > 1;
}

void ctl_blobs_destroy(struct ctl *c)
{
	struct ctl_copy *copy;
	struct ctl_blob *b;

	while ((copy = LIST_FIRST(&c->copies)))
		copy_destroy(copy);
	while ((b = TAILQ_FIRST(&c->snapshots))) {
		TAILQ_REMOVE(&c->snapshots, b, link);
		free(b);
	}
	while ((b = TAILQ_FIRST(&c->sets))) {
		TAILQ_REMOVE(&c->sets, b, link);
		free(b);
	}
}
