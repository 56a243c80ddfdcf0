/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A handshake of the worker with itself, in memory, before it serves: what libssl does only once in a thread or in a library context (random
 * number generators, methods that are fetched when they are first used, pages that nobody has touched) would keep the first client, and all
 * others beside it, three times as long as any later one.
 */
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509.h>

#include "tls/tls_pvt.h"

#define ROUNDS 8 /* of messages; a handshake has four at most */

/* By nobody signed but itself, and gone when the handshake is. */
static X509 *make_certificate(struct tls *t, EVP_PKEY *key)
{
	X509 *x = X509_new_ex(t->lib, NULL);

	if (x && X509_set_version(x, X509_VERSION_3) && ASN1_INTEGER_set(X509_get_serialNumber(x), 1) && X509_gmtime_adj(X509_getm_notBefore(x), 0) &&
	    X509_gmtime_adj(X509_getm_notAfter(x), 3600) && X509_set_pubkey(x, key) && X509_sign(x, key, EVP_sha256()))
		return x;
	X509_free(x);
	return NULL;
}

static bool connect_both(SSL *server, SSL *client)
{
	BIO *near, *far;

	if (!BIO_new_bio_pair(&near, 0, &far, 0))
		return false;
	SSL_set_bio(server, near, near);
	SSL_set_bio(client, far, far);
	SSL_set_accept_state(server);
	SSL_set_connect_state(client);
	return true;
}

static bool shake_hands(SSL_CTX *of_server, SSL_CTX *of_client, EVP_PKEY *key, X509 *certificate, int version)
{
	SSL *server = SSL_new(of_server), *client = SSL_new(of_client);
	bool ok = server && client && SSL_use_cert_and_key(server, certificate, key, NULL, 1) == 1 && SSL_set_max_proto_version(client, version) &&
		  connect_both(server, client);

	for (unsigned i = 0; ok && i < ROUNDS; i++) {
		SSL_do_handshake(client);
		SSL_do_handshake(server);
	}
	ok = ok && SSL_is_init_finished(server);
	SSL_free(server);
	SSL_free(client);
	return ok;
}

bool tls_warm(struct tls *t)
{
	SSL_CTX *server = SSL_CTX_new_ex(t->lib, KDF_PROPERTIES, TLS_server_method());
	SSL_CTX *client = SSL_CTX_new_ex(t->lib, KDF_PROPERTIES, TLS_client_method());
	EVP_PKEY *key = EVP_PKEY_Q_keygen(t->lib, NULL, "EC", "P-256");
	X509 *certificate = key ? make_certificate(t, key) : NULL;
	bool ok = server && client && certificate && shake_hands(server, client, key, certificate, TLS1_3_VERSION) &&
		  shake_hands(server, client, key, certificate, TLS1_2_VERSION);

	X509_free(certificate);
	EVP_PKEY_free(key);
	SSL_CTX_free(client);
	SSL_CTX_free(server);
	ERR_clear_error();
	return ok;
}
