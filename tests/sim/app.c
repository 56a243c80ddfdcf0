/* SPDX-License-Identifier: Apache-2.0 */
/* What sits above each end of a planned connection. See app.h. */
#include "app.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <rte_mbuf.h>

#include "text.h"

static void fail(struct app *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void fail(struct app *a, const char *fmt, ...)
{
	va_list args;
	int n;

	if (a->broken[0])
		return;
	n = snprintf(a->broken, sizeof(a->broken), "the %s's application ", a->name);
	va_start(args, fmt);
	vsnprintf(a->broken + n, sizeof(a->broken) - (size_t)n, fmt, args);
	va_end(args);
}

static void on_wake(void *ctx, uint64_t now_us)
{
	struct app *a = ctx;

	if (a->wake_us == 0 || now_us < a->wake_us) /* a call that an earlier one has replaced */
		return;
	a->wake_us = 0;
	app_step(a, now_us);
}

static void wake_at(struct app *a, uint64_t at_us)
{
	if (a->wake_us && a->wake_us <= at_us)
		return;
	a->wake_us = at_us;
	sim_at(a->sim, at_us, on_wake, a);
}

static void let_go(struct app *a, bool aborts, uint64_t now_us)
{
	struct tcp_conn *c = a->c;

	a->c = NULL;
	a->let_go = true;
	a->aborted = aborts;
	if (aborts)
		tcp_abort(c, WEIR_R_CLOSE_ABORTED, now_us);
	else
		tcp_close(c, now_us);
}

/* -- reading */

static void check_bytes(struct app *a, const void *data, uint32_t n)
{
	if (a->is_lied_to) {
		a->got += n;
		return;
	}
	if (a->got + n > a->peer->to_send)
		fail(a, "got %u bytes more than were sent", a->got + n - a->peer->to_send);
	else if (memcmp(data, text_at(a->peer->salt, a->got), n) != 0)
		fail(a, "got wrong bytes in %u:%u of %u", a->got, a->got + n, a->peer->to_send);
	a->got += n;
}

static void check_chain(struct app *a, const struct rte_mbuf *m)
{
	uint32_t sum = 0;
	const char *why;

	if (rte_mbuf_check(m, 1, &why) != 0)
		fail(a, "got a broken chain: %s", why);
	for (; m; m = m->next) {
		check_bytes(a, rte_pktmbuf_mtod(m, const void *), m->data_len);
		sum += m->data_len;
	}
	a->progress_us = a->sim->now_us;
}

/* Takes at most max bytes. Returns the number. */
static uint32_t read_some(struct app *a, uint32_t max)
{
	size_t ready = tcp_readable(a->c);
	struct slice s = tcp_peek(a->c);

	if (ready == 0 || max == 0)
		return 0;
	if (s.n == 0) {
		fail(a, "finds nothing to peek at in %zu readable bytes", ready);
		return 0;
	}
	if (a->plan->reads_mbufs) {
		struct rte_mbuf *m = tcp_recv(a->c, max);
		uint32_t n = m ? m->pkt_len : 0;

		if (m) {
			check_chain(a, m);
		} else { /* no mbuf to split with */
			a->read_at_us = a->sim->now_us + 5000;
			wake_at(a, a->read_at_us);
		}
		rte_pktmbuf_free(m);
		return n;
	}
	if (s.n > max)
		s.n = max;
	check_bytes(a, s.p, (uint32_t)s.n);
	tcp_consume(a->c, s.n);
	a->progress_us = a->sim->now_us;
	return (uint32_t)s.n;
}

static void read_all(struct app *a, uint64_t now_us)
{
	const struct side_plan *p = a->plan;
	uint32_t budget = p->read_max;

	if (now_us < a->read_at_us) {
		wake_at(a, a->read_at_us);
		return;
	}
	if (p->pause_us && !a->has_paused && a->got >= p->pause_at) {
		a->has_paused = true;
		a->read_at_us = now_us + p->pause_us;
		wake_at(a, a->read_at_us);
		return;
	}
	while (budget && !a->broken[0]) {
		uint32_t most = p->pause_us && !a->has_paused && p->pause_at > a->got ? p->pause_at - a->got : budget;
		uint32_t n = read_some(a, most < budget ? most : budget);

		if (n == 0)
			break;
		if (p->read_gap_us || p->read_max == UINT32_MAX)
			budget -= n < budget ? n : budget;
		if (p->pause_us && !a->has_paused && a->got >= p->pause_at)
			break;
	}
	if (p->read_gap_us && tcp_readable(a->c)) {
		a->read_at_us = now_us + p->read_gap_us;
		wake_at(a, a->read_at_us);
	} else if (p->pause_us && !a->has_paused && a->got >= p->pause_at) {
		read_all(a, now_us); /* the pause begins */
	}
}

/* -- sending */

/* n bytes of the text as a chain of odd pieces, or NULL. */
static struct rte_mbuf *make_chain(struct app *a, uint32_t n)
{
	struct rte_mbuf *head = NULL;
	struct rte_mbuf *last = NULL;

	for (uint32_t done = 0; done < n;) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(a->sim->pool);
		uint32_t most = sim_mix(&a->prng) % 4 ? 2048 : 1 + (uint32_t)(sim_mix(&a->prng) % 2048);
		uint32_t k = n - done < most ? n - done : most;

		if (!m || (head && head->nb_segs >= 60)) {
			rte_pktmbuf_free(m);
			rte_pktmbuf_free(head);
			return NULL;
		}
		memcpy(rte_pktmbuf_append(m, (uint16_t)k), text_at(a->plan->salt, a->sent + done), k);
		if (head) {
			last->next = m;
			head->nb_segs++;
			head->pkt_len += k;
		} else {
			head = m;
		}
		last = m;
		done += k;
	}
	return head;
}

/* Sends n bytes, for which there is room. False: no mbuf; again a little later. */
static bool send_call(struct app *a, uint32_t n, uint64_t now_us)
{
	struct rte_mbuf *m;
	int rc;

	if (a->plan->how == SEND_COPY) {
		rc = tcp_send(a->c, text_at(a->plan->salt, a->sent), n);
	} else {
		m = make_chain(a, n);
		rc = m ? tcp_send_mbufs(a->c, m) : -1;
	}
	if (rc != 0) {
		a->send_at_us = now_us + 5000;
		return false;
	}
	a->sent += n;
	a->n_calls++;
	a->progress_us = now_us;
	return true;
}

static void send_more(struct app *a, uint64_t now_us)
{
	const struct side_plan *p = a->plan;

	while (a->sent < p->to_send && now_us >= a->send_at_us) {
		size_t room = tcp_send_room(a->c);
		uint32_t n = p->to_send - a->sent;

		if (n > p->chunk)
			n = p->chunk;
		if (n > TEXT_RUN)
			n = TEXT_RUN;
		if (p->how == SEND_MBUFS && n > 20000)
			n = 20000;
		if (n > room)
			n = (uint32_t)room;
		if (n == 0)
			return; /* WRITABLE will come */
		if (!send_call(a, n, now_us))
			break;
		if (p->gap_us)
			a->send_at_us = now_us + p->gap_us;
	}
	if (a->sent < p->to_send)
		wake_at(a, a->send_at_us);
}

/* Gives on what came in, without a copy. */
static void relay(struct app *a, uint64_t now_us)
{
	if (now_us < a->read_at_us)
		wake_at(a, a->read_at_us);
	while (tcp_readable(a->c) && now_us >= a->read_at_us) {
		size_t room = tcp_send_room(a->c);
		uint32_t max = a->plan->read_max < room ? a->plan->read_max : (uint32_t)room;
		struct rte_mbuf *m = max ? tcp_recv(a->c, max) : NULL;
		uint32_t n;

		if (!m) {
			if (max) { /* no mbuf to split with */
				a->read_at_us = now_us + 5000;
				wake_at(a, a->read_at_us);
			}
			return;
		}
		n = m->pkt_len;
		check_chain(a, m);
		if (tcp_send_mbufs(a->c, m) != 0)
			fail(a, "could not send %u bytes with room for %zu", n, room);
		a->sent += n;
		a->n_calls++;
	}
}

/* -- ending */

static bool is_kill_due(const struct app *a)
{
	const struct side_plan *p = a->plan;

	switch (p->end) {
	case END_ABORT:
		return a->may_kill || a->sent >= p->end_bytes;
	case END_UNREAD:
		return tcp_readable(a->c) > 0 && a->got + tcp_readable(a->c) >= p->end_bytes;
	case END_AT_ONCE:
		return a->sent == p->to_send;
	case END_CLEAN:
		break;
	}
	return false;
}

static void maybe_end(struct app *a, uint64_t now_us)
{
	const struct side_plan *p = a->plan;

	a->eof = tcp_is_eof(a->c);
	if (a->eof && a->got != a->peer->to_send && !a->other->aborted)
		fail(a, "got the end after %u of %u bytes", a->got, a->peer->to_send);
	if (a->sent < p->to_send || (p->awaits_eof && !a->eof))
		return;
	if (a->eof || (p->lets_go_early && a->got == a->peer->to_send)) {
		let_go(a, false, now_us);
	} else if (!a->has_shut) {
		a->has_shut = true;
		tcp_shutdown(a->c);
	}
}

void app_step(struct app *a, uint64_t now_us)
{
	if (!a->c || !a->connected)
		return;
	if (is_kill_due(a)) {
		let_go(a, a->plan->end == END_ABORT, now_us);
		return;
	}
	if (a->plan->how == SEND_RELAY) {
		relay(a, now_us);
	} else {
		if (a->plan->end != END_UNREAD)
			read_all(a, now_us);
		send_more(a, now_us);
	}
	if (is_kill_due(a))
		let_go(a, a->plan->end == END_ABORT, now_us);
	else
		maybe_end(a, now_us);
}

static void on_patience(void *ctx, uint64_t now_us)
{
	struct app *a = ctx;
	uint64_t end = a->progress_us + a->patience_ms * 1000ull;

	if (!a->c)
		return;
	if (now_us < end) {
		sim_at(a->sim, end, on_patience, a);
		return;
	}
	a->lost_patience = true;
	let_go(a, true, now_us);
}

static void on_kill_time(void *ctx, uint64_t now_us)
{
	struct app *a = ctx;

	a->may_kill = true;
	app_step(a, now_us);
}

void app_begin(struct app *a, struct tcp_conn *c, uint64_t now_us)
{
	a->c = c;
	a->progress_us = now_us;
	sim_at(a->sim, now_us + a->patience_ms * 1000ull, on_patience, a);
	if (a->plan->end == END_ABORT)
		sim_at(a->sim, now_us + a->plan->end_us, on_kill_time, a);
}

void app_event(struct tcp_conn *c, void *user, unsigned events, uint64_t now_us)
{
	struct app *a = user;

	if (a->c != c || app_is_done(a))
		fail(a, "hears event %x of a connection that it let go", events);
	if (events & TCP_EV_CLOSED) {
		a->closed = true;
		a->n_closed++;
		a->why = tcp_close_reason(c);
		a->c = NULL;
		return;
	}
	if (events & TCP_EV_CONNECTED) {
		a->connected = true;
		a->progress_us = now_us;
	}
	app_step(a, now_us);
}
