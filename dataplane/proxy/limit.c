/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The time limits of a client and of its request. One timer of the client
 * stands for whichever comes first. Rates of bodies are taken over stretches
 * of body_grace_ms, so that who begins slowly, or pauses, is not punished; of
 * a stretch in which the other side held things up nobody is accused.
 */
#include "proxy/proxy_pvt.h"

#define WAKE_US 3600000000ull /* a client with a request is looked at this often at least */

uint64_t limit_after(uint64_t us, uint32_t ms)
{
	return ms == WEIR_NO_LIMIT ? UINT64_MAX : us + (uint64_t)ms * 1000;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* -- clients without a request: what their bind says */

static uint32_t of_bind(uint32_t bind_ms, uint32_t ms)
{
	return bind_ms ? bind_ms : ms;
}

void limit_arm_idle(struct client *c, uint64_t now_us)
{
	const struct proxy *p = c->p;

	client_arm(c, limit_after(now_us, of_bind(p->listening[c->listening].idle_ms, p->cfg.timeouts.idle_ms)));
}

void limit_arm_header(struct client *c, uint64_t now_us)
{
	const struct proxy *p = c->p;

	client_arm(c, limit_after(now_us, of_bind(p->listening[c->listening].header_ms, p->cfg.timeouts.header_ms)));
}

/* -- rates */

/* There is more to come of its body. A body that is complete may still wait for room at the endpoint, for its trailers. */
static bool owes_body(const struct request *rq)
{
	return !rq->body_sent && !http1_body_is_done(&rq->body);
}

/*
 * A client that sends slowly fills a TLS record for a long time, and no content is seen meanwhile: there the bytes of the connection
 * count. They are more than the content, but to send them costs an attacker no less.
 */
bool limit_note_received(struct request *rq)
{
	const struct client *c = rq->client;
	uint32_t before = rq->received;

	if (!client_is_tls(c) || !owes_body(rq))
		return false;
	rq->received = tcp_received(stream_tcp(c->io));
	return rq->received != before;
}

/* In the stretch. */
static uint64_t bytes_sent(const struct request *rq)
{
	const struct client *c = rq->client;

	return client_is_tls(c) ? tcp_received(stream_tcp(c->io)) - rq->rate_received : rq->rate_up;
}

void limit_begin_rate(struct request *rq, uint64_t now_us)
{
	rq->rate_us = now_us;
	rq->rate_up = rq->rate_down = 0;
	rq->rate_unacked = stream_unacked(rq->client->io);
	rq->rate_received = tcp_received(stream_tcp(rq->client->io));
	rq->is_up_blocked = false;
}

/* Bytes of a stretch. */
static uint64_t least_bytes(const struct request *rq)
{
	return (uint64_t)rq->limits.body_bytes_per_s * rq->client->p->cfg.body_grace_ms / 1000;
}

static bool has_rate(const struct request *rq)
{
	return rq->rate_us && rq->limits.body_bytes_per_s != WEIR_NO_LIMIT;
}

static bool sends_too_slowly(const struct request *rq)
{
	return owes_body(rq) && !rq->is_broken && !rq->is_up_blocked && bytes_sent(rq) < least_bytes(rq);
}

/* What lay there for it when the stretch began it could have taken, be the endpoint as slow as it likes. */
static bool reads_too_slowly(const struct request *rq)
{
	uint64_t unacked = stream_unacked(rq->client->io);
	uint64_t taken = rq->rate_unacked + rq->rate_down - unacked;

	return rq->response_sent && unacked && taken < earlier(least_bytes(rq), rq->rate_unacked);
}

/* The stretch is over. Returns true if the request is, too. */
static bool judge_rate(struct request *rq, uint64_t now_us)
{
	if (sends_too_slowly(rq)) {
		rq->keep = false;
		reply_error(rq, WEIR_R_REQ_BODY_SLOW, 408, SLICE("the body arrives too slowly"), now_us);
		return true;
	}
	if (reads_too_slowly(rq)) {
		reply_error(rq, WEIR_R_REQ_READ_SLOW, 408, SLICE("the client reads too slowly"), now_us);
		return true;
	}
	limit_begin_rate(rq, now_us);
	return false;
}

/* -- requests */

static uint64_t rate_deadline(const struct request *rq)
{
	return has_rate(rq) ? limit_after(rq->rate_us, rq->client->p->cfg.body_grace_ms) : UINT64_MAX;
}

/* Of the request as a whole, and of its try. */
static uint64_t whole_deadline(const struct request *rq)
{
	uint64_t at = limit_after(rq->start_us, rq->limits.request_ms);

	return rq->uc ? earlier(at, limit_after(rq->try_us, rq->limits.backend_ms)) : at;
}

static uint64_t deadline(const struct request *rq)
{
	uint64_t at = earlier(whole_deadline(rq), rate_deadline(rq));

	if (rq->retry_us)
		return earlier(at, rq->retry_us);
	if (!rq->is_connected) /* TCP limits the connecting */
		return at;
	if (rq->body_sent && !rq->has_response)
		return earlier(at, limit_after(rq->sent_us, rq->limits.first_byte_ms));
	return earlier(at, limit_after(rq->progress_us, rq->limits.body_ms));
}

bool limit_is_due(const struct request *rq, uint64_t now_us)
{
	return deadline(rq) <= now_us;
}

void limit_arm_request(struct request *rq, uint64_t now_us)
{
	struct client *c = rq->client;
	uint64_t at = earlier(deadline(rq), now_us + WAKE_US);

	if (!wheel_is_armed(&c->timer) || c->timer.at * c->p->cfg.wheel->tick_us > at)
		client_arm(c, at);
}

void limit_on_deadline(struct request *rq, uint64_t now_us)
{
	bool waits_for_client = rq->is_connected && owes_body(rq) && stream_readable(rq->client->io) == 0;

	if (whole_deadline(rq) > now_us && rq->retry_us && rq->retry_us <= now_us) {
		request_retry(rq, now_us);
		return;
	}
	if (whole_deadline(rq) > now_us && rate_deadline(rq) <= now_us && (judge_rate(rq, now_us) || !limit_is_due(rq, now_us)))
		return;
	rq->n_tries = UINT8_MAX; /* time is up for other endpoints too */
	if (rq->uc && rq->is_connected && rq->body_sent && !rq->has_response)
		upstream_result(rq->client->p->cfg.upstream, rq->uc, false, now_us);
	if (whole_deadline(rq) <= now_us) {
		reply_error(rq, WEIR_R_REQ_TIMEOUT, 504, SLICE("the request took too long"), now_us);
	} else if (rq->response_sent && stream_unacked(rq->client->io)) {
		reply_error(rq, WEIR_R_REQ_READ_SLOW, 408, SLICE("the client stopped reading"), now_us);
	} else if (waits_for_client && !rq->has_response) {
		rq->keep = false;
		reply_error(rq, WEIR_R_REQ_BODY_TIMEOUT, 408, SLICE("the body stopped arriving"), now_us);
	} else {
		reply_error(rq, WEIR_R_REQ_RESPONSE_TIMEOUT, 504, SLICE("no answer of the endpoint in time"), now_us);
	}
}
