/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions: their objects, their handshakes, and how they end. */
#include <openssl/err.h>

#include "tls/tls_pvt.h"
#include "weir/accesslog.h"

#define GROUP_HYBRID 0x11ec /* X25519MLKEM768 */
#define SMALL_LEAST 512u /* OpenSSL makes no smaller records */

/* -- objects */

struct tls_session *tls_new(struct tls *t, struct tcp_conn *c)
{
	struct tls_session *s = t->free;

	if (s) {
		t->free = s->next;
	} else if (t->n_fresh < t->cfg.n_sessions) {
		s = &t->sessions[t->n_fresh++];
	} else {
		stat_reason(t->cfg.stats, WEIR_R_TLS_SESSIONS_FULL);
		return NULL;
	}
	memset(s, 0, sizeof(*s));
	s->t = t;
	s->tcp = c;
	s->state = TLS_HELLO;
	stat_set(t->cfg.stats, WEIR_G_TLS_SESSIONS, ++t->n_sessions);
	stat_set(t->cfg.stats, WEIR_G_TLS_HANDSHAKING, ++t->n_handshaking);
	return s;
}

struct tls_session *tls_accept(struct tls *t, struct tcp_conn *c)
{
	return tls_new(t, c);
}

static void leave_handshake(struct tls_session *s, enum tls_state to)
{
	if (s->state == TLS_HELLO || s->state == TLS_HANDSHAKING)
		stat_set(s->t->cfg.stats, WEIR_G_TLS_HANDSHAKING, --s->t->n_handshaking);
	s->state = (uint8_t)to;
}

static void drop_ssl(struct tls_session *s)
{
	enum weir_stage former;

	if (!s->ssl || s->job > JOB_QUEUED) /* with a job: tls_let_go() */
		return;
	former = enter(s->t);
	SSL_free(s->ssl);
	s->ssl = NULL;
	tls_early_end(s);
	ERR_clear_error();
	leave(s->t, former);
}

static void put_back(struct tls_session *s)
{
	struct tls *t = s->t;

	s->state = TLS_FREE;
	s->next = t->free;
	t->free = s;
}

void tls_free(struct tls_session *s)
{
	struct tls *t = s->t;

	assert(s->state != TLS_FREE);
	offload_hear(s);
	tls_stop_waiting(s);
	tls_drop_unsent(s);
	tls_drop_received(s);
	drop_ssl(s);
	if (s->is_backend)
		OPENSSL_free(s->peer);
	else
		tls_carry_free(s);
	s->peer = NULL;
	OPENSSL_free(s->client_cert);
	s->client_cert = NULL;
	OPENSSL_clear_free(s->name, s->n_name);
	s->name = NULL;
	leave_handshake(s, TLS_ENDED);
	s->tcp = NULL;
	stat_set(t->cfg.stats, WEIR_G_TLS_SESSIONS, --t->n_sessions);
	if (s->job != JOB_NONE)
		offload_orphan(s);
	else
		put_back(s);
}

void tls_let_go(struct tls_session *s)
{
	struct tls *t = s->t;

	if (s->state != TLS_ENDED) /* its owner does that */
		return;
	drop_ssl(s);
	if (!s->is_orphan)
		return;
	stat_set(t->cfg.stats, WEIR_G_TLS_OFFLOAD_ORPHANS, --t->offload.n_orphans);
	put_back(s);
}

/* -- ends */

enum tls_outcome tls_end(struct tls_session *s, enum weir_reason why, enum tls_alert alert)
{
	bool shuts = s->has_to_shut;
	size_t n;

	if (s->state == TLS_ENDED)
		return TLS_FAILED;
	if (s->is_backend)
		why = tls_reason_of_backend(why);
	stat_reason(s->t->cfg.stats, why);
	s->reason_plus1 = (uint16_t)(why + 1);
	tls_stop_waiting(s);
	leave_handshake(s, TLS_ENDED);
	tls_drop_unsent(s);
	tls_drop_received(s);
	drop_ssl(s);
	if (alert != ALERT_NONE)
		tls_alert(s, alert);
	if (!s->is_backend)
		tls_carry_free(s);
	/* What nobody will read is taken out, or TCP would answer it by a RST that overtakes the alert. */
	n = tcp_readable(s->tcp);
	if (n)
		tcp_consume(s->tcp, n);
	if (shuts)
		tcp_shutdown(s->tcp);
	return TLS_FAILED;
}

void tls_fail(struct tls_session *s, enum weir_reason why)
{
	tls_end(s, why, ALERT_NONE);
}

enum weir_reason tls_reason(const struct tls_session *s)
{
	return s->reason_plus1 ? (enum weir_reason)(s->reason_plus1 - 1) : WEIR_N_REASONS;
}

/* -- waiting */

void tls_stop_waiting(struct tls_session *s)
{
	offload_leave_queue(s);
	if (s->waits == WAITS_NOT || s->waits == WAITS_OFFLOAD) /* what waits for a job's end does so whether the session ends or not */
		return;
	*s->prev_next = s->next;
	if (s->next)
		s->next->prev_next = s->prev_next;
	else if (s->waits == WAITS_TURN)
		s->t->turn_tail = s->prev_next;
	s->next = NULL;
	s->prev_next = NULL;
	s->waits = WAITS_NOT;
}

void tls_wake(struct tls_session *s)
{
	tls_stop_waiting(s);
	tcp_wake(s->tcp);
}

/* -- the handshake */

/* The client has closed its side, whatever it sent before. */
static bool is_gone(const struct tls_session *s)
{
	struct tcp_info info;

	if (tcp_is_eof(s->tcp))
		return true;
	if (s->state != TLS_HELLO)
		return false;
	tcp_get_info(s->tcp, &info); /* its message still lies there */
	return info.state == TCP_CLOSE_WAIT || info.state == TCP_LAST_ACK || info.state == TCP_CLOSING ||
	       info.state == TCP_TIME_WAIT;
}

static enum tls_outcome wait_for_peer(struct tls_session *s)
{
	return is_gone(s) ? tls_end(s, WEIR_R_TLS_CLIENT_GONE, ALERT_NONE) : TLS_MORE;
}

void tls_set_record_size(struct tls_session *s)
{
	struct tcp_info info;
	uint32_t n;

	tcp_get_info(s->tcp, &info);
	n = info.mss > SMALL_LEAST + TLS_RECORD_OVERHEAD ? info.mss - TLS_RECORD_OVERHEAD : SMALL_LEAST;
	s->small_bytes = (uint16_t)(n < TLS_RECORD_BYTES ? n : TLS_RECORD_BYTES);
	SSL_set_max_send_fragment(s->ssl, s->small_bytes);
}

/* 0: none, or not one of ours. In TLS 1.2 it is that of the key exchange, too. */
static uint16_t group_of(SSL *ssl)
{
	static const struct {
		uint16_t id;
		const char *name;
	} groups[] = {
#define X(id, name) {id, name},
		WEIR_LOG_TLS_GROUPS(X)
#undef X
	};
	int id = (int)SSL_get_negotiated_group(ssl);
	const char *name = id ? SSL_group_to_name(ssl, id) : NULL;

	for (unsigned i = 0; name && i < sizeof(groups) / sizeof(*groups); i++)
		if (strcmp(name, groups[i].name) == 0)
			return groups[i].id;
	return 0;
}

static void count_handshake(const struct tls_session *s)
{
	struct weir_worker_stats *stats = s->t->cfg.stats;

	stat_inc(stats, s->is_backend ? WEIR_C_BACKEND_TLS_HANDSHAKES : WEIR_C_TLS_HANDSHAKES);
	if (SSL_session_reused(s->ssl))
		stat_inc(stats, s->is_backend ? WEIR_C_BACKEND_TLS_RESUMED : WEIR_C_TLS_RESUMED);
	if (SSL_version(s->ssl) == TLS1_2_VERSION)
		stat_inc(stats, s->is_backend ? WEIR_C_BACKEND_TLS_HANDSHAKES_12 : WEIR_C_TLS_HANDSHAKES_12);
	if (group_of(s->ssl) == GROUP_HYBRID)
		stat_inc(stats, s->is_backend ? WEIR_C_BACKEND_TLS_HANDSHAKES_HYBRID : WEIR_C_TLS_HANDSHAKES_HYBRID);
}

/* OpenSSL keeps a key until its session is freed, but not what is in it: that is wiped and given back. */
static void empty_key(EVP_PKEY *key)
{
	EVP_PKEY_set_type(key, EVP_PKEY_HMAC); /* any kind will do */
	EVP_PKEY_free(key);
}

/* What OpenSSL would keep of the handshake as long as the session lives: its references to certificates, and both key shares. */
static void forget_handshake(struct tls_session *s)
{
	EVP_PKEY *key;

	SSL_certs_clear(s->ssl);
	if (SSL_get_tmp_key(s->ssl, &key))
		empty_key(key);
	if (SSL_get_peer_tmp_key(s->ssl, &key))
		empty_key(key);
	ERR_clear_error();
}

static enum tls_outcome complete(struct tls_session *s, uint64_t now_us)
{
	leave_handshake(s, TLS_READY);
	offload_complete(s);
	s->n_key_updates = 0;
	s->since_key_update = 0;
	count_handshake(s);
	if (s->is_backend)
		resume_complete(s, now_us);
	else
		tls_client_auth_complete(s);
	if (!s->small_bytes)
		tls_set_record_size(s);
	tls_early_complete(s);
	if (tls_carry_begin(s))
		drop_ssl(s);
	else
		forget_handshake(s);
	return TLS_DONE;
}

static enum weir_reason failure(const struct tls_session *s)
{
	enum weir_reason why = tls_error_reason(true);

	if (s->is_broken)
		why = WEIR_R_TLS_CLIENT_GONE;
	else if (s->has_device_failed)
		why = WEIR_R_TLS_OFFLOAD_FAILED;
	return s->is_backend ? tls_connect_reason(s, why) : tls_client_auth_reason(s, why);
}

static enum tls_outcome go_on(struct tls_session *s, uint64_t now_us)
{
	int what;

	ERR_clear_error();
	s->t->kdf.tell_ctx = s->is_backend || s->t->cfg.keeps_libssl ? NULL : s;
	what = s->early ? tls_early_read(s) : SSL_ERROR_NONE;
	if (what == SSL_ERROR_NONE)
		what = SSL_get_error(s->ssl, SSL_do_handshake(s->ssl));
	s->t->kdf.tell_ctx = NULL;
	if (s->is_offloaded && offload_note(s, what))
		return TLS_MORE;
	switch (what) {
	case SSL_ERROR_NONE:
		return complete(s, now_us);
	case SSL_ERROR_WANT_READ:
		return wait_for_peer(s);
	case SSL_ERROR_WANT_WRITE:
		return TLS_MORE;
	default:
		return tls_end(s, failure(s), ALERT_NONE);
	}
}

enum tls_outcome tls_handshake(struct tls_session *s, const struct weir_snapshot *snapshot, uint64_t now_us)
{
	enum weir_stage former;
	enum tls_outcome o = TLS_DONE;

	if (s->state == TLS_READY || s->state == TLS_ENDED)
		return s->state == TLS_READY ? TLS_DONE : TLS_FAILED;
	if (s->waits)
		return wait_for_peer(s);
	if (s->early && !tls_early_flush(s)) /* what OpenSSL sends next has to come behind it */
		return s->state == TLS_ENDED ? TLS_FAILED : TLS_EARLY;
	if (!turn_take(s))
		return tls_early_is_open(s) ? TLS_EARLY : wait_for_peer(s);
	s->t->offload.now_us = now_us;
	former = enter(s->t);
	if (s->state == TLS_HELLO) {
		o = s->is_backend ? tls_connect_prepare(s, now_us) : tls_choose(s, snapshot);
		if (o == TLS_MORE)
			o = wait_for_peer(s);
		if (o == TLS_DONE)
			s->state = TLS_HANDSHAKING;
	}
	if (s->state == TLS_HANDSHAKING)
		o = go_on(s, now_us);
	leave(s->t, former);
	return o == TLS_MORE && tls_early_is_open(s) ? TLS_EARLY : o;
}

/* -- questions */

bool tls_is_ready(const struct tls_session *s)
{
	return s->state == TLS_READY;
}

bool tls_is_stream(const struct tls_session *s)
{
	return s->is_stream;
}

bool tls_is_truncated(const struct tls_session *s)
{
	return s->is_truncated;
}

struct slice tls_server_name(const struct tls_session *s)
{
	return slice_of(s->name ? s->name : "", s->n_name);
}

struct tcp_conn *tls_tcp(const struct tls_session *s)
{
	return s->tcp;
}

void tls_get_info(const struct tls_session *s, struct tls_info *out)
{
	const unsigned char *alpn = NULL;
	unsigned n_alpn = 0;

	*out = (struct tls_info){.server_name = tls_server_name(s), .cipher = "", .alpn = ""};
	if (tls_carries_itself(s))
		tls_carry_get_info(s, out);
	if (!s->ssl)
		return;
	out->version = (uint16_t)SSL_version(s->ssl);
	out->cipher = SSL_CIPHER_standard_name(SSL_get_current_cipher(s->ssl));
	out->group = group_of(s->ssl);
	SSL_get0_alpn_selected(s->ssl, &alpn, &n_alpn);
	out->alpn = n_alpn ? "http/1.1" : ""; /* there is no other one */
	out->is_resumed = SSL_session_reused(s->ssl);
}
