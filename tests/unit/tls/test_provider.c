/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handshakes whose signatures, and key exchanges, a provider makes: tests/engine/weir_provider.c, whose operations pause their job
 * until it is polled, here by the test. What is so of any device is in offload_scenarios.h.
 */
#include "offload_scenarios.h"

#include <openssl/core_names.h>
#include <openssl/provider.h>

#include "tls/tls_pvt.h"

static struct offload_config device_config(uint32_t n_jobs)
{
	return (struct offload_config){.kind = OFFLOAD_PROVIDER, .provider = "weir_provider", .properties = "?weir.async=yes",
				       .n_jobs = n_jobs, .timeout_ms = TIMEOUT_MS, .retry_ms = RETRY_MS};
}

static void tell(const char *command, long value)
{
	unsigned long v = (unsigned long)value;
	OSSL_PARAM params[2] = {OSSL_PARAM_construct_ulong(command, &v), OSSL_PARAM_construct_end()};

	assert_true(OSSL_PROVIDER_get_params(tls->providers[1], params));
	assert_true(OSSL_PARAM_modified(params));
}

static void ask(unsigned long counts[4])
{
	OSSL_PARAM params[2] = {OSSL_PARAM_construct_octet_string("GET_COUNTS", counts, 4 * sizeof(*counts)), OSSL_PARAM_construct_end()};

	assert_true(OSSL_PROVIDER_get_params(tls->providers[1], params));
	assert_true(OSSL_PARAM_modified(params));
}

/* Nobody polls a provider but itself. */
static void step_device(void)
{
	tell("POLL", 0);
}

/* As OpenSSL does it when a key is to sign: the provider takes a copy. */
static EVP_PKEY *give_to_provider(const EVP_PKEY *key)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(tls->lib, EVP_PKEY_get0_type_name(key), "weir.async=yes");
	OSSL_PARAM *params = NULL;
	EVP_PKEY *out = NULL;

	assert_int_equal(EVP_PKEY_todata(key, EVP_PKEY_KEYPAIR, &params), 1);
	assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
	assert_int_equal(EVP_PKEY_fromdata(ctx, &out, EVP_PKEY_KEYPAIR, params), 1);
	OSSL_PARAM_free(params);
	EVP_PKEY_CTX_free(ctx);
	return out;
}

/* Neither as a structure, nor its private number. */
static void assert_is_kept(EVP_PKEY *key)
{
	unsigned char *der = NULL;
	BIGNUM *d = NULL;

	assert_string_equal(OSSL_PROVIDER_get0_name(EVP_PKEY_get0_provider(key)), "weir_provider");
	assert_true(i2d_PrivateKey(key, &der) <= 0);
	assert_false(EVP_PKEY_get_bn_param(key, EVP_PKEY_is_a(key, "RSA") ? OSSL_PKEY_PARAM_RSA_D : OSSL_PKEY_PARAM_PRIV_KEY, &d));
	assert_null(der);
	assert_null(d);
	ERR_clear_error();
}

static void assert_signs(EVP_PKEY *signer, EVP_PKEY *verifier, const char *properties)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	unsigned char signature[512];
	size_t n = sizeof(signature);

	assert_int_equal(EVP_DigestSignInit_ex(md, NULL, "SHA256", tls->lib, properties, signer, NULL), 1);
	assert_int_equal(EVP_DigestSign(md, signature, &n, (const unsigned char *)"text", 4), 1);
	EVP_MD_CTX_reset(md);
	assert_int_equal(EVP_DigestVerifyInit_ex(md, NULL, "SHA256", tls->lib, NULL, verifier, NULL), 1);
	assert_int_equal(EVP_DigestVerify(md, signature, n, (const unsigned char *)"text", 4), 1);
	EVP_MD_CTX_free(md);
}

static void keys_are_handles_that_sign_and_are_not_given_away(void **state)
{
	static const unsigned made[] = {CERT_A_EC, CERT_A_RSA};
	unsigned long before[4], after[4];

	start_device(13, 4);
	for (unsigned i = 0; i < RTE_DIM(made); i++) {
		char why[100] = "";
		struct tls_certificate *c = tls_certificate_create(tls, blobs[made[i]], why, sizeof(why));
		EVP_PKEY *key;

		assert_string_equal(c ? "" : why, "");
		assert_non_null(c->device_key);
		key = give_to_provider(c->key);
		assert_is_kept(key);
		assert_int_equal(X509_check_private_key(c->leaf, key), 1);
		ask(before);
		assert_signs(key, c->key, NULL);
		ask(after);
		assert_int_equal(after[DONE], before[DONE] + 1);
		assert_signs(c->device_key, c->key, "?weir.async=yes");
		ask(before);
		assert_int_equal(before[DONE], after[DONE] + 1);
		EVP_PKEY_free(key);
		tls_certificate_destroy(c);
	}
	end_offload();
}

static void agrees_on_keys_in_the_device(void **state)
{
	static const char *const groups[] = {"X25519", "P-256", "P-384"};

	start_device(14, 4);
	tell("KEY_EXCHANGE", 1);
	tell("DELAY_POLLS", 5);
	for (unsigned i = 0; i < 2 * RTE_DIM(groups); i++) {
		int version = i % 2 ? TLS1_2_VERSION : TLS1_3_VERSION;
		struct client *p = tls_client(0, "a.example", version, version);

		assert_int_equal(SSL_set1_groups_list(p->ssl, groups[i / 2]), 1);
		p->n_send = 100000;
		handshake(p);
		sim_run(&sim, 1000000, NULL, NULL);
		assert_true(p->is_done);
		assert_int_equal(p->n_got, p->n_send);
		assert_int_equal(count(WEIR_C_TLS_OFFLOAD_COMPLETED), 2 * (i + 1)); /* an exchange, and a signature */
	}
	assert_int_equal(count(WEIR_C_TLS_OFFLOAD_FAILED), 0);
	end_offload();
}

static void finishes_by_the_thousand_with_keys_agreed_on_in_the_device(void **state)
{
	start_device(15, 8);
	tell("KEY_EXCHANGE", 1);
	tell("DELAY_POLLS", 3);
	tell("ORDER", 2);
	tell("FULL_EVERY", 11);
	run_rounds();
	assert_int_equal(count(WEIR_C_TLS_OFFLOAD_FAILED), 0);
	end_offload();
}

static struct client *client_of(int version)
{
	struct client *p = tls_client(0, "a.example", version, version);

	assert_int_equal(SSL_set1_groups_list(p->ssl, "X25519"), 1);
	return p;
}

static void takes_a_device_for_dead_that_fails_at_key_exchanges(void **state)
{
	start_device(16, 8);
	tell("KEY_EXCHANGE", 1);
	tell("FAIL_EVERY", 1);
	for (unsigned i = 0; i < 8; i++) {
		handshake(client_of(TLS1_3_VERSION));
		assert_true(clients[0].has_failed || clients[0].is_closed);
	}
	assert_int_equal(stats->reason[WEIR_R_TLS_OFFLOAD_FAILED], 8);
	assert_int_equal(count(WEIR_C_TLS_OFFLOAD_FAILED), 8);
	assert_int_equal(stats->gauge[WEIR_G_TLS_OFFLOAD_UP], 0);
	handshake(client_of(TLS1_3_VERSION));
	assert_true(clients[0].is_done);
	end_offload();
}

/* In TLS 1.2 the signature comes first, so the device is seen to live. */
static void says_that_a_key_exchange_failed_in_version_1_2(void **state)
{
	start_device(17, 8);
	tell("KEY_EXCHANGE", 1);
	tell("FAIL_EVERY", 2);
	handshake(client_of(TLS1_2_VERSION));
	assert_true(clients[0].has_failed || clients[0].is_closed);
	assert_int_equal(stats->reason[WEIR_R_TLS_OFFLOAD_FAILED], 1);
	assert_int_equal(count(WEIR_C_TLS_OFFLOAD_COMPLETED), 1);
	assert_int_equal(count(WEIR_C_TLS_OFFLOAD_FAILED), 1);
	assert_int_equal(stats->gauge[WEIR_G_TLS_OFFLOAD_UP], 1);
	end_offload();
}

/* A ClientHello whose X25519 share is the point of order 1: no key can be agreed on with it (RFC 7748 6.1). */
static size_t make_bad_hello(uint8_t *hello, size_t max)
{
	static const uint8_t entry[] = {0x00, 0x1d, 0x00, 0x20}; /* RFC 8446 4.2.8: group, length */
	struct client *p = client_of(TLS1_3_VERSION);
	uint8_t *at;
	int n;

	SSL_do_handshake(p->ssl);
	n = BIO_read(p->out, hello, (int)max);
	assert_true(n > 0);
	at = memmem(hello, (size_t)n, entry, sizeof(entry));
	assert_non_null(at);
	memset(at + sizeof(entry), 0, 32);
	at[sizeof(entry)] = 1;
	ERR_clear_error();
	return (size_t)n;
}

static void a_share_that_yields_no_key_is_the_clients_fault(void **state)
{
	uint8_t hello[1000];
	size_t n;

	start_device(18, 8);
	tell("KEY_EXCHANGE", 1);
	n = make_bad_hello(hello, sizeof(hello));
	for (unsigned i = 0; i < 10; i++)
		handshake(raw_client(0, hello, n));
	assert_int_equal(count(WEIR_C_TLS_OFFLOAD_COMPLETED), 10);
	assert_int_equal(count(WEIR_C_TLS_OFFLOAD_FAILED), 0);
	assert_int_equal(stats->reason[WEIR_R_TLS_PROTOCOL], 10);
	assert_int_equal(stats->gauge[WEIR_G_TLS_OFFLOAD_UP], 1);
	end_offload();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_are_handles_that_sign_and_are_not_given_away),
		cmocka_unit_test(agrees_on_keys_in_the_device),
		cmocka_unit_test(finishes_by_the_thousand_with_keys_agreed_on_in_the_device),
		cmocka_unit_test(takes_a_device_for_dead_that_fails_at_key_exchanges),
		cmocka_unit_test(says_that_a_key_exchange_failed_in_version_1_2),
		cmocka_unit_test(a_share_that_yields_no_key_is_the_clients_fault),
		SHARED_SCENARIOS
		LAST_SCENARIO,
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, make_certificates, free_certificates);
}
