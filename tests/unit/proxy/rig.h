/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proxy end to end in virtual time: a client and an origin on one host,
 * the proxy on the other, a link that loses and reorders between them. The
 * origin sends each body back; the client checks every byte. A mirror is an
 * origin of its own.
 */
#ifndef TESTS_PROXY_RIG_H
#define TESTS_PROXY_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "eal.h"
#include "http1/http1.h"
#include "net/net.h"
#include "proxy/proxy.h"
#include "sim.h"
#include "snapshot/snapshot.h"
#include "stats/stats.h"
#include "translate/compile.h"
#include "../../upstream_all.h"

#define MAX_BODY 60000
#define DRAIN_SLICE 32 /* as in proxy_pvt.h */
#define N_REQUESTS 1000
#define N_MIRRORS 8
#define N_TUNNELS 8
#define LARGE_BODY 400000
#define STR(x) STR_(x)
#define STR_(x) #x

#define N_LOG 8192 /* records: more than the requests of any test */
#define LOG_OFFSET_US 1700000000000000ull

static struct sim sim;
static uint32_t n_log_slots = N_LOG;
static uint32_t drain_ms = 30000; /* of the next proxy */
static struct {
	struct weir_log_region region;
	struct weir_log_worker worker;
	struct weir_log_record records[N_LOG];
} access_log;
static struct upstream *upstream;
static struct proxy *proxy;
static struct weir_worker_stats *stats;
static unsigned n_released;
static struct proxy_forwarding forwarding; /* of the next proxy */
static const struct http1_limits limits = {.line_bytes = 1000, .headers_bytes = 4000, .n_fields = 50};

/* The proxy's layers ask this of net/, which is not here. */
bool net_source_for(const struct net *n, const struct weir_ip *remote, struct weir_ip *local)
{
	*local = sim.host[1].ip;
	return true;
}

/* One end of an HTTP connection: reads messages, writes what is in out. */
struct peer {
	struct tcp_conn *c;
	bool is_client, is_closed, is_mirror;
	struct http1_parser parser;
	struct http1_body scan;
	struct http_head head;
	char buf[4000];
	bool has_head;
	char body[MAX_BODY + 1];
	size_t n_body;
	char out[MAX_BODY * 2 + 4096];
	size_t n_out, n_sent;
	size_t n_stream; /* more bytes of a body, behind what is in out */
	bool closes; /* after what is in out */
	char trailers[4000];
	bool has_asked_for_trailers; /* client */
	/* client */
	char want[MAX_BODY + 1];
	size_t n_want;
	unsigned n_done, n_left;
	unsigned status;
};

enum origin_mode { ORIGIN_ECHO, ORIGIN_CLOSE_EACH, ORIGIN_CUT, ORIGIN_SILENT, ORIGIN_GARBAGE, ORIGIN_SINK, ORIGIN_DEAF, ORIGIN_TOO_EARLY };
static enum origin_mode mode;
static unsigned n_origin_requests;
static struct peer clients[8], origins[64];
static unsigned n_origins;
/* The mirror's endpoint is an origin of its own; it keeps what it got. */
enum mirror_mode { MIRROR_ECHO, MIRROR_DEAF, MIRROR_SILENT, MIRROR_CLOSE, MIRROR_GARBAGE };
static enum mirror_mode mirror_mode;
static struct peer mirrors[64];
static unsigned n_mirrors, n_mirrored;
static char mirrored[2048], mirrored_body[MAX_BODY + 1];
static size_t n_mirrored_body;
static unsigned n_mirror_backends; /* in the next snapshot */

static char seen[2048], got[2048]; /* the last heads that an origin and a client read, as text */

static struct model_balance balance; /* of the backend, in the next snapshot */

/* What the routes of the next snapshot do besides forwarding. */
static struct {
	uint8_t action; /* 0: forward */
	struct model_filters rule, split;
	struct weir_timeouts limits, listener_limits;
	struct weir_retry retry;
	uint16_t port; /* 0: 80 */
	uint8_t proto; /* 0: HTTP */
	uint8_t kind;  /* enum weir_listener_kind */
	bool is_empty; /* it has no routes */
	bool has_no_backend;
	bool has_own_bind; /* the proxy's address has the port for itself, for bytes; the listener above is on all */
	const char *host, *second_host; /* of the listener, and of one more without routes; NULL: any, none */
} route;

/* Where TLS is tested: makes it for the next proxy, ends it, and gives the snapshot server names. */
static struct tls *(*make_tls)(void);
static void (*end_tls)(void);
static void (*add_names)(void **blob, size_t *n);


static void next_request(struct peer *p);

static void head_text(char *out, size_t cap, const struct http_head *h, bool is_response)
{
	size_t n;

	if (is_response)
		n = (size_t)snprintf(out, cap, "%u\n", h->status);
	else
		n = (size_t)snprintf(out, cap, "%.*s%s%.*s\n", (int)h->path.n, h->path.p, h->query.p ? "?" : "", (int)h->query.n,
				     h->query.p ? h->query.p : "");
	for (unsigned i = 0; i < h->n_fields && n < cap; i++)
		n += (size_t)snprintf(out + n, cap - n, "%.*s: %.*s\n", (int)h->fields[i].name.n, h->fields[i].name.p,
				      (int)h->fields[i].value.n, h->fields[i].value.p);
}

static void init_parser(struct peer *p)
{
	if (p->is_client)
		http1_response_init(&p->parser, &p->head, p->buf, &limits, HTTP_METHOD_POST);
	else
		http1_request_init(&p->parser, &p->head, p->buf, &limits);
	p->has_head = false;
	p->n_body = 0;
}

static void put(struct peer *p, const char *text, size_t n)
{
	assert_true(p->n_out + n <= sizeof(p->out));
	memcpy(p->out + p->n_out, text, n);
	p->n_out += n;
}

static void put_str(struct peer *p, const char *text)
{
	put(p, text, strlen(text));
}

/* A body with a length, or in chunks of random sizes and with trailers that say its length, some of them long. */
static void put_body(struct peer *p, const char *body, size_t n, bool chunked)
{
	char line[64];
	size_t n_all = n;

	if (!chunked) {
		snprintf(line, sizeof(line), "Content-Length: %zu\r\n\r\n", n);
		put_str(p, line);
		put(p, body, n);
		return;
	}
	put_str(p, "Transfer-Encoding: chunked\r\n\r\n");
	while (n) {
		size_t k = 1 + sim_random(&sim) % 5000;

		if (k > n)
			k = n;
		snprintf(line, sizeof(line), "%zx\r\n", k);
		put_str(p, line);
		put(p, body, k);
		put_str(p, "\r\n");
		body += k;
		n -= k;
	}
	snprintf(line, sizeof(line), "0\r\nX-Sum: %zu\r\nX-Fill:", n_all);
	put_str(p, line);
	for (unsigned i = sim_random(&sim) % 2 * (sim_random(&sim) % 1500); i-- > 0;)
		put_str(p, "x");
	put_str(p, "\r\nContent-Type: none\r\n\r\n");
}

/* The trailers of put_body() came along with it, where they had to. */
static void check_trailers(struct peer *p)
{
	char want[64];

	if (p->head.body != HTTP_BODY_CHUNKED || (p->is_client ? !p->has_asked_for_trailers : !p->head.takes_trailers))
		return;
	snprintf(want, sizeof(want), "X-Sum: %zu\r\nX-Fill:", p->n_body);
	assert_true(slice_has_prefix(http1_body_trailers(&p->scan), slice_str(want)));
	assert_int_equal(p->scan.n_trailers, 2);
}

static void mirror_answer(struct peer *p)
{
	n_mirrored++;
	head_text(mirrored, sizeof(mirrored), &p->head, false);
	memcpy(mirrored_body, p->body, p->n_body);
	n_mirrored_body = p->n_body;
	switch (mirror_mode) {
	case MIRROR_ECHO:
		put_str(p, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n");
		put_body(p, p->body, p->n_body, n_mirrored % 2);
		break;
	case MIRROR_GARBAGE:
		put_str(p, "ICY 200 OK\r\n\r\n");
		break;
	case MIRROR_CLOSE:
		p->closes = true;
		break;
	case MIRROR_SILENT:
	case MIRROR_DEAF:
		break;
	}
}

static void origin_answer(struct peer *p)
{
	if (p->is_mirror) {
		mirror_answer(p);
		return;
	}
	n_origin_requests++;
	head_text(seen, sizeof(seen), &p->head, false);
	if (slice_eq(p->head.path, SLICE("/large"))) {
		put_str(p, "HTTP/1.1 200 OK\r\nContent-Length: " STR(LARGE_BODY) "\r\n\r\n");
		p->n_stream = LARGE_BODY;
		return;
	}
	switch (mode) {
	case ORIGIN_ECHO:
	case ORIGIN_CLOSE_EACH:
		put_str(p, "HTTP/1.1 200 OK\r\n");
		put_body(p, p->body, p->n_body, n_origin_requests % 3 == 0);
		p->closes = mode == ORIGIN_CLOSE_EACH;
		break;
	case ORIGIN_CUT:
		put_str(p, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this");
		p->closes = true;
		break;
	case ORIGIN_GARBAGE:
		put_str(p, "ICY 200 OK\r\n\r\n");
		break;
	case ORIGIN_SINK:
		put_str(p, "HTTP/1.1 204 No Content\r\n\r\n");
		break;
	case ORIGIN_TOO_EARLY: /* RFC 8470 5.2 */
		put_str(p, http_head_get(&p->head, HTTP_FIELD_EARLY_DATA) ? "HTTP/1.1 425 Too Early\r\n" : "HTTP/1.1 200 OK\r\n");
		put_str(p, "Content-Length: 0\r\n\r\n");
		break;
	case ORIGIN_SILENT:
	case ORIGIN_DEAF:
		break;
	}
}

static void client_take(struct peer *p)
{
	p->status = p->head.status;
	head_text(got, sizeof(got), &p->head, true);
	p->n_done++;
	if (p->status == 200) {
		assert_int_equal(p->n_body, p->n_want);
		assert_memory_equal(p->body, p->want, p->n_want);
	}
	if (p->n_left)
		next_request(p);
}

static void write_out(struct peer *p)
{
	while (p->n_sent < p->n_out) {
		size_t room = tcp_send_room(p->c);
		size_t n = p->n_out - p->n_sent;

		if (n > room)
			n = room;
		if (n == 0 || tcp_send(p->c, p->out + p->n_sent, n) != 0)
			return;
		p->n_sent += n;
	}
	p->n_out = p->n_sent = 0;
	while (p->n_stream) {
		static const char zeros[4096];
		size_t n = p->n_stream < sizeof(zeros) ? p->n_stream : sizeof(zeros);

		if (n > tcp_send_room(p->c) || tcp_send(p->c, zeros, n) != 0)
			return;
		p->n_stream -= n;
	}
	if (p->closes)
		tcp_shutdown(p->c);
}

static void read_in(struct peer *p)
{
	bool is_deaf = p->is_mirror ? mirror_mode == MIRROR_DEAF : !p->is_client && mode == ORIGIN_DEAF;

	while (!is_deaf && tcp_readable(p->c)) {
		struct slice s = tcp_peek(p->c);
		struct http1_run run;
		size_t used;

		if (!p->has_head) {
			enum http1_outcome o = http1_parse(&p->parser, s.p, s.n, &used);

			assert_false(http1_is_bad(o));
			tcp_consume(p->c, used);
			p->has_head = o == HTTP1_DONE;
			if (p->has_head)
				http1_body_init(&p->scan, &p->head, p->is_client);
			if (p->has_head)
				http1_body_keep_trailers(&p->scan, p->trailers, sizeof(p->trailers));
		} else {
			assert_false(http1_is_bad(http1_body_scan(&p->scan, s.p, s.n, &run)));
			if (mode != ORIGIN_SINK || p->is_client) {
				assert_true(p->n_body + run.data <= MAX_BODY);
				memcpy(p->body + p->n_body, s.p + run.skip, run.data);
				p->n_body += run.data;
			}
			tcp_consume(p->c, run.skip + run.data);
		}
		if (p->has_head && http1_body_is_done(&p->scan)) {
			if (mode != ORIGIN_SINK)
				check_trailers(p);
			if (p->is_client)
				client_take(p);
			else
				origin_answer(p);
			init_parser(p);
		}
	}
}

static void on_event(struct tcp_conn *c, void *user, unsigned events, uint64_t now)
{
	struct peer *p = user;

	if (events & TCP_EV_CLOSED) {
		p->c = NULL;
		p->is_closed = true;
		return;
	}
	read_in(p);
	write_out(p);
	if (tcp_is_eof(c)) {
		p->c = NULL;
		p->is_closed = true;
		tcp_close(c, now);
	}
}

static int on_accept(void *ctx, struct tcp_conn *c, void **user, uint64_t now)
{
	struct peer *p = &origins[n_origins++ % 64];

	memset(p, 0, offsetof(struct peer, body));
	p->n_out = p->n_sent = p->n_stream = 0;
	p->closes = false;
	p->c = c;
	init_parser(p);
	*user = p;
	return 0;
}

static int on_accept_mirror(void *ctx, struct tcp_conn *c, void **user, uint64_t now)
{
	struct peer *p = &mirrors[n_mirrors++ % 64];

	memset(p, 0, sizeof(*p));
	p->is_mirror = true;
	p->c = c;
	init_parser(p);
	*user = p;
	return 0;
}

static void next_request(struct peer *p)
{
	p->n_left--;
	p->n_want = sim_random(&sim) % 4 ? sim_random(&sim) % 2000 : sim_random(&sim) % MAX_BODY;
	for (size_t i = 0; i < p->n_want; i++)
		p->want[i] = (char)('a' + (i * 7 + p->n_left) % 26);
	p->has_asked_for_trailers = true;
	put_str(p, "POST /x HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n");
	put_body(p, p->want, p->n_want, p->n_left % 2);
}

static void start_client(struct peer *p, unsigned n)
{
	struct tcp_connect a = {.local = sim.host[0].ip, .remote = sim.host[1].ip, .remote_port = 80, .timeout_ms = 30000,
				.event = on_event, .user = p};
	enum weir_reason why;

	memset(p, 0, sizeof(*p));
	p->is_client = true;
	p->n_left = n;
	init_parser(p);
	if (n)
		next_request(p);
	p->c = tcp_connect(sim.host[0].tcp, &a, sim.now_us, &why);
	assert_non_null(p->c);
}

static void release(void *ctx, const struct weir_snapshot *s)
{
	n_released++;
	free((void *)(uintptr_t)s);
}

static struct weir_snapshot *make_snapshot(uint64_t generation, struct weir_endpoint_set **set)
{
	struct weir_endpoint ep = {.addr = sim.host[0].ip, .port = 8080, .flags = WEIR_EP_READY, .weight = 1};
	struct model_split split = {.backend = route.has_no_backend ? -1 : 0, .weight = 1, .filters = route.split};
	struct model m;
	void *blob;
	void *eps;
	size_t n;

	model_init(&m);
	*model_add_listener(&m) = (struct model_listener){.port = route.port ? route.port : 80, 
							 .proto = route.proto ? route.proto : WEIR_PROTO_HTTP, .kind = route.kind, .host = route.host ? route.host : "", .name = "l",
							 .timeouts = route.listener_limits};
	if (route.second_host)
		*model_add_listener(&m) = (struct model_listener){.port = 80, .proto = route.proto, .kind = route.kind, .host = route.second_host, .name = "l2"};
	if (route.has_own_bind) {
		*model_add_listener(&m) = (struct model_listener){.addr = sim.host[1].ip, .port = 80, .proto = WEIR_PROTO_TCP,
								 .kind = WEIR_LISTENER_STREAM, .host = "", .name = "own"};
		*model_add_match(&m) = (struct model_match){.listener = 1, .host = "", .path_kind = WEIR_PATH_PREFIX, .path = "/", .method = "",
							    .action = WEIR_ACTION_FORWARD, .n_splits = 1, .splits = &split, .kind = "K", .ns = "n", .name = "own"};
	}
	*model_add_backend(&m) = (struct model_backend){.name = "n/s:80", .balance = balance, .n_endpoints = 1, .endpoints = &ep};
	if (n_mirror_backends)
		*model_add_backend(&m) = (struct model_backend){.name = "n/m:80"};
	if (!route.is_empty)
		*model_add_match(&m) = (struct model_match){.host = "", .path_kind = WEIR_PATH_PREFIX, .path = "/", .method = "",
						    .action = route.action ? route.action : WEIR_ACTION_FORWARD,
						    .n_splits = !route.action, .splits = &split, .filters = route.rule, .timeouts = route.limits,
						    .retry = route.retry, .kind = "K", .ns = "n", .name = "r"};
	assert_int_equal(compile_snapshot(&m, generation, &blob, &n), 0);
	assert_int_equal(snapshot_check(blob, n, NULL), WEIR_REFUSED_OK);
	if (add_names)
		add_names(&blob, &n);
	assert_int_equal(compile_endpoints(&m.backends[0], 1, &eps, &n), 0);
	*set = eps;
	model_fini(&m);
	return blob;
}

static void serve_snapshot(const struct weir_snapshot *s)
{
	int budget;

	proxy_set_snapshot(proxy, s);
	do
		budget = 16; /* so that it takes slices */
	while (!proxy_step(proxy, &budget, sim.now_us));
}

/* The endpoint of the mirror's backend; port 0: it has none. */
static void set_mirror_endpoint(uint16_t port)
{
	struct weir_endpoint ep = {.addr = sim.host[0].ip, .port = port, .flags = WEIR_EP_READY, .weight = 1};
	const struct model_backend b = {.name = "n/m:80", .n_endpoints = port != 0, .endpoints = &ep};
	void *eps;
	size_t n;

	assert_int_equal(compile_endpoints(&b, 1, &eps, &n), 0);
	upstream_take_set(upstream, eps, sim.now_us);
	free(eps);
}

static void start_with(uint64_t seed, uint32_t n_clients, uint32_t n_requests, const struct tcp_config *tcp)
{
	const struct tcp_listen listen_args = {.port = 8080, .accept = on_accept, .event = on_event};
	struct tcp_config tc = *tcp;
	const struct tcp_config outside = sim_config();
	struct upstream_config uc = {.n_conns = 64, .n_endpoints = 8, .n_backends = 8, .max_per_endpoint = 64,
				     .max_idle_per_endpoint = 8, .idle_ms = 5000, .connect_timeout_ms = 3000, .wheel_kind = 8,
				     .n_table_pages = 64};
	const struct tcp_listen mirror_args = {.port = 8081, .accept = on_accept_mirror, .event = on_event};
	struct proxy_config pc = {.wheel_kind = 9, .n_clients = n_clients, .n_requests = n_requests, .n_mirrors = N_MIRRORS, .n_tunnels = N_TUNNELS, .drain_ms = drain_ms, .limits = limits,
				  .timeouts = {.header_ms = 5000, .idle_ms = 20000, .body_ms = 8000, .body_bytes_per_s = 100,
					       .connect_ms = 3000, .first_byte_ms = 4000, .request_ms = WEIR_NO_LIMIT,
					       .backend_ms = WEIR_NO_LIMIT, .tunnel_idle_ms = 60000,
					       .tunnel_life_ms = WEIR_NO_LIMIT},
				  .body_grace_ms = 10000, .n_tries = 3,
				  .release = release, .seed = 1, .forwarding = forwarding};
	struct weir_endpoint_set *set;
	struct weir_snapshot *first;
	struct tcp_listener *l;

	if (tc.n_connections < 2 * n_clients)
		tc.n_connections = tc.n_syn = 2 * n_clients;
	sim_init(&sim, seed, tcp->n_held_max ? &outside : &tc, &tc);
	stats = &sim.host[1].stats;
	pc.listen = &sim.host[1].ip;
	pc.n_listen = route.has_own_bind;
	mode = ORIGIN_ECHO;
	n_origin_requests = n_origins = n_released = 0;
	memset(clients, 0, sizeof(clients));
	mirror_mode = MIRROR_ECHO;
	n_mirrors = n_mirrored = 0;
	assert_int_equal(tcp_listen(sim.host[0].tcp, &listen_args, &l), 0);
	assert_int_equal(tcp_listen(sim.host[0].tcp, &mirror_args, &l), 0);
	uc.tcp = pc.tcp = sim.host[1].tcp;
	uc.wheel = pc.wheel = &sim.host[1].wheel;
	uc.stats = pc.stats = stats;
	memset(&access_log, 0, sizeof(access_log));
	access_log.region.workers_off = offsetof(typeof(access_log), worker);
	access_log.region.records_off = offsetof(typeof(access_log), records);
	access_log.region.n_slots = n_log_slots;
	access_log.worker.unix_offset_us = LOG_OFFSET_US;
	pc.log = &access_log.region;
	pc.pool = sim.pool;
	pc.clones = sim.clones;
	upstream = upstream_create(&uc);
	pc.upstream = upstream;
	pc.tls = make_tls ? make_tls() : NULL;
	proxy = proxy_create(&pc);
	assert_non_null(proxy);
	first = make_snapshot(1, &set);
	upstream_take_set(upstream, set, sim.now_us); /* sets come before the snapshot that names them */
	serve_snapshot(first);
	free(set);
	if (n_mirror_backends)
		set_mirror_endpoint(8081);
}

static void start_for(uint64_t seed, uint32_t n_clients)
{
	const struct tcp_config tc = sim_config();

	start_with(seed, n_clients, 16, &tc);
}

static void start(uint64_t seed)
{
	start_for(seed, 32);
}

/* Of requests, and of the tunnels that they became; not of connections between them, nor of their mirrors. */
static bool has_record(unsigned reason)
{
	return stat_reason_kind((enum weir_reason)reason) == WEIR_KIND_REQUEST && reason != WEIR_R_REQ_IDLE_TIMEOUT &&
	       strncmp(stat_reason_names[reason], "mirror", 6) != 0;
}

/* Each request has one record, however it ended: their sums are what the counters say. */
static void records_agree(void)
{
	uint64_t n_heads = 0, up = 0, down = 0, n_redirects = 0, by_class[6] = {0};
	uint64_t n_tunnels = 0, tunnel_up = 0, tunnel_down = 0, stream_up = 0, stream_down = 0;
	static uint64_t by_reason[WEIR_N_REASONS];

	memset(by_reason, 0, sizeof(by_reason));
	assert_true(access_log.worker.head <= N_LOG);
	assert_int_equal(access_log.worker.head, stats->counter[WEIR_C_LOG_RECORDS]);
	for (uint64_t i = 0; i < access_log.worker.head; i++) {
		const struct weir_log_record *r = &access_log.records[i];

		assert_int_equal(r->seq, i + 1);
		assert_true(r->start_us >= LOG_OFFSET_US && r->start_us + r->end_us <= LOG_OFFSET_US + sim.now_us);
		n_heads += (r->flags & WEIR_LOG_HEAD_FLAG) != 0;
		n_redirects += (r->flags & WEIR_LOG_REDIRECTED_FLAG) != 0;
		by_class[r->status / 100]++;
		if (r->flags & WEIR_LOG_UPGRADED_FLAG) {
			n_tunnels++;
			tunnel_up += r->request_bytes;
			tunnel_down += r->response_bytes;
		} else if (r->flags & WEIR_LOG_STREAM_FLAG) {
			stream_up += r->request_bytes;
			stream_down += r->response_bytes;
		} else {
			up += r->request_bytes;
			if (!(r->flags & WEIR_LOG_OWN_FLAG))
				down += r->response_bytes;
		}
		if (r->reason_plus1)
			by_reason[r->reason_plus1 - 1]++;
		else
			assert_false(r->flags & WEIR_LOG_CUT_FLAG); /* what is cut has a reason */
	}
	assert_int_equal(n_heads, stats->counter[WEIR_C_REQUESTS]);
	assert_int_equal(n_redirects, stats->counter[WEIR_C_REDIRECTS]);
	assert_int_equal(n_tunnels, stats->counter[WEIR_C_TUNNELS]);
	assert_int_equal(tunnel_up, stats->counter[WEIR_C_TUNNEL_BYTES_UP]);
	assert_int_equal(tunnel_down, stats->counter[WEIR_C_TUNNEL_BYTES_DOWN]);
	assert_int_equal(stream_up, stats->counter[WEIR_C_STREAM_BYTES_UP]);
	assert_int_equal(stream_down, stats->counter[WEIR_C_STREAM_BYTES_DOWN]);
	assert_int_equal(up, stats->counter[WEIR_C_BODY_BYTES_UP]);
	assert_int_equal(down, stats->counter[WEIR_C_BODY_BYTES_DOWN]);
	for (unsigned i = 2; i <= 5; i++)
		assert_int_equal(by_class[i], stats->counter[WEIR_C_RESPONSES_1XX + i - 1]);
	for (unsigned i = 0; i < WEIR_N_REASONS; i++)
		if (has_record(i))
			assert_int_equal(by_reason[i], stats->reason[i]);
}

static void end(void)
{
	assert_int_equal(stats->gauge[WEIR_G_REQUESTS_ACTIVE], 0);
	records_agree();
	if (stats->gauge[WEIR_G_MIRRORS] == 0)
		assert_int_equal(stats->gauge[WEIR_G_MIRROR_BYTES], 0);
	proxy_destroy(proxy, sim.now_us);
	upstream_destroy(upstream, sim.now_us);
	if (end_tls)
		end_tls();
	memset(&route, 0, sizeof(route));
	memset(&forwarding, 0, sizeof(forwarding));
	memset(&balance, 0, sizeof(balance));
	n_mirror_backends = 0;
	assert_int_equal(n_released, 1);
	sim_fini(&sim);
}

static bool all_done(void *ctx)
{
	for (int i = 0; i < 8; i++)
		if (clients[i].is_client && !clients[i].is_closed && (clients[i].n_left || clients[i].n_done < *(unsigned *)ctx))
			return false;
	return true;
}

static void send_raw(struct peer *p, const char *text)
{
	start_client(p, 0);
	put_str(p, text);
}

#endif
