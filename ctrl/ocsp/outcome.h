/* SPDX-License-Identifier: Apache-2.0 */
/* How a request to an OCSP responder can end: of the fetch, then of what was fetched. */
#ifndef OCSP_OUTCOME_H
#define OCSP_OUTCOME_H

/* X(enumerator, metric's label, text). The texts tell owners of certificates nothing of the network that Weir is in. */
#define OCSP_OUTCOMES(X) \
	X(GOOD, "good", "the certificate is good") \
	X(REVOKED, "revoked", "its issuer has revoked it") \
	X(UNKNOWN, "unknown", "the responder does not know it") \
	X(BAD_URL, "bad_url", "the responder's URL is none of http with a host that weir-ctrl may ask") \
	X(HTTPS, "https", "the responder sends on to a URL of https, which is not asked") \
	X(FORBIDDEN, "forbidden", "the responder has an address or a port that weir-ctrl may not ask") \
	X(UNREACHABLE, "unreachable", "the responder cannot be reached") \
	X(TIMEOUT, "timeout", "the responder cannot be reached") \
	X(HTTP_ERROR, "http_error", "the responder answers with an error of HTTP") \
	X(TOO_LARGE, "too_large", "the responder's answer is too large") \
	X(TRY_LATER, "try_later", "the responder asks to try later") \
	X(REFUSED, "refused", "the responder answers with an error of OCSP") \
	X(MALFORMED, "malformed", "the responder's answer is malformed") \
	X(OTHER_CERTIFICATE, "other_certificate", "the responder's answer is about another certificate") \
	X(BAD_SIGNATURE, "bad_signature", "the answer is signed neither by the issuer nor by a responder that it has appointed") \
	X(STALE, "stale", "the responder's answer has expired") \
	X(OLDER, "older", "the responder's answer is older than the last one") \
	X(NOT_YET_VALID, "not_yet_valid", "the responder's answer is of the future") \
	X(FAILED, "failed", "the request could not be made")

enum ocsp_outcome {
#define X(name, label, text) OCSP_##name,
	OCSP_OUTCOMES(X)
#undef X
		OCSP_N_OUTCOMES
};

const char *ocsp_outcome_name(enum ocsp_outcome o);
const char *ocsp_outcome_text(enum ocsp_outcome o);

#endif
