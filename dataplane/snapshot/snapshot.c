/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a checked snapshot: the look-up tables, and limits of which the narrowest counts. */
#include "snapshot/snapshot.h"

uint32_t snapshot_slot_find(const struct weir_snapshot *s, struct weir_range slots, uint64_t hash, snapshot_key_fn *is_key,
			    const void *ctx)
{
	const struct weir_slot *table = snapshot_at(s, SLOTS, struct weir_slot, slots.first);
	uint32_t mask = slots.count - 1;
	uint32_t h = (uint32_t)hash;

	if (slots.count == 0)
		return WEIR_NONE;
	for (uint32_t i = 0; i < WEIR_MAX_PROBES; i++) {
		const struct weir_slot *slot = &table[(h + i) & mask];

		if (slot->index_plus1 == 0)
			return WEIR_NONE;
		if (slot->hash == h && is_key(ctx, slot->index_plus1 - 1))
			return slot->index_plus1 - 1;
	}
	return WEIR_NONE;
}

void snapshot_timeouts(struct weir_timeouts *t, const struct weir_timeouts *listener, const struct weir_timeouts *rule)
{
#define X(field, name) t->field = rule->field ? rule->field : listener->field ? listener->field : t->field;
	WEIR_TIMEOUTS(X)
#undef X
	if (rule->backend_ms && !rule->first_byte_ms)
		t->first_byte_ms = rule->backend_ms;
}
