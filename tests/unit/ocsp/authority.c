/* SPDX-License-Identifier: Apache-2.0 */
#include "authority.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/evp.h>
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>

static void add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *e;

	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert_non_null(e);
	assert_int_equal(X509_add_ext(x, e, -1), 1);
	X509_EXTENSION_free(e);
}

struct holder authority_issue(struct authority *a, const struct holder *issuer, const struct wish *w)
{
	struct holder h = {X509_new(), EVP_EC_gen("P-256")};
	X509_NAME *name = X509_get_subject_name(h.x);
	X509 *by = issuer ? issuer->x : h.x;
	char url[2048];

	X509_set_version(h.x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(h.x), ++a->serial);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)w->name, -1, -1, 0);
	X509_set_issuer_name(h.x, X509_get_subject_name(by));
	ASN1_TIME_set(X509_getm_notBefore(h.x), TEST_NOW_S - 10 * DAY_S);
	ASN1_TIME_set(X509_getm_notAfter(h.x), TEST_NOW_S + 100 * DAY_S);
	X509_set_pubkey(h.x, h.key);
	add_extension(h.x, by, NID_basic_constraints, w->purpose == OF_CA ? "critical,CA:TRUE" : "CA:FALSE");
	add_extension(h.x, by, NID_subject_key_identifier, "hash");
	if (w->purpose != OF_CA)
		add_extension(h.x, by, NID_ext_key_usage, w->purpose == OF_RESPONDER ? "OCSPSigning" : "serverAuth");
	if (w->url) {
		snprintf(url, sizeof(url), "caIssuers;URI:http://ca.test/ca.crt,OCSP;URI:%s", w->url);
		add_extension(h.x, by, NID_info_access, url);
	}
	if (w->must_staple)
		add_extension(h.x, by, NID_tlsfeature, "status_request");
	assert_true(X509_sign(h.x, issuer ? issuer->key : h.key, EVP_sha256()) > 0);
	return h;
}

void holder_close(struct holder *h)
{
	X509_free(h->x);
	EVP_PKEY_free(h->key);
}

void authority_open(struct authority *a)
{
	*a = (struct authority){.serial = 1000};
	a->root = authority_issue(a, NULL, &(struct wish){.name = "Root", .purpose = OF_CA});
	a->ca = authority_issue(a, &a->root, &(struct wish){.name = "CA", .purpose = OF_CA});
	a->other = authority_issue(a, NULL, &(struct wish){.name = "Stranger", .purpose = OF_CA});
}

void authority_close(struct authority *a)
{
	holder_close(&a->root);
	holder_close(&a->ca);
	holder_close(&a->other);
}

struct certificate *authority_certificate(const struct holder *leaf, const struct holder *const *chain, size_t n_chain)
{
	struct certificate_part parts[WEIR_MAX_CHAIN];
	unsigned char *der[WEIR_MAX_CHAIN] = {NULL};
	struct certificate *c;

	for (size_t i = 0; i <= n_chain; i++) {
		int n = i2d_X509(i ? chain[i - 1]->x : leaf->x, &der[i]);

		assert_true(n > 0);
		parts[i] = (struct certificate_part){der[i], (size_t)n};
	}
	c = certificate_create(parts, n_chain + 1, (struct certificate_part){(const unsigned char *)"key", 3});
	assert_non_null(c);
	for (size_t i = 0; i <= n_chain; i++)
		OPENSSL_free(der[i]);
	return c;
}

static ASN1_TIME *time_of(int64_t s)
{
	return s ? ASN1_GENERALIZEDTIME_set(NULL, (time_t)s) : NULL;
}

static OCSP_BASICRESP *make_basic(const struct said *s)
{
	OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
	OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), s->about->x, s->issuer->x);
	ASN1_TIME *this = time_of(s->this_s), *next = time_of(s->next_s);
	ASN1_TIME *revoked = s->status == V_OCSP_CERTSTATUS_REVOKED ? time_of(TEST_NOW_S - DAY_S) : NULL;

	assert_non_null(OCSP_basic_add1_status(basic, id, s->status, s->reason, revoked, this, next));
	assert_int_equal(OCSP_basic_sign(basic, s->signer->x, s->signer->key, EVP_sha256(), NULL, s->has_signer ? 0 : OCSP_NOCERTS), 1);
	OCSP_CERTID_free(id);
	ASN1_TIME_free(this);
	ASN1_TIME_free(next);
	ASN1_TIME_free(revoked);
	return basic;
}

unsigned char *authority_response(const struct said *s, size_t *n)
{
	OCSP_BASICRESP *basic = s->response_status == OCSP_RESPONSE_STATUS_SUCCESSFUL ? make_basic(s) : NULL;
	OCSP_RESPONSE *r = OCSP_response_create(s->response_status, basic);
	unsigned char *der = malloc((size_t)i2d_OCSP_RESPONSE(r, NULL)), *at = der;

	*n = (size_t)i2d_OCSP_RESPONSE(r, &at);
	OCSP_RESPONSE_free(r);
	OCSP_BASICRESP_free(basic);
	return der;
}
