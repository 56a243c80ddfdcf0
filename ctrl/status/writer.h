/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the documents of status_make() to the API server: one writer, one
 * queue by object, in which the newest document wins.
 *
 * Each is a server-side apply of what is ours in the status, so that fields
 * which we no longer give vanish by themselves. It carries the object's
 * resourceVersion, and all of HTTPRoute.status.parents, an atomic list that
 * controllers share: should another have written meanwhile (409), nothing of
 * his is overwritten, and it is made again once the store has what he wrote.
 *
 * Among many Weirs the holder of a Lease writes. It reads no clock and opens
 * no socket; see kube/reflector.h.
 */
#ifndef STATUS_WRITER_H
#define STATUS_WRITER_H

#include "kube/reflector.h"
#include "status/events.h"
#include "status/lease.h"
#include "translate/marks.h"
#include "translate/model.h"

#define STATUS_WRITER_MANAGER KUBE_MANAGER /* in managedFields */
#define STATUS_WRITER_IN_FLIGHT 4u
#define STATUS_WRITER_PER_S 50u
#define STATUS_WRITER_BURST 100u
#define STATUS_WRITER_BACKOFF_MIN_MS 500u
#define STATUS_WRITER_BACKOFF_MAX_MS 30000u
#define STATUS_WRITER_REFUSED_MS 60000u /* before what was refused (4xx) is tried again */
#define STATUS_WRITER_AWAIT_MS 10000u	/* for what was written to come back by the watch */
#define STATUS_WRITER_REMAKE_MS 100u	/* between two makings of documents */
#define STATUS_WRITER_RESYNC_MS 60000u	/* all documents are made again: another may have written over ours */

enum status_write { STATUS_WRITE_BY_LEASE, STATUS_WRITE_ALWAYS, STATUS_WRITE_NEVER };

/* X(name, help) */
#define STATUS_WRITER_COUNTERS(X) \
	X(queued, "Status documents that differ from what the object has") \
	X(written, "Statuses written") \
	X(taken, "Statuses from which something was to go that another manager had written: written by merge patch, too") \
	X(given_up, "Statuses of objects that are ours no more, from which what was ours was taken") \
	X(conflicts, "Statuses not written, since the object had changed (409)") \
	X(gone, "Statuses not written, since the object was gone (404)") \
	X(refused, "Statuses that the API server refused (other 4xx)") \
	X(throttled, "Answers 429 to a status") \
	X(failed, "Statuses not written, since the API server failed or did not answer") \
	X(superseded, "Statuses not sent, since the object had changed before or needs none any more")

struct status_writer_counters {
#define X(name, help) uint64_t name;
	STATUS_WRITER_COUNTERS(X)
#undef X
};

struct status_writer_options {
	const char *controller_name; /* as in translate_options */
	enum status_write mode;
	const char *lease_ns, *lease_name; /* BY_LEASE */
	const char *identity;		   /* of the process, for the Lease and for Events */
	bool has_events;		   /* who may write status tells of problems by Events, too */
	uint64_t seed;			   /* for jitter */
};

struct status_writer;

/* The strings and what http has must outlive it. NULL without memory. */
struct status_writer *status_writer_create(const struct status_writer_options *options, const struct reflector_http *http);
/* Cancels what is under way; gives no Lease back. */
void status_writer_destroy(struct status_writer *w);
/*
 * After each sync, with the model of translate() over s. Both are only looked at
 * in status_writer_poll(), until the next update; the model must fit the store whenever that is called.
 * marks: of a translator, as it has them since the last update: only these are made again. They are taken; NULL: all.
 */
void status_writer_update(struct status_writer *w, const struct store *s, const struct model *m, struct marks *marks);
/* What is wrong with an object that is in no store, for events_note(); nothing where no Events are told. */
void status_writer_note(struct status_writer *w, const struct events_note *note);
/* Does what there is to do. now_s: Unix seconds. Returns the time (of now_ms) at which it wants to be called at the latest. */
uint64_t status_writer_poll(struct status_writer *w, uint64_t now_ms, int64_t now_s);
/* Nothing new is sent; when what is under way has ended, the Lease is given back. True: it is done. */
bool status_writer_stop(struct status_writer *w);
/* It may write now. */
bool status_writer_is_writing(const struct status_writer *w, uint64_t now_ms);
/* Documents that wait or are under way. */
size_t status_writer_n_queued(const struct status_writer *w);
const struct status_writer_counters *status_writer_counters(const struct status_writer *w);
const struct lease_counters *status_writer_lease(const struct status_writer *w);
const struct events *status_writer_events(const struct status_writer *w); /* NULL: none are told */

#endif
