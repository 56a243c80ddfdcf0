/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes what a script's peer sends: flags, numbers, windows, options,
 * lengths, order. The generator is seeded: the same seed gives the same
 * script again.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "play.h"

struct mutation {
	struct play_case *c;
	uint64_t prng;
	size_t at; /* the step that is changed */
};

static uint64_t next_random(struct mutation *m)
{
	uint64_t z = m->prng += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static uint32_t below(struct mutation *m, uint32_t n)
{
	return (uint32_t)(next_random(m) % n);
}

static void __attribute__((format(printf, 2, 3))) say(struct mutation *m, const char *fmt, ...)
{
	size_t n = strlen(m->c->what);
	va_list ap;

	n += (size_t)snprintf(m->c->what + n, sizeof(m->c->what) - n, "[%s] ", m->c->steps[m->at].text);
	if (n >= sizeof(m->c->what))
		return;
	va_start(ap, fmt);
	vsnprintf(m->c->what + n, sizeof(m->c->what) - n, fmt, ap);
	va_end(ap);
}

/* By how much a number is moved. */
static uint32_t distance(struct mutation *m)
{
	static const int32_t common[] = {1,    -1,    2,    -2,	  10,	  -10,	 500,	-500,
					 1000, -1000, 1460, 20000, -20000, 65535, 70000, -70000};
	uint32_t i = below(m, sizeof(common) / sizeof(*common) + 2);

	if (i < sizeof(common) / sizeof(*common))
		return (uint32_t)common[i];
	return i % 2 ? 0x80000000u + below(m, 5) - 2 : (uint32_t)next_random(m);
}

static void flip_flag(struct mutation *m, struct seg_spec *s)
{
	static const char letters[] = "FSRP.UEW";
	unsigned i = below(m, 8);

	s->flags ^= (uint16_t)(1u << i);
	if (s->ack.kind == SEG_NONE)
		s->ack = (struct seg_num){SEG_REL, 1};
	say(m, "flips %c; ", letters[i]);
}

static void move_seq(struct mutation *m, struct seg_spec *s)
{
	uint32_t d = distance(m);

	s->seq.v += d;
	say(m, "moves seq by %d; ", (int32_t)d);
}

static void move_ack(struct mutation *m, struct seg_spec *s)
{
	uint32_t d = distance(m);

	s->ack.v += d;
	say(m, "moves ack by %d; ", (int32_t)d);
}

static void set_window(struct mutation *m, struct seg_spec *s)
{
	static const uint16_t values[] = {0, 1, 100, 999, 1000, 4000, 32768, 65535};

	s->win = (struct seg_num){SEG_ABS, values[below(m, 8)]};
	say(m, "win %u; ", s->win.v);
}

static void set_length(struct mutation *m, struct seg_spec *s)
{
	static const uint16_t values[] = {0, 1, 2, 100, 999, 1000, 1001, 1460};

	s->len = values[below(m, 8)];
	say(m, "length %u; ", s->len);
}

static void truncate_segment(struct mutation *m, struct seg_spec *s)
{
	s->trunc = (uint16_t)(1 + below(m, 40));
	say(m, "cut to %u; ", s->trunc);
}

static void set_offset(struct mutation *m, struct seg_spec *s)
{
	s->doff = (uint8_t)(1 + below(m, 15));
	say(m, "doff %u; ", s->doff);
}

static void drop_options(struct mutation *m, struct seg_spec *s)
{
	s->n_options = s->n_options ? s->n_options - 1 : 0;
	say(m, "one option less; ");
}

/* Bytes where an option might be: any kind, any length, any rest. */
static void add_option(struct mutation *m, struct seg_spec *s)
{
	struct seg_option *o;

	if (s->n_options == SEG_MAX_OPTIONS)
		return;
	o = &s->options[s->n_options++];
	memset(o, 0, sizeof(*o));
	o->kind = SEG_OPT_RAW;
	o->n = 2 + below(m, 9);
	for (unsigned i = 0; i < o->n; i++)
		o->raw[i] = (uint8_t)next_random(m);
	o->raw[0] = (uint8_t)below(m, 12);
	if (below(m, 2))
		o->raw[1] = (uint8_t)o->n;
	s->has_options = true;
	say(m, "option %u of length %u; ", o->raw[0], o->raw[1]);
}

static void set_urgent(struct mutation *m, struct seg_spec *s)
{
	s->flags |= SEG_URG;
	s->urg = (uint16_t)next_random(m);
	say(m, "urgent; ");
}

static void set_fill(struct mutation *m, struct seg_spec *s)
{
	s->fill = (int)below(m, 256);
	say(m, "other bytes; ");
}

static void move_time_stamp(struct mutation *m, struct seg_spec *s)
{
	uint32_t d = distance(m);

	for (unsigned i = 0; i < s->n_options; i++)
		if (s->options[i].kind == SEG_OPT_TS) {
			s->options[i].v[0].v += d;
			say(m, "moves TS by %d; ", (int32_t)d);
		}
}

/* -- of the order */

static void remove_step(struct mutation *m, struct seg_spec *s)
{
	struct play_case *c = m->c;

	say(m, "is lost; ");
	memmove(&c->steps[m->at], &c->steps[m->at + 1], (--c->n_steps - m->at) * sizeof(*c->steps));
}

static void repeat_step(struct mutation *m, struct seg_spec *s)
{
	struct play_case *c = m->c; /* room for more steps was made */

	say(m, "comes twice; ");
	memmove(&c->steps[m->at + 1], &c->steps[m->at], (c->n_steps++ - m->at) * sizeof(*c->steps));
}

static void swap_steps(struct mutation *m, struct seg_spec *s)
{
	struct play_case *c = m->c;
	size_t other = m->at + 1;

	while (other < c->n_steps && c->steps[other].kind != STEP_INJECT)
		other++;
	if (other < c->n_steps) {
		struct script_step t = c->steps[m->at];

		say(m, "comes after the next; ");
		c->steps[m->at] = c->steps[other];
		c->steps[other] = t;
	}
}

static void (*const kinds[])(struct mutation *, struct seg_spec *) = {
	flip_flag, flip_flag, move_seq, move_seq, move_ack, move_ack, set_window, set_length, truncate_segment, set_offset,
	drop_options, add_option, set_urgent, set_fill, move_time_stamp, remove_step, repeat_step, swap_steps,
};

#define MAX_CHANGES 3
#define N_KINDS (sizeof(kinds) / sizeof(*kinds))

struct play_case play_unchanged(const struct script *s)
{
	struct play_case c = {.script = s, .n_steps = s->n_steps, .what = "as it is"};

	c.steps = malloc((s->n_steps + MAX_CHANGES) * sizeof(*c.steps));
	if (!c.steps)
		abort();
	memcpy(c.steps, s->steps, s->n_steps * sizeof(*c.steps));
	return c;
}

void play_case_free(struct play_case *c)
{
	free(c->steps);
}

static bool choose_step(struct mutation *m)
{
	size_t n = 0, k;

	for (size_t i = 0; i < m->c->n_steps; i++)
		n += m->c->steps[i].kind == STEP_INJECT;
	if (n == 0)
		return false;
	k = below(m, (uint32_t)n);
	for (m->at = 0; m->c->steps[m->at].kind != STEP_INJECT || k-- > 0; m->at++)
		;
	return true;
}

struct play_case mutate(const struct script *s, uint64_t seed)
{
	struct play_case c = play_unchanged(s);
	struct mutation m = {.c = &c, .prng = seed};
	unsigned n = 1 + below(&m, MAX_CHANGES);

	c.what[0] = '\0';
	for (unsigned i = 0; i < n && choose_step(&m); i++)
		kinds[below(&m, N_KINDS)](&m, &c.steps[m.at].seg);
	return c;
}
