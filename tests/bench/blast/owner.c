/* SPDX-License-Identifier: Apache-2.0 */
#include "owner.h"

#include <arpa/inet.h>

#include "base/hash.h"
#include "base/ip.h"

unsigned owner_of(const struct tuple *t, unsigned n_workers)
{
	const struct ip_flow flow = { /* as the worker sees it */
		.local = ip_from4(htonl(t->remote)),
		.remote = ip_from4(htonl(t->local)),
		.local_port = t->remote_port,
		.remote_port = t->local_port,
	};

	return (unsigned)((hash64(&flow, sizeof(flow), 0) >> 32) % n_workers);
}
