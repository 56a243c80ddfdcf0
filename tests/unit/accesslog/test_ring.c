/* SPDX-License-Identifier: Apache-2.0 */
/* The reader of the rings: in order, at the bounds, against a writer that does not wait, and against any bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "log_ring.h"

#define N_SLOTS 8u

static struct {
	struct weir_log_region region;
	struct weir_log_worker worker;
	struct weir_log_record records[N_SLOTS];
} mem;

static struct log_ring ring;
static struct log_losses losses;
static struct weir_log_record got;

static void start(uint64_t next)
{
	memset(&mem, 0, sizeof(mem));
	mem.region.workers_off = offsetof(typeof(mem), worker);
	mem.region.records_off = offsetof(typeof(mem), records);
	mem.region.n_slots = N_SLOTS;
	mem.region.n_workers = 1;
	losses = (struct log_losses){0};
	log_ring_init(&ring, &mem.region, 0, next);
}

/* As the worker does. Every byte of the text tells the number. */
static void put(uint64_t i)
{
	struct weir_log_record *r = &mem.records[i % N_SLOTS];

	__atomic_store_n(&r->seq, 0, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	r->start_us = i;
	for (unsigned k = 0; k < WEIR_N_LOG_TEXTS; k++)
		r->len[k] = (uint16_t)(i * (k + 1) % 70);
	memset(r->text, (int)(i & 0xff), sizeof(r->text));
	r->end_us = (uint32_t)i;
	__atomic_store_n(&r->seq, i + 1, __ATOMIC_RELEASE);
	__atomic_store_n(&mem.worker.head, i + 1, __ATOMIC_RELEASE);
}

static void assert_is(uint64_t i)
{
	size_t n = 0;

	assert_int_equal(got.seq, i + 1);
	assert_int_equal(got.start_us, i);
	assert_int_equal(got.end_us, (uint32_t)i);
	for (unsigned k = 0; k < WEIR_N_LOG_TEXTS; k++)
		n += got.len[k];
	for (size_t k = 0; k < n; k++)
		assert_int_equal((unsigned char)got.text[k], i & 0xff);
}

static void each_record_is_read_once_in_order(void **state)
{
	start(0);
	assert_false(log_ring_read(&ring, &got, &losses));
	for (uint64_t i = 0; i < 100; i++) {
		put(i);
		assert_true(log_ring_read(&ring, &got, &losses));
		assert_is(i);
		assert_false(log_ring_read(&ring, &got, &losses));
	}
	assert_int_equal(losses.n_overwritten, 0);
}

static void what_was_overwritten_is_counted_exactly(void **state)
{
	start(0);
	for (uint64_t n = 0; n < 40; n++) { /* so many ahead */
		uint64_t first = ring.next;
		uint64_t lost = losses.n_overwritten;
		uint64_t n_read = 0;

		for (uint64_t i = first; i < first + n; i++)
			put(i);
		while (log_ring_read(&ring, &got, &losses)) {
			n_read++;
			assert_is(got.seq - 1);
		}
		assert_int_equal(n_read, n < N_SLOTS ? n : N_SLOTS);
		assert_int_equal(losses.n_overwritten - lost, n - n_read);
	}
}

static void a_record_that_is_being_written_is_not_read(void **state)
{
	start(0);
	for (uint64_t i = 0; i < N_SLOTS; i++)
		put(i);
	mem.records[0].seq = 0; /* number 8 is under way: number 0 is lost */
	assert_true(log_ring_read(&ring, &got, &losses));
	assert_is(1);
	assert_int_equal(losses.n_overwritten, 1);
}

static void a_reader_may_begin_anywhere(void **state)
{
	start(5);
	for (uint64_t i = 0; i < 6; i++)
		put(i);
	assert_true(log_ring_read(&ring, &got, &losses));
	assert_is(5);
	assert_int_equal(log_ring_head(&mem.region, 0), 6);
	start(50); /* beyond what was ever written: nothing, until it is */
	put(0);
	assert_false(log_ring_read(&ring, &got, &losses));
	assert_int_equal(losses.n_overwritten, 0);
}

#define N_PUT 300000u

static void *write_all(void *arg)
{
	for (uint64_t i = 0; i < N_PUT; i++) {
		put(i);
		if (i % 50 == 0)
			sched_yield();
	}
	return NULL;
}

/* No record is ever a mixture, and none is unaccounted for. */
static void against_a_writer_that_does_not_wait(void **state)
{
	pthread_t t;
	uint64_t n_read = 0;
	uint64_t before = 0;

	start(0);
	assert_int_equal(pthread_create(&t, NULL, write_all, NULL), 0);
	while (n_read + losses.n_overwritten < N_PUT) {
		if (!log_ring_read(&ring, &got, &losses)) {
			sched_yield();
			continue;
		}
		assert_is(got.seq - 1);
		assert_true(got.seq > before);
		before = got.seq;
		n_read++;
	}
	assert_int_equal(pthread_join(t, NULL), 0);
	assert_int_equal(n_read + losses.n_overwritten, N_PUT);
	assert_int_equal(losses.n_malformed, 0);
}

/* Whatever stands there: no access outside (the sanitizers look), and an end. */
static void any_bytes_are_survived(void **state)
{
	static uint64_t words[sizeof(mem) / 8];

	srandom(1);
	for (int turn = 0; turn < 20000; turn++) {
		unsigned n = 0;

		for (size_t i = 0; i < sizeof(words) / 8; i++)
			words[i] = (uint64_t)random() << 33 ^ (uint64_t)random() << 11 ^ (uint64_t)random() >> (random() % 31);
		start((uint64_t)random() % 20);
		memcpy(&mem.worker, words, sizeof(mem.worker));
		memcpy(mem.records, words, sizeof(mem.records));
		if (turn % 2)
			mem.worker.head = ring.next + (uint64_t)random() % 20;
		for (unsigned i = 0; i < N_SLOTS; i++) {
			if (random() % 2)
				mem.records[i].seq = ring.next + (i + N_SLOTS - ring.next % N_SLOTS) % N_SLOTS + 1;
			for (unsigned k = 0; random() % 2 && k < WEIR_N_LOG_TEXTS; k++)
				mem.records[i].len[k] = (uint16_t)(random() % 160);
		}
		while (n < 100 && log_ring_read(&ring, &got, &losses)) {
			size_t sum = 0;

			for (unsigned k = 0; k < WEIR_N_LOG_TEXTS; k++)
				sum += got.len[k];
			assert_true(sum <= sizeof(got.text));
			n++;
		}
		assert_true(n <= N_SLOTS);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_record_is_read_once_in_order),
		cmocka_unit_test(what_was_overwritten_is_counted_exactly),
		cmocka_unit_test(a_record_that_is_being_written_is_not_read),
		cmocka_unit_test(a_reader_may_begin_anywhere),
		cmocka_unit_test(against_a_writer_that_does_not_wait),
		cmocka_unit_test(any_bytes_are_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
