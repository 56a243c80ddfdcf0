/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sets and snapshots that are taken over in slices, with requests between
 * them: against a naive model that knows the old state and the new one.
 */
#include "rig.h"

#define N_BACKENDS 8
#define N_ADDRESSES 40 /* of one backend, at most */
#define N_HELD 64
#define LEAST_LEFT (-120) /* a slice ends with the one thing that spends its budget: the dearest are settings */

struct model_set {
	bool is_there;
	uint32_t n;
	struct weir_endpoint ep[N_ADDRESSES];
};

static struct {
	struct model_set set, next;
	bool has_next;	 /* a job makes the one of the other */
	bool was_new;	 /* a request has seen next */
	bool is_named;	 /* by the snapshot, with these settings: */
	uint8_t balance;
	uint32_t max_connections, max_requests, eject_failures;
} model[N_BACKENDS];

static struct upstream_conn *held[N_HELD];
static unsigned n_held;

static const char *name_of(unsigned i)
{
	static char name[16];

	snprintf(name, sizeof(name), "n/b%u:80", i);
	return name;
}

static void on_event(struct upstream_conn *uc, void *user, unsigned events, uint64_t now_us)
{
}

/* -- what a choice may be, by definition */

static const struct weir_endpoint *find(const struct model_set *s, const struct endpoint *e)
{
	for (uint32_t i = 0; i < s->n; i++)
		if (ip_eq(&s->ep[i].addr, &e->addr) && s->ep[i].port == e->port)
			return &s->ep[i];
	return NULL;
}

static int level_of(const struct weir_endpoint *w)
{
	bool is_ready = (w->flags & WEIR_EP_READY) && !(w->flags & WEIR_EP_TERMINATING);

	return is_ready ? 0 : w->flags & WEIR_EP_SERVING ? 1 : 2;
}

/* e NULL: nobody was chosen. */
static bool may_choose(const struct model_set *s, const struct endpoint *e)
{
	const struct weir_endpoint *w = e ? find(s, e) : NULL;
	int best = 2;

	for (uint32_t i = 0; i < s->n; i++)
		best = level_of(&s->ep[i]) < best ? level_of(&s->ep[i]) : best;
	return e ? w && level_of(w) == best && best < 2 : best == 2;
}

static struct upstream_conn *get_from(unsigned i, enum upstream_outcome *o, struct upstream_tried *tried)
{
	const struct upstream_want want = {.has_key = true, .key = rnd()};
	const struct upstream_args args = {.backend_id = compile_backend_id(name_of(i)), .tried = tried, .want = &want, .event = on_event};
	struct upstream_conn *uc;

	*o = upstream_get(u, &args, now, &uc);
	if (uc && uc->state == UC_CONNECTING)
		conn_on_event(uc->tcp, uc, TCP_EV_CONNECTED, now);
	return uc;
}

static void check_settings(unsigned i)
{
	const struct backend *b = backend_find(u, compile_backend_id(name_of(i)));

	if (!model[i].is_named)
		return;
	assert_int_equal(b->set.balance, model[i].balance);
	assert_int_equal(b->set.max_connections, model[i].max_connections);
	assert_int_equal(b->set.max_requests, model[i].max_requests);
	assert_int_equal(b->set.eject_failures, model[i].eject_failures);
	assert_int_equal(b->cap != NULL, model[i].max_connections != 0);
}

/* A request sees the old set, or, from some moment on, the new one. */
static void request(unsigned i)
{
	struct upstream_tried tried = {0};
	enum upstream_outcome o;
	struct upstream_conn *uc = get_from(i, &o, &tried);
	const struct endpoint *e = uc ? uc->ep : NULL;

	if (uc && n_held < N_HELD)
		held[n_held++] = uc;
	else if (uc)
		upstream_discard(u, uc, true, now);
	if (!model[i].set.is_there && !model[i].has_next) {
		assert_int_equal(o, UPSTREAM_NO_BACKEND);
		return;
	}
	check_settings(i);
	if (o == UPSTREAM_LIMIT || (e && tried.n > 1)) { /* one at its limit gives way to others, also to worse ones */
		assert_true(!e || find(&model[i].set, e) || find(&model[i].next, e));
		return;
	}
	assert_int_not_equal(o, UPSTREAM_NO_BACKEND);
	if (model[i].has_next && !may_choose(&model[i].set, e)) {
		assert_true(may_choose(&model[i].next, e));
		model[i].was_new = true;
	} else if (model[i].was_new) {
		assert_true(may_choose(&model[i].next, e));
	} else {
		assert_true(may_choose(&model[i].set, e));
	}
}

static void end_one_held(void)
{
	unsigned k = rnd() % n_held;
	struct upstream_conn *uc = held[k];

	held[k] = held[--n_held];
	upstream_result(u, uc, rnd() % 2, now);
	if (rnd() % 3)
		upstream_put(u, uc, now);
	else
		upstream_discard(u, uc, true, now);
}

static void live_a_little(void)
{
	for (int k = rnd() % 6; k > 0; k--)
		request(rnd() % N_BACKENDS);
	for (int k = rnd() % 6; k > 0 && n_held; k--)
		end_one_held();
	if (rnd() % 4 == 0) {
		int budget = 1 + (int)(rnd() % 300);

		now += rnd() % 3000;
		while (wheel_run(&rigs[0].wheel, now, 64))
			;
		if (upstream_is_work_due(u, now))
			upstream_work(u, &budget, now);
	}
}

/* Nobody can choose whom the list that serves does not have, nor does a scan go over it. */
static void check_slice(void)
{
	const struct scan *s = &u->scan;

	for (uint32_t i = 0; i < u->cfg.n_endpoints; i++) {
		const struct endpoint *e = &u->endpoints[i];

		if (e->backend && !listed(e->backend, e)->is_in)
			assert_int_equal(listed(e->backend, e)->level, LEVEL_UNUSABLE);
	}
	assert_true(!s->b || !s->next || (s->next->backend == s->b && listed(s->b, s->next)->is_in));
}

/* The job, in slices of random sizes, with requests between them. */
static void run_job(void)
{
	for (;;) {
		int budget = 1 + (int)(rnd() % 100);
		bool is_done = upstream_step(u, &budget, now);

		assert_true(budget >= LEAST_LEFT);
		check_slice();
		if (is_done)
			return;
		live_a_little();
	}
}

/* -- what must be true between jobs */

static void check_list(const struct backend *b, const struct model_set *s)
{
	struct endpoint_list is = {0};
	const struct endpoint *e = b->list.first;

	assert_int_equal(b->list.n, s->n);
	for (uint32_t i = 0; i < s->n; i++, e = listed(b, e)->next) {
		const struct listed *l = listed(b, e);

		assert_true(ip_eq(&e->addr, &s->ep[i].addr) && e->port == s->ep[i].port);
		assert_ptr_equal(e->backend, b);
		assert_true(l->is_in);
		assert_int_equal(l->flags, s->ep[i].flags);
		assert_int_equal(l->weight, s->ep[i].weight);
		assert_int_equal(l->level, endpoint_level(l->flags, e->is_ejected));
		assert_ptr_equal(affinity_find(u, b, &e->token), e);
		is.n_ready += l->level <= LEVEL_EJECTED;
		is.n_leaving += l->level == LEVEL_LEAVING;
		is.has_weights |= l->weight != s->ep[0].weight;
	}
	assert_null(e);
	assert_int_equal(b->list.n_ready, is.n_ready);
	assert_int_equal(b->list.n_leaving, is.n_leaving);
	assert_int_equal(b->list.has_weights, is.has_weights);
}

/* Every endpoint is of a list, or free, or has a connection left; counters of connections are what is open. */
static void check_pools(void)
{
	uint32_t n_listed = 0, n_left = 0, n_ejected = 0;

	for (uint32_t i = 0; i < u->cfg.n_endpoints; i++) {
		const struct endpoint *e = &u->endpoints[i];

		n_listed += e->backend != NULL;
		n_left += !e->backend && e->n_conns;
		n_ejected += e->is_ejected;
		assert_true(e->backend || !e->idle);
	}
	assert_int_equal(n_listed + n_left + u->n_free_endpoints, u->cfg.n_endpoints);
	assert_int_equal(n_ejected, u->n_ejected);
	for (unsigned i = 0; i < N_BACKENDS; i++) {
		const struct backend *b = backend_find(u, compile_backend_id(name_of(i)));
		uint32_t n = 0;

		for (uint32_t k = 0; b && k < u->cfg.n_endpoints; k++)
			n += u->endpoints[k].backend == b ? u->endpoints[k].n_conns : 0;
		assert_true(!b || b->n_conns == n);
		n_listed -= b ? b->list.n : 0;
	}
	assert_int_equal(n_listed, 0);
}

static void check_all(void)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < N_BACKENDS; i++) {
		const struct backend *b = backend_find(u, compile_backend_id(name_of(i)));

		assert_int_equal(b != NULL, model[i].set.is_there);
		n += b != NULL;
		if (b) {
			check_list(b, &model[i].set);
			check_settings(i);
		}
	}
	assert_int_equal(u->n_backends, n);
	check_pools();
}

/* -- jobs */

static void make_set(unsigned i, struct model_set *s)
{
	uint32_t part = (uint32_t)(rnd() % 101);
	uint32_t first = rnd() % 3 == 0 ? 100 : 0; /* sometimes, all are others */
	bool is_even = rnd() % 2;

	*s = (struct model_set){.is_there = true};
	for (uint32_t k = 0; k < N_ADDRESSES; k++) {
		uint8_t flags = rnd() % 4 ? WEIR_EP_READY | WEIR_EP_SERVING : (uint8_t)(rnd() % 8);

		if (rnd() % 100 >= part)
			continue;
		s->ep[s->n++] = (struct weir_endpoint){.addr = {{[10] = 0xff, 0xff, 10, (uint8_t)(rnd() % 2 ? i : 200), 0, (uint8_t)(first + k)}},
						       .port = 80, .flags = flags, .weight = is_even ? 1 : 1 + (uint32_t)(rnd() % 5)};
	}
	for (uint32_t a = 1; a < s->n; a++) /* by address */
		for (uint32_t k = a; k && memcmp(s->ep[k].addr.b, s->ep[k - 1].addr.b, 16) < 0; k--) {
			struct weir_endpoint t = s->ep[k];

			s->ep[k] = s->ep[k - 1];
			s->ep[k - 1] = t;
		}
}

static uint32_t n_new(const struct model_set *old, const struct model_set *set)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < set->n; i++) {
		struct endpoint e = {.addr = set->ep[i].addr, .port = set->ep[i].port};

		n += !find(old, &e);
	}
	return n;
}

static void change_set(unsigned i)
{
	uint64_t n_refused = stats->counter[WEIR_C_UPSTREAM_SETS_NO_ROOM];
	uint32_t n_free = u->n_free_endpoints;
	struct model_backend b = {.name = name_of(i)};
	void *blob;
	size_t n;

	make_set(i, &model[i].next);
	b.n_endpoints = model[i].next.n;
	b.endpoints = model[i].next.ep;
	assert_int_equal(compile_endpoints(&b, 1, &blob, &n), 0);
	assert_int_equal(endpoint_set_check(blob, n, NULL), WEIR_REFUSED_OK);
	model[i].has_next = true;
	model[i].was_new = false;
	upstream_set_endpoints(u, blob, now);
	run_job();
	free(blob);
	model[i].has_next = model[i].was_new = false;
	if (stats->counter[WEIR_C_UPSTREAM_SETS_NO_ROOM] != n_refused) {
		assert_true(n_new(&model[i].set, &model[i].next) > n_free);
		model[i].set.is_there = true; /* it has a place, with nobody */
	} else {
		model[i].set = model[i].next;
	}
}

static void change_snapshot(void)
{
	struct model m;
	void *blob;
	size_t n;

	model_init(&m);
	*model_add_listener(&m) = (struct model_listener){.port = 80, .proto = WEIR_PROTO_HTTP, .host = "", .name = "l"};
	for (unsigned i = 0; i < N_BACKENDS; i++) {
		bool is_named = rnd() % 5 != 0;
		struct weir_backend fixed = {.max_ejected_percent = 50, .eject_base_ms = 10, .eject_max_ms = 50};

		if (!is_named) {
			model[i].set = (struct model_set){0};
			model[i].is_named = false;
			continue;
		}
		if (!model[i].is_named || rnd() % 2) {
			model[i].balance = (uint8_t)(rnd() % (WEIR_BALANCE_RING_HASH + 1));
			model[i].max_connections = rnd() % 2 ? 0 : 1 + (uint32_t)(rnd() % 20);
			model[i].max_requests = (uint32_t)(rnd() % 3);
			model[i].eject_failures = rnd() % 2 ? 0 : 3;
		}
		model[i].is_named = true;
		fixed.balance = model[i].balance;
		fixed.max_connections = model[i].max_connections;
		fixed.max_requests = model[i].max_requests;
		fixed.eject_failures = model[i].eject_failures;
		fixed.success_window_ms = rnd() % 2 ? 2 : 0;
		fixed.success_requests = fixed.success_window_ms ? 1 : 0;
		fixed.success_deviations = fixed.success_window_ms ? 1000 : 0;
		*model_add_backend(&m) = (struct model_backend){.name = strdup(name_of(i)), .balance = {.fixed = fixed}};
	}
	assert_int_equal(compile_snapshot(&m, 1, &blob, &n), 0);
	assert_int_equal(snapshot_check(blob, n, NULL), WEIR_REFUSED_OK);
	for (uint32_t i = 0; i < m.n_backends; i++)
		free((void *)(uintptr_t)m.backends[i].name);
	model_fini(&m);
	upstream_retain(u, blob);
	free(served); /* nobody reads the old one any more */
	served = blob;
	run_job();
}

static void start_model(uint64_t seed)
{
	prng = seed;
	start();
	memset(model, 0, sizeof(model));
	n_held = 0;
}

static void end_held(void)
{
	while (n_held)
		upstream_discard(u, held[--n_held], true, now);
}

static void changes_at_random_are_seen_whole(void **state)
{
	uint64_t n_refused = 0;
	unsigned n_seen = 0;

	for (uint64_t seed = 1; seed <= 40; seed++) {
		n_rig_endpoints = 60 + (uint32_t)(seed % 5) * 80; /* sometimes too few */
		start_model(seed * 0x9e3779b97f4a7c15ull);
		for (int round = 0; round < 100; round++) {
			if (rnd() % 3)
				change_set(rnd() % N_BACKENDS);
			else
				change_snapshot();
			check_all();
			n_seen += n_held;
		}
		n_refused += stats->counter[WEIR_C_UPSTREAM_SETS_NO_ROOM];
		end_held();
		end();
		assert_int_equal(n_tcp, 0);
	}
	n_rig_endpoints = 3 * MAX_SET;
	assert_true(n_refused > 0 && n_seen > 1000);
}

/* -- one by one */

static void begin_list(void **blob, uint8_t third)
{
	const struct model_backend b = {.name = "n/s:80", .n_endpoints = n_list, .endpoints = list};
	size_t n;

	for (uint32_t i = 0; i < n_list; i++)
		list[i].addr.b[13] = third;
	assert_int_equal(compile_endpoints(&b, 1, blob, &n), 0);
	upstream_set_endpoints(u, *blob, now);
}

/* All addresses of the new set are behind those of the old one: there is no moment without any, or with both. */
static void set_that_shares_nobody_takes_over_at_once(void **state)
{
	unsigned n_old = 0, n_new_ones = 0;
	bool is_done = false;
	void *blob;

	start();
	make_list(1000, 1);
	send_list();
	settings(true);
	begin_list(&blob, 1);
	while (!is_done) {
		int budget = 100;

		is_done = upstream_step(u, &budget, now);
		for (int i = 0; i < 20; i++) {
			bool is_new = pick_of(u, rnd())->addr.b[13] == 1;

			assert_true(is_new || n_new_ones == 0);
			n_old += !is_new;
			n_new_ones += is_new;
		}
	}
	free(blob);
	assert_true(n_old >= 20 && n_new_ones >= 20);
	assert_int_equal(u->n_free_endpoints, u->cfg.n_endpoints - 1000);
	end();
}

static void slices_keep_to_their_budget_however_large_the_set(void **state)
{
	static const uint32_t sizes[] = {0, 1, 4096, 4095, 10, 4096};
	int worst = 0;

	start();
	settings(true);
	for (size_t k = 0; k < sizeof(sizes) / sizeof(*sizes); k++) {
		bool is_done = false;
		unsigned n_slices = 0;
		void *blob;

		make_list(sizes[k], 1);
		begin_list(&blob, (uint8_t)k);
		while (!is_done) {
			int budget = 500;

			is_done = upstream_step(u, &budget, now);
			worst = budget < worst ? budget : worst;
			n_slices++;
		}
		free(blob);
		assert_true(n_slices <= 4 + sizes[k] / 50 + sizes[k ? k - 1 : 0] / 50);
		assert_true(n_slices >= sizes[k] / 512);
	}
	assert_true(worst >= LEAST_LEFT);
	end();
}

/* A thousand idle connections of one endpoint that goes, of a backend that goes, and in a drain. */
static void idle_connections_are_closed_in_slices(void **state)
{
	static struct upstream_conn *uc[1000];
	void *blob = NULL;

	for (int how = 0; how < 3; how++) {
		struct weir_snapshot *none = NULL;
		bool is_done = false;
		unsigned n_slices = 0;

		start();
		make_list(1, 1);
		send_list();
		settings(true);
		for (int i = 0; i < 1000; i++) {
			enum upstream_outcome o;
			struct upstream_tried tried = {0};
			const struct upstream_args args = {.backend_id = compile_backend_id("n/s:80"), .tried = &tried, .event = on_event};

			o = upstream_get(u, &args, now, &uc[i]);
			assert_int_equal(o, UPSTREAM_CONNECTING);
			conn_on_event(uc[i]->tcp, uc[i], TCP_EV_CONNECTED, now);
		}
		for (int i = 0; i < 1000; i++)
			upstream_put(u, uc[i], now);
		assert_int_equal(u->n_idle, 1000);
		make_list(2, 1);
		if (how == 0)
			begin_list(&blob, 9);
		else if (how == 1)
			upstream_retain(u, none = make_snapshot(false));
		else
			upstream_drain(u);
		while (!is_done) {
			int budget = 480;
			unsigned before = n_tcp;

			is_done = upstream_step(u, &budget, now);
			assert_true(before - n_tcp <= 480 / COST_CLOSE + 1);
			n_slices++;
		}
		assert_int_equal(n_tcp, 0);
		assert_in_range(n_slices, 1000 / (480 / COST_CLOSE + 1), 200);
		free(blob);
		blob = NULL;
		end();
		free(none);
	}
}

static void settings_hold_for_the_first_request_after_a_swap(void **state)
{
	struct upstream_tried tried = {0};
	const struct upstream_args args = {.backend_id = compile_backend_id("n/s:80"), .tried = &tried, .event = on_event};
	struct weir_snapshot *s, *none;
	struct upstream_conn *uc;

	start();
	make_list(3, 1);
	send_list();
	settings(true);
	set_backend.max_requests = 1;
	upstream_retain(u, s = make_snapshot(true));
	assert_int_equal(upstream_get(u, &args, now, &uc), UPSTREAM_CONNECTING); /* before any slice */
	conn_on_event(uc->tcp, uc, TCP_EV_CONNECTED, now);
	upstream_put(u, uc, now);
	assert_int_equal(n_tcp, 0);
	assert_int_equal(stats->counter[WEIR_C_UPSTREAM_WORN], 1);
	upstream_finish(u, now);
	upstream_retain(u, none = make_snapshot(false));
	assert_int_equal(upstream_get(u, &args, now, &uc), UPSTREAM_NO_BACKEND);
	upstream_finish(u, now);
	end();
	free(s);
	free(none);
}

static void set_that_comes_after_its_snapshot_has_its_settings(void **state)
{
	start();
	set_backend.balance = WEIR_BALANCE_MAGLEV;
	set_backend.max_connections = 7;
	settings(true);
	assert_null(backend_of(u));
	make_list(3, 1);
	send_list();
	assert_int_equal(backend_of(u)->set.max_connections, 7);
	assert_non_null(backend_of(u)->cap);
	assert_ptr_equal(backend_of(u)->table.algo, &balance_maglev);
	end();
}

/* The sanitizers say whether anything is lost; connections are all closed. */
static void shutdown_amid_any_job(void **state)
{
	for (int kind = 0; kind < 3; kind++)
		for (int n_slices = 0; n_slices < 60; n_slices++) {
			struct weir_snapshot *s = NULL;
			struct upstream_conn *uc[20];
			void *blob = NULL;

			start();
			make_list(100, 1);
			send_list();
			set_backend.balance = WEIR_BALANCE_RING_HASH;
			settings(true);
			for (int i = 0; i < 20; i++) {
				struct upstream_tried tried = {0};
				const struct upstream_args args = {.backend_id = compile_backend_id("n/s:80"), .tried = &tried, .event = on_event};

				assert_int_equal(upstream_get(u, &args, now, &uc[i]), UPSTREAM_CONNECTING);
				conn_on_event(uc[i]->tcp, uc[i], TCP_EV_CONNECTED, now);
			}
			for (int i = 0; i < 20; i++)
				upstream_put(u, uc[i], now);
			if (kind == 0)
				begin_list(&blob, 5);
			else if (kind == 1)
				upstream_retain(u, s = make_snapshot(false));
			else
				upstream_drain(u);
			for (int i = 0; i < n_slices; i++) {
				int budget = 64;

				upstream_step(u, &budget, now);
			}
			for (int w = 0; w < N_WORKERS; w++)
				upstream_destroy(rigs[w].u, now);
			assert_int_equal(n_tcp, 0);
			upstream_caps_destroy(caps);
			free(blob);
			free(s);
			free(served);
			served = NULL;
		}
}

/* Names whose ids have low bits alike are found by trying: they used to lie in one bucket. */
static void ids_with_low_bits_alike_do_not_meet(void **state)
{
	unsigned *count, most = 0;

	prng = 1;
	start();
	count = calloc(u->bucket_mask + 1, sizeof(*count));
	for (uint64_t i = 0; i <= u->bucket_mask; i++) {
		unsigned *n = &count[backend_bucket(u, rnd() << 24 | 7) - u->buckets];

		++*n;
		most = *n > most ? *n : most;
	}
	assert_in_range(most, 1, 16);
	free(count);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(changes_at_random_are_seen_whole),
		cmocka_unit_test(set_that_shares_nobody_takes_over_at_once),
		cmocka_unit_test(slices_keep_to_their_budget_however_large_the_set),
		cmocka_unit_test(idle_connections_are_closed_in_slices),
		cmocka_unit_test(settings_hold_for_the_first_request_after_a_swap),
		cmocka_unit_test(set_that_comes_after_its_snapshot_has_its_settings),
		cmocka_unit_test(shutdown_amid_any_job),
		cmocka_unit_test(ids_with_low_bits_alike_do_not_meet),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
