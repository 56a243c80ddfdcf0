/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of weir/paths.h, written and checked side by side. */
#ifndef PATHS_BLOB_H
#define PATHS_BLOB_H

#include <stddef.h>

#include "weir/msg.h"
#include "weir/paths.h"

/*
 * Of n paths (at most WEIR_MAX_PATHS) in any order, none twice. vtep: two. The blob is malloc'd, *size bytes; the same
 * paths give the same bytes. NULL: without memory.
 */
struct weir_paths *paths_blob_make(const struct weir_pod_path *list, size_t n, const struct weir_vtep *vtep, size_t *size);
/* WEIR_REFUSED_OK, or what is wrong with these bytes, which come from a disk. At an address that is a multiple of 8. */
enum weir_refusal paths_blob_check(const void *bytes, size_t n);
/* The paths behind the head. */
const struct weir_pod_path *paths_blob_list(const struct weir_paths *p);

#endif
