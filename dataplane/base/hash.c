/* SPDX-License-Identifier: Apache-2.0 */
/* hash64: multiply and fold, eight bytes at a time. See hash.h. */
#include "base/hash.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/siphash.h"

static uint64_t fold(uint64_t a, uint64_t b)
{
	__uint128_t m = (__uint128_t)a * b;
	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static uint64_t load_tail(const uint8_t *p, size_t n)
{
	uint64_t v = 0;
	memcpy(&v, p, n);
	return v;
}

/* Odd constants with about half their bits set: fractions of sqrt(2), sqrt(3), sqrt(5). */
#define K0 0x6a09e667f3bcc909ull
#define K1 0xbb67ae8584caa73bull
#define K2 0x3c6ef372fe94f82bull

static uint64_t step(uint64_t h, uint64_t v)
{
	return fold(h ^ v, K1) + K2;
}

static uint64_t finish(uint64_t h, size_t n)
{
	return fold(h ^ K2, (uint64_t)n ^ K0 ^ (h >> 29));
}

uint64_t hash64(const void *data, size_t n, uint64_t seed)
{
	const uint8_t *p = data;
	uint64_t h = fold(seed ^ K0, K1 ^ n);
	size_t i = 0;

	for (; i + 8 <= n; i += 8) {
		uint64_t v;
		memcpy(&v, p + i, 8);
		h = step(h, v);
	}
	if (i < n)
		h = step(h, load_tail(p + i, n - i));
	return finish(h, n);
}

uint64_t hash64_zeroed(const void *data, size_t n, size_t zero_off, size_t n_zero, uint64_t seed)
{
	const uint8_t *p = data;
	uint64_t h = fold(seed ^ K0, K1 ^ n);

	for (size_t i = 0; i < n; i += 8) {
		uint8_t word[8] = {0};
		size_t len = n - i < 8 ? n - i : 8;
		uint64_t v;

		if (len == 8 && (i + 8 <= zero_off || i >= zero_off + n_zero)) { /* nearly all */
			memcpy(&v, p + i, 8);
			h = step(h, v);
			continue;
		}
		memcpy(word, p + i, len);
		for (size_t j = 0; j < len; j++)
			if (i + j >= zero_off && i + j < zero_off + n_zero)
				word[j] = 0;
		memcpy(&v, word, 8);
		h = step(h, v);
	}
	return finish(h, n);
}

/*
 * What a digest needs is kept for each thread: SHA256() looks its algorithm up
 * in each call (OpenSSL 3.0), which takes several times as long as the digest.
 */
static pthread_key_t sha256_key;
static bool has_sha256_key;
static pthread_once_t sha256_once = PTHREAD_ONCE_INIT;

static void sha256_free(void *ctx)
{
	EVP_MD_CTX_free(ctx);
}

static void sha256_prepare(void)
{
	has_sha256_key = pthread_key_create(&sha256_key, sha256_free) == 0;
}

/* The calling thread's; NULL: it can have none. */
static EVP_MD_CTX *sha256_context(void)
{
	EVP_MD_CTX *ctx;

	pthread_once(&sha256_once, sha256_prepare);
	ctx = has_sha256_key ? pthread_getspecific(sha256_key) : NULL;
	if (ctx || !has_sha256_key)
		return ctx;
	ctx = EVP_MD_CTX_new();
	if (ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 && pthread_setspecific(sha256_key, ctx) == 0)
		return ctx;
	EVP_MD_CTX_free(ctx);
	return NULL;
}

uint64_t hash_backend_n(const char *name, size_t n)
{
	unsigned char digest[SHA256_DIGEST_LENGTH];
	EVP_MD_CTX *ctx = sha256_context();
	uint64_t id = 0;

	if (!ctx || EVP_DigestInit_ex(ctx, NULL, NULL) != 1 || EVP_DigestUpdate(ctx, name, n) != 1 ||
	    EVP_DigestFinal_ex(ctx, digest, NULL) != 1)
		SHA256((const unsigned char *)name, n, digest);
	for (unsigned i = 0; i < sizeof(id); i++)
		id = id << 8 | digest[i];
	return id ? id : 1;
}

uint64_t hash_backend(const char *name)
{
	return hash_backend_n(name, strlen(name));
}

/* ---- with a secret */

static uint64_t secret[3];
static pthread_once_t secret_once = PTHREAD_ONCE_INIT;

static void draw_secret(void)
{
	if (getrandom(secret, sizeof(secret), 0) != (ssize_t)sizeof(secret)) /* only where the system is broken */
		abort();
}

uint64_t hash_secret(void)
{
	pthread_once(&secret_once, draw_secret);
	return secret[0];
}

uint64_t hash_keyed(const void *data, size_t n, uint64_t of)
{
	pthread_once(&secret_once, draw_secret);
	return siphash13(data, n, secret[1] ^ of, secret[2]);
}
