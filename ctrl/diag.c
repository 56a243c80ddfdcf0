/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See diag.h. The region is the dataplane's memory: it is read with care all
 * the same (a place is checked before it is used), and never while there is no
 * connection.
 */
#include "diag.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define STOP_MS 2000u /* for the workers to stop; then what was read has to do */
#define PCAP_RECORD 16u

enum phase {
	PHASE_NONE,
	PHASE_ASKED,
	PHASE_ON,
	PHASE_STOPPING, /* CAPTURE_STOP was sent, or has to be */
	PHASE_OFF,	/* no worker writes any more */
	PHASE_FAILED,
};

struct walk {
	enum diag_state state;
	int result;
	uint64_t id;
	uint64_t asked_ms;
	struct weir_conn_query query;
	struct diag_list list;
};

struct capture {
	enum phase phase;
	int result;
	bool is_owned;	 /* somebody reads it; else it only has to end */
	bool must_stop;	 /* CAPTURE_STOP could not be sent yet */
	uint64_t id;
	uint64_t since_ms; /* of ASKED, or STOPPING */
	struct weir_capture_spec spec;
	uint64_t tail[WEIR_MAX_WORKERS], told[WEIR_MAX_WORKERS];
	struct diag_totals totals;
	/* bytes that the reader has not had yet */
	size_t at, n;
	char bytes[PCAP_RECORD + WEIR_CAPTURE_BYTES_MAX];
};

struct diag {
	struct publish *publish;
	uint64_t last_id;
	struct walk walk;
	struct capture capture;
};

const char *diag_result_text(int result)
{
	switch (result) {
	case 0:
		return "good";
	case -EBUSY:
	case WEIR_REFUSED_IN_USE:
		return "another one is under way; try again when it has ended";
	case -ENOTCONN:
		return "no connection to the dataplane";
	case -EOPNOTSUPP:
		return "this dataplane is of a version that cannot do it";
	case -EAGAIN:
		return "no room for the request in the shared memory; try again";
	case -ENOMEM:
		return "no memory";
	case -ETIMEDOUT:
		return "the dataplane did not answer in time";
	case -EPROTO:
		return "what the dataplane wrote is malformed";
	case WEIR_REFUSED_SWITCHED_OFF:
		return "switched off in weir.yaml (memory: capture_kb)";
	default:
		return result > 0 ? publish_refusal_name((uint32_t)result) : strerror(-result);
	}
}

static const struct weir_diag_worker *worker_of(const struct weir_diag_region *r, unsigned i)
{
	return (const struct weir_diag_worker *)(const void *)((const char *)r + r->workers_off) + i;
}

static uint64_t load(const uint64_t *v)
{
	return __atomic_load_n(v, __ATOMIC_ACQUIRE);
}

/* -- lists of connections */

static uint64_t key_of(uint32_t sort, const struct weir_conn_row *r)
{
	switch (sort) {
	case WEIR_SORT_RTT:
		return r->srtt_us;
	case WEIR_SORT_CWND:
		return r->cwnd;
	case WEIR_SORT_RETRANSMITS:
		return r->retransmits;
	case WEIR_SORT_QUEUE:
		return (uint64_t)r->unacked + r->unsent + r->readable;
	case WEIR_SORT_IDLE:
		return r->idle_us;
	default:
		return 0;
	}
}

/* Largest first; what is alike by worker. */
static int by_key(const void *a, const void *b, void *ctx)
{
	const struct diag_row *x = a;
	const struct diag_row *y = b;
	uint32_t sort = *(const uint32_t *)ctx;
	uint64_t kx = key_of(sort, &x->row);
	uint64_t ky = key_of(sort, &y->row);

	if (kx != ky)
		return kx < ky ? 1 : -1;
	return (x->worker > y->worker) - (x->worker < y->worker);
}

static bool is_asked(uint32_t worker, unsigned i)
{
	return worker == WEIR_ALL_WORKERS || worker == i;
}

/* Copies what the workers found, so that it does not depend on the region any more. */
static int collect(struct walk *w, const struct weir_diag_region *r)
{
	struct diag_list *list = &w->list;
	uint32_t n_rows[WEIR_MAX_WORKERS]; /* read once: what was checked is what is used */
	size_t n = 0;

	for (unsigned i = 0; i < r->n_workers; i++)
		if (is_asked(w->query.worker, i)) {
			n_rows[i] = __atomic_load_n(&worker_of(r, i)->n_rows, __ATOMIC_RELAXED);
			if (worker_of(r, i)->walk_id != w->id || n_rows[i] > w->query.limit)
				return -EPROTO;
			n += n_rows[i];
		}
	list->rows = calloc(n + 1, sizeof(*list->rows));
	if (!list->rows)
		return -ENOMEM;
	for (unsigned i = 0; i < r->n_workers; i++) {
		const struct weir_diag_worker *o = worker_of(r, i);
		const struct weir_conn_row *rows =
		    (const struct weir_conn_row *)(const void *)((const char *)r + r->rows_off) + (size_t)i * r->n_rows;

		if (!is_asked(w->query.worker, i))
			continue;
		list->n_walked += o->n_walked;
		list->n_matched += o->n_matched;
		for (uint32_t k = 0; k < n_rows[i]; k++)
			list->rows[list->n_rows++] = (struct diag_row){.worker = i, .row = rows[k]};
	}
	qsort_r(list->rows, list->n_rows, sizeof(*list->rows), by_key, &w->query.sort);
	if (list->n_rows > w->query.limit)
		list->n_rows = w->query.limit;
	return 0;
}

static void walk_fail(struct walk *w, int result)
{
	w->state = DIAG_FAILED;
	w->result = result;
}

static void walk_answer(struct diag *d, const struct weir_msg *m)
{
	struct walk *w = &d->walk;
	int result;

	if (w->state != DIAG_WAITING || m->id != w->id)
		return; /* of one that was given up */
	result = m->status ? (int)m->status : collect(w, publish_diag(d->publish));
	if (result)
		walk_fail(w, result);
	else
		w->state = DIAG_READY;
}

int diag_walk(struct diag *d, const struct weir_conn_query *q, uint64_t now_ms)
{
	struct weir_msg m = {.type = WEIR_MSG_CONNECTIONS};
	int rc;

	if (d->walk.state != DIAG_NONE)
		return -EBUSY;
	m.id = d->last_id + 1;
	d->walk = (struct walk){.state = DIAG_WAITING, .id = m.id, .asked_ms = now_ms, .query = *q};
	rc = publish_ask(d->publish, &m, q, sizeof(*q));
	if (rc) {
		d->walk.state = DIAG_NONE;
		return rc;
	}
	d->last_id++;
	return 0;
}

enum diag_state diag_walk_state(const struct diag *d, int *result)
{
	*result = d->walk.result;
	return d->walk.state;
}

const struct diag_list *diag_walk_list(const struct diag *d)
{
	return &d->walk.list;
}

void diag_walk_end(struct diag *d)
{
	free(d->walk.list.rows);
	d->walk = (struct walk){.state = DIAG_NONE};
}

/* -- captures */

static void capture_fail(struct capture *c, int result)
{
	c->phase = c->is_owned ? PHASE_FAILED : PHASE_NONE;
	c->result = result;
}

static void begin_pcap(struct capture *c)
{
	const struct {
		uint32_t magic;
		uint16_t major, minor;
		int32_t zone;
		uint32_t sigfigs, snaplen, link;
	} head = {0xa1b2c3d4, 2, 4, 0, 0, c->spec.snaplen, 1};

	_Static_assert(sizeof(head) == 24, "as a pcap file begins");
	memcpy(c->bytes, &head, sizeof(head));
	c->at = 0;
	c->n = sizeof(head);
}

static void sum_drops(struct diag *d)
{
	const struct weir_diag_region *r = publish_diag(d->publish);
	uint64_t n = 0;

	for (unsigned i = 0; r && i < r->n_workers; i++)
		if (is_asked(d->capture.spec.worker, i))
			n += load(&worker_of(r, i)->n_dropped);
	if (r)
		d->capture.totals.n_dropped = n;
}

/* False: no room for it now. */
static bool send_stop(struct diag *d, uint64_t id)
{
	const struct weir_msg m = {.type = WEIR_MSG_CAPTURE_STOP, .id = id};

	return publish_ask(d->publish, &m, NULL, 0) != -EAGAIN;
}

static void capture_answer(struct diag *d, const struct weir_msg *m)
{
	struct capture *c = &d->capture;

	if (m->id != c->id || c->phase == PHASE_NONE || c->phase == PHASE_FAILED) {
		if (m->type == WEIR_MSG_CAPTURE_ON && !m->status)
			send_stop(d, m->id); /* it was given up meanwhile */
		return;
	}
	if (m->type == WEIR_MSG_CAPTURE_OFF) {
		sum_drops(d);
		c->phase = c->is_owned ? PHASE_OFF : PHASE_NONE;
		return;
	}
	if (m->status) {
		capture_fail(c, (int)m->status);
	} else if (c->phase == PHASE_ASKED) {
		c->phase = PHASE_ON;
		begin_pcap(c);
	}
}

void diag_capture_stop(struct diag *d, uint64_t now_ms)
{
	struct capture *c = &d->capture;

	if (c->phase != PHASE_ON && c->phase != PHASE_ASKED)
		return;
	c->phase = PHASE_STOPPING;
	c->since_ms = now_ms;
	c->must_stop = !send_stop(d, c->id);
}

int diag_capture(struct diag *d, const struct weir_capture_spec *spec, uint64_t now_ms)
{
	struct weir_msg m = {.type = WEIR_MSG_CAPTURE};
	struct capture *c = &d->capture;
	int rc;

	if (c->phase != PHASE_NONE)
		return -EBUSY;
	memset(c, 0, offsetof(struct capture, bytes));
	c->spec = *spec;
	c->id = m.id = d->last_id + 1;
	c->phase = PHASE_ASKED;
	c->since_ms = now_ms;
	c->is_owned = true;
	rc = publish_ask(d->publish, &m, spec, sizeof(*spec));
	if (rc) {
		c->phase = PHASE_NONE;
		return rc;
	}
	d->last_id++;
	return 0;
}

enum diag_state diag_capture_state(const struct diag *d, int *result)
{
	*result = d->capture.result;
	switch (d->capture.phase) {
	case PHASE_NONE:
		return DIAG_NONE;
	case PHASE_ASKED:
		return DIAG_WAITING;
	case PHASE_FAILED:
		return DIAG_FAILED;
	default:
		return DIAG_READY;
	}
}

/*
 * Copies the head of the record at the tail of worker i's ring, past what is
 * skipped. 1: there is one, 0: none, -EPROTO: nonsense.
 */
static int peek(struct diag *d, const struct weir_diag_region *r, unsigned i, struct weir_capture_record *out)
{
	const char *ring = (const char *)r + r->rings_off + i * r->ring_size;
	uint64_t *tail = &d->capture.tail[i];
	uint64_t head = load(&worker_of(r, i)->head);

	if (head != *tail && r->ring_size == 0)
		return -EPROTO;
	while (head != *tail) {
		uint64_t n = head - *tail;
		uint64_t left = r->ring_size - *tail % r->ring_size;

		if (n > r->ring_size || n % WEIR_CAPTURE_ALIGN)
			return -EPROTO;
		memcpy(out, ring + *tail % r->ring_size, sizeof(*out));
		if (out->caplen == WEIR_CAPTURE_SKIP && left <= n) {
			*tail += left;
			continue;
		}
		if (out->caplen > WEIR_CAPTURE_BYTES_MAX || sizeof(*out) + out->caplen > (left < n ? left : n))
			return -EPROTO;
		return 1;
	}
	return 0;
}

/* Takes the earliest record of all rings into bytes. False: there is none now. */
static bool take_record(struct diag *d)
{
	const struct weir_diag_region *r = publish_diag(d->publish);
	struct capture *c = &d->capture;
	struct weir_capture_record first = {0}, rec;
	unsigned worker = UINT32_MAX;
	const char *from;

	for (unsigned i = 0; r && i < r->n_workers; i++) {
		int rc = is_asked(c->spec.worker, i) ? peek(d, r, i, &rec) : 0;

		if (rc < 0) {
			log_error("capture: %s", diag_result_text(rc));
			send_stop(d, c->id);
			capture_fail(c, rc);
			return false;
		}
		if (rc > 0 && (worker == UINT32_MAX || rec.time_us < first.time_us)) {
			worker = i;
			first = rec;
		}
	}
	if (worker == UINT32_MAX)
		return false;
	from = (const char *)r + r->rings_off + worker * r->ring_size + c->tail[worker] % r->ring_size + sizeof(first);
	const uint32_t head[4] = {(uint32_t)(first.time_us / 1000000), (uint32_t)(first.time_us % 1000000), first.caplen,
				  first.len};
	memcpy(c->bytes, head, sizeof(head));
	memcpy(c->bytes + sizeof(head), from, first.caplen);
	c->at = 0;
	c->n = sizeof(head) + first.caplen;
	c->tail[worker] += (sizeof(first) + first.caplen + WEIR_CAPTURE_ALIGN - 1) / WEIR_CAPTURE_ALIGN * WEIR_CAPTURE_ALIGN;
	c->totals.n_packets++;
	return true;
}

static bool is_count_reached(const struct capture *c)
{
	return c->spec.count && c->totals.n_packets >= c->spec.count;
}

/* Gives the rings' room back where at least least bytes were read since the last time. */
static void tell_tails(struct diag *d, uint64_t least)
{
	struct capture *c = &d->capture;

	if (c->phase != PHASE_ON)
		return;
	for (unsigned i = 0; i < WEIR_MAX_WORKERS; i++) {
		const struct weir_msg m = {.type = WEIR_MSG_CAPTURE_TAKEN, .id = c->id, .off = i, .version = c->tail[i]};

		if (c->tail[i] - c->told[i] >= least && publish_ask(d->publish, &m, NULL, 0) == 0)
			c->told[i] = c->tail[i];
	}
}

size_t diag_capture_read(struct diag *d, char *out, size_t cap)
{
	struct capture *c = &d->capture;
	size_t n = 0;

	while (n < cap) {
		size_t k = c->n - c->at < cap - n ? c->n - c->at : cap - n;

		memcpy(out + n, c->bytes + c->at, k);
		n += k;
		c->at += k;
		if (c->at == c->n && (c->phase < PHASE_ON || c->phase > PHASE_OFF || is_count_reached(c) || !take_record(d)))
			break;
	}
	if (publish_diag(d->publish))
		tell_tails(d, publish_diag(d->publish)->ring_size / 4);
	return n;
}

bool diag_capture_has_bytes(const struct diag *d)
{
	const struct weir_diag_region *r = publish_diag(d->publish);
	const struct capture *c = &d->capture;

	if (c->at < c->n)
		return true;
	if (!r || c->phase < PHASE_ON || c->phase > PHASE_OFF || is_count_reached(c))
		return false;
	for (unsigned i = 0; i < r->n_workers; i++)
		if (is_asked(c->spec.worker, i) && load(&worker_of(r, i)->head) != c->tail[i])
			return true;
	return false;
}

bool diag_capture_is_over(const struct diag *d)
{
	const struct capture *c = &d->capture;

	if (c->phase == PHASE_NONE || c->phase == PHASE_FAILED)
		return c->at == c->n;
	return c->phase == PHASE_OFF && !diag_capture_has_bytes(d);
}

struct diag_totals diag_capture_totals(const struct diag *d)
{
	return d->capture.totals;
}

void diag_capture_end(struct diag *d, uint64_t now_ms)
{
	struct capture *c = &d->capture;

	diag_capture_stop(d, now_ms);
	c->is_owned = false;
	if (c->phase != PHASE_STOPPING)
		c->phase = PHASE_NONE;
}

/* -- both */

static void on_answer(void *ctx, const struct weir_msg *m)
{
	struct diag *d = ctx;

	if (m && m->type == WEIR_MSG_CONNECTIONS_DONE) {
		walk_answer(d, m);
	} else if (m) {
		capture_answer(d, m);
	} else {
		if (d->walk.state == DIAG_WAITING)
			walk_fail(&d->walk, -ENOTCONN);
		if (d->capture.phase != PHASE_NONE)
			capture_fail(&d->capture, -ENOTCONN);
	}
}

struct diag *diag_create(struct publish *p)
{
	struct diag *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->publish = p;
	publish_listen(p, on_answer, d);
	return d;
}

void diag_destroy(struct diag *d)
{
	if (!d)
		return;
	publish_listen(d->publish, NULL, NULL);
	diag_walk_end(d);
	free(d);
}

void diag_poll(struct diag *d, uint64_t now_ms)
{
	struct capture *c = &d->capture;

	if (d->walk.state == DIAG_WAITING && now_ms - d->walk.asked_ms >= DIAG_TIMEOUT_MS)
		walk_fail(&d->walk, -ETIMEDOUT);
	if (c->phase == PHASE_ASKED && now_ms - c->since_ms >= DIAG_TIMEOUT_MS) {
		send_stop(d, c->id); /* should it have begun */
		capture_fail(c, -ETIMEDOUT);
	}
	if (c->phase == PHASE_ON) {
		sum_drops(d);
		tell_tails(d, 1);
		if (is_count_reached(c))
			diag_capture_stop(d, now_ms);
	}
	if (c->phase == PHASE_STOPPING && c->must_stop)
		c->must_stop = !send_stop(d, c->id);
	if (c->phase == PHASE_STOPPING && now_ms - c->since_ms >= STOP_MS)
		capture_fail(c, -ETIMEDOUT);
}

int diag_timeout(const struct diag *d)
{
	if (d->capture.phase != PHASE_NONE)
		return DIAG_POLL_MS;
	return d->walk.state == DIAG_WAITING ? 100 : -1;
}
