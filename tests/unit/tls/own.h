/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client that makes its own records once libssl has done its handshake: any type, any content, any padding, and raw bytes. It opens
 * what the server sends, too. By OpenSSL's AEADs, called at once, and none of dataplane/tls/.
 */
#ifndef TESTS_TLS_OWN_H
#define TESTS_TLS_OWN_H

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "rig.h"

#define OWN_TAG 16u
#define OWN_MAX 20000u /* of a record */

/* One direction. */
struct own_key {
	bool is_13;
	EVP_CIPHER *cipher;
	const char *digest;
	size_t n_key, n_secret, n_explicit; /* n_explicit: bytes of the nonce that are sent */
	uint8_t secret[48], key[32], iv[12];
	uint64_t seq;
};

struct own {
	struct client *p;
	unsigned server; /* in servers */
	struct own_key out, in;
	bool is_found; /* in.seq: libssl has read some records before */
	int level, alert;	   /* of the last alert; -1: none */
	unsigned n_alerts, n_updates, n_other, n_bad; /* n_bad: records that do not open */
	uint8_t content[70000];
	size_t n_content;
	size_t pad; /* zeros behind what is sealed next, TLS 1.3 */
};

/* -- keys */

static uint8_t own_secrets[2][48]; /* of the last handshake in TLS 1.3: the client's, the server's */
static size_t n_own_secret;

static void own_on_keylog(const SSL *ssl, const char *line)
{
	static const char *const names[] = {"CLIENT_TRAFFIC_SECRET_0 ", "SERVER_TRAFFIC_SECRET_0 "};

	for (unsigned i = 0; i < 2; i++)
		if (strncmp(line, names[i], strlen(names[i])) == 0)
			assert_int_equal(OPENSSL_hexstr2buf_ex(own_secrets[i], sizeof(own_secrets[i]), &n_own_secret,
							       strrchr(line, ' ') + 1, '\0'), 1);
}

static void own_derive(const char *name, OSSL_PARAM *params, uint8_t *out, size_t n)
{
	EVP_KDF *k = EVP_KDF_fetch(NULL, name, NULL);
	EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(k);

	assert_int_equal(EVP_KDF_derive(ctx, out, n, params), 1);
	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(k);
}

static void own_expand(const struct own_key *k, const char *label, uint8_t *out, size_t n)
{
	int expands = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t)k->digest, 0),
		OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &expands),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)k->secret, k->n_secret),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PREFIX, (void *)(uintptr_t)"tls13 ", 6),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_LABEL, (void *)(uintptr_t)label, strlen(label)),
		OSSL_PARAM_construct_end(),
	};

	own_derive("TLS13-KDF", params, out, n);
}

static void own_set_keys_13(struct own_key *k)
{
	own_expand(k, "key", k->key, k->n_key);
	own_expand(k, "iv", k->iv, sizeof(k->iv));
	k->seq = 0;
}

static void own_update(struct own_key *k)
{
	uint8_t next[48];

	own_expand(k, "traffic upd", next, k->n_secret);
	memcpy(k->secret, next, k->n_secret);
	own_set_keys_13(k);
}

static void own_set_keys_12(struct own *o, SSL *ssl)
{
	uint8_t master[48], random[2][32], block[96], *at = block;
	size_t n = SSL_SESSION_get_master_key(SSL_get_session(ssl), master, sizeof(master));
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t)o->out.digest, 0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SECRET, master, n),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, (void *)(uintptr_t)"key expansion", 13),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, random[0], 32),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, random[1], 32),
		OSSL_PARAM_construct_end(),
	};
	struct own_key *keys[] = {&o->out, &o->in};
	size_t n_iv = 12 - o->out.n_explicit;

	assert_int_equal(n, 48);
	SSL_get_server_random(ssl, random[0], 32);
	SSL_get_client_random(ssl, random[1], 32);
	own_derive("TLS1-PRF", params, block, 2 * (o->out.n_key + n_iv));
	for (unsigned i = 0; i < 2; i++, at += o->out.n_key)
		memcpy(keys[i]->key, at, o->out.n_key);
	for (unsigned i = 0; i < 2; i++, at += n_iv)
		memcpy(keys[i]->iv, at, n_iv);
	o->out.seq = o->in.seq = 1;
}

/* To be called before the handshake. */
static void own_listen(struct client *p)
{
	SSL_CTX_set_keylog_callback(p->ctx, own_on_keylog);
}

/* From now on the client's records are the test's, and its object of libssl is gone. */
static void own_begin(struct own *o, struct client *p, unsigned server)
{
	const SSL_CIPHER *cipher = SSL_get_current_cipher(p->ssl);
	int nid = SSL_CIPHER_get_cipher_nid(cipher);

	memset(o, 0, sizeof(*o));
	o->p = p;
	o->server = server;
	o->level = o->alert = -1;
	o->out.is_13 = SSL_version(p->ssl) == TLS1_3_VERSION;
	o->out.cipher = EVP_CIPHER_fetch(NULL, OBJ_nid2sn(nid), NULL);
	assert_non_null(o->out.cipher);
	o->out.n_key = (size_t)EVP_CIPHER_get_key_length(o->out.cipher);
	o->out.n_explicit = o->out.is_13 || nid == NID_chacha20_poly1305 ? 0 : 8;
	o->out.digest = EVP_MD_get0_name(SSL_CIPHER_get_handshake_digest(cipher));
	o->out.n_secret = n_own_secret;
	o->in = o->out;
	if (o->out.is_13) {
		memcpy(o->out.secret, own_secrets[0], n_own_secret);
		memcpy(o->in.secret, own_secrets[1], n_own_secret);
		own_set_keys_13(&o->out);
		own_set_keys_13(&o->in);
	} else {
		own_set_keys_12(o, p->ssl);
	}
	SSL_free(p->ssl);
	p->ssl = NULL;
	p->n_got = p->n_raw = p->n_raw_sent = 0;
}

static void own_end(struct own *o)
{
	EVP_CIPHER_free(o->out.cipher);
	o->out.cipher = o->in.cipher = NULL;
}

/* -- records */

static void own_nonce(const struct own_key *k, const uint8_t *explicit_nonce, uint8_t nonce[12], uint8_t number[8])
{
	for (unsigned i = 0; i < 8; i++)
		number[i] = (uint8_t)(k->seq >> (56 - 8 * i));
	memcpy(nonce, k->iv, 12);
	if (k->n_explicit)
		memcpy(nonce + 4, explicit_nonce, 8);
	else
		for (unsigned i = 0; i < 8; i++)
			nonce[4 + i] ^= number[i];
}

/* Seals, or opens, n bytes in place. */
static bool own_aead(const struct own_key *k, bool seals, const uint8_t *head, uint8_t *p, size_t n, uint8_t *tag)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t nonce[12], aad[13];
	int done;
	bool ok;

	own_nonce(k, head + 5, nonce, aad);
	memcpy(aad + 8, head, 3);
	aad[11] = (uint8_t)(n >> 8);
	aad[12] = (uint8_t)n;
	ok = EVP_CipherInit_ex2(ctx, k->cipher, k->key, nonce, seals, NULL) == 1 &&
	     EVP_CipherUpdate(ctx, NULL, &done, k->is_13 ? head : aad, k->is_13 ? 5 : 13) == 1 &&
	     (n == 0 || EVP_CipherUpdate(ctx, p, &done, p, (int)n) == 1);
	if (!seals)
		ok = ok && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, OWN_TAG, tag) == 1;
	ok = ok && EVP_CipherFinal_ex(ctx, nonce, &done) == 1;
	if (seals)
		ok = ok && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, OWN_TAG, tag) == 1;
	EVP_CIPHER_CTX_free(ctx);
	return ok;
}

/* A record of the next number into out; its bytes. The type is the outer one, too, in TLS 1.2. */
static size_t own_seal(struct own *o, uint8_t type, const void *p, size_t n, uint8_t *out)
{
	struct own_key *k = &o->out;
	size_t n_inner = n + (k->is_13 ? 1 + o->pad : 0), n_body = k->n_explicit + n_inner + OWN_TAG;
	uint8_t *inner = out + 5 + k->n_explicit;

	assert_true(5 + n_body <= OWN_MAX);
	out[0] = k->is_13 ? 23 : type;
	out[1] = out[2] = 3;
	out[3] = (uint8_t)(n_body >> 8);
	out[4] = (uint8_t)n_body;
	for (unsigned i = 0; i < k->n_explicit; i++) /* any number will do */
		out[5 + i] = (uint8_t)((k->seq ^ 0xabcdefull) >> (56 - 8 * i));
	memcpy(inner, p, n);
	if (k->is_13) {
		inner[n] = type;
		memset(inner + n + 1, 0, o->pad);
	}
	assert_true(own_aead(k, true, out, inner, n_inner, inner + n_inner));
	k->seq++;
	o->pad = 0;
	return 5 + n_body;
}

/* -- sending: into the client's queue; own_go() sends it */

static void own_raw(struct own *o, const void *p, size_t n)
{
	struct client *c = o->p;

	if (c->n_raw == c->n_raw_sent)
		c->n_raw = c->n_raw_sent = 0;
	assert_true(c->n_raw + n <= sizeof(c->raw));
	memcpy(c->raw + c->n_raw, p, n);
	c->n_raw += n;
}

static void own_put(struct own *o, uint8_t type, const void *p, size_t n)
{
	static uint8_t record[OWN_MAX];

	own_raw(o, record, own_seal(o, type, p, n, record));
}

/* -- receiving */

static void own_take(struct own *o, uint8_t type, const uint8_t *p, size_t n)
{
	if (type == SSL3_RT_ALERT && n == 2) {
		o->n_alerts++;
		o->level = p[0];
		o->alert = p[1];
	} else if (type == SSL3_RT_APPLICATION_DATA && o->n_content + n <= sizeof(o->content)) {
		memcpy(o->content + o->n_content, p, n);
		o->n_content += n;
	} else if (type == SSL3_RT_HANDSHAKE && o->in.is_13 && n == 5 && p[0] == SSL3_MT_KEY_UPDATE) {
		o->n_updates++;
		own_update(&o->in);
	} else {
		o->n_other++;
	}
}

/* One record in place. False: it does not open. */
static bool own_open(struct own *o, uint8_t *r, size_t n_body)
{
	static uint8_t copy[OWN_MAX];
	struct own_key *k = &o->in;
	uint8_t *p = copy + 5 + k->n_explicit, type = r[0];
	size_t n;

	if (n_body < k->n_explicit + OWN_TAG)
		return false;
	n = n_body - k->n_explicit - OWN_TAG;
	for (unsigned i = 0; i < (o->is_found || !k->is_13 ? 1 : 8); i++, k->seq++) {
		memcpy(copy, r, 5 + n_body);
		if (!own_aead(k, false, copy, p, n, p + n))
			continue;
		k->seq++;
		o->is_found = true;
		while (k->is_13 && n > 0 && p[n - 1] == 0)
			n--;
		if (k->is_13)
			type = n ? p[--n] : 0;
		own_take(o, type, p, n);
		return true;
	}
	return false;
}

/* All records that have come as a whole. What is left stays. */
static void own_read(struct own *o)
{
	uint8_t *b = (uint8_t *)o->p->got;
	size_t at = 0, n = o->p->n_got;

	while (n - at >= 5) {
		size_t n_body = (size_t)b[at + 3] << 8 | b[at + 4];

		if (n - at < 5 + n_body)
			break;
		o->n_bad += !own_open(o, b + at, n_body);
		at += 5 + n_body;
	}
	memmove(b, b + at, n - at);
	o->p->n_got = n - at;
}

static bool own_step(void *ctx)
{
	own_read(ctx);
	return false;
}

/* Sends what is queued, and runs for a while. */
static inline void own_go(struct own *o, uint64_t for_us)
{
	if (o->p->c)
		client_pump(o->p);
	sim_run(&sim, for_us, own_step, o);
	own_read(o);
}

static inline void own_send(struct own *o, uint8_t type, const void *p, size_t n)
{
	own_put(o, type, p, n);
	own_go(o, 500000);
}

#endif
