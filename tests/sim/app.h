/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What sits above each end of a planned connection: it sends the text of its
 * salt, checks every byte that it gets, and closes, all as its plan says.
 */
#ifndef SIM_APP_H
#define SIM_APP_H

#include "plan.h"
#include "sim.h"

struct app {
	struct sim *sim;
	const struct side_plan *plan;
	const struct side_plan *peer;
	struct app *other;
	struct tcp_conn *c;
	const char *name;
	uint64_t prng;
	uint32_t patience_ms;
	uint32_t sent, got;
	uint32_t n_calls; /* of send */
	bool connected, eof, closed, let_go, has_shut, aborted, lost_patience;
	bool has_paused;
	bool may_kill; /* the plan's abort is due */
	bool is_lied_to; /* the peer sends anything: bytes are not checked */
	enum weir_reason why;
	unsigned n_closed;
	uint64_t progress_us, read_at_us, send_at_us, wake_us;
	char broken[160]; /* what it found wrong; empty: nothing */
};

static inline bool app_is_done(const struct app *a)
{
	return a->closed || a->let_go;
}

/* Got all that the other one sends, and ended of its own will. */
static inline bool app_is_complete(const struct app *a)
{
	return a->let_go && !a->aborted && !a->closed && a->got == a->peer->to_send && a->sent == a->plan->to_send;
}

/* The connection's events. user: the app. */
void app_event(struct tcp_conn *c, void *user, unsigned events, uint64_t now_us);
/* Established from now on (for the server; the client hears it as an event). Starts its patience. */
void app_begin(struct app *a, struct tcp_conn *c, uint64_t now_us);
/* Does what can be done now. */
void app_step(struct app *a, uint64_t now_us);

#endif
