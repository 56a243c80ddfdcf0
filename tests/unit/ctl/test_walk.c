/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker keeps of its connections, against a naive sort of all of them. The table is the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "tcp/tcp.h"
#include "walk.h"

#define N_PLACES 3000u

static struct tcp_info places[N_PLACES];
static bool is_taken[N_PLACES];
static unsigned n_connections, n_steps;
static struct weir_diag_worker out;
static struct weir_conn_row rows[WEIR_CONN_ROWS];
static struct weir_worker_stats stats;
static uint64_t prng;

static uint32_t pick(uint32_t n)
{
	prng = prng * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(prng >> 33) % n;
}

/* In the place of the stack's. */
uint32_t tcp_each_from(struct tcp_stack *s, uint32_t from, uint32_t n, void (*fn)(void *ctx, const struct tcp_info *info),
		       void *ctx)
{
	assert_true(n <= WALK_STEP);
	assert_true(from < N_PLACES);
	n_steps++;
	for (uint32_t i = from; i < from + n && i < N_PLACES; i++)
		if (is_taken[i])
			fn(ctx, &places[i]);
	return from + n < N_PLACES ? from + n : TCP_EACH_END;
}

static struct weir_ip ip(const char *text)
{
	struct weir_ip a;

	assert_int_equal(ip_parse(text, strlen(text), &a), 0);
	return a;
}

static void fill(uint64_t seed)
{
	static const char *const names[] = {"cubic", "newreno", "bbr", NULL, "a name that is too long"};

	prng = seed;
	n_connections = 0;
	for (unsigned i = 0; i < N_PLACES; i++) {
		struct tcp_info *t = &places[i];

		is_taken[i] = pick(4) != 0;
		n_connections += is_taken[i];
		*t = (struct tcp_info){.state = (enum tcp_state)pick(WEIR_N_CONN_STATES),
				       .srtt_us = pick(1000),
				       .rttvar_us = pick(1000),
				       .min_rtt_us = pick(1000),
				       .rto_us = pick(100000),
				       .cwnd = pick(1u << 30),
				       .ssthresh = pick(1u << 30),
				       .cc = names[pick(5)],
				       .recovery = names[pick(5)],
				       .flying_bytes = pick(1000),
				       .lost_bytes = pick(1000),
				       .sacked_bytes = pick(1000),
				       .ooo_bytes = pick(1000),
				       .pacing_Bps = 1ull << pick(40),
				       .idle_us = 1ull << pick(50),
				       .backoff = (uint8_t)pick(9),
				       .snd_wnd = pick(UINT32_MAX),
				       .rcv_wnd = pick(UINT32_MAX),
				       .unacked_bytes = UINT32_MAX - pick(3),
				       .unsent_bytes = pick(3) ? pick(100) : UINT32_MAX,
				       .readable_bytes = pick(100),
				       .retransmits = pick(5),
				       .mss = (uint16_t)pick(9000),
				       .has_sack = pick(2),
				       .has_timestamps = pick(2),
				       .has_ecn = pick(2),
				       .is_tunnel = pick(3) == 0,
				       .snd_wscale = (uint8_t)pick(15),
				       .rcv_wscale = (uint8_t)pick(15)};
		t->flow.local = ip(pick(2) ? "10.0.0.2" : "fd00::2");
		t->flow.remote = ip(pick(2) ? "10.1.0.1" : "10.2.0.1");
		if (!ip_is4(&t->flow.local))
			t->flow.remote = ip("fd01::1");
		t->flow.local_port = (uint16_t)(80 + pick(2));
		t->flow.remote_port = (uint16_t)i; /* by which a row is found again */
	}
}

static struct weir_conn_query all(uint32_t limit)
{
	return (struct weir_conn_query){.worker = WEIR_ALL_WORKERS, .states = (1u << WEIR_N_CONN_STATES) - 1, .limit = limit};
}

static void walk(const struct weir_conn_query *q)
{
	struct walk_job *job;
	uint64_t walked = stats.counter[WEIR_C_WALKED];

	memset(rows, 0xee, sizeof(rows));
	n_steps = 0;
	assert_int_equal(walk_create(77, q, &out, rows, &job), 0);
	while (!walk_step(job, NULL, &stats))
		assert_int_not_equal(out.walk_id, 77); /* not before it is complete */
	assert_int_equal(out.walk_id, 77);
	assert_int_equal(n_steps, (N_PLACES + WALK_STEP - 1) / WALK_STEP);
	assert_int_equal(out.n_walked, n_connections);
	assert_int_equal(stats.counter[WEIR_C_WALKED], walked + n_connections);
	assert_true(out.n_rows <= q->limit);
	if (q->limit < WEIR_CONN_ROWS) /* nothing is written behind them */
		assert_int_equal(((uint8_t *)&rows[q->limit])[0], 0xee);
	walk_destroy(job);
}

static uint64_t key_of(uint32_t sort, const struct tcp_info *t)
{
	const uint64_t keys[] = {[WEIR_SORT_NONE] = 0,
				 [WEIR_SORT_RTT] = t->srtt_us,
				 [WEIR_SORT_CWND] = t->cwnd,
				 [WEIR_SORT_RETRANSMITS] = t->retransmits,
				 [WEIR_SORT_QUEUE] = (uint64_t)t->unacked_bytes + t->unsent_bytes + t->readable_bytes,
				 [WEIR_SORT_IDLE] = t->idle_us};

	return keys[sort];
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x < y) - (x > y); /* largest first */
}

static void keeps_the_largest_of_every_key(void **state)
{
	static uint64_t wanted[N_PLACES], got[N_PLACES];

	for (uint64_t seed = 1; seed <= 20; seed++)
		for (uint32_t sort = 0; sort < WEIR_N_CONN_SORTS; sort++) {
			struct weir_conn_query q = all(1 + pick(seed % 2 ? 20 : WEIR_CONN_ROWS));
			unsigned n = 0;

			fill(seed);
			q.sort = sort;
			for (unsigned i = 0; i < N_PLACES; i++)
				if (is_taken[i])
					wanted[n++] = key_of(sort, &places[i]);
			qsort(wanted, n, sizeof(*wanted), by_value);
			walk(&q);
			assert_int_equal(out.n_matched, n);
			assert_int_equal(out.n_rows, n < q.limit ? n : q.limit);
			for (uint32_t i = 0; i < out.n_rows; i++)
				got[i] = key_of(sort, &places[rows[i].remote_port]);
			qsort(got, out.n_rows, sizeof(*got), by_value);
			assert_memory_equal(got, wanted, out.n_rows * sizeof(*got));
		}
}

static void a_row_says_what_the_connection_is(void **state)
{
	struct weir_conn_query q = all(WEIR_CONN_ROWS);

	fill(5);
	walk(&q);
	assert_int_equal(out.n_rows, n_connections);
	for (uint32_t i = 0; i < out.n_rows; i++) {
		const struct weir_conn_row *r = &rows[i];
		const struct tcp_info *t = &places[r->remote_port];

		assert_true(is_taken[r->remote_port]);
		is_taken[r->remote_port] = false; /* each once */
		assert_true(ip_eq(&r->local, &t->flow.local) && ip_eq(&r->remote, &t->flow.remote));
		assert_int_equal(r->local_port, t->flow.local_port);
		assert_int_equal(r->state, t->state);
		assert_int_equal(!!(r->flags & WEIR_CONN_SACK), t->has_sack);
		assert_int_equal(!!(r->flags & WEIR_CONN_ECN), t->has_ecn);
		assert_int_equal(!!(r->flags & WEIR_CONN_TIMESTAMPS), t->has_timestamps);
		assert_int_equal(r->snd_wscale, t->snd_wscale);
		assert_int_equal(r->rcv_wscale, t->rcv_wscale);
		assert_int_equal(r->backoff, t->backoff);
		assert_int_equal(r->mss, t->mss);
		assert_int_equal(r->retransmits, t->retransmits);
		assert_int_equal(r->srtt_us, t->srtt_us);
		assert_int_equal(r->rttvar_us, t->rttvar_us);
		assert_int_equal(r->min_rtt_us, t->min_rtt_us);
		assert_int_equal(r->rto_us, t->rto_us);
		assert_int_equal(r->cwnd, t->cwnd);
		assert_int_equal(r->ssthresh, t->ssthresh);
		assert_int_equal(r->snd_wnd, t->snd_wnd);
		assert_int_equal(r->rcv_wnd, t->rcv_wnd);
		assert_int_equal(r->unacked, t->unacked_bytes);
		assert_int_equal(r->unsent, t->unsent_bytes);
		assert_int_equal(r->flying, t->flying_bytes);
		assert_int_equal(r->lost, t->lost_bytes);
		assert_int_equal(r->sacked, t->sacked_bytes);
		assert_int_equal(r->readable, t->readable_bytes);
		assert_int_equal(r->out_of_order, t->ooo_bytes);
		assert_int_equal(r->pacing_Bps, t->pacing_Bps);
		assert_int_equal(r->idle_us, t->idle_us);
		assert_int_equal(r->protocol == WEIR_CONN_PROTOCOL_TUNNEL, t->is_tunnel);
		assert_int_equal(strncmp(r->cc, t->cc ? t->cc : "", sizeof(r->cc) - 1), 0);
		assert_int_equal(strncmp(r->recovery, t->recovery ? t->recovery : "", sizeof(r->recovery) - 1), 0);
		assert_int_equal(r->cc[sizeof(r->cc) - 1], 0);
		assert_int_equal(r->recovery[sizeof(r->recovery) - 1], 0);
	}
}

/* Every combination, each against the same question asked of the table directly. */
static void only_what_is_asked_for_is_matched(void **state)
{
	static const char *const peers[] = {NULL, "10.1.0.0", "10.0.0.0", "fd01::", "10.3.0.0", "::"};
	static const uint32_t lens[] = {0, 16, 8, 16, 16, 0};

	fill(6);
	for (unsigned k = 0; k < 6 * 4 * 3 * 3; k++) {
		struct weir_conn_query q = all(WEIR_CONN_ROWS);
		unsigned n = 0;

		if (peers[k % 6])
			q.peer = ip(peers[k % 6]);
		q.peer_len = lens[k % 6];
		q.port = (const uint16_t[]){0, 80, 7, 9999}[k / 6 % 4]; /* 7 is the remote port of one */
		q.states = (const uint32_t[]){q.states, 1u << WEIR_CONN_ESTABLISHED, 1u << WEIR_CONN_TIME_WAIT | 1}[k / 24 % 3];
		q.protocols = (const uint16_t[]){0, 1u << WEIR_CONN_PROTOCOL_TUNNEL, 1u << WEIR_CONN_PROTOCOL_HTTP}[k / 72];
		walk(&q);
		for (unsigned i = 0; i < N_PLACES; i++) {
			const struct tcp_info *t = &places[i];
			bool is_peer = !q.peer_len || ip_in_prefix(&t->flow.remote, &q.peer, q.peer_len);
			bool is_port = !q.port || t->flow.local_port == q.port || t->flow.remote_port == q.port;

			bool waits = t->state == TCP_SYN_RECEIVED || t->state == TCP_TIME_WAIT;
			bool is_protocol = !q.protocols || (k / 72 == 1 ? t->is_tunnel : !t->is_tunnel && !waits);

			n += is_taken[i] && is_peer && is_port && is_protocol && (q.states >> t->state & 1);
		}
		assert_int_equal(out.n_matched, n);
		assert_int_equal(out.n_rows, n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_the_largest_of_every_key),
		cmocka_unit_test(a_row_says_what_the_connection_is),
		cmocka_unit_test(only_what_is_asked_for_is_matched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
