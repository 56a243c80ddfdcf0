/* SPDX-License-Identifier: Apache-2.0 */
/* What the algorithms that hash share. */
#ifndef UPSTREAM_BALANCE_HASH_H
#define UPSTREAM_BALANCE_HASH_H

#include <string.h>

#include "base/hash.h"
#include "upstream/upstream_pvt.h"

/* Of an endpoint's address and port alone: workers, and nodes, agree. */
static inline uint64_t endpoint_hash(const struct endpoint *e, uint32_t salt)
{
	struct {
		struct weir_ip addr;
		uint32_t port, salt;
	} k = {e->addr, e->port, salt};

	return hash64(&k, sizeof(k), 0);
}

#endif
