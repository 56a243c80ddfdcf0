/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a connection may hold unread: its share. A window that was offered
 * cannot be taken back, so too much must not be offered in the first place:
 *
 * - Nobody gets a large window for nothing. It begins small, smaller still if
 *   there are many relays, and grows by what the user has taken: a sender whose
 *   receiver reads meets no bound, as its congestion window grows no faster.
 * - While packet buffers are short, all windows are at most a fair share of
 *   those that may wait for slow readers; and from the first pressure on what
 *   exceeds it is dropped.
 *
 * All of it is worked out once an iteration; conn_share() is a few loads.
 */
#include "tcp/tcp_pvt.h"

#define SHARE_PART 4u		/* of the mbufs that queues may hold: this part is for what relays have not read */
#define SHARE_MBUF_BYTES 1024u	/* that one of them holds; a segment is more, what is coalesced may be less */
#define SHARE_LEAST_BYTES 8192u
#define FIRST_MOST_BYTES 65536u /* what any connection is offered at first, be there as much memory as there may */
#define FIRST_LEAST_BYTES 16384u /* an initial window fits (RFC 6928) */

void tcp_set_relays(struct tcp_stack *s, uint32_t n)
{
	s->n_relays = n;
}

static uint32_t between(uint32_t least, uint64_t v, uint32_t most)
{
	return v < least ? least : v < most ? (uint32_t)v : most;
}

void share_update(struct tcp_stack *s)
{
	uint32_t part = s->cfg.n_held_max / SHARE_PART;
	uint32_t n = s->n_relays ? s->n_relays : 1;
	uint64_t share = (uint64_t)part * SHARE_MBUF_BYTES / n;
	uint32_t former = s->rx_share;

	if (!part) { /* no bound, no shares */
		s->rx_first = s->rx_share = UINT32_MAX;
		return;
	}
	s->rx_first = between(FIRST_LEAST_BYTES, share, FIRST_MOST_BYTES);
	s->rx_share = s->n_held > part ? between(SHARE_LEAST_BYTES, share, UINT32_MAX) : UINT32_MAX;
	if (s->rx_share == former)
		return;
	if (former == UINT32_MAX)
		stat_inc(s->stats, WEIR_C_TCP_SHARES);
	stat_set(s->stats, WEIR_G_TCP_SHARE, s->rx_share == UINT32_MAX ? 0 : s->rx_share);
}

void share_note_taken(struct tcp_conn *c)
{
	c->has_earned = c->rcv_nxt - c->irs - c->rcv_bytes >= c->stack->cfg.rx_buffer_bytes;
}
