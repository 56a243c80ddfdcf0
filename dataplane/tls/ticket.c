/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Session tickets (RFC 5077, RFC 8446 4.6.1). Their state is with the client, sealed by keys that all workers have, so any
 * of them resumes what another one began. A ticket is good for the server name and the profile that it was made
 * for, and for no other (RFC 6066 3, RFC 8446 4.2.11): both stand in the session id context, which OpenSSL seals and compares.
 * So does what the name asks of its clients. One that asks for certificates gives no tickets: they would be good for longer
 * than what is known of certificates, and of a resumed session OpenSSL has the client's alone, without what it was judged by.
 */
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "base/wipe.h"
#include "tls/tls_pvt.h"

#define LIFETIME_S 43200

int tls_ticket_init(struct tls *t)
{
	t->ticket_cipher = EVP_CIPHER_fetch(t->lib, "AES-256-CBC", NULL);
	t->sha256 = EVP_MD_fetch(t->lib, "SHA256", NULL);
	return t->ticket_cipher && t->sha256 ? 0 : -1;
}

void tls_ticket_fini(struct tls *t)
{
	EVP_CIPHER_free(t->ticket_cipher);
	EVP_MD_free(t->sha256);
	OPENSSL_cleanse(&t->keys, sizeof(t->keys));
}

void tls_set_ticket_keys(struct tls *t, const struct tls_ticket_keys *keys)
{
	assert(keys->n <= TLS_TICKET_KEYS);
	OPENSSL_cleanse(&t->keys, sizeof(t->keys));
	t->keys.n = keys->n;
	memcpy(t->keys.key, keys->key, keys->n * sizeof(keys->key[0]));
	wipe_registers();
}

static int set_mac(EVP_MAC_CTX *mac, struct tls_ticket_key *key)
{
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, sizeof(key->mac)),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
		OSSL_PARAM_construct_end(),
	};

	return EVP_MAC_CTX_set_params(mac, params);
}

/* 0: no key of ours, 1: good, 2: good, and another ticket should be given; -1: an error that ends the handshake. */
static int on_ticket(SSL *ssl, unsigned char name[16], unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int enc)
{
	struct tls *t = tls_bio_session(ssl)->t;
	struct tls_ticket_key *key = t->keys.key;

	if (enc) {
		if (t->keys.n == 0)
			return 0;
		memcpy(name, key->name, sizeof(key->name));
		if (RAND_bytes_ex(t->lib, iv, (size_t)EVP_CIPHER_get_iv_length(t->ticket_cipher), 0) != 1)
			return -1;
		return EVP_EncryptInit_ex2(cipher, t->ticket_cipher, key->cipher, iv, NULL) == 1 && set_mac(mac, key) ? 1 : -1;
	}
	for (unsigned i = 0; i < t->keys.n; i++, key++) {
		if (memcmp(name, key->name, sizeof(key->name)) != 0)
			continue;
		if (EVP_DecryptInit_ex2(cipher, t->ticket_cipher, key->cipher, iv, NULL) != 1 || !set_mac(mac, key))
			return -1;
		return i == 0 ? 1 : 2;
	}
	return 0;
}

/* Counts tickets that no key of ours opens. What follows is what OpenSSL does without this. */
static SSL_TICKET_RETURN on_opened(SSL *ssl, SSL_SESSION *session, const unsigned char *name, size_t n_name,
				   SSL_TICKET_STATUS status, void *arg)
{
	switch (status) {
	case SSL_TICKET_SUCCESS:
		return SSL_TICKET_RETURN_USE;
	case SSL_TICKET_SUCCESS_RENEW:
		return SSL_TICKET_RETURN_USE_RENEW;
	case SSL_TICKET_NO_DECRYPT: /* no key has its name, it was changed, or it is too short to be one */
		stat_inc(tls_bio_session(ssl)->t->cfg.stats, WEIR_C_TLS_TICKETS_UNKNOWN);
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	default: /* the client asks for a ticket, and has none */
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	}
}

void tls_ticket_register(SSL_CTX *ctx)
{
	SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket);
	SSL_CTX_set_session_ticket_cb(ctx, NULL, on_opened, NULL);
	SSL_CTX_set_timeout(ctx, LIFETIME_S);
}

int tls_ticket_allow(struct tls_session *s, enum weir_tls_profile profile)
{
	uint8_t context[1 + 32] = {(uint8_t)profile};
	uint8_t of[sizeof(s->auth) + HELLO_NAME_MAX];

	static_assert(sizeof(context) >= SSL_MAX_SID_CTX_LENGTH, "all of the context is set");
	memcpy(of, &s->auth, sizeof(s->auth));
	memcpy(of + sizeof(s->auth), tls_server_name(s).p, s->n_name);
	if (!EVP_Digest(of, sizeof(s->auth) + s->n_name, context + 1, NULL, s->t->sha256, NULL) ||
	    !SSL_set_session_id_context(s->ssl, context, SSL_MAX_SID_CTX_LENGTH))
		return -1;
	if (s->t->keys.n && !s->auth.is_asked)
		return 0;
	SSL_set_options(s->ssl, SSL_OP_NO_TICKET);
	return SSL_set_num_tickets(s->ssl, 0) ? 0 : -1;
}
