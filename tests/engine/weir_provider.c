/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An OpenSSL provider that behaves as an accelerator with a thread of its own: signatures by RSA and ECDSA pause the job they run in,
 * and the thread ends them a while later, by the job's callback. They are computed in software when they end, in a library context
 * that nobody else has. Its signatures are chosen by the property weir.async=yes; keys stay those of other providers, and are
 * imported here when they are to sign. The environment says how it behaves: WEIR_ASYNC_US, the time of an operation, and
 * WEIR_ASYNC_FAIL_EVERY, so many operations, and one fails.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/async.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>

struct op {
	struct op *next;
	ASYNC_WAIT_CTX *wait;
	int is_done; /* atomic */
};

struct provider {
	OSSL_LIB_CTX *lib; /* in which signatures are made */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct op *queue, **end;
	unsigned long n_ops, fail_every;
	unsigned delay_us;
	int is_ending;
};

struct key {
	struct provider *p;
	const char *type;
	EVP_PKEY *inner;
};

struct signing {
	struct provider *p;
	EVP_MD_CTX *md;
	EVP_PKEY_CTX *inner; /* of md */
};

/* -- the device */

static void *device(void *arg)
{
	struct provider *p = arg;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		struct op *op = p->queue;
		int (*callback)(void *arg);
		void *callback_arg;

		if (!op && p->is_ending)
			break;
		if (!op) {
			pthread_cond_wait(&p->changed, &p->lock);
			continue;
		}
		p->queue = op->next;
		if (!p->queue)
			p->end = &p->queue;
		pthread_mutex_unlock(&p->lock);
		usleep(p->delay_us);
		if (!ASYNC_WAIT_CTX_get_callback(op->wait, &callback, &callback_arg))
			callback = NULL;
		__atomic_store_n(&op->is_done, 1, __ATOMIC_RELEASE);
		if (callback)
			callback(callback_arg); /* from here on the operation may be gone */
		pthread_mutex_lock(&p->lock);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* 0: the operation failed. Outside of a job it takes no time. */
static int pass_device(struct provider *p)
{
	ASYNC_JOB *job = ASYNC_get_current_job();
	struct op op = {0};
	int fails;

	pthread_mutex_lock(&p->lock);
	fails = p->fail_every && ++p->n_ops % p->fail_every == 0;
	if (job) {
		op.wait = ASYNC_get_wait_ctx(job);
		*p->end = &op;
		p->end = &op.next;
		pthread_cond_signal(&p->changed);
	}
	pthread_mutex_unlock(&p->lock);
	while (job && !__atomic_load_n(&op.is_done, __ATOMIC_ACQUIRE))
		ASYNC_pause_job();
	return !fails;
}

/* -- keys: what is needed to import one */

static void *key_new(struct provider *p, const char *type)
{
	struct key *k = calloc(1, sizeof(*k));

	if (k)
		*k = (struct key){.p = p, .type = type};
	return k;
}

static void *rsa_new(void *p)
{
	return key_new(p, "RSA");
}

static void *ec_new(void *p)
{
	return key_new(p, "EC");
}

static void key_free(void *key)
{
	struct key *k = key;

	EVP_PKEY_free(k->inner);
	free(k);
}

static int key_has(const void *key, int selection)
{
	return ((const struct key *)key)->inner != NULL;
}

static int key_import(void *key, int selection, const OSSL_PARAM params[])
{
	struct key *k = key;
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(k->p->lib, k->type, NULL);
	int ok = ctx && EVP_PKEY_fromdata_init(ctx) > 0 && EVP_PKEY_fromdata(ctx, &k->inner, selection, (OSSL_PARAM *)params) > 0;

	EVP_PKEY_CTX_free(ctx);
	return ok;
}

static const OSSL_PARAM *rsa_import_types(int selection)
{
	static const OSSL_PARAM types[] = {
		OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0), OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0),
		OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_D, NULL, 0), OSSL_PARAM_END};

	return types;
}

static const OSSL_PARAM *ec_import_types(int selection)
{
	static const OSSL_PARAM types[] = {
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0), OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
		OSSL_PARAM_BN(OSSL_PKEY_PARAM_PRIV_KEY, NULL, 0), OSSL_PARAM_END};

	return types;
}

/* -- signatures */

static void *signing_new(void *provider, const char *properties)
{
	struct signing *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->p = provider;
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

	return EVP_DigestSignInit_ex(s->md, &s->inner, digest, s->p->lib, NULL, ((struct key *)key)->inner, params);
}

/* out NULL: it is asked for the length only. */
static int may_sign(struct signing *s, const unsigned char *out)
{
	if (!out || pass_device(s->p))
		return 1;
	ERR_raise(ERR_LIB_PROV, ERR_R_OPERATION_FAIL);
	return 0;
}

static int sign(void *ctx, unsigned char *out, size_t *n_out, size_t max, const unsigned char *in, size_t n)
{
	struct signing *s = ctx;

	*n_out = max;
	return may_sign(s, out) && EVP_DigestSign(s->md, out, n_out, in, n);
}

static int sign_update(void *ctx, const unsigned char *in, size_t n)
{
	return EVP_DigestSignUpdate(((struct signing *)ctx)->md, in, n);
}

static int sign_final(void *ctx, unsigned char *out, size_t *n_out, size_t max)
{
	struct signing *s = ctx;

	*n_out = max;
	return may_sign(s, out) && EVP_DigestSignFinal(s->md, out, n_out);
}

static int verify_init(void *ctx, const char *digest, void *key, const OSSL_PARAM params[])
{
	struct signing *s = ctx;

	return EVP_DigestVerifyInit_ex(s->md, &s->inner, digest, s->p->lib, NULL, ((struct key *)key)->inner, params);
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

/* -- what is offered */

#define FN(id, fn) {OSSL_FUNC_##id, (void (*)(void))(fn)}

static const OSSL_DISPATCH rsa_keys[] = {
	FN(KEYMGMT_NEW, rsa_new), FN(KEYMGMT_FREE, key_free), FN(KEYMGMT_HAS, key_has), FN(KEYMGMT_IMPORT, key_import),
	FN(KEYMGMT_IMPORT_TYPES, rsa_import_types), {0, NULL}};
static const OSSL_DISPATCH ec_keys[] = {
	FN(KEYMGMT_NEW, ec_new), FN(KEYMGMT_FREE, key_free), FN(KEYMGMT_HAS, key_has), FN(KEYMGMT_IMPORT, key_import),
	FN(KEYMGMT_IMPORT_TYPES, ec_import_types), {0, NULL}};
static const OSSL_DISPATCH signatures[] = {
	FN(SIGNATURE_NEWCTX, signing_new), FN(SIGNATURE_FREECTX, signing_free), FN(SIGNATURE_DIGEST_SIGN_INIT, sign_init),
	FN(SIGNATURE_DIGEST_SIGN_UPDATE, sign_update), FN(SIGNATURE_DIGEST_SIGN_FINAL, sign_final), FN(SIGNATURE_DIGEST_SIGN, sign),
	FN(SIGNATURE_DIGEST_VERIFY_INIT, verify_init), FN(SIGNATURE_DIGEST_VERIFY_UPDATE, verify_update),
	FN(SIGNATURE_DIGEST_VERIFY_FINAL, verify_final), FN(SIGNATURE_DIGEST_VERIFY, verify),
	FN(SIGNATURE_SET_CTX_PARAMS, set_params), FN(SIGNATURE_SETTABLE_CTX_PARAMS, settable_params), {0, NULL}};

static const OSSL_ALGORITHM *query(void *provider, int operation, int *no_cache)
{
	static const OSSL_ALGORITHM keys[] = {
		{"RSA:rsaEncryption", "provider=weir_provider", rsa_keys, NULL},
		{"EC:id-ecPublicKey", "provider=weir_provider", ec_keys, NULL},
		{NULL, NULL, NULL, NULL}};
	static const OSSL_ALGORITHM signing[] = {
		{"RSA:rsaEncryption", "provider=weir_provider,weir.async=yes", signatures, NULL},
		{"ECDSA", "provider=weir_provider,weir.async=yes", signatures, NULL},
		{NULL, NULL, NULL, NULL}};

	*no_cache = 0;
	return operation == OSSL_OP_KEYMGMT ? keys : operation == OSSL_OP_SIGNATURE ? signing : NULL;
}

static void teardown(void *provider)
{
	struct provider *p = provider;

	pthread_mutex_lock(&p->lock);
	p->is_ending = 1;
	pthread_cond_signal(&p->changed);
	pthread_mutex_unlock(&p->lock);
	pthread_join(p->thread, NULL);
	OSSL_LIB_CTX_free(p->lib);
	free(p);
}

static unsigned long setting(const char *name)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 10) : 0;
}

OSSL_provider_init_fn OSSL_provider_init;

int OSSL_provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out, void **provider)
{
	static const OSSL_DISPATCH functions[] = {FN(PROVIDER_TEARDOWN, teardown), FN(PROVIDER_QUERY_OPERATION, query), {0, NULL}};
	struct provider *p = calloc(1, sizeof(*p));

	if (!p)
		return 0;
	p->lib = OSSL_LIB_CTX_new();
	p->end = &p->queue;
	p->delay_us = (unsigned)setting("WEIR_ASYNC_US");
	p->fail_every = setting("WEIR_ASYNC_FAIL_EVERY");
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->changed, NULL);
	if (!p->lib || pthread_create(&p->thread, NULL, device, p) != 0) {
		OSSL_LIB_CTX_free(p->lib);
		free(p);
		return 0;
	}
	*out = functions;
	*provider = p;
	return 1;
}
