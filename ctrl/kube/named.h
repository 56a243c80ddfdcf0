/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the store at what an API server has of single objects: of Secrets and
 * ConfigMaps, of which only those are read that something refers to. Each has
 * a reflector of its own. What is known of one that is not there is said to
 * the store, too (store_set_absence()).
 */
#ifndef KUBE_NAMED_H
#define KUBE_NAMED_H

#include "kube/reflector.h"

#define NAMED_MAX 1000u	 /* followed at once; the others are STORE_BEYOND */
#define NAMED_ASKING 50u /* that wait for their first answer at once */

struct named;

struct named_status {
	unsigned n_followed;
	unsigned n_pending, n_absent, n_forbidden; /* of these; the rest are there */
	unsigned n_beyond;
	struct reflector_counters counters; /* of all that there were */
};

/* The store and what http has must outlive it. */
struct named *named_create(struct store *store, const struct reflector_http *http, uint64_t seed);
void named_destroy(struct named *n);
/*
 * From now on these are followed: sorted by kind, namespace and name, each
 * once. What was and is not among them leaves the store. Returns the mask of
 * the store's changes, as named_poll() does. The refs are copied.
 */
uint64_t named_want(struct named *n, const struct named_ref *refs, size_t n_refs);
/* Does what there is to do. *next_ms: the time at which it wants to be called at the latest, if that is sooner. */
uint64_t named_poll(struct named *n, uint64_t now_ms, uint64_t *next_ms);
/* As reflector_hurry(), for each. */
void named_hurry(struct named *n, bool is_well, uint64_t now_ms);
/* Of those that are followed, how many have not been answered once, be it that they may not be read. */
size_t named_n_pending(const struct named *n);
void named_status(const struct named *n, struct named_status *out);

#endif
