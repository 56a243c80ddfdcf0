/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir-ctrl's end of the diagnostics (weir/diag.h): one list of connections and
 * one capture at a time. Nothing waits: what was asked for is looked after by
 * diag_poll() and by the dataplane's answers, and its state can be asked.
 *
 * A result is 0, -errno, or (above 0) the enum weir_refusal that the dataplane
 * gave.
 */
#ifndef CTRL_DIAG_H
#define CTRL_DIAG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "publish.h"
#include "weir/diag.h"

#define DIAG_TIMEOUT_MS 10000u /* for the dataplane's answer; then -ETIMEDOUT */
#define DIAG_POLL_MS 5	       /* between two looks while a capture is on: the workers ring no bell */

struct diag;

struct diag_row {
	unsigned worker;
	struct weir_conn_row row;
};

/* A list of connections: rows in the order that the query asks for, query.limit of them at most. */
struct diag_list {
	uint64_t n_walked, n_matched;
	size_t n_rows;
	struct diag_row *rows;
};

enum diag_state {
	DIAG_NONE,
	DIAG_WAITING, /* for the dataplane */
	DIAG_READY,   /* the list is there; the capture is on, or its last packets have not been read */
	DIAG_FAILED,  /* see the result */
};

/* p outlives it, and has no other listener. NULL without memory. */
struct diag *diag_create(struct publish *p);
void diag_destroy(struct diag *d);
void diag_poll(struct diag *d, uint64_t now_ms);
/* Milliseconds until diag_poll() wants to be called, -1: it does not. */
int diag_timeout(const struct diag *d);
const char *diag_result_text(int result);

/* Asks for a list. 0, or why not at once (-EBUSY: there is one, until diag_walk_end()). */
int diag_walk(struct diag *d, const struct weir_conn_query *q, uint64_t now_ms);
enum diag_state diag_walk_state(const struct diag *d, int *result);
/* When it is READY; valid until diag_walk_end(). */
const struct diag_list *diag_walk_list(const struct diag *d);
void diag_walk_end(struct diag *d);

struct diag_totals {
	uint64_t n_packets; /* read */
	uint64_t n_dropped; /* that a ring had no room for */
};

/* Begins a capture; of all workers together, spec->count packets are read at most. Results as above. */
int diag_capture(struct diag *d, const struct weir_capture_spec *spec, uint64_t now_ms);
enum diag_state diag_capture_state(const struct diag *d, int *result);
/*
 * The next bytes of a pcap file (microseconds, Ethernet, this machine's byte
 * order). 0: none now; none any more if diag_capture_is_over().
 */
size_t diag_capture_read(struct diag *d, char *out, size_t cap);
bool diag_capture_is_over(const struct diag *d);
/* True if diag_capture_read() would give something. */
bool diag_capture_has_bytes(const struct diag *d);
/* Ends it in order: what is in the rings can be read. */
void diag_capture_stop(struct diag *d, uint64_t now_ms);
struct diag_totals diag_capture_totals(const struct diag *d);
/* Forgets it, whatever its state. */
void diag_capture_end(struct diag *d, uint64_t now_ms);

#endif
