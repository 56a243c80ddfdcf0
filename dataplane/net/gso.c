/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Long segments cut in software, for a port that cannot: each piece is a
 * header of its own and references to its part of the payload, and goes on
 * like any other segment. Not rte_gso: it knows no IPv6, wants the frame
 * finished and leaves the checksums, sends all or nothing when mbufs are
 * short, and takes new references even for what lies within one piece.
 *
 * The long segment's own mbufs are used up: its header is the first piece's,
 * and only an mbuf that lies across a cut costs another reference.
 */
#include <string.h>

#include <rte_byteorder.h>

#include "net/net_pvt.h"

#define HEADER_MAX 60
#define FLAGS_LAST 0x09  /* FIN, PSH: of the last piece only */
#define FLAGS_FIRST 0x80 /* CWR (RFC 3168 6.1.2): of the first piece only */

/* The payload that is not yet in a piece: mbufs of which the cutter is the owner, linked by next. */
struct rest {
	struct rte_mbuf *head;
	uint32_t len;
};

static struct rte_mbuf *pop(struct rest *r)
{
	struct rte_mbuf *p = r->head;

	r->head = p->next;
	r->len -= p->data_len;
	p->next = NULL;
	p->nb_segs = 1;
	p->pkt_len = p->data_len;
	return p;
}

static void cut_front(struct rest *r, uint16_t n)
{
	r->head->data_off = (uint16_t)(r->head->data_off + n);
	r->head->data_len = (uint16_t)(r->head->data_len - n);
	r->len -= n;
}

/* A reference to n bytes of p from off on. */
static struct rte_mbuf *refer(const struct net *n, struct rte_mbuf *p, uint16_t off, uint16_t len)
{
	struct rte_mbuf *ref = rte_pktmbuf_alloc(n->cfg.clones);

	if (!ref)
		return NULL;
	rte_pktmbuf_attach(ref, p);
	ref->data_off = (uint16_t)(p->data_off + off);
	ref->data_len = len;
	ref->pkt_len = len;
	return ref;
}

/* Moves n bytes of the rest behind the piece's last mbuf. False: no mbuf for a reference. */
static bool move(const struct net *n, struct rte_mbuf *piece, struct rest *r, uint32_t len)
{
	struct rte_mbuf *tail = piece;

	while (len) {
		struct rte_mbuf *p = r->head;

		if (p->data_len <= len) {
			p = pop(r);
		} else {
			p = refer(n, p, 0, (uint16_t)len);
			if (!p)
				return false;
			cut_front(r, (uint16_t)len);
		}
		len -= p->data_len;
		piece->pkt_len += p->data_len;
		piece->nb_segs++;
		tail->next = p;
		tail = p;
	}
	return true;
}

/* Copies n bytes of the rest behind the piece's header, which has the room. */
static void copy(struct rte_mbuf *piece, struct rest *r, uint32_t len)
{
	while (len) {
		uint16_t k = r->head->data_len < len ? r->head->data_len : (uint16_t)len;

		memcpy(rte_pktmbuf_append(piece, k), rte_pktmbuf_mtod(r->head, const char *), k);
		cut_front(r, k);
		if (!r->head->data_len)
			rte_pktmbuf_free_seg(pop(r));
		len -= k;
	}
}

/*
 * Leaves the first piece in m and gives the rest back. What the header's own
 * mbuf holds beyond the first piece is referred to: only the bytes in front
 * of it will still be written. False: no mbuf for that, and only part of it is left in m.
 */
static bool split_first(const struct net *n, struct rte_mbuf *m, uint16_t n_header, uint32_t size, struct rest *r)
{
	uint32_t n_inline = m->data_len - n_header;
	bool ok = true;

	r->head = m->next;
	r->len = m->pkt_len - m->data_len;
	m->next = NULL;
	m->nb_segs = 1;
	if (n_inline > size) {
		struct rte_mbuf *ref = refer(n, m, (uint16_t)(n_header + size), (uint16_t)(n_inline - size));

		ok = ref != NULL;
		if (ref) {
			ref->next = r->head;
			r->head = ref;
			r->len += ref->data_len;
		}
		n_inline = size;
	}
	m->data_len = (uint16_t)(n_header + n_inline);
	m->pkt_len = m->data_len;
	return ok && move(n, m, r, size - n_inline);
}

/* The next piece; header is a copy of the long segment's. NULL: no mbuf. */
static struct rte_mbuf *make_piece(const struct net *n, const uint8_t *header, uint16_t n_header, uint32_t size, bool copies,
				   struct rest *r)
{
	struct rte_mbuf *piece = rte_pktmbuf_alloc(n->cfg.pool);
	uint32_t len = r->len < size ? r->len : size;

	if (!piece)
		return NULL;
	memcpy(rte_pktmbuf_append(piece, n_header), header, n_header);
	if (copies && len <= rte_pktmbuf_tailroom(piece)) {
		copy(piece, r, len);
	} else if (!move(n, piece, r, len)) {
		rte_pktmbuf_free(piece);
		return NULL;
	}
	return piece;
}

static void set_header(struct rte_mbuf *piece, uint32_t seq, uint8_t flags)
{
	uint8_t *h = rte_pktmbuf_mtod(piece, uint8_t *);
	uint32_t be = rte_cpu_to_be_32(seq);

	memcpy(h + 4, &be, 4);
	h[13] = flags;
}

static void free_rest(struct rest *r)
{
	while (r->head)
		rte_pktmbuf_free_seg(pop(r));
}

void gso_output(struct net *n, struct rte_mbuf *m, const struct tcp_way *w, bool copies)
{
	uint8_t header[HEADER_MAX];
	uint16_t n_header = (uint16_t)m->l4_len;
	uint32_t size = m->tso_segsz;
	struct rest rest;
	uint32_t seq;
	uint8_t flags;

	assert(n_header >= 20 && n_header <= HEADER_MAX && size > 0 && m->data_len >= n_header);
	assert(m->pkt_len - n_header > size);
	memcpy(header, rte_pktmbuf_mtod(m, uint8_t *), n_header);
	memcpy(&seq, header + 4, 4);
	seq = rte_be_to_cpu_32(seq);
	flags = header[13];
	m->tx_offload = 0;
	stat_inc(n->stats, WEIR_C_TX_GSO);
	if (!split_first(n, m, n_header, size, &rest)) {
		free_rest(&rest);
		net_drop(n, m, WEIR_R_NO_MBUF);
		return;
	}
	set_header(m, seq, flags & (uint8_t)~FLAGS_LAST);
	ip_output_tcp(n, m, w);
	while (rest.len) {
		struct rte_mbuf *piece = make_piece(n, header, n_header, size, copies, &rest);

		if (!piece) { /* as if the network had lost the rest */
			stat_reason(n->stats, WEIR_R_NO_MBUF);
			break;
		}
		seq += size;
		set_header(piece, seq, flags & (uint8_t)~(rest.len ? FLAGS_FIRST | FLAGS_LAST : FLAGS_FIRST));
		ip_output_tcp(n, piece, w);
	}
	free_rest(&rest);
}
