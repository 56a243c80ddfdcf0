/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mirrors: copies of requests for a backend whose answer nobody sees. A mirror
 * is fed as its request's body goes by, and nobody ever waits for it: what it
 * does not take at once waits in a queue of its own, by reference where the
 * body is; one whose queue grows too long is cut. It outlives its
 * request until it is answered. It is never tried again.
 */
#include <string.h>

#include <rte_mbuf.h>

#include "proxy/proxy_pvt.h"
#include "snapshot/snapshot.h"

/*
 * Bytes that one mirror may lag behind the request's own backend; and all of a
 * worker, for each packet buffer of its pool: an eighth of it, where the
 * buffers are full, so that no pressure on memory comes from here.
 */
#define MIRROR_BYTES (1u << 20)
#define MIRROR_BYTES_PER_MBUF 256u

static uint64_t bytes_allowed(const struct proxy *p)
{
	return (uint64_t)p->cfg.pool->size * MIRROR_BYTES_PER_MBUF;
}

/* -- accounts. Acknowledgements are seen only when the mirror is looked at: until then too much is counted. */

static void set_held(struct mirror *m, uint32_t bytes)
{
	m->p->mirror_bytes += (uint64_t)bytes - m->held_bytes;
	m->held_bytes = bytes;
	stat_set(m->p->stats, WEIR_G_MIRROR_BYTES, m->p->mirror_bytes);
}

static void account(struct mirror *m)
{
	uint32_t now = m->waiting_bytes;

	if (upstream_tcp(m->uc))
		now += (uint32_t)stream_unacked(upstream_stream(m->uc));
	set_held(m, now);
}

static bool is_over(struct mirror *m)
{
	struct proxy *p = m->p;

	account(m);
	if (m->held_bytes > MIRROR_BYTES)
		return true;
	if (p->mirror_bytes <= bytes_allowed(p))
		return false;
	for (uint32_t i = 0; i < p->n_fresh_mirrors; i++)
		if (p->mirrors[i].uc)
			account(&p->mirrors[i]);
	return p->mirror_bytes > bytes_allowed(p);
}

/* -- its end */

static void unlink_from_request(struct mirror *m)
{
	struct mirror **at;

	if (!m->rq)
		return;
	for (at = &m->rq->mirrors; *at != m; at = &(*at)->next)
		;
	*at = m->next;
	m->rq = NULL;
}

static void release(struct mirror *m)
{
	struct proxy *p = m->p;

	unlink_from_request(m);
	while (m->waiting) {
		struct rte_mbuf *next = m->waiting->next;

		m->waiting->next = NULL;
		rte_pktmbuf_free_seg(m->waiting);
		m->waiting = next;
	}
	set_held(m, 0);
	wheel_cancel(p->cfg.wheel, &m->timer);
	m->uc = NULL;
	m->next = p->free_mirrors;
	p->free_mirrors = m;
	stat_set(p->stats, WEIR_G_MIRRORS, --p->n_mirrors);
}

/* It ends before it was answered. */
static void cut(struct mirror *m, enum weir_reason why, uint64_t now_us)
{
	stat_reason(m->p->stats, why);
	if (m->uc)
		upstream_discard(m->p->cfg.upstream, m->uc, true, now_us);
	release(m);
}

/* It was answered. An answer that comes before the request is complete leaves a connection that nobody can use. */
static void finish(struct mirror *m, bool keep, uint64_t now_us)
{
	if (keep && !m->rq && !m->waiting)
		upstream_put(m->p->cfg.upstream, m->uc, now_us);
	else
		upstream_discard(m->p->cfg.upstream, m->uc, m->rq || m->waiting, now_us);
	release(m);
}

/* -- its request */

static void append(struct mirror *m, struct rte_mbuf *seg)
{
	seg->next = NULL;
	seg->nb_segs = 1;
	seg->pkt_len = seg->data_len;
	if (m->waiting)
		m->waiting_tail->next = seg;
	else
		m->waiting = seg;
	m->waiting_tail = seg;
	m->waiting_bytes += seg->data_len;
}

/* Gives on what the connection has room for. False: the mirror is cut. */
static bool flush(struct mirror *m, uint64_t now_us)
{
	struct stream io = upstream_stream(m->uc);
	bool has_sent = false;

	while (m->waiting && m->is_connected && stream_send_room(io) >= m->waiting->data_len) {
		struct rte_mbuf *seg = m->waiting;

		m->waiting = seg->next;
		m->waiting_bytes -= seg->data_len;
		seg->next = NULL;
		if (stream_send_mbufs(io, seg) != 0) {
			cut(m, WEIR_R_MIRROR_FAILED, now_us);
			return false;
		}
		has_sent = true;
	}
	if (has_sent) {
		stream_flush(io);
		(void)stream_send_room(io); /* only now TCP can tell when there is more */
	}
	if (is_over(m)) {
		cut(m, WEIR_R_MIRROR_SLOW, now_us);
		return false;
	}
	return true;
}

/* Copies n bytes behind what waits. False: no buffer. */
static bool copy(struct mirror *m, const char *p, size_t n)
{
	while (n) {
		struct rte_mbuf *seg = m->waiting ? m->waiting_tail : NULL;
		uint16_t k;

		if (!seg || !RTE_MBUF_DIRECT(seg) || rte_mbuf_refcnt_read(seg) != 1 || rte_pktmbuf_tailroom(seg) == 0) {
			seg = rte_pktmbuf_alloc(m->p->cfg.pool);
			if (!seg)
				return false;
			append(m, seg);
		}
		k = rte_pktmbuf_tailroom(seg) < n ? rte_pktmbuf_tailroom(seg) : (uint16_t)n;
		memcpy(rte_pktmbuf_append(seg, k), p, k);
		m->waiting_bytes += k;
		p += k;
		n -= k;
	}
	return true;
}

/* Appends references to what a chain holds. False: no buffer. */
static bool share(struct mirror *m, struct rte_mbuf *chain)
{
	struct rte_mbuf *ref = rte_pktmbuf_clone(chain, m->p->cfg.clones);

	if (!ref)
		return false;
	while (ref) {
		struct rte_mbuf *next = ref->next;

		append(m, ref);
		ref = next;
	}
	return true;
}

void mirrors_copy(struct request *rq, const void *data, size_t n, uint64_t now_us)
{
	struct mirror *next;

	for (struct mirror *m = rq->mirrors; m; m = next) {
		next = m->next;
		if (copy(m, data, n))
			flush(m, now_us);
		else
			cut(m, WEIR_R_MIRROR_NO_MEMORY, now_us);
	}
}

void mirrors_share(struct request *rq, struct rte_mbuf *chain, uint64_t now_us)
{
	struct mirror *next;

	for (struct mirror *m = rq->mirrors; m; m = next) {
		next = m->next;
		if (share(m, chain))
			flush(m, now_us);
		else
			cut(m, WEIR_R_MIRROR_NO_MEMORY, now_us);
	}
}

static void arm(struct mirror *m, uint32_t ms, uint64_t now_us)
{
	const struct proxy_config *cfg = &m->p->cfg;

	wheel_arm(cfg->wheel, &m->timer, cfg->wheel_kind + 2, now_us + (uint64_t)ms * 1000);
}

/* From here on it is on its own. */
static void let_go(struct mirror *m, uint64_t now_us)
{
	unlink_from_request(m);
	arm(m, m->p->cfg.timeouts.first_byte_ms, now_us);
}

void mirrors_complete(struct request *rq, uint64_t now_us)
{
	while (rq->mirrors)
		let_go(rq->mirrors, now_us);
}

void mirrors_cut(struct request *rq, uint64_t now_us)
{
	while (rq->mirrors)
		cut(rq->mirrors, WEIR_R_MIRROR_CUT, now_us);
}

void mirrors_end(struct proxy *p, uint64_t now_us)
{
	for (uint32_t i = 0; i < p->n_fresh_mirrors; i++)
		if (p->mirrors[i].uc)
			cut(&p->mirrors[i], WEIR_R_MIRROR_CUT, now_us);
}

/* -- its answer */

static void expect_response(struct mirror *m)
{
	http1_response_init(&m->parser, &m->response, m->buf, &m->p->cfg.limits, (enum http_method)m->method);
	m->has_response = false;
}

/* Takes bytes of the head. DONE: it is complete, and no interim one. */
static enum http1_outcome read_head(struct mirror *m, struct stream io)
{
	struct slice s = stream_peek(io);
	size_t used;
	enum http1_outcome o = http1_parse(&m->parser, s.p, s.n, &used);

	stream_consume(io, used);
	if (o != HTTP1_DONE)
		return o;
	if (m->response.status < 200) {
		expect_response(m);
		return ++m->n_interim > MAX_INTERIM ? HTTP1_BAD_STATUS_LINE : HTTP1_MORE;
	}
	m->has_response = true;
	http1_body_init(&m->body, &m->response, true);
	return http1_body_is_done(&m->body) ? HTTP1_DONE : HTTP1_MORE;
}

static enum http1_outcome read_body(struct mirror *m, struct stream io)
{
	struct slice s = stream_peek(io);
	struct http1_run run;
	enum http1_outcome o = http1_body_scan(&m->body, s.p, s.n, &run);

	stream_consume(io, run.skip + run.data);
	return o;
}

/* Reads and forgets. The mirror may be gone afterwards. */
static void drop_answer(struct mirror *m, uint64_t now_us)
{
	struct stream io = upstream_stream(m->uc);
	enum http1_outcome o = HTTP1_MORE;
	bool has_moved = false;

	while (o == HTTP1_MORE && stream_readable(io)) {
		o = m->has_response ? read_body(m, io) : read_head(m, io);
		has_moved = true;
	}
	if (http1_is_bad(o)) {
		cut(m, WEIR_R_MIRROR_FAILED, now_us);
	} else if (o == HTTP1_DONE) {
		finish(m, m->response.keep_alive, now_us);
	} else if (stream_is_eof(io)) {
		if (m->has_response && m->body.kind == HTTP_BODY_UNTIL_CLOSE)
			finish(m, false, now_us);
		else
			cut(m, WEIR_R_MIRROR_FAILED, now_us);
	} else if (has_moved && !m->rq) {
		arm(m, m->p->cfg.timeouts.body_ms, now_us);
	}
}

static void on_event(struct upstream_conn *uc, void *user, unsigned events, uint64_t now_us)
{
	struct mirror *m = user;

	assert(m->uc == uc);
	if (!upstream_tcp(uc)) {
		cut(m, WEIR_R_MIRROR_FAILED, now_us);
		return;
	}
	if (events & TCP_EV_CONNECTED)
		m->is_connected = true;
	if (flush(m, now_us))
		drop_answer(m, now_us);
}

void mirror_on_timer(void *ctx, struct wheel_timer *t, uint64_t now_us)
{
	struct mirror *m = (struct mirror *)(void *)t; /* its first field */

	cut(m, WEIR_R_MIRROR_TIMEOUT, now_us);
}

/* -- its beginning */

static struct mirror *take(struct proxy *p)
{
	struct mirror *m = p->free_mirrors;
	char *buf;

	if (m)
		p->free_mirrors = m->next;
	else if (p->n_fresh_mirrors < p->cfg.n_mirrors)
		m = &p->mirrors[p->n_fresh_mirrors++];
	if (!m)
		return NULL;
	buf = p->mirror_buffers + (size_t)(m - p->mirrors) * p->cfg.limits.headers_bytes;
	memset(m, 0, offsetof(struct mirror, parser));
	m->p = p;
	m->buf = buf;
	stat_set(p->stats, WEIR_G_MIRRORS, ++p->n_mirrors);
	return m;
}

static bool connect_to(struct mirror *m, uint64_t backend_id, uint64_t now_us)
{
	struct upstream_tried tried = {0};
	const struct upstream_args args = {.backend_id = backend_id, .tried = &tried, .event = on_event, .user = m};

	switch (upstream_get(m->p->cfg.upstream, &args, now_us, &m->uc)) {
	case UPSTREAM_READY:
		m->is_connected = true;
		return true;
	case UPSTREAM_CONNECTING:
		return true;
	default:
		m->uc = NULL;
		return false;
	}
}

static void start(struct request *rq, uint64_t backend_id, struct slice head, uint64_t now_us)
{
	struct proxy *p = rq->client->p;
	struct mirror *m = tcp_has_memory(p->cfg.tcp) ? take(p) : NULL;

	if (!m) {
		stat_reason(p->stats, tcp_has_memory(p->cfg.tcp) ? WEIR_R_MIRROR_POOL_EMPTY : WEIR_R_MIRROR_NO_MEMORY);
		return;
	}
	m->method = rq->head.method;
	m->rq = rq;
	m->next = rq->mirrors;
	rq->mirrors = m;
	if (!connect_to(m, backend_id, now_us)) {
		cut(m, WEIR_R_MIRROR_NO_ENDPOINT, now_us);
		return;
	}
	expect_response(m);
	if (!copy(m, head.p, head.n)) {
		cut(m, WEIR_R_MIRROR_NO_MEMORY, now_us);
		return;
	}
	stat_inc(p->stats, WEIR_C_MIRRORED);
	rq->log.flags |= WEIR_LOG_MIRRORED_FLAG;
	flush(m, now_us);
}

/* The share of requests is met by chance, each for itself. */
static bool is_chosen(struct proxy *p, const struct weir_filter *f)
{
	return ((uint64_t)(uint32_t)proxy_random(p) * f->denominator) >> 32 < f->numerator;
}

static void start_list(struct request *rq, const struct weir_snapshot *s, struct weir_range filters, uint64_t now_us)
{
	struct proxy *p = rq->client->p;

	for (uint32_t i = filters.first; i < filters.first + filters.count; i++) {
		const struct weir_filter *f = snapshot_filter(s, i);
		struct buf b;

		if (f->kind != WEIR_FILTER_MIRROR || !is_chosen(p, f))
			continue;
		buf_init(&b, p->scratch, p->scratch_size);
		request_write_head(rq, false, &b);
		start(rq, snapshot_backend(s, f->backend)->id, buf_get(&b), now_us);
	}
}

static bool has_any(const struct weir_snapshot *s, struct weir_range filters)
{
	for (uint32_t i = filters.first; i < filters.first + filters.count; i++)
		if (snapshot_filter(s, i)->kind == WEIR_FILTER_MIRROR)
			return true;
	return false;
}

bool mirrors_are_wanted(const struct weir_snapshot *s, const struct weir_rule *rule)
{
	bool any = has_any(s, rule->filters);

	for (uint32_t i = rule->splits.first; !any && i < rule->splits.first + rule->splits.count; i++)
		any = has_any(s, snapshot_split(s, i)->filters);
	return any;
}

void mirrors_start(struct request *rq, const struct filter_source *from, uint64_t now_us)
{
	start_list(rq, from->s, from->rule->filters, now_us);
	start_list(rq, from->s, from->split->filters, now_us);
	if (rq->body_sent) /* there is none */
		mirrors_complete(rq, now_us);
}
