/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small file beside the control socket (its name and ".life") that outlives the dataplane: how the ones before ended. It is
 * mapped, so that a signal's handler can write to it, and locked for as long as the process lives, so that two dataplanes
 * never have one control socket.
 *
 * At any moment it says how this one would have ended if it vanished now: START_FAILED at first, KILLED once it serves.
 */
#ifndef WEIR_DATAPLANE_LIFE_H
#define WEIR_DATAPLANE_LIFE_H

#include "weir/stats.h"

/*
 * 0, or -EBUSY after logging who has it. Without the file (the folder cannot be written to) it warns, and goes on: then
 * nothing is known of the ones before.
 */
int life_open(const char *control_socket);
/* Of the ones before. */
void life_get(struct weir_life_info *out);
/* How this one ends, or would. worker: -1: none. Async-signal-safe, and so is a crash's signal. */
void life_set(enum weir_end end, int sig, int worker);
/* It still lives at this Unix time. */
void life_touch(uint64_t unix_s);

#endif
