/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that came as early data of TLS (RFC 8470), before the handshake is complete: anybody may have sent them again. One that
 * is safe to be done twice is served at once, and its backend is told by "Early-Data: 1"; if that answers 425, it is sent again
 * when the handshake is complete. Any other one is held until then, and so is one that is mirrored: nobody hears the mirror's 425,
 * and what it counts or does with copies is to come of clients, once for each request. Clients of this kind are at any state but HANDSHAKE, with is_early
 * set, and their handshake goes on with each event, before anything else.
 */
#include "proxy/proxy_pvt.h"

static uint64_t end_us(const struct client *c)
{
	uint64_t since_us = tls_early_since(stream_tls(c->io));

	return since_us ? limit_after(since_us, c->p->cfg.handshake_ms) : UINT64_MAX;
}

uint64_t early_bound(const struct client *c, uint64_t at_us)
{
	uint64_t end = c->is_early ? end_us(c) : UINT64_MAX;

	return at_us < end ? at_us : end;
}

bool early_begin(struct client *c, uint64_t now_us)
{
	if (!tls_readable(stream_tls(c->io)))
		return false;
	c->is_early = true;
	c->is_late = c->p->is_draining;
	c->state = CLIENT_IDLE;
	limit_arm_idle(c, now_us);
	return true;
}

static void completed(struct client *c, uint64_t now_us)
{
	c->is_early = false;
	if (c->state == CLIENT_IDLE)
		limit_arm_idle(c, now_us);
	else if (c->state == CLIENT_HEAD)
		limit_arm_header(c, now_us);
	else if (c->state == CLIENT_BUSY && c->rq->retry_us == UINT64_MAX)
		c->rq->retry_us = now_us;
}

void early_go_on(struct client *c, uint64_t now_us)
{
	struct tls_session *s = stream_tls(c->io);

	switch (tls_handshake(s, c->p->current, now_us)) {
	case TLS_DONE:
		completed(c, now_us);
		return;
	case TLS_MORE:
	case TLS_EARLY:
		if (!tcp_is_eof(tls_tcp(s)))
			return;
		tls_fail(s, WEIR_R_TLS_CLIENT_GONE); /* no Finished can follow */
		break;
	case TLS_PASS: /* it was, or was not, long before */
	case TLS_FAILED:
		break;
	}
	c->is_early = false;
	client_failed(c, now_us);
}

bool early_on_timer(struct client *c, uint64_t now_us)
{
	if (!c->is_early || (c->state != CLIENT_LINGER && now_us < end_us(c)))
		return false;
	tls_fail(stream_tls(c->io), WEIR_R_TLS_HANDSHAKE_TIMEOUT);
	c->is_early = false;
	client_failed(c, now_us);
	return true;
}

/* RFC 9110 9.2.1. What opens a tunnel is no such request, whatever its method says. */
static bool is_harmless(const struct request *rq)
{
	switch ((enum http_method)rq->head.method) {
	case HTTP_METHOD_GET:
	case HTTP_METHOD_HEAD:
	case HTTP_METHOD_OPTIONS:
		return rq->head.body == HTTP_BODY_NONE && !http1_asks_upgrade(&rq->head);
	default:
		return false;
	}
}

bool early_holds(struct request *rq)
{
	struct client *c = rq->client;

	if (rq->is_early && (!is_harmless(rq) || (c->is_early && request_is_mirrored(rq, c->p->current)))) {
		rq->is_early = false; /* nobody sends it on before the handshake is complete: so it need not be told (RFC 8470 6.2) */
		rq->is_held = c->is_early;
	}
	if (rq->is_held) {
		stat_inc(c->p->stats, WEIR_C_EARLY_HELD);
		client_arm(c, UINT64_MAX); /* that is, when the handshake has to be complete */
	} else if (rq->is_early && c->is_early) {
		stat_inc(c->p->stats, WEIR_C_EARLY_REQUESTS);
		rq->log.flags |= WEIR_LOG_EARLY_DATA_FLAG;
	}
	return rq->is_held;
}

bool early_retry(struct request *rq, uint64_t now_us)
{
	/* Who sent Early-Data here has to know: what was early there does not become safe here (RFC 8470 5.2). */
	if (rq->response.status != 425 || !rq->is_early || http_head_get(&rq->head, HTTP_FIELD_EARLY_DATA))
		return false;
	rq->is_early = false;
	request_drop_answer(rq, now_us);
	rq->retry_us = rq->client->is_early ? UINT64_MAX : now_us;
	stat_inc(rq->client->p->stats, WEIR_C_EARLY_REFUSED);
	return true;
}
