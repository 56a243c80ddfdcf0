/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An OpenSSL provider that behaves as an accelerator with a queue (device.h). It is chosen by the property weir.async=yes, for RSA,
 * EC and X25519: keys are its own, as handles whose private part never leaves it; signatures pass the device, and so do
 * key exchanges once KEY_EXCHANGE has been told. What has passed is computed in software, in a library context that nobody
 * else has.
 *
 * It is told by OSSL_PROVIDER_get_params(), with parameters named as the engine's commands are; POLL is for who has no thread.
 * WEIR_ASYNC_THREAD in the environment gives it one, which polls every so many microseconds, and WEIR_ASYNC_POLLS is DELAY_POLLS.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEVICE_LOCAL /* of the process */
#include "device.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>

#include "provider_keys.h"

static int passes_exchanges; /* 1: key exchanges are the device's, too */

/* -- signatures */

struct signing {
	OSSL_LIB_CTX *lib;
	EVP_MD_CTX *md;
	EVP_PKEY_CTX *inner; /* of md */
};

static void *signing_new(void *provider, const char *properties)
{
	struct signing *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->lib = provider_lib(provider);
	s->md = EVP_MD_CTX_new();
	return s;
}

static void signing_free(void *ctx)
{
	struct signing *s = ctx;

	EVP_MD_CTX_free(s->md);
	free(s);
}

static int sign_init(void *ctx, const char *digest, void *key, const OSSL_PARAM params[])
{
	struct signing *s = ctx;

	return key && EVP_DigestSignInit_ex(s->md, &s->inner, digest, s->lib, NULL, key_inner(key), params);
}

/* out NULL: it is asked for the length only. */
static int may_sign(const unsigned char *out)
{
	if (!out || pass_device())
		return 1;
	ERR_raise(ERR_LIB_PROV, ERR_R_OPERATION_FAIL);
	return 0;
}

static int sign(void *ctx, unsigned char *out, size_t *n_out, size_t max, const unsigned char *in, size_t n)
{
	*n_out = max;
	return may_sign(out) && EVP_DigestSign(((struct signing *)ctx)->md, out, n_out, in, n);
}

static int sign_update(void *ctx, const unsigned char *in, size_t n)
{
	return EVP_DigestSignUpdate(((struct signing *)ctx)->md, in, n);
}

static int sign_final(void *ctx, unsigned char *out, size_t *n_out, size_t max)
{
	*n_out = max;
	return may_sign(out) && EVP_DigestSignFinal(((struct signing *)ctx)->md, out, n_out);
}

static int verify_init(void *ctx, const char *digest, void *key, const OSSL_PARAM params[])
{
	struct signing *s = ctx;

	return key && EVP_DigestVerifyInit_ex(s->md, &s->inner, digest, s->lib, NULL, key_inner(key), params);
}

static int verify_update(void *ctx, const unsigned char *in, size_t n)
{
	return EVP_DigestVerifyUpdate(((struct signing *)ctx)->md, in, n);
}

static int verify_final(void *ctx, const unsigned char *signature, size_t n)
{
	return EVP_DigestVerifyFinal(((struct signing *)ctx)->md, signature, n);
}

static int verify(void *ctx, const unsigned char *signature, size_t n_signature, const unsigned char *in, size_t n)
{
	return EVP_DigestVerify(((struct signing *)ctx)->md, signature, n_signature, in, n);
}

static int set_params(void *ctx, const OSSL_PARAM params[])
{
	struct signing *s = ctx;

	return !params || !params->key || (s->inner && EVP_PKEY_CTX_set_params(s->inner, params) > 0);
}

static const OSSL_PARAM *settable_params(void *ctx, void *provider)
{
	static const OSSL_PARAM params[] = {
		OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_MGF1_DIGEST, NULL, 0), OSSL_PARAM_END};

	return params;
}

/* -- key exchange */

struct exchange {
	OSSL_LIB_CTX *lib;
	EVP_PKEY_CTX *inner;
};

static void *exchange_new(void *provider)
{
	struct exchange *x = calloc(1, sizeof(*x));

	if (x)
		x->lib = provider_lib(provider);
	return x;
}

static void exchange_free(void *ctx)
{
	struct exchange *x = ctx;

	EVP_PKEY_CTX_free(x->inner);
	free(x);
}

static int exchange_init(void *ctx, void *key, const OSSL_PARAM params[])
{
	struct exchange *x = ctx;

	EVP_PKEY_CTX_free(x->inner);
	x->inner = EVP_PKEY_CTX_new_from_pkey(x->lib, key_inner(key), NULL);
	return x->inner && EVP_PKEY_derive_init_ex(x->inner, params) > 0;
}

static int exchange_set_peer(void *ctx, void *key)
{
	return EVP_PKEY_derive_set_peer(((struct exchange *)ctx)->inner, key_inner(key)) > 0;
}

static int exchange_derive(void *ctx, unsigned char *out, size_t *n_out, size_t max)
{
	*n_out = max;
	return (!passes_exchanges || may_sign(out)) && EVP_PKEY_derive(((struct exchange *)ctx)->inner, out, n_out) > 0;
}

/* -- what is offered */

static const OSSL_DISPATCH signatures[] = {
	FN(SIGNATURE_NEWCTX, signing_new), FN(SIGNATURE_FREECTX, signing_free), FN(SIGNATURE_DIGEST_SIGN_INIT, sign_init),
	FN(SIGNATURE_DIGEST_SIGN_UPDATE, sign_update), FN(SIGNATURE_DIGEST_SIGN_FINAL, sign_final), FN(SIGNATURE_DIGEST_SIGN, sign),
	FN(SIGNATURE_DIGEST_VERIFY_INIT, verify_init), FN(SIGNATURE_DIGEST_VERIFY_UPDATE, verify_update),
	FN(SIGNATURE_DIGEST_VERIFY_FINAL, verify_final), FN(SIGNATURE_DIGEST_VERIFY, verify),
	FN(SIGNATURE_SET_CTX_PARAMS, set_params), FN(SIGNATURE_SETTABLE_CTX_PARAMS, settable_params), {0, NULL}};
static const OSSL_DISPATCH exchanges[] = {
	FN(KEYEXCH_NEWCTX, exchange_new), FN(KEYEXCH_FREECTX, exchange_free), FN(KEYEXCH_INIT, exchange_init),
	FN(KEYEXCH_SET_PEER, exchange_set_peer), FN(KEYEXCH_DERIVE, exchange_derive), {0, NULL}};

static const OSSL_ALGORITHM *query(void *provider, int operation, int *no_cache)
{
	static const OSSL_ALGORITHM signing[] = {
		{"RSA:rsaEncryption", PROPERTIES, signatures, NULL}, {"ECDSA", PROPERTIES, signatures, NULL}, {NULL, NULL, NULL, NULL}};
	static const OSSL_ALGORITHM exchange[] = {
		{"ECDH", PROPERTIES, exchanges, NULL}, {"X25519", PROPERTIES, exchanges, NULL}, {NULL, NULL, NULL, NULL}};

	*no_cache = 0;
	return operation == OSSL_OP_KEYMGMT ? provider_keys :
	       operation == OSSL_OP_SIGNATURE ? signing :
	       operation == OSSL_OP_KEYEXCH ? exchange : NULL;
}

/* OpenSSL takes a group from the provider of its keys only. */
static const struct {
	const char *name, *internal, *algorithm;
	unsigned id, security_bits;
} groups[] = {
	{"X25519", "X25519", "X25519", 0x1d, 128}, {"x25519", "X25519", "X25519", 0x1d, 128},
	{"secp256r1", "prime256v1", "EC", 0x17, 128}, {"P-256", "prime256v1", "EC", 0x17, 128},
	{"secp384r1", "secp384r1", "EC", 0x18, 192}, {"P-384", "secp384r1", "EC", 0x18, 192},
};

static int get_capabilities(void *provider, const char *capability, OSSL_CALLBACK *taker, void *arg)
{
	int tls12 = 0x303, any = 0, no_dtls = -1;

	for (unsigned i = 0; strcmp(capability, "TLS-GROUP") == 0 && i < sizeof(groups) / sizeof(*groups); i++) {
		unsigned id = groups[i].id, bits = groups[i].security_bits;
		const OSSL_PARAM params[] = {
			OSSL_PARAM_construct_utf8_string(OSSL_CAPABILITY_TLS_GROUP_NAME, (char *)groups[i].name, 0),
			OSSL_PARAM_construct_utf8_string(OSSL_CAPABILITY_TLS_GROUP_NAME_INTERNAL, (char *)groups[i].internal, 0),
			OSSL_PARAM_construct_utf8_string(OSSL_CAPABILITY_TLS_GROUP_ALG, (char *)groups[i].algorithm, 0),
			OSSL_PARAM_construct_uint(OSSL_CAPABILITY_TLS_GROUP_ID, &id),
			OSSL_PARAM_construct_uint(OSSL_CAPABILITY_TLS_GROUP_SECURITY_BITS, &bits),
			OSSL_PARAM_construct_int(OSSL_CAPABILITY_TLS_GROUP_MIN_TLS, &tls12),
			OSSL_PARAM_construct_int(OSSL_CAPABILITY_TLS_GROUP_MAX_TLS, &any),
			OSSL_PARAM_construct_int(OSSL_CAPABILITY_TLS_GROUP_MIN_DTLS, &no_dtls),
			OSSL_PARAM_construct_int(OSSL_CAPABILITY_TLS_GROUP_MAX_DTLS, &no_dtls), OSSL_PARAM_construct_end()};

		if (!taker(params, arg))
			return 0;
	}
	return 1;
}

/* -- what it is told, and asked */

static const struct {
	const char *name;
	unsigned long *value;
} settings[] = {
	{"DELAY_POLLS", &how.delay_polls}, {"FAIL_EVERY", &how.fail_every}, {"NEVER_EVERY", &how.never_every},
	{"FULL_EVERY", &how.full_every}, {"ORDER", &how.order},
};

/* A command's value is where the parameter's would be written. */
static void hear(const char *name, unsigned long value)
{
	for (unsigned i = 0; i < sizeof(settings) / sizeof(*settings); i++)
		if (strcmp(name, settings[i].name) == 0)
			*settings[i].value = value;
	if (strcmp(name, "DIE") == 0 || strcmp(name, "LIVE") == 0)
		how.is_dead = name[0] == 'D';
	if (strcmp(name, "RELEASE") == 0)
		release();
	if (strcmp(name, "KEY_EXCHANGE") == 0)
		passes_exchanges = (int)value;
	if (strcmp(name, "POLL") == 0)
		poll_queue();
}

static int get_params(void *provider, OSSL_PARAM params[])
{
	for (OSSL_PARAM *p = params; p->key; p++) {
		if (strcmp(p->key, "GET_COUNTS") == 0 && p->data_size == sizeof(unsigned long[4])) {
			get_counts(p->data);
		} else if (p->data_type == OSSL_PARAM_UNSIGNED_INTEGER && p->data_size == sizeof(unsigned long)) {
			hear(p->key, *(const unsigned long *)p->data);
		} else {
			continue;
		}
		p->return_size = p->data_size;
	}
	return 1;
}

/* -- life: an instance for each library context, one device and one thread for all of them */

static unsigned n_instances;
static int is_ending;
static pthread_t thread;
static unsigned thread_us; /* 0: there is none */

static void *poll_on(void *arg)
{
	while (!__atomic_load_n(&is_ending, __ATOMIC_RELAXED)) {
		poll_queue();
		usleep(thread_us);
	}
	return NULL;
}

static void teardown(void *provider)
{
	OSSL_LIB_CTX_free(provider_lib(provider));
	free(provider);
	if (__atomic_sub_fetch(&n_instances, 1, __ATOMIC_ACQ_REL) > 0 || !thread_us)
		return;
	__atomic_store_n(&is_ending, 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	is_ending = 0;
}

static unsigned long from_environment(const char *name)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 10) : 0;
}

/* The first one starts the thread: main's, which goes again before the workers have theirs, or a worker's, in main all the same. */
static int start_device(void)
{
	if (__atomic_fetch_add(&n_instances, 1, __ATOMIC_ACQ_REL) > 0)
		return 1;
	memset(&how, 0, sizeof(how));
	how.delay_polls = from_environment("WEIR_ASYNC_POLLS");
	thread_us = (unsigned)from_environment("WEIR_ASYNC_THREAD");
	passes_exchanges = 0;
	return !thread_us || pthread_create(&thread, NULL, poll_on, NULL) == 0;
}

OSSL_provider_init_fn OSSL_provider_init;

int OSSL_provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out, void **provider)
{
	static const OSSL_DISPATCH functions[] = {
		FN(PROVIDER_TEARDOWN, teardown), FN(PROVIDER_QUERY_OPERATION, query), FN(PROVIDER_GET_PARAMS, get_params),
		FN(PROVIDER_GET_CAPABILITIES, get_capabilities), {0, NULL}};
	struct provider *p = calloc(1, sizeof(*p));

	if (p)
		p->lib = OSSL_LIB_CTX_new();
	if (!p || !p->lib || !start_device()) {
		OSSL_LIB_CTX_free(p ? p->lib : NULL);
		free(p);
		return 0;
	}
	*out = functions;
	*provider = p;
	return 1;
}
