/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions to backends: whom they have to show, what we show, and how what comes is judged (RFC 9110 4.3.4, RFC 9525). What
 * the snapshot says is copied, since another one may come before the handshake is over. Without CA certificates that can be used
 * nobody is trusted.
 */
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/hash.h"
#include "tls/tls_pvt.h"

#define CHAIN_BYTES 65536u /* of the peer's Certificate message */
#define DEPTH 10

/* -- settings */

uint64_t tls_backend_hash(const struct weir_snapshot *s, const struct weir_backend_tls *b)
{
	uint64_t h = hash_keyed(&b->profile, sizeof(b->profile), 0);
	struct slice text = snapshot_str(s, b->host);

	h = hash_keyed(text.p, text.n, h);
	for (uint32_t i = 0; i < b->sans.count; i++) {
		const struct weir_san *san = snapshot_san(s, b->sans.first + i);

		text = snapshot_str(s, san->value);
		h = hash_keyed(text.p, text.n, h + san->kind);
	}
	for (uint32_t i = 0; i < b->certs.count; i++)
		h = hash_keyed(snapshot_cert(s, b->certs.first + i), sizeof(struct weir_cert_id), h);
	return h ? h : 1;
}

/* With its strings behind it, each with a zero byte at its end. */
static struct peer *make_peer(const struct weir_snapshot *s, const struct weir_backend_tls *b)
{
	size_t n = b->host.len + 1;
	struct peer *p;
	char *at;

	for (uint32_t i = 0; i < b->sans.count; i++)
		n += snapshot_san(s, b->sans.first + i)->value.len + 1;
	p = OPENSSL_zalloc(sizeof(*p) + n);
	if (!p)
		return NULL;
	at = p->text;
	p->profile = b->profile;
	p->n_certs = (uint8_t)(b->certs.count < 2 ? b->certs.count : 2);
	for (uint32_t i = 0; i < p->n_certs; i++)
		p->cert[i] = *snapshot_cert(s, b->certs.first + i);
	memcpy(at, snapshot_str(s, b->host).p, b->host.len);
	at += b->host.len + 1;
	p->n_sans = (uint8_t)(b->sans.count < WEIR_MAX_SANS ? b->sans.count : WEIR_MAX_SANS);
	for (uint32_t i = 0; i < p->n_sans; i++) {
		const struct weir_san *san = snapshot_san(s, b->sans.first + i);

		p->san[i].kind = san->kind;
		p->san[i].text = at;
		memcpy(at, snapshot_str(s, san->value).p, san->value.len);
		at += san->value.len + 1;
	}
	return p;
}

struct tls_session *tls_connect(struct tls *t, struct tcp_conn *c, const struct weir_snapshot *s, const struct weir_backend_tls *b,
				uint64_t settings)
{
	const struct ip_flow *flow = tcp_flow(c);
	struct peer *p = make_peer(s, b);
	struct tls_session *session;

	if (!p) {
		stat_reason(t->cfg.stats, WEIR_R_BACKEND_TLS_NO_MEMORY);
		return NULL;
	}
	p->addr = flow->remote;
	p->port = flow->remote_port;
	p->settings = settings;
	session = tls_new(t, c);
	if (!session) {
		OPENSSL_free(p);
		return NULL;
	}
	session->is_backend = true;
	session->peer = p;
	return session;
}

/* -- judging */

static bool has_uri(X509 *x, const char *want)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	size_t n = strlen(want);
	bool found = false;

	for (int i = 0; i < sk_GENERAL_NAME_num(names) && !found; i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);

		if (g->type == GEN_URI) {
			const ASN1_IA5STRING *uri = g->d.uniformResourceIdentifier;

			found = (size_t)ASN1_STRING_length(uri) == n && memcmp(ASN1_STRING_get0_data(uri), want, n) == 0;
		}
	}
	GENERAL_NAMES_free(names);
	return found;
}

static bool has_dns(X509 *x, const char *want)
{
	const unsigned flags = X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS;
	GENERAL_NAMES *names;
	bool found = false;

	if (want[0] != '*')
		return X509_check_host(x, want, 0, flags, NULL) == 1;
	/* A name with a wildcard is that name of the certificate, not the hosts below it. */
	names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	for (int i = 0; i < sk_GENERAL_NAME_num(names) && !found; i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);

		found = g->type == GEN_DNS && (size_t)ASN1_STRING_length(g->d.dNSName) == strlen(want) &&
			OPENSSL_strncasecmp((const char *)ASN1_STRING_get0_data(g->d.dNSName), want, strlen(want)) == 0;
	}
	GENERAL_NAMES_free(names);
	return found;
}

static bool is_whom_we_want(const struct peer *p, X509 *leaf)
{
	if (p->n_sans == 0)
		return has_dns(leaf, p->text);
	for (unsigned i = 0; i < p->n_sans; i++)
		if (p->san[i].kind == WEIR_SAN_URI ? has_uri(leaf, p->san[i].text) : has_dns(leaf, p->san[i].text))
			return true;
	return false;
}

/* For each certificate that is good so far, the leaf last; for each thing that is wrong. */
int tls_connect_verify(int ok, X509_STORE_CTX *ctx)
{
	const SSL *ssl = X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
	const struct tls_session *s = tls_bio_session(ssl);

	if (!ok && tls_trust_has_no_crl(ctx))
		return 1;
	if (ok && X509_STORE_CTX_get_error_depth(ctx) == 0 && !is_whom_we_want(s->peer, X509_STORE_CTX_get0_cert(ctx))) {
		X509_STORE_CTX_set_error(ctx, X509_V_ERR_HOSTNAME_MISMATCH);
		return 0;
	}
	return ok;
}

enum weir_reason tls_connect_reason(const struct tls_session *s, enum weir_reason why)
{
	switch (SSL_get_verify_result(s->ssl)) {
	case X509_V_OK:
		return why;
	case X509_V_ERR_HOSTNAME_MISMATCH:
		return WEIR_R_BACKEND_TLS_WRONG_NAME;
	case X509_V_ERR_CERT_HAS_EXPIRED:
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return WEIR_R_BACKEND_TLS_EXPIRED;
	case X509_V_ERR_CERT_REVOKED:
	case X509_V_ERR_CRL_HAS_EXPIRED:
	case X509_V_ERR_UNABLE_TO_GET_CRL:
		return WEIR_R_BACKEND_TLS_REVOKED;
	case X509_V_ERR_OUT_OF_MEM:
		return WEIR_R_BACKEND_TLS_NO_MEMORY;
	default:
		return WEIR_R_BACKEND_TLS_UNTRUSTED;
	}
}

enum weir_reason tls_reason_of_backend(enum weir_reason why)
{
	switch (why) {
	case WEIR_R_TLS_NO_VERSION:
	case WEIR_R_TLS_NO_CIPHER:
	case WEIR_R_TLS_NO_APPLICATION_PROTOCOL:
		return WEIR_R_BACKEND_TLS_NOT_AGREED;
	case WEIR_R_TLS_PEER_ALERT:
		return WEIR_R_BACKEND_TLS_ALERT;
	case WEIR_R_TLS_PROTOCOL:
	case WEIR_R_TLS_CLIENT_CERT_NONE: /* as OpenSSL says it, which has one word for both roles */
	case WEIR_R_TLS_CLIENT_CERT_BAD:
	case WEIR_R_TLS_CLIENT_CERT_SIGNATURE:
		return WEIR_R_BACKEND_TLS_PROTOCOL;
	case WEIR_R_TLS_CLIENT_GONE:
		return WEIR_R_BACKEND_TLS_GONE;
	case WEIR_R_TLS_HANDSHAKE_TIMEOUT:
		return WEIR_R_BACKEND_TLS_TIMEOUT;
	case WEIR_R_TLS_BAD_RECORD:
	case WEIR_R_TLS_RENEGOTIATION:
	case WEIR_R_TLS_KEY_UPDATE_FLOOD:
		return WEIR_R_BACKEND_TLS_BAD_RECORD;
	case WEIR_R_TLS_NO_MEMORY:
		return WEIR_R_BACKEND_TLS_NO_MEMORY;
	default:
		return why;
	}
}

/* -- the session's object of OpenSSL */

static bool make_ssl(struct tls_session *s, const struct tls_certificate *trust, const struct tls_certificate *own)
{
	BIO *bio = BIO_new(s->t->bio);
	const struct peer *p = s->peer;

	s->ssl = SSL_new(s->t->client_ctx[p->profile]);
	if (!bio || !s->ssl) {
		BIO_free(bio);
		return false;
	}
	BIO_set_data(bio, s);
	SSL_set_bio(s->ssl, bio, bio);
	SSL_set_connect_state(s->ssl);
	SSL_set_verify_depth(s->ssl, DEPTH);
	SSL_set_max_cert_list(s->ssl, CHAIN_BYTES);
	if (!SSL_set_tlsext_host_name(s->ssl, p->text) || !tls_trust_use(trust, s->ssl) ||
	    !X509_VERIFY_PARAM_set_purpose(SSL_get0_param(s->ssl), X509_PURPOSE_SSL_SERVER))
		return false;
	return !own || tls_certificate_use(own, s->ssl, false) == 0;
}

enum tls_outcome tls_connect_prepare(struct tls_session *s, uint64_t now_us)
{
	struct tls_certificate *cert[2] = {NULL, NULL};
	struct ready *missing = NULL;
	struct peer *p = s->peer;

	for (unsigned i = 0; i < p->n_certs; i++) {
		struct ready *entry;

		cert[i] = ready_find(s->t, &p->cert[i], &entry);
		if (entry)
			missing = entry;
	}
	if (missing) {
		ready_wait(s, missing);
		return TLS_MORE;
	}
	if (!cert[0] || !cert[0]->store)
		return tls_end(s, WEIR_R_BACKEND_TLS_NO_TRUST, ALERT_NONE);
	if (p->n_certs > 1 && (!cert[1] || !cert[1]->leaf))
		return tls_end(s, WEIR_R_BACKEND_TLS_NO_CERTIFICATE, ALERT_NONE);
	if (!make_ssl(s, cert[0], cert[1]))
		return tls_end(s, WEIR_R_TLS_NO_MEMORY, ALERT_NONE);
	p->start_us = now_us;
	resume_take(s, now_us);
	return TLS_DONE;
}
