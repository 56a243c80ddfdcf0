/* SPDX-License-Identifier: Apache-2.0 */
/* Model to the contract's blobs: pure and deterministic. What it makes passes snapshot_check(). */
#ifndef TRANSLATE_COMPILE_H
#define TRANSLATE_COMPILE_H

#include "translate/model.h"

/*
 * Compiles the routes. *blob is malloc'd, *n bytes, for the caller to free.
 * Listeners of the same address, port and host are merged; matches that are
 * alike in host, path, method and conditions are ordered by precedence, the
 * shadowed ones kept behind. 0, -ENOMEM, or -EINVAL (two backends with one id;
 * a model that breaks model.h) with a problem added to m.
 */
int compile_snapshot(struct model *m, uint64_t generation, void **blob, size_t *n);

/* Compiles the endpoints of one backend, likewise. */
int compile_endpoints(const struct model_backend *b, uint64_t version, void **blob, size_t *n);

/* The stable id of a backend, by its name; and, cheaper, of one of a model. */
uint64_t compile_backend_id(const char *name);
uint64_t compile_id_of(const struct model_backend *b);

/* Writes a snapshot as text, one line an entry, in a fixed order: for golden tests and weirctl. */
struct weir_snapshot;
int compile_dump(const struct weir_snapshot *s, char **text);

#endif
