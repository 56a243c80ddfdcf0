/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this machine itself needs to wake a thread: wake N. After each of N
 * pauses of 3 to 20 ms a thread on the first core writes to an eventfd, and
 * one on the last core, which sleeps in epoll_wait(), says when it runs again. Then N sleeps
 * of 50 us, and by how much they ended late. JSON on standard output, times in ns.
 *
 * A worker that rests cannot add less than that to a first packet.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define SLEEP_NS 50000
#define PAUSE_LEAST_US 3000
#define PAUSE_SPAN_US 17000

static _Atomic uint64_t woke_ns; /* 0: not yet */
static int event = -1;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void sleep_ns(uint64_t ns)
{
	struct timespec t = {.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};

	clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
}

static void pin(int core)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(core, &set);
	if (pthread_setaffinity_np(pthread_self(), sizeof(set), &set)) {
		fprintf(stderr, "wake: core %d cannot be used\n", core);
		exit(1);
	}
	prctl(PR_SET_TIMERSLACK, 1);
}

static void *sleeper(void *arg)
{
	int fd = epoll_create1(0);
	struct epoll_event ev = {.events = EPOLLIN};
	uint64_t n;

	pin(*(int *)arg);
	if (fd < 0 || epoll_ctl(fd, EPOLL_CTL_ADD, event, &ev))
		exit(1);
	for (;;) {
		if (epoll_wait(fd, &ev, 1, -1) != 1)
			continue;
		atomic_store(&woke_ns, now_ns());
		if (read(event, &n, sizeof(n)) != sizeof(n))
			exit(1);
	}
	return NULL;
}

static void print(const char *name, const uint64_t *ns, unsigned n, const char *end)
{
	printf("\"%s\": [", name);
	for (unsigned i = 0; i < n; i++)
		printf("%s%llu", i ? ", " : "", (unsigned long long)ns[i]);
	printf("]%s", end);
}

int main(int argc, char **argv)
{
	unsigned n = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 300;
	int last = (int)sysconf(_SC_NPROCESSORS_ONLN) - 1;
	uint64_t *ns = calloc(n ? n : 1, sizeof(*ns));
	uint64_t one = 1;
	pthread_t thread;

	event = eventfd(0, 0);
	if (!ns || event < 0 || pthread_create(&thread, NULL, sleeper, &last))
		return 1;
	pin(0);
	srandom(1);
	printf("{");
	for (unsigned i = 0; i < n; i++) {
		uint64_t begin, end;

		sleep_ns(1000ull * (PAUSE_LEAST_US + (uint64_t)random() % PAUSE_SPAN_US));
		atomic_store(&woke_ns, 0);
		begin = now_ns();
		if (write(event, &one, sizeof(one)) != sizeof(one))
			return 1;
		while (!(end = atomic_load(&woke_ns)))
			;
		ns[i] = end - begin;
	}
	print("wake", ns, n, ", ");
	for (unsigned i = 0; i < n; i++) {
		uint64_t begin = now_ns();

		sleep_ns(SLEEP_NS);
		ns[i] = now_ns() - begin - SLEEP_NS;
	}
	print("late", ns, n, "}\n");
	return 0;
}
