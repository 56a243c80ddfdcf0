/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens of endpoints, for cookies: 128 bits of SipHash-2-4 over backend,
 * address and port, one half under each half of a 256-bit key. A client that has
 * not the key can neither make the token of an endpoint nor read an address out
 * of one. SipHash and not HMAC-SHA256, since sets are taken over in the worker's
 * loop, where libcrypto's would allocate memory and take ten times as long. Computed
 * once for an endpoint; the way back is a table, which any client may ask for anything.
 */
#include <string.h>

#include "base/siphash.h"
#include "upstream/upstream_pvt.h"

static struct endpoint **bucket(const struct upstream *u, const struct upstream_token *t)
{
	return &u->tokens[t->v[0] & u->token_mask];
}

void affinity_add(struct upstream *u, struct endpoint *e, uint64_t backend_id)
{
	const struct {
		uint64_t backend;
		struct weir_ip addr;
		uint64_t port;
	} what = {backend_id, e->addr, e->port};
	struct endpoint **at;

	for (unsigned i = 0; i < 2; i++)
		e->token.v[i] = siphash(&what, sizeof(what), u->cfg.affinity_key + i * 16);
	at = bucket(u, &e->token);
	e->same_bucket = *at;
	*at = e;
}

void affinity_remove(struct upstream *u, struct endpoint *e)
{
	struct endpoint **p = bucket(u, &e->token);

	while (*p != e)
		p = &(*p)->same_bucket;
	*p = e->same_bucket;
}

struct endpoint *affinity_find(const struct upstream *u, const struct backend *b, const struct upstream_token *t)
{
	struct endpoint *e = *bucket(u, t);

	while (e && !(e->backend == b && memcmp(&e->token, t, sizeof(*t)) == 0))
		e = e->same_bucket;
	return e;
}
