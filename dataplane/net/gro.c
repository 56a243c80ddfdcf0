/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments that were received together and follow one another are handed to
 * TCP as one. Nothing waits: what a burst brought is delivered at its end, in
 * the order of arrival within each connection.
 *
 * Merged is only what says nothing else than the segment before it: the same
 * acknowledgement, window, options (so the same time stamps) and ECN bits, no
 * flag but ACK, PSH at most on the last; each as long as the first, the last
 * may be shorter. And only where the connection waits for just these bytes:
 * what is out of order is acknowledged one by one (RFC 5681 4.2).
 */
#include <string.h>

#include "base/hash.h"
#include "net/net_pvt.h"

#define FLAG_PSH 0x08
#define FLAG_ACK 0x10

static uint32_t load32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static const uint8_t *header_of(const struct gro_run *run)
{
	return rte_pktmbuf_mtod(run->head, const uint8_t *);
}

static unsigned slot_of(const struct tcp_packet *p, const uint8_t *h)
{
	uint32_t key[2];

	memcpy(&key[0], p->src.b + 12, 4);
	memcpy(&key[1], h, 4); /* ports */
	return hash64(key, sizeof(key), 0) % GRO_SLOTS;
}

static bool is_of_flow(const struct gro_run *run, const struct tcp_packet *p, const uint8_t *h)
{
	return memcmp(header_of(run), h, 4) == 0 && ip_eq(&run->packet.src, &p->src) && ip_eq(&run->packet.dst, &p->dst);
}

/*
 * Does TCP wait for the run's first byte? Asked only when there is something
 * to merge, and of the connection's first run in this burst: what stands
 * before a later one has not yet reached TCP.
 */
static bool is_in_order(struct net *n, struct gro_run *run)
{
	const uint8_t *h = header_of(run);
	struct ip_flow flow = {.local = run->packet.dst, .remote = run->packet.src};
	bool is_next;

	if (run->order != GRO_UNKNOWN)
		return run->order == GRO_IN_ORDER;
	if (run->before) {
		struct gro_run *before = &n->gro.runs[run->before - 1];

		is_next = before->next_seq == load32(h + 4) && is_in_order(n, before);
	} else {
		flow.remote_port = (uint16_t)(h[0] << 8 | h[1]);
		flow.local_port = (uint16_t)(h[2] << 8 | h[3]);
		is_next = tcp_is_next(n->tcp, &flow, load32(h + 4));
	}
	run->order = is_next ? GRO_IN_ORDER : GRO_OUT_OF_ORDER;
	return is_next;
}

/* Behind the header's first 4 bytes and the sequence number, all but PSH and the checksum must be the same. */
static bool says_the_same(const struct gro_run *run, const struct tcp_packet *p, const uint8_t *h)
{
	const uint8_t *first = header_of(run);

	return memcmp(first + 8, h + 8, 5) == 0 && (h[13] & ~FLAG_PSH) == FLAG_ACK && memcmp(first + 14, h + 14, 2) == 0 &&
	       memcmp(first + 20, h + 20, run->n_header - 20u) == 0 && run->packet.ecn == p->ecn;
}

/* m becomes part of the run, if it may. */
static bool append(struct net *n, struct gro_run *run, struct rte_mbuf *m, const struct tcp_packet *p)
{
	const uint8_t *h = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t len = m->pkt_len - run->n_header;
	uint8_t is_push = h[13] & FLAG_PSH;

	/* says_the_same(): its header is as long as the run's, which is why len is right */
	if (!run->is_open || m->data_len < run->n_header || load32(h + 4) != run->next_seq || !says_the_same(run, p, h) ||
	    len == 0 || len > run->size || run->head->pkt_len + len > UINT16_MAX || !is_in_order(n, run))
		return false;
	rte_pktmbuf_adj(m, run->n_header);
	run->tail->next = m;
	run->tail = rte_pktmbuf_lastseg(m);
	run->head->nb_segs = (uint16_t)(run->head->nb_segs + m->nb_segs);
	run->head->pkt_len += len;
	rte_pktmbuf_mtod(run->head, uint8_t *)[13] |= is_push;
	run->next_seq += len;
	run->packet.n_segs++;
	run->is_open = len == run->size && !is_push;
	stat_inc(n->stats, WEIR_C_RX_MERGED);
	return true;
}

static void begin(struct gro_run *run, struct rte_mbuf *m, const struct tcp_packet *p, bool is_plain)
{
	const uint8_t *h = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t n_header = (h[12] >> 4) * 4u;
	bool is_whole = n_header >= 20 && n_header <= m->data_len;
	uint32_t len = is_whole ? m->pkt_len - n_header : 0;

	*run = (struct gro_run){.head = m, .packet = *p, .n_header = (uint8_t)n_header, .size = len,
				.next_seq = load32(h + 4) + len};
	run->is_open = is_plain && is_whole && len > 0 && len <= UINT16_MAX && h[13] == FLAG_ACK && !(h[12] & 0xf);
	if (run->is_open)
		run->tail = rte_pktmbuf_lastseg(m);
}

void gro_input(struct net *n, struct rte_mbuf *m, const struct tcp_packet *p, bool is_plain, uint64_t now_us)
{
	struct gro *g = &n->gro;
	const uint8_t *h = rte_pktmbuf_mtod(m, const uint8_t *);
	uint8_t *slot = &g->slots[slot_of(p, h)];
	uint8_t before = *slot;

	if (before && !is_of_flow(&g->runs[before - 1], p, h))
		before = 0;
	if (before && is_plain && append(n, &g->runs[before - 1], m, p))
		return;
	if (g->n == GRO_RUNS) {
		gro_flush(n, now_us);
		before = 0;
	}
	begin(&g->runs[g->n], m, p, is_plain);
	g->runs[g->n].before = before;
	*slot = (uint8_t)++g->n;
}

void gro_flush(struct net *n, uint64_t now_us)
{
	struct gro *g = &n->gro;

	if (!g->n)
		return;
	for (unsigned i = 0; i < g->n; i++)
		tcp_input(n->tcp, g->runs[i].head, &g->runs[i].packet, now_us);
	g->n = 0;
	memset(g->slots, 0, sizeof(g->slots));
}
