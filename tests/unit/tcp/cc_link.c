/* SPDX-License-Identifier: Apache-2.0 */
/* See cc_link.h. Delivery rate samples are those of draft-ietf-ccwg-bbr 4.1.2. */
#include "cc_link.h"

#include <assert.h>
#include <string.h>

#define RTO_NS 300000000ull
#define REORDER_PACKETS 3 /* a hole is a loss when so many later packets have arrived */

static uint32_t random_u32(struct link *l)
{
	l->seed ^= l->seed << 13;
	l->seed ^= l->seed >> 7;
	l->seed ^= l->seed << 17;
	return (uint32_t)(l->seed >> 16);
}

static struct link_packet *packet(struct link *l, uint64_t n)
{
	return &l->ring[n % LINK_RING];
}

uint64_t link_bdp(const struct link *l)
{
	return l->rate * l->rtt_us / 1000000;
}

void link_init(struct link *l, const struct cc_ops *ops)
{
	memset(l, 0, sizeof(*l));
	assert(ops->state_bytes <= sizeof(l->state));
	l->seed = 0x5eed;
	l->min_rtt_us = UINT32_MAX;
	l->now_ns = l->last_progress_ns = 1000000000;
	cc_init(&l->cc, ops, ops->state_bytes ? l->state : NULL, LINK_MSS, l->now_ns / 1000);
}

void link_pause_app(struct link *l, uint64_t us)
{
	l->app_paused_until_ns = l->now_ns + us * 1000;
}

static uint64_t round_up(uint64_t v, uint64_t to)
{
	return (v + to - 1) / to * to;
}

/* When the ACK of a packet sent now comes back, 0 if it is dropped. Half of the delay is behind the bottleneck. */
static uint64_t cross(struct link *l)
{
	uint64_t at = l->now_ns + l->rtt_us * 500ull;
	uint64_t begin = at > l->free_ns ? at : l->free_ns;
	uint64_t queue = (begin - at) * l->rate / 1000000000;

	if (queue > l->queue_bytes) {
		l->n_overflows++;
		return 0;
	}
	if (queue > l->max_queue_bytes)
		l->max_queue_bytes = queue;
	l->free_ns = begin + LINK_MSS * 1000000000ull / l->rate;
	if (random_u32(l) % 1000000 < l->loss_ppm) {
		l->n_random_losses++;
		return 0;
	}
	at = l->free_ns + l->rtt_us * 500ull;
	return l->ack_slot_us ? round_up(at, l->ack_slot_us * 1000ull) : at;
}

static void send_packet(struct link *l)
{
	struct link_packet *p = packet(l, l->next);
	uint64_t rate = l->cc.ops->pacing_rate(&l->cc, LINK_MSS, l->srtt_us);

	assert(l->next - l->head < LINK_RING);
	if (l->flying == 0) {
		uint64_t idle_us = (l->now_ns - l->last_progress_ns) / 1000;

		l->first_send_ns = l->delivered_ns = l->now_ns;
		if (l->next && !l->is_recovering)
			l->cc.ops->restart(&l->cc, LINK_MSS, RTO_NS / 1000, idle_us, l->now_ns / 1000);
		l->last_progress_ns = l->now_ns;
	}
	l->flying += LINK_MSS;
	*p = (struct link_packet){
		.sent_ns = l->now_ns,
		.ack_ns = cross(l),
		.delivered = l->delivered,
		.delivered_ns = l->delivered_ns,
		.first_send_ns = l->first_send_ns,
		.lost = l->lost,
		.tx_in_flight = l->flying,
		.is_app_limited = l->app_limited != 0,
	};
	l->next++;
	l->n_sent++;
	if (l->flying > l->max_flying)
		l->max_flying = l->flying;
	if (l->app_rate)
		l->app_bytes -= LINK_MSS;
	if (l->next_send_ns < l->now_ns)
		l->next_send_ns = l->now_ns;
	if (rate)
		l->next_send_ns += LINK_MSS * 1000000000ull / rate;
}

static bool has_data(struct link *l)
{
	if (l->now_ns < l->app_paused_until_ns) {
		l->app_since_ns = l->now_ns;
		return false;
	}
	if (!l->app_rate)
		return true;
	if (l->app_since_ns == 0)
		l->app_since_ns = l->now_ns;
	if (l->now_ns - l->app_since_ns >= 100000) {
		l->app_bytes += (l->now_ns - l->app_since_ns) * l->app_rate / 1000000000;
		l->app_since_ns = l->now_ns;
	}
	return l->app_bytes >= LINK_MSS;
}

static void send_all(struct link *l)
{
	while (l->flying + LINK_MSS <= l->cc.cwnd) {
		if (l->next_send_ns > l->now_ns)
			return;
		if (!has_data(l)) {
			l->app_limited = l->delivered + l->flying; /* CheckIfApplicationLimited */
			return;
		}
		send_packet(l);
	}
	l->is_cwnd_limited = true;
}

static void mark_lost(struct link *l, uint64_t n)
{
	struct link_packet *p = packet(l, n);

	l->flying -= LINK_MSS;
	l->lost += LINK_MSS;
	l->lost_in_ack += LINK_MSS;
	l->is_new_episode |= n >= l->recover;
	l->loss = (struct cc_loss){
		.bytes = LINK_MSS,
		.tx_in_flight = p->tx_in_flight,
		.lost = (uint32_t)(l->lost - p->lost),
		.is_app_limited = p->is_app_limited,
	};
	if (l->app_rate)
		l->app_bytes += LINK_MSS;
}

static void find_losses(struct link *l, uint64_t newest)
{
	for (; l->next_loss + REORDER_PACKETS <= newest; l->next_loss++)
		if (packet(l, l->next_loss)->ack_ns == 0)
			mark_lost(l, l->next_loss);
}

static void rate_sample(struct link *l, struct cc_ack *a, const struct link_packet *p)
{
	uint64_t send_ns = p->sent_ns - p->first_send_ns;
	uint64_t ack_ns = l->now_ns - p->delivered_ns;
	uint64_t interval_us = (send_ns > ack_ns ? send_ns : ack_ns) / 1000;

	l->first_send_ns = p->sent_ns;
	if (l->app_limited && l->delivered > l->app_limited)
		l->app_limited = 0;
	if (interval_us < l->min_rtt_us)
		return;
	a->rate = (struct cc_rate){
		.delivered = l->delivered - p->delivered,
		.interval_us = (uint32_t)interval_us,
		.prior_delivered = p->delivered,
		.tx_in_flight = p->tx_in_flight,
		.lost = (uint32_t)(l->lost - p->lost),
		.is_app_limited = p->is_app_limited,
	};
}

/* What was lost begins a recovery unless it was sent before the last one began; it ends when a newer packet arrives. */
static void recover(struct link *l, uint32_t prior_flying)
{
	if (!l->is_new_episode)
		return;
	l->is_new_episode = false;
	l->n_recoveries++;
	l->is_recovering = true;
	l->recover = l->next;
	l->cc.ops->congested(&l->cc, prior_flying, LINK_MSS, l->now_ns / 1000, false);
	if (!l->cc.ops->owns_cwnd)
		l->cc.cwnd = l->cc.ssthresh;
}

static void receive_ack(struct link *l)
{
	struct cc_ack a = {.now_us = l->now_ns / 1000, .mss = LINK_MSS, .prior_flying = l->flying};
	struct link_packet *newest = NULL;
	uint64_t newest_n = 0;

	for (; l->next_ack < l->next; l->next_ack++) {
		struct link_packet *p = packet(l, l->next_ack);

		if (p->ack_ns > l->now_ns)
			break;
		if (p->ack_ns == 0)
			continue;
		a.acked += LINK_MSS;
		newest = p;
		newest_n = l->next_ack;
	}
	assert(newest);
	l->flying -= a.acked;
	l->delivered += a.acked;
	l->delivered_ns = l->last_progress_ns = l->now_ns;
	a.rtt_us = (uint32_t)((l->now_ns - newest->sent_ns) / 1000);
	l->min_rtt_us = a.rtt_us < l->min_rtt_us ? a.rtt_us : l->min_rtt_us;
	l->srtt_us = l->srtt_us ? (l->srtt_us * 7 + a.rtt_us) / 8 : a.rtt_us;
	find_losses(l, newest_n);
	if (l->is_recovering && newest_n >= l->recover)
		l->is_recovering = false;
	recover(l, a.prior_flying);
	rate_sample(l, &a, newest);
	for (l->head = l->next_loss; l->head < l->next_ack && packet(l, l->head)->ack_ns; l->head++)
		;

	a.lost = l->lost_in_ack;
	a.loss = l->loss;
	a.flying = l->flying;
	a.srtt_us = l->srtt_us;
	a.min_rtt_us = l->min_rtt_us;
	a.una = (uint32_t)l->head * LINK_MSS;
	a.nxt = (uint32_t)l->next * LINK_MSS;
	a.delivered = l->delivered;
	a.is_cwnd_limited = l->is_cwnd_limited;
	a.is_recovering = l->is_recovering;
	l->lost_in_ack = 0;
	l->loss = (struct cc_loss){};
	l->is_cwnd_limited = false;
	l->cc.ops->acked(&l->cc, &a);
	if (l->on_ack)
		l->on_ack(l, &a);
}

/* Nothing in flight will arrive any more. */
static void time_out(struct link *l)
{
	uint32_t flying = l->flying;

	for (uint64_t n = l->next_loss; n < l->next; n++)
		if (packet(l, n)->ack_ns == 0)
			mark_lost(l, n);
	assert(l->flying == 0);
	l->next_ack = l->next_loss = l->head = l->next;
	l->is_new_episode = false;
	l->n_timeouts++;
	l->is_recovering = true;
	l->recover = l->next;
	l->last_progress_ns = l->now_ns;
	l->cc.ops->timeout(&l->cc, flying, LINK_MSS, l->now_ns / 1000);
}

static uint64_t next_arrival_ns(struct link *l)
{
	for (uint64_t n = l->next_ack; n < l->next; n++)
		if (packet(l, n)->ack_ns)
			return packet(l, n)->ack_ns;
	return UINT64_MAX;
}

/* When the sender could go on by itself: the pacer, or the application. */
static uint64_t next_send_ns(struct link *l)
{
	if (l->flying + LINK_MSS > l->cc.cwnd)
		return UINT64_MAX;
	if (l->next_send_ns > l->now_ns)
		return l->next_send_ns;
	return l->now_ns < l->app_paused_until_ns ? l->app_paused_until_ns : l->now_ns + 100000;
}

void link_run(struct link *l, uint64_t us)
{
	uint64_t end = l->now_ns + us * 1000;

	l->is_stopped = false;
	while (!l->is_stopped) {
		uint64_t ack, send, rto, at;

		send_all(l);
		ack = next_arrival_ns(l);
		send = next_send_ns(l);
		rto = l->flying && ack == UINT64_MAX ? l->last_progress_ns + RTO_NS : UINT64_MAX;
		at = ack < send ? ack : send;
		at = at < rto ? at : rto;
		if (at > end) {
			l->now_ns = end;
			return;
		}
		l->now_ns = at > l->now_ns ? at : l->now_ns;
		if (ack == at)
			receive_ack(l);
		else if (rto == at)
			time_out(l);
	}
}
