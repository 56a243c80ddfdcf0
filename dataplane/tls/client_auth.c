/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates of clients (RFC 8446 4.3.2, RFC 5246 7.4.4): what a server name asks for, and how what comes is judged. The CA
 * certificates are shared by all sessions of the worker and never copied. A name that asks for certificates gives no tickets,
 * and takes none: each connection shows a certificate that is good now, by the revocations that are known now.
 */
#include <openssl/x509v3.h>

#include "tls/tls_pvt.h"

#define CHAIN_BYTES 32768u /* of a client's Certificate message; its memory is ours until the handshake is over */

struct tls_certificate *tls_client_auth_find(struct tls_session *s, struct ready **entry)
{
	struct tls_certificate *c = NULL;

	*entry = NULL;
	if (s->auth.trust.v[0])
		c = ready_find(s->t, &s->auth.trust, entry);
	return c && c->store ? c : NULL;
}

/* -- judging */

/* Called for each certificate that is good so far, and for each thing that is wrong. */
static int on_verify(int ok, X509_STORE_CTX *ctx)
{
	const SSL *ssl = X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls_session *s = tls_bio_session(ssl);
	int error = X509_STORE_CTX_get_error(ctx);

	if (!ok && tls_trust_has_no_crl(ctx))
		return 1;
	if (ok && s->has_trust)
		return 1;
	if (ok) {
		error = X509_V_ERR_CERT_UNTRUSTED;
		X509_STORE_CTX_set_error(ctx, error);
	}
	if (!s->cert_error)
		s->cert_error = (uint16_t)error;
	return s->auth.mode == WEIR_CLIENT_AUTH_INSECURE;
}

static bool ask(struct tls_session *s, const struct tls_certificate *trust)
{
	STACK_OF(X509_NAME) *names;

	if (!trust)
		return true;
	if (!tls_trust_use(trust, s->ssl))
		return false;
	if (!trust->ca_names)
		return true;
	names = SSL_dup_CA_list(trust->ca_names);
	if (names)
		SSL_set0_CA_list(s->ssl, names);
	return names != NULL;
}

int tls_client_auth_use(struct tls_session *s, const struct tls_certificate *trust)
{
	int how = SSL_VERIFY_PEER;

	if (!s->auth.is_asked)
		return 0;
	if (s->auth.mode == WEIR_CLIENT_AUTH_REQUIRED)
		how |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
	s->has_trust = trust != NULL;
	SSL_set_verify(s->ssl, how, on_verify);
	SSL_set_verify_depth(s->ssl, s->auth.depth);
	SSL_set_max_cert_list(s->ssl, CHAIN_BYTES);
	if (!X509_VERIFY_PARAM_set_purpose(SSL_get0_param(s->ssl), X509_PURPOSE_SSL_CLIENT))
		return -1;
	return ask(s, trust) ? 0 : -1;
}

/* -- what came of it */

/* Of a certificate that is not valid. */
static enum weir_reason reason_of(int error)
{
	switch (error) {
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
		return WEIR_R_TLS_CLIENT_CERT_UNKNOWN_CA;
	case X509_V_ERR_CERT_HAS_EXPIRED:
		return WEIR_R_TLS_CLIENT_CERT_EXPIRED;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return WEIR_R_TLS_CLIENT_CERT_NOT_YET_VALID;
	case X509_V_ERR_CERT_REVOKED:
		return WEIR_R_TLS_CLIENT_CERT_REVOKED;
	case X509_V_ERR_CRL_HAS_EXPIRED:
		return WEIR_R_TLS_CLIENT_CRL_EXPIRED;
	case X509_V_ERR_INVALID_PURPOSE:
		return WEIR_R_TLS_CLIENT_CERT_PURPOSE;
	case X509_V_ERR_CERT_CHAIN_TOO_LONG:
		return WEIR_R_TLS_CLIENT_CERT_CHAIN;
	case X509_V_ERR_CERT_SIGNATURE_FAILURE:
		return WEIR_R_TLS_CLIENT_CERT_SIGNATURE;
	case X509_V_ERR_OUT_OF_MEM:
		return WEIR_R_TLS_NO_MEMORY;
	default:
		return WEIR_R_TLS_CLIENT_CERT_BAD;
	}
}

enum weir_reason tls_client_auth_reason(const struct tls_session *s, enum weir_reason why)
{
	long error;

	if (!s->auth.is_asked || why != WEIR_R_TLS_CLIENT_CERT_BAD)
		return why;
	if (!s->has_trust)
		return WEIR_R_TLS_CLIENT_NO_TRUST;
	error = s->cert_error ? s->cert_error : SSL_get_verify_result(s->ssl);
	return reason_of((int)error);
}

void tls_client_auth_complete(struct tls_session *s)
{
	struct weir_worker_stats *stats = s->t->cfg.stats;

	if (!s->auth.is_asked || !SSL_get0_peer_certificate(s->ssl))
		return;
	if (s->cert_error || !s->has_trust || SSL_get_verify_result(s->ssl) != X509_V_OK) {
		stat_inc(stats, WEIR_C_TLS_CLIENT_CERTS_INVALID);
		return;
	}
	stat_inc(stats, WEIR_C_TLS_CLIENT_CERTS);
	s->client_cert = tls_client_cert_create(s);
}

const struct tls_client_auth *tls_get_client_auth(const struct tls_session *s)
{
	return &s->auth;
}

const struct tls_client_cert *tls_get_client_cert(const struct tls_session *s)
{
	return s->client_cert;
}
