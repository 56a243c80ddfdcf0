/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RACK-TLP (RFC 8985): a segment is lost if one that was sent later has
 * arrived, longer ago than segments get out of order; and if the tail of the
 * data is lost, a probe asks for the ACK that says so. Needs a peer with SACK.
 */
#include "tcp/tcp_pvt.h"

#define MAX_ACK_DELAY_US 200000 /* RFC 8985 7.2 TLP.max_ack_delay: what a peer's delayed ACK may take */
#define PTO_INITIAL_US 1000000	/* no round trip is known */
#define REO_WND_PERSIST 16	/* recoveries */
#define REO_WND_MULT_MAX 255
#define MAX_WAITING 64 /* segments that may only be late and are looked at one by one */

/* RFC 8985 5.2: of two sent in one burst, the later in sequence counts as sent later. */
static bool is_sent_after(uint64_t t1, uint32_t end1, uint64_t t2, uint32_t end2)
{
	return t1 > t2 || (t1 == t2 && seq_gt(end1, end2));
}

/* RFC 8985 6.2, step 2. */
void rack_arrived(struct tcp_conn *c, const struct tcp_seg *g, const struct tcp_ack *a)
{
	struct tcp_flight *f = c->flight;
	uint32_t rtt = (uint32_t)(c->stack->now_us - g->sent_us);

	/*
	 * Was it the retransmission that arrived, or the first transmission after
	 * all? Taken for the former, all that was sent before it would count as
	 * lost. The time stamp tells. A selective acknowledgement echoes what came
	 * before the gap, which says nothing: then what took much less than a round
	 * trip is no answer to the retransmission.
	 */
	if (g->is_resent) {
		uint32_t ts = (uint32_t)(g->sent_us / 1000) + c->ts_offset;

		if (rtt < c->min_rtt_us)
			return;
		if (a->is_cumulative && a->ts_ecr ? (int32_t)(a->ts_ecr - ts) < 0 : rtt < f->rack_rtt_us / 2)
			return;
	}
	if (!is_sent_after(g->sent_us, g->end, f->rack_sent_us, f->rack_end))
		return;
	f->rack_sent_us = g->sent_us;
	f->rack_end = g->end;
	f->rack_rtt_us = rtt;
}

/*
 * Step 4: a duplicate arrived, so the window was too small; at most once a
 * round trip. Of more duplicates than we ever sent the network makes some
 * itself, and they say nothing of the window.
 */
void rack_dsack(struct tcp_conn *c)
{
	struct tcp_flight *f = c->flight;

	if (++c->n_dsacks > c->n_retransmits)
		return;
	c->reordering_seen = true;
	if (f && f->has_dsack_round && seq_lt(c->snd_una, f->dsack_round))
		return;
	if (f) {
		f->has_dsack_round = true;
		f->dsack_round = c->snd_nxt;
	}
	if (c->reo_wnd_mult < REO_WND_MULT_MAX)
		c->reo_wnd_mult++;
	c->reo_wnd_persist = REO_WND_PERSIST;
}

void rack_recovered(struct tcp_conn *c)
{
	if (c->reo_wnd_persist && --c->reo_wnd_persist == 0)
		c->reo_wnd_mult = 1;
}

static uint32_t reorder_window(const struct tcp_conn *c)
{
	const struct tcp_flight *f = c->flight;
	uint64_t wnd;

	if (!c->reordering_seen && (f->recovery == REC_RECOVERY || f->recovery == REC_LOSS ||
				    f->n_sacked >= DUPACK_THRESHOLD || f->sacked > (DUPACK_THRESHOLD - 1u) * c->mss))
		return 0;
	wnd = (uint64_t)c->reo_wnd_mult * (c->min_rtt_us / 4);
	return wnd < c->srtt_us ? (uint32_t)wnd : c->srtt_us;
}

/* Step 5. */
void rack_detect(struct tcp_conn *c, struct tcp_ack *a)
{
	struct tcp_flight *f = c->flight;
	uint32_t wnd = reorder_window(c);
	struct tcp_seg *g = f->oldest;
	unsigned n_waiting = 0;

	f->reorder_at_us = 0;
	while (g && is_sent_after(f->rack_sent_us, f->rack_end, g->sent_us, g->end)) {
		struct tcp_seg *later = g->later;
		uint64_t due = g->sent_us + f->rack_rtt_us + wnd;

		if (due <= c->stack->now_us) {
			a->lost += g->end - g->seq;
			flight_set_lost(c, g);
		} else if (++n_waiting == MAX_WAITING) { /* none that was sent later is due, and the last one is at this time */
			f->reorder_at_us = f->rack_sent_us + f->rack_rtt_us + wnd;
			break;
		} else if (due > f->reorder_at_us) {
			f->reorder_at_us = due;
		}
		g = later;
	}
}

/* RFC 8985 6.3. */
void rack_timeout(struct tcp_conn *c)
{
	struct tcp_flight *f = c->flight;
	uint64_t now = c->stack->now_us;
	uint32_t wait = (f->rack_rtt_us ? f->rack_rtt_us : c->srtt_us) + reorder_window(c);
	struct tcp_seg *g;

	if (f->head->state == SEG_FLYING)
		flight_set_lost(c, f->head);
	g = f->oldest;
	while (g) {
		struct tcp_seg *later = g->later;

		/* Without SACK nothing tells what arrived: all of it counts as lost (RFC 5681 3.1). */
		if (!c->has_sack || g->sent_us + wait <= now)
			flight_set_lost(c, g);
		g = later;
	}
	f->reorder_at_us = 0;
}

/* RFC 8985 7.2. */
uint64_t rack_probe_at(const struct tcp_conn *c)
{
	const struct tcp_flight *f = c->flight;
	uint64_t pto;

	if (!c->has_sack || c->has_tlp || c->backoff || f->recovery == REC_RECOVERY || f->recovery == REC_LOSS ||
	    f->n_sacked || f->lost_head || !f->head)
		return 0;
	pto = c->srtt_us ? 2ull * c->srtt_us : PTO_INITIAL_US;
	if (f->flying <= c->mss) /* a single segment: its ACK may be delayed */
		pto += MAX_ACK_DELAY_US;
	return f->newest->sent_us + pto;
}

/* RFC 8985 7.4.2: was the probe all that repaired a loss? */
void rack_probe_acked(struct tcp_conn *c, uint32_t ack, const struct tcp_ack *a)
{
	if (!c->has_tlp || seq_lt(ack, c->tlp_end))
		return;
	if (!c->tlp_is_resent || a->has_dsack) {
		c->has_tlp = false; /* new data that arrived, or both the original and the probe did */
	} else if (seq_gt(ack, c->tlp_end)) {
		c->has_tlp = false;
		stat_inc(c->stack->stats, WEIR_C_TCP_TLP_RECOVERED);
		recovery_reduce(c, a->prior_flying, false);
	} else if (!a->acked && !a->has_sacked) {
		c->has_tlp = false; /* a duplicate ACK: the probe was one too many */
	}
}
