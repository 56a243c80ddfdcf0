/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns. A step of a handshake, as the first flight of a server's, keeps a worker busy for 100 us and more, and all that came for others waits meanwhile.
 * So when handshakes have taken config.turn_cycles of one iteration of the loop the others wait for the next ones, in the order in which they came:
 * however many clients come at once, what others feel of them is one.
 */
#include "tls/tls_pvt.h"

static void join(struct tls_session *s)
{
	struct tls *t = s->t;

	assert(s->waits == WAITS_NOT);
	if (!t->turn)
		t->turn_tail = &t->turn;
	s->waits = WAITS_TURN;
	s->next = NULL;
	s->prev_next = t->turn_tail;
	*t->turn_tail = s;
	t->turn_tail = &s->next;
	stat_inc(t->cfg.stats, WEIR_C_TLS_TURN_WAITS);
}

bool turn_take(struct tls_session *s)
{
	struct tls *t = s->t;

	if (t->cfg.turn_cycles == 0)
		return true;
	if (s->has_turn) {
		s->has_turn = false;
		t->is_turn_given = false;
		return true;
	}
	if (t->turn || t->is_turn_given || t->turn_spent >= t->cfg.turn_cycles) {
		join(s);
		return false;
	}
	return true;
}

static void give(struct tls *t)
{
	t->turn->has_turn = true;
	t->is_turn_given = true;
	tls_wake(t->turn);
}

void turn_end(struct tls *t, uint64_t cycles)
{
	t->turn_spent += cycles;
	if (t->turn && !t->is_turn_given && t->turn_spent < t->cfg.turn_cycles)
		give(t);
}

unsigned turn_give(struct tls *t)
{
	t->turn_spent = 0;
	t->is_turn_given = false; /* whoever had it has left */
	if (!t->turn)
		return 0;
	give(t);
	return 1;
}
