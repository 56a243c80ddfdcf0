/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Free lists by size class, last in first out, over a range from which blocks are carved one after
 * another. A class is 16 bytes wide up to 1 KiB, 64 up to 8 KiB (an SSL object is about that), then an eighth of a power of two.
 * A block stays of its class for ever: a worker's sessions ask for the same sizes again and again.
 *
 * What is free is linked through its first 8 bytes; its header stays. Blocks that other threads free are pushed to
 * heap.foreign, which the owner takes as a whole (so there is no ABA) and sorts into its lists a few at a time.
 */
#include "mem/heap.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/mempolicy.h>

#include <openssl/crypto.h>

#define N_SMALL (HEAP_SMALL_MAX / HEAP_ALIGN)
#define N_MEDIUM ((HEAP_MEDIUM_MAX - HEAP_SMALL_MAX) / HEAP_MEDIUM_STEP)
#define N_CLASSES (N_SMALL + N_MEDIUM + 5 * 8 + 1) /* eight for each doubling up to HEAP_BLOCK_MAX, and that with its header */
#define N_HEAPS 1024u /* of a process */
#define HUGE_BYTES ((size_t)2 << 20)
#define TAKE_EACH 64u  /* allocations between two looks at what others have freed */
#define TAKE_MAX 32u   /* of those blocks at once */
#define LARGER_MAX 24u /* classes to look through for a larger block when the range is used up */

enum {
	LIVE = 0x4c,
	FREE = 0x46,
};

/* Before each block, so it lies 8 bytes before a multiple of HEAP_ALIGN. */
struct header {
	uint32_t n_bytes; /* as asked for */
	uint16_t owner;	  /* struct heap.id; 0: libc */
	uint8_t class;
	uint8_t state;
};
_Static_assert(sizeof(struct header) == HEAP_HEADER, "as heap_block_bytes() has it");
_Static_assert(N_CLASSES <= UINT8_MAX + 1, "struct header.class");

/* A block that is free. */
struct block {
	struct header header;
	struct block *next;
};

struct heap {
	struct block *free[N_CLASSES];
	struct block *taken; /* from foreign, not sorted in yet */
	uint8_t *next, *end; /* what was not carved yet; next is owner: w, any thread: r */
	struct heap_stats stats;
	uint8_t *range;
	size_t n_range;
	struct heap *next_kept;
	uint16_t id; /* its place in heaps[] */
	bool spills; /* to libc */
	struct block *foreign __attribute__((aligned(64))); /* any thread: push; owner: takes all */
	uint8_t *ready __attribute__((aligned(64))); /* the kernel has given memory up to here; of heap_make_ready()'s thread */
};

static __thread struct heap *bound;
static struct heap *heaps[N_HEAPS]; /* by id; who creates or destroys: w, any thread that has a block of it: r. 0 stays NULL */
static struct heap *kept; /* heaps that were destroyed with blocks in use; of the thread that destroys */

/* Of a block that has n bytes with its header. */
static unsigned class_of_block(size_t n)
{
	unsigned log2;

	if (n <= HEAP_SMALL_MAX)
		return (unsigned)((n - 1) / HEAP_ALIGN);
	if (n <= HEAP_MEDIUM_MAX)
		return N_SMALL + (unsigned)((n - 1 - HEAP_SMALL_MAX) / HEAP_MEDIUM_STEP);
	log2 = 63 - (unsigned)__builtin_clzll(n - 1);
	return N_SMALL + N_MEDIUM + (log2 - 13) * 8 + (unsigned)((n - 1) >> (log2 - 3) & 7);
}

static unsigned class_of(size_t n)
{
	return class_of_block(n + sizeof(struct header));
}

/* With the header. */
static size_t block_bytes(unsigned class)
{
	unsigned i = class - N_SMALL - N_MEDIUM;

	if (class < N_SMALL)
		return (class + 1) * HEAP_ALIGN;
	if (class < N_SMALL + N_MEDIUM)
		return HEAP_SMALL_MAX + (class - N_SMALL + 1) * HEAP_MEDIUM_STEP;
	return (size_t)(9 + i % 8) << (10 + i / 8);
}

/* Bytes that a block of this class has room for. */
static size_t class_bytes(unsigned class)
{
	return block_bytes(class) - sizeof(struct header);
}

static void *payload(struct block *b)
{
	return &b->next;
}

static struct block *block_of(void *p)
{
	return (struct block *)((uint8_t *)p - sizeof(struct header));
}

static void push(struct heap *h, struct block *b)
{
	b->next = h->free[b->header.class];
	h->free[b->header.class] = b;
}

static struct block *pop(struct heap *h, unsigned class)
{
	struct block *b = h->free[class];

	if (b)
		h->free[class] = b->next;
	return b;
}

static struct block *carve(struct heap *h, unsigned class)
{
	struct block *b = (struct block *)h->next;
	size_t n = block_bytes(class);

	if ((size_t)(h->end - h->next) < n)
		return NULL;
	__atomic_store_n(&h->next, h->next + n, __ATOMIC_RELAXED);
	h->stats.carved_bytes += n;
	b->header = (struct header){.owner = h->id, .class = (uint8_t)class, .state = FREE};
	return b;
}

/* Blocks that others have freed, at most so many of them. */
static void take_foreign(struct heap *h, unsigned n_max)
{
	if (!h->taken && __atomic_load_n(&h->foreign, __ATOMIC_RELAXED))
		h->taken = __atomic_exchange_n(&h->foreign, NULL, __ATOMIC_ACQUIRE);
	while (h->taken && n_max-- > 0) {
		struct block *b = h->taken;

		h->taken = b->next;
		h->stats.used_bytes -= block_bytes(b->header.class);
		h->stats.n_foreign++;
		push(h, b);
	}
}

/* The range is used up: everything that others gave back, then what is free and not much larger. */
static struct block *pop_any(struct heap *h, unsigned class)
{
	struct block *b;

	do
		take_foreign(h, UINT32_MAX);
	while (__atomic_load_n(&h->foreign, __ATOMIC_RELAXED));
	b = pop(h, class);
	for (unsigned i = class + 1; !b && i < N_CLASSES && i <= class + LARGER_MAX; i++)
		b = pop(h, i);
	return b;
}

static struct block *find(struct heap *h, unsigned class)
{
	struct block *b = pop(h, class);

	if (b)
		return b;
	take_foreign(h, TAKE_MAX);
	b = pop(h, class);
	if (!b)
		b = carve(h, class);
	return b ? b : pop_any(h, class);
}

static void *alloc(struct heap *h, size_t n)
{
	struct block *b = NULL;

	if (h->stats.n_allocs++ % TAKE_EACH == 0)
		take_foreign(h, TAKE_MAX);
	if (n <= HEAP_BLOCK_MAX)
		b = find(h, class_of(n));
	if (!b) {
		h->stats.n_failures++;
		return NULL;
	}
	assert(b->header.owner == h->id && b->header.state == FREE);
	b->header.n_bytes = (uint32_t)n;
	b->header.state = LIVE;
	h->stats.used_bytes += block_bytes(b->header.class);
	if (h->stats.used_bytes > h->stats.peak_bytes)
		h->stats.peak_bytes = h->stats.used_bytes;
	return payload(b);
}

/* The header is in the second half of what comes before the block, which so is aligned as libc's is. */
static void *alloc_libc(size_t n)
{
	uint8_t *start = n <= UINT32_MAX ? malloc(HEAP_ALIGN + n) : NULL;

	if (!start)
		return NULL;
	*(struct header *)(start + HEAP_ALIGN - sizeof(struct header)) = (struct header){.n_bytes = (uint32_t)n, .state = LIVE};
	return start + HEAP_ALIGN;
}

void *heap_malloc(size_t n, const char *file, int line)
{
	void *p;

	if (n == 0)
		return NULL;
	p = bound ? alloc(bound, n) : NULL;
	return p || (bound && !bound->spills) ? p : alloc_libc(n);
}

static void push_foreign(struct heap *h, struct block *b)
{
	b->next = __atomic_load_n(&h->foreign, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&h->foreign, &b->next, b, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
}

void heap_free(void *p, const char *file, int line)
{
	struct block *b;

	if (!p)
		return;
	b = block_of(p);
	assert(b->header.state == LIVE);
	if (b->header.state != LIVE)
		return; /* freed twice: better to lose it than to hand it out twice */
	b->header.state = FREE;
	if (!b->header.owner) {
		free((uint8_t *)p - HEAP_ALIGN);
	} else if (bound && b->header.owner == bound->id) {
		bound->stats.used_bytes -= block_bytes(b->header.class);
		push(bound, b);
	} else {
		push_foreign(__atomic_load_n(&heaps[b->header.owner], __ATOMIC_ACQUIRE), b);
	}
}

/* Of what libc gave, all that is known is what it was asked for: that n_bytes does not become less. */
static size_t room_of(const struct header *head)
{
	size_t n = head->owner ? class_bytes(head->class) : head->n_bytes;

	return head->owner && n > HEAP_BLOCK_MAX ? HEAP_BLOCK_MAX : n;
}

void *heap_realloc(void *p, size_t n, const char *file, int line)
{
	struct header *head;
	size_t room;
	void *to;

	if (!p || n == 0) {
		heap_free(p, file, line);
		return heap_malloc(n, file, line);
	}
	head = &block_of(p)->header;
	assert(head->state == LIVE);
	room = room_of(head);
	to = n <= room && n > room / 2 ? p : heap_malloc(n, file, line);
	if (!to && n <= room)
		to = p; /* it only would have been better off in a smaller one */
	if (to == p && head->owner)
		head->n_bytes = (uint32_t)n;
	if (!to || to == p)
		return to;
	memcpy(to, p, n < head->n_bytes ? n : head->n_bytes);
	heap_free(p, file, line);
	return to;
}

struct heap *heap_bind(struct heap *h)
{
	struct heap *before = bound;

	bound = h;
	return before;
}

static uint8_t *huge_floor(uint8_t *p)
{
	return p - (uintptr_t)p % HUGE_BYTES;
}

/* What the process may not do is left undone: a dump or a swapped page may then show keys, and memory be far away. */
static void prepare(struct heap *h, size_t n, int node)
{
	unsigned long nodes[16] = {0};
	unsigned bits = 8 * sizeof(*nodes);

	if (node >= 0 && (unsigned)node < 8 * sizeof(nodes)) {
		nodes[(unsigned)node / bits] = 1ul << ((unsigned)node % bits);
		syscall(SYS_mbind, h->next, n, MPOL_PREFERRED, nodes, 8 * sizeof(nodes) + 1, 0);
	}
	madvise(h->next, n, MADV_HUGEPAGE);
	madvise(h->next, n, MADV_DONTDUMP);
	if (mlock2(h->next, n, MLOCK_ONFAULT) == 0)
		h->stats.locked_bytes = n;
}

/* Before any block of it is given to anybody. */
static bool register_heap(struct heap *h)
{
	for (uint16_t id = 1; id < N_HEAPS; id++) {
		struct heap *none = NULL;

		h->id = id;
		if (__atomic_compare_exchange_n(&heaps[id], &none, h, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
			return true;
	}
	errno = ENFILE;
	return false;
}

static void drop_heap(struct heap *h)
{
	__atomic_store_n(&heaps[h->id], NULL, __ATOMIC_RELEASE);
	free(h);
}

struct heap *heap_create(size_t max_bytes, int node)
{
	size_t n = (max_bytes + HUGE_BYTES - 1) & ~(HUGE_BYTES - 1);
	struct heap *h = aligned_alloc(64, sizeof(*h));

	if (!h)
		return NULL;
	memset(h, 0, sizeof(*h));
	if (!register_heap(h)) {
		free(h);
		return NULL;
	}
	h->n_range = n + HUGE_BYTES;
	h->range = mmap(NULL, h->n_range, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (h->range == MAP_FAILED) {
		drop_heap(h);
		return NULL;
	}
	h->next = huge_floor(h->range + HUGE_BYTES - 1);
	h->ready = h->next;
	h->end = h->next + max_bytes;
	h->stats.max_bytes = max_bytes;
	prepare(h, n, node);
	h->next += HEAP_ALIGN - sizeof(struct header);
	return h;
}

size_t heap_destroy(struct heap *h)
{
	if (!h)
		return 0;
	if (bound == h)
		bound = NULL;
	do
		take_foreign(h, UINT32_MAX);
	while (__atomic_load_n(&h->foreign, __ATOMIC_RELAXED));
	if (h->stats.used_bytes) {
		h->next_kept = kept;
		kept = h;
		return h->stats.used_bytes;
	}
	munmap(h->range, h->n_range);
	drop_heap(h);
	return 0;
}

void heap_make_ready(struct heap *h, size_t bytes)
{
	uint8_t *next = __atomic_load_n(&h->next, __ATOMIC_RELAXED);
	uint8_t *from = huge_floor(next), *to;

	if (from < h->ready)
		from = h->ready;
	if (bytes > (size_t)(h->end - next))
		bytes = (size_t)(h->end - next);
	to = huge_floor(next + bytes + HUGE_BYTES - 1);
	if (to <= from)
		return;
	/* Changes no byte, so the owner may use them meanwhile. Where it cannot be done the owner's first touch does it. */
	madvise(from, (size_t)(to - from), MADV_POPULATE_WRITE);
	h->ready = to;
}

void heap_let_spill(struct heap *h)
{
	h->spills = true;
}

void heap_get_stats(const struct heap *h, struct heap_stats *out)
{
	*out = h->stats;
}

int heap_install(void)
{
#ifdef __SANITIZE_ADDRESS__
	return 0;
#else
	return CRYPTO_set_mem_functions(heap_malloc, heap_realloc, heap_free) == 1 ? 0 : -EBUSY;
#endif
}
