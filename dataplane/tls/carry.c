/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions without libssl: how they begin, their keys, and what they send. */
#include "tls/carry.h"

#include <rte_mbuf.h>

#include "tls/tls_pvt.h"

#define SEQ_MAX ((uint64_t)1 << 24) /* records under one key of AES-GCM (RFC 8446 5.5): then a KeyUpdate */
#define LEAST_CONTENT 512u /* rather than a shorter record it waits for room */

/* -- keys */

void tls_carry_note(void *session, enum kdf_secret what, const uint8_t *secret, size_t n)
{
	struct tls_session *s = session;
	struct carry *c = s->carry;

	if (!c)
		c = s->carry = OPENSSL_zalloc(sizeof(*c));
	if (!c)
		return; /* libssl goes on */
	c->n_secrets |= (uint8_t)(1 << what);
	if (what == KDF_KEY_BLOCK) { /* no longer than both directions' keys and nonces: 88 bytes */
		if (n <= sizeof(c->secret))
			memcpy(c->secret, secret, n);
		else
			c->n_secrets = 0;
		return;
	}
	memcpy(c->secret[what == KDF_SERVER_TRAFFIC], secret, n);
	c->hash = n == kdf_hash_bytes(KDF_SHA256) ? KDF_SHA256 : KDF_SHA384;
	if (what == KDF_SERVER_TRAFFIC) /* what libssl sends from here on is under this key */
		c->out.seq = 0;
}

/* In TLS 1.2 keys change with ChangeCipherSpec. In 1.3 that means nothing, and what is sent behind it is under the same key as before. */
void tls_carry_note_record(const SSL *ssl, bool is_sent, uint8_t type)
{
	const struct tls_session *s = tls_bio_session(ssl);
	struct record_key *k;

	if (s->is_backend || !s->carry)
		return;
	k = is_sent ? &s->carry->out : &s->carry->in;
	if (type != RECORD_CHANGE_CIPHER_SPEC)
		k->seq++;
	else if (!(s->carry->n_secrets & 1 << KDF_SERVER_TRAFFIC))
		k->seq = 0;
}

static bool set_keys_13(struct tls_session *s, struct record_key *k, const uint8_t *secret)
{
	enum kdf_hash hash = (enum kdf_hash)s->carry->hash;

	record_forget(&s->t->ciphers, k);
	return kdf_expand_label(&s->t->kdf, hash, secret, "key", k->key, record_key_bytes((enum record_cipher)k->cipher)) &&
	       kdf_expand_label(&s->t->kdf, hash, secret, "iv", k->iv, sizeof(k->iv));
}

/* The key block of AEADs (RFC 5246 6.3): both keys, then what of both nonces is not sent; the client's first. */
static void set_keys_12(struct carry *c)
{
	size_t n = record_key_bytes((enum record_cipher)c->in.cipher);
	size_t n_iv = RECORD_IV - record_nonce_bytes(&c->in);
	const uint8_t *block = c->secret[0];

	memcpy(c->in.key, block, n);
	memcpy(c->out.key, block + n, n);
	memcpy(c->in.iv, block + 2 * n, n_iv);
	memcpy(c->out.iv, block + 2 * n + n_iv, n_iv);
	OPENSSL_cleanse(c->secret, sizeof(c->secret));
}

/* The cipher by its number of RFC 8446 B.4, RFC 5289, RFC 7905. False: it is none of those that we offer. */
static bool find_cipher(uint16_t id, uint8_t *out)
{
	switch (id) {
	case 0x1301:
	case 0xc02b:
	case 0xc02f:
		*out = RECORD_AES_128_GCM;
		return true;
	case 0x1302:
	case 0xc02c:
	case 0xc030:
		*out = RECORD_AES_256_GCM;
		return true;
	case 0x1303:
	case 0xcca8:
	case 0xcca9:
		*out = RECORD_CHACHA20_POLY1305;
		return true;
	default:
		return false;
	}
}

static bool set_keys(struct tls_session *s)
{
	const SSL_CIPHER *cipher = SSL_get_current_cipher(s->ssl);
	bool is_13 = SSL_version(s->ssl) == TLS1_3_VERSION;
	uint8_t wanted = is_13 ? 1 << KDF_CLIENT_TRAFFIC | 1 << KDF_SERVER_TRAFFIC : 1 << KDF_KEY_BLOCK;
	struct carry *c = s->carry;

	if (c->n_secrets != wanted || !cipher || !find_cipher(SSL_CIPHER_get_protocol_id(cipher), &c->in.cipher))
		return false;
	c->out.cipher = c->in.cipher;
	c->in.is_13 = c->out.is_13 = is_13;
	c->out.seals = true;
	c->cipher = SSL_CIPHER_standard_name(cipher);
	if (is_13) {
		c->in.seq = 0;
		return set_keys_13(s, &c->in, c->secret[0]) && set_keys_13(s, &c->out, c->secret[1]);
	}
	set_keys_12(c);
	return c->in.seq && c->out.seq; /* Finished was one of them, at least */
}

/* What the client asked for (RFC 6066 4), which libssl grants. */
static uint16_t max_content(const SSL *ssl)
{
	unsigned v = SSL_SESSION_get_max_fragment_length(SSL_get0_session(ssl));

	return v ? (uint16_t)(512u << (v - 1)) : RECORD_MAX_CONTENT;
}

bool tls_carry_begin(struct tls_session *s)
{
	struct tls_info info;
	struct carry *c = s->carry;

	if (s->is_backend || s->t->cfg.keeps_libssl)
		return false;
	tls_get_info(s, &info);
	if (!c || SSL_has_pending(s->ssl) || s->rest || s->is_broken || s->job != JOB_NONE || !set_keys(s)) {
		stat_inc(s->t->cfg.stats, WEIR_C_TLS_KEPT_IN_LIBSSL);
		tls_carry_free(s);
		return false;
	}
	c->max_content = max_content(s->ssl);
	c->group = info.group;
	c->is_resumed = info.is_resumed;
	c->has_alpn = info.alpn[0];
	c->is_on = true;
	return true;
}

void tls_carry_get_info(const struct tls_session *s, struct tls_info *out)
{
	const struct carry *c = s->carry;

	out->version = c->in.is_13 ? TLS1_3_VERSION : TLS1_2_VERSION;
	out->cipher = c->cipher;
	out->group = c->group;
	out->alpn = c->has_alpn ? "http/1.1" : "";
	out->is_resumed = c->is_resumed;
}

void tls_carry_free(struct tls_session *s)
{
	struct carry *c = s->carry;

	if (!c)
		return;
	record_forget(&s->t->ciphers, &c->in);
	record_forget(&s->t->ciphers, &c->out);
	while (c->list) {
		struct rte_mbuf *m = c->list;

		c->list = m->next;
		m->next = NULL;
		tcp_release(s->t->cfg.tcp, m);
	}
	OPENSSL_clear_free(c, sizeof(*c));
	s->carry = NULL;
}

bool tls_carry_next_key(struct tls_session *s, struct record_key *k, uint8_t *secret)
{
	uint8_t next[KDF_HASH_MAX] = {0};
	bool ok = kdf_expand_label(&s->t->kdf, (enum kdf_hash)s->carry->hash, secret, "traffic upd", next,
				   kdf_hash_bytes((enum kdf_hash)s->carry->hash));

	if (ok)
		memcpy(secret, next, sizeof(next));
	OPENSSL_cleanse(next, sizeof(next));
	if (!ok || !set_keys_13(s, k, secret))
		return false;
	k->seq = 0; /* not before: a number is never used again under a key */
	return true;
}

/* -- sending */

static enum sealed fail(struct tls_session *s)
{
	tls_end(s, WEIR_R_TLS_NO_MEMORY, ALERT_NONE);
	return SEAL_ENDED;
}

/*
 * A whole record, for which there is room below. *n is less than it was where packet buffers are so few that it has to
 * do with one of them.
 */
static enum sealed send_record(struct tls_session *s, enum record_type type, const uint8_t *p, size_t *n)
{
	size_t n_one = RTE_MBUF_DEFAULT_DATAROOM - record_overhead(&s->carry->out);
	struct record_ciphers *ciphers = &s->t->ciphers;
	bool is_fatal;
	struct rte_mbuf *m = record_seal(ciphers, &s->carry->out, type, p, *n, s->t->cfg.pool, &is_fatal);

	if (!m && !is_fatal && *n > n_one) {
		*n = n_one;
		m = record_seal(ciphers, &s->carry->out, type, p, *n, s->t->cfg.pool, &is_fatal);
	}
	if (!m) {
		if (is_fatal)
			return fail(s);
		tcp_want_mbufs(s->tcp);
		return SEAL_WAITS;
	}
	if (tcp_send_record(s->tcp, m) == 0)
		return SEALED;
	s->is_broken = true; /* it has room, so its end is the only reason */
	return SEAL_ENDED;
}

/* The most content that a record can have now, for n bytes of it; 0: it waits for room. */
static size_t content_now(struct tls_session *s, size_t n, size_t least)
{
	size_t overhead = record_overhead(&s->carry->out);
	size_t room = tcp_send_room(s->tcp);

	if (room >= n + overhead)
		return n;
	if (room < least + overhead) {
		tcp_want_room(s->tcp);
		return 0;
	}
	return room - overhead;
}

static enum sealed send_short(struct tls_session *s, enum record_type type, const uint8_t *p, size_t n)
{
	if (!tcp_may_send(s->tcp)) {
		s->is_broken = true;
		return SEAL_ENDED;
	}
	return content_now(s, n, n) == n ? send_record(s, type, p, &n) : SEAL_WAITS;
}

bool tls_carry_alert(struct tls_session *s, uint8_t level, uint8_t what)
{
	const uint8_t alert[] = {level, what};

	return send_short(s, RECORD_ALERT, alert, sizeof(alert)) != SEAL_WAITS;
}

/* What has to come before content. */
static enum sealed send_owed(struct tls_session *s)
{
	static const uint8_t update[] = {24, 0, 0, 1, 0}; /* KeyUpdate, not requested (RFC 8446 4.6.3) */
	static const uint8_t refusal[] = {SSL3_AL_WARNING, SSL_AD_NO_RENEGOTIATION};
	struct carry *c = s->carry; /* gone with the session's end */
	enum sealed o;

	if (c->owes_refusal) {
		o = send_short(s, RECORD_ALERT, refusal, sizeof(refusal));
		if (o != SEALED)
			return o;
		c->owes_refusal = false;
	}
	if (!c->owes_update && (c->out.seq < SEQ_MAX || !c->out.is_13))
		return SEALED;
	o = send_short(s, RECORD_HANDSHAKE, update, sizeof(update));
	if (o != SEALED)
		return o;
	c->owes_update = false;
	return tls_carry_next_key(s, &c->out, c->secret[1]) ? SEALED : fail(s);
}

bool tls_carry_send_owed(struct tls_session *s)
{
	return send_owed(s) != SEAL_WAITS;
}

enum sealed tls_carry_seal(struct tls_session *s, const uint8_t *p, size_t n, size_t *done)
{
	size_t most = tls_record_content(s);
	enum sealed o = send_owed(s);

	if (o != SEALED)
		return o;
	n = n < most ? n : most;
	n = content_now(s, n, n < LEAST_CONTENT ? n : LEAST_CONTENT);
	if (n == 0)
		return tcp_may_send(s->tcp) ? SEAL_WAITS : (s->is_broken = true, SEAL_ENDED);
	o = send_record(s, RECORD_CONTENT, p, &n);
	*done = o == SEALED ? n : 0;
	return o;
}
