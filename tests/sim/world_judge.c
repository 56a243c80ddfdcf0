/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold of a connection while it runs, and of the world at its end. See world.h. */
#include <stdio.h>
#include <string.h>

#include "stats/stats.h"
#include "world.h"

#define RTO_MOST_US 61000000
#define OPTIONS_MOST 40 /* that take room from the MSS */

/* -- while it runs */

static void sample_end(struct world *w, struct conn_run *r, int side)
{
	const struct tcp_config *cfg = &w->plan.config[run_host(r, side)];
	struct tcp_info i;

	if (!r->app[side].c)
		return;
	tcp_get_info(r->app[side].c, &i);
	wire_check_alive(&r->wire, side, w->sim.now_us);
	if (i.cwnd + OPTIONS_MOST < i.mss)
		wire_fail(&r->wire, side, "has a congestion window of %u with an MSS of %u", i.cwnd, i.mss);
	if (i.readable_bytes > cfg->rx_buffer_bytes || i.ooo_bytes > cfg->rx_buffer_bytes)
		wire_fail(&r->wire, side, "holds %u readable bytes and %u behind gaps in a buffer of %u", i.readable_bytes,
			  i.ooo_bytes, cfg->rx_buffer_bytes);
	if (i.unacked_bytes + i.unsent_bytes > cfg->tx_buffer_bytes)
		wire_fail(&r->wire, side, "holds %u bytes unacknowledged and %u unsent in a buffer of %u", i.unacked_bytes,
			  i.unsent_bytes, cfg->tx_buffer_bytes);
	if (i.rto_us == 0 || i.rto_us > RTO_MOST_US)
		wire_fail(&r->wire, side, "has a retransmission timeout of %u us", i.rto_us);
	if (i.srtt_us > w->sim.now_us - w->start_us + 2000) /* time stamps are of milliseconds */
		wire_fail(&r->wire, side, "has measured a round trip of %u us", i.srtt_us);
}

void world_sample(struct world *w, struct conn_run *r)
{
	for (int side = 0; side < 2; side++)
		sample_end(w, r, side);
}

/* -- at the end */

static bool is_connection_reason(enum weir_reason r)
{
	return r < WEIR_N_REASONS && stat_reason_kind(r) == WEIR_KIND_CONNECTION;
}

static void judge_end(struct world *w, struct conn_run *r, int side, struct run_result *out)
{
	const struct app *a = &r->app[side];
	int i = (int)(r - w->run);

	if (a->broken[0])
		result_fail(out, i, "%s", a->broken);
	if (a->n_closed > 1)
		result_fail(out, i, "the %s heard CLOSED %u times", a->name, a->n_closed);
	if (side == 1 && !a->connected)
		return; /* never accepted */
	if (!app_is_done(a))
		result_fail(out, i, "the %s never ended: sent %u of %u, got %u of %u", a->name, a->sent, a->plan->to_send, a->got,
		     a->peer->to_send);
	if (a->closed && !is_connection_reason(a->why))
		result_fail(out, i, "the %s ended without a reason (%d)", a->name, (int)a->why);
}

/*
 * Segments that a connection may cost. Measured over 100,000 connections, the
 * worst took a third of these bounds; one that repeats itself without end
 * takes many times as much.
 */
static void judge_cost(struct world *w, struct conn_run *r, int side, struct run_result *out)
{
	const struct wire_side *e = &r->wire.side[side];
	const struct app *a = &r->app[side];
	uint32_t mss = e->heard.has_mss && e->heard.mss >= 64 && e->heard.mss < 536 ? e->heard.mss : 536;
	uint32_t window = w->plan.config[run_host(r, !side)].rx_buffer_bytes / 4;
	uint32_t piece = (mss < window ? mss : window) / 2;
	uint32_t step = w->plan.config[run_host(r, side)].rx_buffer_bytes / 8;
	uint32_t lost = r->n_lost[0] + r->n_lost[1] + r->n_twins[0] + r->n_twins[1];
	uint32_t n_new = e->n_data - e->n_retransmits;
	bool has_sack = e->offer.has_sack_ok && e->heard.has_sack_ok; /* else a timeout sends all again */
	int i = (int)(r - w->run);

	if (e->n_pure_acks > e->n_ackable + a->got / step + a->got / 4096 + 60)
		result_fail(out, i, "the %s sent %u pure ACKs, having got %u bytes in %u segments that ask for one", a->name,
		     e->n_pure_acks, a->got, e->n_ackable);
	if (n_new > 2 * (a->n_calls + a->sent / piece) + 60)
		result_fail(out, i, "the %s sent %u bytes of %u calls in %u segments", a->name, a->sent, a->n_calls, n_new);
	if (e->n_retransmits > 60 + 4 * lost + (has_sack ? n_new / 2 : 2 * n_new))
		result_fail(out, i, "the %s sent %u segments again of %u, and %u were lost or twice there", a->name, e->n_retransmits, n_new,
		     lost);
}

static void judge_conn(struct world *w, struct conn_run *r, struct run_result *out)
{
	bool is_complete = app_is_complete(&r->app[0]) && app_is_complete(&r->app[1]);
	int i = (int)(r - w->run);

	if (r->wire.broken[0])
		result_fail(out, i, "%s", r->wire.broken);
	for (int side = 0; side < 2; side++) {
		judge_end(w, r, side, out);
		judge_cost(w, r, side, out);
		out->n_segments += r->wire.side[side].n_sent;
		out->n_retransmits += r->wire.side[side].n_retransmits;
		out->n_bytes += r->app[side].got;
	}
	out->n_complete += is_complete;
	if (r->plan->must_complete && !is_complete) {
		const struct app *c = &r->app[0];
		const struct app *s = &r->app[1];

		result_fail(out, i, "it should have been complete; client sent %u of %u, got %u, %s %s; server sent %u of %u, got %u, %s %s",
		     c->sent, c->plan->to_send, c->got, c->lost_patience ? "lost patience" : c->let_go ? "let go" : "closed",
		     c->closed ? stat_reason_names[c->why] : "", s->sent, s->plan->to_send, s->got,
		     s->lost_patience ? "lost patience" : s->let_go ? "let go" : s->closed ? "closed" : "not accepted",
		     s->closed ? stat_reason_names[s->why] : "");
	}
}

static void print_left(void *ctx, struct tcp_conn *c)
{
	static const char *const states[] = {
#define X(name, str) str,
		TCP_STATES(X)
#undef X
	};
	struct tcp_info i;

	tcp_get_info(c, &i);
	fprintf(stderr, "  left: port %u to %u, %s, unacked %u, unsent %u, readable %u, snd_wnd %u, rcv_wnd %u, rto %u us\n",
		i.flow.local_port, i.flow.remote_port, states[i.state], i.unacked_bytes, i.unsent_bytes, i.readable_bytes,
		i.snd_wnd, i.rcv_wnd, i.rto_us);
}

/* Each connection that a stack had has ended under a reason; so may have one that was only half open. */
static void judge_host(struct world *w, int host, struct run_result *out)
{
	const struct weir_worker_stats *st = &w->sim.host[host].stats;
	uint64_t ends = 0;

	for (unsigned i = 0; i < WEIR_N_REASONS; i++)
		if (is_connection_reason((enum weir_reason)i) && i != WEIR_R_CLOSE_NO_PORTS && i != WEIR_R_CLOSE_TABLE_FULL)
			ends += st->reason[i];
	if (ends < st->counter[WEIR_C_TCP_CLOSED])
		result_fail(out, -1, "host %d ended %lu connections and counts %lu reasons", host,
		     (unsigned long)st->counter[WEIR_C_TCP_CLOSED], (unsigned long)ends);
	if (tcp_n_connections(w->sim.host[host].tcp) > 0) {
		result_fail(out, -1, "host %d is left with %u connections after an hour; its wheel holds %zu timers", host,
		     tcp_n_connections(w->sim.host[host].tcp), w->sim.host[host].wheel.n_armed);
		tcp_each(w->sim.host[host].tcp, print_left, NULL);
	}
}

static void add_stats(struct weir_worker_stats *sum, const struct weir_worker_stats *st)
{
	for (unsigned i = 0; i < WEIR_N_COUNTERS; i++)
		sum->counter[i] += st->counter[i];
	for (unsigned i = 0; i < WEIR_N_REASONS; i++)
		sum->reason[i] += st->reason[i];
}

void world_judge(struct world *w, struct run_result *out)
{
	memset(out, 0, sizeof(*out));
	out->failed = -1;
	out->n_conns = w->plan.n_conns;
	for (unsigned i = 0; i < w->plan.n_conns; i++)
		judge_conn(w, &w->run[i], out);
	for (int host = 0; host < 2; host++)
		judge_host(w, host, out);
	for (int host = 0; host < 2; host++)
		add_stats(&out->stats, &w->sim.host[host].stats);
	if (w->n_strays && !w->plan.is_scarce)
		result_fail(out, -1, "%u connections were accepted that nobody had opened", w->n_strays);
	if (w->sim.n_no_mbuf && !w->plan.n_famines)
		result_fail(out, -1, "the wire ran out of mbufs %lu times: the plan is too large", (unsigned long)w->sim.n_no_mbuf);
}
