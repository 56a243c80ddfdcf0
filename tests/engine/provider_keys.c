/* SPDX-License-Identifier: Apache-2.0 */
/* RSA, EC and X25519 alike: what OpenSSL asks of a key is asked of the one within. */
#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/params.h>

#include "provider_keys.h"

struct key {
	OSSL_LIB_CTX *lib;
	const char *type;
	EVP_PKEY *inner; /* NULL: nothing yet */
	int has_public, has_private;
};

EVP_PKEY *key_inner(const void *key)
{
	return ((const struct key *)key)->inner;
}

static struct key *key_new(OSSL_LIB_CTX *lib, const char *type)
{
	struct key *k = calloc(1, sizeof(*k));

	if (k)
		*k = (struct key){.lib = lib, .type = type};
	return k;
}

static void *rsa_new(void *p)
{
	return key_new(provider_lib(p), "RSA");
}

static void *ec_new(void *p)
{
	return key_new(provider_lib(p), "EC");
}

static void *x25519_new(void *p)
{
	return key_new(provider_lib(p), "X25519");
}

static void key_free(void *key)
{
	struct key *k = key;

	EVP_PKEY_free(k->inner);
	free(k);
}

static int key_has(const void *key, int selection)
{
	const struct key *k = key;

	return k && k->inner && (k->has_public || !(selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY)) &&
	       (k->has_private || !(selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY));
}

static int key_match(const void *a, const void *b, int selection)
{
	if (selection & OSSL_KEYMGMT_SELECT_KEYPAIR)
		return EVP_PKEY_eq(key_inner(a), key_inner(b)) == 1;
	return EVP_PKEY_parameters_eq(key_inner(a), key_inner(b)) == 1;
}

/* Parameters alone, for a public key to be set, or all of it. */
static void *key_dup(const void *key, int selection)
{
	const struct key *from = key;
	struct key *k = key_new(from->lib, from->type);

	if (!k || !from->inner)
		return k;
	if (selection & OSSL_KEYMGMT_SELECT_KEYPAIR) {
		k->inner = EVP_PKEY_dup(from->inner);
		k->has_public = from->has_public;
		k->has_private = from->has_private;
	} else {
		k->inner = EVP_PKEY_new();
		if (k->inner && EVP_PKEY_copy_parameters(k->inner, from->inner) != 1) {
			EVP_PKEY_free(k->inner);
			k->inner = NULL;
		}
	}
	if (k->inner)
		return k;
	key_free(k);
	return NULL;
}

/* -- to and fro */

static int key_import(void *key, int selection, const OSSL_PARAM params[])
{
	struct key *k = key;
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(k->lib, k->type, NULL);
	int ok = ctx && EVP_PKEY_fromdata_init(ctx) > 0 && EVP_PKEY_fromdata(ctx, &k->inner, selection, (OSSL_PARAM *)params) > 0;

	k->has_public = ok && selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY;
	k->has_private = ok && selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY;
	EVP_PKEY_CTX_free(ctx);
	return ok;
}

static const OSSL_PARAM *import_types(int selection)
{
	static const OSSL_PARAM types[] = {
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0), OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
		OSSL_PARAM_BN(OSSL_PKEY_PARAM_PRIV_KEY, NULL, 0), OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0),
		OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0), OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_D, NULL, 0), OSSL_PARAM_END};

	return types;
}

static int key_export(void *key, int selection, OSSL_CALLBACK *taker, void *arg)
{
	OSSL_PARAM *params = NULL;
	int ok = !(selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) && key_inner(key) &&
		 EVP_PKEY_todata(key_inner(key), selection, &params) > 0 && taker(params, arg);

	OSSL_PARAM_free(params);
	return ok;
}

static const OSSL_PARAM *export_types(int selection)
{
	static const OSSL_PARAM types[] = {
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0), OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
		OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0), OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0), OSSL_PARAM_END};

	return selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY ? NULL : types;
}

/* -- what may be asked */

static int key_get_params(void *key, OSSL_PARAM params[])
{
	if (OSSL_PARAM_locate(params, OSSL_PKEY_PARAM_PRIV_KEY) || OSSL_PARAM_locate(params, OSSL_PKEY_PARAM_RSA_D))
		return 0;
	return key_inner(key) && EVP_PKEY_get_params(key_inner(key), params);
}

static const OSSL_PARAM *gettable_params(void *provider)
{
	static const OSSL_PARAM params[] = {
		OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL), OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),
		OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL), OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
		OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, NULL, 0), OSSL_PARAM_END};

	return params;
}

static int key_set_params(void *key, const OSSL_PARAM params[])
{
	struct key *k = key;

	if (!k->inner || !EVP_PKEY_set_params(k->inner, (OSSL_PARAM *)params))
		return 0;
	k->has_public |= OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY) != NULL;
	return 1;
}

static const OSSL_PARAM *key_settable_params(void *provider)
{
	static const OSSL_PARAM params[] = {OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, NULL, 0), OSSL_PARAM_END};

	return params;
}

static const char *ec_operation(int operation)
{
	return operation == OSSL_OP_SIGNATURE ? "ECDSA" : operation == OSSL_OP_KEYEXCH ? "ECDH" : "EC";
}

/* -- keys made here */

struct maker {
	OSSL_LIB_CTX *lib;
	const char *type;
	int selection;
	EVP_PKEY *like; /* whose group it is to have; NULL: it is named */
	char group[64];
};

static struct maker *maker_new(void *provider, const char *type, int selection)
{
	struct maker *m = calloc(1, sizeof(*m));

	if (m)
		*m = (struct maker){.lib = provider_lib(provider), .type = type, .selection = selection};
	return m;
}

static void *ec_maker(void *provider, int selection, const OSSL_PARAM params[])
{
	return maker_new(provider, "EC", selection);
}

static void *x25519_maker(void *provider, int selection, const OSSL_PARAM params[])
{
	return maker_new(provider, "X25519", selection);
}

static void maker_free(void *maker)
{
	EVP_PKEY_free(((struct maker *)maker)->like);
	free(maker);
}

static int maker_set_like(void *maker, void *key)
{
	struct maker *m = maker;

	EVP_PKEY_free(m->like);
	m->like = key_inner(key);
	return m->like && EVP_PKEY_up_ref(m->like);
}

static int maker_set_params(void *maker, const OSSL_PARAM params[])
{
	const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_GROUP_NAME);
	struct maker *m = maker;
	char *group = m->group;

	return !p || OSSL_PARAM_get_utf8_string(p, &group, sizeof(m->group));
}

static const OSSL_PARAM *maker_settable_params(void *maker, void *provider)
{
	static const OSSL_PARAM params[] = {OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0), OSSL_PARAM_END};

	return params;
}

static EVP_PKEY *make_inner(struct maker *m)
{
	EVP_PKEY_CTX *ctx = m->like ? EVP_PKEY_CTX_new_from_pkey(m->lib, m->like, NULL) : EVP_PKEY_CTX_new_from_name(m->lib, m->type, NULL);
	int is_pair = m->selection & OSSL_KEYMGMT_SELECT_KEYPAIR;
	EVP_PKEY *made = NULL;

	if (ctx && (is_pair ? EVP_PKEY_keygen_init(ctx) : EVP_PKEY_paramgen_init(ctx)) > 0 &&
	    (!m->group[0] || EVP_PKEY_CTX_set_group_name(ctx, m->group) > 0))
		EVP_PKEY_generate(ctx, &made);
	EVP_PKEY_CTX_free(ctx);
	return made;
}

static void *maker_make(void *maker, OSSL_CALLBACK *progress, void *arg)
{
	struct maker *m = maker;
	struct key *k = key_new(m->lib, m->type);

	if (!k)
		return NULL;
	k->inner = make_inner(m);
	k->has_public = k->has_private = (m->selection & OSSL_KEYMGMT_SELECT_KEYPAIR) != 0;
	if (k->inner)
		return k;
	key_free(k);
	return NULL;
}

/* -- the tables */

#define ALL_KEYS \
	FN(KEYMGMT_FREE, key_free), FN(KEYMGMT_HAS, key_has), FN(KEYMGMT_MATCH, key_match), FN(KEYMGMT_DUP, key_dup), \
		FN(KEYMGMT_IMPORT, key_import), FN(KEYMGMT_IMPORT_TYPES, import_types), FN(KEYMGMT_EXPORT, key_export), \
		FN(KEYMGMT_EXPORT_TYPES, export_types), FN(KEYMGMT_GET_PARAMS, key_get_params), \
		FN(KEYMGMT_GETTABLE_PARAMS, gettable_params)
#define MADE_HERE \
	FN(KEYMGMT_SET_PARAMS, key_set_params), FN(KEYMGMT_SETTABLE_PARAMS, key_settable_params), FN(KEYMGMT_GEN_CLEANUP, maker_free), \
		FN(KEYMGMT_GEN_SET_TEMPLATE, maker_set_like), FN(KEYMGMT_GEN_SET_PARAMS, maker_set_params), \
		FN(KEYMGMT_GEN_SETTABLE_PARAMS, maker_settable_params), FN(KEYMGMT_GEN, maker_make)

static const OSSL_DISPATCH rsa_keys[] = {FN(KEYMGMT_NEW, rsa_new), ALL_KEYS, {0, NULL}};
static const OSSL_DISPATCH ec_keys[] = {
	FN(KEYMGMT_NEW, ec_new), FN(KEYMGMT_GEN_INIT, ec_maker), FN(KEYMGMT_QUERY_OPERATION_NAME, ec_operation), ALL_KEYS, MADE_HERE,
	{0, NULL}};
static const OSSL_DISPATCH x25519_keys[] = {
	FN(KEYMGMT_NEW, x25519_new), FN(KEYMGMT_GEN_INIT, x25519_maker), ALL_KEYS, MADE_HERE, {0, NULL}};

const OSSL_ALGORITHM provider_keys[] = {
	{"RSA:rsaEncryption", PROPERTIES, rsa_keys, NULL},
	{"EC:id-ecPublicKey", PROPERTIES, ec_keys, NULL},
	{"X25519", PROPERTIES, x25519_keys, NULL},
	{NULL, NULL, NULL, NULL}};
