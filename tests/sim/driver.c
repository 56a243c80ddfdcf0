/* SPDX-License-Identifier: Apache-2.0 */
/* Seed after seed. See driver.h. */
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "driver.h"
#include "eal.h"
#include "sim.h"
#include "stats/stats.h"

static const char *program;

static void usage(FILE *to)
{
	fprintf(to,
		"usage: %s [--seed N] [--connections N] [--step N] [--keep-going] [--trace [CONNECTION]]\n"
		"  --seed N         the first world, or with --trace the only one (1)\n"
		"  --connections N  run worlds until so many connections are done (10000)\n"
		"  --step N         to the seed of the next world (1): so that several processes share the work\n"
		"  --keep-going     report every failing world, not only the first\n"
		"  --stats          what the stacks counted\n"
		"  --only           this seed alone\n"
		"  --trace [C]      print the segments of connection C, or of all, of this seed alone\n",
		program);
}

/* Which seed it was that crashed. Only async-signal-safe calls. */
static void say_label(void)
{
	static const char text[] = " (run it again with --only)\n";

	if (write(2, sim_label, strlen(sim_label)) < 0 || write(2, text, sizeof(text) - 1) < 0)
		return;
}

static void on_crash(int sig)
{
	say_label();
	signal(sig, SIG_DFL);
	raise(sig);
}

void __sanitizer_set_death_callback(void (*fn)(void)) __attribute__((weak));

static void watch_crashes(void)
{
	if (__sanitizer_set_death_callback) {
		__sanitizer_set_death_callback(say_label);
		return;
	}
	signal(SIGABRT, on_crash);
	signal(SIGSEGV, on_crash);
	signal(SIGBUS, on_crash);
	signal(SIGFPE, on_crash);
}

void result_fail(struct run_result *out, int conn, const char *fmt, ...)
{
	va_list args;

	if (out->why[0])
		return;
	out->failed = conn;
	va_start(args, fmt);
	vsnprintf(out->why, sizeof(out->why), fmt, args);
	va_end(args);
}

static void report(uint64_t seed, const struct run_result *r)
{
	if (r->failed >= 0) {
		printf("seed %lu, connection %d: %s\n  again: %s --seed %lu --trace %d\n", (unsigned long)seed, r->failed, r->why,
		       program, (unsigned long)seed, r->failed);
		return;
	}
	printf("seed %lu: %s\n  again: %s --seed %lu --only\n", (unsigned long)seed, r->why, program, (unsigned long)seed);
}

struct totals {
	uint64_t n_worlds, n_conns, n_complete, n_segments, n_retransmits, n_bytes, n_failed;
	struct weir_worker_stats stats;
};

static void print_stats(const struct weir_worker_stats *s)
{
	for (unsigned i = 0; i < WEIR_N_COUNTERS; i++)
		if (s->counter[i])
			printf("  %-32s %lu\n", stat_counter_names[i], (unsigned long)s->counter[i]);
	for (unsigned i = 0; i < WEIR_N_REASONS; i++)
		if (s->reason[i])
			printf("  %-32s %lu\n", stat_reason_names[i], (unsigned long)s->reason[i]);
}

static void run_one(driver_run_fn *run, uint64_t seed, int traced, struct totals *t)
{
	struct run_result r;

	snprintf(sim_label, sizeof(sim_label), " seed %lu", (unsigned long)seed);
	run(seed, traced, &r);
	t->n_worlds++;
	t->n_conns += r.n_conns;
	t->n_complete += r.n_complete;
	t->n_segments += r.n_segments;
	t->n_retransmits += r.n_retransmits;
	t->n_bytes += r.n_bytes;
	for (unsigned i = 0; i < WEIR_N_COUNTERS; i++)
		t->stats.counter[i] += r.stats.counter[i];
	for (unsigned i = 0; i < WEIR_N_REASONS; i++)
		t->stats.reason[i] += r.stats.reason[i];
	if (r.why[0]) {
		t->n_failed++;
		report(seed, &r);
	}
}

int driver_main(int argc, char **argv, driver_run_fn *run, driver_print_fn *print)
{
	static const struct option options[] = {
		{"seed", required_argument, NULL, 's'},	  {"connections", required_argument, NULL, 'n'},
		{"step", required_argument, NULL, 'p'},	  {"keep-going", no_argument, NULL, 'k'},
		{"stats", no_argument, NULL, 'c'},	  {"only", no_argument, NULL, 'o'},
		{"trace", optional_argument, NULL, 't'},  {"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0}};
	uint64_t seed = 1;
	uint64_t step = 1;
	uint64_t n_conns = 10000;
	bool keeps_going = false;
	bool only = false;
	bool wants_stats = false;
	int traced = -1;
	static struct totals t;
	int o;

	program = argv[0];
	while ((o = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (o) {
		case 's': seed = strtoull(optarg, NULL, 0); break;
		case 'n': n_conns = strtoull(optarg, NULL, 0); break;
		case 'p': step = strtoull(optarg, NULL, 0); break;
		case 'k': keeps_going = true; break;
		case 'c': wants_stats = true; break;
		case 'o': only = true; break;
		case 't':
			only = true;
			traced = optarg ? atoi(optarg) : optind < argc && argv[optind][0] != '-' ? atoi(argv[optind++]) : -2;
			break;
		case 'h': usage(stdout); return 0;
		default: usage(stderr); return 2;
		}
	}
	test_eal_init();
	watch_crashes();
	setvbuf(stdout, NULL, _IOLBF, 0);
	do {
		run_one(run, seed, traced, &t);
		if (traced >= 0)
			print((unsigned)traced);
		seed += step;
	} while (!only && t.n_conns < n_conns && (keeps_going || t.n_failed == 0));
	printf("%lu connections in %lu worlds, %lu complete, %lu bytes, %lu segments, %lu of them again; %lu worlds failed\n",
	       (unsigned long)t.n_conns, (unsigned long)t.n_worlds, (unsigned long)t.n_complete, (unsigned long)t.n_bytes,
	       (unsigned long)t.n_segments, (unsigned long)t.n_retransmits, (unsigned long)t.n_failed);
	if (wants_stats)
		print_stats(&t.stats);
	return t.n_failed ? 1 : 0;
}
