/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proxy end to end in virtual time: a client and an origin on one host,
 * the proxy on the other, a link that loses and reorders between them. The
 * origin sends each body back; the client checks every byte.
 */
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
#include "translate/compile.h"
#include "upstream/upstream.h"

#define MAX_BODY 60000
#define DRAIN_SLICE 128 /* as in proxy_pvt.h */
#define N_REQUESTS 1000
#define N_MIRRORS 8
#define LARGE_BODY 400000
#define MANY_BYTES 1000000 /* of a body: less than one mirror may lag behind, more than eight of them may together */
#define STR(x) STR_(x)
#define STR_(x) #x

static struct sim sim;
static struct upstream *upstream;
static struct proxy *proxy;
static struct weir_worker_stats *stats;
static unsigned n_released;
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
	/* client */
	char want[MAX_BODY + 1];
	size_t n_want;
	unsigned n_done, n_left;
	unsigned status;
};

enum origin_mode { ORIGIN_ECHO, ORIGIN_CLOSE_EACH, ORIGIN_CUT, ORIGIN_SILENT, ORIGIN_GARBAGE, ORIGIN_SINK };
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

/* What the routes of the next snapshot do besides forwarding. */
static struct {
	uint8_t action; /* 0: forward */
	struct model_filters rule, split;
} route;

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

/* A body with a length, or in chunks of random sizes. */
static void put_body(struct peer *p, const char *body, size_t n, bool chunked)
{
	char line[64];

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
	put_str(p, "0\r\n\r\n");
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
	case ORIGIN_SILENT:
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
	while (!(p->is_mirror && mirror_mode == MIRROR_DEAF) && tcp_readable(p->c)) {
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
	put_str(p, "POST /x HTTP/1.1\r\nHost: a\r\n");
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
	struct model_split split = {.weight = 1, .filters = route.split};
	struct model m;
	void *blob;
	void *eps;
	size_t n;

	model_init(&m);
	*model_add_listener(&m) = (struct model_listener){.port = 80, .proto = WEIR_PROTO_HTTP, .host = "", .name = "l"};
	*model_add_backend(&m) = (struct model_backend){.name = "n/s:80", .proto = WEIR_PROTO_HTTP, .n_endpoints = 1, .endpoints = &ep};
	if (n_mirror_backends)
		*model_add_backend(&m) = (struct model_backend){.name = "n/m:80", .proto = WEIR_PROTO_HTTP};
	*model_add_match(&m) = (struct model_match){.host = "", .path_kind = WEIR_PATH_PREFIX, .path = "/", .method = "",
						    .action = route.action ? route.action : WEIR_ACTION_FORWARD,
						    .n_splits = !route.action, .splits = &split, .filters = route.rule,
						    .kind = "K", .ns = "n", .name = "r"};
	assert_int_equal(compile_snapshot(&m, generation, &blob, &n), 0);
	assert_int_equal(snapshot_check(blob, n, NULL), WEIR_REFUSED_OK);
	assert_int_equal(compile_endpoints(&m.backends[0], 1, &eps, &n), 0);
	*set = eps;
	model_fini(&m);
	return blob;
}

/* The endpoint of the mirror's backend; port 0: it has none. */
static void set_mirror_endpoint(uint16_t port)
{
	struct weir_endpoint ep = {.addr = sim.host[0].ip, .port = port, .flags = WEIR_EP_READY, .weight = 1};
	const struct model_backend b = {.name = "n/m:80", .proto = WEIR_PROTO_HTTP, .n_endpoints = port != 0, .endpoints = &ep};
	void *eps;
	size_t n;

	assert_int_equal(compile_endpoints(&b, 1, &eps, &n), 0);
	assert_int_equal(upstream_set_endpoints(upstream, eps, sim.now_us), 0);
	free(eps);
}

static void start_with(uint64_t seed, uint32_t n_clients, uint32_t n_requests, const struct tcp_config *tcp)
{
	const struct tcp_listen listen_args = {.port = 8080, .accept = on_accept, .event = on_event};
	struct tcp_config tc = *tcp;
	const struct tcp_config outside = sim_config();
	struct upstream_config uc = {.n_conns = 64, .n_endpoints = 8, .n_backends = 8, .max_per_endpoint = 64,
				     .max_idle_per_endpoint = 8, .idle_ms = 5000, .connect_timeout_ms = 3000, .wheel_kind = 8};
	const struct tcp_listen mirror_args = {.port = 8081, .accept = on_accept_mirror, .event = on_event};
	struct proxy_config pc = {.wheel_kind = 9, .n_clients = n_clients, .n_requests = n_requests, .n_mirrors = N_MIRRORS, .limits = limits, .header_timeout_ms = 5000,
				  .body_timeout_ms = 8000, .idle_timeout_ms = 20000, .response_timeout_ms = 4000, .n_tries = 3,
				  .release = release, .seed = 1};
	struct weir_endpoint_set *set;
	struct tcp_listener *l;

	if (tc.n_connections < 2 * n_clients)
		tc.n_connections = tc.n_syn = 2 * n_clients;
	sim_init(&sim, seed, tcp->n_held_max ? &outside : &tc, &tc);
	stats = &sim.host[1].stats;
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
	pc.pool = sim.pool;
	pc.clones = sim.clones;
	upstream = upstream_create(&uc);
	pc.upstream = upstream;
	proxy = proxy_create(&pc);
	assert_non_null(proxy);
	proxy_set_snapshot(proxy, make_snapshot(1, &set), sim.now_us);
	assert_int_equal(upstream_set_endpoints(upstream, set, sim.now_us), 0);
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

static void end(void)
{
	assert_int_equal(stats->gauge[WEIR_G_REQUESTS_ACTIVE], 0);
	if (stats->gauge[WEIR_G_MIRRORS] == 0)
		assert_int_equal(stats->gauge[WEIR_G_MIRROR_BYTES], 0);
	proxy_destroy(proxy, sim.now_us);
	upstream_destroy(upstream, sim.now_us);
	memset(&route, 0, sizeof(route));
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

static bool is_closed(void *ctx)
{
	return clients[0].is_closed;
}

static void bodies_come_back_unchanged_over_a_bad_link(void **state)
{
	for (uint64_t seed = 1; seed <= 5; seed++) {
		unsigned each = N_REQUESTS / 5 / 8;

		start(seed);
		sim.link.loss_ppm = 10000;
		sim.link.jitter_us = 500;
		for (int i = 0; i < 8; i++)
			start_client(&clients[i], each);
		assert_true(sim_run(&sim, 3600000000, all_done, &each));
		for (int i = 0; i < 8; i++) {
			assert_int_equal(clients[i].n_done, each);
			assert_int_equal(clients[i].status, 200);
		}
		assert_int_equal(n_origin_requests, each * 8);
		assert_true(stats->counter[WEIR_C_UPSTREAM_REUSED] > each);
		end();
	}
}

static void origin_that_closes_each_time_is_not_reused(void **state)
{
	unsigned each = 20;

	start(11);
	mode = ORIGIN_CLOSE_EACH;
	start_client(&clients[0], each);
	assert_true(sim_run(&sim, 600000000, all_done, &each));
	assert_int_equal(clients[0].n_done, each);
	assert_int_equal(n_origins, each);
	end();
}

static void cut_response_resets_the_client(void **state)
{
	start(12);
	mode = ORIGIN_CUT;
	start_client(&clients[0], 1);
	assert_true(sim_run(&sim, 60000000, is_closed, NULL));
	assert_int_equal(clients[0].n_done, 0);
	assert_int_equal(stats->reason[WEIR_R_REQ_UPSTREAM_TRUNCATED], 1);
	end();
}

static void garbage_is_answered_502_and_silence_504(void **state)
{
	unsigned one = 1;

	start(13);
	mode = ORIGIN_GARBAGE;
	start_client(&clients[0], 1);
	assert_true(sim_run(&sim, 60000000, all_done, &one));
	assert_int_equal(clients[0].status, 502);
	assert_int_equal(stats->reason[WEIR_R_REQ_UPSTREAM_BAD], 1);
	mode = ORIGIN_SILENT;
	start_client(&clients[1], 1);
	assert_true(sim_run(&sim, 60000000, all_done, &one));
	assert_int_equal(clients[1].status, 504);
	assert_int_equal(stats->reason[WEIR_R_REQ_RESPONSE_TIMEOUT], 1);
	sim_run(&sim, 30000000, NULL, NULL);
	end();
}

static void send_raw(struct peer *p, const char *text)
{
	start_client(p, 0);
	put_str(p, text);
}

static void slow_heads_bodies_and_idle_clients_are_ended_in_time(void **state)
{
	unsigned one = 1;

	start(14);
	send_raw(&clients[0], "GET / HT");
	assert_true(sim_run(&sim, 60000000, all_done, &one));
	assert_int_equal(clients[0].status, 408);
	assert_int_equal(stats->reason[WEIR_R_REQ_HEADER_TIMEOUT], 1);
	send_raw(&clients[1], "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
	assert_true(sim_run(&sim, 60000000, all_done, &one));
	assert_int_equal(clients[1].status, 408);
	assert_int_equal(stats->reason[WEIR_R_REQ_BODY_TIMEOUT], 1);
	send_raw(&clients[2], "");
	sim_run(&sim, 60000000, NULL, NULL);
	assert_true(clients[2].is_closed);
	assert_int_equal(stats->reason[WEIR_R_REQ_IDLE_TIMEOUT], 1);
	end();
}

static void a_request_pool_that_is_empty_is_answered_503(void **state)
{
	static struct peer many[20];
	unsigned n_503 = 0;

	start(15);
	mode = ORIGIN_SILENT;
	for (int i = 0; i < 20; i++)
		start_client(&many[i], 1);
	sim_run(&sim, 2000000, NULL, NULL);
	for (int i = 0; i < 20; i++)
		n_503 += many[i].status == 503;
	assert_int_equal(n_503, 4); /* 16 objects */
	assert_int_equal(stats->reason[WEIR_R_REQ_POOL_EMPTY], 4);
	sim_run(&sim, 60000000, NULL, NULL);
	end();
}

static void pipelined_answers_that_nobody_reads_hold_nothing_up(void **state)
{
	static struct peer p;
	unsigned n = 1000;

	start(16);
	start_client(&p, 0);
	for (unsigned i = 0; i < n; i++)
		put_str(&p, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
	sim_run(&sim, 30000000, NULL, NULL);
	assert_int_equal(p.n_done, n); /* each answered, in its turn */
	assert_int_equal(p.status, 204);
	sim_run(&sim, 60000000, NULL, NULL);
	end();
}

static void changed_snapshot_keeps_pools_and_drain_ends_all(void **state)
{
	unsigned one = 1;
	struct weir_endpoint_set *set;

	start(17);
	start_client(&clients[0], 1);
	assert_true(sim_run(&sim, 60000000, all_done, &one));
	sim_run(&sim, 100000, NULL, NULL);
	assert_int_equal(stats->gauge[WEIR_G_UPSTREAM_IDLE], 1);
	proxy_set_snapshot(proxy, make_snapshot(2, &set), sim.now_us);
	free(set);
	assert_int_equal(n_released, 1);
	assert_int_equal(stats->gauge[WEIR_G_UPSTREAM_IDLE], 1);
	start_client(&clients[1], 1);
	assert_true(sim_run(&sim, 60000000, all_done, &one));
	assert_int_equal(n_origins, 1);
	proxy_drain(proxy, sim.now_us);
	sim_run(&sim, 5000000, NULL, NULL);
	assert_true(proxy_is_idle(proxy));
	assert_int_equal(stats->gauge[WEIR_G_UPSTREAM_IDLE], 0);
	n_released = 0;
	end();
}

/* -- filters */

static const struct model_header_op request_ops[] = {{WEIR_HEADER_SET, "x-a", "rule"}, {WEIR_HEADER_ADD, "x-b", "rule"},
						     {WEIR_HEADER_REMOVE, "x-c", NULL}};
static const struct model_header_op split_ops[] = {{WEIR_HEADER_SET, "x-b", "split"}};
static const struct model_header_op response_ops[] = {{WEIR_HEADER_SET, "x-r", "rule"}, {WEIR_HEADER_ADD, "x-s", "rule"}};
static const struct model_header_op split_response_ops[] = {{WEIR_HEADER_ADD, "x-s", "split"}};
static const struct model_filter rule_filters[] = {
	{.kind = WEIR_FILTER_REQUEST_HEADERS, .n_ops = 3, .ops = request_ops},
	{.kind = WEIR_FILTER_RESPONSE_HEADERS, .n_ops = 2, .ops = response_ops},
	{.kind = WEIR_FILTER_REWRITE, .host = "in.example", .path_change = WEIR_PATH_REPLACE_PREFIX, .path = "/new"},
};
static const struct model_filter split_filters[] = {
	{.kind = WEIR_FILTER_REQUEST_HEADERS, .n_ops = 1, .ops = split_ops},
	{.kind = WEIR_FILTER_RESPONSE_HEADERS, .n_ops = 1, .ops = split_response_ops},
};
static const char filtered_request[] = "GET /x/y?q=1 HTTP/1.1\r\nHost: a.example\r\nX-A: client\r\nX-C: client\r\nX-D: client\r\n\r\n";

static void assert_has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("%s is not in\n%s", part, text);
}

static void assert_filtered(void)
{
	assert_has(seen, "/new/x/y?q=1\n");
	assert_has(seen, "Host: in.example\n");
	assert_has(seen, "x-a: rule\n");
	assert_has(seen, "x-b: split\n");
	assert_has(seen, "X-D: client\n");
	assert_has(seen, "X-Forwarded-Host: a.example\n");
	assert_null(strstr(seen, "client\nX-C"));
	assert_null(strstr(seen, "X-A"));
	assert_null(strstr(seen, "X-C"));
	assert_null(strstr(seen, "x-b: rule"));
	assert_has(got, "200\n");
	assert_has(got, "x-r: rule\n");
	assert_has(got, "x-s: rule\nx-s: split\n");
}

static void filters_of_rule_and_backend_change_both_heads(void **state)
{
	unsigned one = 1;

	route.rule = (struct model_filters){3, rule_filters};
	route.split = (struct model_filters){2, split_filters};
	start(21);
	send_raw(&clients[0], filtered_request);
	assert_true(sim_run(&sim, 60000000, all_done, &one));
	assert_filtered();
	end();
}

/* The snapshot that the request was routed by is gone when its response comes. */
static void filters_of_a_request_outlive_their_snapshot(void **state)
{
	struct weir_endpoint_set *set;
	unsigned one = 1;

	route.rule = (struct model_filters){3, rule_filters};
	route.split = (struct model_filters){2, split_filters};
	start(22);
	mode = ORIGIN_SILENT;
	send_raw(&clients[0], filtered_request);
	sim_run(&sim, 1000000, NULL, NULL);
	assert_int_equal(n_origin_requests, 1);
	memset(&route, 0, sizeof(route));
	proxy_set_snapshot(proxy, make_snapshot(2, &set), sim.now_us);
	free(set);
	assert_int_equal(n_released, 1);
	put_str(&origins[0], "HTTP/1.1 103 Early Hints\r\nX-S: early\r\n\r\nHTTP/1.1 200 OK\r\nX-R: origin\r\nContent-Length: 0\r\n\r\n");
	write_out(&origins[0]);
	assert_true(sim_run(&sim, 3000000, all_done, &one)); /* the interim response counts */
	sim_run(&sim, 1000000, NULL, NULL);
	assert_filtered();
	assert_null(strstr(got, "X-R: origin"));
	send_raw(&clients[1], filtered_request);
	mode = ORIGIN_ECHO;
	assert_true(sim_run(&sim, 60000000, all_done, &one));
	assert_has(seen, "/x/y?q=1\n");
	n_released = 0;
	end();
}

static void redirects_are_answered_without_a_backend(void **state)
{
	static const struct model_filter redirect[] = {
		{.kind = WEIR_FILTER_RESPONSE_HEADERS, .n_ops = 2, .ops = response_ops},
		{.kind = WEIR_FILTER_REDIRECT, .status = 301, .scheme = WEIR_PROTO_HTTPS, .port = 8443,
		 .path_change = WEIR_PATH_REPLACE_PREFIX, .path = "/new"},
	};
	unsigned two = 2;
	unsigned one = 1;

	route.action = WEIR_ACTION_REDIRECT;
	route.rule = (struct model_filters){2, redirect};
	start(23);
	start_client(&clients[0], 0);
	put_str(&clients[0], filtered_request);
	put_str(&clients[0], filtered_request);
	assert_true(sim_run(&sim, 60000000, all_done, &two));
	assert_has(got, "301\nLocation: https://a.example:8443/new/x/y?q=1\n");
	assert_has(got, "x-r: rule\n");
	assert_null(strstr(got, "Connection"));
	send_raw(&clients[1], "POST /x HTTP/1.1\r\nHost: a.example:81\r\nContent-Length: 10\r\n\r\nabc");
	assert_true(sim_run(&sim, 60000000, all_done, &one));
	assert_has(got, "301\nLocation: https://a.example:8443/new/x\n");
	assert_has(got, "Connection: close\n"); /* the rest of the body is no request */
	assert_int_equal(stats->counter[WEIR_C_REDIRECTS], 3);
	assert_int_equal(stats->counter[WEIR_C_RESPONSES_3XX], 3);
	assert_int_equal(n_origin_requests, 0);
	sim_run(&sim, 60000000, NULL, NULL);
	end();
	memset(&route, 0, sizeof(route));
	route.split = (struct model_filters){2, redirect}; /* of the backend: likewise */
	start(24);
	send_raw(&clients[0], filtered_request);
	assert_true(sim_run(&sim, 60000000, all_done, &one));
	assert_has(got, "301\nLocation: https://a.example:8443/new/x/y?q=1\n");
	assert_int_equal(n_origin_requests, 0);
	end();
}

/* -- mirrors */

static const struct model_filter mirror_all[] = {{.kind = WEIR_FILTER_MIRROR, .backend = 1, .numerator = 1, .denominator = 1},
						 {.kind = WEIR_FILTER_MIRROR, .backend = 1, .numerator = 1, .denominator = 1}};
static const struct model_filter mirror_some[] = {{.kind = WEIR_FILTER_MIRROR, .backend = 1, .numerator = 1, .denominator = 4}};
static const struct model_filter mirror_none[] = {{.kind = WEIR_FILTER_MIRROR, .backend = 1, .denominator = 1}};

static void start_mirrored(uint64_t seed, const struct model_filter *f, size_t n)
{
	route.rule = (struct model_filters){n, f};
	n_mirror_backends = 1;
	start(seed);
}

static bool no_mirror_is_left(void *ctx)
{
	return stats->gauge[WEIR_G_MIRRORS] == 0;
}

static uint64_t mirrors_dropped(void)
{
	uint64_t n = 0;

	for (unsigned r = WEIR_R_MIRROR_POOL_EMPTY; r <= WEIR_R_MIRROR_CUT; r++)
		n += stats->reason[r];
	return n;
}

/* Over a bad link, with every size of body, chunked and not: the mirror gets each request whole, and gives it an answer that nobody sees. */
static void mirrored_requests_arrive_whole_and_connections_are_reused(void **state)
{
	unsigned each = 50;

	for (uint64_t seed = 31; seed <= 33; seed++) {
		start_mirrored(seed, mirror_all, 1);
		sim.link.loss_ppm = 5000;
		sim.link.jitter_us = 300;
		for (int i = 0; i < 4; i++)
			start_client(&clients[i], each);
		assert_true(sim_run(&sim, 3600000000, all_done, &each));
		assert_true(sim_run(&sim, 60000000, no_mirror_is_left, NULL));
		for (int i = 0; i < 4; i++)
			assert_int_equal(clients[i].n_done, each);
		assert_int_equal(n_origin_requests, 4 * each);
		assert_int_equal(stats->counter[WEIR_C_MIRRORED] + stats->reason[WEIR_R_MIRROR_POOL_EMPTY], 4 * each);
		assert_int_equal(n_mirrored + mirrors_dropped(), 4 * each);
		assert_true(n_mirrored > 3 * each); /* the pool is small, and loss makes some wait */
		assert_true(n_mirrors < n_mirrored / 2);
		end();
	}
}

static void mirror_gets_what_the_backend_gets(void **state)
{
	static const struct model_filter f[] = {
		{.kind = WEIR_FILTER_REQUEST_HEADERS, .n_ops = 3, .ops = request_ops},
		{.kind = WEIR_FILTER_REWRITE, .host = "in.example", .path_change = WEIR_PATH_REPLACE_PREFIX, .path = "/new"},
		{.kind = WEIR_FILTER_MIRROR, .backend = 1, .numerator = 1, .denominator = 1},
	};
	unsigned one = 1;

	start_mirrored(34, f, 3);
	send_raw(&clients[0], filtered_request);
	assert_true(sim_run(&sim, 60000000, all_done, &one));
	assert_true(sim_run(&sim, 60000000, no_mirror_is_left, NULL));
	assert_string_equal(mirrored, seen);
	assert_has(mirrored, "/new/x/y?q=1\n");
	start_client(&clients[1], 1);
	assert_true(sim_run(&sim, 60000000, all_done, &one));
	assert_true(sim_run(&sim, 60000000, no_mirror_is_left, NULL));
	assert_int_equal(n_mirrored_body, clients[1].n_want);
	assert_memory_equal(mirrored_body, clients[1].want, n_mirrored_body);
	assert_int_equal(n_mirrored, 2);
	assert_int_equal(mirrors_dropped(), 0);
	end();
}

static void share_of_requests_is_mirrored(void **state)
{
	static const struct {
		const struct model_filter *f;
		size_t n;
		unsigned least, most;
	} cases[] = {{mirror_none, 1, 0, 0}, {mirror_some, 1, 60, 140}, {mirror_all, 1, 400, 400}, {mirror_all, 2, 800, 800}};
	unsigned each = 400;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		start_mirrored(35 + i, cases[i].f, cases[i].n);
		start_client(&clients[0], 0);
		for (unsigned k = 0; k < each; k++)
			put_str(&clients[0], "GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
		assert_true(sim_run(&sim, 600000000, all_done, &each));
		assert_true(sim_run(&sim, 60000000, no_mirror_is_left, NULL));
		assert_int_equal(mirrors_dropped(), 0);
		assert_in_range(n_mirrored, cases[i].least, cases[i].most);
		assert_int_equal(stats->counter[WEIR_C_MIRRORED], n_mirrored);
		end();
	}
}

/* Endpoints of mirrors that fail in each way: the client sees nothing of it, and each has its reason. */
static void failing_mirrors_disturb_nobody(void **state)
{
	static const struct {
		enum mirror_mode mode;
		uint16_t port; /* 0: no endpoint */
		enum weir_reason why;
	} cases[] = {
		{MIRROR_ECHO, 0, WEIR_R_MIRROR_NO_ENDPOINT},   {MIRROR_ECHO, 9, WEIR_R_MIRROR_FAILED},
		{MIRROR_SILENT, 8081, WEIR_R_MIRROR_TIMEOUT},  {MIRROR_CLOSE, 8081, WEIR_R_MIRROR_FAILED},
		{MIRROR_GARBAGE, 8081, WEIR_R_MIRROR_FAILED},
	};
	unsigned each = 5;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		start_mirrored(40 + i, mirror_all, 1);
		mirror_mode = cases[i].mode;
		set_mirror_endpoint(cases[i].port);
		start_client(&clients[0], each);
		assert_true(sim_run(&sim, 60000000, all_done, &each));
		assert_int_equal(clients[0].n_done, each);
		assert_int_equal(clients[0].status, 200);
		assert_true(sim_run(&sim, 60000000, no_mirror_is_left, NULL));
		if (stats->reason[cases[i].why] != each)
			fail_msg("case %zu: %u of %u", i, (unsigned)stats->reason[cases[i].why], each);
		end();
	}
}

static bool mirror_is_slow(void *ctx)
{
	return stats->reason[WEIR_R_MIRROR_SLOW] > 0;
}

/* An endpoint that takes nothing: its mirror is cut at its bound, and the client goes on to its end as without it. */
static void mirror_that_takes_nothing_is_cut_and_holds_nothing_up(void **state)
{
	uint64_t times[2];

	for (int i = 0; i < 2; i++) {
		char line[128];
		unsigned one = 1;
		uint64_t began;

		start_mirrored(50, i ? mirror_all : mirror_none, 1);
		mirror_mode = MIRROR_DEAF;
		mode = ORIGIN_SINK;
		start_client(&clients[0], 0);
		snprintf(line, sizeof(line), "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: %u\r\n\r\n", 8 * LARGE_BODY);
		put_str(&clients[0], line);
		clients[0].n_stream = 8 * LARGE_BODY;
		began = sim.now_us;
		assert_true(sim_run(&sim, 60000000, all_done, &one));
		times[i] = sim.now_us - began;
		assert_int_equal(clients[0].status, 204);
		assert_int_equal(mirror_is_slow(NULL), i);
		assert_int_equal(stats->gauge[WEIR_G_MIRRORS], 0);
		sim_run(&sim, 60000000, NULL, NULL);
		end();
	}
	assert_in_range(times[1], times[0] / 2, times[0] * 3 / 2);
}

static bool watch_mirror_bytes(void *ctx)
{
	uint64_t *most = ctx;
	unsigned one = 1;

	if (stats->gauge[WEIR_G_MIRROR_BYTES] > *most)
		*most = stats->gauge[WEIR_G_MIRROR_BYTES];
	return all_done(&one);
}

/* Each of them alone would stay below its bound; together they would hold too much of the pool. */
static void mirrors_together_hold_a_part_of_the_pool_at_most(void **state)
{
	const uint64_t allowed = SIM_N_MBUFS * 256;
	uint64_t most = 0;
	char line[128];

	start_mirrored(53, mirror_all, 1);
	mirror_mode = MIRROR_DEAF;
	mode = ORIGIN_SINK;
	for (int i = 0; i < N_MIRRORS; i++) {
		start_client(&clients[i], 0);
		snprintf(line, sizeof(line), "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: %u\r\n\r\n", MANY_BYTES);
		put_str(&clients[i], line);
		clients[i].n_stream = MANY_BYTES;
	}
	assert_true(sim_run(&sim, 60000000, watch_mirror_bytes, &most));
	for (int i = 0; i < N_MIRRORS; i++)
		assert_int_equal(clients[i].status, 204);
	assert_in_range(most, allowed * 3 / 4, allowed + 65536);
	assert_in_range(stats->reason[WEIR_R_MIRROR_SLOW], 1, N_MIRRORS - 2);
	assert_int_equal(mirrors_dropped(), stats->reason[WEIR_R_MIRROR_SLOW]);
	assert_true(sim_run(&sim, 60000000, no_mirror_is_left, NULL));
	end();
}

static void mirror_of_a_request_that_is_cut_is_cut_too(void **state)
{
	unsigned one = 1;

	start_mirrored(51, mirror_all, 1);
	send_raw(&clients[0], "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
	assert_true(sim_run(&sim, 60000000, all_done, &one));
	assert_int_equal(clients[0].status, 408);
	assert_int_equal(stats->reason[WEIR_R_MIRROR_CUT], 1);
	assert_int_equal(stats->gauge[WEIR_G_MIRRORS], 0);
	assert_int_equal(n_mirrored, 0);
	sim_run(&sim, 60000000, NULL, NULL);
	end();
}

static void mirrors_beyond_the_pool_are_dropped_and_drain_ends_those_in_hand(void **state)
{
	unsigned each = 2 * N_MIRRORS;

	start_mirrored(52, mirror_all, 1);
	mirror_mode = MIRROR_SILENT;
	start_client(&clients[0], 0);
	for (unsigned k = 0; k < each; k++)
		put_str(&clients[0], "GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_true(sim_run(&sim, 2000000, all_done, &each)); /* sooner than mirrors time out */
	assert_int_equal(stats->reason[WEIR_R_MIRROR_POOL_EMPTY], N_MIRRORS);
	assert_int_equal(stats->gauge[WEIR_G_MIRRORS], N_MIRRORS);
	proxy_drain(proxy, sim.now_us);
	sim_run(&sim, 1000000, NULL, NULL);
	assert_true(proxy_is_idle(proxy));
	assert_int_equal(stats->gauge[WEIR_G_MIRRORS], 0);
	assert_int_equal(stats->reason[WEIR_R_MIRROR_CUT], N_MIRRORS);
	end();
}

static unsigned n_ended;

static void on_idle_event(struct tcp_conn *c, void *user, unsigned events, uint64_t now)
{
	if (events & TCP_EV_CLOSED) {
		n_ended++;
	} else if (tcp_is_eof(c)) {
		n_ended++;
		tcp_close(c, now);
	}
}

static void drain_of_many_clients_is_done_in_slices(void **state)
{
	const unsigned n = 3 * DRAIN_SLICE / 2;
	struct tcp_connect a = {.timeout_ms = 30000, .remote_port = 80, .event = on_idle_event};
	enum weir_reason why;

	start_for(18, n);
	a.local = sim.host[0].ip;
	a.remote = sim.host[1].ip;
	for (unsigned i = 0; i < n; i++)
		assert_non_null(tcp_connect(sim.host[0].tcp, &a, sim.now_us, &why));
	sim_run(&sim, 1000000, NULL, NULL);
	assert_int_equal(stats->gauge[WEIR_G_CLIENT_CONNECTIONS], n);
	n_ended = 0;
	proxy_drain(proxy, sim.now_us);
	assert_int_equal(stats->gauge[WEIR_G_CLIENT_CONNECTIONS], n - DRAIN_SLICE);
	sim_run(&sim, 100000, NULL, NULL);
	assert_true(proxy_is_idle(proxy));
	assert_int_equal(n_ended, n);
	end();
}

/* -- memory pressure */

#define N_SLOW 40
#define POOL 4000 /* mbufs; three quarters may be held in queues, as in worker.c */

static struct slow {
	struct tcp_conn *c;
	bool reads, is_closed;
	size_t got;
} slows[N_SLOW];

static uint32_t most_held;

static void slow_event(struct tcp_conn *c, void *user, unsigned events, uint64_t now)
{
	static const char request[] = "GET /large HTTP/1.1\r\nHost: a\r\n\r\n";
	struct slow *s = user;

	if (events & TCP_EV_CLOSED) {
		s->c = NULL;
		s->is_closed = true;
		return;
	}
	if (events & TCP_EV_CONNECTED)
		assert_int_equal(tcp_send(c, request, sizeof(request) - 1), 0);
	while (s->reads && tcp_readable(c)) {
		size_t n = tcp_peek(c).n;

		s->got += n;
		tcp_consume(c, n);
	}
}

static bool watch_held(void *ctx)
{
	uint32_t held = (uint32_t)stats->gauge[WEIR_G_TCP_HELD];

	if (held > most_held)
		most_held = held;
	return ctx && all_done(ctx);
}

static bool slow_ones_have_all(void *ctx)
{
	unsigned n = 0;

	watch_held(NULL);
	for (unsigned i = 0; i < N_SLOW; i++)
		n += slows[i].got >= LARGE_BODY;
	return n == N_SLOW;
}

static void start_slow_ones(void)
{
	struct tcp_connect a = {.local = sim.host[0].ip, .remote = sim.host[1].ip, .remote_port = 80, .timeout_ms = 30000,
				.event = slow_event};
	enum weir_reason why;

	memset(slows, 0, sizeof(slows));
	for (unsigned i = 0; i < N_SLOW; i++) {
		a.user = &slows[i];
		slows[i].c = tcp_connect(sim.host[0].tcp, &a, sim.now_us, &why);
		assert_non_null(slows[i].c);
	}
}

/*
 * What backends were offered to send and clients do not read is several times
 * the pool. It must neither run dry, nor anything fail, nor others wait.
 */
static void many_slow_readers_fill_no_pool_and_hold_up_nobody(void **state)
{
	struct tcp_config tc = sim_config();
	unsigned each = 20;

	tc.rx_buffer_bytes = 1 << 20;
	tc.tx_buffer_bytes = 4 << 20;
	tc.n_held_max = POOL / 4 * 3;
	start_with(19, 64, 64, &tc);
	most_held = 0;
	start_slow_ones();
	sim_run(&sim, 2000000, watch_held, NULL);
	assert_true(most_held > POOL / 4); /* there is pressure, or this says nothing */
	start_client(&clients[0], each);
	assert_true(sim_run(&sim, 4000000, watch_held, &each));
	assert_int_equal(clients[0].n_done, each);
	assert_int_equal(clients[0].status, 200);
	for (unsigned i = 0; i < N_SLOW; i++) {
		assert_false(slows[i].is_closed);
		slows[i].reads = true;
		slow_event(slows[i].c, &slows[i], TCP_EV_READABLE, sim.now_us);
	}
	assert_true(sim_run(&sim, 60000000, slow_ones_have_all, NULL));
	assert_true(most_held < POOL * 7 / 8);
	assert_true(stats->reason[WEIR_R_TCP_MEMORY] > 0);
	assert_int_equal(stats->reason[WEIR_R_NO_MBUF], 0);
	assert_int_equal(stats->counter[WEIR_C_RESPONSES_5XX], 0);
	for (unsigned i = 0; i < N_SLOW; i++)
		tcp_close(slows[i].c, sim.now_us);
	sim_run(&sim, 60000000, NULL, NULL);
	assert_int_equal(stats->gauge[WEIR_G_TCP_HELD], 0);
	end();
}

/* What is held by others leaves too little for one more. */
static void request_for_which_no_memory_is_left_is_answered_503(void **state)
{
	struct tcp_config tc = sim_config();
	unsigned one = 1;

	tc.n_held_max = 100; /* and one slow reader holds far more in the queue of its endpoint */
	start_with(20, 64, 64, &tc);
	start_slow_ones();
	sim_run(&sim, 1000000, NULL, NULL);
	assert_false(tcp_has_memory(sim.host[1].tcp));
	start_client(&clients[0], 1);
	assert_true(sim_run(&sim, 1000000, all_done, &one));
	assert_int_equal(clients[0].status, 503);
	assert_true(stats->reason[WEIR_R_REQ_NO_MEMORY] > 0);
	assert_int_equal(stats->reason[WEIR_R_REQ_POOL_EMPTY], 0);
	for (unsigned i = 0; i < N_SLOW; i++)
		if (slows[i].c)
			tcp_close(slows[i].c, sim.now_us);
	sim_run(&sim, 60000000, NULL, NULL);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(origin_that_closes_each_time_is_not_reused),
		cmocka_unit_test(cut_response_resets_the_client),
		cmocka_unit_test(garbage_is_answered_502_and_silence_504),
		cmocka_unit_test(slow_heads_bodies_and_idle_clients_are_ended_in_time),
		cmocka_unit_test(a_request_pool_that_is_empty_is_answered_503),
		cmocka_unit_test(pipelined_answers_that_nobody_reads_hold_nothing_up),
		cmocka_unit_test(changed_snapshot_keeps_pools_and_drain_ends_all),
		cmocka_unit_test(drain_of_many_clients_is_done_in_slices),
		cmocka_unit_test(many_slow_readers_fill_no_pool_and_hold_up_nobody),
		cmocka_unit_test(request_for_which_no_memory_is_left_is_answered_503),
		cmocka_unit_test(filters_of_rule_and_backend_change_both_heads),
		cmocka_unit_test(filters_of_a_request_outlive_their_snapshot),
		cmocka_unit_test(redirects_are_answered_without_a_backend),
		cmocka_unit_test(mirrored_requests_arrive_whole_and_connections_are_reused),
		cmocka_unit_test(mirror_gets_what_the_backend_gets),
		cmocka_unit_test(share_of_requests_is_mirrored),
		cmocka_unit_test(failing_mirrors_disturb_nobody),
		cmocka_unit_test(mirror_that_takes_nothing_is_cut_and_holds_nothing_up),
		cmocka_unit_test(mirrors_together_hold_a_part_of_the_pool_at_most),
		cmocka_unit_test(mirror_of_a_request_that_is_cut_is_cut_too),
		cmocka_unit_test(mirrors_beyond_the_pool_are_dropped_and_drain_ends_those_in_hand),
		cmocka_unit_test(bodies_come_back_unchanged_over_a_bad_link),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
