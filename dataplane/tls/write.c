/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sending. What a session is given is gathered in the worker's one buffer until that is full, another session sends, or the
 * user is done: then it is sealed, as few records. Room is asked for with what surrounds them, so that TCP takes them; where it
 * does not after all (packet buffers are short), what is left waits in the session.
 */
#include <errno.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <rte_mbuf.h>

#include "tls/tls_pvt.h"

#define EMPTY_TAKES 65536u /* as TCP takes a message into an empty queue, whatever its room */

/* -- records */

/*
 * OpenSSL cuts by the smaller of both sizes, and lowered the second one with the first. Its buffer is gone: one that is there stays
 * as large as it was made, too small for such a record.
 */
static void enlarge_records(struct tls_session *s)
{
	s->n_records = TLS_SMALL_RECORDS;
	SSL_set_max_send_fragment(s->ssl, TLS_RECORD_BYTES);
	SSL_set_split_send_fragment(s->ssl, TLS_RECORD_BYTES);
}

static enum sealed seal_record(struct tls_session *s, const uint8_t *p, size_t n, size_t *done)
{
	int rc;

	if (tls_carries_itself(s)) {
		enum sealed o = tls_carry_seal(s, p, n, done);

		s->n_records += o == SEALED && s->n_records < TLS_SMALL_RECORDS;
		return o;
	}
	ERR_clear_error();
	rc = s->state == TLS_READY ? SSL_write_ex(s->ssl, p, n, done) : tls_early_write(s, p, n, done);
	if (rc == 1) {
		if (s->n_records < TLS_SMALL_RECORDS - 1)
			s->n_records++;
		else if (s->n_records < TLS_SMALL_RECORDS && *done == n) /* so OpenSSL has released its buffer (SSL_MODE_RELEASE_BUFFERS) */
			enlarge_records(s);
		return SEALED;
	}
	if (s->state == TLS_ENDED)
		return SEAL_ENDED;
	if (SSL_get_error(s->ssl, rc) == SSL_ERROR_WANT_WRITE)
		return SEAL_WAITS;
	if (!s->is_broken) /* else the connection tells why it ended */
		tls_end(s, tls_error_reason(false), ALERT_NONE);
	return SEAL_ENDED;
}

static void keep(struct tls_session *s, const uint8_t *p, size_t n)
{
	uint8_t *rest = OPENSSL_clear_realloc(s->rest, s->n_rest, s->n_rest + n);

	if (!rest) {
		tls_end(s, WEIR_R_TLS_NO_MEMORY, ALERT_NONE);
		return;
	}
	memcpy(rest + s->n_rest, p, n);
	s->rest = rest;
	s->n_rest += (uint32_t)n;
}

static void seal(struct tls_session *s, const uint8_t *p, size_t n)
{
	enum weir_stage former;
	enum sealed o = SEALED;

	if (!tls_carries(s) || s->is_broken)
		return;
	if (s->rest) {
		keep(s, p, n);
		return;
	}
	former = enter(s->t);
	while (n && o == SEALED) {
		size_t done = 0;

		o = seal_record(s, p, n, &done);
		p += done;
		n -= done;
	}
	leave(s->t, former);
	if (o == SEAL_WAITS)
		keep(s, p, n);
}

static void seal_gathered(struct tls *t)
{
	uint32_t n = t->n_gathered;

	t->n_gathered = 0;
	if (n)
		seal(t->gatherer, t->gathered, n);
}

/* False: it has to wait for room. */
static bool send_close_notify(struct tls_session *s)
{
	int rc;

	if (s->state != TLS_READY || s->is_broken)
		return true;
	if (tls_carries_itself(s))
		return tls_carry_alert(s, SSL3_AL_WARNING, SSL_AD_CLOSE_NOTIFY);
	ERR_clear_error();
	rc = SSL_shutdown(s->ssl);
	return rc >= 0 || SSL_get_error(s->ssl, rc) != SSL_ERROR_WANT_WRITE;
}

/* close_notify, and the end of the connection's side behind it. False: it has to wait for room. */
static bool close_side(struct tls_session *s)
{
	enum weir_stage former;

	if (tls_early_is_open(s)) /* OpenSSL cannot do that before, and the client will see to it that it can soon */
		return false;
	former = enter(s->t);
	s->has_to_shut = !send_close_notify(s);
	leave(s->t, former);
	if (!s->has_to_shut)
		tcp_shutdown(s->tcp);
	return !s->has_to_shut;
}

static void drop_rest(struct tls_session *s)
{
	OPENSSL_clear_free(s->rest, s->n_rest);
	s->rest = NULL;
	s->n_rest = 0;
}

bool tls_go_on(struct tls_session *s)
{
	if (!tls_early_flush(s))
		return false;
	if (s->rest && !s->is_broken) {
		enum weir_stage former = enter(s->t);
		enum sealed o = SEALED;
		size_t at = 0;

		while (at < s->n_rest && o == SEALED) {
			size_t done = 0;

			o = seal_record(s, s->rest + at, s->n_rest - at, &done);
			at += done;
		}
		leave(s->t, former);
		if (o == SEAL_WAITS) {
			memmove(s->rest, s->rest + at, s->n_rest - at);
			s->n_rest -= (uint32_t)at;
			OPENSSL_cleanse(s->rest + s->n_rest, at);
			return false;
		}
	}
	drop_rest(s);
	if (s->state == TLS_READY && tls_carries_itself(s) && s->carry->owes_refusal && !tls_carry_send_owed(s))
		return false;
	return !s->has_to_shut || close_side(s);
}

void tls_drop_unsent(struct tls_session *s)
{
	struct tls *t = s->t;

	drop_rest(s);
	s->has_to_shut = false;
	if (t->gatherer == s) {
		t->gatherer = NULL;
		t->n_gathered = 0;
	}
}

static uint32_t n_gathered(const struct tls_session *s)
{
	return s->t->gatherer == s ? s->t->n_gathered : 0;
}

size_t tls_unacked(const struct tls_session *s)
{
	return tcp_unacked(s->tcp) + s->n_rest + n_gathered(s) + (s->early ? s->early->n_unsent : 0);
}

/* -- what the user sees */

static bool may_send(const struct tls_session *s)
{
	return tls_carries(s) && !s->is_shut && !s->is_broken;
}

size_t tls_record_content(const struct tls_session *s)
{
	size_t n = s->n_records < TLS_SMALL_RECORDS ? s->small_bytes : TLS_RECORD_BYTES;

	return tls_carries_itself(s) && s->carry->max_content < n ? s->carry->max_content : n;
}

/* Bytes of content whose records fit into so many bytes. */
static size_t content_room(const struct tls_session *s, size_t room)
{
	size_t record = tls_record_content(s);
	size_t whole = record + TLS_RECORD_OVERHEAD;
	size_t cut = TLS_RECORD_OVERHEAD * (room / TLS_RECORD_BYTES + 1); /* records that end where the gathering buffer does */
	size_t left;

	room = room > cut ? room - cut : 0;
	left = room % whole;
	return room / whole * record + (left > TLS_RECORD_OVERHEAD ? left - TLS_RECORD_OVERHEAD : 0);
}

size_t tls_send_room(struct tls_session *s)
{
	size_t room;

	if (!may_send(s))
		return 0;
	tls_go_on(s);
	room = tcp_send_room(s->tcp); /* in any case: what waits is told when there is some */
	if (s->rest || (s->early && s->early->unsent) || !may_send(s))
		return 0;
	room = content_room(s, room);
	return room > n_gathered(s) ? room - n_gathered(s) : 0;
}

/* 0, or why it cannot be taken. */
static int takes(struct tls_session *s, size_t n)
{
	if (!may_send(s))
		return s->state == TLS_HELLO || s->state == TLS_HANDSHAKING ? -EAGAIN : -EPIPE;
	if (n <= tls_send_room(s))
		return 0;
	if (!tls_carries(s))
		return -EPIPE;
	if (tls_unacked(s) == 0 && n <= EMPTY_TAKES) /* what TCP does not take of it after all waits here */
		return 0;
	tcp_want_room(s->tcp); /* it may have room, only less than what is sealed needs */
	return -EAGAIN;
}

static void gather_for(struct tls_session *s)
{
	struct tls *t = s->t;

	if (t->gatherer == s)
		return;
	seal_gathered(t);
	t->gatherer = s;
}

static void add(struct tls_session *s, const void *data, size_t n)
{
	struct tls *t = s->t;
	const uint8_t *p = data;

	while (n && t->gatherer == s) { /* else it has just failed */
		size_t k = TLS_RECORD_BYTES - t->n_gathered;

		if (k > n)
			k = n;
		if (k == TLS_RECORD_BYTES) { /* as it lies */
			seal(s, p, k);
		} else {
			memcpy(t->gathered + t->n_gathered, p, k);
			t->n_gathered += (uint32_t)k;
			if (t->n_gathered == TLS_RECORD_BYTES)
				seal_gathered(t);
		}
		p += k;
		n -= k;
	}
}

int tls_send(struct tls_session *s, const void *data, size_t n)
{
	int rc = takes(s, n);

	if (rc)
		return rc;
	gather_for(s);
	add(s, data, n);
	return may_send(s) ? 0 : -EPIPE;
}

int tls_send_mbufs(struct tls_session *s, struct rte_mbuf *chain)
{
	int rc = takes(s, chain->pkt_len);

	if (rc == 0) {
		gather_for(s);
		for (const struct rte_mbuf *m = chain; m; m = m->next)
			add(s, rte_pktmbuf_mtod(m, const void *), m->data_len);
		rc = may_send(s) ? 0 : -EPIPE;
	}
	rte_pktmbuf_free(chain);
	return rc;
}

void tls_flush(struct tls_session *s)
{
	if (s->t->gatherer == s) {
		seal_gathered(s->t);
		s->t->gatherer = NULL;
	} else if (s->rest || s->has_to_shut || (s->early && s->early->unsent)) {
		tls_go_on(s);
	}
}

bool tls_is_flushed(struct tls_session *s)
{
	return n_gathered(s) == 0 && tls_go_on(s);
}

void tls_shutdown(struct tls_session *s)
{
	if (s->is_shut)
		return;
	tls_flush(s);
	s->is_shut = true;
	s->has_to_shut = true;
	tls_go_on(s);
}
