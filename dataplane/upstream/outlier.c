/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passive ejection: an endpoint that fails too often gets no requests for a
 * while. Each worker judges by what it sees itself. By failures on end, or by
 * its rate of successes in a window: one that is so many standard deviations
 * below the mean of all that had enough requests (as Envoy does it). The n-th time
 * it stays away n times as long; each base time that it did well takes one back.
 *
 * Never more than the share that the settings name, and never all.
 */
#include "upstream/upstream_pvt.h"

#define MILLION 1000000u
#define RETURNING 255 /* the phase of a scan without settings to judge by */
#define LEAST_JUDGED 5 /* endpoints with enough requests: a mean of fewer says nothing */

bool outlier_is_on(const struct settings *s)
{
	return s->eject_failures || s->success_window_ms;
}

static void set_gauge(struct upstream *u, struct backend *b, int change)
{
	b->n_ejected = (uint32_t)((int)b->n_ejected + change);
	u->n_ejected = (uint32_t)((int)u->n_ejected + change);
	stat_set(u->stats, WEIR_G_UPSTREAM_EJECTED, u->n_ejected);
}

void outlier_return(struct upstream *u, struct endpoint *e, uint64_t now_us)
{
	if (!e->is_ejected)
		return;
	wheel_cancel(u->cfg.wheel, &e->timer);
	e->is_ejected = false;
	e->returned_us = now_us;
	e->failures = 0;
	endpoint_set_level(e);
	set_gauge(u, e->backend, -1);
}

static void eject(struct upstream *u, struct endpoint *e, enum weir_counter counter, uint64_t now_us)
{
	struct backend *b = e->backend;
	uint64_t base_us = (uint64_t)b->set.eject_base_ms * 1000;
	uint64_t max_us = (uint64_t)b->set.eject_max_ms * 1000;
	uint64_t well = (now_us - e->returned_us) / base_us;
	uint64_t us;

	e->failures = 0;
	if (listed(b, e)->level != LEVEL_HEALTHY)
		return;
	if (b->n_ejected + 1 >= b->list.n_ready || (uint64_t)(b->n_ejected + 1) * 100 > (uint64_t)b->list.n_ready * b->set.max_ejected_percent) {
		stat_inc(u->stats, WEIR_C_EJECTIONS_WITHHELD);
		return;
	}
	e->n_ejections -= well < e->n_ejections ? (uint32_t)well : e->n_ejections;
	us = base_us * ++e->n_ejections;
	e->is_ejected = true;
	endpoint_set_level(e);
	wheel_arm(u->cfg.wheel, &e->timer, u->cfg.wheel_kind, now_us + (us < max_us ? us : max_us));
	set_gauge(u, b, 1);
	stat_inc(u->stats, counter);
}

void outlier_result(struct upstream *u, struct endpoint *e, bool is_ok, uint64_t now_us)
{
	struct backend *b = e->backend;

	e->failures = is_ok ? 0 : e->failures + 1;
	e->n_ok += is_ok;
	e->n_failed += !is_ok;
	if (b->set.eject_failures && e->failures >= b->set.eject_failures)
		eject(u, e, WEIR_C_EJECTIONS_BY_FAILURES, now_us);
	if (!b->set.success_window_ms || now_us < b->window_end_us)
		return;
	if (b->window_end_us) {
		b->needs_scan = true;
		balance_queue(u, b, now_us);
	}
	b->window_end_us = now_us + (uint64_t)b->set.success_window_ms * 1000;
}

/* The first phase: how each did in the window that has ended. */
static void count(struct scan *s, const struct backend *b, struct endpoint *e)
{
	uint64_t n = (uint64_t)e->n_ok + e->n_failed;

	e->rate = UINT32_MAX;
	if (n >= b->set.success_requests && listed(b, e)->level == LEVEL_HEALTHY) {
		e->rate = (uint32_t)((uint64_t)e->n_ok * MILLION / n);
		s->n++;
		s->sum += e->rate;
		s->squares += (uint64_t)e->rate * e->rate;
	}
	e->n_ok = e->n_failed = 0;
}

/* From the rates of the first phase: their mean, and how far below it is too far, squared. */
static void set_bounds(struct scan *s, uint32_t thousandths)
{
	uint64_t mean = s->sum / s->n;
	uint64_t variance = s->squares / s->n - mean * mean;

	s->mean = mean;
	s->limit = variance / 1000 * thousandths / 1000 * thousandths;
}

static bool is_outlier(const struct scan *s, uint32_t rate)
{
	return rate < s->mean && (s->mean - rate) * (s->mean - rate) > s->limit;
}

/* Nobody judges any more: those who are ejected come back. */
static bool return_all(struct upstream *u, struct backend *b, uint64_t now_us)
{
	struct scan *s = &u->scan;
	struct endpoint *e = s->next;

	if (!e || !b->n_ejected) {
		s->b = NULL;
		return true;
	}
	s->next = listed(b, e)->next;
	outlier_return(u, e, now_us);
	return false;
}

bool outlier_scan(struct upstream *u, struct backend *b, uint64_t now_us)
{
	struct scan *s = &u->scan;
	bool is_on = outlier_is_on(&b->set);

	if (s->b != b || (s->phase == RETURNING) == is_on)
		*s = (struct scan){.b = b, .next = b->list.first, .phase = is_on ? 0 : RETURNING};
	if (!is_on)
		return return_all(u, b, now_us);
	if (!b->set.success_window_ms) { /* not by rates any more */
		s->b = NULL;
		return true;
	}
	if (s->next) {
		struct endpoint *e = s->next;

		s->next = listed(b, e)->next;
		if (s->phase == 0)
			count(s, b, e);
		else if (is_outlier(s, e->rate))
			eject(u, e, WEIR_C_EJECTIONS_BY_RATE, now_us);
		return false;
	}
	if (s->phase++ == 0 && s->n >= LEAST_JUDGED) {
		set_bounds(s, b->set.success_deviations);
		s->next = b->list.first;
		return false;
	}
	s->b = NULL;
	return true;
}
