/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Received data: what is in order and not yet taken, as a list of single
 * mbufs, and what waits for a gap before it, as a list of packets in order of
 * sequence number that do not overlap.
 *
 * A small segment is copied into the free space behind the one before it, so
 * that memory follows bytes, not packets.
 */
#include "tcp/tcp_pvt.h"

/* Of a packet that waits out of order: where it belongs. In the mbuf's own scratch field. */
static uint32_t ooo_seq(const struct rte_mbuf *m)
{
	return m->hash.usr;
}

/*
 * The link from packet to packet, beside m->next, which holds a packet's own
 * segments together; a field that means nothing on receive.
 */
static struct rte_mbuf **ooo_next(struct rte_mbuf *m)
{
	return (struct rte_mbuf **)(void *)&m->tx_offload;
}

static_assert(sizeof(((struct rte_mbuf *)0)->tx_offload) >= sizeof(void *), "a pointer fits");

/* Copies m behind the last mbuf if that one is ours alone and has the room. */
static bool coalesce(struct tcp_conn *c, const struct rte_mbuf *m)
{
	struct rte_mbuf *last = c->rcv.tail;

	if (!last || m->data_len > RTE_MBUF_DEFAULT_DATAROOM / 2 || !RTE_MBUF_DIRECT(last) ||
	    rte_mbuf_refcnt_read(last) != 1)
		return false;
	if ((uint32_t)last->data_off + last->data_len + m->data_len > last->buf_len)
		return false;
	memcpy(rte_pktmbuf_mtod_offset(last, char *, last->data_len), rte_pktmbuf_mtod(m, const char *), m->data_len);
	last->data_len = (uint16_t)(last->data_len + m->data_len);
	return true;
}

/* Appends a packet, segment by segment. */
static void append(struct tcp_conn *c, struct rte_mbuf *m)
{
	while (m) {
		struct rte_mbuf *next = m->next;

		c->rcv_bytes += m->data_len;
		m->next = NULL;
		m->nb_segs = 1;
		m->tx_offload = 0;
		m->ol_flags &= RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL; /* what receiving said is used up */
		if (m->data_len == 0 || coalesce(c, m)) {
			rte_pktmbuf_free_seg(m);
		} else {
			if (c->rcv.tail)
				c->rcv.tail->next = m;
			else
				c->rcv.head = m;
			c->rcv.tail = m;
		}
		m = next;
	}
}

/* Cuts a packet's first n bytes off; n is at most its length. Empty segments stay, append() drops them. */
static void trim_front(struct rte_mbuf *m, uint32_t n)
{
	m->pkt_len -= n;
	while (n) {
		uint32_t k = n < m->data_len ? n : m->data_len;

		m->data_off = (uint16_t)(m->data_off + k);
		m->data_len = (uint16_t)(m->data_len - k);
		n -= k;
		m = m->next;
	}
}

static void trim_to(struct rte_mbuf *m, uint32_t len)
{
	m->pkt_len = len;
	while (m) {
		uint32_t k = len < m->data_len ? len : m->data_len;

		m->data_len = (uint16_t)k;
		len -= k;
		m = m->next;
	}
}

/* Moves what has become in order. */
static void drain_ooo(struct tcp_conn *c)
{
	while (c->ooo && seq_le(ooo_seq(c->ooo), c->rcv_nxt)) {
		struct rte_mbuf *m = c->ooo;
		uint32_t len = m->pkt_len;
		uint32_t skip = c->rcv_nxt - ooo_seq(m);

		c->ooo = *ooo_next(m);
		c->n_ooo--;
		c->ooo_bytes -= len;
		if (skip >= len) {
			rte_pktmbuf_free(m);
			continue;
		}
		trim_front(m, skip);
		c->rcv_nxt += len - skip;
		append(c, m);
	}
}

/* Puts a packet among those that wait, without overlap: what is there already is cut from the new one. */
static void insert_ooo(struct tcp_conn *c, struct rte_mbuf *m, uint32_t seq, uint32_t len)
{
	struct rte_mbuf **p = &c->ooo;

	stat_inc(c->stack->stats, WEIR_C_TCP_OUT_OF_ORDER);
	if (c->n_ooo >= TCP_MAX_OOO || c->ooo_bytes + len > c->stack->cfg.rx_buffer_bytes) {
		stat_reason(c->stack->stats, WEIR_R_TCP_REASSEMBLY_FULL);
		rte_pktmbuf_free(m);
		return;
	}
	while (*p && seq_le(ooo_seq(*p), seq)) {
		uint32_t end = ooo_seq(*p) + (*p)->pkt_len;

		if (seq_ge(end, seq + len)) { /* all of it is there */
			rte_pktmbuf_free(m);
			return;
		}
		if (seq_gt(end, seq)) {
			trim_front(m, end - seq);
			len -= end - seq;
			seq = end;
		}
		p = ooo_next(*p);
	}
	while (*p && seq_lt(ooo_seq(*p), seq + len)) {
		struct rte_mbuf *old = *p;
		uint32_t old_end = ooo_seq(old) + old->pkt_len;

		if (seq_gt(old_end, seq + len)) { /* keep the old one, cut the new one's end */
			trim_to(m, ooo_seq(old) - seq);
			len = ooo_seq(old) - seq;
			break;
		}
		*p = *ooo_next(old);
		c->n_ooo--;
		c->ooo_bytes -= old->pkt_len;
		rte_pktmbuf_free(old);
	}
	m->hash.usr = seq;
	*ooo_next(m) = *p;
	*p = m;
	c->n_ooo++;
	c->ooo_bytes += len;
	c->ooo_recent = seq;
}

bool rcvq_input(struct tcp_conn *c, struct rte_mbuf *m, uint32_t seq, uint32_t len)
{
	assert(m->pkt_len == len && len > 0);
	if (seq != c->rcv_nxt) {
		insert_ooo(c, m, seq, len);
		return false;
	}
	c->rcv_nxt += len;
	append(c, m);
	drain_ooo(c);
	return true;
}

unsigned rcvq_sack_blocks(const struct tcp_conn *c, uint32_t (*blocks)[2])
{
	struct rte_mbuf *m = c->ooo;
	unsigned n = 0;

	while (m) {
		uint32_t from = ooo_seq(m);
		uint32_t to = from + m->pkt_len;
		bool is_recent = c->ooo_recent == from;

		for (m = *ooo_next(m); m && ooo_seq(m) == to; m = *ooo_next(m)) {
			is_recent |= c->ooo_recent == ooo_seq(m);
			to += m->pkt_len;
		}
		if (is_recent && n > 0) { /* RFC 2018 4: the latest block comes first */
			unsigned last = n < TCP_MAX_SACK ? n++ : TCP_MAX_SACK - 1;

			for (unsigned i = last; i > 0; i--) {
				blocks[i][0] = blocks[i - 1][0];
				blocks[i][1] = blocks[i - 1][1];
			}
			blocks[0][0] = from;
			blocks[0][1] = to;
		} else if (n < TCP_MAX_SACK) {
			blocks[n][0] = from;
			blocks[n++][1] = to;
		}
	}
	return n;
}

void rcvq_free(struct tcp_conn *c)
{
	while (c->ooo) {
		struct rte_mbuf *m = c->ooo;

		c->ooo = *ooo_next(m);
		rte_pktmbuf_free(m);
	}
	while (c->rcv.head) {
		struct rte_mbuf *m = c->rcv.head;

		c->rcv.head = m->next;
		m->next = NULL;
		rte_pktmbuf_free_seg(m);
	}
	c->rcv.tail = NULL;
	c->rcv_bytes = c->ooo_bytes = 0;
	c->n_ooo = 0;
}

size_t tcp_readable(const struct tcp_conn *c)
{
	return c->rcv_bytes;
}

struct slice tcp_peek(const struct tcp_conn *c)
{
	const struct rte_mbuf *m = c->rcv.head;

	if (!m)
		return slice_of(NULL, 0);
	return slice_of(rte_pktmbuf_mtod(m, const char *), m->data_len);
}

static struct rte_mbuf *pop_head(struct tcp_conn *c)
{
	struct rte_mbuf *m = c->rcv.head;

	c->rcv.head = m->next;
	if (!c->rcv.head)
		c->rcv.tail = NULL;
	m->next = NULL;
	m->nb_segs = 1;
	m->pkt_len = m->data_len;
	return m;
}

static void cut_head(struct tcp_conn *c, uint16_t n)
{
	struct rte_mbuf *m = c->rcv.head;

	m->data_off = (uint16_t)(m->data_off + n);
	m->data_len = (uint16_t)(m->data_len - n);
}

/*
 * Data were taken: tell the peer once the window has grown by two segments or
 * half of the buffer (RFC 9293 3.8.6.2.2).
 */
static void maybe_update_window(struct tcp_conn *c)
{
	uint32_t edge = c->rcv_nxt + conn_receive_window(c);
	uint32_t step = 2u * c->mss;

	if (step > c->stack->cfg.rx_buffer_bytes / 2)
		step = c->stack->cfg.rx_buffer_bytes / 2;
	if (!conn_may_receive(c) || !seq_gt(edge, c->rcv_adv) || edge - c->rcv_adv < step)
		return;
	/* Half of the window taken at once, or a window that had closed: at once. Else the next ACK carries it. */
	if (edge - c->rcv_adv >= c->stack->cfg.rx_buffer_bytes / 4 || c->rcv_adv - c->rcv_nxt < step) {
		c->ack_now = true;
		conn_mark_output(c);
	}
}

void tcp_consume(struct tcp_conn *c, size_t n)
{
	assert(n <= c->rcv_bytes);
	c->rcv_bytes -= (uint32_t)n;
	while (n) {
		struct rte_mbuf *m = c->rcv.head;

		if (n < m->data_len) {
			cut_head(c, (uint16_t)n);
			break;
		}
		n -= m->data_len;
		rte_pktmbuf_free_seg(pop_head(c));
	}
	maybe_update_window(c);
}

/* The head's first n bytes as an mbuf of their own: a copy if few, else a reference. */
static struct rte_mbuf *split_head(struct tcp_conn *c, uint16_t n)
{
	struct rte_mbuf *m = c->rcv.head;
	struct rte_mbuf *part;

	if (n <= TCP_COPY_BYTES) {
		part = rte_pktmbuf_alloc(c->stack->env.pool);
		if (!part)
			return NULL;
		memcpy(rte_pktmbuf_append(part, n), rte_pktmbuf_mtod(m, const char *), n);
	} else {
		part = rte_pktmbuf_alloc(c->stack->env.clones);
		if (!part)
			return NULL;
		rte_pktmbuf_attach(part, m);
		part->data_off = m->data_off;
		part->data_len = n;
		part->pkt_len = n;
	}
	cut_head(c, n);
	return part;
}

struct rte_mbuf *tcp_recv(struct tcp_conn *c, size_t max_bytes)
{
	struct rte_mbuf *head = NULL;
	struct rte_mbuf *tail = NULL;
	uint32_t taken = 0;

	while (c->rcv.head && taken < max_bytes && (!head || head->nb_segs < UINT8_MAX)) {
		size_t left = max_bytes - taken;
		struct rte_mbuf *m = c->rcv.head->data_len <= left ? pop_head(c) : split_head(c, (uint16_t)left);

		if (!m) {
			stat_reason(c->stack->stats, WEIR_R_NO_MBUF);
			break;
		}
		taken += m->data_len;
		if (!head) {
			head = m;
		} else {
			tail->next = m;
			head->nb_segs++;
			head->pkt_len += m->data_len;
		}
		tail = m;
	}
	c->rcv_bytes -= taken;
	if (taken)
		maybe_update_window(c);
	return head;
}

bool tcp_is_eof(const struct tcp_conn *c)
{
	return c->fin_received && c->rcv_bytes == 0;
}
