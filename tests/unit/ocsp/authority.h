/* SPDX-License-Identifier: Apache-2.0 */
/* A certification authority of the test's own: it issues certificates, and says what has become of them. */
#ifndef TEST_OCSP_AUTHORITY_H
#define TEST_OCSP_AUTHORITY_H

#include <stdbool.h>
#include <stdint.h>

#include <openssl/x509.h>

#include "translate/certificate.h"

#define TEST_NOW_S 1800000000
#define DAY_S 86400

/* A certificate and its key. */
struct holder {
	X509 *x;
	EVP_PKEY *key;
};

struct authority {
	struct holder root, ca, other; /* root > ca; a stranger that has issued itself */
	long serial;
};

enum purpose { OF_CA, OF_SERVER, OF_RESPONDER };

struct wish {
	const char *name;
	enum purpose purpose;
	const char *url; /* of the responder; NULL: none */
	bool must_staple;
};

void authority_open(struct authority *a);
void authority_close(struct authority *a);
/* issuer NULL: by itself. */
struct holder authority_issue(struct authority *a, const struct holder *issuer, const struct wish *w);
void holder_close(struct holder *h);

/* As weir-ctrl has it: the leaf, and the issuers that the test wants in the chain. */
struct certificate *authority_certificate(const struct holder *leaf, const struct holder *const *chain, size_t n_chain);

struct said {
	int status;	 /* V_OCSP_CERTSTATUS_... */
	int reason;	 /* of REVOKED */
	int64_t this_s, next_s; /* 0: no nextUpdate */
	const struct holder *signer;
	bool has_signer; /* its certificate is in it */
	const struct holder *about, *issuer;
	int response_status; /* OCSP_RESPONSE_STATUS_...: any but SUCCESSFUL has nothing else */
};

/* DER; for the caller to free(). */
unsigned char *authority_response(const struct said *s, size_t *n);

#endif
