/* SPDX-License-Identifier: Apache-2.0 */
/* The key schedule against OpenSSL's own for random inputs, and against the values of RFC 8448 section 3; and who is told of secrets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "sim.h"
#include "tls/kdf.h"

#define N_ROUNDS 3000u
#define OUT_MAX 256u
#define PARAMS_MAX 16u

static OSSL_LIB_CTX *lib;
static struct kdf kdf;
static uint64_t prng = 8448;

static const struct {
	const char *name, *other_name; /* both are OpenSSL's */
	size_t n;
} hashes[KDF_N_HASHES] = {{"SHA2-256", "SHA256", 32}, {"SHA2-384", "SHA384", 48}};

static int begin(void **state)
{
	lib = OSSL_LIB_CTX_new();
	memset(&kdf, 0, sizeof(kdf));
	return lib ? kdf_init(&kdf, lib) : -1;
}

static int end(void **state)
{
	kdf_fini(&kdf);
	OSSL_LIB_CTX_free(lib);
	return 0;
}

static unsigned below(unsigned n)
{
	return (unsigned)(sim_mix(&prng) % n);
}

static void fill(uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)sim_mix(&prng);
}

/* -- calls as libssl makes them */

struct call {
	const char *name;
	OSSL_PARAM params[PARAMS_MAX];
	unsigned n;
	int mode;
};

static void put(struct call *c, const char *key, const void *p, size_t n)
{
	c->params[c->n++] = OSSL_PARAM_construct_octet_string(key, (void *)(uintptr_t)p, n);
	c->params[c->n] = OSSL_PARAM_construct_end();
}

static void call_begin(struct call *c, const char *name, const char *digest)
{
	*c = (struct call){.name = name, .n = 1};
	c->params[0] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t)digest, 0);
	c->params[1] = OSSL_PARAM_construct_end();
}

static void call_13(struct call *c, const char *digest, int mode, const char *label)
{
	call_begin(c, "TLS13-KDF", digest);
	c->mode = mode;
	c->params[c->n++] = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &c->mode);
	put(c, OSSL_KDF_PARAM_PREFIX, "tls13 ", 6);
	put(c, OSSL_KDF_PARAM_LABEL, label, strlen(label));
}

/* By whom: properties that find Weir's or OpenSSL's. */
#define OWN KDF_PROPERTIES
#define THEIRS "provider=default"

static bool derive(const struct call *c, const char *properties, uint8_t *out, size_t n)
{
	EVP_KDF *k = EVP_KDF_fetch(lib, c->name, properties);
	EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(k);
	bool is_own = strcmp(properties, OWN) == 0, ok;

	assert_non_null(ctx);
	assert_string_equal(OSSL_PROVIDER_get0_name(EVP_KDF_get0_provider(k)), is_own ? "weir" : "default");
	ok = EVP_KDF_derive(ctx, out, n, c->params) == 1;
	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(k);
	ERR_clear_error();
	return ok;
}

static void expect_the_same(const struct call *c, size_t n)
{
	uint8_t own[OUT_MAX + 1], theirs[OUT_MAX + 1];

	memset(own, 0xaa, sizeof(own));
	memset(theirs, 0xaa, sizeof(theirs));
	assert_true(derive(c, THEIRS, theirs, n));
	assert_true(derive(c, OWN, own, n));
	assert_memory_equal(own, theirs, sizeof(own)); /* and nothing behind it */
}

static void extracts_as_openssl_does(void **state)
{
	for (unsigned i = 0; i < N_ROUNDS; i++) {
		unsigned h = below(2);
		uint8_t key[200], salt[KDF_HASH_MAX];
		size_t n_key = 1 + below(sizeof(key));
		struct call c;

		fill(key, sizeof(key));
		fill(salt, sizeof(salt));
		call_13(&c, below(2) ? hashes[h].name : hashes[h].other_name, EVP_KDF_HKDF_MODE_EXTRACT_ONLY, "derived");
		if (i & 1)
			put(&c, OSSL_KDF_PARAM_KEY, key, n_key);
		if (i & 2)
			put(&c, OSSL_KDF_PARAM_SALT, salt, hashes[h].n);
		expect_the_same(&c, hashes[h].n);
	}
}

static const char *random_label(char text[64])
{
	static const char *const known[] = {"c hs traffic", "s hs traffic", "c ap traffic", "s ap traffic", "derived", "key",
					    "iv", "finished", "exp master", "res master", "resumption", "traffic upd"};
	unsigned n = 1 + below(63);

	if (below(2))
		return known[below(sizeof(known) / sizeof(*known))];
	for (unsigned i = 0; i < n; i++)
		text[i] = (char)('a' + below(26));
	text[n] = '\0';
	return text;
}

static void expands_as_openssl_does(void **state)
{
	for (unsigned i = 0; i < N_ROUNDS; i++) {
		unsigned h = below(2);
		uint8_t secret[KDF_HASH_MAX], data[64];
		char text[64];
		const char *label = random_label(text);
		struct call c;
		size_t n = 1 + i % hashes[h].n;

		fill(secret, sizeof(secret));
		fill(data, sizeof(data));
		call_13(&c, hashes[h].name, EVP_KDF_HKDF_MODE_EXPAND_ONLY, label);
		put(&c, OSSL_KDF_PARAM_KEY, secret, hashes[h].n);
		if (below(3))
			put(&c, OSSL_KDF_PARAM_DATA, data, below(2) ? hashes[h].n : 1 + below(sizeof(data)));
		expect_the_same(&c, n);
	}
}

/* Without data, by the function that carry.c calls. */
static void expands_labels_as_openssl_does(void **state)
{
	for (unsigned i = 0; i < N_ROUNDS; i++) {
		unsigned h = below(2);
		uint8_t secret[KDF_HASH_MAX], own[KDF_HASH_MAX], theirs[KDF_HASH_MAX];
		char text[64];
		const char *label = random_label(text);
		struct call c;
		size_t n = 1 + i % hashes[h].n;

		fill(secret, sizeof(secret));
		call_13(&c, hashes[h].name, EVP_KDF_HKDF_MODE_EXPAND_ONLY, label);
		put(&c, OSSL_KDF_PARAM_KEY, secret, hashes[h].n);
		assert_true(derive(&c, THEIRS, theirs, n));
		assert_true(kdf_expand_label(&kdf, (enum kdf_hash)h, secret, label, own, n));
		assert_memory_equal(own, theirs, n);
	}
}

static void refuses_more_than_a_digest(void **state)
{
	static const uint8_t secret[KDF_HASH_MAX] = {1};
	uint8_t out[OUT_MAX];

	for (unsigned h = 0; h < KDF_N_HASHES; h++)
		for (size_t n = 0; n <= 2 * hashes[h].n; n++) {
			struct call c;

			memset(out, 0xaa, sizeof(out));
			call_13(&c, hashes[h].name, EVP_KDF_HKDF_MODE_EXPAND_ONLY, "key");
			put(&c, OSSL_KDF_PARAM_KEY, secret, hashes[h].n);
			if (n)
				assert_int_equal(derive(&c, OWN, out, n), n <= hashes[h].n);
			assert_int_equal(kdf_expand_label(&kdf, (enum kdf_hash)h, secret, "key", out, n), n <= hashes[h].n);
			for (size_t i = n <= hashes[h].n ? n : 0; i < sizeof(out); i++)
				assert_int_equal(out[i], 0xaa);
		}
}

static void refuses_what_it_does_not_know(void **state)
{
	static const uint8_t secret[KDF_HASH_MAX] = {1};
	static uint8_t long_data[300];
	uint8_t out[OUT_MAX];
	struct call c;

	call_13(&c, "SHA2-512", EVP_KDF_HKDF_MODE_EXPAND_ONLY, "key");
	put(&c, OSSL_KDF_PARAM_KEY, secret, 32);
	assert_false(derive(&c, OWN, out, 32));
	call_13(&c, "SHA2-256", EVP_KDF_HKDF_MODE_EXTRACT_AND_EXPAND, "key");
	put(&c, OSSL_KDF_PARAM_KEY, secret, 32);
	assert_false(derive(&c, OWN, out, 32));
	call_13(&c, "SHA2-256", EVP_KDF_HKDF_MODE_EXTRACT_ONLY, "derived");
	assert_false(derive(&c, OWN, out, 31));
	call_13(&c, "SHA2-256", EVP_KDF_HKDF_MODE_EXPAND_ONLY, "key");
	put(&c, OSSL_KDF_PARAM_KEY, secret, 32);
	put(&c, OSSL_KDF_PARAM_DATA, long_data, sizeof(long_data));
	assert_false(derive(&c, OWN, out, 32));
	call_begin(&c, "TLS1-PRF", "SHA2-256");
	put(&c, OSSL_KDF_PARAM_SECRET, secret, 48);
	assert_false(derive(&c, OWN, out, 48)); /* no seed */
}

static void makes_the_prf_of_openssl(void **state)
{
	static const char *const labels[] = {"master secret", "extended master secret", "key expansion", "client finished",
					     "server finished"};

	for (unsigned i = 0; i < N_ROUNDS; i++) {
		unsigned h = below(2), n_seeds = below(5);
		uint8_t secret[300], seeds[5][70];
		const char *label = labels[below(5)];
		struct call c;

		fill(secret, sizeof(secret));
		fill(seeds[0], sizeof(seeds));
		call_begin(&c, "TLS1-PRF", hashes[h].name);
		put(&c, OSSL_KDF_PARAM_SECRET, secret, 1 + below(sizeof(secret))); /* a block has 64 or 128 */
		put(&c, OSSL_KDF_PARAM_SEED, label, strlen(label));
		for (unsigned k = 0; k < n_seeds; k++)
			put(&c, OSSL_KDF_PARAM_SEED, seeds[k], below(sizeof(seeds[k]) + 1));
		expect_the_same(&c, 1 + i % 200);
	}
}

/* -- RFC 8448 section 3 */

struct value {
	uint8_t b[KDF_HASH_MAX];
	size_t n;
};

static struct value hex(const char *text)
{
	struct value v = {.n = 0};

	assert_int_equal(OPENSSL_hexstr2buf_ex(v.b, sizeof(v.b), &v.n, text, '\0'), 1);
	return v;
}

static void expect(struct value v, const char *text)
{
	struct value e = hex(text);

	assert_int_equal(v.n, e.n);
	assert_memory_equal(v.b, e.b, e.n);
}

static struct value extract(const struct value *salt, const struct value *key)
{
	struct value v = {.n = 32};
	struct call c;

	call_13(&c, "SHA2-256", EVP_KDF_HKDF_MODE_EXTRACT_ONLY, "derived");
	if (key)
		put(&c, OSSL_KDF_PARAM_KEY, key->b, key->n);
	if (salt)
		put(&c, OSSL_KDF_PARAM_SALT, salt->b, salt->n);
	assert_true(derive(&c, OWN, v.b, v.n));
	return v;
}

static struct value expand(struct value secret, const char *label, const struct value *data, size_t n)
{
	struct value v = {.n = n};
	struct call c;

	call_13(&c, "SHA2-256", EVP_KDF_HKDF_MODE_EXPAND_ONLY, label);
	put(&c, OSSL_KDF_PARAM_KEY, secret.b, secret.n);
	if (data)
		put(&c, OSSL_KDF_PARAM_DATA, data->b, data->n);
	assert_true(derive(&c, OWN, v.b, n));
	return v;
}

static void expect_keys(struct value secret, const char *key, const char *iv)
{
	expect(expand(secret, "key", NULL, 16), key);
	expect(expand(secret, "iv", NULL, 12), iv);
}

static void has_the_values_of_rfc_8448(void **state)
{
	struct value shared = hex("8bd4054fb55b9d63fdfbacf9f04b9f0d35e6d63f537563efd46272900f89492d");
	struct value hellos = hex("860c06edc07858ee8e78f0e7428c58edd6b43f2ca3e6e95f02ed063cf0e1cad8"); /* the hash up to ServerHello */
	struct value finished = hex("9608102a0f1ccc6db6250b7b7e417b1a000eaada3daae4777a7686c9ff83df13"); /* and to the server's Finished */
	struct value early = extract(NULL, NULL), handshake = extract(&early, &shared), master = extract(&handshake, NULL);
	struct value client = expand(handshake, "c hs traffic", &hellos, 32), server = expand(handshake, "s hs traffic", &hellos, 32);

	expect(early, "33ad0a1c607ec03b09e6cd9893680ce210adf300aa1f2660e1b22e10f170f92a");
	expect(handshake, "1dc826e93606aa6fdc0aadc12f741b01046aa6b99f691ed221a9f0ca043fbeac");
	expect(master, "18df06843d13a08bf2a449844c5f8a478001bc4d4c627984d5a41da8d0402919");
	expect(client, "b3eddb126e067f35a780b3abf45e2d8f3b1a950738f52e9600746a0e27a55a21");
	expect(server, "b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38");
	expect_keys(server, "3fce516009c21727d0f2e4e86ee403bc", "5d313eb2671276ee13000b30");
	expect(expand(client, "finished", NULL, 32), "b80ad01015fb2f0bd65ff7d4da5d6bf83f84821d1f87fdc7d3c75b5a7b42d9c4");
	client = expand(master, "c ap traffic", &finished, 32);
	server = expand(master, "s ap traffic", &finished, 32);
	expect(client, "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5");
	expect(server, "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643");
	expect_keys(client, "17422dda596ed5d9acd890e3c63f5051", "5b78923dee08579033e523d9");
	expect_keys(server, "9f02283b6c9c07efc26bb9f2ac92e356", "cf782b88dd83549aadf1e984");
	expect(expand(master, "exp master", &finished, 32), "fe22f881176eda18eb8f44529e6792c50c9a3f89452f68d8ae311b4309d3cf50");
}

/* -- who is told */

struct told {
	unsigned n;
	enum kdf_secret what;
	uint8_t secret[OUT_MAX];
	size_t n_secret;
};

static void on_tell(void *ctx, enum kdf_secret what, const uint8_t *secret, size_t n)
{
	struct told *t = ctx;

	t->n++;
	t->what = what;
	t->n_secret = n;
	memcpy(t->secret, secret, n);
}

static const char *const labels_13[] = {"c ap traffic", "s ap traffic", "c hs traffic", "s hs traffic", "c e traffic", "exp master",
					"res master", "derived", "key", "iv", "finished", "c ap traffi", "c ap traffic2", "resumption"};
#define N_LABELS_13 (sizeof(labels_13) / sizeof(*labels_13))
static const char *const labels_12[] = {"key expansion", "master secret", "extended master secret", "client finished",
					"server finished", "key expansio", "key expansion2"};
#define N_LABELS_12 (sizeof(labels_12) / sizeof(*labels_12))

static void derive_for(unsigned i, uint8_t out[OUT_MAX], size_t *n)
{
	static const uint8_t secret[48] = {7};
	struct call c;

	if (i < N_LABELS_13) {
		call_13(&c, "SHA2-384", EVP_KDF_HKDF_MODE_EXPAND_ONLY, labels_13[i]);
		put(&c, OSSL_KDF_PARAM_KEY, secret, 48);
		*n = 48;
	} else {
		call_begin(&c, "TLS1-PRF", "SHA2-384");
		put(&c, OSSL_KDF_PARAM_SECRET, secret, 48);
		put(&c, OSSL_KDF_PARAM_SEED, labels_12[i - N_LABELS_13], strlen(labels_12[i - N_LABELS_13]));
		put(&c, OSSL_KDF_PARAM_SEED, "key expansion", 13); /* where no label stands */
		*n = 72;
	}
	assert_true(derive(&c, OWN, out, *n));
}

static void tells_three_secrets_alone(void **state)
{
	for (unsigned i = 0; i < N_LABELS_13 + N_LABELS_12; i++) {
		bool is_one = i < 2 || i == N_LABELS_13;
		struct told told = {.n = 0};
		uint8_t out[OUT_MAX];
		size_t n;

		kdf.tell = on_tell;
		kdf.tell_ctx = &told;
		derive_for(i, out, &n);
		assert_int_equal(told.n, is_one);
		if (is_one) {
			assert_int_equal(told.what, i == N_LABELS_13 ? KDF_KEY_BLOCK : i ? KDF_SERVER_TRAFFIC : KDF_CLIENT_TRAFFIC);
			assert_int_equal(told.n_secret, n);
			assert_memory_equal(told.secret, out, n);
		}
		kdf.tell_ctx = NULL; /* nobody waits */
		derive_for(i, out, &n);
		assert_int_equal(told.n, is_one);
	}
}

static void tells_nothing_of_what_is_refused(void **state)
{
	static const uint8_t secret[48] = {7};
	struct told told = {.n = 0};
	uint8_t out[OUT_MAX];
	struct call c;

	kdf.tell = on_tell;
	kdf.tell_ctx = &told;
	call_13(&c, "SHA2-256", EVP_KDF_HKDF_MODE_EXPAND_ONLY, "c ap traffic");
	put(&c, OSSL_KDF_PARAM_KEY, secret, 32);
	assert_false(derive(&c, OWN, out, 33));
	call_13(&c, "SHA2-256", EVP_KDF_HKDF_MODE_EXTRACT_ONLY, "c ap traffic");
	assert_true(derive(&c, OWN, out, 32));
	assert_int_equal(told.n, 0);
	kdf.tell_ctx = NULL;
}

/* -- beginning and end */

static size_t n_blocks;

static void *count_malloc(size_t n, const char *file, int line)
{
	void *p = n ? malloc(n) : NULL;

	n_blocks += p != NULL;
	return p;
}

static void count_free(void *p, const char *file, int line)
{
	n_blocks -= p != NULL;
	free(p);
}

static void *count_realloc(void *p, size_t n, const char *file, int line)
{
	if (!p)
		return count_malloc(n, file, line);
	if (n == 0) {
		count_free(p, file, line);
		return NULL;
	}
	return realloc(p, n);
}

/* Each worker has one of its own in its library context, and at the end nothing of it is left. */
static void begins_and_ends_any_number_of_times(void **state)
{
	struct kdf k[2] = {{NULL}};
	OSSL_LIB_CTX *own[2];
	size_t before = 0;

	for (unsigned round = 0; round < 4; round++) {
		for (unsigned i = 0; i < 2; i++) {
			own[i] = OSSL_LIB_CTX_new();
			assert_int_equal(kdf_init(&k[i], own[i]), 0);
		}
		for (unsigned i = 0; i < 2; i++) {
			kdf_fini(&k[i]);
			assert_null(k[i].provider);
			OSSL_LIB_CTX_free(own[i]);
		}
		if (round == 1) /* what OpenSSL makes once has been made */
			before = n_blocks;
	}
	assert_int_equal(n_blocks, before);
}

/* As after a beginning that failed at once. */
static void does_not_end_what_is_not_there(void **state)
{
	struct kdf k = {.provider = NULL};

	kdf_fini(&k);
	kdf_fini(&k);
	assert_null(k.work);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(extracts_as_openssl_does),
		cmocka_unit_test(expands_as_openssl_does),
		cmocka_unit_test(expands_labels_as_openssl_does),
		cmocka_unit_test(refuses_more_than_a_digest),
		cmocka_unit_test(refuses_what_it_does_not_know),
		cmocka_unit_test(makes_the_prf_of_openssl),
		cmocka_unit_test(has_the_values_of_rfc_8448),
		cmocka_unit_test(tells_three_secrets_alone),
		cmocka_unit_test(tells_nothing_of_what_is_refused),
		cmocka_unit_test(begins_and_ends_any_number_of_times),
		cmocka_unit_test(does_not_end_what_is_not_there),
	};

	CRYPTO_set_mem_functions(count_malloc, count_realloc, count_free);
	return cmocka_run_group_tests(tests, begin, end);
}
