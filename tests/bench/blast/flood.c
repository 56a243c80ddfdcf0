/* SPDX-License-Identifier: Apache-2.0 */
/* SYNs from anywhere, which nobody will ever complete: what a worker has to bear. */
#include "blast.h"

/* A unicast address that is neither on the link nor a client's. */
static uint32_t any_source(const struct blast *b, uint64_t r)
{
	uint32_t first = 11 + (uint32_t)(r >> 32) % 200; /* 11 .. 210 */

	if (first == 127 || first == b->o.client_base >> 24 || first == b->o.target >> 24)
		first = 9;
	return first << 24 | ((uint32_t)r & 0xffffff);
}

unsigned flood_send(struct blast *b, unsigned n)
{
	struct segment s = {
		.dst = b->o.target,
		.dst_port = b->o.target_port,
		.flags = SYN,
		.wnd = UINT16_MAX,
		.mss = blast_mss(b),
		.has_ts = b->o.timestamps,
		.has_wscale = true,
		.wscale = WSCALE,
	};

	for (unsigned i = 0; i < n; i++) {
		uint64_t r = blast_random(b);
		uint64_t q = blast_random(b);

		s.src = any_source(b, r);
		s.src_port = (uint16_t)(1024 + (q >> 48) % 64000);
		s.seq = (uint32_t)q;
		s.ts_val = (uint32_t)(q >> 16);
		if (!port_send(b, b->client.port, (unsigned)(r >> 24) % b->client.port->n_queues, &s, NULL, NULL))
			return i;
		b->counts.flood_sent++;
	}
	return n;
}
