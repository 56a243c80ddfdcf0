/* SPDX-License-Identifier: Apache-2.0 */
/* Is the segment what the script says? Every field is looked at; the first that differs is named. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "seg.h"

static bool __attribute__((format(printf, 2, 3))) differ(char *why, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, SEG_TEXT_MAX, fmt, ap);
	va_end(ap);
	return false;
}

static bool is_num(const struct seg_num *n, uint32_t got, bool has_base, uint32_t base)
{
	if (n->kind == SEG_NONE || n->kind == SEG_ANY)
		return true;
	return got == (n->kind == SEG_REL && has_base ? n->v + base : n->v);
}

static bool match_ts(const struct seg_option *want, const struct seg_option *got, const struct seg_map *map,
		     const struct seg_agreed *agreed, char *why)
{
	uint32_t from = want->v[0].v + (want->v[0].kind == SEG_REL && map->has_ts ? map->ts : 0);

	if (want->v[0].kind != SEG_ANY && got->v[0].v - from > agreed->ts_slack_ms)
		return differ(why, "TS val is %d off", (int32_t)(got->v[0].v - from));
	if (!is_num(&want->v[1], got->v[1].v, true, map->peer_ts))
		return differ(why, "TS ecr differs");
	return true;
}

static bool match_option(const struct seg_option *want, const struct seg_option *got, const struct seg_map *map,
			 const struct seg_agreed *agreed, char *why)
{
	if (want->kind == SEG_OPT_TS)
		return match_ts(want, got, map, agreed, why);
	if (want->n != got->n)
		return differ(why, want->kind == SEG_OPT_SACK ? "number of SACK blocks differs" : "length of an option differs");
	if (want->kind == SEG_OPT_RAW)
		return memcmp(want->raw, got->raw, want->n) == 0 || differ(why, "raw option differs");
	for (unsigned i = 0; i < want->n; i++)
		if (!is_num(&want->v[i], got->v[i].v, want->kind == SEG_OPT_SACK, map->peer_isn))
			return differ(why, "value of option %d differs", want->kind);
	return true;
}

/* Each written option must be there, and no other; the order is the sender's choice (RFC 9293 3.2). */
static bool match_options(const struct seg_spec *s, const struct seg_got *g, const struct seg_map *map,
			  const struct seg_agreed *agreed, char *why)
{
	unsigned n = 0;

	for (unsigned i = 0; i < s->n_options; i++) {
		const struct seg_option *o;

		if (s->options[i].kind == SEG_OPT_NOP || s->options[i].kind == SEG_OPT_EOL)
			continue;
		n++;
		o = seg_find_option(g, s->options[i].kind);
		if (!o)
			return differ(why, "option %d is missing", s->options[i].kind);
		if (!match_option(&s->options[i], o, map, agreed, why))
			return false;
	}
	return n == g->n_options || differ(why, "it has %u options, not %u", g->n_options, n);
}

/* Options that the script does not write: time stamps if they were agreed on (RFC 7323 3.2), else none. */
static bool match_default_options(const struct seg_got *g, const struct seg_agreed *agreed, char *why)
{
	bool has_ts = seg_find_option(g, SEG_OPT_TS) != NULL;

	if (g->flags & SEG_RST)
		return g->n_options == has_ts || differ(why, "RST with options");
	if (agreed->ts && !has_ts)
		return differ(why, "no time stamp (RFC 7323 3.2)");
	if (!agreed->ts && has_ts)
		return differ(why, "time stamp, though none were agreed on");
	return g->n_options == has_ts || differ(why, "options that are not written");
}

static bool match_payload(const struct seg_spec *s, const struct seg_got *g, const struct seg_map *map, char *why)
{
	uint32_t first = g->seq - (map->has_iss ? map->iss : 0) - (g->flags & SEG_SYN ? 0 : 1);

	for (uint32_t i = 0; i < g->len; i++) {
		uint8_t want = s->fill >= 0 ? (uint8_t)s->fill : seg_pattern(false, first + i);

		if (g->payload[i] != want)
			return differ(why, "byte %u of the payload is %#x, not %#x", i, g->payload[i], want);
	}
	return true;
}

static bool match_header(const struct seg_spec *s, const struct seg_got *g, const struct seg_map *map, char *why)
{
	uint16_t mask = s->psh_any ? (uint16_t)~SEG_PSH : UINT16_MAX;

	if ((s->flags & mask) != (g->flags & mask))
		return differ(why, "flags differ");
	if (!is_num(&s->seq, g->seq, map->has_iss, map->iss))
		return differ(why, "sequence number differs");
	if (!s->len_any && s->len != g->len)
		return differ(why, "length is %u, not %u", g->len, s->len);
	if (g->flags & SEG_ACK && !is_num(&s->ack, g->ack, true, map->peer_isn))
		return differ(why, "ack differs");
	if (s->win.kind == SEG_ABS && !seg_compare_numbers(g->win, s->win_cmp, s->win.v))
		return differ(why, "window is %u, not %s %u", g->win, seg_cmp_text(s->win_cmp), s->win.v);
	if (g->urg != s->urg)
		return differ(why, "urgent pointer differs");
	if (g->ecn != (s->ecn < 0 ? 0 : s->ecn))
		return differ(why, "ECN bits of the IP header are %u", g->ecn);
	return true;
}

bool seg_match(const struct seg_spec *s, const struct seg_got *g, const struct seg_map *map, const struct seg_agreed *agreed,
	       char *why)
{
	if (!match_header(s, g, map, why))
		return false;
	if (s->has_options && !s->options_any && !match_options(s, g, map, agreed, why))
		return false;
	if (!s->has_options && !match_default_options(g, agreed, why))
		return false;
	return match_payload(s, g, map, why);
}
