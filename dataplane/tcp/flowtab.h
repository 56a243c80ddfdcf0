/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash table from 4-tuples to small numbers, for one worker: sized once,
 * never rehashed, no allocation after creation, and adding cannot fail.
 *
 * A bucket is one cache line: eight signatures of 16 bits, eight numbers, and
 * the link to an overflow bucket. With buckets for twice the entries, 98 % of
 * the lookups that fail read one line, and those that succeed one more: the
 * entry that they are after. rte_hash was not taken: a lookup that fails reads
 * both candidate buckets there, an insertion moves others about, and it keeps
 * copies of the keys (48 bytes more a connection).
 *
 * Chains are dense: an overflow bucket exists only where all before it are
 * full. So n / 8 of them hold any n entries, however they fall. The hash is
 * SipHash with a secret key: a peer cannot make them fall badly.
 */
#ifndef TCP_FLOWTAB_H
#define TCP_FLOWTAB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ip.h"

#define FLOWTAB_WAYS 8
#define FLOWTAB_NONE UINT32_MAX

/* The 4-tuple of an entry, by the number under which it was added. */
typedef const struct ip_flow *flowtab_flow_fn(const void *ctx, uint32_t number);

struct flowtab_bucket {
	uint16_t signature[FLOWTAB_WAYS];
	uint32_t number[FLOWTAB_WAYS]; /* plus 1; 0: free, and all behind it */
	uint32_t next;		       /* overflow bucket plus 1; 0: none */
	uint32_t unused[3];
} __attribute__((aligned(64)));

struct flowtab {
	struct flowtab_bucket *buckets;	 /* [n_buckets], then the overflow buckets */
	struct flowtab_bucket *overflow; /* the latter */
	uint32_t n_buckets;
	uint32_t free; /* overflow buckets that were in use: plus 1, linked by next */
	uint32_t n_overflow, n_fresh; /* overflow buckets; those from n_fresh on were never used, and their memory not touched */
	uint32_t n, max;
	flowtab_flow_fn *flow_of;
	const void *ctx; /* for flow_of */
	uint8_t key[16];
};

/* Room for n_max entries over n_buckets (at least 1) buckets. False: no memory. */
bool flowtab_create(struct flowtab *t, uint32_t n_max, uint32_t n_buckets, const uint8_t key[16], flowtab_flow_fn *flow_of,
		    const void *ctx);
void flowtab_destroy(struct flowtab *t);

uint64_t flowtab_hash(const struct flowtab *t, const struct ip_flow *flow);
/* The number of the entry with this flow, or FLOWTAB_NONE. hash is flowtab_hash(flow), here and below. */
uint32_t flowtab_find(const struct flowtab *t, uint64_t hash, const struct ip_flow *flow);
/* Adds an entry whose flow is not in the table. number is below FLOWTAB_NONE; fewer than n_max are in the table. */
void flowtab_add(struct flowtab *t, uint64_t hash, uint32_t number);
/* Takes out the entry that was added with this hash and number. */
void flowtab_remove(struct flowtab *t, uint64_t hash, uint32_t number);
/* The same flow is from now on another entry. */
void flowtab_replace(struct flowtab *t, uint64_t hash, uint32_t number, uint32_t by);

#endif
