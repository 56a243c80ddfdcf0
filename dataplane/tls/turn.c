/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns. A step of a handshake, as the first flight of a server's, keeps a worker busy for 100 us and more, and all that came for others waits meanwhile.
 * So one step is done in an iteration of the loop; the others wait for the next ones, in the order in which they came: however many clients come at
 * once, what others feel of them is one.
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

	if (!t->cfg.takes_turns)
		return true;
	if (s->has_turn) {
		s->has_turn = false;
		return true;
	}
	if (t->turn || t->is_turn_taken) {
		join(s);
		return false;
	}
	t->is_turn_taken = true;
	return true;
}

unsigned turn_give(struct tls *t)
{
	t->is_turn_taken = t->turn;
	if (!t->turn)
		return 0;
	t->turn->has_turn = true;
	tls_wake(t->turn);
	return 1;
}
