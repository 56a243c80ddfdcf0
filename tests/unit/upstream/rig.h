/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One or two workers' upstream/ in virtual time, without a TCP: connections
 * are numbers that the test opens and ends. Endpoint i of a set is 10.0.x.y, port 80.
 */
#ifndef TESTS_UPSTREAM_RIG_H
#define TESTS_UPSTREAM_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "eal.h"
#include "upstream_all.h"
#include "snapshot/snapshot.h"
#include "translate/compile.h"
#include "upstream/upstream_pvt.h"
#include "../../fake_backend_tls.h"

#define N_WORKERS 2
#define N_PAGES 2048
#ifndef MAX_SET
#define MAX_SET 4096
#endif
#define START_US 1000000

static struct rig {
	struct upstream *u;
	struct wheel wheel;
	struct weir_worker_stats stats;
} rigs[N_WORKERS];
static struct upstream *u; /* of the first */
static struct weir_worker_stats *stats;
static uint64_t now;
static struct upstream_caps *caps;
static struct weir_backend set_backend; /* settings of the backend "n/s:80" */
static const char *cookie_name, *hash_name;
static unsigned n_tcp;	  /* connections that are open */
static bool is_tcp_empty; /* no more can be opened */
static struct weir_snapshot *served; /* by all */
static uint32_t n_rig_endpoints = 3 * MAX_SET;
static uint32_t n_rig_backends = 16;

/* -- what upstream/ asks of tcp/ and net/, which are not here */

struct tcp_conn {
	tcp_event_fn *event;
	void *user;
	enum weir_reason why;
};

struct tcp_conn *tcp_connect(struct tcp_stack *s, const struct tcp_connect *args, uint64_t now_us, enum weir_reason *why)
{
	if (is_tcp_empty)
		return NULL;
	n_tcp++;
	return calloc(1, sizeof(struct tcp_conn));
}

void tcp_set_user(struct tcp_conn *c, tcp_event_fn *event, void *user)
{
	c->event = event;
	c->user = user;
}

static void tcp_free(struct tcp_conn *c)
{
	n_tcp--;
	free(c);
}

void tcp_close(struct tcp_conn *c, uint64_t now_us)
{
	tcp_free(c);
}

void tcp_abort(struct tcp_conn *c, enum weir_reason why, uint64_t now_us)
{
	tcp_free(c);
}

enum weir_reason tcp_close_reason(const struct tcp_conn *c)
{
	return c->why;
}

size_t tcp_readable(const struct tcp_conn *c)
{
	return 0;
}

bool tcp_is_eof(const struct tcp_conn *c)
{
	return false;
}

bool net_source_for(const struct net *n, const struct weir_ip *remote, struct weir_ip *local)
{
	return true;
}

/* -- workers */

static void run_timers(void)
{
	for (int w = 0; w < N_WORKERS; w++) {
		int budget = 512;

		while (wheel_run(&rigs[w].wheel, now, 64))
			;
		if (upstream_is_work_due(rigs[w].u, now))
			upstream_work(rigs[w].u, &budget, now);
	}
}

static bool is_building(const struct upstream *x)
{
	return !TAILQ_EMPTY(&x->queue);
}

static void start_with(uint32_t n_pages)
{
	struct upstream_config uc = {.n_conns = 4096, .n_endpoints = n_rig_endpoints, .n_backends = n_rig_backends, .max_per_endpoint = 1024,
				     .max_idle_per_endpoint = 1024, .idle_ms = 5000, .wheel_kind = 3, .n_table_pages = n_pages,
				     .n_workers = N_WORKERS};

	now = START_US;
	caps = upstream_caps_create(16);
	for (int i = 0; i < 32; i++)
		uc.affinity_key[i] = (uint8_t)(i * 7);
	for (int w = 0; w < N_WORKERS; w++) {
		struct rig *r = &rigs[w];

		memset(r, 0, sizeof(*r));
		wheel_init(&r->wheel, 100, now);
		uc.wheel = &r->wheel;
		uc.stats = &r->stats;
		uc.seed = 88172645463325252ull + (uint64_t)w * 7919;
		uc.caps = caps;
		r->u = upstream_create(&uc);
		assert_non_null(r->u);
	}
	u = rigs[0].u;
	stats = &rigs[0].stats;
	set_backend = (struct weir_backend){.max_ejected_percent = 50, .eject_base_ms = 1000, .eject_max_ms = 5000};
	cookie_name = hash_name = NULL;
	n_tcp = 0;
	is_tcp_empty = false;
}

static void start(void)
{
	start_with(N_PAGES);
}

static struct weir_snapshot *make_snapshot(bool has_backend)
{
	struct model m;
	void *blob;
	size_t n;

	model_init(&m);
	*model_add_listener(&m) = (struct model_listener){.port = 80, .proto = WEIR_PROTO_HTTP, .host = "", .name = "l"};
	if (has_backend)
		*model_add_backend(&m) = (struct model_backend){
			.name = "n/s:80",
			.balance = {.fixed = set_backend, .cookie_name = cookie_name, .cookie_path = cookie_name ? "/" : NULL, .hash_name = hash_name}};
	assert_int_equal(compile_snapshot(&m, 1, &blob, &n), 0);
	assert_int_equal(snapshot_check(blob, n, NULL), WEIR_REFUSED_OK);
	model_fini(&m);
	return blob;
}

/* The workers take over set_backend, or that there is no such backend. */
static void settings(bool has_backend)
{
	struct weir_snapshot *s = make_snapshot(has_backend);

	for (int w = 0; w < N_WORKERS; w++) {
		upstream_retain(rigs[w].u, s);
		upstream_finish(rigs[w].u, now);
	}
	free(served);
	served = s;
}

static void end(void)
{
	settings(false);
	for (int w = 0; w < N_WORKERS; w++) {
		for (uint32_t i = 0; i < rigs[w].u->n_fresh_conns; i++)
			assert_int_not_equal(rigs[w].u->conns[i].state, UC_IDLE);
		assert_int_equal(rigs[w].u->pages.n_free, rigs[w].u->pages.n);
		upstream_destroy(rigs[w].u, now);
	}
	upstream_caps_destroy(caps);
	free(served);
	served = NULL;
}

/* -- endpoints */

static struct weir_endpoint list[MAX_SET];
static uint32_t n_list;

static void make_list(uint32_t n, uint32_t weight)
{
	n_list = n;
	for (uint32_t i = 0; i < n; i++)
		list[i] = (struct weir_endpoint){.addr = {{[10] = 0xff, 0xff, 10, 0, (uint8_t)(i >> 8), (uint8_t)i}}, .port = 80,
						 .flags = WEIR_EP_READY | WEIR_EP_SERVING, .weight = weight};
}

static void remove_from_list(uint32_t i)
{
	memmove(&list[i], &list[i + 1], (--n_list - i) * sizeof(list[0]));
}

/* The workers take the list over; unless is_lazy, their tables are built. */
static void send_list_to(const char *backend, bool is_lazy)
{
	const struct model_backend b = {.name = backend, .n_endpoints = n_list, .endpoints = list};
	void *blob;
	size_t n;

	assert_int_equal(compile_endpoints(&b, 1, &blob, &n), 0);
	for (int w = 0; w < N_WORKERS; w++)
		upstream_take_set(rigs[w].u, blob, now);
	free(blob);
	while (!is_lazy && (is_building(rigs[0].u) || is_building(rigs[1].u))) {
		now += 100;
		run_timers();
	}
}

static void send_list(void)
{
	send_list_to("n/s:80", false);
}

static void apply_settings(void)
{
	settings(true);
	while (is_building(rigs[0].u) || is_building(rigs[1].u)) {
		now += 100;
		run_timers();
	}
}

static struct backend *backend_of(const struct upstream *x)
{
	return backend_find(x, compile_backend_id("n/s:80"));
}

/* The number of an endpoint, as make_list() has it. */
static uint32_t number(const struct endpoint *e)
{
	return (uint32_t)e->addr.b[14] << 8 | e->addr.b[15];
}

static struct endpoint *endpoint_of(const struct upstream *x, uint32_t i)
{
	const struct backend *b = backend_of(x);
	struct endpoint *e = b->list.first;

	while (e && number(e) != i)
		e = listed(b, e)->next;
	return e;
}

static struct endpoint *pick_of(struct upstream *x, uint64_t key)
{
	static const struct upstream_tried none;
	const struct choice c = {.tried = &none, .key = key, .now_us = now};

	return balance_pick(x, backend_of(x), &c);
}

static uint32_t pick(uint64_t key)
{
	return number(pick_of(u, key));
}

static uint64_t prng = 1;

static uint64_t rnd(void)
{
	prng ^= prng << 13;
	prng ^= prng >> 7;
	prng ^= prng << 17;
	return prng * 0x9e3779b97f4a7c15ull;
}

#endif
