/* SPDX-License-Identifier: Apache-2.0 */
/* What TLS uses, and how the device that does its private-key operations fares: GET /api/v1/tls. */
#include "admin/view_pvt.h"
#include "publish.h"

static uint64_t load(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static json_int_t counter(const struct weir_worker_stats *w, enum weir_counter c)
{
	return (json_int_t)load(&w->counter[c]);
}

static json_int_t gauge(const struct weir_worker_stats *w, enum weir_gauge g)
{
	return (json_int_t)load(&w->gauge[g]);
}

static json_t *view_worker(const struct weir_worker_stats *w)
{
	return json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "up",
			 (int)(gauge(w, WEIR_G_TLS_OFFLOAD_UP) != 0),
			 "in_flight", gauge(w, WEIR_G_TLS_OFFLOAD_IN_FLIGHT), "queued", gauge(w, WEIR_G_TLS_OFFLOAD_QUEUED), "orphans",
			 gauge(w, WEIR_G_TLS_OFFLOAD_ORPHANS), "submitted", counter(w, WEIR_C_TLS_OFFLOAD_SUBMITTED), "completed",
			 counter(w, WEIR_C_TLS_OFFLOAD_COMPLETED), "failed", counter(w, WEIR_C_TLS_OFFLOAD_FAILED), "retried",
			 counter(w, WEIR_C_TLS_OFFLOAD_RETRIED), "timeouts", counter(w, WEIR_C_TLS_OFFLOAD_TIMEOUTS), "fallbacks",
			 counter(w, WEIR_C_TLS_OFFLOAD_FALLBACKS), "down", counter(w, WEIR_C_TLS_OFFLOAD_DOWN), "orphaned",
			 counter(w, WEIR_C_TLS_OFFLOAD_ORPHANED), "us", counter(w, WEIR_C_TLS_OFFLOAD_US));
}

static json_int_t sum(const struct weir_stats_region *r, enum weir_counter c)
{
	json_int_t n = 0;

	for (unsigned i = 0; i < r->n_workers; i++)
		n += counter(publish_worker_stats(r, i), c);
	return n;
}

json_t *view_tls(const struct sync *s)
{
	const struct weir_stats_region *r = publish_stats(s->publish);
	const struct weir_tls_info *info = r ? publish_tls_info(r) : NULL;
	json_t *workers = json_array();

	if (!info) {
		json_decref(workers);
		return json_pack("{s:b}", "connected", r != NULL);
	}
	for (unsigned i = 0; i < r->n_workers; i++)
		json_array_append_new(workers, view_worker(publish_worker_stats(r, i)));
	return json_pack("{s:b, s:s, s:s, s:s, s:I, s:I, s:{s:s, s:s, s:s, s:I, s:I, s:o}}", "connected", 1, "openssl", info->openssl, "groups",
			 info->groups, "no_hybrid", info->no_hybrid, "handshakes", sum(r, WEIR_C_TLS_HANDSHAKES), "post_quantum",
			 sum(r, WEIR_C_TLS_HANDSHAKES_HYBRID), "offload", "kind", info->offload_kind, "name", info->offload_name,
			 "why", info->offload_why, "jobs", (json_int_t)info->offload_jobs, "timeout_ms",
			 (json_int_t)info->offload_timeout_ms, "workers", workers);
}
