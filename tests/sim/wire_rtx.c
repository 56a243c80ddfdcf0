/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules of time and number: retransmissions into silence and probes of a
 * closed window come at growing intervals (RFC 6298 5.5, RFC 9293 3.8.6.1),
 * an acknowledgement comes within 500 ms, and acknowledgements never answer
 * acknowledgements without end.
 */
#include "tcp/seq.h"
#include "wire_check.h"

#define SLACK_US 4000	     /* two ticks of the timing wheel, and what rounding leaves */
#define LONGEST_US 54000000  /* from here on an interval need not grow: 60 s is the limit, less slack */
#define LEAST_US 150000	     /* below this no timer may repeat */
#define WAR_PAUSE_US 1000000 /* pure ACKs further apart than this are no war */
#define WAR_TURNS 32

/* Something was sent at the same place again. */
static void note(struct wire_conn *w, int side, struct wire_series *r, uint32_t seq, uint64_t now_us, const char *what)
{
	uint64_t gap = now_us - r->last_us;
	uint64_t least;

	if (r->last_us == 0 || r->seq != seq) {
		*r = (struct wire_series){.last_us = now_us, .seq = seq};
		return;
	}
	r->n++;
	/* The first interval may follow a probe of the tail's loss (RFC 8985 7), which does not double. */
	least = r->n < 2 ? LEAST_US : r->n < 3 ? r->gap_us * 19 / 20 : r->gap_us * 19 / 10;
	if (gap + SLACK_US < least && gap < LONGEST_US && !w->limits.is_untimely)
		wire_fail(w, side, "%s after %u ms, and %u ms before that", what, (unsigned)(gap / 1000),
			  (unsigned)(r->gap_us / 1000));
	r->gap_us = gap;
	r->last_us = now_us;
}

static void check_silence(struct wire_conn *w, int side, const struct wire_seg *s, uint64_t now_us)
{
	struct wire_side *e = &w->side[side];

	if (e->rtx.last_us && e->arrived_us >= e->rtx.last_us)
		e->rtx = (struct wire_series){0};
	note(w, side, &e->rtx, s->seq, now_us, "retransmits into silence");
}

static void check_probe(struct wire_conn *w, int side, const struct wire_seg *s, uint64_t now_us)
{
	struct wire_side *e = &w->side[side];

	if (e->probes.edge != e->edge_heard)
		e->probes = (struct wire_series){0};
	note(w, side, &e->probes, s->seq, now_us, "probes a closed window");
	e->probes.edge = e->edge_heard;
}

/* Two ends that answer each other's ACKs (RFC 9293 3.10.7.4 would let them). */
static void check_war(struct wire_conn *w, int side, uint64_t now_us)
{
	if (now_us - w->pure_us > WAR_PAUSE_US)
		w->n_turns = 0;
	else if (w->last_pure == !side)
		w->n_turns++;
	w->last_pure = side;
	w->pure_us = now_us;
	if (w->n_turns > WAR_TURNS && w->limits.is_judged[0] && w->limits.is_judged[1])
		for (int i = 0; i < 2; i++)
			wire_fail(w, i, "and the other end answer each other's acknowledgements");
}

void wire_check_timing(struct wire_conn *w, int side, const struct wire_seg *s, bool is_old, uint64_t now_us)
{
	struct wire_side *e = &w->side[side];
	bool is_syn = (s->flags & WIRE_SYN) != 0;

	if (s->flags & WIRE_ACK) {
		wire_check_alive(w, side, now_us);
		e->ack_due_us = 0;
	}
	if (!wire_space(s)) {
		e->n_pure_acks++;
		check_war(w, side, now_us);
		return;
	}
	w->n_turns = 0;
	w->last_pure = -1;
	e->n_data++;
	e->data_bytes += s->len;
	if (s->len == 1 && s->seq == e->edge_heard && e->acked == s->seq)
		check_probe(w, side, s, now_us);
	if (is_old && e->acked == s->seq)
		check_silence(w, side, s, now_us);
	if (is_syn)
		check_silence(w, side, s, now_us);
	if (is_old)
		e->n_retransmits++;
}
