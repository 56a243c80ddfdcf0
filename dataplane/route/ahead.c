/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking ahead. With many routes nothing that a look-up reads is in a near
 * cache, and what it reads next depends on what it read before: each request
 * would wait half a dozen times. So a batch of requests takes these steps side
 * by side, and the memory of all of them is fetched at the same time. Nothing is
 * decided here: keys are compared by their hashes alone, and route_match() does
 * its work as if this had not been.
 */
#include "base/ip.h"
#include "route/route.h"

#define LINE 64u
#define RANGE_LINES 4u	 /* of one range at most */
#define PROBES 8u	 /* in a table: more of them are rare, since it is at most half full */
#define LENGTHS 2u	 /* prefixes tried */
#define RULES 4u	 /* of a path */
#define LARGE (256u << 10) /* bytes of a snapshot from which on this is worth while */

static void fetch(const void *p, size_t n)
{
	const char *line = (const char *)p - (uintptr_t)p % LINE;

	/* No __builtin_prefetch(): gcc takes a function that does nothing else for one without effect, and leaves its calls out. */
	for (unsigned i = 0; i < RANGE_LINES && line < (const char *)p + n; i++, line += LINE)
		__asm__ volatile("prefetcht0 %0" : : "m"(*line));
}

static const struct weir_slot *slots_at(const struct weir_snapshot *s, struct weir_range slots)
{
	return snapshot_at(s, SLOTS, struct weir_slot, slots.first);
}

static uint32_t find(const struct weir_snapshot *s, struct weir_range slots, uint32_t hash)
{
	const struct weir_slot *table = slots_at(s, slots);

	for (uint32_t i = 0; i < PROBES && slots.count; i++) {
		const struct weir_slot *slot = &table[(hash + i) & (slots.count - 1)];

		if (slot->index_plus1 == 0)
			break;
		if (slot->hash == hash)
			return slot->index_plus1 - 1;
	}
	return WEIR_NONE;
}

static void fetch_slot(const struct weir_snapshot *s, struct route_soon *q, const struct weir_listener *l)
{
	q->listener = l;
	q->hash = (uint32_t)route_key_hash(s->hash_seed, WEIR_HOST_EXACT, q->host);
	q->index = WEIR_NONE;
	if (l->slots.count)
		fetch(&slots_at(s, l->slots)[q->hash & (l->slots.count - 1)], 2 * sizeof(struct weir_slot));
}

static void fetch_vhost(const struct weir_snapshot *s, struct route_soon *q)
{
	uint32_t i = find(s, q->listener->slots, q->hash);

	if (i == WEIR_NONE)
		return;
	q->index = q->listener->vhosts.first + i;
	fetch(snapshot_vhost(s, q->index), sizeof(struct weir_vhost));
}

static void fetch_tables(const struct weir_snapshot *s, const struct route_soon *q)
{
	const struct weir_vhost *v = snapshot_vhost(s, q->index);

	fetch(snapshot_str(s, v->host).p, v->host.len);
	fetch(slots_at(s, v->slots), v->slots.count * sizeof(struct weir_slot));
	fetch(snapshot_path(s, v->paths.first), v->paths.count * sizeof(struct weir_path));
	fetch(snapshot_at(s, LENGTHS, uint32_t, v->lengths.first), LENGTHS * sizeof(uint32_t));
}

/* From the index of a vhost to that of a path. */
static uint32_t find_path(const struct weir_snapshot *s, const struct route_soon *q)
{
	const struct weir_vhost *v = snapshot_vhost(s, q->index);
	uint32_t i = WEIR_NONE;

	for (uint32_t k = 0; k < v->lengths.count && k < LENGTHS && i == WEIR_NONE; k++) {
		uint32_t n = snapshot_length(s, v->lengths.first + k);

		if (n < q->path.n && q->path.p[n] == '/')
			i = find(s, v->slots, (uint32_t)route_key_hash(s->hash_seed, WEIR_PATH_PREFIX, slice_of(q->path.p, n)));
	}
	if (i == WEIR_NONE)
		i = find(s, v->slots, (uint32_t)route_key_hash(s->hash_seed, WEIR_PATH_EXACT, q->path));
	return i == WEIR_NONE ? i : v->paths.first + i;
}

static void fetch_rules(const struct weir_snapshot *s, const struct route_soon *q)
{
	const struct weir_path *p = snapshot_path(s, q->index);

	fetch(snapshot_str(s, p->path).p, 1);
	fetch(snapshot_rule(s, p->rules.first), p->rules.count * sizeof(struct weir_rule));
}

static void fetch_splits(const struct weir_snapshot *s, const struct route_soon *q)
{
	const struct weir_path *p = snapshot_path(s, q->index);

	for (uint32_t k = 0; k < p->rules.count && k < RULES; k++) {
		const struct weir_rule *r = snapshot_rule(s, p->rules.first + k);

		fetch(snapshot_split(s, r->splits.first), sizeof(struct weir_split));
		if (r->conds.count)
			fetch(snapshot_cond(s, r->conds.first), sizeof(struct weir_cond));
	}
}

bool route_is_large(const struct weir_snapshot *s)
{
	return s->size >= LARGE;
}

void route_look_ahead(const struct weir_snapshot *s, struct route_soon *q, unsigned n)
{
	unsigned n_left = 0;

	for (unsigned i = 0; i < n; i++) {
		const struct weir_listener *l = route_find_listener(s, &q[i].local, q[i].port, q[i].host);

		if (!l)
			continue;
		q[n_left] = q[i];
		fetch_slot(s, &q[n_left++], l);
	}
	for (unsigned i = 0; i < n_left; i++)
		fetch_vhost(s, &q[i]);
	for (unsigned i = 0; i < n_left; i++)
		if (q[i].index != WEIR_NONE)
			fetch_tables(s, &q[i]);
	for (unsigned i = 0; i < n_left; i++)
		if (q[i].index != WEIR_NONE && (q[i].index = find_path(s, &q[i])) != WEIR_NONE)
			fetch(snapshot_path(s, q[i].index), sizeof(struct weir_path));
	for (unsigned i = 0; i < n_left; i++)
		if (q[i].index != WEIR_NONE)
			fetch_rules(s, &q[i]);
	for (unsigned i = 0; i < n_left; i++)
		if (q[i].index != WEIR_NONE)
			fetch_splits(s, &q[i]);
}
