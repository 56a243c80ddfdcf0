/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key schedule of handshakes (RFC 8446 7.1, RFC 5246 5 and 6.3) as a provider of Weir's own within a worker's library context:
 * libssl asks for it by the property KDF_PROPERTIES. It makes no objects and looks nothing up for each secret, as OpenSSL's does,
 * and it tells which keys protect the content once the handshake is done, so that its records can be carried without libssl.
 */
#ifndef TLS_KDF_H
#define TLS_KDF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/evp.h>
#include <openssl/provider.h>

/* Wishes: where there is no such algorithm, any other one will do. They are two, to outweigh one for another provider. */
#define KDF_PROPERTIES "?weir.kdf=yes,?weir.schedule=yes"
#define KDF_BLOCK_MAX 128u	   /* of a digest, SHA-384's */
#define KDF_HASH_MAX 48u

enum kdf_hash { KDF_SHA256, KDF_SHA384, KDF_N_HASHES };

/* Secrets that somebody waits for. */
enum kdf_secret {
	KDF_CLIENT_TRAFFIC, /* client_application_traffic_secret_0 (RFC 8446 7.1) */
	KDF_SERVER_TRAFFIC,
	KDF_KEY_BLOCK, /* RFC 5246 6.3 */
};

/* Called from within libssl, on the thread that runs the handshake. The bytes are the caller's. */
typedef void kdf_tell_fn(void *ctx, enum kdf_secret what, const uint8_t *secret, size_t n);

struct kdf {
	OSSL_PROVIDER *provider, *builtin; /* builtin: OpenSSL's default one, which is not loaded by itself beside another */
	EVP_MD *md[KDF_N_HASHES];
	EVP_MD_CTX *work;
	uint8_t of_nothing[KDF_N_HASHES][KDF_HASH_MAX]; /* the hash of no bytes */
	kdf_tell_fn *tell;
	void *tell_ctx; /* NULL: nobody waits */
};

/* Makes the provider a part of this library context. 0, or -1 with OpenSSL's reasons in its queue; then kdf_fini(), too. */
int kdf_init(struct kdf *k, OSSL_LIB_CTX *lib);
/* Before the library context is freed. */
void kdf_fini(struct kdf *k);
/* Bytes of a digest. */
size_t kdf_hash_bytes(enum kdf_hash hash);

struct kdf_bytes {
	const void *p;
	size_t n;
};
/* HKDF-Expand-Label(secret, label, "", n) with label as it stands there, "tls13 " not included (RFC 8446 7.1). n: at most a digest's. */
bool kdf_expand_label(struct kdf *k, enum kdf_hash hash, const uint8_t *secret, const char *label, uint8_t *out, size_t n);

#endif
