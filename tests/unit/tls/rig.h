/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS end to end in virtual time: OpenSSL as a client over one stack, sessions of tls/ over the other one, the simulated
 * network between. What the server's user does is said by mode. Certificates are made here, at run time.
 */
#ifndef TESTS_TLS_RIG_H
#define TESTS_TLS_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <rte_mbuf.h>

#include "base/hash.h"
#include "eal.h"
#include "route/route.h"
#include "sim.h"
#include "snapshot/snapshot.h"
#include "stats/stats.h"
#include "tls/stream.h"

#ifndef N_CLIENTS
#define N_CLIENTS 4
#endif
#ifndef N_SERVERS
#define N_SERVERS 64u /* connections of which the servers' part is remembered */
#endif
#define N_DATA 2000000u
#define HELLO_BYTES 16384u

static struct sim sim;
static struct tls *tls;
static struct weir_worker_stats *stats;
static struct tls_config tls_config; /* of the next start() */
static struct rte_mempool *tls_pool; /* likewise; NULL: the network's */

/* -- certificates */

enum { CERT_A_EC, CERT_A_RSA, CERT_B_EC, CERT_ANY_EC, CERT_WILD_EC, N_CERTS };
static const char *const cert_names[N_CERTS] = {"a.example", "a.example", "b.example", "any", "wild"};
static struct weir_certificate *blobs[N_CERTS];

static struct weir_cert_id cert_id(unsigned i)
{
	return (struct weir_cert_id){{i + 1, ~(uint64_t)i}};
}

static X509 *make_x509(EVP_PKEY *key, const char *name)
{
	X509 *x = X509_new();

	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -3600);
	X509_gmtime_adj(X509_getm_notAfter(x), 86400);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(x));
	X509_set_pubkey(x, key);
	assert_true(X509_sign(x, key, EVP_sha256()) > 0);
	return x;
}

static struct weir_certificate *make_blob(struct weir_cert_id id, X509 *x, EVP_PKEY *key, const char *staple)
{
	PKCS8_PRIV_KEY_INFO *p8 = EVP_PKEY2PKCS8(key);
	unsigned char *der = NULL, *pkcs8 = NULL;
	int n = i2d_X509(x, &der), k = i2d_PKCS8_PRIV_KEY_INFO(p8, &pkcs8);
	size_t o = staple ? strlen(staple) : 0;
	struct weir_certificate *b = calloc(1, sizeof(*b) + (size_t)(n + k) + o);

	b->id = id;
	b->n_chain = 1;
	b->size = (uint32_t)(sizeof(*b) + (size_t)(n + k) + o);
	b->chain[0] = (struct weir_part){sizeof(*b), (uint32_t)n};
	b->key = (struct weir_part){b->chain[0].off + (uint32_t)n, (uint32_t)k};
	b->ocsp = (struct weir_part){b->key.off + (uint32_t)k, (uint32_t)o};
	memcpy((char *)b + b->chain[0].off, der, (size_t)n);
	memcpy((char *)b + b->key.off, pkcs8, (size_t)k);
	if (o)
		memcpy((char *)b + b->ocsp.off, staple, o);
	OPENSSL_free(der);
	OPENSSL_free(pkcs8);
	PKCS8_PRIV_KEY_INFO_free(p8);
	return b;
}

static inline int make_certificates(void **state)
{
	for (unsigned i = 0; i < N_CERTS; i++) {
		EVP_PKEY *key = i == CERT_A_RSA ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
		X509 *x = make_x509(key, cert_names[i]);

		blobs[i] = make_blob(cert_id(i), x, key, i == CERT_B_EC ? "stapled" : NULL);
		X509_free(x);
		EVP_PKEY_free(key);
	}
	return 0;
}

static int free_certificates(void **state)
{
	for (unsigned i = 0; i < N_CERTS; i++)
		free(blobs[i]);
	return 0;
}

/* -- the snapshot: one bind with a few names */

struct name {
	const char *host;
	enum weir_host_kind kind;
	enum weir_tls_profile profile;
	unsigned certs[WEIR_MAX_CERTS_OF_NAME], n_certs;
};

static const struct name all_names[] = {
	{"a.example", WEIR_HOST_EXACT, WEIR_TLS_INTERMEDIATE, {CERT_A_EC, CERT_A_RSA}, 2},
	{"b.example", WEIR_HOST_EXACT, WEIR_TLS_STRICT, {CERT_B_EC}, 1},
	{"c.example", WEIR_HOST_EXACT, WEIR_TLS_INTERMEDIATE, {CERT_B_EC}, 1},
	{"wild.example", WEIR_HOST_WILDCARD, WEIR_TLS_INTERMEDIATE, {CERT_WILD_EC}, 1},
	{"", WEIR_HOST_ANY, WEIR_TLS_INTERMEDIATE, {CERT_ANY_EC}, 1},
};
#define N_NAMES 5u
#define N_SLOTS 16u

struct test_snapshot {
	struct weir_snapshot head;
	struct weir_bind bind;
	struct weir_server_name names[N_NAMES];
	struct weir_cert_id certs[N_NAMES * WEIR_MAX_CERTS_OF_NAME];
	struct weir_slot slots[N_SLOTS];
	char strings[256];
};
static struct test_snapshot snapshot;

#define PUT_SECTION(s, which, field, n) \
	(s)->head.sect[WEIR_SECT_##which] = (struct weir_section_ref){offsetof(struct test_snapshot, field), (uint32_t)(n)}

static void make_snapshot(const struct name *names, unsigned n)
{
	struct test_snapshot *s = &snapshot;
	uint32_t n_certs = 0, n_text = 0;

	memset(s, 0, sizeof(*s));
	s->head.hash_seed = 4711;
	PUT_SECTION(s, BINDS, bind, 1);
	PUT_SECTION(s, NAMES, names, n);
	PUT_SECTION(s, SLOTS, slots, N_SLOTS);
	PUT_SECTION(s, STRINGS, strings, sizeof(s->strings));
	s->bind = (struct weir_bind){.port = 443, .proto = WEIR_PROTO_HTTPS, .names = {0, n}, .name_slots = {0, N_SLOTS}};
	for (unsigned i = 0; i < n; i++) {
		struct slice host = slice_str(names[i].host);
		uint32_t h = (uint32_t)route_key_hash(s->head.hash_seed, names[i].kind, host);
		uint32_t at = h & (N_SLOTS - 1);

		s->names[i] = (struct weir_server_name){.host = {n_text, (uint32_t)host.n}, .host_kind = (uint8_t)names[i].kind,
							.profile = (uint8_t)names[i].profile, .certs = {n_certs, names[i].n_certs},
							.listener = WEIR_NONE, .client_auth = WEIR_NONE};
		memcpy(s->strings + n_text, host.p, host.n);
		n_text += (uint32_t)host.n;
		for (unsigned k = 0; k < names[i].n_certs; k++)
			s->certs[n_certs++] = cert_id(names[i].certs[k]);
		while (s->slots[at].index_plus1)
			at = (at + 1) & (N_SLOTS - 1);
		s->slots[at] = (struct weir_slot){h, i + 1};
	}
	PUT_SECTION(s, CERTS, certs, n_certs);
}

/* -- main: makes certificates ready */

enum answer { ANSWER_SOON, ANSWER_LATE, ANSWER_NEVER, ANSWER_NULL };
static enum answer answer[N_CERTS];
static unsigned n_wants, n_released, n_made;

static void deliver(void *ctx, uint64_t now)
{
	unsigned i = (unsigned)(uintptr_t)ctx;
	const struct weir_cert_id id = cert_id(i);
	struct tls_certificate *c = NULL;
	char why[100] = "";

	if (answer[i] != ANSWER_NULL) {
		c = tls_certificate_create(tls, blobs[i], why, sizeof(why));
		assert_non_null(c);
		assert_int_equal(tls_certificate_id(c)->v[0], i + 1);
		n_made++;
	}
	tls_take_certificate(tls, &id, c, now);
}

static void on_want(void *ctx, const struct weir_cert_id *id)
{
	unsigned i = (unsigned)id->v[0] - 1;

	n_wants++;
	if (answer[i] != ANSWER_NEVER)
		sim_at(&sim, sim.now_us + (answer[i] == ANSWER_LATE ? 1000000 : 500), deliver, (void *)(uintptr_t)i);
}

static void on_release(void *ctx, struct tls_certificate *cert)
{
	n_released++;
	tls_certificate_destroy(cert);
}

/* -- the server's user */

enum mode {
	MODE_ECHO,   /* peek, send, consume */
	MODE_HOLD,   /* hold, send_mbufs */
	MODE_RECV,   /* recv, send_mbufs */
	MODE_SINK,   /* takes and counts */
	MODE_SOURCE, /* sends N_DATA */
	MODE_DEAF,   /* takes nothing */
	MODE_GREET,  /* says one line and ends its side */
};
static enum mode mode;
static size_t recv_bytes = 5000; /* MODE_RECV */

struct server {
	struct tcp_conn *c;
	struct tls_session *s;
	bool is_done, has_failed, is_eof, is_closed, is_shut, was_ready;
	enum weir_reason reason;
	struct tls_info info;
	char name[256];
	size_t n_in, n_out;
	struct rte_mbuf *held;
};
static struct server servers[N_SERVERS];
static unsigned n_servers;
static char pattern[N_DATA];

static bool mode_step(struct server *v)
{
	struct slice in = tls_peek(v->s);
	size_t room = tls_send_room(v->s);
	struct rte_mbuf *m;
	size_t n;

	assert_true((in.n == 0) == (tls_readable(v->s) == 0));
	assert_true(in.n <= tls_readable(v->s));
	switch (mode) {
	case MODE_ECHO:
		n = in.n < room ? in.n : room;
		if (n == 0)
			return false;
		assert_int_equal(tls_send(v->s, in.p, n), 0);
		tls_consume(v->s, n);
		return true;
	case MODE_HOLD:
		n = in.n < room ? in.n : room;
		n = n > 700 ? 700 : n;
		if (n == 0)
			return false;
		assert_int_equal(tls_send(v->s, in.p, n), 0);
		m = tls_hold(v->s, n);
		assert_non_null(m);
		tcp_release(sim.host[1].tcp, m);
		return true;
	case MODE_RECV:
		n = room < recv_bytes ? room : recv_bytes;
		m = n ? tls_recv(v->s, n) : NULL;
		if (!m)
			return false;
		assert_true(m->pkt_len <= n && rte_mbuf_check(m, 1, NULL) == 0);
		assert_int_equal(tls_send_mbufs(v->s, m), 0);
		return true;
	case MODE_SINK:
		assert_memory_equal(in.p ? in.p : "", pattern + v->n_in, in.n);
		v->n_in += in.n;
		tls_consume(v->s, in.n);
		return in.n;
	case MODE_SOURCE:
		n = N_DATA - v->n_out < room ? N_DATA - v->n_out : room;
		n = n > 20011 ? 20011 : n;
		if (n && tls_send(v->s, pattern + v->n_out, n) == 0) {
			v->n_out += n;
			return true;
		}
		if (v->n_out == N_DATA && !v->is_shut) {
			v->is_shut = true;
			tls_shutdown(v->s);
		}
		if (in.n)
			tls_consume(v->s, in.n);
		return in.n;
	case MODE_GREET:
		if (!v->is_shut) {
			assert_int_equal(tls_send(v->s, "hello", 5), 0);
			tls_shutdown(v->s);
			assert_int_equal(tls_send(v->s, "more", 4), -EPIPE);
			v->is_shut = true;
		}
		if (in.n)
			tls_consume(v->s, in.n);
		return in.n;
	case MODE_DEAF:
		return false;
	}
	return false;
}

static void serve(struct server *v, uint64_t now)
{
	if (!tls_is_ready(v->s) && !v->has_failed) {
		enum tls_outcome o = tls_handshake(v->s, (const struct weir_snapshot *)&snapshot, now);

		snprintf(v->name, sizeof(v->name), "%.*s", (int)tls_server_name(v->s).n, tls_server_name(v->s).p);
		if (o == TLS_MORE) {
			assert_int_equal(tls_readable(v->s), 0);
			assert_int_equal(tls_send_room(v->s), 0);
			return;
		}
		if (o == TLS_DONE) {
			assert_true(tls_is_ready(v->s));
			tls_get_info(v->s, &v->info);
			v->was_ready = true;
		}
	}
	while (mode_step(v))
		;
	tls_flush(v->s);
	v->is_eof = mode != MODE_DEAF && tls_is_eof(v->s);
	v->has_failed = tls_reason(v->s) != WEIR_N_REASONS;
	if (v->has_failed) {
		assert_true(tls_is_eof(v->s));
		assert_int_equal(tls_send(v->s, "x", 1), -EPIPE);
	}
	v->reason = tls_reason(v->s);
	if (v->is_eof && !v->is_shut) {
		tls_shutdown(v->s);
		v->is_shut = true;
	}
}

static void on_server(struct tcp_conn *c, void *user, unsigned events, uint64_t now)
{
	struct server *v = user;

	if (!(events & TCP_EV_CLOSED))
		serve(v, now);
	if (events & TCP_EV_CLOSED || (tcp_is_eof(c) && (v->is_shut || v->has_failed) && tls_unacked(v->s) == 0)) {
		if (!(events & TCP_EV_CLOSED))
			tcp_close(c, now);
		tls_free(v->s);
		v->c = NULL;
		v->s = NULL;
		v->is_closed = true;
	}
}

static int on_accept(void *ctx, struct tcp_conn *c, void **user, uint64_t now)
{
	struct server *v = &servers[n_servers % N_SERVERS];
	struct tls_session *s = tls_accept(tls, c);

	if (!s)
		return -ENOBUFS;
	n_servers++;
	memset(v, 0, sizeof(*v));
	v->c = c;
	v->s = s;
	v->reason = WEIR_N_REASONS;
	*user = v;
	return 0;
}

/* -- the client */

struct client {
	struct tcp_conn *c;
	SSL_CTX *ctx;
	SSL *ssl; /* NULL: it sends raw bytes */
	BIO *in, *out;
	size_t chunk; /* bytes that are sent at one time; 0: all */
	size_t cut_at; /* so many bytes are sent, and then it does cut_how; 0: no such end */
	enum { CUT_CLOSES, CUT_RESETS, CUT_STALLS } cut_how;
	size_t n_written;
	const char *early; /* it sends this as early data; NULL: none */
	size_t n_early;
	size_t (*mangle)(struct client *p, char *bytes, size_t n, size_t max); /* changes what libssl gives, of n bytes; how many it is then */
	bool is_early_sent, keeps_back; /* keeps_back: the client does not go on behind its first flight */
	char first[40000]; /* all that it sent so far, as far as it fits */
	size_t n_first;
	bool is_slow; /* and one chunk a millisecond */
	bool is_done, has_failed, is_closed, is_eof, closes, is_shut, cuts;
	bool is_deaf; /* takes nothing: its window closes */
	int alert; /* that the server sent; -1: none */
	unsigned n_hellos; /* ClientHellos that went by, and the bytes of the last one */
	size_t n_hello;
	unsigned n_records; /* of content, protected, that came; and the largest of the first 20, and of all */
	size_t largest_first, largest;
	unsigned long error;
	char raw[70000];
	size_t n_raw, n_raw_sent;
	size_t n_send, n_sent, n_got; /* of the pattern */
	bool keeps; /* what it gets is kept, not compared */
	char got[70000];
	char pending[70000]; /* of out, and not taken by TCP yet */
	size_t n_pending, n_pending_sent;
};
static struct client clients[N_CLIENTS];
static OSSL_LIB_CTX *client_lib;

static void client_reset(void *ctx, uint64_t now)
{
	struct client *p = ctx;

	if (p->c)
		tcp_abort(p->c, WEIR_R_CLOSE_ABORTED, now);
	p->c = NULL;
	p->is_closed = true;
}

static void client_cut(struct client *p)
{
	if (p->cut_how == CUT_CLOSES)
		tcp_shutdown(p->c);
	else if (p->cut_how == CUT_RESETS)
		sim_at(&sim, sim.now_us + 100000, client_reset, p); /* behind what it sent */
}

static void client_write_out(struct client *p)
{
	if (p->cut_at && p->n_written == p->cut_at)
		return;
	for (;;) {
		size_t n;

		if (p->n_pending == p->n_pending_sent) {
			int k = p->ssl ? BIO_read(p->out, p->pending, sizeof(p->pending)) : 0;

			p->n_pending_sent = p->n_pending = 0;
			if (!p->ssl) {
				k = (int)(p->n_raw - p->n_raw_sent);
				memcpy(p->pending, p->raw + p->n_raw_sent, (size_t)k);
				p->n_raw_sent = p->n_raw;
			}
			if (k <= 0)
				break;
			p->n_pending = p->mangle ? p->mangle(p, p->pending, (size_t)k, sizeof(p->pending)) : (size_t)k;
		}
		n = p->n_pending - p->n_pending_sent;
		if (p->chunk && n > p->chunk)
			n = p->chunk;
		if (n > tcp_send_room(p->c))
			n = tcp_send_room(p->c);
		if (p->cut_at && n > p->cut_at - p->n_written)
			n = p->cut_at - p->n_written;
		if (n == 0 || tcp_send(p->c, p->pending + p->n_pending_sent, n) != 0)
			return;
		if (p->n_first + n <= sizeof(p->first)) {
			memcpy(p->first + p->n_first, p->pending + p->n_pending_sent, n);
			p->n_first += n;
		}
		p->n_pending_sent += n;
		p->n_written += n;
		if (p->n_written == p->cut_at) {
			client_cut(p);
			return;
		}
		if (p->is_slow)
			return;
	}
	if (p->is_shut)
		tcp_shutdown(p->c);
}

static void client_fail(struct client *p)
{
	unsigned long e = ERR_peek_error();

	if (!p->has_failed)
		p->error = e;
	p->has_failed = true;
	ERR_clear_error();
}

static void client_tls(struct client *p)
{
	char buf[20000];
	size_t n;
	int rc;

	ERR_clear_error();
	if (p->early && !p->is_early_sent) {
		assert_int_equal(SSL_write_early_data(p->ssl, p->early, p->n_early, &n), 1);
		p->is_early_sent = true;
	}
	if (p->keeps_back)
		return;
	if (!p->is_done && !p->has_failed) {
		rc = SSL_do_handshake(p->ssl);
		p->is_done = rc == 1;
		if (rc != 1 && SSL_get_error(p->ssl, rc) != SSL_ERROR_WANT_READ)
			client_fail(p);
	}
	while (p->is_done && !p->has_failed && BIO_ctrl_pending(p->out) < 40000 && p->n_sent < p->n_send) {
		n = p->n_send - p->n_sent < 9999 ? p->n_send - p->n_sent : 9999;
		assert_int_equal(SSL_write_ex(p->ssl, pattern + p->n_sent, n, &n), 1);
		p->n_sent += n;
	}
	while (p->is_done && !p->has_failed) {
		rc = SSL_read_ex(p->ssl, buf, sizeof(buf), &n);
		if (rc != 1) {
			int what = SSL_get_error(p->ssl, rc);

			if (what == SSL_ERROR_ZERO_RETURN)
				p->is_eof = true;
			else if (what != SSL_ERROR_WANT_READ)
				client_fail(p);
			break;
		}
		if (p->keeps)
			memcpy(p->got + p->n_got, buf, n);
		else
			assert_memory_equal(buf, pattern + p->n_got, n);
		p->n_got += n;
	}
	if (p->is_done && p->closes && p->n_sent == p->n_send && !p->is_shut) {
		p->is_shut = true;
		if (!p->cuts)
			SSL_shutdown(p->ssl);
	}
}

static void client_pump(struct client *p)
{
	while (!p->is_deaf && tcp_readable(p->c)) {
		struct slice s = tcp_peek(p->c);

		if (p->ssl) {
			assert_int_equal(BIO_write(p->in, s.p, (int)s.n), (int)s.n);
		} else if (p->n_got + s.n <= sizeof(p->got)) {
			memcpy(p->got + p->n_got, s.p, s.n);
			p->n_got += s.n;
		}
		tcp_consume(p->c, s.n);
	}
	do {
		if (p->ssl)
			client_tls(p);
		client_write_out(p);
	} while (p->is_done && !p->has_failed && p->n_sent < p->n_send && p->n_pending_sent == p->n_pending && !p->is_slow);
}

static void client_tick(void *ctx, uint64_t now)
{
	struct client *p = ctx;

	if (!p->c)
		return;
	client_pump(p);
	if (p->is_slow)
		sim_at(&sim, now + 1000, client_tick, p);
}

static void on_client(struct tcp_conn *c, void *user, unsigned events, uint64_t now)
{
	struct client *p = user;

	if (events & TCP_EV_CLOSED) {
		p->c = NULL;
		p->is_closed = true;
		return;
	}
	if (!p->is_slow || !(events & TCP_EV_CONNECTED))
		client_pump(p);
	if (tcp_is_eof(c)) {
		p->c = NULL;
		p->is_closed = true;
		tcp_close(c, now);
	}
}

static void note_record(struct client *p, size_t n)
{
	p->n_records++;
	if (n > p->largest)
		p->largest = n;
	if (p->n_records <= 20 && n > p->largest_first)
		p->largest_first = n;
}

static void on_client_message(int write_p, int version, int type, const void *data, size_t n, SSL *ssl, void *arg)
{
	const uint8_t *b = data;
	struct client *p = arg;

	if (type == SSL3_RT_ALERT && !write_p && n == 2)
		p->alert = b[1];
	if (type == SSL3_RT_HEADER && !write_p && n == 5 && b[0] == SSL3_RT_APPLICATION_DATA)
		note_record(p, (size_t)b[3] << 8 | b[4]);
	if (type != SSL3_RT_HANDSHAKE || b[0] != SSL3_MT_CLIENT_HELLO)
		return;
	p->n_hellos++;
	p->n_hello = n;
}

static struct client *new_client(unsigned i)
{
	struct client *p = &clients[i];

	SSL_free(p->ssl);
	SSL_CTX_free(p->ctx);
	memset(p, 0, sizeof(*p));
	p->alert = -1;
	return p;
}

/* A client that asks for this name (NULL: none), of these versions; connect() begins. */
static inline struct client *tls_client(unsigned i, const char *name, int min, int max)
{
	struct client *p = new_client(i);

	p->ctx = SSL_CTX_new_ex(client_lib, NULL, TLS_client_method());
	assert_non_null(p->ctx);
	SSL_CTX_set_min_proto_version(p->ctx, min);
	SSL_CTX_set_max_proto_version(p->ctx, max);
	SSL_CTX_set_msg_callback(p->ctx, on_client_message);
	SSL_CTX_set_msg_callback_arg(p->ctx, p);
	p->ssl = SSL_new(p->ctx);
	p->in = BIO_new(BIO_s_mem());
	p->out = BIO_new(BIO_s_mem());
	SSL_set_bio(p->ssl, p->in, p->out);
	SSL_set_connect_state(p->ssl);
	if (name)
		SSL_set_tlsext_host_name(p->ssl, name);
	return p;
}

static inline struct client *raw_client(unsigned i, const void *bytes, size_t n)
{
	struct client *p = new_client(i);

	memcpy(p->raw, bytes, n);
	p->n_raw = n;
	return p;
}

static void connect_client(struct client *p)
{
	struct tcp_connect a = {.local = sim.host[0].ip, .remote = sim.host[1].ip, .remote_port = 443, .timeout_ms = 30000,
				.event = on_client, .user = p};
	enum weir_reason why;

	p->c = tcp_connect(sim.host[0].tcp, &a, sim.now_us, &why);
	assert_non_null(p->c);
	if (p->is_slow)
		sim_at(&sim, sim.now_us + 1000, client_tick, p);
}

static bool is_client_through(void *ctx)
{
	struct client *p = ctx;

	return p->is_done || p->has_failed || p->is_closed;
}

static inline bool is_client_closed(void *ctx)
{
	return ((struct client *)ctx)->is_closed;
}

/* Connects, and runs until the handshake has come to its end. */
static inline void handshake(struct client *p)
{
	connect_client(p);
	sim_run(&sim, 20000000, is_client_through, p);
	sim_run(&sim, 100000, NULL, NULL);
}

static inline bool peer_cert_is(struct client *p, unsigned i)
{
	X509 *x = SSL_get1_peer_certificate(p->ssl);
	unsigned char *der = NULL;
	int n = x ? i2d_X509(x, &der) : 0;
	bool same = n > 0 && (uint32_t)n == blobs[i]->chain[0].size &&
		    memcmp(der, (const char *)blobs[i] + blobs[i]->chain[0].off, (size_t)n) == 0;

	OPENSSL_free(der);
	X509_free(x);
	return same;
}

/* -- all of it */

static void start_with(uint64_t seed, const struct tcp_config *outside, const struct tcp_config *inside)
{
	const struct tcp_listen l = {.port = 443, .accept = on_accept, .event = on_server};
	struct tcp_listener *out;

	for (size_t i = 0; i < N_DATA; i++)
		pattern[i] = (char)((i * 2654435761u) >> 13);
	sim_init(&sim, seed, outside, inside);
	stats = &sim.host[1].stats;
	assert_int_equal(tcp_listen(sim.host[1].tcp, &l, &out), 0);
	tls_config = (struct tls_config){.tcp = sim.host[1].tcp, .pool = tls_pool ? tls_pool : sim.pool, .stats = stats,
					 .n_sessions = tls_config.n_sessions ? tls_config.n_sessions : 16,
					 .hello_bytes = HELLO_BYTES, .early_data = tls_config.early_data, .takes_turns = tls_config.takes_turns,
					 .keeps_libssl = getenv("WEIR_TEST_LIBSSL") != NULL, .offload = tls_config.offload, .want = on_want, .release = on_release};
	tls = tls_create(&tls_config);
	assert_non_null(tls);
	make_snapshot(all_names, N_NAMES);
	client_lib = OSSL_LIB_CTX_new();
	memset(answer, 0, sizeof(answer));
	memset(servers, 0, sizeof(servers));
	mode = MODE_ECHO;
	n_servers = n_wants = n_released = n_made = 0;
}

static inline void start(uint64_t seed)
{
	const struct tcp_config c = sim_config();

	start_with(seed, &c, &c);
}

static inline void set_keys(unsigned first, unsigned n)
{
	struct tls_ticket_keys keys = {.n = n};

	for (unsigned i = 0; i < n; i++)
		memset(&keys.key[i], (int)(first + i), sizeof(keys.key[i]));
	tls_set_ticket_keys(tls, &keys);
}

static void end(void)
{
	for (unsigned i = 0; i < N_SERVERS; i++)
		if (servers[i].s) {
			tcp_abort(servers[i].c, WEIR_R_CLOSE_ABORTED, sim.now_us);
			tls_free(servers[i].s);
		}
	for (unsigned i = 0; i < N_CLIENTS; i++)
		new_client(i);
	assert_int_equal(stats->gauge[WEIR_G_TLS_SESSIONS], 0);
	assert_int_equal(stats->gauge[WEIR_G_TLS_HANDSHAKING], 0);
	tls_destroy(tls);
	assert_int_equal(stats->gauge[WEIR_G_TLS_CERTIFICATES], 0);
	assert_int_equal(n_released, n_made);
	OSSL_LIB_CTX_free(client_lib);
	memset(&tls_config, 0, sizeof(tls_config));
	tls_pool = NULL;
	sim_fini(&sim);
}

#endif
