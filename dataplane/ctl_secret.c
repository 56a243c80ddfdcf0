/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for private keys and ticket keys of the main lcore: neither swapped
 * out nor dumped, and wiped. This covers what weir-ctrl sent, and main's own
 * ticket keys. It does not cover
 *
 * - what OpenSSL makes of a private key for a worker: EVP_PKEY, big numbers, and the states of its random number generators
 *   and of sessions lie in the heap of the process. OpenSSL wipes what it frees, but
 *   the pages can be swapped out, and they are in a core dump. CRYPTO_secure_malloc_init() would not
 *   change much: it has room for a few kinds of numbers only, and one lock for all workers.
 * - the arena, until weir-ctrl writes over it: it is not dumped, but may be swapped out.
 *
 * So where keys matter, there should be neither swap nor core dumps for this process.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/log.h"
#include "ctl_pvt.h"

static void lock(void *p, size_t n)
{
	static bool has_warned;

	if (mlock(p, n) == 0 || has_warned)
		return;
	has_warned = true;
	log_warn("private keys may be swapped out, since they cannot be locked into memory: %s (RLIMIT_MEMLOCK)", strerror(errno));
}

void *ctl_secret_create(size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	(void)madvise(p, n, MADV_DONTDUMP); /* fails only where the kernel has no memory for it; then the bytes are no less right */
	lock(p, n);
	return p;
}

void ctl_secret_destroy(void *p, size_t n)
{
	if (!p)
		return;
	explicit_bzero(p, n);
	munmap(p, n); /* unlocks them */
}
