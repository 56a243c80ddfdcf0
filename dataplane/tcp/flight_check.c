/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must be true of a connection's flight: its lists, its sums and its
 * places in the send queue, counted again. For builds with assertions, where
 * recovery and output call it when they have ended; long lists are left out,
 * so that it costs a bounded time.
 */
#include "tcp/tcp_pvt.h"

#ifndef NDEBUG

#define MAX_CHECKED 256 /* records */

/* The records follow one another without a hole, from SND.UNA to SND.NXT, each with its place in the queue. */
static void check_records(const struct tcp_conn *c, const struct tcp_flight *f)
{
	uint32_t seq = c->snd_una, data_end = c->snd_una + c->snd_bytes, n = 0;
	const struct tcp_seg *prev = NULL;
	uint32_t m_seq = c->snd_una;
	struct rte_mbuf *m = c->snd.head;

	for (const struct tcp_seg *g = f->head; g; prev = g, g = g->next, n++) {
		assert(g->prev == prev && g->seq == seq && seq_gt(g->end, g->seq));
		assert(seq_le(g->end, data_end + c->fin_queued));
		sndq_seek(c, &m, &m_seq, seq);
		if (seq_lt(seq, data_end))
			assert(m && g->m == m && (g->m_seq == m_seq || seq_lt(g->m_seq, c->snd_una)));
		else
			assert(!g->m);
		seq = g->end;
	}
	assert(f->tail == prev && f->n_segs == n && n && seq == c->snd_nxt);
}

static void check_sums(const struct tcp_flight *f)
{
	uint32_t flying = 0, resent = 0, sacked = 0, n_sacked = 0, lost = 0;

	for (const struct tcp_seg *g = f->head; g; g = g->next) {
		uint32_t len = g->end - g->seq;

		flying += g->state == SEG_FLYING ? len : 0;
		resent += g->state == SEG_FLYING && g->is_resent ? len : 0;
		lost += g->state == SEG_LOST ? len : 0;
		sacked += g->state == SEG_SACKED ? len : 0;
		n_sacked += g->state == SEG_SACKED;
	}
	assert(f->flying == flying && f->resent == resent && f->lost_now == lost);
	assert(f->sacked == sacked && f->n_sacked == n_sacked);
}

/* One list by later and earlier, from first to last. Returns its bytes. */
static uint32_t check_list(const struct tcp_seg *first, const struct tcp_seg *last, enum seg_state state)
{
	const struct tcp_seg *before = NULL;
	uint32_t bytes = 0;

	for (const struct tcp_seg *g = first; g; before = g, g = g->later) {
		assert(g->state == state && g->earlier == before);
		if (before && state == SEG_FLYING)
			assert(before->sent_us <= g->sent_us);
		if (before && state == SEG_LOST)
			assert(seq_lt(before->seq, g->seq));
		bytes += g->end - g->seq;
	}
	assert(last == before);
	return bytes;
}

static void check_cache(const struct tcp_flight *f)
{
	for (unsigned i = 0; i < TCP_MAX_SACK_RX; i++) {
		const struct tcp_seg *g = f->head;

		while (g && g != f->sack_cache[i].last)
			g = g->next;
		assert(g == f->sack_cache[i].last);
	}
}

void flight_check(const struct tcp_conn *c)
{
	const struct tcp_flight *f = c->flight;

	if (!f || f->n_segs >= MAX_CHECKED || !f->head)
		return;
	assert(f->conn == c);
	check_records(c, f);
	check_sums(f);
	assert(check_list(f->oldest, f->newest, SEG_FLYING) == f->flying);
	assert(check_list(f->lost_head, f->lost_tail, SEG_LOST) == f->lost_now);
	check_cache(f);
}

void flight_check_wakeup(const struct tcp_conn *c)
{
	if (c->state < TCP_ESTABLISHED || c->state == TCP_TIME_WAIT || c->has_left)
		return;
	if (c->flight || c->snd_bytes || (c->fin_queued && !c->fin_acked))
		assert(wheel_is_armed(&c->timer[TIMER_RTX]));
}

#endif
