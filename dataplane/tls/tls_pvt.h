/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of tls/ share. Bytes go
 *
 *   in:   receive queue of TCP > bio.c > OpenSSL > read.c: mbufs in the session's own queue > the user
 *   out:  the user > write.c: gathered > OpenSSL > bio.c > send queue of TCP
 *
 * A session is made in session.c, which leaves the first message to choose.c. That finds the certificates in ready.c,
 * and only then is there an object of OpenSSL. Nothing of OpenSSL's is called but between enter() and leave().
 */
#ifndef TLS_TLS_PVT_H
#define TLS_TLS_PVT_H

#include <assert.h>

#include <openssl/provider.h>
#include <openssl/ssl.h>

#include "base/buf.h"
#include "stats/stage.h"
#include "stats/stats.h"
#include "snapshot/snapshot.h"
#include "tls/carry.h"
#include "tls/hello.h"
#include "tls/offload_pvt.h"
#include "tls/tls.h"

#define TLS_N_PROFILES 2
#define TLS_GROUP_PQ "X25519MLKEM768" /* OpenSSL has it from 3.5 on */
#define TLS_GROUPS "X25519:P-256:P-384"
#define TLS_RECORD_BYTES 16384u	   /* of content (RFC 8446 5.1) */
#define TLS_RECORD_OVERHEAD 32u	   /* and what is around that, at most: header, nonce, type, tag of AEAD ciphers are 29 */
#define TLS_SMALL_RECORDS 40u	   /* so many at first fit into a segment each: the peer can use what has come */
#define TLS_KEY_UPDATES_MAX 32u	   /* without TLS_KEY_UPDATE_BYTES between */
#define TLS_KEY_UPDATE_BYTES 1048576u
#define TLS_RENEGOTIATIONS_MAX 3u
#define TLS_TICKETS_MAX 32u /* of a backend, without TLS_KEY_UPDATE_BYTES between */
#define TLS_READY_BUCKETS 16384u

/* RFC 8446 6 */
enum tls_alert {
	ALERT_NONE = -1,
	ALERT_UNEXPECTED_MESSAGE = 10,
	ALERT_BAD_RECORD_MAC = 20,
	ALERT_RECORD_OVERFLOW = 22,
	ALERT_ILLEGAL_PARAMETER = 47,
	ALERT_DECODE_ERROR = 50,
	ALERT_PROTOCOL_VERSION = 70,
	ALERT_INTERNAL_ERROR = 80,
	ALERT_UNRECOGNIZED_NAME = 112,
	ALERT_NO_APPLICATION_PROTOCOL = 120,
};

enum tls_state {
	TLS_FREE,
	TLS_HELLO,	 /* its ClientHello is not complete, or not answered */
	TLS_HANDSHAKING, /* OpenSSL has it */
	TLS_READY,
	TLS_ENDED, /* it failed */
};

/* What a session waits for, besides the peer and room. Who ends the wait calls tls_wake(). */
enum tls_waits {
	WAITS_NOT,
	WAITS_CERTIFICATE, /* s->wait_at: in the list of an entry of ready.c */
	WAITS_TURN,	   /* in the list of turn.c */
	WAITS_OFFLOAD,	   /* in a list of offload.c */
};

/* -- certificates */

/* A certificate with its key, or CA certificates (struct weir_certificate.kind): store alone is set then. */
struct tls_certificate {
	struct weir_cert_id id;
	X509_STORE *store; /* TRUST: by which others are judged; never changed once it is here */
	STACK_OF(X509_NAME) *ca_names; /* of it, for clients to choose a certificate by; NULL: too many */
	bool has_crls;
	X509 *leaf;
	EVP_PKEY *key;
	EVP_PKEY *device_key; /* the same, whose operations are the device's; NULL: it does not do them */
	STACK_OF(X509) *chain; /* what is above the leaf */
};

/* By its id: a certificate that is here, that was asked for, or that is known not to be usable. */
struct ready {
	struct ready *next; /* in its bucket */
	struct weir_cert_id id;
	struct tls_certificate *cert; /* NULL: asked for, or not usable */
	struct tls_session *waiting;
	uint32_t named;	    /* the retain in which a snapshot named it last */
	uint32_t unusable;  /* the retain in which it was told to be unusable; 0: it was not. Later ones ask again */
	uint64_t retry_us;  /* and so does this one from then on */
	uint8_t n_failures;
	bool is_asked;
	bool is_waking; /* in ready_table.waking */
	struct ready *next_waking;
};

struct ready_table {
	struct ready **bucket;
	struct ready *waking; /* that have come, and were not told to all who wait */
	uint32_t n_certs;
	uint32_t retain; /* how many times a snapshot said what is to stay, and 1 */
	const struct weir_snapshot *snapshot; /* that is being gone through; NULL: none */
	uint32_t at_cert, at_bucket;
};

int ready_init(struct tls *t);
void ready_fini(struct tls *t);
/*
 * The certificate of this id if it is here. Else it is asked for, unless that was in vain a short time ago, and
 * *entry is the one to wait at; NULL: it cannot be used.
 */
struct tls_certificate *ready_find(struct tls *t, const struct weir_cert_id *id, struct ready **entry);
void ready_wait(struct tls_session *s, struct ready *r);
/* With each iteration: some of those go on who waited for what has come. Returns how many. */
unsigned ready_wake(struct tls *t);

/* turn.c */
/* The session's handshake may go on. False: it waits for that. */
bool turn_take(struct tls_session *s);
/* With each iteration: the first of those who wait goes on. Returns how many. */
unsigned turn_give(struct tls *t);

/* -- sessions to backends */

/* Whom a session has to reach, and how. In one block, with the strings. */
struct peer {
	struct weir_ip addr;
	uint16_t port;
	uint8_t profile, n_certs, n_sans;
	uint8_t n_tickets;   /* kept */
	uint16_t n_messages; /* NewSessionTicket, without enough bytes between */
	uint64_t settings; /* tls_backend_hash() */
	uint64_t start_us; /* the peer's certificate was judged */
	struct weir_cert_id cert[2]; /* by which it is judged; our own */
	struct {
		const char *text;
		uint8_t kind; /* enum weir_san_kind */
	} san[WEIR_MAX_SANS];
	char text[]; /* the host, then the names above */
};

/* -- the worker's */

struct tls {
	struct tls_config cfg;
	OSSL_LIB_CTX *lib;
	struct kdf kdf;
	struct record_ciphers ciphers;
	BIO_METHOD *bio;
	SSL_CTX *ctx[TLS_N_PROFILES], *client_ctx[TLS_N_PROFILES]; /* of clients' sessions, and of those to backends */
	struct resume_table *resume;
	struct replays *replays; /* NULL: early data are not accepted */
	uint32_t n_kept; /* in it */
	OSSL_PROVIDER *providers[2]; /* that were loaded by name */
	SSL_CTX *device_ctx[TLS_N_PROFILES]; /* of sessions that use a provider; NULL: the device is none */
	struct key_decoder { /* certificate.c, of main */
		OSSL_DECODER_CTX *ctx; /* NULL: none was needed yet */
		EVP_PKEY *key;	       /* what it has read */
	} key_decoders[2];
	EVP_CIPHER *ticket_cipher;
	EVP_MD *sha256;
	struct tls_session *sessions; /* cfg.n_sessions, first touched when used */
	struct tls_session *free;
	uint32_t n_fresh, n_sessions, n_handshaking;
	struct offload offload;
	struct tls *next_abandoned;
	struct ready_table ready;
	struct tls_session *turn, **turn_tail; /* that wait for one; the tail only if there are any */
	bool is_turn_taken;		       /* that of this iteration, or it is given to one that has not gone on yet */
	struct tls_ticket_keys keys;
	uint8_t *hello; /* cfg.hello_bytes + 1: the message that is looked at */
	char cert_text[3 * WEIR_MAX_CLIENT_CERT_FIELD]; /* client_cert.c writes here first */
	/* What a session was given to send and is not sealed yet. */
	struct tls_session *gatherer;
	uint32_t n_gathered;
	uint8_t gathered[TLS_RECORD_BYTES];
};

struct tls_session {
	struct tls *t;
	struct tcp_conn *tcp; /* may be gone when the session is freed */
	SSL *ssl;	      /* NULL: not yet, or not any more */
	union {
		struct peer *peer;   /* is_backend: whom it has to reach */
		struct carry *carry; /* else what it needs to go on without libssl; NULL: that was not told */
	};
	struct tls_session *next, **prev_next; /* among the free, or in a list of those that wait */
	struct rte_mbuf *head, *tail; /* decrypted and not taken */
	uint32_t n_bytes;	      /* in these */
	union {
		uint32_t hello_wants;	   /* state HELLO: bytes that have to be there before it is worth while to look again */
		uint32_t since_key_update; /* else: bytes received */
	};
	/*
	 * What was taken to be sent and cannot be sealed for want of room or memory below, in a block of its own: rare, since
	 * room is asked for before. Its beginning is with OpenSSL, which wants to be given the same bytes again.
	 */
	uint8_t *rest;
	uint32_t n_rest;
	struct tls_client_cert *client_cert; /* NULL: nothing is told of one */
	struct early *early; /* the client announced early data, and the handshake is not complete; NULL: nothing of that */
	struct tls_client_auth auth;
	uint16_t n_key_updates;	   /* without enough bytes between */
	uint16_t small_bytes;	   /* content of a record that fits into a segment */
	uint16_t n_records;	   /* sent, up to TLS_SMALL_RECORDS */
	uint16_t reason_plus1;
	uint16_t cert_error; /* what was first wrong with the client's certificate, X509_V_ERR_*; 0: nothing */
	uint8_t state, waits, n_renegotiations, n_name;
	uint8_t job;	       /* enum offload_job */
	uint8_t submitted_in;  /* OSSL_HANDSHAKE_STATE in which the job paused */
	bool is_told_done;     /* by the device: in the list offload.done. Atomic */
	bool is_offloaded : 1;     /* its handshake uses the device */
	bool is_backend : 1;	   /* it goes to one; else a client began it */
	bool is_probe : 1;	       /* to see whether that lives */
	bool is_orphan : 1;	       /* freed by its owner, but its job has not ended */
	bool has_device_failed : 1;
	bool is_closed : 1;	  /* no data come any more */
	bool is_stream : 1;	   /* tls_is_stream() */
	bool is_truncated : 1; /* and the peer did not say so by close_notify */
	bool is_shut : 1;	  /* tls_shutdown() was called */
	bool has_to_shut : 1; /* but it waits for the rest */
	bool is_broken : 1;   /* TCP takes nothing more */
	bool has_early_data : 1; /* what lies there and was not taken came as early data */
	bool has_waited : 1;
	bool has_turn : 1;
	bool has_trust : 1; /* there are CA certificates that clients' are judged by */
	uint64_t submitted_us;
	TAILQ_ENTRY(tls_session) offload_link;
	struct tls_session *next_done;
	char *name; /* lower case, in a block of its own; NULL: none */
};

static_assert(sizeof(struct tls_session) <= 192, "there are as many as connections");

static inline enum weir_stage enter(struct tls *t)
{
	return stage_enter(t->cfg.stages, WEIR_STAGE_TLS);
}

static inline void leave(struct tls *t, enum weir_stage former)
{
	stage_leave(t->cfg.stages, former);
}

/* It sends messages between two pieces of content, or asks for handshakes, beyond any bound. */
static inline bool tls_floods(const struct tls_session *s)
{
	return s->n_key_updates > TLS_KEY_UPDATES_MAX || s->n_renegotiations > TLS_RENEGOTIATIONS_MAX ||
	       (s->is_backend && s->peer->n_messages > TLS_TICKETS_MAX);
}

/* bio.c */
BIO_METHOD *tls_bio_create(void);
/* The session whose object this is, also from within OpenSSL's callbacks. */
struct tls_session *tls_bio_session(const SSL *ssl);

/* offload_device.c */
/* The default provider, and the device's. They are unloaded before the context is freed: 3.0 leaks them otherwise. */
bool offload_load_provider(OSSL_LIB_CTX *lib, const struct offload_config *cfg, OSSL_PROVIDER *loaded[2]);
void offload_unload_provider(OSSL_PROVIDER *loaded[2]);

/* context.c */
int tls_contexts_create(struct tls *t);
void tls_contexts_destroy(struct tls *t);
/*
 * What is the same for both roles; groups: of key exchange, where OpenSSL has all of them. If it has not, it is TLS_GROUPS, and
 * there is an error in OpenSSL's queue.
 */
bool tls_context_set(SSL_CTX *ctx, enum weir_tls_profile profile, const char *groups);

/* ticket.c */
int tls_ticket_init(struct tls *t);
void tls_ticket_fini(struct tls *t);
int tls_ticket_allow(struct tls_session *s, enum weir_tls_profile profile);
void tls_ticket_register(SSL_CTX *ctx);

/* alert.c */
/* Why OpenSSL failed, from its queue of errors, which is emptied. */
enum weir_reason tls_error_reason(bool in_handshake);
/* A fatal alert in the clear, where there is no object of OpenSSL. */
void tls_alert(struct tls_session *s, enum tls_alert what);

/* certificate.c */
/* 0, or -1 with OpenSSL's reasons in its queue: this session may show it, and signs with the device's key if there is one. */
int tls_certificate_use(const struct tls_certificate *cert, SSL *ssl, bool by_device);
void tls_certificate_staple(SSL_CTX *ctx);
/* What main keeps to read certificates with: made beforehand, since that takes a millisecond. 0 or -1. */
int tls_certificates_init(struct tls *t);
void tls_certificates_fini(struct tls *t);
/* The peer is judged by these CA certificates, and by their CRLs if there are any. The store is shared. False: no memory. */
bool tls_trust_use(const struct tls_certificate *trust, SSL *ssl);
/*
 * Of an error while a chain is judged: issuers without a CRL revoke nothing. True: it was that, and is none any more. Where there
 * is a CRL, and it does not speak of this certificate, nobody knows: that stays one.
 */
bool tls_trust_has_no_crl(X509_STORE_CTX *ctx);

/* client_auth.c */
/* The CA certificates that s->auth names, if they are here. NULL: none can be used, unless *entry is the one to wait at. */
struct tls_certificate *tls_client_auth_find(struct tls_session *s, struct ready **entry);
/* 0, or -1 with OpenSSL's reasons in its queue: the session asks its client as s->auth says. trust NULL: there is none. */
int tls_client_auth_use(struct tls_session *s, const struct tls_certificate *trust);
/* why, or what was wrong with the client's certificate, if that is why. Of a session that still has its object of OpenSSL. */
enum weir_reason tls_client_auth_reason(const struct tls_session *s, enum weir_reason why);
/* The handshake is complete. */
void tls_client_auth_complete(struct tls_session *s);

/* client_cert.c: what of the peer's valid certificate backends are to be told; OPENSSL_free() frees it. NULL: nothing. */
struct tls_client_cert *tls_client_cert_create(struct tls_session *s);
/*
 * A distinguished name as RFC 2253 has it becomes a quoted string. What it escapes is escaped by hexadecimal digits alone, and
 * so are quotes, semicolons and what is not printable: in the result a backslash has two digits behind it, a quote is its end.
 */
void tls_client_cert_quote_name(struct buf *out, struct slice name);
/* ";key=value", quoted where it has to be. False: the value has a byte that it may not have, and nothing was written. */
bool tls_client_cert_put_san(struct buf *out, const char *key, struct slice value);

/* choose.c */
/* Reads the ClientHello and makes the session's object of OpenSSL. TLS_DONE: it is there. */
enum tls_outcome tls_choose(struct tls_session *s, const struct weir_snapshot *snapshot);

/* session.c */
/* Ends the session, counted. Its object of OpenSSL goes, and so does what is not sent or read. */
enum tls_outcome tls_end(struct tls_session *s, enum weir_reason why, enum tls_alert alert);
void tls_wake(struct tls_session *s);
/* From what TCP can send in one segment. */
void tls_set_record_size(struct tls_session *s);
void tls_stop_waiting(struct tls_session *s);
/* Its job has ended after the session: frees what was kept for it. */
void tls_let_go(struct tls_session *s);

/* A session with nothing to it yet. NULL: there are as many as may be (counted). */
struct tls_session *tls_new(struct tls *t, struct tcp_conn *c);

/* connect.c */
/* Makes the object of OpenSSL, as tls_choose(). */
enum tls_outcome tls_connect_prepare(struct tls_session *s, uint64_t now_us);
int tls_connect_verify(int ok, X509_STORE_CTX *ctx);
/* Why the handshake failed, where OpenSSL says only that. */
enum weir_reason tls_connect_reason(const struct tls_session *s, enum weir_reason why);
/* As it is called where the peer is a backend. */
enum weir_reason tls_reason_of_backend(enum weir_reason why);

/* client_context.c */
int tls_client_contexts_create(struct tls *t);
void tls_client_contexts_destroy(struct tls *t);

/* resume.c */
int resume_init(struct tls *t);
void resume_fini(struct tls *t);
/* Gives the session's object one that it may resume, if there is one. */
void resume_take(struct tls_session *s, uint64_t now_us);
int resume_on_session(SSL *ssl, SSL_SESSION *session);
/* Its handshake is complete. */
void resume_complete(struct tls_session *s, uint64_t now_us);

/* early.c */
/* Of a session while its early data may come, in a block of its own. */
struct early {
	struct rte_mbuf *m; /* into which OpenSSL reads, the same one until it says that it is done with it */
	uint64_t since_us;  /* they were accepted; 0: not, or not yet */
	uint8_t *unsent;    /* records that TCP did not take, in a block of their own */
	uint32_t n_unsent;
	uint8_t why;	    /* enum early_why: what was against it before OpenSSL was asked */
	bool is_over;	    /* all of it was read, or none will be */
	bool is_counted;    /* as rejected */
	bool is_sending;    /* OpenSSL is given content to send */
	bool has_lost;	    /* and there was no memory for what came of it */
};
int tls_early_init(struct tls *t);
void tls_early_fini(struct tls *t);
bool tls_early_register(struct tls *t, SSL_CTX *ctx);
/* The client announced early data: they may be accepted, if the session is one for that. 0, or -1: no memory. */
int tls_early_begin(struct tls_session *s, bool is_announced);
/*
 * In the place of SSL_do_handshake(), until the early data have been read: an SSL_ERROR_*. NONE: they have, and
 * the handshake goes on as any.
 */
int tls_early_read(struct tls_session *s);
/* As SSL_write_ex(), where the handshake is not complete. */
int tls_early_write(struct tls_session *s, const uint8_t *p, size_t n, size_t *done);
/* TCP takes no more of what OpenSSL writes, and nobody would offer it again: it is kept. False: it has to be offered again. */
bool tls_early_keep(struct tls_session *s, const void *p, size_t n);
/* True: TCP has all that was kept. */
bool tls_early_flush(struct tls_session *s);
/* The handshake is complete. */
void tls_early_complete(struct tls_session *s);
/* The object of OpenSSL is gone. */
void tls_early_end(struct tls_session *s);

static inline bool tls_early_is_open(const struct tls_session *s)
{
	return s->state == TLS_HANDSHAKING && s->early && s->early->since_us;
}

/* It can be sent to. */
static inline bool tls_carries(const struct tls_session *s)
{
	return s->state == TLS_READY || tls_early_is_open(s);
}

/* read.c */
/* n bytes of content that were read into m. */
void tls_take_in(struct tls_session *s, struct rte_mbuf *m, size_t n);
void tls_drop_received(struct tls_session *s);
/* So many bytes of content came. */
void tls_note_received(struct tls_session *s, size_t n);
/* The peer has closed its side within its records. */
void tls_note_truncated(struct tls_session *s);
/* Of tls_floods(). */
enum weir_reason tls_flood_reason(const struct tls_session *s);

/* write.c */
/* Bytes of content of the next record, at most. */
size_t tls_record_content(const struct tls_session *s);
/* Goes on with what had to wait. True: nothing is left of it. */
bool tls_go_on(struct tls_session *s);
void tls_drop_unsent(struct tls_session *s);

#endif
