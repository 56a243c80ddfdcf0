/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Delivery rate estimation (draft-cheng-iccrg-delivery-rate-estimation; now a
 * part of draft-ietf-ccwg-bbr): how fast data arrived at the peer, over the
 * longer of the intervals in which they were sent and acknowledged.
 */
#include "tcp/tcp_pvt.h"

void rate_sent(struct tcp_conn *c, struct tcp_seg *g)
{
	struct tcp_flight *f = c->flight;

	if (f->flying == 0)
		f->first_sent_us = f->delivered_us = g->sent_us;
	g->first_sent_us = f->first_sent_us;
	g->delivered_us = f->delivered_us;
	g->delivered = c->delivered;
	g->is_app_limited = f->app_limited != 0;
	g->lost = f->lost;
}

void rate_arrived(struct tcp_conn *c, const struct tcp_seg *g, struct tcp_ack *a)
{
	if (a->has_rate && (g->delivered < a->rate.prior_delivered ||
			    (g->delivered == a->rate.prior_delivered && g->sent_us < a->rate_sent_us)))
		return;
	a->has_rate = true;
	a->rate_sent_us = g->sent_us;
	a->rate_first_sent_us = g->first_sent_us;
	a->rate_delivered_us = g->delivered_us;
	a->rate.prior_delivered = g->delivered;
	a->rate.is_app_limited = g->is_app_limited;
	a->rate.tx_in_flight = g->in_flight;
	a->rate.lost = g->lost; /* what was lost before; rate_sample() subtracts */
	c->flight->first_sent_us = g->sent_us;
}

void rate_sample(struct tcp_conn *c, struct tcp_ack *a)
{
	struct tcp_flight *f = c->flight;
	uint64_t now = c->stack->now_us;
	uint64_t sent, acked;

	if (a->delivered)
		f->delivered_us = now;
	if (f->app_limited && c->delivered > f->app_limited)
		f->app_limited = 0;
	if (!a->has_rate)
		return;
	sent = a->rate_sent_us - a->rate_first_sent_us;
	acked = now - a->rate_delivered_us;
	a->rate.interval_us = (uint32_t)(sent > acked ? sent : acked);
	/* Shorter than any round trip: acknowledgements came compressed, it says nothing. */
	if (a->rate.interval_us == 0 || a->rate.interval_us < c->min_rtt_us)
		return;
	a->rate.delivered = c->delivered - a->rate.prior_delivered;
	a->rate.lost = f->lost - a->rate.lost;
}

void rate_app_limited(struct tcp_conn *c)
{
	struct tcp_flight *f = c->flight;

	f->app_limited = c->delivered + f->flying;
	if (!f->app_limited)
		f->app_limited = 1;
}
