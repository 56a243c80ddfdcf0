/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An API server as the source of objects: one reflector for each kind (and
 * namespace), all over one connection. A server that is away, or answers
 * nonsense, never takes anything from the store.
 */
#ifndef CTRL_SOURCE_KUBE_H
#define CTRL_SOURCE_KUBE_H

#include "kube/config.h"
#include "kube/named.h"
#include "kube/reflector.h"

/*
 * So long the next one of the first answers of named objects is waited for, and so long all of them: until then the routes that
 * the dataplane has stay, with the certificates that they name.
 */
#define SOURCE_KUBE_NAMED_MS 5000u
#define SOURCE_KUBE_ALL_NAMED_MS 60000u

struct source_kube;

struct source_kube_status {
	const char *server;	   /* "https://host:port" */
	bool is_synced;		   /* source_kube_is_synced() */
	unsigned n_reflectors, n_healthy, n_synced;
	uint64_t age_ms;	   /* since the oldest kind was last known to be up to date; 0 while all are healthy */
	struct reflector_counters counters; /* of all kinds */
};

/*
 * Takes over the configuration (*c is empty afterwards). namespaces: only
 * these (n_namespaces 0: all). selector: only Ingresses, Gateways, ListenerSets
 * and routes with these labels (NULL: all). node: the Node that we run on, for
 * its zone (NULL: not known). The strings must outlive it. NULL and errno after
 * logging.
 */
struct source_kube *source_kube_create(struct kube_config *c, const char *const *namespaces, size_t n_namespaces,
				       const char *selector, const char *node, struct store *s);
/*
 * Policies (BackendTLSPolicy) that we may not read (403) are done without, as other optional kinds are; else nothing
 * is published before they can be read. Before the first poll.
 */
void source_kube_allow_unread_policies(struct source_kube *k);
/* All Nodes are followed, for the ways to their pods; those that we may not read (403) are done without. Before the first poll. */
void source_kube_follow_nodes(struct source_kube *k, struct store *s);
void source_kube_destroy(struct source_kube *k);
/* For epoll. */
int source_kube_fd(const struct source_kube *k);
/*
 * Does what there is to do now; to be called when the descriptor is readable,
 * and after *timeout_ms (-1: never). Returns the mask of changed kinds as
 * store_put() does.
 */
uint64_t source_kube_poll(struct source_kube *k, uint64_t now_ms, int *timeout_ms);
/* Every kind was listed once: what is referred to can be known, and told to source_kube_want(). */
bool source_kube_is_listed(const struct source_kube *k);
/* Which Secrets and ConfigMaps are to be followed from now on: as named_want(). To be called once at least, after the above. */
uint64_t source_kube_want(struct source_kube *k, const struct named_ref *refs, size_t n_refs, uint64_t now_ms);
/*
 * That, and these were answered, or have had their time: what the store has is
 * a whole. Before that nothing of it should be published.
 */
bool source_kube_is_synced(const struct source_kube *k);
void source_kube_status(const struct source_kube *k, uint64_t now_ms, struct source_kube_status *out);
/* Why kinds (of a namespace) are not healthy, one by one: *i is 0 at first. NULL: no more. Valid until the next poll. */
const char *source_kube_problem(const struct source_kube *k, unsigned *i);
/* Of the Secrets and ConfigMaps that something refers to, which are not among the above. */
void source_kube_named(const struct source_kube *k, struct named_status *out);
/* Counters of its connection. */
const struct kube_http_counters *source_kube_http(const struct source_kube *k);
/*
 * A number for what would be followed so: the API server by URL and CA, the
 * namespaces and the selector. Another cluster's, or another part of the same
 * one's, differs.
 */
uint64_t source_kube_identity(const struct kube_config *c, const char *const *namespaces, size_t n_namespaces,
			      const char *selector);
/* The connection, for others that ask the same server. */
struct kube_http *source_kube_connection(struct source_kube *k);

#endif
