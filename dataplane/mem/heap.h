/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker's own memory for libraries that allocate (OpenSSL). A heap belongs to one thread at a
 * time, which takes blocks from it and gives them back without a lock and without a system call. Its range of
 * addresses is reserved when it is made and is its bound; memory in it that was used stays the heap's.
 *
 * Each block is preceded by 8 bytes that say whose it is. So any thread may free any block: one of
 * another thread's heap waits in a list until that thread takes it in, and a thread that is bound to no
 * heap uses libc's malloc().
 *
 * Keys and the secrets of sessions live here: the range is left out of core dumps, and locked into
 * memory as far as the process may. A block that is freed is not wiped: OPENSSL_clear_free() does that.
 */
#ifndef MEM_HEAP_H
#define MEM_HEAP_H

#include <stddef.h>
#include <stdint.h>

struct heap;

#define HEAP_ALIGN 16u
#define HEAP_HEADER 8u /* so that sizes of 8 more than a multiple of 16, which OpenSSL's objects mostly have, are not rounded */
#define HEAP_BLOCK_MAX (256u << 10) /* a larger block is refused */
/* With its header a block is a multiple of HEAP_ALIGN up to the first, of a step up to the second, then of an eighth of a power of two. */
#define HEAP_SMALL_MAX 1024u
#define HEAP_MEDIUM_MAX 8192u
#define HEAP_MEDIUM_STEP 64u

/*
 * A heap of at most max_bytes, headers of blocks included. They are addresses, and take memory
 * only once they are used: that of this NUMA node where it has some, -1: of any. NULL: there are not as many, or
 * too many heaps (errno).
 */
struct heap *heap_create(size_t max_bytes, int node);
/*
 * What it has no room for, and blocks larger than HEAP_BLOCK_MAX, libc gives: for a thread that may wait, and whose large blocks
 * are no secrets. Before it is used.
 */
void heap_let_spill(struct heap *h);
/*
 * No thread is bound to it any more. Returns the bytes of blocks that are still in use: what OpenSSL made for the whole
 * process while this thread was the first to ask for it. Then memory stays, and those blocks may be freed at any time.
 */
size_t heap_destroy(struct heap *h);

/* The calling thread takes its blocks from this heap, NULL: from libc. Returns the heap that it was bound to before. */
struct heap *heap_bind(struct heap *h);
/*
 * Takes memory for so many bytes beyond those in use, if that was not done. The kernel needs a fraction of a
 * millisecond, and on a virtual machine milliseconds, for each 2 MiB: so one other thread calls this now and then.
 */
void heap_make_ready(struct heap *h, size_t bytes);

/*
 * As malloc(), realloc() and free(), and as CRYPTO_set_mem_functions() wants them; file and line are not used.
 * Blocks are aligned to HEAP_ALIGN.
 * NULL, counted: the bound is reached, or n > HEAP_BLOCK_MAX. n = 0: NULL, and realloc frees.
 */
void *heap_malloc(size_t n, const char *file, int line);
void *heap_realloc(void *p, size_t n, const char *file, int line);
void heap_free(void *p, const char *file, int line);

/* Of a heap's memory that a block of n bytes takes, 1 to HEAP_BLOCK_MAX, with its header. */
static inline size_t heap_block_bytes(size_t n)
{
	size_t step = HEAP_ALIGN;

	n += HEAP_HEADER;
	if (n > HEAP_MEDIUM_MAX)
		step = (size_t)1 << (63 - __builtin_clzll(n - 1) - 3);
	else if (n > HEAP_SMALL_MAX)
		step = HEAP_MEDIUM_STEP;
	return (n + step - 1) / step * step;
}

/*
 * Makes OpenSSL of this process use these functions. Before anything else of OpenSSL is called, or it is -EBUSY, and
 * OpenSSL stays with malloc(). With AddressSanitizer it does nothing, so that every leak and overrun is seen.
 */
int heap_install(void);

struct heap_stats {
	uint64_t max_bytes;
	uint64_t carved_bytes; /* of the range, in blocks that are used or free; never less than before */
	uint64_t used_bytes;   /* in blocks in use, with their headers; those that other threads freed until they are taken in */
	uint64_t peak_bytes;   /* the most of used_bytes */
	uint64_t locked_bytes; /* of the range; 0: the process may not */
	uint64_t n_allocs;
	uint64_t n_failures;
	uint64_t n_foreign; /* blocks freed by other threads, taken in */
};

/* Of the heap's thread. */
void heap_get_stats(const struct heap *h, struct heap_stats *out);

#endif
