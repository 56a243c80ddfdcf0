/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates as OpenSSL has them: parsed by main within a worker's library context, which locks what both use, and
 * only referred to by the worker. A stapled OCSP response belongs to its leaf, and lives as long.
 */
#include <stdio.h>
#include <stdlib.h>

#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/x509.h>

#include "tls/tls_pvt.h"

#define CA_NAMES_BYTES 4096u /* of CertificateRequest */

struct staple {
	uint32_t n;
	uint8_t der[];
};

static CRYPTO_ONCE staple_once = CRYPTO_ONCE_STATIC_INIT;
static int staple_index; /* of a leaf's struct staple */

static void free_staple(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
	free(ptr);
}

static void make_staple_index(void)
{
	staple_index = X509_get_ex_new_index(0, NULL, NULL, NULL, free_staple);
}

/* The one at *at, which moves on behind it. */
static X509 *read_x509(struct tls *t, const uint8_t **at, const uint8_t *end)
{
	X509 *x = X509_new_ex(t->lib, NULL);

	if (x && !d2i_X509(&x, at, end - *at)) {
		X509_free(x);
		x = NULL;
	}
	return x;
}

static X509 *parse_x509(struct tls *t, const struct weir_certificate *blob, const struct weir_part *part)
{
	const uint8_t *at = (const uint8_t *)blob + part->off;
	const uint8_t *end = at + part->size;
	X509 *x = read_x509(t, &at, end);

	if (x && at != end) {
		X509_free(x);
		x = NULL;
	}
	return x;
}

/* -- CA certificates, and what they have revoked */

/* For clients that have several certificates. More names than fit are of no help to anybody: then there are none. */
static bool add_ca_name(struct tls_certificate *c, X509 *x, size_t *n_bytes)
{
	int n = i2d_X509_NAME(X509_get_subject_name(x), NULL);
	X509_NAME *name;

	if (*n_bytes > CA_NAMES_BYTES)
		return true;
	*n_bytes += n > 0 ? (size_t)n + 2 : 0;
	if (*n_bytes > CA_NAMES_BYTES) {
		sk_X509_NAME_pop_free(c->ca_names, X509_NAME_free);
		c->ca_names = NULL;
		return true;
	}
	name = X509_NAME_dup(X509_get_subject_name(x));
	if (!c->ca_names)
		c->ca_names = sk_X509_NAME_new_null();
	if (name && c->ca_names && sk_X509_NAME_push(c->ca_names, name))
		return true;
	X509_NAME_free(name);
	return false;
}

static bool add_ca(struct tls *t, struct tls_certificate *c, const uint8_t **at, const uint8_t *end, size_t *n_names)
{
	X509 *x = read_x509(t, at, end);
	bool ok = x && X509_STORE_add_cert(c->store, x) && add_ca_name(c, x, n_names); /* the same twice is no error */

	X509_free(x);
	return ok;
}

static bool add_crl(struct tls *t, X509_STORE *store, const uint8_t **at, const uint8_t *end)
{
	X509_CRL *crl = X509_CRL_new_ex(t->lib, NULL);
	bool ok = crl && d2i_X509_CRL(&crl, at, end - *at) && X509_STORE_add_crl(store, crl); /* d2i frees what it fails for */

	X509_CRL_free(crl);
	return ok;
}

static const char *parse_trust(struct tls *t, struct tls_certificate *c, const struct weir_certificate *blob)
{
	const uint8_t *at = (const uint8_t *)blob + blob->chain[0].off;
	const uint8_t *end = at + blob->chain[0].size;
	size_t n_names = 0;

	c->has_crls = blob->crls.size > 0;
	c->store = X509_STORE_new();
	if (!c->store)
		return "no memory";
	while (at < end)
		if (!add_ca(t, c, &at, end, &n_names))
			return "a CA certificate is no X.509 in DER";
	at = (const uint8_t *)blob + blob->crls.off;
	end = at + blob->crls.size;
	while (at < end)
		if (!add_crl(t, c->store, &at, end))
			return "a CRL is none in DER";
	return NULL;
}

bool tls_trust_use(const struct tls_certificate *trust, SSL *ssl)
{
	unsigned long flags = X509_V_FLAG_PARTIAL_CHAIN; /* each CA certificate that is given is one to end at */

	if (trust->has_crls)
		flags |= X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL;
	return X509_VERIFY_PARAM_set_flags(SSL_get0_param(ssl), flags) && SSL_set1_verify_cert_store(ssl, trust->store);
}

bool tls_trust_has_no_crl(X509_STORE_CTX *ctx)
{
	STACK_OF(X509_CRL) *crls;
	bool has;

	if (X509_STORE_CTX_get_error(ctx) != X509_V_ERR_UNABLE_TO_GET_CRL)
		return false;
	crls = X509_STORE_CTX_get1_crls(ctx, X509_get_issuer_name(X509_STORE_CTX_get_current_cert(ctx)));
	has = sk_X509_CRL_num(crls) > 0;
	sk_X509_CRL_pop_free(crls, X509_CRL_free);
	if (!has)
		X509_STORE_CTX_set_error(ctx, X509_V_OK);
	return !has;
}

/* -- certificates with their keys */

static bool make_decoder(struct tls *t, struct key_decoder *d, const char *properties)
{
	if (!d->ctx)
		d->ctx = OSSL_DECODER_CTX_new_for_pkey(&d->key, "DER", "PrivateKeyInfo", NULL, EVP_PKEY_KEYPAIR, t->lib, properties);
	return d->ctx;
}

int tls_certificates_init(struct tls *t)
{
	return make_decoder(t, &t->key_decoders[false], NULL) ? 0 : -1;
}

/*
 * By a decoder that is kept: EVP_PKCS82PKEY() makes one anew for each key, which takes OpenSSL 3.0 ten times as long as to use it.
 * of_device: by the device's properties.
 */
static EVP_PKEY *parse_key(struct tls *t, const struct weir_certificate *blob, const char *properties, bool of_device)
{
	struct key_decoder *d = &t->key_decoders[of_device];
	const uint8_t *at = (const uint8_t *)blob + blob->key.off;
	size_t n = blob->key.size;
	EVP_PKEY *key;

	make_decoder(t, d, properties);
	if (d->ctx && (OSSL_DECODER_from_data(d->ctx, &at, &n) != 1 || n > 0)) {
		EVP_PKEY_free(d->key);
		d->key = NULL;
	}
	key = d->key;
	d->key = NULL;
	return key;
}

void tls_certificates_fini(struct tls *t)
{
	for (unsigned i = 0; i < 2; i++)
		OSSL_DECODER_CTX_free(t->key_decoders[i].ctx);
}

/* NULL: the device does not take keys of this kind, which are used in software then. */
static EVP_PKEY *make_device_key(struct tls *t, const struct weir_certificate *blob, EVP_PKEY *key)
{
	const struct offload_device *d = t->cfg.offload;
	EVP_PKEY *out;

	if (!d)
		return NULL;
	out = d->cfg.kind == OFFLOAD_ENGINE ? engine_key(d, key) : parse_key(t, blob, d->cfg.properties, true);
	if (!out)
		ERR_clear_error();
	return out;
}

static bool add_staple(X509 *leaf, const struct weir_certificate *blob)
{
	struct staple *s;

	if (blob->ocsp.size == 0)
		return true;
	s = malloc(sizeof(*s) + blob->ocsp.size);
	if (!s)
		return false;
	s->n = blob->ocsp.size;
	memcpy(s->der, (const char *)blob + blob->ocsp.off, s->n);
	if (CRYPTO_THREAD_run_once(&staple_once, make_staple_index) && X509_set_ex_data(leaf, staple_index, s))
		return true;
	free(s);
	return false;
}

static bool is_usable_key(const EVP_PKEY *key)
{
	static const char *const types[] = {"RSA", "RSA-PSS", "EC", "ED25519", "ED448"};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (EVP_PKEY_is_a(key, types[i]))
			return true;
	return false;
}

int tls_certificate_use(const struct tls_certificate *cert, SSL *ssl, bool by_device)
{
	EVP_PKEY *key = by_device && cert->device_key ? cert->device_key : cert->key;

	return SSL_use_cert_and_key(ssl, cert->leaf, key, cert->chain, 1) == 1 ? 0 : -1;
}

/* A session that nobody has: what keeps OpenSSL from using the certificate is known now, not to each client. */
static bool is_usable(struct tls *t, const struct tls_certificate *cert)
{
	SSL *ssl = SSL_new(t->ctx[WEIR_TLS_INTERMEDIATE]);
	bool ok = ssl && tls_certificate_use(cert, ssl, false) == 0 && (!cert->device_key || tls_certificate_use(cert, ssl, true) == 0);

	SSL_free(ssl);
	return ok;
}

/* What is wrong, in words; NULL: nothing. */
static const char *parse(struct tls *t, struct tls_certificate *c, const struct weir_certificate *blob)
{
	c->leaf = parse_x509(t, blob, &blob->chain[0]);
	if (!c->leaf)
		return "the certificate is no X.509 in DER";
	c->chain = sk_X509_new_null();
	for (uint32_t i = 1; c->chain && i < blob->n_chain; i++) {
		X509 *x = parse_x509(t, blob, &blob->chain[i]);

		if (!x)
			return "a certificate of the chain is no X.509 in DER";
		if (!sk_X509_push(c->chain, x)) {
			X509_free(x);
			return "no memory";
		}
	}
	c->key = parse_key(t, blob, NULL, false);
	if (!c->key)
		return "the private key cannot be read";
	if (!is_usable_key(c->key))
		return "the private key is of a type that TLS does not use";
	if (!X509_check_private_key(c->leaf, c->key))
		return "the private key is not that of the certificate";
	if (!c->chain || !add_staple(c->leaf, blob))
		return "no memory";
	c->device_key = make_device_key(t, blob, c->key);
	return is_usable(t, c) ? NULL : "it may not be used";
}

struct tls_certificate *tls_certificate_create(struct tls *t, const struct weir_certificate *blob, char *why, size_t n)
{
	struct tls_certificate *c = calloc(1, sizeof(*c));
	const char *wrong;
	const char *detail;

	ERR_clear_error();
	if (c)
		wrong = blob->kind == WEIR_CERTIFICATE_TRUST ? parse_trust(t, c, blob) : parse(t, c, blob);
	else
		wrong = "no memory";
	if (!wrong) {
		c->id = blob->id;
		ERR_clear_error();
		return c;
	}
	detail = ERR_reason_error_string(ERR_peek_last_error());
	snprintf(why, n, "%s%s%s", wrong, detail ? ": " : "", detail ? detail : "");
	ERR_clear_error();
	tls_certificate_destroy(c);
	return NULL;
}

void tls_certificate_destroy(struct tls_certificate *cert)
{
	if (!cert)
		return;
	X509_STORE_free(cert->store);
	sk_X509_NAME_pop_free(cert->ca_names, X509_NAME_free);
	X509_free(cert->leaf);
	EVP_PKEY_free(cert->key);
	EVP_PKEY_free(cert->device_key);
	sk_X509_pop_free(cert->chain, X509_free);
	free(cert);
}

const struct weir_cert_id *tls_certificate_id(const struct tls_certificate *cert)
{
	return &cert->id;
}

/* The client asks for a stapled response (RFC 6066 8); the certificate has been chosen. */
static int on_status(SSL *ssl, void *arg)
{
	X509 *leaf = SSL_get_certificate(ssl);
	const struct staple *s = NULL;
	uint8_t *copy;

	if (leaf && CRYPTO_THREAD_run_once(&staple_once, make_staple_index))
		s = X509_get_ex_data(leaf, staple_index);
	copy = s ? OPENSSL_memdup(s->der, s->n) : NULL;
	if (!copy)
		return SSL_TLSEXT_ERR_NOACK;
	SSL_set_tlsext_status_ocsp_resp(ssl, copy, s->n); /* takes it over */
	return SSL_TLSEXT_ERR_OK;
}

void tls_certificate_staple(SSL_CTX *ctx)
{
	SSL_CTX_set_tlsext_status_cb(ctx, on_status);
}
