/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses of Gateways out of a pool. A pure function of the pool and of what
 * the Gateways ask for and have: the same objects, whose statuses tell what they have, give the same addresses on
 * every node. Who holds an address keeps it; among equals the older one does.
 */
#ifndef TRANSLATE_ADDRESSES_H
#define TRANSLATE_ADDRESSES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "translate/age.h"
#include "weir/types.h"

/* From first to last, both included, of one family. */
struct address_range {
	struct weir_ip first, last;
};

/* Zeroed is empty. */
struct address_pool {
	struct address_range *ranges;
	size_t n, cap;
};

/* Adds "192.0.2.0/28" (all of it), "192.0.2.1-192.0.2.9" or "2001:db8::1". 0, or -EINVAL if text is none of these. */
int address_pool_add(struct address_pool *p, const char *text) __attribute__((warn_unused_result));
void address_pool_fini(struct address_pool *p);
bool address_pool_has(const struct address_pool *p, const struct weir_ip *ip);

#define ADDRESSES_MAX 16u /* of a Gateway */

enum address_outcome {
	ADDRESS_USABLE,
	ADDRESS_NOT_IN_POOL,
	ADDRESS_IN_USE, /* by another Gateway */
};

/* What a Gateway asks for, and what it gets. */
struct address_request {
	struct age age; /* of the Gateway, whose name it has */
	size_t n_wanted; /* addresses of its spec */
	struct weir_ip wanted[ADDRESSES_MAX];
	unsigned n_free4, n_free6; /* how many of any value it wants besides */
	size_t n_given;		   /* addresses that it has now */
	struct weir_ip given[ADDRESSES_MAX];
	bool is_untold; /* its status does not say so yet (held.h): one whose status does comes first */
	/* the answer */
	enum address_outcome outcome[ADDRESSES_MAX]; /* of each wanted one */
	size_t n_got; /* those that are usable, then those of any value */
	struct weir_ip got[ADDRESSES_MAX];
	unsigned n_lacking; /* of any value, that the pool did not have */
};

/*
 * Answers n requests. pool NULL: what is wanted is usable, any value is lacking.
 * First come the addresses that a Gateway wants or may choose and that it has, by its status or else as it was given them,
 * then others that are wanted, then any value: the lowest that is free.
 */
void addresses_assign(const struct address_pool *pool, struct address_request *r, size_t n);

#endif
