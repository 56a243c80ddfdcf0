/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns. The first flight of a server's handshake keeps a worker busy for 100 us and more, and all that came for others waits meanwhile.
 * So of the handshakes that could begin in one iteration of the loop only config.n_flights do; the others begin in the next ones, in the order in
 * which they came: however many clients come at once, what others feel of them is one.
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

	if (s->has_turn || t->cfg.n_flights == 0)
		return true;
	if (t->turn || t->n_flights == t->cfg.n_flights) {
		join(s);
		return false;
	}
	t->n_flights++;
	s->has_turn = true;
	return true;
}

unsigned turn_give(struct tls *t)
{
	unsigned n = 0;

	for (; t->turn && n < t->cfg.n_flights; n++) {
		t->turn->has_turn = true;
		tls_wake(t->turn);
	}
	t->n_flights = n;
	return n;
}
