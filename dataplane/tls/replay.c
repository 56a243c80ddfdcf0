/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/replay.h"

#include <string.h>

_Static_assert(sizeof(struct replay_bucket) == 64, "a bucket is a cache line");

static void turn(struct replays *r, uint64_t now_us)
{
	const uint64_t age_us = now_us - r->begin_us;

	if (age_us < REPLAY_FRESH_US)
		return;
	r->stretch += age_us < 2 * REPLAY_FRESH_US ? 1 : 2;
	r->begin_us = now_us;
}

void replays_begin(struct replays *r, uint64_t now_us)
{
	if (r->begin_us)
		return;
	r->stretch = 2; /* buckets bear 0: neither this one nor the one before */
	r->begin_us = r->since_us = now_us;
}

/* How many are in it; n: where this one is, or that number. */
static unsigned find(const struct replay_bucket *b, uint32_t of, bool *is_there)
{
	unsigned n = 0;

	while (n < REPLAY_WAYS && b->seen[n] && b->seen[n] != of)
		n++;
	*is_there = n < REPLAY_WAYS && b->seen[n] == of;
	return n;
}

enum replay_verdict replays_note(struct replays *r, uint64_t hash, uint64_t now_us)
{
	const uint32_t of = (uint32_t)(hash >> 32) | 1, at = (uint32_t)hash % REPLAY_BUCKETS;
	struct replay_bucket *now, *before;
	bool is_there = false, was_there = false, was_full = false;
	unsigned n;

	replays_begin(r, now_us);
	turn(r, now_us);
	now = &r->buckets[r->stretch & 1][at];
	before = &r->buckets[~r->stretch & 1][at];
	if (before->stretch == r->stretch - 1)
		was_full = find(before, of, &was_there) == REPLAY_WAYS;
	if (now->stretch != r->stretch)
		*now = (struct replay_bucket){.stretch = r->stretch};
	n = find(now, of, &is_there);
	if (is_there)
		return REPLAY_SEEN;
	if (n < REPLAY_WAYS)
		now->seen[n] = of;
	if (was_there)
		return REPLAY_SEEN;
	if (n == REPLAY_WAYS || was_full)
		return REPLAY_FULL;
	return now_us - r->since_us < REPLAY_FRESH_US ? REPLAY_TOO_SOON : REPLAY_NEW;
}
