/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker's use of the device. A handshake runs in a job of OpenSSL's (its own stack); where the device takes an operation the
 * job pauses, and the session waits in a list until the device's callback has named it and the worker goes on with the same call.
 * An object of OpenSSL whose job is paused cannot be freed: a session that has ended keeps it, and one whose connection has
 * gone keeps its place, until the job ends.
 *
 * The device is down if an operation took too long while no other one ended, or if many in a row failed. Then handshakes begin
 * in software, and now and then one of them tries the device.
 */
#include <stdlib.h>

#include <openssl/async.h>
#include <openssl/err.h>
#include <rte_branch_prediction.h>

#include "base/log.h"
#include "tls/tls_pvt.h"

#define FAILURES_MAX 8u /* in a row, and the device is down */

/* What can never be freed: a device may write there still. Here so that it counts as known. */
static struct tls *abandoned;

void offload_init(struct tls *t)
{
	struct offload *o = &t->offload;

	o->device = t->cfg.offload;
	TAILQ_INIT(&o->submitted);
	TAILQ_INIT(&o->late);
	TAILQ_INIT(&o->bounced);
	TAILQ_INIT(&o->queued);
	TAILQ_INIT(&o->woken);
	stat_set(t->cfg.stats, WEIR_G_TLS_OFFLOAD_UP, o->device != NULL);
}

static struct offload_list *list_of(struct offload *o, uint8_t job)
{
	switch (job) {
	case JOB_QUEUED:
		return &o->queued;
	case JOB_BOUNCED:
		return &o->bounced;
	case JOB_SUBMITTED:
		return &o->submitted;
	case JOB_LATE:
		return &o->late;
	case JOB_DONE:
		return &o->woken;
	default:
		return NULL;
	}
}

static bool is_in_device(uint8_t job)
{
	return job == JOB_SUBMITTED || job == JOB_LATE;
}

/* From one list to another, and what counts them. */
static void move(struct tls_session *s, enum offload_job to)
{
	struct offload *o = &s->t->offload;
	struct weir_worker_stats *stats = s->t->cfg.stats;
	struct offload_list *from = list_of(o, s->job);
	struct offload_list *list = list_of(o, (uint8_t)to);

	if (from)
		TAILQ_REMOVE(from, s, offload_link);
	if (list)
		TAILQ_INSERT_TAIL(list, s, offload_link);
	o->n_in_flight += (uint32_t)is_in_device((uint8_t)to) - (uint32_t)is_in_device(s->job);
	o->n_queued += (uint32_t)(to == JOB_QUEUED) - (uint32_t)(s->job == JOB_QUEUED);
	o->n_paused += (uint32_t)(to > JOB_QUEUED) - (uint32_t)(s->job > JOB_QUEUED);
	s->job = (uint8_t)to;
	s->waits = list && to != JOB_DONE ? WAITS_OFFLOAD : WAITS_NOT;
	stat_set(stats, WEIR_G_TLS_OFFLOAD_IN_FLIGHT, o->n_in_flight);
	stat_set(stats, WEIR_G_TLS_OFFLOAD_QUEUED, o->n_queued);
}

/* -- the device's health */

static void go_down(struct tls *t)
{
	struct offload *o = &t->offload;

	o->retry_us = o->now_us + o->device->cfg.retry_ms * 1000ull;
	if (o->health == OFFLOAD_DOWN)
		return;
	o->health = OFFLOAD_DOWN;
	stat_inc(t->cfg.stats, WEIR_C_TLS_OFFLOAD_DOWN);
	stat_set(t->cfg.stats, WEIR_G_TLS_OFFLOAD_UP, 0);
}

static void note_success(struct tls *t)
{
	struct offload *o = &t->offload;

	o->last_done_us = o->now_us;
	o->n_failed = 0;
	if (o->health == OFFLOAD_UP)
		return;
	o->health = OFFLOAD_UP;
	stat_set(t->cfg.stats, WEIR_G_TLS_OFFLOAD_UP, 1);
}

static void note_failure(struct tls *t)
{
	if (++t->offload.n_failed >= FAILURES_MAX || t->offload.health == OFFLOAD_DOWN)
		go_down(t);
}

bool offload_wants(struct tls_session *s)
{
	struct offload *o = &s->t->offload;

	if (!o->device)
		return false;
	if (o->health == OFFLOAD_UP)
		return true;
	if (o->now_us >= o->retry_us) { /* this one tries it */
		o->retry_us = o->now_us + o->device->cfg.retry_ms * 1000ull;
		s->is_probe = true;
		return true;
	}
	stat_inc(s->t->cfg.stats, WEIR_C_TLS_OFFLOAD_FALLBACKS);
	return false;
}

/* -- jobs */

/* The device has ended an operation. Within engine_poll(), or on a thread of the device's own. */
static int on_done(SSL *ssl, void *arg)
{
	struct tls_session *s = arg;
	struct offload *o = &s->t->offload;

	if (__atomic_exchange_n(&s->is_told_done, true, __ATOMIC_ACQ_REL))
		return 1;
	s->next_done = __atomic_load_n(&o->done, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&o->done, &s->next_done, s, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
	return 1;
}

void offload_begin(struct tls_session *s)
{
	s->is_offloaded = true;
	SSL_set_mode(s->ssl, SSL_MODE_ASYNC);
	SSL_set_async_callback(s->ssl, on_done);
	SSL_set_async_callback_arg(s->ssl, s);
}

void offload_complete(struct tls_session *s)
{
	if (!s->is_offloaded)
		return;
	SSL_clear_mode(s->ssl, SSL_MODE_ASYNC);
	if (s->is_probe && s->t->offload.health == OFFLOAD_DOWN) /* a ticket of the client's: nothing was asked of the device */
		s->t->offload.retry_us = s->t->offload.now_us;
}

static void note_operation(struct tls_session *s, enum offload_fault fault)
{
	struct tls *t = s->t;

	stat_add(t->cfg.stats, WEIR_C_TLS_OFFLOAD_US, t->offload.now_us - s->submitted_us);
	if (fault == FAULT_DEVICE || fault == FAULT_UNKNOWN) {
		stat_inc(t->cfg.stats, WEIR_C_TLS_OFFLOAD_FAILED);
		s->has_device_failed = true;
		if (fault == FAULT_DEVICE) /* clients cannot take the device from others */
			note_failure(t);
	} else {
		stat_inc(t->cfg.stats, WEIR_C_TLS_OFFLOAD_COMPLETED);
		note_success(t);
	}
}

/* Those that have waited longest for a job may try again, as many as there are jobs. */
static void wake_queued(struct tls *t)
{
	struct offload *o = &t->offload;

	for (uint32_t n = o->n_paused; n < o->device->cfg.n_jobs && o->n_queued; n++) {
		struct tls_session *s = TAILQ_FIRST(&o->queued);

		move(s, JOB_NONE);
		tls_wake(s);
	}
}

static void on_pause(struct tls_session *s)
{
	struct weir_worker_stats *stats = s->t->cfg.stats;
	int status = ASYNC_STATUS_UNSUPPORTED;

	if (SSL_get_async_status(s->ssl, &status) && status == ASYNC_STATUS_EAGAIN) {
		stat_inc(stats, WEIR_C_TLS_OFFLOAD_RETRIED);
		move(s, JOB_BOUNCED);
		return;
	}
	stat_inc(stats, WEIR_C_TLS_OFFLOAD_SUBMITTED);
	s->submitted_us = s->t->offload.now_us;
	s->submitted_in = (uint8_t)SSL_get_state(s->ssl);
	move(s, JOB_SUBMITTED);
}

bool offload_note(struct tls_session *s, int what)
{
	if (s->job == JOB_DONE)
		note_operation(s, offload_fault(s, what));
	if (what == SSL_ERROR_WANT_ASYNC) {
		on_pause(s);
		return true;
	}
	move(s, JOB_NONE);
	if (what == SSL_ERROR_WANT_ASYNC_JOB) {
		stat_inc(s->t->cfg.stats, WEIR_C_TLS_OFFLOAD_RETRIED);
		move(s, JOB_QUEUED);
		return true;
	}
	return false;
}

void offload_leave_queue(struct tls_session *s)
{
	if (s->job == JOB_QUEUED)
		move(s, JOB_NONE);
}

/* -- sessions that have ended before their job */

/* Nobody asks for this handshake any more: what OpenSSL makes of it does not matter. */
static void resume_ended(struct tls_session *s)
{
	enum weir_stage former = enter(s->t);
	int rc;

	ERR_clear_error();
	rc = SSL_do_handshake(s->ssl);
	if (!offload_note(s, SSL_get_error(s->ssl, rc)))
		tls_let_go(s);
	ERR_clear_error();
	leave(s->t, former);
}

static void resume(struct tls_session *s)
{
	if (s->state == TLS_ENDED || s->is_orphan || s->t->offload.is_ending)
		resume_ended(s);
	else
		tls_wake(s);
}

static unsigned take_done(struct tls *t)
{
	struct tls_session *s = __atomic_exchange_n(&t->offload.done, NULL, __ATOMIC_ACQUIRE);
	unsigned n = 0;

	while (s) {
		struct tls_session *next = s->next_done;

		__atomic_store_n(&s->is_told_done, false, __ATOMIC_RELEASE);
		if (is_in_device(s->job)) {
			move(s, JOB_DONE);
			resume(s);
			n++;
		}
		s = next;
	}
	return n;
}

void offload_hear(struct tls_session *s)
{
	if (__atomic_load_n(&s->is_told_done, __ATOMIC_ACQUIRE))
		take_done(s->t);
}

void offload_orphan(struct tls_session *s)
{
	struct tls *t = s->t;

	s->is_orphan = true;
	stat_inc(t->cfg.stats, WEIR_C_TLS_OFFLOAD_ORPHANED);
	stat_set(t->cfg.stats, WEIR_G_TLS_OFFLOAD_ORPHANS, ++t->offload.n_orphans);
	if (s->job == JOB_DONE)
		resume_ended(s);
}

/* -- with the worker's loop */

/* Each once: who is bounced again waits until the next poll. */
static unsigned resume_bounced(struct tls *t)
{
	struct tls_session *last = TAILQ_LAST(&t->offload.bounced, offload_list);
	struct tls_session *s;
	unsigned n = 0;

	while (last && (s = TAILQ_FIRST(&t->offload.bounced)) != NULL) {
		bool is_last = s == last;

		if (s->state == TLS_ENDED || s->is_orphan || t->offload.is_ending) {
			resume_ended(s);
		} else {
			TAILQ_REMOVE(&t->offload.bounced, s, offload_link);
			TAILQ_INSERT_TAIL(&t->offload.bounced, s, offload_link);
			s->waits = WAITS_NOT; /* its owner goes on */
			tcp_wake(s->tcp);
		}
		n++;
		if (is_last)
			break;
	}
	return n;
}

static void give_up(struct tls_session *s)
{
	struct tls *t = s->t;
	bool is_dead = t->offload.last_done_us < s->submitted_us; /* nothing ended since */

	stat_inc(t->cfg.stats, WEIR_C_TLS_OFFLOAD_TIMEOUTS);
	move(s, JOB_LATE);
	if (is_dead || s->is_probe)
		go_down(t);
	if (s->state == TLS_ENDED || s->is_orphan)
		return;
	tls_end(s, WEIR_R_TLS_OFFLOAD_TIMEOUT, ALERT_NONE);
	tcp_wake(s->tcp); /* its owner is to see it */
}

static void end_late(struct tls *t)
{
	struct offload *o = &t->offload;
	struct tls_session *s;

	while ((s = TAILQ_FIRST(&o->submitted)) != NULL && o->now_us - s->submitted_us > o->device->cfg.timeout_ms * 1000ull)
		give_up(s);
}

unsigned tls_poll(struct tls *t, uint64_t now_us)
{
	struct offload *o = &t->offload;
	unsigned n = ready_wake(t) + turn_give(t);

	if (likely(o->n_paused == 0 && o->n_queued == 0))
		return n;
	o->now_us = now_us;
	if (o->n_in_flight && o->device->engine)
		engine_poll(o->device);
	n += take_done(t);
	n += resume_bounced(t);
	end_late(t);
	wake_queued(t);
	return n;
}

bool tls_needs_poll(const struct tls *t)
{
	return t->offload.n_paused || t->offload.n_queued || t->turn || t->ready.waking;
}

bool tls_begin(struct tls *t, unsigned worker)
{
	struct offload *o = &t->offload;

	if (!o->device)
		return true;
	if (o->device->engine && !engine_use_instance(o->device, worker))
		return false;
	return ASYNC_init_thread(o->device->cfg.n_jobs, o->device->cfg.n_jobs) == 1;
}

bool tls_settle(struct tls *t, uint64_t now_us)
{
	struct tls_session *s;

	t->offload.is_ending = true;
	while ((s = TAILQ_FIRST(&t->offload.queued)) != NULL)
		move(s, JOB_NONE);
	while ((s = TAILQ_FIRST(&t->offload.woken)) != NULL)
		resume_ended(s);
	tls_poll(t, now_us);
	return t->offload.n_paused == 0;
}

void tls_set_software(struct tls *t)
{
	t->offload.device = NULL;
	stat_set(t->cfg.stats, WEIR_G_TLS_OFFLOAD_UP, 0);
}

void tls_finish(struct tls *t)
{
	if (t->cfg.offload)
		ASYNC_cleanup_thread();
	OPENSSL_thread_stop_ex(t->lib); /* what it keeps for this thread is of the thread's heap */
}

/* The sessions are in memory of DPDK, where nothing that looks for leaks sees what they refer to. */
static void keep(struct offload *o)
{
	const struct offload_list *const lists[] = {&o->submitted, &o->late, &o->bounced, &o->woken};
	const struct tls_session *s;
	uint32_t n = 0;

	o->kept = calloc(o->n_paused, sizeof(SSL *));
	for (unsigned i = 0; o->kept && i < sizeof(lists) / sizeof(*lists); i++)
		TAILQ_FOREACH(s, lists[i], offload_link)
			o->kept[n++] = s->ssl;
}

bool offload_fini(struct tls *t)
{
	if (t->offload.n_paused == 0)
		return true;
	keep(&t->offload);
	log_warn("TLS: %u operations given to the %s never ended: their memory is left to it", t->offload.n_paused,
		 offload_kind_name(t->offload.device->cfg.kind));
	t->next_abandoned = abandoned;
	abandoned = t;
	return false;
}
