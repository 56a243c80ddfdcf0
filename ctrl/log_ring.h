/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader of a worker's ring of the access log (weir/accesslog.h). Each
 * record is handed out once, or known to be lost. What the ring holds is
 * checked: no length leads out of a record, whatever the bytes are.
 */
#ifndef CTRL_LOG_RING_H
#define CTRL_LOG_RING_H

#include <stdbool.h>

#include "weir/accesslog.h"

struct log_ring {
	const struct weir_log_worker *worker;
	const struct weir_log_record *records;
	uint32_t n_slots;
	uint64_t next; /* number of the record that is read next */
};

struct log_losses {
	uint64_t n_overwritten; /* records that the worker wrote over before they were read */
	uint64_t n_malformed;	/* records whose lengths cannot be */
};

/* The ring of a worker of a checked region, to be read from record number next on. */
void log_ring_init(struct log_ring *r, const struct weir_log_region *region, unsigned worker, uint64_t next);
/* The number that the next record to be written will have. */
uint64_t log_ring_head(const struct weir_log_region *region, unsigned worker);

/* Copies the next record that can still be had, and adds those that cannot to losses. False: there is none. */
bool log_ring_read(struct log_ring *r, struct weir_log_record *out, struct log_losses *losses);

#endif
