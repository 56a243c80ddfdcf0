/* SPDX-License-Identifier: Apache-2.0 */
/* Main's eye on the workers' threads. See watchdog.h; how it judges is in watchdog_judge.c. */
#include "watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <rte_launch.h>
#include <rte_lcore.h>

#include "base/crash.h"
#include "base/log.h"
#include "base/notify.h"
#include "life.h"
#include "start.h"
#include "stats/stats.h"

#define STILL_US 1000000 /* longer than any slice of work, and than the kernel lets who is ready to run wait */
#define TRACE_MS 500
#define END_S 5

/* Runs in the worker's thread, once. */
static int attach(void *arg)
{
	struct watch *w = arg;

	w->tid = gettid();
	pthread_getcpuclockid(pthread_self(), &w->clock);
	crash_thread(w->name);
	return 0;
}

int start_watchdog(struct dataplane *d)
{
	for (unsigned i = 0; i < d->config.n_workers; i++) {
		struct watch *w = &d->watch[i];

		snprintf(w->name, sizeof(w->name), "worker %u", i);
		if (rte_eal_remote_launch(attach, w, i + 1) != 0)
			return -EBUSY;
		rte_eal_wait_lcore(i + 1);
	}
	life_get(ctl_stats_life(d->stats));
	return 0;
}

void stop_watchdog(struct dataplane *d)
{
}

static uint64_t clock_us(clockid_t id)
{
	struct timespec t;

	if (clock_gettime(id, &t) != 0)
		return 0;
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* Of the files that the kernel has of a thread, the beginning. */
static void read_task(int tid, const char *name, char *out, size_t n)
{
	char path[64];
	ssize_t got = -1;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/%s", tid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		got = read(fd, out, n - 1);
		close(fd);
	}
	out[got > 0 ? got : 0] = 0;
}

/* The letter behind the name in parentheses, which may have any. */
static char state_of(int tid)
{
	char text[256];
	const char *p;

	read_task(tid, "stat", text, sizeof(text));
	p = strrchr(text, ')');
	return p && p[1] == ' ' && p[2] ? p[2] : '?';
}

static struct watch_seen see(struct dataplane *d, unsigned i)
{
	const struct weir_worker_stats *s = ctl_stats_worker(d->stats, i);

	return (struct watch_seen){
		.now_us = clock_us(CLOCK_MONOTONIC),
		.n_loops = __atomic_load_n(&s->counter[WEIR_C_LOOPS], __ATOMIC_RELAXED),
		.cpu_us = clock_us(d->watch[i].clock),
		.state = '?',
	};
}

/* Main itself hangs where the worker does, such as behind a lock. */
static void on_alarm(int sig)
{
	_exit(WATCHDOG_EXIT_STATUS);
}

void watchdog_end(struct dataplane *d, unsigned i, const char *what)
{
	const struct watch *w = &d->watch[i];
	char waits[64];
	char state = state_of(w->tid);

	signal(SIGALRM, on_alarm);
	alarm(END_S);
	life_set(WEIR_END_STUCK, 0, (int)i);
	read_task(w->tid, "wchan", waits, sizeof(waits));
	log_error("worker %u (thread %d, core %u) is stuck: %s; state %c%s%s, %llu iterations. It is here:", i, w->tid, d->config.worker_cores[i],
		  what, state, waits[0] && waits[0] != '0' ? ", in the kernel at " : "", waits[0] != '0' ? waits : "", (unsigned long long)w->n_loops);
	if (!crash_trace_of(w->tid, TRACE_MS))
		log_error("  no trace: the thread does not run, so it takes no signal");
	log_error("ending with status %d, to be started anew", WATCHDOG_EXIT_STATUS);
	notify("STATUS=worker %u is stuck", i);
	_exit(WATCHDOG_EXIT_STATUS);
}

static void look_at(struct dataplane *d, unsigned i)
{
	struct watch *w = &d->watch[i];
	struct watch_seen seen = see(d, i);
	char what[96];

	if (watchdog_wants_state(w, &seen, d->config.watchdog_ms))
		seen.state = state_of(w->tid);
	switch (watchdog_judge(w, &seen, d->config.watchdog_ms)) {
	case WATCH_GOES_ON:
		break;
	case WATCH_STARVES:
		stat_inc(ctl_stats_worker(d->stats, d->config.n_workers), WEIR_C_STARVED);
		log_warn("worker %u has waited for its core %u for %u ms: something else runs there", i, d->config.worker_cores[i],
			 (unsigned)(w->still_us / 1000));
		break;
	case WATCH_STUCK:
		snprintf(what, sizeof(what), "its loop has not moved for %u ms, in which it used %u ms of its core",
			 (unsigned)(w->still_us / 1000), (unsigned)((seen.cpu_us - w->cpu_us) / 1000));
		watchdog_end(d, i, what);
	}
}

void watchdog_look(struct dataplane *d)
{
	for (unsigned i = 0; d->config.watchdog_ms && i < d->config.n_workers; i++)
		look_at(d, i);
	life_touch((uint64_t)time(NULL));
	notify_alive(clock_us(CLOCK_MONOTONIC) / 1000);
}

bool watchdog_sees_still(const struct dataplane *d)
{
	uint64_t half_us = d->config.watchdog_ms * 500ull;

	for (unsigned i = 0; d->config.watchdog_ms && i < d->config.n_workers; i++)
		if (d->watch[i].still_us >= (half_us < STILL_US ? half_us : STILL_US))
			return true;
	return false;
}

void watchdog_note_crash(int sig)
{
	unsigned lcore = rte_lcore_id(); /* of the thread's own storage */

	life_set(WEIR_END_CRASHED, sig, lcore > 0 && lcore <= WEIR_MAX_WORKERS ? (int)lcore - 1 : -1);
}
