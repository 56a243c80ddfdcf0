/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of connections and captures over a real control socket, by a peer that
 * speaks by hand and lies. The workers are the test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>

#include "diag_args.h"
#include "rig.h"

#define QUERY_AT 0u
#define SPEC_AT 4096u

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
	wrong[8].protocols = 1u << WEIR_N_CONN_PROTOCOLS;
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

static void the_access_log_has_a_ring_for_each_worker_and_can_only_be_read(void **state)
{
	int fd;
	struct weir_log_region *r = ctl_log_create(3, 64, &fd);

	assert_non_null(r);
	assert_int_equal(r->magic, WEIR_LOG_MAGIC);
	assert_int_equal(r->n_workers, 3);
	assert_int_equal(r->n_slots, 64);
	assert_int_equal(r->record_size, sizeof(struct weir_log_record));
	assert_true(r->workers_off + 3 * sizeof(struct weir_log_worker) <= r->records_off);
	assert_true(r->records_off + 3ull * 64 * WEIR_LOG_RECORD <= r->size);
	assert_ptr_equal(ctl_log_worker(r, 1), (char *)r + r->workers_off + sizeof(struct weir_log_worker));
	assert_ptr_equal(mmap(NULL, r->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
	assert_int_equal(ftruncate(fd, 0), -1);
	ctl_log_destroy(r, fd);
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

int main(void)
{
#define HAND(f) cmocka_unit_test_setup_teardown(f, ctl_setup, ctl_teardown)
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
	    cmocka_unit_test(the_access_log_has_a_ring_for_each_worker_and_can_only_be_read),
	    cmocka_unit_test(switched_off_is_a_reason),
	};
#undef HAND
	int failed;

	rig_init("diag");
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rig_fini();
	return failed;
}
