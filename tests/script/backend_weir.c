/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Weir's TCP under a script, in virtual time: one stack, one wheel, no
 * network. Time jumps from timer to timer; after each thing that happens
 * tcp_run() is called, as the worker's loop does.
 */
#include "backend_weir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>

#define N_MBUFS 8191
#define TICK_US 1000
#define START_US 1000000000ull

/* A segment that came out. */
struct weir_output {
	struct weir_output *next;
	uint64_t at_us;
	struct weir_ip dst;
	uint8_t ecn;
	size_t n;
	uint8_t bytes[];
};

static struct rte_mempool *pool, *clones;

static void make_pools(void)
{
	if (pool)
		return;
	pool = rte_pktmbuf_pool_create("script", N_MBUFS, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	clones = rte_pktmbuf_pool_create("script-clones", N_MBUFS, 0, 0, 0, SOCKET_ID_ANY);
	if (!pool || !clones)
		abort();
}

struct rte_mempool *weir_pool(void)
{
	make_pools();
	return pool;
}

struct rte_mempool *weir_clones(void)
{
	make_pools();
	return clones;
}

/* -- addresses */

static struct weir_ip address(bool is_ip6, unsigned net, unsigned host)
{
	struct weir_ip ip = {{0}};

	if (is_ip6) {
		memcpy(ip.b, (const uint8_t[]){0xfd, (uint8_t)net}, 2);
	} else {
		memcpy(ip.b + 10, (const uint8_t[]){0xff, 0xff, 10, (uint8_t)net}, 4);
	}
	ip.b[14] = (uint8_t)(host >> 8);
	ip.b[15] = (uint8_t)host;
	return ip;
}

struct weir_ip weir_local_addr(const struct backend *b)
{
	return address(b->pass->is_ip6, 0, 1);
}

struct weir_ip weir_peer_addr(const struct backend *b, unsigned addr)
{
	return address(b->pass->is_ip6, 1, addr);
}

/* -- configuration */

#define FIELD(name, member) {name, offsetof(struct tcp_config, member), sizeof(((struct tcp_config *)0)->member)}

static const struct {
	const char *name;
	size_t off, size;
} fields[] = {
	FIELD("n_connections", n_connections),
	FIELD("n_syn", n_syn),
	FIELD("n_time_wait", n_time_wait),
	FIELD("cookies", cookies),
	FIELD("listener_connections", listener_connections),
	FIELD("listener_accepts_per_s", listener_accepts_per_s),
	FIELD("prefix_connections", prefix_connections),
	FIELD("prefix_accepts_per_s", prefix_accepts_per_s),
	FIELD("rst_per_s", rst_per_s),
	FIELD("n_flights", n_flights),
	FIELD("n_segments", n_segments),
	FIELD("rx_buffer", rx_buffer_bytes),
	FIELD("tx_buffer", tx_buffer_bytes),
	FIELD("mtu", mtu),
	FIELD("port_lo", port_lo),
	FIELD("port_hi", port_hi),
	FIELD("time_wait_ms", time_wait_ms),
	FIELD("fin_timeout_ms", fin_timeout_ms),
	FIELD("keepalive_ms", keepalive_ms),
	FIELD("max_retransmit_ms", max_retransmit_ms),
	FIELD("tso_max", tso_max_bytes),
	FIELD("ecn", ecn),
	FIELD("pacing", pacing),
};

static void set_number(struct tcp_config *c, unsigned i, uint64_t v)
{
	memcpy((char *)c + fields[i].off, &v, fields[i].size); /* the fields are little-endian integers */
}

static bool set_field(struct tcp_config *c, const char *key, const char *value)
{
	static const char *const cc_names[] = {"default",
#define X(name, str) str,
					       TCP_CC_KINDS(X)
#undef X
	};

	for (unsigned i = 0; i < RTE_DIM(fields); i++)
		if (strcmp(key, fields[i].name) == 0) {
			set_number(c, i, strtoull(value, NULL, 0));
			return true;
		}
	for (unsigned i = 0; strcmp(key, "cc") == 0 && i < RTE_DIM(cc_names); i++)
		if (strcmp(value, cc_names[i]) == 0) {
			c->cc = (enum tcp_cc_kind)i;
			return true;
		}
	return strcmp(key, "family") == 0 || strcmp(key, "pace") == 0;
}

static bool configure(struct backend *b, char *why)
{
	const struct script *s = b->script;

	b->cfg = (struct tcp_config){
		.n_connections = 256,
		.n_syn = 64,
		.rx_buffer_bytes = 65535, /* no window scale */
		.tx_buffer_bytes = 262144,
		.mtu = 1500,
		.port_lo = 20000,
		.port_hi = 29999,
		.time_wait_ms = 60000,
		.fin_timeout_ms = 60000,
		.max_retransmit_ms = 100000,
		.cc = TCP_CC_NEWRENO,
	};
	memcpy(b->cfg.secret, "conformance test", 16);
	for (unsigned i = 0; i < s->n_config; i++)
		if (!set_field(&b->cfg, s->config[i].key, s->config[i].value)) {
			snprintf(why, SEG_TEXT_MAX, "unknown configuration %s=%s", s->config[i].key, s->config[i].value);
			return false;
		}
	if (b->pass->is_ip6) /* so that the MSS is the same */
		b->cfg.mtu = (uint16_t)(b->cfg.mtu + 20);
	return true;
}

/* -- what the stack calls */

static void on_output(void *ctx, struct rte_mbuf *m, const struct ip_flow *flow, uint8_t ecn, uint64_t now_us)
{
	struct backend *b = ctx;
	struct weir_output *o = malloc(sizeof(*o) + m->pkt_len);
	const void *p;

	if (!o)
		abort();
	*o = (struct weir_output){.at_us = now_us - b->start_us, .dst = flow->remote, .ecn = ecn, .n = m->pkt_len};
	p = rte_pktmbuf_read(m, 0, m->pkt_len, o->bytes);
	if (p != o->bytes)
		memcpy(o->bytes, p, o->n);
	*b->tail = o;
	b->tail = &o->next;
	rte_pktmbuf_free(m);
}

/* The connection that spoke of this flow last. */
static struct weir_app *app_of(struct backend *b, const struct ip_flow *flow)
{
	struct weir_app *best = NULL;

	for (unsigned i = 0; i < b->script->n_conns; i++) {
		struct weir_app *a = &b->apps[i];

		if (a->spoke && memcmp(&a->flow, flow, sizeof(*flow)) == 0 && (!best || a->spoke > best->spoke))
			best = a;
	}
	return best;
}

int weir_on_accept(void *ctx, struct tcp_conn *c, void **user, uint64_t now_us)
{
	struct weir_listener *l = ctx;
	struct weir_app *a = app_of(l->b, tcp_flow(c));

	if (l->refuses || !a)
		return -1;
	a->c = c;
	a->accepted = true;
	*user = a;
	return 0;
}

void weir_on_event(struct tcp_conn *c, void *user, unsigned events, uint64_t now_us)
{
	struct weir_app *a = user;

	a->events |= events;
	if (events & TCP_EV_CONNECTED)
		a->connected = true;
	if (events & TCP_EV_CLOSED) {
		a->closed = true;
		a->why = tcp_close_reason(c);
		a->c = NULL;
	}
}

/* -- interface */

static void init_apps(struct backend *b)
{
	for (unsigned i = 0; i < b->script->n_conns; i++) {
		const struct script_conn *c = &b->script->conns[i];
		struct weir_app *a = &b->apps[i];

		a->b = b;
		a->flow.local = weir_local_addr(b);
		a->flow.remote = weir_peer_addr(b, c->addr);
		a->flow.local_port = c->to_port;
		a->flow.remote_port = c->port;
	}
}

struct backend *backend_open(const struct script *s, const struct backend_pass *pass, char *why)
{
	struct backend *b = calloc(1, sizeof(*b));
	struct tcp_env env = {.ctx = b, .output = on_output, .pool = weir_pool(), .clones = weir_clones(), .wheel_kind = 1};

	if (!b)
		abort();
	b->script = s;
	b->pass = pass;
	b->start_us = b->now_us = START_US + pass->start_us;
	b->tail = &b->head;
	if (!configure(b, why)) {
		free(b);
		return NULL;
	}
	wheel_init(&b->wheel, TICK_US, b->now_us);
	env.wheel = &b->wheel;
	env.stats = &b->stats;
	b->tcp = tcp_create(&b->cfg, &env);
	if (!b->tcp) {
		snprintf(why, SEG_TEXT_MAX, "the stack does not take this configuration");
		free(b);
		return NULL;
	}
	init_apps(b);
	return b;
}

bool backend_close(struct backend *b, char *why)
{
	struct backend_packet packet;
	size_t n_armed;

	tcp_destroy(b->tcp, b->now_us);
	while (backend_next(b, &packet))
		;
	n_armed = b->wheel.n_armed;
	free(b);
	if (n_armed)
		snprintf(why, SEG_TEXT_MAX, "%zu timers are still armed after tcp_destroy()", n_armed);
	else if (rte_mempool_avail_count(pool) != N_MBUFS || rte_mempool_avail_count(clones) != N_MBUFS)
		snprintf(why, SEG_TEXT_MAX, "mbufs are missing: %u and %u", N_MBUFS - rte_mempool_avail_count(pool),
			 N_MBUFS - rte_mempool_avail_count(clones));
	else
		return true;
	return false;
}

uint64_t backend_now(const struct backend *b)
{
	return b->now_us - b->start_us;
}

static void turn(struct backend *b)
{
	wheel_run(&b->wheel, b->now_us, UINT32_MAX);
	tcp_run(b->tcp, b->now_us);
}

void backend_run(struct backend *b, uint64_t at_us, bool stops_at_output)
{
	uint64_t end = b->start_us + at_us;

	for (;;) {
		uint64_t next;

		turn(b);
		if (stops_at_output && b->head)
			return;
		next = wheel_next_us(&b->wheel);
		if (b->now_us >= end)
			return;
		b->now_us = next > end ? end : next > b->now_us ? next : b->now_us + 1;
	}
}

bool backend_next(struct backend *b, struct backend_packet *out)
{
	struct weir_output *o = b->head;

	if (!o)
		return false;
	b->head = o->next;
	if (!b->head)
		b->tail = &b->head;
	out->at_us = o->at_us;
	out->addr = (unsigned)(o->dst.b[14] << 8 | o->dst.b[15]);
	out->ecn = o->ecn;
	out->n = o->n;
	memcpy(out->bytes, o->bytes, o->n);
	free(o);
	return true;
}

/* As a device gives it: long segments are chains. */
static struct rte_mbuf *make_mbuf(const uint8_t *p, size_t n)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	struct rte_mbuf *last = m;

	for (size_t done = 0; m && done < n;) {
		size_t k = rte_pktmbuf_tailroom(last);

		if (k == 0) {
			last->next = rte_pktmbuf_alloc(pool);
			last = last->next;
			m->nb_segs++;
			continue;
		}
		if (k > n - done)
			k = n - done;
		memcpy(rte_pktmbuf_mtod_offset(last, uint8_t *, last->data_len), p + done, k);
		last->data_len = (uint16_t)(last->data_len + k);
		m->pkt_len += (uint32_t)k;
		done += k;
	}
	return m;
}

void backend_inject(struct backend *b, unsigned conn, const uint8_t *p, size_t n, uint8_t ecn, bool is_burst)
{
	struct weir_app *a = &b->apps[conn];
	struct tcp_packet packet = {.src = a->flow.remote, .dst = a->flow.local, .ecn = ecn};

	/* Another iteration of the loop: its time is later, as a worker's is. */
	if (b->now_us == b->input_us)
		b->now_us++;
	if (!is_burst)
		b->input_us = b->now_us;
	a->spoke = ++b->n_spoken;
	wheel_run(&b->wheel, b->now_us, UINT32_MAX);
	tcp_input(b->tcp, make_mbuf(p, n), &packet, b->now_us);
	if (!is_burst)
		turn(b);
}

bool backend_icmp(struct backend *b, unsigned conn, const char *what, uint32_t seq, uint32_t mtu)
{
	enum tcp_icmp kind;

	if (strcmp(what, "too_big") == 0)
		kind = TCP_ICMP_TOO_BIG;
	else if (strcmp(what, "unreachable") == 0)
		kind = TCP_ICMP_UNREACHABLE;
	else
		return false;
	if (b->pass->is_ip6 && mtu)
		mtu += 20;
	tcp_icmp_error(b->tcp, &b->apps[conn].flow, seq, kind, (uint16_t)mtu, b->now_us);
	turn(b);
	return true;
}

uint16_t backend_local_port(const struct backend *b, unsigned conn)
{
	return b->apps[conn].flow.local_port;
}

int backend_find(const struct backend *b, unsigned addr, uint16_t peer_port, uint16_t local_port)
{
	struct ip_flow flow = {.local = weir_local_addr(b), .remote = weir_peer_addr(b, addr), .local_port = local_port,
			       .remote_port = peer_port};
	struct weir_app *a = app_of((struct backend *)(uintptr_t)b, &flow);

	return a ? (int)(a - b->apps) : -1;
}
