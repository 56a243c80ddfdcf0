/* SPDX-License-Identifier: Apache-2.0 */
/* The table of 4-tuples. See flowtab.h. */
#include "tcp/flowtab.h"

#include <assert.h>
#include <emmintrin.h>
#include <string.h>

#include <rte_malloc.h>

#include "base/siphash.h"

static_assert(sizeof(struct flowtab_bucket) == 64, "a bucket is a cache line");

bool flowtab_create(struct flowtab *t, uint32_t n_max, uint32_t n_buckets, const uint8_t key[16], flowtab_flow_fn *flow_of,
		    const void *ctx)
{
	uint32_t n_overflow = n_max / FLOWTAB_WAYS + 1;

	memset(t, 0, sizeof(*t));
	t->buckets = rte_calloc("tcp-table", (size_t)n_buckets + n_overflow, sizeof(*t->buckets), 64);
	if (!t->buckets)
		return false;
	t->n_buckets = n_buckets;
	t->max = n_max;
	t->overflow = t->buckets + n_buckets;
	t->flow_of = flow_of;
	t->ctx = ctx;
	memcpy(t->key, key, sizeof(t->key));
	t->n_overflow = n_overflow;
	return true;
}

void flowtab_destroy(struct flowtab *t)
{
	rte_free(t->buckets);
	t->buckets = NULL;
}

uint64_t flowtab_hash(const struct flowtab *t, const struct ip_flow *flow)
{
	return siphash(flow, sizeof(*flow), t->key);
}

/* The upper half chooses the bucket, the lowest bits are the signature: they tell different things. */
static struct flowtab_bucket *first_bucket(const struct flowtab *t, uint64_t hash)
{
	return &t->buckets[((hash >> 32) * t->n_buckets) >> 32];
}

static struct flowtab_bucket *next_bucket(const struct flowtab *t, const struct flowtab_bucket *b)
{
	return b->next ? &t->overflow[b->next - 1] : NULL;
}

/* Two bits set for each slot that has this signature, free ones included. */
static uint32_t match(const struct flowtab_bucket *b, uint16_t signature)
{
	__m128i all = _mm_load_si128((const __m128i *)(const void *)b->signature);

	return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi16(all, _mm_set1_epi16((short)signature)));
}

uint32_t flowtab_find(const struct flowtab *t, uint64_t hash, const struct ip_flow *flow)
{
	for (const struct flowtab_bucket *b = first_bucket(t, hash); b; b = next_bucket(t, b)) {
		for (uint32_t bits = match(b, (uint16_t)hash); bits; bits &= bits - 1, bits &= bits - 1) {
			uint32_t number = b->number[__builtin_ctz(bits) / 2];

			if (number && memcmp(t->flow_of(t->ctx, number - 1), flow, sizeof(*flow)) == 0)
				return number - 1;
		}
	}
	return FLOWTAB_NONE;
}

static unsigned n_used(const struct flowtab_bucket *b)
{
	unsigned n = 0;

	while (n < FLOWTAB_WAYS && b->number[n])
		n++;
	return n;
}

/* The number of an empty overflow bucket, plus 1. There is always one: see the head of flowtab.h. */
static uint32_t take_overflow(struct flowtab *t)
{
	uint32_t at = t->free;

	if (!at) {
		assert(t->n_fresh < t->n_overflow);
		return ++t->n_fresh;
	}
	t->free = t->overflow[at - 1].next;
	t->overflow[at - 1].next = 0;
	return at;
}

void flowtab_add(struct flowtab *t, uint64_t hash, uint32_t number)
{
	struct flowtab_bucket *b = first_bucket(t, hash);
	unsigned n;

	assert(t->n < t->max && number < FLOWTAB_NONE);
	while (b->next)
		b = next_bucket(t, b);
	n = n_used(b);
	if (n == FLOWTAB_WAYS) {
		b->next = take_overflow(t);
		b = next_bucket(t, b);
		n = 0;
	}
	b->signature[n] = (uint16_t)hash;
	b->number[n] = number + 1;
	t->n++;
}

/* The slot of an entry, which is in the table. */
static uint32_t *slot_of(const struct flowtab *t, uint64_t hash, uint32_t number, struct flowtab_bucket **in)
{
	for (struct flowtab_bucket *b = first_bucket(t, hash); b; b = next_bucket(t, b))
		for (unsigned i = 0; i < FLOWTAB_WAYS; i++)
			if (b->number[i] == number + 1) {
				*in = b;
				return &b->number[i];
			}
	assert(!"an entry that is not in the table");
	return NULL;
}

void flowtab_remove(struct flowtab *t, uint64_t hash, uint32_t number)
{
	struct flowtab_bucket *b;
	uint32_t *slot = slot_of(t, hash, number, &b);
	struct flowtab_bucket *last = first_bucket(t, hash);
	struct flowtab_bucket *before = NULL;
	unsigned end;

	if (!slot)
		return;
	while (last->next) {
		before = last;
		last = next_bucket(t, last);
	}
	end = n_used(last) - 1; /* the chain's last entry fills the gap */
	b->signature[slot - b->number] = last->signature[end];
	*slot = last->number[end];
	last->number[end] = 0;
	if (end == 0 && before) {
		uint32_t at = before->next;

		before->next = 0;
		last->next = t->free;
		t->free = at;
	}
	t->n--;
}

void flowtab_replace(struct flowtab *t, uint64_t hash, uint32_t number, uint32_t by)
{
	struct flowtab_bucket *b;
	uint32_t *slot = slot_of(t, hash, number, &b);

	if (slot)
		*slot = by + 1;
}
