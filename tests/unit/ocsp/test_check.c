/* SPDX-License-Identifier: Apache-2.0 */
/* What is read of a certificate, what is asked, and which responses can be stapled; all made here, as of one time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/ocsp.h>

#include "authority.h"
#include "ocsp/check.h"

#define URL "http://ocsp.test/status"

struct rig {
	struct authority a;
	struct holder leaf, sibling;
	struct certificate *c; /* leaf, ca */
};

static int open_rig(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));

	authority_open(&r->a);
	r->leaf = authority_issue(&r->a, &r->a.ca, &(struct wish){.name = "leaf", .purpose = OF_SERVER, .url = URL});
	r->sibling = authority_issue(&r->a, &r->a.ca, &(struct wish){.name = "sibling", .purpose = OF_SERVER, .url = URL});
	r->c = authority_certificate(&r->leaf, (const struct holder *const[]){&r->a.ca}, 1);
	*state = r;
	return 0;
}

static int close_rig(void **state)
{
	struct rig *r = *state;

	certificate_put(r->c);
	holder_close(&r->leaf);
	holder_close(&r->sibling);
	authority_close(&r->a);
	free(r);
	return 0;
}

/* Good, of now, by the CA. */
static struct said good(const struct rig *r)
{
	return (struct said){.status = V_OCSP_CERTSTATUS_GOOD,
			     .this_s = TEST_NOW_S - DAY_S,
			     .next_s = TEST_NOW_S + DAY_S,
			     .signer = &r->a.ca,
			     .about = &r->leaf,
			     .issuer = &r->a.ca,
			     .response_status = OCSP_RESPONSE_STATUS_SUCCESSFUL};
}

/* With WEIR_SEEDS=DIR each question goes there, as fuzz_ocsp reads it. */
static void write_seed(const struct rig *r, const unsigned char *der, size_t n)
{
	static unsigned count;
	const struct weir_certificate *b = r->c->blob;
	const char *dir = getenv("WEIR_SEEDS");
	const uint32_t n_leaf = b->chain[0].size, n_issuer = b->chain[1].size;
	const unsigned char head[4] = {(unsigned char)(n_leaf >> 8), (unsigned char)n_leaf, (unsigned char)(n_issuer >> 8), (unsigned char)n_issuer};
	char path[512];
	FILE *f;

	if (!dir)
		return;
	snprintf(path, sizeof(path), "%s/ocsp-%02u", dir, count++);
	f = fopen(path, "w");
	assert_non_null(f);
	fwrite(head, 1, sizeof(head), f);
	fwrite((const char *)b + b->chain[0].off, 1, n_leaf + n_issuer, f); /* they stand side by side */
	fwrite(der, 1, n, f);
	assert_int_equal(fclose(f), 0);
}

static enum ocsp_outcome judge(const struct rig *r, const struct said *s, struct ocsp_verdict *v)
{
	size_t n;
	unsigned char *der = authority_response(s, &n);
	enum ocsp_outcome o = ocsp_response_judge(r->c->blob, 1, der, n, TEST_NOW_S, v);

	write_seed(r, der, n);
	free(der);
	return o;
}

static void expect(const struct rig *r, const struct said *s, enum ocsp_outcome wanted)
{
	struct ocsp_verdict v;

	assert_string_equal(ocsp_outcome_name(judge(r, s, &v)), ocsp_outcome_name(wanted));
}

/* ---- facts and request */

static struct ocsp_facts facts_of(const struct rig *r, const struct wish *w, const struct holder *const *chain, size_t n)
{
	struct rig *own = (struct rig *)(uintptr_t)r;
	struct holder leaf = authority_issue(&own->a, &r->a.ca, w);
	struct certificate *c = authority_certificate(&leaf, chain, n);
	struct ocsp_facts f;

	assert_true(ocsp_facts_read(c->blob, &f));
	certificate_put(c);
	holder_close(&leaf);
	return f;
}

static void responder_issuer_and_must_staple_are_read(void **state)
{
	const struct rig *r = *state;
	const struct holder *const both[] = {&r->a.root, &r->a.ca};
	struct ocsp_facts f = facts_of(r, &(struct wish){"a", OF_SERVER, URL, false}, both + 1, 1);

	assert_string_equal(f.url, URL);
	assert_int_equal(f.issuer, 1);
	assert_false(f.must_staple);
	f = facts_of(r, &(struct wish){"b", OF_SERVER, "HTTPS://ocsp.test", true}, both, 2);
	assert_string_equal(f.url, "HTTPS://ocsp.test");
	assert_int_equal(f.issuer, 2);
	assert_true(f.must_staple);
	f = facts_of(r, &(struct wish){"c", OF_SERVER, NULL, true}, both, 1); /* its grandfather is not its issuer */
	assert_string_equal(f.url, "");
	assert_int_equal(f.issuer, 0);
	assert_true(f.must_staple);
}

static void url_that_is_none_of_the_web_is_none(void **state)
{
	static const char *const urls[] = {"file:///etc/passwd", "ldap://ocsp.test/", "gopher://ocsp.test/", "http:/x", "http://ocsp.test/a b"};
	const struct rig *r = *state;
	char longest[OCSP_URL_BYTES + 8] = "http://ocsp.test/";

	for (size_t i = 0; i < sizeof(urls) / sizeof(*urls); i++)
		assert_string_equal(facts_of(r, &(struct wish){"a", OF_SERVER, urls[i], false}, NULL, 0).url, "");
	memset(longest + strlen(longest), 'x', OCSP_URL_BYTES - strlen(longest));
	assert_string_equal(facts_of(r, &(struct wish){"a", OF_SERVER, longest, false}, NULL, 0).url, "");
	longest[OCSP_URL_BYTES - 1] = 0;
	assert_string_equal(facts_of(r, &(struct wish){"a", OF_SERVER, longest, false}, NULL, 0).url, longest);
}

static void key_is_that_of_leaf_and_issuer_alone(void **state)
{
	const struct rig *r = *state;
	struct certificate *more = authority_certificate(&r->leaf, (const struct holder *const[]){&r->a.ca, &r->a.root}, 2);
	struct certificate *sibling = authority_certificate(&r->sibling, (const struct holder *const[]){&r->a.ca}, 1);
	struct ocsp_facts a, b, c;

	assert_true(ocsp_facts_read(r->c->blob, &a) && ocsp_facts_read(more->blob, &b) && ocsp_facts_read(sibling->blob, &c));
	assert_memory_equal(a.key, b.key, OCSP_KEY_BYTES);
	assert_memory_not_equal(a.key, c.key, OCSP_KEY_BYTES);
	certificate_put(more);
	certificate_put(sibling);
}

static void request_has_one_sha1_id_and_no_nonce(void **state)
{
	const struct rig *r = *state;
	size_t n;
	unsigned char *der = ocsp_request_make(r->c->blob, 1, &n);
	const unsigned char *at = der;
	OCSP_REQUEST *req = d2i_OCSP_REQUEST(NULL, &at, (long)n);
	OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), r->leaf.x, r->a.ca.x);

	assert_non_null(req);
	assert_int_equal(OCSP_request_onereq_count(req), 1);
	assert_int_equal(OCSP_id_cmp(OCSP_onereq_get0_id(OCSP_request_onereq_get0(req, 0)), id), 0);
	assert_int_equal(OCSP_REQUEST_get_ext_count(req), 0);
	assert_false(OCSP_request_is_signed(req));
	OCSP_CERTID_free(id);
	OCSP_REQUEST_free(req);
	free(der);
}

/* ---- responses */

static void answer_of_the_issuer_is_good(void **state)
{
	const struct rig *r = *state;
	struct said s = good(r);
	struct ocsp_verdict v;

	assert_int_equal(judge(r, &s, &v), OCSP_GOOD);
	assert_true(v.this_s == s.this_s && v.until_s == s.next_s);
	s.has_signer = true;
	assert_int_equal(judge(r, &s, &v), OCSP_GOOD);
	s.next_s = 0;
	s.this_s = TEST_NOW_S - 60;
	assert_int_equal(judge(r, &s, &v), OCSP_GOOD);
	assert_true(v.until_s == s.this_s + OCSP_UNTIL_DEFAULT_S);
}

static void responder_must_be_the_issuers_own_and_for_that(void **state)
{
	struct rig *r = *state;
	struct holder appointed = authority_issue(&r->a, &r->a.ca, &(struct wish){.name = "responder", .purpose = OF_RESPONDER});
	struct holder of_root = authority_issue(&r->a, &r->a.root, &(struct wish){.name = "of root", .purpose = OF_RESPONDER});
	struct holder self_made = authority_issue(&r->a, &r->a.other, &(struct wish){.name = "alien", .purpose = OF_RESPONDER});
	struct said s = good(r);

	s.has_signer = true;
	s.signer = &appointed;
	expect(r, &s, OCSP_GOOD);
	s.has_signer = false; /* nobody can say who has signed */
	expect(r, &s, OCSP_BAD_SIGNATURE);
	s.has_signer = true;
	s.signer = &r->sibling; /* of the same issuer, for something else */
	expect(r, &s, OCSP_BAD_SIGNATURE);
	s.signer = &of_root;
	expect(r, &s, OCSP_BAD_SIGNATURE);
	s.signer = &self_made;
	expect(r, &s, OCSP_BAD_SIGNATURE);
	s.signer = &r->a.other;
	expect(r, &s, OCSP_BAD_SIGNATURE);
	holder_close(&appointed);
	holder_close(&of_root);
	holder_close(&self_made);
}

static void revoked_and_unknown_are_what_they_are(void **state)
{
	const struct rig *r = *state;
	struct said s = good(r);
	struct ocsp_verdict v;

	s.status = V_OCSP_CERTSTATUS_REVOKED;
	s.reason = OCSP_REVOKED_STATUS_KEYCOMPROMISE;
	assert_int_equal(judge(r, &s, &v), OCSP_REVOKED);
	assert_true(v.revoked_s == TEST_NOW_S - DAY_S && v.until_s == s.next_s);
	assert_string_equal(v.reason, "keyCompromise");
	s.reason = OCSP_REVOKED_STATUS_NOSTATUS;
	assert_int_equal(judge(r, &s, &v), OCSP_REVOKED);
	assert_string_equal(v.reason, "");
	s.status = V_OCSP_CERTSTATUS_UNKNOWN;
	expect(r, &s, OCSP_UNKNOWN);
}

static void answer_must_be_about_this_certificate(void **state)
{
	const struct rig *r = *state;
	struct said s = good(r);

	s.about = &r->sibling;
	expect(r, &s, OCSP_OTHER_CERTIFICATE);
	s.about = &r->leaf;
	s.issuer = &r->a.root; /* the same serial number, of another issuer */
	expect(r, &s, OCSP_BAD_SIGNATURE);
}

static void answer_must_be_of_now(void **state)
{
	const struct rig *r = *state;
	struct said s = good(r);

	s.next_s = TEST_NOW_S + 1;
	expect(r, &s, OCSP_GOOD);
	s.next_s = TEST_NOW_S;
	expect(r, &s, OCSP_STALE);
	s.this_s = TEST_NOW_S - OCSP_UNTIL_DEFAULT_S;
	s.next_s = 0;
	expect(r, &s, OCSP_STALE);
	s.this_s = TEST_NOW_S + OCSP_SKEW_S;
	s.next_s = TEST_NOW_S + DAY_S;
	expect(r, &s, OCSP_GOOD);
	s.this_s++;
	expect(r, &s, OCSP_NOT_YET_VALID);
	s.next_s = s.this_s - 1; /* it ends before it begins */
	expect(r, &s, OCSP_MALFORMED);
	s.this_s = TEST_NOW_S - 3 * DAY_S;
	s.next_s = TEST_NOW_S - DAY_S;
	s.status = V_OCSP_CERTSTATUS_REVOKED; /* an old word of that counts no more than another */
	expect(r, &s, OCSP_STALE);
}

static void responders_that_do_not_answer_are_told_apart(void **state)
{
	const struct rig *r = *state;
	struct said s = good(r);

	s.response_status = OCSP_RESPONSE_STATUS_TRYLATER;
	expect(r, &s, OCSP_TRY_LATER);
	s.response_status = OCSP_RESPONSE_STATUS_UNAUTHORIZED;
	expect(r, &s, OCSP_REFUSED);
	s.response_status = OCSP_RESPONSE_STATUS_INTERNALERROR;
	expect(r, &s, OCSP_REFUSED);
}

/* Each byte changed, each length: none of them is good. */
static void damaged_answer_is_never_good(void **state)
{
	const struct rig *r = *state;
	struct said s = good(r);
	struct ocsp_verdict v;
	size_t n;
	unsigned char *der = authority_response(&s, &n);
	unsigned char *longer = calloc(1, OCSP_RESPONSE_MAX + 1);

	memcpy(longer, der, n);
	assert_int_equal(ocsp_response_judge(r->c->blob, 1, longer, n, TEST_NOW_S, &v), OCSP_GOOD);
	assert_int_equal(ocsp_response_judge(r->c->blob, 1, longer, n + 1, TEST_NOW_S, &v), OCSP_MALFORMED);
	assert_int_equal(ocsp_response_judge(r->c->blob, 1, longer, OCSP_RESPONSE_MAX + 1, TEST_NOW_S, &v), OCSP_TOO_LARGE);
	for (size_t i = 0; i < n; i++) {
		unsigned char *cut = malloc(i + 1);

		memcpy(cut, der, i);
		assert_int_equal(ocsp_response_judge(r->c->blob, 1, cut, i, TEST_NOW_S, &v), OCSP_MALFORMED);
		free(cut);
		longer[i] ^= 0x40;
		assert_int_not_equal(ocsp_response_judge(r->c->blob, 1, longer, n, TEST_NOW_S, &v), OCSP_GOOD);
		longer[i] ^= 0x40;
	}
	free(longer);
	free(der);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)
	    T(responder_issuer_and_must_staple_are_read),
	    T(url_that_is_none_of_the_web_is_none),
	    T(key_is_that_of_leaf_and_issuer_alone),
	    T(request_has_one_sha1_id_and_no_nonce),
	    T(answer_of_the_issuer_is_good),
	    T(responder_must_be_the_issuers_own_and_for_that),
	    T(revoked_and_unknown_are_what_they_are),
	    T(answer_must_be_about_this_certificate),
	    T(answer_must_be_of_now),
	    T(responders_that_do_not_answer_are_told_apart),
	    T(damaged_answer_is_never_good),
#undef T
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
