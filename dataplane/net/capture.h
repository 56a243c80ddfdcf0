/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets copied to a ring while a capture is on: those that a worker receives,
 * before it looks at them (so once, whoever owns them), and those that it gives
 * to a port. While none is on it costs a branch for each burst.
 *
 * Main fills in a struct net_capture for each worker and hands it over in a
 * message; the worker uses it until it has answered the message to stop.
 */
#ifndef NET_CAPTURE_H
#define NET_CAPTURE_H

#include <stdint.h>

#include "weir/diag.h"

struct net;

struct net_capture {
	/* main: w, before it is handed over */
	const struct weir_capture_spec *spec; /* checked, its filter too; the same for all workers */
	struct weir_diag_worker *out;	      /* zeroed in part: head, n_captured, n_dropped */
	uint8_t *ring;
	uint64_t ring_size; /* at least NET_CAPTURE_RING_MIN, a multiple of WEIR_CAPTURE_ALIGN */
	uint64_t tsc, unix_us; /* of the same moment */
	/* worker: w */
	int64_t unix_offset_us; /* Unix time less the time of its loop */
	/* main: w, worker: r. Bytes of the ring that the reader is done with; never over head. */
	uint64_t tail __attribute__((aligned(64)));
};

/* Room for the largest record twice, so that one that does not fit the ring's end fits its beginning. */
#define NET_CAPTURE_RING_MIN 262144u

/* Begins at once. There is none on. */
void net_capture_start(struct net *n, struct net_capture *c);
/* The worker does not use it any more; it may have ended by its count. */
void net_capture_stop(struct net *n);

#endif
