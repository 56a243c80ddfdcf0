/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The filters of a route, done to a request. What they change is copied once,
 * when the request is routed (snapshot.h bounds it), so that no request holds
 * an old snapshot; heads are changed while they are written (http1/changes.c).
 */
#include "proxy/proxy_pvt.h"
#include "snapshot/snapshot.h"

static void pack_list(struct buf *b, const struct weir_snapshot *s, struct weir_range filters, uint8_t kind)
{
	for (uint32_t i = filters.first; i < filters.first + filters.count; i++) {
		const struct weir_filter *f = snapshot_filter(s, i);

		if (f->kind != kind)
			continue;
		for (uint32_t k = f->ops.first; k < f->ops.first + f->ops.count; k++) {
			const struct weir_header_op *o = snapshot_header_op(s, k);

			http1_change_add(b, (enum http1_change_kind)o->kind, snapshot_str(s, o->name), snapshot_str(s, o->value));
		}
	}
}

/* The changes of both lists, in their order. */
static void pack(struct buf *b, const struct filter_source *from, uint8_t kind)
{
	pack_list(b, from->s, from->rule->filters, kind);
	if (from->split)
		pack_list(b, from->s, from->split->filters, kind);
}

static struct slice take_text(struct buf *b, struct slice text)
{
	size_t start = b->n;

	buf_slice(b, text);
	return slice_of(b->p + start, b->n - start);
}

static void redirect(struct request *rq, const struct filter_source *from, const struct route_change *c, uint64_t now_us)
{
	/* Of the connection: the bind may have become another since that was opened. */
	enum weir_proto own = client_is_tls(rq->client) ? WEIR_PROTO_HTTPS : WEIR_PROTO_HTTP;
	enum weir_proto proto = c->redirect->scheme ? (enum weir_proto)c->redirect->scheme : own;
	const struct ip_flow *flow = tcp_flow(stream_tcp(rq->client->io));
	char text[IP_TEXT_MAX + 2];
	struct buf b;
	struct http1_redirect r = {
		.status = c->redirect->status,
		.scheme = proto == WEIR_PROTO_HTTPS ? SLICE("https") : SLICE("http"),
		.host = c->host.p ? c->host : rq->head.host,
		.port = route_redirect_port(c->redirect, own, from->bind->port),
		.path_head = c->has_path ? c->path_head : rq->head.path,
		.path_tail = c->has_path ? c->path_tail : slice_of("", 0),
		.query = rq->head.query,
		.changes = rq->response_changes,
	};

	if (r.host.n == 0) { /* HTTP/1.0 without Host: where the client turned to */
		char ip[IP_TEXT_MAX];
		bool is_v6 = strchr(ip_format(&flow->local, ip), ':') != NULL;

		buf_init(&b, text, sizeof(text));
		buf_str(&b, is_v6 ? "[" : "");
		buf_str(&b, ip);
		buf_str(&b, is_v6 ? "]" : "");
		r.host = buf_get(&b);
	}
	reply_redirect(rq, &r, now_us);
}

bool filters_take(struct request *rq, const struct filter_source *from, uint64_t now_us)
{
	struct route_change c = {0};
	struct route_cors cors;
	bool has_cors;
	struct buf b;
	size_t start;

	if (from->rule->filters.count == 0 && (!from->split || from->split->filters.count == 0))
		return true;
	has_cors = cors_find(rq, from, &cors);
	if (has_cors && cors_is_preflight(rq)) {
		cors_answer(rq, &cors, now_us);
		return false;
	}
	buf_init(&b, rq->filter_mem, FILTER_ROOM);
	start = b.n;
	pack(&b, from, WEIR_FILTER_RESPONSE_HEADERS);
	if (has_cors)
		cors_change(&b, &cors);
	rq->response_changes = slice_of(b.p + start, b.n - start);
	route_change_add(&c, from->s, from->rule->filters, rq->head.path, from->n_prefix);
	if (from->split && !c.redirect)
		route_change_add(&c, from->s, from->split->filters, rq->head.path, from->n_prefix);
	if (c.redirect) {
		redirect(rq, from, &c, now_us);
		return false;
	}
	start = b.n;
	pack(&b, from, WEIR_FILTER_REQUEST_HEADERS);
	rq->changes = slice_of(b.p + start, b.n - start);
	rq->host = take_text(&b, c.host);
	rq->has_path = c.has_path;
	rq->path_head = take_text(&b, c.path_head);
	rq->path_tail = c.path_tail;
	assert(!b.overflow); /* the snapshot's checker has seen to it */
	return true;
}
