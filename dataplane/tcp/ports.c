/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local ports of connections that we open: the double-hash choice of RFC 6056
 * 3.3.4. Tries are bounded: with none free it is a refusal, not a search.
 */
#include "base/siphash.h"
#include "tcp/tcp_pvt.h"

#define MAX_TRIES 128

bool port_choose(struct tcp_stack *s, struct ip_flow *flow, uint32_t *min_iss)
{
	uint32_t range = (uint32_t)s->cfg.port_hi - s->cfg.port_lo + 1;
	struct tw *old = NULL;
	uint64_t h;
	uint32_t *counter;

	*min_iss = 0;
	flow->local_port = 0;
	h = siphash(flow, sizeof(*flow), s->cfg.secret);
	counter = &s->port_counter[(h >> 32) % N_PORT_COUNTERS];
	for (unsigned i = 0; i < MAX_TRIES && i < range; i++) {
		struct flow_hit hit;

		flow->local_port = (uint16_t)(s->cfg.port_lo + ((uint32_t)h + (*counter)++) % range);
		table_lookup(s, flow, &hit);
		if (!hit.conn && !hit.syn && !hit.tw)
			return true;
		if (!old && hit.tw && timewait_may_reuse(s, hit.tw))
			old = hit.tw;
	}
	if (!old)
		return false;
	*flow = old->flow;
	timewait_reuse(s, old, min_iss);
	return true;
}
