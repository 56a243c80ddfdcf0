/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of a segment, near to packetdrill's:
 *
 *   [ect0] P. 1:1001 ack 1 win 65535 urg 3 <nop,nop,TS val 5 ecr any> fill 7
 *
 * Flags: S F R P . U E W A; a small p: PSH does not matter. See script.h.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "seg.h"

struct reader {
	const char *p;
	const char **why;
	bool failed;
};

static bool fail(struct reader *r, const char *why)
{
	if (!r->failed)
		*r->why = why;
	r->failed = true;
	return false;
}

static void skip_space(struct reader *r)
{
	while (isspace((unsigned char)*r->p))
		r->p++;
}

/* Takes a word if it stands here. */
static bool take(struct reader *r, const char *word)
{
	size_t n = strlen(word);

	skip_space(r);
	if (strncmp(r->p, word, n) != 0 || (isalnum((unsigned char)word[n - 1]) && isalnum((unsigned char)r->p[n])))
		return false;
	r->p += n;
	return true;
}

static bool take_u32(struct reader *r, uint32_t *out)
{
	char *end;
	long long v;

	skip_space(r);
	v = strtoll(r->p, &end, 0);
	if (end == r->p || v < -(1ll << 31) || v > UINT32_MAX)
		return fail(r, "a number is expected");
	r->p = end;
	*out = (uint32_t)v;
	return true;
}

static bool take_num(struct reader *r, struct seg_num *out)
{
	out->v = 0;
	out->kind = SEG_ANY;
	if (take(r, "any"))
		return true;
	out->kind = take(r, "=") ? SEG_ABS : SEG_REL;
	return take_u32(r, &out->v);
}

static bool parse_raw(struct reader *r, struct seg_option *o)
{
	skip_space(r);
	o->kind = SEG_OPT_RAW;
	while (isxdigit((unsigned char)r->p[0]) && isxdigit((unsigned char)r->p[1]) && o->n < sizeof(o->raw)) {
		const char hex[3] = {r->p[0], r->p[1]};

		o->raw[o->n++] = (uint8_t)strtoul(hex, NULL, 16);
		r->p += 2;
	}
	return o->n || fail(r, "raw wants hexadecimal bytes");
}

static bool parse_sack(struct reader *r, struct seg_option *o)
{
	o->kind = SEG_OPT_SACK;
	while (skip_space(r), *r->p == '=' || *r->p == '-' || isdigit((unsigned char)*r->p)) {
		if (o->n + 2 > 8)
			return fail(r, "more than four SACK blocks");
		if (!take_num(r, &o->v[o->n]) || !take(r, ":") || !take_num(r, &o->v[o->n + 1]))
			return fail(r, "a SACK block is FROM:TO");
		o->n += 2;
	}
	return true;
}

static bool parse_one(struct reader *r, struct seg_option *o, int kind)
{
	o->kind = kind;
	o->n = 1;
	return take_num(r, &o->v[0]);
}

static bool parse_option(struct reader *r, struct seg_option *o)
{
	memset(o, 0, sizeof(*o));
	if (take(r, "mss"))
		return parse_one(r, o, SEG_OPT_MSS);
	if (take(r, "wscale"))
		return parse_one(r, o, SEG_OPT_WSCALE);
	if (take(r, "TS")) {
		o->kind = SEG_OPT_TS;
		o->n = 2;
		return (take(r, "val") && take_num(r, &o->v[0]) && take(r, "ecr") && take_num(r, &o->v[1])) ||
		       fail(r, "TS val N ecr N");
	}
	if (take(r, "sackOK"))
		o->kind = SEG_OPT_SACK_OK;
	else if (take(r, "sack"))
		return parse_sack(r, o);
	else if (take(r, "nop"))
		o->kind = SEG_OPT_NOP;
	else if (take(r, "eol"))
		o->kind = SEG_OPT_EOL;
	else if (take(r, "raw"))
		return parse_raw(r, o);
	else
		return fail(r, "unknown option");
	return true;
}

static bool parse_options(struct reader *r, struct seg_spec *s)
{
	s->has_options = true;
	if (take(r, "...")) {
		s->options_any = true;
		return take(r, ">") || fail(r, "'>' is missing");
	}
	while (!take(r, ">")) {
		if (s->n_options == SEG_MAX_OPTIONS)
			return fail(r, "too many options");
		if (!parse_option(r, &s->options[s->n_options++]))
			return false;
		take(r, ",");
	}
	return true;
}

static bool parse_flags(struct reader *r, struct seg_spec *s)
{
	static const char letters[] = "FSRP.UEWA";
	const char *begin = r->p;

	for (; *r->p && !isspace((unsigned char)*r->p); r->p++) {
		const char *at = strchr(letters, *r->p);

		if (*r->p == 'p')
			s->psh_any = true;
		else if (at)
			s->flags |= (uint16_t)(1u << (at - letters));
		else if (*r->p != '-')
			return fail(r, "unknown flag (S F R P . U E W A, - for none)");
	}
	return r->p != begin || fail(r, "flags are expected");
}

static bool parse_range(struct reader *r, struct seg_spec *s)
{
	struct seg_num end;

	if (!take_num(r, &s->seq))
		return false;
	if (!take(r, ":"))
		return fail(r, "sequence numbers are FROM:TO");
	if (!take_num(r, &end))
		return false;
	if (end.kind == SEG_ANY || s->seq.kind == SEG_ANY)
		s->len_any = true;
	else
		s->len = end.v - s->seq.v;
	if (take(r, "(")) {
		if (!take_u32(r, &s->len) || !take(r, ")"))
			return fail(r, "a length is (N)");
		s->len_any = false;
	}
	return s->len_any || s->len < SEG_MAX_BYTES - 60 || fail(r, "longer than a segment may be");
}

static bool parse_win(struct reader *r, struct seg_spec *s)
{
	static const char *const ops[] = {"==", "!=", "<=", ">=", "<", ">"};

	for (unsigned i = 0; i < sizeof(ops) / sizeof(*ops); i++)
		if (take(r, ops[i])) {
			seg_parse_cmp(ops[i], &s->win_cmp);
			break;
		}
	if (!take_num(r, &s->win))
		return false;
	if (s->win.kind != SEG_ANY)
		s->win.kind = SEG_ABS;
	return true;
}

static bool parse_ecn(struct reader *r, struct seg_spec *s)
{
	static const char *const names[] = {"[noecn]", "[ect1]", "[ect0]", "[ce]"};

	for (int i = 0; i < 4; i++)
		if (take(r, names[i])) {
			s->ecn = i;
			return true;
		}
	return false;
}

static bool parse_tail(struct reader *r, struct seg_spec *s)
{
	uint32_t v = 0;

	if (take(r, "ack"))
		return take_num(r, &s->ack);
	if (take(r, "win"))
		return parse_win(r, s);
	if (take(r, "<"))
		return parse_options(r, s);
	if (take(r, "badsum"))
		return s->bad_checksum = true;
	if (take(r, "urg")) {
		take_u32(r, &v);
		s->urg = (uint16_t)v;
	} else if (take(r, "fill")) {
		take_u32(r, &v);
		s->fill = (int)(v & 0xff);
	} else if (take(r, "doff")) {
		take_u32(r, &v);
		s->doff = (uint8_t)v;
	} else if (take(r, "trunc")) {
		take_u32(r, &v);
		s->trunc = (uint16_t)v;
	} else {
		return fail(r, "ack, win, urg, <options>, fill, doff, trunc or badsum is expected");
	}
	return !r->failed;
}

bool seg_parse(const char *text, bool is_inject, struct seg_spec *s, const char **why)
{
	struct reader r = {.p = text, .why = why};

	memset(s, 0, sizeof(*s));
	s->ecn = s->fill = -1;
	parse_ecn(&r, s);
	skip_space(&r);
	if (!parse_flags(&r, s) || !parse_range(&r, s))
		return false;
	while (skip_space(&r), *r.p)
		if (!parse_tail(&r, s))
			return false;
	if (s->flags & SEG_ACK && s->ack.kind == SEG_NONE)
		return fail(&r, "the ACK flag wants an ack number");
	if (is_inject && (s->seq.kind == SEG_ANY || s->ack.kind == SEG_ANY || s->win.kind == SEG_ANY || s->len_any))
		return fail(&r, "what is sent has no 'any'");
	return true;
}

static const char *const cmp_names[] = {"==", "!=", "<", "<=", ">", ">="};

bool seg_parse_cmp(const char *word, enum seg_cmp *out)
{
	for (unsigned i = 0; i < sizeof(cmp_names) / sizeof(*cmp_names); i++)
		if (strcmp(word, cmp_names[i]) == 0) {
			*out = (enum seg_cmp)i;
			return true;
		}
	return false;
}

const char *seg_cmp_text(enum seg_cmp cmp)
{
	return cmp_names[cmp];
}

bool seg_compare_numbers(int64_t a, enum seg_cmp cmp, int64_t b)
{
	switch (cmp) {
	case SEG_EQ:
		return a == b;
	case SEG_NE:
		return a != b;
	case SEG_LT:
		return a < b;
	case SEG_LE:
		return a <= b;
	case SEG_GT:
		return a > b;
	case SEG_GE:
		return a >= b;
	}
	return false;
}
