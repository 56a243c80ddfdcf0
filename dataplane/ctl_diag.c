/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of connections and captures: what weir-ctrl asks for is copied out of
 * the arena, checked, and given to the workers; their answers are counted.
 * Nothing here waits, and nothing of a connection that has ended stays longer
 * than its workers need to answer.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/filter.h"
#include "base/ip.h"
#include "base/log.h"
#include "ctl_pvt.h"

#include <rte_cycles.h>

int ctl_diag_init(struct ctl *c, const struct ctl_config *config)
{
	struct ctl_diag *d = &c->diag;

	d->region = config->diag;
	d->fd = config->diag_fd;
	if (!d->region)
		return 0;
	if (posix_memalign((void **)&d->captures, 64, c->n_workers * sizeof(*d->captures)) != 0) {
		d->captures = NULL;
		return -ENOMEM;
	}
	memset(d->captures, 0, c->n_workers * sizeof(*d->captures));
	return 0;
}

static struct weir_diag_worker *worker_out(const struct ctl_diag *d, unsigned i)
{
	return (struct weir_diag_worker *)(void *)((char *)d->region + d->region->workers_off) + i;
}

static bool is_asked(uint32_t worker, unsigned i)
{
	return worker == WEIR_ALL_WORKERS || worker == i;
}

static void answer(struct ctl *c, uint64_t epoch, const struct weir_msg *asked, enum weir_msg_type type, enum weir_refusal status)
{
	const struct weir_msg m = {.type = type, .status = status, .off = asked->off, .size = asked->size, .id = asked->id};

	if (c->conn.fd >= 0 && c->conn.epoch == epoch)
		ctl_ack(c, &m);
}

/* A private copy of n bytes that the message names. */
static enum weir_refusal fetch(const struct ctl *c, const struct weir_msg *m, void *out, size_t n)
{
	if (m->size != n)
		return m->size < n ? WEIR_REFUSED_TRUNCATED : WEIR_REFUSED_TOO_BIG;
	if (m->off % 8 != 0 || m->off > c->conn.arena_size || n > c->conn.arena_size - m->off)
		return WEIR_REFUSED_BAD_PLACE;
	memcpy(out, c->conn.arena + m->off, n);
	return WEIR_REFUSED_OK;
}

static bool is_zero(const uint64_t *v, size_t n)
{
	uint64_t all = 0;

	for (size_t i = 0; i < n; i++)
		all |= v[i];
	return all == 0;
}

/* -- lists of connections */

static bool is_query_good(const struct ctl *c, const struct weir_conn_query *q)
{
	return (q->worker < c->n_workers || q->worker == WEIR_ALL_WORKERS) && q->states != 0 &&
	       q->states < 1u << WEIR_N_CONN_STATES && q->sort < WEIR_N_CONN_SORTS && q->limit >= 1 &&
	       q->limit <= WEIR_CONN_ROWS && q->peer_len <= (ip_is4(&q->peer) ? 32u : 128u) &&
	       q->protocols < 1u << WEIR_N_CONN_PROTOCOLS &&
	       is_zero(q->reserved, 4);
}

/* A job for each worker that is asked first, so that all get theirs or none. */
static enum weir_refusal send_jobs(struct ctl *c, uint64_t id, const struct weir_conn_query *q)
{
	struct walk_job *jobs[WEIR_MAX_WORKERS] = {NULL};
	struct ctl_diag *d = &c->diag;

	for (unsigned i = 0; i < c->n_workers; i++) {
		struct weir_conn_row *rows = (struct weir_conn_row *)(void *)((char *)d->region + d->region->rows_off);

		if (!is_asked(q->worker, i))
			continue;
		if (walk_create(id, q, worker_out(d, i), rows + i * WEIR_CONN_ROWS, &jobs[i]) == 0)
			continue;
		while (i-- > 0)
			walk_destroy(jobs[i]);
		return WEIR_REFUSED_NO_MEMORY;
	}
	for (unsigned i = 0; i < c->n_workers; i++) {
		const struct worker_msg m = {.type = WORKER_WALK, .worker = i, .ptr = jobs[i], .id = id};

		if (!jobs[i])
			continue;
		d->jobs[i] = jobs[i];
		d->n_walking++;
		ctl_worker_send(&c->workers[i], &m);
	}
	return WEIR_REFUSED_OK;
}

static enum weir_refusal begin_walk(struct ctl *c, const struct weir_msg *m)
{
	struct weir_conn_query q;
	enum weir_refusal r;

	if (!c->diag.region)
		return WEIR_REFUSED_SWITCHED_OFF;
	if (c->diag.n_walking)
		return WEIR_REFUSED_IN_USE;
	r = fetch(c, m, &q, sizeof(q));
	if (r == WEIR_REFUSED_OK && !is_query_good(c, &q))
		r = WEIR_REFUSED_BAD_VALUE;
	return r == WEIR_REFUSED_OK ? send_jobs(c, m->id, &q) : r;
}

static void walked(struct ctl *c, const struct worker_msg *m)
{
	struct ctl_diag *d = &c->diag;

	walk_destroy(m->ptr);
	d->jobs[m->worker] = NULL;
	if (--d->n_walking == 0)
		answer(c, d->walk_epoch, &d->walk, WEIR_MSG_CONNECTIONS_DONE, WEIR_REFUSED_OK);
}

/* -- captures */

static enum weir_refusal spec_check(const struct ctl *c, const struct weir_capture_spec *s)
{
	if ((s->worker >= c->n_workers && s->worker != WEIR_ALL_WORKERS) || s->snaplen < 1 ||
	    s->snaplen > WEIR_CAPTURE_BYTES_MAX || s->duration_us < 1 || s->duration_us > WEIR_CAPTURE_MAX_US ||
	    s->reserved0 != 0 || !is_zero(s->reserved, 4))
		return WEIR_REFUSED_BAD_VALUE;
	if (s->n_insns && filter_check(s->insns, s->n_insns) != FILTER_OK)
		return WEIR_REFUSED_BAD_FILTER;
	return WEIR_REFUSED_OK;
}

static void start_worker(struct ctl *c, unsigned i)
{
	struct ctl_diag *d = &c->diag;
	struct net_capture *p = &d->captures[i];
	const struct worker_msg m = {.type = WORKER_CAPTURE, .worker = i, .ptr = p, .id = d->capture_id};
	struct timespec t;

	*p = (struct net_capture){
	    .spec = &d->spec,
	    .out = worker_out(d, i),
	    .ring = (uint8_t *)d->region + d->region->rings_off + i * d->region->ring_size,
	    .ring_size = d->region->ring_size,
	};
	p->out->head = p->out->n_captured = p->out->n_dropped = 0;
	/* Written here, so that the worker meets no page that is not there; and nothing of another capture stays. */
	memset(p->ring, 0, p->ring_size);
	clock_gettime(CLOCK_REALTIME, &t);
	p->unix_us = (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
	p->tsc = rte_rdtsc();
	d->n_capturing++;
	ctl_worker_send(&c->workers[i], &m);
}

static enum weir_refusal begin_capture(struct ctl *c, const struct weir_msg *m)
{
	struct ctl_diag *d = &c->diag;
	enum weir_refusal r;

	if (!d->region || !d->region->ring_size)
		return WEIR_REFUSED_SWITCHED_OFF;
	if (d->is_capturing)
		return WEIR_REFUSED_IN_USE; /* and its spec is being read */
	r = fetch(c, m, &d->spec, sizeof(d->spec));
	if (r == WEIR_REFUSED_OK)
		r = spec_check(c, &d->spec);
	if (r != WEIR_REFUSED_OK)
		return r;
	d->capture_id = m->id;
	d->capture_epoch = c->conn.epoch;
	d->capture_end_us = ctl_now_us() + d->spec.duration_us;
	d->is_capturing = true;
	d->is_stopping = false;
	for (unsigned i = 0; i < c->n_workers; i++) {
		d->captures[i].spec = NULL;
		if (is_asked(d->spec.worker, i))
			start_worker(c, i);
	}
	return WEIR_REFUSED_OK;
}

static void stop_capture(struct ctl *c)
{
	struct ctl_diag *d = &c->diag;

	if (!d->is_capturing || d->is_stopping)
		return;
	d->is_stopping = true;
	for (unsigned i = 0; i < c->n_workers; i++) {
		const struct worker_msg m = {.type = WORKER_CAPTURE_STOP, .worker = i, .id = d->capture_id};

		if (d->captures[i].spec)
			ctl_worker_send(&c->workers[i], &m);
	}
}

static void capture_stopped(struct ctl *c)
{
	struct ctl_diag *d = &c->diag;
	const struct weir_msg off = {.id = d->capture_id};

	if (--d->n_capturing > 0)
		return;
	d->is_capturing = d->is_stopping = false;
	answer(c, d->capture_epoch, &off, WEIR_MSG_CAPTURE_OFF, WEIR_REFUSED_OK);
}

/* How far the reader is, in the private memory from which the worker reads it: never more than was written. */
static const char *take_tail(struct ctl *c, const struct weir_msg *m)
{
	struct ctl_diag *d = &c->diag;
	struct net_capture *p;

	if (!d->is_capturing || m->id != d->capture_id || c->conn.epoch != d->capture_epoch)
		return NULL; /* it was over in between */
	if (m->off >= c->n_workers || !d->captures[m->off].spec)
		return "reads a ring that no capture fills";
	p = &d->captures[m->off];
	if (m->version < p->tail || m->version > __atomic_load_n(&p->out->head, __ATOMIC_ACQUIRE))
		return "reads what was not captured";
	__atomic_store_n(&p->tail, m->version, __ATOMIC_RELEASE);
	return NULL;
}

/* -- both */

static void ask(struct ctl *c, const struct weir_msg *m)
{
	bool is_walk = m->type == WEIR_MSG_CONNECTIONS;
	enum weir_refusal r = is_walk ? begin_walk(c, m) : begin_capture(c, m);

	if (r != WEIR_REFUSED_OK)
		c->stats->diag_refused++;
	else if (is_walk)
		c->stats->conn_lists++;
	else
		c->stats->captures++;
	if (r == WEIR_REFUSED_OK && is_walk) { /* answered when the last worker is done */
		c->diag.walk = *m;
		c->diag.walk_epoch = c->conn.epoch;
		return;
	}
	answer(c, c->conn.epoch, m, is_walk ? WEIR_MSG_CONNECTIONS_DONE : WEIR_MSG_CAPTURE_ON, r);
}

const char *ctl_diag_take(struct ctl *c, const struct weir_msg *m)
{
	switch (m->type) {
	case WEIR_MSG_CAPTURE_TAKEN:
		return take_tail(c, m);
	case WEIR_MSG_CAPTURE_STOP:
		if (m->id == c->diag.capture_id && c->conn.epoch == c->diag.capture_epoch)
			stop_capture(c);
		return NULL;
	default:
		ask(c, m);
		return NULL;
	}
}

void ctl_diag_answer(struct ctl *c, const struct worker_msg *m)
{
	if (m->type == WORKER_WALKED)
		walked(c, m);
	else
		capture_stopped(c);
}

void ctl_diag_gone(struct ctl *c)
{
	stop_capture(c);
}

bool ctl_diag_poll(struct ctl *c)
{
	struct ctl_diag *d = &c->diag;

	if (d->is_capturing && !d->is_stopping && ctl_now_us() >= d->capture_end_us)
		stop_capture(c);
	return d->n_walking > 0 || d->is_stopping;
}

int ctl_diag_timeout(const struct ctl *c, int timeout_ms)
{
	uint64_t now = ctl_now_us();
	uint64_t left;

	if (!c->diag.is_capturing || c->diag.is_stopping)
		return timeout_ms;
	left = c->diag.capture_end_us > now ? (c->diag.capture_end_us - now) / 1000 + 1 : 0;
	return timeout_ms < 0 || left < (uint64_t)timeout_ms ? (int)left : timeout_ms;
}

void ctl_diag_fini(struct ctl *c)
{
	for (unsigned i = 0; i < WEIR_MAX_WORKERS; i++)
		walk_destroy(c->diag.jobs[i]);
	free(c->diag.captures);
}
