/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a ClientHello to the certificates that its sender is shown. What is refused here has cost no object of
 * OpenSSL. Nothing is taken out of the connection: OpenSSL reads the message once more.
 */
#include "route/route.h"
#include "tls/tls_pvt.h"

/* TLS_DONE: *out is the message. */
static enum tls_outcome read_hello(struct tls_session *s, struct hello *out)
{
	struct tls *t = s->t;
	size_t max = t->cfg.hello_bytes;
	size_t n = tcp_readable(s->tcp);

	if (n < s->hello_wants && n <= max)
		return TLS_MORE;
	if (n > max)
		n = max + 1;
	tcp_copy(s->tcp, 0, t->hello, n);
	switch (hello_read(t->hello, n, max, out)) {
	case HELLO_DONE:
		return TLS_DONE;
	case HELLO_MORE:
		if (n > max)
			return tls_end(s, WEIR_R_TLS_HELLO_TOO_LARGE, ALERT_RECORD_OVERFLOW);
		s->hello_wants = (uint32_t)hello_wants(t->hello, n, max);
		if (s->hello_wants <= n)
			s->hello_wants = (uint32_t)n + 1;
		return TLS_MORE;
	case HELLO_NOT_TLS:
		return tls_end(s, WEIR_R_TLS_NOT_TLS, ALERT_NONE);
	case HELLO_TOO_LARGE:
		return tls_end(s, WEIR_R_TLS_HELLO_TOO_LARGE, ALERT_RECORD_OVERFLOW);
	case HELLO_BAD:
		break;
	}
	return tls_end(s, WEIR_R_TLS_BAD_HELLO, ALERT_DECODE_ERROR);
}

/* False: no memory. The same hello may come here several times. */
static bool keep_name(struct tls_session *s, const struct hello *hello)
{
	if (s->name || hello->n_server_name == 0)
		return true;
	s->name = OPENSSL_memdup(hello->server_name, hello->n_server_name);
	if (s->name)
		s->n_name = hello->n_server_name;
	return s->name;
}

/* The name's certificates that are here go to certs. TLS_MORE: the session waits for another one. */
static enum tls_outcome find_certificates(struct tls_session *s, const struct weir_snapshot *snapshot,
					  const struct weir_server_name *name, struct tls_certificate **certs, unsigned *n)
{
	struct ready *missing = NULL;

	*n = 0;
	for (uint32_t i = 0; i < name->certs.count && *n < WEIR_MAX_CERTS_OF_NAME; i++) {
		struct ready *entry;
		struct tls_certificate *c = ready_find(s->t, snapshot_cert(snapshot, name->certs.first + i), &entry);

		if (c && !c->store)
			certs[(*n)++] = c;
		if (entry)
			missing = entry;
	}
	if (missing) { /* all of them are asked for; with the last one everything is looked up again */
		ready_wait(s, missing);
		return TLS_MORE;
	}
	return *n ? TLS_DONE : tls_end(s, WEIR_R_TLS_NO_CERTIFICATE, ALERT_INTERNAL_ERROR);
}

static bool make_ssl(struct tls_session *s, enum weir_tls_profile profile, struct tls_certificate *const *certs, unsigned n,
		     const struct tls_certificate *trust, bool has_early_data)
{
	SSL_CTX *const *ctx = s->t->ctx;
	BIO *bio = BIO_new(s->t->bio);
	bool by_device = offload_wants(s);

	if (by_device && s->t->device_ctx[profile])
		ctx = s->t->device_ctx;
	s->ssl = SSL_new(ctx[profile]);
	if (!bio || !s->ssl) {
		BIO_free(bio);
		return false;
	}
	BIO_set_data(bio, s);
	SSL_set_bio(s->ssl, bio, bio);
	SSL_set_accept_state(s->ssl);
	if (by_device)
		offload_begin(s);
	for (unsigned i = 0; i < n; i++)
		if (tls_certificate_use(certs[i], s->ssl, by_device) != 0)
			return false;
	return tls_client_auth_use(s, trust) == 0 && tls_ticket_allow(s, profile) == 0 && tls_early_begin(s, has_early_data) == 0;
}

#define NAMES_LOOKED_AT 64u

/*
 * As far as a short look tells, backends end all TLS that comes to this address and port. Then no alert speaks in their place:
 * where nobody is meant the connection is refused, as TLSRouteHostnameIntersection of the Gateway API's suite has it.
 */
static bool is_passed_through(const struct weir_snapshot *s, const struct weir_bind *b)
{
	for (uint32_t i = 0; i < b->names.count && i < NAMES_LOOKED_AT; i++)
		if (snapshot_name(s, b->names.first + i)->mode != WEIR_TLS_PASSTHROUGH)
			return false;
	return b->names.count > 0;
}

static enum tls_outcome refuse_name(struct tls_session *s, const struct weir_snapshot *snapshot, const struct weir_bind *bind)
{
	bool is_through = bind && is_passed_through(snapshot, bind);

	return tls_end(s, WEIR_R_TLS_UNRECOGNIZED_NAME, is_through ? ALERT_NONE : ALERT_UNRECOGNIZED_NAME);
}

enum tls_outcome tls_choose(struct tls_session *s, const struct weir_snapshot *snapshot)
{
	const struct ip_flow *flow = tcp_flow(s->tcp);
	struct tls_certificate *certs[WEIR_MAX_CERTS_OF_NAME], *trust;
	const struct weir_server_name *name = NULL;
	const struct weir_bind *bind = NULL;
	struct ready *missing;
	enum route_miss miss;
	enum tls_outcome o;
	struct hello hello;
	unsigned n;

	o = read_hello(s, &hello);
	if (o != TLS_DONE)
		return o;
	if (!keep_name(s, &hello))
		return tls_end(s, WEIR_R_TLS_NO_MEMORY, ALERT_INTERNAL_ERROR);
	if (snapshot)
		name = route_find_name(snapshot, &flow->local, flow->local_port, tls_server_name(s), &bind, &miss);
	if (!name)
		return refuse_name(s, snapshot, bind);
	s->is_stream = name->listener != WEIR_NONE &&
		       snapshot_listener(snapshot, bind->listeners.first + name->listener)->kind == WEIR_LISTENER_STREAM;
	if (name->mode == WEIR_TLS_PASSTHROUGH)
		return TLS_PASS;
	if (!s->is_stream && hello.has_alpn && !hello.has_http1)
		return tls_end(s, WEIR_R_TLS_NO_APPLICATION_PROTOCOL, ALERT_NO_APPLICATION_PROTOCOL);
	s->auth = tls_client_auth_of(snapshot, name);
	trust = tls_client_auth_find(s, &missing);
	o = find_certificates(s, snapshot, name, certs, &n);
	if (o != TLS_DONE)
		return o;
	if (missing) {
		ready_wait(s, missing);
		return TLS_MORE;
	}
	if (!make_ssl(s, (enum weir_tls_profile)name->profile, certs, n, trust, hello.has_early_data))
		return tls_end(s, WEIR_R_TLS_NO_MEMORY, ALERT_INTERNAL_ERROR);
	return TLS_DONE;
}
