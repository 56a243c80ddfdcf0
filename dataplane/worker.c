/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's loop, and how a worker is put together. Everything here runs
 * on the worker's own core; it meets the main lcore only at its two rings.
 *
 * One iteration: a slice of what main asked for, packets in, timers, TCP (events, then segments),
 * packets out. The clock is read once, at its head.
 */
#include "worker.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_lcore.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <rte_ring_elem.h>

#include "base/wheel.h"
#include "idle.h"
#include "mem/heap.h"
#include "net/capture.h"
#include "net/steer.h"
#include "proxy/proxy.h"
#include "stats/stage.h"
#include "tcp/tcp.h"
#include "tls/tls.h"
#include "upstream/upstream.h"
#include "walk.h"

#define TICK_US 100	     /* so fine for pacing; an idle wheel_run() costs the same 7 ns as with 1000 */
/*
 * Timers' handlers per iteration, and per iteration in which more packets wait
 * than one burst. A handler mostly sends a packet, which one or two answer: were
 * there more of them than packets taken in, a crowd of timers would make work
 * faster than it is done, and what is not answered in time makes more timers.
 */
#define TIMER_BUDGET 64
#define TIMER_BUDGET_BUSY 8
#define MSG_BUDGET 8	     /* messages per iteration */
#define MSG_COST 16	     /* of a message, beside what is done in slices */
#define HOUSEKEEPING_US 100000
#define OUTBOX_MAX 256	     /* messages to main that wait for room in its ring, besides those that ask for certificates */
#define RELEASE_SLICE 64     /* certificates looked at in a slice, each of which may be a message to main */
#define HEAP_CONN_BYTES 65536ull /* of addresses, for what libraries allocate: a TLS session takes less */
#define HEAP_READY_BYTES (8u << 20) /* in memory beyond what is in use; main sees to that */

/* Kinds of timers on the worker's wheel. */
enum {
	KIND_NET = 0,
	KIND_TCP = 1,
	KIND_UPSTREAM = KIND_TCP + TCP_WHEEL_KINDS,
	KIND_PROXY,
	KIND_HOUSEKEEPING = KIND_PROXY + PROXY_WHEEL_KINDS,
};

struct worker {
	struct worker_config wc;
	struct heap *heap;
	struct wheel wheel;
	struct wheel_timer housekeeping;
	struct net *net;
	struct tcp_stack *tcp;
	struct tls *tls;
	struct upstream *upstream;
	struct proxy *proxy;
	struct weir_worker_stats *stats;
	struct stage_clock *stages; /* NULL: not wanted */
	struct stage_clock stage_clock;
	struct idle idle;
	struct walk_job *walk; /* a list of connections that is being made, or NULL */
	struct worker_msg task; /* the message that is being done, in slices; the next one waits */
	bool has_task;
	uint64_t worst_slice; /* cycles */
	uint64_t tsc_start;
	uint64_t loop_edge[WEIR_N_LOOP_TIMES - 1]; /* WEIR_LOOP_TIMES in cycles */
	uint64_t tsc_mult; /* microseconds per cycle, times 2^32 */
	uint64_t unix_offset_us; /* main: w, worker: r. What added to its time is the wall clock's */
	bool draining;
	bool has_told_drained;
	bool is_stopped;
	bool is_ending; /* main is destroying it */
	bool owes_bell; /* main is to be woken */
	/* messages for main that its ring had no room for; in order, from first on */
	unsigned n_outbox, first_outbox, max_outbox;
	struct worker_msg *outbox;
};

static uint64_t now_us(const struct worker *w, uint64_t tsc)
{
	return (uint64_t)(((__uint128_t)(tsc - w->tsc_start) * w->tsc_mult) >> 32) + 1000000;
}

uint64_t worker_set_clock(struct worker *w, uint64_t unix_us, uint64_t tsc)
{
	uint64_t offset = unix_us - now_us(w, tsc);

	__atomic_store_n(&w->unix_offset_us, offset, __ATOMIC_RELAXED);
	return offset;
}

void worker_make_ready(struct worker *w)
{
	heap_make_ready(w->heap, HEAP_READY_BYTES);
}

/*
 * Main empties its ring at least once a millisecond while it waits for
 * answers, and sends no more than the ring holds: the outbox is for the case
 * that it is held up. There is room for a question for each certificate that main can hold, and tasks wait
 * while more than half of the rest is taken.
 */
static void tell_main(struct worker *w, enum worker_msg_type type, void *ptr, uint64_t id, uint64_t version)
{
	struct worker_msg m = {.type = type, .worker = w->wc.id, .ptr = ptr, .id = id, .version = version};

	if (w->n_outbox == 0 && rte_ring_sp_enqueue_elem(w->wc.link.to_main, &m, sizeof(m)) == 0)
		return;
	assert(w->n_outbox < w->max_outbox);
	if (w->n_outbox < w->max_outbox)
		w->outbox[(w->first_outbox + w->n_outbox++) % w->max_outbox] = m;
}

static void flush_outbox(struct worker *w)
{
	while (w->n_outbox > 0) {
		if (rte_ring_sp_enqueue_elem(w->wc.link.to_main, &w->outbox[w->first_outbox], sizeof(*w->outbox)) != 0)
			return;
		w->first_outbox = (w->first_outbox + 1) % w->max_outbox;
		w->n_outbox--;
	}
}

/*
 * The one system call of a loop that has work: main sleeps up to a fifth of a second, and
 * a handshake waits. Once for all certificates that were asked for in an iteration, when main can read all of it.
 */
static void ring_bell(struct worker *w)
{
	const uint64_t one = 1;

	if (w->n_outbox > 0)
		return;
	w->owes_bell = false;
	(void)!write(w->wc.bell_fd, &one, sizeof(one));
}

/* TLS asks for each certificate once, until it is answered. */
static void want_certificate(void *ctx, const struct weir_cert_id *id)
{
	struct worker *w = ctx;

	tell_main(w, WORKER_WANTS_CERTIFICATE, NULL, id->v[0], id->v[1]);
	w->owes_bell = w->wc.bell_fd >= 0;
}

static void release_certificate(void *ctx, struct tls_certificate *cert)
{
	struct worker *w = ctx;

	if (w->is_ending) /* this is main, and what it made ends before what it was made in */
		tls_certificate_destroy(cert);
	else
		tell_main(w, WORKER_CERTIFICATE_RELEASED, cert, 0, 0);
}

static void release_snapshot(void *ctx, const struct weir_snapshot *s)
{
	tell_main(ctx, WORKER_RELEASED, (void *)(uintptr_t)s, s->generation, 0);
}

static void begin_capture(struct worker *w, struct net_capture *c)
{
	c->unix_offset_us = (int64_t)(c->unix_us - now_us(w, c->tsc));
	net_capture_start(w->net, c);
}

static void walk(struct worker *w)
{
	struct walk_job *job = w->walk;

	if (!walk_step(job, w->tcp, w->stats))
		return;
	w->walk = NULL;
	tell_main(w, WORKER_WALKED, job, job->id, 0);
}

/* Begins what main asks for; task_done() when task_step() has said that nothing is left to do. */
static void task_begin(struct worker *w, const struct worker_msg *m, uint64_t now)
{
	switch ((enum worker_msg_type)m->type) {
	case WORKER_SNAPSHOT:
		proxy_set_snapshot(w->proxy, m->ptr);
		tls_retain(w->tls, m->ptr);
		stat_set(w->stats, WEIR_G_SNAPSHOT_GENERATION, ((const struct weir_snapshot *)m->ptr)->generation);
		break;
	case WORKER_ENDPOINTS:
		upstream_set_endpoints(w->upstream, m->ptr, now);
		break;
	case WORKER_DRAIN:
		w->draining = true;
		net_leave(w->net);
		tcp_set_draining(w->tcp, true);
		proxy_drain(w->proxy, now);
		break;
	case WORKER_STOP:
		w->is_stopped = true;
		break;
	case WORKER_WALK:
		w->walk = m->ptr;
		break;
	case WORKER_CAPTURE:
		begin_capture(w, m->ptr);
		break;
	case WORKER_CAPTURE_STOP:
		net_capture_stop(w->net);
		break;
	case WORKER_CERTIFICATE:
		tls_take_certificate(w->tls, &(struct weir_cert_id){{m->id, m->version}}, m->ptr, now);
		break;
	case WORKER_TICKET_KEYS:
		tls_set_ticket_keys(w->tls, m->ptr);
		break;
	case WORKER_FIB: /* task_done() */
		break;
	default:
		assert(!"message that main does not send");
	}
}

/* Goes on with it. True: nothing is left to do. */
static bool task_step(struct worker *w, int *budget, uint64_t now)
{
	int part, left;
	bool is_done;

	if (!proxy_step(w->proxy, budget, now))
		return false;
	if (w->task.type != WORKER_SNAPSHOT)
		return true;
	if (w->n_outbox >= OUTBOX_MAX / 2 || *budget <= 0)
		return false;
	part = left = *budget < RELEASE_SLICE ? *budget : RELEASE_SLICE;
	is_done = tls_step(w->tls, &left);
	*budget -= part - left;
	return is_done;
}

/* What main hears of it. */
static void task_done(struct worker *w, const struct worker_msg *m)
{
	switch ((enum worker_msg_type)m->type) {
	case WORKER_SNAPSHOT:
		stat_inc(w->stats, WEIR_C_SNAPSHOT_SWAPS);
		net_serve(w->net);
		tell_main(w, WORKER_SWAPPED, NULL, m->id, 0);
		break;
	case WORKER_ENDPOINTS:
		stat_inc(w->stats, WEIR_C_ENDPOINT_SWAPS);
		tell_main(w, WORKER_ENDPOINTS_TAKEN, m->ptr, m->id, m->version);
		break;
	case WORKER_CAPTURE_STOP:
		tell_main(w, WORKER_CAPTURE_STOPPED, NULL, m->id, 0);
		break;
	case WORKER_TICKET_KEYS:
		tell_main(w, WORKER_TICKET_KEYS_TAKEN, m->ptr, 0, 0);
		break;
	case WORKER_FIB:
		tell_main(w, WORKER_FIB_TAKEN, (void *)(uintptr_t)net_set_fib(w->net, m->ptr), 0, 0);
		break;
	default:
		break;
	}
}

/* False: there is no message, or no room for what it is answered, so it waits. */
static bool next_task(struct worker *w, uint64_t now)
{
	if (w->n_outbox >= OUTBOX_MAX / 2 || rte_ring_sc_dequeue_elem(w->wc.link.to_worker, &w->task, sizeof(w->task)) != 0)
		return false;
	w->has_task = true;
	task_begin(w, &w->task, now);
	return true;
}

/* Messages, in their order, each done before the next one begins; then balancers' tables. As far as the budget goes. */
static unsigned run_slice(struct worker *w, uint64_t now)
{
	int budget = UPSTREAM_SLICE;
	unsigned n = 0;

	for (; n < MSG_BUDGET && budget > 0 && !w->is_stopped && (w->has_task || next_task(w, now)); n++) {
		budget -= MSG_COST;
		if (!task_step(w, &budget, now))
			return n + 1;
		w->has_task = false;
		task_done(w, &w->task);
	}
	if (budget > 0 && upstream_is_work_due(w->upstream, now)) {
		upstream_work(w->upstream, &budget, now);
		n++;
	}
	return n;
}

static unsigned serve_main(struct worker *w, uint64_t now)
{
	uint64_t tsc;
	unsigned n;

	if (unlikely(w->n_outbox))
		flush_outbox(w);
	if (unlikely(w->owes_bell))
		ring_bell(w);
	if (likely(!w->has_task && rte_ring_empty(w->wc.link.to_worker) && !upstream_is_work_due(w->upstream, now)))
		return 0;
	tsc = rte_rdtsc();
	n = run_slice(w, now);
	tsc = rte_rdtsc() - tsc;
	if (tsc > w->worst_slice) {
		w->worst_slice = tsc;
		stat_set(w->stats, WEIR_G_SLICE_MAX_US, (uint64_t)(((__uint128_t)tsc * w->tsc_mult) >> 32));
	}
	return n;
}

static void take_clock(struct worker *w)
{
	uint64_t offset = __atomic_load_n(&w->unix_offset_us, __ATOMIC_RELAXED);

	proxy_set_clock(w->proxy, offset);
	tls_set_clock(w->tls, offset);
}

/* Ten times a second: gauges that cost something, the wall clock, and whether a drain is complete. */
static void on_housekeeping(void *ctx, struct wheel_timer *t, uint64_t now)
{
	struct worker *w = ctx;

	stat_set(w->stats, WEIR_G_TCP_CONNECTIONS, tcp_n_connections(w->tcp));
	stat_set(w->stats, WEIR_G_TCP_SYN_RECEIVED, tcp_n_syn_received(w->tcp));
	stat_set(w->stats, WEIR_G_TCP_TIME_WAIT, tcp_n_time_wait(w->tcp));
	stat_set(w->stats, WEIR_G_MBUFS_USED, rte_mempool_in_use_count(w->wc.net.pool));
	take_clock(w);
	if (w->draining && !w->has_told_drained && proxy_is_idle(w->proxy) && tcp_n_open(w->tcp) == 0 && !net_is_handing_over(w->net)) {
		w->has_told_drained = true;
		tell_main(w, WORKER_DRAINED, NULL, 0, 0);
	}
	wheel_arm(&w->wheel, t, KIND_HOUSEKEEPING, now + HOUSEKEEPING_US);
}

static enum tcp_cc_kind listener_cc(const void *ctx, const struct weir_ip *addr, uint16_t port)
{
	const struct config *c = ctx;

	for (unsigned i = 0; i < c->n_listener_cc; i++) {
		const struct config_cc *e = &c->listener_cc[i];

		if (e->port == port && (ip_is_any(&e->addr) || ip_eq(&e->addr, addr)))
			return e->cc;
	}
	return c->cc;
}

static enum tcp_cc_kind backend_cc(const void *ctx, uint64_t backend)
{
	const struct config *c = ctx;

	for (unsigned i = 0; i < c->n_backend_cc; i++)
		if (c->backend_cc[i].backend == backend)
			return c->backend_cc[i].cc;
	return c->upstream_cc;
}

/* Payload of a long segment: where every port cuts it, as much as one packet holds; else what software cuts. */
static uint32_t tso_bytes(const struct worker *w)
{
	uint32_t max = w->wc.config->tso_bytes;

	for (unsigned i = 0; i < w->wc.net.n_ports; i++)
		if (!w->wc.net.ports[i].caps.tx_tso && max > NET_GSO_MAX)
			max = NET_GSO_MAX;
	return max;
}

/* Three quarters of what the receive queues leave: the rest receives, and sends ACKs. */
static uint32_t held_max(const struct worker *w)
{
	uint32_t n = w->wc.config->n_mbufs;
	uint32_t least = n / 4;

	for (unsigned i = 0; i < w->wc.net.n_ports; i++)
		n -= w->wc.net.ports[i].n_rx_desc < n ? w->wc.net.ports[i].n_rx_desc : n;
	return (n > least ? n : least) / 4 * 3;
}

static uint16_t max_mtu(const struct worker *w)
{
	uint16_t max = 0;

	for (unsigned i = 0; i < w->wc.net.n_ifaces; i++)
		if (w->wc.net.ifaces[i].mtu > max)
			max = w->wc.net.ifaces[i].mtu;
	return max ? max : UINT16_MAX;
}

static bool create_tcp(struct worker *w)
{
	const struct config *c = w->wc.config;
	struct tcp_config tc = {
		.n_connections = c->n_connections,
		.n_syn = c->n_syn,
		.n_time_wait = c->n_time_wait,
		.cookies = c->cookies,
		.listener_connections = c->listener_connections,
		.listener_accepts_per_s = c->listener_accepts_per_s,
		.prefix_connections = c->prefix_connections,
		.prefix_accepts_per_s = c->prefix_accepts_per_s,
		.prefix_len4 = (uint8_t)c->prefix_len4,
		.prefix_len6 = (uint8_t)c->prefix_len6,
		.n_prefixes = c->n_prefixes,
		.rst_per_s = c->rst_per_s,
		.rx_buffer_bytes = c->rx_buffer_bytes,
		.tx_buffer_bytes = c->tx_buffer_bytes,
		.mtu = max_mtu(w), /* and path_mtu says what each interface takes */
		.time_wait_ms = c->time_wait_ms,
		.fin_timeout_ms = c->fin_timeout_ms,
		.keepalive_ms = c->keepalive_ms,
		.max_retransmit_ms = c->max_retransmit_ms,
		.n_flights = c->n_connections < c->n_mbufs ? c->n_connections : c->n_mbufs, /* each holds an mbuf at least */
		.n_segments = 2 * c->n_mbufs,
		.n_held_max = held_max(w),
		.n_bbr = config_n_bbr(c),
		.cc = c->cc,
		.ecn = c->ecn,
		.pacing = c->pacing,
		.tso_max_bytes = tso_bytes(w),
	};
	const struct steer *steer = w->wc.net.steer;
	struct tcp_env env = {
		.ctx = w->net,
		.output = net_output_tcp,
		.path_mtu = net_mtu_for,
		.pool = w->wc.net.pool,
		.clones = w->wc.clones,
		.wheel = &w->wheel,
		.wheel_kind = KIND_TCP,
		.stats = w->stats,
		.stages = w->stages,
	};

	memcpy(tc.secret, w->wc.secret, sizeof(tc.secret));
	steer_ports(steer, w->wc.id, &tc.port_lo, &tc.port_hi);
	if (steer->by_hash) {
		env.steer_port = net_steer_port;
		env.steer_fit = net_steer_fit;
		env.steer_bits = steer->bits;
		env.steer_fits = steer_n_fits(steer, w->wc.id);
	}
	w->tcp = tcp_create(&tc, &env);
	return w->tcp != NULL;
}

static bool create_tls(struct worker *w)
{
	const struct config *c = w->wc.config;
	const struct tls_config tc = {
		.tcp = w->tcp,
		.pool = w->wc.net.pool,
		.stats = w->stats,
		.stages = w->stages,
		.n_sessions = config_n_tls_sessions(c),
		/* What the window does not let in would be waited for in vain. */
		.hello_bytes = c->hello_bytes < c->rx_buffer_bytes ? c->hello_bytes : c->rx_buffer_bytes,
		.takes_turns = true,
		.early_data = c->early_data && c->tickets,
		.keeps_libssl = c->keeps_libssl,
		.offload = w->wc.offload,
		.want = want_certificate,
		.release = release_certificate,
		.ctx = w,
	};

	w->tls = tls_create(&tc);
	return w->tls != NULL;
}

static bool create_upstream(struct worker *w)
{
	const struct config *c = w->wc.config;
	struct upstream_config uc = {
		.tcp = w->tcp,
		.tls = w->tls,
		.net = w->net,
		.wheel = &w->wheel,
		.wheel_kind = KIND_UPSTREAM,
		.stats = w->stats,
		.n_conns = c->n_upstreams,
		.n_endpoints = c->n_endpoints,
		.n_backends = c->n_backends,
		.max_per_endpoint = c->n_upstream_max,
		.max_idle_per_endpoint = c->n_upstream_idle,
		.idle_ms = c->upstream_idle_ms,
		.connect_timeout_ms = c->connect_timeout_ms,
		.seed = w->wc.seed,
		.backend_cc = backend_cc,
		.backend_cc_ctx = c,
		.n_table_pages = (uint32_t)((uint64_t)c->balance_kb * 1024 / 4096),
		.caps = w->wc.caps,
		.n_workers = w->wc.n_workers,
	};

	memcpy(uc.affinity_key, w->wc.affinity_key, sizeof(uc.affinity_key));
	w->upstream = upstream_create(&uc);
	return w->upstream != NULL;
}

static uint32_t or_none(uint32_t v)
{
	return v ? v : WEIR_NO_LIMIT;
}

static struct weir_timeouts timeouts(const struct config *c)
{
	return (struct weir_timeouts){
		.header_ms = c->header_timeout_ms,
		.idle_ms = c->idle_timeout_ms,
		.body_ms = c->body_timeout_ms,
		.body_bytes_per_s = or_none(c->body_bytes_per_s),
		.connect_ms = c->connect_timeout_ms,
		.first_byte_ms = c->response_timeout_ms,
		.request_ms = or_none(c->request_timeout_ms),
		.backend_ms = WEIR_NO_LIMIT,
		.tunnel_idle_ms = or_none(c->tunnel_idle_ms),
		.tunnel_life_ms = or_none(c->tunnel_life_ms),
	};
}

static bool create_proxy(struct worker *w)
{
	const struct config *c = w->wc.config;
	const struct proxy_config pc = {
		.tcp = w->tcp,
		.tls = w->tls,
		.upstream = w->upstream,
		.wheel = &w->wheel,
		.wheel_kind = KIND_PROXY,
		.pool = w->wc.net.pool,
		.clones = w->wc.clones,
		.stats = w->stats,
		.stages = w->stages,
		.log = w->wc.log,
		.n_clients = c->n_connections,
		.n_requests = c->n_requests,
		.n_mirrors = c->n_mirrors,
		.n_tunnels = c->n_tunnels,
		.drain_ms = c->drain_ms,
		.limits = {.line_bytes = c->line_bytes, .headers_bytes = c->headers_bytes, .n_fields = c->n_fields},
		.timeouts = timeouts(c),
		.body_grace_ms = c->body_grace_ms,
		.handshake_ms = c->handshake_timeout_ms,
		.n_tries = c->n_tries,
		.n_listen = c->n_listen,
		.listen = c->listen,
		.listener_cc = listener_cc,
		.listener_cc_ctx = c,
		.worker = w->wc.id,
		.seed = w->wc.seed ^ 0x9e3779b97f4a7c15ull,
		.forwarding = {.via = c->via,
			       .add_forwarded = c->add_forwarded,
			       .trusted_hops = c->trusted_hops,
			       .n_trusted_prefixes = c->n_trusted_prefixes,
			       .trusted_prefixes = c->trusted_prefixes},
		.release = release_snapshot,
		.release_ctx = w,
	};

	w->proxy = proxy_create(&pc);
	return w->proxy != NULL;
}

/* Of the heap, for the jobs in which handshakes wait for a device. */
static size_t jobs_bytes(const struct worker_config *wc)
{
	return wc->offload ? (size_t)wc->config->offload.n_jobs * OFFLOAD_JOB_BYTES : 0;
}

struct worker *worker_create(const struct worker_config *wc)
{
	struct worker *w = rte_zmalloc_socket("worker", sizeof(*w), RTE_CACHE_LINE_SIZE, wc->socket);

	if (!w)
		return NULL;
	w->wc = *wc;
	w->heap = heap_create(HEAP_CONN_BYTES * ((uint64_t)wc->config->n_connections + wc->config->n_upstreams) + jobs_bytes(wc), wc->socket);
	w->stats = wc->stats;
	w->stages = wc->config->stage_timers ? &w->stage_clock : NULL;
	w->tsc_start = rte_rdtsc();
	w->tsc_mult = (uint64_t)(((__uint128_t)1000000 << 32) / rte_get_tsc_hz());
	w->max_outbox = OUTBOX_MAX + config_n_certificates(wc->config);
	w->outbox = rte_malloc_socket("outbox", w->max_outbox * sizeof(*w->outbox), RTE_CACHE_LINE_SIZE, wc->socket);
	if (!w->outbox) {
		heap_destroy(w->heap);
		rte_free(w);
		return NULL;
	}
	wheel_init(&w->wheel, TICK_US, now_us(w, w->tsc_start));
	wheel_handle(&w->wheel, KIND_HOUSEKEEPING, on_housekeeping, w);
	idle_init(&w->idle, &(struct idle_config){
		.mode = wc->config->idle, .latency_us = wc->config->idle_latency_us, .queue = wc->id, .n_ports = wc->net.n_ports,
		.ports = wc->net.ports, .wake = wc->link.wake, .stats = w->stats, .tsc_hz = rte_get_tsc_hz(),
	});
	w->wc.net.wheel = &w->wheel;
	w->wc.net.wheel_kind = KIND_NET;
	w->wc.net.stats = w->stats;
	w->wc.net.stages = w->stages;
	w->net = net_create(&w->wc.net);
	if (w->heap && w->net && create_tcp(w)) {
		net_set_tcp(w->net, w->tcp);
		if (create_tls(w) && create_upstream(w) && create_proxy(w))
			return w;
	}
	worker_destroy(w);
	return NULL;
}

struct tls *worker_tls(const struct worker *w)
{
	return w->tls;
}

/* Main has read its ring for the last time. */
static void empty_outbox(struct worker *w)
{
	for (; w->n_outbox > 0; w->n_outbox--) {
		const struct worker_msg *m = &w->outbox[w->first_outbox];

		if (m->type == WORKER_CERTIFICATE_RELEASED)
			tls_certificate_destroy(m->ptr);
		w->first_outbox = (w->first_outbox + 1) % w->max_outbox;
	}
}

void worker_destroy(struct worker *w)
{
	uint64_t now;

	if (!w)
		return;
	w->is_ending = true;
	empty_outbox(w);
	now = now_us(w, rte_rdtsc());
	if (w->proxy)
		proxy_destroy(w->proxy, now);
	if (w->upstream)
		upstream_destroy(w->upstream, now);
	if (w->tls)
		tls_destroy(w->tls);
	if (w->tcp)
		tcp_destroy(w->tcp, now);
	if (w->net) {
		net_flush(w->net); /* the last RSTs */
		net_destroy(w->net);
	}
	rte_free(w->outbox);
	heap_destroy(w->heap);
	rte_free(w);
}

/* Something is under way of which neither a packet, nor a timer, nor a call of another thread tells. */
static bool must_look(const struct worker *w)
{
	return w->n_outbox || w->owes_bell || w->has_task || w->walk || tls_needs_poll(w->tls) || net_has_unsent(w->net);
}

/* Nothing to do: spare the core's other thread and its heat, or give it away for a while, as far as the configuration says. */
static void rest(struct worker *w, uint64_t now)
{
	uint64_t next = 0, work;

	if (idle_wants_hints(&w->idle, now)) {
		next = wheel_next_us(&w->wheel);
		work = upstream_work_at_us(w->upstream);
		next = work < next ? work : next;
	}
	idle_rest(&w->idle, now, next, next > now && !must_look(w));
}

/* All of an iteration: the number of things done. */
static unsigned iterate(struct worker *w, uint64_t now)
{
	unsigned n = serve_main(w, now);
	unsigned n_rx;

	stage_enter(w->stages, WEIR_STAGE_RX);
	n_rx = net_poll(w->net, now);
	n += n_rx;
	stage_enter(w->stages, WEIR_STAGE_TIMERS);
	n += wheel_run(&w->wheel, now, n_rx < NET_BURST ? TIMER_BUDGET : TIMER_BUDGET_BUSY);
	n += tls_poll(w->tls, now);
	stage_enter(w->stages, WEIR_STAGE_PROXY);
	n += tcp_run(w->tcp, now);
	stage_leave(w->stages, WEIR_STAGE_OTHER);
	net_flush(w->net);
	if (unlikely(w->walk)) {
		walk(w);
		n++;
	}
	return n;
}

/* What a device has to do for sessions that end now: as long as an operation may take, and no longer. */
static void settle_tls(struct worker *w)
{
	uint64_t now = now_us(w, rte_rdtsc());
	uint64_t end = now + (w->wc.offload ? w->wc.config->offload.timeout_ms * 1000ull : 0);

	while (!tls_settle(w->tls, now) && now < end)
		now = now_us(w, rte_rdtsc());
	tls_finish(w->tls);
}

static void init_loop_edges(struct worker *w)
{
	static const uint32_t us[] = {
#define B(X, us, seconds) us,
		WEIR_LOOP_TIMES(B, 0)
#undef B
	};

	for (unsigned i = 0; i < RTE_DIM(us); i++)
		w->loop_edge[i] = us[i] * rte_get_tsc_hz() / 1000000;
}

/* An iteration that found work: nearly all are within the first bound or two. */
static void note_busy(struct worker *w, uint64_t cycles)
{
	unsigned i = 0;

	while (i < WEIR_N_LOOP_TIMES - 1 && cycles > w->loop_edge[i])
		i++;
	stat_inc(w->stats, WEIR_C_BUSY_LOOPS);
	stat_inc(w->stats, (enum weir_counter)(WEIR_C_LOOPS_10_US + i));
	stat_add(w->stats, WEIR_C_BUSY_CYCLES, cycles);
}

int worker_run(void *arg)
{
	struct worker *w = arg;

	heap_bind(w->heap);
	init_loop_edges(w);
	if (!tls_begin(w->tls, w->wc.id))
		tls_set_software(w->tls);
	take_clock(w);
	idle_begin(&w->idle);
	wheel_arm(&w->wheel, &w->housekeeping, KIND_HOUSEKEEPING, now_us(w, rte_rdtsc()) + HOUSEKEEPING_US);
	while (!w->is_stopped) {
		uint64_t tsc = rte_rdtsc();
		uint64_t now = now_us(w, tsc);
		unsigned n;

		if (unlikely(w->stages))
			stage_begin(w->stages, WEIR_STAGE_OTHER, tsc);
		n = iterate(w, now);
		stat_inc(w->stats, WEIR_C_LOOPS);
		if (n) {
			idle_busy(&w->idle);
			note_busy(w, rte_rdtsc() - tsc);
		} else {
			rest(w, now);
		}
		if (unlikely(w->stages))
			stage_end(w->stages, w->stats, n > 0, rte_rdtsc());
		stat_add(w->stats, WEIR_C_TOTAL_CYCLES, rte_rdtsc() - tsc);
	}
	settle_tls(w);
	tell_main(w, WORKER_STOPPED, NULL, 0, 0);
	if (w->n_outbox)
		flush_outbox(w);
	heap_bind(NULL);
	return 0;
}
