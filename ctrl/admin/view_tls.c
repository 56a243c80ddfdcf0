/* SPDX-License-Identifier: Apache-2.0 */
/* What TLS uses, and how the device that does its private-key operations fares: GET /api/v1/tls. */
#include "admin/view_pvt.h"
#include "publish.h"
#include "ticket_secret.h"

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

/* Whose keys seal session tickets. */
static json_t *view_tickets(const struct weir_stats_region *r)
{
	static const char *const sources[] = {"none", "own", "shared"};
	uint32_t source = __atomic_load_n(&r->ticket_source, __ATOMIC_RELAXED);

	return json_pack("{s:s, s:I, s:I, s:I, s:I}", "source", source <= WEIR_TICKETS_SHARED ? sources[source] : "", "keys",
			 (json_int_t)__atomic_load_n(&r->n_ticket_keys, __ATOMIC_RELAXED), "sealing_since",
			 (json_int_t)load(&r->ticket_sealing_s), "taken", (json_int_t)load(&r->ticket_keys_taken), "refused",
			 (json_int_t)load(&r->ticket_keys_refused));
}

json_t *view_ticket_secret(const struct sync *s)
{
	struct ticket_secret_status st;

	ticket_secret_status(s->tickets, &st);
	return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:b, s:b}", "namespace", st.ns, "name", st.name, "state",
			 ticket_secret_state_name(st.state), "why", st.why, "keys", (json_int_t)st.n_keys, "rotated", (json_int_t)st.rotated_s,
			 "rotate_s", (json_int_t)st.rotate_s, "writing", (int)st.may_write, "given_up", (int)st.is_given_up);
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
	json_t *workers = json_array(), *o;

	if (!info) {
		json_decref(workers);
		return json_pack("{s:b}", "connected", r != NULL);
	}
	for (unsigned i = 0; i < r->n_workers; i++)
		json_array_append_new(workers, view_worker(publish_worker_stats(r, i)));
	o = json_pack("{s:b, s:s, s:s, s:s, s:I, s:I, s:o, s:{s:s, s:s, s:s, s:I, s:I, s:o}}", "connected", 1, "openssl", info->openssl, "groups",
			 info->groups, "no_hybrid", info->no_hybrid, "handshakes", sum(r, WEIR_C_TLS_HANDSHAKES), "post_quantum",
			 sum(r, WEIR_C_TLS_HANDSHAKES_HYBRID), "tickets", view_tickets(r), "offload", "kind", info->offload_kind, "name", info->offload_name,
			 "why", info->offload_why, "jobs", (json_int_t)info->offload_jobs, "timeout_ms",
			 (json_int_t)info->offload_timeout_ms, "workers", workers);
	if (o && r->n_workers)
		json_object_set_new(o, "early_data", json_pack("{s:b, s:I, s:I, s:I, s:I}", "on",
			(int)(gauge(publish_worker_stats(r, 0), WEIR_G_TLS_EARLY_DATA) != 0), "accepted", sum(r, WEIR_C_TLS_EARLY_DATA), "rejected",
			sum(r, WEIR_C_TLS_EARLY_DATA_REJECTED), "served", sum(r, WEIR_C_EARLY_REQUESTS), "held", sum(r, WEIR_C_EARLY_HELD)));
	if (o && s->tickets)
		json_object_set_new(o, "ticket_secret", view_ticket_secret(s));
	return o;
}
