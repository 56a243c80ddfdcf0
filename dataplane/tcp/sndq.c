/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The send queue: what was given and not yet acknowledged, as a list of single
 * mbufs. A segment that goes out refers to their data; they are never changed
 * but for copied bytes appended behind the last one while nobody refers to it.
 */
#include <errno.h>

#include "tcp/tcp_pvt.h"

#define TX_FIRST_BYTES 65536u /* what any connection may queue, before its window has grown */
#define TX_LEAST_BYTES 16384u /* under memory pressure */
#define TX_FULL_BYTES 8192u   /* while the stack's queues hold all they may */

/* Twice the window keeps a sender busy while it waits for its ACKs; more would only sit in memory. */
uint32_t conn_tx_size(const struct tcp_conn *c)
{
	const struct tcp_stack *s = c->stack;
	uint32_t size = c->cc.cwnd < UINT32_MAX / 2 ? 2 * c->cc.cwnd : UINT32_MAX;

	if (size < TX_FIRST_BYTES)
		size = TX_FIRST_BYTES;
	if (stack_is_full(s))
		size = TX_FULL_BYTES;
	else if (s->tx_pressure)
		size = size >> s->tx_pressure > TX_LEAST_BYTES ? size >> s->tx_pressure : TX_LEAST_BYTES;
	return size < s->cfg.tx_buffer_bytes ? size : s->cfg.tx_buffer_bytes;
}

/*
 * What is acknowledged selectively waits in the queue for a hole to be filled,
 * but fills no window: it takes no room, or recovery would run out of new data.
 */
static uint32_t tx_room(const struct tcp_conn *c)
{
	uint32_t size = conn_tx_size(c);
	uint32_t max = c->stack->cfg.tx_buffer_bytes;
	uint32_t used = c->snd_bytes - (c->flight ? c->flight->sacked : 0);
	uint32_t room = used < size ? size - used : 0;
	uint32_t left = c->snd_bytes < max ? max - c->snd_bytes : 0;

	return room < left ? room : left;
}

void tcp_want_room(struct tcp_conn *c)
{
	c->wants_room = true;
}

void tcp_want_mbufs(struct tcp_conn *c)
{
	stat_reason(c->stack->stats, WEIR_R_NO_MBUF);
	c->wants_room = true;
	conn_retry_soon(c);
}

bool tcp_may_send(const struct tcp_conn *c)
{
	return conn_may_send(c);
}

size_t tcp_send_room(struct tcp_conn *c)
{
	uint32_t room;

	if (!conn_may_send(c))
		return 0;
	room = tx_room(c);
	if (room < conn_tx_size(c) / 2 || room < TX_LEAST_BYTES) /* the latter: a user who asks for a fixed amount is told, too */
		c->wants_room = true;
	return room;
}

void sndq_offer_room(struct tcp_conn *c)
{
	if (!c->wants_room || tx_room(c) < conn_tx_size(c) / 4)
		return;
	c->wants_room = false;
	conn_mark_ready(c, TCP_EV_WRITABLE);
}

size_t tcp_unacked(const struct tcp_conn *c)
{
	return c->snd_bytes;
}

static void push(struct tcp_conn *c, struct rte_mbuf *m)
{
	m->next = NULL;
	if (c->snd.tail)
		c->snd.tail->next = m;
	else
		c->snd.head = m;
	c->snd.tail = m;
	c->snd_bytes += m->data_len;
	c->stack->n_held++;
	c->stack->n_held_tx++;
}

/* Room behind the last mbuf that is free for copied bytes: only ours, and in no segment on its way. */
static uint16_t tail_room(const struct tcp_conn *c)
{
	const struct rte_mbuf *m = c->snd.tail;

	if (!m || !RTE_MBUF_DIRECT(m) || rte_mbuf_refcnt_read(m) != 1)
		return 0;
	return (uint16_t)(m->buf_len - m->data_off - m->data_len);
}

static void copy_to_tail(struct tcp_conn *c, const char *data, uint16_t n)
{
	struct rte_mbuf *m = c->snd.tail;

	memcpy(rte_pktmbuf_mtod_offset(m, char *, m->data_len), data, n);
	m->data_len = (uint16_t)(m->data_len + n);
	c->snd_bytes += n;
}

/* An empty queue takes a message that it had no room for under pressure only: no acknowledgement would ever make room. */
static bool takes(struct tcp_conn *c, size_t n)
{
	return n <= tcp_send_room(c) || (c->snd_bytes == 0 && n <= TX_FIRST_BYTES);
}

int tcp_send(struct tcp_conn *c, const void *data, size_t n)
{
	const size_t room = RTE_MBUF_DEFAULT_DATAROOM;
	uint16_t first = tail_room(c);
	const char *p = data;
	struct rte_mbuf *fresh[64];
	size_t n_fresh;

	if (!conn_may_send(c))
		return -EPIPE;
	if (!takes(c, n)) {
		c->wants_room = true;
		return -EAGAIN;
	}
	if (first > n)
		first = (uint16_t)n;
	n_fresh = (n - first + room - 1) / room;
	if (n_fresh > RTE_DIM(fresh) || (n_fresh && rte_pktmbuf_alloc_bulk(c->stack->env.pool, fresh, (unsigned)n_fresh) != 0)) {
		tcp_want_mbufs(c);
		return -ENOBUFS;
	}
	if (first)
		copy_to_tail(c, p, first);
	p += first;
	n -= first;
	for (size_t i = 0; i < n_fresh; i++) {
		size_t k = n < room ? n : room;

		push(c, fresh[i]);
		copy_to_tail(c, p, (uint16_t)k);
		p += k;
		n -= k;
	}
	conn_mark_output(c);
	return 0;
}

int tcp_send_mbufs(struct tcp_conn *c, struct rte_mbuf *chain)
{
	int rc = 0;

	if (!conn_may_send(c))
		rc = -EPIPE;
	else if (chain->pkt_len > tcp_send_room(c))
		rc = -EAGAIN;
	if (rc) {
		c->wants_room = true;
		rte_pktmbuf_free(chain);
		return rc;
	}
	while (chain) {
		struct rte_mbuf *next = chain->next;

		chain->nb_segs = 1;
		if (chain->data_len) {
			push(c, chain);
		} else {
			chain->next = NULL;
			rte_pktmbuf_free_seg(chain);
		}
		chain = next;
	}
	conn_mark_output(c);
	return 0;
}

int tcp_send_record(struct tcp_conn *c, struct rte_mbuf *chain)
{
	if (chain->next || chain->data_len > RTE_MBUF_DEFAULT_DATAROOM / 2 || chain->data_len > tail_room(c) || !conn_may_send(c) ||
	    chain->data_len > tcp_send_room(c))
		return tcp_send_mbufs(c, chain);
	copy_to_tail(c, rte_pktmbuf_mtod(chain, const char *), chain->data_len);
	rte_pktmbuf_free(chain);
	conn_mark_output(c);
	return 0;
}

void sndq_ack(struct tcp_conn *c, uint32_t n)
{
	assert(n <= c->snd_bytes);
	c->snd_bytes -= n;
	while (n) {
		struct rte_mbuf *m = c->snd.head;

		if (n < m->data_len) {
			m->data_off = (uint16_t)(m->data_off + n);
			m->data_len = (uint16_t)(m->data_len - n);
			return;
		}
		n -= m->data_len;
		c->snd.head = m->next;
		if (!c->snd.head)
			c->snd.tail = NULL;
		m->next = NULL;
		c->stack->n_held--;
		c->stack->n_held_tx--;
		rte_pktmbuf_free_seg(m);
	}
}

void sndq_free(struct tcp_conn *c)
{
	sndq_ack(c, c->snd_bytes);
}

/* Appends a reference to n bytes of m from off behind *tail, the last mbuf of head. */
static bool add_piece(const struct tcp_conn *c, struct rte_mbuf *head, struct rte_mbuf **tail, struct rte_mbuf *m,
		      uint32_t off, uint32_t n)
{
	struct rte_mbuf *ref = rte_pktmbuf_alloc(c->stack->env.clones);

	if (!ref)
		return false;
	rte_pktmbuf_attach(ref, m);
	ref->data_off = (uint16_t)(m->data_off + off);
	ref->data_len = (uint16_t)n;
	ref->pkt_len = n;
	ref->nb_segs = 1;
	ref->next = NULL;
	(*tail)->next = ref;
	*tail = ref;
	head->nb_segs++;
	head->pkt_len += n;
	return true;
}

void sndq_seek(const struct tcp_conn *c, struct rte_mbuf **m, uint32_t *m_seq, uint32_t seq)
{
	if (!*m) {
		*m = c->snd.head;
		*m_seq = c->snd_una;
	} else if (seq_lt(*m_seq, c->snd_una)) { /* the head, whose front was acknowledged and is gone */
		*m_seq = c->snd_una;
	}
	while (*m && seq - *m_seq >= (*m)->data_len) {
		*m_seq += (*m)->data_len;
		*m = (*m)->next;
	}
}

uint32_t sndq_reference(const struct tcp_conn *c, struct rte_mbuf *m, uint32_t m_seq, uint32_t seq, uint32_t n,
			struct rte_mbuf *head)
{
	bool copies = n <= TCP_COPY_BYTES;
	unsigned max = n > c->mss ? TCP_MAX_PIECES_LONG : TCP_MAX_PIECES;
	uint32_t off = seq - (seq_lt(m_seq, c->snd_una) ? c->snd_una : m_seq);
	struct rte_mbuf *tail = head;
	uint32_t done = 0;

	while (m && done < n && head->nb_segs <= max) {
		uint32_t k = m->data_len - off;

		if (k > n - done)
			k = n - done;
		if (copies)
			memcpy(rte_pktmbuf_append(head, (uint16_t)k), rte_pktmbuf_mtod_offset(m, const char *, off), k);
		else if (!add_piece(c, head, &tail, m, off, k))
			break;
		done += k;
		off = 0;
		m = m->next;
	}
	return done;
}
