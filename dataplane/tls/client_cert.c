/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What backends are told of a client's certificate, as the values of fields (RFC 9440; X-Forwarded-Client-Cert as Envoy has
 * it). Made once for a connection. A certificate's names are whatever its owner had signed: none of their bytes
 * may end a quoted string, an element or a field, whoever reads it and however simple his parser is.
 */
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/buf.h"
#include "tls/tls_pvt.h"

static const char digits[] = "0123456789ABCDEF";

static bool is_visible(unsigned char c)
{
	return c > 0x20 && c < 0x7f;
}

static bool is_hex(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F') || (c >= 'a' && c <= 'f');
}

void tls_client_cert_quote_name(struct buf *out, struct slice name)
{
	buf_char(out, '"');
	for (size_t i = 0; i < name.n; i++) {
		unsigned char c = (unsigned char)name.p[i];
		bool is_escaped = c == '\\' && i + 1 < name.n;

		if (is_escaped && i + 2 < name.n && is_hex((unsigned char)name.p[i + 1]) && is_hex((unsigned char)name.p[i + 2])) {
			buf_char(out, '\\');
			continue;
		}
		if (is_escaped)
			c = (unsigned char)name.p[++i];
		if (is_escaped || c == '"' || c == '\\' || c == ';' || (c != ' ' && !is_visible(c))) {
			buf_char(out, '\\');
			buf_char(out, digits[c >> 4]);
			buf_char(out, digits[c & 15]);
		} else {
			buf_char(out, (char)c);
		}
	}
	buf_char(out, '"');
}

bool tls_client_cert_put_san(struct buf *out, const char *key, struct slice value)
{
	bool is_quoted = false;

	for (size_t i = 0; i < value.n; i++) {
		unsigned char c = (unsigned char)value.p[i];

		if (!is_visible(c) || c == '"' || c == '\\')
			return false;
		is_quoted |= c == ',' || c == ';' || c == '=';
	}
	buf_char(out, ';');
	buf_str(out, key);
	buf_str(out, is_quoted ? "=\"" : "=");
	buf_slice(out, value);
	buf_str(out, is_quoted ? "\"" : "");
	return true;
}

/* False: there is no memory. */
static bool put_subject(struct buf *out, X509 *x)
{
	BIO *bio = BIO_new(BIO_s_mem());
	bool ok = bio && X509_NAME_print_ex(bio, X509_get_subject_name(x), 0, XN_FLAG_RFC2253) >= 0;
	char *text = NULL;
	long n = ok ? BIO_get_mem_data(bio, &text) : 0;

	buf_str(out, ";Subject=");
	tls_client_cert_quote_name(out, slice_of(text, (size_t)n));
	BIO_free(bio);
	return ok;
}

/* All names of this type. What may not stand in a field is left out, and counted. */
static void put_sans(struct tls *t, struct buf *out, const GENERAL_NAMES *names, int type, const char *key)
{
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);
		const ASN1_IA5STRING *v = g->type == type ? g->d.ia5 : NULL; /* of both types that are asked for */

		if (v && !tls_client_cert_put_san(out, key, slice_of((const char *)ASN1_STRING_get0_data(v), (size_t)ASN1_STRING_length(v))))
			stat_inc(t->cfg.stats, WEIR_C_TLS_CLIENT_CERT_LEFT_OUT);
	}
}

static bool put_xfcc(struct tls *t, struct buf *out, X509 *x)
{
	uint8_t hash[32];
	GENERAL_NAMES *names;
	bool ok;

	if (!X509_digest(x, t->sha256, hash, NULL))
		return false;
	buf_str(out, "Hash=");
	for (size_t i = 0; i < sizeof(hash); i++) {
		buf_char(out, (char)ascii_lower(digits[hash[i] >> 4]));
		buf_char(out, (char)ascii_lower(digits[hash[i] & 15]));
	}
	ok = put_subject(out, x);
	names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	put_sans(t, out, names, GEN_URI, "URI");
	put_sans(t, out, names, GEN_DNS, "DNS");
	GENERAL_NAMES_free(names);
	return ok;
}

/* A byte sequence of structured fields (RFC 8941 3.3.5). */
static bool put_der(struct buf *out, X509 *x)
{
	uint8_t *der = NULL;
	int n = i2d_X509(x, &der);
	size_t len = n > 0 ? ((size_t)n + 2) / 3 * 4 : 0;

	if (n <= 0)
		return false;
	if (out->cap - out->n < len + 3) { /* EVP_EncodeBlock() puts a NUL behind it */
		out->overflow = true;
	} else {
		buf_char(out, ':');
		EVP_EncodeBlock((unsigned char *)out->p + out->n, der, n);
		out->n += len;
		buf_char(out, ':');
	}
	OPENSSL_free(der);
	return true;
}

/* What is between the certificate and the one that is trusted; that one itself is known to whoever trusts it (RFC 9440 2.3). */
static bool put_chain(struct buf *out, const SSL *ssl)
{
	STACK_OF(X509) *chain = SSL_get0_verified_chain(ssl);

	for (int i = 1; i < sk_X509_num(chain) - 1; i++) {
		buf_str(out, i > 1 ? ", " : "");
		if (!put_der(out, sk_X509_value(chain, i)))
			return false;
	}
	return true;
}

/* What was put, or nothing of it. */
static struct slice taken(struct tls *t, const struct buf *b, bool ok)
{
	if (ok && !b->overflow)
		return buf_get(b);
	stat_inc(t->cfg.stats, WEIR_C_TLS_CLIENT_CERT_LEFT_OUT);
	return slice_of("", 0);
}

static struct slice keep(char **at, struct slice text)
{
	char *p = *at;

	if (text.n)
		memcpy(p, text.p, text.n);
	*at += text.n;
	return slice_of(p, text.n);
}

struct tls_client_cert *tls_client_cert_create(struct tls_session *s)
{
	struct tls *t = s->t;
	X509 *x = SSL_get0_peer_certificate(s->ssl);
	struct tls_client_cert all = {{"", 0}, {"", 0}, {"", 0}};
	struct tls_client_cert *c;
	struct buf b[3];
	char *at;

	for (unsigned i = 0; i < 3; i++)
		buf_init(&b[i], t->cert_text + i * WEIR_MAX_CLIENT_CERT_FIELD, WEIR_MAX_CLIENT_CERT_FIELD);
	if (s->auth.fields & WEIR_CLIENT_CERT_XFCC)
		all.xfcc = taken(t, &b[0], put_xfcc(t, &b[0], x));
	if (s->auth.fields & WEIR_CLIENT_CERT_RFC9440)
		all.cert = taken(t, &b[1], put_der(&b[1], x));
	if (all.cert.n && s->auth.fields & WEIR_CLIENT_CERT_CHAIN)
		all.chain = taken(t, &b[2], put_chain(&b[2], s->ssl));
	ERR_clear_error();
	if (all.xfcc.n + all.cert.n == 0)
		return NULL;
	c = OPENSSL_malloc(sizeof(*c) + all.xfcc.n + all.cert.n + all.chain.n);
	if (!c) {
		stat_inc(t->cfg.stats, WEIR_C_TLS_CLIENT_CERT_LEFT_OUT);
		return NULL;
	}
	at = (char *)(c + 1);
	c->xfcc = keep(&at, all.xfcc);
	c->cert = keep(&at, all.cert);
	c->chain = keep(&at, all.chain);
	return c;
}
