/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One of many: a Lease (coordination.k8s.io/v1) that one process holds at a
 * time, renews while it lives, and gives back when it ends. As the leader
 * election of client-go does it: clocks of different machines are never
 * compared; a Lease has expired if it did not change here for its duration.
 *
 * It reads no clock and opens no socket; see kube/reflector.h.
 */
#ifndef STATUS_LEASE_H
#define STATUS_LEASE_H

#include "status/exchange.h"

#define LEASE_DURATION_S 15u
#define LEASE_RENEW_MS 5000u
#define LEASE_DEADLINE_MS 10000u /* not renewed for so long: held no more; before others may take it */
#define LEASE_RETRY_MS 1000u
#define LEASE_FORBIDDEN_MS 60000u

/* X(name, help) */
#define LEASE_COUNTERS(X) \
	X(acquired, "Times that the Lease was taken") \
	X(lost, "Times that the Lease was lost") \
	X(renewed, "Renewals of the Lease") \
	X(refused, "Answers 401, 403 and (where it was to be made) 404 for the Lease") \
	X(failed, "Requests for the Lease that failed otherwise")

struct lease_counters {
#define X(name, help) uint64_t name;
	LEASE_COUNTERS(X)
#undef X
};

enum lease_step { LEASE_READ, LEASE_CREATE, LEASE_RENEW, LEASE_GIVE_BACK };

struct lease {
	/* as given to lease_init() */
	const char *ns, *name, *identity;
	struct reflector_http http;

	enum lease_step step; /* of the request under way, else of the next */
	struct exchange exchange;
	uint64_t next_ms, sent_ms, random;
	char version[128]; /* metadata.resourceVersion as last seen, "" */
	uint64_t seen_ms;  /* when that came */
	json_t *seen;	   /* the same as a whole, NULL: none yet */
	char holder[256];
	char acquired[40]; /* spec.acquireTime of ours */
	int64_t transitions;
	bool is_held;
	uint64_t held_until_ms;
	bool is_ending, is_ended;
	bool is_told; /* that it is refused */
	struct lease_counters counters;
};

/* The strings and what http has must outlive it. identity: unique among all that want it. seed: for jitter. */
void lease_init(struct lease *l, const char *ns, const char *name, const char *identity, const struct reflector_http *http,
		uint64_t seed);
void lease_fini(struct lease *l);
/*
 * Does what there is to do. now_s: Unix seconds, for who reads the Lease. Returns
 * the time (of now_ms) at which it wants to be called at the latest.
 */
uint64_t lease_poll(struct lease *l, uint64_t now_ms, int64_t now_s);
bool lease_is_held(const struct lease *l, uint64_t now_ms);
/* It is given back with the next polls, until is_ended. */
void lease_end(struct lease *l);

#endif
