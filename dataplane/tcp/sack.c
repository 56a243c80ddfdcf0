/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Selective acknowledgements received (RFC 2018, RFC 2883): each block that
 * can be true marks what it covers. Blocks that cannot are counted and told
 * nothing. What a peer may make us do is bounded: a block that has grown
 * since the last ACK is read from where it ended.
 */
#include "tcp/tcp_pvt.h"

struct block {
	uint32_t left, right;
};

/*
 * A block may lie between what was acknowledged and what was sent. A report
 * of a duplicate (RFC 2883 4) lies below, but not further than a window.
 */
static bool is_plausible(const struct tcp_conn *c, const uint32_t b[2])
{
	return seq_lt(b[0], b[1]) && seq_le(b[1], c->snd_nxt) && seq_ge(b[0], c->snd_una - c->max_snd_wnd);
}

/* RFC 2883 4.1, 4.2: the first block tells of a duplicate if it lies below the ACK, or within the second one. */
static bool is_dsack(const struct tcp_segment *seg)
{
	if (seq_lt(seg->sack[0][0], seg->ack))
		return true;
	return seg->n_sack > 1 && seq_ge(seg->sack[0][0], seg->sack[1][0]) && seq_le(seg->sack[0][1], seg->sack[1][1]);
}

static void input_dsack(struct tcp_conn *c, const struct tcp_segment *seg, struct tcp_ack *a)
{
	struct tcp_flight *f = c->flight;
	const uint32_t *b = seg->sack[0];
	uint32_t n = b[1] - b[0];

	a->has_dsack = true;
	stat_inc(c->stack->stats, WEIR_C_TCP_DSACK_RX);
	rack_dsack(c);
	/*
	 * One of our retransmissions was for nothing (RFC 3708). But above the ACK
	 * lies mostly what was sent once, and a network duplicates that, too.
	 */
	if (f && f->may_undo && f->undo_has_sent && seq_ge(b[0], f->undo_una) && seq_le(b[1], seg->ack))
		f->undo_resent -= n < f->undo_resent ? n : f->undo_resent;
}

/* True if g lies in the block as a whole, cut to whole segments if need be: a split at a hostile place costs records. */
static bool fit(struct tcp_conn *c, struct tcp_seg *g, const struct block *b)
{
	uint32_t mss = conn_payload_max(c);

	if (seq_lt(g->seq, b->left)) {
		uint32_t skip = (b->left - g->seq + mss - 1) / mss * mss;

		if (skip < g->end - g->seq)
			flight_split(c, g, g->seq + skip);
		return false; /* what was cut off comes next */
	}
	if (g->end == b->right + 1 && b->right == c->snd_una + c->snd_bytes && g->m)
		return flight_split(c, g, b->right); /* a receiver may keep data and not the FIN behind them */
	if (seq_gt(g->end, b->right)) {
		uint32_t keep = (b->right - g->seq) / mss * mss;

		return keep != 0 && flight_split(c, g, g->seq + keep);
	}
	return true;
}

/* a, or b where that is nearer to seq, and not behind it. */
static struct tcp_seg *nearer(struct tcp_seg *a, struct tcp_seg *b, uint32_t seq)
{
	return b && seq_le(b->seq, seq) && seq_gt(b->seq, a->seq) ? b : a;
}

/* The record at which reading the block begins: where it ended before, or the nearest of those known. last: of the block before. */
static struct tcp_seg *begin(struct tcp_flight *f, const struct block *b, struct tcp_seg *last)
{
	struct tcp_seg *g;

	for (unsigned i = 0; i < TCP_MAX_SACK_RX; i++) {
		const struct sack_cache *k = &f->sack_cache[i];

		if (k->last && k->left == b->left && seq_le(k->right, b->right))
			return k->last;
	}
	if (seq_ge(b->left, f->rack_fack)) { /* new ground: most often near the end */
		for (g = f->tail; g && g->prev && seq_gt(g->prev->end, b->left); g = g->prev)
			;
		return g;
	}
	g = nearer(f->head, last, b->left);
	for (unsigned i = 0; i < TCP_MAX_SACK_RX; i++)
		g = nearer(g, f->sack_cache[i].last, b->left);
	while (g && seq_le(g->end, b->left))
		g = g->next;
	return g;
}

/* Returns the last record that the block touched; before: that of the block before, or NULL. */
static struct tcp_seg *mark_block(struct tcp_conn *c, const struct block *b, struct tcp_seg *before, struct tcp_ack *a)
{
	struct tcp_flight *f = c->flight;
	struct tcp_seg *last = NULL;

	for (struct tcp_seg *g = begin(f, b, before); g && seq_lt(g->seq, b->right); g = g->next) {
		last = g;
		if (g->state == SEG_SACKED || seq_le(g->end, b->left) || !fit(c, g, b))
			continue;
		a->delivered += g->end - g->seq;
		c->delivered += g->end - g->seq;
		a->has_sacked = true;
		flight_set_sacked(c, g);
		flight_arrived(c, g, a);
	}
	return last;
}

/* What of the segment's blocks is true and new, in order of sequence. */
static unsigned collect(struct tcp_conn *c, const struct tcp_segment *seg, struct block *out, struct tcp_ack *a)
{
	unsigned n = 0;

	for (unsigned i = 0; i < seg->n_sack; i++) {
		struct block b = {seg->sack[i][0], seg->sack[i][1]};
		unsigned k;

		if (!is_plausible(c, seg->sack[i])) {
			stat_inc(c->stack->stats, WEIR_C_TCP_SACK_BAD);
			continue;
		}
		if (i == 0 && is_dsack(seg)) {
			input_dsack(c, seg, a);
			continue;
		}
		if (seq_le(b.right, seg->ack)) /* late: acknowledged since */
			continue;
		if (seq_lt(b.left, seg->ack))
			b.left = seg->ack;
		for (k = n++; k > 0 && seq_gt(out[k - 1].left, b.left); k--)
			out[k] = out[k - 1];
		out[k] = b;
	}
	return n;
}

void sack_input(struct tcp_conn *c, const struct tcp_segment *seg, struct tcp_ack *a)
{
	struct tcp_flight *f = c->flight;
	struct sack_cache fresh[TCP_MAX_SACK_RX] = {{0}};
	struct block blocks[TCP_MAX_SACK_RX];
	unsigned n = collect(c, seg, blocks, a);
	struct tcp_seg *last = NULL;

	if (!f)
		return;
	for (unsigned i = 0; i < n; i++) {
		last = mark_block(c, &blocks[i], last, a);
		fresh[i] = (struct sack_cache){blocks[i].left, blocks[i].right, last};
	}
	for (unsigned i = 0; i < TCP_MAX_SACK_RX; i++)
		f->sack_cache[i] = fresh[i];
}
