/* SPDX-License-Identifier: Apache-2.0 */
/* Alerts (RFC 8446 6): those that we send without OpenSSL, and what its errors and the peer's alerts mean for the counters. */
#include <openssl/err.h>

#include "tls/tls_pvt.h"

void tls_alert(struct tls_session *s, enum tls_alert what)
{
	const uint8_t record[] = {21 /* alert */, 3, 3, 0, 2, 2 /* fatal */, (uint8_t)what};

	if (tls_carries_itself(s)) {
		(void)tls_carry_alert(s, SSL3_AL_FATAL, (uint8_t)what); /* where there is no room nobody reads */
		return;
	}
	/* Nothing is in the queue before, so only memory can be short: then there is none. */
	(void)tcp_send(s->tcp, record, sizeof(record));
}

static enum weir_reason handshake_reason(int reason)
{
	switch (reason) {
	case SSL_R_UNSUPPORTED_PROTOCOL:
	case SSL_R_UNKNOWN_PROTOCOL:
	case SSL_R_VERSION_TOO_LOW:
	case SSL_R_VERSION_TOO_HIGH:
	case SSL_R_WRONG_VERSION_NUMBER:
	case SSL_R_WRONG_SSL_VERSION:
	case SSL_R_UNSUPPORTED_SSL_VERSION:
	case SSL_R_NO_PROTOCOLS_AVAILABLE:
	case SSL_R_INAPPROPRIATE_FALLBACK:
		return WEIR_R_TLS_NO_VERSION;
	case SSL_R_NO_SHARED_CIPHER:
	case SSL_R_NO_SHARED_GROUPS:
	case SSL_R_NO_SUITABLE_GROUPS:
	case SSL_R_NO_SUITABLE_KEY_SHARE:
	case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
	case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
	case SSL_R_NO_SUITABLE_DIGEST_ALGORITHM:
		return WEIR_R_TLS_NO_CIPHER;
	case SSL_R_NO_APPLICATION_PROTOCOL:
		return WEIR_R_TLS_NO_APPLICATION_PROTOCOL;
	case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
		return WEIR_R_TLS_CLIENT_CERT_NONE;
	case SSL_R_CERTIFICATE_VERIFY_FAILED: /* client_auth.c knows more */
	case SSL_R_UNKNOWN_CERTIFICATE_TYPE:
		return WEIR_R_TLS_CLIENT_CERT_BAD;
	case SSL_R_BAD_SIGNATURE: /* of CertificateVerify */
		return WEIR_R_TLS_CLIENT_CERT_SIGNATURE;
	case SSL_R_TOO_MUCH_EARLY_DATA:
		return WEIR_R_TLS_EARLY_DATA_TOO_LONG;
	case ERR_R_MALLOC_FAILURE:
		return WEIR_R_TLS_NO_MEMORY;
	default:
		return WEIR_R_TLS_PROTOCOL;
	}
}

enum weir_reason tls_error_reason(bool in_handshake)
{
	enum weir_reason why = in_handshake ? WEIR_R_TLS_PROTOCOL : WEIR_R_TLS_BAD_RECORD;
	bool is_known = false;
	unsigned long e;

	/* The first error of libssl is the cause, others follow from it; below it there may be some of libcrypto. */
	while ((e = ERR_get_error()) != 0) {
		int reason = ERR_GET_REASON(e);

		if (is_known || (ERR_GET_LIB(e) != ERR_LIB_SSL && reason != ERR_R_MALLOC_FAILURE))
			continue;
		is_known = true;
		/* An alert is a byte; beyond are reasons that all of OpenSSL's libraries share (ERR_R_*). */
		if (ERR_GET_LIB(e) == ERR_LIB_SSL && reason >= SSL_AD_REASON_OFFSET && reason <= SSL_AD_REASON_OFFSET + UINT8_MAX)
			why = WEIR_R_TLS_PEER_ALERT;
		else if (in_handshake || reason == ERR_R_MALLOC_FAILURE)
			why = handshake_reason(reason);
	}
	return why;
}
