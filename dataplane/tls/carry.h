/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients' sessions once their handshake is done: records by record.c, and the few messages that may still come, without libssl,
 * whose object for the connection (13 KiB and more) is freed. As kernels do it (kTLS), but for all connections and both
 * directions. It is not done where something is under way within libssl; then that carries the session to its end (counted).
 */
#ifndef TLS_CARRY_H
#define TLS_CARRY_H

#include <openssl/ssl.h>

#include "tls/kdf.h"
#include "tls/record.h"
#include "tls/tls.h"

enum sealed { SEALED, SEAL_WAITS, SEAL_ENDED };

struct carry {
	struct record_key in, out;
	uint8_t secret[2][KDF_HASH_MAX]; /* of in and out: the next keys come from them (RFC 8446 7.2); TLS 1.2 has none */
	/* The record that is coming in. */
	struct record_head head;
	uint8_t n_message, message[4]; /* the beginning of a handshake message */
	uint32_t n_skip;	       /* rest of a message that is not read */
	uint32_t n_wanted;	       /* bytes of the body; 0: its head has not come */
	uint32_t n_taken;	       /* of those, in list */
	struct rte_mbuf *list, *last;
	/* What libssl knew of the session. */
	const char *cipher;
	uint16_t group;
	uint16_t max_content; /* of a record, of both sides (RFC 6066 4) */
	uint8_t hash;	     /* enum kdf_hash */
	uint8_t n_secrets;   /* that were told, as bits */
	uint8_t n_idle;	     /* records and warnings in a row that brought nothing */
	bool is_on;	     /* libssl is gone */
	bool has_alpn : 1, is_resumed : 1;
	bool owes_update : 1;  /* a KeyUpdate, before the next content */
	bool owes_refusal : 1; /* a warning: no renegotiation */
};

/* As kdf_tell_fn, for the session whose handshake goes on. */
void tls_carry_note(void *session, enum kdf_secret what, const uint8_t *secret, size_t n);
/* libssl has sent a record, or read the head of one. */
void tls_carry_note_record(const SSL *ssl, bool is_sent, uint8_t type);
/* The handshake is complete. True: libssl is not needed any more, and its object can go. */
bool tls_carry_begin(struct tls_session *s);
void tls_carry_get_info(const struct tls_session *s, struct tls_info *out);
/* With the session. */
void tls_carry_free(struct tls_session *s);

/* Reads on until there is content, or nothing more. */
void tls_carry_read(struct tls_session *s);
/* One record of content, of as many of the n bytes as there is room for: *done. */
enum sealed tls_carry_seal(struct tls_session *s, const uint8_t *p, size_t n, size_t *done);
/* False: there is no room. */
bool tls_carry_alert(struct tls_session *s, uint8_t level, uint8_t what);
/* Answers to messages that found no room. False: they still do not. */
bool tls_carry_send_owed(struct tls_session *s);
/* The key that follows, by its secret, which becomes the next one, too. False: OpenSSL failed. */
bool tls_carry_next_key(struct tls_session *s, struct record_key *k, uint8_t *secret);

/* A record was taken as a whole, and not opened for want of an mbuf. */
static inline bool tls_carry_record_waits(const struct carry *c)
{
	return c->n_wanted && c->n_taken == c->n_wanted;
}

/* These records are the session's own. */
#define tls_carries_itself(s) (!(s)->is_backend && (s)->carry && (s)->carry->is_on)

#endif
