/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Received data: what is in order and not yet taken, as a list of single
 * mbufs, and what waits behind a gap, as ranges: each a chain of mbufs without
 * a hole, in order of sequence number, never touching each other.
 *
 * A small segment is copied into the free space behind the one before it, so
 * that memory follows bytes, not packets. Ranges and bytes are bounded,
 * whatever a peer sends.
 */
#include "tcp/tcp_pvt.h"

/*
 * A range is known by its first mbuf; what it needs stands in fields that
 * mean nothing there: packet_type is the first sequence number, pkt_len the
 * length, tx_offload the next range, hash the last mbuf.
 */
static uint32_t range_seq(const struct rte_mbuf *r)
{
	return r->packet_type;
}

static uint32_t range_end(const struct rte_mbuf *r)
{
	return r->packet_type + r->pkt_len;
}

static struct rte_mbuf **range_next(struct rte_mbuf *r)
{
	return (struct rte_mbuf **)(void *)&r->tx_offload;
}

/* That field is aligned to 4 bytes only. */
struct last_mbuf {
	struct rte_mbuf *m;
} __attribute__((packed, aligned(4)));

static struct last_mbuf *range_last(struct rte_mbuf *r)
{
	return (struct last_mbuf *)(void *)&r->hash;
}

static_assert(sizeof(((struct rte_mbuf *)0)->tx_offload) >= sizeof(void *), "a pointer fits");
static_assert(sizeof(((struct rte_mbuf *)0)->hash) >= sizeof(void *), "a pointer fits");

#define RX_FLAGS (RTE_MBUF_F_FIRST_FREE - 1) /* what drivers say of a received packet */
#define RX_LEAST_BYTES 8192u /* under memory pressure */
#define RX_FULL_BYTES 16384u /* while the stack's queues hold all they may: an initial window still fits (RFC 6928) */

uint32_t conn_rx_size(const struct tcp_conn *c)
{
	uint32_t size = conn_share(c, c->stack->cfg.rx_buffer_bytes);
	unsigned pressure = c->stack->pressure;

	if (pressure && size > RX_LEAST_BYTES)
		size = size >> pressure > RX_LEAST_BYTES ? size >> pressure : RX_LEAST_BYTES;
	if (stack_is_full(c->stack) && size > RX_FULL_BYTES)
		size = RX_FULL_BYTES;
	return size;
}

bool rcvq_must_drop(const struct tcp_conn *c, uint32_t seq)
{
	const struct tcp_stack *s = c->stack;

	if (stack_is_full(s))
		return seq != c->rcv_nxt || c->rcv_bytes >= RX_FULL_BYTES;
	return s->pressure && c->rcv_bytes >= RX_FULL_BYTES && c->rcv_bytes >= s->rx_share;
}

/* Copies m behind last if that one is ours alone and has the room. */
static bool coalesce(struct rte_mbuf *last, const struct rte_mbuf *m)
{
	if (!last || m->data_len > RTE_MBUF_DEFAULT_DATAROOM / 2 || !RTE_MBUF_DIRECT(last) ||
	    rte_mbuf_refcnt_read(last) != 1)
		return false;
	if ((uint32_t)last->data_off + last->data_len + m->data_len > last->buf_len)
		return false;
	memcpy(rte_pktmbuf_mtod_offset(last, char *, last->data_len), rte_pktmbuf_mtod(m, const char *), m->data_len);
	last->data_len = (uint16_t)(last->data_len + m->data_len);
	return true;
}

/* Appends a packet, or a range, segment by segment. is_held: it counts as held already. */
static void append(struct tcp_conn *c, struct rte_mbuf *m, bool is_held)
{
	while (m) {
		struct rte_mbuf *next = m->next;

		c->rcv_bytes += m->data_len;
		m->next = NULL;
		m->nb_segs = 1;
		m->tx_offload = 0;
		m->ol_flags &= ~RX_FLAGS; /* what receiving said is used up */
		if (m->data_len == 0 || coalesce(c->rcv.tail, m)) {
			c->stack->n_held -= is_held;
			rte_pktmbuf_free_seg(m);
		} else {
			c->stack->n_held += !is_held;
			if (c->rcv.tail)
				c->rcv.tail->next = m;
			else
				c->rcv.head = m;
			c->rcv.tail = m;
		}
		m = next;
	}
}

void rcvq_trim_front(struct rte_mbuf *m, uint32_t n)
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

/* -- ranges */

static unsigned n_mbufs(const struct rte_mbuf *m)
{
	unsigned n = 0;

	for (; m; m = m->next)
		n++;
	return n;
}

static void free_range(struct tcp_conn *c, struct rte_mbuf *r)
{
	c->n_ooo--;
	c->ooo_bytes -= r->pkt_len;
	while (r) {
		struct rte_mbuf *next = r->next;

		r->next = NULL;
		r->nb_segs = 1;
		c->stack->n_held--;
		rte_pktmbuf_free_seg(r);
		r = next;
	}
}

/* Moves what has become in order. */
static void drain_ranges(struct tcp_conn *c)
{
	while (c->ooo && seq_le(range_seq(c->ooo), c->rcv_nxt)) {
		struct rte_mbuf *r = c->ooo;
		uint32_t len = r->pkt_len;
		uint32_t skip = c->rcv_nxt - range_seq(r);

		c->ooo = *range_next(r);
		if (skip >= len) {
			free_range(c, r);
			continue;
		}
		c->n_ooo--;
		c->ooo_bytes -= len;
		rcvq_trim_front(r, skip);
		c->rcv_nxt += len - skip;
		append(c, r, true);
	}
}

/* RFC 2018 4: the block of the latest segment comes first, then those told before it. */
static void note_recent(struct tcp_conn *c, uint32_t seq)
{
	unsigned i = 0;

	while (i < TCP_MAX_SACK - 1 && c->ooo_recent[i] != seq)
		i++;
	for (; i > 0; i--)
		c->ooo_recent[i] = c->ooo_recent[i - 1];
	c->ooo_recent[0] = seq;
}

/* [seq, end) arrived once more: the next ACK says so (RFC 2883). */
static void note_duplicate(struct tcp_conn *c, uint32_t seq, uint32_t end)
{
	stat_inc(c->stack->stats, WEIR_C_TCP_DUPLICATES);
	c->dsack[0] = seq;
	c->dsack[1] = end;
}

/* m, of len bytes from seq on, goes behind the range r, which ends there. */
static void extend(struct tcp_conn *c, struct rte_mbuf *r, struct rte_mbuf *m, uint32_t len)
{
	struct rte_mbuf *last = range_last(r)->m;

	while (m) {
		struct rte_mbuf *next = m->next;

		m->next = NULL;
		m->nb_segs = 1;
		if (m->data_len == 0 || coalesce(last, m)) {
			rte_pktmbuf_free_seg(m);
		} else {
			c->stack->n_held++;
			last->next = m;
			last = m;
		}
		m = next;
	}
	range_last(r)->m = last;
	r->pkt_len += len;
	c->ooo_bytes += len;
}

/*
 * Appends the range n to the range r, which ends where it begins. What fits
 * behind r's last mbuf is copied there, or bytes that arrive backwards would
 * keep a buffer each.
 */
static void join(struct tcp_conn *c, struct rte_mbuf *r, struct rte_mbuf *n)
{
	struct rte_mbuf *last = range_last(r)->m;
	struct rte_mbuf *end = range_last(n)->m;

	r->pkt_len += n->pkt_len;
	while (n && (n->data_len == 0 || coalesce(last, n))) {
		struct rte_mbuf *next = n->next;

		n->next = NULL;
		n->nb_segs = 1;
		c->stack->n_held--;
		rte_pktmbuf_free_seg(n);
		n = next;
	}
	last->next = n;
	range_last(r)->m = n ? end : last;
}

/* The range behind r is reached by it, or overlapped: they become one. */
static void merge_next(struct tcp_conn *c, struct rte_mbuf *r)
{
	struct rte_mbuf *n;

	while ((n = *range_next(r)) != NULL && seq_ge(range_end(r), range_seq(n))) {
		struct rte_mbuf *after = *range_next(n);
		uint32_t overlap = range_end(r) - range_seq(n);

		*range_next(r) = after;
		if (overlap >= n->pkt_len) {
			free_range(c, n);
			continue;
		}
		rcvq_trim_front(n, overlap);
		c->ooo_bytes -= overlap;
		c->n_ooo--;
		join(c, r, n);
	}
}

static void new_range(struct tcp_conn *c, struct rte_mbuf **at, struct rte_mbuf *m, uint32_t seq, uint32_t len)
{
	m->packet_type = seq;
	m->pkt_len = len;
	m->ol_flags &= ~RX_FLAGS;
	*range_next(m) = *at;
	range_last(m)->m = rte_pktmbuf_lastseg(m);
	*at = m;
	c->stack->n_held += n_mbufs(m);
	c->n_ooo++;
	c->ooo_bytes += len;
}

static void refuse(struct tcp_conn *c, struct rte_mbuf *m)
{
	stat_reason(c->stack->stats, WEIR_R_TCP_REASSEMBLY_FULL);
	rte_pktmbuf_free(m);
}

/* Puts a packet among the ranges: what is there already is cut from it. */
static void insert(struct tcp_conn *c, struct rte_mbuf *m, uint32_t seq, uint32_t len)
{
	struct rte_mbuf **p = &c->ooo;
	struct rte_mbuf *before = NULL;

	stat_inc(c->stack->stats, WEIR_C_TCP_OUT_OF_ORDER);
	if (c->ooo_bytes + len > conn_rx_size(c)) {
		refuse(c, m);
		return;
	}
	while (*p && seq_le(range_seq(*p), seq)) {
		before = *p;
		p = range_next(*p);
	}
	if (before && seq_lt(seq, range_end(before))) {
		uint32_t known = range_end(before) - seq;

		note_duplicate(c, seq, known < len ? range_end(before) : seq + len);
		note_recent(c, range_seq(before));
		if (known >= len) {
			rte_pktmbuf_free(m);
			return;
		}
		rcvq_trim_front(m, known);
		seq += known;
		len -= known;
	}
	if (*p && seq_gt(seq + len, range_seq(*p)))
		note_duplicate(c, range_seq(*p), seq_lt(seq + len, range_end(*p)) ? seq + len : range_end(*p));
	if (before && seq == range_end(before)) {
		extend(c, before, m, len);
	} else if (c->n_ooo >= TCP_MAX_OOO) {
		refuse(c, m);
		return;
	} else {
		new_range(c, p, m, seq, len);
		before = *p;
	}
	merge_next(c, before);
	note_recent(c, range_seq(before));
}

bool rcvq_input(struct tcp_conn *c, struct rte_mbuf *m, uint32_t seq, uint32_t len)
{
	assert(m->pkt_len == len && len > 0);
	if (seq != c->rcv_nxt) {
		insert(c, m, seq, len);
		return false;
	}
	if (c->ooo && seq_gt(seq + len, range_seq(c->ooo))) {
		uint32_t end = range_end(c->ooo);

		note_duplicate(c, range_seq(c->ooo), seq_lt(seq + len, end) ? seq + len : end);
	}
	c->rcv_nxt += len;
	append(c, m, false);
	drain_ranges(c);
	return true;
}

void rcvq_duplicate(struct tcp_conn *c, uint32_t seq, uint32_t end)
{
	note_duplicate(c, seq, end);
}

static bool add_block(const struct tcp_conn *c, uint32_t (*blocks)[2], unsigned *n, unsigned max, const struct rte_mbuf *r)
{
	bool has_fin = c->has_early_fin && range_end(r) == c->early_fin;

	for (unsigned i = 0; i < *n; i++)
		if (blocks[i][0] == range_seq(r))
			return true;
	if (*n == max)
		return false;
	blocks[*n][0] = range_seq(r);
	blocks[(*n)++][1] = range_end(r) + has_fin;
	return true;
}

/* The range that holds seq, if there is one. */
static void add_around(const struct tcp_conn *c, uint32_t (*blocks)[2], unsigned *n, unsigned max, uint32_t seq)
{
	for (struct rte_mbuf *r = c->ooo; r && seq_le(range_seq(r), seq); r = *range_next(r))
		if (seq_lt(seq, range_end(r)))
			add_block(c, blocks, n, max, r);
}

unsigned rcvq_sack_blocks(const struct tcp_conn *c, uint32_t (*blocks)[2], unsigned max)
{
	unsigned n = 0;

	if (max > TCP_MAX_SACK)
		max = TCP_MAX_SACK;
	if (c->dsack[0] != c->dsack[1]) /* the one that holds the duplicate comes right behind it (RFC 2883 4) */
		add_around(c, blocks, &n, max, c->dsack[0]);
	for (unsigned i = 0; i < TCP_MAX_SACK; i++) /* the latest first */
		add_around(c, blocks, &n, max, c->ooo_recent[i]);
	for (struct rte_mbuf *r = c->ooo; r && add_block(c, blocks, &n, max, r); r = *range_next(r))
		;
	return n;
}

static void free_ranges(struct tcp_conn *c)
{
	while (c->ooo) {
		struct rte_mbuf *r = c->ooo;

		c->ooo = *range_next(r);
		free_range(c, r);
	}
}

void rcvq_end(struct tcp_conn *c)
{
	for (unsigned i = 0; i < c->n_ooo; i++)
		stat_reason(c->stack->stats, WEIR_R_TCP_DATA_AFTER_FIN);
	free_ranges(c);
	c->dsack[0] = c->dsack[1];
}

void rcvq_free(struct tcp_conn *c)
{
	free_ranges(c);
	while (c->rcv.head) {
		struct rte_mbuf *m = c->rcv.head;

		c->rcv.head = m->next;
		m->next = NULL;
		c->stack->n_held--;
		rte_pktmbuf_free_seg(m);
	}
	c->rcv.tail = NULL;
	c->rcv_bytes = 0;
}

size_t tcp_readable(const struct tcp_conn *c)
{
	return c->rcv_bytes;
}

uint32_t tcp_received(const struct tcp_conn *c)
{
	return c->rcv_nxt - c->irs;
}

struct slice tcp_peek(const struct tcp_conn *c)
{
	const struct rte_mbuf *m = c->rcv.head;

	if (!m)
		return slice_of(NULL, 0);
	return slice_of(rte_pktmbuf_mtod(m, const char *), m->data_len);
}

void tcp_copy(const struct tcp_conn *c, size_t off, void *out, size_t n)
{
	const struct rte_mbuf *m = c->rcv.head;
	char *to = out;

	assert(off + n <= c->rcv_bytes);
	for (; n; m = m->next) {
		size_t k = off < m->data_len ? m->data_len - off : 0;

		if (k > n)
			k = n;
		if (k)
			memcpy(to, rte_pktmbuf_mtod_offset(m, const char *, off), k);
		off = k ? 0 : off - m->data_len;
		to += k;
		n -= k;
	}
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
	c->stack->n_held--;
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
	uint32_t size = conn_rx_size(c);

	if (step > size / 2)
		step = size / 2;
	if (!conn_may_receive(c) || !seq_gt(edge, c->rcv_adv) || edge - c->rcv_adv < step)
		return;
	/* Half of the window taken at once, or a window that had closed: at once. Else the next ACK carries it. */
	if (edge - c->rcv_adv >= size / 4 || c->rcv_adv - c->rcv_nxt < step) {
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

struct rte_mbuf *tcp_hold(struct tcp_conn *c, size_t n)
{
	struct rte_mbuf *m = c->rcv.head;

	assert(n > 0 && m && n <= m->data_len);
	c->rcv_bytes -= (uint32_t)n;
	if (n == m->data_len) {
		pop_head(c);
	} else {
		rte_mbuf_refcnt_update(m, 1);
		cut_head(c, (uint16_t)n);
	}
	c->stack->n_held++;
	maybe_update_window(c);
	return m;
}

void tcp_release(struct tcp_stack *s, struct rte_mbuf *m)
{
	s->n_held--;
	rte_pktmbuf_free_seg(m);
}

void tcp_note_held(struct tcp_stack *s, int n)
{
	s->n_held += (uint32_t)n;
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

size_t tcp_receive_size(const struct tcp_conn *c)
{
	return conn_rx_size(c);
}

bool tcp_peer_has_closed(const struct tcp_conn *c)
{
	return c->fin_received;
}

bool tcp_is_eof(const struct tcp_conn *c)
{
	return c->fin_received && c->rcv_bytes == 0;
}
