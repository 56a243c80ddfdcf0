/* SPDX-License-Identifier: Apache-2.0 */
#include "ocsp/check.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>

const char *ocsp_outcome_name(enum ocsp_outcome o)
{
	static const char *const names[] = {
#define X(name, label, text) label,
	    OCSP_OUTCOMES(X)
#undef X
	};

	return names[o];
}

const char *ocsp_outcome_text(enum ocsp_outcome o)
{
	static const char *const texts[] = {
#define X(name, label, text) text,
	    OCSP_OUTCOMES(X)
#undef X
	};

	return texts[o];
}

/* ---- the certificate */

static X509 *read_certificate(const struct weir_certificate *b, unsigned i)
{
	const unsigned char *at = (const unsigned char *)b + b->chain[i].off;

	return d2i_X509(NULL, &at, (long)b->chain[i].size);
}

/* ---- the request */

/* A leaf and its issuer, and by what name the two are asked for. */
struct question {
	X509 *leaf, *issuer;
	OCSP_CERTID *id; /* NULL: without memory, or they cannot be read */
};

static struct question question_open(const struct weir_certificate *b, unsigned issuer)
{
	struct question q = {read_certificate(b, 0), read_certificate(b, issuer), NULL};

	if (q.leaf && q.issuer)
		q.id = OCSP_cert_to_id(EVP_sha1(), q.leaf, q.issuer);
	return q;
}

static void question_close(struct question *q)
{
	OCSP_CERTID_free(q->id);
	X509_free(q->leaf);
	X509_free(q->issuer);
	ERR_clear_error();
}

unsigned char *ocsp_request_make(const struct weir_certificate *b, unsigned issuer, size_t *n)
{
	struct question q = question_open(b, issuer);
	OCSP_REQUEST *r = OCSP_REQUEST_new();
	unsigned char *der = NULL, *at;
	int size = -1;

	if (r && q.id && OCSP_request_add0_id(r, q.id)) {
		q.id = NULL; /* the request has it */
		size = i2d_OCSP_REQUEST(r, NULL);
	}
	if (size > 0)
		der = at = malloc((size_t)size);
	if (der)
		*n = (size_t)i2d_OCSP_REQUEST(r, &at);
	OCSP_REQUEST_free(r);
	question_close(&q);
	return der;
}

/* ---- the response */

/* Signed by the issuer itself, or by a certificate of it that is for this: the issuer is what is trusted, and nothing else. */
static bool is_signed(OCSP_BASICRESP *basic, X509 *issuer, int64_t now_s)
{
	X509_STORE *store = X509_STORE_new();
	STACK_OF(X509) *own = sk_X509_new_null();
	X509_VERIFY_PARAM *param = store ? X509_STORE_get0_param(store) : NULL;
	bool ok = false;

	if (param && own && X509_STORE_add_cert(store, issuer) == 1 && sk_X509_push(own, issuer) > 0) {
		X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN); /* it is no root, as a rule */
		X509_VERIFY_PARAM_set_time(param, (time_t)now_s);
		ok = OCSP_basic_verify(basic, own, store, OCSP_NOEXPLICIT) == 1;
	}
	sk_X509_free(own);
	X509_STORE_free(store);
	return ok;
}

/* Unix seconds; false: it is none. */
static bool seconds_of(const ASN1_GENERALIZEDTIME *t, int64_t *out)
{
	struct tm tm;

	if (!t || ASN1_TIME_to_tm(t, &tm) != 1)
		return false;
	*out = (int64_t)timegm(&tm);
	return true;
}

static const char *reason_text(int reason)
{
	return reason >= 0 ? OCSP_crl_reason_str(reason) : "";
}

/* What it says of this certificate. */
static enum ocsp_outcome judge_status(OCSP_BASICRESP *basic, OCSP_CERTID *id, int64_t now_s, struct ocsp_verdict *out)
{
	ASN1_GENERALIZEDTIME *revoked = NULL, *this = NULL, *next = NULL;
	int status = -1, reason = -1;

	*out = (struct ocsp_verdict){.reason = ""};
	if (OCSP_resp_find_status(basic, id, &status, &reason, &revoked, &this, &next) != 1)
		return OCSP_OTHER_CERTIFICATE;
	if (!seconds_of(this, &out->this_s) || (next && !seconds_of(next, &out->until_s)))
		return OCSP_MALFORMED;
	if (!next)
		out->until_s = out->this_s + OCSP_UNTIL_DEFAULT_S;
	if (out->until_s < out->this_s)
		return OCSP_MALFORMED;
	if (out->this_s > now_s + OCSP_SKEW_S)
		return OCSP_NOT_YET_VALID;
	if (out->until_s <= now_s) /* clients would not take it either */
		return OCSP_STALE;
	if (status == V_OCSP_CERTSTATUS_GOOD)
		return OCSP_GOOD;
	if (status != V_OCSP_CERTSTATUS_REVOKED)
		return OCSP_UNKNOWN;
	out->reason = reason_text(reason);
	return seconds_of(revoked, &out->revoked_s) ? OCSP_REVOKED : OCSP_MALFORMED;
}

static enum ocsp_outcome judge_basic(OCSP_RESPONSE *r, const struct question *q, int64_t now_s, struct ocsp_verdict *out)
{
	OCSP_BASICRESP *basic = OCSP_response_get1_basic(r);
	enum ocsp_outcome o = OCSP_MALFORMED;

	if (basic)
		o = is_signed(basic, q->issuer, now_s) ? judge_status(basic, q->id, now_s, out) : OCSP_BAD_SIGNATURE;
	OCSP_BASICRESP_free(basic);
	return o;
}

enum ocsp_outcome ocsp_response_judge(const struct weir_certificate *b, unsigned issuer, const unsigned char *der, size_t n,
				      int64_t now_s, struct ocsp_verdict *out)
{
	const unsigned char *at = der;
	OCSP_RESPONSE *r = n <= OCSP_RESPONSE_MAX ? d2i_OCSP_RESPONSE(NULL, &at, (long)n) : NULL;
	struct question q = question_open(b, issuer);
	enum ocsp_outcome o;

	if (n > OCSP_RESPONSE_MAX)
		o = OCSP_TOO_LARGE;
	else if (!r || at != der + n) /* it goes to clients as it came: nothing may stand behind it */
		o = OCSP_MALFORMED;
	else if (!q.id)
		o = OCSP_FAILED;
	else if (OCSP_response_status(r) == OCSP_RESPONSE_STATUS_TRYLATER)
		o = OCSP_TRY_LATER;
	else if (OCSP_response_status(r) != OCSP_RESPONSE_STATUS_SUCCESSFUL)
		o = OCSP_REFUSED;
	else
		o = judge_basic(r, &q, now_s, out);
	OCSP_RESPONSE_free(r);
	question_close(&q);
	return o;
}
