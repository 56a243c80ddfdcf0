/* SPDX-License-Identifier: Apache-2.0 */
/* What a certificate says of its OCSP responder: read with it, once, and kept with it (certificate.h). */
#ifndef TRANSLATE_FACTS_H
#define TRANSLATE_FACTS_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/snapshot.h"

#define OCSP_URL_BYTES 1024u /* with its NUL: a longer one is none */
#define OCSP_KEY_BYTES 32u

/* Of a leaf and its chain. */
struct ocsp_facts {
	bool must_staple;    /* clients are to refuse it without a response (RFC 7633 status_request) */
	unsigned issuer;     /* where in the chain its issuer stands; 0: it does not */
	uint8_t key[OCSP_KEY_BYTES]; /* SHA-256 of the leaf and its issuer: what is asked about is the same where this is */
	char url[OCSP_URL_BYTES]; /* of its responder, the first one of http (RFC 5280 4.2.2.1), or of https if there is none of http; "": none.
				   * Where facts are kept, memory ends behind its NUL */
};

/* Of https, it is not asked: see facts.c. */
bool ocsp_url_is_https(const char *url);
/* b: an identity. False: its leaf cannot be read. */
bool ocsp_facts_read(const struct weir_certificate *b, struct ocsp_facts *out);

#endif
