/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Early data of clients (0-RTT, RFC 8446 2.3, 4.2.10): what comes right behind the ClientHello, under a key of a ticket. They are
 * read before the handshake is complete, and answered before it is, too.
 *
 * Anybody who saw them can send them once more (RFC 8446 8). OpenSSL's own remedy is a store of sessions that are good for once,
 * which workers do not share; here each ClientHello that comes with a good binder is noted for as long as OpenSSL takes its ticket's
 * age for fresh, and the same one is not accepted twice by this worker (RFC 8446 8.2). Others may accept it: what
 * is done by early data has to be harmless if it is done again, which their reader sees to.
 */
#include <errno.h>
#include <sys/mman.h>

#include <openssl/err.h>
#include <rte_mbuf.h>

#include "base/hash.h"
#include "tls/replay.h"
#include "tls/tls_pvt.h"

#define EARLY_BYTES 16384u /* of one connection: accepted, or skipped where they are not */

enum early_why {
	WHY_NOT,      /* nothing is against it but what OpenSSL finds */
	WHY_OFF,      /* here, or for this server name */
	WHY_REPLAYED,
	WHY_UNKNOWN,  /* the worker has run for too short a time */
	WHY_FULL,
	WHY_RETRY,    /* HelloRetryRequest */
	WHY_NO_MEMORY,
};

int tls_early_init(struct tls *t)
{
	if (!t->cfg.early_data)
		return 0;
	/* With its pages: the worker is not to take faults for them in a handshake. */
	t->replays = mmap(NULL, sizeof(*t->replays), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (t->replays == MAP_FAILED)
		t->replays = NULL;
	stat_set(t->cfg.stats, WEIR_G_TLS_EARLY_DATA, t->replays != NULL);
	return t->replays ? 0 : -1;
}

void tls_early_fini(struct tls *t)
{
	if (t->replays)
		munmap(t->replays, sizeof(*t->replays));
	t->replays = NULL;
}

/* -- what came before */

static enum early_why note(struct replays *r, uint64_t hash, uint64_t now_us)
{
	switch (replays_note(r, hash, now_us)) {
	case REPLAY_NEW:
		return WHY_NOT;
	case REPLAY_SEEN:
		return WHY_REPLAYED;
	case REPLAY_TOO_SOON:
		return WHY_UNKNOWN;
	case REPLAY_FULL:
		break;
	}
	return WHY_FULL;
}

/*
 * The binder is good, and it covers the client's random: with the ticket's secret that tells the ClientHello from all others,
 * and nobody without that secret can make one that is taken for it.
 */
static uint64_t hash_of(const SSL *ssl)
{
	uint8_t of[SSL3_RANDOM_SIZE + SSL_MAX_MASTER_KEY_LENGTH] = {0};
	uint64_t hash;

	SSL_get_client_random(ssl, of, SSL3_RANDOM_SIZE);
	SSL_SESSION_get_master_key(SSL_get0_session(ssl), of + SSL3_RANDOM_SIZE, SSL_MAX_MASTER_KEY_LENGTH);
	hash = hash_keyed(of, sizeof(of), 0);
	OPENSSL_cleanse(of, sizeof(of));
	return hash;
}

/* All that OpenSSL asks for is there: ticket, binder, age, protocol, and no HelloRetryRequest. */
static int on_allow(SSL *ssl, void *arg)
{
	struct tls_session *s = tls_bio_session(ssl);
	struct tls *t = s->t;

	if (!s->early || s->early->is_over)
		return 0;
	s->early->why = (uint8_t)note(t->replays, hash_of(ssl), t->offload.now_us);
	if (s->early->why == WHY_NOT && !tcp_has_memory(t->cfg.tcp))
		s->early->why = WHY_NO_MEMORY;
	return s->early->why == WHY_NOT;
}

bool tls_early_register(struct tls *t, SSL_CTX *ctx)
{
	SSL_CTX_set_options(ctx, SSL_OP_NO_ANTI_REPLAY);
	SSL_CTX_set_allow_early_data_cb(ctx, on_allow, NULL);
	return SSL_CTX_set_max_early_data(ctx, t->cfg.early_data ? EARLY_BYTES : 0) &&
	       SSL_CTX_set_recv_max_early_data(ctx, EARLY_BYTES);
}

/* -- the session */

int tls_early_begin(struct tls_session *s, bool is_announced)
{
	bool takes = s->t->cfg.early_data && !s->auth.is_asked && !s->is_stream;

	if (!takes && !SSL_set_max_early_data(s->ssl, 0))
		return -1;
	if (s->t->replays) /* nothing that came before this worker's first handshake is known */
		replays_begin(s->t->replays, s->t->offload.now_us);
	if (!is_announced)
		return 0;
	s->early = OPENSSL_zalloc(sizeof(*s->early));
	if (!s->early)
		return -1;
	s->early->is_over = !takes;
	s->early->why = takes ? WHY_NOT : WHY_OFF;
	return 0;
}

void tls_early_end(struct tls_session *s)
{
	struct early *e = s->early;

	if (!e)
		return;
	if (e->m)
		rte_pktmbuf_free_seg(e->m);
	OPENSSL_clear_free(e->unsent, e->n_unsent);
	OPENSSL_free(e);
	s->early = NULL;
}

static void count_rejected(struct tls_session *s)
{
	static const enum weir_counter by_why[] = {
		[WHY_OFF] = WEIR_C_TLS_EARLY_DATA_OFF,
		[WHY_REPLAYED] = WEIR_C_TLS_EARLY_DATA_REPLAYED,
		[WHY_UNKNOWN] = WEIR_C_TLS_EARLY_DATA_UNKNOWN,
		[WHY_FULL] = WEIR_C_TLS_EARLY_DATA_FULL,
		[WHY_RETRY] = WEIR_C_TLS_EARLY_DATA_RETRY,
		[WHY_NO_MEMORY] = WEIR_C_TLS_EARLY_DATA_NO_MEMORY,
	};
	enum weir_counter why = by_why[s->early->why];

	if (s->early->is_counted)
		return;
	s->early->is_counted = true;
	if (s->early->why == WHY_NOT)
		why = SSL_session_reused(s->ssl) ? WEIR_C_TLS_EARLY_DATA_STALE : WEIR_C_TLS_EARLY_DATA_NO_TICKET;
	stat_inc(s->t->cfg.stats, WEIR_C_TLS_EARLY_DATA_REJECTED);
	stat_inc(s->t->cfg.stats, why);
}

void tls_early_complete(struct tls_session *s)
{
	if (s->early && SSL_get_early_data_status(s->ssl) != SSL_EARLY_DATA_ACCEPTED)
		count_rejected(s);
	tls_early_end(s);
}

/*
 * OpenSSL accepts nothing. It says so also behind a HelloRetryRequest, before the second ClientHello, when nothing of the ticket is known
 * to those who ask; it has no Finished of its own then.
 */
static void close_early(struct tls_session *s)
{
	if (s->early->why == WHY_NOT && SSL_get_finished(s->ssl, NULL, 0) == 0)
		s->early->why = WHY_RETRY;
	count_rejected(s);
}

/* OpenSSL has answered the ClientHello, and accepted what follows. */
static void open_early(struct tls_session *s)
{
	s->early->since_us = s->t->offload.now_us;
	stat_inc(s->t->cfg.stats, WEIR_C_TLS_EARLY_DATA);
	offload_complete(s); /* what is left of the handshake has nothing for the device, and content is not to become jobs */
	tls_set_record_size(s);
}

int tls_early_read(struct tls_session *s)
{
	struct early *e = s->early;

	while (!e->is_over) {
		size_t n = 0;
		int rc, what;

		if (!e->m && !(e->m = rte_pktmbuf_alloc(s->t->cfg.pool))) {
			stat_reason(s->t->cfg.stats, WEIR_R_NO_MBUF);
			tcp_wake(s->tcp);
			return SSL_ERROR_WANT_WRITE;
		}
		rc = SSL_read_early_data(s->ssl, rte_pktmbuf_mtod(e->m, void *), rte_pktmbuf_tailroom(e->m), &n);
		what = rc == SSL_READ_EARLY_DATA_ERROR ? SSL_get_error(s->ssl, 0) : SSL_ERROR_NONE;
		if (what != SSL_ERROR_NONE && what != SSL_ERROR_WANT_READ)
			return what;
		if (!e->since_us && SSL_get_early_data_status(s->ssl) == SSL_EARLY_DATA_ACCEPTED)
			open_early(s);
		if (what != SSL_ERROR_NONE)
			return what;
		if (rc == SSL_READ_EARLY_DATA_FINISH) {
			e->is_over = true;
			if (!e->since_us)
				close_early(s);
		} else if (n) {
			tls_take_in(s, e->m, n);
			s->has_early_data = true;
			e->m = NULL;
		}
	}
	return SSL_ERROR_NONE;
}

/* -- answers before the handshake is complete */

int tls_early_write(struct tls_session *s, const uint8_t *p, size_t n, size_t *done)
{
	int rc;

	s->early->is_sending = true;
	rc = SSL_write_early_data(s->ssl, p, n, done);
	s->early->is_sending = false;
	if (s->early->has_lost) {
		tls_end(s, WEIR_R_TLS_NO_MEMORY, ALERT_NONE);
		return 0;
	}
	return rc;
}

/*
 * OpenSSL writes by a buffer of its own in a handshake, and does not tell whether that could be emptied: so what it writes
 * has to be taken. It is no more than the session's user gave, who asked for room.
 */
bool tls_early_keep(struct tls_session *s, const void *p, size_t n)
{
	struct early *e = s->early;
	uint8_t *to;

	if (!e || !e->is_sending)
		return false;
	to = e->has_lost ? NULL : OPENSSL_clear_realloc(e->unsent, e->n_unsent, e->n_unsent + n);
	if (!to) {
		e->has_lost = true;
		return true;
	}
	memcpy(to + e->n_unsent, p, n);
	e->unsent = to;
	e->n_unsent += (uint32_t)n;
	return true;
}

bool tls_early_flush(struct tls_session *s)
{
	struct early *e = s->early;
	uint32_t at = 0;

	if (!e || !e->unsent)
		return true;
	while (at < e->n_unsent) {
		size_t room = tcp_send_room(s->tcp);
		size_t n = e->n_unsent - at < room ? e->n_unsent - at : room;
		int rc = n ? tcp_send(s->tcp, e->unsent + at, n) : -EAGAIN;

		s->is_broken |= rc == -EPIPE;
		if (rc)
			break;
		at += (uint32_t)n;
	}
	memmove(e->unsent, e->unsent + at, e->n_unsent - at);
	e->n_unsent -= at;
	if (e->n_unsent && !s->is_broken)
		return false;
	OPENSSL_free(e->unsent);
	e->unsent = NULL;
	e->n_unsent = 0;
	return true;
}

bool tls_is_early(const struct tls_session *s)
{
	return s->has_early_data && s->n_bytes;
}

uint64_t tls_early_since(const struct tls_session *s)
{
	return tls_early_is_open(s) ? s->early->since_us : 0;
}
