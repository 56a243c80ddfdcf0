/* SPDX-License-Identifier: Apache-2.0 */
/* See play.h. */
#include "play.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One connection as its peer sees it. */
struct side {
	struct seg_map map;
	bool is_used;
	bool offers_ts, peer_offers_ts;
	bool has_sent;
	uint32_t sent;	     /* by the stack at most: the number behind, absolute */
	uint32_t told;	     /* of that, in words */
	uint32_t given;	     /* to the stack in order: the number behind, relative */
	uint16_t win;	     /* largest that the peer offered, as in the header */
	struct seg_num ack;  /* that the peer sent last */
	uint32_t ts;	     /* largest that the peer sent, relative */
	uint32_t ts_seen;    /* last of the stack's, absolute */
};

struct playing {
	const struct play_case *c;
	const struct player *player;
	void *p;
	struct side sides[SCRIPT_MAX_CONNS];
	struct play_record *out;
};

static void __attribute__((format(printf, 2, 3))) append(char *to, const char *fmt, ...)
{
	size_t n = strlen(to);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(to + n, PLAY_LINE_MAX - n, fmt, ap);
	va_end(ap);
}

/* Appends words that do not stand there yet. */
static void append_once(char *to, const char *words)
{
	if (!strstr(to, words))
		append(to, "%s ", words);
}

static struct side *side_of(struct playing *g, const struct backend_packet *packet, const struct seg_got *seg)
{
	const struct script *s = g->c->script;
	struct side *best = NULL;

	for (unsigned i = 0; i < s->n_conns; i++)
		if (g->sides[i].is_used && s->conns[i].addr == packet->addr && s->conns[i].port == seg->dst_port &&
		    g->player->local_port(g->p, i) == seg->src_port)
			best = &g->sides[i]; /* a later life of the tuple is declared later */
	return best;
}

/* -- what comes out, in words */

static void tell_syn(struct side *s, const struct seg_got *seg, char *came)
{
	if (!s->map.has_iss) {
		s->map.has_iss = true;
		s->map.iss = seg->seq;
	}
	s->offers_ts = seg_find_option(seg, SEG_OPT_TS) != NULL;
	append(came, "SYN%s%s%s%s%s%s%s ", seg->flags & SEG_ACK ? "-ACK" : "", seg->flags & SEG_ECE ? "+ECE" : "",
	       seg->flags & SEG_CWR ? "+CWR" : "", seg_find_option(seg, SEG_OPT_MSS) ? "+mss" : "",
	       seg_find_option(seg, SEG_OPT_SACK_OK) ? "+sackOK" : "", s->offers_ts ? "+TS" : "",
	       seg_find_option(seg, SEG_OPT_WSCALE) ? "+wscale" : "");
	if (seg->flags & SEG_ACK)
		append(came, "ack %d ", (int32_t)(seg->ack - s->map.peer_isn));
}

static void tell_sack(const struct side *s, const struct seg_got *seg, char *came)
{
	const struct seg_option *o = seg_find_option(seg, SEG_OPT_SACK);

	for (unsigned i = 0; o && i + 1 < o->n; i += 2)
		append(came, "sack %d:%d ", (int32_t)(o->v[i].v - s->map.peer_isn), (int32_t)(o->v[i + 1].v - s->map.peer_isn));
}

/* New data and a FIN; what is sent again is not told, nor how it is cut. False: it is a bare ACK. */
static bool tell_data(struct side *s, const struct seg_got *seg, char *came)
{
	uint32_t iss = s->map.has_iss ? s->map.iss : 0;
	uint32_t end = seg->seq + seg->len + !!(seg->flags & SEG_FIN);

	if (seg->len == 0 && !(seg->flags & SEG_FIN))
		return false;
	if (s->has_sent && (int32_t)(end - s->sent) <= 0)
		return true;
	s->has_sent = true;
	s->sent = end;
	if (seg->flags & SEG_FIN)
		append(came, "FIN %d ", (int32_t)(end - 1 - iss));
	return true;
}

static void tell_how_far(struct playing *g, char *came)
{
	for (unsigned i = 0; i < g->c->script->n_conns; i++) {
		struct side *s = &g->sides[i];

		if (s->has_sent && s->sent != s->told)
			append(came, "sent to %d ", (int32_t)(s->sent - (s->map.has_iss ? s->map.iss : 0)));
		s->told = s->sent;
	}
}

/* Does the segment bring what comes next? Then its ACK may be delayed. */
static bool is_next(struct side *s, const struct seg_got *seg)
{
	uint32_t seq = seg->seq - s->map.peer_isn;
	uint32_t end = seq + seg->len + !!(seg->flags & SEG_FIN);

	if (seg->flags & SEG_SYN) {
		s->given = seq + 1;
		return true;
	}
	if (seg->flags & SEG_RST || !(seg->flags & SEG_ACK) || (int32_t)(seq - s->given) > 0 || (int32_t)(end - s->given) <= 0)
		return false;
	s->given = end;
	return true;
}

static void tell(struct playing *g, struct side *s, const struct seg_got *seg, bool with_acks, char *came)
{
	const struct seg_option *ts = seg_find_option(seg, SEG_OPT_TS);

	if (ts)
		s->ts_seen = ts->v[0].v;
	if (seg->flags & SEG_RST) {
		append(came, "RST %d ", (int32_t)(seg->seq - (s->map.has_iss && seg->seq ? s->map.iss : 0)));
		return;
	}
	if (seg->flags & SEG_SYN) {
		tell_syn(s, seg, came);
		return;
	}
	if (!tell_data(s, seg, came) && with_acks) {
		append_once(came, "ACK");
		tell_sack(s, seg, came);
	}
}

/* with_acks: bare ACKs are an answer, not something that comes sooner or later. */
static void drain(struct playing *g, bool with_acks, char *came)
{
	static struct backend_packet packet;

	while (g->player->next(g->p, &packet)) {
		struct seg_got seg;
		struct side *s;

		if (!seg_read(packet.bytes, packet.n, packet.ecn, &seg)) {
			append(came, "malformed ");
			continue;
		}
		s = side_of(g, &packet, &seg);
		if (s)
			tell(g, s, &seg, with_acks, came);
		else
			append(came, "of-no-connection ");
	}
	tell_how_far(g, came);
}

/* What comes by itself meanwhile is not told. */
static void settle(struct playing *g, unsigned conn)
{
	char ignored[PLAY_LINE_MAX] = "";

	if (g->player->settle)
		g->player->settle(g->p, conn);
	drain(g, false, ignored);
}

static struct play_line *new_line(struct playing *g, unsigned conn, const char *step)
{
	struct play_line *l = &g->out->lines[g->out->n];

	if (g->out->n + 1 < PLAY_MAX_LINES)
		g->out->n++;
	snprintf(l->step, sizeof(l->step), "%s", step);
	l->came[0] = '\0';
	l->is_malformed = l->lacks_ts = l->is_old_ack = l->is_below = l->is_next = l->shrinks_window = false;
	l->state = g->player->state ? g->player->state(g->p, conn) : "";
	return l;
}

/* -- steps */

static void note_sent(struct side *s, const struct seg_spec *spec)
{
	s->is_used = true;
	if (spec->flags & SEG_ACK)
		s->ack = spec->ack;
	for (unsigned i = 0; i < spec->n_options; i++) {
		const struct seg_option *o = &spec->options[i];

		if (o->kind != SEG_OPT_TS || o->v[0].kind != SEG_REL)
			continue;
		if ((int32_t)(o->v[0].v - s->ts) > 0)
			s->ts = o->v[0].v;
	}
}

/* The segment as it is sent, mutated or not. */
static void describe(struct side *s, const uint8_t *bytes, size_t n, uint8_t ecn, struct play_line *l)
{
	struct seg_got seg;
	char text[SEG_TEXT_MAX];

	l->is_malformed = !seg_read(bytes, n, ecn, &seg);
	if (l->is_malformed) {
		snprintf(l->step, sizeof(l->step), "< (malformed, %zu bytes)", n);
		return;
	}
	if (seg.flags & SEG_SYN)
		s->peer_offers_ts = seg_find_option(&seg, SEG_OPT_TS) != NULL;
	l->lacks_ts = s->offers_ts && s->peer_offers_ts && !(seg.flags & (SEG_RST | SEG_SYN)) &&
		      !seg_find_option(&seg, SEG_OPT_TS);
	l->is_below = (int32_t)(seg.seq - s->map.peer_isn - s->given) < 0;
	l->is_next = !l->lacks_ts && is_next(s, &seg);
	l->shrinks_window = seg.win < s->win;
	if (seg.win > s->win)
		s->win = seg.win;
	l->is_old_ack = s->map.has_iss && seg.flags & SEG_ACK && (int32_t)(seg.ack - s->map.iss) < 1;
	snprintf(l->step, sizeof(l->step), "< %s", seg_format(&seg, &s->map, true, text, sizeof(text)));
}

static void inject(struct playing *g, unsigned conn, const struct seg_spec *spec, struct play_line *l)
{
	static uint8_t bytes[SEG_MAX_BYTES];
	struct side *s = &g->sides[conn];
	struct seg_spec copy = *spec;
	size_t n;

	/* The stack's clock stands still: what a peer echoes is what it saw last. */
	for (unsigned i = 0; i < copy.n_options; i++)
		if (copy.options[i].kind == SEG_OPT_TS && copy.options[i].v[1].kind == SEG_REL)
			copy.options[i].v[1] = (struct seg_num){SEG_ABS, s->ts_seen};
	n = seg_write(&copy, &s->map, g->c->script->conns[conn].port, g->player->local_port(g->p, conn), bytes, sizeof(bytes));

	if (l)
		describe(s, bytes, n, (uint8_t)(spec->ecn < 0 ? 0 : spec->ecn), l);
	note_sent(s, spec);
	g->player->inject(g->p, conn, bytes, n, (uint8_t)(spec->ecn < 0 ? 0 : spec->ecn));
}

static void do_icmp(struct playing *g, const struct script_step *st)
{
	uint32_t mtu = 0, seq = 0;

	for (unsigned i = 2; i + 1 < st->n_words; i += 2)
		*(strcmp(st->words[i], "mtu") == 0 ? &mtu : &seq) = (uint32_t)strtoll(st->words[i + 1], NULL, 0);
	if (g->sides[st->conn].map.has_iss)
		seq += g->sides[st->conn].map.iss;
	g->player->icmp(g->p, st->conn, st->words[1], seq, mtu);
}

static void do_step(struct playing *g, const struct script_step *st)
{
	static const char *const calls[] = {"listen", "unlisten", "connect", "read", "write", "shutdown", "close", "abort"};
	struct play_line *l;

	if (st->kind == STEP_INJECT) {
		settle(g, st->conn);
		l = new_line(g, st->conn, st->text);
		inject(g, st->conn, &st->seg, l);
		drain(g, !l->is_next, l->came);
		return;
	}
	if (st->kind == STEP_CALL && strcmp(st->words[0], "icmp") == 0 && st->n_words > 1) {
		l = new_line(g, st->conn, st->text);
		do_icmp(g, st);
		drain(g, false, l->came);
		return;
	}
	for (size_t i = 0; st->kind == STEP_CALL && i < sizeof(calls) / sizeof(*calls); i++)
		if (strcmp(st->words[0], calls[i]) == 0) {
			l = new_line(g, st->conn, st->text);
			g->sides[st->conn].is_used |= strcmp(calls[i], "connect") == 0;
			g->player->call(g->p, st);
			drain(g, false, l->came);
		}
}

/* -- the end */

/* An old ACK, which every synchronised state answers by its numbers, and none by RST unless it knows nothing. */
static void probe(struct playing *g, unsigned conn)
{
	struct side *s = &g->sides[conn];
	struct seg_spec spec = {.flags = SEG_ACK, .seq = {SEG_REL, UINT32_MAX}, .ack = s->ack, .win = {SEG_ABS, UINT16_MAX},
				.ecn = -1, .fill = -1};
	struct backend_packet *packet = malloc(sizeof(*packet));
	struct play_line *l = new_line(g, conn, "probe");
	struct seg_got seg;

	if (!packet)
		abort();
	if (spec.ack.kind == SEG_NONE)
		spec.ack = (struct seg_num){SEG_REL, 1};
	if (s->offers_ts && s->peer_offers_ts) {
		spec.has_options = true;
		spec.n_options = 1;
		spec.options[0] = (struct seg_option){.kind = SEG_OPT_TS, .n = 2};
		spec.options[0].v[0] = (struct seg_num){SEG_REL, s->ts};
		spec.options[0].v[1] = (struct seg_num){SEG_REL, 0};
	}
	settle(g, conn);
	inject(g, conn, &spec, NULL);
	while (g->player->next(g->p, packet)) {
		if (!seg_read(packet->bytes, packet->n, packet->ecn, &seg) || side_of(g, packet, &seg) != s)
			continue;
		if (seg.flags & SEG_RST) {
			append(l->came, "RST ");
		} else if (seg.len == 0) {
			append(l->came, "at %d ack %d%s ", s->map.has_iss ? (int32_t)(seg.seq - s->map.iss) : 0,
			       (int32_t)(seg.ack - s->map.peer_isn), seg.win ? "" : " shut");
			tell_sack(s, &seg, l->came);
		}
	}
	free(packet);
}

static void look(struct playing *g, unsigned conn)
{
	struct play_line *l = new_line(g, conn, "user");
	struct player_view v;

	g->player->look(g->p, conn, &v);
	append(l->came, "%s read %lu (%08lx), %lu there%s %s", v.is_there ? "had it," : "never had it,", v.n_read,
	       v.hash & UINT32_MAX, v.readable, v.is_eof ? ", end" : "", v.error);
}

/* A tuple that was in use before, and whose new life never began: the old one would answer. */
static bool is_later_life(const struct playing *g, unsigned conn)
{
	const struct script_conn *c = g->c->script->conns;

	for (unsigned i = 0; i < conn; i++)
		if (!g->sides[conn].map.has_iss && c[i].addr == c[conn].addr && c[i].port == c[conn].port)
			return true;
	return false;
}

bool play(const struct play_case *c, const struct player *player, unsigned number, struct play_record *out, char *why)
{
	struct playing *g = calloc(1, sizeof(*g));

	if (!g)
		abort();
	*g = (struct playing){.c = c, .player = player, .out = out};
	out->n = 0;
	g->p = player->open(c->script, number, why);
	if (!g->p) {
		free(g);
		return false;
	}
	for (unsigned i = 0; i < c->script->n_conns; i++)
		g->sides[i].map = (struct seg_map){.peer_isn = 0x12345678 + c->script->conns[i].isn,
						   .peer_ts = 0x10000000 + c->script->conns[i].ts};
	for (size_t i = 0; i < c->n_steps; i++)
		do_step(g, &c->steps[i]);
	for (unsigned i = 0; i < c->script->n_conns; i++)
		if (g->sides[i].is_used) {
			look(g, i);
			if (!is_later_life(g, i))
				probe(g, i);
		}
	player->close(g->p);
	free(g);
	return true;
}
