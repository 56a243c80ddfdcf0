/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells who owns an object what is wrong with it, as an Event (core v1, which
 * is what `kubectl describe` prints): a Warning for each problem of the model
 * and each Service in use without a ready endpoint, and a Normal one when a
 * Gateway becomes served.
 *
 * What is said again is the same Event with a higher count: when a problem
 * comes back, and from time to time while it stays, since the API server
 * forgets Events after an hour. Its name follows from what it says, so another
 * Weir that takes over finds it. How much is said is bounded as client-go's
 * EventCorrelator does it, by a bucket for each object, and by one for all.
 * Status never waits for it: its requests are its own.
 *
 * It reads no clock and opens no socket; see kube/reflector.h.
 */
#ifndef STATUS_EVENTS_H
#define STATUS_EVENTS_H

#include "kube/reflector.h"
#include "translate/model.h"

#define EVENTS_MAX 4096u	 /* known at a time; more are dropped */
#define EVENTS_IN_FLIGHT 2u
#define EVENTS_PER_S 10u	 /* of all objects */
#define EVENTS_BURST 50u
#define EVENTS_OBJECT_BURST 25u	 /* of one object */
#define EVENTS_OBJECT_MS 300000u /* for one more of it */
#define EVENTS_SETTLE_MS 1000u	 /* a problem that is gone so soon is not told: objects come one by one */
#define EVENTS_REPEAT_MS 1800000u
#define EVENTS_FORGET_MS 3600000u /* as the API server does */
#define EVENTS_REMAKE_MS 200u
#define EVENTS_LOOK_MS 5000u /* the model is looked at without an update, too: of endpoints none may come */
#define EVENTS_BACKOFF_MIN_MS 1000u
#define EVENTS_BACKOFF_MAX_MS 60000u

/* X(name, help) */
#define EVENTS_COUNTERS(X) \
	X(created, "Events created") \
	X(patched, "Events told again, with a higher count") \
	X(dropped, "Events not told, since there were too many, of their object or of all") \
	X(failed, "Requests for Events that failed, or were refused")

struct events_counters {
#define X(name, help) uint64_t name;
	EVENTS_COUNTERS(X)
#undef X
};

struct events;

/* instance: of the process, for reportingInstance; it and what http has must outlive it. NULL without memory. */
struct events *events_create(const struct reflector_http *http, const char *instance, uint64_t seed);
/* Cancels what is under way. */
void events_destroy(struct events *e);
/* As status_writer_update(). */
void events_update(struct events *e, const struct store *s, const struct model *m);
/* What is wrong with an object that is in no model, the one that such is said of; text "": nothing is. */
struct events_note {
	enum kube_kind kind;
	const char *ns, *name, *uid, *version; /* uid "": there is no such object */
	const char *reason, *field, *text;     /* reason, field: constants */
};

/* Holds from then on, until the next one: it is told as a problem of a model is, and told again while it stays. Copies. */
void events_note(struct events *e, const struct events_note *note);
/*
 * Does what there is to do. may_send: it is for us to tell (among many Weirs one does).
 * Returns the time (of now_ms) at which it wants to be called at the latest.
 */
uint64_t events_poll(struct events *e, bool may_send, uint64_t now_ms, int64_t now_s);
/* Events that wait or are under way, but for those that are to be told again one day. */
size_t events_n_waiting(const struct events *e);
const struct events_counters *events_counters(const struct events *e);

#endif
