/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local ports of connections that we open: the double-hash choice of RFC 6056
 * 3.3.4. Tries are bounded: with none free it is a refusal, not a search.
 */
#include "base/siphash.h"
#include "tcp/tcp_pvt.h"

#define MAX_TRIES 128

/* A TIME-WAIT of ours may be taken again once the clock of its time stamps has moved (RFC 6191). */
static bool is_reusable(const struct tcp_conn *c)
{
	return c->state == TCP_TIME_WAIT && c->has_ts && c->is_detached && c->stack->now_us - c->last_rx_us > 1000000;
}

bool port_choose(struct tcp_stack *s, struct ip_flow *flow, uint32_t *min_iss)
{
	uint32_t range = (uint32_t)s->cfg.port_hi - s->cfg.port_lo + 1;
	struct tcp_conn *old = NULL;
	uint64_t h;
	uint32_t *counter;

	*min_iss = 0;
	flow->local_port = 0;
	h = siphash(flow, sizeof(*flow), s->cfg.secret);
	counter = &s->port_counter[(h >> 32) % N_PORT_COUNTERS];
	for (unsigned i = 0; i < MAX_TRIES && i < range; i++) {
		struct tcp_conn *c;

		flow->local_port = (uint16_t)(s->cfg.port_lo + ((uint32_t)h + (*counter)++) % range);
		c = table_find(s, flow);
		if (!c)
			return true;
		if (!old && is_reusable(c))
			old = c;
	}
	if (!old)
		return false;
	*flow = old->flow;
	*min_iss = old->snd_nxt + 1;
	conn_drop(old, WEIR_R_CLOSE_NORMAL);
	return true;
}
