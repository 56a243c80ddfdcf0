/* SPDX-License-Identifier: Apache-2.0 */
#include "translate/facts.h"

#include <string.h>
#include <strings.h>

#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>

#include "translate/translate_pvt.h"
#include "translate/x509.h"

#define STATUS_REQUEST 5 /* TLS extension (RFC 6066 8), as a TLS feature */

static unsigned find_issuer(X509 *const *chain, unsigned n)
{
	for (unsigned i = 1; i < n; i++)
		if (chain[i] && X509_check_issued(chain[i], chain[0]) == X509_V_OK)
			return i;
	return 0;
}

/* Printable ASCII alone: what else is in it was not meant to be a URL. */
static bool is_url(const char *s)
{
	for (const char *p = s; *p; p++)
		if (*p <= ' ' || *p > '~')
			return false;
	return strncasecmp(s, "http://", 7) == 0 || strncasecmp(s, "https://", 8) == 0;
}

/*
 * A responder behind TLS has a certificate itself, which would have to be found good by another responder, or by this one: "At
 * worst, this situation can create unresolvable dependencies" (RFC 5280 8). Responses are signed: http takes nothing from them.
 */
bool ocsp_url_is_https(const char *url)
{
	return strncasecmp(url, "https://", 8) == 0;
}

/* False: it is none of a responder. */
static bool read_url(const ACCESS_DESCRIPTION *d, char out[OCSP_URL_BYTES])
{
	const ASN1_STRING *s;

	if (OBJ_obj2nid(d->method) != NID_ad_OCSP || d->location->type != GEN_URI)
		return false;
	s = d->location->d.uniformResourceIdentifier;
	if (ASN1_STRING_length(s) <= 0 || (size_t)ASN1_STRING_length(s) >= OCSP_URL_BYTES)
		return false;
	memcpy(out, ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s));
	out[ASN1_STRING_length(s)] = 0;
	return strlen(out) == (size_t)ASN1_STRING_length(s) && is_url(out);
}

static void find_url(X509 *leaf, char out[OCSP_URL_BYTES])
{
	STACK_OF(ACCESS_DESCRIPTION) *list = X509_get_ext_d2i(leaf, NID_info_access, NULL, NULL);
	char url[OCSP_URL_BYTES];

	out[0] = 0;
	for (int i = 0; i < sk_ACCESS_DESCRIPTION_num(list) && (!out[0] || ocsp_url_is_https(out)); i++)
		if (read_url(sk_ACCESS_DESCRIPTION_value(list, i), url) && (!out[0] || !ocsp_url_is_https(url)))
			strcpy(out, url);
	AUTHORITY_INFO_ACCESS_free(list);
}

static bool has_feature(X509 *leaf, long feature)
{
	STACK_OF(ASN1_INTEGER) *list = X509_get_ext_d2i(leaf, NID_tlsfeature, NULL, NULL);
	bool found = false;

	for (int i = 0; i < sk_ASN1_INTEGER_num(list); i++)
		found |= ASN1_INTEGER_get(sk_ASN1_INTEGER_value(list, i)) == feature;
	sk_ASN1_INTEGER_pop_free(list, ASN1_INTEGER_free);
	return found;
}

static void make_key(const struct weir_certificate *b, unsigned issuer, uint8_t out[OCSP_KEY_BYTES])
{
	uint8_t both[2][SHA256_DIGEST_LENGTH] = {{0}};

	SHA256((const unsigned char *)b + b->chain[0].off, b->chain[0].size, both[0]);
	if (issuer)
		SHA256((const unsigned char *)b + b->chain[issuer].off, b->chain[issuer].size, both[1]);
	SHA256(both[0], sizeof(both), out);
}

void facts_find(const struct weir_certificate *b, X509 *const *chain, struct ocsp_facts *out)
{
	out->must_staple = has_feature(chain[0], STATUS_REQUEST);
	out->issuer = find_issuer(chain, b->n_chain);
	find_url(chain[0], out->url);
	make_key(b, out->issuer, out->key);
	ERR_clear_error();
}

bool ocsp_facts_read(const struct weir_certificate *b, struct ocsp_facts *out)
{
	X509 *chain[WEIR_MAX_CHAIN] = {NULL};

	*out = (struct ocsp_facts){.issuer = 0};
	for (unsigned i = 0; i < b->n_chain && i < WEIR_MAX_CHAIN; i++) {
		const unsigned char *der = (const unsigned char *)b + b->chain[i].off;

		chain[i] = i ? x509_read_issuer(der, b->chain[i].size) : x509_read_leaf(der, b->chain[i].size);
	}
	if (chain[0])
		facts_find(b, chain, out);
	ERR_clear_error();
	for (unsigned i = 0; i < WEIR_MAX_CHAIN; i++)
		X509_free(chain[i]);
	return chain[0] != NULL;
}
