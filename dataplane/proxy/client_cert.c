/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates of clients: whether this connection's client was asked for what the request's host asks for, and what a
 * backend is told. Without the first a client would get at a host that wants certificates by the name of one that does not, and
 * one whose certificate was revoked would be served for as long as it keeps its connection.
 */
#include "proxy/proxy_pvt.h"

bool client_cert_is_other(struct request *rq, const struct weir_snapshot *s, const struct weir_server_name *name)
{
	const struct ip_flow *flow = tcp_flow(stream_tcp(rq->client->io));
	const struct tls_client_auth *was = tls_get_client_auth(stream_tls(rq->client->io));
	const struct weir_server_name *other;
	const struct weir_bind *bind;
	struct tls_client_auth now, of_host;
	enum route_miss miss;

	if (!was->is_asked && snapshot_count(s, CLIENT_AUTHS) == 0)
		return false;
	now = tls_client_auth_of(s, name);
	if (!tls_is_same_client_auth(&now, was)) { /* the next connection will be asked for what counts now */
		rq->keep = false;
		return true;
	}
	other = route_find_name(s, &flow->local, flow->local_port, rq->head.host, &bind, &miss);
	if (!other || other == name)
		return false;
	of_host = tls_client_auth_of(s, other);
	return !tls_is_same_client_auth(&of_host, &now);
}

/* -- connections that are there when a snapshot comes */

#define COST_LOOK 4 /* in the units of a budget (upstream.h): its session, and the name in the snapshot */
#define COST_CLOSE 16

void client_certs_begin(struct proxy *p, const struct weir_snapshot *old)
{
	bool any = snapshot_count(p->current, CLIENT_AUTHS) > 0 || (old && snapshot_count(old, CLIENT_AUTHS) > 0);

	if (any || p->auth_at < p->auth_end) /* or one more snapshot ago */
		p->auth_end = p->n_fresh_clients;
	else
		p->auth_end = 0;
	p->auth_at = 0;
}

/* What the name of its connection asks of clients is not what this one was asked. */
static bool has_changed(const struct client *c)
{
	const struct weir_snapshot *s = c->p->current;
	const struct tls_session *session = stream_tls(c->io);
	const struct ip_flow *flow = tcp_flow(tls_tcp(session));
	struct tls_client_auth now = {.is_asked = 0};
	const struct weir_server_name *name;
	const struct weir_bind *bind;
	enum route_miss miss;

	name = route_find_name(s, &flow->local, flow->local_port, tls_server_name(session), &bind, &miss);
	if (name)
		now = tls_client_auth_of(s, name);
	return !tls_is_same_client_auth(&now, tls_get_client_auth(session));
}

bool client_certs_step(struct proxy *p, int *budget, uint64_t now_us)
{
	for (; p->auth_at < p->auth_end; p->auth_at++) {
		struct client *c = &p->clients[p->auth_at];

		if (*budget <= 0)
			return false;
		*budget -= 1;
		if (!client_is_tls(c) || (c->state != CLIENT_IDLE && c->state != CLIENT_BUSY))
			continue;
		*budget -= COST_LOOK;
		if (!has_changed(c))
			continue;
		if (c->state == CLIENT_BUSY) {
			c->rq->keep = false;
		} else {
			*budget -= COST_CLOSE;
			client_end_idle(c, WEIR_R_TLS_CLIENT_AUTH_CHANGED, now_us);
		}
	}
	return true;
}

/* -- fields of a trusted hop */

static bool is_base64(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/' || c == '=';
}

/* Behind ":base64:" that begins at i, or 0. */
static size_t skip_bytes(struct slice s, size_t i)
{
	size_t from = i + 1;

	if (i >= s.n || s.p[i] != ':')
		return 0;
	for (i++; i < s.n && is_base64(s.p[i]); i++)
		;
	return i > from && i < s.n && s.p[i] == ':' ? i + 1 : 0;
}

bool client_cert_is_field(struct slice value)
{
	return value.n && skip_bytes(value, 0) == value.n;
}

bool client_cert_is_chain(struct slice value)
{
	size_t i = 0;

	for (;;) {
		i = skip_bytes(value, i);
		if (i == 0 || i == value.n)
			return i != 0;
		while (i < value.n && (value.p[i] == ' ' || value.p[i] == '\t'))
			i++;
		if (i >= value.n || value.p[i++] != ',')
			return false;
		while (i < value.n && (value.p[i] == ' ' || value.p[i] == '\t'))
			i++;
	}
}

bool client_cert_is_xfcc(struct slice value)
{
	bool is_quoted = false;

	for (size_t i = 0; i < value.n; i++) {
		if (value.p[i] == '"')
			is_quoted = !is_quoted;
		else if (is_quoted && value.p[i] == '\\')
			i++;
	}
	return !is_quoted;
}

void client_cert_fill(const struct request *rq, struct http1_forward *f)
{
	const struct tls_session *s = stream_tls(rq->client->io);
	const struct tls_client_cert *own = s ? tls_get_client_cert(s) : NULL;

	if (own) {
		f->xfcc = own->xfcc;
		f->client_cert = own->cert;
		f->client_cert_chain = own->chain;
	}
	f->keep_xfcc = rq->believed & http_field_bit(HTTP_FIELD_X_FORWARDED_CLIENT_CERT);
	if (!(rq->believed & http_field_bit(HTTP_FIELD_CLIENT_CERT)))
		return;
	/* A hop has one certificate to tell of: that of whoever came to it. The chain is of that, or there is none. */
	f->client_cert = http_head_get(&rq->head, HTTP_FIELD_CLIENT_CERT)->value;
	f->client_cert_chain = slice_of("", 0);
	if (rq->believed & http_field_bit(HTTP_FIELD_CLIENT_CERT_CHAIN))
		f->client_cert_chain = http_head_get(&rq->head, HTTP_FIELD_CLIENT_CERT_CHAIN)->value;
}
