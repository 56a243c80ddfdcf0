/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small world of objects of Kubernetes, for tests: right ones and wrong ones,
 * whose names, host names and references meet often. The same seed, the same world.
 */
#ifndef TEST_WORLD_H
#define TEST_WORLD_H

#include "kube/store.h"
#include "translate/known_names.h"

/* kinds: 1: what backends depend on; 2: what routes do; 3: what certificates do; 4: streams; else all. has_files: from manifests, else from an API server. */
void world_begin(uint64_t seed, unsigned kinds, bool has_files);
/* Below n. */
uint32_t world_pick(uint32_t n);
bool world_chance(uint32_t percent);
/* An object more, or in the place of another (of a file: several, or none). */
void world_put(struct store *s);
/* Something else is known of a name. */
void world_change_name(struct known_names *names);
/* A change of any sort. */
void world_change(struct store *s);

#endif
