/* SPDX-License-Identifier: Apache-2.0 */
/*
 * auto until S rtt S [every N] [win N] [sack] [drop A:B] [mark A:B] [feed]
 *
 * A peer that answers by itself, for transfers that are too long to write
 * out: it takes the stack's data and acknowledges each segment (or every
 * N-th in order) one round trip after it was sent. The first transmission of
 * what overlaps A:B is lost, or comes with Congestion Experienced. feed keeps
 * the stack's send queue full.
 */
#include <stdlib.h>
#include <string.h>

#include "run_pvt.h"

#define MAX_RANGES 16
#define MAX_HELD 4096

struct range {
	uint32_t from, to;
	uint32_t high; /* up to here it has happened */
};

struct held {
	uint32_t from, to;
};

struct auto_peer {
	struct run *r;
	const struct script_step *st;
	uint64_t until_us, rtt_us;
	unsigned every;
	uint32_t win;
	bool has_sack, feeds;
	struct range drops[MAX_RANGES], marks[MAX_RANGES];
	unsigned n_drops, n_marks;
	/* what it has received, relative to the stack's first number */
	uint32_t nxt;
	struct held held[MAX_HELD]; /* behind a gap, by number */
	unsigned n_held, last_held;
	unsigned n_unacked;
	bool owes_ece;
	struct seg_num seq; /* of its own segments */
	uint32_t echo;	    /* time stamp of the stack's, relative */
};

static bool parse_range(const char *text, struct range *out)
{
	char *end;

	out->from = (uint32_t)strtoul(text, &end, 10);
	if (*end != ':')
		return false;
	out->to = (uint32_t)strtoul(end + 1, &end, 10);
	out->high = out->from;
	return !*end && out->to > out->from;
}

static bool parse_word(struct auto_peer *p, const char *key, const char *value, unsigned *n_taken)
{
	*n_taken = 1;
	if (strcmp(key, "sack") == 0)
		return p->has_sack = true;
	if (strcmp(key, "feed") == 0)
		return p->feeds = true;
	*n_taken = 2;
	if (!value)
		return false;
	if (strcmp(key, "until") == 0)
		return script_parse_seconds(value, &p->until_us);
	if (strcmp(key, "rtt") == 0)
		return script_parse_seconds(value, &p->rtt_us);
	if (strcmp(key, "every") == 0)
		return (p->every = (unsigned)atoi(value)) > 0;
	if (strcmp(key, "win") == 0)
		return (p->win = (uint32_t)atoi(value)) > 0;
	if (strcmp(key, "drop") == 0 && p->n_drops < MAX_RANGES)
		return parse_range(value, &p->drops[p->n_drops++]);
	if (strcmp(key, "mark") == 0 && p->n_marks < MAX_RANGES)
		return parse_range(value, &p->marks[p->n_marks++]);
	return false;
}

static bool parse(struct auto_peer *p)
{
	const struct script_step *st = p->st;
	unsigned n;

	for (unsigned i = 1; i < st->n_words; i += n)
		if (!parse_word(p, st->words[i], i + 1 < st->n_words ? st->words[i + 1] : NULL, &n))
			return false;
	return p->until_us && p->rtt_us;
}

/* Does something of [from, to) fall into a range for the first time? */
static bool hits(struct range *ranges, unsigned n, uint32_t from, uint32_t to)
{
	bool hit = false;

	for (unsigned i = 0; i < n; i++) {
		struct range *r = &ranges[i];

		if ((int32_t)(to - r->high) <= 0 || (int32_t)(from - r->to) >= 0)
			continue;
		r->high = to;
		hit = true;
	}
	return hit;
}

/* Takes [from, to) that lies behind a gap. */
static void hold(struct auto_peer *p, uint32_t from, uint32_t to)
{
	unsigned i = 0;

	while (i < p->n_held && p->held[i].to < from)
		i++;
	while (i < p->n_held && p->held[i].from <= to) { /* joins */
		if (p->held[i].from < from)
			from = p->held[i].from;
		if (p->held[i].to > to)
			to = p->held[i].to;
		memmove(&p->held[i], &p->held[i + 1], (--p->n_held - i) * sizeof(*p->held));
	}
	if (p->n_held == MAX_HELD)
		return;
	memmove(&p->held[i + 1], &p->held[i], (p->n_held++ - i) * sizeof(*p->held));
	p->held[i] = (struct held){from, to};
	p->last_held = i;
}

static void write_sack(const struct auto_peer *p, struct seg_spec *s)
{
	struct seg_option *o = &s->options[s->n_options];
	unsigned n = 0;

	if (!p->has_sack || !p->n_held)
		return;
	o->kind = SEG_OPT_SACK;
	for (unsigned k = 0; k < p->n_held && n < 3; k++) { /* the latest first, then those beside it */
		unsigned i = (p->last_held + p->n_held - k) % p->n_held;

		o->v[2 * n] = (struct seg_num){SEG_REL, p->held[i].from};
		o->v[2 * n + 1] = (struct seg_num){SEG_REL, p->held[i].to};
		n++;
	}
	o->n = 2 * n;
	s->n_options++;
}

static void schedule_ack(struct auto_peer *p, uint64_t at_us)
{
	struct run_ack *a = calloc(1, sizeof(*a));
	struct run_conn *c = &p->r->conns[p->st->conn];
	struct seg_spec *s;

	if (!a)
		abort();
	s = &a->spec;
	a->at_us = at_us;
	s->flags = (uint16_t)(SEG_ACK | (p->owes_ece ? SEG_ECE : 0));
	s->seq = p->seq;
	s->ack = (struct seg_num){SEG_REL, p->nxt};
	s->win = (struct seg_num){SEG_ABS, p->win};
	s->ecn = s->fill = -1;
	s->has_options = true;
	if (c->offers_ts && c->peer_offers_ts) {
		struct seg_option *o = &s->options[s->n_options++];

		o->kind = SEG_OPT_TS;
		o->n = 2;
		o->v[0] = (struct seg_num){SEG_REL, (uint32_t)(at_us / 1000)};
		o->v[1] = (struct seg_num){SEG_REL, p->echo};
	}
	write_sack(p, s);
	*c->acks_tail = a;
	c->acks_tail = &a->next;
	p->n_unacked = 0;
}

/* A segment of the stack's reached the peer. */
static void take_data(struct auto_peer *p, const struct run_output *o, uint32_t from, uint32_t to)
{
	bool was_behind = p->n_held > 0 || from != p->nxt;
	const struct seg_option *ts = seg_find_option(&o->seg, SEG_OPT_TS);

	if (ts && (int32_t)(from - p->nxt) <= 0)
		p->echo = ts->v[0].v - p->r->conns[p->st->conn].map.ts;
	if (o->seg.flags & SEG_CWR)
		p->owes_ece = false;
	if (hits(p->marks, p->n_marks, from, to))
		p->owes_ece = true;
	if ((int32_t)(to - p->nxt) > 0)
		hold(p, (int32_t)(from - p->nxt) < 0 ? p->nxt : from, to);
	if (p->n_held && p->held[0].from == p->nxt) {
		p->nxt = p->held[0].to;
		memmove(p->held, p->held + 1, --p->n_held * sizeof(*p->held));
		p->last_held = p->last_held ? p->last_held - 1 : 0;
	}
	if (was_behind || p->owes_ece || ++p->n_unacked >= p->every)
		schedule_ack(p, o->at_us + p->rtt_us);
}

/* What came out: data are taken, or lost on their way. */
static bool take_outputs(struct auto_peer *p, char *why)
{
	struct run *r = p->r;
	struct seg_agreed agreed = {.ts_slack_ms = 1};
	struct seg_spec any = {.seq.kind = SEG_ANY, .ack.kind = SEG_ANY, .len_any = true, .fill = -1, .has_options = true,
			       .options_any = true, .psh_any = true};

	while (r->head) {
		struct run_output *o = r->head;
		const struct seg_map *map = &r->conns[p->st->conn].map;
		uint32_t from = o->seg.seq - map->iss;

		any.flags = (uint16_t)(o->seg.flags & ~(SEG_SYN | SEG_RST | SEG_FIN));
		any.ecn = o->seg.ecn;
		if (!o->is_ok || o->conn != p->st->conn || !seg_match(&any, &o->seg, map, &agreed, why))
			return false;
		p->seq = (struct seg_num){SEG_REL, o->seg.ack - map->peer_isn};
		if (o->seg.len && !hits(p->drops, p->n_drops, from, from + o->seg.len))
			take_data(p, o, from, from + o->seg.len);
		run_drop_output(r);
	}
	return true;
}

static void send_due(struct auto_peer *p)
{
	struct run_conn *c = &p->r->conns[p->st->conn];

	while (c->acks && c->acks->at_us <= backend_now(p->r->backend)) {
		struct run_ack *a = c->acks;

		c->acks = a->next;
		if (!c->acks)
			c->acks_tail = &c->acks;
		run_inject(p->r, p->st->conn, &a->spec, false);
		free(a);
	}
}

static bool run_peer(struct auto_peer *p, char *why)
{
	struct run *r = p->r;

	for (;;) {
		const struct run_ack *a = r->conns[p->st->conn].acks;
		uint64_t next = a && a->at_us < p->until_us ? a->at_us : p->until_us;

		if (p->feeds)
			backend_feed(r->backend, p->st->conn);
		run_collect(r);
		if (r->head) {
			if (!take_outputs(p, why))
				return false;
			continue;
		}
		if (backend_now(r->backend) >= p->until_us)
			return true;
		backend_run(r->backend, next, true);
		run_collect(r);
		send_due(p);
	}
}

void run_free_acks(struct run_conn *c)
{
	while (c->acks) {
		struct run_ack *a = c->acks;

		c->acks = a->next;
		free(a);
	}
}

/* What the last ACK, sent or on its way, asks for. What an earlier `auto` held behind a gap is forgotten. */
static uint32_t expected_next(const struct run_conn *c)
{
	uint32_t nxt = c->acked;

	for (const struct run_ack *a = c->acks; a; a = a->next)
		nxt = a->spec.ack.v;
	return nxt;
}

bool run_auto(struct run *r, const struct script_step *st, char *why)
{
	struct auto_peer *p = calloc(1, sizeof(*p));
	bool ok;

	if (!p)
		abort();
	*p = (struct auto_peer){.r = r, .st = st, .every = 1, .win = UINT16_MAX, .seq = {SEG_REL, 1}};
	p->nxt = expected_next(&r->conns[st->conn]);
	strcpy(why, "auto until S rtt S [every N] [win N] [sack] [drop A:B] [mark A:B] [feed]");
	ok = parse(p) && run_peer(p, why);
	r->last_us = p->until_us;
	free(p);
	return ok;
}
