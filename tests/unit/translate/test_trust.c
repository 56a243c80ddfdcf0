/* SPDX-License-Identifier: Apache-2.0 */
/* CA certificates and CRLs: what of PEM becomes what can be trusted. They are made here, each a second older than the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "base/hash.h"
#include "translate/translate_pvt.h"

#define NOW_S 1767225600

static EVP_PKEY *key; /* of all of them */

static int make_key(void **state)
{
	key = EVP_EC_gen("P-256");
	return key == NULL;
}

static int free_key(void **state)
{
	EVP_PKEY_free(key);
	return 0;
}

static X509_NAME *name_of(const char *cn)
{
	X509_NAME *name = X509_NAME_new();

	assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0), 1);
	return name;
}

/* Appends one CA certificate, which ends so many seconds after NOW_S. padding: bytes that make it larger. */
static void add_ca(BIO *out, long serial, long lasts_s, size_t padding)
{
	X509 *x = X509_new();
	X509_NAME *name = name_of("ca");

	X509_set_version(x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(x), serial);
	ASN1_TIME_set(X509_getm_notBefore(x), NOW_S - serial);
	ASN1_TIME_set(X509_getm_notAfter(x), NOW_S + lasts_s);
	X509_set_subject_name(x, name);
	X509_set_issuer_name(x, name);
	X509_set_pubkey(x, key);
	if (padding) {
		char *text = malloc(padding + 1);
		X509_EXTENSION *e;

		assert_non_null(text);
		memset(text, 'x', padding);
		text[padding] = 0;
		e = X509V3_EXT_conf_nid(NULL, NULL, NID_netscape_comment, text);
		assert_non_null(e);
		X509_add_ext(x, e, -1);
		X509_EXTENSION_free(e);
		free(text);
	}
	assert_true(X509_sign(x, key, EVP_sha256()) > 0);
	assert_int_equal(PEM_write_bio_X509(out, x), 1);
	X509_NAME_free(name);
	X509_free(x);
}

static void add_crl(BIO *out, long serial, long lasts_s)
{
	X509_CRL *x = X509_CRL_new();
	X509_NAME *name = name_of("ca");
	ASN1_TIME *at = ASN1_TIME_set(NULL, NOW_S - serial), *until = ASN1_TIME_set(NULL, NOW_S + lasts_s);

	X509_CRL_set_version(x, X509_CRL_VERSION_2);
	X509_CRL_set_issuer_name(x, name);
	X509_CRL_set1_lastUpdate(x, at);
	X509_CRL_set1_nextUpdate(x, until);
	assert_true(X509_CRL_sign(x, key, EVP_sha256()) > 0);
	assert_int_equal(PEM_write_bio_X509_CRL(out, x), 1);
	ASN1_TIME_free(at);
	ASN1_TIME_free(until);
	X509_NAME_free(name);
	X509_CRL_free(x);
}

/* What was written, as text that lasts as long as the BIO. */
static const char *text_of(BIO *b, size_t *n)
{
	char *p;

	*n = (size_t)BIO_get_mem_data(b, &p);
	return p;
}

static const char *read_both(BIO *cas, BIO *crls, struct certificate **out)
{
	size_t n_cas, n_crls = 0;
	const char *ca = text_of(cas, &n_cas);
	const char *crl = crls ? text_of(crls, &n_crls) : NULL;

	return trust_read(ca, n_cas, crl, n_crls, out);
}

static BIO *cas_of(const long *serials, size_t n)
{
	BIO *b = BIO_new(BIO_s_mem());

	for (size_t i = 0; i < n; i++)
		add_ca(b, serials[i], 1000 * serials[i], 0);
	return b;
}

static void each_certificate_stands_once_in_an_order_of_its_own(void **state)
{
	BIO *a = cas_of((const long[]){1, 2, 3}, 3);
	char *text;
	size_t n;
	BIO *b = BIO_new(BIO_s_mem());
	struct certificate *x, *y;

	/* the same ones, the last one first, with text between them, and twice: signatures of EC differ with each signing */
	n = (size_t)BIO_get_mem_data(a, &text);
	for (size_t i = 3; i-- > 0;) {
		const char *p = text;

		for (size_t k = 0; k < i; k++)
			p = strstr(p + 1, "-----BEGIN");
		BIO_puts(b, "# one of them\n");
		BIO_write(b, p, (int)((size_t)(text + n - p)));
	}
	assert_null(read_both(a, NULL, &x));
	assert_null(read_both(b, NULL, &y));
	assert_int_equal(x->n_cas, 3);
	assert_int_equal(y->n_cas, 3);
	assert_int_equal(certificate_compare_ids(&x->blob->id, &y->blob->id), 0);
	assert_int_equal(x->blob->kind, WEIR_CERTIFICATE_TRUST);
	assert_int_equal(x->blob->crls.size, 0);
	assert_int_equal(x->blob->key.size, 0);
	assert_int_equal(x->blob->n_chain, 1);
	assert_int_equal(x->blob->checksum,
			 hash64_zeroed(x->blob, x->blob->size, offsetof(struct weir_certificate, checksum), 8, 0));
	certificate_put(x);
	certificate_put(y);
	BIO_free(a);
	BIO_free(b);
}

static void times_are_of_what_ends_first_and_begins_last(void **state)
{
	BIO *a = cas_of((const long[]){5, 1, 9}, 3);
	BIO *b = BIO_new(BIO_s_mem());
	struct certificate *x;

	add_crl(b, 1, 700);
	add_crl(b, 2, 300);
	add_crl(b, 3, 900);
	assert_null(read_both(a, b, &x));
	assert_int_equal(x->not_after_s, NOW_S + 1000);
	assert_int_equal(x->not_before_s, NOW_S - 1);
	assert_int_equal(x->crls_until_s, NOW_S + 300);
	assert_int_equal(x->n_crls, 3);
	assert_true(x->blob->crls.size > 0);
	assert_int_equal(x->blob->crls.off + x->blob->crls.size, x->blob->size);
	certificate_put(x);
	BIO_free(a);
	BIO_free(b);
}

static void what_cannot_be_read_is_named(void **state)
{
	static const char bad_ca[] = "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
	static const char bad_crl[] = "-----BEGIN X509 CRL-----\nMIIB\n-----END X509 CRL-----\n";
	BIO *a = cas_of((const long[]){1}, 1);
	BIO *b = cas_of((const long[]){1}, 1);
	size_t n_a, n_b;
	const char *ca, *both;
	struct certificate *x;

	BIO_puts(b, bad_ca);
	ca = text_of(a, &n_a);
	both = text_of(b, &n_b);
	assert_string_equal(trust_read("", 0, NULL, 0, &x), "ca.crt has no certificate in PEM");
	assert_null(x);
	assert_string_equal(trust_read("none", 4, NULL, 0, &x), "ca.crt has no certificate in PEM");
	assert_string_equal(trust_read(bad_ca, strlen(bad_ca), NULL, 0, &x), "ca.crt has a certificate that cannot be read");
	assert_string_equal(trust_read(both, n_b, NULL, 0, &x), "ca.crt has a certificate that cannot be read");
	assert_null(x);
	/* whoever names CRLs does not want to do without */
	assert_string_equal(trust_read(ca, n_a, "", 0, &x), "ca.crl has no CRL in PEM");
	assert_string_equal(trust_read(ca, n_a, ca, n_a, &x), "ca.crl has no CRL in PEM");
	assert_string_equal(trust_read(ca, n_a, bad_crl, strlen(bad_crl), &x), "ca.crl has a CRL that cannot be read");
	assert_null(x);
	BIO_free(a);
	BIO_free(b);
}

static void what_is_too_large_is_named(void **state)
{
	BIO *a = BIO_new(BIO_s_mem());
	BIO *many = BIO_new(BIO_s_mem());
	BIO *one = cas_of((const long[]){1}, 1);
	size_t n;
	const char *text = text_of(one, &n);
	struct certificate *x;

	for (long i = 1; i <= 11; i++)
		add_ca(a, i, 1000, 100000);
	assert_string_equal(read_both(a, NULL, &x), "its certificates and CRLs take more than 1 MiB");
	assert_null(x);
	for (unsigned i = 0; i < 4001; i++)
		BIO_write(many, text, (int)n);
	assert_string_equal(read_both(many, NULL, &x), "ca.crt has more than 4000 certificates");
	assert_null(x);
	BIO_free(a);
	BIO_free(many);
	BIO_free(one);
}

static void several_are_put_together_as_one(void **state)
{
	BIO *a = cas_of((const long[]){1, 2}, 2);
	BIO *b = BIO_new(BIO_s_mem());
	BIO *all = BIO_new(BIO_s_mem());
	BIO *crls = BIO_new(BIO_s_mem());
	struct certificate *x, *y, *z, *merged;
	char *text;
	long n;

	add_crl(crls, 1, 500);
	n = BIO_get_mem_data(a, &text);
	BIO_write(all, text, (int)n);
	add_ca(b, 3, 100, 0);
	n = BIO_get_mem_data(b, &text);
	BIO_write(all, text, (int)n);
	n = BIO_get_mem_data(a, &text); /* and what the first one has, too */
	BIO_write(b, text, (int)n);
	assert_null(read_both(a, crls, &x));
	assert_null(read_both(b, NULL, &y));
	assert_null(read_both(all, crls, &z));
	certificate_add_name(x, "ConfigMap a/x", 13);
	certificate_add_name(y, "ConfigMap a/y", 13);
	merged = trust_merge((const struct certificate *const[]){y, x}, 2);
	assert_non_null(merged);
	assert_int_equal(merged->n_cas, 3);
	assert_int_equal(merged->n_crls, 1);
	assert_int_equal(certificate_compare_ids(&merged->blob->id, &z->blob->id), 0);
	assert_int_equal(merged->not_after_s, NOW_S + 100);
	assert_int_equal(merged->crls_until_s, NOW_S + 500);
	assert_int_equal(merged->n_names, 2);
	assert_string_equal(merged->names[0], "ConfigMap a/y");
	certificate_put(merged);
	certificate_put(x);
	certificate_put(y);
	certificate_put(z);
	BIO_free(a);
	BIO_free(b);
	BIO_free(all);
	BIO_free(crls);
}

static void together_they_can_be_too_large(void **state)
{
	struct certificate *list[2];

	for (long k = 0; k < 2; k++) {
		BIO *b = BIO_new(BIO_s_mem());

		for (long i = 1; i <= 6; i++)
			add_ca(b, 10 * k + i, 1000, 100000);
		assert_null(read_both(b, NULL, &list[k]));
		BIO_free(b);
	}
	assert_null(trust_merge((const struct certificate *const *)list, 2));
	certificate_put(list[0]);
	certificate_put(list[1]);
}

static void what_backends_are_told_is_a_list(void **state)
{
	static const char *const wrong[] = {"", ",", "xfcc,", "xfcc rfc9440", "chain", "xfcc,chain", "XFCC", "none,xfcc", "xfccx", NULL};
	uint8_t bits = 99;

	for (unsigned i = 0; wrong[i]; i++)
		assert_false(client_fields_parse(wrong[i], &bits));
	assert_int_equal(bits, 99);
	assert_true(client_fields_parse("none", &bits));
	assert_int_equal(bits, 0);
	assert_true(client_fields_parse("xfcc", &bits));
	assert_int_equal(bits, WEIR_CLIENT_CERT_XFCC);
	assert_true(client_fields_parse(" chain , xfcc,rfc9440 ", &bits));
	assert_int_equal(bits, WEIR_CLIENT_CERT_XFCC | WEIR_CLIENT_CERT_RFC9440 | WEIR_CLIENT_CERT_CHAIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_certificate_stands_once_in_an_order_of_its_own),
	    cmocka_unit_test(times_are_of_what_ends_first_and_begins_last),
	    cmocka_unit_test(what_cannot_be_read_is_named),
	    cmocka_unit_test(what_is_too_large_is_named),
	    cmocka_unit_test(several_are_put_together_as_one),
	    cmocka_unit_test(together_they_can_be_too_large),
	    cmocka_unit_test(what_backends_are_told_is_a_list),
	};

	return cmocka_run_group_tests(tests, make_key, free_key);
}
