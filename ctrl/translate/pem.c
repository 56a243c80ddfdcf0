/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates and keys in PEM (RFC 7468), as they stand in Secrets: whether
 * they can be read, and whether the one is of the other. Nothing is kept, and
 * what is said of them quotes nothing.
 */
#include <limits.h>
#include <stdbool.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "translate/translate_pvt.h"

#define MAX_CERTIFICATES 1000u /* of a chain or a bundle */

static BIO *open_text(const char *text, size_t n)
{
	return n > 0 && n <= INT_MAX ? BIO_new_mem_buf(text, (int)n) : NULL;
}

/* Reads to the end. The first one, or NULL: there is none, or one of them cannot be read, which *is_wrong says. */
static X509 *read_certificates(BIO *in, bool *is_wrong)
{
	X509 *first = NULL;
	X509 *x;
	unsigned n = 0;

	while ((x = PEM_read_bio_X509(in, NULL, NULL, NULL)) && ++n <= MAX_CERTIFICATES) {
		if (first)
			X509_free(x);
		else
			first = x;
	}
	*is_wrong = x || ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE;
	if (x && x != first)
		X509_free(x);
	ERR_clear_error();
	if (*is_wrong && first) {
		X509_free(first);
		first = NULL;
	}
	return first;
}

/* ---- keys ---- */

/* OpenSSL's reader of PEM leaves the last lines of what it has read in memory: for keys it is not used. */
struct block {
	const char *label, *body; /* from BEGIN and behind its line */
	size_t n_label, n_body;
};

#define BEGIN "-----BEGIN "
#define END "-----END "
#define DASHES "-----"

/* The next block from *text on, which is then behind its END. False: there is none. */
static bool next_block(const char **text, size_t *n, struct block *b)
{
	const char *limit = *text + *n;
	const char *at = memmem(*text, *n, BEGIN, strlen(BEGIN));
	const char *end;

	if (!at)
		return false;
	b->label = at + strlen(BEGIN);
	at = memmem(b->label, (size_t)(limit - b->label), DASHES, strlen(DASHES));
	end = at ? memmem(at, (size_t)(limit - at), END, strlen(END)) : NULL;
	if (!end)
		return false;
	b->n_label = (size_t)(at - b->label);
	b->body = at + strlen(DASHES);
	b->n_body = (size_t)(end - b->body);
	*text = end;
	*n = (size_t)(limit - end);
	return true;
}

static bool is_labelled(const struct block *b, const char *label)
{
	return b->n_label == strlen(label) && memcmp(b->label, label, b->n_label) == 0;
}

/* The first one that is there. */
static EVP_PKEY *read_key(const char *text, size_t n, bool *is_encrypted)
{
	struct block b;
	EVP_PKEY *key = NULL;

	while (next_block(&text, &n, &b)) {
		struct bytes der;
		const unsigned char *at;

		*is_encrypted = is_labelled(&b, PEM_STRING_PKCS8) || memmem(b.body, b.n_body, "Proc-Type:", 10);
		if (*is_encrypted)
			return NULL;
		if (!is_labelled(&b, PEM_STRING_PKCS8INF) && !is_labelled(&b, PEM_STRING_RSA) && !is_labelled(&b, PEM_STRING_ECPRIVATEKEY))
			continue;
		der = base64_decode(b.body, b.n_body, "\r\n \t");
		at = (const unsigned char *)der.p;
		if (der.p && der.n <= INT_MAX)
			key = d2i_AutoPrivateKey(NULL, &at, (long)der.n);
		bytes_fini(&der);
		break;
	}
	ERR_clear_error();
	return key;
}

const char *pem_check_pair(const char *crt, size_t n_crt, const char *key, size_t n_key)
{
	BIO *in = open_text(crt, n_crt);
	bool is_encrypted = false;
	bool is_wrong = false;
	X509 *x = in ? read_certificates(in, &is_wrong) : NULL;
	EVP_PKEY *k;
	const char *fault = NULL;

	BIO_free(in);
	if (!x)
		return is_wrong ? "tls.crt has a certificate that cannot be read" : "tls.crt has no certificate in PEM";
	k = read_key(key, n_key, &is_encrypted);
	if (!k)
		fault = is_encrypted ? "tls.key needs a passphrase: a key without one was expected" : "tls.key has no private key in PEM";
	else if (X509_check_private_key(x, k) != 1)
		fault = "tls.key is not the key of the first certificate in tls.crt";
	ERR_clear_error();
	EVP_PKEY_free(k);
	X509_free(x);
	return fault;
}

const char *pem_check_bundle(const char *pem, size_t n)
{
	BIO *in = open_text(pem, n);
	bool is_wrong = false;
	X509 *x = in ? read_certificates(in, &is_wrong) : NULL;

	BIO_free(in);
	if (!x)
		return is_wrong ? "ca.crt has a certificate that cannot be read" : "ca.crt has no certificate in PEM";
	X509_free(x);
	return NULL;
}
