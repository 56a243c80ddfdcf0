/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record of a request (weir/accesslog.h), written when it ends. What is
 * gone by then, names of the routes above all, was copied when it was known: a record
 * needs no snapshot to be read.
 */
#include <string.h>

#include "proxy/proxy_pvt.h"
#include "snapshot/snapshot.h"

static_assert(sizeof(struct weir_log_record) == WEIR_LOG_RECORD, "a record fills its slot");

/* A text on its way into a record. */
struct texts {
	struct weir_log_record *r;
	size_t n, max;
	uint32_t truncated;
};

static inline void put(struct texts *t, enum weir_log_text id, size_t max, struct slice s)
{
	size_t room = t->max - t->n;

	if (max > room)
		max = room;
	if (__builtin_expect(s.n > max, 0)) {
		s.n = max;
		t->truncated = WEIR_LOG_TRUNCATED_FLAG;
	}
	t->r->len[id] = (uint16_t)s.n;
	if (s.n)
		memcpy(t->r->text + t->n, s.p, s.n);
	t->n += s.n;
}

#define PUT(name, slice) put(t, WEIR_LOG_##name, WEIR_LOG_##name##_MAX, slice)

static uint64_t unix_us(const struct proxy *p, uint64_t us)
{
	return us + __atomic_load_n(&p->log.shared->unix_offset_us, __ATOMIC_RELAXED);
}

/* The slot of the next record, marked as being written. */
static struct weir_log_record *begin(struct access_log *l)
{
	struct weir_log_record *r = &l->records[l->slot];

	__atomic_store_n(&r->seq, 0, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	return r;
}

static void commit(struct proxy *p, struct weir_log_record *r)
{
	struct access_log *l = &p->log;

	l->n_written++;
	__atomic_store_n(&r->seq, l->n_written, __ATOMIC_RELEASE);
	__atomic_store_n(&l->shared->head, l->n_written, __ATOMIC_RELEASE);
	if (++l->slot == l->n_slots)
		l->slot = 0;
	stat_inc(p->stats, WEIR_C_LOG_RECORDS);
}

static uint32_t since(uint64_t start_us, uint64_t us)
{
	uint64_t n = us - start_us;

	if (us < start_us)
		return WEIR_LOG_NEVER;
	return n < WEIR_LOG_NEVER ? (uint32_t)n : WEIR_LOG_NEVER - 1;
}

static void put_client(struct weir_log_record *r, const struct client *c)
{
	const struct ip_flow *flow = tcp_flow(stream_tcp(c->io));

	r->client = flow->remote;
	r->client_port = flow->remote_port;
	r->local = flow->local;
	r->local_port = flow->local_port;
}

/* Into its place among the texts. */
static void put_tls(struct texts *t, const struct client *c)
{
	struct tls_info info;

	t->r->tls_version = 0;
	t->r->tls_is_resumed = 0;
	t->r->tls_group = 0;
	t->r->len[WEIR_LOG_TLS_CIPHER] = t->r->len[WEIR_LOG_TLS_SERVER_NAME] = 0;
	if (!client_is_tls(c))
		return;
	tls_get_info(stream_tls(c->io), &info);
	t->r->tls_version = info.version ? info.version : WEIR_LOG_TLS_FAILED;
	t->r->tls_is_resumed = info.is_resumed;
	t->r->tls_group = info.group;
	PUT(TLS_CIPHER, slice_str(info.cipher));
	PUT(TLS_SERVER_NAME, info.server_name);
}

/* Only of a complete head: the parts of another one may lie in memory that is gone. */
static void put_head(struct texts *t, const struct request *rq)
{
	const struct http_head *h = &rq->head;
	const struct http_field *agent = http_head_get(h, HTTP_FIELD_USER_AGENT);
	const struct http_field *referer = http_head_get(h, HTTP_FIELD_REFERER);
	const struct request_names *n = &rq->names;

	PUT(METHOD, h->method_name);
	PUT(HOST, h->host);
	PUT(ROUTE_KIND, slice_of(n->kind, rq->log.n_kind));
	PUT(ROUTE_NS, slice_of(n->ns, rq->log.n_ns));
	PUT(ROUTE_NAME, slice_of(n->name, rq->log.n_name));
	PUT(BACKEND, slice_of(n->backend, rq->log.n_backend));
	PUT(REQUEST_ID, rq->request_id);
	PUT(DETAIL, rq->log.detail);
	put_tls(t, rq->client);
	PUT(TARGET, h->target);
	PUT(USER_AGENT, agent ? agent->value : slice_of(NULL, 0));
	PUT(REFERER, referer ? referer->value : slice_of(NULL, 0));
}

static void put_stream(struct texts *t, const struct request *rq)
{
	const struct request_names *n = &rq->names;

	memset(t->r->len, 0, sizeof(t->r->len));
	PUT(HOST, slice_of(rq->buf, rq->log.n_server_name));
	PUT(ROUTE_KIND, slice_of(n->kind, rq->log.n_kind));
	PUT(ROUTE_NS, slice_of(n->ns, rq->log.n_ns));
	PUT(ROUTE_NAME, slice_of(n->name, rq->log.n_name));
	PUT(BACKEND, slice_of(n->backend, rq->log.n_backend));
	PUT(REQUEST_ID, rq->request_id);
	PUT(DETAIL, rq->log.detail);
	put_tls(t, rq->client);
}

static void put_rest(struct texts *t, const struct request *rq)
{
	memset(t->r->len, 0, sizeof(t->r->len));
	PUT(REQUEST_ID, rq->request_id);
	PUT(DETAIL, rq->log.detail);
	put_tls(t, rq->client);
}

/* All of r but seq. */
static void fill(struct weir_log_record *r, const struct request *rq, uint64_t now_us)
{
	const struct request_log *l = &rq->log;
	struct texts t = {.r = r, .max = l->is_tunnel ? sizeof(r->text_if_long) : sizeof(r->text)};

	r->start_us = unix_us(rq->client->p, rq->start_us);
	r->generation = l->generation;
	r->backend_id = rq->backend_id;
	r->request_bytes = l->request_bytes;
	r->response_bytes = l->response_bytes;
	r->request_head_bytes = l->request_head_bytes;
	r->response_head_bytes = l->response_head_bytes;
	r->head_us = rq->has_head ? since(rq->start_us, l->head_us) : WEIR_LOG_NEVER;
	r->connected_us = since(rq->start_us, l->connected_us);
	r->sent_us = rq->head_sent && rq->body_sent ? since(rq->start_us, rq->sent_us) : WEIR_LOG_NEVER;
	r->first_us = since(rq->start_us, l->first_us);
	r->end_us = since(rq->start_us, now_us);
	r->rule = l->rule;
	r->status = l->status;
	r->reason_plus1 = l->reason_plus1;
	r->endpoint = l->endpoint;
	r->endpoint_port = l->endpoint_port;
	r->minor = rq->has_head ? rq->head.minor : 0;
	r->n_tries = l->n_tries;
	put_client(r, rq->client);
	r->forwarded_client = rq->client_addr;
	if (rq->has_head)
		put_head(&t, rq);
	else if (rq->is_stream)
		put_stream(&t, rq);
	else
		put_rest(&t, rq);
	r->flags = l->flags | t.truncated | (l->is_whole ? 0 : WEIR_LOG_CUT_FLAG) | (l->n_tries > 1 ? WEIR_LOG_RETRIED_FLAG : 0) |
		   (rq->has_head ? WEIR_LOG_HEAD_FLAG : 0);
}

void record_request(const struct request *rq, uint64_t now_us)
{
	struct proxy *p = rq->client->p;
	struct weir_log_record *r;

	if (p->log.n_slots == 0 || rq->log.is_tunnel || (!rq->has_head && rq->log.reason_plus1 == 0)) /* of the latter not a byte came */
		return;
	r = begin(&p->log);
	fill(r, rq, now_us);
	commit(p, r);
}

/* -- tunnels */

void record_tunnel_open(struct request *rq, const struct tunnel *t, uint64_t now_us)
{
	struct proxy *p = rq->client->p;

	rq->log.is_tunnel = true;
	if (p->log.n_slots)
		fill(&p->tunnel_records[t - p->tunnels], rq, now_us);
}

static size_t text_bytes(const struct weir_log_record *r)
{
	size_t n = 0;

	for (unsigned i = 0; i < WEIR_N_LOG_TEXTS; i++)
		n += r->len[i];
	return n;
}

void record_tunnel_end(struct proxy *p, const struct tunnel *t, enum weir_reason why, bool is_cut, uint64_t now_us)
{
	const size_t from = offsetof(struct weir_log_record, start_us);
	const struct weir_log_record *kept;
	struct weir_log_record *r;
	uint64_t end_us;

	if (p->log.n_slots == 0)
		return;
	kept = &p->tunnel_records[t - p->tunnels];
	r = begin(&p->log);
	memcpy((char *)r + from, (const char *)kept + from, offsetof(struct weir_log_record, text) + text_bytes(kept) - from);
	r->request_bytes = t->bytes_up;
	r->response_bytes = t->bytes_down;
	end_us = kept->end_us + (now_us - t->start_us); /* what was before the tunnel, and its time */
	if (end_us < WEIR_LOG_NEVER) {
		r->end_us = (uint32_t)end_us;
	} else {
		r->end_us = WEIR_LOG_NEVER - 1;
		r->long_end_us = end_us;
		r->flags |= WEIR_LOG_LONG_FLAG;
	}
	r->reason_plus1 = why == WEIR_N_REASONS ? 0 : (uint16_t)(why + 1);
	r->flags |= is_cut ? WEIR_LOG_CUT_FLAG : 0;
	commit(p, r);
}

void record_busy(struct client *c, enum weir_reason why, uint32_t n_sent, uint32_t flags, uint64_t now_us)
{
	struct proxy *p = c->p;
	struct weir_log_record *r;
	struct texts t;

	if (p->log.n_slots == 0)
		return;
	r = begin(&p->log);
	t = (struct texts){.r = r, .max = sizeof(r->text)};
	memset(&r->start_us, 0, offsetof(struct weir_log_record, text) - offsetof(struct weir_log_record, start_us));
	r->start_us = unix_us(p, now_us);
	r->head_us = r->connected_us = r->sent_us = r->first_us = WEIR_LOG_NEVER;
	r->response_head_bytes = n_sent;
	r->status = n_sent ? 503 : 0;
	r->reason_plus1 = (uint16_t)(why + 1);
	r->flags = flags | (n_sent ? 0 : WEIR_LOG_CUT_FLAG);
	put_client(r, c);
	put_tls(&t, c);
	commit(p, r);
}

/* -- what is known on the way */

static uint8_t keep(char *to, size_t cap, struct slice s)
{
	if (s.n > cap)
		s.n = cap;
	memcpy(to, s.p, s.n);
	return (uint8_t)s.n;
}

void record_route(struct request *rq, const struct weir_snapshot *s, const struct weir_rule *rule)
{
	const struct weir_route *route;

	if (rq->client->p->log.n_slots == 0)
		return;
	route = snapshot_route(s, rule->route);
	rq->log.generation = s->generation;
	rq->log.rule = rule->rule_index;
	rq->log.n_kind = keep(rq->names.kind, sizeof(rq->names.kind), snapshot_str(s, route->kind));
	rq->log.n_ns = keep(rq->names.ns, sizeof(rq->names.ns), snapshot_str(s, route->ns));
	rq->log.n_name = keep(rq->names.name, sizeof(rq->names.name), snapshot_str(s, route->name));
}

void record_backend(struct request *rq, const struct weir_snapshot *s, const struct weir_backend *b)
{
	if (rq->client->p->log.n_slots)
		rq->log.n_backend = keep(rq->names.backend, sizeof(rq->names.backend), snapshot_str(s, b->name));
}

void record_try(struct request *rq)
{
	const struct ip_flow *flow;
	struct request_log *l = &rq->log;

	if (l->n_tries < UINT8_MAX) /* a route may want many */
		l->n_tries++;
	l->connected_us = l->first_us = 0;
	l->flags &= ~(uint32_t)WEIR_LOG_REUSED_FLAG;
	if (rq->client->p->log.n_slots == 0 || !upstream_tcp(rq->uc))
		return;
	flow = tcp_flow(upstream_tcp(rq->uc));
	l->endpoint = flow->remote;
	l->endpoint_port = flow->remote_port;
	if (upstream_is_reused(rq->uc))
		l->flags |= WEIR_LOG_REUSED_FLAG;
}

void record_init(struct access_log *l, struct weir_log_region *region, unsigned worker)
{
	if (!region)
		return;
	l->shared = (struct weir_log_worker *)(void *)((char *)region + region->workers_off) + worker;
	l->records = (struct weir_log_record *)(void *)((char *)region + region->records_off) + (size_t)worker * region->n_slots;
	l->n_slots = region->n_slots;
}
