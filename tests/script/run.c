/* SPDX-License-Identifier: Apache-2.0 */
/* See run.h. */
#include "run.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"
#include "run_pvt.h"

static bool fail_at(struct run *r, const struct script_step *st, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static bool fail_at(struct run *r, const struct script_step *st, const char *fmt, ...)
{
	char text[2 * SEG_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (st)
		snprintf(r->why, sizeof(r->why), "%s:%u: %s: %s", st->file, st->line, st->text, text);
	else
		snprintf(r->why, sizeof(r->why), "%s: %s", r->script->path, text);
	return false;
}

void run_trace(struct run *r, uint64_t at_us, char direction, unsigned conn, const char *text)
{
	if (!r->trace)
		return;
	fprintf(r->trace, "    %9.6f %c ", (double)at_us / 1e6, direction);
	if (r->script->n_conns > 1)
		fprintf(r->trace, "@%s ", conn < r->script->n_conns ? r->script->conns[conn].name : "?");
	fprintf(r->trace, "%s\n", text);
}

/* -- what came out */

/* A first SYN gives the base of the stack's numbers, a first time stamp that of its clock. */
static void learn(struct run *r, unsigned conn, const struct seg_got *g, uint64_t at_us)
{
	struct run_conn *c = &r->conns[conn];
	const struct seg_option *ts = seg_find_option(g, SEG_OPT_TS);

	if (g->flags & SEG_SYN && !c->map.has_iss) {
		c->map.has_iss = true;
		c->map.iss = g->seq;
	}
	if (ts && !c->map.has_ts) {
		c->map.has_ts = true;
		c->map.ts = ts->v[0].v - (uint32_t)(at_us / 1000);
	}
	if (g->flags & SEG_SYN)
		c->offers_ts = ts != NULL;
}

/* Takes the segments that came out since, in order, into the queue. */
void run_collect(struct run *r)
{
	static struct backend_packet packet;

	while (backend_next(r->backend, &packet)) {
		struct run_output *o = calloc(1, sizeof(*o) + packet.n);
		char text[SEG_TEXT_MAX];
		int conn;

		if (!o)
			abort();
		memcpy(o->bytes, packet.bytes, packet.n);
		o->at_us = packet.at_us;
		o->is_ok = seg_read(o->bytes, packet.n, packet.ecn, &o->seg);
		conn = o->is_ok ? backend_find(r->backend, packet.addr, o->seg.dst_port, o->seg.src_port) : -1;
		o->conn = conn < 0 ? UINT32_MAX : (unsigned)conn;
		if (conn >= 0) {
			learn(r, o->conn, &o->seg, o->at_us);
			seg_format(&o->seg, &r->conns[conn].map, false, text, sizeof(text));
		} else {
			snprintf(text, sizeof(text), o->is_ok ? "(of no connection)" : "(malformed)");
		}
		run_trace(r, o->at_us, '>', o->conn, text);
		*r->tail = o;
		r->tail = &o->next;
	}
}

void run_drop_output(struct run *r)
{
	struct run_output *o = r->head;

	r->head = o->next;
	if (!r->head)
		r->tail = &r->head;
	free(o);
}

static const char *output_text(struct run *r, const struct run_output *o, char *buf)
{
	static const struct seg_map none;

	if (!o->is_ok)
		return "a malformed segment";
	return seg_format(&o->seg, o->conn == UINT32_MAX ? &none : &r->conns[o->conn].map, false, buf, SEG_TEXT_MAX);
}

/* Lets time pass; what comes out is collected. */
static void advance(struct run *r, uint64_t at_us, bool stops_at_output)
{
	while (!(stops_at_output && r->head)) {
		backend_run(r->backend, at_us, stops_at_output);
		run_collect(r);
		if (backend_now(r->backend) >= at_us)
			break;
	}
}

static bool expect_nothing(struct run *r, const struct script_step *st)
{
	char buf[SEG_TEXT_MAX];

	while (r->head && r->head->at_us <= r->ignored_us)
		run_drop_output(r);
	if (!r->head)
		return true;
	return fail_at(r, st, "before it, at %.6f, came what is not expected: > %s", (double)r->head->at_us / 1e6,
		       output_text(r, r->head, buf));
}

/* -- steps */

static void resolve(const struct run *r, const struct script_step *st, uint64_t *from, uint64_t *to)
{
	uint64_t base = st->at.is_relative ? r->last_us : 0;

	*from = base + st->at.from_us;
	*to = base + st->at.to_us;
}

void run_inject(struct run *r, unsigned conn, const struct seg_spec *spec, bool is_burst)
{
	static uint8_t bytes[SEG_MAX_BYTES];
	const struct script_conn *sc = &r->script->conns[conn];
	struct run_conn *c = &r->conns[conn];
	uint16_t port = backend_local_port(r->backend, conn);
	size_t n = seg_write(spec, &c->map, sc->port, port, bytes, sizeof(bytes));
	uint8_t ecn = (uint8_t)(spec->ecn < 0 ? 0 : spec->ecn);
	char text[SEG_TEXT_MAX];
	struct seg_got g;

	if (seg_read(bytes, n, ecn, &g))
		seg_format(&g, &c->map, true, text, sizeof(text));
	else
		snprintf(text, sizeof(text), "(malformed, %zu bytes)", n);
	if (spec->flags & SEG_SYN)
		c->peer_offers_ts = seg_find_option(&g, SEG_OPT_TS) != NULL;
	if (spec->flags & SEG_ACK && spec->ack.kind == SEG_REL)
		c->acked = spec->ack.v;
	run_trace(r, backend_now(r->backend), '<', conn, text);
	backend_inject(r->backend, conn, bytes, n, ecn, is_burst);
	run_collect(r);
}

/* The difference between what came and what is expected, in the numbers of the connection that the script names. */
static bool matches(struct run *r, const struct script_step *st, const struct run_output *o, uint64_t from_us, char *why)
{
	const struct run_conn *c = &r->conns[st->conn];
	const struct script_conn *sc = &r->script->conns[st->conn];
	struct seg_agreed agreed = {
		.ts = c->offers_ts && c->peer_offers_ts,
		.ts_slack_ms = (uint32_t)((o->at_us - from_us) / 1000) + 1,
	};

	if (!o->is_ok)
		snprintf(why, SEG_TEXT_MAX, "it is malformed");
	else if (o->seg.dst_port != sc->port || o->seg.src_port != backend_local_port(r->backend, st->conn) ||
		 (o->conn != st->conn && (o->conn == UINT32_MAX || r->script->conns[o->conn].addr != sc->addr)))
		snprintf(why, SEG_TEXT_MAX, "it belongs to another connection");
	else
		return seg_match(&st->seg, &o->seg, &c->map, &agreed, why);
	return false;
}

static bool do_expect(struct run *r, const struct script_step *st)
{
	uint64_t from, to;
	char why[SEG_TEXT_MAX], buf[SEG_TEXT_MAX];
	struct run_output *o;

	resolve(r, st, &from, &to);
	advance(r, to + RUN_TICK_US, true);
	o = r->head;
	if (!o && st->is_optional)
		return true;
	if (!o)
		return fail_at(r, st, "nothing was sent until %.6f", (double)(to + RUN_TICK_US) / 1e6);
	if (o->at_us < from || o->at_us > to + RUN_TICK_US) {
		if (st->is_optional)
			return true;
		return fail_at(r, st, "it came at %.6f: > %s", (double)o->at_us / 1e6, output_text(r, o, buf));
	}
	if (!matches(r, st, o, from, why)) {
		if (st->is_optional)
			return true;
		return fail_at(r, st, "%s; came: > %s", why, output_text(r, o, buf));
	}
	r->last_us = o->at_us;
	run_drop_output(r);
	return true;
}

/* icmp WHAT [mtu N] seq N */
static bool do_icmp(struct run *r, const struct script_step *st)
{
	uint32_t mtu = 0, seq = 0;
	bool has_seq = false;

	for (unsigned i = 2; i + 1 < st->n_words; i += 2) {
		uint32_t v = (uint32_t)strtoll(st->words[i + 1], NULL, 0);

		if (strcmp(st->words[i], "mtu") == 0)
			mtu = v;
		else if (strcmp(st->words[i], "seq") == 0)
			has_seq = true, seq = v;
	}
	if (st->n_words < 2 || !has_seq)
		return fail_at(r, st, "icmp WHAT [mtu N] seq N");
	if (r->conns[st->conn].map.has_iss)
		seq += r->conns[st->conn].map.iss;
	run_trace(r, backend_now(r->backend), '<', st->conn, st->text);
	if (!backend_icmp(r->backend, st->conn, st->words[1], seq, mtu))
		return fail_at(r, st, "unknown kind of ICMP error");
	run_collect(r);
	return true;
}

/* diff iss|port|ts A B OP N: of connection B less of connection A */
static bool do_diff(struct run *r, const struct script_step *st)
{
	const struct run_conn *c[2] = {NULL, NULL};
	enum seg_cmp cmp;
	int32_t d = 0;

	for (unsigned k = 0; st->n_words == 6 && k < 2; k++)
		for (unsigned i = 0; i < r->script->n_conns; i++)
			if (strcmp(r->script->conns[i].name, st->words[2 + k]) == 0)
				c[k] = &r->conns[i];
	if (!c[0] || !c[1] || !seg_parse_cmp(st->words[4], &cmp))
		return fail_at(r, st, "diff iss|port|ts A B OP N");
	if (strcmp(st->words[1], "iss") == 0)
		d = (int32_t)(c[1]->map.iss - c[0]->map.iss);
	else if (strcmp(st->words[1], "ts") == 0)
		d = (int32_t)(c[1]->map.ts - c[0]->map.ts);
	else
		d = backend_local_port(r->backend, (unsigned)(c[1] - r->conns)) -
		    backend_local_port(r->backend, (unsigned)(c[0] - r->conns));
	if (!seg_compare_numbers(d, cmp, atoll(st->words[5])))
		return fail_at(r, st, "the difference is %d", d);
	return true;
}

static bool do_auto(struct run *r, const struct script_step *st, uint64_t at_us)
{
	char why[SEG_TEXT_MAX];

	advance(r, at_us, true);
	return run_auto(r, st, why) || fail_at(r, st, "%s", why);
}

static bool is_call(const struct script_step *st, const char *name)
{
	return st->kind == STEP_CALL && strcmp(st->words[0], name) == 0;
}

static bool do_call(struct run *r, const struct script_step *st)
{
	char why[SEG_TEXT_MAX];
	bool ok;

	if (strcmp(st->words[0], "no_output") == 0) {
		uint64_t until;

		if (st->n_words != 3 || !script_parse_seconds(st->words[2], &until))
			return fail_at(r, st, "no_output until SECONDS");
		advance(r, until, true);
		r->last_us = until;
		return expect_nothing(r, st);
	}
	if (strcmp(st->words[0], "icmp") == 0)
		return do_icmp(r, st);
	if (strcmp(st->words[0], "diff") == 0)
		return do_diff(r, st);
	ok = backend_call(r->backend, st, why);
	run_trace(r, backend_now(r->backend), ' ', st->conn, st->text);
	run_collect(r);
	return ok || fail_at(r, st, "%s", why);
}

/* ignore [until S]: what came out up to now, or comes between the steps until then, is not what the script is about. */
static bool do_ignore(struct run *r, const struct script_step *st, uint64_t at_us)
{
	if (st->n_words > 1 && (st->n_words != 3 || !script_parse_seconds(st->words[2], &r->ignored_us)))
		return fail_at(r, st, "ignore [until SECONDS]");
	while (r->head || backend_now(r->backend) < at_us) {
		while (r->head)
			run_drop_output(r);
		advance(r, at_us, true);
	}
	r->last_us = at_us;
	return true;
}

static bool do_step(struct run *r, const struct script_step *st)
{
	uint64_t from, to;

	if (st->kind == STEP_EXPECT)
		return do_expect(r, st);
	resolve(r, st, &from, &to);
	if (from < backend_now(r->backend) && from + RUN_TICK_US < backend_now(r->backend))
		return fail_at(r, st, "it is already %.6f", (double)backend_now(r->backend) / 1e6);
	if (is_call(st, "ignore"))
		return do_ignore(r, st, from);
	if (is_call(st, "auto")) /* takes what is out already */
		return do_auto(r, st, from);
	while (from > backend_now(r->backend)) { /* else within a burst */
		advance(r, from, true);
		if (!expect_nothing(r, st))
			return false;
	}
	if (!expect_nothing(r, st))
		return false;
	r->last_us = from;
	if (st->kind == STEP_INJECT) {
		run_inject(r, st->conn, &st->seg, st->is_burst);
		return true;
	}
	return do_call(r, st);
}

static void init_conns(struct run *r)
{
	for (unsigned i = 0; i < r->script->n_conns; i++) {
		const struct script_conn *c = &r->script->conns[i];

		r->conns[i].acks_tail = &r->conns[i].acks;
		r->conns[i].map = (struct seg_map){.peer_isn = r->pass->isn + c->isn, .peer_ts = r->pass->ts + c->ts};
	}
}

static bool run_steps(struct run *r)
{
	for (size_t i = 0; i < r->script->n_steps; i++)
		if (!do_step(r, &r->script->steps[i]))
			return false;
	return expect_nothing(r, NULL);
}

/* One pass. Returns the stack's first sequence number of the first connection, 0 if there was none. */
static uint32_t run_pass(const struct script *s, const struct backend_pass *pass, struct run_result *out)
{
	struct run *r = calloc(1, sizeof(*r));
	char why[SEG_TEXT_MAX];
	char *trace = NULL;
	size_t trace_n;
	uint32_t iss;

	if (!r)
		abort();
	*r = (struct run){.script = s, .pass = pass, .tail = &r->head, .trace = open_memstream(&trace, &trace_n)};
	init_conns(r);
	r->backend = backend_open(s, pass, why);
	out->ok = r->backend ? run_steps(r) : fail_at(r, NULL, "%s", why);
	while (r->head)
		run_drop_output(r);
	for (unsigned i = 0; i < s->n_conns; i++)
		run_free_acks(&r->conns[i]);
	if (r->backend && !backend_close(r->backend, why) && out->ok)
		out->ok = fail_at(r, NULL, "%s", why);
	fclose(r->trace);
	snprintf(out->why, sizeof(out->why), "%s", r->why);
	out->pass = pass->name;
	if (out->ok) {
		free(trace);
		trace = NULL;
	}
	out->trace = trace;
	iss = r->conns[0].map.iss;
	free(r);
	return iss;
}

/* In the last pass everything wraps: the stack's clock begins so that its first numbers stand near the end. */
void run_script(const struct script *s, struct run_result *out)
{
	const char *family = script_config(s, "family");
	struct backend_pass pass = {.name = "IPv4", .isn = 0x12345678, .ts = 0x10000000};
	uint32_t iss;

	pass.is_ip6 = family && strcmp(family, "6") == 0;
	if (pass.is_ip6)
		pass.name = "IPv6";
	iss = run_pass(s, &pass, out);
	if (out->ok && !family) {
		struct backend_pass six = pass;

		six.name = "IPv6";
		six.is_ip6 = true;
		run_pass(s, &six, out);
	}
	if (!out->ok)
		return;
	pass.name = "wrap";
	pass.isn = UINT32_MAX - 700;
	pass.ts = UINT32_MAX - 40;
	pass.start_us = (uint64_t)(uint32_t)(UINT32_MAX - 500 - iss) / 250 * 1000; /* RFC 6528: one in 4 us */
	run_pass(s, &pass, out);
}
