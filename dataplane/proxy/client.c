/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client connection: one request at a time, pipelined ones wait in its receive queue.
 *
 * What is sent to a TLS client is gathered by its session until that is flushed. Bytes for a client come from its own states, from
 * its timer, from its upstream connection's events and from drains; all but these end in client_pump(), which flushes behind all
 * else: client_on_event(), client_on_timer() in HEAD and BUSY, upstream_on_event() and the tunnel's on_endpoint_event(),
 * client_drain() of one with a request. What does not, client_linger(), closes our side, and that seals what there is
 * before (stream_shutdown()); client_end() resets, or is of a plain stream. Mirrors send nothing to clients.
 *
 * Likewise with what is sent to an endpoint by TLS: it comes from the states BUSY and TUNNEL alone, so client_pump() flushes
 * that, too; of a request that ends within the pump upstream_put() and upstream_discard() do. Mirrors flush what they send themselves.
 */
#include <errno.h>
#include <string.h>

#include "proxy/proxy_pvt.h"

static struct client *take(struct proxy *p)
{
	struct client *c = p->free_clients;

	if (c)
		p->free_clients = c->next;
	else if (p->n_fresh_clients < p->cfg.n_clients)
		c = &p->clients[p->n_fresh_clients++];
	return c;
}

static void put_back(struct proxy *p, struct client *c)
{
	c->next = p->free_clients;
	p->free_clients = c;
}

/* It has just come, or has just done its TLS handshake. */
static void arm_first(struct client *c, uint64_t now_us)
{
	if (c->is_late)
		client_arm(c, now_us + DRAIN_LATE_MS * 1000);
	else if (c->state == CLIENT_HANDSHAKE)
		client_arm(c, now_us + (uint64_t)c->p->cfg.handshake_ms * 1000);
	else if (c->state == CLIENT_IDLE)
		limit_arm_idle(c, now_us);
}

int client_accept(void *ctx, struct tcp_conn *tcp, void **user, uint64_t now_us)
{
	struct listening *l = ctx;
	struct proxy *p = l->p;
	bool is_tls = l->proto == WEIR_PROTO_HTTPS;
	struct tls_session *session = NULL;
	struct client *c = take(p);

	if (!c)
		return -ENOBUFS;
	assert(p->current);
	if (is_tls && !(session = tls_accept(p->cfg.tls, tcp))) {
		put_back(p, c);
		return -ENOBUFS;
	}
	memset(c, 0, sizeof(*c));
	c->p = p;
	c->io = is_tls ? stream_of_tls(session) : stream_of_tcp(tcp);
	c->state = is_tls ? CLIENT_HANDSHAKE : l->proto == WEIR_PROTO_TCP ? CLIENT_BYTES : CLIENT_IDLE;
	c->is_late = p->is_draining;
	c->listening = (uint16_t)(l - p->listening);
	l->n_clients++;
	stat_set(p->stats, WEIR_G_CLIENT_CONNECTIONS, ++p->n_clients);
	/* Its handshake may have begun before a drain: the client believes itself served, and its request may be on the way. */
	arm_first(c, now_us);
	if (c->state == CLIENT_BYTES) /* the endpoint may be the first to speak */
		tcp_wake(tcp);
	*user = c;
	return 0;
}

/* Frees the TLS session, if there is one; the connection stays. Requests are gone by then, since their records tell of it. */
static void end_session(struct client *c)
{
	struct tls_session *s = stream_tls(c->io);

	if (!s)
		return;
	c->io = stream_of_tcp(tls_tcp(s));
	c->is_early = false;
	tls_free(s);
}

/* The object goes back; its TCP connection was dealt with. */
static void release(struct client *c, uint64_t now_us)
{
	struct proxy *p = c->p;

	if (c->state == CLIENT_TUNNEL) /* any other end of it comes by tunnel.c: told, but not counted */
		tunnel_let_go(c, WEIR_R_CLOSE_SHUTDOWN, true, now_us);
	if (c->rq)
		request_free(c->rq, now_us);
	wheel_cancel(p->cfg.wheel, &c->timer);
	p->listening[c->listening].n_clients--;
	end_session(c);
	c->state = CLIENT_FREE;
	c->io = STREAM_NONE;
	put_back(p, c);
	stat_set(p->stats, WEIR_G_CLIENT_CONNECTIONS, --p->n_clients);
	if (p->is_draining && p->n_clients == 0) /* nobody but they would hold it up */
		mirrors_end(p, now_us);
}

void client_end(struct client *c, bool abort, uint64_t now_us)
{
	if (c->state != CLIENT_TUNNEL && c->rq) /* while it can still be said whose it was */
		request_free(c->rq, now_us);
	assert(abort || !client_is_tls(c));
	end_session(c);
	if (abort)
		tcp_abort(stream_tcp(c->io), WEIR_R_CLOSE_ABORTED, now_us);
	else
		tcp_close(stream_tcp(c->io), now_us);
	release(c, now_us);
}

/* Its TLS session ended by an error behind the handshake; an alert says so. */
static bool has_failed(const struct client *c)
{
	const struct tls_session *s = stream_tls(c->io);

	return s && tls_reason(s) != WEIR_N_REASONS;
}

void client_cut(struct client *c, uint64_t now_us)
{
	if (!has_failed(c)) {
		client_end(c, true, now_us);
		return;
	}
	if (c->rq)
		request_free(c->rq, now_us);
	client_linger(c, now_us);
}

bool client_leave(struct client *c, uint64_t now_us)
{
	if (!client_is_tls(c)) {
		client_end(c, false, now_us);
		return false;
	}
	if (c->rq)
		request_free(c->rq, now_us);
	client_linger(c, now_us);
	return true;
}

void client_arm(struct client *c, uint64_t at_us)
{
	at_us = early_bound(c, at_us);
	if (at_us == UINT64_MAX)
		wheel_cancel(c->p->cfg.wheel, &c->timer);
	else
		wheel_arm(c->p->cfg.wheel, &c->timer, c->p->cfg.wheel_kind, at_us);
}

/* Our side is closed, and what still comes is not worth decrypting. False: not all of what was sent has left the session. */
static bool end_if_flushed(struct client *c)
{
	if (client_is_tls(c) && !tls_is_flushed(stream_tls(c->io)))
		return false;
	end_session(c);
	return true;
}

void client_linger(struct client *c, uint64_t now_us)
{
	assert(!c->rq);
	c->state = CLIENT_LINGER;
	c->lingered = 0;
	c->lingering_unacked = 0;
	stream_shutdown(c->io);
	end_if_flushed(c);
	client_arm(c, now_us + LINGER_MS * 1000);
}

/* One has just come, and its event is on the way. */
static bool has_request(struct client *c)
{
	return stream_readable(c->io) && stream_send_room(c->io) >= ANSWER_ROOM;
}

void client_drain(struct client *c, uint64_t now_us)
{
	uint64_t end_us = c->p->tunnels_end_us;

	assert(c->state == CLIENT_IDLE);
	if (has_request(c)) {
		client_pump(c, now_us);
		return;
	}
	client_linger(c, now_us);
	if (now_us + LINGER_MS * 1000 > end_us)
		client_arm(c, end_us > now_us ? end_us : now_us);
}

void client_drain_handshake(struct client *c, uint64_t now_us)
{
	c->is_late = true;
	arm_first(c, now_us);
}

void client_go_on(struct client *c, bool keep, uint32_t idle_ms, uint64_t now_us)
{
	if (!keep || c->p->is_draining) {
		client_linger(c, now_us);
		return;
	}
	c->state = CLIENT_IDLE;
	client_arm(c, limit_after(now_us, idle_ms));
}

void client_on_event(struct tcp_conn *tcp, void *user, unsigned events, uint64_t now_us)
{
	struct client *c = user;

	if (events & TCP_EV_CLOSED) {
		if (c->state == CLIENT_TUNNEL)
			tunnel_on_client_closed(c, now_us);
		else if (c->state == CLIENT_HANDSHAKE)
			stat_reason(c->p->stats, WEIR_R_TLS_CLIENT_GONE);
		else if (c->rq)
			request_client_gone(c->rq);
		release(c, now_us);
		return;
	}
	client_pump(c, now_us);
}

/* -- the states; each returns true if the pump should go on with the next one */

/* All that the client has sent is in its connection still. */
static bool pass_tls(struct client *c, uint64_t now_us)
{
	struct slice name = tls_server_name(stream_tls(c->io));
	char copy[WEIR_LOG_HOST_MAX];

	memcpy(copy, name.p, name.n);
	end_session(c);
	return l4_begin(c, ROUTE_STREAM_PASSED, slice_of(copy, name.n), now_us);
}

static bool pump_handshake(struct client *c, uint64_t now_us)
{
	struct tls_session *s = stream_tls(c->io);

	assert(c->p->current);
	switch (tls_handshake(s, c->p->current, now_us)) {
	case TLS_PASS:
		return pass_tls(c, now_us);
	case TLS_DONE:
		if (tls_is_stream(s))
			return l4_begin(c, ROUTE_STREAM_TERMINATED, tls_server_name(s), now_us);
		c->state = CLIENT_IDLE;
		c->is_late = c->p->is_draining;
		arm_first(c, now_us);
		return true;
	case TLS_EARLY:
		if (early_begin(c, now_us))
			return true;
		/* fall through */
	case TLS_MORE:
		if (!tcp_is_eof(tls_tcp(s)))
			return false;
		tls_fail(s, WEIR_R_TLS_CLIENT_GONE); /* whatever it waits for, no Finished and no request can follow */
		break;
	case TLS_FAILED:
		break;
	}
	client_linger(c, now_us);
	return true;
}

static bool pump_idle(struct client *c, uint64_t now_us)
{
	if (stream_readable(c->io) == 0) {
		if (stream_is_eof(c->io))
			return client_leave(c, now_us);
		if (c->p->is_draining && !c->is_late)
			client_drain(c, now_us);
		return false;
	}
	/* Pipelined requests whose answers the client does not read wait in its receive queue. */
	if (stream_send_room(c->io) < ANSWER_ROOM)
		return false;
	c->rq = tcp_has_memory(c->p->cfg.tcp) ? request_create(c, now_us) : NULL;
	if (!c->rq) {
		reply_busy(c, c->p->free_requests ? WEIR_R_REQ_NO_MEMORY : WEIR_R_REQ_POOL_EMPTY, now_us);
		return c->state == CLIENT_LINGER;
	}
	c->state = CLIENT_HEAD;
	limit_arm_header(c, now_us);
	return true;
}

static void refuse_head(struct client *c, enum http1_outcome o, uint64_t now_us)
{
	struct request *rq = c->rq;
	bool is_large = o == HTTP1_BAD_LINE_TOO_LONG || o == HTTP1_BAD_HEADERS_TOO_LARGE || o == HTTP1_BAD_TOO_MANY_FIELDS;

	rq->keep = false;
	reply_error(rq, is_large ? WEIR_R_REQ_TOO_LARGE : WEIR_R_REQ_BAD, http1_outcome_status(o),
		    slice_str(http1_outcome_name(o)), now_us);
}

static bool pump_head(struct client *c, uint64_t now_us)
{
	struct request *rq = c->rq;
	enum http1_outcome o = HTTP1_DONE;

	if (rq->is_held && c->is_early)
		return false;
	if (!rq->is_held)
		o = request_parse(&rq->parser, c->io, &rq->held, c->p->cfg.stages, &rq->log.request_head_bytes);
	if (o == HTTP1_MORE) {
		if (!stream_is_eof(c->io))
			return false;
		if (http1_has_begun(&rq->parser)) /* cut within its head */
			request_reason(rq, WEIR_R_REQ_CLIENT_GONE);
		return client_leave(c, now_us);
	}
	if (o != HTTP1_DONE) {
		refuse_head(c, o, now_us);
		return true;
	}
	if (!rq->is_held && early_holds(rq))
		return false;
	stat_inc(c->p->stats, WEIR_C_REQUESTS);
	c->state = CLIENT_BUSY;
	request_route(rq, now_us);
	return true;
}

/* The response is complete and given to TCP. */
static void finish(struct client *c, uint64_t now_us)
{
	struct request *rq = c->rq;
	struct proxy *p = c->p;
	bool keep = rq->keep && rq->body_sent && !rq->is_broken && !tunnel_has_early_bytes(rq);
	uint32_t idle_ms = rq->limits.idle_ms;

	if (rq->uc) {
		enum weir_stage former = stage_enter(p->cfg.stages, WEIR_STAGE_UPSTREAM);

		if (rq->body_sent && !rq->is_broken && rq->response.keep_alive && rq->response.body != HTTP_BODY_UNTIL_CLOSE)
			upstream_put(p->cfg.upstream, rq->uc, now_us);
		else
			upstream_discard(p->cfg.upstream, rq->uc, !rq->body_sent, now_us);
		stage_leave(p->cfg.stages, former);
		rq->uc = NULL;
	}
	rq->log.is_whole = true;
	if (keep)
		rq->log.flags |= WEIR_LOG_KEEP_ALIVE_FLAG;
	request_free(rq, now_us);
	client_go_on(c, keep, idle_ms, now_us);
}

static bool pump_busy(struct client *c, uint64_t now_us)
{
	bool has_moved;

	if (c->rq->is_stream)
		return l4_pump(c, now_us);
	has_moved = relay_request(c->rq, now_us);

	if (c->state == CLIENT_BUSY && c->rq)
		has_moved |= relay_response(c->rq, now_us);
	if (c->state != CLIENT_BUSY || !c->rq)
		return c->state != CLIENT_FREE;
	if (c->rq->response_done) {
		finish(c, now_us);
		return true;
	}
	if (has_moved) {
		c->rq->progress_us = now_us;
		return true;
	}
	if (limit_note_received(c->rq))
		c->rq->progress_us = now_us;
	limit_arm_request(c->rq, now_us);
	return false;
}

static bool pump_linger(struct client *c, uint64_t now_us)
{
	size_t n;

	if (!end_if_flushed(c))
		return false;
	while ((n = stream_peek(c->io).n) > 0) {
		c->lingered += (uint32_t)n;
		stream_consume(c->io, n);
	}
	/* More than it may send: but a reset before it has our answer would take that away from it (RFC 9112 9.6). */
	if (stream_is_eof(c->io) || (c->lingered > LINGER_BYTES && stream_unacked(c->io) == 0))
		client_end(c, !stream_is_eof(c->io), now_us);
	return false;
}

static void pump(struct client *c, uint64_t now_us)
{
	bool goes_on = true;

	while (goes_on) {
		switch ((enum client_state)c->state) {
		case CLIENT_HANDSHAKE:
			goes_on = pump_handshake(c, now_us);
			break;
		case CLIENT_BYTES:
			goes_on = l4_begin(c, ROUTE_STREAM_TCP, slice_of("", 0), now_us);
			break;
		case CLIENT_IDLE:
			goes_on = pump_idle(c, now_us);
			break;
		case CLIENT_HEAD:
			goes_on = pump_head(c, now_us);
			break;
		case CLIENT_BUSY:
			goes_on = pump_busy(c, now_us);
			break;
		case CLIENT_TUNNEL:
			tunnel_pump(c, now_us);
			return;
		case CLIENT_LINGER:
			goes_on = pump_linger(c, now_us);
			break;
		case CLIENT_FREE:
			return;
		}
	}
}

static void flush(struct client *c)
{
	size_t unacked = stream_unacked(c->io);

	stream_flush(c->io);
	if (c->state == CLIENT_BUSY && c->rq)
		c->rq->rate_down += stream_unacked(c->io) - unacked; /* what relaying a response gave, it counted itself */
	(void)stream_send_room(c->io); /* who found it short may have done so for what was gathered: only now TCP can tell when there is more */
}

void client_failed(struct client *c, uint64_t now_us)
{
	if (c->state == CLIENT_TUNNEL)
		tunnel_on_client_closed(c, now_us);
	else if (c->rq)
		request_client_gone(c->rq);
	client_cut(c, now_us);
	pump(c, now_us);
}

/* What it sends to, while it does. */
static struct upstream_conn *endpoint_of(const struct client *c)
{
	if (c->state == CLIENT_TUNNEL)
		return c->tunnel->uc;
	return c->state == CLIENT_BUSY && c->rq ? c->rq->uc : NULL;
}

/* True: its TLS has failed by that, and nothing else would tell. */
static bool flush_endpoint(struct client *c)
{
	struct upstream_conn *uc = endpoint_of(c);
	struct stream up;

	if (!uc)
		return false;
	up = upstream_stream(uc);
	if (!stream_tls(up) || !tls_is_ready(stream_tls(up)))
		return false;
	stream_flush(up);
	(void)stream_send_room(up); /* as in flush() */
	return upstream_tls_reason(uc) != WEIR_N_REASONS;
}

void client_pump(struct client *c, uint64_t now_us)
{
	if (c->is_early)
		early_go_on(c, now_us);
	pump(c, now_us);
	if (flush_endpoint(c))
		pump(c, now_us); /* finds it at its end */
	if (!client_is_tls(c) || c->state == CLIENT_LINGER) /* or gone */
		return;
	flush(c);
	if (has_failed(c))
		client_failed(c, now_us);
}

/*
 * Our FIN and a request may cross on the way. If we were gone, that request
 * would be answered by a RST; so the client sees a connection that ended in
 * order before it answered, and can send it again (RFC 9112 9.3.1, 9.6).
 */
void client_end_idle(struct client *c, enum weir_reason why, uint64_t now_us)
{
	if (has_request(c)) {
		client_pump(c, now_us);
		return;
	}
	stat_reason(c->p->stats, why);
	client_linger(c, now_us);
}

void client_on_timer(void *ctx, struct wheel_timer *t, uint64_t now_us)
{
	struct client *c = (struct client *)(void *)t; /* its first field */

	if (early_on_timer(c, now_us))
		return;
	switch ((enum client_state)c->state) {
	case CLIENT_HANDSHAKE:
		tls_fail(stream_tls(c->io), WEIR_R_TLS_HANDSHAKE_TIMEOUT);
		client_linger(c, now_us);
		break;
	case CLIENT_BYTES:
		client_pump(c, now_us);
		break;
	case CLIENT_IDLE:
		client_end_idle(c, WEIR_R_REQ_IDLE_TIMEOUT, now_us);
		break;
	case CLIENT_HEAD:
		c->rq->keep = false;
		reply_error(c->rq, WEIR_R_REQ_HEADER_TIMEOUT, 408, SLICE("the head did not arrive in time"), now_us);
		client_pump(c, now_us);
		break;
	case CLIENT_BUSY:
		if (limit_is_due(c->rq, now_us))
			limit_on_deadline(c->rq, now_us);
		client_pump(c, now_us);
		break;
	case CLIENT_TUNNEL:
		tunnel_on_timer(c, now_us);
		break;
	case CLIENT_LINGER:
		if (stream_unacked(c->io) && stream_unacked(c->io) != c->lingering_unacked) { /* it still reads */
			c->lingering_unacked = (uint32_t)stream_unacked(c->io);
			client_arm(c, limit_after(now_us, c->p->cfg.timeouts.body_ms));
			break;
		}
		client_end(c, client_is_tls(c) || stream_unacked(c->io) > 0, now_us);
		break;
	case CLIENT_FREE:
		assert(!"timer of a free client");
	}
}
