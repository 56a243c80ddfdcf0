/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys of weir_provider.c: each is a handle of one that lives in the provider's own library context. They come by import, or are
 * made here; the public part may be asked for and exported, the private one never.
 */
#ifndef TESTS_ENGINE_PROVIDER_KEYS_H
#define TESTS_ENGINE_PROVIDER_KEYS_H

#include <openssl/core_dispatch.h>
#include <openssl/evp.h>

#define PROPERTIES "provider=weir_provider,weir.async=yes"
#define FN(id, fn) {OSSL_FUNC_##id, (void (*)(void))(fn)}

struct provider {
	OSSL_LIB_CTX *lib; /* in which keys live */
};

extern const OSSL_ALGORITHM provider_keys[];

static inline OSSL_LIB_CTX *provider_lib(const void *provider)
{
	return ((const struct provider *)provider)->lib;
}

/* Not the caller's. */
EVP_PKEY *key_inner(const void *key);

#endif
