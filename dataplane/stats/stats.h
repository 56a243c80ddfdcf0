/* SPDX-License-Identifier: Apache-2.0 */
/* Counting: plain increments of the worker's own block. See weir/stats.h. */
#ifndef STATS_STATS_H
#define STATS_STATS_H

#include "weir/stats.h"

static inline void stat_add(struct weir_worker_stats *s, enum weir_counter c, uint64_t n)
{
	s->counter[c] += n;
}

static inline void stat_inc(struct weir_worker_stats *s, enum weir_counter c)
{
	s->counter[c]++;
}

static inline void stat_set(struct weir_worker_stats *s, enum weir_gauge g, uint64_t v)
{
	s->gauge[g] = v;
}

/* Counts one packet, connection or request under its reason. */
static inline void stat_reason(struct weir_worker_stats *s, enum weir_reason r)
{
	s->reason[r]++;
}

/* Names and help texts of the X-macro lists, indexed by enumerator. */
extern const char *const stat_counter_names[WEIR_N_COUNTERS];
extern const char *const stat_counter_help[WEIR_N_COUNTERS];
extern const char *const stat_gauge_names[WEIR_N_GAUGES];
extern const char *const stat_gauge_help[WEIR_N_GAUGES];
extern const char *const stat_reason_names[WEIR_N_REASONS];
extern const char *const stat_reason_help[WEIR_N_REASONS];
enum weir_reason_kind stat_reason_kind(enum weir_reason r);
/* The name of its kind: "packet", "connection", "tls", "request". */
const char *stat_reason_kind_name(enum weir_reason r);

#endif
