/* SPDX-License-Identifier: Apache-2.0 */
/* Affinity, ejection, and bounds of connections. */
#include "rig.h"

#include <pthread.h>

static struct upstream_want want;

static void on_event(struct upstream_conn *uc, void *user, unsigned events, uint64_t now_us)
{
}

static void pass_ms(uint64_t ms)
{
	while (ms--) {
		now += 1000;
		run_timers();
	}
}

/* Far: by what the timers need, not millisecond by millisecond. */
static void pass_long_ms(uint64_t ms)
{
	for (int i = 0; i < 100; i++) {
		now += ms * 10;
		run_timers();
	}
}

static struct upstream_conn *get_of(struct upstream *x)
{
	struct upstream_tried tried = {0};
	const struct upstream_args args = {.backend_id = compile_backend_id("n/s:80"), .tried = &tried, .want = &want, .event = on_event};
	struct upstream_conn *uc;

	upstream_get(x, &args, now, &uc);
	if (uc && uc->state == UC_CONNECTING)
		conn_on_event(uc->tcp, uc, TCP_EV_CONNECTED, now);
	return uc;
}

static void done_with(struct upstream *x, struct upstream_conn *uc)
{
	upstream_put(x, uc, now);
}

/* -- affinity */

static void start_affinity(uint32_t n)
{
	start();
	want = (struct upstream_want){0};
	set_backend.affinity = WEIR_AFFINITY_COOKIE;
	cookie_name = "c";
	make_list(n, 1);
	send_list();
	apply_settings();
}

/* A client that comes without a cookie, and keeps the one that it gets. */
static uint32_t first_visit(void)
{
	struct upstream_conn *uc;
	uint32_t who;

	want = (struct upstream_want){0};
	uc = get_of(u);
	assert_true(upstream_session(uc, &want.token));
	want.has_token = true;
	who = number(uc->ep);
	done_with(u, uc);
	return who;
}

static uint32_t visit(struct upstream *x)
{
	struct upstream_conn *uc = get_of(x);
	uint32_t who = number(uc->ep);

	done_with(x, uc);
	return who;
}

static void token_leads_back_on_every_worker(void **state)
{
	start_affinity(10);
	for (int i = 0; i < 20; i++) {
		uint32_t who = first_visit();

		for (int k = 0; k < 30; k++)
			assert_int_equal(visit(rigs[k % 2].u), who);
	}
	assert_int_equal(stats->counter[WEIR_C_AFFINITY_KEPT], 300);
	assert_int_equal(stats->counter[WEIR_C_AFFINITY_LOST], 0);
	end();
}

static void without_affinity_no_session_begins(void **state)
{
	struct upstream_token t;
	struct upstream_conn *uc;

	start_affinity(3);
	set_backend.affinity = WEIR_AFFINITY_NONE;
	cookie_name = NULL;
	settings(true);
	uc = get_of(u);
	assert_false(upstream_session(uc, &t));
	done_with(u, uc);
	end();
}

static void tokens_differ_and_depend_on_backend_and_key(void **state)
{
	struct endpoint e = {0};
	struct upstream other;

	start_affinity(2000);
	for (uint32_t i = 0; i < 100; i++)
		for (uint32_t k = 0; k < 2000; k += 7) {
			const struct endpoint *x = endpoint_of(u, i);
			const struct endpoint *y = endpoint_of(u, k);

			assert_int_equal(memcmp(&x->token, &y->token, sizeof(x->token)) == 0, i == k);
		}
	e.addr = endpoint_of(u, 0)->addr;
	e.port = 80;
	affinity_add(u, &e, 12345);
	assert_memory_not_equal(&e.token, &endpoint_of(u, 0)->token, sizeof(e.token));
	affinity_remove(u, &e);
	other = *u;
	other.cfg.affinity_key[31] ^= 1; /* either half of the key counts for its half of the token */
	affinity_add(&other, &e, backend_of(u)->id);
	assert_int_equal(e.token.v[0], endpoint_of(u, 0)->token.v[0]);
	assert_int_not_equal(e.token.v[1], endpoint_of(u, 0)->token.v[1]);
	affinity_remove(&other, &e);
	end();
}

static void forged_and_stale_tokens_lead_nowhere(void **state)
{
	struct upstream_token good;
	uint32_t who;

	start_affinity(5);
	who = first_visit();
	good = want.token;
	for (int bit = 0; bit < 128; bit++) {
		want.token = good;
		want.token.v[bit / 64] ^= 1ull << bit % 64;
		assert_null(affinity_find(u, backend_of(u), &want.token));
		visit(u);
	}
	assert_int_equal(stats->counter[WEIR_C_AFFINITY_LOST], 128);
	want.token = good;
	remove_from_list(who);
	send_list();
	for (int i = 0; i < 20; i++)
		assert_int_not_equal(visit(u), who);
	end();
}

static void token_of_another_backend_is_none(void **state)
{
	start_affinity(3);
	send_list_to("n/other:80", false);
	first_visit();
	for (struct endpoint *e = u->endpoints; e < u->endpoints + 10; e++)
		if (e->backend && e->backend != backend_of(u))
			assert_null(affinity_find(u, backend_of(u), &e->token));
	end();
}

static void draining_endpoint_keeps_its_sessions_and_gets_no_new_ones(void **state)
{
	uint32_t who;

	start_affinity(4);
	who = first_visit();
	list[who].flags = WEIR_EP_SERVING | WEIR_EP_TERMINATING;
	send_list();
	for (int i = 0; i < 20; i++)
		assert_int_equal(visit(u), who);
	for (int i = 0; i < 20; i++)
		assert_int_not_equal(first_visit(), who);
	/* where nothing else is left it serves, but binds nobody */
	for (int i = 0; i < 4; i++)
		list[i].flags = WEIR_EP_SERVING | WEIR_EP_TERMINATING;
	send_list();
	want = (struct upstream_want){0};
	for (int i = 0; i < 8; i++) {
		struct upstream_conn *uc = get_of(u);
		struct upstream_token t;

		assert_non_null(uc);
		assert_false(upstream_session(uc, &t));
		done_with(u, uc);
	}
	end();
}

static void session_of_one_that_serves_no_more_moves(void **state)
{
	uint32_t who;

	start_affinity(4);
	who = first_visit();
	list[who].flags = WEIR_EP_TERMINATING;
	send_list();
	assert_int_not_equal(visit(u), who);
	end();
}

/* -- ejection */

static void start_outlier(uint32_t n)
{
	start();
	want = (struct upstream_want){0};
	make_list(n, 1);
	send_list();
	apply_settings();
}

static void results(uint32_t who, unsigned n, bool is_ok)
{
	while (n--)
		outlier_result(u, endpoint_of(u, who), is_ok, now);
}

static bool gets_requests(uint32_t who)
{
	for (uint32_t i = 0; i < 4 * n_list; i++)
		if (pick(rnd()) == who)
			return true;
	return false;
}

static void failures_on_end_eject_and_time_brings_back(void **state)
{
	start_outlier(4);
	set_backend.eject_failures = 3;
	settings(true);
	results(1, 2, false);
	results(1, 1, true);
	results(1, 2, false);
	assert_true(gets_requests(1));
	results(1, 1, false);
	assert_false(gets_requests(1));
	assert_int_equal(stats->gauge[WEIR_G_UPSTREAM_EJECTED], 1);
	assert_int_equal(stats->counter[WEIR_C_EJECTIONS_BY_FAILURES], 1);
	pass_ms(998);
	assert_false(gets_requests(1));
	pass_ms(3);
	assert_true(gets_requests(1));
	assert_int_equal(stats->gauge[WEIR_G_UPSTREAM_EJECTED], 0);
	end();
}

static uint64_t ejected_ms(uint32_t who)
{
	uint64_t from = now;

	results(who, 1, false);
	assert_true(endpoint_of(u, who)->is_ejected);
	while (endpoint_of(u, who)->is_ejected)
		pass_ms(1);
	return (now - from + 500) / 1000;
}

static void each_ejection_is_longer_and_good_times_shorten_it(void **state)
{
	start_outlier(4);
	set_backend.eject_failures = 1;
	settings(true);
	for (uint64_t i = 1; i <= 8; i++)
		assert_in_range(ejected_ms(2), i < 5 ? i * 1000 : 5000, (i < 5 ? i * 1000 : 5000) + 2);
	pass_ms(6500); /* six base times without a failure */
	assert_in_range(ejected_ms(2), 3000, 3002);
	end();
}

static void share_and_last_endpoint_are_never_ejected(void **state)
{
	static const uint8_t percents[] = {0, 10, 50, 100};

	for (size_t k = 0; k < sizeof(percents); k++)
		for (uint32_t n = 1; n < 12; n++) {
			uint32_t most = n * percents[k] / 100;

			start_outlier(n);
			set_backend.eject_failures = 1;
			set_backend.max_ejected_percent = percents[k];
			settings(true);
			for (uint32_t i = 0; i < n; i++)
				results(i, 3, false);
			assert_int_equal(stats->gauge[WEIR_G_UPSTREAM_EJECTED], most == n ? n - 1 : most);
			assert_true(stats->counter[WEIR_C_EJECTIONS_WITHHELD] > 0);
			assert_non_null(pick_of(u, 0));
			end();
		}
}

static void retry_takes_an_ejected_one_before_none(void **state)
{
	struct upstream_tried tried = {.n = 1};
	const struct choice c = {.tried = &tried, .now_us = now};

	start_outlier(2);
	set_backend.eject_failures = 1;
	settings(true);
	results(0, 1, false);
	tried.endpoint[0] = endpoint_of(u, 1)->id;
	assert_int_equal(number(balance_pick(u, backend_of(u), &c)), 0);
	end();
}

static void ejected_ones_that_leave_are_counted_out(void **state)
{
	start_outlier(4);
	set_backend.eject_failures = 1;
	settings(true);
	results(0, 1, false);
	results(3, 1, false);
	assert_int_equal(stats->gauge[WEIR_G_UPSTREAM_EJECTED], 2);
	remove_from_list(0);
	send_list();
	assert_int_equal(stats->gauge[WEIR_G_UPSTREAM_EJECTED], 1);
	assert_int_equal(backend_of(u)->n_ejected, 1);
	set_backend.eject_failures = 0; /* and those that nobody judges any more */
	apply_settings();
	assert_int_equal(stats->gauge[WEIR_G_UPSTREAM_EJECTED], 0);
	assert_true(gets_requests(3));
	pass_long_ms(10000);
	end();
}

static void start_rates(uint32_t n)
{
	start_outlier(n);
	set_backend.success_window_ms = 1000;
	set_backend.success_deviations = 1900;
	set_backend.success_requests = 50;
	settings(true);
	results(0, 1, true); /* the first window begins */
}

/* Against the definition: mean minus k deviations over those with enough requests. */
static void rates_far_below_the_others_eject(void **state)
{
	for (int round = 0; round < 60; round++) {
		double rate[20];
		double sum = 0;
		double squares = 0;
		unsigned n = 0;
		bool is_out[20] = {false};
		unsigned n_out = 0;

		start_rates(20);
		for (uint32_t i = 0; i < 20; i++) {
			unsigned all = rnd() % 5 ? 100 : 20;
			unsigned ok = rnd() % 4 ? all - (unsigned)(rnd() % 5) : (unsigned)(rnd() % all);

			results(i, ok, true);
			results(i, all - ok, false);
			rate[i] = -1;
			if (all < 50)
				continue;
			rate[i] = (double)(ok + (i == 0)) / (all + (i == 0));
			sum += rate[i];
			squares += rate[i] * rate[i];
			n++;
		}
		for (uint32_t i = 0; n >= 5 && i < 20; i++) {
			double mean = sum / n;
			double var = squares / n - mean * mean;
			double below = mean - rate[i];

			is_out[i] = rate[i] >= 0 && below > 0 && below * below > 1.9 * 1.9 * var;
			n_out += is_out[i];
		}
		pass_ms(1001);
		results(0, 1, true);
		pass_ms(2);
		assert_int_equal(stats->counter[WEIR_C_EJECTIONS_BY_RATE], n_out);
		for (uint32_t i = 0; i < 20; i++)
			assert_int_equal(endpoint_of(u, i)->is_ejected, is_out[i]);
		end();
	}
}

static void few_endpoints_or_few_requests_are_not_judged(void **state)
{
	start_rates(4);
	for (uint32_t i = 0; i < 4; i++)
		results(i, 100, i != 2);
	pass_ms(1001);
	results(0, 1, true);
	pass_ms(2);
	assert_int_equal(stats->gauge[WEIR_G_UPSTREAM_EJECTED], 0);
	end();
	start_rates(30);
	for (uint32_t i = 0; i < 30; i++)
		results(i, 49, i != 2);
	pass_ms(1001);
	results(0, 1, true);
	pass_ms(2);
	assert_int_equal(stats->gauge[WEIR_G_UPSTREAM_EJECTED], 0);
	end();
}

/* -- bounds of connections */

static void cap_holds_over_two_workers_however_they_meet(void **state)
{
	for (uint32_t max = 1; max <= 20; max += 3) {
		struct upstream_conn *held[N_WORKERS][64];
		unsigned n_held[N_WORKERS] = {0};
		unsigned n_got[N_WORKERS] = {0};

		start();
		want = (struct upstream_want){0};
		make_list(4, 1);
		send_list();
		set_backend.max_connections = max;
		settings(true);
		for (int step = 0; step < 20000; step++) {
			unsigned w = rnd() % N_WORKERS;
			struct upstream *x = rigs[w].u;

			if (n_held[w] < 30 && rnd() % 2) {
				struct upstream_conn *uc = get_of(x);

				if (uc) {
					held[w][n_held[w]++] = uc;
					n_got[w]++;
				}
			} else if (n_held[w]) {
				unsigned i = rnd() % n_held[w];
				struct upstream_conn *uc = held[w][i];

				held[w][i] = held[w][--n_held[w]];
				if (rnd() % 4)
					upstream_put(x, uc, now);
				else
					upstream_discard(x, uc, rnd() % 2, now);
			}
			assert_in_range(n_tcp, 0, max);
			if (step % 16 == 0)
				pass_ms(1);
		}
		assert_true(n_got[0] > 100 && n_got[1] > 100); /* none starves */
		for (unsigned w = 0; w < N_WORKERS; w++)
			while (n_held[w])
				upstream_discard(rigs[w].u, held[w][--n_held[w]], true, now);
		pass_long_ms(6000);
		assert_int_equal(n_tcp, 0);
		/* as many as before can be had again: nothing was lost on the way */
		for (uint32_t i = 0; i < max; i++)
			held[0][i] = get_of(u);
		assert_non_null(held[0][max - 1]);
		assert_null(get_of(rigs[1].u));
		for (uint32_t i = 0; i < max; i++)
			upstream_discard(u, held[0][i], true, now);
		end();
	}
}

#define THREAD_MAX 7
static uint32_t n_at_once;
static bool was_exceeded;

/* Each with a few backends that the other one looks for, too. */
static void *take_and_give(void *arg)
{
	uint64_t r = (uintptr_t)arg;
	unsigned n = 0;

	for (int i = 0; i < 400000; i++) {
		struct upstream_cap *c = cap_find(caps, 17);

		r = r * 6364136223846793005ull + 1442695040888963407ull;
		cap_find(caps, 100 + r % 5);
		if (r >> 63 && cap_take(c, THREAD_MAX)) {
			n++;
			if (__atomic_add_fetch(&n_at_once, 1, __ATOMIC_SEQ_CST) > THREAD_MAX)
				__atomic_store_n(&was_exceeded, true, __ATOMIC_SEQ_CST);
		} else if (n) {
			__atomic_sub_fetch(&n_at_once, 1, __ATOMIC_SEQ_CST);
			cap_add(c, -1);
			n--;
		}
	}
	while (n--) {
		__atomic_sub_fetch(&n_at_once, 1, __ATOMIC_SEQ_CST);
		cap_add(cap_find(caps, 17), -1);
	}
	return NULL;
}

static void cap_holds_under_real_threads(void **state)
{
	pthread_t threads[4];

	start();
	n_at_once = 0;
	was_exceeded = false;
	for (uintptr_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, take_and_give, (void *)(i + 1)), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_false(was_exceeded);
	for (int i = 0; i < THREAD_MAX; i++)
		assert_true(cap_take(cap_find(caps, 17), THREAD_MAX));
	assert_false(cap_take(cap_find(caps, 17), THREAD_MAX));
	end();
}

static void table_of_caps_that_is_full_refuses(void **state)
{
	struct upstream_caps *small = upstream_caps_create(16);
	unsigned n = 0;

	for (uint64_t id = 1; id <= 1000; id++)
		n += cap_find(small, id * 0x9e3779b97f4a7c15ull) != NULL;
	assert_int_equal(n, 32);
	upstream_caps_destroy(small);
}

static void connections_from_before_the_cap_count(void **state)
{
	struct upstream_conn *a, *b, *c;

	start();
	want = (struct upstream_want){0};
	make_list(2, 1);
	send_list();
	settings(true);
	a = get_of(u);
	b = get_of(rigs[1].u);
	set_backend.max_connections = 2;
	settings(true);
	assert_null(get_of(u));
	assert_null(get_of(rigs[1].u));
	upstream_discard(u, a, true, now);
	c = get_of(rigs[1].u);
	assert_non_null(c);
	set_backend.max_connections = 0;
	settings(true);
	a = get_of(u);
	assert_non_null(a);
	upstream_discard(u, a, true, now);
	upstream_discard(rigs[1].u, b, true, now);
	upstream_discard(rigs[1].u, c, true, now);
	assert_int_equal(n_tcp, 0);
	end();
}

static void failed_opening_gives_its_place_back(void **state)
{
	struct upstream_conn *uc;

	start();
	want = (struct upstream_want){0};
	make_list(1, 1);
	send_list();
	set_backend.max_connections = 1;
	settings(true);
	is_tcp_empty = true;
	for (int i = 0; i < 5; i++)
		assert_null(get_of(u));
	is_tcp_empty = false;
	uc = get_of(u);
	assert_non_null(uc);
	upstream_discard(u, uc, true, now);
	end();
}

static void connection_ends_after_as_many_requests_as_it_may_carry(void **state)
{
	start();
	want = (struct upstream_want){0};
	make_list(1, 1);
	send_list();
	set_backend.max_requests = 3;
	settings(true);
	for (int i = 0; i < 9; i++) {
		done_with(u, get_of(u));
		assert_int_equal(n_tcp, i % 3 != 2);
	}
	assert_int_equal(stats->counter[WEIR_C_UPSTREAM_CONNECTS], 3);
	assert_int_equal(stats->counter[WEIR_C_UPSTREAM_WORN], 3);
	end();
}

static void latest_connection_is_used_first_and_survives_other_settings(void **state)
{
	struct upstream_conn *a, *b;

	start();
	want = (struct upstream_want){0};
	make_list(1, 1);
	send_list();
	settings(true);
	a = get_of(u);
	b = get_of(u);
	done_with(u, a);
	done_with(u, b);
	set_backend.balance = WEIR_BALANCE_MAGLEV;
	apply_settings();
	assert_ptr_equal(get_of(u), b);
	assert_ptr_equal(get_of(u), a);
	done_with(u, a);
	done_with(u, b);
	end();
}

static void request_without_a_key_goes_anywhere_and_is_counted(void **state)
{
	bool was[8] = {false};

	start();
	want = (struct upstream_want){0};
	make_list(8, 1);
	send_list();
	set_backend.balance = WEIR_BALANCE_RING_HASH;
	apply_settings();
	for (int i = 0; i < 300; i++)
		was[visit(u)] = true;
	for (int i = 0; i < 8; i++)
		assert_true(was[i]);
	assert_int_equal(stats->counter[WEIR_C_BALANCE_NO_KEY], 300);
	want = (struct upstream_want){.has_key = true, .key = 77ull << 40};
	for (int i = 0; i < 50; i++)
		assert_int_equal(visit(u), pick(want.key));
	assert_int_equal(stats->counter[WEIR_C_BALANCE_NO_KEY], 300);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(token_leads_back_on_every_worker),
		cmocka_unit_test(without_affinity_no_session_begins),
		cmocka_unit_test(tokens_differ_and_depend_on_backend_and_key),
		cmocka_unit_test(forged_and_stale_tokens_lead_nowhere),
		cmocka_unit_test(token_of_another_backend_is_none),
		cmocka_unit_test(draining_endpoint_keeps_its_sessions_and_gets_no_new_ones),
		cmocka_unit_test(session_of_one_that_serves_no_more_moves),
		cmocka_unit_test(failures_on_end_eject_and_time_brings_back),
		cmocka_unit_test(each_ejection_is_longer_and_good_times_shorten_it),
		cmocka_unit_test(share_and_last_endpoint_are_never_ejected),
		cmocka_unit_test(retry_takes_an_ejected_one_before_none),
		cmocka_unit_test(ejected_ones_that_leave_are_counted_out),
		cmocka_unit_test(rates_far_below_the_others_eject),
		cmocka_unit_test(few_endpoints_or_few_requests_are_not_judged),
		cmocka_unit_test(cap_holds_over_two_workers_however_they_meet),
		cmocka_unit_test(cap_holds_under_real_threads),
		cmocka_unit_test(table_of_caps_that_is_full_refuses),
		cmocka_unit_test(connections_from_before_the_cap_count),
		cmocka_unit_test(failed_opening_gives_its_place_back),
		cmocka_unit_test(connection_ends_after_as_many_requests_as_it_may_carry),
		cmocka_unit_test(latest_connection_is_used_first_and_survives_other_settings),
		cmocka_unit_test(request_without_a_key_goes_anywhere_and_is_counted),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
