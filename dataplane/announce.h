/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Announcing Weir's addresses: for each of them a route in the kernel, over the
 * TAP beside its port, which FRR redistributes. It is there exactly while
 * Weir serves; when the dataplane ends in whatever way, the kernel takes the TAP away, and the
 * routes with it. Main only.
 */
#ifndef WEIR_DATAPLANE_ANNOUNCE_H
#define WEIR_DATAPLANE_ANNOUNCE_H

#include <stdio.h>

#include "config.h"
#include "exception.h"
#include "weir/stats.h"

struct announce;

/* *out is NULL where weir.yaml has no section bgp. Nothing is announced yet. 0 or -errno; the log says why. All that is given outlives it. */
int announce_create(const struct config *config, const struct exception *x, struct weir_stats_region *stats, struct announce **out);
/* Withdraws all. NULL is fine. */
void announce_destroy(struct announce *a);

/*
 * Looks whether Weir serves, by what the statistics say of routes, links and draining, and announces or withdraws. is_well: all
 * workers go on; who was not well must be so for ANNOUNCE_WELL_MS first, since routers damp what comes and goes.
 * now_ms: of a clock that only rises. Call it several times a second. NULL is fine.
 */
#define ANNOUNCE_WELL_MS 3000
void announce_update(struct announce *a, bool is_well, uint64_t now_ms);
/* Withdraws at once, as the statistics say draining. True: something had been announced, and routers may need a while. */
bool announce_withdraw(struct announce *a);

/* frr.c: the configuration of FRR that the section bgp stands for. 0, or -errno where a password cannot be read; the log says which. */
int frr_write(const struct config *config, FILE *f);

#endif
