/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of the OCSP responses of certificates: another input of the
 * translation, and of the compiler. Who asks responders writes it (ocsp/); the
 * translation tells owners what is wrong, and the compiler names, in place of a
 * certificate, the same one with its response. It is by the content of the
 * certificate: whoever reads the same Secret anew finds it again.
 */
#ifndef TRANSLATE_STAPLES_H
#define TRANSLATE_STAPLES_H

#include "translate/certificate.h"

/* X(enumerator, name) */
#define STAPLE_STATES(X) \
	X(NO_RESPONDER, "no-responder") /* the certificate names none */ \
	X(NO_ISSUER, "no-issuer")	/* its issuer is not in the chain: nobody could be asked, or believed */ \
	X(HTTPS, "https-responder")	/* its responder is named by a URL of https alone, which is not asked */ \
	X(OFF, "off")			/* it would be asked for, but weir-ctrl is not to */ \
	X(PENDING, "pending")		/* the first answer is awaited */ \
	X(GOOD, "good")			/* and the response is stapled */ \
	X(REVOKED, "revoked") \
	X(FAILED, "failed")		/* there is no response that could be stapled */

enum staple_state {
#define X(id, name) STAPLE_##id,
	STAPLE_STATES(X)
#undef X
		N_STAPLE_STATES
};

struct staple {
	enum staple_state state;
	bool must_staple;      /* clients refuse the certificate without a response (RFC 7633) */
	const char *why;       /* how the last request has failed, a text that lives on; NULL: it has not */
	const char *waits;     /* why the request that is due has not gone out, likewise; NULL: none is due, or it has */
	const char *reason;    /* REVOKED: as the issuer says, a constant; "": it does not say */
	int64_t revoked_s;     /* REVOKED */
	int64_t this_s, until_s; /* of the response that counts now, be it good or not; 0: there is none */
	const struct certificate *stapled; /* with the response; NULL: there is none. It is put by the table */
};

struct staples;

struct staples *staples_create(void);
void staples_destroy(struct staples *s);
/* NULL: nothing is known, or s is NULL. Valid until the table changes. */
const struct staple *staples_get(const struct staples *s, const struct weir_cert_id *id);
/* The certificate as clients are to be shown it: with its response, or itself. */
const struct certificate *staples_served(const struct staples *s, const struct certificate *c);
/* What is known of a certificate now; v->stapled becomes the table's. Ends the process without memory. */
void staples_set(struct staples *s, const struct weir_cert_id *id, const struct staple *v);
/* Nobody uses it any more: no change for anybody. */
void staples_remove(struct staples *s, const struct weir_cert_id *id);

/* Another thing is to be told to the owners of this certificate than at the last staples_clear_news(). */
bool staples_is_news(const struct staples *s, const struct weir_cert_id *id);
bool staples_has_news(const struct staples *s);
void staples_clear_news(struct staples *s);
/* Other certificates are to be served than at the last staples_clear_changes(). */
bool staples_has_changes(const struct staples *s);
void staples_clear_changes(struct staples *s);

const char *staple_state_name(enum staple_state state);

#endif
