/* SPDX-License-Identifier: Apache-2.0 */
/* Clients of TLS: each connection is a handshake and what the phase asks for behind it; when it has ended, the next one begins. */
#include "tlsload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>

enum client_state { C_NONE, C_CONNECTING, C_HANDSHAKE, C_TICKET, C_ANSWER, C_ENDING };

struct client {
	struct watched w;
	enum client_state state;
	uint32_t events;
	unsigned n_answers;
	SSL *ssl;
	struct response r;
};

static struct client clients[MAX_CLIENTS];
static struct load *load;

/* Of the phase that is over a session is kept by nobody: the first one of a phase is for all of it. */
static int on_session(SSL *s, SSL_SESSION *session)
{
	if (load->session)
		return 0;
	load->session = session;
	return 1;
}

static SSL_CTX *make_context(struct load *l, int version)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	if (!ctx || !SSL_CTX_set_min_proto_version(ctx, version) || !SSL_CTX_set_max_proto_version(ctx, version) ||
	    !SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384") || !SSL_CTX_set_ciphersuites(ctx, l->ciphers) ||
	    !SSL_CTX_set_cipher_list(ctx, "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256") ||
	    !SSL_CTX_set1_sigalgs_list(ctx, "ECDSA+SHA256:RSA-PSS+SHA256:RSA+SHA256:ECDSA+SHA384:RSA-PSS+SHA384:RSA+SHA384:"
					    "RSA-PSS+SHA512:RSA+SHA512")) {
		ERR_print_errors_fp(stderr);
		return NULL;
	}
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(ctx, on_session);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_RELEASE_BUFFERS);
	return ctx;
}

int client_init(struct load *l)
{
	load = l;
	l->tls[0] = make_context(l, TLS1_2_VERSION);
	l->tls[1] = make_context(l, TLS1_3_VERSION);
	return l->tls[0] && l->tls[1] ? 0 : -1;
}

static void forget(struct client *c)
{
	if (c->ssl)
		SSL_free(c->ssl);
	close(c->w.fd);
	memset(c, 0, sizeof(*c));
}

static void fail(struct client *c, const char *what)
{
	char text[200];
	unsigned long e = ERR_peek_error();

	snprintf(text, sizeof(text), "%s: %s", what, e ? ERR_reason_error_string(e) : strerror(errno));
	note_error(load, text);
	ERR_clear_error();
	forget(c);
}

static void want(struct client *c, uint32_t events)
{
	if (c->events == events)
		return;
	c->events = events;
	rewatch(load, &c->w, events);
}

/* In order: close_notify and FIN; what the server still sends, tickets among it, is read until its own end. */
static void end(struct client *c)
{
	SSL_shutdown(c->ssl);
	shutdown(c->w.fd, SHUT_WR);
	c->state = C_ENDING;
	want(c, EPOLLIN);
}

static void ask(struct client *c)
{
	char text[256];
	int n = snprintf(text, sizeof(text), "GET /%u HTTP/1.1\r\nHost: %s\r\n\r\n", load->work.size, load->host);

	memset(&c->r, 0, sizeof(c->r));
	c->state = C_ANSWER;
	if (SSL_write(c->ssl, text, n) != n)
		fail(c, "a request could not be written");
	else
		want(c, EPOLLIN);
}

/* False: there is no connection any more. */
static bool after_answer(struct client *c)
{
	load->counts.responses++;
	c->n_answers++;
	if (!load->is_running || (!load->work.is_kept && c->n_answers >= load->work.requests))
		end(c);
	else
		ask(c);
	return c->state != C_NONE;
}

static void take(struct client *c)
{
	static char buf[IO_BYTES];

	for (;;) {
		size_t n = 0;
		int rc = SSL_read_ex(c->ssl, buf, sizeof(buf), &n);

		if (rc != 1) {
			if (SSL_get_error(c->ssl, rc) == SSL_ERROR_WANT_READ) {
				if (c->state == C_TICKET && load->session)
					end(c);
				return;
			}
			if (c->state == C_ENDING)
				forget(c);
			else
				fail(c, "the connection ended");
			return;
		}
		if (c->state == C_ENDING)
			continue; /* HAProxy tells whoever sent no request that it was a bad one */
		if (c->state != C_ANSWER) {
			fail(c, "an answer that nobody asked for");
			return;
		}
		load->counts.reads++;
		rc = response_take(&c->r, buf, n, &load->counts.body_bytes);
		if (rc < 0) {
			fail(c, "no answer that was wanted");
			return;
		}
		if (rc == 1 && !after_answer(c))
			return;
	}
}

static void after_handshake(struct client *c)
{
	load->counts.handshakes++;
	load->counts.resumed += SSL_session_reused(c->ssl) ? 1 : 0;
	if (load->work.requests || load->work.is_kept) {
		ask(c);
		return;
	}
	if (load->work.is_resumed && !load->session) {
		c->state = C_TICKET; /* which libssl reads only before the end was said */
		want(c, EPOLLIN);
	} else {
		end(c);
	}
	take(c);
}

static void shake(struct client *c)
{
	int rc = SSL_connect(c->ssl);

	if (rc == 1) {
		after_handshake(c);
		return;
	}
	switch (SSL_get_error(c->ssl, rc)) {
	case SSL_ERROR_WANT_READ:
		want(c, EPOLLIN);
		break;
	case SSL_ERROR_WANT_WRITE:
		want(c, EPOLLOUT);
		break;
	default:
		fail(c, "handshake");
	}
}

static void ready(struct watched *w, uint32_t events)
{
	struct client *c = (struct client *)w;

	ERR_clear_error();
	errno = 0;
	if (c->state == C_CONNECTING) {
		int e = 0;

		getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &e, &(socklen_t){sizeof(e)});
		errno = e;
		if (e) {
			fail(c, "connect");
			return;
		}
		c->state = C_HANDSHAKE;
	}
	if (c->state == C_HANDSHAKE)
		shake(c);
	else
		take(c);
}

/* A copy: of TLS 1.3 a session that was used is none any more. */
static bool use_session(SSL *s, SSL_SESSION *session)
{
	SSL_SESSION *copy = SSL_SESSION_dup(session);
	bool is_ok = copy && SSL_set_session(s, copy) == 1;

	SSL_SESSION_free(copy);
	return is_ok;
}

static void begin_one(struct client *c)
{
	struct load *l = load;

	*c = (struct client){.w = {ready, connect_to(l, l->work.port)}, .state = C_CONNECTING, .events = EPOLLOUT};
	if (c->w.fd < 0) {
		memset(c, 0, sizeof(*c));
		return;
	}
	c->ssl = SSL_new(l->tls[l->work.version == TLS1_3_VERSION]);
	if (!c->ssl || !SSL_set_fd(c->ssl, c->w.fd) || !SSL_set_tlsext_host_name(c->ssl, l->host) ||
	    (l->work.is_resumed && l->session && !use_session(c->ssl, l->session)) || watch(l, &c->w, EPOLLOUT)) {
		fail(c, "a session");
		return;
	}
}

void client_begin(struct load *l)
{
	SSL_SESSION_free(l->session);
	l->session = NULL;
	l->next_at = now_s();
}

/* Of those that are resumed the first one goes ahead alone. */
static unsigned wanted(const struct load *l)
{
	return l->work.is_resumed && !l->session && l->work.connections ? 1 : l->work.connections;
}

/* Where all connections are busy at the time that one was due, that one is left out. */
static void skip_time(struct load *l)
{
	double now = now_s();

	if (l->work.rate > 0 && l->next_at < now)
		l->next_at = now + 1 / l->work.rate;
}

void client_step(struct load *l)
{
	if (!l->is_running)
		return;
	for (unsigned i = 0; i < wanted(l); i++) {
		if (clients[i].state != C_NONE)
			continue;
		if (l->work.rate > 0) {
			if (now_s() < l->next_at)
				return;
			l->next_at += 1 / l->work.rate;
		}
		begin_one(&clients[i]);
	}
	skip_time(l);
}

void client_end(struct load *l)
{
	for (unsigned i = 0; i < MAX_CLIENTS; i++)
		if (clients[i].state != C_NONE)
			forget(&clients[i]);
}
