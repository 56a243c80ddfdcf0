/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One end of a ring of weir/msg.h. The own index is kept in private memory
 * and only written to the ring; the peer's index is read once for each call
 * and checked. A peer that writes nonsense can break its connection, and
 * nothing else.
 */
#ifndef BASE_SPSC_H
#define BASE_SPSC_H

#include <stdbool.h>

#include "weir/msg.h"

enum spsc_outcome {
	SPSC_DONE,
	SPSC_WAIT,   /* full, or empty */
	SPSC_BROKEN, /* the peer's index is impossible */
};

struct spsc {
	struct weir_ring *ring;
	uint64_t index; /* head of a producer, tail of a consumer */
};

/* Either end of a ring that is all zero, or whose ends have not moved. */
void spsc_init(struct spsc *s, struct weir_ring *ring);
enum spsc_outcome spsc_put(struct spsc *s, const struct weir_msg *m);
/* Copies the message once, so that *m is private. */
enum spsc_outcome spsc_get(struct spsc *s, struct weir_msg *m);

#endif
