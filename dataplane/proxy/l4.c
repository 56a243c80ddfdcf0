/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections of bytes (Gateway API TCPRoute, TLSRoute): no request is in them, so the connection itself is routed, by the
 * server name that TLS told, or by nothing but where it came to. While an endpoint is being connected to, it has a request object, whose
 * tries, limits and record are as those of requests; then it is a tunnel like those of Upgrade. What the client sends
 * meanwhile waits in its receive queue. There is nobody to whom an answer could be given: what fails ends by a reset.
 */
#include <string.h>

#include "proxy/proxy_pvt.h"
#include "snapshot/snapshot.h"

/* The same cause, where there is no status to tell it by. */
static enum weir_reason reason_of(enum weir_reason why)
{
	switch (why) {
	case WEIR_R_REQ_NO_ENDPOINT:
		return WEIR_R_STREAM_NO_ENDPOINT;
	case WEIR_R_REQ_UPSTREAM_LIMIT:
		return WEIR_R_STREAM_UPSTREAM_LIMIT;
	case WEIR_R_REQ_UPSTREAM_REFUSED:
		return WEIR_R_STREAM_UPSTREAM_REFUSED;
	case WEIR_R_REQ_UPSTREAM_UNREACHABLE:
		return WEIR_R_STREAM_UPSTREAM_UNREACHABLE;
	case WEIR_R_REQ_CONNECT_TIMEOUT:
		return WEIR_R_STREAM_CONNECT_TIMEOUT;
	case WEIR_R_REQ_UPSTREAM_TLS:
		return WEIR_R_STREAM_UPSTREAM_TLS;
	case WEIR_R_REQ_UPSTREAM_CLOSED:
		return WEIR_R_STREAM_UPSTREAM_CLOSED;
	default:
		return why;
	}
}

void l4_fail(struct request *rq, enum weir_reason why, struct slice detail, uint64_t now_us)
{
	struct client *c = rq->client;

	request_reason(rq, reason_of(why));
	rq->log.detail = detail;
	request_free(rq, now_us);
	client_cut(c, now_us);
}

/* What the log calls its host, where a request would have its head: the session that has it may be gone when it is written. */
static void keep_name(struct request *rq, struct slice server_name)
{
	assert(server_name.n <= rq->client->p->cfg.limits.headers_bytes);
	memcpy(rq->buf, server_name.p, server_name.n);
	rq->log.n_server_name = (uint8_t)server_name.n;
}

/* Only what TCP and the tunnel limit: nobody knows how long an exchange takes. */
static void take_limits(struct request *rq, const struct weir_snapshot *s, const struct route_result *r)
{
	snapshot_timeouts(&rq->limits, &snapshot_listener(s, r->listener)->timeouts, &snapshot_rule(s, r->rule)->timeouts);
	rq->limits.request_ms = rq->limits.backend_ms = WEIR_NO_LIMIT;
}

static void route(struct request *rq, enum route_stream how, struct slice server_name, uint64_t now_us)
{
	struct proxy *p = rq->client->p;
	const struct weir_snapshot *s = p->current;
	const struct ip_flow *flow = tcp_flow(stream_tcp(rq->client->io));
	struct route_result r = route_find_stream(s, &flow->local, flow->local_port, how, server_name);
	struct filter_source from = {.s = s};
	uint32_t i;

	if (r.miss != ROUTE_HIT) {
		l4_fail(rq, WEIR_R_STREAM_NO_ROUTE, slice_str(route_miss_name(r.miss)), now_us);
		return;
	}
	from.rule = snapshot_rule(s, r.rule);
	record_route(rq, s, from.rule);
	take_limits(rq, s, &r);
	i = route_pick_split(s, from.rule, (uint32_t)proxy_random(p));
	from.split = i == WEIR_NONE ? NULL : snapshot_split(s, i);
	if (!from.split || from.split->backend == WEIR_NONE) {
		l4_fail(rq, from.split && from.split->status == 503 ? WEIR_R_STREAM_NO_ENDPOINT : WEIR_R_STREAM_BAD_BACKEND_REF,
			SLICE("the route refers to a backend that is not there"), now_us);
		return;
	}
	request_begin(rq, &from, now_us);
}

bool l4_begin(struct client *c, enum route_stream how, struct slice server_name, uint64_t now_us)
{
	struct proxy *p = c->p;
	struct request *rq = tcp_has_memory(p->cfg.tcp) ? request_create(c, now_us) : NULL;
	enum weir_stage former;

	assert(p->current);
	if (!rq) {
		enum weir_reason why = p->free_requests ? WEIR_R_STREAM_NO_MEMORY : WEIR_R_STREAM_POOL_EMPTY;

		stat_reason(p->stats, why);
		record_busy(c, why, 0, WEIR_LOG_STREAM_FLAG, now_us);
		client_cut(c, now_us);
		return c->state != CLIENT_FREE;
	}
	c->rq = rq;
	c->state = CLIENT_BUSY;
	rq->is_stream = true;
	rq->keep = false;
	rq->log.flags |= WEIR_LOG_STREAM_FLAG;
	keep_name(rq, server_name);
	if (!tunnel_reserve(rq)) {
		l4_fail(rq, WEIR_R_STREAM_POOL_EMPTY, SLICE("too many tunnels"), now_us);
		return c->state != CLIENT_FREE;
	}
	former = stage_enter(p->cfg.stages, WEIR_STAGE_ROUTE);
	route(rq, how, server_name, now_us);
	stage_leave(p->cfg.stages, former);
	return c->state != CLIENT_FREE;
}

bool l4_pump(struct client *c, uint64_t now_us)
{
	struct request *rq = c->rq;

	if (!rq->is_connected) { /* TCP limits the connecting */
		limit_arm_request(rq, now_us);
		return false;
	}
	upstream_result(c->p->cfg.upstream, rq->uc, true, now_us);
	tunnel_open(rq, now_us);
	return true;
}
