/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receiving: the content of records, as a list of single mbufs. They are filled only when nothing is left in them and somebody
 * asks, by what one record holds, so that what is not asked for stays encrypted in TCP's queue, where windows bound it.
 */
#include <openssl/err.h>
#include <rte_mbuf.h>

#include "tls/tls_pvt.h"

static void push(struct tls_session *s, struct rte_mbuf *m)
{
	m->next = NULL;
	if (s->tail)
		s->tail->next = m;
	else
		s->head = m;
	s->tail = m;
	s->n_bytes += m->data_len;
	tcp_note_held(s->t->cfg.tcp, 1);
}

void tls_take_in(struct tls_session *s, struct rte_mbuf *m, size_t n)
{
	m->data_len = (uint16_t)n;
	m->pkt_len = (uint32_t)n;
	push(s, m);
}

/* The head of the list, which does not count as held any more. */
static struct rte_mbuf *pop(struct tls_session *s)
{
	struct rte_mbuf *m = s->head;

	s->head = m->next;
	if (!s->head)
		s->tail = NULL;
	m->next = NULL;
	m->nb_segs = 1;
	m->pkt_len = m->data_len;
	tcp_note_held(s->t->cfg.tcp, -1);
	return m;
}

static void cut_head(struct tls_session *s, uint16_t n)
{
	struct rte_mbuf *m = s->head;

	m->data_off = (uint16_t)(m->data_off + n);
	m->data_len = (uint16_t)(m->data_len - n);
}

void tls_drop_received(struct tls_session *s)
{
	while (s->head)
		rte_pktmbuf_free_seg(pop(s));
	s->n_bytes = 0;
}

void tls_note_received(struct tls_session *s, size_t n)
{
	s->since_key_update += (uint32_t)n;
	if (s->since_key_update >= TLS_KEY_UPDATE_BYTES) {
		s->since_key_update = 0;
		s->n_key_updates = 0;
		if (s->is_backend)
			s->peer->n_messages = 0;
	}
}

enum weir_reason tls_flood_reason(const struct tls_session *s)
{
	if (s->n_key_updates > TLS_KEY_UPDATES_MAX)
		return WEIR_R_TLS_KEY_UPDATE_FLOOD;
	return s->n_renegotiations > TLS_RENEGOTIATIONS_MAX ? WEIR_R_TLS_RENEGOTIATION : WEIR_R_BACKEND_TLS_TICKET_FLOOD;
}

void tls_note_truncated(struct tls_session *s)
{
	s->is_closed = s->is_truncated = true;
	stat_inc(s->t->cfg.stats, s->is_backend ? WEIR_C_BACKEND_TLS_TRUNCATED : WEIR_C_TLS_TRUNCATED);
}

/* There is no content now: more may come, or not. */
static void on_nothing(struct tls_session *s, int rc)
{
	int what = SSL_get_error(s->ssl, rc);

	if (tls_floods(s)) {
		tls_end(s, tls_flood_reason(s), ALERT_NONE);
	} else if (what == SSL_ERROR_WANT_READ) {
		if (tcp_is_eof(s->tcp))
			tls_note_truncated(s);
	} else if (what == SSL_ERROR_ZERO_RETURN) {
		s->is_closed = true;
	} else if (what == SSL_ERROR_WANT_WRITE) {
		(void)tcp_send_room(s->tcp); /* an answer to a message that is no content: WRITABLE leads here again */
	} else if (s->is_broken) {
		s->is_closed = true;
	} else {
		tls_end(s, tls_error_reason(false), ALERT_NONE);
	}
}

static bool read_one(struct tls_session *s)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(s->t->cfg.pool);
	size_t n = 0;
	int rc;

	if (!m) {
		stat_reason(s->t->cfg.stats, WEIR_R_NO_MBUF);
		tcp_wake(s->tcp); /* to try again: what has come brings no other event */
		return false;
	}
	ERR_clear_error();
	rc = SSL_read_ex(s->ssl, rte_pktmbuf_mtod(m, void *), rte_pktmbuf_tailroom(m), &n);
	if (rc == 1 && n > 0) {
		tls_take_in(s, m, n);
		tls_note_received(s, n);
		return true;
	}
	rte_pktmbuf_free_seg(m);
	on_nothing(s, rc);
	return false;
}

/* Data that come behind the end of data: nobody reads them, and they must not fill the window. */
static void discard(struct tls_session *s)
{
	size_t n = tcp_readable(s->tcp);

	if (n)
		tcp_consume(s->tcp, n);
}

static bool has_nothing_new(const struct tls_session *s)
{
	if (tcp_readable(s->tcp) || tcp_peer_has_closed(s->tcp))
		return false;
	return tls_carries_itself(s) ? !tls_carry_record_waits(s->carry) : !SSL_has_pending(s->ssl) && !SSL_want_write(s->ssl);
}

static void fill(struct tls_session *s)
{
	enum weir_stage former;
	bool has_sent;

	if (s->n_bytes)
		return;
	s->has_early_data = false; /* all of it was taken, and what comes next is not; while the handshake goes on, early.c says so anew */
	if (s->is_closed || s->state == TLS_ENDED) {
		discard(s);
		return;
	}
	if (s->state != TLS_READY)
		return;
	has_sent = tls_go_on(s);
	if (s->state != TLS_READY || has_nothing_new(s))
		return;
	former = enter(s->t);
	if (tls_carries_itself(s))
		tls_carry_read(s);
	else if (has_sent) /* what libssl has begun to send has to be gone first: reading may make it send something else */
		while (read_one(s) && SSL_pending(s->ssl) > 0)
			;
	leave(s->t, former);
}

size_t tls_readable(struct tls_session *s)
{
	fill(s);
	return s->n_bytes;
}

bool tls_is_eof(struct tls_session *s)
{
	fill(s);
	if (s->n_bytes)
		return false;
	return s->state == TLS_READY ? s->is_closed : s->state == TLS_ENDED || tcp_is_eof(s->tcp);
}

struct slice tls_peek(struct tls_session *s)
{
	fill(s);
	if (!s->head)
		return slice_of(NULL, 0);
	return slice_of(rte_pktmbuf_mtod(s->head, const char *), s->head->data_len);
}

void tls_consume(struct tls_session *s, size_t n)
{
	assert(n <= s->n_bytes);
	s->n_bytes -= (uint32_t)n;
	while (n) {
		struct rte_mbuf *m = s->head;

		if (n < m->data_len) {
			cut_head(s, (uint16_t)n);
			break;
		}
		n -= m->data_len;
		rte_pktmbuf_free_seg(pop(s));
	}
}

struct rte_mbuf *tls_hold(struct tls_session *s, size_t n)
{
	struct rte_mbuf *m = s->head;

	assert(n > 0 && m && n <= m->data_len);
	s->n_bytes -= (uint32_t)n;
	if (n == m->data_len) {
		pop(s);
	} else {
		rte_mbuf_refcnt_update(m, 1);
		cut_head(s, (uint16_t)n);
	}
	tcp_note_held(s->t->cfg.tcp, 1);
	return m;
}

/* The head's first n bytes, copied: no more than an mbuf holds. */
static struct rte_mbuf *split_head(struct tls_session *s, uint16_t n)
{
	struct rte_mbuf *part = rte_pktmbuf_alloc(s->t->cfg.pool);

	if (!part)
		return NULL;
	memcpy(rte_pktmbuf_append(part, n), rte_pktmbuf_mtod(s->head, const char *), n);
	cut_head(s, n);
	return part;
}

struct rte_mbuf *tls_recv(struct tls_session *s, size_t max_bytes)
{
	struct rte_mbuf *head = NULL;
	struct rte_mbuf *tail = NULL;
	size_t taken = 0;

	fill(s);
	while (s->head && taken < max_bytes) {
		size_t left = max_bytes - taken;
		struct rte_mbuf *m = s->head->data_len <= left ? pop(s) : split_head(s, (uint16_t)left);

		if (!m) {
			stat_reason(s->t->cfg.stats, WEIR_R_NO_MBUF);
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
	s->n_bytes -= (uint32_t)taken;
	return head;
}
