/* SPDX-License-Identifier: Apache-2.0 */
#include "base/spsc.h"

#include <string.h>

void spsc_init(struct spsc *s, struct weir_ring *ring)
{
	s->ring = ring;
	s->index = 0;
}

enum spsc_outcome spsc_put(struct spsc *s, const struct weir_msg *m)
{
	uint64_t used = s->index - __atomic_load_n(&s->ring->tail, __ATOMIC_ACQUIRE);

	if (used > WEIR_RING_SLOTS)
		return SPSC_BROKEN;
	if (used == WEIR_RING_SLOTS)
		return SPSC_WAIT;
	memcpy(&s->ring->slots[s->index % WEIR_RING_SLOTS], m, sizeof(*m));
	s->index++;
	__atomic_store_n(&s->ring->head, s->index, __ATOMIC_RELEASE);
	return SPSC_DONE;
}

enum spsc_outcome spsc_get(struct spsc *s, struct weir_msg *m)
{
	uint64_t filled = __atomic_load_n(&s->ring->head, __ATOMIC_ACQUIRE) - s->index;

	if (filled > WEIR_RING_SLOTS)
		return SPSC_BROKEN;
	if (filled == 0)
		return SPSC_WAIT;
	memcpy(m, &s->ring->slots[s->index % WEIR_RING_SLOTS], sizeof(*m));
	/* The compiler must not go back to the slot for a field: it may have changed by then. */
	__asm__ volatile("" : : "r"(m) : "memory");
	s->index++;
	__atomic_store_n(&s->ring->tail, s->index, __ATOMIC_RELEASE);
	return SPSC_DONE;
}
