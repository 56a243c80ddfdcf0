/* SPDX-License-Identifier: Apache-2.0 */
/* What befalls a segment on its way. See link.h. */
#include "link.h"

#include <rte_mbuf.h>

#include "heap.h"
#include "sim.h"
#include "wire.h"

#define ECN_CE 3

const char *const sim_fate_names[] = {
#define X(name, str) str,
	SIM_FATES(X)
#undef X
};

static bool chance(struct sim *s, uint32_t ppm)
{
	return ppm && sim_random(s) % 1000000 < ppm;
}

/* Drawn for every segment, so that one that is dropped changes nothing for the ones behind it. */
static enum sim_fate draw_fate(struct sim *s, struct sim_link *l)
{
	if (l->burst_begins_ppm && chance(s, l->in_burst ? l->burst_ends_ppm : l->burst_begins_ppm))
		l->in_burst = !l->in_burst;
	if (l->in_burst && chance(s, l->burst_loss_ppm))
		return SIM_LOST_IN_BURST;
	if (chance(s, l->loss_ppm))
		return SIM_LOST;
	if (chance(s, l->corrupt_ppm))
		return SIM_CORRUPTED;
	return SIM_PASSES;
}

static void send_too_big(struct sim *s, const struct sim_link *l, int to, const struct rte_mbuf *m,
			 const struct tcp_packet *packet)
{
	struct sim_event e = {.kind = EVENT_TOO_BIG, .to = (uint8_t)!to, .mtu = l->mtu, .at_us = s->now_us + l->delay_us};
	struct wire_seg seg;

	wire_parse(m, &seg);
	e.seq = seg.seq;
	e.flow = (struct ip_flow){.local = packet->src, .remote = packet->dst, .local_port = seg.sport, .remote_port = seg.dport};
	heap_push(&s->heap, &e, s->order++);
}

/* Time at which the last bit has left the queue; 0: it is full. Marks. */
static uint64_t pass_queue(struct sim *s, struct sim_link *l, uint32_t bytes, uint8_t *ecn)
{
	uint64_t now_ns = s->now_us * 1000;
	uint64_t start = l->free_at_ns > now_ns ? l->free_at_ns : now_ns;
	uint64_t backlog;

	if (!l->rate_Bps)
		return s->now_us;
	backlog = (start - now_ns) * l->rate_Bps / 1000000000;
	if (backlog + bytes > l->queue_bytes && backlog > 0)
		return 0;
	if (l->mark_bytes && backlog > l->mark_bytes && *ecn) {
		*ecn = ECN_CE;
		l->n_marked++;
	}
	l->free_at_ns = start + (uint64_t)bytes * 1000000000 / l->rate_Bps;
	l->n_bytes += bytes;
	return l->free_at_ns / 1000;
}

static void arrive(struct sim *s, struct sim_link *l, uint64_t at_us, int to, struct rte_mbuf *m,
		   const struct tcp_packet *packet, uint32_t tag)
{
	struct sim_event e = {.kind = EVENT_SEGMENT, .to = (uint8_t)to, .tag = tag, .m = m, .packet = *packet};

	at_us += l->delay_us;
	if (l->jitter_us)
		at_us += sim_random(s) % l->jitter_us;
	if (chance(s, l->reorder_ppm))
		at_us += l->reorder_us;
	else if (l->keeps_order && at_us < l->last_at_us)
		at_us = l->last_at_us;
	else
		l->last_at_us = at_us;
	e.at_us = at_us;
	s->n_packets++;
	heap_push(&s->heap, &e, s->order++);
}

void link_carry(struct sim *s, struct sim_link *l, int to, struct rte_mbuf *m, const struct tcp_packet *packet, uint32_t tag)
{
	struct tcp_packet p = *packet;
	uint32_t bytes = m->pkt_len + (ip_is4(&p.dst) ? 20 : 40);
	enum sim_fate fate = draw_fate(s, l);
	struct rte_mbuf *twin = NULL;
	uint64_t at_us = 0;

	if (l->mtu && bytes > l->mtu) {
		fate = l->hides_mtu ? SIM_TOO_BIG_SILENTLY : SIM_TOO_BIG;
		if (!l->hides_mtu)
			send_too_big(s, l, to, m, packet);
	} else if ((at_us = pass_queue(s, l, bytes, &p.ecn)) == 0) {
		fate = SIM_QUEUE_FULL;
	} else if (s->n_packets >= SIM_MAX_PACKETS) {
		fate = SIM_QUEUE_FULL;
	}
	if (p.ecn && chance(s, l->mark_ppm)) {
		p.ecn = ECN_CE;
		l->n_marked++;
	}
	if (s->fate)
		s->fate(s, !to, m, tag, fate, at_us + l->delay_us);
	if (fate != SIM_PASSES) {
		rte_pktmbuf_free(m);
		return;
	}
	if (chance(s, l->duplicate_ppm) && (twin = rte_pktmbuf_copy(m, s->pool, 0, UINT32_MAX)) != NULL) {
		if (s->fate)
			s->fate(s, !to, m, tag, SIM_DUPLICATED, at_us + l->delay_us);
		arrive(s, l, at_us, to, twin, &p, tag);
	}
	arrive(s, l, at_us, to, m, &p, tag);
}
