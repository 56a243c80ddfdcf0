/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heads and bodies from one connection to the other. Never more is taken from
 * one side than the other has room for: so the slower one's window closes the
 * faster one's, and memory is bounded by windows.
 */
#include <rte_mbuf.h>

#include "proxy/proxy_pvt.h"

/* -- bodies */

enum relayed {
	RELAYED_NOTHING,
	RELAYED_SOME,
	RELAYED_ALL,	/* the body has ended and all of it was given on */
	RELAYED_BAD,	/* its framing is wrong */
	RELAYED_FAILED, /* the receiving side does not take it */
};

/* A body on its way. */
struct flow {
	struct proxy *p;
	struct stream from, to;
	struct request *mirrored; /* whose mirrors get the same; NULL: nobody does */
	uint64_t now_us;
	bool chunked;
};

static bool send_bytes(const struct flow *w, const void *data, size_t n)
{
	if (stream_send(w->to, data, n) != 0)
		return false;
	if (w->mirrored)
		mirrors_copy(w->mirrored, data, n, w->now_us);
	return true;
}

/* n payload bytes from the head of from's queue; they lie in one piece. Room was checked. */
static bool pass_on(const struct flow *w, size_t n)
{
	if (n > SMALL_RUN) {
		struct rte_mbuf *m = stream_recv(w->from, n);

		if (m && w->mirrored)
			mirrors_share(w->mirrored, m, w->now_us);
		if (m)
			return m->pkt_len == n && stream_send_mbufs(w->to, m) == 0;
	}
	if (!send_bytes(w, stream_peek(w->from).p, n))
		return false;
	stream_consume(w->from, n);
	return true;
}

static bool pass_run(const struct flow *w, size_t n)
{
	char mem[CHUNK_ROOM];
	struct buf b;

	if (!w->chunked)
		return pass_on(w, n);
	buf_init(&b, mem, sizeof(mem));
	http1_write_chunk_size(&b, n);
	return send_bytes(w, b.p, b.n) && pass_on(w, n) && send_bytes(w, "\r\n", 2);
}

/* What ends a chunked body, once there is room for its trailers; so_far: what was relayed before that. */
static enum relayed end_body(const struct http1_body *body, const struct flow *w, enum relayed so_far)
{
	struct slice trailers = http1_body_trailers(body);
	struct buf b;

	if (stream_send_room(w->to) < trailers.n + LAST_CHUNK)
		return so_far;
	buf_init(&b, w->p->scratch, w->p->scratch_size);
	buf_str(&b, "0\r\n");
	buf_slice(&b, trailers);
	buf_str(&b, "\r\n");
	return send_bytes(w, b.p, b.n) ? RELAYED_ALL : RELAYED_FAILED;
}

/*
 * Payload that to takes now, with its framing. What mirrors are given by TLS in between has whatever was gathered for to
 * sealed (tls/write.c): in more and smaller records than its room reckons with, so that is sealed before, and has room for more heads.
 */
static size_t room_of(const struct flow *w)
{
	size_t reserve = CHUNK_ROOM;
	size_t room;

	if (w->mirrored && stream_tls(w->to)) {
		stream_flush(w->to);
		reserve += RECORDS_ROOM;
	}
	room = stream_send_room(w->to);
	if (room > reserve)
		return room - reserve;
	if (reserve > CHUNK_ROOM)
		tcp_want_room(stream_tcp(w->to)); /* it has some, and might not tell of more */
	return 0;
}

/* Relays what there is and what there is room for. *bytes: payload passed on. bad: what was wrong. */
static enum relayed relay_body(struct http1_body *body, const struct flow *w, uint64_t *bytes, enum http1_outcome *bad)
{
	enum relayed result = RELAYED_NOTHING;

	for (;;) {
		struct slice s = stream_peek(w->from);
		size_t room = room_of(w);
		struct http1_run run;
		enum http1_outcome o;

		if (w->chunked && http1_body_is_done(body))
			return end_body(body, w, result);
		if (s.n == 0 || room == 0)
			return result;
		o = http1_body_scan(body, s.p, s.n < room ? s.n : room, &run);
		stream_consume(w->from, run.skip);
		if (run.data && !pass_run(w, run.data))
			return RELAYED_FAILED;
		*bytes += run.data;
		result = RELAYED_SOME;
		if (o == HTTP1_MORE)
			continue;
		*bad = o;
		if (o != HTTP1_DONE)
			return RELAYED_BAD;
		stat_add(w->p->stats, WEIR_C_TRAILERS_DROPPED, body->n_trailers_dropped);
		if (!w->chunked)
			return RELAYED_ALL;
	}
}

/* -- to the endpoint */

void request_write_head(const struct request *rq, bool upgrade, struct buf *out)
{
	char ip[IP_TEXT_MAX];
	struct http1_forward f = {
		.request_id = rq->request_id,
		.changes = rq->changes,
		.host = rq->host,
		.has_path = rq->has_path,
		.path_head = rq->path_head,
		.path_tail = rq->path_tail,
		.upgrade = upgrade,
		.early_data = rq->is_early,
	};

	forwarded_fill(rq, &f, ip);
	http1_write_request_head(out, &rq->head, &f);
	assert(!out->overflow);
}

/* False: not now; the try may have failed. */
static bool send_head(struct request *rq, uint64_t now_us)
{
	struct proxy *p = rq->client->p;
	struct buf b;
	int rc;

	buf_init(&b, p->scratch, p->scratch_size);
	request_write_head(rq, rq->tunnel != NULL, &b);
	rc = stream_send(upstream_stream(rq->uc), b.p, b.n);
	if (rc == 0) {
		rq->head_sent = true;
		rq->sent_us = rq->progress_us = now_us;
		if (!rq->body_sent)
			limit_begin_rate(rq, now_us);
		return true;
	}
	request_try_failed(rq, WEIR_R_REQ_UPSTREAM_CLOSED, 502, "the endpoint closed the connection", now_us);
	return false;
}

/* The client waits for our word before it sends the body (RFC 9110 10.1.1); the endpoint is there. */
static void send_continue(struct request *rq)
{
	static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";

	if (!rq->head.expect_continue || rq->continue_sent || rq->has_response || stream_readable(rq->client->io))
		return;
	if (stream_send(rq->client->io, text, sizeof(text) - 1) == 0) {
		rq->continue_sent = true;
		rq->log.response_head_bytes += (uint32_t)sizeof(text) - 1;
		reply_count(rq->client->p, 100);
	}
}

static bool relay_request_body(struct request *rq, uint64_t now_us)
{
	struct client *c = rq->client;
	struct proxy *p = c->p;
	uint64_t bytes = 0;
	enum http1_outcome bad = HTTP1_DONE;
	const struct flow w = {
		.p = p,
		.from = c->io,
		.to = upstream_stream(rq->uc),
		.mirrored = rq->mirrors ? rq : NULL,
		.now_us = now_us,
		.chunked = rq->head.body == HTTP_BODY_CHUNKED,
	};
	enum relayed r = relay_body(&rq->body, &w, &bytes, &bad);

	stat_add(p->stats, WEIR_C_BODY_BYTES_UP, bytes);
	rq->rate_up += bytes;
	if (stream_readable(c->io))
		rq->is_up_blocked = true;
	rq->log.request_bytes += bytes;
	if (bytes || r == RELAYED_ALL || r == RELAYED_FAILED)
		rq->body_begun = true;
	switch (r) {
	case RELAYED_NOTHING:
	case RELAYED_SOME:
		break;
	case RELAYED_ALL:
		rq->body_sent = true;
		rq->sent_us = now_us;
		rq->rate_us = rq->response_sent ? rq->rate_us : 0;
		mirrors_complete(rq, now_us);
		return true;
	case RELAYED_BAD:
		rq->keep = false;
		reply_error(rq, WEIR_R_REQ_BAD, http1_outcome_status(bad), slice_str(http1_outcome_name(bad)), now_us);
		return true;
	case RELAYED_FAILED:
		/*
		 * Bytes of the body are lost: nothing more goes this way, and both
		 * connections end with this request. The endpoint may have answered
		 * before it closed: then the answer counts.
		 */
		rq->is_broken = true;
		rq->keep = false;
		if (stream_readable(upstream_stream(rq->uc)) == 0 && !rq->has_response)
			request_try_failed(rq, WEIR_R_REQ_UPSTREAM_CLOSED, 502, "the endpoint closed the connection", now_us);
		return false;
	}
	if (stream_is_eof(c->io) && r == RELAYED_NOTHING && !http1_body_is_done(&rq->body)) { /* it can never be complete */
		request_reason(rq, WEIR_R_REQ_CLIENT_GONE);
		client_cut(c, now_us);
		return false;
	}
	return r == RELAYED_SOME;
}

bool relay_request(struct request *rq, uint64_t now_us)
{
	bool has_moved = false;

	if (!rq->uc || !rq->is_connected)
		return false;
	if (!rq->head_sent) {
		if (!send_head(rq, now_us))
			return true; /* another try, or an answer: the pump looks again */
		has_moved = true;
	}
	if (rq->body_sent || rq->is_broken)
		return has_moved;
	send_continue(rq);
	return relay_request_body(rq, now_us) || has_moved;
}

/* -- to the client */

/* How the response's end will be told to the client. */
static void choose_framing(struct request *rq, struct http1_forward *f)
{
	bool is_old = rq->head.minor == 0;
	bool is_sized = rq->response.body == HTTP_BODY_NONE || rq->response.body == HTTP_BODY_LENGTH;

	rq->to_chunked = !is_sized && !is_old;
	if (!is_sized && is_old)
		rq->keep = false;
	if (!rq->body_sent) /* answered before the request was complete: what is left of it is dropped */
		rq->keep = false;
	if (rq->client->p->is_draining || tunnel_has_early_bytes(rq))
		rq->keep = false;
	f->chunked = rq->to_chunked;
	f->close = !rq->keep;
	f->keep_alive = rq->keep && is_old;
	f->request_id = rq->request_id;
	f->changes = rq->response_changes;
}

static bool write_response_head(struct request *rq, const struct http1_forward *f)
{
	struct client *c = rq->client;
	struct proxy *p = c->p;
	struct buf b;

	buf_init(&b, p->scratch, p->scratch_size);
	http1_write_response_head(&b, &rq->response, f);
	assert(!b.overflow);
	if (stream_send(c->io, b.p, b.n) != 0)
		return false;
	reply_count(p, rq->response.status);
	rq->log.response_head_bytes += (uint32_t)b.n;
	if (rq->response.status >= 200)
		rq->log.status = rq->response.status;
	return true;
}

/* A 101 makes a tunnel if the client asked for it, and is an error otherwise. */
static void take_upgrade(struct request *rq, uint64_t now_us)
{
	const struct http1_forward f = {.upgrade = true, .changes = rq->response_changes, .set_cookie = session_cookie(rq)};

	if (!rq->tunnel || !http1_is_upgrade_of(&rq->response, &rq->head)) {
		request_try_failed(rq, WEIR_R_REQ_UPSTREAM_BAD, 502, "the endpoint switched protocols unasked", now_us);
		return;
	}
	if (write_response_head(rq, &f)) {
		if (f.set_cookie.n)
			stat_inc(rq->client->p->stats, WEIR_C_AFFINITY_SET);
		upstream_result(rq->client->p->cfg.upstream, rq->uc, true, now_us);
		tunnel_open(rq, now_us);
		return;
	}
	request_reason(rq, WEIR_R_REQ_CLIENT_GONE);
	client_cut(rq->client, now_us);
}

/* An interim response: 100 is ours to say, others are passed on to who can read them. */
static bool take_interim(struct request *rq, uint64_t now_us)
{
	static const struct http1_forward f = {0};

	if (++rq->n_interim > MAX_INTERIM) {
		request_try_failed(rq, WEIR_R_REQ_UPSTREAM_BAD, 502, "too many interim responses", now_us);
		return true;
	}
	if (rq->response.status == 101) {
		take_upgrade(rq, now_us);
		return true;
	}
	if (rq->response.status != 100 && rq->head.minor >= 1)
		write_response_head(rq, &f);
	request_let_go(rq, &rq->response_held);
	http1_response_init(&rq->response_parser, &rq->response, rq->response_buf, &rq->client->p->cfg.limits,
			    (enum http_method)rq->head.method);
	return true;
}

static void upstream_ended(struct request *rq, uint64_t now_us)
{
	enum weir_reason tls = upstream_tls_reason(rq->uc);

	if (tls != WEIR_N_REASONS)
		request_try_failed(rq, WEIR_R_REQ_UPSTREAM_TLS, 502, stat_reason_names[tls], now_us);
	else if (rq->response_begun)
		request_try_failed(rq, WEIR_R_REQ_UPSTREAM_BAD, 502, "the endpoint's answer is cut", now_us);
	else
		request_try_failed(rq, WEIR_R_REQ_UPSTREAM_CLOSED, 502, "the endpoint closed before it answered", now_us);
}

/* Reads the response's head. True: something moved. */
static bool read_head(struct request *rq, uint64_t now_us)
{
	struct stream up = upstream_stream(rq->uc);
	enum http1_outcome o;
	uint32_t ignored = 0; /* what counts is what the client is sent */
	bool has_moved;

	if (!rq->response_begun) {
		if (stream_readable(up) == 0) {
			if (!stream_is_eof(up))
				return false;
			upstream_ended(rq, now_us);
			return true;
		}
		rq->response_begun = true;
		rq->log.first_us = now_us;
		http1_response_init(&rq->response_parser, &rq->response, rq->response_buf, &rq->client->p->cfg.limits,
				    (enum http_method)rq->head.method);
	}
	has_moved = stream_readable(up) != 0;
	o = request_parse(&rq->response_parser, up, &rq->response_held, rq->client->p->cfg.stages, &ignored);
	if (http1_is_bad(o)) {
		request_try_failed(rq, WEIR_R_REQ_UPSTREAM_BAD, 502, http1_outcome_name(o), now_us);
		return true;
	}
	if (o == HTTP1_MORE) {
		if (!stream_is_eof(up))
			return has_moved;
		upstream_ended(rq, now_us);
		return true;
	}
	if (rq->response.status < 200)
		return take_interim(rq, now_us);
	upstream_result(rq->client->p->cfg.upstream, rq->uc, rq->response.status < 502 || rq->response.status > 504, now_us);
	if (early_retry(rq, now_us) || request_retry_later(rq, now_us))
		return true;
	rq->has_response = true;
	http1_body_init(&rq->response_body, &rq->response, true);
	if (rq->head.takes_trailers) /* to others they would be no use: who does not say so may drop them (RFC 9110 6.5.1) */
		request_keep_trailers(&rq->response_body, &rq->response, &rq->response_parser);
	return true;
}

static bool send_response_head(struct request *rq, uint64_t now_us)
{
	struct http1_forward f = {0};

	choose_framing(rq, &f);
	f.date = proxy_date(rq->client->p, now_us);
	f.set_cookie = session_cookie(rq);
	if (!write_response_head(rq, &f)) {
		if (stream_send_room(rq->client->io) > rq->client->p->scratch_size) { /* not room: mbufs, or closed */
			request_reason(rq, WEIR_R_REQ_CLIENT_GONE);
			client_cut(rq->client, now_us);
		}
		return false;
	}
	rq->response_sent = true;
	if (f.set_cookie.n)
		stat_inc(rq->client->p->stats, WEIR_C_AFFINITY_SET);
	request_let_go(rq, &rq->response_held);
	if (http1_body_is_done(&rq->response_body))
		rq->response_done = true;
	else
		limit_begin_rate(rq, now_us);
	return true;
}

static void truncated(struct request *rq, enum weir_reason why, uint64_t now_us)
{
	request_reason(rq, why);
	client_cut(rq->client, now_us);
}

static bool relay_response_body(struct request *rq, uint64_t now_us)
{
	struct stream up = upstream_stream(rq->uc);
	struct stream down = rq->client->io;
	enum http1_outcome bad = HTTP1_DONE;
	uint64_t bytes = 0;
	size_t unacked = stream_unacked(down);
	const struct flow w = {.p = rq->client->p, .from = up, .to = down, .now_us = now_us, .chunked = rq->to_chunked};
	enum relayed r = relay_body(&rq->response_body, &w, &bytes, &bad);

	stat_add(rq->client->p->stats, WEIR_C_BODY_BYTES_DOWN, bytes);
	rq->rate_down += stream_unacked(down) - unacked; /* framing included */
	rq->log.response_bytes += bytes;
	switch (r) {
	case RELAYED_ALL:
		rq->response_done = true;
		return true;
	case RELAYED_BAD:
		upstream_result(rq->client->p->cfg.upstream, rq->uc, false, now_us);
		truncated(rq, WEIR_R_REQ_UPSTREAM_BAD, now_us);
		return false;
	case RELAYED_FAILED:
		truncated(rq, WEIR_R_REQ_CLIENT_GONE, now_us);
		return false;
	case RELAYED_NOTHING:
	case RELAYED_SOME:
		break;
	}
	if (!stream_is_eof(up) || http1_body_is_done(&rq->response_body))
		return r == RELAYED_SOME;
	/* What ends with its connection may be cut by anybody, where TLS does not say that it is whole (RFC 9112 9.8). */
	if (rq->response_body.kind != HTTP_BODY_UNTIL_CLOSE || upstream_is_truncated(rq->uc) ||
	    upstream_tls_reason(rq->uc) != WEIR_N_REASONS) {
		upstream_result(rq->client->p->cfg.upstream, rq->uc, false, now_us);
		truncated(rq, WEIR_R_REQ_UPSTREAM_TRUNCATED, now_us);
		return false;
	}
	if (rq->to_chunked && stream_send(down, "0\r\n\r\n", 5) != 0)
		return r == RELAYED_SOME; /* no room yet; looked at again when there is */
	rq->response_done = true;
	return true;
}

bool relay_response(struct request *rq, uint64_t now_us)
{
	if (!rq->uc || !rq->head_sent || rq->response_done)
		return false;
	if (!rq->has_response)
		return read_head(rq, now_us);
	if (!rq->response_sent)
		return send_response_head(rq, now_us);
	return relay_response_body(rq, now_us);
}
