/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose request to an OCSP responder goes out next. There are bounds for all together, for each responder and for each namespace; what
 * they leave room for is given in rounds over the namespaces: who has the fewest requests under way, and of those who was served the
 * longest time ago. So one whose responders are slow takes some of the room, and never the turn of another. Pure: no clock.
 *
 * turns_wait() for each that is due, then turns_run().
 */
#ifndef OCSP_TURNS_H
#define OCSP_TURNS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#define STAPLER_IN_FLIGHT_MAX 32u
#define STAPLER_IN_FLIGHT_OF_HOST 8u /* of one responder */
#define STAPLER_IN_FLIGHT_OF_NAMESPACE 8u /* of all responders of its certificates */

/* X(enumerator, metric's label, text). Why a request that is due has not gone out. */
#define STAPLER_WAITS(X) \
	X(NONE, "none", "") \
	X(NAMESPACE, "namespace", "its turn comes: as many requests of its namespace are under way as may be") \
	X(TOTAL, "total", "its turn comes: as many requests are under way as may be") \
	X(RESPONDER, "responder", "its turn comes: as many requests to its responder are under way as may be")

enum stapler_wait {
#define X(id, label, text) STAPLER_WAIT_##id,
	STAPLER_WAITS(X)
#undef X
		N_STAPLER_WAITS
};

const char *stapler_wait_name(enum stapler_wait w);
/* NULL of NONE. */
const char *stapler_wait_text(enum stapler_wait w);

struct tenant; /* a namespace */

/* Part of what is asked about; its owner sets host and tenant. */
struct waiter {
	uint64_t host;	       /* hash of the responder */
	struct tenant *tenant; /* got by tenant_get() */
	STAILQ_ENTRY(waiter) next;
};

struct turns;

struct turns *turns_create(void); /* NULL: without memory */
/* All tenants are put. */
void turns_destroy(struct turns *t);
/* Ends the process without memory. */
struct tenant *tenant_get(struct turns *t, const char *ns);
/* x may be NULL. */
void tenant_put(struct turns *t, struct tenant *x);

/* It is due; until turns_run(). */
void turns_wait(struct turns *t, struct waiter *w);
typedef void turns_go_fn(void *ctx, struct waiter *w);
typedef void turns_stay_fn(void *ctx, struct waiter *w, enum stapler_wait why);
/* Calls go for each whose turn it is, which is under way from then on, and then stay for each other. Nobody waits afterwards. */
void turns_run(struct turns *t, turns_go_fn *go, turns_stay_fn *stay, void *ctx);
/* It is not under way any more. */
void turns_land(struct turns *t, const struct waiter *w);
size_t turns_in_flight(const struct turns *t);

#endif
