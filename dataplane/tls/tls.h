/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS (RFC 8446, RFC 5246) of a worker: OpenSSL over the buffers of TCP
 * connections. Each worker has its own library context, so that workers share
 * no lock; nothing here reads a clock or calls the system.
 *
 * A session belongs to one TCP connection and is driven by who drives that:
 * nothing is called back but config.want and config.release. Whatever a session waits for
 * besides the peer (a certificate, an operation under way in a device), its
 * connection gets a TCP_EV_READABLE from the next tcp_run() when it is there.
 *
 * Records are taken out of the connection's receive queue only as their content is asked
 * for, so TCP's windows bound what a session holds: what TLS has decrypted and nobody has taken
 * is at most one record.
 */
#ifndef TLS_TLS_H
#define TLS_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/slice.h"
#include "snapshot/snapshot.h"
#include "tcp/tcp.h"
#include "weir/snapshot.h"
#include "weir/stats.h"

struct rte_mbuf;
struct rte_mempool;
struct stage_clock;
struct tls;
struct tls_session;
struct tls_certificate;
struct tls_ticket_keys;
struct offload_device;

struct tls_config {
	struct tcp_stack *tcp;
	struct rte_mempool *pool; /* mbufs with data room, for what was decrypted */
	struct weir_worker_stats *stats;
	struct stage_clock *stages; /* NULL: not wanted */
	uint32_t n_sessions;  /* at one time, handshakes included; more are refused */
	uint32_t hello_bytes; /* of a ClientHello at most */
	bool takes_turns;     /* one step of one handshake in an iteration; the others wait */
	bool early_data;      /* is accepted from clients (early.c); false: never */
	bool keeps_libssl;    /* it carries clients' records behind the handshake, too; false: carry.c does */
	struct offload_device *offload; /* offload.h; NULL: handshakes are all software */
	/* Asks main for a certificate that is not ready here. tls_take_certificate() answers, never from within the call. */
	void (*want)(void *ctx, const struct weir_cert_id *id);
	/* One that no snapshot names any more goes back to main. */
	void (*release)(void *ctx, struct tls_certificate *cert);
	void *ctx;
};

/* For a worker, by main, before that runs. NULL after logging why. */
struct tls *tls_create(const struct tls_config *config);
/*
 * Every session has ended, and the worker does not run any more. Certificates go back through config.release, which destroys them
 * at once: they are part of the library context that goes.
 * Operations of a device that never ended (tls_settle()) keep what they use: that is logged, and not freed.
 */
void tls_destroy(struct tls *t);

/*
 * On the worker's thread, before its loop: makes the jobs that handshakes run in where there is a device, and chooses this
 * worker's instance of that. False: the device refuses, or no memory; then tls_set_software().
 */
bool tls_begin(struct tls *t, unsigned worker);
/* No session has begun: none will use the device. */
void tls_set_software(struct tls *t);
/*
 * With each iteration, before tcp_run(): goes on with what the device has done, with who waited for a certificate that has
 * come, and with the first who waits for a turn. Returns the number of things done.
 */
unsigned tls_poll(struct tls *t, uint64_t now_us);
/* True: something is under way that only tls_poll() finds out about, such as an operation of the device. */
bool tls_needs_poll(const struct tls *t);
/*
 * On the worker's thread, behind its loop: as tls_poll(), but sessions do not go on. True: no operation is under way any more.
 * The caller bounds how often it asks. Then tls_finish(), in any case.
 */
bool tls_settle(struct tls *t, uint64_t now_us);
void tls_finish(struct tls *t);

/*
 * certificate.c: what main does for a worker, on its own thread. Parses a checked blob within
 * the worker's library context, so that handshakes there need not: that costs
 * a millisecond and more. NULL: it cannot be used, and why (of n bytes) says the reason in words.
 * The blob is not needed afterwards.
 */
struct tls_certificate *tls_certificate_create(struct tls *t, const struct weir_certificate *blob, char *why, size_t n);
/* Of main, too. Sessions that were begun with it go on. */
void tls_certificate_destroy(struct tls_certificate *cert);
const struct weir_cert_id *tls_certificate_id(const struct tls_certificate *cert);

/* The answer to config.want: cert is the worker's now, NULL: there is none that could be used. */
void tls_take_certificate(struct tls *t, const struct weir_cert_id *id, struct tls_certificate *cert, uint64_t now_us);
/* Releases certificates that this snapshot does not name, in slices, as upstream_step() does. True: it is done. */
void tls_retain(struct tls *t, const struct weir_snapshot *s);
bool tls_step(struct tls *t, int *budget);

/*
 * Keys of session tickets (RFC 5077, RFC 8446 4.6.1), the same for all workers: the first one seals, all of them open. Copied.
 */
#define TLS_TICKET_KEYS 3
struct tls_ticket_key {
	uint8_t name[16], cipher[32], mac[32];
};
struct tls_ticket_keys {
	unsigned n; /* 0: no tickets are given */
	struct tls_ticket_key key[TLS_TICKET_KEYS];
};
void tls_set_ticket_keys(struct tls *t, const struct tls_ticket_keys *keys);
/* The wall clock, as proxy_set_clock() has it. Nothing needs it yet: OpenSSL looks up the age of tickets itself. */
void tls_set_clock(struct tls *t, uint64_t unix_offset_us);

/* -- sessions */

/* A session for a connection that a peer has opened. NULL: there are as many as may be (counted). The connection stays the caller's. */
struct tls_session *tls_accept(struct tls *t, struct tcp_conn *c);
/*
 * A session over a connection to a backend, which is established: tls_handshake() drives it as it does others (it does not need
 * the snapshot). What b says is copied; settings is its hash, which tells which earlier sessions may be resumed. NULL: as above,
 * or no memory.
 */
struct tls_session *tls_connect(struct tls *t, struct tcp_conn *c, const struct weir_snapshot *s, const struct weir_backend_tls *b,
				uint64_t settings);
/* Of all that b says: a secret hash, never 0. */
uint64_t tls_backend_hash(const struct weir_snapshot *s, const struct weir_backend_tls *b);
/* The peer ended its side without close_notify: what has come may not be all (RFC 9112 9.8). */
bool tls_is_truncated(const struct tls_session *s);
/* Frees the session and wipes its keys; sends nothing. The connection stays, if it is still there. */
void tls_free(struct tls_session *s);

enum tls_outcome {
	TLS_DONE,
	TLS_MORE,   /* it waits: for the peer, for room to send, or for something here */
	TLS_EARLY,  /* as MORE, but the client's early data are accepted (RFC 8446 2.3). Of clients only, and only if config.early_data */
	TLS_PASS,   /* the server name is to be passed through: the session is to be freed, and the connection has all its bytes still */
	TLS_FAILED, /* tls_reason() says why, which was counted; an alert for the peer is queued where one can be */
};

/*
 * Goes on with the handshake. The certificate is chosen by the server name, from the snapshot, by the
 * address and port that the client connected to (route_find_name()).
 *
 * From the first EARLY on until DONE or FAILED the session carries content although its handshake is not complete:
 *
 *   - what has come of the early data can be read by the functions below, and nothing else. It may be a replay: whoever sent it
 *     first need not be who sends it now, and may have sent it elsewhere, too;
 *   - answers can be sent and are sealed at once ("0.5-RTT"), to a peer that has not proved yet that it has the keys;
 *   - the end of what is sent (tls_shutdown()) waits until the handshake is complete;
 *   - the caller goes on to call this with each event, and bounds the time for it, by tls_early_since() if it likes.
 *
 * What is left of the early data at DONE is read before all that came behind it. FAILED takes it away.
 */
enum tls_outcome tls_handshake(struct tls_session *s, const struct weir_snapshot *snapshot, uint64_t now_us);
bool tls_is_ready(const struct tls_session *s); /* the handshake is complete */
/* The next byte that can be read came as early data, whether the handshake is complete by now or not. */
bool tls_is_early(const struct tls_session *s);
/* When its early data were accepted; 0: they were not, or the handshake is complete. */
uint64_t tls_early_since(const struct tls_session *s);
/* What is within is no HTTP: its server name is of a listener of kind STREAM. Known once the ClientHello has come. */
bool tls_is_stream(const struct tls_session *s);
/* Why it failed, in the handshake or behind it; WEIR_N_REASONS: it has not. */
enum weir_reason tls_reason(const struct tls_session *s);
/* It ends for this reason, which is counted: the caller's limits. */
void tls_fail(struct tls_session *s, enum weir_reason why);

struct tls_info {
	struct slice server_name; /* lower case, without a dot at its end; empty: the client gave none */
	uint16_t version;	  /* 0x0303, 0x0304 */
	const char *cipher; /* IANA's name; "": not known */
	uint16_t group;	    /* a number of WEIR_LOG_TLS_GROUPS; 0: not known */
	const char *alpn;	  /* "http/1.1"; "": none was agreed on */
	bool is_resumed;
};
/* Of a session that is ready; slices live as long as it does. */
void tls_get_info(const struct tls_session *s, struct tls_info *out);
/* Of any session once its ClientHello has come. */
struct slice tls_server_name(const struct tls_session *s);

/* What a server name asks of its clients (struct weir_client_auth), whatever the snapshot: equal bytes, equal meaning. */
struct tls_client_auth {
	struct weir_cert_id trust; /* 0: none */
	uint8_t is_asked; /* 0: no certificate is asked for, and the rest is 0 */
	uint8_t mode, depth, fields;
	uint32_t zero;
};

static inline struct tls_client_auth tls_client_auth_of(const struct weir_snapshot *s, const struct weir_server_name *name)
{
	struct tls_client_auth out = {.is_asked = 0};
	const struct weir_client_auth *a;

	if (name->client_auth == WEIR_NONE)
		return out;
	a = snapshot_client_auth(s, name->client_auth);
	if (a->trust.count)
		out.trust = *snapshot_cert(s, a->trust.first);
	out.is_asked = 1;
	out.mode = a->mode;
	out.depth = a->depth;
	out.fields = a->fields;
	return out;
}

static inline bool tls_is_same_client_auth(const struct tls_client_auth *a, const struct tls_client_auth *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/* What was asked when the handshake began. */
const struct tls_client_auth *tls_get_client_auth(const struct tls_session *s);

/* Values of the fields that tell a backend of the client's certificate, in printable ASCII; empty: there is no such field. */
struct tls_client_cert {
	struct slice xfcc, cert, chain; /* X-Forwarded-Client-Cert, Client-Cert, Client-Cert-Chain */
};
/*
 * Of a session that is ready, whose client has a valid certificate, as the name's client_auth.fields say; else NULL. It lives as
 * long as the session.
 */
const struct tls_client_cert *tls_get_client_cert(const struct tls_session *s);

/*
 * As the functions of tcp.h of the same names, for the content of the records. None of them calls back. A session that has
 * failed is at its end, and takes nothing more to send (-EPIPE). Where tcp.h takes a const connection these may decrypt.
 */
struct tcp_conn *tls_tcp(const struct tls_session *s);
size_t tls_readable(struct tls_session *s);
bool tls_is_eof(struct tls_session *s);
struct slice tls_peek(struct tls_session *s);
void tls_consume(struct tls_session *s, size_t n);
struct rte_mbuf *tls_hold(struct tls_session *s, size_t n); /* tcp_release() gives it back */
struct rte_mbuf *tls_recv(struct tls_session *s, size_t max_bytes);
size_t tls_send_room(struct tls_session *s);
int tls_send(struct tls_session *s, const void *data, size_t n);
int tls_send_mbufs(struct tls_session *s, struct rte_mbuf *chain);
size_t tls_unacked(const struct tls_session *s); /* records and what surrounds them; what is gathered counts as it is */
/*
 * Room that was told holds until another session of the worker is sent to: then what this one has gathered is sealed, with heads of its own.
 * What is sent is gathered, so that a head and its body share a record. This seals what there is. Whoever sends on a session calls it before it returns to the
 * worker's loop.
 */
void tls_flush(struct tls_session *s);
/*
 * Goes on with what found no room below, or no memory. True: TCP has all that was sent, or it will never have it, and the end if
 * that was asked for: the session may be freed without loss. Else a WRITABLE comes when it is worth while to try again.
 */
bool tls_is_flushed(struct tls_session *s);
/* Seals what there is, then close_notify, then FIN. */
void tls_shutdown(struct tls_session *s);

#endif
