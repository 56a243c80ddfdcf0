/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A certificate with its chain and its private key, as the blob that the
 * dataplane gets, and what of it is told to people. It is made once of the
 * content of a Secret and never changed: whoever holds it counts, so that it
 * outlives the Secret while routes name it, or while it is on its way. Its
 * bytes are overwritten before they are freed.
 */
#ifndef TRANSLATE_CERTIFICATE_H
#define TRANSLATE_CERTIFICATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "translate/facts.h"
#include "weir/snapshot.h"

/* X(enumerator, name). Kinds of keys, of which a client may know one and not another. */
#define CERTIFICATE_KEYS(X) X(EC, "ec") X(RSA, "rsa") X(ED25519, "ed25519")

enum certificate_key {
#define X(id, name) CERTIFICATE_##id,
	CERTIFICATE_KEYS(X)
#undef X
		N_CERTIFICATE_KEYS
};

#define CERTIFICATE_SOON_S (14 * 86400) /* before it ends, people are told */
#define CERTIFICATE_NAMES_MAX 100u /* of one: more are not looked at */

/* Or CA certificates (trust.c), which have no key, and names of another sort. */
struct certificate {
	unsigned n_refs;
	struct weir_certificate *blob; /* its kind says which */
	const char *of; /* the kind of that object, a constant; NULL: a Secret */
	const char *ns, *name; /* of the Secret, or of one of the objects that the CA certificates are of; NULL: of none */
	enum certificate_key key;
	int64_t not_before_s, not_after_s; /* of the leaf; of CA certificates: when the last one begins, and the first one ends */
	int64_t crls_until_s; /* when the first CRL is to be replaced; 0: none says */
	size_t n_cas, n_crls; /* CA certificates: each once */
	bool is_out_of_order;		   /* of the chain, one is not issued by the next */
	bool has_more_names;		   /* than are here */
	size_t n_names;
	/*
	 * Host names of the leaf (subjectAltName), lower case, "*." for one label; others are left out. Of CA certificates: the objects
	 * that they are of, "ConfigMap ns/name".
	 */
	char **names;
	struct ocsp_facts *facts; /* what it says of its responder; NULL: that was not looked at */
};

/* Bytes of DER. */
struct certificate_part {
	const unsigned char *p;
	size_t n;
};

/*
 * Makes the blob: a chain of 1 to WEIR_MAX_CHAIN and the key. One reference, no names. NULL: it would be larger than
 * WEIR_CERTIFICATE_MAX_BYTES. Ends the process when there is no memory.
 */
struct certificate *certificate_create(const struct certificate_part *chain, size_t n_chain, struct certificate_part key);
/* An identity once more, with an OCSP response that is to be stapled: of the same Secret, and another id. No names. NULL: too large. */
struct certificate *certificate_with_ocsp(const struct certificate *c, struct certificate_part ocsp);
/* As certificate_create(), of CA certificates, DER one behind the other, and CRLs likewise (size 0: none). */
struct certificate *certificate_create_trust(struct certificate_part cas, struct certificate_part crls);
/* The same of PEM; NULL: there are none, one cannot be read, or they are too large. */
struct certificate *certificate_read_trust(const char *pem, size_t n);
/* What an identity says of its responder, once it was read; false: it cannot be. */
bool certificate_facts(const struct certificate *c, struct ocsp_facts *out);
void certificate_add_name(struct certificate *c, const char *name, size_t n);
struct certificate *certificate_get(const struct certificate *c);
void certificate_put(struct certificate *c);
/* By RFC 6125 6.4.3: a host, or "*." and one; "": no name is asked for, and it does. */
bool certificate_covers(const struct certificate *c, const char *host);
const char *certificate_key_name(enum certificate_key key);
int certificate_compare_ids(const struct weir_cert_id *a, const struct weir_cert_id *b);

#endif
