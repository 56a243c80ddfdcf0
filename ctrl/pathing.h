/* SPDX-License-Identifier: Apache-2.0 */
/* Ways to pods: follows the Nodes of the store, and hands to the dataplane what is others than before. */
#ifndef CTRL_PATHING_H
#define CTRL_PATHING_H

#include "paths/collect.h"
#include "sync.h"

struct pathing;

/* o, and s with its store and publish, must outlive it; s has it from then on. NULL: no memory. */
struct pathing *pathing_create(const struct paths_options *o, struct sync *s);
void pathing_destroy(struct pathing *x);
/*
 * After changes of the store, before sync_run(): the mask of changed kinds, UINT64_MAX: all. What is wrong with Nodes is logged
 * when it appears. Without memory it is tried again by the next call.
 */
void pathing_run(struct pathing *x, uint64_t changed);
/* Before the first run: what an earlier weir-ctrl has saved, checked; copied. 0 or -ENOMEM. */
int pathing_restore(struct pathing *x, const struct weir_paths *saved, size_t n);
/* What was found in the last run. */
const struct paths *pathing_now(const struct pathing *x);
const struct paths_options *pathing_options(const struct pathing *x);
/* Another number when the dataplane has been told something else. */
uint64_t pathing_version(const struct pathing *x);

#endif
