/* SPDX-License-Identifier: Apache-2.0 */
/* The device as main has it. A provider is part of a library context, and each worker has its own: here it is only tried. */
#include <stdio.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/provider.h>

#include "tls/offload_pvt.h"
#include "tls/tls_pvt.h"

const char *offload_kind_name(enum offload_kind kind)
{
	static const char *const names[] = {
#define X(name, str) [OFFLOAD_##name] = str,
		OFFLOAD_KINDS(X)
#undef X
	};

	return names[kind];
}

static bool try_provider(const struct offload_config *cfg, char *why, size_t n)
{
	OSSL_PROVIDER *loaded[2] = {0};
	OSSL_LIB_CTX *lib = OSSL_LIB_CTX_new();
	bool ok = lib && offload_load_provider(lib, cfg, loaded);
	const char *detail = ERR_reason_error_string(ERR_peek_last_error());
	SSL_CTX *ctx;

	if (!ok) {
		snprintf(why, n, "provider %s cannot be loaded: %s", cfg->provider, detail ? detail : "no reason given");
	} else {
		ctx = SSL_CTX_new_ex(lib, cfg->properties[0] ? cfg->properties : NULL, TLS_server_method());
		ok = ctx != NULL;
		SSL_CTX_free(ctx);
		if (!ok)
			snprintf(why, n, "with the properties '%s' OpenSSL has not all that TLS needs", cfg->properties);
	}
	offload_unload_provider(loaded);
	OSSL_LIB_CTX_free(lib);
	return ok;
}

bool offload_load_provider(OSSL_LIB_CTX *lib, const struct offload_config *cfg, OSSL_PROVIDER *loaded[2])
{
	loaded[0] = OSSL_PROVIDER_load(lib, "default");
	loaded[1] = loaded[0] ? OSSL_PROVIDER_load(lib, cfg->provider) : NULL;
	return loaded[1] != NULL;
}

void offload_unload_provider(OSSL_PROVIDER *loaded[2])
{
	for (unsigned i = 2; i-- > 0;)
		if (loaded[i])
			OSSL_PROVIDER_unload(loaded[i]);
	loaded[0] = loaded[1] = NULL;
}

struct offload_device *offload_open(const struct offload_config *config, char *why, size_t n)
{
	struct offload_device *d = calloc(1, sizeof(*d));
	bool ok;

	snprintf(why, n, "no memory");
	if (!d)
		return NULL;
	d->cfg = *config;
	ERR_clear_error();
	ok = config->kind == OFFLOAD_ENGINE ? engine_open(d, why, n) : try_provider(config, why, n);
	ERR_clear_error();
	if (ok)
		return d;
	free(d);
	return NULL;
}

void offload_close(struct offload_device *d)
{
	if (!d)
		return;
	engine_close(d);
	free(d);
}

void offload_describe_openssl(char *version, size_t n_version, char *groups, size_t n_groups, char *why, size_t n_why)
{
	OSSL_LIB_CTX *lib = OSSL_LIB_CTX_new();
	SSL_CTX *ctx = lib ? SSL_CTX_new_ex(lib, NULL, TLS_server_method()) : NULL;
	bool has = ctx && SSL_CTX_set1_groups_list(ctx, TLS_GROUP_PQ);

	snprintf(version, n_version, "%s", OpenSSL_version(OPENSSL_VERSION));
	snprintf(groups, n_groups, "%s" TLS_GROUPS, has ? TLS_GROUP_PQ ":" : "");
	snprintf(why, n_why, "%s", has ? "" : TLS_GROUP_PQ " is not in this OpenSSL (3.5 has it)");
	SSL_CTX_free(ctx);
	OSSL_LIB_CTX_free(lib);
	ERR_clear_error();
}
