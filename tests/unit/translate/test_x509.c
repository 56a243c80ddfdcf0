/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates that are read at less cost say the same as those that OpenSSL reads in whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/x509v3.h>

#include "translate/x509.h"

struct der {
	unsigned char *p;
	int n;
};

static EVP_PKEY *make_key(const char *type, const char *name, const char *value)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	OSSL_PARAM params[3] = {OSSL_PARAM_END, OSSL_PARAM_END, OSSL_PARAM_END};
	EVP_PKEY *k = NULL;

	if (strcmp(type, "EC") == 0)
		params[0] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)(uintptr_t)(name ? "P-256" : value), 0);
	if (name)
		params[1] = OSSL_PARAM_construct_utf8_string(name, (char *)(uintptr_t)value, 0);
	assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
	assert_int_equal(EVP_PKEY_CTX_set_params(ctx, params), 1);
	assert_int_equal(EVP_PKEY_generate(ctx, &k), 1);
	EVP_PKEY_CTX_free(ctx);
	return k;
}

static void add(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *e;

	X509V3_set_ctx(&ctx, issuer ? issuer : x, x, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert_non_null(e);
	X509_add_ext(x, e, -1);
	X509_EXTENSION_free(e);
}

/* The extension's bytes are no extension. */
static void spoil(X509 *x, int nid)
{
	ASN1_OCTET_STRING *bytes = ASN1_OCTET_STRING_new();
	X509_EXTENSION *e;

	ASN1_OCTET_STRING_set(bytes, (const unsigned char *)"\x04\x01x", 3);
	e = X509_EXTENSION_create_by_NID(NULL, nid, 1, bytes);
	X509_add_ext(x, e, -1);
	X509_EXTENSION_free(e);
	ASN1_OCTET_STRING_free(bytes);
}

static X509 *make(const char *subject, EVP_PKEY *key, const char *issuer)
{
	X509 *x = X509_new();

	X509_set_version(x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 7);
	X509_gmtime_adj(X509_getm_notBefore(x), -60);
	X509_gmtime_adj(X509_getm_notAfter(x), 86400);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)subject, -1, -1, 0);
	X509_NAME_add_entry_by_txt(X509_get_issuer_name(x), "CN", MBSTRING_ASC, (const unsigned char *)issuer, -1, -1, 0);
	assert_int_equal(X509_set_pubkey(x, key), 1);
	return x;
}

static struct der sign(X509 *x, EVP_PKEY *by)
{
	struct der d = {NULL, 0};

	assert_true(X509_sign(x, by, EVP_sha256()) > 0);
	d.n = i2d_X509(x, &d.p);
	assert_true(d.n > 0);
	X509_free(x);
	return d;
}

static X509 *read_whole(const struct der *d)
{
	const unsigned char *at = d->p;

	return d2i_X509(NULL, &at, d->n);
}

#define N_KEYS 12

/* Each key against each certificate; the last certificate has a key that is none. */
static void keys_fit_as_openssl_says(void **state)
{
	EVP_PKEY *keys[N_KEYS] = {
	    make_key("EC", NULL, "P-256"), make_key("EC", NULL, "P-256"), make_key("EC", NULL, "P-384"), make_key("EC", NULL, "P-521"),
	    make_key("EC", OSSL_PKEY_PARAM_EC_ENCODING, "explicit"),
	    make_key("EC", OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, "compressed"), make_key("RSA", NULL, NULL),
	    make_key("RSA", NULL, NULL), make_key("RSA-PSS", NULL, NULL), make_key("ED25519", NULL, NULL), make_key("ED25519", NULL, NULL),
	    make_key("X25519", NULL, NULL)};
	unsigned n_fit = 0;

	for (unsigned i = 0; i <= N_KEYS; i++) {
		X509 *x = make("a", keys[i % N_KEYS], "b");
		struct der d;
		X509 *leaf, *whole;

		if (i == N_KEYS) { /* no point has these coordinates */
			unsigned char point[65] = {4, 1};

			X509_PUBKEY_set0_param(X509_get_X509_PUBKEY(x), OBJ_nid2obj(NID_X9_62_id_ecPublicKey), V_ASN1_OBJECT,
					       OBJ_nid2obj(NID_X9_62_prime256v1), OPENSSL_memdup(point, sizeof(point)), sizeof(point));
		}
		d = sign(x, keys[0]);
		leaf = x509_read_leaf(d.p, (size_t)d.n);
		whole = read_whole(&d);
		assert_true(leaf && whole && !X509_get0_pubkey(leaf));
		for (unsigned k = 0; k < N_KEYS; k++) {
			bool fits = X509_check_private_key(whole, keys[k]) == 1;

			assert_int_equal(fits, i == k);
			assert_int_equal(x509_has_key(leaf, keys[k]), fits);
			assert_int_equal(x509_has_key(whole, keys[k]), fits);
			n_fit += fits;
		}
		X509_free(leaf);
		X509_free(whole);
		OPENSSL_free(d.p);
	}
	assert_int_equal(n_fit, N_KEYS);
	for (unsigned k = 0; k < N_KEYS; k++)
		EVP_PKEY_free(keys[k]);
}

static void check_issued(const struct der *ca, struct der d, int wanted)
{
	X509 *leaf = x509_read_leaf(d.p, (size_t)d.n), *whole = read_whole(&d);
	X509 *issuer = x509_read_issuer(ca->p, (size_t)ca->n), *again = x509_read_issuer(ca->p, (size_t)ca->n);
	X509 *anew = read_whole(ca);

	assert_ptr_equal(issuer, again);
	assert_int_equal(X509_check_issued(anew, whole), wanted);
	assert_int_equal(X509_check_issued(issuer, leaf), wanted);
	X509_free(leaf);
	X509_free(whole);
	X509_free(issuer);
	X509_free(again);
	X509_free(anew);
	OPENSSL_free(d.p);
}

static void chains_are_in_order_as_openssl_says(void **state)
{
	EVP_PKEY *key = make_key("EC", NULL, "P-256"), *other = make_key("RSA", NULL, NULL);
	X509 *x = make("ca", key, "ca");
	struct der ca, sibling;
	X509 *x_ca;

	add(x, NULL, NID_basic_constraints, "critical,CA:TRUE");
	add(x, NULL, NID_subject_key_identifier, "hash");
	ca = sign(x, key);
	x = make("ca", other, "ca");
	add(x, NULL, NID_basic_constraints, "critical,CA:TRUE");
	add(x, NULL, NID_subject_key_identifier, "hash");
	sibling = sign(x, other);
	x_ca = read_whole(&ca);

	x = make("leaf", key, "ca");
	add(x, x_ca, NID_authority_key_identifier, "keyid:always");
	check_issued(&ca, sign(x, key), X509_V_OK);
	x = make("leaf", key, "ca");
	add(x, x_ca, NID_authority_key_identifier, "keyid:always");
	check_issued(&sibling, sign(x, key), X509_V_ERR_AKID_SKID_MISMATCH);
	check_issued(&ca, sign(make("leaf", key, "other"), key), X509_V_ERR_SUBJECT_ISSUER_MISMATCH);
	check_issued(&ca, sign(make("leaf", key, "ca"), other), X509_V_ERR_SIGNATURE_ALGORITHM_MISMATCH);
	x = make("leaf", key, "ca");
	spoil(x, NID_basic_constraints);
	check_issued(&ca, sign(x, key), X509_V_ERR_UNSPECIFIED);
	X509_free(x_ca);
	OPENSSL_free(ca.p);
	OPENSSL_free(sibling.p);
	EVP_PKEY_free(key);
	EVP_PKEY_free(other);
}

static void what_is_cut_is_none(void **state)
{
	EVP_PKEY *key = make_key("EC", NULL, "P-256");
	struct der d = sign(make("a", key, "a"), key);

	for (int n = 0; n < d.n; n++) {
		assert_null(x509_read_leaf(d.p, (size_t)n));
		assert_null(x509_read_issuer(d.p, (size_t)n));
	}
	OPENSSL_free(d.p);
	EVP_PKEY_free(key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(keys_fit_as_openssl_says),
	    cmocka_unit_test(chains_are_in_order_as_openssl_says),
	    cmocka_unit_test(what_is_cut_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
