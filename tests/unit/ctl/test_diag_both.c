/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of connections and captures, both ends together: what weir-ctrl makes
 * of them. The workers are the test; what they capture is written by the real code.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include <rte_mbuf.h>

#include "base/wheel.h"
#include "diag.h"
#include "diag_args.h"
#include "net/net.h"
#include "publish.h"
#include "rig.h"
#include "walk.h"

#define PATIENCE 5000

static struct publish *pub;
static struct diag *dg;
static uint64_t now_ms = 1000;
static struct rte_mempool *pool;
static struct wheel wheel;
static struct weir_worker_stats net_stats;
static struct net *nets[N_WORKERS];
static bool is_capturing[N_WORKERS];

/* Workers' networks without interfaces: what they are given is captured, and dropped. */
static int both_setup(void **state)
{
	static const struct net_port port;
	static struct rte_ring *none[N_WORKERS];
	struct net_config nc = {.n_workers = 1, .n_ports = 1, .ports = &port, .wheel = &wheel, .stats = &net_stats,
				.redirect_in = none, .redirect_out = none, .n_neighbours = 8, .neighbour_queue = 1};

	ctl_setup(NULL);
	wheel_init(&wheel, 1000, 0);
	for (unsigned i = 0; i < N_WORKERS; i++) {
		nets[i] = net_create(&nc);
		assert_non_null(nets[i]);
		is_capturing[i] = false;
	}
	pub = publish_create(path);
	dg = diag_create(pub);
	return 0;
}

static int both_teardown(void **state)
{
	diag_destroy(dg);
	publish_destroy(pub);
	rig_turns(5);
	assert_settled();
	for (unsigned i = 0; i < N_WORKERS; i++)
		net_destroy(nets[i]);
	return ctl_teardown(NULL);
}

static void one_turn(void)
{
	ctl_poll(ctl, 1);
	workers_turn();
	for (unsigned i = 0; i < N_WORKERS; i++) {
		if (workers[i].capture && !is_capturing[i])
			net_capture_start(nets[i], workers[i].capture);
		else if (!workers[i].capture && is_capturing[i])
			net_capture_stop(nets[i]);
		is_capturing[i] = workers[i].capture != NULL;
	}
	publish_poll(pub);
	diag_poll(dg, now_ms);
}

static void await_connected(void)
{
	for (int i = 0; i < PATIENCE && !publish_diag(pub); i++)
		one_turn();
	assert_non_null(publish_diag(pub));
}

static enum diag_state await_walk(int *result)
{
	for (int i = 0; i < PATIENCE; i++) {
		if (diag_walk_state(dg, result) != DIAG_WAITING)
			break;
		one_turn();
	}
	return diag_walk_state(dg, result);
}

static enum diag_state await_capture(int *result)
{
	for (int i = 0; i < PATIENCE; i++) {
		if (diag_capture_state(dg, result) != DIAG_WAITING)
			break;
		one_turn();
	}
	return diag_capture_state(dg, result);
}

static void await_jobs(void)
{
	for (int i = 0; i < PATIENCE && !(workers[0].job && workers[1].job); i++)
		one_turn();
	assert_non_null(workers[0].job);
	assert_non_null(workers[1].job);
}

static void rows_of_all_workers_come_sorted_and_cut(void **state)
{
	struct weir_conn_query q = good_query();
	const unsigned wanted[] = {31, 30, 21, 20, 11};
	const struct diag_list *list;
	int result;

	await_connected();
	workers[0].slow_walks = workers[1].slow_walks = true;
	q.limit = 5;
	q.sort = WEIR_SORT_RTT;
	assert_int_equal(diag_walk(dg, &q, now_ms), 0);
	assert_int_equal(diag_walk(dg, &q, now_ms), -EBUSY);
	await_jobs();
	for (unsigned w = 0; w < N_WORKERS; w++) {
		for (uint32_t i = 0; i < 4; i++)
			workers[w].job->rows[i] = (struct weir_conn_row){.srtt_us = 10 * (i * 7 % 4) + w, .state = WEIR_CONN_ESTABLISHED};
		workers[w].job->out->n_walked = 100;
		workers[w].job->out->n_matched = 30;
		worker_walked(&workers[w], 4);
	}
	assert_int_equal(await_walk(&result), DIAG_READY);
	list = diag_walk_list(dg);
	assert_int_equal(list->n_walked, 200);
	assert_int_equal(list->n_matched, 60);
	assert_int_equal(list->n_rows, 5);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(list->rows[i].row.srtt_us, wanted[i]);
		assert_int_equal(list->rows[i].worker, list->rows[i].row.srtt_us % 10);
	}
	diag_walk_end(dg);
	assert_int_equal(diag_walk_state(dg, &result), DIAG_NONE);
}

static void a_worker_that_does_not_answer_is_a_timeout_and_no_more(void **state)
{
	const struct weir_conn_query q = good_query();
	int result;

	await_connected();
	workers[0].slow_walks = workers[1].slow_walks = true;
	assert_int_equal(diag_walk(dg, &q, now_ms), 0);
	await_jobs();
	now_ms += DIAG_TIMEOUT_MS - 1;
	one_turn();
	assert_int_equal(diag_walk_state(dg, &result), DIAG_WAITING);
	now_ms++;
	one_turn();
	assert_int_equal(diag_walk_state(dg, &result), DIAG_FAILED);
	assert_int_equal(result, -ETIMEDOUT);
	diag_walk_end(dg);
	assert_int_equal(diag_walk(dg, &q, now_ms), 0);
	assert_int_equal(await_walk(&result), DIAG_FAILED);
	assert_int_equal(result, WEIR_REFUSED_IN_USE);
	diag_walk_end(dg);
	worker_walked(&workers[0], 1); /* late: of the first one */
	worker_walked(&workers[1], 1);
	rig_turns(3);
	assert_int_equal(diag_walk(dg, &q, now_ms), 0);
	publish_poll(pub); /* the late answer: not this one's */
	assert_int_equal(diag_walk_state(dg, &result), DIAG_WAITING);
	await_jobs();
	worker_walked(&workers[0], 0);
	worker_walked(&workers[1], 0);
	assert_int_equal(await_walk(&result), DIAG_READY);
	assert_int_equal(diag_walk_list(dg)->n_rows, 0);
}

static void without_a_dataplane_it_says_so(void **state)
{
	const struct weir_conn_query q = good_query();
	const struct weir_capture_spec s = good_spec();
	char bytes[64];
	int result;

	assert_int_equal(diag_walk(dg, &q, now_ms), -ENOTCONN);
	assert_int_equal(diag_capture(dg, &s, now_ms), -ENOTCONN);
	await_connected();
	workers[0].slow_walks = workers[1].slow_walks = true;
	assert_int_equal(diag_walk(dg, &q, now_ms), 0);
	assert_int_equal(diag_capture(dg, &s, now_ms), 0);
	assert_int_equal(await_capture(&result), DIAG_READY);
	worker_walked(&workers[0], 0);
	worker_walked(&workers[1], 0);
	for (unsigned i = 0; i < N_WORKERS; i++)
		net_capture_stop(nets[i]);
	ctl_teardown(NULL); /* it ends */
	publish_poll(pub);
	assert_int_equal(diag_walk_state(dg, &result), DIAG_FAILED);
	assert_int_equal(result, -ENOTCONN);
	assert_int_equal(diag_capture_state(dg, &result), DIAG_FAILED);
	assert_int_equal(result, -ENOTCONN);
	assert_int_equal(diag_capture_read(dg, bytes, sizeof(bytes)), 24); /* the head that it had */
	assert_int_equal(diag_capture_read(dg, bytes, sizeof(bytes)), 0);
	assert_true(diag_capture_is_over(dg));
	diag_walk_end(dg);
	diag_capture_end(dg, now_ms);
	ctl_setup(NULL);
	await_connected();
	assert_int_equal(diag_walk(dg, &q, now_ms), 0);
	assert_int_equal(await_walk(&result), DIAG_READY);
	assert_int_equal(diag_capture(dg, &s, now_ms), 0);
	assert_int_equal(await_capture(&result), DIAG_READY);
}

/* Frames that say who they are: worker, number, and a length that follows from both. */
static uint32_t frame_len(unsigned worker, uint32_t number)
{
	return 20 + (number * 2654435761u + worker * 97) % 1400;
}

static void frame_fill(uint8_t *out, unsigned worker, uint32_t number)
{
	uint32_t len = frame_len(worker, number);

	for (uint32_t i = 0; i < len; i++)
		out[i] = (uint8_t)(number * 31 + i * 7 + worker);
	memcpy(out, &worker, 4);
	memcpy(out + 4, &number, 4);
}

static void give(unsigned worker, uint32_t number)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

	assert_non_null(m);
	frame_fill((void *)rte_pktmbuf_append(m, (uint16_t)frame_len(worker, number)), worker, number);
	/* As if each worker had one every 10 us. */
	net_input(nets[worker], 0, &m, 1, 5000000 + number * 10 + worker);
}

/* Reads pcap bytes in pieces of any size, checks every packet against what was given. */
struct reader {
	char bytes[1 << 17];
	size_t n;
	bool has_head;
	uint32_t next[N_WORKERS]; /* least number that may follow */
	uint32_t snaplen;
	uint64_t n_packets;
	uint64_t prng;
};

static void check_packet(struct reader *r, const uint32_t *head, const char *bytes)
{
	uint8_t wanted[1500];
	uint32_t worker, number, cap = head[2];

	memcpy(&worker, bytes, 4);
	memcpy(&number, bytes + 4, 4);
	assert_true(worker < N_WORKERS);
	assert_true(number >= r->next[worker]);
	r->next[worker] = number + 1;
	frame_fill(wanted, worker, number);
	assert_int_equal(head[3], frame_len(worker, number));
	assert_int_equal(cap, head[3] < r->snaplen ? head[3] : r->snaplen);
	assert_memory_equal(bytes, wanted, cap);
	assert_int_equal((uint64_t)head[0] * 1000000 + head[1],
			 5000000 + number * 10 + worker + (uint64_t)workers[worker].capture->unix_offset_us);
	r->n_packets++;
}

static size_t reader_read(struct reader *r)
{
	size_t cap, n, at = 0;

	r->prng = r->prng * 6364136223846793005ull + 1442695040888963407ull;
	cap = 1 + (size_t)(r->prng >> 33) % (r->prng % 3 ? 50 : 30000);
	n = diag_capture_read(dg, r->bytes + r->n, cap);
	assert_true(n <= cap);
	r->n += n;
	if (!r->has_head && r->n >= 24) {
		const uint32_t head[6] = {0xa1b2c3d4, 2 | 4 << 16, 0, 0, r->snaplen, 1};

		assert_memory_equal(r->bytes, head, 24);
		r->has_head = true;
		at = 24;
	}
	while (r->has_head && r->n - at >= 16) {
		uint32_t head[4];

		memcpy(head, r->bytes + at, 16);
		assert_true(head[2] <= r->snaplen);
		if (r->n - at - 16 < head[2])
			break;
		check_packet(r, head, r->bytes + at + 16);
		at += 16 + head[2];
	}
	memmove(r->bytes, r->bytes + at, r->n - at);
	r->n -= at;
	return n;
}

static struct reader *reader_start(struct weir_capture_spec *s)
{
	static struct reader r;
	int result;

	memset(&r, 0, sizeof(r));
	r.snaplen = s->snaplen;
	r.prng = 5;
	await_connected();
	assert_int_equal(diag_capture(dg, s, now_ms), 0);
	assert_int_equal(await_capture(&result), DIAG_READY);
	one_turn();
	for (unsigned i = 0; i < N_WORKERS; i++)
		if (workers[i].capture)
			workers[i].capture->unix_offset_us = 1700000000000000;
	return &r;
}

/* Until all is read and the dataplane has answered; the frames are checked while the capture's objects are there. */
static void reader_finish(struct reader *r)
{
	while (reader_read(r) > 0)
		;
	diag_capture_stop(dg, now_ms);
	for (int i = 0; i < PATIENCE && !diag_capture_is_over(dg); i++) {
		one_turn();
		reader_read(r);
	}
	assert_true(diag_capture_is_over(dg));
	assert_int_equal(r->n, 0);
}

static void a_stream_has_every_packet_that_was_not_counted_as_dropped(void **state)
{
	struct weir_capture_spec s = good_spec();
	uint64_t n_given[N_WORKERS] = {0};
	struct reader *r;

	s.n_insns = 0;
	s.snaplen = 900;
	r = reader_start(&s);
	for (int round = 0; round < 600; round++) {
		/* More than is read for a while, then less. */
		for (unsigned i = 0; i < (round % 100 < 50 ? 60u : 10u); i++) {
			unsigned w = (i + (unsigned)round) % 3 == 0;

			give(w, (uint32_t)n_given[w]++);
		}
		for (int i = 0; i < 3; i++)
			reader_read(r);
		one_turn();
	}
	reader_finish(r);
	assert_int_equal(diag_capture_totals(dg).n_packets, r->n_packets);
	assert_int_equal(diag_capture_totals(dg).n_dropped + r->n_packets, n_given[0] + n_given[1]);
	assert_true(diag_capture_totals(dg).n_dropped > 100);
	assert_true(r->n_packets > 2000);
	assert_true(r->next[0] > 100 && r->next[1] > 100);
}

static void packets_of_all_workers_come_in_the_order_of_their_times(void **state)
{
	struct weir_capture_spec s = good_spec();
	struct reader *r;
	uint64_t last = 0;
	char bytes[40];

	s.n_insns = 0;
	s.snaplen = 24;
	r = reader_start(&s);
	for (unsigned w = 0; w < N_WORKERS; w++)
		for (uint32_t i = 0; i < 100; i++)
			give(w, i);
	assert_int_equal(diag_capture_read(dg, bytes, 24), 24);
	for (int i = 0; i < 200; i++) {
		uint32_t head[4];
		uint64_t t;

		assert_int_equal(diag_capture_read(dg, bytes, 16), 16);
		memcpy(head, bytes, 16);
		t = (uint64_t)head[0] * 1000000 + head[1];
		assert_true(t > last);
		last = t;
		assert_int_equal(diag_capture_read(dg, bytes, head[2]), head[2]);
	}
	reader_finish(r);
}

static void a_count_is_of_all_workers_together(void **state)
{
	struct weir_capture_spec s = good_spec();
	struct reader *r;

	s.n_insns = 0;
	s.count = 25;
	r = reader_start(&s);
	for (uint32_t i = 0; i < 100; i++)
		for (unsigned w = 0; w < N_WORKERS; w++)
			give(w, i);
	for (int i = 0; i < PATIENCE && !diag_capture_is_over(dg); i++) {
		reader_read(r);
		one_turn();
	}
	assert_true(diag_capture_is_over(dg)); /* by itself */
	assert_int_equal(r->n_packets, 25);
	assert_int_equal(diag_capture_totals(dg).n_packets, 25);
}

static void a_reader_that_goes_ends_the_capture(void **state)
{
	struct weir_capture_spec s = good_spec();
	int result;

	reader_start(&s);
	diag_capture_end(dg, now_ms);
	for (int i = 0; i < PATIENCE && workers[0].capture; i++)
		one_turn();
	assert_null(workers[0].capture);
	for (int i = 0; i < PATIENCE && diag_capture(dg, &s, now_ms) == -EBUSY; i++)
		one_turn();
	diag_capture_end(dg, now_ms); /* before it is on */
	for (int i = 0; i < 20; i++)
		one_turn();
	assert_null(workers[0].capture);
	assert_int_equal(diag_capture_state(dg, &result), DIAG_NONE);
	reader_start(&s);
}

/* The dataplane's memory is believed in nothing. */
static void nonsense_in_a_ring_ends_the_capture(void **state)
{
	for (unsigned kind = 0; kind < 6; kind++) {
		struct weir_capture_spec s = good_spec();
		struct weir_capture_record *rec;
		struct weir_diag_worker *o;
		int result;

		s.n_insns = 0;
		s.snaplen = 1500;
		reader_start(&s);
		give(0, 1);
		rec = (struct weir_capture_record *)(void *)workers[0].capture->ring;
		o = workers[0].capture->out;
		if (kind == 0)
			rec->caplen = WEIR_CAPTURE_BYTES_MAX + 1;
		else if (kind == 1)
			rec->caplen = (uint32_t)o->head; /* behind head */
		else if (kind == 2)
			o->head = 16;
		else if (kind == 3)
			o->head = 1ull << 40;
		else if (kind == 4)
			rec->caplen = WEIR_CAPTURE_SKIP; /* over head */
		else
			o->head = 0x7fffffffffffffe0ull;
		while (diag_capture_read(dg, (char[100]){0}, 100) > 0)
			;
		assert_int_equal(diag_capture_state(dg, &result), DIAG_FAILED);
		assert_int_equal(result, -EPROTO);
		assert_true(diag_capture_is_over(dg));
		for (int i = 0; i < PATIENCE && workers[0].capture; i++)
			one_turn();
		assert_null(workers[0].capture);
		diag_capture_end(dg, now_ms);
		one_turn();
	}
}

/* As minor version 0 was, or one that has no memory for it. */
static void a_dataplane_without_diagnostics_is_not_asked(void **state)
{
	struct weir_diag_region *all = diag;
	const struct weir_conn_query q = good_query();
	struct publish_status st = {0};

	diag = NULL;
	both_setup(NULL);
	for (int i = 0; i < PATIENCE && !st.is_connected; i++) {
		one_turn();
		publish_status(pub, &st);
	}
	assert_true(st.is_connected);
	assert_int_equal(diag_walk(dg, &q, now_ms), -EOPNOTSUPP);
	both_teardown(NULL);
	diag = all;
}

int main(void)
{
#define BOTH(f) cmocka_unit_test_setup_teardown(f, both_setup, both_teardown)
	const struct CMUnitTest tests[] = {
	    BOTH(rows_of_all_workers_come_sorted_and_cut),
	    BOTH(a_worker_that_does_not_answer_is_a_timeout_and_no_more),
	    BOTH(without_a_dataplane_it_says_so),
	    BOTH(a_stream_has_every_packet_that_was_not_counted_as_dropped),
	    BOTH(packets_of_all_workers_come_in_the_order_of_their_times),
	    BOTH(a_count_is_of_all_workers_together),
	    BOTH(a_reader_that_goes_ends_the_capture),
	    BOTH(nonsense_in_a_ring_ends_the_capture),
	    cmocka_unit_test(a_dataplane_without_diagnostics_is_not_asked),
	};
#undef BOTH
	int failed;

	rig_init("diag-both");
	pool = rte_pktmbuf_pool_create("diag", 255, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rig_fini();
	return failed;
}
