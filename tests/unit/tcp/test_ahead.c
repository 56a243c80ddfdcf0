/* SPDX-License-Identifier: Apache-2.0 */
/* Looking ahead: whom tcp_run() tells of connections with data, and when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "../../eal.h"
#include "sim.h"

#define N 40

static struct sim sim;
static struct tcp_conn *senders[N], *takers[N]; /* of host 0, and what host 1 has of them, in the order in which they came */
static unsigned n_takers;
static unsigned n_told[N], n_heard[N]; /* by taker: told ahead, and events with data */
static unsigned n_batches, largest, smallest;
static int aborts = -1; /* whom the first event of a run ends */

static unsigned index_of(const struct tcp_conn *c)
{
	for (unsigned i = 0; i < n_takers; i++)
		if (takers[i] == c)
			return i;
	fail_msg("told of a connection that nobody has");
	return 0;
}

static void on_taker(struct tcp_conn *c, void *user, unsigned events, uint64_t now_us)
{
	unsigned i = index_of(c);

	if (events & TCP_EV_CLOSED) {
		takers[i] = NULL;
		return;
	}
	if (events & TCP_EV_READABLE)
		n_heard[i]++;
	tcp_consume(c, tcp_readable(c));
	if (aborts >= 0 && takers[aborts]) {
		tcp_abort(takers[aborts], WEIR_R_CLOSE_ABORTED, now_us);
		takers[aborts] = NULL;
	}
}

static int on_accept(void *ctx, struct tcp_conn *c, void **user, uint64_t now_us)
{
	takers[n_takers++] = c;
	return 0;
}

static void on_sender(struct tcp_conn *c, void *user, unsigned events, uint64_t now_us)
{
	if (events & TCP_EV_CLOSED)
		*(struct tcp_conn **)user = NULL;
}

static void on_ahead(void *ctx, struct tcp_conn *const *conns, unsigned n)
{
	assert_ptr_equal(ctx, &sim);
	assert_true(n <= TCP_AHEAD);
	n_batches++;
	largest = n > largest ? n : largest;
	smallest = n < smallest ? n : smallest;
	for (unsigned i = 0; i < n; i++) {
		unsigned at = index_of(conns[i]);

		assert_true(tcp_readable(conns[i]) > 0);
		assert_int_equal(n_heard[at], 0); /* before the first event of any of them */
		n_told[at]++;
	}
}

static void forget(void)
{
	memset(n_told, 0, sizeof(n_told));
	memset(n_heard, 0, sizeof(n_heard));
	n_batches = largest = 0;
	smallest = UINT32_MAX;
}

static void start(uint64_t seed, unsigned n)
{
	const struct tcp_config tc = sim_config();
	const struct tcp_listen listen = {.port = 80, .accept = on_accept, .event = on_taker};
	struct tcp_connect a = {.remote_port = 80, .timeout_ms = 10000, .event = on_sender};
	struct tcp_listener *l;
	enum weir_reason why;

	sim_init(&sim, seed, &tc, &tc);
	n_takers = 0;
	aborts = -1;
	assert_int_equal(tcp_listen(sim.host[1].tcp, &listen, &l), 0);
	a.local = sim.host[0].ip;
	a.remote = sim.host[1].ip;
	for (unsigned i = 0; i < n; i++) {
		a.user = &senders[i];
		senders[i] = tcp_connect(sim.host[0].tcp, &a, sim.now_us, &why);
		assert_non_null(senders[i]);
	}
	sim_run(&sim, 1000000, NULL, NULL);
	assert_int_equal(n_takers, n);
	tcp_on_ahead(sim.host[1].tcp, on_ahead, &sim);
	forget();
}

/* A byte of each of the first n arrives in the same iteration. */
static void send_from(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(tcp_send(senders[i], "x", 1), 0);
	sim_run(&sim, 500000, NULL, NULL);
}

static void each_with_data_is_told_once_before_any_event_of_its_batch(void **state)
{
	start(1, N);
	send_from(N);
	assert_int_equal(n_batches, (N + TCP_AHEAD - 1) / TCP_AHEAD);
	assert_int_equal(largest, TCP_AHEAD);
	assert_int_equal(smallest, N % TCP_AHEAD);
	for (unsigned i = 0; i < N; i++) {
		assert_int_equal(n_told[i], 1);
		assert_int_equal(n_heard[i], 1);
	}
	sim_fini(&sim);
}

/* There is nothing to do side by side. */
static void one_alone_is_not_told(void **state)
{
	start(2, N);
	send_from(1);
	assert_int_equal(n_batches, 0);
	assert_int_equal(n_heard[0] + n_heard[1], 1);
	forget();
	send_from(TCP_AHEAD + 1); /* the last one is alone in its batch */
	assert_int_equal(n_batches, 1);
	assert_int_equal(largest, TCP_AHEAD);
	sim_fini(&sim);
}

static void who_has_no_data_is_not_told(void **state)
{
	start(3, 8);
	for (unsigned i = 0; i < 4; i++) /* a reset is an event, too, but brings nothing to look at */
		tcp_abort(senders[i], WEIR_R_CLOSE_ABORTED, sim.now_us);
	for (unsigned i = 4; i < 8; i++)
		assert_int_equal(tcp_send(senders[i], "x", 1), 0);
	sim_run(&sim, 500000, NULL, NULL);
	assert_int_equal(n_batches, 1);
	assert_int_equal(largest, 4);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(n_told[i], takers[i] != NULL);
	sim_fini(&sim);
}

/* Its memory is another's soon. */
static void who_was_let_go_by_an_earlier_event_is_not_told(void **state)
{
	start(4, N);
	aborts = N - 1;
	send_from(N);
	assert_null(takers[N - 1]);
	assert_int_equal(n_told[N - 1], 0);
	assert_int_equal(n_heard[N - 1], 0);
	assert_int_equal(n_batches, (N + TCP_AHEAD - 1) / TCP_AHEAD);
	assert_int_equal(smallest, N % TCP_AHEAD - 1);
	sim_fini(&sim);
}

static void without_a_function_events_come_all_the_same(void **state)
{
	start(5, N);
	tcp_on_ahead(sim.host[1].tcp, NULL, NULL);
	send_from(N);
	assert_int_equal(n_batches, 0);
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(n_heard[i], 1);
	tcp_on_ahead(sim.host[1].tcp, on_ahead, &sim);
	forget();
	send_from(N);
	assert_int_equal(n_batches, (N + TCP_AHEAD - 1) / TCP_AHEAD);
	sim_fini(&sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_with_data_is_told_once_before_any_event_of_its_batch),
		cmocka_unit_test(one_alone_is_not_told),
		cmocka_unit_test(who_has_no_data_is_not_told),
		cmocka_unit_test(who_was_let_go_by_an_earlier_event_is_not_told),
		cmocka_unit_test(without_a_function_events_come_all_the_same),
	};

	test_eal_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
