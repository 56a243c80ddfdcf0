/* SPDX-License-Identifier: Apache-2.0 */
/* See log_ring.h. The order of the loads is the one that weir/accesslog.h tells. */
#include "log_ring.h"

#include <stddef.h>
#include <string.h>

enum outcome { GOOD, OVERWRITTEN, MALFORMED };

static const struct weir_log_worker *worker_of(const struct weir_log_region *region, unsigned i)
{
	return (const struct weir_log_worker *)(const void *)((const char *)region + region->workers_off) + i;
}

uint64_t log_ring_head(const struct weir_log_region *region, unsigned worker)
{
	return __atomic_load_n(&worker_of(region, worker)->head, __ATOMIC_ACQUIRE);
}

void log_ring_init(struct log_ring *r, const struct weir_log_region *region, unsigned worker, uint64_t next)
{
	const char *records = (const char *)region + region->records_off;

	*r = (struct log_ring){
	    .worker = worker_of(region, worker),
	    .records = (const struct weir_log_record *)(const void *)records + (size_t)worker * region->n_slots,
	    .n_slots = region->n_slots,
	    .next = next,
	};
}

static size_t text_bytes(const struct weir_log_record *r)
{
	size_t n = 0;

	for (unsigned i = 0; i < WEIR_N_LOG_TEXTS; i++)
		n += r->len[i];
	return n;
}

/* What its texts may take: a long tunnel's end stands behind them. */
static size_t text_room(const struct weir_log_record *r)
{
	return r->flags & WEIR_LOG_LONG_FLAG ? sizeof(r->text_if_long) : sizeof(r->text);
}

/* The lengths are read once, so what was checked is what is used. */
static enum outcome copy(const struct weir_log_record *slot, uint64_t number, struct weir_log_record *out)
{
	bool is_sound;

	if (__atomic_load_n(&slot->seq, __ATOMIC_ACQUIRE) != number + 1)
		return OVERWRITTEN;
	memcpy(out, slot, offsetof(struct weir_log_record, text));
	is_sound = text_bytes(out) <= text_room(out);
	if (is_sound)
		memcpy(out->text, slot->text, text_bytes(out));
	if (out->flags & WEIR_LOG_LONG_FLAG)
		memcpy(&out->long_end_us, &slot->long_end_us, sizeof(out->long_end_us));
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (__atomic_load_n(&slot->seq, __ATOMIC_RELAXED) != number + 1)
		return OVERWRITTEN;
	return is_sound ? GOOD : MALFORMED;
}

bool log_ring_read(struct log_ring *r, struct weir_log_record *out, struct log_losses *losses)
{
	for (;;) {
		uint64_t head = __atomic_load_n(&r->worker->head, __ATOMIC_ACQUIRE);
		uint64_t ahead = head - r->next;

		if (ahead == 0 || ahead > INT64_MAX) /* of the latter no worker would have written so much */
			return false;
		if (ahead > r->n_slots) {
			losses->n_overwritten += ahead - r->n_slots;
			r->next = head - r->n_slots;
		}
		switch (copy(&r->records[r->next % r->n_slots], r->next, out)) {
		case GOOD:
			r->next++;
			return true;
		case OVERWRITTEN:
			losses->n_overwritten++;
			break;
		case MALFORMED:
			losses->n_malformed++;
			break;
		}
		r->next++;
	}
}
