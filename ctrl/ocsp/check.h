/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What OCSP (RFC 6960, and its profile RFC 5019) has to do with bytes: the
 * request, and whether a response can be stapled. What a certificate says of
 * its responder is in translate/facts.h. Pure functions: no socket, no clock.
 * Responses are hostile input.
 */
#ifndef OCSP_CHECK_H
#define OCSP_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ocsp/outcome.h"
#include "translate/facts.h"
#include "weir/snapshot.h"

#define OCSP_RESPONSE_MAX 16384u   /* bytes: a larger one would be a burden in each handshake */
#define OCSP_SKEW_S 300		   /* so far in the future a response may begin */
#define OCSP_UNTIL_DEFAULT_S 3600  /* so long one is used that does not say when the next one comes */

/*
 * The request about a leaf whose issuer is there, in DER: one CertID over SHA-1, as responders make them in advance
 * (RFC 5019 2.1.1), without nonce and signature. For the caller to free(); NULL without memory.
 */
unsigned char *ocsp_request_make(const struct weir_certificate *b, unsigned issuer, size_t *n);

struct ocsp_verdict {
	int64_t this_s, until_s; /* thisUpdate; nextUpdate, or the default */
	int64_t revoked_s;	 /* REVOKED */
	const char *reason;	 /* likewise, in RFC 5280's words, a constant; "": none is given */
};

/*
 * Whether the n bytes are a response about this leaf, signed by its issuer or whom that has appointed (RFC 6960 4.2.2.2),
 * and of now. out is filled for GOOD and REVOKED.
 */
enum ocsp_outcome ocsp_response_judge(const struct weir_certificate *b, unsigned issuer, const unsigned char *der, size_t n,
				      int64_t now_s, struct ocsp_verdict *out);

#endif
