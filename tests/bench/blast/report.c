/* SPDX-License-Identifier: Apache-2.0 */
/* What came of a phase, as JSON. Zero counts of errors are left out. */
#include "chaos.h"
#include "phase.h"

const char *const error_names[N_ERRORS] = {
#define X(name, str) str,
	BLAST_ERRORS(X)
#undef X
};

static void put(json_t *o, const char *name, uint64_t v)
{
	json_object_set_new(o, name, json_integer((json_int_t)v));
}

/* With so few digits that a person can read it. */
static void put_real(json_t *o, const char *name, double v)
{
	double r = v < 100 ? (double)(int64_t)(v * 1000 + 0.5) / 1000 : (double)(int64_t)(v * 10 + 0.5) / 10;

	json_object_set_new(o, name, json_real(r));
}

static json_t *errors(const uint64_t *now, const uint64_t *before)
{
	json_t *o = json_object();

	for (unsigned i = 0; i < N_ERRORS; i++)
		if (now[i] != (before ? before[i] : 0))
			put(o, error_names[i], now[i] - (before ? before[i] : 0));
	return o;
}

static json_t *times(const struct hist *h)
{
	json_t *o = json_object();

	put(o, "n", h->n);
	put_real(o, "mean", hist_mean(h) / 1000);
	put_real(o, "p50", (double)hist_at(h, 0.5) / 1000);
	put_real(o, "p90", (double)hist_at(h, 0.9) / 1000);
	put_real(o, "p99", (double)hist_at(h, 0.99) / 1000);
	put_real(o, "p99.9", (double)hist_at(h, 0.999) / 1000);
	put_real(o, "max", (double)h->max / 1000);
	return o;
}

static void report_load(const struct blast *b, const struct phase *p, json_t *o)
{
	const struct load *l = b->load;
	json_t *shots;

	if (!p->is_idle_load) {
		put(o, "active", p->active);
		json_object_set_new(o, "loop", json_string(p->rate > 0 ? "open" : "closed"));
		put(o, "requests", l->n_measured);
		put_real(o, "requests_per_second", (double)l->n_measured / p->seconds);
		put_real(o, "body_gbit_per_second", (double)l->measured_bytes * 8e-9 / p->seconds);
		json_object_set_new(o, "latency_us", times(&l->latency));
	}
	if (p->rate > 0) {
		uint64_t due = (uint64_t)((p->warmup + p->seconds) * p->rate);

		put_real(o, "rate_wanted", p->rate);
		put(o, "not_sent", due > l->requests.k ? due - l->requests.k : 0);
	}
	if (p->has_flood) {
		double s = p->warmup + p->seconds;

		put(o, "flood_sent", b->counts.flood_sent - p->before.flood_sent);
		put_real(o, "flood_per_second", (double)(b->counts.flood_sent - p->before.flood_sent) / s);
		put_real(o, "flood_answers_per_second", (double)(b->counts.flood_answers - p->before.flood_answers) / s);
	}
	if (p->new_rate <= 0 && !p->shots)
		return;
	shots = json_object();
	put(shots, "begun", l->shots_begun);
	put(shots, "good", l->shots_good);
	put(shots, "failed", l->shots_failed);
	put_real(shots, "good_per_second", (double)l->shots_measured / p->seconds);
	json_object_set_new(shots, "errors", errors(l->shot_error, NULL));
	json_object_set_new(shots, "latency_us", times(&l->shot_latency));
	json_object_set_new(o, "new", shots);
}

/* Since the beginning of the first phase with faults. */
static json_t *faults(const struct chaos_counts *n)
{
	json_t *o = json_object();
	json_t *fired = json_object();

	put(o, "posts", n->posts);
	put(o, "status_502", n->bad_gateway);
	put(o, "status_504", n->timeouts);
	put(o, "cuts", n->cuts);
	put(o, "by_refusal", n->by_refusal);
	put(o, "mirrored", n->mirrored);
	put(o, "unseen", n->unseen);
	put(o, "seen_again", n->seen_again);
	put(o, "stale", n->stale);
	put(o, "refused_connections", n->refused_syns);
	for (unsigned i = 0; i < N_FAULTS; i++)
		put(fired, fault_names[i], n->fired[i]);
	json_object_set_new(o, "fired", fired);
	return o;
}

static void report_common(const struct blast *b, const struct phase *p, json_t *o)
{
	const struct counts *c = &b->counts;
	const struct counts *was = &p->before;
	double s = (double)(b->tsc - p->begin) / (double)b->tsc_hz;
	uint64_t cycles = c->cycles - was->cycles;

	put_real(o, "seconds", s);
	put_real(o, "cpu_seconds", (double)(c->cpu_ns - was->cpu_ns) * 1e-9); /* less: others had the core too */
	put(o, "connections", b->load->n_pool);
	put(o, "opened", c->opened - was->opened);
	put(o, "responses", c->responses - was->responses);
	put(o, "requests_at_origin", c->requests_seen - was->requests_seen);
	put(o, "origin_connections", b->origin.n_open);
	put(o, "origin_resets", c->origin_resets - was->origin_resets);
	put(o, "rx_frames", c->rx - was->rx);
	put(o, "tx_frames", c->tx - was->tx);
	put(o, "tx_full", c->tx_full - was->tx_full);
	put(o, "retransmits", c->retransmits - was->retransmits);
	put(o, "out_of_order", c->out_of_order - was->out_of_order);
	put(o, "dropped_on_purpose", c->dropped_on_purpose - was->dropped_on_purpose);
	put_real(o, "busy_share", cycles ? (double)(c->busy_cycles - was->busy_cycles) / (double)cycles : 0);
	put(o, "tsc_hz", b->tsc_hz);
	if (b->chaos)
		json_object_set_new(o, "faults", faults(&b->chaos->n));
	json_object_set_new(o, "errors", errors(c->error, was->error));
}

json_t *phase_report(const struct blast *b, const struct phase *p)
{
	static const char *const names[] = {"connect", "hold", "load", "close"};
	json_t *o = json_object();

	json_object_set_new(o, "phase", json_string(names[p->kind]));
	if (p->kind == PHASE_LOAD)
		report_load(b, p, o);
	if (p->kind == PHASE_CONNECT)
		put_real(o, "opened_per_second",
			 (double)(b->counts.opened - p->before.opened) * (double)b->tsc_hz / (double)(b->tsc - p->begin));
	if (p->kind == PHASE_HOLD)
		put(o, "lost", p->pool_before - b->load->n_pool);
	report_common(b, p, o);
	return o;
}
