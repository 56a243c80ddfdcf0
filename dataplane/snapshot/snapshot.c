/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a checked snapshot: the look-up tables. */
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
