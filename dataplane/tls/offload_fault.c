/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether it was the device that failed. OpenSSL does not say: a handshake that ends by an error in the very message in which
 * its operation was asked for has that operation to blame. But a key exchange has an input of the client's: a share of which no device can
 * make a secret (RFC 7748 6.1) is the client's fault, and must not make a device look dead.
 */
#include <openssl/evp.h>

#include "tls/tls_pvt.h"

#define SOFTWARE "provider=default"

/* Tries it with a key of our own, in software. False, too, if that could not be tried. */
static bool yields_nothing(OSSL_LIB_CTX *lib, const uint8_t *share, size_t n)
{
	EVP_PKEY *theirs = EVP_PKEY_new_raw_public_key_ex(lib, "X25519", SOFTWARE, share, n);
	EVP_PKEY *ours = theirs ? EVP_PKEY_Q_keygen(lib, SOFTWARE, "X25519") : NULL;
	EVP_PKEY_CTX *ctx = ours ? EVP_PKEY_CTX_new_from_pkey(lib, ours, SOFTWARE) : NULL;
	uint8_t secret[32];
	size_t n_secret = sizeof(secret);
	bool ok = ctx && EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_derive_set_peer(ctx, theirs) == 1;
	bool is_nothing = ok && EVP_PKEY_derive(ctx, secret, &n_secret) != 1;

	EVP_PKEY_CTX_free(ctx);
	EVP_PKEY_free(ours);
	EVP_PKEY_free(theirs);
	return is_nothing;
}

/* Points of other groups are looked at when they come, before the device is asked. */
static bool is_share_bad(const struct tls_session *s)
{
	EVP_PKEY *key = NULL;
	unsigned char *share = NULL;
	size_t n;
	bool is_bad = false;

	if (!SSL_get_peer_tmp_key(s->ssl, &key))
		return false;
	n = EVP_PKEY_is_a(key, "X25519") ? EVP_PKEY_get1_encoded_public_key(key, &share) : 0;
	if (n > 0)
		is_bad = yields_nothing(s->t->lib, share, n);
	OPENSSL_free(share);
	EVP_PKEY_free(key);
	return is_bad;
}

enum offload_fault offload_fault(const struct tls_session *s, int what)
{
	OSSL_HANDSHAKE_STATE at = SSL_get_state(s->ssl);

	if (what != SSL_ERROR_SSL || at != (OSSL_HANDSHAKE_STATE)s->submitted_in)
		return FAULT_NONE;
	if (at == TLS_ST_SR_KEY_EXCH) /* TLS 1.2: OpenSSL does not keep the share */
		return FAULT_UNKNOWN;
	return at == TLS_ST_SW_SRVR_HELLO && is_share_bad(s) ? FAULT_CLIENT : FAULT_DEVICE;
}
