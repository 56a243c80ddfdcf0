/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which name is looked up when, and what counts as known of it then. It opens
 * no socket and reads no clock: who does (dns.h) is asked, and answers later.
 *
 * A name has two lookups, for A and for AAAA, each with its own answer and its
 * own time: one that fails takes nothing away from the other.
 */
#ifndef RESOLVE_RESOLVER_H
#define RESOLVE_RESOLVER_H

#include "translate/known_names.h"

/* An answer is asked for again after its TTL, but within these. */
#define RESOLVE_TTL_MIN_S 5u
#define RESOLVE_TTL_MAX_S 300u
/* That there is no name, or no address, is asked again after the first, then ever later up to the second. */
#define RESOLVE_ABSENT_MIN_S 5u
#define RESOLVE_ABSENT_MAX_S 60u
/* The same after a failure, with jitter. */
#define RESOLVE_RETRY_MIN_MS 1000u
#define RESOLVE_RETRY_MAX_MS 30000u
/* So long the last answer counts while all later lookups fail; and so long a name that was never answered is waited for. */
#define RESOLVE_KEEP_MS (3600u * 1000u)
#define RESOLVE_IN_FLIGHT_MAX 128u

/* X(enumerator, metric's label, text of a failure or NULL) */
#define RESOLVE_OUTCOMES(X) \
	X(ANSWERED, "answered", NULL) \
	X(NOT_FOUND, "not_found", NULL) \
	X(NO_ADDRESS, "no_address", NULL) \
	X(TIMEOUT, "timeout", "no name server answers in time") \
	X(SERVER_FAILURE, "server_failure", "the name servers answer with a failure (SERVFAIL)") \
	X(REFUSED, "refused", "the name servers refuse to answer (REFUSED)") \
	X(NO_SERVER, "no_server", "no name server can be reached, or all of them fail") \
	X(MALFORMED, "malformed", "the name servers' answer is malformed") \
	X(OTHER, "other", "the lookup fails")

enum resolve_outcome {
#define X(name, label, text) RESOLVE_##name,
	RESOLVE_OUTCOMES(X)
#undef X
		RESOLVE_N_OUTCOMES
};

const char *resolve_outcome_name(enum resolve_outcome o);

struct resolve_answer {
	enum resolve_outcome outcome;
	uint32_t ttl_s;
	bool has_more; /* addresses than fit here: the lowest stay */
	size_t n;
	struct weir_ip addrs[KNOWN_NAME_ADDRS_MAX]; /* sorted, no two alike */
};

void resolve_answer_add(struct resolve_answer *a, const struct weir_ip *ip);

enum { RESOLVE_IP4 = 1, RESOLVE_IP6 = 2 }; /* families */

struct resolver;

/* Looks a name up, an address of one family; is told by resolver_answered(), never before it has returned. */
typedef void resolver_ask_fn(void *ctx, const char *name, bool is_ip6, void *lookup);

struct resolver_options {
	struct known_names *known; /* where what is known goes */
	unsigned families;
	resolver_ask_fn *ask;
	void *ctx;
	uint64_t seed; /* of jitter */
};

struct resolver *resolver_create(const struct resolver_options *options);
/* Nothing of what it has asked for may be answered any more. */
void resolver_destroy(struct resolver *r);
/* The names that are wanted from now on, each once; all others are forgotten. Those that come first are looked up. */
void resolver_want(struct resolver *r, const char *const *names, size_t n, uint64_t now_ms);
/* Asks for what is due. */
void resolver_poll(struct resolver *r, uint64_t now_ms);
/* When to poll it again; UINT64_MAX: not before something is answered or wanted. */
uint64_t resolver_next_ms(const struct resolver *r);
void resolver_answered(struct resolver *r, void *lookup, const struct resolve_answer *a, uint64_t now_ms);

struct resolver_status {
	size_t n_names;	     /* that are looked up */
	size_t n_not_asked;  /* that are too many */
	size_t n_pending, n_kept, n_failed, n_absent;
	size_t n_in_flight;
	uint64_t oldest_kept_ms; /* how old the oldest answer is that is still used */
	uint64_t n_asked;
	uint64_t outcomes[RESOLVE_N_OUTCOMES];
};

void resolver_status(const struct resolver *r, uint64_t now_ms, struct resolver_status *out);

#endif
