/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request from its complete head on: its route, its tries at endpoints. What may be tried again: anything while nothing was sent
 * (RFC 9110 9.2.2: a request that no server has seen), and idempotent requests without
 * a body while nothing was answered.
 */
#include <immintrin.h>
#include <string.h>

#include "proxy/proxy_pvt.h"
#include "snapshot/snapshot.h"

void request_let_go(struct request *rq, struct rte_mbuf **held)
{
	if (*held)
		tcp_release(rq->client->p->cfg.tcp, *held);
	*held = NULL;
}

enum http1_outcome request_parse(struct http1_parser *parser, struct stream in, struct rte_mbuf **held,
				 struct stage_clock *stages, uint32_t *bytes)
{
	enum weir_stage former = stage_enter(stages, WEIR_STAGE_PARSE);
	enum http1_outcome o = HTTP1_MORE;

	while (o == HTTP1_MORE) {
		struct slice s = stream_peek(in);
		size_t used;

		if (s.n == 0)
			break;
		o = http1_has_begun(parser) ? http1_parse(parser, s.p, s.n, &used) : http1_parse_in_place(parser, s.p, s.n, &used);
		if (o == HTTP1_DONE && http1_is_in_place(parser))
			*held = stream_hold(in, used);
		else
			stream_consume(in, used);
		*bytes += (uint32_t)used;
	}
	stage_leave(stages, former);
	return o;
}

void request_keep_trailers(struct http1_body *body, const struct http_head *head, const struct http1_parser *parser)
{
	size_t n;
	char *mem = http1_rest(parser, &n);

	if (head->body == HTTP_BODY_CHUNKED && !head->names_fields)
		http1_body_keep_trailers(body, mem, n);
}

void request_reason(struct request *rq, enum weir_reason why)
{
	stat_reason(rq->client->p->stats, why);
	if (!rq->log.reason_plus1)
		rq->log.reason_plus1 = (uint16_t)(why + 1);
}

void request_client_gone(struct request *rq)
{
	request_reason(rq, rq->is_stream ? WEIR_R_STREAM_CLIENT_GONE : WEIR_R_REQ_CLIENT_GONE);
}

void request_free(struct request *rq, uint64_t now_us)
{
	struct client *c = rq->client;
	struct proxy *p = c->p;

	record_request(rq, now_us);
	mirrors_cut(rq, now_us);
	if (rq->uc)
		upstream_discard(p->cfg.upstream, rq->uc, true, now_us);
	if (rq->tunnel)
		tunnel_put_back(p, rq->tunnel);
	c->rq = NULL;
	request_let_go(rq, &rq->held);
	request_let_go(rq, &rq->response_held);
	rq->next = p->free_requests;
	p->free_requests = rq;
	p->n_requests--;
	proxy_count_relays(p);
}

/* -- route */

struct slice request_field(const void *ctx, struct slice name)
{
	const struct http_head *h = ctx;

	for (unsigned i = 0; i < h->n_fields; i++)
		if (slice_eq_nocase(h->fields[i].name, name))
			return h->fields[i].value;
	return slice_of(NULL, 0);
}

/* An id of our own, from the request's beginning on. */
static void make_request_id(struct request *rq)
{
	struct proxy *p = rq->client->p;
	const __m128i digits = _mm_setr_epi8('0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f');
	const __m128i low = _mm_set1_epi8(15);

	for (unsigned i = 0; i < REQUEST_ID_LEN; i += 16) {
		__m128i v = _mm_cvtsi64_si128((long long)proxy_random(p));
		__m128i nibbles = _mm_unpacklo_epi8(_mm_and_si128(v, low), _mm_and_si128(_mm_srli_epi16(v, 4), low));

		_mm_storeu_si128((__m128i *)(void *)(rq->id + i), _mm_shuffle_epi8(digits, nibbles));
	}
	rq->request_id = slice_of(rq->id, REQUEST_ID_LEN);
}

/* The client's, if it brought a sane one that is not meant for Weir alone (RFC 9110 7.6.1). */
static void take_request_id(struct request *rq)
{
	const struct http_field *f = http_head_get(&rq->head, HTTP_FIELD_X_REQUEST_ID);

	if (f && !f->hop_by_hop && http1_is_request_id(f->value))
		rq->request_id = f->value;
}

struct request *request_create(struct client *c, uint64_t now_us)
{
	struct proxy *p = c->p;
	struct request *rq = p->free_requests;
	char *buf;
	char *response_buf;
	char *filter_mem;

	if (!rq)
		return NULL;
	p->free_requests = rq->next;
	buf = rq->buf;
	response_buf = rq->response_buf;
	filter_mem = rq->filter_mem;
	memset(rq, 0, offsetof(struct request, parser));
	rq->buf = buf;
	rq->response_buf = response_buf;
	rq->filter_mem = filter_mem;
	rq->client = c;
	rq->start_us = rq->progress_us = now_us;
	rq->client_addr = tcp_flow(stream_tcp(c->io))->remote;
	rq->limits = p->cfg.timeouts;
	rq->keep = true;
	rq->is_early = client_is_tls(c) && tls_is_early(stream_tls(c->io));
	make_request_id(rq);
	http1_request_init(&rq->parser, &rq->head, rq->buf, &p->cfg.limits);
	p->n_requests++;
	proxy_count_relays(p);
	return rq;
}

static void start_try(struct request *rq, bool fresh, enum weir_reason why, unsigned status, const char *detail,
		      uint64_t now_us)
{
	struct proxy *p = rq->client->p;
	const struct upstream_args args = {
		.backend_id = rq->backend_id,
		.fresh = fresh || rq->is_stream,
		.connect_ms = rq->limits.connect_ms,
		.tried = &rq->tried,
		.want = &rq->want,
		.event = upstream_on_event,
		.user = rq,
	};
	enum upstream_outcome o;
	enum weir_stage former;

	rq->is_connected = rq->head_sent = rq->response_begun = false;
	rq->n_tries++;
	rq->try_us = now_us;
	former = stage_enter(p->cfg.stages, WEIR_STAGE_UPSTREAM);
	o = upstream_get(p->cfg.upstream, &args, now_us, &rq->uc);
	stage_leave(p->cfg.stages, former);
	switch (o) {
	case UPSTREAM_READY:
		record_try(rq);
		rq->is_connected = true;
		rq->log.connected_us = now_us;
		return;
	case UPSTREAM_CONNECTING:
		record_try(rq);
		return;
	case UPSTREAM_NO_BACKEND:
	case UPSTREAM_NO_ENDPOINT:
		rq->uc = NULL;
		if (why != WEIR_N_REASONS) /* all were tried: what the last one said counts */
			reply_error(rq, why, status, slice_str(detail), now_us);
		else
			reply_error(rq, WEIR_R_REQ_NO_ENDPOINT, 503, SLICE("no endpoint is ready"), now_us);
		return;
	case UPSTREAM_LIMIT:
		rq->uc = NULL;
		reply_error(rq, WEIR_R_REQ_UPSTREAM_LIMIT, 503, SLICE("too many connections to the backend"), now_us);
		return;
	case UPSTREAM_UNREACHABLE:
		rq->uc = NULL;
		request_try_failed(rq, WEIR_R_REQ_UPSTREAM_UNREACHABLE, 502, "the endpoint cannot be reached", now_us);
		return;
	}
}

void request_begin(struct request *rq, const struct filter_source *from, uint64_t now_us)
{
	const struct weir_backend *b = snapshot_backend(from->s, from->split->backend);

	record_backend(rq, from->s, b);
	rq->backend_id = b->id;
	session_take(rq, from, b);
	start_try(rq, false, WEIR_N_REASONS, 0, NULL, now_us);
}

static void forward(struct request *rq, struct filter_source *from, uint64_t now_us)
{
	const struct weir_snapshot *s = from->s;
	const struct weir_rule *rule = from->rule;
	uint32_t i = route_pick_split(s, rule, (uint32_t)proxy_random(rq->client->p));
	const struct weir_split *split = i == WEIR_NONE ? NULL : snapshot_split(s, i);

	if (!split || split->backend == WEIR_NONE) {
		reply_error(rq, WEIR_R_REQ_BAD_BACKEND_REF, split ? split->status : 500,
			    SLICE("the route refers to a backend that is not there"), now_us);
		return;
	}
	from->split = split;
	if (!filters_take(rq, from, now_us))
		return;
	if (http1_asks_upgrade(&rq->head) && !tunnel_reserve(rq)) {
		reply_error(rq, WEIR_R_TUNNEL_POOL_EMPTY, 503, SLICE("too many tunnels"), now_us);
		return;
	}
	mirrors_start(rq, from, now_us);
	request_begin(rq, from, now_us);
}

/*
 * A TLS client has taken us for the server of one name. A request whose Host another listener serves, or that asks its clients for
 * other certificates, is not for who answers to that (RFC 9110 7.4), nor is any for a name that we do not have any more; a Host of no listener at all is no route's.
 */
static bool is_misdirected(struct request *rq, const struct weir_snapshot *s, const struct ip_flow *flow)
{
	const struct weir_bind *bind;
	const struct weir_listener *l;
	const struct weir_server_name *name;
	enum route_miss miss;

	if (!client_is_tls(rq->client))
		return false;
	name = route_find_name(s, &flow->local, flow->local_port, tls_server_name(stream_tls(rq->client->io)), &bind, &miss);
	if (!name) {
		rq->keep = false;
		return true;
	}
	if (client_cert_is_other(rq, s, name))
		return true;
	if (name->listener == WEIR_NONE)
		return false;
	l = route_find_listener(s, &flow->local, flow->local_port, rq->head.host);
	return l && l != snapshot_listener(s, bind->listeners.first + name->listener);
}

static struct route_result find_route(const struct request *rq, const struct weir_snapshot *s)
{
	const struct ip_flow *flow = tcp_flow(stream_tcp(rq->client->io));
	const struct route_request q = {
		.local = flow->local,
		.port = flow->local_port,
		.method = rq->head.method_name,
		.host = rq->head.host,
		.path = rq->head.path,
		.query = rq->head.query,
		.header = request_field,
		.header_ctx = &rq->head,
	};

	return route_match(s, &q);
}

bool request_is_mirrored(const struct request *rq, const struct weir_snapshot *s)
{
	struct route_result r;

	if (!s || rq->head.path.p[0] == '*') /* it is no route's */
		return false;
	r = find_route(rq, s);
	return r.miss == ROUTE_HIT && mirrors_are_wanted(s, snapshot_rule(s, r.rule));
}

/*
 * A route is looked up once, with the snapshot of the moment, and all that is
 * needed of it copied: so a long request holds no old generation.
 */
static void match(struct request *rq, const struct weir_snapshot *s, uint64_t now_us)
{
	const struct ip_flow *flow = tcp_flow(stream_tcp(rq->client->io));
	struct filter_source from = {.s = s};
	const struct weir_path *path;
	struct route_result r;

	if (is_misdirected(rq, s, flow)) {
		reply_error(rq, WEIR_R_REQ_MISDIRECTED, 421, SLICE("the host is not of the server name that the connection was opened for"), now_us);
		return;
	}
	r = find_route(rq, s);
	/* The port may have changed its protocol after the client came: what is meant for TLS alone goes nowhere in the clear. */
	if (r.bind != WEIR_NONE && (snapshot_bind(s, r.bind)->proto == WEIR_PROTO_HTTPS) != client_is_tls(rq->client)) {
		rq->keep = false;
		reply_error(rq, WEIR_R_REQ_MISDIRECTED, 421, SLICE("this port speaks another protocol now"), now_us);
		return;
	}
	if (r.miss != ROUTE_HIT) {
		reply_error(rq, WEIR_R_REQ_NO_ROUTE, 404, slice_str(route_miss_name(r.miss)), now_us);
		return;
	}
	from.rule = snapshot_rule(s, r.rule);
	record_route(rq, s, from.rule);
	from.bind = snapshot_bind(s, r.bind);
	path = snapshot_path(s, r.path);
	snapshot_timeouts(&rq->limits, &snapshot_listener(s, r.listener)->timeouts, &from.rule->timeouts);
	from.n_prefix = path->kind == WEIR_PATH_PREFIX ? path->path.len : 0;
	switch ((enum weir_action)from.rule->action) {
	case WEIR_ACTION_STATUS:
		reply_error(rq, from.rule->status == 503 ? WEIR_R_REQ_NO_ENDPOINT : WEIR_R_REQ_BAD_BACKEND_REF,
			    from.rule->status, SLICE("the route says so"), now_us);
		break;
	case WEIR_ACTION_REDIRECT:
		filters_take(rq, &from, now_us);
		break;
	case WEIR_ACTION_FORWARD:
		rq->retry = from.rule->retry;
		forward(rq, &from, now_us);
		break;
	}
}

void request_route(struct request *rq, uint64_t now_us)
{
	struct proxy *p = rq->client->p;
	enum weir_stage former;

	rq->has_head = true;
	rq->log.head_us = now_us;
	http1_body_init(&rq->body, &rq->head, false);
	request_keep_trailers(&rq->body, &rq->head, &rq->parser);
	rq->body_sent = http1_body_is_done(&rq->body);
	rq->keep = rq->head.keep_alive && !p->is_draining && !tunnel_has_early_bytes(rq);
	rq->progress_us = now_us;
	take_request_id(rq);
	forwarded_take(rq);
	if (rq->head.method == HTTP_METHOD_CONNECT) {
		rq->keep = false; /* what follows may be meant for the tunnel: nobody may take it for a request */
		reply_error(rq, WEIR_R_REQ_METHOD, 501, SLICE("CONNECT is not served"), now_us);
		return;
	}
	if (rq->head.method == HTTP_METHOD_TRACE) {
		reply_error(rq, WEIR_R_REQ_METHOD, 405, SLICE("TRACE is not served"), now_us);
		return;
	}
	if (rq->head.is_https && !client_is_tls(rq->client) && !rq->is_trusted) { /* RFC 9110 7.4: over TLS only, or by a gateway that is trusted */
		reply_error(rq, WEIR_R_REQ_MISDIRECTED, 421, SLICE("an https URI over a connection without TLS"), now_us);
		return;
	}
	if (rq->head.path.p[0] == '*' || (rq->head.has_max_forwards && rq->head.max_forwards == 0)) {
		reply_no_content(rq, slice_of("", 0), now_us); /* of Weir itself, or not to go further (RFC 9110 7.6.2) */
		return;
	}
	if (!p->current) {
		reply_error(rq, WEIR_R_REQ_NO_SNAPSHOT, 503, SLICE("no routes yet"), now_us);
		return;
	}
	former = stage_enter(p->cfg.stages, WEIR_STAGE_ROUTE);
	match(rq, p->current, now_us);
	stage_leave(p->cfg.stages, former);
}

/* -- tries */

/* Nothing of this try has reached an application, or doing it twice is as good as once. */
static bool may_retry(const struct request *rq)
{
	if (rq->response_begun || rq->body_begun || rq->n_tries >= rq->client->p->cfg.n_tries)
		return false;
	if (!rq->head_sent)
		return true;
	return rq->head.body == HTTP_BODY_NONE && http_method_is_idempotent((enum http_method)rq->head.method);
}

void request_try_failed(struct request *rq, enum weir_reason why, unsigned status, const char *detail, uint64_t now_us)
{
	struct proxy *p = rq->client->p;
	bool was_stale = rq->uc && upstream_is_reused(rq->uc) && !rq->response_begun;

	if (rq->uc && !was_stale)
		upstream_result(p->cfg.upstream, rq->uc, false, now_us);
	if (rq->uc)
		upstream_discard(p->cfg.upstream, rq->uc, true, now_us);
	rq->uc = NULL;
	if (!may_retry(rq)) {
		reply_error(rq, why, status, slice_str(detail), now_us);
		return;
	}
	stat_inc(p->stats, WEIR_C_UPSTREAM_RETRIES);
	if (was_stale && rq->tried.n) /* the connection was old, the endpoint may be well */
		rq->tried.n--;
	start_try(rq, was_stale, why, status, detail, now_us);
}

/* A body is not kept, so that it could be sent once more. */
static bool wants_retry(const struct request *rq)
{
	if (rq->n_retries >= rq->retry.attempts || rq->head.body != HTTP_BODY_NONE)
		return false;
	for (uint32_t i = 0; i < rq->retry.n_codes; i++)
		if (rq->retry.codes[i] == rq->response.status)
			return true;
	return false;
}

void request_drop_answer(struct request *rq, uint64_t now_us)
{
	struct proxy *p = rq->client->p;

	request_let_go(rq, &rq->response_held);
	upstream_discard(p->cfg.upstream, rq->uc, true, now_us); /* its body may be long */
	rq->uc = NULL;
	rq->is_connected = rq->head_sent = rq->response_begun = false;
	rq->n_tries = 0;
	rq->tried.n = 0; /* the same endpoint may be the only one */
	stat_inc(p->stats, WEIR_C_UPSTREAM_RETRIES);
}

bool request_retry_later(struct request *rq, uint64_t now_us)
{
	if (!wants_retry(rq))
		return false;
	request_drop_answer(rq, now_us);
	rq->n_retries++;
	rq->retry_us = limit_after(now_us, rq->retry.backoff_ms);
	return true;
}

void request_retry(struct request *rq, uint64_t now_us)
{
	rq->retry_us = 0;
	start_try(rq, false, WEIR_N_REASONS, 0, NULL, now_us);
}

static void upstream_closed(struct request *rq, enum weir_reason how, uint64_t now_us)
{
	switch (how) {
	case WEIR_R_CLOSE_REFUSED:
		request_try_failed(rq, WEIR_R_REQ_UPSTREAM_REFUSED, 502, "the endpoint refused the connection", now_us);
		break;
	case WEIR_R_CLOSE_UNREACHABLE:
		request_try_failed(rq, WEIR_R_REQ_UPSTREAM_UNREACHABLE, 502, "the endpoint cannot be reached", now_us);
		break;
	case WEIR_R_CLOSE_CONNECT_TIMEOUT:
		request_try_failed(rq, WEIR_R_REQ_CONNECT_TIMEOUT, 504, "no connection to the endpoint in time", now_us);
		break;
	default:
		if (stat_reason_kind(how) == WEIR_KIND_TLS) {
			request_try_failed(rq, WEIR_R_REQ_UPSTREAM_TLS, 502, stat_reason_names[how], now_us);
			break;
		}
		request_try_failed(rq, rq->response_begun ? WEIR_R_REQ_UPSTREAM_TRUNCATED : WEIR_R_REQ_UPSTREAM_CLOSED, 502,
				   "the endpoint closed the connection", now_us);
	}
}

void upstream_on_event(struct upstream_conn *uc, void *user, unsigned events, uint64_t now_us)
{
	struct request *rq = user;
	struct client *c = rq->client;

	assert(rq->uc == uc);
	if (events & TCP_EV_CONNECTED) {
		rq->is_connected = true;
		rq->progress_us = rq->log.connected_us = now_us;
	}
	if (!upstream_tcp(uc)) {
		/* The object outlives its connection for a moment; why it ended was kept for us. */
		upstream_closed(rq, upstream_close_reason(uc), now_us);
	}
	client_pump(c, now_us);
}
