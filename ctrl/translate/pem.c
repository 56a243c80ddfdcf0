/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates and keys in PEM (RFC 7468), as they stand in Secrets: whether
 * they can be read, and whether the one is of the other; and the parts of
 * which the dataplane's blob is made. What is said of them quotes nothing.
 */
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "kube/names.h"
#include "translate/translate_pvt.h"
#include "translate/x509.h"

#define MAX_CERTIFICATES 1000u /* of a chain: so many are counted */

static BIO *open_text(const char *text, size_t n)
{
	return n > 0 && n <= INT_MAX ? BIO_new_mem_buf(text, (int)n) : NULL;
}

/* The next one; NULL: there is none, or it cannot be read, which *is_wrong says. */
static X509 *read_certificate(BIO *in, bool is_leaf, bool *is_wrong)
{
	unsigned char *der = NULL;
	long n = 0;
	X509 *x;

	if (PEM_bytes_read_bio(&der, &n, NULL, PEM_STRING_X509, in, NULL, NULL) != 1) {
		*is_wrong = ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE;
		return NULL;
	}
	x = is_leaf ? x509_read_leaf(der, (size_t)n) : x509_read_issuer(der, (size_t)n);
	*is_wrong = x == NULL;
	OPENSSL_free(der);
	return x;
}

/* Reads to the end, and keeps the first few. How many there are; 0: none, or one of them cannot be read, which *is_wrong says. */
static size_t read_certificates(BIO *in, X509 **kept, size_t n_kept, bool *is_wrong)
{
	size_t n = 0;
	X509 *x;

	while (n <= MAX_CERTIFICATES && (x = read_certificate(in, n == 0, is_wrong))) {
		if (n < n_kept)
			kept[n] = x;
		else
			X509_free(x);
		n++;
	}
	*is_wrong |= n > MAX_CERTIFICATES;
	ERR_clear_error();
	for (size_t i = 0; *is_wrong && i < n && i < n_kept; i++)
		X509_free(kept[i]);
	return *is_wrong ? 0 : n;
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
	if (!at)
		return false;
	b->n_label = (size_t)(at - b->label);
	b->body = at + strlen(DASHES); /* END begins with dashes, too, and they may not be the same ones */
	end = memmem(b->body, (size_t)(limit - b->body), END, strlen(END));
	if (!end)
		return false;
	b->n_body = (size_t)(end - b->body);
	*text = end;
	*n = (size_t)(limit - end);
	return true;
}

static bool is_labelled(const struct block *b, const char *label)
{
	return b->n_label == strlen(label) && memcmp(b->label, label, b->n_label) == 0;
}

/* The first one that is there, decoded: its bytes and its label. */
static struct bytes find_key(const char *text, size_t n, struct block *b, bool *is_encrypted)
{
	while (next_block(&text, &n, b)) {
		*is_encrypted = is_labelled(b, PEM_STRING_PKCS8) || memmem(b->body, b->n_body, "Proc-Type:", 10);
		if (*is_encrypted)
			break;
		if (is_labelled(b, PEM_STRING_PKCS8INF) || is_labelled(b, PEM_STRING_RSA) || is_labelled(b, PEM_STRING_ECPRIVATEKEY))
			return base64_decode(b->body, b->n_body, "\r\n \t");
	}
	return (struct bytes){NULL, 0};
}

/* ---- PKCS #8 (RFC 5208) around the keys that came without: OpenSSL would leave copies of them in memory */

/* AlgorithmIdentifier: rsaEncryption with NULL; id-ecPublicKey with a named curve. */
#define EC_PUBLIC_KEY 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01
static const unsigned char rsa_algorithm[] = {0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00};
static const unsigned char p256_algorithm[] = {0x30, 0x13, EC_PUBLIC_KEY, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
static const unsigned char p384_algorithm[] = {0x30, 0x10, EC_PUBLIC_KEY, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22};
static const unsigned char p521_algorithm[] = {0x30, 0x10, EC_PUBLIC_KEY, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23};

static const struct curve {
	const char *name;
	struct certificate_part algorithm;
} curves[] = {
    {"prime256v1", {p256_algorithm, sizeof(p256_algorithm)}},
    {"secp384r1", {p384_algorithm, sizeof(p384_algorithm)}},
    {"secp521r1", {p521_algorithm, sizeof(p521_algorithm)}},
};

#define HEAD_MAX 6u /* tag and length (X.690 8.1) of what is smaller than 2^24 */

static size_t write_head(unsigned char *out, unsigned char tag, size_t n)
{
	size_t n_length = n < 0x80 ? 0 : n < 0x100 ? 1 : n < 0x10000 ? 2 : 3;

	out[0] = tag;
	out[1] = (unsigned char)(n_length ? 0x80 | n_length : n);
	for (size_t i = 0; i < n_length; i++)
		out[2 + i] = (unsigned char)(n >> 8 * (n_length - 1 - i));
	return 2 + n_length;
}

static struct bytes wrap_key(struct certificate_part algorithm, const struct bytes *der)
{
	static const unsigned char version[] = {0x02, 0x01, 0x00};
	unsigned char octets[HEAD_MAX];
	size_t n_octets = write_head(octets, 0x04, der->n);
	size_t n_body = sizeof(version) + algorithm.n + n_octets + der->n;
	struct bytes out = {.p = translate_must(malloc(HEAD_MAX + n_body))};
	unsigned char *at = (unsigned char *)out.p;

	at += write_head(at, 0x30, n_body);
	at = (unsigned char *)mempcpy(at, version, sizeof(version));
	at = (unsigned char *)mempcpy(at, algorithm.p, algorithm.n);
	at = (unsigned char *)mempcpy(at, octets, n_octets);
	at = (unsigned char *)mempcpy(at, der->p, der->n);
	out.n = (size_t)((char *)at - out.p);
	return out;
}

/* ---- what is carried */

#define RSA_BITS_MIN 2048

/* Kind and, for PKCS #8, its algorithm. A fault, or NULL. */
static const char *judge_key(EVP_PKEY *k, enum certificate_key *kind, struct certificate_part *algorithm)
{
	char group[32] = "";

	if (EVP_PKEY_is_a(k, "ED25519")) {
		*kind = CERTIFICATE_ED25519;
		return NULL;
	}
	if (EVP_PKEY_is_a(k, "RSA")) {
		*kind = CERTIFICATE_RSA;
		*algorithm = (struct certificate_part){rsa_algorithm, sizeof(rsa_algorithm)};
		return EVP_PKEY_get_bits(k) < RSA_BITS_MIN ? "its RSA key has fewer than 2048 bits" : NULL;
	}
	*kind = CERTIFICATE_EC;
	if (!EVP_PKEY_is_a(k, "EC") || EVP_PKEY_get_utf8_string_param(k, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof(group), NULL) != 1)
		return "its key is none of EC, RSA or Ed25519";
	for (size_t i = 0; i < sizeof(curves) / sizeof(*curves); i++)
		if (strcmp(group, curves[i].name) == 0) {
			*algorithm = curves[i].algorithm;
			return NULL;
		}
	return "its EC key is of none of the curves P-256, P-384 and P-521";
}

/* Unix seconds; 0 for what is none. */
static int64_t seconds_of(const ASN1_TIME *t)
{
	struct tm tm;

	return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static void add_names(struct certificate *c, X509 *leaf)
{
	GENERAL_NAMES *list = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);

	for (int i = 0; i < sk_GENERAL_NAME_num(list); i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(list, i);
		char name[256];
		size_t n = 0;

		if (g->type != GEN_DNS)
			continue;
		for (int len = ASN1_STRING_length(g->d.dNSName); n < (size_t)len && n + 1 < sizeof(name); n++) {
			unsigned char b = ASN1_STRING_get0_data(g->d.dNSName)[n];

			name[n] = (char)(b >= 'A' && b <= 'Z' ? b | 0x20 : b);
		}
		name[n] = 0;
		if (strlen(name) != (size_t)ASN1_STRING_length(g->d.dNSName) || !names_is_host(name))
			continue;
		c->has_more_names = c->n_names == CERTIFICATE_NAMES_MAX;
		if (c->has_more_names)
			break;
		certificate_add_name(c, name, n);
	}
	GENERAL_NAMES_free(list);
}

static bool is_in_order(X509 *const *chain, size_t n)
{
	for (size_t i = 0; i + 1 < n; i++)
		if (X509_check_issued(chain[i + 1], chain[i]) != X509_V_OK)
			return false;
	return true;
}

static void keep_facts(struct certificate *c, X509 *const *chain)
{
	struct ocsp_facts f = {.issuer = 0};
	size_t n;

	facts_find(c->blob, chain, &f);
	n = offsetof(struct ocsp_facts, url) + strlen(f.url) + 1;
	c->facts = translate_must(malloc(n));
	memcpy(c->facts, &f, n);
}

static struct certificate *make(X509 *const *chain, size_t n, const struct bytes *key)
{
	struct certificate_part parts[WEIR_MAX_CHAIN] = {{NULL, 0}};
	struct certificate *c;

	for (size_t i = 0; i < n; i++) {
		unsigned char *der = NULL;
		int size = i2d_X509(chain[i], &der);

		translate_must(size > 0 ? der : NULL);
		parts[i] = (struct certificate_part){der, (size_t)size};
	}
	c = certificate_create(parts, n, (struct certificate_part){(const unsigned char *)key->p, key->n});
	for (size_t i = 0; i < n; i++)
		OPENSSL_free((void *)(uintptr_t)parts[i].p);
	if (!c)
		return NULL;
	c->not_before_s = seconds_of(X509_get0_notBefore(chain[0]));
	c->not_after_s = seconds_of(X509_get0_notAfter(chain[0]));
	c->is_out_of_order = !is_in_order(chain, n);
	add_names(c, chain[0]);
	keep_facts(c, chain);
	return c;
}

/*
 * d2i_AutoPrivateKey() makes a decoder anew for each key, which takes OpenSSL 3.0 ten times as long as to use it. These are kept
 * as long as the program runs; keys are read by one thread. NULL: it is no such key.
 */
static EVP_PKEY *decode_key(const struct block *b, const unsigned char **der, size_t n)
{
	static const struct {
		const char *label, *structure, *type;
	} forms[] = {{PEM_STRING_PKCS8INF, "PrivateKeyInfo", NULL},
		     {PEM_STRING_RSA, "type-specific", "RSA"},
		     {PEM_STRING_ECPRIVATEKEY, "type-specific", "EC"}};
	static OSSL_DECODER_CTX *decoders[sizeof(forms) / sizeof(*forms)];
	static EVP_PKEY *key;
	size_t i = 0;
	EVP_PKEY *out;

	while (!is_labelled(b, forms[i].label))
		i++;
	if (!decoders[i])
		decoders[i] = translate_must(OSSL_DECODER_CTX_new_for_pkey(&key, "DER", forms[i].structure, forms[i].type, EVP_PKEY_KEYPAIR, NULL, NULL));
	key = NULL;
	if (OSSL_DECODER_from_data(decoders[i], der, &n) != 1) {
		EVP_PKEY_free(key);
		key = NULL;
	}
	out = key;
	key = NULL;
	return out;
}

/* The key behind a chain that is right. */
static const char *read_key(X509 *const *chain, size_t n, const char *text, size_t n_text, struct certificate **out)
{
	bool is_encrypted = false;
	struct block b;
	struct bytes der = find_key(text, n_text, &b, &is_encrypted);
	const unsigned char *at = (const unsigned char *)der.p;
	EVP_PKEY *k = der.p ? decode_key(&b, &at, der.n) : NULL;
	struct certificate_part algorithm = {NULL, 0};
	enum certificate_key kind = CERTIFICATE_EC;
	const char *fault;

	if (!k) {
		bytes_fini(&der);
		return is_encrypted ? "tls.key needs a passphrase: a key without one was expected" : "tls.key has no private key in PEM";
	}
	der.n = (size_t)((const char *)at - der.p);
	fault = x509_has_key(chain[0], k) ? judge_key(k, &kind, &algorithm)
					  : "tls.key is not the key of the first certificate in tls.crt";
	EVP_PKEY_free(k);
	if (!fault) {
		struct bytes wrapped = is_labelled(&b, PEM_STRING_PKCS8INF) ? (struct bytes){NULL, 0} : wrap_key(algorithm, &der);

		*out = make(chain, n, wrapped.p ? &wrapped : &der);
		bytes_fini(&wrapped);
		if (*out)
			(*out)->key = kind;
		else
			fault = "its certificates and its key take more than 128 KiB";
	}
	bytes_fini(&der);
	return fault;
}

const char *pem_read_pair(const char *crt, size_t n_crt, const char *key, size_t n_key, struct certificate **out)
{
	BIO *in = open_text(crt, n_crt);
	X509 *chain[WEIR_MAX_CHAIN];
	bool is_wrong = false;
	size_t n = in ? read_certificates(in, chain, WEIR_MAX_CHAIN, &is_wrong) : 0;
	const char *fault;

	BIO_free(in);
	*out = NULL;
	if (n == 0)
		return is_wrong ? "tls.crt has a certificate that cannot be read" : "tls.crt has no certificate in PEM";
	if (n > WEIR_MAX_CHAIN)
		fault = "tls.crt has more than 10 certificates";
	else
		fault = read_key(chain, n, key, n_key, out);
	ERR_clear_error();
	for (size_t i = 0; i < n && i < WEIR_MAX_CHAIN; i++)
		X509_free(chain[i]);
	return fault;
}
