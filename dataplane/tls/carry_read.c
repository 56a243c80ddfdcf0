/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receiving without libssl. A record's bytes are taken from TCP as packet buffers and opened where they lie: what is read has not
 * been copied. They are taken when the record has come as a whole, so what waits for its rest counts in TCP's window; in pieces where
 * that is too small for it.
 */
#include <rte_mbuf.h>

#include "tls/carry.h"
#include "tls/tls_pvt.h"

#define PIECE_PART 4u	   /* of the window: with so much unread it is still open for whoever waits for half of it */
#define EXPANSION_12 1024u /* of a record's body beyond its content at most, with its nonce and tag (RFC 5246 6.2.3) */
#define EXPANSION_13 256u  /* RFC 8446 5.2 */
#define IDLE_MAX 32u	   /* records in a row that bring nothing */
#define N_HEADER 4u	   /* of a handshake message: type, length */
#define CLIENT_HELLO 1
#define KEY_UPDATE 24

enum got { GOT_RECORD, GOT_NOTHING, GOT_END };

static enum got refuse(struct tls_session *s, enum tls_alert alert)
{
	tls_end(s, WEIR_R_TLS_BAD_RECORD, alert);
	return GOT_END;
}

/* -- a record comes in */

static enum got check_head(struct tls_session *s, const uint8_t *p, size_t n)
{
	bool is_13 = s->carry->in.is_13;

	if (p[1] != 3 || p[2] != 3)
		return refuse(s, is_13 ? ALERT_DECODE_ERROR : ALERT_PROTOCOL_VERSION);
	if (is_13 ? p[0] != RECORD_CONTENT : p[0] < RECORD_ALERT || p[0] > RECORD_CONTENT)
		return refuse(s, ALERT_UNEXPECTED_MESSAGE);
	if (n > s->carry->max_content + (is_13 ? EXPANSION_13 : EXPANSION_12))
		return refuse(s, ALERT_RECORD_OVERFLOW);
	if (n < record_nonce_bytes(&s->carry->in) + RECORD_TAG)
		return refuse(s, ALERT_BAD_RECORD_MAC);
	return GOT_RECORD;
}

/* The head, and the nonce if there is one. */
static enum got take_head(struct tls_session *s)
{
	struct carry *c = s->carry;
	size_t n_nonce = record_nonce_bytes(&c->in);
	uint8_t p[RECORD_HEAD + RECORD_NONCE];
	size_t n;

	if (tcp_readable(s->tcp) < RECORD_HEAD)
		return GOT_NOTHING;
	tcp_copy(s->tcp, 0, p, RECORD_HEAD);
	n = (size_t)p[3] << 8 | p[4];
	if (check_head(s, p, n) == GOT_END)
		return GOT_END;
	if (tcp_readable(s->tcp) < RECORD_HEAD + n_nonce)
		return GOT_NOTHING;
	tcp_copy(s->tcp, 0, p, RECORD_HEAD + n_nonce);
	tcp_consume(s->tcp, RECORD_HEAD + n_nonce);
	memcpy(c->head.bytes, p, RECORD_HEAD);
	memcpy(c->head.nonce, p + RECORD_HEAD, n_nonce);
	c->n_wanted = (uint32_t)(n - n_nonce);
	c->n_taken = 0;
	return GOT_RECORD;
}

static enum got wait_for_mbuf(struct tls_session *s)
{
	stat_reason(s->t->cfg.stats, WEIR_R_NO_MBUF);
	tcp_wake(s->tcp); /* to try again: what has come brings no other event */
	return GOT_NOTHING;
}

static void append(struct tls_session *s, struct rte_mbuf *m)
{
	struct carry *c = s->carry;

	while (m) {
		struct rte_mbuf *next = m->next;

		m->next = NULL;
		m->nb_segs = 1;
		m->pkt_len = m->data_len;
		if (c->list)
			c->last->next = m;
		else
			c->list = m;
		c->last = m;
		c->n_taken += m->data_len;
		tcp_note_held(s->t->cfg.tcp, 1);
		m = next;
	}
}

static enum got take_body(struct tls_session *s)
{
	struct carry *c = s->carry;
	size_t n = tcp_readable(s->tcp);

	if (n < c->n_wanted - c->n_taken && n < tcp_receive_size(s->tcp) / PIECE_PART)
		return GOT_NOTHING;
	while (c->n_taken < c->n_wanted) {
		struct rte_mbuf *m = tcp_recv(s->tcp, c->n_wanted - c->n_taken);

		if (!m && tcp_readable(s->tcp)) /* counted there */
			tcp_wake(s->tcp);
		if (!m)
			return GOT_NOTHING;
		append(s, m);
	}
	return GOT_RECORD;
}

/* What somebody else has too is copied: it is to be changed. False: there is no mbuf for it. */
static bool make_writable(struct tls_session *s)
{
	struct rte_mbuf **at = &s->carry->list;

	while (*at) {
		struct rte_mbuf *m = *at, *copy;

		if (!RTE_MBUF_DIRECT(m) || rte_mbuf_refcnt_read(m) != 1) {
			struct rte_mbuf *next = m->next;

			m->next = NULL;
			copy = rte_pktmbuf_copy(m, s->t->cfg.pool, 0, UINT32_MAX);
			m->next = next;
			if (!copy)
				return false;
			tcp_note_held(s->t->cfg.tcp, copy->nb_segs - 1);
			*at = copy;
			rte_pktmbuf_lastseg(copy)->next = next;
			m->next = NULL;
			rte_pktmbuf_free_seg(m);
		}
		at = &(*at)->next;
	}
	return true;
}

/* What was taken does not count as held by this record any more. */
static struct rte_mbuf *give_list(struct tls_session *s)
{
	struct rte_mbuf *list = s->carry->list;

	for (const struct rte_mbuf *m = list; m; m = m->next)
		tcp_note_held(s->t->cfg.tcp, -1);
	s->carry->list = s->carry->last = NULL;
	return list;
}

static void free_list(struct rte_mbuf *m)
{
	while (m) {
		struct rte_mbuf *next = m->next;

		m->next = NULL;
		rte_pktmbuf_free_seg(m);
		m = next;
	}
}

static size_t list_bytes(const struct rte_mbuf *m)
{
	size_t n = 0;

	for (; m; m = m->next)
		n += m->data_len;
	return n;
}

/* The next record, opened: its type and what it holds. */
static enum got next_record(struct tls_session *s, uint8_t *type, struct rte_mbuf **list)
{
	struct carry *c = s->carry;
	enum got o = c->n_wanted ? GOT_RECORD : take_head(s);
	size_t n;

	if (o == GOT_RECORD)
		o = take_body(s);
	if (o != GOT_RECORD)
		return o;
	if (!make_writable(s))
		return wait_for_mbuf(s);
	n = c->n_wanted;
	c->n_wanted = c->n_taken = 0;
	*list = give_list(s);
	if (!record_open(&s->t->ciphers, &c->in, &c->head, list, n, type)) {
		free_list(*list);
		return refuse(s, ALERT_BAD_RECORD_MAC);
	}
	return GOT_RECORD;
}

/* -- what came in it */

static enum got take_alert(struct tls_session *s, const uint8_t *p, size_t n)
{
	if (n != 2)
		return refuse(s, ALERT_DECODE_ERROR);
	if (p[1] == SSL_AD_CLOSE_NOTIFY) {
		s->is_closed = true;
		return GOT_END;
	}
	/* In TLS 1.3 the level says nothing (RFC 8446 6); user_canceled announces close_notify. */
	if (s->carry->in.is_13 ? p[1] == SSL_AD_USER_CANCELLED : p[0] == SSL3_AL_WARNING)
		return GOT_NOTHING;
	tls_end(s, WEIR_R_TLS_PEER_ALERT, ALERT_NONE);
	return GOT_END;
}

static enum got flood(struct tls_session *s)
{
	tls_end(s, tls_flood_reason(s), ALERT_NONE);
	return GOT_END;
}

/* KeyUpdate (RFC 8446 4.6.3), which has to be the last of its record (5.1). */
static enum got take_key_update(struct tls_session *s, uint8_t request, bool is_last)
{
	struct carry *c = s->carry;

	if (!is_last)
		return refuse(s, ALERT_UNEXPECTED_MESSAGE);
	if (request > 1)
		return refuse(s, ALERT_ILLEGAL_PARAMETER);
	stat_inc(s->t->cfg.stats, WEIR_C_TLS_KEY_UPDATES);
	s->n_key_updates++;
	if (tls_floods(s))
		return flood(s);
	c->n_message = 0;
	c->owes_update |= request;
	if (!tls_carry_next_key(s, &c->in, c->secret[0]))
		return refuse(s, ALERT_INTERNAL_ERROR);
	tls_carry_send_owed(s); /* else before the next content */
	return s->state == TLS_ENDED ? GOT_END : GOT_NOTHING;
}

/* A header of TLS 1.2: only a new handshake may be asked for, which is refused (RFC 5246 7.2.2); its message is skipped. */
static enum got take_header_12(struct tls_session *s)
{
	struct carry *c = s->carry;

	if (c->message[0] != CLIENT_HELLO)
		return refuse(s, ALERT_UNEXPECTED_MESSAGE);
	c->n_skip = (uint32_t)c->message[1] << 16 | (uint32_t)c->message[2] << 8 | c->message[3];
	if (c->n_skip > s->t->cfg.hello_bytes)
		return refuse(s, ALERT_ILLEGAL_PARAMETER);
	c->n_message = 0;
	s->n_renegotiations++;
	if (tls_floods(s))
		return flood(s);
	c->owes_refusal = true;
	tls_carry_send_owed(s);
	return s->state == TLS_ENDED ? GOT_END : GOT_NOTHING;
}

static enum got take_header_13(struct tls_session *s)
{
	const uint8_t *m = s->carry->message;

	if (m[0] != KEY_UPDATE)
		return refuse(s, ALERT_UNEXPECTED_MESSAGE);
	return m[1] || m[2] || m[3] != 1 ? refuse(s, ALERT_DECODE_ERROR) : GOT_NOTHING;
}

/* One byte of a handshake message. */
static enum got take_message_byte(struct tls_session *s, uint8_t byte, bool is_last)
{
	struct carry *c = s->carry;

	if (c->n_skip) {
		c->n_skip--;
		return GOT_NOTHING;
	}
	if (c->n_message == N_HEADER)
		return take_key_update(s, byte, is_last);
	c->message[c->n_message++] = byte;
	if (c->n_message < N_HEADER)
		return GOT_NOTHING;
	return c->in.is_13 ? take_header_13(s) : take_header_12(s);
}

static enum got take_messages(struct tls_session *s, const struct rte_mbuf *list)
{
	enum got o = GOT_NOTHING;

	for (const struct rte_mbuf *m = list; m && o == GOT_NOTHING; m = m->next)
		for (uint16_t i = 0; i < m->data_len && o == GOT_NOTHING; i++)
			o = take_message_byte(s, *rte_pktmbuf_mtod_offset(m, const uint8_t *, i), !m->next && i + 1 == m->data_len);
	return o;
}

static enum got take_control(struct tls_session *s, uint8_t type, const struct rte_mbuf *list)
{
	uint8_t alert[2] = {0};
	size_t n = 0;

	if (!list) /* RFC 8446 5.4, RFC 5246 6.2.1 */
		return refuse(s, ALERT_UNEXPECTED_MESSAGE);
	if (type == RECORD_HANDSHAKE)
		return take_messages(s, list);
	if (type != RECORD_ALERT)
		return refuse(s, ALERT_UNEXPECTED_MESSAGE);
	for (const struct rte_mbuf *m = list; m; m = m->next)
		for (uint16_t i = 0; i < m->data_len; i++, n++)
			if (n < sizeof(alert))
				alert[n] = *rte_pktmbuf_mtod_offset(m, const uint8_t *, i);
	return take_alert(s, alert, n);
}

/* Content, to be read by the session's user. */
static void take_content(struct tls_session *s, struct rte_mbuf *list)
{
	size_t n = list_bytes(list);

	while (list) {
		struct rte_mbuf *next = list->next;

		tls_take_in(s, list, list->data_len);
		list = next;
	}
	s->carry->n_idle = 0;
	tls_note_received(s, n);
}

static enum got take(struct tls_session *s, uint8_t type, struct rte_mbuf *list)
{
	bool is_within = s->carry->n_message || s->carry->n_skip; /* a message that has not come to its end */
	enum got o;

	if (list_bytes(list) > s->carry->max_content) {
		o = refuse(s, ALERT_RECORD_OVERFLOW);
	} else if (type != RECORD_HANDSHAKE && is_within) {
		o = refuse(s, ALERT_UNEXPECTED_MESSAGE);
	} else if (type == RECORD_CONTENT && list) {
		take_content(s, list);
		return GOT_RECORD;
	} else if (++s->carry->n_idle > IDLE_MAX && type != RECORD_HANDSHAKE) { /* KeyUpdates are bounded by themselves */
		o = refuse(s, ALERT_UNEXPECTED_MESSAGE);
	} else {
		o = type == RECORD_CONTENT ? GOT_NOTHING : take_control(s, type, list);
	}
	free_list(list);
	return o;
}

/* There is no whole record, or no mbuf for it. */
static void note_end(struct tls_session *s)
{
	const struct carry *c = s->carry;
	bool has_come = c->n_wanted && c->n_taken + tcp_readable(s->tcp) >= c->n_wanted;

	if (!has_come && tcp_peer_has_closed(s->tcp))
		tls_note_truncated(s);
}

void tls_carry_read(struct tls_session *s)
{
	struct rte_mbuf *list = NULL;
	uint8_t type;
	enum got o;

	do {
		o = next_record(s, &type, &list);
		if (o == GOT_NOTHING) {
			note_end(s);
			return;
		}
		if (o == GOT_RECORD)
			o = take(s, type, list);
	} while (o == GOT_NOTHING);
}
