/* SPDX-License-Identifier: Apache-2.0 */
/* Prometheus text, version 0.0.4: the counters of the workers as they lie, and weir-ctrl's own. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/admin_pvt.h"
#include "admin/life.h"
#include "admin/metrics_paths.h"
#include "admin/metrics_staples.h"
#include "admin/view_certificates.h"
#include "admin/view_ports.h"
#include "resolve/external_names.h"
#include "saver.h"
#include "source_kube.h"
#include "status/writer.h"
#include "stats/stats.h"
#include "ticket_secret.h"

static uint64_t load(const uint64_t *v)
{
	return __atomic_load_n(v, __ATOMIC_RELAXED);
}

static void write_head(FILE *f, const char *name, const char *type, const char *help)
{
	fprintf(f, "# HELP weir_%s %s\n# TYPE weir_%s %s\n", name, help, name, type);
}

static void write_one(FILE *f, const char *name, const char *type, const char *help, uint64_t v)
{
	write_head(f, name, type, help);
	fprintf(f, "weir_%s %" PRIu64 "\n", name, v);
}

/* The block behind the workers' is the main lcore's. */
static void write_worker(FILE *f, const struct weir_stats_region *r, unsigned w, uint64_t v)
{
	if (w == r->n_workers)
		fprintf(f, "worker=\"main\"} %" PRIu64 "\n", v);
	else
		fprintf(f, "worker=\"%u\"} %" PRIu64 "\n", w, v);
}

/* A histogram, of counters that each tell one bucket. */
static void write_loops(FILE *f, const struct weir_stats_region *r)
{
	static const char *const seconds[WEIR_N_LOOP_TIMES] = {
#define B(X, us, seconds) seconds,
		WEIR_LOOP_TIMES(B, 0)
#undef B
		"+Inf"};

	write_head(f, "worker_loop_seconds", "histogram", "how long the iterations of the worker's loop that found work took");
	for (unsigned w = 0; w < r->n_workers; w++) {
		const struct weir_worker_stats *st = publish_worker_stats(r, w);
		uint64_t n = 0;

		for (unsigned i = 0; i < WEIR_N_LOOP_TIMES; i++) {
			n += load(&st->counter[WEIR_C_LOOPS_10_US + i]);
			fprintf(f, "weir_worker_loop_seconds_bucket{worker=\"%u\",le=\"%s\"} %" PRIu64 "\n", w, seconds[i], n);
		}
		fprintf(f, "weir_worker_loop_seconds_sum{worker=\"%u\"} %.6f\n", w,
			r->tsc_hz ? (double)load(&st->counter[WEIR_C_BUSY_CYCLES]) / (double)r->tsc_hz : 0);
		fprintf(f, "weir_worker_loop_seconds_count{worker=\"%u\"} %" PRIu64 "\n", w, n);
	}
}

/* Divided by requests it is what one of them costs. Nothing is written where the machine does not tell. */
static void write_energy(FILE *f, const struct weir_stats_region *r)
{
	uint64_t packages = load(&r->energy_packages_uj);

	if (packages == 0)
		return;
	write_head(f, "energy_joules_total", "counter",
		   "energy of the CPU packages (RAPL) since the dataplane started, and what of it workers used, by their share of all CPUs' time with work: an estimate");
	fprintf(f, "weir_energy_joules_total{of=\"packages\"} %.6f\n", (double)packages / 1e6);
	fprintf(f, "weir_energy_joules_total{of=\"workers\"} %.6f\n", (double)load(&r->energy_workers_uj) / 1e6);
}

static void write_dataplane(FILE *f, const struct weir_stats_region *r)
{
	char name[96];

	write_one(f, "snapshots_taken_total", "counter", "snapshots that the dataplane took", load(&r->snapshots_taken));
	write_one(f, "snapshots_refused_total", "counter", "snapshots that the dataplane refused", load(&r->snapshots_refused));
	write_one(f, "endpoint_sets_taken_total", "counter", "endpoint sets that the dataplane took", load(&r->endpoint_sets_taken));
	write_one(f, "endpoint_sets_refused_total", "counter", "endpoint sets that the dataplane refused",
		  load(&r->endpoint_sets_refused));
	write_one(f, "certificates_taken_total", "counter", "certificates that the dataplane took", load(&r->certificates_taken));
	write_one(f, "certificates_refused_total", "counter", "certificates that the dataplane refused", load(&r->certificates_refused));
	write_one(f, "certificates", "gauge", "certificates that the dataplane holds, with their private keys", load(&r->certificates));
	write_one(f, "ticket_keys_taken_total", "counter", "sets of shared ticket keys that the dataplane took", load(&r->ticket_keys_taken));
	write_one(f, "ticket_keys_refused_total", "counter", "sets of shared ticket keys that the dataplane refused",
		  load(&r->ticket_keys_refused));
	write_one(f, "ticket_keys_shared", "gauge", "1: session tickets are sealed by keys that nodes share; 0: by keys of the dataplane's own, or none",
		  __atomic_load_n(&r->ticket_source, __ATOMIC_RELAXED) == WEIR_TICKETS_SHARED);
	write_one(f, "ticket_keys", "gauge", "keys that open session tickets", __atomic_load_n(&r->n_ticket_keys, __ATOMIC_RELAXED));
	write_one(f, "ticket_key_sealing_timestamp_seconds", "gauge", "Unix time since which the newest key seals session tickets; 0: none",
		  load(&r->ticket_sealing_s));
	write_one(f, "path_sets_taken_total", "counter", "sets of ways to pods that the dataplane took",
		  __atomic_load_n(&r->paths_taken, __ATOMIC_RELAXED));
	write_one(f, "path_sets_refused_total", "counter", "sets of ways to pods that the dataplane refused",
		  __atomic_load_n(&r->paths_refused, __ATOMIC_RELAXED));
	write_one(f, "forwarding_prefixes", "gauge", "prefixes in the dataplane's forwarding table",
		  __atomic_load_n(&r->n_paths, __ATOMIC_RELAXED));
	write_one(f, "control_connects_total", "counter", "connections of a weir-ctrl that the dataplane took",
		  load(&r->ctrl_connects));
	write_one(f, "control_refused_total", "counter", "connections refused on the control socket", load(&r->ctrl_refused));
	write_one(f, "control_protocol_errors_total", "counter", "control connections ended because the peer broke the contract",
		  load(&r->ctrl_protocol_errors));
	write_one(f, "connection_lists_total", "counter", "lists of connections made", load(&r->conn_lists));
	write_one(f, "captures_total", "counter", "captures begun", load(&r->captures));
	write_one(f, "diagnostics_refused_total", "counter", "lists of connections and captures that the dataplane refused",
		  load(&r->diag_refused));
	write_one(f, "live_generation", "gauge", "generation that every worker serves, as the dataplane says",
		  load(&r->live_generation));
	write_one(f, "draining", "gauge", "1 while the dataplane drains", load(&r->draining));
	write_one(f, "announced_addresses", "gauge", "addresses that the dataplane announces by routes in the kernel (section bgp)",
		  __atomic_load_n(&r->n_announced, __ATOMIC_RELAXED));
	write_one(f, "announce_changes_total", "counter", "announcements and withdrawals of addresses", load(&r->announce_changes));
	write_one(f, "kernel_lost_total", "counter", "frames for the kernel beside a port that it did not take, such as while its interface is down",
		  load(&r->kernel_lost));
	write_one(f, "start_time_seconds", "gauge", "Unix time at which the dataplane started", load(&r->start_time_s));
	life_write_metrics(f, r);
	metrics_ports(f, r);
	for (unsigned i = 0; i < WEIR_C_LOOPS_10_US; i++) { /* those behind are a histogram */
		snprintf(name, sizeof(name), "%s_total", stat_counter_names[i]);
		write_head(f, name, "counter", stat_counter_help[i]);
		for (unsigned w = 0; w <= r->n_workers; w++) {
			fprintf(f, "weir_%s{", name);
			write_worker(f, r, w, load(&publish_worker_stats(r, w)->counter[i]));
		}
	}
	for (unsigned i = 0; i < WEIR_N_GAUGES; i++) {
		write_head(f, stat_gauge_names[i], "gauge", stat_gauge_help[i]);
		for (unsigned w = 0; w <= r->n_workers; w++) {
			fprintf(f, "weir_%s{", stat_gauge_names[i]);
			write_worker(f, r, w, load(&publish_worker_stats(r, w)->gauge[i]));
		}
	}
	write_loops(f, r);
	write_energy(f, r);
	write_head(f, "drops_total", "counter", "packets, connections and requests that ended for this reason");
	for (unsigned i = 0; i < WEIR_N_REASONS; i++) {
		for (unsigned w = 0; w <= r->n_workers; w++) {
			fprintf(f, "weir_drops_total{reason=\"%s\",kind=\"%s\",", stat_reason_names[i],
				stat_reason_kind_name((enum weir_reason)i));
			write_worker(f, r, w, load(&publish_worker_stats(r, w)->reason[i]));
		}
	}
}

static void write_budget(FILE *f, const struct sync *s)
{
	struct translator_budget b;

	translator_budget(s->translator, &b);
	write_one(f, "ctrl_route_bytes", "gauge", "what all routes are reckoned to take, each namespace within its budget",
		  b.wanted_bytes);
	write_one(f, "ctrl_route_bytes_max", "gauge", "what they may take", s->options.total_bytes);
	write_head(f, "ctrl_routes_refused", "gauge", "routes that are not served: they are beyond this budget");
	fprintf(f, "weir_ctrl_routes_refused{budget=\"namespace\"} %zu\n", b.n_over_share);
	fprintf(f, "weir_ctrl_routes_refused{budget=\"total\"} %zu\n", b.n_over_total);
	write_one(f, "ctrl_routes_guarded_total", "counter",
		  "snapshots that were too big all the same, so that namespaces had to give way", s->n_guarded);
}

static void write_ctrl(FILE *f, const struct sync *s, const struct publish_status *st)
{
	uint64_t sum = 0;

	write_one(f, "ctrl_connected", "gauge", "1 while connected to the dataplane", st->is_connected);
	write_one(f, "ctrl_connects_total", "counter", "connections made to the dataplane", st->connects);
	write_one(f, "ctrl_generation", "gauge", "newest generation of routes", st->generation);
	write_one(f, "ctrl_live_generation", "gauge", "generation that every worker serves", st->live_generation);
	write_one(f, "ctrl_refused_total", "counter", "blobs that the dataplane refused", st->n_refused);
	write_head(f, "ctrl_problems", "gauge", "problems of Kubernetes objects and manifests");
	fprintf(f, "weir_ctrl_problems{fatal=\"true\"} %zu\nweir_ctrl_problems{fatal=\"false\"} %zu\n",
		sync_n_problems(s, true), sync_n_problems(s, false));
	write_budget(f, s);
	write_head(f, "ctrl_publish_seconds", "histogram", "time from the compiled routes to the last worker's swap");
	for (unsigned i = 0; i < PUBLISH_BUCKETS; i++) {
		sum += st->latency[i];
		fprintf(f, "weir_ctrl_publish_seconds_bucket{le=\"%g\"} %" PRIu64 "\n", publish_bucket_s[i], sum);
	}
	fprintf(f, "weir_ctrl_publish_seconds_bucket{le=\"+Inf\"} %" PRIu64 "\n", st->latency_count);
	fprintf(f, "weir_ctrl_publish_seconds_sum %.6f\n", (double)st->latency_sum_us / 1e6);
	fprintf(f, "weir_ctrl_publish_seconds_count %" PRIu64 "\n", st->latency_count);
}

static void write_kube(FILE *f, const struct source_kube *k)
{
	const struct kube_http_counters *http = source_kube_http(k);
	struct source_kube_status st;
	struct named_status named;

	source_kube_status(k, admin_now_ms(), &st);
	source_kube_named(k, &named);
	write_one(f, "ctrl_kube_synced", "gauge", "1 once every kind was listed completely", st.is_synced);
	write_one(f, "ctrl_kube_healthy", "gauge", "kinds (of each namespace) that are up to date", st.n_healthy);
	write_one(f, "ctrl_kube_kinds", "gauge", "kinds (of each namespace) that are followed", st.n_reflectors);
	write_head(f, "ctrl_kube_age_seconds", "gauge", "time since the oldest kind was last known to be up to date");
	fprintf(f, "weir_ctrl_kube_age_seconds %.3f\n", (double)st.age_ms / 1e3);
	write_head(f, "ctrl_kube_named", "gauge", "Secrets and ConfigMaps that are referred to, by what is known of them");
	fprintf(f, "weir_ctrl_kube_named{state=\"present\"} %u\nweir_ctrl_kube_named{state=\"absent\"} %u\n",
		named.n_followed - named.n_absent - named.n_pending - named.n_forbidden, named.n_absent);
	fprintf(f, "weir_ctrl_kube_named{state=\"pending\"} %u\nweir_ctrl_kube_named{state=\"forbidden\"} %u\n", named.n_pending,
		named.n_forbidden);
	fprintf(f, "weir_ctrl_kube_named{state=\"beyond\"} %u\n", named.n_beyond);
#define X(name, help) write_one(f, "ctrl_kube_" #name "_total", "counter", help, st.counters.name + named.counters.name);
	REFLECTOR_COUNTERS(X)
#undef X
#define X(name, help) write_one(f, "ctrl_kube_http_" #name "_total", "counter", help, http->name);
	KUBE_HTTP_COUNTERS(X)
#undef X
}

static void write_saver(FILE *f, const struct saver *v)
{
	struct saver_status st;

	saver_status(v, &st);
	write_one(f, "ctrl_saved_serving", "gauge", "1 while what was saved on disk is served", st.is_serving);
	write_one(f, "ctrl_saved_age_seconds", "gauge", "age of what was saved on disk, while it is served or could be", st.age_s);
	write_one(f, "ctrl_saved_writes_total", "counter", "times that routes and endpoints were written to disk", st.n_writes);
	write_one(f, "ctrl_saved_failures_total", "counter", "writes to disk that failed", st.n_failures);
	write_one(f, "ctrl_saved_bytes", "gauge", "size of what was written last", st.file_bytes);
	write_head(f, "ctrl_saved_refused", "gauge", "1 if what was on disk at start was not used, for this reason");
	for (unsigned i = SAVED_OK + 1; i < SAVED_N_REFUSALS; i++)
		fprintf(f, "weir_ctrl_saved_refused{reason=\"%s\"} %d\n", saved_refusal_name((enum saved_refusal)i),
			st.refused == (enum saved_refusal)i);
}

static void write_status_writer(FILE *f, const struct status_writer *w)
{
	const struct status_writer_counters *c = status_writer_counters(w);
	const struct lease_counters *l = status_writer_lease(w);

	write_one(f, "ctrl_status_writing", "gauge", "1 while status is written here", status_writer_is_writing(w, admin_now_ms()));
	write_one(f, "ctrl_status_waiting", "gauge", "statuses that wait or are under way", status_writer_n_queued(w));
#define X(name, help) write_one(f, "ctrl_status_" #name "_total", "counter", help, c->name);
	STATUS_WRITER_COUNTERS(X)
#undef X
#define X(name, help) write_one(f, "ctrl_lease_" #name "_total", "counter", help, l->name);
	LEASE_COUNTERS(X)
#undef X
	if (!status_writer_events(w))
		return;
	write_one(f, "ctrl_events_waiting", "gauge", "Events that wait or are under way",
		  events_n_waiting(status_writer_events(w)));
#define X(name, help) write_one(f, "ctrl_events_" #name "_total", "counter", help, events_counters(status_writer_events(w))->name);
	EVENTS_COUNTERS(X)
#undef X
}

static void write_ticket_secret(FILE *f, const struct ticket_secret *t)
{
	const struct ticket_secret_counters *c = ticket_secret_counters(t);
	struct ticket_secret_status st;

	ticket_secret_status(t, &st);
	write_head(f, "ctrl_ticket_secret", "gauge", "1 for what the Secret with ticket keys is");
	for (unsigned i = 0; i <= TICKET_SECRET_FORBIDDEN; i++)
		fprintf(f, "weir_ctrl_ticket_secret{state=\"%s\"} %d\n", ticket_secret_state_name((enum ticket_secret_state)i),
			st.state == (enum ticket_secret_state)i);
	write_one(f, "ctrl_ticket_secret_keys", "gauge", "keys that were handed to the dataplane last", st.n_keys);
	write_one(f, "ctrl_ticket_secret_writing", "gauge", "1 while the keys are rotated here", st.may_write);
	write_one(f, "ctrl_ticket_secret_rotated_timestamp_seconds", "gauge", "Unix time of the last rotation, as the Secret says; 0: it does not",
		  (uint64_t)st.rotated_s);
#define X(name, help) write_one(f, "ctrl_ticket_secret_" #name "_total", "counter", help, c->name);
	TICKET_SECRET_COUNTERS(X)
#undef X
}

static void write_names(FILE *f, const struct external_names *e)
{
	struct resolver_status st;

	external_names_status(e, admin_now_ms(), &st);
	write_one(f, "ctrl_names", "gauge", "names of ExternalName Services that are looked up", st.n_names);
	write_one(f, "ctrl_names_not_asked", "gauge", "names that are not looked up, since there are too many", st.n_not_asked);
	write_one(f, "ctrl_names_pending", "gauge", "names without an answer so far", st.n_pending);
	write_one(f, "ctrl_names_absent", "gauge", "names that do not exist, or have no address", st.n_absent);
	write_one(f, "ctrl_names_kept", "gauge", "names whose last addresses are used while the name servers fail", st.n_kept);
	write_one(f, "ctrl_names_failed", "gauge", "names not answered for so long that no address is used", st.n_failed);
	write_head(f, "ctrl_names_kept_seconds", "gauge", "age of the oldest answer among those of names that are kept");
	fprintf(f, "weir_ctrl_names_kept_seconds %.3f\n", (double)st.oldest_kept_ms / 1e3);
	write_one(f, "ctrl_lookups_in_flight", "gauge", "lookups of names under way", st.n_in_flight);
	write_one(f, "ctrl_lookups_total", "counter", "lookups of names, of each family by itself", st.n_asked);
	write_head(f, "ctrl_lookup_answers_total", "counter", "lookups that ended so");
	for (unsigned i = 0; i < RESOLVE_N_OUTCOMES; i++)
		fprintf(f, "weir_ctrl_lookup_answers_total{outcome=\"%s\"} %" PRIu64 "\n",
			resolve_outcome_name((enum resolve_outcome)i), st.outcomes[i]);
}

static void write_permit(FILE *f, const struct permit *p)
{
	write_head(f, "ctrl_captures_refused_total", "counter", "captures that weir-ctrl refused for this reason");
	for (unsigned i = PERMIT_OK + 1; i < N_PERMITS; i++)
		fprintf(f, "weir_ctrl_captures_refused_total{reason=\"%s\"} %" PRIu64 "\n", permit_name((enum permit_result)i),
			p->refused[i]);
}

static void write_access_log(FILE *f, const struct access_log *a)
{
	struct access_log_status st;

	access_log_status(a, &st);
	write_one(f, "ctrl_access_log_lines_total", "counter", "lines of the access log written, or waiting to be", st.n_lines);
	write_one(f, "ctrl_access_log_bytes_total", "counter", "bytes of the access log written", st.n_bytes);
	write_one(f, "ctrl_access_log_sampled_out_total", "counter", "requests without a line because of --access-log-sample",
		  st.n_sampled_out);
	write_one(f, "ctrl_access_log_errors_total", "counter", "writes of the access log that failed", st.n_errors);
	write_one(f, "ctrl_access_log_reopened_total", "counter", "times that the file was to be opened again", st.n_reopened);
	write_head(f, "ctrl_access_log_dropped_total", "counter", "requests without a line in the access log for this reason");
	for (unsigned i = 0; i < N_ACCESS_LOG_DROPS; i++)
		fprintf(f, "weir_ctrl_access_log_dropped_total{reason=\"%s\"} %" PRIu64 "\n",
			access_log_drop_name((enum access_log_drop)i), st.dropped[i]);
}

#define CERTIFICATES_MAX 1000u /* time series; more are counted only */

/* Names of Secrets have nothing that would have to be escaped. */
static void write_certificates(FILE *f, const struct sync *s, const struct publish_status *st)
{
	size_t n;
	const struct certificate **list = view_list_certificates(s, &n);

	write_one(f, "ctrl_certificates", "gauge", "certificates that TLS clients may be shown", n);
	write_one(f, "ctrl_certificates_waiting", "gauge", "certificates that the dataplane does not have yet", st->n_certificates_waiting);
	write_one(f, "ctrl_certificates_sent_total", "counter", "certificates sent to the dataplane", st->certificates_sent);
	write_one(f, "ctrl_certificates_refused_total", "counter", "certificates that the dataplane did not take", st->n_certificates_refused);
	write_head(f, "certificate_not_after_seconds", "gauge", "Unix time at which the certificate of this Secret ends, of at most 1000");
	for (size_t i = 0; list && i < n && i < CERTIFICATES_MAX; i++)
		fprintf(f, "weir_certificate_not_after_seconds{namespace=\"%s\",name=\"%s\"} %" PRId64 "\n", list[i]->ns, list[i]->name,
			list[i]->not_after_s);
	free(list);
}

/* Of one object, alone and with others, the set that ends first. */
static void write_trusts(FILE *f, const struct sync *s)
{
	size_t n, n_written = 0;
	const struct certificate **list = view_list_trusts(s, &n);
	const struct certificate *last = NULL;

	write_one(f, "ctrl_ca_sets", "gauge", "sets of CA certificates by which clients and backends are judged", n);
	write_head(f, "ca_not_after_seconds", "gauge",
		   "Unix time at which the first CA certificate of this object, or of those that are used with it, ends, of at most 1000");
	for (size_t i = 0; list && i < n && n_written < CERTIFICATES_MAX; i++) {
		const struct certificate *c = list[i];

		if (last && strcmp(last->ns, c->ns) == 0 && strcmp(last->name, c->name) == 0 && strcmp(last->of, c->of) == 0)
			continue;
		last = c;
		n_written++;
		fprintf(f, "weir_ca_not_after_seconds{kind=\"%s\",namespace=\"%s\",name=\"%s\"} %" PRId64 "\n", c->of, c->ns, c->name,
			c->not_after_s);
	}
	free(list);
}

char *admin_metrics(const struct sync *sync, const struct permit *permit, const struct access_log *access_log)
{
	struct publish_status st;
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	if (!f)
		return NULL;
	publish_status(sync->publish, &st);
	write_ctrl(f, sync, &st);
	write_certificates(f, sync, &st);
	write_trusts(f, sync);
	if (sync->kube)
		write_kube(f, sync->kube);
	if (sync->saver)
		write_saver(f, sync->saver);
	if (sync->writer)
		write_status_writer(f, sync->writer);
	if (sync->tickets)
		write_ticket_secret(f, sync->tickets);
	if (sync->paths)
		metrics_paths(f, sync->paths, &st);
	if (sync->names)
		write_names(f, sync->names);
	if (sync->stapling)
		metrics_staples(f, sync->stapling);
	write_permit(f, permit);
	if (access_log)
		write_access_log(f, access_log);
	if (publish_stats(sync->publish))
		write_dataplane(f, publish_stats(sync->publish));
	if (fclose(f) != 0) {
		free(text);
		return NULL;
	}
	return text;
}
