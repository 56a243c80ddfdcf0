/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys of session tickets as a Secret holds them: under `0`, `1` and `2`, 80
 * bytes each (16 of the name, 32 for AES-256, 32 for HMAC-SHA-256). `0` seals,
 * all of them open. In a Secret that Weir rotates, `1` is the one that seals next, and `2` the one that
 * sealed before: so each key is known to all nodes a whole step before the first of them seals with it.
 */
#ifndef CTRL_TICKET_KEYS_H
#define CTRL_TICKET_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kube/node.h"
#include "weir/snapshot.h"

#define TICKET_KEY_BYTES 80u
#define TICKET_KEYS_ROTATED "weir.dev/ticket-keys-rotated" /* an annotation: when, RFC 3339 in UTC */
#define TICKET_KEYS_FAULT_BYTES 192u

/* EMPTY: it has no data at all, as one that is only there to be filled. */
enum ticket_keys_outcome { TICKET_KEYS_GOOD, TICKET_KEYS_EMPTY, TICKET_KEYS_WRONG };

/* What a Secret holds; *out is to be overwritten by the caller. why: what is wrong, which tells nothing of the bytes. */
enum ticket_keys_outcome ticket_keys_read(const struct node *secret, struct weir_ticket_keys *out, char why[TICKET_KEYS_FAULT_BYTES]);
/* When they were rotated, Unix time; 0: it does not say so, or not in a way that can be read. */
int64_t ticket_keys_rotated_s(const struct node *secret);
/* None at all: the dataplanes are to make their own. */
struct weir_ticket_keys ticket_keys_none(void);
/*
 * One step: the next one seals, the one that sealed opens, and a new one is next. Where there is no next one yet, that is
 * all that is made: none seals that was not there before. Of none two are made. False: no random numbers; nothing has changed.
 */
bool ticket_keys_rotate(struct weir_ticket_keys *k);
/*
 * The body of a request that writes them: of a merge patch (RFC 7396) of the object of this version, or, version NULL, of the
 * Secret to be made. To be given to ticket_keys_forget(). NULL: no memory.
 */
char *ticket_keys_json(const struct weir_ticket_keys *k, const char *ns, const char *name, const char *version, int64_t now_s);
void ticket_keys_forget(char *json);

#endif
