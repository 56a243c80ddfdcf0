/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates as OpenSSL has them, read without what nobody asks for. With each certificate OpenSSL decodes the public key in
 * it, by a decoder that it makes for that (3.0: a quarter of a millisecond), although the key is only to be compared. A leaf is read in a
 * library context that knows no decoders, so it has its key as bytes; whoever signs others is read in whole, and kept.
 *
 * What is said of a certificate does not depend on the way that it was read: where bytes do not settle it, it is read as usual.
 */
#include "translate/x509.h"

#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/provider.h>

#include "base/hash.h"
#include "translate/translate_pvt.h"

#define PROVIDER "weir-digests"

/* ---- a library context with digests, of which X509_check_issued() takes one, and nothing else */

static OSSL_PROVIDER *whole; /* OpenSSL's own, whose digests these are */

static const OSSL_ALGORITHM *query(void *ctx, int operation, int *no_cache)
{
	(void)ctx;
	return operation == OSSL_OP_DIGEST ? OSSL_PROVIDER_query_operation(whole, operation, no_cache) : NULL;
}

static int provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out, void **ctx)
{
	static const OSSL_DISPATCH functions[] = {{OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))query}, {0, NULL}};

	(void)handle;
	(void)in;
	*out = functions;
	*ctx = OSSL_PROVIDER_get0_provider_ctx(whole); /* the digests expect it */
	return 1;
}

/* As long as the program runs. NULL: it cannot be had, and leaves are read as usual. */
static OSSL_LIB_CTX *context(void)
{
	static OSSL_LIB_CTX *ctx;
	static bool is_tried;

	if (is_tried)
		return ctx;
	is_tried = true;
	whole = OSSL_PROVIDER_try_load(NULL, "default", 1);
	ctx = whole ? OSSL_LIB_CTX_new() : NULL;
	if (ctx && (OSSL_PROVIDER_add_builtin(ctx, PROVIDER, provider_init) != 1 || !OSSL_PROVIDER_load(ctx, PROVIDER))) {
		OSSL_LIB_CTX_free(ctx);
		ctx = NULL;
	}
	ERR_clear_error();
	return ctx;
}

/* ---- reading */

X509 *x509_read_leaf(const unsigned char *der, size_t n)
{
	OSSL_LIB_CTX *ctx = context();
	X509 *x = translate_must(X509_new_ex(ctx, NULL));

	/* Not d2i_X509(), which would also refuse a certificate with a wrong extension if it is given a place for it. */
	if (ASN1_item_d2i_ex((ASN1_VALUE **)&x, &der, (long)n, ASN1_ITEM_rptr(X509), ctx, NULL))
		return x;
	X509_free(x); /* NULL: it is free already */
	return NULL;
}

#define N_KEPT 64u

X509 *x509_read_issuer(const unsigned char *der, size_t n)
{
	static struct {
		X509 *x;
		unsigned char *der;
		size_t n;
	} kept[N_KEPT];
	const size_t at = hash64(der, n, 0) % N_KEPT;
	const unsigned char *p = der;
	X509 *x;

	if (kept[at].x && kept[at].n == n && memcmp(kept[at].der, der, n) == 0) {
		X509_up_ref(kept[at].x);
		return kept[at].x;
	}
	x = d2i_X509(NULL, &p, (long)n);
	if (!x)
		return NULL;
	X509_free(kept[at].x);
	OPENSSL_free(kept[at].der);
	X509_up_ref(x);
	kept[at].x = x;
	kept[at].der = translate_must(OPENSSL_memdup(der, n));
	kept[at].n = n;
	return x;
}

/* ---- whose key it is */

#define POINT_MAX 160u /* bytes of a public key of EC or Ed25519 */

static bool is_same_point(EVP_PKEY *k, const unsigned char *p, size_t n)
{
	unsigned char own[POINT_MAX];
	size_t n_own = 0;

	return EVP_PKEY_get_octet_string_param(k, OSSL_PKEY_PARAM_PUB_KEY, own, sizeof(own), &n_own) == 1 && n_own == n &&
	       memcmp(own, p, n) == 0;
}

static bool is_same_curve(EVP_PKEY *k, const ASN1_OBJECT *curve)
{
	int nid = OBJ_obj2nid(curve);
	char own[64];

	return nid != NID_undef && EVP_PKEY_get_utf8_string_param(k, OSSL_PKEY_PARAM_GROUP_NAME, own, sizeof(own), NULL) == 1 &&
	       strcmp(own, OBJ_nid2sn(nid)) == 0;
}

static bool is_same_number(EVP_PKEY *k, const char *param, const ASN1_TYPE *t)
{
	BIGNUM *own = NULL;
	BIGNUM *other = t->type == V_ASN1_INTEGER ? ASN1_INTEGER_to_BN(t->value.integer, NULL) : NULL;
	bool is_same = other && EVP_PKEY_get_bn_param(k, param, &own) == 1 && BN_cmp(own, other) == 0;

	BN_free(own);
	BN_free(other);
	return is_same;
}

/* RSAPublicKey (RFC 8017 A.1.1) */
static bool is_same_rsa(EVP_PKEY *k, const unsigned char *p, size_t n)
{
	const unsigned char *at = p;
	ASN1_SEQUENCE_ANY *list = d2i_ASN1_SEQUENCE_ANY(NULL, &at, (long)n);
	bool is_same = list && at == p + n && sk_ASN1_TYPE_num(list) == 2 &&
		       is_same_number(k, OSSL_PKEY_PARAM_RSA_N, sk_ASN1_TYPE_value(list, 0)) &&
		       is_same_number(k, OSSL_PKEY_PARAM_RSA_E, sk_ASN1_TYPE_value(list, 1));

	sk_ASN1_TYPE_pop_free(list, ASN1_TYPE_free);
	return is_same;
}

/* True: the bytes say so. False: they do not settle it. */
static bool has_same_bytes(X509 *x, EVP_PKEY *k)
{
	ASN1_OBJECT *type;
	const unsigned char *p;
	X509_ALGOR *algorithm;
	const void *value;
	int n, kind;

	if (X509_PUBKEY_get0_param(&type, &p, &n, &algorithm, X509_get_X509_PUBKEY(x)) != 1 || n <= 0)
		return false;
	X509_ALGOR_get0(NULL, &kind, &value, algorithm);
	switch (OBJ_obj2nid(type)) {
	case NID_X9_62_id_ecPublicKey:
		return EVP_PKEY_is_a(k, "EC") && kind == V_ASN1_OBJECT && is_same_curve(k, value) && is_same_point(k, p, (size_t)n);
	case NID_ED25519:
		return EVP_PKEY_is_a(k, "ED25519") && kind == V_ASN1_UNDEF && is_same_point(k, p, (size_t)n);
	case NID_rsaEncryption:
		return EVP_PKEY_is_a(k, "RSA") && kind == V_ASN1_NULL && is_same_rsa(k, p, (size_t)n);
	default:
		return false;
	}
}

/* As usual: the key is decoded. */
static bool has_equal_key(X509 *x, EVP_PKEY *k)
{
	unsigned char *der = NULL;
	int n = i2d_X509(x, &der);
	const unsigned char *at = der;
	X509 *again = n > 0 ? d2i_X509(NULL, &at, n) : NULL;
	bool is_equal = again && X509_check_private_key(again, k) == 1;

	X509_free(again);
	OPENSSL_free(der);
	return is_equal;
}

bool x509_has_key(X509 *x, EVP_PKEY *k)
{
	return has_same_bytes(x, k) || has_equal_key(x, k);
}
