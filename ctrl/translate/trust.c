/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whom to trust: CA certificates in PEM (RFC 7468) of ConfigMaps and Secrets,
 * and what they have revoked, as the blob that the dataplane gets. Those of
 * several objects are put together. Each stands once, and in an order of its
 * own, so that the same CAs are the same blob, however they were written down.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "translate/translate_pvt.h"

#define PARTS_MAX 4000u /* certificates of one bundle, CRLs of one list */

/* Pieces of DER. */
struct parts {
	struct certificate_part *p;
	size_t n, cap;
	bool is_owner; /* of the bytes, from OpenSSL */
};

static void parts_add(struct parts *list, const unsigned char *p, size_t n)
{
	list->p = translate_grow(list->p, list->n, &list->cap, sizeof(*list->p));
	list->p[list->n++] = (struct certificate_part){p, n};
}

static void parts_fini(struct parts *list)
{
	for (size_t i = 0; list->is_owner && i < list->n; i++)
		OPENSSL_free((void *)(uintptr_t)list->p[i].p);
	free(list->p);
	*list = (struct parts){.is_owner = list->is_owner};
}

static int by_bytes(const void *pa, const void *pb)
{
	const struct certificate_part *a = pa, *b = pb;

	return a->n != b->n ? (a->n < b->n ? -1 : 1) : memcmp(a->p, b->p, a->n);
}

/* One behind the other, each once. *n_kept: how many these are. */
static struct certificate_part lay_out(struct parts *list, size_t *n_kept)
{
	struct certificate_part out = {NULL, 0};
	unsigned char *at;

	*n_kept = 0;
	if (list->n == 0)
		return out;
	qsort(list->p, list->n, sizeof(*list->p), by_bytes);
	for (size_t i = 0; i < list->n; i++)
		out.n += list->p[i].n;
	out.p = at = translate_must(malloc(out.n));
	for (size_t i = 0; i < list->n; i++) {
		if (i > 0 && by_bytes(&list->p[i - 1], &list->p[i]) == 0)
			continue;
		at = mempcpy(at, list->p[i].p, list->p[i].n);
		(*n_kept)++;
	}
	out.n = (size_t)(at - out.p);
	return out;
}

/* NULL: it would be too large. */
static struct certificate *make(struct parts *cas, struct parts *crls)
{
	size_t n_cas, n_crls;
	struct certificate_part ca = lay_out(cas, &n_cas);
	struct certificate_part crl = lay_out(crls, &n_crls);
	struct certificate *c = crl.n <= WEIR_CERTIFICATE_MAX_BYTES ? certificate_create_trust(ca, crl) : NULL;

	free((void *)(uintptr_t)ca.p);
	free((void *)(uintptr_t)crl.p);
	if (c) {
		c->n_cas = n_cas;
		c->n_crls = n_crls;
	}
	return c;
}

/* ---- one bundle ---- */

/* Unix seconds; 0 for what is none. */
static int64_t seconds_of(const ASN1_TIME *t)
{
	struct tm tm;

	return t && ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

/* When the first of them ends, and when all of them have begun. */
static void note_times(struct certificate *times, int64_t not_before_s, int64_t not_after_s, bool is_first)
{
	if (is_first || not_after_s < times->not_after_s)
		times->not_after_s = not_after_s;
	if (is_first || not_before_s > times->not_before_s)
		times->not_before_s = not_before_s;
}

/* Whether what was read last is all that there is, and not what cannot be read. */
static bool is_at_end(void)
{
	bool is_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;

	ERR_clear_error();
	return is_end;
}

static const char *read_cas(BIO *in, struct parts *out, struct certificate *times)
{
	X509 *x;

	while (out->n <= PARTS_MAX && (x = PEM_read_bio_X509(in, NULL, NULL, NULL))) {
		unsigned char *der = NULL;
		int size = i2d_X509(x, &der);

		translate_must(size > 0 ? der : NULL);
		note_times(times, seconds_of(X509_get0_notBefore(x)), seconds_of(X509_get0_notAfter(x)), out->n == 0);
		parts_add(out, der, (size_t)size);
		X509_free(x);
	}
	if (out->n > PARTS_MAX)
		return "ca.crt has more than 4000 certificates";
	if (!is_at_end())
		return "ca.crt has a certificate that cannot be read";
	return out->n ? NULL : "ca.crt has no certificate in PEM";
}

static const char *read_crls(BIO *in, struct parts *out, struct certificate *times)
{
	X509_CRL *x;

	while (out->n <= PARTS_MAX && (x = PEM_read_bio_X509_CRL(in, NULL, NULL, NULL))) {
		unsigned char *der = NULL;
		int size = i2d_X509_CRL(x, &der);
		int64_t next_s = seconds_of(X509_CRL_get0_nextUpdate(x));

		translate_must(size > 0 ? der : NULL);
		if (next_s && (!times->crls_until_s || next_s < times->crls_until_s))
			times->crls_until_s = next_s;
		parts_add(out, der, (size_t)size);
		X509_CRL_free(x);
	}
	if (out->n > PARTS_MAX)
		return "ca.crl has more than 4000 CRLs";
	if (!is_at_end())
		return "ca.crl has a CRL that cannot be read";
	return out->n ? NULL : "ca.crl has no CRL in PEM";
}

static BIO *open_text(const char *text, size_t n)
{
	return n > 0 && n <= INT_MAX ? BIO_new_mem_buf(text, (int)n) : NULL;
}

const char *trust_read(const char *crt, size_t n_crt, const char *crl, size_t n_crl, struct certificate **out)
{
	struct parts cas = {.is_owner = true}, crls = {.is_owner = true};
	struct certificate times = {.n_refs = 0};
	BIO *in_crt = open_text(crt, n_crt), *in_crl = crl ? open_text(crl, n_crl) : NULL;
	const char *fault = in_crt ? read_cas(in_crt, &cas, &times) : "ca.crt has no certificate in PEM";

	*out = NULL;
	if (!fault && crl)
		fault = in_crl ? read_crls(in_crl, &crls, &times) : "ca.crl has no CRL in PEM";
	if (!fault) {
		*out = make(&cas, &crls);
		fault = *out ? NULL : "its certificates and CRLs take more than 1 MiB";
	}
	if (*out) {
		(*out)->not_before_s = times.not_before_s;
		(*out)->not_after_s = times.not_after_s;
		(*out)->crls_until_s = times.crls_until_s;
	}
	BIO_free(in_crt);
	BIO_free(in_crl);
	parts_fini(&cas);
	parts_fini(&crls);
	return fault;
}

/* ---- several ---- */

/* The pieces of a blob's part, which trust_read() or this file has made. */
static void split(struct parts *out, const struct certificate *c, struct weir_part from)
{
	const unsigned char *at = (const unsigned char *)c->blob + from.off;
	const unsigned char *end = at + from.size;

	while (at < end) {
		const unsigned char *body = at;
		long n = 0;
		int tag, class;

		if (ASN1_get_object(&body, &n, &tag, &class, end - at) & 0x80 || n > end - body)
			break;
		parts_add(out, at, (size_t)(body - at) + (size_t)n);
		at = body + n;
	}
	ERR_clear_error();
}

struct certificate *trust_merge(const struct certificate *const *list, size_t n)
{
	struct parts cas = {.is_owner = false}, crls = {.is_owner = false};
	struct certificate *c;

	for (size_t i = 0; i < n; i++) {
		split(&cas, list[i], list[i]->blob->chain[0]);
		split(&crls, list[i], list[i]->blob->crls);
	}
	c = make(&cas, &crls);
	parts_fini(&cas);
	parts_fini(&crls);
	if (!c)
		return NULL;
	c->of = list[0]->of;
	c->ns = list[0]->ns ? translate_must(strdup(list[0]->ns)) : NULL;
	c->name = list[0]->name ? translate_must(strdup(list[0]->name)) : NULL;
	for (size_t i = 0; i < n; i++) {
		note_times(c, list[i]->not_before_s, list[i]->not_after_s, i == 0);
		if (list[i]->crls_until_s && (!c->crls_until_s || list[i]->crls_until_s < c->crls_until_s))
			c->crls_until_s = list[i]->crls_until_s;
		for (size_t k = 0; k < list[i]->n_names; k++)
			certificate_add_name(c, list[i]->names[k], strlen(list[i]->names[k]));
	}
	return c;
}

static bool has(const struct certificate *const *list, size_t n, const struct certificate *c)
{
	for (size_t i = 0; i < n; i++)
		if (list[i] == c)
			return true;
	return false;
}

const struct certificate *trust_of_refs(struct translation *t, const struct kube_object *o, const struct cursor *refs,
					const char *wrong_kind)
{
	const struct certificate **list = translate_must(calloc(cursor_count(refs) + 1, sizeof(*list)));
	const struct certificate *out = NULL;
	struct certificate *merged = NULL;
	size_t n = 0;

	for (size_t i = 0; i < cursor_count(refs); i++) {
		struct cursor ref = cursor_at(refs, i);
		struct cursor at_ns = cursor_get(&ref, "namespace");
		struct cursor at_name = cursor_get(&ref, "name");
		struct ref_fault f = ca_fault(t, o, &ref, wrong_kind);
		const struct certificate *c =
			f.text ? NULL : secret_trust(t, KUBE_CONFIG_MAP, cursor_str(&at_ns, o->ns), cursor_str(&at_name, ""));

		if (c && !has(list, n, c))
			list[n++] = c;
	}
	if (n == 1)
		out = list[0];
	else if (n > 1)
		out = merged = trust_merge(list, n);
	if (merged)
		model_hold(t->m, merged);
	certificate_put(merged); /* the model has it now */
	if (n > 1 && !out)
		report(t, o, refs, true, "TrustTooLarge", "nobody is trusted: CA certificates and CRLs of 1 MiB at most were expected");
	free(list);
	return out;
}
