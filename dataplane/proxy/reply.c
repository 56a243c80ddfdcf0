/* SPDX-License-Identifier: Apache-2.0 */
/* Weir's own answers: a status, a reason in one line, and the request's id. */
#include <string.h>

#include "proxy/proxy_pvt.h"

void reply_count(struct proxy *p, unsigned status)
{
	static const enum weir_counter by_class[] = {WEIR_C_RESPONSES_1XX, WEIR_C_RESPONSES_2XX, WEIR_C_RESPONSES_3XX,
						     WEIR_C_RESPONSES_4XX, WEIR_C_RESPONSES_5XX};

	if (status >= 100 && status <= 599)
		stat_inc(p->stats, by_class[status / 100 - 1]);
}

/* An answer of Weir's own could not be given to TCP: the client sees that it is cut. */
static void cut(struct request *rq, uint64_t now_us)
{
	if (!rq->log.reason_plus1)
		request_reason(rq, WEIR_R_REQ_CLIENT_GONE);
	client_cut(rq->client, now_us);
}

/* Counts the answer in b. */
static void answered(struct request *rq, unsigned status, const struct buf *b)
{
	const char *end = memmem(b->p, b->n, "\r\n\r\n", 4);
	size_t n_head = end ? (size_t)(end - b->p) + 4 : b->n;

	reply_count(rq->client->p, status);
	rq->log.status = (uint16_t)status;
	rq->log.flags |= WEIR_LOG_OWN_FLAG;
	rq->log.response_head_bytes += (uint32_t)n_head;
	rq->log.response_bytes += b->n - n_head;
	rq->log.is_whole = true;
}

/*
 * The answer is in TCP's hands. A request whose body has not been read to its
 * end leaves bytes in the connection that are no request: it is closed.
 */
static void end_request(struct request *rq, uint64_t now_us)
{
	struct client *c = rq->client;
	bool keep = rq->keep && rq->body_sent && !rq->is_broken && !tunnel_has_early_bytes(rq);
	uint32_t idle_ms = rq->limits.idle_ms;

	if (keep)
		rq->log.flags |= WEIR_LOG_KEEP_ALIVE_FLAG;
	request_free(rq, now_us);
	client_go_on(c, keep, idle_ms, now_us);
}

void reply_error(struct request *rq, enum weir_reason why, unsigned status, struct slice detail, uint64_t now_us)
{
	struct client *c = rq->client;
	struct proxy *p = c->p;
	struct buf b;

	if (rq->is_stream) {
		l4_fail(rq, why, detail, now_us);
		return;
	}
	if (why != WEIR_N_REASONS)
		request_reason(rq, why);
	rq->log.detail = detail;
	if (rq->response_sent) { /* too late for words: the client must see that it is cut */
		client_cut(c, now_us);
		return;
	}
	if (!rq->body_sent)
		rq->keep = false;
	buf_init(&b, p->scratch, p->scratch_size);
	http1_write_error(&b, &(struct http1_error){
				      .status = status,
				      .detail = detail,
				      .request_id = rq->request_id,
				      .date = proxy_date(p, now_us),
				      .keep_alive = rq->keep && !p->is_draining,
				      .is_old = rq->head.minor == 0,
				      .is_head = rq->head.method == HTTP_METHOD_HEAD,
			      });
	if (stream_send(c->io, b.p, b.n) != 0) {
		cut(rq, now_us);
		return;
	}
	answered(rq, status, &b);
	end_request(rq, now_us);
}

void reply_redirect(struct request *rq, struct http1_redirect *r, uint64_t now_us)
{
	struct client *c = rq->client;
	struct proxy *p = c->p;
	struct buf b;

	if (!rq->body_sent)
		rq->keep = false;
	r->request_id = rq->request_id;
	r->date = proxy_date(p, now_us);
	r->keep_alive = rq->keep && !p->is_draining;
	r->is_old = rq->head.minor == 0;
	buf_init(&b, p->scratch, p->scratch_size);
	http1_write_redirect(&b, r);
	assert(!b.overflow);
	if (stream_send(c->io, b.p, b.n) != 0) {
		cut(rq, now_us);
		return;
	}
	stat_inc(p->stats, WEIR_C_REDIRECTS);
	rq->log.flags |= WEIR_LOG_REDIRECTED_FLAG;
	answered(rq, r->status, &b);
	end_request(rq, now_us);
}

void reply_no_content(struct request *rq, struct slice fields, uint64_t now_us)
{
	struct client *c = rq->client;
	struct proxy *p = c->p;
	struct buf b;

	buf_init(&b, p->scratch, p->scratch_size);
	buf_str(&b, "HTTP/1.1 204 No Content\r\n");
	http1_write_field(&b, SLICE("Date"), proxy_date(p, now_us));
	http1_write_field(&b, SLICE("X-Request-Id"), rq->request_id);
	buf_slice(&b, fields);
	if (!rq->keep || !rq->body_sent)
		buf_str(&b, "Connection: close\r\n");
	buf_str(&b, "\r\n");
	assert(!b.overflow);
	if (stream_send(c->io, b.p, b.n) != 0) {
		cut(rq, now_us);
		return;
	}
	answered(rq, 204, &b);
	end_request(rq, now_us);
}

void reply_busy(struct client *c, enum weir_reason why, uint64_t now_us)
{
	struct proxy *p = c->p;
	struct buf b;

	stat_reason(p->stats, why);
	buf_init(&b, p->scratch, p->scratch_size);
	http1_write_error(&b, &(struct http1_error){
				      .status = 503, .detail = SLICE("too many requests in hand"), .date = proxy_date(p, now_us)});
	if (stream_send(c->io, b.p, b.n) != 0) {
		record_busy(c, why, 0, WEIR_LOG_OWN_FLAG, now_us);
		client_cut(c, now_us);
		return;
	}
	record_busy(c, why, (uint32_t)b.n, WEIR_LOG_OWN_FLAG, now_us);
	reply_count(p, 503);
	client_linger(c, now_us);
}
