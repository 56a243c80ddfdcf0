/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tunnels: what a client's connection and an endpoint's become when the
 * endpoint answers an Upgrade by 101 (RFC 9110 7.8; WebSocket, RFC 6455), or from the beginning where only bytes are carried (l4.c). The
 * request is gone then; what is left is small, since thousands that say
 * nothing are the normal case. Bytes go from one to the other as bodies do, no
 * more than there is room for, and are not looked at. The end of one side is
 * passed on, and so is a reset. The client's timer is the tunnel's.
 */
#include <rte_mbuf.h>

#include "proxy/proxy_pvt.h"

bool tunnel_reserve(struct request *rq)
{
	struct proxy *p = rq->client->p;
	struct tunnel *t = p->free_tunnels;

	if (t)
		p->free_tunnels = t->next;
	else if (p->n_fresh_tunnels < p->cfg.n_tunnels)
		t = &p->tunnels[p->n_fresh_tunnels++];
	rq->tunnel = t;
	return t != NULL;
}

void tunnel_put_back(struct proxy *p, struct tunnel *t)
{
	t->next = p->free_tunnels;
	p->free_tunnels = t;
}

bool tunnel_has_early_bytes(const struct request *rq)
{
	return rq->head.has_upgrade && rq->body_sent && stream_readable(rq->client->io);
}

/* -- its end */

void tunnel_let_go(struct client *c, enum weir_reason why, bool abort, uint64_t now_us)
{
	struct proxy *p = c->p;
	struct tunnel *t = c->tunnel;

	record_tunnel_end(p, t, why, abort, now_us);
	upstream_discard(p->cfg.upstream, t->uc, abort, now_us);
	tunnel_put_back(p, t);
	c->tunnel = NULL;
	c->state = CLIENT_IDLE; /* for a moment: whoever calls this ends the client */
	p->n_tunnels--;
	proxy_count_relays(p);
}

static void cut(struct client *c, enum weir_reason why, uint64_t now_us)
{
	stat_reason(c->p->stats, why);
	tunnel_let_go(c, why, true, now_us);
	client_cut(c, now_us);
}

/* Both sides get their FIN behind what is on its way to them. */
static void close_both(struct client *c, enum weir_reason why, uint64_t now_us)
{
	stat_reason(c->p->stats, why);
	tunnel_let_go(c, why, false, now_us);
	client_linger(c, now_us);
}

void tunnel_on_client_closed(struct client *c, uint64_t now_us)
{
	stat_reason(c->p->stats, WEIR_R_TUNNEL_CLIENT_GONE);
	tunnel_let_go(c, WEIR_R_TUNNEL_CLIENT_GONE, true, now_us);
}

/* -- time */

static uint64_t deadline(const struct tunnel *t)
{
	uint64_t idle_at = limit_after(t->active_us, t->idle_ms);
	uint64_t life_at = limit_after(t->start_us, t->life_ms);

	return idle_at < life_at ? idle_at : life_at;
}

void tunnel_on_timer(struct client *c, uint64_t now_us)
{
	const struct tunnel *t = c->tunnel;

	if (c->p->closes_tunnels)
		close_both(c, WEIR_R_TUNNEL_DRAINED, now_us);
	else if (limit_after(t->start_us, t->life_ms) <= now_us)
		close_both(c, WEIR_R_TUNNEL_LIFE, now_us);
	else if (deadline(t) <= now_us)
		close_both(c, WEIR_R_TUNNEL_IDLE, now_us);
	else
		client_arm(c, deadline(t)); /* bytes have gone since it was armed */
}

/* -- bytes */

/* n bytes in one piece at the head of what can be read; there is room for them. */
static bool pass_piece(struct stream from, struct stream to, size_t n)
{
	struct rte_mbuf *m;

	if (n <= SMALL_RUN && stream_send(to, stream_peek(from).p, n) == 0) {
		stream_consume(from, n);
		return true;
	}
	m = stream_recv(from, n);
	if (m)
		return stream_send_mbufs(to, m) == 0;
	if (stream_send(to, stream_peek(from).p, n) != 0)
		return false;
	stream_consume(from, n);
	return true;
}

/* All there is, as far as there is room: then the receiver's window closes the sender's. */
static bool pass(struct stream from, struct stream to, uint64_t *bytes)
{
	for (;;) {
		size_t n = stream_peek(from).n;
		size_t room = n ? stream_send_room(to) : 0;

		if (n > room)
			n = room;
		if (n == 0)
			return true;
		if (!pass_piece(from, to, n))
			return false;
		*bytes += n;
	}
}

/* Its sender has ended: so does what goes to the other side. */
static void pass_end(struct tunnel *t, struct stream from, struct stream to, bool *is_done, uint64_t now_us)
{
	if (*is_done || !stream_is_eof(from))
		return;
	stream_shutdown(to);
	*is_done = true;
	t->active_us = now_us;
}

void tunnel_pump(struct client *c, uint64_t now_us)
{
	struct tunnel *t = c->tunnel;
	struct stream up = upstream_stream(t->uc);
	uint64_t n_up = 0;
	uint64_t n_down = 0;
	bool is_right = pass(c->io, up, &n_up) && pass(up, c->io, &n_down);

	stat_add(c->p->stats, t->is_stream ? WEIR_C_STREAM_BYTES_UP : WEIR_C_TUNNEL_BYTES_UP, n_up);
	stat_add(c->p->stats, t->is_stream ? WEIR_C_STREAM_BYTES_DOWN : WEIR_C_TUNNEL_BYTES_DOWN, n_down);
	t->bytes_up += n_up;
	t->bytes_down += n_down;
	if (n_up || n_down)
		t->active_us = now_us;
	if (!is_right) {
		cut(c, WEIR_R_TUNNEL_NO_MEMORY, now_us);
		return;
	}
	pass_end(t, c->io, up, &t->is_client_done, now_us);
	pass_end(t, up, c->io, &t->is_endpoint_done, now_us);
	if (t->is_client_done && t->is_endpoint_done) {
		tunnel_let_go(c, WEIR_N_REASONS, false, now_us);
		client_leave(c, now_us);
	}
}

static void on_endpoint_event(struct upstream_conn *uc, void *user, unsigned events, uint64_t now_us)
{
	struct tunnel *t = user;

	assert(t->uc == uc);
	if (!upstream_tcp(uc))
		cut(t->client, WEIR_R_TUNNEL_ENDPOINT_GONE, now_us);
	else
		client_pump(t->client, now_us);
}

/* -- its beginning */

void tunnel_open(struct request *rq, uint64_t now_us)
{
	struct client *c = rq->client;
	struct proxy *p = c->p;
	struct tunnel *t = rq->tunnel;

	*t = (struct tunnel){
		.client = c,
		.uc = rq->uc,
		.start_us = now_us,
		.active_us = now_us,
		.idle_ms = rq->limits.tunnel_idle_ms,
		.life_ms = rq->limits.tunnel_life_ms,
		.is_stream = rq->is_stream,
	};
	tcp_set_tunnel(stream_tcp(c->io));
	tcp_set_tunnel(upstream_tcp(t->uc));
	upstream_hand_over(t->uc, on_endpoint_event, t);
	rq->uc = NULL;
	rq->tunnel = NULL;
	if (!t->is_stream) {
		rq->log.status = 101;
		rq->log.flags |= WEIR_LOG_UPGRADED_FLAG;
	}
	rq->log.is_whole = true;
	record_tunnel_open(rq, t, now_us);
	request_free(rq, now_us);
	c->state = CLIENT_TUNNEL;
	c->tunnel = t;
	stat_inc(p->stats, t->is_stream ? WEIR_C_STREAMS : WEIR_C_TUNNELS);
	p->n_tunnels++;
	proxy_count_relays(p);
	client_arm(c, p->closes_tunnels ? now_us : deadline(t));
}
