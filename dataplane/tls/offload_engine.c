/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device as an ENGINE (deprecated since OpenSSL 3.0, and what qatengine is there). The engine becomes nobody's default: only
 * keys that were made for it here use it, by the method tables of RSA and EC_KEY. OpenSSL takes such a key for foreign, and
 * goes past its providers, in any library context.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <stdio.h>

#include <openssl/ec.h>
#include <openssl/engine.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

#include "tls/offload_pvt.h"

static const char *last_error(void)
{
	const char *text = ERR_reason_error_string(ERR_peek_last_error());

	return text ? text : "no reason given";
}

/* 0: the engine has none of this name. */
static int find_command(ENGINE *e, const char *name)
{
	int cmd = ENGINE_ctrl(e, ENGINE_CTRL_GET_CMD_FROM_NAME, 0, (void *)(uintptr_t)name, NULL);

	return cmd > 0 ? cmd : 0;
}

static ENGINE *find_by_path(const char *id, const char *path)
{
	ENGINE *e = ENGINE_by_id("dynamic");

	if (e && ENGINE_ctrl_cmd_string(e, "SO_PATH", path, 0) && ENGINE_ctrl_cmd_string(e, "ID", id, 0) &&
	    ENGINE_ctrl_cmd_string(e, "LOAD", NULL, 0))
		return e;
	ENGINE_free(e);
	return NULL;
}

static bool give_command(ENGINE *e, const char *id, const struct offload_command *c, char *why, size_t n)
{
	if (!find_command(e, c->name)) {
		snprintf(why, n, "engine %s has no command %s", id, c->name);
		return false;
	}
	if (ENGINE_ctrl_cmd_string(e, c->name, c->value[0] ? c->value : NULL, 0))
		return true;
	snprintf(why, n, "engine %s refuses command %s with value '%s': %s", id, c->name, c->value, last_error());
	return false;
}

/* What qatengine wants to be told before it is initialised: that workers poll, and only when there is reason to. */
static bool prepare(ENGINE *e, const struct offload_config *cfg, char *why, size_t n)
{
	static const struct offload_command polls[] = {{.name = "ENABLE_EXTERNAL_POLLING"}, {.name = "ENABLE_HEURISTIC_POLLING"}};

	for (unsigned i = 0; i < 2; i++)
		if (find_command(e, polls[i].name) && !give_command(e, cfg->engine_id, &polls[i], why, n))
			return false;
	for (unsigned i = 0; i < cfg->n_commands; i++)
		if (!give_command(e, cfg->engine_id, &cfg->commands[i], why, n))
			return false;
	return true;
}

/* -- what it can do */

/* An engine that found no device may have OpenSSL's own methods (qatengine has): it would do nothing but be in the way. */
static bool has_rsa(ENGINE *e)
{
	const RSA_METHOD *m = ENGINE_get_RSA(e), *ours = RSA_PKCS1_OpenSSL();

	return m && (RSA_meth_get_priv_enc(m) != RSA_meth_get_priv_enc(ours) || RSA_meth_get_mod_exp(m) != RSA_meth_get_mod_exp(ours) ||
		     RSA_meth_get_sign(m) != RSA_meth_get_sign(ours));
}

struct ec_signing {
	int (*sign)(int type, const unsigned char *dgst, int n, unsigned char *sig, unsigned *n_sig, const BIGNUM *kinv, const BIGNUM *r,
		    EC_KEY *key);
	int (*setup)(EC_KEY *key, BN_CTX *ctx, BIGNUM **kinv, BIGNUM **r);
	ECDSA_SIG *(*sign_sig)(const unsigned char *dgst, int n, const BIGNUM *kinv, const BIGNUM *r, EC_KEY *key);
};

static bool has_ec(ENGINE *e)
{
	struct ec_signing its, ours;

	if (!ENGINE_get_EC(e))
		return false;
	EC_KEY_METHOD_get_sign(ENGINE_get_EC(e), &its.sign, &its.setup, &its.sign_sig);
	EC_KEY_METHOD_get_sign(EC_KEY_OpenSSL(), &ours.sign, &ours.setup, &ours.sign_sig);
	return its.sign != ours.sign || its.setup != ours.setup || its.sign_sig != ours.sign_sig;
}

/* qatengine has none where it works in software of its own: then there is nothing that a thread could choose. */
static bool has_instances(ENGINE *e)
{
	int cmd = find_command(e, "GET_NUM_CRYPTO_INSTANCES");
	int n = 0;

	return !cmd || (ENGINE_ctrl(e, cmd, 0, &n, NULL) > 0 && n > 0);
}

static void find_counters(struct offload_device *d)
{
	int cmd = find_command(d->engine, "GET_NUM_REQUESTS_IN_FLIGHT");
	int *at;

	for (long i = 0; cmd && i < ENGINE_N_IN_FLIGHT; i++) {
		at = NULL;
		if (ENGINE_ctrl(d->engine, cmd, i + 1, &at, NULL) > 0)
			d->in_flight[i] = at;
	}
}

bool engine_open(struct offload_device *d, char *why, size_t n)
{
	const struct offload_config *cfg = &d->cfg;
	ENGINE *e;

	ENGINE_load_dynamic();
	e = cfg->engine_path[0] ? find_by_path(cfg->engine_id, cfg->engine_path) : ENGINE_by_id(cfg->engine_id);
	if (!e) {
		snprintf(why, n, "engine %s cannot be loaded%s%s: %s", cfg->engine_id, cfg->engine_path[0] ? " from " : "",
			 cfg->engine_path, last_error());
		return false;
	}
	if (prepare(e, cfg, why, n)) {
		if (!ENGINE_init(e)) {
			snprintf(why, n, "engine %s cannot be initialised (is its device there?): %s", cfg->engine_id, last_error());
		} else if (has_rsa(e) || has_ec(e)) {
			d->engine = e;
		} else {
			snprintf(why, n, "engine %s does neither RSA nor ECDSA itself (is its device there?)", cfg->engine_id);
			ENGINE_finish(e);
		}
	}
	ENGINE_free(e); /* initialised it stays */
	if (!d->engine)
		return false;
	d->poll_cmd = find_command(e, "POLL");
	d->instance_cmd = has_instances(e) ? find_command(e, "SET_INSTANCE_FOR_THREAD") : 0;
	find_counters(d);
	return true;
}

void engine_close(struct offload_device *d)
{
	if (d->engine)
		ENGINE_finish(d->engine);
	d->engine = NULL;
}

/* Without ENGINE_ctrl(), which takes a lock that all threads share. */
static int control(const struct offload_device *d, int cmd, long i, void *p)
{
	ENGINE_CTRL_FUNC_PTR fn = ENGINE_get_ctrl_function(d->engine);

	return fn ? fn(d->engine, cmd, i, p, NULL) : 0;
}

bool engine_use_instance(const struct offload_device *d, unsigned worker)
{
	return !d->instance_cmd || control(d, d->instance_cmd, (long)worker, NULL) > 0;
}

void engine_poll(const struct offload_device *d)
{
	int status = 0;
	int n = 0;

	for (unsigned i = 0; i < ENGINE_N_IN_FLIGHT; i++)
		n += d->in_flight[i] ? __atomic_load_n(d->in_flight[i], __ATOMIC_RELAXED) : i == 0;
	if (n > 0 && d->poll_cmd)
		control(d, d->poll_cmd, 0, &status);
}

static EVP_PKEY *wrap_rsa(ENGINE *e, const EVP_PKEY *key)
{
	const RSA *of = EVP_PKEY_get0_RSA(key);
	RSA *rsa = of && has_rsa(e) ? RSAPrivateKey_dup(of) : NULL;
	EVP_PKEY *out = rsa ? EVP_PKEY_new() : NULL;

	if (out && RSA_set_method(rsa, ENGINE_get_RSA(e)) && EVP_PKEY_assign_RSA(out, rsa))
		return out;
	EVP_PKEY_free(out);
	RSA_free(rsa);
	return NULL;
}

static EVP_PKEY *wrap_ec(ENGINE *e, const EVP_PKEY *key)
{
	const EC_KEY *of = EVP_PKEY_get0_EC_KEY(key);
	EC_KEY *ec = of && has_ec(e) ? EC_KEY_dup(of) : NULL;
	EVP_PKEY *out = ec ? EVP_PKEY_new() : NULL;

	if (out && EC_KEY_set_method(ec, ENGINE_get_EC(e)) && EVP_PKEY_assign_EC_KEY(out, ec))
		return out;
	EVP_PKEY_free(out);
	EC_KEY_free(ec);
	return NULL;
}

EVP_PKEY *engine_key(const struct offload_device *d, const EVP_PKEY *key)
{
	if (EVP_PKEY_is_a(key, "RSA"))
		return wrap_rsa(d->engine, key);
	if (EVP_PKEY_is_a(key, "EC"))
		return wrap_ec(d->engine, key);
	return NULL;
}
