/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HMAC (RFC 2104) over one digest context of the worker's, and upon it HKDF as TLS 1.3 uses it (RFC 5869, RFC 8446 7.1), and the PRF of
 * TLS 1.2 (RFC 5246 5). The digests are OpenSSL's. A context of the algorithm is the worker's struct kdf itself, since libssl gives
 * all parameters with the call that derives: there is nothing to be kept between.
 */
#include "tls/kdf.h"

#include <string.h>

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>

#define LABEL_MAX 255u
#define SEEDS_MAX 6u /* a label, and two random values or hashes, in up to five pieces */

size_t kdf_hash_bytes(enum kdf_hash hash)
{
	return hash == KDF_SHA256 ? 32 : 48;
}

static size_t block_bytes(enum kdf_hash hash)
{
	return hash == KDF_SHA256 ? 64 : 128;
}

/* -- HMAC */

static bool digest(struct kdf *k, enum kdf_hash hash, const struct kdf_bytes *parts, unsigned n, uint8_t *out)
{
	bool ok = EVP_DigestInit_ex2(k->work, k->md[hash], NULL) == 1;

	for (unsigned i = 0; i < n; i++)
		ok = ok && EVP_DigestUpdate(k->work, parts[i].p, parts[i].n) == 1;
	return ok && EVP_DigestFinal_ex(k->work, out, NULL) == 1;
}

/* A key longer than a block is hashed first. */
static bool set_pads(struct kdf *k, enum kdf_hash hash, struct kdf_bytes key, uint8_t inner[KDF_BLOCK_MAX],
		     uint8_t outer[KDF_BLOCK_MAX])
{
	uint8_t hashed[KDF_HASH_MAX];
	size_t n = block_bytes(hash);

	if (key.n > n) {
		if (!digest(k, hash, &key, 1, hashed))
			return false;
		key = (struct kdf_bytes){hashed, kdf_hash_bytes(hash)};
	}
	memset(inner, 0x36, n);
	memset(outer, 0x5c, n);
	for (size_t i = 0; i < key.n; i++) {
		inner[i] ^= ((const uint8_t *)key.p)[i];
		outer[i] ^= ((const uint8_t *)key.p)[i];
	}
	OPENSSL_cleanse(hashed, sizeof(hashed));
	return true;
}

#define HMAC_PARTS 8u

/* parts: at most HMAC_PARTS - 1 of them. out may be one of them. */
static bool hmac(struct kdf *k, enum kdf_hash hash, struct kdf_bytes key, const struct kdf_bytes *parts, unsigned n, uint8_t *out)
{
	uint8_t inner[KDF_BLOCK_MAX], outer[KDF_BLOCK_MAX], between[KDF_HASH_MAX];
	struct kdf_bytes all[HMAC_PARTS] = {{inner, block_bytes(hash)}};
	const struct kdf_bytes last[2] = {{outer, block_bytes(hash)}, {between, kdf_hash_bytes(hash)}};
	bool ok;

	for (unsigned i = 0; i < n; i++)
		all[i + 1] = parts[i];
	ok = set_pads(k, hash, key, inner, outer) && digest(k, hash, all, n + 1, between) && digest(k, hash, last, 2, out);
	OPENSSL_cleanse(inner, sizeof(inner));
	OPENSSL_cleanse(outer, sizeof(outer));
	OPENSSL_cleanse(between, sizeof(between));
	return ok;
}

/* -- TLS 1.3 */

/* HkdfLabel, whose label stands in two parts, and one round of HKDF-Expand: more than a digest is never asked for. */
static bool expand(struct kdf *k, enum kdf_hash hash, struct kdf_bytes secret, const struct kdf_bytes label[2], struct kdf_bytes data,
		   uint8_t *out, size_t n)
{
	const uint8_t head[3] = {(uint8_t)(n >> 8), (uint8_t)n, (uint8_t)(label[0].n + label[1].n)};
	const uint8_t n_data = (uint8_t)data.n, round = 1;
	const struct kdf_bytes parts[] = {{head, sizeof(head)}, label[0], label[1], {&n_data, 1}, data, {&round, 1}};
	uint8_t all[KDF_HASH_MAX];
	bool ok;

	if (n > kdf_hash_bytes(hash) || label[0].n + label[1].n > LABEL_MAX || data.n > UINT8_MAX)
		return false;
	ok = hmac(k, hash, secret, parts, sizeof(parts) / sizeof(*parts), all);
	if (ok)
		memcpy(out, all, n);
	OPENSSL_cleanse(all, sizeof(all));
	return ok;
}

bool kdf_expand_label(struct kdf *k, enum kdf_hash hash, const uint8_t *secret, const char *label, uint8_t *out, size_t n)
{
	const struct kdf_bytes labels[2] = {{"tls13 ", 6}, {label, strlen(label)}};

	return expand(k, hash, (struct kdf_bytes){secret, kdf_hash_bytes(hash)}, labels, (struct kdf_bytes){"", 0}, out, n);
}

/* What libssl gives. */
struct args {
	enum kdf_hash hash;
	int mode;
	struct kdf_bytes key, salt, prefix, label, data, secret, seeds[SEEDS_MAX];
	unsigned n_seeds;
};

/* From one secret of the schedule to the next one: salt is the former, NULL at first; key is what is mixed in, NULL: zeros. */
static bool extract(struct kdf *k, const struct args *a, uint8_t *out, size_t n)
{
	static const uint8_t zeros[KDF_HASH_MAX];
	size_t n_hash = kdf_hash_bytes(a->hash);
	const struct kdf_bytes label[2] = {a->prefix, a->label}, nothing = {k->of_nothing[a->hash], n_hash};
	struct kdf_bytes key = a->key.p ? a->key : (struct kdf_bytes){zeros, n_hash};
	uint8_t salt[KDF_HASH_MAX] = {0};
	bool ok = n == n_hash && (!a->salt.p || expand(k, a->hash, a->salt, label, nothing, salt, n_hash)) &&
		  hmac(k, a->hash, (struct kdf_bytes){salt, n_hash}, &key, 1, out);

	OPENSSL_cleanse(salt, sizeof(salt));
	return ok;
}

static bool is_text(struct kdf_bytes b, const char *text)
{
	return b.n == strlen(text) && memcmp(b.p, text, b.n) == 0;
}

static void tell(struct kdf *k, enum kdf_secret what, const uint8_t *p, size_t n)
{
	if (k->tell_ctx)
		k->tell(k->tell_ctx, what, p, n);
}

static bool derive_13(struct kdf *k, const struct args *a, uint8_t *out, size_t n)
{
	const struct kdf_bytes label[2] = {a->prefix, a->label};

	if (a->mode == EVP_KDF_HKDF_MODE_EXTRACT_ONLY)
		return extract(k, a, out, n);
	if (a->mode != EVP_KDF_HKDF_MODE_EXPAND_ONLY || !expand(k, a->hash, a->key, label, a->data, out, n))
		return false;
	if (is_text(a->label, "c ap traffic"))
		tell(k, KDF_CLIENT_TRAFFIC, out, n);
	else if (is_text(a->label, "s ap traffic"))
		tell(k, KDF_SERVER_TRAFFIC, out, n);
	return true;
}

/* -- TLS 1.2 */

/* P_hash: A(0) is the seeds, A(i) is HMAC(secret, A(i-1)), and the output the HMACs of A(i) and the seeds. */
static bool derive_12(struct kdf *k, const struct args *a, uint8_t *out, size_t n)
{
	size_t n_hash = kdf_hash_bytes(a->hash);
	uint8_t chain[KDF_HASH_MAX], piece[KDF_HASH_MAX];
	struct kdf_bytes parts[SEEDS_MAX + 1] = {{chain, n_hash}};
	bool ok = a->n_seeds > 0 && hmac(k, a->hash, a->secret, a->seeds, a->n_seeds, chain);

	memcpy(parts + 1, a->seeds, sizeof(a->seeds));
	for (size_t at = 0; ok && at < n; at += n_hash) {
		size_t k_bytes = n - at < n_hash ? n - at : n_hash;

		ok = hmac(k, a->hash, a->secret, parts, a->n_seeds + 1, piece) && hmac(k, a->hash, a->secret, parts, 1, chain);
		if (ok)
			memcpy(out + at, piece, k_bytes);
	}
	OPENSSL_cleanse(chain, sizeof(chain));
	OPENSSL_cleanse(piece, sizeof(piece));
	if (ok && is_text(a->seeds[0], "key expansion"))
		tell(k, KDF_KEY_BLOCK, out, n);
	return ok;
}

/* -- as a provider */

static bool find_hash(const struct kdf *k, const OSSL_PARAM *p, struct args *a)
{
	static const char *const names[KDF_N_HASHES] = {"SHA2-256", "SHA2-384"}; /* as libssl says it */

	for (unsigned i = 0; p->data && i < KDF_N_HASHES; i++)
		if (strcmp(p->data, names[i]) == 0) {
			a->hash = (enum kdf_hash)i;
			return true;
		}
	for (unsigned i = 0; p->data && i < KDF_N_HASHES; i++)
		if (EVP_MD_is_a(k->md[i], p->data)) {
			a->hash = (enum kdf_hash)i;
			return true;
		}
	return false;
}

static bool read_args(const struct kdf *k, const OSSL_PARAM *p, struct args *a)
{
	bool ok = false;

	memset(a, 0, sizeof(*a));
	for (; p && p->key; p++) {
		const struct kdf_bytes b = {p->data ? p->data : "", p->data_size};

		if (strcmp(p->key, OSSL_KDF_PARAM_DIGEST) == 0)
			ok = find_hash(k, p, a);
		else if (strcmp(p->key, OSSL_KDF_PARAM_MODE) == 0)
			OSSL_PARAM_get_int(p, &a->mode);
		else if (strcmp(p->key, OSSL_KDF_PARAM_KEY) == 0)
			a->key = b;
		else if (strcmp(p->key, OSSL_KDF_PARAM_SALT) == 0)
			a->salt = b;
		else if (strcmp(p->key, OSSL_KDF_PARAM_PREFIX) == 0)
			a->prefix = b;
		else if (strcmp(p->key, OSSL_KDF_PARAM_LABEL) == 0)
			a->label = b;
		else if (strcmp(p->key, OSSL_KDF_PARAM_DATA) == 0)
			a->data = b;
		else if (strcmp(p->key, OSSL_KDF_PARAM_SECRET) == 0)
			a->secret = b;
		else if (strcmp(p->key, OSSL_KDF_PARAM_SEED) != 0 || b.n == 0)
			continue;
		else if (a->n_seeds == SEEDS_MAX)
			return false;
		else
			a->seeds[a->n_seeds++] = b;
	}
	return ok;
}

static int on_derive_13(void *vctx, unsigned char *out, size_t n, const OSSL_PARAM params[])
{
	struct args a;

	return read_args(vctx, params, &a) && derive_13(vctx, &a, out, n);
}

static int on_derive_12(void *vctx, unsigned char *out, size_t n, const OSSL_PARAM params[])
{
	struct args a;

	return read_args(vctx, params, &a) && derive_12(vctx, &a, out, n);
}

static void *on_new(void *provctx)
{
	return provctx;
}

static void on_free(void *vctx)
{
}

/* A context keeps nothing. */
static int on_set(void *vctx, const OSSL_PARAM params[])
{
	return params == NULL || params->key == NULL;
}

#define FN(id, fn) {id, (void (*)(void))fn}

static const OSSL_DISPATCH kdf_13[] = {
	FN(OSSL_FUNC_KDF_NEWCTX, on_new), FN(OSSL_FUNC_KDF_FREECTX, on_free), FN(OSSL_FUNC_KDF_RESET, on_free),
	FN(OSSL_FUNC_KDF_SET_CTX_PARAMS, on_set), FN(OSSL_FUNC_KDF_DERIVE, on_derive_13), {0, NULL},
};
static const OSSL_DISPATCH kdf_12[] = {
	FN(OSSL_FUNC_KDF_NEWCTX, on_new), FN(OSSL_FUNC_KDF_FREECTX, on_free), FN(OSSL_FUNC_KDF_RESET, on_free),
	FN(OSSL_FUNC_KDF_SET_CTX_PARAMS, on_set), FN(OSSL_FUNC_KDF_DERIVE, on_derive_12), {0, NULL},
};
static const OSSL_ALGORITHM kdfs[] = {
	{"TLS13-KDF", "provider=weir,weir.kdf=yes,weir.schedule=yes", kdf_13, "the key schedule of TLS 1.3"},
	{"TLS1-PRF", "provider=weir,weir.kdf=yes,weir.schedule=yes", kdf_12, "the PRF of TLS 1.2"},
	{NULL, NULL, NULL, NULL},
};

static const OSSL_ALGORITHM *on_query(void *provctx, int operation, int *no_cache)
{
	*no_cache = 0;
	return operation == OSSL_OP_KDF ? kdfs : NULL;
}

static const OSSL_DISPATCH provider_functions[] = {
	FN(OSSL_FUNC_PROVIDER_QUERY_OPERATION, on_query),
	{0, NULL},
};

static __thread struct kdf *making; /* whose provider is being loaded on this thread */

static int on_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out, void **provctx)
{
	*out = provider_functions;
	*provctx = making;
	return making != NULL;
}

int kdf_init(struct kdf *k, OSSL_LIB_CTX *lib)
{
	making = k;
	if (OSSL_PROVIDER_add_builtin(lib, "weir", on_init) == 1) {
		k->builtin = OSSL_PROVIDER_load(lib, "default");
		k->provider = OSSL_PROVIDER_load(lib, "weir");
	}
	making = NULL;
	k->md[KDF_SHA256] = EVP_MD_fetch(lib, "SHA256", NULL);
	k->md[KDF_SHA384] = EVP_MD_fetch(lib, "SHA384", NULL);
	k->work = EVP_MD_CTX_new();
	if (!k->builtin || !k->provider || !k->work)
		return -1;
	for (unsigned i = 0; i < KDF_N_HASHES; i++)
		if (!k->md[i] || !digest(k, (enum kdf_hash)i, NULL, 0, k->of_nothing[i]))
			return -1;
	return 0;
}

void kdf_fini(struct kdf *k)
{
	EVP_MD_CTX_free(k->work);
	for (unsigned i = 0; i < KDF_N_HASHES; i++)
		EVP_MD_free(k->md[i]);
	if (k->provider)
		OSSL_PROVIDER_unload(k->provider);
	if (k->builtin)
		OSSL_PROVIDER_unload(k->builtin);
	*k = (struct kdf){.provider = NULL};
}
