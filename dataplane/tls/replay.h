/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a ClientHello with early data came before (RFC 8446 8.2), as far as one worker can know. Hellos are noted by a hash, in
 * buckets of a cache line, for the stretch of time in work and the one before.
 *
 * Nothing is ever cleared as a whole: a bucket bears the number of its stretch, and is emptied when the first hello of a later stretch
 * of its parity falls into it. So a hello costs two buckets read and at most one of 64 bytes cleared, whatever time it is, and there is
 * no moment at which something is cleared already that counts still:
 *
 *  - Stretch n begins with the first hello that comes REPLAY_FRESH_US or later after the begin of stretch n - 1. What was noted in n is
 *    in the buckets of its parity that bear n. Those are written by stretches n - 2, n and n + 2 alone, so all of n is there, to the
 *    last, while n and n + 1 are in work: each hello is looked for in both.
 *  - When n + 2 begins, n + 1 has lasted for at least REPLAY_FRESH_US, so each hello of n is at least that old. OpenSSL takes it for
 *    stale by then: that nobody looks for it any more, or that its bucket is written over, changes nothing.
 *  - One that is found in the stretch before is noted in this one, too: should it be another, of the same hash, it is known as long.
 *  - When n + 1, too, was over before a hello came, the number goes on by 2, and no bucket bears a number that is looked for.
 *  - A hello that finds its bucket full is not noted, and early data of it are refused. So that it does not count as new later,
 *    a bucket that was full in the stretch before refuses all, as well: nobody knows what it had no place for.
 *  - Before the first REPLAY_FRESH_US are over, nothing is known of what came before the start: all is noted and refused.
 *
 * OpenSSL reckons by the clock on the wall, in whole seconds: so this holds as long as that is not set back by a second or more.
 *
 * Zeroed memory is an empty filter, not begun. The numbers of 32 bits last for 1,600 years.
 */
#ifndef TLS_REPLAY_H
#define TLS_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

/*
 * OpenSSL takes an age that is up to 9 s less or 1 s more than what it reckons, in whole seconds: a ClientHello is fresh
 * for 11 s.
 */
#define REPLAY_FRESH_US 12000000ull
#define REPLAY_BUCKETS 4096u
#define REPLAY_WAYS 15u

struct replay_bucket {
	uint32_t stretch; /* of what is in it */
	uint32_t seen[REPLAY_WAYS]; /* 32 bits of a secret hash each, from the first on; 0: free */
};

struct replays {
	uint64_t begin_us; /* of the stretch in work; 0: nothing came yet */
	uint64_t since_us; /* all that came from then on is known */
	uint32_t stretch;  /* its number */
	_Alignas(64) struct replay_bucket buckets[2][REPLAY_BUCKETS]; /* of even and of odd stretches */
};

enum replay_verdict {
	REPLAY_NEW,
	REPLAY_SEEN,
	REPLAY_TOO_SOON, /* it may have come before the start */
	REPLAY_FULL,	 /* there was no place for all that came */
};

/* Begins, if that was not done yet: nothing that came before is known. now_us is not 0. */
void replays_begin(struct replays *r, uint64_t now_us);
/* Notes a hello, and says whether it came before. hash: of what tells it from all others, under a secret. */
enum replay_verdict replays_note(struct replays *r, uint64_t hash, uint64_t now_us);

#endif
