/* SPDX-License-Identifier: Apache-2.0 */
/* The checker of endpoint sets, which travel alone. */
#include <inttypes.h>

#include "base/hash.h"
#include "base/ip.h"
#include "snapshot/check_pvt.h"

static enum weir_refusal check_endpoint(const struct check *c, const struct weir_endpoint *e, uint32_t i)
{
	if (e->port == 0 || e->weight == 0)
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "endpoint %u: port %u, weight %u", i, e->port, e->weight);
	if (e->flags & ~(WEIR_EP_READY | WEIR_EP_SERVING | WEIR_EP_TERMINATING))
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "endpoint %u has flags %02x", i, e->flags);
	if (ip_is_any(&e->addr))
		return check_refuse(c, WEIR_REFUSED_BAD_VALUE, "endpoint %u has no address", i);
	if (i) {
		int order = memcmp(e[-1].addr.b, e->addr.b, sizeof(e->addr.b));

		if (order > 0 || (order == 0 && e[-1].port >= e->port))
			return check_refuse(c, WEIR_REFUSED_BAD_ORDER, "endpoint %u is not behind the one before it", i);
	}
	return WEIR_REFUSED_OK;
}

enum weir_refusal endpoint_set_check(const void *blob, size_t n, struct snapshot_error *err)
{
	struct check c = {.err = err};
	const struct weir_endpoint_set *s = blob;

	if (err)
		*err = (struct snapshot_error){0};
	if (n < sizeof(*s))
		return check_refuse(&c, WEIR_REFUSED_TRUNCATED, "%zu bytes, the head alone has %zu", n, sizeof(*s));
	if (s->magic != WEIR_ENDPOINTS_MAGIC)
		return check_refuse(&c, WEIR_REFUSED_BAD_MAGIC, "magic is %016" PRIx64, s->magic);
	if (s->abi_major != WEIR_ABI_MAJOR)
		return check_refuse(&c, WEIR_REFUSED_BAD_ABI, "major version %u, spoken here is %u", s->abi_major,
				    WEIR_ABI_MAJOR);
	if (s->n_endpoints > WEIR_ENDPOINTS_MAX)
		return check_refuse(&c, WEIR_REFUSED_TOO_BIG, "%u endpoints, at most %u", s->n_endpoints, WEIR_ENDPOINTS_MAX);
	if (s->size != n || n != sizeof(*s) + (size_t)s->n_endpoints * sizeof(s->ep[0]))
		return check_refuse(&c, WEIR_REFUSED_TRUNCATED, "%zu bytes for %u endpoints, the head says %u", n, s->n_endpoints,
				    s->size);
	if (hash64_zeroed(s, n, offsetof(struct weir_endpoint_set, checksum), 8, 0) != s->checksum)
		return check_refuse(&c, WEIR_REFUSED_BAD_CHECKSUM, "checksum does not fit");
	if (s->backend_id == 0)
		return check_refuse(&c, WEIR_REFUSED_BAD_VALUE, "backend id 0");
	for (uint32_t i = 0; i < s->n_endpoints; i++)
		TRY(check_endpoint(&c, &s->ep[i], i));
	return WEIR_REFUSED_OK;
}
