/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The timing wheel. Level l has slots of 256^l ticks. A timer sits in the
 * lowest level whose span reaches it; when the wheel enters a slot of a
 * higher level, that slot's timers are placed again, one level down or more:
 * a bounded number at a time, since a slot can hold every connection's. Empty stretches are skipped by the bit maps.
 */
#include "base/wheel.h"

#include <assert.h>
#include <string.h>

#define SLOT_BITS 8
#define SLOT_MASK (WHEEL_SLOTS - 1)
#define MAX_DELTA ((1ull << (SLOT_BITS * WHEEL_LEVELS)) - 1)

static void list_push(struct wheel_timer **head, struct wheel_timer *t)
{
	t->next = *head;
	if (t->next)
		t->next->pprev = &t->next;
	t->pprev = head;
	*head = t;
}

static void list_unlink(struct wheel_timer *t)
{
	*t->pprev = t->next;
	if (t->next)
		t->next->pprev = t->pprev;
	t->next = NULL;
	t->pprev = NULL;
}

/* Puts t where its tick belongs, seen from the wheel's present tick. */
static void place(struct wheel *w, struct wheel_timer *t)
{
	uint64_t at = t->at;
	uint64_t delta;
	unsigned level = 0;
	unsigned slot;

	if (at <= w->tick) {
		list_push(&w->due, t);
		return;
	}
	delta = at - w->tick;
	if (delta > MAX_DELTA) { /* beyond the wheel: park in the last slot reached, place again there */
		at = w->tick + MAX_DELTA;
		delta = MAX_DELTA;
	}
	while (level < WHEEL_LEVELS - 1 && delta >= 1ull << (SLOT_BITS * (level + 1)))
		level++;
	slot = (at >> (SLOT_BITS * level)) & SLOT_MASK;
	list_push(&w->slots[level][slot], t);
	w->bits[level][slot / 64] |= 1ull << (slot % 64);
}

void wheel_init(struct wheel *w, uint64_t tick_us, uint64_t now_us)
{
	assert(tick_us > 0);
	memset(w, 0, sizeof(*w));
	w->tick_us = tick_us;
	w->tick = now_us / tick_us;
}

void wheel_handle(struct wheel *w, unsigned kind, wheel_fn *fn, void *ctx)
{
	assert(kind < WHEEL_MAX_KINDS);
	w->fn[kind] = fn;
	w->ctx[kind] = ctx;
}

void wheel_arm(struct wheel *w, struct wheel_timer *t, unsigned kind, uint64_t at_us)
{
	assert(kind < WHEEL_MAX_KINDS && w->fn[kind]);
	if (t->pprev)
		list_unlink(t);
	else
		w->n_armed++;
	t->at = at_us / w->tick_us + (at_us % w->tick_us != 0);
	t->kind = kind;
	place(w, t);
}

void wheel_cancel(struct wheel *w, struct wheel_timer *t)
{
	if (!t->pprev)
		return;
	list_unlink(t);
	assert(w->n_armed > 0);
	w->n_armed--;
}

/* Places up to max timers of those that are being moved again. */
static void move(struct wheel *w, unsigned level, size_t max)
{
	struct wheel_timer *t;

	while (max-- && (t = w->moving[level]) != NULL) {
		list_unlink(t);
		__builtin_prefetch(w->moving[level]);
		place(w, t);
	}
}

/* Begins to place the timers of one slot again. */
static void cascade(struct wheel *w, unsigned level, unsigned slot)
{
	struct wheel_timer *t = w->slots[level][slot];

	w->bits[level][slot / 64] &= ~(1ull << (slot % 64));
	if (!t)
		return;
	move(w, level, SIZE_MAX); /* what is left of the slot before, if time has jumped */
	w->slots[level][slot] = NULL;
	w->moving[level] = t;
	t->pprev = &w->moving[level];
	move(w, level, WHEEL_MOVES);
}

/* First non-empty slot of the level at or after from, or WHEEL_SLOTS. Clears stale bits on its way. */
static unsigned next_slot(const struct wheel *w, unsigned level, unsigned from)
{
	for (unsigned i = from; i < WHEEL_SLOTS;) {
		uint64_t word = w->bits[level][i / 64] >> (i % 64);
		if (!word) {
			i = (i / 64 + 1) * 64;
			continue;
		}
		i += (unsigned)__builtin_ctzll(word);
		if (w->slots[level][i])
			return i;
		i++;
	}
	return WHEEL_SLOTS;
}

/* Enters the wheel's present tick: cascades the higher levels whose slot begins here, expires level 0. */
static void enter_tick(struct wheel *w)
{
	for (unsigned level = WHEEL_LEVELS - 1; level > 0; level--)
		if ((w->tick & ((1ull << (SLOT_BITS * level)) - 1)) == 0)
			cascade(w, level, (w->tick >> (SLOT_BITS * level)) & SLOT_MASK);
	cascade(w, 0, w->tick & SLOT_MASK);
}

/* The next tick after the present one at which something may happen, at most limit. */
static uint64_t next_tick(const struct wheel *w, uint64_t limit)
{
	uint64_t best = limit;

	for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
		unsigned shift = SLOT_BITS * level;
		uint64_t pos = w->tick >> shift;
		uint64_t base = pos & ~(uint64_t)SLOT_MASK;
		unsigned s = next_slot(w, level, (unsigned)(pos & SLOT_MASK) + 1);
		uint64_t at;

		if (s < WHEEL_SLOTS) {
			at = (base + s) << shift;
		} else { /* behind the turn of this level, if anywhere */
			s = next_slot(w, level, 0);
			if (s == WHEEL_SLOTS)
				continue;
			at = (base + WHEEL_SLOTS + s) << shift;
		}
		if (at < best)
			best = at;
	}
	return best;
}

unsigned wheel_run(struct wheel *w, uint64_t now_us, unsigned budget)
{
	uint64_t now = now_us / w->tick_us;
	unsigned n = 0;

	while (w->tick < now) {
		w->tick = w->n_armed ? next_tick(w, now) : now;
		enter_tick(w);
	}
	for (unsigned level = 0; level < WHEEL_LEVELS; level++)
		move(w, level, WHEEL_MOVES);
	while (w->due && n < budget) {
		struct wheel_timer *t = w->due;
		unsigned kind = t->kind;

		list_unlink(t);
		w->n_armed--;
		n++;
		w->fn[kind](w->ctx[kind], t, now_us);
	}
	return n;
}

static bool is_moving(const struct wheel *w)
{
	for (unsigned level = 0; level < WHEEL_LEVELS; level++)
		if (w->moving[level])
			return true;
	return false;
}

uint64_t wheel_next_us(const struct wheel *w)
{
	uint64_t at;

	if (w->due || is_moving(w))
		return w->tick * w->tick_us;
	if (!w->n_armed)
		return WHEEL_NEVER;
	at = next_tick(w, UINT64_MAX);
	return at == UINT64_MAX ? WHEEL_NEVER : at * w->tick_us;
}
