/* SPDX-License-Identifier: Apache-2.0 */
/* For compile.c: where a match belongs in the tree of a snapshot. */
#ifndef TRANSLATE_PLACE_PVT_H
#define TRANSLATE_PLACE_PVT_H

#include "base/slice.h"
#include "translate/model.h"

/* Where a match belongs, with all that is compared worked out once. */
struct place {
	const struct model_match *m;
	uint32_t listener; /* rank: equal for those of one address, port and host */
	uint8_t host_kind, path_kind;
	uint64_t host_head; /* the first bytes of the host, in their order */
	struct slice host, path;
};

/* "*.x" is a wildcard for x; "" is any. Returns enum weir_host_kind. */
uint8_t place_host_key(const char *host, bool one_label, struct slice *key);
void place_init(struct place *p, const struct model_match *m, uint32_t rank);
/* Less, equal or greater than 0, as strcmp(). Slices: as texts. Binds: address and port; listeners: the host, too. */
int place_compare_slices(struct slice a, struct slice b);
int place_compare_hosts(const struct place *a, const struct place *b);
int place_compare_paths(const struct place *a, const struct place *b);
int place_compare_binds(const struct model_listener *a, const struct model_listener *b);
int place_compare_listeners(const struct model_listener *a, const struct model_listener *b);
/* By listener, host, path and precedence; by bind, host, protocol and name. */
void place_sort(const struct place **list, size_t n);
void place_sort_listeners(const struct model_listener **list, size_t n);

#endif
