/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory of manifests (*.yaml, *.yml, not beginning with '.') as the
 * source of objects, followed with inotify. Not recursive. A missing file
 * mid-read, an editor's rename dance and an inotify overflow lead to a
 * rescan, never to a stale state.
 */
#ifndef CTRL_SOURCE_DIR_H
#define CTRL_SOURCE_DIR_H

#include <stdint.h>

#include "kube/store.h"

struct source_dir;

/* Reads every file into the store and begins to follow. NULL and errno after logging. */
struct source_dir *source_dir_create(const char *path, struct store *s);
void source_dir_destroy(struct source_dir *d);
/* For epoll. */
int source_dir_fd(const struct source_dir *d);
/* Applies what has changed. Returns the mask of changed kinds as store_load_yaml() does. */
uint64_t source_dir_poll(struct source_dir *d);

#endif
