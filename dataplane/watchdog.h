/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Main looks whether workers go on. A worker shows it by what it counts anyway, the iterations of its loop, so the loop pays nothing. One that
 * does not go on cannot be mended in place: what it holds is its own, and no other may touch it. So main says where it
 * is, and ends the process; whoever started it starts another.
 */
#ifndef WEIR_DATAPLANE_WATCHDOG_H
#define WEIR_DATAPLANE_WATCHDOG_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "weir/stats.h"

struct dataplane;

#define WATCHDOG_EXIT_STATUS 4

/* What main sees of a worker. */
struct watch_seen {
	uint64_t now_us; /* main's clock */
	uint64_t n_loops;
	uint64_t cpu_us; /* that its thread has used */
	char state;	 /* of the thread, as proc(5) has it; 'R': it runs, or would if it had a CPU. Of meaning only where watchdog_wants_state() */
};

/* What main remembers of it. Zeroed at first. */
struct watch {
	uint64_t looked_us;
	uint64_t n_loops;  /* at the last look */
	uint64_t cpu_us;   /* when it last went on */
	uint64_t still_us; /* so long it has not, of main's own time */
	bool is_starving;
	bool has_begun;
	/* of its thread */
	int tid;
	clockid_t clock;
	char name[16];
};

enum watch_verdict {
	WATCH_GOES_ON,
	WATCH_STARVES, /* it is ready to run, and has had no CPU for longer than the limit: told once for each time */
	WATCH_STUCK,
};

/* Whether it has been still for so long that its thread's state matters. */
bool watchdog_wants_state(const struct watch *w, const struct watch_seen *seen, uint32_t limit_ms);
/*
 * One look. Time in which main did not run itself (the process was paused, or the machine) does not count. Who waits for a CPU has ten times as long, and so has
 * a worker before its first iteration.
 */
enum watch_verdict watchdog_judge(struct watch *w, const struct watch_seen *seen, uint32_t limit_ms);

/* A step of the start, before workers run: learns who their threads are. 0 or -errno. */
int start_watchdog(struct dataplane *d);
void stop_watchdog(struct dataplane *d);
/* Of main's loop, at least every few hundred milliseconds. Tells the service manager that all is well, or ends the process. */
void watchdog_look(struct dataplane *d);
/* True if a worker had not gone on for a second, or half of the limit if that is less, when main looked last: not yet stuck, but it does not serve either. */
bool watchdog_sees_still(const struct dataplane *d);
/* Worker i does not answer: the end, with its trace. */
__attribute__((noreturn)) void watchdog_end(struct dataplane *d, unsigned i, const char *what);
/* A note of a crash (crash_note_fn). */
void watchdog_note_crash(int sig);

#endif
