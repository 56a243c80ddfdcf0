/* SPDX-License-Identifier: Apache-2.0 */
/* State, routes, backends and counters as JSON. explain.c has the rest. */
#include "admin/view.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "admin/admin_pvt.h"
#include "admin/life.h"
#include "admin/view_pvt.h"
#include "base/ip.h"
#include "saver.h"
#include "source_kube.h"
#include "stats/stats.h"
#include "translate/compile.h"

json_t *view_str(const struct weir_snapshot *s, struct weir_str str)
{
	struct slice t = snapshot_str(s, str);

	return json_stringn(t.n ? t.p : "", t.n);
}

static json_t *problem(const char *file, unsigned line, unsigned column, const char *kind, const char *ns, const char *name,
		       const char *field, const char *reason, const char *text, bool is_fatal)
{
	return json_pack("{s:s, s:i, s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:b}", "file", file, "line", (int)line, "column",
			 (int)column, "kind", kind, "namespace", ns, "name", name, "field", field, "reason", reason, "text", text,
			 "fatal", (int)is_fatal);
}

static json_t *problems(const struct sync *s)
{
	json_t *list = json_array();
	size_t n;
	const struct store_problem *sp = store_problems(s->store, &n);

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, problem(sp[i].file, sp[i].line, sp[i].column, sp[i].kind, sp[i].ns, sp[i].name,
						    sp[i].field, sp[i].reason, sp[i].text, sp[i].is_fatal));
	for (size_t i = 0; i < s->model->n_problems; i++) {
		const struct model_problem *p = &s->model->problems[i];

		json_array_append_new(list, problem(p->file, p->line, p->column, p->kind, p->ns, p->name, p->field, p->reason,
						    p->text, p->is_fatal));
	}
	return list;
}

static json_t *ports(const struct weir_stats_region *r)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < r->n_ports && i < WEIR_MAX_PORTS; i++) {
		const struct weir_port_info *p = &r->port[i];
		char mac[18];
		char name[sizeof(p->name)];

		snprintf(name, sizeof(name), "%.*s", (int)sizeof(p->name) - 1, p->name);
		snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", p->mac[0], p->mac[1], p->mac[2], p->mac[3], p->mac[4],
			 p->mac[5]);
		json_array_append_new(list, json_pack("{s:s, s:s, s:i, s:b, s:i}", "name", name, "mac", mac, "mtu", (int)p->mtu,
						      "link", (int)(p->link_up != 0), "queues", (int)p->n_queues));
	}
	return list;
}

static json_t *announcing(const struct weir_stats_region *r)
{
	static const struct {
		const char *name, *help;
	} states[] = {
#define X(name, str, help) {str, help},
		WEIR_ANNOUNCE_STATES(X)
#undef X
	};
	uint32_t state = __atomic_load_n(&r->announce_state, __ATOMIC_RELAXED);
	bool is_known = state < sizeof(states) / sizeof(*states);

	return json_pack("{s:s, s:s, s:I}", "state", is_known ? states[state].name : "unknown", "text", is_known ? states[state].help : "",
			 "addresses", (json_int_t)__atomic_load_n(&r->n_announced, __ATOMIC_RELAXED));
}

/* In joules, of all requests since the dataplane started; null: the machine does not tell. */
static json_t *energy(const struct weir_stats_region *r)
{
	double used = (double)__atomic_load_n(&r->energy_workers_uj, __ATOMIC_RELAXED) / 1e6;
	uint64_t n = 0;

	if (__atomic_load_n(&r->energy_packages_uj, __ATOMIC_RELAXED) == 0)
		return json_null();
	for (unsigned w = 0; w < r->n_workers; w++)
		n += __atomic_load_n(&publish_worker_stats(r, w)->counter[WEIR_C_REQUESTS], __ATOMIC_RELAXED);
	return json_pack("{s:f, s:f, s:f}", "packages", (double)__atomic_load_n(&r->energy_packages_uj, __ATOMIC_RELAXED) / 1e6, "workers",
			 used, "request", n ? used / (double)n : 0.0);
}

static json_t *dataplane(const struct weir_stats_region *r)
{
	char version[sizeof(r->version)];
	int64_t uptime = (int64_t)time(NULL) - (int64_t)r->start_time_s;

	snprintf(version, sizeof(version), "%.*s", (int)sizeof(r->version) - 1, r->version);
	return json_pack("{s:s, s:I, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "version", version, "uptime_s", (json_int_t)uptime,
			 "draining", (int)(r->draining != 0), "snapshots_taken", (json_int_t)r->snapshots_taken,
			 "snapshots_refused", (json_int_t)r->snapshots_refused, "endpoint_sets_taken",
			 (json_int_t)r->endpoint_sets_taken, "endpoint_sets_refused", (json_int_t)r->endpoint_sets_refused,
			 "certificates_taken", (json_int_t)r->certificates_taken, "certificates_refused",
			 (json_int_t)r->certificates_refused, "certificates", (json_int_t)r->certificates,
			 "protocol_errors", (json_int_t)r->ctrl_protocol_errors, "ports", ports(r), "announcing", announcing(r), "energy_joules", energy(r),
			 "life", life_view(r));
}

static json_t *kubernetes(const struct source_kube *k)
{
	json_t *problems = json_array();
	struct source_kube_status st;
	const char *problem;
	struct named_status named;

	source_kube_status(k, admin_now_ms(), &st);
	source_kube_named(k, &named);
	for (unsigned i = 0; (problem = source_kube_problem(k, &i));)
		json_array_append_new(problems, json_string(problem));
	problem = json_string_value(json_array_get(problems, 0));
	return json_pack("{s:s, s:b, s:i, s:i, s:i, s:I, s:s, s:o, s:{s:i, s:i, s:i, s:i, s:i}}", "server", st.server, "synced",
			 (int)st.is_synced, "kinds", (int)st.n_reflectors, "kinds_synced", (int)st.n_synced, "kinds_healthy",
			 (int)st.n_healthy, "age_ms", (json_int_t)st.age_ms, "problem", problem ? problem : "", "problems", problems,
			 "named", "followed", (int)named.n_followed, "absent", (int)named.n_absent, "pending", (int)named.n_pending,
			 "forbidden", (int)named.n_forbidden, "beyond", (int)named.n_beyond);
}

static json_t *saved(const struct saver *v)
{
	struct saver_status st;

	saver_status(v, &st);
	return json_pack("{s:s, s:b, s:b, s:I, s:s, s:I, s:I, s:I, s:I, s:s}", "file", st.path, "serving", (int)st.is_serving,
			 "waiting", (int)st.is_waiting, "age_s", (json_int_t)st.age_s, "refused", saved_refusal_name(st.refused),
			 "writes", (json_int_t)st.n_writes, "failures", (json_int_t)st.n_failures, "bytes",
			 (json_int_t)st.file_bytes, "write_ms", (json_int_t)st.write_ms, "problem", st.problem ? st.problem : "");
}

json_t *view_status(const struct sync *s)
{
	const struct weir_stats_region *r = publish_stats(s->publish);
	struct publish_status st;
	json_t *list = problems(s);
	json_t *o;

	publish_status(s->publish, &st);
	o = json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:i, s:o}", "version", WEIR_VERSION, "connected",
		      (int)st.is_connected, "workers", (json_int_t)st.n_workers, "generation", (json_int_t)st.generation,
		      "live_generation", (json_int_t)st.live_generation, "retired_generation", (json_int_t)st.retired_generation,
		      "live_us", (json_int_t)st.live_t_us, "endpoint_sets", (json_int_t)st.n_sets, "endpoint_sets_waiting",
		      (json_int_t)st.n_sets_waiting, "matches", (json_int_t)s->model->n_matches, "snapshot_bytes", (json_int_t)s->snapshot_size, "refused",
		      (json_int_t)st.n_refused, "last_refusal", publish_refusal_name(st.refused), "problems",
		      (int)json_array_size(list), "problem_list", list);
	if (o && r)
		json_object_set_new(o, "dataplane", dataplane(r));
	if (o && s->kube)
		json_object_set_new(o, "kubernetes", kubernetes(s->kube));
	if (o && s->tickets)
		json_object_set_new(o, "ticket_secret", view_ticket_secret(s));
	if (o && s->saver)
		json_object_set_new(o, "saved", saved(s->saver));
	return o;
}

/* -- routes */

void view_host(char *out, size_t cap, const struct weir_snapshot *s, uint8_t kind, struct weir_str host)
{
	struct slice t = snapshot_str(s, host);
	bool is_wild = kind == WEIR_HOST_WILDCARD || kind == WEIR_HOST_WILDCARD_ONE;

	if (kind == WEIR_HOST_ANY)
		snprintf(out, cap, "*");
	else
		snprintf(out, cap, "%s%.*s", is_wild ? "*." : "", (int)t.n, t.p);
}

json_t *view_splits(const struct weir_snapshot *s, const struct weir_rule *r)
{
	json_t *list = json_array();

	if (r->action == WEIR_ACTION_STATUS) {
		json_array_append_new(list, json_pack("{s:i, s:i}", "status", (int)r->status, "weight", 1));
		return list;
	}
	for (uint32_t i = 0; i < r->splits.count; i++) {
		const struct weir_split *p = snapshot_split(s, r->splits.first + i);

		if (p->backend == WEIR_NONE)
			json_array_append_new(list, json_pack("{s:i, s:I}", "status", (int)p->status, "weight", (json_int_t)p->weight));
		else
			json_array_append_new(list, json_pack("{s:o, s:I, s:o}", "backend",
							      view_str(s, snapshot_backend(s, p->backend)->name), "weight",
							      (json_int_t)p->weight, "filters", view_filters(s, p->filters)));
	}
	return list;
}

static json_t *conds(const struct weir_snapshot *s, const struct weir_rule *r)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < r->conds.count; i++) {
		const struct weir_cond *c = snapshot_cond(s, r->conds.first + i);

		json_array_append_new(list, json_pack("{s:s, s:o, s:o}", "kind", c->kind == WEIR_COND_HEADER ? "header" : "query",
						      "name", view_str(s, c->name), "value", view_str(s, c->value)));
	}
	return list;
}

/* The limits that the rule or its listener sets: in ms, of rates in bytes a second. */
static json_t *limits(const struct view_place *at, const struct weir_rule *r)
{
	struct weir_timeouts t = {0};
	json_t *o = json_object();

	snapshot_timeouts(&t, &at->listener->timeouts, &r->timeouts);
#define X(field, name) \
	if (t.field) \
		json_object_set_new(o, name, t.field == WEIR_NO_LIMIT ? json_string("none") : json_integer(t.field));
	WEIR_TIMEOUTS(X)
#undef X
	return o;
}

json_t *view_rule(const struct weir_snapshot *s, const struct view_place *at, const struct weir_rule *r)
{
	const struct weir_route *o = snapshot_route(s, r->route);
	struct slice path = snapshot_str(s, at->path->path);
	char addr[IP_TEXT_MAX];
	const bool is_stream = at->listener->kind == WEIR_LISTENER_STREAM;
	char listener[300];
	char host[300];

	view_host(listener, sizeof(listener), s, at->listener->host_kind, at->listener->host);
	view_host(host, sizeof(host), s, at->vhost->host_kind, at->vhost->host);
	return json_pack("{s:s, s:i, s:s, s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:o, s:o, s:o}", "address",
			 ip_is_any(&at->bind->addr) ? "*" : ip_format(&at->bind->addr, addr), "port", (int)at->bind->port,
			 "listener_host", listener, "listener", view_str(s, at->listener->name), "host", host, "path_type",
			 is_stream ? "Stream" : at->path->kind == WEIR_PATH_EXACT ? "Exact" : "Prefix", "path",
			 is_stream ? json_string("") : path.n ? json_stringn(path.p, path.n) : json_string("/"), "method", view_str(s, r->method), "conditions",
			 conds(s, r), "kind", view_str(s, o->kind), "namespace", view_str(s, o->ns), "name", view_str(s, o->name),
			 "rule", (int)r->rule_index, "filters", view_filters(s, r->filters), "backends", view_splits(s, r), "limits",
			 limits(at, r));
}

static void add_path_rules(json_t *list, const struct weir_snapshot *s, const struct view_place *at)
{
	for (uint32_t i = 0; i < at->path->rules.count; i++)
		json_array_append_new(list, view_rule(s, at, snapshot_rule(s, at->path->rules.first + i)));
}

json_t *view_routes(const struct sync *sync)
{
	const struct weir_snapshot *s = sync->snapshot;
	json_t *list = json_array();
	struct view_place at;

	for (uint32_t b = 0; s && b < snapshot_count(s, BINDS); b++) {
		at.bind = snapshot_bind(s, b);
		for (uint32_t l = 0; l < at.bind->listeners.count; l++) {
			at.listener = snapshot_listener(s, at.bind->listeners.first + l);
			for (uint32_t v = 0; v < at.listener->vhosts.count; v++) {
				at.vhost = snapshot_vhost(s, at.listener->vhosts.first + v);
				for (uint32_t p = 0; p < at.vhost->paths.count; p++) {
					at.path = snapshot_path(s, at.vhost->paths.first + p);
					add_path_rules(list, s, &at);
				}
			}
		}
	}
	return list;
}

/* -- backends */

json_t *view_endpoints(const struct sync *s, uint64_t id)
{
	const struct weir_endpoint_set *set = publish_find(s->publish, id);
	json_t *list = json_array();

	for (uint32_t i = 0; set && i < set->n_endpoints; i++) {
		const struct weir_endpoint *e = &set->ep[i];
		char addr[IP_TEXT_MAX];

		json_array_append_new(list, json_pack("{s:s, s:i, s:b, s:b, s:b, s:I}", "address", ip_format(&e->addr, addr), "port",
						      (int)e->port, "ready", !!(e->flags & WEIR_EP_READY), "serving",
						      !!(e->flags & WEIR_EP_SERVING), "terminating",
						      !!(e->flags & WEIR_EP_TERMINATING), "weight", (json_int_t)e->weight));
	}
	return list;
}

/* How its endpoints are chosen and judged; numbers that are 0 say "not at all". */
static json_t *settings(const struct weir_snapshot *s, const struct weir_backend *b)
{
	bool is_hash = b->balance == WEIR_BALANCE_MAGLEV || b->balance == WEIR_BALANCE_RING_HASH;
	json_t *o = json_pack("{s:s, s:I, s:I, s:I, s:I}", "algorithm", snapshot_balance_name(b->balance), "slow_start_ms",
			      (json_int_t)b->slow_start_ms, "max_connections", (json_int_t)b->max_connections, "max_requests",
			      (json_int_t)b->max_requests, "eject_failures", (json_int_t)b->eject_failures);

	if (is_hash)
		json_object_set_new(o, "hash_key", json_string(snapshot_hash_on_name(b->hash_on)));
	if (b->hash_name.len)
		json_object_set_new(o, "hash_name", view_str(s, b->hash_name));
	if (b->affinity == WEIR_AFFINITY_COOKIE)
		json_object_set_new(o, "cookie", json_pack("{s:o, s:o, s:I}", "name", view_str(s, b->cookie_name), "path",
							   view_str(s, b->cookie_path), "max_age_s", (json_int_t)b->cookie_max_age_s));
	if (b->success_window_ms)
		json_object_set_new(o, "success_rate",
				    json_pack("{s:I, s:f, s:I}", "window_ms", (json_int_t)b->success_window_ms, "deviations",
					      b->success_deviations / 1000.0, "requests", (json_int_t)b->success_requests));
	if (b->eject_failures || b->success_window_ms)
		json_object_set_new(o, "ejection", json_pack("{s:I, s:I, s:i}", "base_ms", (json_int_t)b->eject_base_ms, "max_ms",
							     (json_int_t)b->eject_max_ms, "max_percent", b->max_ejected_percent));
	return o;
}

/* Where its addresses come from, if that is a name: the name, and what is known of it. */
static void put_external(json_t *o, const struct sync *s, const struct weir_backend *b)
{
	const struct slice t = snapshot_str(s->snapshot, b->name);
	const char *slash = memchr(t.p, '/', t.n), *colon = memrchr(t.p, ':', t.n);
	char ns[64], service[254], name[EXTERNAL_NAME_MAX];
	const struct kube_object *object;
	const struct known_name *known;

	if (!s->known_names || !slash || !colon || colon < slash)
		return;
	snprintf(ns, sizeof(ns), "%.*s", (int)(slash - t.p), t.p);
	snprintf(service, sizeof(service), "%.*s", (int)(colon - slash - 1), slash + 1);
	object = store_get(s->store, KUBE_SERVICE, ns, service);
	if (!object || !external_is(object) || !external_name(object, name))
		return;
	known = known_names_get(s->known_names, name);
	json_object_set_new(o, "external_name", json_string(name));
	json_object_set_new(o, "external_state", json_string(known_state_name(known ? known->state : NAME_PENDING)));
}

json_t *view_backends(const struct sync *s)
{
	json_t *list = json_array();

	for (uint32_t i = 0; s->snapshot && i < snapshot_count(s->snapshot, BACKENDS); i++) {
		const struct weir_backend *b = snapshot_backend(s->snapshot, i);
		const struct weir_endpoint_set *set = publish_find(s->publish, b->id);
		char id[17];

		snprintf(id, sizeof(id), "%016" PRIx64, b->id);
		json_t *o = json_pack("{s:o, s:s, s:o, s:I, s:o}", "name", view_str(s->snapshot, b->name), "id", id, "balance",
				      settings(s->snapshot, b), "version", (json_int_t)(set ? set->version : 0), "endpoints",
				      view_endpoints(s, b->id));

		put_external(o, s, b);
		json_object_set_new(o, "tls", view_backend_tls(s->snapshot, b));
		json_array_append_new(list, o);
	}
	return list;
}

/* -- counters */

static uint64_t load(const uint64_t *v)
{
	return __atomic_load_n(v, __ATOMIC_RELAXED);
}

static json_t *per_worker(const struct weir_stats_region *r, size_t offset)
{
	json_t *list = json_array();
	uint64_t sum = 0;

	for (unsigned w = 0; w < r->n_workers; w++) {
		const char *block = (const char *)publish_worker_stats(r, w);
		uint64_t v = load((const uint64_t *)(const void *)(block + offset));

		json_array_append_new(list, json_integer((json_int_t)v));
		sum += v;
	}
	return json_pack("{s:I, s:o}", "sum", (json_int_t)sum, "workers", list);
}

json_t *view_stats(const struct sync *s)
{
	const struct weir_stats_region *r = publish_stats(s->publish);
	json_t *o = json_object();

	for (unsigned i = 0; r && i < WEIR_N_COUNTERS; i++)
		json_object_set_new(o, stat_counter_names[i],
				    per_worker(r, offsetof(struct weir_worker_stats, counter) + i * sizeof(uint64_t)));
	for (unsigned i = 0; r && i < WEIR_N_GAUGES; i++)
		json_object_set_new(o, stat_gauge_names[i],
				    per_worker(r, offsetof(struct weir_worker_stats, gauge) + i * sizeof(uint64_t)));
	return o;
}

json_t *view_stages(const struct sync *s)
{
	static const struct {
		const char *name, *help;
		enum weir_counter cycles, entries;
	} stages[] = {
#define S(X, id, name, help) {name, help, WEIR_C_STAGE_##id##_CYCLES, WEIR_C_STAGE_##id##_ENTRIES},
		WEIR_STAGES(S, 0)
#undef S
	};
	const struct weir_stats_region *r = publish_stats(s->publish);
	json_t *list = json_array();
	uint64_t requests = 0;

	for (unsigned w = 0; r && w < r->n_workers; w++)
		requests += load(&publish_worker_stats(r, w)->counter[WEIR_C_REQUESTS]);
	for (unsigned i = 0; r && i < WEIR_N_STAGES; i++) {
		uint64_t cycles = 0, entries = 0;

		for (unsigned w = 0; w < r->n_workers; w++) {
			cycles += load(&publish_worker_stats(r, w)->counter[stages[i].cycles]);
			entries += load(&publish_worker_stats(r, w)->counter[stages[i].entries]);
		}
		json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:I, s:s}", "stage", stages[i].name, "cycles", (json_int_t)cycles,
						      "entries", (json_int_t)entries, "requests", (json_int_t)requests, "help",
						      stages[i].help));
	}
	return list;
}

json_t *view_drops(const struct sync *s)
{
	const struct weir_stats_region *r = publish_stats(s->publish);
	json_t *list = json_array();

	for (unsigned i = 0; r && i < WEIR_N_REASONS; i++) {
		uint64_t sum = 0;

		for (unsigned w = 0; w <= r->n_workers; w++)
			sum += load(&publish_worker_stats(r, w)->reason[i]);
		if (sum)
			json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:s}", "reason", stat_reason_names[i], "kind",
							      stat_reason_kind_name((enum weir_reason)i), "count",
							      (json_int_t)sum, "help", stat_reason_help[i]));
	}
	return list;
}
