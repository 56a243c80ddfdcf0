/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of connections and captures over a real control socket: first by a
 * peer that speaks by hand and lies, then both ends together. The workers are
 * the test; what they capture is written by the real code.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>

#include <rte_mbuf.h>

#include "base/wheel.h"
#include "diag.h"
#include "net/net.h"
#include "publish.h"
#include "rig.h"
#include "walk.h"

#define PATIENCE 5000
#define QUERY_AT 0u
#define SPEC_AT 4096u

static struct weir_conn_query good_query(void)
{
	return (struct weir_conn_query){.worker = WEIR_ALL_WORKERS, .states = 1u << WEIR_CONN_ESTABLISHED, .limit = 10};
}

static struct weir_capture_spec good_spec(void)
{
	return (struct weir_capture_spec){.worker = WEIR_ALL_WORKERS, .snaplen = 100, .duration_us = WEIR_CAPTURE_MAX_US,
					  .n_insns = 1, .insns = {{.code = 0x06, .k = 60}}};
}

static void put_query(struct peer *p, const struct weir_conn_query *q, uint64_t id)
{
	memcpy(p->arena + QUERY_AT, q, sizeof(*q));
	peer_put(p, (struct weir_msg){.type = WEIR_MSG_CONNECTIONS, .off = QUERY_AT, .size = sizeof(*q), .id = id});
}

static void put_spec(struct peer *p, const struct weir_capture_spec *s, uint64_t id)
{
	memcpy(p->arena + SPEC_AT, s, sizeof(*s));
	peer_put(p, (struct weir_msg){.type = WEIR_MSG_CAPTURE, .off = SPEC_AT, .size = sizeof(*s), .id = id});
}

static void expect_answer(struct peer *p, uint32_t type, uint64_t id, enum weir_refusal status)
{
	struct weir_msg m = peer_await(p, type);

	assert_int_equal(m.status, status);
	assert_int_equal(m.id, id);
}

static void put_taken(struct peer *p, uint64_t id, uint64_t worker, uint64_t tail)
{
	peer_put(p, (struct weir_msg){.type = WEIR_MSG_CAPTURE_TAKEN, .id = id, .off = worker, .version = tail});
}

/* -- by hand */

static void wrong_queries_are_refused_by_their_reason(void **state)
{
	const struct weir_conn_query good = good_query();
	struct weir_conn_query wrong[11];
	const struct weir_msg places[] = {
	    {.off = 4, .size = sizeof(good)},
	    {.off = (1u << 20) - 8, .size = sizeof(good)},
	    {.off = UINT64_MAX - 7, .size = sizeof(good)},
	    {.size = sizeof(good) - 1},
	    {.size = 0},
	    {.size = sizeof(good) + 1},
	    {.size = UINT64_MAX},
	};
	const enum weir_refusal why[] = {WEIR_REFUSED_BAD_PLACE, WEIR_REFUSED_BAD_PLACE, WEIR_REFUSED_BAD_PLACE,
					 WEIR_REFUSED_TRUNCATED, WEIR_REFUSED_TRUNCATED, WEIR_REFUSED_TOO_BIG,
					 WEIR_REFUSED_TOO_BIG};
	uint64_t refused = stats->diag_refused;
	struct peer p;

	for (size_t i = 0; i < COUNT(wrong); i++)
		wrong[i] = good;
	wrong[0].worker = N_WORKERS;
	wrong[1].states = 0;
	wrong[2].states = 1u << WEIR_N_CONN_STATES;
	wrong[3].sort = WEIR_N_CONN_SORTS;
	wrong[4].limit = 0;
	wrong[5].limit = WEIR_CONN_ROWS + 1;
	wrong[6].peer_len = 129;
	assert_int_equal(ip_parse("10.0.0.1", 8, &wrong[7].peer), 0);
	wrong[7].peer_len = 33;
	wrong[8].reserved0 = 1;
	wrong[9].reserved[3] = 1;
	wrong[10].worker = UINT32_MAX - 1;
	peer_open(&p);
	for (size_t i = 0; i < COUNT(wrong); i++) {
		put_query(&p, &wrong[i], i);
		expect_answer(&p, WEIR_MSG_CONNECTIONS_DONE, i, WEIR_REFUSED_BAD_VALUE);
	}
	for (size_t i = 0; i < COUNT(places); i++) {
		struct weir_msg m = places[i];

		m.type = WEIR_MSG_CONNECTIONS;
		m.id = i;
		peer_put(&p, m);
		expect_answer(&p, WEIR_MSG_CONNECTIONS_DONE, i, why[i]);
	}
	assert_int_equal(stats->diag_refused, refused + COUNT(wrong) + COUNT(places));
	put_query(&p, &good, 99);
	expect_answer(&p, WEIR_MSG_CONNECTIONS_DONE, 99, WEIR_REFUSED_OK);
	peer_close(&p);
	assert_settled();
}

static void wrong_captures_are_refused_by_their_reason(void **state)
{
	struct weir_capture_spec wrong[12];
	enum weir_refusal why[12];
	uint64_t refused = stats->diag_refused;
	struct peer p;

	for (size_t i = 0; i < COUNT(wrong); i++) {
		wrong[i] = good_spec();
		why[i] = i < 8 ? WEIR_REFUSED_BAD_VALUE : WEIR_REFUSED_BAD_FILTER;
	}
	wrong[0].worker = N_WORKERS;
	wrong[1].snaplen = 0;
	wrong[2].snaplen = WEIR_CAPTURE_BYTES_MAX + 1;
	wrong[3].duration_us = 0;
	wrong[4].duration_us = WEIR_CAPTURE_MAX_US + 1;
	wrong[5].reserved0 = 1;
	wrong[6].reserved[0] = 1;
	wrong[7].duration_us = UINT64_MAX;
	wrong[8].insns[0].code = 0x05; /* jumps to itself, if it wrapped */
	wrong[8].insns[0].k = UINT32_MAX;
	wrong[9].n_insns = 2; /* the second one is not a return */
	wrong[10].n_insns = WEIR_FILTER_MAX + 1;
	wrong[11].n_insns = UINT32_MAX;
	peer_open(&p);
	for (size_t i = 0; i < COUNT(wrong); i++) {
		put_spec(&p, &wrong[i], i);
		expect_answer(&p, WEIR_MSG_CAPTURE_ON, i, why[i]);
	}
	peer_put(&p, (struct weir_msg){.type = WEIR_MSG_CAPTURE, .off = 4, .size = sizeof(wrong[0])});
	expect_answer(&p, WEIR_MSG_CAPTURE_ON, 0, WEIR_REFUSED_BAD_PLACE);
	peer_put(&p, (struct weir_msg){.type = WEIR_MSG_CAPTURE, .size = sizeof(wrong[0]) - 8});
	expect_answer(&p, WEIR_MSG_CAPTURE_ON, 0, WEIR_REFUSED_TRUNCATED);
	assert_int_equal(stats->diag_refused, refused + COUNT(wrong) + 2);
	assert_int_equal(workers[0].n_captures + workers[1].n_captures, 0);
	peer_close(&p);
	assert_settled();
}

static void one_of_each_at_a_time(void **state)
{
	const struct weir_conn_query q = good_query();
	const struct weir_capture_spec s = good_spec();
	struct peer p;

	workers[0].slow_walks = workers[1].slow_walks = true;
	peer_open(&p);
	put_query(&p, &q, 1);
	put_query(&p, &q, 2);
	expect_answer(&p, WEIR_MSG_CONNECTIONS_DONE, 2, WEIR_REFUSED_IN_USE);
	worker_walked(&workers[0], 0);
	rig_turns(3);
	put_query(&p, &q, 3); /* the other worker is not done */
	expect_answer(&p, WEIR_MSG_CONNECTIONS_DONE, 3, WEIR_REFUSED_IN_USE);
	put_spec(&p, &s, 4); /* another kind */
	expect_answer(&p, WEIR_MSG_CAPTURE_ON, 4, WEIR_REFUSED_OK);
	put_spec(&p, &s, 5);
	expect_answer(&p, WEIR_MSG_CAPTURE_ON, 5, WEIR_REFUSED_IN_USE);
	worker_walked(&workers[1], 0);
	expect_answer(&p, WEIR_MSG_CONNECTIONS_DONE, 1, WEIR_REFUSED_OK);
	workers[1].is_asleep = true;
	peer_put(&p, (struct weir_msg){.type = WEIR_MSG_CAPTURE_STOP, .id = 4});
	rig_turns(5);
	put_spec(&p, &s, 6); /* one worker still reads the first one's filter */
	expect_answer(&p, WEIR_MSG_CAPTURE_ON, 6, WEIR_REFUSED_IN_USE);
	workers[1].is_asleep = false;
	expect_answer(&p, WEIR_MSG_CAPTURE_OFF, 4, WEIR_REFUSED_OK);
	put_spec(&p, &s, 7);
	expect_answer(&p, WEIR_MSG_CAPTURE_ON, 7, WEIR_REFUSED_OK);
	assert_int_equal(workers[0].n_captures, 2);
	peer_close(&p);
	assert_settled();
}

static void only_the_worker_that_is_meant_is_asked(void **state)
{
	struct weir_conn_query q = good_query();
	struct weir_capture_spec s = good_spec();
	struct peer p;

	q.worker = s.worker = 1;
	workers[0].slow_walks = true;
	peer_open(&p);
	put_query(&p, &q, 1);
	expect_answer(&p, WEIR_MSG_CONNECTIONS_DONE, 1, WEIR_REFUSED_OK);
	put_spec(&p, &s, 2);
	expect_answer(&p, WEIR_MSG_CAPTURE_ON, 2, WEIR_REFUSED_OK);
	rig_turns(2);
	assert_null(workers[0].job);
	assert_null(workers[0].capture);
	assert_non_null(workers[1].capture);
	peer_put(&p, (struct weir_msg){.type = WEIR_MSG_CAPTURE_STOP, .id = 2});
	expect_answer(&p, WEIR_MSG_CAPTURE_OFF, 2, WEIR_REFUSED_OK);
	peer_close(&p);
	assert_settled();
}

static void a_list_outlives_the_ctrl_that_asked_and_nobody_is_told(void **state)
{
	const struct weir_conn_query q = good_query();
	struct weir_msg m;
	struct peer p;

	workers[0].slow_walks = workers[1].slow_walks = true;
	peer_open(&p);
	put_query(&p, &q, 1);
	rig_turns(3);
	peer_close(&p);
	rig_turns(3);
	peer_open(&p);
	put_query(&p, &q, 1);
	expect_answer(&p, WEIR_MSG_CONNECTIONS_DONE, 1, WEIR_REFUSED_IN_USE);
	worker_walked(&workers[0], 0);
	worker_walked(&workers[1], 0);
	rig_turns(5);
	assert_false(peer_take(&p, &m));
	workers[0].slow_walks = workers[1].slow_walks = false;
	put_query(&p, &q, 2);
	expect_answer(&p, WEIR_MSG_CONNECTIONS_DONE, 2, WEIR_REFUSED_OK);
	peer_close(&p);
	assert_settled();
}

static void a_capture_ends_with_the_ctrl_that_asked(void **state)
{
	const struct weir_capture_spec s = good_spec();
	struct peer p;

	for (int i = 0; i < 3; i++) {
		peer_open(&p);
		put_spec(&p, &s, 1);
		expect_answer(&p, WEIR_MSG_CAPTURE_ON, 1, WEIR_REFUSED_OK);
		rig_turns(2);
		assert_non_null(workers[0].capture);
		peer_close(&p);
		rig_turns(4);
		assert_null(workers[0].capture);
		assert_null(workers[1].capture);
	}
	assert_next_ctrl_works();
}

static void a_capture_ends_when_its_time_is_over(void **state)
{
	struct weir_capture_spec s = good_spec();
	struct peer p;

	s.duration_us = 1;
	peer_open(&p);
	put_spec(&p, &s, 8);
	expect_answer(&p, WEIR_MSG_CAPTURE_ON, 8, WEIR_REFUSED_OK);
	expect_answer(&p, WEIR_MSG_CAPTURE_OFF, 8, WEIR_REFUSED_OK);
	assert_int_equal(workers[0].n_captures, 1);
	s.duration_us = WEIR_CAPTURE_MAX_US;
	put_spec(&p, &s, 9);
	expect_answer(&p, WEIR_MSG_CAPTURE_ON, 9, WEIR_REFUSED_OK);
	rig_turns(50);
	assert_non_null(workers[0].capture);
	ctl->diag.capture_end_us = ctl_now_us(); /* as if the hour had passed */
	expect_answer(&p, WEIR_MSG_CAPTURE_OFF, 9, WEIR_REFUSED_OK);
	peer_close(&p);
	assert_settled();
}

static void the_workers_filter_is_the_one_that_was_checked(void **state)
{
	const struct weir_capture_spec s = good_spec();
	struct peer p;

	peer_open(&p);
	put_spec(&p, &s, 1);
	expect_answer(&p, WEIR_MSG_CAPTURE_ON, 1, WEIR_REFUSED_OK);
	memset(p.arena, 0xff, 65536);
	put_spec(&p, &(struct weir_capture_spec){.n_insns = 7}, 2); /* nor does a refused one get in its way */
	expect_answer(&p, WEIR_MSG_CAPTURE_ON, 2, WEIR_REFUSED_IN_USE);
	rig_turns(2);
	assert_memory_equal(workers[0].capture->spec, &s, sizeof(s));
	peer_close(&p);
	assert_settled();
}

/* What a reader may say, and what ends its connection, with its capture. */
static void a_reader_cannot_read_ahead(void **state)
{
	static const struct {
		uint64_t worker, tail;
		bool is_lie;
	} words[] = {
		{0, 64, false}, {0, 64, false},	 {0, 96, false},	  {0, 32, true},	 {0, 128, true}, {1, 32, true},
		{1, 0, false},	{2, 0, true},	 {UINT64_MAX, 0, true}, {0, UINT64_MAX, true},
	};
	const struct weir_capture_spec s = good_spec();

	for (size_t i = 0; i < COUNT(words); i++) {
		uint64_t errors = stats->ctrl_protocol_errors;
		struct peer p;

		peer_open(&p);
		put_spec(&p, &s, 1);
		expect_answer(&p, WEIR_MSG_CAPTURE_ON, 1, WEIR_REFUSED_OK);
		rig_turns(2);
		workers[0].capture->out->head = 96;
		put_taken(&p, 1, 0, 64);
		put_taken(&p, 7, 99, 99); /* of another capture: late, not wrong */
		rig_turns(2);
		assert_int_equal(workers[0].capture->tail, 64);
		put_taken(&p, 1, words[i].worker, words[i].tail);
		rig_turns(3);
		assert_int_equal(stats->ctrl_protocol_errors, errors + words[i].is_lie);
		assert_int_equal(ctl->conn.fd == -1, words[i].is_lie);
		if (!words[i].is_lie && words[i].worker == 0)
			assert_int_equal(workers[0].capture->tail, words[i].tail);
		assert_int_equal(workers[0].capture == NULL, words[i].is_lie);
		peer_close(&p);
		assert_settled();
	}
	assert_next_ctrl_works();
}

static void words_about_a_capture_that_is_over_mean_nothing(void **state)
{
	struct peer p;

	peer_open(&p);
	put_taken(&p, 0, 0, 0);
	put_taken(&p, 1, 77, UINT64_MAX);
	peer_put(&p, (struct weir_msg){.type = WEIR_MSG_CAPTURE_STOP, .id = 0});
	peer_put(&p, (struct weir_msg){.type = WEIR_MSG_CAPTURE_STOP, .id = 1});
	rig_turns(3);
	assert_true(ctl->conn.fd >= 0);
	peer_close(&p);
	assert_settled();
}

static void the_diagnostics_cannot_be_written_by_ctrl(void **state)
{
	char proc[64];
	struct peer p;
	void *m;
	int fd;

	peer_open(&p);
	assert_int_equal(p.hello.diag_size, diag->size);
	m = mmap(NULL, p.hello.diag_size, PROT_READ, MAP_SHARED, p.fds[2], 0);
	assert_ptr_not_equal(m, MAP_FAILED);
	assert_int_not_equal(mprotect(m, p.hello.diag_size, PROT_READ | PROT_WRITE), 0);
	munmap(m, p.hello.diag_size);
	assert_ptr_equal(mmap(NULL, p.hello.diag_size, PROT_READ | PROT_WRITE, MAP_SHARED, p.fds[2], 0), MAP_FAILED);
	assert_int_equal(write(p.fds[2], "x", 1), -1);
	assert_int_not_equal(ftruncate(p.fds[2], 0), 0);
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", p.fds[2]); /* opened anew */
	fd = open(proc, O_RDWR | O_CLOEXEC);
	if (fd >= 0) {
		assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
		assert_int_equal(write(fd, "x", 1), -1);
		close(fd);
	}
	peer_close(&p);
}

/* It has room for two descriptors and for the 32 bytes of the hello that it knows. */
static void a_ctrl_of_minor_version_0_is_served(void **state)
{
	char hello[WEIR_HELLO_MIN];
	struct iovec iov = {.iov_base = hello, .iov_len = sizeof(hello)};
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(2 * sizeof(int))];
	} control;
	struct msghdr msg = {
	    .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
	struct peer p = {.fd = peer_dial()};
	size_t n;
	struct weir_snapshot *s = make_snapshot(1, &n);

	rig_turns(2);
	assert_int_equal(recvmsg(p.fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC), WEIR_HELLO_MIN);
	assert_int_equal(CMSG_FIRSTHDR(&msg)->cmsg_len, CMSG_LEN(2 * sizeof(int)));
	memcpy(p.fds, CMSG_DATA(CMSG_FIRSTHDR(&msg)), 2 * sizeof(int));
	p.fds[2] = -1;
	memcpy(&p.hello, hello, sizeof(hello));
	p.region = mmap(NULL, p.hello.region_size, PROT_READ | PROT_WRITE, MAP_SHARED, p.fds[0], 0);
	assert_ptr_not_equal(p.region, MAP_FAILED);
	p.tx = (struct weir_ring *)(void *)((char *)p.region + p.region->to_dataplane_off);
	p.rx = (struct weir_ring *)(void *)((char *)p.region + p.region->to_ctrl_off);
	p.arena = (char *)p.region + p.region->arena_off;
	memcpy(p.arena, s, n);
	peer_put(&p, (struct weir_msg){.type = WEIR_MSG_SNAPSHOT, .size = n, .id = 1});
	assert_int_equal(peer_await(&p, WEIR_MSG_LIVE).id, 1);
	peer_close(&p);
	assert_settled();
	free(s);
}

/* -- both ends */

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

/* -- dataplanes with less */

static void switched_off_is_a_reason(void **state)
{
	struct weir_diag_region *all = diag;
	const struct weir_capture_spec s = good_spec();
	const struct weir_conn_query q = good_query();
	int fd = diag_fd;
	struct peer p;

	diag = ctl_diag_create(N_WORKERS, 0, &diag_fd);
	assert_non_null(diag);
	ctl_setup(NULL);
	peer_open(&p);
	put_spec(&p, &s, 1);
	expect_answer(&p, WEIR_MSG_CAPTURE_ON, 1, WEIR_REFUSED_SWITCHED_OFF);
	put_query(&p, &q, 2);
	expect_answer(&p, WEIR_MSG_CONNECTIONS_DONE, 2, WEIR_REFUSED_OK);
	peer_close(&p);
	assert_settled();
	ctl_teardown(NULL);
	ctl_diag_destroy(diag, diag_fd);
	diag = all;
	diag_fd = fd;
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
#define HAND(f) cmocka_unit_test_setup_teardown(f, ctl_setup, ctl_teardown)
#define BOTH(f) cmocka_unit_test_setup_teardown(f, both_setup, both_teardown)
	const struct CMUnitTest tests[] = {
	    HAND(wrong_queries_are_refused_by_their_reason),
	    HAND(wrong_captures_are_refused_by_their_reason),
	    HAND(one_of_each_at_a_time),
	    HAND(only_the_worker_that_is_meant_is_asked),
	    HAND(a_list_outlives_the_ctrl_that_asked_and_nobody_is_told),
	    HAND(a_capture_ends_with_the_ctrl_that_asked),
	    HAND(a_capture_ends_when_its_time_is_over),
	    HAND(the_workers_filter_is_the_one_that_was_checked),
	    HAND(a_reader_cannot_read_ahead),
	    HAND(words_about_a_capture_that_is_over_mean_nothing),
	    HAND(the_diagnostics_cannot_be_written_by_ctrl),
	    HAND(a_ctrl_of_minor_version_0_is_served),
	    BOTH(rows_of_all_workers_come_sorted_and_cut),
	    BOTH(a_worker_that_does_not_answer_is_a_timeout_and_no_more),
	    BOTH(without_a_dataplane_it_says_so),
	    BOTH(a_stream_has_every_packet_that_was_not_counted_as_dropped),
	    BOTH(packets_of_all_workers_come_in_the_order_of_their_times),
	    BOTH(a_count_is_of_all_workers_together),
	    BOTH(a_reader_that_goes_ends_the_capture),
	    BOTH(nonsense_in_a_ring_ends_the_capture),
	    cmocka_unit_test(switched_off_is_a_reason),
	    cmocka_unit_test(a_dataplane_without_diagnostics_is_not_asked),
	};
#undef HAND
#undef BOTH
	int failed;

	rig_init("diag");
	pool = rte_pktmbuf_pool_create("diag", 255, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rig_fini();
	return failed;
}
