/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for private keys and ticket keys of the main lcore: neither swapped
 * out nor dumped, and wiped. This covers what weir-ctrl sent, and main's own
 * ticket keys. What OpenSSL makes of a private key for a worker (EVP_PKEY, big numbers), and the states of its random number generators
 * and of sessions, lie in heaps of mem/heap.h, of each worker and of main (dump.h): locked as far as the process may, and not dumped,
 * either. CRYPTO_secure_malloc_init() would not do: it has room for a few kinds of numbers only, and one lock for all workers.
 * The arena, until weir-ctrl writes over it, is not dumped, but may be swapped out.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/log.h"
#include "base/wipe.h"
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
	wipe_registers();
	munmap(p, n); /* unlocks them */
}
