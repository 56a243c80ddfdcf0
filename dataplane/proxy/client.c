/* SPDX-License-Identifier: Apache-2.0 */
/* A client connection: one request at a time, pipelined ones wait in its receive queue. */
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

int client_accept(void *ctx, struct tcp_conn *tcp, void **user, uint64_t now_us)
{
	struct listening *l = ctx;
	struct proxy *p = l->p;
	struct client *c = take(p);

	if (!c)
		return -ENOBUFS;
	memset(c, 0, sizeof(*c));
	c->p = p;
	c->tcp = tcp;
	c->state = CLIENT_IDLE;
	c->listening = (uint16_t)(l - p->listening);
	l->n_clients++;
	stat_set(p->stats, WEIR_G_CLIENT_CONNECTIONS, ++p->n_clients);
	/* Its handshake may have begun before a drain: the client believes itself served, and its request may be on the way. */
	if (p->is_draining)
		client_arm(c, now_us + DRAIN_LATE_MS * 1000);
	else
		limit_arm_idle(c, now_us);
	*user = c;
	return 0;
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
	c->state = CLIENT_FREE;
	c->tcp = NULL;
	c->next = p->free_clients;
	p->free_clients = c;
	stat_set(p->stats, WEIR_G_CLIENT_CONNECTIONS, --p->n_clients);
	if (p->is_draining && p->n_clients == 0) /* nobody but they would hold it up */
		mirrors_end(p, now_us);
}

void client_end(struct client *c, bool abort, uint64_t now_us)
{
	if (c->state != CLIENT_TUNNEL && c->rq) /* while it can still be said whose it was */
		request_free(c->rq, now_us);
	if (abort)
		tcp_abort(c->tcp, WEIR_R_CLOSE_ABORTED, now_us);
	else
		tcp_close(c->tcp, now_us);
	release(c, now_us);
}

void client_arm(struct client *c, uint64_t at_us)
{
	if (at_us == UINT64_MAX)
		wheel_cancel(c->p->cfg.wheel, &c->timer);
	else
		wheel_arm(c->p->cfg.wheel, &c->timer, c->p->cfg.wheel_kind, at_us);
}

void client_linger(struct client *c, uint64_t now_us)
{
	assert(!c->rq);
	c->state = CLIENT_LINGER;
	c->lingered = 0;
	c->lingering_unacked = 0;
	tcp_shutdown(c->tcp);
	client_arm(c, now_us + LINGER_MS * 1000);
}

/* One has just come, and its event is on the way. */
static bool has_request(struct client *c)
{
	return tcp_readable(c->tcp) && tcp_send_room(c->tcp) >= ANSWER_ROOM;
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
		else if (c->rq)
			request_reason(c->rq, WEIR_R_REQ_CLIENT_GONE);
		release(c, now_us);
		return;
	}
	client_pump(c, now_us);
}

/* -- the states; each returns true if the pump should go on with the next one */

static bool pump_idle(struct client *c, uint64_t now_us)
{
	if (tcp_readable(c->tcp) == 0) {
		if (tcp_is_eof(c->tcp))
			client_end(c, false, now_us);
		else if (c->p->is_draining)
			client_drain(c, now_us);
		return false;
	}
	/* Pipelined requests whose answers the client does not read wait in its receive queue. */
	if (tcp_send_room(c->tcp) < ANSWER_ROOM)
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
	enum http1_outcome o = request_parse(&rq->parser, c->tcp, &rq->held, c->p->cfg.stages, &rq->log.request_head_bytes);

	if (o == HTTP1_MORE) {
		if (!tcp_is_eof(c->tcp))
			return false;
		if (http1_has_begun(&rq->parser)) /* cut within its head */
			request_reason(rq, WEIR_R_REQ_CLIENT_GONE);
		client_end(c, false, now_us);
		return false;
	}
	if (o != HTTP1_DONE) {
		refuse_head(c, o, now_us);
		return true;
	}
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
	bool has_moved = relay_request(c->rq, now_us);

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
	limit_arm_request(c->rq, now_us);
	return false;
}

static bool pump_linger(struct client *c, uint64_t now_us)
{
	size_t n;

	while ((n = tcp_peek(c->tcp).n) > 0) {
		c->lingered += (uint32_t)n;
		tcp_consume(c->tcp, n);
	}
	/* More than it may send: but a reset before it has our answer would take that away from it (RFC 9112 9.6). */
	if (tcp_is_eof(c->tcp) || (c->lingered > LINGER_BYTES && tcp_unacked(c->tcp) == 0))
		client_end(c, !tcp_is_eof(c->tcp), now_us);
	return false;
}

void client_pump(struct client *c, uint64_t now_us)
{
	bool goes_on = true;

	while (goes_on) {
		switch ((enum client_state)c->state) {
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

/*
 * Our FIN and a request may cross on the way. If we were gone, that request
 * would be answered by a RST; so the client sees a connection that ended in
 * order before it answered, and can send it again (RFC 9112 9.3.1, 9.6).
 */
static void on_idle(struct client *c, uint64_t now_us)
{
	if (has_request(c)) {
		client_pump(c, now_us);
		return;
	}
	stat_reason(c->p->stats, WEIR_R_REQ_IDLE_TIMEOUT);
	client_linger(c, now_us);
}

void client_on_timer(void *ctx, struct wheel_timer *t, uint64_t now_us)
{
	struct client *c = (struct client *)(void *)t; /* its first field */

	switch ((enum client_state)c->state) {
	case CLIENT_IDLE:
		on_idle(c, now_us);
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
		if (tcp_unacked(c->tcp) && tcp_unacked(c->tcp) != c->lingering_unacked) { /* it still reads */
			c->lingering_unacked = (uint32_t)tcp_unacked(c->tcp);
			client_arm(c, limit_after(now_us, c->p->cfg.timeouts.body_ms));
			break;
		}
		client_end(c, tcp_unacked(c->tcp) > 0, now_us);
		break;
	case CLIENT_FREE:
		assert(!"timer of a free client");
	}
}
