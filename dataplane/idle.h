/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a worker rests while it has no work: carries out what idle_ladder.h
 * decides, on the worker's own thread, and counts it.
 *
 * The worker's loop calls idle_busy() after an iteration with work, and
 * idle_rest() after one without. Before a deep sleep idle_rest() returns
 * once with the worker's flag raised and its ports' interrupts enabled: the iteration that follows is
 * the look at all sources that wake.h asks for, and only if that finds nothing, too, the next call sleeps.
 */
#ifndef WEIR_DATAPLANE_IDLE_H
#define WEIR_DATAPLANE_IDLE_H

#include <poll.h>

#include "idle_ladder.h"
#include "weir/stats.h"

struct net_port;
struct wake;

struct idle_config {
	enum idle_mode mode;
	uint32_t latency_us;
	uint16_t queue;
	unsigned n_ports;
	const struct net_port *ports;	 /* outlive it */
	struct wake *wake;		 /* by which others wake the worker; NULL: it never sleeps deeply */
	struct weir_worker_stats *stats;
	uint64_t tsc_hz;
};

struct idle {
	struct idle_config cfg;
	struct idle_ladder ladder;
	bool can_deep; /* every port has an interrupt, and there is a wake */
	bool was_timer; /* the sleep before this iteration ended by a timer */
	uint64_t n_rx;	/* packets received when it did */
	bool is_armed; /* flag raised, interrupts on */
	bool has_monitor; /* one port, on whose next descriptor the CPU can wait */
	bool may_enable; /* the ports' interrupts have to be enabled each time */
	unsigned n_fds;
	struct pollfd fds[WEIR_MAX_PORTS + 1]; /* the wake's, then the ports' */
	bool is_counter[WEIR_MAX_PORTS + 1];   /* an eventfd, which has to be read; not so the descriptor of a TAP */
};

/* Of main, with ports that have started. Says in the log which port keeps the worker from sleeping deeply. */
void idle_init(struct idle *i, const struct idle_config *config);
/* On the worker's thread, before its loop. */
void idle_begin(struct idle *i);

void idle_disarm(struct idle *i);
/* The first iteration after a sleep that a timer ended had work: packets are such of which no interrupt told. */
void idle_judge(struct idle *i);

/* An iteration had work. */
static inline void idle_busy(struct idle *i)
{
	if (__builtin_expect(i->is_armed, 0))
		idle_disarm(i);
	if (__builtin_expect(i->was_timer, 0))
		idle_judge(i);
	idle_ladder_reset(&i->ladder);
}

/* False: idle_rest() will spin, whatever it is told. */
static inline bool idle_wants_hints(const struct idle *i, uint64_t now_us)
{
	return i->ladder.is_idle && now_us - i->ladder.since_us >= IDLE_PAUSE_AFTER_US;
}

/*
 * An iteration that began at now_us had no work. next_us: the next timer; may_deep: whatever may come by then
 * comes from a port, or from somebody who calls wake_up(). Returns after the rest.
 */
void idle_rest(struct idle *i, uint64_t now_us, uint64_t next_us, bool may_deep);

#endif
