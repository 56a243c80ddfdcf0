/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <openssl/evp.h>

#include "mem/heap.h"

#define MIB ((size_t)1 << 20)

static void *take(size_t n)
{
	return heap_malloc(n, __FILE__, __LINE__);
}

static void give(void *p)
{
	heap_free(p, __FILE__, __LINE__);
}

static struct heap_stats stats_of(const struct heap *h)
{
	struct heap_stats s;

	heap_get_stats(h, &s);
	return s;
}

static uint64_t rnd(uint64_t *seed)
{
	uint64_t z = *seed += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	return z ^ (z >> 31);
}

/* Mostly small, as libraries ask for it, now and then up to the largest. */
static size_t rnd_size(uint64_t *seed)
{
	uint64_t r = rnd(seed);
	size_t max = r % 64 == 0 ? HEAP_BLOCK_MAX : r % 8 == 0 ? 20000 : 600;

	return 1 + (size_t)(r >> 8) % max;
}

/* What a block holds, by who wrote it: two blocks that overlap show. */
struct slot {
	uint8_t *p;
	size_t n;
	uint8_t fill;
};

static bool is_intact(const struct slot *s)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->p[i] != s->fill)
			return false;
	return true;
}

static void fill(struct slot *s, void *p, size_t n, uint64_t *seed)
{
	assert_non_null(p);
	assert_int_equal((uintptr_t)p % HEAP_ALIGN, 0);
	*s = (struct slot){.p = p, .n = n, .fill = (uint8_t)rnd(seed)};
	memset(p, s->fill, n);
}

static void resize(struct slot *s, size_t n, uint64_t *seed)
{
	size_t same = n < s->n ? n : s->n;
	uint8_t *p = heap_realloc(s->p, n, __FILE__, __LINE__);

	assert_non_null(p);
	for (size_t i = 0; i < same; i++)
		assert_int_equal(p[i], s->fill);
	fill(s, p, n, seed);
}

static void blocks_hold_what_was_written(void **state)
{
	enum { N = 500, STEPS = 100000 };
	static struct slot slots[N];
	struct heap *h = heap_create(256 * MIB, -1);
	uint64_t seed = 1;

	assert_non_null(h);
	heap_bind(h);
	for (unsigned i = 0; i < STEPS; i++) {
		struct slot *s = &slots[rnd(&seed) % N];

		assert_true(is_intact(s));
		if (!s->p) {
			size_t n = rnd_size(&seed);

			fill(s, take(n), n, &seed);
		} else if (rnd(&seed) % 3 == 0) {
			resize(s, rnd_size(&seed), &seed);
		} else {
			give(s->p);
			*s = (struct slot){0};
		}
	}
	for (unsigned i = 0; i < N; i++)
		give(slots[i].p);
	assert_int_equal(stats_of(h).used_bytes, 0);
	assert_int_equal(stats_of(h).n_failures, 0);
	assert_true(stats_of(h).peak_bytes <= stats_of(h).carved_bytes);
	heap_bind(NULL);
	assert_int_equal(heap_destroy(h), 0);
}

static void a_block_has_room_for_every_size(void **state)
{
	struct heap *h = heap_create(64 * MIB, -1);

	heap_bind(h);
	for (size_t n = 1; n <= HEAP_BLOCK_MAX; n += n < 5000 ? 1 : 509) {
		uint8_t *p = take(n), *q = take(n);
		uint64_t used = stats_of(h).used_bytes / 2;

		assert_int_equal((uintptr_t)p % HEAP_ALIGN, 0);
		assert_true(p + n <= q - HEAP_HEADER || q + n <= p - HEAP_HEADER);
		/* no more lost than a header and an eighth, or what alignment takes */
		assert_true(used >= n + HEAP_HEADER && used <= n + HEAP_HEADER + (n / 8 > 15 ? n / 8 : 15));
		memset(p, 1, n);
		memset(q, 2, n);
		assert_true(p[n - 1] == 1 && q[0] == 2);
		give(p);
		give(q);
	}
	heap_bind(NULL);
	assert_int_equal(heap_destroy(h), 0);
}

static void freed_blocks_are_used_again(void **state)
{
	struct heap *h = heap_create(MIB, -1);
	uint64_t carved;

	heap_bind(h);
	give(take(100));
	carved = stats_of(h).carved_bytes;
	for (unsigned i = 0; i < 100000; i++)
		give(take(89 + i % 16));
	assert_int_equal(stats_of(h).carved_bytes, carved);
	heap_bind(NULL);
	assert_int_equal(heap_destroy(h), 0);
}

static void nothing_is_given_beyond_the_bound(void **state)
{
	enum { BOUND = 100000 };
	void *p[BOUND / 1000];
	struct heap *h = heap_create(BOUND, -1);
	unsigned n = 0;

	heap_bind(h);
	while ((p[n] = take(1000)) != NULL)
		n++;
	assert_int_equal(n, BOUND / (1000 + HEAP_HEADER));
	assert_int_equal(stats_of(h).n_failures, 1);
	assert_true(stats_of(h).carved_bytes <= BOUND);
	assert_null(take(2000));
	give(p[--n]);
	/* a block of another class is taken where nothing else is left, but none that is far too large */
	p[n] = take(900);
	assert_non_null(p[n]);
	give(p[n]);
	while (n-- > 0)
		give(p[n]);
	assert_int_equal(stats_of(h).used_bytes, 0);
	heap_bind(NULL);
	assert_int_equal(heap_destroy(h), 0);
}

static void too_large_a_block_is_refused(void **state)
{
	struct heap *h = heap_create(64 * MIB, -1);
	char *p;

	heap_bind(h);
	assert_null(take(HEAP_BLOCK_MAX + 1));
	assert_null(take(SIZE_MAX));
	assert_int_equal(stats_of(h).n_failures, 2);
	p = take(HEAP_BLOCK_MAX);
	memset(p, 7, HEAP_BLOCK_MAX);
	assert_null(heap_realloc(p, HEAP_BLOCK_MAX + 1, "", 0));
	assert_int_equal(p[HEAP_BLOCK_MAX - 1], 7); /* as realloc(): it is still there */
	give(p);
	heap_bind(NULL);
	assert_null(take(SIZE_MAX));
	assert_int_equal(heap_destroy(h), 0);
}

static void a_heap_that_may_spill_gives_what_libc_has(void **state)
{
	struct heap *h = heap_create(MIB, -1);
	struct heap *before = heap_bind(h);
	uint8_t *large, *small;

	heap_let_spill(h);
	large = take(4 * MIB);
	assert_non_null(large);
	memset(large, 7, 4 * MIB);
	large = heap_realloc(large, 8 * MIB, __FILE__, __LINE__);
	assert_int_equal(large[4 * MIB - 1], 7);
	assert_int_equal(stats_of(h).used_bytes, 0);
	small = take(100);
	assert_int_not_equal(stats_of(h).used_bytes, 0);
	give(small);
	give(large);
	heap_bind(before);
	assert_int_equal(heap_destroy(h), 0);
}

static void size_zero_is_no_block(void **state)
{
	struct heap *h = heap_create(MIB, -1);

	for (unsigned i = 0; i < 2; i++) {
		void *p = take(5);

		assert_null(take(0));
		give(NULL);
		assert_null(heap_realloc(p, 0, "", 0)); /* frees */
		p = heap_realloc(NULL, 40, "", 0);
		assert_non_null(p);
		give(p);
		heap_bind(h);
	}
	assert_int_equal(stats_of(h).n_failures, 0);
	heap_bind(NULL);
	assert_int_equal(heap_destroy(h), 0);
}

static void a_block_that_grows_in_its_class_stays(void **state)
{
	struct heap *h = heap_create(MIB, -1);
	char *p, *q;

	heap_bind(h);
	p = take(17000); /* of a class of 18432, header included */
	memset(p, 3, 17000);
	assert_ptr_equal(heap_realloc(p, 18432 - HEAP_HEADER, "", 0), p);
	assert_ptr_equal(heap_realloc(p, 10000, "", 0), p);
	q = heap_realloc(p, 18433 - HEAP_HEADER, "", 0);
	assert_ptr_not_equal(q, p);
	assert_int_equal(q[9999], 3);
	p = heap_realloc(q, 64, "", 0); /* far less: what is left is of use to others */
	assert_ptr_not_equal(q, p);
	assert_int_equal(p[63], 3);
	give(p);
	assert_int_equal(stats_of(h).used_bytes, 0);
	heap_bind(NULL);
	assert_int_equal(heap_destroy(h), 0);
}

static void a_block_takes_what_is_told_of_it(void **state)
{
	struct heap *h = heap_create(4 * MIB, -1);

	heap_bind(h);
	for (size_t n = 1; n <= HEAP_BLOCK_MAX; n += n < 3000 ? 1 : 777) {
		char *p = take(n);

		assert_int_equal(stats_of(h).used_bytes, heap_block_bytes(n));
		give(p);
	}
	heap_bind(NULL);
	assert_int_equal(heap_destroy(h), 0);
}

/* The sizes of OpenSSL's objects: most are 8 more than a multiple of 16, and the largest of a session is not rounded by much. */
static void what_sessions_ask_for_is_hardly_rounded(void **state)
{
	assert_int_equal(heap_block_bytes(56), 64);
	assert_int_equal(heap_block_bytes(72), 80);
	assert_int_equal(heap_block_bytes(960), 976);
	assert_int_equal(heap_block_bytes(7608), 7616);
}

static void a_place_of_a_heap_is_given_back(void **state)
{
	for (unsigned i = 0; i < 5000; i++) { /* more than there may be at a time */
		struct heap *h = heap_create(MIB, -1);

		assert_non_null(h);
		heap_bind(h);
		give(take(100));
		heap_bind(NULL);
		assert_int_equal(heap_destroy(h), 0);
	}
}

static void too_many_heaps_are_refused(void **state)
{
	enum { MANY = 2048 };
	static struct heap *h[MANY];
	unsigned n = 0;

	errno = 0;
	while (n < MANY && (h[n] = heap_create(MIB, -1)) != NULL)
		n++;
	assert_in_range(n, 512, MANY - 1);
	assert_int_equal(errno, ENFILE);
	while (n-- > 0)
		assert_int_equal(heap_destroy(h[n]), 0);
}

static void a_block_of_libc_may_be_freed_by_a_bound_thread(void **state)
{
	struct heap *h = heap_create(MIB, -1);
	char *p = take(100), *q = take(100);

	memset(p, 9, 100);
	heap_bind(h);
	p = heap_realloc(p, 300, "", 0); /* the heap's from now on */
	assert_int_equal(p[99], 9);
	assert_int_equal(stats_of(h).used_bytes, 312 + HEAP_HEADER);
	give(p);
	give(q);
	assert_int_equal(stats_of(h).used_bytes, 0);
	heap_bind(NULL);
	assert_int_equal(heap_destroy(h), 0);
}

static void what_an_unbound_thread_frees_comes_back(void **state)
{
	struct heap *h = heap_create(MIB, -1);
	void *p[10];

	heap_bind(h);
	for (unsigned i = 0; i < 10; i++)
		p[i] = take(5000);
	assert_ptr_equal(heap_bind(NULL), h);
	for (unsigned i = 0; i < 10; i++)
		give(p[i]);
	assert_int_equal(stats_of(h).n_foreign, 0);
	heap_bind(h);
	p[0] = take(5000);
	assert_int_equal(stats_of(h).n_foreign, 10);
	assert_int_equal(stats_of(h).carved_bytes, 10 * (5048 + HEAP_HEADER));
	give(p[0]);
	heap_bind(NULL);
	assert_int_equal(heap_destroy(h), 0);
}

static void a_heap_outlives_its_destruction_while_blocks_are_in_use(void **state)
{
	struct heap *h = heap_create(MIB, -1);
	char *p;

	heap_bind(h);
	p = take(1000);
	heap_bind(NULL);
	assert_int_equal(heap_destroy(h), 1000 + HEAP_HEADER);
	memset(p, 1, 1000);
	give(p);
}

static bool is_resident(void *p)
{
	unsigned char there = 0;

	assert_int_equal(mincore((void *)((uintptr_t)p & ~(uintptr_t)4095), 1, &there), 0);
	return there & 1;
}

static void memory_that_was_made_ready_is_there(void **state)
{
	struct heap *h = heap_create(9 * MIB, 0);
	char *p[21];

	heap_bind(h);
	for (unsigned i = 0; i < 3; i++) {
		heap_make_ready(h, 2 * MIB); /* as another thread would, while the heap is in use */
		for (unsigned j = 0; j < 7; j++) {
			p[i * 7 + j] = take(256000);
			assert_true(is_resident(p[i * 7 + j]) && is_resident(p[i * 7 + j] + 255999));
			memset(p[i * 7 + j], (int)(i * 7 + j), 256000);
		}
	}
	heap_make_ready(h, 64 * MIB); /* beyond the end: up to it */
	for (unsigned i = 0; i < 21; i++) {
		assert_int_equal(p[i][0], i);
		assert_int_equal(p[i][255999], i);
		give(p[i]);
	}
	heap_bind(NULL);
	assert_int_equal(heap_destroy(h), 0);
}

/* Threads with a heap each, and one without, that hand blocks to each other. */
enum { N_THREADS = 4, N_BOX = 64, N_STEPS = 30000 };

struct exchange {
	struct slot *box[N_BOX]; /* any thread swaps one in */
	struct slot *gift[N_THREADS]; /* from the thread before */
	unsigned n_failed;
	pthread_barrier_t done;
};

struct party {
	struct exchange *x;
	unsigned id;
	struct heap_stats stats;
	size_t n_left;
};

/* A slot stands at the beginning of the block that it tells about. */
static struct slot *make(uint64_t *seed)
{
	size_t n = sizeof(struct slot) + rnd_size(seed) % 4000;
	struct slot *s = take(n);

	if (!s)
		return NULL;
	*s = (struct slot){.p = (uint8_t *)(s + 1), .n = n - sizeof(*s), .fill = (uint8_t)rnd(seed)};
	memset(s->p, s->fill, s->n);
	return s;
}

static struct slot *swap(struct exchange *x, unsigned i, struct slot *s)
{
	return __atomic_exchange_n(&x->box[i], s, __ATOMIC_ACQ_REL);
}

/* However the threads were scheduled: each gets back a block that another one freed. */
static void give_the_next_ones(struct party *p, uint64_t *seed)
{
	p->x->gift[(p->id + 1) % N_THREADS] = make(seed);
	pthread_barrier_wait(&p->x->done);
	give(p->x->gift[p->id]);
	pthread_barrier_wait(&p->x->done);
	for (unsigned i = 0; i < 64; i++) /* at one of them it looks at what others freed */
		give(make(seed));
}

static void *take_part(void *arg)
{
	struct party *p = arg;
	struct exchange *x = p->x;
	struct heap *h = p->id ? heap_create(64 * MIB, -1) : NULL;
	uint64_t seed = p->id;

	heap_bind(h);
	for (unsigned i = 0; i < N_STEPS; i++) {
		struct slot *mine = make(&seed);
		struct slot *s = swap(x, (unsigned)(rnd(&seed) % N_BOX), mine);

		if (!mine || (s && !is_intact(s)))
			__atomic_add_fetch(&x->n_failed, 1, __ATOMIC_RELAXED);
		give(s);
	}
	pthread_barrier_wait(&x->done);
	for (unsigned i = p->id; i < N_BOX; i += N_THREADS)
		give(swap(x, i, NULL));
	give_the_next_ones(p, &seed);
	pthread_barrier_wait(&x->done);
	heap_bind(NULL);
	if (h)
		p->stats = stats_of(h);
	p->n_left = heap_destroy(h);
	return NULL;
}

static void threads_may_free_each_others_blocks(void **state)
{
	static struct exchange x;
	struct party parties[N_THREADS];
	pthread_t threads[N_THREADS];

	pthread_barrier_init(&x.done, NULL, N_THREADS);
	for (unsigned i = 0; i < N_THREADS; i++) {
		parties[i] = (struct party){.x = &x, .id = i};
		assert_int_equal(pthread_create(&threads[i], NULL, take_part, &parties[i]), 0);
	}
	for (unsigned i = 0; i < N_THREADS; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&x.done);
	assert_int_equal(x.n_failed, 0);
	for (unsigned i = 0; i < N_THREADS; i++) {
		assert_int_equal(parties[i].n_left, 0);
		assert_int_equal(parties[i].stats.n_failures, 0);
		assert_int_equal(parties[i].stats.n_foreign > 0, i > 0);
	}
}

static void openssl_takes_blocks_of_the_bound_heap(void **state)
{
	struct heap *h = heap_create(4 * MIB, -1);
	EVP_MD_CTX *m;
	uint64_t used;

	heap_bind(h);
	m = EVP_MD_CTX_new();
	used = stats_of(h).used_bytes;
	EVP_MD_CTX_free(m);
	heap_bind(NULL);
#ifdef __SANITIZE_ADDRESS__
	assert_int_equal(used, 0);
#else
	assert_true(used > 0);
#endif
	heap_destroy(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_hold_what_was_written),
		cmocka_unit_test(a_block_has_room_for_every_size),
		cmocka_unit_test(freed_blocks_are_used_again),
		cmocka_unit_test(nothing_is_given_beyond_the_bound),
		cmocka_unit_test(too_large_a_block_is_refused),
		cmocka_unit_test(a_heap_that_may_spill_gives_what_libc_has),
		cmocka_unit_test(size_zero_is_no_block),
		cmocka_unit_test(a_block_that_grows_in_its_class_stays),
		cmocka_unit_test(a_block_takes_what_is_told_of_it),
		cmocka_unit_test(what_sessions_ask_for_is_hardly_rounded),
		cmocka_unit_test(a_place_of_a_heap_is_given_back),
		cmocka_unit_test(too_many_heaps_are_refused),
		cmocka_unit_test(a_block_of_libc_may_be_freed_by_a_bound_thread),
		cmocka_unit_test(what_an_unbound_thread_frees_comes_back),
		cmocka_unit_test(a_heap_outlives_its_destruction_while_blocks_are_in_use),
		cmocka_unit_test(memory_that_was_made_ready_is_there),
		cmocka_unit_test(threads_may_free_each_others_blocks),
		cmocka_unit_test(openssl_takes_blocks_of_the_bound_heap),
	};

	if (heap_install() != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
