/* SPDX-License-Identifier: Apache-2.0 */
/* Segments to bytes, bytes to segments, segments to text. See seg.h. */
#include "seg.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define HEADER_MIN 20

uint8_t seg_pattern(bool is_peer, uint32_t i)
{
	return (uint8_t)((is_peer ? 17 : 101) + i * 31 + (i >> 8) * 7 + (i >> 16));
}

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static uint32_t absolute(const struct seg_num *n, bool has_base, uint32_t base)
{
	return n->kind == SEG_REL && has_base ? n->v + base : n->v;
}

/* -- to the wire */

static unsigned write_option(const struct seg_option *o, const struct seg_map *map, uint8_t *p)
{
	if (o->kind == SEG_OPT_RAW) {
		memcpy(p, o->raw, o->n);
		return o->n;
	}
	p[0] = (uint8_t)o->kind;
	p[1] = 2;
	switch (o->kind) {
	case SEG_OPT_EOL:
	case SEG_OPT_NOP:
		return 1;
	case SEG_OPT_MSS:
		put16(p + 2, o->v[0].v);
		p[1] = 4;
		break;
	case SEG_OPT_WSCALE:
		p[2] = (uint8_t)o->v[0].v;
		p[1] = 3;
		break;
	case SEG_OPT_TS:
		put32(p + 2, absolute(&o->v[0], true, map->peer_ts));
		put32(p + 6, absolute(&o->v[1], map->has_ts, map->ts));
		p[1] = 10;
		break;
	case SEG_OPT_SACK:
		for (unsigned i = 0; i < o->n; i++)
			put32(p + 2 + 4 * i, absolute(&o->v[i], map->has_iss, map->iss));
		p[1] = (uint8_t)(2 + 4 * o->n);
		break;
	default:
		break;
	}
	return p[1];
}

/* Returns the header's length, padded with zeros; more than 60 if the options do not fit. */
static unsigned write_options(const struct seg_spec *s, const struct seg_map *map, uint8_t *out)
{
	uint8_t bytes[SEG_MAX_OPTIONS * 48];
	unsigned n = 0;

	for (unsigned i = 0; i < s->n_options; i++)
		n += write_option(&s->options[i], map, bytes + n);
	while (n % 4)
		bytes[n++] = 0;
	if (n <= 40)
		memcpy(out + HEADER_MIN, bytes, n);
	return HEADER_MIN + n;
}

size_t seg_write(const struct seg_spec *s, const struct seg_map *map, uint16_t src_port, uint16_t dst_port, uint8_t *out,
		 size_t size)
{
	unsigned header, first;

	if (size < HEADER_MIN + 40)
		return 0;
	header = write_options(s, map, out);
	if (header > HEADER_MIN + 40 || header + s->len > size)
		return 0;
	put16(out, src_port);
	put16(out + 2, dst_port);
	put32(out + 4, absolute(&s->seq, true, map->peer_isn));
	put32(out + 8, absolute(&s->ack, map->has_iss && (s->flags & SEG_ACK), map->iss));
	out[12] = (uint8_t)((s->doff ? s->doff : header / 4) << 4 | (s->flags & SEG_AE ? 1 : 0));
	out[13] = (uint8_t)s->flags;
	put16(out + 14, s->win.kind == SEG_NONE ? UINT16_MAX : s->win.v);
	put16(out + 16, 0);
	put16(out + 18, s->urg);
	/* A SYN's data begin behind it. */
	first = (s->seq.kind == SEG_REL ? s->seq.v : s->seq.v - map->peer_isn) - (s->flags & SEG_SYN ? 0 : 1);
	for (uint32_t i = 0; i < s->len; i++)
		out[header + i] = s->fill >= 0 ? (uint8_t)s->fill : seg_pattern(true, first + i);
	return s->trunc && s->trunc < header + s->len ? s->trunc : header + s->len;
}

/* -- from the wire */

static void read_option(const uint8_t *p, unsigned len, struct seg_option *o)
{
	memset(o, 0, sizeof(*o));
	o->kind = p[0];
	if (p[0] == SEG_OPT_MSS && len == 4) {
		o->n = 1;
		o->v[0].v = get16(p + 2);
	} else if (p[0] == SEG_OPT_WSCALE && len == 3) {
		o->n = 1;
		o->v[0].v = p[2];
	} else if (p[0] == SEG_OPT_TS && len == 10) {
		o->n = 2;
		o->v[0].v = get32(p + 2);
		o->v[1].v = get32(p + 6);
	} else if (p[0] == SEG_OPT_SACK && (len - 2) % 8 == 0 && len <= 34) {
		o->n = (len - 2) / 4;
		for (unsigned i = 0; i < o->n; i++)
			o->v[i].v = get32(p + 2 + 4 * i);
	} else if (p[0] != SEG_OPT_SACK_OK || len != 2) {
		o->kind = SEG_OPT_RAW;
		o->n = len;
		memcpy(o->raw, p, len);
		return;
	}
	for (unsigned i = 0; i < o->n; i++)
		o->v[i].kind = SEG_ABS;
}

static bool read_options(const uint8_t *p, unsigned n, struct seg_got *g)
{
	for (unsigned i = 0; i < n && p[i] != SEG_OPT_EOL;) {
		unsigned len = i + 1 < n ? p[i + 1] : 0;

		if (p[i] == SEG_OPT_NOP) {
			i++;
			continue;
		}
		if (len < 2 || i + len > n || g->n_options == SEG_MAX_OPTIONS)
			return false;
		read_option(p + i, len, &g->options[g->n_options++]);
		i += len;
	}
	return true;
}

bool seg_read(const uint8_t *p, size_t n, uint8_t ecn, struct seg_got *g)
{
	unsigned header;

	memset(g, 0, sizeof(*g));
	if (n < HEADER_MIN)
		return false;
	header = (unsigned)(p[12] >> 4) * 4;
	if (header < HEADER_MIN || header > n)
		return false;
	g->src_port = get16(p);
	g->dst_port = get16(p + 2);
	g->seq = get32(p + 4);
	g->ack = get32(p + 8);
	g->flags = (uint16_t)(p[13] | (p[12] & 0x0f) << 8); /* with the reserved bits, which no script has */
	g->win = get16(p + 14);
	g->urg = get16(p + 18);
	g->payload = p + header;
	g->len = (uint32_t)(n - header);
	g->ecn = ecn;
	return read_options(p + HEADER_MIN, header - HEADER_MIN, g);
}

const struct seg_option *seg_find_option(const struct seg_got *g, int kind)
{
	for (unsigned i = 0; i < g->n_options; i++)
		if (g->options[i].kind == kind)
			return &g->options[i];
	return NULL;
}

/* -- to text */

struct text {
	char *p;
	size_t left;
};

static void __attribute__((format(printf, 2, 3))) add(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->p, t->left, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= t->left)
		n = t->left ? (int)t->left - 1 : 0;
	t->p += n;
	t->left -= (size_t)n;
}

static void add_option(struct text *t, const struct seg_option *o, const struct seg_map *map, bool is_peer)
{
	/* What a SACK block and the echo refer to is the other side's. */
	uint32_t other_seq = is_peer ? (map->has_iss ? map->iss : 0) : map->peer_isn;
	uint32_t ours = map->has_ts ? map->ts : 0;

	switch (o->kind) {
	case SEG_OPT_MSS:
		add(t, "mss %u", o->v[0].v);
		break;
	case SEG_OPT_WSCALE:
		add(t, "wscale %u", o->v[0].v);
		break;
	case SEG_OPT_SACK_OK:
		add(t, "sackOK");
		break;
	case SEG_OPT_TS:
		add(t, "TS val %d ecr %d", (int32_t)(o->v[0].v - (is_peer ? map->peer_ts : ours)),
		    (int32_t)(o->v[1].v - (is_peer ? ours : map->peer_ts)));
		break;
	case SEG_OPT_SACK:
		add(t, "sack");
		for (unsigned i = 0; i + 1 < o->n; i += 2)
			add(t, " %d:%d", (int32_t)(o->v[i].v - other_seq), (int32_t)(o->v[i + 1].v - other_seq));
		break;
	default:
		add(t, "raw ");
		for (unsigned i = 0; i < o->n; i++)
			add(t, "%02x", o->raw[i]);
		break;
	}
}

char *seg_format(const struct seg_got *g, const struct seg_map *map, bool is_peer, char *buf, size_t size)
{
	static const char letters[] = "FSRP.UEWA";
	static const char *const ecn[] = {"", "[ect1] ", "[ect0] ", "[ce] "};
	struct text t = {buf, size};
	uint32_t iss = map->has_iss ? map->iss : 0;
	uint32_t seq = g->seq - (is_peer ? map->peer_isn : iss);

	add(&t, "%s", ecn[g->ecn & 3]);
	for (unsigned i = 0; letters[i]; i++)
		if (g->flags & 1u << i)
			add(&t, "%c", letters[i]);
	add(&t, "%s %d:%d", g->flags ? "" : "-", (int32_t)seq, (int32_t)(seq + g->len));
	if (g->flags & SEG_ACK)
		add(&t, " ack %d", (int32_t)(g->ack - (is_peer ? iss : map->peer_isn)));
	add(&t, " win %u", g->win);
	if (g->urg)
		add(&t, " urg %u", g->urg);
	for (unsigned i = 0; i < g->n_options; i++) {
		add(&t, "%s", i ? "," : " <");
		add_option(&t, &g->options[i], map, is_peer);
	}
	if (g->n_options)
		add(&t, ">");
	return buf;
}
