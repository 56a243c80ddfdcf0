/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wakes a thread that sleeps, at no system call while it does not. Producers
 * put something where its owner looks (a ring, say), then call wake_up(). The owner, before it sleeps:
 *
 *   wake_arm(), look at every source once more, and only if all are empty wait until wake_fd() can be read;
 *   then, and also if something was found, wake_disarm().
 *
 * Nothing is lost (Dekker): the owner's flag is stored before its last look,
 * and what a producer puts is stored before it loads the flag, each with a full
 * fence between. So either the owner sees what was put, or the producer sees the
 * flag. Of several producers one pays for the system call.
 */
#ifndef BASE_WAKE_H
#define BASE_WAKE_H

#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

/* Zeroed memory, or NULL, is of an owner that never sleeps: wake_up() is nothing there but a load. */
struct wake {
	uint32_t is_asleep; /* owner: sets, clears; producers: clear */
	int fd;		    /* an eventfd that does not block */
} __attribute__((aligned(128)));

/* 0 or -errno. */
int wake_init(struct wake *w);
/* Also of zeroed memory, or of one that could not be made. */
void wake_fini(struct wake *w);

/* What was put before is seen by the owner, now or once it wakes. Of any thread. */
static inline void wake_up(struct wake *w)
{
	const uint64_t one = 1;

	if (!w)
		return;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (__builtin_expect(__atomic_load_n(&w->is_asleep, __ATOMIC_RELAXED) == 0, 1))
		return;
	if (__atomic_exchange_n(&w->is_asleep, 0, __ATOMIC_ACQ_REL))
		(void)!write(w->fd, &one, sizeof(one)); /* fails only where it counts to 2^64 already */
}

/* Of the owner: all sources are to be looked at after this, before it sleeps. */
static inline void wake_arm(struct wake *w)
{
	__atomic_store_n(&w->is_asleep, 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static inline void wake_disarm(struct wake *w)
{
	__atomic_store_n(&w->is_asleep, 0, __ATOMIC_RELAXED);
}

/* Of the owner: takes a ring of the bell, if there is one. One that comes late, when the owner is awake, wakes it once in vain. */
void wake_take(struct wake *w);

#endif
