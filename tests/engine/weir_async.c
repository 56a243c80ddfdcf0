/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An OpenSSL engine that behaves as an accelerator with a queue (device.h): private-key operations of RSA and ECDSA pass it, and
 * are computed in software when they end. Commands and counters are named as qatengine has them, so that what drives one can
 * drive the other. Operations belong to the thread that submitted them, as they do to a card's instance.
 */
#include <string.h>

#define OPENSSL_SUPPRESS_DEPRECATED
#define DEVICE_LOCAL __thread
#include "device.h"

#include <openssl/ec.h>
#include <openssl/engine.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

enum {
	CMD_ENABLE_EXTERNAL_POLLING = ENGINE_CMD_BASE,
	CMD_POLL,
	CMD_SET_INSTANCE_FOR_THREAD,
	CMD_GET_NUM_REQUESTS_IN_FLIGHT,
	CMD_ENABLE_HEURISTIC_POLLING,
	CMD_DELAY_POLLS,
	CMD_DELAY_US,
	CMD_FAIL_EVERY,
	CMD_NEVER_EVERY,
	CMD_FULL_EVERY,
	CMD_ORDER,
	CMD_DIE,
	CMD_LIVE,
	CMD_RELEASE,
	CMD_GET_COUNTS,
	CMD_GET_NUM_CRYPTO_INSTANCES,
	CMD_IN_SOFTWARE,
	CMD_NO_DEVICE,
};

static const ENGINE_CMD_DEFN commands[] = {
	{CMD_ENABLE_EXTERNAL_POLLING, "ENABLE_EXTERNAL_POLLING", "who uses the engine polls", ENGINE_CMD_FLAG_NO_INPUT},
	{CMD_POLL, "POLL", "end what is due of this thread; p: int *, status", ENGINE_CMD_FLAG_INTERNAL},
	{CMD_SET_INSTANCE_FOR_THREAD, "SET_INSTANCE_FOR_THREAD", "instance of the calling thread", ENGINE_CMD_FLAG_NUMERIC},
	{CMD_GET_NUM_REQUESTS_IN_FLIGHT, "GET_NUM_REQUESTS_IN_FLIGHT", "1: p is int **, the counter", ENGINE_CMD_FLAG_INTERNAL},
	{CMD_ENABLE_HEURISTIC_POLLING, "ENABLE_HEURISTIC_POLLING", "who polls looks at the counters", ENGINE_CMD_FLAG_NO_INPUT},
	{CMD_DELAY_POLLS, "DELAY_POLLS", "polls until an operation ends", ENGINE_CMD_FLAG_NUMERIC},
	{CMD_DELAY_US, "DELAY_US", "microseconds until an operation ends, in a job or not", ENGINE_CMD_FLAG_NUMERIC},
	{CMD_FAIL_EVERY, "FAIL_EVERY", "so many operations, and one fails; 0: none", ENGINE_CMD_FLAG_NUMERIC},
	{CMD_NEVER_EVERY, "NEVER_EVERY", "so many operations, and one does not end; 0: all end", ENGINE_CMD_FLAG_NUMERIC},
	{CMD_FULL_EVERY, "FULL_EVERY", "so many, and one finds the queue full (EAGAIN) first; 0: none", ENGINE_CMD_FLAG_NUMERIC},
	{CMD_ORDER, "ORDER", "0: as they came, 1: the last one first, 2: mixed", ENGINE_CMD_FLAG_NUMERIC},
	{CMD_DIE, "DIE", "nothing ends any more", ENGINE_CMD_FLAG_NO_INPUT},
	{CMD_LIVE, "LIVE", "what was under way when it died ends", ENGINE_CMD_FLAG_NO_INPUT},
	{CMD_RELEASE, "RELEASE", "what would never end fails with the next POLL", ENGINE_CMD_FLAG_NO_INPUT},
	{CMD_GET_COUNTS, "GET_COUNTS", "p: unsigned long[4]: submitted, done, failed, held", ENGINE_CMD_FLAG_INTERNAL},
	{CMD_GET_NUM_CRYPTO_INSTANCES, "GET_NUM_CRYPTO_INSTANCES", "p: int *, the instances of the card", ENGINE_CMD_FLAG_INTERNAL},
	{CMD_IN_SOFTWARE, "IN_SOFTWARE", "no card: no instances, and what is queued is counted elsewhere", ENGINE_CMD_FLAG_NO_INPUT},
	{CMD_NO_DEVICE, "NO_DEVICE", "neither: its methods are OpenSSL's", ENGINE_CMD_FLAG_NO_INPUT},
	{0, NULL, NULL, 0},
};

static int is_in_software;
static __thread int instance = -1;
static RSA_METHOD *rsa_method;
static EC_KEY_METHOD *ec_method;
static int (*ec_sign)(int type, const unsigned char *dgst, int n, unsigned char *sig, unsigned *n_sig, const BIGNUM *kinv,
		      const BIGNUM *r, EC_KEY *key);

static int fail(void)
{
	ERR_raise(ERR_LIB_ENGINE, ERR_R_OPERATION_FAIL);
	return 0;
}

static int on_rsa_priv_enc(int n, const unsigned char *from, unsigned char *to, RSA *rsa, int padding)
{
	if (!pass_device()) {
		fail();
		return -1;
	}
	return RSA_meth_get_priv_enc(RSA_PKCS1_OpenSSL())(n, from, to, rsa, padding);
}

static int on_ec_sign(int type, const unsigned char *dgst, int n, unsigned char *sig, unsigned *n_sig, const BIGNUM *kinv,
		      const BIGNUM *r, EC_KEY *key)
{
	return pass_device() ? ec_sign(type, dgst, n, sig, n_sig, kinv, r, key) : fail();
}

static int get_in_flight(long which, void *p)
{
	static int none;

	if (!p || which < 1 || which > 6)
		return 0;
	*(int **)p = which == (is_in_software ? 4 : 1) ? &in_flight : &none;
	return 1;
}

static int lose_device(void)
{
	int (*setup)(EC_KEY *key, BN_CTX *ctx, BIGNUM **kinv, BIGNUM **r);
	ECDSA_SIG *(*sign_sig)(const unsigned char *dgst, int n, const BIGNUM *kinv, const BIGNUM *r, EC_KEY *key);

	EC_KEY_METHOD_get_sign(EC_KEY_OpenSSL(), &ec_sign, &setup, &sign_sig);
	EC_KEY_METHOD_set_sign(ec_method, ec_sign, setup, sign_sig);
	return RSA_meth_set_priv_enc(rsa_method, RSA_meth_get_priv_enc(RSA_PKCS1_OpenSSL()));
}

static int on_ctrl(ENGINE *e, int cmd, long i, void *p, void (*f)(void))
{
	switch (cmd) {
	case CMD_ENABLE_EXTERNAL_POLLING:
	case CMD_ENABLE_HEURISTIC_POLLING:
		return 1;
	case CMD_POLL:
		if (p)
			*(int *)p = 0;
		return poll_queue();
	case CMD_SET_INSTANCE_FOR_THREAD:
		instance = (int)i;
		return !is_in_software;
	case CMD_GET_NUM_REQUESTS_IN_FLIGHT:
		return get_in_flight(i, p);
	case CMD_DELAY_POLLS:
		how.delay_polls = (unsigned long)i;
		return 1;
	case CMD_DELAY_US:
		how.delay_us = (unsigned long)i;
		return 1;
	case CMD_FAIL_EVERY:
		how.fail_every = (unsigned long)i;
		return 1;
	case CMD_NEVER_EVERY:
		how.never_every = (unsigned long)i;
		return 1;
	case CMD_FULL_EVERY:
		how.full_every = (unsigned long)i;
		return 1;
	case CMD_ORDER:
		how.order = (unsigned long)i;
		return i >= 0 && i <= 2;
	case CMD_DIE:
	case CMD_LIVE:
		how.is_dead = cmd == CMD_DIE;
		return 1;
	case CMD_RELEASE:
		release();
		return 1;
	case CMD_GET_COUNTS:
		get_counts(p);
		return 1;
	case CMD_GET_NUM_CRYPTO_INSTANCES:
		if (is_in_software)
			return 0;
		*(int *)p = 1;
		return 1;
	case CMD_IN_SOFTWARE:
		is_in_software = 1;
		return 1;
	case CMD_NO_DEVICE:
		return lose_device();
	default:
		return 0;
	}
}

static int on_init(ENGINE *e)
{
	return 1;
}

static int on_destroy(ENGINE *e)
{
	RSA_meth_free(rsa_method);
	EC_KEY_METHOD_free(ec_method);
	rsa_method = NULL;
	ec_method = NULL;
	return 1;
}

static int make_methods(void)
{
	int (*setup)(EC_KEY *key, BN_CTX *ctx, BIGNUM **kinv, BIGNUM **r);
	ECDSA_SIG *(*sign_sig)(const unsigned char *dgst, int n, const BIGNUM *kinv, const BIGNUM *r, EC_KEY *key);

	rsa_method = RSA_meth_dup(RSA_PKCS1_OpenSSL());
	ec_method = EC_KEY_METHOD_new(EC_KEY_OpenSSL());
	if (!rsa_method || !ec_method)
		return 0;
	EC_KEY_METHOD_get_sign(EC_KEY_OpenSSL(), &ec_sign, &setup, &sign_sig);
	EC_KEY_METHOD_set_sign(ec_method, on_ec_sign, setup, sign_sig);
	return RSA_meth_set1_name(rsa_method, "weir_async") && RSA_meth_set_priv_enc(rsa_method, on_rsa_priv_enc);
}

static int bind(ENGINE *e, const char *id)
{
	return make_methods() && ENGINE_set_id(e, "weir_async") && ENGINE_set_name(e, "an accelerator that is none, for tests") &&
	       ENGINE_set_RSA(e, rsa_method) && ENGINE_set_EC(e, ec_method) && ENGINE_set_init_function(e, on_init) &&
	       ENGINE_set_destroy_function(e, on_destroy) && ENGINE_set_ctrl_function(e, on_ctrl) &&
	       ENGINE_set_cmd_defns(e, commands);
}

IMPLEMENT_DYNAMIC_BIND_FN(bind)
IMPLEMENT_DYNAMIC_CHECK_FN()
