/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Gateways were given of the address pool last. Until a Gateway's status tells of its addresses, and that takes
 * a write and its way back, the next translation would choose anew, perhaps otherwise, since another Gateway has come
 * in between; and both would be told, one behind the other, and so on. Who reads it here stays with what was chosen.
 */
#ifndef TRANSLATE_HELD_H
#define TRANSLATE_HELD_H

#include "kube/store.h"
#include "translate/addresses.h"

struct held_addresses;

struct held_addresses *held_create(void);
void held_destroy(struct held_addresses *h);
/* Those of this Gateway, known by its uid beside its name, to out; returns how many. */
size_t held_get(const struct held_addresses *h, const struct kube_object *gateway, struct weir_ip out[ADDRESSES_MAX]);
/*
 * All that is noted between these two is what is held from then on; nothing else is. Gateways are noted by (namespace, name),
 * in the order of the store. Without memory the process ends.
 */
void held_begin(struct held_addresses *h);
void held_note(struct held_addresses *h, const struct kube_object *gateway, const struct weir_ip *addrs, size_t n);
void held_end(struct held_addresses *h);

#endif
